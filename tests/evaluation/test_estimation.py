"""Table 1 of the paper: its numbers against enumeration, the paper's statements against proofs and counter-examples."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ift_gridworld.data import (
    demonstrations,
    enumerate_trajectories,
    generators,
    preference_pairs,
    sample_episodes,
)
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.evaluation import estimation
from ift_gridworld.evaluation.estimation import TABLE, estimate
from ift_gridworld.losses import ift_loss, sft_loss
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.planning import optimal_policy, state_matrix
from ift_gridworld.policies.lake import POLICIES, TabularPolicy
from ift_gridworld.policies.residual import lake_successor, residual_embeddings
from ift_gridworld.training.base_policies import make_base

TWO_PATHS = TabularMDP.from_map(LAKES["two-paths"])
ICE = TabularMDP.from_map(("SFG", "HFF"), is_slippery=True, success_rate=0.7)
STEPS = 4
ROWS = pytest.mark.parametrize("row", TABLE)


def draw(mdp, kind="tabular", seeds=2):
    return POLICIES[kind](mdp.num_states, mdp.num_actions, seeds).initialise(generators(3, seeds)).double()


def ice_answers(count=6):
    """Answers of the human on ice, from two tiles, cut after a few steps; and stale ones, some of which end sooner."""
    mdp = replace(ICE, horizon=STEPS, start=np.array([0.5, 0, 0, 0, 0, 0.5]))
    starts = torch.tensor([[0, 5] * (count // 2)])
    answers, stale = (sample_episodes(mdp, np.full((6, 4), 0.25), count, generators(s, 1), starts)[0] for s in (1, 2))
    assert not answers.mask.all() and (stale.mask.sum(-1) < answers.mask.sum(-1)).any()
    return mdp, answers, stale


def walks(mdp, policy, start):
    """Every walk from a tile with its probability under each member, [N, M], by enumeration."""
    listed, chance = enumerate_trajectories(replace(mdp, start=np.eye(mdp.num_states)[start]))
    logp = np.log(policy.probabilities())[:, listed.states, listed.actions]
    return listed, np.exp((logp * listed.mask.numpy()).sum(-1)) * chance.numpy()


def close(actual, expected, tolerance=1e-12):
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


# ---- the numbers ----


@ROWS
@pytest.mark.parametrize("kind", POLICIES)
def test_the_truth_and_the_models_own_preference_by_enumeration(row, kind):
    """T_θ(s*_n, ρ0) is the share of all walks whose first n states are the human's; P_θ at step n is the mean policy over the
    walks that have not ended, whatever a method assumed_prior."""
    mdp, answers, stale = ice_answers()
    policy = draw(mdp, kind)
    made = estimate(row, mdp, policy, answers, stale=stale)
    table = policy.probabilities()
    for b in range(len(answers.states)):
        listed, weight = walks(mdp, policy, int(answers.states[b, 0]))
        for t in range(int(answers.mask[b].sum())):
            same = (listed.next_states[:, : t + 1] == answers.next_states[b, : t + 1]).all(-1) & listed.mask[:, t]
            close(made.truth[:, b, t], weight[:, same].sum(-1))
            going = listed.mask[:, t]
            share = weight[:, going] / weight[:, going].sum(-1, keepdims=True)
            close(made.own_preference[:, b, t], np.einsum("nm,nma->na", share, table[:, listed.states[going, t]]))


def test_sft_supposes_the_humans_state_with_certainty():
    """T̂_n = T_θ(s*_n | s*_{n-1}): too high by the factor T_θ(s*_{n-1}, ρ0), never too low."""
    mdp, answers, _ = ice_answers()
    policy = draw(mdp)
    made, mask = estimate("sft", mdp, policy, answers), answers.mask.numpy()
    close(np.where(mask, made.estimate, 1).cumprod(-1)[:, mask], made.truth[:, mask])
    before = np.concatenate([np.ones_like(made.truth[..., :1]), made.truth[..., :-1]], -1)
    close((made.estimate * before)[:, mask], made.truth[:, mask])
    assert (made.bias[:, mask] >= 0).all() and made.bias[:, mask].max() > 0.3
    close(made.preference[:, mask], policy.probabilities()[:, answers.states[mask]])


def test_the_sum_of_sfts_terms_is_the_truth_all_the_same():
    """N times eq. 30 is -log T_θ(s*_N, ρ0), for on firm ice a state has one way in: nothing is over-estimated in the sum."""
    policy, shown = draw(TWO_PATHS), demonstrations(TWO_PATHS)
    logp = torch.as_tensor(np.log(policy.probabilities()[:, shown.states, shown.actions]))
    truth = estimate("truth", TWO_PATHS, policy, shown).truth[..., -1]
    close(shown.mask.sum() * sft_loss(logp, shown.mask), -np.log(truth))


def test_ppo_supposes_its_own_walk_with_certainty():
    """E over walks not yet ended of Σ_s' T*(s'|s) T_θ(s'|s), by enumeration and loops; the prior is the walk's distribution."""
    mdp, answers, _ = ice_answers()
    policy = draw(mdp)
    made = estimate("ppo", mdp, policy, answers)
    agrees = (state_matrix(mdp, optimal_policy(mdp)) * state_matrix(mdp, policy.probabilities())).sum(-1)
    for b in range(len(answers.states)):
        listed, weight = walks(mdp, policy, int(answers.states[b, 0]))
        for t in range(STEPS):
            going = listed.mask[:, t]
            share = weight[:, going] / weight[:, going].sum(-1, keepdims=True)
            close(made.estimate[:, b, t], (share * agrees[:, listed.states[going, t]]).sum(-1))
            prior = np.stack([np.bincount(listed.states[going, t], weights=w, minlength=6) for w in share])
            close(made.model_prior[:, b, t], prior)
            close(made.human_prior[:, b, t], prior)
    assert not made.gap.any()


@pytest.mark.parametrize("row", ["truth", "dpo_online"])
def test_answers_drawn_as_they_are_needed_estimate_without_bias(row):
    mdp, answers, _ = ice_answers()
    made = estimate(row, mdp, draw(mdp), answers)
    assert not made.bias.any() and not made.gap.any()
    close(made.model_prior, estimate("ppo", mdp, draw(mdp), answers).model_prior)


def test_offline_dpo_takes_stale_answers_for_the_models_own():
    """1 while the rejected answer walks with the human's, 0 from where it leaves; nothing is supposed after its end."""
    mdp, answers, stale = ice_answers()
    policy = draw(mdp)
    made = estimate("dpo", mdp, policy, answers, stale=stale)
    table = policy.probabilities()
    for b, t in np.ndindex(*answers.states.shape):
        if not answers.mask[b, t]:
            continue
        until = [(x.states[b, : t + 1].tolist(), x.next_states[b, : t + 1].tolist()) for x in (answers, stale)]
        together = bool(stale.mask[b, t]) and until[0] == until[1]
        assert (made.estimate[:, b, t] == together).all()
        if stale.mask[b, t]:
            close(made.preference[:, b, t], table[:, stale.states[b, t]])
            close(made.model_prior[:, b, t], np.broadcast_to(np.eye(6)[stale.states[b, t]], (2, 6)))
        else:
            assert np.isnan(made.gap[:, b, t]).all() and not made.model_prior[:, b, t].any()
    assert {0.0, 1.0} == set(made.estimate[:, answers.mask.numpy()].ravel())
    close(made.truth, estimate("truth", mdp, policy, answers).truth)


def test_offline_dpo_does_not_see_the_model_change():
    """Its estimate is the data's, whatever the policy: on two paths 0 from the first step on, where the pair parts."""
    chosen, rejected = preference_pairs(TWO_PATHS)
    for seeds in (1, 3):
        made = estimate("dpo", TWO_PATHS, draw(TWO_PATHS, seeds=seeds), chosen, stale=rejected)
        assert not made.estimate.any() and (made.bias < 0).all()


@pytest.mark.parametrize("kind", POLICIES)
def test_ift_walks_over_mixed_states(kind):
    """Eq. 19 by the plain residual connection, over every step of every answer."""
    mdp, answers, _ = ice_answers()
    policy = draw(mdp, kind)
    made = estimate("ift", mdp, policy, answers, mixing=0.3)
    successor = lake_successor(mdp, policy.embed)
    mixed = residual_embeddings(policy, answers.states[None], answers.mask[None], successor, mixing=0.3)
    mask = answers.mask.numpy()
    close(made.model_prior[:, mask], mixed.detach()[:, answers.mask])
    supposed = torch.softmax(policy.logits(mixed), -1).detach().numpy()
    close(made.preference[:, mask], supposed[:, mask])
    for b in range(len(mask)):
        product = np.ones(2)
        for t in range(int(mask[b].sum())):
            s, there = int(answers.states[b, t]), int(answers.next_states[b, t])
            leads = (mdp.probability[s] * (mdp.next_state[s] == there)).sum(-1)
            product = product * (supposed[:, b, t] @ leads)
            close(made.estimate[:, b, t], product)


def test_an_answer_that_has_parted_is_not_the_models_own_where_both_meet_again():
    """S F / F F / F G: the human goes right, down, down, the rejected answer down, right, down; the last step is the same."""
    mdp = TabularMDP.from_map(("SF", "FF", "FG"))

    def answer(*tiles):
        states, following = (torch.tensor([x]) for x in (tiles[:-1], tiles[1:]))
        return replace(demonstrations(mdp), states=states, next_states=following, mask=torch.ones(1, 3).bool())

    made = estimate("dpo", mdp, draw(mdp), answer(0, 1, 3, 5), stale=answer(0, 2, 3, 5))
    assert not made.estimate.any()
    assert estimate("dpo", mdp, draw(mdp), answer(0, 1, 3, 5), stale=answer(0, 1, 3, 5)).estimate.all()


def test_the_gap_is_a_total_variation_and_an_answer_keeps_its_probability_when_it_is_over():
    """S F G: the model stays on 0 for ever, where the human is after one step it would go right: all else is elsewhere."""
    mdp = TabularMDP.from_map(("SFG",))
    policy = TabularPolicy(3, 4).double()
    with torch.no_grad():
        next(policy.parameters())[0] = torch.tensor([[50.0, 0, 0, 0], [0, 0, 50.0, 0], [0, 0, 0, 0]])
    close(estimate("sft", mdp, policy, demonstrations(mdp)).gap, [[[0, 1]]])
    mdp, answers, _ = ice_answers()
    truth = estimate("truth", mdp, draw(mdp), answers).truth
    over = ~answers.mask.numpy()[:, 1:]
    assert over.any() and np.array_equal(truth[:, :, 1:][:, over], truth[:, :, :-1][:, over])


def test_per_step_averages_over_the_answers_that_have_the_step():
    mdp, answers, stale = ice_answers()
    made = estimate("dpo", mdp, draw(mdp), answers, stale=stale)
    steps, mask = made.per_step(), answers.mask.numpy()
    for t in range(STEPS):
        close(steps["truth"][:, t], made.truth[:, mask[:, t], t].mean(-1))
        known = mask[:, t] & stale.mask[:, t].numpy()
        close(steps["gap"][:, t], made.gap[:, known, t].mean(-1))
    none = estimate("dpo", mdp, draw(mdp), answers, stale=stale[:, :1]).per_step()
    assert np.isnan(none["gap"][:, 1:]).all() and not np.isnan(none["estimate"]).any()


def test_nothing_is_said_of_a_walk_that_is_surely_over():
    """A policy that falls into the hole at once: from its second step on it prefers nothing, and PPO has no data."""
    mdp = TabularMDP.from_map(("SFG", "HFF"))
    policy = TabularPolicy(6, 4).double()
    with torch.no_grad():
        policy.theta[:, :, 1] = 800.0
    answer_ = demonstrations(mdp, 1)
    made = estimate("ppo", mdp, policy, answer_)
    assert np.isnan(made.own_preference[:, :, 1:]).all() and np.isnan(made.estimate[:, :, 1:]).all()
    assert not np.isnan(made.own_preference[:, :, 0]).any() and not np.isnan(made.truth).any()
    assert np.isnan(estimate("sft", mdp, policy, answer_).per_step()["gap"][:, 1:]).all()


def test_on_lakes_too_large_to_follow_a_walk_only_what_needs_it_is_missing(monkeypatch):
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)
    policy, answers = TabularPolicy(16, 4, 2).initialise(generators(0, 2)), demonstrations(mdp, 3)
    steps = answers.states.shape[-1]
    for row in ("sft", "ift", "ppo", "dpo_online"):
        whole = estimate(row, mdp, policy, answers)
        monkeypatch.setattr(estimation, "WALK_BYTES", 8 * 2 * steps * 16 - 1)
        part = estimate(row, mdp, policy, answers)
        monkeypatch.setattr(estimation, "WALK_BYTES", 8 * 2 * steps * 16)
        np.testing.assert_array_equal(estimate(row, mdp, policy, answers).gap, whole.gap)
        np.testing.assert_array_equal(part.truth, whole.truth)
        assert part.gap.shape == whole.gap.shape and np.isnan(part.gap).all()
        if row == "ppo":
            assert np.isnan(part.estimate[:, answers.mask]).all()
        else:
            np.testing.assert_array_equal(part.estimate, whole.estimate)


