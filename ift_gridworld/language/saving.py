"""A model as a folder of Hugging Face's: weights, tokenizer, how it answers, and a card with what was done and measured."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ift_gridworld.escape import one_line
from ift_gridworld.language.metrics import METRICS
from ift_gridworld.language.models import bars_on_terminals
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.storage import make_folder, umask, write_atomically

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["model_card", "save_model"]


def save_model(policy: LanguagePolicy, tokenizer: PreTrainedTokenizerBase, folder: Path, *, limit: int, card: str) -> Path:
    """Write a model so that `transformers.pipeline("text-generation", folder)` answers as our greedy decoding does.

    Each file is complete or not there at all; files of an earlier save are replaced.

    Args:
        policy: the model.
        tokenizer: its tokenizer, which has an end token.
        folder: made if it does not exist.
        limit: largest number of tokens of an answer.
        card: text of README.md.

    Returns:
        The folder.
    """
    from transformers import GenerationConfig

    end = tokenizer.eos_token_id
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    # Alone: penalties and temperatures of a model's own configuration would give other answers.
    greedy = GenerationConfig(do_sample=False, max_new_tokens=limit, eos_token_id=end, pad_token_id=pad)
    with _filled(folder) as temporary, bars_on_terminals():
        own, policy.model.generation_config = policy.model.generation_config, greedy
        try:
            policy.model.save_pretrained(temporary)
        finally:
            policy.model.generation_config = own
        tokenizer.save_pretrained(temporary)
        write_atomically(temporary / "README.md", card.encode())
    return folder


@contextmanager
def _filled(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder whose files are moved into the folder when the block ends without an error."""
    make_folder(folder, "--save")
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", dir=folder.parent))
    try:
        yield temporary
        for path in sorted(temporary.iterdir()):
            if path.is_dir():  # further chat templates
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
                continue
            path.chmod(0o666 & ~umask())
            os.replace(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def model_card(
    method: str,
    settings: Mapping[str, Any],
    base: Mapping[str, float],
    aligned: Mapping[str, float],
    *,
    prompt: str,
    answer: str,
    versions: Mapping[str, str],
) -> str:
    """Return the text of a model's card.

    Args:
        method: name of the method.
        settings: settings of the run by name.
        base, aligned: metrics on held-out lakes before and after alignment, by name.
        prompt, answer: an example, in one line each.
        versions: installed versions.
    """
    rows = [f"| {name} | {_number(base, name)} | {_number(aligned, name)} | {about} |" for name, about in METRICS.items()]
    return "\n".join(
        [
            "---",
            "library_name: transformers",
            "pipeline_tag: text-generation",
            "tags: [ift-gridworld, frozen-lake, alignment]",
            "---",
            "",
            f"# A frozen lake as text, aligned by {method}",
            "",
            "The model reads a map and answers with the moves of a path from the start to the goal.",
            "",
            f"Prompt: `{prompt}`",
            "",
            f"Shortest answer: `{answer}`",
            "",
            "## Measured on held-out lakes",
            "",
            "| metric | before | after | meaning |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
            "## Settings",
            "",
            "| setting | value |",
            "| --- | --- |",
            *(f"| {name} | {_cell(value)} |" for name, value in settings.items()),
            "",
            f"Versions: {', '.join(f'{name} {number}' for name, number in versions.items())}.",
            "",
        ]
    )


def _number(values: Mapping[str, float], name: str) -> str:
    return f"{values[name]:.4f}" if name in values else ""


def _cell(value: object) -> str:
    return one_line(str(value)).replace("|", "\\|")
