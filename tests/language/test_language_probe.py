"""The probe at a model's door: every path gives the model's own numbers, or the model is refused in one line."""

import copy
from types import SimpleNamespace

import pytest
import torch
import transformers
from sharp_models import sharp_model
from torch import nn

from ift_gridworld.language.calls import ModelCalls
from ift_gridworld.language.models import build_model
from ift_gridworld.language.policy import Critic, LanguagePolicy, eval_mode
from ift_gridworld.language.probe import check_packed, probe
from ift_gridworld.language.sampling import sample
from ift_gridworld.language.source import TextSource
from ift_gridworld.log_probs import action_log_probs
from ift_gridworld.methods.options import IFTOptions

COMMON = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
LLAMA = {
    "vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "head_dim": 8, "intermediate_size": 24, "max_position_embeddings": 64, **COMMON,
}  # fmt: skip


def built(name, **settings):
    """A tiny model of a class, all of whose weights do something: at first many are 0 or 1."""
    kind = getattr(transformers, name)
    torch.manual_seed(0)
    model = kind(kind.config_class(**settings)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    return model


MODELS = {
    "gemma3n": lambda: built(
        "Gemma3nForCausalLM",
        **LLAMA | {"intermediate_size": [24] * 2},
        activation_sparsity_pattern=[0.0] * 2,
        layer_types=["sliding_attention", "full_attention"],
        vocab_size_per_layer_input=40,
        hidden_size_per_layer_input=4,
        num_kv_shared_layers=0,
        laurel_rank=4,
    ),
    "gemma2": lambda: built("Gemma2ForCausalLM", **LLAMA),
    "xglm": lambda: built(
        "XGLMForCausalLM",
        vocab_size=40,
        d_model=16,
        num_layers=2,
        attention_heads=2,
        ffn_dim=24,
        scale_embedding=True,
        **COMMON,
    ).float(),
    "ctrl": lambda: built("CTRLLMHeadModel", vocab_size=40, n_embd=16, n_layer=2, n_head=2, dff=24, n_positions=64, **COMMON),
    "mamba": lambda: built("MambaForCausalLM", vocab_size=40, hidden_size=16, num_hidden_layers=2, state_size=4, **COMMON),
    "rwkv": lambda: built("RwkvForCausalLM", vocab_size=40, hidden_size=16, num_hidden_layers=2, context_length=64, **COMMON),
    "openai-gpt": lambda: built("OpenAIGPTLMHeadModel", vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_positions=64),
    "opt": lambda: built(
        "OPTForCausalLM",
        vocab_size=40,
        hidden_size=16,
        word_embed_proj_dim=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        ffn_dim=24,
        max_position_embeddings=64,
        **COMMON,
    ),
}


def close(one, two):
    """To float32, in which some classes take norms whatever their weights."""
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5, check_dtype=False)


@pytest.fixture(scope="module", params=MODELS)
def policy(request):
    return LanguagePolicy(MODELS[request.param]())


def tokens(rows=3, length=9):
    return torch.randint(2, 40, (rows, length), generator=torch.Generator().manual_seed(3))


def own_logits(model, ids):
    """What the class itself says, read anew from the start."""
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


# ---- every path ----


def test_log_probs_are_the_classes_own(policy):
    ids = tokens()
    expected = torch.log_softmax(own_logits(policy.model, ids), -1)[:, :-1].gather(-1, ids[:, 1:, None])[None, ..., 0]
    mask = (torch.arange(8) >= 2).expand(1, 3, 8)
    states, actions = ids[None, :, :-1], ids[None, :, 1:]
    close(policy.log_probs(states, actions), expected)
    close(policy.log_probs(states, actions, mask), torch.where(mask, expected, 0.0))
    for prediction in ("greedy", "expected"):
        successor = TextSource().successor(policy, IFTOptions(prediction=prediction))
        for share in (True, False):
            found = policy.residual_log_probs(states, actions, mask, successor, mixing=0.0, share=share)
            close(found, torch.where(mask, expected, 0.0))


