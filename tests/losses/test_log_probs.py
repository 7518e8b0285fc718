"""The safe forms: right to rounding where they are easy, finite where they are hard, blind to what does not count."""

import decimal

import numpy as np
import pytest
import torch

from ift_gridworld.log_probs import (
    action_log_probs,
    at_least_float32,
    entropy,
    kl_divergence,
    log1mexp,
    masked_fill_zero,
    masked_mean,
    masked_sum,
)

MASKED = pytest.mark.parametrize("function", [masked_fill_zero, masked_sum, masked_mean])


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-15), (torch.float32, 3e-7)])
def test_log1mexp_equals_sixty_digits(dtype, tolerance):
    """Value and gradient, -1 / (exp(-x) - 1), against decimal arithmetic, on both sides of -log 2.

    A tolerance of a few units in the last place: log and expm1 each round once.
    """
    points = [-1e-30, -1e-12, -1e-5, -0.1, -0.5, -0.69, -0.6931, -0.6932, -0.7, -1.0, -3.0, -20.0, -80.0]
    x = torch.tensor(points, dtype=dtype, requires_grad=True)
    log1mexp(x).sum().backward()
    with decimal.localcontext(prec=60):
        exact = [decimal.Decimal(v) for v in x.tolist()]  # the number that x holds, not the one that was written
        value = [float((1 - v.exp()).ln()) for v in exact]
        slope = [float(-1 / ((-v).exp() - 1)) for v in exact]
    np.testing.assert_allclose(log1mexp(x).detach().numpy(), value, rtol=tolerance)
    np.testing.assert_allclose(x.grad.numpy(), slope, rtol=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_log1mexp_stays_finite_at_certainty(dtype):
    x = torch.tensor([0.0, -torch.finfo(dtype).tiny, -torch.finfo(dtype).tiny / 8, -1e-30], dtype=dtype, requires_grad=True)
    value = log1mexp(x)
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(x.grad).all()
    assert (value[0] == value[1]) and value[0] < value[3] < -60  # log 1e-30 = -69


def test_action_log_probs_pick_from_the_log_softmax():
    logits, actions = draw(2, 3, 5, 4), torch.randint(4, (1, 3, 5), generator=torch.Generator().manual_seed(1))
    table = logits.numpy()
    table = np.log(np.exp(table) / np.exp(table).sum(-1, keepdims=True))
    result = action_log_probs(logits, actions)
    assert result.shape == (2, 3, 5)  # the seeds share the actions
    for n, b, t in np.ndindex(2, 3, 5):
        assert result[n, b, t].item() == pytest.approx(table[n, b, t, actions[0, b, t]], rel=1e-13)


def test_entropy_closed_forms():
    p = 0.2
    logits = torch.tensor([[0.0, 0, 0, 0], [100, 0, 0, 0], [np.log(p), np.log(1 - p), -800, -800]], dtype=torch.float64)
    expected = [np.log(4), 3 * 100 * np.exp(-100), -p * np.log(p) - (1 - p) * np.log(1 - p)]
    np.testing.assert_allclose(entropy(logits).numpy(), expected, rtol=1e-13, atol=1e-40)


def test_kl_closed_forms():
    """KL(p || q) = sum p log(p / q), in that direction, q shared by the seeds."""
    p, q = torch.softmax(draw(3, 2, 4), -1), torch.softmax(draw(1, 2, 4, seed=1), -1)
    result = kl_divergence(p.log() + 5, q.log() - 3)  # logits are free up to a constant
    np.testing.assert_allclose(result, (p * (p / q).log()).sum(-1), rtol=1e-12)
    assert (kl_divergence(p.log(), p.log()).abs() < 1e-15).all() and (result > 0).all()
    bernoulli = torch.tensor([[0.9, 0.1]]).double().log(), torch.tensor([[0.5, 0.5]]).double().log()
    one, other = 0.9 * np.log(1.8) + 0.1 * np.log(0.2), 0.5 * np.log(1 / 1.8) + 0.5 * np.log(5)
    assert (kl_divergence(*bernoulli).item(), kl_divergence(*bernoulli[::-1]).item()) == pytest.approx((one, other), rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    "function",
    [at_least_float32, action_log_probs, entropy, kl_divergence, log1mexp, masked_fill_zero, masked_sum, masked_mean],
)
def test_half_precision_is_raised(function, dtype):
    """To float32, and before anything is computed: the numbers are those of the raised input, to the last bit, and so is the
    gradient, which is rounded once on its way back."""
    mask = torch.tensor([True, True, False, True, False])
    second = {action_log_probs: [torch.zeros(3, dtype=torch.int64)], kl_divergence: [-draw(3, 5, seed=1).abs().float()]}
    rest = [mask] if "masked" in function.__name__ else second.get(function, [])
    half = (-draw(3, 5).abs()).to(dtype).requires_grad_()
    full = half.detach().float().requires_grad_()
    results = [function(x, *rest) for x in (half, full)]
    assert results[0].dtype == torch.float32
    assert torch.equal(*results)
    weight = draw(*results[0].shape, seed=2).float()
    for result in results:
        (weight * result).sum().backward()
    assert full.grad.any() and torch.equal(half.grad, full.grad.to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_full_precision_is_left_alone(dtype):
    x = draw(3, 5).to(dtype)
    assert at_least_float32(x) is x
    assert action_log_probs(x, torch.zeros(3, dtype=torch.int64)).dtype == entropy(x).dtype == dtype


def test_what_is_nearly_impossible_keeps_its_log_prob():
    """Logits (0, -1000): log-probs 0 and -1000, whose exponential no format holds. A fair coin's KL: 500 - log 2."""
    logits = torch.tensor([0.0, -1000.0], dtype=torch.float64)
    assert action_log_probs(logits.expand(2, 2), torch.tensor([0, 1])).tolist() == [0, -1000]
    assert kl_divergence(torch.zeros(2).double(), logits).item() == pytest.approx(500 - np.log(2), rel=1e-15)


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (lambda x: action_log_probs(x, torch.tensor([[1, 0, 3], [3, 3, 2]])), [(2, 3, 4)]),
        (lambda x: log1mexp(-x.abs()), [(3, 4)]),
        (entropy, [(2, 3, 4)]),
        (kl_divergence, [(2, 3, 4), (1, 3, 4)]),
        *((lambda x, f=f: f(x, torch.tensor([True, False, True, True])), [(3, 4)]) for f in (masked_sum, masked_mean)),
    ],
)
def test_gradients_equal_difference_quotients(function, shapes):
    """To every input, through every occurrence of it."""
    assert torch.autograd.gradcheck(function, [draw(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)])


