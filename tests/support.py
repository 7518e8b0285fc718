"""What several test modules share."""

from importlib import import_module

import pytest

from ift_gridworld.methods.options import TrainingOptions, option_names
from ift_gridworld.methods.registry import name_of


def known(method, given):
    """Return those of the given options that a method or training has; `method` is a name or a class."""
    names = {*option_names(name_of(method)[1].options_type), *option_names(TrainingOptions)}
    return {name: value for name, value in given.items() if name in names}


def options_of(method, **given):
    """Return the options of a method, made of those of the given values that it has."""
    kind = name_of(method)[1].options_type
    return kind(**{name: value for name, value in given.items() if name in option_names(kind)})


def load(name):
    """The module, unless an extra that it needs is not installed."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if str(error.name).partition(".")[0] == "ift_gridworld":
            raise
        return pytest.skip(f"needs {error.name}")
