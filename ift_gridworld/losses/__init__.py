"""The loss core: how SFT, IFT, DPO and its relatives, reward models and PPO score a policy.

One file per family, each to be read from top to bottom:

    imitation.py         learn from demonstrations: SFT, DFT, IFT and its relation propagation
    distillation.py      learn from a teacher's probabilities: generalised Jensen-Shannon divergence
    preferences.py       learn from pairs of a chosen and a rejected answer: DPO, IPO, χPO, Cal-DPO, TDPO, CPO, ORPO, SimPO,
                         reward models
    preference_kinds.py  DPO's relatives by name: hinge, robust, EXO, NCA, BCO, SPPO, APO, DiscoPOP, DPO-Positive
    unpaired.py          learn from single answers, desirable or not: KTO
    on_policy.py         learn from the policy's own rollouts: advantages, PPO's clipped losses, estimates of the KL divergence
    group_policy.py      GRPO and its relatives: Dr. GRPO, DAPO, GSPO, LUSPO, CISPO, SAPO, RLOO

Conventions. `logp[..., t]` is the log-probability, in nats, that the policy gives the action which the data took at step t;
`mask[..., t]` (boolean) says which steps count; N is the number of counted steps of a row. Any leading dimensions are allowed:
seeds, sequences. Every loss is to be minimised and returns one value per sequence or pair, ready to be averaged;
`ppo_clip_loss` and `value_loss` return one value per step, 0 where the mask is False. Chosen and rejected log-probabilities
are sums over a trajectory's steps, unless an argument's name says mean.

What no function here can check: that log-probabilities belong to the policy that is trained, that a reference is frozen, that
on-policy data come from the policy that `old_logp` names.

Equation numbers are those of "Intuitive Fine-Tuning" (arXiv 2405.11870v3), unless another paper is named.
"""

from ift_gridworld.choices import (
    AVERAGES,
    KL_KINDS,
    NORMS,
    OBJECTIVES,
    PREFERENCE_KINDS,
    PROPAGATIONS,
    RATIO_LEVELS,
    Average,
    KLKind,
    Norm,
    Objective,
    PreferenceKind,
    Propagation,
    RatioLevel,
)
from ift_gridworld.losses.distillation import generalized_jsd_loss
from ift_gridworld.losses.group_policy import group_policy_loss
from ift_gridworld.losses.imitation import dft_loss, ift_loss, relation_weights, sft_loss
from ift_gridworld.losses.on_policy import (
    generalized_advantage_estimate,
    group_relative_advantage,
    kl_estimate,
    leave_one_out_advantage,
    ppo_clip_loss,
    value_loss,
)
from ift_gridworld.losses.preference_kinds import preference_loss
from ift_gridworld.losses.preferences import (
    bradley_terry_loss,
    cal_dpo_loss,
    chi_po_loss,
    cpo_loss,
    dpo_loss,
    ipo_loss,
    orpo_loss,
    simpo_loss,
    tdpo_loss,
)
from ift_gridworld.losses.unpaired import kto_loss

__all__ = [
    "AVERAGES",
    "KL_KINDS",
    "NORMS",
    "OBJECTIVES",
    "PREFERENCE_KINDS",
    "PROPAGATIONS",
    "RATIO_LEVELS",
    "Average",
    "KLKind",
    "Norm",
    "Objective",
    "PreferenceKind",
    "Propagation",
    "RatioLevel",
    "bradley_terry_loss",
    "cal_dpo_loss",
    "chi_po_loss",
    "cpo_loss",
    "dft_loss",
    "dpo_loss",
    "generalized_advantage_estimate",
    "generalized_jsd_loss",
    "group_policy_loss",
    "group_relative_advantage",
    "ift_loss",
    "ipo_loss",
    "kl_estimate",
    "kto_loss",
    "leave_one_out_advantage",
    "orpo_loss",
    "ppo_clip_loss",
    "preference_loss",
    "relation_weights",
    "sft_loss",
    "simpo_loss",
    "tdpo_loss",
    "value_loss",
]
