"""transformers' Trainer with IFT's loss: the number our own loop gives, whatever the padding, the batches and the processes."""

import copy
import faulthandler
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from transformers import DataCollatorForSeq2Seq, GPT2Config, GPT2LMHeadModel, TrainingArguments

from ift_gridworld.language import IFTTrainer
from ift_gridworld.language.data import Completions
from ift_gridworld.language.models import build_model
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.text import COMPACT
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import IFTOptions

RATE = 0.1  # of plain gradient descent: one update moves a weight by so much times its gradient


@pytest.fixture(scope="module")
def model():
    return sharp_model().double()


def rows(count=8, seed=0, prompt=None):
    """Random prompts and answers, of lengths of their own."""
    random = np.random.default_rng(seed)
    prompts = [random.integers(2, 12, prompt or n).tolist() for n in random.integers(2, 8, count)]
    return Completions.of(prompts, [[*random.integers(2, 12, n).tolist(), 1] for n in random.integers(1, 6, count)])


def dataset(data):
    """As any script for SFT has it."""
    found = []
    for ids, prompt, length in zip(data.ids.tolist(), data.prompt, data.length, strict=True):
        labels = [-100] * prompt + ids[prompt:length]
        found.append({"input_ids": ids[:length], "attention_mask": [1] * int(length), "labels": labels})
    return found


def collator(side="right"):
    """transformers' own."""
    tokenizer = copy.deepcopy(COMPACT.tokenizer)
    tokenizer.padding_side = side
    return DataCollatorForSeq2Seq(tokenizer)


def trainer(model, path, data=None, *, side="right", named=None, **arguments):
    """Gradient descent for one update, unless told otherwise, of a copy of the model."""
    settings = {
        "optim": "sgd", "learning_rate": RATE, "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "max_steps": 1,
        "report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no",
    }  # fmt: skip
    arguments = TrainingArguments(output_dir=str(path), **settings | arguments)
    found = None if data is None else dataset(data)
    return IFTTrainer(copy.deepcopy(model), arguments, collator(side), train_dataset=found, eval_dataset=found, **(named or {}))


def ours(model, data, options=None):
    """The loss of the project's own loop."""
    return IFT(TextSource(), LanguagePolicy(model), options or IFTOptions()).loss(data.batch())[0]


def gradient(model, data):
    """Of that loss, by name; None where no gradient comes."""
    model = copy.deepcopy(model)
    ours(model, data).backward()
    return {name: p.grad for name, p in model.named_parameters()}


def close(one, two, scale=1.0):
    """To float32, of numbers near `scale`: whatever its weights, a Llama's norms are taken in it (1e-7, over some ten sums)."""
    torch.testing.assert_close(one, two, rtol=1e-5, atol=2e-6 * scale, check_dtype=False)


def descended(before, after, slope):
    """One update has moved every weight by -rate x gradient."""
    after = dict(after.named_parameters())
    for name, old in before.named_parameters():
        if slope[name] is None:
            assert torch.equal(after[name], old)
        else:
            close((old - after[name]) / RATE, slope[name])


# ---- the loss ----


@pytest.mark.parametrize("prompt", [None, 6], ids=["prompts of all lengths", "prompts of one length"])
@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"mixing": 0.7, "decay": 0.5, "norm": "log", "detach_weights": True, "prediction": "expected"},
        {"propagation": "equation21"},
        {"mixing": 0.0},
    ],
)
def test_the_loss_is_our_loops_own(model, tmp_path, knobs, prompt):
    data = rows(prompt=prompt)
    learner = trainer(model, tmp_path, named=knobs)
    found = learner.compute_loss(learner.model, collator()(dataset(data)))
    close(found, ours(model, data, IFTOptions(**knobs)))
    assert knobs == {} or (found - ours(model, data)).abs() > 1e-3, "the knobs turn something"


def test_the_loss_by_hand(model, tmp_path):
    """Token by token for one row: predicted, mixed, read again, weighed."""
    data = rows(1, seed=3)
    ids, prompt = torch.as_tensor(data.ids), int(data.prompt[0])
    table = model.get_input_embeddings().weight.detach()
    with torch.no_grad():
        predicted = model(input_ids=ids).logits[0].argmax(-1)  # predicted[i] stands for token i + 1
        mixed = table[ids[0]].clone()
        for i in range(prompt, ids.shape[1] - 1):  # the last token is read by no prediction
            mixed[i] = 0.8 * table[ids[0, i]] + 0.2 * table[predicted[i - 1]]
        said = torch.log_softmax(model(inputs_embeds=mixed[None]).logits[0], -1)
    losses = [-float(said[i - 1, ids[0, i]]) for i in range(prompt, ids.shape[1])]
    weights, following = [], 0.0
    for loss in reversed(losses):
        following = loss + 0.95 * following
        weights.insert(0, following)
    expected = sum(w * loss for w, loss in zip(weights, losses, strict=True)) / sum(weights)
    learner = trainer(model, tmp_path)
    assert len(losses) > 2
    close(learner.compute_loss(learner.model, collator()(dataset(data))), torch.tensor(expected))


