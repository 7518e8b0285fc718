"""Prompts and answers as token ids, and the one place where a token and the position that predicts it are brought together.

A data set is rows of ``prompt`` and ``completion``, or ``prompt``, ``chosen`` and ``rejected``, each plain text or a list of
messages, or rows of ``messages``, whose assistant turns are the answers. TRL reads the same rows. A file holds one JSON object
a line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Int

from ift_gridworld.data import Batch
from ift_gridworld.escape import one_line
from ift_gridworld.language.columns import remember_columns
from ift_gridworld.language.text import Message, Text
from ift_gridworld.reading import LARGE, parse_json, read_text
from ift_gridworld.storage import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "ANSWER_FIELDS", "Completions", "answer_ids", "conversation_ids", "prompt_ids", "read_rows", "tokenize_rows", "write_rows",
]  # fmt: skip

ANSWER_FIELDS = {
    "demonstrations": ("completion",),
    "pairs": ("chosen", "rejected"),
}  # fields beside the prompt, by kind of data


@dataclass(frozen=True, eq=False)
class Completions:
    """M prompts with one completion each, padded on the right, where a causal model does not look.

    Attributes:
        ids: token ids of prompt and completion, padded.
        prompt: number of tokens of each prompt.
        length: number of tokens of each prompt and completion together.
        turns: which tokens are answers, where a row holds several turns; None where all behind the prompt are. The prompt then
            ends where the first answer begins.
    """

    ids: Int[np.ndarray, "M L"]
    prompt: Int[np.ndarray, " M"]
    length: Int[np.ndarray, " M"]
    turns: Bool[np.ndarray, "M L"] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: slice | Int[np.ndarray, " K"] | Bool[np.ndarray, " M"]) -> Completions:
        turns = None if self.turns is None else self.turns[index]
        return Completions(self.ids[index], self.prompt[index], self.length[index], turns)

    @classmethod
    def of(
        cls,
        prompts: Sequence[Sequence[int]],
        answers: Sequence[Sequence[int]],
        pad: int = 0,
        turns: Sequence[Sequence[bool]] | None = None,
    ) -> Completions:
        """Join the token ids of prompts and answers and pad them with the token `pad`.

        Args:
            prompts, answers: token ids of each row.
            pad: what rows are padded with.
            turns: which tokens of what follows each prompt are answers (default: all).
        """
        rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        length = np.array([len(row) for row in rows], int)
        ids = np.full((len(rows), length.max(initial=1)), pad)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        prompt = np.array([len(prompt) for prompt in prompts], int)
        if turns is None or all(map(all, turns)):
            return cls(ids, prompt, length)
        answered = np.zeros(ids.shape, bool)
        for row, begin, end, each in zip(answered, prompt, length, turns, strict=True):
            row[begin:end] = each
        return cls(ids, prompt, length, answered)

    @property
    def counted(self) -> Int[np.ndarray, " M"]:
        """Number of tokens of each row's answers."""
        return self.length - self.prompt if self.turns is None else self.turns.sum(1)

    def answers(self, pad: int) -> Int[np.ndarray, "M T"]:
        """Return the token ids of the completions alone, padded with the token `pad`."""
        width = int((self.length - self.prompt).max(initial=0))
        column = self.prompt[:, None] + np.arange(width)
        tokens = np.take_along_axis(self.ids, np.minimum(column, self.ids.shape[1] - 1), 1)
        return np.where(column < self.length[:, None], tokens, pad)

    def batch(self, index: Int[np.ndarray, " K"] | slice = slice(None), device: torch.device | str = "cpu") -> Batch:
        """Return some rows as steps, [1, K, T]: state t is the prefix that ends with token t, its action is token t + 1.

        The mask counts only steps whose action belongs to the completion, or to one of its turns. Tokens and predictions are
        shifted here, and in `collated` for batches that others collate; nowhere else.
        """
        ids, prompt, length = self.ids[index], self.prompt[index, None], self.length[index, None]
        ids = ids[:, : int(length.max())]
        step = np.arange(ids.shape[1] - 1)
        mask = (step >= prompt - 1) & (step < length - 1)
        if self.turns is not None:
            mask &= self.turns[index, 1 : ids.shape[1]]
        tensors = (torch.as_tensor(np.ascontiguousarray(x))[None] for x in (ids[:, :-1], ids[:, 1:], mask))
        pinned = (x.pin_memory() if torch.device(device).type == "cuda" else x for x in tensors)  # else a copy would wait
        batch = Batch(*(x.to(device, non_blocking=True) for x in pinned))
        remember_columns(batch.mask, mask)
        return batch


