"""Optimal values, four ways: which is fastest depends on how large a problem is and how it is built.

All solve V(s) = max_a Q(s,a), Q(s,a) = r(s,a) + gamma sum_s' P(s'|s,a) V(s'), nothing following termination, and agree.
`planning.solve` picks one.

- value iteration: sweeps over all states through the tables, for any problem, any discount;
- policy iteration: each policy's values by sparse factorisation, so that a discount near 1 costs no more than another;
- modified policy iteration: a few sweeps of the policy instead of its exact values (Puterman and Shin 1978);
- neighbour sweeps: for lakes, where what follows stands beside a tile. No tables, and work only where values still change.

Each takes the largest change of a sweep at which it stops: `tolerance`, absolute, or, where that is None, `SHARE` of each value
(of the largest one, where rewards have both signs), so small that best actions are told apart wherever values are not 0. What
changes by no more than c is within c gamma / (1 - gamma) of the truth: 1e-11 of the largest value at discount 0.99, but 1e-9 at
0.9999. Policy iteration's values solve their equations; near discount 1 they are the more exact ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from ift_gridworld.envs.maps import GOAL, HOLE, as_grid
from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.mdp import TabularMDP

if TYPE_CHECKING:
    from scipy.sparse import csr_array

SHARE = 1e-13  # of a value: changes below are rounding's
HASTE = 0.999  # a discount near 1
ENDLESS = "values are infinite: with discount 1 some states' best policies never end, which is not free"

Solution = tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S A"]]


def ahead(mdp: TabularMDP, value: Float[np.ndarray, " S"], onward: csr_array | None = None) -> Float[np.ndarray, "S A"]:
    """sum_s' P(s'|s,a) value(s') over the outcomes that do not end the episode, by their sparse matrix where that is given."""
    if onward is not None:
        return (onward @ value).reshape(mdp.num_states, mdp.num_actions)
    return np.sum(mdp.probability * ~mdp.terminated * value[mdp.next_state], -1)


def backup(mdp: TabularMDP, value: Float[np.ndarray, " S"], onward: csr_array | None = None) -> Float[np.ndarray, "S A"]:
    """Q(s,a) = r(s,a) + gamma sum_s' P(s'|s,a) value(s')."""
    return mdp.expected_reward + mdp.discount * ahead(mdp, value, onward)


def settled(mdp: TabularMDP, value: Float[np.ndarray, " S"], new: Float[np.ndarray, " S"], tolerance: float | None) -> bool:
    """Whether a sweep changed nothing that counts."""
    change = np.abs(new - value)
    if tolerance is not None:
        return bool(change.max() <= tolerance)
    # Where rewards of both signs cancel, a value near 0 is known no better than the terms it is made of.
    signed = mdp.expected_reward.min() < 0 < mdp.expected_reward.max()
    return bool(np.all(change <= SHARE * (np.abs(new).max() if signed else np.abs(new))))


def value_iteration(mdp: TabularMDP, tolerance: float | None = None, *, max_sweeps: int = 1_000_000) -> Solution:
    """V <- max_a Q(s,a) everywhere, from V = 0, so that an undiscounted problem with rewards >= 0 ends at its least solution.

    Args:
        mdp: the problem; its `discount` is used.
        tolerance: the largest change of a sweep at which it stops (default: so small a share of each value that it is
            rounding's).
        max_sweeps: sweeps before giving up.

    Returns:
        V [S] and Q [S, A].

    Raises:
        ValueError: if the values do not converge (an undiscounted problem without a proper policy). Where one sweep
            proves that, it is told after some thousand; else (pay at every other step of a loop) after all of them.
    """
    value = np.zeros(mdp.num_states)
    for sweep in range(1, max_sweeps + 1):
        new = backup(mdp, value).max(-1)
        done = settled(mdp, value, new, tolerance)
        if mdp.discount == 1 and sweep > 1_000 and sweep.bit_count() == 1 and _endless(mdp, value, new):
            raise ValueError(ENDLESS)
        change, value = np.abs(new - value).max(), new
        if done:
            return value, backup(mdp, value)
    raise _unsettled(mdp, change, max_sweeps)


def _endless(mdp: TabularMDP, value: Float[np.ndarray, " S"], new: Float[np.ndarray, " S"]) -> bool:
    """Whether an undiscounted sweep proves that all to come do as much again: among some states all values rose, and a best
    action of each leads to none but them and ends nothing; or all fell, and that is so of every action."""
    gain, rounding = new - value, 1e-9 * np.abs(new).max()
    best = np.eye(mdp.num_actions, dtype=bool)[backup(mdp, value).argmax(-1)]
    for among, actions in ((gain > rounding, best), (gain < -rounding, np.ones_like(best))):
        while among.any():
            leaves = np.any((mdp.probability > 0) & (mdp.terminated | ~among[mdp.next_state]), -1)
            inside = among & ~np.any(leaves & actions, -1)
            if np.array_equal(inside, among):
                return True
            among = inside
    return False


def _onward(mdp: TabularMDP) -> csr_array:
    """The outcomes that do not end the episode, as a sparse matrix [S A, S]."""
    from scipy.sparse import csr_array  # loaded where it is needed: it costs a tenth of a second

    states, actions, slots = mdp.next_state.shape
    weight = (mdp.probability * ~mdp.terminated).ravel()
    narrow = np.int32 if weight.size < 2**31 else np.int64  # half the memory to read
    rows = np.arange(0, weight.size + 1, slots, dtype=narrow)
    return csr_array((weight, mdp.next_state.ravel().astype(narrow), rows), (states * actions, states))


def factorised(leads: csr_array, discount: Float[np.ndarray, " S"]) -> Any:
    """The sparse factors of I - diag(discount) P, whose `solve(right)` gives values and `solve(right, "T")` visits."""
    from scipy.sparse import diags_array, eye_array
    from scipy.sparse.linalg import splu

    matrix = (eye_array(len(discount)) - diags_array(discount) @ leads).tocsc()
    # Its diagonal dominates, so that nothing need be pivoted, and an order made for symmetric matrices fills it least.
    return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})


