"""A language model behind embed | logits: its numbers are transformers' own; padding, batches and short cuts change none."""

import copy

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from support import options_of

from ift_gridworld.language.columns import columns_of
from ift_gridworld.language.data import Completions
from ift_gridworld.language.models import build_model, load_model
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.sampling import sample
from ift_gridworld.language.source import TextSource
from ift_gridworld.log_probs import action_log_probs, entropy
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.policies.residual import mix, residual_embeddings


@pytest.fixture(scope="module")
def policy():
    return LanguagePolicy(sharp_model().double())


def answers(*, shared=True, rows=5, seed=0):
    """Random prompts and answers; prompts all of one length, or not."""
    random = np.random.default_rng(seed)
    lengths = np.full(rows, 6) if shared else random.integers(2, 8, rows)
    prompts = [random.integers(2, 12, n).tolist() for n in lengths]
    return Completions.of(prompts, [[*random.integers(2, 12, n).tolist(), 1] for n in random.integers(1, 6, rows)])


def close(one, two):
    """To float32: whatever its weights, a Llama's norms are taken in it."""
    torch.testing.assert_close(one, two, rtol=1e-5, atol=2e-6, check_dtype=False)


def test_log_probs_are_transformers_own(policy):
    """Its loss is the mean over all tokens that count of what we give for each."""
    data = answers(shared=False)
    batch = data.batch()
    ids = torch.as_tensor(data.ids)
    place, (first, end) = torch.arange(ids.shape[1]), (torch.as_tensor(n)[:, None] for n in (data.prompt, data.length))
    theirs = policy.model(input_ids=ids, labels=torch.where((place >= first) & (place < end), ids, -100)).loss
    logp = policy.log_probs(batch.states, batch.actions, batch.mask)
    close(-(logp * batch.mask).sum() / batch.mask.sum(), theirs)
    assert not logp[~batch.mask].any()
    everywhere = policy.log_probs(batch.states, batch.actions)
    close(torch.where(batch.mask, everywhere, 0.0), logp)


def test_a_row_alone_is_the_row_of_a_batch(policy):
    """However much padding stands behind it."""
    data = answers(shared=False, rows=6)
    batch = data.batch()
    together = policy.log_probs(batch.states, batch.actions, batch.mask)
    for i in range(6):
        alone = data.batch(np.array([i]))
        found = policy.log_probs(alone.states, alone.actions, alone.mask)[0, 0]
        close(found, together[0, i, : len(found)])


@pytest.mark.parametrize("prediction", ["greedy", "expected"])
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("mixing", [0.2, 1.0])
def test_the_residual_connection_is_the_lakes_own(policy, shared, mixing, prediction):
    """Prompts that are run once, and logits of the answers' columns alone, give what two full passes give; so do gradients."""
    batch = answers(shared=shared).batch()
    policy = copy.deepcopy(policy)
    successor = TextSource().successor(policy, IFTOptions(prediction=prediction))
    weight = torch.randn(batch.mask.shape, generator=torch.Generator().manual_seed(0)).double() * batch.mask
    ours = policy.residual_log_probs(batch.states, batch.actions, batch.mask, successor, mixing=mixing)
    mixed = residual_embeddings(policy, batch.states, batch.mask, successor, mixing=mixing)
    plain = torch.where(batch.mask, action_log_probs(policy.logits(mixed), batch.actions), 0.0)
    close(ours, plain)
    assert (ours - policy.log_probs(batch.states, batch.actions, batch.mask)).abs().max() > 1e-3, "it is no first pass"
    names, parameters = zip(*policy.named_parameters(), strict=True)
    grads = [torch.autograd.grad((weight * x).sum(), parameters, allow_unused=True) for x in (ours, plain)]
    for name, one, two in zip(names, *grads, strict=True):
        assert (one is None) == (two is None) == ("embed_tokens" in name), "inputs are held still"
        if one is not None:
            close(one, two)


def test_a_mixed_token_is_the_predicted_one_beside_the_true_one(policy):
    """By hand, token by token, for one row: the prediction after token t - 1 stands beside token t of the answer."""
    batch = answers(rows=1).batch()
    table = policy.model.get_input_embeddings().weight.detach()
    states, mask = batch.states[0, 0], batch.mask[0, 0]
    with torch.no_grad():
        predicted = policy(batch.states)[0, 0].argmax(-1)
        expected = table[states].clone()
        for t in range(len(states)):
            if mask[t] and t > 0 and mask[t - 1]:
                expected[t] = 0.7 * table[states[t]] + 0.3 * table[predicted[t - 1]]
        logits = policy.model(inputs_embeds=expected[None]).logits[0]
    successor = TextSource().successor(policy, IFTOptions())
    ours = policy.residual_log_probs(batch.states, batch.actions, batch.mask, successor, mixing=0.3)[0, 0]
    theirs = torch.log_softmax(logits, -1).gather(-1, batch.actions[0, 0, :, None])[:, 0]
    close(ours, torch.where(mask, theirs, 0.0))


