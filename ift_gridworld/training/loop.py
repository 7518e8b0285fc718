"""Training on one environment: a method, its data, the one descent, and the run that it leaves."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.checks import check_choice, check_whole
from ift_gridworld.data import Trajectories, generators, path_of, preference_pairs
from ift_gridworld.data import demonstrations as demonstrate
from ift_gridworld.evaluation.estimation import TABLE, estimate
from ift_gridworld.evaluation.metrics import affordable_metrics, even_change, measure, reference_points, tiles_of
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.options import MethodOptions, TrainingOptions, split_overrides
from ift_gridworld.methods.registry import name_of, option_owners
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.optimisation import OPTIMISERS, descend
from ift_gridworld.policies.lake import POLICIES, LakePolicy
from ift_gridworld.runtime import progress as show_progress
from ift_gridworld.runtime import standard_settings
from ift_gridworld.storage import versions
from ift_gridworld.training.base_policies import default_count
from ift_gridworld.training.run import Run
from ift_gridworld.training.snapshots import fixed_steps, snapshot_steps, snapshots
from ift_gridworld.training.together import drawing_typical

__all__ = ["optimise", "options_for", "train"]


@standard_settings()
def train(
    method: str | type[Method[Any]],
    mdp: TabularMDP,
    policy: LakePolicy,
    *,
    options: MethodOptions | None = None,
    training: TrainingOptions | None = None,
    seed: int = 0,
    demonstrations: Trajectories | None = None,
    preferences: tuple[Trajectories, Trajectories] | None = None,
    progress: Callable[[int, int], None] | bool = False,
    **overrides: Any,
) -> Run:
    """Align a policy in place by one method and keep snapshots.

    On a CPU a member's policies do not depend on how many are trained beside it: to the last bit by SFT and its rivals, PPO and
    most losses over pairs, else to float32 rounding. Where a method draws episodes, a number within rounding of a boundary
    between two actions may send a member and its copy trained alone different ways; then they part as two seeds do.

    Args:
        method: a registered name, or a class of your own: a subclass of `methods.Method`.
        mdp: the environment.
        policy: the base; its copy is the reference. All its N members are trained at once, member i on seed + i.
        options: the method's own, such as `methods.IFTOptions` (default: the method's defaults).
        training: what all methods have (`methods.TrainingOptions`).
        seed: of everything drawn while training.
        demonstrations: [B, T] (default: one path, or 16 episodes where the environment is stochastic).
        preferences: pairs (chosen, rejected), each [B, T] (default: likewise).
        progress: a function that is called with (updates done, updates in all); or True for a bar on a terminal or in a
            notebook.
        overrides: single options laid over both, as in ``train("ift", mdp, policy, mixing=0.5, steps=100)``.

    Returns:
        The run; it draws its typical seed. If the loss stops being a number, training stops there: see `Run.diverged`.

    Raises:
        ValueError: for an unknown method or option, a value out of range, or a policy of another size.

    >>> from ift_gridworld import TabularMDP
    >>> from ift_gridworld.training import make_base
    >>> mdp = TabularMDP.make("two-paths")
    >>> run = train("sft", mdp, make_base("mixture", mdp, policy="tabular"), steps=100, learning_rate=0.1)
    >>> bool(run.metrics["success"][-1, 0] > 0.99)
    True
    """
    _check(mdp, policy)
    name, kind, options, training = options_for(method, policy, options, training, overrides)
    check_choice(f"assumed_prior of {kind.__name__}", kind.assumed_prior, TABLE)
    seed = check_whole("seed", seed, at_least=0)
    if demonstrations is None:
        demonstrations = demonstrate(mdp, default_count(mdp))
    if not isinstance(demonstrations, Trajectories):
        raise ValueError(
            f"demonstrations is a {type(demonstrations).__name__}; allowed: Trajectories, as data.demonstrations gives"
        )
    if preferences is None:
        preferences = preference_pairs(mdp, default_count(mdp), needed=kind.needs == "pairs")
    data = _Data(mdp, demonstrations, *preferences, seed=seed)
    with show_progress(f"training {name}") if progress is True else nullcontext(progress or None) as report:
        return _trained(name, kind, policy, options, training, data, report)


@dataclass(frozen=True, eq=False)
class _Data:
    """Training data of a policy: the MDP, demonstrations and pairs, and the seed of all that is drawn."""

    mdp: TabularMDP
    demonstrations: Trajectories
    chosen: Trajectories
    rejected: Trajectories
    seed: int

    def source(self, policy: LakePolicy) -> LakeSource:
        device = next(policy.parameters()).device
        shown, chosen, rejected = (x[None].to(device) for x in (self.demonstrations, self.chosen, self.rejected))
        return LakeSource(self.mdp, shown, chosen, rejected, generators(self.seed, policy.population), device)


def _trained(
    name: str,
    kind: type[Method[Any]],
    policy: LakePolicy,
    options: MethodOptions,
    training: TrainingOptions,
    data: _Data,
    progress: Callable[[int, int], None] | None,
) -> Run:
    """Train and measure: what the method assumes before and after, and every policy that is kept."""
    mdp, answers = data.mdp, data.chosen if kind.needs == "pairs" else data.demonstrations
    residual = {key: getattr(options, key) for key in ("mixing", "prediction", "outcome") if hasattr(options, key)}

    def estimated() -> dict[str, Float[np.ndarray, "N T"]]:
        return estimate(kind.assumed_prior, mdp, policy, answers, stale=data.rejected, **residual).per_step()

    estimation = {"base": estimated()}
    assert training.steps is not None
    candidates, most_kept = snapshots(training, policy.population * policy.num_states * policy.num_actions)
    began = time.perf_counter()
    learner = kind(data.source(policy), policy, options)
    fixed = fixed_steps(training, most_kept)
    steps, policies, losses, diverged = optimise(
        learner, training, snapshot_steps(training.steps, candidates) | fixed, progress
    )
    seconds = time.perf_counter() - began
    if diverged is None:
        estimation["trained"] = estimated()
    chosen = set(range(len(steps)))
    if len(steps) > most_kept:
        chosen = {i for i in chosen if steps[i] in fixed}
        chosen |= set(even_change(np.array(steps), policies, max(2, most_kept - len(chosen))))
    steps, policies = [steps[i] for i in sorted(chosen)], policies[sorted(chosen)]
    shown = tiles_of(mdp, data.demonstrations)
    pair: dict[str, Any] = {"chosen": data.chosen, "rejected": data.rejected} if len(data.chosen.states) else {}
    run = Run(
        method=name,
        title=kind.full_title(name),
        needs=kind.needs,
        environment=mdp.where,
        settings=_settings(policy, options, training, data),
        versions=versions(),
        steps=np.array(steps),
        metrics=measure(mdp, policies, base=policies[0], shown=shown, only=affordable_metrics(mdp), **pair),
        optimum=reference_points(mdp),
        loss=torch.stack(losses).cpu().numpy() if losses else np.zeros((0, policy.population)),
        snapshots=policies[:, 0],
        base=policies[0],
        final=policies[-1],
        demonstration=path_of(answers),
        rejected=path_of(data.rejected) if kind.needs == "pairs" and not kind.draws else np.zeros((0, 2), int),
        seconds=seconds,
        diverged=diverged,
        assumed_prior=kind.assumed_prior,
        estimation=estimation,
        made_of=mdp,
        every_policy=policies,
    )
    return drawing_typical(run)


def _settings(policy: LakePolicy, options: Any, training: TrainingOptions, data: _Data) -> dict[str, Any]:
    """Return all settings that determine a run, beside the code."""
    kind = next((name for name, policy_class in POLICIES.items() if type(policy) is policy_class), type(policy).__name__)
    return {
        "policy": kind,
        "seed": data.seed,
        "seeds": policy.population,
        **asdict(training),
        "keep": list(training.keep),
        **asdict(options),
        "demonstrations": len(data.demonstrations.states),
        "demonstrations_arrived": int(data.demonstrations.reached_goal(data.mdp).sum()),
    }


def _check(mdp: TabularMDP, policy: LakePolicy) -> None:
    if not isinstance(mdp, TabularMDP):
        hint = ", as TabularMDP.from_env(env) gives" if hasattr(mdp, "unwrapped") else ""
        raise ValueError(f"mdp is a {type(mdp).__name__}; allowed: a TabularMDP{hint}")
    if not isinstance(policy, LakePolicy):
        missing = [name for name in ("embed", "logits", "population", "num_states") if not hasattr(policy, name)]
        lacks = f" (it lacks {', '.join(missing)})" if missing else ""
        raise ValueError(
            f"policy is a {type(policy).__name__}{lacks}; allowed: a subclass of policies.LakePolicy, as make_base gives"
        )
    if (policy.num_states, policy.num_actions) != (mdp.num_states, mdp.num_actions):
        raise ValueError(
            f"the policy has {policy.num_states} states and {policy.num_actions} actions, "
            f"the environment {mdp.num_states} and {mdp.num_actions}; they must match"
        )


def options_for(
    method: str | type[Method[Any]],
    policy: LakePolicy,
    options: MethodOptions | None,
    training: TrainingOptions | None,
    overrides: dict[str, Any],
) -> tuple[str, type[Method[Any]], Any, TrainingOptions]:
    """Return a method's name and class, its options and those of training, with overrides laid over and defaults filled in."""
    name, kind = name_of(method)
    training = TrainingOptions() if training is None else training
    if not isinstance(training, TrainingOptions):
        raise ValueError(f"training is a {type(training).__name__}; allowed: TrainingOptions")
    own, shared = split_overrides(name, kind.own_options(options), training, overrides, option_owners())
    return name, kind, own.resolved(), kind.resolved(shared, policy)


