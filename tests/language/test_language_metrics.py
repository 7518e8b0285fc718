"""Players whose every word is known are measured: T* itself is perfect, and what others lack is worked out by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from test_language_data import PIECES, TURNS, chat_tokenizer
from torch import nn

from ift_gridworld.envs.adapters import STEPS
from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, NO_MOVE, Lakes, draw_lakes, walk
from ift_gridworld.language.metrics import METRICS, measure, optimal_mass
from ift_gridworld.language.move_tokenizer import INVALID, MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.probes import (
    Probes,
    action_probabilities,
    entropy_at_temperatures,
    mean_entropy,
    probe_probabilities,
)
from ift_gridworld.language.rewards import exact_reward, outcome
from ift_gridworld.language.text import CHAT, COMPACT
from ift_gridworld.language.walks import sample_paths, slippery_success
from ift_gridworld.mdp import TabularMDP

LEFT, DOWN, RIGHT, UP = range(4)
END = "<end>"
X, N = INVALID, NO_MOVE


@pytest.fixture(scope="module")
def compact():
    return MoveTokenizer(COMPACT, COMPACT.tokenizer)


@pytest.fixture(scope="module")
def chat():
    return MoveTokenizer(CHAT, chat_tokenizer())


def place(rows, moves):
    """The tile that moves lead to, step by step in rows and columns."""
    grid = [list(row) for row in rows]
    at = next((r, c) for r, row in enumerate(grid) for c, letter in enumerate(row) if letter == "S")
    for move in moves:
        down, right = STEPS[CHAT.moves[move]]
        at = min(max(at[0] + down, 0), len(grid) - 1), min(max(at[1] + right, 0), len(grid[0]) - 1)
    return at[0] * len(grid[0]) + at[1]


class Machine(nn.Module):
    """A causal model with the interface of transformers', which says what `speaks` tells of the text before: {word: chance}.

    Its embeddings are one-hot, so that a prefix can be read back from them; a word is a move (0 … 3), END or a letter.
    """

    def __init__(self, tokenizer, speaks):
        super().__init__()
        size = len(tokenizer.model_tokenizer)
        self.table = nn.Embedding.from_pretrained(torch.eye(size))
        self.config = SimpleNamespace(max_position_embeddings=512, hidden_size=size)
        self.tokenizer, self.speaks, self.known = tokenizer, speaks, {}

    def get_input_embeddings(self):
        return self.table

    def forward(self, input_ids=None, inputs_embeds=None, past_key_values=None, use_cache=False, logits_to_keep=0):
        ids = input_ids if inputs_embeds is None else inputs_embeds.argmax(-1)
        place = torch.arange(ids.shape[1])
        place = place[-logits_to_keep:] if isinstance(logits_to_keep, int) else place[logits_to_keep]
        if past_key_values is not None:
            place = place + past_key_values.shape[1]
            ids = torch.cat([past_key_values, ids], 1)
        logits = torch.stack([torch.stack([self.after(tuple(row[: at + 1])) for at in place]) for row in ids.tolist()])
        return SimpleNamespace(logits=logits, past_key_values=ids if use_cache else None)

    def after(self, ids):
        if ids not in self.known:
            words = [word.strip(" ") for word in self.tokenizer.model_tokenizer.convert_ids_to_tokens(ids)]
            text, begin = self.tokenizer.model_tokenizer.decode(ids), ":" if self.tokenizer.form is COMPACT else "<|assistant|>"
            if begin not in words:  # inside a longer prompt than the others', where nobody looks
                return torch.zeros(self.table.num_embeddings, dtype=torch.double)
            first = words.index(begin) + 1
            rows = self.tokenizer.form.parse_prompt(text[: text.index(begin) + (self.tokenizer.form is COMPACT)])
            moves = self.tokenizer.form.moves
            said = [moves.index(word) if word in moves else word for word in words[first:]]
            chance = torch.zeros(self.table.num_embeddings, dtype=torch.double)
            for word, share in self.speaks(rows, said).items():
                word = moves[word] if isinstance(word, int) else word
                gap = " " if self.tokenizer.form is CHAT and said and word != END else ""
                chance[self.tokenizer.model_tokenizer.convert_tokens_to_ids(gap + word)] += share
            assert abs(float(chance.sum()) - 1) < 1e-9
            self.known[ids] = chance.log()
        return self.known[ids]


def player(tokenizer, speaks):
    return LanguagePolicy(Machine(tokenizer, speaks))


def at_tiles(tells):
    """A player to whom only the tile matters that what was said has led to: `tells(rows, tile, best moves)`."""

    def speaks(rows, said):
        lakes = Lakes.of([rows])
        tile = place(rows, [word for word in said if isinstance(word, int)])
        return tells(rows, tile, np.flatnonzero(lakes.optimal[0, tile]).tolist())

    return speaks


def among(words):
    return {word: 1 / len(words) for word in words}


def mixed(told, share, word):
    """The same, but `word` with a chance of `share`."""
    return {w: (1 - share) * chance for w, chance in told.items()} | {word: share + (1 - share) * told.get(word, 0.0)}


@at_tiles
def perfect(rows, tile, best):
    return among(best) if best else {END: 1.0}


@at_tiles
def first_best(rows, tile, best):
    """One of the best moves, always the same."""
    return {best[0]: 1.0} if best else {END: 1.0}


@at_tiles
def uniform(rows, tile, best):
    return among(range(4))


def ends_with(share):
    return at_tiles(lambda rows, tile, best: mixed(among(best), share, END) if best else {END: 1.0})


def corridor(count=1, ice=2):
    """One way: nothing but moves to the right."""
    return Lakes.of([("S" + "F" * ice + "G",)] * count)


def padded(rows, pad, width=6):
    return np.array([[*row, *[pad] * (width - len(row))] for row in rows], np.int8)


def held_out(count=12, size=4, seed=3):
    lakes = draw_lakes(count, size, seed=seed)
    return lakes, walk(lakes, seed=seed)


def ties(lakes):
    """How many moves are best, on tiles that a walk can stand on; 0 elsewhere."""
    return np.where(lakes.reachable, (lakes.optimal > 0).sum(-1), 0)


def of_tiles(lakes, paths, value):
    """Means of a number of each tile, over all, those on the human's path, and those off it; NaN where there is none."""
    shown = np.zeros((len(lakes), lakes.num_states), bool)
    for i in range(len(lakes)):
        moves = [m for m in paths[i] if m >= 0]
        shown[i, [place(lakes.rows(i), moves[:t]) for t in range(len(moves) + 1)]] = True
    found = {}
    for name, which in (("distance", lakes.reachable), ("on", lakes.reachable & shown), ("off", lakes.reachable & ~shown)):
        found[name] = np.array([np.mean(v[w]) if w.any() else np.nan for v, w in zip(value, which, strict=True)])
    return found["distance"], found["on"], found["off"]


