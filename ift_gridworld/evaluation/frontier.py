"""The reward-KL frontier: the highest return that any policy can have at each KL from a base policy, exactly.

KL(π || base) is summed along π's own episodes and discounted as the return is:

    K(π) = E_π[Σ_t γ^t KL(π(·|s_t) || base(·|s_t))] = Σ_s d_π(s) KL(π(·|s) || base(·|s)),    R(π) = E_π[Σ_t γ^t r_t].

For a price β the policy π_β that maximises R - β K is known exactly (`planning.soft_value_iteration`). Its points (K, R) from
β = ∞, the base, to β = 0, the best policy, are the frontier. In terms of discounted visits R is linear and K convex, so that
the frontier F is concave, β is its slope, and no policy lies above it: not on slippery ice, nor one that remembers.

Slopes bound what lies between two points: F is above their chord and below both tangents. So points are added until the two are
close, and `Frontier.at` goes on to any precision.

**Time limits.** Return and KL here have none, as in the metric "return": policies are stationary, and episodes go on until they
end. Under a time limit the best policies know the time left, and their frontier is another one, which is not drawn. With
discount 1 a return without a time limit exists only where episodes end under the base; elsewhere a ValueError says so.

**Actions that the base never takes.** A policy that takes one in a state that it can reach has an infinite KL. Its return is
compared with that of the best policy there is, `at(inf)`, which can be above all points at a finite KL.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float

from ift_gridworld.checks import check_mdp, check_positive
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy, optimal_values
from ift_gridworld.planning.chain import PolicyChain, check_policy
from ift_gridworld.planning.soft import soft_policy_iteration

__all__ = ["Frontier", "frontier", "frontier_gap", "kl_from_base"]

TOLERANCE, PRECISION = 1e-3, 1e-10  # shares of what there is to gain: of the points as a curve, and of `Frontier.at`
OUTCOMES_AT_ONCE = 2**20  # outcomes of all policies that are measured together
MOST_POINTS, MOST_ROUNDS = 5000, 100
NOTHING = 1e-12  # share of a return: a gain so small is rounding
KEPT = 64  # curves that are kept for each MDP
FIRST = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)  # prices to begin with, as shares of what there is to gain


def step_kl(policy: Float[np.ndarray, "*batch S A"], base: Float[np.ndarray, "*#batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Return KL(π(·|s) || base(·|s)) in nats, to its last digits however small; infinite for a move that base never makes.

    Each term is π log(π / base) - π + base, which is never negative, so that nothing cancels.

    Example:
        >>> step_kl(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])).round(4)  # log 2
        array([0.6931])
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        gain = policy / base - 1.0
        near = base * ((1 + gain) * np.log1p(gain) - gain)
        far = np.where(policy > 0, policy * (np.log(policy) - np.log(base)), 0.0) - policy + base
    return np.where(np.abs(gain) < 0.5, near, far).sum(-1)


def kl_from_base(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], base: Float[np.ndarray, "*#batch S A"]
) -> Float[np.ndarray, "*batch"]:
    """Return E_π[Σ_t γ^t KL(π(·|s_t) || base(·|s_t))], the KL that the frontier is drawn over, without sampling.

    A step is charged where it is taken: not in a state where the episode has ended, nor where no episode comes.

    Args:
        mdp: the problem; its `discount` is used, its horizon is not.
        policy: π(a|s), with any leading dimensions.
        base: what the KL is measured from; one for all policies, or one for each.

    Returns:
        In nats, discounted; infinite for a policy that takes an action which its base never takes.

    Raises:
        ValueError: for what is not an MDP or not a policy of it; with discount 1, for a policy that can walk for ever.

    Example:
        >>> lake, uniform = TabularMDP.from_map(("SFG",), discount=0.5), np.full((3, 4), 0.25)
        >>> float(kl_from_base(lake, np.eye(4)[[2, 2, 2]], uniform).round(4))  # two steps to the right: (1 + 1/2) log 4
        2.0794
    """
    check_mdp(mdp)
    policy, base = check_policy(mdp, policy), check_policy(mdp, base)
    price = np.broadcast_to(step_kl(policy, base), np.broadcast_shapes(policy.shape[:-1], base.shape[:-1]))
    return _per_episode(mdp, np.broadcast_to(policy, (*price.shape, mdp.num_actions)), price)[0]


def _per_episode(
    mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"], price: Float[np.ndarray, "*batch S"]
) -> tuple[Float[np.ndarray, "*batch"], Float[np.ndarray, "*batch"]]:
    """Return a price per step, summed along the policies' own episodes, and their return; both discounted."""
    flat, prices = policy.reshape(-1, *policy.shape[-2:]), price.reshape(-1, mdp.num_states)
    most = max(1, OUTCOMES_AT_ONCE // mdp.probability.size)
    totals = np.empty((2, len(flat)))
    for i in range(0, len(flat), most):
        part = slice(i, i + most)
        start = np.broadcast_to(mdp.start, prices[part].shape)
        steps = np.where(mdp.terminal, 0.0, PolicyChain(mdp, flat[part]).visits(start, mdp.discount))
        finite = np.isfinite(prices[part])
        totals[0, part] = (steps * np.where(finite, prices[part], 0.0)).sum(-1)
        totals[0, part][((steps > 0) & ~finite).any(-1)] = np.inf
        totals[1, part] = np.einsum("ms,msa,sa->m", steps, flat[part], mdp.expected_reward)
    kl, value = totals.reshape(2, *policy.shape[:-2])
    return kl, value


@dataclass(frozen=True, eq=False)
class _Points:
    """Points of a frontier from the base to the best policy: what can be kept for an MDP without keeping the MDP alive.

    Attributes:
        beta, kl, value: as of `Frontier`.
        soft: V(s) of max R - beta K at each point; of no use at the two ends.
        best: as of `Frontier`.
    """

    beta: Float[np.ndarray, " P"]
    kl: Float[np.ndarray, " P"]
    value: Float[np.ndarray, " P"]
    soft: Float[np.ndarray, "P S"]
    best: float


@dataclass(frozen=True, eq=False, repr=False)
class Frontier:
    """The highest return of any policy at each KL from a base policy (`frontier`).

    Attributes:
        mdp: the problem.
        base: the base policy.
        points: of the curve, with what it takes to find more.
    """

    mdp: TabularMDP
    base: Float[np.ndarray, "S A"]
    points: _Points

    def __post_init__(self) -> None:
        check_mdp(self.mdp)

    @property
    def beta(self) -> Float[np.ndarray, " P"]:
        """The price of a nat at which each point is best, which is the curve's slope there: from infinity down to 0."""
        return self.points.beta

    @property
    def kl(self) -> Float[np.ndarray, " P"]:
        """KL(π_β || base) of each point in nats, discounted (`kl_from_base`), ascending from 0."""
        return self.points.kl

    @property
    def value(self) -> Float[np.ndarray, " P"]:
        """The return of each point, ascending from the base's."""
        return self.points.value

    @property
    def best(self) -> float:
        """The highest return of any policy, also of those at an infinite KL."""
        return self.points.best

    @property
    def error(self) -> float:
        """How far the points, joined by straight lines, can lie below the frontier, in units of return."""
        return float(_between(self.beta, self.kl, self.value).max(initial=0.0))

    def __repr__(self) -> str:
        ends = f"return {self.value[0]:z.4g} to {self.value[-1]:z.4g} over {self.kl[-1]:.4g} nats"
        return f"Frontier({self.mdp.where.name}: {ends}, {len(self.kl)} points)"

    def at(self, kl: Float[np.ndarray, "*batch"] | float, tolerance: float = PRECISION) -> Float[np.ndarray, "*batch"]:
        """Return the highest return of any policy whose KL from the base is at most `kl`.

        The price β at which the best policy has that KL is found by bisection, until tangents and chord leave no more than the
        tolerance between them: the error is proven, not estimated.

        Args:
            kl: in nats, discounted (`kl_from_base`), any shape. Above the KL of the nearest best policy more KL is worth
                nothing; infinity stands for policies that the base gives no probability. NaN stays NaN.
            tolerance: largest error, as a share of what there is to gain, best less base.

        Raises:
            ValueError: for a KL below 0.

        Example:
            >>> one_step = TabularMDP.from_map(("SG",), discount=0.0)
            >>> curve = frontier(one_step, np.full((2, 4), 0.25))
            >>> curve.at(np.array([0.0, 0.5, np.log(4)])).round(4)  # p log 4p + (1-p) log (4-4p)/3 = 0.5
            array([0.25  , 0.7269, 1.    ])
        """
        check_positive("tolerance", tolerance)
        wanted = np.asarray(kl, float)
        if (wanted < 0).any():
            raise ValueError(f"kl is {wanted.min()}; allowed: nats >= 0, as kl_from_base gives")
        result = np.where(np.isinf(wanted), self.best, np.where(wanted >= self.kl[-1], self.value[-1], self.value[0]))
        result = np.where(np.isnan(wanted), np.nan, result)
        between = (wanted > 0) & (wanted < self.kl[-1])
        if between.any():
            distinct, which = np.unique(wanted[between], return_inverse=True)
            result[between] = _Search(self, distinct).run(tolerance * (self.value[-1] - self.value[0]))[which]
        return result

    def gap(
        self,
        kl: Float[np.ndarray, "*batch"] | float,
        value: Float[np.ndarray, "*batch"] | float,
        tolerance: float = PRECISION,
    ) -> Float[np.ndarray, "*batch"]:
        """Return how much more the best policy at a policy's KL returns than the policy does; never below 0 but by rounding.

        Args:
            kl: of the policy, as `kl_from_base` gives it; infinite for one that the base gives no probability.
            value: its discounted return, as `evaluate_policy(mdp, policy) @ mdp.start` gives it.
            tolerance: as for `at`.
        """
        return self.at(kl, tolerance) - np.asarray(value, float)


def frontier(mdp: TabularMDP, base: Float[np.ndarray, "S A"], *, tolerance: float = TOLERANCE) -> Frontier:
    """Return the reward-KL frontier of a base policy.

    Args:
        mdp: the problem; its `discount` is used, its horizon is not (see the module).
        base: the base, or reference, policy.
        tolerance: how far the points, joined by straight lines, may lie below the curve, as a share of what there is to gain.
            `Frontier.at` does not depend on it.

    Raises:
        ValueError: for what is not an MDP or not a policy of it, a tolerance that is not above 0, or with discount 1 for
            returns that are infinite.

    Example:
        >>> lake = TabularMDP.from_map(("SFG",), discount=0.5)
        >>> curve = frontier(lake, np.full((3, 4), 0.25))
        >>> curve.kl[[0, -1]].round(4), curve.value[[0, -1]].round(4)  # from the uniform policy to (1 + 1/2) log 4
        (array([0.    , 2.0794]), array([0.069, 0.5  ]))
    """
    check_mdp(mdp)
    check_positive("tolerance", tolerance)
    base = check_policy(mdp, base)
    if base.ndim != 2:
        raise ValueError(f"base has shape {base.shape}; allowed: ({mdp.num_states}, {mdp.num_actions}), one policy")
    base = base / base.sum(-1, keepdims=True)
    known = _known.setdefault(mdp, OrderedDict())
    key = (float(tolerance), base.tobytes())
    if key not in known:
        known[key] = _sampled(mdp, base, tolerance)
        while len(known) > KEPT:
            known.popitem(last=False)
    return Frontier(mdp, base, known[key])


_known: WeakKeyDictionary[TabularMDP, OrderedDict[tuple[float, bytes], _Points]] = WeakKeyDictionary()


def frontier_gap(
    mdp: TabularMDP,
    base: Float[np.ndarray, "*#batch S A"],
    kl: Float[np.ndarray, "*batch"],
    value: Float[np.ndarray, "*batch"],
    tolerance: float = 1e-6,
) -> Float[np.ndarray, "*batch"]:
    """Return the gap of many policies to the frontiers of their bases, each frontier computed once.

    Args:
        mdp: the problem.
        base: of the policies.
        kl, value: of the policies, as `Frontier.gap` takes them.
        tolerance: as for `Frontier.at`.

    Example:
        >>> lake, uniform = TabularMDP.from_map(("SFG",), discount=0.5), np.full((3, 4), 0.25)
        >>> frontier_gap(lake, uniform, np.array([0.0, 9.0]), np.array([0.0, 0.3])).round(4)
        array([0.069, 0.2  ])
    """
    check_mdp(mdp)
    kl, value = np.asarray(kl, float), np.asarray(value, float)
    base = np.asarray(base, float)
    bases = base.reshape(-1, *base.shape[-2:])
    member = np.broadcast_to(np.arange(len(bases)).reshape(base.shape[:-2]), kl.shape)
    result = np.empty(kl.shape)
    for i, one in enumerate(bases):
        result[member == i] = frontier(mdp, one).gap(kl[member == i], value[member == i], tolerance)
    return result


# ---- the points ----


def _solved(
    mdp: TabularMDP,
    base: Float[np.ndarray, "S A"],
    beta: Float[np.ndarray, " M"],
    start: Float[np.ndarray, "M S"] | None = None,
) -> tuple[Float[np.ndarray, " M"], Float[np.ndarray, " M"], Float[np.ndarray, "M S"]]:
    """Return KL and return of the best policy for each price, and its soft values."""
    soft, policy = soft_policy_iteration(mdp, base, beta, start=start)
    kl, value = _per_episode(mdp, policy, step_kl(policy, base))
    return kl, value, soft


def _sampled(mdp: TabularMDP, base: Float[np.ndarray, "S A"], tolerance: float) -> _Points:
    ends = np.stack([base, _nearest_best(mdp, base)])
    kl, value = _per_episode(mdp, ends, step_kl(ends, base))
    best = float(optimal_values(mdp)[0] @ mdp.start)
    to_gain, beta, soft = value[1] - value[0], np.array([np.inf, 0.0]), np.zeros((2, mdp.num_states))
    if to_gain <= NOTHING * max(abs(value).max(), abs(best)):  # the base is best
        return _Points(beta[:1], kl[:1], value[:1], soft[:1], best)
    new = to_gain * np.array(FIRST)
    while len(new) and len(beta) < MOST_POINTS:
        start = _start_values(beta[1:-1], soft[1:-1], new) if len(beta) > 2 else None
        more = new, *_solved(mdp, base, new, start)
        beta, kl, value, soft = (np.concatenate(pair) for pair in zip((beta, kl, value, soft), more, strict=True))
        order = np.argsort(-beta, kind="stable")
        beta, kl, value, soft = (each[order] for each in (beta, kl, value, soft))
        new = _prices_between(beta, _between(beta, kl, value) / (tolerance * to_gain))
    kl, value = np.maximum.accumulate(kl), np.maximum.accumulate(value)  # beside the ends they differ by rounding alone
    distinct = np.append(np.diff(kl) > 0, True)
    return _Points(beta[distinct], kl[distinct], value[distinct], soft[distinct], best)


def _nearest_best(mdp: TabularMDP, base: Float[np.ndarray, "S A"]) -> Float[np.ndarray, "S A"]:
    """Return the best policy among those that the base gives a probability; of several, the one nearest to the base."""
    possible = (base > 0) | mdp.terminal[:, None]
    best = optimal_policy(mdp if possible.all() else _restricted(mdp, possible))
    weights = np.where(mdp.terminal[:, None] | ((best > 0) & possible), base, 0.0)
    _, policy = soft_policy_iteration(mdp, weights, np.ones(1), reward=np.zeros_like(base))
    nearest: Float[np.ndarray, "S A"] = policy[0]
    return nearest


def _restricted(mdp: TabularMDP, possible: Bool[np.ndarray, "S A"]) -> TabularMDP:
    """Return the MDP in which an action that is not possible does what the first possible one of that state does."""
    action = np.where(possible, np.arange(mdp.num_actions), possible.argmax(-1)[:, None])
    state = np.arange(mdp.num_states)[:, None]
    names = ("next_state", "probability", "reward", "terminated")
    arrays = {name: getattr(mdp, name)[state, action] for name in names}
    return TabularMDP(**arrays, start=mdp.start, discount=mdp.discount, check=False)


def _between(
    beta: Float[np.ndarray, " P"], kl: Float[np.ndarray, " P"], value: Float[np.ndarray, " P"]
) -> Float[np.ndarray, " P-1"]:
    """Return the most that a concave curve with slope beta at each point can rise above the chords between them.

    That is where the two tangents meet; the first one, at the base, is vertical.
    """
    width, rise = np.diff(kl), np.diff(value)
    left, right = beta[:-1], beta[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        meeting = np.where(np.isinf(left), 0.0, np.clip((rise - right * width) / (left - right), 0.0, width))
        above = np.where(np.isinf(left), rise - right * width, left * meeting - rise / width * meeting)
    return np.where(width > 0, np.maximum(above, 0.0), 0.0)


def _prices_between(beta: Float[np.ndarray, " P"], excess: Float[np.ndarray, " P-1"]) -> Float[np.ndarray, " M"]:
    """Return prices to solve for between points whose error is `excess` times what is allowed, descending.

    The error of a chord falls with the square of its length, that beside the base with the price's inverse, and that beside the
    best policy exponentially.
    """
    prices: list[float] = []
    for left, right, times in zip(beta[:-1], beta[1:], excess, strict=True):
        if times <= 1:
            continue
        if np.isinf(left):
            prices.append(right * min(1.5 * times, 1000.0) if times > 2 else 3 * right)
        elif right == 0:
            prices.append(left / 2)
        else:
            pieces = int(np.clip(np.ceil(np.sqrt(times)), 2, 8))
            prices += np.geomspace(left, right, pieces + 1)[1:-1].tolist()
    return np.array(prices)


def _start_values(
    beta: Float[np.ndarray, " P"], soft: Float[np.ndarray, "P S"], new: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "M S"]:
    """Return soft values for new prices, between those of the nearest known ones on a logarithmic scale."""
    known, wanted = -np.log(beta), -np.log(new)
    right = np.clip(np.searchsorted(known, wanted), 1, max(1, len(known) - 1))
    if len(known) == 1:
        return np.repeat(soft, len(new), 0)
    share = np.clip((wanted - known[right - 1]) / (known[right] - known[right - 1]), 0.0, 1.0)[:, None]
    values: Float[np.ndarray, "M S"] = (1 - share) * soft[right - 1] + share * soft[right]
    return values


# ---- the curve at a KL ----


class _Search:
    """Bisection for the price at which the best policy has a KL, for many KLs at once.

    Args:
        curve: the frontier.
        wanted: KLs between those of its ends, ascending.
    """

    def __init__(self, curve: Frontier, wanted: Float[np.ndarray, " Q"]) -> None:
        self.curve, self.wanted = curve, wanted
        right = np.clip(np.searchsorted(curve.kl, wanted, side="right"), 1, len(curve.kl) - 1)
        sides = np.stack([right - 1, right])  # of each KL, the points around it
        self.beta, self.kl, self.value = curve.beta[sides], curve.kl[sides], curve.value[sides]

    def run(self, error: float) -> Float[np.ndarray, " Q"]:
        """Return the curve's height at each KL, half-way between bounds that are at most `error` apart."""
        points = self.curve.points
        for turn in range(MOST_ROUNDS):
            low, high = self._bounds()
            active = np.flatnonzero(high - low > error)
            if not len(active):
                break
            new = self._prices(active, halved=turn % 3 == 2)
            start = _start_values(points.beta[1:-1], points.soft[1:-1], new)
            kl, value, _ = _solved(self.curve.mdp, self.curve.base, new, start)
            side = (kl > self.wanted[active]).astype(int)
            self.beta[side, active], self.kl[side, active], self.value[side, active] = new, kl, value
        return (low + high) / 2

    def _bounds(self) -> tuple[Float[np.ndarray, " Q"], Float[np.ndarray, " Q"]]:
        """Return the chord, which the curve is above, and the lower tangent, which it is below."""
        before, after = self.wanted - self.kl[0], self.kl[1] - self.wanted
        chord = (self.value[0] * after + self.value[1] * before) / (before + after)
        vertical = np.isinf(self.beta[0])
        tangent = np.where(vertical, np.inf, self.value[0] + np.where(vertical, 0.0, self.beta[0]) * before)
        return chord, np.maximum(chord, np.minimum(tangent, self.value[1] - self.beta[1] * after))

    def _prices(self, active: np.ndarray, *, halved: bool) -> Float[np.ndarray, " M"]:
        """Return the next price of each KL: near the base K falls with the square of the price, else log by log."""
        (left, right), (less, more), wanted = self.beta[:, active], self.kl[:, active], self.wanted[active]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = 0.5 if halved else np.log(wanted / less) / np.log(more / less)
            inside = np.exp(np.log(left) + np.clip(share, 0.01, 0.99) * np.log(right / left))
            above = right * np.sqrt(more / wanted) * (4.0 if halved else 1.0)
        return np.where(np.isinf(left), above, np.where(right == 0, left / 2, inside))
