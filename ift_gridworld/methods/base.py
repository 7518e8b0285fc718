"""What every method is: the data that it needs, and how a batch of it becomes a loss. Nothing else differs between methods.

A method sees a policy through embed | logits and a `source.DataSource` that hands it data, so that it does not know a lake from
a language. Losses are returned per seed, [N]; their sum is minimised, so that seeds never mix.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.methods.options import MethodOptions, TrainingOptions
from ift_gridworld.methods.source import DataSource
from ift_gridworld.policies.base import Policy

__all__ = ["Method", "Needs"]

BatchT = TypeVar("BatchT")
Needs = Literal["demonstrations", "pairs", "rollouts"]


class Method(Generic[BatchT]):
    """A method in training. A subclass gives `batch` and `loss`, and names its options by a dataclass of its own.

    Args:
        source: data and dynamics.
        policy: trained in place; its copy at this moment is the frozen reference.
        options: an instance of `options_type` (default: all defaults).

    Attributes:
        title: the name in full, after its short form, as in ``"IFT · intuitive fine-tuning"``.
        needs: what it learns from.
        assumed_prior: the row of `estimation.TABLE` that says where it assumes the model to stand.
        draws: whether answers are drawn from the policy as it learns.
        steps: updates, unless the caller asks for another number.
        options_type: dataclass of its options.
        keeps_reference: whether it compares the policy with a frozen copy of the base.
        asks_teacher: whether a teacher labels the policy's own episodes.
        trains_critic: whether it trains a critic, of the policy's own kind, beside the policy.
        max_grad_norm: gradient norm, per seed, above which it is scaled down; None for no bound.
    """

    title: ClassVar[str] = ""
    needs: ClassVar[Needs] = "demonstrations"
    assumed_prior: ClassVar[str] = "sft"
    draws: ClassVar[bool] = False
    steps: ClassVar[int] = 300
    options_type: ClassVar[type[MethodOptions]] = MethodOptions
    keeps_reference: ClassVar[bool] = True
    asks_teacher: ClassVar[bool] = False
    trains_critic: ClassVar[bool] = False
    max_grad_norm: float | None = None

    def __init__(self, source: DataSource[Any], policy: Policy, options: MethodOptions | None = None) -> None:
        self.source, self.policy = source, policy
        self.options: Any = self.own_options(options).resolved()
        self._reference = copy.deepcopy(policy).requires_grad_(False) if self.keeps_reference else None

    @property
    def reference(self) -> Any:
        """The base policy, frozen when the method was made."""
        assert self._reference is not None, f"{type(self).__name__} keeps no reference"
        return self._reference

    @classmethod
    def full_title(cls, name: str = "") -> str:
        """Return the class's own `title`; for a class that gives none, the name given, or the class's."""
        return cls.__dict__.get("title") or name or cls.__name__

    @classmethod
    def own_options(cls, options: MethodOptions | None) -> MethodOptions:
        """Return the options if they are the method's own, its defaults if there are none."""
        if options is None:
            return cls.options_type()
        if type(options) is not cls.options_type:  # nor of a subclass, whose further options would be ignored
            raise ValueError(f"options is a {type(options).__name__}; allowed: {cls.options_type.__name__}")
        return options

    @classmethod
    def resolved(cls, training: TrainingOptions, policy: Policy) -> TrainingOptions:
        """Fill in the method's number of steps and the policy's learning rate where the caller gives none."""
        return replace(
            training, steps=training.steps or cls.steps, learning_rate=training.learning_rate or policy.learning_rate
        )

    @property
    def renewal(self) -> int | None:
        """Number of updates after which all that the method keeps beside its parameters is made anew, so that a run can be
        resumed there; None if it never is."""
        return 1

    def parameters(self) -> Iterable[torch.nn.Parameter]:
        """What the optimiser moves; the first dimension of each is the seed."""
        return self.policy.parameters()

    def batch(self, step: int) -> BatchT:
        """The data of this update."""
        raise NotImplementedError

    def loss(self, batch: BatchT) -> Float[Tensor, " N"]:
        """The loss of each seed."""
        raise NotImplementedError
