"""Cost of a run: peak memory, FLOPs, and the share of a device's arithmetic that is used."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch

from ift_gridworld.language.policy import LanguagePolicy

__all__ = ["PeakMemory", "peak_flops", "training_flops", "utilisation"]

STEADY = 20  # products in a row that are no faster than the fastest
LONGEST = 3.0  # seconds

# Multiplications and additions a second by the makers' data sheets, dense, for bfloat16 and float32.
DATA_SHEETS = {
    "H200": {torch.bfloat16: 989e12, torch.float32: 67e12},
    "H100": {torch.bfloat16: 989e12, torch.float32: 67e12},
    "A100": {torch.bfloat16: 312e12, torch.float32: 19.5e12},
}


class PeakMemory:
    """Most memory that was held since the object was made.

    On a GPU that is what tensors occupied there; on Linux what the whole process occupied; elsewhere it is not known.

    Args:
        device: the device whose memory is measured.
    """

    def __init__(self, device: torch.device) -> None:
        self.device: torch.device | None = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
            except OSError:
                self.device = None

    def read(self) -> int:
        """Return the peak in bytes; 0 where it is not known."""
        if self.device is None:
            return 0
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        try:
            lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)  # sandboxes leave it out


def training_flops(policy: LanguagePolicy, tokens: float, predicted: float) -> float:
    """Return the FLOPs of one forward and one backward pass: 6 a token for each weight of a matrix.

    After Kaplan et al. (2020, arXiv 2001.08361). The products inside attention are not counted, nor is what a method runs
    beside these two passes (IFT's first pass, a reference, sampling): it makes an update more expensive, not the model
    better trained.

    Args:
        policy: the model.
        tokens: number of tokens that are read.
        predicted: number of tokens of answers, the only ones that the last layer predicts.
    """
    table, head = policy.model.get_input_embeddings().weight, policy.model.get_output_embeddings().weight
    body = sum(p.numel() for p in policy.parameters() if p.ndim > 1 and p is not table and p is not head)
    return 6 * (body * tokens + head.numel() * predicted)


def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOPs a second that a device is capable of: from its data sheet, else measured on a large matrix product.

    Other work on the machine only makes a product slower, so the fastest of many is taken: products go on until
    `STEADY` in a row are no faster, for `LONGEST` seconds at most.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        for device_name, rates in DATA_SHEETS.items():
            if device_name in name:
                return rates[dtype]
    size, best, since = 8192 if device.type == "cuda" else 1024, float("inf"), 0
    one, other = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    started = time.perf_counter()
    while since < STEADY and time.perf_counter() - started < LONGEST:
        began = time.perf_counter()
        float((one @ other)[0, 0])  # waits for the device
        seconds = time.perf_counter() - began
        since = 0 if seconds < 0.98 * best else since + 1
        best = min(best, seconds)
    return 2 * size**3 / best


def utilisation(flops: float, seconds: float, peak: float) -> float:
    """Return the share of a device's FLOPs that was used; NaN where the peak was measured too low to say.

    >>> utilisation(3.0, 2.0, 6.0), utilisation(3.0, 2.0, 1.0)
    (0.25, nan)

    Args:
        flops: FLOPs that were made.
        seconds: in how long.
        peak: FLOPs a second that the device is capable of.
    """
    share = flops / max(1e-9, seconds) / peak
    return share if share <= 1 else math.nan
