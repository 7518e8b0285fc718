"""Runs of IFT in TRL: lambda, logs, cards, evaluation, streams, resuming, the example, what is refused, two processes."""

import faulthandler
import functools
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_language_data import plain_tokenizer
from trl_runs import MESSAGES, PLAIN, TALK, WITHOUT, batch_of, close, counted_rows, llama, losses_apart, trainer, weights

from ift_gridworld.language.data import write_rows
from ift_gridworld.methods.options import IFTOptions

pytestmark = pytest.mark.trl


# ---- lambda, logs, card ----


def test_schedules_are_their_closed_forms(trl, tmp_path):
    def mixing(step, steps, **options):
        return trl.IFTConfig(str(tmp_path), use_cpu=True, bf16=False, **options).mixing_at(step, steps)

    assert [mixing(step, 5, mixing=0.3) for step in (0, 2, 4)] == [0.3] * 3
    linear = {"mixing": 0.8, "mixing_schedule": "linear"}
    assert [mixing(step, 5, **linear) for step in range(6)] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 0.8])
    assert [mixing(step, 3, mixing_start=1.0, **linear) for step in range(3)] == pytest.approx([1.0, 0.9, 0.8])
    cosine = [mixing(step, 5, mixing=0.5, mixing_schedule="cosine", mixing_start=0.1) for step in range(5)]
    assert cosine == pytest.approx([0.1 + 0.4 * (1 - math.cos(math.pi * step / 4)) / 2 for step in range(5)])
    assert cosine[0] == 0.1 and cosine[2] == pytest.approx(0.3) and cosine[4] == pytest.approx(0.5) and cosine[1] < 0.2
    assert [mixing(step, steps, **linear) for step, steps in ((0, 1), (0, 0))] == [0.8] * 2


def test_logs_have_lambda_and_both_passes(trl, talker, tmp_path):
    """λ of each update, and each pass's plain loss: the second pass's is its loss without weights."""
    model = llama()
    options = {"mixing": 0.6, "mixing_schedule": "linear", "mixing_start": 0.0, "max_steps": 3, "learning_rate": 0.0}
    learner = trainer(trl.IFTSFTTrainer, model, tmp_path, PLAIN, talker, per_device_train_batch_size=5, **options)
    learner.train()
    rows = counted_rows(learner)
    for log, mixing in zip(learner.state.log_history, (0.0, 0.3, 0.6), strict=False):
        assert log["lambda"] == pytest.approx(mixing)
        for name, share in (("first_pass_loss", 0.0), ("second_pass_loss", mixing)):
            plain = losses_apart(model, rows, IFTOptions(mixing=share, propagation="none"))
            close(log[name], sum(float(loss) * n for loss, n in plain) / sum(n for _, n in plain))
        weighed = losses_apart(model, rows, IFTOptions(mixing=mixing))
        close(log["loss"], sum(float(loss) * n for loss, n in weighed) / sum(n for _, n in weighed))


