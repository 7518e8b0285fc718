"""Sampling answers from a language model, with numbers drawn on one device whichever device the model is on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.language.policy import LanguagePolicy, eval_mode
from ift_gridworld.language.prompt_cache import rows_of_cache

__all__ = ["sample", "sample_tokens"]

READ_EVERY = 16  # tokens after which the host asks a device whether all answers have ended, which it waits for


@torch.no_grad()
def sample(
    policy: LanguagePolicy,
    prompts: Int[Tensor, "B P"],
    *,
    end: int,
    limit: int,
    generator: torch.Generator | None = None,
    choose: Callable[[Float[Tensor, "B V"]], Int[Tensor, " B"]] | None = None,
    pad: int = 0,
    copies: Int[Tensor, " C"] | None = None,
) -> Int[Tensor, "B T"]:
    """Return one answer to each prompt: sampled, or the likeliest token at each step if there is no generator.

    Args:
        policy: the model.
        prompts: token ids, all prompts of one length.
        end: id of the end token.
        limit: largest number of tokens of an answer.
        generator: generator of the draws.
        choose: chooses the tokens instead, given the logits of every answer.
        pad: token that follows the end token.
        copies: prompt of each answer, where there are several answers to one prompt; it is then read once.

    Returns:
        Token ids with the end token, if it was sampled, then `pad`; T is at most `limit`.
    """
    # A custom choice may have effects of its own, so that it is asked for nothing that is not wanted.
    every = 1 if choose is not None or prompts.device.type == "cpu" else READ_EVERY
    if choose is None:
        choose = (lambda logits: logits.argmax(-1)) if generator is None else (lambda logits: sample_tokens(logits, generator))
    alive = torch.ones(len(prompts if copies is None else copies), dtype=torch.bool, device=prompts.device)
    rows: Tensor | None = None  # answers that the past holds; None for all
    tokens: list[Tensor] = []
    unread: list[tuple[Tensor, Tensor | None]] = []  # whether any answer goes on, and the generator's state then
    with eval_mode(policy):
        logits, past = _read_prompts(policy, prompts, copies)
        for count in range(1, limit + 1):
            if rows is not None:  # of answers that have ended nobody asks
                logits = logits.new_zeros(len(alive), logits.shape[-1]).index_copy(0, rows, logits)
            token = choose(logits.float() / policy.temperature)
            tokens.append(torch.where(alive, token, pad))
            alive = alive & (token != end)
            unread.append((alive.any(), None if generator is None or every == 1 else generator.get_state()))
            if len(unread) == every or count == limit:
                goes_on = torch.stack([any_alive for any_alive, _ in unread]).tolist()  # the host waits for the device
                if not all(goes_on):
                    state = unread[goes_on.index(False)][1]
                    if generator is not None and state is not None:
                        generator.set_state(state)  # as if nothing had been drawn after the last end token
                    del tokens[count - len(goes_on) + goes_on.index(False) + 1 :]
                    break
                unread.clear()
            if count == limit:
                break
            if prompts.device.type == "cpu":
                rows, past = _rows_that_go_on(alive, rows, past)
            step = token[:, None] if rows is None else token[rows, None]
            logits, past = policy.calls.next_logits(policy.model, step, past)
    return torch.stack(tokens, -1)


def _read_prompts(policy: LanguagePolicy, prompts: Int[Tensor, "B P"], copies: Int[Tensor, " C"] | None) -> tuple[Tensor, Any]:
    """Return the logits after the prompt of each answer, and the past; each prompt is read once where rows can be copied."""
    logits, past = policy.calls.next_logits(policy.model, prompts, None)
    if copies is None:
        return logits, past
    copied = rows_of_cache(past, copies)
    return policy.calls.next_logits(policy.model, prompts[copies], None) if copied is None else (logits[copies], copied)


def _rows_that_go_on(alive: Bool[Tensor, " B"], rows: Int[Tensor, " K"] | None, past: Any) -> tuple[Tensor | None, Any]:
    """Return the rows that a past holds, and the past: without those of answers that have ended, once these are half of it."""
    held = torch.arange(len(alive)) if rows is None else rows
    going = alive[held]
    if 2 * int(going.sum()) > len(held):
        return rows, past
    fewer = rows_of_cache(past, going.nonzero()[:, 0])
    return (rows, past) if fewer is None else (held[going], fewer)


def sample_tokens(logits: Float[Tensor, "*batch V"], generator: torch.Generator) -> Int[Tensor, "*batch"]:
    """Sample a token from each row of logits, from one uniform number a row.

    The numbers are drawn on the generator's device, so that they are the same wherever the logits are.
    """
    bound = torch.softmax(logits.double(), -1).cumsum(-1)
    shape = (*logits.shape[:-1], 1)
    draw = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device).to(logits.device)
    return (draw * bound[..., -1:] >= bound).sum(-1).clamp(max=logits.shape[-1] - 1)
