"""Each variant is the formula in its docstring, step by step, on firm and slippery ice, on one lake and on several.

The formulas are computed anew here, in float64, by loops over members, answers, steps and tiles, from the parameters and the
outcomes of single moves; nothing of the residual connection, the windows or the losses is called.
"""

import copy
from dataclasses import replace
from functools import cache, cached_property
from math import exp, log

import numpy as np
import pytest
import torch
from support import options_of

from ift_gridworld import METHODS
from ift_gridworld.data import Trajectories, demonstrations, generators, preference_pairs, sample_episodes, stacked
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods import variants
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.imitation import IFT, SFT
from ift_gridworld.methods.preferences import DPO
from ift_gridworld.methods.registry import VARIANTS, find_method
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.methods.variants import (
    DPOSFT,
    NEEDS_THE_ORACLE,
    AgreeingIFT,
    AskingIFT,
    AverageIFT,
    ExpectedIFT,
    MixtureIFT,
    OracleIFT,
    best_actions,
    demonstrated,
)
from ift_gridworld.policies.lake import POLICIES
from ift_gridworld.policies.residual import Windows, residual_embeddings
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.lakes import train_lakes
from ift_gridworld.training.loop import train

LEFT, DOWN, RIGHT, UP = range(4)
KINDS = pytest.mark.parametrize("kind", POLICIES)
MIXES_TILES = [AgreeingIFT, OracleIFT, ExpectedIFT, AverageIFT]  # by way of a second pass
ON_TILES = [*MIXES_TILES, MixtureIFT, AskingIFT]


# ---- lakes, data, methods ----


@cache
def lakes_of(name):
    """One lake, or two of one size whose holes, best ways and terminal tiles differ."""
    slip = {"is_slippery": "slippery" in name, "success_rate": 0.7}
    maps = [random_map(4, seed=seed, frozen=0.6) for seed in (0, 2)] if "lakes" in name else [LAKES["4x4"]]
    return [TabularMDP.from_map(rows, **slip) for rows in maps]


def wandering(lake, seed, count=4, steps=8):
    """Episodes of someone who knows the way and often does not care. The first lacks its first step, as after a prompt; the
    second a step amid the answer; of the third nothing counts; the others are padded where they end. What does not count is
    made up."""
    random = torch.Generator().manual_seed(seed)
    chances = 0.6 * is_best(lake) / is_best(lake).sum(-1, keepdims=True) + 0.1
    drawn = sample_episodes(lake, chances, count, [random])[0][:, :steps]
    mask = drawn.mask.clone()
    mask[0, 0] = mask[1, 2] = False
    mask[2] = False
    states = torch.where(mask, drawn.states, torch.randint(lake.num_states, mask.shape, generator=random))
    return replace(drawn, states=states, mask=mask)


def make(variant, lakes, shown, *, kind="tabular", windows=None, population=None, pairs=(None, None), **changes):
    """A method in float64, every member with random parameters of its own (biases too)."""
    population = population or max(2, len(shown.states) if shown is not None else 0)
    policy = POLICIES[kind](lakes[0].num_states, lakes[0].num_actions, population, **({"hidden": 5} if kind == "mlp" else {}))
    policy.double()
    random = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=random, dtype=torch.float64))
    source = LakeSource(lakes[0], shown, *pairs, generators(0, population), lakes=lakes if len(lakes) > 1 else ())
    method = variant(source, policy, options_of(variant, **changes))
    if windows is not None:
        method.windows = Windows.of(shown.states, shown.mask) if windows else None
    return method


