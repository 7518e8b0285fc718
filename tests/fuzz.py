"""Random command lines and random maps, held to one rule: they work, or one line says what is wrong.

    python tests/fuzz.py [--commands 2000] [--maps 500] [--seed 0] [--seconds 0]

A command line is drawn option by option from the dataclass of its command, with values that are valid, at a limit, of another
kind or hostile. It must end with status 0, or with status 2, one line on standard error and no new file. A map is drawn from
letters that mean something and some that do not; its MDP must have finite values that the independent evaluation confirms.
Everything runs in this process, in a temporary folder, and whatever computes longer than half a minute fails. The exit status
is 1 if a case failed; each failure is printed with the command line that repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import shlex
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from ift_gridworld.cli.main import command_of, main
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, optimal_policy, optimal_success, success_probability, value_iteration

SECONDS, PATIENCE = 30, 20  # of computing that a case may take, and how many times that of waiting
HOSTILE = ("", " ", "nan", "inf", "-1", "1.5", "1e400", "x", "[/b]", "\x1b[31m", "a\nb", "x" * 300, "<!-- <script>", "漢字",
           "--", "None", "٣", "0x10", "a,b", ",", "../..", "/dev/null", "/nowhere/at/all", "$x^{", "\udce9")  # fmt: skip
INTEGERS = ("0", "1", "2", "3", "-1", "2.0")
FLOATS = ("0", "0.5", "1", "-0.5", "1e-320", "1e308", "2")
STRINGS = {
    "map": ("two-paths", "4x4", "open", "bridge", "random", "3x5", "CliffWalking-v1", "FrozenLake-v1", "Taxi-v3", "CartPole-v1",
            "1x1", "0x3", "map.txt", "binary.txt", "spaces.txt", "20000x20000"),
    "size": ("3", "4x6", "1x1", "0x0", "-3", "20000x20000", "3x", "5x5x5"),
    "method": ("sft", "ift", "dpo", "ppo", "grpo", "orpo,ipo", "simpo,tdpo", "sft,sft", "dpo_online", "sft,nope", "IFT"),
    "format": ("gif", "png", "html", "bmp", "GIF", "mp5"),
    "device": ("cpu", "cuda", "tpu"),
    "loss": ("sft", "ift", "dpo", "ppo", "all", "bradley_terry", "algorithm1"),
    "only": ("all", "displacement", "log2", "nope"),
    "runs": ("runs/lake/ift.json", "saved.json", "map.txt", "broken.json", "binary.txt", ".", "nowhere.json"),
    "plugin": ("nowhere", "map.txt", "json"),
    "out": ("out", "out/deep", "map.txt", "map.txt/below"),
}  # fmt: skip
# What keeps a case short, given first; a later value counts.
SMALL = {
    "lake": ("--steps", "2", "--seeds", "1", "--snapshots", "2"),
    "explain": (),
    "redraw": ("saved.json",),
    "losses": (),
}
COMMANDS = ("lake",) * 12 + ("losses",) * 4 + ("redraw",) * 2 + ("explain",)
SLOW = ("language", "failures", "suite", "reproduction", "gallery")  # only as far as their options are read
DRAWS = {"render", "figure", "explain"}


class TookTooLong(BaseException):
    """A case that did not end; no `except Exception` holds it up."""


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Raise TookTooLong after some seconds of computing, however busy the machine, or where a case waits for good."""
    limits = ((signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, PATIENCE * SECONDS))

    def stop(*_: object) -> None:
        raise TookTooLong(f"not done after {SECONDS} s of computing, {PATIENCE * SECONDS} s in all")

    before = [signal.signal(number, stop) for number, _, _ in limits]
    for _, timer, seconds in limits:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for (number, timer, _), handler in zip(limits, before, strict=True):
            signal.setitimer(timer, 0)
            signal.signal(number, handler)


# ---- command lines ----


