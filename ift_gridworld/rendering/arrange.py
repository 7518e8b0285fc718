"""Arrangement of a comparison's maps and charts, in which maps take the largest part of the picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

__all__ = ["BESIDE", "GAP", "MARGIN", "Arrangement", "arrange"]

# Inches: at the edges of the picture, between methods, between the two maps of one method.
MARGIN, GAP, BESIDE = 0.3, 0.24, 0.16
LEAST_COLUMN = 1.22  # of a method: its numbers would not fit
CHART_WIDTH, CHARTS_RIGHT = 2.0, 2.9  # inches: of a chart in a row, at least; of charts one over the other


@dataclass(frozen=True)
class Arrangement:
    """Sizes in inches of a picture of several methods.

    Attributes:
        width, height: of the picture.
        per_row, rows: of methods.
        beside: whether a method's two maps stand side by side, not one over the other.
        charts_right: whether charts stand one over the other at the right, not in rows below.
        charts_per_row: number of charts in a row below.
        column: width of a method's column.
        map_width, map_height: of each map.
        row_height: of a row of methods.
    """

    width: float
    height: float
    per_row: int
    rows: int
    beside: bool
    charts_right: bool
    charts_per_row: int
    column: float
    map_width: float
    map_height: float
    row_height: float

    @property
    def share(self) -> float:
        """The part of the picture that a method's two maps take."""
        return self.map_width * self.map_height / (self.width * self.height)

    @property
    def fill(self) -> float:
        """The part of its column's width that a method's maps take."""
        return (2 * self.map_width + BESIDE if self.beside else self.map_width) / self.column


def arrange(
    count: int,
    grid: tuple[int, int],
    box: tuple[float, float],
    *,
    head: float,
    title: float,
    caption: float,
    keys: float,
    charts: int,
    chart_height: float,
    fixed: bool = False,
) -> Arrangement:
    """Return the arrangement in which maps are largest, as a part of the picture; what stays blank counts against it.

    Args:
        count: number of methods.
        grid: width and height of the map, in tiles.
        box: width of the picture and the most height that it may have.
        head: height of what stands above all methods.
        title: height of what stands above a method's maps.
        caption: height of the line above each map.
        keys: height of the keys.
        charts: number of charts.
        chart_height: of one chart, with its title and its axis.
        fixed: whether the picture has the whole height, even if it is not needed.
    """
    found = []
    for per_row in range(1, min(count, 6) + 1):
        rows = ceil(count / per_row)
        if per_row > 1 and ceil(count / (per_row - 1)) == rows:
            continue  # as many rows, and a gap at the end of the last
        for beside in (False, True):
            for charts_right in (False, True):
                inner = box[0] - 2 * MARGIN - (CHARTS_RIGHT + 1.15 if charts_right else 0.0)
                column = (inner + GAP) / per_row - GAP
                if column < LEAST_COLUMN and per_row > 1:
                    continue
                in_row = max(1, min(charts, int((box[0] - 2 * MARGIN) / CHART_WIDTH)))
                below = 0.0 if charts_right else ceil(charts / in_row) * chart_height
                room = (box[1] - head - keys - below) / rows - title
                widest = (column - BESIDE) / 2 if beside else column
                tallest = room - caption if beside else room / 2 - caption
                tile = min(widest / grid[0], tallest / grid[1])
                if tile <= 0:
                    continue
                map_width, map_height = tile * grid[0], tile * grid[1]
                row_height = title + (1 if beside else 2) * (map_height + caption)
                height = head + rows * row_height + keys + below
                if charts_right:
                    height = max(height, head + charts * chart_height)
                if height > box[1] + 1e-9:
                    continue
                shape = (round(box[0], 2), round(box[1] if fixed else height, 2))
                found.append(
                    Arrangement(*shape, per_row, rows, beside, charts_right, in_row, column, map_width, map_height, row_height)
                )
    assert found, f"no room for {count} methods in {box}"
    return max(found, key=lambda one: one.share * one.fill**2 * count / (one.per_row * one.rows))
