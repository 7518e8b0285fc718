"""Preference estimation and transition optimisation: Table 1 of "Intuitive Fine-Tuning" (arXiv 2405.11870v3) made executable.

The paper sees every method of alignment as bringing T_θ(s*_n, ρ0), the probability that the model, prompted with ρ0, gives the
human's answer up to its n-th state, to the human's own, T*(s*_n, ρ0). To do so a method must assume where the model stands when
it decides: its *prior state*. The assumed priors are what distinguishes the methods, and on a lake each assumption can be
compared with the truth. Two numbers per step say how far off it is:

    bias_n = T̂_θ(s*_n, ρ0) - T_θ(s*_n, ρ0)        assumed minus true probability of the human's answer
    gap_n  = TV(P̂_θ, P_θ) at step n                assumed against true preference there (eq. 3-5), total variation

As in the paper a state is a prefix: T_θ(s*_n, ρ0) = Π_{i<n} T_θ(s*_{i+1} | s*_i) is the probability of walking the human's very
states, T_θ(s'|s) = Σ_a P(s'|s, a) π_θ(a|s).

Which of the paper's statements hold, and which do not (tests/evaluation/test_estimation.py has a proof or a counter-example for
each):

- eq. 11, T_θ(π*(s), s) <= T_θ(π_θ(s), s), holds: π_θ(s) is the model's most likely action.
- eq. 12, T_θ(s*_n, ρ0) <= T_θ(s^θ_n, ρ0), does not follow from it. Where every action leads to a state of its own it holds for
  n = 1, and for any n if s^θ_n is the model's most likely prefix of n states; but a chain of greedy choices need not be that
  one, and the human's may be likelier.
- "SFT sets T_θ(s*_{n-1}, ρ0) = 1" is true of one step's term, -log T_θ(s*_n | s*_{n-1}). The sum of the terms is exactly
  -log T_θ(s*_N, ρ0), without bias; and so eq. 19 is exact for λ = 0, and mixing takes it away from the truth. (Without slip,
  and where one action leads from state to state, that sum is N times `losses.sft_loss`, which knows actions, not states.)
- eq. 18, P̂_θ = (1-λ) P_θ^sft + λ P_θ^truly, holds where the model decides alike in both states, and for a policy that is
  linear in its state. Through a softmax it does not: a table's mixed logits give π(.|s*)^{1-λ} π(.|s^θ)^λ, normalised, a
  geometric mean. Nor is the state mixed in the one that the model itself would have reached at that time: it is
  one step of the model's off the human's path, whatever came before.
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

from ift_gridworld.checks import check_mdp
from ift_gridworld.choices import Outcome, Prediction
from ift_gridworld.data import Trajectories
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy, walk_distribution
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.policies.residual import Windows, lake_successor
from ift_gridworld.policies.sparse import SparseStates
from ift_gridworld.runtime import standard_settings

__all__ = ["TABLE", "UNKNOWN", "WALK_BYTES", "Assumption", "Estimation", "estimate"]


@dataclass(frozen=True)
class Assumption:
    """A row of Table 1, in symbols.

    Attributes:
        human_prior: the states in which a method consults the human.
        model_prior: the states in which it assumes that the model stands.
        aligns: what it aligns with the human's.
    """

    human_prior: str
    model_prior: str
    aligns: str


TABLE: dict[str, Assumption] = {
    "truth": Assumption("s*ₙ", "sᶿₙ", "T(s*ₙ|ρ₀)"),
    "sft": Assumption("s*ₙ", "s*ₙ", "T(s*ₙ|s*ₙ₋₁)"),
    "ppo": Assumption("sᶿₙ", "sᶿₙ", "T(ŝ*ₙ|sᶿₙ₋₁)"),
    "dpo_online": Assumption("s*ₙ", "sᶿₙ", "T(s*ₙ|ρ₀)"),
    "dpo": Assumption("s*ₙ", "sᶿ⁻ₙ, stale", "T̂(s*ₙ|ρ₀)"),
    "ift": Assumption("s*ₙ", "(1-λ)s*ₙ+λπ", "T̂(s*ₙ|ρ₀)"),
}
UNKNOWN = Assumption("?", "?", "?")  # of a run whose file does not say

# A walk is followed over all states at once, [N, T, S]; beyond this much memory, it is not followed. Ten thousand states are
# within the limit over three thousand steps.
WALK_BYTES = 256 * 2**20

Prior = Callable[[], Float[np.ndarray, "N B T S"]]


@dataclass(frozen=True, eq=False)
class Estimation:
    """Assumptions of a method about the model it trains, beside the true values.

    Entry t is about the human's step t, from state s*_t to s*_{t+1}; N seeds, B answers of the human.

    Attributes:
        preference: what the model would do in the assumed states, P̂_θ; NaN where none is assumed (a stale answer that is
            already over).
        own_preference: what it would do where it really stands at that step of its own walk, P_θ; NaN where every walk is over,
            and everywhere on lakes too large to follow the walk (`WALK_BYTES`).
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
        """The states in which the human is consulted, as weights of states."""
        return self._human()

    @cached_property
    def model_prior(self) -> Float[np.ndarray, "N B T S"]:
        """The states in which the model is assumed to stand, as weights of states; all 0 where none is assumed."""
        return self._model()

    @property
    def bias(self) -> Float[np.ndarray, "N B T"]:
        """Over-estimate of the model's probability of the human's answer so far: `estimate` less `truth`."""
        return self.estimate - self.truth

    @property
    def gap(self) -> Float[np.ndarray, "N B T"]:
        """Total variation between the assumed and the true preference, in [0, 1]."""
        return 0.5 * np.abs(self.preference - self.own_preference).sum(-1)

    def per_step(self) -> dict[str, Float[np.ndarray, "N T"]]:
        """Return truth, estimate and gap, averaged over the answers that have the step (NaN where none has)."""
        return {name: _mean_over_answers(getattr(self, name), self.mask) for name in ("truth", "estimate", "gap")}