def test_every_method_stands_in_the_table():
    assert {kind.assumed_prior for kind in METHODS.values()} == set(TABLE) - {"truth"}
    assert all(METHODS[name].assumed_prior == name for name in ("sft", "ppo", "dpo", "dpo_online", "ift"))


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda shown: estimate("rlhf", TWO_PATHS, draw(TWO_PATHS), shown), ["'rlhf'", *TABLE]),
        (lambda shown: estimate("dpo", TWO_PATHS, draw(TWO_PATHS), shown), ["stale is None", "rejected"]),
        (lambda shown: estimate("ift", TWO_PATHS, draw(TWO_PATHS), shown, mixing=2), ["mixing is 2", "[0, 1]"]),
    ],
)
def test_bad_values_are_refused_in_one_line(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt(demonstrations(TWO_PATHS))
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value)


# ---- the paper's statements ----


def fork(first, second, third):
    """0 leads to 1 and 2, from where each of two actions ends the walk (in 3 or 4); a policy of three numbers: the
    probability of action 0 in states 0, 1 and 2."""
    next_state = np.array([[[1], [2]], [[3], [4]], [[3], [4]], [[3], [3]], [[4], [4]]])
    ends = np.ones((5, 2, 1), bool)
    ends[0] = False
    mdp = TabularMDP(next_state, np.ones((5, 2, 1)), np.zeros((5, 2, 1)), ends, np.eye(5)[0], 0.9, horizon=2)
    policy = TabularPolicy(5, 2).double()
    with torch.no_grad():
        for state, chance in enumerate((first, second, third)):
            policy.theta[0, state] = torch.tensor([chance, 1 - chance], dtype=torch.float64).log()
    return mdp, policy


