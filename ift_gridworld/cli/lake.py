"""Align a policy on a frozen lake and animate what it learned.

    ift-gridworld lake --method ift --render
    ift-gridworld lake --method core --map 4x4 --slippery

Trains every seed in one run, writes METHOD.json (settings, versions, every metric over the updates, policies) and, with
--render, METHOD.gif under --out, and ends with a table. --redraw METHOD.json draws again without training.
"""

from __future__ import annotations

from ift_gridworld.cli.arguments import LakeArgs, as_flags, is_random, less_memory, unused
from ift_gridworld.cli.figure_options import FIGURE_OPTIONS, figure_options
from ift_gridworld.cli.parser import fail, notes_of
from ift_gridworld.cli.picture_options import PICTURE_OPTIONS, picture_options
from ift_gridworld.runtime import is_out_of_memory, loading

__all__ = ["LakeArgs", "main"]


def main(args: LakeArgs) -> int:
    """Do what the command line asks; returns the exit status."""
    # Matplotlib loads in the drawing process while torch loads here, so what loads torch is imported after it has started.
    from ift_gridworld.rendering.worker import RenderWorker

    try:
        check(args)
        if args.redraw:
            from ift_gridworld.cli import redraw_run

            return redraw_run.draw_again(args.redraw, args, args.out, args.theme, args.format, args.drawn_seed)
        if args.explain is not None:
            with loading():
                from ift_gridworld.cli import explain_run

            return explain_run.explain_update(args, args.explain, args.format or "gif", args.speed)
        if args.render or args.view:
            with RenderWorker() as worker:
                with loading():
                    from ift_gridworld.cli import lake_run

                return lake_run.run(args, worker)
        with loading():
            from ift_gridworld.cli import lake_run

        return lake_run.run(args, None)
    except ValueError as error:
        fail("; ".join([as_flags(args, str(error)), *notes_of(error)]))
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if args.redraw:
            fail("out of memory; allowed: fewer files at once after --redraw, or runs of a smaller lake")
        trains, seeds = args.explain is None, f"fewer --seeds (now {args.seeds})"
        less = [seeds] * (trains and args.seeds > 1) + ["--device cpu"] * (trains and args.device != "cpu")
        fail("; ".join([f"out of memory; allowed: {less_memory(args, less)}", *notes_of(error)]))


# What each mode uses; where a mode is chosen, an option that is given and not used is an error.
REDRAW_USES = {"redraw", "format", "figure", *FIGURE_OPTIONS, *PICTURE_OPTIONS, "drawn_seed", "theme", "out", "plugin"}
EXPLAIN_USES = {
    "explain", "map", "size", "map_seed", "slippery", "success_rate", "discount", "policy", "hidden", "base", "seed",
    "learning_rate", "optimiser", "format", "speed", "theme", "out", "plugin",
}  # fmt: skip


def check(args: LakeArgs) -> None:
    """Raise a ValueError for an option that what is asked for does not use, or a value that no picture has."""
    draws = bool(args.render or args.figure or args.view or args.explain or args.redraw)
    if "redraw" in args.given and not args.redraw:
        raise ValueError("--redraw names no file; allowed: one saved run or more")
    if args.redraw:
        unused(args, REDRAW_USES, "--redraw")
    elif args.explain is not None:
        from ift_gridworld.methods.options import option_names
        from ift_gridworld.methods.registry import method_options

        if args.figure is not None:
            raise ValueError(f"--explain is {args.explain!r}, which is a film; allowed with --figure: --method")
        explained_options = option_names(method_options(args.explain))
        unused(args, EXPLAIN_USES | set(explained_options), "--explain")
    args.require("format", draws, "--render, --figure, --view, --explain or --redraw")
    args.require("theme", draws, "--render, --figure, --view, --explain or --redraw")
    args.require("render", args.figure is None, "films; --figure draws by itself")
    args.require("hidden", args.policy == "mlp", "--policy mlp")
    args.require("success_rate", args.slippery, "--slippery")
    args.require("map_seed", is_random(args.map), "a random map")
    films = "films: --render, --view or --redraw"
    is_film = bool(args.render or args.view or args.redraw) and args.figure is None
    for option in ("view", "picture_size", "poster"):
        args.require(option, is_film, films)
    args.require("transparent", is_film or args.figure is not None, f"--figure, or {films}")
    args.require("speed", is_film or args.explain is not None, "films: --render, --view, --explain or --redraw")
    figure_options(args, args.theme, args.format)
    if args.figure is None and args.explain is None and draws:
        picture_options(args, args.format)
