"""Each method is the loss it claims to be, on the data it claims to need, a seed at a time."""

import copy
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from support import options_of

from ift_gridworld import METHODS, losses
from ift_gridworld.data import Batch, demonstrations, generators, preference_pairs, sample_episodes
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import GRPOOptions, IFTOptions, TrainingOptions
from ift_gridworld.methods.registry import CORE, FAMILIES, family_of
from ift_gridworld.methods.reward_model import train_reward_model
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.policies.lake import POLICIES, TabularPolicy

TWO_PATHS = TabularMDP.from_map(LAKES["two-paths"])
SLIPPERY = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, success_rate=0.7)
SHORT = TabularMDP.from_map(("SFG", "HFF"), is_slippery=True, success_rate=0.7, discount=0.9)
SEEDS = 2


def make(name, *, mdp=SLIPPERY, count=3, kind="tabular", **changes):
    """A method in float64 whose policy has moved on from its reference, with only the data that it says it needs."""
    policy = POLICIES[kind](mdp.num_states, mdp.num_actions, SEEDS).initialise(generators(5, SEEDS)).double()
    data = dict.fromkeys(("demonstrations", "chosen", "rejected"))
    if METHODS[name].needs == "demonstrations" or family_of(name) == "mixed":
        data["demonstrations"] = demonstrations(mdp, count)[None]
    elif METHODS[name].needs == "pairs":
        data["chosen"], data["rejected"] = (side[None] for side in preference_pairs(mdp, count))
    method = METHODS[name](LakeSource(mdp, **data, generators=generators(0, SEEDS)), policy, options_of(name, **changes))
    base = copy.deepcopy(method.reference) if method.keeps_reference else None
    move_on(policy)
    if base is not None:
        for ours, theirs in zip(method.reference.parameters(), base.parameters(), strict=True):
            assert torch.equal(ours, theirs) and not ours.requires_grad, "the reference is frozen"
    return method


def move_on(policy):
    random = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=random, dtype=torch.float64))


def log_probs(policy, seed, batch):
    """log pi(a|s) of the steps of [B, T], looked up in the policy's matrix."""
    table = torch.as_tensor(policy.probabilities()[seed]).log()
    return table[batch.states[0], batch.actions[0]]


def rows(logp, batch, mean=False):
    """Sum or mean over counted steps, by a loop."""
    masks = batch.mask[0]
    return torch.stack([(row[m].mean() if mean else row[m].sum()) for row, m in zip(logp, masks, strict=True)])


def test_methods_are_those_that_are_promised():
    assert CORE == ("sft", "ppo", "dpo", "dpo_online", "ift", "orpo", "ipo", "simpo", "tdpo", "grpo") == tuple(METHODS)[:10]
    families = {family: {name for name in METHODS if family_of(name) == family} for family in FAMILIES}
    assert families == {
        "imitation": {"sft", "ift", "dft", "asft", "scheduled", "neftune", "dagger", "distill"},
        "pairs": {
            "dpo", "dpo_online", "orpo", "ipo", "simpo", "tdpo", "hinge", "robust", "exo", "nca", "bco", "sppo", "apo_zero",
            "apo_down", "discopop", "dpop", "cpo", "chi_po", "cal_dpo", "spin", "dpo_judged",
        },
        "unpaired": {"kto"},
        "on-policy": {"ppo", "grpo", "reinforce", "rloo", "dr_grpo", "dapo", "gspo", "cispo", "sapo"},
        "mixed": {"hpt", "luffy"},
    }  # fmt: skip
    assert {name for name in METHODS if METHODS[name].needs == "demonstrations"} == families["imitation"] | {"spin"}
    walking = families["on-policy"] | families["mixed"] | {"dpo_judged"}
    assert {name for name in METHODS if METHODS[name].needs == "rollouts"} == walking
    assert {name for name in METHODS if METHODS[name].draws} == walking | {"dpo_online", "spin", "dagger", "distill"}
    assert {name for name in METHODS if METHODS[name].asks_teacher} == {"dagger", "distill"}


# ---- the losses, re-computed ----


