"""Intuitive Fine-Tuning in transformers' Trainer: a script for SFT trains by IFT when it names this trainer instead."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import Trainer

from ift_gridworld.language.collated import WHOLE, Collated, WholeRows, WrappedModel, check_whole, has_added_rows, roll_left
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.losses import Norm, Propagation
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.policies.residual import Prediction

__all__ = ["IFTTrainer"]


class IFTTrainer(Trainer):
    """A Trainer whose loss is that of Intuitive Fine-Tuning (arXiv 2405.11870): `methods.IFT`'s on the same rows.

    A first pass over the true tokens, without gradient, predicts every token of an answer. The second reads
    e_i = (1 - λ) E(s*_i) + λ E(s^θ_i) (eq. 17, 37), true and predicted token side by side, and `losses.ift_loss` weighs what
    it says of the true tokens. As in the authors' code no gradient reaches the table of tokens through what is read.

    Batches are those of SFT's collators: `input_ids`, `labels` with -100 where a token does not count, and, if rows are padded
    on the left, `attention_mask`; one sequence a row. A row's loss is a mean over its counted tokens, 0 if there are none, and
    what is minimised is the mean over the rows of all batches that an update accumulates, on all processes: every row weighs
    the same however it comes to be in which batch, and a last, smaller batch needs no care. (Trainer itself averages over
    tokens there, so that long answers weigh more.)

    Under DDP a table that is not tied to the output is without gradient, so that `ddp_find_unused_parameters` is switched on
    where the arguments leave it open. Models whose table lies in pieces on several devices (FSDP, ZeRO-3) are refused, and so
    are models of which `probe.probe` finds that a path gives other numbers than their own forward pass.

    A mixture of experts whose own loss contains the routers' auxiliary loss (`output_router_logits`) is trained on it, too.

    Args:
        model, args, others, named: Trainer's own.
        mixing: λ, the share of the model's own prediction in each state; 0 leaves out the second pass.
        decay: γ of the relation propagation.
        propagation: which published definition; "none" with mixing 0 is SFT, each row a mean of its own.
        norm: how the released definition scales its weights.
        detach_weights: hold the weights constant in the backward pass.
        prediction: mix in the likeliest token, or the average over tokens.
        embedding_gradient: let gradient reach the table of tokens through what the second pass reads. In the authors' code it
            does not: with a table that is not tied to the output, rows of added tokens are then never trained (a warning says
            so where the tokenizer given as `processing_class` has added tokens).

    Raises:
        ValueError: if one of these is not allowed, the model cannot be trained by IFT, or the arguments ask for a loss or
            batches of their own (label smoothing, TRL's `loss_type`, packing and padding-free batches, FSDP, ZeRO-3).
    """

    def __init__(
        self,
        model: Any = None,
        args: Any = None,
        *others: Any,
        mixing: float = IFTOptions.mixing,
        decay: float = IFTOptions.decay,
        propagation: Propagation = IFTOptions.propagation,
        norm: Norm = IFTOptions.norm,
        detach_weights: bool = IFTOptions.detach_weights,
        prediction: Prediction = IFTOptions.prediction,
        embedding_gradient: bool = False,
        **named: Any,
    ) -> None:
        self.options = IFTOptions(
            mixing=mixing, decay=decay, propagation=propagation, norm=norm, detach_weights=detach_weights, prediction=prediction
        )
        if args is not None:
            _check_arguments(args)
            if args.ddp_find_unused_parameters is None and mixing > 0:
                args.ddp_find_unused_parameters = True
        super().__init__(model, args, *others, **named)
        if self.compute_loss_func is not None or self.args.label_smoothing_factor:
            raise ValueError("compute_loss_func or label_smoothing_factor is given; allowed: neither, the loss is IFT's")
        if self.args.n_gpu > 1:
            raise ValueError(f"one process has {self.args.n_gpu} GPUs; allowed: one GPU a process, as torchrun starts them")
        check_whole(self)
        policy = LanguagePolicy(self.accelerator.unwrap_model(self.model))
        self.calls, self.embedding_gradient = policy.calls, embedding_gradient
        if mixing > 0 and not embedding_gradient and has_added_rows(policy.model, self.processing_class):
            warnings.warn(
                "the tokenizer has added tokens, whose rows of an untied embedding table are not trained, as in the authors' "
                "code; embedding_gradient=True trains them",
                stacklevel=2,
            )
        self.model_accepts_loss_kwargs = True  # Trainer then leaves the loss as it is: `compute_loss` counts the rows

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Float[Tensor, ""]]:
        """Return the batches of an update and their number of rows, averaged over processes as DDP averages gradients."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        rows = torch.tensor(float(sum(len(batch["input_ids"]) for batch in batches)), device=device)
        return batches, self.accelerator.reduce(rows, "mean")

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Float[Tensor, ""] | None = None
    ) -> Any:
        """Return the mean loss over the batch's rows; in training their sum, divided by the number of rows of the update.

        Returns:
            The loss; with `return_outputs` also the model's outputs over the true tokens, whose logits are aligned with
            `input_ids` and `labels`.
        """
        collated = Collated.of(inputs)
        policy = LanguagePolicy(WrappedModel(model, self.accelerator.unwrap_model(model)), self.calls)
        policy.embedding_gradient = self.embedding_gradient
        loss = IFT(WholeRows(), policy, self.options).loss(collated.steps)[0] + policy.auxiliary_loss()
        ids = collated.steps.states[0]
        if model.training and num_items_in_batch is not None:
            loss = loss * (len(ids) / num_items_in_batch)
        if not return_outputs:
            return loss
        with torch.no_grad():
            outputs = model(input_ids=ids, use_cache=False)
        outputs.logits = roll_left(outputs.logits, -collated.shift)
        return loss, outputs

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[Any, Any, Any]:
        """Evaluate a batch; where only the loss is asked for, without the further pass that gives logits."""
        if not prediction_loss_only:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        with torch.no_grad(), self.compute_loss_context_manager():
            return self.compute_loss(model, self._prepare_inputs(inputs)).detach(), None, None


def _check_arguments(args: Any) -> None:
    """Raise a ValueError for arguments, TRL's among them, that ask for another loss or for batches that are not read here."""
    if getattr(args, "fsdp", None):
        raise ValueError(f"fsdp is {args.fsdp!r}; {WHOLE}")
    if getattr(args, "loss_type", None) not in (None, "nll"):
        raise ValueError(f"loss_type is {args.loss_type!r}; allowed: nll or none, the loss is IFT's")
    for name in ("packing", "padding_free", "eval_packing"):
        if getattr(args, name, None):
            allowed = "False, one sequence a row; language.trl.IFTSFTTrainer takes it"
            raise ValueError(f"{name} is {getattr(args, name)!r}; allowed: {allowed}")
