"""README and documentation: links lead somewhere, code runs, commands exist, numbers and words are held to their sources."""

import importlib.util
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from ift_gridworld.cli.main import COMMANDS, command_of
from ift_gridworld.cli.parser import parse
from ift_gridworld.methods import CORE, FAMILIES, METHODS, family_of, method_options
from ift_gridworld.methods.options import option_names
from ift_gridworld.methods.registry import VARIANTS, unregister_method
from ift_gridworld.version import __version__

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = sorted(DOCS.rglob("*.md"))
WRITTEN = [README, *PAGES, *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md"))]
BLOCK = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# By script in experiments/: its command, or the module whose Args it parses.
SCRIPTS = {
    "frozen_lake": "lake", "loss_walk": "losses", "language_model": "language", "failures": "failures", "suite": "suite",
    "reproduction": "reproduction", "frontier": "frontier", "gallery": "gallery", "benchmark": "benchmarks.command",
    "language_updates": "benchmarks.language_updates",
}  # fmt: skip


def load(name):
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def text_of(path):
    return path.read_text(encoding="utf-8")


def without_code(text):
    return re.sub(r"`[^`\n]+`", "`code`", BLOCK.sub("", text))


def blocks(path, language):
    """(what stands behind the language, the code) of each block of a page."""
    return [
        (rest, re.sub(rf"^{spaces}", "", code, flags=re.MULTILINE))
        for spaces, kind, rest, code in BLOCK.findall(text_of(path))
        if kind == language
    ]


def anchors(path):
    """The anchors that headings have, here and on a code host."""
    headings = re.findall(r"^#{1,6} (.+)$", BLOCK.sub("", text_of(path)), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading.replace("`", "").lower()) for heading in headings]
    return {re.sub(r"[\s-]+", "-", heading).strip("-") for heading in plain}


# ---- links ----


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_links_lead_to_files_and_headings(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(path))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.is_file(), f"{target}: no such file"
        assert ROOT in there.parents, f"{target}: outside the repository"
        assert not anchor or anchor in anchors(there), f"{target}: no such heading"


def test_navigation_lists_every_page_once():
    """The pages outside docs/ that it lists are added by a hook because pages link to them."""
    listed = re.findall(r": ([\w/]+\.md)$", text_of(ROOT / "mkdocs.yml"), re.MULTILINE)
    own = {path.relative_to(DOCS).as_posix() for path in PAGES}
    assert len(listed) == len(set(listed)) and own <= set(listed)
    hooks = load("hooks")
    assert set(listed) - own <= hooks.linked([name_of(path) for path in PAGES])
    assert hooks.outside("docs/methods/ift.md", "../../figures/README.md") == "figures/README.md"
    assert hooks.outside("docs/methods/ift.md", "../mathematics.md") is None
    assert list(hooks.links("[![a](b.png)](c.md#d) `[x](y.md)` [e](https://f)")) == ["b.png", "c.md"]


# ---- code ----


@pytest.mark.parametrize("path", [path for path in (README, *PAGES) if blocks(path, "python")], ids=name_of)
def test_python_runs_or_stands_in_its_file(path, tmp_path, monkeypatch):
    """A block with a title is a quotation of that file; the others of a page run one after another in an empty folder."""
    from ift_gridworld.envs.registry import unregister_environment

    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    try:
        for rest, code in blocks(path, "python"):
            title = re.fullmatch(r' title="(.+)"', rest)
            if title:
                assert code in text_of(ROOT / title[1]), f"{title[1]} has no such lines:\n{code}"
            else:
                exec(compile(code, str(path), "exec"), names)
    finally:
        unregister_environment("corner")


def check_command(words):
    """Parse the options of one of our commands, without running it."""
    if words[:2] == ["python", "-m"] and words[2].startswith("benchmarks."):
        name, arguments = words[2], words[3:]
    elif words[0] == "python" and words[1].startswith("experiments/"):
        name = SCRIPTS[Path(words[1]).stem]
        assert (ROOT / words[1]).is_file()
        arguments = words[2:]
    else:
        assert words[0] == "ift-gridworld", words
        name = " ".join(words[1:3]) if " ".join(words[1:3]) in COMMANDS else words[1]
        arguments = words[1 + len(name.split()) :]
    if name.startswith("benchmarks."):
        settings = importlib.import_module(name).Args
    else:
        assert name in COMMANDS, name
        settings = command_of(name, arguments)[1]
    parse(settings, None, arguments)


OTHERS = {  # commands of others, and what they start with; the rest of a line after && is looked at by itself
    "python3 -m venv", "pip install", "pip download", ".venv/bin/pip install", "unzip", "accelerate launch", "mkdocs", "ruff",
    "mypy", "codespell", "git", "python -m pytest", "python -m venv", "python docs/tables.py", "python tests/mutate.py",
    "dask scheduler", "dask ssh", "dask worker",
    ".ci/run", ".ci/lowest",
}  # fmt: skip


