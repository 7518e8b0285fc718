"""The data as Hugging Face's data sets: fixed splits that share no lake, right answers, and rows that rewards can judge."""

import json
import sys
from dataclasses import replace

import pytest

from ift_gridworld.language.data import tokenize_rows
from ift_gridworld.language.dataset import SPLITS, lake_dataset, split_rows
from ift_gridworld.language.rewards import optimal_mass, reach_goal, shortest_path
from ift_gridworld.language.task import Task
from ift_gridworld.language.text import COMPACT, FORMS, text_of

TASK = Task(base=1, maps=12, validation=5, held_out=7, seed=3)


@pytest.mark.parametrize("form", FORMS)
def test_answers_are_right_and_rejected_ones_are_worse(form):
    lakes = []
    for split in SPLITS:
        rows, pairs = split_rows(TASK, split, form=form), split_rows(TASK, split, form=form, pairs=True)
        columns = {name: [row[name] for row in rows] for name in rows[0]}
        prompts, maps = columns["prompt"], columns["lake"]
        assert shortest_path(prompts, columns["completion"]) == [1.0] * len(rows), "read from the prompts"
        assert shortest_path(prompts, columns["completion"], lake=maps) == [1.0] * len(rows)
        assert [row["chosen"] for row in pairs] == columns["completion"]
        assert max(shortest_path(prompts, [row["rejected"] for row in pairs])) == 0.0
        assert (
            min(optimal_mass(prompts, columns["completion"])) == 1.0 > min(reach_goal(prompts, [r["rejected"] for r in pairs]))
        )
        assert columns["shortest"] == [len(text_of(answer).split()) for answer in columns["completion"]]
        lakes += maps
    assert len(lakes) == 24 == len(set(lakes)), "no lake is in two splits"
    again, other = (replace(TASK, seed=seed) for seed in (3, 4))
    assert (
        split_rows(TASK, "train", form=form) == split_rows(again, "train", form=form) != split_rows(other, "train", form=form)
    )


def test_rows_are_read_by_our_own_trainer():
    data, left_out = tokenize_rows(split_rows(TASK, "train", form="compact"), COMPACT.tokenizer)
    assert len(data) == 12 and left_out == 0


def test_it_is_a_dataset_dict_with_fixed_splits(tmp_path):
    pytest.importorskip("datasets")
    data = lake_dataset(TASK)
    assert {split: len(rows) for split, rows in data.items()} == {"train": 12, "validation": 5, "test": 7}
    assert data["train"][3] == split_rows(TASK, "train")[3] and data["test"].column_names == list(split_rows(TASK, "test")[0])
    data["test"].to_json(tmp_path / "test.jsonl")
    lines = (tmp_path / "test.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == split_rows(TASK, "test")
    assert lake_dataset(TASK, pairs=True)["validation"].column_names == ["prompt", "chosen", "rejected", "lake", "shortest"]


def test_what_is_missing_or_unknown_is_one_line(monkeypatch):
    with pytest.raises(ValueError, match="^form is 'words'; allowed: compact, chat, plain$"):
        lake_dataset(TASK, form="words")
    with pytest.raises(ValueError, match="^split is 'tests'; did you mean test"):
        split_rows(TASK, "tests")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match="^lake_dataset needs the package datasets \\(.*\\); pip install datasets$"):
        lake_dataset(TASK)
