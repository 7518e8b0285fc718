"""Title of a comparison: how often episodes take the demonstrated path, or reach the goal, in computed words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Int

from ift_gridworld.rendering.numbers import percent, plain_number, small_probability
from ift_gridworld.rendering.text import short_title
from ift_gridworld.training.run import Run
from ift_gridworld.training.together import shared_headline

__all__ = ["LIKELIHOODS", "Outcomes"]

LIKELIHOODS = ("chosen_logp", "rejected_logp")
HIGH = 0.9  # a share of episodes from which on methods are counted together where there are many
MOST_GROUPS = 3  # numbers in one sentence
LEAST_FALL = 0.05  # from its largest value, that is worth saying


class Outcomes:
    """Outcomes of runs on one environment, for the drawn seed of each.

    Where nothing is random and there is one pair of answers, the probability of a path is the share of episodes that take it.
    Elsewhere the headline of the runs, success or regret, says more.

    Args:
        runs: on one environment.

    Attributes:
        names: short titles of the methods, in the order of the runs.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = list(runs)
        self.names = [short_title(run.title) for run in runs]

    @cached_property
    def tells_paths(self) -> bool:
        """True if the share of episodes that take the demonstrated path, and the rejected one, is known of every run."""
        return (
            self.runs[0].mdp.is_deterministic
            and all(name in run.metrics for run in self.runs for name in LIKELIHOODS)
            and all(_is_path(run, run.demonstration, "chosen_logp") for run in self.runs)
            and len(self.rejected) > 0
        )

    @cached_property
    def rejected(self) -> Int[np.ndarray, "R 2"]:
        """The (state, action) steps of the rejected path if all runs measure the same one; else none."""
        paths = [run.rejected for run in self.runs if len(run.rejected)]
        if paths and all(_is_path(run, paths[0], "rejected_logp") for run in self.runs):
            return paths[0]
        return np.zeros((0, 2), int)

    @property
    def sentences(self) -> str:
        """One or two sentences on the outcome, in numbers of the drawn seeds."""
        if self.tells_paths:
            return f"{self._chosen} {self._drained}"
        headline = shared_headline(self.runs)
        ends = [float(run.of_drawn(headline)[-1]) for run in self.runs]
        if headline == "success":
            return f"{self.lead} {self._shares(ends, 'reach', 'the goal')}."
        return f"{self.lead} the return falls short of the optimal one by {self.listed(ends, plain_number)}."

    @property
    def lead(self) -> str:
        """First words of a sentence: the number of updates, if all runs have the same."""
        ends = {int(run.steps[-1]) for run in self.runs}
        return f"After {ends.pop()} updates," if len(ends) == 1 else "After training,"

    @property
    def lengths(self) -> list[str]:
        """A phrase on the number of updates that each method was trained for, where they differ."""
        ends: dict[int, list[str]] = {}
        for name, run in zip(self.names, self.runs, strict=True):
            ends.setdefault(int(run.steps[-1]), []).append(name)
        if len(ends) == 1:
            return []
        *few, most = sorted(ends, key=lambda end: len(ends[end]))
        parts = [f"{', '.join(ends[end])} {end} updates" for end in few]
        return [f"{', '.join(parts)}, {'others' if len(ends[most]) > 1 else ends[most][0]} {most}"]

    @property
    def _chosen(self) -> str:
        """A sentence on the share of episodes on the demonstrated path, and on its maximum where that was clearly more."""
        courses = [np.exp(run.of_drawn("chosen_logp")) for run in self.runs]
        notes = {}
        for name, run, course in zip(self.names, self.runs, courses, strict=True):
            best = int(course.argmax())
            if course[best] - course[-1] >= LEAST_FALL:
                notes[name] = f"{percent(course[best])} at update {run.steps[best]}"
        shares = self._shares([float(course[-1]) for course in courses], "take", "the demonstrated path", notes)
        return f"{self.lead} {shares}."

    @property
    def _drained(self) -> str:
        """A sentence on the probability of the rejected path."""
        ends = [float(np.exp(run.of_drawn("rejected_logp")[-1])) for run in self.runs]
        begins = [float(np.exp(run.of_drawn("rejected_logp")[0])) for run in self.runs]
        verb = "falls" if max(e - b for e, b in zip(ends, begins, strict=True)) < 0 else "goes"
        first = sorted({small_probability(begin) for begin in begins}, reverse=True)
        listed = self.listed(ends, small_probability)
        return f"The probability of the rejected path {verb} from {' or '.join(first)} to {listed}."

    def listed(self, numbers: Sequence[float], write: Callable[[float], str]) -> str:
        """Return numbers with the methods that each is of, or the smallest and the largest where there are many.

        Args:
            numbers: one of each run.
            write: how a number is written.
        """
        groups = _grouped(zip(self.names, numbers, strict=True), write)
        if len(groups) == 1:
            return next(iter(groups)) + (" with all of them" if len(self.names) > 1 else "")
        if len(groups) > MOST_GROUPS:
            ends = list(groups.items())
            (least, few), (most, many) = ends[-1], ends[0]
            return f"between {least} ({_few(few)}) and {most} ({_few(many)})"
        return _and([f"{number} ({', '.join(names)})" for number, names in groups.items()])

    def _shares(self, ends: list[float], verb: str, what: str, notes: dict[str, str] | None = None) -> str:
        """Return "SFT and IFT VERB WHAT in 98 % of episodes, DPO in 12 %"."""
        notes = notes or {}
        groups = list(_grouped(zip(self.names, ends, strict=True), lambda x: _in_words(percent(x))).items())
        if len(groups) > MOST_GROUPS or len(self.names) > 6:
            high = sum(end >= HIGH for end in ends)
            worst = int(np.argmin(ends))
            rest = f"{self.names[worst]} in {_in_words(percent(ends[worst]))}" + _note(notes.get(self.names[worst]))
            if high < 2 or high == len(ends):
                best = int(np.argmax(ends))
                return f"{self.names[best]} {_of_one(verb)} {what} in {_in_words(percent(ends[best]))} of episodes, {rest}"
            return f"{high} of {len(ends)} methods {verb} {what} in at least {percent(HIGH)} of episodes, {rest}"
        (share, names), *others = groups
        text = f"{_and(names)} {_of_one(verb) if len(names) == 1 else verb} {what} in {share} of episodes"
        parts = [text + _note(_shared(notes, names))]
        parts += [f"{_and(names)} in {share}{_note(_shared(notes, names))}" for share, names in others]
        return ", ".join(parts)


