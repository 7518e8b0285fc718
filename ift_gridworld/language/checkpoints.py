"""Checkpoints of a run: weights, optimiser and progress in one safetensors file, from which a run resumes to the last bit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ift_gridworld.escape import one_line
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.reading import naming, parse_json, read_as, read_fields, shown
from ift_gridworld.runtime import optional
from ift_gridworld.storage import write_atomically

__all__ = ["Checkpoint", "read_tensors", "weights_hash"]


def weights_hash(policy: LanguagePolicy) -> str:
    """Return the SHA-256 of a policy's weights."""
    digest = hashlib.sha256()
    for parameter in policy.parameters():
        digest.update(parameter.detach().float().cpu().contiguous().numpy().data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """The file that a run's state is kept in.

    Attributes:
        path: the file.
        about: what identifies the run: method, settings, data, …; a checkpoint of another run is refused.
    """

    path: Path
    about: dict[str, Any]

    def save(self, optimiser: torch.optim.Optimizer, progress: Mapping[str, Any]) -> None:
        """Write the optimiser's parameters and state, and the progress, which must be plain enough for JSON.

        A run needs no checkpoint: where none can be written, a warning says so.
        """
        from safetensors.torch import save

        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in _tensors(optimiser).items()}
        content = {"about": self.about, **progress}
        packed = save(tensors, metadata={"run": json.dumps(content)})
        with optional("no checkpoint is kept, and the run goes on"):
            write_atomically(self.path, packed)

    def restore(self, optimiser: torch.optim.Optimizer, kind: type) -> dict[str, Any]:
        """Read the file into the optimiser and its parameters, and return the progress.

        Args:
            optimiser: the optimiser, which is left as it is unless the whole file fits.
            kind: a dataclass that says what the progress is.

        Raises:
            ValueError: if the file cannot be read, does not fit the optimiser, or is of another run.
        """
        with naming(self.path, "a checkpoint", "delete it to start this run anew"):
            metadata, tensors = read_tensors(self.path)
            progress = read_as(dict[str, Any], parse_json(metadata.get("run", "")), "its metadata")
            about = read_as(dict[str, Any], progress.pop("about", None), "about")
            read_fields(kind, progress)
        expected = json.loads(json.dumps(self.about))
        if about != expected:
            changed = [name for name in expected if about.get(name) != expected[name]]
            raise ValueError(
                f"checkpoint {self.path} is of another run (other {', '.join(changed)}); allowed: the same, or another folder"
            )
        with naming(self.path, "a checkpoint", "delete it to start this run anew"):
            _check_tensors(tensors, optimiser)
        with torch.no_grad():
            for i, parameter in enumerate(_parameters(optimiser)):
                parameter.copy_(tensors[f"parameter.{i}"])
                prefix = f"optimiser.{i}."
                state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
                optimiser.state[parameter] = {n: v if n == "step" else v.to(parameter.device) for n, v in state.items()}
        return progress


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata and the tensors of a safetensors file.

    Raises:
        ValueError: if it is no such file, or is cut off.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dictionary)
    except SafetensorError as error:
        raise ValueError(f"it is no file of tensors, or is cut off ({one_line(error, 100)})") from None


STATE = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each parameter


def _check_tensors(tensors: Mapping[str, Tensor], optimiser: torch.optim.Optimizer) -> None:
    """Raise a ValueError unless there is a tensor for each that an update changes, of its shape: none is broadcast."""
    shapes: dict[str, tuple[torch.Size, torch.dtype]] = {}
    for i, parameter in enumerate(_parameters(optimiser)):
        shapes[f"parameter.{i}"] = parameter.shape, parameter.dtype
        if any(name.startswith(f"optimiser.{i}.") for name in tensors):  # none, before the first update
            for name in STATE:
                own = (torch.Size(), torch.float32) if name == "step" else (parameter.shape, parameter.dtype)
                shapes[f"optimiser.{i}.{name}"] = own
    for name in sorted(set(shapes) ^ set(tensors)):
        raise ValueError(f"it has {'no' if name in shapes else 'a'} tensor {shown(name)}; allowed: those of this run")
    for name, (shape, dtype) in shapes.items():
        tensor = tensors[name]
        if (tensor.shape, tensor.dtype) != (shape, dtype):
            raise ValueError(f"{name} is {tensor.dtype} of shape {list(tensor.shape)}; allowed: {dtype} of {list(shape)}")


def _parameters(optimiser: torch.optim.Optimizer) -> Iterator[Tensor]:
    return (parameter for group in optimiser.param_groups for parameter in group["params"])


def _tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return everything that an update changes, by name."""
    tensors: dict[str, Tensor] = {}
    for i, parameter in enumerate(_parameters(optimiser)):
        tensors[f"parameter.{i}"] = parameter
        for name, value in optimiser.state.get(parameter, {}).items():
            tensors[f"optimiser.{i}.{name}"] = value
    return tensors