@standard_settings()
def estimate(
    row: str,
    mdp: TabularMDP,
    policy: LakePolicy,
    answers: Trajectories,
    *,
    stale: Trajectories | None = None,
    mixing: float = 0.2,
    prediction: Prediction = "greedy",
    outcome: Outcome = "expected",
) -> Estimation:
    """Compute what a method assumes about a policy, and what is true of it (Table 1).

    - "truth": the model stands where its own walk has led it.
    - "sft": it stands in the human's state, as if it had come there with certainty: T̂_n = T_θ(s*_n | s*_{n-1}).
    - "ppo": it stands where its own walk has led it, as if it had come there with certainty, and the human is asked there:
      T̂_n = E_{s ~ walk} Σ_s' T*(s'|s) T_θ(s'|s), over the walks that have not ended; NaN on lakes too large for that.
    - "dpo_online": its answers are drawn as they are needed: T̂_n = T_θ(s*_n, ρ0) in expectation.
    - "dpo": its answers are the rejected ones of the data, whoever gave them: T̂_n = 1 where that answer agrees with the human's
      up to state n, else 0. (The loss itself evaluates both answers exactly; stale is what it knows of the model's own.)
    - "ift": it stands in the residual connection's mixed state (eq. 17), T̂_n = Π_{i<n} T_θ(s*_{i+1} | ŝ_i) (eq. 19).

    Args:
        row: a name in `TABLE`.
        mdp: the lake.
        policy: N members.
        answers: the human's, [B, T].
        stale: for "dpo", the rejected answer to each, [B, T'].
        mixing, prediction, outcome: of the residual connection, for "ift".

    Raises:
        ValueError: for what is not an MDP, an unknown row, or "dpo" without stale answers.

    Example:
        >>> from ift_gridworld.data import demonstrations
        >>> from ift_gridworld.policies import TabularPolicy
        >>> lake = TabularMDP.from_map(("SFG",))  # the initial policy is uniform
        >>> sft = estimate("sft", lake, TabularPolicy(3, 4), demonstrations(lake))
        >>> sft.truth, sft.bias
        (array([[[0.25  , 0.0625]]]), array([[[0.    , 0.1875]]]))
    """
    check_mdp(mdp)
    if row not in TABLE:
        raise ValueError(f"row is {row!r}; allowed: {', '.join(TABLE)}")
    if row == "dpo" and stale is None:
        raise ValueError("stale is None; allowed: the rejected answers, which offline DPO takes for the model's own")
    walks = _Walks(mdp, policy, answers)
    if row == "sft":
        return walks.estimation(walks.at_human, walks.step, walks.human_prior, walks.human_prior)
    if row == "ppo":
        return walks.estimation(walks.own_preference, walks.agreement, walks.own_prior, walks.own_prior)
    if row == "dpo":
        assert stale is not None
        return _from_stale_answers(walks, stale)
    if row == "ift":
        return _from_mixed_states(walks, policy, answers, mixing, prediction, outcome)
    return walks.estimation(walks.own_preference, walks.truth, walks.human_prior, walks.own_prior)  # "truth", "dpo_online"


