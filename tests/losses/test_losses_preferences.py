"""Losses over pairs against closed forms, and what they converge to."""

from itertools import product

import numpy as np
import pytest
import torch
from loss_inputs import close, draw, gradient, log_probs, tensor, with_gradients

from ift_gridworld.losses import (
    bradley_terry_loss,
    cal_dpo_loss,
    chi_po_loss,
    cpo_loss,
    dpo_loss,
    ipo_loss,
    orpo_loss,
    preference_loss,
    simpo_loss,
    tdpo_loss,
)
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import soft_value_iteration


def test_dpo_at_the_reference():
    """log 2, and dL/dc = -beta/2 = -dL/dr; smoothing shrinks the gradient by 1 - 2 epsilon."""
    reference = log_probs(3), log_probs(3, seed=1)
    for beta, smoothing in product((0.1, 2.0), (0.0, 0.2)):
        chosen, rejected = (x.clone().requires_grad_() for x in reference)
        loss = dpo_loss(chosen, rejected, *reference, beta=beta, label_smoothing=smoothing)
        close(loss, [np.log(2)] * 3)
        down, up = gradient(loss.sum(), chosen, rejected)
        close(down, [-beta / 2 * (1 - 2 * smoothing)] * 3)
        close(up, -down)


@pytest.mark.parametrize("free", [False, True])
def test_dpo_and_ipo_by_hand(free):
    c, r, rc, rr = (log_probs(5, seed=i) for i in range(4))
    d = (c - r - (0 if free else rc - rr)).numpy()
    sigmoid = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    close(
        dpo_loss(c, r, rc, rr, beta=0.7, label_smoothing=0.1, reference_free=free),
        -0.9 * np.log(sigmoid(0.7 * d)) - 0.1 * np.log(sigmoid(-0.7 * d)),
    )
    close(ipo_loss(c, r, rc, rr, beta=0.7, reference_free=free), (d - 1 / 1.4) ** 2)


def test_ipo_asks_for_a_margin_of_one_over_two_beta():
    zero = torch.zeros(3).double()
    chosen = tensor([0.0, 2.5, 5.0], grad=True)
    loss = ipo_loss(chosen, zero, zero, zero, beta=0.2)  # target 2.5
    close(loss, [2.5**2, 0, 2.5**2])
    close(gradient(loss.sum(), chosen)[0], [-5.0, 0, 5.0])


def test_chi_po_by_hand():
    """z + log z of each density ratio, with and without the clip, of which 0.5 lets some pairs through and stops others."""
    inputs = [log_probs(8, seed=i) for i in range(4)]
    z = [(inputs[i] - inputs[i + 2]).exp().numpy() for i in range(2)]
    margin = 0.7 * (z[0] + np.log(z[0]) - z[1] - np.log(z[1]))
    close(chi_po_loss(*inputs, beta=0.7), np.log1p(np.exp(-margin)))
    stopped = np.abs(margin) > 1
    assert stopped.any() and not stopped.all() and (margin[stopped] > 0).any() and (margin[stopped] < 0).any()
    loss, *grads = with_gradients(lambda *x: chi_po_loss(*x, beta=0.7, max_reward=0.5), inputs)
    close(loss, np.log1p(np.exp(-np.clip(margin, -1, 1))))
    assert all(np.array_equal(grad.numpy() == 0, stopped) for grad in grads)


def test_chi_po_is_dpo_where_ratios_are_small_and_twice_as_steep_at_the_reference():
    inputs = [log_probs(4, seed=i) for i in range(4)]
    rare = [inputs[0] - 40, inputs[1] - 40, *inputs[2:]]
    actual, expected = (with_gradients(lambda *x, f=f: f(*x, beta=0.3), rare) for f in (chi_po_loss, dpo_loss))
    for one, other in zip(actual, expected, strict=True):
        close(one, other, rtol=1e-12, atol=1e-15)
    loss, down, up, *_ = with_gradients(lambda *x: chi_po_loss(*x, beta=0.3), [*inputs[2:], *inputs[2:]])
    close(loss, [np.log(2)] * 4)
    close(down, [-0.3] * 4)
    close(up, [0.3] * 4)


