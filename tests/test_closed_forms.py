"""What training arrives at, where theory knows the answer. Nothing is drawn: whole populations are summed, in float64."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import brentq, minimize, root
from scipy.special import expit, logit

from ift_gridworld.envs import LAKES
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
from ift_gridworld.methods import Adam
from ift_gridworld.planning import evaluate_policy, occupancy, soft_value_iteration, value_iteration
from ift_gridworld.policies import TabularPolicy
from ift_gridworld.residual import lake_successor, residual_embeddings
from ift_gridworld.trajectories import demonstrations, enumerate_trajectories, generators

LAKE = TabularMDP.from_map(("SFG", "HFF"), discount=1.0)
# A Newton step of 1e-9 is what `train` may leave undone; log-probs differ by at most twice as much as logits.
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


def descend(loss, start, rate, *, slope=1e-11, most=20_000):
    """Plain gradient steps, for what is no objective's gradient, until no partial derivative exceeds `slope`."""
    theta = start.clone().requires_grad_()
    for _ in range(most):
        (gradient,) = torch.autograd.grad(loss(theta), theta)
        if gradient.abs().max() <= slope:
            return theta.detach()
        with torch.no_grad():
            theta -= rate * gradient
    raise AssertionError(f"after {most} steps a partial derivative is still {gradient.abs().max():.1g}")


def probabilities(theta):
    return torch.softmax(theta, -1).numpy()


def board(pockets, slip=0.0):
    """A Galton board: from each tile left (0) or right (1) into the row below, by mistake the other way. The last row is that
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
    price = beta * np.where(policy > 0, policy * np.log(policy / reference), 0).sum(-1)
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
    assert loss(theta).item() == pytest.approx(-(weight[:4] * np.log(shown)).sum(), rel=1e-14)
    assert torch.equal(theta[4:], start[4:])


# ---- IFT ----


def test_ift_learns_a_path_by_heart_and_then_mixes_nothing():
    """L is homogeneous of degree one in the losses l, so sum_k l_k dL/dl_k = L: where each step has a tile of its own, no
    stationary point lies above 0. Once every prediction is right the residual connection is the identity."""
    mdp = TabularMDP.from_map(LAKES["two-paths"])
    shown = demonstrations(mdp)
    policy = TabularPolicy(16, 4).initialise(generators(2, 1)).double()
    successor = lake_successor(mdp, policy.embed)
    adam, measured = Adam(policy.parameters(), 0.1), []

    def mixed():
        return residual_embeddings(policy, shown.states[None], shown.mask[None], successor, mixing=0.2)

    true = policy.embed(shown.states[None])
    assert (mixed() != true).any(-1).sum() >= 3, "it is wrong at first"
    for _ in range(1600):
        loss = ift_loss(action_log_probs(policy.logits(mixed()), shown.actions[None]), shown.mask[None]).sum()
        measured.append(loss.item())
        loss.backward()
        adam.step()
    assert torch.equal(mixed(), true)
    assert torch.equal(policy.theta[0, shown.states[0]].argmax(-1), shown.actions[0])
    # Adam's logits grow by less and less, the loss falls like a power of time: each doubling divides it by more than two.
    print([measured[t-1] for t in (1,50,100,200,400,800,1600)])
    assert all(measured[2 * t - 1] < measured[t - 1] / 2 for t in (200, 400, 800)) and measured[-1] < 1e-3


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

    So the policy overshoots the data, away from where the model thinks it is: pi(.|2) ~ p_2^(1/(1-lambda)) p_1^(-lambda/
    (1-lambda)) for the greedy prediction, where SFT arrives at p_2."""
    human = np.array([[8, 4, 4], [6, 4, 2], [1, 1, 2]])
    assert human[0, [0, 2]].sum() == human[1].sum() and human[0, 1] == human[2].sum()
    ways = [np.repeat([0, 2], human[0, [0, 2]]), np.repeat([1], human[0, 1])]
    first, second = np.concatenate(ways), np.concatenate([np.repeat(range(3), row) for row in human[1:]])
    actions = torch.as_tensor(np.stack([first, second], -1))[None]
    states = torch.as_tensor(np.stack([0 * first, CROSSING.next_state[0, first, 0]], -1))[None]
    mask = torch.ones_like(states, dtype=torch.bool)
    policy = TabularPolicy(4, 3).double()

    def loss(theta):
        policy.theta.data = theta.detach()[None]
        successor = lake_successor(CROSSING, policy.embed, prediction=prediction)
        mixed = residual_embeddings(policy, states, mask, successor, mixing=mixing)
        logp = action_log_probs(mixed @ theta, actions)  # `policy.logits`, but of the tensor to differentiate
        return ift_loss(logp, mask, propagation="none").mean()

    theta = descend(loss, torch.zeros(4, 3).double(), 2.0)
    log_p = np.log(human / human.sum(-1, keepdims=True))
    close(torch.log_softmax(theta[0], -1), log_p[0])
    expected = (log_p[1:] - mixing * np.array(led) @ log_p[1:]) / (1 - mixing)
    close(torch.log_softmax(theta[1:3], -1), torch.log_softmax(tensor(expected), -1))
    # What the second pass sees is exactly the data.
    seen = (1 - mixing) * theta[1:3] + mixing * tensor(led) @ theta[1:3]
    close(torch.log_softmax(seen, -1), log_p[1:])
    assert np.abs(probabilities(theta[2]) - human[2] / 4).max() > 0.05, "SFT's answer is another"


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
        settled = probabilities(descend(lambda theta, o=options: loss(theta, **o), start, 2.0, slope=1e-3))
        print(settled)


