"""Many copies of one finite MDP at once, as a Gymnasium vector environment: a step is a look-up in a table.

All that can follow an action is known, so that nothing has to be simulated. Two things are folded into the table:

- An episode that is over is a state of its own: s is "in s", S + s is "in s, and over". What follows S + s is a start, whatever
  the action. Gymnasium's resets in the next step are then successors like any other.
- Chances that are multiples of 1/n (slippery ice: thirds) are n successors that are equally likely, and one draw picks among
  them. Other chances are compared with their running sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Float, Int

from ift_gridworld.envs import LakeEnv
from ift_gridworld.mdp import TabularMDP

MOST_SLOTS = 32  # equally likely successors of an action, at most

Step = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]


class TabularVectorEnv(VectorEnv):
    """`num_envs` environments that walk through the tables of one MDP.

    Observations are states, actions the MDP's. Rewards, terminations and time limits are those of Gymnasium's own environment
    if the MDP was read from one; where nothing is left to chance so are the trajectories, else their distribution.

    Args:
        mdp: the problem.
        num_envs: how many.
        max_episode_steps: steps after which an episode is cut off (default: the MDP's own; 0 for never).
        seed: of all that is drawn, until `reset` is given another.
        autoreset_mode: NEXT_STEP: the step after an episode's last ignores its action and returns a start (Gymnasium's usual
            way). SAME_STEP: the last step returns the next episode's start, and where the last one ended stands in
            ``info["final_obs"]`` where ``info["_final_obs"]`` is true (as stable-baselines3 has it).
    """

    def __init__(
        self,
        mdp: TabularMDP,
        num_envs: int,
        *,
        max_episode_steps: int | None = None,
        seed: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs is {num_envs}; allowed: a whole number >= 1")
        if max_episode_steps is not None and max_episode_steps < 0:
            raise ValueError(f"max_episode_steps is {max_episode_steps}; allowed: a whole number >= 0, 0 for no limit")
        mode = AutoresetMode(autoreset_mode)
        if mode is AutoresetMode.DISABLED:
            raise ValueError(f"autoreset_mode is {mode}; allowed: NEXT_STEP, SAME_STEP")
        self.mdp, self.num_envs = mdp, num_envs
        self.limit = (mdp.horizon or 0) if max_episode_steps is None else max_episode_steps
        self.metadata = {"render_modes": [], "autoreset_mode": mode}
        self.single_observation_space = Discrete(mdp.num_states)
        self.single_action_space = Discrete(mdp.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._same_step = mode is AutoresetMode.SAME_STEP
        self._starts = np.flatnonzero(mdp.start)
        self._start_chance = mdp.start[self._starts].cumsum()
        self._tabulate()
        self._random = np.random.default_rng(seed)
        self._begin()

    def _tabulate(self) -> None:
        """Successor (S added where the episode is over) and reward of each outcome, a row a (state, action)."""
        mdp, states = self.mdp, self.mdp.num_states
        following, reward, chance = mdp.next_state + states * mdp.terminated, mdp.reward, mdp.probability
        self._bounds: Float[np.ndarray, "R K-1"] | None = None
        slots = equal_slots(chance)
        if slots:
            outcome = _spread(chance, slots)
            following, reward = (np.take_along_axis(x, outcome, -1) for x in (following, reward))
        else:
            slots = chance.shape[-1]
            self._bounds = np.concatenate([chance, np.ones_like(chance)]).cumsum(-1)[..., :-1].reshape(-1, slots - 1)
        self._slots = slots
        self._following = np.concatenate([following, np.full_like(following, self._starts[0])]).ravel()
        self._reward = np.concatenate([reward, np.zeros_like(reward)]).ravel()

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Int[np.ndarray, " B"], dict[str, Any]]:
        """All environments anew; one seed serves them all."""
        if isinstance(seed, list):
            raise ValueError(f"seed is a list of {len(seed)}; allowed: one number, from which all environments draw")
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self._begin()
        return self._state.copy(), {}

    def _begin(self) -> None:
        self._state = self._draw_starts(self.num_envs)
        self._clock, self._born = 0, np.zeros(self.num_envs, np.int64)  # when each episode began, by the clock of all
        self._over = np.zeros(0, np.int64)  # environments whose episode ended in the last step

    def _draw_starts(self, count: int) -> Int[np.ndarray, " count"]:
        if len(self._starts) == 1:
            return np.full(count, self._starts[0])
        draw = self._random.random(count) * self._start_chance[-1]
        return self._starts[np.searchsorted(self._start_chance, draw, side="right")]

    def step(self, actions: Int[np.ndarray, " B"]) -> Step:
        """One step of each: observations, rewards, terminations, truncations, info."""
        row = self._state * self.mdp.num_actions
        row += actions
        row = self._outcome(row)
        after, reward = self._following.take(row), self._reward.take(row)
        self._clock += 1
        if not self._same_step and len(self._over):
            self._born[self._over] = self._clock
            if len(self._starts) > 1:
                after[self._over] = self._draw_starts(len(self._over))
        ended = after >= self.mdp.num_states
        # As with Gymnasium's own clock an episode may also be cut in the very step in which it ends.
        cut = self._born <= self._clock - self.limit if self.limit else np.zeros(self.num_envs, bool)
        ends = np.flatnonzero(ended)
        seen = after.copy()
        seen[ends] -= self.mdp.num_states
        self._over = np.flatnonzero(ended | cut) if cut.any() else ends
        self._state = after
        if not self._same_step:
            self._state[self._over] = seen[self._over] + self.mdp.num_states
            return seen, reward, ended, cut, {}
        if not len(self._over):
            return seen, reward, ended, cut, {}
        self._born[self._over] = self._clock
        self._state[self._over] = self._draw_starts(len(self._over))
        return self._state.copy(), reward, ended, cut, {"final_obs": seen, "_final_obs": ended | cut}

    def _outcome(self, row: Int[np.ndarray, " B"]) -> Int[np.ndarray, " B"]:
        """Which outcome of each (state, action) happens."""
        if self._slots == 1:
            return row
        if self._bounds is None:
            drawn = self._random.integers(0, self._slots, len(row), dtype=np.uint8)
        else:
            drawn = (self._random.random((len(row), 1)) >= self._bounds[row]).sum(1)
        row *= self._slots
        row += drawn
        return row


def equal_slots(chance: Float[np.ndarray, "*batch K"]) -> int:
    """The least n of which all chances are multiples of 1/n; 0 if there is none up to `MOST_SLOTS`."""
    values = np.unique(chance)
    for n in range(1, MOST_SLOTS + 1):
        if np.abs(values * n - np.round(values * n)).max() < 1e-9:
            return n
    return 0


def _spread(chance: Float[np.ndarray, "*batch K"], slots: int) -> Int[np.ndarray, "*batch n"]:
    """The outcome that each of n equally likely slots stands for."""
    until = np.round(chance * slots).astype(int).cumsum(-1)
    return (np.arange(slots) >= until[..., None]).sum(-2)


def make_vector(
    num_envs: int,
    *,
    max_episode_steps: int | None = None,
    seed: int | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    **options: Any,
) -> TabularVectorEnv:
    """What `gymnasium.make_vec` calls for a lake; `options` are those of its single environment."""
    simple = set(options) <= {"desc", "is_slippery", "success_rate"} and options.get("desc") is not None
    if simple:  # without the single environment, whose own table takes seconds where a lake is large
        rows = ["".join(row) for row in options.pop("desc")]
        mdp = TabularMDP.from_map(rows, **{"is_slippery": True} | options)
    else:
        mdp = TabularMDP.from_env(LakeEnv(**options))
    return TabularVectorEnv(mdp, num_envs, max_episode_steps=max_episode_steps, seed=seed, autoreset_mode=autoreset_mode)
