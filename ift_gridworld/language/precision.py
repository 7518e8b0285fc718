"""Precision: autocast for training, and whether a first pass in bfloat16 predicts what one in float32 predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Int
from torch import Tensor

from ift_gridworld.language.columns import columns_of
from ift_gridworld.language.data import Completions
from ift_gridworld.language.policy import LanguagePolicy

__all__ = ["autocast", "bfloat16_agreement", "first_pass_predictions"]


@contextmanager
def autocast(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """Run a model in another dtype than its float32 parameters; float32 changes nothing."""
    # Without the cache: a pass without gradient would leave weights in it that the next pass finds without theirs.
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False):
        yield


@torch.no_grad()
def first_pass_predictions(
    policy: LanguagePolicy, data: Completions, dtype: torch.dtype | None, device: torch.device
) -> Int[Tensor, " K"]:
    """Return the likeliest token at each step of the completions, as IFT's first pass predicts it in a dtype.

    Args:
        policy: the model.
        data: prompts and completions.
        dtype: float32 or bfloat16; None for float32.
        device: the model's device.
    """
    batch = data.batch(device=device)
    columns = columns_of(batch.mask).index
    with torch.autocast(device.type, dtype or torch.float32, enabled=dtype not in (None, torch.float32)):
        logits = policy.logits(None, columns, states=batch.states)
    return logits.argmax(-1)[batch.mask[..., columns]]


def bfloat16_agreement(policy: LanguagePolicy, data: Completions, device: torch.device) -> float:
    """Return the share of steps at which a first pass in bfloat16 predicts what one in float32 predicts."""
    coarse, fine = (first_pass_predictions(policy, data, dtype, device) for dtype in (torch.bfloat16, torch.float32))
    return float((coarse == fine).float().mean())
