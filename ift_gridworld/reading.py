"""Files that are read: within limits on size and depth, and field by field as the dataclass that they become declares.

A saved file may come from anybody. Nothing in it is run, no more is unpacked than it accounts for, and an error
is one line: the file, the field, the value, and what is allowed.
"""

from __future__ import annotations

import io
import json
import math
import reprlib
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import numpy as np
from jaxtyping import AbstractArray, Int

from ift_gridworld.escape import LONGEST, one_line

__all__ = [
    "LARGE",
    "SMALL",
    "Limits",
    "MaybeNaN",
    "Sizes",
    "as_text",
    "inflate",
    "naming",
    "parse_json",
    "read_arrays",
    "read_as",
    "read_bytes",
    "read_fields",
    "read_text",
    "shown",
]

SMALL = 2**26  # bytes of a file that holds settings and results
LARGE = 2**32  # bytes of a file, or of what it unpacks to, that holds the tables of millions of states, or a data set
DEEPEST = 16  # levels of values that no field declares, such as settings
PIECE = 2**20  # bytes that are read at a time: a pipe does not say how many there are
# Bytes that a packed byte may unpack to, beyond those that any file may: a study's text unpacks to twelve times its size, the
# arrays of a lake to thirty times theirs, and zeros to a thousand times.
TEXT_RATIO, FREE_TEXT = 50, 2**22
ARRAYS_RATIO, FREE_ARRAYS = 400, 2**26

MaybeNaN = Annotated[float, "NaN is allowed"]
Sizes = dict[str, int]
"""Sizes of the dimensions of a dataclass's arrays by name, as far as they are known."""


# ---- what is wrong with a file ----


def shown(value: object) -> str:
    """Return a value of a file as a message quotes it: shortened, and escaped as in Python.

    >>> shown([[999, 0]]), shown("x" * 1000), shown("\\x1b[31m")
    ('[[999, 0]]', "'xxxxxxxxxxxxxxxxxx...xxxxxxxxxxxxxxxxxxx'", "'\\\\x1b[31m'")
    """
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = 42
    return one_line(shortened.repr(value))


@contextmanager
def naming(path: str | Path, what: str, mend: str = "") -> Iterator[None]:
    """Raise whatever is wrong with a file as a ValueError of one line: the file, what it is not, and why.

    Args:
        path: the file.
        what: what it should be, such as "a saved run".
        mend: how to go on without it.
    """
    beginning = f"{one_line(path, 4096)} is not {what} that can be read: "
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"{beginning}there is no such file") from None
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it needs more memory than there is"
        raise ValueError(f"{beginning}{one_line(reason, 4 * LONGEST)}{f'; {mend}' * bool(mend)}") from error


# ---- bytes ----


def read_bytes(path: str | Path, limit: int = SMALL) -> bytes:
    """Return the content of a file of at most `limit` bytes.

    Raises:
        OSError: if the file cannot be read.
        ValueError: if it is larger.
    """
    content = bytearray()
    with open(path, "rb") as file:
        while piece := file.read(PIECE):
            content += piece
            if len(content) > limit:
                raise ValueError(f"it has more than {limit} bytes; allowed: at most that")
    return bytes(content)


def read_text(path: str | Path, limit: int = SMALL) -> str:
    """Return the text of a UTF-8 file of at most `limit` bytes, without a byte order mark; raise what `read_bytes` does."""
    return as_text(read_bytes(path, limit))


def as_text(content: bytes) -> str:
    """Return bytes as the text that they are in UTF-8; raise a ValueError if they are none."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"it is no text in UTF-8 ({error.reason} at byte {error.start})") from None


def inflate(data: bytes, *, limit: int | None = None) -> bytes:
    """Unpack one stream of zlib or gzip, and no more of it than is allowed.

    Args:
        data: the stream.
        limit: bytes that it may unpack to (default: what text may).

    Raises:
        ValueError: if it is damaged, cut off, or unpacks to more.
    """
    limit = max(FREE_TEXT, TEXT_RATIO * len(data)) if limit is None else limit
    unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        content = unpacking.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"packed bytes are damaged ({error})") from None
    if len(content) > limit:
        raise ValueError(f"{len(data)} packed bytes unpack to more than {limit}; allowed: at most that")
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError(f"packed bytes {'go on behind their end' if unpacking.eof else 'are cut off'}")
    return content


def read_arrays(data: bytes, names: Sequence[str]) -> list[np.ndarray]:
    """Return arrays of a NumPy archive (npz) by their names; nothing else in it is looked at.

    Raises:
        ValueError: if it is no such archive, or unpacks to too much.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [archive.getinfo(f"{name}.npy") for name in names]
            total = sum(member.file_size for member in members)
            limit = min(LARGE, max(FREE_ARRAYS, ARRAYS_RATIO * len(data)))
            if total > limit:
                raise ValueError(f"{len(data)} packed bytes unpack to {total}; allowed: at most {limit}")
            if any(member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for member in members):
                raise ValueError("it is packed in another way than NumPy packs it")
            return [_read_array(archive.read(member)) for member in members]
    except Exception as error:  # zipfile and NumPy each fail in many ways at damaged bytes
        raise ValueError(f"it is no NumPy archive that can be read ({one_line(error, 100)})") from None


