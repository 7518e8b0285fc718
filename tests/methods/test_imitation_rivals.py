"""DFT, ASFT, scheduled sampling, NEFTune, DAgger and distillation: each against loops, and where they are SFT or IFT."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_methods import SEEDS, SHORT, SLIPPERY, TWO_PATHS, kl_of, make, rows

from ift_gridworld import METHODS
from ift_gridworld.data import Batch, demonstrations, generators
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.distillation import Lessons
from ift_gridworld.methods.options import NEFTuneOptions
from ift_gridworld.methods.source import Labelled, LakeSource
from ift_gridworld.planning import optimal_policy
from ift_gridworld.policies.lake import POLICIES, TabularPolicy
from ift_gridworld.training import make_base
from ift_gridworld.training.loop import train


def loss_and_gradient(method, step=0):
    loss = method.loss(method.batch(step))
    return loss.detach(), torch.autograd.grad(loss.sum(), list(method.policy.parameters()))


def same_run(name, other, kind, changes=(), other_changes=()):
    runs = [
        train(n, TWO_PATHS, make_base("mixture", TWO_PATHS, policy=kind, seeds=2), steps=15, **dict(c))
        for n, c in ((name, changes), (other, other_changes))
    ]
    return np.array_equal(runs[0].policies, runs[1].policies) and np.array_equal(runs[0].loss, runs[1].loss)


# ---- DFT and ASFT ----


def test_dft_maximises_the_probability_itself():
    """Its gradient is that of -p, averaged over steps, then rows; its value is -p log p, averaged likewise."""
    method = make("dft")
    loss, (gradient,) = loss_and_gradient(method)
    shown, theta = method.source.demonstrations, method.policy.theta.detach().clone().requires_grad_()
    total = 0.0
    for n in range(SEEDS):
        chances = torch.softmax(theta[n], -1)[shown.states[0], shown.actions[0]]
        total = total - rows(chances, shown, mean=True).mean()
        value = rows(-(chances * chances.log()).detach(), shown, mean=True).mean()
        torch.testing.assert_close(loss[n], value, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, torch.autograd.grad(total, theta)[0], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_asft_is_dft_and_a_price_on_leaving_the_base(weight):
    """KL(base || policy) in the demonstrated states, averaged as the loss is."""
    asft, dft = make("asft", kl_weight=weight), make("dft")
    price = []
    for n in range(SEEDS):
        shown = asft.source.demonstrations
        price.append(rows(kl_of(asft.reference, asft.policy, n)[shown.states[0]], shown, mean=True).mean())
    expected = dft.loss(dft.batch(0)).detach() + weight * torch.stack(price)
    torch.testing.assert_close(asft.loss(asft.batch(0)).detach(), expected, rtol=1e-11, atol=0)


# ---- scheduled sampling ----


def scheduled(step=10, **changes):
    method = make("scheduled", **{"rise": 0, "outcome": "expected", **changes})
    method.batch(step)
    return method


@pytest.mark.parametrize("kind", POLICIES)
def test_scheduled_sampling_that_replaces_nothing_is_sft_to_the_last_bit(kind):
    assert same_run("scheduled", "sft", kind, {"probability": 0.0}.items())


@pytest.mark.parametrize("kind", POLICIES)
def test_scheduled_sampling_that_replaces_everything_is_ift_that_mixes_everything(kind):
    always, ift = (
        make(name, kind=kind, count=9, outcome="expected", **changes)
        for name, changes in (("scheduled", {"probability": 1.0, "rise": 0}), ("ift", {"mixing": 1.0, "propagation": "none"}))
    )
    torch.testing.assert_close(always.loss(always.batch(0)), ift.loss(ift.batch(0)), rtol=1e-12, atol=0)


@pytest.mark.parametrize("every_step", [False, True])
def test_scheduled_sampling_replaces_each_state_by_a_coin(every_step):
    """With the coins known: the logits of step t are those of the true tile, or of where the prediction one step before leads;
    the first step has no prediction. Of many episodes each distinct window is run once."""
    method = scheduled(probability=0.4, count=20)
    assert method.windows is not None
    if every_step:
        vars(method)["windows"] = None
    shown = method.source.demonstrations
    shape = shown.states.shape[1:]
    coins = torch.stack([torch.rand(shape, generator=g, dtype=torch.float64) for g in generators(0, SEEDS)]) < 0.4
    expected, replaced = [], 0
    for n in range(SEEDS):
        theta, total = method.policy.theta[n].detach(), 0.0
        for b, (states, actions, mask) in enumerate(zip(shown.states[0], shown.actions[0], shown.mask[0], strict=True)):
            logits = theta[states].clone()
            for t in range(1, int(mask.sum())):
                if coins[n, b, t - 1]:
                    before = int(states[t - 1])
                    leads = torch.as_tensor(SLIPPERY.transition[before, theta[before].argmax()])
                    logits[t], replaced = leads @ theta, replaced + 1
            logp = torch.log_softmax(logits, -1).gather(-1, actions[:, None])[:, 0]
            total += -logp[mask].mean()
        expected.append(total / len(shown.states[0]))
    counted = SEEDS * int((shown.mask.sum(-1) - 1).sum())
    assert abs(replaced / counted - 0.4) < 3 * (0.4 * 0.6 / counted) ** 0.5
    torch.testing.assert_close(method.loss(method.batch(0)).detach(), torch.stack(expected), rtol=1e-11, atol=0)


@pytest.mark.parametrize("every_step", [False, True])
def test_scheduled_sampling_replaces_states_that_are_numbers_as_it_does_vectors(every_step, monkeypatch):
    losses = []
    for most in (1024, 10):
        monkeypatch.setattr("ift_gridworld.policies.lake.ONE_HOT_STATES", most)
        method = scheduled(probability=0.4, count=20)
        if every_step:
            vars(method)["windows"] = None
        losses.append(loss_and_gradient(method))
    (vectors, (slope,)), (numbers, (other,)) = losses
    torch.testing.assert_close(numbers, vectors, rtol=1e-11, atol=0)
    torch.testing.assert_close(other, slope, rtol=1e-9, atol=1e-13)


def test_the_probability_rises_in_a_straight_line_and_stays():
    method = make("scheduled", probability=0.4, rise=10)
    seen = []
    for step in (0, 5, 10, 200):
        method.batch(step)
        seen.append(method.probability)
    assert seen == pytest.approx([0.0, 0.2, 0.4, 0.4])


# ---- NEFTune ----


@pytest.mark.parametrize("kind", POLICIES)
def test_neftune_without_noise_is_sft_to_the_last_bit(kind):
    assert same_run("neftune", "sft", kind, {"noise": 0.0}.items())
    assert not same_run("neftune", "sft", kind)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_neftune_moves_each_embedding_as_published(alpha):
    """alpha / sqrt(L d) times numbers in [-1, 1], L the row's own steps and d the 16 tiles: on a table the logits become
    (one-hot + noise) Theta."""
    method = make("neftune", noise=alpha)
    shown = method.source.demonstrations
    shape = (*shown.states.shape[1:], 16)
    draws = torch.stack([torch.rand(shape, generator=g, dtype=torch.float64) for g in generators(0, SEEDS)])
    expected = []
    for n in range(SEEDS):
        total = 0.0
        for b, (states, actions, mask) in enumerate(zip(shown.states[0], shown.actions[0], shown.mask[0], strict=True)):
            scale = alpha / math.sqrt(int(mask.sum()) * 16)
            noisy = torch.eye(16).double()[states] + scale * (2 * draws[n, b] - 1)
            logp = torch.log_softmax(noisy @ method.policy.theta[n].detach(), -1).gather(-1, actions[:, None])[:, 0]
            total += -logp[mask].mean()
        expected.append(total / len(shown.states[0]))
    lengths = shown.mask[0].sum(-1)
    assert (lengths != lengths[0]).any()
    torch.testing.assert_close(method.loss(method.batch(0)).detach(), torch.stack(expected), rtol=1e-11, atol=0)


def test_neftunes_length_is_that_of_the_whole_sequence():
    """Up to the last step that counts, a prompt before included; a row that counts nothing adds nothing."""
    method = make("neftune", noise=3.0)
    states, actions = torch.tensor([[0, 1, 2], [4, 5, 6], [8, 9, 10]]), torch.tensor([[1, 2, 1], [0, 1, 2], [1, 1, 1]])
    mask = torch.tensor([[False, True, True], [True, False, False], [False] * 3])
    draws = torch.stack([torch.rand((3, 3, 16), generator=g, dtype=torch.float64) for g in generators(0, SEEDS)])
    loss = method.loss(Batch(states[None], actions[None], mask[None]))
    expected = []
    for n in range(SEEDS):
        total = 0.0
        for b, length in enumerate((3, 1)):
            noisy = torch.eye(16).double()[states[b]] + 3 / math.sqrt(length * 16) * (2 * draws[n, b] - 1)
            logp = torch.log_softmax(noisy @ method.policy.theta[n].detach(), -1).gather(-1, actions[b, :, None])[:, 0]
            total -= logp[mask[b]].mean()
        expected.append(total / 3)
    torch.testing.assert_close(loss.detach(), torch.stack(expected), rtol=1e-11, atol=0)
    assert torch.autograd.grad(loss.sum(), method.policy.theta)[0].isfinite().all()


def test_neftune_needs_vectors_of_tiles():
    """More than 1024 tiles are embedded by their numbers."""
    source = LakeSource(SHORT, None, None, None, generators(0, 1))
    METHODS["neftune"](source, TabularPolicy(1024, 4), NEFTuneOptions())
    with pytest.raises(ValueError, match=r"the lake has 1025 states, .*; NEFTune takes smaller lakes$"):
        METHODS["neftune"](source, TabularPolicy(1025, 4), NEFTuneOptions())


# ---- a teacher: DAgger and distillation ----


@pytest.mark.parametrize("kind", POLICIES)
def test_dagger_in_its_first_round_is_sft_to_the_last_bit(kind):
    assert same_run("dagger", "sft", kind, {"every": 15}.items())
    assert not same_run("dagger", "sft", kind, {"every": 5}.items())


def test_daggers_first_data_are_sfts_demonstrations_averaged_alike():
    dagger, sft = make("dagger"), make("sft")
    assert dagger.source.demonstrations.states.shape[1] == 3
    assert torch.equal(dagger.loss(dagger.batch(0)), sft.loss(sft.batch(0)))


def test_dagger_learns_all_rounds_in_turn():
    """Rounds begin at updates 3 and 6, each walked by the policy as it is then."""
    method = make("dagger", every=3, walkers=4)
    batches = [method.batch(step) for step in range(9)]
    assert len(method.rounds) == 2
    shown, first, second = method.source.demonstrations, *method.rounds
    expected = [shown, shown, shown, first, shown, first, shown, first, second]
    assert all(one is other for one, other in zip(batches, expected, strict=True))
    assert first.batch.states.shape[:2] == (SEEDS, 4)


@pytest.mark.parametrize("teacher", ["optimal", "demonstrator"])
def test_dagger_is_the_cross_entropy_of_the_teacher(teacher):
    """-sum_a T(a|s) log pi(a|s), a mean over each episode, then over all; the demonstrator acts at random half the time."""
    method = make("dagger", every=1, walkers=5, teacher=teacher)
    batch = method.batch(1)
    table = torch.as_tensor(optimal_policy(SLIPPERY))
    if teacher == "demonstrator":
        table = 0.5 * table + 0.5 / 4
    expected = []
    for n in range(SEEDS):
        costs = -(table * torch.as_tensor(method.policy.probabilities()[n]).log()).sum(-1)
        steps = zip(batch.batch.states[n], batch.batch.mask[n], strict=True)
        expected.append(torch.stack([costs[states[mask]].mean() for states, mask in steps]).mean())
    torch.testing.assert_close(method.loss(batch).detach(), torch.stack(expected), rtol=1e-11, atol=0)


def test_dagger_is_indifferent_to_actions_that_nobody_takes():
    """The policy excludes an action that the teacher never takes: no infinite cost, no broken gradient."""
    method = make("dagger", mdp=TWO_PATHS, every=1, walkers=2)
    batch = method.batch(1)
    right = torch.as_tensor(optimal_policy(TWO_PATHS)) > 0
    logits = torch.where(right, 0.0, -torch.inf)[batch.batch.states].double().requires_grad_()
    method.policy = lambda states: logits
    loss = method.loss(batch)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all() and not gradient.isnan().any()


@pytest.mark.parametrize("divergence", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("share", [1.0, 0.3, 0.0])
def test_distillation_is_the_divergence_from_the_teacher(divergence, share):
    """On the policy's own episodes, and for the rest of the weight in the demonstrated states. 0 is the teacher's cross-entropy
    less its entropy."""
    method = make("distill", divergence=divergence, on_policy=share, walkers=5)
    batch, teacher = method.batch(0), torch.as_tensor(optimal_policy(SLIPPERY))
    assert (batch.own is None) == (share == 0) and (batch.shown is None) == (share == 1)
    expected = []
    for n in range(SEEDS):
        student = torch.as_tensor(method.policy.probabilities()[n])
        mean = divergence * teacher + (1 - divergence) * student
        parts = [kl(teacher, mean), kl(student, mean)]
        cost = kl(teacher, student) if divergence == 0 else divergence * parts[0] + (1 - divergence) * parts[1]
        total = 0.0
        for weight, lesson in ((share, batch.own), (1 - share, batch.shown)):
            if lesson is not None:
                states, mask = (x.expand(SEEDS, -1, -1)[n] for x in (lesson.batch.states, lesson.batch.mask))
                total += weight * torch.stack([cost[s[m]].mean() for s, m in zip(states, mask, strict=True)]).mean()
        expected.append(total)
    torch.testing.assert_close(method.loss(batch).detach(), torch.stack(expected), rtol=1e-10, atol=1e-12)


def kl(p, q):
    return torch.where(p > 0, p * (p / q).log(), 0.0).sum(-1)


def test_the_reverse_divergence_suits_a_teacher_who_may_do_anything():
    method = make("distill", divergence=1.0, teacher="demonstrator", walkers=4)
    assert method.loss(method.batch(0)).isfinite().all()


def test_a_teacher_may_name_some_actions_alone():
    """It takes the third action; of the last step it knows nothing. -log of the action's probability, averaged over the
    steps before."""
    method = make("distill", divergence=0.0, walkers=4)
    batch = method.batch(0).own.batch
    counted = batch.mask & (torch.arange(batch.mask.shape[-1]) < batch.mask.sum(-1, keepdim=True) - 1)
    known = Labelled(
        replace(batch, mask=counted), torch.tensor([[[[2]]]]), counted[..., None].double().expand(*batch.mask.shape, 1)
    )
    expected = []
    for n in range(SEEDS):
        costs = -torch.as_tensor(method.policy.probabilities())[n, batch.states[n], 2].log()
        expected.append(torch.stack([c[m].sum() / m.sum().clamp(min=1) for c, m in zip(costs, counted[n], strict=True)]).mean())
    loss = method.loss(Lessons(known, None))
    torch.testing.assert_close(loss.detach(), torch.stack(expected), rtol=1e-11, atol=0)
    assert torch.autograd.grad(loss.sum(), method.policy.theta)[0].isfinite().all()


def test_a_lesson_stands_for_its_own_episodes_if_there_are_any():
    own, shown = (Labelled(object(), None, None) for _ in range(2))
    assert Lessons(own, shown).batch is own.batch and Lessons(None, shown).batch is shown.batch


@pytest.mark.parametrize("name", ["dagger", "distill"])
def test_a_teacher_cures_what_demonstrations_cannot(name):
    """Demonstrations start at S alone; on the walks of a base that errs the teacher is asked off the path too."""
    mdp = TabularMDP.from_map(LAKES["two-paths"])
    runs = [train(n, mdp, make_base("random", mdp, policy="tabular", seeds=2), steps=120) for n in (name, "sft")]
    taught, shown = (run.policies[-1] for run in runs)
    optimal, visited = optimal_policy(mdp), demonstrations(mdp).states.unique().tolist()
    off = [s for s in range(16) if not mdp.terminal[s] and s not in visited]
    right = [(policy * (optimal > 0)).sum(-1)[:, off].mean() for policy in (taught, shown)]
    assert right[0] > right[1] + 0.2


def test_labels_do_not_count_what_is_padded():
    """The same episodes with junk behind their ends have the same loss."""
    method = make("distill", walkers=4)
    lesson = method.batch(0)
    own = lesson.own.batch
    junk = Batch(
        *(torch.nn.functional.pad(x, (0, 2), value=v) for x, v in ((own.states, 3), (own.actions, 1), (own.mask, False)))
    )
    padded = type(lesson.own)(junk, lesson.own.actions, torch.nn.functional.pad(lesson.own.chances, (0, 0, 0, 2)))
    torch.testing.assert_close(method.loss(type(lesson)(padded, None)), method.loss(lesson), rtol=1e-12, atol=0)
