"""What a run costs: memory, and how much of a device's arithmetic it puts to use."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from ift_gridworld.language.data import Completions
from ift_gridworld.language.models import LanguagePolicy, counted

# Multiplications and additions a second by the makers' data sheets, dense, for bfloat16 and float32.
DATA_SHEETS = {
    "H200": {torch.bfloat16: 989e12, torch.float32: 67e12},
    "H100": {torch.bfloat16: 989e12, torch.float32: 67e12},
    "A100": {torch.bfloat16: 312e12, torch.float32: 19.5e12},
}


class PeakMemory:
    """The most memory that was held since it was made.

    On a GPU what tensors occupied there; on Linux what the process occupied at most, all else included; elsewhere 0.
    """

    def __init__(self, device: torch.device) -> None:
        self.device: torch.device | None = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5")
            except OSError:
                self.device = None

    def read(self) -> int:
        """In bytes."""
        if self.device is None:
            return 0
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


def flops(policy: LanguagePolicy, tokens: float, predicted: float) -> float:
    """Of one forward and one backward pass: 6 a token for each weight of a matrix (Kaplan et al., 2020, arXiv 2001.08361).

    The products inside attention are left out, and so is whatever else a method runs beside these two passes (IFT's first
    pass, a reference, sampling): it makes an update dearer, not the model better trained.

    Args:
        policy: the model.
        tokens: that are read.
        predicted: tokens of answers, of which alone the last layer speaks.
    """
    table, head = policy.model.get_input_embeddings().weight, policy.model.get_output_embeddings().weight
    body = sum(p.numel() for p in policy.parameters() if p.ndim > 1 and p is not table and p is not head)
    return 6 * (body * tokens + head.numel() * predicted)


def peak_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOPs a second that the device is capable of: by its data sheet, or, where that is not known, in a large product."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for known, rates in DATA_SHEETS.items():
            if known in name:
                return rates[dtype]
    size, best = 8192 if device.type == "cuda" else 1024, float("inf")
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for _ in range(4):
        began = time.perf_counter()
        float((one @ other)[0, 0])  # waits for it
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


@torch.no_grad()
def predictions(policy: LanguagePolicy, answers: Completions, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """The likeliest token at each step of the answers, as IFT's first pass finds it in a precision."""
    batch = answers.batch(device=device)
    columns = counted(batch.mask)
    with torch.autocast(device.type, dtype or torch.float32, enabled=dtype not in (None, torch.float32)):
        logits = policy.logits(policy.embed(batch.states), columns)
    return logits.argmax(-1)[batch.mask[..., columns]]


def agreement(policy: LanguagePolicy, answers: Completions, device: torch.device) -> float:
    """Share of steps at which a first pass in bfloat16 predicts what one in float32 predicts."""
    found = [predictions(policy, answers, dtype, device) for dtype in (torch.bfloat16, torch.float32)]
    return float((found[0] == found[1]).float().mean())
