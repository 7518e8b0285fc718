"""Options of the methods that learn from rollouts of the policy itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ift_gridworld import choices
from ift_gridworld.checks import check_choice, check_interval, check_not_negative, check_positive, check_whole
from ift_gridworld.methods.options.base import MethodOptions

__all__ = [
    "CISPOOptions", "DAPOOptions", "DrGRPOOptions", "GRPOOptions", "GSPOOptions", "GroupOptions", "OnPolicyOptions",
    "PPOOptions", "RLOOOptions", "ReinforceOptions", "RewardedOptions", "RolloutOptions",
]  # fmt: skip


@dataclass(frozen=True)
class RewardedOptions(MethodOptions):
    """Options of every method whose own episodes are rewarded."""

    reward: choices.Reward = "env"
    """The environment's reward (env), or a Bradley-Terry model's of compared pairs of episodes (preference)."""
    pairs: int = 256
    """With reward preference: number of pairs of the base policy's own episodes that are compared."""
    walkers: int = 64
    """Number of episodes rolled out at once."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("reward", self.reward, choices.REWARDS)
        for name in ("pairs", "walkers"):
            check_whole(name, getattr(self, name), at_least=1)

    def unused(self) -> dict[str, str]:
        """Pairs are compared for a learned reward alone."""
        return {"pairs": "without reward preference"} if self.reward == "env" else {}


@dataclass(frozen=True)
class RolloutOptions(RewardedOptions):
    """Options of the methods that follow the policy gradient."""

    max_grad_norm: float = 0.5
    """Gradient norm, per seed, above which it is scaled down."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("max_grad_norm", self.max_grad_norm, below=None)


@dataclass(frozen=True)
class OnPolicyOptions(RolloutOptions):
    """Options that PPO and GRPO share."""

    clip: float = 0.2
    """Clip of the ratio (PPO: and of the value)."""
    epochs: int = 4
    """Updates on each batch of rollouts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("clip", self.clip, below=None)
        check_whole("epochs", self.epochs, at_least=1)


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
        check_group(self.group, self.walkers)


def check_group(group: int | None, walkers: int) -> None:
    """Refuse a group that has nothing to compare, or more episodes than are rolled out."""
    if group is not None and (check_whole("group", group, at_least=2) > walkers):
        allowed = f"a whole number from 2 to the number of walkers ({walkers})"
        raise ValueError(f"group is {group!r}; allowed: {allowed}")


# ---- GRPO's relatives ----


@dataclass(frozen=True)
class ReinforceOptions(RolloutOptions):
    """Options of REINFORCE."""

    beta: float = 0.03
    """Price of the KL divergence from the reference, paid in the reward of an episode."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative("beta", self.beta)


@dataclass(frozen=True)
class RLOOOptions(ReinforceOptions):
    """Options of RLOO."""

    group: int | None = None
    """Number of episodes with one start that are compared with each other (default: all walkers)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_group(self.group, self.walkers)


@dataclass(frozen=True)
class GroupOptions(RolloutOptions):
    """Options that GRPO's relatives share; SAPO has no others."""

    epochs: int = 4
    """Updates on each batch of rollouts."""
    beta: float = 0.0
    """Price of the KL divergence from the reference."""
    group: int | None = None
    """Number of episodes with one start that are compared with each other (default: all walkers)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("epochs", self.epochs, at_least=1)
        check_not_negative("beta", self.beta)
        check_group(self.group, self.walkers)


@dataclass(frozen=True)
class DrGRPOOptions(GroupOptions):
    """Options of Dr. GRPO."""

    clip: float = 0.2
    """Clip of the ratio."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("clip", self.clip, below=None)


@dataclass(frozen=True)
class DAPOOptions(DrGRPOOptions):
    """Options of DAPO."""

    clip_high: float = 0.28
    """Clip of the ratio from above; `clip` is that from below."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("clip_high", self.clip_high, below=None)


@dataclass(frozen=True)
class GSPOOptions(DAPOOptions):
    """Options of GSPO."""

    clip: float = 3e-4
    """Clip of an episode's ratio from below."""
    clip_high: float = 4e-4
    """Clip of an episode's ratio from above."""


@dataclass(frozen=True)
class CISPOOptions(GroupOptions):
    """Options of CISPO."""

    clip_high: float = 5.0
    """Largest weight of a step; there is no smallest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("clip_high", self.clip_high, below=None)
