"""Conditions under which methods are compared: one is the centre, every other one changes a single factor of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import numpy as np
import torch

from ift_gridworld.data.trajectories import concatenate
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.studies.data import SeedData, draw_data, trim
from ift_gridworld.studies.lakes import DYNAMICS
from ift_gridworld.studies.settings import named_base

__all__ = ["HELD_IN", "SUITE", "Condition", "PreparedCondition", "prepare", "study_conditions"]

INTENDED = 0.8  # how often a move goes as intended on slippery lakes
SUITE = ("two-paths", "4x4", "8x8", "bridge", "open")
SIDE, FROZEN = 6, 0.8  # of random lakes
FLIPPED = (0.1, 0.2, 0.3)  # shares of wrong labels
HELD_IN = "held-in"
FIRST_SEED = {"random": 910_000, HELD_IN: 920_000}  # of the maps; slippery lakes are others than deterministic ones
SLIPPERY_OFFSET = 5_000


@dataclass(frozen=True)
class Condition:
    """One condition; its name says all of it, as in ``random,slippery,good-0.5,mlp-64,10,0.3,S``.

    Attributes:
        lakes: ``random`` (those that are reported), ``held-in`` (those on which trials are judged), or a map of `SUITE`.
        dynamics: a name in `lakes.DYNAMICS`.
        base, policy: as in `studies.settings.Setting`.
        data: number of demonstrations, and of preference pairs, of each policy.
        flipped: share of the pairs whose labels are wrong.
        start: ``S``, or ``anywhere``: episodes begin on any tile that is walked on, while demonstrations and pairs begin at S.
    """

    lakes: str = "random"
    dynamics: str = "deterministic"
    base: str = "good-0.5"
    policy: str = "mlp-64"
    data: int = 10
    flipped: float = 0.0
    start: str = "S"

    @property
    def name(self) -> str:
        return ",".join(f"{getattr(self, field.name)}" for field in fields(self))

    @classmethod
    def parse(cls, name: str) -> Condition:
        """Return the condition of a name."""
        lakes, dynamics, base, policy, data, flipped, start = name.split(",")
        return cls(lakes, dynamics, base, policy, int(data), float(flipped), start)

    @property
    def is_centre(self) -> bool:
        """Whether nothing but the dynamics differs from the default."""
        return replace(self, dynamics="deterministic") == Condition()

    @property
    def is_headline(self) -> bool:
        """True if effects are reported of it: the centre with right labels, and with the largest share of wrong ones."""
        return replace(self, flipped=0.0).is_centre and self.flipped in (0.0, FLIPPED[-1])

    @property
    def held_in(self) -> Condition:
        """The condition under which a method's learning rate and knob are chosen for this one.

        Where labels are wrong they are chosen with a fifth of wrong labels, else with none; all other factors are the centre's.
        """
        return Condition(HELD_IN, self.dynamics, flipped=0.2 if self.flipped else 0.0)


def study_conditions() -> list[Condition]:
    """Return all conditions that are reported: the centre, its variations and the suite, each on both dynamics."""
    centre = Condition()
    varied = [
        centre,
        *(replace(centre, base=base) for base in ("random", "good-0.1", "good-0.9")),
        replace(centre, policy="tabular"),
        *(replace(centre, data=count) for count in (1, 40)),
        *(replace(centre, flipped=share) for share in FLIPPED),
        replace(centre, start="anywhere"),
        *(replace(centre, lakes=name) for name in SUITE),
    ]
    return [replace(condition, dynamics=dynamics) for dynamics in DYNAMICS for condition in varied]


@dataclass(frozen=True, eq=False)
class PreparedCondition:
    """Lakes, data and bases of a condition; policy i is that of lake i // seeds.

    Attributes:
        names: of the lakes.
        lakes: their MDPs.
        data: what each policy learns from.
        judged: the same data with the right labels, by which likelihoods are measured.
        base: one policy for each lake and seed.
        seeds: number of policies on each lake.
    """

    names: list[str]
    lakes: list[TabularMDP]
    data: list[SeedData]
    judged: list[SeedData]
    base: LakePolicy
    seeds: int


@lru_cache(maxsize=64)  # all methods of a condition share it, and with it the lakes' frontiers
def prepare(condition: Condition, count: int, seeds: int, seed: int) -> PreparedCondition:
    """Return lakes, data and bases of a condition.

    Args:
        condition: the condition.
        count: number of random lakes.
        seeds: number of policies on each map of the suite; on random lakes there is one.
        seed: of the study.
    """
    maps = _maps(condition, count, seed)
    seeds = seeds if condition.lakes in SUITE else 1
    names, origins, data = [], [], []
    for i, (name, rows) in enumerate(maps):
        mdp = TabularMDP.from_map(rows, is_slippery=condition.dynamics == "slippery", success_rate=INTENDED)
        drawn = draw_data(mdp, condition.data, seeds, seed + i)  # several seeds, or several lakes
        if drawn is None:  # no two answers ever return different
            continue
        names.append(name)
        origins.append(mdp)
        data += drawn
    base = named_base(condition.base, condition.policy, origins, seeds, seed)
    lakes = [replace(mdp, start=_anywhere(mdp)) if condition.start == "anywhere" else mdp for mdp in origins]
    flipped = [flip_labels(each, condition.flipped, seed + i) for i, each in enumerate(data)]
    return PreparedCondition(names, lakes, flipped, data, base, seeds)


def _maps(condition: Condition, count: int, seed: int) -> list[tuple[str, Sequence[str]]]:
    if condition.lakes in SUITE:
        return [(condition.lakes, LAKES[condition.lakes])]
    first = FIRST_SEED[condition.lakes] + (SLIPPERY_OFFSET if condition.dynamics == "slippery" else 0) + 100_000 * seed
    return [(f"random/{i}", random_map(SIDE, frozen=FROZEN, seed=i)) for i in range(first, first + count)]


def _anywhere(mdp: TabularMDP) -> np.ndarray:
    """Return the uniform distribution over tiles that are walked on."""
    walked = (~mdp.terminal).astype(float)
    return walked / walked.sum()


def flip_labels(data: SeedData, share: float, seed: int) -> SeedData:
    """Exchange chosen and rejected in a share of the pairs, rounded to whole pairs; which ones is drawn."""
    count = len(data.chosen.states)
    random = torch.Generator().manual_seed(seed)
    row = torch.arange(count)
    wrong = torch.randperm(count, generator=random)[: round(share * count)]
    first, second = row.clone(), row + count
    first[wrong], second[wrong] = row[wrong] + count, row[wrong]
    both = concatenate([data.chosen, data.rejected])
    return SeedData(data.demonstrations, trim(both[first]), trim(both[second]))
