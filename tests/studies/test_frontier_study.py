"""The frontier study as a whole, small: what it writes, that it goes on where it was, and what it draws."""

import json

import numpy as np
import pytest

from ift_gridworld.cli.frontier import Args, check
from ift_gridworld.studies.frontier import study
from ift_gridworld.studies.frontier.conditions import Condition
from ift_gridworld.studies.frontier.questions import StudyTable, answer_questions
from ift_gridworld.studies.frontier.study import FrontierScope, load, report, run_study

CONDITIONS = (Condition(), Condition(flipped=0.3), Condition(base="random"))
SCOPE = FrontierScope(("sft", "dft", "dpo", "robust", "kto"), 3, 2, 2, 2, 0, 20, CONDITIONS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frontier")
    return folder, run_study(SCOPE, {"seed": 0}, folder, 1)


def test_every_method_stands_under_every_condition_that_concerns_it(finished):
    _, tables = finished
    rows = tables["results"]
    found = set(zip(rows["condition"], rows["method"], strict=True))
    plain, flipped, random = (condition.name for condition in CONDITIONS)
    everyone = {"base", *SCOPE.methods}
    expected = {(name, method) for name in (plain, random) for method in everyone}
    assert found == expected | {(flipped, method) for method in ("base", "dpo", "robust", "kto")}
    assert sum(rows["condition"] == plain) == 3 * len(everyone) and sum(rows["condition"] == random) == 2 * len(everyone)
    assert (rows["frontier_gap"] > -1e-6).all(), "no policy lies above the frontier"
    np.testing.assert_allclose(rows["kl_discounted"][rows["method"] == "base"].astype(float), 0, atol=1e-9)


def test_an_interrupted_study_goes_on_where_it_was(finished, monkeypatch):
    """With one part of the results gone only that part is run again, and the tables are the same to the last digit."""
    folder, tables = finished
    before = {name: (folder / f"{name}.csv.gz").read_bytes() for name in tables}
    (gone,) = (folder / "parts").glob("results-kto_random_deterministic_random_*")
    gone.unlink()
    run_parts, started = study.run_parts, []

    def spy(parts, *arguments):
        started.append([part.name for part in parts if not part.is_saved(folder)])
        run_parts(parts, *arguments)

    monkeypatch.setattr(study, "run_parts", spy)
    run_study(SCOPE, {"seed": 0}, folder, 1)
    assert started == [[], [f"kto {CONDITIONS[2].name}"]]
    assert {name: (folder / f"{name}.csv.gz").read_bytes() for name in tables} == before


def test_the_report_writes_the_answers_that_it_prints(finished, tmp_path):
    folder, tables = finished
    printed, paths, findings = report(tables, tmp_path, "light")
    assert {path.name for path in paths} == {"findings.json", "answers.png", "answers.pdf", "plane.png", "plane.pdf"}
    saved = json.loads((tmp_path / "findings.json").read_text(encoding="utf-8"))
    assert saved["findings"] | saved["choices"] == findings
    answers = answer_questions(StudyTable(load(folder)["results"]))
    assert len(printed) == sum(bool(each) for each in answers.values())
    for key, each in answers.items():
        assert [findings[f"{key} {answer.method}"]["place"] for answer in each] == list(range(1, len(each) + 1))
    assert set(saved["choices"]) == {
        f"{method} {condition}"
        for method, condition in zip(tables["trials"]["method"], tables["trials"]["condition"], strict=True)
    }
    assert "best" in (tmp_path / "answers.png.txt").read_text(encoding="utf-8")


def test_what_makes_no_sense_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--workers is -1; allowed: a whole number >= 0"):
        check(Args(workers=-1, out=tmp_path))
    with pytest.raises(ValueError, match="--publish is for the whole study; allowed without it: --quick"):
        check(Args(quick=True, publish=True))
    with pytest.raises(ValueError, match=r"trials\.csv\.gz is not there; allowed: the --out of a finished run"):
        load(tmp_path)
