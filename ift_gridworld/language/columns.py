"""The columns of a batch in which steps count, known on the host, so that no update waits for the device to look at a mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary, WeakTensorKeyDictionary

__all__ = ["Columns", "columns_of", "remember_columns"]


@dataclass(frozen=True, eq=False)
class Columns:
    """The columns in which steps of any row count.

    Attributes:
        index: the columns, on the mask's device.
        begin: the first of them; 0 where there is none.
        together: whether all rows begin to count there, so that their prompts have one length.
    """

    index: Int[Tensor, " K"]
    begin: int
    together: bool


_KNOWN: WeakIdKeyDictionary = WeakTensorKeyDictionary()


def columns_of(mask: Bool[Tensor, "*batch T"]) -> Columns:
    """Return the columns of a mask; the host waits for the device if they are not known (`remember_columns`).

    Args:
        mask: which steps count; it must not be changed afterwards.
    """
    columns = _KNOWN.get(mask)
    if columns is None:
        columns = remember_columns(mask, mask.flatten(0, -2).cpu().numpy())
    return columns


def remember_columns(mask: Bool[Tensor, "*batch T"], rows: Bool[np.ndarray, "B T"]) -> Columns:
    """Keep the columns of a mask whose rows are known on the host, for as long as the mask lives, and return them."""
    counted: np.ndarray = np.any(rows, axis=0)
    begin = int(counted.argmax()) if counted.size else 0
    index = torch.as_tensor(np.flatnonzero(counted)).to(mask.device, non_blocking=True)
    columns = Columns(index, begin, bool(counted.any() and rows[:, begin].all()))
    _KNOWN[mask] = columns
    return columns
