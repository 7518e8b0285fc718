"""SFT and IFT against closed forms and plain loops."""

import numpy as np
import pytest
import torch
from loss_inputs import MASK, close, draw, gradient, log_probs, tensor, with_gradients

from ift_gridworld import losses
from ift_gridworld.losses import dft_loss, ift_loss, imitation, relation_weights, sft_loss

NORMS = pytest.mark.parametrize("norm", losses.NORMS)
DECAYS = pytest.mark.parametrize("decay", [0.3, 0.95, 1.0])


def discounted_losses(loss, mask, decay):
    """u_t = sum_{i >= t} decay^(i-t) l_i over counted steps, by loops; zero where t does not count."""
    u = np.zeros(loss.shape)
    for b, t in np.ndindex(loss.shape):
        if mask[b, t]:
            u[b, t] = sum(decay ** (i - t) * loss[b, i] for i in range(t, loss.shape[1]) if mask[b, i])
    return u


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


def test_dft_gradient_is_sfts_times_the_probability():
    """So that it ascends the probability itself: -grad p, averaged; and the value is the mean of -p log p."""
    logp = log_probs(*MASK.shape)
    sft, dft = (with_gradients(lambda x, f=f: f(x, MASK), [logp]) for f in (sft_loss, dft_loss))
    close(dft[1], logp.exp() * sft[1])
    steps = MASK.sum(-1).clamp(min=1)
    close(dft[0], -torch.where(MASK, logp.exp() * logp, 0.0).sum(-1) / steps)
    probability = with_gradients(lambda x: -torch.where(MASK, x.exp(), 0.0).sum(-1) / steps, [logp])[1]
    close(dft[1], probability)


def test_dft_on_a_table_learns_nothing_from_what_it_excludes():
    """dL/dTheta = -p (onehot - pi): as p -> 0 it vanishes, where SFT's has length 1 and more; at -inf it is 0 as well."""
    for gap in (50.0, 1e4, float("inf")):
        logits = tensor([[-gap, 0.0]], grad=True)
        logp = torch.log_softmax(logits, -1)[:, 0]
        loss = dft_loss(logp[None], torch.ones(1, 1, dtype=torch.bool))
        close(loss, [gap * np.exp(-gap) if gap < 1e9 else 0.0])
        close(gradient(loss.sum(), logp)[0], [-np.exp(-gap)])


def test_sft_at_its_minimum_is_the_entropy_of_the_data():
    """Tile 0 answered 3 : 1, tile 1 always alike: mean nats are 4/6 H(3/4, 1/4)."""
    actions = torch.tensor([0, 0, 1, 0, 2, 2])
    empirical = torch.tensor([[0.75, 0.25, 0], [0, 0, 1.0]]).double().log()
    logp = empirical[[0, 0, 0, 0, 1, 1], actions]
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    close(sft_loss(logp, torch.ones(6, dtype=torch.bool)), 4 / 6 * entropy)


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
    close(relation_weights(logp, every, 1e-12, "L2"), 5 * logp**2 / (logp**2).sum(-1, keepdim=True), rtol=1e-10)
    close(relation_weights(logp, every, 1e-12, "softmax"), 5 * torch.softmax(-logp / 5, -1), rtol=1e-10)
    logs = torch.log1p(-logp / 5)
    close(relation_weights(logp, every, 1e-12, "log"), 5 * logs / logs.sum(-1, keepdim=True), rtol=1e-10)


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


def test_a_batch_is_its_parts_accumulated_by_token():
    """With N_i counted steps in row i and N in all, sum of N_i sft_i / N is -(1/N) times the sum of all counted log-probs."""
    logp = log_probs(*MASK.shape, grad=True)
    steps = MASK.sum(-1)
    parts = [(steps[rows] * sft_loss(logp[rows], MASK[rows])).sum() / steps.sum() for rows in ([0, 1], [2, 3, 4])]
    close(sum(parts), -logp[MASK].mean())
    close(sum(gradient(part, logp)[0] for part in parts), -MASK.double() / MASK.sum())


@pytest.mark.parametrize("decay", [0.0, 0.01, 0.7, 1.0])
@pytest.mark.parametrize("steps", [3, 4, 9, 11, 31])
@pytest.mark.parametrize("propagation", ["released", "algorithm1", "equation21"])
def test_long_rows_are_summed_in_blocks(propagation, steps, decay, monkeypatch):
    """Blocks of 3 steps, blocks of blocks, a last block that is not full: as in one block, which other tests hold to loops."""
    logp, mask = log_probs(2, steps, grad=True), draw(2, steps) > 0.2
    expected = ift_loss(logp, mask, propagation=propagation, decay=decay)
    slope = gradient(expected.sum(), logp)[0]
    monkeypatch.setattr(imitation, "BLOCK", 3)
    actual = ift_loss(logp, mask, propagation=propagation, decay=decay)
    close(actual, expected)
    close(gradient(actual.sum(), logp)[0], slope)


def test_memory_of_the_weights_is_linear_in_the_steps():
    """A matrix of T x T numbers would need 80 GB."""
    logp = torch.full((1, 100_000), -1.0)
    weights = relation_weights(logp, torch.ones(1, 100_000, dtype=torch.bool), 0.5)
    close(weights[0, :3].double(), torch.full((3,), 1.0, dtype=torch.float64), rtol=1e-4)  # Σ_k 2^-k everywhere but at the end
    close((weights[0, -1] / weights[0, 0]).double(), torch.tensor(0.5, dtype=torch.float64), rtol=1e-4)


@pytest.mark.parametrize("options", [{}, {"propagation": "algorithm1"}, {"propagation": "equation21"}, {"norm": "L2"}])
def test_autocast_takes_nothing_from_the_weights(options):
    """Sums over later steps are products with a matrix, which half precision would round."""
    logp = -torch.rand(4, 50, generator=torch.Generator().manual_seed(0)) * 3
    mask = torch.ones(4, 50, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        found = ift_loss(logp, mask, **options)
    assert torch.equal(found, ift_loss(logp, mask, **options))


@pytest.mark.parametrize("options", [{}, {"propagation": "algorithm1"}, {"propagation": "equation21"}, {"norm": "L2"}])
def test_devices_without_autocast_compute_the_same(options, monkeypatch):
    logp = log_probs(*MASK.shape, grad=True)
    expected = ift_loss(logp, MASK, **options)
    monkeypatch.setattr(torch.amp, "is_autocast_available", lambda device_type: False)
    actual = ift_loss(logp, MASK, **options)
    assert torch.equal(actual, expected)
    assert torch.equal(gradient(actual.sum(), logp)[0], gradient(expected.sum(), logp)[0])