@pytest.mark.parametrize("beta", [0.2, 1.0])
def test_population_chi_po_finds_the_policy_that_pays_for_kl_and_chi_squared(beta):
    """On a bandit, E[r] - beta (KL + chi²/2) is greatest where beta (z + log z) = r - constant. There, over all pairs labelled
    by Bradley-Terry on r, the loss is stationary; DPO's is not."""
    reward, reference = np.array([0.0, 1.0, 2.5]), np.array([0.5, 0.3, 0.2])
    low, high = -50.0, 50.0
    for _ in range(200):  # bisection for the constant; Newton's method for z + log z = y within
        constant = (low + high) / 2
        y, log_z = (reward - constant) / beta, np.zeros(3)
        for _ in range(100):
            log_z -= (np.exp(log_z) + log_z - y) / (np.exp(log_z) + 1)
        low, high = (constant, high) if (reference * np.exp(log_z)).sum() > 1 else (low, constant)
    policy = reference * np.exp(log_z)
    assert policy.sum() == pytest.approx(1, abs=1e-12)
    for loss, is_stationary in ((chi_po_loss, True), (dpo_loss, False)):
        theta = tensor(np.log(policy), grad=True)
        logp, base = torch.log_softmax(theta, -1), tensor(np.log(reference))
        total = torch.zeros(()).double()
        for c, r in product(range(3), range(3)):
            chance = 1 / (1 + np.exp(reward[r] - reward[c]))
            total = total + chance * loss(logp[c], logp[r], base[c], base[r], beta=beta)
        slope = gradient(total, theta)[0].abs().max().item()
        assert slope < 1e-9 if is_stationary else slope > 1e-2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("max_reward", [None, 3.0])
def test_chi_po_is_finite_where_no_format_holds_the_ratio(dtype, max_reward):
    edges = [-1e4, -100.0, 0.0, 20.0, 80.0, 100.0, 1e4]
    chosen, rejected = (torch.tensor(x, dtype=dtype) for x in zip(*product(edges, edges), strict=True))

    def loss(c, r):
        return chi_po_loss(c, r, torch.zeros_like(c), torch.zeros_like(r), beta=0.5, max_reward=max_reward)

    value, down, up = with_gradients(loss, [chosen, rejected])
    assert all(torch.isfinite(x).all() for x in (value, down, up))
    assert (down <= 0).all() and (up >= 0).all()
    if max_reward is None:  # up to a factor of e below the largest number there is
        largest = np.log(torch.finfo(dtype).max) - 1.25
        extreme = loss(torch.zeros(1, dtype=dtype), torch.tensor([largest], dtype=dtype))
        close(extreme.log(), [np.log(0.5) + largest], rtol=1e-5)
    small = (chosen <= 80) & (rejected <= 80)  # float32 holds e^80
    exact = with_gradients(loss, [chosen[small].double(), rejected[small].double()])
    for one, other in zip((value, down, up), exact, strict=True):
        close(one[small], other, rtol=2e-5, atol=1e-6)


def test_cal_dpo_by_hand():
    """DPO without beta, and a square for each log-ratio; the squares alone are the loss "sppo"."""
    inputs = [log_probs(5, seed=i) for i in range(4)]
    h = [(inputs[i] - inputs[i + 2]).numpy() for i in range(2)]
    close(cal_dpo_loss(*inputs, beta=0.4), np.log1p(np.exp(h[1] - h[0])) + (h[0] - 1.25) ** 2 + (h[1] + 1.25) ** 2)
    close(cal_dpo_loss(*inputs, beta=0.4) - dpo_loss(*inputs, beta=1.0), preference_loss(*inputs, kind="sppo", beta=0.4))


def test_cal_dpo_keeps_the_chosen_answer_up():
    """Where both log-ratios are at their targets, only the sigmoid's fading push is left: up for the chosen answer."""
    zero = torch.zeros(1).double()
    chosen, rejected = tensor([2.5], grad=True), tensor([-2.5], grad=True)
    down, up = gradient(cal_dpo_loss(chosen, rejected, zero, zero, beta=0.2).sum(), chosen, rejected)
    close(down, [-1 / (1 + np.exp(5))])
    close(up, -down)
    fallen = tensor([-4.0], grad=True)
    assert gradient(cal_dpo_loss(fallen, fallen.detach(), zero, zero, beta=0.2).sum(), fallen)[0] < -10


def test_cpo_is_dpo_against_a_uniform_reference():
    """Any reference that gives both answers the same probability; by hand, too."""
    chosen, rejected, same = (log_probs(5, seed=i) for i in range(3))
    actual = cpo_loss(chosen, rejected, beta=0.3, label_smoothing=0.1)
    close(actual, dpo_loss(chosen, rejected, same, same, beta=0.3, label_smoothing=0.1), rtol=1e-10)
    margin = 0.3 * (chosen - rejected).numpy()
    close(actual, 0.9 * np.log1p(np.exp(-margin)) + 0.1 * np.log1p(np.exp(margin)))


