"""Alternatives that are chosen by name: as types, and as the tuples that messages list. Loads without torch."""

from typing import Literal, get_args

__all__ = [
    "BASES", "KL_KINDS", "NORMS", "OUTCOMES", "PREDICTIONS", "PROPAGATIONS", "REWARDS", "Base", "KLKind", "Norm", "Outcome",
    "Prediction", "Propagation", "Reward",
]  # fmt: skip

Propagation = Literal["released", "algorithm1", "equation21", "none"]  # definitions of IFT's relation propagation
Norm = Literal["L1", "L2", "softmax", "log"]  # how the released definition scales its weights
KLKind = Literal["k1", "k2", "k3"]  # estimators of a KL divergence from one sample
Prediction = Literal["greedy", "expected"]  # what IFT mixes in: the best action's successor, or the average over actions
Outcome = Literal["expected", "likeliest"]  # on slippery ice: the average over successors, or the likeliest one
Reward = Literal["env", "preference"]  # the environment's reward, or a Bradley-Terry model's

PROPAGATIONS: tuple[str, ...] = get_args(Propagation)
NORMS: tuple[str, ...] = get_args(Norm)
KL_KINDS: tuple[str, ...] = get_args(KLKind)
PREDICTIONS: tuple[str, ...] = get_args(Prediction)
OUTCOMES: tuple[str, ...] = get_args(Outcome)
REWARDS: tuple[str, ...] = get_args(Reward)

Base = Literal["mixture", "random", "uniform"]  # what is aligned
BASES: tuple[str, ...] = get_args(Base)
