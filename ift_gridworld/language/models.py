"""Causal language models behind the policies' own interface, embed | logits, so that every method trains them as they are.

A state is a prefix of tokens and an action the next token: states[t] is the token that ends the prefix, and what a policy says
of step t depends on all states up to t. Tensors are [1, B, T], as those of a lake with one seed.
"""

from __future__ import annotations

import copy
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ift_gridworld.language.text import CHAT, COMPACT, VOCABULARY, Form
from ift_gridworld.log_probs import action_log_probs
from ift_gridworld.policies.residual import Successor, mix

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

# Llama configurations that are built here, on the compact vocabulary.
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 176},
    "small": {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "intermediate_size": 1376},
}
CONTEXT = 1024  # tokens that they are made for


class LanguagePolicy(nn.Module):
    """A causal language model as a policy over prefixes.

    Rows are padded on the right, where a causal model does not look, so that no mask of what to attend to is needed.

    Args:
        model: any of transformers' causal models, or one with the same `forward`.
    """

    population = 1
    remembers = True
    learning_rate = 1e-3

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model: Any = model
        self.temperature = 1.0  # that logits are divided by
        self.first_pass: torch.dtype | None = None  # in which predictions are made, if in another than the second pass

    @property
    def context(self) -> int:
        """The longest prefix that the model is made for."""
        return getattr(self.model.config, "max_position_embeddings", None) or CONTEXT

    def embed(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "1 B T D"]:
        """Each token's row of the table."""
        return self.model.get_input_embeddings()(states)

    def logits(
        self, embeddings: Float[Tensor, "1 B T D"], columns: Int[Tensor, " K"] | None = None, **options: Any
    ) -> Float[Tensor, "1 B K V"]:
        """Of the next token, after every step or after those of `columns` alone: a large vocabulary's are dear."""
        keep = 0 if columns is None else columns  # transformers' 0 is all
        options = {"use_cache": False} | options
        logits = self.model(inputs_embeds=embeddings[0], logits_to_keep=keep, **options).logits[None]
        return logits if self.temperature == 1 else logits / self.temperature

    def forward(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "1 B T V"]:
        return self.logits(self.embed(states))

    def log_probs(
        self, states: Int[Tensor, "1 B T"], actions: Int[Tensor, "1 B T"], mask: Bool[Tensor, "1 B T"] | None = None
    ) -> Float[Tensor, "1 B T"]:
        """log pi(a|s) of the steps that count, in nats; 0 elsewhere."""
        return self.log_probs_of(self.embed(states), actions, mask)

    def log_probs_of(
        self, embeddings: Float[Tensor, "1 B T D"], actions: Int[Tensor, "1 B T"], mask: Bool[Tensor, "1 B T"] | None = None
    ) -> Float[Tensor, "1 B T"]:
        """The same in states given by their embeddings."""
        return self.per_step(embeddings, mask, lambda logits, columns: action_log_probs(logits, actions[..., columns]))

    def per_state(
        self,
        states: Int[Tensor, "1 B T"],
        measure: Callable[[Tensor], Tensor],
        mask: Bool[Tensor, "1 B T"] | None = None,
    ) -> Float[Tensor, "1 B T"]:
        """`measure(logits)` of the steps that count, one number each; 0 elsewhere."""
        return self.per_step(self.embed(states), mask, lambda logits, _: measure(logits))

    def per_step(
        self,
        embeddings: Float[Tensor, "1 B T D"],
        mask: Bool[Tensor, "1 B T"] | None,
        measure: Callable[[Tensor, Tensor], Tensor],
    ) -> Float[Tensor, "1 B T"]:
        if mask is None:
            mask = torch.ones(embeddings.shape[:-1], dtype=torch.bool, device=embeddings.device)
        columns = counted(mask)
        found = measure(self.logits(embeddings, columns), columns)
        found = torch.where(mask[..., columns], found, 0.0)
        return found.new_zeros(mask.shape).index_copy(-1, columns, found)

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
        """Second-pass log-probs over the residual connection's states (`residual.residual_embeddings`).

        The two passes differ in the answer alone. Where all prompts of a batch are of one length they `share` the prompt, which
        is then run once, and the first pass costs no more than a forward pass over the answers.
        """
        true = self.embed(states).detach()
        prompt, begin = self._prompt(true, mask) if share else (None, 0)
        if prompt is None:
            columns = counted(mask)
            with torch.no_grad(), self._first_precision(true):
                logits = self.logits(true, columns)
            found = successor(states[..., columns], logits).detach().to(true.dtype)
            predicted = torch.zeros_like(true).index_copy(-2, columns, found)
            mixed = mix(true, predicted, mask, mixing)
            mixed.requires_grad_(torch.is_grad_enabled())  # a reentrant checkpoint passes no gradient on if its input has none
            return self.log_probs_of(mixed, actions, mask)
        with torch.no_grad(), self._first_precision(true):
            logits = self.logits(true[..., begin:, :], use_cache=True, past_key_values=_copied(prompt, self.first_pass))
        predicted = successor(states[..., begin:], logits).detach().to(true.dtype)
        mixed = mix(true[..., begin:, :], predicted, mask[..., begin:], mixing)
        found = action_log_probs(self.logits(mixed, use_cache=True, past_key_values=prompt), actions[..., begin:])
        found = torch.where(mask[..., begin:], found, 0.0)
        return torch.cat([found.new_zeros(*found.shape[:-1], begin), found], -1)

    def _first_precision(self, like: Tensor) -> AbstractContextManager[None]:
        if self.first_pass is None:
            return nullcontext()
        return torch.autocast(like.device.type, self.first_pass, enabled=self.first_pass != torch.float32)

    def _prompt(self, true: Float[Tensor, "1 B T D"], mask: Bool[Tensor, "1 B T"]) -> tuple[Any, int]:
        """The prompts' keys and values, and where they end; None where they are of several lengths or a model keeps no plain
        record of them (recomputing activations, or looking back through a window)."""
        from transformers.cache_utils import DynamicLayer

        begin = int(mask.any(-2).flatten().int().argmax())  # the prompt's last token: from here on steps count
        same = begin > 0 and bool(mask[..., begin].all())
        # Under both of transformers' names: the later one since version 5.
        recomputed = getattr(self.model, "is_activation_checkpointing", None)
        recomputed = getattr(self.model, "is_gradient_checkpointing", False) if recomputed is None else recomputed
        if not same or recomputed:
            return None, 0
        kept = self.model(inputs_embeds=true[0, :, :begin], use_cache=True, logits_to_keep=1).past_key_values
        plain = kept is not None and all(type(layer) is DynamicLayer for layer in getattr(kept, "layers", [None]))
        return (kept, begin) if plain else (None, 0)


