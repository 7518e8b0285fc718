"""The losses of an example in closed form: value and gradient [S, A] in plain NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ift_gridworld.losses import Propagation
from ift_gridworld.studies.loss_walk.example import Example

__all__ = ["bradley_terry", "dpo", "grpo", "ift", "ipo", "orpo", "ppo", "sft", "simpo", "tdpo"]


def sigmoid(x: float) -> float:
    """Return 1 / (1 + e^-x)."""
    return float(1 / (1 + np.exp(-x)))


def softplus(x: float) -> float:
    """Return -log sigmoid(-x)."""
    return float(np.logaddexp(0, x))


def sft(example: Example) -> tuple[float, np.ndarray]:
    """Return the SFT loss and its gradient."""
    chosen, _ = example.answers()
    return float(chosen.loss.mean()), chosen.weighted_score(-1 / chosen.steps)


def ift(propagation: Propagation = "released", detach: bool = False) -> Callable[[Example], tuple[float, np.ndarray]]:
    """Return the closed form of the IFT loss in one of its forms."""

    def formula(example: Example) -> tuple[float, np.ndarray]:
        answer, mdp, mixing = example.answers()[0], example.mdp, example.mixing
        theta = np.log(answer.policy)
        # Row t: the weights of the tiles in the state that step t is judged from.
        weights = np.eye(mdp.num_states)[answer.states]
        predicted = mdp.transition[answer.states[:-1], answer.policy[answer.states[:-1]].argmax(-1)]
        weights[1:] = (1 - mixing) * weights[1:] + mixing * predicted
        logits = weights @ theta
        policy = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        loss = -np.log(policy[np.arange(answer.steps), answer.actions])
        step = np.arange(answer.steps)
        decay = np.where(step >= step[:, None], example.decay ** np.maximum(step - step[:, None], 0.0), 0.0)  # [t, i]
        u = decay @ loss
        if propagation == "equation21":
            value, slope = u.sum(), decay.sum(0)
        elif propagation == "algorithm1":
            value, slope = u @ loss, u + decay.T @ loss
        else:
            value = u @ loss / u.sum()
            slope = (u + (0 if detach else decay.T @ (loss - value))) / u.sum()
        chosen = np.eye(mdp.num_actions)[answer.actions]
        return float(value), weights.T @ (-slope[:, None] * (chosen - policy))

    return formula


def dpo(example: Example) -> tuple[float, np.ndarray]:
    """Return the DPO loss and its gradient."""
    chosen, rejected = example.answers()
    d = chosen.margin - rejected.margin
    weight = 0.1 * sigmoid(-0.1 * d)
    return softplus(-0.1 * d), chosen.weighted_score(-weight) + rejected.weighted_score(weight)


def ipo(example: Example) -> tuple[float, np.ndarray]:
    """Return the IPO loss and its gradient."""
    chosen, rejected = example.answers()
    shortfall = chosen.margin - rejected.margin - 5.0  # 1 / (2 beta)
    return shortfall**2, chosen.weighted_score(2 * shortfall) + rejected.weighted_score(-2 * shortfall)


def orpo(example: Example) -> tuple[float, np.ndarray]:
    """Return the ORPO loss and its gradient."""
    chosen, rejected = example.answers()
    p, q = (float(np.exp(-answer.loss.mean())) for answer in (chosen, rejected))
    ratio = p / (1 - p) / (q / (1 - q))
    weight = 0.25 / (1 + ratio)
    on_chosen = chosen.weighted_score(-(1 + weight / (1 - p)) / chosen.steps)
    on_rejected = rejected.weighted_score(weight / (1 - q) / rejected.steps)
    return -np.log(p) - 0.25 * np.log(ratio / (1 + ratio)), on_chosen + on_rejected


def simpo(example: Example) -> tuple[float, np.ndarray]:
    """Return the SimPO loss and its gradient."""
    chosen, rejected = example.answers()
    margin = 2.0 * (rejected.loss.mean() - chosen.loss.mean()) - 1.6
    weight = 2.0 * sigmoid(-margin)
    return softplus(-margin), chosen.weighted_score(-weight / chosen.steps) + rejected.weighted_score(weight / rejected.steps)


def tdpo(example: Example) -> tuple[float, np.ndarray]:
    """Return the TDPO, version 2 loss and its gradient."""
    chosen, rejected = example.answers()
    d = chosen.margin - rejected.margin - 0.5 * (rejected.kl - chosen.kl)
    weight = 0.1 * sigmoid(-0.1 * d)
    kl = np.zeros_like(rejected.policy)  # d KL(ref || pi) / dTheta = pi - ref at each tile of the rejected answer
    np.add.at(kl, rejected.states, (rejected.policy - rejected.reference)[rejected.states])
    return softplus(-0.1 * d), chosen.weighted_score(-weight) + rejected.weighted_score(weight) + 0.5 * weight * kl


def bradley_terry(example: Example) -> tuple[float, np.ndarray]:
    """Return the Bradley-Terry loss and its gradient at r = 0."""
    chosen, rejected = example.answers()
    return float(np.log(2)), -0.5 * (chosen.visits - rejected.visits)


def ppo(example: Example) -> tuple[float, np.ndarray]:
    """Return the PPO loss and its gradient on the chosen answer, with exact advantages."""
    chosen, _ = example.answers()
    advantage = example.advantage()[chosen.states, chosen.actions]
    return -float(advantage.mean()), chosen.weighted_score(-advantage / chosen.steps)


def grpo(example: Example) -> tuple[float, np.ndarray]:
    """Return the GRPO loss and its gradient of the two answers as a group."""
    answers, value, push = example.answers(), 0.0, np.zeros_like(example.answers()[0].policy)
    returns = np.array([float(batch.returns(example.mdp.discount)) for batch in (example.chosen, example.rejected)])
    spread = abs(returns[0] - returns[1]) / np.sqrt(2)
    for answer, better in zip(answers, (returns - returns.mean()) / (spread + 1e-4), strict=True):
        ratio = (answer.reference / answer.policy)[answer.states, answer.actions]  # k3 = ratio - 1 - log ratio
        value += (-better + 0.04 * (ratio - 1 - np.log(ratio))).mean() / 2
        push += answer.weighted_score((-better + 0.04 * (1 - ratio)) / answer.steps / 2)
    return float(value), push
