"""Options of the methods and of training: one frozen dataclass each, every default written once. Loads without torch.

Defaults are the papers', where they give one. A field's line of documentation is what the command line prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from ift_gridworld import choices
from ift_gridworld.checks import (
    check_choice,
    check_finite,
    check_interval,
    check_positive,
    check_whole,
    check_whole_numbers,
    suggestion,
    unbox_fields,
    unboxed,
)  # fmt: skip

__all__ = [
    "DPOOptions", "GRPOOptions", "IFTOptions", "IPOOptions", "MethodOptions", "ORPOOptions", "OnPolicyOptions", "PPOOptions",
    "SimPOOptions", "TDPOOptions", "TrainingOptions", "option_names", "split_overrides",
]  # fmt: skip


@dataclass(frozen=True)
class TrainingOptions:
    """What every method's training has: how long, how fast, and how much of it is kept. None means a default of the method's
    (steps) or of the policy's (learning_rate)."""

    steps: int | None = None
    """Gradient updates (300; ppo and grpo 600)."""
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
class DPOOptions(MethodOptions):
    """Options of DPO."""

    beta: float = 0.1
    """Price of the KL divergence from the reference."""
    label_smoothing: float = 0.0
    """Share of labels assumed to be wrong."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("beta", self.beta)
        check_interval("label_smoothing", self.label_smoothing, 0, 0.5, open_end=True)


@dataclass(frozen=True)
class IPOOptions(MethodOptions):
    """Options of IPO."""

    beta: float = 0.1
    """Price of the KL divergence from the reference; the margin aimed at is 1 / (2 beta)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("beta", self.beta)


@dataclass(frozen=True)
class ORPOOptions(MethodOptions):
    """Options of ORPO."""

    beta: float = 0.25
    """Weight of the odds-ratio term."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("beta", self.beta)


@dataclass(frozen=True)
class SimPOOptions(MethodOptions):
    """Options of SimPO."""

    beta: float = 2.0
    """Scale of the margin."""
    gamma: float = 1.6
    """Target margin."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("beta", self.beta)
        check_finite("gamma", self.gamma)


@dataclass(frozen=True)
class TDPOOptions(MethodOptions):
    """Options of TDPO."""

    beta: float = 0.1
    """Price of the KL divergence from the reference."""
    alpha: float = 0.5
    """Weight of the difference of KL divergences."""
    version: int = 2
    """1 or 2 of the paper's two losses."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("beta", self.beta)
        check_finite("alpha", self.alpha)
        check_choice("version", self.version, (1, 2))


@dataclass(frozen=True)
class OnPolicyOptions(MethodOptions):
    """Options that PPO and GRPO share."""

    reward: choices.Reward = "env"
    """The environment's reward (env), or a Bradley-Terry model's of compared pairs of episodes (preference)."""
    pairs: int = 256
    """With reward preference: number of pairs of the base policy's own episodes that are compared."""
    clip: float = 0.2
    """Clip of the ratio (PPO: and of the value)."""
    epochs: int = 4
    """Updates on each batch of rollouts."""
    walkers: int = 64
    """Number of episodes rolled out at once."""
    max_grad_norm: float = 0.5
    """Gradient norm, per seed, above which it is scaled down."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("reward", self.reward, choices.REWARDS)
        for name in ("pairs", "epochs", "walkers"):
            check_whole(name, getattr(self, name), at_least=1)
        for name in ("clip", "max_grad_norm"):
            check_positive(name, getattr(self, name), below=None)

    def unused(self) -> dict[str, str]:
        """Pairs are compared for a learned reward alone."""
        return {"pairs": "without reward preference"} if self.reward == "env" else {}


@dataclass(frozen=True)
class PPOOptions(OnPolicyOptions):
    """Options of PPO."""

    beta: float | None = None
    """Price of the KL divergence from the reference (0.001; 1 with a learned reward)."""
    segment: int = 32
    """Steps that each walker takes between two batches."""
    lam: float = 0.95
    """lambda of the generalized advantage estimate."""
    kl_kind: choices.KLKind = "k1"
    """Estimator of the per-step KL penalty: k1, k2 or k3."""
    entropy_bonus: float = 0.001
    """Weight of the entropy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta is not None:
            check_positive("beta", self.beta)
        check_whole("segment", self.segment, at_least=1)
        check_interval("lam", self.lam, 0, 1)
        check_choice("kl_kind", self.kl_kind, choices.KL_KINDS)
        check_interval("entropy_bonus", self.entropy_bonus, 0, float("inf"))

    def resolved(self) -> PPOOptions:
        """Fill in beta. A learned reward is in nats (the log-odds of a preference), so a nat of KL costs one; with a lower
        price PPO exploits states that the reward model knows nothing of."""
        return self if self.beta is not None else replace(self, beta=0.001 if self.reward == "env" else 1.0)


@dataclass(frozen=True)
class GRPOOptions(OnPolicyOptions):
    """Options of GRPO."""

    beta: float = 0.04
    """Price of the KL divergence from the reference."""
    group: int | None = None
    """Number of episodes with one start that are compared with each other (default: all walkers); as many whole groups as
    the number of walkers allows."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("beta", self.beta)
        if self.group is not None and (check_whole("group", self.group, at_least=2) > self.walkers):
            allowed = f"a whole number from 2 to the number of walkers ({self.walkers})"
            raise ValueError(f"group is {self.group!r}; allowed: {allowed}")


OptionsT = TypeVar("OptionsT", bound=MethodOptions)


def option_names(options: type[MethodOptions] | type[TrainingOptions]) -> list[str]:
    """Return the names of the options, in order.

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

    >>> split_overrides("ift", IFTOptions(), TrainingOptions(), {"mixing": 0.5, "steps": 10})[0].mixing
    0.5
    """
    own, shared = option_names(type(options)), option_names(TrainingOptions)
    for name in overrides:
        if name not in own and name not in shared:
            having = [owner for owner, names in (owners or {}).items() if name in names]
            whose = f"it is an option of {', '.join(having)}; " if having else suggestion(name, (*own, *shared))
            allowed = ", ".join((*own, *shared))
            raise ValueError(f"{method} has no option {name} (given: {overrides[name]!r}); {whose}allowed: {allowed}")
    return (
        replace(options, **{name: unboxed(value) for name, value in overrides.items() if name in own}),
        replace(training, **{name: value for name, value in overrides.items() if name in shared}),
    )
