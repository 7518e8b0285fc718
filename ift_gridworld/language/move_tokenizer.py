"""Moves and the end of an answer as tokens of a model, whichever words and tokenizer it has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from ift_gridworld.language.data import answer_ids, prompt_ids
from ift_gridworld.language.lakes import NO_MOVE, Lakes
from ift_gridworld.language.text import Form

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["END_ACTION", "INVALID", "MoveTokenizer"]

INVALID = -2  # stands for a token that is no move
END_ACTION = 4  # index of the end, after the four moves


@dataclass(frozen=True, eq=False)
class MoveTokenizer:
    """Translation between moves on a lake and token ids of a model.

    Attributes:
        form: how lakes and paths are written as text.
        model_tokenizer: the model's own tokenizer.
    """

    form: Form
    model_tokenizer: PreTrainedTokenizerBase

    @property
    def end(self) -> int:
        """Id of the end token."""
        return int(self.model_tokenizer.eos_token_id)

    def prompt(self, lakes: Lakes, index: int) -> list[int]:
        """Return the token ids of one lake's prompt, up to where the answer begins."""
        return prompt_ids(self.form.prompt(lakes.rows(index)), self.model_tokenizer)

    def prompts(self, lakes: Lakes) -> list[list[int]]:
        """Return the prompts of all lakes; cached, since every metric needs them again."""
        return _prompts(self, lakes)

    @cached_property
    def action_tokens(self) -> tuple[list[int], list[int]]:
        """Token ids of the four moves and the end: as the first word of an answer, and as a later one.

        They are read from answers as the model is trained on them.

        Raises:
            ValueError: if an answer has tokens beside one for each move and the end; then a move is no action of the model.
        """
        prompt, answers = self.form.prompt(("SG",)), []
        prompt_tokens = prompt_ids(prompt, self.model_tokenizer)
        for move, word in enumerate(self.form.moves):
            ids = answer_ids(prompt, self.form.completion([move, move]), self.model_tokenizer, prompt_tokens)
            if len(ids) != 3:
                tokens = ", ".join(map(repr, self.model_tokenizer.convert_ids_to_tokens(ids)))
                raise ValueError(f"the tokenizer writes {f'{word} {word}'!r} as {tokens}; allowed: a token a move, and the end")
            answers.append(ids)
        first, later, _ = (list(ids) for ids in zip(*answers, strict=True))
        if min(len({*ids, self.end}) for ids in (first, later)) <= END_ACTION:
            raise ValueError(f"the tokenizer has one token for several of {', '.join(self.form.moves)}; allowed: one for each")
        return [*first, self.end], [*later, self.end]

    def encode(self, moves: Sequence[int], *, ended: bool = False) -> list[int]:
        """Return the token ids of an answer with these moves, with the end token if it is `ended`."""
        first, later = self.action_tokens
        tokens = [(first if i == 0 else later)[move] for i, move in enumerate(moves)]
        return [*tokens, self.end] if ended else tokens

    def decode(self, tokens: Int[np.ndarray, "B T"]) -> tuple[Int[np.ndarray, "B T"], Bool[np.ndarray, " B"]]:
        """Read answers back as moves.

        Returns:
            The moves, `NO_MOVE` from the end token on and `INVALID` where a token is no move; and whether each was ended.
        """
        first, later = self.action_tokens
        moves = np.full(tokens.shape, INVALID, np.int8)
        for action in range(END_ACTION):
            moves[:, 1:][tokens[:, 1:] == later[action]] = action
            moves[:, 0][tokens[:, 0] == first[action]] = action
        over = (tokens == self.end).cumsum(1) > 0
        moves[over] = NO_MOVE
        return moves, over.any(1)


@lru_cache(maxsize=8)
def _prompts(tokenizer: MoveTokenizer, lakes: Lakes) -> list[list[int]]:
    return [tokenizer.prompt(lakes, i) for i in range(len(lakes))]
