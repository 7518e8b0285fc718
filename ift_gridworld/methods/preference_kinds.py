"""DPO's relatives: one training step, that of `PairMethod`, and a loss by name for each. KTO judges each answer on its own.

All but CPO compare the policy with the frozen base through the two log-ratios, log π - log π_ref of the chosen answer and of
the rejected one, summed over steps. They differ in what they ask of the two: a margin between them, a value of each, or both
(`losses.preference_loss` says which). CPO has no base and holds the chosen answer by its likelihood.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.choices import PreferenceKind
from ift_gridworld.log_probs import masked_sum
from ift_gridworld.methods.options import (
    BCOOptions,
    CalDPOOptions,
    ChiPOOptions,
    CPOOptions,
    DiscoPOPOptions,
    DPOPOptions,
    EXOOptions,
    HingeOptions,
    KTOOptions,
    MethodOptions,
    NCAOptions,
    PreferenceOptions,
    RobustDPOOptions,
    SPPOOptions,
)
from ift_gridworld.methods.preferences import PairMethod, PairSide, Scored

__all__ = [
    "BCO", "CPO", "EXO", "KTO", "NCA", "SPPO", "APODown", "APOZero", "CalDPO", "ChiPO", "DPOPositive", "DiscoPOP", "Hinge",
    "PreferenceMethod", "RobustDPO",
]  # fmt: skip


class PreferenceMethod(PairMethod):
    """Learn from pairs by a kind of `losses.preference_loss`, whose options are the method's own.

    Attributes:
        kind: which loss.
    """

    kind: ClassVar[PreferenceKind] = "sigmoid"
    options_type: ClassVar[type[MethodOptions]] = PreferenceOptions

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.preference_loss(
            chosen.sum, rejected.sum, chosen.reference, rejected.reference, kind=self.kind, **vars(self.options)
        )


class Hinge(PreferenceMethod):
    """Push a pair apart until its margin over the base is 1 / beta, then leave it alone.

    SLiC-HF (Zhao et al. 2023, arXiv 2305.10425) with the base in the margin, as RSO has it (Liu et al. 2023, arXiv
    2309.06657). Departs from SLiC-HF in that there is no further term of imitation, and from RSO in that pairs are the data's,
    not drawn by rejection sampling; beta is RSO's.
    """

    title = "Hinge · sequence-likelihood calibration with a hinge"
    kind = "hinge"
    options_type = HingeOptions


class RobustDPO(PreferenceMethod):
    """DPO whose loss is unbiased under labels of which a known share is flipped.

    Chowdhury et al. 2024 (arXiv 2403.00409). As published; the share is not estimated.
    """

    title = "Robust DPO · unbiased under flipped labels"
    kind = "robust"
    options_type = RobustDPOOptions


class EXO(PreferenceMethod):
    """DPO with the reverse KL divergence: the policy's preference concentrates on what the labels say.

    Ji et al. 2024 (arXiv 2402.00856), EXO-pref for pairs of the data; the paper's variants with a learned reward and more
    than two answers are left out.
    """

    title = "EXO · efficient exact optimisation"
    kind = "exo"
    options_type = EXOOptions


class NCA(PreferenceMethod):
    """Raise the chosen answer above the base in absolute terms, so that its likelihood does not fall as the margin grows.

    Noise-contrastive alignment (Chen et al. 2024, arXiv 2402.05369), for pairs; as published.
    """

    title = "NCA · noise-contrastive alignment"
    kind = "nca"
    options_type = NCAOptions


class BCO(PreferenceMethod):
    """Classify each answer as good or bad by its log-ratio alone.

    Jung et al. 2024 (arXiv 2404.04656). Departs from the paper in that no moving average of both rewards is subtracted: each
    start has one pair, so that chosen and rejected answers are balanced (TRL's pairs do without it, too).
    """

    title = "BCO · binary classifier optimisation"
    kind = "bco"
    options_type = BCOOptions


class SPPO(PreferenceMethod):
    """Drive the chosen answer's log-ratio to 1 / (2 beta) and the rejected one's to its negative.

    Self-play preference optimisation (Wu et al. 2024, arXiv 2405.00675) with hard labels. Departs from the paper in that the
    answers are the data's, one round of it: there, each round's answers are drawn from the policy and ranked by a model.
    """

    title = "SPPO · self-play preference optimisation"
    kind = "sppo"
    options_type = SPPOOptions


class APOZero(PreferenceMethod):
    """Push the chosen answer up and the rejected one down, each on its own: for data better than the policy.

    Anchored preference optimisation (D'Oosterlinck et al. 2024, arXiv 2408.06266); as published.
    """

    title = "APO zero · anchored, both answers apart"
    kind = "apo_zero"


class APODown(PreferenceMethod):
    """Push both answers down, the rejected one further: for data worse than the policy.

    Anchored preference optimisation (D'Oosterlinck et al. 2024, arXiv 2408.06266); as published. The human's answers here are
    better than the base, which is not what this loss is for: it shows what a wrong anchor costs.
    """

    title = "APO down · anchored, both answers down"
    kind = "apo_down"


class DiscoPOP(PreferenceMethod):
    """Minimise a blend of the logistic and the exponential loss that a language model found.

    Log-ratio modulated loss (Lu et al. 2024, arXiv 2406.08414); as published. At the base, where the margin is 0, the loss
    grows with the margin for the published tau of 0.05 (its slope there is beta ((1 - log 2) / (4 tau) - 3/4)), so that a
    policy which starts as the base first moves towards the rejected answer.
    """

    title = "DiscoPOP · a discovered loss"
    kind = "discopop"
    options_type = DiscoPOPOptions


class DPOPositive(PreferenceMethod):
    """DPO with a penalty where the chosen answer becomes less likely than under the base.

    DPO-Positive (Pal et al. 2024, arXiv 2402.13228); as published.
    """

    title = "DPOP · DPO-Positive, the chosen answer does not fall"
    kind = "dpop"
    options_type = DPOPOptions


class ChiPO(PairMethod):
    """DPO with z + log z in place of log z, z = π / π_ref: leaving the base's coverage is dear.

    Huang et al. 2024 (arXiv 2407.13399); as published, but for the bound of 20 nats on log z that
    its experiments need. With returns of at most 1 the paper's bound R on the reward is 1.
    """

    title = "χPO · chi-squared preference optimisation"
    options_type = ChiPOOptions

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.chi_po_loss(chosen.sum, rejected.sum, chosen.reference, rejected.reference, **vars(self.options))


class CalDPO(PairMethod):
    """DPO and a calibration of each log-ratio to ±1 / (2 beta), the reward that it stands for.

    Xiao et al. 2024 (arXiv 2412.14516, eq. 10); as published. The authors' code halves the calibration.
    """

    title = "Cal-DPO · calibrated DPO"
    options_type = CalDPOOptions

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return losses.cal_dpo_loss(chosen.sum, rejected.sum, chosen.reference, rejected.reference, **vars(self.options))


class CPO(PairMethod):
    """A margin between the two answers without a base, and SFT on the chosen one.

    Contrastive preference optimisation (Xu et al. 2024, arXiv 2401.08417). The likelihood term is a mean over steps, as in
    the authors' code; the paper's equation has a sum.
    """

    title = "CPO · contrastive preference optimisation"
    options_type = CPOOptions
    keeps_reference = False

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        options: CPOOptions = self.options
        margin = losses.cpo_loss(chosen.sum, rejected.sum, beta=options.beta, label_smoothing=options.label_smoothing)
        return margin - options.imitation * chosen.mean


class KTO(PairMethod):
    """Judge each answer alone, as a gain or a loss against how far the policy has moved from the base in general.

    Kahneman-Tversky optimisation (Ethayarajh et al. 2024, arXiv 2402.01306). The reference point z is the KL divergence of the
    policy from the base over answers of the policy. On a lake it is known exactly, by occupancy, and that is the default: it
    departs from the paper, which estimates z by the mean log-ratio of mismatched answers of a batch, clamped at 0. That is the
    option ``kl="mismatched"``, and what texts have. Needs no pairs: chosen answers are desirable, rejected ones undesirable.
    """

    title = "KTO · Kahneman-Tversky optimisation"
    options_type = KTOOptions

    def loss(self, batch: tuple[PairSide, PairSide]) -> Float[Tensor, " N"]:
        options: KTOOptions = self.options
        sides = [Scored(side, self.policy) for side in batch]
        point = self._reference_point(batch)[:, None]

        def one_side(side: Scored, desirable: bool) -> Float[Tensor, " N"]:
            label = torch.full((1, 1), desirable, device=side.sum.device)
            return losses.kto_loss(
                side.sum,
                side.reference,
                label,
                point,
                beta=options.beta,
                desirable_weight=options.desirable_weight,
                undesirable_weight=options.undesirable_weight,
            ).mean(-1)

        return (one_side(sides[0], True) + one_side(sides[1], False)) / 2

    @torch.no_grad()
    def _reference_point(self, batch: tuple[PairSide, PairSide]) -> Float[Tensor, " N"]:
        """Return z in nats, of each seed."""
        if self.options.kl != "mismatched":
            known: Any = self.source.own_kl(self.policy, self.reference)
            if known is not None:
                return known.to(next(self.policy.parameters()).dtype)
            if self.options.kl == "exact":
                raise ValueError("kl is 'exact', which is known on lakes alone; allowed on texts: mismatched")
        sides = [self.source.mismatched(side.batch) for side in batch]
        ratios = []
        for side in sides:
            ours, base = (policy.log_probs(side.states, side.actions, side.mask) for policy in (self.policy, self.reference))
            ratios.append(masked_sum(ours - base, side.mask))
        return torch.cat(ratios, -1).mean(-1).clamp(min=0)
