"""The loop that trains a language model by any method, and can be killed and resumed at any update."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ift_gridworld.language.costs import PeakMemory
from ift_gridworld.language.models import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.on_policy import OnPolicy
from ift_gridworld.methods.options import Settings
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.storage import write_atomically

WARM = 0.05  # share of the updates over which the learning rate rises
MAX_NORM = 1.0  # of the gradient
UNTIL_READ = 25  # updates, at most, after which losses are read: to read one is to wait for the device
UNTIMED = 3  # updates that get a device, or a compiler, ready


class Diverged(ValueError):
    """A loss is no number any more."""


@dataclass
class Curve:
    """What a run leaves, and what a checkpoint keeps of it.

    Attributes:
        loss: of every update, mean over all processes' rows.
        measured: at some updates, what `evaluate` said: {"step": …, measure: …}.
        watched: likewise what `watch` saw: {"step": …, "seen": …}.
        timed: updates that were timed: all but the first few, in which devices and compilers get ready.
        seconds: that these took.
        tokens, predicted: that they have read, padding left out; and those of them that belong to answers.
        memory: bytes that were held at most during updates, 0 where that is not known (`costs.PeakMemory`).
    """

    loss: list[float] = field(default_factory=list)
    measured: list[dict[str, float]] = field(default_factory=list)
    watched: list[dict[str, Any]] = field(default_factory=list)
    timed: int = 0
    seconds: float = 0.0
    tokens: int = 0
    predicted: int = 0
    memory: int = 0


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Rises over the first updates, then falls to 0 in a straight line."""
    warm = max(1, round(WARM * steps))
    return peak * min((step + 1) / warm, (steps - step) / max(1, steps - warm))


def align(
    method: str | type[Method],
    source: TextSource,
    policy: LanguagePolicy,
    *,
    settings: Settings | None = None,
    evaluate: Callable[[LanguagePolicy], dict[str, float]] | None = None,
    every: int = 0,
    watch: Callable[[LanguagePolicy], Any] | None = None,
    watch_at: Collection[int] = (),
    checkpoint: Path | None = None,
    keep_every: int = 100,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] | None = None,
) -> Curve:
    """Train a policy in place; on several processes at once, each of which sees its share of every update's rows.

    Args:
        method: a name in METHODS, or a subclass of `methods.Method`.
        source: the data.
        policy: the base; its copy is the reference.
        settings: all knobs; `steps` and `learning_rate` are the loop's.
        evaluate: measures the policy; asked before the first update, after every `every` and after the last.
        every: 0 asks it before and after alone.
        watch: looks at the policy after each of the updates `watch_at`; what it sees must be plain enough for JSON.
        checkpoint: a file that the run's state is kept in; if it is there, the run goes on from it.
        keep_every: updates between two checkpoints.
        dtype: bfloat16 runs the model so, with float32 parameters.
        progress: called with (updates done, updates in all).
    """
    kind = METHODS[method] if isinstance(method, str) else method
    settings = kind.resolved(settings or Settings(), policy)  # type: ignore[arg-type]
    steps, peak = settings.steps, settings.learning_rate
    assert steps is not None
    assert peak is not None
    learner = kind(source, policy, settings)  # type: ignore[arg-type]
    if kind.needs != "demonstrations":
        _ = learner.reference  # frozen before the first update
    parameters = [p for p in learner.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.95), weight_decay=0.0)
    curve, done = Curve(), 0
    about = {"method": kind.__name__, "settings": asdict(settings), "rows": source.rows, "seed": source.seed}
    about |= {"precision": [str(dtype), str(policy.first_pass)]}
    if checkpoint is not None:
        about |= {"base": _fingerprint(policy), "data": source.fingerprint}
    if checkpoint is not None and checkpoint.exists():
        curve, done = _restore(checkpoint, about, optimiser, source)
    # Rollouts are not kept: a checkpoint falls between two batches of them.
    round_to = settings.epochs if issubclass(kind, OnPolicy) else 1

    pending: list[tuple[Tensor, Tensor]] = []  # losses and counts that the device may still work on
    began = time.perf_counter()

    def settle() -> None:
        if not pending:
            return
        losses, tokens = (_summed(torch.stack(values), source.processes) for values in zip(*pending, strict=True))
        if len(curve.loss) >= min(UNTIMED, steps - 1):
            curve.timed += len(pending)
            curve.tokens, curve.predicted = curve.tokens + int(tokens[:, 0].sum()), curve.predicted + int(tokens[:, 1].sum())
            curve.seconds += time.perf_counter() - began
        pending.clear()
        for loss in (losses / source.processes).tolist():
            if not math.isfinite(loss):
                update = len(curve.loss)
                raise Diverged(f"the loss is {loss} at update {update}; allowed: a lower learning rate than {peak}")
            curve.loss.append(loss)

    def look(step: int) -> None:
        if evaluate is not None and source.rank == 0 and not any(m["step"] == step for m in curve.measured):
            curve.measured.append({"step": step, **evaluate(policy)})

    if done == 0:
        look(0)
        if watch is not None and 0 in watch_at and source.rank == 0:
            curve.watched.append({"step": 0, "seen": watch(policy)})
    policy.eval()  # dropout would make a run's end depend on where it was resumed, and PPO's first ratios other than 1
    keep_every = -(-keep_every // round_to) * round_to
    memory = PeakMemory(source.device)
    began = time.perf_counter()
    for step in range(done, steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, peak)
        with _precision(dtype, source.device):
            batch = learner.batch(step)
            loss = learner.loss(batch).sum()
        loss.backward()
        _average_gradients(parameters, source.processes)
        torch.nn.utils.clip_grad_norm_(parameters, learner.max_grad_norm or MAX_NORM)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        pending.append((loss.detach(), tokens_of(batch)))
        done = step + 1
        watched, measured = watch is not None and done in watch_at, bool(every) and done % every == 0
        kept = checkpoint is not None and done % keep_every == 0 and done < steps
        if watched or measured or kept or done in (UNTIMED, steps) or len(pending) == UNTIL_READ:
            settle()
            curve.memory = max(curve.memory, memory.read())
            if watched and source.rank == 0:
                assert watch is not None
                curve.watched.append({"step": done, "seen": watch(policy)})
            if measured:
                look(done)
            if kept:
                assert checkpoint is not None
                _keep(checkpoint, about, optimiser, source, curve, done)
            memory, began = PeakMemory(source.device), time.perf_counter()
        if progress is not None:
            progress(done, steps)
    look(steps)
    if checkpoint is not None:
        _keep(checkpoint, about, optimiser, source, curve, steps)
    return curve


@contextmanager
def _precision(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    # Without its cache: a pass without gradient would leave weights in it that the next pass finds without theirs.
    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32, cache_enabled=False):
        yield


def tokens_of(batch: Any) -> Int[Tensor, " 2"]:
    """How many tokens an update runs through the model, prompts included; and how many of them it predicts."""
    if isinstance(batch, tuple):
        return torch.stack([tokens_of(side) for side in batch]).sum(0)
    batch = getattr(batch, "batch", getattr(batch, "steps", batch))
    last = batch.mask * torch.arange(1, batch.mask.shape[-1] + 1, device=batch.mask.device)
    return torch.stack([last.amax(-1).sum(), batch.mask.sum()])


def _average_gradients(parameters: list[torch.nn.Parameter], processes: int) -> None:
    if processes > 1:
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters])
        torch.distributed.all_reduce(flat)
        flat /= processes
        for parameter, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = piece.view_as(parameter)


