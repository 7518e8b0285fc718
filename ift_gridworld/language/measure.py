"""How near a language model is to the optimal policy: the lake's exact measures, asked of a model that reads the lake as text.

Every tile that a walk can stand on is asked about, by a prefix that leads there: the model's probabilities of the four moves
and of the end are compared with T*(a|s), which breadth-first search knows. Along the human's path the prefix is the human's;
to a tile off it, a shortest way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ift_gridworld.language.data import Completions, answer_ids, prompt_ids
from ift_gridworld.language.lakes import FAR, GOAL, HOLE, NO_MOVE, Lakes, tiles_along
from ift_gridworld.language.models import LanguagePolicy, counted, looking, sample
from ift_gridworld.language.text import Form

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# (rows of the data set, their answers' tokens [B, T]) -> what each answer is worth
Judge = Callable[[Int[np.ndarray, " B"], Int[np.ndarray, "B T"]], Float[np.ndarray, " B"]]
INVALID = -2  # a token that is no move
END_ACTION = 4  # beside the four moves
LEFT = 0  # any move would do where one stands for none
ROWS = 64  # walks that are read at a time

MEASURES: dict[str, str] = {
    "greedy": "share of lakes on which the likeliest tokens lead to the gift and end there",
    "shortest": "share of lakes on which they do so by a shortest way",
    "sampled": "chance that a sampled answer leads to the gift and ends there",
    "slips": "the same for sampled moves of which a tenth slips sideways, until the gift or a hole is reached",
    "mass": "probability of optimal moves at each step of sampled answers, mean over steps",
    "distance": "mean squared difference of the chances of the four moves and the end from T*, over tiles before the gift",
    "distance_on": "the same over the human's path",
    "distance_off": "the same over all other tiles",
    "end": "probability of the end token on the gift, after the human's path",
}


@dataclass(frozen=True, eq=False)
class MoveTokenizer:
    """How moves and the end are said in tokens of a model.

    Attributes:
        form: of the text.
        tokenizer: of the model.
    """

    form: Form
    tokenizer: PreTrainedTokenizerBase

    @property
    def end(self) -> int:
        return int(self.tokenizer.eos_token_id)

    def prompt(self, lakes: Lakes, index: int) -> list[int]:
        """A lake's prompt, up to where the answer begins."""
        return prompt_ids(self.form.prompt(lakes.rows(index)), self.tokenizer)

    def prompts(self, lakes: Lakes) -> list[list[int]]:
        """Of every lake; kept, for each measure asks for them again."""
        return _prompts(self, lakes)

    @cached_property
    def actions(self) -> tuple[list[int], list[int]]:
        """Tokens of the four moves and the end: as the first word of an answer, and after another word.

        They are read off answers as the model is trained on them.

        Raises:
            ValueError: if an answer has tokens beside one for each move and the end; then a move is no action of the model's.
        """
        prompt, found = self.form.prompt(("SG",)), []
        asked = prompt_ids(prompt, self.tokenizer)
        for move, word in enumerate(self.form.moves):
            ids = answer_ids(prompt, self.form.completion([move, move]), self.tokenizer, asked)
            if len(ids) != 3:
                tokens = ", ".join(map(repr, self.tokenizer.convert_ids_to_tokens(ids)))
                raise ValueError(f"the tokenizer writes {f'{word} {word}'!r} as {tokens}; allowed: a token a move, and the end")
            found.append(ids)
        first, later, _ = (list(ids) for ids in zip(*found, strict=True))
        if min(len({*ids, self.end}) for ids in (first, later)) <= END_ACTION:
            raise ValueError(f"the tokenizer has one token for several of {', '.join(self.form.moves)}; allowed: one for each")
        return [*first, self.end], [*later, self.end]

    def said(self, moves: Sequence[int], *, ended: bool = False) -> list[int]:
        """An answer's tokens."""
        first, later = self.actions
        tokens = [(first if i == 0 else later)[move] for i, move in enumerate(moves)]
        return [*tokens, self.end] if ended else tokens

    def heard(self, tokens: Int[np.ndarray, "B T"]) -> tuple[Int[np.ndarray, "B T"], Bool[np.ndarray, " B"]]:
        """The moves of answers, NO_MOVE from the end on and INVALID where a token is no move; and whether they were ended."""
        first, later = self.actions
        moves = np.full(tokens.shape, INVALID, np.int8)
        for action in range(END_ACTION):
            moves[:, 1:][tokens[:, 1:] == later[action]] = action
            moves[:, 0][tokens[:, 0] == first[action]] = action
        over = (tokens == self.end).cumsum(1) > 0
        moves[over] = NO_MOVE
        return moves, over.any(1)


