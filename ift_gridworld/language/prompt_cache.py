"""Prompts that are read once: their keys and values are reused for everything that is asked after them.

A lake is asked on every tile that a walk can stand on, and answered several times, and the prompt is nearly all of the text.
Models that keep no plain cache (`ModelCalls.shares`; Mamba, sliding windows) read whole texts instead, with the same results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ift_gridworld.language.policy import LanguagePolicy, is_plain_cache

__all__ = ["distinct_prompts", "logits_after", "logits_at", "rows_of_cache"]

LOGITS = 2**25  # numbers that the logits of one forward pass may hold; rows are fewer where a vocabulary is large


def distinct_prompts(prompts: Sequence[Sequence[int]]) -> tuple[list[tuple[int, ...]], Int[np.ndarray, " M"]]:
    """Return each prompt once, in the order in which they first come, and which of them each of the M prompts is.

    >>> distinct_prompts([[1, 2], [3], [1, 2]])
    ([(1, 2), (3,)], array([0, 1, 0]))
    """
    place: dict[tuple[int, ...], int] = {}
    index = [place.setdefault(tuple(prompt), len(place)) for prompt in prompts]
    return list(place), np.array(index, int)


def rows_of_cache(past: Any, index: Int[Tensor, " K"]) -> Any:
    """Return the past of some rows as `ModelCalls.next_logits` takes it: a copy, which can grow by itself.

    Args:
        past: token ids, or a cache of transformers'.
        index: rows; one may come several times.

    Returns:
        The past; None if it is of a kind whose rows cannot be taken.
    """
    if isinstance(past, Tensor):
        return past[index]
    if not is_plain_cache(past):
        return None
    from transformers import DynamicCache

    copied = DynamicCache()
    for number, layer in enumerate(past.layers):
        copied.update(layer.keys[index], layer.values[index], number)
    return copied


def logits_at(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    index: Int[np.ndarray, " X"],
    continuations: Sequence[Sequence[int]],
    *,
    rows: int = 256,
) -> Iterator[tuple[Int[np.ndarray, " K"], Float[Tensor, "K V"]]]:
    """Yield the logits of the next token after each continuation, for some of them at a time.

    A continuation that begins another one is not run by itself: its logits are read on the way.

    Args:
        policy, prompts, index, continuations, rows: as for `logits_after`.
    """
    distinct, same = distinct_prompts(prompts)
    of_key: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for i, (prompt, tokens) in enumerate(zip(same[np.asarray(index, int)].tolist(), continuations, strict=True)):
        of_key.setdefault((prompt, tuple(tokens)), []).append(i)
    longest: list[tuple[int, tuple[int, ...]]] = []
    asked: list[list[tuple[int, int]]] = []  # for each of the longest, which continuations are read after how many tokens
    for prompt, tokens in sorted(of_key, reverse=True):  # what begins another stands right before it
        last = longest[-1] if longest else (-1, ())
        if last[0] != prompt or last[1][: len(tokens)] != tokens:
            longest.append((prompt, tokens))
            asked.append([])
        asked[-1] += [(i, len(tokens)) for i in of_key[prompt, tokens]]
    leaves = np.array([prompt for prompt, _ in longest], int)
    for part, logits in logits_after(policy, distinct, leaves, [tokens for _, tokens in longest], rows=rows):
        read = [(i, row, step) for row, leaf in enumerate(part) for i, step in asked[leaf]]
        nodes, row, step = (np.array(column) for column in zip(*read, strict=True))
        yield nodes, logits[torch.as_tensor(row, device=logits.device), torch.as_tensor(step, device=logits.device)]


@torch.no_grad()
def logits_after(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    index: Int[np.ndarray, " X"],
    continuations: Sequence[Sequence[int]],
    *,
    rows: int = 256,
) -> Iterator[tuple[Int[np.ndarray, " K"], Float[Tensor, "K T V"]]]:
    """Yield the logits of the next token after a prompt and after each further token, for some continuations at a time.

    Args:
        policy: the model.
        prompts: token ids of prompts.
        index: prompt of each continuation.
        continuations: token ids that follow; there may be none.
        rows: largest number of rows in one forward pass.

    Yields:
        Indices of continuations, and their logits: entry t follows t tokens. What is beyond a continuation's own end follows
        padding and means nothing.
    """
    distinct, same = distinct_prompts(prompts)
    index = same[np.asarray(index, int)] if len(continuations) else np.zeros(0, int)
    width = np.array([len(tokens) for tokens in continuations], int)
    vocabulary = policy.model.get_input_embeddings().weight.shape[0]
    # Continuations of like lengths are padded least; the prompts of one length stand together.
    length = np.array([len(prompt) for prompt in distinct], int)
    for size in np.unique(length[index]):
        asked = np.flatnonzero(length[index] == size)
        for group in np.array_split(np.unique(index[asked]), -(-len(np.unique(index[asked])) // rows)):
            part = asked[np.isin(index[asked], group)]
            part = part[np.argsort(width[part], kind="stable")]
            most = max(1, min(rows, LOGITS // (vocabulary * (int(width[part].max()) + 1))))
            pieces = np.array_split(part, -(-len(part) // most))
            yield from _after_group(policy, [distinct[i] for i in group], np.searchsorted(group, index), continuations, pieces)


def _after_group(
    policy: LanguagePolicy,
    prompts: Sequence[Sequence[int]],
    place: Int[np.ndarray, " X"],
    continuations: Sequence[Sequence[int]],
    pieces: Sequence[Int[np.ndarray, " K"]],
) -> Iterator[tuple[Int[np.ndarray, " K"], Float[Tensor, "K T V"]]]:
    """Yield the logits after prompts of one length, read together once where the model's cache allows it."""
    device = next(policy.parameters()).device
    ids = torch.tensor(prompts, device=device)
    begin, past, after = ids.shape[1], None, None
    # Of one row that is asked once, the cache would be read a single time.
    if policy.calls.shares and any(len(continuations[i]) for piece in pieces for i in piece):
        after, output = policy.calls.output(policy.model, None, policy.embed(ids[None])[0], use_cache=True, logits_to_keep=1)
        past = getattr(output, str(policy.calls.cache))
        past = past if is_plain_cache(past) else None
    for piece in pieces:
        width = max(len(continuations[i]) for i in piece)
        rows = torch.as_tensor(place[piece], device=device)
        tokens = torch.zeros(len(piece), width, dtype=torch.long)
        for row, i in enumerate(piece):
            tokens[row, : len(continuations[i])] = torch.as_tensor(continuations[i], dtype=torch.long)
        tokens = tokens.to(device)
        if past is None or after is None:
            columns = torch.arange(begin - 1, begin + width, device=device)
            logits = policy.logits(None, columns, states=torch.cat([ids[rows], tokens], 1)[None])[0]
        elif width:
            read = policy.embed(tokens[None])[0]
            options = {str(policy.calls.cache): rows_of_cache(past, rows)}
            more, _ = policy.calls.output(policy.model, None, read, use_cache=True, **options)
            logits = torch.cat([after[rows], more], 1) / policy.temperature
        else:
            logits = after[rows] / policy.temperature
        yield piece, logits
