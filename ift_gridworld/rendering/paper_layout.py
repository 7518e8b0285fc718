"""Layout of a figure for a paper: how many maps stand in a row, and how large they are, so that it fits a page. In inches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.rendering.paper_options import PANELS, FigureOptions

__all__ = [
    "CHART", "CHART_HEIGHT", "MARGIN", "MATRIX", "MATRIX_HEIGHT", "MAX_HEIGHT", "NAME", "PLANE_AROUND", "STRIP_AROUND",
    "MapLayout", "arrange_maps", "below_maps", "charts_per_line", "check_fits", "plane_height", "strip_height",
]  # fmt: skip

MAX_HEIGHT = 9.0  # of a page
MARGIN, GAP = 0.04, 0.08  # at the left and right edge; between maps and below them
NAME, LABEL, LIFT = 0.16, 0.125, 0.1  # lines above a row of maps: the method, the updates; more above headings in the map
BLOCK_GAPS = (0.12, 0.22)  # between methods that stand beside one another, with one map each and with several
CHART, CHART_AROUND = 0.92, 0.52  # a curve; its title above, ticks and axis label below
STRIP_ROW, STRIP_AROUND = 0.14, 0.52  # a method in a panel of seeds; the rest of the panel
MATRIX, MATRIX_AROUND = 0.52, 0.28
PLANE, PLANE_ROW, PLANE_AROUND = 1.75, 0.155, 0.42  # the frontier plane; a name beside it; its title above, its axis below
STAGES = {"column": 3, "page": 5}  # maps a method, at most, unless the reader chooses more
CHARTS = {"column": 2, "page": 4}  # in a line, at most
MAX_MAP = 3.3  # neither side of a map is larger
FEW, ENOUGH = 2, 0.26  # methods whose maps may fill the page; side of the tiles of more
LEAST_CELL = 0.56  # width that the label of a map needs

# A map is legible where its tiles or, of many tiles, the whole of it is at least so large; more stages are shown, and more
# methods beside one another, only where maps stay readable.
LEAST_TILE, LEAST_SIDE = 0.08, 0.7
GOOD_TILE, GOOD_SIDE, FINE_SIDE, GOOD_SMALL_TILE = 0.12, 0.6, 0.9, 0.1
CHART_HEIGHT, MATRIX_HEIGHT = CHART + CHART_AROUND, MATRIX + MATRIX_AROUND


@dataclass(frozen=True)
class MapLayout:
    """Maps of several methods: rows of blocks, a block a method, in it one map a stage.

    Attributes:
        shape: height and width of the environment's map, in tiles.
        methods, stages: number of methods and of maps of each.
        per_row: methods beside one another.
        tile: side of a tile.
        cell: width of the place of a map, at least that of the map.
        gap: between maps of a method.
        heads: height of what stands above the first row of maps, and above the others.
        lift: part of it that is left empty directly above a map.
        made_of_maps: whether the map consists of small ones, each of which must be readable.
    """

    shape: tuple[int, int]
    methods: int
    stages: int
    per_row: int
    tile: float
    cell: float
    gap: float
    heads: tuple[float, float]
    lift: float
    made_of_maps: bool

    @property
    def map_size(self) -> tuple[float, float]:
        """Width and height of a map."""
        return self.tile * self.shape[1], self.tile * self.shape[0]

    @property
    def rows(self) -> int:
        """Number of rows of maps."""
        return -(-self.methods // self.per_row)

    @property
    def block_gap(self) -> float:
        """Space between methods that stand beside one another."""
        return BLOCK_GAPS[self.stages > 1]

    @property
    def block(self) -> float:
        """Width of the maps of one method."""
        return self.stages * self.cell + (self.stages - 1) * self.gap

    @property
    def height(self) -> float:
        """Height of all rows."""
        return sum(self.heads[min(row, 1)] + self.map_size[1] + GAP for row in range(self.rows))

    def place(self, method: int, stage: int) -> tuple[float, float]:
        """Return the left and the upper edge of a map."""
        row, column = divmod(method, self.per_row)
        above = sum(self.heads[min(i, 1)] + self.map_size[1] + GAP for i in range(row)) + self.heads[min(row, 1)]
        return MARGIN + column * (self.block + self.block_gap) + stage * (self.cell + self.gap), above

    @property
    def is_good(self) -> bool:
        """True if its maps are easy to read."""
        if self.made_of_maps:
            return self.tile >= GOOD_SMALL_TILE
        return (self.tile >= GOOD_TILE and self.side >= GOOD_SIDE) or self.side >= FINE_SIDE

    @property
    def is_legible(self) -> bool:
        """True if its maps can be read at all."""
        return self.tile >= LEAST_TILE or (self.side >= LEAST_SIDE and not self.made_of_maps)

    @property
    def side(self) -> float:
        """Side of a square that is as large as a map."""
        return self.tile * sqrt(self.shape[0] * self.shape[1])


def arrange_maps(
    grid: GridLayout,
    options: FigureOptions,
    methods: int,
    room: float,
    most_stages: int,
    *,
    fixed: bool = False,
    labelled: bool = False,
) -> MapLayout:
    """Choose the number of stages and of methods in a row, and the size of the maps.

    As many stages as can be shown in readable maps, unless their number is fixed; then the largest maps.

    Args:
        grid: the layout of the environment.
        options: of the figure.
        methods: number of methods.
        room: height that there is for maps.
        most_stages: number of updates that there are to show.
        fixed: whether all of them have to be shown.
        labelled: whether each row needs labels of its own, not the first alone.

    Raises:
        ValueError: if no arrangement is legible.
    """

    counts = [most_stages] if fixed else list(range(1, min(STAGES[options.width], most_stages) + 1))
    lift = 0.03 + LIFT * bool(grid.headings)
    gap = 4 * GAP if grid.headings else GAP  # what is made of small maps must not run together
    heads = (NAME + LABEL + lift, NAME + LABEL * labelled + lift)
    shape = (grid.height, grid.width)
    draft = MapLayout(shape, methods, 1, 1, 0.0, 0.0, gap, heads, lift, bool(grid.headings))
    drafts = [replace(draft, stages=stages, per_row=per_row) for stages in counts for per_row in range(1, methods + 1)]
    found = [layout for one in drafts if (layout := _layout(one, options.inches, room))]
    best = max(found, key=lambda one: (one.is_good, one.stages if one.is_good else 0, one.tile, -one.per_row), default=None)
    if best is None or not best.is_legible:
        raise ValueError(_too_much(options, methods, len(grid.headings) > 0))
    return best


def _layout(draft: MapLayout, inches: float, room: float) -> MapLayout | None:
    """Return a layout with the largest maps that fit, None where nothing does."""
    number = draft.per_row * draft.stages
    between = (draft.per_row - 1) * draft.block_gap + draft.per_row * (draft.stages - 1) * draft.gap
    cell = (inches - 2 * MARGIN - between) / number
    heads = draft.heads[0] + (draft.rows - 1) * draft.heads[1]
    height = (room - heads) / draft.rows - GAP
    rows, columns = draft.shape
    largest = MAX_MAP / max(rows, columns)
    tile = min(cell / columns, height / rows, largest if draft.methods <= FEW else min(largest, ENOUGH))
    if cell < LEAST_CELL or tile <= 0:
        return None
    return replace(draft, tile=tile, cell=cell if number > 2 else min(cell, max(tile * columns + 0.3, 0.8)))


def _too_much(options: FigureOptions, methods: int, several_maps: bool) -> str:
    """Say that a figure does not fit, and what to choose."""
    ways = ["fewer methods"] * (methods > 1)
    ways += ["fewer stages"] * (options.stages is not None and len(options.stages) > 1)
    ways += ["fewer panels"] * (options.panels is not None and len(options.panels) > 1)
    ways += ["panels without maps", *["page"] * (options.width == "column")]
    maps = "whose map is made of small ones" if several_maps else "with its tiles"
    subject = f"{methods} method{'s' * (methods > 1)} in an environment {maps}"
    return f"figure is {options.width!r}, on which {subject} cannot be read; allowed: {', '.join(ways)}"


def charts_per_line(options: FigureOptions, charts: int) -> int:
    """Return how many charts stand in a line, so that lines are about equally full."""
    lines = -(-charts // CHARTS[options.width])
    return -(-charts // lines) if charts else 1


def strip_height(methods: int) -> float:
    """Return the height of a panel of seeds, without its title and its axis."""
    return max(0.3, STRIP_ROW * methods)


def plane_height(methods: int) -> float:
    """Return the height of the frontier plane, beside which there is room for the names of methods."""
    return max(PLANE, PLANE_ROW * methods)


def below_maps(options: FigureOptions, panels: list[str], methods: int, strips: int) -> float:
    """Return the height of matrices, curves, panels of seeds and the frontier plane.

    Args:
        options: of the figure.
        panels: that it has.
        methods: number of methods.
        strips: metrics that a panel of seeds has.
    """
    charts = len([panel for panel in panels if panel not in PANELS])
    height = MATRIX_HEIGHT * ("matrix" in panels)
    height += CHART_HEIGHT * -(-charts // charts_per_line(options, charts))
    height += (plane_height(methods) + PLANE_AROUND) * ("frontier" in panels)
    if "seeds" in panels:
        height += (strip_height(methods) + STRIP_AROUND) * -(-strips // charts_per_line(options, strips))
    return height


def check_fits(grid: GridLayout, options: FigureOptions, methods: int) -> None:
    """Raise a ValueError for a figure that certainly does not fit, before anything is trained for it.

    Args:
        grid: the layout of the environment.
        options: of the figure.
        methods: number of methods.

    Example:
        >>> check_fits(GridLayout.of(["SF", "FG"]), FigureOptions("column"), 10)
    """
    panels = options.chosen_panels(methods, "success")
    room = MAX_HEIGHT - below_maps(options, panels, methods, strips=2)
    if "maps" in panels:
        stages = 1 if options.stages is None else len(set(options.stages))
        arrange_maps(grid, options, methods, room, stages, fixed=True)
