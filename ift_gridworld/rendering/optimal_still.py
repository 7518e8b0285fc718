"""A still of the optimal policy of an environment, or of several versions of it side by side; nothing is trained for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize

from ift_gridworld.escape import printable
from ift_gridworld.evaluation.headline import headline_metric
from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, optimal_policy, success_probability
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.encode import reduce_colours
from ift_gridworld.rendering.film import Film
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.text import shorten
from ift_gridworld.rendering.tiles import TileColours

__all__ = ["OptimalPolicyStill"]

WIDTH, TALLEST = 3.6, 2.7  # inches: of a map, at most
GAP, MARGIN, HEAD, FOOT = 0.25, 0.12, 0.52, 0.36  # inches


class OptimalPolicyStill(Film):
    """Arrows for the policy that is optimal for each MDP's discount, and blue for how often an episode visits a tile.

    Args:
        title: what is shown, for those who cannot see it.
        environments: MDPs of one layout, by the name that stands above each.
        theme: a name in THEMES.

    Raises:
        ValueError: if the MDPs have no map, or for an unknown theme.

    Example (writes two files)::

        OptimalPolicyStill("FrozenLake", {"no slip": TabularMDP.from_map(LAKES["4x4"])}).save("lake.png")
    """

    def __init__(self, title: str, environments: Mapping[str, TabularMDP], theme: str = "light") -> None:
        self.title = title
        grid = grid_of(next(iter(environments.values())))
        width = min(WIDTH, TALLEST * grid.width / grid.height)
        height = width * grid.height / grid.width
        foot = FOOT if grid.headings else MARGIN
        super().__init__(theme, (len(environments) * (width + GAP) - GAP + 2 * MARGIN, height + HEAD + foot))
        if grid.headings:
            key = "G → R: from G to R · disc: pick up · square: drop off · flag: where to · heavy line: wall"
            self.add_text(MARGIN, HEAD + height + 0.24, key, size=9, color=self.theme.muted)
        self.results: list[str] = []
        for column, (name, mdp) in enumerate(environments.items()):
            left, best = MARGIN + column * (width + GAP), optimal_policy(mdp)
            result = f"return {evaluate_policy(mdp, best) @ mdp.start:.3f}"
            if headline_metric(mdp) == "success":
                result += f" · success {success_probability(mdp, best, mdp.horizon):.3f}"
            self.results.append(f"{printable(name.capitalize())}: {result}.")
            self.add_text(left, 0.17, shorten(name, width + GAP, 11, bold=True), size=11, weight="bold", color=self.theme.ink)
            self.add_text(left, 0.37, result, size=9, color=self.theme.muted)
            ax, states = self.add_axes(left, HEAD, width, height), walkable(mdp)
            draw_lake(ax, grid, self.theme)
            visits = TileColours(ax, grid, states, self.theme.visits, Normalize(0, 1, clip=True))
            visits.update(expected_visits(mdp, best))
            draw_landmarks(ax, grid, self.theme)
            draw_starts(ax, grid, self.theme)
            PolicyArrows(ax, grid, mdp.moves, states, self.theme).update(best)

    def __len__(self) -> int:
        return 1

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        return np.zeros(0)

    @property
    def alt(self) -> str:
        return f"{printable(self.title)}: the optimal policy as arrows, blue where it goes. {' '.join(self.results)}"

    def update(self, index: int) -> None:
        """Do nothing, because nothing moves."""

    def save(self, path: str | Path, *, speed: float = 1.0) -> Path:
        """Write as `Film.save` does; a PNG in few colours, which takes a third of the bytes."""
        path = super().save(path, speed=speed)
        if path.suffix == ".png":
            reduce_colours(path)
        return path
