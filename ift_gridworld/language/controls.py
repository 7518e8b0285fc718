"""Controls for IFT: each takes one of its parts away, or puts chance in its place.

They are methods like any other (`methods.Method`), but only for language. Beside them stands PPO with a learned reward, which
is RLHF where the true reward is not known.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.checks import check_choice
from ift_gridworld.data import Batch
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.sampling import sample_tokens
from ift_gridworld.language.source import TextSource
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.imitation import IFT, SFT
from ift_gridworld.methods.on_policy import PPO
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.policies.residual import Successor

__all__ = ["CONTROLS", "FrozenSFT", "RandomTokens", "SampledTokens", "WrongShift", "find_method"]


class FrozenSFT(SFT):
    """SFT with frozen inputs, as in IFT: no gradient reaches the embedding table through them."""

    title = "SFT, frozen inputs"
    policy: LanguagePolicy

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        embeddings = self.policy.embed(batch.states).detach()
        logp = self.policy.log_probs_of(embeddings, batch.actions, batch.mask, states=batch.states)
        return losses.sft_loss(logp, batch.mask).mean(-1)


class RandomTokens(IFT):
    """IFT that mixes in tokens of other answers of the data instead of the model's prediction."""

    title = "IFT, random tokens"
    source: TextSource
    policy: LanguagePolicy

    @cached_property
    def successor(self) -> Successor:
        data = self.source.demonstrations
        assert data is not None
        words = torch.as_tensor(data.answers(self.source.end)).flatten()
        words = words[words != self.source.end]

        def successor(states: Tensor, logits: Tensor) -> Tensor:
            index = torch.randint(len(words), states.shape, generator=self.source.random())
            return self.policy.embed(words[index].to(states.device))

        return successor


class SampledTokens(IFT):
    """IFT that mixes in a token sampled from the model's prediction instead of its likeliest."""

    title = "IFT, sampled tokens"
    source: TextSource
    policy: LanguagePolicy

    @cached_property
    def successor(self) -> Successor:
        def successor(states: Tensor, logits: Tensor) -> Tensor:
            return self.policy.embed(sample_tokens(logits, self.source.random()))

        return successor


class WrongShift(IFT):
    """IFT that mixes into a token the prediction made on it, which is of the next one: as if the shift had been forgotten."""

    title = "IFT, wrong shift"

    @cached_property
    def successor(self) -> Successor:
        right = self.source.successor(self.policy, self.options)

        def successor(states: Tensor, logits: Tensor) -> Tensor:
            predicted = right(states, logits)
            return torch.cat([predicted[..., 1:, :], predicted[..., -1:, :]], -2)

        return successor


# name: the method, and options that override its defaults
CONTROLS: dict[str, tuple[type[Method[Any]], dict[str, object]]] = {
    "sft_frozen": (FrozenSFT, {}),
    "ift_residual": (IFT, {"propagation": "none"}),
    "ift_propagation": (IFT, {"mixing": 0.0}),
    "ift_detached": (IFT, {"detach_weights": True}),
    "ift_random": (RandomTokens, {}),
    "ift_sampled": (SampledTokens, {}),
    "ift_shifted": (WrongShift, {}),
    # The propagation is a larger change than whose prediction is mixed in, which only these three compare by itself.
    "ift_residual_random": (RandomTokens, {"propagation": "none"}),
    "ift_residual_sampled": (SampledTokens, {"propagation": "none"}),
    "ift_residual_shifted": (WrongShift, {"propagation": "none"}),
    "ppo_preference": (PPO, {"reward": "preference"}),
}


def find_method(name: str) -> tuple[type[Method[Any]], dict[str, object]]:
    """Return the method or control of a name, and the options that it overrides.

    Raises:
        ValueError: if there is no such method.
    """
    if name in CONTROLS:
        return CONTROLS[name]
    check_choice("method", name, (*METHODS, *CONTROLS))
    return METHODS[name], {}