@lru_cache(maxsize=8)
def _prompts(spoken: MoveTokenizer, lakes: Lakes) -> list[list[int]]:
    return [spoken.prompt(lakes, i) for i in range(len(lakes))]


def outcome(
    lakes: Lakes, moves: Int[np.ndarray, "M T"], ended: Bool[np.ndarray, " M"]
) -> tuple[Bool[np.ndarray, " M"], Int[np.ndarray, " M"]]:
    """Whether each answer is right: it leads to the gift through no hole, has no word that is no move, and ends there.

    Returns:
        That, and how many moves it took beyond a shortest way.
    """
    walked = moves >= 0
    tiles = tiles_along(lakes, moves)
    row = np.arange(len(lakes))
    letters = lakes.flat[row[:, None], tiles]
    there = letters[:, -1] == GOAL
    early = (letters[:, :-1] == GOAL) & walked  # it walked on from the gift
    drowned = (letters == HOLE).any(1)
    right = there & ended & ~early.any(1) & ~drowned & (moves != INVALID).all(1)
    return right, walked.sum(1) - lakes.distance[row, lakes.start]


def reward_of(lakes: Lakes, spoken: MoveTokenizer, *, detour: float = 0.9) -> Judge:
    """The exact reward of answers: 1 for a right one, `detour` times less for each move too many."""

    def judge(index: Int[np.ndarray, " B"], tokens: Int[np.ndarray, "B T"]) -> Float[np.ndarray, " B"]:
        right, more = outcome(lakes[index], *spoken.heard(tokens))
        return np.where(right, detour ** np.maximum(more, 0), 0.0)

    return judge


# ---- every tile is asked about ----


@dataclass(frozen=True, eq=False)
class Probes:
    """Prefixes that lead to tiles, and what is optimal there.

    Attributes:
        lake: of each probe, which lake.
        moves: that lead there.
        tile: where.
        target: T* over the four moves and the end.
        shown: whether the tile is on the human's path.
    """

    lake: Int[np.ndarray, " X"]
    moves: list[list[int]]
    tile: Int[np.ndarray, " X"]
    target: Float[np.ndarray, "X 5"]
    shown: Bool[np.ndarray, " X"]

    @classmethod
    def of(cls, lakes: Lakes, paths: Int[np.ndarray, "M T"]) -> Probes:
        """One for each tile that a walk can stand on, the gift included.

        Args:
            lakes: which.
            paths: the human's, to the gift.
        """
        lake: list[int] = []
        moves: list[list[int]] = []
        tile: list[int] = []
        shown: list[bool] = []
        for index in range(len(lakes)):
            ways = _ways(lakes, index, paths[index])
            human = set(tiles_along(lakes[index : index + 1], paths[index : index + 1])[0].tolist())
            for where, way in ways.items():
                lake.append(index)
                moves.append(way)
                tile.append(where)
                shown.append(where in human)
        place, which = np.array(tile), np.array(lake)
        target = np.concatenate([lakes.optimal[which, place], np.zeros((len(which), 1))], 1)
        target[place == lakes.gift[which], END_ACTION] = 1.0
        return cls(which, moves, place, target, np.array(shown))


