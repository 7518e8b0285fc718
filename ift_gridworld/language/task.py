"""The task that a language model is aligned on: lakes in disjoint sets, paths on them, and all of it as tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int

from ift_gridworld.checks import unbox_fields
from ift_gridworld.language.data import Completions, tokenize_rows
from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, NO_MOVE, Lakes, draw_lakes, tiles_along, walk
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.probes import Probes
from ift_gridworld.language.rewards import exact_reward, exact_teacher
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.text import PAD, VOCABULARY, Compact, dataset_row

__all__ = ["Task", "encode_walks", "rejected_walks"]

TRIES = 200  # walks on a lake after which `rejected_walks` gives up


@dataclass(frozen=True)
class Task:
    """Sizes of everything that is drawn.

    Attributes:
        size: tiles of a side of the lakes.
        ice: probability of a tile to be frozen.
        detours: share of lakes on which the shortest path is longer than rows plus columns.
        base: number of lakes whose paths the base model learns.
        maps: number of lakes to align on, with one demonstration and one preference pair each.
        validation: number of lakes that learning rates are chosen on.
        held_out: number of lakes that everything is measured on.
        noise: range of the probability with which the base model's demonstrators act at random, drawn for each path. Such
            paths are mediocre, so that there is something to align. Rejected answers are of this kind, too.
        seed: seed of all of it.
    """

    size: int = 4
    ice: float = 0.7
    detours: float = 0.5
    base: int = 8000
    maps: int = 2000
    validation: int = 100
    held_out: int = 200
    noise: tuple[float, float] = (0.2, 0.8)
    seed: int = 0

    def __post_init__(self) -> None:
        unbox_fields(self)

    @cached_property
    def lakes(self) -> dict[str, Lakes]:
        """The sets base, maps, validation and held_out; no two share a lake.

        Raises:
            ValueError: if a set is empty, or there are too few lakes (`draw_lakes`).
        """
        sizes = {name: getattr(self, name) for name in ("base", "maps", "validation", "held_out")}
        for name, count in sizes.items():
            if count < 1:
                raise ValueError(f"{name} is {count}; allowed: a whole number >= 1")
        lakes = draw_lakes(sum(sizes.values()), self.size, ice=self.ice, detours=self.detours, seed=self.seed)
        ends = np.cumsum(list(sizes.values()))
        return {name: lakes[int(end) - count : int(end)] for (name, count), end in zip(sizes.items(), ends, strict=True)}

    @cached_property
    def paths(self) -> dict[str, Int[np.ndarray, "M T"]]:
        """The human's paths by set: a shortest path on each lake, ties shared evenly."""
        return {name: walk(lakes, seed=self.seed + i) for i, (name, lakes) in enumerate(self.lakes.items())}

    @cached_property
    def base_walks(self) -> Int[np.ndarray, "M T"]:
        """Paths that the base model learns, of demonstrators that often act at random."""
        lakes, random = self.lakes["base"], np.random.default_rng((self.seed, 1))
        return walk(lakes, random.uniform(*self.noise, len(lakes)), seed=self.seed + 100)

    @cached_property
    def rejected(self) -> dict[str, Int[np.ndarray, "M T"]]:
        """Rejected answers of the sets maps and held_out (`rejected_walks`)."""
        return {
            name: rejected_walks(self.lakes[name], self.noise, seed=self.seed + i)
            for i, name in enumerate(("maps", "held_out"))
        }

    def probes(self, name: str) -> Probes:
        """Return the probes of a set."""
        return Probes.of(self.lakes[name], self.paths[name])

    def dataset_rows(self, name: str, tokenizer: MoveTokenizer, *, pairs: bool = False) -> list[dict[str, Any]]:
        """Return a set as rows for a file: prompts with the human's paths, or with chosen and rejected ones if `pairs`."""
        best = self.paths[name]
        paths = {"chosen": best, "rejected": self.rejected[name]} if pairs else {"completion": best}
        return [dataset_row(tokenizer.form, self.lakes[name], i, **paths) for i in range(len(best))]

    def source(self, tokenizer: MoveTokenizer, name: str = "maps", **options: Any) -> TextSource:
        """Return a set as a data source.

        Args:
            tokenizer: the model's moves as tokens.
            name: maps, to align on; or held_out, to ask what a method assumes there.
            options: other fields of `TextSource`.
        """
        lakes = self.lakes[name]
        best, rejected = (encode_walks(lakes, paths[name], tokenizer) for paths in (self.paths, self.rejected))
        options = {
            "reward_function": exact_reward(lakes, tokenizer),
            "teacher_function": exact_teacher(lakes, tokenizer),
        } | options
        return TextSource(best, best, rejected, end=tokenizer.end, limit=self.limit, seed=self.seed, **options)

    @property
    def limit(self) -> int:
        """Largest number of tokens of a sampled answer."""
        return 8 * self.size


