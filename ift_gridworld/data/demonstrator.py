"""Demonstrations: what the human shows, optimal or sub-optimal."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from ift_gridworld.checks import check_mdp, check_whole
from ift_gridworld.choices import QUALITIES, Quality
from ift_gridworld.data.paths import best_path, detour
from ift_gridworld.data.rollouts import sample_episodes
from ift_gridworld.data.trajectories import Trajectories, replay
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy
from ift_gridworld.runtime import standard_settings

__all__ = ["QUALITIES", "SUBOPTIMAL_NOISE", "Quality", "demonstrations"]

# Where there is chance, a sub-optimal demonstrator takes a uniformly random action with this probability, else an optimal one.
SUBOPTIMAL_NOISE = 0.5


@standard_settings()
def demonstrations(
    mdp: TabularMDP,
    count: int = 1,
    *,
    quality: Quality = "optimal",
    generator: torch.Generator | None = None,
    starts: Int[Tensor, " B"] | None = None,
) -> Trajectories:
    """Return demonstrations of an optimal or a sub-optimal demonstrator.

    Without slip and with one start these are equal paths: the optimal one (first of equal actions), or the best one that takes
    a wrong turn and never turns back (`detour`). Otherwise they are episodes sampled from the optimal policy, or from one that
    acts at random half of the time.

    Args:
        mdp: the problem; optimal means for its discount.
        count: number of demonstrations.
        quality: "optimal" or "suboptimal".
        generator: draws episodes (default: seeded with 0).
        starts: first states of the episodes, if they are drawn (default: the MDP's start distribution).

    Returns:
        [count, T].

    Raises:
        ValueError: for what is not an MDP, a count below 1, an unknown quality, or where there is no such path.

    Example:
        >>> lake = TabularMDP.from_map(("SFFF", "FHHF", "FHHG", "FFFF"))
        >>> demonstrations(lake).states, demonstrations(lake, quality="suboptimal").states
        (tensor([[0, 1, 2, 3, 7]]), tensor([[ 0,  4,  8, 12, 13, 14, 15]]))
    """
    check_mdp(mdp)
    count = check_whole("the number of demonstrations", count, at_least=1)
    if quality not in QUALITIES:
        raise ValueError(f"quality is {quality!r}; allowed: {', '.join(QUALITIES)}")
    if mdp.is_path:
        path = best_path(mdp) if quality == "optimal" else detour(mdp)
        return replay(mdp, path, count)
    policy = optimal_policy(mdp)
    if quality == "suboptimal":
        policy = (1 - SUBOPTIMAL_NOISE) * policy + SUBOPTIMAL_NOISE / mdp.num_actions
    random = [generator or torch.Generator().manual_seed(0)]
    return sample_episodes(mdp, policy, count, random, None if starts is None else starts[None])[0]
