"""One update of a method, taken apart: what it was shown, what it supposed, what each step cost, where the policy went.

`explain` makes the very update that `training.train` makes first, with the same method, data and optimiser, and keeps what was
computed on the way. What it keeps is plain data, so that it can be saved and drawn later (`rendering.explain_film`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld._lazy import resolve
from ift_gridworld.data import Trajectories, generators
from ift_gridworld.log_probs import action_log_probs, masked_mean, masked_sum
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.on_policy import Rollouts
from ift_gridworld.methods.options import MethodOptions, TrainingOptions
from ift_gridworld.methods.preferences import PairSide
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.optimisation import OPTIMISERS, descend
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.policies.residual import residual_embeddings
from ift_gridworld.policies.sparse import SparseStates
from ift_gridworld.runtime import standard_settings
from ift_gridworld.training.loop import options_for

__all__ = ["EXPLAINED", "Explanation", "Step", "explain"]

EXPLAINED = ("sft", "ift", "dpo", "orpo", "ppo")
MOST_STATES = 2500  # on more, nobody would see a tile
WALKS = 12  # of PPO's rollouts that are kept to be shown


@dataclass(frozen=True)
class Step:
    """One step of the explanation.

    Attributes:
        kind: what is to be drawn: "walk", "predict", "mix", "bars", "weights", "flow", "pair", "pushes", "advantage", "clip" or
            "step".
        title, caption: for the reader; the caption holds the update's own numbers.
        equation: in TeX, or empty.
        data: numbers by name, as lists.
    """

    kind: str
    title: str
    caption: str
    equation: str = ""
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Explanation:
    """One update.

    Attributes:
        method, title: as in METHODS.
        loss: its value.
        before, after: T_theta(a|s) on either side of the update.
        steps: what happened, in order.
    """

    method: str
    title: str
    loss: float
    before: Float[np.ndarray, "S A"]
    after: Float[np.ndarray, "S A"]
    steps: list[Step]

    def __repr__(self) -> str:
        lines = [f"Explanation of one update of {self.method}: loss {self.loss:z.4f}, {len(self.steps)} steps"]
        return "\n".join([*lines, *(f"  {number}. {step.title}" for number, step in enumerate(self.steps, 1))])

    def _repr_html_(self) -> str:
        """Each step's title, caption and numbers, in a notebook."""
        page: str = resolve("ift_gridworld.rendering.notebook:html_of_explanation")(self)
        return page


@standard_settings()
def explain(
    method: str,
    mdp: TabularMDP,
    policy: LakePolicy,
    demonstrations: Trajectories,
    preferences: tuple[Trajectories, Trajectories],
    *,
    options: MethodOptions | None = None,
    training: TrainingOptions | None = None,
    seed: int = 0,
    **overrides: Any,
) -> Explanation:
    """Make one update of a policy (of population 1), in place, and tell what was computed.

    Args:
        method: one of EXPLAINED.
        mdp, policy, demonstrations, preferences, options, training, seed, overrides: as for `training.train`. The first
            demonstration and the first pair are drawn.
    """
    if method not in EXPLAINED:
        raise ValueError(f"method is {method!r}; allowed: {', '.join(EXPLAINED)}")
    if policy.population != 1:
        raise ValueError(f"the policy has a population of {policy.population}; allowed: 1")
    if mdp.grid is None:  # an update is explained by where it happened
        raise ValueError("this environment has no map to draw; allowed: FrozenLake, CliffWalking, Taxi")
    if mdp.num_states > MOST_STATES:
        raise ValueError(
            f"the environment has {mdp.num_states} states; an update is explained state by state, on at most {MOST_STATES}"
        )
    _, kind, options, training = options_for(method, policy, options, training, overrides)
    chosen, rejected = (side[None] for side in preferences)
    source = LakeSource(mdp, demonstrations[None], chosen, rejected, generators(seed, 1))
    learner = kind(source, policy, options)
    before = policy.probabilities()[0]
    batch = learner.batch(0)
    steps = {"sft": _sft, "ift": _ift, "dpo": _pair, "orpo": _pair, "ppo": _ppo}[method](learner, batch)
    assert training.learning_rate is not None
    optimiser = OPTIMISERS[training.optimiser](learner.parameters(), training.learning_rate)
    # PPO's other epochs on the same rollouts belong to the update: only then do ratios leave 1.
    updates = learner.options.epochs if isinstance(batch, Rollouts) else 1
    descended = descend(lambda update: learner.loss(batch), lambda: optimiser.step(learner.max_grad_norm), range(updates))
    losses_made = [float(loss) for _, loss in descended]
    if isinstance(batch, Rollouts):
        steps.append(_clip(learner, batch))
    after = policy.probabilities()[0]
    change = after - before
    state, action = np.unravel_index(np.abs(change).argmax(), change.shape)
    steps.append(
        Step(
            "step",
            "The policy moves",
            f"{'One update' if updates == 1 else f'{updates} updates'} of {type(optimiser).__name__}. Largest change: "
            f"{change[state, action]:+.3f} for {mdp.actions[action]} at {mdp.grid.name(int(state))}.",
            data={"before": before.tolist(), "after": after.tolist()},
        )
    )
    return Explanation(method, kind.full_title(method), losses_made[0], before, after, steps)


