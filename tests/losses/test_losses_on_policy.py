"""Advantages, PPO and estimates of the KL divergence against closed forms and plain loops."""

from itertools import product

import numpy as np
import pytest
import torch
from loss_inputs import close, draw, gradient, log_probs, tensor, with_gradients

from ift_gridworld.envs.maps import LAKES
from ift_gridworld.losses import (
    generalized_advantage_estimate,
    group_relative_advantage,
    kl_estimate,
    leave_one_out_advantage,
    ppo_clip_loss,
    value_loss,
)
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, occupancy

PRECISIONS = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])


def test_ppo_at_ratio_one_is_the_policy_gradient():
    """With every (tile, action) weighted by d(s) pi(a|s) and exact advantages, the surrogate's gradient is that of
    V(start), which is computed here by differentiating through the linear system."""
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, discount=0.9)
    theta = draw(16, 4, grad=True)
    policy = torch.softmax(theta, -1)

    on = torch.as_tensor(mdp.scatter(mdp.probability * ~mdp.terminated))
    reward = torch.as_tensor(mdp.expected_reward)
    matrix = torch.eye(16).double() - 0.9 * torch.einsum("sa,sat->st", policy, on)
    objective = torch.linalg.solve(matrix, (policy * reward).sum(-1)) @ torch.as_tensor(mdp.start)

    old = policy.detach()
    value = evaluate_policy(mdp, old.numpy())
    advantage = reward + 0.9 * on @ torch.as_tensor(value) - torch.as_tensor(value)[:, None]
    visits = torch.as_tensor(occupancy(mdp, old.numpy()))
    surrogate = ppo_clip_loss(policy.log(), old.log(), advantage, torch.ones(16, 4, dtype=torch.bool))
    loss = (visits[:, None] * old * surrogate).sum()
    close(gradient(loss, theta)[0], -gradient(objective, theta)[0], rtol=1e-9)


def test_ppo_clips_only_what_has_gone_too_far_in_its_own_favour():
    """Ratio 1.5 and 0.5 against a clip of 0.2, with either sign of the advantage; the last step does not count."""
    ratio = tensor([1.5, 0.5, 1.5, 0.5, 1.1, 1.5])
    advantage = tensor([2.0, -2.0, -2.0, 2.0, 2.0, -2.0])
    logp = ratio.log().requires_grad_()
    mask = torch.tensor([True] * 5 + [False])
    loss = ppo_clip_loss(logp, torch.zeros(6).double(), advantage, mask, clip=0.2)
    close(loss, [-1.2 * 2, 0.8 * 2, 1.5 * 2, -0.5 * 2, -1.1 * 2, 0])
    # d(-ratio A)/dlogp = -ratio A where the unclipped side rules
    close(gradient(loss.sum(), logp)[0], [0, 0, 1.5 * 2, -0.5 * 2, -1.1 * 2, 0])


@pytest.mark.parametrize("clip", [1.0, 1.5])
def test_ppo_with_a_clip_that_reaches_zero_holds_no_ratio_from_below(clip):
    """Ratio 0.1 and 9: a bad action may become as rare as it likes, a good one gains up to 1 + clip."""
    logp = tensor([0.1, 9.0, 0.1, 9.0]).log().requires_grad_()
    loss = ppo_clip_loss(
        logp, torch.zeros(4).double(), tensor([-1.0, -1.0, 1.0, 1.0]), torch.ones(4, dtype=torch.bool), clip=clip
    )
    close(loss, [0.1, 9.0, -0.1, -(1 + clip)])
    close(gradient(loss.sum(), logp)[0], [0.1, 9.0, -0.1, 0.0])


@pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
def test_gae_is_the_decayed_sum_of_td_errors(lam):
    """A_t = sum_k (prod of gamma lambda in between) delta_{t+k}, by loops; an end in mid-segment stops the sum."""
    reward, value = draw(2, 3, 6), draw(2, 3, 7, seed=1)
    discount = torch.full((2, 3, 6), 0.9).double()
    discount[0, 1, 2] = discount[1, 2, 4] = 0.0
    actual = generalized_advantage_estimate(reward, value, discount, lam=lam)
    r, v, g = reward.numpy(), value.numpy(), discount.numpy()
    for i in np.ndindex(2, 3):
        for t in range(6):
            expected, weight = 0.0, 1.0
            for k in range(t, 6):
                expected += weight * (r[i][k] + g[i][k] * v[i][k + 1] - v[i][k])
                weight *= g[i][k] * lam
            assert actual[i][t].item() == pytest.approx(expected, rel=1e-12)


