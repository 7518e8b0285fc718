"""Base policies to align: uniform, random, or cloned from demonstrators as a pre-trained model is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ift_gridworld.checks import check_choice, check_interval, check_mdp, check_probability, check_whole
from ift_gridworld.choices import BASES
from ift_gridworld.data import Trajectories, generators
from ift_gridworld.data import demonstrations as demonstrate
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.optimisation import Adam, descend
from ift_gridworld.policies.lake import POLICIES, LakePolicy
from ift_gridworld.runtime import standard_settings

__all__ = ["default_count", "make_base"]

# The mixture base has seen both demonstrators in equal parts, and in 30 % of its steps it saw noise: a pre-trained model.
BASE_NOISE = 0.3


@standard_settings()
def make_base(
    kind: str,
    mdp: TabularMDP | Sequence[TabularMDP],
    *,
    policy: str = "mlp",
    seeds: int = 1,
    seed: int = 0,
    hidden: int | None = None,
    good: float = 0.5,
    noise: float = BASE_NOISE,
    demonstrations: Sequence[tuple[Trajectories, Trajectories]] | None = None,
    device: torch.device | str = "cpu",
) -> LakePolicy:
    """Return a population of base policies to align.

    Args:
        kind: "uniform" (every action alike), "random" (random parameters) or "mixture": cloned from an optimal and a
            sub-optimal demonstrator, as a pre-trained language model is that has read good and bad.
        mdp: the lake; or several of one size, each of which gets `seeds` members, those of the first lake first.
        policy: "mlp" or "tabular".
        seeds, seed: member i is drawn from seed + i.
        hidden: width of the network (default: that of `policies.MLPPolicy`, 64); only for "mlp".
        good: share of the optimal demonstrator in the mixture, in [0, 1].
        noise: share of each step's probability that the mixture spreads over all actions, in (0, 1].
        demonstrations: the (optimal, sub-optimal) demonstrations that the mixture is cloned from, a pair for each lake.
        device: of the parameters.

    Raises:
        ValueError: for an unknown kind or policy, or a value out of range.

    >>> mdp = TabularMDP.from_map(["SFG"])
    >>> make_base("uniform", mdp, policy="tabular", seeds=2).probabilities().shape
    (2, 3, 4)
    """
    check_choice("policy", policy, POLICIES)
    check_choice("base", kind, BASES)
    good, noise = check_interval("good", good, 0, 1), check_probability("noise", noise)
    seeds, seed = check_whole("seeds", seeds, at_least=1), check_whole("seed", seed, at_least=0)
    if hidden is not None and policy != "mlp":
        raise ValueError(f"hidden is {hidden!r}, which a {policy} policy has not; allowed with it: no hidden")
    if not isinstance(mdp, list | tuple):
        check_mdp(mdp)
    lakes = [mdp] if isinstance(mdp, TabularMDP) else list(mdp)
    for lake in lakes:
        check_mdp(lake)
    states, actions = lakes[0].num_states, lakes[0].num_actions
    options = {} if hidden is None else {"hidden": hidden}
    base = POLICIES[policy](states, actions, len(lakes) * seeds, **options).to(device)
    base.initialise(generators(seed, len(lakes) * seeds), uniform=kind == "uniform")
    if kind == "mixture":
        _clone(base, [_both(lake) for lake in lakes] if demonstrations is None else demonstrations, (good, 1 - good), noise)
    return base


def default_count(mdp: TabularMDP) -> int:
    """Number of demonstrations (and pairs) used by default: one path where it is the whole truth, else 16 episodes."""
    return 1 if mdp.is_path else 16


def _both(mdp: TabularMDP) -> tuple[Trajectories, Trajectories]:
    """The default demonstrations of an optimal and of a sub-optimal demonstrator."""
    count = default_count(mdp)
    return demonstrate(mdp, count), demonstrate(mdp, count, quality="suboptimal")


def _clone(
    policy: LakePolicy,
    demonstrations: Sequence[tuple[Trajectories, Trajectories]],
    shares: tuple[float, float],
    noise: float,
    updates: int = 120,
) -> None:
    """Fit a policy to the demonstrators' mixed, noisy choices on the tiles that they visit; other tiles are left to chance."""
    parameter = next(policy.parameters())
    device, dtype = parameter.device, parameter.dtype
    counts = torch.zeros(len(demonstrations), policy.num_states, policy.num_actions, dtype=dtype)
    for lake, batches in zip(counts, demonstrations, strict=True):
        for batch, share in zip(batches, shares, strict=True):
            index = batch.states * policy.num_actions + batch.actions
            seen = torch.zeros(lake.numel(), dtype=dtype).scatter_add_(0, index.flatten(), batch.mask.flatten().to(dtype))
            lake += share * seen.reshape(lake.shape) / len(batch.states)
    # Visited tiles first; a lake with fewer of them than another is filled up with tiles that weigh nothing.
    seen = counts.sum(-1)
    most = int((seen > 0).sum(-1).max())
    visited = torch.argsort((seen == 0).int(), dim=-1, stable=True)[:, :most]
    weight = (seen.gather(-1, visited) > 0).to(dtype)
    target = counts.gather(1, visited[..., None].expand(-1, -1, policy.num_actions))
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-12)
    target = (1 - noise) * target + noise / policy.num_actions
    each = policy.population // len(demonstrations)
    weight, target, visited = (
        (x if len(demonstrations) == 1 else x.repeat_interleave(each, 0)).to(device) for x in (weight, target, visited)
    )
    adam = Adam(policy.parameters(), learning_rate=0.0)

    def objective(update: int) -> Tensor:
        adam.learning_rate = 8 * policy.learning_rate * (1 - update / updates)  # fast at first, then settling down
        logp = torch.log_softmax(policy(visited), -1)
        nats = -(target * logp).sum(-1) * weight
        return nats.sum(-1) / weight.sum(-1)  # averaged over tiles, a seed each

    for _ in descend(objective, adam.step, range(updates)):
        pass
