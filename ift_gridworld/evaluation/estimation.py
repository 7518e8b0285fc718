"""Preference estimation and transition optimisation: Table 1 of "Intuitive Fine-Tuning" (arXiv 2405.11870v3) made executable.

The paper sees every method of alignment as bringing T_θ(s*_n, ρ0), the probability that the model, asked ρ0, gives the human's
answer up to its n-th state, to the human's own, T*(s*_n, ρ0). To do so a method must suppose where the model stands when it
decides: its *prior state*. The supposed priors are what sets the methods apart, and on a lake each supposition can be held
against the truth. Two numbers a step say how far it is off:

    bias_n = T̂_θ(s*_n, ρ0) - T_θ(s*_n, ρ0)        what the method takes the model's probability of the human's answer to be
    gap_n  = TV(P̂_θ, P_θ) at step n                what it takes the model to prefer there (eq. 3-5), total variation

As in the paper a state is a prefix: T_θ(s*_n, ρ0) = Π_{i<n} T_θ(s*_{i+1} | s*_i) is the probability of walking the human's very
states, T_θ(s'|s) = Σ_a P(s'|s, a) π_θ(a|s).

What of the paper's statements holds, and what does not; tests/test_estimation.py has a proof or a counter-example for each:

- eq. 11, T_θ(π*(s), s) <= T_θ(π_θ(s), s), holds: π_θ(s) is the model's most likely action.
- eq. 12, T_θ(s*_n, ρ0) <= T_θ(s^θ_n, ρ0), does not follow from it. Where every action leads to a state of its own it holds for
  n = 1, and for any n if s^θ_n is the model's most likely prefix of n states; but a chain of greedy choices need not be that
  one, and the human's may be likelier.
- "SFT sets T_θ(s*_{n-1}, ρ0) = 1" is true of one step's term, -log T_θ(s*_n | s*_{n-1}). The sum of the terms is exactly
  -log T_θ(s*_N, ρ0), without bias; and so eq. 19 is exact for λ = 0, and mixing takes it away from the truth. (Without slip,
  and where one action leads from state to state, that sum is N times `losses.sft_loss`, which knows actions, not states.)
- eq. 18, P̂_θ = (1-λ) P_θ^sft + λ P_θ^truly, holds where the model decides as it would at both states, and for a policy that is
  linear in its state. Through a softmax it does not: a table's mixed logits give π(.|s*)^{1-λ} π(.|s^θ)^λ, normalised, a
  geometric mean. Nor is the state mixed in, one step ahead of the human's, the one that the model itself would have reached.
- eq. 29 writes exp(-L) as T_n Σ_{i>n} T_i: the exponential of a sum of logarithms is a product, and its maximum over actions is
  the human's only where the model is greedy for it. What does hold is V_n = T_θ(a*_n, δ_θ(s*_n)) V_{n+1}, a Bellman
  equation for evaluating the human's answer, without reward and without maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.data import Trajectories
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy, walk_distribution
from ift_gridworld.policies.lake import Policy
from ift_gridworld.policies.residual import Outcome, Prediction, Windows, lake_successor
from ift_gridworld.policies.sparse import SparseStates


@dataclass(frozen=True)
class Row:
    """A line of Table 1, in symbols: the states in which a method consults the human, those in which it takes the model to
    stand, and what it aligns with the human's."""

    human_prior: str
    model_prior: str
    aligns: str


TABLE: dict[str, Row] = {
    "truth": Row("s*ₙ", "sᶿₙ", "T(s*ₙ|ρ₀)"),
    "sft": Row("s*ₙ", "s*ₙ", "T(s*ₙ|s*ₙ₋₁)"),
    "ppo": Row("sᶿₙ", "sᶿₙ", "T(ŝ*ₙ|sᶿₙ₋₁)"),
    "dpo_online": Row("s*ₙ", "sᶿₙ", "T(s*ₙ|ρ₀)"),
    "dpo": Row("s*ₙ", "sᶿ⁻ₙ, stale", "T̂(s*ₙ|ρ₀)"),
    "ift": Row("s*ₙ", "(1-λ)s*ₙ+λπ", "T̂(s*ₙ|ρ₀)"),
}

# A walk is followed over all tiles at once, [N, T, S]; beyond this much memory, not at all. Ten thousand tiles are within it
# over three thousand steps.
WALK_BYTES = 256 * 2**20

Prior = Callable[[], Float[np.ndarray, "N B T S"]]


