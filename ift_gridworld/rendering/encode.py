"""Frames as files: GIF with one shared palette and changed pixels only; MP4 and WebP where imageio-ffmpeg is installed."""

from __future__ import annotations

import errno
import io
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, repeat
from pathlib import Path
from signal import strsignal
from subprocess import DEVNULL, PIPE, Popen
from tempfile import TemporaryFile

import numpy as np
from PIL import GifImagePlugin, Image

from ift_gridworld.checks import check_interval
from ift_gridworld.rendering.formats import check_format
from ift_gridworld.storage import replaced, write_atomically

__all__ = ["COLOURS", "encode_gif", "reduce_colours", "shared_palette", "write_gif", "write_video"]

COLOURS = 128  # one of them marks pixels that stay as they are
LONGEST = 2**16 - 1  # hundredths of a second that a frame of a GIF can stand
DAY = 24 * 60 * 60  # seconds
LEAST_DIFFERENCE = 10  # between colours of the palette: nearer ones would be taken for each other


def shared_palette(samples: Sequence[Image.Image]) -> Image.Image:
    """Return a palette for a whole film: the commonest colours of some frames exactly, then others that cover the rest.

    Args:
        samples: RGB images of the film.
    """
    pixels = np.concatenate([np.asarray(sample)[::2, ::2].reshape(-1, 3) for sample in samples]).astype(np.uint32)
    packed = (pixels[:, 0] << 16) | (pixels[:, 1] << 8) | pixels[:, 2]
    colours, counts = np.unique(packed, return_counts=True)
    colours = np.stack([colours[np.argsort(-counts, kind="stable")] >> shift & 255 for shift in (16, 8, 0)], -1)
    spread = Image.fromarray(colours[None].astype(np.uint8)).quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE)
    candidates = [*colours[: COLOURS // 2], *np.array(spread.getpalette()).reshape(-1, 3)]
    table = np.zeros((0, 3), int)
    for colour in candidates:
        if len(table) < COLOURS - 1 and (not len(table) or np.square(table - colour).sum(1).min() >= LEAST_DIFFERENCE**2):
            table = np.vstack([table, colour])
    palette = Image.new("P", (1, 1))
    palette.putpalette([int(x) for x in np.vstack([table, *[table[:1]] * (COLOURS - 1 - len(table))]).ravel()])
    return palette


def reduce_colours(path: Path) -> None:
    """Write a PNG again in as few colours as a film has, which takes a third of the bytes.

    Args:
        path: of the PNG.
    """
    out = io.BytesIO()
    with Image.open(path) as picture:
        plain = picture.convert("RGB")
    plain.quantize(palette=shared_palette([plain]), dither=Image.Dither.NONE).save(out, "png", optimize=True)
    write_atomically(path, out.getvalue())


def encode_gif(frames: Iterable[Image.Image], durations: Iterable[float], palette: Image.Image) -> bytes:
    """Return an endlessly looping GIF.

    Each frame after the first holds only the rectangle that changed, with unchanged pixels transparent. Frames are taken one at
    a time, so that memory does not grow with their number.

    Args:
        frames: RGB images of one size.
        durations: seconds for each, at most a day; GIF counts in hundredths.
        palette: from `shared_palette`.

    Example:
        >>> frames = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
        >>> encode_gif(frames, [0.1, 0.1], shared_palette(frames))[:6]
        b'GIF89a'
    """
    colours = (palette.getpalette() or [])[: 3 * (COLOURS - 1)]
    table = bytes(colours) + bytes(3 * COLOURS - len(colours))
    clear = COLOURS - 1
    out = io.BytesIO()
    before: np.ndarray | None = None
    for frame, hundredths in _hundredths(frames, durations):
        index = np.asarray(frame.quantize(palette=palette, dither=Image.Dither.NONE))
        corner = (0, 0)
        if before is None:
            out.write(b"GIF89a" + struct.pack("<HHBBB", *frame.size, 0xF0 | (COLOURS.bit_length() - 2), 0, 0) + table)
            out.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00")
            patch = index
        else:
            changed = index != before
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            top, bottom = (rows[0], rows[-1] + 1) if len(rows) else (0, 1)
            left, right = (columns[0], columns[-1] + 1) if len(columns) else (0, 1)
            box, corner = np.s_[top:bottom, left:right], (int(left), int(top))
            patch = np.where(changed[box], index[box], np.uint8(clear))
        out.write(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 0b101, hundredths, clear, 0))
        for chunk in GifImagePlugin.getdata(Image.fromarray(patch), corner):
            out.write(chunk)
        before = index
    out.write(b";")
    return out.getvalue()


def _hundredths(frames: Iterable[Image.Image], durations: Iterable[float]) -> Iterator[tuple[Image.Image, int]]:
    """Yield each frame and its hundredths of a second; one that stands longer than GIF can count comes again."""
    for frame, seconds in zip(frames, durations, strict=True):
        check_interval("the seconds of a frame", seconds, 0, DAY)
        repeats, rest = divmod(round(100 * seconds), LONGEST)
        yield from repeat((frame, LONGEST), repeats)
        if rest or not repeats:
            yield frame, rest


def write_gif(path: str | Path, frames: Iterable[Image.Image], durations: Iterable[float], palette: Image.Image) -> Path:
    """Write what `encode_gif` returns to a file, complete or not at all.

    Args:
        path: where to write.
        frames, durations, palette: as for `encode_gif`.
    """
    return write_atomically(path, encode_gif(frames, durations, palette))


# Arguments for ffmpeg, by the file's suffix; H.264 wants an even number of pixels each way.
CODECS = {
    "mp4": "-vcodec libx264 -pix_fmt yuv420p -crf 25 -vf scale=ceil(iw/2)*2:ceil(ih/2)*2",
    "webp": "-vcodec libwebp_anim -pix_fmt yuv420p -loop 0 -quality 80",
}
RAW = {"RGB": "rgb24", "RGBA": "rgba"}  # names of ffmpeg's for what frames are made of


def write_video(path: str | Path, frames: Iterable[Image.Image], durations: Iterable[float], *, rate: int = 25) -> Path:
    """Write an H.264 film (.mp4) or an animated WebP (.webp, an endless loop), complete or not at all.

    Args:
        path: where to write.
        frames: RGB images of one size, or for WebP RGBA.
        durations: seconds for each, at most a day, for which it is repeated.
        rate: frames a second.

    Raises:
        ValueError: for another suffix, or where the extra [video] (imageio-ffmpeg) is not installed.
        OSError: naming the file, if ffmpeg fails or leaves an incomplete file, as on a full disk.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".")
    check_format(kind)
    with replaced(path) as temporary:
        repeated = (frame for frame, n in _hundredths(frames, durations) for _ in range(max(1, round(n * rate / 100))))
        first = next(repeated)
        _run_ffmpeg(kind, temporary, first, rate, chain([first], repeated))
        if not _is_complete(temporary.read_bytes()):
            raise OSError(errno.EIO, "ffmpeg left an incomplete film")
    return path


def _run_ffmpeg(kind: str, path: Path, first: Image.Image, rate: int, frames: Iterable[Image.Image]) -> None:
    """Have ffmpeg encode frames; raise an OSError with its last words if it fails."""
    import imageio_ffmpeg

    raw = f"-f rawvideo -pix_fmt {RAW[first.mode]} -s {first.width}x{first.height} -r {rate} -i -"
    codec = CODECS[kind].replace("yuv420p", "yuva420p") if first.mode == "RGBA" else CODECS[kind]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *f"-y -v error -xerror {raw} -an {codec}".split(), os.path.abspath(path)]
    with TemporaryFile() as stderr, Popen(command, stdin=PIPE, stdout=DEVNULL, stderr=stderr) as process:
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError), process.stdin as stdin:  # the status tells why it stopped reading
                for frame in frames:
                    stdin.write(frame.tobytes())
            status = process.wait()
        except BaseException:
            process.kill()
            raise
        if status:
            stderr.seek(0)
            words = stderr.read().decode(errors="replace").split("\n")
            ended = f"exit status {status}" if status > 0 else f"{strsignal(-status)} (signal {-status})"
            reason = next((line.strip() for line in reversed(words) if line.strip()), ended)
            raise OSError(errno.EIO, f"ffmpeg failed: {reason}")


def _is_complete(film: bytes) -> bool:
    """Return whether a film ends where its own headers say: a RIFF chunk for WebP, a row of boxes with an index for MP4."""
    if film[:4] == b"RIFF":
        return len(film) == 8 + int.from_bytes(film[4:8], "little")
    place, names = 0, set()
    while place + 8 <= len(film):
        size = int.from_bytes(film[place : place + 4], "big")
        names.add(film[place + 4 : place + 8])
        place += int.from_bytes(film[place + 8 : place + 16], "big") if size == 1 else size or len(film)
    return place == len(film) and b"moov" in names