def test_gae_extremes():
    """lambda 0: the TD error. lambda 1: the return, bootstrapped with the last value, minus the value."""
    reward, value, discount = draw(5), draw(6, seed=1), tensor([0.8] * 5)
    close(generalized_advantage_estimate(reward, value, discount, lam=0.0), reward + 0.8 * value[1:] - value[:-1])
    returns = [sum(0.8 ** (k - t) * reward[k] for k in range(t, 5)) + 0.8 ** (5 - t) * value[5] for t in range(5)]
    close(generalized_advantage_estimate(reward, value, discount, lam=1.0), torch.stack(returns) - value[:-1])


def test_gae_of_no_steps_is_empty():
    assert generalized_advantage_estimate(torch.zeros(2, 0), torch.zeros(2, 1), torch.zeros(2, 0)).shape == (2, 0)


def test_gae_of_a_single_step_is_its_td_error():
    close(generalized_advantage_estimate(tensor([2.0]), tensor([0.5, 3.0]), tensor([0.9])), [2.0 + 0.9 * 3.0 - 0.5])


def test_group_relative_advantage_by_hand():
    """(0, 0, 1, 1): mean 1/2, four squares of 1/4 over 3, std 1/sqrt 3. (1, 2, 6): mean 3, squares 4 + 1 + 9 over 2, std
    sqrt 7. Two answers: std |R_1 - R_2| / sqrt 2."""
    assert [round(a, 2) for a in group_relative_advantage(tensor([0.0, 0.0, 1.0, 1.0])).tolist()] == [-0.87, -0.87, 0.87, 0.87]
    for epsilon in (1e-4, 0.5):
        advantage = lambda *r, e=epsilon: group_relative_advantage(tensor(r), epsilon=e)  # noqa: E731
        close(advantage(0.0, 0.0, 1.0, 1.0), np.array([-0.5, -0.5, 0.5, 0.5]) / (3**-0.5 + epsilon))
        close(advantage(1.0, 2.0, 6.0), np.array([-2.0, -1.0, 3.0]) / (7**0.5 + epsilon))
        close(advantage(5.0, 2.0), np.array([1.5, -1.5]) / (3 / 2**0.5 + epsilon))
    close(group_relative_advantage(tensor([1.0, 2.0, 6.0]), scale=False), [-2.0, -1.0, 3.0])


def test_group_relative_advantage_knows_no_unit_but_epsilon():
    """A(R + b) = A(R); A(a R; epsilon a) = A(R; epsilon), so that A(a R) is A(R) but for epsilon / std, and -A(R) for a = -1.
    What is left is centred, with a standard deviation of std / (std + epsilon)."""
    reward = draw(3, 5)
    advantage = group_relative_advantage(reward)
    deviation = reward.std(-1, keepdim=True)
    close(group_relative_advantage(reward + 7), advantage, atol=1e-14)  # R + 7 rounds at 1e-15
    close(group_relative_advantage(-reward), -advantage)
    close(group_relative_advantage(4 * reward, epsilon=4e-4), advantage)
    close(group_relative_advantage(4 * reward), advantage * (deviation + 1e-4) / (deviation + 1e-4 / 4))
    close(advantage.mean(-1), torch.zeros(3), atol=1e-15)
    close(advantage.std(-1, keepdim=True), deviation / (deviation + 1e-4))


@pytest.mark.parametrize("scale", [True, False])
def test_group_relative_advantage_of_groups_side_by_side(scale):
    reward = draw(2, 3, 4)
    together = group_relative_advantage(reward, scale=scale)
    for i in np.ndindex(2, 3):
        close(together[i], group_relative_advantage(reward[i], scale=scale))


