"""GRPO's relatives, HPT and LUFFY: advantages, ratios and averages by loops, and where one of them is another."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import options_of
from test_methods import BESIDE_THE_GOAL, SEEDS, SHORT, THREE_STARTS, rollout

from ift_gridworld import METHODS
from ift_gridworld.data import generators, sample_episodes
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.policies.lake import TabularPolicy

GROUPED = ("dr_grpo", "dapo", "gspo", "cispo", "sapo")


def moved(method, batch, by=1.3):
    """The policy has moved since the walk; returns log pi of every step, and of the base."""
    with torch.no_grad():
        method.policy.theta.mul_(by)
    steps = batch.steps
    logs = [torch.as_tensor(p.probabilities()).log() for p in (method.policy, method.reference)]
    return [torch.stack([log[n][steps.states[n], steps.actions[n]] for n in range(SEEDS)]) for log in logs]


def advantages(returns, name):
    if name == "reinforce":
        return returns
    if name == "rloo":
        return np.array([x - (sum(returns) - x) / (len(returns) - 1) for x in returns])
    centred = returns - returns.mean()
    return centred if name == "dr_grpo" else centred / (returns.std(ddof=1) + 1e-4)


def step_loss(name, ratio, advantage, logp):
    """What one step costs; `ratio` is the episode's for GSPO."""
    if name in ("reinforce", "rloo"):
        return -ratio * advantage
    if name == "cispo":
        return -min(ratio, 1.02) * advantage * logp
    if name == "sapo":
        temperature = 1.0 if advantage > 0 else 1.05
        return -4 / temperature / (1 + np.exp(-temperature * (ratio - 1))) * advantage
    low, high = {"dr_grpo": (0.1, 0.1), "dapo": (0.1, 0.02), "gspo": (0.1, 0.02)}[name]
    return -min(ratio * advantage, np.clip(ratio, 1 - low, 1 + high) * advantage)


OPTIONS = {"clip": 0.1, "clip_high": 0.02, "walkers": 12, "group": 4, "epochs": 2, "beta": 0.3}


@pytest.mark.parametrize("name", ["reinforce", "rloo", *GROUPED])
def test_each_relative_by_loops(name):
    """Returns, less the price of KL where it is paid in the reward; advantages within groups of four; each step's loss; and an
    average over episodes' own lengths, all steps, or none. Where KL is priced in the loss it is k3, averaged as GRPO's.

    REINFORCE and RLOO use their rollouts before the policy has moved; CISPO's bound is a ratio itself; DAPO leaves out groups
    that agree."""
    method = rollout(name, start=BESIDE_THE_GOAL, **OPTIONS | {"cispo": {"clip_high": 1.02}}.get(name, {}))
    batch = method.batch(0)
    ours, base = moved(method, batch, by=1.3 if name in GROUPED else 1.0)
    steps, size = batch.steps, 12 if name == "reinforce" else 4
    assert steps.states.shape[:2] == (SEEDS, 12)
    lengths = (steps.terminated | steps.truncated).int().argmax(-1) + 1
    expected = []
    for n in range(SEEDS):
        counted = lengths[n].tolist()
        returns = np.array([sum(0.9**t * steps.reward[n, b, t].item() for t in range(counted[b])) for b in range(12)])
        if name in ("reinforce", "rloo"):
            for b, length in enumerate(counted):
                returns[b] -= 0.3 * float((ours - base)[n, b, :length].sum())
        per_episode, price, all_steps = [], 0.0, 0
        for first in range(0, 12, size):
            advantage = advantages(returns[first : first + size], name)
            for b, gain in zip(range(first, first + size), advantage, strict=True):
                logp, old, reference = (x[n, b, : counted[b]].double().numpy() for x in (ours, batch.logp, base))
                ratio = np.exp(logp - old)
                if name == "gspo":
                    ratio = np.full_like(ratio, np.exp(np.mean(logp - old)))
                per_episode.append(sum(step_loss(name, q, gain, log) for q, log in zip(ratio, logp, strict=True)))
                is_counted = name != "dapo" or advantage.any()
                all_steps += counted[b] * is_counted
                x = reference - logp
                price += 0.3 * np.mean(np.exp(x) - 1 - x) / 12 * is_counted
        average = {"dr_grpo": 12 * 6, "dapo": max(all_steps, 1), "cispo": all_steps, "reinforce": 12, "rloo": 12}.get(name)
        if average is None:
            loss = np.mean([x / length for x, length in zip(per_episode, counted, strict=True)])
        else:
            loss = sum(per_episode) / average
        expected.append(loss + price * (name in GROUPED))
    np.testing.assert_allclose(method.loss(batch).detach(), expected, rtol=2e-5, atol=2e-6)  # float32 against 64


