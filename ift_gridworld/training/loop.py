"""One training loop for every method, base policies to start from, and the run that it leaves behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ift_gridworld.data import Trajectories, demonstrations, generators, preference_pairs, stacked
from ift_gridworld.evaluation.estimation import estimate
from ift_gridworld.evaluation.metrics import even_change, measure, reference_points, tiles_of
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.families import METHODS, PPO, Method
from ift_gridworld.methods.settings import Settings
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.policies.lake import POLICIES, Policy
from ift_gridworld.training.optimisers import OPTIMISERS, Adam

Base = Literal["mixture", "random", "uniform"]
BASES: tuple[str, ...] = ("mixture", "random", "uniform")
CANDIDATES = 4  # snapshots are taken for each that is kept: those between which equally much changes
# What snapshots may take while training: on a lake of a million tiles those of one seed are 16, of which 4 are kept.
SNAPSHOT_BYTES = 512 * 2**20
# The mixture base has seen both demonstrators in equal parts, and in 30 % of its steps it saw noise: a pre-trained model.
BASE_NOISE = 0.3


@dataclass(frozen=True, eq=False)
class Run:
    """What a training run leaves: metrics and policies at some steps, the loss at every one.

    Attributes:
        method: a name in METHODS, or that of the caller's class.
        settings: every knob, resolved.
        mdp: the lake.
        steps: the updates after which a snapshot was taken, [M]; 0 is the base.
        policies: T_theta(a|s) of every seed at each snapshot.
        metrics: each of `metrics.MEASURES`, [M, N].
        loss: of every update, [updates, N].
        optimum: what the best policies reach (`metrics.reference_points`).
        estimation: "base" and, unless it diverged, "trained": what the method assumed_prior of the policy before and after
            (`estimation.Estimation.per_step`), [N, T].
        demonstrations: what the human showed, [B, T].
        chosen, rejected: the preference pairs, [B, T].
        seconds: spent in training, without measuring.
        diverged: the step and the cause if the loss stopped being a number, else None.
    """

    method: str
    settings: dict[str, object]
    mdp: TabularMDP
    steps: Int[np.ndarray, " M"]
    policies: Float[np.ndarray, "M N S A"]
    metrics: dict[str, Float[np.ndarray, "M N"]]
    loss: Float[np.ndarray, "U N"]
    optimum: dict[str, float]
    estimation: dict[str, dict[str, Float[np.ndarray, "N T"]]]
    demonstrations: Trajectories
    chosen: Trajectories
    rejected: Trajectories
    seconds: float
    diverged: str | None = None


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: tensors here are small, and a second thread waits, spinning, longer than it computes.

    On a machine with other work to do, that waiting was measured to cost a hundredfold.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
def train(
    method: str | type[Method],
    mdp: TabularMDP,
    policy: Policy,
    *,
    settings: Settings | None = None,
    seed: int = 0,
    shown: Trajectories | None = None,
    preferences: tuple[Trajectories, Trajectories] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **changes: object,
) -> Run:
    """Align a policy in place by one method and keep snapshots.

    Args:
        method: a name in METHODS, or a method of your own: a subclass of `methods.Method`.
        mdp: the lake.
        policy: the base; its copy is the reference. All its N members are trained at once, member i on seed + i.
        settings: all knobs; `changes` are laid over them, as in ``train("ift", mdp, policy, mixing=0.5)``.
        seed: of everything drawn while training.
        shown: demonstrations [B, T] (default: one path, or 16 episodes where the lake is stochastic).
        preferences: pairs (chosen, rejected), each [B, T] (default: likewise).
        progress: called with (updates done, updates in all).

    Returns:
        The run. If the loss stops being a number, training stops there and `Run.diverged` says so.

    Raises:
        ValueError: for an unknown method or a value out of range.
    """
    kind, name = _looked_up(method)
    if (policy.num_states, policy.num_actions) != (mdp.num_states, mdp.num_actions):
        raise ValueError(
            f"the policy has {policy.num_states} states and {policy.num_actions} actions, "
            f"the lake {mdp.num_states} and {mdp.num_actions}; they must match"
        )
    settings = kind.resolved(replace(settings or Settings(), **changes), policy)  # type: ignore[arg-type]
    assert settings.steps is not None
    device = next(policy.parameters()).device
    shown = demonstrations(mdp, default_count(mdp)) if shown is None else shown
    if preferences is None:
        preferences = preference_pairs(mdp, default_count(mdp), needed=kind.needs == "pairs")
    chosen, rejected = preferences
    data = [batch[None].to(device) for batch in (shown, chosen, rejected)]
    source = LakeSource(mdp, data[0], data[1], data[2], generators(seed, policy.population), device)

    def supposed() -> dict[str, Float[np.ndarray, "N T"]]:
        answers = chosen if kind.needs == "pairs" else shown
        residual = {"mixing": settings.mixing, "prediction": settings.prediction, "outcome": settings.outcome}
        return estimate(kind.assumed_prior, mdp, policy, answers, stale=rejected, **residual).per_step()  # type: ignore[arg-type]

    estimation = {"base": supposed()}
    candidates, kept = snapshots(settings, policy.population * policy.num_states * policy.num_actions)
    keep = snapshot_steps(settings.steps, candidates)
    began = time.perf_counter()
    learner = kind(source, policy, settings)
    taken, policies, losses, diverged = _descend(learner, settings, keep, progress)
    seconds = time.perf_counter() - began

    if diverged is None:
        estimation["trained"] = supposed()
    chosen_steps = even_change(np.array(taken), policies, kept)
    taken, policies = [taken[i] for i in chosen_steps], policies[chosen_steps]
    pair = {"chosen": chosen, "rejected": rejected} if len(chosen.states) else {}
    measured = measure(mdp, policies, base=policies[0], shown=tiles_of(mdp, shown), **pair)  # type: ignore[arg-type]
    curve = torch.stack(losses).cpu().numpy() if losses else np.zeros((0, policy.population))
    return Run(
        name, asdict(settings), mdp, np.array(taken), policies, measured, curve, reference_points(mdp), estimation, shown,
        chosen, rejected, seconds, diverged,
    )  # fmt: skip


def _descend(
    learner: Method,
    settings: Settings,
    keep: set[int],
    progress: Callable[[int, int], None] | None = None,
    *,
    rates: Float[Tensor, " N"] | None = None,
    tolerant: bool = False,
) -> tuple[list[int], Float[np.ndarray, "M N S A"], list[Tensor], str | None]:
    """The loop: batches become losses, losses updates.

    Nothing is compiled: on a CPU `torch.compile` took 4 to 14 s, and then an update of 64 seeds on 8x8 took 0.6 to 1.4 times as
    long as without (0.6 to 2.8 ms), so that it would pay after some ten thousand updates, if at all; a run has some hundred.

    Returns:
        The updates kept, the policies after them, every loss, and what stopped being a number, where and when. Then training
        stops; `tolerant`, it goes on, for seeds do not mix and the others may be sound. `rates`, if given, are the seeds' own.
    """
    policy, updates = learner.policy, settings.steps
    assert updates is not None
    assert settings.learning_rate is not None
    taken, losses = [0], []
    first = policy.probabilities()
    policies = np.empty((len(keep | {0}), *first.shape))
    policies[0] = first
    diverged = None
    _ = learner.reference  # frozen before the first update
    rate = settings.learning_rate if rates is None else rates
    optimiser = OPTIMISERS[settings.optimiser](learner.parameters(), rate)
    for step in range(updates):
        loss = learner.loss(learner.batch(step))
        if not torch.isfinite(loss).all():
            diverged = diverged or _blame("loss", step, loss, settings)
            if not tolerant:
                break
        loss.sum().backward()
        optimiser.step(learner.max_grad_norm)
        losses.append(loss.detach())
        if step + 1 in keep:
            matrix = policy.probabilities()
            if not np.isfinite(matrix).all():
                diverged = diverged or _blame("policy", step, torch.tensor(matrix).sum((1, 2)), settings)
                if not tolerant:
                    break
            policies[len(taken)] = matrix
            taken.append(step + 1)
        if progress is not None:
            progress(step + 1, updates)
    return taken, policies[: len(taken)], losses, diverged


@one_thread()
def train_lakes(
    method: str | type[Method],
    lakes: Sequence[TabularMDP],
    policy: Policy,
    *,
    settings: Settings | None = None,
    keep: Sequence[int],
    shown: Sequence[Trajectories],
    preferences: Sequence[tuple[Trajectories, Trajectories]],
    rates: Float[Tensor, " P"] | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **changes: object,
) -> Float[np.ndarray, "M L N S A"]:
    """Align policies on many lakes of one size in one run (on several by a method that draws no answers itself).

    Args:
        method: a name in METHODS, or a class.
        lakes: L of them.
        policy: L times N members, those of the first lake first (`make_base` makes such ones).
        settings: all knobs; `changes` are laid over them.
        keep: the updates after which policies are kept, the last of them the last one made; 0 is the base.
        shown: the demonstrations of each lake, or of each member, [B, T]; all of one B.
        preferences: the pairs (chosen, rejected), likewise.
        rates: a learning rate for each member, in place of the settings'.
        seed: of what is drawn while training: member i draws from seed + i.
        progress: called with (updates done, updates in all).

    Returns:
        The policies after each of `keep`. One that has diverged is NaN; the others go on.
    """
    kind, name = _looked_up(method)
    if kind.draws and len(lakes) > 1:
        raise ValueError(f"method {name!r} walks itself; allowed on many lakes at once: those that learn from data")
    if policy.population % len(lakes):
        raise ValueError(f"the policy has a population of {policy.population}; allowed: a multiple of the {len(lakes)} lakes")
    settings = replace(settings or Settings(), **changes)  # type: ignore[arg-type]
    settings = kind.resolved(replace(settings, steps=max(keep)), policy)
    each, device = policy.population // len(lakes), next(policy.parameters()).device
    chosen, rejected = ([pair[i] for pair in preferences] for i in (0, 1))
    data = [stacked(batches, policy.population // len(batches)).to(device) for batches in (shown, chosen, rejected)]
    draw_from = generators(seed, policy.population) if kind.draws else ()
    source = LakeSource(lakes[0], data[0], data[1], data[2], draw_from, device, lakes if len(lakes) > 1 else ())
    learner = kind(source, policy, settings)
    taken, policies, _, _ = _descend(learner, settings, set(keep), progress, rates=rates, tolerant=True)
    found = policies[[taken.index(step) for step in keep]]
    return found.reshape(len(keep), len(lakes), each, policy.num_states, policy.num_actions)


def _looked_up(method: str | type[Method]) -> tuple[type[Method], str]:
    """The method of a name, or the caller's own, and its name."""
    if not isinstance(method, str):
        return method, method.__name__
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; allowed: {', '.join(METHODS)}")
    return METHODS[method], method


