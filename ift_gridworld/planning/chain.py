"""The Markov chain that a policy makes of an MDP: its values, its visits, and its walk step by step.

A batch of M policies is M chains side by side. Small chains are a dense batch of matrices [M, S, S], large ones one
block-diagonal sparse matrix [M S, M S]; the algebra is the same. A place of the block-diagonal matrix is an index into [M S].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning.matrices import closed_classes, eliminate, factorise, solve_undiscounted

__all__ = ["DENSE_STATES", "PolicyChain", "check_policy", "visits_within", "walk"]

DENSE_STATES = 40  # up to this many states, matrices are dense
# Probabilities that count as 0: that an episode still goes on; that it stands in a state, of which many add up.
FINISHED, NEGLIGIBLE = 1e-16, 1e-24
# In steps: how far around an episode the window reaches, how often its rim is checked, how often it is computed anew.
REACH, CHECK_EVERY, WINDOW_STEPS = 32, 8, 1024


def check_policy(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S A"]:
    """Return the policy as an array of floats, refused if its shape or its rows are not a policy's.

    Raises:
        ValueError: naming the shape, or rows that are no distributions.

    Example:
        >>> check_policy(TabularMDP.from_map(("SG",)), [[0, 0, 1, 0], [0.25, 0.25, 0.25, 0.25]]).shape
        (2, 4)
    """
    policy = np.asarray(policy, float)
    if policy.shape[-2:] != (mdp.num_states, mdp.num_actions):
        raise ValueError(f"policy has shape {policy.shape}; it must end in ({mdp.num_states}, {mdp.num_actions})")
    if not np.allclose(policy.sum(-1), 1.0, rtol=0, atol=1e-4) or policy.min() < 0:
        raise ValueError("policy has rows that are no distributions; each must be >= 0 and sum to 1")
    return policy


class PolicyChain:
    """The Markov chains of a batch of policies, over the outcomes that do not end the episode.

    Args:
        mdp: gives the transitions.
        policy: action probabilities; M is the product of the leading dimensions.
    """

    def __init__(self, mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> None:
        self.mdp, self.shape = mdp, policy.shape[:-1]
        self.policy = policy.reshape(-1, *policy.shape[-2:])

    @cached_property
    def transition(self) -> Any:
        """P_π, a dense batch or sparse."""
        if self.mdp.num_states > DENSE_STATES:
            return self.submatrix(np.arange(len(self.policy) * self.mdp.num_states))
        goes_on = self.mdp.probability * ~self.mdp.terminated
        return np.einsum("msa,sat->mst", self.policy, self.mdp.scatter(goes_on), optimize=True)

    def submatrix(self, places: Int[np.ndarray, " R"]) -> Any:
        """P_π among these places, sparse [R, R]; transitions out of them are omitted."""
        from scipy.sparse import csr_array  # loaded where it is needed: it costs a tenth of a second

        mdp, size = self.mdp, len(self.policy) * self.mdp.num_states
        member, state = np.divmod(places, mdp.num_states)
        narrow = np.int32 if mdp.probability[0].size * len(places) < 2**31 else np.int64  # half the memory to read
        weight = self.policy[member, state, :, None] * (mdp.probability[state] * ~mdp.terminated[state])
        successor = mdp.next_state[state] + (mdp.num_states * member.astype(narrow))[:, None, None]
        if len(places) < size:
            number = np.full(size, -1, narrow)
            number[places] = np.arange(len(places), dtype=narrow)
            successor = number[successor]
            weight[successor < 0] = 0.0
            successor[successor < 0] = 0
        rows = np.arange(0, weight.size + 1, mdp.probability[0].size, dtype=narrow)
        matrix = csr_array((weight.ravel(), successor.ravel(), rows), (len(places), len(places)))
        matrix.eliminate_zeros()
        matrix.sum_duplicates()
        return matrix

    def window(self, mass: Float[np.ndarray, " MS"]) -> tuple[Int[np.ndarray, " R"], Int[np.ndarray, " O"]]:
        """Return the places within `REACH` steps of where there is mass, and the indices of the window's rim.

        Only from the rim do `CHECK_EVERY` steps lead out. Where the window would hold most places, all are returned, and no
        rim.
        """
        mdp, all_places = self.mdp, np.arange(mass.size)
        no_rim = all_places[:0]
        if mdp.num_states <= REACH**2 // 2:  # the number of tiles within reach of a grid's corner
            return all_places, no_rim
        new = np.flatnonzero(mass > NEGLIGIBLE)
        steps_to, count = np.full(mass.size, -1, np.int16), len(new)
        steps_to[new] = 0
        for step in range(1, REACH + 1):
            if not len(new) or 2 * count > mass.size:
                break
            member, state = np.divmod(new, mdp.num_states)
            goes_on = (mdp.probability[state] > 0) & ~mdp.terminated[state] & (self.policy[member, state] > 0)[..., None]
            successor = (mdp.next_state[state] + mdp.num_states * member[:, None, None])[goes_on]
            new = np.unique(successor[steps_to[successor] < 0])
            steps_to[new] = step
            count += len(new)
        if 2 * count > mass.size:
            return all_places, no_rim
        window = np.flatnonzero(steps_to >= 0)
        return window, np.flatnonzero(steps_to[window] > REACH - CHECK_EVERY)

    def forward_within(self, places: Int[np.ndarray, " R"]) -> Callable[[Float[np.ndarray, " R"]], Float[np.ndarray, " R"]]:
        """Return the function x -> x P_π among these places: one step of the mass x."""
        if self.mdp.num_states <= DENSE_STATES or len(places) == len(self.policy) * self.mdp.num_states:
            return self.forward
        matrix = self.submatrix(places).T.tocsr()
        return lambda mass: matrix @ mass

    def forward(self, mass: Float[np.ndarray, "*batch S"]) -> Float[np.ndarray, "*batch S"]:
        """Return x P_π: where the mass x is one step later, except for what has ended."""
        columns = mass.reshape(-1, self.mdp.num_states, 1) if isinstance(self._transposed, np.ndarray) else mass.ravel()
        return (self._transposed @ columns).reshape(mass.shape)

    def backward(self, value: Float[np.ndarray, "*batch S"]) -> Float[np.ndarray, "*batch S"]:
        """Return P_π x: the expected value of the next state, where an episode that has ended is worth 0."""
        columns = value.reshape(-1, self.mdp.num_states, 1) if isinstance(self.transition, np.ndarray) else value.ravel()
        return (self.transition @ columns).reshape(value.shape)

    @cached_property
    def _transposed(self) -> Any:
        """P_π transposed; a sparse one by rows, so that the mass entering a state is read in one go, not scattered."""
        return self.transition.swapaxes(-1, -2) if isinstance(self.transition, np.ndarray) else self.transition.T.tocsr()

    def ended(self, mass: Float[np.ndarray, "*batch S"]) -> Float[np.ndarray, "*batch S"]:
        """Return where the mass ends its episode in the next step (a terminal state's own row is not a step)."""
        mdp, flat = self.mdp, mass.reshape(-1, self.mdp.num_states)
        walking = np.flatnonzero(flat.any(0) & ~mdp.terminal)
        row, action, slot = np.nonzero(mdp.terminated[walking])
        state = walking[row]
        ends = flat[:, state] * self.policy[:, state, action] * mdp.probability[state, action, slot]
        entered = mdp.num_states * np.arange(len(ends))[:, None] + mdp.next_state[state, action, slot]
        return np.bincount(entered.ravel(), ends.ravel(), mass.size).reshape(mass.shape)

    def values(self, reward: Float[np.ndarray, "*batch S"], discount: float) -> Float[np.ndarray, "*batch S"]:
        """Solve x = reward + discount P_π x.

        Raises:
            ValueError: with discount 1, where an episode that never ends goes on being rewarded.
        """
        if discount == 1 and np.any(reward[self.closed] != 0):
            raise ValueError("a value is infinite: with discount 1 this policy can walk for ever, and walking on is not free")
        return self._solve(reward, discount, transpose=False)

    def visits(self, start: Float[np.ndarray, "*batch S"], discount: float) -> Float[np.ndarray, "*batch S"]:
        """Solve d = start + discount d P_π.

        Raises:
            ValueError: with discount 1, where an episode never ends.
        """
        visits = self._solve(start, discount, transpose=True)
        if discount == 1 and np.any(visits[self.closed] > 0):
            raise ValueError("visits are infinite: with discount 1 this policy can walk for ever; give a horizon")
        return visits

    @cached_property
    def closed(self) -> Bool[np.ndarray, "*batch S"]:
        """States in which an episode, once there, walks among a few for ever."""
        everywhere = np.arange(len(self.policy) * self.mdp.num_states)
        matrix = self.submatrix(everywhere) if isinstance(self.transition, np.ndarray) else self.transition
        return closed_classes(matrix, self._ends.ravel()).reshape(self.shape)

    @cached_property
    def _ends(self) -> Float[np.ndarray, "M S"]:
        """The probability that an episode ends at the next step."""
        return np.einsum("msa,sak->ms", self.policy, self.mdp.probability * self.mdp.terminated)

    def _solve(
        self, right: Float[np.ndarray, "*batch S"], discount: float, *, transpose: bool
    ) -> Float[np.ndarray, "*batch S"]:
        members, flat = len(self.policy), right.reshape(len(self.policy), -1)
        if not isinstance(self.transition, np.ndarray):
            if discount == 1:
                places = self._ends.ravel(), self.closed.ravel()
                x = solve_undiscounted(self.transition, *places, flat.ravel(), members=members, transpose=transpose)
            else:
                rates = np.full(flat.size, discount)
                x = factorise(self.transition, rates).solve(flat.ravel(), "T" if transpose else "N")
        elif discount == 1:
            closed = self.closed.reshape(flat.shape)  # counts as an end
            flow = self.transition * ~closed[..., None]
            x = eliminate(flow, np.where(closed, 1.0, self._ends), flat, transpose=transpose)
        else:
            matrix = np.eye(self.mdp.num_states) - discount * self.transition
            matrix = matrix.swapaxes(-1, -2) if transpose else matrix
            x = np.linalg.solve(matrix, flat[..., None])
        return x.reshape(right.shape)


def walk(
    chain: PolicyChain, start: Float[np.ndarray, "*batch S"], horizon: int, discount: float
) -> tuple[Float[np.ndarray, "*batch S"], Float[np.ndarray, "*batch S"]]:
    """Walk `horizon` steps: return the mass from which steps are taken, summed over the steps, and the mass still walking.

    On a large lake an episode is nearly always near its path. It is walked over a window of the states around it, which moves
    with it. Probabilities below `NEGLIGIBLE` on the window's rim are dropped, an error far below rounding; the walk stops once
    less than `FINISHED` is still walking.

    Example:
        >>> chain = PolicyChain(TabularMDP.from_map(("SFG",)), np.eye(4)[[2, 2, 2]])  # always to the right
        >>> walk(chain, np.array([1.0, 0.0, 0.0]), horizon=1, discount=1.0)
        (array([1., 0., 0.]), array([0., 1., 0.]))
    """
    walking, now, moves = np.zeros(start.size), np.array(start).ravel(), 0
    while moves < horizon and now.sum() > FINISHED:
        window, rim = chain.window(now)
        forward = chain.forward_within(window)
        mass, passed, on_rim = now[window], np.zeros(len(window)), 0.0
        until = min(horizon, moves + WINDOW_STEPS)
        while moves < until and on_rim <= NEGLIGIBLE and mass.sum() > FINISHED:
            for _ in range(min(CHECK_EVERY, until - moves)):
                passed += mass
                mass = forward(mass) if discount == 1 else discount * forward(mass)
                moves += 1
            on_rim = mass[rim].max(initial=0.0)
        walking[window] += passed
        now[:] = 0.0
        now[window] = mass
    return walking.reshape(start.shape), now.reshape(start.shape)


def visits_within(
    transition: Float[np.ndarray, "*batch S S"], start: Float[np.ndarray, "*#batch S"], steps: int
) -> Float[np.ndarray, "*batch S"]:
    """Return Σ_{t < steps} start P^t, by doubling: few products of matrices, where `walk` takes each step.

    Args:
        transition: P, over the outcomes that do not end the episode.
        start: probabilities of the first states.
        steps: number of steps, at least 1.

    Example:
        >>> visits_within(np.array([[0.5, 0.5], [0.0, 0.0]]), np.array([1.0, 0.0]), steps=3)
        array([1.75, 0.75])
    """
    first = start[..., None, :]
    total, power = first, transition  # of one step
    for digit in f"{steps:b}"[1:]:
        total, power = total + total @ power, power @ power
        if digit == "1":
            total, power = first + total @ transition, power @ transition
    return total[..., 0, :]
