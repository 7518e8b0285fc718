"""Optimal values, against QuantEcon, mdpsolver and pymdptoolbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_matrix

from benchmarks.comparison import ROOT, Comparison, compare, peak_memory
from ift_gridworld.envs.maps import LAKES, open_lake, random_map
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import solve

__all__ = ["ERROR", "SOLVERS", "solving", "transition_pairs"]

ERROR = 1e-6

Values = Float[np.ndarray, " S"]
Solver = Callable[[], Values]


def our_solver(mdp: TabularMDP, tolerance: float = ERROR) -> Solver:
    """Return our solver of an MDP."""
    return lambda: solve(replace(mdp), tolerance=tolerance)[0]  # a new object, of which nothing is remembered


def transition_pairs(mdp: TabularMDP) -> Any:
    """Return P(s'|s, a) as a sparse matrix, a row a pair (s, a).

    Ends are states that absorb without reward, so they need no mark.
    """
    states, actions, slots = mdp.next_state.shape
    rows = np.repeat(np.arange(states * actions), slots)
    used = mdp.probability.ravel() > 0
    entries = mdp.probability.ravel()[used], (rows[used], mdp.next_state.ravel()[used])
    return csr_matrix(entries, shape=(states * actions, states))


def quantecon_solver(mdp: TabularMDP) -> Solver:
    """Return QuantEcon's solver of an MDP."""
    from quantecon.markov import DiscreteDP

    states, actions = mdp.num_states, mdp.num_actions
    pairs = np.repeat(np.arange(states), actions), np.tile(np.arange(actions), states)
    problem = DiscreteDP(mdp.expected_reward.ravel(), transition_pairs(mdp), mdp.discount, *pairs)
    return lambda: problem.solve(method="modified_policy_iteration", epsilon=ERROR, max_iter=100_000).v


def mdpsolver_solver(mdp: TabularMDP) -> Solver:
    """Return mdpsolver's solver of an MDP, on one thread.

    On two, with other work on the machine, it was a thousand times slower.
    """
    import mdpsolver

    model = mdpsolver.model()
    lists = {"rewards": mdp.expected_reward, "tranMatProbs": mdp.probability, "tranMatColumns": mdp.next_state}
    model.mdp(discount=mdp.discount, **{name: array.tolist() for name, array in lists.items()})

    def solve() -> Values:
        model.solve(algorithm="mpi", tolerance=ERROR, parallel=False)
        return np.array(model.getValueVector())

    return solve


def toolbox_solver(mdp: TabularMDP) -> Solver:
    """Return pymdptoolbox's solver of an MDP; its checks make dense matrices of sparse ones."""
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


def solving(pairs: int, sizes: tuple[int, int, int] = (30, 300, 1000)) -> list[Callable[[], Comparison]]:
    """Optimal values for discount 0.99, to an error of 1e-6; what a solver is fed is made before the clock starts, and peak
    memory is that of a process that makes it and solves."""
    small, middle, large = sizes

    def of(kind: str, size: int, peer: str, times: int) -> Callable[[], Comparison]:
        return lambda: compare_solvers(kind, size, peer, times)

    quantecon, mdpsolver, toolbox = SOLVERS
    return [
        of("random", small, toolbox, min(pairs, 3)),
        *(of(kind, middle, quantecon, pairs) for kind in ("random", "open")),
        *(of(kind, middle, mdpsolver, 1) for kind in ("random", "open")),  # most of a minute
        of("random", large, quantecon, min(pairs, 3)),
        lambda: solving_memory(large),
    ]


def compare_solvers(kind: str, size: int, peer: str, pairs: int) -> Comparison:
    """Compare our solver with a peer's on a random or an open lake, and say the errors of both."""
    package, make = SOLVERS[peer]
    name, unit = f"values of {size}x{size}, slippery, {kind}", "s"
    if find_spec(package) is None:
        return Comparison(name, peer, None, None, None, unit, "not installed")
    mdp = TabularMDP.from_map(random_map(size, seed=0) if kind == "random" else open_lake(size), is_slippery=True)
    make(TabularMDP.from_map(LAKES["4x4"], is_slippery=True))()  # what is compiled is compiled off the clock
    exact, errors = our_solver(mdp, 1e-11)(), [0.0, 0.0]

    def measure(which: int) -> float:
        solver = (our_solver, make)[which](mdp)  # anew: one that has solved once may begin where it ended
        began = time.perf_counter()
        values = solver()
        elapsed = time.perf_counter() - began
        errors[which] = float(np.abs(values - exact).max())
        return elapsed

    comparison = compare(name, peer, lambda: measure(0), lambda: measure(1), unit, pairs)
    return replace(comparison, note=f"errors {errors[0]:.0e} and {errors[1]:.0e}")


def solving_memory(size: int) -> Comparison:
    """Compare the peak memory of a process that builds the arrays and solves, our own and QuantEcon's."""
    program = (
        "import sys\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from benchmarks import solving\n"
        "mdp = solving.TabularMDP.from_map(solving.random_map(int(sys.argv[3]), seed=0), is_slippery=True)\n"
        "getattr(solving, sys.argv[2])(mdp)()\n"
    )

    def peak(solver: str) -> float:
        return peak_memory(program, str(ROOT), solver, str(size))

    return compare(
        f"memory of values of {size}x{size}", "QuantEcon", lambda: peak("our_solver"), lambda: peak("quantecon_solver"),
        "MB", 1, needs="quantecon",
    )  # fmt: skip
