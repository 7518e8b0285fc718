"""Environments, solvers and PPO against Gymnasium, QuantEcon, mdpsolver, pymdptoolbox and stable-baselines3."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from benchmark_rows import Row, alone, compare, peak_memory, seconds
from jaxtyping import Bool, Float

from ift_gridworld.envs.maps import LAKES, open_lake, random_map
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_success, success_probability

# ---- stepping ----


def stepped(step: Callable[[np.ndarray], object], count: int, least: float = 0.3) -> float:
    """Million steps a second of `count` environments, under random actions that are drawn before the clock starts."""
    actions = np.random.default_rng(0).integers(0, 4, (64, count))
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < least:
        for chosen in actions:
            step(chosen)
        done += actions.size
    return done / (time.perf_counter() - began) / 1e6


def ours_stepping(is_slippery: bool, count: int) -> float:
    from ift_gridworld.envs.vector import TabularVectorEnv

    env = TabularVectorEnv(TabularMDP.from_map(LAKES["4x4"], is_slippery=is_slippery), count, seed=0)
    env.reset()
    return stepped(env.step, count)


def gymnasium_stepping(is_slippery: bool, count: int = 0) -> float:
    """Gymnasium's single environment if `count` is 0, reset when an episode is over; else its own vector of so many."""
    import gymnasium

    if count:
        many = gymnasium.make_vec("FrozenLake-v1", count, vectorization_mode="sync", is_slippery=is_slippery)
        many.reset(seed=0)
        return stepped(many.step, count)
    env = gymnasium.make("FrozenLake-v1", is_slippery=is_slippery, disable_env_checker=True)
    env.reset(seed=0)

    def step(action: np.ndarray) -> None:
        _, _, ended, cut, _ = env.step(int(action[0]))
        if ended or cut:
            env.reset()

    return stepped(step, 1)


def stepping(pairs: int) -> list[Callable[[], Row]]:
    """Million steps a second on 4x4, resets and time limits included; Gymnasium's vector as make_vec makes it, with its
    checks."""

    def of(ice: str, count: int, peers: int) -> Callable[[], Row]:
        slippery, single = ice == "slippery", f"gymnasium, sync vector of {peers}" if peers else "gymnasium, one environment"
        return lambda: compare(
            f"steps, {ice}, B = {count:,}", single,
            lambda: ours_stepping(slippery, count), lambda: gymnasium_stepping(slippery, peers), "M steps/s", pairs,
        )  # fmt: skip

    counts = ((1, 0), (1024, 0), (65_536, 0), (1, 1), (1024, 1024))
    return [of(ice, count, peers) for ice in ("firm", "slippery") for count, peers in counts]


# ---- building ----


def building(pairs: int) -> list[Callable[[], Row]]:
    """From the letters of a map to arrays. A process's first time takes us some three times as long, for memory is then new."""

    def gymnasiums(rows: tuple[str, ...]) -> None:
        from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv

        table = FrozenLakeEnv(desc=list(rows), is_slippery=True).P
        # As arrays: the outcomes of all states and actions, one after the other.
        np.array([outcome for actions in table.values() for outcomes in actions.values() for outcome in outcomes])

    def ours(rows: tuple[str, ...]) -> float:
        return seconds(lambda: TabularMDP.from_map(rows, is_slippery=True))

    small, large = random_map(300, seed=0), random_map(1000, seed=0)
    return [
        lambda: compare(
            "arrays of 300x300, slippery", "FrozenLakeEnv, its table read",
            lambda: ours(small), lambda: seconds(lambda: gymnasiums(small)), "s", 3 * pairs,
        ),
        lambda: alone("arrays of 1000x1000, slippery", lambda: ours(large), "s", min(pairs, 3)),
    ]  # fmt: skip


# ---- solving ----

ERROR = 1e-6

Values = Float[np.ndarray, " S"]
Solver = Callable[[], Values]


def ours_solver(mdp: TabularMDP, tolerance: float = ERROR) -> Solver:
    from ift_gridworld.planning import solve

    return lambda: solve(replace(mdp), tolerance=tolerance)[0]  # a new object, of which nothing is remembered


