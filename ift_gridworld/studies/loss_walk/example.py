"""The example that losses are computed on: a lake, a policy, its reference and one pair of answers."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.data import Trajectories, generators, preference_pairs
from ift_gridworld.envs.registry import make_env
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy
from ift_gridworld.policies.lake import TabularPolicy
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.loop import train

__all__ = ["Answer", "Example", "make_example"]

WIDEST = 8  # tiles of a map that a terminal has room for


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer, in NumPy.

    Attributes:
        states, actions: its steps.
        policy, reference: probabilities of actions under the policy and under the reference.
    """

    states: Int[np.ndarray, " T"]
    actions: Int[np.ndarray, " T"]
    policy: Float[np.ndarray, "S A"]
    reference: Float[np.ndarray, "S A"]

    @property
    def steps(self) -> int:
        """Number of steps."""
        return len(self.states)

    @property
    def loss(self) -> Float[np.ndarray, " T"]:
        """l_t = -log pi(a_t|s_t)."""
        return -np.log(self.policy[self.states, self.actions])

    @property
    def margin(self) -> float:
        """log pi - log ref of the whole answer."""
        return float(-self.loss.sum() - np.log(self.reference[self.states, self.actions]).sum())

    @property
    def kl(self) -> float:
        """sum_t KL(ref || pi) over the answer's tiles."""
        p, q = self.reference[self.states], self.policy[self.states]
        return float((p * np.log(p / q)).sum())

    def weighted_score(self, weight: Float[np.ndarray, " T"] | float) -> Float[np.ndarray, "S A"]:
        """sum_t weight_t d log pi(a_t|s_t) / dTheta, [S, A]: at the tile of step t, weight_t (one-hot(a_t) - pi(.|s_t))."""
        score = np.zeros_like(self.policy)
        one_hot = np.eye(self.policy.shape[1])[self.actions]
        np.add.at(score, self.states, np.broadcast_to(weight, (self.steps,))[:, None] * (one_hot - self.policy[self.states]))
        return score

    @property
    def visits(self) -> Float[np.ndarray, "S A"]:
        """Number of times that each action is taken on each tile."""
        counts = np.zeros_like(self.policy)
        np.add.at(counts, (self.states, self.actions), 1.0)
        return counts


@dataclass(frozen=True, eq=False)
class Example:
    """Inputs that every loss is computed on.

    Attributes:
        mdp: the lake.
        policy: a table in float64.
        reference: the frozen base.
        chosen, rejected: one pair of answers.
        mixing, decay: IFT's λ and γ.
    """

    mdp: TabularMDP
    policy: TabularPolicy
    reference: TabularPolicy
    chosen: Trajectories
    rejected: Trajectories
    mixing: float
    decay: float

    def answers(self) -> tuple[Answer, Answer]:
        """Return the chosen and the rejected answer."""
        tables = self.policy.probabilities()[0], self.reference.probabilities()[0]
        chosen, rejected = (
            Answer(np.asarray(batch.states[batch.mask]), np.asarray(batch.actions[batch.mask]), *tables)
            for batch in (self.chosen, self.rejected)
        )
        return chosen, rejected

    def advantage(self) -> Float[np.ndarray, "S A"]:
        """Return the policy's own A(s, a) = Q(s, a) - V(s), exact."""
        mdp, policy = self.mdp, self.policy.probabilities()[0]
        value = evaluate_policy(mdp, policy)
        ahead = (mdp.probability * ~mdp.terminated * value[mdp.next_state]).sum(-1)
        return mdp.expected_reward + mdp.discount * ahead - value[:, None]


def make_example(lake: str, *, is_slippery: bool, updates: int, mixing: float, decay: float, seed: int) -> Example:
    """Draw a pair of answers, clone the base, and train the policy.

    Args:
        lake: a name that `make_env` takes; at most `WIDEST` tiles wide.
        is_slippery: whether moves slip to either side.
        updates: number of SFT updates between the reference and the policy.
        mixing: IFT's λ.
        decay: IFT's γ.
        seed: of the base, and of the pair where the lake is slippery.
    """
    mdp = TabularMDP.from_env(make_env(lake, is_slippery=is_slippery))
    if mdp.layout is None or mdp.num_actions != 4 or len(mdp.layout[0]) > WIDEST:
        raise ValueError(f"--map is {lake!r}; allowed: lakes at most {WIDEST} tiles wide")
    chosen, rejected = preference_pairs(mdp, 1, generator=generators(seed, 1)[0])
    policy = make_base("mixture", mdp, policy="tabular", seed=seed).double()
    assert isinstance(policy, TabularPolicy)
    reference = copy.deepcopy(policy).requires_grad_(False)
    if updates:
        train("sft", mdp, policy, steps=updates, snapshots=2, demonstrations=chosen)
    return Example(mdp, policy, reference, chosen, rejected, mixing, decay)
