"""Evaluation of policies and of methods.

    metrics.py       exact measures of a policy on a lake; `MEASURES` names them
    frontier.py      the highest return of any policy at each KL from a base, and how far below it a policy lies
    estimation.py    what each method assumes about the model it trains, against the truth (Table 1); needs torch
    selection.py     the best of several runs, and the values to try beyond a grid whose edge is best
    statistics.py    means, interquartile means and their intervals over lakes and seeds

Most names are loaded on first use, so that measuring does not load torch.
"""

from typing import TYPE_CHECKING

from ift_gridworld._lazy import lazy_names

# At once: a function that is named like its module would be hidden by it as soon as that is loaded.
from ift_gridworld.evaluation.frontier import Frontier, frontier, frontier_gap, kl_from_base

if TYPE_CHECKING:
    from ift_gridworld.evaluation.estimation import TABLE, Assumption, Estimation, estimate
    from ift_gridworld.evaluation.metrics import (
        MEASURES,
        even_change,
        expected_visits,
        log_likelihood,
        measure,
        metric_interval,
        reference_points,
        register_metric,
        tiles_of,
    )
    from ift_gridworld.evaluation.statistics import (
        Effect,
        format_effect,
        interquartile_mean,
        mean_interval,
        paired_effect,
        pooled_effect,
        student_interval,
    )

__all__ = [
    "MEASURES",
    "TABLE",
    "Assumption",
    "Effect",
    "Estimation",
    "Frontier",
    "estimate",
    "even_change",
    "expected_visits",
    "format_effect",
    "frontier",
    "frontier_gap",
    "interquartile_mean",
    "kl_from_base",
    "log_likelihood",
    "mean_interval",
    "measure",
    "metric_interval",
    "paired_effect",
    "pooled_effect",
    "reference_points",
    "register_metric",
    "student_interval",
    "tiles_of",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    __all__,
    {
        "estimation": ["TABLE", "Assumption", "Estimation", "estimate"],
        "metrics": [
            "MEASURES", "even_change", "expected_visits", "log_likelihood", "measure", "metric_interval", "reference_points",
            "register_metric", "tiles_of",
        ],
        "statistics": [
            "Effect", "format_effect", "interquartile_mean", "mean_interval", "paired_effect", "pooled_effect",
            "student_interval",
        ],
    },
)  # fmt: skip
