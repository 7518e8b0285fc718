"""Every knob of every method, each with its default and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ift_gridworld import losses
from ift_gridworld.policies.residual import OUTCOMES, PREDICTIONS
from ift_gridworld.training.optimisers import OPTIMISERS

REWARDS = ("env", "preference")
KL_KINDS = ("k1", "k2", "k3")


@dataclass(frozen=True)
class Settings:
    """Every knob of every method. None means the method's own default. Defaults are the papers', where they give one."""

    steps: int | None = None
    """Gradient updates."""
    learning_rate: float | None = None
    """Of the optimiser, the same for every method: 0.01 for the network; 0.03 for the table, whose rows learn alone."""
    optimiser: Literal["adam", "rmsprop"] = "adam"
    """What makes updates of gradients."""
    snapshots: int = 60
    """Policies kept along the way, so that about equally much changes from each to the next; fewer where those of a large lake
    would not fit in memory (`training.snapshots`)."""
    mixing: float = 0.2
    """IFT: lambda, the share of the model's own prediction in each state."""
    decay: float = 0.95
    """IFT: gamma of the relation propagation."""
    propagation: losses.Propagation = "released"
    """IFT: which published definition."""
    norm: losses.Norm = "L1"
    """IFT: how the released definition scales its weights."""
    detach_weights: bool = False
    """IFT: hold the weights constant in the backward pass."""
    prediction: Literal["greedy", "expected"] = "greedy"
    """IFT: mix in the best action's tile, or the average over actions."""
    outcome: Literal["expected", "likeliest"] = "expected"
    """IFT, on slippery ice: mix in the average over outcomes, or the likeliest tile."""
    beta: float | None = None
    """Price of KL (DPO, IPO, TDPO, PPO, GRPO), weight of the odds term (ORPO), scale of the margin (SimPO)."""
    label_smoothing: float = 0.0
    """DPO: share of labels taken to be wrong."""
    gamma: float = 1.6
    """SimPO: target margin."""
    alpha: float = 0.5
    """TDPO: weight of the KL difference."""
    version: int = 2
    """TDPO: 1 or 2."""
    reward: Literal["env", "preference"] = "env"
    """PPO, GRPO: the environment's reward, or a Bradley-Terry model's, trained on preference pairs."""
    pairs: int = 256
    """PPO, GRPO with a learned reward: pairs of the base policy's own episodes that are compared."""
    kl_kind: Literal["k1", "k2", "k3"] = "k1"
    """PPO: estimator of the per-step KL penalty."""
    clip: float = 0.2
    """PPO, GRPO: clip of the ratio (PPO: and of the value)."""
    lam: float = 0.95
    """PPO: lambda of the advantage estimate."""
    entropy_bonus: float = 0.001
    """PPO: weight of the entropy."""
    epochs: int = 4
    """PPO, GRPO: updates on each batch of rollouts."""
    walkers: int = 64
    """PPO, GRPO: agents that walk at once."""
    segment: int = 32
    """PPO: steps that each walks between two batches (GRPO's walk whole episodes)."""
    group: int | None = None
    """GRPO: agents that start on the same tile and are compared with each other (all of them if not given); as many whole
    groups walk as the number of walkers allows."""
    max_grad_norm: float = 0.5
    """PPO, GRPO: gradient norm, per seed, above which it is scaled down."""

    def __post_init__(self) -> None:
        unit = "a number in [0, 1]"
        for name in ("mixing", "decay", "lam"):
            _require(name, getattr(self, name), 0 <= getattr(self, name) <= 1, unit)
        for name in ("clip", "max_grad_norm"):
            _require(name, getattr(self, name), getattr(self, name) > 0, "a number > 0")
        for name in ("epochs", "walkers", "segment", "pairs"):
            _require(name, getattr(self, name), getattr(self, name) >= 1, "a whole number >= 1")
        if self.group is not None:
            sizes = f"a whole number from 2 to the number of walkers ({self.walkers})"
            _require("group", self.group, 2 <= self.group <= self.walkers, sizes)
        _require("snapshots", self.snapshots, self.snapshots >= 2, "a whole number >= 2")
        if self.steps is not None:
            _require("steps", self.steps, self.steps >= 1, "a whole number >= 1")
        for name in ("beta", "learning_rate"):
            value = getattr(self, name)
            _require(name, value, value is None or 0 < value < 1e30, "a number > 0 (and below 1e30)")
        _require("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 0.5, "a number in [0, 0.5)")
        _require("entropy_bonus", self.entropy_bonus, self.entropy_bonus >= 0, "a number >= 0")
        for name in ("gamma", "alpha"):
            _require(name, getattr(self, name), abs(getattr(self, name)) < float("inf"), "a finite number")
        _require("version", self.version, self.version in (1, 2), "1, 2")
        for name, allowed in (
            ("propagation", losses.PROPAGATIONS),
            ("norm", losses.NORMS),
            ("prediction", PREDICTIONS),
            ("outcome", OUTCOMES),
            ("reward", REWARDS),
            ("kl_kind", KL_KINDS),
            ("optimiser", tuple(OPTIMISERS)),
        ):
            _require(name, getattr(self, name), getattr(self, name) in allowed, ", ".join(allowed))


def _require(name: str, value: object, holds: bool, allowed: str) -> None:
    if not holds:  # also when the value is NaN
        raise ValueError(f"{name} is {value!r}; allowed: {allowed}")
