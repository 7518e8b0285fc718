"""The suite of environments whose optimal policy is known: the optimum of each, drawn, and a page that says what each is for.

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

__all__ = ["DYNAMICS", "ENVIRONMENTS", "Optimum", "SuiteEnvironment", "bridge_flip", "draw_suite", "optimum", "readme"]

DYNAMICS = ("deterministic", "slippery")


@dataclass(frozen=True)
class SuiteEnvironment:
    """An environment of the suite.

    Attributes:
        map: its name, as --map takes it.
        title: in a few words.
        teaches: what it illustrates; {braces} are filled in with numbers (`numbers`).
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
        """The options of frozen_lake.py."""
        return f"--map {self.map}" + (f" --map-seed {self.seed}" if self.seed else "")

    def dynamics_name(self, dynamics: str) -> str:
        """Return what these dynamics are called here."""
        names = {"Taxi": ("dry", "rain"), "CliffWalking": ("firm ground", "slippery")}
        return names.get(self.map.partition("-v")[0], ("firm ice", "slippery ice"))[DYNAMICS.index(dynamics)]

    def mdp(self, dynamics: str) -> TabularMDP:
        """Return its MDP."""
        return TabularMDP.from_env(make_env(self.map, seed=self.seed, is_slippery=dynamics == "slippery"))


ENVIRONMENTS = (
    SuiteEnvironment(
        "two-paths",
        "Two ways to the gift, one shorter",
        "A small place where a preference means something: both ways arrive, and only the discount says that 5 steps are "
        "better than 7. Whatever a method does to the second way, it does for lack of data on it, not because it is wrong.",
    ),
    SuiteEnvironment(
        "4x4",
        "FrozenLake, four by four",
        "On firm ice a child finds the way; on slippery ice the best policy walks into the wall on purpose, because "
        "from there it cannot slip into a hole. A demonstrated move is therefore no direction but an answer to a risk, and who "
        "copies the move without the risk copies the wrong thing.",
    ),
    SuiteEnvironment(
        "8x8",
        "FrozenLake, eight by eight",
        "Long enough for the clock to matter: on slippery ice the policy that is optimal for the discount reaches the gift in "
        "time with {success}, one that watches the clock with {best}. Say for which goal a policy is optimal before you "
        "measure the distance to it.",
    ),
    SuiteEnvironment(
        "20x20",
        "A random lake of any size",
        "One demonstration visits {shown} of {tiles} tiles, so nearly all of what a method learns there it was never told. "
        "What happens on the other tiles is generalisation, and it can be counted.",
        seed=2,
    ),
    SuiteEnvironment(
        "open",
        "No holes, no wrong way forward",
        "All {ways} shortest ways are equally good, and a demonstration is one of them. A perfect imitator is perfectly "
        "successful and still, on every tile where two moves are best, {gap} away from the optimal policy that shares them: "
        "distance alone is no failure.",
    ),
    SuiteEnvironment(
        "bridge",
        "A risky short way and a safe long one",
        "From a success rate of {flip} on the bridge is the best way, below it the land is: the right answer depends on the "
        "world, not on the human. A policy that learned the bridge on firm ice reaches the gift with {crossed} on slippery "
        "ice, where {best} could have been had.",
    ),
    SuiteEnvironment(
        "CliffWalking-v1",
        "A reward for every step, a price for every fall",
        "Who falls starts again, and no clock runs: a policy that leaves no move out arrives some day, so success says little "
        "here and the return says all. Compare what a policy paid, not whether it got there. The firm optimum walks along the "
        "edge; where steps slip, its return is {cost}, and {worth} could have been had.",
    ),
    SuiteEnvironment(
        "Taxi-v4",
        "A task in parts, with 300 beginnings",
        "A policy has to fetch, carry and deliver, and what is right on a tile depends on who waits where. A few "
        "demonstrations show a few of 300 beginnings: here it shows who can answer what was never asked.",
    ),
)


@dataclass(frozen=True)
class Optimum:
    """Performance of the optimal policy for a discount of 0.99.

    Attributes:
        value: its expected discounted return from the start.
        success: its probability of arriving in time.
        best_success: the highest of any policy.
        steps: that it takes, on average and until the clock stops it.
        transferred_value, transferred_success: what the policy that is optimal without slip reaches here.
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
    """Return what fills the braces of each environment's words."""
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
        "Places whose optimal policy is known, and what each is for. Every one is a value of `--map` and a name for",
        "`make_env`; `--slippery` makes the ice slip, with a success rate of 1/3 unless `--success-rate` says otherwise",
        "(CliffWalking's is always 1/3, and the taxi's moves go as intended with 0.8 when it rains). two-paths (from 3),",
        "bridge (from 5), open and random lakes (from 2) take a `--size`. The pictures show the optimal policy for a discount",
        "of 0.99: arrows for its moves, blue for how often an episode visits a tile; on small tiles one arrow, which is short",
        "where other moves are as good. The taxi's shows one route large, and the return from all starts as a table.",
        "`python experiments/suite.py --publish` draws and computes all of this page.",
        "",
        "| place | ice | return | success | best success | steps | the firm optimum there: return | success |",
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
        "time (CliffWalking has no clock), steps what it takes until it arrives, falls, or runs out of time. Best success is",
        "the highest of any policy, one that watches the clock. The last two columns are the lesson of imitation: what the",
        "best policy of firm ice comes to where it slips.",
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
