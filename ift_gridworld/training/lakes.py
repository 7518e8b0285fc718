"""Training on many lakes of one size at once, as studies do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.checks import check_choice
from ift_gridworld.data import Trajectories, generators, stacked
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.options import MethodOptions, TrainingOptions
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.runtime import standard_settings
from ift_gridworld.training.loop import optimise, options_for

__all__ = ["train_lakes"]


@standard_settings()
def train_lakes(
    method: str | type[Method[Any]],
    lakes: Sequence[TabularMDP],
    policy: LakePolicy,
    *,
    options: MethodOptions | None = None,
    training: TrainingOptions | None = None,
    keep: Sequence[int],
    demonstrations: Sequence[Trajectories],
    preferences: Sequence[tuple[Trajectories, Trajectories]],
    rates: Float[Tensor, " P"] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **overrides: Any,
) -> Float[np.ndarray, "M L N S A"]:
    """Align policies on many lakes of one size in one run.

    Args:
        method: a name in METHODS, or a class.
        lakes: L of them, of one size and discount, and of one horizon for a method that walks.
        policy: L times N members, those of the first lake first (`make_base` makes such ones).
        options, training, overrides: as for `train`; the steps can only be the last of `keep`.
        keep: the updates after which policies are kept, the last of them the last one made; 0 is the base.
        demonstrations: those of each lake, or of each member, [B, T]; all of one B.
        preferences: the pairs (chosen, rejected), likewise.
        rates: a learning rate for each member, in place of the one in `training`.
        seed: of what is drawn while training: member i draws from seed + i.
        progress: called with (updates done, updates in all).

    Returns:
        The policies after each of `keep`. One that has diverged is NaN; the others go on.

    Raises:
        ValueError: for lakes that cannot be trained at once, or a population that they cannot share.

    >>> from ift_gridworld.data import demonstrations, preference_pairs
    >>> from ift_gridworld.training.base_policies import make_base
    >>> lakes = [TabularMDP.from_map(["SFG", "FFF"]), TabularMDP.from_map(["SFF", "FFG"])]
    >>> base = make_base("uniform", lakes, policy="tabular", seeds=3)
    >>> data = {"demonstrations": [demonstrations(x) for x in lakes], "preferences": [preference_pairs(x) for x in lakes]}
    >>> train_lakes("sft", lakes, base, keep=(0, 5), **data).shape  # checkpoints, lakes, seeds, states, actions
    (2, 2, 3, 6, 4)
    """
    check_choice("steps", overrides.get("steps", max(keep)), [max(keep)])
    training = replace(training or TrainingOptions(), steps=max(keep))
    _, kind, options, training = options_for(method, policy, options, training, overrides)
    if len({lake.discount for lake in lakes}) > 1:
        different = ", ".join(str(lake.discount) for lake in lakes)
        raise ValueError(f"the discounts of the lakes are {different}; allowed at once: lakes that share one")
    if policy.population % len(lakes):
        raise ValueError(f"the policy has a population of {policy.population}; allowed: a multiple of the {len(lakes)} lakes")
    each, device = policy.population // len(lakes), next(policy.parameters()).device
    chosen, rejected = ([pair[i] for pair in preferences] for i in (0, 1))
    data = [stacked(batches, policy.population // len(batches)).to(device) for batches in (demonstrations, chosen, rejected)]
    draw_from = generators(seed, policy.population)
    source = LakeSource(lakes[0], data[0], data[1], data[2], draw_from, device, lakes if len(lakes) > 1 else ())
    learner = kind(source, policy, options)
    steps, policies, _, _ = optimise(learner, training, set(keep), progress, rates=rates, tolerant=True)
    at_checkpoints = policies[[steps.index(step) for step in keep]]
    return at_checkpoints.reshape(len(keep), len(lakes), each, policy.num_states, policy.num_actions)
