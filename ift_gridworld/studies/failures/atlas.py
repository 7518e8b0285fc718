"""The failure atlas: two failures over many lakes, as figures, with what they say in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ift_gridworld.evaluation.best_of_n import best_of_n_bound
from ift_gridworld.rendering.method_names import method_name
from ift_gridworld.rendering.study_figures import StudyFigure
from ift_gridworld.studies.failures import atlas_displacement as pairs
from ift_gridworld.studies.failures import atlas_optimisation as rewards
from ift_gridworld.studies.failures.atlas_figures import draw_displacement, draw_over_optimisation, optimiser_name
from ift_gridworld.studies.failures.setup import signed

__all__ = ["AtlasFigure", "Report", "displacement_predicted", "overoptimisation"]

Report = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class AtlasFigure:
    """A figure of the atlas.

    Attributes:
        name: of its files.
        title: the question.
        why: the answer in a sentence, with the numbers.
        often: in how many pairs or runs.
        about: lakes, policies and seeds in a line.
        cause: paragraphs, each with a heading.
        numbers: all that are drawn.
        draw: makes the figure in a theme.
    """

    name: str
    title: str
    why: str
    often: str
    about: str
    cause: tuple[tuple[str, str], ...]
    numbers: dict[str, Any]
    draw: Callable[[str], StudyFigure]

    @property
    def alt(self) -> str:
        """All that the figure says, in words."""
        cause = " ".join(f"{heading}: {text}" for heading, text in self.cause)
        return f"{self.title} ({self.about}). {self.why} {self.often} {cause}"


def displacement_predicted(seeds: int, seed: int, report: Report, *, lakes: int = pairs.LAKES) -> AtlasFigure:
    """Ask of pairs on many lakes whether the similarity of hidden states predicts displacement, and which losses prevent it."""
    result = pairs.measure_displacement(seeds, seed, report, lakes=lakes)
    first, last = result.updates[0], result.updates[-1]

    def rho(name: str, checkpoint: int = -1) -> str:
        value, low, high = result.correlation(name, "dpo", checkpoint)
        return f"{signed(value)} [{signed(low)}, {signed(high)}]"

    shares = {method: result.fallen(method) for method in result.chosen}
    ranked = sorted(shares, key=lambda method: shares[method][0])
    least = shares[ranked[0]][0]
    safest = ", ".join(method_name(method) for method in ranked if shares[method][0] == least)
    listed = "; ".join(f"{method_name(m)} {shares[m][0]:.0%} [{shares[m][1]:.0%}, {shares[m][2]:.0%}]" for m in ranked)
    cause = (
        (
            "Correlations",
            "With how far DPO’s chosen answer falls (ρ > 0: a larger value predicts a further fall), after "
            f"{first} and after {last} updates: "
            + "; ".join(f"{words} {rho(name, 0)} and {rho(name)}" for name, words in pairs.PREDICTORS.items())
            + ".",
        ),
        ("Losses", f"Share of pairs whose chosen answer is less likely after {last} updates than before: {listed}."),
        (
            "How it is measured",
            f"Each pair is two walks with {pairs.NOISE:.0%} random moves, of at most {pairs.LIMIT} steps; the one of "
            "higher return is chosen. Each trains a network of its own, from a base cloned from demonstrators, with the "
            "method’s default options and Adam. Intervals are 95 %, over lakes; they are not corrected for their number.",
        ),
    )
    numbers = {
        "updates": list(result.updates),
        "predictors": result.predictors,
        "chosen_change": result.chosen,
        "rejected_change": result.rejected,
        "correlations": {m: {name: _correlations(result, name, m) for name in pairs.PREDICTORS} for m in result.chosen},
        "fallen": {m: np.array([result.fallen(m, i) for i in range(len(result.updates))]) for m in result.chosen},
    }
    return AtlasFigure(
        "displacement_predicted", "Does hidden similarity predict likelihood displacement?",
        f"Over {lakes * seeds:,} pairs the rank correlation of CHES with how far DPO’s chosen answer falls in {last} updates "
        f"is {rho('ches')}; of the share of states that both answers visit, {rho('shared')}.",
        f"Under DPO the chosen answer falls in {shares['dpo'][0]:.0%} of the pairs, under {safest} in "
        f"{f'{least:.0%}' if least else 'none'}.",
        f"{lakes} random {pairs.SIDE}x{pairs.SIDE} lakes · no slip · networks · base: mixture · {seeds} pairs on each · seed "
        f"{seed}",
        cause, numbers, partial(draw_displacement, result),
    )  # fmt: skip


def _correlations(result: pairs.Displacement, name: str, method: str) -> np.ndarray:
    """Return correlation, low and high end of its interval, after each number of updates."""
    return np.array([result.correlation(name, method, i) for i in range(len(result.updates))])


def overoptimisation(seeds: int, seed: int, report: Report, *, lakes: int = rewards.LAKES) -> AtlasFigure:
    """Optimise learned rewards by best-of-n, RLOO and PPO, and compare true with learned return over the KL."""
    result = rewards.measure_over_optimisation(seeds, seed, report, lakes=lakes)
    rows = {str(row["optimiser"]): row for row in result.table()}
    fell = [f"{optimiser_name(name)} in {float(row['below_base']):.0%}" for name, row in rows.items()]
    peaks = [
        f"{optimiser_name(name)} {float(row['highest_gain']):.2f} and {signed(float(row['last_gain']))}"
        for name, row in rows.items()
    ]
    fits = [
        f"{optimiser_name(name)}: α = {row['alpha']:.2f}, β = {row['beta']:.2f}, error {row['error']:.2f} (the other form: "
        f"{row['other_form_error']:.2f})"
        for name, row in rows.items()
    ]
    most, exact = rewards.NUMBERS[-1], result.kl[rewards.BEST_OF_N][..., -1]
    start, end = (float(result.unlimited["ppo"][..., i].mean()) for i in (0, -1))
    cause = (
        (
            "How it is measured",
            f"A reward r(s, a) is learned from {rewards.PAIRS} compared pairs of the base’s own episodes, and optimised "
            f"with a low price of KL, β = {rewards.BETA:g}. All episodes of at most {rewards.LIMIT} steps are listed, so "
            "returns, KL and best-of-n are exact for any n. Gains are shares of what the best episode gains over the base.",
        ),
        (
            "What best-of-n keeps",
            "It chooses among the base’s own episodes, so its KL ends at −log of the probability of those that score highest: "
            f"with n = {most:,.0f} it is {exact.mean():.2f} nats, where log n − (n − 1)/n is {best_of_n_bound(most):.2f}.",
        ),
        (
            "What PPO climbs",
            "It bootstraps where the time limit cuts an episode. Its learned return without the limit goes from "
            f"{start:.0%} to {end:.0%} of its maximum; that of {rewards.LIMIT} steps ends at a gain of "
            f"{signed(float(rows['ppo']['last_learned']))}. RLOO scores whole episodes, as best-of-n does.",
        ),
        (
            "Published forms",
            "d (α − β d) for best-of-n and d (α − β log d) for reinforcement learning, d = √KL, fitted to all runs: "
            f"{'; '.join(fits)}. The error is a root mean square in the unit of the gain.",
        ),
    )
    numbers = {
        "n": rewards.NUMBERS, "updates": list(rewards.CHECKPOINTS), "kl": result.kl, "gold": result.gold,
        "learned": result.learned, "unlimited": result.unlimited, "table": result.table(),
        "bound": np.array([best_of_n_bound(n) for n in rewards.NUMBERS]),
    }  # fmt: skip
    return AtlasFigure(
        "overoptimisation", "How far can a learned reward be optimised?",
        f"Mean gain in true return at its highest and at the end: {'; '.join(peaks)}.",
        f"It ends below the base: {', '.join(fell)} of {lakes * seeds} runs.",
        f"{lakes} random {rewards.SIDE}x{rewards.SIDE} lakes · no slip · networks · base: mixture · {seeds} rewards on each · "
        f"seed {seed}",
        cause, numbers, partial(draw_over_optimisation, result),
    )  # fmt: skip