def test_arguments_are_saved_and_stated_in_the_card(trl, talker, tmp_path):
    options = {"mixing": 0.25, "mixing_schedule": "cosine", "decay": 0.5, "propagation": "algorithm1", "average": "sequence"}
    learner = trainer(trl.IFTSFTTrainer, llama(), tmp_path, PLAIN, talker, save_strategy="steps", save_steps=1, **options)
    learner.train()
    saved = torch.load(tmp_path / "checkpoint-1" / "training_args.bin", weights_only=False)
    assert {name: getattr(saved, name) for name in options} == options
    assert {name: json.loads(saved.to_json_string())[name] for name in options} == options
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "- ift" in card.split("---")[1] and "2405.11870" in card and "trained with IFT" in card
    told = dict(line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| "))
    assert told["mixing"] == "0.25 from 0.0, cosine" and told["decay"] == "0.5" and told["propagation"] == "algorithm1"
    assert set(told) > {"norm", "detach_weights", "prediction", "embedding_gradient", "average"}


def test_arguments_come_from_a_command_line(trl, tmp_path):
    from transformers import HfArgumentParser

    words = (
        f"--output_dir {tmp_path} --use_cpu True --bf16 False --mixing 0.3 --propagation equation21 --mixing_schedule linear"
    )
    (found,) = HfArgumentParser(trl.IFTConfig).parse_args_into_dataclasses(words.split())
    assert (found.mixing, found.propagation, found.mixing_schedule, found.norm) == (0.3, "equation21", "linear", "L1")


# ---- evaluation, streams, resuming ----


@pytest.mark.parametrize(("options", "passes"), [({}, 2), (WITHOUT, 1)], ids=["IFT", "SFT"])
def test_evaluation_runs_the_passes_of_the_loss_and_no_other(trl, talker, tmp_path, options, passes):
    learner = trainer(
        trl.IFTSFTTrainer, llama(), tmp_path, PLAIN, talker, per_device_eval_batch_size=5, **options,
        named={"eval_dataset": __import__("datasets").Dataset.from_list(PLAIN)},
    )  # fmt: skip
    calls = []
    learner.model.model.register_forward_pre_hook(lambda *_: calls.append(1))
    found = learner.evaluate()
    assert len(calls) == passes
    learner.model.eval()
    close(found["eval_loss"], learner.compute_loss(learner.model, batch_of(learner)))
    assert {f"eval_{n}" for n in ("entropy", "mean_token_accuracy", "num_tokens", "lambda", "second_pass_loss")} <= set(found)


def test_a_stream_is_trained_as_the_data_set_is(trl, talker, tmp_path):
    """An update of all rows, whose order is then nothing to it."""
    import datasets

    whole, found = datasets.Dataset.from_list(PLAIN * 2), []
    for rows in (whole, whole.to_iterable_dataset()):
        options = {"packing": True, "max_length": 24, "per_device_train_batch_size": 10, "gradient_accumulation_steps": 1}
        learner = trainer(trl.IFTSFTTrainer, llama(), tmp_path, rows, talker, **options)
        learner.train()
        found.append((weights(learner), learner.state.log_history[0]["num_tokens"]))
    assert found[0][1] == found[1][1] > 40
    for name, weight in found[0][0].items():
        close(found[1][0][name], weight)


def test_a_run_that_was_cut_off_goes_on_as_if_nothing_had_been(trl, talker, tmp_path):
    """λ, too, which rises."""
    run = {"optim": "adamw_torch", "learning_rate": 1e-2, "max_steps": 4, "mixing_schedule": "linear", "mixing": 0.9}
    whole = trainer(trl.IFTSFTTrainer, llama(), tmp_path / "whole", PLAIN, talker, **run)
    whole.train()
    saving = {"save_strategy": "steps", "save_steps": 2}
    trainer(trl.IFTSFTTrainer, llama(), tmp_path / "cut", PLAIN, talker, **saving, **run).train()
    again = trainer(trl.IFTSFTTrainer, llama(seed=9), tmp_path / "cut", PLAIN, talker, **run)
    again.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-2"))
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(again)[name], weight, rtol=0, atol=0)
    assert [log["lambda"] for log in again.state.log_history if "lambda" in log] == pytest.approx([0.0, 0.3, 0.6, 0.9])


def test_the_example_trains_resumes_and_saves_an_adapter(trl, talker, tmp_path, monkeypatch, capsys):
    """From files alone, as a user has it: a base in a folder, conversations in a file."""
    import peft
    from test_examples import load

    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    base, data, out = (str(tmp_path / name) for name in ("base", "talks.jsonl", "out"))
    llama().save_pretrained(base)
    talker.save_pretrained(base)
    write_rows(Path(data), MESSAGES * 4)
    example = load("fine_tune_with_trl")
    monkeypatch.setattr(example, "IFTConfig", functools.partial(trl.IFTConfig, use_cpu=True, bf16=False, disable_tqdm=True))
    for steps, resume in ((2, False), (4, True)):
        example.main(base, data, out, steps=steps, resume=resume)
    assert "eval_second_pass_loss" in capsys.readouterr().out
    state = json.loads(Path(out, "checkpoint-4", "trainer_state.json").read_text(encoding="utf-8"))
    assert state["global_step"] == 4
    adapted = peft.PeftModel.from_pretrained(llama(), out)
    assert any(p.abs().sum() > 0 for name, p in adapted.named_parameters() if "lora_B" in name)


# ---- what is refused ----


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mixing": 1.5}, r"mixing is 1.5; allowed: a number in \[0, 1\]"),
        ({"decay": float("nan")}, r"decay is nan; allowed: a number in \[0, 1\]"),
        ({"propagation": "all"}, "propagation is 'all'; allowed: released, algorithm1, equation21, none"),
        ({"norm": "L3"}, "norm is 'L3'; .*allowed: L1, L2, softmax, log"),
        ({"prediction": "sampled"}, "prediction is 'sampled'; allowed: greedy, expected"),
        ({"mixing_schedule": "step"}, "mixing_schedule is 'step'; allowed: constant, linear, cosine"),
        ({"mixing_start": 0.1}, "mixing_start is 0.1, with mixing_schedule constant; allowed: linear, cosine"),
        ({"mixing_schedule": "linear", "mixing_start": 2}, r"mixing_start is 2; allowed: a number in \[0, 1\]"),
        ({"average": "batch"}, "average is 'batch'; allowed: token, sequence"),
        ({"loss_type": "dft"}, "loss_type is 'dft'; allowed: nll"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor is 0.1; allowed: 0"),
        ({"packing": True, "packing_strategy": "wrapped"}, "packing_strategy is 'wrapped', .*; allowed: bfd, bfd_split"),
        ({"eval_packing": True}, "eval_packing is True without packing, .*; allowed: with packing"),
        ({"fsdp": "full_shard"}, "fsdp is 'full_shard'; allowed: whole models, on one device or under DDP"),
    ],
    ids=str,
)
def test_what_is_not_allowed_is_told_in_one_line_before_anything_is_loaded(trl, tmp_path, options, words):
    with pytest.raises(ValueError, match=f"^{words}") as error:
        trl.IFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, **options)
    assert "\n" not in str(error.value)


