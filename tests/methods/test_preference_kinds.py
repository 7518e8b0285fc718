"""DPO's relatives and KTO: each is the loss that it claims, of the right log-probabilities, with its own options."""

import math
from dataclasses import replace
from math import e

import numpy as np
import pytest
import torch
from support import options_of
from test_methods import SEEDS, SHORT, SLIPPERY, log_probs, make, rows

from ift_gridworld import METHODS
from ift_gridworld.data import demonstrations, generators, preference_pairs
from ift_gridworld.data.trajectories import replay
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.policies.lake import TabularPolicy
from ift_gridworld.training import make_base
from ift_gridworld.training.loop import train

LINE = TabularMDP.from_map(("SFG",))  # left, down, right, up; a wall on three sides


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def cost(x):
    """-log sigmoid(x)."""
    return math.log1p(math.exp(-x))


# By name, of c = log pi - log ref of the chosen answer and r of the rejected one, at the options of TESTED.
FORMULAS = {
    "hinge": lambda c, r: max(0, 1 - 0.3 * (c - r)),
    "robust": lambda c, r: (0.9 * cost(0.3 * (c - r)) - 0.1 * cost(0.3 * (r - c))) / 0.8,
    "exo": lambda c, r: sum(p * math.log(p / q) for p, q in ((sigmoid(0.3 * (c - r)), 0.9), (sigmoid(0.3 * (r - c)), 0.1))),
    "nca": lambda c, r: cost(0.3 * c) + cost(-0.3 * c) / 2 + cost(-0.3 * r) / 2,
    "bco": lambda c, r: cost(0.3 * c) + cost(-0.3 * r),
    "sppo": lambda c, r: (c - 1 / 0.6) ** 2 + (r + 1 / 0.6) ** 2,
    "apo_zero": lambda c, r: 1 - sigmoid(0.3 * c) + sigmoid(0.3 * r),
    "apo_down": lambda c, r: sigmoid(0.3 * c) + 1 - sigmoid(0.3 * (c - r)),
    "discopop": lambda c, r: (
        sigmoid(0.3 * (r - c) / 0.7) * cost(0.3 * (c - r)) + sigmoid(0.3 * (c - r) / 0.7) * e ** (-0.3 * (c - r))
    ),
    "dpop": lambda c, r: cost(0.3 * (c - r - 2.5 * max(0, -c))),
    "chi_po": lambda c, r: cost(max(-8, min(8, 0.3 * (e**c + c - e**r - r)))),
    "cal_dpo": lambda c, r: cost(c - r) + (c - 1 / 0.6) ** 2 + (r + 1 / 0.6) ** 2,
}
TESTED = {"beta": 0.3, "label_smoothing": 0.1, "tau": 0.7, "weight": 2.5, "max_reward": 4.0}


@pytest.mark.parametrize("name", FORMULAS)
def test_each_kind_is_its_formula(name):
    """Log-ratios by loops over steps, the formula in plain floats."""
    method = make(name, **TESTED)
    chosen, rejected = method.source.chosen, method.source.rejected
    expected = []
    for n in range(SEEDS):
        c, r = (
            (rows(log_probs(method.policy, n, side), side) - rows(log_probs(method.reference, n, side), side)).tolist()
            for side in (chosen, rejected)
        )
        expected.append(np.mean([FORMULAS[name](*pair) for pair in zip(c, r, strict=True)]))
    np.testing.assert_allclose(method.loss(method.batch(0)).detach(), expected, rtol=1e-10)


@pytest.mark.parametrize("name", FORMULAS)
def test_one_update_goes_down_the_formula(name):
    """From the base on a hand-made corridor: the chosen answer goes right twice, the rejected one bumps once before. Adam's
    first step moves each logit by the learning rate against the sign of the formula's slope."""
    pairs = replay(LINE, [2, 2], 1), replay(LINE, [0, 2, 2], 1)
    base = TabularPolicy(3, 4)
    made = train(name, LINE, base, preferences=pairs, steps=1, learning_rate=1e-3, **options_and(name))
    moved = np.log(made.final) - np.log(0.25)  # uniform before
    h, formula = 1e-6, FORMULAS[name]  # to the right: DPO-Positive has a kink at the base, and its penalty no slope there
    slope_c, slope_r = (formula(h, 0) - formula(0, 0)) / h, (formula(0, h) - formula(0, 0)) / h
    for state, (chosen, rejected) in {0: ([2], [0, 2]), 1: ([2], [2])}.items():
        gradient = np.zeros(4)
        for slope, actions in ((slope_c, chosen), (slope_r, rejected)):
            for action in actions:
                gradient += slope * (np.eye(4)[action] - 0.25)
        step = -1e-3 * np.sign(np.where(np.abs(gradient) < 1e-5, 0, gradient))
        np.testing.assert_allclose(moved[0, state], step - np.log(np.exp(step).mean()), atol=1e-7)  # float32 logits


