"""Damaged files for tests of what reads them: in ways that are listed, and at random places, from a seed."""

import copy
import json
import tracemalloc

import numpy as np

DEEP = "[" * 100_000 + "]" * 100_000
RED = "\x1b[31mred\x1b[0m\r\n\x07"

# Whole files, whatever the format.
CONTENTS = {
    "empty": lambda content: b"",
    "a line end": lambda content: b"\n",
    "cut in half": lambda content: content[: len(content) // 2],
    "without its last byte": lambda content: content.rstrip()[:-1],
    "cut to its header": lambda content: content[:10],
    "binary": lambda content: bytes(range(256)) * 8,
    "zeros": lambda content: bytes(1000),
    "a picture": lambda content: b"\x89PNG\r\n\x1a\n" + content,
    "in UTF-16": lambda content: content.decode(errors="replace").encode("utf-16"),
    "not in UTF-8": lambda content: content[:20] + b"\xe9" + content[20:],
    "twice": lambda content: content + content,
    "nested": lambda content: DEEP.encode(),
    "nested objects": lambda content: b'{"a":' * 100_000 + b"}" * 100_000,
    "a list": lambda content: b"[]",
    "a text": lambda content: b'"text"',
    "a number": lambda content: b"1e999",
    "a number of 5000 digits": lambda content: b"9" * 5000,
    "null": lambda content: b"null",
    "an empty object": lambda content: b"{}",
    "a name twice": lambda content: b'{"a": 1, "a": 2}',
}

# What may stand for a value of JSON.
VALUES = (
    None, True, 0, -1, 1.5, 10**400, 2**63, float("nan"), float("inf"), -1e308, "", "1", RED, "\ud83d", "x" * 100_000, [], {},
    [[]], [None], [[999, 0]], [[0, -1]], [[1.5, 0]], [["a", 0]], [1, [2]], {"a": 1}, {RED: {RED: RED}}, [0] * 10_000,
    json.loads("[" * 500 + "]" * 500),
)  # fmt: skip


def nodes(value, path=()):
    """Yield the path of every value inside a value of JSON, long lists by their first and last entries."""
    if path:
        yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        if not isinstance(value, list) or key < 2 or key == len(value) - 1:
            yield from nodes(entry, (*path, key))


def changed(value, path, new):
    """Return a copy of a value of JSON with another value at a path; without it, where `new` is the word "delete"."""
    value = copy.deepcopy(value)
    place = value
    for key in path[:-1]:
        place = place[key]
    if new == "delete":
        del place[path[-1]]
    else:
        place[path[-1]] = new
    return value


def damaged_values(value, count, seed=0):
    """Yield `count` copies of a value of JSON, each with one entry deleted, replaced, renamed, or exchanged for another."""
    random, places = np.random.default_rng(seed), list(nodes(value))
    for _ in range(count):
        path = places[random.integers(len(places))]
        kind = random.integers(10)
        if kind == 0:
            yield changed(value, path, "delete")
        elif kind == 1:
            other = value
            for key in places[random.integers(len(places))]:
                other = other[key]
            yield changed(value, path, other)
        elif kind == 2:
            yield changed(value, (*path[:-1], "unknown") if isinstance(path[-1], str) else path, 1)
        else:
            yield changed(value, path, VALUES[random.integers(len(VALUES))])


def damaged_bytes(content, count, seed=0):
    """Yield `count` copies of a file, each with some bytes replaced, left out, or put in, or cut off."""
    random = np.random.default_rng(seed)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(random.integers(1, 4)):
            at, size = random.integers(len(data) + 1), random.integers(1, 9)
            kind = random.integers(4)
            if kind == 0:
                data = data[:at]
            elif kind == 1:
                del data[at : at + size]
            else:
                data[at : at + (size if kind == 2 else 0)] = random.bytes(size)
        yield bytes(data)


def check_reading(read, path, content, most=2**26):
    """Read a file of that content; return what it is read as, or None where it is refused as it has to be.

    Refusing is a ValueError of one line, not long and without control characters, that names the file; and reading takes at
    most `most` bytes of memory.
    """
    path.write_bytes(content)
    refused, value = None, None
    tracemalloc.start()
    try:
        value = read(path)
    except ValueError as error:
        refused = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < most, peak
    if refused is not None:
        message = str(refused)
        assert type(refused) is ValueError, repr(refused)
        assert path.name in message and message.isprintable() and len(message) < 1500, message[:2000]
    return value
