"""The loss core against closed forms and plain loops; `test_reference_values.py` holds it to the original implementations."""

from itertools import product

import numpy as np
import pytest
import torch

from ift_gridworld import losses
from ift_gridworld.envs import LAKES
from ift_gridworld.losses import (
    bradley_terry_loss,
    dpo_loss,
    generalized_advantage_estimate,
    ift_loss,
    ipo_loss,
    kl_estimate,
    orpo_loss,
    ppo_clip_loss,
    relation_weights,
    sft_loss,
    simpo_loss,
    tdpo_loss,
    value_loss,
)
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, occupancy, soft_value_iteration

NORMS = pytest.mark.parametrize("norm", losses.NORMS)
DECAYS = pytest.mark.parametrize("decay", [0.3, 0.95, 1.0])
# Rows with a prompt and padding, with a hole, full, with a single step, with none.
MASK = torch.tensor([[0, 0, 1, 1, 1, 0], [1, 0, 1, 1, 0, 1], [1] * 6, [0, 0, 0, 1, 0, 0], [0] * 6], dtype=torch.bool)
SEQUENCE_LOSSES = {
    "sft": sft_loss,
    **{f"released {n}": lambda logp, mask, n=n: ift_loss(logp, mask, norm=n) for n in losses.NORMS},
    "released detached": lambda logp, mask: ift_loss(logp, mask, detach_weights=True),
    "released decay 0": lambda logp, mask: ift_loss(logp, mask, decay=0.0),
    "algorithm1": lambda logp, mask: ift_loss(logp, mask, propagation="algorithm1"),
    "equation21": lambda logp, mask: ift_loss(logp, mask, propagation="equation21"),
    "none": lambda logp, mask: ift_loss(logp, mask, propagation="none"),
}
SEQUENCE = pytest.mark.parametrize("loss", SEQUENCE_LOSSES.values(), ids=SEQUENCE_LOSSES)


def draw(*shape, seed=0, grad=False):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


def log_probs(*shape, seed=0, grad=False):
    return (-draw(*shape, seed=seed).abs() - 0.05).requires_grad_(grad)