def transition_pairs(mdp: TabularMDP) -> Any:
    """P(s'|s, a) as a sparse matrix, a row a pair (s, a). Ends are states that absorb without reward, so they need no mark."""
    from scipy.sparse import csr_matrix

    states, actions, slots = mdp.next_state.shape
    rows = np.repeat(np.arange(states * actions), slots)
    used = mdp.probability.ravel() > 0
    entries = mdp.probability.ravel()[used], (rows[used], mdp.next_state.ravel()[used])
    return csr_matrix(entries, shape=(states * actions, states))


def quantecon_solver(mdp: TabularMDP) -> Solver:
    from quantecon.markov import DiscreteDP

    states, actions = mdp.num_states, mdp.num_actions
    pairs = np.repeat(np.arange(states), actions), np.tile(np.arange(actions), states)
    problem = DiscreteDP(mdp.expected_reward.ravel(), transition_pairs(mdp), mdp.discount, *pairs)
    return lambda: problem.solve(method="modified_policy_iteration", epsilon=ERROR, max_iter=100_000).v


def mdpsolver_solver(mdp: TabularMDP) -> Solver:
    """On one thread: on two, with other work on the machine, it was a thousand times slower."""
    import mdpsolver

    model = mdpsolver.model()
    lists = {"rewards": mdp.expected_reward, "tranMatProbs": mdp.probability, "tranMatColumns": mdp.next_state}
    model.mdp(discount=mdp.discount, **{name: array.tolist() for name, array in lists.items()})

    def solve() -> Values:
        model.solve(algorithm="mpi", tolerance=ERROR, parallel=False)
        return np.array(model.getValueVector())

    return solve


def toolbox_solver(mdp: TabularMDP) -> Solver:
    """Its checks make dense matrices of sparse ones."""
    from mdptoolbox.mdp import PolicyIterationModified

    matrices = tuple(transition_pairs(mdp)[a :: mdp.num_actions].toarray() for a in range(mdp.num_actions))
    problem = PolicyIterationModified(matrices, mdp.expected_reward, mdp.discount, epsilon=ERROR, max_iter=100_000)

    def solve() -> Values:
        problem.V = np.zeros(mdp.num_states)
        problem.run()
        return np.array(problem.V)

    return solve


SOLVERS: dict[str, tuple[str, Callable[[TabularMDP], Solver]]] = {
    "QuantEcon, modified policy iteration": ("quantecon", quantecon_solver),
    "mdpsolver, modified policy iteration": ("mdpsolver", mdpsolver_solver),
    "pymdptoolbox, modified policy iteration": ("mdptoolbox", toolbox_solver),
}


def solving(pairs: int, sizes: tuple[int, int, int] = (30, 300, 1000)) -> list[Callable[[], Row]]:
    """Optimal values for discount 0.99, to an error of 1e-6; what a solver is fed is made before the clock starts, and peak
    memory is that of a process that makes it and solves."""
    small, middle, large = sizes

    def of(kind: str, size: int, peer: str, times: int) -> Callable[[], Row]:
        package, make = SOLVERS[peer]

        def row() -> Row:
            name, unit = f"values of {size}x{size}, slippery, {kind}", "s"
            if find_spec(package) is None:
                return Row(name, peer, None, None, None, unit, "not installed")
            mdp = TabularMDP.from_map(random_map(size, seed=0) if kind == "random" else open_lake(size), is_slippery=True)
            make(TabularMDP.from_map(LAKES["4x4"], is_slippery=True))()  # what is compiled is compiled off the clock
            exact, errors = ours_solver(mdp, 1e-11)(), [0.0, 0.0]

            def taken(which: int) -> float:
                solver = (ours_solver, make)[which](mdp)  # anew: one that has solved once may begin where it ended
                began = time.perf_counter()
                found = solver()
                took = time.perf_counter() - began
                errors[which] = float(np.abs(found - exact).max())
                return took

            row = compare(name, peer, lambda: taken(0), lambda: taken(1), unit, times)
            return replace(row, note=f"errors {errors[0]:.0e} and {errors[1]:.0e}")

        return row

    quantecon, mdpsolver, toolbox = SOLVERS
    return [
        of("random", small, toolbox, min(pairs, 3)),
        *(of(kind, middle, quantecon, pairs) for kind in ("random", "open")),
        *(of(kind, middle, mdpsolver, 1) for kind in ("random", "open")),  # most of a minute
        of("random", large, quantecon, min(pairs, 3)),
        lambda: solving_memory(large),
    ]