def answer(mdp, actions):
    """The answer that these actions give in a deterministic MDP, one row."""
    listed, _ = enumerate_trajectories(mdp)
    return listed[[(listed.actions == torch.tensor(actions)).all(-1).nonzero().item()]]


def probability(mdp, policy, actions):
    return estimate("truth", mdp, policy, answer(mdp, actions)).truth[0, 0]


def test_equation_11_holds():
    """No action of the human's is likelier than the model's greedy one, in any state, for any policy."""
    table = draw(ICE, seeds=50).probabilities()
    human = np.random.default_rng(0).integers(0, 4, (50, 6))
    assert (np.take_along_axis(table, human[..., None], -1)[..., 0] <= table.max(-1)).all() and (table.max(-1) <= 1).all()


def test_equation_12_does_not_follow():
    """T_θ(s*_n, ρ0) <= T_θ(s^θ_n, ρ0): true of the first step, true of the model's likeliest prefix of n states, false of a
    chain of greedy choices. The model goes to 1 with 0.6, where it is of two minds (0.5), and to 2 with 0.4, where it is sure
    (0.95). Greedy: 0.6 x 0.5 = 0.30. The human's: 0.4 x 0.95 = 0.38."""
    mdp, policy = fork(0.6, 0.5, 0.95)
    greedy, human = probability(mdp, policy, (0, 0)), probability(mdp, policy, (1, 0))
    close(greedy, [0.6, 0.30])
    close(human, [0.4, 0.38])
    assert human[0] <= greedy[0] and human[1] > greedy[1]
    _, weight = walks(mdp, policy, 0)
    close(weight.max(), 0.38)


