"""Options of the methods that learn from demonstrations."""

from __future__ import annotations

from dataclasses import dataclass

from ift_gridworld import choices
from ift_gridworld.checks import check_choice, check_interval, check_not_negative, check_whole
from ift_gridworld.methods.options.base import MethodOptions

__all__ = ["ASFTOptions", "DaggerOptions", "DistillOptions", "IFTOptions", "NEFTuneOptions", "ScheduledOptions"]


@dataclass(frozen=True)
class IFTOptions(MethodOptions):
    """Options of IFT: the residual connection and the relation propagation."""

    mixing: float = 0.2
    """lambda, the share of the model's own prediction in each state."""
    decay: float = 0.95
    """gamma of the relation propagation."""
    propagation: choices.Propagation = "released"
    """Which published definition of the relation propagation: released, algorithm1, equation21 or none."""
    norm: choices.Norm = "L1"
    """How the released definition scales its weights: L1, L2, softmax or log."""
    detach_weights: bool = False
    """Hold the weights constant in the backward pass."""
    prediction: choices.Prediction = "greedy"
    """Mix in the best action's state (greedy), or the average over actions (expected)."""
    outcome: choices.Outcome = "expected"
    """On slippery ice: mix in the average over outcomes (expected), or the likeliest state (likeliest)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval("mixing", self.mixing, 0, 1)
        check_interval("decay", self.decay, 0, 1)
        check_choice("propagation", self.propagation, choices.PROPAGATIONS)
        check_choice("norm", self.norm, choices.NORMS)
        check_choice("prediction", self.prediction, choices.PREDICTIONS)
        check_choice("outcome", self.outcome, choices.OUTCOMES)

    def unused(self) -> dict[str, str]:
        """Without mixing nothing is predicted; only some definitions of the propagation have a norm, and none has weights."""
        unused: dict[str, str] = {}
        if self.mixing == 0:
            unused |= dict.fromkeys(("prediction", "outcome"), "with mixing 0")
        if self.propagation != "released":
            unused["norm"] = f"with propagation {self.propagation}"
        if self.propagation in ("equation21", "none"):
            unused["detach_weights"] = f"with propagation {self.propagation}"
        if self.propagation == "none":
            unused["decay"] = "with propagation none"
        return unused


@dataclass(frozen=True)
class ASFTOptions(MethodOptions):
    """Options of ASFT."""

    kl_weight: float = 0.05
    """Weight of the KL divergence of the base from the policy, on the demonstrations' states."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("kl_weight", self.kl_weight)


@dataclass(frozen=True)
class ScheduledOptions(MethodOptions):
    """Options of scheduled sampling."""

    probability: float = 0.25
    """Probability that a demonstrated state is replaced by the one that the model's own prediction leads to."""
    rise: int = 100
    """Updates over which the probability rises from 0 in a straight line; 0 is constant."""
    prediction: choices.Prediction = "greedy"
    """Replace by the best action's state (greedy), or the average over actions (expected)."""
    outcome: choices.Outcome = "expected"
    """On slippery ice: replace by the average over outcomes (expected), or the likeliest state (likeliest)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval("probability", self.probability, 0, 1)
        check_whole("rise", self.rise, at_least=0)
        check_choice("prediction", self.prediction, choices.PREDICTIONS)
        check_choice("outcome", self.outcome, choices.OUTCOMES)

    def unused(self) -> dict[str, str]:
        """With probability 0 nothing is replaced."""
        return {} if self.probability else dict.fromkeys(("rise", "prediction", "outcome"), "with probability 0")

    @property
    def mixing(self) -> float:
        """Share of the prediction in a state, in expectation, as `evaluation.estimation` asks for it."""
        return self.probability


@dataclass(frozen=True)
class NEFTuneOptions(MethodOptions):
    """Options of NEFTune."""

    noise: float = 5.0
    """alpha, the scale of the noise: each embedding moves by alpha / sqrt(L d) times a uniform number in [-1, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("noise", self.noise)


@dataclass(frozen=True)
class TaughtOptions(MethodOptions):
    """Options that methods with a teacher share."""

    teacher: choices.Teacher = "optimal"
    """Who is asked: the optimal policy (optimal), or one that acts at random half of the time (demonstrator)."""
    walkers: int = 64
    """Number of the policy's own episodes that are labelled at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("teacher", self.teacher, choices.TEACHERS)
        check_whole("walkers", self.walkers, at_least=1)


@dataclass(frozen=True)
class DaggerOptions(TaughtOptions):
    """Options of DAgger."""

    every: int = 30
    """Updates between two rounds; each adds the policy's own episodes, labelled by the teacher, to the data."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("every", self.every, at_least=1)


@dataclass(frozen=True)
class DistillOptions(TaughtOptions):
    """Options of on-policy distillation."""

    divergence: float = 0.5
    """beta of the generalised Jensen-Shannon divergence: 0 is KL(teacher || policy), 1 is KL(policy || teacher)."""
    on_policy: float = 1.0
    """Share of the policy's own episodes in the objective; the rest are the demonstrations."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_interval("divergence", self.divergence, 0, 1)
        check_interval("on_policy", self.on_policy, 0, 1)
        if self.teacher == "optimal" and self.divergence == 1:
            allowed = "a number in [0, 1) with teacher optimal, from whom the divergence 1 is infinite"
            raise ValueError(f"divergence is {self.divergence!r}; allowed: {allowed}")

    def unused(self) -> dict[str, str]:
        """Without a share of its own episodes the policy walks none."""
        return {} if self.on_policy else {"walkers": "with on_policy 0"}
