"""Every trajectory of a small MDP, so that expectations can be summed instead of sampled."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.checks import check_mdp
from ift_gridworld.data.trajectories import Trajectories, concatenate
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.runtime import standard_settings

__all__ = ["enumerate_trajectories"]


@standard_settings()
def enumerate_trajectories(
    mdp: TabularMDP, horizon: int | None = None, *, limit: int = 100_000
) -> tuple[Trajectories, Float[Tensor, " M"]]:
    """List every trajectory that some policy can walk.

    Args:
        mdp: the problem.
        horizon: steps after which a trajectory is truncated (default: the MDP's own).
        limit: refuse to list more trajectories than this.

    Returns:
        The trajectories [M, T], and the factor of each one's probability that does not depend on the policy,
        ρ0(s_0) Π_t P(s_{t+1}|s_t, a_t): a policy walks trajectory m with probability chance[m] exp(Σ_t log π(a_t|s_t)).

    Raises:
        ValueError: for what is not an MDP, a horizon below 1 or none at all, or more than `limit` trajectories.

    Example:
        >>> trajectories, chance = enumerate_trajectories(TabularMDP.from_map(("SG",)), horizon=1)
        >>> trajectories.actions.T, chance
        (tensor([[0, 1, 2, 3]]), tensor([1., 1., 1., 1.], dtype=torch.float64))
    """
    check_mdp(mdp)
    horizon = mdp.horizon if horizon is None else horizon
    if horizon is None or horizon < 1:
        raise ValueError(f"horizon is {horizon}; allowed: a number of steps, at least 1")
    starts = np.flatnonzero(mdp.start)
    here, chance = starts, mdp.start[starts]
    history: list[np.ndarray] = []  # for each step so far, the fields of every trajectory that goes on, [6, M]
    done: list[np.ndarray] = []
    chances: list[np.ndarray] = []
    listed = 0
    for t in range(1, horizon + 1):
        before, action, slot = np.nonzero(mdp.probability[here] > 0)
        outcome = (here[before], action, slot)
        following, ends = mdp.next_state[outcome], mdp.terminated[outcome]
        chance = chance[before] * mdp.probability[outcome]
        cut = ~ends & (t == horizon)
        if listed + len(before) > limit:
            raise ValueError(f"within {horizon} steps there are more than {limit} trajectories; allowed: a shorter horizon")
        step = np.array([here[before], action, following, mdp.reward[outcome], ends, cut])
        history = [*(past[:, before] for past in history), step]
        over = ends | cut
        done.append(np.stack([past[:, over] for past in history], -1))  # [6, M, t]
        chances.append(chance[over])
        listed += len(chances[-1])
        history, here, chance = [past[:, ~over] for past in history], following[~over], chance[~over]
        if not len(here):
            break
    parts = [_as_trajectories(columns) for columns in done if columns.shape[1]]
    return concatenate(parts), torch.as_tensor(np.concatenate(chances))


def _as_trajectories(columns: Float[np.ndarray, "6 M T"]) -> Trajectories:
    states, actions, following, reward, terminated, truncated = (torch.as_tensor(column) for column in columns)
    mask = torch.ones_like(states, dtype=torch.bool)
    return Trajectories(states.long(), actions.long(), mask, following.long(), reward, terminated.bool(), truncated.bool())
