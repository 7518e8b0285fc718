"""The probe of a model: before anything is trained, every way of calling it is compared with its own forward pass.

A wrong path would train the model on wrong numbers without a word: embeddings that a class reads token ids beside, positions
that virtual tokens shift, a cache whose argument has another name and is swallowed. Two rows of random tokens tell.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ift_gridworld.escape import one_line
from ift_gridworld.language.calls import CACHES, ModelCalls, accepted, base_of, each_in_eval_mode, uncompiled

__all__ = ["check_packed", "probe", "text_config"]

SEED = 11  # of the tokens
LENGTH, PROMPT = 7, 4  # tokens of a row, and of the part that stands for a prompt
# Largest root mean square of a difference, relative to the spread of the logits, that counts as rounding. Layers add up their
# rounding (to some 1e-6 in float32); wrong paths were seen to differ by 3e-4 and more, in models whose layers do little.
TOLERANCE = {torch.bfloat16: 0.1, torch.float16: 0.02}
FINE_TOLERANCE = 5e-5
NOISE = 0.05  # deviation of the weights that stand in for those that are all 0
CAUSAL = "allowed: causal language models"


def text_config(model: Any) -> Any:
    """Return the configuration of a model's text decoder; None where a model has no configuration."""
    config = getattr(model, "config", None)
    return getattr(config, "get_text_config", lambda decoder: config)(decoder=True)


def probe(model: nn.Module) -> ModelCalls:
    """Return how a model is to be called so that every path gives the model's own numbers.

    Paths compared with `model(input_ids)` on two rows of random tokens: the same from embeddings, at some positions alone,
    token by token with and without a cache, embeddings after a prompt's cache; and padding behind a row, which must change
    nothing. What a class lacks is replaced where possible: token ids are passed beside embeddings, all logits are computed
    and selected from, whole prefixes are read again instead of a cache.

    Args:
        model: a causal language model, in any mode; it is left as it was.

    Raises:
        ValueError: if the model is not causal, or a path that cannot be replaced gives other numbers; the message names the
            class.
    """
    with torch.no_grad(), _undisturbed(model), _without_zeros(model):
        return _Probe(model).calls()


def check_packed(model: nn.Module, calls: ModelCalls) -> None:
    """Check that a model reads sequences that share a row as it reads each alone, from token ids and from embeddings.

    Some classes and attention kernels take no notice of the positions by which sequences are told apart: a token then attends
    to the sequence before its own.

    Args:
        model: a causal language model, in any mode; it is left as it was.
        calls: how the model is called, as `probe` returned it.

    Raises:
        ValueError: if it does not; the message names the class.
    """
    with torch.no_grad(), _undisturbed(model), _without_zeros(model):
        _Probe(model).check_packed(calls)


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Run a model in evaluation mode and uncompiled, and keep the global generator's state."""
    with torch.random.fork_rng(devices=[]), each_in_eval_mode(model), uncompiled(model):
        yield


@contextmanager
def _without_zeros(model: nn.Module) -> Iterator[None]:
    """Give parameters that are all 0 random values for the time being.

    What is 0 at first (adapters, scales of Gemma3n) hides what it multiplies, and would be right only until it is trained.
    """
    generator, zeros = torch.Generator().manual_seed(1), []
    try:
        for parameter in model.parameters():
            if parameter.is_floating_point() and parameter.numel() and not bool(parameter.any()):
                zeros.append(parameter)
                noise = torch.randn(parameter.shape, generator=generator) * NOISE
                parameter.copy_(noise.to(parameter))
        yield
    finally:
        for parameter in zeros:
            parameter.zero_()


