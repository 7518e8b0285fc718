"""ORPO near certainty: a number format that rounds p to 1 makes its odds infinite, and the gradient is not a number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from ift_gridworld.data import Trajectories, path_of
from ift_gridworld.evaluation.metrics import log_likelihood
from ift_gridworld.methods.preferences import ORPO, Scored
from ift_gridworld.rendering.failure import ChartLine, Failure, Panel
from ift_gridworld.studies.failures.setup import Setup, choose_frames

__all__ = ["HalfPlainORPO", "HalfStableORPO", "PlainORPO", "certainty", "span"]


class PlainORPO(ORPO):
    """ORPO as it is often written: log(1 - exp(c)) with nothing done for c near 0."""

    precision = torch.float32

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Tensor:
        c, r = chosen.mean.to(self.precision), rejected.mean.to(self.precision)
        log_odds = (c - r) - (torch.log1p(-torch.exp(c)) - torch.log1p(-torch.exp(r)))
        return (-c - self.options.beta * logsigmoid(log_odds)).float()


class HalfPlainORPO(PlainORPO):
    """Plain ORPO in bfloat16, the precision in which language models are trained."""

    precision = torch.bfloat16


class HalfStableORPO(ORPO):
    """Stable ORPO in bfloat16, with log(1 - exp(c)) = log(-expm1(c)) near 0."""

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Tensor:
        c, r = chosen.mean.bfloat16(), rejected.mean.bfloat16()
        log_odds = (c - r) - (self._log1mexp(c) - self._log1mexp(r))
        return (-c - self.options.beta * logsigmoid(log_odds)).float()

    @staticmethod
    def _log1mexp(x: Tensor) -> Tensor:
        near = x > -0.6931  # each form gets only what it is accurate for; elsewhere its gradient would be NaN
        return torch.where(
            near, torch.log(-torch.expm1(torch.where(near, x, -0.5))), torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
        )


def certainty(seeds: int, seed: int) -> Failure:
    """Train ORPO until p is rounded to 1, in two number formats, and in the safe form."""
    setup = Setup("two-paths", seeds, seed)
    forms = (
        ("log(1 − eᶜ), bfloat16", HalfPlainORPO, 2.0**-9),
        ("log(1 − eᶜ), float32", PlainORPO, 2.0**-25),
        ("log(−expm1(c)), bfloat16", HalfStableORPO, None),
    )
    chosen, rejected = setup.preferences
    steps, length = 300, len(path_of(chosen))
    ended: list[list[int]] = []
    drawn = []
    for _, method, _ in forms:
        runs = [
            setup.train(method, setup.base("mlp", seeds=1, seed=member), seed=member, steps=steps)
            for member in range(seed, seed + seeds)
        ]
        ended.append([len(run.loss) + 1 for run in runs if run.diverged])
        drawn.append(fill_diverged(runs[0].policies[:, 0], steps + 1))
    frames = choose_frames(drawn)
    gaps = [uncertainty(policies, chosen, length) for policies in drawn]
    cases = []
    for (title, _, smallest), policies, gap in zip(forms, drawn, gaps, strict=True):
        notes = ["no number is left" if np.isnan(g) else f"p = 1 − {g:.0e}" for g in gap[frames]]
        lines: tuple[ChartLine, ...] = (ChartLine("1 − p", gap[frames]),)
        if smallest is not None:
            lines += (ChartLine("below this, p is rounded to 1", np.full(len(frames), smallest), "muted", dashed=True),)
        cases.append(Panel(title, notes, policies[frames], "orpo", None, lines))
    stop = int(np.isnan(gaps[0]).argmax()) if np.isnan(gaps[0]).any() else len(gaps[0])
    cause = (
        (
            "What ORPO compares",
            "Odds p / (1 − p) of two answers; p is the geometric mean of an answer’s probabilities, eᶜ for a mean "
            "log-probability c. It is often written with log(1 − eᶜ). Nothing is wrong with the loss: it flattens out near "
            "p = 1.",
        ),
        (
            "Why no number is left",
            f"bfloat16 has no number between 1 − {2.0**-8:.3f} and 1. After update {stop - 1} p is 1 − {gaps[0][stop - 1]:.4f} "
            "and is rounded to 1: log 0 is −∞, the loss still finite, its gradient not a number; one update with it leaves "
            "nothing of the policy.",
        ),
        (
            "How often",
            f"In {len(ended[0])} of {seeds} seeds in bfloat16"
            + (f", after {span([update - 1 for update in ended[0]])} updates" if ended[0] else "")
            + f"; in {len(ended[2])} with log(−expm1(c)), accurate near c = 0, in the same precision; in {len(ended[1])} in "
            f"float32, whose border, {2.0**-25:.0e}, no seed has come to in {steps} updates."
            if not ended[1]
            else f"In {len(ended[0])}, {len(ended[1])} and {len(ended[2])} of {seeds} seeds.",
        ),
    )
    return Failure(
        "certainty", "ORPO breaks down near certainty",
        f"bfloat16 rounds p to 1 where 1 − p < {2.0**-9:.3f}: log 0, whose gradient is not a number.",
        f"In {len(ended[0])} of {seeds} seeds; written as log(−expm1(c)), in {len(ended[2])}.",
        setup.about("network", seed), cause, setup.lake, path_of(chosen), path_of(rejected), np.array(frames), tuple(cases), "",
        "1 − p; p: geometric mean of the probabilities of the chosen moves", "log", (1e-8, 1.0),
    )  # fmt: skip


def span(numbers: Sequence[int]) -> str:
    """Return the least and the greatest of several numbers in words.

    Example:
        >>> span([31, 26, 28]), span([26, 26])
        ('26 to 31', '26')
    """
    first, last = min(numbers), max(numbers)
    return f"{first} to {last}" if first < last else f"{first}"


def uncertainty(policies: Float[np.ndarray, "U S A"], answer: Trajectories, length: int) -> Float[np.ndarray, " U"]:
    """Return 1 - p, where p is the geometric mean of the probabilities of an answer's moves."""
    finite = ~np.isnan(policies).any((1, 2))
    return -np.expm1(np.where(finite, log_likelihood(policies, answer), np.nan) / length)


def fill_diverged(policies: Float[np.ndarray, "U S A"], count: int) -> Float[np.ndarray, "F S A"]:
    """Return `count` policies: NaN after training broke off."""
    missing = np.full((count - len(policies), *policies.shape[1:]), np.nan)
    return np.concatenate([policies, missing])
