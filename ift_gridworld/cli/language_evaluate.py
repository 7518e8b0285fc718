"""Ask any causal language model to cross lakes, and measure it against the optimal policy.

    ift-gridworld language evaluate --model HuggingFaceTB/SmolLM2-135M-Instruct --shots 2
    ift-gridworld language evaluate --model runs/models/ift-seed-0

The model is asked in chat messages if its tokenizer has a template for them, else in plain text, and in the lake's own
vocabulary if it was trained on that. Every number has a 95 % interval over lakes. Settings, versions and the numbers of each
lake are written as JSON.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ift_gridworld.cli.parser import check_seed, fail
from ift_gridworld.escape import printable
from ift_gridworld.runtime import console, device_name, is_out_of_memory, loading, pick_device, progress
from ift_gridworld.storage import check_folder, make_folder, versions, write_atomically

if TYPE_CHECKING:
    from ift_gridworld.language.questions import Questions

__all__ = ["Args", "main"]

LEAST = {"lakes": 1, "size": 2, "shots": 0, "samples": 1, "batch": 1}


@dataclass(frozen=True)
class Args:
    """The command line."""

    model: str = ""
    """A folder, a GGUF file, a name on the hub, or tiny or small (untrained)."""
    lakes: int = 100
    """Number of lakes to ask about."""
    size: int = 4
    """Tiles of a side of the lakes."""
    ice: float = 0.7
    """Probability of a tile to be frozen."""
    detours: float = 0.5
    """Share of lakes on which the shortest path is longer than rows plus columns."""
    seed: int = 0
    """Seed of the lakes and of sampled answers."""
    shots: int = 0
    """Examples before each question, on other lakes: 0 to 16."""
    chat: bool = False
    """Ask in messages, by the tokenizer's chat template (default where there is one)."""
    plain: bool = False
    """Ask in plain text (default where there is no chat template)."""
    samples: int = 4
    """Answers that are sampled on each lake."""
    batch: int = 64
    """Answers in one forward pass."""
    device: str = "cpu"
    """cpu or cuda."""
    out: Path = Path("runs/evaluation.json")
    """File to write."""


def main(args: Args) -> int:
    """Evaluate the model, print a table and write a file; return the exit status.

    A mistake prints one line and raises SystemExit with status 2.
    """
    try:
        _check(args)
        with loading():
            from ift_gridworld.language.evaluation import EVALUATED, draw_questions, evaluate, summarise
            from ift_gridworld.language.models import load_model

            device = pick_device(args.device)
        lakes, examples = draw_questions(
            args.lakes, args.shots, size=args.size, ice=args.ice, detours=args.detours, seed=args.seed
        )
        policy, tokenizer, form = load_model(args.model, seed=args.seed)
        policy = policy.to(device)
        questions = _questions(args, policy.model, tokenizer, form.name, examples)
        began = time.perf_counter()
        with progress("lakes") as report:
            results = evaluate(policy, questions, lakes, samples=args.samples, seed=args.seed, rows=args.batch, progress=report)
        seconds = time.perf_counter() - began
        summary = summarise(results)
        content = {
            "settings": asdict(args) | {"out": str(args.out), "form": questions.form.name},
            "metrics": summary, "meaning": EVALUATED, "seconds": round(seconds, 3), "device": device_name(args.device),
            "versions": versions(("transformers",)), "saved": time.strftime("%Y-%m-%d"),
            "lakes": ["/".join(lakes.rows(i)) for i in range(len(lakes))],
            "each": {name: values.tolist() for name, values in results.items()},
        }  # fmt: skip
        make_folder(args.out.absolute().parent)
        write_atomically(args.out, f"{json.dumps(content)}\n".encode())
        _print(questions, len(lakes), summary, EVALUATED, seconds, args.out)
    except ValueError as error:
        fail(error)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fail(f"out of memory with --batch {args.batch}; allowed: a smaller --batch, a smaller --model or --size")
    return 0


def _check(args: Args) -> None:
    """Check what can be known before anything large is loaded."""
    check_seed(args.seed)
    if not args.model:
        raise ValueError("--model is ''; allowed: a folder, a GGUF file, a name on the hub, tiny, small")
    for name, least in LEAST.items():
        if getattr(args, name) < least:
            raise ValueError(f"--{name} is {getattr(args, name)}; allowed: a whole number >= {least}")
    if args.chat and args.plain:
        raise ValueError("--chat and --plain are given; allowed: one of them")
    if args.out.is_dir() or not args.out.name:
        raise ValueError(f"--out is {str(args.out)!r}; allowed: a file")
    check_folder(args.out.absolute().parent)


def _questions(args: Args, model: Any, tokenizer: Any, own_form: str, examples: Any) -> Questions:
    """Return how the model is asked."""
    from ift_gridworld.language.questions import Questions, has_chat_template
    from ift_gridworld.language.text import FORMS

    if own_form == "compact":
        for name, given in (("chat", args.chat), ("plain", args.plain), ("shots", args.shots)):
            if given:
                said = f"--{name} is {'given' if given is True else given}"
                raise ValueError(f"{said}, and the model has the lake's own vocabulary; allowed: without it")
        form = own_form
    else:
        if args.chat and not has_chat_template(tokenizer):
            raise ValueError("--chat is given, and the model's tokenizer has no chat template; allowed: --plain")
        form = "plain" if args.plain or not has_chat_template(tokenizer) else "chat"
    ends = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = frozenset() if ends is None else frozenset([ends] if isinstance(ends, int) else ends)
    return Questions(FORMS[form], tokenizer, tuple(examples), more)


def _print(
    questions: Questions, count: int, summary: dict[str, dict[str, float]], meaning: dict[str, str], seconds: float, out: Path
) -> None:
    """Print the numbers with their intervals."""
    from rich.table import Table

    shots = f", {len(questions.examples)} examples" if questions.examples else ""
    title = f"{count} lakes, asked in the form {questions.form.name}{shots}; means with 95 % intervals, {seconds:.0f} s"
    table = Table("metric", "mean", "interval", "meaning", title=title, title_justify="left")
    for name, numbers in summary.items():
        interval = f"[{numbers['low']:.3f}, {numbers['high']:.3f}]"
        table.add_row(name, f"{numbers['mean']:.3f}", interval, meaning[name])
    console().print(table)
    print(f"wrote {printable(str(out))}")
