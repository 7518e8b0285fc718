"""A policy of your own: it sees the row and the column of a tile, and nothing else.

    python examples/own_policy.py

A policy is split at its embedding, so that IFT can run it on mixed states: `logits` takes one-hot vectors of states, or
mixtures of them, [N, ..., S]. The first dimension is the population: N independent policies train at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ift_gridworld import TabularMDP, compare, train
from ift_gridworld.data import generators
from ift_gridworld.policies import LakePolicy


class RowAndColumn(LakePolicy):
    """pi(a|s) = softmax(U[row of s] + V[column of s]): tiles of one row, or of one column, share weights.

    Args:
        num_states, num_actions, population: as of every policy.
        columns: number of columns of the map.
    """

    learning_rate = 0.03

    def __init__(self, num_states: int, num_actions: int, population: int = 1, columns: int = 1) -> None:
        super().__init__(num_states, num_actions, population)
        self.columns, rows = columns, num_states // columns
        tile = torch.arange(num_states)
        row = nn.functional.one_hot(tile // columns, rows)
        column = nn.functional.one_hot(tile % columns, columns)
        self.register_buffer("features", torch.cat([row, column], -1).float())  # [S, rows + columns]
        self.weight = nn.Parameter(torch.zeros(population, rows + columns, num_actions))

    def initialise(self, generators: Sequence[torch.Generator], *, uniform: bool = False) -> RowAndColumn:
        """Draw the weights of member i from generator i."""
        with torch.no_grad():
            for member, generator in zip(self.weight, generators, strict=True):
                member.copy_(0.0 * member if uniform else torch.randn(member.shape, generator=generator))
        return self

    def like(self, num_actions: int) -> RowAndColumn:
        """Return a policy of the same kind with another number of outputs, as PPO's critic needs."""
        return RowAndColumn(self.num_states, num_actions, self.population, self.columns)

    def logits(self, embeddings: Any) -> Float[Tensor, "N *batch A"]:
        return torch.einsum("n...d,nda->n...a", embeddings @ self.features, self.weight)


def main(steps: int = 200) -> None:
    """Train it by three methods and print where each ends."""
    mdp = TabularMDP.make("4x4")
    runs = []
    for method in ("sft", "ift", "ppo"):
        policy = RowAndColumn(mdp.num_states, mdp.num_actions, population=4, columns=4).initialise(generators(0, 4))
        runs.append(train(method, mdp, policy, steps=steps))
    print(compare(runs).table())


if __name__ == "__main__":
    main()