def _read_array(content: bytes) -> np.ndarray:
    """Return the array of a file of NumPy's. Its header is held to its size first, for NumPy would make room for any shape."""
    file = io.BytesIO(content)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, _, dtype = read_header[np.lib.format.read_magic(file)](file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"an array of {dtype} has shape {shape} and {len(content)} bytes")
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


def parse_json(text: str | bytes) -> Any:
    """Return what JSON says.

    Raises:
        ValueError: if it is no JSON, is nested too deeply, or has a name twice in one object.
    """
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise ValueError("it is nested too deeply; allowed: what this package saves") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is no JSON ({one_line(error)})") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"it has {shown(twice)} twice; allowed: each name once")
    return entries


# ---- values, as an annotation declares them ----


@dataclass(frozen=True)
class Limits:
    """The least and the largest number that is allowed, in an annotation: ``Annotated[int, Limits(0)]``."""

    low: float
    high: float = math.inf


def read_as(kind: Any, value: Any, name: str, sizes: Sizes | None = None) -> Any:
    """Return a value of a JSON file as an annotation declares it.

    Args:
        kind: str, bool, int, float, a union of one of them with None, a tuple, list or mapping, an array of jaxtyping, a
            dataclass of such; Any is whatever JSON holds, not too deep. A number must be finite, unless it is
            declared as `MaybeNaN`; in an array of floating-point numbers null is NaN.
        value: as `parse_json` returns it.
        name: what a message calls it.
        sizes: sizes of arrays' dimensions. A name in capitals is one size in all fields of a dataclass; what an array is the
            first to tell is added.

    Raises:
        ValueError: naming the field, its value and what is allowed.

    >>> read_as(tuple[int, ...], [1, 2], "steps")
    (1, 2)
    >>> read_as(tuple[int, ...], [1, 2.5], "steps")
    Traceback (most recent call last):
    ValueError: steps[1] is 2.5; allowed: a whole number
    """
    sizes = {} if sizes is None else sizes
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        _check_depth(value, name)
        return value
    if origin is Annotated or kind in _SCALARS:
        return _scalar(kind, value, name)
    if origin in (Union, UnionType):
        inner = next(argument for argument in arguments if argument is not NoneType)
        return None if value is None and NoneType in arguments else read_as(inner, value, name, sizes)
    if origin is not None and issubclass(origin, Mapping):
        return {key: read_as(arguments[1], entry, _inside(name, key), sizes) for key, entry in _object(value, name).items()}
    if origin is not None and issubclass(origin, Sequence):
        return _sequence(origin, arguments, value, name, sizes)
    if issubclass(kind, AbstractArray):
        return _array(kind, value, name, sizes)
    return kind(**read_fields(kind, value, name, sizes))


def read_fields(
    kind: Any,
    value: Any,
    name: str = "",
    sizes: Sizes | None = None,
    *,
    renamed: Mapping[str, str] | None = None,
    skip: Collection[str] = (),
) -> dict[str, Any]:
    """Return the fields of a dataclass that an object of a JSON file holds, checked.

    Args:
        kind: the dataclass, whose annotations say what is allowed; a field without a default must be there.
        value, name, sizes: as for `read_as`; the name of a whole file is empty.
        renamed: names in the file of fields that have another there.
        skip: fields that are not in the file.

    Raises:
        ValueError: as `read_as`, or for a field that is missing or unknown.
    """
    entries, sizes = _object(value, name or "it"), {} if sizes is None else sizes
    hints, named = get_type_hints(kind, include_extras=True), {}
    for field in (field for field in fields(kind) if field.name not in skip):
        key = (renamed or {}).get(field.name, field.name)
        named[key] = field.name
        if key not in entries and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{name or 'it'} has no {key!r}")
    for key in entries:
        if key not in named:
            raise ValueError(f"{name or 'it'} has {shown(key)}; allowed: {', '.join(named)}")
    return {named[key]: read_as(hints[named[key]], entry, _inside(name, key), sizes) for key, entry in entries.items()}


