"""A lake as text: the prompt is the map, the answer is the path.

Three forms exist. `Compact` writes a token for each tile, one for the end of each row, one for each move and one for the end;
it has a tokenizer of its own, for models that are built here. `Chat` asks in words, for pretrained models with their own
tokenizer. `Plain` asks the same without messages.
"""

from __future__ import annotations

import re
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

__all__ = [
    "CHAT",
    "COMPACT",
    "END",
    "FORMS",
    "MOVES",
    "PAD",
    "PLAIN",
    "VOCABULARY",
    "Chat",
    "Compact",
    "Form",
    "Message",
    "Plain",
    "Text",
    "dataset_row",
    "form_of",
    "plain_completion",
    "plain_prompt",
    "read_map_of",
    "text_of",
]

Message = dict[str, str]
Text = str | list[Message]

END, PAD = "<end>", "<pad>"
MOVES = ("L", "D", "R", "U")  # in the order of `LAKE_ACTIONS`
VOCABULARY = (PAD, END, *LETTERS, "/", ":", *MOVES)


class Form:
    """How a lake and a path are written as text and read again.

    Attributes:
        name: name of the form.
        moves: words for left, down, right and up.
    """

    name: str
    moves: tuple[str, ...]

    def prompt(self, rows: Rows) -> Text:
        """Write a map as a prompt."""
        raise NotImplementedError

    def completion(self, moves: Sequence[int]) -> Text:
        """Write moves as an answer; `NO_MOVE` is skipped."""
        raise NotImplementedError

    def parse_prompt(self, prompt: Text) -> Rows:
        """Read the map from a prompt.

        Raises:
            ValueError: if the prompt has no map in this form.
        """
        raise NotImplementedError

    def parse_completion(self, completion: Text) -> list[int] | None:
        """Read the moves from an answer; None if any of its words is no move."""
        words = text_of(completion).split()
        if any(word not in self.moves for word in words):
            return None
        return [self.moves.index(word) for word in words]


class Compact(Form):
    """``S F / H G :`` asks, `` R D`` answers, with a space before each move because TRL puts nothing between the two.

    >>> COMPACT.prompt(("SF", "HG")), COMPACT.completion([2, 1])
    ('S F / H G :', ' R D')
    >>> COMPACT.parse_prompt("S F / H G :"), COMPACT.parse_completion(" R D")
    (('SF', 'HG'), [2, 1])
    """

    name = "compact"
    moves = MOVES

    def prompt(self, rows: Rows) -> str:
        return " / ".join(" ".join(row) for row in rows) + " :"

    def completion(self, moves: Sequence[int]) -> str:
        return "".join(f" {self.moves[move]}" for move in moves if move != NO_MOVE)

    def parse_prompt(self, prompt: Text) -> Rows:
        text = text_of(prompt).replace(" ", "")
        if not text.endswith(":"):
            raise ValueError(
                f"prompt {_shortened(text)!r} is no lake; allowed: rows of S, F, H, G, / between them, : at the end"
            )
        return parse_map(text[:-1].split("/"))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """Tokenizer of `VOCABULARY`, one token a word."""
        from tokenizers import Tokenizer
        from tokenizers.models import WordLevel
        from tokenizers.pre_tokenizers import WhitespaceSplit
        from transformers import PreTrainedTokenizerFast

        words = Tokenizer(WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token=PAD))
        words.pre_tokenizer = WhitespaceSplit()
        return PreTrainedTokenizerFast(tokenizer_object=words, eos_token=END, pad_token=PAD)

    def prompt_ids(self, lakes: Lakes) -> Int[np.ndarray, "M P"]:
        """Return the token ids of every lake's prompt, without writing the text.

        >>> [VOCABULARY[i] for i in COMPACT.prompt_ids(Lakes.of([("SF", "HG")]))[0]]
        ['S', 'F', '/', 'H', 'G', ':']
        """
        letters = np.array([VOCABULARY.index(letter) for letter in LETTERS])
        rows = np.pad(letters[lakes.tiles], ((0, 0), (0, 0), (0, 1)), constant_values=VOCABULARY.index("/"))
        ids = rows.reshape(len(lakes), -1)
        ids[:, -1] = VOCABULARY.index(":")
        return ids


