"""The temporal residual connection: running a policy on states mixed from the human's and the model's own.

    e_i = (1 - λ) E(s*_i) + λ E(s^θ_i),      s^θ_i = the state that the model's own prediction at step i - 1 leads to

Source: "Intuitive Fine-Tuning" (arXiv 2405.11870v3), eq. 17 and 37. It serves lakes and language alike, because the caller
says where a prediction leads. On a lake that is the state which the predicted action leads to (`lake_successor`); in language
it is the predicted token itself, in the true token's position.

Its ancestor is scheduled sampling for transformers (Mihaylova and Martins 2019, arXiv 1906.07651): a first pass predicts every
token, a second one reads the true tokens' embeddings mixed with those of the predictions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.checks import check_mdp
from ift_gridworld.choices import OUTCOMES, PREDICTIONS, Outcome, Prediction
from ift_gridworld.log_probs import at_least_float32
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.policies.sparse import SparseStates

__all__ = [
    "OUTCOMES",
    "PREDICTIONS",
    "TIE_TOLERANCE",
    "EmbeddedPolicy",
    "Embedding",
    "Outcome",
    "Prediction",
    "Successor",
    "Windows",
    "greedy_action",
    "lake_successor",
    "mix",
    "mix_after",
    "predicted_distribution",
    "residual_embeddings",
]

# Nats. A base policy that has seen two actions equally often likes them equally up to rounding, and rounding differs between
# machines and population sizes. It must not decide: one early update on another tile is visible at the end of training.
TIE_TOLERANCE = 1e-5

# (states [..., T], logits [..., T, A]) -> embedding of the state that step t's prediction leads to, [..., T, D]: vectors or
# `SparseStates`, whichever the policy's own embeddings are.
Successor = Callable[[Tensor, Tensor], Any]

# States as a policy takes them, [..., D].
Embedding = TypeVar("Embedding", Tensor, SparseStates)


@runtime_checkable
class EmbeddedPolicy(Protocol):
    """A policy split at its embedding; between its two halves go vectors, or `SparseStates`."""

    def embed(self, states: Tensor) -> Any: ...

    def logits(self, embeddings: Any) -> Tensor: ...


def mix(true: Embedding, predicted: Embedding, mask: Bool[Tensor, "*#batch T"], mixing: float) -> Embedding:
    """Mix embeddings (eq. 17): (1 - λ) true_i + λ predicted_{i-1} where step i and the step before it count, else true_i.

    The first counted step (the prompt, ρ0) and everything outside the response keep their true embedding, because no
    prediction leads there.

    Args:
        true: E(s*_i), [..., T, D] or `SparseStates` [..., T, M].
        predicted: the same kind; entry t is the embedding of the state that the prediction made AT step t leads to, which
            stands in for state t + 1.
        mask: which steps count.
        mixing: λ in [0, 1].

    Returns:
        The mixed embeddings, of the shape of `true`.

    Raises:
        ValueError: for a mixing outside [0, 1].

    Example:
        >>> true, predicted = torch.zeros(3, 1), torch.tensor([[10.0], [20.0], [30.0]])
        >>> mix(true, predicted, torch.tensor([True, True, True]), 0.2)[:, 0]
        tensor([0., 2., 4.])
    """
    before = (torch.arange(mask.shape[-1], device=mask.device) - 1).clamp(min=0)  # no prediction leads to the first
    return _mix_where(_follows_counted(mask), true, predicted[..., before, :], mixing)


def mix_after(
    true: Float[Tensor, "*batch T D"], predicted: Float[Tensor, "*batch T D"], mask: Bool[Tensor, "*#batch T"], mixing: float
) -> Float[Tensor, "*batch T D"]:
    """Mix embeddings where the step before counts, whether or not the step itself does.

    `mix` differs only at a step behind the last counted one: the last token of an answer, which a later turn of a conversation
    reads. The authors' code mixes it as every other token of an answer.

    Args:
        true, predicted, mask, mixing: those of `mix`.

    Example:
        >>> true, predicted = torch.zeros(3, 1), torch.tensor([[10.0], [20.0], [30.0]])
        >>> mix_after(true, predicted, torch.tensor([True, False, False]), 0.2)[:, 0]
        tensor([0., 2., 0.])
    """
    return _mix_where(_after_counted(mask), true, predicted.roll(1, -2), mixing)


def _mix_where(has_prediction: Bool[Tensor, "*#batch"], true: Embedding, predicted: Embedding, mixing: float) -> Embedding:
    if not 0 <= mixing <= 1:
        raise ValueError(f"mixing is {mixing}; allowed: [0, 1]")
    if isinstance(true, SparseStates):
        return true.blend(predicted, mixing * has_prediction[..., None].to(true.weight))
    return torch.where(has_prediction[..., None], torch.lerp(true, predicted, mixing), true)


def _follows_counted(mask: Bool[Tensor, "*batch T"]) -> Bool[Tensor, "*batch T"]:
    """Steps that count and follow a step that counts: a prediction leads there."""
    return mask & _after_counted(mask)


def _after_counted(mask: Bool[Tensor, "*batch T"]) -> Bool[Tensor, "*batch T"]:
    """Steps that follow a step that counts."""
    return torch.cat([torch.zeros_like(mask[..., :1]), mask[..., :-1]], -1)


def residual_embeddings(
    policy: EmbeddedPolicy,
    states: Int[Tensor, "*#batch T"],
    mask: Bool[Tensor, "*#batch T"],
    successor: Successor,
    *,
    mixing: float = 0.2,
    embedding_gradient: bool = False,
) -> Float[Tensor, "*batch T D"] | SparseStates:
    """Run a first pass over the true states without gradient, then mix its predictions in (Algorithm 1, steps 1 and 2).

    `policy.logits` of the result is the second pass, whose log-probabilities `losses.ift_loss` scores.

    Args:
        policy: its embed and logits are called.
        states: the human's states s*_i.
        mask: which steps count.
        successor: where a prediction leads, such as `lake_successor` makes.
        mixing: λ in [0, 1]; at 0 the result is the true embedding itself.
        embedding_gradient: let gradient reach the embedding through the inputs, which the authors' code does not. (A one-hot
            embedding has no parameters.)

    Returns:
        The mixed embeddings, vectors or `SparseStates` as the policy's own are.

    Raises:
        ValueError: for a mixing outside [0, 1].

    Example:
        >>> from types import SimpleNamespace
        >>> policy = SimpleNamespace(embed=lambda s: torch.nn.functional.one_hot(s, 2).float(), logits=lambda e: e.flip(-1))
        >>> successor = lambda states, logits: policy.embed(logits.argmax(-1))  # the predicted token itself
        >>> residual_embeddings(policy, torch.tensor([0, 0]), torch.tensor([True, True]), successor, mixing=0.25)
        tensor([[1.0000, 0.0000],
                [0.7500, 0.2500]])
    """
    true = policy.embed(states)
    true = true if embedding_gradient else true.detach()
    if mixing == 0:
        return true
    with torch.no_grad():
        logits = policy.logits(true)
    predicted = successor(states, logits)
    return mix(true, predicted if embedding_gradient else predicted.detach(), mask, mixing)


@dataclass(frozen=True, eq=False)
class Windows:
    """The distinct windows of two steps in a batch, for policies without memory.

    For such policies a step's mixed state depends only on the step before it, and a batch of many episodes on one lake holds
    few distinct windows: each is computed once and looked up. So are the logits of the states that windows consist of, in the
    first pass. `of` finds the windows, for each member of a population separately where each has data of its own.

    Attributes:
        states: the step before and the step itself; where a member has fewer than U windows, its first is repeated.
        arrives: whether a prediction leads to the window's second step.
        index: which window each step of the batch is.
        distinct_states: the states that occur in windows; where a member has fewer than K, its first is repeated.
        state_index: which of the distinct states each state of a window is.
    """

    states: Int[Tensor, "N U 2"]
    arrives: Bool[Tensor, "N U"]
    index: Int[Tensor, "N B T"]
    distinct_states: Int[Tensor, "N K"]
    state_index: Int[Tensor, "N U 2"]

    @classmethod
    def of(cls, states: Int[Tensor, "N B T"], mask: Bool[Tensor, "N B T"]) -> Windows:
        """Find the distinct windows of a batch.

        Args:
            states: the human's states s*_i, of N members.
            mask: which steps count.

        Example:
            >>> states, mask = torch.tensor([[[0, 1, 2], [0, 1, 1]]]), torch.ones(1, 2, 3, dtype=torch.bool)
            >>> windows = Windows.of(states, mask)
            >>> windows.states.tolist(), windows.arrives.tolist()  # a first step has no prediction
            ([[[0, 0], [0, 1], [1, 1], [1, 2]]], [[False, True, True, True]])
        """
        follows = _follows_counted(mask)
        before = torch.cat([states[..., :1], states[..., :-1]], -1)
        size = int(states.max()) + 1
        windows, index = _distinct((torch.where(follows, before, -1) + 1) * size + states)  # one number a window
        pair = torch.stack([windows // size - 1, windows % size], -1)
        arrives, pair = pair[..., 0] >= 0, pair.clamp(min=0)
        return cls(pair, arrives, index, *_distinct(pair))

    def mixed(
        self, policy: EmbeddedPolicy, successor: Successor, *, mixing: float, embedding_gradient: bool = False
    ) -> Float[Tensor, "N U D"] | SparseStates:
        """Return the mixed embedding of each window's second step, as `residual_embeddings` computes it."""
        true = policy.embed(self.states[..., 1])
        with torch.no_grad():
            logits = policy.logits(policy.embed(self.distinct_states))
        index = self.state_index.expand(len(logits), -1, -1).flatten(1)[..., None].expand(-1, -1, logits.shape[-1])
        predicted = successor(self.states, logits.gather(1, index).unflatten(1, self.states.shape[1:]))[..., 0, :]
        if not embedding_gradient:
            true, predicted = true.detach(), predicted.detach()
        return _mix_where(self.arrives, true, predicted, mixing)

    def log_probs(
        self,
        policy: EmbeddedPolicy,
        actions: Int[Tensor, "#N B T"],
        successor: Successor,
        *,
        mixing: float,
        embedding_gradient: bool = False,
    ) -> Float[Tensor, "N B T"]:
        """Return the second pass's log π(a|s) of every step of the batch, in nats."""
        logits = policy.logits(self.mixed(policy, successor, mixing=mixing, embedding_gradient=embedding_gradient))
        distinct = torch.log_softmax(at_least_float32(logits), -1)  # [N, U, A]
        index = torch.add(actions, self.index, alpha=distinct.shape[-1]).flatten(1).expand(distinct.shape[0], -1)
        return distinct.flatten(1).gather(1, index).reshape(-1, *actions.shape[1:])