def test_sampling_asks_the_classes_own_next_token(policy):
    """The likeliest token after every prefix, which the class reads from its start each time."""
    prompts = tokens(4, 3)
    with eval_mode(policy):
        found = sample(policy, prompts, end=39, limit=6)
    for step in range(found.shape[1]):
        prefix = torch.cat([prompts, found[:, :step]], 1)
        alive = ~(found[:, :step] == 39).any(1)
        assert torch.equal(found[alive, step], own_logits(policy.model, prefix)[alive, -1].argmax(-1))


def test_the_expected_embedding_is_the_mean_of_what_the_model_embeds(policy):
    """Of all weight on one token, that token's embedding, scaled and adapted as the class does it."""
    ids = tokens(1, 5)[None]
    certain = torch.full((1, 1, 5, 40), -1e4, dtype=torch.double).scatter(-1, ids[..., None], 1e4)
    close(policy.expected_embedding(certain), policy.embed(ids))
    halves = torch.full((1, 1, 1, 40), -1e4, dtype=torch.double)
    halves[..., 3] = halves[..., 7] = 0.0
    close(policy.expected_embedding(halves)[0, 0, 0], policy.embed(torch.tensor([[[3, 7]]]))[0, 0].mean(0))


def test_mixing_reads_the_predicted_tokens_embedding(policy):
    """By hand, at the class's own embedding module: its output is replaced by the mixture while it reads the true tokens."""
    ids, mask = tokens(), torch.ones(1, 3, 8, dtype=torch.bool)
    states, actions = ids[None, :, :-1], ids[None, :, 1:]
    table = policy.model.get_input_embeddings()
    with torch.no_grad():
        true = table(states[0])
        predicted = table(own_logits(policy.model, states[0]).argmax(-1))
        mixed = torch.cat([true[:, :1], 0.7 * true[:, 1:] + 0.3 * predicted[:, :-1]], 1)
        handle = table.register_forward_hook(lambda *_: mixed.clone())
        logits = own_logits(policy.model, states[0])
        handle.remove()
    successor = TextSource().successor(policy, IFTOptions())
    close(policy.residual_log_probs(states, actions, mask, successor, mixing=0.3), action_log_probs(logits[None], actions))


def test_what_each_class_lacks_is_known():
    calls = {name: probe(MODELS[name]()) for name in ("gemma3n", "ctrl", "mamba", "openai-gpt", "rwkv", "gemma2")}
    assert [name for name, each in calls.items() if each.beside] == ["gemma3n"]
    assert [name for name, each in calls.items() if each.writes] == ["ctrl"]
    assert [name for name, each in calls.items() if each.cache is None] == ["openai-gpt", "rwkv"]
    assert calls["gemma2"].keeps


def test_a_critic_is_as_wide_as_what_the_model_returns(policy):
    """Not as its configuration says: OPT projects what it returns, and other classes keep their widths in a part of it."""
    value = Critic(policy)(tokens()[None])
    assert value.shape == (1, 3, 9, 1) and not value.any()


def test_widths_are_those_of_the_text_decoder():
    text = LLAMA | {"max_position_embeddings": 48, "layer_types": ["full_attention"] * 2}
    vision = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8, "image_size": 8,
              "patch_size": 4}  # fmt: skip
    config = transformers.Gemma3Config(text_config=text, vision_config=vision, mm_tokens_per_image=1, image_token_index=39)
    policy = LanguagePolicy(transformers.Gemma3ForConditionalGeneration(config))
    assert policy.context == 48 and Critic(policy).head.in_features == 16


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_that_takes_packed_rows_reads_each_sequence_as_if_it_were_alone(kind):
    """Compared with three sequences of other lengths than the probe's; where they differ, packing is refused."""
    model = MODELS[kind]().eval()
    parts = [torch.tensor([[5, 6, 7, 8]]), torch.tensor([[9]]), torch.tensor([[4, 9, 5, 6, 7, 11]])]
    position = torch.cat([torch.arange(part.shape[1]) for part in parts])[None]
    with torch.no_grad():
        apart = torch.cat([model(input_ids=part).logits for part in parts], 1)
        try:
            together = model(input_ids=torch.cat(parts, 1), position_ids=position, use_cache=False).logits
        except Exception:  # not all classes take positions
            together = apart + 1
    calls = probe(model)
    if (together - apart).abs().max() < 1e-3 * apart.std():
        check_packed(model, calls)
    else:
        with pytest.raises(ValueError, match="does not tell sequences in one row apart") as error:
            check_packed(model, calls)
        assert "\n" not in str(error.value)