class Chat(Form):
    """A question in words, answered in words.

    >>> text_of(CHAT.prompt(("SF", "HG"))).partition("\\n\\n")[2]
    'S F\\nH G'
    >>> CHAT.completion([2, 1])
    [{'role': 'assistant', 'content': 'right down'}]
    """

    name = "chat"
    moves = LAKE_ACTIONS
    question = (
        "Here is a map of a frozen lake. You stand on S and want to reach G. F is ice that holds, H is a hole. "
        "Answer with the moves of a shortest way, each one of left, down, right, up, and nothing else.\n\n"
    )

    def prompt(self, rows: Rows) -> Text:
        return [{"role": "user", "content": self.question + "\n".join(" ".join(row) for row in rows)}]

    def completion(self, moves: Sequence[int]) -> Text:
        words = " ".join(self.moves[move] for move in moves if move != NO_MOVE)
        return [{"role": "assistant", "content": words}]

    def parse_prompt(self, prompt: Text) -> Rows:
        _, blank, rows = text_of(prompt).partition("\n\n")
        if not blank:
            raise ValueError(
                f"prompt {_shortened(text_of(prompt))!r} is no lake; allowed: a question, an empty line, rows of S, F, H, G"
            )
        return parse_map(rows.splitlines())


class Plain(Chat):
    """The same question as plain text, for models without a chat template; the answer ends with its line.

    >>> PLAIN.prompt(("SF", "HG")).partition("\\n\\n")[2], PLAIN.completion([2, 1])
    ('S F\\nH G\\nMoves:', ' right down')
    >>> PLAIN.parse_prompt(PLAIN.prompt(("SF", "HG")))
    ('SF', 'HG')
    """

    name = "plain"
    answer = "\nMoves:"

    def prompt(self, rows: Rows) -> str:
        return text_of(super().prompt(rows)) + self.answer

    def completion(self, moves: Sequence[int]) -> str:
        return f" {text_of(super().completion(moves))}"

    def parse_prompt(self, prompt: Text) -> Rows:
        return super().parse_prompt(text_of(prompt).removesuffix(self.answer))


COMPACT, CHAT, PLAIN = Compact(), Chat(), Plain()
FORMS: dict[str, Form] = {form.name: form for form in (COMPACT, CHAT, PLAIN)}


# Rows of a map, letters with or without spaces between them; a whole word of such letters is a map of one row.
_MAP = re.compile(r"(?:^[SFHG](?: ?[SFHG])*[ \t]*$\n?)+", re.MULTILINE)


def form_of(prompt: Text) -> Form:
    """Return the form in which a prompt wants its answer: compact if it is written so, else in words.

    >>> form_of("S F / H G :").name, form_of("Which way?").name
    ('compact', 'chat')
    """
    is_compact = isinstance(prompt, str) and prompt.rstrip().endswith(":") and set(prompt.split()) <= {*LETTERS, "/", ":"}
    return COMPACT if is_compact else CHAT


def read_map_of(prompt: Text) -> Rows:
    """Read the map that a prompt asks about.

    A conversation is read from its last message of the user, a text from its end, so that examples before it do not count.

    >>> read_map_of("S F / H G :"), read_map_of("S G\\nMoves: right\\n\\nS F\\nH G\\nMoves:")
    (('SF', 'HG'), ('SF', 'HG'))

    Raises:
        ValueError: if the prompt has no map.
    """
    if form_of(prompt) is COMPACT:
        return COMPACT.parse_prompt(prompt)
    if not isinstance(prompt, str):
        asked = [message["content"] for message in prompt if message.get("role") == "user"]
        prompt = asked[-1] if asked else ""
    maps = _MAP.findall(prompt)
    if not maps:
        raise ValueError(
            f"prompt {_shortened(' '.join(prompt.split()))!r} has no map; allowed: rows of S, F, H, G, a line each"
        )
    return parse_map(maps[-1].splitlines())


def plain_prompt(form: Form, rows: Rows) -> str:
    """Return the text of a prompt, of all its messages, in one line.

    >>> plain_prompt(COMPACT, ("SF", "HG"))
    'S F / H G :'
    """
    return " ".join(text_of(form.prompt(rows)).split())


def plain_completion(form: Form, moves: Sequence[int]) -> str:
    """Return the text of an answer in one line; `NO_MOVE` is skipped.

    >>> plain_completion(CHAT, [2, 1, NO_MOVE])
    'right down'
    """
    return text_of(form.completion(moves)).strip()


def text_of(text: Text) -> str:
    """Return the text of all messages, without their roles."""
    return text if isinstance(text, str) else "".join(message["content"] for message in text)


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"


def dataset_row(form: Form, lakes: Lakes, index: int, **paths: Any) -> dict[str, Text]:
    """Return one row of a data set, as TRL reads it: a prompt and its answers.

    >>> dataset_row(COMPACT, Lakes.of([("SF", "HG")]), 0, completion=np.array([[2, 1]]))
    {'prompt': 'S F / H G :', 'completion': ' R D'}

    Args:
        form: how the lake is written.
        lakes: the lakes.
        index: which of them.
        paths: by the name of the answer (`completion`, or `chosen` and `rejected`), the moves on every lake, [M, T].
    """
    prompt = form.prompt(lakes.rows(index))
    return {"prompt": prompt} | {name: form.completion(moves[index].tolist()) for name, moves in paths.items()}
