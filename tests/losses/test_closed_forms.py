"""What training arrives at, where theory knows the answer. Nothing is drawn: whole populations are summed, in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize, root
from scipy.special import expit, logit

from ift_gridworld.data import Batch, demonstrations, enumerate_trajectories, generators
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.log_probs import action_log_probs, masked_mean, masked_sum
from ift_gridworld.losses import (
    bradley_terry_loss,
    dpo_loss,
    group_relative_advantage,
    ift_loss,
    ipo_loss,
    kl_estimate,
    orpo_loss,
    ppo_clip_loss,
    sft_loss,
    simpo_loss,
    tdpo_loss,
)
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.optimisation import Adam
from ift_gridworld.planning import evaluate_policy, occupancy, soft_value_iteration, value_iteration
from ift_gridworld.policies.lake import TabularPolicy
from ift_gridworld.policies.residual import lake_successor, residual_embeddings

LAKE = TabularMDP.from_map(("SFG", "HFF"), discount=1.0)
# `train` may leave a Newton step of 1e-9 undone, and log-probs differ by at most twice as much as logits. `descend` leaves a
# slope of 1e-11; what it is used on here is curved by more than 1e-3.
TRAINED = 1e-8


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def close(actual, expected, atol=TRAINED):
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected), rtol=0, atol=atol)


def some_policy(mdp, seed=0):
    """A policy that is not uniform and leaves no action out."""
    return np.random.default_rng(seed).dirichlet(np.full(mdp.num_actions, 3.0), mdp.num_states)


def train(loss, start):
    """Minimise: BFGS, then Newton steps until one moves nothing by more than 1e-9. Where the loss is flat nothing moves."""

    def value_and_gradient(x):
        theta = tensor(x).reshape(start.shape).requires_grad_()
        value = loss(theta)
        (gradient,) = torch.autograd.grad(value, theta)
        return value.item(), gradient.numpy().ravel()

    x = minimize(value_and_gradient, start.numpy().ravel(), jac=True, method="BFGS", options={"gtol": 1e-8}).x
    for _ in range(6):
        theta = tensor(x).reshape(start.shape)
        curvature = torch.autograd.functional.hessian(loss, theta).reshape(len(x), len(x))
        step = torch.linalg.pinv(curvature, rtol=1e-8, hermitian=True).numpy() @ value_and_gradient(x)[1]
        x = x - step
        if np.abs(step).max() < 1e-9:
            return tensor(x).reshape(start.shape)
    raise AssertionError(f"training has not settled: a Newton step still moves a parameter by {np.abs(step).max():.1g}")


def descend(loss, theta, rate, *, slope=1e-11):
    """Plain gradient steps, in place, until no partial derivative exceeds `slope`: for what is no objective's gradient."""
    theta.requires_grad_()
    for _ in range(20_000):
        (gradient,) = torch.autograd.grad(loss(theta), theta)
        if gradient.abs().max() <= slope:
            return theta.detach()
        with torch.no_grad():
            theta -= rate * gradient
    raise AssertionError(f"training has not settled: a partial derivative is still {gradient.abs().max():.1g}")


def probabilities(theta):
    return torch.softmax(theta, -1).numpy()