def test_sft_is_the_loss_of_the_demonstrations():
    method = make("sft")
    shown = method.source.demonstrations
    expected = [losses.sft_loss(log_probs(method.policy, n, shown), shown.mask[0]).mean() for n in range(SEEDS)]
    torch.testing.assert_close(method.loss(method.batch(0)), torch.stack(expected), rtol=1e-12, atol=0)


@pytest.mark.parametrize("windows", [True, False], ids=["windows", "every step"])
@pytest.mark.parametrize("prediction", ["greedy", "expected"])
@pytest.mark.parametrize("outcome", ["expected", "likeliest"])
def test_ift_is_the_loss_of_mixed_rows(windows, prediction, outcome):
    """Logits of step t, from the second: (1 - lambda) Theta[s_t] + lambda (where the prediction at s_(t-1) leads) Theta."""
    options = {"mixing": 0.35, "decay": 0.8, "norm": "L2", "detach_weights": True}
    method = make("ift", count=20, prediction=prediction, outcome=outcome, **options)
    assert method.windows is not None, "twenty episodes have few distinct windows"
    if not windows:
        method.windows = None
    shown, expected = method.source.demonstrations, []
    for n in range(SEEDS):
        theta = method.policy.theta[n].detach()
        total = 0.0
        for states, actions, mask in zip(shown.states[0], shown.actions[0], shown.mask[0], strict=True):
            logits = theta[states].clone()
            for t in range(1, int(mask.sum())):
                before = int(states[t - 1])
                chances = torch.softmax(theta[before], -1)
                if prediction == "greedy":
                    chances = torch.eye(4).double()[theta[before].argmax()]
                leads = torch.as_tensor(SLIPPERY.transition[before])
                if outcome == "likeliest":
                    leads = torch.eye(16).double()[leads.argmax(-1)]
                logits[t] = 0.65 * theta[states[t]] + 0.35 * (chances @ leads @ theta)
            logp = torch.log_softmax(logits, -1).gather(-1, actions[:, None])[:, 0]
            total += losses.ift_loss(logp, mask, decay=0.8, norm="L2")
        expected.append(total / len(shown.states[0]))
    torch.testing.assert_close(method.loss(method.batch(0)), torch.stack(expected), rtol=1e-11, atol=0)
    # The weights are held constant: the gradient is that of the last factor alone.
    plain = make("ift", count=20, prediction=prediction, outcome=outcome, **options | {"detach_weights": False})
    grads = [torch.autograd.grad(m.loss(m.batch(0)).sum(), m.policy.theta)[0] for m in (method, plain)]
    assert (grads[0] - grads[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("copies", "serves"), [(2, False), (3, True)])
def test_windows_serve_where_they_are_fewer_than_half_of_the_steps(copies, serves):
    """One episode again and again: its steps are all windows that there are."""
    method = make("ift", mdp=TWO_PATHS, count=1)
    shown = method.source.demonstrations
    method.source = replace(method.source, demonstrations=shown[:, [0] * copies])
    assert shown.mask.all() and (method.windows is not None) == serves


@pytest.mark.parametrize("name", ["dpo", "ipo", "orpo", "simpo", "tdpo"])
def test_pair_methods_are_the_losses_of_their_pairs(name):
    """Sums for DPO, IPO and TDPO, means for ORPO and SimPO; the KL of TDPO is that of the reference to the policy."""
    knobs = {"beta": 0.3, "label_smoothing": 0.1, "gamma": 0.7, "alpha": 0.4, "version": 1}
    method = make(name, **knobs)
    expected, base = [], method.reference if method.keeps_reference else method.policy
    for n in range(SEEDS):
        sides = method.source.chosen, method.source.rejected
        sums, means = ([rows(log_probs(method.policy, n, side), side, mean) for side in sides] for mean in (False, True))
        references = [rows(log_probs(base, n, side), side) for side in sides]
        margins = [ours - theirs for ours, theirs in zip(sums, references, strict=True)]
        kls = [rows(kl_of(base, method.policy, n)[side.states[0]], side) for side in sides]
        per_pair = {
            "dpo": losses.dpo_loss(*sums, *references, beta=0.3, label_smoothing=0.1),
            "ipo": losses.ipo_loss(*sums, *references, beta=0.3),
            "orpo": losses.orpo_loss(*means, beta=0.3),
            "simpo": losses.simpo_loss(*means, beta=0.3, gamma=0.7),
            "tdpo": losses.tdpo_loss(*margins, *kls, beta=0.3, alpha=0.4, version=1),
        }
        expected.append(per_pair[name].mean())
    torch.testing.assert_close(method.loss(method.batch(0)), torch.stack(expected), rtol=1e-11, atol=0)


def test_reference_log_probs_are_kept_while_the_pairs_stay():
    method = make("dpo")
    sides = method.batch(0)
    assert method.batch(1) is sides
    method.source = replace(method.source, chosen=method.source.rejected, rejected=method.source.chosen)
    renewed = method.batch(2)
    assert [side.batch for side in renewed] == [side.batch for side in sides[::-1]]


def kl_of(reference, policy, seed):
    reference, policy = (torch.as_tensor(p.probabilities()[seed]) for p in (reference, policy))
    return (reference * (reference / policy).log()).sum(-1)


def test_online_dpo_draws_its_rejected_answers_from_the_current_policy():
    """Each seed's policy is made certain of one action; its rejected episodes take no other. Then it changes its mind."""
    method = make("dpo_online", mdp=TWO_PATHS, count=1)
    method.source = LakeSource(**{**vars(method.source), "rejected": None})  # it needs none
    for favourites in ((0, 1), (2, 0)):
        with torch.no_grad():
            for n, action in enumerate(favourites):
                method.policy.theta[n] = 1000 * torch.eye(4)[action]
        chosen, rejected = method.batch(0)
        for n, action in enumerate(favourites):
            assert (rejected.batch.actions[n] == action)[rejected.batch.mask[n]].all()
        assert chosen.batch is method.source.chosen
        table = torch.as_tensor(method.reference.probabilities()).log()
        for side in (chosen, rejected):
            expected = [torch.log_softmax(side.reference_logits[n], -1) for n in range(SEEDS)]
            for n in range(SEEDS):
                torch.testing.assert_close(
                    expected[n], table[n, side.batch.states.expand(SEEDS, -1, -1)[n]], rtol=1e-10, atol=1e-12
                )


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", POLICIES)
def test_seeds_never_mix(name, kind):
    """The loss of one seed has no gradient on another's parameters, and has one on its own."""
    walks = METHODS[name].needs == "rollouts" and family_of(name) != "mixed"
    # χPO's margin of policies this far apart is beyond a clip at 2.
    method = rollout(name, kind, BESIDE_THE_GOAL, walkers=32) if walks else make(name, kind=kind, walkers=16, max_reward=1e9)
    loss = method.loss(method.batch(0))
    assert loss.shape == (SEEDS,)
    parameters = list(method.parameters())
    grads = torch.autograd.grad(loss[1], parameters, allow_unused=True)
    assert all(g is None or not g[0].any() for g in grads)
    assert grads[0][1].any()


@pytest.mark.parametrize("name", METHODS)
def test_only_who_compares_with_the_base_keeps_a_copy_of_it(name):
    """Most of imitation, ORPO, SimPO and CPO have nothing to compare with; others keep the policy as it was handed over."""
    method = make(name, kind="tabular", walkers=4, segment=8)
    alone = {"sft", "ift", "dft", "scheduled", "neftune", "dagger", "distill", "orpo", "simpo", "cpo"}
    assert method.keeps_reference == (name not in alone)
    if not method.keeps_reference:
        copies = [each for each in vars(method).values() if isinstance(each, TabularPolicy)]
        assert copies == [method.policy]
        with pytest.raises(AssertionError, match="keeps no reference"):
            _ = method.reference
    else:
        fresh = POLICIES["tabular"](16, 4, SEEDS).initialise(generators(5, SEEDS)).double()
        assert torch.equal(method.reference.theta, fresh.theta) and not torch.equal(method.policy.theta, fresh.theta)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_made_with_its_own_options_or_none(name):
    """Without any it has its defaults; those of another method are refused."""
    policy = TabularPolicy(6, 4, SEEDS).initialise(generators(5, SEEDS))
    source = LakeSource(replace(SHORT, horizon=6), None, None, None, generators(0, SEEDS))
    own = METHODS[name].options_type
    assert METHODS[name](source, policy).options == own().resolved()
    other = GRPOOptions if own is IFTOptions else IFTOptions
    with pytest.raises(ValueError, match=f"options is a {other.__name__}; allowed: {own.__name__}$"):
        METHODS[name](source, policy, other())


def test_what_a_caller_leaves_out_is_filled_in():
    """The method's number of updates and the policy's learning rate; what is given stays."""
    policy, given = TabularPolicy(6, 4, 1), TrainingOptions(steps=7, learning_rate=0.5, snapshots=3)
    for name, steps in (("sft", 300), ("ppo", 600)):
        assert METHODS[name].resolved(given, policy) == given
        resolved = METHODS[name].resolved(TrainingOptions(snapshots=3), policy)
        assert resolved == TrainingOptions(steps=steps, learning_rate=policy.learning_rate, snapshots=3)
    assert make("sft").renewal == make("dpo").renewal == 1


def test_a_title_is_the_classs_own_or_its_name():
    """A class derived from a method is another method."""
    own = type("Own", (METHODS["sft"],), {})
    assert METHODS["sft"].full_title("other") == METHODS["sft"].title
    assert (own.full_title("own"), own.full_title()) == ("own", "Own")


# ---- PPO ----


def rollout(name="ppo", kind="tabular", start=SHORT.start, **changes):
    """PPO or GRPO in float32 on a small lake with a clock of 6 steps, its policy moved on from the reference, its critic not
    blank."""
    options = {"beta": 0.3, "walkers": 6, "segment": 25, "epochs": 2, **changes}
    policy = POLICIES[kind](6, 4, SEEDS).initialise(generators(5, SEEDS))
    source = LakeSource(replace(SHORT, horizon=6, start=start), None, None, None, generators(0, SEEDS))
    method = METHODS[name](source, policy, options_of(name, **options))
    random = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.5 * torch.randn(parameter.shape, generator=random))
    return method


