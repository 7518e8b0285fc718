"""A still of the optimal policy of a place, or of several versions of it side by side; nothing is trained for it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize
from PIL import Image

from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, optimal_policy, success_probability
from ift_gridworld.rendering import maps
from ift_gridworld.rendering.encode import shared_palette
from ift_gridworld.rendering.film import Film
from ift_gridworld.storage import write_atomically

WIDTH, TALLEST = 3.6, 2.7  # inches of a map, at most
GAP, MARGIN, HEAD, FOOT = 0.25, 0.12, 0.52, 0.36


class OptimalPolicyStill(Film):
    """Arrows for the policy that is optimal for each MDP's discount, and blue for how often an episode visits a tile.

    Args:
        title: what is shown, for who cannot see it.
        places: MDPs of one grid, by the name that stands above each.
        theme: a name in THEMES.
    """

    def __init__(self, title: str, places: Mapping[str, TabularMDP], theme: str = "light") -> None:
        self.title = title
        grid = next(iter(places.values())).grid
        assert grid is not None
        width = min(WIDTH, TALLEST * grid.width / grid.height)
        tall = width * grid.height / grid.width
        foot = FOOT if grid.headings else MARGIN
        super().__init__(theme, (len(places) * (width + GAP) - GAP + 2 * MARGIN, tall + HEAD + foot))
        if grid.headings:
            key = "G → R: from G to R · disc: pick up · square: drop off · flag: where to · heavy line: wall"
            self.words(MARGIN, HEAD + tall + 0.24, key, size=9, color=self.theme.muted)
        self.told: list[str] = []
        for column, (name, mdp) in enumerate(places.items()):
            left, best = MARGIN + column * (width + GAP), optimal_policy(mdp)
            told = f"return {evaluate_policy(mdp, best) @ mdp.start:.3f}"
            if mdp.horizon is not None:
                told += f" · success {success_probability(mdp, best, mdp.horizon):.3f}"
            self.told.append(f"{name.capitalize()}: {told}.")
            self.words(left, 0.17, name, size=11, weight="bold", color=self.theme.ink)
            self.words(left, 0.37, told, size=9, color=self.theme.muted)
            ax, walkable = self.axes(left, HEAD, width, tall), maps.walkable(mdp)
            maps.draw_lake(ax, grid, self.theme)
            visits = maps.TileColours(ax, grid, walkable, self.theme.visits, Normalize(0, 1, clip=True))
            visits.update(expected_visits(mdp, best))
            maps.landmarks(ax, grid, self.theme)
            maps.starts(ax, grid, self.theme)
            maps.Arrows(ax, grid, mdp.moves, walkable, self.theme).update(best)

    def __len__(self) -> int:
        return 1

    @property
    def change(self) -> Float[np.ndarray, " F"]:
        return np.zeros(0)

    @property
    def alt(self) -> str:
        return f"{self.title}: the optimal policy as arrows, blue where it goes. {' '.join(self.told)}"

    def update(self, index: int) -> None:
        """Nothing moves."""

    def save(self, path: str | Path) -> Path:
        """As any film; a PNG in few colours, which is a third of the bytes."""
        path = super().save(path)
        if path.suffix == ".png":
            out = io.BytesIO()
            with Image.open(path) as picture:
                plain = picture.convert("RGB")
            plain.quantize(palette=shared_palette([plain]), dither=Image.Dither.NONE).save(out, "png", optimize=True)
            write_atomically(path, out.getvalue())
        return path
