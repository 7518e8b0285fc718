"""The oracle: optimal, soft-optimal and time-limited values, policy evaluation, occupancy, success. All exact, no sampling.

"Optimal" always means something: with which discount, within which horizon. Functions of the return use `mdp.discount`;
functions of success are undiscounted and take a horizon.

Policies are arrays [..., S, A] with any leading dimensions (seeds, snapshots); results carry the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import solvers
from ift_gridworld.planning.solvers import SOLVERS, Solution, ahead, backup, value_iteration

T = TypeVar("T")

__all__ = [
    "SOLVERS",
    "evaluate_policy",
    "greedy",
    "occupancy",
    "optimal_policy",
    "optimal_success",
    "optimal_values",
    "solve",
    "success_probability",
    "value_iteration",
]

# Up to so many states value iteration is as fast as anything; up to so many, factorising a policy's matrix is cheap, and a
# lake's, which is nearly a band, up to so many.
SMALL, FACTORISED, FACTORISED_LAKE = 500, 5_000, 40_000
NEAR_ONE = 0.999  # discounts above make sweeps slow, and their values less exact than a factorisation's
PART = 2**20  # outcomes of policies that are measured at once: more do not fit in the processor's own memory
LONG_SIGHT = 0.999  # a discount at which a value tells how many steps a gift is away, up to 700,000
# Chances taken for none: that an episode still goes on; that it stands in a state, of which many add up.
WALKED_OUT, FAINT = 1e-16, 1e-24
REACH, LOOK, STAY = 32, 8, 1024  # steps: how far around an episode one looks, how often at the rim, how often anew
# Up to this many states a policy's state-state matrix is held densely, beyond as a sparse matrix.
DENSE_STATES = 40
TOLERANCE = 1e-13
TIE = 1e-9


def solve(mdp: TabularMDP, *, solver: str | None = None, tolerance: float | None = None) -> Solution:
    """Optimal values: Q(s,a) = r(s,a) + gamma sum_s' P(s'|s,a) V(s'), V(s) = max_a Q(s,a), nothing following termination.

    Args:
        mdp: the problem; its `discount` is used.
        solver: a name in `SOLVERS`; None picks by size and structure: value iteration for small problems, sweeps over the
            grid for lakes, else policy iteration (up to some thousand states) or modified policy iteration, and value
            iteration where nothing is discounted. At discounts above 0.999, where sweeps are many and less exact, policy
            iteration for all but firm lakes, very large problems, and undiscounted ones with rewards below 0.
        tolerance: how far any value may be from the true one. None: sweeps go on until none changes a value by more than
            1e-13 of it, which is as near as rounding allows up to discount 0.99 (1e-13 gamma / (1 - gamma) of the largest
            value, a few times that on lakes), so that a best action is known on every tile, however far from the gift; on
            large slippery lakes that takes many times as long. With discount 1, where the change of a sweep bounds no error,
            a tolerance is taken for None; what is computed there is as exact as the steps of an optimal episode allow, each
            of which may cost a rounding.

    Returns:
        V [S] and Q [S, A].

    Raises:
        ValueError: for an unknown solver, one that cannot take the problem, or values that do not converge within a million
            sweeps (an undiscounted problem without a proper policy, or one with a discount of almost 1 and another solver).
    """
    if solver is not None and solver not in SOLVERS:
        raise ValueError(f"unknown solver {solver!r}; allowed: {', '.join(SOLVERS)}")
    if tolerance is not None:
        if not 0 < tolerance < np.inf:
            raise ValueError(f"tolerance is {tolerance}; allowed: a finite number > 0")
        # Where no sweep changes more than c, values are within c gamma / (1 - gamma). Undiscounted, changes bound nothing.
        tolerance = tolerance * (1 - mdp.discount) / 4 if mdp.discount < 1 else None
    return SOLVERS[solver or _best_solver(mdp)](mdp, tolerance)


def _best_solver(mdp: TabularMDP) -> str:
    rate = solvers.success_rate(mdp) if mdp.num_states > SMALL else None
    factorised = FACTORISED if rate is None else FACTORISED_LAKE
    near_one = mdp.discount > NEAR_ONE and (mdp.discount < 1 or mdp.expected_reward.min() >= 0)
    if near_one and mdp.num_states <= factorised and rate != 1.0:  # on firm lakes values travel once
        return "policy_iteration"
    if mdp.num_states <= SMALL:
        return "value_iteration"
    if rate is not None:
        return "neighbour_sweeps"
    if mdp.discount == 1:
        return "value_iteration"
    return "policy_iteration" if mdp.num_states <= FACTORISED else "modified_policy_iteration"


def optimal_values(mdp: TabularMDP) -> Solution:
    """V [S] and Q [S, A] as `solve` gives them without a tolerance, computed once for an MDP."""
    if mdp not in _solved:
        _solved[mdp] = solve(mdp)
    value, action_value = _solved[mdp]
    return value.copy(), action_value.copy()


_solved: WeakKeyDictionary[TabularMDP, Solution] = WeakKeyDictionary()


def greedy(action_value: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S A"]:
    """The policy that takes a best action, ties (equal to nine digits) shared evenly."""
    best = action_value.max(-1, keepdims=True)
    # Relative, for far from a goal values are small; but what cancels to nearly 0 is known no better than its terms.
    floor = 1e-14 * np.abs(action_value).max() if action_value.min() < 0 < action_value.max() else 0.0
    ties = action_value >= best - TIE * np.abs(best) - floor
    return ties / ties.sum(-1, keepdims=True)


def optimal_policy(mdp: TabularMDP) -> Float[np.ndarray, "S A"]:
    """T*(a|s): the optimal state-action matrix for `mdp.discount`, ties shared evenly (all actions where nothing follows)."""
    return greedy(optimal_values(mdp)[1])


def soft_value_iteration(
    mdp: TabularMDP,
    reference: Float[np.ndarray, "S A"],
    beta: float,
    *,
    tolerance: float = TOLERANCE,
    max_sweeps: int = 1_000_000,
) -> tuple[Float[np.ndarray, " S"], Float[np.ndarray, "S A"]]:
    """The exact solution of RLHF: maximise E[sum gamma^t (r_t - beta KL(pi || reference))].

    V(s) = beta log sum_a reference(a|s) exp(Q(s,a) / beta), Q(s,a) = r(s,a) + gamma sum_s' P(s'|s,a) V(s'),
    pi(a|s) = reference(a|s) exp((Q(s,a) - V(s)) / beta).

    Args:
        mdp: the problem.
        reference: policy that deviation is charged against; an action of probability 0 stays at 0.
        beta: price of one nat of KL, > 0.

    Returns:
        V [S] and pi [S, A].
    """
    if beta <= 0:
        raise ValueError(f"beta is {beta}; allowed: > 0")
    reference = _as_policy(mdp, reference)
    reference, possible = reference / reference.sum(-1, keepdims=True), reference > 0
    value = np.zeros(mdp.num_states)
    for _ in range(max_sweeps):
        action_value = backup(mdp, value)
        top = np.where(possible, action_value, -np.inf).max(-1)
        gain = np.where(possible, (action_value - top[:, None]) / beta, 0.0)
        # log1p and expm1: for a large beta the logarithm's argument is all but 1.
        new = top + beta * np.log1p((reference * np.expm1(gain)).sum(-1))
        new[mdp.terminal] = 0.0
        change = np.abs(new - value).max()
        value = new
        if change <= tolerance * max(1.0, np.abs(value).max()):
            policy = reference * np.exp(gain)
            return value, policy / policy.sum(-1, keepdims=True)
    raise ValueError(f"soft values still change by {change:.2g} after {max_sweeps} sweeps with discount {mdp.discount}")


def time_limited_values(mdp: TabularMDP, horizon: int) -> Float[np.ndarray, "{horizon}+1 S"]:
    """Optimal values under a clock: row t is the best expected return with t steps to go."""
    values = np.zeros((horizon + 1, mdp.num_states))
    for t in range(1, horizon + 1):
        values[t] = backup(mdp, values[t - 1]).max(-1)
    return values


def _in_parts(measure: Callable[..., T]) -> Callable[..., T]:
    """Of many policies some at a time (`PART`), each as if it were alone."""

    @wraps(measure)
    def of_all(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], *args: Any, **options: Any) -> T:
        policy = _as_policy(mdp, policy)
        batch, each = policy.shape[:-2], max(1, PART // mdp.probability.size)
        flat = policy.reshape(-1, *policy.shape[-2:])
        if len(flat) <= each:
            return measure(mdp, policy, *args, **options)
        parts = [measure(mdp, flat[i : i + each], *args, **options) for i in range(0, len(flat), each)]
        if not isinstance(parts[0], tuple):
            return np.concatenate(parts).reshape(*batch, *parts[0].shape[1:])  # type: ignore
        return tuple(np.concatenate(p).reshape(*batch, *p[0].shape[1:]) for p in zip(*parts, strict=True))  # type: ignore

    return of_all


@_in_parts
def evaluate_policy(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """V_pi, by solving V = r_pi + gamma P_pi V.

    Raises:
        ValueError: with discount 1, for a policy that can walk for ever where walking on is not free. (Where it is free,
            walking for ever is worth 0.)
    """
    return _Chain(mdp, policy).values(np.einsum("...sa,sa->...s", policy, mdp.expected_reward), mdp.discount)


@_in_parts
def occupancy(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], *, discount: float | None = None, horizon: int | None = None
) -> Float[np.ndarray, "*batch S"]:
    """Expected visits d(s) = sum_t discount^t P(s_t = s), from the start distribution; an end is counted once, on entry.

    Args:
        mdp: the problem.
        policy: [..., S, A].
        discount: `mdp.discount` if not given; 1 counts plain visits.
        horizon: number of steps taken (so that horizon + 1 states are seen), or None for no limit.

    Raises:
        ValueError: if visits are infinite (discount 1, no horizon, a policy that can walk for ever).
    """
    discount = mdp.discount if discount is None else discount
    chain = _Chain(mdp, policy)
    start = np.broadcast_to(mdp.start, policy.shape[:-1])
    if horizon is None:
        walking = chain.visits(start, discount)
        return walking + discount * chain.end(walking)
    walking, now = _walked(chain, start, horizon, discount)
    return walking + now + discount * chain.end(walking)


def _walked(
    chain: _Chain, start: Float[np.ndarray, "*batch S"], horizon: int, discount: float
) -> tuple[Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch S"]]:
    """What is walked on from within so many steps, summed over them, and what then is left walking.

    On a large lake an episode is nearly always near its path: it is walked over a window of the states around it, which moves
    with it. Chances below `FAINT` of standing on the window's rim are let go; the error is far below rounding. Where next to
    nothing is left (`WALKED_OUT`), nothing is.
    """
    walking, now, taken = np.zeros(start.size), np.array(start).ravel(), 0
    while taken < horizon and now.sum() > WALKED_OUT:
        window, rim = chain.around(now)
        into = chain.into(window)
        here, passed, on_rim = now[window], np.zeros(len(window)), 0.0
        until = min(horizon, taken + STAY)
        while taken < until and on_rim <= FAINT and here.sum() > WALKED_OUT:
            for _ in range(min(LOOK, until - taken)):
                passed += here
                here = into(here) if discount == 1 else discount * into(here)
                taken += 1
            on_rim = here[rim].max(initial=0.0)
        walking[window] += passed
        now[:] = 0.0
        now[window] = here
    return walking.reshape(start.shape), now.reshape(start.shape)


@_in_parts
def walk_distribution(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], steps: int, start: Float[np.ndarray, " S"] | None = None
) -> Float[np.ndarray, "*batch {steps} S"]:
    """Where an episode stands: row t is P(s_t = s, not ended before), t = 0 … steps - 1; what has ended is missing.

    Args:
        mdp: the problem.
        policy: [..., S, A].
        steps: number of rows.
        start: distribution of the first state (default: the MDP's).
    """
    chain = _Chain(mdp, policy)
    now, rows = np.broadcast_to(mdp.start if start is None else start, policy.shape[:-1]), []
    for _ in range(steps):
        rows.append(now)
        now = chain.forward(now)
    return np.stack(rows, -2)


@_in_parts
def success_probability(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], horizon: int | None = None
) -> Float[np.ndarray, "*batch"] | float:
    """Probability of reaching a goal (`TabularMDP.success`) from the start distribution, within `horizon` steps if given."""
    chain = _Chain(mdp, policy)
    if horizon is None:
        reached = chain.values(np.einsum("...sa,sa->...s", policy, _goal(mdp)), 1.0) @ mdp.start
    else:
        steps, _ = _walked(chain, np.broadcast_to(mdp.start, policy.shape[:-1]), horizon, 1.0)
        reached = np.einsum("...s,...sa,sa->...", steps, policy, _goal(mdp))
    return np.clip(reached, 0.0, 1.0)


@_in_parts
def episodes_within(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], horizon: int
) -> tuple[Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch"]]:
    """Of episodes that are cut off after `horizon` steps, all in one pass: how often a step is taken from each state, how often
    an episode is there (`occupancy`, undiscounted), and the probability of reaching a goal (`success_probability`)."""
    chain = _Chain(mdp, policy)
    steps, now = _walked(chain, np.broadcast_to(mdp.start, policy.shape[:-1]), horizon, 1.0)
    reached = np.einsum("...s,...sa,sa->...", steps, policy, _goal(mdp))
    return steps, steps + now + chain.end(steps), np.asarray(np.clip(reached, 0.0, 1.0))


def optimal_success(mdp: TabularMDP, horizon: int | None = None) -> float:
    """The highest probability of reaching a goal by any policy, within `horizon` steps if given.

    With a horizon the best policy knows the time left; no stationary policy need attain the number.
    """
    if horizon is None:
        sought = replace(mdp, reward=mdp.success.astype(float), discount=1.0)
        if _best_solver(sought) == "policy_iteration":
            return min(1.0, float(solve(sought)[0] @ mdp.start))
    rate = solvers.success_rate(mdp) if mdp.num_states > SMALL else None
    if rate == 1.0 and horizon is not None:  # without slip a gift is reached for certain, if steps suffice
        value = solve(replace(mdp, discount=LONG_SIGHT))[0][mdp.start > 0]
        steps = 1 + np.log(np.maximum(value, np.finfo(float).tiny)) / np.log(LONG_SIGHT)
        return float(mdp.start[mdp.start > 0] @ (steps < horizon + 0.5))
    if rate is not None:
        return solvers.best_chances(mdp, rate, 10_000_000 if horizon is None else horizon)
    goal, reached = _goal(mdp), np.zeros(mdp.num_states)
    for _ in range(10_000_000 if horizon is None else horizon):
        new = (goal + ahead(mdp, reached)).max(-1)
        if np.abs(new - reached).max() <= 1e-16:
            break
        reached = new
    return float(reached @ mdp.start)


def state_matrix(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S S"]:
    """T(s'|s) = sum_a P(s'|s,a) pi(a|s), dense: for small MDPs."""
    return np.einsum("...sa,sat->...st", np.asarray(policy, float), mdp.transition, optimize=True)


def _as_policy(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S A"]:
    policy = np.asarray(policy, float)
    if policy.shape[-2:] != (mdp.num_states, mdp.num_actions):
        raise ValueError(f"policy has shape {policy.shape}; it must end in ({mdp.num_states}, {mdp.num_actions})")
    if not np.allclose(policy.sum(-1), 1.0, rtol=0, atol=1e-4) or policy.min() < 0:
        raise ValueError("policy has rows that are no distributions; each must be >= 0 and sum to 1")
    return policy


def _goal(mdp: TabularMDP) -> Float[np.ndarray, "S A"]:
    """Probability that an action reaches a goal at once."""
    return np.sum(mdp.probability * mdp.success, -1)


class _Chain:
    """The Markov chains that a batch of policies makes of an MDP, over the outcomes that do not end the episode.

    Small ones are a dense batch [M, S, S], large ones one block-diagonal sparse matrix; the algebra is the same.
    """

    def __init__(self, mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> None:
        self.mdp, self.shape = mdp, policy.shape[:-1]
        self.policy = policy.reshape(-1, *policy.shape[-2:])

    @cached_property
    def on(self) -> Any:
        """P_pi, a dense batch or sparse."""
        if self.mdp.num_states > DENSE_STATES:
            return self.among(np.arange(len(self.policy) * self.mdp.num_states))
        goes_on = self.mdp.probability * ~self.mdp.terminated
        return np.einsum("msa,sat->mst", self.policy, self.mdp.scatter(goes_on), optimize=True)

    def among(self, places: Int[np.ndarray, " R"]) -> Any:
        """P_pi among these places of [M S], sparse [R, R]; what leads out of them is left out."""
        from scipy.sparse import csr_array  # loaded where it is needed: it costs a tenth of a second

        mdp, everywhere = self.mdp, len(self.policy) * self.mdp.num_states
        member, state = np.divmod(places, mdp.num_states)
        narrow = np.int32 if mdp.probability[0].size * len(places) < 2**31 else np.int64  # half the memory to read
        weight = self.policy[member, state, :, None] * (mdp.probability[state] * ~mdp.terminated[state])
        leads = mdp.next_state[state] + (mdp.num_states * member.astype(narrow))[:, None, None]
        if len(places) < everywhere:
            number = np.full(everywhere, -1, narrow)
            number[places] = np.arange(len(places), dtype=narrow)
            leads = number[leads]
            weight[leads < 0] = 0.0
            leads[leads < 0] = 0
        rows = np.arange(0, weight.size + 1, mdp.probability[0].size, dtype=narrow)
        matrix = csr_array((weight.ravel(), leads.ravel(), rows), (len(places), len(places)))
        matrix.eliminate_zeros()
        matrix.sum_duplicates()
        return matrix

    def around(self, mass: Float[np.ndarray, " MS"]) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " O"]]:
        """The places of [M S] that can be come to within `REACH` steps from where there is mass, and which of them are its rim:
        only from there do `LOOK` steps lead out. All places, and no rim, where the window would hold most of them."""
        mdp, everywhere = self.mdp, np.arange(mass.size)
        no_rim = everywhere[:0]
        if mdp.num_states <= REACH**2 // 2:  # all that a corner of a grid reaches
            return everywhere, no_rim
        new = np.flatnonzero(mass > FAINT)
        steps_to, count = np.full(mass.size, -1, np.int16), len(new)
        steps_to[new] = 0
        for step in range(1, REACH + 1):
            if not len(new) or 2 * count > mass.size:
                break
            member, state = np.divmod(new, mdp.num_states)
            goes_on = (mdp.probability[state] > 0) & ~mdp.terminated[state] & (self.policy[member, state] > 0)[..., None]
            leads = (mdp.next_state[state] + mdp.num_states * member[:, None, None])[goes_on]
            new = np.unique(leads[steps_to[leads] < 0])
            steps_to[new] = step
            count += len(new)
        if 2 * count > mass.size:
            return everywhere, no_rim
        window = np.flatnonzero(steps_to >= 0)
        return window, np.flatnonzero(steps_to[window] > REACH - LOOK)

    def into(self, places: Int[np.ndarray, " R"]) -> Callable[[Float[np.ndarray, " R"]], Float[np.ndarray, " R"]]:
        """x P_pi among these places: where the mass x walks on to."""
        if self.mdp.num_states <= DENSE_STATES or len(places) == len(self.policy) * self.mdp.num_states:
            return self.forward
        matrix = self.among(places).T.tocsr()
        return lambda mass: matrix @ mass

    def forward(self, x: Float[np.ndarray, "*batch S"]) -> Float[np.ndarray, "*batch S"]:
        """x P_pi: where the mass x walks on to."""
        columns = x.reshape(-1, self.mdp.num_states, 1) if isinstance(self._into, np.ndarray) else x.ravel()
        return (self._into @ columns).reshape(x.shape)

    @cached_property
    def _into(self) -> Any:
        """The transpose, a sparse one by rows: what comes together on a state is read in one go, not scattered."""
        return self.on.swapaxes(-1, -2) if isinstance(self.on, np.ndarray) else self.on.T.tocsr()

    def end(self, x: Float[np.ndarray, "*batch S"]) -> Float[np.ndarray, "*batch S"]:
        """Where the mass x ends its episode in the next step (a terminal state's own row is no step)."""
        mdp, mass = self.mdp, x.reshape(-1, self.mdp.num_states)
        walking = np.flatnonzero(mass.any(0) & ~mdp.terminal)
        place, action, slot = np.nonzero(mdp.terminated[walking])
        state = walking[place]
        mass = mass[:, state] * self.policy[:, state, action] * mdp.probability[state, action, slot]
        entered = mdp.num_states * np.arange(len(mass))[:, None] + mdp.next_state[state, action, slot]
        return np.bincount(entered.ravel(), mass.ravel(), x.size).reshape(x.shape)

    def values(self, reward: Float[np.ndarray, "*batch S"], discount: float) -> Float[np.ndarray, "*batch S"]:
        """Solve x = reward + discount P_pi x."""
        stuck = self._stuck(discount)
        if np.any(reward[stuck] != 0):
            raise ValueError("a value is infinite: with discount 1 this policy can walk for ever, and walking on is not free")
        return self._solve(reward, discount, stuck, transpose=False)

    def visits(self, start: Float[np.ndarray, "*batch S"], discount: float) -> Float[np.ndarray, "*batch S"]:
        """Solve d = start + discount d P_pi."""
        stuck = self._stuck(discount)
        visits = self._solve(start, discount, stuck, transpose=True)
        if np.any(visits[stuck] > 0):
            raise ValueError("visits are infinite: with discount 1 this policy can walk for ever; give a horizon")
        return visits

    def _stuck(self, discount: float) -> Bool[np.ndarray, "*batch S"]:
        """States from which, undiscounted, an episode never ends: they would make the matrix singular."""
        if discount < 1:
            return np.zeros(self.shape, bool)
        ends = np.einsum("msa,sak->ms", self.policy, self.mdp.probability * self.mdp.terminated) > 0
        if not isinstance(self.on, np.ndarray):
            return ~solvers.ending(self.on, ends.ravel()).reshape(self.shape)
        while True:
            more = ends | ((self.on @ ends[..., None]) > 0)[..., 0]
            if np.array_equal(more, ends):
                return ~ends.reshape(self.shape)
            ends = more

    def _solve(
        self, right: Float[np.ndarray, "*batch S"], discount: float, stuck: Bool[np.ndarray, "*batch S"], transpose: bool
    ) -> Float[np.ndarray, "*batch S"]:
        free = discount * ~stuck.reshape(-1)  # the rows of stuck states are cleared: they lead nowhere, at no reward
        if isinstance(self.on, np.ndarray):
            matrix = np.eye(self.mdp.num_states) - free.reshape(len(self.policy), -1, 1) * self.on
            matrix = matrix.swapaxes(-1, -2) if transpose else matrix
            return np.linalg.solve(matrix, right.reshape(len(self.policy), -1, 1)).reshape(right.shape)
        return solvers.factorised(self.on, free).solve(right.ravel(), "T" if transpose else "N").reshape(right.shape)
