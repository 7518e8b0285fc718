"""What several test modules share."""

from ift_gridworld.methods.options import option_names
from ift_gridworld.methods.registry import name_of


def known(method, given):
    """Those of the given options that a method, or training, has; `method` is a name or a class."""
    from ift_gridworld.methods.options import TrainingOptions

    have = {*option_names(name_of(method)[1].options_type), *option_names(TrainingOptions)}
    return {name: value for name, value in given.items() if name in have}


def options_of(method, **given):
    """The options of a method, with those of the given values that it has."""
    kind = name_of(method)[1].options_type
    return kind(**{name: value for name, value in given.items() if name in option_names(kind)})
