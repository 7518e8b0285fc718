"""Causal language models behind the policies' own interface, embed | logits, so that every method trains them unchanged.

A state is a prefix of tokens and an action is the next token: states[t] is the token that ends the prefix, and what a policy
says of step t depends on all states up to t. Tensors are [1, B, T], as those of a lake with one seed.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ift_gridworld.log_probs import action_log_probs
from ift_gridworld.policies.residual import Successor, mix
from ift_gridworld.runtime import standard_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["CONTEXT", "Critic", "LanguagePolicy", "cache_name", "counted_columns", "eval_mode", "model_settings"]

CONTEXT = 1024  # tokens of a prefix, for a model whose configuration names no limit
LARGE = 1_000_000  # parameters, from which on a second thread does more than wait


class LanguagePolicy(nn.Module):
    """A causal language model as a policy over prefixes.

    Rows are padded on the right, where a causal model does not look, so that no attention mask is needed.

    Args:
        model: any of transformers' causal models, or one with the same `forward`.

    Attributes:
        temperature: logits are divided by it.
        first_pass: dtype in which IFT's predictions are made; None for that of the second pass.
    """

    population = 1
    remembers = True
    learning_rate = 1e-3

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model
        self.temperature = 1.0
        self.first_pass: torch.dtype | None = None

    @property
    def context(self) -> int:
        """Number of tokens of the longest prefix that the model is made for."""
        return getattr(self.model.config, "max_position_embeddings", None) or CONTEXT

    def embed(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "1 B T D"]:
        """Return each token's row of the embedding table."""
        return self.model.get_input_embeddings()(states)

    def logits(
        self, embeddings: Float[Tensor, "1 B T D"], columns: Int[Tensor, " K"] | None = None, **options: Any
    ) -> Float[Tensor, "1 B K V"]:
        """Return the logits of the next token after every step, or only after the steps `columns`.

        The logits of a large vocabulary are expensive, so ask for few columns. Other options go to the model.
        """
        keep = 0 if columns is None else columns  # transformers' 0 is all
        options = {"use_cache": False} | options
        logits = self.model(inputs_embeds=embeddings[0], logits_to_keep=keep, **options).logits[None]
        return logits if self.temperature == 1 else logits / self.temperature

    def forward(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "1 B T V"]:
        """Return the logits of the next token after every step."""
        return self.logits(self.embed(states))

    def log_probs(
        self, states: Int[Tensor, "1 B T"], actions: Int[Tensor, "1 B T"], mask: Bool[Tensor, "1 B T"] | None = None
    ) -> Float[Tensor, "1 B T"]:
        """Return log π(a|s) in nats of the steps that the mask counts; 0 elsewhere."""
        return self.log_probs_of(self.embed(states), actions, mask)

    def log_probs_of(
        self, embeddings: Float[Tensor, "1 B T D"], actions: Int[Tensor, "1 B T"], mask: Bool[Tensor, "1 B T"] | None = None
    ) -> Float[Tensor, "1 B T"]:
        """Return `log_probs` in states given by their embeddings."""
        return self.per_step(embeddings, mask, lambda logits, columns: action_log_probs(logits, actions[..., columns]))

    def per_state(
        self,
        states: Int[Tensor, "1 B T"],
        measure: Callable[[Tensor], Tensor],
        mask: Bool[Tensor, "1 B T"] | None = None,
    ) -> Float[Tensor, "1 B T"]:
        """Return `measure(logits)`, one number a step, of the steps that the mask counts; 0 elsewhere."""
        return self.per_step(self.embed(states), mask, lambda logits, _: measure(logits))

    def per_step(
        self,
        embeddings: Float[Tensor, "1 B T D"],
        mask: Bool[Tensor, "1 B T"] | None,
        measure: Callable[[Tensor, Tensor], Tensor],
    ) -> Float[Tensor, "1 B T"]:
        """Return `measure(logits [1, B, K, V], columns [K])` of the steps that the mask counts; 0 elsewhere."""
        if mask is None:
            mask = torch.ones(embeddings.shape[:-1], dtype=torch.bool, device=embeddings.device)
        columns = counted_columns(mask)
        values = measure(self.logits(embeddings, columns), columns)
        values = torch.where(mask[..., columns], values, 0.0)
        return values.new_zeros(mask.shape).index_copy(-1, columns, values)

    def residual_log_probs(
        self,
        states: Int[Tensor, "1 B T"],
        actions: Int[Tensor, "1 B T"],
        mask: Bool[Tensor, "1 B T"],
        successor: Successor,
        *,
        mixing: float,
        share: bool = True,
    ) -> Float[Tensor, "1 B T"]:
        """Return log-probs of the second pass over the residual connection's states (`residual.residual_embeddings`).

        Two passes over embeddings of truth and prediction are those of scheduled sampling for transformers (arXiv 1906.07651).
        They differ only in the answer. Where all prompts of a batch have one length, the passes `share` the prompt:
        it is run once, and the first pass costs no more than a forward pass over the answers.

        Args:
            states, actions, mask: a batch of steps.
            successor: where the predictions lead.
            mixing: λ in [0, 1].
            share: run the prompts once where possible.
        """
        true = self.embed(states).detach()
        prompt, begin = self._prompt(true, mask) if share else (None, 0)
        if prompt is None:
            columns = counted_columns(mask)
            with torch.no_grad(), self._first_precision(true):
                logits = self.logits(true, columns)
            at_columns = successor(states[..., columns], logits).detach().to(true.dtype)
            predicted = torch.zeros_like(true).index_copy(-2, columns, at_columns)
            mixed = mix(true, predicted, mask, mixing)
            mixed.requires_grad_(torch.is_grad_enabled())  # a reentrant checkpoint passes no gradient on if its input has none
            return self.log_probs_of(mixed, actions, mask)
        with torch.no_grad(), self._first_precision(true):
            logits = self._continued(_copied(prompt, self.first_pass), true[..., begin:, :])
        predicted = successor(states[..., begin:], logits).detach().to(true.dtype)
        mixed = mix(true[..., begin:, :], predicted, mask[..., begin:], mixing)
        logp = action_log_probs(self._continued(prompt, mixed), actions[..., begin:])
        logp = torch.where(mask[..., begin:], logp, 0.0)
        return torch.cat([logp.new_zeros(*logp.shape[:-1], begin), logp], -1)

    def _continued(self, cache: Any, embeddings: Float[Tensor, "1 B K D"]) -> Float[Tensor, "1 B K V"]:
        """Return the logits after steps that follow those of a cache, which grows by them."""
        return self.logits(embeddings, use_cache=True, **{cache_name(self.model): cache})

    def _first_precision(self, like: Tensor) -> AbstractContextManager[None]:
        if self.first_pass is None:
            return nullcontext()
        return torch.autocast(like.device.type, self.first_pass, enabled=self.first_pass != torch.float32)

    def _prompt(self, true: Float[Tensor, "1 B T D"], mask: Bool[Tensor, "1 B T"]) -> tuple[Any, int]:
        """Return the prompts' keys and values, and where the prompts end.

        They are None where prompts have several lengths, or where a model keeps no plain cache of them (gradient
        checkpointing, sliding-window attention).
        """
        from transformers.cache_utils import DynamicLayer

        begin = int(mask.any(-2).flatten().int().argmax())  # the prompt's last token: from here on steps count
        same = begin > 0 and bool(mask[..., begin].all())
        # Under both of transformers' names: the later one since version 5.
        recomputed = getattr(self.model, "is_activation_checkpointing", None)
        recomputed = getattr(self.model, "is_gradient_checkpointing", False) if recomputed is None else recomputed
        if not same or recomputed:
            return None, 0
        output = self.model(inputs_embeds=true[0, :, :begin], use_cache=True, logits_to_keep=1)
        cache = getattr(output, cache_name(self.model))
        plain = cache is not None and all(type(layer) is DynamicLayer for layer in getattr(cache, "layers", [None]))
        return (cache, begin) if plain else (None, 0)


