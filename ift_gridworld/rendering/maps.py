"""The map of a lake on a matplotlib Axes: ice, holes, goal, start, walls and places. Nothing here shows or saves.

One tile is one unit; tile (row, column) of a `GridLayout` spans [column, column + 1] x [row, row + 1], rows downwards. What
changes from frame to frame is drawn over the map by `tiles`, `arrows` and `paths`, whose classes have an `update`.

Where tiles are so fine that a reader could not tell them apart, blocks of them are drawn as one: their colours as a pixel of an
image, their arrows as one arrow of the mean move. The cost of a frame then grows with the tiles no faster than reading them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb, to_rgba
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.rendering.fonts import font_for
from ift_gridworld.rendering.scale import (
    BADGE_SIDE,
    LETTER_TILE,
    TINY_TILE,
    has_signs,
    is_fine,
    is_small,
    rim_width,
    sign_side,
    tile_inches,
)
from ift_gridworld.rendering.shapes import (
    GOAL_GLYPH,
    MARK_GLYPHS,
    PLACE_COLOURS,
    PLACE_FRAME,
    closed_path,
    disc,
    rectangle,
    squares_around,
)
from ift_gridworld.rendering.text import Letter
from ift_gridworld.rendering.theme import Theme
from ift_gridworld.rendering.tile_kinds import drawn_grid
from ift_gridworld.rendering.tiles import BlockImage, hole_colour, tile_polygon

__all__ = ["draw_lake", "draw_landmarks", "draw_starts", "grid_of", "prepare_axes", "walkable"]


def grid_of(mdp: TabularMDP) -> GridLayout:
    """Return the layout that an MDP is drawn by; its letters follow from what tiles do (`tile_kinds.drawn_grid`).

    Raises:
        ValueError: if it has none.

    Example:
        >>> grid_of(TabularMDP.from_map(["SF", "FG"])).rows
        ('SF', 'FG')
    """
    grid = drawn_grid(mdp)
    if grid is None:
        raise ValueError("this environment has no map to draw; allowed: FrozenLake, CliffWalking, Taxi")
    return grid


def walkable(mdp: TabularMDP) -> Bool[np.ndarray, " S"]:
    """Return the states that are drawn with arrows: an episode can be there and go on.

    Raises:
        ValueError: if the MDP has no map.

    Example:
        >>> walkable(TabularMDP.from_map(["SF", "HG"])).tolist()
        [True, True, False, False]
    """
    return ~mdp.terminal & ~np.isin(grid_of(mdp).letters, ["H", "C", " "])


def prepare_axes(ax: Axes, rows: int, columns: int) -> Axes:
    """Give an Axes square tiles, rows downwards and no frame.

    Args:
        ax: where a map is to be drawn.
        rows, columns: number of tiles along either side.

    Example:
        >>> from matplotlib.figure import Figure
        >>> prepare_axes(Figure().add_subplot(), 2, 3).get_xlim() == (0, 3)
        True
    """
    ax.set(xlim=(0, columns), ylim=(rows, 0), aspect="equal", anchor="NW")
    ax.axis("off")
    return ax


def draw_lake(ax: Axes, grid: GridLayout, theme: Theme, hole: str | None = None) -> Axes:
    """Draw what never changes and lies below all else: ice, holes, goals, and headings where several maps are laid out.

    Args:
        ax: where to draw; it is prepared for the layout.
        grid: the layout of the tiles.
        theme: colours.
        hole: colour of holes (default: `hole_colour`).

    Example:
        >>> from matplotlib.figure import Figure
        >>> from ift_gridworld.rendering import THEMES
        >>> ax = draw_lake(Figure((2, 2)).add_subplot(), GridLayout.of(["SF", "HG"]), THEMES["light"])
        >>> len(ax.patches)  # ice, holes, the water in them, and the eight parts of the goal
        11
    """
    hole = hole or hole_colour(ax, grid, theme)
    prepare_axes(ax, grid.height, grid.width)
    holes, goals = np.isin(grid.tiles, ["H", "C"]), grid.tiles == "G"
    ground = ~holes & (grid.tiles != " ")
    if is_fine(ax, grid):
        below, ice = (BlockImage(ax, grid) for _ in range(2))
        ice.cover(np.argwhere(ground))
        for image, colour in ((below, hole), (ice, theme.ice)):
            image.update(np.tile(to_rgba(colour), (*image.share.shape, 1)))
        return ax
    tile, rim = tile_polygon(ax, grid), rim_width(ax, grid) if hole == theme.hole != theme.rim else 0.0
    for states, shape, colour, width in (
        (ground, tile, theme.ice, 0.0),
        (holes, tile, hole, rim),
        (holes & (not is_small(ax, grid)), disc(0.5, 0.5, 0.3), theme.water, 0.0),
        *((goals, part, getattr(theme, colour), 0.0) for part, colour in GOAL_GLYPH),
    ):
        corners = np.argwhere(states)[:, ::-1]  # column, row
        if len(corners):
            ax.add_patch(PathPatch(closed_path(corners[:, None] + shape), fc=colour, ec=theme.rim, lw=width))
    for row, column, text in grid.headings if tile_inches(ax, grid) > TINY_TILE else ():
        Letter(ax, column, row, text, theme.ink, 0.8)
    return ax


def draw_landmarks(ax: Axes, grid: GridLayout, theme: Theme) -> list[Artist]:
    """Draw what has to be found on a map whatever colours its tiles take; nothing on a lake of larger tiles.

    These are start and goal where tiles are too small for them, and walls, coloured places, passengers and destinations.

    Args:
        ax: where to draw, over the coloured tiles.
        grid: the layout of the tiles.
        theme: colours.

    Returns:
        What was added to the Axes, from below.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from ift_gridworld.rendering.theme import THEMES
        >>> ax = prepare_axes(Figure().add_subplot(), 2, 2)
        >>> len(draw_landmarks(ax, GridLayout.of(["SF", "FG"]), THEMES["light"]))
        0
    """
    drawn = _draw_signs(ax, grid, theme) if has_signs(ax, grid) else []
    for letter, colour in PLACE_COLOURS.items():
        places = np.argwhere(grid.tiles == letter)
        for kind, shapes in (("", PLACE_FRAME), *MARK_GLYPHS.items()):
            marked = grid.marks.get(kind, np.zeros((0, 2), int))
            tiles = places if not kind else marked[grid.tiles[tuple(marked.T)] == letter]
            edge: dict[str, Any] = {"ec": theme.ink, "lw": 0.4} if kind else {}
            for shape in shapes:
                drawn += _add_polygons(ax, tiles[:, None, ::-1] + shape, getattr(theme, colour), **edge)
        drawn += _draw_badges(ax, grid, places, letter.upper(), getattr(theme, colour), theme)
    if len(grid.walls):
        width = 13 * tile_inches(ax, grid)
        walls = LineCollection(list(grid.walls[..., ::-1].astype(float)), colors=theme.ink, lw=width, capstyle="butt")
        drawn.append(ax.add_collection(walls))
    return drawn


def _draw_badges(
    ax: Axes, grid: GridLayout, tiles: Int[np.ndarray, "n 2"], letter: str, colour: str, theme: Theme
) -> list[Artist]:
    """The letter of a coloured place, in a corner of its tiles: not every eye tells the colours apart."""
    side = min(0.5, max(0.34, BADGE_SIDE / tile_inches(ax, grid)))
    drawn = _add_polygons(ax, tiles[:, None, ::-1] + side * rectangle(0, 0, 1, 1), colour)
    ground = sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), to_rgb(colour), strict=True))
    ink = "#ffffff" if ground < 0.4 else "#000000"
    outline = _centred_letter(letter, 0.92 * side)
    if drawn:
        vertices = np.asarray(outline.vertices) + 0.5 * side
        path = Path(np.concatenate(vertices + tiles[:, None, ::-1]), np.tile(np.asarray(outline.codes), len(tiles)))
        drawn.append(ax.add_patch(PathPatch(path, fc=ink, lw=0)))
    return drawn


def _draw_signs(ax: Axes, grid: GridLayout, theme: Theme) -> list[Artist]:
    """Start and goal, larger than a tile, each on a framed square."""
    side = sign_side(ax, grid)
    drawn: list[Artist] = []
    for letter in "SG":
        corners = squares_around(grid, np.argwhere(grid.tiles == letter), side)[:, None]
        # The frame of a sign at the edge of the map lies half outside of it.
        drawn += _add_polygons(ax, corners + side * rectangle(0, 0, 1, 1), theme.ice, ec=theme.ink, lw=0.8, clip_on=False)
        if letter == "G":
            for part, colour in GOAL_GLYPH:
                drawn += _add_polygons(ax, corners + side * part, getattr(theme, colour))
        elif len(corners):
            sign = _centred_letter("S", side)
            path = Path(
                np.concatenate(np.asarray(sign.vertices) + side / 2 + corners), np.tile(np.asarray(sign.codes), len(corners))
            )
            drawn.append(ax.add_patch(PathPatch(path, fc=theme.ink, lw=0)))
    return drawn


def _centred_letter(letter: str, size: float) -> Path:
    """Return a bold letter's outline around the origin, rows downwards.

    Args:
        letter: one sign.
        size: of the type, in tiles.
    """
    glyph = TextPath((0, 0), letter, size=size, prop=font_for(letter, bold=True))
    vertices = np.asarray(glyph.vertices)
    return Path((vertices - (vertices.min(0) + vertices.max(0)) / 2) * [1, -1], glyph.codes)


def _add_polygons(ax: Axes, polygons: Float[np.ndarray, "n k 2"], colour: str, **edge: Any) -> list[Artist]:
    if not len(polygons):
        return []
    return [ax.add_patch(PathPatch(closed_path(polygons), fc=colour, **{"lw": 0, **edge}))]


def draw_starts(ax: Axes, grid: GridLayout, theme: Theme, halo: str | None = None) -> list[Artist]:
    """Mark each start tile, before its arrows are drawn: an S in a corner or, on a small tile, a ring around its arrow.

    Tiles that are too small for a ring have their sign from `draw_landmarks`.

    Args:
        ax: where to draw.
        grid: the layout of the tiles.
        theme: colours.
        halo: colour around a letter (default: that of a visited tile, where a dashed outline may pass below it).

    Returns:
        What was added to the Axes, from below.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from ift_gridworld.rendering.theme import THEMES
        >>> ax = prepare_axes(Figure().add_subplot(), 2, 2)
        >>> len(draw_starts(ax, GridLayout.of(["SF", "FG"]), THEMES["light"]))
        1
    """
    if has_signs(ax, grid):
        return []
    inches, tiles = tile_inches(ax, grid), grid.place[grid.letters == "S"]
    if inches < LETTER_TILE:
        ring = PathPatch(closed_path(tiles[:, None, ::-1] + disc(0.5, 0.5, 0.44)), fc="none", ec=theme.ink, lw=7 * inches)
        return [ax.add_patch(ring)] if len(tiles) else []
    drawn: list[Artist] = [Letter(ax, x, y, "S", theme.ink, min(0.26, max(0.2, 0.1 / inches))).artist for y, x in tiles]
    for letter in drawn:
        letter.set_path_effects([withStroke(linewidth=3, foreground=halo or theme.visited)])
    return drawn