def test_orpo_by_hand():
    chosen, rejected = log_probs(6), log_probs(6, seed=1)
    c, r = chosen.exp().numpy(), rejected.exp().numpy()
    ratio = (c / (1 - c)) / (r / (1 - r))
    close(orpo_loss(chosen, rejected, beta=0.4), -np.log(c) - 0.4 * np.log(ratio / (1 + ratio)))  # sigmoid(log x) = x / (1 + x)
    close(orpo_loss(chosen, chosen, beta=0.4), -np.log(c) + 0.4 * np.log(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_orpo_is_finite_at_certainty(dtype):
    edge = [0.0, -1e-38, -1e-30, -1e-7, -0.7, -50.0]
    chosen, rejected = (torch.tensor(x, dtype=dtype, requires_grad=True) for x in zip(*product(edge, edge), strict=True))
    loss = orpo_loss(chosen, rejected)
    grads = gradient(loss.sum(), chosen, rejected)
    assert torch.isfinite(loss).all() and all(torch.isfinite(g).all() for g in grads)
    assert (loss >= 0).all()


def test_simpo_by_hand():
    chosen, rejected = log_probs(6), log_probs(6, seed=1)
    margin = (3.0 * (chosen - rejected) - 0.5).numpy()
    close(simpo_loss(chosen, rejected, beta=3.0, gamma=0.5), np.log1p(np.exp(-margin)))


@pytest.mark.parametrize("version", [1, 2])
def test_tdpo_by_hand_and_its_stopped_gradient(version):
    """With p = sigmoid(-beta d): dL/dm_c = -beta p; the rejected KL raises the loss; version 2 stops the chosen one's."""
    inputs = [draw(4, seed=i, grad=True) for i in range(4)]
    mc, mr, kc, kr = (x.detach().numpy() for x in inputs)
    weight = 1.0 if version == 1 else 0.3
    d = mc - mr - weight * (kr - kc)
    loss = tdpo_loss(*inputs, beta=0.7, alpha=0.3, version=version)
    close(loss, np.log1p(np.exp(-0.7 * d)))
    grads = torch.autograd.grad(loss.sum(), inputs, allow_unused=True)
    p = 0.7 / (1 + np.exp(0.7 * d))
    close(grads[0], -p)
    close(grads[1], p)
    close(grads[3], weight * p)
    if version == 1:
        close(grads[2], -p)
    else:
        assert grads[2] is None


def tree(probability):
    """Two steps, then an end (3): 0 leads to 1 and 2, from where each action pays differently. `probability` is that of the
    successor that an action in 0 is meant to have; the trajectories, as ((state, action), …), and their returns come along."""
    reward = {(1, 0): 0.0, (1, 1): 1.0, (2, 0): 2.0, (2, 1): 0.5}
    next_state = np.array([[[1, 2], [2, 1]], [[3, 1], [3, 1]], [[3, 2], [3, 2]], [[3, 3], [3, 3]]])
    chance = np.tile([1.0, 0.0], (4, 2, 1))
    chance[0] = [probability, 1 - probability]
    pay = np.zeros((4, 2, 2))
    for (s, a), r in reward.items():
        pay[s, a, 0] = r
    ends = np.zeros((4, 2, 2), bool)
    ends[1:, :, 0] = True
    mdp = TabularMDP(next_state, chance, pay, ends, np.eye(4)[0], 1.0)
    paths = [((0, a), (s, b)) for a, s, b in product(range(2), (1, 2), range(2)) if probability < 1 or s == a + 1]
    return mdp, paths, [reward[path[1]] for path in paths]


@pytest.mark.parametrize(("probability", "holds"), [(1.0, True), (0.7, False)])
def test_population_dpo_finds_the_rlhf_optimum_where_nothing_is_left_to_chance(probability, holds):
    """Over all pairs of trajectories, labelled by Bradley-Terry on their returns, the RLHF optimum is a stationary point of
    the population loss. With chance V(s') - E V(s') does not cancel between trajectories, and it is none."""
    mdp, paths, returns = tree(probability)
    beta = 0.6
    reference = np.array([[0.3, 0.7], [0.6, 0.4], [0.5, 0.5], [0.5, 0.5]])
    optimum = soft_value_iteration(mdp, reference, beta)[1]
    theta = tensor(np.log(optimum), grad=True)
    logp = torch.log_softmax(theta, -1)
    ours = torch.stack([sum(logp[s, a] for s, a in path) for path in paths])
    base = tensor([sum(np.log(reference[s, a]) for s, a in path) for path in paths])
    total = 0
    for i, j in product(range(len(paths)), repeat=2):
        preferred = 1 / (1 + np.exp(returns[j] - returns[i]))
        total = total + preferred * dpo_loss(ours[i], ours[j], base[i], base[j], beta=beta)
    size = gradient(total, theta)[0].abs().max()
    # soft_value_iteration stops at changes of 1e-13
    assert (size < 1e-11) if holds else (size > 1e-2)


def test_bradley_terry_recovers_returns_up_to_a_constant():
    """With every pair labelled by sigmoid(R_i - R_j), R + constant is stationary; the loss there is the labels' entropy."""
    truth = tensor([0.0, 0.7, -1.3, 2.0])
    modelled = (truth + 5.0).requires_grad_()
    label = torch.sigmoid(truth[:, None] - truth[None, :])
    first, second = modelled[:, None].expand(4, 4), modelled[None, :].expand(4, 4)
    loss = label * bradley_terry_loss(first, second) + (1 - label) * bradley_terry_loss(second, first)
    close(gradient(loss.sum(), modelled)[0], torch.zeros(4), atol=1e-14)
    close(loss, -(label * label.log() + (1 - label) * (1 - label).log()))
    close(bradley_terry_loss(tensor([3.0]), tensor([1.0])), [np.log(1 + np.exp(-2))])


DISTANCE = 1e4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("loss", "ahead", "behind"),
    [  # the limits of (value, slope in the chosen) at a margin of +1e4 and of -1e4
        # -log sigmoid(x) is 0 for x >> 0, -x for x << 0, here with x = beta d - gamma
        (bradley_terry_loss, (0.0, 0.0), (DISTANCE, -1.0)),
        (lambda c, r: simpo_loss(c, r, beta=2.0, gamma=1.5), (0.0, 0.0), (2 * DISTANCE + 1.5, -2.0)),
        (lambda c, r: dpo_loss(c, r, 0 * c, 0 * r, beta=0.5), (0.0, 0.0), (0.5 * DISTANCE, -0.5)),
        (lambda c, r: tdpo_loss(c, r, 0 * c, 0 * r + 6, beta=0.5, alpha=0.5), (0.0, 0.0), (0.5 * (DISTANCE + 3), -0.5)),
        # smoothed, a share of 1/4 pulls the other way
        (
            lambda c, r: dpo_loss(c, r, 0 * c, 0 * r, beta=0.5, label_smoothing=0.25),
            (0.25 * 0.5 * DISTANCE, 0.25 * 0.5),
            (0.75 * 0.5 * DISTANCE, -0.75 * 0.5),
        ),
        # (d - 1)², 2 (d - 1)
        (
            lambda c, r: ipo_loss(c, r, 0 * c, 0 * r, beta=0.5),
            ((DISTANCE - 1) ** 2, 2 * (DISTANCE - 1)),
            ((DISTANCE + 1) ** 2, -2 * (DISTANCE + 1)),
        ),
    ],
)
def test_asymptotes_of_losses_over_pairs(loss, ahead, behind, dtype):
    for margin, (value, slope) in ((DISTANCE, ahead), (-DISTANCE, behind)):
        chosen, rejected = torch.tensor([margin + 1.0, 1.0], dtype=dtype).unbind()
        result, down, up = with_gradients(loss, (chosen, rejected))
        tolerance = 1e-6 if dtype == torch.float32 else 1e-12
        close(result, value, rtol=tolerance)
        close(down, slope, rtol=tolerance)
        close(up, -slope, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_asymptotes_of_orpo(dtype):
    """A hopeless answer's log-odds are its log-prob, and those of e^-1/2 are -1/2 - log(1 - e^-1/2) = o. Chosen hopeless:
    L = 1e4 + beta (1e4 + o), of slope -1 - beta, and beta do/dr = beta / (1 - e^-1/2) in the rejected. Rejected hopeless: only
    -c is left."""
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    hopeless, likely = torch.tensor([-DISTANCE, -0.5], dtype=dtype).unbind()
    odds = -0.5 - np.log(1 - np.exp(-0.5))
    loss = lambda c, r: orpo_loss(c, r, beta=0.25)  # noqa: E731
    for result, expected in zip(
        (*with_gradients(loss, (hopeless, likely)), *with_gradients(loss, (likely, hopeless))),
        (1.25 * DISTANCE + 0.25 * odds, -1.25, 0.25 / (1 - np.exp(-0.5)), 0.5, -1.0, 0.0),
        strict=True,
    ):
        close(result, expected, rtol=tolerance)


def test_the_ends_of_what_is_allowed_are_allowed():
    """Smoothing up to, not including, 1/2, where the two labels would weigh the same."""
    weak = dpo_loss(tensor([1.0]), tensor([0.0]), tensor([0.0]), tensor([0.0]), beta=1.0, label_smoothing=0.49)
    close(weak, [0.51 * np.log1p(np.exp(-1)) + 0.49 * np.log1p(np.exp(1))])
