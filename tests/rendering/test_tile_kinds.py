"""What tiles are called and how they are drawn follows from the MDP, whatever its layout's letters are."""

import gymnasium
import numpy as np
import pytest

from ift_gridworld import TabularMDP, compare, register_environment, train
from ift_gridworld.envs import GridLayout
from ift_gridworld.envs.registry import make_env, unregister_environment
from ift_gridworld.rendering.maps import walkable
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.optimal_still import OptimalPolicyStill
from ift_gridworld.rendering.tile_kinds import drawn_grid, tile_words
from ift_gridworld.training import make_base

MOVES = {"left": (0, -1), "down": (1, 0), "right": (0, 1), "up": (-1, 0)}


def board(rows, tiles, *, start=0):
    """An MDP on a board. `tiles` says of some letters what entering does: "end" with a reward, "back" with a reward, "wall"."""
    height, width = len(rows), len(rows[0])
    next_state, reward = np.zeros((height * width, 4, 1), int), np.zeros((height * width, 4, 1))
    ends = np.zeros((height * width, 4, 1), bool)
    for s in range(height * width):
        r, c = divmod(s, width)
        for a, (dr, dc) in enumerate(MOVES.values()):
            y, x = min(max(r + dr, 0), height - 1), min(max(c + dc, 0), width - 1)
            kind, pays = tiles.get(rows[y][x], ("ground", 0.0))
            next_state[s, a] = {"back": start, "wall": s}.get(kind, y * width + x)
            reward[s, a], ends[s, a] = pays, kind == "end"
            if tiles.get(rows[r][c], ("", 0.0))[0] == "end":
                next_state[s, a], reward[s, a], ends[s, a] = s, 0.0, True
    first = np.eye(height * width)[start]
    grid = GridLayout.of(rows)
    return TabularMDP(next_state, np.ones(next_state.shape), reward, ends, first, 0.95, 50, None, tuple(MOVES), grid)


def said(mdp):
    return {letter: (words.name, words.effect) for letter, words in tile_words(mdp).items()}


@pytest.mark.parametrize("name", ["4x4", "8x8", "two-paths", "bridge", "open", "CliffWalking-v1", "Taxi-v4"])
@pytest.mark.parametrize("slips", [False, True])
def test_a_known_environment_is_drawn_as_its_letters_say(name, slips):
    mdp = TabularMDP.from_env(make_env(name, is_slippery=slips))
    assert drawn_grid(mdp) is mdp.grid


@pytest.mark.parametrize("slips", [False, True])
def test_a_cliff_is_no_hole(slips):
    mdp = TabularMDP.make("CliffWalking-v1", is_slippery=slips)
    assert said(mdp) == {"G": ("goal", "ends the episode, reward −1"), "C": ("cliff", "back to the start, reward −100")}
    assert not walkable(mdp)[37:].any() and walkable(mdp)[:37].all()
    lake = {"G": ("goal", "ends the episode, reward 1"), "H": ("hole", "ends the episode")}
    assert said(TabularMDP.make("4x4", is_slippery=slips)) == lake


def test_letters_of_ones_own_are_read_from_what_they_do():
    rows = ("AxxT", "xPWx", "xxxZ")
    mdp = board(rows, {"T": ("end", -5.0), "P": ("back", -2.0), "W": ("wall", 0.0), "Z": ("end", 3.0)})
    assert drawn_grid(mdp).rows == ("SFFH", "FCCF", "FFFG")
    words = said(mdp)
    assert words["H"] == ("hole", "ends the episode, reward −5") and words["G"] == ("goal", "ends the episode, reward 3")
    assert words["C"] == ("cliff", "back to the start, reward −2")
    assert walkable(mdp).tolist() == [letter in "SF" for letter in "SFFHFCCFFFFG"]
    only_walls = board(("AxxZ", "xWWx"), {"W": ("wall", 0.0), "Z": ("end", 1.0)})
    assert said(only_walls)["C"] == ("wall", "no way in")


def test_letters_that_lie_are_not_believed():
    """H is ground, G sends back, C ends the episode; two ends pay, one less."""
    mdp = board(("SHH", "GCF", "FZz"), {"G": ("back", -1.0), "C": ("end", -1.0), "Z": ("end", 2.0), "z": ("end", 0.5)})
    assert drawn_grid(mdp).rows == ("SFF", "CHF", "FGG")
    assert said(mdp)["G"] == ("goal", "ends the episode, reward 0.5 to 2")