def values_of(name: str, hint: Any) -> tuple[tuple[str, ...], bool]:
    """Values that suit an option, and whether it takes several; a switch has none."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    several = get_origin(hint) is tuple
    kind = get_args(hint)[0] if several else hint
    if name in STRINGS:
        return STRINGS[name], several
    if get_origin(kind) is Literal:
        return tuple(map(str, get_args(kind))), several
    return {int: INTEGERS, float: FLOATS, bool: ()}.get(kind, ("abc",)), several


def command_line(draw: random.Random) -> list[str]:
    """Draw a command and up to six of its options."""
    if draw.random() < 0.03:
        return draw.choices(["lake", "nope", "--help", "version", "--version", "-h", "", "help", "lake --method", "\x00"], k=2)
    name = draw.choice(SLOW) if draw.random() < 0.1 else draw.choice(COMMANDS)
    settings = command_of(name, [])[1]
    hints = get_type_hints(settings, include_extras=True)
    options = [entry.name for entry in fields(settings) if entry.init and entry.default is not MISSING]
    line = [name, *SMALL.get(name, ())]
    for option in draw.sample(options, min(len(options), draw.choice((0, 1, 1, 2, 2, 3, 4, 6)))):
        if option in DRAWS and draw.random() < 0.85:  # a picture takes a second
            continue
        values, several = values_of(option, hints[option])
        flag = f"--{option.replace('_', '-')}"
        if not values:
            line.append(draw.choice((flag, flag, flag.replace("--", "--no-"), f"{flag}=x")))
            continue
        pool = HOSTILE if draw.random() < 0.2 else values
        given = draw.choices(pool, k=draw.choice((1, 1, 2)) if several else 1)
        line += [f"{flag}={given[0]}"] if draw.random() < 0.3 else [flag, *given]
    if name in SLOW:
        line.insert(1, draw.choice(("--nope", "--theme=blue", "--seed=-1", "--seeds=x", "--out=", "--theme=\x1b[31m")))
    return line


def run_command(line: list[str]) -> tuple[int, str, str]:
    """Return status, standard output and standard error of one command line."""
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["ift-gridworld", *line]
    status: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), time_limit():
        try:
            status = main(line)
        except SystemExit as leave:
            status = leave.code or 0
    return status, out.getvalue(), err.getvalue()


def files_below(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def check_command(line: list[str], folder: Path) -> str | None:
    """Run one command line; return what is wrong with how it ended."""
    before = files_below(folder)
    try:
        status, out, err = run_command(line)
    except (Exception, TookTooLong):
        return traceback.format_exc()
    after = files_below(folder)
    complaint = None
    if status not in (0, 2):
        complaint = f"status {status}"
    elif "Traceback" in out + err:
        complaint = "a traceback is printed"
    elif [path for path, _ in after if ".part" in path]:
        complaint = "a half-written file is left"
    elif status == 2:
        errors = [text for text in err.splitlines() if text.startswith("error: ")]
        if len(errors) != 1 or len(errors[0]) > 1000 or not errors[0].isprintable():
            complaint = f"no readable line says what is wrong: {err!r}"
        elif after != before:
            complaint = f"refused ({err.strip()}), and yet written: {sorted(after - before)}"
    return complaint and f"{complaint}\n{err}"


def prepare(folder: Path) -> None:
    """Write the files that the command lines name."""
    (folder / "map.txt").write_text("SFF\nFHF\nFFG\n")
    (folder / "spaces.txt").write_text("S F F\nF H F\nF F G\n")
    (folder / "binary.txt").write_bytes(bytes(range(256)))
    (folder / "broken.json").write_text('{"format": 2, "method": ')
    status, _, err = run_command(["lake", "--steps", "2", "--seeds", "1", "--snapshots", "2", "--out", "."])
    assert status == 0, err
    (folder / "ift.json").rename("saved.json")


# ---- maps ----


def random_rows(draw: random.Random) -> list[str]:
    height, width = draw.choice((1, 1, 2, 3, 4, 5, 8)), draw.choice((1, 2, 3, 4, 5, 8))
    letters = draw.choice(("FFFH", "FFFFFFH", "FH", "F", "H", "FHG", "FHSG"))
    rows = [[draw.choice(letters) for _ in range(width)] for _ in range(height)]
    for letter in draw.choice(("SG", "SG", "SG", "S", "G", "SGG", "")):
        rows[draw.randrange(height)][draw.randrange(width)] = letter
    if draw.random() < 0.1:
        rows[draw.randrange(height)][draw.randrange(width)] = draw.choice(("x", "", "SF", "漢", " ", "\x1b", "g", "\n"))
    return ["".join(row) for row in rows]


def check_map(draw: random.Random) -> str | None:
    """Solve one random lake; return what is wrong with the solution."""
    rows = random_rows(draw)
    options: dict[str, Any] = {
        "is_slippery": draw.random() < 0.5, "success_rate": draw.choice((0.0, 1 / 3, 0.5, 0.999, 1.0)),
        "discount": draw.choice((0.0, 0.5, 0.99, 0.9999, 1.0)),
    }  # fmt: skip
    try:
        with time_limit():
            mdp = TabularMDP.from_map(rows, **options)
            value, _ = value_iteration(mdp)
            best = optimal_policy(mdp)
            again = evaluate_policy(mdp, best)
            success, most = success_probability(mdp, best), optimal_success(mdp)
            endless = optimal_success(mdp, None) if draw.random() < 0.2 else 1.0
    except ValueError as error:
        return None if "\n" not in str(error) and str(error).isprintable() else f"{rows} {options}: {error!r}"
    except (Exception, TookTooLong):
        return f"{rows} {options}\n{traceback.format_exc()}"
    reached = mdp.start @ np.abs(value - again)
    sound = np.isfinite(value).all() and np.abs(best.sum(-1) - 1).max() < 1e-9 and reached < 1e-6
    bounded = -1e-9 <= success <= most + 1e-9 and most <= 1 + 1e-9 and 0 <= endless <= 1 + 1e-9
    return None if sound and bounded else f"{rows} {options}: value {value}, of its policy {again}, success {success} of {most}"


def fuzz(commands: int, maps: int, seed: int, seconds: float = 0.0) -> tuple[Counter[str], list[str]]:
    """Run so many command lines and maps, fewer if the seconds are over; return counts and failures."""
    draw, counts, failures = random.Random(seed), Counter[str](), []
    start, here = time.monotonic(), Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        try:
            prepare(folder)
            for kind in ["map"] * maps + ["command"] * commands:
                if seconds and time.monotonic() - start > seconds:
                    break
                if kind == "map":
                    complaint = check_map(draw)
                else:
                    line = command_line(draw)
                    complaint = check_command(line, folder)
                    complaint = complaint and f"{shlex.join(line)}\n{complaint}"
                    for made in ("out", "runs"):
                        shutil.rmtree(folder / made, ignore_errors=True)
                counts[kind] += 1
                failures += [complaint] if complaint else []
        finally:
            os.chdir(here)
    return counts, failures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=2000, help="number of command lines")
    parser.add_argument("--maps", type=int, default=500, help="number of maps")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn")
    parser.add_argument("--seconds", type=float, default=0.0, help="stop after this time; 0 never stops")
    asked = parser.parse_args()
    done, failed = fuzz(asked.commands, asked.maps, asked.seed, asked.seconds)
    print("\n\n".join(failed))
    print(f"{done['command']} command lines and {done['map']} maps, seed {asked.seed}: {len(failed)} failures")
    sys.exit(bool(failed))
