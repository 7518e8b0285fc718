"""Pictures of runs: maps on an Axes, films, stills, figures for a paper, a page. Needs no display, no torch, and no training.

    film        the base of every film: MethodFilm, ComparisonFilm, LargeLakeFilm, SmallMapsFilm, ExplainFilm,
                FailureFilm, PlaneFilm, FrontierFilm, OptimalPolicyStill, OptimalRouteStill
    maps        the map of a lake on an Axes; over it tiles (colours), arrows (a policy), paths (the human's answers)
    paper       small multiples, matrices, curves, seeds and the frontier plane at the width of a column or of a page; caption
                and table for LaTeX
    views       further views of runs, by name: the preference plane, the frontier plane, the flow of episodes, every seed
    page        runs as one HTML file: the alignment lab (`lab_page`) with them inside
    fonts       signs that matplotlib's own font lacks: another installed font, or their escapes
    worker      draws in a process of its own
    tables      results for a terminal

Importing this package loads nothing but names of formats and themes, so that they can be checked before matplotlib is needed;
everything else is loaded on first use.
"""

from typing import TYPE_CHECKING

from ift_gridworld._lazy import lazy_names
from ift_gridworld.rendering.formats import FORMATS, PICTURES, STILLS, THEME_NAMES, VIDEO, check_format, check_theme

if TYPE_CHECKING:
    from ift_gridworld.rendering.arrows import ChangeArrows, PolicyArrows
    from ift_gridworld.rendering.caption import latex_table
    from ift_gridworld.rendering.comparison import ComparisonFilm
    from ift_gridworld.rendering.explain_film import ExplainFilm
    from ift_gridworld.rendering.failure import ChartLine, Failure, Panel
    from ift_gridworld.rendering.failure_film import FailureFilm
    from ift_gridworld.rendering.film import Film
    from ift_gridworld.rendering.frontier_plane import FrontierFilm
    from ift_gridworld.rendering.large_film import LargeLakeFilm
    from ift_gridworld.rendering.maps import draw_lake, draw_landmarks, draw_starts, prepare_axes, walkable
    from ift_gridworld.rendering.matrix import PolicyMatrix
    from ift_gridworld.rendering.method_film import MethodFilm
    from ift_gridworld.rendering.optimal_still import OptimalPolicyStill
    from ift_gridworld.rendering.page import save_page
    from ift_gridworld.rendering.paper import save_figure
    from ift_gridworld.rendering.paths import PathOutline, Predictions, draw_answers
    from ift_gridworld.rendering.pictures import film_of, save_film, still_of
    from ift_gridworld.rendering.plane import PlaneFilm, draw_plane
    from ift_gridworld.rendering.seeds_view import SeedsFilm
    from ift_gridworld.rendering.small_maps_film import SmallMapsFilm
    from ift_gridworld.rendering.small_maps_still import OptimalRouteStill
    from ift_gridworld.rendering.theme import THEMES, Theme
    from ift_gridworld.rendering.tiles import TileColours
    from ift_gridworld.rendering.views import VIEWS
    from ift_gridworld.rendering.worker import RenderWorker, draw_files

__all__ = [
    "FORMATS",
    "PICTURES",
    "STILLS",
    "THEMES",
    "THEME_NAMES",
    "VIDEO",
    "VIEWS",
    "ChangeArrows",
    "ChartLine",
    "ComparisonFilm",
    "ExplainFilm",
    "Failure",
    "FailureFilm",
    "Film",
    "FrontierFilm",
    "LargeLakeFilm",
    "MethodFilm",
    "OptimalPolicyStill",
    "OptimalRouteStill",
    "Panel",
    "PathOutline",
    "PlaneFilm",
    "PolicyArrows",
    "PolicyMatrix",
    "Predictions",
    "RenderWorker",
    "SeedsFilm",
    "SmallMapsFilm",
    "Theme",
    "TileColours",
    "check_format",
    "check_theme",
    "draw_answers",
    "draw_files",
    "draw_lake",
    "draw_landmarks",
    "draw_plane",
    "draw_starts",
    "film_of",
    "latex_table",
    "prepare_axes",
    "save_figure",
    "save_film",
    "save_page",
    "still_of",
    "walkable",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    __all__,
    {
        "arrows": ("ChangeArrows", "PolicyArrows"),
        "comparison": ("ComparisonFilm",),
        "explain_film": ("ExplainFilm",),
        "failure": ("ChartLine", "Failure", "Panel"),
        "failure_film": ("FailureFilm",),
        "film": ("Film",),
        "formats": ("FORMATS", "PICTURES", "STILLS", "THEME_NAMES", "VIDEO", "check_format", "check_theme"),
        "large_film": ("LargeLakeFilm",),
        "maps": ("draw_lake", "draw_landmarks", "draw_starts", "prepare_axes", "walkable"),
        "matrix": ("PolicyMatrix",),
        "method_film": ("MethodFilm",),
        "optimal_still": ("OptimalPolicyStill",),
        "page": ("save_page",),
        "caption": ("latex_table",),
        "paper": ("save_figure",),
        "seeds_view": ("SeedsFilm",),
        "paths": ("PathOutline", "Predictions", "draw_answers"),
        "theme": ("THEMES", "Theme"),
        "tiles": ("TileColours",),
        "pictures": ("film_of", "save_film", "still_of"),
        "frontier_plane": ("FrontierFilm",),
        "plane": ("PlaneFilm", "draw_plane"),
        "views": ("VIEWS",),
        "small_maps_film": ("SmallMapsFilm",),
        "small_maps_still": ("OptimalRouteStill",),
        "worker": ("RenderWorker", "draw_files"),
    },
)