def _path(batch: Any) -> dict[str, Any]:
    """Tiles and moves of the first row, and the tile that the last move leads to."""
    counted = batch.mask[0, 0]
    states, actions = (x[0, 0][counted].tolist() for x in (batch.states, batch.actions))
    end = batch.next_states[0, 0][counted][-1].item() if isinstance(batch, Trajectories) else states[-1]
    return {"states": states, "actions": actions, "end": end}


def _row(x: Tensor, batch: Any) -> list[float]:
    """The counted steps of the first row."""
    return [float(v) for v in x[0, 0][batch.mask[0, 0]]]


@torch.no_grad()
def _sft(learner: Method[Any], batch: Any) -> list[Step]:
    logp = learner.policy.log_probs(batch.states, batch.actions)
    nats = _row(-logp, batch)
    return [
        _human_walks(learner, batch),
        Step(
            "bars",
            "What each move costs",
            f"The less likely the human's move, the more it costs: {np.mean(nats):.3f} nats on average.",
            r"$L = -\dfrac{1}{N}\sum_t \log \pi(a^*_t\,|\,s^*_t)$",
            {"series": [{"name": "minus log-probability of a move, nats", "values": nats}]},
        ),
        Step(
            "weights",
            "Every step weighs the same",
            f"Each of the {len(nats)} steps pulls at its own state alone, towards the human's move.",
            r"$\dfrac{\partial L}{\partial \Theta[s]} = \dfrac{1}{N}(\pi(\cdot|s) - \mathrm{shown})$",
            {"series": [{"name": "weight of a step", "values": [1.0] * len(nats)}]},
        ),
    ]


def _human_walks(learner: Method[Any], batch: Any) -> Step:
    path, mdp = _path(batch), _mdp(learner)
    last = mdp.success[path["states"][-1], path["actions"][-1]]
    ends = ""
    if last.any():  # which an environment without a goal tile may also have
        assert mdp.grid is not None
        ends = " from the start to the goal" if mdp.grid.letters[path["end"]] == "G" else ", the last of which succeeds"
    return Step(
        "walk",
        "The human shows a path",
        f"One demonstration: {_count(path, mdp)}{ends}.",
        data={"paths": [{**path, "role": "shown"}]},
    )


def _mdp(learner: Method[Any]) -> TabularMDP:
    assert isinstance(learner.source, LakeSource)
    return learner.source.mdp


def _count(path: dict[str, Any], mdp: TabularMDP) -> str:
    """The length of a path in words: moves, or actions where some are no moves."""
    number, is_move = len(path["actions"]), mdp.moves[path["actions"]].any(1).all()
    return f"{number} {'move' if is_move else 'action'}{'s' * (number != 1)}"


