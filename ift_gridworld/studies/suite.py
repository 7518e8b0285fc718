"""The suite of environments whose optimal policy is known: a picture of each optimum, and a page on what each is for.

Everything is computed here, exactly: no method is trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb
from pathlib import Path

import numpy as np

from ift_gridworld.envs.maps import LAKES, Rows
from ift_gridworld.envs.registry import make_env
from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import (
    episodes_within,
    evaluate_policy,
    occupancy,
    optimal_policy,
    optimal_success,
    success_probability,
)
from ift_gridworld.rendering.pictures import still_of
from ift_gridworld.storage import write_atomically
from ift_gridworld.studies.lakes import DYNAMICS

__all__ = ["ENVIRONMENTS", "Optimum", "SuiteEnvironment", "bridge_flip", "draw_suite", "optimum", "readme"]


@dataclass(frozen=True)
class SuiteEnvironment:
    """An environment of the suite.

    Attributes:
        map: its name, as --map takes it.
        title: a few words.
        teaches: the point that it illustrates; {braces} are filled in with numbers (`numbers`).
        seed: of a random map.
    """

    map: str
    title: str
    teaches: str
    seed: int = 0

    @property
    def name(self) -> str:
        return self.map.partition("-v")[0].lower()

    @property
    def arguments(self) -> str:
        """Options of frozen_lake.py that choose the environment."""
        return f"--map {self.map}" + (f" --map-seed {self.seed}" if self.seed else "")

    def dynamics_name(self, dynamics: str) -> str:
        """Return the name of these dynamics in this environment."""
        return {"deterministic": "dry", "slippery": "rain"}[dynamics] if self.map.startswith("Taxi") else dynamics

    def mdp(self, dynamics: str) -> TabularMDP:
        """Return its MDP."""
        return TabularMDP.from_env(make_env(self.map, seed=self.seed, is_slippery=dynamics == "slippery"))


ENVIRONMENTS = (
    SuiteEnvironment(
        "two-paths",
        "Two ways to the goal, one shorter",
        "A small environment in which preferences matter: both paths reach the goal, and only the discount makes 5 steps "
        "better than 7. A method that makes the second path unlikely does so for lack of data on it, not because it is wrong.",
    ),
    SuiteEnvironment(
        "4x4",
        "FrozenLake, four by four",
        "On the deterministic lake the best way is easy to see; on the slippery one the best policy walks into the wall on "
        "purpose, because from there it cannot slip into a hole. A demonstrated move is therefore an answer to a risk, not a "
        "direction, and a policy that copies the move without the risk copies the wrong thing.",
    ),
    SuiteEnvironment(
        "8x8",
        "FrozenLake, eight by eight",
        "Long enough for the time limit to matter: on the slippery lake the policy that is optimal for the discount reaches "
        "the goal in time with probability {success}, a policy that knows how much time is left with {best}. Name the "
        "objective for which a policy is optimal before you measure the distance to it.",
    ),
    SuiteEnvironment(
        "20x20",
        "A random lake of any size",
        "One demonstration visits {shown} of {tiles} tiles, so a method has no data on nearly all tiles. Its behaviour there "
        "is generalisation, and can be measured.",
        seed=2,
    ),
    SuiteEnvironment(
        "open",
        "No holes, no wrong way forward",
        "All {ways} shortest paths are equally good, and a demonstration is one of them. A perfect imitator of it always "
        "succeeds, and yet is {gap} away from the optimal policy, which shares ties, on every tile where two moves are best: a "
        "distance above 0 alone is no failure.",
    ),
    SuiteEnvironment(
        "bridge",
        "A risky short way and a safe long one",
        "At success rates of {flip} and above the bridge is the best way, at lower ones the land is: the right answer depends "
        "on the dynamics, not on the human. A policy that learned the bridge on the deterministic lake reaches the goal with "
        "probability {crossed} on the slippery one, where {best} is possible.",
    ),
    SuiteEnvironment(
        "CliffWalking-v1",
        "A reward for every step, a price for every fall",
        "A fall sends the agent back to the start, and there is no time limit: a policy that gives every move some probability "
        "arrives in the end, so success says little here, and the return says all. Compare returns, not arrivals. The optimal "
        "policy of the deterministic version walks along the edge; where moves slip, its return is {cost}, and {worth} is "
        "possible.",
    ),
    SuiteEnvironment(
        "Taxi-v4",
        "A task in parts, with 300 starts",
        "A policy has to fetch, carry and deliver, and the right move on a tile depends on where the passenger waits and wants "
        "to go. A few demonstrations cover a few of 300 starts: this environment tests answers to prompts that no "
        "demonstration began with.",
    ),
)


@dataclass(frozen=True)
class Optimum:
    """Performance of the optimal policy for a discount of 0.99.

    Attributes:
        value: its expected discounted return from the start.
        success: its probability of arriving in time.
        best_success: the highest of any policy.
        steps: its mean number of steps, until the time limit at most.
        transferred_value, transferred_success: return and success here of the policy that is optimal without slip.
    """

    value: float
    success: float
    best_success: float
    steps: float
    transferred_value: float
    transferred_success: float


def optimum(mdp: TabularMDP, deterministic: TabularMDP) -> Optimum:
    """Evaluate an environment's optimal policy, and the one that is optimal in its deterministic version."""
    best, transferred = optimal_policy(mdp), optimal_policy(deterministic)
    walked = (
        occupancy(mdp, best, discount=1.0) * ~mdp.terminal
        if mdp.horizon is None
        else episodes_within(mdp, best, mdp.horizon)[0]
    )
    return Optimum(
        value=float(evaluate_policy(mdp, best) @ mdp.start),
        success=float(success_probability(mdp, best, mdp.horizon)),
        best_success=optimal_success(mdp, mdp.horizon),
        steps=float(walked.sum()),
        transferred_value=float(evaluate_policy(mdp, transferred) @ mdp.start),
        transferred_success=float(success_probability(mdp, transferred, mdp.horizon)),
    )