def ending(leads: csr_array, ends: Bool[np.ndarray, " S"]) -> Bool[np.ndarray, " S"]:
    """States from which an episode may come to its end, of those that it `ends` in at once and of P."""
    from scipy.sparse import block_array, csr_array
    from scipy.sparse.csgraph import breadth_first_order

    # Backwards, from a place added last that stands before all ends.
    before = block_array([[leads.T, csr_array((len(ends), 1))], [csr_array(ends[None].astype(float)), None]], format="csr")
    found = np.zeros(len(ends) + 1, bool)
    found[breadth_first_order(before, len(ends), return_predecessors=False)] = True
    return found[:-1]


def policy_iteration(mdp: TabularMDP, tolerance: float | None = None) -> Solution:
    """Values of a policy by factorising I - gamma P_pi; then the greedy policy of these values; until none is better.

    With discount 1 only where no reward is below 0: there a policy that no other improves on is optimal (Puterman 1994, 7.2),
    though a policy may walk for ever, which is worth 0.
    """
    if mdp.discount == 1 and mdp.expected_reward.min() < 0:
        raise ValueError(
            "solver 'policy_iteration' cannot take discount 1 with rewards below 0; allowed there: value_iteration"
        )
    onward, states = _onward(mdp), np.arange(mdp.num_states)
    ends = np.any((mdp.probability > 0) & mdp.terminated, -1).ravel()

    def worth(policy: Int[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
        rows = states * mdp.num_actions + policy
        leads, reward, discount = onward[rows], mdp.expected_reward.ravel()[rows], np.full(mdp.num_states, mdp.discount)
        if mdp.discount == 1:
            discount = ending(leads, ends[rows]).astype(float)
            if np.any(reward[discount == 0] > 0):
                raise ValueError(ENDLESS)
        return factorised(leads, discount).solve(reward)

    if mdp.discount == 1:  # the policy of one in a little haste does arrive, and is nearly the best
        policy = policy_iteration(replace(mdp, discount=HASTE))[1].argmax(-1)
    else:
        policy = backup(mdp, _hearsay(mdp, onward), onward).argmax(-1)
    while True:
        value = worth(policy)
        action_value = backup(mdp, value, onward)
        best, top = action_value.argmax(-1), action_value.max(-1)
        # Two policies that rounding cannot tell apart must not take turns.
        better = np.where(action_value[states, policy] >= top - SHARE * np.abs(top), policy, best)
        if np.array_equal(better, policy) or settled(mdp, value, top, tolerance):
            return top, action_value
        policy = better


def _hearsay(mdp: TabularMDP, onward: csr_array) -> Float[np.ndarray, " S"]:
    """Values that know of every reward, to begin with."""
    value = np.zeros(mdp.num_states)
    for _ in range(int(mdp.num_states**0.5)):
        value = backup(mdp, value, onward).max(-1)
    if np.any((value == 0) & ~mdp.terminal):
        # A far reward would be found one step an iteration, but the policy that does anything has heard of it.
        anything = sum(onward[action :: mdp.num_actions] for action in range(mdp.num_actions)) / mdp.num_actions
        value = factorised(anything, np.full(mdp.num_states, mdp.discount)).solve(mdp.expected_reward.mean(-1))
    return value


def modified_policy_iteration(
    mdp: TabularMDP, tolerance: float | None = None, sweeps: int = 20, *, max_sweeps: int = 1_000_000
) -> Solution:
    """After each sweep over all actions, `sweeps` cheaper ones that follow the greedy policy; `max_sweeps` counts both."""
    if mdp.discount == 1:
        raise ValueError(
            "solver 'modified_policy_iteration' cannot take discount 1, where a policy may be worth nothing certain; "
            "allowed there: value_iteration, neighbour_sweeps, policy_iteration if no reward is below 0"
        )
    onward, first = _onward(mdp), np.arange(mdp.num_states) * mdp.num_actions
    value = np.zeros(mdp.num_states)
    for _ in range(0, max_sweeps, 1 + sweeps):
        action_value = backup(mdp, value, onward)
        new = action_value.max(-1)
        if settled(mdp, value, new, tolerance):
            return new, backup(mdp, new, onward)
        change = np.abs(new - value).max()
        rows = first + action_value.argmax(-1)
        leads, reward = mdp.discount * onward[rows], mdp.expected_reward.ravel()[rows]
        value = new
        for _ in range(sweeps):
            value = reward + leads @ value
    raise _unsettled(mdp, change, max_sweeps)


def _unsettled(mdp: TabularMDP, change: float, max_sweeps: int) -> ValueError:
    way_out = "" if mdp.discount == 1 else "; solver 'policy_iteration' does without sweeps"
    return ValueError(f"values still change by {change:.2g} after {max_sweeps} sweeps with discount {mdp.discount}{way_out}")


def success_rate(mdp: TabularMDP) -> float | None:
    """The chance that a move goes as meant, if this is a lake as `TabularMDP.from_map` builds it; None if it is not."""
    if mdp.layout is None or mdp.actions != LAKE_ACTIONS or any(set(row) - set("SFHG") for row in mdp.layout):
        return None
    if sum(map(len, mdp.layout)) != mdp.num_states:
        return None
    rate, slots = 1.0, mdp.probability.shape[-1]
    if slots > 1:
        rate = _ahead_of_the_start(mdp)
        if not 0 < rate <= 1:
            return None
    same = TabularMDP.from_map(mdp.layout, is_slippery=slots > 1, success_rate=rate, discount=mdp.discount)
    alike = (np.array_equal(getattr(mdp, name), getattr(same, name)) for name in ("next_state", "probability", "reward"))
    return rate if all(alike) and np.array_equal(mdp.terminated, same.terminated) else None


def _ahead_of_the_start(mdp: TabularMDP) -> float:
    """The chance that a move along the grid, from its first start to the tile beside it, leads there."""
    assert mdp.layout is not None
    tile, (height, width) = "".join(mdp.layout).find("S"), (len(mdp.layout), len(mdp.layout[0]))
    if width > 1:
        move, step = ("left", -1) if tile % width == width - 1 else ("right", 1)
    else:
        move, step = ("up", -1) if tile == height - 1 else ("down", 1)
    action = LAKE_ACTIONS.index(move)
    return float(mdp.probability[tile, action] @ (mdp.next_state[tile, action] == tile + step))


def neighbour_sweeps(mdp: TabularMDP, tolerance: float | None = None, rate: float | None = None) -> Solution:
    """Sweeps over a lake's grid, shifted against itself; block by block, those first whose values are highest, again only
    where something beside a block has changed since.

    Let w(s) be what entering s is worth: 1 on a gift, 0 in a hole, gamma V(s) on ice. The move to the left is worth
    Q(s, left) = p w(left) + (1 - p) / 2 (w(up) + w(down)), and so on; at the edge the tile itself stands in.

    Args:
        mdp: a lake (`success_rate`).
        tolerance: as above.
        rate: its `success_rate`, where the caller knows it.
    """
    rate = success_rate(mdp) if rate is None else rate
    if rate is None or mdp.layout is None:
        raise ValueError("solver 'neighbour_sweeps' needs a lake of the letters S, F, H, G with rewards of 1 at the gifts")
    lake = _Blocks(as_grid(mdp.layout), rate, mdp.discount, tolerance)
    while lake.waiting.any():
        queue = np.argwhere(lake.waiting)
        for block in queue[np.argsort(-lake.highest[tuple(queue.T)], kind="stable")]:
            lake.visit(*block)
    action_value = lake.action_values().reshape(mdp.num_states, 4)
    return action_value.max(-1), action_value


class Sweep:
    """One step of w(s) <- gamma max_a Q(s,a) over a grid, or a block of one.

    Args:
        worth: [h + 2, w + 2], w of each tile within a frame of its neighbours.
        ice, gift: [h, w], 1 where an episode goes on, 1 where it is rewarded.
        rate, discount: p and gamma.
        outer: whether the left, lower, right and upper side is the map's edge.
        spare: room for four arrays of at least [h, w].
    """

    def __init__(
        self,
        worth: Float[np.ndarray, "h+2 w+2"],
        ice: Float[np.ndarray, "h w"],
        gift: Float[np.ndarray, "h w"],
        rate: float,
        discount: float,
        outer: tuple[bool, bool, bool, bool],
        spare: Float[np.ndarray, "4 H W"],
    ) -> None:
        self.around, self.ice, self.gift = _around(worth), ice, gift
        self.ahead, self.aside = discount * rate, discount * (1 - rate) / 2
        self.edges = [edge for edge, is_outer in zip(_edges(worth), outer, strict=True) if is_outer]
        self.spare = spare[:, : ice.shape[0], : ice.shape[1]]

    def __call__(self) -> Float[np.ndarray, "h w"]:
        """The next w, in memory that the next call overwrites."""
        for frame, tiles in self.edges:  # the edge of the map holds one back
            frame[:] = tiles
        left, down, right, up = self.around
        new, other, sides, ends = self.spare
        # The best of left and right, where up and down are the sides; then the other way round.
        np.multiply(np.maximum(left, right, out=new), self.ahead, out=new)
        np.multiply(np.add(up, down, out=ends), self.aside, out=ends)
        np.multiply(np.maximum(up, down, out=other), self.ahead, out=other)
        np.multiply(np.add(left, right, out=sides), self.aside, out=sides)
        np.maximum(np.add(new, ends, out=new), np.add(other, sides, out=other), out=new)
        return np.add(np.multiply(new, self.ice, out=new), self.gift, out=new)


def best_chances(mdp: TabularMDP, rate: float, horizon: int) -> float:
    """The highest probability of reaching a gift of a lake within so many steps, from its start."""
    assert mdp.layout is not None
    grid = as_grid(mdp.layout)
    gift, ice = _gifts(grid), _ice(grid)
    worth = np.pad(gift, 1)
    inner, start = worth[1:-1, 1:-1], mdp.start.reshape(grid.shape)
    sweep = Sweep(worth, ice, gift, rate, 1.0, (True,) * 4, np.empty((4, *grid.shape)))
    for _ in range(horizon):
        new = sweep()
        done = bool(np.all(new[start > 0] == 1.0)) or np.abs(new - inner).max() <= 1e-16
        inner[:] = new
        if done:
            break
    return float((inner * start).sum())


def _gifts(grid: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    return (grid == GOAL).astype(float)


def _ice(grid: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    return ((grid != GOAL) & (grid != HOLE)).astype(float)


class _Blocks:
    """The grid of a lake as blocks, each swept by itself until little changes, or for `SWEEPS` sweeps.

    Attributes:
        worth: [H + 2, W + 2], w of each tile, with a frame around.
        waiting: [I, J], blocks that are to be visited.
        highest: [I, J], the highest w of each block.
        unseen: [I, J], how much has changed beside a block since it was visited, in tolerances.
    """

    SIDE, SWEEPS, LOOK = 64, 16, 8  # a block's arrays stay in the fast memory; every LOOK sweeps changes are looked at
    LEAST = 1e-290  # what is worth less is worth nothing: arithmetic near the least number is slow

    def __init__(self, grid: UInt8[np.ndarray, "H W"], rate: float, discount: float, tolerance: float | None) -> None:
        self.rate, self.discount, self.tolerance = rate, discount, tolerance
        self.gift, self.ice = _gifts(grid), _ice(grid)
        self.worth = np.pad(self.gift, 1)
        shape = tuple(-(-side // self.SIDE) for side in grid.shape)
        self.highest, self.unseen, self.waiting = np.zeros(shape), np.zeros(shape), np.ones(shape, bool)
        self._spare = np.empty((4, self.SIDE, self.SIDE))

    def visit(self, i: int, j: int) -> None:
        """Sweep one block, and tell those beside it."""
        where = tuple(slice(k * self.SIDE, min((k + 1) * self.SIDE, n)) for k, n in zip((i, j), self.ice.shape, strict=True))
        framed = tuple(slice(part.start, part.stop + 2) for part in where)
        worth, ice, gift = self.worth[framed].copy(), self.ice[where], self.gift[where]
        inner = worth[1:-1, 1:-1]
        before = inner.copy()
        sweep = Sweep(worth, ice, gift, self.rate, self.discount, self._outer(i, j), self._spare)
        left_over = np.inf
        for count in range(1, self.SWEEPS + 1):
            new = sweep()
            if count % self.LOOK == 0:
                left_over = self._tolerances(inner, new)
            inner[:] = new
            if left_over <= 1:
                break
        inner[inner < self.LEAST] = 0.0
        self.worth[1:-1, 1:-1][where] = inner
        self.highest[i, j] = inner.max()
        self.unseen[i, j], self.waiting[i, j] = 0.0, left_over > 1
        for (x, y), line in (
            ((i, j - 1), np.s_[:, 0]),
            ((i + 1, j), np.s_[-1]),
            ((i, j + 1), np.s_[:, -1]),
            ((i - 1, j), np.s_[0]),
        ):
            if 0 <= x < len(self.unseen) and 0 <= y < self.unseen.shape[1]:
                self.unseen[x, y] += self._tolerances(before[line], inner[line])
                self.waiting[x, y] |= self.unseen[x, y] > 1

    def _outer(self, i: int, j: int) -> tuple[bool, bool, bool, bool]:
        """Whether the block's left, lower, right and upper edge is the map's."""
        last_row, last_column = (n - 1 for n in self.unseen.shape)
        return j == 0, i == last_row, j == last_column, i == 0

    def _tolerances(self, old: Float[np.ndarray, "*block"], new: Float[np.ndarray, "*block"]) -> float:
        """The largest change, in units of what is tolerated."""
        change = np.abs(new - old)
        if self.tolerance is not None:
            return float(change.max()) / self.tolerance
        return float((change / (SHARE * np.maximum(new, self.LEAST))).max())

    def action_values(self) -> Float[np.ndarray, "H W 4"]:
        """Q of left, down, right, up; 0 where an episode is over."""
        for frame, tiles in _edges(self.worth):
            frame[:] = tiles
        near, result = _around(self.worth), np.empty((*self.ice.shape, 4))
        for action in range(4):
            sides = near[action - 1] + near[(action + 1) % 4]
            result[..., action] = (self.rate * near[action] + (1 - self.rate) / 2 * sides) * self.ice
        return result


def _around(framed: Float[np.ndarray, "H+2 W+2"]) -> tuple[Float[np.ndarray, "H W"], ...]:
    """Each tile's left, lower, right and upper neighbour."""
    return framed[1:-1, :-2], framed[2:, 1:-1], framed[1:-1, 2:], framed[:-2, 1:-1]


def _edges(framed: Float[np.ndarray, "H+2 W+2"]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The frame's left, lower, right and upper side, each with the tiles that it stands beside."""
    return (
        (framed[:, 0], framed[:, 1]),
        (framed[-1], framed[-2]),
        (framed[:, -1], framed[:, -2]),
        (framed[0], framed[1]),
    )


SOLVERS: dict[str, Callable[[TabularMDP, float | None], Solution]] = {
    "value_iteration": value_iteration,
    "policy_iteration": policy_iteration,
    "modified_policy_iteration": modified_policy_iteration,
    "neighbour_sweeps": neighbour_sweeps,
}
