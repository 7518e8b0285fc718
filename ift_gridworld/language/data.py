"""Prompts and answers as token ids, and the one place where a token and the position that predicts it are brought together.

A data set is rows of ``prompt`` and ``completion``, or ``prompt``, ``chosen`` and ``rejected``, each plain text or a list of
messages, as TRL reads them; in a file one JSON object a line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Int

from ift_gridworld.data import Batch
from ift_gridworld.language.text import Text
from ift_gridworld.storage import write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KINDS = {"demonstrations": ("completion",), "pairs": ("chosen", "rejected")}  # the answers that a row of each kind has


@dataclass(frozen=True, eq=False)
class Completions:
    """Prompts with one answer each, padded on the right: a causal model sees nothing of what comes later.

    Attributes:
        ids: token ids.
        prompt: how many of them are the prompt's.
        length: how many there are, prompt and answer.
    """

    ids: Int[np.ndarray, "M L"]
    prompt: Int[np.ndarray, " M"]
    length: Int[np.ndarray, " M"]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: slice | Int[np.ndarray, " K"] | Bool[np.ndarray, " M"]) -> Completions:
        return Completions(self.ids[index], self.prompt[index], self.length[index])

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], pad: int = 0) -> Completions:
        rows = [[*prompt, *answer] for prompt, answer in zip(prompts, answers, strict=True)]
        length = np.array([len(row) for row in rows], int)
        ids = np.full((len(rows), length.max(initial=1)), pad)
        for row, tokens in zip(ids, rows, strict=True):
            row[: len(tokens)] = tokens
        return cls(ids, np.array([len(prompt) for prompt in prompts], int), length)

    def answers(self, pad: int) -> Int[np.ndarray, "M T"]:
        """The answers alone, padded."""
        width = int((self.length - self.prompt).max(initial=0))
        place = self.prompt[:, None] + np.arange(width)
        said = np.take_along_axis(self.ids, np.minimum(place, self.ids.shape[1] - 1), 1)
        return np.where(place < self.length[:, None], said, pad)

    def batch(self, index: Int[np.ndarray, " K"] | slice = slice(None), device: torch.device | str = "cpu") -> Batch:
        """Steps [1, K, T]: the state before step t is the prefix that ends with token t, its action is token t + 1.

        Only steps whose action belongs to the answer count. This is the only shift between tokens and predictions there is.
        """
        ids, prompt, length = self.ids[index], self.prompt[index, None], self.length[index, None]
        ids = ids[:, : int(length.max())]
        step = np.arange(ids.shape[1] - 1)
        mask = (step >= prompt - 1) & (step < length - 1)
        tensors = (torch.as_tensor(np.ascontiguousarray(x))[None] for x in (ids[:, :-1], ids[:, 1:], mask))
        return Batch(*(x.to(device, non_blocking=True) for x in tensors))


def tokenised(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: PreTrainedTokenizerBase,
    answer: str = "completion",
    *,
    limit: int | None = None,
) -> tuple[Completions, int]:
    """The rows' prompts with one of their answers, and how many rows were left out for being longer than `limit` tokens.

    A plain answer follows its prompt and is ended by the tokenizer's end token; a conversation is written as its template says.
    A row is left out if any of its answers is too long, so that chosen and rejected answers stay side by side.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end token; allowed: one with eos_token, or the model would never stop")
    prompts, answers, too_long = [], [], 0
    for number, row in enumerate(rows, 1):
        prompt = prompt_ids(row["prompt"], tokenizer)
        if not prompt:
            raise ValueError(f"row {number} has an empty prompt; allowed: a token or more, from which the answer is predicted")
        said = {
            name: answer_ids(row["prompt"], row[name], tokenizer, prompt)
            for name in ("completion", "chosen", "rejected")
            if name == answer or (limit is not None and name in row)
        }
        if limit is not None and len(prompt) + max(map(len, said.values())) > limit:
            too_long += 1
            continue
        prompts.append(prompt)
        answers.append(said[answer])
    return Completions.of(prompts, answers, tokenizer.pad_token_id or 0), too_long


def prompt_ids(prompt: Text, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Of a prompt, up to where the answer begins."""
    if not isinstance(prompt, str):
        return list(tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=False))
    ids = list(tokenizer(prompt)["input_ids"])
    while len(ids) > 1 and ids[-1] == tokenizer.eos_token_id:  # some tokenizers end whatever they are given
        ids.pop()
    return ids


def answer_ids(prompt: Text, answer: Text, tokenizer: PreTrainedTokenizerBase, asked: list[int]) -> list[int]:
    """Of an answer as it follows its prompt, whose own tokens are `asked`; with the end token."""
    end = tokenizer.eos_token_id
    if isinstance(prompt, str):
        whole = list(tokenizer(prompt + str(answer))["input_ids"])  # nothing is set between the two, as TRL sets nothing
        alone = whole[: len(asked)] != asked  # a token across the seam: then the answer is written by itself
        said = list(tokenizer(answer, add_special_tokens=False)["input_ids"]) if alone else whole[len(asked) :]
        return said if said[-1:] == [end] else [*said, end]
    whole = list(tokenizer.apply_chat_template([*prompt, *answer], tokenize=True, return_dict=False))
    if whole[: len(asked)] != asked:
        raise ValueError("the chat template writes a prompt otherwise when an answer follows; allowed: one that does not")
    said = whole[len(asked) :]
    ends = [i for i, token in enumerate(said) if token == end]
    return said[: ends[-1] + 1] if ends else [*said, end]  # what follows the end is never asked for


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """One JSON object a line."""
    return write_atomically(path, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode())


def read_rows(path: Path, kind: str) -> list[dict[str, Any]]:
    """Rows of a file that any trainer may have written.

    Args:
        path: one JSON object a line.
        kind: "demonstrations" (prompt, completion) or "pairs" (prompt, chosen, rejected).
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines breaks at signs that texts may hold, too
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as text ({error})") from error
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, row {number}: no JSON ({error})") from error
        for name in ("prompt", *KINDS[kind]):
            if not isinstance(row, dict) or name not in row:
                raise ValueError(f"{path}, row {number}: has no {name!r}; allowed: rows with prompt, {', '.join(KINDS[kind])}")
            if isinstance(row[name], str) != isinstance(row["prompt"], str) or not _is_text(row[name]):
                raise ValueError(f"{path}, row {number}: {name!r} is neither text nor messages, as the prompt is")
        rows.append(row)
    if not rows:
        raise ValueError(f"{path} has no row; allowed: one JSON object a line, with prompt, {', '.join(KINDS[kind])}")
    return rows


def _is_text(value: object) -> bool:
    if isinstance(value, str):
        return True
    return (
        isinstance(value, list)
        and value != []
        and all(isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in value)
    )
