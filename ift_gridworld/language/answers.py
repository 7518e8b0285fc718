"""What a language model answers on every held-out lake, kept with a run so that the typical lake can be shown among all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.data import generators
from ift_gridworld.language.lakes import Lakes
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy, eval_mode, model_settings
from ift_gridworld.language.probes import Probes, probe_probabilities
from ift_gridworld.language.rewards import outcome
from ift_gridworld.language.walks import repeat_lakes, sample_paths, step_probabilities
from ift_gridworld.reading import naming, parse_json, read_as, read_text
from ift_gridworld.storage import write_atomically

__all__ = ["ANSWERS", "STEPS_KEPT", "Answers", "SavedAnswers", "answers_of", "load_answers", "most_typical", "save_answers"]

ANSWERS = ".answers.json"  # ends the name of a file of answers
SAMPLES = 16  # answers sampled on a lake
STEPS_KEPT = 12  # steps of an answer whose probabilities are kept


@dataclass(frozen=True, eq=False)
class Answers:
    """What one model answers on each of M lakes.

    Attributes:
        success: share of `SAMPLES` sampled answers that lead to the goal and end there.
        distance: mean squared difference of the probabilities of moves and end to T*, over tiles before the goal.
        moves: the likeliest answer, -1 after its end, -2 where a word is no move.
        ended: 1 if it was ended, else 0.
        chance: probabilities of left, down, right, up and end at its first `STEPS_KEPT` steps; 0 after its end.
    """

    success: Float[np.ndarray, " M"]
    distance: Float[np.ndarray, " M"]
    moves: Int[np.ndarray, "M T"]
    ended: Int[np.ndarray, " M"]
    chance: Float[np.ndarray, "M K 5"]


def answers_of(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, probes: Probes, *, limit: int, seed: int
) -> Answers:
    """Return what a model answers on each lake.

    Args:
        policy: the model.
        tokenizer: the model's moves as tokens.
        lakes: the lakes.
        probes: `Probes.of` the lakes.
        limit: largest number of tokens of an answer.
        seed: seed of the sampled answers.
    """
    with model_settings(policy), eval_mode(policy):
        before = probes.tile != lakes.goal[probes.lake]
        squared = ((probe_probabilities(policy, tokenizer, lakes, probes) - probes.target) ** 2).mean(1)[before]
        number = np.bincount(probes.lake[before], minlength=len(lakes))
        moves, ended = sample_paths(policy, tokenizer, lakes, limit)
        chance, _ = step_probabilities(policy, tokenizer, lakes, moves)
        repeated = repeat_lakes(lakes, SAMPLES)
        sampled = sample_paths(policy, tokenizer, repeated, limit, generators(seed, 1)[0])
    return Answers(
        success=outcome(repeated, *sampled)[0].reshape(SAMPLES, -1).mean(0),
        distance=np.bincount(probes.lake[before], squared, len(lakes)) / np.maximum(number, 1),
        moves=moves.astype(int),
        ended=ended.astype(int),
        chance=chance[:, :STEPS_KEPT],
    )


def most_typical(values: Float[np.ndarray, "R M"], ties: Float[np.ndarray, "R M"]) -> int:
    """Return the index of the item that is nearest to the median of every row.

    The distances to the medians are added over the rows, so that an item which is extreme in one row and makes up for it in
    another is not typical. Of equally near ones the same is asked of `ties`; of those the first is taken.

    Example:
        >>> most_typical(np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.5]]), np.zeros((1, 3)))
        2

    Args:
        values: R numbers of each of M items.
        ties: other numbers of theirs.
    """
    far = np.abs(values - np.median(values, 1, keepdims=True)).sum(0)
    nearest = np.flatnonzero(far <= far.min() + 1e-12)
    apart = np.abs(ties - np.median(ties, 1, keepdims=True)).sum(0)
    return int(nearest[apart[nearest].argmin()])


# ---- files ----


@dataclass(frozen=True, eq=False)
class SavedAnswers:
    """The answers of one method beside those of the base, as they are saved.

    Attributes:
        method: the method.
        seed: of lakes and base.
        rows: the lakes as text, rows parted by blanks.
        prompts: what the model reads of each.
        human: moves of the human's path on each, -1 after its end.
        base, aligned: the answers before and after alignment.
    """

    method: str
    seed: int
    rows: list[str]
    prompts: list[str]
    human: Int[np.ndarray, "M H"]
    base: Answers
    aligned: Answers


def save_answers(saved: SavedAnswers, folder: Path) -> Path:
    """Write METHOD.answers.json into a folder; return its path."""
    content = {name: _plain(value) for name, value in asdict(saved).items()}
    return write_atomically(folder / f"{saved.method}{ANSWERS}", f"{json.dumps(content)}\n".encode())


def _plain(value: object) -> object:
    """Return what JSON can hold, probabilities with as many digits as a picture shows."""
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, np.ndarray):
        return value.round(4).tolist() if value.dtype.kind == "f" else value.tolist()
    return value


def load_answers(path: Path) -> SavedAnswers:
    """Read answers from a file.

    Raises:
        ValueError: if it is no such file.
    """
    with naming(path, "a file of answers", "run the study again with --render"):
        saved = read_as(SavedAnswers, parse_json(read_text(path)), "it")
        count = len(saved.rows)
        tables = [saved.prompts, saved.human, *(x for each in (saved.base, saved.aligned) for x in vars(each).values())]
        if not count or any(len(table) != count for table in tables):
            raise ValueError(f"it has {count} lakes, and tables of other lengths; allowed: one entry a lake, one or more")
    return saved
