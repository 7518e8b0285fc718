"""The task that a language model is aligned on: lakes in disjoint sets, paths on them, and all of it as tokens."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from ift_gridworld.language.data import Completions, tokenised
from ift_gridworld.language.lakes import GOAL, HOLE, NO_MOVE, Lakes, draw_lakes, tiles_along, walk
from ift_gridworld.language.measure import MoveTokenizer, Probes, reward_of
from ift_gridworld.language.models import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.text import VOCABULARY, Compact, record
from ift_gridworld.language.training import align
from ift_gridworld.methods.options import Settings
from ift_gridworld.storage import write_atomically


@dataclass(frozen=True)
class Task:
    """Sizes of everything that is drawn.

    Attributes:
        size: of a side of the lakes.
        ice: share of tiles that hold.
        detours: share of lakes with a way round.
        base: lakes that the base model has read paths on.
        maps: lakes to align on, one demonstration and one pair each.
        validation: lakes that learning rates are chosen on.
        held_out: lakes that everything is measured on.
        noise: how often the base's demonstrators act at random, drawn for each path from this range: mediocre, so that there is
            something to align. Rejected answers are theirs, too, where they are worse than the human's.
        seed: of all of it.
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

    @cached_property
    def lakes(self) -> dict[str, Lakes]:
        """The sets by name; no two share a lake."""
        sizes = {name: getattr(self, name) for name in ("base", "maps", "validation", "held_out")}
        for name, count in sizes.items():
            if count < 1:
                raise ValueError(f"{name} is {count}; allowed: a whole number >= 1")
        drawn = draw_lakes(sum(sizes.values()), self.size, ice=self.ice, detours=self.detours, seed=self.seed)
        ends = np.cumsum(list(sizes.values()))
        return {name: drawn[int(end) - count : int(end)] for (name, count), end in zip(sizes.items(), ends, strict=True)}

    @cached_property
    def paths(self) -> dict[str, Int[np.ndarray, "M T"]]:
        """The human's: a shortest way on each lake, ties shared evenly."""
        return {name: walk(lakes, seed=self.seed + i) for i, (name, lakes) in enumerate(self.lakes.items())}

    @cached_property
    def mediocre(self) -> Int[np.ndarray, "M T"]:
        """Walks of demonstrators that often act at random: what the base model reads."""
        lakes, random = self.lakes["base"], np.random.default_rng((self.seed, 1))
        return walk(lakes, random.uniform(*self.noise, len(lakes)), seed=self.seed + 100)

    @cached_property
    def rejected(self) -> dict[str, Int[np.ndarray, "M T"]]:
        """Such walks on other lakes, drawn again until they are over and no shortest way: what the human does not prefer."""
        return {
            name: worse_walks(self.lakes[name], self.noise, seed=self.seed + i) for i, name in enumerate(("maps", "held_out"))
        }

    def probes(self, name: str) -> Probes:
        return Probes.of(self.lakes[name], self.paths[name])

    def rows(self, name: str, spoken: MoveTokenizer, *, pairs: bool = False) -> list[dict[str, Any]]:
        """A set's prompts with the human's paths, or pairs, as text for a file."""
        best = self.paths[name]
        paths = {"chosen": best, "rejected": self.rejected[name]} if pairs else {"completion": best}
        return [record(spoken.form, self.lakes[name], i, **paths) for i in range(len(best))]

    def source(self, spoken: MoveTokenizer, name: str = "maps", **options: Any) -> TextSource:
        """What a method learns from: the lakes to align on. Or the held-out ones, to ask what it would make of them."""
        lakes = self.lakes[name]
        best, rejected = (as_tokens(lakes, paths[name], spoken) for paths in (self.paths, self.rejected))
        judge = reward_of(lakes, spoken)
        return TextSource(best, best, rejected, end=spoken.end, limit=self.limit, judge=judge, seed=self.seed, **options)

    @property
    def limit(self) -> int:
        """Tokens after which an answer is cut off."""
        return 8 * self.size


