"""Paths of deterministic MDPs: the best one, and the best one that takes a wrong turn.

Both are what a demonstrator shows on a lake without slip. Searches go breadth first over arrays, a level at a time, so that
they also work on large lakes. Successors and ends are those of each action's only outcome.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.checks import check_mdp
from ift_gridworld.data.trajectories import replay
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import greedy, optimal_policy, optimal_values

__all__ = ["OptimalPaths", "best_path", "detour"]


def best_path(mdp: TabularMDP) -> list[int]:
    """Return the actions of the shortest optimal path of a deterministic MDP from its (first) start, the first of equal ones.

    Raises:
        ValueError: for what is not an MDP, or where the optimal policy never reaches a goal.

    Example:
        >>> best_path(TabularMDP.from_map(("SFFF", "FHHF", "FHHG", "FFFF")))  # left 0, down 1, right 2, up 3
        [2, 2, 2, 1, 1]
    """
    check_mdp(mdp)
    start = int(mdp.start.argmax())
    path = _shortest_path(mdp, start, np.arange(mdp.num_states) == start, optimal_policy(mdp) > 0)
    if path is None:
        raise ValueError("the optimal policy never reaches a goal, so there is no path to demonstrate")
    return path


def detour(mdp: TabularMDP) -> list[int]:
    """Return the actions of a sub-optimal path of a deterministic MDP: optimal to some state, one wrong turn, no turning back.

    From each state that optimal actions reach, each worse action is tried, with the shortest way to a goal that avoids all
    states walked so far. The path of highest return is kept, among equals the one that turns off first. Where no such path
    exists (a corridor) the first step is wasted and the optimal path follows.

    Raises:
        ValueError: for what is not an MDP, or where no sub-optimal path reaches a goal.

    Example:
        >>> detour(TabularMDP.from_map(("SFFF", "FHHF", "FHHG", "FFFF")))  # round the bottom instead of over the top
        [1, 1, 1, 2, 2, 2, 3]
    """
    check_mdp(mdp)
    action_value = optimal_values(mdp)[1]
    best = greedy(action_value) > 0
    start = int(mdp.start.argmax())
    path = _best_wrong_turn(mdp, OptimalPaths.of(mdp, best, start), best, action_value)
    if path is not None:
        return path
    wasted = np.flatnonzero(~best[start])
    if mdp.discount == 1 or not len(wasted):
        raise ValueError(
            f"with discount {mdp.discount:g} no way to the goal is worse than another here, so there is no sub-optimal one to "
            "demonstrate; allowed: a discount above 0 and below 1"
        )
    stays = [a for a in wasted if int(mdp.next_state[start, a, 0]) == start]
    if not stays:
        raise ValueError("this MDP has no sub-optimal path that reaches a goal")
    return [int(stays[0]), *best_path(mdp)]


@dataclass(frozen=True, eq=False)
class OptimalPaths:
    """The optimal paths from the start of a deterministic MDP, as edges (state before, state).

    Each edge occurs once, in the order in which a breadth-first search, first actions first, finds it. Two edges lead into one
    state where a wrong turn may lead back along one and not along the other; beyond it, the first is followed.

    Attributes:
        before, action, state: of each edge; the first edge is the start itself.
        steps: number of steps from the start to `state`.
        first: the edge by which each state was first entered, -1 for none.
    """

    before: Int[np.ndarray, " E"]
    action: Int[np.ndarray, " E"]
    state: Int[np.ndarray, " E"]
    steps: Int[np.ndarray, " E"]
    first: Int[np.ndarray, " S"]

    @classmethod
    def of(cls, mdp: TabularMDP, best: Bool[np.ndarray, "S A"], start: int) -> OptimalPaths:
        """Find them; `best` says which actions are optimal."""
        first = np.full(mdp.num_states, -1)
        goes_on = best & ~mdp.terminated[..., 0]
        goes_on[start] &= mdp.next_state[start, :, 0] != start
        level, levels = (np.array([start]), np.array([-1]), np.array([start])), []
        num_states = 0
        while len(level[2]):
            levels.append(level)
            entered = _first_occurrences(level[2])
            entered = entered[first[level[2][entered]] < 0]
            first[level[2][entered]] = num_states + entered
            num_states += len(level[2])
            here = level[2][entered]
            following = mdp.next_state[here, :, 0]
            row, action = np.nonzero(goes_on[here])
            reached = following[row, action]
            edges = _first_occurrences(row * mdp.num_states + reached)  # two actions may lead to one state
            level = here[row[edges]], action[edges], reached[edges]
        steps = np.repeat(np.arange(len(levels)), [len(state) for *_, state in levels])
        before, action, state = (np.concatenate(parts) for parts in zip(*levels, strict=True))
        return cls(before, action, state, steps, first)

    def path(self, edge: int) -> tuple[list[int], list[int]]:
        """Return the states along the path that ends with this edge, and the actions between them."""
        states, actions = [int(self.state[edge])], []
        for _ in range(self.steps[edge]):
            states.append(int(self.before[edge]))
            actions.append(int(self.action[edge]))
            edge = int(self.first[states[-1]])
        return states[::-1], actions[::-1]


def _best_wrong_turn(
    mdp: TabularMDP, paths: OptimalPaths, best: Bool[np.ndarray, "S A"], action_value: Float[np.ndarray, "S A"]
) -> list[int] | None:
    """Return the path of highest return with one wrong turn off an optimal path and no turning back; None if there is none.

    Turns are tried in the order of the return that would follow if one could go on from them freely, which bounds the return
    that does follow; a path that reaches the bound of the next turn ends the search.
    """
    edge, action = np.nonzero(~best[paths.state])
    turn = paths.state[edge], action
    # Ten digits: returns that are equal in truth differ in their last bits.
    bound = _rounded(mdp.discount ** paths.steps[edge] * action_value[turn])
    # Skip turns into holes, against the edge, and straight back, whatever the rest of the path.
    entered = mdp.next_state[..., 0][turn]
    stuck = mdp.terminated[..., 0][turn] | (entered == turn[0]) | (entered == paths.before[edge])
    tried = mdp.success[..., 0][turn] | ~stuck
    edge, action, bound = edge[tried], action[tried], bound[tried]
    order = np.lexsort((action, paths.state[edge], paths.before[edge], paths.steps[edge], -bound))
    highest: tuple[float, int, list[int]] = (-np.inf, 0, [])  # return, minus the steps before the turn, actions
    seen = np.zeros(mdp.num_states, bool)
    for i in order:
        steps = int(paths.steps[edge[i]])
        if (bound[i], -steps) <= highest[:2]:
            break
        states, actions = paths.path(int(edge[i]))
        here = states[-1], int(action[i])
        rest: list[int] | None = None
        if mdp.success[*here, 0]:
            rest = []
        elif int(mdp.next_state[*here, 0]) not in states:
            seen[:], seen[states] = False, True
            rest = _shortest_path(mdp, int(mdp.next_state[*here, 0]), seen)
        if rest is not None:
            actions = [*actions, here[1], *rest]
            score = float(_rounded(replay(mdp, actions, 1).returns(mdp.discount).numpy())[0])
            highest = max(highest, (score, -steps, actions), key=lambda candidate: candidate[:2])
    return highest[2] or None


def _shortest_path(
    mdp: TabularMDP, state: int, seen: Bool[np.ndarray, " S"], allowed: Bool[np.ndarray, "S A"] | None = None
) -> list[int] | None:
    """Return the actions of the shortest path from a state to a goal that enters no state in `seen`; None if there is none.

    Args:
        mdp: deterministic.
        state: where the path begins.
        seen: states that the path avoids; the search marks those that it reaches.
        allowed: which actions it may take (default: all).
    """
    seen[state] = True
    level, came = np.array([state]), list[tuple[np.ndarray, np.ndarray]]()
    while len(level):
        here, action = np.divmod(np.arange(level.size * mdp.num_actions), mdp.num_actions)
        if allowed is not None:
            possible = allowed[level].ravel()
            here, action = here[possible], action[possible]
        is_goal = mdp.success[level[here], action, 0]
        if is_goal.any():
            last = int(is_goal.argmax())
            row, actions = int(here[last]), [int(action[last])]
            for before, slot in reversed(came):
                actions.append(int(slot[row]))
                row = int(before[row])
            return actions[::-1]
        following = mdp.next_state[level[here], action, 0]
        new = np.flatnonzero(~(seen[following] | mdp.terminated[level[here], action, 0]))
        new = new[_first_occurrences(following[new])]
        came.append((here[new], action[new]))
        level = following[new]
        seen[level] = True
    return None


def _rounded(values: Float[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
    """Round to ten digits; each distinct number is rounded once."""
    distinct, index = np.unique(values, return_inverse=True)
    return np.array([float(f"{value:.9e}") for value in distinct])[index].reshape(values.shape)


def _first_occurrences(values: Int[np.ndarray, " X"]) -> Int[np.ndarray, " F"]:
    """Return where each distinct value stands first, in order."""
    return np.sort(np.unique(values, return_index=True)[1])
