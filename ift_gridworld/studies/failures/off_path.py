"""SFT off the path: what becomes of tiles that the human never stood on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ift_gridworld.data import path_of
from ift_gridworld.planning import success_probability
from ift_gridworld.rendering.failure import ChartLine, Failure, Panel
from ift_gridworld.studies.failures.setup import Setup, choose_frames

__all__ = ["off_path", "success_from_each_tile"]


def off_path(seeds: int, seed: int) -> Failure:
    """Train a table, a network and PPO, and draw what becomes of tiles that the human never stood on."""
    setup = Setup("4x4", seeds, seed)
    mdp = setup.mdp
    trained = (("SFT, a table", "sft", "tabular"), ("SFT, a network", "sft", "mlp"), ("PPO, a network", "ppo", "mlp"))
    runs = [setup.train(method, setup.base(policy), steps=300) for _, method, policy in trained]
    on = np.zeros(mdp.num_states, bool)
    on[path_of(setup.demonstrations)[:, 0]] = True
    off = ~on & ~mdp.terminal
    # [2, N], before and after, dropped on a tile off the path; and how much policies moved, on the path and off it.
    dropped = [success_from_each_tile(setup, run.policies[[0, -1]])[..., off].mean(-1) for run in runs]
    change = [0.5 * np.abs(run.policies[-1] - run.policies[0]).sum(-1) for run in runs]
    moved = [[float(x[:, states].mean()) for states in (on, off)] for x in change]
    drawn = int(np.argsort(dropped[1][1])[(seeds - 1) // 2])  # the median of the networks
    frames = choose_frames([run.policies[:, drawn] for run in runs])
    cases = []
    for (title, method, _), run in zip(trained, runs, strict=True):
        success = success_from_each_tile(setup, run.policies[frames, drawn])
        lines = (
            ChartLine("at the start", success @ mdp.start),
            ChartLine("off the path, mean", success[:, off].mean(-1), dashed=True),
        )
        notes = [f"off the path {x:.2f}" for x in success[:, off].mean(-1)]
        cases.append(Panel(title, notes, run.policies[frames, drawn], method, success, lines))
    fell = [int((x[1] < x[0] - 0.1).sum()) for x in dropped]
    changes = [f"{x[0].mean():.2f} to {x[1].mean():.2f} ({n})" for x, n in zip(dropped, fell, strict=True)]
    cause = (
        (
            "What SFT sees",
            "Its gradient on the logits of a tile is n(s)·(π − shown), where n(s) counts how often the human stood there: 0 "
            f"off the path. A table keeps those rows: they change by {moved[0][1]:.3f} (total variation), those on the path by "
            f"{moved[0][0]:.2f}.",
        ),
        (
            "What becomes of the rest",
            f"A network shares weights between tiles: off the path it changes by {moved[1][1]:.2f}, on it by "
            f"{moved[1][0]:.2f}, in directions that no data asked for. The loss sees nothing of it, nor does success "
            "from the start.",
        ),
        (
            "How often",
            f"Success when dropped off the path, mean (in brackets: of {seeds} seeds, how many lost more than 0.1): table "
            f"{changes[0]}, as its walks come upon the path; network {changes[1]}; PPO, which walks there itself, "
            f"{changes[2]}.",
        ),
    )
    return Failure(
        "off_path", "SFT spoils what nobody showed it",
        f"A network shares weights: states off the path change by {moved[1][1]:.2f} (total variation), in a table by "
        f"{moved[0][1]:.2f}.",
        f"Success off the path falls by more than 0.1 in {fell[1]} of {seeds} seeds; in a table in {fell[0]}, with PPO in "
        f"{fell[2]}.",
        setup.about("table and network", seed + drawn), cause, setup.lake, path_of(setup.demonstrations),
        np.zeros((0, 2), int), np.array(frames), tuple(cases), "success",
        f"success within {mdp.horizon} steps when dropped", "linear", (-0.03, 1.06),
    )  # fmt: skip


def success_from_each_tile(setup: Setup, policies: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Return the success of an agent that is dropped on each tile; 0 on those that end an episode."""
    mdp, result = setup.mdp, np.zeros(policies.shape[:-1])
    for tile in np.flatnonzero(~mdp.terminal):
        start = np.eye(mdp.num_states)[tile]
        result[..., tile] = success_probability(replace(mdp, start=start), policies, setup.lake.horizon)
    return result
