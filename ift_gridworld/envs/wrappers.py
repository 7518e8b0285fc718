"""Gymnasium wrappers around an environment: the time limit that they set, and those that its transition table does not know.

A table is read from the innermost environment, so a wrapper that changes observations, rewards, actions or dynamics would be
ignored. Those are refused; wrappers that record, check, draw, reset or limit time are accepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gymnasium import Wrapper, wrappers

from ift_gridworld.envs.lookup import LookUp

__all__ = ["check_wrappers", "time_limit_of"]

# They override `step` and `reset`, but episodes stay what the table says.
HARMLESS = (
    wrappers.Autoreset,
    wrappers.HumanRendering,
    wrappers.OrderEnforcing,
    wrappers.PassiveEnvChecker,
    wrappers.RecordEpisodeStatistics,
    wrappers.RecordVideo,
    wrappers.RenderCollection,
    wrappers.TimeLimit,
)


def _chain(env: Any) -> Iterator[Any]:
    """The wrappers of an environment, from the outermost inwards."""
    inner = getattr(env, "unwrapped", env)
    while env is not inner and hasattr(env, "env"):
        yield env
        env = env.env


def time_limit_of(env: Any) -> int | None:
    """Return the number of steps after which an episode is truncated: the least limit of all wrappers; None for no limit.

    Example:
        >>> import gymnasium
        >>> from gymnasium.wrappers import TimeLimit
        >>> time_limit_of(TimeLimit(gymnasium.make("FrozenLake-v1"), 500))  # Gymnasium's own limit of 100 lies inside
        100
    """
    # The wrapper's own attribute: its `spec` is None around an environment without one.
    limits: list[int | None] = [
        wrapper._max_episode_steps for wrapper in _chain(env) if isinstance(wrapper, wrappers.TimeLimit)
    ]
    inner = getattr(env, "unwrapped", env)
    if isinstance(inner, LookUp):
        limits.append(inner.limit or None)
    limits.append(getattr(getattr(inner, "spec", None), "max_episode_steps", None))
    return min((limit for limit in limits if limit is not None), default=None)


def check_wrappers(env: Any) -> None:
    """Refuse wrappers of which the transition table knows nothing.

    A class outside `HARMLESS` is judged by its methods: it is accepted if it overrides neither `step` nor `reset`.

    Raises:
        ValueError: naming the wrapper, and the method that it overrides.
    """
    limited = False
    for wrapper in _chain(env):
        name = type(wrapper).__name__
        for method in ("step", "reset"):
            owner = next(base for base in type(wrapper).__mro__ if method in vars(base))
            if owner not in (Wrapper, *HARMLESS):
                raise ValueError(
                    f"wrapper {name} overrides {method}, which the environment's transition table P does not know; allowed: "
                    f"wrappers that leave step and reset alone, and {', '.join(kind.__name__ for kind in HARMLESS)}; "
                    "pass env.unwrapped to read the environment without its wrappers"
                )
        if limited and isinstance(wrapper, wrappers.Autoreset):
            raise ValueError("TimeLimit stands outside Autoreset and counts the steps of all episodes; put it inside Autoreset")
        limited |= isinstance(wrapper, wrappers.TimeLimit)
