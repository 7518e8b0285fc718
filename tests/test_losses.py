"""The loss core against closed forms and plain loops; `test_reference_values.py` holds it to the original implementations."""

from itertools import product

import numpy as np
import pytest
import torch

from ift_gridworld import losses
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.losses import (
    bradley_terry_loss,
    dpo_loss,
    generalized_advantage_estimate,
    group_relative_advantage,
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


def with_gradients(loss, inputs):
    """The value, and the gradient of its sum to every input (0 where none flows)."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    value = loss(*leaves)
    return value, *torch.autograd.grad(value.sum(), leaves, materialize_grads=True)


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


@pytest.mark.parametrize(
    ("loss", "norm", "expected"),
    [
        # Of two steps, c = l / 2 and w = (c_0 + c_1, c_1): (7000, 5000), of which exp knows only the difference.
        ([4e3, 1e4], "softmax", [2.0, 0.0]),
        ([4e3, 1e4], "L1", [2 * 7 / 12, 2 * 5 / 12]),
        # (4, 3) e-18: log(1 + w) = w to 18 digits; the squares are as 16 to 9.
        ([2e-18, 6e-18], "log", [2 * 4 / 7, 2 * 3 / 7]),
        ([2e-18, 6e-18], "L2", [2 * 16 / 25, 2 * 9 / 25]),
        ([2e-18, 6e-18], "softmax", [1.0, 1.0]),
        # Their squares are numbers that no float holds, and so is the square of the last ones' ratio.
        ([2e-300, 6e-300], "L2", [2 * 16 / 25, 2 * 9 / 25]),
        ([2e200, 2e-200], "L2", [2.0, 0.0]),
    ],
)
def test_relation_weights_where_losses_are_huge_or_tiny(loss, norm, expected):
    close(relation_weights(-tensor(loss), torch.ones(2, dtype=torch.bool), 1.0, norm), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("decay", [0.0, 0.95])
def test_relation_weights_of_half_precision_are_float32(dtype, decay):
    """The number of steps too: 301 is none of bfloat16's numbers, and the weights sum to it."""
    logp = log_probs(1, 301).to(dtype)
    weights = relation_weights(logp, torch.ones(1, 301, dtype=torch.bool), decay)
    assert weights.dtype == torch.float32
    assert torch.equal(weights, relation_weights(logp.float(), torch.ones(1, 301, dtype=torch.bool), decay))
    assert weights.sum().item() == pytest.approx(301, rel=1e-6)


def test_a_loss_that_was_seen_in_inference_mode_can_be_trained_afterwards():
    logp, every = log_probs(2, 37, grad=True), torch.ones(2, 37, dtype=torch.bool)  # a length that nobody has used before
    with torch.inference_mode():
        ift_loss(logp, every)
    assert gradient(ift_loss(logp, every).sum(), logp)[0].all()


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
def test_a_batch_is_its_parts_accumulated_by_sequence(loss):
    """mean over 5 rows = 2/5 mean over the first 2 + 3/5 mean over the last 3, and so are the gradients."""
    logp = log_probs(*MASK.shape, grad=True)
    whole = loss(logp, MASK).mean()
    parts = [len(rows) / 5 * loss(logp[rows], MASK[rows]).mean() for rows in ([0, 1], [2, 3, 4])]
    close(sum(parts), whole)
    close(sum(gradient(part, logp)[0] for part in parts), gradient(whole, logp)[0])


def test_a_batch_is_its_parts_accumulated_by_token():
    """With N_i counted steps in row i and N in all, sum of N_i sft_i / N is -(1/N) times the sum of all counted log-probs."""
    logp = log_probs(*MASK.shape, grad=True)
    steps = MASK.sum(-1)
    parts = [(steps[rows] * sft_loss(logp[rows], MASK[rows])).sum() / steps.sum() for rows in ([0, 1], [2, 3, 4])]
    close(sum(parts), -logp[MASK].mean())
    close(sum(gradient(part, logp)[0] for part in parts), -MASK.double() / MASK.sum())


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


@pytest.mark.parametrize("clip", [1.0, 1.5])
def test_ppo_with_a_clip_that_reaches_zero_holds_no_ratio_from_below(clip):
    """Ratio 0.1 and 9: a bad action may become as rare as it likes, a good one gains up to 1 + clip."""
    logp = tensor([0.1, 9.0, 0.1, 9.0]).log().requires_grad_()
    loss = ppo_clip_loss(
        logp, torch.zeros(4).double(), tensor([-1.0, -1.0, 1.0, 1.0]), torch.ones(4, dtype=torch.bool), clip=clip
    )
    close(loss, [0.1, 9.0, -0.1, -(1 + clip)])
    close(gradient(loss.sum(), logp)[0], [0.1, 9.0, -0.1, 0.0])


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


def test_gae_of_no_steps_is_empty():
    assert generalized_advantage_estimate(torch.zeros(2, 0), torch.zeros(2, 1), torch.zeros(2, 0)).shape == (2, 0)


def test_gae_of_a_single_step_is_its_td_error():
    close(generalized_advantage_estimate(tensor([2.0]), tensor([0.5, 3.0]), tensor([0.9])), [2.0 + 0.9 * 3.0 - 0.5])


def test_group_relative_advantage_by_hand():
    """(0, 0, 1, 1): mean 1/2, four squares of 1/4 over 3, std 1/sqrt 3. (1, 2, 6): mean 3, squares 4 + 1 + 9 over 2, std
    sqrt 7. Two answers: std |R_1 - R_2| / sqrt 2."""
    assert [round(a, 2) for a in group_relative_advantage(tensor([0.0, 0.0, 1.0, 1.0])).tolist()] == [-0.87, -0.87, 0.87, 0.87]
    for epsilon in (1e-4, 0.5):
        advantage = lambda *r, e=epsilon: group_relative_advantage(tensor(r), epsilon=e)  # noqa: E731
        close(advantage(0.0, 0.0, 1.0, 1.0), np.array([-0.5, -0.5, 0.5, 0.5]) / (3**-0.5 + epsilon))
        close(advantage(1.0, 2.0, 6.0), np.array([-2.0, -1.0, 3.0]) / (7**0.5 + epsilon))
        close(advantage(5.0, 2.0), np.array([1.5, -1.5]) / (3 / 2**0.5 + epsilon))
    close(group_relative_advantage(tensor([1.0, 2.0, 6.0]), scale=False), [-2.0, -1.0, 3.0])


def test_group_relative_advantage_knows_no_unit_but_epsilon():
    """A(R + b) = A(R); A(a R; epsilon a) = A(R; epsilon), so that A(a R) is A(R) but for epsilon / std, and -A(R) for a = -1.
    What is left is centred, with a standard deviation of std / (std + epsilon)."""
    reward = draw(3, 5)
    advantage = group_relative_advantage(reward)
    deviation = reward.std(-1, keepdim=True)
    close(group_relative_advantage(reward + 7), advantage, atol=1e-14)  # R + 7 rounds at 1e-15
    close(group_relative_advantage(-reward), -advantage)
    close(group_relative_advantage(4 * reward, epsilon=4e-4), advantage)
    close(group_relative_advantage(4 * reward), advantage * (deviation + 1e-4) / (deviation + 1e-4 / 4))
    close(advantage.mean(-1), torch.zeros(3), atol=1e-15)
    close(advantage.std(-1, keepdim=True), deviation / (deviation + 1e-4))


@pytest.mark.parametrize("scale", [True, False])
def test_group_relative_advantage_of_groups_side_by_side(scale):
    reward = draw(2, 3, 4)
    together = group_relative_advantage(reward, scale=scale)
    for i in np.ndindex(2, 3):
        close(together[i], group_relative_advantage(reward[i], scale=scale))


@pytest.mark.parametrize(
    ("value", "size", "dtype"),
    [
        (0.0, 4, torch.float64),
        (1.0, 2, torch.float32),
        (-3.5, 8, torch.float32),
        # The mean of these differs from them in its last bit.
        (0.1, 3, torch.float64),
        (0.3, 6, torch.float32),
        (1000.1, 8, torch.float32),
    ],
)
def test_a_group_that_agrees_has_no_advantage(value, size, dtype):
    """Exactly 0; the gradient is that of centring over epsilon, (1{i=j} - 1/G) / epsilon, and a group beside it has its own."""
    reward = torch.full((2, size), value, dtype=dtype)
    reward[1, 0] += 1
    reward.requires_grad_()
    advantage = group_relative_advantage(reward)
    assert not advantage[0].any() and advantage[1].all()
    expected = torch.zeros(2, size).double()
    expected[0] = -1 / size / 1e-4
    expected[0, 0] += 1 / 1e-4
    close(gradient(advantage[0, 0], reward)[0], expected, rtol=1e-6 if dtype == torch.float32 else 1e-12)
    assert torch.isfinite(gradient(advantage.square().sum(), reward)[0]).all()


def test_value_loss_takes_the_worse_of_clipped_and_plain():
    """Clip 0.2. From 0 by 1 towards a target of 3: the clipped estimate 0.2 is worse and has no gradient. By 1 away from a
    target of -3: the plain one is worse. By 0.1: both are the same. From 2 down by 1 towards -3: the clipped one, 1.8, is the
    worse. The last step does not count."""
    value = tensor([1.0, 1.0, 0.1, 1.0, 9.0], grad=True)
    old_value = tensor([0.0, 0.0, 0.0, 2.0, 0.0])
    target = tensor([3.0, -3.0, 3.0, -3.0, 0.0])
    mask = torch.tensor([True, True, True, True, False])
    loss = value_loss(value, old_value, target, mask, clip=0.2)
    close(loss, [0.5 * 2.8**2, 0.5 * 4.0**2, 0.5 * 2.9**2, 0.5 * 4.8**2, 0.0])
    close(gradient(loss.sum(), value)[0], [0, 4.0, -2.9, 0, 0])


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


def test_k3_of_policies_that_hardly_differ():
    """e^x - 1 - x = x²/2 + x³/6 + x⁴/24 + ... where e^x - 1 alone would be noise; never below 0."""
    x = tensor([1e-5, -1e-5, 1e-4, -1e-4])
    # expm1(x) is right to 1e-16 |x|, and x²/2 is what is left of it: 1e-16 x / (x²/2) = 2e-11
    close(kl_estimate(torch.zeros(4).double(), x, "k3"), x**2 / 2 + x**3 / 6 + x**4 / 24, rtol=1e-10)
    for dtype in (torch.float32, torch.float64):
        x = torch.logspace(-20, 0, 2001, dtype=dtype)
        assert (kl_estimate(torch.zeros_like(x), x, "k3") >= 0).all() and (kl_estimate(x, torch.zeros_like(x), "k3") >= 0).all()


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
    moved = tensor([0.05, 0.5, 0.1, -0.6], grad=True)
    still = tensor([0.0] * 4, grad=True)
    advantage = tensor([1.0, -2.0, 1.0, 0.5], grad=True)
    assert torch.autograd.gradcheck(lambda *x: ppo_clip_loss(*x, mask), (moved, still, advantage))
    target = tensor([3.0, 6.0, 3.0, 1.5], grad=True)  # near, ahead (the clipped estimate is the worse), masked, behind
    assert torch.autograd.gradcheck(lambda *x: value_loss(*x, mask), (moved, still, target))
    inputs = draw(2, 4, grad=True), draw(2, 5, seed=1, grad=True), (draw(2, 4, seed=2).sigmoid()).requires_grad_()
    assert torch.autograd.gradcheck(generalized_advantage_estimate, inputs)
    for scale in (True, False):
        assert torch.autograd.gradcheck(lambda r, s=scale: group_relative_advantage(r, scale=s), draw(3, 4, grad=True))


@PAIRS
def test_pairs_are_independent(count, loss):
    inputs = [log_probs(2, 3, seed=i) for i in range(count)]
    together = loss(*inputs)
    assert together.shape == (2, 3)
    for i in np.ndindex(2, 3):
        close(loss(*(x[i] for x in inputs)), together[i])


@PAIRS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_whichever_input_has_the_dimensions(count, loss, dtype):
    """Beside a tensor with dimensions a number's format does not count: half - float32 number = half. So each is raised."""
    for i in range(count):
        inputs = [(log_probs(3, seed=j) if i == j else log_probs(1, seed=j)[0]).to(dtype) for j in range(count)]
        assert loss(*inputs).dtype == torch.float32
        assert torch.equal(loss(*inputs), loss(*(x.float() for x in inputs)))


STEP_LOSSES = {  # how many inputs there are beside the mask
    **{name: (1, loss) for name, loss in SEQUENCE_LOSSES.items()},
    "relation_weights": (1, lambda logp, mask: relation_weights(logp, mask, 0.95)),
    "ppo_clip": (3, ppo_clip_loss),
    "value": (3, value_loss),
}
EVERY_LOSS = {  # inputs, and what is to be made of them
    **{
        name: ([log_probs(*MASK.shape, seed=i) for i in range(count)], lambda *x, f=loss: f(*x, MASK.to(x[0].device)))
        for name, (count, loss) in STEP_LOSSES.items()
    },
    **{name: ([log_probs(2, 3, seed=i) for i in range(count)], loss) for name, (count, loss) in PAIR_LOSSES.items()},
    "gae": ([draw(2, 6), draw(2, 7, seed=1), torch.full((2, 6), 0.75).double()], generalized_advantage_estimate),
    "group": ([draw(3, 4)], group_relative_advantage),
}
EVERY = pytest.mark.parametrize(("inputs", "loss"), EVERY_LOSS.values(), ids=EVERY_LOSS)
STEPS = pytest.mark.parametrize(("count", "loss"), STEP_LOSSES.values(), ids=STEP_LOSSES)
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
EDGES = [0.0, -1e-9, -1e4]  # certain, all but certain, hopeless


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_before_anything_is_computed(inputs, loss, dtype):
    """The value is the raised input's, to the last bit; the gradient too, rounded once, to the input's own format."""
    inputs = [x.to(dtype) for x in inputs]
    half, full = with_gradients(loss, inputs), with_gradients(loss, [x.float() for x in inputs])
    assert half[0].dtype == torch.float32 and torch.equal(half[0], full[0])
    for one, other in zip(half[1:], full[1:], strict=True):
        assert one.dtype == dtype and torch.equal(one, other.to(dtype))


@STEPS
@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_mask_without_leading_dimensions_serves_them_all(count, loss, dimensions):
    """[T] or [B, T] against [N, B, T] is the expanded mask."""
    mask = MASK[1] if dimensions == 1 else MASK
    inputs = [log_probs(2, *MASK.shape, seed=i) for i in range(count)]
    actual = with_gradients(lambda *x: loss(*x, mask), inputs)
    expected = with_gradients(lambda *x: loss(*x, mask.expand(2, *MASK.shape)), inputs)
    for one, other in zip(actual, expected, strict=True):
        close(one, other, atol=1e-14)


@STEPS
@PRECISIONS
def test_steps_that_are_certain_or_hopeless(count, loss, dtype):
    """Counted log-probs of 0, -1e-9 and -1e4, infinities and NaN at the others, a row that counts nothing, a single step: value
    and gradients are finite, the value is float64's to rounding, and nothing comes from what does not count."""
    nan, inf = float("nan"), float("inf")
    logp = [[nan, 0, -inf, -1e-9, -1e4, nan], [-1e4, -1e4, 0, -inf, inf, nan], [0, -1e4, -1e-9, -1e4, 0, 0], [-inf, nan] * 3]
    mask = torch.tensor([[0, 1, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0], [1] * 6, [0] * 6], dtype=torch.bool)
    for columns in (slice(None), slice(1, 2)):
        inputs = [torch.tensor(logp, dtype=dtype)[:, columns]] * count  # at the same log-probs a ratio is 1, a move 0
        counted = mask[:, columns]
        results = with_gradients(lambda *x, m=counted: loss(*x, m), inputs)
        assert all(torch.isfinite(x).all() for x in results)
        assert not any(x[~counted].any() for x in results[1:])
        assert not results[0][-1].any()
        close(results[0], loss(*(x.double() for x in inputs), counted), rtol=1e-5)


def test_ppo_clip_of_an_action_that_has_become_hopeless():
    """Ratio e^-10000 = 0: min(0, 0.8 A) = 0 for A = 1 and -0.8 for A = -1; neither pushes any more."""
    logp = tensor([-1e4, -1e4], grad=True)
    loss = ppo_clip_loss(logp, tensor([0.0, -1e-9]), tensor([1.0, -1.0]), torch.ones(2, dtype=torch.bool))
    close(loss, [0.0, 0.8])
    close(gradient(loss.sum(), logp)[0], [0.0, 0.0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_value_loss_of_a_value_that_is_far_off(dtype):
    """½ (1e4)² is beyond float16, whose own numbers go to 65504; the slope is V - G = ±1e4."""
    zero, mask = torch.zeros(2, dtype=dtype), torch.ones(2, dtype=torch.bool)
    loss, slope = with_gradients(lambda v: value_loss(v, zero, zero, mask), [torch.tensor([1e4, -1e4], dtype=dtype)])
    close(loss, [0.5e8, 0.5e8])
    close(slope, [1e4, -1e4])


@pytest.mark.parametrize("advantage", [1.0, 0.0])
def test_ppo_clip_of_an_action_that_was_hopeless(advantage):
    """Ratio e^10000: clipped at 1.2 where the advantage is positive, and without gradient; 0 where there is none."""
    logp = tensor([0.0], grad=True)
    loss = ppo_clip_loss(logp, tensor([-1e4]), tensor([advantage]), torch.ones(1, dtype=torch.bool))
    close(loss, [-1.2 * advantage])
    close(gradient(loss.sum(), logp)[0], [0.0])


@PRECISIONS
def test_advantages_of_large_rewards(dtype):
    """Of 8192, which every format holds, its square none of the halves: in a group of two opposites the standard deviation is
    sqrt 2 R; and delta = (-R - R/2 - R, R + R/2 + R) adds up, at discount * lambda = 1/4, to A_0 = delta_0 + delta_1 / 4."""
    large = 8192.0
    advantage = group_relative_advantage(torch.tensor([large, -large], dtype=dtype))
    close(advantage, np.array([large, -large]) / (2**0.5 * large + 1e-4), rtol=1e-6)
    reward, value = torch.tensor([-large, large], dtype=dtype), torch.tensor([large, -large, large], dtype=dtype)
    result = with_gradients(
        lambda r, v: generalized_advantage_estimate(r, v, torch.full_like(r, 0.5), lam=0.5), (reward, value)
    )
    close(result[0], [-2.5 * large * 3 / 4, 2.5 * large])
    # A_0 + A_1 = delta_0 + 5/4 delta_1, delta_t = r_t + v_(t+1) / 2 - v_t
    close(result[1], [1.0, 1.25])
    close(result[2], [-1.0, 0.5 - 1.25, 0.625])


@PAIRS
@PRECISIONS
def test_pairs_that_are_certain_or_hopeless(count, loss, dtype):
    """Log-probs of 0, -1e-9 and -1e4 in every combination: value and gradients are finite, the value is float64's to rounding.
    Only k3 is not asked for e^10000, which no format holds."""
    pairs = [x for x in product(EDGES, repeat=count) if loss is not PAIR_LOSSES["k3"][1] or x[1] - x[0] < 1e3]
    inputs = [torch.tensor(x, dtype=dtype) for x in zip(*pairs, strict=True)]
    results = with_gradients(loss, inputs)
    assert all(torch.isfinite(x).all() for x in results)
    if loss is not orpo_loss:  # at certainty its odds are infinite, and the value is each format's own smallest number's
        close(results[0], loss(*(x.double() for x in inputs)), rtol=1e-5, atol=1e-6)


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@EVERY
def test_the_gpu_says_the_same(inputs, loss):
    here, there = with_gradients(loss, inputs), with_gradients(loss, [x.cuda() for x in inputs])
    for one, other in zip(here, there, strict=True):
        assert other.is_cuda
        close(other.cpu(), one, rtol=1e-10)


@pytest.mark.parametrize(
    ("loss", "count", "defaults"),
    [
        (lambda x, **k: ift_loss(x, torch.ones(3, dtype=torch.bool), **k), 1, {"decay": 0.95, "propagation": "released"}),
        (lambda x, **k: ift_loss(x, torch.ones(3, dtype=torch.bool), **k), 1, {"norm": "L1", "detach_weights": False}),
        (lambda x, **k: relation_weights(x, torch.ones(3, dtype=torch.bool), 0.95, **k), 1, {"norm": "L1"}),
        (dpo_loss, 4, {"beta": 0.1, "label_smoothing": 0.0, "reference_free": False}),
        (ipo_loss, 4, {"beta": 0.1, "reference_free": False}),
        (orpo_loss, 2, {"beta": 0.25}),
        (simpo_loss, 2, {"beta": 2.0, "gamma": 1.6}),
        (tdpo_loss, 4, {"beta": 0.1, "alpha": 0.5, "version": 2}),
        (lambda *x, **k: ppo_clip_loss(*x, torch.ones(3, dtype=torch.bool), **k), 3, {"clip": 0.2}),
        (lambda x, **k: value_loss(x, x - 1, x.detach() + 3, torch.ones(3, dtype=torch.bool), **k), 1, {"clip": 0.2}),
        (lambda r, v, g, **k: generalized_advantage_estimate(r, torch.cat([v, v[:1]]), g, **k), 3, {"lam": 0.95}),
        (group_relative_advantage, 1, {"scale": True, "epsilon": 1e-4}),
        (kl_estimate, 2, {"kind": "k3"}),
    ],
)
def test_defaults_are_what_the_documentation_says(loss, count, defaults):
    """Values and gradients; away from the defaults, both change."""
    inputs = [log_probs(3, seed=i) for i in range(count)]
    for actual, expected in zip(
        with_gradients(loss, inputs), with_gradients(lambda *x: loss(*x, **defaults), inputs), strict=True
    ):
        assert torch.equal(actual, expected)


ROW, COUNTED = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
TWO, THREE = torch.zeros(2), torch.zeros(3)


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: sft_loss(ROW, COUNTED[:, :2]), [r"(2, 3)", r"(2, 2)"]),
        (lambda: sft_loss(ROW, COUNTED[:, :1]), [r"(2, 3)", r"(2, 1)"]),
        (lambda: ift_loss(ROW, COUNTED[:, :2]), [r"(2, 3)", r"(2, 2)"]),
        (lambda: relation_weights(ROW, COUNTED[:, :2], 0.9), [r"(2, 3)", r"(2, 2)"]),
        (lambda: relation_weights(ROW, COUNTED[:, :1], 0.9), [r"(2, 3)", r"(2, 1)"]),
        (lambda: sft_loss(ROW[:, None], COUNTED), ["(2, 1, 3)", "(2, 3)"]),
        (lambda: sft_loss(torch.tensor(-1.0), torch.tensor(True)), ["logp ()", "mask ()"]),
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
        *((lambda f=f: f(TWO, TWO, TWO, TWO, beta=float("inf")), ["beta", "inf"]) for f in (dpo_loss, ipo_loss, tdpo_loss)),
        *((lambda f=f: f(TWO, TWO, beta=float("inf")), ["beta", "inf"]) for f in (orpo_loss, simpo_loss)),
        *((lambda f=f: f(TWO, TWO, beta=-1), ["beta", "-1"]) for f in (orpo_loss, simpo_loss)),
        (lambda: relation_weights(ROW, COUNTED, 1.5), ["decay", "1.5", "[0, 1]"]),
        (lambda: relation_weights(ROW, COUNTED, 0.9, "L3"), ["'L3'", *losses.NORMS]),
        (lambda: simpo_loss(TWO, TWO, gamma=float("nan")), ["gamma", "nan"]),
        (lambda: tdpo_loss(TWO, TWO, TWO, TWO, alpha=float("nan")), ["alpha", "nan"]),
        (lambda: ift_loss(ROW, COUNTED, propagation="none", decay=7), ["decay", "7"]),
        (lambda: ift_loss(ROW, COUNTED, propagation="equation21", norm="foo"), ["'foo'", *losses.NORMS]),
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
        *((lambda e=e: dpo_loss(TWO, TWO, TWO, TWO, label_smoothing=e), ["label_smoothing", str(e)]) for e in (0.5, -0.1)),
        (lambda: tdpo_loss(TWO, TWO, TWO, TWO, version=3), ["version", "3", "1, 2"]),
        (lambda: ppo_clip_loss(ROW, ROW, ROW, COUNTED, clip=0), ["clip", "0"]),
        (lambda: value_loss(ROW, ROW, ROW, COUNTED, clip=-0.2), ["clip", "-0.2"]),
        (lambda: generalized_advantage_estimate(ROW, ROW, ROW), ["(2, 3)"]),
        (lambda: generalized_advantage_estimate(ROW, torch.zeros(2, 4), ROW, lam=2), ["lam", "2"]),
        *((lambda e=e: group_relative_advantage(ROW, epsilon=e), ["epsilon", str(e)]) for e in (0, -1e-4, float("nan"))),
        *((lambda n=n: group_relative_advantage(torch.zeros(3, n)), ["reward", f"(3, {n})"]) for n in (0, 1)),
        (lambda: group_relative_advantage(torch.tensor(1.0)), ["reward", "()"]),
        (lambda: kl_estimate(ROW, ROW, kind="k4"), ["'k4'", "k1, k2, k3"]),
    ],
)
def test_bad_values_are_refused_in_one_line(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt()
    assert all(word in str(error.value) for word in named)
    assert "\n" not in str(error.value)


def test_the_ends_of_what_is_allowed_are_allowed():
    """Smoothing up to, not including, 1/2, where the two labels would weigh the same."""
    weak = dpo_loss(tensor([1.0]), tensor([0.0]), tensor([0.0]), tensor([0.0]), beta=1.0, label_smoothing=0.49)
    close(weak, [0.51 * np.log1p(np.exp(-1)) + 0.49 * np.log1p(np.exp(1))])


@pytest.mark.parametrize("options", [{}, {"propagation": "algorithm1"}, {"propagation": "equation21"}, {"norm": "L2"}])
def test_autocast_takes_nothing_from_the_weights(options):
    """Sums over later steps are products with a matrix, which half precision would round."""
    logp = -torch.rand(4, 50, generator=torch.Generator().manual_seed(0)) * 3
    mask = torch.ones(4, 50, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        found = ift_loss(logp, mask, **options)
    assert torch.equal(found, ift_loss(logp, mask, **options))