@pytest.mark.parametrize("path", [path for path in WRITTEN if blocks(path, "bash")], ids=name_of)
def test_commands_of_a_page_exist(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    try:
        for _, code in blocks(path, "bash"):
            for command in re.split(r"\n| && ", code.strip()):
                words = shlex.split(command.replace(".venv/bin/python", "python"), comments=True)
                if not any(shlex.join(words).startswith(other) for other in OTHERS):
                    check_command(words)
    finally:
        from ift_gridworld.envs.registry import unregister_environment
        from ift_gridworld.evaluation.metrics import unregister_metric
        from ift_gridworld.plugins import _loaded

        unregister_method("fading")
        unregister_metric("confidence")
        unregister_environment("windy-corridor")
        for plugin in [name for name in _loaded if name.startswith("examples/")]:
            del _loaded[plugin]


def test_every_command_and_script_is_listed():
    rows = re.findall(r"^\| `([\w ]+)` \|[^|]+\|([^|]*)\|$", text_of(DOCS / "guides" / "command_line.md"), re.MULTILINE)
    rows = [(command, script) for command, script in rows if command in COMMANDS]
    assert {command for command, _ in rows} == set(COMMANDS) and len(rows) == len(COMMANDS)
    for command, script in rows:
        assert script.strip() in ("", *(f"`experiments/{stem}.py`" for stem, name in SCRIPTS.items() if name == command))
    assert set(SCRIPTS) == {path.stem for path in (ROOT / "experiments").glob("*.py")}


def test_a_command_that_does_not_exist_is_found():
    for wrong in ("ift-gridworld lake --metod ift", "python experiments/failures.py --only", "ift-gridworld lake --steps x"):
        with pytest.raises((SystemExit, AssertionError, KeyError)):
            check_command(shlex.split(wrong))


# ---- the README ----


def test_readme_is_short_and_has_its_two_commands():
    text = text_of(README)
    assert len(text.split()) <= 900
    commands = [line for line in text.splitlines() if line.startswith("python3 -m venv ")]
    assert len(commands) == 2 and all("&&" in command for command in commands)
    assert f"version = {{{__version__}}}" in text and f"version = {{{__version__}}}" in text_of(DOCS / "index.md")
    assert f"version: {__version__}" in text_of(ROOT / "CITATION.cff")


@pytest.mark.parametrize("path", [README, ROOT / "CONTRIBUTING.md", *PAGES], ids=name_of)
def test_prose_is_wrapped_and_long_pages_have_contents(path):
    text = text_of(path)
    width = 100 if path == README else 150
    for line in BLOCK.sub("", text).splitlines():
        assert len(line) <= width or line.startswith(("|", "![", "[![")), line
    headings = re.findall(r"^## ", BLOCK.sub("", text), re.MULTILINE)
    assert len(text.split()) <= 1500 or text.count("](#") >= len(headings), "a long page lists its sections"


# ---- words and numbers ----

RETIRED = [  # of what the glossary calls goal, deterministic, time limit, environment, expensive, demonstrated
    r"\bgifts?\b", r"\bfirm\b", r"\bclocks?\b", r"\bdear\b", r"\bnobody showed\b", r"\bso many\b", r"\bpreferred\b",
    r"\bRLHF PPO\b", r"\bway it was shown\b", r"\bissues? \d+\b", r"/(?:home|root|work)/", r"\bagents? session\b",
]  # fmt: skip


@pytest.mark.parametrize("path", WRITTEN, ids=name_of)
def test_retired_words_do_not_come_back(path):
    prose = without_code(text_of(path))
    assert [word for word in RETIRED if re.search(word, prose, re.IGNORECASE)] == []


def test_all_methods_are_listed_with_family_and_options():
    text = text_of(DOCS / "methods" / "index.md")
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert f"{len(METHODS)} methods" in text and f"{len(METHODS)} methods" in text_of(README)
    for family in FAMILIES:
        (section,) = [part for part in sections if part.lower().startswith(family)]
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line.startswith("| `")]
        assert [row[0].strip("`") for row in rows] == [name for name in METHODS if family_of(name) == family]
        for row in rows:
            name = row[0].strip("`")
            assert re.findall(r"`(\w+)`", row[4]) == option_names(method_options(name))
            assert (f"({name}.md)" in row[1]) == (name in CORE)
            identifier = re.search(r"\[(\d{4}\.\d{4,5})\]", row[3])[1]
            assert row[3] == f"[{identifier}](https://arxiv.org/abs/{identifier})"
    assert all(f"`{name}`" in sections[-1] for name in VARIANTS)


