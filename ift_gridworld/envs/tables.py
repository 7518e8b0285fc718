"""Tables of outcomes: what can follow each action, [S, A, K], from a map of letters or a Gymnasium environment's own table."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from ift_gridworld.envs.maps import FROZEN, GOAL, HOLE, START

__all__ = [
    "LAKE_ACTIONS", "NARROW", "Arrays", "absorb", "as_distribution", "empty", "keep_at_hand", "lake_outcomes", "merge",
    "neighbourhoods", "table_size",
]  # fmt: skip

LAKE_ACTIONS = ("left", "down", "right", "up")
NARROW = np.int32  # of the states that follow: half of a large lake's memory, and what sparse matrices are indexed by
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def keep_at_hand(size: int) -> None:
    """Keep `size` bytes when they are freed, 16 MiB at most. Otherwise large arrays would come fresh from the system each
    time, at more than the cost of filling them; having seen a larger one freed, glibc's allocator keeps that much, and twice.
    """
    np.empty(min(size, 2**24), np.uint8)


OUTSIDE, WALKABLE, DEADLY, ARRIVAL = range(4)  # kinds of neighbouring tiles; outside is beyond the edge of the map


def neighbourhoods(grid: UInt8[np.ndarray, "H W"]) -> Int[np.ndarray, " S"]:
    """Each tile and its neighbours as one number: five digits to base 4, the tile's, then those left, down, right and up."""
    digit = np.zeros(256, np.uint16)
    digit[[START, FROZEN, HOLE, GOAL]] = WALKABLE, WALKABLE, DEADLY, ARRIVAL
    padded = np.pad(digit.take(grid), 1, constant_values=OUTSIDE)
    number = padded[1:-1, 1:-1].copy()
    for neighbour in (padded[1:-1, :-2], padded[2:, 1:-1], padded[1:-1, 2:], padded[:-2, 1:-1]):
        number *= 4
        number += neighbour
    return number.ravel().astype(np.intp)


@lru_cache
def lake_outcomes(success_rate: float) -> tuple[Arrays, UInt8[np.ndarray, " X"]]:
    """Return the outcomes of each action in each of the X = 4^5 neighbourhoods, and the number of slots that they take up.

    Arrays as an MDP's, [X, 4, K], but in place of a successor the way there: 0 where one stays, 1 to 4 as `LAKE_ACTIONS` go.
    """
    tile, *neighbours = np.indices((4,) * 5).reshape(5, -1)
    directions = (np.arange(4)[:, None] + np.array([-1, 0, 1])) % 4  # one side, ahead, the other side
    reached = np.stack(neighbours, -1)[:, directions]
    way = np.where(reached == OUTSIDE, 0, directions + 1)  # the edge of the map holds one back
    reached = np.where(reached == OUTSIDE, tile[:, None, None], reached)
    aside = (1 - success_rate) / 2
    probability = np.broadcast_to([aside, success_rate, aside], reached.shape).copy()
    reward, terminated = (reached == ARRIVAL).astype(float), (reached == ARRIVAL) | (reached == DEADLY)
    over = (tile == ARRIVAL) | (tile == DEADLY)
    way[over], probability[over], reward[over], terminated[over] = 0, [1.0, 0.0, 0.0], 0.0, True
    merged = merge(way, probability, reward, terminated, itself=np.zeros(1, int))
    used = np.count_nonzero(merged[1], -1).max(-1).astype(np.uint8)
    for array in (*merged, used):
        array.flags.writeable = False  # it is remembered
    return merged, used


def empty(states: int, actions: int, slots: int) -> Arrays:
    shape = (states, actions, slots)
    return np.zeros(shape, NARROW), np.zeros(shape), np.zeros(shape), np.zeros(shape, bool)


