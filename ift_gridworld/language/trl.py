"""Intuitive Fine-Tuning in TRL's SFTTrainer: its data sets, its packing, its adapters and its metrics, with IFT's loss.

Needs the extra ``trl``: ``pip install ift-gridworld[trl]``.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from trl import SFTConfig, SFTTrainer

from ift_gridworld.checks import check_choice, check_interval
from ift_gridworld.choices import Norm, Prediction, Propagation
from ift_gridworld.language.calls import ModelCalls
from ift_gridworld.language.collated import (
    WHOLE,
    Collated,
    WholeRows,
    WrappedModel,
    check_whole,
    has_added_rows,
    roll_left,
)
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.probe import check_packed
from ift_gridworld.log_probs import action_log_probs, entropy
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.storage import write_atomically

__all__ = ["IFTConfig", "IFTSFTTrainer"]

Schedule = Literal["constant", "linear", "cosine"]
Unit = Literal["token", "sequence"]
CHUNK = 1024  # predictions whose entropy is computed at once
NOTHING = (0.0, 0.0, 0.0)  # weight that was read, and the sums of both passes' losses


@dataclass
class IFTConfig(SFTConfig):
    """Arguments of `IFTSFTTrainer`: TRL's `SFTConfig` and the options of IFT, saved with a checkpoint's other arguments.

    Attributes:
        mixing: λ, the share of the model's own prediction in each state; with a schedule, at the last update. 0 leaves out the
            second pass.
        mixing_schedule: how λ changes from the first update to the last: "constant", "linear" or "cosine" (`mixing_at`).
        mixing_start: λ of a schedule's first update (default: 0).
        decay: γ of the relation propagation.
        propagation: which published definition; "none" with mixing 0 is SFT.
        norm: how the released definition scales its weights.
        detach_weights: hold the weights constant in the backward pass.
        prediction: mix in the likeliest token ("greedy"), or the average over tokens ("expected").
        embedding_gradient: let gradient reach the table of tokens through what the second pass reads, which the authors' code
            does not (`IFTTrainer` has the reason).
        average: what weighs the same in an update: each counted token ("token"), as in `SFTTrainer`, or each sequence
            ("sequence"), as in `IFTTrainer` and the authors' code. By token, a sequence weighs as many as it counts.

    Raises:
        ValueError: if one of these is not allowed, or the arguments ask for another loss (`loss_type`,
            `label_smoothing_factor`), for a model in pieces (FSDP), for "wrapped" packing, which does not say where sequences
            begin, or for packed rows in evaluation alone.
    """

    mixing: float = field(
        default=IFTOptions.mixing, metadata={"help": "lambda, the share of the model's own prediction in each state."}
    )
    mixing_schedule: Schedule = field(
        default="constant", metadata={"help": "How lambda changes over training: constant, linear or cosine."}
    )
    mixing_start: float | None = field(default=None, metadata={"help": "lambda of a schedule's first update (0)."})
    decay: float = field(default=IFTOptions.decay, metadata={"help": "gamma of the relation propagation."})
    propagation: Propagation = field(
        default=IFTOptions.propagation, metadata={"help": "Relation propagation: released, algorithm1, equation21, none."}
    )
    norm: Norm = field(default=IFTOptions.norm, metadata={"help": "Scaling of the released weights: L1, L2, softmax, log."})
    detach_weights: bool = field(
        default=IFTOptions.detach_weights, metadata={"help": "Hold the weights constant in the backward pass."}
    )
    prediction: Prediction = field(
        default=IFTOptions.prediction, metadata={"help": "Mix in the likeliest token (greedy), or the average (expected)."}
    )
    embedding_gradient: bool = field(
        default=False, metadata={"help": "Let gradient reach the embedding table through the second pass's input."}
    )
    average: Unit = field(
        default="token", metadata={"help": "What weighs the same in an update: each counted token, or each sequence."}
    )

    def __post_init__(self) -> None:
        options = self.ift_options(self.mixing)
        check_choice("mixing_schedule", self.mixing_schedule, ("constant", "linear", "cosine"))
        check_choice("average", self.average, ("token", "sequence"))
        if self.mixing_start is not None:
            if self.mixing_schedule == "constant":
                raise ValueError(
                    f"mixing_start is {self.mixing_start!r}, with mixing_schedule constant; allowed: linear, cosine"
                )
            self.mixing_start = check_interval("mixing_start", self.mixing_start, 0, 1)
        self.mixing, self.decay = options.mixing, options.decay
        if self.packing and self.packing_strategy == "wrapped":
            raise ValueError(
                "packing_strategy is 'wrapped', which cuts sequences and forgets where they begin; allowed: bfd, bfd_split"
            )
        if self.loss_type not in ("nll", "chunked_nll"):
            raise ValueError(f"loss_type is {self.loss_type!r}; allowed: nll, the loss is IFT's")
        if self.label_smoothing_factor:
            raise ValueError(f"label_smoothing_factor is {self.label_smoothing_factor!r}; allowed: 0, the loss is IFT's")
        if self.eval_packing and not (self.packing or self.padding_free):
            raise ValueError(
                "eval_packing is True without packing, and TRL then runs sequences together; allowed: with packing"
            )
        if self.fsdp:
            raise ValueError(f"fsdp is {self.fsdp!r}; {WHOLE}")
        super().__post_init__()

    @property
    def mixes(self) -> bool:
        """True if λ is above 0 at some update."""
        return self.mixing > 0 or bool(self.mixing_start)

    def ift_options(self, mixing: float) -> IFTOptions:
        """Return the options of `methods.IFT` at one value of λ."""
        return IFTOptions(
            mixing=mixing, decay=self.decay, propagation=self.propagation, norm=self.norm,
            detach_weights=self.detach_weights, prediction=self.prediction,
        )  # fmt: skip

    def mixing_at(self, step: int, steps: int) -> float:
        """Return λ at an update.

        With p = step / (steps - 1), from 0 at the first update to 1 at the last, λ is start + (mixing - start) p ("linear") or
        start + (mixing - start) (1 - cos πp) / 2 ("cosine").

        Args:
            step: number of the update, from 0; after the last update λ stays as it is.
            steps: number of updates.
        """
        start = self.mixing_start or 0.0
        done = min(step / (steps - 1), 1.0) if steps > 1 else 1.0
        if self.mixing_schedule == "linear":
            return start + (self.mixing - start) * done
        if self.mixing_schedule == "cosine":
            return start + (self.mixing - start) * (1 - math.cos(math.pi * done)) / 2
        return self.mixing


class IFTSFTTrainer(SFTTrainer):
    """TRL's SFTTrainer with the loss of Intuitive Fine-Tuning (arXiv 2405.11870): `methods.IFT`'s, as `IFTTrainer` has it.

    Everything around the loss is TRL's: data sets of `prompt` and `completion`, `messages` or text, completion-only and
    assistant-only loss, packing and padding-free batches, peft's adapters, streaming, evaluation and resuming. With mixing 0
    and propagation "none" the loss is SFTTrainer's; with `average="sequence"` it is `IFTTrainer`'s.

    In a packed row each sequence is one row of the loss: no prediction is mixed into, and no weight reaches, another one. A
    model that does not tell sequences in one row apart is refused (`probe.check_packed`), which SFTTrainer would train.

    TRL's metrics are those of the first pass, over true tokens: entropy, mean_token_accuracy, num_tokens. Beside them stand
    `lambda`, `first_pass_loss` and `second_pass_loss` (`loss/train_sft` and `loss/train_further` of the authors' code): nats,
    without weights, averaged over tokens or sequences as the loss is. An evaluation runs these two passes and no other.

    Unlike SFTTrainer, which computes log-probabilities in pieces, each pass holds the logits of all counted tokens.

    Args:
        model, args, others, named: SFTTrainer's own; the arguments are an `IFTConfig`.

    Raises:
        ValueError: if the model cannot be trained by IFT, lies in pieces on several devices (FSDP, ZeRO-3, tensor or context
            parallelism), or does not tell packed sequences apart; if data hold images; or if `args` is of another class.
    """

    _tag_names: ClassVar = ["trl", "sft", "ift"]
    _name = "IFT"
    _paper: ClassVar = {
        "title": "Intuitive Fine-Tuning: Towards Simplifying Alignment into a Single Process",
        "id": "2405.11870",
        "citation": (
            "@inproceedings{hua2025intuitive,\n"
            "  author    = {Hua, Ermo and Qi, Biqing and Zhang, Kaiyan and Tian, Kai and Lv, Xingtai and Ding, Ning and Zhou, "
            "Bowen},\n"
            "  title     = {Intuitive Fine-Tuning: Towards Simplifying Alignment into a Single Process},\n"
            "  booktitle = {Proceedings of the 63rd Annual Meeting of the Association for Computational Linguistics},\n"
            "  pages     = {121--136},\n"
            "  year      = {2025}\n"
            "}"
        ),
    }

    def __init__(self, model: Any, args: IFTConfig | None = None, *others: Any, **named: Any) -> None:
        if args is None:
            args = IFTConfig("ift")
        if not isinstance(args, IFTConfig):
            raise ValueError(
                f"args is a {type(args).__name__}; allowed: an IFTConfig, which has the options of IFT beside SFT's"
            )
        if args.ddp_find_unused_parameters is None and args.mixes:
            args.ddp_find_unused_parameters = True  # a table that is not tied to the output is without gradient
        super().__init__(model, args, *others, **named)
        self._check_support()
        unwrapped = self.accelerator.unwrap_model(self.model)
        self.calls = LanguagePolicy(unwrapped).calls
        if self.padding_free:
            check_packed(unwrapped, self.calls)
        if args.mixes and not args.embedding_gradient and has_added_rows(unwrapped, self.processing_class):
            warnings.warn(
                "the tokenizer has added tokens, whose rows of an untied embedding table are not trained, as in the authors' "
                "code; embedding_gradient=True trains them",
                stacklevel=2,
            )
        self._passes: defaultdict[str, Sequence[float]] = defaultdict(lambda: NOTHING)
        self.model_accepts_loss_kwargs = True  # Trainer then leaves the loss as it is: `compute_loss` counts what it divides by

    def _check_support(self) -> None:
        """Raise a ValueError for what SFTTrainer takes and IFT does not."""
        if self.compute_loss_func is not None:
            raise ValueError("compute_loss_func is given; allowed: none, the loss is IFT's")
        if self._is_vision_dataset:
            raise ValueError("the data hold images; allowed: text")
        check_whole(self)
        parallel = getattr(self.accelerator, "parallelism_config", None)
        for name in ("tp", "cp", "sp"):
            if (size := getattr(parallel, f"{name}_size", 1)) > 1:
                raise ValueError(f"the model is split by {name}_size {size}; {WHOLE}")

    @property
    def mixing(self) -> float:
        """λ of the update under way."""
        return self.args.mixing_at(self.state.global_step, self.state.max_steps)

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Float[Tensor, ""]]:
        """Return the batches of an update and the sum of their weights, averaged over processes as DDP averages gradients."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        weights = [self._weights(Collated.of(batch, packed=True)).sum() for batch in batches]
        total = torch.stack(weights).sum().float() if weights else torch.tensor(0.0)
        return batches, self.accelerator.reduce(total.to(device), "mean")

    def _weights(self, collated: Collated) -> Int[Tensor, " S"]:
        """Return what each sequence weighs: its counted tokens, or 1 if it has any."""
        count = collated.mask[0].sum(-1)
        return count if self.args.average == "token" else count.clamp(max=1)

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Float[Tensor, ""] | None = None
    ) -> Any:
        """Return the mean loss over the batch's tokens or sequences; in training the sum, divided by the update's number.

        Returns:
            The loss; with `return_outputs` also the model's outputs over the true tokens, from a further forward pass.
        """
        collated = Collated.of(inputs, packed=True)
        policy = _ObservedPolicy(WrappedModel(model, self.accelerator.unwrap_model(model)), self.calls, collated)
        policy.embedding_gradient = self.args.embedding_gradient
        if self.calls.balances and "attention_mask" in inputs:  # routers do not balance padding
            policy.further["attention_mask"] = roll_left(inputs["attention_mask"], collated.shift)
        learner = IFT(WholeRows(), policy, self.args.ift_options(self.mixing))
        logp, weights = learner.second_pass(collated.steps), self._weights(collated)
        losses = learner.sequence_losses(collated.per_sequence(logp), collated.mask)[0]
        total, balance, batches = weights.sum(), policy.auxiliary_loss(), 1
        if self.model.training and num_items_in_batch is not None:
            total, batches = num_items_in_batch, self.current_gradient_accumulation_steps
        least = 1 / self.accelerator.num_processes  # of a mean over processes that is not 0
        loss = (losses * weights).sum() / total.clamp(min=least) + balance / batches
        tokens = inputs["attention_mask"].sum() if "attention_mask" in inputs else torch.tensor(inputs["input_ids"].numel())
        self._observe(policy, logp.detach(), weights, tokens, balance)
        if not return_outputs:
            return loss
        with torch.no_grad():
            return loss, model(**{name: value for name, value in inputs.items() if name != "labels"}, use_cache=False)

    def _observe(
        self,
        policy: _ObservedPolicy,
        logp: Float[Tensor, "1 B L"],
        weights: Int[Tensor, " S"],
        tokens: Int[Tensor, ""],
        balance: Tensor | float,
    ) -> None:
        """Keep the metrics of a batch for the next log, of all processes.

        Args:
            policy: what the first pass said.
            logp: what the second pass said.
            weights: of the sequences.
            tokens: number of tokens that were read, padding left out.
            balance: the routers' auxiliary loss, weighted.
        """
        assert policy.logp is not None
        collated = policy.collated
        counted = collated.mask[0].sum(-1)
        share = (weights / counted.clamp(min=1))[:, None]  # of each counted token of a sequence
        first, second = (-(collated.per_sequence(x)[0].float() * share).sum() for x in (policy.logp, logp))
        parts = (counted.sum(), weights.sum(), policy.entropy, policy.correct, first, second, tokens)
        sums = self.accelerator.reduce(torch.stack([x.to(logp.device, torch.float32) for x in parts]), "sum").tolist()
        count, weight, disorder, correct = sums[:4]
        mode = "train" if self.model.training else "eval"
        measured = {
            "entropy": disorder / max(count, 1), "mean_token_accuracy": correct / max(count, 1), "lambda": self.mixing,
        }  # fmt: skip
        self._passes[mode] = [one + two for one, two in zip(self._passes[mode], (weight, *sums[4:6]), strict=True)]
        if isinstance(balance, Tensor):
            measured["aux_loss"] = self.accelerator.reduce(balance.detach() / self.calls.balances, "mean").item()
        for name, value in measured.items():
            self._metrics[mode][name].append(value)
        if mode == "train":
            self._total_train_tokens += int(sums[6])
        self._metrics[mode]["num_tokens"] = [self._total_train_tokens]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log with TRL's metrics also the losses of both passes, over all that was read since the last log."""
        mode, prefix = ("train", "") if self.model.training else ("eval", "eval_")
        weight, first, second = self._passes.pop(mode, NOTHING)
        if weight:
            logs.update({f"{prefix}first_pass_loss": first / weight, f"{prefix}second_pass_loss": second / weight})
        super().log(logs, start_time)

    def create_model_card(self, *arguments: Any, **named: Any) -> None:
        """Write TRL's card of the model, with the paper and the options of IFT."""
        super().create_model_card(*arguments, **named)
        if not self.is_world_process_zero():
            return
        path, args = Path(self.args.output_dir, "README.md"), self.args
        start = "" if args.mixing_schedule == "constant" else f" from {args.mixing_start or 0.0}, {args.mixing_schedule}"
        names = ("decay", "propagation", "norm", "detach_weights", "prediction", "embedding_gradient", "average")
        rows = [("mixing", f"{args.mixing}{start}"), *((name, getattr(args, name)) for name in names)]
        table = "".join(f"| {name} | {value} |\n" for name, value in (("option", "value"), ("---", "---"), *rows))
        card = path.read_text(encoding="utf-8").rstrip()
        write_atomically(path, f"{card}\n\n## Options of IFT\n\n{table}".encode())