@pytest.mark.parametrize(
    ("value", "size", "dtype"),
    [
        (0.0, 4, torch.float64),
        (1.0, 2, torch.float32),
        (-3.5, 8, torch.float32),
        # The mean of these differs from them in its last bit.
        (0.1, 3, torch.float64),
        (0.3, 6, torch.float32),
        (1000.1, 8, torch.float32),
    ],
)
def test_a_group_that_agrees_has_no_advantage(value, size, dtype):
    """Exactly 0; the gradient is that of centring over epsilon, (1{i=j} - 1/G) / epsilon, and a group beside it has its own."""
    reward = torch.full((2, size), value, dtype=dtype)
    reward[1, 0] += 1
    reward.requires_grad_()
    advantage = group_relative_advantage(reward)
    assert not advantage[0].any() and advantage[1].all()
    expected = torch.zeros(2, size).double()
    expected[0] = -1 / size / 1e-4
    expected[0, 0] += 1 / 1e-4
    close(gradient(advantage[0, 0], reward)[0], expected, rtol=1e-6 if dtype == torch.float32 else 1e-12)
    assert torch.isfinite(gradient(advantage.square().sum(), reward)[0]).all()


def test_value_loss_takes_the_worse_of_clipped_and_plain():
    """Clip 0.2. From 0 by 1 towards a target of 3: the clipped estimate 0.2 is worse and has no gradient. By 1 away from a
    target of -3: the plain one is worse. By 0.1: both are the same. From 2 down by 1 towards -3: the clipped one, 1.8, is the
    worse. The last step does not count."""
    value = tensor([1.0, 1.0, 0.1, 1.0, 9.0], grad=True)
    old_value = tensor([0.0, 0.0, 0.0, 2.0, 0.0])
    target = tensor([3.0, -3.0, 3.0, -3.0, 0.0])
    mask = torch.tensor([True, True, True, True, False])
    loss = value_loss(value, old_value, target, mask, clip=0.2)
    close(loss, [0.5 * 2.8**2, 0.5 * 4.0**2, 0.5 * 2.9**2, 0.5 * 4.8**2, 0.0])
    close(gradient(loss.sum(), value)[0], [0, 4.0, -2.9, 0, 0])


@pytest.mark.parametrize("junk", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("loss", [ppo_clip_loss, value_loss])
def test_steps_that_do_not_count_leave_ppo_and_value_loss_alone(loss, place, junk):
    mask = torch.tensor([True, False, True])
    results = []
    for filler in (0.0, junk):
        inputs = [log_probs(3, seed=i) for i in range(3)]
        inputs[place][1] = filler
        inputs[0].requires_grad_()
        value = loss(*inputs, mask)
        results.append((value, gradient(value.sum(), inputs[0])[0]))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)


def test_kl_estimates_in_expectation():
    """Enumerated over the actions that pi would sample: k1 and k3 are KL(pi || ref), k2 is E[x²] / 2."""
    policy, reference = torch.softmax(draw(7), -1), torch.softmax(draw(7, seed=1), -1)
    kl = (policy * (policy / reference).log()).sum()
    estimates = {kind: kl_estimate(policy.log(), reference.log(), kind) for kind in ("k1", "k2", "k3")}
    close((policy * estimates["k1"]).sum(), kl)
    close((policy * estimates["k3"]).sum(), kl)
    close((policy * estimates["k2"]).sum(), (policy * (reference / policy).log() ** 2).sum() / 2)
    assert estimates["k1"].min() < 0 <= estimates["k3"].min()
    close(kl_estimate(policy.log(), reference.log()), estimates["k3"])


def test_k3_of_policies_that_hardly_differ():
    """e^x - 1 - x = x²/2 + x³/6 + x⁴/24 + ... where e^x - 1 alone would be noise; never below 0."""
    x = tensor([1e-5, -1e-5, 1e-4, -1e-4])
    # expm1(x) is right to 1e-16 |x|, and x²/2 is what is left of it: 1e-16 x / (x²/2) = 2e-11
    close(kl_estimate(torch.zeros(4).double(), x, "k3"), x**2 / 2 + x**3 / 6 + x**4 / 24, rtol=1e-10)
    for dtype in (torch.float32, torch.float64):
        x = torch.logspace(-20, 0, 2001, dtype=dtype)
        assert (kl_estimate(torch.zeros_like(x), x, "k3") >= 0).all() and (kl_estimate(x, torch.zeros_like(x), "k3") >= 0).all()