def tensor(values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def gradient(value, *inputs):
    return torch.autograd.grad(value, inputs, retain_graph=True)


def close(actual, expected, rtol=1e-12, atol=1e-15):
    expected = torch.as_tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(actual.detach().double(), expected.detach(), rtol=rtol, atol=atol)


def discounted_losses(loss, mask, decay):
    """u_t = sum_{i >= t} decay^(i-t) l_i over counted steps, by loops; zero where t does not count."""
    u = np.zeros(loss.shape)
    for b, t in np.ndindex(loss.shape):
        if mask[b, t]:
            u[b, t] = sum(decay ** (i - t) * loss[b, i] for i in range(t, loss.shape[1]) if mask[b, i])
    return u


# ---- SFT ----


def test_sft_gradient_on_a_table_is_visits_times_policy_minus_empirical():
    """For one row of N steps, N dL/dTheta[s] = n(s) (pi(.|s) - empirical(.|s)); steps off the mask are no visits."""
    states = torch.tensor([0, 1, 1, 2, 1, 0, 2])
    actions = torch.tensor([2, 0, 0, 1, 2, 2, 0])
    mask = torch.tensor([True, True, True, True, True, True, False])
    theta = draw(4, 3, grad=True)  # nobody visits tile 3
    logp = torch.log_softmax(theta, -1)[states, actions]
    (grad,) = gradient(sft_loss(logp, mask), theta)
    counts = torch.zeros(4, 3).double()
    for s, a, counted in zip(states, actions, mask, strict=True):
        counts[s, a] += counted
    policy = torch.softmax(theta, -1)
    close(grad * mask.sum(), counts.sum(-1, keepdim=True) * policy - counts)


def test_sft_at_its_minimum_is_the_entropy_of_the_data():
    """Tile 0 answered 3 : 1, tile 1 always alike: mean nats are 4/6 H(3/4, 1/4)."""
    actions = torch.tensor([0, 0, 1, 0, 2, 2])
    empirical = torch.tensor([[0.75, 0.25, 0], [0, 0, 1.0]]).double().log()
    logp = empirical[[0, 0, 0, 0, 1, 1], actions]
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    close(sft_loss(logp, torch.ones(6, dtype=torch.bool)), 4 / 6 * entropy)


# ---- IFT ----


@NORMS
@DECAYS
def test_relation_weights_by_loops(decay, norm):
    """w from c = l / N, then the norm, then zero off the mask, then scaled so that the counted ones sum to N."""
    logp = log_probs(*MASK.shape)
    weights = relation_weights(logp, MASK, decay, norm)
    steps = MASK.sum(-1, keepdim=True).numpy()
    w = discounted_losses(-logp.numpy() / np.maximum(steps, 1), MASK, decay)
    w = {"L1": w, "L2": w**2, "softmax": np.exp(w), "log": np.log(w + 1)}[norm] * MASK.numpy()
    w[:-1] *= (steps / w.sum(-1, keepdims=True).clip(1e-300))[:-1]
    close(weights, w)
    close(weights.sum(-1), MASK.sum(-1))
    assert not weights[~MASK].any()


@DECAYS
def test_relation_weights_obey_the_recursion(decay):
    """Before scaling w_t = c_t + decay w_{t+1}; scaling is by one factor a row, found from the last step, where w = c."""
    logp, every = log_probs(3, 7), torch.ones(3, 7, dtype=torch.bool)
    weights = relation_weights(logp, every, decay)
    share = -logp / 7
    unscaled = weights * (share[:, -1:] / weights[:, -1:])
    close(unscaled[:, :-1], share[:, :-1] + decay * unscaled[:, 1:])


def test_decay_zero_is_a_special_case_and_not_the_limit():
    logp, every = log_probs(2, 5), torch.ones(2, 5, dtype=torch.bool)
    close(relation_weights(logp, every, 0.0), torch.ones(2, 5))
    # At decay 1e-12 what is left of later steps is below 1e-10 of each weight.
    close(relation_weights(logp, every, 1e-12), 5 * logp / logp.sum(-1, keepdim=True), rtol=1e-10)


@DECAYS
@pytest.mark.parametrize("detached", [False, True])
def test_released_gradient_is_the_formula_that_is_documented(decay, detached):
    """Attached: dL/dl_k = (u_k + sum_{t <= k} decay^(k-t) (l_t - L)) / U. Detached: w_k / N = u_k / U."""
    loss = -log_probs(1, 6)
    logp = (-loss).requires_grad_()
    every = torch.ones(1, 6, dtype=torch.bool)
    value = ift_loss(logp, every, decay=decay, detach_weights=detached)
    u = discounted_losses(loss.numpy(), every, decay)[0]
    close(value, [(u * loss[0].numpy()).sum() / u.sum()])
    expected = [
        (u[k] + (0 if detached else sum(decay ** (k - t) * (loss[0, t] - value[0]).item() for t in range(k + 1)))) / u.sum()
        for k in range(6)
    ]
    close(-gradient(value.sum(), logp)[0][0], expected)  # l = -logp


def test_released_form_unlearns_a_late_step_that_is_learnt_best():
    """With l = (2, 2, 0.01) and decay 1: u = (4.01, 2.01, 0.01), U = 6.03, L = 2 - small, so that
    dL/dl_2 = (0.01 + 2 (2 - L) + (0.01 - L)) / U < 0, while detached weights keep all three positive."""
    loss = np.array([2.0, 2.0, 0.01])
    every = torch.ones(3, dtype=torch.bool)
    attached, detached = (
        -gradient(ift_loss(logp, every, decay=1.0, detach_weights=flag), logp)[0]
        for flag in (False, True)
        for logp in [tensor(-loss, grad=True)]
    )
    u = np.array([4.01, 2.01, 0.01])
    value = (u * loss).sum() / u.sum()
    close(attached[2], (u[2] + (loss - value).sum()) / u.sum(), rtol=1e-11)
    close(detached, u / u.sum())
    assert attached[2] < -0.2 and (detached > 0).all()


@DECAYS
def test_equation21_by_loops(decay):
    """sum over n of sum over i >= n of decay^(i-n) l_i, both counted."""
    loss = -log_probs(*MASK.shape)
    expected = discounted_losses(loss.numpy(), MASK, decay).sum(-1)
    close(ift_loss(-loss, MASK, decay=decay, propagation="equation21"), expected)


def test_equation21_without_decay_counts_a_step_by_its_position():
    """The i-th counted step, from 0, counts i + 1 times: late steps most."""
    logp = log_probs(*MASK.shape, grad=True)
    (grad,) = gradient(ift_loss(logp, MASK, decay=1.0, propagation="equation21").sum(), logp)
    close(-grad, MASK.cumsum(-1) * MASK)


@DECAYS
@pytest.mark.parametrize("detached", [False, True])
def test_algorithm1_by_loops(decay, detached):
    """L = sum_t w_t l_t, w_t = sum_{i >= t} decay^(i-t) l_i; the gradient is w, and attached also what flows through w."""
    logp = log_probs(*MASK.shape, grad=True)
    loss, mask = -logp.detach().numpy(), MASK.numpy()
    w = discounted_losses(loss, mask, decay)
    value = ift_loss(logp, MASK, decay=decay, propagation="algorithm1", detach_weights=detached)
    close(value, (w * loss).sum(-1))
    expected = w.copy()
    if not detached:
        for b, k in np.argwhere(mask):
            expected[b, k] += sum(decay ** (k - t) * loss[b, t] for t in range(k + 1) if mask[b, t])
    close(-gradient(value.sum(), logp)[0], expected)


def test_algorithm1_is_quadratic():
    logp = log_probs(*MASK.shape)
    close(ift_loss(3 * logp, MASK, propagation="algorithm1"), 9 * ift_loss(logp, MASK, propagation="algorithm1"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_propagation_ift_is_sft_to_the_last_bit(dtype):
    logp = log_probs(*MASK.shape).to(dtype).requires_grad_()
    one, other = ift_loss(logp, MASK, propagation="none"), sft_loss(logp, MASK)
    assert torch.equal(one, other)
    assert torch.equal(*(gradient(value.sum(), logp)[0] for value in (one, other)))


@NORMS
def test_nothing_left_to_learn_gives_weights_of_one(norm):
    """All losses exactly 0 would scale by 0/0; the gradient left is SFT's, -1/N a step."""
    logp = torch.zeros(MASK.shape, dtype=torch.float64, requires_grad=True)
    close(relation_weights(logp, MASK, 0.95, norm), MASK.double())
    value = ift_loss(logp, MASK, norm=norm)
    assert not value.any()
    close(-gradient(value.sum(), logp)[0], MASK / MASK.sum(-1, keepdim=True).clamp(min=1).double())


# ---- what every loss over steps shares ----


@SEQUENCE
def test_rows_are_independent_and_padding_changes_nothing(loss):
    logp = log_probs(2, *MASK.shape)
    together = loss(logp, MASK)
    assert together.shape == (2, len(MASK))
    for n, b in np.ndindex(2, len(MASK)):
        padded = torch.cat([logp[n, b], log_probs(3)]), torch.cat([MASK[b], torch.zeros(3, dtype=torch.bool)])
        close(loss(*padded), together[n, b])
        before = torch.cat([log_probs(3), logp[n, b]]), torch.cat([torch.zeros(3, dtype=torch.bool), MASK[b]])
        close(loss(*before), together[n, b])


@SEQUENCE
@pytest.mark.parametrize("junk", [float("nan"), float("-inf"), float("inf")])
def test_what_does_not_count_touches_neither_value_nor_gradient(loss, junk):
    """The last row counts nothing at all: its loss is 0, its gradient too."""
    results = []
    for filler in (-1.0, junk):
        logp = torch.where(MASK, log_probs(*MASK.shape), filler).requires_grad_()
        value = loss(logp, MASK)
        results.append((value, gradient(value.sum(), logp)[0]))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)
    value, grad = results[0]
    assert value[-1] == 0 and not grad[~MASK].any() and grad[:4].any(-1).all()


@SEQUENCE
def test_sequences_of_length_one(loss):
    """A single step has weight 1, whatever the normalisation: its loss is l, or l² in algorithm 1."""
    logp = log_probs(4, 1)
    power = 2 if loss is SEQUENCE_LOSSES["algorithm1"] else 1
    close(loss(logp, torch.ones(4, 1, dtype=torch.bool)), (-logp[:, 0]) ** power)


@SEQUENCE
def test_gradcheck_of_losses_over_steps(loss):
    if loss is SEQUENCE_LOSSES["released detached"]:  # held to its formula above; a difference quotient sees through detach
        loss = SEQUENCE_LOSSES["released L1"]
    assert torch.autograd.gradcheck(lambda x: loss(x, MASK), log_probs(*MASK.shape, grad=True))


@SEQUENCE
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_before_anything_is_computed(loss, dtype):
    logp = log_probs(*MASK.shape).to(dtype)
    assert loss(logp, MASK).dtype == torch.float32
    assert torch.equal(loss(logp, MASK), loss(logp.float(), MASK))


# ---- preferences ----


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


# ---- RLHF ----


def test_ppo_at_ratio_one_is_the_policy_gradient():
    """With every (tile, action) weighted by d(s) pi(a|s) and exact advantages, the surrogate's gradient is that of
    V(start), which is computed here by differentiating through the linear system."""
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, discount=0.9)
    theta = draw(16, 4, grad=True)
    policy = torch.softmax(theta, -1)

    on = torch.as_tensor(mdp.scatter(mdp.probability * ~mdp.terminated))
    reward = torch.as_tensor(mdp.expected_reward)
    matrix = torch.eye(16).double() - 0.9 * torch.einsum("sa,sat->st", policy, on)
    objective = torch.linalg.solve(matrix, (policy * reward).sum(-1)) @ torch.as_tensor(mdp.start)

    old = policy.detach()
    value = evaluate_policy(mdp, old.numpy())
    advantage = reward + 0.9 * on @ torch.as_tensor(value) - torch.as_tensor(value)[:, None]
    visits = torch.as_tensor(occupancy(mdp, old.numpy()))
    surrogate = ppo_clip_loss(policy.log(), old.log(), advantage, torch.ones(16, 4, dtype=torch.bool))
    loss = (visits[:, None] * old * surrogate).sum()
    close(gradient(loss, theta)[0], -gradient(objective, theta)[0], rtol=1e-9)


def test_ppo_clips_only_what_has_gone_too_far_in_its_own_favour():
    """Ratio 1.5 and 0.5 against a clip of 0.2, with either sign of the advantage; the last step does not count."""
    ratio = tensor([1.5, 0.5, 1.5, 0.5, 1.1, 1.5])
    advantage = tensor([2.0, -2.0, -2.0, 2.0, 2.0, -2.0])
    logp = ratio.log().requires_grad_()
    mask = torch.tensor([True] * 5 + [False])
    loss = ppo_clip_loss(logp, torch.zeros(6).double(), advantage, mask, clip=0.2)
    close(loss, [-1.2 * 2, 0.8 * 2, 1.5 * 2, -0.5 * 2, -1.1 * 2, 0])
    # d(-ratio A)/dlogp = -ratio A where the unclipped side rules
    close(gradient(loss.sum(), logp)[0], [0, 0, 1.5 * 2, -0.5 * 2, -1.1 * 2, 0])


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_gae_is_the_decayed_sum_of_td_errors(lam):
    """A_t = sum_k (prod of gamma lambda in between) delta_{t+k}, by loops; an end in mid-segment stops the sum."""
    reward, value = draw(2, 3, 6), draw(2, 3, 7, seed=1)
    discount = torch.full((2, 3, 6), 0.9).double()
    discount[0, 1, 2] = discount[1, 2, 4] = 0.0
    actual = generalized_advantage_estimate(reward, value, discount, lam=lam)
    r, v, g = reward.numpy(), value.numpy(), discount.numpy()
    for i in np.ndindex(2, 3):
        for t in range(6):
            expected, weight = 0.0, 1.0
            for k in range(t, 6):
                expected += weight * (r[i][k] + g[i][k] * v[i][k + 1] - v[i][k])
                weight *= g[i][k] * lam
            assert actual[i][t].item() == pytest.approx(expected, rel=1e-12)


def test_gae_extremes():
    """lambda 0: the TD error. lambda 1: the return, bootstrapped with the last value, minus the value."""
    reward, value, discount = draw(5), draw(6, seed=1), tensor([0.8] * 5)
    close(generalized_advantage_estimate(reward, value, discount, lam=0.0), reward + 0.8 * value[1:] - value[:-1])
    returns = [sum(0.8 ** (k - t) * reward[k] for k in range(t, 5)) + 0.8 ** (5 - t) * value[5] for t in range(5)]
    close(generalized_advantage_estimate(reward, value, discount, lam=1.0), torch.stack(returns) - value[:-1])


def test_value_loss_takes_the_worse_of_clipped_and_plain():
    """Old value 0, clip 0.2. Moved by 1 towards a target of 3: the clipped estimate 0.2 is worse and has no gradient. Moved
    by 1 away from a target of -3: the plain one is worse. Moved by 0.1: both are the same. The last step does not count."""
    value = tensor([1.0, 1.0, 0.1, 9.0], grad=True)
    target = tensor([3.0, -3.0, 3.0, 0.0])
    mask = torch.tensor([True, True, True, False])
    loss = value_loss(value, torch.zeros(4).double(), target, mask, clip=0.2)
    close(loss, [0.5 * 2.8**2, 0.5 * 4.0**2, 0.5 * 2.9**2, 0.0])
    close(gradient(loss.sum(), value)[0], [0, 4.0, -2.9, 0])


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("loss", [ppo_clip_loss, value_loss])
def test_steps_that_do_not_count_leave_ppo_and_value_loss_alone(loss, place, junk):
    mask = torch.tensor([True, False, True])
    results = []
    for filler in (0.0, junk):
        inputs = [log_probs(3, seed=i) for i in range(3)]
        inputs[place][1] = filler
        inputs[0].requires_grad_()
        value = loss(*inputs, mask)
        results.append((value, gradient(value.sum(), inputs[0])[0]))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)


