"""The data source of texts: rows of a data set, the model's answers to its prompts, and their rewards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld import losses
from ift_gridworld.checks import unbox_fields
from ift_gridworld.choices import Teacher
from ift_gridworld.data import Batch, Trajectories
from ift_gridworld.language.data import Completions
from ift_gridworld.language.policy import Critic, LanguagePolicy
from ift_gridworld.language.rewards import RewardFunction, TeacherFunction
from ift_gridworld.language.sampling import sample
from ift_gridworld.methods.options import IFTOptions
from ift_gridworld.methods.source import DataSource, Labelled
from ift_gridworld.optimisation import descend
from ift_gridworld.policies.residual import Successor

__all__ = ["TextSource"]

GROUP = 8  # answers to one prompt that GRPO compares by default


@dataclass(eq=False)
class TextSource(DataSource[LanguagePolicy]):
    """Data of which each update sees some rows, in an order that depends only on seed and step, so that a run can be resumed.

    Attributes:
        demonstrations: data of SFT and IFT; their prompts are those that a method answers itself.
        chosen, rejected: preference pairs.
        end: id of the end token.
        limit: largest number of tokens of a sampled answer.
        rows: number of rows that an update sees, on all processes together.
        seed: seed of their order and of what is sampled.
        reward_function: the exact reward of answers to the demonstrations' prompts; without it the reward is 0.
        teacher_function: what a teacher would do at each step of such answers; without it there is no teacher.
        device: device of the policy.
        rank, processes: number of this process and number of processes; each sees its share of the rows.

    Raises:
        ValueError: if the rows cannot be shared evenly by the processes.
    """

    demonstrations: Completions | None = None
    chosen: Completions | None = None
    rejected: Completions | None = None
    end: int = 1
    limit: int = 64
    rows: int = 64
    seed: int = 0
    reward_function: RewardFunction | None = None
    teacher_function: TeacherFunction | None = None
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    processes: int = 1

    @property
    def discount(self) -> float:
        return 1.0

    def __post_init__(self) -> None:
        unbox_fields(self)
        self._check_shares("rows", self.rows)
        self._orders: dict[tuple[int, int], np.ndarray] = {}
        self._pairs: tuple[int, Batch, Batch] | None = None
        self.prompt_batches = 0  # batches of prompts that have been answered
        self.draws = 0  # generators that have been handed out; a resumed run needs only these two numbers

    def _check_shares(self, name: str, count: int) -> None:
        if count % self.processes:
            raise ValueError(f"{name} is {count}, for {self.processes} processes; allowed: a multiple of these")

    # ---- rows ----

    def demonstration_batch(self, step: int) -> Batch:
        assert self.demonstrations is not None
        return self.demonstrations.batch(self.index(step, len(self.demonstrations)), self.device)

    def pair_batch(self, step: int) -> tuple[Batch, Batch]:
        assert self.chosen is not None
        assert self.rejected is not None
        if self._pairs is None or self._pairs[0] != step:
            index = self.index(step, len(self.chosen))
            self._pairs = step, self.chosen.batch(index, self.device), self.rejected.batch(index, self.device)
        return self._pairs[1:]

    def index(self, step: int, count: int, rows: int | None = None) -> Int[np.ndarray, " B"]:
        """Return the indices of this process's rows of an update.

        All rows come once before any comes again, in a new order each time.

        Args:
            step: number of the update.
            count: number of rows of the data set.
            rows: number of rows of the update, on all processes (default: the attribute `rows`).
        """
        rows = self.rows if rows is None else rows
        position = step * rows + np.arange(rows)
        index = np.empty(rows, int)
        for epoch in np.unique(position // count):
            if (epoch, count) not in self._orders:
                self._orders = {k: v for k, v in self._orders.items() if k[0] >= epoch - 1}
                self._orders[epoch, count] = np.random.default_rng((self.seed, epoch)).permutation(count)
            current = position // count == epoch
            index[current] = self._orders[epoch, count][position[current] % count]
        return index[self.rank :: self.processes]

    def random(self) -> torch.Generator:
        """Return a generator for the next thing to be drawn, another on each process."""
        self.draws += 1
        state = np.random.SeedSequence((self.seed, self.rank, self.draws)).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0]) >> 1)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the data."""
        digest = hashlib.sha256()
        for data in (self.demonstrations, self.chosen, self.rejected):
            if data is not None:
                digest.update(data.ids.tobytes() + data.prompt.tobytes() + data.length.tobytes())
                if data.turns is not None:
                    digest.update(data.turns.tobytes())
        return digest.hexdigest()

    # ---- the model's own predictions and answers ----

    def successor(self, policy: LanguagePolicy, options: IFTOptions) -> Successor:
        """Return the successor of predictions: the predicted token itself, in place of the true one; or the mean of all."""

        def successor(states: Tensor, logits: Float[Tensor, "1 B K V"]) -> Float[Tensor, "1 B K D"]:
            if options.prediction == "greedy":
                return policy.embed(logits.argmax(-1))
            return policy.expected_embedding(logits)

        return successor

    def residual_log_probs(
        self, policy: LanguagePolicy, batch: Batch, successor: Successor, mixing: float
    ) -> Float[Tensor, "1 B T"]:
        return policy.residual_log_probs(batch.states, batch.actions, batch.mask, successor, mixing=mixing)

    def answers(self, policy: LanguagePolicy, to: Batch) -> Batch:
        begin, ids = to.mask[0].int().argmax(-1).tolist(), to.states[0].tolist()
        prompts = [row[: first + 1] for row, first in zip(ids, begin, strict=True)]
        return self._sampled(policy, prompts).batch(device=self.device)

    def mismatched(self, batch: Batch) -> Batch:
        prompts, answers = [], []
        for ids, actions, mask in zip(batch.states[0].tolist(), batch.actions[0].tolist(), batch.mask[0].tolist(), strict=True):
            first = mask.index(True)
            prompts.append(ids[: first + 1])
            answers.append([token for token, counts in zip(actions, mask, strict=True) if counts])
        return Completions.of(prompts, [*answers[-1:], *answers[:-1]], self.end).batch(device=self.device)

    def uniform(self, *shape: int) -> Float[Tensor, "1 *shape"]:
        return torch.rand((1, *shape), generator=self.random(), dtype=torch.float64).to(self.device)

    @property
    def longest(self) -> int:
        return self.limit

    def walker(self, policy: LanguagePolicy, walkers: int, segment: int) -> Callable[[], Trajectories]:
        return lambda: self._episodes(policy, walkers, 1)

    def groups(self, policy: LanguagePolicy, walkers: int, group: int | None) -> tuple[Trajectories, int]:
        group = group or min(GROUP, walkers)
        if group < 2:
            raise ValueError(f"a batch has {walkers} answer; allowed: two or more, which GRPO compares")
        return self._episodes(policy, walkers // group, group), group

    def guided_groups(self, policy: LanguagePolicy, number: int, walkers: int, group: int) -> tuple[Trajectories, Trajectories]:
        assert self.demonstrations is not None
        index = self._next_prompts(walkers // group)
        shown = self._rewarded(self.demonstrations[index], index)
        return shown, self._rewarded(self._answered(policy, index.repeat(group)), index.repeat(group))

    def succeeded(self, episodes: Trajectories) -> Bool[Tensor, "1 B"]:
        return episodes.reward.sum(-1) > 0

    def _episodes(self, policy: LanguagePolicy, prompts: int, times: int) -> Trajectories:
        """Sample `times` answers to each of the next prompts; each is rewarded at its last token."""
        index = self._next_prompts(prompts).repeat(times)
        return self._rewarded(self._answered(policy, index), index)

    def _next_prompts(self, count: int) -> Int[np.ndarray, " B"]:
        """Return the rows of the next prompts."""
        assert self.demonstrations is not None
        self._check_shares("prompts of an update", count)
        self.prompt_batches += 1
        return self.index(self.prompt_batches - 1, len(self.demonstrations), count)

    def _answered(self, policy: LanguagePolicy, index: Int[np.ndarray, " B"]) -> Completions:
        """Sample one answer to the prompt of each row."""
        assert self.demonstrations is not None
        data = self.demonstrations
        return self._sampled(policy, [data.ids[i, : data.prompt[i]].tolist() for i in index])

    def _rewarded(self, data: Completions, index: Int[np.ndarray, " B"]) -> Trajectories:
        """Return answers to the prompts of these rows with their rewards."""
        batch = data.batch(device=self.device)
        last = batch.mask & ~torch.cat([batch.mask[..., 1:], torch.zeros_like(batch.mask[..., :1])], -1)
        rewards = torch.zeros(len(index), dtype=torch.float64)
        if self.reward_function is not None:
            rewards = torch.as_tensor(self.reward_function(index, data.answers(self.end)))
        reward = last * rewards.to(self.device, torch.float32)[None, :, None]
        return Trajectories(batch.states, batch.actions, batch.mask, batch.actions, reward, last, torch.zeros_like(last))

    # ---- a teacher ----

    def labelled_answers(self, policy: LanguagePolicy, walkers: int, teacher: Teacher) -> Labelled:
        self._check_teacher(teacher)
        index = self._next_prompts(walkers)
        return self._labelled(self._answered(policy, index), index, teacher)

    def labelled_demonstrations(self, step: int, teacher: Teacher) -> Labelled:
        assert self.demonstrations is not None
        self._check_teacher(teacher)
        index = self.index(step, len(self.demonstrations))
        return self._labelled(self.demonstrations[index], index, teacher)

    def _check_teacher(self, teacher: Teacher) -> None:
        if self.teacher_function is None:
            allowed = "methods without a teacher"
            raise ValueError(f"teacher is {teacher!r}, who is known on texts about lakes alone; allowed on others: {allowed}")

    def _labelled(self, data: Completions, index: Int[np.ndarray, " B"], teacher: Teacher) -> Labelled:
        """Have the teacher label answers to the prompts of these rows, each word in the column that predicts it."""
        assert self.teacher_function is not None
        batch = data.batch(device=self.device)
        words, known = self.teacher_function(index, data.answers(self.end), teacher)
        step = np.arange(batch.mask.shape[-1]) - data.prompt[:, None] + 1
        inside = (step >= 0) & (step < known.shape[1])
        step = np.clip(step, 0, known.shape[1] - 1)
        chances = np.where(inside[..., None], np.take_along_axis(known, step[..., None], 1), 0.0)
        mask = batch.mask & torch.as_tensor(chances.sum(-1) > 0, device=self.device)
        actions = torch.as_tensor(words[np.minimum(step, len(words) - 1)], device=self.device)[None]
        return Labelled(Batch(batch.states, batch.actions, mask), actions, torch.as_tensor(chances, device=self.device)[None])

    def _sampled(self, policy: LanguagePolicy, prompts: Sequence[list[int]]) -> Completions:
        """Sample one answer to each prompt, prompts of one length at a time."""
        answers: list[list[int]] = [[] for _ in prompts]
        generator = self.random()
        for length in sorted({len(prompt) for prompt in prompts}):
            rows = [i for i, prompt in enumerate(prompts) if len(prompt) == length]
            ids = torch.tensor([prompts[i] for i in rows], device=self.device)
            sampled = sample(policy, ids, end=self.end, limit=self.limit, generator=generator, pad=self.end)
            for i, tokens in zip(rows, sampled.tolist(), strict=True):
                answers[i] = tokens[: tokens.index(self.end) + 1] if self.end in tokens else tokens
        return Completions.of(prompts, answers, self.end)

    # ---- RLHF ----

    def critic(self, policy: LanguagePolicy) -> Critic:
        return Critic(policy)

    def values(self, critic: Critic, steps: Trajectories) -> tuple[Float[Tensor, "1 B T"], Float[Tensor, "1 B T"]]:
        value = critic(steps.states)[..., 0]
        following = torch.cat([value[..., 1:], torch.zeros_like(value[..., :1])], -1)
        return value, following * ~steps.terminated

    def learn_reward(self, base: LanguagePolicy, pairs: int) -> Critic:
        """Train a Bradley-Terry model (eq. 33) of the preference pairs: a copy of the base that reads whole answers."""
        model, data = Critic(base).requires_grad_(True), replace(self, rank=0, processes=1)  # the same on every process
        optimiser = torch.optim.AdamW(model.parameters(), lr=base.learning_rate, weight_decay=0.0)

        def objective(step: int) -> Tensor:
            chosen, rejected = data.pair_batch(step)
            return losses.bradley_terry_loss(_scores(model, chosen), _scores(model, rejected)).mean()

        def step() -> None:
            optimiser.step()
            optimiser.zero_grad()

        for _ in descend(objective, step, range(pairs)):
            pass
        return model.requires_grad_(False)

    def reward(self, learned: Critic, steps: Trajectories) -> Float[Tensor, "1 B T"]:
        return steps.terminated * _scores(learned, steps)[..., None]


def _scores(model: Critic, batch: Batch) -> Float[Tensor, "1 B"]:
    """Return a reward model's score of each answer: its value at the answer's last token."""
    ids = torch.cat([batch.states, batch.actions[..., -1:]], -1)
    place = torch.arange(1, ids.shape[-1], device=ids.device)  # of each step's action: step t's is token t + 1
    last = torch.where(batch.mask, place, 0)
    return model(ids)[..., 0].gather(-1, last.amax(-1, keepdim=True))[..., 0]
