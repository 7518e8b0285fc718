"""Train and measure one method under one condition: its trials on held-in lakes, or its chosen trial where it is reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float

from ift_gridworld.methods.registry import find_method
from ift_gridworld.studies.frontier.conditions import Condition, PreparedCondition, prepare
from ift_gridworld.studies.frontier.trials import ROUNDS, Trial, trials_beyond, trials_of
from ift_gridworld.studies.measures import measure_policies
from ift_gridworld.studies.running import spread
from ift_gridworld.studies.tables import Columns, concatenate_tables
from ift_gridworld.training.lakes import train_lakes

__all__ = ["MEASURED", "UPDATES", "run_base", "run_chosen", "run_trials"]

UPDATES = 300  # of every method
MEASURED = (
    "success", "success_any_tile", "return", "regret", "distance", "kl_discounted", "frontier_gap", "chosen_logp",
    "rejected_logp",
)  # fmt: skip


def run_trials(condition: str, method: str, lakes: int, seed: int, updates: int = UPDATES) -> Columns:
    """Return the regret of each of a method's trials on each held-in lake, those beyond the edges of the first included.

    Args:
        condition: name of a held-in condition.
        method: a name in METHODS.
        lakes: number of lakes.
        seed: of the study.
        updates: number of updates.
    """
    prepared = prepare(Condition.parse(condition), lakes, 1, seed)
    columns: Columns = {}
    waiting = trials_of(method)
    for _ in range(ROUNDS + 1):
        more = _trial_rows(prepared, condition, method, waiting, seed, updates)
        columns = concatenate_tables([columns, more]) if columns else more
        waiting = trials_beyond(columns, method)
        if not waiting:
            break
    return columns


def _trial_rows(
    prepared: PreparedCondition, condition: str, method: str, trials: Sequence[Trial], seed: int, updates: int
) -> Columns:
    """Return the regret of some trials, those that share a knob trained as one population."""
    tables = []
    for knob in dict.fromkeys(trial.knob for trial in trials):
        together = [trial for trial in trials if trial.knob == knob]
        policies = _trained(prepared, method, together, seed, updates)
        for i in range(len(prepared.lakes)):
            measured = _measured(prepared, i, policies[i], ["regret"])
            for p, trial in enumerate(together):
                tables.append(_rows(prepared, i, condition, method, trial, {"regret": measured["regret"][p]}))
    return concatenate_tables(tables)


def run_chosen(
    condition: str, method: str, factor: float, knob: float | None, lakes: int, seeds: int, seed: int, updates: int = UPDATES
) -> Columns:
    """Return all measures of a method after its last update, a row for each lake and seed.

    Args:
        condition: name of a condition.
        method: a name in METHODS.
        factor, knob: the trial.
        lakes: number of random lakes.
        seeds: number of policies on each map of the suite.
        seed: of the study.
        updates: number of updates.
    """
    prepared, trial = prepare(Condition.parse(condition), lakes, seeds, seed), Trial(factor, knob)
    policies = _trained(prepared, method, [trial], seed, updates)
    return _all_rows(prepared, condition, method, trial, policies)


def run_base(condition: str, lakes: int, seeds: int, seed: int) -> Columns:
    """Return all measures of the base policies, a row for each lake and seed."""
    prepared = prepare(Condition.parse(condition), lakes, seeds, seed)
    return _all_rows(prepared, condition, "base", None, _bases(prepared)[:, None])


def _trained(
    prepared: PreparedCondition, method: str, trials: Sequence[Trial], seed: int, updates: int
) -> Float[np.ndarray, "L P N S A"]:
    """Train a method at trials that share a knob, on all lakes and seeds at once; return the policies after the last update."""
    lakes, seeds = len(prepared.lakes), prepared.seeds
    members = spread(lakes, len(trials), seeds)
    policy, data = prepared.base.members(members), [prepared.data[m] for m in members]
    rates = torch.tensor([trial.factor * policy.learning_rate for trial in trials])
    policies = train_lakes(
        find_method(method),
        prepared.lakes,
        policy,
        keep=(updates,),
        seed=seed,
        demonstrations=[each.demonstrations for each in data],
        preferences=[(each.chosen, each.rejected) for each in data],
        rates=rates.repeat_interleave(seeds).repeat(lakes),
        **trials[0].options(method),
    )
    return policies[0].reshape(lakes, len(trials), seeds, policy.num_states, policy.num_actions)


def _bases(prepared: PreparedCondition) -> Float[np.ndarray, "L N S A"]:
    base = prepared.base
    return base.probabilities().reshape(len(prepared.lakes), prepared.seeds, base.num_states, base.num_actions)


def _measured(
    prepared: PreparedCondition, lake: int, policies: Float[np.ndarray, "P N S A"], names: Sequence[str]
) -> Mapping[str, Float[np.ndarray, "P N"]]:
    """Measure policies of one lake, the likelihoods by the right labels."""
    judged = prepared.judged[lake * prepared.seeds : (lake + 1) * prepared.seeds]
    measured = measure_policies(prepared.lakes[lake], policies[None], _bases(prepared)[lake], judged, names)
    return {name: values[0] for name, values in measured.items() if name in names}


def _all_rows(
    prepared: PreparedCondition, condition: str, method: str, trial: Trial | None, policies: Float[np.ndarray, "L 1 N S A"]
) -> Columns:
    tables = []
    for i in range(len(prepared.lakes)):
        measured = _measured(prepared, i, policies[i], MEASURED)
        of_trial = {name: values[0] for name, values in measured.items()}
        tables.append(_rows(prepared, i, condition, method, trial, of_trial))
    return concatenate_tables(tables)


def _rows(
    prepared: PreparedCondition,
    lake: int,
    condition: str,
    method: str,
    trial: Trial | None,
    values: Mapping[str, Float[np.ndarray, " N"]],
) -> Columns:
    same: dict[str, object] = {"condition": condition, "method": method, "lake": prepared.names[lake]}
    same["factor"] = np.nan if trial is None else trial.factor
    same["knob"] = np.nan if trial is None or trial.knob is None else trial.knob
    columns: Columns = {name: np.full(prepared.seeds, value, object) for name, value in same.items()}
    columns["seed"] = np.arange(prepared.seeds).astype(object)
    return columns | {name: np.asarray(each, float) for name, each in values.items()}
