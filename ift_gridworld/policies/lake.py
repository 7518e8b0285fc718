"""Policies: a table and a two-layer network, each a population of N independent ones trained at once.

A policy is split at its embedding, so that it can be run on a state that is mixed from several:

    embed(states)       [N|1, ..., T]    -> [N|1, ..., T, D]
    logits(embeddings)  [N|1, ..., T, D] -> [N, ..., T, A]

Both policies embed a tile as its one-hot vector, D = S; where there are many tiles as the same in few numbers (`SparseStates`).
The first dimension belongs to the seeds: N, or 1 to be shared.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ift_gridworld.checks import check_whole
from ift_gridworld.log_probs import action_log_probs
from ift_gridworld.policies.sparse import SparseStates
from ift_gridworld.runtime import standard_settings

__all__ = ["ONE_HOT_STATES", "POLICIES", "LakePolicy", "MLPPolicy", "TabularPolicy"]

# Up to this many states a tile is embedded as a one-hot vector, whose product with the weights is one fast call and agrees to
# the last bit with what was published; beyond, as `SparseStates`, in time and memory that do not grow with the lake.
ONE_HOT_STATES = 1024


class LakePolicy(nn.Module):
    """Base of policies over the states of an MDP (`policies.base.Policy`). A subclass gives `logits` and `initialise`.

    Args:
        num_states, num_actions: S and A of the MDP.
        population: N, the number of independent policies; every parameter has it as its first dimension.
    """

    learning_rate: ClassVar[float]  # unless the caller asks for another
    remembers: ClassVar[bool] = False  # whether what it does at a step depends on the steps before

    def __init__(self, num_states: int, num_actions: int, population: int = 1) -> None:
        super().__init__()
        self.population = check_whole("population", population, at_least=1)
        self.num_states = check_whole("num_states", num_states, at_least=1)
        self.num_actions = check_whole("num_actions", num_actions, at_least=1)

    def extra_repr(self) -> str:
        """Return the text between the brackets of `repr`: num_states, num_actions and population."""
        return f"num_states={self.num_states}, num_actions={self.num_actions}, population={self.population}"

    def initialise(self, generators: Sequence[torch.Generator], *, uniform: bool = False) -> LakePolicy:
        """Draw parameters, member i from generator i; if `uniform`, such that every action is equally likely everywhere."""
        raise NotImplementedError

    def like(self, num_actions: int) -> LakePolicy:
        """A policy of the same kind and size with another number of outputs, such as a critic's one."""
        return type(self)(self.num_states, num_actions, self.population)

    def members(self, index: Sequence[int] | Int[np.ndarray, " P"]) -> LakePolicy:
        """A population of copies of these members, in this order; one may be named more than once."""
        chosen = copy.copy(self)
        chosen._parameters = {
            name: nn.Parameter(p.detach()[torch.as_tensor(index, device=p.device)], requires_grad=p.requires_grad)
            for name, p in self.named_parameters()
        }
        chosen.population = len(index)
        return chosen

    def logits(self, embeddings: Float[Tensor, "#N *batch D"] | SparseStates) -> Float[Tensor, "N *batch A"]:
        """Logits of the actions in states given by their embeddings."""
        raise NotImplementedError

    def embed(self, states: Int[Tensor, "#N *batch"]) -> Float[Tensor, "#N *batch D"] | SparseStates:
        """One-hot vector of each tile; on more than `ONE_HOT_STATES`, the tile by its number, with a weight of 1."""
        dtype = next(self.parameters()).dtype
        if self.num_states > ONE_HOT_STATES:
            return SparseStates(states[..., None], torch.ones_like(states[..., None], dtype=dtype))
        return torch.nn.functional.one_hot(states.long(), self.num_states).to(dtype)

    def forward(self, states: Int[Tensor, "#N *batch"]) -> Float[Tensor, "N *batch A"]:
        """`logits(embed(states))`, of every step."""
        return self.per_state(states, lambda logits: logits)

    def log_probs(
        self,
        states: Int[Tensor, "#N *batch"],
        actions: Int[Tensor, "#N *batch"],
        mask: Bool[Tensor, "#N *batch"] | None = None,
    ) -> Float[Tensor, "N *batch"]:
        """log pi(a|s) of every step, in nats; of those that the mask leaves out it may be any number."""
        if self._few(states):
            return self.log_probs_of(self.embed(states), actions)
        table = torch.log_softmax(self._table(), -1).flatten(1)
        return self._look_up(table, torch.add(actions, states, alpha=self.num_actions))

    def log_probs_of(
        self,
        embeddings: Float[Tensor, "#N *batch D"] | SparseStates,
        actions: Int[Tensor, "#N *batch"],
        mask: Bool[Tensor, "#N *batch"] | None = None,
    ) -> Float[Tensor, "N *batch"]:
        """The same in states given by their embeddings."""
        return action_log_probs(self.logits(embeddings), actions)

    def per_state(
        self,
        states: Int[Tensor, "#N *batch"],
        measure: Callable[[Tensor], Tensor],
        mask: Bool[Tensor, "#N *batch"] | None = None,
    ) -> Tensor:
        """`measure(logits)` of every step, [N, *batch, ...]; where steps outnumber states, of each state once, looked up."""
        if self._few(states):
            return measure(self.logits(self.embed(states)))
        return self._look_up(measure(self._table()), states)

    def _few(self, states: Tensor) -> bool:
        self._check(states)
        return states.shape[1:].numel() <= self.num_states

    def _table(self) -> Float[Tensor, "N S A"]:
        """Logits of every tile. Subclasses spare themselves the product with the identity matrix."""
        device = next(self.parameters()).device
        return self.logits(self.embed(torch.arange(self.num_states, device=device)[None]))

    def _look_up(self, table: Float[Tensor, "N X *rest"], index: Int[Tensor, "#N *batch"]) -> Float[Tensor, "N *batch *rest"]:
        """table[n, index[n]], by a gather: its backward pass adds up much faster than that of indexing."""
        flat = index.expand(self.population, *index.shape[1:]).flatten(1)
        rest = table.shape[2:]
        if rest:
            flat = flat.reshape(*flat.shape, *[1] * len(rest)).expand(-1, -1, *rest)
        return table.gather(1, flat).reshape(self.population, *index.shape[1:], *rest)

    @torch.no_grad()
    def distribution(self) -> Float[Tensor, "N S A"]:
        """The state-action matrix T_theta(a|s) of every member, in float64, where the parameters are."""
        return torch.softmax(self._table().double(), -1)

    @standard_settings()
    def probabilities(self) -> Float[np.ndarray, "N S A"]:
        """The same, as an array."""
        return self.distribution().cpu().numpy()

    def _check(self, x: Tensor | SparseStates) -> None:
        if x.ndim == 0 or x.shape[0] not in (1, self.population):
            raise ValueError(f"the first dimension of {tuple(x.shape)} is the seeds'; allowed: 1 or {self.population}")

    def _each(self, embeddings: Tensor | SparseStates, weight: Float[Tensor, "N D H"]) -> Tensor:
        """Each member's matrix applied to its own (or the shared) embeddings."""
        self._check(embeddings)
        if isinstance(embeddings, SparseStates):
            return (self._look_up(weight, embeddings.index) * embeddings.weight[..., None]).sum(-2)
        flat = embeddings.flatten(1, -2) if embeddings.ndim > 2 else embeddings[:, None]
        width = weight.shape[-1]
        if width == 1:  # a product with one column is summed in another order where there is one member
            weight = nn.functional.pad(weight, (0, 1))
        return (flat @ weight)[..., :width].reshape(self.population, *embeddings.shape[1:-1], width)