_SCALARS = {str: "text", bool: "true or false", int: "a whole number", float: "a finite number"}


def _inside(name: str, key: str) -> str:
    key = one_line(key, 40)
    return f"{name}.{key}" if name else key


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {shown(value)}; allowed: an object, names with values")
    return value


def _scalar(kind: Any, value: Any, name: str) -> Any:
    base, *notes = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    limits = next((note for note in notes if isinstance(note, Limits)), Limits(-math.inf))
    right = type(value) in (int, float) if base is float else type(value) is base
    if right and base in (int, float) and not (kind == MaybeNaN and value != value):
        largest = 2**63 - 1 if base is int else sys.float_info.max
        right = max(limits.low, -largest) <= value <= min(limits.high, largest)
    if not right:
        bounds = "" if limits.low == -math.inf else f" >= {limits.low:g}"
        bounds += "" if limits.high == math.inf else f" and <= {limits.high:g}"
        raise ValueError(f"{name} is {shown(value)}; allowed: {_SCALARS[base]}{bounds}")
    return value


def _sequence(origin: type, arguments: tuple[Any, ...], value: Any, name: str, sizes: Sizes) -> Any:
    if not isinstance(value, list):
        raise ValueError(f"{name} is {shown(value)}; allowed: a list")
    is_long = origin is not tuple or arguments[1:] == (...,)
    kinds = arguments[:1] * len(value) if is_long else arguments
    if len(value) != len(kinds):
        raise ValueError(f"{name} is {shown(value)}; allowed: a list of {len(kinds)}")
    entries = [read_as(one, entry, f"{name}[{i}]", sizes) for i, (one, entry) in enumerate(zip(kinds, value, strict=True))]
    return tuple(entries) if origin is tuple else entries


def _array(kind: Any, value: Any, name: str, sizes: Sizes) -> np.ndarray:
    dimensions, is_whole = kind.dim_str.split(), kind.dtype is Int
    what = f"numbers{' (whole)' * is_whole} [{', '.join(dimensions)}]"
    if not isinstance(value, list):
        raise ValueError(f"{name} is {shown(value)}; allowed: a list of {what}")
    entries = np.array(value, object)  # of a long text and many short ones, NumPy would make as many long ones
    if not set(map(type, entries.ravel())) <= ({int} if is_whole else {int, float, NoneType}):
        raise ValueError(f"{name} is {shown(value)}; allowed: a list of {what}")
    try:
        array = entries.astype(int if is_whole else float)
    except OverflowError:
        raise ValueError(f"{name} holds a number that is too large; allowed: {what}") from None
    if not array.size and array.ndim < len(dimensions):
        array = array.reshape(0, *(int(d) if d.isdigit() else sizes.get(d, 0) for d in dimensions[1:]))
    known = [int(d) if d.isdigit() else sizes.get(d) for d in dimensions]
    if array.ndim != len(known) or any(size not in (None, own) for size, own in zip(known, array.shape, strict=True)):
        given = ", ".join(f"{d} = {size}" for d, size in zip(dimensions, known, strict=True) if d in sizes)
        raise ValueError(
            f"{name} has shape {list(array.shape)}; allowed: [{', '.join(dimensions)}]{f', {given}' * bool(given)}"
        )
    sizes |= {d: own for d, own in zip(dimensions, array.shape, strict=True) if d.isupper()}
    return array


def _check_depth(value: Any, name: str, left: int = DEEPEST) -> None:
    if isinstance(value, int) and abs(value) >= 2**64:
        raise ValueError(f"{name} holds {shown(value)}; allowed: numbers below 2**64")
    if isinstance(value, dict | list):
        if not left:
            raise ValueError(f"{name} is nested more than {DEEPEST} deep; allowed: at most that")
        for entry in value.values() if isinstance(value, dict) else value:
            _check_depth(entry, name, left - 1)