# ---- players ----


@pytest.mark.parametrize("speaks", [perfect, first_best], ids=["all", "one"])
def test_who_plays_best_is_perfect_by_every_measure(speaks, compact):
    """T* is at no distance from itself. Who always takes the same one of k best moves is as good a player, yet not T*."""
    lakes, paths = held_out()
    found = measure(player(compact, speaks), compact, lakes, paths)
    assert list(found) == list(METRICS) and all(values.shape == (12,) for values in found.values())
    for name in ("greedy", "shortest", "sampled", "mass", "end"):
        np.testing.assert_allclose(found[name], 1, atol=1e-12, err_msg=name)
    assert (found["slips"] > 0).any() and (found["slips"] <= 1).all()
    k = np.maximum(ties(lakes), 1)
    far = (1 - 1 / k) / 5 if speaks is first_best else np.zeros(k.shape)  # (1 - 1/k)² + (k - 1)/k² over five numbers
    assert (ties(lakes) > 1).any()
    for name, expected in zip(("distance", "distance_on", "distance_off"), of_tiles(lakes, paths, far), strict=True):
        np.testing.assert_allclose(found[name], expected, atol=1e-12, err_msg=name)


def test_so_is_one_that_is_asked_in_words(chat):
    """Prompts of unequal lengths are measured together."""
    lakes, paths = held_out(8)
    assert len({len(prompt) for prompt in chat.prompts(lakes)}) > 2
    found = measure(player(chat, perfect), chat, lakes, paths, samples=2)
    for name in ("greedy", "shortest", "sampled", "mass", "end"):
        np.testing.assert_allclose(found[name], 1, atol=1e-12, err_msg=name)
    for name in ("distance", "distance_on", "distance_off"):
        assert np.nanmax(found[name]) < 1e-12


def test_who_plays_at_random_is_as_far_as_one_can_work_out(compact):
    """With k best moves: k (1/k - 1/4)² + (4 - k)/16 = 1/k - 1/4, over five numbers; and k/4 of the chance is on them."""
    lakes, paths = held_out()
    found = measure(player(compact, uniform), compact, lakes, paths)
    far = (1 / np.maximum(ties(lakes), 1) - 1 / 4) / 5
    for name, expected in zip(("distance", "distance_on", "distance_off"), of_tiles(lakes, paths, far), strict=True):
        np.testing.assert_allclose(found[name], expected, atol=1e-12, err_msg=name)
    assert (found["end"] == 0).all() and (found["sampled"] == 0).all() and (found["greedy"] == 0).all(), "it never ends"
    assert ((found["mass"] >= 1 / 4) & (found["mass"] <= 1 / 2)).all()
    np.testing.assert_allclose(measure(player(compact, uniform), compact, corridor(3), np.full((3, 3), RIGHT))["mass"], 1 / 4)


