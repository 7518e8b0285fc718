"""Time an update of a language model by trainer: the command line of `experiments/language_updates.py`."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

from ift_gridworld.cli.parser import fail
from ift_gridworld.runtime import loading, pick_device

if TYPE_CHECKING:
    from ift_gridworld.language.data import Completions
    from ift_gridworld.language.policy import LanguagePolicy

TRAINERS = {
    "sft": "our loop",
    "ift": "our loop",
    "transformers": "transformers.Trainer, SFT",
    "ift_trainer": "IFTTrainer",
    "trl": "TRL's SFTTrainer",
}
UNTIMED = 3  # updates before the clock runs


@dataclass(frozen=True)
class Args:
    """The command line."""

    trainer: str = "ift"
    """sft, ift (our loop), transformers (its Trainer, SFT), ift_trainer, or trl (its SFTTrainer)."""
    model: str = "small"
    """tiny, small, a folder, a GGUF file, or a name on the hub."""
    prompt: int = 48
    """Tokens of a prompt."""
    answer: int = 16
    """Tokens of an answer."""
    batch: int = 8
    """Rows of an update."""
    steps: int = 10
    """Updates that are timed."""
    device: str = "cpu"
    """cpu or cuda."""
    dtype: str = "float32"
    """float32 or bfloat16 (autocast)."""
    first_pass: str | None = None
    """--trainer ift: float32 or bfloat16 for predictions (if not given: that of the second pass)."""
    compile: bool = False
    """Compile the model first."""


def main(args: Args) -> int:
    """Measure one trainer and print the result as JSON; return the exit status."""
    try:
        for name in ("prompt", "answer", "batch", "steps"):
            if getattr(args, name) < 1:
                raise ValueError(f"--{name} is {getattr(args, name)}; allowed: a whole number >= 1")
        for option, name in (("dtype", args.dtype), ("first-pass", args.first_pass or args.dtype)):
            if name not in ("float32", "bfloat16"):
                raise ValueError(f"--{option} is {name!r}; allowed: float32, bfloat16")
        if args.trainer not in TRAINERS:
            raise ValueError(f"--trainer is {args.trainer!r}; allowed: {', '.join(TRAINERS)}")
        if args.first_pass is not None and args.trainer != "ift":
            raise ValueError(
                f"--first-pass is {args.first_pass}, which --trainer {args.trainer} does not use; allowed with ift"
            )
        with loading():
            import torch  # noqa: F401
        print(json.dumps(measured(args)))
    except ValueError as error:
        fail(error)
    return 0


def measured(args: Args) -> dict[str, Any]:
    """Return milliseconds an update, bytes held beyond what the process held before, and the share of the device used."""
    import torch

    from ift_gridworld.language.models import load_model
    from ift_gridworld.language.profiling import PeakMemory, peak_flops, training_flops
    from ift_gridworld.storage import versions

    device, dtype = pick_device(args.device), getattr(torch, args.dtype)
    run = trainer_of(args.trainer)
    before = 0 if device.type == "cuda" else PeakMemory(device).read()
    policy, tokenizer, _ = load_model(args.model)
    policy.to(device)
    policy.first_pass = getattr(torch, args.first_pass) if args.first_pass else None
    if args.compile:
        policy.model.compile(dynamic=True)
    marks: list[float] = []
    memory = PeakMemory(device)

    def tick(done: int) -> None:
        if done in (UNTIMED, UNTIMED + args.steps):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            marks.append(time.perf_counter())

    run(args, policy, tokenizer, random_rows(args, len(tokenizer), tokenizer.eos_token_id), tick)
    seconds = (marks[1] - marks[0]) / args.steps
    tokens = args.batch * (args.prompt + args.answer)
    return {
        "trainer": TRAINERS[args.trainer],
        "settings": asdict(args),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "versions": versions() | {"transformers": metadata.version("transformers")},
        "ms": 1000 * seconds,
        "bytes": memory.read() - before,
        "tokens_per_second": tokens / seconds,
        "utilisation": training_flops(policy, tokens, args.batch * args.answer) / seconds / peak_flops(device, dtype),
    }


def random_rows(args: Args, vocabulary: int, end: int) -> Completions:
    """Return random prompts and answers, enough for four updates."""
    import numpy as np

    from ift_gridworld.language.data import Completions

    random, count = np.random.default_rng(0), 4 * args.batch
    ids = random.integers(2, vocabulary, (count, args.prompt + args.answer))
    ids[:, -1] = end
    return Completions(ids, np.full(count, args.prompt), np.full(count, args.prompt + args.answer))


Updates = Callable[[Args, "LanguagePolicy", Any, "Completions", Callable[[int], None]], None]


def trainer_of(name: str) -> Updates:
    """Return what makes a trainer's updates, with everything imported, so that imports are not measured."""
    import transformers

    if name in ("sft", "ift"):
        from transformers import LlamaForCausalLM  # noqa: F401

        from ift_gridworld.language import training  # noqa: F401

        return _ours

    if name == "transformers":
        return lambda *given: _trainer(transformers.Trainer, transformers.TrainingArguments, False, *given)
    if name == "ift_trainer":
        from ift_gridworld.language.trainer import IFTTrainer

        return lambda *given: _trainer(IFTTrainer, transformers.TrainingArguments, False, *given)
    try:
        from trl import SFTConfig, SFTTrainer
    except ImportError as error:
        raise ValueError(f"--trainer trl needs the package trl ({error}); allowed: pip install trl") from error
    return lambda *given: _trainer(SFTTrainer, SFTConfig, True, *given)


