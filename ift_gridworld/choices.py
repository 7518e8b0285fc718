"""Names that an option may take, each as a type for signatures and as a tuple for checks and command lines.

This module imports neither torch nor numpy, so that a command line can offer the choices before anything heavy is loaded.
"""

from __future__ import annotations

from typing import Literal, get_args

__all__ = [
    "AVERAGES",
    "BASES",
    "KL_KINDS",
    "NORMS",
    "OBJECTIVES",
    "OUTCOMES",
    "PREDICTIONS",
    "PREFERENCE_KINDS",
    "PROPAGATIONS",
    "QUALITIES",
    "RATIO_LEVELS",
    "REFERENCE_POINTS",
    "REWARDS",
    "TEACHERS",
    "Average",
    "Base",
    "KLKind",
    "Norm",
    "Objective",
    "Outcome",
    "Prediction",
    "PreferenceKind",
    "Propagation",
    "Quality",
    "RatioLevel",
    "ReferencePoint",
    "Reward",
    "Teacher",
]

Propagation = Literal["released", "algorithm1", "equation21", "none"]
"""Published definition of IFT's relation propagation (`losses.ift_loss`)."""
PROPAGATIONS: tuple[Propagation, ...] = get_args(Propagation)

Norm = Literal["L1", "L2", "softmax", "log"]
"""Scaling of the weights in the released form of IFT (`losses.relation_weights`)."""
NORMS: tuple[Norm, ...] = get_args(Norm)

KLKind = Literal["k1", "k2", "k3"]
"""Estimator of the KL divergence (`losses.kl_estimate`)."""
KL_KINDS: tuple[KLKind, ...] = get_args(KLKind)

PreferenceKind = Literal[
    "sigmoid", "ipo", "hinge", "robust", "exo", "nca", "bco", "sppo", "apo_zero", "apo_down", "discopop", "dpop"
]
"""Which loss over pairs (`losses.preference_loss`)."""
PREFERENCE_KINDS: tuple[PreferenceKind, ...] = get_args(PreferenceKind)

Objective = Literal["clip", "cispo", "sapo"]
"""Bounds that a policy-gradient loss puts on the probability ratio (`losses.group_policy_loss`)."""
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)

RatioLevel = Literal["token", "sequence"]
"""Unit of the probability ratio: each step, or the whole sequence (`losses.group_policy_loss`)."""
RATIO_LEVELS: tuple[RatioLevel, ...] = get_args(RatioLevel)

Average = Literal["sequence", "batch", "length", "sum"]
"""Divisor of a batch's step losses (`losses.group_policy_loss`)."""
AVERAGES: tuple[Average, ...] = get_args(Average)

Prediction = Literal["greedy", "expected"]
"""Prediction of the model that is mixed into a state: its best action, or the average over its distribution."""
PREDICTIONS: tuple[Prediction, ...] = get_args(Prediction)

Outcome = Literal["expected", "likeliest"]
"""Successor of a predicted action on a slippery lake: the average over its outcomes, or the likeliest one."""
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

Reward = Literal["env", "preference"]
"""Source of the rewards of on-policy methods: the environment, or a reward model trained on preference pairs."""
REWARDS: tuple[Reward, ...] = get_args(Reward)

ReferencePoint = Literal["exact", "mismatched"]
"""Computation of the reference point that KTO compares an answer with."""
REFERENCE_POINTS: tuple[ReferencePoint, ...] = get_args(ReferencePoint)

Teacher = Literal["optimal", "demonstrator"]
"""Teacher that labels the policy's own episodes: the optimal policy, or a sub-optimal demonstrator."""
TEACHERS: tuple[Teacher, ...] = get_args(Teacher)

Quality = Literal["optimal", "suboptimal"]
"""Quality of a demonstrator (`data.demonstrations`)."""
QUALITIES: tuple[Quality, ...] = get_args(Quality)

Base = Literal["mixture", "random", "uniform"]
"""Kind of base policies that are aligned (`training.make_base`)."""
BASES: tuple[Base, ...] = get_args(Base)