@dataclass(frozen=True, eq=False)
class Estimation:
    """What a method assumed_prior of the model it trains, beside what is true. Entry t is about the human's step t, from state
    s*_t to s*_{t+1}; N seeds, B answers of the human.

    Attributes:
        preference: what the model would do in the supposed states, P̂_θ; NaN where none is supposed (a stale answer that is
            already over).
        own_preference: what it would do where it really stands at that step of its own walk, P_θ; NaN where every walk is over,
            and all of it on lakes too large to follow the walk (`WALK_BYTES`).
        estimate: T̂_θ(s*_{t+1}, ρ0).
        truth: T_θ(s*_{t+1}, ρ0).
        mask: which steps the human's answers have.
    """

    preference: Float[np.ndarray, "N B T A"]
    own_preference: Float[np.ndarray, "N B T A"]
    estimate: Float[np.ndarray, "N B T"]
    truth: Float[np.ndarray, "N B T"]
    mask: Bool[np.ndarray, "B T"]
    _human: Prior
    _model: Prior

    @cached_property
    def human_prior(self) -> Float[np.ndarray, "N B T S"]:
        """The states in which the human is consulted, as weights of tiles."""
        return self._human()

    @cached_property
    def model_prior(self) -> Float[np.ndarray, "N B T S"]:
        """The states in which the model is supposed to stand, as weights of tiles; all 0 where none is supposed."""
        return self._model()

    @property
    def bias(self) -> Float[np.ndarray, "N B T"]:
        """By how much the method over-estimates the model's probability of the human's answer so far."""
        return self.estimate - self.truth

    @property
    def gap(self) -> Float[np.ndarray, "N B T"]:
        """Total variation between the supposed and the true preference."""
        return 0.5 * np.abs(self.preference - self.own_preference).sum(-1)

    def per_step(self) -> dict[str, Float[np.ndarray, "N T"]]:
        """Truth, estimate and gap, averaged over the answers that have such a step (NaN where none has)."""
        return {name: _mean_over_answers(getattr(self, name), self.mask) for name in ("truth", "estimate", "gap")}


def estimate(
    row: str,
    mdp: TabularMDP,
    policy: Policy,
    answers: Trajectories,
    *,
    stale: Trajectories | None = None,
    mixing: float = 0.2,
    prediction: Prediction = "greedy",
    outcome: Outcome = "expected",
) -> Estimation:
    """What a method assumed_prior of a policy, and what is true of it (Table 1).

    - "truth": the model stands where its own walk has led it.
    - "sft": it stands on the human's state, as if it had come there with certainty: T̂_n = T_θ(s*_n | s*_{n-1}).
    - "ppo": it stands where its own walk has led it, as if it had come there with certainty, and the human is asked there:
      T̂_n = E_{s ~ walk} Σ_s' T*(s'|s) T_θ(s'|s), over the walks that have not ended; NaN on lakes too large for that.
    - "dpo_online": its answers are drawn as they are needed: T̂_n = T_θ(s*_n, ρ0) in expectation.
    - "dpo": its answers are the rejected ones of the data, whoever gave them: T̂_n = 1 where that answer agrees with the human's
      up to state n, else 0. (The loss itself evaluates both answers exactly; stale is what it knows of the model's own.)
    - "ift": it stands on the residual connection's mixed state (eq. 17), T̂_n = Π_{i<n} T_θ(s*_{i+1} | ŝ_i) (eq. 19).

    Args:
        row: a name in `TABLE`.
        mdp: the lake.
        policy: N members.
        answers: the human's, [B, T].
        stale: for "dpo", the rejected answer to each, [B, T'].
        mixing, prediction, outcome: of the residual connection, for "ift".

    Raises:
        ValueError: for an unknown row, or "dpo" without stale answers.
    """
    if row not in TABLE:
        raise ValueError(f"row is {row!r}; allowed: {', '.join(TABLE)}")
    if row == "dpo" and stale is None:
        raise ValueError("stale is None; allowed: the rejected answers, which offline DPO takes for the model's own")
    states, following, mask = (np.asarray(x) for x in (answers.states, answers.next_states, answers.mask))
    table, steps = policy.probabilities(), states.shape[-1]
    at_human = table[:, states]  # [N, B, T, A]
    leads = _leads(mdp, states, following)
    step = np.where(mask, (at_human * leads).sum(-1), 1.0)  # T_θ(s*_{t+1} | s*_t)
    truth = step.cumprod(-1)
    own_preference, agreement = _own_walk(mdp, table, states)

    def human() -> Float[np.ndarray, "N B T S"]:
        return np.broadcast_to(_one_hot(states, mdp.num_states), (*step.shape, mdp.num_states))

    def own() -> Float[np.ndarray, "N B T S"]:
        return np.stack([_distribution(mdp, table, steps, int(start)) for start in states[:, 0]], 1)

    if row == "sft":
        return Estimation(at_human, own_preference, step, truth, mask, human, human)
    if row == "ppo":
        return Estimation(own_preference, own_preference, agreement, truth, mask, own, own)
    if row == "dpo":
        assert stale is not None
        there, onward, walks = (_fit(np.asarray(x), steps) for x in (stale.states, stale.next_states, stale.mask))
        same = walks & (there == states) & (onward == following)
        supposed = np.broadcast_to(np.where(mask, same, 1.0).cumprod(-1), truth.shape)
        preference = np.where(walks[..., None], table[:, there], np.nan)

        def stood() -> Float[np.ndarray, "N B T S"]:
            return np.broadcast_to(_one_hot(there, mdp.num_states) * walks[..., None], (*step.shape, mdp.num_states))

        return Estimation(preference, own_preference, supposed, truth, mask, human, stood)
    if row == "ift":
        mixed, place = _mixed(mdp, policy, answers, mixing, prediction, outcome)
        with torch.no_grad():
            preference = torch.softmax(policy.logits(mixed).double(), -1).cpu().numpy()[:, place]
        supposed = np.where(mask, (preference * leads).sum(-1), 1.0).cumprod(-1)

        def stood_mixed() -> Float[np.ndarray, "N B T S"]:
            weights = mixed.dense(mdp.num_states) if isinstance(mixed, SparseStates) else mixed
            return weights.double().cpu().numpy()[:, place]

        return Estimation(preference, own_preference, supposed, truth, mask, human, stood_mixed)
    return Estimation(own_preference, own_preference, truth, truth, mask, human, own)  # "truth" and "dpo_online"


