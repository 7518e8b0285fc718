"""The generalised Jensen-Shannon divergence against its formula in probabilities, its symmetries and its edges."""

import numpy as np
import pytest
import torch
from loss_inputs import MASK, close, draw, gradient, tensor, with_gradients

from ift_gridworld.log_probs import kl_divergence
from ift_gridworld.losses import generalized_jsd_loss, sft_loss

BETAS = [0.0, 1e-3, 0.3, 0.5, 0.9, 1.0]
ONE = torch.ones(1, dtype=torch.bool)


def of_states(logits, teacher, beta):
    """One divergence per state."""
    return generalized_jsd_loss(logits[..., None, :], teacher[..., None, :], ONE, beta=beta)


@pytest.mark.parametrize("beta", BETAS)
def test_by_hand(beta):
    """Mean over counted steps; a row that counts none is 0."""
    logits, teacher = draw(*MASK.shape, 3), draw(*MASK.shape, 3, seed=1)
    s, t = (torch.softmax(x, -1).numpy() for x in (logits, teacher))
    m = beta * t + (1 - beta) * s
    both = beta * (t * np.log(t / m)).sum(-1) + (1 - beta) * (s * np.log(s / m)).sum(-1)
    divergence = {0.0: (t * np.log(t / s)).sum(-1), 1.0: (s * np.log(s / t)).sum(-1)}.get(beta, both)
    expected = (divergence * MASK.numpy()).sum(-1) / np.maximum(MASK.numpy().sum(-1), 1)
    close(generalized_jsd_loss(logits, teacher, MASK, beta=beta), expected, rtol=1e-11)


@pytest.mark.parametrize("beta", BETAS)
def test_gradcheck(beta):
    logits, teacher = draw(2, 3, 4, grad=True), draw(2, 3, 4, seed=1, grad=True)
    mask = torch.tensor([[1, 1, 0], [0, 1, 1]], dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda s, t: generalized_jsd_loss(s, t, mask, beta=beta), (logits, teacher))


def test_student_and_teacher_change_places_with_beta():
    """At a half it is symmetric; and 0 where they agree, with no slope."""
    logits, teacher = draw(5, 4), draw(5, 4, seed=1)
    for beta in BETAS:
        close(of_states(logits, teacher, beta), of_states(teacher, logits, 1 - beta), rtol=1e-10)
        value, grad, _ = with_gradients(lambda s, t, b=beta: of_states(s, t, b), [logits, logits])
        close(value, torch.zeros(5), atol=1e-15)
        close(grad, torch.zeros(5, 4), atol=1e-15)


def test_limits_at_both_ends():
    """JSD / beta -> KL(teacher || student) and JSD / (1 - beta) -> KL(student || teacher), though JSD itself vanishes."""
    logits, teacher = draw(5, 4), draw(5, 4, seed=1)
    close(of_states(logits, teacher, 1e-7) / 1e-7, kl_divergence(teacher, logits), rtol=1e-5)
    close(of_states(logits, teacher, 1 - 1e-7) / 1e-7, kl_divergence(logits, teacher), rtol=1e-5)
    close(of_states(logits, teacher, 0.0), kl_divergence(teacher, logits))
    close(of_states(logits, teacher, 1.0), kl_divergence(logits, teacher))


def test_the_symmetric_divergence_is_at_most_log_2():
    """Reached where student and teacher never agree, as far apart as the format goes."""
    for apart in (1e4, float("inf")):
        logits, teacher = tensor([0.0, -apart]), tensor([-apart, 0.0])
        close(of_states(logits, teacher, 0.5), np.log(2))
    assert of_states(logits, teacher, 0.0) == of_states(logits, teacher, 1.0) == float("inf")


def test_of_a_certain_teacher_it_is_sft():
    """KL(teacher || student) with a teacher that does as the data did: SFT's loss, and SFT's gradient."""
    logits = draw(*MASK.shape, 3)
    actions = torch.arange(MASK.numel()).reshape(MASK.shape) % 3
    teacher = torch.where(torch.nn.functional.one_hot(actions, 3).bool(), 0.0, -torch.inf).double()

    def sft(x):
        return sft_loss(torch.log_softmax(x, -1).gather(-1, actions[..., None])[..., 0], MASK)

    actual = with_gradients(lambda x: generalized_jsd_loss(x, teacher, MASK, beta=0.0), [logits])
    for one, other in zip(actual, with_gradients(sft, [logits]), strict=True):
        close(one, other, atol=1e-14)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("junk", [float("nan"), float("inf"), float("-inf")])
def test_what_does_not_count_touches_neither_value_nor_gradient(beta, junk):
    results = []
    for filler in (0.0, junk):
        inputs = [torch.where(MASK[..., None], draw(*MASK.shape, 3, seed=i), filler) for i in range(2)]
        results.append(with_gradients(lambda s, t: generalized_jsd_loss(s, t, MASK, beta=beta), inputs))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)
    assert results[0][0][-1] == 0 and not results[0][1][~MASK].any()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_actions_that_are_impossible_or_far_away(beta, dtype):
    """An action that neither takes changes nothing; logits of ±1e4 are finite, with the gradients of float64."""
    logits, teacher = draw(3, 4), draw(3, 4, seed=1)
    barred = torch.cat([torch.full((3, 1), -torch.inf), torch.zeros(3, 4)], -1).double()
    wider = [(torch.cat([torch.zeros(3, 1), x], -1) + barred).to(dtype) for x in (logits, teacher)]
    actual = with_gradients(lambda s, t: of_states(s, t, beta), wider)
    expected = with_gradients(lambda s, t: of_states(s, t, beta), [logits, teacher])
    close(actual[0], expected[0], rtol=1e-4, atol=1e-7)
    for one, other in zip(actual[1:], expected[1:], strict=True):
        close(one[:, 1:], other, rtol=1e-4, atol=1e-7)
        assert not one[:, 0].any()
    far = [1e4 * logits, -1e4 * logits]
    exact = with_gradients(lambda s, t: of_states(s, t, beta), far)
    single = with_gradients(lambda s, t: of_states(s, t, beta), [x.to(dtype) for x in far])
    for one, other in zip(single, exact, strict=True):
        assert torch.isfinite(other).all()
        close(one, other, rtol=1e-5, atol=1e-6)


def test_an_action_that_only_the_teacher_takes_pulls_the_student():
    """Inside (0, 1) the divergence is finite there, and so is its gradient."""
    logits, teacher = tensor([0.0, -1e4], grad=True), tensor([-torch.inf, 0.0])
    for beta in (0.3, 0.5):
        loss = of_states(logits, teacher, beta)
        close(loss, -beta * np.log(beta) - (1 - beta) * np.log(1 - beta))
        assert torch.isfinite(gradient(loss, logits)[0]).all()
