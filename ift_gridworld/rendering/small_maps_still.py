"""A still of the optimal policy on a grid of small maps: an optimal route large, the return from all starts as an index."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize

from ift_gridworld.escape import printable
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, optimal_policy, success_probability
from ift_gridworld.rendering.film_bases import Still
from ift_gridworld.rendering.maps import grid_of
from ift_gridworld.rendering.route_block import RouteBlock, RouteScene, draw_key
from ift_gridworld.rendering.small_maps import likeliest_drive, mean_over_starts
from ift_gridworld.rendering.small_maps_film import visits_from
from ift_gridworld.rendering.text import shorten
from ift_gridworld.rendering.visit_scale import VisitScale

__all__ = ["OptimalRouteStill"]

BLOCK, GAP, MARGIN, HEAD, FOOT = 4.6, 0.4, 0.25, 0.56, 0.9  # inches


class OptimalRouteStill(Still):
    """For each environment the maps that one optimal route leads through, and the return from the starts of every map.

    The route is the likeliest drive of the optimal policy from the start whose optimal return in the first environment is the
    median of all starts; visits are of episodes from there.

    Args:
        title: what is shown, for those who cannot see it.
        environments: MDPs of one layout of small maps, by the name that stands above each.
        theme: a name in THEMES.

    Raises:
        ValueError: if the MDPs have no map, or for an unknown theme.

    Example (writes two files)::

        OptimalRouteStill("Taxi", {"dry": TabularMDP.make("Taxi-v4")}).save("taxi.png")
    """

    def __init__(self, title: str, environments: Mapping[str, TabularMDP], theme: str = "light") -> None:
        self.title, mdps = title, list(environments.values())
        grid_of(mdps[0])
        policies = [optimal_policy(mdp) for mdp in mdps]
        values = [evaluate_policy(mdp, policy) for mdp, policy in zip(mdps, policies, strict=True)]
        starts = np.flatnonzero(mdps[0].start)
        start = int(starts[np.argsort(values[0][starts], kind="stable")[(len(starts) - 1) // 2]])
        visits = [visits_from(mdp, policy, start) for mdp, policy in zip(mdps, policies, strict=True)]
        scale = VisitScale.of([each[~mdp.terminal] for each, mdp in zip(visits, mdps, strict=True)])
        scenes = [self._scene(mdp, policy, start, scale) for mdp, policy in zip(mdps, policies, strict=True)]
        cells = [mean_over_starts(mdp, scenes[0].starts, value) for mdp, value in zip(mdps, values, strict=True)]
        for scene in scenes:  # one scale for all
            scene.norm.vmin, scene.norm.vmax = float(np.floor(np.min(cells))), float(np.ceil(np.max(cells)))
        height = max(scene.block_height(BLOCK, beside=False) for scene in scenes)
        width = len(mdps) * (BLOCK + GAP) - GAP + 2 * MARGIN
        super().__init__(theme, (max(width, 7.0), HEAD + height + FOOT))
        self.results: list[str] = []
        for i, (name, mdp) in enumerate(environments.items()):
            left = MARGIN + i * (BLOCK + GAP)
            result = f"return {values[i] @ mdp.start:.3f}"
            if mdp.horizon is not None:
                result += f" · success {success_probability(mdp, policies[i], mdp.horizon):.3f}"
            parts = ", then ".join(small.heading for small in scenes[i].parts)
            self.results.append(
                f"{printable(name.capitalize())}: {result}; the route leads through {parts}; from the starts of each map the "
                f"return is between {cells[i].min():.1f} and {cells[i].max():.1f}."
            )
            self.add_text(left, 0.17, shorten(name, BLOCK, 12, bold=True), size=12, weight="bold", color=self.theme.ink)
            self.add_text(left, 0.4, shorten(result, BLOCK, 9.5), size=9.5, color=self.theme.muted)
            block = RouteBlock(self, scenes[i], mdp, left, HEAD, BLOCK, beside=False)
            words = f"route's start {values[i][start]:.2f} · lowest {cells[i].min():.1f} · highest {cells[i].max():.1f}"
            block.update(policies[i], visits[i], cells[i], words)
        draw_key(self, scenes[0], MARGIN, HEAD + height + 0.12, max(width, 7.0) - 2 * MARGIN)

    def _scene(self, mdp: TabularMDP, policy: Float[np.ndarray, "S A"], start: int, scale: VisitScale) -> RouteScene:
        route, nothing = likeliest_drive(mdp, policy, start), np.zeros(0, int)
        return RouteScene(mdp, route, nothing, scale, "likeliest optimal route", "return", Normalize(0, 1), 1)

    @property
    def alt(self) -> str:
        return (
            f"{printable(self.title)}: a route of the optimal policy on small maps, large, its moves as arrows, blue where "
            f"episodes from its start go, and a table of the return from the starts of every map. {' '.join(self.results)}"
        )