def worse_walks(lakes: Lakes, noise: tuple[float, float], *, seed: int) -> Int[np.ndarray, "M T"]:
    """A walk on each lake that acts at random with a chance from the range, ends, and is no shortest way to the gift."""
    random, tries = np.random.default_rng((seed, 1)), 200
    shortest = lakes.distance[np.arange(len(lakes)), lakes.start]
    found, wanting = np.full((len(lakes), 2 * sum(lakes.shape)), NO_MOVE, np.int8), np.arange(len(lakes))
    for attempt in range(tries):
        some = lakes[wanting]
        moves = walk(some, random.uniform(*noise, len(some)), seed=seed + 1000 * attempt)
        last = np.take_along_axis(some.flat, tiles_along(some, moves)[:, -1:], 1)[:, 0]
        worse = (last == HOLE) | ((last == GOAL) & ((moves >= 0).sum(1) > shortest[wanting]))
        found[wanting[worse], : moves.shape[1]] = moves[worse]
        wanting = wanting[~worse]
        if not len(wanting):
            return found[:, : int((found >= 0).sum(1).max())]
    raise ValueError(
        f"noise is {noise}: on {len(wanting)} of {len(lakes)} lakes none of {tries} walks is worse than the best; allowed: more"
    )


def as_tokens(lakes: Lakes, moves: Int[np.ndarray, "M T"], spoken: MoveTokenizer) -> Completions:
    """Prompts with walks as answers: ended by the end token where the gift or a hole is reached, else the walk was cut."""
    last = np.take_along_axis(lakes.flat, tiles_along(lakes, moves)[:, -1:], 1)[:, 0]
    over = (last == GOAL) | (last == HOLE)
    if not isinstance(spoken.form, Compact):
        found = tokenised([record(spoken.form, lakes, i, completion=moves) for i in range(len(lakes))], spoken.tokenizer)[0]
        return Completions(found.ids, found.prompt, found.length - ~over)
    prompts, count = spoken.form.prompt_ids(lakes), (moves >= 0).sum(1)
    tokens = np.full((len(lakes), moves.shape[1] + 1), VOCABULARY.index("<pad>"))
    tokens[:, :-1][moves >= 0] = np.array(spoken.actions[0])[moves[moves >= 0]]
    tokens[np.flatnonzero(over), count[over]] = spoken.end
    length = prompts.shape[1] + count + over
    return Completions(
        np.concatenate([prompts, tokens], 1)[:, : int(length.max())], np.full(len(lakes), prompts.shape[1]), length
    )


# ---- the base model ----


def cache_folder() -> Path:
    """Where base models are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ift_gridworld"


def make_base(
    task: Task,
    policy: LanguagePolicy,
    spoken: MoveTokenizer,
    *,
    model: str,
    steps: int,
    rows: int,
    peak: float,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
    cache: Path | None = None,
) -> bool:
    """Train a model that was built here on the mediocre paths, in place; or take it from the cache. Says whether it did."""
    told = {"task": asdict(task) | {"maps": 0, "validation": 0, "held_out": 0}, "model": model, "steps": steps, "rows": rows}
    told |= {"peak": peak, "torch": torch.__version__, "device": device.type, "dtype": str(dtype), "form": 1}
    told["lakes"] = hashlib.sha256(b"".join(task.lakes["base"].names)).hexdigest()
    name = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]
    path = (cache or cache_folder()) / f"base-{model}-{name}.safetensors"
    from safetensors.torch import load_file, save

    if path.exists():
        policy.load_state_dict(load_file(path, device=str(device)))
        return False
    source = TextSource(
        as_tokens(task.lakes["base"], task.mediocre, spoken), end=spoken.end, rows=rows, seed=task.seed, device=device
    )  # fmt: skip
    settings = Settings(steps=steps, learning_rate=peak)
    align("sft", source, policy, settings=settings, dtype=dtype, progress=progress)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in policy.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, save(tensors))
    return True
