"""Options of the methods that learn from demonstrations and rollouts together."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ift_gridworld.checks import check_interval, check_not_negative, check_positive, check_whole
from ift_gridworld.methods.options.on_policy import DrGRPOOptions

__all__ = ["HPTOptions", "LUFFYOptions", "MixedOptions"]

GROUP = 8  # answers to one prompt, as in both papers


@dataclass(frozen=True)
class MixedOptions(DrGRPOOptions):
    """Options that HPT and LUFFY share."""

    group: int | None = None
    """Number of answers from the start of one demonstration that are compared with each other (8, or all walkers)."""
    entropy_bonus: float = 0.001
    """Weight of the entropy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval("entropy_bonus", self.entropy_bonus, 0, float("inf"))

    @property
    def size(self) -> int:
        """Number of answers of a group."""
        return self.group or min(GROUP, self.walkers)

    def resolved(self) -> MixedOptions:
        """Fill in the size of a group."""
        return replace(self, group=self.size)


@dataclass(frozen=True)
class HPTOptions(MixedOptions):
    """Options of HPT."""

    gate: float = 0.0
    """Share of a group's episodes that succeed above which the group follows the policy gradient; up to it, it imitates."""
    imitation: float = 1.0
    """Weight of the imitation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval("gate", self.gate, 0, 1)
        check_not_negative("imitation", self.imitation)


@dataclass(frozen=True)
class LUFFYOptions(MixedOptions):
    """Options of LUFFY."""

    guides: int = 1
    """Number of a group's answers that are the demonstration; 0 leaves the policy's own alone."""
    shaping: float = 0.1
    """gamma of the policy shaping p / (p + gamma) on the demonstration's steps."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("shaping", self.shaping)
        if check_whole("guides", self.guides, at_least=0) >= self.size:
            raise ValueError(
                f"guides is {self.guides!r}; allowed: a whole number from 0 to {self.size - 1}, fewer than a group"
            )

    def unused(self) -> dict[str, str]:
        """Without a demonstration nothing is shaped."""
        return super().unused() | ({} if self.guides else {"shaping": "with guides 0"})