@cache
def scene(name):
    """Lakes and demonstrations: on one lake the same for both members; on two, of each of four members its own."""
    lakes = lakes_of(name)
    members = range(2 * len(lakes)) if len(lakes) > 1 else [0]
    return lakes, stacked([wandering(lakes[n // 2], n) for n in members])


SCENES = pytest.mark.parametrize("name", ["firm", "slippery", "firm lakes", "slippery lakes"])


# ---- the formulas, by loops ----


@cache
def is_best(lake):
    """[S, A]: whether an action is optimal for the lake's discount, by sweeps of Bellman's equation over single outcomes; on
    tiles where all is over every action is."""
    value = np.zeros(lake.num_states)
    for _ in range(3000):
        worth = (lake.probability * (lake.reward + lake.discount * value[lake.next_state] * ~lake.terminated)).sum(-1)
        value = worth.max(-1)
    return (worth >= worth.max(-1, keepdims=True) * (1 - 1e-9)).astype(float)


class Member:
    """One member of a method's population: its lake, its data, its parameters as leaves of a graph of their own."""

    def __init__(self, method, n):
        source, lakes = method.source, method.source.lakes or [method.source.mdp]
        self.lake = lakes[n // (method.policy.population // len(lakes))]
        self.weights = [p[n].detach().clone().requires_grad_() for p in method.policy.parameters()]
        data = source.demonstrations
        self.options, self.answers = method.options, []
        for row in range(data.states.shape[1]):
            fields = (x[n % len(data.states), row].tolist() for x in (data.states, data.actions, data.mask))
            self.answers.append(list(zip(*fields, strict=True)))

    def logits(self, tiles):
        """Of a state that is a weighted sum of tiles."""
        if len(self.weights) == 1:
            return tiles @ self.weights[0]
        w1, b1, w2, b2 = self.weights
        return torch.tanh(tiles @ w1 + b1) @ w2 + b2

    def logp(self, tiles):
        return torch.log_softmax(self.logits(tiles), -1)

    @cached_property
    def table(self):
        """log π(a|s) of every tile."""
        return self.logp(torch.eye(self.lake.num_states, dtype=torch.float64))

    def tile(self, s):
        return torch.eye(self.lake.num_states, dtype=torch.float64)[s]

    def predicted(self, s, prediction):
        """Where the action predicted on tile s leads, as tiles and their shares, which have no gradient."""
        logp, reached = self.table[s].tolist(), [0.0] * self.lake.num_states
        for a in range(4):
            chance = exp(logp[a]) if prediction == "expected" else float(a == logp.index(max(logp)))
            leads = [0.0] * self.lake.num_states
            for k, p in enumerate(self.lake.probability[s, a]):
                leads[self.lake.next_state[s, a, k]] += p
            if self.options.outcome == "likeliest":
                leads = [float(there == leads.index(max(leads))) for there in range(len(leads))]
            reached = [total + chance * p for total, p in zip(reached, leads, strict=True)]
        return [(there, share) for there, share in enumerate(reached) if share]

    @cached_property
    def counts(self):
        """[S][A], how often the member's human showed what where."""
        counts = [[0] * 4 for _ in range(self.lake.num_states)]
        for answer in self.answers:
            for s, a, counted in answer:
                counts[s][a] += counted
        return counts

    def agrees(self, variant, s, there):
        """Whether what is shown most on s (of equals the first) is, on the tile `there`, right: shown there and nothing more
        often, or, for the oracle, optimal."""
        action = self.counts[s].index(max(self.counts[s]))
        if variant is OracleIFT:
            return bool(is_best(self.lake)[there, action])
        return 0 < self.counts[there][action] == max(self.counts[there])

    def mixed(self, variant, s, before):
        """The state that the second pass sees on tile s, given the tile of the step before."""
        prediction = "expected" if variant is ExpectedIFT else self.options.prediction
        weights = (1 - self.options.mixing) * self.tile(s)
        for there, share in self.predicted(before, prediction):
            gated = issubclass(variant, AgreeingIFT) and not self.agrees(variant, s, there)
            weights[s if gated else there] += self.options.mixing * share
        return weights

    def nats(self, variant, s, a, before):
        """What step (s, a) costs."""
        mixing, own = self.options.mixing, self.table[s, a]
        if before is None:
            return -own
        if variant not in (MixtureIFT, AskingIFT):
            return -self.logp(self.mixed(variant, s, before))[a]
        predicted = self.predicted(before, self.options.prediction)
        if variant is MixtureIFT:
            chance = (1 - mixing) * own.exp()
            for there, share in predicted:
                chance = chance + mixing * share * self.table[there, a].exp()
            return -chance.log()
        cost = -own
        for there, share in predicted:
            if not self.lake.terminal[there]:
                best = torch.tensor(is_best(self.lake)[there])
                cost = cost - mixing * share * (best / best.sum() * self.table[there]).sum()
        return cost

    def loss(self, variant):
        """Mean over answers."""
        total = torch.zeros((), dtype=torch.float64)
        for answer in self.answers:
            costs, places = [], []
            for t, (s, a, counted) in enumerate(answer):
                if counted:
                    before = answer[t - 1][0] if t and answer[t - 1][2] else None  # None: no prediction arrives
                    costs.append(self.nats(variant, s, a, before))
                    places.append(t)
            if costs:
                combine = {AverageIFT: average, AskingIFT: plain}.get(variant, propagated)
                total = total + combine(costs, places, self.options)
        return total / len(self.answers)


def plain(costs, places, options):
    return sum(costs) / len(costs)


def following(costs, places, decay):
    """Of each step, Σ_{i≥t} γ^{i-t} l_i."""
    return [sum(decay ** (later - t) * cost for cost, later in zip(costs, places, strict=True) if later >= t) for t in places]


def propagated(costs, places, options):
    """Relation propagation as `ift_loss` defines it."""
    weights = following(costs, places, options.decay)
    if options.propagation == "none":
        return plain(costs, places, options)
    if options.propagation == "equation21":
        return sum(weights)
    if options.propagation == "released":
        weights = [w**2 if options.norm == "L2" else w for w in weights]
        weights = [w / sum(weights) for w in weights]
    return sum((w.detach() if options.detach_weights else w) * cost for w, cost in zip(weights, costs, strict=True))


def average(costs, places, options):
    """The decayed average of what follows as a weight, held constant; the weights of an answer average 1."""
    constant = [cost.item() for cost in costs]
    sizes = following([1.0] * len(costs), places, options.decay)
    weights = [w / size for w, size in zip(following(constant, places, options.decay), sizes, strict=True)]
    return sum(w / sum(weights) * cost for w, cost in zip(weights, costs, strict=True))


def agree(method, variant, rtol=1e-10):
    """The method's losses and their gradients are the formula's, member by member."""
    loss = method.loss(method.batch(0))
    grads = torch.autograd.grad(loss.sum(), list(method.policy.parameters()))
    for n in range(method.policy.population):
        member = Member(method, n)
        expected = member.loss(variant)
        torch.testing.assert_close(loss[n], expected.detach(), rtol=rtol, atol=0)
        for ours, theirs in zip(grads, torch.autograd.grad(expected, member.weights), strict=True):
            torch.testing.assert_close(ours[n], theirs, rtol=rtol, atol=rtol)


@SCENES
@KINDS
@pytest.mark.parametrize("variant", MIXES_TILES)
def test_loss_of_mixed_tiles(variant, kind, name):
    """Run on each distinct window once, or on every step. No gradient flows through the prediction; through the weights it
    does, but for `AverageIFT`."""
    lakes, shown = scene(name)
    prediction = "expected" if kind == "mlp" else "greedy"
    for windows, outcome in ((True, "expected"), (False, "likeliest")):
        options = {"mixing": 0.35, "decay": 0.8, "prediction": prediction, "outcome": outcome, "windows": windows}
        agree(make(variant, lakes, shown, kind=kind, **options), variant)


@SCENES
@KINDS
@pytest.mark.parametrize("prediction", ["greedy", "expected"])
def test_mixture_is_the_log_of_mixed_probabilities(prediction, kind, name):
    options = {"mixing": 0.35, "decay": 0.8, "prediction": prediction, "outcome": "likeliest"}
    agree(make(MixtureIFT, *scene(name), kind=kind, **options), MixtureIFT)


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("propagation", ["released", "algorithm1", "equation21", "none"])
def test_mixture_propagates_as_it_is_told(propagation, detach):
    options = {"propagation": propagation, "norm": "L2", "decay": 0.7, "detach_weights": detach}
    agree(make(MixtureIFT, *scene("slippery"), **options), MixtureIFT)


@SCENES
@KINDS
@pytest.mark.parametrize("prediction", ["greedy", "expected"])
def test_asking_is_sft_and_the_humans_own_choice_on_the_predicted_tile(prediction, kind, name):
    """Shares of equally good actions are kept in float32: a third is off by 1e-8."""
    options = {"mixing": 0.35, "prediction": prediction, "outcome": "likeliest"}
    agree(make(AskingIFT, *scene(name), kind=kind, **options), AskingIFT, rtol=1e-6)


@KINDS
@pytest.mark.parametrize("name", ["slippery", "firm lakes"])
def test_dpo_sft_is_dpo_minus_the_mean_log_prob_of_the_preferred(name, kind):
    """-(1-ε) log σ(βd) - ε log σ(-βd) - (1/N) Σ_t log π(a_t|s_t), d of sums over steps, N the steps of the chosen answer.
    What is added to DPO, gradient included, is SFT on the chosen answers."""
    lakes, methods = lakes_of(name), []
    members = 2 * len(lakes)
    sides = zip(*(preference_pairs(lake, 4) for lake in lakes), strict=True)
    chosen, rejected = (stacked(side, 2 if len(lakes) > 1 else 1) for side in sides)
    for variant, shown in ((DPOSFT, None), (DPO, None), (SFT, chosen)):
        options = {"kind": kind, "population": members, "pairs": (chosen, rejected), "beta": 0.3, "label_smoothing": 0.1}
        methods.append(make(variant, lakes, shown, **options))
        # The reference was frozen when the method was made; now the policy moves on.
        random = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for parameter in methods[-1].policy.parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=random, dtype=torch.float64))
    values = [method.loss(method.batch(0)) for method in methods]
    for n in range(members):
        policy, reference = (np.log(p.probabilities()[n]) for p in (methods[0].policy, methods[0].reference))
        total = 0.0
        for row in range(4):
            ratios = []
            for side in (chosen, rejected):
                steps = list(zip(*(x[n % len(x), row].tolist() for x in (side.states, side.actions, side.mask)), strict=True))
                ratios.append(sum(policy[s, a] - reference[s, a] for s, a, counted in steps if counted))
                if side is chosen:
                    total -= np.mean([policy[s, a] for s, a, counted in steps if counted])
            margin = 0.3 * (ratios[0] - ratios[1])
            total += 0.9 * log(1 + exp(-margin)) + 0.1 * log(1 + exp(margin))
        assert values[0][n].item() == pytest.approx(total / 4, rel=1e-10)
    grads = [
        torch.autograd.grad(value.sum(), list(method.policy.parameters()))
        for value, method in zip(values, methods, strict=True)
    ]
    for ours, dpo, sft in zip(*grads, strict=True):
        torch.testing.assert_close(ours, dpo + sft, rtol=1e-9, atol=1e-12)


# ---- what a variant is without its ideas ----


@KINDS
@pytest.mark.parametrize("variant", [AgreeingIFT, OracleIFT, ExpectedIFT, MixtureIFT, AskingIFT])
def test_without_mixing_and_propagation_it_is_sft(variant, kind):
    """To the last bit, except that the mixture takes its logarithm after the softmax. Asking knows no propagation."""
    lakes, shown = scene("slippery")
    sft = make(SFT, lakes, shown, kind=kind)
    none = {} if variant is AskingIFT else {"propagation": "none"}
    ours = make(variant, lakes, shown, kind=kind, mixing=0.0, **none)
    same = {"rtol": 1e-12, "atol": 1e-14} if variant is MixtureIFT else {"rtol": 0, "atol": 0}
    values = [method.loss(method.batch(0)) for method in (ours, sft)]
    torch.testing.assert_close(*values, **same)
    grads = [torch.autograd.grad(v.sum(), list(m.policy.parameters())) for v, m in zip(values, (ours, sft), strict=True)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, **same)


@SCENES
@pytest.mark.parametrize("outcome", ["expected", "likeliest"])
def test_expected_is_ift_told_to_expect(outcome, name):
    """Whatever prediction it is told."""
    lakes, shown = scene(name)
    told = make(IFT, lakes, shown, prediction="expected", outcome=outcome)
    for prediction in ("greedy", "expected"):
        ours = make(ExpectedIFT, lakes, shown, prediction=prediction, outcome=outcome)
        assert torch.equal(ours.loss(ours.batch(0)), told.loss(told.batch(0)))


@pytest.mark.parametrize("variant", ON_TILES)
def test_padding_changes_nothing(variant):
    lakes, shown = scene("slippery lakes")
    junk = {name: torch.cat([getattr(shown, name), getattr(shown, name).flip(-1)], -1) for name in vars(shown)}
    longer = Trajectories(**junk | {"mask": torch.cat([shown.mask, torch.zeros_like(shown.mask)], -1)})
    losses = [method.loss(method.batch(0)) for method in (make(variant, lakes, x, decay=0.8) for x in (shown, longer))]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=0)


@KINDS
@pytest.mark.parametrize("variant", ON_TILES)
def test_on_several_lakes_it_is_the_member_alone_on_its_own(variant, kind):
    lakes, shown = scene("slippery lakes")
    together = make(variant, lakes, shown, kind=kind)
    losses = together.loss(together.batch(0))
    for n in range(4):
        source = LakeSource(lakes[n // 2], shown[n : n + 1], None, None, ())
        alone = variant(source, together.policy.members([n]), together.options)
        torch.testing.assert_close(alone.loss(alone.batch(0))[0], losses[n], rtol=1e-10, atol=0)


@pytest.mark.parametrize("name", VARIANTS)
def test_many_lakes_in_training_are_each_lake_by_itself(name):
    """Two lakes, two seeds each, a few updates in float32: what is trained at once is what `train` makes of each."""
    lakes = lakes_of("firm lakes")
    shown, pairs = [demonstrations(lake) for lake in lakes], [preference_pairs(lake) for lake in lakes]
    base = make_base("mixture", lakes, policy="tabular", seeds=2, seed=5)
    alone = [copy.deepcopy(base).members([2 * i, 2 * i + 1]) for i in range(2)]
    found = train_lakes(VARIANTS[name], lakes, base, keep=(0, 6), demonstrations=shown, preferences=pairs)
    for i, lake in enumerate(lakes):
        run = train(VARIANTS[name], lake, alone[i], steps=6, snapshots=2, demonstrations=shown[i], preferences=pairs[i])
        np.testing.assert_allclose(found[:, i], run.policies, atol=1e-5)
    assert np.abs(found[1] - found[0]).max() > 1e-2


# ---- which tiles are mixed in ----

# Tiles 0 … 11 in rows of four; the goal is tile 11.
BOARD = TabularMDP.from_map(("SFFF", "FFFF", "FFFG"))
ACROSS, AROUND = (RIGHT, RIGHT, DOWN, DOWN, RIGHT), (DOWN, RIGHT, RIGHT, DOWN, RIGHT)


def told(lake, *answers):
    """Demonstrations [1, B, T] on firm ice: the actions of each answer from the start."""
    states, actions, mask = torch.zeros(3, 1, len(answers), max(map(len, answers)), dtype=torch.long)
    for row, answer in enumerate(answers):
        here = int(lake.start.argmax())
        for t, action in enumerate(answer):
            states[0, row, t], actions[0, row, t], mask[0, row, t] = here, action, 1
            here = int(lake.next_state[here, action, 0])
    nothing = torch.zeros(states.shape)
    return Trajectories(states, actions, mask.bool(), states, nothing, nothing.bool(), nothing.bool())


def thinking(method, favourites):
    """The method, its table all but certain of these actions on these tiles."""
    with torch.no_grad():
        for tile, action in favourites.items():
            method.policy.theta[:, tile] = 50.0 * torch.eye(4)[action]
    return method


def seen(method):
    """(answer, step) -> tiles that are mixed in there beside the true one, with what share of λ; of the first member."""
    shown, mixing = method.source.demonstrations, method.options.mixing
    weights = residual_embeddings(method.policy, shown.states, shown.mask, method.successor, mixing=mixing)[0].detach()
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(weights[..., 0]))
    found = {}
    for row, t in np.argwhere(shown.mask[0].numpy()).tolist():
        true = int(shown.states[0, row, t])
        others = {s: w / mixing for s, w in enumerate(weights[row, t].tolist()) if s != true and w}
        if others:
            found[row, t] = others
    return found


# What the model predicts on the tiles walked, and where that leads: 0 -> 4, 1 -> 0, 2 -> 3, 4 -> 0, 5 -> 4, 6 -> 5.
PREDICTED = {0: DOWN, 1: LEFT, 2: RIGHT, 4: UP, 5: LEFT, 6: LEFT}


@pytest.mark.parametrize("often", [1, 2])
def test_agreeing_mixes_where_the_data_shows_the_same_and_nowhere_else(often):
    """Across is shown once or twice, around once. Step by step, (tile shown there: action) <- tile predicted for it:

    across  (1: right) <- 4, shown right: mixed      (2: down) <- 0, shown right `often` times, down once: where that is equal
            (6: down) <- 3, never shown: not         (10: right) <- 5, shown right: mixed
    around  (4) <- 4: itself                         (5: right) <- 0, shown right no less than down: mixed
            (6: down) <- 4, shown right: not         (10: right) <- 5: mixed
    """
    shown = told(BOARD, AROUND, *[ACROSS] * often)
    method = thinking(make(AgreeingIFT, [BOARD], shown, mixing=0.3), PREDICTED)
    across = {1: 4, 4: 5} | ({2: 0} if often == 1 else {})
    expected = {(0, 2): {0: 1.0}, (0, 4): {5: 1.0}}
    expected |= {(1 + copied, t): {tile: 1.0} for copied in range(often) for t, tile in across.items()}
    assert {place: tiles.keys() for place, tiles in seen(method).items()} == {p: t.keys() for p, t in expected.items()}
    for place, tiles in seen(method).items():
        assert tiles == pytest.approx(expected[place])


def test_the_oracle_asks_the_best_policy_and_not_the_data():
    """On the grid all of that is right, down and right being equally good above and left of the goal: everything is mixed in.
    Who walks away from the goal shows LEFT twice, so a prediction that stays on the start agrees with the data; with the
    best policy it does not."""
    shown = told(BOARD, AROUND, ACROSS, ACROSS)
    found = seen(thinking(make(OracleIFT, [BOARD], shown, mixing=0.3), PREDICTED))
    expected = {(row, t): {tile} for row in (1, 2) for t, tile in {1: 4, 2: 0, 3: 3, 4: 5}.items()}
    assert {k: set(v) for k, v in found.items()} == expected | {(0, 2): {0}, (0, 3): {4}, (0, 4): {5}}
    away = TabularMDP.from_map(("FFSFG",))
    data, oracle = (thinking(make(v, [away], told(away, (LEFT, LEFT))), {2: UP}) for v in (AgreeingIFT, OracleIFT))
    assert {k: set(v) for k, v in seen(data).items()} == {(0, 1): {2}}
    assert seen(oracle) == {}


@SCENES
def test_agreeing_never_mixes_in_a_tile_that_was_not_shown(name):
    lakes, shown = scene(name)
    method = make(AgreeingIFT, lakes, shown, prediction="expected")
    weights = residual_embeddings(method.policy, shown.states, shown.mask, method.successor, mixing=0.3).detach()
    for n in range(method.policy.population):
        counts = Member(method, n).counts
        never = [s for s in range(16) if not sum(counts[s])]
        assert never and not weights[n][shown.mask[n % len(shown.mask)]][:, never].any()


def test_data_of_all_serves_states_of_each():
    """Members that share their data may still be asked about states member by member."""
    lakes, shown = scene("slippery")
    method = make(AgreeingIFT, lakes, shown)
    logits = method.policy(shown.states).detach()
    apart = method.successor(shown.states.expand(2, -1, -1), logits)
    assert torch.equal(apart, method.successor(shown.states, logits))


@pytest.mark.parametrize("prediction", ["greedy", "expected"])
@pytest.mark.parametrize("variant", [AgreeingIFT, OracleIFT])
def test_where_every_tile_agrees_it_is_ift(variant, prediction):
    """In a corridor right is shown, and is right, wherever a prediction may lead."""
    corridor = TabularMDP.from_map(("SFFFG",))
    ours, ift, sft = (
        make(kind, [corridor], told(corridor, [RIGHT] * 4), prediction=prediction, propagation="none", mixing=0.9)
        for kind in (variant, IFT, SFT)
    )
    losses = [method.loss(method.batch(0)) for method in (ours, ift, sft)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-12, atol=0)
    assert (losses[0] - losses[2]).abs().min() > 1e-3, "something is mixed"


@pytest.mark.parametrize("variant", [AgreeingIFT, OracleIFT])
def test_where_no_tile_agrees_nothing_is_mixed(variant):
    """Right, then down is shown. The model would have gone down at once, to where down is neither shown nor right."""
    corner = TabularMDP.from_map(("SF", "FG"))
    ours, ift, sft = (
        thinking(make(kind, [corner], told(corner, (RIGHT, DOWN)), propagation="none", mixing=0.9), {0: DOWN})
        for kind in (variant, IFT, SFT)
    )
    losses = [method.loss(method.batch(0)) for method in (ours, ift, sft)]
    torch.testing.assert_close(losses[0], losses[2], rtol=1e-12, atol=0)
    assert (losses[1] - losses[2]).abs().min() > 1e-3, "IFT mixes it in"


# ---- asking ----


def test_asking_asks_where_a_prediction_arrives_and_something_can_still_be_done():
    """A uniform policy predicts the first action, left. From tile 1 that leads into the hole, from 2 to tile 1, and from 3
    nothing follows. So of three steps one asks, about tile 1, where the human goes right: log 4 (1 + λ/3), and there
    (1 + λ)/3 times the gradient of one label, π - e_right; none on the hole."""
    corridor = TabularMDP.from_map(("HSFFG",))
    method = make(AskingIFT, [corridor], told(corridor, [RIGHT] * 3), mixing=0.4)
    with torch.no_grad():
        method.policy.theta.zero_()
    loss = method.loss(method.batch(0))
    torch.testing.assert_close(loss, torch.full((2,), log(4) * (1 + 0.4 / 3)).double(), rtol=1e-6, atol=0)
    expected = torch.zeros(2, 5, 4, dtype=torch.float64)
    expected[:, 1:4] = (0.25 - torch.eye(4)[RIGHT]) / 3
    expected[:, 1] *= 1.4
    torch.testing.assert_close(torch.autograd.grad(loss.sum(), method.policy.theta)[0], expected, rtol=1e-6, atol=1e-9)


def test_asking_asks_nothing_about_a_first_step():
    """Answers of one step, though the model's prediction leads to a tile where the human knows better."""
    pair = TabularMDP.from_map(("FSG",))
    ours, sft = (make(variant, [pair], told(pair, [RIGHT]), mixing=1.0) for variant in (AskingIFT, SFT))
    assert torch.equal(ours.loss(ours.batch(0)), sft.loss(sft.batch(0)))


# ---- mixtures of what is impossible ----


def test_a_mixture_of_impossible_predictions_costs_no_more_than_the_smallest_number():
    """In float32 e^-200 is 0, here and on the predicted tile: its logarithm is that of the smallest normal number."""
    corridor = TabularMDP.from_map(("SFFG",))
    method = make(MixtureIFT, [corridor], told(corridor, [RIGHT] * 3), propagation="none")
    method.policy.float()
    with torch.no_grad():
        method.policy.theta[:] = 200 * torch.eye(4)[LEFT]
    loss = method.loss(method.batch(0))
    torch.testing.assert_close(loss, torch.full((2,), -log(torch.finfo(torch.float32).tiny)))
    assert not torch.autograd.grad(loss.sum(), method.policy.theta)[0].isnan().any()


def test_asking_keeps_what_a_probability_of_nothing_costs():
    """In float32 e^-200 is 0, its logarithm minus infinity. 200 nats a step, and on the tiles predicted in two of three."""
    corridor = TabularMDP.from_map(("SFFG",))
    method = make(AskingIFT, [corridor], told(corridor, [RIGHT] * 3), mixing=1.0)
    method.policy.float()
    with torch.no_grad():
        method.policy.theta[:] = 200 * torch.eye(4)[LEFT]
    torch.testing.assert_close(method.loss(method.batch(0)), torch.full((2,), 200 * (1 + 2 / 3)))


# ---- weights that do not depend on place or length ----


def weights_of(nats, mask, variant=AverageIFT, **changes):
    """Each step's weight in an answer's loss: N times the derivative by what the step costs, the second pass being given."""
    nats, mask = torch.as_tensor(nats, dtype=torch.float64)[None], torch.as_tensor(mask)[None]
    states = torch.zeros(nats.shape, dtype=torch.long)
    shown = Trajectories(states, states, mask, states, nats, mask, mask)
    method = make(variant, [BOARD], shown, **changes)
    costs = nats.clone().requires_grad_()
    method.second_pass = lambda batch: -costs
    method.loss(shown).sum().backward()
    return (costs.grad * mask.sum(-1, keepdim=True) * nats.shape[1])[0]


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.95, 1.0])
def test_average_weighs_evenly_spread_losses_alike_whatever_their_place_and_number(decay):
    """IFT's own weights fall from step to step there, unless γ = 0."""
    mask = [[True] * 6, [True] * 2 + [False] * 4, [False, True, True, False, True, False]]
    counted = torch.tensor(mask)
    weights = weights_of(torch.full((3, 6), 0.7), mask, decay=decay)
    torch.testing.assert_close(weights, counted.double(), rtol=1e-12, atol=1e-14)
    released = weights_of(torch.full((3, 6), 0.7), mask, IFT, decay=decay, detach_weights=True)[0]
    assert (released[1:] < released[:-1]).all() == (decay > 0)


@pytest.mark.parametrize("decay", [0.3, 0.95, 1.0])
def test_average_weights_are_constant_positive_and_sum_to_the_steps(decay):
    """Were they not constant, their sum would not be the derivative's. A late step that is learnt much better than the early
    ones is un-learnt by IFT, whose derivative turns negative; not here. Of two steps: (l1 + γ l2) / (1 + γ) to l2."""
    nats, mask = [[2.0, 2.0, 0.01, 9.0], [0.3, 1.5, 9.0, 9.0]], [[True] * 3 + [False], [True] * 2 + [False] * 2]
    weights = weights_of(nats, mask, decay=decay)
    torch.testing.assert_close(weights.sum(-1), torch.tensor([3.0, 2.0]).double())
    assert (weights[torch.tensor(mask)] > 0).all() and not weights[~torch.tensor(mask)].any()
    first, second = (0.3 + decay * 1.5) / (1 + decay), 1.5
    assert weights[1, :2].tolist() == pytest.approx([2 * first / (first + second), 2 * second / (first + second)])
    assert weights_of(nats, mask, IFT, decay=decay)[0, 2] < 0


def test_average_weights_do_not_see_what_is_appended():
    nats, mask = torch.tensor([[0.4, 3.0, 1.1, 0.2]]), torch.tensor([[True, True, False, True]])
    longer = torch.cat([nats, torch.full((1, 5), 7.0)], -1), torch.cat([mask, torch.zeros(1, 5).bool()], -1)
    torch.testing.assert_close(weights_of(*longer)[:, :4], weights_of(nats, mask), rtol=1e-12, atol=0)


def test_average_of_what_is_certain_or_missing_is_zero():
    """An answer that costs nothing, and one of no steps: 0/0 in the weights, but neither in the loss nor in its gradient."""
    weights = weights_of([[0.0, 0.0], [1.0, 2.0]], [[True, True], [False, False]])
    assert weights[0].sum().item() == pytest.approx(2) and not weights[1].any()


# ---- what is known of a source, and names ----


@pytest.mark.parametrize("name", ["slippery", "firm lakes"])
def test_counts_and_best_actions_are_each_members_own(name):
    lakes, shown = scene(name)
    method = make(AgreeingIFT, lakes, shown)
    counts = demonstrated(method.source, 16, 4)
    best = best_actions(method.source, method.policy.population)
    for n in range(method.policy.population):
        member = Member(method, n)
        assert counts[n % len(counts)].tolist() == member.counts
        expected = is_best(member.lake) / is_best(member.lake).sum(-1, keepdims=True)
        np.testing.assert_allclose(best[n].numpy(), expected, rtol=1e-12)
    assert len(counts) == len(shown.states) and len(best) == method.policy.population


def test_who_needs_the_oracle_is_told(monkeypatch):
    """Exactly these have no loss where the optimal policy is not to be had."""

    def hidden(*_):
        raise LookupError

    monkeypatch.setattr(variants, "optimal_policy", hidden)
    lakes, shown = scene("firm")
    pairs, asked = [side[None] for side in preference_pairs(lakes[0])], []
    for name, variant in VARIANTS.items():
        method = make(variant, lakes, shown, pairs=pairs)
        try:
            assert torch.isfinite(method.loss(method.batch(0))).all()
        except LookupError:
            asked.append(name)
    assert sorted(asked) == sorted(NEEDS_THE_ORACLE)


@pytest.mark.parametrize("variant", VARIANTS.values())
@pytest.mark.parametrize("windows", [True, False])
def test_all_is_done_where_the_policy_is(variant, windows):
    """On the device that computes shapes alone, which takes no tensor of another. It finds no distinct windows; they are
    brought there."""
    lakes, shown = scene("slippery")
    pairs = [side[None].to("meta") for side in preference_pairs(lakes[0])]
    device, own = torch.device("meta"), Windows.of(*(x.expand(2, -1, -1) for x in (shown.states, shown.mask)))
    policy = make_base("random", lakes[0], seeds=2).to(device)
    method = variant(LakeSource(lakes[0], shown.to(device), *pairs, (), device), policy)
    method._windows = Windows(*(x.to(device) for x in vars(own).values()))
    method.windows = method._windows if windows else None
    loss = method.loss(method.batch(0))
    assert loss.is_meta and loss.shape == (2,)
    assert all(grad.is_meta for grad in torch.autograd.grad(loss.sum(), list(policy.parameters())))


@pytest.mark.parametrize("name", VARIANTS)
def test_on_a_large_lake_it_trains_or_says_that_it_cannot(name):
    mdp = TabularMDP.from_map(random_map(33, seed=0))
    base = make_base("mixture", mdp, policy="tabular")
    if name in ("ift_average", "ift_expected", "dpo_sft"):
        assert np.isfinite(train(find_method(name), mdp, base, steps=2, snapshots=2).loss).all()
    else:
        with pytest.raises(ValueError, match="the lake has 1089 states; variants that compare tiles take 1024 at most"):
            train(find_method(name), mdp, base, steps=2)


def test_the_largest_lake_that_variants_take_is_taken(monkeypatch):
    monkeypatch.setattr(variants, "ONE_HOT_STATES", 16)
    mdp = TabularMDP.from_map(LAKES["4x4"])
    assert np.isfinite(train(MixtureIFT, mdp, make_base("mixture", mdp, policy="tabular"), steps=1).loss).all()


def test_every_name_finds_its_method():
    """The published ones keep theirs; a variant's is that of its class."""
    assert all(find_method(name) is method for name, method in METHODS.items())
    assert not set(METHODS) & set(VARIANTS)
    named = {"DPOSFT": "dpo_sft"} | {kind.__name__: f"ift_{kind.__name__.removesuffix('IFT').lower()}" for kind in ON_TILES}
    assert {method.__name__: name for name, method in VARIANTS.items()} == named
    assert all(find_method(name) is method and issubclass(method, Method) for name, method in VARIANTS.items())


def test_an_unknown_name_is_refused_in_one_line_that_lists_the_known():
    with pytest.raises(ValueError) as error:
        find_method("ift_psychic")
    message = str(error.value)
    assert "\n" not in message and message.startswith("unknown method 'ift_psychic'; allowed: ")
    assert message.split("allowed: ")[1].split(", ") == [*METHODS, *VARIANTS]
    with pytest.raises(ValueError, match=r"^unknown method 'ift_agreing'; did you mean ift_agreeing\? allowed: "):
        find_method("ift_agreing")
