"""A reward learned from preferences between episodes, as RLHF learns it (Bradley-Terry, eq. 33)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Trajectories, lakes_alike, sample_episodes
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.optimisation import Adam, descend
from ift_gridworld.planning import success_probability
from ift_gridworld.policies.lake import LakePolicy

__all__ = ["action_counts", "compared_episodes", "train_reward_model"]

# A reward model knows its episodes by how often each took each action on each tile; these counts may take so much memory.
COUNTS_BYTES = 4 * 2**30


def train_reward_model(
    mdp: TabularMDP | Sequence[TabularMDP],
    base: LakePolicy,
    generators: Sequence[torch.Generator],
    *,
    pairs: int = 256,
    updates: int = 300,
    learning_rate: float = 0.05,
    l2: float = 1e-3,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "N S A"]:
    """Fit a table r(s, a) a seed to preferences by Bradley-Terry (eq. 33): the reward of RLHF.

    The base policy walks pairs of episodes from the same start, the one of higher return is chosen, and the modelled return is
    the sum of r over the steps. A pair of equal returns carries no information and does not count.

    Args:
        mdp: the environment; or several of one size and horizon, in which equal parts of the seeds walk, in order.
        base: whose episodes are compared.
        generators: one a seed.
        pairs: number of pairs for each seed.
        updates, learning_rate: of Adam.
        l2: weight of the squared rewards.
        device: of the policy.

    Raises:
        ValueError: if fewer pairs are informative than there are tiles to walk on: a preference is one bit, and then some
            tile's reward would be a guess; or if counting what the pairs do would take more than `COUNTS_BYTES`.
    """
    lakes = lakes_alike(mdp)
    first, second = _informative_episodes(lakes, base, generators, pairs, device)
    one, two = first.returns(lakes[0].discount), second.returns(lakes[0].discount)
    # Visits of each (tile, action): the modelled return is linear in them.
    visits = [action_counts(side, lakes[0]) for side in (first, second)]
    sign = torch.sign(one - two).float()
    difference = (visits[0] - visits[1]) * sign[..., None]  # chosen minus rejected, [N, P, S A]; 0 for a tie
    reward = torch.zeros(len(generators), difference.shape[-1], device=device, requires_grad=True)

    def objective(update: int) -> Tensor:
        margin = torch.einsum("npk,nk->np", difference, reward)
        loss = losses.bradley_terry_loss(margin, torch.zeros_like(margin))  # a tie's is constant
        return loss.sum() / pairs + l2 * (reward**2).sum()

    for _ in descend(objective, Adam([reward], learning_rate).step, range(updates)):
        pass
    return reward.detach().reshape(-1, lakes[0].num_states, lakes[0].num_actions)


def _informative_episodes(
    lakes: Sequence[TabularMDP],
    base: LakePolicy,
    generators: Sequence[torch.Generator],
    pairs: int,
    device: torch.device | str,
) -> tuple[Trajectories, Trajectories]:
    mdp = lakes[0]
    size = 4 * len(generators) * pairs * mdp.num_states * mdp.num_actions
    if size > COUNTS_BYTES:
        raise ValueError(
            f"pairs is {pairs}, for each of {len(generators)} seeds: on {mdp.num_states} tiles a learned reward takes "
            f"{size / 2**30:.1f} GiB; allowed: at most {COUNTS_BYTES / 2**30:.0f} GiB: fewer pairs or seeds, or a smaller lake"
        )
    first, second = compared_episodes(lakes, base, generators, pairs, device)
    differing = (first.returns(mdp.discount) != second.returns(mdp.discount)).sum(-1)
    each = len(generators) // len(lakes)
    for i, lake in enumerate(lakes):
        informative, needed = int(differing[i * each : (i + 1) * each].min()), _tiles_to_walk_on(lake)
        if informative < needed:
            reaches = success_probability(lake, base.probabilities()[i * each], lake.horizon) > 0.05
            hint = "" if reaches else " or a base that reaches G"
            raise ValueError(
                f"pairs is {pairs}, of which {informative} have different returns; a learned reward on this lake needs at "
                f"least {needed}, one for each tile to walk on: ask for more pairs{hint}"
            )
    return first, second


def _tiles_to_walk_on(mdp: TabularMDP) -> int:
    if mdp.layout is None:
        return int((~mdp.terminal).sum())
    return sum(letter in "SF" for row in mdp.layout for letter in row)


def compared_episodes(
    mdp: TabularMDP | Sequence[TabularMDP],
    base: LakePolicy,
    generators: Sequence[torch.Generator],
    pairs: int,
    device: torch.device | str = "cpu",
) -> tuple[Trajectories, Trajectories]:
    """Sample what a reward model learns from: pairs of the base policy's episodes from the same start, [N, pairs, T]."""
    table = base.distribution()
    first = sample_episodes(mdp, table, pairs, generators, device=device)
    return first, sample_episodes(mdp, table, pairs, generators, first.states[..., 0], device)


def action_counts(episodes: Trajectories, mdp: TabularMDP) -> Float[Tensor, "N B SA"]:
    """Count how often each episode took each action in each state."""
    index = episodes.states * mdp.num_actions + episodes.actions
    counts = torch.zeros(*index.shape[:2], mdp.num_states * mdp.num_actions, device=index.device)
    return counts.scatter_add_(-1, index, episodes.mask.float())
