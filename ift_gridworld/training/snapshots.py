"""Choice of the policies of a run to keep, and the memory that a run takes. Loads without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ift_gridworld.methods.options import TrainingOptions
from ift_gridworld.methods.registry import name_of

if TYPE_CHECKING:
    from ift_gridworld.methods.base import Method

__all__ = ["fixed_steps", "memory", "snapshot_steps", "snapshots"]

CANDIDATES = 4  # snapshots are taken for each that is kept: those between which equally much changes
# What snapshots may take while training: on a lake of a million tiles those of one seed are 16, of which 4 are kept.
SNAPSHOT_BYTES = 512 * 2**20


def snapshots(training: TrainingOptions, entries: int) -> tuple[int, int]:
    """Return how many snapshots are taken while training, and how many of them are kept.

    As many as the options ask for, or as many as `SNAPSHOT_BYTES` hold; the first and the last in any case.

    Args:
        training: its `snapshots` are kept.
        entries: numbers in the policies of one snapshot, N S A.
    """
    room = max(2, SNAPSHOT_BYTES // (entries * np.dtype(float).itemsize))
    candidates = min(CANDIDATES * training.snapshots, room)
    return candidates, min(training.snapshots, max(2, candidates // CANDIDATES))


def memory(
    states: int,
    actions: int,
    population: int = 1,
    *,
    policy: str = "tabular",
    hidden: int = 64,
    method: str | type[Method[Any]] = "sft",
    training: TrainingOptions | None = None,
) -> dict[str, int]:
    """Return the bytes that a population of N takes while it is trained, linear in N S; batches come on top.

    A table has P = N S A parameters, a network N (S H + H + H A + A); PPO's critic is another of the same kind with A = 1.

    - "parameters": 4 P, with the critic's;
    - "gradients": as much;
    - "moments": twice as much for Adam, once for RMSprop;
    - "reference": 4 P, the frozen base, for a method that keeps one;
    - "snapshots": 8 N S A for each that is taken (`snapshots`), on the host wherever the policy is.

    Args:
        states, actions: S and A of the lake.
        population: N, seeds, or lakes times seeds.
        policy, hidden: the kind, and H of a network.
        method, training: of the run.
    """
    _, kind = name_of(method)
    training = training or TrainingOptions()

    def numbers(outputs: int) -> int:
        if policy == "tabular":
            return population * states * outputs
        return population * (states * hidden + hidden + hidden * outputs + outputs)

    own = 4 * numbers(actions)
    moved = own + (4 * numbers(1) if kind.trains_critic else 0)
    return {
        "parameters": moved,
        "gradients": moved,
        "moments": (2 if training.optimiser == "adam" else 1) * moved,
        "reference": own if kind.keeps_reference else 0,
        "snapshots": 8 * population * states * actions * snapshots(training, population * states * actions)[0],
    }


def snapshot_steps(updates: int, count: int) -> set[int]:
    """Return at most `count` updates to look at, 0 and the last among them: close together early, when most changes."""
    share = np.linspace(0, 1, count) ** 2
    return {round(updates * s) for s in share}


def fixed_steps(training: TrainingOptions, kept: int) -> set[int]:
    """Return the updates that are kept in any case: those asked for, and round ones, which runs of any length share.

    Round ones are 1, 2, 3 and 5 times the powers of ten, so that maps of several methods can stand at one update. Where they
    would be more than half of all that is kept, they are left out.

    Args:
        training: its steps filled in.
        kept: number of snapshots that are kept.

    Raises:
        ValueError: for an update that is asked for and never made.

    >>> sorted(fixed_steps(TrainingOptions(steps=30, keep=(7,)), 60))
    [1, 2, 3, 5, 7, 10, 20, 30]
    """
    assert training.steps is not None
    for update in training.keep:
        if update > training.steps:
            raise ValueError(f"keep has update {update}; allowed: up to {training.steps}, the number of updates")
    powers = range(len(str(training.steps)))
    round_ones = {m * 10**k for m in (1, 2, 3, 5) for k in powers if m * 10**k <= training.steps}
    return {*training.keep, *(round_ones if 2 * len(round_ones) <= kept else ())}