def test_dapo_leaves_out_groups_that_all_agree():
    method = rollout("dapo", start=BESIDE_THE_GOAL, walkers=24, group=2)
    batch = method.batch(0)
    steps, advantage = batch.steps, batch.advantage
    agree = (advantage[..., 0].unflatten(-1, (-1, 2)) == 0).all(-1).repeat_interleave(2, -1)
    assert agree.any() and not agree.all() and torch.equal(agree, ~steps.mask.any(-1))


def test_dapo_keeps_an_average_episode_of_a_group_that_differs():
    method = rollout("dapo", start=BESIDE_THE_GOAL, walkers=6, group=3)
    batch = method.batch(0)
    advantage = torch.tensor([[-1.0, 0.0, 1.0, 0.0, 0.0, 0.0]] * SEEDS)[..., None].expand_as(batch.logp)
    steps = replace(batch.steps, mask=torch.ones_like(batch.steps.mask))
    mask = method._counted(replace(batch, steps=steps, advantage=advantage), 3).steps.mask
    assert mask[:, :3].all() and not mask[:, 3:].any()


def test_without_a_price_a_base_that_excludes_an_action_costs_nothing():
    method = rollout("dr_grpo", start=BESIDE_THE_GOAL, walkers=12, beta=0.0)
    batch = method.batch(0)
    taken = batch.steps.actions[batch.steps.mask][0]
    with torch.no_grad():
        method.reference.theta[..., taken] = -torch.inf
    assert method.loss(batch).isfinite().all()


def test_a_batch_in_which_all_agree_moves_nothing():
    """Nobody reaches the goal in one step: the loss is 0, not 0/0, and so is its gradient."""
    for name in GROUPED:
        method = rollout(name, start=np.eye(6)[0], walkers=6, beta=0.0)
        method.source = replace(method.source, mdp=replace(SHORT, horizon=1))
        loss = method.loss(method.batch(0))
        (gradient,) = torch.autograd.grad(loss.sum(), method.policy.theta)
        assert not loss.any() and not gradient.any(), name


def test_dr_grpo_is_grpo_where_lengths_and_deviations_are_one():
    """One-step episodes of unit deviation, no price of KL: the losses agree to the epsilon in GRPO's division."""
    dr, grpo = (rollout(name, start=BESIDE_THE_GOAL, walkers=8, beta=1e-9) for name in ("dr_grpo", "grpo"))
    batch = dr.batch(0)
    keep = batch.steps.mask & (torch.arange(batch.steps.mask.shape[-1]) == 0)
    one = type(batch.steps)(**{**vars(batch.steps), "mask": keep})
    rewards = torch.tensor([[2**-0.5, -(2**-0.5)] * 4]).expand(SEEDS, -1)  # sample deviation of each pair 1
    advantage = dr.advantage(rewards.unflatten(-1, (-1, 2))).flatten(1)[..., None]
    same = type(batch)(one, batch.logp, advantage.expand_as(batch.logp))
    moved(dr, batch)
    moved(grpo, batch)
    torch.testing.assert_close(dr.source.longest * dr.loss(same), grpo.loss(same), rtol=1e-5, atol=1e-7)


