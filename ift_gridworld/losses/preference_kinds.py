"""DPO's relatives by name: one function for the many losses over the same four log-probabilities.

With x = β (log π - log π_ref) of an answer, x_c of the chosen and x_r of the rejected one, they fall into three groups:

    the margin x_c - x_r alone       sigmoid, ipo, hinge, robust, exo, discopop
    each answer on its own           nca, bco, sppo, apo_zero
    the margin and a term in x_c     dpop, apo_down

The first group leaves open what becomes of the chosen answer: both log-probabilities may fall together. The others decide it.
Each kind is a function below, with its equation and its source. All but "dpop", which TRL does not have, are tested against
numbers of TRL 1.16's own trainer, values and gradients; closed forms are tested for every one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.choices import PREFERENCE_KINDS, PreferenceKind
from ift_gridworld.losses._checks import (
    check_choice,
    check_label_smoothing,
    check_not_negative,
    check_positive_and_finite,
)
from ift_gridworld.losses._log_ratios import log_ratios
from ift_gridworld.losses.preferences import dpo_loss, ipo_loss

__all__ = ["PREFERENCE_KINDS", "PreferenceKind", "preference_loss"]


def preference_loss(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
    *,
    kind: PreferenceKind,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    tau: float = 0.05,
    weight: float = 5.0,
) -> Float[Tensor, "*pairs"]:
    """Loss over pairs by name. x_c = β (c - c_ref), x_r = β (r - r_ref), m = x_c - x_r, ε = label_smoothing.

    "sigmoid" `dpo_loss` · "ipo" `ipo_loss` · "hinge" max(0, 1 - m) · "robust" (-(1-ε) log σ(m) + ε log σ(-m)) / (1 - 2ε) ·
    "exo" KL((σ(m), σ(-m)) || (1-ε, ε)) · "nca" -log σ(x_c) - ½ log σ(-x_c) - ½ log σ(-x_r) · "bco" -log σ(x_c) - log σ(-x_r)
    · "sppo" (x_c - ½)²/β² + (x_r + ½)²/β² · "apo_zero" σ(-x_c) + σ(x_r) · "apo_down" σ(x_c) + σ(-m) ·
    "discopop" -(1-w) log σ(m) + w e^-m, w = σ(m/τ) · "dpop" -log σ(m - weight max(0, -x_c)).

    Args:
        chosen, rejected: summed log-probabilities of the two trajectories under the policy, in nats.
        reference_chosen, reference_rejected: the same under the frozen reference.
        kind: which loss; sources stand in the module `preference_kinds`.
        beta: price of one nat of KL, or what takes its place, > 0.
        label_smoothing: ε in [0, 0.5), the share of labels assumed to be wrong: "sigmoid", "robust", and "exo", where ε > 0.
        tau: temperature of the blend of "discopop", > 0.
        weight: of the penalty of "dpop", >= 0.

    Returns:
        One value per pair: in nats² ("ipo", "sppo"), without unit ("hinge", "apo_zero", "apo_down") or in nats.

    Raises:
        ValueError: if shapes do not match, for an option that is not allowed, or for label smoothing of a kind without it.

    Example:
        >>> chosen, rejected = torch.tensor([-3.0]), torch.tensor([-5.0])
        >>> [preference_loss(chosen, rejected, chosen, rejected, kind=kind).item() for kind in ("hinge", "apo_zero", "sppo")]
        [1.0, 1.0, 50.0]
    """
    check_choice("kind", kind, PREFERENCE_KINDS)
    check_positive_and_finite("beta", beta)
    check_positive_and_finite("tau", tau)
    check_not_negative("weight", weight)
    check_label_smoothing(label_smoothing)
    if kind == "exo" and label_smoothing == 0:
        raise ValueError("label_smoothing is 0, where exo is infinite; allowed with exo: (0, 0.5)")
    if kind not in _WITH_LABEL_SMOOTHING and label_smoothing != 0:
        raise ValueError(f"label_smoothing is {label_smoothing}; allowed with {kind}: 0")
    four = chosen, rejected, reference_chosen, reference_rejected
    if kind == "sigmoid":
        return dpo_loss(*four, beta=beta, label_smoothing=label_smoothing)
    if kind == "ipo":
        return ipo_loss(*four, beta=beta)
    ratios = log_ratios(*four)
    x = beta * ratios.chosen, beta * ratios.rejected, beta * ratios.difference
    return _KINDS[kind](_Pairs(*x, beta, label_smoothing, tau, weight))


class _Pairs(NamedTuple):
    """Scaled log-ratios x_c and x_r of each pair, their difference m, and the options."""

    chosen: Float[Tensor, "*pairs"]
    rejected: Float[Tensor, "*pairs"]
    margin: Float[Tensor, "*pairs"]
    beta: float
    label_smoothing: float
    tau: float
    weight: float


# ---- of the margin alone ----


def _hinge(x: _Pairs) -> Tensor:
    """max(0, 1 - m): the push ends at a margin of 1, at once rather than by and by.

    Source: Zhao et al. 2023 (SLiC-HF, arXiv 2305.10425); with a reference in the margin Liu et al. 2023 (RSO, 2309.06657).
    """
    return F.relu(1 - x.margin)


def _robust(x: _Pairs) -> Tensor:
    """(-(1-ε) log σ(m) + ε log σ(-m)) / (1 - 2ε): unbiased where a share ε of the labels is flipped.

    The mean over flips, (1-ε) L(m) + ε L(-m), is DPO's loss of the true label. The price: L has no lower bound, and variance.
    Source: Chowdhury et al. 2024 (arXiv 2403.00409).
    """
    e = x.label_smoothing
    return (-(1 - e) * F.logsigmoid(x.margin) + e * F.logsigmoid(-x.margin)) / (1 - 2 * e)


def _exo(x: _Pairs) -> Tensor:
    """KL(p || (1-ε, ε)) with p = (σ(m), σ(-m)): the KL divergence that DPO minimises, the other way round.

    DPO with label smoothing ε is KL((1-ε, ε) || p) plus a constant. Source: Ji et al. 2024 (arXiv 2402.00856, eq. 16).
    """
    e = x.label_smoothing
    p, log_p, log_q = torch.sigmoid(x.margin), F.logsigmoid(x.margin), F.logsigmoid(-x.margin)
    return p * (log_p - math.log1p(-e)) + torch.sigmoid(-x.margin) * (log_q - math.log(e))


def _discopop(x: _Pairs) -> Tensor:
    """-(1-w) log σ(m) + w e^-m with w = σ(m/τ): DPO's loss where m < 0, an exponential where m > 0. Not convex.

    Found by a language model's search over programs. Source: Lu et al. 2024 (arXiv 2406.08414, eq. 5).
    """
    m, z = x.margin, x.margin / x.tau
    # w and e^-m as one exponential: apart, as in TRL, they are 0 times infinity where m is far below 0.
    return -torch.sigmoid(-z) * F.logsigmoid(m) + torch.exp(F.logsigmoid(z) - m)


# ---- of each answer on its own ----


def _nca(x: _Pairs) -> Tensor:
    """-log σ(x_c) - ½ log σ(-x_c) - ½ log σ(-x_r): the chosen answer is pushed up, to x_c = log 2 and no further.

    Source: Chen et al. 2024 (arXiv 2402.05369).
    """
    return -F.logsigmoid(x.chosen) - 0.5 * (F.logsigmoid(-x.chosen) + F.logsigmoid(-x.rejected))


def _bco(x: _Pairs) -> Tensor:
    """-log σ(x_c) - log σ(-x_r): a classifier of single answers; its logit is the implicit reward.

    The paper first subtracts a moving average of the rewards, δ, from both; TRL 1.16 does not, and neither does this.
    Source: Jung et al. 2024 (arXiv 2404.04656).
    """
    return -F.logsigmoid(x.chosen) - F.logsigmoid(-x.rejected)


def _sppo(x: _Pairs) -> Tensor:
    """(x_c/β - 1/(2β))² + (x_r/β + 1/(2β))²: a target for each log-ratio; the chosen answer always wins ("hard" labels).

    Source: Wu et al. 2024 (arXiv 2405.00675, eq. 4.7).
    """
    return ((x.chosen - 0.5) / x.beta) ** 2 + ((x.rejected + 0.5) / x.beta) ** 2


def _apo_zero(x: _Pairs) -> Tensor:
    """σ(-x_c) + σ(x_r): the chosen answer up, the rejected one down, for chosen answers better than the policy's own.

    Source: D'Oosterlinck et al. 2024 (arXiv 2408.06266, eq. 7), plus 1, as in TRL.
    """
    return torch.sigmoid(-x.chosen) + torch.sigmoid(x.rejected)


# ---- of the margin, with a term in the chosen answer ----


def _apo_down(x: _Pairs) -> Tensor:
    """σ(x_c) + σ(-m): both answers down, the rejected one further, for chosen answers worse than the policy's own.

    Source: D'Oosterlinck et al. 2024 (arXiv 2408.06266, eq. 8), plus 1, as in TRL.
    """
    return torch.sigmoid(x.chosen) + torch.sigmoid(-x.margin)


def _dpop(x: _Pairs) -> Tensor:
    """-log σ(m - weight max(0, -x_c)): DPO, with a penalty once the chosen answer falls below its reference.

    Source: Pal et al. 2024 (DPO-Positive, arXiv 2402.13228).
    """
    return -F.logsigmoid(x.margin - x.weight * F.relu(-x.chosen))


_KINDS: dict[PreferenceKind, Callable[[_Pairs], Tensor]] = {
    "hinge": _hinge,
    "robust": _robust,
    "exo": _exo,
    "discopop": _discopop,
    "nca": _nca,
    "bco": _bco,
    "sppo": _sppo,
    "apo_zero": _apo_zero,
    "apo_down": _apo_down,
    "dpop": _dpop,
}
_WITH_LABEL_SMOOTHING = ("sigmoid", "robust", "exo")