def grid(pockets, slip=0.0):
    """A Galton grid: from each tile left (0) or right (1) into the row below, by mistake the other way. The last row is that
    of the pockets, which pay on arrival. Every walk ends after as many steps as there are rows, so nothing is cut off."""
    rows = len(pockets) - 1
    first = [row * (row + 1) // 2 for row in range(rows + 2)]  # of each row
    inner, states = first[rows], first[rows + 1]
    following = np.tile(np.arange(states)[:, None, None], (1, 2, 2))
    for row in range(rows):
        for tile in range(first[row], first[row + 1]):
            below = tile + row + 1
            following[tile] = [[below, below + 1], [below + 1, below]]
    chance = np.broadcast_to([1 - slip, slip], following.shape)
    paid = np.zeros(states)
    paid[inner:] = pockets
    reward = np.where(np.arange(states)[:, None, None] < inner, paid[following], 0.0)
    slots = 2 if slip else 1
    arrays = (following, chance, reward, following >= inner)
    return TabularMDP(*(array[..., :slots] for array in arrays), np.eye(states)[0], 1.0)


def both_sides(x):
    """[M] as the first and as the second of all ordered pairs, [M, M] each."""
    return x[:, None].expand(len(x), -1), x.expand(len(x), -1)


class Walks:
    """Every trajectory that ends within a horizon, and, given a policy, how likely it is among them.

    Attributes:
        walks: the trajectories, [M, T].
        visits: [M, S A], how often a trajectory takes an action on a tile: all that a table sees of it.
        returns: [M], undiscounted.
        weight: [M], sums to 1.
    """

    def __init__(self, mdp, policy, horizon):
        walks, chance = enumerate_trajectories(mdp, horizon)
        ended = walks.terminated.any(-1)
        walks = walks[ended]
        self.walks, self.returns = walks, walks.returns(1.0)
        self.visits = torch.zeros(len(self.returns), mdp.num_states * mdp.num_actions).double()
        self.visits.scatter_add_(1, walks.states * mdp.num_actions + walks.actions, walks.mask.double())
        self.base = self.sums(torch.as_tensor(policy).log())
        weight = chance[ended] * self.base.exp()
        self.weight = weight / weight.sum()

    def sums(self, table):
        """The sum of table[s, a] over each trajectory's steps."""
        return self.visits @ table.flatten()

    @property
    def preferred(self):
        """P(i is preferred to j), [M, M], by Bradley-Terry on returns."""
        return torch.sigmoid(self.returns[:, None] - self.returns)

    @property
    def pairs(self):
        """Weight of the pair in which i is chosen and j rejected."""
        return self.weight[:, None] * self.weight * self.preferred

    def preference(self, loss):
        """The population loss of a table of logits; `loss` compares (log pi, log ref) of the chosen and the rejected."""

        def of(theta):
            ours = both_sides(self.sums(torch.log_softmax(theta, -1)))
            return (self.pairs * loss(*ours, *both_sides(self.base))).sum()

        return of

    def reward_model(self, reward):
        """The population loss of a table r(s, a)."""
        return (self.pairs * bradley_terry_loss(*both_sides(self.sums(reward)))).sum()

    @property
    def doubt(self):
        """The entropy of the labels: what no loss of log-odds can fall below."""
        return (self.weight[:, None] * self.weight * torch.special.entr(self.preferred)).sum()


def regularised_return(mdp, policy, reference, beta):
    """E[R] - beta KL(pi || reference) from the start, KL summed over the walk."""
    price = beta * (policy * np.log(policy / reference)).sum(-1)
    return evaluate_policy(with_reward(mdp, mdp.expected_reward - price[:, None]), policy) @ mdp.start


def with_reward(mdp, reward):
    """The same MDP paid by a table r(s, a), and nothing where it has ended."""
    reward = np.where(mdp.terminal[:, None], 0.0, np.asarray(reward))
    return replace(mdp, reward=np.broadcast_to(reward[..., None], mdp.reward.shape))


# ---- imitation ----


def test_sft_arrives_at_the_empirical_conditional():
    """A row's steps share its weight, so a step counts 1 / N of its row's N; the loss ends at the entropy of what was shown,
    and tiles that nobody showed keep their logits, to the last bit."""
    random = np.random.default_rng(0)
    states, actions = random.integers(0, 4, (40, 6)), random.integers(0, 3, (40, 6))
    mask = random.random((40, 6)) < 0.7
    states[~mask] = 5  # tile 5 is seen only where it does not count, tile 4 nowhere
    weight = np.zeros((6, 3))
    np.add.at(weight, (states, actions), mask / mask.sum(-1, keepdims=True) / 40)
    shown = weight[:4] / weight[:4].sum(-1, keepdims=True)

    def loss(theta):
        return sft_loss(torch.log_softmax(theta, -1)[states, actions], torch.as_tensor(mask)).mean()

    start = tensor(random.normal(size=(6, 3)))
    theta = train(loss, start)
    close(torch.log_softmax(theta[:4], -1), np.log(shown))
    assert loss(theta).item() == pytest.approx(-(weight[:4] * np.log(shown)).sum(), rel=1e-13)
    assert torch.equal(theta[4:], start[4:])


# ---- IFT ----


def test_ift_learns_a_path_by_heart_and_then_mixes_nothing():
    """Once every prediction is right the residual connection is the identity, and each step has a tile of its own. L is
    homogeneous of degree one in the losses l, so sum_k l_k dL/dl_k = L: no stationary point lies above 0, weights that un-learn
    a late step or not."""
    mdp = TabularMDP.from_map(LAKES["two-paths"])
    shown = demonstrations(mdp)[None]
    policy = TabularPolicy(16, 4).initialise(generators(2, 1)).double()
    successor = lake_successor(mdp, policy.embed)
    adam, measured = Adam(policy.parameters(), 0.1), []

    def mixed():
        return residual_embeddings(policy, shown.states, shown.mask, successor, mixing=0.2)

    assert (mixed() != policy.embed(shown.states)).any(-1).sum() == 4, "all wrong; a first step has no prediction"
    for _ in range(800):
        logp = action_log_probs(policy.logits(mixed()), shown.actions)
        loss = ift_loss(logp, shown.mask).sum()
        measured.append(loss.item())
        loss.backward()
        adam.step()
    assert torch.equal(mixed(), policy.embed(shown.states))
    assert torch.equal(policy.theta[0, shown.states[0]].argmax(-1), shown.actions[0])
    assert ift_loss(3 * logp.detach(), shown.mask).item() == pytest.approx(3 * measured[-1], rel=1e-12)
    # The rate is Adam's and was measured: from 100 steps on each doubling of the time more than halves the loss.
    assert all(measured[2 * t - 1] < measured[t - 1] / 2 for t in (100, 200, 400)) and measured[-1] < 1e-3


CROSSING = TabularMDP(  # from 0 actions 0 and 2 lead to 1, action 1 to 2; from there every action to the end, 3
    np.array([[1, 2, 1], [3, 3, 3], [3, 3, 3], [3, 3, 3]])[..., None],
    np.ones((4, 3, 1)),
    np.zeros((4, 3, 1)),
    np.array([[False] * 3, [True] * 3, [True] * 3, [True] * 3])[..., None],
    np.eye(4)[0],
)


@pytest.mark.parametrize("mixing", [0.2, 0.5])
@pytest.mark.parametrize(("prediction", "led"), [("greedy", (1, 0)), ("expected", (0.75, 0.25))])
def test_mixing_exaggerates_how_neighbours_differ(prediction, led, mixing):
    """At a crossing (0) the human goes to tile 1 three times in four, else to tile 2, and acts there with frequencies p_1 and
    p_2. Let w be where the prediction made at 0 leads: all of it to 1, or, "expected", the human's own 3/4 and 1/4, which row
    0 has learnt, as nothing is mixed there and the first pass has no gradient. With q the second pass's policies, the logits
    of X mixed to (1 - lambda) Theta[X] + lambda sum_Y w_Y Theta[Y], and n the human's visits,

        dL/dTheta[X] = (1 - lambda) n_X (q_X - p_X) + lambda w_X sum_Y n_Y (q_Y - p_Y) = 0

    for both X: their sum says sum_Y n_Y (q_Y - p_Y) = 0, and so q = p. The linear system for Theta has the solution

        Theta[X] = (log p_X - lambda sum_Y w_Y log p_Y) / (1 - lambda) + constant.

    So the second pass sees exactly the data, and the policy itself overshoots it, away from where the model thinks it is: for
    the greedy prediction pi(.|2) ~ p_2^(1/(1-lambda)) p_1^(-lambda/(1-lambda)). With lambda = 1/2 that is p_2² / p_1,
    (2, 3, 24) / 29, where SFT arrives at p_2 = (1, 1, 2) / 4."""
    human = np.array([[8, 4, 4], [6, 4, 2], [1, 1, 2]])
    first = np.repeat([0, 2, 1], human[0, [0, 2, 1]])  # the ways to tile 1, then that to tile 2
    second = np.concatenate([np.repeat(range(3), row) for row in human[1:]])
    actions = torch.as_tensor(np.stack([first, second], -1))[None]
    states = torch.as_tensor(np.stack([0 * first, CROSSING.next_state[0, first, 0]], -1))[None]
    shown = Batch(states, actions, torch.ones_like(states, dtype=torch.bool))
    options = IFTOptions(mixing=mixing, propagation="none", prediction=prediction)
    ift = METHODS["ift"](LakeSource(CROSSING, shown, None, None, generators(0, 1)), TabularPolicy(4, 3).double(), options)
    theta = descend(lambda _: ift.loss(shown).sum(), ift.policy.theta, 2.0)[0]

    log_p = np.log(human / human.sum(-1, keepdims=True))
    close(torch.log_softmax(theta[0], -1), log_p[0])
    overshot = torch.log_softmax(tensor((log_p[1:] - mixing * np.array(led) @ log_p[1:]) / (1 - mixing)), -1)
    close(torch.log_softmax(theta[1:3], -1), overshot)
    seen = (1 - mixing) * theta[1:3] + mixing * tensor(led) @ theta[1:3]
    close(torch.log_softmax(seen, -1), log_p[1:])


def two_steps(counts):
    """Rows (a_0 on tile 0, a_1 on tile 1) as often as counts[a_0, a_1] says, and IFT's loss of them without mixing."""
    actions = torch.as_tensor(np.repeat(np.argwhere(counts >= 0), np.ravel(counts), axis=0))
    mask = torch.ones_like(actions, dtype=torch.bool)

    def loss(theta, **options):
        return ift_loss(torch.log_softmax(theta, -1)[torch.arange(2), actions], mask, **options).mean()

    return loss


@pytest.mark.parametrize("decay", [0.5, 0.95, 1.0])
@pytest.mark.parametrize("ways", [2, 3])
def test_released_weights_give_up_a_step_that_the_data_never_doubts(ways, decay):
    """A first step that goes each of K ways equally often, a second that always takes action 0. With l = log K for the first
    and z l for the second a row's loss is L = l (1 + decay z + z²) / (1 + (1 + decay) z), least where (1 + decay) z² + 2 z = 1:

        z = (sqrt(2 + decay) - 1) / (1 + decay), 0.368 for the default: p(the certain action) = K^-z, 0.775 for K = 2.

    SFT, and weights that are held constant, take it with certainty."""
    counts = np.zeros((ways, ways), int)
    counts[:, 0] = 1
    loss = two_steps(counts)
    start = tensor(np.random.default_rng(0).normal(size=(2, ways)))
    policy = probabilities(train(lambda theta: loss(theta, decay=decay), start))
    z = (np.sqrt(2 + decay) - 1) / (1 + decay)
    close(policy[0], np.full(ways, 1 / ways))
    close(policy[1, 0], ways**-z)
    for options in ({"propagation": "none"}, {"decay": decay, "detach_weights": True}):
        rising = probabilities(descend(lambda x, o=options: loss(x, **o), start.clone(), 2.0, slope=1e-3))
        close(rising[0], np.full(ways, 1 / ways), atol=3e-3)  # the slope there is half the difference, or more
        assert rising[1, 0] > 0.96, "ever more slowly, without end"


@pytest.mark.parametrize("detached", [False, True])
def test_released_weights_bend_frequencies(detached):
    """Two steps in dispute: rows (a_0, a_1) 9, 3, 2 and 2 times. SFT arrives at 0.75 and 11/16 = 0.6875 for action 0; the
    released weights at 0.689 and 0.633, or 0.715 and 0.653 where they are held. Found here a second time as the root of the
    gradient as it is documented, dL/dl_k = (u_k + sum_{t <= k} decay^(k-t) (l_t - L)) / U, or u_k / U with weights held, in
    two unknown log-odds: a loss l = -log p has dl/dz = p - 1 where action 0 was taken, p where not."""
    counts, decay = np.array([[9, 3], [2, 2]]), 0.95
    loss = two_steps(counts)
    theta = descend(lambda x: loss(x, decay=decay, detach_weights=detached), torch.zeros(2, 2).double(), 2.0)

    def field(z):
        p, total = expit(z), np.zeros(2)
        for taken, count in np.ndenumerate(counts):
            l0, l1 = (-np.log(q if a == 0 else 1 - q) for q, a in zip(p, taken, strict=True))
            u = np.array([l0 + decay * l1, l1])
            value = (u[0] * l0 + u[1] * l1) / u.sum()
            slope = u if detached else u + [l0 - value, decay * (l0 - value) + l1 - value]
            total += count * slope / u.sum() * (p - (np.array(taken) == 0))
        return total

    expected = expit(root(field, logit([0.75, 11 / 16]), tol=1e-12).x)
    close(probabilities(theta)[:, 0], expected)
    close(expected, [0.715, 0.653] if detached else [0.689, 0.633], atol=5e-4)


# ---- preferences ----


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_population_dpo_trains_to_the_rlhf_optimum(beta):
    """On firm ice beta log(pi* / ref) = Q(s, a) - V(s) = r + V(s') - V(s) telescopes to R - V(start), so that pi* gives every
    pair exactly its label's log-odds: each pair's loss is at its minimum, the labels' entropy.

    Nothing else does. The log-ratio f of two policies that do adds up to one constant over each ended walk. Here the shortest
    way to a tile, any action there and the shortest way to an end take five steps at most, so f(s, a) = g(s') - g(s) with one
    g at all ends; then exp g is harmonic, exp g(s) = sum_a pi(a|s) exp g(s'), hence constant, as walks end: f = 0."""
    reference = some_policy(LAKE)
    walks = Walks(LAKE, reference, horizon=5)
    loss = walks.preference(lambda *pair: dpo_loss(*pair, beta=beta))
    theta = train(loss, tensor(np.log(reference)))
    optimum = soft_value_iteration(LAKE, reference, beta)[1]
    assert np.abs(optimum - reference).max() > 0.05
    close(torch.log_softmax(theta, -1), np.log(optimum))
    assert loss(theta).item() == pytest.approx(walks.doubt.item(), rel=1e-13)


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_a_reward_model_and_the_soft_optimum_of_what_it_learnt(beta):
    """On firm ice Bradley-Terry knows a table r(s, a) up to what no return can tell: r + g(s') - g(s), with one g at all ends,
    which shifts every return by one constant (of longer walks than it was shown, too) and leaves the soft optimum alone."""
    reference = some_policy(LAKE)
    reward = train(Walks(LAKE, reference, horizon=5).reward_model, torch.zeros(6, 4).double())
    longer = Walks(LAKE, reference, horizon=7)
    shift = longer.sums(reward) - longer.returns
    close(shift, np.full(len(shift), shift[0]))
    assert np.abs(reward.numpy() - LAKE.expected_reward)[~LAKE.terminal].max() > 0.1, "it is not the true table"
    learnt, true = (soft_value_iteration(mdp, reference, beta)[1] for mdp in (with_reward(LAKE, reward), LAKE))
    close(np.log(learnt), np.log(true), atol=10 * TRAINED / beta)  # a sum of a few rewards, over beta


@pytest.mark.parametrize("slip", [0.0, 0.3])
def test_chance_is_mistaken_for_doubt(slip):
    """One throw, left or right; left pays R = 3 if nothing slips, and so does right if it does. What is E[R] to the human is
    P(preferred) to the model: a pair is labelled by sigmoid of R, 0 or -R, on average by 1/2 + (1 - 2 slip) tanh(R/2) / 2, so
    that both the learnt reward and beta log(pi / ref) of DPO set left above right by

        2 artanh((1 - 2 slip) tanh(R / 2)) = 0.759 for slip 0.3, where the soft optimum has (1 - 2 slip) R = 1.2."""
    mdp = grid((3.0, 0.0), slip)
    reference, beta = some_policy(mdp), 0.7
    walks = Walks(mdp, reference, horizon=1)
    expected = 2 * np.arctanh((1 - 2 * slip) * np.tanh(1.5))
    reward = train(walks.reward_model, torch.zeros(3, 2).double())
    theta = train(walks.preference(lambda *pair: dpo_loss(*pair, beta=beta)), tensor(np.log(reference)))
    close(reward[0, 0] - reward[0, 1], expected)
    optimum = soft_value_iteration(mdp, reference, beta)[1]
    for policy, margin in ((probabilities(theta), expected), (optimum, (1 - 2 * slip) * 3.0)):
        ratio = beta * np.log(policy / reference)[0]
        close(ratio[0] - ratio[1], margin)


@pytest.mark.parametrize(("slip", "forgone"), [(0.0, (0.0, 0.0)), (0.2, (0.504, 0.057))])
def test_dpo_and_rlhf_part_where_ice_slips(slip, forgone):
    """Three rows, pockets that pay 3, 0, 0 and 1, beta = 0.3. With slip, V(s') - E V(s') does not cancel between walks: the
    RLHF optimum is no stationary point of population DPO (gradient 0.008, against 1e-16 without slip). Of E[R] - beta KL =
    0.844 at the optimum and 0.296 at the reference, DPO ends at 0.568: it forgoes 50.4 % of the gain; the soft optimum of a
    reward r(s, a) learnt from the same pairs, at 0.813, 5.7 %. (The zeros are theory, the shares were measured here.)"""
    mdp, beta = grid((3.0, 0.0, 0.0, 1.0), slip), 0.3
    reference = some_policy(mdp)
    walks = Walks(mdp, reference, horizon=3)
    loss = walks.preference(lambda *pair: dpo_loss(*pair, beta=beta))
    optimum = soft_value_iteration(mdp, reference, beta)[1]
    there = tensor(np.log(optimum)).requires_grad_()
    slope = torch.autograd.grad(loss(there), there)[0].abs().max()
    assert slope > 5e-3 if slip else slope < 1e-12  # the optimum is known to 1e-13 / beta

    dpo = probabilities(train(loss, tensor(np.log(reference))))
    reward = train(walks.reward_model, torch.zeros(mdp.num_states, 2).double())
    rlhf = soft_value_iteration(with_reward(mdp, reward), reference, beta)[1]
    best, worst, *reached = (regularised_return(mdp, policy, reference, beta) for policy in (optimum, reference, dpo, rlhf))
    shares = [(best - value) / (best - worst) for value in reached]
    close(shares, forgone, atol=5e-4 if slip else 1e-12)


DISPUTED, BETA, BASE = 0.8, 0.5, np.array([0.6, 0.4])


def odds_after(condition):
    return brentq(condition, -20, 20, xtol=1e-14)


def simpo_odds(beta, gamma):
    g, d = np.exp(gamma), 2 * DISPUTED - 1
    return np.log((g * d + np.sqrt((g * d) ** 2 + 1 - d**2)) / (2 * (1 - DISPUTED))) / beta


ONE_QUESTION = {  # share that prefers answer 0, loss of (c, r, ref_c, ref_r, kl), log-odds that it arrives at
    "dpo": (DISPUTED, lambda *x: dpo_loss(*x[:4], beta=BETA), logit(BASE[0]) + logit(DISPUTED) / BETA),
    "dpo smoothed": (
        1.0,
        lambda *x: dpo_loss(*x[:4], beta=BETA, label_smoothing=1 - DISPUTED),
        logit(BASE[0]) + logit(DISPUTED) / BETA,
    ),
    "ipo": (DISPUTED, lambda *x: ipo_loss(*x[:4], beta=BETA), logit(BASE[0]) + (2 * DISPUTED - 1) / (2 * BETA)),
    "ipo undisputed": (1.0, lambda *x: ipo_loss(*x[:4], beta=BETA), logit(BASE[0]) + 1 / (2 * BETA)),
    "simpo": (DISPUTED, lambda *x: simpo_loss(*x[:2], beta=2.0, gamma=1.6), simpo_odds(2.0, 1.6)),
    "simpo without margin": (DISPUTED, lambda *x: simpo_loss(*x[:2], beta=2.0, gamma=0.0), logit(DISPUTED) / 2.0),
    "orpo": (
        DISPUTED,
        lambda *x: orpo_loss(*x[:2], beta=BETA),
        odds_after(lambda z: expit(z) - DISPUTED + 2 * BETA * (expit(2 * z) - DISPUTED)),
    ),
    "tdpo1": (
        DISPUTED,
        lambda c, r, cc, rr, kl: tdpo_loss(c - cc, r - rr, kl, kl, beta=BETA, version=1),
        logit(BASE[0]) + logit(DISPUTED) / BETA,
    ),
    "tdpo2": (
        DISPUTED,
        lambda c, r, cc, rr, kl: tdpo_loss(c - cc, r - rr, kl, kl, beta=BETA, alpha=0.9),
        odds_after(lambda z: logit(DISPUTED) - BETA * (z - logit(BASE[0])) - 2 * np.arctanh(0.9 * (expit(z) - BASE[0]))),
    ),
}


@pytest.mark.parametrize(("share", "loss", "expected"), ONE_QUESTION.values(), ids=ONE_QUESTION)
def test_one_question_with_two_answers(share, loss, expected):
    """Of which a share p prefers the first: the log-odds z at which p L(0 over 1) + (1 - p) L(1 over 0) comes to rest.

    - DPO: beta (z - z_ref) = logit p, for a share 1 - p of wrong labels that smoothing allows for just as well. TDPO1 too: both
      answers start on one tile, its KL cancels.
    - IPO: z - z_ref = (2 p - 1) / (2 beta), finite for p = 1.
    - SimPO, u = e^(beta z), g = e^gamma: (1 - p) u² - (2 p - 1) g u - p = 0; without a margin beta z = logit p, with one more.
    - ORPO, as log odds(x) - log odds(1 - x) = 2 z: sigma(z) - p + 2 beta (sigma(2 z) - p) = 0, between SFT's logit p and half
      of it.
    - TDPO2: the KL cancels in value, but where it is the chosen one's it has no gradient; what is left pulls to the reference:
      beta (z - z_ref) = logit p - 2 artanh(alpha (sigma(z) - ref)). No objective's gradient, hence plain steps."""
    base = tensor(np.log(BASE))

    def population(theta):
        logp = torch.log_softmax(theta, -1)
        kl = (base.exp() * (base - logp)).sum().expand(2)
        return (tensor([share, 1 - share]) * loss(logp, logp.flip(0), base, base.flip(0), kl)).sum()

    theta = descend(population, tensor([0.3, 0.0]), 0.4)
    close(theta[0] - theta[1], expected)


def test_ipo_arrives_at_the_soft_optimum_of_win_rates():
    """The least squares of h_i - h_j to (2 p_ij - 1) / (2 beta), h = log pi / ref, over all weighted pairs are solved by h_i =
    sum_j w_j p_ij / beta + constant: pi ~ ref exp(P(i wins against the reference) / beta). Where walks are paid at the end
    alone, a table can be that: the soft optimum for a reward of win rates in place of returns."""
    mdp, beta = grid((3.0, 0.0, 0.0, 1.0)), 0.2
    reference = some_policy(mdp)
    walks = Walks(mdp, reference, horizon=3)
    theta = train(walks.preference(lambda *pair: ipo_loss(*pair, beta=beta)), tensor(np.log(reference)))
    rates = walks.preferred @ walks.weight
    paid = np.zeros(mdp.num_states)
    paid[walks.walks.next_states[:, -1]] = rates
    wins = with_reward(mdp, paid[mdp.next_state[..., 0]])
    close(torch.log_softmax(theta, -1), np.log(soft_value_iteration(wins, reference, beta)[1]))


def test_online_dpo_arrives_between_the_human_and_the_reference():
    """Chosen from the human h, rejected from the policy itself, labels never doubted. Downhill on log pi_k is beta times
    sum_r [h_k pi_r s(r, k) - pi_k h_r s(k, r)], s(r, k) = sigma(beta (d_r - d_k)), d = log pi / ref. As s(r, k) / s(k, r) =
    e^(beta (d_r - d_k)), each bracket is 0 where (h / pi)_k (pi / ref)_k^-beta is one for all k:

        pi^(1 + beta) ~ h ref^beta,    the RLHF optimum for a reward of log h / ref at the price 1 + beta.

    So the online form does not run away; it stops short of the human by what the reference weighs."""
    mdp, beta = grid((0.0, 0.0, 0.0, 0.0)), 0.4
    reference, human = some_policy(mdp), some_policy(mdp, seed=1)
    walks = Walks(mdp, reference, horizon=3)
    chosen = walks.sums(torch.as_tensor(human).log()).exp()
    assert chosen.sum() == pytest.approx(1)

    def loss(theta):
        ours = walks.sums(torch.log_softmax(theta, -1))
        weight = chosen[:, None] * ours.detach().exp()
        return (weight * dpo_loss(*both_sides(ours), *both_sides(walks.base), beta=beta)).sum()

    theta = descend(loss, tensor(np.log(reference)), 4.0)
    optimum = soft_value_iteration(with_reward(mdp, np.log(human / reference)), reference, 1 + beta)[1]
    close(torch.log_softmax(theta, -1), np.log(optimum))


# ---- RLHF: PPO and GRPO with exact advantages ----


def ppo(mdp, start, *, settled, decay=1.0, beta=0.0):
    """PPO without sampling or a critic: per iteration exact advantages and visits of the policy as it is, four steps of Adam on
    the clipped surrogate. With beta, each step pays beta times k1 against the start. Until no advantage is above `settled`
    (with a price: none further from 0). Returns policy and values of the last iteration."""
    theta = start.clone().requires_grad_()
    adam, every = Adam([theta], 0.1), torch.ones(start.shape, dtype=torch.bool)
    on = mdp.scatter(mdp.probability * ~mdp.terminated)
    reference = torch.log_softmax(start, -1)
    for _ in range(1000):
        old = torch.log_softmax(theta.detach(), -1)
        policy = old.exp().numpy()
        paid = with_reward(mdp, mdp.expected_reward - beta * kl_estimate(old, reference, kind="k1").numpy())
        value = evaluate_policy(paid, policy)
        advantage = torch.as_tensor(paid.expected_reward + mdp.discount * on @ value - value[:, None])
        if (advantage.abs() if beta else advantage).max() < settled:
            return policy, value
        weight = torch.as_tensor(occupancy(mdp, policy)[:, None] * policy)
        for _ in range(4):
            (weight * ppo_clip_loss(torch.log_softmax(theta, -1), old, advantage, every)).sum().backward()
            adam.step()
        adam.learning_rate *= decay
    raise AssertionError(f"an advantage of {advantage.abs().max():.1g} is left")


def test_ppo_arrives_at_the_optimal_value():
    """A policy to which no action anywhere is an improvement by more than delta has, everywhere, V* - V <= delta / (1 - gamma):
    5e-4 here, of 0.542 at the start."""
    mdp, delta = TabularMDP.from_map(LAKES["4x4"], is_slippery=True), 5e-6
    _, value = ppo(mdp, torch.zeros(16, 4).double(), settled=delta)
    gap = value_iteration(mdp)[0] - value
    assert gap.max() <= delta / (1 - mdp.discount)
    assert gap.min() > -1e-11, "nothing is better than optimal"


def test_ppo_with_a_price_of_kl_arrives_at_the_soft_optimum():
    """The price's own gradient is -beta E[grad log pi] = 0, so taking k1 as a reward is exact. If all advantages A = Q - V -
    beta log(pi / ref) are within delta, one soft Bellman step moves V by at most delta, so |V* - V| <= delta / (1 - gamma), and
    beta |log pi - log pi*| = |A - (Q - Q*) + (V - V*)| <= 2 delta / (1 - gamma)."""
    mdp, beta, delta = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, discount=0.9), 0.1, 1e-9
    reference = some_policy(mdp)
    policy, value = ppo(mdp, tensor(np.log(reference)), settled=delta, decay=0.99, beta=beta)
    best, optimum = soft_value_iteration(mdp, reference, beta)
    bound = 1.01 * delta / (1 - mdp.discount)  # 1 % for what soft_value_iteration leaves, changes of 1e-13
    close(value, best, atol=bound)
    close(np.log(policy), np.log(optimum), atol=2 * bound / beta)
    assert np.abs(policy - reference).max() > 0.15


