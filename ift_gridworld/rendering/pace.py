"""Durations of the frames of a film: as long as its words take to read, at a speed that the reader chooses."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from ift_gridworld.rendering.formats import check_speed

__all__ = ["at_speed", "readable", "reading_seconds"]

WORDS_A_SECOND, LOOK_SECONDS = 3.0, 1.5  # that a reader takes in, and takes to look at the picture before
LEAST_FRAME = 0.02  # seconds; a frame of a GIF that stands for less than two hundredths is shown for ten
READ_FIRST = 0.6  # share of the time to read a caption that is spent on its first frame, before anything moves


def reading_seconds(words: str) -> float:
    """Return how long words have to stand: three a second, and 1.5 s to look at the picture.

    Args:
        words: with blanks between.

    Example:
        >>> reading_seconds("both answers become less likely")
        3.17
    """
    return ceil(100 * LOOK_SECONDS + 100 * len(words.split()) / WORDS_A_SECOND) / 100  # in hundredths, as GIF counts


def at_speed(durations: Sequence[float], speed: float) -> list[tuple[int, float]]:
    """Return the frames of a film at another speed, and how long each stands.

    Frames that would stand for less than a viewer shows are left out, and the one before them stands for their time, so that
    the film is as long as asked for.

    Args:
        durations: seconds that each frame stands at speed 1.
        speed: a factor, 0.1 to 10; 2 shows the film in half of the time.

    Raises:
        ValueError: for another speed.

    Example:
        >>> at_speed([1.0, 0.04, 0.04, 0.04, 2.0], 4)
        [(0, 0.25), (1, 0.03), (4, 0.5)]
    """
    check_speed(speed)
    frames: list[tuple[int, float]] = []
    for index, seconds in enumerate(durations):
        if frames and frames[-1][1] < LEAST_FRAME:
            if index < len(durations) - 1 or len(frames) == 1:
                frames[-1] = (frames[-1][0], frames[-1][1] + seconds / speed)
                continue
            frames[-2:] = [(frames[-2][0], frames[-2][1] + frames[-1][1])]  # the last frame is always shown
        frames.append((index, seconds / speed))
    ends = np.cumsum([0.0, *(seconds for _, seconds in frames)]).round(2)  # in hundredths, as GIF counts
    return [(index, round(float(rounded), 2)) for (index, _), rounded in zip(frames, np.diff(ends), strict=True)]


def readable(durations: Sequence[float], captions: Sequence[str]) -> list[float]:
    """Let words stand until they can be read: what is missing is added where they appear, and a part where they go.

    Args:
        durations: seconds that each frame would stand by itself.
        captions: words in each frame, one text a line; lines that stood in the frame before are read already.
    """
    readable = list(durations)
    starts = [i for i in range(len(captions)) if i == 0 or captions[i] != captions[i - 1]]
    before: set[str] = set()
    for start, end in zip(starts, [*starts[1:], len(captions)], strict=True):
        new = [line for line in captions[start].splitlines() if line not in before]
        missing = reading_seconds(" ".join(new)) - sum(readable[start:end]) if new else 0.0
        if missing > 0:
            share = 1.0 if end - start == 1 else READ_FIRST
            readable[start] = round(readable[start] + share * missing, 2)
            readable[end - 1] = round(readable[end - 1] + (1 - share) * missing + 0.005, 2)
        before = set(captions[start].splitlines())
    return readable
