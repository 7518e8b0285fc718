"""Walks of a language model on lakes: sampled, scored step by step, and on slippery ice."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, NO_MOVE, Lakes
from ift_gridworld.language.move_tokenizer import END_ACTION, MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.prompt_cache import distinct_prompts, logits_after
from ift_gridworld.language.sampling import sample

__all__ = ["repeat_lakes", "row_batches", "sample_paths", "slippery_success", "step_probabilities"]

ROWS = 64  # walks in one forward pass


@lru_cache(maxsize=4)
def repeat_lakes(lakes: Lakes, times: int) -> Lakes:
    """Return all lakes `times` times over, lake i of M at i, i + M, …"""
    return lakes[np.tile(np.arange(len(lakes)), times)]


def row_batches(count: int) -> list[Int[np.ndarray, " K"]]:
    """Return the indices 0 to count - 1 in batches of at most `ROWS`."""
    return np.array_split(np.arange(count), -(-count // ROWS))


def sample_paths(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, limit: int, generator: torch.Generator | None = None
) -> tuple[Int[np.ndarray, "M T"], Bool[np.ndarray, " M"]]:
    """Let the model answer once on each lake.

    Args:
        policy: the model.
        tokenizer: the model's moves as tokens.
        lakes: the lakes.
        limit: largest number of tokens of an answer, T.
        generator: generator of the draws; without one each token is the likeliest.

    Returns:
        The moves (`MoveTokenizer.decode`), and whether each answer was ended.
    """
    moves, ended = np.full((len(lakes), limit), NO_MOVE, np.int8), np.zeros(len(lakes), bool)
    for rows, prompts, copies in _prompts_by_length(policy, tokenizer, lakes):
        tokens = sample(
            policy, prompts, end=tokenizer.end, limit=limit, generator=generator, pad=tokenizer.end, copies=copies
        ).cpu().numpy()  # fmt: skip
        moves[rows, : tokens.shape[1]], ended[rows] = tokenizer.decode(tokens)
    return moves, ended


def _prompts_by_length(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes
) -> Iterator[tuple[Int[np.ndarray, " K"], Int[Tensor, "C P"], Int[Tensor, " K"] | None]]:
    """Yield the indices of lakes whose prompts have one length, these prompts, and which of them is each lake's.

    The last is None if each lake has a prompt of its own, in order.
    """
    device, prompts = next(policy.parameters()).device, tokenizer.prompts(lakes)
    lengths = np.array([len(prompt) for prompt in prompts])
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        distinct, index = distinct_prompts([prompts[i] for i in rows])
        copies = None if len(distinct) == len(rows) else torch.as_tensor(index, device=device)
        yield rows, torch.tensor(distinct, device=device), copies


@torch.no_grad()
def step_probabilities(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, moves: Int[np.ndarray, "M T"]
) -> tuple[Float[np.ndarray, "M T 5"], Bool[np.ndarray, "M T"]]:
    """Return the model's probabilities of the four moves and the end at each step of walks.

    Args:
        policy: the model.
        tokenizer: the model's moves as tokens.
        lakes: the lakes.
        moves: one walk on each, negative where a word is no move.

    Returns:
        The probabilities, and which steps exist: those up to the first word that is no move, that word's own step included.
        The probabilities of other steps are 0.
    """
    exists = np.concatenate([np.ones((len(moves), 1), bool), (moves[:, :-1] >= 0).cumprod(1).astype(bool)], 1)
    count = exists.sum(1)
    words = [tokenizer.encode(walk[: steps - 1].tolist()) for walk, steps in zip(moves, count, strict=True)]
    first, later = tokenizer.action_tokens
    actions = torch.tensor([first, *[later] * (moves.shape[1] - 1)], device=next(policy.parameters()).device)
    result = np.zeros((*moves.shape, END_ACTION + 1))
    for part, logits in logits_after(policy, tokenizer.prompts(lakes), np.arange(len(lakes)), words, rows=ROWS):
        logits = logits.double()
        tokens = actions[: logits.shape[1]].expand(len(logits), -1, -1)
        chance = (logits.gather(-1, tokens) - logits.logsumexp(-1, keepdim=True)).exp().cpu().numpy()
        result[part, : chance.shape[1]] = np.where(exists[part, : chance.shape[1], None], chance, 0.0)
    return result, exists


@torch.no_grad()
def slippery_success(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lakes: Lakes, limit: int, generator: torch.Generator, *, rate: float = 0.1
) -> Float[np.ndarray, " M"]:
    """Walk once on each lake while moves slip; the move that really happened is put in the prefix.

    Moves are sampled by their shares of the model's probability; the end is never sampled, since reaching the goal or a hole
    ends the walk.

    Args:
        policy: the model.
        tokenizer: the model's moves as tokens.
        lakes: the lakes.
        limit: time limit in steps.
        generator: generator of the draws.
        rate: probability that a move slips to one side, half to each.

    Returns:
        1 where the walk reached the goal, else 0.
    """
    success = np.zeros(len(lakes))
    for rows, prompts, copies in _prompts_by_length(policy, tokenizer, lakes):
        walks = _SlipperyWalks(lakes[rows], tokenizer, generator, rate)
        sample(policy, prompts, end=tokenizer.end, limit=limit, choose=walks.move, copies=copies)
        success[rows] = walks.arrived
    return success


class _SlipperyWalks:
    """Positions of walks that slip, moved by the model's logits."""

    def __init__(self, lakes: Lakes, tokenizer: MoveTokenizer, generator: torch.Generator, rate: float) -> None:
        self.lakes, self.tokenizer, self.generator, self.rate = lakes, tokenizer, generator, rate
        self.position, self.step = lakes.start.copy(), 0

    @property
    def letters(self) -> Int[np.ndarray, " M"]:
        return self.lakes.flat[np.arange(len(self.lakes)), self.position]

    @property
    def arrived(self) -> Bool[np.ndarray, " M"]:
        return self.letters == GOAL_CODE

    def move(self, logits: Float[Tensor, "M V"]) -> Int[Tensor, " M"]:
        """Move every walk one step; return the tokens of the moves that happened, the end token where a walk is over."""
        words = torch.tensor(self.tokenizer.action_tokens[min(self.step, 1)], device=logits.device)
        self.step += 1
        bound = torch.softmax(logits[:, words[:END_ACTION]].double(), -1).cumsum(-1).cpu().numpy()
        draw = torch.rand(len(logits), 3, generator=self.generator, dtype=torch.float64).numpy()
        move = np.minimum((draw[:, :1] * bound[:, -1:] >= bound).sum(1), END_ACTION - 1)
        turn = np.where(draw[:, 1] < self.rate, np.where(draw[:, 2] < 0.5, 1, 3), 0)
        move = (move + turn) % END_ACTION  # left, down, right, up: neighbours in this order are perpendicular
        over = self.arrived | (self.letters == HOLE_CODE)
        self.position = np.where(over, self.position, self.lakes.next_state[self.position, move])
        return words[torch.as_tensor(np.where(over, END_ACTION, move), device=words.device)]