def test_without_its_two_ideas_it_is_the_mean_of_transformers_own_loss_of_each_row(model, tmp_path):
    data = dataset(rows())
    learner = trainer(model, tmp_path, named={"mixing": 0.0, "propagation": "none"})
    with torch.no_grad():
        each = [model(**{k: torch.tensor([row[k]]) for k in ("input_ids", "labels")}).loss for row in data]
    close(learner.compute_loss(learner.model, collator()(data)), torch.stack(each).mean())


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_padding_changes_nothing(model, tmp_path, kind):
    """On either side, or none at all for each row alone; GPT-2 tells places apart by their number."""
    if kind == "gpt2":
        torch.manual_seed(0)
        config = GPT2Config(vocab_size=14, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1)
        config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
        model = GPT2LMHeadModel(config).double()
        with torch.no_grad():
            model.transformer.wpe.weight *= 20
    data = dataset(rows())
    learner = trainer(model, tmp_path)
    left, right = (learner.compute_loss(learner.model, collator(side)(data)) for side in ("left", "right"))
    alone = [learner.compute_loss(learner.model, collator()([row])) for row in data]
    close(left, right)
    close(right, torch.stack(alone).mean())
    unmasked = {k: v for k, v in collator()(data).items() if k != "attention_mask"}
    assert learner.compute_loss(learner.model, unmasked) == right


def test_a_row_that_counts_nothing_is_worth_nothing(model, tmp_path):
    learner = trainer(model, tmp_path)
    batch = collator()(dataset(rows(4)))
    full = [learner.compute_loss(learner.model, {k: v[i : i + 1] for k, v in batch.items()}) for i in range(4)]
    batch["labels"][1] = -100
    close(learner.compute_loss(learner.model, batch), (full[0] + full[2] + full[3]) / 4)
    batch["labels"][:] = -100
    loss = learner.compute_loss(learner.model, batch)
    assert loss == 0
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in learner.model.parameters())


def test_a_batch_of_rows_of_one_token_is_worth_nothing(model, tmp_path):
    learner = trainer(model, tmp_path)
    batch = {"input_ids": torch.tensor([[3], [4]]), "labels": torch.tensor([[3], [-100]])}
    loss = learner.compute_loss(learner.model, batch)
    assert loss == 0 and batch["labels"].shape == (2, 1)
    loss.backward()


# ---- updates ----


@pytest.mark.parametrize(
    ("size", "times", "side"), [(8, 1, "left"), (4, 2, "right"), (2, 4, "left"), (3, 3, "left"), (5, 2, "right")]
)
def test_however_the_rows_are_divided_the_update_is_the_same(model, tmp_path, size, times, side):
    """Also where the last batch is smaller (3 + 3 + 2, 5 + 3) and answers are of different lengths."""
    data = rows()
    model = copy.deepcopy(model)
    model.accepts_loss_kwargs = side == "right"  # whether a model would count tokens itself is nothing to us
    learner = trainer(model, tmp_path, data, side=side, per_device_train_batch_size=size, gradient_accumulation_steps=times)
    told = learner.train()
    descended(model, learner.model, gradient(model, data))
    close(torch.tensor(told.training_loss), ours(model, data))
    mean_of_means = [ours(model, data[i : i + 5]) for i in (0, 5)]
    assert (sum(mean_of_means) / 2 - ours(model, data)).abs() > 1e-3, "it matters that rows are counted"


def test_an_epochs_last_update_is_of_the_rows_that_are_left(model, tmp_path):
    """Five rows, two and then two to an update, and then one alone, in the order in which they come."""
    data, order = rows(5), []
    learner = trainer(
        model, tmp_path, data, max_steps=-1, num_train_epochs=1, per_device_train_batch_size=1, gradient_accumulation_steps=2
    )
    plain = learner.data_collator
    learner.data_collator = lambda batch: order.extend(learner.train_dataset.index(row) for row in batch) or plain(batch)
    learner.train()
    assert sorted(order) == [0, 1, 2, 3, 4]
    expected = copy.deepcopy(model)
    for part in (order[:2], order[2:4]):
        slope = gradient(expected, data[np.array(part)])
        with torch.no_grad():
            for name, p in expected.named_parameters():
                p -= RATE * (0 if slope[name] is None else slope[name])
    descended(expected, learner.model, gradient(expected, data[np.array(order[4:])]))


