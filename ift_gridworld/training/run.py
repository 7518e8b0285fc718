"""A run: what training leaves, as it is saved, loaded, drawn and printed; and several runs side by side.

Numbers are rounded when a run is made, before anything is drawn, so that a picture drawn after training and one drawn from the
file are the same. This module loads without torch and without matplotlib: what draws is imported when a picture is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld._lazy import resolve
from ift_gridworld.envs.registry import SPECS
from ift_gridworld.escape import printable
from ift_gridworld.evaluation.headline import headline_metric
from ift_gridworld.evaluation.metrics import MEASURES, expected_visits, metric_interval
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.planning import evaluate_policy
from ift_gridworld.storage import round_significant, write_atomically
from ift_gridworld.training import files
from ift_gridworld.training.files import PLAIN, TABLES

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["POLICY_NAMES", "Comparison", "Run", "check_one_environment", "compare", "shared_custom_metrics", "shared_metrics"]

POLICY_NAMES = {"mlp": "network", "tabular": "table", "language": "language model"}


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One method's training on one environment; N seeds, M snapshots.

    Attributes:
        method, title, needs: its registered name, its full one, and the kind of data that it learns from.
        environment: where, enough to make the MDP again (`mdp`).
        settings: every setting, resolved.
        versions: of python and the packages that numbers depend on.
        steps: updates at which snapshots were taken; 0 is the base.
        metrics: each metric of `evaluation.metrics` for every snapshot and seed.
        optimum: what the best policies reach.
        loss: of every update and seed.
        snapshots: T_theta(a|s) of the seed that is drawn, at every snapshot.
        base, final: T_theta(a|s) of every seed before and after training.
        demonstration, rejected: (state, action) steps of the first demonstration (for methods that learn from pairs, of the
            first chosen answer) and of the first rejected answer, if the method was given one (else empty). All seeds of a
            run learn from the same data, so these are of every seed.
        seconds: spent in training.
        diverged: step and cause, if the loss stopped being a number.
        assumed_prior: the row of the paper's Table 1 that the method stands in (`evaluation.estimation.TABLE`).
        estimation: what the method assumes of the model that it trains, beside the truth, "base" and "trained", averaged over
            the human's answers: "truth", "estimate" and "gap" of every seed and step, [N, L].
        made_of: the MDP itself; None for a run that was loaded, unless its environment cannot be made again.
        drawn: index of the seed whose policies are `snapshots`, and of which maps and the numbers beside them are
            (`training.together` chooses it, `drawing` changes it).
        every_policy: T_theta(a|s) of every seed at every snapshot (`policies`). They are saved with the run up to
            `files.MOST_POLICIES` numbers in all; None for a larger run that was loaded.

    >>> from ift_gridworld import TabularMDP, train
    >>> from ift_gridworld.training import make_base
    >>> mdp = TabularMDP.make("two-paths")
    >>> run = train("ift", mdp, make_base("mixture", mdp, policy="tabular"), steps=3)
    >>> run.steps.tolist(), run.metrics["success"].shape
    ([0, 1, 2, 3], (4, 1))
    """

    method: str
    title: str
    needs: str
    environment: Origin
    settings: dict[str, Any]
    versions: dict[str, str]
    steps: Int[np.ndarray, " M"]
    metrics: dict[str, Float[np.ndarray, "M N"]]
    optimum: dict[str, float]
    loss: Float[np.ndarray, "U N"]
    snapshots: Float[np.ndarray, "M S A"]
    base: Float[np.ndarray, "N S A"]
    final: Float[np.ndarray, "N S A"]
    demonstration: Int[np.ndarray, "T 2"]
    rejected: Int[np.ndarray, "R 2"]
    seconds: float
    diverged: str | None = None
    assumed_prior: str = ""
    estimation: dict[str, dict[str, Float[np.ndarray, "N L"]]] = field(default_factory=dict)
    made_of: TabularMDP | None = None
    drawn: int = 0
    every_policy: Float[np.ndarray, "M N S A"] | None = None

    def __post_init__(self) -> None:
        for name in ("method", "title"):
            object.__setattr__(self, name, printable(getattr(self, name)))  # a saved run's may hold anything
        object.__setattr__(self, "loss", round_significant(np.asarray(self.loss, float)))
        is_large = self.is_large
        for name in TABLES:
            table = np.asarray(getattr(self, name))
            if name == "snapshots" and files.keeps_policies(self):  # as they are unpacked, whichever seed is drawn
                table = table.astype(np.float32)
            object.__setattr__(self, name, table.astype(np.float32) if is_large else round_significant(table.astype(float)))
        rounded = {name: round_significant(np.asarray(value, float)) for name, value in self.metrics.items()}
        object.__setattr__(self, "metrics", rounded)
        estimation = {
            when: {name: round_significant(np.asarray(value, float)) for name, value in entries.items()}
            for when, entries in self.estimation.items()
        }
        object.__setattr__(self, "estimation", estimation)

    # ---- what is known of it ----

    @cached_property
    def mdp(self) -> TabularMDP:
        """The MDP that it was trained on; for a run that was loaded, made again."""
        return self.environment.mdp if self.made_of is None else self.made_of

    @property
    def policies(self) -> Float[np.ndarray, "M N S A"]:
        """T_theta(a|s) of every seed at every snapshot.

        Raises:
            ValueError: for a large run that was loaded: its file has the snapshots of the drawn seed alone.
        """
        if self.every_policy is None and self.seeds == 1:
            return self.snapshots[:, None]
        if self.every_policy is None:
            raise ValueError("this run was saved with the policies of the drawn seed alone; allowed: snapshots, base and final")
        return self.every_policy

    @property
    def first_seed(self) -> int:
        """The number of its first seed; the others count on from there."""
        return int(self.settings.get("seed") or 0)

    @property
    def drawn_seed(self) -> int:
        """The number of the seed that is drawn, as pictures name it."""
        return self.first_seed + self.drawn

    @property
    def drawable(self) -> list[int]:
        """The numbers of the seeds that can be drawn: all, or where the policies of one alone were saved, that one."""
        if self.every_policy is None:
            return [self.drawn_seed]
        return list(range(self.first_seed, self.first_seed + self.seeds))

    def drawing(self, seed: int) -> Run:
        """Return the run that draws another of its seeds.

        Args:
            seed: the seed's number: that of training (`seed`) for the first, and counting on from there.

        Raises:
            ValueError: for a seed that it does not have, or whose policies were not saved.
        """
        last = self.first_seed + self.seeds - 1
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not self.first_seed <= seed <= last:
            raise ValueError(f"drawn_seed is {seed!r}; allowed: {self.first_seed} to {last}, the seeds of {self.method}")
        if seed == self.drawn_seed:
            return self
        if self.every_policy is None:
            raise ValueError(
                f"drawn_seed is {seed}, but {self.method} was saved with the policies of seed {self.drawn_seed} alone, for "
                f"those of all are more than {files.MOST_POLICIES} numbers; allowed: {self.drawn_seed}, or train it again"
            )
        drawn = int(seed) - self.first_seed
        return replace(self, drawn=drawn, snapshots=self.every_policy[:, drawn])

    @property
    def seeds(self) -> int:
        """Number of independent policies."""
        return len(self.final)

    @property
    def is_large(self) -> bool:
        """True if tables are packed when they are saved."""
        return sum(np.size(getattr(self, name)) for name in TABLES) > PLAIN

    @property
    def custom_metrics(self) -> list[str]:
        """Names of its metrics that are not built in."""
        return [name for name in self.metrics if name not in MEASURES]

    @cached_property
    def visits(self) -> Float[np.ndarray, "M S"]:
        """Expected visits of an episode to each state under each snapshot (`metrics.expected_visits`)."""
        return expected_visits(self.mdp, self.snapshots)

    @cached_property
    def values(self) -> Float[np.ndarray, "M S"]:
        """The value of each state under each snapshot."""
        return evaluate_policy(self.mdp, self.snapshots)

    # ---- in words ----

    @property
    def about(self) -> str:
        """Environment, dynamics, policy and base in one line, as every picture says them."""
        place = self.environment
        rate = "" if place.success_rate is None else f", {place.success_rate:.2g} as intended"
        dynamics = f"slippery{rate}" if place.is_slippery else "no slip"
        policy = POLICY_NAMES.get(str(self.settings.get("policy")), "policy")
        base = f" · base: {self.settings['base']}" if "base" in self.settings else ""
        return printable(f"{place.name} · {dynamics} · {policy}{base}")

    @property
    def place(self) -> str:
        """The kind of environment, in words."""
        origin = self.environment
        if origin.rows is not None or origin.env in SPECS.values():
            return "a frozen lake"
        return origin.name if origin.env is None else re.sub(r"-v\d+$", "", printable(origin.env))

    @cached_property
    def headline(self) -> str:
        """The metric that sums it up: success, or regret where success says nothing (`evaluation.headline`)."""
        return headline_metric(self.mdp, [*self.metrics["success"][0], self.optimum["success"]])

    def of_drawn(self, name: str) -> Float[np.ndarray, " M"]:
        """Return a metric of the drawn seed at every snapshot: what may stand beside its map."""
        return self.metrics[name][:, self.drawn]

    @property
    def course(self) -> str:
        """A sentence on the course of success (or regret) and distance in the drawn seed, and on average over all."""
        name, parts = self.headline, list[str]()
        for title, metric in ((f"{name.capitalize()} goes", name), ("the distance to the optimal policy", "distance")):
            drawn = self.of_drawn(metric)
            parts.append(f"{title} from {drawn[0]:z.3f} to {drawn[-1]:z.3f}")
            if self.seeds > 1:
                mean, low, high = (float(x) for x in metric_interval(metric, self.metrics[metric][-1]))
                seeds = f"of {self.seeds} seeds at the end " if len(parts) == 1 else ""
                of_drawn = f" in seed {self.drawn_seed}" if len(parts) == 1 else ""
                parts[-1] += f"{of_drawn} (mean {seeds}{mean:z.3f} [{low:z.3f}, {high:z.3f}])"
        return f"{', '.join(parts)}."

    @property
    def about_seeds(self) -> str:
        """Words that name the seed of maps and of the numbers beside them, and the seeds of curves."""
        drawn = f"drawn: seed {self.drawn_seed}"
        return f"{drawn}; charts: mean and 95 % interval of {self.seeds} seeds" if self.seeds > 1 else drawn

    def __repr__(self) -> str:
        seeds = f"{self.seeds} seed{'s' * (self.seeds > 1)}"
        snapshots = f"{len(self.steps)} snapshot{'s' * (len(self.steps) > 1)}"
        shown = [name for name in (self.headline, "distance", *self.custom_metrics) if name in self.metrics]
        means = {printable(name): np.mean(self.metrics[name], -1) for name in shown}
        numbers = ", ".join(f"{name} {mean[0]:z.3f} -> {mean[-1]:z.3f}" for name, mean in means.items())
        ended = f"\n  diverged: {self.diverged}" if self.diverged else ""
        averaged = f" (means of {self.seeds} seeds)" if self.seeds > 1 else ""
        return (
            f"Run({self.method} on {self.environment.name}: {self.steps[-1]} updates, {snapshots}, {seeds})\n"
            f"  {numbers}{averaged}{ended}"
        )

    # ---- kept, drawn, printed ----

    def with_settings(self, **more: Any) -> Run:
        """Return the run with further settings noted, such as those of a script; its own come last."""
        return replace(self, settings={**more, **self.settings})

    def save(self, path: str | Path) -> Path:
        """Write it as JSON, complete or not at all (`training.files`).

        Raises:
            ValueError: if the path is a folder.
            OSError: if the file cannot be written.
        """
        return files.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read what `save` wrote.

        Raises:
            ValueError: if the file is no saved run, or its environment is not registered here.
        """
        return cls(**files.load(path, cls))

    def film(self, path: str | Path, *, theme: str = "light", seed: int | None = None, **options: Any) -> Path:
        """Draw it as a film (gif; mp4, webp with the extra [video]) or its last frame (png, pdf, svg), by the path's suffix.

        Args:
            path: where to write.
            theme: a name in `rendering.THEMES`.
            seed: the seed to draw, as for `drawing` (default: the one that it draws).
            options: view, size, transparent, poster, speed, as `rendering.formats.PictureOptions` has them.

        Raises:
            ValueError: for an unknown suffix, theme or view, an environment that has no map to draw, or a seed that it cannot
                draw.
        """
        return compare([self]).film(path, theme=theme, seed=seed, **options)

    def figure(
        self, path: str | Path, *, width: str = "column", theme: str = "light", seed: int | None = None, **choices: Any
    ) -> Path:
        """Draw it as a figure for a paper (pdf, svg, png), as wide as a "column" or a "page", with its caption for LaTeX.

        Args:
            path: where to write.
            width, theme: as for `rendering.save_figure`.
            seed: as for `film`.
            choices: stages, panels, font, usetex, transparent, as for `rendering.save_figure`.
        """
        return compare([self]).figure(path, width=width, theme=theme, seed=seed, **choices)

    def page(self, path: str | Path, *, seed: int | None = None) -> Path:
        """Write it into the alignment lab: one HTML file, no network; `seed` as for `film`."""
        return compare([self]).page(path, seed=seed)

    def table(self, width: int = 132) -> Table:
        """Return a table of where it ended; ``print`` shows it, so does a notebook."""
        return compare([self]).table(width)

    def _repr_html_(self) -> str:
        return compare([self])._repr_html_()

    def _repr_png_(self) -> bytes | None:
        return compare([self])._repr_png_()


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Runs on one environment side by side, at the same updates.

    Attributes:
        runs: one or more.
    """

    runs: tuple[Run, ...]

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("there are no runs; allowed: one or more")
        for run in self.runs:
            if not isinstance(run, Run):
                raise ValueError(f"a run is {run!r}; allowed: what train or Run.load returns")

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __len__(self) -> int:
        return len(self.runs)

    def _draw(self, function: str, *arguments: Any, seed: int | None = None, **options: Any) -> Any:
        """Call a function of `rendering`, which lies above and loads matplotlib, on the runs, drawing that seed of each."""
        runs = self.runs if seed is None else self.drawing(seed).runs
        return resolve(f"ift_gridworld.rendering.{function}")(runs, *arguments, **options)

    def drawing(self, seed: int) -> Comparison:
        """Return the comparison that draws another seed of each run (`Run.drawing`)."""
        return Comparison(tuple(run.drawing(seed) for run in self.runs))

    def film(self, path: str | Path, *, theme: str = "light", seed: int | None = None, **options: Any) -> Path:
        """Draw them in one film, by the path's suffix, as `Run.film`.

        Unless `seed` says otherwise, all draw one seed: theirs, where they draw the same, else the one that is typical of them
        together (`training.together`).
        """
        return self._draw("pictures:save_film", Path(path), theme, seed=seed, **options)

    def figure(
        self, path: str | Path, *, width: str = "column", theme: str = "light", seed: int | None = None, **choices: Any
    ) -> Path:
        """Draw them as one figure for a paper, as `Run.figure`; `seed` as for `film`."""
        return self._draw("paper:save_figure", Path(path), width, theme, seed=seed, **choices)

    def latex(self, path: str | Path) -> Path:
        """Write their table of results for LaTeX (package booktabs)."""
        return write_atomically(path, self._draw("caption:latex_table").encode())

    def page(self, path: str | Path, *, seed: int | None = None) -> Path:
        """Write them as one page, as `Run.page`; `seed` as for `film`."""
        return self._draw("page:save_page", Path(path), seed=seed)

    def table(self, width: int = 132) -> Table:
        """Return a table of where each ended, as `Run.table`."""
        return self._draw("tables:results", width)

    def __repr__(self) -> str:
        return "\n".join(["Comparison of", *(f"  {line}" for run in self.runs for line in repr(run).splitlines())])

    def _repr_html_(self) -> str:
        return self._draw("notebook:html_of")

    def _repr_png_(self) -> bytes | None:
        """The last frame of the film, in a notebook; None where there is no map to draw."""
        return None if self.runs[0].mdp.grid is None else self._draw("notebook:png_of")


