"""IFT in TRL: SFTTrainer's own number without IFT's two ideas, IFTTrainer's with them, and packed sequences run apart."""

import copy

import pytest
import torch
from transformers import OPTConfig, OPTForCausalLM
from trl_runs import CHAT, MESSAGES, PLAIN, TEXT, WITHOUT, batch_of, close, counted_rows, llama, losses_apart, trainer, weights

from ift_gridworld.language import IFTTrainer

pytestmark = pytest.mark.trl


# ---- SFT ----

FORMS = {
    "text": (TEXT, {}),
    "prompt and completion": (PLAIN, {}),
    "all of prompt and completion": (PLAIN, {"completion_only_loss": False}),
    "chat": (CHAT, {}),
    "messages": (MESSAGES, {}),
    "assistant's messages": (MESSAGES, {"assistant_only_loss": True}),
    "packed": (PLAIN, {"packing": True, "max_length": 16}),
    "packed messages": (MESSAGES, {"packing": True, "max_length": 48, "assistant_only_loss": True}),
    "split": (TEXT, {"packing": True, "max_length": 5, "packing_strategy": "bfd_split"}),
    "padding-free": (PLAIN, {"padding_free": True, "max_length": None}),
}


@pytest.mark.parametrize("form", FORMS)
def test_without_its_two_ideas_it_is_sft(trl, talker, tmp_path, form):
    """One update of two batches of unequal rows: loss, every weight and TRL's own metrics."""
    rows, arguments = FORMS[form]
    model = llama()
    theirs = trainer(trl.SFTTrainer, model, tmp_path, rows, talker, **arguments)
    ours = trainer(trl.IFTSFTTrainer, model, tmp_path, rows, talker, **WITHOUT, **arguments)
    other = trainer(trl.IFTSFTTrainer, model, tmp_path, rows, talker, **arguments)
    if not hasattr(theirs, "_loss_shifts_labels") and any(labels[0] != -100 for _, labels in counted_rows(theirs)):
        pytest.skip("this version of transformers divides by first tokens, too, which nothing predicts")
    for learner in (theirs, ours, other):
        learner.train()
    their_log, our_log, other_log = (x.state.log_history[0] for x in (theirs, ours, other))
    assert set(their_log) <= set(our_log) and {"entropy", "mean_token_accuracy", "num_tokens"} <= set(their_log)
    for name in set(their_log) - {"epoch"}:
        close(our_log[name], their_log[name])
    for name, weight in weights(theirs).items():
        close(weights(ours)[name], weight)
    assert abs(other_log["loss"] - our_log["loss"]) > 1e-2, "IFT is something else"
    close(other_log["first_pass_loss"], their_log["loss"])


@pytest.mark.parametrize("adapter", ["lora", "dora", "prompt"])
def test_adapters_are_trained_and_nothing_else(trl, talker, tmp_path, adapter):
    import peft

    how = {"task_type": "CAUSAL_LM"}
    if adapter == "prompt":
        config = peft.PromptTuningConfig(num_virtual_tokens=3, **how)
    else:
        config = peft.LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, use_dora=adapter == "dora", **how)
    base, learners = llama(), []
    for kind, options in ((trl.SFTTrainer, {}), (trl.IFTSFTTrainer, WITHOUT), (trl.IFTSFTTrainer, {})):
        named = {"peft_config": copy.deepcopy(config)}
        learners.append(trainer(kind, base, tmp_path / adapter, PLAIN, talker, named=named, **options))
    before = weights(learners[0])
    for learner in learners:
        learner.train()
    theirs, ours, other = map(weights, learners)
    moved = {name for name in before if not torch.equal(before[name], other[name])}
    assert moved and all("lora" in name or "prompt" in name for name in moved)
    for name in before:
        close(ours[name], theirs[name])
    learners[2].save_model(str(tmp_path / "saved"))
    again = peft.PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path / "saved")).eval()
    ids = torch.tensor([[40, 41, 42]])
    close(again(input_ids=ids).logits, learners[2].model.eval()(input_ids=ids).logits)


def test_routers_are_balanced_as_trl_balances_them(trl, talker, tmp_path):
    model = llama(kind="mixtral")
    theirs, ours = (
        trainer(kind, model, tmp_path, PLAIN, talker, **options)
        for kind, options in ((trl.SFTTrainer, {}), (trl.IFTSFTTrainer, WITHOUT))
    )
    for learner in (theirs, ours):
        learner.train()
    for name in ("loss", "aux_loss"):
        close(ours.state.log_history[0][name], theirs.state.log_history[0][name])
    for name, weight in weights(theirs).items():
        close(weights(ours)[name], weight)


# ---- IFT ----


