"""GRPO's family against plain loops, and what each choice changes."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from loss_inputs import MASK, close, draw, gradient, log_probs, tensor, with_gradients

from ift_gridworld.losses import (
    AVERAGES,
    OBJECTIVES,
    RATIO_LEVELS,
    group_policy_loss,
    ppo_clip_loss,
)

CHOICES = pytest.mark.parametrize(
    ("objective", "level", "average"), list(product(OBJECTIVES, RATIO_LEVELS, AVERAGES)), ids="-".join
)
ADVANTAGE = tensor([1.0, -0.5, 2.0, -1.5, 0.7])
FULL = torch.ones(5, 6, dtype=torch.bool)


def rollouts(seed=0):
    """Log-probabilities now and then, some ratios beyond the clip of 0.2."""
    logp = log_probs(*MASK.shape, seed=seed)
    return logp, logp + 0.5 * draw(*MASK.shape, seed=seed + 1)


def by_loops(logp, old, advantage, mask, clip, objective, level, average, max_length):
    """The mean over the batch, one step after the other."""
    low, high = clip
    total, per_answer, steps = 0.0, [], 0
    for row_logp, row_old, a, row_mask in zip(logp, old, advantage, mask, strict=True):
        counted = [t for t in range(len(row_mask)) if row_mask[t]]
        log_ratios = {t: row_logp[t] - row_old[t] for t in counted}
        mean = sum(log_ratios.values()) / max(len(counted), 1)
        answer = 0.0
        for t in counted:
            ratio = math.exp(log_ratios[t] if level == "token" else mean)
            if objective == "clip":
                answer += -min(ratio * a, min(max(ratio, 1 - low), 1 + high) * a)
            elif objective == "cispo":
                answer += -min(ratio, high) * a * row_logp[t]
            else:
                temperature = 1.0 if a > 0 else 1.05
                answer += -4 / temperature / (1 + math.exp(-temperature * (ratio - 1))) * a
        total, steps = total + answer, steps + len(counted)
        per_answer.append(answer / max(len(counted), 1))
    size = len(per_answer)
    return {
        "sequence": sum(per_answer) / size,
        "batch": total / steps,
        "length": total / (size * max_length),
        "sum": total / size,
    }[average]


@CHOICES
def test_every_choice_by_loops(objective, level, average):
    logp, old = rollouts()
    options = {"clip": (0.2, 1.1), "objective": objective, "level": level, "average": average, "max_length": 9}
    actual = group_policy_loss(logp, old, ADVANTAGE, MASK, **options)
    assert actual.shape == (5,) and actual[-1] == 0  # the last row counts nothing
    close(actual.mean(), by_loops(*(x.tolist() for x in (logp, old, ADVANTAGE, MASK)), **options))


@CHOICES
def test_at_ratio_one_the_gradient_is_the_policy_gradient(objective, level, average):
    """-A of each step, averaged: for the sequence's ratio as well, whose slope to a step is 1/N, N times over. SAPO's gate has
    slope 1 there, CISPO's bound lets 1 through."""
    logp = log_probs(*MASK.shape, grad=True)
    options = {"clip": (0.2, 1.1), "objective": objective, "level": level, "average": average, "max_length": 9}
    loss = group_policy_loss(logp, logp.detach(), ADVANTAGE, MASK, **options).mean()
    steps = MASK.sum(-1, keepdim=True).double()
    weight = {"sequence": 1 / (5 * steps), "batch": 1 / steps.sum(), "length": 1 / 45, "sum": 1 / 5}[average]
    expected = torch.where(MASK, -ADVANTAGE[:, None] * weight, 0.0)
    close(gradient(loss, logp)[0], expected, atol=1e-14)


@CHOICES
def test_gradients_by_difference_quotients(objective, level, average):
    """CISPO's weight is held constant, so that its gradient is -weight A, averaged as its value is."""
    logp, old = rollouts()
    options = {"clip": (0.2, 1.1), "level": level, "average": average, "max_length": 9}
    if objective != "cispo":

        def loss(x):
            return group_policy_loss(x, old, ADVANTAGE, MASK, objective=objective, **options)

        assert torch.autograd.gradcheck(loss, logp.requires_grad_())
        return
    leaf = logp.clone().requires_grad_()
    grad = gradient(group_policy_loss(leaf, old, ADVANTAGE, MASK, objective="cispo", **options).sum(), leaf)[0]
    log_ratio = torch.where(MASK, logp - old, 0.0)
    if level == "sequence":
        log_ratio = (log_ratio.sum(-1) / MASK.sum(-1).clamp(min=1))[:, None].expand(MASK.shape)
    weight = log_ratio.exp().clamp(max=1.1)
    steps = MASK.sum(-1, keepdim=True).clamp(min=1).double()
    divisor = {"sequence": steps, "batch": steps[:-1].sum() / 5, "length": 9.0, "sum": 1.0}[average]
    close(grad, torch.where(MASK, -weight * ADVANTAGE[:, None] / divisor, 0.0))


