"""The table of architectures: made by a script, without a silent wrong number in it, and the page that quotes it."""

import json
from pathlib import Path

import pytest

from benchmarks import architectures
from benchmarks.architectures import Args, main, row_of, table

FIGURES = Path(__file__).resolve().parents[2] / "figures" / "language"
PAGE = Path(__file__).resolve().parents[2] / "experiments" / "language.md"


def saved():
    return json.loads((FIGURES / "architectures.json").read_text(encoding="utf-8"))


def test_the_table_of_one_class_is_written(tmp_path, capsys):
    assert main(Args(only="gpt_neo", out=tmp_path)) == 0
    rows = json.loads((tmp_path / "architectures.json").read_text(encoding="utf-8"))["rows"]
    assert [row["verdict"] for row in rows if row["name"] == "gpt_neo"] == ["yes"]
    assert "| gpt_neo | GPTNeoForCausalLM | yes |" in (tmp_path / "architectures.md").read_text(encoding="utf-8")
    with pytest.raises(SystemExit):
        main(Args(only="no such architecture", out=tmp_path / "other"))
    assert "--only is 'no such architecture'; allowed: a part" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_a_wrong_path_that_the_probe_let_pass_would_be_found(monkeypatch):
    """The comparison from outside has numbers of its own: a path that is off by a hundredth is seen."""
    from ift_gridworld.language.policy import LanguagePolicy

    assert row_of("llama", "LlamaForCausalLM").verdict == "yes"
    plain = LanguagePolicy.residual_log_probs
    monkeypatch.setattr(LanguagePolicy, "residual_log_probs", lambda *given, **options: 1.01 * plain(*given, **options))
    row = row_of("llama", "LlamaForCausalLM")
    assert row.verdict == "refused" and "has a loss of its own of" in row.detail


def test_the_page_has_the_numbers_of_the_table():
    rows = saved()["rows"]
    count = {verdict: sum(row["verdict"] == verdict for row in rows) for verdict in ("yes", "refused", "not built")}
    sentence = f"{count['yes']} are trained, {count['refused']} are refused, {count['not built']} could not be built"
    assert sentence in " ".join(PAGE.read_text(encoding="utf-8").split())
    assert not any("has a loss of its own" in row["detail"] for row in rows), "no silent wrong number"


@pytest.mark.slow
def test_the_table_is_what_the_script_finds():
    """Under the version of transformers that it was made with; under another one, no class is silently wrong."""
    from importlib import metadata

    rows = table()
    assert not any("has a loss of its own" in row.detail for row in rows)
    if metadata.version("transformers") == saved()["versions"]["transformers"]:
        found = {row.name: row.verdict for row in rows}
        assert found == {row["name"]: row["verdict"] for row in saved()["rows"]}
    assert architectures.LARGEST == 10_000_000
