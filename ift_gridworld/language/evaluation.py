"""Measures of any causal language model on lakes, whichever tokenizer it has: success, and distance to the optimal policy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ift_gridworld.data import generators
from ift_gridworld.envs.maps import Size
from ift_gridworld.evaluation.statistics import share_interval, student_interval
from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, Lakes, draw_lakes, walk
from ift_gridworld.language.move_tokenizer import END_ACTION
from ift_gridworld.language.policy import LanguagePolicy, eval_mode, model_settings
from ift_gridworld.language.probes import Probes
from ift_gridworld.language.prompt_cache import logits_at
from ift_gridworld.language.questions import Example, Questions
from ift_gridworld.language.sampling import sample, sample_tokens

__all__ = ["EVALUATED", "MOST_EXAMPLES", "draw_questions", "evaluate", "summarise"]

MOST_EXAMPLES = 16
STREAM = 23  # keeps these lakes apart from those that a seed trains on
EVALUATED: dict[str, str] = {
    "success": "share of lakes on which the likeliest answer leads to the goal and ends there",
    "shortest": "share of lakes on which it does so by a shortest path",
    "form": "share of likeliest answers that have no word but moves",
    "sampled": "probability that a sampled answer leads to the goal and ends there",
    "mass": "probability of optimal moves at each step of sampled answers, mean over steps",
    "distance": "mean squared difference between the probabilities of moves and end and T*, over tiles before the goal",
}
SHARES = ("success", "shortest", "form", "sampled")  # of answers


def draw_questions(
    count: int, shots: int = 0, *, size: Size = 4, ice: float = 0.7, detours: float = 0.5, seed: int = 0
) -> tuple[Lakes, tuple[Example, ...]]:
    """Draw lakes to ask about, and others as examples; the lakes are the same for any number of examples.

    >>> lakes, examples = draw_questions(3, shots=2, seed=1)
    >>> len(lakes), len(examples), draw_questions(3, seed=1)[0].fingerprints == lakes.fingerprints
    (3, 2, True)

    Args:
        count: number of lakes.
        shots: number of examples, at most 16.
        size, ice, detours, seed: as for `draw_lakes`, from another stream of lakes than that of a seed's training.

    Raises:
        ValueError: for too many examples, or as `draw_lakes`.
    """
    if not 0 <= shots <= MOST_EXAMPLES:
        raise ValueError(f"shots is {shots}; allowed: 0 to {MOST_EXAMPLES}")
    lakes = draw_lakes(count + MOST_EXAMPLES, size, ice=ice, detours=detours, seed=STREAM * 2**31 + seed)
    shown = lakes[count : count + shots]
    paths = walk(shown) if shots else np.zeros((0, 0), int)
    examples = [(shown.rows(i), [move for move in path.tolist() if move >= 0]) for i, path in enumerate(paths)]
    return lakes[:count], tuple(examples)


def summarise(results: dict[str, Float[np.ndarray, " M"]]) -> dict[str, dict[str, float]]:
    """Return the mean of each metric over lakes with its 95 % interval: Wilson's for shares of answers, else Student's.

    Several sampled answers to a lake count as one, for which the interval is at least as wide as it must be.

    >>> summarise({"success": np.zeros(10)})["success"]["high"] > 0.2  # none of ten: up to every fourth is likely
    True
    """
    summary = {}
    for name, values in results.items():
        interval = share_interval(values.sum(), len(values)) if name in SHARES else student_interval(values)
        mean, low, high = interval
        summary[name] = {"mean": float(mean), "low": max(0.0, float(low)), "high": min(1.0, float(high))}
    return summary


def evaluate(
    policy: LanguagePolicy,
    questions: Questions,
    lakes: Lakes,
    *,
    samples: int = 4,
    seed: int = 0,
    rows: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Float[np.ndarray, " M"]]:
    """Return all metrics of `EVALUATED` on each lake.

    The probability of a move is that of all its tokens, that of the end is the sum over all tokens that end an answer. An
    answer is written no further than it can still be right.

    Args:
        policy: the model.
        questions: how lakes are put to it.
        lakes: the lakes.
        samples: number of answers that are sampled on each.
        seed: seed of the samples.
        rows: largest number of answers in one forward pass.
        progress: called with (lakes done, lakes in all).

    Raises:
        ValueError: if questions are too long for the model, or its tokenizer writes no moves (`Questions.words`).
    """
    prompts = [questions.prompt_ids(lakes.rows(i)) for i in range(len(lakes))]
    limit = 2 * int(lakes.distance[np.arange(len(lakes)), lakes.start].max()) + 2
    longest = max(map(len, prompts)) + limit * max(len(word) for words in questions.words for word in words)
    if longest > policy.context:
        raise ValueError(
            f"questions and answers take up to {longest} tokens, and the model reads {policy.context}; "
            "allowed: smaller lakes, fewer examples, or a model for longer texts"
        )
    paths, generator = walk(lakes, seed=seed), generators(seed, 1)[0]
    results: dict[str, list[np.ndarray]] = {name: [] for name in EVALUATED}
    with model_settings(policy), eval_mode(policy):
        for part in np.array_split(np.arange(len(lakes)), -(-len(lakes) * max(1, samples) // rows)):
            if len(part):
                some = _Asked(policy, questions, lakes[part], [prompts[i] for i in part], limit, rows)
                for name, values in some.measure(paths[part], samples, generator).items():
                    results[name].append(values)
                if progress is not None:
                    progress(int(part[-1]) + 1, len(lakes))
    return {name: np.concatenate(values) for name, values in results.items()}


class _Asked:
    """Lakes that a model is asked about together."""

    def __init__(
        self, policy: LanguagePolicy, questions: Questions, lakes: Lakes, prompts: Sequence[list[int]], limit: int, rows: int
    ) -> None:
        self.policy, self.questions, self.lakes, self.prompts = policy, questions, lakes, prompts
        self.limit, self.rows = limit, rows

    def measure(
        self, paths: Int[np.ndarray, "M T"], samples: int, generator: torch.Generator
    ) -> dict[str, Float[np.ndarray, " M"]]:
        """Return all metrics on each lake; the human's paths lead to the tiles on which `distance` is measured."""
        likeliest, sampled = self.answers(1), self.answers(samples, generator)
        steps = [self._steps(answer) for answer in sampled]
        probes = Probes.of(self.lakes, paths)
        nodes = [(int(lake), tuple(moves)) for lake, moves in zip(probes.lake, probes.moves, strict=True)]
        nodes += [
            (answer.lake, tuple(answer.moves[:step])) for answer, n in zip(sampled, steps, strict=True) for step in range(n)
        ]
        chance = self.chances(nodes)
        count = len(self.lakes)
        squared = ((chance[: len(probes.lake)] - probes.target) ** 2).mean(1)
        before = probes.tile != self.lakes.goal[probes.lake]
        mass, at = np.zeros(len(sampled)), len(probes.lake)
        for i, (answer, n) in enumerate(zip(sampled, steps, strict=True)):
            best = self.lakes.optimal[answer.lake, answer.tiles[:n]] > 0
            mass[i] = (chance[at : at + n, :END_ACTION] * best).sum(1).mean()
            at += n
        shortest = self.lakes.distance[np.arange(count), self.lakes.start]
        right = np.array([answer.right for answer in likeliest])
        return {
            "success": right.astype(float),
            "shortest": (right & ([len(answer.moves) for answer in likeliest] == shortest)).astype(float),
            "form": np.array([float(not answer.strange) for answer in likeliest]),
            "sampled": np.array([answer.right for answer in sampled], float).reshape(samples, count).mean(0),
            "mass": mass.reshape(samples, count).mean(0),
            "distance": np.bincount(probes.lake[before], squared[before], count)
            / np.bincount(probes.lake[before], minlength=count),
        }

    def _steps(self, answer: _Answer) -> int:
        """Return the number of steps at which the answer had to choose a move: up to the goal, a hole or its own end."""
        over = self.lakes.flat[answer.lake, answer.tiles[-1]] in (GOAL_CODE, HOLE_CODE)
        return len(answer.moves) + (not over and not answer.cut)

    def answers(self, times: int, generator: torch.Generator | None = None) -> list[_Answer]:
        """Let the model answer `times` on each lake, answer i of lake j at i M + j: the likeliest without a generator."""
        count = len(self.lakes)
        answers = [_Answer(j, self.lakes, self.questions) for _ in range(times) for j in range(count)]
        lengths = np.array([len(prompt) for prompt in self.prompts])
        device = next(self.policy.parameters()).device
        longest = max(len(word) for words in self.questions.words for word in words)
        for length in np.unique(lengths):
            index = np.flatnonzero(lengths == length).tolist()
            ids = torch.tensor([self.prompts[j] for j in index], device=device)
            asked = [i * count + j for i in range(times) for j in index]

            def choose(logits: Tensor, asked: list[int] = asked) -> Tensor:
                tokens = logits.argmax(-1) if generator is None else sample_tokens(logits, generator)
                said = [answers[i].read(token, self.limit) for i, token in zip(asked, tokens.tolist(), strict=True)]
                return torch.tensor(said, device=logits.device)

            copies = torch.arange(len(index), device=device).repeat(times)
            tokens = self.limit * longest + 1
            sample(self.policy, ids, end=self.questions.end, limit=tokens, choose=choose, copies=copies)
        return answers

    def chances(self, nodes: Sequence[tuple[int, tuple[int, ...]]]) -> Float[np.ndarray, "X 5"]:
        """Return the model's probabilities of the four moves and the end after moves on a lake."""
        first, later = self.questions.words
        read: list[tuple[int, list[int]]] = []  # the lake, and what follows its prompt
        asked: list[tuple[int, int, list[int]]] = []  # node, action, and the places in `read` of the action's tokens
        place: dict[tuple[int, tuple[int, ...]], int] = {}
        for node, (lake, moves) in enumerate(nodes):
            said = [token for i, move in enumerate(moves) for token in (later if i else first)[move]]
            for action, word in enumerate(later if moves else first):
                places = []
                for part in range(len(word)):
                    key = lake, (*said, *word[:part])
                    if key not in place:
                        place[key] = len(read)
                        read.append((lake, list(key[1])))
                    places.append(place[key])
                asked.append((node, action, places))
        tokens = sorted({token for words in (first, later) for word in words for token in word} | self.questions.ends)
        column = {token: i for i, token in enumerate(tokens)}
        logp = np.zeros((len(read), len(tokens)))
        wanted = torch.tensor(tokens, device=next(self.policy.parameters()).device)
        index = np.array([lake for lake, _ in read], int)
        for some, logits in logits_at(self.policy, self.prompts, index, [text for _, text in read], rows=self.rows):
            logits = logits.double()
            logp[some] = (logits[:, wanted] - logits.logsumexp(-1, keepdim=True)).cpu().numpy()
        result, ends = np.zeros((len(nodes), END_ACTION + 1)), [column[token] for token in sorted(self.questions.ends)]
        for node, action, places in asked:
            word = (later if nodes[node][1] else first)[action]
            result[node, action] = np.exp(sum(logp[at, column[token]] for at, token in zip(places, word, strict=True)))
            if action == 0:
                result[node, END_ACTION] = np.exp(logp[places[0], ends]).sum()
        return result


