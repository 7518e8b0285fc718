"""The parts that the reproduction consists of: claims, the paper's figure, an ablation, causes, variants."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from ift_gridworld.studies.data import draw_data
from ift_gridworld.studies.parts import StudyPart
from ift_gridworld.studies.reproduction.design import (
    HELD_IN,
    HELD_OUT,
    METHODS,
    SINGLE_LAKES,
    StudyScope,
    seeds_for,
    study_settings,
)
from ift_gridworld.studies.running import CHECKPOINTS, EXTENSIONS, run_setting
from ift_gridworld.studies.settings import Setting
from ift_gridworld.studies.tables import Columns
from ift_gridworld.training.lakes import train_lakes

__all__ = ["STUDIES", "claims_arguments", "claims_parts", "run_ablation", "run_policies", "study_parts"]

STUDIES = ("claims", "figure3", "policies", "ablation", "drain", "rewards", "variants")  # names of the tables

# ---- the claims ----


def claims_arguments(setting: Setting, methods: Sequence[str], seeds: int, seed: int) -> dict[str, Any]:
    """Return the arguments of `run_setting` with which the claims are tested in a setting."""
    return {"setting": setting, "methods": list(methods), "seeds": seeds, "seed": seed, "extensions": EXTENSIONS}


def claims_parts(scope: StudyScope, methods: Sequence[str] = METHODS) -> list[StudyPart]:
    """Return the parts of the claims: every method at every rate in every setting."""
    parts = []
    for setting in study_settings(scope):
        seeds = seeds_for(setting, scope.seeds)
        size = {"8x8": 2.0, "two-paths-8": 2.0}.get(setting.map, 1.0 if setting.family in SINGLE_LAKES else 3.0)
        weight = size * (1 if setting.ice == "firm" else 1 + setting.demonstrations**0.4)
        arguments = claims_arguments(setting, methods, seeds, scope.seed)
        parts.append(StudyPart("claims", setting.name, weight, run_setting, arguments))
    return parts


# ---- the paper's figure ----

PAPER = [
    Setting("two-paths-4", "firm", base, "mlp-64", optimiser, 1)
    for base, optimiser in product(("random", "good-0.1", "good-0.5", "good-0.9"), ("adam", "rmsprop"))
]
PAPER_DRAWN = Setting("two-paths-4", "firm", "good-0.5", "mlp-64", "adam", 1)


def figure3_parts(scope: StudyScope) -> list[StudyPart]:
    """Return the parts of the paper's own game.

    Two paths, a two-layer network, one optimal path as target, optimal and sub-optimal as pair.
    """
    drawn = {"setting": PAPER_DRAWN, "methods": list(METHODS), "seed": scope.seed}
    return [
        *(
            StudyPart("figure3", s.name, 2.0, run_setting, claims_arguments(s, METHODS, 4 * scope.seeds, scope.seed))
            for s in (PAPER[::4] if scope.quick else PAPER)
        ),
        StudyPart("policies", PAPER_DRAWN.name, 0.5, run_policies, drawn),
    ]


def run_policies(setting: Setting, methods: Sequence[str], seed: int) -> Columns:
    """Return the policies that figure 3 draws, one row a tile: the base's and what each method makes of it."""
    (_, lake), *_ = setting.lakes
    data = draw_data(lake, setting.demonstrations, 1, seed)
    assert data is not None
    shown, pairs = [data[0].demonstrations], [(data[0].chosen, data[0].rejected)]
    policies = {"base": setting.make_base([lake], 1, seed).probabilities()[0]}
    for method in methods:
        policy = setting.make_base([lake], 1, seed)
        keep = CHECKPOINTS[-1:]
        trained = train_lakes(
            method, [lake], policy, keep=keep, demonstrations=shown, preferences=pairs, optimiser=setting.optimiser
        )
        policies[method] = trained[0, 0, 0]
    tiles = range(lake.num_states)
    table: dict[str, list[Any]] = {"method": [], "tile": [], "shown": []}
    for method in policies:
        for tile in tiles:
            table["method"].append(method)
            table["tile"].append(tile)
            table["shown"].append(int(tile in shown[0].states[shown[0].mask]))
    columns = {name: np.array(values, object) for name, values in table.items()}
    probabilities = np.concatenate(list(policies.values()))
    return columns | {f"T({name}|s)": probabilities[:, i].astype(object) for i, name in enumerate(lake.actions)}