def compare(runs: Sequence[Run]) -> Comparison:
    """Put runs on one environment side by side, to be drawn or printed together.

    Args:
        runs: in the order in which they are to stand.

    Raises:
        ValueError: if there are none, or they are not on one environment.

    >>> compare([])
    Traceback (most recent call last):
    ValueError: there are no runs; allowed: one or more
    """
    if isinstance(runs, Run):
        raise ValueError(f"runs is one Run, of {runs.method}; allowed: a list of runs")
    comparison = Comparison(tuple(runs))
    check_one_environment(comparison.runs)
    return comparison


def shared_metrics(runs: Sequence[Run]) -> list[str]:
    """Return the metrics that all runs have, in order."""
    return [name for name in runs[0].metrics if all(name in run.metrics for run in runs)]


def shared_custom_metrics(runs: Sequence[Run]) -> list[str]:
    """Return the metrics of a user's own that all runs have, in order."""
    return [name for name in shared_metrics(runs) if name in runs[0].custom_metrics]


def check_one_environment(runs: Sequence[Run], *, drawn: bool = False) -> None:
    """Raise a ValueError if the runs are not on one environment, or it has no map although it is to be drawn."""
    distinct: list[Run] = []
    for run in runs:
        if not any(_on_one_environment(run, other) for other in distinct):
            distinct.append(run)
    if len(distinct) > 1:
        raise ValueError(f"the runs are on {len(distinct)} environments; allowed side by side: runs on one")
    if drawn and runs[0].mdp.grid is None:
        raise ValueError(
            f"environment {runs[0].environment.name!r} has no map to draw; allowed: FrozenLake, CliffWalking, Taxi, or one "
            "that is registered with a layout"
        )


def _on_one_environment(one: Run, other: Run) -> bool:
    """Return whether two runs are on one environment: made in the same way, or else of the same arrays."""
    if one.environment != other.environment or one.environment.can_be_made:
        return one.environment == other.environment
    return all(np.array_equal(getattr(one.mdp, name), getattr(other.mdp, name)) for name in files.ARRAYS)
