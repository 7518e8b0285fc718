"""The figures of `reproduction.py`, drawn from its tables in seconds; nothing here trains.

`ift_gridworld.rendering.study_figures` draws the parts; this file says what stands where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from reproduction_report import LAST, Cubes, ablation_effects, cubes_of, held_out, neighbours, row_of

from ift_gridworld.claims import CLAIMS, COMPARED, NOTHING, PAIRS, VIEWS, Claim, View
from ift_gridworld.metrics import mean_interval
from ift_gridworld.rendering.film import style
from ift_gridworld.rendering.study_figures import SMALL, TINY, Aligned, Grid, Page, Point, draw_policy
from ift_gridworld.statistics import Effect, pooled_effect
from ift_gridworld.study import ICE, Columns, Setting, select

MEASURE_NAMES = {
    "distance": "all tiles",
    "distance_shown": "shown tiles",
    "distance_optimal": "optimum's visits",
    "distance_visited": "own visits",
    "distance_next": "all tiles",
    "distance_next_shown": "shown tiles",
    "distance_next_optimal": "optimum's visits",
    "distance_next_visited": "own visits",
    "regret": "regret",
    "success": "success",
}
NAMES = {"sft": "SFT", "ift": "IFT", "dpo": "DPO", "orpo": "ORPO"}


def draw(
    found: Mapping[str, Columns], cubes: Cubes, pooled: Columns, told: Mapping[str, Any], out: Path, theme: str
) -> list[Path]:
    """All figures that there are tables for."""
    paths = [*draw_claims(pooled, out / "claims", theme), *draw_phases(cubes, out / "phases", theme)]
    if "figure3" in found:
        paths += draw_figure3(found["figure3"], found["policies"], out / "figure3", theme)
    if "ablation" in found:
        for measure in ("distance", "success"):
            paths += draw_ablation(found["ablation"], measure, out / f"ablation_{measure}", theme)
    if "drain" in found:
        paths += draw_causes(cubes, found["drain"], found["rewards"], told, out / "causes", theme)
    if "variants" in found:
        paths += draw_variants(found["variants"], out / "variants", theme)
    return paths


def point(effect: Effect) -> Point:
    return Point(effect.value, effect.low, effect.high)


def draw_figure3(columns: Columns, policies: Columns, path: Path, theme: str) -> list[Path]:
    """The paper's game in its own terms: each method's policy, and its distance to T* under several readings."""
    cubes = cubes_of(columns)
    bases = list(dict.fromkeys(setting.base for setting, _ in cubes.values()))
    optimisers = list(dict.fromkeys(setting.optimiser for setting, _ in cubes.values()))
    page = Page(4.15, theme)
    order = ("dpo", "ift", "orpo", "sft")
    drawn = Setting("two-paths-4", "firm", "good-0.5", "mlp-64", "adam", 1)
    _, lake = drawn.lakes[0]
    actions = [f"T({name}|s)" for name in lake.actions]
    page.words(0.1, 0.16, "After 300 updates: one base (half good, half bad), one optimal path as target (green), "
               "optimal and sub-optimal as pair", SMALL, weight="bold")  # fmt: skip
    wide = 1.2
    for i, method in enumerate(("base", *order)):
        rows = select(policies, policies["method"] == method)
        matrix = np.stack([rows[a].astype(float) for a in actions], -1)
        shown = rows["tile"][rows["shown"] == 1].astype(int)
        title = "base policy" if method == "base" else NAMES[method]
        draw_policy(page, Aligned(title, lake, matrix, shown=shown.tolist()), 0.1 + i * (wide + 0.175), 0.42, wide)
    top, gap = 2.2, 0.14
    page.words(0.1, 1.9, "Mean squared distance of T(a|s) to T*, by base policy (the paper: DPO < IFT << ORPO, SFT)",
               SMALL, weight="bold")  # fmt: skip
    width = (6.9 - 0.55 - 0.1 - gap * (len(bases) - 1)) / len(bases)
    for i, base in enumerate(bases):
        series: dict[str, list[Point | None]] = {}
        for optimiser, checkpoint in product(optimisers, ("last", "best")):
            _, cube = cubes[Setting("two-paths-4", "firm", base, "mlp-64", optimiser, 1).name]
            view = View("common", checkpoint)
            name = f"{ {'adam': 'Adam', 'rmsprop': 'RMSprop'}[optimiser] }, {checkpoint} checkpoint"
            series[name] = [_mean_point(cube.measure("distance", method, view)) for method in order]
        left = 0.55 + i * (width + gap)
        ax = page.forest(
            [NAMES[m] for m in order], series, left, top + 0.2, width, 1.3, label="distance to the optimal policy",
            names=i == 0, zero=False, legend=False,
            colours=[c for c in (page.theme.success, page.theme.distance)[: len(optimisers)] for _ in (0, 1)],
            hollow=[n for n in series if "best" in n],
        )  # fmt: skip
        start = float(cube.base("distance").mean())
        ax.axvline(start, color=page.theme.muted, lw=0.9, ls=(0, (3, 2)), zorder=1)
        ax.set_xlim(0, None)
        good = base.removeprefix("good-")
        ax.set_title(
            "random base" if base == "random" else f"base {float(good):.0%} good", size=SMALL, color=page.theme.ink, loc="left",
            pad=3,
        )  # fmt: skip
    handles, labels = ax.get_legend_handles_labels()
    page.figure.legend(
        handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0.005), ncols=4, fontsize=SMALL, frameon=False,
        labelcolor=page.theme.ink, handlelength=1, columnspacing=1.6,
    )  # fmt: skip
    seeds = len(cube.seeds)
    page.words(0.55, top + 1.83, f"mean and 95 % interval over {seeds} seeds; dashed: the base's own distance; 0.01, the common "
               "learning rate", TINY, va="top", color=page.theme.muted)  # fmt: skip
    alt = (
        "The paper's figure 3 on the two-paths lake. Five maps: the base policy and what DPO, IFT, ORPO and SFT make of it. "
        "Below, the distance to the optimal policy of each method, for several base policies, two optimisers, at the last and at "
        "the best checkpoint."
    )
    return page.save(path, alt)


def _mean_point(values: Float[np.ndarray, "L N"]) -> Point:
    mean, low, high = mean_interval(values.ravel())
    return Point(float(mean), float(low), float(high))


def pair_name(first: str, second: str, sign: int = -1) -> str:
    return f"{NAMES[first]} {'<' if sign < 0 else '>'} {NAMES[second]}"


def draw_claims(pooled: Columns, path: Path, theme: str) -> list[Path]:
    """The claim table: pooled effects on the paper's distance, and the share of settings in which each claim holds."""
    page = Page(5.3, theme)
    settings = int(np.max(pooled["settings"]))
    page.words(0.1, 0.18, f"Share of {settings} settings in which the claim holds (numbers, %); dot: the pooled effect's 95 % "
               "interval leaves out zero", SMALL, weight="bold")  # fmt: skip
    titles = {
        ("common", "last"): "common rate, last checkpoint", ("common", "best"): "common rate, best checkpoint",
        ("best", "last"): "each method's best rate, last checkpoint", ("best", "best"): "best rate, best checkpoint",
    }  # fmt: skip
    heads = [MEASURE_NAMES[m].replace(" ", "\n") for m in COMPARED]
    for i, view in enumerate(VIEWS):
        values, marked = np.full((len(PAIRS), len(COMPARED)), np.nan), np.zeros((len(PAIRS), len(COMPARED)), bool)
        for (r, pair), (c, (measure, sign)) in product(enumerate(PAIRS), enumerate(COMPARED.items())):
            row = row_of(pooled, Claim(*pair, measure, sign).name, view)
            values[r, c] = 100 * pooled["holds"][row]
            marked[r, c] = pooled["low"][row] > 0 or pooled["high"][row] < 0
        rows = [f"{NAMES[a]} over {NAMES[b]}" for a, b in PAIRS]
        grid = Grid(titles[view.rate, view.checkpoint], rows, heads, values, marked)
        left, top = 0.85 + (i % 2) * 3.03, 0.5 + (i // 2) * 1.62
        page.cells(grid, left, top + 0.1, 2.9, 0.82, limits=(0, 100), write=".0f", names=i % 2 == 0)
        for first, last, text in ((0, 3, "distance of T(a|s)"), (4, 7, "distance of T(s'|s)")):
            x = left + 2.9 * (first + last + 1) / 2 / len(COMPARED)
            page.words(x, top + 1.33, text, TINY, ha="center", color=page.theme.muted)
    top = 3.95
    rows = [pair_name(*pair) for pair in PAIRS]
    series: dict[str, list[Point | None]] = {titles[v.rate, v.checkpoint]: [] for v in VIEWS}
    for view in VIEWS:
        for pair in PAIRS:
            row = row_of(pooled, Claim(*pair, "distance", -1).name, view)
            series[titles[view.rate, view.checkpoint]].append(
                Point(*(float(pooled[n][row]) for n in ("effect", "low", "high")))
            )
    page.words(0.1, top - 0.12, "Pooled effect on the paper's distance (first less second; below 0: the claim holds)", SMALL,
               weight="bold")  # fmt: skip
    page.forest(rows, series, 0.85, top, 2.75, 0.95, label="difference of distances", legend=False)
    more = [c for c in CLAIMS.values() if c.measure in ("tiles", "bias", "gap", "base_bias", "base_gap")]
    words = {
        "tiles": "tiles explored", "bias": "bias, trained", "gap": "gap, trained", "base_bias": "bias, base", "base_gap": "gap, base"
    }  # fmt: skip
    names = [f"{pair_name(c.first, c.second, c.sign)}, {words[c.measure]}" for c in more]
    cells = [row_of(pooled, c.name, LAST) for c in more]
    values = np.array([[100 * pooled["holds"][r]] for r in cells])
    marked = np.array([[pooled["low"][r] > 0 or pooled["high"][r] < 0] for r in cells])
    page.words(3.85, top - 0.12, "Holds in % of settings", SMALL, weight="bold")
    page.cells(Grid("", names, [""], values, marked), 5.35, top, 0.55, 0.95, limits=(0, 100), write=".0f")
    page.key(5.75, 5.17, "never", "always")
    handles, labels = page.figure.axes[-3].get_legend_handles_labels()
    page.figure.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.0, 0.0), ncols=2, fontsize=TINY, frameon=False,
                       labelcolor=page.theme.ink, handlelength=1, columnspacing=1.0)  # fmt: skip
    holds = ", ".join(
        f"{pair_name(*p)} in {100 * pooled['holds'][row_of(pooled, Claim(*p, 'distance', -1).name, LAST)]:.0f} %" for p in PAIRS
    )
    alt = f"The paper's claims over {settings} settings, distance of T(a|s) over all tiles at the common rate and last checkpoint: {holds}."
    return page.save(path, alt)