def solving_memory(size: int) -> Row:
    """Peak memory of a process that builds the arrays and solves, our own and QuantEcon's."""
    program = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "import benchmark_peers as peers\n"
        "mdp = peers.TabularMDP.from_map(peers.random_map(int(sys.argv[3]), seed=0), is_slippery=True)\n"
        "getattr(peers, sys.argv[2])(mdp)()\n"
    )

    def peak(solver: str) -> float:
        return peak_memory(program, str(Path(__file__).parent), solver, str(size))

    return compare(
        f"memory of values of {size}x{size}", "QuantEcon", lambda: peak("ours_solver"), lambda: peak("quantecon_solver"),
        "MB", 1, needs="quantecon",
    )  # fmt: skip


# ---- ppo ----

SHARE = 0.95  # of the highest probability of success within the time limit that any policy has
CAP = 120.0  # seconds after which a run is given up
POPULATION = 16  # seeds of ours that are trained at once


@dataclass(frozen=True)
class Contest:
    """A lake on which PPO is to reach `SHARE` of the best success, and everybody's settings there.

    Attributes:
        lake: a name of `LAKES`, on slippery ice.
        discount: everybody's. On 8x8 the policy that is optimal for 0.99 reaches only 94.5 % of the best.
        ours: what is changed of our defaults, by policy, tuned by hand like theirs: of some combinations of walkers, steps and
            learning rate (fourteen for a table on 4x4, four to fourteen for networks) the fastest with which all seeds tried
            arrived.
        theirs: stable-baselines3's settings, tuned by hand on one seed, the fastest kept: of eight combinations (three on
            8x8) of environments, steps, batch, epochs, learning rate and entropy bonus.
    """

    lake: str
    discount: float
    ours: dict[str, dict[str, Any]]
    theirs: dict[str, Any]

    @property
    def mdp(self) -> TabularMDP:
        return TabularMDP.from_map(LAKES[self.lake], is_slippery=True, discount=self.discount)


CONTESTS = (
    Contest(
        "4x4", 0.99,
        {"mlp": {"walkers": 256}, "tabular": {"walkers": 256, "segment": 8, "learning_rate": 0.05}},
        {"n_envs": 16, "n_steps": 128, "batch_size": 512, "learning_rate": 3e-3, "n_epochs": 4},
    ),
    Contest(
        "8x8", 0.999,
        {"mlp": {"walkers": 256, "learning_rate": 0.003}, "tabular": {"walkers": 256, "learning_rate": 0.1}},
        {"n_envs": 16, "n_steps": 256, "batch_size": 512, "learning_rate": 3e-3},
    ),
)  # fmt: skip


class Stopwatch:
    """Tells when policies are good enough; looking costs them no time.

    Args:
        mdp: the problem.
        seeds: how many policies are trained at once.
        cap: seconds after which it says that time is up.
    """

    def __init__(self, mdp: TabularMDP, seeds: int = 1, cap: float = CAP) -> None:
        self.mdp, self.cap, self.target = mdp, cap, SHARE * optimal_success(mdp, mdp.horizon)
        self.reached: Bool[np.ndarray, " N"] = np.zeros(seeds, bool)
        self.began, self.looking = time.perf_counter(), 0.0

    @property
    def elapsed(self) -> float:
        """Seconds, without those spent on looking."""
        return time.perf_counter() - self.began - self.looking

    def look(self, policies: Callable[[], Float[np.ndarray, "N S A"]]) -> bool:
        """Whether to stop: all have reached the target at some look, or time is up."""
        began = time.perf_counter()
        self.reached |= np.asarray(success_probability(self.mdp, policies(), self.mdp.horizon)) >= self.target
        self.looking += time.perf_counter() - began
        return bool(self.reached.all()) or self.elapsed > self.cap


class _Enough(Exception):
    """Raised out of a training loop that would go on."""


def ours_ppo(contest: Contest, kind: str, seeds: int, seed: int, cap: float = CAP, every: int = 20) -> Stopwatch:
    """A population of policies of that kind from the uniform policy, no demonstrations."""
    from ift_gridworld.methods.options import Settings
    from ift_gridworld.training.base_policies import make_base
    from ift_gridworld.training.loop import train

    policy = make_base("uniform", contest.mdp, policy=kind, seeds=seeds, seed=seed)
    watch = Stopwatch(contest.mdp, seeds, cap)

    def progress(done: int, total: int) -> None:
        if done % every == 0 and watch.look(policy.probabilities):
            raise _Enough

    settings = Settings(steps=100_000, snapshots=2, **contest.ours[kind])
    with suppress(_Enough):
        train("ppo", contest.mdp, policy, settings=settings, seed=seed, progress=progress)
    return watch