@pytest.mark.parametrize("detached", [False, True])
def test_released_weights_bend_frequencies(detached):
    """Two steps in dispute: rows (a_0, a_1) 9, 3, 2 and 2 times. SFT arrives at 0.75 and 11/16 = 0.6875 for action 0; the
    released weights at 0.699 and 0.664 attached, 0.685 and 0.684 detached. Found here a second time as the root of the
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
    print(expected)


# ---- preferences ----


@pytest.mark.parametrize("beta", [0.3, 1.0])
def test_population_dpo_trains_to_the_rlhf_optimum(beta):
    """On firm ice beta log(pi* / ref) = Q(s, a) - V(s) = r + V(s') - V(s) telescopes to R - V(start), so that pi* gives every
    pair exactly its label's log-odds: each pair's loss is at its minimum, the labels' entropy.

    Nothing else does. The log-ratio f of two policies that do adds up to one constant c over each ended walk. Here walks of
    at most five steps reach every (tile, action) along every way, so f(s, a) = g(s') - g(s), with g = c at all ends; then
    exp g is harmonic, exp g(s) = sum_a pi(a|s) exp g(s'), and constant, as every walk ends some day: f = 0."""
    reference = some_policy(LAKE)
    walks = Walks(LAKE, reference, horizon=5)
    loss = walks.preference(lambda *pair: dpo_loss(*pair, beta=beta))
    theta = train(loss, tensor(np.log(reference)))
    optimum = soft_value_iteration(LAKE, reference, beta)[1]
    assert np.abs(optimum - reference).max() > 0.05
    close(torch.log_softmax(theta, -1), np.log(optimum))
    assert loss(theta).item() == pytest.approx(walks.doubt.item(), rel=1e-14)


@pytest.mark.parametrize(("beta", "gap"), [(0.3, 0), (1.0, 0)])
def test_population_dpo_misses_it_where_ice_slips(beta, gap):
    """TODO"""
    mdp = board((1.0, 0.0, 0.0, 0.5), slip=0.2)
    reference = some_policy(mdp)
    loss = Walks(mdp, reference, horizon=3).preference(lambda *pair: dpo_loss(*pair, beta=beta))
    optimum = soft_value_iteration(mdp, reference, beta)[1]
    theta = tensor(np.log(optimum)).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(theta), theta)
    policy = probabilities(train(loss, tensor(np.log(reference))))
    best, ours = (regularised_return(mdp, p, reference, beta) for p in (optimum, policy))
    print(gradient.abs().max(), np.abs(policy - optimum).max(), best, ours, regularised_return(mdp, reference, reference, beta))
