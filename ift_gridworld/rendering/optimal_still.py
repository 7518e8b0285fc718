"""A still of the optimal policy of an environment, or of several versions of it side by side; nothing is trained for it."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.colors import to_hex

from ift_gridworld.escape import printable
from ift_gridworld.evaluation.headline import headline_metric
from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, optimal_policy, success_probability
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.film_bases import Still
from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, grid_of, walkable
from ift_gridworld.rendering.text import shorten
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.rendering.visit_scale import VisitScale

__all__ = ["OptimalPolicyStill"]

WIDTH, TALLEST = 3.6, 2.7  # inches: of a map, at most
MANY_WIDTH, MANY_TALLEST = 5.2, 4.4  # the same of a layout of several maps, whose tiles would be too small for their marks
GAP, MARGIN, HEAD = 0.25, 0.12, 0.52  # inches
KEY_WIDTH, KEY_HEIGHT, KEY_FOOT, WORDS_FOOT = 1.5, 0.1, 0.56, 0.24  # inches: the strip of visits, and all that is below a map


class OptimalPolicyStill(Still):
    """Arrows for the policy that is optimal for each MDP's discount, and blue for how often an episode visits a tile.

    All maps share one scale of visits, whose key stands below.

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
        widest, tallest = (MANY_WIDTH, MANY_TALLEST) if grid.headings else (WIDTH, TALLEST)
        width = min(widest, tallest * grid.width / grid.height)
        height = width * grid.height / grid.width
        column_width = max(width, KEY_WIDTH)  # of a narrow map, the words above are wider
        size = (len(environments) * (column_width + GAP) - GAP + 2 * MARGIN, HEAD + height + KEY_FOOT)
        super().__init__(theme, (size[0], size[1] + WORDS_FOOT * bool(grid.headings)))
        best_policies = {name: optimal_policy(mdp) for name, mdp in environments.items()}
        all_visits = {name: expected_visits(mdp, best_policies[name]) for name, mdp in environments.items()}
        scale = VisitScale.of(all_visits.values())
        scale.draw_key(self.add_axes(MARGIN + 0.17, HEAD + height + 0.24, KEY_WIDTH, KEY_HEIGHT), self.theme, 8)
        if grid.headings:
            key = "G → R: from G to R · disc: pick up · square: drop off · flag: where to · heavy line: wall"
            self.add_text(MARGIN, size[1] + 0.06, key, size=9, color=self.theme.muted)
        self.results: list[str] = []
        for column, (name, mdp) in enumerate(environments.items()):
            left, best = MARGIN + column * (column_width + GAP), best_policies[name]
            result = f"return {evaluate_policy(mdp, best) @ mdp.start:.3f}"
            if headline_metric(mdp) == "success":
                result += f" · success {success_probability(mdp, best, mdp.horizon):.3f}"
            self.results.append(f"{printable(name.capitalize())}: {result}.")
            self.add_text(left, 0.17, shorten(name, column_width, 11, bold=True), size=11, weight="bold", color=self.theme.ink)
            self.add_text(left, 0.37, result, size=9, color=self.theme.muted)
            ax, states = self.add_axes(left, HEAD, width, height), walkable(mdp)
            draw_lake(ax, grid, self.theme)
            visits = TileColours(ax, grid, states, self.theme.visits, scale.norm)
            visits.update(all_visits[name])
            draw_landmarks(ax, grid, self.theme)
            start = self.theme.visits(scale.norm(all_visits[name] @ mdp.start))
            draw_starts(ax, grid, self.theme, halo=to_hex(start))
            PolicyArrows(ax, grid, mdp.moves, states, self.theme).update(best)

    @property
    def alt(self) -> str:
        return f"{printable(self.title)}: the optimal policy as arrows, blue where it goes. {' '.join(self.results)}"
