"""Rewards with the signature of TRL's GRPOTrainer: exact values, worked out by hand, of texts and of conversations."""

import numpy as np
import pytest
from test_language_metrics import at_tiles, player

from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, draw_lakes, tiles_along, walk
from ift_gridworld.language.metrics import optimal_mass as metric_mass
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.rewards import optimal_mass, reach_goal, shortest_path
from ift_gridworld.language.text import CHAT, COMPACT, read_map_of

# S F F   From S the way along the top and round is 4 moves, straight down into the hole none; the goal is at the bottom right.
# H F G   So right, right, down and right, down, right are shortest: 3 moves.
ROWS = ("SFF", "HFG")
WORDS = {"L": "left", "D": "down", "R": "right", "U": "up"}
CASES = [  # moves, reach_goal, shortest_path, optimal_mass
    ("R R D", 1, 1, 3 / 3),
    ("R D R", 1, 1, 3 / 3),
    ("R L R D R", 1, 0, 4 / 5),  # back to the start is not optimal
    ("L R D R", 1, 0, 3 / 4),  # against the edge it stays
    ("D R R", 0, 0, 0 / 1),  # into the hole: what follows does not count
    ("R D", 0, 0, 2 / 3),  # it stops short of the goal, which is a step
    ("", 0, 0, 0 / 1),
    ("R R D R", 0, 0, 3 / 3),  # it does not stop on the goal
    ("R jump R D", 0, 0, 1 / 2),  # a word that is no move
    ("R R D .", 0, 0, 3 / 3),
]


def as_messages(moves):
    words = " ".join(WORDS.get(word, word) for word in moves.split())
    return [{"role": "assistant", "content": words}]


def forms(moves):
    """One question in every form in which it can be asked, and its answer."""
    chat = CHAT.prompt(ROWS)
    shown = [*CHAT.prompt(("SG",)), *CHAT.completion([2])]
    words = as_messages(moves)[0]["content"]
    plain = "Cross the lakes.\n\nS G\nMoves: right\n\nS F F\nH F G\nMoves:"
    yield COMPACT.prompt(ROWS), " " + moves
    yield chat, as_messages(moves)
    yield [{"role": "system", "content": "Be brief. S G"}, *shown, *chat], as_messages(moves)
    yield plain, " " + words
    yield "SFF\nHFG\n", words + "\n"


@pytest.mark.parametrize(("moves", "goal", "shortest", "mass"), CASES, ids=[case[0] or "nothing" for case in CASES])
def test_rewards_are_those_of_the_path(moves, goal, shortest, mass):
    for prompt, completion in forms(moves):
        asked = {"prompts": [prompt], "completions": [completion], "completion_ids": [[1, 2]], "trainer_state": None}
        assert reach_goal(**asked) == [goal] and shortest_path(**asked) == [shortest]
        assert optimal_mass(**asked) == [mass] and isinstance(optimal_mass(**asked)[0], float)


def test_a_batch_is_its_rows():
    prompts, completions = zip(*(pair for case in CASES for pair in forms(case[0])), strict=True)
    assert optimal_mass(list(prompts), list(completions)) == [case[3] for case in CASES for _ in forms("")]


def test_the_column_of_the_lake_takes_the_place_of_the_map():
    asked = ["Which way?"], [as_messages("R")[0]["content"]]
    assert reach_goal(*asked, lake=["SG"]) == [1.0] and reach_goal(*asked, lake=["SFG"]) == [0.0]
    assert reach_goal([COMPACT.prompt(("SG",))], [" D"], lake=["S/G"]) == [1.0], "the words are still those of the prompt"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("Which\nway?", "prompt 'Which way\\?' has no map; allowed: rows of S, F, H, G, a line each"),
        ([{"role": "assistant", "content": "S G"}], "prompt '' has no map"),
        ("S F\nF F\n", "the map has no G"),
    ],
)
def test_a_prompt_without_a_map_is_one_line(prompt, words):
    with pytest.raises(ValueError, match=words):
        reach_goal([prompt], [""])


@pytest.mark.parametrize("form", [COMPACT, CHAT], ids=["compact", "chat"])
def test_maps_are_read_as_they_are_written(form):
    lakes = draw_lakes(20, (3, 5), seed=2)
    assert all(read_map_of(form.prompt(lakes.rows(i))) == lakes.rows(i) for i in range(20))


def test_the_mass_of_a_certain_player_is_its_metric():
    """Of a player who takes one move for certain the probability of optimal moves is the share of steps that are optimal."""
    tokenizer = MoveTokenizer(COMPACT, COMPACT.tokenizer)
    lakes = draw_lakes(30, 4, seed=3)
    # It turns back on every second tile, so that its walks go on for ever.
    move = lambda rows, tile, best: best[0] if best and tile % 2 else 3  # noqa: E731
    certain = player(tokenizer, at_tiles(lambda rows, tile, best: {move(rows, tile, best): 1.0}))
    moves = np.full((30, 8), -1)
    for i in range(30):
        tile, rows = int(lakes.start[i]), lakes.rows(i)
        for step in range(8):
            best = np.flatnonzero(lakes.optimal[i, tile]).tolist()
            if not best:
                break
            moves[i, step] = move(rows, tile, best)
            tile = int(lakes.next_state[tile, moves[i, step]])
    prompts = [COMPACT.prompt(lakes.rows(i)) for i in range(30)]
    stopped = [" " + " ".join(COMPACT.moves[m] for m in row if m >= 0) for row in moves]
    found, steps = np.array(optimal_mass(prompts, stopped)), (moves >= 0).sum(1)
    last = np.array([lakes.flat[i, tiles_along(lakes, moves)[i, -1]] for i in range(30)])
    full = (last != GOAL_CODE) & (last != HOLE_CODE)
    assert 0 < full.sum() < 30
    expected = metric_mass(certain, tokenizer, lakes, moves)
    # An answer that stops short of the goal has one step more, which its text cannot tell from a cut.
    np.testing.assert_allclose(np.where(full, found * (steps + 1) / steps, found), expected, atol=1e-9)


def test_the_humans_answers_are_right():
    lakes = draw_lakes(10, 4, seed=4)
    moves = walk(lakes, seed=1)
    for form in (COMPACT, CHAT):
        prompts = [form.prompt(lakes.rows(i)) for i in range(10)]
        answers = [form.completion(moves[i].tolist()) for i in range(10)]
        assert reach_goal(prompts, answers) == shortest_path(prompts, answers) == optimal_mass(prompts, answers) == [1.0] * 10
