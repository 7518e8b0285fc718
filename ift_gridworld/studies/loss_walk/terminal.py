"""The walk in the terminal: each loss with its push on every tile as a small map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.console import Console, Group
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from ift_gridworld.escape import printable
from ift_gridworld.runtime import console
from ift_gridworld.studies.loss_walk.catalogue import LOSSES, LossEntry, evaluate
from ift_gridworld.studies.loss_walk.example import Example

__all__ = ["print_loss", "print_walk"]

UP, DOWN, FAINT = "bold blue", "bold dark_orange", "dim"


def tile_map(example: Example, push: np.ndarray, unit: float) -> Table:
    """Draw the lake, a cell a tile: the letter, green on the preferred answer, magenta on the other; a number each way."""
    mdp = example.mdp
    assert mdp.layout is not None
    chosen, rejected = (set(batch.states[batch.mask].tolist()) for batch in (example.chosen, example.rejected))

    def number(state: int, direction: str) -> Text:
        value = round(push[state, mdp.actions.index(direction)] / unit)
        return Text(f"{value:^+5d}" if value else "  ·  ", style=UP if value > 0 else DOWN if value < 0 else FAINT)

    grid = Table(show_header=False, show_lines=True, padding=0, border_style=FAINT)
    for _ in mdp.layout[0]:
        grid.add_column(width=11, no_wrap=True)
    for r, row in enumerate(mdp.layout):
        cells = []
        for c, letter in enumerate(row):
            state = r * len(row) + c
            style = "green" if state in chosen else "magenta" if state in rejected else FAINT
            if letter in "HG":
                cells.append(Text(f"\n{letter:^11}\n", style="green" if letter == "G" else FAINT))
                continue
            mark = Text(f"{letter:3}", style=f"bold {style}" if style != FAINT else FAINT)
            cells.append(
                Text.assemble(
                    mark, number(state, "up"), "   \n", number(state, "left"), " ", number(state, "right"), "\n   ",
                    number(state, "down"), "   ",
                )
            )  # fmt: skip
        grid.add_row(*cells)
    return grid


def print_loss(screen: Console, entry: LossEntry, example: Example) -> None:
    """Print a loss's words beside its map, or above it where the terminal is narrow."""
    evaluation = evaluate(entry, example)
    words = Text.assemble(
        (entry.formula, "bold"),
        f"\nL = {evaluation.value:z.6f}, by hand {evaluation.closed_form:z.6f}\n\n",
        (entry.gradient, "bold"),
        f"\nby hand and by automatic differentiation it differs by at most {evaluation.difference:.0e}\n\n",
        (entry.remark, "italic"),
    )
    unit = 10.0 ** (np.floor(np.log10(np.abs(evaluation.gradient).max() or 1.0)) - 2)
    grid = tile_map(example, -evaluation.gradient, unit)
    caption = Text(f"push -dL/d{entry.moves}[s, a], in units of {unit:g}", style=FAINT)
    screen.print(Rule(Text(entry.title, style="bold"), align="left", style=FAINT))
    width = 12 * len(grid.columns) + 1
    page = Table.grid(padding=(0, 2))
    if screen.width >= width + 50:
        page.add_row(Group(grid, caption), words)
    else:
        page.add_row(words)
        page.add_row(Group(grid, caption))
    screen.print(page)
    screen.print()


def print_walk(lake: str, updates: int, example: Example, names: Sequence[str]) -> None:
    """Print what the example is, then every loss named.

    Args:
        lake: in words.
        updates: number of SFT updates between the reference and the policy.
        example: what the losses are computed on.
        names: of `LOSSES`.
    """
    screen = console()
    distance = f"{updates} updates of SFT away from" if updates else "still"
    introduction = Text.assemble(
        f"One pair of answers on {printable(lake)}: ", ("green", "green"), " what the human prefers, ", ("magenta", "magenta"),
        f" where only the other is. The policy is a table, {distance} the reference. ", ("+", UP), " pushes a move up, ",
        ("-", DOWN), " down.\n",
    )  # fmt: skip
    screen.print(introduction)
    for name in names:
        print_loss(screen, LOSSES[name], example)
