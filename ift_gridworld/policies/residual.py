"""The temporal residual connection (eq. 17, 37): a way of running a policy on states mixed from the human's and its own.

    e_i = (1 - λ) E(s*_i) + λ E(s^θ_i),      s^θ_i = where the model's own prediction at step i - 1 leads

Lakes and language alike: where a prediction leads is given from outside. On a lake it is the tile that the predicted action
leads to (`lake_successor`); in language the predicted token itself, which stands where the true token stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.log_probs import at_least_float32
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.policies.sparse import SparseStates

Prediction = Literal["greedy", "expected"]
Outcome = Literal["expected", "likeliest"]
PREDICTIONS: tuple[str, ...] = ("greedy", "expected")
OUTCOMES: tuple[str, ...] = ("expected", "likeliest")

# Nats. A base that has seen two ways equally often likes them equally up to rounding, which differs between machines and
# population sizes: it must not choose, for one early update on another tile is seen in the end.
EQUAL = 1e-5

# (states [..., T], logits [..., T, A]) -> embedding of the state that step t's prediction leads to, [..., T, D]: vectors as
# the policy's own, or, where those are `SparseStates`, such.
Successor = Callable[[Tensor, Tensor], Any]


# States as a policy takes them, [..., D].
Embedding = TypeVar("Embedding", Tensor, SparseStates)


@runtime_checkable
class Embedded(Protocol):
    """The two halves of a policy; what goes between them are vectors, or `SparseStates`."""

    def embed(self, states: Tensor) -> Any: ...

    def logits(self, embeddings: Any) -> Tensor: ...


def mix(true: Embedding, predicted: Embedding, mask: Bool[Tensor, "*#batch T"], mixing: float) -> Embedding:
    """(1 - λ) true_i + λ predicted_{i-1} where both step i and the step before it count; elsewhere `true_i`.

    So the first counted step (the prompt, rho0) and all that is no part of the response keep their true embedding: there
    is no prediction for them.

    Args:
        true: E(s*_i), [..., T, D].
        predicted: likewise; row t is the embedding of where the prediction made AT step t leads, which is state t + 1.
        mask: which steps count.
        mixing: λ in [0, 1].
    """
    before = (torch.arange(mask.shape[-1], device=mask.device) - 1).clamp(min=0)  # nothing arrives at the first
    return _mixed_where(_follows(mask), true, predicted[..., before, :], mixing)


def _mixed_where(arrives: Bool[Tensor, "*#batch"], true: Embedding, arrived: Embedding, mixing: float) -> Embedding:
    if not 0 <= mixing <= 1:
        raise ValueError(f"mixing is {mixing}; allowed: [0, 1]")
    if isinstance(true, SparseStates):
        return true.blend(arrived, mixing * arrives[..., None].to(true.weight))
    return torch.where(arrives[..., None], torch.lerp(true, arrived, mixing), true)


def _follows(mask: Bool[Tensor, "*batch T"]) -> Bool[Tensor, "*batch T"]:
    """Steps that count and follow one that counts: a prediction arrives there."""
    return mask & torch.cat([torch.zeros_like(mask[..., :1]), mask[..., :-1]], -1)


def residual_embeddings(
    policy: Embedded,
    states: Int[Tensor, "*#batch T"],
    mask: Bool[Tensor, "*#batch T"],
    successor: Successor,
    *,
    mixing: float = 0.2,
    live: bool = False,
) -> Float[Tensor, "*batch T D"] | SparseStates:
    """Algorithm 1, steps 1 and 2: a first pass without gradient over the true states, then the mixed embeddings.

    Running `policy.logits` on the result is the second pass.

    Args:
        policy: embed and logits.
        states: the human's states s*_i.
        mask: which steps count.
        successor: where a prediction leads (`lake_successor`).
        mixing: λ in [0, 1]; at 0 the result is the true embedding itself.
        live: let gradient reach the embedding through the inputs; the authors' code does not. (One-hot tiles have none.)
    """
    true = policy.embed(states)
    true = true if live else true.detach()
    if mixing == 0:
        return true
    with torch.no_grad():
        logits = policy.logits(true)
    predicted = successor(states, logits)
    return mix(true, predicted if live else predicted.detach(), mask, mixing)


@dataclass(frozen=True, eq=False)
class Windows:
    """The distinct windows of two steps in a batch, for policies that remember nothing.

    There, a step's mixed state depends only on the step before it, and a batch of many episodes on one lake holds few
    distinct windows: each is run once and looked up. So is each state that they are made of, in the first pass. `of` finds
    them, for each member of a population by itself where each has data of its own.

    Attributes:
        states: [N, U, 2], the step before and the step itself; where a member has fewer than U, the first again.
        arrives: [N, U], False where no prediction arrives.
        place: [N, B, T], which window each step of the batch is.
        single: [N, K], the distinct states of the windows; where a member has fewer than K, the first again.
        seat: [N, U, 2], which of them each state is.
    """

    states: Int[Tensor, "N U 2"]
    arrives: Bool[Tensor, "N U"]
    place: Int[Tensor, "N B T"]
    single: Int[Tensor, "N K"]
    seat: Int[Tensor, "N U 2"]

    @classmethod
    def of(cls, states: Int[Tensor, "N B T"], mask: Bool[Tensor, "N B T"]) -> Windows:
        follows = _follows(mask)
        before = torch.cat([states[..., :1], states[..., :-1]], -1)
        size = int(states.max()) + 1
        windows, place = _distinct((torch.where(follows, before, -1) + 1) * size + states)  # one number a window
        pair = torch.stack([windows // size - 1, windows % size], -1)
        arrives, pair = pair[..., 0] >= 0, pair.clamp(min=0)
        return cls(pair, arrives, place, *_distinct(pair))

    def mixed(
        self, policy: Embedded, successor: Successor, *, mixing: float, live: bool = False
    ) -> Float[Tensor, "N U D"] | SparseStates:
        """The mixed embedding of each window's second step, as `residual_embeddings` gives it."""
        true = policy.embed(self.states[..., 1])
        with torch.no_grad():
            logits = policy.logits(policy.embed(self.single))
        seat = self.seat.expand(len(logits), -1, -1).flatten(1)[..., None].expand(-1, -1, logits.shape[-1])
        predicted = successor(self.states, logits.gather(1, seat).unflatten(1, self.states.shape[1:]))[..., 0, :]
        if not live:
            true, predicted = true.detach(), predicted.detach()
        return _mixed_where(self.arrives, true, predicted, mixing)

    def log_probs(
        self, policy: Embedded, actions: Int[Tensor, "#N B T"], successor: Successor, *, mixing: float, live: bool = False
    ) -> Float[Tensor, "N B T"]:
        """Second-pass log pi(a|s) of every step of the batch."""
        logits = policy.logits(self.mixed(policy, successor, mixing=mixing, live=live))
        distinct = torch.log_softmax(at_least_float32(logits), -1)  # [N, U, A]
        index = torch.add(actions, self.place, alpha=distinct.shape[-1]).flatten(1).expand(distinct.shape[0], -1)
        return distinct.flatten(1).gather(1, index).reshape(-1, *actions.shape[1:])