# ---- what each choice changes ----


def test_token_clip_is_ppos_loss_averaged():
    """GRPO's: a mean over each answer's steps, then over answers."""
    logp, old = rollouts()
    expanded = ADVANTAGE[:, None].expand(MASK.shape)
    ppo = ppo_clip_loss(logp, old, expanded, MASK, clip=0.3)
    close(group_policy_loss(logp, old, ADVANTAGE, MASK, clip=(0.3, 0.3)), ppo.sum(-1) / MASK.sum(-1).clamp(min=1))


def test_clip_higher_lets_good_steps_rise_further_and_bad_ones_fall_no_further():
    """Ratios beyond either bound, with advantages of either sign; the gradient ends where the clip acts in A's favour."""
    ratio = tensor([[1.25], [1.35], [0.75], [0.85], [1.35], [0.75]])
    advantage = tensor([1.0, 1.0, -1.0, -1.0, -1.0, 1.0])
    logp = ratio.log().requires_grad_()
    loss = group_policy_loss(logp, torch.zeros_like(ratio), advantage, torch.ones(6, 1, dtype=torch.bool), clip=(0.2, 0.28))
    close(loss, [-1.25, -1.28, 0.8, 0.85, 1.35, -0.75])
    close(gradient(loss.sum(), logp)[0][:, 0], [-1.25, 0, 0, 0.85, 1.35, -0.75])


@pytest.mark.parametrize("low", [1.0, 1.5])
def test_a_clip_that_reaches_zero_holds_no_ratio_from_below(low):
    logp = tensor([[1e-3], [1e-3]]).log().requires_grad_()
    loss = group_policy_loss(logp, 0 * logp.detach(), tensor([-1.0, 1.0]), torch.ones(2, 1, dtype=torch.bool), clip=(low, 0.2))
    close(loss, [1e-3, -1e-3])
    close(gradient(loss.sum(), logp)[0][:, 0], [1e-3, -1e-3])


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_of_one_step_the_sequences_ratio_is_the_steps(objective):
    logp, old = (x[:, :1] for x in rollouts())
    one = torch.ones(5, 1, dtype=torch.bool)
    losses = [
        group_policy_loss(logp, old, ADVANTAGE, one, clip=(0.2, 1.1), objective=objective, level=level)
        for level in RATIO_LEVELS
    ]
    assert torch.equal(*losses)


def test_the_sequences_ratio_is_the_geometric_mean_and_clips_whole_answers():
    """Steps of ratio 2 and 1/2 make one of 1: no step is clipped; steps of 2 make one of 2: all are."""
    logp = tensor([[2.0, 0.5], [2.0, 2.0]]).log().requires_grad_()
    everything = torch.ones(2, 2, dtype=torch.bool)
    loss = group_policy_loss(logp, 0 * logp.detach(), tensor([1.0, 1.0]), everything, level="sequence")
    close(loss, [-1.0, -1.2])
    close(gradient(loss.sum(), logp)[0], [[-0.5, -0.5], [0, 0]])


@pytest.mark.parametrize(("objective", "level"), list(product(OBJECTIVES, RATIO_LEVELS)))
def test_of_answers_of_equal_length_all_averages_agree_up_to_a_factor(objective, level):
    """Dr. GRPO's constant is then the length, DAPO's batch is every answer's own; a sum is 6 times a mean over 6 steps."""
    logp, old = rollouts()
    options = {"clip": (0.2, 1.1), "objective": objective, "level": level, "max_length": 6}
    of = {average: group_policy_loss(logp, old, ADVANTAGE, FULL, average=average, **options) for average in AVERAGES}
    close(of["batch"], of["sequence"])
    close(of["length"], of["sequence"])
    close(of["sum"], 6 * of["sequence"])


