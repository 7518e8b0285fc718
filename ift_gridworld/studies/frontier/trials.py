"""Trials of each method, and the choice of the best: equally many trials for all, on lakes that are not reported.

A trial is a learning rate, as a multiple of the policy's default, and a value of the one option that is the method's own (its
knob). A method without such an option tries more rates instead. The best trial has the least mean regret over the held-in lakes
after the last update; nothing else is looked at. Where it lies on an edge of what was tried, the trials beyond that edge are
made as well, `ROUNDS` times at most; what still lies on an edge then is marked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from ift_gridworld.evaluation.selection import best_key, beyond_edges, is_sound
from ift_gridworld.methods.registry import method_options
from ift_gridworld.studies.tables import Columns

__all__ = ["BUDGET", "KNOBS", "ROUNDS", "Choice", "Trial", "choose", "trials_beyond", "trials_of"]

BUDGET = 9  # trials of each method to begin with
ROUNDS = 3  # times that a method's trials are extended, at most
FACTORS = (0.3, 1.0, 3.0)  # of the policy's default learning rate
MORE_FACTORS = (0.03, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 10.0)  # of a method without a knob
SPREAD = (0.1, 1.0, 10.0)  # of a knob's default, where it has one above 0
PRICES = (0.0, 0.01, 0.1)  # of KL, where a method charges none by default
LEAST_KNOB, MOST_FACTOR = 1e-9, 200.0  # beyond which nothing is tried

# The option that is a method's own, and its values (None: `SPREAD` times the default).
KNOBS: dict[str, tuple[str, Sequence[float] | None]] = {
    "ift": ("mixing", (0.1, 0.2, 0.5)),
    "asft": ("kl_weight", None),
    "scheduled": ("probability", (0.1, 0.25, 0.5)),
    "neftune": ("noise", (1.0, 5.0, 25.0)),
    "dagger": ("every", (10, 30, 100)),
    "distill": ("divergence", (0.0, 0.5, 0.9)),
    "tdpo": ("alpha", (0.1, 0.5, 1.0)),
    "simpo": ("gamma", (0.4, 1.6, 3.2)),
    "robust": ("label_smoothing", (0.1, 0.2, 0.3)),
    "exo": ("label_smoothing", (0.001, 0.01, 0.1)),
    "dpop": ("weight", (5.0, 50.0, 500.0)),
    "hpt": ("gate", (0.0, 0.25, 0.5)),
    "luffy": ("guides", (1, 2, 4)),
    **dict.fromkeys(("dr_grpo", "dapo", "gspo", "cispo", "sapo"), ("beta", PRICES)),
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """A learning rate as a multiple of the policy's default, and the knob's value; None for a method without a knob."""

    factor: float
    knob: float | None

    def options(self, method: str) -> dict[str, Any]:
        """Return the options that the knob's value stands for."""
        name = _knob_name(method)
        return {} if name is None else {name: self.knob}


def _knob_name(method: str) -> str | None:
    if method in KNOBS:
        return KNOBS[method][0]
    return "beta" if hasattr(method_options(method)().resolved(), "beta") else None


def trials_of(method: str) -> list[Trial]:
    """Return a method's trials, `BUDGET` of them.

    Example:
        >>> [trial.factor for trial in trials_of("sft")][:3], {trial.knob for trial in trials_of("ift")} == {0.1, 0.2, 0.5}
        ([0.03, 0.1, 0.2], True)
    """
    name = _knob_name(method)
    if name is None:
        return [Trial(factor, None) for factor in MORE_FACTORS]
    values = KNOBS.get(method, ("", None))[1]
    if values is None:
        default = getattr(method_options(method)().resolved(), name)
        values = [float(f"{default * times:.6g}") for times in SPREAD]
    return [Trial(factor, knob) for knob, factor in product(values, FACTORS)]


@dataclass(frozen=True)
class Choice:
    """The trial that a method was given.

    Attributes:
        trial: the best.
        regret: its mean regret over the held-in lakes.
        on_edge: whether it lies on an edge of what was tried, so that a better one may lie beyond.
    """

    trial: Trial
    regret: float
    on_edge: bool


def choose(columns: Columns, method: str) -> Choice:
    """Return the trial with the least mean regret over lakes; one that diverged on any lake is worse than any that did not.

    Args:
        columns: rows of one method on the held-in lakes of one condition, one a trial and lake.
        method: its name.

    Example:
        >>> rows = {"factor": [0.3, 0.3, 3.0, 3.0], "knob": [0.1] * 4, "regret": [0.2, 0.2, 0.0, 0.3]}
        >>> choose({name: np.array(values) for name, values in rows.items()}, "ift").trial
        Trial(factor=3.0, knob=0.1)
    """
    scores = _mean_regrets(columns)
    best = best_key(scores)
    return Choice(_trial(method, best), scores[best], bool(_beyond(method, scores, best)))


def trials_beyond(columns: Columns, method: str) -> list[Trial]:
    """Return the trials beyond the edges that a method's best trial lies on; none where it is bracketed, or has diverged.

    Args:
        columns: as for `choose`.
        method: its name.

    Example:
        >>> rows = {"factor": [0.3, 1.0, 3.0], "knob": [np.nan] * 3, "regret": [0.2, 0.1, 0.0]}
        >>> trials_beyond({name: np.array(values) for name, values in rows.items()}, "sft")
        [Trial(factor=10.0, knob=None)]
    """
    scores = _mean_regrets(columns)
    best = best_key(scores)
    return _beyond(method, scores, best) if is_sound(scores[best]) else []


def _mean_regrets(columns: Columns) -> dict[tuple[float, ...], float]:
    regrets: dict[tuple[float, ...], list[float]] = {}
    for factor, knob, regret in zip(columns["factor"], columns["knob"], columns["regret"], strict=True):
        point = (float(factor),) if np.isnan(float(knob)) else (float(factor), float(knob))
        regrets.setdefault(point, []).append(float(regret))
    return {point: float(np.mean(values)) for point, values in regrets.items()}


def _beyond(method: str, tried: Mapping[tuple[float, ...], float], best: tuple[float, ...]) -> list[Trial]:
    """Return the next trial beyond each edge that the best one lies on, if the method allows its knob that value."""
    *points, last = (tuple(max(value, LEAST_KNOB) for value in point) for point in (*tried, best))  # neighbours are ratios
    beyond = (_trial(method, point) for point in beyond_edges(points, last))
    return [trial for trial in beyond if _is_allowed(method, trial)]


def _is_allowed(method: str, trial: Trial) -> bool:
    if trial.knob is not None and trial.knob < LEAST_KNOB:
        return False
    try:
        method_options(method)(**trial.options(method))
    except ValueError:
        return False
    return trial.factor < MOST_FACTOR


def _trial(method: str, point: tuple[float, ...]) -> Trial:
    """Return the trial of a point; whole knobs stay whole."""
    if len(point) == 1:
        return Trial(point[0], None)
    is_whole = all(isinstance(value, int) for value in KNOBS.get(method, ("", None))[1] or (0.5,))
    return Trial(point[0], round(point[1]) if is_whole else point[1])
