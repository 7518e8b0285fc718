"""Several processes that share a run, as `accelerate launch` or torchrun starts them."""

from __future__ import annotations

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.checks import read_variable

__all__ = ["ProcessGroup", "average_gradients", "started_alone", "sum_over_processes"]


def started_alone() -> bool:
    """Return whether `accelerate launch` was asked for several processes and has started one, as it does on a CPU.

    It then sets the address where processes would meet, and none of the variables that count them.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    return launched and read_variable("WORLD_SIZE", 0) == 0


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that a launcher has started, or this one alone.

    Attributes:
        device: this process's own device.
        rank: number of this process; 0 measures and saves.
        processes: number of processes.
    """

    device: torch.device
    rank: int = 0
    processes: int = 1

    @classmethod
    def join(cls, device: str) -> ProcessGroup:
        """Join the group that the environment describes; each process of several takes a GPU of its own.

        Args:
            device: cpu or cuda.
        """
        if read_variable("WORLD_SIZE", 1) <= 1:
            return cls(torch.device(device))
        for name in ("RANK", "LOCAL_RANK", "MASTER_PORT"):  # which accelerate reads
            read_variable(name, 0)
        from accelerate import PartialState

        # The others wait while the first makes a base or measures.
        state = PartialState(cpu=device == "cpu", timeout=timedelta(days=1))
        # Threads of a group that still stands when the interpreter ends may abort the process.
        atexit.register(state.destroy_process_group)
        own = torch.device("cpu") if device == "cpu" else torch.device("cuda", state.local_process_index)
        return cls(own, state.process_index, state.num_processes)

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.processes > 1:
            from accelerate import PartialState

            PartialState().wait_for_everyone()

    def of_first(self, value: float) -> float:
        """Return the first process's value on every process."""
        own = torch.tensor([value if self.rank == 0 else 0.0], dtype=torch.float64, device=self.device)
        return float(sum_over_processes(own, self.processes))


def average_gradients(parameters: Sequence[torch.nn.Parameter], processes: int) -> None:
    """Replace the gradients of parameters by their mean over processes, in one reduction."""
    if processes > 1:
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        torch.distributed.all_reduce(flat)
        flat /= processes
        for parameter, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = piece.view_as(parameter)


def sum_over_processes(x: Float[Tensor, "K *any"], processes: int) -> Float[Tensor, "K *any"]:
    """Sum a tensor over processes, in place; return it."""
    if processes > 1:
        torch.distributed.all_reduce(x)
    return x
