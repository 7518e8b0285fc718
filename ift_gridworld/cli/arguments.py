"""Options that `lake`, `explain` and `redraw` share, and what is checked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ift_gridworld.choices import Base
from ift_gridworld.cli.figure_options import FigureArgs
from ift_gridworld.cli.parser import Arguments

__all__ = ["OUT", "EnvironmentArgs", "LakeArgs", "PolicyArgs", "as_flags", "is_random", "less_memory", "unused"]

OUT = Path("runs/lake")


@dataclass(frozen=True)
class EnvironmentArgs(Arguments):
    """Options of the environment that a policy is trained on."""

    map: str = "two-paths"
    """two-paths, open, bridge, 4x4, 8x8, random, NxM (a random lake of that size), a map file, a name that a plugin registers,
    or a Gymnasium id such as CliffWalking-v1 or Taxi-v4."""
    size: str | None = None
    """N or NxM, for two-paths, open, bridge and random."""
    map_seed: int = 0
    """Seed of a random map."""
    slippery: bool = False
    """Let moves slip to either side (let it rain, for a taxi)."""
    success_rate: float | None = None
    """With --slippery, probability of going where intended (1/3 if not given; for a taxi 0.8)."""
    discount: float = 0.99
    """Discount of the return; it defines the optimal policy."""


@dataclass(frozen=True)
class PolicyArgs(EnvironmentArgs):
    """Options of the policy that is aligned."""

    policy: Literal["mlp", "tabular"] = "mlp"
    """mlp (two-layer network) or tabular."""
    hidden: int | None = None
    """Width of the network (64)."""
    base: Base = "mixture"
    """Base policy that is aligned: mixture (cloned from good and bad behaviour), random or uniform."""
    seed: int = 0
    """The first seed."""
    learning_rate: float | None = None
    """The same for every method (mlp 0.01, tabular 0.03)."""
    optimiser: Literal["adam", "rmsprop"] = "adam"
    """Optimiser of the updates."""
    theme: Literal["light", "dark"] = "light"
    """Colours of pictures."""
    out: Path = OUT
    """Folder that everything is written to."""
    plugin: tuple[str, ...] = ()
    """Modules (or .py files) that register methods, metrics or environments."""


@dataclass(frozen=True)
class LakeArgs(FigureArgs, PolicyArgs):
    """The command line of `lake`; the methods' own options are added by `method_options`."""

    method: str = "ift"
    """sft, ppo, dpo, dpo_online, ift, orpo, ipo, simpo, tdpo, grpo (core), any other registered method, a family (imitation,
    pairs, unpaired, on-policy, mixed), or all; several with commas between."""
    demonstrations: int | None = None
    """Demonstrations, and preference pairs for dpo and its relatives (1 if nothing is random, else 16)."""
    steps: int | None = None
    """Gradient updates (300; 600 for methods that follow the policy gradient)."""
    snapshots: int | None = None
    """Policies kept along the way, the frames of a film (60; above 10,000 states fewer: 20 on 300x300, 6 on 1000x1000)."""
    seeds: int = 8
    """Independent policies trained at once."""
    device: str = "cpu"
    """cpu or cuda."""
    render: bool = False
    """Draw as well."""
    format: str | None = None
    """gif (the default), mp4, webp (films); png, pdf, svg (the last frame, or --figure); html (the alignment lab)."""
    drawn_seed: int | None = None
    """The seed whose policies are drawn (by default the one nearest to the median; several methods draw one together)."""
    explain: Literal["sft", "ift", "dpo", "orpo", "ppo"] | None = None
    """A slow film of one update of sft, ift, dpo, orpo or ppo, with an explanation of each step; with --format html its stages
    as a page to step through."""
    redraw: tuple[Path, ...] = field(default=())
    """Draw these saved runs again instead of training: one by itself, several side by side."""


def as_flags(args: Arguments, message: str) -> str:
    """Spell the option that a message begins with as it is spelled on the command line."""
    name, is_, rest = message.partition(" is ")
    return f"--{name.replace('_', '-')}{is_}{rest}" if is_ and name in vars(args) else message


def less_memory(args: PolicyArgs, ways: Sequence[str] = ()) -> str:
    """Name what takes less memory than these options: `ways`, then what every command that trains has."""
    network = ["a smaller --hidden", "--policy tabular"] if args.policy == "mlp" else []
    return ", ".join([*ways, *network, "a smaller lake (--map, --size)"])


def unused(args: Arguments, uses: set[str], mode: str) -> None:
    """Raise a ValueError for the first option that is given and that a mode does not use."""
    for name in sorted(args.given - uses):
        raise ValueError(f"{args.spelled(name)}, which {mode} does not use")


def is_random(name: str) -> bool:
    """Return whether a map of that name is drawn at random."""
    from ift_gridworld.envs.maps import LAKES

    rows, x, columns = name.partition("x")
    return name == "random" or (name not in LAKES and bool(x) and rows.isdigit() and columns.isdigit())
