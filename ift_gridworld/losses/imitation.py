"""Learning from demonstrations: supervised fine-tuning (SFT), dynamic fine-tuning (DFT) and Intuitive Fine-Tuning (IFT).

SFT scores every step on its own; DFT too, with less weight for actions that the policy finds unlikely. IFT adds relation
propagation: each step's weight depends on the losses of the steps after it, so that a step answers for what it leads to. The
other half of IFT, the residual connection that mixes the model's own predictions into its inputs, is a way of running the
policy and lives in `policies/residual.py`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ift_gridworld.choices import NORMS, PROPAGATIONS, Norm, Propagation
from ift_gridworld.log_probs import at_least_float32, masked_fill_zero, masked_mean
from ift_gridworld.losses._checks import check_choice, check_same_steps, check_unit_interval

__all__ = ["NORMS", "PROPAGATIONS", "Norm", "Propagation", "dft_loss", "ift_loss", "relation_weights", "sft_loss"]


def sft_loss(logp: Float[Tensor, "*batch T"], mask: Bool[Tensor, "*#batch T"]) -> Float[Tensor, "*batch"]:
    """Supervised fine-tuning (eq. 30): L = -(1/N) Σ_t log π(a*_t | s*_t).

    Every step is judged from the human's own state, as if the model had reached it with certainty.

    Args:
        logp: log-probabilities of the data's actions, in nats.
        mask: which steps count.

    Returns:
        Nats per counted step; 0 for a row that counts none.

    Raises:
        ValueError: if shapes do not match or the mask is not boolean.

    Example:
        >>> logp = torch.tensor([[-0.5, -1.5, -9.0]])
        >>> sft_loss(logp, torch.tensor([[True, True, False]]))
        tensor([1.])
    """
    check_same_steps(logp=logp, mask=mask)
    return -masked_mean(logp, mask)


def dft_loss(logp: Float[Tensor, "*batch T"], mask: Bool[Tensor, "*#batch T"]) -> Float[Tensor, "*batch"]:
    """Dynamic fine-tuning: L = -(1/N) Σ_t sg(π_t) log π_t with π_t = π(a*_t | s*_t); sg holds it constant.

    As a policy gradient, SFT's gradient rewards the demonstrated action with 1/π_t: the less likely, the more. The factor
    π_t cancels that, so that ∂L/∂logp_t is SFT's times π_t, and ∇L is -∇π_t: the probability itself is maximised, not its
    logarithm. Where the demonstrated action is all but excluded, nothing is learnt from it. The value can fall while the policy
    gets worse: it is 0 at π_t = 0 and at π_t = 1.
    Source: Wu et al. 2025 (arXiv 2508.05629). TRL averages over all counted steps of a batch, this over each sequence's.

    Args:
        logp: log-probabilities of the data's actions, in nats; -inf, an action that the policy excludes, contributes 0.
        mask: which steps count.

    Returns:
        Nats per counted step; 0 for a row that counts none.

    Raises:
        ValueError: if shapes do not match or the mask is not boolean.

    Example:
        >>> logp = torch.tensor([[0.5, 0.25]]).log()
        >>> dft_loss(logp, torch.tensor([[True, True]]))  # (½ log 2 + ¼ log 4) / 2
        tensor([0.3466])
    """
    check_same_steps(logp=logp, mask=mask)
    logp = masked_fill_zero(logp, mask)
    probability = logp.detach().exp()
    return -masked_mean(torch.where(probability > 0, probability * logp, 0.0), mask)


def ift_loss(
    logp: Float[Tensor, "*batch T"],
    mask: Bool[Tensor, "*#batch T"],
    *,
    decay: float = 0.95,
    propagation: Propagation = "released",
    norm: Norm = "L1",
    detach_weights: bool = False,
) -> Float[Tensor, "*batch"]:
    """Intuitive Fine-Tuning's relation propagation: the steps of one answer are weighted by each other's losses.

    `logp` comes from the second pass, over the residual connection's mixed states (`policies/residual.py`); with λ = 0 and
    propagation "none" the loss is SFT's to the last bit. With l_t = -log π(a*_t | s_t), over counted steps:

    - "released" (the authors' code): L = (1/N) Σ_t w_t l_t with `relation_weights` w, Σ w = N. A step answers for what
      follows it: where the loss is spread evenly, early steps weigh most. If gradient flows through w (as the authors
      intend), with u_t = Σ_{i≥t} γ^{i-t} l_i, U = Σ u, L1 and γ > 0:
      ∂L/∂l_k = (u_k + Σ_{t≤k} γ^{k-t}(l_t - L)) / U. It turns NEGATIVE for a late step that is learnt much better than the
      early ones: such a step is un-learnt.
    - "algorithm1" (the paper's listing): L = Σ_t w_t l_t with w_t = Σ_{i≥t} γ^{i-t} l_i. Quadratic in l, not scaled. Constant
      weights favour early steps; with gradient through them L is the same read backwards, and favours neither end.
    - "equation21" (eq. 21, 36): L = Σ_n Σ_{i≥n} γ^{i-n} l_i, summed, not averaged. LATE steps weigh most: with γ = 1 the
      i-th counted step (from 0) counts i + 1 times.
    - "none": `sft_loss`.

    Args:
        logp: log-probabilities of the data's actions, in nats.
        mask: which steps count.
        decay: γ in [0, 1], acting on the losses; it is not the MDP's discount.
        propagation: which of the published definitions.
        norm: how the released form scales its weights.
        detach_weights: hold w constant in the backward pass ("released" and "algorithm1").

    Returns:
        One value per sequence, in nats per step ("released", "none"), nats ("equation21") or nats² ("algorithm1").

    Raises:
        ValueError: if shapes do not match, or for a decay, propagation or norm that is not allowed.

    Example:
        >>> logp, mask = torch.tensor([[-2.0, -1.0]]), torch.ones(1, 2, dtype=torch.bool)
        >>> ift_loss(logp, mask, decay=1.0)  # weights 3/2 and 1/2: the first step answers for both
        tensor([1.7500])
    """
    check_same_steps(logp=logp, mask=mask)
    check_choice("propagation", propagation, PROPAGATIONS)
    check_choice("norm", norm, NORMS)
    check_unit_interval("decay", decay)
    logp = at_least_float32(logp)
    if propagation == "none":
        return sft_loss(logp, mask)
    loss = -masked_fill_zero(logp, mask)
    if propagation == "equation21":
        preceding = _decayed_sums(mask.to(loss.dtype).flip(-1), decay).flip(-1)  # sums over earlier steps, read backwards
        return (preceding * loss).sum(-1)
    if propagation == "algorithm1":
        weights = masked_fill_zero(_decayed_sums(loss, decay), mask)
        return ((weights.detach() if detach_weights else weights) * loss).sum(-1)
    weights = relation_weights(logp, mask, decay, norm)
    return masked_mean((weights.detach() if detach_weights else weights) * loss, mask)


def relation_weights(
    logp: Float[Tensor, "*batch T"], mask: Bool[Tensor, "*#batch T"], decay: float, norm: Norm = "L1"
) -> Float[Tensor, "*batch T"]:
    """The released code's weights: w_t = c_t + γ w_{t+1} with c = -logp / N, normalised, zero off the mask, Σ_t w_t = N.

    γ = 0 gives w = 1 (off the mask too), a special case of the authors' that is not the limit γ → 0. There c_t alone is left:
    w_t → N l_t / Σ l for L1, N l_t² / Σ l² for L2, and so on with the other norms. Where every counted loss is exactly 0 the
    scaling would be 0/0; the counted weights are 1.

    Args:
        logp: log-probabilities of the data's actions, in nats.
        mask: which steps count.
        decay: γ in [0, 1].
        norm: applied to w before zeroing and scaling: "L1" w itself, "L2" w², "softmax" softmax(w), "log" log(1 + w).

    Returns:
        One weight per step, without unit.

    Raises:
        ValueError: if shapes do not match, or for a decay or norm that is not allowed.

    Example:
        >>> relation_weights(torch.tensor([-2.0, -1.0]), torch.tensor([True, True]), decay=1.0)
        tensor([1.5000, 0.5000])
    """
    check_same_steps(logp=logp, mask=mask)
    check_unit_interval("decay", decay)
    check_choice("norm", norm, NORMS)
    logp = at_least_float32(logp)
    counted = mask.to(logp.dtype).expand(np.broadcast_shapes(logp.shape, mask.shape))
    if decay == 0:
        return torch.ones_like(counted)
    steps = counted.sum(-1, keepdim=True)
    share = -masked_fill_zero(logp, mask) / steps.clamp(min=1)
    weights = _decayed_sums(share, decay)
    # A common factor cancels in the scaling; taken out first, it keeps tiny squares and large exponentials in range.
    if norm == "L2":
        largest = weights.amax(-1, keepdim=True).detach()
        weights = (weights / torch.where(largest > 0, largest, 1.0)) ** 2
    elif norm == "softmax":
        weights = torch.exp(weights - weights.amax(-1, keepdim=True))
    elif norm == "log":
        weights = torch.log1p(weights)
    weights = masked_fill_zero(weights, mask)
    total = weights.sum(-1, keepdim=True)
    is_zero = total <= 0
    return torch.where(is_zero, counted, weights * steps / torch.where(is_zero, 1.0, total))


BLOCK = 128  # steps that are summed by one product of matrices


def _decayed_sums(x: Float[Tensor, "*batch T"], decay: float) -> Float[Tensor, "*batch T"]:
    """Σ_{i≥t} γ^{i-t} x_i for every t, by products of matrices instead of a loop over steps.

    A long row is cut into blocks: the sums within each, and what all later blocks add, decayed from the next one's first
    step: Σ_{i≥t} = Σ_{i≥t, in t's block} + γ^{e-t} Σ_{i≥e}, e the next block's first step. Those sums are decayed sums of the
    blocks' own, with γ to the power of a block's length. So memory is linear in T.
    """
    steps = x.shape[-1]
    if steps <= BLOCK:
        return _matmul(x, _decay_matrix(x, decay).T)
    blocks = -(-steps // BLOCK)
    rows = torch.nn.functional.pad(x, (0, blocks * BLOCK - steps)).unflatten(-1, (blocks, BLOCK))
    within = _matmul(rows, _decay_matrix(rows, decay).T)
    onward = _decayed_sums(within[..., 0], decay**BLOCK)
    onward = torch.nn.functional.pad(onward[..., 1:], (0, 1))[..., None]  # nothing follows the last block
    left = torch.arange(BLOCK, 0, -1, dtype=x.dtype, device=x.device)  # steps from each step to the next block
    return (within + torch.pow(decay, left) * onward).flatten(-2)[..., :steps]


def _matmul(x: Float[Tensor, "*batch T"], matrix: Float[Tensor, "T T"]) -> Float[Tensor, "*batch T"]:
    """x @ matrix in their own precision, even where autocast would halve it."""
    if not torch.amp.is_autocast_available(x.device.type):
        return x @ matrix
    with torch.autocast(x.device.type, enabled=False):
        return x @ matrix


def _decay_matrix(like: Tensor, decay: float) -> Float[Tensor, "T T"]:
    """D[t, i] = γ^{i-t} for i ≥ t, else 0: propagation as one matrix product instead of a loop over steps."""
    return _cached_decay_matrix(like.shape[-1], float(decay), like.dtype, like.device)


@lru_cache(maxsize=8)  # of BLOCK² numbers each, at most
def _cached_decay_matrix(steps: int, decay: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # a matrix first needed in inference must serve training later
        step = torch.arange(steps, dtype=dtype, device=device)
        distance = step[None, :] - step[:, None]
        powers = torch.pow(torch.tensor(decay, dtype=dtype, device=device), distance.clamp(min=0))
        return torch.where(distance >= 0, powers, 0.0)
