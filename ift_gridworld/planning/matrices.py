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

__all__ = ["closed_classes", "eliminate", "factorise", "onward_matrix", "solve_undiscounted"]

MOST_STEPS = 1e10  # of an undiscounted episode: a factorisation's error is about 1e-16 of that, relative to the values
ELIMINATED_STATES = 500  # elimination takes the cube of the number of states, a tenth of a second for these
SMALLEST = 1e-290  # a smaller probability of leaving a state counts as 0


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


def closed_classes(transition: csr_array, ends: Float[np.ndarray, " R"]) -> Bool[np.ndarray, " R"]:
    """Return the states of closed recurrent classes: once there, an episode walks among them for ever.

    Args:
        transition: P.
        ends: the probability that an episode ends at the next step.

    Example:
        >>> from scipy.sparse import csr_array
        >>> closed_classes(csr_array(np.array([[0.0, 0.5], [0.0, 1.0]])), np.array([0.5, 0.0]))
        array([False,  True])
    """
    from scipy.sparse.csgraph import connected_components

    transition.sum_duplicates()  # the search for strong components may not end where an entry stands twice
    transition.eliminate_zeros()
    count, number = connected_components(transition, connection="strong")
    is_open = np.zeros(count, bool)
    is_open[number[ends > 0]] = True
    rows, columns = transition.nonzero()
    is_open[number[rows[number[rows] != number[columns]]]] = True
    return ~is_open[number]


def eliminate(
    flow: Float[np.ndarray, "M S S"],
    ends: Float[np.ndarray, "M S"],
    right: Float[np.ndarray, "M S"],
    *,
    transpose: bool = False,
) -> Float[np.ndarray, "M S"]:
    """Solve x = right + P x, or x = right + Pᵀ x, without discount and without a subtraction.

    States are eliminated one after the other; the probability of leaving one is the sum of its ways out, never 1 minus that of
    staying, so that it keeps all its digits however small it is. Source: Grassmann, Taksar and Heyman 1985.

    Args:
        flow: P, dense; its diagonal is not used.
        ends: the probability that an episode ends at the next step: what is missing in a row of P.
        right: a number per state. A state that is never left gets 0.
        transpose: whether to solve for visits instead of values.

    Example:
        >>> never = 1e-30  # 1 - never == 1, so that I - P is singular
        >>> eliminate(np.array([[[0.0, 1.0], [1.0, 0.0]]]), np.array([[0.0, never]]), np.array([[0.0, never]]))
        array([[1., 1.]])
    """
    flow, ends, x = flow.copy(), ends.copy(), right.copy()
    leave = np.empty_like(ends)
    for k in reversed(range(flow.shape[-1])):
        into, out = flow[:, :k, k], flow[:, k, :k]
        leave[:, k] = out.sum(-1) + ends[:, k]
        share = _ratio(np.concatenate([out, ends[:, k, None], x[:, k, None]], -1), leave[:, k, None])
        flow[:, :k, :k] += into[:, :, None] * share[:, None, :-2]
        ends[:, :k] += into * share[:, -2, None]
        x[:, :k] += x[:, k, None] * share[:, :-2] if transpose else into * share[:, -1, None]
    for k in range(flow.shape[-1]):
        ways = flow[:, :k, k] if transpose else flow[:, k, :k]
        x[:, k] = _ratio(x[:, k] + np.einsum("mk,mk->m", ways, x[:, :k]), leave[:, k])
    return x


def _ratio(x: Float[np.ndarray, "*batch"], leave: Float[np.ndarray, "*#batch"]) -> Float[np.ndarray, "*batch"]:
    return np.divide(x, leave, out=np.zeros_like(x), where=leave > SMALLEST)


def solve_undiscounted(
    transition: csr_array,
    ends: Float[np.ndarray, " R"],
    closed: Bool[np.ndarray, " R"],
    right: Float[np.ndarray, " R"],
    *,
    members: int = 1,
    transpose: bool = False,
) -> Float[np.ndarray, " R"]:
    """Solve x = right + P x, or x = right + Pᵀ x, where episodes end in closed classes.

    Where episodes take more than `MOST_STEPS` steps, a factorisation loses most digits. Problems of at most
    `ELIMINATED_STATES` states are then solved by `eliminate`; in larger ones such long episodes count as endless: each step
    is discounted by 1 - 1 / MOST_STEPS.

    Args:
        transition: P, block-diagonal if there are several members.
        ends: the probability that an episode ends at the next step.
        closed: the states of closed classes (`closed_classes`).
        right: a number per state.
        members: number of equal blocks of P.
        transpose: whether to solve for visits instead of values.

    Example:
        >>> from scipy.sparse import csr_array
        >>> half = np.array([0.5])  # x = 3 + x / 2
        >>> solve_undiscounted(csr_array(half[None]), half, np.array([False]), np.array([3.0]))
        array([6.])
    """
    rate, way = np.where(closed, 0.0, 1.0), "T" if transpose else "N"
    size = len(right) // members
    blocks = [slice(start, start + size) for start in range(0, len(right), size)]
    try:
        factors = factorise(transition, rate)
        x, steps = factors.solve(right, way), factors.solve(np.ones(len(right)))
        if not transpose:  # refine: differences of values are exact where 1 - P has lost digits
            flow = transition.tocoo()
            weight = flow.data * rate[flow.row]
            for _ in range(2):
                moved = np.bincount(flow.row, weight * (x[flow.row] - x[flow.col]), len(right))
                x += factors.solve(right - ends * x - moved)
    except RuntimeError:  # singular: each member by itself, and of a single one all episodes count as too long
        if members > 1:
            parts = ((transition[own, own], ends[own], closed[own], right[own]) for own in blocks)
            return np.concatenate([solve_undiscounted(*part, transpose=transpose) for part in parts])
        x, steps = right.copy(), np.full(len(right), np.inf)
    lost = ~((steps > 0) & (steps <= MOST_STEPS))
    if lost.any() and size > ELIMINATED_STATES:
        return factorise(transition, np.where(lost, rate * (1 - 1 / MOST_STEPS), rate)).solve(right, way)
    for member in np.flatnonzero(lost.reshape(members, size).any(-1)):
        own = blocks[member]
        flow = transition[own, own].toarray() * rate[own, None]
        x[own] = eliminate(flow[None], np.where(closed, 1.0, ends)[None, own], right[None, own], transpose=transpose)[0]
    return x
