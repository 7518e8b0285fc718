"""Policies: a table is linear in the one-hot, a population is its members side by side."""

from functools import partial

import numpy as np
import pytest
import torch

from ift_gridworld.data import generators
from ift_gridworld.log_probs import action_log_probs, entropy
from ift_gridworld.losses import ift_loss, sft_loss
from ift_gridworld.policies.lake import POLICIES, MLPPolicy, TabularPolicy

STATES, ACTIONS = 6, 3
KINDS = pytest.mark.parametrize("kind", POLICIES.values(), ids=POLICIES)


def make(kind, population=1, seed=0):
    return kind(STATES, ACTIONS, population).initialise(generators(seed, population)).double()


def draw_states(*shape):
    return torch.randint(STATES, shape, generator=torch.Generator().manual_seed(0))


def member(policy, i):
    """A population of one with the parameters of member i."""
    alone = type(policy)(STATES, ACTIONS).double()
    with torch.no_grad():
        for mine, theirs in zip(alone.parameters(), policy.parameters(), strict=True):
            mine.copy_(theirs[i : i + 1])
    return alone


@KINDS
def test_tiles_are_embedded_as_one_hot_vectors(kind):
    states = draw_states(1, 4, 5)
    embedded = make(kind).embed(states)
    assert torch.equal(embedded, torch.eye(STATES, dtype=torch.float64)[states])


def test_a_table_is_linear_in_the_embedding():
    policy = make(TabularPolicy, 2)
    states = draw_states(1, 4, 5)
    assert torch.equal(policy(states), torch.stack([theta[states[0]] for theta in policy.theta]))
    mixed = torch.rand(2, 7, STATES, generator=torch.Generator().manual_seed(1)).double()
    torch.testing.assert_close(policy.logits(mixed), torch.einsum("nts,nsa->nta", mixed, policy.theta), rtol=1e-13, atol=0)


def test_a_table_is_a_network_on_the_one_hot_without_hidden_layer():
    """torch's own linear layer, of the same numbers: every loss has the same value and the same gradient."""
    policy, layer = make(TabularPolicy), torch.nn.Linear(STATES, ACTIONS, bias=False).double()
    with torch.no_grad():
        layer.weight.copy_(policy.theta[0].T)
    states, actions = draw_states(1, 4, 5), draw_states(1, 4, 5) % ACTIONS
    mask = torch.rand(1, 4, 5, generator=torch.Generator().manual_seed(1)) > 0.2
    for loss in (sft_loss, ift_loss, partial(ift_loss, propagation="algorithm1")):
        logits = layer(torch.nn.functional.one_hot(states, STATES).double())
        ours, theirs = loss(policy.log_probs(states, actions), mask), loss(action_log_probs(logits, actions), mask)
        torch.testing.assert_close(ours, theirs, rtol=1e-14, atol=0)
        one = torch.autograd.grad(ours.sum(), policy.theta)[0][0]
        (other,) = torch.autograd.grad(theirs.sum(), layer.weight)
        torch.testing.assert_close(one, other.T, rtol=1e-13, atol=1e-16)


def test_the_network_is_two_layers_with_a_tanh_between():
    policy = make(MLPPolicy, 2)
    with torch.no_grad():
        for parameter in policy.parameters():  # biases start at 0: let them count
            parameter.add_(0.1)
    mixed = torch.rand(2, 7, STATES, generator=torch.Generator().manual_seed(1)).double()
    w1, b1, w2, b2 = (getattr(policy, name).detach().numpy() for name in ("w1", "b1", "w2", "b2"))
    for n in range(2):
        expected = np.tanh(mixed[n].numpy() @ w1[n] + b1[n]) @ w2[n] + b2[n]
        np.testing.assert_allclose(policy.logits(mixed)[n].detach(), expected, rtol=1e-12)


