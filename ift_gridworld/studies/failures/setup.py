"""The lake, data and bases that a failure is computed on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ift_gridworld.data import demonstrations, generators, preference_pairs
from ift_gridworld.evaluation.metrics import even_change
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.base import Method
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.loop import train
from ift_gridworld.training.run import Run

__all__ = ["Setup", "choose_frames", "signed"]

FRAMES = 64  # of a film


class Setup:
    """A lake without slip, the human's data on it, and bases to align; every update of a training run is kept.

    Args:
        name: of the lake.
        seeds: number of policies over which failures are counted.
        seed: the first of them, and that of the data.
    """

    def __init__(self, name: str, seeds: int, seed: int) -> None:
        self.seeds, self.seed = seeds, seed
        self.mdp = TabularMDP.make(name)
        self.lake = self.mdp.where
        draw_from = generators(seed, 1)[0]
        self.demonstrations = demonstrations(self.mdp, 1, generator=draw_from)
        self.preferences = preference_pairs(self.mdp, 1, generator=draw_from)

    def about(self, policy: str, drawn: int) -> str:
        """Describe lake, policy, base and seeds in a line."""
        return f"{self.lake.name} · no slip · {policy} · base: mixture · drawn: seed {drawn}, counted: {self.seeds} seeds"

    def base(self, policy: str, *, seeds: int | None = None, seed: int | None = None) -> LakePolicy:
        """Return the base policy of that kind, for all seeds unless others are given."""
        start = self.seed if seed is None else seed
        return make_base("mixture", self.mdp, policy=policy, seeds=seeds or self.seeds, seed=start)

    def train(
        self, method: str | type[Method[Any]], base: LakePolicy, *, probe: Callable[[], None] | None = None, **options: Any
    ) -> Run:
        """Train on the human's data; every update is a snapshot, and `probe` is called before the first and after each."""
        steps = options.pop("steps", 300)
        options = {"demonstrations": self.demonstrations, "preferences": self.preferences, "seed": self.seed, **options}
        if probe is not None:
            probe()
            options["progress"] = lambda done, total: probe()
        return train(method, self.mdp, base, steps=steps, snapshots=steps + 1, **options)


def choose_frames(policies: Sequence[Float[np.ndarray, "U S A"]]) -> list[int]:
    """Return updates between which policies change about equally much, of all cases together."""
    stacked = np.stack(policies, 1)
    return even_change(np.arange(len(stacked)), np.nan_to_num(stacked), FRAMES)


def signed(x: float) -> str:
    """Return a number with its sign, the minus as wide as the plus."""
    digits = 2 if abs(x) < 100 else 0
    return f"{round(x, digits) + 0.0:+.{digits}f}".replace("-", "−")  # + 0.0: no minus before nothing
