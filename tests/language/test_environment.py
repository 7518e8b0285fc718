"""The lake in words: Gymnasium's own checks, exact values of every state, and episodes whose turns are worked out by hand."""

import subprocess
import sys
import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import ift_gridworld
from ift_gridworld.envs.lake_env import TEXT
from ift_gridworld.language.environment import TextLakeEnv
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import evaluate_policy, optimal_policy

# S F F
# F H G
ROWS = ["SFF", "FHG"]
FIRST = (
    "You want to cross a frozen lake. S is the start, F is ice that holds, H is a hole, G is the goal.\nS F F\nF H G\n "
    "You are in row 1, column 1. Say one of left, down, right, up."
)


@pytest.mark.parametrize("options", [{}, {"desc": ROWS}, {"is_slippery": True, "size": (3, 5)}], ids=str)
def test_it_passes_gymnasiums_own_check(options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(TEXT, **options).unwrapped)


def test_an_episode_is_told_turn_by_turn():
    env = TextLakeEnv(desc=ROWS)
    assert env.reset(seed=0)[0] == FIRST
    turns = [
        ("up", "You moved up, against the edge. You are in row 1, column 1. Say one of left, down, right, up.", 0),
        ("fly", "That is no move. You are in row 1, column 1. Say one of left, down, right, up.", 0),
        (" Right.\n", "You moved right. You are in row 1, column 2. Say one of left, down, right, up.", 0),
        ("right", "You moved right. You are in row 1, column 3. Say one of left, down, right, up.", 0),
        ("down", "You moved down. You reached the goal. You are in row 2, column 3.", 1),
    ]
    for action, said, reward in turns:
        found = env.step(action)
        assert found[:4] == (said, reward, reward == 1, False)
        assert found[4]["is_move"] == (action != "fly") and not found[4]["slipped"]
    env.reset()
    env.step("right")
    assert env.step("down")[:3] == ("You moved down. You fell into a hole. You are in row 2, column 2.", 0, True)


def test_values_are_exact_in_every_state():
    """Of a deterministic lake: the discount to the power of the moves that are left, less the last."""
    env = TextLakeEnv(desc=ROWS, discount=0.5)
    _, info = env.reset(seed=0)
    half = 0.5
    assert info["values"].tolist() == [half**2, half, 1, half**3, 0, 0] and info["value"] == half**2 and info["state"] == 0
    assert info["action_values"].tolist() == [half**3, half**4, half**2, half**3] and info["optimal"] == ("right",)
    assert info["map"] == tuple(ROWS)
    for action in ("right", "right"):
        info = env.step(action)[-1]
    assert info["value"] == 1 and info["optimal"] == ("down",)
    info = env.step("down")[-1]
    assert info["value"] == 0 and info["optimal"] == ()
    info["values"][:] = 9.0
    assert env.reset()[1]["values"][0] == half**2, "a copy"


def test_values_of_slippery_lakes_are_the_oracles():
    mdp = TabularMDP.from_map(ROWS, is_slippery=True, success_rate=0.8, discount=0.9)
    _, info = TextLakeEnv(desc=ROWS, is_slippery=True, success_rate=0.8, discount=0.9).reset(seed=0)
    best = optimal_policy(mdp)
    np.testing.assert_allclose(info["values"], evaluate_policy(mdp, best), atol=1e-9)
    assert info["optimal"] == tuple(np.array(["left", "down", "right", "up"])[best[0] > 0])


def test_moves_slip_as_often_as_they_are_said_to():
    """To the right, of ten: eight as meant, one against the upper edge, one down."""
    env, counts = TextLakeEnv(desc=ROWS, is_slippery=True, success_rate=0.8), np.zeros(6)
    assert "a move goes where you want in 80 % of all cases, else to one of its two sides" in env.reset(seed=1)[0]
    for _ in range(2000):
        env.reset()
        said, _, _, _, info = env.step("right")
        counts[info["state"]] += 1
        assert info["slipped"] == (info["state"] != 1) == said.startswith("You wanted right and slipped. ")
    np.testing.assert_allclose(counts / 2000, [0.1, 0.8, 0, 0.1, 0, 0], atol=0.03)


def test_lakes_are_drawn_anew_or_given_for_an_episode():
    env = TextLakeEnv(size=(3, 4))
    maps = [env.reset(seed=5 if i == 0 else None)[1]["map"] for i in range(8)]
    assert len(set(maps)) > 1 and all((len(rows), len(rows[0])) == (3, 4) for rows in maps)
    assert [env.reset(seed=5 if i == 0 else None)[1]["map"] for i in range(8)] == maps, "the seed decides"
    given = ["SFFF", "FFFF", "FFFG"]
    assert env.reset(options={"desc": given})[1]["map"] == tuple(given) and env.reset()[1]["map"] != tuple(given)
    with pytest.raises(ValueError, match="^desc is a map of 2x3; allowed: 3x4, as the environment was made$"):
        env.reset(options={"desc": ROWS})


def test_it_is_truncated_and_made_as_the_other_environments_are():
    env = ift_gridworld.make_env(TEXT, desc=ROWS, is_slippery=True)
    env.reset(seed=0)
    assert env.unwrapped.is_slippery and [env.step("no")[3] for _ in range(100)] == [False] * 99 + [True]


def test_the_map_is_drawn_with_the_place():
    env = gymnasium.make(TEXT, desc=ROWS, render_mode="ansi")
    env.reset(seed=0)
    env.step("right")
    assert env.render() == " S [F] F \n F  H  G " and TextLakeEnv().render() is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"desc": ["SX"]}, "row 1 has the letter 'X'"),
        ({"size": 1}, "size 1x1; allowed: at least 2"),
        ({"success_rate": 0}, "success_rate is 0; allowed: a probability"),
        ({"discount": 2}, "discount is 2; allowed: a number in \\[0, 1\\]"),
        ({"render_mode": "human"}, "render_mode is 'human'; allowed: None, ansi"),
    ],
)
def test_what_is_not_allowed_is_one_line(options, words):
    with pytest.raises(ValueError, match=words):
        TextLakeEnv(**options)


def test_registering_loads_nothing():
    code = "import sys, ift_gridworld; print([m for m in sys.modules if m.startswith('ift_gridworld.language')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
