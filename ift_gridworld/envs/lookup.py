"""Step and reset of one environment as look-ups: as in `vector.py`, nothing that can follow an action is simulated.

Gymnasium's toy text makes an array and its cumulative sum in each step. `LookUp` keeps the cumulative probabilities of a state
and an action from their first visit on, and finds the drawn outcome among them. It draws the same numbers from the same
generator, so that trajectories are Gymnasium's to the last step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

import gymnasium

__all__ = ["LookUp", "Outcome"]

Outcome = tuple[float, int, float, bool]  # probability, successor, reward, whether the episode ends
Draw = tuple[list[float], Sequence[Any]]  # cumulative probabilities of all values but the last, and the values


class LookUp(gymnasium.Env[Any, Any]):
    """`step` and `reset` of an environment with a table ``P[state][action]`` of outcomes and ``initial_state_distrib``.

    It stands before the environment's own class among the bases. As in Gymnasium's toy text the state is ``s``, the last
    action ``lastaction``, and ``info["prob"]`` the probability of the outcome. The table must not change after the first step.
    """

    P: Any
    initial_state_distrib: Any
    s: int
    lastaction: int | None
    limit = 0  # number of steps after which the environment itself cuts an episode off; 0 for never
    _starts: Draw | None = None
    _visited: dict[tuple[int, int], Draw] | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Begin an episode; return its first state.

        Args:
            seed: of everything that is drawn from now on.
            options: not used.
        """
        gymnasium.Env.reset(self, seed=seed)  # that of the class behind would draw a start, too
        if self._starts is None:
            chances = {state: float(chance) for state, chance in enumerate(self.initial_state_distrib) if chance}
            self._starts, self._visited = _draw(chances.values(), list(chances)), {}
        until, states = self._starts
        self.s, self.lastaction = states[bisect_right(until, self.np_random.random())], None
        if self.render_mode == "human":
            self.render()
        return self.s, {"prob": 1}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Draw what follows an action; return the state, the reward, whether the episode ended or was cut off, and ``prob``.

        Raises:
            KeyError: for an action that there is not.
        """
        assert self._visited is not None, "reset comes first"
        place = self.s, action
        known = self._visited.get(place)
        if known is None:
            outcomes = self._outcomes(*place)
            known = self._visited[place] = _draw((outcome[0] for outcome in outcomes), outcomes)
        until, outcomes = known
        probability, self.s, reward, ended = outcomes[bisect_right(until, self.np_random.random())]
        self.lastaction = action
        if self.render_mode == "human":
            self.render()
        return self.s, reward, ended, False, {"prob": probability}

    def _outcomes(self, state: int, action: int) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = self.P[state][action]
        return outcomes


def _draw(chances: Iterable[float], values: Sequence[Any]) -> Draw:
    """Return what `step` and `reset` look up; the last bound is left out, so that rounding leaves no gap below 1."""
    return list(accumulate(chances))[:-1], values