@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_nothing(model, tmp_path, reentrant):
    data = rows(prompt=6)
    options = {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": reentrant}}
    learner = trainer(model, tmp_path, data, **options)
    learner.train()
    descended(model, learner.model, gradient(model, data))


def in_one_of_two_processes(path):
    """What torchrun starts twice."""
    faulthandler.dump_traceback_later(300, exit=True)  # a process that waits for the other for good says where
    model, data = sharp_model().double(), rows()
    for options in ({}, {"gradient_checkpointing": True}):
        share = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "per_device_eval_batch_size": 2}
        learner = trainer(model, path, data, ddp_backend="gloo", **share, **options)
        learner.train()
        assert learner.model_wrapped is not learner.model, "DDP is around it"
        descended(model, learner.model, gradient(model, data))
        close(torch.tensor(learner.evaluate()["eval_loss"]), ours(learner.model, data))
        learner.args.max_steps = 2
        learner.train()  # DDP complains in the second update of what it missed in the first
    # Gloo's threads may stop or abort a process in which a group ends, and a process that leaves early stops the other.
    # So both wait for the other's file, not for a message, and then end at once.
    ends = [Path(path, f"ended_{rank}") for rank in range(2)]
    ends[learner.args.process_index].touch()
    while not all(end.exists() for end in ends):
        time.sleep(0.05)
    os._exit(0)