def test_gradcheck_of_ppo_value_and_advantage():
    """Away from the kinks: ratios and moves beyond the clip or well within it."""
    mask = torch.tensor([True, True, False, True])
    moved = tensor([0.05, 0.5, 0.1, -0.6], grad=True)
    still = tensor([0.0] * 4, grad=True)
    advantage = tensor([1.0, -2.0, 1.0, 0.5], grad=True)
    assert torch.autograd.gradcheck(lambda *x: ppo_clip_loss(*x, mask), (moved, still, advantage))
    target = tensor([3.0, 6.0, 3.0, 1.5], grad=True)  # near, ahead (the clipped estimate is the worse), masked, behind
    assert torch.autograd.gradcheck(lambda *x: value_loss(*x, mask), (moved, still, target))
    inputs = draw(2, 4, grad=True), draw(2, 5, seed=1, grad=True), (draw(2, 4, seed=2).sigmoid()).requires_grad_()
    assert torch.autograd.gradcheck(generalized_advantage_estimate, inputs)
    for scale in (True, False):
        assert torch.autograd.gradcheck(lambda r, s=scale: group_relative_advantage(r, scale=s), draw(3, 4, grad=True))


def test_ppo_clip_of_an_action_that_has_become_hopeless():
    """Ratio e^-10000 = 0: min(0, 0.8 A) = 0 for A = 1 and -0.8 for A = -1; neither pushes any more."""
    logp = tensor([-1e4, -1e4], grad=True)
    loss = ppo_clip_loss(logp, tensor([0.0, -1e-9]), tensor([1.0, -1.0]), torch.ones(2, dtype=torch.bool))
    close(loss, [0.0, 0.8])
    close(gradient(loss.sum(), logp)[0], [0.0, 0.0])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_value_loss_of_a_value_that_is_far_off(dtype):
    """½ (1e4)² is beyond float16, whose own numbers go to 65504; the slope is V - G = ±1e4."""
    zero, mask = torch.zeros(2, dtype=dtype), torch.ones(2, dtype=torch.bool)
    loss, slope = with_gradients(lambda v: value_loss(v, zero, zero, mask), [torch.tensor([1e4, -1e4], dtype=dtype)])
    close(loss, [0.5e8, 0.5e8])
    close(slope, [1e4, -1e4])


@pytest.mark.parametrize("advantage", [1.0, 0.0])
def test_ppo_clip_of_an_action_that_was_hopeless(advantage):
    """Ratio e^10000: clipped at 1.2 where the advantage is positive, and without gradient; 0 where there is none."""
    logp = tensor([0.0], grad=True)
    loss = ppo_clip_loss(logp, tensor([-1e4]), tensor([advantage]), torch.ones(1, dtype=torch.bool))
    close(loss, [-1.2 * advantage])
    close(gradient(loss.sum(), logp)[0], [0.0])


@PRECISIONS
def test_advantages_of_large_rewards(dtype):
    """Of 8192, which every format holds, its square none of the halves: in a group of two opposites the standard deviation is
    sqrt 2 R; and delta = (-R - R/2 - R, R + R/2 + R) adds up, at discount * lambda = 1/4, to A_0 = delta_0 + delta_1 / 4."""
    large = 8192.0
    advantage = group_relative_advantage(torch.tensor([large, -large], dtype=dtype))
    close(advantage, np.array([large, -large]) / (2**0.5 * large + 1e-4), rtol=1e-6)
    reward, value = torch.tensor([-large, large], dtype=dtype), torch.tensor([large, -large, large], dtype=dtype)
    result = with_gradients(
        lambda r, v: generalized_advantage_estimate(r, v, torch.full_like(r, 0.5), lam=0.5), (reward, value)
    )
    close(result[0], [-2.5 * large * 3 / 4, 2.5 * large])
    # A_0 + A_1 = delta_0 + 5/4 delta_1, delta_t = r_t + v_(t+1) / 2 - v_t
    close(result[1], [1.0, 1.25])
    close(result[2], [-1.0, 0.5 - 1.25, 0.625])