def test_ground_that_cannot_be_reached_stays_ground():
    """Holes all around: nothing leads there, and no move points there."""
    mdp = TabularMDP.from_env(make_env("4x4"))
    enclosed = board(("SFHF", "FFHH", "FFFG"), {"H": ("end", 0.0), "G": ("end", 1.0)})
    assert drawn_grid(enclosed) is enclosed.grid and walkable(enclosed)[3] and drawn_grid(mdp) is mdp.grid


def test_without_a_map_there_is_nothing_to_say():
    mdp = board(("SG",), {"G": ("end", 1.0)})
    bare = TabularMDP(mdp.next_state, mdp.probability, mdp.reward, mdp.terminated, mdp.start)
    assert drawn_grid(bare) is None and tile_words(bare) == {}


# ---- in pictures ----


@pytest.fixture(scope="module")
def cliff():
    mdp = TabularMDP.make("CliffWalking-v1")
    bases = (make_base("uniform", mdp, policy="tabular", seeds=2) for _ in range(2))
    return [train(method, mdp, base, steps=3) for method, base in zip(("sft", "dpo"), bases, strict=True)]


def words_of(figure):
    return " ".join(text.get_text() for ax in figure.axes for text in ax.texts).replace("\n", " ")


def test_a_film_of_a_cliff_tells_of_falls_and_of_regret(cliff):
    film = MethodFilm(cliff[0])
    assert "cliff: back to the start, reward −100" in words_of(film.figure) and "hole" not in words_of(film.figure)
    assert [curve.ax.get_title(loc="left").split(" (")[0] for curve in film.curves] == ["regret", "distance to optimal"]
    assert "on CliffWalking (" in film.alt and "Regret goes from" in film.alt and "lake" not in film.alt.lower()
    lake = TabularMDP.make("4x4")
    other = MethodFilm(train("sft", lake, make_base("uniform", lake, policy="tabular"), steps=2))
    assert "hole: ends the episode" in words_of(other.figure) and other.curves[0].ax.get_title(loc="left").startswith("success")


def test_tables_of_a_cliff_have_its_return(cliff, tmp_path):
    text, latex = str(compare(cliff).table()), compare(cliff).latex(tmp_path / "cliff.tex").read_text(encoding="utf-8")
    worth = cliff[0].metrics["return"][-1].mean()
    for page, digits in ((text, 3), (latex, 1)):
        assert "success" not in page and "return" in page and "regret" in page and f"{worth:.{digits}f}" in page
    assert f"has return {cliff[0].optimum['return']:.3f}" in text


def test_a_still_of_a_cliff_does_not_boast_of_success():
    cliff, lake = (OptimalPolicyStill("x", {"y": TabularMDP.make(name)}).alt for name in ("CliffWalking-v1", "4x4"))
    assert "success" not in cliff and "return -12" in cliff and "success 1.000" in lake


def test_an_environment_of_ones_own_is_named_as_itself():
    register_environment("own-shore", lambda: gymnasium.make("CliffWalking-v1"))
    try:
        mdp = TabularMDP.make("own-shore")
        run = train("sft", mdp, make_base("uniform", mdp, policy="tabular"), steps=1)
        assert run.place == "own-shore" and run.headline == "regret"
    finally:
        unregister_environment("own-shore")


def test_a_page_of_a_cliff_tells_of_falls_and_of_regret(cliff, visit):
    page, run = visit(cliff[:1]), cliff[0]
    page.locator('[data-tile="40"]').hover()
    assert "Cliff: back to the start, reward −100." in page.locator("#tile").inner_text()
    page.locator('[data-tile="47"]').hover()
    assert "Goal: ends the episode, reward −1." in page.locator("#tile").inner_text()
    assert page.locator(".numbers").inner_text().startswith(f"seed {run.drawn_seed}: regret {run.of_drawn('regret')[0]:.0f}")
    page.locator('[data-tile="36"]').click()
    page.wait_for_function("document.querySelector('.look').textContent.startsWith('agent: ')")
    assert "fell" not in page.locator(".look").inner_text()
