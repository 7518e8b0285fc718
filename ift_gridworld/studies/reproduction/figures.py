"""The figures of the reproduction, drawn from its tables in seconds; nothing here trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ift_gridworld.evaluation.statistics import Effect
from ift_gridworld.rendering.isolation import isolated
from ift_gridworld.rendering.study_figures import StudyFigure
from ift_gridworld.studies.reproduction.appendix_figures import draw_rates, draw_views
from ift_gridworld.studies.reproduction.claim_figures import draw_claims, draw_phases
from ift_gridworld.studies.reproduction.method_figures import draw_ablation, draw_causes, draw_figure3, draw_variants
from ift_gridworld.studies.results import SettingsTable
from ift_gridworld.studies.tables import Columns

__all__ = ["draw_figures"]


@isolated
def draw_figures(
    tables: Mapping[str, Columns],
    settings: SettingsTable | None,
    verdicts: tuple[Columns, Columns],
    correlations: Mapping[str, Mapping[str, Effect]],
    folder: Path,
    theme: str,
) -> list[Path]:
    """Draw all figures that there are tables for; return the paths.

    Args:
        tables: the study's tables by name.
        settings: the results of its table "claims"; without them the figure of learning rates is left out.
        verdicts: the tables of `verdicts.judge_claims`: over all settings, and of each setting.
        correlations: as `method_figures.draw_causes` takes them.
        folder: where the figures are written.
        theme: a name in THEMES.
    """
    pooled, by_setting = verdicts
    pages: list[tuple[str, StudyFigure, str]] = [
        ("claims", *draw_claims(by_setting, pooled, theme)),
        ("phases", *draw_phases(by_setting, theme)),
        ("appendix_views", *draw_views(pooled, theme)),
    ]
    if settings is not None:
        pages.append(("appendix_rates", *draw_rates(settings, theme)))
    if "figure3" in tables:
        pages.append(("figure3", *draw_figure3(tables["figure3"], tables["policies"], theme)))
    if "ablation" in tables:
        for measure in ("distance", "success"):
            pages.append((f"ablation_{measure}", *draw_ablation(tables["ablation"], measure, theme)))
    if "drain" in tables:
        pages.append(("causes", *draw_causes(correlations, tables["drain"], tables["rewards"], theme)))
    if "variants" in tables:
        pages.append(("variants", *draw_variants(tables["variants"], theme)))
    return [path for name, page, alt in pages for path in page.save(folder / name, alt)]
