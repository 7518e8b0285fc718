"""Setup of `lake` and `explain` from a command line: the MDP, the base policies, the data and the options of training."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ift_gridworld.cli.arguments import EnvironmentArgs, PolicyArgs
from ift_gridworld.data import Trajectories, demonstrations, generators, preference_pairs
from ift_gridworld.envs.maps import parse_size
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import IFTOptions, TrainingOptions, option_names
from ift_gridworld.methods.registry import method_options
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.runtime import pick_device
from ift_gridworld.training.base_policies import make_base

__all__ = ["base_of", "check_outcome", "data_of", "default_snapshots", "mdp_of", "training_of"]


def mdp_of(args: EnvironmentArgs) -> TabularMDP:
    """Make the MDP that the command line names."""
    name = Path(args.map).stem if os.path.isfile(args.map) else args.map
    label = name if args.size is None else f"{name} {args.size}"
    return TabularMDP.make(
        args.map,
        size=None if args.size is None else parse_size(args.size),
        seed=args.map_seed,
        is_slippery=args.slippery,
        success_rate=args.success_rate,
        discount=args.discount,
        label=label if len(label) <= 40 else f"{label[:39]}…",
    )


def training_of(args: PolicyArgs, states: int, **more: Any) -> TrainingOptions:
    """Return the options of training; on a large lake fewer snapshots, for each is measured and drawn tile by tile."""
    given = {name: value for name, value in more.items() if value is not None}
    for name in option_names(TrainingOptions):
        if getattr(args, name, None) is not None:
            given[name] = getattr(args, name)
    return TrainingOptions(**{"snapshots": default_snapshots(states), **given})


def default_snapshots(states: int) -> int:
    """Return as many as make a film that flows; on a larger lake fewer."""
    return max(6, min(60, round(60 * (10_000 / states) ** 0.5)))


def data_of(mdp: TabularMDP, count: int, seed: int, pairs: bool) -> tuple[Trajectories, tuple[Trajectories, Trajectories]]:
    """Draw demonstrations, and preference pairs if they are needed, from one generator."""
    generator = generators(seed, 1)[0]
    shown = demonstrations(mdp, count, generator=generator)
    return shown, preference_pairs(mdp, count, generator=generator, needed=pairs)


def base_of(args: PolicyArgs, mdp: TabularMDP, seeds: int, device: str | torch.device = "cpu") -> LakePolicy:
    """Make the base policies that the command line names."""
    device = pick_device(str(device))
    return make_base(args.base, mdp, policy=args.policy, seeds=seeds, seed=args.seed, hidden=args.hidden, device=device)


def check_outcome(overrides: Mapping[str, Mapping[str, Any]], mdp: TabularMDP) -> None:
    """Raise a ValueError if IFT's choice among a move's outcomes is given where every move has one."""
    for method, given in overrides.items():
        if "outcome" in given and mdp.is_deterministic and issubclass(method_options(method), IFTOptions):
            raise ValueError(f"outcome is {given['outcome']!r}, which only works where moves slip (--slippery)")
