"""The loop that trains a language model by any method, and can be stopped and resumed at any update."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import torch
from jaxtyping import Int
from torch import Tensor

from ift_gridworld.language.checkpoints import Checkpoint, weights_hash
from ift_gridworld.language.distributed import average_gradients, sum_over_processes
from ift_gridworld.language.policy import LanguagePolicy, model_settings
from ift_gridworld.language.precision import autocast
from ift_gridworld.language.profiling import PeakMemory
from ift_gridworld.language.source import TextSource
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.options import MethodOptions, TrainingOptions
from ift_gridworld.methods.registry import name_of
from ift_gridworld.optimisation import descend
from ift_gridworld.reading import Limits, MaybeNaN

__all__ = ["Diverged", "TrainingLog", "align", "count_tokens", "learning_rate"]

WARMUP_SHARE = 0.05  # share of the updates over which the learning rate rises
MAX_GRAD_NORM = 1.0  # unless the method has its own
READ_EVERY = 25  # updates, at most, after which losses are read: reading one waits for the device
UNTIMED = 3  # first updates, in which devices and compilers get ready


class Diverged(ValueError):
    """A loss is infinite or NaN."""


@dataclass
class TrainingLog:
    """What a run leaves, and what a checkpoint keeps of it.

    Attributes:
        loss: loss of every update, mean over the rows of all processes.
        measured: results of `evaluate` at some updates: {"step": …, metric: …}.
        watched: results of `watch` at some updates: {"step": …, "seen": …}.
        timed: number of timed updates: all but the first few, in which devices and compilers get ready.
        seconds: duration of the timed updates.
        tokens: number of tokens that the timed updates have read, padding left out.
        predicted: number of those that belong to answers.
        memory: peak memory of updates in bytes, 0 where it is not known (`profiling.PeakMemory`).
    """

    loss: list[float] = field(default_factory=list)
    measured: list[dict[str, MaybeNaN]] = field(default_factory=list)
    watched: list[dict[str, Any]] = field(default_factory=list)
    timed: int = 0
    seconds: float = 0.0
    tokens: int = 0
    predicted: int = 0
    memory: int = 0


@dataclass(frozen=True)
class _Progress:
    """Progress of a run beside a checkpoint's tensors: updates done, batches of prompts and draws of rollouts, and the log."""

    step: Annotated[int, Limits(0)]
    walked: Annotated[int, Limits(0)]
    drawn: Annotated[int, Limits(0)]
    curve: TrainingLog


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the learning rate of an update: it rises over the first updates, then falls to 0 in a straight line.

    >>> [learning_rate(step, 100, peak=1.0) for step in (0, 4, 5)]
    [0.2, 1.0, 1.0]

    Args:
        step: number of the update, from 0.
        steps: number of updates.
        peak: highest rate.
    """
    warmup = max(1, round(WARMUP_SHARE * steps))
    return peak * min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))


def align(
    method: str | type[Method[Any]],
    source: TextSource,
    policy: LanguagePolicy,
    *,
    options: MethodOptions | None = None,
    training: TrainingOptions | None = None,
    evaluate: Callable[[LanguagePolicy], dict[str, float]] | None = None,
    every: int = 0,
    watch: Callable[[LanguagePolicy], Any] | None = None,
    watch_at: Collection[int] = (),
    checkpoint: Path | None = None,
    keep_every: int = 100,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingLog:
    """Train a policy in place, on one process or on several, each of which sees its share of every update's rows.

    Args:
        method: a name in METHODS, or a subclass of `methods.Method`.
        source: the data.
        policy: the base policy; its copy is the reference policy.
        options: options of the method (default: the method's defaults).
        training: number of updates and highest learning rate.
        evaluate: measures the policy before the first update, after every `every` updates and after the last.
        every: number of updates between two measurements; 0 measures only before and after training.
        watch: looks at the policy after each of the updates `watch_at`; its result must be plain enough for JSON.
        watch_at: updates at which `watch` is called; 0 is the base policy.
        checkpoint: file that the run's state is kept in; if it exists, the run resumes from it.
        keep_every: number of updates between two checkpoints.
        dtype: bfloat16 runs the model in it, with float32 parameters.
        progress: called with (updates done, updates in all).

    Raises:
        Diverged: if a loss is infinite or NaN.
        ValueError: if the checkpoint is of another run or cannot be read.

    Example::

        source = Task(maps=200).source(tokenizer, rows=16)
        log = align("ift", source, policy, training=TrainingOptions(steps=100, learning_rate=1e-3))
    """
    _, kind = name_of(method)
    training = kind.resolved(training or TrainingOptions(), policy)
    assert training.steps is not None
    assert training.learning_rate is not None
    with model_settings(policy):
        learner = kind(source, policy, options)
        hooks = _Hooks(evaluate, every, watch, watch_at, progress)
        run = _TrainingRun(learner, source, policy, training.steps, training.learning_rate, dtype, hooks)
        if checkpoint is not None:
            settings = asdict(training) | asdict(learner.options)
            about = {"method": kind.__name__, "settings": settings, "rows": source.rows, "seed": source.seed}
            about |= {"precision": [str(dtype), str(policy.first_pass)]}
            about |= {"base": weights_hash(policy), "data": source.fingerprint}
            # Rollouts are not kept: a checkpoint falls between two batches of them.
            multiple = learner.renewal or training.steps
            run.keep(Checkpoint(checkpoint, about), -(-keep_every // multiple) * multiple)
        run.train()
    return run.log


@dataclass(frozen=True)
class _Hooks:
    """What is called while a policy trains (`align` has their meaning)."""

    evaluate: Callable[[LanguagePolicy], dict[str, float]] | None
    every: int
    watch: Callable[[LanguagePolicy], Any] | None
    watch_at: Collection[int]
    progress: Callable[[int, int], None] | None


class _TrainingRun:
    """One run of `align`: the optimiser, the log, and the number of updates done."""

    def __init__(
        self,
        learner: Method[Any],
        source: TextSource,
        policy: LanguagePolicy,
        steps: int,
        peak: float,
        dtype: torch.dtype,
        hooks: _Hooks,
    ) -> None:
        self.learner, self.source, self.policy, self.hooks = learner, source, policy, hooks
        self.steps, self.peak, self.dtype = steps, peak, dtype
        self.parameters = [p for p in learner.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=peak, betas=(0.9, 0.95), weight_decay=0.0)
        self.balances = isinstance(policy, LanguagePolicy) and policy.calls.balances > 0
        self.log, self.done = TrainingLog(), 0
        self.pending: list[tuple[Tensor, Tensor]] = []  # losses and token counts that the device may still work on
        self.checkpoint: Checkpoint | None = None
        self.keep_every = 0

    def keep(self, checkpoint: Checkpoint, every: int) -> None:
        """Keep checkpoints from now on; resume from the file if it exists."""
        self.checkpoint, self.keep_every = checkpoint, every
        if checkpoint.path.exists():
            progress = checkpoint.restore(self.optimiser, _Progress)
            self.source.prompt_batches, self.source.draws = progress["walked"], progress["drawn"]
            self.log, self.done = TrainingLog(**progress["curve"]), progress["step"]

    def train(self) -> None:
        """Make the updates that are left."""
        if self.done == 0:
            self._evaluate()
            if 0 in self.hooks.watch_at:
                self._watch()
        self.policy.eval()  # dropout would make a run depend on where it was resumed, and PPO's first ratios differ from 1
        self._restart_clock()
        for step, loss in descend(self._losses, self._step, range(self.done, self.steps)):
            self.pending.append((loss, self.tokens))
            self.done = step + 1
            self._after_update()
        self._evaluate()
        self._save()

    def _losses(self, step: int) -> Tensor:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.steps, self.peak)
        with autocast(self.dtype, self.source.device):
            batch = self.learner.batch(step)
            self.tokens = count_tokens(batch)
            loss = self.learner.loss(batch).sum()
            return loss + self.policy.auxiliary_loss() if self.balances else loss

    def _step(self) -> None:
        average_gradients(self.parameters, self.source.processes)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.learner.max_grad_norm or MAX_GRAD_NORM)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)

    def _after_update(self) -> None:
        hooks, done = self.hooks, self.done
        watch = hooks.watch is not None and done in hooks.watch_at
        evaluate = bool(hooks.every) and done % hooks.every == 0
        save = self.checkpoint is not None and done % self.keep_every == 0 and done < self.steps
        if watch or evaluate or save or done in (UNTIMED, self.steps) or len(self.pending) == READ_EVERY:
            self._read_losses()
            if watch:
                self._watch()
            if evaluate:
                self._evaluate()
            if save:
                self._save()
            self._restart_clock()
        if hooks.progress is not None:
            hooks.progress(done, self.steps)

    def _restart_clock(self) -> None:
        """Measure time and memory from here on, so that those of evaluation are not counted."""
        self.memory, self.began = PeakMemory(self.source.device), time.perf_counter()

    def _read_losses(self) -> None:
        """Wait for the device, and log the losses of the pending updates."""
        log = self.log
        losses, tokens = (sum_over_processes(torch.stack(x), self.source.processes) for x in zip(*self.pending, strict=True))
        if len(log.loss) >= min(UNTIMED, self.steps - 1):
            log.timed += len(self.pending)
            log.tokens, log.predicted = log.tokens + int(tokens[:, 0].sum()), log.predicted + int(tokens[:, 1].sum())
            log.seconds += time.perf_counter() - self.began
        self.pending.clear()
        for loss in (losses / self.source.processes).tolist():
            if not math.isfinite(loss):
                update = len(log.loss)
                raise Diverged(f"the loss is {loss} at update {update}; allowed: a lower learning rate than {self.peak}")
            log.loss.append(loss)
        log.memory = max(log.memory, self.memory.read())

    def _evaluate(self) -> None:
        evaluate, measured = self.hooks.evaluate, self.log.measured
        if evaluate is not None and self.source.rank == 0 and not any(m["step"] == self.done for m in measured):
            measured.append({"step": self.done, **evaluate(self.policy)})

    def _watch(self) -> None:
        if self.hooks.watch is not None and self.source.rank == 0:
            self.log.watched.append({"step": self.done, "seen": self.hooks.watch(self.policy)})

    def _save(self) -> None:
        if self.checkpoint is not None and self.source.rank == 0:
            counters = {"walked": self.source.prompt_batches, "drawn": self.source.draws}
            self.checkpoint.save(self.optimiser, {"step": self.done, **counters, "curve": asdict(self.log)})


def count_tokens(batch: Any) -> Int[Tensor, " 2"]:
    """Return the number of tokens of a batch, prompts included, and the number of those that are predicted.

    Args:
        batch: steps, a pair of them, or rollouts.
    """
    if isinstance(batch, tuple):
        return torch.stack([count_tokens(side) for side in batch]).sum(0)
    batch = getattr(batch, "batch", getattr(batch, "steps", batch))
    last = batch.mask * torch.arange(1, batch.mask.shape[-1] + 1, device=batch.mask.device)
    return torch.stack([last.amax(-1).sum(), batch.mask.sum()])