def as_distribution(
    name: str, chance: Float[np.ndarray, "*batch K"], precision: float | None = None
) -> Float[np.ndarray, "*batch K"]:
    """Return probabilities in 64 bits that sum to 1 over the last axis, however few bits they were given in.

    Args:
        name: of the array, for the error.
        chance: probabilities.
        precision: the relative rounding of the type that they were given in (default: that of the array).

    Raises:
        ValueError: for a probability below 0, or sums that are further from 1 than rounding explains.

    Example:
        >>> as_distribution("start", np.full(3, 1 / 3, np.float32)).tolist()  # their sum is 1.00000003
        [0.3333333333333333, 0.3333333333333333, 0.3333333333333333]
    """
    slack = max(1e-9, 16 * float(np.finfo(chance.dtype).eps if precision is None else precision))
    chance = chance.astype(float, copy=False)
    if not chance.min() >= 0:
        raise ValueError(f"{name} holds {chance.min()}; allowed: >= 0")
    width = chance.shape[-1]
    total = chance.reshape(-1, width) @ np.ones(width)  # a product: numpy is slow at many sums of few terms
    low, high = float(total.min()), float(total.max())
    if not (low >= 1 - slack and high <= 1 + slack):
        raise ValueError(f"{name} sums to {low}…{high} over its last axis; it must be 1")
    return chance if max(1 - low, high - 1) < 1e-12 else chance / total.reshape(*chance.shape[:-1], 1)


def absorb(
    next_state: np.ndarray, probability: np.ndarray, reward: np.ndarray, terminated: np.ndarray, start: np.ndarray
) -> None:
    """Make the states that episodes end in, and never pass through, absorb without reward; in place."""
    through = start > 0
    goes_on = (probability > 0) & ~terminated
    while True:
        reached = through.copy()
        reached[next_state[through][goes_on[through]]] = True
        if np.array_equal(reached, through):
            break
        through = reached
    ended = np.zeros(len(start), bool)
    ended[next_state[(probability > 0) & terminated]] = True
    absorbing = ended & ~through
    next_state[absorbing] = np.flatnonzero(absorbing)[:, None, None]
    probability[absorbing] = np.eye(1, probability.shape[-1])[0]
    reward[absorbing] = 0.0
    terminated[absorbing] = True


def merge(
    next_state: np.ndarray, probability: np.ndarray, reward: np.ndarray, terminated: np.ndarray, itself: np.ndarray
) -> Arrays:
    """Add up outcomes that are alike, move unused slots (which lead to `itself`) last, drop the slots that nobody uses."""
    slots = probability.shape[-1]
    probability = probability.copy()
    for k in range(slots):
        for j in range(k):
            alike = (
                (probability[..., j] > 0)
                & (next_state[..., j] == next_state[..., k])
                & (reward[..., j] == reward[..., k])
                & (terminated[..., j] == terminated[..., k])
            )
            probability[..., j] += np.where(alike, probability[..., k], 0.0)
            probability[..., k] = np.where(alike, 0.0, probability[..., k])
    order = np.argsort(probability == 0, axis=-1, kind="stable")
    width = max(1, int((probability > 0).sum(-1).max()))
    next_state, probability, reward, terminated = (
        np.take_along_axis(a, order, -1)[..., :width] for a in (next_state, probability, reward, terminated)
    )
    unused = probability == 0
    return np.where(unused, itself, next_state), probability, np.where(unused, 0.0, reward), terminated & ~unused


def table_size(table: Any, start: Float[np.ndarray, "*any"]) -> tuple[int, int]:
    """Return the numbers of states and actions of a transition table.

    Raises:
        ValueError: for a table with gaps, or one of another size than the start distribution.
    """
    states = len(table)
    try:
        actions = {len(table[s]) for s in range(states)}
        complete = len(actions) == 1 and all(len(table[s][a]) for s in range(states) for a in range(max(actions)))
    except (KeyError, IndexError, TypeError):
        complete = False
    if not complete:
        raise ValueError(
            f"the transition table P has {states} entries, and gaps among them; allowed: P[state][action] with one outcome or "
            "more, states and actions numbered from 0, the same actions in every state"
        )
    if start.shape != (states,):
        raise ValueError(f"initial_state_distrib has shape {start.shape}; allowed: ({states},), a probability for each state")
    return states, max(actions)
