"""States mixed of few tiles are the vectors that they stand for, wherever these are used."""

import numpy as np
import pytest
import torch
from support import options_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ift_gridworld import METHODS
from ift_gridworld.data import demonstrations, generators, preference_pairs
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.evaluation.estimation import estimate
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.optimisation import Adam
from ift_gridworld.policies import lake as policies
from ift_gridworld.policies.lake import ONE_HOT_STATES, POLICIES, TabularPolicy
from ift_gridworld.policies.sparse import SparseStates

FIRM = TabularMDP.from_map(LAKES["4x4"])
SLIPPERY = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, success_rate=0.7)
ICE = pytest.mark.parametrize("mdp", [FIRM, SLIPPERY], ids=["firm", "slippery"])
KINDS = pytest.mark.parametrize("kind", POLICIES)


@pytest.fixture
def sparse(monkeypatch):
    """Switches between one-hot vectors and tiles."""
    return lambda on: monkeypatch.setattr(policies, "ONE_HOT_STATES", 0 if on else ONE_HOT_STATES)


def drawn(*shape, states=9, seed=0):
    random = torch.Generator().manual_seed(seed)
    return SparseStates(
        torch.randint(states, shape, generator=random), torch.rand(shape, generator=random, dtype=torch.float64)
    )


def close(one, two):
    torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-13)


# ---- the algebra ----


def test_vectors_by_loops():
    tiles = drawn(2, 5, 3, states=4)  # few, so that some are named twice
    expected = torch.zeros(2, 5, 4, dtype=torch.float64)
    for place in np.ndindex(2, 5, 3):
        expected[place[0], place[1], tiles.index[place]] += tiles.weight[place]
    close(tiles.dense(4), expected)
    assert tiles.shape == (2, 5, 3) and tiles.ndim == 3


def test_what_is_done_to_tiles_is_done_to_their_vectors():
    one, other, several = drawn(1, 5, 2), drawn(3, 5, 4, seed=1), drawn(3, 5, 6, 2, seed=2)
    share = torch.rand(3, 5, 1, dtype=torch.float64)
    close(one.blend(other, share).dense(9), (1 - share) * one.dense(9) + share * other.dense(9))
    chances = torch.rand(3, 5, 6, dtype=torch.float64)
    close(several.average(chances).dense(9), torch.einsum("ntx,ntxs->nts", chances, several.dense(9)))
    close(several[..., 0, :].dense(9), several.dense(9)[..., 0, :])
    assert not SparseStates(one.index, one.weight.requires_grad_()).detach().weight.requires_grad


@KINDS
def test_logits_of_tiles_are_those_of_their_vectors(kind):
    """So are the gradients, for states that members share and for their own."""
    policy = POLICIES[kind](9, 3, 2).initialise(generators(0, 2)).double()
    for first in (1, 2):
        tiles = drawn(first, 5, 4)
        weight = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(3)).double()
        results = []
        for embedded in (tiles, tiles.dense(9)):
            logits = policy.logits(embedded)
            results.append((logits, *torch.autograd.grad((weight * logits).sum(), list(policy.parameters()))))
        for ours, theirs in zip(*results, strict=True):
            close(ours, theirs)
    with pytest.raises(ValueError, match=r"\(3, .*1 or 2$"):
        policy.logits(drawn(3, 5, 4))


def test_tiles_are_for_large_lakes():
    small, large = (TabularPolicy(states, 4).embed(torch.tensor([[3]])) for states in (ONE_HOT_STATES, ONE_HOT_STATES + 1))
    assert isinstance(small, torch.Tensor) and isinstance(large, SparseStates)
    assert torch.equal(large.dense(ONE_HOT_STATES), small)


# ---- methods ----


def updated(name, mdp, kind, windows=True, **changes):
    """The loss of a method's first batch and its gradients, in float64."""
    policy = POLICIES[kind](16, 4, 2).initialise(generators(5, 2)).double()
    chosen, rejected = (side[None] for side in preference_pairs(mdp, 3))
    source = LakeSource(mdp, demonstrations(mdp, 3)[None], chosen, rejected, generators(0, 2))
    method = METHODS[name](source, policy, options_of(name, walkers=8, segment=8, rise=0, **changes))
    if not windows:
        method.windows = None
    loss = method.loss(method.batch(0))
    return loss, *torch.autograd.grad(loss.sum(), list(policy.parameters()))


