"""The run on a GPU: is it right there, what does an update cost, how fast is sampling, what is learnt on larger lakes.

    python -m benchmarks.gpu                         # under 8 minutes on an H200-class card; runs/gpu/gpu.json
    python -m benchmarks.gpu --publish               # figures/language/gpu.json
    python -m benchmarks.gpu --device cpu --tiny     # the same program at a size for a test

Every part is saved as soon as it is measured, and a part that is there already is not measured again: an interrupted run goes
on where it was. Nothing is downloaded.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ift_gridworld.cli.folders import GALLERY, output_folder
from ift_gridworld.cli.parser import fail, launch
from ift_gridworld.escape import printable
from ift_gridworld.reading import parse_json, read_text
from ift_gridworld.runtime import is_out_of_memory, loading, pick_device
from ift_gridworld.storage import make_folder, versions, write_atomically

__all__ = ["Args", "Sizes", "main"]

FORM = 1  # of gpu.json
OPTIONAL_PACKAGES = ("triton", "flash_attn", "kernels", "peft", "trl")
COMPARED = ("sft", "ift", "dpo", "grpo")


@dataclass(frozen=True)
class Args:
    """The command line."""

    device: str = "cuda"
    """cuda or cpu."""
    tiny: bool = False
    """Measure at the smallest sizes, to test the program."""
    minutes: float = 8.0
    """Begin no further part after this time; the next call measures what is left."""
    again: bool = False
    """Measure parts again that are there already."""
    out: Path | None = None
    """Folder that gpu.json is written to (default: runs/gpu)."""
    publish: bool = False
    """Write to figures/language instead, the published gallery."""


@dataclass(frozen=True, eq=False)  # one object a run, by which what is made from it is kept
class Sizes:
    """Sizes of what is measured.

    Attributes:
        methods: methods that are compared with the CPU's; all where there is none.
        models: models whose updates are timed, by name: Llama settings, or a name in `models.SIZES`.
        rows, prompt, answer: rows of a timed update, and tokens of its prompts and answers.
        steps: updates that are timed.
        sampled_rows, sampled_tokens: answers that are sampled at once, and their tokens.
        learner: model that learns on lakes.
        lake: side of those lakes.
        base_maps, maps, held_out: lakes of the base, to align on, and to measure on.
        base_steps, align_steps, every, batch: updates of the base and of a method, between two measurements, and rows of one.
    """

    methods: tuple[str, ...]
    models: dict[str, Any]
    rows: int
    prompt: int
    answer: int
    steps: int
    sampled_rows: int
    sampled_tokens: int
    learner: str
    lake: int
    base_maps: int
    maps: int
    held_out: int
    base_steps: int
    align_steps: int
    every: int
    batch: int


LARGE = {"hidden_size": 896, "num_hidden_layers": 13, "num_attention_heads": 14, "intermediate_size": 2432}
FULL = Sizes(
    methods=(),
    models={"25M": "small", "130M": LARGE}, rows=256, prompt=112, answer=16, steps=20, sampled_rows=512, sampled_tokens=64,
    learner="small", lake=10, base_maps=40_000, maps=10_000, held_out=200, base_steps=1200, align_steps=200, every=50,
    batch=256,
)  # fmt: skip
TINY = Sizes(
    methods=COMPARED,
    models={"0.15M": "tiny"}, rows=2, prompt=6, answer=3, steps=1, sampled_rows=2, sampled_tokens=3, learner="tiny", lake=4,
    base_maps=32, maps=32, held_out=4, base_steps=2, align_steps=2, every=1, batch=8,
)  # fmt: skip


def main(args: Args) -> int:
    """Measure the parts that are missing, saving after each; return the exit status."""
    began = time.monotonic()
    try:
        if not args.minutes > 0:
            raise ValueError(f"--minutes is {args.minutes}; allowed: a number above 0")
        with loading():
            from benchmarks import gpu_parts
        device = pick_device(args.device)
        folder = output_folder("gpu", args.out, args.publish, published=GALLERY / "language")
        make_folder(folder)
        path, sizes = folder / "gpu.json", TINY if args.tiny else FULL
        content = load(path, about(device, sizes))
    except ValueError as error:
        fail(error)
    left: list[str] = []
    for name, measure in parts(gpu_parts, device, sizes):
        if name in content["parts"] and not args.again:
            print(f"{name}: there already")
        elif time.monotonic() - began > 60 * args.minutes:
            left.append(name)
        else:
            start = time.monotonic()
            content["parts"][name] = measured(measure) | {"seconds": round(time.monotonic() - start, 1)}
            write_atomically(path, f"{json.dumps(content, indent=1)}\n".encode())
            print(f"{name}: {content['parts'][name]['seconds']} s")
    print(f"wrote {printable(path)}" + (f"; left for the next call: {', '.join(left)}" if left else ""))
    return 0


def measured(measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return one part; that it does not fit into the device's memory is a result, too."""
    try:
        return measure()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return {"out_of_memory": True}
        raise


def parts(measures: Any, device: Any, sizes: Sizes) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield the parts in the order in which they are worth most."""
    yield "correctness", partial(measures.correctness, device, sizes)
    for model in sizes.models:
        for dtype in ("float32", "bfloat16"):
            for method in ("sft", "ift"):
                yield f"update {model} {method} {dtype}", partial(measures.update, device, sizes, model, method, dtype)
        yield f"sampling {model}", partial(measures.sampling, device, sizes, model)
    for method in COMPARED:
        yield f"lakes {method}", partial(measures.lakes, device, sizes, method)


def about(device: Any, sizes: Sizes) -> dict[str, Any]:
    """Return what numbers depend on: the device, versions and sizes; and the optional packages that are not there."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    packages = versions() | {"transformers": metadata.version("transformers")}
    missing = [package for package in OPTIONAL_PACKAGES if find_spec(package) is None]
    return {"form": FORM, "device": name, "versions": packages, "not_installed": missing, "sizes": asdict(sizes)}


def load(path: Path, described: dict[str, Any]) -> dict[str, Any]:
    """Return the parts that are there, if they are of the same device, versions and sizes; else none.

    Raises:
        ValueError: if the file cannot be read.
    """
    fresh: dict[str, Any] = {"about": described, "parts": {}}
    if not path.exists():
        return fresh
    try:
        content = parse_json(read_text(path))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); allowed: a file of this program, or none: delete it") from error
    same = isinstance(content, dict) and content.get("about") == json.loads(json.dumps(described))
    return content if same and isinstance(content.get("parts"), dict) else fresh


if __name__ == "__main__":
    launch(main, Args, __doc__)