@pytest.mark.parametrize(("word", "punished"), [(END, 1.0), ("H", 0.0), ("/", 0.0)], ids=["end", "letter", "row"])
def test_a_share_for_another_word_is_lost(word, punished, compact):
    """Each of k best moves lacks e/k: e²/k, and e² more if it is the end that has it, of which T* has nothing there."""
    lakes, paths = held_out()
    share = 0.3
    speaks = at_tiles(lambda rows, tile, best: mixed(among(best) if best else {END: 1.0}, share, word))
    found = measure(player(compact, speaks), compact, lakes, paths, samples=2)
    far = share**2 * (1 / np.maximum(ties(lakes), 1) + punished) / 5
    for name, expected in zip(("distance", "distance_on", "distance_off"), of_tiles(lakes, paths, far), strict=True):
        np.testing.assert_allclose(found[name], expected, atol=1e-12, err_msg=name)
    np.testing.assert_allclose(found["mass"], 1 - share, atol=1e-12)
    np.testing.assert_allclose(found["end"], 1.0 if word == END else 1 - share, atol=1e-12)
    assert (found["greedy"] == 1).all(), "what is likeliest is still best"


def test_chances_of_sampled_answers(compact):
    """Three moves and the end, each said with 0.8: 0.8⁴, to four standard errors; from the goal on with 0.5, 0.8³ 0.5."""
    lakes, paths = corridor(4000), np.full((4000, 3), RIGHT)
    for share, expected in ((1.0, 0.8**3), (0.5, 0.8**3 * 0.5)):
        speaks = at_tiles(lambda rows, tile, best, s=share: mixed({2: 1.0}, 0.2, END) if best else mixed({0: 1.0}, s, END))
        said, ended = sample_paths(player(compact, speaks), compact, lakes, 8, torch.Generator().manual_seed(1))
        right, _ = outcome(lakes, said, ended)
        assert abs(right.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / 4000)
    found = measure(player(compact, ends_with(0.2)), compact, lakes[:500], paths[:500], samples=2)
    assert abs(found["sampled"].mean() - 0.8**3) < 4 * np.sqrt(0.8**3 * (1 - 0.8**3) / 1000)
    assert set(found["sampled"].tolist()) == {0.0, 0.5, 1.0}, "shares of two answers"


def test_an_answer_has_to_fit_the_limit_with_its_end(compact):
    """A random walk along a corridor that ends on the goal: its chance to be there in time is counted move by move."""
    speaks = at_tiles(lambda rows, tile, best: among(range(4)) if best else {END: 1.0})
    lakes, policy = corridor(3000, ice=1), player(compact, speaks)
    for limit in (3, 5):
        chance = np.array([1.0, 0.0, 0.0])
        for _ in range(limit - 1):  # moves: the last token is the end; three of four moves stay at the start, two on the ice
            chance = np.array([3 * chance[0] + chance[1], chance[0] + 2 * chance[1], chance[1] + 4 * chance[2]]) / 4
        said, ended = sample_paths(policy, compact, lakes, limit, torch.Generator().manual_seed(limit))
        right, _ = outcome(lakes, said, ended)
        assert (right == ended).all(), "who has ended was on the goal"
        assert abs(right.mean() - chance[2]) < 4 * np.sqrt(chance[2] * (1 - chance[2]) / 3000)
    for ice, limit, expected in ((2, 4, 1.0), (2, 3, 0.0), (2, None, 1.0), (0, None, 1.0)):
        lakes, paths = corridor(2, ice=ice), np.full((2, ice + 1), RIGHT)
        found = measure(player(compact, perfect), compact, lakes, paths, samples=1, limit=limit)
        for name in ("greedy", "shortest", "sampled"):
            assert (found[name] == expected).all()


def test_an_answer_may_be_twice_as_long_as_the_longest_shortest_way(compact):
    """Three moves on the longest of these corridors: seven and the end are heard to the end, eight are not."""
    lakes, paths = Lakes.of([("SFFG",), ("FSFG",)]), padded([[RIGHT] * 3, [RIGHT] * 2], N, 3)
    for bumps, expected in ((4, [1, 0]), (5, [0, 0])):
        there = scripted(*[UP] * bumps, RIGHT, RIGHT, RIGHT)
        found = measure(player(compact, there), compact, lakes, paths, samples=1)
        assert found["greedy"].tolist() == found["sampled"].tolist() == expected and not found["shortest"].any()


def scripted(*script):
    """Says these words, whatever the lake; then the end."""
    return lambda rows, said: {script[len(said)] if len(said) < len(script) else END: 1.0}


ON_AND_ON = (LEFT,) * 99


