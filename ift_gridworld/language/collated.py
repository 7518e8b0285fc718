"""Batches of SFT's collators as steps of a policy: a sequence a row, padded, or sequences one after another in one row.

What the trainers share: reading such a batch, and running a model through the wrapper that shares its gradients.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor, nn
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled

from ift_gridworld.data import Batch
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.policies.residual import Successor

__all__ = ["WHOLE", "Collated", "WholeRows", "WrappedModel", "check_whole", "has_added_rows", "roll_left"]

WHOLE = "allowed: whole models, on one device or under DDP"
# What the collators of packed rows add, beside the positions: the same boundaries in the words of attention kernels.
PACKED = frozenset({"cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx"})


@dataclass(frozen=True, eq=False)
class Collated:
    """A collator's batch as steps; step t reads token t, and its action is token t + 1, as the labels count it.

    Attributes:
        steps: the rows as they are run. The last step of a row has no action and never counts.
        shift: number of places that each row was moved to the left, over its padding.
        place: of packed rows the column of each sequence's steps, L where it has none; None where each row is a sequence.
        options: further arguments of the model's `forward`: the positions of packed rows, from which it knows sequences apart.

    Raises:
        ValueError: if a batch holds other fields than those of SFT's collators.
    """

    steps: Batch
    shift: Int[Tensor, " B"]
    place: Int[Tensor, "S T"] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, inputs: Mapping[str, Any], *, packed: bool = False) -> Collated:
        """Read a batch.

        Args:
            inputs: `input_ids`, `labels` with -100 where a token does not count, and `attention_mask` where rows are padded.
            packed: read `position_ids` and what goes with them, too, where the batch has them: one row of sequences, each of
                which begins at position 0. The first token of a sequence never counts.
        """
        names, needed = set(inputs), {"input_ids", "labels"}
        is_packed = packed and "position_ids" in names
        further = {"position_ids", *PACKED} if is_packed else {"attention_mask"}
        if not needed <= names <= needed | further:
            allowed = "input_ids, labels and, where rows are padded, attention_mask; one sequence a row"
            allowed += "; or input_ids, labels and position_ids of packed sequences" if packed else ""
            raise ValueError(f"a batch holds {', '.join(sorted(names))}; allowed: {allowed}")
        shift = _left_padding(inputs.get("attention_mask"), inputs["input_ids"])
        ids, labels = (roll_left(inputs[name], shift) for name in ("input_ids", "labels"))
        counts = labels != -100
        place = None
        if is_packed:
            if len(ids) != 1:
                raise ValueError(f"a batch of packed sequences has {len(ids)} rows; allowed: one, with all of them")
            begins = inputs["position_ids"] == 0
            counts &= ~begins
            place = _places(begins[0])
        actions, mask = (x.roll(-1, -1) for x in (ids, counts))
        mask[:, -1] = False
        options = {name: inputs[name] for name in inputs if name not in needed | {"attention_mask"}}
        return cls(Batch(ids[None], actions[None], mask[None]), shift, place, options)

    def per_sequence(self, x: Shaped[Tensor, "1 B L"]) -> Shaped[Tensor, "1 S T"]:
        """Return a number of each step as rows of one sequence each, 0 (or False) where a sequence has no step."""
        if self.place is None:
            return x
        return torch.cat([x[0, 0], x.new_zeros(1)])[self.place][None]

    @property
    def mask(self) -> Bool[Tensor, "1 S T"]:
        """Which steps of each sequence count."""
        return self.per_sequence(self.steps.mask)


def _places(begins: Bool[Tensor, " L"]) -> Int[Tensor, "S T"]:
    """Return the columns of each sequence of a row, given where sequences begin; L behind a sequence's end."""
    column = torch.arange(len(begins), device=begins.device)
    begins = begins | (column == 0)  # of a row that was cut within a sequence, what is left is one
    number = begins.cumsum(0) - 1
    first = column[begins]
    within = column - first[number]
    place = column.new_full((len(first), int(within.max()) + 1), len(begins))
    place[number, within] = column
    return place


def _left_padding(attention_mask: Int[Tensor, "B L"] | Bool[Tensor, "B L"] | None, like: Tensor) -> Int[Tensor, " B"]:
    """Return the number of tokens before each row's first attended one; without a mask, padding is on the right."""
    if attention_mask is None:
        return torch.zeros(len(like), dtype=torch.long, device=like.device)
    return attention_mask.int().argmax(-1)


def roll_left(x: Shaped[Tensor, "B L *rest"], shift: Int[Tensor, " B"]) -> Shaped[Tensor, "B L *rest"]:
    """Roll each row to the left by its own number of places."""
    place = (torch.arange(x.shape[1], device=x.device) + shift[:, None]) % x.shape[1]
    return x[torch.arange(len(x), device=x.device)[:, None], place]


@dataclass
class WrappedModel:
    """A model that is run through its wrapper, which shares gradients, while its own embedding table is read.

    Attributes:
        run: the wrapper.
        model: the model.
    """

    run: Any
    model: Any

    def __call__(self, **inputs: Any) -> Any:
        return self.run(**inputs)

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()


class WholeRows(TextSource):
    """Texts whose prompts are not shared between the two passes: with gradient checkpointing no cache is kept of them."""

    def residual_log_probs(
        self, policy: LanguagePolicy, batch: Batch, successor: Successor, mixing: float
    ) -> Float[Tensor, "1 B T"]:
        return policy.residual_log_probs(batch.states, batch.actions, batch.mask, successor, mixing=mixing, share=False)


def has_added_rows(model: Any, tokenizer: Any) -> bool:
    """Return whether a tokenizer has added tokens, and the model a trainable table of tokens that its output does not share."""
    table, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    own = table.requires_grad and getattr(head, "weight", None) is not table
    return own and bool(getattr(tokenizer, "added_tokens_encoder", None))


def check_whole(trainer: Any) -> None:
    """Raise a ValueError for a trainer whose model lies in pieces on several devices."""
    if trainer.is_fsdp_enabled or is_deepspeed_zero3_enabled():
        raise ValueError(f"the model is split by {'FSDP' if trainer.is_fsdp_enabled else 'ZeRO-3'}; {WHOLE}")
