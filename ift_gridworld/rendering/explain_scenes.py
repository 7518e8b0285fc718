"""The scenes of an explained update: what each kind of step shows, frame by frame, on a `Stage`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ift_gridworld.rendering.bars import KeyEntry, Layer
from ift_gridworld.rendering.explain_stage import WHOLE_PATH, Stage

if TYPE_CHECKING:
    from ift_gridworld.explain import Step

__all__ = ["Moment", "moments"]

MAX_STEPS = 14  # frames of one scene in which things happen one by one
PATH_KEY = KeyEntry("line", "shown", "human's path")
PAIR_KEY = (KeyEntry("line", "shown", "chosen"), KeyEntry("dashed", "rejected", "rejected"))
WALKER = KeyEntry("dot", "background", "walker", edge="ink")
PREDICTED = KeyEntry("diamond", "predicted", "where the model goes", edge="predicted_edge")
WEIGHTS = "weight of each step, mean 1"


@dataclass(frozen=True)
class Moment:
    """A frame of a scene.

    Attributes:
        draw: draws what is in it.
        key: what its marks mean.
        chart: title of the chart, if there is one.
    """

    draw: Callable[[], None]
    key: tuple[KeyEntry, ...] = ()
    chart: str = ""


def moments(stage: Stage, scene: Step) -> Iterator[Moment]:
    """Return the frames of a scene.

    Raises:
        ValueError: for a scene of a kind that nothing shows.
    """
    scenes: dict[str, Callable[[Stage, Step], Iterator[Moment]]] = {
        "walk": _walk,
        "predict": _predict,
        "mix": _mix,
        "bars": _series,
        "weights": _series,
        "flow": _flow,
        "pair": _pair,
        "pushes": _pushes,
        "advantage": _advantage,
        "clip": _clip,
        "step": _step,
    }
    if scene.kind not in scenes:
        raise ValueError(f"step is of kind {scene.kind!r}; allowed: {', '.join(scenes)}")
    return scenes[scene.kind](stage, scene)


def _walk(stage: Stage, scene: Step) -> Iterator[Moment]:
    paths = scene.data["paths"]
    roles = {path["role"] for path in paths}
    if "rejected" in roles:
        key: tuple[KeyEntry, ...] = (*PAIR_KEY, WALKER)
    else:
        key = (PATH_KEY if "shown" in roles else KeyEntry("line", "muted", f"{len(paths)} of the walks"), WALKER)
    title = "" if roles == {"own"} else "probability of each move in the base"
    for steps in _paced(max(len(path["states"]) for path in paths)):

        def draw(steps: int = steps) -> None:
            stage.trace(paths, steps)
            if title:
                stage.draw_probabilities(paths, steps, title)

        yield Moment(draw, key, title)


def _predict(stage: Stage, scene: Step) -> Iterator[Moment]:
    true, weights = np.array(scene.data["true"]), np.array(scene.data["weights"])
    for count in _paced(len(true)):

        def draw(n: int = count) -> None:
            stage.trace_demonstration()
            stage.predictions.update(true[:n], weights[:n])

        yield Moment(draw, (PATH_KEY, PREDICTED))


def _mix(stage: Stage, scene: Step) -> Iterator[Moment]:
    true, weights = np.array(scene.data["true"]), np.array(scene.data["weights"])
    mixing, right = scene.data["mixing"], scene.data["right"]
    labels = ["1", *("1" if r else f"{1 - mixing:g}" for r in right)]
    title = "share of each state"
    key = (KeyEntry("box", "shown", "the human's"), KeyEntry("diamond", "predicted", "predicted", edge="predicted_edge"))
    for share in (0.0, 0.5, 1.0):

        def draw(share: float = share) -> None:
            stage.trace_demonstration()
            stage.predictions.update(true, weights)
            own = np.array([1.0, *(1.0 if r else 1 - share * mixing for r in right)])
            layers = [
                Layer(np.zeros_like(own), own, "shown"),
                Layer(own, np.ones_like(own), "predicted", edge="predicted_edge"),
            ]
            stage.draw_steps(layers, title, 1.19, labels if share == 1 else ())

        yield Moment(draw, key, title)


def _series(stage: Stage, scene: Step) -> Iterator[Moment]:
    series = scene.data["series"][0]
    values = np.array(series["values"])
    before = np.array(series["before"]) if "before" in series else None
    outline = () if before is None else (KeyEntry("hollow", "ink", "from the human's own state"),)
    for share in (0.0, 0.5, 1.0):

        def draw(share: float = share) -> None:
            stage.trace_demonstration()
            start = np.zeros_like(values) if before is None else before
            shown = start + share * (values - start)
            layers = [Layer(np.zeros_like(shown), shown, "shown")]
            if before is not None:
                layers.append(Layer(np.zeros_like(before), before, "ink", is_hollow=True))
            top = 1.25 * max(float(values.max()), float(start.max()), 1e-9)
            stage.draw_steps(layers, series["name"], top, [f"{v:.2f}" for v in values] if share == 1 else ())

        yield Moment(draw, (PATH_KEY, *outline), series["name"])


def _flow(stage: Stage, scene: Step) -> Iterator[Moment]:
    """Draw the flow of losses: from the last step to the first, each takes over the decayed sum of the steps behind it."""
    loss, decay, weights = np.array(scene.data["losses"]), scene.data["decay"], np.array(scene.data["weights"])
    gathered, nothing = loss.copy(), np.zeros_like(loss)
    for t in reversed(range(len(loss) - 1)):
        gathered[t] = loss[t] + decay * gathered[t + 1]
    title = "loss that each step answers for, nats"
    key = (KeyEntry("box", "shown", "its own"), KeyEntry("box", "muted", "flowed back to it"))
    for t in reversed(_paced(len(loss))):

        def draw(t: int = t) -> None:
            stage.trace_demonstration()
            now = np.where(np.arange(len(loss)) >= t, gathered, loss)
            layers = [Layer(nothing, loss, "shown"), Layer(loss, now, "muted")]
            stage.draw_steps(layers, title, 1.2 * gathered.max())
            if t < len(loss):
                stage.walkers.set_data(*stage.centres([stage.human[0]["states"][t]]).T)

        yield Moment(draw, key, title)

    def weigh() -> None:
        stage.trace_demonstration()
        layers = [Layer(nothing, weights, "shown")]
        stage.draw_steps(layers, WEIGHTS, 1.25 * weights.max(), [f"{w:.2f}" for w in weights])

    yield Moment(weigh, (PATH_KEY,), WEIGHTS)


def _pair(stage: Stage, scene: Step) -> Iterator[Moment]:
    """Bars of minus the log-probability, each in the colour of its path: the higher, the less likely."""
    values, reference = -np.array(scene.data["values"]), scene.data["reference"]
    paths = stage.explanation.steps[0].data["paths"]
    title = f"minus log-probability of {scene.data['of']}, nats"
    outline = () if reference is None else (KeyEntry("hollow", "ink", "the base"),)
    for share in (0.0, 0.5, 1.0):

        def draw(share: float = share) -> None:
            stage.trace(paths, WHOLE_PATH, walkers=False)
            shown, nothing = share * values, np.zeros(2)
            layers = [
                Layer(nothing, np.array([shown[0], 0.0]), "shown"),
                Layer(nothing, np.array([0.0, shown[1]]), "rejected"),
            ]
            if reference is not None:
                layers.append(Layer(nothing, -np.array(reference), "ink", is_hollow=True))
            names = list(enumerate(scene.data["names"]))
            labels = [f"{value:.2f}" for value in values] if share == 1 else ()
            stage.chart.draw(layers, title=title, top=1.3 * values.max(), names=names, across="", labels=labels)

        yield Moment(draw, (*PAIR_KEY, *outline), title)


def _pushes(stage: Stage, scene: Step) -> Iterator[Moment]:
    largest = max(map(abs, scene.data["push"]))
    for count in (1, 2):

        def draw(count: int = count) -> None:
            push = np.zeros_like(stage.explanation.before)
            for path, weight in list(zip(scene.data["paths"], scene.data["push"], strict=True))[:count]:
                np.add.at(push, (path["states"], path["actions"]), weight)
            stage.draw_change(push / (np.abs(push).max() or 1.0))

        yield Moment(draw, _change_key("pushed up", "pushed down", largest))


def _advantage(stage: Stage, scene: Step) -> Iterator[Moment]:
    advantage, counts = (np.array(scene.data[name]) for name in ("advantage", "counts"))
    shown = np.where(counts > 0, advantage, 0.0)
    largest = float(np.abs(shown).max())
    draw = partial(stage.draw_change, shown / (largest or 1.0))
    yield Moment(draw, _change_key("better than average", "worse", largest))


def _clip(stage: Stage, scene: Step) -> Iterator[Moment]:
    counts, (low, high), clip = np.array(scene.data["ratio"], float), scene.data["range"], scene.data["clip"]
    middle = np.linspace(low, high, len(counts) + 1)[:-1] + (high - low) / len(counts) / 2
    beyond = np.abs(middle - 1) > clip
    share, nothing = counts / counts.sum(), np.zeros(len(counts))
    title = "share of the moves"
    places = [(x - low) / (high - low) * len(counts) - 0.5 for x in (low, 1 - clip, 1, 1 + clip, high)]
    ends = (f"≤{low:g}", f"{1 - clip:g}", "1", f"{1 + clip:g}", f"≥{high:g}")

    def draw() -> None:
        layers = [
            Layer(nothing, np.where(beyond, 0, share), "ink"),
            Layer(nothing, np.where(beyond, share, 0), "ink", is_hollow=True),
        ]
        names = list(zip(places, ends, strict=True))
        across = "ratio ρ of its new to its old probability"
        stage.chart.draw(layers, title=title, top=1.15 * share.max(), names=names, across=across)

    key = (KeyEntry("box", "ink", f"within 1 ± {clip:g}"), KeyEntry("hollow", "ink", "beyond"))
    yield Moment(draw, key, title)


def _step(stage: Stage, scene: Step) -> Iterator[Moment]:
    before, after = (np.array(scene.data[name]) for name in ("before", "after"))
    state = int(np.abs(after - before).max(1).argmax())
    title = "probability of each action there"
    largest, outline = float(np.abs(after - before).max()), KeyEntry("hollow", "ink", "before")
    names = [(i, name) for i, name in enumerate(stage.action_names())]

    def draw(share: float, *, changed: bool = False) -> None:
        policy, nothing = before + share * (after - before), np.zeros(stage.mdp.num_actions)
        if changed:
            stage.draw_change((after - before) / (largest or 1.0))
        else:
            stage.arrows.update(policy)
        layers = [Layer(nothing, policy[state], "arrow"), Layer(nothing, before[state], "muted", is_hollow=True)]
        labels = [f"{p:.2f}" for p in policy[state]] if share == 1 else ()
        stage.chart.draw(layers, title=title, top=1.2, names=names, across="", labels=labels)

    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        yield Moment(partial(draw, share), (KeyEntry("box", "arrow", "probability"), outline), title)
    yield Moment(partial(draw, 1.0, changed=True), _change_key("likelier", "less likely", largest), title)


def _change_key(more: str, less: str, largest: float) -> tuple[KeyEntry, ...]:
    """The key of arrows in two colours, with the scale: what a full arrow stands for."""
    return KeyEntry("box", "more", f"{more} (full arrow: {largest:.2g})"), KeyEntry("box", "less", less)


def _paced(count: int) -> list[int]:
    """0 to count, one at a time, or in strides where that would take too long."""
    return sorted({round(x) for x in np.linspace(0, count, min(count, MAX_STEPS) + 1)})