PHASES = (("base", "rate"), ("family", "ice"), ("policy", "demonstrations"))
LABELS = {
    "rate": "learning rate", "base": "base", "family": "lake", "ice": "ice", "policy": "policy",
    "demonstrations": "demonstrations",
}  # fmt: skip


def draw_phases(cubes: Cubes, path: Path, theme: str) -> list[Path]:
    """Where each claim about the distance holds: share of settings (at each rate by itself) over two factors at a time."""
    units: list[dict[str, Any]] = []
    for setting, cube in cubes.values():
        for rate in cube.rates("sft"):
            told = {**{n: getattr(setting, n) for n in ("base", "family", "ice", "policy", "demonstrations")}, "rate": rate}
            for pair in PAIRS:
                difference = cube.at("distance", pair[0], rate, "last") - cube.at("distance", pair[1], rate, "last")
                told[pair_name(*pair)] = float(np.nanmean(difference)) if np.isfinite(difference).any() else np.nan
            units.append(told)
    families = sorted({u["family"] for u in units}, key=lambda f: (f.startswith("lakes"), f))
    height = 0.155 * max(6, len(families))
    page = Page(0.45 + len(PAIRS) * (height + 0.52), theme)
    page.words(0.1, 0.18, "Share of settings in which the claim about the distance holds, by learning rate, last checkpoint "
               "(%)", SMALL, weight="bold")  # fmt: skip
    page.key(5.75, 0.1, "never", "always")
    for r, pair in enumerate(PAIRS):
        top = 0.55 + r * (height + 0.52)
        lefts, widths = (0.72, 3.05, 5.3), (1.45, 1.05, 1.5)
        for c, (down, across) in enumerate(PHASES):
            rows, columns = (_levels(units, n, families) for n in (down, across))
            values = np.full((len(rows), len(columns)), np.nan)
            for (i, one), (k, other) in product(enumerate(rows), enumerate(columns)):
                found = [u[pair_name(*pair)] for u in units if u[down] == one and u[across] == other]
                found = [x for x in found if np.isfinite(x)]
                values[i, k] = 100 * np.mean([x < -NOTHING for x in found]) if found else np.nan
            title = pair_name(*pair) if c == 0 else ""
            grid = Grid(title, [_short(x) for x in rows], [_short(x) for x in columns], values, None, "", LABELS[across])
            tall = height * len(rows) / max(6, len(families)) if c != 1 else height
            page.cells(grid, lefts[c], top, widths[c], max(tall, height * 0.6), limits=(0, 100), write=".0f")
    alt = "Phase diagrams: share of settings in which each claim about the distance holds, over base and learning rate, lake and ice, policy and demonstrations."
    return page.save(path, alt)