def default_count(mdp: TabularMDP) -> int:
    """Demonstrations (and pairs) used by default: one path where it is the whole truth, else 16 episodes."""
    return 1 if mdp.is_path else 16


def snapshots(settings: Settings, entries: int) -> tuple[int, int]:
    """How many snapshots are taken of policies of so many entries, N S A, and how many of them are kept: what the settings
    ask for, or as many as `SNAPSHOT_BYTES` hold; the first and the last in any case."""
    room = max(2, SNAPSHOT_BYTES // (entries * np.dtype(float).itemsize))
    candidates = min(CANDIDATES * settings.snapshots, room)
    return candidates, min(settings.snapshots, max(2, candidates // CANDIDATES))


def memory(
    states: int,
    actions: int,
    population: int = 1,
    *,
    policy: str = "tabular",
    hidden: int = 64,
    method: str | type[Method] = "sft",
    settings: Settings | None = None,
) -> dict[str, int]:
    """Bytes that a population of N takes while it is trained, linear in N S. Batches and what is computed of them come on top.

    A table has P = N S A parameters, a network N (S H + H + H A + A); PPO's critic is another of the same kind with A = 1.

    - "parameters": 4 P, with the critic's;
    - "gradients": as much;
    - "moments": twice as much for Adam, once for RMSprop;
    - "reference": 4 P, the frozen base;
    - "snapshots": 8 N S A for each that is taken (`snapshots`), on the host wherever the policy is.

    Args:
        states, actions: S and A of the lake.
        population: N, seeds, or lakes times seeds.
        policy, hidden: the kind, and H of a network.
        method, settings: of the run.
    """
    kind, _ = _looked_up(method)
    settings = settings or Settings()

    def numbers(outputs: int) -> int:
        if policy == "tabular":
            return population * states * outputs
        return population * (states * hidden + hidden + hidden * outputs + outputs)

    own = 4 * numbers(actions)
    moved = own + (4 * numbers(1) if issubclass(kind, PPO) else 0)
    return {
        "parameters": moved,
        "gradients": moved,
        "moments": (2 if settings.optimiser == "adam" else 1) * moved,
        "reference": own,
        "snapshots": 8 * population * states * actions * snapshots(settings, population * states * actions)[0],
    }


def snapshot_steps(updates: int, count: int) -> set[int]:
    """Steps to look at, at most `count` with 0 and the last: close together early, when most changes, far apart late."""
    share = np.linspace(0, 1, count) ** 2
    return {round(updates * s) for s in share}


@one_thread()
def make_base(
    kind: str,
    mdp: TabularMDP | Sequence[TabularMDP],
    *,
    policy: str = "mlp",
    seeds: int = 1,
    seed: int = 0,
    hidden: int = 64,
    good: float = 0.5,
    noise: float = BASE_NOISE,
    shown: tuple[Trajectories, Trajectories] | Sequence[tuple[Trajectories, Trajectories]] | None = None,
    device: torch.device | str = "cpu",
) -> Policy:
    """A population of base policies to align.

    Args:
        kind: "uniform" (every action alike), "random" (random parameters) or "mixture": cloned from an optimal and a
            sub-optimal demonstrator, as a pre-trained language model is that has read good and bad.
        mdp: the lake; or several of one size, each of which gets `seeds` members, those of the first lake first.
        policy: "mlp" or "tabular".
        seeds, seed: member i is drawn from seed + i.
        hidden: width of the network.
        good: share of the optimal demonstrator in the mixture, in [0, 1].
        noise: share of each step's probability that the mixture spreads over all actions, in (0, 1].
        shown: the (optimal, sub-optimal) demonstrations that the mixture is cloned from, of each lake.
        device: of the parameters.
    """
    if policy not in POLICIES:
        raise ValueError(f"unknown policy {policy!r}; allowed: {', '.join(POLICIES)}")
    if kind not in BASES:
        raise ValueError(f"unknown base {kind!r}; allowed: {', '.join(BASES)}")
    if not 0 <= good <= 1:
        raise ValueError(f"good is {good}; allowed: [0, 1]")
    if not 0 < noise <= 1:
        raise ValueError(f"noise is {noise}; allowed: (0, 1]")
    lakes = [mdp] if isinstance(mdp, TabularMDP) else list(mdp)
    states, actions = lakes[0].num_states, lakes[0].num_actions
    options = {"hidden": hidden} if policy == "mlp" else {}
    made = POLICIES[policy](states, actions, len(lakes) * seeds, **options).to(device)
    made.initialise(generators(seed, len(lakes) * seeds), uniform=kind == "uniform")
    if kind == "mixture":
        if shown is None:
            shown = [
                (demonstrations(lake, default_count(lake)), demonstrations(lake, default_count(lake), quality="suboptimal"))
                for lake in lakes
            ]
        elif isinstance(shown[0], Trajectories):
            shown = [shown]  # type: ignore[list-item]
        _clone(made, shown, (good, 1 - good), noise)  # type: ignore[arg-type]
    return made


def _clone(
    policy: Policy,
    shown: Sequence[tuple[Trajectories, Trajectories]],
    shares: tuple[float, float],
    noise: float,
    updates: int = 120,
) -> None:
    """Fit a policy to the demonstrators' mixed, noisy choices on the tiles that they visit; other tiles are left to chance."""
    device = next(policy.parameters()).device
    counts = torch.zeros(len(shown), policy.num_states, policy.num_actions)
    for lake, batches in zip(counts, shown, strict=True):
        for batch, share in zip(batches, shares, strict=True):
            index = batch.states * policy.num_actions + batch.actions
            seen = torch.zeros(lake.numel()).scatter_add_(0, index.flatten(), batch.mask.flatten().float())
            lake += share * seen.reshape(lake.shape) / len(batch.states)
    # Visited tiles first; a lake with fewer of them than another is filled up with tiles that weigh nothing.
    seen = counts.sum(-1)
    most = int((seen > 0).sum(-1).max())
    visited = torch.argsort((seen == 0).int(), dim=-1, stable=True)[:, :most]
    weight = (seen.gather(-1, visited) > 0).float()
    target = counts.gather(1, visited[..., None].expand(-1, -1, policy.num_actions))
    target = target / target.sum(-1, keepdim=True).clamp(min=1e-12)
    target = (1 - noise) * target + noise / policy.num_actions
    each = policy.population // len(shown)
    weight, target, visited = (
        (x if len(shown) == 1 else x.repeat_interleave(each, 0)).to(device) for x in (weight, target, visited)
    )
    adam = Adam(policy.parameters(), learning_rate=0.0)
    for step in range(updates):
        adam.learning_rate = 8 * policy.learning_rate * (1 - step / updates)  # fast at first, then settling down
        logp = torch.log_softmax(policy(visited), -1)
        nats = -(target * logp).sum(-1) * weight
        (nats.sum(-1) / weight.sum(-1)).sum().backward()  # summed over seeds, so that they do not mix; averaged over tiles
        adam.step()


def _blame(what: str, step: int, values: Tensor, settings: Settings) -> str:
    member = int((~torch.isfinite(values)).nonzero()[0, 0])
    return (
        f"the {what} of seed {member} is {float(values[member].detach())} at step {step + 1}, "
        f"with learning_rate={settings.learning_rate}: lower it"
    )