def test_reinforce_and_rloo_walk_at_every_update_the_others_every_few():
    for name in ("reinforce", "rloo", *GROUPED, "hpt", "luffy"):
        expected = 1 if name in ("reinforce", "rloo") else 3
        assert made(name, epochs=3).renewal == expected, name


# ---- demonstrations beside rollouts ----


def made(name, starts=(0, 1, 5), **changes):
    """A mixed method, or a relative, on demonstrations from known starts by a policy that acts at random."""
    policy = TabularPolicy(6, 4, SEEDS).initialise(generators(5, SEEDS)).double()
    first = torch.tensor([list(starts)])
    shown = sample_episodes(SHORT, np.full((6, 4), 0.25), len(starts), generators(3, 1), first)
    mdp = replace(SHORT, horizon=6)
    options = options_of(name, **{"walkers": 12, "group": 4, "clip": 0.1, **changes})
    return METHODS[name](LakeSource(mdp, shown, None, None, generators(0, SEEDS)), policy, options)


@pytest.mark.parametrize("name", ["hpt", "luffy"])
@pytest.mark.parametrize("epochs", [1, 3])
def test_groups_start_where_demonstrations_do_in_turn(name, epochs):
    """Those of the next batch of rollouts, however many updates there are on each."""
    method = made(name, starts=(0, 1, 5, 1), epochs=epochs)
    seen = []
    for step in range(0, 4 * epochs, epochs):
        batch = method.batch(step)
        size = 3 if name == "luffy" else 4
        starts = batch.steps.states[..., 0].unflatten(-1, (3, size))
        assert torch.equal(starts, batch.shown.states[..., 0].expand(SEEDS, -1)[..., None].expand_as(starts))
        seen += batch.shown.states[0, :, 0].tolist()
    assert seen == [0, 1, 5, 1] * 3


@pytest.mark.parametrize("gate", [0.0, 0.25, 0.5, 1.0])
def test_hpt_switches_exactly_at_its_gate(gate):
    """Of each group of four a share of 0, 1/4 … succeeds; up to the gate the weight is on the demonstration alone, above it on
    the group alone."""
    method = made("hpt", gate=gate, walkers=40, starts=(1, 0, 5))
    batch = method.batch(0)
    steps = batch.steps
    reached = (steps.reward * steps.mask).sum(-1).unflatten(-1, (-1, 4)) > 0
    rate = reached.double().mean(-1)
    assert {0.0, 0.25} <= set(rate.flatten().tolist())
    assert torch.equal(batch.weight, (rate <= gate).double())
    imitates = (rate <= gate)[..., None].expand_as(reached).flatten(1)
    assert not batch.advantage[imitates].any()
    mixed = (rate > gate) & (rate < 1)
    assert batch.advantage.unflatten(1, (-1, 4))[mixed].any(-1).all()


def mixed_loss(method, batch, advantage, guided, own_share):
    """Dr. GRPO's loss of the rollouts, the guided loss, and the entropy of the rollouts' states, by loops."""
    expected = []
    table = torch.as_tensor(method.policy.probabilities())
    for n in range(SEEDS):
        total, entropy, count = 0.0, 0.0, 0
        for b in range(batch.steps.mask.shape[1]):
            counted = batch.steps.mask[n, b]
            states, actions = batch.steps.states[n, b][counted], batch.steps.actions[n, b][counted]
            ratio = (table[n, states, actions].log() - batch.logp[n, b][counted]).exp()
            gain = advantage[n, b]
            total -= float(torch.minimum(ratio * gain, ratio.clamp(0.9, 1.1) * gain).sum()) / 6
            entropy += float(-(table[n, states] * table[n, states].log()).sum())
            count += int(counted.sum())
        expected.append(own_share * total / batch.steps.mask.shape[1] + guided[n] - 0.2 * entropy / count)
    return expected


def shown_rows(method, n):
    """Probabilities of each demonstration's counted actions."""
    shown = method.source.demonstrations
    table = torch.as_tensor(method.policy.probabilities())[n]
    rows = zip(shown.states[0], shown.actions[0], shown.mask[0], strict=True)
    return [table[states[mask], actions[mask]] for states, actions, mask in rows]