def _summed(x: Float[Tensor, "K *any"], processes: int) -> Float[Tensor, "K *any"]:
    if processes > 1:
        torch.distributed.all_reduce(x)
    return x


def _fingerprint(policy: LanguagePolicy) -> str:
    """Of the weights."""
    told = hashlib.sha256()
    for parameter in policy.parameters():
        told.update(parameter.detach().float().cpu().contiguous().numpy().data)
    return told.hexdigest()


# ---- checkpoints ----


def _state(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything that an update changes, by name."""
    found: dict[str, Tensor] = {}
    for i, parameter in enumerate(p for group in optimiser.param_groups for p in group["params"]):
        found[f"parameter.{i}"] = parameter
        for name, value in optimiser.state.get(parameter, {}).items():
            found[f"optimiser.{i}.{name}"] = value
    return found


def _keep(
    path: Path,
    about: dict[str, Any],
    optimiser: torch.optim.Optimizer,
    source: TextSource,
    curve: Curve,
    step: int,
) -> None:
    from safetensors.torch import save

    if source.rank:
        return
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in _state(optimiser).items()}
    told = {"about": about, "step": step, "walked": source.walked, "drawn": source.drawn, "curve": asdict(curve)}
    write_atomically(path, save(tensors, metadata={"run": json.dumps(told)}))


def _restore(path: Path, about: dict[str, Any], optimiser: torch.optim.Optimizer, source: TextSource) -> tuple[Curve, int]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            told = json.loads(file.metadata()["run"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dictionary)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"checkpoint {path} cannot be read ({error}); allowed: one that a run has left, or none") from error
    if told["about"] != json.loads(json.dumps(about)):
        changed = [k for k in about if told["about"].get(k) != json.loads(json.dumps(about[k]))]
        raise ValueError(
            f"checkpoint {path} is of another run (other {', '.join(changed)}); allowed: the same, or another folder"
        )
    with torch.no_grad():
        for i, parameter in enumerate(p for group in optimiser.param_groups for p in group["params"]):
            parameter.copy_(tensors[f"parameter.{i}"])
            prefix = f"optimiser.{i}."
            kept = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            optimiser.state[parameter] = {n: v if n == "step" else v.to(parameter.device) for n, v in kept.items()}
    source.walked, source.drawn = told["walked"], told["drawn"]
    return Curve(**told["curve"]), told["step"]