@ICE
@KINDS
@pytest.mark.parametrize("name", [name for name in METHODS if name != "neftune"])  # whose noise needs vectors
def test_every_method_has_the_same_loss_and_gradient(name, kind, mdp, sparse):
    results = []
    for on in (True, False):
        sparse(on)
        results.append(updated(name, mdp, kind))
    for ours, theirs in zip(*results, strict=True):
        close(ours, theirs)


@ICE
@KINDS
@pytest.mark.parametrize("windows", [True, False], ids=["windows", "every step"])
@pytest.mark.parametrize("options", [{"prediction": "expected"}, {"outcome": "likeliest"}, {"mixing": 1.0}], ids=str)
def test_ift_has_the_same_loss_and_gradient_however_it_mixes(options, windows, kind, mdp, sparse):
    results = []
    for on in (True, False):
        sparse(on)
        results.append(updated("ift", mdp, kind, windows, **options))
    for ours, theirs in zip(*results, strict=True):
        close(ours, theirs)


@KINDS
def test_what_ift_supposes_is_the_same(kind, sparse):
    policy, answers = POLICIES[kind](16, 4, 2).initialise(generators(0, 2)).double(), demonstrations(SLIPPERY, 4)
    found = []
    for on in (True, False):
        sparse(on)
        found.append(estimate("ift", SLIPPERY, policy, answers))
    ours, theirs = found
    for name in ("preference", "estimate", "truth", "model_prior"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-11, atol=1e-13)


# ---- a large lake ----


class Largest(TorchDispatchMode):
    """Bytes of the largest tensor that is made."""

    found = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        sizes = [x.untyped_storage().nbytes() for x in tree_leaves(made) if isinstance(x, torch.Tensor)]
        self.found = max(self.found, *sizes, 0)
        return made


LARGE = {ice: TabularMDP.from_map(random_map(200, seed=0), is_slippery=ice == "slippery", success_rate=0.9)
         for ice in ("firm", "slippery")}  # fmt: skip


@pytest.fixture(scope="module", params=LARGE)
def large(request):
    """A lake of forty thousand tiles, and demonstrations and pairs on it."""
    mdp = LARGE[request.param]
    good, poor = (demonstrations(mdp, 4, quality=quality)[None] for quality in ("optimal", "suboptimal"))
    return mdp, good, poor


@pytest.mark.parametrize("name", ["sft", "ift", "dpo", "orpo", "ppo"])
def test_a_table_learns_on_a_large_lake(name, large):
    """Steps that are shown become likelier; a row changes where a step is taken, or a prediction leads, and nowhere else; no
    tensor is larger than the lake's own table of outcomes."""
    mdp, shown, poor = large
    policy = TabularPolicy(mdp.num_states, 4).initialise(generators(0, 1))
    before = policy.theta.detach().clone()
    source = LakeSource(mdp, shown, shown, poor, generators(0, 1))
    with Largest() as largest:
        learner = METHODS[name](source, policy, options_of(name, walkers=8, segment=8))
        adam = Adam(learner.parameters(), 0.03)
        likelihood, moved = [], torch.zeros(mdp.num_states, dtype=torch.bool)
        for step in range(5):
            batch = learner.batch(step)
            learner.loss(batch).sum().backward()
            reached = policy.theta.grad[0].any(-1).nonzero().flatten()
            moved[reached] = True
            likelihood.append(float(policy.log_probs(shown.states, shown.actions).detach()[shown.mask].mean()))
            adam.step()
    assert largest.found <= 8 * mdp.next_state.size

    changed = (policy.theta.detach() != before)[0].any(-1)
    assert torch.equal(changed, changed & moved), "Adam leaves rows alone that never had a gradient"
    stood = torch.zeros_like(changed)
    stood[shown.states[shown.mask]] = True
    if name == "ppo":
        assert 0 < changed.sum() <= 2 * 8 * 8  # two walks of eight agents over eight steps
        return
    assert (np.diff(likelihood) > 0).all()
    if name == "sft":
        assert torch.equal(changed, stood)
    if name == "ift":  # predictions lead beside the path as well
        where = torch.as_tensor(mdp.next_state)[stood]
        beside = torch.zeros_like(changed)
        beside[where[torch.as_tensor(mdp.probability)[stood] > 0]] = True
        assert changed[stood].all() and (changed & ~stood).sum() > 10
        assert not (changed & ~stood & ~beside).any()
