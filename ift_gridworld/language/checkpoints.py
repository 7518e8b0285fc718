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

from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.storage import write_atomically

__all__ = ["Checkpoint", "weights_hash"]


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
        """Write the optimiser's parameters and state, and the progress, which must be plain enough for JSON."""
        from safetensors.torch import save

        tensors = {name: value.detach().cpu().contiguous().clone() for name, value in _tensors(optimiser).items()}
        content = {"about": self.about, **progress}
        write_atomically(self.path, save(tensors, metadata={"run": json.dumps(content)}))

    def restore(self, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
        """Read the file into the optimiser and its parameters, and return the progress.

        Raises:
            ValueError: if the file cannot be read, or is of another run.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "pt") as file:
                progress = json.loads(file.metadata()["run"])
                about = progress.pop("about")
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"checkpoint {self.path} cannot be read ({error}); allowed: one that a run has left, or none"
            ) from error
        expected = json.loads(json.dumps(self.about))
        if about != expected:
            changed = [name for name in expected if about.get(name) != expected[name]]
            raise ValueError(
                f"checkpoint {self.path} is of another run (other {', '.join(changed)}); allowed: the same, or another folder"
            )
        with torch.no_grad():
            for i, parameter in enumerate(_parameters(optimiser)):
                parameter.copy_(tensors[f"parameter.{i}"])
                prefix = f"optimiser.{i}."
                state = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
                optimiser.state[parameter] = {n: v if n == "step" else v.to(parameter.device) for n, v in state.items()}
        return progress


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
