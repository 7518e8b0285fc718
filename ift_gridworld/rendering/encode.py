"""Frames as files: GIF with one shared palette and changed pixels only; MP4 and WebP where imageio-ffmpeg is installed."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import GifImagePlugin, Image

from ift_gridworld.rendering.formats import check_format
from ift_gridworld.storage import write_atomically

__all__ = ["COLOURS", "encode_gif", "shared_palette", "write_gif", "write_video"]

COLOURS = 128  # one of them marks pixels that stay as they are
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


def encode_gif(frames: Iterable[Image.Image], durations: Iterable[float], palette: Image.Image) -> bytes:
    """Return an endlessly looping GIF.

    Each frame after the first holds only the rectangle that changed, with unchanged pixels transparent. Frames are taken one at
    a time, so that memory does not grow with their number.

    Args:
        frames: RGB images of one size.
        durations: seconds for each; GIF counts in hundredths.
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
    for frame, seconds in zip(frames, durations, strict=True):
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
        out.write(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 0b101, round(100 * seconds), clear, 0))
        for chunk in GifImagePlugin.getdata(Image.fromarray(patch), corner):
            out.write(chunk)
        before = index
    out.write(b";")
    return out.getvalue()


def write_gif(path: str | Path, frames: Iterable[Image.Image], durations: Iterable[float], palette: Image.Image) -> Path:
    """Write what `encode_gif` returns to a file, complete or not at all.

    Args:
        path: where to write.
        frames, durations, palette: as for `encode_gif`.
    """
    return write_atomically(path, encode_gif(frames, durations, palette))


# Arguments for ffmpeg, by the file's suffix.
CODECS: dict[str, dict[str, Any]] = {
    "mp4": {"codec": "libx264", "macro_block_size": 2},
    "webp": {
        "codec": "libwebp_anim",
        "macro_block_size": 1,
        "pix_fmt_out": "yuv420p",
        "output_params": ["-loop", "0", "-quality", "80"],
    },
}


def write_video(path: str | Path, frames: Iterable[Image.Image], durations: Iterable[float], *, rate: int = 25) -> Path:
    """Write an H.264 film (.mp4) or an animated WebP (.webp, an endless loop), complete or not at all.

    Args:
        path: where to write.
        frames: RGB images of one size.
        durations: seconds for each, for which it is repeated.
        rate: frames a second.

    Raises:
        ValueError: for another suffix, or where the extra [video] (imageio-ffmpeg) is not installed.
    """
    path = Path(path)
    kind = path.suffix.lstrip(".")
    check_format(kind)
    import imageio_ffmpeg

    temporary = path.with_name(f".{path.name}.part.{kind}")
    writer = None
    try:
        try:
            for frame, seconds in zip(frames, durations, strict=True):
                if writer is None:
                    writer = imageio_ffmpeg.write_frames(str(temporary), frame.size, fps=rate, **CODECS[kind])
                    writer.send(None)
                for _ in range(max(1, round(seconds * rate))):
                    writer.send(frame.tobytes())
        finally:
            if writer is not None:
                writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
