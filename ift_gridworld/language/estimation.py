"""Preference estimation on texts: which probability a method assumes the human's answer to have, and which it has.

The rows are those of `ift_gridworld.evaluation.estimation`, Table 1 of arXiv 2405.11870v3. Here a state is a prefix and each
token leads to one of its own, so that T_θ(s*_n, ρ0) = Π_{i<n} π_θ(a*_i | s*_i) is the probability of the answer's first n
tokens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from ift_gridworld.data import generators
from ift_gridworld.language.data import Completions
from ift_gridworld.language.lakes import UNREACHABLE, Lakes, tiles_along
from ift_gridworld.language.move_tokenizer import END_ACTION, MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy, model_settings
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.walks import repeat_lakes, row_batches, sample_paths, step_probabilities
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import MethodOptions

__all__ = ["answer_tokens", "bias", "estimate_answers"]


def bias(
    estimate: Float[np.ndarray, "M T"], truth: Float[np.ndarray, "M T"], mask: Bool[np.ndarray, "M T"]
) -> Float[np.ndarray, " M"]:
    """Return T̂_θ - T_θ on each lake, mean over the steps of the human's answer, its end included.

    Args:
        estimate, truth, mask: results of `estimate_answers`; steps without an estimate do not count.
    """
    counts = mask & ~np.isnan(estimate)
    return np.where(counts, estimate - truth, 0.0).sum(1) / counts.sum(1)


def estimate_answers(
    kind: type[Method[Any]],
    source: TextSource,
    policy: LanguagePolicy,
    options: MethodOptions,
    tokenizer: MoveTokenizer,
    lakes: Lakes,
    *,
    samples: int = 4,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "M T"], Float[np.ndarray, "M T"], Bool[np.ndarray, "M T"]]:
    """Return the assumed and the true probability of the human's answer up to each step, and which steps exist.

    The estimate is NaN where the method assumes nothing, because all sampled walks are over.

    Args:
        kind: the method.
        source: demonstrations are the human's on these lakes; rejected answers are what offline DPO takes for the model's.
        policy: the model.
        options: the method's.
        tokenizer: the model's moves as tokens.
        lakes: the lakes of the source.
        samples: number of walks on each lake, for a method that assumes the model's own.
        seed: seed of the walks.
    """
    with model_settings(policy), torch.no_grad():
        source, row = replace(source), kind.assumed_prior  # a copy: the source itself may be in use
        human = source.demonstrations
        assert human is not None
        width = int((human.length - human.prompt).max())
        mask = np.arange(width) < (human.length - human.prompt)[:, None]

        def per_step(mixed: bool) -> Float[np.ndarray, "M T"]:
            """Return the model's probability of each token of the answers, from mixed states or from the true ones."""
            result = np.ones(mask.shape)
            for part in row_batches(len(human)):
                batch = human.batch(part, source.device)
                if mixed:
                    assert issubclass(kind, IFT)
                    logp = kind(source, policy, options).second_pass(batch)
                else:
                    logp = policy.log_probs(batch.states, batch.actions, batch.mask)
                inside = np.zeros(mask.shape, bool)
                inside[part] = mask[part]
                result[inside] = logp[batch.mask].double().exp().cpu().numpy()
            return result

        step = per_step(mixed=False)
        truth = step.cumprod(1)
        if row == "sft":
            return step, truth, mask
        if row == "ift":
            return per_step(mixed=True).cumprod(1), truth, mask
        if row == "dpo":
            assert source.rejected is not None
            same = answer_tokens(human, width) == answer_tokens(source.rejected, width)
            return np.where(mask, same, True).cumprod(1).astype(float), truth, mask
        if row == "ppo":
            return _agreement(policy, tokenizer, lakes, width, samples, seed), truth, mask
        return truth, truth, mask  # "dpo_online": answers are sampled when they are needed


def answer_tokens(data: Completions, width: int) -> Int[np.ndarray, "M T"]:
    """Return the first `width` token ids of each answer, -1 after its end."""
    tokens = data.answers(-1)[:, :width]
    return np.pad(tokens, ((0, 0), (0, width - tokens.shape[1])), constant_values=-1)


def _agreement(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, width: int, samples: int, seed: int
) -> Float[np.ndarray, "M T"]:
    """Return E_s Σ_a T*(a|s) π_θ(a|s) at each step of the model's own walks that have not ended; NaN where all have."""
    repeated = repeat_lakes(lakes, samples)
    moves, _ = sample_paths(policy, tokenizer, repeated, width, generators(seed, 1)[0])
    chance, exists = step_probabilities(policy, tokenizer, repeated, moves)
    tiles = tiles_along(repeated, np.maximum(moves, -1))[:, :-1]
    lake = np.arange(len(repeated))[:, None]
    human = np.concatenate([repeated.optimal[lake, tiles], np.zeros((*tiles.shape, 1))], -1)
    human[tiles == repeated.goal[:, None], END_ACTION] = 1.0
    exists &= np.logical_and.accumulate(repeated.distance[lake, tiles] < UNREACHABLE, 1)
    agreed, count = ((x * exists).reshape(samples, -1, width).sum(0) for x in ((chance * human).sum(-1), exists))
    return np.divide(agreed, count, out=np.full(count.shape, np.nan), where=count > 0)