def theirs_ppo(contest: Contest, tuned: bool, seed: int, cap: float = CAP) -> Stopwatch:
    """stable-baselines3's network on Gymnasium's environments, on one thread as ours is."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    mdp, settings = contest.mdp, dict(contest.theirs) if tuned else {}
    name = {"4x4": "FrozenLake-v1", "8x8": "FrozenLake8x8-v1"}[contest.lake]
    env = make_vec_env(name, settings.pop("n_envs", 1), seed=seed)
    model = PPO("MlpPolicy", env, seed=seed, device="cpu", gamma=contest.discount, **settings)

    def policies() -> Float[np.ndarray, "1 S A"]:
        with torch.no_grad():
            states, _ = model.policy.obs_to_tensor(np.arange(mdp.num_states))
            found = model.policy.get_distribution(states).distribution.probs.double().numpy()
        return (found / found.sum(-1, keepdims=True))[None]

    class Look(BaseCallback):
        stop = False

        def _on_rollout_start(self) -> None:  # the policy is a new one only here
            self.stop = watch.look(policies)

        def _on_step(self) -> bool:
            return not self.stop and watch.elapsed < watch.cap

    watch = Stopwatch(mdp, 1, cap)
    model.learn(10**9, callback=Look())
    return watch


def ppo_row(contest: Contest, kind: str, seeds: int, tuned: bool, pairs: int) -> Row:
    """Seconds until all of a population are there, divided by their number, against seconds of one seed of
    stable-baselines3."""
    what = {"mlp": "network", "tabular": "table"}[kind]
    name = f"PPO, slippery {contest.lake}, {f'{seeds} {what}s at once, each' if seeds > 1 else f'one {what}'}"
    peer = f"stable-baselines3, {'tuned' if tuned else 'defaults'}, one network"
    if find_spec("stable_baselines3") is None:
        return Row(name, peer, None, None, None, "s", "not installed")
    there: dict[str, list[bool]] = {"ours": [], "theirs": []}

    def timed(who: str, watch: Stopwatch) -> float:
        there[who] += [bool(x) for x in watch.reached]
        return watch.elapsed / max(1, int(watch.reached.sum()))

    took = [
        (timed("ours", ours_ppo(contest, kind, seeds, pair * seeds)), timed("theirs", theirs_ppo(contest, tuned, pair)))
        for pair in range(pairs)
    ]
    ours, theirs = (median(side) for side in zip(*took, strict=True))
    missed = [f"{who}: {sum(x)} of {len(x)} there in {CAP:.0f} s" for who, x in there.items() if not all(x)]
    if not all(there["theirs"]):
        missed.append("a lower bound")
    return Row(name, peer, ours, theirs, median(b / a for a, b in took), "s", "; ".join(missed), pairs)


def ppo(pairs: int) -> list[Callable[[], Row]]:
    """Seconds of PPO from nothing to 95 % of the best success. Layers have 64 units; our network has one, theirs two."""

    def of(contest: Contest, kind: str, seeds: int, tuned: bool) -> Callable[[], Row]:
        return lambda: ppo_row(contest, kind, seeds, tuned, min(pairs, 3))

    ways = (("mlp", 1, True), ("mlp", POPULATION, True), ("tabular", 1, True), ("mlp", 1, False))
    return [of(contest, *how) for contest in CONTESTS for how in ways]


# ---- start-up ----


def startup(pairs: int) -> list[Callable[[], Row]]:
    """Seconds of a fresh Python until a name is there, or --help is answered."""

    def taken(*arguments: str) -> Callable[[], float]:
        import subprocess

        return lambda: seconds(lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True))

    script = str(Path(__file__).with_name("frozen_lake.py"))
    package, gym, sb3 = (taken("-c", f"import {name}") for name in ("ift_gridworld", "gymnasium", "stable_baselines3"))
    return [
        lambda: compare("import ift_gridworld", "import gymnasium", package, gym, "s", pairs),
        lambda: compare(
            "import ift_gridworld", "import stable_baselines3", package, sb3, "s", pairs, needs="stable_baselines3"
        ),
        lambda: compare("frozen_lake.py --help", "import gymnasium", taken(script, "--help"), gym, "s", pairs),
    ]