def test_kl_estimates_in_expectation():
    """Enumerated over the actions that pi would sample: k1 and k3 are KL(pi || ref), k2 is E[x²] / 2."""
    policy, reference = torch.softmax(draw(7), -1), torch.softmax(draw(7, seed=1), -1)
    kl = (policy * (policy / reference).log()).sum()
    estimates = {kind: kl_estimate(policy.log(), reference.log(), kind) for kind in ("k1", "k2", "k3")}
    close((policy * estimates["k1"]).sum(), kl)
    close((policy * estimates["k3"]).sum(), kl)
    close((policy * estimates["k2"]).sum(), (policy * (reference / policy).log() ** 2).sum() / 2)
    assert estimates["k1"].min() < 0 <= estimates["k3"].min()
    close(kl_estimate(policy.log(), reference.log()), estimates["k3"])


# ---- all of them ----

PAIR_LOSSES = {  # inputs, all at least 0.05 below 0
    "dpo": (4, lambda *x: dpo_loss(*x, label_smoothing=0.1)),
    "ipo": (4, ipo_loss),
    "orpo": (2, orpo_loss),
    "simpo": (2, simpo_loss),
    "tdpo1": (4, lambda *x: tdpo_loss(*x, version=1)),
    "tdpo2": (4, lambda c, r, kc, kr: tdpo_loss(c, r, kc.detach(), kr)),
    "bradley_terry": (2, bradley_terry_loss),
    "k1": (2, lambda *x: kl_estimate(*x, kind="k1")),
    "k2": (2, lambda *x: kl_estimate(*x, kind="k2")),
    "k3": (2, lambda *x: kl_estimate(*x, kind="k3")),
}
PAIRS = pytest.mark.parametrize(("count", "loss"), PAIR_LOSSES.values(), ids=PAIR_LOSSES)