class Critic(nn.Module):
    """A number for each prefix, 0 at first: a copy of a policy's model, whose last hidden states a linear head reads."""

    def __init__(self, policy: LanguagePolicy) -> None:
        super().__init__()
        self.body = copy.deepcopy(policy.model.base_model)
        self.head = nn.Linear(policy.model.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.to(next(policy.parameters()).device)

    def forward(self, states: Int[Tensor, "1 B T"]) -> Float[Tensor, "1 B T 1"]:
        hidden = self.body(input_ids=states[0], use_cache=False).last_hidden_state
        with torch.autocast(hidden.device.type, enabled=False):  # eight bits are few for a number that is to be learnt
            return self.head(hidden.to(self.head.weight.dtype))[None]


@contextmanager
def looking(policy: LanguagePolicy) -> Iterator[None]:
    """For a while without dropout and as it was before it was compiled: what is looked at has shapes of its own, and each of
    them would be compiled anew."""
    was_training, compiled = policy.training, getattr(policy.model, "_compiled_call_impl", None) is not None
    policy.eval()
    try:
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():
            yield
    finally:
        policy.train(was_training)


def counted(mask: Bool[Tensor, "1 B T"]) -> Int[Tensor, " K"]:
    """The columns in which any row has a step that counts."""
    return mask.flatten(0, -2).any(0).nonzero()[:, 0]


def _copied(cache: Any, dtype: torch.dtype | None) -> Any:
    """A cache that may grow without the other, and that no gradient reaches."""
    from transformers import DynamicCache

    copied = DynamicCache()
    for index, layer in enumerate(cache.layers):
        copied.update(layer.keys.detach().to(dtype), layer.values.detach().to(dtype), index)
    return copied


# ---- sampling ----


@torch.no_grad()
def sample(
    policy: LanguagePolicy,
    prompts: Int[Tensor, "B P"],
    *,
    end: int,
    limit: int,
    generator: torch.Generator | None = None,
    choose: Callable[[Float[Tensor, "B V"]], Int[Tensor, " B"]] | None = None,
    pad: int = 0,
) -> Int[Tensor, "B T"]:
    """One answer to each prompt, all prompts of one length: sampled, or the likeliest token each time if there is no generator.

    Args:
        policy: who answers.
        prompts: token ids.
        end: the end token.
        limit: tokens after which an answer is cut off.
        generator: of the draws.
        choose: says the tokens in its place, given the logits of each.
        pad: what follows the end.

    Returns:
        Tokens with the end token, if it was said, then `pad`; T is at most `limit`.
    """
    if choose is None:
        choose = (lambda logits: logits.argmax(-1)) if generator is None else (lambda logits: drawn(logits, generator))
    cache, step = None, prompts
    alive = torch.ones(len(prompts), dtype=torch.bool, device=prompts.device)
    said: list[Tensor] = []
    with looking(policy):
        for _ in range(limit):
            out = policy.model(input_ids=step, past_key_values=cache, use_cache=True, logits_to_keep=1)
            logits, cache = out.logits[:, -1].float() / policy.temperature, out.past_key_values
            token = choose(logits)
            said.append(torch.where(alive, token, pad))
            alive = alive & (token != end)
            if not alive.any():
                break
            step = token[:, None]
    return torch.stack(said, -1)


def drawn(logits: Float[Tensor, "*batch V"], generator: torch.Generator) -> Int[Tensor, "*batch"]:
    """A token each, by one uniform number each that is drawn on the generator's device: the same on any other."""
    chance = torch.softmax(logits.double(), -1).cumsum(-1)
    shape = (*logits.shape[:-1], 1)
    draw = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device).to(logits.device)
    return (draw * chance[..., -1:] >= chance).sum(-1).clamp(max=logits.shape[-1] - 1)


