"""Where methods arrive in the reward-KL plane, where theory knows it: on the frontier, or below it by a known amount."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from test_closed_forms import LAKE, Walks, grid, ppo, probabilities, regularised_return, some_policy, tensor, train

from ift_gridworld.data import enumerate_trajectories
from ift_gridworld.evaluation import frontier, kl_from_base
from ift_gridworld.losses import dpo_loss
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, soft_value_iteration


def gap_of(mdp, policy, base):
    return frontier(mdp, base).gap(kl_from_base(mdp, policy, base), evaluate_policy(mdp, policy) @ mdp.start)


def tempered(mdp, reference, beta, horizon):
    """The policy whose walks are ref(walk) exp(R(walk) / beta) / Z: a move is as likely as the walks on from it together."""
    walks, chance = enumerate_trajectories(mdp, horizon)
    assert walks.terminated.any(-1).all(), "every walk ends"
    logp = torch.as_tensor(reference).log()[walks.states, walks.actions]
    weight = chance * torch.where(walks.mask, logp, 0.0).sum(-1).exp() * (walks.returns(1.0) / beta).exp()
    policy = np.zeros(reference.shape)
    for t in range(walks.mask.shape[1]):
        np.add.at(policy, (walks.states[:, t], walks.actions[:, t]), np.where(walks.mask[:, t], weight, 0.0))
    return np.divide(policy, policy.sum(-1, keepdims=True), out=np.array(reference), where=policy.sum(-1, keepdims=True) > 0)


@pytest.mark.parametrize("beta", [0.05, 0.3, 2.0])
def test_dpos_population_optimum_lies_on_it_where_nothing_slips(beta):
    """ref exp(R / beta) over walks, normalised, is what DPO arrives at (Rafailov et al. 2023, eq. 4): the soft optimum."""
    mdp = grid((3.0, 0.0, 0.0, 1.0))
    reference = some_policy(mdp)
    policy = tempered(mdp, reference, beta, horizon=3)
    assert kl_from_base(mdp, policy, reference) > 1e-2
    assert gap_of(mdp, policy, reference) == pytest.approx(0, abs=1e-9)


def test_a_table_that_dpo_has_trained_lies_on_it_where_nothing_slips():
    reference = some_policy(LAKE)
    loss = Walks(LAKE, reference, horizon=5).preference(lambda *pair: dpo_loss(*pair, beta=0.3))
    policy = probabilities(train(loss, tensor(np.log(reference))))
    assert gap_of(LAKE, policy, reference) == pytest.approx(0, abs=1e-9)
    spoilt = 0.99 * policy + 0.01 * reference
    assert gap_of(LAKE, spoilt, reference) > 1e-5


def test_dpo_lies_below_it_where_ice_slips():
    """Of E[R] - beta KL, DPO forgoes 50.4 % of the gain, 0.276 of 0.548 (`test_dpo_and_rlhf_part_where_ice_slips`). That is how
    far it lies below the tangent of slope beta; below the frontier, by the least that it forgoes at any price,

        F(K) - R = min over b of [max (E[R] - b KL) - (R - b K)],

    for F is concave and b its slope: minimised here over prices, without the frontier. It is 0.0415; the rest of the 0.276 is
    that DPO goes less far along the frontier than the price asks."""
    mdp, beta = grid((3.0, 0.0, 0.0, 1.0), 0.2), 0.3
    reference = some_policy(mdp)
    loss = Walks(mdp, reference, horizon=3).preference(lambda *pair: dpo_loss(*pair, beta=beta))
    policy = probabilities(train(loss, tensor(np.log(reference))))

    def forgone(price):
        optimum = soft_value_iteration(mdp, reference, price)[1]
        return regularised_return(mdp, optimum, reference, price) - regularised_return(mdp, policy, reference, price)

    gain = regularised_return(mdp, soft_value_iteration(mdp, reference, beta)[1], reference, beta)
    gain -= regularised_return(mdp, reference, reference, beta)
    assert forgone(beta) / gain == pytest.approx(0.504, abs=5e-4)
    least = minimize_scalar(lambda log: forgone(np.exp(log)), bounds=(np.log(0.05), np.log(5.0)), options={"xatol": 1e-9})
    gap = gap_of(mdp, policy, reference)
    assert gap == pytest.approx(least.fun, abs=1e-9) and gap == pytest.approx(0.0415, abs=5e-5)
    assert gap < forgone(beta)


def test_ppo_with_exact_advantages_and_a_price_arrives_at_it():
    """Where no soft advantage exceeds delta, E[R] - beta KL is within delta / (1 - gamma) of the most there is, and so is the
    return of the frontier at the policy's KL, for no gap is larger than what is forgone at a price."""
    delta, beta, mdp = 1e-6, 0.1, TabularMDP.from_map(("SFF", "FHF", "FFG"), is_slippery=True, discount=0.9)
    reference = some_policy(mdp)
    policy, _ = ppo(mdp, tensor(np.log(reference)), settled=delta, decay=0.99, beta=beta)
    assert -1e-11 < gap_of(mdp, policy, reference) < delta / (1 - mdp.discount)


def test_the_exact_policy_gradient_approaches_it_from_below():
    """Softmax tables of natural gradient ascent on E[R] - beta KL: pi <- pi^(1 - rate) (ref exp(Q / beta))^rate, with exact Q.
    From a policy that is off the frontier the gap shrinks to nothing; with rate 1 in the few rounds of Newton's method."""
    mdp, beta = TabularMDP.from_map(("SFF", "FHF", "FFG"), is_slippery=True, discount=0.9), 0.05
    reference, policy = some_policy(mdp), some_policy(mdp, seed=3)
    onward = mdp.scatter(mdp.probability * ~mdp.terminated)
    gaps = [gap_of(mdp, policy, reference)]
    for _ in range(60):
        price = beta * (policy * np.log(policy / reference)).sum(-1)
        step = np.where(mdp.terminal, 0.0, (policy * mdp.expected_reward).sum(-1) - price)
        moved = np.einsum("sa,sat->st", policy, onward)
        value = np.linalg.solve(np.eye(mdp.num_states) - mdp.discount * moved, step)
        action_value = mdp.expected_reward + mdp.discount * onward @ value
        logits = 0.5 * np.log(policy) + 0.5 * (np.log(reference) + action_value / beta)
        policy = np.exp(logits - logits.max(-1, keepdims=True))
        policy /= policy.sum(-1, keepdims=True)
        gaps.append(gap_of(mdp, policy, reference))
    assert gaps[0] > 0.05 and gaps[5] < gaps[0] / 10 and gaps[10] < gaps[5] / 10
    assert gaps[-1] == pytest.approx(0, abs=1e-10) and min(gaps) > -1e-10