def test_masked_reductions_count_what_the_mask_counts():
    x = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 128.0, 256.0]])
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    assert masked_fill_zero(x, mask).tolist() == [[1, 0, 4], [0, 0, 0], [64, 128, 256]]
    assert masked_sum(x, mask).tolist() == [5, 0, 448]
    assert masked_mean(x, mask).tolist() == pytest.approx([5 / 2, 0, 448 / 3])  # nothing counted: 0
    both = torch.stack([x, 2 * x])  # a mask without the seed dimension serves every seed
    assert masked_sum(both, mask).tolist() == [[5, 0, 448], [10, 0, 896]]


@MASKED
@pytest.mark.parametrize("junk", [float("nan"), float("-inf"), float("inf")])
def test_what_does_not_count_touches_neither_value_nor_gradient(function, junk):
    mask = torch.tensor([[True, False, True], [False, False, False]])
    results = []
    for filler in (0.0, junk):
        x = torch.where(mask, draw(2, 3), filler).requires_grad_()
        value = function(x, mask)
        value.square().sum().backward()
        results.append((value, x.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1]) and results[0][1][mask].all()


@MASKED
def test_a_mask_is_boolean(function):
    with pytest.raises(ValueError, match="torch.float32"):
        function(torch.ones(3), torch.ones(3))


def test_actions_that_are_ruled_out_are_no_hindrance():
    """Logits of -inf, as masked actions have: 0 log 0 is 0 in value and in gradient, the rest is as without them."""
    p, q = draw(3, 4), draw(3, 4, seed=1)
    ruled_out = torch.full((3, 2), -torch.inf, dtype=torch.float64)
    for function in (entropy, lambda p: kl_divergence(p, torch.cat([q, ruled_out], -1) if p.shape[-1] == 6 else q)):
        plain, masked = p.clone().requires_grad_(), torch.cat([p, ruled_out], -1).requires_grad_()
        values = function(plain), function(masked)
        np.testing.assert_allclose(values[1].detach(), values[0].detach(), rtol=1e-13)
        (one,), (other,) = (torch.autograd.grad(v.sum(), x) for v, x in zip(values, (plain, masked), strict=True))
        np.testing.assert_allclose(other[:, :4], one, rtol=1e-12, atol=1e-15)
        assert not other[:, 4:].any()