class _Walks:
    """True quantities of a policy along the human's answers and along its own walk from their starts.

    Attributes:
        table: the policy, [N, S, A].
        at_human: its preference in the human's states, [N, B, T, A].
        leads: P(s*_{t+1} | s*_t, a), [B, T, A].
        step: T_θ(s*_{t+1} | s*_t), [N, B, T]; 1 where the answer is over.
        truth: T_θ(s*_{t+1}, ρ0), [N, B, T].
        own_preference, agreement: as `_own_walk` returns them.
    """

    def __init__(self, mdp: TabularMDP, policy: LakePolicy, answers: Trajectories) -> None:
        self.mdp = mdp
        self.states, self.following, self.mask = (np.asarray(x) for x in (answers.states, answers.next_states, answers.mask))
        self.table = policy.probabilities()
        self.at_human = self.table[:, self.states]
        self.leads = _leads(mdp, self.states, self.following)
        self.step = np.where(self.mask, (self.at_human * self.leads).sum(-1), 1.0)
        self.truth = self.step.cumprod(-1)
        self.own_preference, self.agreement = _own_walk(mdp, self.table, self.states)

    def estimation(self, preference: np.ndarray, estimate: np.ndarray, human: Prior, model: Prior) -> Estimation:
        return Estimation(preference, self.own_preference, estimate, self.truth, self.mask, human, model)

    def human_prior(self) -> Float[np.ndarray, "N B T S"]:
        """Return the prior with all weight on the human's states."""
        return np.broadcast_to(_one_hot(self.states, self.mdp.num_states), (*self.step.shape, self.mdp.num_states))

    def own_prior(self) -> Float[np.ndarray, "N B T S"]:
        """The distribution of the model's own walk from each answer's start."""
        steps = self.states.shape[-1]
        return np.stack([_distribution(self.mdp, self.table, steps, int(start)) for start in self.states[:, 0]], 1)


def _from_stale_answers(walks: _Walks, stale: Trajectories) -> Estimation:
    num_states, steps = walks.mdp.num_states, walks.states.shape[-1]
    states, following, mask = (_cut_or_pad(np.asarray(x), steps) for x in (stale.states, stale.next_states, stale.mask))
    same = mask & (states == walks.states) & (following == walks.following)
    agrees = np.broadcast_to(np.where(walks.mask, same, 1.0).cumprod(-1), walks.truth.shape)
    preference = np.where(mask[..., None], walks.table[:, states], np.nan)

    def prior() -> Float[np.ndarray, "N B T S"]:
        return np.broadcast_to(_one_hot(states, num_states) * mask[..., None], (*walks.step.shape, num_states))

    return walks.estimation(preference, agrees, walks.human_prior, prior)