def value_table(method):
    return method.critic(torch.arange(6)[None])[..., 0].detach().double()


@pytest.mark.parametrize("lam", [0.0, 0.8, 1.0])
@pytest.mark.parametrize("learned", [False, True])
def test_ppo_advantages_by_loops(lam, learned):
    """delta_t = r_t - beta kl_t + gamma V(s_{t+1}) - V(s_t), V(s_{t+1}) left out at a termination but NOT at a cut by the
    clock; both stop the sum. kl_t is log pi - log ref (k1). `target - value` is the advantage before it is scaled."""
    method = rollout(lam=lam, reward="preference" if learned else "env")
    if learned:
        method.learned_reward = torch.randn(SEEDS, 6, 4, generator=torch.Generator().manual_seed(3))
    batch = method.batch(0)
    steps, value = batch.steps, value_table(method)
    assert steps.truncated.any() and steps.terminated.any() and steps.reward.any()
    ours, base = (np.log(p.probabilities()) for p in (method.policy, method.reference))
    raw = torch.zeros(steps.states.shape, dtype=torch.float64)
    for n, b in np.ndindex(SEEDS, 6):
        following = 0.0
        for t in reversed(range(25)):
            s, a, there = (int(x[n, b, t]) for x in (steps.states, steps.actions, steps.next_states))
            reward = method.learned_reward[n, s, a] if learned else steps.reward[n, b, t]
            reward = reward - 0.3 * (ours[n, s, a] - base[n, s, a])
            delta = reward + 0.9 * value[n, there] * ~steps.terminated[n, b, t] - value[n, s]
            ended = steps.terminated[n, b, t] | steps.truncated[n, b, t]
            following = delta + 0.9 * lam * following * ~ended
            raw[n, b, t] = following
    # float32 inside: a sum of a dozen terms of order 1
    torch.testing.assert_close((batch.target - batch.value).double(), raw, rtol=0, atol=5e-6)
    scaled = (raw - raw.mean((1, 2), keepdim=True)) / (raw.std((1, 2), keepdim=True) + 1e-3)
    torch.testing.assert_close(batch.advantage.double(), scaled, rtol=0, atol=2e-5)