def test_other_arguments_losses_and_split_models_are_refused(trl, talker, tmp_path, monkeypatch):
    def make(**named):
        return trainer(trl.IFTSFTTrainer, llama(), tmp_path, PLAIN, talker, named=named)

    with pytest.raises(ValueError, match="^args is a SFTConfig; allowed: an IFTConfig"):
        trl.IFTSFTTrainer(llama(), trl.SFTConfig(str(tmp_path), use_cpu=True, bf16=False))
    with pytest.warns(FutureWarning), pytest.raises(ValueError, match="^compute_loss_func is given; allowed: none"):
        make(compute_loss_func=lambda *_, **__: 0)
    with monkeypatch.context() as patch:
        patch.setattr("ift_gridworld.language.collated.is_deepspeed_zero3_enabled", lambda: True)
        with pytest.raises(ValueError, match="^the model is split by ZeRO-3; allowed: whole models"):
            make()
    whole = {"compute_loss_func": None, "_is_vision_dataset": False, "is_fsdp_enabled": False}
    for what, words in (
        ({"_is_vision_dataset": True}, "^the data hold images; allowed: text"),
        ({"is_fsdp_enabled": True}, "^the model is split by FSDP; allowed: whole models"),
        ({"accelerator": SimpleNamespace(parallelism_config=SimpleNamespace(tp_size=2))}, "^the model is split by tp_size 2; "),
    ):
        with pytest.raises(ValueError, match=words):
            trl.IFTSFTTrainer._check_support(SimpleNamespace(**{"accelerator": None} | whole | what))
    broken = llama()
    broken.config.is_encoder_decoder = True
    with pytest.raises(ValueError, match="LlamaForCausalLM is an encoder with a decoder; allowed: causal"):
        trainer(trl.IFTSFTTrainer, broken, tmp_path, PLAIN, talker)


# ---- two processes ----


def in_one_of_two_processes(path):
    """What torchrun starts twice: packed rows, LoRA beside a trained table, in shares of unequal numbers of tokens."""
    faulthandler.dump_traceback_later(300, exit=True)
    from ift_gridworld.language import trl

    talker, model = plain_tokenizer(chat_template=TALK), llama()
    for number, options in enumerate(({}, {"packing": True, "max_length": 16})):
        learner = trainer(
            trl.IFTSFTTrainer, model, path, PLAIN[:4], talker, per_device_train_batch_size=1, ddp_backend="gloo", **options
        )
        learner.train()
        assert learner.model_wrapped is not learner.model, "DDP is around it"
        if learner.args.process_index == 0:
            kept = {"log": learner.state.log_history[0], "weights": weights(learner)}
            torch.save(kept, Path(path, f"run_{number}.pt"))
    # Both wait for the other's file and end at once: Gloo's threads may stop a process in which a group ends.
    ends = [Path(path, f"ended_{rank}") for rank in range(2)]
    ends[learner.args.process_index].touch()
    while not all(end.exists() for end in ends):
        time.sleep(0.05)
    os._exit(0)


@pytest.mark.slow
def test_two_processes_equal_one(trl, talker, tmp_path):
    """Four rows, each process with two batches of one; and both packed rows, one each."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    command += ["--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1", __file__, str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "HF_HUB_OFFLINE": "1"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    assert result.returncode == 0, result.stderr
    for number, options in enumerate(({}, {"packing": True, "max_length": 16})):
        kept = torch.load(tmp_path / f"run_{number}.pt")
        alone = trainer(
            trl.IFTSFTTrainer,
            llama(),
            tmp_path,
            PLAIN[:4],
            talker,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=1,
            **options,
        )
        alone.train()
        for name, weight in weights(alone).items():
            close(kept["weights"][name], weight)
        for name in ("loss", "lambda", "first_pass_loss", "second_pass_loss", "num_tokens"):
            close(kept["log"][name], alone.state.log_history[0][name])


if __name__ == "__main__":
    in_one_of_two_processes(sys.argv[1])