def options_and(name):
    return vars(options_of(name, **TESTED))


def test_robust_dpo_without_flipped_labels_is_dpo():
    robust, dpo = (make(name, **changes) for name, changes in (("robust", {"label_smoothing": 0}), ("dpo", {})))
    assert torch.equal(robust.loss(robust.batch(0)), dpo.loss(dpo.batch(0)))


def test_robust_dpo_is_unbiased_under_flipped_labels():
    """A share of 0.3 of the labels flipped: 0.7 of the loss on a pair and 0.3 on its reverse is DPO's on the pair; DPO's own
    is not."""
    robust, dpo = (make(name, label_smoothing=share) for name, share in (("robust", 0.3), ("dpo", 0)))
    pair = robust.batch(0)
    mixed = 0.7 * robust.loss(pair) + 0.3 * robust.loss(pair[::-1])
    torch.testing.assert_close(mixed, dpo.loss(dpo.batch(0)), rtol=1e-12, atol=0)
    assert (0.7 * dpo.loss(pair) + 0.3 * dpo.loss(pair[::-1]) - mixed).abs().min() > 1e-3


@pytest.mark.parametrize("imitation", [0.0, 0.4])
def test_cpo_is_dpo_against_a_uniform_base_and_sft(imitation):
    """The margin of the policy's own sums, and so much of the chosen answer's mean negative log-likelihood."""
    method = make("cpo", beta=0.3, label_smoothing=0.1, imitation=imitation)
    chosen, rejected = method.source.chosen, method.source.rejected
    expected = []
    for n in range(SEEDS):
        c, r, likelihood = (
            rows(log_probs(method.policy, n, side), side, mean).tolist()
            for side, mean in ((chosen, False), (rejected, False), (chosen, True))
        )
        pairs = zip(c, r, likelihood, strict=True)
        expected.append(np.mean([0.9 * cost(0.3 * (x - y)) + 0.1 * cost(0.3 * (y - x)) - imitation * z for x, y, z in pairs]))
    np.testing.assert_allclose(method.loss(method.batch(0)).detach(), expected, rtol=1e-10)


def test_discopop_first_moves_towards_the_rejected_answer():
    """Its slope at the base is beta ((1 - log 2) / (4 tau) - 3/4): above 0 where tau is below 0.102, as the published one."""
    for tau, falls in ((0.05, True), (0.2, False)):
        method = make("discopop", tau=tau)
        method._reference = method.policy  # a margin of 0
        assert ((1 - math.log(2)) / (4 * tau) > 0.75) == falls
        pair = method.batch(0)
        loss = method.loss(pair).sum()
        (slope,) = torch.autograd.grad(loss, method.policy.theta)
        with torch.no_grad():
            method._reference = make("discopop").policy
            method._sides = None
            method.policy.theta.sub_(1e-4 * slope)
            margin = [side.sum for side in scored(method)]
            before = [side.sum for side in scored(make("discopop"))]
        assert (((margin[0] - margin[1]) < (before[0] - before[1])).all()) == falls


def scored(method):
    from ift_gridworld.methods.preferences import Scored

    return [Scored(side, method.policy) for side in method.batch(0)]


# ---- KTO ----


def kto_by_hand(method, points, weights=(1.0, 1.0)):
    expected = []
    for n in range(SEEDS):
        values = []
        for side, sign, weight in zip((method.source.chosen, method.source.rejected), (1, -1), weights, strict=True):
            ratio = rows(log_probs(method.policy, n, side), side) - rows(log_probs(method.reference, n, side), side)
            values.append(np.mean([weight * sigmoid(-sign * 0.3 * (x - points[n])) for x in ratio.tolist()]))
        expected.append(np.mean(values))
    return expected


def exact_kl(mdp, policy, reference, steps):
    """Walk step by step from the start: at each, the chance of standing in a state times KL(policy || reference) there."""
    result = []
    for ours, base in zip(policy.probabilities(), reference.probabilities(), strict=True):
        standing, total = mdp.start.copy(), 0.0
        for _ in range(steps):
            standing = np.where(mdp.terminal, 0, standing)
            total += sum(standing[s] * sum(p * math.log(p / q) for p, q in zip(ours[s], base[s], strict=True))
                         for s in range(mdp.num_states))  # fmt: skip
            standing = np.einsum("s,sa,sat->t", standing, ours, mdp.transition)
        result.append(total)
    return result


