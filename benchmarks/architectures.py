"""The table of architectures: which of transformers' causal classes are trained, and why others are refused.

Each class is built from a tiny random configuration and given to `LanguagePolicy`, whose probe compares every path with the
model's own forward pass. For those that pass, IFT's loss is compared once more, from outside, with transformers' own loss.

    python -m benchmarks.architectures            # runs/architectures/architectures.json and .md, half a minute
    python -m benchmarks.architectures --publish  # figures/language
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ift_gridworld.cli.folders import GALLERY, output_folder
from ift_gridworld.cli.parser import fail, launch
from ift_gridworld.escape import one_line, printable
from ift_gridworld.runtime import loading
from ift_gridworld.storage import make_folder, versions, write_atomically

if TYPE_CHECKING:
    from ift_gridworld.language.policy import LanguagePolicy

# Sizes by the names that configurations have for them, the smallest at which classes still do all that they do.
SIZES: dict[str, Any] = {
    **dict.fromkeys(("vocab_size", "vocab_size_per_layer_input"), 96),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embedding_size", "emb_dim", "dim", "lru_width", "query_dim"), 32),
    **dict.fromkeys(("word_embed_proj_dim", "attention_hidden_size"), 32),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 4),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "attention_heads", "linear_num_value_heads", "laurel_rank"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_global_key_value_heads", "linear_num_key_heads", "n_groups"), 2),
    **dict.fromkeys(("head_dim", "global_head_dim", "v_head_dim", "qk_nope_head_dim", "kv_channels"), 8),
    **dict.fromkeys(("qk_rope_head_dim", "linear_key_head_dim", "linear_value_head_dim", "mamba_head_dim"), 8),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "n_inner", "decoder_ffn_dim", "encoder_ffn_dim", "ffn_hidden_size"), 48),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 16),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_topk", "moe_k", "num_selected_experts"), 2),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "mamba_d_state", "state_size", "ssm_state_size"), 8),
    **dict.fromkeys(("n_ctx", "n_positions", "max_position_embeddings", "max_seq_len"), 64),
    **dict.fromkeys(("n_group", "topk_group", "num_expert_group"), 1),
    **dict.fromkeys(("chunk_size", "mamba_chunk_size"), 16),
    "linear_head_dim": 8, "linear_num_heads": 4, "num_experts_per_token": 2, "hidden_size_per_layer_input": 8,
    "mamba_n_heads": 8, "mamba_num_heads": 8, "rotary_dim": 4, "num_kv_shared_layers": 0,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1,
}  # fmt: skip
# Sizes of classes that hold some of them to each other.
OWN_SIZES: dict[str, dict[str, Any]] = {
    **{name: {"num_key_value_heads": 4} for name in ("deepseek_v3", "deepseek_v32", "glm_moe_dsa", "axk1", "axk2", "youtu")},
    **{name: {"num_key_value_heads": 4} for name in ("glm4_moe_lite", "longcat_flash", "minicpm3", "sarvam_mla")},
    **{name: {"head_dim": 8} for name in ("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral")},
    **{name: {"n_group": 1, "num_experts": 8, "n_routed_experts": 8} for name in ("bailing_hybrid", "kimi_linear")},
    "gemma3n_text": {"num_hidden_layers": 4, "intermediate_size": [48] * 4, "activation_sparsity_pattern": [0.0] * 4},
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]]},
    "deepseek_v2": {"num_key_value_heads": 4, "topk_group": 1, "num_experts_per_tok": 2, "n_group": 1},
    "mamba2": {"hidden_size": 32, "num_heads": 8, "head_dim": 8, "expand": 2},
    "nemotron": {"head_dim": 8, "num_key_value_heads": 2},
    "reformer": {"is_decoder": True, "axial_pos_embds": False, "attn_layers": ["local", "local"]},
    "zaya": {"num_experts_per_tok": 1},
}
LARGEST = 10_000_000  # weights of a model that counts as tiny
NOISE = 0.05  # added to all weights: at first many are 0 or 1 and hide what they multiply


@dataclass(frozen=True)
class Args:
    """The command line."""

    only: str = ""
    """Probe only architectures whose name contains this."""
    out: Path | None = None
    """Folder that the table is written to (default: runs/architectures)."""
    publish: bool = False
    """Write to figures/language instead, the published gallery."""


@dataclass(frozen=True)
class Row:
    """One architecture.

    Attributes:
        name: transformers' model type.
        model: name of the class.
        verdict: yes, refused, or not built.
        detail: what is done in place of what the class lacks; why it is refused or could not be built.
    """

    name: str
    model: str
    verdict: str
    detail: str


def main(args: Args) -> int:
    """Probe all architectures and write the table; return the exit status."""
    with loading():
        import transformers  # noqa: F401
    try:
        folder = output_folder("architectures", args.out, args.publish, published=GALLERY / "language")
        rows = table(args.only)
        if not rows:
            raise ValueError(f"--only is {args.only!r}; allowed: a part of a model type in transformers, such as llama")
        make_folder(folder)
    except ValueError as error:
        fail(error)
    more = metadata.version("transformers")
    content = {"versions": versions() | {"transformers": more}, "rows": [asdict(row) for row in rows]}
    for name, text in (("architectures.json", json.dumps(content, indent=1)), ("architectures.md", markdown(rows, more))):
        write_atomically(folder / name, f"{text}\n".encode())
        print(f"wrote {printable(folder / name)}")
    return 0


def table(only: str = "") -> list[Row]:
    """Return a row for each architecture whose name contains a text."""
    import torch
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMES

    from ift_gridworld.language.models import quiet_transformers
    from ift_gridworld.runtime import standard_settings

    with standard_settings(), quiet_transformers(), torch.random.fork_rng(devices=[]):
        return [row_of(name, str(NAMES[name])) for name in sorted(NAMES) if only in name]


def row_of(name: str, kind: str) -> Row:
    """Build one architecture and probe it."""
    from ift_gridworld.language.policy import LanguagePolicy

    try:
        model = build(name, kind)
    except Exception as error:  # configurations and classes refuse sizes in words of their own
        return Row(name, kind, "not built", one_line(str(error) or type(error).__name__, 160))
    try:
        policy = LanguagePolicy(model)
        check_from_outside(policy)
    except ValueError as error:
        return Row(name, kind, "refused", str(error).removeprefix(f"{type(model).__name__} "))
    return Row(name, kind, "yes", replacements(policy))


def build(name: str, kind: str) -> Any:
    """Return a tiny model with random weights.

    Raises:
        ValueError: if it is large at these sizes; and whatever a class or its configuration raises.
    """
    import torch
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    model_class = getattr(transformers, kind)
    config_class = model_class.config_class or CONFIG_MAPPING[name]
    own = OWN_SIZES.get(name, {})
    config = config_class(**{**sizes_of(config_class(**own), own), **own})
    with torch.device("meta"):
        weights = sum(p.numel() for p in model_class(config).parameters())
    if weights > LARGEST:
        raise ValueError(f"the smallest configuration tried has {weights} weights; allowed: {LARGEST}")
    torch.random.default_generator.manual_seed(0)
    model = model_class(config).float()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * NOISE)
    return model


def sizes_of(config: Any, own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sizes of `SIZES` that a configuration has, those of its parts included."""
    found: dict[str, Any] = {
        name: SIZES[name]
        for name, value in vars(config).items()
        if name in SIZES and name not in own and isinstance(value, int | float)
    }
    for part in getattr(type(config), "sub_configs", {}):
        if getattr(config, part, None) is not None:
            found[part] = sizes_of(getattr(config, part), own)
    return found


