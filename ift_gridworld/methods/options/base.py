"""Options of training, the base class of methods' options, and how single options are overridden."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from ift_gridworld.checks import (
    check_choice,
    check_positive,
    check_whole,
    check_whole_numbers,
    listing,
    suggestion,
    unbox_fields,
    unboxed,
)

__all__ = ["MethodOptions", "TrainingOptions", "option_names", "split_overrides"]


@dataclass(frozen=True)
class TrainingOptions:
    """What every method's training has: how long, how fast, and how much of it is kept. None means a default of the method's
    (steps) or of the policy's (learning_rate)."""

    steps: int | None = None
    """Gradient updates (300; 600 for methods that follow the policy gradient)."""
    learning_rate: float | None = None
    """Step size of the optimiser, the same for every method (mlp 0.01; tabular 0.03, whose rows learn alone)."""
    optimiser: Literal["adam", "rmsprop"] = "adam"
    """What turns gradients into updates."""
    snapshots: int = 60
    """Number of policies kept along the way, so that about equally much changes from each to the next; fewer on lakes too
    large for memory (`training.snapshots`)."""
    keep: tuple[int, ...] = ()
    """Updates after which the policy is kept in any case, beside those."""

    def __post_init__(self) -> None:
        unbox_fields(self)
        object.__setattr__(self, "keep", check_whole_numbers("keep", self.keep, at_least=0))
        check_choice("optimiser", self.optimiser, ("adam", "rmsprop"))
        check_whole("snapshots", self.snapshots, at_least=2)
        if self.steps is not None:
            check_whole("steps", self.steps, at_least=1)
        if self.learning_rate is not None:
            check_positive("learning_rate", self.learning_rate)


@dataclass(frozen=True)
class MethodOptions:
    """Options of a method that has none; the base of all others."""

    def __post_init__(self) -> None:
        unbox_fields(self)

    def resolved(self) -> MethodOptions:
        """Return the options with every default that depends on another option filled in."""
        return self

    def unused(self) -> dict[str, str]:
        """Return the options that have no effect as the others are set, each with the reason: ``"with propagation none"``."""
        return {}


OptionsT = TypeVar("OptionsT", bound=MethodOptions)


def option_names(options: type[MethodOptions] | type[TrainingOptions]) -> list[str]:
    """Return the names of the options, in order.

    >>> from ift_gridworld.methods.options import DPOOptions
    >>> option_names(DPOOptions)
    ['beta', 'label_smoothing']
    """
    return [field.name for field in fields(options)]


def split_overrides(
    method: str,
    options: OptionsT,
    training: TrainingOptions,
    overrides: Mapping[str, Any],
    owners: Mapping[str, Iterable[str]] | None = None,
) -> tuple[OptionsT, TrainingOptions]:
    """Lay overrides over the options that have them.

    Args:
        method: name of the method, for messages.
        options, training: what is overridden.
        overrides: values by the name of an option of either.
        owners: names of each known method's options, so that a message can say whose option a name is.

    Raises:
        ValueError: for a name that is an option of neither.

    >>> from ift_gridworld.methods.options import IFTOptions
    >>> split_overrides("ift", IFTOptions(), TrainingOptions(), {"mixing": 0.5, "steps": 10})[0].mixing
    0.5
    """
    own, shared = option_names(type(options)), option_names(TrainingOptions)
    for name in overrides:
        if name not in own and name not in shared:
            having = [owner for owner, names in (owners or {}).items() if name in names]
            whose = f"it is an option of {listing(having)}; " if having else suggestion(name, (*own, *shared))
            allowed = ", ".join((*own, *shared))
            raise ValueError(f"{method} has no option {name} (given: {overrides[name]!r}); {whose}allowed: {allowed}")
    return (
        replace(options, **{name: unboxed(value) for name, value in overrides.items() if name in own}),
        replace(training, **{name: value for name, value in overrides.items() if name in shared}),
    )