def group_gradient(size, discount=1.0, reduce=masked_sum, **options):
    """On a lake with a clock of three steps: the expectation of GRPO's gradient (uphill) over all groups of `size` walks that a
    policy draws, and the policy gradient."""
    mdp = TabularMDP.from_map(("SF", "HG"))
    walks, chance = enumerate_trajectories(mdp, 3)
    reward = walks.returns(discount)
    theta = tensor(np.log(some_policy(mdp))).requires_grad_()
    logp = torch.log_softmax(theta, -1)[walks.states, walks.actions]
    drawn = chance * masked_sum(logp, walks.mask).exp()
    groups = torch.cartesian_prod(*[torch.arange(len(reward))] * size)
    advantage = group_relative_advantage(reward[groups], **options)
    mask = walks.mask[groups]
    surrogate = ppo_clip_loss(logp[groups], logp[groups].detach(), advantage[..., None].expand(mask.shape), mask)
    loss = (drawn.detach()[groups].prod(-1) * reduce(surrogate, mask).mean(-1)).sum()
    return -torch.autograd.grad(loss, theta, retain_graph=True)[0], torch.autograd.grad((drawn * reward).sum(), theta)[0]


def degrees(one, other):
    return np.degrees(np.arccos(((one * other).sum() / one.norm() / other.norm()).item()))