def check_from_outside(policy: LanguagePolicy) -> None:
    """Raise a ValueError if IFT's two passes, mixing nothing in, do not give the model's own cross entropy."""
    import torch

    from ift_gridworld.language.source import TextSource
    from ift_gridworld.methods.options import IFTOptions

    ids = torch.randint(2, 90, (2, 9), generator=torch.Generator().manual_seed(5))
    policy.eval()
    options = {"use_cache": False} if "use_cache" in policy.calls.options else {}
    states, actions = ids[None, :, :-1], ids[None, :, 1:]
    mask = (torch.arange(8) >= 3).expand(1, 2, 8)  # prompts of one length, which the two passes share where they can
    with torch.no_grad():
        own_logits = policy.model(input_ids=ids, **options).logits[:, -9:]
        own = float(torch.nn.functional.cross_entropy(own_logits[:, 3:-1].flatten(0, 1), ids[:, 4:].flatten()))
        for prediction in ("greedy", "expected"):
            successor = TextSource().successor(policy, IFTOptions(prediction=prediction))
            logp = policy.residual_log_probs(states, actions, mask, successor, mixing=0.0)
            if not abs(float(-logp[mask].mean()) - own) <= 1e-4 * own:
                raise ValueError(f"has a loss of its own of {own:.5f}, and here {float(-logp[mask].mean()):.5f}")


def replacements(policy: LanguagePolicy) -> str:
    """Say what is done in place of what the class lacks."""
    calls, notes = policy.calls, []
    if calls.beside:
        notes.append("token ids are read beside embeddings")
    if calls.writes:
        notes.append("embeddings are copied, since the model writes to them")
    if not calls.keeps:
        notes.append("all logits are computed")
    if calls.cache is None:
        notes.append("sampled without a cache")
    return "; ".join(notes)


def markdown(rows: list[Row], version: str) -> str:
    """Return the table as a page."""
    count = {verdict: sum(row.verdict == verdict for row in rows) for verdict in ("yes", "refused", "not built")}
    lines = [
        f"# Architectures\n\nCausal classes of transformers {version}, each from a tiny random configuration: "
        f"{count['yes']} are trained, {count['refused']} are refused with the reason, {count['not built']} could not be built "
        "at these sizes and are probed when a model is loaded. Written by `python -m benchmarks.architectures --publish`.\n",
        "| architecture | class | trained | |",
        "| --- | --- | --- | --- |",
    ]
    lines += [f"| {row.name} | {row.model} | {row.verdict} | {row.detail.replace('|', '/')} |" for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    launch(main, Args, __doc__)