@pytest.mark.parametrize("shared", [True, False])
def test_the_first_pass_may_be_coarse(policy, shared):
    """In bfloat16 it predicts what the model predicts in bfloat16; what is learnt from that is exact."""
    batch, coarse = answers(shared=shared, rows=40).batch(), copy.deepcopy(policy).float()
    table = coarse.model.get_input_embeddings().weight
    successor = TextSource().successor(coarse, IFTOptions())
    seen = []

    def watched(states, logits):
        seen.append(logits)
        return successor(states, logits)

    for dtype in (None, torch.bfloat16):
        coarse.first_pass = dtype
        found = coarse.residual_log_probs(batch.states, batch.actions, batch.mask, watched, mixing=0.4)
    assert seen[0].dtype == torch.float32 and seen[1].dtype == torch.bfloat16 and found.dtype == torch.float32
    assert 0 < (seen[0] - seen[1].float()).abs().max() < 0.05 * seen[0].abs().max()
    predicted = torch.zeros(*batch.mask.shape, table.shape[1])
    begin = batch.mask.shape[-1] - seen[1].shape[-2]
    predicted[..., begin:, :] = table.detach()[seen[1].argmax(-1)]
    with torch.no_grad():
        mixed = mix(coarse.embed(batch.states), predicted, batch.mask, 0.4)
        close(found.detach(), coarse.log_probs_of(mixed, batch.actions, batch.mask))


def test_what_is_asked_of_each_step(policy):
    batch = answers(shared=False).batch()
    found = policy.per_state(batch.states, entropy, batch.mask)
    close(found, torch.where(batch.mask, entropy(policy(batch.states)), 0.0))
    assert columns_of(batch.mask).index.tolist() == [t for t in range(batch.mask.shape[-1]) if batch.mask[..., t].any()]


# ---- sampling ----


def test_the_likeliest_answer_is_transformers_own(policy):
    prompts = torch.randint(2, 12, (7, 6), generator=torch.Generator().manual_seed(0))
    ours = sample(policy, prompts, end=1, limit=12)
    theirs = policy.model.generate(prompts, max_new_tokens=12, do_sample=False, eos_token_id=1, pad_token_id=0)[:, 6:]
    assert torch.equal(ours, theirs[:, : ours.shape[1]]) and not theirs[:, ours.shape[1] :].any()


def test_answers_are_drawn_as_the_model_says(policy):
    """First tokens of many answers to one prompt: chi-squared with V - 1 degrees of freedom stays below its 99.99 % point."""
    prompt = torch.tensor([[2, 5, 7]]).expand(4000, -1)
    drawn = sample(policy, prompt, end=1, limit=1, generator=torch.Generator().manual_seed(0))[:, 0]
    with torch.no_grad():
        expected = torch.softmax(policy.model(prompt[:1]).logits[0, -1], -1) * 4000
    seen = torch.bincount(drawn, minlength=12).double()
    sound = expected > 5
    assert float(((seen - expected)[sound] ** 2 / expected[sound]).sum()) < 37
    again = sample(policy, prompt, end=1, limit=1, generator=torch.Generator().manual_seed(0))[:, 0]
    assert torch.equal(again, drawn)


def test_another_may_choose_the_words(policy):
    """Given the logits of every answer, the ended ones included; they are what the model says after the words chosen so far."""
    prompts, seen = torch.randint(2, 12, (3, 4), generator=torch.Generator().manual_seed(1)), []
    words = torch.tensor([[5, 6, 7, 1], [5, 1, 9, 9], [3, 3, 3, 3]])

    def choose(logits):
        seen.append(logits)
        return words[:, len(seen) - 1]

    said = sample(policy, prompts, end=1, limit=4, choose=choose, pad=0)
    assert said.tolist() == [[5, 6, 7, 1], [5, 1, 0, 0], [3, 3, 3, 3]]
    with torch.no_grad():
        close(torch.stack(seen, 1), policy.model(torch.cat([prompts, words], 1)).logits[:, 3:-1])


def test_nothing_is_said_after_the_end(policy):
    prompts = torch.randint(2, 12, (200, 4), generator=torch.Generator().manual_seed(1))
    said = sample(policy, prompts, end=1, limit=40, generator=torch.Generator().manual_seed(0), pad=0)
    after = (said == 1).cumsum(1) - (said == 1).int() > 0
    assert after.any() and not said[after].any()


# ---- every method ----