@PAIRS
def test_gradcheck_of_losses_over_pairs(count, loss):
    inputs = [log_probs(2, 3, seed=i, grad=True) for i in range(count)]
    if loss is PAIR_LOSSES["tdpo2"][1]:
        inputs[2].requires_grad_(False)  # the stopped one
    assert torch.autograd.gradcheck(loss, inputs)


def test_gradcheck_of_ppo_value_and_advantage():
    """Away from the kinks: ratios and moves beyond the clip or well within it."""
    mask = torch.tensor([True, True, False, True])
    logp = tensor([0.05, 0.5, 0.1, -0.6], grad=True)
    advantage = tensor([1.0, -2.0, 1.0, 0.5])
    zero = torch.zeros(4).double()
    assert torch.autograd.gradcheck(lambda x: ppo_clip_loss(x, zero, advantage, mask), logp)
    assert torch.autograd.gradcheck(lambda x: value_loss(x, zero, 3 * advantage, mask), logp)
    inputs = draw(2, 4, grad=True), draw(2, 5, seed=1, grad=True)
    assert torch.autograd.gradcheck(lambda r, v: generalized_advantage_estimate(r, v, torch.full((2, 4), 0.9).double()), inputs)


@PAIRS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_pairs_are_raised_before_anything_is_computed(count, loss, dtype):
    inputs = [log_probs(2, 3, seed=i).to(dtype) for i in range(count)]
    assert loss(*inputs).dtype == torch.float32
    assert torch.equal(loss(*inputs), loss(*(x.float() for x in inputs)))