def test_hpt_is_dr_grpo_and_sft_by_parts():
    method = made("hpt", entropy_bonus=0.2, imitation=0.7, starts=(1, 0, 5))
    batch = method.batch(0)
    assert batch.weight.any() and not batch.weight.all()
    with torch.no_grad():
        method.policy.theta.mul_(1.3)
    costs = [[float(-p.log().mean()) for p in shown_rows(method, n)] for n in range(SEEDS)]
    guided = 0.7 * (batch.weight * torch.tensor(costs, dtype=torch.float64)).mean(-1)
    expected = mixed_loss(method, batch, batch.advantage[..., 0], guided, 1.0)
    np.testing.assert_allclose(method.loss(batch).detach(), expected, rtol=1e-10)


@pytest.mark.parametrize("guides", [1, 2])
def test_luffy_counts_the_demonstration_as_one_of_its_group(guides):
    """Own episodes and the demonstration, once or twice: advantages less the mean of the four, the demonstration's steps by
    p / (p + g), everything over four answers and the time limit of six."""
    method = made("luffy", entropy_bonus=0.2, shaping=0.3, starts=(1, 0, 5), guides=guides)
    batch = method.batch(0)
    steps, shown = batch.steps, method.source.demonstrations
    own = sum(0.9**t * steps.reward[..., t] * steps.mask[..., t] for t in range(steps.mask.shape[-1]))
    own = own.unflatten(-1, (3, 4 - guides))
    theirs = sum(0.9**t * shown.reward[..., t] * shown.mask[..., t] for t in range(shown.mask.shape[-1])).expand(SEEDS, -1)
    mean = (own.sum(-1) + guides * theirs) / 4
    torch.testing.assert_close(batch.weight, guides * (theirs - mean), rtol=0, atol=1e-12)
    torch.testing.assert_close(batch.advantage[..., 0], (own - mean[..., None]).flatten(1), rtol=0, atol=1e-12)
    assert batch.weight.any()
    with torch.no_grad():
        method.policy.theta.mul_(1.3)
    shaped = [[float((p / (p + 0.3)).sum()) / 6 for p in shown_rows(method, n)] for n in range(SEEDS)]
    guided = -(batch.weight * torch.tensor(shaped, dtype=torch.float64)).mean(-1) / 4
    expected = mixed_loss(method, batch, batch.advantage[..., 0], guided, 1 - guides / 4)
    np.testing.assert_allclose(method.loss(batch).detach(), expected, rtol=1e-10)


def test_luffy_without_demonstrations_is_dr_grpo():
    """On the same starts, without a bonus: the same walks, losses and gradients."""
    luffy = made("luffy", guides=0, entropy_bonus=0.0, starts=(1, 1, 1))
    dr = made("dr_grpo", starts=(1, 1, 1))
    ours = luffy.batch(0)
    dr._rollouts = type(ours).__mro__[1](ours.steps, ours.logp, ours.advantage)
    losses = [method.loss(method.batch(1)) for method in (luffy, dr)]
    gradients = [torch.autograd.grad(x.sum(), m.policy.theta)[0] for x, m in zip(losses, (luffy, dr), strict=True)]
    assert torch.equal(*losses) and torch.equal(*gradients) and gradients[0].any() and not ours.weight.any()
    groups = dr.advantage(luffy._returns(ours.steps).unflatten(-1, (-1, 4))).flatten(1)
    assert torch.equal(ours.advantage[..., 0], groups)


def test_starts_of_groups_are_drawn_where_a_method_has_no_demonstrations():
    """As GRPO's: a group starts on one tile, each seed's from the lake's own starts."""
    method = rollout("rloo", start=THREE_STARTS, walkers=9, group=3)
    first = method.batch(0).steps.states[..., 0]
    assert torch.equal(first, first[:, ::3].repeat_interleave(3, -1))