def test_equation_18_holds_for_what_is_linear_in_the_state_and_not_through_a_softmax():
    """A model whose choice is linear in its state, P = weights @ table, is exactly the mixture of what it does at both states.
    A table's logits are linear, its probabilities are not: (1-λ) Θ[1] + λ Θ[2] gives their geometric mean, normalised."""
    mdp, policy = fork(0.2, 0.9, 0.6)  # the model predicts 2 where the human goes to 1
    shown, mixing = answer(mdp, (0, 0)), 0.25
    table = policy.probabilities()
    arithmetic = (1 - mixing) * table[:, 1] + mixing * table[:, 2]

    linear = SimpleNamespace(embed=policy.embed, logits=lambda e: e @ torch.as_tensor(table))
    two = torch.eye(5, dtype=torch.float64)[torch.tensor([[[2, 2]]])]
    mixed = residual_embeddings(linear, shown.states[None], shown.mask[None], lambda s, logits: two, mixing=mixing)
    close(linear.logits(mixed)[:, 0, 1], arithmetic)

    made = estimate("ift", mdp, policy, shown, mixing=mixing)
    geometric = table[:, 1] ** (1 - mixing) * table[:, 2] ** mixing
    close(made.preference[:, 0, 1], geometric / geometric.sum(-1, keepdims=True))
    # 0.9^0.75 0.6^0.25 : 0.1^0.75 0.4^0.25 is 0.8519 : 0.1481; eq. 18 says 0.825 : 0.175.
    close(arithmetic[0], [0.825, 0.175])
    close(made.preference[0, 0, 1], [0.8519, 0.1481], tolerance=5e-5)


