"""One backup of Bellman's equation, and the question whether repeated backups have converged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ift_gridworld.mdp import TabularMDP

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["INFINITE_VALUES", "ROUNDING", "Solution", "backup", "expected_next", "has_converged", "not_converged"]

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
    # Where rewards of both signs cancel, a value near 0 is known no better than the terms that it is the sum of.
    signed = mdp.expected_reward.min() < 0 < mdp.expected_reward.max()
    return bool(np.all(change <= ROUNDING * (np.abs(new).max() if signed else np.abs(new))))


def not_converged(mdp: TabularMDP, change: float, max_sweeps: int) -> ValueError:
    """Return the error to raise after `max_sweeps` sweeps of which the last changed a value by `change`.

    Example:
        >>> not_converged(TabularMDP.from_map(("SG",), discount=1.0), 0.5, 100)
        ValueError('values still change by 0.5 after 100 sweeps with discount 1.0')
    """
    way_out = "" if mdp.discount == 1 else "; solver 'policy_iteration' does without sweeps"
    return ValueError(f"values still change by {change:.2g} after {max_sweeps} sweeps with discount {mdp.discount}{way_out}")