@torch.no_grad()
def _ift(learner: Method[Any], batch: Any) -> list[Step]:
    s, policy, source = learner.options, learner.policy, learner.source
    assert isinstance(source, LakeSource)
    assert isinstance(policy, LakePolicy)
    states, mask = batch.states, batch.mask
    successor = source.successor(policy, s)
    first_pass = policy.logits(policy.embed(states))
    arrives = successor(states, first_pass)[0, 0][mask[0, 0]][:-1]  # where the prediction at step i - 1 leads, i >= 1
    arrives = arrives.dense(policy.num_states) if isinstance(arrives, SparseStates) else arrives
    mixed = residual_embeddings(policy, states, mask, successor, mixing=s.mixing)
    logp = action_log_probs(policy.logits(mixed), batch.actions)
    nats, alone = _row(-logp, batch), _row(-policy.log_probs(states, batch.actions), batch)
    weights = _row(losses.relation_weights(logp, mask, s.decay, s.norm), batch)
    path = _path(batch)
    predicted = arrives.argmax(-1).tolist()
    right = [p == t for p, t in zip(predicted, path["states"][1:], strict=True)]
    return [
        _human_walks(learner, batch),
        Step(
            "predict",
            "First pass: the model predicts",
            f"Where would its own best move lead? {sum(right)} of {len(right)} predictions meet the human's next state.",
            r"$s^\theta_i = \mathrm{argmax}\ \pi(\cdot\,|\,s^*_{i-1})$",
            {"true": path["states"][1:], "weights": arrives.tolist(), "right": right},
        ),
        Step(
            "mix",
            "Prediction and truth are mixed",
            f"Each state becomes {1 - s.mixing:g} the human's and {s.mixing:g} the predicted one. A right prediction changes "
            "nothing.",
            r"$e_i = (1-\lambda)\,E(s^*_i) + \lambda\,E(s^\theta_i)$",
            {"true": path["states"][1:], "weights": arrives.tolist(), "right": right, "mixing": s.mixing},
        ),
        Step(
            "bars",
            "Second pass: cost of each move",
            (
                f"On mixed states a move costs {np.mean(nats):.3f} nats on average, on the human's own {np.mean(alone):.3f}."
                if not all(right)
                else f"Every prediction was right, so the losses are SFT's: {np.mean(nats):.3f} nats on average."
            ),
            r"$l_i = -\log \pi(a^*_i\,|\,e_i)$",
            {"series": [{"name": "minus log-probability of a move, nats", "values": nats, "before": alone}]},
        ),
        Step(
            "flow",
            "The loss flows back along the path",
            f"Each step answers for what follows it, faded by {s.decay:g} a step: weights from {weights[0]:.2f} to "
            f"{weights[-1]:.2f}.",
            r"$w_t \propto \sum_{i\geq t} \gamma^{\,i-t}\, l_i,\quad L = \dfrac{1}{N}\sum_t w_t\, l_t$",
            {"losses": nats, "decay": s.decay, "weights": weights},
        ),
    ]


@torch.no_grad()
def _pair(learner: Method[Any], batch: tuple[PairSide, PairSide]) -> list[Step]:
    sides, paths = [], []
    for role, answers in zip(("shown", "rejected"), batch, strict=True):
        logp, mask = learner.policy.log_probs(answers.batch.states, answers.batch.actions), answers.batch.mask
        sides.append([float(reduce(logp, mask)[0, 0]) for reduce in (masked_sum, masked_mean)])
        paths.append({**_path(answers.batch), "role": role})
    (c, c_mean), (r, r_mean) = sides
    beta, mdp = learner.options.beta, _mdp(learner)
    lengths = [len(path["states"]) for path in paths]
    walk = Step(
        "walk",
        "A pair of answers",
        f"The human chose the path of {_count(paths[0], mdp)} over the one of {lengths[1]}. Nothing more is known.",
        data={"paths": paths},
    )
    if learner.assumed_prior == "dpo" and type(learner).__name__ == "DPO":
        c_ref, r_ref = (float(answers.reference[0, 0]) for answers in batch)
        d = (c - c_ref) - (r - r_ref)
        pull = beta / (1 + np.exp(beta * d))
        return [
            walk,
            Step(
                "pair",
                "How likely is each answer?",
                f"The margin over the base is {d:z.2f} nats, the loss {np.logaddexp(0, -beta * d):.3f}"
                + (": log 2, as it must be before the first update." if abs(d) < 1e-6 else "."),
                r"$L = -\log\sigma(\beta d),\quad d = (c - c_{\mathrm{ref}}) - (r - r_{\mathrm{ref}})$",
                {"names": ["chosen", "rejected"], "values": [c, r], "reference": [c_ref, r_ref], "of": "an answer"},
            ),
            Step(
                "pushes",
                "Two pushes of the same size",
                f"Chosen moves are pushed up by {pull:.3f}, rejected ones down by as much. Nothing says where probability "
                "goes.",
                r"$\dfrac{\partial L}{\partial c} = -\beta\,\sigma(-\beta d) = -\dfrac{\partial L}{\partial r}$",
                {"paths": paths, "push": [pull, -pull]},
            ),
        ]
    p, q = np.exp(c_mean), np.exp(r_mean)
    ratio = p / (1 - p) / (q / (1 - q))
    up, down = (1 + beta / (1 + ratio) / (1 - p)) / lengths[0], beta / (1 + ratio) / (1 - q) / lengths[1]
    return [
        walk,
        Step(
            "pair",
            "How likely is a move of each?",
            f"A move of the chosen answer has odds of {p / (1 - p):.2f} to one, of the rejected one {q / (1 - q):.2f}. Loss: "
            f"{-c_mean + beta * np.log1p(1 / ratio):.3f}.",
            r"$L = -\bar c - \beta\log\sigma(\log\mathrm{odds}\ \bar c - \log\mathrm{odds}\ \bar r)$",
            {"names": ["chosen", "rejected"], "values": [c_mean, r_mean], "reference": None, "of": "a move, mean"},
        ),
        Step(
            "pushes",
            "A strong push and a weak one",
            f"Chosen moves are pushed up by {up:.3f}, mostly imitation; rejected ones down by {down:.3f}.",
            r"$\dfrac{\partial L}{\partial \bar c} = -1 - \dfrac{\beta}{(1+\mathrm{ratio})(1-p)}$",
            {"paths": paths, "push": [up, -down]},
        ),
    ]