@pytest.mark.parametrize("size", [2, 3])
def test_expected_grpo_is_the_policy_gradient_where_the_deviation_is_shared(size):
    """Each walk is compared with a mean that it is itself a part of, 1/G of it: unscaled, E[gradient] = (1 - 1/G) grad E[R].
    With returns 0 and 1 every group of two or three that disagrees has the same deviation, sqrt(1/G), and scaling divides by
    it. With returns of many sizes scaling turns the gradient (here by 5 degrees), and averaging an episode's steps before
    episodes always does (here by 16)."""
    plain, true = group_gradient(size, scale=False)
    close(plain, (1 - 1 / size) * true, atol=1e-14)
    scaled, true = group_gradient(size, epsilon=1e-3)
    close(scaled, (1 - 1 / size) / (size**-0.5 + 1e-3) * true, atol=1e-14)
    assert degrees(*group_gradient(size, discount=0.2)) > 4.5
    assert degrees(*group_gradient(size, reduce=masked_mean, scale=False)) > 15


def test_a_group_of_everybody_knows_the_mean():
    """Every walk as often as a uniform policy takes it, 4^(T - t) times if it ends after t of T steps: A = R - E[R]."""
    walks, chance = enumerate_trajectories(LAKE, 4)
    drawn = chance * 0.25 ** walks.mask.sum(-1)
    copies = (4 ** (4 - walks.mask.sum(-1))).long()
    everybody = walks.returns(1.0).repeat_interleave(copies)
    assert len(everybody) == 4**4
    close(group_relative_advantage(everybody, scale=False), everybody - (drawn * walks.returns(1.0)).sum(), atol=1e-15)


