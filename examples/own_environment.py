"""An environment of your own: a corridor with wind, drawn like a lake.

    python -m ift_gridworld lake --plugin examples/own_environment.py --map windy-corridor --method sft,ppo --render

Everything here is computed from transition tables, so an environment is a Gymnasium environment that has one, as all of
Gymnasium's toy text do: ``P[state][action]`` is a list of (probability, next state, reward, terminated).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Discrete

from ift_gridworld import register_environment

LENGTH = 7


class WindyCorridor(gymnasium.Env[Any, Any]):
    """Two lanes of tiles. Going right on the upper lane is blown down to the lower one with probability `wind`; the goal is at
    the end of the upper lane, and the lower lane ends nowhere."""

    def __init__(self, wind: float = 0.2) -> None:
        self.observation_space, self.action_space = Discrete(2 * LENGTH), Discrete(4)
        self.initial_state_distrib = np.eye(2 * LENGTH)[0]
        self.P = {state: {action: self._outcomes(state, action, wind) for action in range(4)} for state in range(2 * LENGTH)}

    def _outcomes(self, state: int, action: int, wind: float) -> list[tuple[float, int, float, bool]]:
        row, column = divmod(state, LENGTH)
        down, right = ((0, -1), (1, 0), (0, 1), (-1, 0))[action]  # left, down, right, up
        row, column = min(max(row + down, 0), 1), min(max(column + right, 0), LENGTH - 1)
        blown = row == 0 and right == 1 and column < LENGTH - 1
        ends = [(1 - wind, row), (wind, 1)] if blown else [(1.0, row)]
        goal = (0, LENGTH - 1)
        return [(p, r * LENGTH + column, float((r, column) == goal), (r, column) == goal) for p, r in ends]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Start at the left end of the upper lane."""
        super().reset(seed=seed)
        self.state = 0
        return self.state, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Draw what follows from the table."""
        outcomes = self.P[self.state][int(action)]
        chosen = self.np_random.choice(len(outcomes), p=[p for p, *_ in outcomes])
        _, self.state, reward, terminated = outcomes[chosen]
        return self.state, reward, terminated, False, {}


register_environment(
    "windy-corridor",
    WindyCorridor,
    layout=["S" + "F" * (LENGTH - 2) + "G", "F" * LENGTH],
    actions=("left", "down", "right", "up"),
    max_episode_steps=60,
)