def rejected_walks(lakes: Lakes, noise: tuple[float, float], *, seed: int) -> Int[np.ndarray, "M T"]:
    """Return a walk on each lake that often acts at random, ends, and is no shortest path to the goal.

    Args:
        lakes: the lakes.
        noise: range of the probability of a random move, drawn for each walk.
        seed: seed of the walks.

    Raises:
        ValueError: if on some lake none of 200 walks is worse than a shortest path.
    """
    random = np.random.default_rng((seed, 1))
    shortest = lakes.distance[np.arange(len(lakes)), lakes.start]
    result, missing = np.full((len(lakes), 2 * sum(lakes.shape)), NO_MOVE, np.int8), np.arange(len(lakes))
    for attempt in range(TRIES):
        some = lakes[missing]
        moves = walk(some, random.uniform(*noise, len(some)), seed=seed + 1000 * attempt)
        last = _last_code(some, moves)
        worse = (last == HOLE_CODE) | ((last == GOAL_CODE) & ((moves >= 0).sum(1) > shortest[missing]))
        result[missing[worse], : moves.shape[1]] = moves[worse]
        missing = missing[~worse]
        if not len(missing):
            return result[:, : int((result >= 0).sum(1).max())]
    raise ValueError(
        f"noise is {noise}: on {len(missing)} of {len(lakes)} lakes none of {TRIES} walks is worse than the best; allowed: more"
    )


def _last_code(lakes: Lakes, moves: Int[np.ndarray, "M T"]) -> Int[np.ndarray, " M"]:
    """Return the code of the tile that each walk ends on."""
    return np.take_along_axis(lakes.flat, tiles_along(lakes, moves)[:, -1:], 1)[:, 0]


def encode_walks(lakes: Lakes, moves: Int[np.ndarray, "M T"], tokenizer: MoveTokenizer) -> Completions:
    """Return prompts with walks as answers, as token ids.

    A walk that reaches the goal or a hole has an end token; one that was cut off has none.

    Args:
        lakes: the lakes.
        moves: one walk on each, `NO_MOVE` after its end.
        tokenizer: the model's moves as tokens.
    """
    last = _last_code(lakes, moves)
    over = (last == GOAL_CODE) | (last == HOLE_CODE)
    if not isinstance(tokenizer.form, Compact):
        rows = [dataset_row(tokenizer.form, lakes, i, completion=moves) for i in range(len(lakes))]
        data = tokenize_rows(rows, tokenizer.model_tokenizer)[0]
        return Completions(data.ids, data.prompt, data.length - ~over)
    prompts, count = tokenizer.form.prompt_ids(lakes), (moves >= 0).sum(1)
    tokens = np.full((len(lakes), moves.shape[1] + 1), VOCABULARY.index(PAD))
    tokens[:, :-1][moves >= 0] = np.array(tokenizer.action_tokens[0])[moves[moves >= 0]]
    tokens[np.flatnonzero(over), count[over]] = tokenizer.end
    length = prompts.shape[1] + count + over
    return Completions(
        np.concatenate([prompts, tokens], 1)[:, : int(length.max())], np.full(len(lakes), prompts.shape[1]), length
    )
