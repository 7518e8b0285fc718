"""Likelihood displacement: offline DPO makes the chosen answer less likely, too, where answers share weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ift_gridworld.data import Trajectories, path_of
from ift_gridworld.evaluation.metrics import expected_visits
from ift_gridworld.policies.lake import LakePolicy
from ift_gridworld.rendering.failure import ChartLine, Failure, Panel
from ift_gridworld.rendering.method_style import style_of
from ift_gridworld.rendering.plane import Track
from ift_gridworld.studies.failures.setup import Setup, choose_frames, signed
from ift_gridworld.training.drawn_seed import typical_seed
from ift_gridworld.training.run import Run

__all__ = ["displacement", "first_order", "pull"]


def displacement(seeds: int, seed: int) -> Failure:
    """Train a table and a network by offline DPO, and draw how the network's chosen answer becomes less likely."""
    setup = Setup("4x4", seeds, seed)
    chosen, rejected = setup.preferences
    runs, pulls = {}, {}
    for policy in ("tabular", "mlp"):
        runs[policy], pulls[policy] = train_with_pulls(setup, policy)
    table, network = runs["tabular"], runs["mlp"]
    c = network.metrics["chosen_logp"]
    drawn = typical_seed([c[-1]], [network.metrics["distance"][-1]])
    frames = choose_frames([table.policies[:, drawn], network.policies[:, drawn]])
    turn, peak = int(np.argmax(pulls["mlp"][:, drawn] < 0)), int(c[:, drawn].argmax())
    trained = np.zeros((setup.mdp.num_states, setup.mdp.num_actions), bool)
    for batch in (chosen, rejected):
        trained[tuple(path_of(batch).T)] = True
    tiles = path_of(chosen)[:, 0]
    unseen = np.where(trained, 0.0, network.policies[:, drawn])[:, tiles].sum(-1).mean(-1)
    fell = int((c[-1] < c[0]).sum())
    table_fell = int((table.metrics["chosen_logp"][-1] < table.metrics["chosen_logp"][0]).sum())
    cause = (
        (
            "What DPO asks",
            "The gap between two answers grows; nothing asks the chosen one to become likelier. To first order, a step "
            "along its gradient changes the log-probability c in proportion to ∇c·(∇c − ∇r).",
        ),
        (
            "Why c falls",
            f"In a table that product stays positive (least: {signed(pulls['tabular'].min())}). In a network both answers "
            f"use the same weights: from {signed(pulls['mlp'][0, drawn])} it is negative at update {turn}; c peaks after "
            f"update {peak} at {signed(c[peak, drawn])} and ends at {signed(c[-1, drawn])}.",
        ),
        (
            "Where it goes",
            f"In the states of the chosen answer, moves that neither answer takes grow from {unseen[0]:.0%} to "
            f"{unseen[-1]:.0%}.",
        ),
    )

    def case(title: str, run: Run) -> Panel:
        policies = run.policies[frames, drawn]
        answers = (("chosen answer", "chosen_logp", "shown", False), ("rejected answer", "rejected_logp", "rejected", True))
        lines = tuple(ChartLine(name, run.metrics[m][frames, drawn], colour, dashed) for name, m, colour, dashed in answers)
        notes = [f"success {x:.2f}" for x in run.metrics["success"][frames, drawn]]
        return Panel(title, notes, policies, "dpo", expected_visits(setup.mdp, policies), lines)

    def track(name: str, run: Run, *, dashed: bool) -> Track:
        logp = np.stack([run.metrics[name] for name in ("chosen_logp", "rejected_logp")], -1)
        return Track(name, replace(style_of("dpo"), dash=(0, (3, 1.2)) if dashed else "-"), logp[frames] - logp[0])

    return Failure(
        "displacement", "DPO makes the chosen answer less likely",
        "In a network both answers share weights: pushing the rejected one down drags the chosen one along.",
        f"It ends less likely than in the base in {fell} of {seeds} seeds; in a table in {table_fell}.",
        setup.about("table and network", seed + drawn), cause, setup.lake, path_of(chosen), path_of(rejected), np.array(frames),
        (case("DPO, a table", table), case("DPO, a network", network)), "visits",
        "log-probability of an answer, nats", "symlog",
        (1.5 * float(min(r.metrics["rejected_logp"][:, drawn].min() for r in runs.values())), 0.2),
        plane=(track("table", table, dashed=True), track("network", network, dashed=False)),
    )  # fmt: skip


def train_with_pulls(setup: Setup, kind: str) -> tuple[Run, Float[np.ndarray, "U N"]]:
    """Train a policy of that kind by DPO; return the run, and `first_order` before the first update and after each."""
    base = setup.base(kind)
    pulls: list[np.ndarray] = []
    run = setup.train("dpo", base, probe=lambda: pulls.append(first_order(base, *setup.preferences)))
    return run, np.stack(pulls)


def first_order(policy: LakePolicy, chosen: Trajectories, rejected: Trajectories) -> Float[np.ndarray, " N"]:
    """Return ∇c·(∇c - ∇r): how fast the preferred answer's log-likelihood rises along the gradient of c - r."""
    return pull(policy, chosen[None], rejected[None])


def pull(policy: LakePolicy, chosen: Trajectories, rejected: Trajectories) -> Float[np.ndarray, " N"]:
    """Return ∇c·(∇c - ∇r) of each member's own answers.

    Args:
        policy: N members.
        chosen, rejected: answers of each member [N, B, T], or the same for all [1, B, T].
    """

    def gradient(side: Trajectories) -> Tensor:
        logp = (policy.log_probs(side.states, side.actions) * side.mask).sum()
        return torch.cat([g.flatten(1) for g in torch.autograd.grad(logp, list(policy.parameters()))], 1)

    of_chosen, of_rejected = gradient(chosen), gradient(rejected)
    return (of_chosen * (of_chosen - of_rejected)).sum(1).double().numpy()
