"""Names of methods, ice and views in the figures of the reproduction, and values with their intervals as points."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.evaluation.statistics import Effect
from ift_gridworld.rendering.study_figures import Estimate

__all__ = ["ICE_NAMES", "NAMES", "VIEW_NAMES", "effect_point", "mean_point", "pair_name"]

NAMES = {
    "sft": "SFT", "ift": "IFT", "dpo": "DPO", "orpo": "ORPO", "dpo_online": "DPO online", "ipo": "IPO", "simpo": "SimPO",
    "tdpo": "TDPO", "dpo_sft": "DPO + SFT", "ift_agreeing": "agreeing", "ift_mixture": "mixture", "ift_average": "average",
    "ift_expected": "expected", "ift_oracle": "oracle", "ift_asking": "asking",
}  # fmt: skip
ICE_NAMES = {"firm": "firm ice", "slippery-0.8": "slippery ice (0.8 as intended)", "slippery": "slippery ice (1/3 as intended)"}
VIEW_NAMES = {
    ("common", "last"): "common rate, last checkpoint",
    ("common", "best"): "common rate, best checkpoint",
    ("best", "last"): "each method's best rate, last checkpoint",
    ("best", "best"): "each method's best rate, best checkpoint",
}


def pair_name(first: str, second: str, sign: int = -1) -> str:
    """Return a claim about two methods in words."""
    return f"{NAMES[first]} {'<' if sign < 0 else '>'} {NAMES[second]}"


def effect_point(effect: Effect) -> Estimate:
    """Return an effect with its interval."""
    return Estimate(effect.value, effect.low, effect.high)


def mean_point(measure: str, values: Float[np.ndarray, "L N"]) -> Estimate:
    """Return the mean of a measure over lakes and seeds, with its interval."""
    return Estimate(*(float(x) for x in metric_interval(measure, values.ravel())))