def test_equation_18_holds_where_both_states_are_decided_alike():
    mdp, policy = fork(0.2, 0.7, 0.7)
    made = estimate("ift", mdp, policy, answer(mdp, (0, 0)), mixing=0.4)
    sft = estimate("sft", mdp, policy, answer(mdp, (0, 0)))
    close(made.preference, 0.6 * sft.preference + 0.4 * made.own_preference)


def test_equation_18_takes_a_prediction_one_step_ahead_for_the_models_own_walk():
    """On two paths the base goes the long way about as readily, and once there stays on it: its own walk is far from the
    human's. But asked from the human's tile it predicts the human's next one: nothing is mixed in from step 2 on, and the gap
    is SFT's. Eq. 18 would have it (1 - λ) times SFT's at every step."""
    base, shown = make_base("mixture", TWO_PATHS, policy="tabular"), demonstrations(TWO_PATHS)
    sft, ift = (estimate(row, TWO_PATHS, base, shown, mixing=0.2).gap[0, 0] for row in ("sft", "ift"))
    assert (sft[1:] > 0.3).all()
    close(ift[2:], sft[2:])
    assert ift[1] < sft[1]


@pytest.mark.parametrize("kind", POLICIES)
def test_equation_19_is_exact_without_mixing_and_only_then(kind):
    """Π T_θ(s*_{i+1} | s*_i) IS T_θ(s*_n, ρ0): mixing does not bring the estimate nearer, it takes it away."""
    base, shown = make_base("mixture", TWO_PATHS, policy=kind).double(), demonstrations(TWO_PATHS)
    truth = estimate("ift", TWO_PATHS, base, shown, mixing=0.0)
    close(truth.bias, 0, 1e-13)
    bias = np.abs(estimate("ift", TWO_PATHS, base, shown, mixing=0.2).bias)
    assert not bias[..., 0].any() and (bias[..., 1:] > 1e-3).all()


def test_a_model_that_predicts_every_step_right_supposes_right():
    """Then the residual connection is the identity: eq. 19 is exact with any λ."""
    shown = demonstrations(TWO_PATHS)
    policy = TabularPolicy(TWO_PATHS.num_states, 4).double()
    with torch.no_grad():
        policy.theta[0, shown.states[0], shown.actions[0]] = 2.0
    close(estimate("ift", TWO_PATHS, policy, shown, mixing=0.7).bias, 0, 1e-15)


def test_equation_29_writes_a_sum_for_a_product():
    """With T = 0.9, 0.8, 0.7 at the three states: exp(-L) = 0.504; T_0 (T_1 + T_2) = 1.35, which is no probability."""
    chances = np.array([0.9, 0.8, 0.7])
    value = np.exp(-3 * float(ift_loss(torch.tensor(chances).log(), torch.ones(3, dtype=torch.bool), propagation="none")))
    close(value, 0.504)
    close(chances[0] * chances[1:].sum(), 1.35)


def test_a_bellman_equation_that_does_hold():
    """V_n = exp(-Σ_{i>=n} l_i) (eq. 22) obeys V_n = T_θ(a*_n, s*_n) V_{n+1}. Eq. 29's max_a T_θ(a, s*_n) V_{n+1} is another
    number where the model is not greedy for the human's action: on the fork 0.6 x 0.95 = 0.57, while V_0 = 0.4 x 0.95."""
    mdp, policy = fork(0.6, 0.5, 0.95)
    step = estimate("sft", mdp, policy, answer(mdp, (1, 0))).estimate[0, 0]
    value = np.exp(np.cumsum(np.log(step[::-1])))[::-1]
    close(value, [0.38, 0.95])
    close(value[0], step[0] * value[1])
    close(policy.probabilities()[0, 0].max() * value[1], 0.57)
