"""One seed of a study of language models: its lakes, its base model, and every method aligned from there."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ift_gridworld.evaluation.selection import EXTENSIONS, best_key, search_values
from ift_gridworld.language.answers import Answers, SavedAnswers, answers_of
from ift_gridworld.language.base_model import train_or_load_base
from ift_gridworld.language.controls import find_method
from ift_gridworld.language.data import read_rows, tokenize_rows
from ift_gridworld.language.distributed import ProcessGroup
from ift_gridworld.language.estimation import bias, estimate_answers
from ift_gridworld.language.lake_film import choose_film_lake, film_run, move_probabilities
from ift_gridworld.language.metrics import measure
from ift_gridworld.language.models import SIZES, load_model
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy, eval_mode
from ift_gridworld.language.precision import bfloat16_agreement
from ift_gridworld.language.probes import Probes, entropy_at_temperatures, mean_entropy
from ift_gridworld.language.profiling import peak_flops, training_flops, utilisation
from ift_gridworld.language.saving import model_card, save_model
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.text import plain_completion, plain_prompt
from ift_gridworld.language.token_gradients import answer_log_probs, rows_of_common_length, token_pull
from ift_gridworld.language.training import Diverged, TrainingLog, align
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.imitation import IFT, SFT
from ift_gridworld.methods.options import MethodOptions, TrainingOptions
from ift_gridworld.rendering.text import short_title
from ift_gridworld.runtime import LOG, progress
from ift_gridworld.storage import make_folder, versions
from ift_gridworld.studies.language_settings import (
    StudySettings,
    betas_of,
    has_edge,
    method_settings,
    model_folder,
    needs_entropy,
    saved_settings,
)
from ift_gridworld.training.snapshots import snapshot_steps

__all__ = ["SeedStudy", "find_temperature"]

FRAMES = 40  # of a film
SEARCH_STEPS = 12  # of the bisection for a temperature
ROOM = 8  # tokens that a sampled answer may be longer than the longest in a file


class SeedStudy:
    """The lakes and the base model of one seed.

    Args:
        settings: the study.
        seed: the seed.
        group: processes that share the work.

    Raises:
        ValueError: if the lakes cannot be drawn, or their prompts are too long for the model.
    """

    def __init__(self, settings: StudySettings, seed: int, group: ProcessGroup) -> None:
        self.settings, self.seed, self.group = settings, seed, group
        self.dtype: torch.dtype = getattr(torch, settings.dtype)
        self.task = replace(settings.task, seed=seed)
        self.base, model_tokenizer, form = load_model(settings.model, seed=seed)
        self.base = self.base.to(group.device)
        self.base.first_pass = getattr(torch, settings.first_pass) if settings.first_pass else None
        self.tokenizer = MoveTokenizer(form, model_tokenizer)
        self.probes = {name: self.task.probes(name) for name in ("held_out", "validation")}
        lakes, paths = self.task.lakes["held_out"], self.task.paths["held_out"]
        longest = max(map(len, self.tokenizer.prompts(lakes)))
        if longest + self.task.limit > self.base.context:
            raise ValueError(
                f"--size is {self.task.size}: prompts of {longest} tokens and answers of up to {self.task.limit}, "
                f"for a model that reads {self.base.context}; allowed: smaller lakes, or a model for longer texts"
            )
        index = choose_film_lake(lakes)
        self.film_rows = " ".join(lakes.rows(index))
        self.film_lake, self.film_path = lakes[index : index + 1], paths[index]
        self.film_probes = Probes.of(self.film_lake, paths[index : index + 1])
        self._prepare_base()

    def _prepare_base(self) -> None:
        settings = self.settings
        if settings.model not in SIZES or not settings.base_steps:
            return
        for turn in range(2):  # the first process trains it, the others then load it
            if (self.group.rank > 0) == (turn > 0):
                with progress(f"base, seed {self.seed}") as report:
                    train_or_load_base(
                        self.task, self.base, self.tokenizer, model=settings.model, steps=settings.base_steps,
                        rows=settings.base_rows, peak=settings.base_rate, device=self.group.device, dtype=self.dtype,
                        progress=report,
                    )  # fmt: skip
            self.group.wait()

    @cached_property
    def held_out(self) -> TextSource:
        """Held-out lakes, on which a method's estimation of the model is asked for."""
        return self.task.source(self.tokenizer, "held_out", device=self.group.device)

    @cached_property
    def peak(self) -> float:
        """FLOPs a second that the devices of all processes are capable of."""
        return peak_flops(self.group.device, self.dtype) * self.group.processes

    def metrics(self, policy: LanguagePolicy, name: str = "held_out") -> dict[str, float]:
        """Return the metrics of a policy, means over the lakes of a set; metrics that no lake has are left out."""
        lakes, paths = self.task.lakes[name], self.task.paths[name]
        values = measure(policy, self.tokenizer, lakes, paths, probes=self.probes[name], limit=self.task.limit, seed=self.seed)
        return {m: float(x[x == x].mean()) for m, x in values.items() if (x == x).any()}

    def entropy(self, policy: LanguagePolicy) -> float:
        """Return the entropy of a policy's next word on validation lakes, in nats."""
        return mean_entropy(policy, self.tokenizer, self.task.lakes["validation"], self.probes["validation"])

    def align(self, name: str) -> dict[str, Any]:
        """Align the base by one method at every learning rate and beta, and beyond those whose edge is best; return the run
        with the best sampled success on validation lakes.

        Raises:
            Diverged: if the loss is infinite or NaN at every rate.
        """
        settings, betas = self.settings, betas_of(self.settings, name)
        limit = EXTENSIONS if settings.extend else 0
        trials = _Trials(self, name, several=len(settings.learning_rates) * max(1, len(betas)) > 1)
        if betas:
            of_beta = search_values(betas, lambda beta: trials.best_of(limit, beta), limit=limit)
        else:
            trials.best_of(limit)
        run, policy = trials.best()
        with eval_mode(policy):
            if needs_entropy(settings, name):
                run["entropy"] = self.entropy(policy)
            if issubclass(find_method(name)[0], IFT):
                assert self.held_out.demonstrations is not None
                run["bfloat16_agreement"] = bfloat16_agreement(policy, self.held_out.demonstrations, self.group.device)
            if settings.film and self.seed == settings.task.seed:
                run["answers"] = self._saved_answers(name, policy)
        run["validation"] = _by_name({rate: score for (rate, beta), score in trials.scores.items() if beta == run.get("beta")})
        if betas:
            run["validation_of_beta"] = _by_name(of_beta)
        if settings.save is not None and self.group.rank == 0:
            self._save_model(name, run, policy)
        return run | {"on_edge": has_edge(run)}

    def _save_model(self, name: str, run: dict[str, Any], policy: LanguagePolicy) -> None:
        """Save an aligned model with its tokenizer and a card."""
        form, lakes, path = self.tokenizer.form, self.task.lakes["held_out"], self.task.paths["held_out"][0]
        chosen = {key: run[key] for key in ("learning_rate", "beta", "seed") if key in run}
        card = model_card(
            short_title(find_method(name)[0].title), saved_settings(self.settings, name) | chosen, run["measured"][0],
            run["measured"][-1], prompt=plain_prompt(form, lakes.rows(0)), answer=plain_completion(form, path.tolist()),
            versions=versions(("transformers",)),
        )  # fmt: skip
        folder = model_folder(self.settings, name, self.seed)
        save_model(policy, self.tokenizer.model_tokenizer, folder, limit=self.task.limit, card=card)

    @cached_property
    def base_answers(self) -> Answers:
        """Answers of the base on each held-out lake."""
        return self._answers(self.base)

    def _answers(self, policy: LanguagePolicy) -> Answers:
        lakes, probes = self.task.lakes["held_out"], self.probes["held_out"]
        return answers_of(policy, self.tokenizer, lakes, probes, limit=self.task.limit, seed=self.seed)

    def _saved_answers(self, name: str, policy: LanguagePolicy) -> SavedAnswers:
        lakes = self.task.lakes["held_out"]
        rows = [lakes.rows(index) for index in range(len(lakes))]
        return SavedAnswers(
            method=name, seed=self.seed, rows=[" ".join(each) for each in rows],
            prompts=[plain_prompt(self.tokenizer.form, each) for each in rows],
            human=self.task.paths["held_out"].astype(int), base=self.base_answers, aligned=self._answers(policy),
        )  # fmt: skip

    def validation_success(self, policy: LanguagePolicy) -> float:
        """Return the sampled success of a policy on validation lakes, by which settings are chosen; one for all processes."""
        return self.group.of_first(self.metrics(policy, "validation")["sampled"] if self.group.rank == 0 else 0.0)

    def align_at(
        self, name: str, rate: float, beta: float | None = None, *, resume: bool = False
    ) -> tuple[dict[str, Any], LanguagePolicy]:
        """Align a copy of the base by one method at one learning rate.

        Args:
            name: the method.
            rate: highest learning rate.
            beta: the method's beta; None for that of the study's options.
            resume: resume from the checkpoint even if the study does not.

        Returns:
            The run as it is saved, and the policy.
        """
        settings = self.settings
        kind, _ = find_method(name)
        training, options = method_settings(settings, name, rate, beta)
        policy = copy.deepcopy(self.base)
        if settings.compile:
            policy.model.compile(dynamic=True)  # a compiled model cannot be copied
        setting = f"{rate:g}" if beta is None else f"{rate:g}-beta-{beta:g}"
        checkpoint = settings.out / "checkpoints" / f"{name}-{setting}-{self.seed}.safetensors"
        if self.group.rank == 0:
            make_folder(checkpoint.parent)
            if not (settings.resume or resume):
                checkpoint.unlink(missing_ok=True)
        self.group.wait()
        source, left_out = self._source(kind)
        with progress(f"{name}, rate {setting}, seed {self.seed}") as report:
            log = align(
                kind, source, policy, options=options, training=training,
                evaluate=self._evaluation(kind, options), every=settings.every,
                watch=self._watching(kind, source, options), watch_at=snapshot_steps(settings.steps, FRAMES),
                checkpoint=checkpoint, dtype=self.dtype, progress=report,
            )  # fmt: skip
        run: dict[str, Any] = {"method": name, "seed": self.seed, "learning_rate": rate, **asdict(log)}
        if beta is not None:
            run["beta"] = beta
        run["utilisation"] = utilisation(training_flops(policy, log.tokens, log.predicted), log.seconds, self.peak)
        if left_out:
            run["rows_left_out"] = left_out
        del run["watched"]
        if self.seed == settings.task.seed and log.watched:
            run |= self._pictured(kind, name, training, options, log)
        return run, policy

    def _evaluation(self, kind: type[Method[Any]], options: MethodOptions) -> Callable[[LanguagePolicy], dict[str, float]]:
        """Return what measures a policy in training: the metrics, and the bias of what the method assumes."""

        def evaluate(policy: LanguagePolicy) -> dict[str, float]:
            with eval_mode(policy):
                lakes = self.task.lakes["held_out"]
                estimates = estimate_answers(kind, self.held_out, policy, options, self.tokenizer, lakes, seed=self.seed)
            return self.metrics(policy) | {"bias": float(bias(*estimates).mean())}

        return evaluate

    def _watching(
        self, kind: type[Method[Any]], source: TextSource, options: MethodOptions
    ) -> Callable[[LanguagePolicy], dict[str, Any]] | None:
        """Return what looks at a policy in training: its moves on the film's lake, and the log-probs of some answers.

        Only what is drawn is computed: of the first seed, moves where there is a film, log-probs where a method imitates.
        """
        assert source.demonstrations is not None
        rows, film, imitates = rows_of_common_length(source.demonstrations), self.settings.film, issubclass(kind, SFT)
        if self.seed != self.settings.task.seed or not (film or imitates):
            return None

        def watch(policy: LanguagePolicy) -> dict[str, Any]:
            seen: dict[str, Any] = {}
            with eval_mode(policy):
                if film:
                    moves = move_probabilities(policy, self.tokenizer, self.film_lake, self.film_probes)
                    seen |= {"lake": self.film_rows, "moves": moves.round(6).tolist()}
                if imitates:
                    seen["logp"] = answer_log_probs(kind, source, policy, options, rows).round(6).tolist()
            return seen

        return watch

    def _pictured(
        self, kind: type[Method[Any]], name: str, training: TrainingOptions, options: MethodOptions, log: TrainingLog
    ) -> dict[str, Any]:
        """Return what figures and films show of a run."""
        run: dict[str, Any] = {}
        if issubclass(kind, SFT):
            logp = np.array([frame["seen"]["logp"] for frame in log.watched])
            run["pull"] = (token_pull(kind, options, logp).mean(1) * logp.shape[-1]).round(5).tolist()
            run["pull_at"] = [frame["step"] for frame in log.watched]
        # A checkpoint may have watched another lake, which an earlier version had chosen, or none, in a run without a film.
        filmed = all(frame["seen"].get("lake") == self.film_rows for frame in log.watched)
        if self.settings.film and not filmed:
            LOG.warning("%s is not filmed: the run that is resumed was not watched; allowed: --render without --resume", name)
        if self.settings.film and filmed:
            frames = [{"step": frame["step"], "seen": frame["seen"]["moves"]} for frame in log.watched]
            chosen = asdict(training) | asdict(options) | {"seed": self.seed}
            run["film"] = film_run(kind, name, chosen, self.film_lake, self.film_path, frames, log.loss, log.seconds)
        return run

    def _source(self, kind: type[Method[Any]]) -> tuple[TextSource, int]:
        """Return the data to align on, lakes or the rows of a file, and the number of rows that were too long."""
        settings, group, tokenizer = self.settings, self.group, self.tokenizer
        options: dict[str, Any] = {
            "rows": settings.batch, "device": group.device, "rank": group.rank, "processes": group.processes
        }  # fmt: skip
        if settings.data is None:
            return self.task.source(tokenizer, **options), 0
        rows = read_rows(settings.data, kind.needs)
        names = ("chosen", "rejected") if kind.needs == "pairs" else ("completion",)
        limit = self.base.context
        try:
            tokens = {name: tokenize_rows(rows, tokenizer.model_tokenizer, name, limit=limit) for name in names}
        except ValueError as error:
            raise ValueError(f"{settings.data}: {error}") from error
        first, left_out = tokens[names[0]]
        if not len(first):
            raise ValueError(f"{settings.data}: every row is longer than the model's {limit} tokens; allowed: shorter ones")
        longest = int((first.length - first.prompt).max()) + ROOM
        rejected = tokens["rejected"][0] if "rejected" in tokens else None
        source = TextSource(first, first, rejected, end=tokenizer.end, limit=longest, seed=self.seed, **options)
        return source, left_out

    def temper(self, sft: dict[str, Any], ift: dict[str, Any]) -> dict[str, Any]:
        """Return the run of SFT measured at the temperature at which its entropy is that of IFT.

        What this gains, too, is not learned.

        Args:
            sft, ift: runs of SFT and of IFT on this seed.
        """
        _, policy = self.align_at("sft", sft["learning_rate"], resume=True)  # it is trained, and is only read again

        lakes, probes = self.task.lakes["validation"], self.probes["validation"]
        entropy = entropy_at_temperatures(policy, self.tokenizer, lakes, probes)
        policy.temperature = find_temperature(entropy, ift["entropy"])
        last = {"step": self.settings.steps, **self.metrics(policy)}
        changes = {
            "method": "sft_tempered", "temperature": policy.temperature, "measured": [*sft["measured"][:1], last]
        }  # fmt: skip
        return {key: value for key, value in sft.items() if key not in ("pull", "pull_at", "film", "answers")} | changes


