"""The study's questions, and each method's answer: an effect with its interval, corrected for the number of comparisons.

Each question is about one measure. A method is compared with one other, on the same lakes, bases and data, lake by lake. The
effect under a condition is the mean difference over lakes, with Student's interval; the headline is that of the centre, both
dynamics together, and the share is that of all conditions in which the difference has the headline's sign. p-values of one
question are corrected for the number of methods by Benjamini and Hochberg; "clear" is what is left below 5 % of false
discoveries. There is no grand total: questions differ, and so do the methods that answer them best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ift_gridworld.evaluation.statistics import Effect, false_discovery_rates, mean_interval, paired_effect
from ift_gridworld.methods.registry import METHODS, family_of
from ift_gridworld.studies.frontier.conditions import Condition
from ift_gridworld.studies.tables import Columns

__all__ = ["QUESTIONS", "Answer", "Question", "StudyTable", "answer_question", "answer_questions", "share_of_gain"]

FALSE_DISCOVERIES = 0.05
LEAST_LIKELY = -1000.0  # nats
LEAST = 1e-6  # a mean difference below it is none: neither sign counts

Values = dict[tuple[str, int], float]
"""A measure of one method under one condition, by lake and seed."""


class StudyTable:
    """The rows of the study, by condition and method."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._rows: dict[tuple[str, str], list[int]] = {}
        for i, key in enumerate(zip(columns["condition"], columns["method"], strict=True)):
            self._rows.setdefault(key, []).append(i)
        self.conditions = list(dict.fromkeys(condition for condition, _ in self._rows))

    def methods(self, condition: str) -> list[str]:
        """Return the methods that ran under a condition, the base left out."""
        return [method for name, method in self._rows if name == condition and method != "base"]

    def values(self, condition: str, method: str, measure: str) -> Values:
        """Return a measure by lake and seed; empty where the method did not run under the condition."""
        rows = self._rows.get((condition, method), [])
        names = zip(self.columns["lake"][rows], self.columns["seed"][rows], strict=True)
        return {
            (str(lake), int(seed)): float(value) for (lake, seed), value in zip(names, self.columns[measure][rows], strict=True)
        }


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        key: short name.
        title: the question in words.
        measure: what the answer is measured by, in words.
        higher_is_better: direction of the measure.
        value: of a table, a condition and a method, the measure by lake and seed.
        against: the method that another one is compared with; "base" for the base policy.
        concerns: whether a method is asked.
        condition: whether a condition counts.
    """

    key: str
    title: str
    measure: str
    higher_is_better: bool
    value: Callable[[StudyTable, str, str], Values]
    against: Callable[[str], str]
    concerns: Callable[[str], bool] = lambda method: True
    condition: Callable[[Condition], bool] = lambda condition: not condition.flipped


def _plain(measure: str) -> Callable[[StudyTable, str, str], Values]:
    return lambda table, condition, method: table.values(condition, method, measure)


def _likelihood(table: StudyTable, condition: str, method: str) -> Values:
    """Log-likelihood of the chosen answers in nats, at least `LEAST_LIKELY`: a probability may round to 0."""
    values = table.values(condition, method, "chosen_logp")
    return {key: float(np.maximum(value, LEAST_LIKELY)) for key, value in values.items()}  # NaN stays


def share_of_gain(table: StudyTable, condition: str, method: str) -> Values:
    """Frontier gap as a share of what there is to gain on the lake (best return less the base's); 0 where that is nothing."""
    gap = table.values(condition, method, "frontier_gap")
    to_gain = table.values(condition, "base", "regret")
    return {key: gap[key] / to_gain[key] if to_gain[key] > LEAST else 0.0 for key in gap}


def _harm_of_wrong_labels(table: StudyTable, condition: str, method: str) -> Values:
    """Regret less that of the same method under the same condition without wrong labels."""
    parsed = Condition.parse(condition)
    clean = table.values(replace(parsed, flipped=0.0).name, method, "regret")
    flipped = table.values(condition, method, "regret")
    return {key: flipped[key] - clean[key] for key in flipped if key in clean}


def _is_taught_by_pairs(method: str) -> bool:
    return family_of(method) in ("pairs", "unpaired")


# Methods that learn from nothing but SFT's demonstrations, and those that walk, each beside the one that does not.
DEMONSTRATIONS_ALONE = ("ift", "dft", "asft", "scheduled", "neftune")
WITHOUT_WALKING = {
    "dagger": "sft", "distill": "sft", "hpt": "sft", "luffy": "sft", "dpo_online": "dpo", "dpo_judged": "dpo", "spin": "dpo",
    **dict.fromkeys(("ppo", "grpo", "reinforce", "rloo", "dr_grpo", "dapo", "gspo", "cispo", "sapo"), "dpo"),
}  # fmt: skip

QUESTIONS = (
    Question(
        "recovery", "Who leaves the demonstrated path right?", "success from every tile, difference to SFT", True,
        _plain("success_any_tile"), lambda method: "sft", lambda method: method != "sft",
    ),
    Question(
        "likelihood", "Who keeps the chosen answer's likelihood?", "log-likelihood of chosen answers, less the base's", True,
        _likelihood, lambda method: "base",
    ),
    Question(
        "mislabelled", "Who does best where labels are wrong?", "regret with wrong labels, difference to DPO", False,
        _plain("regret"), lambda method: "dpo", lambda method: _is_taught_by_pairs(method) and method != "dpo",
        lambda condition: condition.flipped > 0,
    ),
    Question(
        "labels", "Who withstands wrong labels?", "regret that wrong labels add, difference to DPO", False,
        _harm_of_wrong_labels, lambda method: "dpo", lambda method: _is_taught_by_pairs(method) and method != "dpo",
        lambda condition: condition.flipped > 0,
    ),
    Question(
        "frontier", "Who is nearest to the frontier at its KL?",
        "frontier gap as a share of what there is to gain, difference to SFT", False, share_of_gain, lambda method: "sft",
        lambda method: method != "sft",
    ),
    Question(
        "demonstrations", "Does any method beat SFT with SFT's data alone?", "regret, difference to SFT", False,
        _plain("regret"), lambda method: "sft", lambda method: method in DEMONSTRATIONS_ALONE,
    ),
    Question(
        "walking", "What is on-policy data worth?", "regret, difference to SFT or DPO, which do not walk", False,
        _plain("regret"), lambda method: WITHOUT_WALKING[method], lambda method: method in WITHOUT_WALKING,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """A method's answer to a question.

    Attributes:
        method, against: the methods that are compared.
        mean: of the method's own values under the headline's conditions, with its interval.
        effect: the difference, over the lakes of the headline's conditions.
        rate: the p-value of the effect, corrected for the number of methods.
        share: share of the conditions in which the difference has the effect's sign.
        conditions: number of them.
        diverged: number of the headline's policies that diverged, which are left out.
    """

    method: str
    against: str
    mean: tuple[float, float, float]
    effect: Effect
    rate: float
    share: float
    conditions: int
    diverged: int

    @property
    def is_clear(self) -> bool:
        """Whether the effect is left when corrected for the number of comparisons."""
        return bool(self.rate < FALSE_DISCOVERIES)


def answer_question(table: StudyTable, question: Question) -> list[Answer]:
    """Return the answers of all methods that a question concerns, the best first by their mean."""
    asked = [method for method in METHODS if question.concerns(method)]
    conditions = [name for name in table.conditions if question.condition(Condition.parse(name))]
    answers = []
    for method in asked:
        differences = {name: _difference(table, question, name, method) for name in conditions}
        differences = {name: values for name, values in differences.items() if len(values)}
        headline = [name for name in differences if Condition.parse(name).is_headline]
        if not headline:
            continue
        effect = paired_effect(np.concatenate([differences[name] for name in headline]))
        own = [question.value(table, name, method) for name in headline]
        sound = np.array([x for values in own for x in values.values() if np.isfinite(x)])
        diverged = sum(map(len, own)) - len(sound)
        mean, low, high = mean_interval(sound) if len(sound) else (np.nan,) * 3
        signs = [np.sign(_rounded(values.mean())) for values in differences.values() if np.isfinite(values).all()]
        share = float(np.mean([sign == np.sign(_rounded(effect.value)) for sign in signs])) if signs else np.nan
        mean_of_own = float(mean), float(low), float(high)
        answers.append(Answer(method, question.against(method), mean_of_own, effect, np.nan, share, len(differences), diverged))
    rates = false_discovery_rates([answer.effect.p for answer in answers])
    direction = -1 if question.higher_is_better else 1
    corrected = [replace(answer, rate=float(rate)) for answer, rate in zip(answers, rates, strict=True)]
    return sorted(corrected, key=lambda answer: (np.isnan(answer.mean[0]), direction * answer.mean[0]))


def answer_questions(table: StudyTable) -> dict[str, list[Answer]]:
    """Return the answers to all questions, by the questions' keys."""
    return {question.key: answer_question(table, question) for question in QUESTIONS}


def _rounded(value: float) -> float:
    return 0.0 if abs(value) < LEAST else float(value)


def _difference(table: StudyTable, question: Question, condition: str, method: str) -> Float[np.ndarray, "L N"]:
    """Return the method's values less those of the one it is compared with, for each lake and seed that both have."""
    first = question.value(table, condition, method)
    second = question.value(table, condition, question.against(method))
    keys = [key for key in first if key in second]
    lakes = list(dict.fromkeys(lake for lake, _ in keys))
    seeds = sorted({seed for _, seed in keys})
    return np.array([[first[lake, seed] - second[lake, seed] for seed in seeds] for lake in lakes]).reshape(
        len(lakes), len(seeds)
    )