def test_gradients_of_kl_estimates_are_not_those_of_what_they_estimate():
    """k1 and k3 are KL(pi || ref) in expectation, k2 is not. But a sample is held fixed when its estimate is differentiated.
    In expectation over pi the gradients are

        k1: E[grad log pi] = 0,    k2: E[log(pi / ref) grad log pi] = grad KL(pi || ref),
        k3: E[(1 - ref / pi) grad log pi] = -sum ref grad log pi = grad KL(ref || pi).

    So as a term of a loss k1 does nothing and k3 (GRPO's) is the other KL; only k2 is the price that its name says."""
    theta = tensor([0.3, -1.0, 0.8, 0.1]).requires_grad_()
    logp, reference = torch.log_softmax(theta, -1), tensor(np.log([0.4, 0.3, 0.2, 0.1]))
    policy = logp.exp()
    kl, other = (policy * (logp - reference)).sum(), (reference.exp() * (reference - logp)).sum()
    expected = {"k1": torch.zeros(4), "k2": torch.autograd.grad(kl, theta, retain_graph=True)[0]}
    expected["k3"] = torch.autograd.grad(other, theta, retain_graph=True)[0]
    for kind, gradient in expected.items():
        sampled = (policy.detach() * kl_estimate(logp, reference, kind=kind)).sum()
        close(torch.autograd.grad(sampled, theta, retain_graph=True)[0], gradient, atol=1e-15)
    assert (expected["k2"] - expected["k3"]).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["k2", "k3"])
