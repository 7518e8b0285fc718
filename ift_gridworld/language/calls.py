"""How a causal language model is called: with token ids or embeddings, at some positions, and after a cache.

`ModelCalls` are the only calls that the package makes. Architectures differ in what these calls return, so that
`language.probe` compares each with the model's own forward pass before anything is trained.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["CACHES", "ModelCalls", "accepted", "base_of", "each_in_eval_mode", "one_sequence_a_row", "uncompiled"]

# Names of the cache, as an argument and in the output, in transformers' order of preference.
CACHES = ("cache", "past_key_values", "cache_params", "state", "mems")


@dataclass(frozen=True)
class ModelCalls:
    """The calls that a model answers correctly; the defaults are those of a Llama.

    Attributes:
        offset: number of virtual tokens that the model puts before the first token (prompt tuning).
        beside: whether the model reads token ids beside embeddings (Gemma3n's per-layer embeddings). The ids are then its
            input, and the embeddings take the place of its embedding module's output.
        writes: whether the model changes the embeddings that it is given (CTRL scales them in place); it is given a copy.
        keeps: whether `logits_to_keep` takes positions; else all logits are computed and selected from.
        cache: name of the cache's argument; None where no cache is right and whole prefixes are read again.
        shares: whether embeddings may follow a prompt's cache, which two passes then share.
        balances: weight of the routers' auxiliary loss that the model's own loss contains, 0 where it contains none.
        options: names of further arguments that `forward` takes.
    """

    offset: int = 0
    beside: bool = False
    writes: bool = False
    keeps: bool = True
    cache: str | None = "past_key_values"
    shares: bool = True
    balances: float = 0.0
    options: frozenset[str] = frozenset({"use_cache"})

    def output(
        self,
        model: Any,
        states: Int[Tensor, "B T"] | None,
        embeddings: Float[Tensor, "B T D"] | None = None,
        columns: Int[Tensor, " K"] | None = None,
        **options: Any,
    ) -> tuple[Float[Tensor, "B K V"], Any]:
        """Return the logits after every token, or after the tokens `columns`, and all that the model returns.

        Args:
            model: the model.
            states: token ids; may be left out where embeddings are given and the model needs no ids beside them.
            embeddings: read instead of the ids' own embeddings.
            columns: positions of the logits.
            options: further arguments of `forward`; `position_ids` mark rows that hold several sequences.
        """
        if "use_cache" in self.options:
            options = {"use_cache": False} | options
        if columns is not None and self.keeps:
            options["logits_to_keep"] = columns + self.offset
        replaced: AbstractContextManager[None] = nullcontext()
        if embeddings is None:
            options["input_ids"] = states
        elif self.beside:
            if states is None:
                raise ValueError("embeddings are given without token ids; allowed: both, the model reads ids beside embeddings")
            options["input_ids"] = states
            replaced = _replaced_output(model.get_input_embeddings(), embeddings.clone() if self.writes else embeddings)
        else:
            options["inputs_embeds"] = embeddings.clone() if self.writes else embeddings
        device = next(read.device for read in (embeddings, states) if read is not None)
        with replaced, nullcontext() if "position_ids" in options else one_sequence_a_row(device):
            output = model(**options)
        logits = output.logits
        if columns is None:
            logits = logits[:, self.offset :] if self.offset else logits
        elif not self.keeps:
            logits = logits[:, columns + self.offset]
        return logits, output

    def next_logits(self, model: Any, tokens: Int[Tensor, "B K"], past: Any) -> tuple[Float[Tensor, "B V"], Any]:
        """Return the logits after the last of further tokens, and the past that the next call is to be given.

        Args:
            model: the model.
            tokens: tokens after those of the past.
            past: None at first; then what the last call returned.
        """
        if self.cache is None:
            tokens = tokens if past is None else torch.cat([past, tokens], 1)
            last = torch.tensor([tokens.shape[1] - 1], device=tokens.device)
            return self.output(model, tokens, columns=last)[0][:, -1], tokens
        options = {} if past is None else {self.cache: past}
        if self.keeps:
            options["logits_to_keep"] = 1
        logits, output = self.output(model, tokens, use_cache=True, **options)
        return logits[:, -1], getattr(output, self.cache)


def accepted(model: nn.Module, name: str) -> bool:
    """Return whether a model's `forward` takes an argument of that name, by itself or among any others."""
    parameters = inspect.signature(model.forward).parameters
    return name in parameters or any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def base_of(model: Any) -> Any:
    """Return the model inside peft's wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


@contextmanager
def each_in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Put all modules in evaluation mode, and each back in its own mode afterwards."""
    training = {each: each.training for each in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for each, mode in training.items():
            each.training = mode


def uncompiled(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which a model runs as it was written, compiled or not."""
    compiled = getattr(model, "_compiled_call_impl", None) is not None
    return torch.compiler.set_stance("force_eager") if compiled else nullcontext()


@contextmanager
def one_sequence_a_row(device: torch.device) -> Iterator[None]:
    """Spare transformers the look for packed sequences: each row holds one, and a host would wait for the device to say so."""
    masks = sys.modules.get("transformers.masking_utils")
    look = getattr(masks, "find_packed_sequence_indices", None)
    if look is None or device.type == "cpu":
        yield
        return
    setattr(masks, look.__name__, lambda position_ids: None)
    try:
        yield
    finally:
        setattr(masks, look.__name__, look)


@contextmanager
def _replaced_output(module: nn.Module, output: Tensor) -> Iterator[None]:
    """Let a module return the output given."""
    handle = module.register_forward_hook(lambda *_: output)
    try:
        yield
    finally:
        handle.remove()