def _levels(units: Sequence[Mapping[str, Any]], name: str, families: Sequence[str]) -> list[Any]:
    found = {unit[name] for unit in units}
    if name == "family":
        return list(families)
    if name == "ice":
        return [ice for ice in ICE if ice in found]
    return sorted(
        found,
        key=lambda x: (0, float(x)) if _reads(x) else (_kind(x), float(str(x).rpartition("-")[2]) if "-" in str(x) else 0),
    )


def _kind(value: str) -> int:
    return 1 if str(value) in ("random", "tabular") else 2


def _reads(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _short(value: object) -> str:
    text = str(value)
    for long, short in (
        ("slippery-0.8", "0.8"),
        ("slippery", "1/3"),
        ("tabular", "table"),
        ("mlp-", "net "),
        ("good-", ""),
        ("lakes-", "6x6, "),
    ):
        text = text.replace(long, short)
    return text


def draw_ablation(columns: Columns, measure: str, path: Path, theme: str) -> list[Path]:
    """λ by γ, for every form of propagation (columns) and every way of running the residual connection (rows)."""
    effects = ablation_effects(columns, measure)
    keys = list(effects)
    panels = list(dict.fromkeys((k[0], k[2], k[3]) for k in keys if k[1] != "sft"))
    forms = list(dict.fromkeys(k[1] for k in keys if k[1] != "sft"))
    mixings, decays = (sorted({k[i] for k in keys if k[1] not in ("sft", "none")}, key=float) for i in (4, 5))
    most = float(np.nanmax([abs(e.value) for e in effects.values()]))
    tall, wide, gap = 0.72, 0.86, 0.1
    page = Page(0.72 + len(panels) * (tall + 0.5), theme)
    unit = {"distance": "distance to T*", "success": "success"}[measure]
    page.words(0.1, 0.18, f"IFT less SFT in {unit}: λ (down) by γ (across); dot: 95 % interval over lakes and seeds leaves out "
               "zero", SMALL, weight="bold")  # fmt: skip
    low, high = (f"−{most:.3f}", f"+{most:.3f}")
    page.key(3.0, 0.34, low, high, against=measure == "distance")
    words = {"firm": "firm ice", "slippery-0.8": "slippery, 0.8 as intended", "slippery": "slippery, 1/3"}
    for p, (ice, prediction, embedding) in enumerate(panels):
        top = 0.78 + p * (tall + 0.5)
        frozen = _frozen(effects, ice, embedding)
        page.words(0.1, top - 0.2, f"{words[ice]} · {prediction} prediction · {embedding} embedding{frozen}", SMALL)
        left = 0.5
        for f, form in enumerate(forms):
            across = decays if form != "none" else decays[:1]
            down = [m for m in mixings if (ice, form, prediction, embedding, m, across[0]) in effects]
            if not down:
                continue
            found = [[effects.get((ice, form, prediction, embedding, m, d)) for d in across] for m in down]
            values = np.array([[np.nan if e is None else e.value for e in row] for row in found])
            marked = np.array([[e is not None and e.is_clear and abs(e.value) > NOTHING for e in row] for row in found])
            width = wide if form != "none" else wide / len(decays)
            grid = Grid(form if p == 0 or True else "", down, across if form != "none" else ["–"], values, marked)
            page.cells(grid, left, top, width, tall * len(down) / len(mixings), limits=(-most, most), names=f == 0,
                       against=measure == "distance")  # fmt: skip
            left += width + gap + 0.14
    alt = f"Ablation of IFT: {unit} less SFT's over lambda and gamma for {', '.join(forms)}, in {len(panels)} panels of ice, prediction and embedding."
    return page.save(path, alt)


def _frozen(effects: Mapping[tuple[str, ...], Effect], ice: str, embedding: str) -> str:
    """SFT's own loss by freezing the embedding, where it is frozen."""
    key = (ice, "sft", "greedy", "frozen", "0", "0")
    if embedding != "frozen" or key not in effects:
        return ""
    effect = effects[key]
    return f" (SFT with the same frozen embedding: {effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}])"


def draw_causes(cubes: Cubes, drain: Columns, rewards: Columns, told: Mapping[str, Any], path: Path, theme: str) -> list[Path]:
    """Why: what mixing teaches its neighbours, where DPO's probability goes, where a learned reward leads."""
    page = Page(4.6, theme)
    colours = page.theme
    lakes = neighbours(cubes)
    ax = page.axes(0.55, 0.45, 2.6, 1.75)
    _plain(page, ax)
    keep = np.isfinite(lakes["right"]) & (lakes["missed"] > 0.02)
    for ice, colour, mark in (("slippery", colours.distance, "s"), ("firm", colours.success, "o")):
        some = keep & np.array([x.startswith(ice) for x in lakes["ice"]], bool)
        ax.plot(lakes["right"][some], lakes["change"][some], mark, ms=2.2, mew=0, color=colour, alpha=0.55, label=f"{ice} ice")
    ax.axhline(0, color=colours.muted, lw=0.8)
    ax.set_yscale("symlog", linthresh=0.003, linscale=0.7)
    ax.set_xlabel("share of mixed-in tiles that are rightly taught", size=TINY, color=colours.muted, labelpad=1.5)
    ax.set_title("IFT − SFT in distance, each lake", size=SMALL, color=colours.ink, loc="left", pad=3, weight="bold")
    ax.legend(fontsize=TINY, frameon=False, labelcolor=colours.ink, loc="upper right", handletextpad=0.1, borderaxespad=0.1)
    group = cubes_of(drain)
    methods = [m for m in next(iter(group.values()))[1].methods if m != "base"]
    titles = {"chosen_logp": "log-likelihood of the preferred answer", "unseen": "moves that no answer takes"}
    for i, (measure, title) in enumerate(titles.items()):
        series: dict[str, list[Point | None]] = {}
        for kind, label in (("mlp-64", "network"), ("tabular", "table")):
            some_cubes = [cube for _, (s, cube) in group.items() if s.policy == kind]
            if some_cubes:
                series[label] = [
                    point(pooled_effect([c.measure(measure, m, LAST) - c.base(measure) for c in some_cubes])) for m in methods
                ]
        made = page.forest([_method(m) for m in methods], series, 4.0 if i == 0 else 5.5, 0.45, 1.3, 1.75,
                           label="change since the base" + (", nats" if i == 0 else ""), names=i == 0, legend=i == 0)  # fmt: skip
        if measure == "chosen_logp":
            made.set_xscale("symlog", linthresh=1.0, linscale=0.8)
        page.words(4.0 if i == 0 else 5.5, 0.17 if i == 0 else 0.17, title.replace(" of the ", "\nof the ").replace(" that no ", "\nthat no "), TINY + 0.5,
                   weight="bold", va="center")  # fmt: skip
    found = cubes_of(rewards)
    rows = [f"{s.map}, {'firm' if s.ice == 'firm' else 'slippery'}" for s, _ in found.values()]
    for i, measure in enumerate(("success", "regret", "distance")):
        series = {"base": [], "PPO, environment's reward": [], "PPO, learned reward": []}
        for _, cube in found.values():
            for label, method in zip(series, ("base", "ppo, env", "ppo, preference"), strict=True):
                rate = "" if method == "base" else cube.rate(method, LAST)
                series[label].append(_mean_point(cube.at(measure, method, rate, "base" if method == "base" else "last")))
        ax = page.forest(rows, series, 1.25 + i * 1.9, 2.95, 1.75, 1.2, label=f"{measure} (95 % interval over seeds)", names=i == 0,
                         zero=False, legend=False, colours=[colours.muted, colours.success, colours.distance])  # fmt: skip
        ax.set_xlim(0, 1.02 if measure == "success" else None)
    page.words(0.1, 2.75, "Where RLHF lands: PPO on the environment's reward, and on one learned from compared episodes", SMALL,
               weight="bold")  # fmt: skip
    handles, labels = ax.get_legend_handles_labels()
    page.figure.legend(handles, labels, loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=3, fontsize=SMALL, frameon=False,
                       labelcolor=colours.ink, handlelength=1)  # fmt: skip
    alt = (
        "Three causes. Left, on each lake the difference of IFT's and SFT's distance over the share of mixed-in tiles that are "
        "rightly taught. Right, what DPO and its relatives do to the preferred answer and to moves that nobody took. Below, where "
        "PPO lands with the environment's reward and with a learned one."
    )
    return page.save(path, alt)


def _plain(page: Page, ax: Any) -> None:
    style(ax, page.theme)
    ax.tick_params(labelsize=TINY, length=2, pad=2)


def _method(name: str) -> str:
    known = NAMES | {
        "dpo_online": "DPO online", "ipo": "IPO", "simpo": "SimPO", "tdpo": "TDPO", "dpo_sft": "DPO + SFT", "ift_agreeing": "agreeing",
        "ift_mixture": "mixture", "ift_average": "average", "ift_expected": "expected", "ift_oracle": "oracle*", "ift_asking": "asking*",
    }  # fmt: skip
    return known.get(name, name)


def draw_variants(columns: Columns, path: Path, theme: str) -> list[Path]:
    """The variants on held-out lakes, each with the λ and rate that were best on others."""
    rows = held_out(columns)
    panels = list(dict.fromkeys((r["ice"], r["base"]) for r in rows))
    methods = [m for m in dict.fromkeys(r["method"] for r in rows) if m != "sft"]
    page = Page(0.75 + 2 * 1.75, theme)
    wide = (6.9 - 0.85 - 0.1 - 0.12 * (len(panels) - 1)) / len(panels)
    page.words(0.1, 0.18, "Less SFT on held-out lakes (λ and rate chosen on others); * needs the optimal policy", SMALL,
               weight="bold")  # fmt: skip
    words = {"firm": "firm", "slippery-0.8": "slippery", "good-0.5": "half-good base", "random": "random base"}
    for m, measure in enumerate(("distance", "success")):
        for p, (ice, base) in enumerate(panels):
            series = {
                "": [
                    next(
                        (point(r["effect"]) for r in rows if (r["ice"], r["base"], r["method"], r["measure"], r["against"]) ==
                         (ice, base, method, measure, "sft")), None)
                    for method in methods
                ]
            }  # fmt: skip
            ax = page.forest([_method(x) for x in methods], series, 0.85 + p * (wide + 0.12), 0.5 + m * 1.85, wide, 1.35,
                             label=f"{measure} less SFT's", names=p == 0, legend=False,
                             colours=[page.theme.distance if measure == "distance" else page.theme.success])  # fmt: skip
            ax.set_title(f"{words[ice]}, {words[base]}", size=SMALL, color=page.theme.ink, loc="left", pad=3)
    alt = "Variants of IFT against SFT on held-out lakes: distance and success, with 95 % intervals, on firm and slippery ice, from a half-good and a random base."
    return page.save(path, alt)