def _one_hot(states: Int[np.ndarray, "B T"], num_states: int) -> Float[np.ndarray, "B T S"]:
    return (np.asarray(states)[..., None] == np.arange(num_states)).astype(float)


def _leads(mdp: TabularMDP, states: Int[np.ndarray, "B T"], following: Int[np.ndarray, "B T"]) -> Float[np.ndarray, "B T A"]:
    """P(s*_{t+1} | s*_t, a) of every action."""
    arrives = mdp.next_state[states] == following[..., None, None]
    return (mdp.probability[states] * arrives).sum(-1)


def _distribution(mdp: TabularMDP, table: Float[np.ndarray, "N S A"], steps: int, start: int) -> Float[np.ndarray, "N T S"]:
    """Where the model stands at each step of its own walk from a tile, given that the walk has not ended; NaN if all have."""
    walk = walk_distribution(mdp, table, steps, (np.arange(mdp.num_states) == start).astype(float))
    going = walk.sum(-1, keepdims=True)
    return np.divide(walk, going, out=np.full(walk.shape, np.nan), where=going > 0)


def _own_walk(
    mdp: TabularMDP, table: Float[np.ndarray, "N S A"], states: Int[np.ndarray, "B T"]
) -> tuple[Float[np.ndarray, "N B T A"], Float[np.ndarray, "N B T"]]:
    """What the model does at each step of its own walk from each answer's start, and how likely it then goes where the human,
    drawing among equals, would: E_s Σ_s' T*(s'|s) T_θ(s'|s). All NaN where following the walk exceeds `WALK_BYTES`."""
    if table[..., 0].size * states.shape[-1] * table.itemsize > WALK_BYTES:
        unknown = np.full((len(table), *states.shape, mdp.num_actions), np.nan)
        return unknown, unknown[..., 0]
    successor = mdp.next_state.reshape(mdp.num_states, -1)
    same = successor[:, :, None] == successor[:, None, :]
    ours, humans = ((p[..., None] * mdp.probability).reshape(*p.shape[:-1], -1) for p in (table, optimal_policy(mdp)))
    agrees = np.einsum("nsj,sjk,sk->ns", ours, same, humans, optimize=True)
    starts, which = np.unique(states[:, 0], return_inverse=True)
    preference, agreement = [], []
    for start in starts:
        walk = _distribution(mdp, table, states.shape[-1], int(start))
        preference.append(walk @ table)
        agreement.append(np.einsum("nts,ns->nt", walk, agrees))
    return np.stack(preference, 1)[:, which], np.stack(agreement, 1)[:, which]


def _mixed(
    mdp: TabularMDP, policy: Policy, answers: Trajectories, mixing: float, prediction: Prediction, outcome: Outcome
) -> tuple[Tensor | SparseStates, Int[np.ndarray, "B T"]]:
    """The residual connection's distinct states, [N, U, S], for tiles are one-hot, and which of them each step's is."""
    device = next(policy.parameters()).device
    successor = lake_successor(mdp, policy.embed, prediction=prediction, outcome=outcome, device=device)
    windows = Windows.of(*(x[None].to(device) for x in (answers.states, answers.mask)))
    return windows.mixed(policy, successor, mixing=mixing), windows.index[0].cpu().numpy()


def _fit(x: np.ndarray, steps: int) -> np.ndarray:
    """Cut or filled up (with 0, False) to so many steps."""
    return np.pad(x[:, :steps], ((0, 0), (0, max(0, steps - x.shape[-1]))))


def _mean_over_answers(x: Float[np.ndarray, "N B T"], mask: Bool[np.ndarray, "B T"]) -> Float[np.ndarray, "N T"]:
    """Over the counted entries that are numbers; NaN where there is none."""
    counted = mask & ~np.isnan(x)
    count = counted.sum(1)
    return np.divide(np.where(counted, x, 0.0).sum(1), count, out=np.full(count.shape, np.nan), where=count > 0)