def test_only_a_mean_over_the_answer_makes_long_answers_count_less():
    """Two answers of advantage 1, of 1 and of 4 steps: the push on a step of the long one, relative to the short one's."""
    mask = torch.tensor([[1, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    for average, share in (("sequence", 0.25), ("batch", 1.0), ("length", 1.0), ("sum", 1.0)):
        logp = log_probs(2, 4, grad=True)
        loss = group_policy_loss(logp, logp.detach(), tensor([1.0, 1.0]), mask, average=average, max_length=4)
        grad = gradient(loss.mean(), logp)[0]
        close(grad[1] / grad[0, 0], [share] * 4)


def test_sapo_opens_gently_and_closes_sooner_on_bad_answers():
    """The slope of a step is -A ratio times 4 s (1 - s), s = sigmoid(T (ratio - 1)), T = 1 or, where A <= 0, 1.05."""
    ratio = tensor([[3.0], [3.0], [1.0]])
    logp, advantage = ratio.log().requires_grad_(), tensor([2.0, -2.0, 0.0])
    loss = group_policy_loss(logp, 0 * logp.detach(), advantage, torch.ones(3, 1, dtype=torch.bool), objective="sapo")
    gate = 1 / (1 + np.exp(-np.array([2.0, 2.1])))
    close(loss, [-8 * gate[0], 8 / 1.05 * gate[1], 0.0])
    close(gradient(loss.sum(), logp)[0][:2, 0], np.array([-2, 2]) * 3 * 4 * gate * (1 - gate))


@CHOICES
def test_batches_of_several_seeds_are_batches_of_their_own(objective, level, average):
    """Leading dimensions are kept; a reference, an advantage or a mask without them serves them all."""
    pairs = [rollouts(seed) for seed in (0, 5)]
    logp, old = (torch.stack(x) for x in zip(*pairs, strict=True))
    options = {"clip": (0.2, 1.1), "objective": objective, "level": level, "average": average, "max_length": 9}
    together = group_policy_loss(logp, old, ADVANTAGE, MASK, **options)
    assert together.shape == (2, 5)
    for n in range(2):
        close(together[n], group_policy_loss(logp[n], old[n], ADVANTAGE, MASK, **options))
    shared = group_policy_loss(logp, old[0], ADVANTAGE, MASK.expand(2, 5, 6), **options)
    close(shared[1], group_policy_loss(logp[1], old[0], ADVANTAGE, MASK, **options))


@CHOICES
@pytest.mark.parametrize("junk", [float("nan"), float("inf"), float("-inf")])
def test_what_does_not_count_touches_neither_value_nor_gradient(objective, level, average, junk):
    results = []
    for filler in (-1.0, junk):
        inputs = [torch.where(MASK, x, filler) for x in rollouts()]
        options = {"clip": (0.2, 1.1), "objective": objective, "level": level, "average": average, "max_length": 9}
        results.append(with_gradients(lambda x, o, k=options: group_policy_loss(x, o, ADVANTAGE, MASK, **k), inputs))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)
    assert not results[0][1][~MASK].any()


@pytest.mark.parametrize("average", AVERAGES)
def test_a_batch_that_counts_nothing_is_zero(average):
    logp, old = rollouts()
    nothing = torch.zeros_like(MASK)
    value, grad = with_gradients(lambda x: group_policy_loss(x, old, ADVANTAGE, nothing, average=average, max_length=9), [logp])
    assert not value.any() and not grad.any()


@pytest.mark.parametrize(("objective", "level"), list(product(OBJECTIVES, RATIO_LEVELS)))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ratios_that_no_format_holds(objective, level, dtype):
    """e^±10000 is finite wherever the clip, the bound or the gate ends it, with gradient 0; else (A < 0) PPO's is infinite."""
    logp = torch.tensor([[1e4], [-1e4], [80.0], [-1e4]], dtype=dtype)
    advantage = torch.tensor([1.0, 1.0, 1.0, -1.0], dtype=dtype)
    options = {"clip": (0.2, 1.1), "objective": objective, "level": level}
    one = torch.ones(4, 1, dtype=torch.bool)
    value, grad = with_gradients(lambda x: group_policy_loss(x, torch.zeros_like(x), advantage, one, **options), [logp])
    assert torch.isfinite(value).all() and torch.isfinite(grad).all()
    gate = 4 / (1 + np.exp(1))  # at ratio 0, where T is 1
    bad = 4 / 1.05 / (1 + np.exp(1.05))
    expected = {"clip": [-2.1, 0, -2.1, 0.8], "cispo": [-1.1e4, 0, -88, 0], "sapo": [-4, -gate, -4, bad]}[objective]
    close(value, expected, rtol=1e-6)
    close(grad[:, 0], [-1.1, 0, -1.1, 0] if objective == "cispo" else [0, 0, 0, 0], rtol=1e-6)
