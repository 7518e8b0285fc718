"""Stepping and building environments, against Gymnasium."""

from __future__ import annotations

import time
from collections.abc import Callable

import gymnasium
import numpy as np
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv

from benchmarks.comparison import Comparison, compare, measure_alone, seconds
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.envs.vector import TabularVectorEnv
from ift_gridworld.mdp import TabularMDP

__all__ = ["building", "stepping", "steps_per_second"]


def steps_per_second(step: Callable[[np.ndarray], object], count: int, least: float = 0.3) -> float:
    """Return million steps a second of `count` environments, under random actions that are drawn before the clock starts."""
    actions = np.random.default_rng(0).integers(0, 4, (64, count))
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < least:
        for chosen in actions:
            step(chosen)
        done += actions.size
    return done / (time.perf_counter() - began) / 1e6


def our_stepping(is_slippery: bool, count: int) -> float:
    """Return million steps a second of our vector environment."""
    env = TabularVectorEnv(TabularMDP.from_map(LAKES["4x4"], is_slippery=is_slippery), count, seed=0)
    env.reset()
    return steps_per_second(env.step, count)


def gymnasium_stepping(is_slippery: bool, count: int = 0) -> float:
    """Return those of Gymnasium's single environment, reset when an episode is over, or of its vector of `count`, if any."""
    if count:
        many = gymnasium.make_vec("FrozenLake-v1", count, vectorization_mode="sync", is_slippery=is_slippery)
        many.reset(seed=0)
        return steps_per_second(many.step, count)
    return single_stepping("FrozenLake-v1", is_slippery)


def single_stepping(name: str, is_slippery: bool) -> float:
    """Return those of one environment as `gymnasium.make` makes it, reset when an episode is over."""
    env = gymnasium.make(name, is_slippery=is_slippery, disable_env_checker=True)
    env.reset(seed=0)

    def step(action: np.ndarray) -> None:
        _, _, ended, cut, _ = env.step(int(action[0]))
        if ended or cut:
            env.reset()

    return steps_per_second(step, 1)


def stepping(pairs: int) -> list[Callable[[], Comparison]]:
    """Million steps a second on 4x4, resets and time limits included; Gymnasium's vector as make_vec makes it, with its
    checks."""

    def of(dynamics: str, count: int, peers: int) -> Callable[[], Comparison]:
        slippery = dynamics == "slippery"
        single = f"gymnasium, sync vector of {peers}" if peers else "gymnasium, one environment"
        return lambda: compare(
            f"steps, {dynamics}, B = {count:,}", single,
            lambda: our_stepping(slippery, count), lambda: gymnasium_stepping(slippery, peers), "M steps/s", pairs,
        )  # fmt: skip

    def alone(dynamics: str) -> Callable[[], Comparison]:
        slippery = dynamics == "slippery"
        return lambda: compare(
            f"steps, {dynamics}, one environment", "gymnasium, one environment",
            lambda: single_stepping("ift_gridworld/FrozenLake-v0", slippery), lambda: gymnasium_stepping(slippery),
            "M steps/s", pairs,
        )  # fmt: skip

    counts = ((1, 0), (1024, 0), (65_536, 0), (1, 1), (1024, 1024))
    rows = [of(dynamics, count, peers) for dynamics in ("firm", "slippery") for count, peers in counts]
    return [alone("firm"), alone("slippery"), *rows]


def building(pairs: int) -> list[Callable[[], Comparison]]:
    """Compare making arrays from the letters of a map. Ours takes three times as long at first, in new memory."""

    def theirs(rows: tuple[str, ...]) -> None:
        table = FrozenLakeEnv(desc=list(rows), is_slippery=True).P
        # As arrays: the outcomes of all states and actions, one after the other.
        np.array([outcome for actions in table.values() for outcomes in actions.values() for outcome in outcomes])

    def ours(rows: tuple[str, ...]) -> float:
        return seconds(lambda: TabularMDP.from_map(rows, is_slippery=True))

    small, large = random_map(300, seed=0), random_map(1000, seed=0)
    return [
        lambda: compare(
            "arrays of 300x300, slippery", "FrozenLakeEnv, its table read",
            lambda: ours(small), lambda: seconds(lambda: theirs(small)), "s", 3 * pairs,
        ),
        lambda: measure_alone("arrays of 1000x1000, slippery", lambda: ours(large), "s", min(pairs, 3)),
    ]  # fmt: skip