# ---- the ablation ----

MIXINGS, DECAYS = (0.0, 0.2, 0.5, 1.0), (0.0, 0.01, 0.5, 0.95)
FORMS = (  # name, propagation, weights held constant
    ("released", "released", False),
    ("released, detached", "released", True),
    ("algorithm 1", "algorithm1", False),
    ("algorithm 1, detached", "algorithm1", True),
    ("equation 21", "equation21", False),
    ("none", "none", False),
)


def run_ablation(
    setting: Setting, form: str, prediction: str, embedding: str, seeds: int, seed: int, mixings: Sequence[float]
) -> Columns:
    """Run IFT in one form over λ and γ; the form "sft" is SFT."""
    _, propagation, detached = next((f for f in FORMS if f[0] == form), ("", "", False))
    options: dict[str, dict[str, Any]] = {}
    for mixing, decay in product(mixings, DECAYS[:1] if propagation in ("", "none") else DECAYS):
        if mixing == 0 and prediction == "expected":
            continue  # nothing is predicted
        options[f"{mixing:g} {decay:g}"] = {
            "method": "ift", "mixing": mixing, "decay": decay, "propagation": propagation, "detach_weights": detached,
            "prediction": prediction,
        }  # fmt: skip
    if form == "sft":
        options = {"0 0": {"method": "sft"}}
    rows = run_setting(
        setting,
        methods=list(options),
        rates=[setting.common_rate],
        seeds=seeds,
        seed=seed,
        options=options,
        freeze=["w1"] if embedding == "frozen" else [],
        only=["success", "regret", "distance", "distance_optimal"],
    )
    options_of_rows = [str(name).split() if name != "base" else ["", ""] for name in rows["method"]]
    count = len(options_of_rows)
    constant = {"form": form, "prediction": prediction, "embedding": embedding}
    return {
        **{name: column for name, column in rows.items() if name != "method"},
        **{name: np.array([pair[i] for pair in options_of_rows], object) for i, name in enumerate(("mixing", "decay"))},
        **{name: np.full(count, value, object) for name, value in constant.items()},
        "method": np.where(rows["method"] == "base", "base", "sft" if form == "sft" else "ift").astype(object),
    }


def ablation_parts(scope: StudyScope) -> list[StudyPart]:
    """Return the parts of λ x γ x form x prediction x embedding on ten random lakes, deterministic and slippery.

    Frozen embeddings, and expected predictions of every form, come with deterministic dynamics alone.
    """
    mixings = (0.0, 0.2, 1.0) if scope.quick else MIXINGS
    panels = [Setting("lakes-0.8-0", "firm", "good-0.5", "mlp-64", "adam", 1)]
    if not scope.quick:
        panels.append(Setting("lakes-0.8-0", "slippery-0.8", "good-0.5", "mlp-64", "adam", 16))
    parts = []
    for setting, (form, *_), (prediction, embedding) in product(
        panels,
        (("sft",), *(FORMS[:1] if scope.quick else FORMS)),
        (("greedy", "live"), ("expected", "live"), ("greedy", "frozen")),
    ):
        if (form == "sft" and prediction == "expected") or (embedding == "frozen" and setting.ice != "firm"):
            continue
        if prediction == "expected" and setting.ice != "firm" and form not in ("released", "none"):
            continue  # expensive, and on deterministic lakes the forms differ there as they do with greedy predictions
        if scope.quick and (prediction, embedding) != ("greedy", "live"):
            continue
        arguments = {
            "setting": setting, "form": form, "prediction": prediction, "embedding": embedding,
            "seeds": seeds_for(setting, scope.seeds), "seed": scope.seed, "mixings": list(mixings),
        }  # fmt: skip
        runs = 1 if form == "sft" else len(mixings) * (1 if form == "none" else len(DECAYS))
        weight = runs * (0.25 if setting.ice == "firm" else 0.5)
        parts.append(StudyPart("ablation", f"{setting.name} {form} {prediction} {embedding}", weight, run_ablation, arguments))
    return parts