class Critic(nn.Module):
    """A value of each prefix, 0 at first: a copy of a policy's model, whose last hidden states a linear head reads.

    Args:
        policy: the policy whose model is copied.
    """

    def __init__(self, policy: LanguagePolicy) -> None:
        super().__init__()
        self.body = copy.deepcopy(policy.model.base_model)
        # Without the initial weights, which would be drawn from the caller's generator.
        self.head = nn.utils.skip_init(nn.Linear, policy.model.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.to(next(policy.parameters()).device)

    def forward(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "1 B T 1"]:
        """Return the value of the prefix that ends with each token."""
        hidden = self.body(input_ids=states[0], use_cache=False).last_hidden_state
        with torch.autocast(hidden.device.type, enabled=False):  # bfloat16's eight bits are too few for a value to regress on
            return self.head(hidden.to(self.head.weight.dtype))[None]


def cache_name(model: Any) -> str:
    """Return what a model calls its cache of keys and values: recent versions of transformers warn of the older name."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def model_settings(policy: nn.Module) -> AbstractContextManager[None]:
    """Return `standard_settings` for a model of that size: one thread for a small one, the caller's for a large one."""
    return standard_settings(1 if sum(p.numel() for p in policy.parameters()) < LARGE else None)


@contextmanager
def eval_mode(policy: LanguagePolicy) -> Iterator[None]:
    """Run a policy without dropout and uncompiled, and restore it afterwards.

    Measuring uses many shapes, each of which would be compiled anew.
    """
    was_training, compiled = policy.training, getattr(policy.model, "_compiled_call_impl", None) is not None
    policy.eval()
    try:
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        policy.train(was_training)


def counted_columns(mask: Bool[Tensor, "1 B T"]) -> Int[Tensor, " K"]:
    """Return the columns in which any row has a step that counts."""
    return mask.flatten(0, -2).any(0).nonzero()[:, 0]


def _copied(cache: Any, dtype: torch.dtype | None) -> Any:
    """Return a copy of a cache that can grow independently and that no gradient reaches."""
    from transformers import DynamicCache

    copied = DynamicCache()
    for index, layer in enumerate(cache.layers):
        copied.update(layer.keys.detach().to(dtype), layer.values.detach().to(dtype), index)
    return copied
