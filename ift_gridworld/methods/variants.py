"""Variants of IFT and DPO that the exact quantities of a lake suggest: proposals of this project, and what is near them.

IFT mixes the tile that the model predicts into the human's, and teaches the human's next action there. To first order in λ
that teaches the predicted tile the action that is right on the true one. It is right on both, or it is not; most of what
sets IFT apart from SFT on a lake follows from which (experiments/README.md counts it). So:

- `AgreeingIFT` mixes in a tile only where the demonstrations themselves show there what they show most often on the true
  one; it needs nothing that IFT does not have.
- `OracleIFT` asks the optimal policy instead (where all is over every action counts as best). No method for people, but it
  says what perfect agreement would be worth.
- `AskingIFT` mixes nothing and has the human label the predicted tile (DAgger, Ross et al. 2011, one step from the human's
  path). What a label that fits would be worth.
- `MixtureIFT` mixes predictions instead of states: π̂ = (1-λ) π(.|s*) + λ π(.|s^θ), which is eq. 18 as it is printed and not
  as a softmax makes it.
- `AverageIFT` weighs a step by the decayed AVERAGE loss of what follows, held constant, so that neither the length of an
  answer nor a step's place in it decides, and nothing is un-learnt (decay 0 is SFT's weighting, as in the released code).
- `ExpectedIFT` mixes in the average over the model's whole prediction instead of its best action's tile.
- `DPOSFT` adds the preferred answer's likelihood to DPO.

`AskingIFT` and `AverageIFT` have a loss of their own; the settings of the propagation, but for Average's decay, do not touch
it. `estimation` knows no gates: it takes those variants that mix states for plain IFT.

Each is a subclass of `methods.Method`: `train(AgreeingIFT, mdp, policy)`. Those that compare tiles with one another need
policies that embed a tile as its one-hot vector, as all of `policies` do on lakes of up to `ONE_HOT_STATES` tiles.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Batch
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import IFTOptions, MethodOptions
from ift_gridworld.methods.preferences import DPO, Scored
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.planning import optimal_policy
from ift_gridworld.policies.lake import ONE_HOT_STATES, LakePolicy
from ift_gridworld.policies.residual import Successor, Windows

__all__ = [
    "DPOSFT",
    "NEEDS_THE_ORACLE",
    "AgreeingIFT",
    "AskingIFT",
    "AverageIFT",
    "ExpectedIFT",
    "MixtureIFT",
    "OracleIFT",
    "best_actions",
    "demonstrated",
]


class _Comparing(IFT):
    """What looks at every tile that may be predicted, not at states mixed of them."""

    source: LakeSource
    policy: LakePolicy

    def __init__(self, source: LakeSource, policy: LakePolicy, options: MethodOptions | None = None) -> None:
        super().__init__(source, policy, options)
        if policy.num_states > ONE_HOT_STATES:
            raise ValueError(
                f"the lake has {policy.num_states} states; variants that compare tiles take {ONE_HOT_STATES} at most"
            )


class AgreeingIFT(_Comparing):
    """IFT that mixes in a tile only where the demonstrations show there what they show on the true one."""

    title = "IFT, agreeing · mixes where the data shows the same action"

    @cached_property
    def successor(self) -> Successor:
        predicted, agrees = super().successor, self._agrees

        def successor(states: Int[Tensor, "N *batch"], logits: Tensor) -> Tensor:
            tiles = predicted(states, logits)  # one-hot embeddings are weights of tiles
            following = torch.cat([states[..., 1:], states[..., -1:]], -1)
            member = torch.arange(len(states), device=states.device).reshape(-1, *[1] * (states.ndim - 1))
            agreeing = tiles * agrees[member % len(agrees), following].to(tiles.dtype)
            return agreeing + (1 - agreeing.sum(-1, keepdim=True)) * self.policy.embed(following)

        return successor

    @cached_property
    def _agrees(self) -> Bool[Tensor, "N S S"]:
        """[n, s, s']: whether what is shown most often on s is right on s', as far as is known."""
        counts = demonstrated(self.source, self.policy.num_states, self.policy.num_actions)
        taught = torch.nn.functional.one_hot(counts.argmax(-1), self.policy.num_actions).to(counts.dtype)
        return torch.einsum("nsa,nta->nst", taught, self._right(counts)) > 0

    def _right(self, counts: Float[Tensor, "N S A"]) -> Float[Tensor, "N S A"]:
        """1 for each action that is right on a tile: here, those that are shown there most often."""
        return ((counts == counts.amax(-1, keepdim=True)) & (counts > 0)).to(counts.dtype)


class OracleIFT(AgreeingIFT):
    """The same, with the optimal policy telling what is right where: an upper bound, not a method."""

    title = "IFT, oracle · mixes where the optimal policy takes the same action"

    def _right(self, counts: Float[Tensor, "N S A"]) -> Float[Tensor, "N S A"]:
        return (best_actions(self.source, len(counts)) > 0).to(counts)


class MixtureIFT(_Comparing):
    """IFT on mixed predictions, eq. 18 as printed: log [(1-λ) π(a*|s*) + λ Σ_s' q(s') π(a*|s')], q the predicted tiles."""

    title = "IFT, mixture · mixes predictions, not states"

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        policy, windows = self.policy, self._windows
        s: IFTOptions = self.options
        policies = torch.softmax(policy(torch.arange(policy.num_states, device=batch.states.device)[None]), -1)
        predicted, arrives = self._predicted(policies), windows.arrives[..., None]
        own = predicted @ policies
        true = policies.gather(1, windows.states[..., 1, None].expand(*own.shape))
        mixed = torch.where(arrives, torch.lerp(true, own, s.mixing), true)
        index = (windows.index * policy.num_actions + batch.actions).flatten(1)
        chance = mixed.flatten(1).gather(1, index.expand(len(mixed), -1)).reshape(-1, *batch.actions.shape[1:])
        logp = chance.clamp(min=torch.finfo(chance.dtype).tiny).log()
        return losses.ift_loss(
            logp, batch.mask, decay=s.decay, propagation=s.propagation, norm=s.norm, detach_weights=s.detach_weights
        ).mean(-1)

    @cached_property
    def _windows(self) -> Windows:
        shown, members = self.source.demonstrations, self.policy.population
        states, mask = (x.expand(members, *x.shape[1:]) for x in (shown.states, shown.mask))
        return Windows.of(states, mask)

    def _predicted(self, policies: Float[Tensor, "N S A"]) -> Float[Tensor, "N U S"]:
        """Where the prediction made one step earlier leads, as weights of tiles."""
        before = self._windows.states[..., :1]
        with torch.no_grad():
            logits = policies.log().gather(1, before.expand(-1, -1, policies.shape[-1]))
            return self.successor(before, logits[:, :, None])[..., 0, :]


class AskingIFT(MixtureIFT):
    """SFT, and λ times the same on the predicted tile, where the human is asked for his own choice there."""

    title = "IFT, asking · the human labels the predicted tile"
    assumed_prior = "sft"

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        policy, windows = self.policy, self._windows
        logp = torch.log_softmax(policy(torch.arange(policy.num_states, device=batch.states.device)[None]), -1)
        predicted = torch.where(windows.arrives[..., None], self._predicted(logp.exp()), 0.0)
        expert_cost = predicted @ -(self._human * logp).sum(-1)[..., None]
        price = expert_cost[..., 0].gather(1, windows.index.flatten(1)).reshape(-1, *batch.mask.shape[1:])
        imitation = losses.sft_loss(policy.log_probs(batch.states, batch.actions), batch.mask)
        return (imitation + self.options.mixing * losses.sft_loss(-price, batch.mask)).mean(-1)

    @cached_property
    def _human(self) -> Float[Tensor, "N S A"]:
        """What the human would do on each tile; nothing on tiles where all is over."""
        alive = torch.stack([torch.as_tensor(~lake.terminal) for lake in self.source.environments]).to(self.source.device)
        expert = best_actions(self.source, self.policy.population).float()
        return expert * alive.repeat_interleave(len(expert) // len(alive), 0)[..., None]


class AverageIFT(IFT):
    """IFT whose weights are the decayed average of the losses that follow, constant: neither length nor place decides."""

    title = "IFT, average · weights do not depend on length"

    def loss(self, batch: Batch) -> Float[Tensor, " N"]:
        logp = self.second_pass(batch)
        with torch.no_grad():
            mask, decay = batch.mask, self.options.decay
            evenly = losses.relation_weights(torch.full_like(logp, -1.0), mask, decay)
            weights = losses.relation_weights(logp, mask, decay) / torch.where(mask, evenly, 1.0)
            total = (weights * mask).sum(-1, keepdim=True)
            weights = weights * mask.sum(-1, keepdim=True) / total.clamp(min=torch.finfo(total.dtype).tiny)
        return losses.sft_loss(weights * logp, mask).mean(-1)


class ExpectedIFT(IFT):
    """IFT on the average over the model's whole prediction."""

    title = "IFT, expected · mixes in the average over all predictions"

    @cached_property
    def successor(self) -> Successor:
        return self.source.successor(self.policy, replace(self.options, prediction="expected"))


class DPOSFT(DPO):
    """DPO and the mean negative log-likelihood of the preferred answer, as in iterative RPO (Pang et al. 2024, α = 1)."""

    title = "DPO + SFT · a likelihood term holds the preferred answer"

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Float[Tensor, "N B"]:
        return super().pair_loss(chosen, rejected) - chosen.mean


VARIANTS: dict[str, type[Method[Any]]] = {
    "ift_agreeing": AgreeingIFT,
    "ift_mixture": MixtureIFT,
    "ift_average": AverageIFT,
    "ift_expected": ExpectedIFT,
    "ift_oracle": OracleIFT,
    "ift_asking": AskingIFT,
    "dpo_sft": DPOSFT,
}
NEEDS_THE_ORACLE = ("ift_oracle", "ift_asking")


def demonstrated(source: LakeSource, num_states: int, num_actions: int) -> Float[Tensor, "N S A"]:
    """How often each action is shown on each tile."""
    shown = source.demonstrations
    index = (shown.states * num_actions + shown.actions).flatten(1)
    counts = torch.zeros(len(index), num_states * num_actions, device=index.device)
    return counts.scatter_add_(1, index, shown.mask.flatten(1).float()).reshape(-1, num_states, num_actions)


def best_actions(source: LakeSource, members: int) -> Float[Tensor, "N S A"]:
    """The optimal policy of each member's lake."""
    table = torch.stack([torch.as_tensor(optimal_policy(lake)) for lake in source.environments])
    return table.repeat_interleave(members // len(table), 0).to(source.device)
