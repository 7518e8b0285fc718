"""DPO's loss stands at log 2: three reasons, and one run in which it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad

from ift_gridworld.data import Trajectories, path_of
from ift_gridworld.evaluation.metrics import expected_visits, log_likelihood
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.preferences import DPO, PairSide
from ift_gridworld.rendering.failure import ChartLine, Failure, Panel
from ift_gridworld.studies.failures.setup import Setup, choose_frames, signed

__all__ = ["LiveReference", "concatenate_trajectories", "log2"]


class LiveReference(DPO):
    """A mistake, made on purpose: the reference is the policy itself, so that each margin is 0 while its gradient is not."""

    def batch(self, step: int) -> tuple[PairSide, PairSide]:
        chosen, rejected = self.source.pair_batch(step)
        return PairSide(chosen, self.policy), PairSide(rejected, self.policy)


def log2(seeds: int, seed: int) -> Failure:
    """Train DPO in three ways that hold its loss at log 2, and in one that does not."""
    setup = Setup("two-paths", seeds, seed)
    both = concatenate_trajectories(*setup.preferences), concatenate_trajectories(*reversed(setup.preferences))
    cases: tuple[tuple[str, str | type[Method[Any]], dict[str, Any]], ...] = (
        ("As it should be", "dpo", {}),
        ("Reference follows", LiveReference, {}),
        ("Pairs in both orders", "dpo", {"preferences": both}),
        ("Rate of 1e-6", "dpo", {"learning_rate": 1e-6}),
    )
    runs = [setup.train(method, setup.base("mlp"), **options) for _, method, options in cases]
    # Draw the first seed that the live reference drives away from the goal; if there is none, the first.
    drawn = int(np.argmax(runs[1].metrics["success"][-1] < 0.5))
    frames = choose_frames([run.policies[:, drawn] for run in runs])
    columns, growth = [], []
    chosen, rejected = setup.preferences
    for (title, _, _), run in zip(cases, runs, strict=True):
        policies = run.policies[:, drawn]
        gap = log_likelihood(policies, chosen) - log_likelihood(policies, rejected)
        growth.append(gap - gap[0])
        # The loss before each update; that of the last policy is taken for the one before it.
        loss = np.append(run.loss[:, drawn], run.loss[-1, drawn])
        notes = [f"gap {signed(x)}, success {y:.2f}" for x, y in zip(growth[-1], run.metrics["success"][:, drawn], strict=True)]
        columns.append(
            Panel(
                title,
                [notes[i] for i in frames],
                policies[frames],
                "dpo",
                expected_visits(setup.mdp, policies[frames]),
                (ChartLine("DPO's loss", loss[frames]),),
            )
        )
    at_log2 = [int((np.abs(run.loss[-1] - np.log(2)) < 0.01).sum()) for run in runs]
    last = len(runs[0].loss)
    success = [run.metrics["success"][-1].mean() for run in runs]
    cause = _cause(last, at_log2, seeds, success, runs[0].metrics["success"][0].mean())
    return Failure(
        "log2", "DPO's loss stands at log 2, for three reasons",
        "Margin 0 is log 2, whether the policy runs away, pairs cancel, or nothing moves.",
        f"After {last} updates {', '.join(map(str, at_log2[1:-1]))} and {at_log2[-1]} of {seeds} seeds are at log 2; "
        f"as it should be, {at_log2[0]}.",
        setup.about("network", seed + drawn), cause, setup.lake, path_of(chosen), path_of(rejected), np.array(frames),
        tuple(columns), "visits", "DPO's loss, nats", "linear", (0.0, 0.95), (float(np.log(2)), "log 2"),
    )  # fmt: skip


def _cause(last: int, at_log2: Sequence[int], seeds: int, success: Sequence[float], base: float) -> tuple[tuple[str, str], ...]:
    """Return the cause in full; `success` is the mean of each case at the end, `base` that of the base."""
    return (
        (
            "What log 2 says",
            "L = −log σ(β·margin) is log 2 = 0.693 where the margin, the gap between the answers’ log-likelihoods less that of "
            "the reference, is 0. It does not say why. What the gap has grown by since the base, and the gradient, do.",
        ),
        (
            "Three reasons",
            "A reference that is the live policy: margin 0 for ever, but a gradient of β/2 that never fades; the policy runs "
            "away. Each pair in both orders: the gradients cancel, margin 0 is best. A rate too low: a gradient of β/2, and "
            "hardly a move.",
        ),
        (
            "How often",
            f"After {last} updates {', '.join(map(str, at_log2[:-1]))} and {at_log2[-1]} of {seeds} seeds are "
            f"within 0.01 of log 2. Mean success: {', '.join(f'{x:.2f}' for x in success[:-1])} and {success[-1]:.2f}; the "
            f"base’s is {base:.2f}.",
        ),
    )


def concatenate_trajectories(one: Trajectories, other: Trajectories) -> Trajectories:
    """Return the rows of both batches, the shorter padded."""
    steps = max(one.states.shape[-1], other.states.shape[-1])
    sides = [{f.name: getattr(side, f.name) for f in fields(side)} for side in (one, other)]
    columns = {name: torch.cat([pad(side[name], (0, steps - side[name].shape[-1])) for side in sides]) for name in sides[0]}
    return type(one)(**columns)
