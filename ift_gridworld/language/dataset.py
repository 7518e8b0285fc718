"""Lakes as a data set with fixed splits, for any trainer that reads data sets of Hugging Face's.

The command ``ift-gridworld language --export FOLDER`` writes the same rows as JSON, one a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ift_gridworld.checks import check_choice
from ift_gridworld.language.task import Task, rejected_walks
from ift_gridworld.language.text import FORMS, dataset_row

if TYPE_CHECKING:
    from datasets import DatasetDict

__all__ = ["SPLITS", "lake_dataset", "split_rows"]

SPLITS = {"train": "maps", "validation": "validation", "test": "held_out"}  # sets of a `Task` by split


def lake_dataset(task: Task | None = None, *, form: str = "chat", pairs: bool = False) -> DatasetDict:
    """Return the lakes of a task as a `datasets.DatasetDict` with the splits train, validation and test.

    No two splits share a lake. The seed of the task decides every row; no row depends on the process or the machine.

    Example::

        data = lake_dataset(Task(size=4, maps=1000, seed=0))
        GRPOTrainer(model, reward_funcs=[reach_goal], train_dataset=data["train"], eval_dataset=data["validation"])

    Args:
        task: sizes of lakes and splits (default: 2000 lakes of 4 x 4 to train on, 100 and 200 others).
        form: "chat" (messages), "plain" (text in words) or "compact" (the vocabulary of models that are built here).
        pairs: give chosen and rejected answers in place of one completion.

    Returns:
        Columns ``prompt``, ``completion`` (or ``chosen`` and ``rejected``), ``lake`` (rows of the map, with ``/`` between
        them) and ``shortest`` (number of moves of a shortest path).

    Raises:
        ValueError: for an unknown form, or if there are too few lakes (`draw_lakes`).
        ImportError: in one line, where the package datasets is missing.
    """
    check_choice("form", form, FORMS)
    try:
        from datasets import Dataset, DatasetDict
    except ImportError as error:
        raise ImportError(f"lake_dataset needs the package datasets ({error}); pip install datasets") from None
    task = Task() if task is None else task
    return DatasetDict({split: Dataset.from_list(split_rows(task, split, form=form, pairs=pairs)) for split in SPLITS})


def split_rows(task: Task, split: str, *, form: str = "chat", pairs: bool = False) -> list[dict[str, Any]]:
    """Return the rows of one split as `lake_dataset` has them, without the package datasets.

    >>> task = Task(size=2, base=1, maps=1, validation=1, held_out=1, ice=1.0, detours=0.0)
    >>> row = split_rows(task, "test", form="compact")[0]
    >>> list(row), row["shortest"]
    (['prompt', 'completion', 'lake', 'shortest'], 2)

    Args:
        task, form, pairs: as for `lake_dataset`.
        split: train, validation or test.

    Raises:
        ValueError: for an unknown split or form.
    """
    check_choice("split", split, SPLITS)
    check_choice("form", form, FORMS)
    name = SPLITS[split]
    lakes, best = task.lakes[name], task.paths[name]
    if pairs:
        seed = task.seed + list(SPLITS).index(split)
        paths = {"chosen": best, "rejected": rejected_walks(lakes, task.noise, seed=seed)}
    else:
        paths = {"completion": best}
    return [
        dataset_row(FORMS[form], lakes, i, **paths)
        | {"lake": "/".join(lakes.rows(i)), "shortest": int(lakes.distance[i, lakes.start[i]])}
        for i in range(len(lakes))
    ]