@pytest.mark.parametrize(
    ("script", "greedy", "shortest", "mass", "end"),
    [
        ((RIGHT, RIGHT, RIGHT), 1, 1, 1, 1),
        ((LEFT, RIGHT, UP, RIGHT, RIGHT), 1, 0, 3 / 5, 0),
        ((), 0, 0, 0, 1),
        ((RIGHT,), 0, 0, 1 / 2, 1),
        (ON_AND_ON, 0, 0, 0, 0),
        ((RIGHT, RIGHT, RIGHT, *ON_AND_ON), 0, 0, 1, 0),
        ((RIGHT, RIGHT, RIGHT, RIGHT), 0, 0, 1, 0),
        ((RIGHT, RIGHT, RIGHT, LEFT, RIGHT), 0, 0, 1, 0),
        ((RIGHT, RIGHT, RIGHT, "F"), 0, 0, 1, 0),
        (("F",), 0, 0, 0, 1),
        ((RIGHT, "F", RIGHT, RIGHT), 0, 0, 1 / 2, 0),
        (("F", RIGHT, RIGHT, RIGHT), 0, 0, 0, 0),
    ],
    ids=[
        "best", "roundabout", "silent", "stops short", "never ends", "never ends on the goal", "walks on", "walks off and back",
        "letter on the goal", "letter", "letter between", "letter first",
    ],
)  # fmt: skip
def test_players_with_a_script(script, greedy, shortest, mass, end, compact, chat):
    """Mass: of the steps until the goal or a word that is no move. End: what is said after the human's three moves."""
    lakes, paths = corridor(2), np.full((2, 3), RIGHT)
    for tokenizer in (compact, chat):
        found = measure(player(tokenizer, scripted(*script)), tokenizer, lakes, paths, samples=2)
        expected = {"greedy": greedy, "shortest": shortest, "sampled": greedy, "mass": mass, "end": end}
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, atol=1e-12, err_msg=f"{tokenizer.form.name}: {name}")
        assert np.isnan(found["distance_off"]).all(), "all tiles are on the human's path"
        np.testing.assert_array_equal(found["distance"], found["distance_on"])
        told = [script[t] if t < len(script) else END for t in range(3)]
        far = [0 if word == RIGHT else 1 / 5 if word == "F" else 2 / 5 for word in told]
        np.testing.assert_allclose(found["distance"], np.mean(far), atol=1e-12)


def test_a_model_is_left_as_it_was(compact):
    lakes, paths = held_out(4)
    policy = player(compact, ends_with(0.2))
    for training in (True, False):
        policy.train(training)
        found = measure(policy, compact, lakes, paths, seed=5)
        assert policy.training == training
    with_probes = measure(policy, compact, lakes, paths, seed=5, probes=Probes.of(lakes, paths))
    other = measure(policy, compact, lakes, paths, seed=6)
    for name in METRICS:
        np.testing.assert_array_equal(found[name], with_probes[name], err_msg="the same seed")
    assert (found["sampled"] != other["sampled"]).any()


def test_dropout_is_off_while_a_model_is_measured(compact):
    seen = []
    policy = player(compact, lambda rows, said: seen.append(policy.model.training) or {END: 1.0})
    policy.train()
    measure(policy, compact, corridor(), np.full((1, 3), RIGHT))
    assert seen and not any(seen)


# ---- moves said and heard ----


@pytest.mark.parametrize("form", ["compact", "chat"])
def test_what_is_said_is_heard(form, request):
    tokenizer = request.getfixturevalue(form)
    random = np.random.default_rng(0)
    for length in (1, 2, 7):
        moves = random.integers(4, size=(50, length))
        for ended in (True, False):
            tokens = np.array([tokenizer.encode(row, ended=ended) for row in moves.tolist()])
            heard, over = tokenizer.decode(tokens)
            assert (heard[:, :length] == moves).all() and (heard[:, length:] == NO_MOVE).all()
            assert (over == ended).all() and heard.shape == (50, length + ended)
    assert tokenizer.encode([]) == [] and tokenizer.encode([], ended=True) == [tokenizer.model_tokenizer.eos_token_id]


def test_heard_by_hand(compact, chat):
    """Nothing after the end is heard; who was cut has not ended; a word that is no move is told from one that is not there."""
    ids = {word: i for i, word in enumerate(compact.model_tokenizer.convert_ids_to_tokens(range(12)))}
    said = [
        ["L", "R", END, "U"], ["D", "U", "R", "L"], [END, END, END, END], ["F", "R", "<pad>", END], ["R", END, "F", "R"],
    ]  # fmt: skip
    heard, ended = compact.decode(np.array([[ids[word] for word in row] for row in said]))
    assert heard.tolist() == [
        [LEFT, RIGHT, NO_MOVE, NO_MOVE],
        [DOWN, UP, RIGHT, LEFT],
        [NO_MOVE] * 4,
        [INVALID, RIGHT, INVALID, NO_MOVE],
        [RIGHT, NO_MOVE, NO_MOVE, NO_MOVE],
    ]
    assert ended.tolist() == [True, False, True, True, True]
    ids = chat.model_tokenizer.convert_tokens_to_ids
    said = [["left", " left", END], [" left", "left", END], ["S", "\n", " up"], ["up", " down", " right"]]
    heard, ended = chat.decode(np.array([[ids(word) for word in row] for row in said]))
    assert heard.tolist() == [[LEFT, LEFT, NO_MOVE], [INVALID, INVALID, NO_MOVE], [INVALID, INVALID, UP], [UP, DOWN, RIGHT]]
    assert ended.tolist() == [True, True, False, False]


def test_a_later_word_has_a_token_of_its_own_where_a_space_is_part_of_it(compact, chat):
    first, later = chat.action_tokens
    assert chat.model_tokenizer.convert_ids_to_tokens(first) == ["left", "down", "right", "up", END]
    assert chat.model_tokenizer.convert_ids_to_tokens(later) == [" left", " down", " right", " up", END]
    assert compact.action_tokens[0] == compact.action_tokens[1]