def _distinct(x: Int[Tensor, "N *batch"]) -> tuple[Int[Tensor, "N U"], Int[Tensor, "N *batch"]]:
    """Each member's distinct numbers, filled up with its first, and which of them each entry is."""
    found = [torch.unique(member, return_inverse=True) for member in x]
    most = max(len(unique) for unique, _ in found)
    unique = torch.stack([torch.cat([u, u[:1].expand(most - len(u))]) for u, _ in found])
    return unique, torch.stack([place for _, place in found])


def predicted_distribution(
    logits: Float[Tensor, "*batch T A"], prediction: Prediction = "greedy"
) -> Float[Tensor, "*batch T A"]:
    """What the model predicts at each step, as weights of the actions: its `greedy_action`, or its own distribution."""
    if prediction not in PREDICTIONS:
        raise ValueError(f"prediction is {prediction!r}; allowed: {', '.join(PREDICTIONS)}")
    if prediction == "expected":
        return torch.softmax(at_least_float32(logits), -1)
    return torch.nn.functional.one_hot(greedy_action(logits), logits.shape[-1]).to(logits.dtype)


def greedy_action(logits: Float[Tensor, "*batch A"]) -> Int[Tensor, "*batch"]:
    """The best action; of those that are best to within rounding (`EQUAL`), the first."""
    return (logits >= logits.amax(-1, keepdim=True) - EQUAL).int().argmax(-1)


