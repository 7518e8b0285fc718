"""The script that times an update of a language model, judged by the numbers that it prints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.language_updates import TRAINERS, Args, main, random_rows

SCRIPT = Path(__file__).parents[2] / "experiments" / "language_updates.py"
SMALL = {"model": "tiny", "prompt": 4, "answer": 3, "batch": 2, "steps": 2}


def test_the_rows_are_answers_of_one_length_that_end():
    rows = random_rows(Args(**SMALL), vocabulary=12, end=1)
    assert rows.ids.shape == (8, 7), "enough for four updates"
    assert (rows.prompt == 4).all() and (rows.length == 7).all()
    assert (rows.ids[:, -1] == 1).all() and rows.ids[:, :-1].min() >= 2 and rows.ids.max() < 12


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trainer": "mine"}, "--trainer is 'mine'; allowed: sft, ift, transformers, ift_trainer, trl"),
        ({"dtype": "float8"}, "--dtype is 'float8'; allowed: float32, bfloat16"),
        ({"first_pass": "int8"}, "--first-pass is 'int8'; allowed: float32, bfloat16"),
        ({"trainer": "sft", "first_pass": "bfloat16"}, "--first-pass is bfloat16, which --trainer sft does not use"),
        ({"steps": 0}, "--steps is 0; allowed: a whole number >= 1"),
        ({"device": "tpu"}, "device is 'tpu'; allowed: cpu, cuda"),
    ],
)
def test_a_mistake_is_told_in_one_line(options, words, capsys):
    with pytest.raises(SystemExit) as end:
        main(Args(**SMALL | options))
    printed = capsys.readouterr()
    assert end.value.code == 2 and words in printed.err and printed.err.count("\n") == 1 and not printed.out


@pytest.mark.slow
@pytest.mark.parametrize("trainer", [name for name in TRAINERS if name != "trl"])
def test_the_script_measures_every_trainer_from_any_folder(trainer, tmp_path):
    options = [f"--{name}={value}" for name, value in SMALL.items()]
    command = [sys.executable, str(SCRIPT), "--trainer", trainer, *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["trainer"] == TRAINERS[trainer] and told["settings"] | SMALL == told["settings"]
    assert told["tokens_per_second"] == pytest.approx(2 * (4 + 3) / (told["ms"] / 1000)) and told["ms"] > 0
    assert told["bytes"] > 0 and 0 < told["utilisation"] < 1
    assert not list(tmp_path.iterdir()), "nothing is left behind"