# ---- models by name ----


def build(size: str, *, seed: int = 0) -> PreTrainedModel:
    """A Llama of one of `SIZES` with random weights."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(VOCABULARY), max_position_embeddings=CONTEXT, tie_word_embeddings=False, bos_token_id=None,
        eos_token_id=VOCABULARY.index("<end>"), pad_token_id=VOCABULARY.index("<pad>"), **SIZES[size],
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def load(name: str, *, seed: int = 0) -> tuple[LanguagePolicy, PreTrainedTokenizerBase, Form]:
    """A model, its tokenizer, and the form in which it is asked.

    Args:
        name: a name in `SIZES`; a folder that `save_pretrained` wrote; a GGUF file; or a name on the Hugging Face hub.
        seed: of the weights of one that is built here.

    Raises:
        ValueError: if there is no such model, or its tokenizer has no end token.
    """
    if name in SIZES:
        return LanguagePolicy(build(name, seed=seed)), COMPACT.tokenizer, COMPACT
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(name)
    where: dict[str, Any] = {"pretrained_model_name_or_path": name}
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ValueError(f"model {name!r} is no file; allowed: one that is there")
        where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    elif not path.exists():
        where["local_files_only"] = not _hub_answers()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each of its tries would be a line of its own
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    except (OSError, ValueError, ImportError) as error:
        allowed = f"{', '.join(SIZES)}, a folder with a model, a GGUF file (it takes the package gguf), a name on the hub"
        raise ValueError(f"model {name!r} cannot be loaded ({_first_line(error)}); allowed: {allowed}") from error
    if tokenizer.eos_token_id is None:
        raise ValueError(f"the tokenizer of {name!r} has no end token; allowed: one with eos_token, or answers have no end")
    own = set(VOCABULARY) <= set(tokenizer.get_vocab())
    return LanguagePolicy(model), tokenizer, COMPACT if own else CHAT


def _hub_answers() -> bool:
    """Whether there is a way to the hub: without one, it would be tried again for most of a minute."""
    from huggingface_hub import constants

    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # then the way is another's
    hub = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((hub.hostname, hub.port or 443), timeout=5).close()
    except OSError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