# ---- causes ----

CURES = ("dpo", "dpo_online", "ipo", "simpo", "tdpo", "dpo_sft")
MEASURED = (
    "success", "return", "regret", "distance", "distance_optimal", "kl", "tiles", "chosen_logp", "rejected_logp", "unseen",
)  # fmt: skip


def drain_parts(scope: StudyScope) -> list[StudyPart]:
    """Return the parts on offline DPO and its relatives: what becomes of the preferred answer and of moves that nobody took."""
    maps = ("4x4",) if scope.quick else ("two-paths-4", "4x4", "8x8")
    parts = []
    for name, ice, policy in product(maps, ("firm", "slippery-0.8"), ("mlp-64", "tabular")):
        if scope.quick and (ice, policy) != ("firm", "mlp-64"):
            continue
        setting = Setting(name, ice, "good-0.5", policy, "adam", 1 if ice == "firm" else 16)
        arguments = {
            "setting": setting, "methods": ["sft", *CURES], "rates": [setting.common_rate], "seeds": scope.seeds,
            "seed": scope.seed, "only": list(MEASURED),
        }  # fmt: skip
        parts.append(StudyPart("drain", setting.name, 3.0, run_setting, arguments))
    return parts


def reward_parts(scope: StudyScope) -> list[StudyPart]:
    """Return the parts on PPO: on the environment's reward, and on one learned from compared episodes."""
    maps = ("two-paths-4",) if scope.quick else ("two-paths-4", "4x4", "8x8")
    parts = []
    for name, ice in product(maps, ("firm",) if scope.quick else ("firm", "slippery-0.8")):
        setting = Setting(name, ice, "good-0.5", "mlp-64", "adam", 1 if ice == "firm" else 16)
        for reward in ("env", "preference"):
            arguments = {
                "setting": setting, "methods": [f"ppo, {reward}"], "rates": [setting.common_rate], "seeds": scope.seeds,
                "seed": scope.seed, "keep": [0, 100, 200, 400, 600] if not scope.quick else [0, 100],
                "options": {f"ppo, {reward}": {"method": "ppo", "reward": reward}}, "only": list(MEASURED),
            }  # fmt: skip
            parts.append(StudyPart("rewards", f"{setting.name} {reward}", 6.0, run_setting, arguments))
    return parts


# ---- variants ----

PROPOSED = ("ift", "ift_agreeing", "ift_mixture", "ift_average", "ift_expected", "ift_oracle", "ift_asking")


def variants_parts(scope: StudyScope) -> list[StudyPart]:
    """Return the parts on variants of IFT at two λ and two rates, which are chosen on some lakes and judged on others."""
    parts = []
    panels = [("firm", "good-0.5", 1)] if scope.quick else [
        (ice, base, count) for (ice, count), base in product((("firm", 1), ("slippery-0.8", 16)), ("good-0.5", "random"))
    ]  # fmt: skip
    proposed = PROPOSED[:2] if scope.quick else PROPOSED
    for (ice, base, count), block in product(panels, (HELD_IN, *(HELD_OUT[:1] if scope.quick else HELD_OUT))):
        setting = Setting(block, ice, base, "mlp-64", "adam", count)
        options = {f"{name} {mixing}": {"method": name, "mixing": mixing} for name, mixing in product(proposed, (0.2, 0.5))}
        arguments = {
            "setting": setting, "methods": ["sft", *options], "options": options, "rates": [0.01, 0.03],
            "seeds": seeds_for(setting, scope.seeds), "seed": scope.seed,
            "only": ["success", "regret", "distance", "distance_optimal", "missed", "right"],
        }  # fmt: skip
        parts.append(StudyPart("variants", setting.name, 8.0 if ice == "firm" else 16.0, run_setting, arguments))
    return parts


# ---- all of them ----


def study_parts(scope: StudyScope) -> list[StudyPart]:
    """Return all parts of a study; on maps of one's own, those of the claims alone."""
    parts = claims_parts(scope)
    if scope.maps is None:
        for more in (figure3_parts, ablation_parts, drain_parts, reward_parts, variants_parts):
            parts += more(scope)
    return parts
