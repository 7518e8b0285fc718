"""A state mixed of few tiles, for lakes too large for one-hot vectors: which tiles, and how much of each.

It stands for the vector of S numbers that has `weight` at `index` and 0 elsewhere, and takes the place of such vectors between
`Policy.embed` and `Policy.logits`: M numbers a step, not S.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class SparseStates:
    """Attributes:
    index: tiles; one that is named twice counts with both its weights.
    weight: of each.
    """

    index: Int[Tensor, "*batch M"]
    weight: Float[Tensor, "*batch M"]

    @property
    def shape(self) -> torch.Size:
        """As that of the vectors, but for the last entry, M in place of S."""
        return self.index.shape

    @property
    def ndim(self) -> int:
        return self.index.ndim

    def __getitem__(self, key: object) -> SparseStates:
        return SparseStates(self.index[key], self.weight[key])  # type: ignore[index]

    def detach(self) -> SparseStates:
        return SparseStates(self.index, self.weight.detach())

    def average(self, share: Float[Tensor, "*batch X"]) -> SparseStates:
        """sum_x share_x state_x, of states [..., X, M]."""
        index = self.index.expand(*share.shape, -1)
        return SparseStates(index.flatten(-2), (self.weight * share[..., None].to(self.weight)).flatten(-2))

    def blend(self, other: SparseStates, share: Float[Tensor, "*#batch 1"]) -> SparseStates:
        """(1 - share) self + share other."""
        batch = torch.broadcast_shapes(self.shape[:-1], other.shape[:-1], share.shape[:-1])
        parts = self.index, other.index, (1 - share) * self.weight, share * other.weight
        index, its, weight, its_weight = (part.expand(*batch, -1) for part in parts)
        return SparseStates(torch.cat([index, its], -1), torch.cat([weight, its_weight], -1))

    def dense(self, num_states: int) -> Float[Tensor, "*batch S"]:
        """The vectors themselves."""
        return self.weight.new_zeros(*self.shape[:-1], num_states).scatter_add_(-1, self.index, self.weight)
