"""A lake as text: the prompt is the map, the answer is the path.

Two forms. `Compact` writes a token for each tile, one for the end of each row, one for each move and one for the end, and has
a tokenizer of its own for models that are built here. `Chat` asks in words, for pretrained models with a tokenizer of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from ift_gridworld.envs.maps import Rows, parse_map
from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.language.lakes import LETTERS, NO_MOVE, Lakes

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = dict[str, str]
Text = str | list[Message]

END, PAD = "<end>", "<pad>"
MOVES = ("L", "D", "R", "U")  # in the order of `mdp.LAKE_ACTIONS`
VOCABULARY = (PAD, END, *LETTERS, "/", ":", *MOVES)


class Form:
    """How a lake and a path are written, and read again."""

    name: str
    moves: tuple[str, ...]

    def prompt(self, rows: Rows) -> Text:
        raise NotImplementedError

    def completion(self, moves: Sequence[int]) -> Text:
        raise NotImplementedError

    def lake(self, prompt: Text) -> Rows:
        """The map that a prompt asks about."""
        raise NotImplementedError

    def path(self, completion: Text) -> list[int] | None:
        """The moves that an answer says; None if any of its words is none."""
        words = _plain(completion).split()
        if any(word not in self.moves for word in words):
            return None
        return [self.moves.index(word) for word in words]


class Compact(Form):
    """``S F / H G :`` is asked, `` R D`` answered: with a space before each move, since TRL sets nothing between the two."""

    name = "compact"
    moves = MOVES

    def prompt(self, rows: Rows) -> str:
        return " / ".join(" ".join(row) for row in rows) + " :"

    def completion(self, moves: Sequence[int]) -> str:
        return "".join(f" {self.moves[move]}" for move in moves if move != NO_MOVE)

    def lake(self, prompt: Text) -> Rows:
        text = _plain(prompt).replace(" ", "")
        if not text.endswith(":"):
            raise ValueError(f"prompt {_short(text)!r} is no lake; allowed: rows of S, F, H, G, / between them, : at the end")
        return parse_map(text[:-1].split("/"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """A token a word."""
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import WhitespaceSplit
        from transformers import PreTrainedTokenizerFast

        words = Tokenizer(WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token=PAD))
        words.pre_tokenizer = WhitespaceSplit()
        return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=END, pad_token=PAD)

    def prompt_ids(self, lakes: Lakes) -> Int[np.ndarray, "M P"]:
        """What the tokenizer makes of every lake's prompt, without writing it."""
        letters = np.array([VOCABULARY.index(letter) for letter in LETTERS])
        rows = np.pad(letters[lakes.tiles], ((0, 0), (0, 0), (0, 1)), constant_values=VOCABULARY.index("/"))
        ids = rows.reshape(len(lakes), -1)
        ids[:, -1] = VOCABULARY.index(":")
        return ids


class Chat(Form):
    """A question in words, answered in words."""

    name = "chat"
    moves = LAKE_ACTIONS
    asked = (
        "Here is a map of a frozen lake. You stand on S and want to reach G. F is ice that holds, H is a hole. "
        "Answer with the moves of a shortest way, each one of left, down, right, up, and nothing else.\n\n"
    )

    def prompt(self, rows: Rows) -> list[Message]:
        return [{"role": "user", "content": self.asked + "\n".join(" ".join(row) for row in rows)}]

    def completion(self, moves: Sequence[int]) -> list[Message]:
        words = " ".join(self.moves[move] for move in moves if move != NO_MOVE)
        return [{"role": "assistant", "content": words}]

    def lake(self, prompt: Text) -> Rows:
        _, found, rows = _plain(prompt).partition("\n\n")
        if not found:
            raise ValueError(
                f"prompt {_short(_plain(prompt))!r} is no lake; allowed: a question, an empty line, rows of S, F, H, G"
            )
        return parse_map([row.replace(" ", "") for row in rows.splitlines()])


COMPACT, CHAT = Compact(), Chat()


def _plain(text: Text) -> str:
    """What is said, without who says it."""
    return text if isinstance(text, str) else "".join(message["content"] for message in text)


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def record(form: Form, lakes: Lakes, index: int, **paths: Any) -> dict[str, Text]:
    """A row of a data set, as TRL reads it: the prompt and, by name, its answers (`completion`, or `chosen` and `rejected`)."""
    prompt = form.prompt(lakes.rows(index))
    return {"prompt": prompt} | {name: form.completion(moves[index].tolist()) for name, moves in paths.items()}