class _Answer:
    """One answer as it is written, token by token, until it cannot be right any more.

    Attributes:
        lake: index of the lake.
        moves, tiles: moves so far, and the tile before each and after the last.
        right: whether it has led to the goal and ended there.
        strange: whether it has a word that is no move.
        cut: whether it has as many moves as are allowed.
        over: whether nothing more is read.
    """

    def __init__(self, lake: int, lakes: Lakes, questions: Questions) -> None:
        self.lake, self.lakes, self.questions = lake, lakes, questions
        self.moves: list[int] = []
        self.tiles = [int(lakes.start[lake])]
        self.right = self.strange = self.cut = self.over = False
        self.word: list[int] = []  # tokens of a word that has begun

    def read(self, token: int, limit: int) -> int:
        """Read the next token; return it, or the end token if nothing more is read."""
        if not self.over:
            self._read(token, limit)
        return self.questions.end if self.over else token

    def _read(self, token: int, limit: int) -> None:
        letter = self.lakes.flat[self.lake, self.tiles[-1]]
        if token in self.questions.ends and not self.word:
            self.right, self.over = bool(letter == GOAL_CODE), True
            return
        self.word.append(token)
        words = self.questions.words[1 if self.moves else 0]
        if self.word in words:
            move = words.index(self.word)
            self.word = []
            self.over = letter == GOAL_CODE  # it goes on from there
            if not self.over:
                self.moves.append(move)
                self.tiles.append(int(self.lakes.next_state[self.tiles[-1], move]))
                self.cut = len(self.moves) >= limit
                self.over = self.cut or self.lakes.flat[self.lake, self.tiles[-1]] == HOLE_CODE
        elif not any(word[: len(self.word)] == self.word for word in words):
            self.strange = self.over = True