@pytest.mark.parametrize(
    ("tokenizer", "named"),
    [
        (lambda: chat_tokenizer(pieces=rf" ?do(?=wn)|wn|{PIECES}"), "writes 'down down' as 'do', 'wn', ' do', 'wn', '<end>'"),
        (
            lambda: chat_tokenizer(TURNS.replace("<end>", "<|system|>")),
            r"'left left' as 'left', ' left', '<\|system\|>', '<end>'",
        ),
        (
            lambda: chat_tokenizer(TURNS.replace("{{ m.content }}", "{{ '\n' if m.role != 'user' }}{{ m.content }}")),
            r"'left left' as '\\n', 'left', ' left', '<end>'; allowed: a token a move, and the end",
        ),
    ],
    ids=["two tokens", "another end", "text before"],
)
def test_a_move_that_is_no_single_token_is_refused_by_name(tokenizer, named):
    """Then a move is no action of the model's: its chance would be that of a piece, or the end would not be the model's end."""
    tokenizer = MoveTokenizer(CHAT, tokenizer())
    with pytest.raises(ValueError, match=named) as error:
        tokenizer.action_tokens  # noqa: B018 (it is asked for)
    assert "\n" not in str(error.value)


def test_moves_that_share_a_token_are_refused():
    """Words that a tokenizer does not know are all the same to it."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = chat_tokenizer()
    told = tokenizer.backend_tokenizer.to_str().replace('" up"', '" ups"')
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(told.replace('" down"', '" downs"')),
        eos_token=END, pad_token="<pad>", chat_template=TURNS,
    )  # fmt: skip
    with pytest.raises(ValueError, match="one token for several of left, down, right, up"):
        MoveTokenizer(CHAT, tokenizer).action_tokens  # noqa: B018


# ---- what an answer is worth ----

LAKE = ("SFH", "FFG")  # three moves: down or right first
OUTCOMES = {
    "best": ([RIGHT, DOWN, RIGHT], True, True, 0),
    "another best": ([DOWN, RIGHT, RIGHT], True, True, 0),
    "against the edge": ([LEFT, RIGHT, DOWN, RIGHT], True, True, 1),
    "there and back": ([RIGHT, LEFT, RIGHT, DOWN, RIGHT], True, True, 2),
    "not ended": ([RIGHT, DOWN, RIGHT], False, False, 0),
    "stops short": ([RIGHT, DOWN], True, False, -1),
    "silent": ([], True, False, -3),
    "into the hole": ([RIGHT, RIGHT], True, False, -1),
    "through the hole": ([RIGHT, RIGHT, DOWN], True, False, 0),
    "walks on against the edge": ([RIGHT, DOWN, RIGHT, RIGHT], True, False, 1),
    "walks off the goal and back": ([RIGHT, DOWN, RIGHT, LEFT, RIGHT], True, False, 2),
    "walks off": ([RIGHT, DOWN, RIGHT, LEFT], True, False, 1),
    "from the goal into the hole": ([RIGHT, DOWN, RIGHT, UP], True, False, 1),
    "a word first": ([X, RIGHT, DOWN, RIGHT], True, False, 0),
    "a word between": ([RIGHT, X, DOWN, RIGHT], True, False, 0),
    "a word on the goal": ([RIGHT, DOWN, RIGHT, X], True, False, 0),
    "a word for a move": ([RIGHT, DOWN, X], True, False, -1),
}


def test_outcomes_by_hand():
    lakes = Lakes.of([LAKE] * len(OUTCOMES))
    moves, ended, right, more = zip(*OUTCOMES.values(), strict=True)
    for width in (5, 6, 9):  # however much stands behind the answers
        found, longer = outcome(lakes, padded(moves, N, width), np.array(ended))
        assert dict(zip(OUTCOMES, found.tolist(), strict=True)) == dict(zip(OUTCOMES, right, strict=True))
        assert dict(zip(OUTCOMES, longer.tolist(), strict=True)) == dict(zip(OUTCOMES, more, strict=True))


def test_each_answer_is_judged_on_its_own_lake():
    lakes = Lakes.of([("SFG", "FFF"), ("GFS", "FFF"), ("SHG", "FFF")])
    moves = padded([[RIGHT, RIGHT], [RIGHT, RIGHT], [RIGHT, RIGHT]], N, 3)
    right, _ = outcome(lakes, moves, np.ones(3, bool))
    assert right.tolist() == [True, False, False]
    assert outcome(lakes, padded([[RIGHT, RIGHT], [LEFT, LEFT], [DOWN, RIGHT, RIGHT, UP]], N), np.ones(3, bool))[0].all()


@pytest.mark.parametrize("form", ["compact", "chat"])
def test_the_reward_is_the_outcomes(form, request):
    """1 for a right answer, nine tenths of it for each move too many, 0 for a wrong one; of the rows it is asked about."""
    tokenizer = request.getfixturevalue(form)
    letter = tokenizer.model_tokenizer.convert_tokens_to_ids("F")
    rows, expected = [], []
    for moves, ended, right, more in OUTCOMES.values():
        tokens = tokenizer.encode([max(move, 0) for move in moves])
        tokens = [letter if move == INVALID else token for move, token in zip(moves, tokens, strict=True)]
        rows.append([*tokens, *[tokenizer.end if ended else letter] * (6 - len(tokens))])
        expected.append(0.9**more if right else 0.0)
    tokens, index = np.array(rows), np.ones(len(rows), int)
    lakes = Lakes.of([LAKE[::-1], LAKE])
    reward_function = exact_reward(lakes, tokenizer)
    np.testing.assert_allclose(reward_function(index, tokens), expected)
    np.testing.assert_allclose(reward_function(index, tokens)[:4], [1, 1, 0.9, 0.81])
    np.testing.assert_allclose(exact_reward(lakes, tokenizer, detour=0.5)(index, tokens)[:4], [1, 1, 0.5, 0.25])
    assert reward_function(np.array([1, 0, 1]), tokens[[0, 0, 0]]).tolist() == [1.0, 0.0, 1.0], "on the other lake it is no way"


def test_who_is_cut_has_not_ended_though_others_have(compact):
    """Completions of one batch end at different times; what stands behind the early ones is no end of the late ones."""
    lakes = Lakes.of([("SG", "FF"), ("SF", "FG"), ("SF", "GF")])

    def speaks(rows, said):
        return {LEFT: 1.0} if rows == ("SF", "FG") else perfect(rows, said)

    for generator in (None, torch.Generator().manual_seed(0)):
        for limit in (2, 3, 7):
            moves, ended = sample_paths(player(compact, speaks), compact, lakes, limit, generator)
            assert moves.shape == (3, limit) and ended.tolist() == [True, False, True]
            over = [NO_MOVE] * (limit - 1)
            assert moves.tolist() == [[RIGHT, *over], [LEFT] * limit, [DOWN, *over]]


def test_answers_stand_in_the_rows_of_their_lakes(chat):
    """Prompts are asked in groups of one length."""
    lakes, _ = held_out(8)
    lengths = [len(prompt) for prompt in chat.prompts(lakes)]
    assert lengths != sorted(lengths)
    moves, ended = sample_paths(player(chat, first_best), chat, lakes, 20)
    assert ended.all()
    for i in range(8):
        assert place(lakes.rows(i), [m for m in moves[i] if m >= 0]) == lakes.goal[i]
        assert (moves[i] >= 0).sum() == lakes.distance[i, lakes.start[i]]


# ---- every tile ----


def searched(rows):
    """Tiles that a walk can stand on, by trying all moves from the start; the goal ends it."""
    flat, seen, queue = "".join(rows), set(), [[]]
    while queue:
        way = queue.pop(0)
        tile = place(rows, way)
        if tile not in seen and flat[tile] != "H":
            seen.add(tile)
            queue += [[*way, move] for move in range(4)] if flat[tile] != "G" else []
    return seen


@pytest.mark.parametrize("noise", [0.0, 0.5], ids=["shortest", "roundabout"])
def test_probes_ask_about_every_tile_once_by_a_way_that_leads_there(noise):
    """Along the human's path by the human's own moves, bumps and detours included; elsewhere by a shortest way."""
    lakes = draw_lakes(60, (4, 5), ice=0.6, seed=2)
    paths = walk(lakes, noise, seed=5, limit=60)
    there = np.array([place(lakes.rows(i), path[path >= 0]) == lakes.goal[i] for i, path in enumerate(paths)])
    lakes, paths = lakes[there], paths[there]
    assert len(lakes) > 10
    probes = Probes.of(lakes, paths)
    assert len({(i, tile) for i, tile in zip(probes.lake, probes.tile, strict=True)}) == len(probes.tile) == len(probes.moves)
    assert (lakes.reachable.sum(1) < (lakes.tiles != HOLE_CODE).sum((1, 2)) - 1).any(), "some ice is out of reach"
    for i in range(len(lakes)):
        mine = np.flatnonzero(probes.lake == i)
        assert set(probes.tile[mine].tolist()) == searched(lakes.rows(i))
        human = [m for m in paths[i].tolist() if m >= 0]
        along = [place(lakes.rows(i), human[:t]) for t in range(len(human) + 1)]
        for x in mine:
            tile, way = int(probes.tile[x]), probes.moves[x]
            assert place(lakes.rows(i), way) == tile
            assert probes.on_path[x] == (tile in along)
            if probes.on_path[x]:
                assert way == human[: along.index(tile)], "when he was there first"
            else:
                assert len(way) == lakes.from_start[i, tile]
            ends = tile == lakes.goal[i]
            np.testing.assert_allclose(probes.target[x], [*lakes.optimal[i, tile], float(ends)], atol=1e-7)
            assert abs(probes.target[x].sum() - 1) < 1e-6


def test_probes_by_hand():
    """Neither ice behind the goal nor ice behind holes can be stood on; the human may bump and turn back."""
    probes = Probes.of(Lakes.of([("SGF",)]), np.array([[RIGHT]]))
    assert probes.tile.tolist() == [0, 1] and probes.moves == [[], [RIGHT]] and probes.on_path.all()
    assert probes.target.tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1]]
    probes = Probes.of(Lakes.of([("FSF", "FFF", "HGH", "HFF")]), np.array([[UP, RIGHT, LEFT, DOWN, DOWN, N]]))
    way = {tile: (moves, shown) for tile, moves, shown in zip(probes.tile.tolist(), probes.moves, probes.on_path, strict=True)}
    assert way == {
        1: ([], True),
        2: ([UP, RIGHT], True),
        4: ([UP, RIGHT, LEFT, DOWN], True),
        7: ([UP, RIGHT, LEFT, DOWN, DOWN], True),
        0: ([LEFT], False),
        3: ([LEFT, DOWN], False),
        5: ([DOWN, RIGHT], False),
    }
    at = dict(zip(probes.tile.tolist(), probes.target.tolist(), strict=True))
    assert at[0] == [0, 0.5, 0.5, 0, 0] and at[1] == [0, 1, 0, 0, 0], "ties are shared evenly"


@pytest.mark.parametrize("form", ["compact", "chat"])
def test_each_probe_is_asked_where_it_stands(form, request):
    """The player tells the tile that it was led to, by a chance that is no other tile's."""
    tokenizer = request.getfixturevalue(form)
    lakes, paths = held_out(5)
    probes = Probes.of(lakes, paths)
    telling = at_tiles(lambda rows, tile, best: {LEFT: tile / 100, RIGHT: 0.5 - tile / 100, UP: 0.125, END: 0.25, "H": 0.125})
    chance = probe_probabilities(player(tokenizer, telling), tokenizer, lakes, probes)
    tile = probes.tile[:, None] / 100
    expected = np.concatenate([tile, 0 * tile, 0.5 - tile, 0 * tile + 0.125, 0 * tile + 0.25], 1)
    np.testing.assert_allclose(chance, expected, atol=1e-12)


