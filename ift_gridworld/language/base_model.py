"""The base model of a task: trained on mediocre paths, and kept in a cache between runs."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ift_gridworld.language.checkpoints import read_tensors
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.task import Task, encode_walks
from ift_gridworld.language.training import align
from ift_gridworld.methods.options import TrainingOptions
from ift_gridworld.reading import naming
from ift_gridworld.runtime import optional
from ift_gridworld.storage import write_atomically

__all__ = ["cache_folder", "train_or_load_base"]


def cache_folder() -> Path:
    """Return the folder that base models are kept in between runs.

    Raises:
        RuntimeError: if the user has no home folder, and XDG_CACHE_HOME is not set.
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ift_gridworld"


def train_or_load_base(
    task: Task,
    policy: LanguagePolicy,
    tokenizer: MoveTokenizer,
    *,
    model: str,
    steps: int,
    rows: int,
    peak: float,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
    cache: Path | None = None,
) -> bool:
    """Train a model on the task's mediocre paths, in place; or load it from the cache.

    The cache only saves time: a file in it that cannot be read is made anew, and where nothing can be written the model is
    trained all the same; a warning says so.

    Args:
        task: the task.
        policy: a model that was built here, untrained.
        tokenizer: its moves as tokens.
        model: its name in `models.SIZES`.
        steps: number of updates.
        rows: number of rows of an update.
        peak: highest learning rate.
        device, dtype: device of the policy, and precision of the updates.
        progress: called with (updates done, updates in all).
        cache: folder of the cache (default: `cache_folder`).

    Returns:
        Whether it was trained.
    """
    path: Path | None = None
    kept = False
    with optional("the cache of base models cannot be used, and one is trained"):
        path = (cache or cache_folder()) / _file_name(task, model, steps, rows, peak, device, dtype)
        if path.exists():
            _load(path, policy)
            return False
    if path is not None:
        with optional("the base model is not kept for the next run"):  # said before it is trained, which takes minutes
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=path.parent):
                kept = True
    data = encode_walks(task.lakes["base"], task.base_walks, tokenizer)
    source = TextSource(data, end=tokenizer.end, rows=rows, seed=task.seed, device=device)
    training = TrainingOptions(steps=steps, learning_rate=peak)
    align("sft", source, policy, training=training, dtype=dtype, progress=progress)
    if path is not None and kept:
        with optional("the base model is not kept for the next run"):
            _save(path, policy)
    return True


def _load(path: Path, policy: LanguagePolicy) -> None:
    """Load the policy's weights; raise a ValueError, and leave the policy as it is, if the file has others."""
    with naming(path, "a base model"):
        _, tensors = read_tensors(path)
        own = policy.state_dict()
        if {name: (t.shape, t.dtype) for name, t in tensors.items()} != {name: (t.shape, t.dtype) for name, t in own.items()}:
            raise ValueError("its tensors are not those of this model")
    policy.load_state_dict(tensors)


def _save(path: Path, policy: LanguagePolicy) -> None:
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(
        path, save({name: value.detach().cpu().contiguous().clone() for name, value in policy.state_dict().items()})
    )


def _file_name(task: Task, model: str, steps: int, rows: int, peak: float, device: torch.device, dtype: torch.dtype) -> str:
    """Return a name that depends on everything that the base depends on."""
    content: dict[str, Any] = {"task": asdict(task) | {"maps": 0, "validation": 0, "held_out": 0}, "model": model}
    content |= {"steps": steps, "rows": rows, "peak": peak, "torch": torch.__version__, "device": device.type}
    content |= {"dtype": str(dtype), "form": 1}
    content["lakes"] = hashlib.sha256(b"".join(task.lakes["base"].fingerprints)).hexdigest()
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    return f"base-{model}-{digest}.safetensors"
