"""A state mixed from few states, for MDPs too large for one-hot vectors: which states, and the weight of each.

`SparseStates` stands for the vector of S numbers that has `weight` at `index` and 0 elsewhere. It takes the place of such
vectors between `Policy.embed` and `Policy.logits`: M numbers per step instead of S.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import EllipsisType

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["SparseStates"]

Index = int | slice | EllipsisType | Tensor | None


@dataclass(frozen=True, eq=False)
class SparseStates:
    """States as weighted sums of one-hot vectors.

    Attributes:
        index: the states that are mixed; one that is named twice counts with both its weights.
        weight: the weight of each.

    Example:
        >>> SparseStates(torch.tensor([0, 2]), torch.tensor([0.8, 0.2])).dense(num_states=4)
        tensor([0.8000, 0.0000, 0.2000, 0.0000])
    """

    index: Int[Tensor, "*batch M"]
    weight: Float[Tensor, "*batch M"]

    @property
    def shape(self) -> torch.Size:
        """Shape of the dense vectors, with M in place of S as its last entry."""
        return self.index.shape

    @property
    def ndim(self) -> int:
        return self.index.ndim

    def __getitem__(self, key: Index | tuple[Index, ...]) -> SparseStates:
        return SparseStates(self.index[key], self.weight[key])

    def detach(self) -> SparseStates:
        return SparseStates(self.index, self.weight.detach())

    def average(self, share: Float[Tensor, "*batch X"]) -> SparseStates:
        """Return Σ_x share_x state_x, of states [..., X, M]; the result is [..., X M]."""
        index = self.index.expand(*share.shape, -1)
        return SparseStates(index.flatten(-2), (self.weight * share[..., None].to(self.weight)).flatten(-2))

    def blend(self, other: SparseStates, share: Float[Tensor, "*#batch 1"]) -> SparseStates:
        """Return (1 - share) self + share other; the result holds the states of both."""
        batch = torch.broadcast_shapes(self.shape[:-1], other.shape[:-1], share.shape[:-1])
        parts = self.index, other.index, (1 - share) * self.weight, share * other.weight
        index, other_index, weight, other_weight = (part.expand(*batch, -1) for part in parts)
        return SparseStates(torch.cat([index, other_index], -1), torch.cat([weight, other_weight], -1))

    def dense(self, num_states: int) -> Float[Tensor, "*batch S"]:
        """Return the vectors themselves."""
        return self.weight.new_zeros(*self.shape[:-1], num_states).scatter_add_(-1, self.index, self.weight)
