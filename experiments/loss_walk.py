"""A teacher's walk through the losses: one pair of answers on a lake, what each loss makes of it, and why.

    python experiments/loss_walk.py
    python experiments/loss_walk.py --loss ift --updates 30

For every loss: its value, and its push on every tile, -dL/dTheta, the direction in which one step of gradient descent moves
the logits of a tabular policy. Both are computed twice, by the loss core with automatic differentiation and by the closed form
that is printed beside, in plain NumPy; the largest difference is printed too. The human prefers the short way; the other
answer is the long one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ift_gridworld.cli.parser import fail, launch
from ift_gridworld.runtime import loading

if TYPE_CHECKING:
    from torch import Tensor

    from ift_gridworld.data import Trajectories
    from ift_gridworld.mdp import TabularMDP
    from ift_gridworld.policies.lake import TabularPolicy

WIDEST = 8  # tiles of a map that a terminal has room for


@dataclass(frozen=True)
class Args:
    """The command line."""

    loss: str = "all"
    """sft, ift, ift_detached, algorithm1, equation21, dpo, ipo, orpo, simpo, tdpo, bradley_terry, ppo, grpo; or all."""
    map: str = "two-paths"
    """two-paths, 4x4, 8x8, or a map file."""
    slippery: bool = False
    """Let the ice slip to either side."""
    updates: int = 0
    """Updates of SFT that the policy has moved away from the base, which is the reference."""
    mixing: float = 0.2
    """IFT: lambda, share of the model's own prediction in each state."""
    decay: float = 0.95
    """IFT: gamma of the relation propagation."""
    seed: int = 0
    """Of the pair that is drawn, where the ice slips."""


@dataclass(frozen=True, eq=False)
class Side:
    """One answer: where it was, what it did, and what the policy and the reference make of that, in NumPy."""

    states: np.ndarray  # [T]
    actions: np.ndarray  # [T]
    policy: np.ndarray  # [S, A]
    reference: np.ndarray  # [S, A]

    @property
    def steps(self) -> int:
        return len(self.states)

    @property
    def loss(self) -> np.ndarray:
        """l_t = -log pi(a_t|s_t)."""
        return -np.log(self.policy[self.states, self.actions])

    @property
    def margin(self) -> float:
        """log pi - log ref of the whole answer."""
        return float(-self.loss.sum() - np.log(self.reference[self.states, self.actions]).sum())

    @property
    def kl(self) -> float:
        """sum_t KL(ref || pi) over the answer's tiles."""
        p, q = self.reference[self.states], self.policy[self.states]
        return float((p * np.log(p / q)).sum())

    def scatter(self, weight: np.ndarray | float) -> np.ndarray:
        """sum_t weight_t d log pi(a_t|s_t) / dTheta, [S, A]: at the tile of step t, weight_t (one-hot(a_t) - pi(.|s_t))."""
        push = np.zeros_like(self.policy)
        chosen = np.eye(self.policy.shape[1])[self.actions]
        np.add.at(push, self.states, np.broadcast_to(weight, (self.steps,))[:, None] * (chosen - self.policy[self.states]))
        return push

    @property
    def visits(self) -> np.ndarray:
        counts = np.zeros_like(self.policy)
        np.add.at(counts, (self.states, self.actions), 1.0)
        return counts


@dataclass(frozen=True, eq=False)
class Scene:
    """All that the losses are shown: a lake, a policy (float64 table), its frozen reference, and one pair of answers."""

    mdp: TabularMDP
    policy: TabularPolicy
    reference: TabularPolicy
    chosen: Trajectories
    rejected: Trajectories
    mixing: float
    decay: float

    def sides(self) -> tuple[Side, Side]:
        tables = self.policy.probabilities()[0], self.reference.probabilities()[0]
        chosen, rejected = (
            Side(np.asarray(side.states[side.mask]), np.asarray(side.actions[side.mask]), *tables)
            for side in (self.chosen, self.rejected)
        )
        return chosen, rejected


