"""Names of dynamics and views in the figures of the reproduction, and values with their intervals as points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.evaluation.statistics import Effect
from ift_gridworld.rendering.method_names import method_name
from ift_gridworld.rendering.study_figures import Estimate

__all__ = ["ICE_NAMES", "VIEW_NAMES", "effect_point", "mean_point", "pair_name"]

ICE_NAMES = {
    "firm": "deterministic", "slippery-0.8": "slippery (0.8 as intended)", "slippery": "slippery (1/3 as intended)"
}  # fmt: skip
VIEW_NAMES = {
    ("common", "last"): "common rate, last checkpoint",
    ("common", "best"): "common rate, best checkpoint",
    ("best", "last"): "each method's best rate, last checkpoint",
    ("best", "best"): "each method's best rate, best checkpoint",
}


def pair_name(first: str, second: str, sign: int = -1) -> str:
    """Return a claim about two methods in words."""
    return f"{method_name(first)} {'<' if sign < 0 else '>'} {method_name(second)}"


def effect_point(effect: Effect) -> Estimate:
    """Return an effect with its interval."""
    return Estimate(effect.value, effect.low, effect.high)


def mean_point(measure: str, values: Float[np.ndarray, "L N"]) -> Estimate:
    """Return the mean of a measure over lakes and seeds, with its interval."""
    mean, low, high = map(float, metric_interval(measure, values.ravel()))
    return Estimate(mean, low, high)