def _distinct(x: Int[Tensor, "N *batch"]) -> tuple[Int[Tensor, "N U"], Int[Tensor, "N *batch"]]:
    """Return each member's distinct numbers, padded with its first, and which of them each entry is."""
    members = [torch.unique(member, return_inverse=True) for member in x]
    most = max(len(unique) for unique, _ in members)
    unique = torch.stack([torch.cat([u, u[:1].expand(most - len(u))]) for u, _ in members])
    return unique, torch.stack([index for _, index in members])


def predicted_distribution(
    logits: Float[Tensor, "*batch T A"], prediction: Prediction = "greedy"
) -> Float[Tensor, "*batch T A"]:
    """Return what the model predicts at each step, as weights of the actions.

    Args:
        logits: of the first pass.
        prediction: "greedy" gives all weight to `greedy_action`, "expected" the softmax of the logits.

    Raises:
        ValueError: for an unknown prediction.

    Example:
        >>> predicted_distribution(torch.tensor([[0.0, 2.0, 2.0]]))
        tensor([[0., 1., 0.]])
    """
    if prediction not in PREDICTIONS:
        raise ValueError(f"prediction is {prediction!r}; allowed: {', '.join(PREDICTIONS)}")
    if prediction == "expected":
        return torch.softmax(at_least_float32(logits), -1)
    return torch.nn.functional.one_hot(greedy_action(logits), logits.shape[-1]).to(logits.dtype)