class _Probe:
    """One probe: the model's own numbers, and the comparisons."""

    def __init__(self, model: Any) -> None:
        self.model = model
        base, kind = base_of(model), type(model).__name__
        self.name = kind if base is model else f"{kind} of {type(base).__name__}"
        self.base = base
        if getattr(text_config(base), "is_encoder_decoder", False):
            raise ValueError(f"{self.name} is an encoder with a decoder; allowed: causal language models, of a decoder alone")
        try:
            self.table = self.model.get_input_embeddings()
            self.weight: Tensor = self.table.weight
        except (AttributeError, NotImplementedError) as error:
            raise ValueError(
                f"{self.name} has no table of token embeddings; allowed: models whose get_input_embeddings returns one"
            ) from error
        self.ids = self._tokens()

    def _tokens(self) -> Int[Tensor, "2 T"]:
        """Return random tokens, without those that have a role of their own (padding, images)."""
        rows = self._rows()
        roles: set[int] = set()
        for config in (getattr(self.model, "config", None), text_config(self.model)):
            for name, value in vars(config).items() if hasattr(config, "__dict__") else ():
                if name.endswith(("_token_id", "_token_index")):
                    roles |= set(value if isinstance(value, list) else [value])
        plain = torch.tensor([token for token in range(min(rows, 4096)) if token not in roles])
        if len(plain) < 2:
            raise ValueError(f"{self.name} has {rows} tokens, all with a role of their own; allowed: two plain tokens at least")
        index = torch.randint(len(plain), (2, LENGTH), generator=torch.Generator().manual_seed(SEED))
        return plain[index].to(self.weight.device)

    def _rows(self) -> int:
        return int(getattr(self.table, "num_embeddings", self.weight.shape[0]))

    def calls(self) -> ModelCalls:
        """Compare all paths, in the order in which each takes the ones before for granted."""
        options = frozenset(name for name in ("use_cache", "attention_mask") if accepted(self.model, name))
        plain = ModelCalls(keeps=False, cache=None, shares=False, options=options, balances=self._balances())
        try:
            self.own = plain.output(self.model, self.ids)[0]
        except Exception as error:  # any class fails in words of its own
            raise ValueError(
                f"{self.name} cannot be called with token ids alone ({one_line(error)[:200]}); allowed: causal language models"
            ) from error
        self._check_own()
        calls = replace(plain, offset=self.own.shape[1] - LENGTH)
        self.own = self.own[:, calls.offset :]
        self._check_causal(calls)
        calls = self._with_embeddings(calls)
        if accepted(self.model, "logits_to_keep") and self._kept(replace(calls, keeps=True)):
            calls = replace(calls, keeps=True)
        calls = replace(
            calls, cache=next((n for n in self._cache_names() if self._token_by_token(replace(calls, cache=n))), None)
        )
        if calls.cache is None and not self._token_by_token(calls):
            raise ValueError(f"{self.name} says something else of a prefix than of the same tokens in a longer text; {CAUSAL}")
        share = calls.cache is not None and calls.keeps and not (calls.beside or calls.offset or calls.balances)
        return replace(calls, shares=share and self._continues(calls))

    # ---- what the model must be ----

    def _check_own(self) -> None:
        logits = self.own
        if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[0] != 2 or logits.shape[1] < LENGTH:
            shape = tuple(getattr(logits, "shape", ()))
            raise ValueError(f"{self.name} returns logits of shape {shape}; allowed: one row of logits for each token")
        if logits.shape[-1] > self._rows():
            raise ValueError(
                f"{self.name} predicts {logits.shape[-1]} tokens and has embeddings of {self._rows()}; "
                "allowed: an embedding for each token that is predicted"
            )
        if torch.isnan(logits).any():
            raise ValueError(f"{self.name} returns NaN for random tokens; allowed: a model with finite weights")

    def _check_causal(self, calls: ModelCalls) -> None:
        """Check that a token's logits depend neither on what follows, padding included, nor on the other row."""
        config = text_config(self.model)
        pad = getattr(config, "pad_token_id", None)
        pad = pad if isinstance(pad, int) and 0 <= pad < self._rows() else int(self.ids[1, 0])
        padded = self.ids.flip(0).clone()
        padded[1, PROMPT:] = pad
        found = self._result(lambda: calls.output(self.model, padded)[0])
        if not self._same(found[1, :PROMPT], self.own[0, :PROMPT]) or not self._same(found[0], self.own[1]):
            raise ValueError(f"{self.name} says something else of a token when other tokens or rows follow it; {CAUSAL}")

    def check_packed(self, calls: ModelCalls) -> None:
        """Check both rows of tokens in one row, each with positions of its own."""
        self.own = calls.output(self.model, self.ids)[0]
        row, position = self.ids.reshape(1, -1), torch.arange(LENGTH, device=self.ids.device).repeat(2)[None]
        for embeddings in (None, self.table(row)):
            found = self._result(lambda: calls.output(self.model, row, embeddings, position_ids=position)[0])  # noqa: B023
            if found.shape[1] != 2 * LENGTH or not self._same(found.unflatten(1, (2, LENGTH))[0], self.own):
                raise ValueError(
                    f"{self.name} does not tell sequences in one row apart (attention: "
                    f"{getattr(text_config(self.base), '_attn_implementation', None)}); allowed: packing and padding_free False"
                )

    # ---- what can be replaced ----

    def _with_embeddings(self, calls: ModelCalls) -> ModelCalls:
        try:
            embeddings, other = self.table(self.ids), self.table(self.ids.flip(1))
        except Exception as error:  # own modules
            raise ValueError(
                f"{self.name} embeds no tokens ({one_line(error)[:200]}); allowed: a table of embeddings"
            ) from error
        if embeddings.shape[:2] != self.ids.shape or embeddings.ndim != 3:
            shape = tuple(embeddings.shape)
            raise ValueError(f"{self.name} embeds 2 rows of {LENGTH} tokens as {shape}; allowed: one vector for each token")
        for beside in (False, True):
            trial, read = replace(calls, beside=beside), embeddings.clone()
            if not self._same(self._read(trial, read), self.own):
                continue
            # Nor may a model that is run beside its ids take no notice of the embeddings.
            if not beside or not self._same(self._read(trial, other), self.own):
                return replace(trial, writes=not torch.equal(read, embeddings))
        raise ValueError(
            f"{self.name} says something else of embeddings than of the tokens that they are of; "
            "allowed: models that take inputs_embeds or use their embedding module's output"
        )

    def _read(self, calls: ModelCalls, embeddings: Tensor) -> Tensor:
        """Return the logits after embeddings, which are not protected from being written to."""
        return self._result(lambda: calls.output(self.model, self.ids if calls.beside else None, embeddings)[0])

    def _kept(self, calls: ModelCalls) -> bool:
        columns = torch.tensor([2, LENGTH - 2], device=self.ids.device)
        for states, embeddings in ((self.ids, None), (self.ids, self.table(self.ids))):
            found = self._result(lambda: calls.output(self.model, states, embeddings, columns)[0])  # noqa: B023
            if not self._same(found, self.own[:, columns]):
                return False
        return True

    def _cache_names(self) -> list[str]:
        named = inspect.signature(self.base.forward).parameters  # an argument that is not named would be swallowed
        return [name for name in CACHES if name in named]

    def _token_by_token(self, calls: ModelCalls) -> bool:
        """Return whether sampling's calls give the model's own numbers."""

        def found() -> Tensor:
            logits, past = calls.next_logits(self.model, self.ids[:, :PROMPT], None)
            steps = [logits]
            for step in range(PROMPT, LENGTH):
                if past is None:
                    return logits  # of another shape: there is no cache
                logits, past = calls.next_logits(self.model, self.ids[:, step : step + 1], past)
                steps.append(logits)
            return torch.stack(steps, 1)

        return self._same(self._result(found), self.own[:, PROMPT - 1 :])

    def _continues(self, calls: ModelCalls) -> bool:
        """Return whether embeddings may follow the cache of embeddings, more than one at a time."""
        cache = str(calls.cache)

        def found() -> Tensor:
            embeddings = self.table(self.ids)
            past = getattr(calls.output(self.model, None, embeddings[:, :PROMPT], use_cache=True)[1], cache)
            return calls.output(self.model, None, embeddings[:, PROMPT:], use_cache=True, **{cache: past})[0]

        return self._same(self._result(found), self.own[:, PROMPT:])

    def _balances(self) -> float:
        config = text_config(self.model)
        if not getattr(config, "output_router_logits", False):
            return 0.0
        return float(getattr(config, "router_aux_loss_coef", 0.0))

    # ---- comparisons ----

    def _result(self, call: Callable[[], Tensor]) -> Tensor:
        """Return what a call gives; nothing of the right shape if it raises."""
        try:
            return call()
        except Exception:  # a path that a class does not have raises whatever it likes
            return self.own.new_zeros(0, 0, 0)

    def _same(self, found: Any, expected: Float[Tensor, "*batch V"]) -> bool:
        """Return whether two results are equal to rounding."""
        if not isinstance(found, Tensor) or found.shape != expected.shape:
            return False
        dtypes = (found.dtype, expected.dtype, self.weight.dtype)
        tolerance = max(TOLERANCE.get(dtype, FINE_TOLERANCE) for dtype in dtypes)
        found, expected = found.double(), expected.double()
        difference = torch.where(found == expected, 0.0, found - expected)  # where both are -inf, too
        expected = torch.where(expected.isfinite(), expected, 0.0)
        spread = (expected - expected.mean(-1, keepdim=True)).square().mean().sqrt()
        return bool(difference.square().mean().sqrt() <= tolerance * spread)