def tokenize_rows(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    answer: str = "completion",
    *,
    limit: int | None = None,
) -> tuple[Completions, int]:
    """Tokenize the prompts of rows with one of their answers.

    A plain answer follows its prompt and is ended by the tokenizer's end token; a conversation is written as its template
    says. Of `messages` every assistant turn is an answer, and what follows the last one is left out.

    Args:
        rows: rows with a prompt and one or more answers, or with messages.
        tokenizer: the model's tokenizer, with an end token.
        answer: field of the answer: completion, chosen or rejected.
        limit: largest number of tokens of a row. A row is left out if any of its answers is longer, so that chosen and
            rejected answers stay side by side.

    Returns:
        The token ids, and the number of rows that were left out.

    Raises:
        ValueError: if the tokenizer has no end token, a prompt is empty, or a chat template refuses a row or rewrites its
            prompt; the message names the row.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end token; allowed: one with eos_token, or the model would never stop")
    prompts, answers, turns, too_long = [], [], [], 0
    for number, row in enumerate(rows, 1):
        names = [n for n in ("completion", "chosen", "rejected") if n == answer or (limit is not None and n in row)]
        try:
            if "prompt" in row:
                prompt = prompt_ids(row["prompt"], tokenizer)
                tokens = {name: answer_ids(row["prompt"], row[name], tokenizer, prompt) for name in names}
                counts = [True] * len(tokens[answer])
            else:
                tokens = {}
                prompt, tokens[answer], counts = conversation_ids(row["messages"], tokenizer)
        except Exception as error:  # a model's chat template refuses what it likes, in its own words
            raise ValueError(f"row {number} cannot be written as tokens: {one_line(error)}") from error
        if not prompt:
            raise ValueError(f"row {number} has an empty prompt; allowed: a token or more, from which the answer is predicted")
        if limit is not None and len(prompt) + max(map(len, tokens.values())) > limit:
            too_long += 1
            continue
        prompts.append(prompt)
        answers.append(tokens[answer])
        turns.append(counts)
    return Completions.of(prompts, answers, tokenizer.pad_token_id or 0, turns), too_long


def prompt_ids(prompt: Text, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the token ids of a prompt, up to where the answer begins."""
    if not isinstance(prompt, str):
        return list(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=False))
    ids = list(tokenizer(prompt)["input_ids"])
    while len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:  # some tokenizers append the end token to any text
        ids.pop()
    return ids


def answer_ids(prompt: Text, answer: Text, tokenizer: PreTrainedTokenizerBase, prompt_tokens: list[int]) -> list[int]:
    """Return the token ids of an answer as it follows its prompt, with the end token.

    Args:
        prompt, answer: both plain text, or both messages.
        tokenizer: the model's tokenizer.
        prompt_tokens: `prompt_ids` of the prompt.

    Raises:
        ValueError: if the chat template writes the prompt differently when an answer follows.
    """
    end, begin = tokenizer.eos_token_id, len(prompt_tokens)
    if isinstance(prompt, str):
        whole = list(tokenizer(prompt + str(answer))["input_ids"])  # TRL puts nothing between the two
        follows = whole[:begin] == prompt_tokens  # else a token spans the seam, and the answer is tokenized alone
        tokens = whole[begin:] if follows else list(tokenizer(answer, add_special_tokens=False)["input_ids"])
        return tokens if tokens[-1:] == [end] else [*tokens, end]
    whole = list(tokenizer.apply_chat_template([*prompt, *answer], tokenize=True, return_dict=False))
    if whole[:begin] != prompt_tokens:
        raise ValueError("the chat template writes a prompt otherwise when an answer follows; allowed: one that does not")
    tokens = whole[begin:]
    ends = [i for i, token in enumerate(tokens) if token == end]
    return tokens[: ends[-1] + 1] if ends else [*tokens, end]  # whatever follows the end token is not trained on


