"""Every case of the original implementations' numbers, values and gradients, in float64 and float32."""

import pytest
import torch

from ift_gridworld import losses
from ift_gridworld.testing import original_values

CASES = original_values()
PRECISION = pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])


def cases(*names):
    chosen = [(i, c) for i, c in enumerate(CASES) if c["loss"] in names]
    assert chosen
    return pytest.mark.parametrize("case", [c for _, c in chosen], ids=[f"{i}-{c['loss']}" for i, c in chosen])


def tensor(value, dtype, *, grad=False):
    return torch.tensor(value, dtype=dtype, requires_grad=grad)


def close(actual, expected, tolerance):
    torch.testing.assert_close(
        actual.detach().double(), torch.tensor(expected, dtype=torch.float64), rtol=tolerance, atol=tolerance
    )


@PRECISION
@cases("ift")
@pytest.mark.parametrize("detached", [False, True])
def test_ift_released(case, dtype, tolerance, detached):
    logp, mask = tensor(case["logp"], dtype, grad=True), torch.tensor(case["mask"])
    decay, norm, expect = case["args"]["gamma"], case["args"]["norm"], case["expect"]
    close(losses.relation_weights(logp, mask, decay, norm), expect["weights"], tolerance)
    per_sequence = losses.ift_loss(logp, mask, decay=decay, norm=norm, detach_weights=detached)
    close(per_sequence, expect["per_sequence"], tolerance)
    close(per_sequence.mean(), expect["loss"], tolerance)
    per_sequence.mean().backward()
    grad = expect["grad_detached_weights" if detached else "grad"]
    if grad is None:  # the original overwrites the output of its softmax in place and cannot be differentiated there
        assert norm == "softmax" and not detached and torch.isfinite(logp.grad).all()
    else:
        close(logp.grad, grad, tolerance)


@PRECISION
@cases("ift_equation21")
def test_ift_equation21(case, dtype, tolerance):
    logp, mask = tensor(case["logp"], dtype, grad=True), torch.tensor(case["mask"])
    per_sequence = losses.ift_loss(logp, mask, decay=1.0, propagation="equation21")
    close(per_sequence, case["expect"]["per_sequence"], tolerance)
    per_sequence.mean().backward()
    close(logp.grad, case["expect"]["grad"], tolerance)


@PRECISION
@cases("dpo", "ipo")
def test_dpo_and_ipo(case, dtype, tolerance):
    keys = ("chosen_logp", "rejected_logp", "reference_chosen_logp", "reference_rejected_logp")
    chosen, rejected, *reference = (tensor(case[k], dtype, grad=i < 2) for i, k in enumerate(keys))
    function = {"dpo": losses.dpo_loss, "ipo": losses.ipo_loss}[case["loss"]]
    per_pair = function(chosen, rejected, *reference, **case["args"])
    close(per_pair, case["expect"]["per_pair"], tolerance)
    per_pair.mean().backward()
    close(chosen.grad, case["expect"]["grad_chosen"], tolerance)
    close(rejected.grad, case["expect"]["grad_rejected"], tolerance)


@PRECISION
@cases("orpo", "simpo")
def test_orpo_and_simpo(case, dtype, tolerance):
    chosen, rejected = (tensor(case[k], dtype, grad=True) for k in ("chosen_mean_logp", "rejected_mean_logp"))
    function = {"orpo": losses.orpo_loss, "simpo": losses.simpo_loss}[case["loss"]]
    per_pair = function(chosen, rejected, **case["args"])
    close(per_pair, case["expect"]["per_pair"], tolerance)
    per_pair.mean().backward()
    close(chosen.grad, case["expect"]["grad_chosen"], tolerance)
    close(rejected.grad, case["expect"]["grad_rejected"], tolerance)


@PRECISION
@cases("tdpo")
def test_tdpo(case, dtype, tolerance):
    keys = ("chosen_margin", "rejected_margin", "chosen_kl", "rejected_kl")
    inputs = [tensor(case[k], dtype, grad=True) for k in keys]
    per_pair = losses.tdpo_loss(*inputs, **case["args"])
    close(per_pair, case["expect"]["per_pair"], tolerance)
    per_pair.mean().backward()
    grads = case["expect"]["grads"]
    for i, x in enumerate(inputs):
        expected = grads[keys[i]] if isinstance(grads, dict) else grads[i]
        close(torch.zeros_like(x) if x.grad is None else x.grad, expected, tolerance)


@PRECISION
@cases("gae")
def test_gae(case, dtype, tolerance):
    reward, value, discount = (tensor(case[k], dtype) for k in ("reward", "value", "discount"))
    advantage = losses.generalized_advantage_estimate(reward, value, discount, lam=case["args"]["lam"])
    close(advantage, case["expect"]["advantage"], tolerance)


@PRECISION
@cases("ppo_clip")
def test_ppo_clip(case, dtype, tolerance):
    ratio, advantage = tensor(case["ratio"], dtype, grad=True), tensor(case["advantage"], dtype)
    mask = torch.ones_like(ratio, dtype=torch.bool)
    loss = losses.ppo_clip_loss(ratio.log(), torch.zeros_like(ratio), advantage, mask, **case["args"]).mean()
    close(loss, case["expect"]["loss"], tolerance)
    loss.backward()
    close(ratio.grad, case["expect"]["grad_ratio"], tolerance)
