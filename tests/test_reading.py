"""The one reader: limits on what is read and unpacked, values as annotations declare them, messages of one line."""

import gzip
import os
import threading
import zlib
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import pytest
from jaxtyping import Float, Int

from ift_gridworld.envs.maps import read_map
from ift_gridworld.reading import (
    FREE_TEXT,
    TEXT_RATIO,
    Limits,
    MaybeNaN,
    inflate,
    naming,
    parse_json,
    read_as,
    read_bytes,
    read_fields,
    read_text,
    shown,
)
from ift_gridworld.studies.lakes import read_maps


@dataclass(frozen=True)
class Inner:
    """A part of a file."""

    count: Annotated[int, Limits(0, 9)]
    ratio: MaybeNaN = 0.0


@dataclass(frozen=True)
class Outer:
    """A file."""

    name: str
    steps: Int[np.ndarray, " M"]
    values: dict[str, Float[np.ndarray, "M N"]]
    inner: list[Inner] = field(default_factory=list)
    pair: tuple[int, str] | None = None
    rest: Any = None


SOUND = {"name": "a", "steps": [0, 5], "values": {"x": [[1, None], [3.5, 4]]}, "inner": [{"count": 3}], "pair": [1, "b"]}


def test_a_file_becomes_what_its_annotations_say():
    read = read_as(Outer, SOUND, "")
    assert read.steps.dtype == int and read.steps.tolist() == [0, 5]
    np.testing.assert_array_equal(read.values["x"], [[1, np.nan], [3.5, 4]])
    assert (read.inner, read.pair, read.rest) == ([Inner(3)], (1, "b"), None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": 3}, "name is 3; allowed: text"),
        ({"name": None}, "name is None; allowed: text"),
        ({"steps": 3}, "steps is 3; allowed: a list of numbers (whole) [M]"),
        ({"steps": [0, True]}, "steps is [0, True]; allowed: a list of numbers (whole) [M]"),
        ({"steps": [0, 2**64]}, "steps holds a number that is too large"),
        ({"steps": [0, 1, 2]}, "values.x has shape [2, 2]; allowed: [M, N], M = 3"),
        ({"values": {"x": [[1], [2]], "y": [[1, 2], [3, 4]]}}, "values.y has shape [2, 2]; allowed: [M, N], M = 2, N = 1"),
        ({"values": {"x": [["1"], [2]]}}, "values.x is [['1'], [2]]; allowed: a list of numbers [M, N]"),
        ({"inner": [{"count": 10}]}, "inner[0].count is 10; allowed: a whole number >= 0 and <= 9"),
        ({"inner": [{"count": 1}, {}]}, "inner[1] has no 'count'"),
        ({"inner": [{"count": 1, "ratio": float("inf")}]}, "inner[0].ratio is inf; allowed: a finite number"),
        ({"inner": {"count": 1}}, "inner is {'count': 1}; allowed: a list"),
        ({"pair": [1, "b", 2]}, "pair is [1, 'b', 2]; allowed: a list of 2"),
        ({"pair": [1, 2]}, "pair[1] is 2; allowed: text"),
        ({"rest": 10**30}, "rest holds 1000000000000000000000000000000; allowed: numbers below 2**64"),
        ({"\x1b[31m": 1}, r"it has '\x1b[31m'; allowed: name, steps"),
        ({"values": {"\x1b[31m\n": 1}}, r"values.\x1b[31m is 1; allowed: a list"),
    ],
    ids=str,
)
def test_what_they_do_not_say_is_refused_by_name(changes, words):
    with pytest.raises(ValueError) as error:
        read_as(Outer, SOUND | changes, "")
    assert str(error.value).startswith(words) and str(error.value).isprintable()


def test_nan_is_allowed_where_it_is_declared():
    assert np.isnan(read_as(Inner, {"count": 1, "ratio": float("nan")}, "").ratio)
    for kind, value in ((float, float("nan")), (MaybeNaN, float("inf")), (float, 10**400), (MaybeNaN, 10**400), (float, "1")):
        with pytest.raises(ValueError, match="allowed: a finite number"):
            read_as(kind, value, "x")


def test_names_in_the_file_may_differ_and_fields_be_left_out():
    read = read_fields(Inner, {"n": 3}, renamed={"count": "n"}, skip=["ratio"])
    assert read == {"count": 3}
    with pytest.raises(ValueError, match="^it has 'ratio'; allowed: n$"):
        read_fields(Inner, {"n": 3, "ratio": 1.0}, renamed={"count": "n"}, skip=["ratio"])


# ---- limits ----


@pytest.mark.parametrize("pack", [zlib.compress, gzip.compress])
def test_packed_bytes_unpack_to_their_limit_and_not_beyond(pack):
    assert inflate(pack(bytes(1000)), limit=1000) == bytes(1000)
    with pytest.raises(ValueError, match="unpack to more than 999; allowed: at most that"):
        inflate(pack(bytes(1000)), limit=999)
    random = os.urandom(20_000)
    assert inflate(pack(random)) == random
    assert len(inflate(pack(bytes(FREE_TEXT)))) == FREE_TEXT, "what is small may be as empty as it likes"
    bomb = pack(bytes(FREE_TEXT + 1))
    assert TEXT_RATIO * len(bomb) < FREE_TEXT
    with pytest.raises(ValueError, match=f"unpack to more than {FREE_TEXT}"):
        inflate(bomb)
    for damaged, words in ((pack(random)[:-9], "are cut off"), (pack(random) + b"x", "go on behind"), (b"no", "are damaged")):
        with pytest.raises(ValueError, match=words):
            inflate(damaged)


def test_files_are_read_to_their_limit_and_not_beyond(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"\xef\xbb\xbf12345")
    assert read_bytes(path, 8)[3:] == b"12345" and read_text(path) == "12345"
    with pytest.raises(ValueError, match="more than 7 bytes"):
        read_bytes(path, 7)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name")
def test_a_pipe_is_read_like_a_file(tmp_path):
    """As a shell's ``<(…)``, which does not say how large it is."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("SF\nFG\n",))
    writer.start()
    assert read_map(pipe) == ("SF", "FG")
    writer.join()


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "1" * 5000, '{"a": 1, "a": 2}', "{", "\x1b", '"\x1b"'])
def test_json_that_is_none_is_one_line(text):
    with pytest.raises(ValueError) as error:
        parse_json(text)
    assert str(error.value).isprintable() and len(str(error.value)) < 300


def test_messages_are_one_line_without_control_characters():
    assert len(shown({"k": "x" * 10**7, "l": [[[[[[[1]]]]]]] * 100})) < 300
    with pytest.raises(ValueError) as error, naming("a\x1b.json", "a run", "delete it"):
        raise OSError(5, "broken\ndisk")
    assert str(error.value) == r"a\x1b.json is not a run that can be read: broken disk; delete it"
    with pytest.raises(ValueError, match="it needs more memory than there is"), naming("a", "a run"):
        raise MemoryError
    with pytest.raises(KeyError), naming("a", "a run"):
        raise KeyError("a fault of ours is not the file's")


# ---- maps ----


@pytest.mark.parametrize("read", [read_map, read_maps])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", bytes(100), b"SF\x1b[31mG", b"S" * 10**6 + b"\nG", b"S\xed\xa0\xbdG", None]
)
def test_a_map_file_that_is_none_is_one_line(read, content, tmp_path):
    path = tmp_path / "map.txt"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        read(path)
    assert path.name in str(error.value) and str(error.value).isprintable() and len(str(error.value)) < 1000
