"""One environment that walks through the tables of any MDP."""

from __future__ import annotations

from typing import Any

from gymnasium.spaces import Discrete

from ift_gridworld.checks import check_mdp, check_whole
from ift_gridworld.envs.lookup import LookUp, Outcome
from ift_gridworld.mdp import TabularMDP

__all__ = ["TabularEnv"]


class TabularEnv(LookUp):
    """One environment that walks through the tables of an MDP, as `TabularVectorEnv` does with many.

    ``gymnasium.make("ift_gridworld/Tabular-v0", mdp=mdp)`` makes the same. Its `mdp` is the one given, with map and names;
    `TabularMDP.from_env` reads the tables alone.

    Args:
        mdp: the problem.
        max_episode_steps: steps after which an episode is cut off (default: the MDP's own; 0 for never).

    Raises:
        ValueError: for what is no MDP, or a limit that is no whole number.

    Example:
        >>> from ift_gridworld import TabularMDP
        >>> env = TabularEnv(TabularMDP.make("two-paths"))
        >>> env.reset(seed=0)[0], env.step(2)[:3]
        (0, (1, 0.0, False))
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(self, mdp: TabularMDP, *, max_episode_steps: int | None = None) -> None:
        check_mdp(mdp)
        self.mdp = mdp
        limit = (mdp.horizon or 0) if max_episode_steps is None else max_episode_steps
        self.limit = check_whole("max_episode_steps", limit, at_least=0)
        self.observation_space, self.action_space = Discrete(mdp.num_states), Discrete(mdp.num_actions)
        self.initial_state_distrib = mdp.start
        self._number = 0

    @property
    def P(self) -> dict[int, dict[int, list[Outcome]]]:
        """The transition table as Gymnasium's toy text has it, made anew."""
        states, actions = range(self.mdp.num_states), range(self.mdp.num_actions)
        return {state: {action: self._outcomes(state, action) for action in actions} for state in states}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        self._number = 0
        return super().reset(seed=seed, options=options)

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        state, reward, ended, _, info = super().step(action)
        self._number += 1
        return state, reward, ended, 0 < self.limit <= self._number, info

    def _outcomes(self, state: int, action: int) -> list[Outcome]:
        if action not in range(self.mdp.num_actions):
            raise KeyError(action)
        arrays = (self.mdp.probability, self.mdp.next_state, self.mdp.reward, self.mdp.terminated)
        columns = (array[state, action].tolist() for array in arrays)
        return [outcome for outcome in zip(*columns, strict=True) if outcome[0] > 0]
