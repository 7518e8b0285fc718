"""Sampling answers from a language model, with numbers drawn on one device whichever device the model is on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ift_gridworld.language.policy import LanguagePolicy, eval_mode

__all__ = ["sample", "sample_tokens"]


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

    Returns:
        Token ids with the end token, if it was sampled, then `pad`; T is at most `limit`.
    """
    if choose is None:
        choose = (lambda logits: logits.argmax(-1)) if generator is None else (lambda logits: sample_tokens(logits, generator))
    past, step = None, prompts
    alive = torch.ones(len(prompts), dtype=torch.bool, device=prompts.device)
    tokens: list[Tensor] = []
    with eval_mode(policy):
        for _ in range(limit):
            logits, past = policy.calls.next_logits(policy.model, step, past)
            token = choose(logits.float() / policy.temperature)
            tokens.append(torch.where(alive, token, pad))
            alive = alive & (token != end)
            if not alive.any():
                break
            step = token[:, None]
    return torch.stack(tokens, -1)


def sample_tokens(logits: Float[Tensor, "*batch V"], generator: torch.Generator) -> Int[Tensor, "*batch"]:
    """Sample a token from each row of logits, from one uniform number a row.

    The numbers are drawn on the generator's device, so that they are the same wherever the logits are.
    """
    bound = torch.softmax(logits.double(), -1).cumsum(-1)
    shape = (*logits.shape[:-1], 1)
    draw = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device).to(logits.device)
    return (draw * bound[..., -1:] >= bound).sum(-1).clamp(max=logits.shape[-1] - 1)
