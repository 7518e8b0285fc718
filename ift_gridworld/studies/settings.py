"""One setting of a study: lakes, dynamics, base, policy, optimiser and data, on which methods are compared, seed by seed.

The name of a setting is complete, such as ``4x4,firm,good-0.5,mlp-64,adam,1``: a reader of a number can run its setting
again (`running.run_setting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ift_gridworld.escape import printable
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.optimisation import OPTIMISERS
from ift_gridworld.policies.lake import POLICIES, LakePolicy
from ift_gridworld.studies.lakes import lake_maps, parse_number
from ift_gridworld.training.base_policies import make_base

__all__ = ["ICE", "Setting", "named_base"]

ICE = {"firm": None, "slippery-0.8": 0.8, "slippery": 1 / 3}  # how often a move goes as intended


@dataclass(frozen=True)
class Setting:
    """Attributes:
    map: ``two-paths-N``, ``4x4``, ``8x8``; ``lakes-D-B``, block B of ten random 6x6 lakes of which a share D is frozen; or
        ``FILE:B``, block B of ten maps of a text file in which blank lines stand between maps.
    ice: dynamics, a name in `ICE`; ``firm`` is deterministic.
    base: ``random``, ``uniform`` or ``good-Q``, the mixture with a share Q of the optimal demonstrator.
    policy: ``tabular`` or ``mlp-H`` with H hidden units.
    optimiser: a name in `OPTIMISERS`.
    demonstrations: number of episodes of the optimal policy, and of preference pairs, that each seed learns from.
    """

    map: str
    ice: str
    base: str
    policy: str
    optimiser: str
    demonstrations: int

    def __post_init__(self) -> None:
        _require("map", self.map, "," not in self.map, "a name without commas")
        _require("ice", self.ice, self.ice in ICE, ", ".join(ICE))
        kind, _, good = self.base.partition("-")
        is_valid = self.base in ("random", "uniform") or (kind == "good" and 0 <= parse_number(good) <= 1)
        _require("base", self.base, is_valid, "random, uniform, good-Q with Q in [0, 1]")
        kind, _, width = self.policy.partition("-")
        is_valid = self.policy == "tabular" or (kind == "mlp" and width.isdigit() and int(width) > 0)
        _require("policy", self.policy, is_valid, "tabular, mlp-H with H hidden units")
        _require("optimiser", self.optimiser, self.optimiser in OPTIMISERS, ", ".join(OPTIMISERS))
        _require("demonstrations", self.demonstrations, self.demonstrations >= 1, "a whole number >= 1")

    @property
    def name(self) -> str:
        return ",".join(str(getattr(self, field.name)) for field in fields(self))

    @classmethod
    def parse(cls, name: str) -> Setting:
        """Return the setting of a name; raise a ValueError if it is not one."""
        parts = name.split(",")
        if len(parts) != len(fields(cls)) or not parts[-1].isdigit():
            order = ",".join(field.name.upper() for field in fields(cls))
            raise ValueError(f"setting is {name!r}; allowed: {order}, for example 4x4,firm,good-0.5,mlp-64,adam,1")
        lake_map, ice, base, policy, optimiser, demonstrations = parts
        return cls(lake_map, ice, base, policy, optimiser, int(demonstrations))

    @property
    def family(self) -> str:
        """The map's kind: without its block, without the folder of its file."""
        if self.map.startswith("lakes-"):
            return self.map.rpartition("-")[0]
        return printable(Path(self.map.rpartition(":")[0]).stem or self.map)

    @cached_property
    def lakes(self) -> list[tuple[str, TabularMDP]]:
        """Each lake's name and MDP."""
        rate = ICE[self.ice]
        return [
            (name, TabularMDP.from_map(rows, is_slippery=rate is not None, success_rate=rate or 1 / 3))
            for name, rows in lake_maps(self.map)
        ]

    @property
    def common_rate(self) -> float:
        """The policy's default, common to all methods."""
        return POLICIES[self.policy.partition("-")[0]].learning_rate

    def __getstate__(self) -> dict[str, Any]:
        """Take the lakes along to another process, whose machine may lack the file of maps."""
        _ = self.lakes
        return self.__dict__

    def make_base(self, lakes: Sequence[TabularMDP], seeds: int, seed: int) -> LakePolicy:
        """Return one policy with `seeds` members for each lake."""
        return named_base(self.base, self.policy, lakes, seeds, seed)


def named_base(base: str, policy: str, lakes: Sequence[TabularMDP], seeds: int, seed: int) -> LakePolicy:
    """Return one policy with `seeds` members for each lake, of a base and a policy named as in `Setting`."""
    kind, _, width = policy.partition("-")
    base, _, good = base.partition("-")
    return make_base(
        "mixture" if base == "good" else base,
        lakes,
        policy=kind,
        seeds=seeds,
        seed=seed,
        hidden=int(width) if width else None,
        good=float(good or 0.5),
    )


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    """Raise a ValueError that names the value and what is allowed, unless the condition holds."""
    if not holds:
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