class _ObservedPolicy(LanguagePolicy):
    """A policy that remembers what its first pass, over the true tokens, says of them, and gives each pass further arguments.

    Attributes:
        collated: the batch that it is run on.
        further: further arguments of the model's `forward`, the positions of packed rows among them.
        logp: log-probabilities of the true tokens in nats; 0 where a step does not count.
        entropy: sum over counted steps, in nats.
        correct: number of counted steps whose likeliest token is the true one.
    """

    def __init__(self, model: Any, calls: ModelCalls, collated: Collated) -> None:
        super().__init__(model, calls)
        self.collated, self.further = collated, dict(collated.options)
        self.logp: Tensor | None = None

    def logits(
        self,
        embeddings: Float[Tensor, "1 B T D"] | None,
        columns: Int[Tensor, " K"] | None = None,
        *,
        states: Int[Tensor, "1 B T"] | None = None,
        **options: Any,
    ) -> Float[Tensor, "1 B K V"]:
        logits = super().logits(embeddings, columns, states=states, **options | self.further)
        if self.logp is None:
            assert columns is not None, "IFT asks for the counted columns alone"
            self._remember(logits.detach(), columns)
        return logits

    def _remember(self, logits: Float[Tensor, "1 B K V"], columns: Int[Tensor, " K"]) -> None:
        mask, actions = self.collated.steps.mask, self.collated.steps.actions[..., columns]
        logp = logits.new_zeros(actions.shape, dtype=torch.float32)
        self.entropy = logp.new_zeros(())
        self.correct = actions.new_zeros(())
        for index in mask[..., columns].nonzero().split(CHUNK):
            at = index.unbind(-1)
            said, action = logits[at].float(), actions[at]
            logp[at] = action_log_probs(said, action)
            self.entropy += entropy(said).sum()
            self.correct += (said.argmax(-1) == action).sum()
        self.logp = logp.new_zeros(mask.shape).index_copy(-1, columns, logp)
