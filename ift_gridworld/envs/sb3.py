"""Lakes for stable-baselines3: `vector.TabularVectorEnv` as one of its vector environments. Needs stable-baselines3.

from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecMonitor
from ift_gridworld.sb3 import TabularVecEnv

model = PPO("MlpPolicy", VecMonitor(TabularVecEnv(mdp, 64))).learn(100_000)

`VecMonitor` keeps account of episodes; without it PPO logs neither their rewards nor their lengths. An MDP whose `horizon` is
None (CliffWalking's) wants `max_episode_steps`, or the episodes of a policy that does not find the way never end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode
from jaxtyping import Bool, Float, Int
from stable_baselines3.common.vec_env import VecEnv

from ift_gridworld.envs.vector import TabularVectorEnv
from ift_gridworld.mdp import TabularMDP

__all__ = ["TabularVecEnv"]

Step = tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]


class TabularVecEnv(VecEnv):
    """`num_envs` environments that walk through the tables of one MDP, as stable-baselines3 wants them.

    An episode's last step returns the next one's start; where it ended stands in that environment's info as
    ``terminal_observation``, and ``TimeLimit.truncated`` says whether only the time was up.

    Args:
        mdp: the problem.
        num_envs: how many.
        options: `max_episode_steps` and `seed` of `TabularVectorEnv`.
    """

    def __init__(self, mdp: TabularMDP, num_envs: int, **options: Any) -> None:
        self.env = TabularVectorEnv(mdp, num_envs, autoreset_mode=AutoresetMode.SAME_STEP, **options)
        super().__init__(num_envs, self.env.single_observation_space, self.env.single_action_space)

    def reset(self) -> Int[np.ndarray, " B"]:
        states, _ = self.env.reset(seed=self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        return states

    def step_async(self, actions: Int[np.ndarray, " B"]) -> None:
        self._actions = actions

    def step_wait(self) -> Step:
        states, reward, ended, cut, info = self.env.step(self._actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        over: Bool[np.ndarray, " B"] = ended | cut
        for i in np.flatnonzero(over):
            infos[i] = {
                "terminal_observation": info["final_obs"][i],
                "TimeLimit.truncated": bool(cut[i] and not ended[i]),
            }
        pay: Float[np.ndarray, " B"] = reward.astype(np.float32)
        return states, pay, over, infos

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.env, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise ValueError(
            f"{attr_name} cannot be set for one environment: all are rows of one table and have nothing of their own"
        )

    def env_method(self, method_name: str, *arguments: Any, indices: Any = None, **options: Any) -> list[Any]:
        raise ValueError(f"{method_name} cannot be called of one environment: all are rows of one table and do nothing alone")

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: Any) -> Sequence[int]:
        chosen = list(self._get_indices(indices))
        if not all(-self.num_envs <= i < self.num_envs for i in chosen):
            raise IndexError(f"indices are {chosen}; allowed: {-self.num_envs} to {self.num_envs - 1}")
        return chosen
