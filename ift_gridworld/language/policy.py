"""Causal language models behind the policies' own interface, embed | logits, so that every method trains them unchanged.

A state is a prefix of tokens and an action is the next token: states[t] is the token that ends the prefix, and what a policy
says of step t depends on all states up to t. Tensors are [1, B, T], as those of a lake with one seed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ift_gridworld.language.calls import ModelCalls, accepted, base_of, each_in_eval_mode, one_sequence_a_row, uncompiled
from ift_gridworld.language.columns import columns_of
from ift_gridworld.language.probe import probe, text_config
from ift_gridworld.log_probs import action_log_probs
from ift_gridworld.policies.residual import Successor, mix_after
from ift_gridworld.runtime import standard_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["CONTEXT", "Critic", "LanguagePolicy", "eval_mode", "is_plain_cache", "model_settings"]

CONTEXT = 1024  # tokens of a prefix, for a model whose configuration names no limit
# Names of that limit in configurations.
CONTEXT_NAMES = ("max_position_embeddings", "max_seq_len", "max_sequence_length", "context_length", "n_ctx", "seq_length")
LARGE = 1_000_000  # parameters, from which on a second thread does more than wait


class LanguagePolicy(nn.Module):
    """A causal language model as a policy over prefixes.

    Rows are padded on the right, where a causal model does not look, so that no attention mask is needed.

    Args:
        model: any of transformers' causal models, or one with the same `forward`.
        calls: how the model is called (default: `probe.probe` finds out).

    Attributes:
        temperature: logits are divided by it.
        first_pass: dtype in which IFT's predictions are made; None for that of the second pass.
        embedding_gradient: whether IFT's gradient reaches the embedding table through what the second pass reads. In the
            authors' code it does not, so that rows of a table that is not tied to the output, those of added tokens among
            them, are not trained.

    Raises:
        ValueError: if the model cannot be run as a policy over prefixes; the message names its class and what it lacks.
    """

    population = 1
    remembers = True
    learning_rate = 1e-3

    def __init__(self, model: PreTrainedModel, calls: ModelCalls | None = None) -> None:
        super().__init__()
        self.calls = probe(model) if calls is None else calls
        self.model: Any = model
        self.temperature = 1.0
        self.first_pass: torch.dtype | None = None
        self.embedding_gradient = False
        self._auxiliary: list[Tensor] = []

    @property
    def context(self) -> int:
        """Number of tokens of the longest prefix that the model is made for."""
        config = text_config(self.model)
        return next((n for name in CONTEXT_NAMES if (n := getattr(config, name, None))), CONTEXT) - self.calls.offset

    def embed(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "1 B T D"]:
        """Return each token's embedding, as the model's own module gives it."""
        return self.model.get_input_embeddings()(states[0])[None]

    def expected_embedding(self, logits: Float[Tensor, "1 B K V"]) -> Float[Tensor, "1 B K D"]:
        """Return the mean embedding of all tokens, weighted by the softmax of the logits."""
        every = self.embed(torch.arange(logits.shape[-1], device=logits.device)[None, None])[0, 0]
        return torch.softmax(logits.float(), -1).to(every.dtype) @ every

    def logits(
        self,
        embeddings: Float[Tensor, "1 B T D"] | None,
        columns: Int[Tensor, " K"] | None = None,
        *,
        states: Int[Tensor, "1 B T"] | None = None,
        **options: Any,
    ) -> Float[Tensor, "1 B K V"]:
        """Return the logits of the next token after every step, or only after the steps `columns`.

        The logits of a large vocabulary are expensive, so ask for few columns.

        Args:
            embeddings: what is read; None for the embeddings of `states`.
            columns: steps.
            states: the true tokens, which some models read beside embeddings (`ModelCalls.beside`).
            options: further arguments of the model.
        """
        read = None if embeddings is None else embeddings[0]
        logits, output = self.calls.output(self.model, None if states is None else states[0], read, columns, **options)
        if self.calls.balances and torch.is_grad_enabled():
            self._auxiliary.append(self.calls.balances * output.aux_loss)
        return logits[None] if self.temperature == 1 else logits[None] / self.temperature

    def auxiliary_loss(self) -> Tensor | float:
        """Return the routers' auxiliary loss, mean over the passes with gradient since the last call; 0 where there is none.

        A mixture of experts whose configuration has `output_router_logits` adds it to its own loss, weighted.
        """
        passes, self._auxiliary = self._auxiliary, []
        return torch.stack(passes).mean() if passes else 0.0

    def forward(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "1 B T V"]:
        """Return the logits of the next token after every step."""
        return self.logits(None, states=states)

    def log_probs(
        self, states: Int[Tensor, "1 B T"], actions: Int[Tensor, "1 B T"], mask: Bool[Tensor, "1 B T"] | None = None
    ) -> Float[Tensor, "1 B T"]:
        """Return log π(a|s) in nats of the steps that the mask counts; 0 elsewhere."""
        return self.log_probs_of(None, actions, mask, states=states)

    def log_probs_of(
        self,
        embeddings: Float[Tensor, "1 B T D"] | None,
        actions: Int[Tensor, "1 B T"],
        mask: Bool[Tensor, "1 B T"] | None = None,
        *,
        states: Int[Tensor, "1 B T"] | None = None,
    ) -> Float[Tensor, "1 B T"]:
        """Return `log_probs` in states given by their embeddings (`logits` has `states`)."""

        def measure(logits: Tensor, columns: Tensor) -> Tensor:
            return action_log_probs(logits, actions[..., columns])

        return self.per_step(embeddings, states, actions.shape, mask, measure)

    def per_state(
        self,
        states: Int[Tensor, "1 B T"],
        measure: Callable[[Tensor], Tensor],
        mask: Bool[Tensor, "1 B T"] | None = None,
    ) -> Float[Tensor, "1 B T"]:
        """Return `measure(logits)`, one number a step, of the steps that the mask counts; 0 elsewhere."""
        return self.per_step(None, states, states.shape, mask, lambda logits, _: measure(logits))

    def per_step(
        self,
        embeddings: Float[Tensor, "1 B T D"] | None,
        states: Int[Tensor, "1 B T"] | None,
        shape: torch.Size,
        mask: Bool[Tensor, "1 B T"] | None,
        measure: Callable[[Tensor, Tensor], Tensor],
    ) -> Float[Tensor, "1 B T"]:
        """Return `measure(logits [1, B, K, V], columns [K])` of the steps that the mask counts; 0 elsewhere."""
        if mask is None:
            mask = torch.ones(shape, dtype=torch.bool, device=next(self.parameters()).device)
        columns = columns_of(mask).index
        options = self._attention_mask(mask)
        values = measure(self.logits(embeddings, columns, states=states, **options), columns)
        values = torch.where(mask[..., columns], values, 0.0)
        return values.new_zeros(mask.shape).index_copy(-1, columns, values)

    def _attention_mask(self, mask: Bool[Tensor, "1 B T"]) -> dict[str, Tensor]:
        """Return the attention mask of tokens up to each row's last counted step, where routers balance those alone."""
        if not self.calls.balances or "attention_mask" not in self.calls.options:
            return {}
        return {"attention_mask": mask[0].flip(-1).cumsum(-1).flip(-1).clamp(max=1)}

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
        They differ only in the answers: as in the authors' code every token of an answer is mixed but its first, the last
        token of an earlier turn too, since later turns read it. Where all prompts of a batch have one length, the passes
        `share` the prompt: it is run once, and the first pass costs no more than a forward pass over the answers.

        Args:
            states, actions, mask: a batch of steps.
            successor: where the predictions lead.
            mixing: λ in [0, 1].
            share: run the prompts once where possible.
        """
        true = self._held(self.embed(states))
        prompt, begin = self._prompt(true, mask) if share and self.calls.shares else (None, 0)
        if prompt is None:
            columns = columns_of(mask).index
            with torch.no_grad(), self._first_precision(true):
                logits = self.logits(true, columns, states=states)
            at_columns = self._held(successor(states[..., columns], logits)).to(true.dtype)
            predicted = torch.zeros_like(true).index_copy(-2, columns, at_columns)
            mixed = mix_after(true, predicted, mask, mixing)
            # A reentrant checkpoint passes no gradient on if its input has none.
            mixed = mixed if mixed.requires_grad else mixed.requires_grad_(torch.is_grad_enabled())
            return self.log_probs_of(mixed, actions, mask, states=states)
        with torch.no_grad(), self._first_precision(true):
            logits = self._continued(_copied(prompt, self.first_pass), true[..., begin:, :])
        predicted = self._held(successor(states[..., begin:], logits)).to(true.dtype)
        mixed = mix_after(true[..., begin:, :], predicted, mask[..., begin:], mixing)
        logp = action_log_probs(self._continued(prompt, mixed), actions[..., begin:])
        logp = torch.where(mask[..., begin:], logp, 0.0)
        return torch.cat([logp.new_zeros(*logp.shape[:-1], begin), logp], -1)

    def _held(self, embeddings: Tensor) -> Tensor:
        return embeddings if self.embedding_gradient else embeddings.detach()

    def _continued(self, cache: Any, embeddings: Float[Tensor, "1 B K D"]) -> Float[Tensor, "1 B K V"]:
        """Return the logits after steps that follow those of a cache, which grows by them."""
        return self.logits(embeddings, use_cache=True, **{str(self.calls.cache): cache})

    def _first_precision(self, like: Tensor) -> AbstractContextManager[None]:
        if self.first_pass is None:
            return nullcontext()
        return torch.autocast(like.device.type, self.first_pass, enabled=self.first_pass != torch.float32)

    def _prompt(self, true: Float[Tensor, "1 B T D"], mask: Bool[Tensor, "1 B T"]) -> tuple[Any, int]:
        """Return the prompts' keys and values, and where the prompts end.

        They are None where prompts have several lengths, or where a model keeps no plain cache of them (gradient
        checkpointing, sliding-window attention).
        """
        columns = columns_of(mask)
        begin = columns.begin  # the prompt's last token: from here on steps count
        # Under both of transformers' names: the later one since version 5.
        recomputed = getattr(self.model, "is_activation_checkpointing", None)
        recomputed = getattr(self.model, "is_gradient_checkpointing", False) if recomputed is None else recomputed
        if begin == 0 or not columns.together or recomputed:
            return None, 0
        _, output = self.calls.output(self.model, None, true[0, :, :begin], use_cache=True, logits_to_keep=1)
        cache = getattr(output, str(self.calls.cache))
        return (cache, begin) if is_plain_cache(cache) else (None, 0)


class Critic(nn.Module):
    """A value of each prefix, 0 at first: a copy of a policy's model, whose last hidden states a linear head reads.

    Args:
        policy: the policy whose model is copied.
    """

    def __init__(self, policy: LanguagePolicy) -> None:
        super().__init__()
        self.body = copy.deepcopy(base_of(policy.model).base_model)
        self.options = {"use_cache": False} if accepted(self.body, "use_cache") else {}
        device = next(policy.parameters()).device
        with torch.no_grad(), each_in_eval_mode(self.body):  # widths of configurations are not always what is returned
            width = self._hidden(torch.ones(1, 1, 1, dtype=torch.long, device=device)).shape[-1]
        # Without the initial weights, which would be drawn from the caller's generator.
        self.head = nn.utils.skip_init(nn.Linear, width, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.to(device)

    def _hidden(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "B T H"]:
        """Return the last hidden states."""
        with one_sequence_a_row(states.device):
            output = self.body(input_ids=states[0], **self.options)
        hidden = getattr(output, "last_hidden_state", None)
        if hidden is None:
            raise ValueError(
                f"{type(self.body).__name__} returns no last_hidden_state, which a critic reads; allowed: transformers' models"
            )
        return hidden

    def forward(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "1 B T 1"]:
        """Return the value of the prefix that ends with each token."""
        hidden = self._hidden(states)
        with torch.autocast(hidden.device.type, enabled=False):  # bfloat16's eight bits are too few for a value to regress on
            return self.head(hidden.to(self.head.weight.dtype))[None]


def model_settings(policy: nn.Module) -> AbstractContextManager[None]:
    """Return `standard_settings` for a model of that size: one thread for a small one, the caller's for a large one."""
    return standard_settings(1 if sum(p.numel() for p in policy.parameters()) < LARGE else None)


@contextmanager
def eval_mode(policy: LanguagePolicy) -> Iterator[None]:
    """Run a policy without dropout and uncompiled, and put each of its modules back in its own mode afterwards.

    Measuring uses many shapes, each of which would be compiled anew.
    """
    with each_in_eval_mode(policy), uncompiled(policy.model):
        yield


def is_plain_cache(cache: Any) -> bool:
    """Return whether a cache holds the keys and values of all tokens in each layer, so that its rows can be taken."""
    from transformers.cache_utils import DynamicLayer

    layers = getattr(cache, "layers", [None])  # some stay empty where layers share their keys
    return all(type(layer) is DynamicLayer and layer.keys is not None for layer in layers)


def _copied(cache: Any, dtype: torch.dtype | None) -> Any:
    """Return a copy of a cache that can grow independently and that no gradient reaches."""
    from transformers import DynamicCache

    copied = DynamicCache()
    for index, layer in enumerate(cache.layers):
        copied.update(layer.keys.detach().to(dtype), layer.values.detach().to(dtype), index)
    return copied
