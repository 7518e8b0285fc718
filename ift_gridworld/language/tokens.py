"""How hard a method pulls at each token of an answer while it trains: -∂L/∂log π of the token, exactly.

With weights that gradient flows through, the released form of IFT un-learns a token that is learnt much better than the ones
before it (`losses.ift_loss` has the closed form): its pull is negative. On texts the end token is such a one.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int

from ift_gridworld import losses
from ift_gridworld.language.data import Completions
from ift_gridworld.language.models import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import Settings

ANSWERS = 32  # that are looked at


def looked_at(data: Completions) -> Int[np.ndarray, " B"]:
    """Rows whose answers have the length that most answers have: the first of them."""
    count = data.length - data.prompt
    common = int(np.bincount(count).argmax())
    return np.flatnonzero(count == common)[:ANSWERS]


@torch.no_grad()
def log_probs_seen(
    kind: type[Method], source: TextSource, policy: LanguagePolicy, settings: Settings, rows: Int[np.ndarray, " B"]
) -> Float[np.ndarray, "B T"]:
    """log π of each token of the answers, as the method's loss sees them: IFT's in the second pass."""
    source = replace(source)  # what is drawn here is drawn from no run's own numbers
    assert source.demonstrations is not None
    batch = source.demonstrations.batch(rows, source.device)
    if issubclass(kind, IFT):
        logp = kind(source, policy, settings).second_pass(batch)  # type: ignore[arg-type]
    else:
        logp = policy.log_probs(batch.states, batch.actions, batch.mask)
    return logp[batch.mask].reshape(len(rows), -1).double().cpu().numpy()


def pull(kind: type[Method], settings: Settings, logp: Float[np.ndarray, "*batch T"]) -> Float[np.ndarray, "*batch T"]:
    """-∂L/∂log π of every token of SFT's or IFT's loss; above 0 the token becomes likelier. SFT's is 1 / T."""
    leaf = torch.tensor(logp, requires_grad=True)
    mask = torch.ones(leaf.shape, dtype=torch.bool)
    if issubclass(kind, IFT):
        loss = losses.ift_loss(
            leaf,
            mask,
            decay=settings.decay,
            propagation=settings.propagation,
            norm=settings.norm,
            detach_weights=settings.detach_weights,
        )
    else:
        loss = losses.sft_loss(leaf, mask)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    return -gradient.numpy()
