"""What methods may ask of texts: rows of a data set, answers of the model to its prompts, and what they are worth."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.data import Batch, Trajectories
from ift_gridworld.language.data import Completions
from ift_gridworld.language.measure import Judge
from ift_gridworld.language.models import Critic, LanguagePolicy, sample
from ift_gridworld.methods.options import Settings
from ift_gridworld.methods.source import DataSource
from ift_gridworld.policies.residual import Successor

GROUP = 8  # answers to one prompt that GRPO compares, unless told otherwise


@dataclass(eq=False)
class TextSource(DataSource):
    """Data of which each update sees some rows, in an order that seed and step alone decide, so that a run can be resumed.

    Attributes:
        demonstrations: what SFT and IFT learn from.
        chosen, rejected: preference pairs.
        end: the end token.
        limit: tokens after which a sampled answer is cut off.
        rows: of the data that an update sees, on all processes together.
        seed: of their order and of what is sampled.
        judge: the exact reward of answers to the demonstrations' prompts; without it there is none.
        device: of the policy.
        rank, processes: which of how many processes this is; each sees its share of the rows.
    """

    demonstrations: Completions | None = None
    chosen: Completions | None = None
    rejected: Completions | None = None
    end: int = 1
    limit: int = 64
    rows: int = 64
    seed: int = 0
    judge: Judge | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    processes: int = 1

    discount = 1.0

    def __post_init__(self) -> None:
        self._divided("rows", self.rows)
        self._orders: dict[tuple[int, int], np.ndarray] = {}
        self._pairs: tuple[int, Batch, Batch] | None = None
        self.walked = 0  # batches of prompts that have been answered
        self.drawn = 0  # how often something was drawn; a resumed run needs no more than these two numbers

    def _divided(self, name: str, count: int) -> None:
        if count % self.processes:
            raise ValueError(f"{name} is {count}, for {self.processes} processes; allowed: a multiple of these")

    # ---- rows ----

    def shown(self, step: int) -> Batch:
        assert self.demonstrations is not None
        return self.demonstrations.batch(self.index(step, len(self.demonstrations)), self.device)

    def compared(self, step: int) -> tuple[Batch, Batch]:
        assert self.chosen is not None
        assert self.rejected is not None
        if self._pairs is None or self._pairs[0] != step:
            index = self.index(step, len(self.chosen))
            self._pairs = step, self.chosen.batch(index, self.device), self.rejected.batch(index, self.device)
        return self._pairs[1:]

    def index(self, step: int, count: int, rows: int | None = None) -> Int[np.ndarray, " B"]:
        """This process's rows of an update: all rows come once before any comes again, in a new order each time."""
        rows = self.rows if rows is None else rows
        position = step * rows + np.arange(rows)
        found = np.empty(rows, int)
        for turn in np.unique(position // count):
            if (turn, count) not in self._orders:
                self._orders = {k: v for k, v in self._orders.items() if k[0] >= turn - 1}
                self._orders[turn, count] = np.random.default_rng((self.seed, turn)).permutation(count)
            now = position // count == turn
            found[now] = self._orders[turn, count][position[now] % count]
        return found[self.rank :: self.processes]

    def random(self) -> torch.Generator:
        """For the next thing to be drawn, another on each process."""
        self.drawn += 1
        state = np.random.SeedSequence((self.seed, self.rank, self.drawn)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0]) >> 1)

    @property
    def fingerprint(self) -> str:
        """Of the data."""
        told = hashlib.sha256()
        for answers in (self.demonstrations, self.chosen, self.rejected):
            if answers is not None:
                told.update(answers.ids.tobytes() + answers.prompt.tobytes() + answers.length.tobytes())
        return told.hexdigest()

    # ---- the model's own predictions and answers ----

    def successor(self, policy: LanguagePolicy, settings: Settings) -> Successor:  # type: ignore[override]
        """The predicted token itself, which stands where the true token stands; or the average of all tokens."""
        table: torch.nn.Embedding = policy.model.get_input_embeddings()

        def successor(states: Tensor, logits: Float[Tensor, "1 B K V"]) -> Float[Tensor, "1 B K D"]:
            if settings.prediction == "greedy":
                return table(logits.argmax(-1))
            return torch.softmax(logits.float(), -1).to(table.weight.dtype) @ table.weight

        return successor

    def residual_log_probs(  # type: ignore[override]
        self, policy: LanguagePolicy, batch: Batch, successor: Successor, mixing: float
    ) -> Float[Tensor, "1 B T"]:
        return policy.residual_log_probs(batch.states, batch.actions, batch.mask, successor, mixing=mixing)

    def answers(self, policy: LanguagePolicy, to: Batch) -> Batch:  # type: ignore[override]
        begin, ids = to.mask[0].int().argmax(-1).tolist(), to.states[0].tolist()
        prompts = [row[: first + 1] for row, first in zip(ids, begin, strict=True)]
        return self._answered(policy, prompts).batch(device=self.device)

    def walker(self, policy: LanguagePolicy, settings: Settings) -> Callable[[], Trajectories]:  # type: ignore[override]
        return lambda: self._episodes(policy, settings.walkers, 1)

    def groups(self, policy: LanguagePolicy, settings: Settings) -> tuple[Trajectories, int]:  # type: ignore[override]
        group = settings.group or min(GROUP, settings.walkers)
        if group < 2:
            raise ValueError(f"a batch has {settings.walkers} answer; allowed: two or more, which GRPO compares")
        return self._episodes(policy, settings.walkers // group, group), group

    def _episodes(self, policy: LanguagePolicy, prompts: int, times: int) -> Trajectories:
        """Completions to the next prompts, each asked so many times, with what they are worth at their last token."""
        assert self.demonstrations is not None
        self._divided("prompts of an update", prompts)
        index = self.index(self.walked, len(self.demonstrations), prompts).repeat(times)
        self.walked += 1
        data = self.demonstrations
        asked = [data.ids[i, : data.prompt[i]].tolist() for i in index]
        said = self._answered(policy, asked)
        batch = said.batch(device=self.device)
        last = batch.mask & ~torch.cat([batch.mask[..., 1:], torch.zeros_like(batch.mask[..., :1])], -1)
        worth = torch.zeros(len(index), dtype=torch.float64)
        if self.judge is not None:
            worth = torch.as_tensor(self.judge(index, said.answers(self.end)))
        reward = last * worth.to(self.device, torch.float32)[None, :, None]
        return Trajectories(batch.states, batch.actions, batch.mask, batch.actions, reward, last, torch.zeros_like(last))

    def _answered(self, policy: LanguagePolicy, prompts: Sequence[list[int]]) -> Completions:
        """Sampled answers, prompts of one length at a time."""
        answers: list[list[int]] = [[] for _ in prompts]
        generator = self.random()
        for length in sorted({len(prompt) for prompt in prompts}):
            rows = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
            asked = torch.tensor([prompts[i] for i in rows], device=self.device)
            said = sample(policy, asked, end=self.end, limit=self.limit, generator=generator, pad=self.end)
            for i, tokens in zip(rows, said.tolist(), strict=True):
                answers[i] = tokens[: tokens.index(self.end) + 1] if self.end in tokens else tokens
        return Completions.of(prompts, answers, self.end)

    # ---- RLHF ----

    def critic(self, policy: LanguagePolicy) -> Critic:  # type: ignore[override]
        return Critic(policy)

    def values(  # type: ignore[override]
        self, critic: Critic, steps: Trajectories
    ) -> tuple[Float[Tensor, "1 B T"], Float[Tensor, "1 B T"]]:
        value = critic(steps.states)[..., 0]
        following = torch.cat([value[..., 1:], torch.zeros_like(value[..., :1])], -1)
        return value, following * ~steps.terminated

    def learn_reward(self, base: LanguagePolicy, settings: Settings) -> Critic:  # type: ignore[override]
        """A Bradley-Terry model (eq. 33) of the preference pairs: a copy of the base that reads whole answers."""
        model, data = Critic(base).requires_grad_(True), replace(self, rank=0, processes=1)  # on every process the same
        optimiser = torch.optim.AdamW(model.parameters(), lr=base.learning_rate, weight_decay=0.0)
        for step in range(settings.pairs):
            chosen, rejected = data.compared(step)
            loss = losses.bradley_terry_loss(_judged(model, chosen), _judged(model, rejected)).mean()
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
        return model.requires_grad_(False)

    def reward(self, learned: Critic, steps: Trajectories) -> Float[Tensor, "1 B T"]:
        return steps.terminated * _judged(learned, steps)[..., None]


def _judged(model: Critic, batch: Batch) -> Float[Tensor, "1 B"]:
    """What a reward model says of each answer: its number at the answer's last token."""
    ids = torch.cat([batch.states, batch.actions[..., -1:]], -1)
    place = torch.arange(1, ids.shape[-1], device=ids.device)  # of each step's action: step t's is token t + 1
    last = torch.where(batch.mask, place, 0)
    return model(ids)[..., 0].gather(-1, last.amax(-1, keepdim=True))[..., 0]
