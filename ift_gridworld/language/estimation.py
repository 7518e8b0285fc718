"""Preference estimation on texts: what a method takes the model's probability of the human's answer to be, and what it is.

The rows are those of `ift_gridworld.evaluation.estimation`, Table 1 of arXiv 2405.11870v3. Here a state is a prefix and each
token leads to one of its own, so that T_θ(s*_n, ρ0) = Π_{i<n} π_θ(a*_i | s*_i) is the probability of the answer's first n
tokens.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float

from ift_gridworld.language.data import Completions
from ift_gridworld.language.lakes import FAR, Lakes, tiles_along
from ift_gridworld.language.measure import END_ACTION, MoveTokenizer, along, answers, parts, repeated
from ift_gridworld.language.models import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import Settings


def bias(
    estimate: Float[np.ndarray, "M T"], truth: Float[np.ndarray, "M T"], mask: Bool[np.ndarray, "M T"]
) -> Float[np.ndarray, " M"]:
    """T̂_θ - T_θ on each lake, mean over the steps of the human's answer, its end included: of what `estimated` gives."""
    counts = mask & ~np.isnan(estimate)
    return np.where(counts, estimate - truth, 0.0).sum(1) / counts.sum(1)


@torch.no_grad()
def estimated(
    kind: type[Method],
    source: TextSource,
    policy: LanguagePolicy,
    settings: Settings,
    spoken: MoveTokenizer,
    lakes: Lakes,
    *,
    samples: int = 4,
    seed: int = 0,
) -> tuple[Float[np.ndarray, "M T"], Float[np.ndarray, "M T"], Bool[np.ndarray, "M T"]]:
    """Supposed and true probability of the human's answer up to each step, and which steps it has.

    Where nothing is supposed, since all the model's walks are over, the first is NaN.

    Args:
        kind: the method whose suppositions are asked.
        source: its demonstrations are the human's on these lakes, its rejected answers what offline DPO takes for the model's
            own.
        policy: the model.
        settings: of the method.
        spoken: how the model is spoken to.
        lakes: those of the source.
        samples: walks on each lake, where the method assumed_prior the model's own.
        seed: of these.
    """
    source, row = replace(source), kind.assumed_prior  # nothing is drawn from the problem itself: it may be in use
    human = source.demonstrations
    assert human is not None
    width = int((human.length - human.prompt).max())
    mask = np.arange(width) < (human.length - human.prompt)[:, None]

    def per_step(mixed: bool) -> Float[np.ndarray, "M T"]:
        """The model's probability of each token of the answers, from the residual connection's states or from the true ones."""
        found = np.ones(mask.shape)
        for part in parts(len(human)):
            batch = human.batch(part, source.device)
            if mixed:
                assert issubclass(kind, IFT)
                logp = kind(source, policy, settings).second_pass(batch)  # type: ignore[arg-type]
            else:
                logp = policy.log_probs(batch.states, batch.actions, batch.mask)
            inside = np.zeros(mask.shape, bool)
            inside[part] = mask[part]
            found[inside] = logp[batch.mask].double().exp().cpu().numpy()
        return found

    step = per_step(mixed=False)
    truth = step.cumprod(1)
    if row == "sft":
        return step, truth, mask
    if row == "ift":
        return per_step(mixed=True).cumprod(1), truth, mask
    if row == "dpo":
        assert source.rejected is not None
        same = _said(human, width) == _said(source.rejected, width)
        return np.where(mask, same, True).cumprod(1).astype(float), truth, mask
    if row == "ppo":
        return _agreement(policy, spoken, lakes, width, samples, seed), truth, mask
    return truth, truth, mask  # "dpo_online": answers are drawn as they are needed


def _said(answers: Completions, width: int) -> np.ndarray:
    """Tokens of the answers, -1 after their end."""
    said = answers.answers(-1)[:, :width]
    return np.pad(said, ((0, 0), (0, width - said.shape[1])), constant_values=-1)


def _agreement(
    policy: LanguagePolicy, spoken: MoveTokenizer, lakes: Lakes, width: int, samples: int, seed: int
) -> Float[np.ndarray, "M T"]:
    """E_s Σ_a T*(a|s) π_θ(a|s) at each step of the model's own walks, over those that have not ended; NaN where all have."""
    often = repeated(lakes, samples)
    moves, _ = answers(policy, spoken, often, width, torch.Generator().manual_seed(seed))
    chance, going = along(policy, spoken, often, moves)
    tiles = tiles_along(often, np.maximum(moves, -1))[:, :-1]
    lake = np.arange(len(often))[:, None]
    human = np.concatenate([often.optimal[lake, tiles], np.zeros((*tiles.shape, 1))], -1)
    human[tiles == often.gift[:, None], END_ACTION] = 1.0
    going &= np.logical_and.accumulate(often.distance[lake, tiles] < FAR, 1)
    agreed, count = ((x * going).reshape(samples, -1, width).sum(0) for x in ((chance * human).sum(-1), going))
    return np.divide(agreed, count, out=np.full(count.shape, np.nan), where=count > 0)