def test_probabilities_are_the_models_own():
    """However they are grouped, and whatever begins what: of a real model, each is the softmax after its last token alone."""
    policy = LanguagePolicy(sharp_model())
    random = np.random.default_rng(0)
    prompts = [random.integers(2, 12, length).tolist() for length in (3, 5, 3)]
    index = np.array([0, 1, 2, 0, 0, 1, 2, 2, 0])
    continuations = [random.integers(2, 12, length).tolist() for length in (0, 2, 1, 3, 1, 0, 2, 2, 0)]
    continuations[4] = continuations[3][:1]
    actions = random.integers(0, 12, (9, 4))
    texts = [[*prompts[i], *tokens] for i, tokens in zip(index, continuations, strict=True)]
    with torch.no_grad():
        chances = [torch.softmax(policy.model(torch.tensor([text])).logits[0, -1], -1) for text in texts]
    expected = [chance[wanted] for chance, wanted in zip(chances, actions, strict=True)]
    for rows in (1, 2, 256):
        found = action_probabilities(policy, prompts, index, continuations, actions, rows=rows)
        np.testing.assert_allclose(found, torch.stack(expected), atol=1e-5)


def test_entropy_is_that_of_the_player(compact):
    """log k among k words, 0 where there is one; words that are neither moves nor the end are one together."""
    lakes, paths = held_out(6)
    probes = Probes.of(lakes, paths)
    assert abs(mean_entropy(player(compact, uniform), compact, lakes, probes) - np.log(4)) < 1e-9
    k = ties(lakes)[probes.lake, probes.tile]
    assert abs(mean_entropy(player(compact, perfect), compact, lakes, probes) - np.log(np.maximum(k, 1)).mean()) < 1e-9
    mumbling = player(compact, lambda rows, said: {LEFT: 0.5, RIGHT: 0.25, "F": 0.125, "/": 0.125})
    assert abs(mean_entropy(mumbling, compact, lakes, probes) - 1.5 * np.log(2)) < 1e-9


