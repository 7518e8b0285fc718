"""A language model's own probabilities on the tiles of one lake, as a run that every film of lakes can show.

On each tile the model is asked by the prefix that `probes.Probes` has for it, and its probabilities of the four moves are read
as the policy's row there: T(a|s), scaled to 1, since a film knows no end token. Success and distance below the film are those
of this one lake and of the policy that is read so; the table's are over all held-out lakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.envs.maps import time_limit
from ift_gridworld.evaluation.metrics import measure, reference_points
from ift_gridworld.language.answers import most_typical
from ift_gridworld.language.lakes import Lakes, tiles_along
from ift_gridworld.language.move_tokenizer import END_ACTION, MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.probes import Probes, probe_probabilities
from ift_gridworld.mdp import Origin
from ift_gridworld.methods.base import Method
from ift_gridworld.storage import versions
from ift_gridworld.training.run import Run

__all__ = ["choose_film_lake", "film_run", "move_probabilities"]


def move_probabilities(
    policy: LanguagePolicy, tokenizer: MoveTokenizer, lake: Lakes, probes: Probes
) -> Float[np.ndarray, "S 4"]:
    """Return T(a|s) on one lake; every move alike on tiles that no walk can stand on.

    Args:
        policy: the model.
        tokenizer: the model's moves as tokens.
        lake: one lake.
        probes: `Probes.of` the lake.
    """
    chance = probe_probabilities(policy, tokenizer, lake, probes)[:, :END_ACTION]
    table = np.full((lake.num_states, END_ACTION), 1 / END_ACTION)
    table[probes.tile] = chance / np.maximum(chance.sum(1, keepdims=True), 1e-12)
    return table


def choose_film_lake(lakes: Lakes) -> int:
    """Return the index of the lake that is most typical in the length of its shortest path and its detour (`most_typical`).

    Of equally typical ones the one with the most usual number of tiles that can be walked on is taken.
    """
    length = lakes.distance[np.arange(len(lakes)), lakes.start]
    return most_typical(np.stack([length, lakes.detour]).astype(float), lakes.reachable.sum(1)[None].astype(float))


def film_run(
    kind: type[Method[Any]],
    name: str,
    settings: Mapping[str, Any],
    lake: Lakes,
    path: Int[np.ndarray, " T"],
    watched: Sequence[Mapping[str, Any]],
    loss: Sequence[float],
    seconds: float,
) -> Run:
    """Return what was watched during training as a run of one seed on one lake.

    Args:
        kind, name, settings: the method, its name and its options.
        lake: one lake.
        path: the human's path on it, which no model is trained on.
        watched: {"step": …, "seen": `move_probabilities`} at some updates.
        loss: loss of every update.
        seconds: duration of the run.
    """
    rows = lake.rows(0)
    origin = Origin("a held-out lake, read as text", rows, None, False, 1 / 3, 0.99, time_limit(rows))
    policies = np.array([frame["seen"] for frame in watched])[:, None]
    moves = path[path >= 0]
    human = np.stack([tiles_along(lake, moves[None])[0][:-1], moves], 1).astype(int)
    return Run(
        method=name,
        title=kind.full_title(),
        needs=kind.needs,
        environment=origin,
        # On a lake that it is not trained on, nothing is mixed in.
        settings={**settings, "mixing": 0.0, "policy": "language", "base": "mediocre paths", "held_out": True},
        versions=versions(),
        steps=np.array([frame["step"] for frame in watched]),
        metrics=measure(origin.mdp, policies, base=policies[0]),
        optimum=reference_points(origin.mdp),
        loss=np.array(loss)[:, None],
        snapshots=policies[:, 0],
        base=policies[0],
        final=policies[-1],
        demonstration=human,
        rejected=np.zeros((0, 2), int),
        seconds=seconds,
    )
