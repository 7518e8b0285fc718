"""KTO against its formula in probabilities and its closed forms."""

import numpy as np
import pytest
import torch
from loss_inputs import close, draw, gradient, log_probs, tensor, with_gradients

from ift_gridworld.losses import kto_loss

LABELS = torch.tensor([True, False, False, True, True, False])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_kto_by_hand():
    logp, reference, kl = 2 * draw(2, 6), 2 * draw(2, 6, seed=1), tensor(0.4)
    loss = kto_loss(logp, reference, LABELS, kl, beta=0.7, desirable_weight=1.5, undesirable_weight=0.5)
    z = 0.7 * ((logp - reference).numpy() - 0.4)
    close(loss, np.where(LABELS, 1.5 * (1 - sigmoid(z)), 0.5 * (1 - sigmoid(-z))))


@pytest.mark.parametrize("kl", [0.0, 2.0])
def test_kto_at_its_reference_point(kl):
    """Half of each weight; the push is a quarter of beta and the weight, up or down."""
    reference = log_probs(6)
    logp = (reference + kl).requires_grad_()
    loss = kto_loss(logp, reference, LABELS, tensor(kl), beta=0.4, desirable_weight=2.0, undesirable_weight=3.0)
    weight = torch.where(LABELS, 2.0, 3.0).double()
    close(loss, weight / 2, rtol=1e-10)
    close(gradient(loss.sum(), logp)[0], torch.where(LABELS, -1, 1).double() * 0.4 * weight / 4, rtol=1e-10)


def test_kto_pushes_neither_hopeless_nor_settled_answers():
    """Log-ratios of ±60 at beta 1: the slope is e^-60 on both sides."""
    logp = tensor([60.0, -60.0], grad=True)
    for label in (True, False):
        loss = kto_loss(logp, torch.zeros(2).double(), torch.tensor([label] * 2), tensor(0.0), beta=1.0)
        close(gradient(loss.sum(), logp)[0].abs(), [np.exp(-60)] * 2, rtol=1e-10)
        close(loss, [np.exp(-60), 1.0] if label else [1.0, np.exp(-60)], rtol=1e-10)


def test_the_reference_point_is_clamped_and_held_constant():
    logp, reference = log_probs(6), log_probs(6, seed=1)
    _, grad, grad_of_reference, grad_of_kl = with_gradients(
        lambda x, r, kl: kto_loss(x, r, LABELS, kl, beta=0.5), [logp, reference, tensor(0.7)]
    )
    assert not grad_of_kl.any()
    close(grad_of_reference, -grad)
    for kl in (-0.7, -1e-3):
        assert torch.equal(kto_loss(logp, reference, LABELS, tensor(kl)), kto_loss(logp, reference, LABELS, tensor(0.0)))
    assert not torch.equal(kto_loss(logp, reference, LABELS, tensor(1.5)), kto_loss(logp, reference, LABELS, tensor(1.0)))
    each = draw(6, seed=2)  # one reference point per answer
    for i in range(6):
        one = kto_loss(logp[i], reference[i], LABELS[i], each[i])
        close(one, kto_loss(logp, reference, LABELS, each)[i])


def test_apo_zero_of_single_answers_is_kto_without_a_reference_point():
    """An answer's own share of "apo_zero": sigmoid(-x) where it is desirable, sigmoid(x) where not."""
    logp, reference = log_probs(6), log_probs(6, seed=1)
    x = 0.1 * (logp - reference).numpy()
    close(kto_loss(logp, reference, LABELS, tensor(0.0)), np.where(LABELS, sigmoid(-x), sigmoid(x)))


def test_weights_of_zero_leave_answers_out():
    logp, reference = log_probs(6), log_probs(6, seed=1)
    loss = kto_loss(logp, reference, LABELS, tensor(0.0), undesirable_weight=0.0)
    assert not loss[~LABELS].any() and loss[LABELS].all()
    loss = kto_loss(logp, reference, LABELS, tensor(0.0), desirable_weight=0.0)
    assert not loss[LABELS].any() and loss[~LABELS].all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_reference_point_in_half_precision_is_raised(dtype):
    """With dimensions of its own beside numbers without, it alone decides the format."""
    kl = torch.tensor([0.3, 1.7, 0.9], dtype=dtype)
    numbers = torch.tensor(-1.0, dtype=torch.float32), torch.tensor(-1.5, dtype=torch.float32), torch.tensor(True)
    loss = kto_loss(*numbers, kl)
    assert loss.dtype == torch.float32 and torch.equal(loss, kto_loss(*numbers, kl.float()))