# ---- the probe leaves no trace ----


def test_the_model_is_left_as_it_was():
    model = build_model("tiny")
    model.train()
    model.model.layers[1].eval()  # a mode of its own
    with torch.no_grad():
        model.lm_head.weight.zero_()  # the probe puts noise there for the time being
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    policy = LanguagePolicy(model)
    with eval_mode(policy):
        assert not model.training
    assert [m.training for m in model.modules()] == modes and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# ---- what is refused ----


class Own(nn.Module):
    """A causal model of one's own without `use_cache`, `logits_to_keep` and a configuration: a running mean of embeddings."""

    def __init__(self, wrong=""):
        super().__init__()
        torch.manual_seed(0)
        self.wrong, self.table, self.head = wrong, nn.Embedding(20, 8), nn.Linear(8, 20)

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids=None, inputs_embeds=None):
        x = self.table(input_ids) if inputs_embeds is None or self.wrong == "ids" else inputs_embeds
        if self.wrong == "embeddings" and inputs_embeds is not None:
            x = x * 1.001
        x = x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        if self.wrong == "future":
            x = x + x.flip(1)
        if self.wrong == "rows":
            x = x + x.mean(0)
        logits = self.head(x)
        return (
            logits if self.wrong == "tensor" else SimpleNamespace(logits=logits * torch.nan if self.wrong == "nan" else logits)
        )


def test_a_module_of_ones_own_is_trained():
    policy = LanguagePolicy(Own())
    assert policy.calls == ModelCalls(keeps=False, cache=None, shares=False, options=frozenset())
    ids = torch.randint(2, 20, (2, 6), generator=torch.Generator().manual_seed(0))
    assert sample(policy, ids, end=1, limit=3).shape[0] == 2 and policy.context == 1024


def test_a_model_reads_ids_beside_embeddings_where_it_scales_them():
    """Its embedding module's output takes the mixture, so that what the class does to it is done to the mixture."""
    assert LanguagePolicy(Own("embeddings")).calls.beside


BERT = {name: size for name, size in LLAMA.items() if name not in ("head_dim", "num_key_value_heads")}


class Prompted(Own):
    """The same with three virtual tokens before every row, as prompt tuning puts them."""

    def __init__(self):
        super().__init__()
        self.prompt = nn.Parameter(torch.zeros(3, 8))  # adapters begin with zeros

    def forward(self, input_ids=None, inputs_embeds=None, logits_to_keep=0):
        x = self.table(input_ids) if inputs_embeds is None else inputs_embeds
        logits = super().forward(inputs_embeds=torch.cat([self.prompt.expand(len(x), -1, -1), x], 1)).logits
        return SimpleNamespace(logits=logits if isinstance(logits_to_keep, int) else logits[:, logits_to_keep])


def test_virtual_tokens_shift_no_position():
    """Also where the prompt is all 0 while the model is probed, and is trained afterwards."""
    policy = LanguagePolicy(Prompted())
    assert policy.calls.offset == 3 and policy.calls.keeps and policy.context == 1024 - 3
    with torch.no_grad():
        policy.model.prompt.add_(torch.randn(3, 8, generator=torch.Generator().manual_seed(1)))
    ids = tokens(2, 8) % 20
    states, actions = ids[None, :, :-1], ids[None, :, 1:]
    own = torch.log_softmax(policy.model(input_ids=ids[:, :-1]).logits[:, 3:], -1).gather(-1, actions[0, ..., None])[..., 0]
    mask = (torch.arange(7) >= 2).expand(1, 2, 7)
    close(policy.log_probs(states, actions, mask), torch.where(mask, own, 0.0))
    successor = TextSource().successor(policy, IFTOptions())
    close(policy.residual_log_probs(states, actions, mask, successor, mixing=0.0), torch.where(mask, own, 0.0))
    greedy = policy.model(input_ids=ids).logits[:, -1].argmax(-1)
    assert torch.equal(sample(policy, ids, end=-1, limit=1)[:, 0], greedy)


