"""Interface of a policy to a method, for tables, networks and language models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Policy"]


@runtime_checkable
class Policy(Protocol):
    """A policy split at its embedding, so that it can be run on a state that is mixed from several.

    Tensors begin with the dimension of the seeds, N (1 to be shared); D is the embedding's size, A the number of actions.

    Attributes:
        population: N, the number of independent policies trained at once.
        learning_rate: unless the caller asks for another.
        remembers: whether what it does at a step depends on the steps before.
    """

    @property
    def population(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def remembers(self) -> bool: ...

    def embed(self, states: Int[Tensor, "#N *batch"]) -> Any:
        """Embed states, [N|1, ..., D], or such as `logits` takes."""

    def logits(self, embeddings: Any) -> Float[Tensor, "N *batch A"]:
        """Return the logits of the actions in states given by their embeddings."""

    def __call__(self, states: Int[Tensor, "#N *batch"]) -> Float[Tensor, "N *batch A"]:
        """Return `logits(embed(states))`."""

    def log_probs(
        self,
        states: Int[Tensor, "#N *batch"],
        actions: Int[Tensor, "#N *batch"],
        mask: Bool[Tensor, "#N *batch"] | None = None,
    ) -> Float[Tensor, "N *batch"]:
        """Return log π(a|s) of every step that the mask counts, in nats."""

    def log_probs_of(
        self, embeddings: Any, actions: Int[Tensor, "#N *batch"], mask: Bool[Tensor, "#N *batch"] | None = None
    ) -> Float[Tensor, "N *batch"]:
        """Return the same in states given by their embeddings."""

    def per_state(
        self,
        states: Int[Tensor, "#N *batch"],
        measure: Callable[[Tensor], Tensor],
        mask: Bool[Tensor, "#N *batch"] | None = None,
    ) -> Tensor:
        """Return `measure(logits)` of every step that the mask counts."""

    def parameters(self, recurse: bool = True) -> Iterator[torch.nn.Parameter]:
        """Return what is trained."""

    def requires_grad_(self, requires_grad: bool = True) -> Policy:
        """Freeze or unfreeze the parameters, in place."""