def test_entropies_of_temperatures_are_those_of_the_policy_at_each(compact):
    """Although the model ran at one temperature alone."""
    lakes, paths = held_out(6)
    policy, probes = LanguagePolicy(sharp_model()), Probes.of(lakes, paths)
    for first in (1.0, 0.5):
        policy.temperature = first
        entropy = entropy_at_temperatures(policy, compact, lakes, probes, rows=3)
        for temperature in (0.3, 1.0, 2.0):
            policy.temperature = temperature
            assert entropy(temperature) == pytest.approx(mean_entropy(policy, compact, lakes, probes), abs=1e-6)
        assert entropy(0.3) < entropy(1.0) - 0.1 < entropy(2.0) - 0.2, "the temperature is felt"


# ---- along the model's own walks ----


@pytest.mark.parametrize(
    ("moves", "expected"),
    [
        ([RIGHT, LEFT, RIGHT, DOWN], (1 / 2 + 1 / 4 + 1 / 2 + 1 / 4) / 4),
        ([UP, DOWN, RIGHT], (1 / 2 + 1 / 2 + 1 / 4) / 3),
        ([RIGHT, N], (1 / 2 + 1 / 4) / 2),
        ([N, N], 1 / 2),
        ([RIGHT, X, DOWN], (1 / 2 + 1 / 4) / 2),
        ([X, RIGHT, DOWN], 1 / 2),
        ([RIGHT, DOWN, LEFT, UP], (1 / 2 + 1 / 4) / 2),
        ([UP, UP, UP], 1 / 2),
    ],
)
def test_the_mass_of_a_walk_by_hand(moves, expected, compact):
    """Of a random player: 1/2 at the start of open 2x2 ice, 1/4 beside the goal; the step that breaks off a walk counts."""
    lakes = Lakes.of([("SF", "FG"), ("GF", "FS"), ("SF", "FG")])
    rest = [[LEFT, UP], [N, N]]
    found = optimal_mass(player(compact, uniform), compact, lakes, padded([moves, *rest], N, 4 if len(moves) > 3 else 3))
    np.testing.assert_allclose(found, [expected, (1 / 2 + 1 / 4) / 2, 1 / 2], atol=1e-12)


