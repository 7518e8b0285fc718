"""The fast solver for lakes: sweeps over the grid, shifted against itself, block by block.

On a lake what follows a move stands beside the tile, so that no tables are needed: with w(s) the value of entering s (1 on a
goal, 0 in a hole, γ V(s) elsewhere), the move to the left is worth
Q(s, left) = p w(left) + (1 - p) / 2 (w(up) + w(down)), and so on; at the edge of the map the tile itself takes the missing
neighbour's place. Blocks with the highest values are swept first, and again only where a neighbouring block has changed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from ift_gridworld.checks import check_mdp, check_probability, check_whole
from ift_gridworld.envs.maps import GOAL, HOLE, as_grid
from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning.bellman import ROUNDING, Solution, check_tolerance, not_converged

__all__ = ["BlockGrid", "Sweep", "best_success", "neighbour_sweeps", "success_rate"]


def success_rate(mdp: TabularMDP) -> float | None:
    """Return the probability that a move goes as intended, if this is a lake as `TabularMDP.from_map` builds it, else None.

    Example:
        >>> success_rate(TabularMDP.from_map(("SF", "HG"), is_slippery=True, success_rate=0.8))
        0.8
    """
    check_mdp(mdp)
    if mdp.layout is None or mdp.actions != LAKE_ACTIONS or any(set(row) - set("SFHG") for row in mdp.layout):
        return None
    if sum(map(len, mdp.layout)) != mdp.num_states:
        return None
    rate, slots = 1.0, mdp.probability.shape[-1]
    if slots > 1:
        rate = _success_rate_at_start(mdp)
        if not 0 < rate <= 1:
            return None
    same = TabularMDP.from_map(mdp.layout, is_slippery=slots > 1, success_rate=rate, discount=mdp.discount)
    alike = (np.array_equal(getattr(mdp, name), getattr(same, name)) for name in ("next_state", "probability", "reward"))
    return rate if all(alike) and np.array_equal(mdp.terminated, same.terminated) else None


def _success_rate_at_start(mdp: TabularMDP) -> float:
    """The probability that a move along the grid, from its first start to the tile beside it, leads there."""
    assert mdp.layout is not None
    tile, (height, width) = "".join(mdp.layout).find("S"), (len(mdp.layout), len(mdp.layout[0]))
    if width > 1:
        move, step = ("left", -1) if tile % width == width - 1 else ("right", 1)
    else:
        move, step = ("up", -1) if tile == height - 1 else ("down", 1)
    action = LAKE_ACTIONS.index(move)
    return float(mdp.probability[tile, action] @ (mdp.next_state[tile, action] == tile + step))


def neighbour_sweeps(
    mdp: TabularMDP, tolerance: float | None = None, rate: float | None = None, *, max_sweeps: int = 1_000_000
) -> Solution:
    """Solve a lake by sweeps over its grid, block by block, wherever values still change.

    Args:
        mdp: a lake (`success_rate`); its `discount` is used.
        tolerance: the largest change of a sweep at which a block stops, in units of reward (default: rounding).
        rate: its `success_rate`, if the caller knows it.
        max_sweeps: sweeps of a block before giving up.

    Returns:
        V [S] and Q [S, A].

    Raises:
        ValueError: for what is not a lake, or values that do not converge.

    Example:
        >>> neighbour_sweeps(TabularMDP.from_map(("SFF", "HHG"), discount=0.5))[0][:3]
        array([0.25, 0.5 , 1.  ])
    """
    check_tolerance(tolerance)
    check_whole("max_sweeps", max_sweeps, at_least=1)
    if rate is not None:
        check_probability("rate", rate)
    rate = success_rate(mdp) if rate is None else rate
    if rate is None or mdp.layout is None:
        raise ValueError("solver 'neighbour_sweeps' needs a lake of the letters S, F, H, G with rewards of 1 at the goals")
    lake = BlockGrid(as_grid(mdp.layout), rate, mdp.discount, tolerance)
    for _ in range(0, max_sweeps, BlockGrid.SWEEPS):
        queue = np.argwhere(lake.pending)
        for block in queue[np.argsort(-lake.highest[tuple(queue.T)], kind="stable")]:
            lake.visit(*block)
        if not lake.pending.any():
            action_value = lake.action_values().reshape(mdp.num_states, 4)
            return action_value.max(-1), action_value
    raise not_converged(mdp, lake.change(), max_sweeps)


def best_success(mdp: TabularMDP, rate: float, horizon: int) -> float:
    """Return the highest probability of reaching a goal of a lake within `horizon` steps from its start.

    Args:
        mdp: a lake.
        rate: its `success_rate`.
        horizon: in steps.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",))
        >>> best_success(lake, 1.0, horizon=1), best_success(lake, 1.0, horizon=2)
        (0.0, 1.0)
    """
    assert mdp.layout is not None
    grid = as_grid(mdp.layout)
    goal, walkable = _goals(grid), _walkable(grid)
    worth = np.pad(goal, 1)
    inner, start = worth[1:-1, 1:-1], mdp.start.reshape(grid.shape)
    sweep = Sweep(worth, walkable, goal, rate, 1.0, (True,) * 4, np.empty((4, *grid.shape)))
    for _ in range(horizon):
        new = sweep()
        done = bool(np.all(new[start > 0] == 1.0)) or np.abs(new - inner).max() <= 1e-16
        inner[:] = new
        if done:
            break
    return float((inner * start).sum())


def _goals(grid: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    return (grid == GOAL).astype(float)


def _walkable(grid: UInt8[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    return ((grid != GOAL) & (grid != HOLE)).astype(float)


class Sweep:
    """One step of w(s) <- γ max_a Q(s,a) over a grid, or a block of one.

    Args:
        worth: w of each tile, in a frame one tile wide that holds its neighbours.
        walkable, goal: 1 where an episode goes on, 1 where it is rewarded.
        rate, discount: p and γ.
        at_edge: whether the left, lower, right and upper side is the map's edge.
        scratch: room for four arrays of at least [h, w].
    """

    def __init__(
        self,
        worth: Float[np.ndarray, "h+2 w+2"],
        walkable: Float[np.ndarray, "h w"],
        goal: Float[np.ndarray, "h w"],
        rate: float,
        discount: float,
        at_edge: tuple[bool, bool, bool, bool],
        scratch: Float[np.ndarray, "4 H W"],
    ) -> None:
        self.neighbours, self.walkable, self.goal = _neighbours(worth), walkable, goal
        self.intended, self.sideways = discount * rate, discount * (1 - rate) / 2
        self.edges = [edge for edge, is_edge in zip(_edges(worth), at_edge, strict=True) if is_edge]
        self.scratch = scratch[:, : walkable.shape[0], : walkable.shape[1]]

    def __call__(self) -> Float[np.ndarray, "h w"]:
        """Return the next w, in memory that the next call overwrites."""
        for frame, tiles in self.edges:  # a move over the edge of the map stays
            frame[:] = tiles
        left, down, right, up = self.neighbours
        new, other, sides, ends = self.scratch
        # The best of left and right, where up and down are the sides; then the other way round.
        np.multiply(np.maximum(left, right, out=new), self.intended, out=new)
        np.multiply(np.add(up, down, out=ends), self.sideways, out=ends)
        np.multiply(np.maximum(up, down, out=other), self.intended, out=other)
        np.multiply(np.add(left, right, out=sides), self.sideways, out=sides)
        np.maximum(np.add(new, ends, out=new), np.add(other, sides, out=other), out=new)
        return np.add(np.multiply(new, self.walkable, out=new), self.goal, out=new)


class BlockGrid:
    """The grid of a lake as blocks, each swept by itself until little changes, or for `SWEEPS` sweeps.

    Args:
        grid: the letters of the map.
        rate, discount: p and γ.
        tolerance: the largest change of a sweep at which a block stops; None for rounding.

    Attributes:
        worth: w of each tile, [H + 2, W + 2], in a frame one tile wide.
        pending: [I, J], blocks that must be visited.
        highest: [I, J], the highest w of each block.
        unseen: [I, J], how much has changed beside a block since its last visit, in tolerances.
    """

    SIDE, SWEEPS, CHECK_EVERY = 64, 16, 8  # a block's arrays fit in fast memory; changes are computed every 8 sweeps
    SMALLEST = 1e-290  # smaller values count as 0: arithmetic near the smallest float is slow

    def __init__(self, grid: UInt8[np.ndarray, "H W"], rate: float, discount: float, tolerance: float | None) -> None:
        self.rate, self.discount, self.tolerance = rate, discount, tolerance
        self.goal, self.walkable = _goals(grid), _walkable(grid)
        self.worth = np.pad(self.goal, 1)
        shape = tuple(-(-side // self.SIDE) for side in grid.shape)
        self.highest, self.unseen, self.pending = np.zeros(shape), np.zeros(shape), np.ones(shape, bool)
        self._scratch = np.empty((4, self.SIDE, self.SIDE))

    def visit(self, i: int, j: int) -> None:
        """Sweep one block, and mark the neighbouring blocks that its changes affect."""
        tiles = tuple(
            slice(k * self.SIDE, min((k + 1) * self.SIDE, n)) for k, n in zip((i, j), self.walkable.shape, strict=True)
        )
        framed = tuple(slice(part.start, part.stop + 2) for part in tiles)
        worth, walkable, goal = self.worth[framed].copy(), self.walkable[tiles], self.goal[tiles]
        inner = worth[1:-1, 1:-1]
        before = inner.copy()
        sweep = Sweep(worth, walkable, goal, self.rate, self.discount, self._at_edge(i, j), self._scratch)
        remaining = np.inf
        for count in range(1, self.SWEEPS + 1):
            new = sweep()
            if count % self.CHECK_EVERY == 0:
                remaining = self._in_tolerances(inner, new)
            inner[:] = new
            if remaining <= 1:
                break
        inner[inner < self.SMALLEST] = 0.0
        self.worth[1:-1, 1:-1][tiles] = inner
        self.highest[i, j] = inner.max()
        self.unseen[i, j], self.pending[i, j] = 0.0, remaining > 1
        for (x, y), line in (
            ((i, j - 1), np.s_[:, 0]),
            ((i + 1, j), np.s_[-1]),
            ((i, j + 1), np.s_[:, -1]),
            ((i - 1, j), np.s_[0]),
        ):
            if 0 <= x < len(self.unseen) and 0 <= y < self.unseen.shape[1]:
                self.unseen[x, y] += self._in_tolerances(before[line], inner[line])
                self.pending[x, y] |= self.unseen[x, y] > 1

    def _at_edge(self, i: int, j: int) -> tuple[bool, bool, bool, bool]:
        """Return whether the block's left, lower, right and upper side is the map's edge."""
        last_row, last_column = (n - 1 for n in self.unseen.shape)
        return j == 0, i == last_row, j == last_column, i == 0

    def _in_tolerances(self, old: Float[np.ndarray, "*block"], new: Float[np.ndarray, "*block"]) -> float:
        """The largest change, in units of the tolerance; a change among values that count as 0 is none."""
        change = np.abs(new - old) * (np.maximum(new, old) >= self.SMALLEST)
        if self.tolerance is not None:
            return float(change.max()) / self.tolerance
        return float((change / (ROUNDING * np.maximum(new, self.SMALLEST))).max())

    def change(self) -> float:
        """The largest change of a value in one more sweep."""
        inner, best = self.worth[1:-1, 1:-1], self.discount * self.action_values().max(-1)
        return float(np.abs((best - inner) * self.walkable).max())

    def action_values(self) -> Float[np.ndarray, "H W 4"]:
        """Q of left, down, right, up; 0 where an episode is over."""
        for frame, tiles in _edges(self.worth):
            frame[:] = tiles
        near, result = _neighbours(self.worth), np.empty((*self.walkable.shape, 4))
        for action in range(4):
            sides = near[action - 1] + near[(action + 1) % 4]
            result[..., action] = (self.rate * near[action] + (1 - self.rate) / 2 * sides) * self.walkable
        return result


def _neighbours(framed: Float[np.ndarray, "H+2 W+2"]) -> tuple[Float[np.ndarray, "H W"], ...]:
    """Each tile's left, lower, right and upper neighbour."""
    return framed[1:-1, :-2], framed[2:, 1:-1], framed[1:-1, 2:], framed[:-2, 1:-1]


def _edges(framed: Float[np.ndarray, "H+2 W+2"]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The frame's left, lower, right and upper side, each with the tiles beside it."""
    return (
        (framed[:, 0], framed[:, 1]),
        (framed[-1], framed[-2]),
        (framed[:, -1], framed[:, -2]),
        (framed[0], framed[1]),
    )
