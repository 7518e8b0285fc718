"""Implementation of `explain`: make one update and film it."""

from __future__ import annotations

import json
from dataclasses import asdict

from ift_gridworld.cli.arguments import PolicyArgs
from ift_gridworld.cli.method_options import method_overrides
from ift_gridworld.cli.parser import check_seed
from ift_gridworld.cli.setup import base_of, check_outcome, data_of, mdp_of, training_of
from ift_gridworld.explain import explain
from ift_gridworld.methods.registry import find_method
from ift_gridworld.rendering.explain_film import ExplainFilm
from ift_gridworld.rendering.explain_page import save_explanation
from ift_gridworld.rendering.formats import PictureOptions
from ift_gridworld.rendering.tables import written
from ift_gridworld.storage import check_folder, file_stem, make_folder, versions, write_atomically
from ift_gridworld.training.run import POLICY_NAMES

__all__ = ["explain_update"]


def explain_update(args: PolicyArgs, method: str, kind: str, speed: float | None = None) -> int:
    """Make one update of a method, save what was computed, draw it, and print what was written; returns the exit status.

    Args:
        args: the command line.
        method: one of EXPLAINED.
        kind: of picture: a film, its last frame, or "html", a page to step through.
        speed: a factor of how fast the film runs; None for 1.
    """
    PictureOptions(speed=1.0 if speed is None else speed).check(kind)
    check_seed(args.seed)
    overrides = method_overrides(args, [method])[method]
    mdp = mdp_of(args)
    check_outcome({method: overrides}, mdp)
    shown, pair = data_of(mdp, 1, args.seed, find_method(method).needs == "pairs")
    training = training_of(args, mdp.num_states)
    base = base_of(args, mdp, seeds=1)
    explanation = explain(method, mdp, base, shown, pair, training=training, seed=args.seed, **overrides)
    check_folder(args.out)
    place = mdp.where
    about = f"{place.name} · {'slippery' if place.is_slippery else 'no slip'} · {POLICY_NAMES[args.policy]} · base: {args.base}"
    about = f"{about} · seed {args.seed}"
    film = ExplainFilm(explanation, mdp, about, args.theme)
    make_folder(args.out)
    entries = {
        "method": explanation.method,
        "lake": asdict(place),
        "settings": {name: value for name, value in vars(args).items() if name != "given"},
        "versions": versions(),
        "loss": explanation.loss,
        "before": explanation.before.tolist(),
        "after": explanation.after.tolist(),
        "scenes": [asdict(step) for step in explanation.steps],
    }
    name = file_stem(f"explain_{explanation.method}")
    saved = write_atomically(args.out / f"{name}.json", f"{json.dumps(entries, default=str)}\n".encode())
    picture = args.out / f"{name}.{kind}"
    if kind == "html":
        save_explanation(explanation, mdp, about, picture)
    else:
        film.save(picture, speed=speed or 1.0)
    print(written([saved, picture]))
    return 0