def test_nothing_is_counted_after_a_hole(compact):
    lakes = Lakes.of([("SFG", "FHF")] * 2)
    found = optimal_mass(player(compact, uniform), compact, lakes, padded([[RIGHT, DOWN, UP, RIGHT], [DOWN, RIGHT]], N, 5))
    np.testing.assert_allclose(found, [1 / 4, 1 / 4])
    known = player(compact, at_tiles(lambda rows, tile, best: among(best) if tile == 0 else among([LEFT])))
    found = optimal_mass(known, compact, lakes, padded([[RIGHT, DOWN, UP, RIGHT], [DOWN, RIGHT]], N, 5))
    np.testing.assert_allclose(found, [1 / 2, 1 / 2], err_msg="all of the best at the start, nothing of it on the next tile")


# ---- slips ----


def test_without_slips_a_player_is_where_he_meant_to_be(compact):
    lakes, _ = held_out()
    shortest = lakes.distance[np.arange(12), lakes.start]
    policy, generator = player(compact, perfect), torch.Generator().manual_seed(0)
    assert (slippery_success(policy, compact, lakes, 30, generator, rate=0.0) == 1).all()
    for limit in (3, 4):
        won = slippery_success(policy, compact, lakes, limit, generator, rate=0.0)
        np.testing.assert_array_equal(won, shortest <= limit, err_msg="by a shortest way, and no end is needed")
    hesitant = player(compact, ends_with(0.5))
    assert (slippery_success(hesitant, compact, lakes, 30, generator, rate=0.0) == 1).all(), (
        "moves alone are said, by their shares"
    )


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_slips_are_those_of_the_lakes_own_ice(rate, compact):
    """The chance to be on the goal in time, from the MDP with slippery ice: the player knows where a slip has led him."""
    rows, limit, count = ("SFF", "FHF", "FFG"), 9, 2500
    lakes = Lakes.of([rows] * count)
    mdp = TabularMDP.from_map(rows, is_slippery=True, success_rate=1 - rate)
    policy = np.zeros((9, 4))
    for tile in range(9):
        best = np.flatnonzero(lakes.optimal[0, tile])
        policy[tile, best if len(best) else 0] = 1 / max(len(best), 1)
    chance = mdp.start
    for _ in range(limit):
        chance = np.einsum("s,sa,sat->t", chance, policy, mdp.transition)
    expected = chance[8]
    assert 0.1 < expected < 0.95
    won = slippery_success(player(compact, perfect), compact, lakes, limit, torch.Generator().manual_seed(3), rate=rate)
    assert abs(won.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / count)


def test_a_slip_goes_to_either_side_alike_and_never_back(compact):
    """If every move slips, a step to the right goes up or down: never to the hole behind, never ahead."""
    for rows, expected in ((("FGF", "HSF", "FFF"), 0.5), (("FFF", "HSF", "FGF"), 0.5), (("FFF", "HSG", "FFF"), 0.0)):
        lakes = Lakes.of([rows] * 1500)
        to_the_right = player(compact, lambda rows, said: {RIGHT: 1.0})
        won = slippery_success(to_the_right, compact, lakes, 1, torch.Generator().manual_seed(1), rate=1.0)
        assert abs(won.mean() - expected) <= 4 * np.sqrt(expected * (1 - expected) / 1500)


def test_a_tenth_of_moves_slips_in_the_measure(compact):
    """Two moves between holes: both have to hold, 0.9²."""
    lakes = Lakes.of([("HHHH", "SFGF", "HHHH")] * 500)
    found = measure(player(compact, perfect), compact, lakes, np.full((500, 2), RIGHT), samples=4)
    assert abs(found["slips"].mean() - 0.81) < 4 * np.sqrt(0.81 * 0.19 / 2000)
    assert (found["sampled"] == 1).all() and (lakes.flat == GOAL_CODE).any()
