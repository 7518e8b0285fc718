"""Runs of a language study in worker processes: each is saved when it comes back, and a resumed study runs what is missing."""

import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from cluster_parts import Inline

from ift_gridworld import TabularMDP, train
from ift_gridworld.language.answers import Answers, SavedAnswers
from ift_gridworld.studies import language_parts, language_study
from ift_gridworld.studies.language_parts import load_part, save_part
from ift_gridworld.studies.language_settings import StudySettings
from ift_gridworld.training import make_base


def a_run(seed, name, rate=1e-3, **more):
    measured = [{"step": 0, "sampled": 0.1}, {"step": 3, "sampled": 1 / 3}]
    return {
        "method": name, "seed": seed, "learning_rate": rate, "loss": [0.5, float("nan"), 1 / 7], "measured": measured,
        "timed": 2, "seconds": 1.5, "tokens": 9, "memory": 5, "utilisation": 0.1, **more,
    }  # fmt: skip


@pytest.fixture
def started(monkeypatch):
    """What is run, in a pool that runs everything here."""
    runs, pools = [], []

    @contextmanager
    def worker_pool(workers, cluster):
        pools.append((workers, cluster))
        yield Inline()

    def run(settings, seed, name, workers):
        runs.append((seed, name, workers))
        return a_run(seed, name, entropy=0.25, validation={"0.001": 0.5})

    def temper(settings, sft, ift, workers):
        runs.append((sft["seed"], "tempered", workers))
        return sft | {"method": "sft_tempered"}

    monkeypatch.setattr(language_study, "worker_pool", worker_pool)
    monkeypatch.setattr(language_study, "_prepare", lambda settings, seed, workers: runs.append((seed, "base", workers)))
    monkeypatch.setattr(language_study, "_run", run)
    monkeypatch.setattr(language_study, "_temper", temper)
    return runs, pools


def of_all(runs):
    return [(run["seed"], run["method"]) for run in runs]


def test_a_resumed_study_runs_what_is_missing(started, tmp_path):
    """On a cluster, whose workers set their own number of threads; the longest runs first, results in order."""
    runs, pools = started
    settings = StudySettings(methods=("sft", "dpo", "ift"), seeds=2, cluster="tcp://host:1", out=tmp_path)
    first = language_study.run_study(settings)
    order = [(seed, name) for seed in (0, 1) for name in ("sft", "dpo", "ift")]
    assert of_all(first) == [*order, (0, "sft_tempered"), (1, "sft_tempered")]
    assert [run[:2] for run in runs[:4]] == [(0, "base"), (1, "base"), (0, "dpo"), (1, "dpo")]
    assert sorted(run[:2] for run in runs[2:8]) == sorted(order) and {threads for *_, threads in runs} == {1}
    assert [address for _, address in pools] == ["tcp://host:1"]
    runs.clear()
    np.testing.assert_equal(language_study.run_study(replace(settings, resume=True)), first)
    assert [run[:2] for run in runs] == [(0, "tempered"), (1, "tempered")]
    runs.clear()
    next((tmp_path / "parts").glob("ift-1-*.json")).write_text('{"about": ', encoding="utf-8")  # cut short
    more = replace(settings, resume=True, seeds=3, methods=("ift", "sft"), workers=7, cluster="local:2")
    assert of_all(language_study.run_study(more))[:6] == [(seed, name) for seed in (0, 1, 2) for name in ("ift", "sft")]
    assert {run[:2] for run in runs if run[1] in ("ift", "sft", "base")} == {
        (1, "ift"), (1, "base"), (2, "ift"), (2, "sft"), (2, "base")
    }  # fmt: skip
    runs.clear()
    language_study.run_study(settings)
    assert len(runs) == 2 + 6 + 2, "without --resume all are run again"
    runs.clear()
    language_study.run_study(replace(settings, resume=True, save=tmp_path / "models"))
    assert len(runs) == 2 + 6 + 2, "a run that is read has no model to save"


def test_a_saved_run_counts_if_all_that_it_depends_on_is_the_same(tmp_path, monkeypatch):
    settings = StudySettings(out=tmp_path / "out", data=tmp_path / "rows.jsonl")
    settings.data.write_text("{}", encoding="utf-8")
    assert load_part(settings, 1, "ift") is None
    save_part(settings, 1, "ift", a_run(1, "ift"))
    np.testing.assert_equal(load_part(settings, 1, "ift"), a_run(1, "ift"))
    same = replace(settings, methods=("dpo",), seeds=9, workers=3, cluster="local:1", resume=True, save=tmp_path)
    assert load_part(same, 1, "ift") is not None and load_part(same, 2, "ift") is None and load_part(same, 1, "sft") is None
    for changes in (
        {"steps": 301}, {"learning_rates": (1e-3,)}, {"betas": (0.1,)}, {"extend": False}, {"options": (("mixing", 0.4),)},
        {"film": True}, {"dtype": "bfloat16"}, {"methods": ("sft", "ift")}, {"task": replace(settings.task, detours=0.4)},
    ):  # fmt: skip
        assert load_part(replace(settings, **changes), 1, "ift") is None, changes
    settings.data.write_text("{} ", encoding="utf-8")
    assert load_part(settings, 1, "ift") is None, "other rows"
    settings.data.write_text("{}", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(language_parts, "versions", lambda more: {"torch": "1.0"})
        assert load_part(settings, 1, "ift") is None
    (path,) = (tmp_path / "out" / "parts").iterdir()
    content = json.loads(path.read_text(encoding="utf-8"))
    for damage in ({"run": {"method": "ift"}}, {"run": 3}, {"also": None}):
        path.write_text(json.dumps(content | damage), encoding="utf-8")
        assert load_part(settings, 1, "ift") is None, damage


def test_a_film_and_answers_come_back_with_their_run(tmp_path):
    """What a study writes in the end is the same to the last byte."""
    settings = StudySettings(out=tmp_path / "out", film=True)
    mdp = TabularMDP.make("two-paths")
    film = train("sft", mdp, make_base("uniform", mdp, policy="tabular"), steps=2)
    one = Answers(np.array([1 / 3]), np.array([0.12345]), np.array([[2, 2, -1]]), np.array([1]), np.full((1, 12, 5), 0.2))
    answers = SavedAnswers("sft", 0, ["SF HG"], ["SF\nHG"], np.array([[2, 1]]), base=one, aligned=one)
    run = a_run(0, "sft", film=film, answers=answers)
    written = []
    for folder in ("first", "second"):
        out = replace(settings, out=tmp_path / folder)
        (tmp_path / folder).mkdir()
        language_study.save_runs(out, [run])
        written.append({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()})
        save_part(settings, 0, "sft", run)
        run = load_part(settings, 0, "sft")
    assert set(written[0]) == {"sft.json", "sft.film.json", "sft.answers.json"} and written[0] == written[1]
    next((settings.out / "parts").glob("*.film.json")).unlink()
    assert load_part(settings, 0, "sft") is None