def test_leave_one_out_by_hand():
    """Each reward less the mean of the others'."""
    reward = draw(2, 3, 5)
    actual = leave_one_out_advantage(reward)
    for i in np.ndindex(2, 3):
        for j in range(5):
            others = torch.cat([reward[i][:j], reward[i][j + 1 :]])
            close(actual[i][j], reward[i][j] - others.mean())
    close(actual, 5 / 4 * group_relative_advantage(reward, scale=False))


def test_groups_by_size_and_by_name():
    """Runs of a size, and entries that are equal wherever they stand; groups of unequal size."""
    reward = draw(2, 6)
    pairs = leave_one_out_advantage(reward, 2)
    close(pairs, leave_one_out_advantage(reward.reshape(2, 3, 2)).reshape(2, 6))
    close(leave_one_out_advantage(reward, torch.tensor([4, 4, 9, 9, 1, 1])), pairs)
    assert torch.equal(leave_one_out_advantage(reward, 6), leave_one_out_advantage(reward))
    mixed = leave_one_out_advantage(reward, torch.tensor([0, 1, 0, 1, 1, 1]))
    close(mixed[:, [0, 2]], leave_one_out_advantage(reward[:, [0, 2]]))
    close(mixed[:, [1, 3, 4, 5]], leave_one_out_advantage(reward[:, [1, 3, 4, 5]]))
    each = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1]])  # a row's own groups
    close(leave_one_out_advantage(reward, each)[1, ::2], leave_one_out_advantage(reward[1, ::2]))


@pytest.mark.parametrize("group", [None, 3, torch.tensor([0, 1, 0, 1, 1, 1])], ids=["all", "runs", "named"])
def test_leave_one_out_is_linear_and_symmetric(group):
    """The gradient of a weighted sum of advantages is the advantage of the weights."""
    reward, weight = draw(2, 6, grad=True), draw(2, 6, seed=1)
    total = (weight * leave_one_out_advantage(reward, group)).sum()
    close(gradient(total, reward)[0], leave_one_out_advantage(weight, group), atol=1e-14)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e6])
def test_a_group_that_agrees_has_no_advantage_at_all(value):
    """Exactly, though the mean of equal numbers may differ from them in its last bit."""
    for dtype in (torch.float32, torch.float64):
        reward = torch.full((2, 6), value, dtype=dtype)
        for group in (None, 3, torch.tensor([0, 0, 0, 1, 1, 1])):
            assert not leave_one_out_advantage(reward, group).any()


def test_leave_one_out_is_unbiased_and_the_scaled_advantage_is_not():
    """Over all groups of two answers of a policy that takes a with 0.7 and is paid 1 for it and 0 for b: the mean of
    A grad log pi is the gradient of the expected reward for RLOO, half of it for Dr. GRPO (a factor (G - 1)/G), and neither
    for GRPO."""
    theta = tensor([np.log(0.7), np.log(0.3)], grad=True)
    policy, reward = torch.softmax(theta, -1), tensor([1.0, 0.0])
    exact = gradient((policy * reward).sum(), theta)[0]
    for advantage, factor in (
        (leave_one_out_advantage, 1.0),
        (lambda r: group_relative_advantage(r, scale=False), 0.5),
        (lambda r: group_relative_advantage(r, epsilon=1e-12), None),
    ):
        estimate = torch.zeros(2).double()
        for group in product(range(2), repeat=2):
            chance = policy.detach()[list(group)].prod()
            logp = torch.log_softmax(theta, -1)[list(group)]
            loss = -(advantage(reward[list(group)]) * logp).mean()
            estimate -= chance * gradient(loss, theta)[0]
        if factor is None:
            assert not torch.allclose(estimate, exact) and not torch.allclose(estimate, exact / 2)
        else:
            close(estimate, factor * exact, atol=1e-14)