def _from_mixed_states(
    walks: _Walks, policy: LakePolicy, answers: Trajectories, mixing: float, prediction: Prediction, outcome: Outcome
) -> Estimation:
    mixed, index = _mixed(walks.mdp, policy, answers, mixing, prediction, outcome)
    with torch.no_grad():
        preference = torch.softmax(policy.logits(mixed).double(), -1).cpu().numpy()[:, index]
    estimate = np.where(walks.mask, (preference * walks.leads).sum(-1), 1.0).cumprod(-1)

    def prior() -> Float[np.ndarray, "N B T S"]:
        weights = mixed.dense(walks.mdp.num_states) if isinstance(mixed, SparseStates) else mixed
        return weights.double().cpu().numpy()[:, index]

    return walks.estimation(preference, estimate, walks.human_prior, prior)


def _one_hot(states: Int[np.ndarray, "B T"], num_states: int) -> Float[np.ndarray, "B T S"]:
    return (np.asarray(states)[..., None] == np.arange(num_states)).astype(float)


def _leads(mdp: TabularMDP, states: Int[np.ndarray, "B T"], following: Int[np.ndarray, "B T"]) -> Float[np.ndarray, "B T A"]:
    """Return P(s*_{t+1} | s*_t, a) of every action."""
    arrives = mdp.next_state[states] == following[..., None, None]
    return (mdp.probability[states] * arrives).sum(-1)


def _distribution(mdp: TabularMDP, table: Float[np.ndarray, "N S A"], steps: int, start: int) -> Float[np.ndarray, "N T S"]:
    """Return where the model stands at each step of its own walk from a state, given that it has not ended; NaN if all have."""
    walk = walk_distribution(mdp, table, steps, (np.arange(mdp.num_states) == start).astype(float))
    going = walk.sum(-1, keepdims=True)
    return np.divide(walk, going, out=np.full(walk.shape, np.nan), where=going > 0)


def _own_walk(
    mdp: TabularMDP, table: Float[np.ndarray, "N S A"], states: Int[np.ndarray, "B T"]
) -> tuple[Float[np.ndarray, "N B T A"], Float[np.ndarray, "N B T"]]:
    """Return what the model does at each step of its own walk from each answer's start, and how likely it then goes where the
    human, drawing among equals, would: E_s Σ_s' T*(s'|s) T_θ(s'|s). All NaN where following the walk exceeds `WALK_BYTES`."""
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
    mdp: TabularMDP, policy: LakePolicy, answers: Trajectories, mixing: float, prediction: Prediction, outcome: Outcome
) -> tuple[Tensor | SparseStates, Int[np.ndarray, "B T"]]:
    """Return the residual connection's distinct mixed states, [N, U, S] or sparse, and which of them each step's is."""
    device = next(policy.parameters()).device
    successor = lake_successor(mdp, policy.embed, prediction=prediction, outcome=outcome, device=device)
    windows = Windows.of(*(x[None].to(device) for x in (answers.states, answers.mask)))
    return windows.mixed(policy, successor, mixing=mixing), windows.index[0].cpu().numpy()


def _cut_or_pad(x: np.ndarray, steps: int) -> np.ndarray:
    """Cut or pad (with 0 or False) to `steps` steps."""
    return np.pad(x[:, :steps], ((0, 0), (0, max(0, steps - x.shape[-1]))))


def _mean_over_answers(x: Float[np.ndarray, "N B T"], mask: Bool[np.ndarray, "B T"]) -> Float[np.ndarray, "N T"]:
    """Return the mean over the counted entries that are not NaN; NaN where there is none."""
    counted = mask & ~np.isnan(x)
    count = counted.sum(1)
    return np.divide(np.where(counted, x, 0.0).sum(1), count, out=np.full(count.shape, np.nan), where=count > 0)