@pytest.mark.slow
def test_however_many_processes_share_the_rows_the_update_is_the_same(tmp_path):
    """Two, each with two batches of two."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=2", "--rdzv-backend=c10d"]
    # The loopback interface: a machine's own name may not resolve, or only after minutes.
    command += ["--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1", __file__, str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    result = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in tmp_path.glob("ended_*")) == ["ended_0", "ended_1"]


def test_training_lowers_the_loss(tmp_path):
    model, data = build_model("tiny"), rows()
    learner = trainer(model, tmp_path, data, optim="adamw_torch", learning_rate=3e-3, max_steps=20)
    before = learner.evaluate()["eval_loss"]
    learner.train()
    assert learner.evaluate()["eval_loss"] < 0.7 * before


def test_a_run_that_was_cut_off_goes_on_as_if_nothing_had_been(model, tmp_path):
    data = rows()
    run = {"optim": "adamw_torch", "learning_rate": 1e-3, "max_steps": 4, "per_device_train_batch_size": 3}
    whole = trainer(model, tmp_path / "whole", data, **run)
    whole.train()
    first = trainer(model, tmp_path / "cut", data, save_strategy="steps", save_steps=2, **run)
    first.train()
    again = trainer(build_model("tiny", seed=9).double(), tmp_path / "cut", data, **run)
    again.train(resume_from_checkpoint=str(tmp_path / "cut" / "checkpoint-2"))
    assert again.state.global_step == 4
    moved = False
    for one, two, old in zip(whole.model.parameters(), again.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
        moved |= not torch.equal(one, old)
    assert moved


# ---- evaluation ----


@pytest.mark.parametrize("side", ["left", "right"])
def test_what_evaluation_reports(model, tmp_path, side):
    """The same loss, of five rows in batches of two; and logits of the true tokens, where the labels are."""
    data, seen = rows(5), {}

    def measures(told):
        seen["logits"], seen["labels"] = (torch.as_tensor(x) for x in (told.predictions, told.label_ids))
        return {}

    learner = trainer(model, tmp_path, data, side=side, named={"compute_metrics": measures}, per_device_eval_batch_size=2)
    found = learner.evaluate()
    close(torch.tensor(found["eval_loss"]), ours(model, data))
    assert seen["logits"].shape[:2] == seen["labels"].shape
    for row, logits, labels in zip(dataset(data), seen["logits"], seen["labels"], strict=True):
        with torch.no_grad():
            alone = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        counted, answer = (labels != -100).nonzero()[:, 0], (torch.tensor(row["labels"]) != -100).nonzero()[:, 0]
        assert labels[counted].tolist() == [row["labels"][i] for i in answer]
        close(logits[counted - 1], alone[answer - 1], scale=float(alone.abs().max()))


@pytest.mark.parametrize(("named", "passes"), [({}, 2), ({"mixing": 0.0}, 1)])
def test_evaluation_runs_no_pass_beside_those_of_the_loss(model, tmp_path, named, passes):
    learner, calls = trainer(model, tmp_path, rows(), named=named), []
    learner.model.model.register_forward_pre_hook(lambda *_: calls.append(1))
    close(torch.tensor(learner.evaluate()["eval_loss"]), ours(model, rows(), IFTOptions(**named)))
    assert len(calls) == passes


# ---- what is refused ----


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"mixing": 2}, r"mixing is 2; allowed: a number in \[0, 1\]"),
        ({"decay": float("nan")}, r"decay is nan; allowed: a number in \[0, 1\]"),
        ({"propagation": "all"}, "propagation is 'all'; allowed: released, algorithm1, equation21, none"),
        ({"norm": "L3"}, "norm is 'L3'; allowed: L1, L2, softmax, log"),
        ({"prediction": "sampled"}, "prediction is 'sampled'; allowed: greedy, expected"),
        ({"compute_loss_func": lambda *_, **__: 0}, "compute_loss_func .* is given; allowed: neither, the loss is IFT's"),
    ],
)
def test_what_is_not_allowed_is_told_in_one_line(model, tmp_path, named, message):
    with pytest.raises(ValueError, match=f"{message}$") as error:
        trainer(model, tmp_path, named=named)
    assert "\n" not in str(error.value)


def test_a_loss_of_trainers_own_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match="label_smoothing_factor is given; allowed: neither"):
        trainer(model, tmp_path, label_smoothing_factor=0.1)


def test_one_process_has_one_gpu(model, tmp_path, monkeypatch):
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)
    with pytest.raises(ValueError, match="one process has 2 GPUs; allowed: one GPU a process"):
        trainer(model, tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("loss_type", "dft", "loss_type is 'dft'; allowed: nll or none"),
        ("packing", True, "packing is True; allowed: False, one sequence a row"),
        ("padding_free", True, "padding_free is True; allowed: False"),
        ("fsdp", ["full_shard"], "fsdp is .'full_shard'.; allowed: whole models, on one device or under DDP"),
    ],
)
def test_arguments_for_other_losses_and_batches_are_refused(model, tmp_path, name, value, words):
    """TRL's arguments are Trainer's with fields of its own; those that would change what is computed are not passed over."""
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    setattr(arguments, name, value)
    with pytest.raises(ValueError, match=f"^{words}") as error:
        IFTTrainer(model, arguments)
    assert "\n" not in str(error.value)


def test_zero_3_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr("ift_gridworld.language.collated.is_deepspeed_zero3_enabled", lambda: True)
    with pytest.raises(ValueError, match="the model is split by ZeRO-3; allowed: whole models"):
        trainer(model, tmp_path)


def test_a_model_is_probed_before_anything_is_trained(model, tmp_path):
    broken = copy.deepcopy(model)
    broken.config.is_encoder_decoder = True
    with pytest.raises(ValueError, match="LlamaForCausalLM is an encoder with a decoder; allowed: causal"):
        trainer(broken, tmp_path)


def test_live_embeddings_train_rows_of_added_tokens(model, tmp_path):
    """The warning comes where a tokenizer has added tokens, and not where they are trained."""
    tokenizer = copy.deepcopy(COMPACT.tokenizer)
    tokenizer.add_tokens(["<new>"])
    with pytest.warns(UserWarning, match="rows of an untied embedding table are not trained"):
        held = trainer(model, tmp_path, rows(), named={"processing_class": tokenizer})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        live = trainer(model, tmp_path, rows(), named={"processing_class": tokenizer, "embedding_gradient": True})
    for learner, moves in ((held, False), (live, True)):
        learner.train()
        assert torch.equal(learner.model.model.embed_tokens.weight, model.model.embed_tokens.weight) != moves


@pytest.mark.parametrize(("name", "verb"), [("position_ids", "added"), ("labels", "missing")])
def test_packed_rows_and_rows_without_labels_are_refused(model, tmp_path, name, verb):
    """In a packed row one answer would be read as part of the next one's prompt."""
    learner = trainer(model, tmp_path)
    batch = collator()(dataset(rows(2)))
    given = {**batch, name: batch["input_ids"]} if verb == "added" else {k: v for k, v in batch.items() if k != name}
    with pytest.raises(ValueError, match="a batch holds .*; allowed: input_ids, labels and") as error:
        learner.compute_loss(learner.model, given)
    assert "\n" not in str(error.value)


if __name__ == "__main__":
    in_one_of_two_processes(sys.argv[1])


@pytest.mark.slow
def test_the_package_itself_stays_light():
    """Only who asks for the trainer waits for transformers' own."""
    program = "import sys, ift_gridworld.language as x; assert 'transformers' not in sys.modules; x.IFTTrainer; x.nothing"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode and "has no attribute 'nothing'" in done.stderr.splitlines()[-1]