@PAIRS
def test_pairs_are_independent(count, loss):
    inputs = [log_probs(2, 3, seed=i) for i in range(count)]
    together = loss(*inputs)
    assert together.shape == (2, 3)
    for i in np.ndindex(2, 3):
        close(loss(*(x[i] for x in inputs)), together[i])


ROW, COUNTED = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
TWO, THREE = torch.zeros(2), torch.zeros(3)


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: sft_loss(ROW, COUNTED[:, :2]), [r"(2, 3)", r"(2, 2)"]),
        (lambda: sft_loss(ROW, COUNTED[:, :1]), [r"(2, 3)", r"(2, 1)"]),
        (lambda: ift_loss(ROW, COUNTED[:, :2]), [r"(2, 3)", r"(2, 2)"]),
        (lambda: relation_weights(ROW, COUNTED[:, :2], 0.9), [r"(2, 3)", r"(2, 2)"]),
        (lambda: sft_loss(ROW, COUNTED.float()), ["mask", "torch.float32"]),
        *(
            (lambda p=p: ift_loss(ROW, COUNTED, decay=1.5, propagation=p), ["decay", "1.5", "[0, 1]"])
            for p in ("released", "algorithm1", "equation21")
        ),
        (lambda: ift_loss(ROW, COUNTED, propagation="eq21"), ["'eq21'", *losses.PROPAGATIONS]),
        (lambda: ift_loss(ROW, COUNTED, norm="L3"), ["'L3'", *losses.NORMS]),
        *((lambda f=f: f(TWO, TWO, TWO, TWO, beta=-1), ["beta", "-1"]) for f in (dpo_loss, ipo_loss, tdpo_loss)),
        *((lambda f=f: f(TWO, TWO, beta=float("nan")), ["beta", "nan"]) for f in (orpo_loss, simpo_loss)),
        *((lambda f=f: f(TWO, THREE, TWO, TWO), ["(2,)", "(3,)"]) for f in (dpo_loss, ipo_loss, tdpo_loss)),
        *((lambda f=f: f(TWO, THREE), ["(2,)", "(3,)"]) for f in (orpo_loss, simpo_loss, bradley_terry_loss)),
        # [B] beside [B, 1] broadcasts to B² pairs, silently, elsewhere.
        *((lambda f=f: f(TWO, TWO[:, None], TWO, TWO), ["(2,)", "(2, 1)"]) for f in (dpo_loss, ipo_loss, tdpo_loss)),
        *(
            (lambda f=f: f(TWO[:, None], TWO), ["(2, 1)", "(2,)"])
            for f in (orpo_loss, simpo_loss, bradley_terry_loss, kl_estimate)
        ),
        *((lambda f=f: f(ROW, ROW, ROW[:, :2], COUNTED), ["(2, 3)", "(2, 2)"]) for f in (ppo_clip_loss, value_loss)),
        *((lambda f=f: f(ROW, ROW, ROW[:, 0], COUNTED), ["(2, 3)", "(2,)"]) for f in (ppo_clip_loss, value_loss)),
        *(
            (lambda f=f: f(ROW, ROW, ROW, COUNTED.float()), ["torch.float32", "torch.bool"])
            for f in (ppo_clip_loss, value_loss)
        ),
        (lambda: dpo_loss(TWO, TWO, TWO, TWO, label_smoothing=0.5), ["label_smoothing", "0.5"]),
        (lambda: tdpo_loss(TWO, TWO, TWO, TWO, version=3), ["version", "3", "1, 2"]),
        (lambda: ppo_clip_loss(ROW, ROW, ROW, COUNTED, clip=0), ["clip", "0"]),
        (lambda: value_loss(ROW, ROW, ROW, COUNTED, clip=-0.2), ["clip", "-0.2"]),
        (lambda: generalized_advantage_estimate(ROW, ROW, ROW), ["(2, 3)"]),
        (lambda: generalized_advantage_estimate(ROW, torch.zeros(2, 4), ROW, lam=2), ["lam", "2"]),
        (lambda: kl_estimate(ROW, ROW, kind="k4"), ["'k4'", "k1, k2, k3"]),
    ],
)
def test_bad_values_are_refused_in_one_line(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt()
    assert all(word in str(error.value) for word in named)
    assert "\n" not in str(error.value)
