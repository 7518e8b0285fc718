"""Files: written whole or not at all, numbers rounded and tables packed the same way for every file."""

from __future__ import annotations

import base64
import errno
import math
import os
import platform
import tempfile
import zlib
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ift_gridworld.reading import inflate

__all__ = [
    "DIGITS",
    "check_folder",
    "make_folder",
    "pack",
    "plain",
    "round_significant",
    "unpack",
    "versions",
    "write_atomically",
]

DIGITS = 9  # significant decimal digits kept of probabilities and metrics


def versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Of python and of the packages that numbers depend on, and of those named, as installed."""
    installed = {"python": platform.python_version()}
    for name in ("ift_gridworld", "torch", "numpy", "gymnasium", "scipy", "matplotlib", "pillow", *more):
        with suppress(PackageNotFoundError, OSError, KeyError):
            number: str | None = version(name)  # None, whatever is declared, where an installation has lost its metadata
            if number is not None:
                installed[name] = number
    return installed


def write_atomically(path: str | Path, content: bytes) -> Path:
    """Write under a temporary name beside the target, then rename: nobody ever sees half a file."""
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; a file is to be written there")
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to write into", str(path.parent))
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        with suppress(OSError):  # a network share may refuse: the file is then as readable as the share makes it
            os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def round_significant(values: np.ndarray) -> np.ndarray:
    """To `DIGITS` significant digits; what is not finite becomes NaN, as it will read from a file."""
    values = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.where((values == 0) | ~np.isfinite(values), 0.0, np.floor(np.log10(np.abs(values))))
    with np.errstate(invalid="ignore", over="ignore"):
        scale = 10.0 ** (DIGITS - 1 - magnitude)
        return np.where(np.isfinite(values) & np.isfinite(scale), np.round(values * scale) / scale, values)


def pack(tables: Float[np.ndarray, "M S A"]) -> dict[str, Any]:
    """Tables of float32, to the last bit. Each is written as the bits in which it differs from the one before, so that rows
    which have not changed are zeros; all lowest bytes come first, all highest last; then zlib and base64."""
    bits = np.ascontiguousarray(tables, "<f4").view("<u4")
    differing = np.concatenate([bits[:1], bits[1:] ^ bits[:-1]])
    data = zlib.compress(differing.reshape(-1, 1).view(np.uint8).T.tobytes())
    return {"shape": tables.shape, "data": base64.b64encode(data).decode()}


def unpack(shape: Sequence[int], data: str) -> Float[np.ndarray, "M S A"]:
    """Return the tables that `pack` packed; raise a ValueError if the data are damaged, or of another shape."""
    planes = np.frombuffer(inflate(base64.b64decode(data), limit=4 * math.prod(shape)), np.uint8).reshape(4, -1)
    differing = np.ascontiguousarray(planes.T).view("<u4").reshape(shape)
    return np.bitwise_xor.accumulate(differing, 0).view("<f4").astype(np.float32)


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            value = value.astype(object)
            value[np.isnan(value.astype(float))] = None  # null: JSON knows no other way
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return value


def check_folder(folder: Path, option: str = "--out") -> None:
    """Make sure, before training, that the folder can be made and written into; leave nothing behind."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise ValueError(
            f"{option} is {str(folder)!r}: cannot write there, {existing} is no folder to write into; allowed: a folder"
        )


def make_folder(folder: Path, option: str = "--out") -> None:
    """Make sure that the folder is there and can be written into."""
    check_folder(folder, option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{option} is {str(folder)!r}: {error.strerror}; allowed: a folder to write into") from None
