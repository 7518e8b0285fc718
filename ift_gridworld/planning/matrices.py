"""Sparse transition matrices of large problems: how they are built, factorised and searched. Imports scipy on first use.

P is a policy's matrix [S, S] of the outcomes that do not end the episode; its rows sum to at most 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from ift_gridworld.mdp import TabularMDP

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["can_terminate", "factorise", "onward_matrix"]


def onward_matrix(mdp: TabularMDP) -> csr_array:
    """Return the outcomes that do not end the episode, as a sparse matrix [S A, S].

    Example:
        >>> onward_matrix(TabularMDP.from_map(("SF", "HG"))).shape
        (16, 4)
    """
    from scipy.sparse import csr_array  # loaded where it is needed: it costs a tenth of a second

    states, actions, slots = mdp.next_state.shape
    weight = (mdp.probability * ~mdp.terminated).ravel()
    narrow = np.int32 if weight.size < 2**31 else np.int64  # half the memory to read
    rows = np.arange(0, weight.size + 1, slots, dtype=narrow)
    return csr_array((weight, mdp.next_state.ravel().astype(narrow), rows), (states * actions, states))


def factorise(transition: csr_array, discount: Float[np.ndarray, " S"]) -> Any:
    """Return sparse factors of I - diag(discount) P; `solve(right)` gives values and `solve(right, "T")` visits.

    Example:
        >>> from scipy.sparse import csr_array
        >>> factorise(csr_array(np.array([[0.5]])), np.array([1.0])).solve(np.array([3.0]))  # x = 3 + x / 2
        array([6.])
    """
    from scipy.sparse import diags_array, eye_array
    from scipy.sparse.linalg import splu

    matrix = (eye_array(len(discount)) - diags_array(discount) @ transition).tocsc()
    # The diagonal dominates, so no pivoting is needed, and an ordering made for symmetric matrices fills it least.
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def can_terminate(transition: csr_array, ends: Bool[np.ndarray, " S"]) -> Bool[np.ndarray, " S"]:
    """Return the states from which an episode can come to an end.

    Args:
        transition: P.
        ends: states in which it can end at the next step.

    Example:
        >>> from scipy.sparse import csr_array
        >>> can_terminate(csr_array(np.array([[0.0, 1.0], [0.0, 0.0]])), np.array([False, True]))
        array([ True,  True])
    """
    from scipy.sparse import block_array, csr_array
    from scipy.sparse.csgraph import breadth_first_order

    # Search backwards from an added last state that precedes all ends.
    before = block_array([[transition.T, csr_array((len(ends), 1))], [csr_array(ends[None].astype(float)), None]], format="csr")
    reached = np.zeros(len(ends) + 1, bool)
    reached[breadth_first_order(before, len(ends), return_predecessors=False)] = True
    return reached[:-1]