T5 = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
BART = {"vocab_size": 40, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24, "max_position_embeddings": 64}  # fmt: skip


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: Own("future"), "Own says something else of a token when other tokens or rows follow it"),
        (lambda: Own("rows"), "Own says something else of a token when other tokens or rows follow it"),
        (lambda: Own("tensor"), r"Own cannot be called with token ids alone \('Tensor' object has no attribute 'logits'\)"),
        (lambda: Own("nan"), "Own returns NaN for random tokens"),
        (lambda: nn.Linear(2, 2), "Linear has no table of token embeddings"),
        (lambda: built("T5ForConditionalGeneration", **T5), "T5ForConditionalGeneration is an encoder with a decoder"),
        (lambda: built("BartForConditionalGeneration", **BART), "BartForConditionalGeneration is an encoder with a decoder"),
        (
            lambda: built(
                "BertLMHeadModel", **{k: v for k, v in LLAMA.items() if k not in ("head_dim", "num_key_value_heads")}
            ),
            "BertLMHeadModel says something else of a token when other tokens or rows follow it",
        ),
    ],
)
def test_a_model_that_cannot_be_trained_is_refused_in_one_line(model, words):
    with pytest.raises(ValueError, match=f"^{words}.*; allowed: ") as error:
        LanguagePolicy(model())
    assert "\n" not in str(error.value)


# ---- a mixture of experts ----


def test_the_routers_auxiliary_loss_is_trained_on():
    """Where the configuration has it in the class's own loss: of the very tokens that are read, padding left out."""
    experts = {"num_local_experts": 3, "num_experts_per_tok": 1, "output_router_logits": True, "router_aux_loss_coef": 0.5}
    model = built("MixtralForCausalLM", **LLAMA, **experts).float()
    policy, ids = LanguagePolicy(model), tokens()
    mask = torch.ones(1, 3, 8, dtype=torch.bool)
    mask[0, 1, 5:] = False  # padding
    policy.log_probs(ids[None, :, :-1], ids[None, :, 1:], mask)
    own = model(input_ids=ids[:, :-1], attention_mask=mask[0].long(), use_cache=False).aux_loss
    close(policy.auxiliary_loss(), 0.5 * own)
    assert policy.auxiliary_loss() == 0.0, "each pass counts once"
    with torch.no_grad():
        policy.log_probs(ids[None, :, :-1], ids[None, :, 1:], mask)
    assert policy.auxiliary_loss() == 0.0, "a first pass trains nothing"


def test_without_it_nothing_is_added():
    policy = LanguagePolicy(build_model("tiny"))
    policy.log_probs(tokens()[None, :, :-1] % 12, tokens()[None, :, 1:] % 12)
    assert policy.calls.balances == 0 and policy.auxiliary_loss() == 0.0


# ---- live embeddings ----


def test_live_embeddings_train_an_untied_table():
    """The gradient of the mixture reaches the rows of the true tokens, (1 - λ) of it, and of the predicted ones."""
    ids = torch.randint(2, 12, (1, 2, 7), generator=torch.Generator().manual_seed(0))
    states, actions, mask = ids[..., :-1], ids[..., 1:], torch.ones(1, 2, 6, dtype=torch.bool)
    for live in (False, True):
        policy = LanguagePolicy(copy.deepcopy(sharp_model()).double())
        policy.embedding_gradient = live
        successor = TextSource().successor(policy, IFTOptions())
        policy.residual_log_probs(states, actions, mask, successor, mixing=0.3).sum().backward()
        gradient = policy.model.get_input_embeddings().weight.grad
        assert (gradient is None) != live
    read = set(states.flatten().tolist()) | set(policy(states).argmax(-1)[..., :-1].flatten().tolist())
    assert set(gradient.any(-1).nonzero().flatten().tolist()) == read