@pytest.mark.parametrize("horizon", [None, 5])
def test_kto_knows_its_reference_point_on_a_lake(horizon):
    """Of episodes of at most ten steps a state, or within the time limit; undiscounted, ends left out."""
    mdp = replace(SHORT, horizon=horizon)
    method = make("kto", mdp=mdp, beta=0.3, desirable_weight=0.8, undesirable_weight=1.3)
    points = exact_kl(mdp, method.policy, method.reference, horizon or 60)
    assert min(points) > 0.05
    np.testing.assert_allclose(method.source.own_kl(method.policy, method.reference), points, rtol=1e-10)
    np.testing.assert_allclose(method.loss(method.batch(0)).detach(), kto_by_hand(method, points, (0.8, 1.3)), rtol=1e-10)


@pytest.mark.parametrize("size", [(2, 3), (7, 7)])
def test_the_divergence_of_members_on_several_lakes_is_each_ones_own(size):
    """Small lakes are followed by doubling, larger ones step by step."""
    rows, columns = size
    lakes = [
        TabularMDP.from_map(["S" + "F" * (columns - 2) + last, *["F" * columns] * (rows - 2), "F" * (columns - 1) + other])
        for last, other in ("GF", "FG")
    ]
    policy, base = (TabularPolicy(rows * columns, 4, 4).initialise(generators(s, 4)).double() for s in (5, 50))
    source = LakeSource(lakes[0], None, None, None, generators(0, 4), lakes=lakes)
    expected = [
        exact_kl(lake, policy.members(pair), base.members(pair), lake.horizon)
        for lake, pair in zip(lakes, ([0, 1], [2, 3]), strict=True)
    ]
    np.testing.assert_allclose(source.own_kl(policy, base), np.concatenate(expected), rtol=1e-9)


def test_kto_estimates_its_reference_point_as_published():
    """All answers of a lake answer one prompt, so that each is mismatched: the mean of their log-ratios, not below 0."""
    method = make("kto", beta=0.3, kl="mismatched")
    points = []
    for n in range(SEEDS):
        sides = method.source.chosen, method.source.rejected
        ratios = [rows(log_probs(method.policy, n, x), x) - rows(log_probs(method.reference, n, x), x) for x in sides]
        points.append(max(0.0, float(torch.cat(ratios).mean())))
    np.testing.assert_allclose(method.loss(method.batch(0)).detach(), kto_by_hand(method, points), rtol=1e-10)
    exact = make("kto", beta=0.3)
    assert (exact.loss(exact.batch(0)) - method.loss(method.batch(0))).abs().min() > 1e-3


def test_the_reference_point_passes_no_gradient_on():
    method = make("kto")
    assert not method._reference_point(method.batch(0)).requires_grad


def test_kto_goes_on_where_a_member_has_diverged():
    method = make("kto")
    with torch.no_grad():
        method.policy.theta[0, 0] = torch.nan
    loss = method.loss(method.batch(0))
    assert loss[0].isnan() and loss[1].isfinite()


def test_kto_needs_no_exact_divergence_on_a_lake_too_large(monkeypatch):
    """There the published estimate is the default, and asking for the exact one is refused."""
    from ift_gridworld.methods import source

    monkeypatch.setattr(source, "FOLLOWED", 10)
    usual, published, exact = (make("kto", kl=kl) for kl in (None, "mismatched", "exact"))
    assert torch.equal(usual.loss(usual.batch(0)), published.loss(published.batch(0)))
    with pytest.raises(ValueError, match="kl is 'exact', which is known on lakes"):
        exact.loss(exact.batch(0))


def test_kto_trains_many_lakes_as_each_alone():
    from ift_gridworld.training.lakes import train_lakes

    lakes = [TabularMDP.from_map(["SFG", "FFF"]), TabularMDP.from_map(["SFF", "FHG"])]
    data = {"demonstrations": [demonstrations(x) for x in lakes], "preferences": [preference_pairs(x) for x in lakes]}
    together = train_lakes("kto", lakes, make_base("random", lakes, policy="tabular", seeds=2), keep=(5,), **data)
    for i, lake in enumerate(lakes):
        own = {name: [values[i]] for name, values in data.items()}
        base = make_base("random", lakes, policy="tabular", seeds=2).members([2 * i, 2 * i + 1])
        alone = train_lakes("kto", [lake], base, keep=(5,), **own)
        np.testing.assert_allclose(together[0, i], alone[0, 0], rtol=0, atol=1e-6)  # float32


def test_a_source_without_dynamics_has_no_exact_divergence():
    policy = TabularPolicy(16, 4, 1)
    source = LakeSource(SLIPPERY, None, None, None, generators(0, 1))
    assert super(LakeSource, source).own_kl(policy, policy) is None
    assert METHODS["kto"].needs == "pairs"