def lake_successor(
    mdp: TabularMDP | Sequence[TabularMDP],
    embed: Callable[[Tensor], Tensor | SparseStates],
    *,
    prediction: Prediction = "greedy",
    outcome: Outcome = "expected",
    device: torch.device | str = "cpu",
) -> Successor:
    """Where a predicted action leads on a lake.

    Args:
        mdp: whose transitions tell; or several of one size, among which the population is divided in equal parts, in order.
        embed: the policy's embedding of tiles [1, S] -> [1, S, D]; the one it has now is kept, as in the authors' code.
        prediction: "greedy" follows the model's best action, "expected" its whole distribution.
        outcome: on slippery ice, "expected" averages over where the action may lead; "likeliest" takes the most likely tile
            (the first of equals). Without slip both are the same.
        device: of the states that will be asked about.
    """
    if outcome not in OUTCOMES:
        raise ValueError(f"outcome is {outcome!r}; allowed: {', '.join(OUTCOMES)}")
    lakes = [mdp] if isinstance(mdp, TabularMDP) else list(mdp)
    with torch.no_grad():
        table = embed(torch.arange(lakes[0].num_states, device=device)[None])[0]
        # [L, S, A, D], the embedding of where each action leads.
        arrival: Any
        if isinstance(table, SparseStates):
            arrival = _tiles_ahead(lakes, outcome, table.weight)
        else:
            arrival = torch.stack([_leads(lake, outcome).to(table) @ table for lake in lakes])

    def successor(states: Tensor, logits: Tensor) -> Any:
        lake = torch.arange(len(lakes), device=states.device).repeat_interleave(states.shape[0] // len(lakes))
        lake = lake.view(-1, *(1,) * (states.ndim - 1))
        if prediction == "greedy":  # the product below with a one-hot distribution, by looking up
            return arrival[lake, states, greedy_action(logits)]
        chances = predicted_distribution(logits, prediction)
        if isinstance(arrival, SparseStates):
            return arrival[lake, states].average(chances)
        return (chances.unsqueeze(-2) @ arrival[lake, states]).squeeze(-2)

    return successor


def _leads(mdp: TabularMDP, outcome: Outcome) -> Float[Tensor, "S A S"]:
    leads = torch.as_tensor(mdp.transition)
    if outcome == "likeliest":
        leads = torch.nn.functional.one_hot(leads.argmax(-1), mdp.num_states).to(leads.dtype)
    return leads


def _tiles_ahead(lakes: Sequence[TabularMDP], outcome: Outcome, like: Tensor) -> SparseStates:
    """Where each action leads, [L, S, A, K], from the tables of outcomes: K tiles an action, not S."""
    indices, weights = [], []
    for lake in lakes:
        index, weight = torch.as_tensor(lake.next_state).long(), torch.as_tensor(lake.probability)
        if outcome == "likeliest":
            same = index[..., :, None] == index[..., None, :]  # one tile can stand in two slots that differ in reward
            total = (same * weight[..., None, :]).sum(-1)
            likeliest = total == total.amax(-1, keepdim=True)
            index = torch.where(likeliest, index, lake.num_states).amin(-1, keepdim=True)
            weight = torch.ones_like(index)
        indices.append(index.to(like.device))
        weights.append(weight.to(like))
    most = max(index.shape[-1] for index in indices)
    padded = ([torch.nn.functional.pad(x, (0, most - x.shape[-1])) for x in each] for each in (indices, weights))
    return SparseStates(*map(torch.stack, padded))
