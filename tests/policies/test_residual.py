"""The temporal residual connection: what is mixed with what, at which step, and where gradient flows."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

from ift_gridworld.data import demonstrations, generators, sample_episodes
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.log_probs import action_log_probs
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.policies import lake as policies
from ift_gridworld.policies.lake import POLICIES, TabularPolicy
from ift_gridworld.policies.residual import (
    Windows,
    greedy_action,
    lake_successor,
    mix,
    mix_after,
    predicted_distribution,
    residual_embeddings,
)
from ift_gridworld.policies.sparse import SparseStates

TWO_PATHS = TabularMDP.from_map(LAKES["two-paths"])
SLIPPERY = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, success_rate=0.7)


def random_policy(mdp, population=1, kind=TabularPolicy, seed=0):
    return kind(mdp.num_states, mdp.num_actions, population).initialise(generators(seed, population)).double()


def shown(mdp, count=1):
    """Demonstrations as [1, B, T]."""
    batch = demonstrations(mdp, count)
    return batch.states[None], batch.actions[None], batch.mask[None]


def every(*shape):
    return torch.ones(shape, dtype=torch.bool)


# ---- mixing ----


def test_mixing_is_shifted_by_one_step():
    """Position i mixes its own true embedding with what the prediction AT i - 1 leads to, where both steps count."""
    true = torch.arange(6.0)[:, None]
    predicted = 100 * (1 + torch.arange(6.0))[:, None]  # at step t: 100 (t + 1)
    mask = torch.tensor([False, True, True, True, False, True])
    mixed = mix(true, predicted, mask, 0.25)[:, 0]
    # 0 and 4 do not count; 1 and 5 are the first to count; 2 and 3 follow a counted step.
    assert mixed.tolist() == [0, 1, 0.75 * 2 + 0.25 * 200, 0.75 * 3 + 0.25 * 300, 4, 5]
    inputs = true.requires_grad_(), predicted.requires_grad_()
    after = mix_after(*inputs, mask, 0.25)[:, 0]  # at 4 too, which follows a counted step
    assert after.tolist() == [0, 1, 0.75 * 2 + 0.25 * 200, 0.75 * 3 + 0.25 * 300, 0.75 * 4 + 0.25 * 400, 5]
    slopes = [x[:, 0].tolist() for x in torch.autograd.grad(after.sum(), inputs)]
    assert slopes == [[1, 1, 0.75, 0.75, 0.75, 1], [0, 0.25, 0.25, 0.25, 0, 0]]


def test_mixing_of_one_replaces_and_of_zero_keeps():
    true, predicted = torch.rand(2, 3, 4), torch.rand(2, 3, 4)
    assert torch.equal(mix(true, predicted, every(2, 3), 1.0)[:, 1:], predicted[:, :-1])
    assert torch.equal(mix(true, predicted, every(2, 3), 0.0), true)


@pytest.mark.parametrize("mixing", [-0.1, 1.1, float("nan")])
def test_mixing_outside_its_interval_is_refused(mixing):
    with pytest.raises(ValueError, match=str(mixing)):
        mix(torch.rand(1, 2, 3), torch.rand(1, 2, 3), every(1, 2), mixing)


@pytest.mark.parametrize("kind", POLICIES.values(), ids=POLICIES)
def test_without_mixing_it_is_the_identity(kind):
    states, _, mask = shown(SLIPPERY, 4)
    policy = random_policy(SLIPPERY, 2, kind)
    successor = lake_successor(SLIPPERY, policy.embed)
    assert torch.equal(residual_embeddings(policy, states, mask, successor, mixing=0.0), policy.embed(states))


@pytest.mark.parametrize("mixing", [0.2, 0.77, 1.0])
def test_a_model_that_predicts_every_step_right_changes_nothing(mixing):
    """On ice without slip, for the paths of several lakes."""
    for seed in range(5):
        mdp = TabularMDP.from_map(random_map((4, 5), seed=seed))
        states, actions, mask = shown(mdp)
        policy = random_policy(mdp)
        with torch.no_grad():
            policy.theta[0, states[0, 0], actions[0, 0]] += 100
        successor = lake_successor(mdp, policy.embed)
        mixed = residual_embeddings(policy, states, mask, successor, mixing=mixing)
        assert torch.equal(mixed, policy.embed(states))


def test_mixed_logits_of_a_table_are_mixed_rows_and_so_are_gradients():
    """Logits (1 - lambda) Theta[s*_i] + lambda Theta[s^theta_i], s^theta_i where the best action AT s*_(i-1) leads; the
    gradient reaches exactly those two rows, in that proportion. A shift by one either way would give other rows."""
    mixing, mdp = 0.3, TWO_PATHS
    policy = random_policy(mdp, 2, seed=3)
    states, _, mask = shown(mdp)
    mixed = residual_embeddings(policy, states, mask, lake_successor(mdp, policy.embed), mixing=mixing)
    logits = policy.logits(mixed)
    theta, path = policy.theta.detach(), states[0, 0].tolist()
    differs = 0
    for n in range(2):
        best = theta[n].argmax(-1)
        for i, tile in enumerate(path):
            weights = torch.zeros(mdp.num_states).double()
            weights[tile] += 1 if i == 0 else 1 - mixing
            if i > 0:
                guess = int(mdp.next_state[path[i - 1], best[path[i - 1]], 0])
                weights[guess] += mixing
                differs += guess != tile
            torch.testing.assert_close(logits[n, 0, i].detach(), weights @ theta[n], rtol=1e-13, atol=1e-15)
            (grad,) = torch.autograd.grad(logits[n, 0, i, 1], policy.theta, retain_graph=True)
            expected = torch.zeros_like(grad)
            expected[n, :, 1] = weights
            torch.testing.assert_close(grad, expected, rtol=1e-13, atol=1e-15)
    assert differs >= 4, "the policy must be wrong often enough for this to mean something"


def test_what_has_no_prediction_keeps_its_true_embedding():
    """A prompt, a first step, a step after a gap and padding, whatever the policy predicts; the others are mixed."""
    mask = torch.tensor([[[False, False, True, True, False, True, True, False]]])
    states = torch.tensor([[[0, 1, 2, 3, 7, 11, 3, 0]]])
    policy = random_policy(TWO_PATHS, seed=3)
    mixed = residual_embeddings(policy, states, mask, lake_successor(TWO_PATHS, policy.embed), mixing=1.0)
    same = (mixed == policy.embed(states)).all(-1)[0, 0]
    best = policy.theta[0].argmax(-1)
    guesses = {i: TWO_PATHS.next_state[states[0, 0, i - 1], best[states[0, 0, i - 1]], 0] for i in (3, 6)}
    assert same[[0, 1, 2, 4, 5, 7]].all()
    for i, guess in guesses.items():
        assert mixed[0, 0, i].argmax() == guess and mixed[0, 0, i].sum() == 1


# ---- where predictions lead ----


@pytest.mark.parametrize("mdp", [TWO_PATHS, SLIPPERY], ids=["firm", "slippery"])
@pytest.mark.parametrize("prediction", ["greedy", "expected"])
@pytest.mark.parametrize("outcome", ["expected", "likeliest"])
def test_successors_by_loops(mdp, prediction, outcome):
    logits = torch.randn(2, 1, mdp.num_states, 4, generator=torch.Generator().manual_seed(0)).double()
    table = torch.randn(mdp.num_states, 3, generator=torch.Generator().manual_seed(1)).double()
    states = torch.arange(mdp.num_states)[None, None]
    successor = lake_successor(mdp, lambda tiles: table[tiles], prediction=prediction, outcome=outcome)
    result = successor(states, logits)
    for n, s in np.ndindex(2, mdp.num_states):
        weights = torch.softmax(logits[n, 0, s], -1)
        if prediction == "greedy":
            weights = torch.eye(4).double()[logits[n, 0, s].argmax()]
        expected = torch.zeros(3).double()
        for a in range(4):
            leads = np.zeros(mdp.num_states)
            for k in range(mdp.next_state.shape[-1]):
                leads[mdp.next_state[s, a, k]] += mdp.probability[s, a, k]
            if outcome == "likeliest":
                leads = np.eye(mdp.num_states)[leads.argmax()]
            expected += weights[a] * torch.as_tensor(leads) @ table
        torch.testing.assert_close(result[n, 0, s], expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_among_several_lakes_a_population_is_divided_in_order(shape):
    """Three lakes of one size, two members each: every member's predictions lead where they do on its own lake alone."""
    lakes = [TabularMDP.from_map(random_map(4, seed=s, frozen=0.6), is_slippery=s == 2) for s in range(3)]
    random = torch.Generator().manual_seed(0)
    table = torch.randn(16, 4, generator=random, dtype=torch.float64)
    states = torch.randint(16, (6, *shape), generator=random)
    logits = torch.randn(6, *shape, 4, generator=random, dtype=torch.float64)
    together = lake_successor(lakes, lambda tiles: table[tiles])(states, logits)
    assert together.shape == (6, *shape, 4)
    for i in range(6):
        alone = lake_successor(lakes[i // 2], lambda tiles: table[tiles])(states[i : i + 1], logits[i : i + 1])
        torch.testing.assert_close(together[i], alone[0], rtol=1e-12, atol=0)
    one = lake_successor(lakes[:1], lambda tiles: table[tiles])(states, logits)  # a list of one is that lake
    torch.testing.assert_close(one, lake_successor(lakes[0], lambda tiles: table[tiles])(states, logits), rtol=0, atol=0)


def test_successors_keep_the_embedding_of_now_and_follow_the_logits():
    """No gradient comes from the embedding that the lake was asked with; a smooth prediction's reaches its logits: with
    p = softmax and v_a the embedding of where action a leads, d(Σ_a p_a v_a)/d logit_b = p_b (v_b - Σ_a p_a v_a)."""
    table = torch.randn(TWO_PATHS.num_states, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    logits = torch.randn(1, 1, 4, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    states = torch.zeros(1, 1, dtype=torch.int64)
    result = lake_successor(TWO_PATHS, lambda tiles: table[tiles][..., None], prediction="expected")(states, logits).sum()
    result.backward()
    p, v = torch.softmax(logits.detach()[0, 0], -1), table.detach()[TWO_PATHS.next_state[0, :, 0]]
    torch.testing.assert_close(logits.grad[0, 0], p * (v - p @ v), rtol=1e-12, atol=1e-15)
    assert table.grad is None
    assert not lake_successor(TWO_PATHS, lambda tiles: table[tiles][..., None])(states, logits).requires_grad


def test_likeliest_and_expected_outcome_differ_on_slippery_ice_only():
    """Right from tile 0 of the 4x4 lake at 0.7: tile 1 with 0.7, held back with 0.15, down to tile 4 with 0.15."""
    states, logits = torch.zeros(1, 1, 1, dtype=torch.int64), torch.tensor([[[[0.0, 0, 9, 0]]]])
    embed = lambda tiles: torch.eye(16)[tiles]  # noqa: E731
    for mdp, expected in ((SLIPPERY, {0: 0.15, 1: 0.7, 4: 0.15}), (TabularMDP.from_map(LAKES["4x4"]), {1: 1.0})):
        average = lake_successor(mdp, embed)(states, logits)[0, 0, 0]
        assert {i: round(p, 6) for i, p in enumerate(average.tolist()) if p} == expected
        likeliest = lake_successor(mdp, embed, outcome="likeliest")(states, logits)[0, 0, 0]
        assert likeliest.nonzero().flatten().tolist() == [1]


def test_rounding_does_not_choose():
    """What a sum in another order does to a float32 of this size is far below a hundred-thousandth; a ten-thousandth counts.
    Among numbers so large that such a difference is none, the largest is still found."""
    assert greedy_action(torch.tensor([0.0, 1e6, -1e6])) == 1
    for higher, action in ((0.0, 0), (3e-6, 0), (1e-4, 2), (-1e-4, 0)):
        logits = torch.tensor([[[2.0, -1.0, 2.0 + higher, -torch.inf]]])
        assert greedy_action(logits).tolist() == [[action]]
        assert predicted_distribution(logits).argmax(-1).tolist() == [[action]]
        states = torch.tensor([[0]])
        reached = lake_successor(TWO_PATHS, torch.nn.functional.one_hot)(states, logits)
        assert reached.argmax(-1).item() == TWO_PATHS.next_state[0, action, 0]


def test_predicted_distribution():
    logits = torch.tensor([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    assert predicted_distribution(logits).tolist() == [[0, 1, 0], [1, 0, 0]]  # the first of equals
    expected = np.exp(logits.numpy()) / np.exp(logits.numpy()).sum(-1, keepdims=True)
    np.testing.assert_allclose(predicted_distribution(logits, "expected"), expected, rtol=1e-6)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: predicted_distribution(x, "expected"), logits)
    assert not predicted_distribution(logits).requires_grad  # a step function


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: predicted_distribution(torch.zeros(2), "sampled"), ["'sampled'", "greedy, expected"]),
        (lambda: lake_successor(TWO_PATHS, torch.eye, outcome="worst"), ["'worst'", "expected, likeliest"]),
    ],
)
def test_unknown_options_are_refused_in_one_line(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt()
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value)


def test_each_of_several_lakes_is_checked():
    lake, env = TabularMDP.from_map(("SF", "FG")), gymnasium.make("FrozenLake-v1")
    for wrong in (env, [lake, env]):
        with pytest.raises(ValueError, match="is an environment; allowed: a TabularMDP"):
            lake_successor(wrong, lambda tiles: tiles)


# ---- tiles instead of vectors ----


@pytest.mark.parametrize("mdp", [TWO_PATHS, SLIPPERY], ids=["firm", "slippery"])
@pytest.mark.parametrize("prediction", ["greedy", "expected"])
@pytest.mark.parametrize("outcome", ["expected", "likeliest"])
def test_predictions_lead_to_the_same_tiles(mdp, prediction, outcome):
    """From every tile; among several lakes whose actions have different numbers of outcomes, too."""
    lakes = [mdp, SLIPPERY, TabularMDP.from_map(random_map(4, seed=1, frozen=0.6))]
    states = torch.arange(16)[None, None].expand(6, 1, 16)
    logits = torch.randn(6, 1, 16, 4, generator=torch.Generator().manual_seed(0)).double()
    embeddings = (
        lambda tiles: SparseStates(tiles[..., None], torch.ones_like(tiles[..., None], dtype=torch.float64)),
        lambda tiles: torch.nn.functional.one_hot(tiles, 16).double(),
    )
    for asked in (mdp, lakes):
        ours, theirs = (lake_successor(asked, e, prediction=prediction, outcome=outcome)(states, logits) for e in embeddings)
        torch.testing.assert_close(ours.dense(16), theirs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mdp", [TWO_PATHS, SLIPPERY], ids=["firm", "slippery"])
@pytest.mark.parametrize("kind", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("prediction", ["greedy", "expected"])
def test_mixed_states_are_the_same(mdp, kind, prediction, monkeypatch):
    policy = random_policy(mdp, 2, kind, seed=3)
    states, _, mask = shown(mdp, 3)
    found = []
    for on in (True, False):
        monkeypatch.setattr(policies, "ONE_HOT_STATES", 0 if on else 16)
        successor = lake_successor(mdp, policy.embed, prediction=prediction)
        windows = Windows.of(states, mask)
        found.append((residual_embeddings(policy, states, mask, successor), windows.mixed(policy, successor, mixing=0.2)))
    for ours, theirs in zip(*found, strict=True):
        assert isinstance(ours, SparseStates)
        torch.testing.assert_close(ours.dense(16), theirs, rtol=1e-12, atol=1e-14)


def test_tiles_carry_gradient_as_vectors_do():
    """Through the weights of what is mixed and of what is mixed in; and through a smooth prediction to its logits."""
    index, mask = torch.tensor([[[0, 1], [4, 4], [2, 3]]]), every(1, 3)
    parts = [torch.rand(1, 3, 2, generator=torch.Generator().manual_seed(i)).double().requires_grad_() for i in range(2)]
    pull = torch.randn(1, 3, 16, generator=torch.Generator().manual_seed(2)).double()
    true, predicted = (SparseStates(index, weight) for weight in parts)
    for mixed in (mix(true, predicted, mask, 0.3).dense(16), mix(true.dense(16), predicted.dense(16), mask, 0.3)):
        found = torch.autograd.grad((pull * mixed).sum(), parts)
        own = pull.gather(-1, index)  # d(pull · vector) / d weight, times the share that each has
        torch.testing.assert_close(found[0], own * torch.tensor([1, 0.7, 0.7]).double()[:, None])
        after = pull[:, 1:].gather(-1, index[:, :-1])
        torch.testing.assert_close(found[1], torch.cat([0.3 * after, torch.zeros(1, 1, 2).double()], 1))

    states, logits = torch.tensor([[0, 5, 9]]), torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(3)).double()
    logits.requires_grad_()
    vectors = lambda tiles: torch.eye(16).double()[tiles]  # noqa: E731
    few = lambda tiles: SparseStates(tiles[..., None], torch.ones_like(tiles[..., None], dtype=torch.float64))  # noqa: E731
    ours, theirs = (lake_successor(SLIPPERY, e, prediction="expected")(states, logits) for e in (few, vectors))
    gradients = [torch.autograd.grad((pull * x).sum(), logits)[0] for x in (ours.dense(16), theirs)]
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()


# ---- gradient ----


def language(vocabulary=5, width=3):
    """A linear "language model" with an embedding table: the predicted token is itself what stands at the next position."""
    table = torch.randn(vocabulary, width, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    weight = torch.randn(width, vocabulary, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
    return SimpleNamespace(embed=lambda tokens: table[tokens], logits=lambda e: e @ weight, table=table, weight=weight)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("greedy", [True, False])
def test_no_gradient_comes_from_the_first_pass(live, greedy):
    """The output weights' gradient is that of a linear map of constant inputs, even if what is mixed in is a smooth
    function of the first pass's logits; the embedding table's is 0, or, `live`, of the two rows in their proportion."""
    model, tokens = language(), torch.tensor([[0, 3, 1, 1, 4]])

    def successor(states, logits):
        weights = torch.nn.functional.one_hot(logits.argmax(-1), 5).double() if greedy else torch.softmax(logits, -1)
        return weights @ model.table

    guess = successor(tokens, model.logits(model.embed(tokens))).detach()
    mixed = residual_embeddings(model, tokens, every(1, 5), successor, mixing=0.4, embedding_gradient=live)
    true = model.embed(tokens).detach()
    expected = torch.cat([true[:, :1], 0.6 * true[:, 1:] + 0.4 * guess[:, :-1]], 1)
    torch.testing.assert_close(mixed.detach(), expected, rtol=1e-13, atol=1e-15)

    weight = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(2)).double()
    (model.logits(mixed) * weight).sum().backward()
    torch.testing.assert_close(model.weight.grad, (expected.mT @ weight)[0], rtol=1e-12, atol=1e-14)
    if not live:
        assert model.table.grad is None
        return
    with torch.no_grad():
        logits = model.logits(model.embed(tokens))
        chances = torch.nn.functional.one_hot(logits.argmax(-1), 5).double() if greedy else torch.softmax(logits, -1)
        rows = torch.nn.functional.one_hot(tokens, 5).double()
        rows = torch.cat([rows[:, :1], 0.6 * rows[:, 1:] + 0.4 * chances[:, :-1]], 1)[0]
        inputs = weight[0] @ model.weight.T
    torch.testing.assert_close(model.table.grad, rows.T @ inputs, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mixing", [0.0, 0.4])
def test_alive_the_true_embedding_carries_its_share_of_gradient(mixing):
    """1 - lambda where a prediction arrives, 1 where none does and without mixing; not asked for, there is none."""
    model, tokens = language(), torch.tensor([[0, 3, 1]])
    successor = lambda states, logits: torch.zeros(1, 3, 3).double()  # noqa: E731
    residual_embeddings(model, tokens, every(1, 3), successor, mixing=mixing, embedding_gradient=True).sum().backward()
    expected = torch.zeros(5, 3).double()
    expected[[0, 3, 1]] = torch.tensor([1.0, 1 - mixing, 1 - mixing]).double()[:, None]
    torch.testing.assert_close(model.table.grad, expected)
    assert not residual_embeddings(model, tokens, every(1, 3), successor, mixing=mixing).requires_grad


def test_a_fifth_is_mixed_in_unless_told_otherwise():
    model, tokens = language(), torch.tensor([[0, 3, 1]])
    successor = lambda states, logits: torch.full((1, 3, 3), 10.0).double()  # noqa: E731
    mixed = residual_embeddings(model, tokens, every(1, 3), successor)
    true = model.table.detach()[tokens]
    torch.testing.assert_close(mixed, torch.cat([true[:, :1], 0.8 * true[:, 1:] + 0.2 * 10], 1), rtol=1e-13, atol=1e-15)


# ---- windows ----


@pytest.mark.parametrize("scale", [1, 1e4])
@pytest.mark.parametrize("live", [False, True])
def test_windows_equal_the_plain_path_where_embeddings_live(live, scale):
    """A language model: log-probs (at scale 1e4 far below any float's logarithm), and the gradients of both its tables."""
    tokens, actions = (torch.randint(5, (1, 6, 7), generator=torch.Generator().manual_seed(i)) for i in range(2))
    mask = torch.rand(1, 6, 7, generator=torch.Generator().manual_seed(2)) > 0.3
    results = []
    for windowed in (True, False):
        model = language()
        model.logits = lambda e, m=model: scale * (e @ m.weight)
        successor = lambda states, logits, m=model: torch.softmax(logits, -1) @ m.table  # noqa: E731
        if windowed:
            logp = Windows.of(tokens, mask).log_probs(model, actions, successor, mixing=0.3, embedding_gradient=live)
        else:
            mixed = residual_embeddings(model, tokens, mask, successor, mixing=0.3, embedding_gradient=live)
            logp = action_log_probs(model.logits(mixed), actions)
        weight = torch.randn(logp.shape, generator=torch.Generator().manual_seed(3)).double()
        (weight * logp).sum().backward()
        results.append((logp.detach(), model.weight.grad, model.table.grad if live else torch.zeros(())))
        assert (model.table.grad is not None) == live
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-12 * scale)
        assert torch.isfinite(one).all()


def test_windows_hold_the_true_embeddings_still_unless_told_otherwise():
    model, tokens = language(), torch.tensor([[[0, 3, 1]]])
    successor = lambda states, logits: torch.softmax(logits, -1) @ model.table  # noqa: E731
    windows = Windows.of(tokens, every(1, 1, 3))
    assert not windows.mixed(model, successor, mixing=0.3).requires_grad
    windows.log_probs(model, tokens, successor, mixing=0.3).sum().backward()
    assert model.table.grad is None and model.weight.grad.any()


@pytest.mark.parametrize("kind", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize("prediction", ["greedy", "expected"])
def test_windows_equal_the_plain_path(kind, prediction):
    """Log-probs and gradients of every step, over many episodes of which some steps in the middle do not count."""
    uniform = np.full((16, 4), 0.25)
    walk = sample_episodes(SLIPPERY, uniform, 30, generators(0, 1))
    mask = walk.mask & (torch.rand(walk.mask.shape, generator=torch.Generator().manual_seed(0)) > 0.1)
    policy = random_policy(SLIPPERY, 3, kind)
    successor = lake_successor(SLIPPERY, policy.embed, prediction=prediction)
    windows = Windows.of(walk.states, mask)
    mixed = residual_embeddings(policy, walk.states, mask, successor, mixing=0.3)
    weight = torch.randn(3, *walk.states.shape[1:], generator=torch.Generator().manual_seed(1)).double()
    results = []
    for logp in (
        windows.log_probs(policy, walk.actions, successor, mixing=0.3),
        action_log_probs(policy.logits(mixed), walk.actions),
    ):
        results.append((logp, *torch.autograd.grad((weight * logp).sum(), list(policy.parameters()))))
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-12)  # sums over hundreds of steps, in another order

    # As few as there can be: a step alone, or a step with the one before it where both count.
    distinct = set()
    for b, t in np.ndindex(mask.shape[1:]):
        follows = t > 0 and bool(mask[0, b, t] & mask[0, b, t - 1])
        distinct.add((int(walk.states[0, b, t - 1]) if follows else None, int(walk.states[0, b, t])))
    assert windows.states.shape == (1, len(distinct), 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_on_both_paths(dtype):
    """Log-probs by windows and step by step, and predicted distributions, are float32's of the same logits."""
    logits = torch.randn(1, 5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert torch.equal(predicted_distribution(logits, "expected"), torch.softmax(logits.float(), -1))
    states, actions = torch.tensor([[[0, 1, 2, 3, 7]]]), torch.tensor([[[2, 2, 2, 1, 1]]])
    policy = random_policy(TWO_PATHS).to(dtype)
    successor = lake_successor(TWO_PATHS, policy.embed)
    windows = Windows.of(states, every(1, 1, 5))
    logp = windows.log_probs(policy, actions, successor, mixing=0.3)
    mixed = residual_embeddings(policy, states, every(1, 1, 5), successor, mixing=0.3)
    assert logp.dtype == torch.float32
    assert torch.equal(logp, action_log_probs(policy.logits(mixed), actions))