def _is_path(run: Run, steps: Int[np.ndarray, "n 2"], metric: str) -> bool:
    """Return whether a run's metric is the log-probability of this one path; it may be a mean over several."""
    if not len(steps):
        return False
    probability = run.snapshots[:, steps[:, 0], steps[:, 1]]
    logp = np.log(np.maximum(probability, np.finfo(float).tiny)).sum(-1)
    return bool(np.allclose(logp, run.of_drawn(metric), rtol=0.02, atol=0.02))


def _grouped(values: Iterable[tuple[str, float]], write: Callable[[float], str]) -> dict[str, list[str]]:
    """Return the names by what their numbers are written as, from the largest number down; names stay in their order."""
    groups: dict[str, list[tuple[str, float]]] = {}
    for name, value in values:
        groups.setdefault(write(value), []).append((name, value))
    largest = sorted(groups, key=lambda words: -max(value for _, value in groups[words]))
    return {words: [name for name, _ in groups[words]] for words in largest}


def _of_one(verb: str) -> str:
    return f"{verb}es" if verb.endswith("ch") else f"{verb}s"


def _in_words(share: str) -> str:
    return share.replace(">", "over ").replace("<", "under ")


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= MOST_GROUPS else f"{names[0]} and {len(names) - 1} others"


def _note(words: str | None) -> str:
    return f" ({words})" if words else ""


def _shared(notes: dict[str, str], names: Sequence[str]) -> str | None:
    """The note of one method that has a group to itself."""
    return notes.get(names[0]) if len(names) == 1 else None