def test_ppo_loss_by_parts():
    """Surrogate plus value loss minus entropy bonus, averaged over a seed's steps, the policy having moved since the walk."""
    method = rollout(entropy_bonus=0.3, clip=0.1)
    batch = method.batch(0)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.mul_(1.3)
    probabilities = torch.as_tensor(method.policy.probabilities())
    value, steps = value_table(method), batch.steps
    expected = []
    for n in range(SEEDS):
        logp = probabilities[n].log()[steps.states[n], steps.actions[n]]
        now = value[n][steps.states[n]]
        old = batch.logp[n].double(), batch.advantage[n].double()
        total = losses.ppo_clip_loss(logp, *old, steps.mask[n], clip=0.1)
        total = total + losses.value_loss(now, batch.value[n].double(), batch.target[n].double(), steps.mask[n], clip=0.1)
        spread = -(probabilities[n] * probabilities[n].log()).sum(-1)[steps.states[n]]
        expected.append((total - 0.3 * spread).mean())
    torch.testing.assert_close(method.loss(batch).double(), torch.stack(expected), rtol=1e-5, atol=0)  # float32 against 64


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_who_walks_does_so_anew_every_few_epochs(name):
    method = rollout(name, epochs=3)
    batches = [method.batch(step) for step in range(7)]
    same = [one is other for one, other in pairwise(batches)]
    assert same == [True, True, False, True, True, False]


