"""Language models by name: two sizes that are built here, folders, GGUF files and the Hugging Face hub."""

from __future__ import annotations

import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import torch

from ift_gridworld.checks import check_whole
from ift_gridworld.escape import one_line
from ift_gridworld.language.policy import CONTEXT, LanguagePolicy
from ift_gridworld.language.text import CHAT, COMPACT, END, PAD, VOCABULARY, Form
from ift_gridworld.runtime import is_terminal, standard_settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["SIZES", "bars_on_terminals", "build_model", "load_model", "quiet_transformers"]

# Llama configurations that are built here, on the compact vocabulary.
SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 176},
    "small": {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "intermediate_size": 1376},
}


@standard_settings(threads=None)
def build_model(size: str | dict[str, int], *, seed: int = 0) -> PreTrainedModel:
    """Build a Llama with random weights drawn from `seed`, of one of `SIZES` or of such sizes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(VOCABULARY), max_position_embeddings=CONTEXT, tie_word_embeddings=False, bos_token_id=None,
        eos_token_id=VOCABULARY.index(END), pad_token_id=VOCABULARY.index(PAD),
        **(SIZES[size] if isinstance(size, str) else size),
    )  # fmt: skip
    seed = check_whole("seed", seed, at_least=0)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)  # and no other device's, which `fork_rng` would not restore
        return LlamaForCausalLM(config)


@standard_settings(threads=None)
def load_model(name: str, *, seed: int = 0) -> tuple[LanguagePolicy, PreTrainedTokenizerBase, Form]:
    """Load or build a model; return it as a policy, with its tokenizer and the form in which lakes are written for it.

    Args:
        name: a name in `SIZES`, a folder that `save_pretrained` wrote, a GGUF file, or a name on the Hugging Face hub.
        seed: seed of the weights of a model that is built here.

    Raises:
        ValueError: if there is no such model, or its tokenizer has no end token.

    Example::

        policy, tokenizer, form = load_model("tiny", seed=0)
    """
    if name in SIZES:
        return LanguagePolicy(build_model(name, seed=seed)), COMPACT.tokenizer, COMPACT
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(name)
    source: dict[str, Any] = {"pretrained_model_name_or_path": name}
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ValueError(f"model {name!r} is no file; allowed: one that is there")
        source = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    elif not path.exists():
        source["local_files_only"] = not _hub_answers()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it would log a line a try
    try:
        with bars_on_terminals():
            tokenizer = AutoTokenizer.from_pretrained(**source)
            model = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    except Exception as error:  # a damaged file fails in whatever library reads a part of it
        allowed = f"{', '.join(SIZES)}, a folder with a model, a GGUF file (it takes the package gguf), a name on the hub"
        reason = one_line(str(error) or type(error).__name__)
        raise ValueError(f"model {name!r} cannot be loaded ({reason}); allowed: {allowed}") from error
    if tokenizer.eos_token_id is None:
        raise ValueError(f"the tokenizer of {name!r} has no end token; allowed: one with eos_token, or answers have no end")
    if path.suffix == ".gguf":
        _mark_dequantized(model)
    own = set(VOCABULARY) <= set(tokenizer.get_vocab())
    return LanguagePolicy(model), tokenizer, COMPACT if own else CHAT


def _mark_dequantized(model: Any) -> None:
    """Clear the flags of a model that was read from quantized weights and holds none: Trainer refuses quantized models."""
    if all(parameter.is_floating_point() for parameter in model.parameters()):
        model.is_quantized, model.hf_quantizer = False, None
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config


@contextmanager
def bars_on_terminals() -> Iterator[None]:
    """Let transformers show progress bars only where a person sees them."""
    from transformers.utils import logging as transformers_logging

    silent = transformers_logging.is_progress_bar_enabled() and not is_terminal(sys.stderr)
    if silent:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if silent:
            transformers_logging.enable_progress_bar()


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' messages and warnings about models that are built or loaded on trial."""
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)


def _hub_answers() -> bool:
    """Check whether the hub can be reached: without a connection its client would retry for most of a minute."""
    from huggingface_hub import constants

    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True  # the proxy decides
    hub = urlsplit(constants.ENDPOINT)
    try:
        socket.create_connection((hub.hostname, hub.port or 443), timeout=5).close()
    except OSError:
        return False
    except ValueError as error:  # the port
        raise ValueError(f"the environment variable HF_ENDPOINT is {constants.ENDPOINT!r}: {error}; allowed: a URL") from error
    return True