def bridge_flip(rows: Rows = LAKES["bridge"], digits: int = 4) -> float:
    """Return the success rate, rounded up, from which on the bridge is the optimal way and below which the land is."""
    start, right = "".join(rows).index("S"), LAKE_ACTIONS.index("right")
    low, high = 0, 10**digits
    while high - low > 1:
        middle = (low + high) // 2
        best = optimal_policy(TabularMDP.from_map(rows, is_slippery=True, success_rate=middle / 10**digits))
        low, high = (low, middle) if best[start, right] > 0.5 else (middle, high)
    return high / 10**digits


def numbers() -> dict[str, dict[str, str]]:
    """Return the numbers that fill the braces of each environment's words."""
    lake, random = _environment("8x8").mdp("slippery"), _environment("20x20").mdp("deterministic")
    bridge, cliff = (
        optimum(environment.mdp("slippery"), environment.mdp("deterministic"))
        for environment in map(_environment, ("bridge", "CliffWalking-v1"))
    )
    side = len(LAKES["open"]) - 1  # steps down, and as many to the right
    tie, choice = np.array([0.5, 0.5, 0.0, 0.0]), np.array([1.0, 0.0, 0.0, 0.0])
    return {
        "8x8": {
            "success": f"{success_probability(lake, optimal_policy(lake), lake.horizon):.3f}",
            "best": f"{optimal_success(lake, lake.horizon):.3f}",
        },
        "20x20": {
            "shown": f"{episodes_within(random, optimal_policy(random), random.horizon or 0)[0].sum():.0f}",
            "tiles": str(int((~random.terminal).sum())),
        },
        "open": {"ways": str(comb(2 * side, side)), "gap": f"{np.mean((tie - choice) ** 2):g}"},
        "bridge": {
            "flip": f"{bridge_flip():.4f}",
            "crossed": f"{bridge.transferred_success:.4f}",
            "best": f"{bridge.best_success:.3f}",
        },
        "CliffWalking-v1": {"cost": f"{cliff.transferred_value:.0f}", "worth": f"{cliff.value:.0f}"},
    }


def _environment(name: str) -> SuiteEnvironment:
    return next(environment for environment in ENVIRONMENTS if environment.map == name)


def readme() -> str:
    """Return the suite's page."""
    filled = numbers()
    lines = [
        "# The suite",
        "",
        "Environments whose optimal policy is known, each for a different point. The name of each is a value of `--map` and",
        "of `make_env`. With `--slippery` moves slip: they go as intended with a success rate of 1/3, or `--success-rate`",
        "(CliffWalking's is always 1/3, and a taxi's moves go as intended with 0.8 when it rains). two-paths (from 3),",
        "bridge (from 5), open and random lakes (from 2) take a `--size`. The pictures show the optimal policy for a discount",
        "of 0.99: arrows for its moves, blue for the visits of an episode to a tile; small tiles have one arrow, which is",
        "short where other moves are as good. The taxi's shows one route large, and the return from all starts as a table.",
        "`python experiments/suite.py --publish` draws and computes all of this page.",
        "",
        "| environment | dynamics | return | success | best success | steps | deterministic optimum: return | success |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for environment in ENVIRONMENTS:
        for dynamics in DYNAMICS:
            best = optimum(environment.mdp(dynamics), environment.mdp("deterministic"))
            slips = dynamics == "slippery"
            cells = ["`--slippery`" if slips else f"`{environment.arguments}`", environment.dynamics_name(dynamics)]
            cells += [f"{best.value:.3f}", f"{best.success:.3f}", f"{best.best_success:.3f}", f"{best.steps:.1f}"]
            cells += [f"{best.transferred_value:.3f}", f"{best.transferred_success:.3f}"] if slips else ["", ""]
            lines.append(f"| {' | '.join(cells)} |")
    lines += [
        "",
        "Return is the optimal policy's expected discounted return from the start, success its probability of arriving in",
        "time (CliffWalking has no time limit), steps the mean number of steps until it arrives, falls, or runs out of time.",
        "Best success is the highest of any policy, which may know how much time is left. The last two columns show a limit",
        "of imitation: return and success, where moves slip, of the policy that is optimal in the deterministic version.",
    ]
    for environment in ENVIRONMENTS:
        title, words = environment.title, environment.teaches.format(**filled.get(environment.map, {}))
        lines += ["", f"## {title}", "", f"`{environment.arguments}`", "", words, "", f"![{title}]({environment.name}.png)"]
    return "\n".join(lines) + "\n"


def draw_suite(folder: Path, theme: str, report: Callable[[int, int], None]) -> None:
    """Write NAME.png of every environment, its words, and README.md.

    Args:
        folder: where.
        theme: a name in THEMES.
        report: called with (pictures done, pictures in all).
    """
    for done, environment in enumerate(ENVIRONMENTS, 1):
        mdps = {environment.dynamics_name(dynamics): environment.mdp(dynamics) for dynamics in DYNAMICS}
        still = still_of(f"{environment.title} ({environment.map})", mdps, theme)
        still.save(folder / f"{environment.name}.png")
        report(done, len(ENVIRONMENTS))
    write_atomically(folder / "README.md", readme().encode())