def test_ppo_walks_by_the_current_policy_and_moves_the_critic_too():
    method = rollout()
    with torch.no_grad():
        method.policy.theta[:] = 1000 * torch.eye(4)[3]
    assert (method.batch(0).steps.actions == 3).all()
    assert {id(p) for p in method.parameters()} == {id(p) for m in (method.policy, method.critic) for p in m.parameters()}


# ---- GRPO ----

BESIDE_THE_GOAL, THREE_STARTS = np.eye(6)[1], np.array([0.4, 0.3, 0, 0, 0, 0.3])


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("group", [None, 2, 4])
def test_grpo_advantages_by_loops(group, learned):
    """Of each episode the discounted return, minus its group's mean, over the group's sample deviation + 1e-4; the same at all
    its steps. Without a group's size all walkers of a seed are one."""
    method = rollout("grpo", start=BESIDE_THE_GOAL, walkers=48, group=group)
    if learned:
        method.learned_reward = torch.randn(SEEDS, 6, 4, generator=torch.Generator().manual_seed(3))
    batch = method.batch(0)
    steps, size = batch.steps, group or 48
    assert steps.states.shape[:2] == (SEEDS, 48) and not steps.mask.all() and batch.advantage.any(-1).any(-1).all()
    for n, first in np.ndindex(SEEDS, 48 // size):
        rows = range(first * size, (first + 1) * size)
        returns = []
        for b in rows:
            paid = steps.reward[n, b]
            if learned:
                paid = method.learned_reward[n, steps.states[n, b], steps.actions[n, b]]
            returns.append(sum(0.9**t * paid[t].item() for t in range(int(steps.mask[n, b].sum()))))
        scale = np.std(returns, ddof=1) + 1e-4
        for b, reached in zip(rows, returns, strict=True):
            expected = np.full(steps.mask.shape[-1], (reached - np.mean(returns)) / scale)
            # float32 inside: a return of order 1 is rounded by 1e-7, a few times
            np.testing.assert_allclose(batch.advantage[n, b], expected, rtol=0, atol=1e-6 / scale)
    if group == 2 and not learned:
        agree = (batch.advantage == 0).all(-1)
        assert agree.any() and not agree.all(), "some groups agree"


def test_grpo_walks_whole_episodes_and_a_group_starts_on_one_tile():
    """Ten walkers make three groups of three; each seed draws its groups' starts from the lake's own."""
    method = rollout("grpo", start=THREE_STARTS, walkers=10, group=3)
    batches = [method.batch(step) for step in range(0, 40, 2)]
    for batch in batches:
        steps = batch.steps
        first = steps.states[..., 0]
        assert first.shape == (SEEDS, 9)
        assert torch.equal(first, first[:, ::3].repeat_interleave(3, -1))
        last = steps.mask.sum(-1, keepdim=True) - 1
        assert (steps.terminated | steps.truncated).gather(-1, last).all()
    assert any(batch.steps.truncated.any() for batch in batches)
    groups = torch.cat([batch.steps.states[:, ::3, 0] for batch in batches], 1)  # [SEEDS, 60]
    assert not torch.equal(*groups)
    # 120 draws: three standard deviations of a frequency are 3 sqrt(0.4 0.6 / 120) = 0.13.
    np.testing.assert_allclose(np.bincount(groups.flatten(), minlength=6) / 120, THREE_STARTS, rtol=0, atol=0.13)


def test_grpo_loss_by_parts():
    """Clipped surrogate plus beta times k3 against the frozen base, averaged over an episode's own steps, then over episodes;
    the policy has moved since the walk."""
    method = rollout("grpo", start=BESIDE_THE_GOAL, clip=0.1, walkers=8)
    batch = method.batch(0)
    torch.testing.assert_close(batch.logp, method.policy.log_probs(batch.steps.states, batch.steps.actions))
    with torch.no_grad():
        method.policy.theta.mul_(1.3)
    ours, base = (torch.as_tensor(p.probabilities()).log() for p in (method.policy, method.reference))
    expected, clipped = [], 0
    for n in range(SEEDS):
        episodes = []
        for b in range(8):
            counted = batch.steps.mask[n, b]
            at = batch.steps.states[n, b][counted], batch.steps.actions[n, b][counted]
            ratio = torch.exp(ours[n][at] - batch.logp[n, b][counted])
            advantage = batch.advantage[n, b][counted]
            surrogate = torch.minimum(ratio * advantage, ratio.clamp(0.9, 1.1) * advantage)
            clipped += int((surrogate != ratio * advantage).sum())
            x = base[n][at] - ours[n][at]
            episodes.append((-surrogate + 0.3 * (x.exp() - 1 - x)).mean())
        expected.append(torch.stack(episodes).mean())
    assert clipped > 0
    lengths = batch.steps.mask.sum(-1)
    assert (lengths != lengths[:, :1]).any(-1).all(), "else any order of averaging is the same"
    torch.testing.assert_close(method.loss(batch).double(), torch.stack(expected), rtol=1e-5, atol=1e-6)  # float32 against 64


def test_grpo_walks_by_the_current_policy_and_moves_nothing_else():
    method = rollout("grpo")
    with torch.no_grad():
        method.policy.theta[:] = 1000 * torch.eye(4)[3]
    steps = method.batch(0).steps
    assert (steps.actions == 3)[steps.mask].all()
    assert [id(p) for p in method.parameters()] == [id(p) for p in method.policy.parameters()]


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_the_base_is_frozen_before_the_first_update(name):
    policy = TabularPolicy(6, 4, SEEDS).initialise(generators(5, SEEDS))
    base = policy.probabilities()
    source = LakeSource(replace(SHORT, horizon=6), None, None, None, generators(0, SEEDS))
    method = METHODS[name](source, policy, options_of(name, walkers=2, segment=2))
    method.batch(0)
    with torch.no_grad():
        policy.theta[..., 0] += 1
    assert np.array_equal(method.reference.probabilities(), base)


@pytest.mark.parametrize("name", ["ppo", "grpo"])
def test_a_learned_reward_is_learnt_from_the_base(name):
    """Where the policy was when it was handed over, not where it is by now; the environment's reward needs none."""
    assert rollout(name).learned_reward is None
    method = rollout(name, reward="preference")
    expected = train_reward_model(method.source.mdp, method.reference, generators(0, SEEDS), pairs=256)
    assert torch.equal(method.learned_reward, expected) and expected.any()


# ---- the reward model ----


def test_reward_model_minimises_bradley_terry_over_its_pairs():
    """The penalised loss, re-computed in float64 from the same episodes, has no gradient at the result. Tiles and actions
    that nobody tried keep a reward of exactly 0."""
    mdp = TabularMDP.from_map(("SFFG",), is_slippery=True)
    base = TabularPolicy(4, 4, SEEDS).initialise(generators(3, SEEDS))
    reward = train_reward_model(mdp, base, generators(0, SEEDS), pairs=48, updates=3000).double()
    table = torch.as_tensor(base.probabilities())
    random = generators(0, SEEDS)
    first = sample_episodes(mdp, table, 48, random)
    second = sample_episodes(mdp, table, 48, random, first.states[..., 0])
    one, two = first.returns(mdp.discount), second.returns(mdp.discount)
    for n in range(SEEDS):
        r = reward[n].clone().requires_grad_()
        objective = 1e-3 * (r**2).sum()
        tried = torch.zeros(4, 4, dtype=torch.bool)
        for b in range(48):
            if one[n, b] == two[n, b]:
                continue
            totals = []
            for side in (first, second):
                states, actions = (x[n, b][side.mask[n, b]] for x in (side.states, side.actions))
                tried[states, actions] = True
                totals.append(r[states, actions].sum())
            better, worse = totals if one[n, b] > two[n, b] else totals[::-1]
            objective = objective + losses.bradley_terry_loss(better, worse) / 48
        (grad,) = torch.autograd.grad(objective, r)
        # What Adam at a learning rate of 0.05 leaves; at the start, r = 0, the gradient is a thousand times that.
        assert grad.abs().max() < 1e-4
        assert not reward[n][~tried].any() and reward[n][tried].all()


def test_reward_model_is_refused_where_counts_would_fill_the_memory():
    """Before anybody walks: two seeds, 2048 pairs, 90 000 tiles, four actions and four bytes are 5.5 GiB."""
    mdp = TabularMDP.from_map(["S" + "F" * 299] + ["F" * 300] * 298 + ["F" * 299 + "G"])
    with pytest.raises(ValueError, match=r"pairs is 2048.* 2 seeds.* 90000 tiles .* 5.5 GiB; allowed: at most 4 GiB"):
        train_reward_model(mdp, None, generators(0, 2), pairs=2048)


def test_reward_model_asks_for_enough_pairs():
    """One pair with different returns for each tile to walk on: eight, S and seven F. A walk at random reaches the goal."""
    mdp = TabularMDP.from_map(("SFF", "FFF", "FFG"))
    with pytest.raises(ValueError) as error:
        train_reward_model(mdp, TabularPolicy(9, 4, SEEDS), generators(0, SEEDS), pairs=3)
    message = str(error.value)
    assert "pairs is 3" in message and "at least 8" in message and "\n" not in message
    assert "base that reaches G" not in message
    # A base that stays where it is cannot be helped by more pairs.
    stays = TabularPolicy(9, 4, SEEDS)
    with torch.no_grad():
        stays.theta[:, :, 0] = 1000
    with pytest.raises(ValueError, match="of which 0 .* at least 8.* base that reaches G"):
        train_reward_model(mdp, stays, generators(0, SEEDS), pairs=50)


# ---- batches ----


def test_a_batch_is_all_that_a_loss_reads():
    """The same steps, padded with junk that does not count, give the same loss."""
    method = make("sft")
    shown = method.source.demonstrations
    padded = Batch(
        torch.nn.functional.pad(shown.states, (0, 3), value=7),
        torch.nn.functional.pad(shown.actions, (0, 3), value=2),
        torch.nn.functional.pad(shown.mask, (0, 3)),
    )
    torch.testing.assert_close(method.loss(padded), method.loss(shown), rtol=1e-13, atol=0)
