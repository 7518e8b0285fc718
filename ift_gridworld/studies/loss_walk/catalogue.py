"""The losses of the walk: formula, gradient and a remark, computed by the loss core and in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.studies.loss_walk import closed_forms, core
from ift_gridworld.studies.loss_walk.example import Example

__all__ = ["LOSSES", "Evaluation", "LossEntry", "evaluate"]


@dataclass(frozen=True, eq=False)
class LossEntry:
    """One loss of the walk, computed by the loss core and in closed form.

    Attributes:
        title, formula, gradient, remark: for the reader.
        core: the loss, from the example and the table that it moves.
        closed_form: value and gradient [S, A], from the example.
        moves: what the map shows: the policy's logits, or the reward model's table.
    """

    title: str
    formula: str
    gradient: str
    remark: str
    core: Callable[[Example, Tensor], Tensor]
    closed_form: Callable[[Example], tuple[float, np.ndarray]]
    moves: str = "Θ"


LOSSES: dict[str, LossEntry] = {
    "sft": LossEntry(
        "SFT · supervised fine-tuning",
        "L = -(1/N) Σ_t log π(a*_t|s*_t)",
        "dL/dΘ[s] = n(s)/N (π(.|s) - empirical(.|s))",
        "The shown move of each tile is pushed up, the others down in proportion to their probability. Tiles off the path feel "
        "nothing.",
        core.sft,
        closed_forms.sft,
    ),
    "ift": LossEntry(
        "IFT · released form, gradient through the weights",
        "L = Σ_t u_t l_t / U,  u_t = Σ_{i≥t} γ^{i-t} l_i,  U = Σ u,  l from mixed states (1-λ)s* + λsᶿ",
        "dL/dl_k = (u_k + Σ_{t≤k} γ^{k-t} (l_t - L)) / U, spread over the two mixed tiles as 1-λ and λ",
        "Where the model guesses the next tile wrongly, the guessed tile is taught as well. Late steps that are learnt better "
        "than early ones can be pushed down.",
        core.ift(),
        closed_forms.ift(),
    ),
    "ift_detached": LossEntry(
        "IFT · released form, constant weights",
        "L = Σ_t w_t l_t / N,  w = N u / U held constant",
        "dL/dl_k = u_k / U",
        "Every shown move is pushed up, early ones most.",
        core.ift(detach=True),
        closed_forms.ift(detach=True),
    ),
    "algorithm1": LossEntry(
        "IFT · the paper's algorithm 1",
        "L = Σ_t u_t l_t",
        "dL/dl_k = u_k + Σ_{t≤k} γ^{k-t} l_t",
        "Quadratic in the losses and not scaled: the push fades as the answer is learnt. Read backwards L is the same: neither "
        "end is favoured, for gradient flows through the weights.",
        core.ift("algorithm1"),
        closed_forms.ift("algorithm1"),
    ),
    "equation21": LossEntry(
        "IFT · the paper's equation 21",
        "L = Σ_n Σ_{i≥n} γ^{i-n} l_i",
        "dL/dl_k = Σ_{n≤k} γ^{k-n}",
        "A step is weighted by its position, late ones most: the opposite of the released form with constant weights.",
        core.ift("equation21"),
        closed_forms.ift("equation21"),
    ),
    "dpo": LossEntry(
        "DPO · direct preference optimisation, β 0.1",
        "L = -log σ(β d),  d = (c - c_ref) - (r - r_ref)",
        "dL/dc = -β σ(-β d) = -dL/dr",
        "At the reference the loss is log 2 = 0.693 and the push β/2 a step. It asks for the difference alone: what is taken "
        "from the rejected answer's moves goes to moves that nobody showed.",
        core.dpo,
        closed_forms.dpo,
    ),
    "ipo": LossEntry(
        "IPO · identity preference optimisation, β 0.1",
        "L = (d - 1/(2β))²",
        "dL/dc = 2 (d - 1/(2β)) = -dL/dr",
        "The push ends when the margin d is 5 nats, and turns round beyond.",
        core.ipo,
        closed_forms.ipo,
    ),
    "orpo": LossEntry(
        "ORPO · odds-ratio preference optimisation, β 0.25",
        "L = -c̄ - β log σ(log odds c̄ - log odds r̄)",
        "dL/dc̄ = -1 - β/(1+ratio)/(1-p),  dL/dr̄ = β/(1+ratio)/(1-q),  p = e^c̄, q = e^r̄",
        "SFT on the preferred answer, and a weaker push between the two.",
        core.orpo,
        closed_forms.orpo,
    ),
    "simpo": LossEntry(
        "SimPO · simple preference optimisation, β 2, γ 1.6",
        "L = -log σ(β (c̄ - r̄) - γ)",
        "dL/dc̄ = -β σ(γ - β (c̄ - r̄)) = -dL/dr̄",
        "No reference; the longer answer's steps are each pushed less.",
        core.simpo,
        closed_forms.simpo,
    ),
    "tdpo": LossEntry(
        "TDPO · token-level DPO, version 2, β 0.1, α 0.5",
        "L = -log σ(β d),  d = m_c - m_r - α (KL_r - stopgrad KL_c)",
        "as DPO, plus α β σ(-β d) (π - π_ref) at each tile of the rejected answer",
        "At the reference the KL terms vanish and it is DPO. Away from it the rejected answer's tiles are held back.",
        core.tdpo,
        closed_forms.tdpo,
    ),
    "bradley_terry": LossEntry(
        "Bradley-Terry · the reward model, from r = 0",
        "L = -log σ(R_c - R_r),  R = Σ_t r(s_t, a_t)",
        "dL/dr = -½ (visits of c - visits of r)",
        "Here the map is the reward's. Tiles that neither answer visits stay unknown: a policy may be drawn there.",
        core.bradley_terry,
        closed_forms.bradley_terry,
        moves="r",
    ),
    "ppo": LossEntry(
        "PPO · clipped surrogate at ratio 1, on the preferred answer, exact advantages",
        "L = -(1/N) Σ_t min(ρ_t A_t, clip(ρ_t) A_t)",
        "dL/dlog π(a_t|s_t) = -A_t / N",
        "Moves are pushed by how much better they are than the policy's own average there, not because a human made them.",
        core.ppo,
        closed_forms.ppo,
    ),
    "grpo": LossEntry(
        "GRPO · the two answers as a group",
        "L = mean over answers and steps of -min(ρ A, clip(ρ) A) + 0.04 k3,  A = (R - mean R)/std R",
        "dL/dlog π(a_t|s_t) = (-A + 0.04 (1 - π_ref/π)) / N / 2",
        "A = ±0.71 whatever the returns are, unless they are equal. Averaging over an answer's steps pushes a long one's less.",
        core.grpo,
        closed_forms.grpo,
    ),
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A loss on an example, computed twice.

    Attributes:
        value: by the loss core.
        closed_form: the same in closed form.
        gradient: by automatic differentiation.
        difference: the largest one between that gradient and the closed form's.
    """

    value: float
    closed_form: float
    gradient: Float[np.ndarray, "S A"]
    difference: float


def evaluate(entry: LossEntry, example: Example) -> Evaluation:
    """Compute value and gradient by automatic differentiation, and in closed form."""
    start = example.policy.theta[0].detach()
    table = (torch.zeros_like(start) if entry.moves == "r" else start.clone()).requires_grad_()
    value = entry.core(example, table).sum()
    gradient = torch.autograd.grad(value, table)[0].numpy()
    closed_form, derived = entry.closed_form(example)
    return Evaluation(float(value.detach()), closed_form, gradient, float(np.abs(derived - gradient).max()))
