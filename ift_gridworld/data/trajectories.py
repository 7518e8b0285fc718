"""Trajectories: batches of steps with a mask, with or without the environment's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.checks import check_mdp
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.runtime import standard_settings

__all__ = ["Batch", "Trajectories", "concatenate", "pad", "path_of", "replay", "stacked"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Steps to learn from.

    Attributes:
        states: the state before each step.
        actions: the action taken there.
        mask: which steps count.

    Raises:
        ValueError: if the mask is not boolean, or shapes differ.

    Example:
        >>> steps = torch.tensor([[0, 1, 1]])
        >>> Batch(steps, steps, torch.tensor([[True, True, False]])).mask.sum(-1)
        tensor([2])
    """

    states: Int[Tensor, "*batch T"]
    actions: Int[Tensor, "*batch T"]
    mask: Bool[Tensor, "*batch T"]

    def __post_init__(self) -> None:
        if self.mask.dtype != torch.bool:
            raise ValueError(f"mask has dtype {self.mask.dtype}; allowed: torch.bool")
        shapes = {field.name: tuple(getattr(self, field.name).shape) for field in fields(self)}
        if len(set(shapes.values())) != 1:
            raise ValueError(f"the fields of a batch must have one shape; these have {shapes}")


@dataclass(frozen=True, eq=False)
class Trajectories(Batch):
    """Steps with the environment's answers.

    Attributes:
        next_states: the state after each step.
        reward: of each step.
        terminated: whether the step ended the episode.
        truncated: whether the time limit cut the episode off after the step. This is not an end: bootstrap from the next
            value.
    """

    next_states: Int[Tensor, "*batch T"]
    reward: Float[Tensor, "*batch T"]
    terminated: Bool[Tensor, "*batch T"]
    truncated: Bool[Tensor, "*batch T"]

    def returns(self, discount: float) -> Float[Tensor, "*batch"]:
        """Return Σ_t discount^t r_t over the counted steps of each row, one episode per row.

        Example:
            >>> lake = TabularMDP.from_map(("SFG",))
            >>> replay(lake, [2, 2], count=1).returns(0.9)
            tensor([0.9000], dtype=torch.float64)
        """
        powers = discount ** torch.arange(self.reward.shape[-1], dtype=self.reward.dtype, device=self.reward.device)
        return (self.reward * self.mask * powers).sum(-1)

    def reached_goal(self, mdp: TabularMDP) -> Bool[Tensor, "*batch T"]:
        """Return whether each step counts and reached a goal (`TabularMDP.success`).

        Raises:
            ValueError: for what is not an MDP.

        Example:
            >>> lake = TabularMDP.from_map(("SFG",))
            >>> replay(lake, [2, 2], count=1).reached_goal(lake)
            tensor([[False,  True]])
        """
        check_mdp(mdp)
        best = mdp.reward[mdp.success].max(initial=-np.inf)
        return self.mask & self.terminated & (self.reward >= best)

    def to(self, device: torch.device | str) -> Trajectories:
        return Trajectories(*(getattr(self, field.name).to(device) for field in fields(self)))

    def __getitem__(self, index: object) -> Trajectories:
        return Trajectories(*(getattr(self, field.name)[index] for field in fields(self)))


def path_of(batch: Batch) -> Int[np.ndarray, "T 2"]:
    """Return the (state, action) steps of the first row that count.

    Example:
        >>> path_of(replay(TabularMDP.from_map(("SFG",)), [2, 2], count=1))
        array([[0, 2],
               [1, 2]])
    """
    counted = batch.mask[0]
    return torch.stack([batch.states[0][counted], batch.actions[0][counted]], -1).numpy()


@standard_settings()
def replay(mdp: TabularMDP, actions: Sequence[int], count: int) -> Trajectories:
    """Return the path that these actions take from the (first) start of a deterministic MDP, as `count` equal rows.

    Args:
        mdp: deterministic; only each action's first outcome is looked at.
        actions: T of them.
        count: number of rows.

    Returns:
        [count, T].

    Raises:
        ValueError: for what is not an MDP.

    Example:
        >>> replay(TabularMDP.from_map(("SFG",)), [2, 2], count=1).next_states
        tensor([[1, 2]])
    """
    check_mdp(mdp)
    state, rows = int(mdp.start.argmax()), []
    for action in actions:
        following = int(mdp.next_state[state, action, 0])
        ends = bool(mdp.terminated[state, action, 0])
        rows.append((state, action, True, following, float(mdp.reward[state, action, 0]), ends, False))
        state = following
    columns = [torch.tensor(column).expand(count, -1) for column in zip(*rows, strict=True)]
    columns[4] = columns[4].double()
    return Trajectories(*columns)


def pad(trajectories: Trajectories, steps: int) -> Trajectories:
    """Lengthen to at least `steps` steps; added steps do not count.

    Example:
        >>> pad(replay(TabularMDP.from_map(("SFG",)), [2, 2], count=1), 3).mask
        tensor([[ True,  True, False]])
    """
    missing = steps - trajectories.states.shape[-1]
    if missing <= 0:
        return trajectories
    return Trajectories(*(torch.nn.functional.pad(getattr(trajectories, f.name), (0, missing)) for f in fields(trajectories)))


def concatenate(parts: Sequence[Trajectories]) -> Trajectories:
    """Join batches [B_i, T_i] along their rows, padded to the longest.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> concatenate([replay(lake, [2, 2], count=1), replay(lake, [2, 0, 2, 2], count=2)]).mask.sum(-1)
        tensor([2, 4, 4])
    """
    longest = max(part.states.shape[-1] for part in parts)
    padded = [pad(part, longest) for part in parts]
    return Trajectories(*(torch.cat([getattr(part, f.name) for part in padded]) for f in fields(Trajectories)))


def stacked(batches: Sequence[Trajectories], each: int = 1) -> Trajectories:
    """Stack batches [B, T_i] of several lakes to [len(batches) * each, B, longest T], each batch `each` times in a row.

    Args:
        batches: one a lake, all of one B.
        each: number of copies of each.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> stacked([replay(lake, [2, 2], count=1), replay(lake, [2, 0, 2, 2], count=1)], each=3).states.shape
        torch.Size([6, 1, 4])
    """
    steps = max(batch.states.shape[-1] for batch in batches)
    padded = [pad(batch, steps) for batch in batches]
    return Trajectories(
        *(torch.stack([getattr(batch, f.name) for batch in padded]).repeat_interleave(each, 0) for f in fields(padded[0]))
    )