def greedy_action(logits: Float[Tensor, "*batch A"]) -> Int[Tensor, "*batch"]:
    """Return the action of highest logit; of those that are highest to within `TIE_TOLERANCE` (nats), the first.

    Example:
        >>> greedy_action(torch.tensor([[0.0, 1.0, 1.0 + 1e-6]]))
        tensor([1])
    """
    return (logits >= logits.amax(-1, keepdim=True) - TIE_TOLERANCE).int().argmax(-1)


def lake_successor(
    mdp: TabularMDP | Sequence[TabularMDP],
    embed: Callable[[Tensor], Tensor | SparseStates],
    *,
    prediction: Prediction = "greedy",
    outcome: Outcome = "expected",
    device: torch.device | str = "cpu",
) -> Successor:
    """Make the function that says where a predicted action leads on a lake.

    Args:
        mdp: gives the transitions; or several of one size, among which the population is divided in equal parts, in order.
        embed: the policy's embedding of states [1, S] -> [1, S, D]; it is evaluated once, here, as in the authors' code.
        prediction: "greedy" follows the model's best action, "expected" its whole distribution.
        outcome: on slippery lakes, "expected" averages over where the action may lead; "likeliest" takes the most likely
            state (the first of equals). Without slip both are the same.
        device: of the states that the function will be called with.

    Returns:
        A function of states [N, ..., T] and logits [N, ..., T, A] that returns embeddings [N, ..., T, D] or `SparseStates`.

    Raises:
        ValueError: for what is not an MDP, or an unknown outcome; when called, for an unknown prediction.

    Example:
        >>> successor = lake_successor(TabularMDP.from_map(("SF", "HG")), lambda s: torch.nn.functional.one_hot(s, 4).float())
        >>> successor(torch.tensor([[0]]), torch.tensor([[[0.0, 0.0, 9.0, 0.0]]]))  # right of the start
        tensor([[[0., 1., 0., 0.]]])
    """
    if outcome not in OUTCOMES:
        raise ValueError(f"outcome is {outcome!r}; allowed: {', '.join(OUTCOMES)}")
    lakes = list(mdp) if isinstance(mdp, Sequence) else [mdp]
    for each in lakes:
        check_mdp(each)
    with torch.no_grad():
        table = embed(torch.arange(lakes[0].num_states, device=device)[None])[0]
        # [L, S, A, D], the embedding of where each action leads.
        reached: Any
        if isinstance(table, SparseStates):
            reached = _sparse_outcomes(lakes, outcome, table.weight)
        else:
            reached = torch.stack([_outcome_matrix(lake, outcome).to(table) @ table for lake in lakes])

    def successor(states: Tensor, logits: Tensor) -> Any:
        lake = torch.arange(len(lakes), device=states.device).repeat_interleave(states.shape[0] // len(lakes))
        lake = lake.view(-1, *(1,) * (states.ndim - 1))
        if prediction == "greedy":  # the product below with a one-hot distribution, by looking up
            return reached[lake, states, greedy_action(logits)]
        chances = predicted_distribution(logits, prediction)
        if isinstance(reached, SparseStates):
            return reached[lake, states].average(chances)
        return (chances.unsqueeze(-2) @ reached[lake, states]).squeeze(-2)

    return successor


def _outcome_matrix(mdp: TabularMDP, outcome: Outcome) -> Float[Tensor, "S A S"]:
    """P(s'|s,a), or all weight on the likeliest successor, as a dense matrix."""
    matrix = torch.as_tensor(mdp.transition)
    if outcome == "likeliest":
        matrix = torch.nn.functional.one_hot(matrix.argmax(-1), mdp.num_states).to(matrix.dtype)
    return matrix


def _sparse_outcomes(lakes: Sequence[TabularMDP], outcome: Outcome, like: Tensor) -> SparseStates:
    """The same as sparse states [L, S, A, K], from the tables of outcomes: K states per action, not S."""
    indices, weights = [], []
    for lake in lakes:
        index, weight = torch.as_tensor(lake.next_state).long(), torch.as_tensor(lake.probability)
        if outcome == "likeliest":
            same = index[..., :, None] == index[..., None, :]  # one state can stand in two slots that differ in reward
            total = (same * weight[..., None, :]).sum(-1)
            likeliest = total == total.amax(-1, keepdim=True)
            index = torch.where(likeliest, index, lake.num_states).amin(-1, keepdim=True)
            weight = torch.ones_like(index)
        indices.append(index.to(like.device))
        weights.append(weight.to(like))
    most = max(index.shape[-1] for index in indices)
    padded = ([torch.nn.functional.pad(x, (0, most - x.shape[-1])) for x in each] for each in (indices, weights))
    return SparseStates(*map(torch.stack, padded))