class _Diverged(Exception):
    """A loss stopped being a number."""


def optimise(
    learner: Method[Any],
    training: TrainingOptions,
    keep: set[int],
    progress: Callable[[int, int], None] | None = None,
    *,
    rates: Float[Tensor, " N"] | None = None,
    tolerant: bool = False,
) -> tuple[list[int], Float[np.ndarray, "M N S A"], list[Tensor], str | None]:
    """Train by `optimisation.descend` and keep policies on the way.

    Nothing is compiled: on a CPU `torch.compile` took 4 to 14 s, and then an update of 64 seeds on 8x8 took 0.6 to 1.4 times as
    long as without (0.6 to 2.8 ms), so that it would pay after some ten thousand updates, if at all; a run has some hundred.

    Args:
        learner: the method, made of source and policy.
        training: its steps and learning rate filled in.
        keep: updates after which the policies are kept, beside the base.
        progress: called with (updates done, updates in all).
        rates: the seeds' own learning rates, in place of the options'.
        tolerant: go on where a seed's loss is no number: seeds do not mix, and the others may be sound.

    Returns:
        The updates kept, the policies after them, every loss [N], and what stopped being a number, where and when.
    """
    policy: Any = learner.policy
    assert training.steps is not None
    assert training.learning_rate is not None
    updates, rate = training.steps, training.learning_rate
    steps, losses, causes = [0], [], []
    first = policy.probabilities()
    policies = np.empty((len(keep | {0}), *first.shape))
    policies[0] = first
    optimiser = OPTIMISERS[training.optimiser](learner.parameters(), rate if rates is None else rates)

    def check(what: str, update: int, values: Tensor) -> None:
        if not torch.isfinite(values).all():
            causes.append(_cause(what, update, values, rate))
            if not tolerant:
                raise _Diverged

    def objective(update: int) -> Tensor:
        loss = learner.loss(learner.batch(update))
        _check_loss(learner, loss)
        check("loss", update, loss)
        return loss

    try:
        for update, loss in descend(objective, lambda: optimiser.step(learner.max_grad_norm), range(updates)):
            losses.append(loss)
            if update + 1 in keep:
                matrix = policy.probabilities()
                check("policy", update, torch.as_tensor(matrix).sum((1, 2)))
                policies[len(steps)] = matrix
                steps.append(update + 1)
            if progress is not None:
                progress(update + 1, updates)
    except _Diverged:
        pass
    return steps, policies[: len(steps)], losses, causes[0] if causes else None


def _check_loss(learner: Method[Any], loss: object) -> None:
    shape = tuple(loss.shape) if isinstance(loss, Tensor) else None
    if shape != (learner.policy.population,):
        what = f"has shape {shape}" if shape is not None else f"is {loss!r}"
        allowed = f"a tensor of one loss a seed, of shape ({learner.policy.population},)"
        raise ValueError(f"the loss of {type(learner).__name__} {what}; allowed: {allowed}")


def _cause(what: str, update: int, values: Tensor, rate: float) -> str:
    member = int((~torch.isfinite(values)).nonzero()[0, 0])
    return (
        f"the {what} of seed {member} is {float(values[member].detach())} at step {update + 1}, "
        f"with learning_rate={rate}: lower it"
    )
