"""Learning from pairs of a chosen and a rejected answer: DPO, IPO, χPO, Cal-DPO, TDPO, CPO, ORPO, SimPO, and reward models.

All of them push the chosen answer's log-probability above the rejected one's and differ in three ways: whether a reference
policy holds them back, whether the push ends (IPO's and SimPO's target margins) or only fades (a sigmoid), and whether
log-probabilities are sums or means over an answer's steps. `preference_kinds.py` has more losses of the same four
log-probabilities as DPO's, by name. `bradley_terry_loss` scores returns of a reward model instead of log-probabilities; the
reward model then serves an on-policy method.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.log_probs import at_least_float32, log1mexp
from ift_gridworld.losses._checks import (
    check_finite,
    check_label_smoothing,
    check_positive_and_finite,
    check_same_shape,
)
from ift_gridworld.losses._log_ratios import log_ratios

__all__ = [
    "bradley_terry_loss",
    "cal_dpo_loss",
    "chi_po_loss",
    "cpo_loss",
    "dpo_loss",
    "ipo_loss",
    "orpo_loss",
    "simpo_loss",
    "tdpo_loss",
]

# ---- with a reference policy ----


def dpo_loss(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
    reference_free: bool = False,
) -> Float[Tensor, "*pairs"]:
    """Direct preference optimisation: L = -(1-ε) log σ(β d) - ε log σ(-β d), d = (c - c_ref) - (r - r_ref).

    At π = π_ref it is log 2 with ∂L/∂c = -(1 - 2ε) β/2. It asks for the difference alone: both log-probabilities may fall.
    Source: Rafailov et al. 2023 (arXiv 2305.18290), eq. 7.

    Args:
        chosen, rejected: summed log-probabilities of the two trajectories under the policy, in nats.
        reference_chosen, reference_rejected: the same under the frozen reference.
        beta: price of one nat of KL, > 0.
        label_smoothing: ε, the share of labels assumed to be wrong, in [0, 0.5).
        reference_free: assume an indifferent reference (its log-ratio is 0).

    Returns:
        One value per pair, in nats.

    Raises:
        ValueError: if shapes do not match, or for a beta or label_smoothing that is not allowed.

    Example:
        >>> chosen, rejected = torch.tensor([-3.0]), torch.tensor([-5.0])
        >>> dpo_loss(chosen, rejected, chosen, rejected)  # the policy is the reference: log 2
        tensor([0.6931])
    """
    check_positive_and_finite("beta", beta)
    check_label_smoothing(label_smoothing)
    if reference_free:
        reference_chosen, reference_rejected = torch.zeros_like(reference_chosen), torch.zeros_like(reference_rejected)
    margin = beta * log_ratios(chosen, rejected, reference_chosen, reference_rejected).difference
    return -(1 - label_smoothing) * F.logsigmoid(margin) - label_smoothing * F.logsigmoid(-margin)


def ipo_loss(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
    *,
    beta: float = 0.1,
    reference_free: bool = False,
) -> Float[Tensor, "*pairs"]:
    """Identity preference optimisation: L = (d - 1/(2β))², d as in `dpo_loss`; a target margin instead of an endless one.

    Eq. 17 is written with log-probabilities of whole answers, that is sums over steps. Its authors told the maintainers of TRL
    that the paper's experiments average over an answer's tokens, and TRL does so. Both are this function, of sums or of means;
    with means the target margin is one of nats per step.
    Source: Azar et al. 2023 (arXiv 2310.12036), eq. 17.

    Args:
        chosen, rejected: summed log-probabilities of the two trajectories under the policy, in nats.
        reference_chosen, reference_rejected: the same under the frozen reference.
        beta: price of one nat of KL, > 0; the target margin is 1/(2β) nats.
        reference_free: assume an indifferent reference (its log-ratio is 0).

    Returns:
        One value per pair, in nats².

    Raises:
        ValueError: if shapes do not match, or for a beta that is not allowed.

    Example:
        >>> chosen, rejected = torch.tensor([-3.0]), torch.tensor([-5.0])
        >>> ipo_loss(chosen, rejected, chosen, rejected, beta=0.1)  # d = 0, the target margin is 5
        tensor([25.])
    """
    check_positive_and_finite("beta", beta)
    if reference_free:
        reference_chosen, reference_rejected = torch.zeros_like(reference_chosen), torch.zeros_like(reference_rejected)
    return (log_ratios(chosen, rejected, reference_chosen, reference_rejected).difference - 1 / (2 * beta)) ** 2


def chi_po_loss(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
    *,
    beta: float = 0.1,
    max_reward: float | None = None,
) -> Float[Tensor, "*pairs"]:
    """χ²-preference optimisation: L = -log σ(clip(β (φ(z_c) - φ(z_r)), ±2R)), z = π/π_ref, φ(z) = z + log z.

    DPO with another link: φ is log z for answers that the policy has made unlikely and z for those that it has made likely,
    so that the implied price is KL plus χ² divergence, which forbids large ratios where the KL divergence hardly notices them.
    At π = π_ref the loss is log 2 and ∂L/∂c = -β, twice DPO's. Gradient is 0 where the clip acts, on either side.
    Source: Huang et al. 2024 (arXiv 2407.13399, algorithm 1). There are no numbers of another implementation to compare with;
    the policy that is optimal for the divergence is tested to be a stationary point of the population loss.

    Args:
        chosen, rejected: summed log-probabilities of the two trajectories under the policy, in nats.
        reference_chosen, reference_rejected: the same under the frozen reference.
        beta: price of one unit of divergence, > 0.
        max_reward: R, a bound on the size of the true reward, > 0; None omits the clip.

    Returns:
        One value per pair, in nats. Ratios that the number format does not hold count as the largest that it does.

    Raises:
        ValueError: if shapes do not match, or for a beta or max_reward that is not allowed.

    Example:
        >>> chosen, rejected = torch.tensor([2.0]).log(), torch.tensor([0.5]).log()
        >>> chi_po_loss(chosen, rejected, torch.zeros(1), torch.zeros(1), beta=1.0)  # margin 1.5 + log 4
        tensor([0.0543])
    """
    check_positive_and_finite("beta", beta)
    if max_reward is not None:
        check_positive_and_finite("max_reward", max_reward)
    log_z = log_ratios(chosen, rejected, reference_chosen, reference_rejected)
    largest = math.log(torch.finfo(log_z.chosen.dtype).max) - 1
    z_chosen, z_rejected = log_z.chosen.clamp(max=largest).exp(), log_z.rejected.clamp(max=largest).exp()
    margin = beta * (z_chosen - z_rejected + log_z.difference)
    return -F.logsigmoid(margin if max_reward is None else margin.clamp(-2 * max_reward, 2 * max_reward))


def cal_dpo_loss(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    reference_chosen: Float[Tensor, "*#pairs"],
    reference_rejected: Float[Tensor, "*#pairs"],
    *,
    beta: float = 0.1,
) -> Float[Tensor, "*pairs"]:
    """Calibrated DPO: L = -log σ(h_c - h_r) + (h_c - 1/(2β))² + (h_r + 1/(2β))², h = log π - log π_ref.

    The squares give each log-ratio a value to reach, so that the chosen answer does not fall; alone they are "sppo" of
    `preference_loss`. There is no β in the sigmoid.
    Source: Xiao et al. 2024 (arXiv 2412.14516, eq. 10). The authors' released code halves the squares; the listing in the
    paper's appendix has a target of β/2, which they call a typing error. Tested by closed forms; no numbers are published.

    Args:
        chosen, rejected: summed log-probabilities of the two trajectories under the policy, in nats.
        reference_chosen, reference_rejected: the same under the frozen reference.
        beta: price of one nat of KL, > 0; the targets are ±1/(2β) nats.

    Returns:
        One value per pair, in nats².

    Raises:
        ValueError: if shapes do not match, or for a beta that is not allowed.

    Example:
        >>> chosen, rejected = torch.tensor([-3.0]), torch.tensor([-5.0])
        >>> cal_dpo_loss(chosen, rejected, chosen, rejected, beta=0.5)  # log 2 + 1 + 1
        tensor([2.6931])
    """
    check_positive_and_finite("beta", beta)
    h = log_ratios(chosen, rejected, reference_chosen, reference_rejected)
    target = 1 / (2 * beta)
    return -F.logsigmoid(h.difference) + (h.chosen - target) ** 2 + (h.rejected + target) ** 2


def tdpo_loss(
    chosen_margin: Float[Tensor, "*pairs"],
    rejected_margin: Float[Tensor, "*pairs"],
    chosen_kl: Float[Tensor, "*pairs"],
    rejected_kl: Float[Tensor, "*pairs"],
    *,
    beta: float = 0.1,
    alpha: float = 0.5,
    version: int = 2,
) -> Float[Tensor, "*pairs"]:
    """Token-level DPO: L = -log σ(β d), with the forward KL of each answer's states in the margin.

    Version 1: d = m_c - m_r - (kl_r - kl_c). Version 2: d = m_c - m_r - α (kl_r - stopgrad(kl_c)).
    Source: Zeng et al. 2024 (arXiv 2404.11999).

    Args:
        chosen_margin, rejected_margin: m = log π - log π_ref, summed over steps, in nats.
        chosen_kl, rejected_kl: Σ_t KL(π_ref(.|s_t) || π(.|s_t)) over each trajectory's states, in nats.
        beta: price of one nat of KL, > 0.
        alpha: weight of the KL difference in version 2.
        version: 1 or 2.

    Returns:
        One value per pair, in nats.

    Raises:
        ValueError: if shapes do not match, or for a beta, alpha or version that is not allowed.

    Example:
        >>> zero = torch.zeros(1)
        >>> tdpo_loss(zero, zero, zero, torch.tensor([20.0]), beta=0.1, alpha=0.5)  # -log σ(-1)
        tensor([1.3133])
    """
    check_positive_and_finite("beta", beta)
    if version not in (1, 2):
        raise ValueError(f"version is {version}; allowed: 1, 2")
    check_finite("alpha", alpha)
    check_same_shape(chosen_margin=chosen_margin, rejected_margin=rejected_margin, chosen_kl=chosen_kl, rejected_kl=rejected_kl)
    margin = at_least_float32(chosen_margin) - at_least_float32(rejected_margin)
    if version == 1:
        penalty = at_least_float32(rejected_kl) - at_least_float32(chosen_kl)
    else:
        penalty = alpha * (at_least_float32(rejected_kl) - at_least_float32(chosen_kl).detach())
    return -F.logsigmoid(beta * (margin - penalty))


# ---- without a reference policy ----


def cpo_loss(
    chosen: Float[Tensor, "*pairs"],
    rejected: Float[Tensor, "*pairs"],
    *,
    beta: float = 0.1,
    label_smoothing: float = 0.0,
) -> Float[Tensor, "*pairs"]:
    """Contrastive preference optimisation: L = -(1-ε) log σ(β (c - r)) - ε log σ(-β (c - r)), ε = label_smoothing.

    DPO against a uniform reference. The method adds the chosen answer's negative log-likelihood, which holds the chosen answer
    where no reference does. Source: Xu et al. 2024 (arXiv 2401.08417, eq. 3). Tested against numbers of TRL 1.16's trainer.

    Args:
        chosen, rejected: summed log-probabilities of the two trajectories under the policy, in nats.
        beta: scale of the margin, > 0.
        label_smoothing: ε, the share of labels assumed to be wrong, in [0, 0.5).

    Returns:
        One value per pair, in nats.

    Raises:
        ValueError: if shapes do not match, or for a beta or label_smoothing that is not allowed.

    Example:
        >>> cpo_loss(torch.tensor([-3.0]), torch.tensor([-3.0]))  # equal likelihoods: log 2
        tensor([0.6931])
    """
    uniform = chosen.new_zeros(())
    return dpo_loss(chosen, rejected, uniform, uniform, beta=beta, label_smoothing=label_smoothing)


def orpo_loss(
    chosen_mean: Float[Tensor, "*pairs"], rejected_mean: Float[Tensor, "*pairs"], *, beta: float = 0.25
) -> Float[Tensor, "*pairs"]:
    """Odds-ratio preference optimisation: L = -c̄ - β log σ(log odds(c̄) - log odds(r̄)), odds(x̄) = e^x̄ / (1 - e^x̄).

    SFT on the chosen answer plus a push between the odds of the two; no reference. At equal likelihoods the odds term is
    log 2. Source: Hong et al. 2024 (arXiv 2403.07691), eq. 6 and 7, whose λ is beta here.

    Args:
        chosen_mean, rejected_mean: log-probabilities averaged over each trajectory's steps, <= 0, in nats per step.
        beta: weight of the odds term, > 0.

    Returns:
        One value per pair, in nats.

    Raises:
        ValueError: if shapes do not match, or for a beta that is not allowed.

    Example:
        >>> mean = torch.tensor([-1.0])
        >>> orpo_loss(mean, mean, beta=0.25)  # 1 + 0.25 log 2
        tensor([1.1733])
    """
    check_positive_and_finite("beta", beta)
    check_same_shape(chosen_mean=chosen_mean, rejected_mean=rejected_mean)
    chosen_mean, rejected_mean = at_least_float32(chosen_mean), at_least_float32(rejected_mean)
    log_odds = (chosen_mean - rejected_mean) - (log1mexp(chosen_mean) - log1mexp(rejected_mean))
    return -chosen_mean - beta * F.logsigmoid(log_odds)


def simpo_loss(
    chosen_mean: Float[Tensor, "*pairs"], rejected_mean: Float[Tensor, "*pairs"], *, beta: float = 2.0, gamma: float = 1.6
) -> Float[Tensor, "*pairs"]:
    """Simple preference optimisation: L = -log σ(β (c̄ - r̄) - γ); no reference, length-averaged, with a target margin γ.

    Source: Meng et al. 2024 (arXiv 2405.14734), eq. 6.

    Args:
        chosen_mean, rejected_mean: log-probabilities averaged over each trajectory's steps, in nats per step.
        beta: scale of the margin, > 0.
        gamma: margin to reach, after scaling. The paper's four settings have γ/β = 0.8 (Mistral-Base, as here), 0.1
            (Mistral-Instruct), 0.5 (Llama3-Base) and 0.55 (Llama3-Instruct).

    Returns:
        One value per pair, in nats.

    Raises:
        ValueError: if shapes do not match, or for a beta or gamma that is not allowed.

    Example:
        >>> simpo_loss(torch.tensor([-1.0]), torch.tensor([-1.8]))  # 2 · 0.8 - 1.6 = 0: log 2
        tensor([0.6931])
    """
    check_positive_and_finite("beta", beta)
    check_finite("gamma", gamma)
    check_same_shape(chosen_mean=chosen_mean, rejected_mean=rejected_mean)
    return -F.logsigmoid(beta * (at_least_float32(chosen_mean) - at_least_float32(rejected_mean)) - gamma)


# ---- reward models ----


def bradley_terry_loss(
    chosen_return: Float[Tensor, "*pairs"], rejected_return: Float[Tensor, "*pairs"]
) -> Float[Tensor, "*pairs"]:
    """Reward model (eq. 33): L = -log σ(R_c - R_r), R the modelled return of each trajectory.

    Source: Bradley and Terry 1952; for reward models Christiano et al. 2017 (arXiv 1706.03741).

    Args:
        chosen_return, rejected_return: returns of the two trajectories by the reward model.

    Returns:
        One value per pair, in nats.

    Raises:
        ValueError: if shapes do not match.

    Example:
        >>> bradley_terry_loss(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.0]))
        tensor([0.6931, 0.0486])
    """
    check_same_shape(chosen_return=chosen_return, rejected_return=rejected_return)
    return -F.logsigmoid(at_least_float32(chosen_return) - at_least_float32(rejected_return))
