"""The design of the reproduction: which settings are run, with how many seeds.

No lake code, map, base policy or learning rate was published with the paper, so settings are dealt out by a balanced random
design; none is left out for what it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ift_gridworld.studies.lakes import BLOCK_SIZE, read_maps
from ift_gridworld.studies.settings import ICE, Setting

__all__ = [
    "DENSITIES",
    "HELD_IN",
    "HELD_OUT",
    "LEVELS",
    "METHODS",
    "SINGLE_LAKES",
    "StudyScope",
    "deal_settings",
    "seeds_for",
    "study_settings",
]

SINGLE_LAKES = ("two-paths-3", "two-paths-4", "two-paths-6", "two-paths-8", "4x4", "8x8")
DENSITIES = ("0.6", "0.7", "0.8", "0.9")  # shares of frozen tiles of the random lakes
LEVELS: dict[str, tuple[Any, ...]] = {  # each as often as the others
    "base": ("random", "good-0.1", "good-0.3", "good-0.5", "good-0.7", "good-0.9"),
    "policy": ("tabular", "mlp-16", "mlp-64", "mlp-128"),
    "optimiser": ("adam", "rmsprop"),
    "demonstrations": (1, 4, 16, 64),
}
METHODS = ("sft", "ift", "dpo", "orpo")
HELD_IN = "lakes-0.8-5"  # lakes on which variants choose their λ and rate
HELD_OUT = ("lakes-0.7-6", "lakes-0.9-6")  # lakes on which they are compared; neither is in any other part


@dataclass(frozen=True)
class StudyScope:
    """Size of a study.

    Attributes:
        quick: whether it runs on fewer settings.
        maps: a text file of maps, on which the claims alone are tested, or None.
        seeds: policies on each lake of its own; on blocks of lakes a quarter of that, at least two.
        seed: the first of them; the design is drawn from it, too.
    """

    quick: bool = False
    maps: Path | None = None
    seeds: int = 8
    seed: int = 0


def deal_settings(lakes: Sequence[tuple[str, str]], seed: int) -> list[Setting]:
    """Return a setting for each lake (a map and its dynamics), the other factors dealt so that each level comes equally often.

    (A Latin hypercube over the factors: each factor's levels are repeated to the number of settings and shuffled.)
    """
    random = np.random.default_rng(seed)
    dealt = {}
    for name, levels in LEVELS.items():
        repeated = [levels[i % len(levels)] for i in range(len(lakes))]
        dealt[name] = [repeated[i] for i in random.permutation(len(lakes))]
    settings = [Setting(*lake, *values) for lake, *values in zip(lakes, *dealt.values(), strict=True)]
    return list({setting.name: setting for setting in settings}.values())


def seeds_for(setting: Setting, seeds: int) -> int:
    """Return the number of seeds of a setting: fewer on a block of lakes, whose lakes differ more than their seeds do."""
    return seeds if setting.family in SINGLE_LAKES else max(2, seeds // 4)


def study_settings(scope: StudyScope) -> list[Setting]:
    """Return the settings of the claims.

    Every single lake comes with all dynamics, four times; every block of random lakes deterministic and with one of the two
    slippery ones.
    """
    if scope.maps is not None:
        blocks = [f"{scope.maps}:{block}" for block in range((len(read_maps(scope.maps)) - 1) // BLOCK_SIZE + 1)]
        return deal_settings([*product(blocks, ICE)] * (1 if scope.quick else 12), scope.seed)
    if scope.quick:
        return deal_settings([*product(("two-paths-4", "4x4", "lakes-0.8-0"), ICE)], scope.seed)
    blocks = [f"lakes-{density}-{block}" for density in DENSITIES for block in range(5)]
    firm, *slippery = ICE
    of_blocks = [(block, ice) for i, block in enumerate(blocks) for ice in (firm, slippery[i % len(slippery)])]
    return deal_settings([*product(SINGLE_LAKES, ICE)] * 4, scope.seed) + deal_settings(of_blocks, scope.seed + 1)
