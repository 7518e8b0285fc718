"""Files: written whole or not at all, numbers rounded and tables packed the same way for every file."""

from __future__ import annotations

import base64
import errno
import math
import os
import platform
import re
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ift_gridworld.reading import inflate

__all__ = [
    "DIGITS",
    "check_empty",
    "check_folder",
    "file_stem",
    "make_folder",
    "pack",
    "plain",
    "replaced",
    "round_significant",
    "umask",
    "unpack",
    "versions",
    "write_atomically",
]

LONGEST_STEM = 120  # bytes, of the 255 that most file systems allow for a name
DIGITS = 9  # significant decimal digits kept of probabilities and metrics


def versions(more: Sequence[str] = ()) -> dict[str, str]:
    """Return the installed versions of Python, of the packages that numbers depend on, and of those named."""
    installed = {"python": platform.python_version()}
    for name in ("ift_gridworld", "torch", "numpy", "gymnasium", "scipy", "matplotlib", "pillow", *more):
        with suppress(PackageNotFoundError, OSError, KeyError):
            number: str | None = version(name)  # None, whatever is declared, where an installation has lost its metadata
            if number is not None:
                installed[name] = number
    return installed


def write_atomically(path: str | Path, content: bytes) -> Path:
    """Write a file, complete or not at all (`replaced`)."""
    with replaced(path) as temporary:
        temporary.write_bytes(content)
    return Path(path)


@contextmanager
def replaced(path: str | Path) -> Iterator[Path]:
    """Yield a temporary file beside the target that replaces it when the block ends: nobody ever sees half a file.

    The temporary name is short, belongs to this call alone, and ends as the target's does, for writers that go by the suffix.
    If the block is left by an exception, an interrupt included, the temporary file is removed.

    Args:
        path: of the target.

    Raises:
        ValueError: if the target is a folder.
        OSError: naming the target, if it cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; a file is to be written there")
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "there is no such folder to write into", str(path.parent))
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-", suffix=path.suffix[:16])
        os.close(handle)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    temporary = Path(name)
    try:
        yield temporary
        with suppress(OSError):  # a network share may refuse: the file is then as readable as the share makes it
            temporary.chmod(0o666 & ~umask())
        os.replace(temporary, path)
    except OSError as error:
        if error.filename not in (None, name):
            raise
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def file_stem(name: str) -> str:
    """Return a name as the beginning of a file's: with no sign that a folder's name is made of, and not too long for a file.

    Args:
        name: of a method, or of several; it is returned as it is where it can be.

    Example:
        >>> file_stem("sft-ift"), file_stem("a/b")
        ('sft-ift', 'a_b-07f4401c')
    """
    stem = re.sub(r"[^\w.+-]+", "_", name).encode()[:LONGEST_STEM].decode(errors="ignore")
    return name if stem == name else f"{stem}-{zlib.crc32(name.encode()):08x}"  # what is cut may be all that differs


def umask() -> int:
    """Return the permissions that a new file of this process lacks."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def round_significant(values: np.ndarray) -> np.ndarray:
    """Round to `DIGITS` significant digits; what is not finite becomes NaN, as it will read from a file."""
    values = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.where((values == 0) | ~np.isfinite(values), 0.0, np.floor(np.log10(np.abs(values))))
    with np.errstate(invalid="ignore", over="ignore"):
        scale = 10.0 ** (DIGITS - 1 - magnitude)
        return np.where(np.isfinite(values) & np.isfinite(scale), np.round(values * scale) / scale, values)


def pack(tables: Float[np.ndarray, "M *table"]) -> dict[str, Any]:
    """Tables of float32, to the last bit. Each is written as the bits in which it differs from the one before, so that rows
    which have not changed are zeros; all lowest bytes come first, all highest last; then zlib and base64."""
    bits = np.ascontiguousarray(tables, "<f4").view("<u4")
    differing = np.concatenate([bits[:1], bits[1:] ^ bits[:-1]])
    data = zlib.compress(differing.reshape(-1, 1).view(np.uint8).T.tobytes())
    return {"shape": tables.shape, "data": base64.b64encode(data).decode()}


def unpack(shape: Sequence[int], data: str) -> Float[np.ndarray, "M *table"]:
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
    try:
        existing = next(path for path in (folder, *folder.absolute().parents) if _exists(path))
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise _cannot_write(folder, option, error) from None


def make_folder(folder: Path, option: str = "--out") -> None:
    """Make sure that the folder is there and can be written into."""
    check_folder(folder, option)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, option, error) from None


def check_empty(folder: Path, option: str) -> None:
    """Raise a ValueError unless a folder is new or empty: whatever is in it would be taken for a part of what is written."""
    if not _exists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    what = "is not empty" if folder.is_dir() else "is no folder"
    raise ValueError(f"{option} is {str(folder)!r}, which {what}; allowed: a new folder, or an empty one")


def _exists(path: Path) -> bool:
    try:
        path.stat()  # unlike `Path.exists`, it raises an error for a name that is too long
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _cannot_write(folder: Path, option: str, error: OSError) -> ValueError:
    return ValueError(f"{option} is {str(folder)!r}: cannot write there ({error.strerror}); allowed: a folder to write into")