@dataclass(frozen=True, eq=False)
class Lesson:
    """One loss on the scene: computed by the loss core, and by hand.

    Attributes:
        title, formula, gradient, remark: for the reader.
        core: the loss, of the scene and the table that it moves.
        by_hand: value and gradient [S, A] in closed form.
        moves: what the map shows: the policy's logits, or the reward model's table.
    """

    title: str
    formula: str
    gradient: str
    remark: str
    core: Callable[[Scene, Tensor], Tensor]
    by_hand: Callable[[Scene], tuple[float, np.ndarray]]
    moves: str = "Θ"


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def softplus(x: float) -> float:
    """-log sigmoid(-x)."""
    return float(np.logaddexp(0, x))


# ---- by the loss core ----


def _logp(theta: Tensor, side: Trajectories) -> Tensor:
    from ift_gridworld.log_probs import action_log_probs

    return action_log_probs(theta[side.states], side.actions)


def _sums(scene: Scene, theta: Tensor, mean: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Log-probs of both answers under the policy, then under the reference, summed over steps or averaged."""
    from ift_gridworld.log_probs import masked_mean, masked_sum

    reduce = masked_mean if mean else masked_sum
    tables = theta, scene.reference.theta[0].detach()
    both = [reduce(_logp(table, side), side.mask) for table in tables for side in (scene.chosen, scene.rejected)]
    return both[0], both[1], both[2], both[3]


def sft(scene: Scene, theta: Tensor) -> Tensor:
    from ift_gridworld.losses import sft_loss

    return sft_loss(_logp(theta, scene.chosen), scene.chosen.mask)


def ift(propagation: str = "released", detach: bool = False) -> Callable[[Scene, Tensor], Tensor]:
    def loss(scene: Scene, theta: Tensor) -> Tensor:
        from torch import Tensor

        from ift_gridworld.log_probs import action_log_probs
        from ift_gridworld.losses import ift_loss
        from ift_gridworld.policies.residual import lake_successor, residual_embeddings

        successor = lake_successor(scene.mdp, scene.policy.embed)
        states, mask = scene.chosen.states[None], scene.chosen.mask[None]
        mixed = residual_embeddings(scene.policy, states, mask, successor, mixing=scene.mixing)[0]
        assert isinstance(mixed, Tensor)  # a lake that fits a terminal has one-hot tiles
        logp = action_log_probs(mixed @ theta, scene.chosen.actions)
        return ift_loss(logp, scene.chosen.mask, decay=scene.decay, propagation=propagation, detach_weights=detach)  # type: ignore[arg-type]

    return loss


def dpo(scene: Scene, theta: Tensor) -> Tensor:
    from ift_gridworld.losses import dpo_loss

    return dpo_loss(*_sums(scene, theta), beta=0.1)


def ipo(scene: Scene, theta: Tensor) -> Tensor:
    from ift_gridworld.losses import ipo_loss

    return ipo_loss(*_sums(scene, theta), beta=0.1)


def orpo(scene: Scene, theta: Tensor) -> Tensor:
    from ift_gridworld.losses import orpo_loss

    return orpo_loss(*_sums(scene, theta, mean=True)[:2], beta=0.25)


def simpo(scene: Scene, theta: Tensor) -> Tensor:
    from ift_gridworld.losses import simpo_loss

    return simpo_loss(*_sums(scene, theta, mean=True)[:2], beta=2.0, gamma=1.6)


def tdpo(scene: Scene, theta: Tensor) -> Tensor:
    from ift_gridworld.log_probs import kl_divergence, masked_sum
    from ift_gridworld.losses import tdpo_loss

    chosen, rejected, *reference = _sums(scene, theta)
    base = scene.reference.theta[0].detach()
    kls = [masked_sum(kl_divergence(base[s.states], theta[s.states]), s.mask) for s in (scene.chosen, scene.rejected)]
    return tdpo_loss(chosen - reference[0], rejected - reference[1], *kls, beta=0.1, alpha=0.5, version=2)


def bradley_terry(scene: Scene, reward: Tensor) -> Tensor:
    from ift_gridworld.log_probs import masked_sum
    from ift_gridworld.losses import bradley_terry_loss

    return bradley_terry_loss(*(masked_sum(reward[s.states, s.actions], s.mask) for s in (scene.chosen, scene.rejected)))


def ppo(scene: Scene, theta: Tensor) -> Tensor:
    import torch

    from ift_gridworld.log_probs import masked_mean
    from ift_gridworld.losses import ppo_clip_loss

    side = scene.chosen
    logp = _logp(theta, side)
    advantage = torch.as_tensor(_advantage(scene))[side.states, side.actions]
    return masked_mean(ppo_clip_loss(logp, logp.detach(), advantage, side.mask), side.mask)


def grpo(scene: Scene, theta: Tensor) -> Tensor:
    import torch

    from ift_gridworld.log_probs import masked_mean
    from ift_gridworld.losses import group_relative_advantage, kl_estimate, ppo_clip_loss

    sides = scene.chosen, scene.rejected
    advantage = group_relative_advantage(torch.stack([side.returns(scene.mdp.discount) for side in sides], -1))[0]
    base = scene.reference.theta[0].detach()
    total = torch.zeros(1, dtype=theta.dtype)
    for side, a in zip(sides, advantage, strict=True):
        logp = _logp(theta, side)
        surrogate = ppo_clip_loss(logp, logp.detach(), a.expand_as(logp), side.mask)
        total = total + masked_mean(surrogate + 0.04 * kl_estimate(logp, _logp(base, side), "k3"), side.mask) / 2
    return total


def _advantage(scene: Scene) -> np.ndarray:
    """A(s, a) = Q(s, a) - V(s) of the policy itself, exact."""
    from ift_gridworld.planning import evaluate_policy

    mdp, policy = scene.mdp, scene.policy.probabilities()[0]
    value = evaluate_policy(mdp, policy)
    ahead = (mdp.probability * ~mdp.terminated * value[mdp.next_state]).sum(-1)
    return mdp.expected_reward + mdp.discount * ahead - value[:, None]


# ---- by hand ----


def sft_by_hand(scene: Scene) -> tuple[float, np.ndarray]:
    chosen, _ = scene.sides()
    return float(chosen.loss.mean()), chosen.scatter(-1 / chosen.steps)


def ift_by_hand(propagation: str = "released", detach: bool = False) -> Callable[[Scene], tuple[float, np.ndarray]]:
    def formula(scene: Scene) -> tuple[float, np.ndarray]:
        side, mdp, mixing = scene.sides()[0], scene.mdp, scene.mixing
        theta = np.log(side.policy)
        # Row t: the weights of the tiles in the state that step t is judged from.
        weights = np.eye(mdp.num_states)[side.states]
        guessed = mdp.transition[side.states[:-1], side.policy[side.states[:-1]].argmax(-1)]
        weights[1:] = (1 - mixing) * weights[1:] + mixing * guessed
        logits = weights @ theta
        policy = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
        loss = -np.log(policy[np.arange(side.steps), side.actions])
        step = np.arange(side.steps)
        decay = np.where(step >= step[:, None], scene.decay ** np.maximum(step - step[:, None], 0.0), 0.0)  # [t, i]
        u = decay @ loss
        if propagation == "equation21":
            value, slope = u.sum(), decay.sum(0)
        elif propagation == "algorithm1":
            value, slope = u @ loss, u + decay.T @ loss
        else:
            value = u @ loss / u.sum()
            slope = (u + (0 if detach else decay.T @ (loss - value))) / u.sum()
        chosen = np.eye(mdp.num_actions)[side.actions]
        return float(value), weights.T @ (-slope[:, None] * (chosen - policy))

    return formula


def dpo_by_hand(scene: Scene) -> tuple[float, np.ndarray]:
    chosen, rejected = scene.sides()
    d = chosen.margin - rejected.margin
    weight = 0.1 * sigmoid(-0.1 * d)
    return softplus(-0.1 * d), chosen.scatter(-weight) + rejected.scatter(weight)


def ipo_by_hand(scene: Scene) -> tuple[float, np.ndarray]:
    chosen, rejected = scene.sides()
    short = chosen.margin - rejected.margin - 5.0  # 1 / (2 beta)
    return short**2, chosen.scatter(2 * short) + rejected.scatter(-2 * short)


def orpo_by_hand(scene: Scene) -> tuple[float, np.ndarray]:
    chosen, rejected = scene.sides()
    p, q = (float(np.exp(-side.loss.mean())) for side in (chosen, rejected))
    ratio = p / (1 - p) / (q / (1 - q))
    weight = 0.25 / (1 + ratio)
    push = chosen.scatter(-(1 + weight / (1 - p)) / chosen.steps) + rejected.scatter(weight / (1 - q) / rejected.steps)
    return -np.log(p) - 0.25 * np.log(ratio / (1 + ratio)), push


def simpo_by_hand(scene: Scene) -> tuple[float, np.ndarray]:
    chosen, rejected = scene.sides()
    margin = 2.0 * (rejected.loss.mean() - chosen.loss.mean()) - 1.6
    weight = 2.0 * sigmoid(-margin)
    return softplus(-margin), chosen.scatter(-weight / chosen.steps) + rejected.scatter(weight / rejected.steps)


def tdpo_by_hand(scene: Scene) -> tuple[float, np.ndarray]:
    chosen, rejected = scene.sides()
    d = chosen.margin - rejected.margin - 0.5 * (rejected.kl - chosen.kl)
    weight = 0.1 * sigmoid(-0.1 * d)
    kl = np.zeros_like(rejected.policy)  # d KL(ref || pi) / dTheta = pi - ref at each tile of the rejected answer
    np.add.at(kl, rejected.states, (rejected.policy - rejected.reference)[rejected.states])
    return softplus(-0.1 * d), chosen.scatter(-weight) + rejected.scatter(weight) + 0.5 * weight * kl


def bradley_terry_by_hand(scene: Scene) -> tuple[float, np.ndarray]:
    chosen, rejected = scene.sides()
    return float(np.log(2)), -0.5 * (chosen.visits - rejected.visits)


def ppo_by_hand(scene: Scene) -> tuple[float, np.ndarray]:
    chosen, _ = scene.sides()
    advantage = _advantage(scene)[chosen.states, chosen.actions]
    return -float(advantage.mean()), chosen.scatter(-advantage / chosen.steps)


def grpo_by_hand(scene: Scene) -> tuple[float, np.ndarray]:
    sides, value, push = scene.sides(), 0.0, np.zeros_like(scene.sides()[0].policy)
    returns = np.array([float(side.returns(scene.mdp.discount)) for side in (scene.chosen, scene.rejected)])
    spread = abs(returns[0] - returns[1]) / np.sqrt(2)
    for side, better in zip(sides, (returns - returns.mean()) / (spread + 1e-4), strict=True):
        ratio = (side.reference / side.policy)[side.states, side.actions]  # k3 = ratio - 1 - log ratio
        value += (-better + 0.04 * (ratio - 1 - np.log(ratio))).mean() / 2
        push += side.scatter((-better + 0.04 * (1 - ratio)) / side.steps / 2)
    return float(value), push


LESSONS: dict[str, Lesson] = {
    "sft": Lesson(
        "SFT · supervised fine-tuning",
        "L = -(1/N) Σ_t log π(a*_t|s*_t)",
        "dL/dΘ[s] = n(s)/N (π(.|s) - empirical(.|s))",
        "The shown move of each tile is pushed up, the others down in proportion to their probability. Tiles off the path feel "
        "nothing.",
        sft,
        sft_by_hand,
    ),
    "ift": Lesson(
        "IFT · released form, gradient through the weights",
        "L = Σ_t u_t l_t / U,  u_t = Σ_{i≥t} γ^{i-t} l_i,  U = Σ u,  l from mixed states (1-λ)s* + λsᶿ",
        "dL/dl_k = (u_k + Σ_{t≤k} γ^{k-t} (l_t - L)) / U, spread over the two mixed tiles as 1-λ and λ",
        "Where the model guesses the next tile wrongly, the guessed tile is taught as well. Late steps that are learnt better "
        "than early ones can be pushed down.",
        ift(),
        ift_by_hand(),
    ),
    "ift_detached": Lesson(
        "IFT · released form, constant weights",
        "L = Σ_t w_t l_t / N,  w = N u / U held constant",
        "dL/dl_k = u_k / U",
        "Every shown move is pushed up, early ones most.",
        ift(detach=True),
        ift_by_hand(detach=True),
    ),
    "algorithm1": Lesson(
        "IFT · the paper's algorithm 1",
        "L = Σ_t u_t l_t",
        "dL/dl_k = u_k + Σ_{t≤k} γ^{k-t} l_t",
        "Quadratic in the losses and not scaled: the push fades as the answer is learnt. Read backwards L is the same: neither "
        "end is favoured, for gradient flows through the weights.",
        ift("algorithm1"),
        ift_by_hand("algorithm1"),
    ),
    "equation21": Lesson(
        "IFT · the paper's equation 21",
        "L = Σ_n Σ_{i≥n} γ^{i-n} l_i",
        "dL/dl_k = Σ_{n≤k} γ^{k-n}",
        "A step is weighted by its position, late ones most: the opposite of the released form with constant weights.",
        ift("equation21"),
        ift_by_hand("equation21"),
    ),
    "dpo": Lesson(
        "DPO · direct preference optimisation, β 0.1",
        "L = -log σ(β d),  d = (c - c_ref) - (r - r_ref)",
        "dL/dc = -β σ(-β d) = -dL/dr",
        "At the reference the loss is log 2 = 0.693 and the push β/2 a step. It asks for the difference alone: what is taken "
        "from the rejected answer's moves goes to moves that nobody showed.",
        dpo,
        dpo_by_hand,
    ),
    "ipo": Lesson(
        "IPO · identity preference optimisation, β 0.1",
        "L = (d - 1/(2β))²",
        "dL/dc = 2 (d - 1/(2β)) = -dL/dr",
        "The push ends when the margin d is 5 nats, and turns round beyond.",
        ipo,
        ipo_by_hand,
    ),
    "orpo": Lesson(
        "ORPO · odds-ratio preference optimisation, β 0.25",
        "L = -c̄ - β log σ(log odds c̄ - log odds r̄)",
        "dL/dc̄ = -1 - β/(1+ratio)/(1-p),  dL/dr̄ = β/(1+ratio)/(1-q),  p = e^c̄, q = e^r̄",
        "SFT on the preferred answer, and a weaker push between the two.",
        orpo,
        orpo_by_hand,
    ),
    "simpo": Lesson(
        "SimPO · simple preference optimisation, β 2, γ 1.6",
        "L = -log σ(β (c̄ - r̄) - γ)",
        "dL/dc̄ = -β σ(γ - β (c̄ - r̄)) = -dL/dr̄",
        "No reference; the longer answer's steps are each pushed less.",
        simpo,
        simpo_by_hand,
    ),
    "tdpo": Lesson(
        "TDPO · token-level DPO, version 2, β 0.1, α 0.5",
        "L = -log σ(β d),  d = m_c - m_r - α (KL_r - stopgrad KL_c)",
        "as DPO, plus α β σ(-β d) (π - π_ref) at each tile of the rejected answer",
        "At the reference the KL terms vanish and it is DPO. Away from it the rejected answer's tiles are held back.",
        tdpo,
        tdpo_by_hand,
    ),
    "bradley_terry": Lesson(
        "Bradley-Terry · the reward model, from r = 0",
        "L = -log σ(R_c - R_r),  R = Σ_t r(s_t, a_t)",
        "dL/dr = -½ (visits of c - visits of r)",
        "Here the map is the reward's. Tiles that neither answer visits stay unknown: a policy may be drawn there.",
        bradley_terry,
        bradley_terry_by_hand,
        moves="r",
    ),
    "ppo": Lesson(
        "PPO · clipped surrogate at ratio 1, on the preferred answer, exact advantages",
        "L = -(1/N) Σ_t min(ρ_t A_t, clip(ρ_t) A_t)",
        "dL/dlog π(a_t|s_t) = -A_t / N",
        "Moves are pushed by how much better they are than the policy's own average there, not because a human made them.",
        ppo,
        ppo_by_hand,
    ),
    "grpo": Lesson(
        "GRPO · the two answers as a group",
        "L = mean over answers and steps of -min(ρ A, clip(ρ) A) + 0.04 k3,  A = (R - mean R)/std R",
        "dL/dlog π(a_t|s_t) = (-A + 0.04 (1 - π_ref/π)) / N / 2",
        "A = ±0.71 whatever the returns are, unless they are equal. Averaging over an answer's steps pushes a long one's less.",
        grpo,
        grpo_by_hand,
    ),
}


@dataclass(frozen=True, eq=False)
class Outcome:
    """A lesson worked out: the value by the loss core and by hand, the core's gradient [S, A], and by how much the closed
    form's differs from it at most."""

    value: float
    by_hand: float
    gradient: np.ndarray
    difference: float


def work_out(lesson: Lesson, scene: Scene) -> Outcome:
    """Value and gradient by automatic differentiation, and in closed form."""
    import torch

    start = scene.policy.theta[0].detach()
    table = (torch.zeros_like(start) if lesson.moves == "r" else start.clone()).requires_grad_()
    value = lesson.core(scene, table).sum()
    gradient = torch.autograd.grad(value, table)[0].numpy()
    by_hand, derived = lesson.by_hand(scene)
    return Outcome(float(value.detach()), by_hand, gradient, float(np.abs(derived - gradient).max()))


def make_scene(args: Args) -> Scene:
    """The base, the pair, and the policy after some updates of SFT."""
    import copy

    from ift_gridworld.data import generators, preference_pairs
    from ift_gridworld.envs.registry import make_env
    from ift_gridworld.mdp import TabularMDP
    from ift_gridworld.policies.lake import TabularPolicy
    from ift_gridworld.training.base_policies import make_base
    from ift_gridworld.training.loop import train

    if args.loss != "all" and args.loss not in LESSONS:
        raise ValueError(f"--loss is {args.loss!r}; allowed: {', '.join(LESSONS)}, all")
    if not 0 <= args.mixing <= 1:
        raise ValueError(f"--mixing is {args.mixing}; allowed: a number in [0, 1]")
    if not 0 < args.decay <= 1:  # at 0 the released form is SFT, by a special case
        raise ValueError(f"--decay is {args.decay}; allowed: a number in (0, 1]")
    if not 0 <= args.seed < 2**31:
        raise ValueError(f"--seed is {args.seed}; allowed: 0 to {2**31 - 1}")
    if args.updates < 0:
        raise ValueError(f"--updates is {args.updates}; allowed: 0 or more")
    mdp = TabularMDP.from_env(make_env(args.map, is_slippery=args.slippery))
    if mdp.layout is None or mdp.num_actions != 4 or len(mdp.layout[0]) > WIDEST:
        raise ValueError(f"--map is {args.map!r}; allowed: lakes at most {WIDEST} tiles wide")
    chosen, rejected = preference_pairs(mdp, 1, generator=generators(args.seed, 1)[0])
    policy = make_base("mixture", mdp, policy="tabular", seed=args.seed).double()
    assert isinstance(policy, TabularPolicy)
    reference = copy.deepcopy(policy).requires_grad_(False)
    if args.updates:
        train("sft", mdp, policy, steps=args.updates, snapshots=2, shown=chosen)
    return Scene(mdp, policy, reference, chosen, rejected, args.mixing, args.decay)


# ---- in the terminal ----

UP, DOWN, FAINT = "bold blue", "bold dark_orange", "dim"


def tile_map(scene: Scene, push: np.ndarray, unit: float) -> Table:
    """The lake, a cell a tile: the letter, green on the preferred answer, magenta on the other; a number each way."""
    mdp = scene.mdp
    assert mdp.layout is not None
    chosen, rejected = (set(side.states[side.mask].tolist()) for side in (scene.chosen, scene.rejected))

    def number(state: int, direction: str) -> Text:
        value = round(push[state, mdp.actions.index(direction)] / unit)
        return Text(f"{value:^+5d}" if value else "  ·  ", style=UP if value > 0 else DOWN if value < 0 else FAINT)

    grid = Table(show_header=False, show_lines=True, padding=0, border_style=FAINT)
    for _ in mdp.layout[0]:
        grid.add_column(width=11, no_wrap=True)
    for r, row in enumerate(mdp.layout):
        cells = []
        for c, letter in enumerate(row):
            state = r * len(row) + c
            style = "green" if state in chosen else "magenta" if state in rejected else FAINT
            if letter in "HG":
                cells.append(Text(f"\n{letter:^11}\n", style="green" if letter == "G" else FAINT))
                continue
            mark = Text(f"{letter:3}", style=f"bold {style}" if style != FAINT else FAINT)
            cells.append(
                Text.assemble(
                    mark, number(state, "up"), "   \n", number(state, "left"), " ", number(state, "right"), "\n   ",
                    number(state, "down"), "   ",
                )
            )  # fmt: skip
        grid.add_row(*cells)
    return grid


def show(console: Console, lesson: Lesson, outcome: Outcome, scene: Scene) -> None:
    """The lesson's words beside its map, or above it where the terminal is narrow."""
    moves = lesson.moves
    words = Text.assemble(
        (lesson.formula, "bold"),
        f"\nL = {outcome.value:.6f}, by hand {outcome.by_hand:.6f}\n\n",
        (lesson.gradient, "bold"),
        f"\nby hand and by automatic differentiation it differs by at most {outcome.difference:.0e}\n\n",
        (lesson.remark, "italic"),
    )
    unit = 10.0 ** (np.floor(np.log10(np.abs(outcome.gradient).max() or 1.0)) - 2)
    grid = tile_map(scene, -outcome.gradient, unit)
    caption = Text(f"push -dL/d{moves}[s, a], in units of {unit:g}", style=FAINT)
    console.print(Rule(Text(lesson.title, style="bold"), align="left", style=FAINT))
    width = 12 * len(scene.mdp.layout[0]) + 1  # type: ignore[index]
    page = Table.grid(padding=(0, 2))
    if console.width >= width + 50:
        page.add_row(Group(grid, caption), words)
    else:
        page.add_row(words)
        page.add_row(Group(grid, caption))
    console.print(page)
    console.print()


def main(args: Args) -> int:
    try:
        with loading():
            scene = make_scene(args)
    except (ValueError, OSError) as error:
        fail(error)
    from ift_gridworld.rendering.tables import console

    screen = console()
    lake = f"{args.map}{', slippery' if args.slippery else ''}"
    screen.print(
        f"One pair of answers on {lake}: [green]green[/] what the human prefers, [magenta]magenta[/] where only the other is. "
        f"The policy is a table, {f'{args.updates} updates of SFT away from' if args.updates else 'still'} the reference. "
        "[bold blue]+[/] pushes a move up, [bold dark_orange]-[/] down.\n",
        highlight=False,
    )
    for name, lesson in LESSONS.items():
        if args.loss in ("all", name):
            show(screen, lesson, work_out(lesson, scene), scene)
    return 0


if __name__ == "__main__":
    launch(main, Args, __doc__)