def conversation_ids(messages: list[Message], tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int], list[bool]]:
    """Return the token ids of a conversation up to where its first answer begins, those up to the end of its last, and which
    of the latter are answers.

    Args:
        messages: at least one of them the assistant's.
        tokenizer: the model's tokenizer.

    Raises:
        ValueError: if the chat template writes a turn differently when others follow it.
    """
    answered = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    last = answered[-1]
    begins = [prompt_ids(messages[:i], tokenizer) for i in answered]
    rest = answer_ids(messages[:last], messages[last : last + 1], tokenizer, begins[-1])
    whole = [*begins[-1], *rest]
    counts = [False] * len(begins[-1]) + [True] * len(rest)
    for i, begin in zip(answered[:-1], begins[:-1], strict=True):
        tokens = answer_ids(messages[:i], messages[i : i + 1], tokenizer, begin)
        if whole[len(begin) : len(begin) + len(tokens)] != tokens:
            tokens = tokens[:-1]  # the end that a template without one is given, at the conversation's end alone
        stop = len(begin) + len(tokens)
        if whole[:stop] != [*begin, *tokens]:
            raise ValueError("the chat template writes an answer otherwise when other turns follow; allowed: one that does not")
        counts[len(begin) : stop] = [True] * len(tokens)
    first = len(begins[0])
    return begins[0], whole[first:], counts[first:]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write rows to a file, one JSON object a line, and return its path."""
    return write_atomically(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode())


def read_rows(path: Path, kind: str) -> list[dict[str, Any]]:
    """Read the rows of a file, whichever program wrote it.

    Args:
        path: a file with one JSON object a line.
        kind: "demonstrations" (prompt, completion; or messages) or "pairs" (prompt, chosen, rejected).

    Raises:
        ValueError: if the file cannot be read or a row is invalid; the message names the row. Empty lines are not counted.
    """
    try:
        lines = read_text(path, LARGE).split("\n")  # splitlines also breaks at signs that texts may hold
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as text ({one_line(error)})") from error
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(filter(str.strip, lines), 1):
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
        try:
            _check_row(row, kind)
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
        rows.append(row)
    if not rows:
        raise ValueError(f"{path} has no row; allowed: one JSON object a line, with {_fields(kind)}")
    return rows


def _fields(kind: str) -> str:
    """Return the fields of a row, in words."""
    return f"prompt, {', '.join(ANSWER_FIELDS[kind])}{', or messages' if kind == 'demonstrations' else ''}"


def _check_row(row: Any, kind: str) -> None:
    """Raise a ValueError for a row without its fields, or with a field that is no text."""
    is_talk = kind == "demonstrations" and isinstance(row, dict) and "messages" in row and "prompt" not in row
    for name in ("messages",) if is_talk else ("prompt", *ANSWER_FIELDS[kind]):
        if not isinstance(row, dict) or name not in row:
            raise ValueError(f"has no {name!r}; allowed: rows with {_fields(kind)}")
        if is_talk and (isinstance(row[name], str) or not _is_text(row[name])):
            raise ValueError("'messages' is no list of messages; allowed: objects with a role and a content, both text")
        if not is_talk and (isinstance(row[name], str) != isinstance(row["prompt"], str) or not _is_text(row[name])):
            raise ValueError(f"{name!r} is neither text nor messages, as the prompt is")
        if not _is_unicode(row[name]):
            raise ValueError(f"{name!r} holds half of a sign, as \\ud83d is; allowed: text in Unicode")
    if is_talk and not any(message["role"] == "assistant" for message in row["messages"]):
        raise ValueError("'messages' has no turn of the assistant, which would be the answer; allowed: one or more")


def _is_unicode(value: Text) -> bool:
    """Return whether a text can be written in UTF-8, as tokenizers need it; JSON can spell half of a surrogate pair."""
    texts = [value] if isinstance(value, str) else [text for message in value for text in message.values()]
    return not any(re.search("[\ud800-\udfff]", text) for text in texts if isinstance(text, str))


def _is_text(value: object) -> bool:
    if isinstance(value, str):
        return True
    return (
        isinstance(value, list)
        and value != []
        and all(isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value)
    )
