"""A language model's own probabilities on the tiles of one lake, as a run that every film of the lakes can show.

On each tile the model is asked by the prefix that `measure.Probes` has for it, and what it says of the four moves is read as
the policy's row there: T(a|s), scaled to 1, for a film knows no end token. Success and distance below the film are those of
this one lake and of the policy that is read so; the table's are over all held-out lakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.evaluation.metrics import measure, reference_points
from ift_gridworld.language.lakes import Lakes, tiles_along
from ift_gridworld.language.measure import END_ACTION, MoveTokenizer, Probes, ask
from ift_gridworld.language.models import LanguagePolicy
from ift_gridworld.methods.base import Method
from ift_gridworld.storage import versions
from ift_gridworld.training.run import Run


def moves_at(policy: LanguagePolicy, spoken: MoveTokenizer, lake: Lakes, probes: Probes) -> Float[np.ndarray, "S 4"]:
    """T(a|s) on one lake; every move alike on tiles that nobody can stand on."""
    chance = ask(policy, spoken, lake, probes)[:, :END_ACTION]
    table = np.full((lake.num_states, END_ACTION), 1 / END_ACTION)
    table[probes.tile] = chance / np.maximum(chance.sum(1, keepdims=True), 1e-12)
    return table


def film_lake(lakes: Lakes) -> int:
    """The lake that is shown: the first on which the way is longer than on open ice and than most ways, else the first."""
    way = lakes.distance[np.arange(len(lakes)), lakes.start]
    return int(((lakes.detour > 0) & (way > np.median(way))).argmax())


def film_record(
    kind: type[Method],
    name: str,
    settings: Mapping[str, Any],
    lake: Lakes,
    path: Int[np.ndarray, " T"],
    watched: Sequence[Mapping[str, Any]],
    loss: Sequence[float],
    seconds: float,
) -> Run:
    """What was watched while a method ran, as a run of one seed on one lake.

    Args:
        kind, name, settings: of the method.
        lake: one lake.
        path: the human's on it, which no model has been shown.
        watched: {"step", "seen"}, where "seen" is `moves_at`.
        loss, seconds: of the run.
    """
    where = Lake("a held-out lake, read as text", lake.rows(0), None, False, 1 / 3, 0.99, 4 * sum(lake.shape))
    policies = np.array([frame["seen"] for frame in watched])[:, None]
    walked = path[path >= 0]
    human = np.stack([tiles_along(lake, walked[None])[0][:-1], walked], 1).astype(int)
    return Run(
        method=name,
        title=kind.title,
        needs=kind.needs,
        lake=where,
        # On a lake that it is not trained on, nothing is mixed in.
        settings={**settings, "mixing": 0.0, "policy": "language", "base": "mediocre paths", "held_out": True},
        versions=versions(),
        steps=np.array([frame["step"] for frame in watched]),
        metrics=measure(where.mdp, policies, base=policies[0]),
        optimum=reference_points(where.mdp),
        loss=np.array(loss)[:, None],
        snapshots=policies[:, 0],
        base=policies[0],
        final=policies[-1],
        shown=human,
        rejected=np.zeros((0, 2), int),
        seconds=seconds,
    )