def _ours(args: Args, policy: LanguagePolicy, tokenizer: Any, rows: Completions, tick: Callable[[int], None]) -> None:
    import torch

    from ift_gridworld.language.source import TextSource
    from ift_gridworld.language.training import align
    from ift_gridworld.methods.options import TrainingOptions

    device = next(policy.parameters()).device
    source = TextSource(rows, end=tokenizer.eos_token_id, rows=args.batch, device=device)
    training = TrainingOptions(steps=UNTIMED + args.steps, learning_rate=1e-5)
    align(
        args.trainer, source, policy, training=training, dtype=getattr(torch, args.dtype), progress=lambda done, _: tick(done)
    )  # fmt: skip


def _trainer(
    trainer: Any,
    config: Any,
    completions: bool,
    args: Args,
    policy: LanguagePolicy,
    tokenizer: Any,
    rows: Completions,
    tick: Any,
) -> None:
    import numpy as np
    import transformers

    class Clock(transformers.TrainerCallback):
        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            tick(state.global_step)

    answer = np.arange(rows.ids.shape[1]) >= args.prompt
    data: Any
    if completions:  # TRL's own columns
        from datasets import Dataset

        data = Dataset.from_dict(
            {"input_ids": rows.ids.tolist(), "completion_mask": np.tile(answer, (len(rows), 1)).astype(int).tolist()}
        )
    else:
        labels = np.where(answer, rows.ids, -100)
        data = [{"input_ids": ids, "labels": row} for ids, row in zip(rows.ids.tolist(), labels.tolist(), strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        options = config(
            output_dir=folder, max_steps=UNTIMED + args.steps, per_device_train_batch_size=args.batch, learning_rate=1e-5,
            report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=args.device == "cpu",
            bf16=args.dtype == "bfloat16", optim="adamw_torch", dataloader_pin_memory=args.device != "cpu",
            gradient_checkpointing=False,  # else TRL computes everything twice
            **({"max_length": None, "completion_only_loss": True} if completions else {}),
        )  # fmt: skip
        named = {"processing_class": tokenizer} if completions else {
            "data_collator": transformers.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=None)
        }  # fmt: skip
        trainer(policy.model, options, train_dataset=data, callbacks=[Clock()], **named).train()
