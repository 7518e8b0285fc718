"""SPIN and judged DPO: against whom the policy plays, which answer is chosen, and where they are DPO."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_methods import BESIDE_THE_GOAL, SEEDS, log_probs, make, rollout, rows

from ift_gridworld import losses


def test_spins_first_round_is_dpo_with_the_bases_own_answers():
    """The rejected answers are sampled from the base, which is the reference; the chosen ones are demonstrations."""
    spin = make("spin", beta=0.3)
    chosen, rejected = spin.batch(0)
    assert chosen.batch is spin.source.demonstrations
    fresh = make("spin").source.answers(spin.reference, chosen.batch)  # its generators are where the others were
    assert torch.equal(rejected.batch.actions, fresh.actions) and torch.equal(rejected.batch.mask, fresh.mask)
    expected = []
    for n in range(SEEDS):
        pair = []
        for side in (chosen.batch, rejected.batch):
            one = type(side)(**{k: v.expand(SEEDS, -1, -1)[n : n + 1] for k, v in vars(side).items()})
            pair += [rows(log_probs(policy, n, one), one) for policy in (spin.policy, spin.reference)]
        expected.append(losses.dpo_loss(pair[0], pair[2], pair[1], pair[3], beta=0.3).mean())
    torch.testing.assert_close(spin.loss((chosen, rejected)), torch.stack(expected), rtol=1e-11, atol=0)


def test_each_round_begins_with_the_policy_as_reference_and_opponent():
    """At the first update of a round the loss is log 2 whatever has been learnt; in between, the reference stays."""
    method = make("spin", every=3)
    base, references = copy.deepcopy(method.reference), []
    for step in range(7):
        batch = method.batch(step)
        references.append(method.reference.theta)
        if step in (3, 6):
            assert torch.equal(method.reference.theta, method.policy.theta) and not method.reference.theta.requires_grad
            np.testing.assert_allclose(method.loss(batch).detach(), math.log(2), rtol=1e-12)
        elif step:
            assert references[-1] is references[-2]
        with torch.no_grad():
            method.policy.theta.mul_(1.1)
    assert torch.equal(references[0], base.theta) and method.renewal == 3


def test_spin_plays_against_its_opponent_not_against_itself():
    method = make("spin", every=5)
    with torch.no_grad():
        method.reference.theta[:] = 1000 * torch.eye(4)[3]
        method.policy.theta[:] = 1000 * torch.eye(4)[1]
    _, rejected = method.batch(1)
    assert (rejected.batch.actions == 3)[rejected.batch.mask].all()


def test_spin_keeps_reference_log_probs_while_demonstrations_stay():
    method = make("spin")
    chosen, _ = method.batch(0)
    assert method.batch(1)[0] is chosen
    method.source = replace(method.source, demonstrations=method.source.demonstrations[:, :1])
    assert method.batch(2)[0].batch is method.source.demonstrations


@pytest.mark.parametrize("learned", [False, True])
def test_judged_dpo_prefers_the_answer_that_returns_more(learned):
    """Both answers are the policy's own, to one start; by loops over pairs, ties left out of sum and count."""
    method = rollout("dpo_judged", start=BESIDE_THE_GOAL, beta=0.3, label_smoothing=0.1, walkers=24)
    if learned:
        method.learned_reward = torch.randn(SEEDS, 6, 4, generator=torch.Generator().manual_seed(3))
    batch = method.batch(0)
    steps = batch.steps
    assert torch.equal(steps.states[:, ::2, 0], steps.states[:, 1::2, 0])
    expected = []
    for n in range(SEEDS):
        returns, ratios = [], []
        for b in range(24):
            counted = steps.mask[n, b]
            at = steps.states[n, b][counted], steps.actions[n, b][counted]
            paid = method.learned_reward[n][at] if learned else steps.reward[n, b][counted]
            returns.append(sum(0.9**t * float(x) for t, x in enumerate(paid)))
            ours, base = (torch.as_tensor(p.probabilities())[n].log() for p in (method.policy, method.reference))
            ratios.append(float((ours[at] - base[at]).sum()))
        costs = []
        for b in range(0, 24, 2):
            if abs(returns[b] - returns[b + 1]) > 1e-12:
                better, worse = (b, b + 1) if returns[b] > returns[b + 1] else (b + 1, b)
                m = 0.3 * (ratios[better] - ratios[worse])
                costs.append(0.9 * math.log1p(math.exp(-m)) + 0.1 * math.log1p(math.exp(m)))
        assert costs and (learned or len(costs) < 12)
        expected.append(np.mean(costs))
    np.testing.assert_allclose(method.loss(batch).detach(), expected, rtol=2e-5)  # float32


def test_judged_dpo_without_a_winner_moves_nothing():
    method = rollout("dpo_judged", start=BESIDE_THE_GOAL, walkers=8)
    batch = method.batch(0)
    tie = type(batch)(batch.steps, batch.first, torch.zeros_like(batch.differs))
    loss = method.loss(tie)
    (gradient,) = torch.autograd.grad(loss.sum(), method.policy.theta)
    assert not loss.any() and not gradient.any()