def _ways(lakes: Lakes, index: int, path: Int[np.ndarray, " T"]) -> dict[int, list[int]]:
    """Moves to each tile: the human's own along his path, a shortest way to every other, the first found of equals."""
    here = int(lakes.start[index])
    way: list[int] = []
    found = {here: way}
    for move in path[path >= 0].tolist():
        here, way = int(lakes.next_state[here, move]), [*way, move]
        found.setdefault(here, way)
    walkable = lakes.reachable[index]
    first: dict[int, list[int]] = {int(lakes.start[index]): []}
    queue = list(first)
    for tile in queue:
        for move in range(lakes.next_state.shape[1]):
            following = int(lakes.next_state[tile, move])
            if following not in first and walkable[following]:
                first[following] = [*first[tile], move]
                queue.append(following)
    return first | found


@torch.no_grad()
def action_probabilities(
    policy: LanguagePolicy, prefixes: Sequence[Sequence[int]], actions: Int[np.ndarray, "X A"], *, rows: int = 256
) -> Float[np.ndarray, "X A"]:
    """Probabilities of given tokens after each prefix; those of one length are run together."""
    device = next(policy.parameters()).device
    found = np.zeros(actions.shape)
    lengths = np.array([len(prefix) for prefix in prefixes])
    for length in np.unique(lengths):
        which = np.flatnonzero(lengths == length)
        for part in np.array_split(which, -(-len(which) // rows)):
            ids = torch.tensor([prefixes[i] for i in part], device=device)[None]
            logits = policy.logits(policy.embed(ids), torch.tensor([int(length) - 1], device=device))[0, :, 0]
            chance = torch.softmax(logits.double(), -1).cpu().numpy()
            found[part] = np.take_along_axis(chance, actions[part], 1)
    return found


def ask(policy: LanguagePolicy, spoken: MoveTokenizer, lakes: Lakes, probes: Probes) -> Float[np.ndarray, "X 5"]:
    """The model's probabilities of the four moves and the end at each probe."""
    first, later = (np.array(ids) for ids in spoken.actions)
    prompts = spoken.prompts(lakes)
    prefixes = [[*prompts[i], *spoken.said(way)] for i, way in zip(probes.lake, probes.moves, strict=True)]
    actions = np.stack([later if way else first for way in probes.moves])
    return action_probabilities(policy, prefixes, actions)


def entropy_of(policy: LanguagePolicy, spoken: MoveTokenizer, lakes: Lakes, probes: Probes) -> float:
    """How uncertain the model is of its next word, in nats, mean over probes; whatever is no move and no end counts as one."""
    chance = ask(policy, spoken, lakes, probes)
    chance = np.concatenate([chance, np.clip(1 - chance.sum(1, keepdims=True), 0.0, 1.0)], 1)
    return float(-(chance * np.log(np.maximum(chance, 1e-300))).sum(1).mean())


# ---- all measures ----


def measure(
    policy: LanguagePolicy,
    spoken: MoveTokenizer,
    lakes: Lakes,
    paths: Int[np.ndarray, "M T"],
    *,
    probes: Probes | None = None,
    samples: int = 4,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " M"]]:
    """All of `MEASURES` on each lake.

    Args:
        policy: the model.
        spoken: how it is spoken to.
        lakes: held-out ones.
        paths: the human's on each.
        probes: `Probes.of` lakes and paths, if they are at hand.
        samples: answers sampled on each lake.
        limit: tokens of an answer (default: twice as many as the longest shortest way, and two).
        seed: of sampling.
    """
    probes = Probes.of(lakes, paths) if probes is None else probes
    limit = limit or 2 * int(lakes.distance[np.arange(len(lakes)), lakes.start].max()) + 2
    result: dict[str, np.ndarray] = {}
    with looking(policy):
        chance = ask(policy, spoken, lakes, probes)
        squared = ((chance - probes.target) ** 2).mean(1)
        gift = probes.tile == lakes.gift[probes.lake]
        for name, which in (
            ("distance", ~gift),
            ("distance_on", ~gift & probes.shown),
            ("distance_off", ~gift & ~probes.shown),
        ):
            result[name] = _mean_by(probes.lake[which], squared[which], len(lakes))
        result["end"] = _mean_by(probes.lake[gift], chance[gift, END_ACTION], len(lakes))

        said, ended = answers(policy, spoken, lakes, limit)
        right, more = outcome(lakes, said, ended)
        result["greedy"], result["shortest"] = right.astype(float), (right & (more == 0)).astype(float)
        generator, often = torch.Generator().manual_seed(seed), repeated(lakes, samples)
        said, ended = answers(policy, spoken, often, limit, generator)
        sampled = {
            "sampled": outcome(often, said, ended)[0],
            "mass": _optimal_mass(policy, spoken, often, said),
            "slips": slipping(policy, spoken, often, limit, generator),
        }
    result |= {name: values.reshape(samples, -1).mean(0) for name, values in sampled.items()}
    return {name: result[name] for name in MEASURES}


@lru_cache(maxsize=4)
def repeated(lakes: Lakes, times: int) -> Lakes:
    """All of them, so many times over."""
    return lakes[np.tile(np.arange(len(lakes)), times)]


def answers(
    policy: LanguagePolicy, spoken: MoveTokenizer, lakes: Lakes, limit: int, generator: torch.Generator | None = None
) -> tuple[Int[np.ndarray, "M T"], Bool[np.ndarray, " M"]]:
    """One answer on each lake: its moves, and whether it was ended."""
    moves, ended = np.full((len(lakes), limit), NO_MOVE, np.int8), np.zeros(len(lakes), bool)
    for rows, asked in _alike(policy, spoken, lakes):
        tokens = sample(policy, asked, end=spoken.end, limit=limit, generator=generator, pad=spoken.end).cpu().numpy()
        moves[rows, : tokens.shape[1]], ended[rows] = spoken.heard(tokens)
    return moves, ended


def _alike(
    policy: LanguagePolicy, spoken: MoveTokenizer, lakes: Lakes
) -> Iterator[tuple[Int[np.ndarray, " K"], Int[Tensor, "K P"]]]:
    """The lakes whose prompts are of one length, and these prompts."""
    device, prompts = next(policy.parameters()).device, spoken.prompts(lakes)
    lengths = np.array([len(prompt) for prompt in prompts])
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        yield rows, torch.tensor([prompts[i] for i in rows], device=device)


@torch.no_grad()
def along(
    policy: LanguagePolicy, spoken: MoveTokenizer, lakes: Lakes, moves: Int[np.ndarray, "M T"]
) -> tuple[Float[np.ndarray, "M T 5"], Bool[np.ndarray, "M T"]]:
    """The model's probabilities of the four moves and the end at each step of walks, all steps in one forward pass.

    Returns:
        Those, and which steps there are: whatever comes before a word that is no move, and that word's own step. Elsewhere
        the probabilities are 0.
    """
    device = next(policy.parameters()).device
    going = np.concatenate([np.ones((len(moves), 1), bool), (moves[:, :-1] >= 0).cumprod(1).astype(bool)], 1)
    walked = [[*walk[: count - 1].tolist(), LEFT] for walk, count in zip(moves, going.sum(1), strict=True)]
    data = Completions.of(spoken.prompts(lakes), [spoken.said(walk) for walk in walked])  # the last word is not read
    first, later = spoken.actions
    actions = torch.tensor([first, *[later] * (moves.shape[1] - 1)], device=device)
    found = np.zeros((*moves.shape, END_ACTION + 1))
    for part in parts(len(data)):
        batch = data.batch(part, device)
        columns = counted(batch.mask)
        logits = policy.logits(policy.embed(batch.states), columns)[0].double()
        step = columns - torch.as_tensor(data.prompt[part, None], device=device) + 1  # of an answer, in each column
        tokens = actions[step.clamp(0, moves.shape[1] - 1)]
        chance = (logits.gather(-1, tokens) - logits.logsumexp(-1, keepdim=True)).exp()
        counts = batch.mask[0][:, columns]
        found[part] = _placed(chance, step, counts, moves.shape[1]).cpu().numpy()
    return found, going


def parts(count: int) -> list[Int[np.ndarray, " K"]]:
    """So many rows, as many at a time as are read together."""
    return np.array_split(np.arange(count), -(-count // ROWS))


def _placed(
    x: Float[Tensor, "K C A"], step: Int[Tensor, "K C"], counts: Bool[Tensor, "K C"], steps: int
) -> Float[Tensor, "K T A"]:
    """Each column's entry where its step is; 0 where none is."""
    row = torch.arange(len(x), device=x.device)[:, None].expand_as(step)
    found = x.new_zeros(len(x), steps, x.shape[-1])
    found[row[counts], step[counts]] = x[counts]
    return found


def _optimal_mass(
    policy: LanguagePolicy, spoken: MoveTokenizer, lakes: Lakes, moves: Int[np.ndarray, "M T"]
) -> Float[np.ndarray, " M"]:
    """Probability of optimal moves at each step of walks until the gift, a hole or a word that is no move, mean over steps."""
    chance, going = along(policy, spoken, lakes, moves)
    tiles = tiles_along(lakes, np.maximum(moves, NO_MOVE))[:, :-1]
    row = np.arange(len(lakes))[:, None]
    # From the gift, a hole or a tile cut off there is no way on: what follows does not count.
    counts = going & np.logical_and.accumulate((lakes.distance[row, tiles] > 0) & (lakes.distance[row, tiles] < FAR), 1)
    mass = (chance[..., :END_ACTION] * (lakes.optimal[row, tiles] > 0)).sum(-1)
    return (mass * counts).sum(1) / counts.sum(1)


@torch.no_grad()
def slipping(
    policy: LanguagePolicy, spoken: MoveTokenizer, lakes: Lakes, limit: int, generator: torch.Generator, *, rate: float = 0.1
) -> Float[np.ndarray, " M"]:
    """Whether walks reach the gift if `rate` of the moves slip to one side; what really happened stands in the prefix.

    The model says only moves here, by their shares of its probability: the walk is over when it is over.
    """
    won = np.zeros(len(lakes))
    for rows, asked in _alike(policy, spoken, lakes):
        ice = _Slippery(lakes[rows], spoken, generator, rate)
        sample(policy, asked, end=spoken.end, limit=limit, choose=ice.move)
        won[rows] = ice.won
    return won


class _Slippery:
    """Walks in the making."""

    def __init__(self, lakes: Lakes, spoken: MoveTokenizer, generator: torch.Generator, rate: float) -> None:
        self.lakes, self.spoken, self.generator, self.rate = lakes, spoken, generator, rate
        self.here, self.step = lakes.start.copy(), 0

    @property
    def letters(self) -> Int[np.ndarray, " M"]:
        return self.lakes.flat[np.arange(len(self.lakes)), self.here]

    @property
    def won(self) -> Bool[np.ndarray, " M"]:
        return self.letters == GOAL

    def move(self, logits: Float[Tensor, "M V"]) -> Int[Tensor, " M"]:
        """The words of what happened, whatever was said; the end where a walk is over."""
        words = torch.tensor(self.spoken.actions[min(self.step, 1)], device=logits.device)
        self.step += 1
        bound = torch.softmax(logits[:, words[:END_ACTION]].double(), -1).cumsum(-1).cpu().numpy()
        draw = torch.rand(len(logits), 3, generator=self.generator, dtype=torch.float64).numpy()
        move = np.minimum((draw[:, :1] * bound[:, -1:] >= bound).sum(1), END_ACTION - 1)
        slipped = np.where(draw[:, 1] < self.rate, np.where(draw[:, 2] < 0.5, 1, 3), 0)
        move = (move + slipped) % END_ACTION  # left, down, right, up: neighbours in this order are perpendicular
        over = self.won | (self.letters == HOLE)
        self.here = np.where(over, self.here, self.lakes.next_state[self.here, move])
        return words[torch.as_tensor(np.where(over, END_ACTION, move), device=words.device)]


def _mean_by(group: Int[np.ndarray, " X"], values: Float[np.ndarray, " X"], groups: int) -> Float[np.ndarray, " G"]:
    """Mean of each group's values; NaN for a group without any."""
    count = np.bincount(group, minlength=groups)
    total = np.bincount(group, values, groups)
    return np.divide(total, count, out=np.full(groups, np.nan), where=count > 0)
