"""The losses of an example, by the loss core and automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ift_gridworld.data import Trajectories
from ift_gridworld.log_probs import action_log_probs, kl_divergence, masked_mean, masked_sum
from ift_gridworld.losses import (
    Propagation,
    bradley_terry_loss,
    dpo_loss,
    group_relative_advantage,
    ift_loss,
    ipo_loss,
    kl_estimate,
    orpo_loss,
    ppo_clip_loss,
    sft_loss,
    simpo_loss,
    tdpo_loss,
)
from ift_gridworld.policies.residual import lake_successor, residual_embeddings
from ift_gridworld.studies.loss_walk.example import Example

__all__ = ["bradley_terry", "dpo", "grpo", "ift", "ipo", "orpo", "ppo", "sft", "simpo", "tdpo"]


def _logp(theta: Tensor, answer: Trajectories) -> Tensor:
    """Return the log-probability of each step of an answer."""
    return action_log_probs(theta[answer.states], answer.actions)


def _sums(example: Example, theta: Tensor, mean: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return log-probs of both answers under the policy, then under the reference, summed over steps or averaged."""
    reduce = masked_mean if mean else masked_sum
    tables = theta, example.reference.theta[0].detach()
    both = [reduce(_logp(table, side), side.mask) for table in tables for side in (example.chosen, example.rejected)]
    return both[0], both[1], both[2], both[3]


def sft(example: Example, theta: Tensor) -> Tensor:
    """Return the SFT loss."""
    return sft_loss(_logp(theta, example.chosen), example.chosen.mask)


def ift(propagation: Propagation = "released", detach: bool = False) -> Callable[[Example, Tensor], Tensor]:
    """Return the IFT loss in one of its forms."""

    def loss(example: Example, theta: Tensor) -> Tensor:
        successor = lake_successor(example.mdp, example.policy.embed)
        states, mask = example.chosen.states[None], example.chosen.mask[None]
        mixed = residual_embeddings(example.policy, states, mask, successor, mixing=example.mixing)[0]
        assert isinstance(mixed, Tensor)  # a lake that fits a terminal has one-hot tiles
        logp = action_log_probs(mixed @ theta, example.chosen.actions)
        return ift_loss(logp, example.chosen.mask, decay=example.decay, propagation=propagation, detach_weights=detach)

    return loss


def dpo(example: Example, theta: Tensor) -> Tensor:
    """Return the DPO loss."""
    return dpo_loss(*_sums(example, theta), beta=0.1)


def ipo(example: Example, theta: Tensor) -> Tensor:
    """Return the IPO loss."""
    return ipo_loss(*_sums(example, theta), beta=0.1)


def orpo(example: Example, theta: Tensor) -> Tensor:
    """Return the ORPO loss."""
    return orpo_loss(*_sums(example, theta, mean=True)[:2], beta=0.25)


def simpo(example: Example, theta: Tensor) -> Tensor:
    """Return the SimPO loss."""
    return simpo_loss(*_sums(example, theta, mean=True)[:2], beta=2.0, gamma=1.6)


def tdpo(example: Example, theta: Tensor) -> Tensor:
    """Return the TDPO, version 2 loss."""
    chosen, rejected, *reference = _sums(example, theta)
    base = example.reference.theta[0].detach()
    kls = [masked_sum(kl_divergence(base[s.states], theta[s.states]), s.mask) for s in (example.chosen, example.rejected)]
    return tdpo_loss(chosen - reference[0], rejected - reference[1], *kls, beta=0.1, alpha=0.5, version=2)


def bradley_terry(example: Example, reward: Tensor) -> Tensor:
    """Return the Bradley-Terry loss of a reward table."""
    return bradley_terry_loss(*(masked_sum(reward[s.states, s.actions], s.mask) for s in (example.chosen, example.rejected)))


def ppo(example: Example, theta: Tensor) -> Tensor:
    """Return the PPO loss on the chosen answer, with exact advantages."""
    side = example.chosen
    logp = _logp(theta, side)
    advantage = torch.as_tensor(example.advantage())[side.states, side.actions]
    return masked_mean(ppo_clip_loss(logp, logp.detach(), advantage, side.mask), side.mask)


def grpo(example: Example, theta: Tensor) -> Tensor:
    """Return the GRPO loss of the two answers as a group."""
    sides = example.chosen, example.rejected
    advantage = group_relative_advantage(torch.stack([side.returns(example.mdp.discount) for side in sides], -1))[0]
    base = example.reference.theta[0].detach()
    total = torch.zeros(1, dtype=theta.dtype)
    for side, a in zip(sides, advantage, strict=True):
        logp = _logp(theta, side)
        surrogate = ppo_clip_loss(logp, logp.detach(), a.expand_as(logp), side.mask)
        total = total + masked_mean(surrogate + 0.04 * kl_estimate(logp, _logp(base, side), "k3"), side.mask) / 2
    return total