@pytest.mark.parametrize(
    "knobs",
    [
        {},
        {"mixing": 0.7, "decay": 0.5, "norm": "log", "detach_weights": True, "prediction": "expected"},
        {"propagation": "equation21", "embedding_gradient": True},
        {"mixing": 0.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("form", ["prompt and completion", "assistant's messages"])
def test_by_sequence_it_is_the_trainer_without_trl(trl, talker, tmp_path, form, knobs):
    from transformers import DataCollatorForSeq2Seq, TrainingArguments

    rows, arguments = FORMS[form]
    ours = trainer(trl.IFTSFTTrainer, llama(), tmp_path, rows, talker, average="sequence", **arguments, **knobs)
    batch = batch_of(ours)
    same = [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels} for ids, labels in counted_rows(ours)]
    plain = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    theirs = IFTTrainer(llama(), plain, DataCollatorForSeq2Seq(talker), train_dataset=same, **knobs)
    one = ours.compute_loss(ours.model, batch)
    two = theirs.compute_loss(theirs.model, theirs.data_collator(same))
    close(one, two)
    for loss in (one, two):
        loss.backward()
    for mine, other in zip(ours.model.parameters(), theirs.model.parameters(), strict=True):
        assert (mine.grad is None) == (other.grad is None)
        if mine.grad is not None:
            close(mine.grad, other.grad)


PACKS = {
    "packed": {"packing": True, "max_length": 24},
    "padding-free": {"padding_free": True, "max_length": None},
    "padded": {},
}


@pytest.mark.parametrize("average", ["token", "sequence"])
@pytest.mark.parametrize("packs", PACKS)
def test_sequences_in_one_row_are_run_apart(trl, talker, tmp_path, packs, average):
    """The expected loss comes from sequences that were never in one batch."""
    model = llama()
    rows = counted_rows(trainer(trl.IFTSFTTrainer, model, tmp_path, PLAIN, talker))
    apart = losses_apart(model, rows)
    weigh = [count if average == "token" else 1 for _, count in apart]
    expected = sum(loss * w for (loss, _), w in zip(apart, weigh, strict=True)) / sum(weigh)
    expected.backward()
    slope = {name: p.grad for name, p in model.named_parameters()}
    learner = trainer(trl.IFTSFTTrainer, model, tmp_path, PLAIN, talker, average=average, **PACKS[packs])
    batch = batch_of(learner)
    assert packs == "padded" or len(batch["input_ids"]) == 1
    loss = learner.compute_loss(learner.model, batch)
    close(loss, expected)
    loss.backward()
    for name, p in learner.model.named_parameters():
        assert (p.grad is None) == (slope[name] is None)
        if p.grad is not None:
            close(p.grad, slope[name])
    even = sum(loss for loss, _ in apart) / len(apart)
    assert (average == "sequence") == bool((even - expected).abs() < 1e-4), "the averages differ"


def test_odd_sequences_of_a_packed_row(trl, talker, tmp_path):
    """One token, none that counts, and padding behind; a first token counts for nothing, whatever its label says."""
    model = llama()
    learner = trainer(trl.IFTSFTTrainer, model, tmp_path, PLAIN, talker, average="sequence", padding_free=True, max_length=None)
    whole = ([40, 41, 42, 43], [-100, -100, 42, 43])
    ids = torch.tensor([[*whole[0], 50, 44, 45, 0, 0]])
    labels = torch.tensor([[*whole[1], 50, -100, -100, -100, -100]])
    positions = torch.tensor([[0, 1, 2, 3, 0, 0, 1, 0, 0]])
    loss = learner.compute_loss(learner.model, {"input_ids": ids, "labels": labels, "position_ids": positions})
    close(loss, losses_apart(model, [whole])[0][0])
    labels[:] = -100
    nothing = learner.compute_loss(learner.model, {"input_ids": ids, "labels": labels, "position_ids": positions})
    assert nothing == 0
    nothing.backward()


def test_a_model_that_reads_across_sequences_is_refused(trl, talker, tmp_path):
    """OPT's positions count on, and peft drops those of virtual tokens: SFTTrainer would train on sequences that see others."""
    import peft

    sizes = {"vocab_size": 98, "hidden_size": 16, "word_embed_proj_dim": 16, "ffn_dim": 24, "num_hidden_layers": 2}
    torch.manual_seed(0)
    opt = OPTForCausalLM(OPTConfig(**sizes, num_attention_heads=2, pad_token_id=0))
    virtual = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")
    for model, named in ((opt, {}), (llama(), {"peft_config": virtual})):
        message = r"^(OPT|Peft)\w+.* does not tell sequences in one row apart .*; allowed: packing and padding_free False"
        with pytest.raises(ValueError, match=message) as error:
            trainer(trl.IFTSFTTrainer, model, tmp_path, PLAIN, talker, packing=True, max_length=16, named=named)
        assert "\n" not in str(error.value)
    trainer(trl.IFTSFTTrainer, opt, tmp_path, PLAIN, talker).train()
