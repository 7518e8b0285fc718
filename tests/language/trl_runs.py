"""Models, rows and trainers that the tests of IFT in TRL share; TRL is loaded by whoever asks for a trainer."""

import copy
import sys

import torch
from transformers import LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM

from ift_gridworld.language import LanguagePolicy, TextSource
from ift_gridworld.language.data import Completions
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import IFTOptions

RATE = 0.1  # of plain gradient descent: one update moves a weight by so much times its gradient
TALK = (
    "{% for m in messages %}{{ m.role[0] }}:{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<end>{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)
PLAIN = [{"prompt": "ab" * n, "completion": "cd" * m} for n, m in ((1, 4), (3, 1), (2, 2), (5, 3), (1, 1))]
CHAT = [
    {
        "prompt": [{"role": "user", "content": row["prompt"]}],
        "completion": [{"role": "assistant", "content": row["completion"]}],
    }
    for row in PLAIN
]
MESSAGES = [
    {"messages": one["prompt"] + one["completion"] + two["prompt"] + two["completion"]}
    for one, two in zip(CHAT, CHAT[::-1], strict=True)
]
TEXT = [{"text": row["prompt"] + row["completion"]} for row in PLAIN]
WITHOUT = {"mixing": 0.0, "propagation": "none"}


def llama(seed=0, kind="llama"):
    """A model whose predictions differ from one place to the next."""
    sizes = {"vocab_size": 98, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    sizes |= {"max_position_embeddings": 256, "eos_token_id": 1, "pad_token_id": 0, "tie_word_embeddings": False}
    torch.manual_seed(seed)
    if kind == "mixtral":
        experts = {"num_local_experts": 4, "num_key_value_heads": 2, "output_router_logits": True, "router_aux_loss_coef": 0.5}
        model = MixtralForCausalLM(MixtralConfig(**sizes, **experts))
    else:
        model = LlamaForCausalLM(LlamaConfig(**sizes))
    with torch.no_grad():
        model.lm_head.weight *= 20
        model.model.embed_tokens.weight *= 20
    return model


def trainer(kind, model, path, rows=None, tokenizer=None, *, named=None, **arguments):
    """Gradient descent for one update, unless told otherwise, of a copy of the model; `rows` or one of TRL's data sets."""
    import datasets

    config = "IFTConfig" if kind.__name__ == "IFTSFTTrainer" else "SFTConfig"
    settings = {
        "optim": "sgd", "learning_rate": RATE, "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "max_steps": 1,
        "report_to": [], "use_cpu": True, "bf16": False, "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1,
        "per_device_train_batch_size": 3, "gradient_accumulation_steps": 2,
    }  # fmt: skip
    arguments = getattr(sys.modules[kind.__module__], config)(output_dir=str(path), **settings | arguments)
    rows = datasets.Dataset.from_list(rows) if isinstance(rows, list) else rows
    named = {"train_dataset": rows, "processing_class": tokenizer} | (named or {})
    return kind(copy.deepcopy(model), arguments, **named)


def close(one, two, scale=1.0):
    torch.testing.assert_close(torch.as_tensor(one), torch.as_tensor(two), rtol=2e-5, atol=2e-5 * scale, check_dtype=False)


def weights(learner):
    return {name: p.detach().clone() for name, p in learner.model.named_parameters()}


def counted_rows(learner):
    """(token ids, labels) of the rows that a trainer has prepared."""
    return [(row["input_ids"], row["labels"]) for row in learner.train_dataset]


def batch_of(learner):
    """The prepared rows in one batch."""
    columns = [c for c in ("input_ids", "labels", "seq_lengths") if c in learner.train_dataset.column_names]
    return learner.data_collator([{c: row[c] for c in columns} for row in learner.train_dataset])


def losses_apart(model, rows, options=None):
    """The project's own loss of each row, run by itself, and the number of tokens that it counts; one answer a row."""
    found = []
    for ids, labels in rows:
        prompt = next(i for i, label in enumerate(labels) if label != -100)
        data = Completions.of([ids[:prompt]], [ids[prompt:]])
        loss = IFT(TextSource(), LanguagePolicy(model), options or IFTOptions()).loss(data.batch())[0]
        found.append((loss, len(ids) - prompt))
    return found