@KINDS
@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("shape", [(2, 2), (5, 40), (200,)], ids=["few steps", "many", "one row"])
def test_looking_up_equals_computing_every_step(kind, first, shape):
    """Where steps outnumber tiles each tile is computed once; values and gradients are those of logits(embed(.))."""
    policy, states = make(kind, 3), draw_states(first, *shape)
    actions = states.flip(-1) % ACTIONS
    plain = policy.logits(policy.embed(states))
    assert plain.shape == (3, *shape, ACTIONS)
    for actual, expected in (
        (policy(states), plain),
        (policy.log_probs(states, actions), action_log_probs(plain, actions)),
        (policy.per_state(states, entropy), entropy(plain)),
    ):
        weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(2)).double()
        results = [
            (x, *torch.autograd.grad((weight * x).sum(), list(policy.parameters()), retain_graph=True))
            for x in (actual, expected)
        ]
        for one, two in zip(*results, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


@KINDS
@pytest.mark.parametrize("first", [1, 3])
def test_a_population_is_its_members_side_by_side(kind, first):
    policy, states = make(kind, 3), draw_states(first, 4, 2)
    for i in range(3):
        alone = member(policy, i)
        own = states[i if first == 3 else 0][None]
        torch.testing.assert_close(policy(states)[i], alone(own)[0], rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(policy.probabilities()[i], alone.probabilities()[0], rtol=1e-13)
    # Only the first dimension is the seeds': one state each, without further dimensions, is a batch too.
    assert policy(states[:, 0, 0]).shape == (3, ACTIONS)


@KINDS
def test_members_do_not_share_gradients(kind):
    policy = make(kind, 3)
    policy(draw_states(1, 4, 5))[1].square().sum().backward()
    for parameter in policy.parameters():
        assert parameter.grad[1].any() and not parameter.grad[[0, 2]].any()


@KINDS
def test_probabilities_are_the_softmax_in_float64(kind):
    policy = make(kind, 2).float()
    table = policy(torch.arange(STATES)[None]).detach().double().numpy()
    expected = np.exp(table) / np.exp(table).sum(-1, keepdims=True)
    assert policy.probabilities().dtype == np.float64
    np.testing.assert_allclose(policy.probabilities(), expected, rtol=1e-14)


@KINDS
def test_uniform_gives_every_action_the_same_probability(kind):
    assert (kind(STATES, 4, 2).probabilities() == 0.25).all()  # as made
    drawn = kind(STATES, 4, 2).initialise(generators(0, 2))
    assert (drawn.initialise(generators(0, 2), uniform=True).probabilities() == 0.25).all()


@KINDS
def test_a_members_parameters_depend_on_its_own_seed_alone(kind):
    many, one, other = make(kind, 3, seed=5), make(kind, 1, seed=6), make(kind, 1, seed=9)
    for all_of_them, alone, elsewhere in zip(many.parameters(), one.parameters(), other.parameters(), strict=True):
        assert torch.equal(all_of_them[1], alone[0])
        assert torch.equal(alone, elsewhere) is (not alone.any())  # biases start at 0


def test_scales_of_random_parameters():
    """Hidden weights of unit scale, output weights at 1 / sqrt(H), a table's entries of unit scale; 5 sigma bounds."""
    network = MLPPolicy(200, 4, 1, hidden=100).initialise(generators(0, 1))
    table = TabularPolicy(2000, 4).initialise(generators(0, 1))
    for weights, scale in ((network.w1, 1.0), (network.w2, 0.1), (table.theta, 1.0)):
        assert weights.std().item() == pytest.approx(scale, rel=5 / np.sqrt(2 * weights.numel()))


@KINDS
@pytest.mark.parametrize("population", [1, 2])
@pytest.mark.parametrize("steps", [2, 40], ids=["few steps", "many"])
def test_a_first_dimension_that_fits_no_population_is_refused(kind, population, steps):
    policy = make(kind, population)
    for attempt in (policy, lambda states: policy.logits(policy.embed(states))):
        with pytest.raises(ValueError, match=rf"\(3, .*1 or {population}$"):
            attempt(draw_states(3, steps))


@KINDS
def test_a_population_has_members(kind):
    with pytest.raises(ValueError, match="population is 0"):
        kind(STATES, ACTIONS, 0)


@KINDS
def test_the_logits_of_every_tile_are_those_of_the_identity_matrix(kind):
    """To the last bit, in single precision too, and so are the gradients: the product with it is only spared."""
    policy = make(kind, 3).float()
    every = torch.arange(STATES)[None]
    weight = torch.randn(3, STATES, ACTIONS, generator=torch.Generator().manual_seed(1))
    gradients = []
    for logits in (policy._table(), policy.logits(policy.embed(every))):
        policy.zero_grad()
        (logits * weight).sum().backward()
        gradients.append([p.grad.clone() for p in policy.parameters()])
    assert torch.equal(policy._table(), policy.logits(policy.embed(every)))
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))


@KINDS
def test_members_are_copies_in_the_order_asked_for(kind):
    """One may be asked for twice; what is trained in the copy stays there; what is not to be trained stays so."""
    policy = make(kind, 3)
    first = next(iter(policy.parameters()))
    first.requires_grad_(False)
    chosen, before = policy.members([2, 0, 2]), policy.probabilities()
    assert chosen.population == 3 and type(chosen) is kind
    np.testing.assert_array_equal(chosen.probabilities(), before[[2, 0, 2]])
    assert [p.requires_grad for p in chosen.parameters()] == [p.requires_grad for p in policy.parameters()]
    with torch.no_grad():
        for parameter in chosen.parameters():
            parameter.mul_(torch.arange(3.0).reshape(-1, *[1] * (parameter.ndim - 1)))
    np.testing.assert_array_equal(policy.probabilities(), before)
    assert not np.allclose(chosen.probabilities()[0], chosen.probabilities()[2])


def test_a_policy_says_how_large_it_is():
    assert repr(TabularPolicy(6, 3, 2)) == "TabularPolicy(num_states=6, num_actions=3, population=2)"
    assert repr(MLPPolicy(6, 3, hidden=8)) == "MLPPolicy(num_states=6, num_actions=3, population=1, hidden=8)"
    assert "population=3" in repr(TabularPolicy(6, 3, 2).members([0, 1, 1]))
