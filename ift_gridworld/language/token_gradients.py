"""How strongly a method pulls each token of an answer up while it trains: -∂L/∂log π of the token, exactly.

With weights that gradient flows through, the released form of IFT un-learns a token that is learnt much better than the ones
before it (`losses.ift_loss` has the closed form): its pull is negative. On texts the end token is such a one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from ift_gridworld import losses
from ift_gridworld.language.data import Completions
from ift_gridworld.language.policy import LanguagePolicy, model_settings
from ift_gridworld.language.source import TextSource
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.imitation import IFT

__all__ = ["answer_log_probs", "rows_of_common_length", "token_pull"]

ROWS = 32  # answers that are looked at


def rows_of_common_length(data: Completions) -> Int[np.ndarray, " B"]:
    """Return the first rows, at most `ROWS`, whose answers have the length that most answers have."""
    count = data.counted
    common = int(np.bincount(count).argmax())
    return np.flatnonzero(count == common)[:ROWS]


def answer_log_probs(
    kind: type[Method[Any]], source: TextSource, policy: LanguagePolicy, options: Any, rows: Int[np.ndarray, " B"]
) -> Float[np.ndarray, "B T"]:
    """Return log π in nats of each token of the answers, as the method's loss sees them: IFT's from the second pass.

    Args:
        kind: the method.
        source: the data.
        policy: the model.
        options: the method's.
        rows: rows of the demonstrations, with answers of one length (`rows_of_common_length`).
    """
    source = replace(source)  # a copy: what is drawn here must not change the run's own draws
    assert source.demonstrations is not None
    batch = source.demonstrations.batch(rows, source.device)
    with model_settings(policy), torch.no_grad():
        if issubclass(kind, IFT):
            logp = kind(source, policy, options).second_pass(batch)
        else:
            logp = policy.log_probs(batch.states, batch.actions, batch.mask)
    return logp[batch.mask].reshape(len(rows), -1).double().cpu().numpy()


def token_pull(kind: type[Method[Any]], options: Any, logp: Float[np.ndarray, "*batch T"]) -> Float[np.ndarray, "*batch T"]:
    """Return -∂L/∂log π of every token for the loss of SFT or IFT; above 0 the token becomes likelier. SFT's is 1 / T.

    Args:
        kind: SFT or IFT, or a subclass.
        options: the method's.
        logp: log π of each token, in nats.
    """
    leaf = torch.tensor(logp, requires_grad=True)
    mask = torch.ones(leaf.shape, dtype=torch.bool)
    if issubclass(kind, IFT):
        loss = losses.ift_loss(
            leaf,
            mask,
            decay=options.decay,
            propagation=options.propagation,
            norm=options.norm,
            detach_weights=options.detach_weights,
        )
    else:
        loss = losses.sft_loss(leaf, mask)
    (gradient,) = torch.autograd.grad(loss.sum(), leaf)
    return -gradient.numpy()