def test_what_grpo_arrives_at_depends_on_the_estimator(kind):
    """One throw with rewards r, drawn anew at every update. k2 arrives at the soft optimum ref exp(r / beta). k3 rests where
    pi_a (r_a - mean r) = beta (pi_a - ref_a), that is at pi_a = beta ref_a / (beta + mean r - r_a): probabilities fall like the
    inverse of what a reward lacks, not exponentially."""
    reward, beta, reference = np.array([1.0, 0.0, 0.3]), 0.3, np.array([0.2, 0.5, 0.3])
    base, every = tensor(np.log(reference)), torch.ones(3, dtype=torch.bool)

    def loss(theta):
        logp = torch.log_softmax(theta, -1)
        old = logp.detach()
        advantage = tensor(reward) - (old.exp() * tensor(reward)).sum()
        return (old.exp() * (ppo_clip_loss(logp, old, advantage, every) + beta * kl_estimate(logp, base, kind=kind))).sum()

    def rest(mean):
        return beta * reference / (beta + mean - reward)

    soft = reference * np.exp(reward / beta)
    mean = brentq(lambda x: rest(x).sum() - 1, reward.max() - beta + 1e-9, reward.max(), xtol=1e-14)
    assert rest(mean) @ reward == pytest.approx(mean, rel=1e-12), "the root is the mean reward, as it must be"
    expected = {"k2": soft / soft.sum(), "k3": rest(mean)}
    close(probabilities(descend(loss, base.clone(), 2.0)), expected[kind])
    assert np.abs(expected["k2"] - expected["k3"]).max() > 0.05