@pytest.mark.parametrize("name", METHODS)
def test_every_method_trains_a_language_model(name, policy):
    """The very classes of the lake: the loss is one number, and its gradient reaches the model."""
    policy = copy.deepcopy(policy)
    data = answers(rows=8)
    source = TextSource(
        data, data, answers(rows=8, seed=1), rows=4, limit=6, reward_function=lambda index, said: said.mean(1),
        teacher_function=lambda index, said, teacher: (np.array([[2, 3], [4, 5]]), np.full((*said.shape, 2), 0.5)),
    )  # fmt: skip
    learner = METHODS[name](source, policy, options_of(name, walkers=16, group=4, rise=0))
    loss = learner.loss(learner.batch(0))
    assert loss.shape == (1,) and torch.isfinite(loss).all()
    loss.sum().backward()
    assert policy.model.lm_head.weight.grad.abs().max() > 0
    if learner.keeps_reference:
        assert all(p.grad is None for p in learner.reference.parameters())


# ---- models by name ----


def test_a_saved_model_is_loaded_again(policy, tmp_path):
    from ift_gridworld.language.text import COMPACT

    policy.model.save_pretrained(tmp_path)
    COMPACT.tokenizer.save_pretrained(tmp_path)
    again, tokenizer, form = load_model(str(tmp_path))
    assert form is COMPACT and tokenizer("S F :")["input_ids"] == COMPACT.tokenizer("S F :")["input_ids"]
    ids = torch.tensor([[[2, 3, 7]]])
    torch.testing.assert_close(again(ids), policy(ids).float(), rtol=1e-4, atol=1e-4)


def test_sizes():
    assert abs(sum(p.numel() for p in build_model("tiny").parameters()) - 0.15e6) < 0.01e6
    with torch.device("meta"):
        assert abs(sum(p.numel() for p in build_model("small").parameters()) - 25e6) < 1e6
    assert torch.equal(build_model("tiny", seed=3).lm_head.weight, build_model("tiny", seed=3).lm_head.weight)
    assert not torch.equal(build_model("tiny", seed=3).lm_head.weight, build_model("tiny", seed=4).lm_head.weight)


def test_a_model_that_is_not_there_is_told_in_one_line(tmp_path, monkeypatch):
    """Not even asked for elsewhere: the hub's retries take most of a minute where there is no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match="model 'nowhere/at-all' cannot be loaded") as error:
        load_model("nowhere/at-all")
    assert "\n" not in str(error.value) and "tiny, small" in str(error.value)
    with pytest.raises(ValueError, match="none.gguf' is no file"):
        load_model(str(tmp_path / "none.gguf"))


def test_a_model_read_from_quantized_weights_is_trained(tmp_path, monkeypatch):
    """A GGUF file is read into plain weights; Trainer refuses a model that is still marked as quantized."""
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.trainer_utils import validate_quantization_for_training

    from ift_gridworld.language.text import COMPACT

    marked = build_model("tiny")
    marked.is_quantized, marked.hf_quantizer, marked.config.quantization_config = True, object(), {"quant_method": "gguf"}
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda **_: marked)
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda **_: COMPACT.tokenizer)
    (tmp_path / "weights.gguf").touch()
    policy, _, _ = load_model(str(tmp_path / "weights.gguf"))
    validate_quantization_for_training(policy.model)
    assert not hasattr(policy.model.config, "quantization_config")


def test_a_hub_out_of_reach_is_not_asked_again_and_again(monkeypatch):
    """Its retries take most of a minute; a way through another machine is not judged."""
    from ift_gridworld.language import models

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    asked = []

    def refuse(address, timeout):
        asked.append(address)
        raise OSError

    monkeypatch.setattr(models.socket, "create_connection", refuse)
    with pytest.raises(ValueError, match="model 'nowhere/at-all' cannot be loaded"):
        load_model("nowhere/at-all")
    assert len(asked) == 1 and asked[0][1] == 443
    monkeypatch.setenv("HTTPS_PROXY", "http://elsewhere:1")
    assert models._hub_answers() and len(asked) == 1


def test_activations_may_be_computed_again(policy):
    """Gradient checkpointing keeps no prompt; the numbers and the gradients stay."""
    batch, policy = answers().batch(), copy.deepcopy(policy)
    successor = TextSource().successor(policy, IFTOptions())
    found = []
    for again in (False, True):
        policy.train()
        if again:
            policy.model.gradient_checkpointing_enable({"use_reentrant": False})
        logp = policy.residual_log_probs(batch.states, batch.actions, batch.mask, successor, mixing=0.2)
        logp.sum().backward()
        found.append((logp.detach(), policy.model.lm_head.weight.grad.clone()))
        policy.zero_grad()
    for one, two in zip(*found, strict=True):
        close(one, two)