@torch.no_grad()
def _ppo(learner: Method[Any], batch: Rollouts) -> list[Step]:
    mdp, steps = _mdp(learner), batch.steps
    states, actions, ends = (x[0].numpy() for x in (steps.states, steps.actions, steps.terminated | steps.truncated))
    walks = []
    for b in range(min(WALKS, len(states))):
        last = int(np.argmax(ends[b])) if ends[b].any() else states.shape[1] - 1
        here = states[b, : last + 1].tolist()
        walks.append(
            {
                "states": here,
                "actions": actions[b, : last + 1].tolist(),
                "end": int(steps.next_states[0, b, last]),
                "role": "own",
            }
        )
    table, counts = np.zeros((mdp.num_states, mdp.num_actions)), np.zeros((mdp.num_states, mdp.num_actions))
    np.add.at(table, (states, actions), batch.advantage[0].numpy())
    np.add.at(counts, (states, actions), 1.0)
    mean = table / np.maximum(counts, 1)
    led_there = mdp.next_state[states, actions] == steps.next_states[0].numpy()[..., None]
    reached = int((steps.terminated[0].numpy()[..., None] & led_there & mdp.success[states, actions]).any(-1).sum())
    total = int(ends.sum())
    return [
        Step(
            "walk",
            "The model walks by itself",
            f"{len(states)} walkers take {states.shape[1]} steps each: {total} episodes end, {reached} of them "
            f"{'at the goal' if (mdp.grid is not None and (mdp.grid.tiles == 'G').any()) else 'with success'}.",
            data={"paths": walks},
        ),
        Step(
            "advantage",
            "Was a move better than usual?",
            "The advantage of a move: what it led to, minus the critic's guess, scaled to a spread of one.",
            r"$A_t = \delta_t + \gamma\lambda A_{t+1},\quad \delta_t = r_t + \gamma V(s_{t+1}) - V(s_t)$",
            {"advantage": mean.tolist(), "counts": counts.tolist()},
        ),
    ]


@torch.no_grad()
def _clip(learner: Method[Any], batch: Rollouts) -> Step:
    steps, clip = batch.steps, learner.options.clip
    ratio = torch.exp(learner.policy.log_probs(steps.states, steps.actions) - batch.logp)[0].numpy()
    advantage = batch.advantage[0].numpy()
    stopped = ((ratio > 1 + clip) & (advantage > 0)) | ((ratio < 1 - clip) & (advantage < 0))
    return Step(
        "clip",
        "Not too far at once",
        f"{learner.options.epochs} updates on the same walks. {stopped.mean():.1%} of the moves have gone beyond "
        f"{1 - clip:g} to {1 + clip:g}, and are pushed no further.",
        r"$L = -\min(\rho_t A_t,\ \mathrm{clip}(\rho_t, 1-\epsilon, 1+\epsilon) A_t)$",
        {
            "ratio": np.histogram(ratio.clip(0.6, 1.4), bins=np.linspace(0.6, 1.4, 33))[0].tolist(),
            "clip": clip,
            "range": [0.6, 1.4],
        },
    )
