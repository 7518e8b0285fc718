"""Questions about lakes to any causal model: in chat messages, in plain text with examples, or in the lake's own vocabulary.

`MoveTokenizer` serves training, where a move is one token. Here a move may be several, since models of any tokenizer are asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ift_gridworld.envs.maps import Rows
from ift_gridworld.escape import one_line
from ift_gridworld.language.data import answer_ids, prompt_ids
from ift_gridworld.language.text import COMPACT, PLAIN, Form, Text, text_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Example", "Questions", "has_chat_template"]

Example = tuple[Rows, list[int]]  # a lake, and the moves of a shortest path


@dataclass(frozen=True, eq=False)
class Questions:
    """A way of asking a model about lakes and of reading its answers.

    Attributes:
        form: how lakes and paths are written.
        tokenizer: the model's own tokenizer, with an end token.
        examples: lakes with answers that come before each question (few-shot).
        more_ends: ids of further tokens that end an answer, as a model's configuration may name.

    Raises:
        ValueError: if the form takes no examples, or the tokenizer has no chat template.
    """

    form: Form
    tokenizer: PreTrainedTokenizerBase
    examples: tuple[Example, ...] = ()
    more_ends: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if self.examples and self.form is COMPACT:
            raise ValueError(f"examples is {len(self.examples)}, for the lake's own vocabulary; allowed: 0, it needs none")

    def prompt(self, rows: Rows) -> Text:
        """Write the question about one lake, after the examples.

        >>> print(text_of(Questions(PLAIN, None, ((("SG",), [2]),)).prompt(("S", "G"))).partition("\\n\\n")[2])
        S G
        Moves: right
        <BLANKLINE>
        S
        G
        Moves:
        """
        if self.form is COMPACT:
            return self.form.prompt(rows)
        if self.form is PLAIN:
            asked = [*(PLAIN.prompt(example) + PLAIN.completion(moves) for example, moves in self.examples), PLAIN.prompt(rows)]
            return PLAIN.question + "\n\n".join(each.removeprefix(PLAIN.question) for each in asked)
        shown = [text for example, moves in self.examples for text in (self.form.prompt(example), self.form.completion(moves))]
        return [message for text in [*shown, self.form.prompt(rows)] if not isinstance(text, str) for message in text]

    def prompt_ids(self, rows: Rows) -> list[int]:
        """Return the token ids of a question, up to where the answer begins; raise a ValueError if the template refuses it."""
        return self._tokens(self.prompt(rows))

    def _tokens(self, prompt: Text) -> list[int]:
        try:
            return prompt_ids(prompt, self.tokenizer)
        except Exception as error:  # a model's chat template refuses what it likes, in its own words
            raise ValueError(f"the chat template refuses a question ({one_line(error)}); allowed: --plain") from error

    @property
    def end(self) -> int:
        """Id of the end token."""
        return int(self.tokenizer.eos_token_id)

    @cached_property
    def ends(self) -> frozenset[int]:
        """Ids of all tokens that end an answer: in plain text also those that begin a new line."""
        after = frozenset(self._after[:1])
        lines: frozenset[int] = frozenset()
        if self.form is PLAIN:
            texts = self.tokenizer.batch_decode([[token] for token in range(len(self.tokenizer))])
            lines = frozenset(token for token, text in enumerate(texts) if text.lstrip(" ").startswith("\n"))
        return frozenset({self.end}) | self.more_ends | after | lines

    @cached_property
    def words(self) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids of each move, left, down, right, up: as the first word of an answer, and as a later one.

        Raises:
            ValueError: if the tokenizer does not write answers word by word, or one word begins as another or as the end.
        """
        count = len(self._after)
        first = [self._written([move])[: -count or None] for move in range(len(self.form.moves))]
        begin = len(first[0])
        later = [self._written([0, move])[begin : -count or None] for move in range(len(self.form.moves))]
        for move, one in enumerate(first):
            for following, other in enumerate(later):
                if self._written([move, following]) != [*one, *other, *self._after]:
                    text = text_of(self.form.completion([move, following])).strip()
                    raise ValueError(f"the tokenizer does not write {text!r} word by word; allowed: one that does")
        for ids in (first, later):
            for one in ids:
                clash = (
                    any(other is not one and other[: len(one)] == one for other in ids) or one[:1] == [] or one[0] in self.ends
                )
                if clash:
                    raise ValueError(
                        f"the tokenizer writes {self._name(one)} as another move or the end begins; allowed: others"
                    )
        return first, later

    def _name(self, ids: Sequence[int]) -> str:
        return ", ".join(map(repr, self.tokenizer.convert_ids_to_tokens(list(ids)))) or "a move as nothing"

    @cached_property
    def _after(self) -> list[int]:
        """Token ids that a chat template writes after an answer."""
        return [] if isinstance(self.form.prompt(("SG",)), str) else self._written([])

    def _written(self, moves: Sequence[int]) -> list[int]:
        """Return the token ids of an answer, with what a chat template writes after it."""
        prompt, completion = self.form.prompt(("SG",)), self.form.completion(moves)
        begin = self._tokens(prompt)
        if isinstance(prompt, str) or isinstance(completion, str):
            return answer_ids(prompt, completion, self.tokenizer, begin)[:-1]
        whole = list(self.tokenizer.apply_chat_template([*prompt, *completion], tokenize=True, return_dict=False))
        if whole[: len(begin)] != begin:
            raise ValueError("the chat template writes a prompt otherwise when an answer follows; allowed: --plain")
        return whole[len(begin) :]


def has_chat_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Return whether a tokenizer can write messages."""
    return bool(getattr(tokenizer, "chat_template", None))
