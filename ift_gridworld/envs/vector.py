"""Many copies of one finite MDP at once, as a Gymnasium vector environment: a step is a look-up in a table.

All that can follow an action is known, so that nothing has to be simulated. What is folded into the tables:

- Between two episodes there is a state of its own, number S. With resets in the next step whatever is done there leads to a
  start; with resets in the same step it is a start. So a reset is a step like any other, and an episode is over where it led
  to S.
- Chances that are multiples of 1/n (slippery lakes: thirds) are n successors that are equally likely, and one draw picks among
  them. Other chances are compared with their running sums.
- An environment is kept as the place of its state's entries in the tables, to which action and draw are added.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Bool, Float, Int

from ift_gridworld.checks import check_mdp, check_whole
from ift_gridworld.envs.lake_env import LakeEnv
from ift_gridworld.envs.maps import time_limit
from ift_gridworld.envs.tables import keep_at_hand
from ift_gridworld.mdp import TabularMDP

__all__ = ["TabularVectorEnv", "equal_slots", "make_vector"]

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
            ``info["final_obs"]`` where ``info["_final_obs"]`` is true (as stable-baselines3 has it). It is an array of states,
            where Gymnasium's is one of objects; wrappers that make something else of observations want NEXT_STEP.

    Made by `gymnasium.make_vec`, its ``spec`` names the limit of the id's own map; `limit` is the one in force.

    Infos have no ``prob``, the chance of what came, which those of Gymnasium's single environments have; so ``final_info`` is
    empty. Before the first `reset` all environments stand on starts, and may be stepped.

    Raises:
        ValueError: for a value that is not allowed, by its name.
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
        check_mdp(mdp)
        self.mdp, self.num_envs = mdp, check_whole("num_envs", num_envs, at_least=1)
        limit = (mdp.horizon or 0) if max_episode_steps is None else max_episode_steps
        self.limit = check_whole("max_episode_steps", limit, at_least=0)
        allowed = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP
        mode = next((mode for mode in allowed if autoreset_mode in (mode, mode.name, mode.value)), None)
        if mode is None:
            raise ValueError(f"autoreset_mode is {autoreset_mode!r}; allowed: NEXT_STEP, SAME_STEP")
        self.metadata = {"render_modes": [], "autoreset_mode": mode}
        self.single_observation_space = Discrete(mdp.num_states)
        self.single_action_space = Discrete(mdp.num_actions)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._same_step = mode is AutoresetMode.SAME_STEP
        self._starts = np.flatnonzero(mdp.start)
        self._start_chance = mdp.start[self._starts].cumsum()
        self._tabulate()
        self._row, self._index = np.zeros(num_envs, np.int64), np.zeros(num_envs, np.int64)
        # Which step of its episode each environment takes next; the step that begins an episode is number 0.
        self._number = np.ones(num_envs, np.uint32)
        keep_at_hand(64 * num_envs)  # every step makes new arrays
        self._seed(seed)
        # These starts are not drawn from the generator, or `reset()` would not do what `reset(seed=seed)` does.
        self._row += self._stride * self._draw_starts(num_envs, self.np_random.spawn(1)[0])

    def _seed(self, seed: int | None) -> None:
        seed = None if seed is None else check_whole("seed", seed, at_least=0)
        self._np_random, self._np_random_seed = seeding.np_random(seed)
        if self._draws:
            self._draws.forget()

    @property
    def np_random(self) -> np.random.Generator:
        """Generator of everything that is drawn; may be set."""
        return super().np_random

    @np_random.setter
    def np_random(self, generator: np.random.Generator) -> None:
        self._np_random, self._np_random_seed = generator, -1  # as Gymnasium has it: from no seed that is known
        if self._draws:
            self._draws.forget()

    def _tabulate(self) -> None:
        """Tabulate each outcome's row in the tables, its observation and its reward, by [state, slot, action] laid flat."""
        mdp, start = self.mdp, self._starts[0]
        outcomes = [mdp.next_state.astype(np.int64), mdp.reward, mdp.terminated]  # observations are of 64 bits
        equal = equal_slots(mdp.probability)
        self._draws = _EqualDraws(equal, mdp.num_actions, self.num_envs) if equal > 1 else None
        if equal:
            slot = _spread(mdp.probability, equal)
            outcomes = [np.take_along_axis(x, slot, -1) for x in outcomes]
        else:
            until = mdp.probability.cumsum(-1)
            outcomes.append(np.where(until < 1 - 1e-9, until, 1.0))  # rounding must leave no gap above the last
        # The state between two episodes acts like a start …
        landed, reward, over, *bounds = (np.concatenate([x, x[[start]]]).swapaxes(1, 2) for x in outcomes)
        if not self._same_step:  # … or leads to one.
            landed[-1], reward[-1], over[-1] = start, 0.0, False
        self._slots = landed.shape[1]
        self._stride = self._slots * mdp.num_actions
        self._between = mdp.num_states * self._stride
        self._following = np.where(over, self._between, landed * self._stride).ravel()
        self._landed, self._reward = landed.ravel(), reward.ravel()
        self._seen = np.where(over, start, landed).ravel() if self._same_step else self._landed
        self._until = bounds[0].ravel() if bounds else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Int[np.ndarray, " B"], dict[str, Any]]:
        """Reset all environments, or some of them.

        Args:
            seed: from which all environments draw from now on.
            options: ``reset_mask``, bool [num_envs]: which environments begin anew; the others stay where they are. Other
                options are ignored.

        Raises:
            ValueError: for a seed that is no whole number, a mask of another kind or shape.
        """
        which = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        if which.shape != (self.num_envs,) or which.dtype != bool:
            raise ValueError(f"reset_mask is {which.dtype} {which.shape}; allowed: bool ({self.num_envs},)")
        if seed is not None:
            self._seed(seed)
        between = self._row == self._between  # what is seen there is what the last step led to
        seen = np.where(between, self._seen.take(self._index), self._row // self._stride)
        self._number[which] = 1
        self._start_anew(which, seen)
        return seen, {}

    def _draw_starts(self, count: int, random: np.random.Generator) -> Int[np.ndarray, " count"]:
        if len(self._starts) == 1:
            return np.full(count, self._starts[0])
        draw = random.random(count) * self._start_chance[-1]
        return self._starts[np.searchsorted(self._start_chance, draw, side="right")]

    def step(self, actions: Int[np.ndarray, " B"]) -> Step:
        """One step of each: observations, rewards, terminations, truncations, info; new arrays each time.

        Raises:
            ValueError: for actions that the MDP does not have, or not one for each environment.
        """
        index = self._outcome(actions)
        # No index is out of range; and only with another mode than "raise" does `take` write into `out` without a copy.
        seen, reward = self._seen.take(index, mode="clip"), self._reward.take(index, mode="clip")
        self._following.take(index, out=self._row, mode="clip")
        ended = self._row == self._between
        # As with Gymnasium's own time limit an episode may also be cut in the very step in which it ends.
        cut = self._number == self.limit if self.limit else np.zeros(self.num_envs, bool)
        over = ended | cut
        if self._same_step:
            self._number *= ~over
            self._number += 1
            self._start_anew(cut if len(self._starts) == 1 else over, seen)
            if not over.any():
                return seen, reward, ended, cut, {}
            landed = self._landed.take(index, mode="clip")
            return seen, reward, ended, cut, {"final_obs": landed, "_final_obs": over, "final_info": {}, "_final_info": over}
        self._number += 1
        self._number *= ~over
        if len(self._starts) > 1:
            self._start_anew(index >= self._between, seen)
        self._row[np.flatnonzero(cut)] = self._between
        return seen, reward, ended, cut, {}

    def _outcome(self, actions: Int[np.ndarray, " B"]) -> Int[np.ndarray, " B"]:
        """Return the index in the tables of the outcome of each environment's action."""
        actions, count = np.asarray(actions), self.mdp.num_actions
        if actions.shape != (self.num_envs,) or actions.dtype.kind not in "iu":
            raise ValueError(f"actions are {actions.dtype} {actions.shape}; allowed: whole numbers ({self.num_envs},)")
        if actions.astype(np.int64, copy=False).view(np.uint64).max() >= count:  # below 0 is far above
            raise ValueError(f"actions are from {actions.min()} to {actions.max()}; allowed: 0 to {count - 1}")
        index = np.add(self._row, actions, out=self._index, casting="unsafe")
        if self._draws:
            index += self._draws.more(self.np_random)
        elif self._until is not None:
            draw = self.np_random.random(self.num_envs)
            for _ in range(self._slots - 1):
                index += count * (draw >= self._until.take(index))
        return index

    def _start_anew(self, which: Bool[np.ndarray, " B"], seen: Int[np.ndarray, " B"]) -> None:
        """Put these on starts, where they are seen."""
        places = np.flatnonzero(which)
        starts = self._draw_starts(len(places), self.np_random)
        seen[places], self._row[places] = starts, starts * self._stride


class _EqualDraws:
    """Whole numbers 0 … n - 1, all equally likely, times `scale`, `count` at a time, made ahead in blocks.

    A random 16-bit word below a multiple of n^k holds, modulo n^k, k independent digits to the base n; words above the
    largest multiple are passed over, or the low digits would come too often.
    """

    def __init__(self, n: int, scale: int, count: int) -> None:
        k = next(k for k in (8, 4, 2) if n**k <= 2**16)
        digits = scale * np.indices((n,) * k).reshape(k, -1).T
        self._digits = digits.astype(np.min_scalar_type(digits.max()), order="C")
        self._multiple = 2**16 // n**k * n**k
        self._count, self._words = count, max(2**14, 4 * count) // k
        self.forget()

    def forget(self) -> None:
        """Throw away what was made ahead."""
        self._made, self._used = self._digits[:0, 0], 0

    def more(self, random: np.random.Generator) -> Int[np.ndarray, " count"]:
        """Return the next `count` draws."""
        if self._used + self._count > len(self._made):
            self._made, self._used = self._block(random), 0
        self._used += self._count
        return self._made[self._used - self._count : self._used]

    def _block(self, random: np.random.Generator) -> Int[np.ndarray, " made"]:
        arrays: list[np.ndarray] = []
        while sum(map(len, arrays)) < self._count:
            words = random.integers(2**64 - 1, size=self._words // 4 + 1, dtype=np.uint64, endpoint=True).view(np.uint16)
            words = words[words < self._multiple] % np.uint32(len(self._digits))
            arrays.append(self._digits.take(words, axis=0).ravel())
        return np.concatenate(arrays)


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
    render_mode: None = None,
    **options: Any,
) -> TabularVectorEnv:
    """Make a vector environment of a lake, as `gymnasium.make_vec` does with ``vectorization_mode="vector_entry_point"``.

    Args:
        num_envs: number of environments.
        max_episode_steps: time limit (default: the map's own, `envs.maps.time_limit`).
        seed, autoreset_mode: as for `TabularVectorEnv`.
        render_mode: must be None.
        options: those of the single environment (`envs.lake_env.LakeEnv`).

    Raises:
        ValueError: for a value that is not allowed, by its name.

    >>> make_vector(3, map_name="4x4", is_slippery=False, seed=0).reset()[0].tolist()
    [0, 0, 0]
    """
    if render_mode is not None:
        raise ValueError(f"render_mode is {render_mode!r}; allowed: None, as many environments are not drawn")
    simple = set(options) <= {"desc", "is_slippery", "success_rate"} and options.get("desc") is not None
    if simple:  # without the single environment, whose own table takes seconds where a lake is large
        mdp = TabularMDP.from_map(options.pop("desc"), **{"is_slippery": True} | options)
    else:
        env = LakeEnv(**options)
        mdp = replace(TabularMDP.from_env(env), horizon=time_limit(env.desc))
    return TabularVectorEnv(mdp, num_envs, max_episode_steps=max_episode_steps, seed=seed, autoreset_mode=autoreset_mode)
