"""Frames to files: GIF through one shared palette and changed pixels only, MP4 where imageio-ffmpeg is installed."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import GifImagePlugin, Image

from ift_gridworld.records import write_atomically

COLOURS = 128  # one of them marks pixels that stay as they are
EXACT = 64  # the commonest colours are kept to the letter


def shared_palette(samples: Sequence[Image.Image]) -> Image.Image:
    """A palette for the whole film: the commonest colours of some of its frames, the rest chosen to cover all others."""
    pixels = np.concatenate([np.asarray(sample)[::2, ::2].reshape(-1, 3) for sample in samples]).astype(np.uint32)
    packed = (pixels[:, 0] << 16) | (pixels[:, 1] << 8) | pixels[:, 2]
    colours, counts = np.unique(packed, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    others = np.stack([colours[order[EXACT:]] >> shift & 255 for shift in (16, 8, 0)], -1).astype(np.uint8)
    table = [int(colours[i] >> shift & 255) for i in order[:EXACT] for shift in (16, 8, 0)]
    if len(others):
        rest = Image.fromarray(others[None]).quantize(COLOURS - 1 - EXACT, method=Image.Quantize.MAXCOVERAGE, kmeans=2)
        table += rest.getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette((table + table[:3] * COLOURS)[: 3 * (COLOURS - 1)])
    return palette


def encode_gif(frames: Iterable[Image.Image], durations: Iterable[float], palette: Image.Image) -> bytes:
    """An endlessly looping GIF. Each frame after the first holds only the rectangle that changed, unchanged pixels clear.

    Frames are taken one at a time, so that memory does not grow with their number.

    Args:
        frames: RGB images of one size.
        durations: seconds for each; GIF counts in hundredths.
        palette: from `shared_palette`.
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
    """`encode_gif` to a file, complete or not at all."""
    return write_atomically(path, encode_gif(frames, durations, palette))


def write_mp4(path: str | Path, frames: Iterable[Image.Image], durations: Iterable[float], *, rate: int = 30) -> Path:
    """An H.264 film, each frame repeated for as long as it lasts.

    Raises:
        ValueError: where the extra [video] (imageio-ffmpeg) is not installed.
    """
    try:
        import imageio_ffmpeg
    except ModuleNotFoundError:
        raise ValueError("format mp4 needs the extra [video]: pip install 'ift-gridworld[video]'; allowed without: gif") from None
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part.mp4")
    writer = None
    try:
        for frame, seconds in zip(frames, durations, strict=True):
            if writer is None:
                writer = imageio_ffmpeg.write_frames(str(temporary), frame.size, fps=rate, macro_block_size=2)
                writer.send(None)
            for _ in range(max(1, round(seconds * rate))):
                writer.send(frame.tobytes())
        if writer is not None:
            writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
