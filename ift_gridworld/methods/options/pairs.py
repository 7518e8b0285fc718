"""Options of the methods that learn from pairs, or from answers that are each good or bad."""

from __future__ import annotations

from dataclasses import dataclass

from ift_gridworld import choices
from ift_gridworld.checks import check_choice, check_finite, check_interval, check_not_negative, check_positive, check_whole
from ift_gridworld.methods.options.base import MethodOptions
from ift_gridworld.methods.options.on_policy import RewardedOptions

__all__ = [
    "BCOOptions", "CPOOptions", "CalDPOOptions", "ChiPOOptions", "DPOOptions", "DPOPOptions", "DiscoPOPOptions", "EXOOptions",
    "HingeOptions", "IPOOptions", "JudgedDPOOptions", "KTOOptions", "NCAOptions", "ORPOOptions", "PreferenceOptions",
    "RobustDPOOptions", "SPINOptions", "SPPOOptions", "SimPOOptions", "TDPOOptions",
]  # fmt: skip


@dataclass(frozen=True)
class PreferenceOptions(MethodOptions):
    """Options of a loss of pairs that has a scale alone: APO; the base of the others."""

    beta: float = 0.1
    """Scale of the log-ratios."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("beta", self.beta)


@dataclass(frozen=True)
class DPOOptions(PreferenceOptions):
    """Options of DPO."""

    beta: float = 0.1
    """Price of the KL divergence from the reference."""
    label_smoothing: float = 0.0
    """Share of labels assumed to be wrong."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval("label_smoothing", self.label_smoothing, 0, 0.5, open_end=True)


@dataclass(frozen=True)
class IPOOptions(PreferenceOptions):
    """Options of IPO."""

    beta: float = 0.1
    """Price of the KL divergence from the reference; the margin aimed at is 1 / (2 beta)."""


@dataclass(frozen=True)
class ORPOOptions(PreferenceOptions):
    """Options of ORPO."""

    beta: float = 0.25
    """Weight of the odds-ratio term."""


@dataclass(frozen=True)
class SimPOOptions(PreferenceOptions):
    """Options of SimPO."""

    beta: float = 2.0
    """Scale of the margin."""
    gamma: float = 1.6
    """Target margin."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite("gamma", self.gamma)


@dataclass(frozen=True)
class TDPOOptions(PreferenceOptions):
    """Options of TDPO."""

    beta: float = 0.1
    """Price of the KL divergence from the reference."""
    alpha: float = 0.5
    """Weight of the difference of KL divergences."""
    version: int = 2
    """1 or 2 of the paper's two losses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_finite("alpha", self.alpha)
        check_choice("version", self.version, (1, 2))


# ---- DPO's relatives ----


@dataclass(frozen=True)
class HingeOptions(PreferenceOptions):
    """Options of the hinge loss."""

    beta: float = 0.05
    """Scale of the margin, RSO's gamma; the margin aimed at is 1 / beta."""


@dataclass(frozen=True)
class RobustDPOOptions(DPOOptions):
    """Options of robust DPO."""

    label_smoothing: float = 0.1
    """Share of labels assumed to be flipped; 0 is DPO."""


@dataclass(frozen=True)
class EXOOptions(DPOOptions):
    """Options of EXO."""

    beta: float = 0.1
    """Scale of the log-ratios."""
    label_smoothing: float = 0.001
    """Share of labels assumed to be wrong, above 0: a reverse KL from certainty would be infinite."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_smoothing == 0:
            raise ValueError(f"label_smoothing is {self.label_smoothing!r}; allowed: a number in (0, 0.5)")


@dataclass(frozen=True)
class NCAOptions(PreferenceOptions):
    """Options of NCA."""

    beta: float = 0.01
    """Scale of the log-ratios."""


@dataclass(frozen=True)
class BCOOptions(PreferenceOptions):
    """Options of BCO."""

    beta: float = 0.01
    """Scale of the log-ratios."""


@dataclass(frozen=True)
class SPPOOptions(PreferenceOptions):
    """Options of SPPO."""

    beta: float = 0.001
    """1 / eta: the chosen answer's log-ratio aims at 1 / (2 beta), the rejected one's at its negative."""


@dataclass(frozen=True)
class DiscoPOPOptions(PreferenceOptions):
    """Options of DiscoPOP."""

    beta: float = 0.05
    """Scale of the margin."""
    tau: float = 0.05
    """Temperature of the blend of the logistic and the exponential loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("tau", self.tau)


@dataclass(frozen=True)
class DPOPOptions(PreferenceOptions):
    """Options of DPO-Positive."""

    beta: float = 0.3
    """Price of the KL divergence from the reference."""
    weight: float = 50.0
    """lambda, the weight of the penalty on a chosen answer that is less likely than under the reference."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("weight", self.weight)


@dataclass(frozen=True)
class CPOOptions(DPOOptions):
    """Options of CPO."""

    beta: float = 0.1
    """Scale of the margin."""
    imitation: float = 1.0
    """Weight of the chosen answer's negative log-likelihood."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("imitation", self.imitation)


@dataclass(frozen=True)
class ChiPOOptions(PreferenceOptions):
    """Options of chi-PO."""

    beta: float = 0.05
    """Price of the chi-squared and the KL divergence from the reference; the paper compares 0.05 and 0.005."""
    max_reward: float = 1.0
    """R, a bound on the size of the true return; the margin is clipped at 2 R."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("max_reward", self.max_reward)


@dataclass(frozen=True)
class CalDPOOptions(PreferenceOptions):
    """Options of Cal-DPO."""

    beta: float = 0.1
    """The chosen answer's log-ratio aims at 1 / (2 beta), the rejected one's at its negative. The largest that the paper
    searches: 5 nats can be reached on a lake, the 500 of the released script (0.001) cannot."""


@dataclass(frozen=True)
class KTOOptions(PreferenceOptions):
    """Options of KTO."""

    kl: choices.ReferencePoint | None = None
    """The reference point z: KL(policy || reference) over the policy's own episodes (exact, the default on lakes), or from
    mismatched answers of the batch, as published (mismatched, the default on texts)."""
    desirable_weight: float = 1.0
    """Weight of the chosen answers."""
    undesirable_weight: float = 1.0
    """Weight of the rejected answers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kl is not None:
            check_choice("kl", self.kl, choices.REFERENCE_POINTS)
        for name in ("desirable_weight", "undesirable_weight"):
            check_positive(name, getattr(self, name))


@dataclass(frozen=True)
class SPINOptions(PreferenceOptions):
    """Options of SPIN."""

    every: int = 75
    """Updates of a round; at its start the policy becomes both the reference and the opponent."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("every", self.every, at_least=1)


@dataclass(frozen=True)
class JudgedDPOOptions(DPOOptions, RewardedOptions):
    """Options of DPO online with two judged samples."""
