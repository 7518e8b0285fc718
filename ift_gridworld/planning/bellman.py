"""One backup of Bellman's equation, and the question whether repeated backups have converged."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from ift_gridworld.checks import check_positive
from ift_gridworld.mdp import TabularMDP

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = [
    "INFINITE_VALUES", "ROUNDING", "Solution", "backup", "check_tolerance", "expected_next", "has_converged", "kept_among",
    "magnitude", "not_converged",
]  # fmt: skip

ROUNDING = 1e-13  # share of a value: smaller changes are rounding
INFINITE_VALUES = "values are infinite: with discount 1 some states' best policies never end, which is not free"

Solution = tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S A"]]  # V and Q


def expected_next(mdp: TabularMDP, value: Float[np.ndarray, " S"], onward: csr_array | None = None) -> Float[np.ndarray, "S A"]:
    """Return Σ_s' P(s'|s,a) value(s') over the outcomes that do not end the episode.

    Args:
        mdp: gives the transitions.
        value: any number per state.
        onward: the same outcomes as a sparse matrix [S A, S] (`matrices.onward_matrix`), faster on large problems.

    Example:
        >>> mdp = TabularMDP.from_map(("SF", "HG"))
        >>> expected_next(mdp, np.array([1.0, 2.0, 0.0, 0.0]))[0]  # left and up stay; down is a hole; right
        array([1., 0., 2., 1.])
    """
    if onward is not None:
        return (onward @ value).reshape(mdp.num_states, mdp.num_actions)
    return np.sum(mdp.probability * ~mdp.terminated * value[mdp.next_state], -1)


def backup(mdp: TabularMDP, value: Float[np.ndarray, " S"], onward: csr_array | None = None) -> Float[np.ndarray, "S A"]:
    """Return Q(s,a) = r(s,a) + γ Σ_s' P(s'|s,a) value(s'); arguments as in `expected_next`.

    Example:
        >>> mdp = TabularMDP.from_map(("SF", "HG"), discount=0.5)
        >>> backup(mdp, np.array([1.0, 2.0, 0.0, 0.0]))[1]  # from the tile above the goal: down earns 1 and ends
        array([0.5, 1. , 1. , 1. ])
    """
    return mdp.expected_reward + mdp.discount * expected_next(mdp, value, onward)


def check_tolerance(tolerance: float | None) -> None:
    """Refuse a tolerance that no sweep could meet, before the first one.

    Example:
        >>> check_tolerance(float("nan"))
        Traceback (most recent call last):
        ValueError: tolerance is nan; allowed: a number > 0 (and below 1e+30)
    """
    if tolerance is not None:
        check_positive("tolerance", tolerance)


def has_converged(
    mdp: TabularMDP, value: Float[np.ndarray, " S"], new: Float[np.ndarray, " S"], tolerance: float | None
) -> bool:
    """Return whether a sweep changed no value by more than `tolerance`, or, where that is None, by more than rounding.

    Example:
        >>> mdp = TabularMDP.from_map(("SF", "HG"))
        >>> has_converged(mdp, np.zeros(4), np.full(4, 1e-3), tolerance=1e-2), has_converged(mdp, np.zeros(4), np.ones(4), None)
        (True, False)
    """
    change = np.abs(new - value)
    if tolerance is not None:
        return bool(change.max() <= tolerance)
    return bool(np.all(change <= ROUNDING * magnitude(mdp, new)))


def magnitude(mdp: TabularMDP, value: Float[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """Return the size of what each value is the sum of: rounding is a share of that.

    Example:
        >>> magnitude(TabularMDP.from_map(("SF", "HG")), np.array([0.5, 1.0, 0.0, 0.0]))
        array([0.5, 1. , 0. , 0. ])
    """
    size = np.abs(value)
    # Where rewards of both signs cancel, a value near 0 is known no better than the terms that it is the sum of.
    signed = mdp.expected_reward.min() < 0 < mdp.expected_reward.max()
    return np.full_like(size, size.max()) if signed else size


def kept_among(
    mdp: TabularMDP, among: Bool[np.ndarray, " S"], enough: Callable[..., np.ndarray]
) -> tuple[Bool[np.ndarray, " S"], Bool[np.ndarray, "S A"]]:
    """Return the largest set of these states that `enough` actions (any or all) keep an episode in, and which actions do.

    Example:
        >>> lake = TabularMDP.from_map(("SF", "HG"))
        >>> kept_among(lake, ~lake.terminal, np.any)[0], kept_among(lake, ~lake.terminal, np.all)[0]
        (array([ True,  True, False, False]), array([False, False, False, False]))
    """
    while True:
        inside = ~np.any((mdp.probability > 0) & (mdp.terminated | ~among[mdp.next_state]), -1)
        kept = among & enough(inside, -1)
        if np.array_equal(kept, among):
            return among, inside
        among = kept


def not_converged(mdp: TabularMDP, change: float, max_sweeps: int) -> ValueError:
    """Return the error to raise after `max_sweeps` sweeps of which the last changed a value by `change`.

    Example:
        >>> str(not_converged(TabularMDP.from_map(("SG",), discount=1.0), 0.5, 100)).partition(";")
        ('values still change by 0.5 after 100 sweeps with discount 1.0', ';', " solver 'policy_iteration' does without sweeps")
    """
    no_way_out = mdp.discount == 1 and mdp.expected_reward.min() < 0
    way_out = "" if no_way_out else "; solver 'policy_iteration' does without sweeps"
    return ValueError(f"values still change by {change:.2g} after {max_sweeps} sweeps with discount {mdp.discount}{way_out}")