def test_tables_are_those_of_the_saved_numbers():
    tables = load("tables")
    numbers = json.loads(text_of(tables.NUMBERS))
    assert list(numbers) == ["base", *CORE]
    filled = [path for path in tables.pages() if " table -->" in text_of(path)]
    assert {name_of(path) for path in filled} == {"README.md", "docs/benchmarks.md", *(f"docs/methods/{m}.md" for m in CORE)}
    assert all(tables.filled(text_of(path), numbers) == text_of(path) for path in filled)
    changed = numbers | {"sft": numbers["sft"] | {"success": [0.5, 0.25, 0.75]}}
    assert "| SFT | 0.50 [0.25, 0.75] |" in tables.filled(text_of(README), changed)
    assert tables.cell("success", 0.999, 0.998, 1.0) == "1.00" and tables.cell("chosen_logp", -0.0001, -0.0002, 0) == "0.000"


def test_the_base_of_the_tables_is_the_base():
    """The base does not depend on training: computed anew from the same seeds."""
    from ift_gridworld import TabularMDP
    from ift_gridworld.evaluation.metrics import measure
    from ift_gridworld.training import make_base

    mdp = TabularMDP.make("two-paths")
    policies = make_base("mixture", mdp, policy="mlp", seeds=8).probabilities()
    success = measure(mdp, policies)["success"].mean()
    assert json.loads(text_of(DOCS / "core.json"))["base"]["success"][0] == pytest.approx(success, abs=1e-4)


def test_the_table_of_assumptions_is_computed():
    """Table 1 with numbers, of the base: means over steps, as the command prints them."""
    from ift_gridworld import TabularMDP, train
    from ift_gridworld.training import make_base

    rows = re.findall(r"^\| (SFT|PPO|DPO online|DPO|IFT)\b[^|]*\|(.*)\|$", text_of(DOCS / "mathematics.md"), re.MULTILINE)
    written = {name: cells.replace("−", "-").split("|")[1:5] for name, cells in rows if "0.272" in cells}
    mdp = TabularMDP.make("two-paths")
    for name, method in (("SFT", "sft"), ("PPO", "ppo"), ("DPO online", "dpo_online"), ("DPO", "dpo"), ("IFT", "ift")):
        base = make_base("mixture", mdp, policy="mlp", seeds=8)
        of_base = train(method, mdp, base, steps=1, snapshots=2).estimation["base"]
        truth, estimate, gap = (of_base[key].mean() for key in ("truth", "estimate", "gap"))
        expected = truth, estimate, estimate - truth, gap
        assert [float(cell) for cell in written[name]] == pytest.approx(expected, abs=6e-4), name


def quoted(page, key):
    """The number, as written, that a page of experiments/ quotes under a key."""
    found = re.search(rf"\*\*([^*]+)\*\* <!-- {re.escape(key)} -->( \(not clear\))?", text_of(ROOT / "experiments" / page))
    return float(found[1].replace("−", "-").rstrip(" %")), not found[2]


def test_what_is_said_of_ift_and_sft_holds_in_the_studies():
    """README and FAQ say it in words, the studies with numbers."""
    settings, _ = quoted("README.md", "settings")
    for path in (README, DOCS / "studies.md", DOCS / "faq.md"):
        assert f"{settings:.0f} settings" in text_of(path)
    for claim in ("ift<sft:distance", "ift>sft:success"):
        view = f"{claim}, common rate, last checkpoint"
        gained = quoted("README.md", f"{view} | {'clearly' if 'distance' in claim else 'holds'}")[0]
        lost = quoted("README.md", f"{view} | reversed")[0]
        assert gained < lost
    assert quoted("README.md", "ift<sft:distance, common rate, last checkpoint | clearly")[0] < 10  # per cent: seldom
    for claim, holds in (("ift<orpo", True), ("orpo<sft", False), ("dpo<ift", False)):
        share = quoted("README.md", f"{claim}:distance, common rate, last checkpoint | holds")[0]
        assert (share > 50) == holds
    assert not quoted("language.md", "ift less sft: greedy | value")[1]
    sampled, is_clear = quoted("language.md", "ift less sft: sampled | value")
    assert sampled < 0 and is_clear


@pytest.mark.slow
def test_which_methods_lose_the_chosen_answer():
    """As the FAQ says: DPO in 8 of 8 seeds on 4x4, the remedies in none."""
    from ift_gridworld import TabularMDP, train
    from ift_gridworld.training import make_base

    mdp = TabularMDP.make("4x4")
    less_likely = {}
    for method in ("dpo", "orpo", "cpo", "nca", "bco", "sppo", "cal_dpo", "ipo", "dpop", "dpo_online"):
        run = train(method, mdp, make_base("mixture", mdp, policy="mlp", seeds=8), snapshots=2)
        chosen = run.metrics["chosen_logp"]
        less_likely[method] = int((chosen[-1] < chosen[0]).sum())
    assert less_likely == dict.fromkeys(less_likely, 0) | {"dpo": 8}


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")
    sys.modules.pop("docs_docstrings", None)
    markdown = load("docstrings").markdown
    assert markdown("π(a*_t) and `s*_t`") == r"π(a\*_t) and `s*_t`"
    assert markdown("See\n    >>> 2*(3)\n    6\n\nend") == "See\n    ```pycon\n    >>> 2*(3)\n    6\n    ```\n\nend"