class TabularPolicy(LakePolicy):
    """pi(a|s) = softmax(Theta[s]): logits are linear in the one-hot, so a mixed state has mixed logits."""

    learning_rate = 0.03  # each row learns alone, from the steps taken on its own tile

    @standard_settings()
    def __init__(self, num_states: int, num_actions: int, population: int = 1) -> None:
        super().__init__(num_states, num_actions, population)
        self.theta = nn.Parameter(torch.zeros(population, num_states, num_actions))

    @standard_settings()
    def initialise(self, generators: Sequence[torch.Generator], *, uniform: bool = False) -> TabularPolicy:
        with torch.no_grad():
            self.theta.zero_()
            if not uniform:
                for member, generator in zip(self.theta, generators, strict=True):
                    member.copy_(torch.randn(member.shape, generator=generator))
        return self

    def logits(self, embeddings: Float[Tensor, "#N *batch D"] | SparseStates) -> Float[Tensor, "N *batch A"]:
        return self._each(embeddings, self.theta)

    def _table(self) -> Float[Tensor, "N S A"]:
        return self.theta


class MLPPolicy(LakePolicy):
    """pi(a|s) = softmax(W2 tanh(W1 e(s) + b1) + b2): the paper's two-layer fully connected policy.

    Args:
        hidden: width H of the hidden layer.
    """

    learning_rate = 0.01

    @standard_settings()
    def __init__(self, num_states: int, num_actions: int, population: int = 1, hidden: int = 64) -> None:
        super().__init__(num_states, num_actions, population)
        hidden = check_whole("hidden", hidden, at_least=1)
        self.w1 = nn.Parameter(torch.zeros(population, num_states, hidden))
        self.b1 = nn.Parameter(torch.zeros(population, hidden))
        self.w2 = nn.Parameter(torch.zeros(population, hidden, num_actions))
        self.b2 = nn.Parameter(torch.zeros(population, num_actions))
        self.initialise([torch.Generator().manual_seed(i) for i in range(population)], uniform=True)

    @standard_settings()
    def initialise(self, generators: Sequence[torch.Generator], *, uniform: bool = False) -> MLPPolicy:
        """Hidden weights are drawn so that units start at unit scale on a one-hot; output weights at 1 / sqrt(H), or 0."""
        with torch.no_grad():
            scale = 0.0 if uniform else self.w1.shape[-1] ** -0.5
            for one, two, generator in zip(self.w1, self.w2, generators, strict=True):
                one.copy_(torch.randn(one.shape, generator=generator))
                two.copy_(torch.randn(two.shape, generator=generator) * scale)
            self.b1.zero_()
            self.b2.zero_()
        return self

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, hidden={self.w1.shape[-1]}"

    def like(self, num_actions: int) -> MLPPolicy:
        return MLPPolicy(self.num_states, num_actions, self.population, hidden=self.w1.shape[-1])

    def logits(self, embeddings: Float[Tensor, "#N *batch D"] | SparseStates) -> Float[Tensor, "N *batch A"]:
        return self._of_units(self._each(embeddings, self.w1))

    def _table(self) -> Float[Tensor, "N S A"]:
        return self._of_units(self.w1)

    def hidden(self, states: Int[Tensor, "#N *batch"]) -> Float[Tensor, "N *batch H"]:
        """Return the hidden layer, tanh(W1 e(s) + b1), in each state."""
        return self._activated(self._each(self.embed(states), self.w1))

    def _of_units(self, units: Float[Tensor, "N *batch H"]) -> Float[Tensor, "N *batch A"]:
        return self._each(self._activated(units), self.w2) + _rows(self.b2, units.ndim)

    def _activated(self, units: Float[Tensor, "N *batch H"]) -> Float[Tensor, "N *batch H"]:
        return torch.tanh(units + _rows(self.b1, units.ndim))


POLICIES: dict[str, type[LakePolicy]] = {"mlp": MLPPolicy, "tabular": TabularPolicy}


def _rows(bias: Float[Tensor, "N H"], ndim: int) -> Tensor:
    return bias.reshape(bias.shape[0], *[1] * (ndim - 2), bias.shape[1])
