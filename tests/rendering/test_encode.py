"""Films as files: each frame stands as long as it is to, and a film that is not finished is none."""

import io
import os
import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest
from PIL import Image

from ift_gridworld.rendering.encode import LONGEST, encode_gif, shared_palette, write_video
from ift_gridworld.rendering.formats import VIDEO

FRAMES = [Image.new("RGB", (6, 4), colour) for colour in ("white", "black")]


def gif(durations):
    """Milliseconds and the first pixel of each frame of a GIF, as Pillow reads them."""
    read = []
    with Image.open(io.BytesIO(encode_gif(FRAMES, durations, shared_palette(FRAMES)))) as picture:
        for number in range(picture.n_frames):
            picture.seek(number)
            read.append((picture.info["duration"], picture.convert("RGB").getpixel((0, 0))[0]))
    return read


@pytest.mark.parametrize("seconds", [0.04, 655.35, 655.36, 700, 2000])
def test_a_frame_stands_as_long_as_it_is_to(seconds):
    """GIF counts hundredths in 16 bits; a frame that stands longer comes again."""
    read = gif([seconds, 0.1])
    assert sum(milliseconds for milliseconds, pixel in read if pixel == 255) == round(1000 * seconds)
    assert len(read) == 2 + (round(100 * seconds) - 1) // LONGEST and read[-1] == (100, 0)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -0.1, 1e9, "1"])
@pytest.mark.parametrize("write", [gif, lambda durations: write_video("x.mp4", FRAMES, durations)], ids=["gif", "mp4"])
def test_a_frame_that_cannot_stand_so_long_is_refused(seconds, write, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", SimpleNamespace(__spec__=ModuleSpec("imageio_ffmpeg", None)))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"the seconds of a frame is .*; allowed: a number in \[0, 86400\]"):
        write([seconds, 0.1])
    assert os.listdir(tmp_path) == []


@pytest.fixture
def ffmpeg(tmp_path, monkeypatch):
    """Puts a script of the shell in the place of ffmpeg; the file to write is its last argument."""

    def install(script):
        program = tmp_path / "ffmpeg"
        program.write_text(f"#!/bin/sh\nfor path; do :; done\n{script}\n")
        program.chmod(0o755)
        fake = SimpleNamespace(get_ffmpeg_exe=lambda: str(program), __spec__=ModuleSpec("imageio_ffmpeg", None))
        monkeypatch.setitem(sys.modules, "imageio_ffmpeg", fake)
        (tmp_path / "out").mkdir()
        return tmp_path / "out"

    return install


WHOLE = {"mp4": r"\000\000\000\010ftyp\000\000\000\010moov", "webp": r"RIFF\004\000\000\000WEBP"}


@pytest.mark.parametrize("kind", VIDEO)
def test_a_film_that_ffmpeg_finished_is_written(kind, ffmpeg):
    folder = ffmpeg(f"wc -c >$(dirname $0)/count; printf '{WHOLE[kind]}' >$path")
    path = write_video(folder / f"ift.{kind}", FRAMES, [0.08, 0.04])
    assert os.listdir(folder) == [path.name] and path.stat().st_size in (12, 16)
    assert int((folder.parent / "count").read_text()) == 3 * 6 * 4 * 3  # three frames, 25 a second


@pytest.mark.parametrize("kind", VIDEO)
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("cat >/dev/null; printf half >$path; echo 'No space left on device' >&2; exit 1", "No space left on device"),
        ("exit 3", "exit status 3"),
        ("kill -9 $$", "Killed"),
        ("cat >/dev/null; printf 'RIFF\\377\\000\\000\\000WEBP' >$path", "incomplete film"),
        (r"cat >/dev/null; printf '\000\000\000\010ftyp\000\000\000\377moov' >$path", "incomplete film"),
        (r"cat >/dev/null; printf '\000\000\000\010ftyp' >$path", "incomplete film"),
        ("cat >/dev/null", "incomplete film"),
    ],
)
def test_a_film_that_ffmpeg_did_not_finish_is_an_error(kind, script, reason, ffmpeg):
    folder = ffmpeg(script)
    large = [Image.new("RGB", (300, 300))] * 3  # more than a pipe holds
    with pytest.raises(OSError, match=reason) as error:
        write_video(folder / f"ift.{kind}", large, [0.04] * 3)
    assert error.value.filename == str(folder / f"ift.{kind}") and os.listdir(folder) == []


def test_an_interrupt_ends_ffmpeg_and_leaves_nothing(ffmpeg):
    folder = ffmpeg("echo $$ >$(dirname $0)/pid; exec cat >$path")

    def frames():
        yield FRAMES[0]
        while not (folder.parent / "pid").exists():
            pass
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_video(folder / "ift.mp4", frames(), [0.04] * 9)
    assert os.listdir(folder) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder.parent / "pid").read_text()), 0)