def find_temperature(entropy: Callable[[float], float], target: float) -> float:
    """Return the temperature at which an entropy, which rises with it, is the target, by bisection of its logarithm.

    >>> round(find_temperature(lambda temperature: 2 * temperature, 3.0), 2)
    1.5

    Args:
        entropy: entropy at a temperature.
        target: the entropy that is wanted; outside what [0.2, 5] reaches the result is the nearer end.
    """
    low, high = 0.2, 5.0
    for _ in range(SEARCH_STEPS):
        temperature = (low * high) ** 0.5
        if entropy(temperature) < target:
            low = temperature
        else:
            high = temperature
    return temperature


class _Trials:
    """Runs of one method at several settings, of which the best on validation lakes is kept, the first of several.

    Args:
        study: the seed's study.
        name: the method.
        several: whether there is more than one setting; one alone is not measured on validation lakes.

    Attributes:
        scores: score of each learning rate and beta (None: the study's own) so far; None for a run that diverged.
    """

    def __init__(self, study: SeedStudy, name: str, *, several: bool) -> None:
        self.study, self.name, self.several = study, name, several
        self.scores: dict[tuple[float, float | None], float | None] = {}
        self._best: tuple[dict[str, Any], LanguagePolicy] | None = None
        self._error: Diverged | None = None

    def best_of(self, limit: int, beta: float | None = None) -> float | None:
        """Try every learning rate, and up to `limit` beyond either end, at one beta; return the best score."""
        rates = self.study.settings.learning_rates
        scores = search_values(rates, lambda rate: self._score(rate, beta), limit=limit)
        return scores[best_key(scores, higher_is_better=True)]

    def _score(self, rate: float, beta: float | None) -> float | None:
        self.scores[rate, beta] = None
        try:
            run, policy = self.study.align_at(self.name, rate, beta)
        except Diverged as error:
            self._error = error
            return None
        success = self.study.validation_success(policy) if self.several else 0.0
        self.scores[rate, beta] = success
        if best_key(self.scores, higher_is_better=True) == (rate, beta):
            self._best = run, policy
        return success

    def best(self) -> tuple[dict[str, Any], LanguagePolicy]:
        """Return the best run and its policy.

        Raises:
            Diverged: if every run has diverged.
        """
        if self._best is None:
            assert self._error is not None
            raise self._error
        return self._best


def _by_name(scores: Mapping[float, float | None]) -> dict[str, float | None]:
    """Return scores by the written value of their setting, in its order."""
    return {f"{value:g}": scores[value] for value in sorted(scores)}
