"""The command `ift-gridworld`: one sub-command a file of this package, which loads when it is chosen.

The name of a command may be two words: `language evaluate`.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from ift_gridworld.checks import suggestion
from ift_gridworld.cli.parser import Arguments, fail, launch
from ift_gridworld.plugins import load_installed, load_plugins
from ift_gridworld.runtime import safe_streams
from ift_gridworld.version import __version__

__all__ = ["COMMANDS", "command_of", "main", "overview", "run_command"]

# By command: the module of this package, its dataclass of options, and what it does.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "lake": ("lake", "LakeArgs", "align a policy on a lake, draw it, print a table"),
    "explain": ("explain", "ExplainArgs", "film one update of a method, step by step"),
    "redraw": ("redraw", "RedrawArgs", "draw saved runs again, without training"),
    "lab": ("lab", "Args", "open a page on which methods are trained live"),
    "losses": ("losses", "Args", "walk through the losses in the terminal"),
    "language": ("language", "Args", "align a language model on lakes that it reads as text"),
    "language evaluate": ("language_evaluate", "Args", "measure any language model on lakes, in words"),
    "failures": ("failures", "Args", "draw five ways to fail"),
    "suite": ("suite", "Args", "draw every environment of the suite with its optimum"),
    "reproduction": ("reproduction", "Args", "test the paper's claims in more than a hundred settings"),
    "frontier": ("frontier", "Args", "compare every method against the exact reward-KL frontier"),
    "gallery": ("gallery", "Args", "draw the gallery again"),
}
WITH_METHODS = ("lake", "explain")  # commands that take the methods' own options
WITH_PLUGINS = (*WITH_METHODS, "redraw")  # and those that need what plugins register
EXPLAINED = ("sft", "ift", "dpo", "orpo", "ppo")


def main(arguments: list[str] | None = None) -> int:
    """Run the command that the command line names; returns the exit status."""
    with safe_streams():
        try:
            return _main(sys.argv[1:] if arguments is None else arguments)
        except OSError as error:  # of a file of completions
            fail(error)


def _main(arguments: list[str]) -> int:
    first = arguments[0] if arguments else "--help"
    if first in ("version", "--version"):
        if arguments[1:]:
            fail(f"unexpected {arguments[1]!r}; allowed after {first}: nothing")
        print(f"ift-gridworld {__version__}")
        return 0
    if first in ("-h", "--help", "help"):
        print(overview())
        return 0
    if first.startswith("--tyro"):
        return _complete(arguments)
    if first not in COMMANDS:
        fail(f"unknown command {first!r}; {suggestion(first, COMMANDS)}allowed: {', '.join((*COMMANDS, 'version'))}")
    both = " ".join(arguments[:2])
    name = both if both in COMMANDS else first
    sys.argv = [f"{sys.argv[0]} {name}", *arguments[len(name.split()) :]]
    return run_command(name)


def run_command(name: str, description: str | None = None) -> int:
    """Run one command on the rest of the command line; also what the scripts in experiments/ call."""
    module, settings = command_of(name, sys.argv[1:])
    launch(module.main, settings, description or module.__doc__, prog=None if description else f"ift-gridworld {name}")


def command_of(name: str, arguments: list[str]) -> tuple[Any, type[Any]]:
    """Return a command's module and its dataclass of options; plugins are loaded first, for they may bring methods."""
    home, settings_name, _ = COMMANDS[name]
    module = import_module(f"ift_gridworld.cli.{home}")
    settings: type[Any] = getattr(module, settings_name)
    try:
        if name in WITH_PLUGINS:
            load_installed()
            load_plugins(_plugins(arguments))
        if name in WITH_METHODS:
            from ift_gridworld.cli.method_options import with_method_options

            assert issubclass(settings, Arguments)
            settings = with_method_options(settings, EXPLAINED if name == "explain" else None)
    except ValueError as error:
        fail(error)
    return module, settings


def overview() -> str:
    """List the commands."""
    lines = [f"  {name:<19}{about}" for name, (_, _, about) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: ift-gridworld COMMAND [OPTIONS]",
            "",
            "Alignment made visible and checkable on a frozen lake whose optimal policy is known.",
            "",
            *lines,
            f"  {'version':<19}print the version",
            "",
            "ift-gridworld COMMAND --help lists a command's options.",
            "ift-gridworld --tyro-write-completion bash FILE writes completions for bash (or zsh, tcsh).",
        ]
    )


def _plugins(arguments: list[str]) -> list[str]:
    """The names that follow ``--plugin``, before the command line is parsed as a whole."""
    names: list[str] = []
    for place, token in enumerate(arguments):
        if token.startswith("--plugin="):
            names.append(token.partition("=")[2])
        elif token == "--plugin":
            for following in arguments[place + 1 :]:
                if following.startswith("--"):
                    break
                names.append(following)
    return names


def _complete(arguments: list[str]) -> int:
    """Write shell completions of all commands of one word, by the parser library."""
    import tyro

    commands: dict[str, Any] = {name: command_of(name, [])[1] for name in COMMANDS if " " not in name}
    tyro.extras.subcommand_cli_from_dict(commands, prog="ift-gridworld", args=arguments)
    return 0
