"""Lakes: every name gives the map and the time limit that it says, and what is wrong is refused in one line."""

import warnings
from math import comb

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv
from gymnasium.envs.toy_text.frozen_lake import MAPS, FrozenLakeEnv, generate_random_map
from gymnasium.utils.env_checker import check_env

from ift_gridworld import TabularMDP
from ift_gridworld.envs.lake_env import register
from ift_gridworld.envs.maps import LAKES, bridge, open_lake, parse_map, parse_size, random_map, read_map, time_limit, two_paths
from ift_gridworld.envs.registry import lake_rows, make_env, register_environment, unregister_environment
from ift_gridworld.studies.lakes import read_maps


def rows_of(env):
    return tuple(b"".join(row).decode() for row in env.unwrapped.desc)


def ways(rows):
    """Lengths of all simple ways from the first S to a G, by exhaustive search."""
    height, width = len(rows), len(rows[0])

    def search(tile, seen):
        row, column = divmod(tile, width)
        if rows[row][column] == "G":
            yield len(seen) - 1
            return
        for r, c in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
            if 0 <= r < height and 0 <= c < width and rows[r][c] != "H" and r * width + c not in seen:
                yield from search(r * width + c, {*seen, r * width + c})

    start = "".join(rows).index("S")
    return list(search(start, {start}))


@pytest.mark.parametrize(
    ("name", "options", "rows"),
    [
        *((name, {}, rows) for name, rows in LAKES.items()),
        ("two-paths", {"size": 6}, two_paths(6)),
        ("two-paths", {"size": (5, 7)}, two_paths((5, 7))),
        ("open", {"size": (3, 5)}, ("SFFFF", "FFFFF", "FFFFG")),
        ("bridge", {"size": (5, 6)}, ("FFFFFF", "FFFFFF", "FFHHFF", "SFFFFG", "FFHHFF")),
        ("random", {"seed": 3}, random_map(8, seed=3)),
        ("random", {"size": 5, "seed": 3, "frozen": 0.6}, random_map(5, seed=3, frozen=0.6)),
        ("random", {"size": (3, 7), "seed": 3}, random_map((3, 7), seed=3)),
        ("6x9", {"seed": 1}, random_map((6, 9), seed=1)),
        ("6x9", {"size": (6, 9), "seed": 1}, random_map((6, 9), seed=1)),
    ],
)
@pytest.mark.parametrize("is_slippery", [False, True])
def test_make_env_makes_the_named_map_with_its_time_limit(name, options, rows, is_slippery):
    env = make_env(name, is_slippery=is_slippery, **options)
    assert isinstance(env.unwrapped, FrozenLakeEnv)
    assert rows_of(env) == rows == lake_rows(name, **options)
    assert len(env.unwrapped.P[0][0]) == (3 if is_slippery else 1)
    assert env.spec.max_episode_steps == time_limit(rows)
    env.reset(seed=0)
    # Running against the upper left corner never ends an episode without slip: only the clock does.
    if not is_slippery:
        cuts = [env.step(0)[3] for _ in range(time_limit(rows))]
        assert cuts == [False] * (len(cuts) - 1) + [True]


def test_time_limit_is_gymnasiums_own():
    for spec, name in (("FrozenLake-v1", "4x4"), ("FrozenLake8x8-v1", "8x8")):
        assert LAKES[name] == tuple(MAPS[name])
        assert time_limit(LAKES[name]) == gymnasium.spec(spec).max_episode_steps
    assert time_limit(two_paths((6, 10))) == 25 * (6 + 10) / 2  # in between, 25 steps a tile of mean side length


@pytest.mark.parametrize("name", ["4x4", "two-paths", "random", "Taxi-v4"])
def test_a_time_limit_that_is_asked_for(name):
    """Any, or none: 0, as `vector` has it."""
    assert make_env(name, max_episode_steps=7).spec.max_episode_steps == 7
    assert make_env(name, max_episode_steps=0).spec.max_episode_steps is None


def test_success_rate_reaches_the_ice():
    """Right from the start: up (which stays) and down take half of what the intended move leaves."""
    env = make_env("4x4", is_slippery=True, success_rate=0.6)
    chances = {successor: p for p, successor, _, _ in env.unwrapped.P[0][2]}
    assert chances == pytest.approx({0: 0.2, 1: 0.6, 4: 0.2})


def test_map_file_and_gymnasium_id(tmp_path):
    path = tmp_path / "pond.txt"
    path.write_text("SFF \n\n FHG\n")
    env = make_env(str(path))
    assert rows_of(env) == read_map(path) == lake_rows(str(path)) == ("SFF", "FHG")
    assert lake_rows("CliffWalking-v1") is None
    assert isinstance(env.unwrapped, FrozenLakeEnv)
    assert env.spec.max_episode_steps == time_limit(("SFF", "FHG"))
    assert isinstance(make_env("CliffWalking-v1").unwrapped, CliffWalkingEnv)
    assert not make_env("CliffWalking-v1").unwrapped.is_slippery
    assert make_env("CliffWalking-v1", is_slippery=True).unwrapped.is_slippery


SPACED = ("S F F", "F H G")


@pytest.mark.parametrize(
    "read",
    [
        parse_map,
        lambda rows: TabularMDP.from_map(rows).layout,
        lambda rows: rows_of(make_env("FrozenLake-v1", desc=rows)),
        lambda rows: rows_of(gymnasium.make("ift_gridworld/FrozenLake-v0", desc=rows)),
        lambda rows: gymnasium.make_vec("ift_gridworld/FrozenLake-v0", desc=rows).unwrapped.mdp.layout,
        lambda rows: parse_map([row.split() for row in rows]),
        lambda rows: parse_map(np.array([list(row) for row in rows], "S1")),  # spaces are letters of Gymnasium's desc
    ],
)
def test_letters_may_stand_apart(read):
    """As the README writes them: S F H G."""
    assert read(SPACED) == ("SFF", "FHG")


def test_letters_may_stand_apart_in_a_file_and_in_a_registered_map(tmp_path):
    path = tmp_path / "pond.txt"
    path.write_text("\n".join(SPACED) + "\n\n")
    assert read_map(path) == lake_rows(str(path)) == read_maps(path)[0] == ("SFF", "FHG")
    register_environment("apart", SPACED)
    assert lake_rows("apart") == ("SFF", "FHG")
    unregister_environment("apart")


@pytest.mark.parametrize(
    ("spec", "name", "rows"),
    [("TwoPaths-v0", "two-paths", two_paths(4)), ("Open-v0", "open", open_lake(8)), ("Bridge-v0", "bridge", bridge(8))],
)
def test_our_lakes_are_registered_and_pass_gymnasiums_checker(spec, name, rows):
    register()  # a second time changes nothing
    env = gymnasium.make(f"ift_gridworld/{spec}")
    assert rows_of(env) == LAKES[name] == rows
    assert env.spec.max_episode_steps == time_limit(LAKES[name])
    assert len(env.unwrapped.P[0][0]) == 1  # firm, unless asked otherwise
    many = gymnasium.make_vec(f"ift_gridworld/{spec}", num_envs=3, is_slippery=True)
    assert list(many.reset(seed=0)[0]) == ["".join(rows).index("S")] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


@pytest.mark.parametrize("size", [3, 4, 5, 8, (3, 6), (7, 4)])
def test_two_paths_has_two_ways_over_the_top_and_round_the_bottom(size):
    rows, columns = (size, size) if isinstance(size, int) else size
    over = (columns - 1) + rows // 2
    round_the_bottom = (rows - 1) + (columns - 1) + (rows - 1 - rows // 2)
    assert sorted(ways(two_paths(size))) == [over, round_the_bottom]
    assert over < round_the_bottom


def test_two_paths_of_four_are_the_papers_five_and_seven_steps():
    assert sorted(ways(two_paths())) == [5, 7]


@pytest.mark.parametrize("frozen", [0.8, 0.55])
@pytest.mark.parametrize("size", [2, 4, 8])
def test_square_random_map_is_gymnasiums(size, frozen):
    for seed in range(5):
        assert list(random_map(size, frozen=frozen, seed=seed)) == generate_random_map(size, p=frozen, seed=seed)


def test_rectangular_random_maps_can_be_crossed_and_vary_with_the_seed():
    maps = [random_map((3, 5), frozen=0.6, seed=seed) for seed in range(20)]
    for rows in maps:
        assert (len(rows), {len(row) for row in rows}) == (3, {5})
        assert rows[0][0] == "S" and rows[-1][-1] == "G" and ways(rows)
    assert len(set(maps)) > 10
    assert random_map((3, 5), frozen=1.0, seed=0) == ("SFFFF", "FFFFF", "FFFFG")


@pytest.mark.parametrize("size", [2, 3, (3, 5)])
def test_an_open_lakes_shortest_ways_are_all_that_never_turn_back(size):
    rows, columns = (size, size) if isinstance(size, int) else size
    lengths = ways(open_lake(size))
    assert lengths.count(rows + columns - 2) == comb(rows + columns - 2, rows - 1)
    assert "".join(open_lake(size)).count("H") == 0


def test_a_bridge_is_the_short_way_and_land_the_long_one():
    """Over the bridge straight; over land up to the second row, across, and down again."""
    lengths = ways(bridge(5))
    assert min(lengths) == 4
    without = tuple(row.replace("SFFFG", "SFHFG") for row in bridge(5))
    assert min(ways(without)) == 4 + 2 * 2


@pytest.mark.parametrize(("options", "rate"), [({}, 0.8), ({"success_rate": 0.5}, 0.5)])
def test_slip_is_rain_for_a_taxi(options, rate):
    """Which Gymnasium has by other names; from the middle a move north goes north, or to either side."""
    dry, rain = make_env("Taxi-v4"), make_env("Taxi-v4", is_slippery=True, **options)
    state = dry.unwrapped.encode(2, 2, 0, 1)
    assert len(dry.unwrapped.P[state][1]) == 1
    ahead = dry.unwrapped.encode(1, 2, 0, 1)
    chances = {successor: p for p, successor, _, _ in rain.unwrapped.P[state][1]}
    assert chances[ahead] == rate and len(chances) == 3 and sum(chances.values()) == pytest.approx(1)


def test_share_of_frozen_tiles_is_the_one_asked_for():
    """On 20 x 20 tiles at 0.9 a way exists nearly always, so that drawing again hardly biases; 4 sigma bound."""
    tiles = "".join("".join(random_map(20, frozen=0.9, seed=seed))[1:-1] for seed in range(10))
    sigma = np.sqrt(0.9 * 0.1 / len(tiles))
    assert abs(tiles.count("F") / len(tiles) - 0.9) < 4 * sigma


@pytest.mark.parametrize(("text", "shape"), [("8", (8, 8)), ("6x9", (6, 9)), (" 12x3 ", (12, 3))])
def test_parse_size(text, shape):
    assert parse_size(text) == shape


def test_parse_map_keeps_a_good_map():
    rows = ["SFG", "HSF"]
    assert parse_map(rows) == tuple(rows)


BAD_MAPS = {
    "empty": ([], ["empty"]),
    "empty row": ([""], ["empty"]),
    "ragged": (["SFF", "FG"], ["row 2", "'FG'", "2 tiles", "3"]),
    "unknown letter": (["SFX", "FFG"], ["row 1", "'X'", "S, F, H, G"]),
    "lower case": (["SFg"], ["row 1", "'g'"]),
    "no start": (["FFF", "FFG"], ["no S"]),
    "no goal": (["SFF", "FFF"], ["no G"]),
    "no way": (["SH", "HG"], ["no way from S to G"]),  # tiles that touch at a corner are not connected
}


@pytest.mark.parametrize(("rows", "named"), BAD_MAPS.values(), ids=BAD_MAPS)
def test_bad_maps_are_refused_in_one_line(rows, named, tmp_path):
    path = tmp_path / "bad.txt"
    path.write_text("\n".join(rows))
    for attempt, also in ((lambda: parse_map(rows), []), (lambda: make_env(str(path)), [str(path)])):
        with pytest.raises(ValueError) as error:
            attempt()
        assert all(word in str(error.value) for word in named + also)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: make_env("atlantis"), ["'atlantis'", *LAKES, "random"]),
        (lambda: make_env("6x9", size=5), ["5", "'6x9'"]),
        (lambda: make_env("4x4", size=5), ["size", "'4x4'"]),
        (lambda: make_env("CliffWalking-v1", size=5), ["size", "'CliffWalking-v1'"]),
        (lambda: make_env("random", seed=-1), ["seed", "-1"]),
        (lambda: make_env("random", size=1), ["1x1", "2"]),
        *((lambda size=size: make_env("random", size=size), ["size", repr(size)]) for size in ("3x3", (3,), (2.5, 3), 2.5)),
        *((lambda n=n: make_env("random", max_episode_steps=n), ["max_episode_steps", repr(n)]) for n in (-1, 2.5, True, "9")),
        (lambda: make_env("4x4", max_episode_steps=-1), ["max_episode_steps", "-1"]),
        (lambda: make_env("FrozenLake-v1", map_name="9x9"), ["FrozenLake-v1", "'9x9'"]),
        (lambda: gymnasium.make("ift_gridworld/FrozenLake-v0", map_name="9x9"), ["map_name", "'9x9'", *MAPS]),
        (lambda: gymnasium.make("ift_gridworld/Open-v0", success_rate=2.0), ["success_rate", "2.0"]),
        (lambda: make_env("0x3"), ["0x3"]),
        (lambda: make_env("two-paths", size=(2, 5)), ["2x5", "3"]),
        (lambda: make_env("open", size=1), ["1x1", "2"]),
        (lambda: make_env("bridge", size=(5, 4)), ["5x4", "5"]),
        *((lambda rate=rate: make_env("4x4", success_rate=rate), [str(rate)]) for rate in (0, -0.5, 1.5, float("nan"))),
        *((lambda f=f: make_env("random", frozen=f), [str(f)]) for f in (0, -0.5, 1.5, float("nan"))),
        (lambda: random_map(8, frozen=0.05, seed=0, max_tries=3), ["8x8", "0.05", "3 tries"]),
        (lambda: parse_size("6by9"), ["'6by9'"]),
        (lambda: parse_size("-3"), ["'-3'"]),
    ],
)
def test_bad_values_are_refused_in_one_line(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt()
    assert all(word in str(error.value) for word in named)
    assert "\n" not in str(error.value)


def test_unreadable_map_file_is_refused_in_one_line(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match="picture.png") as error:
        make_env(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("Blackjack-v1", {"is_slippery": True}, "does not take is_slippery; allowed: render_mode, natural, sab$"),
        ("CliffWalking-v1", {"success_rate": 0.5, "is_slippery": True}, "does not take success_rate; allowed: .*is_slippery$"),
    ],
)
def test_an_option_that_the_environment_lacks_is_named(name, options, words):
    with pytest.raises(ValueError, match=f"{name}.*{words}"):
        make_env(name, **options)


@pytest.mark.parametrize("name", ["FrozenLake-v1", "FrozenLake8x8-v1", "ift_gridworld/FrozenLake-v0", "CliffWalking-v1"])
def test_ice_is_firm_unless_it_is_asked_for(name):
    """Whatever Gymnasium takes for granted; an id that says so itself is slippery."""
    assert TabularMDP.from_env(make_env(name)).is_deterministic
    assert not TabularMDP.from_env(make_env(name, is_slippery=True)).is_deterministic
    assert not TabularMDP.from_env(make_env("CliffWalkingSlippery-v1")).is_deterministic


def test_a_lake_may_be_one_tile_wide_and_begin_with_a_byte_order_mark(tmp_path):
    (tmp_path / "lake.txt").write_text("S\nF\nG\n", encoding="utf-8-sig")
    assert make_env(str(tmp_path / "lake.txt")).unwrapped.desc.shape == (3, 1)


def test_an_environment_that_cannot_be_made_is_told_in_one_line():
    with pytest.raises(ValueError, match="GymV21Environment-v0.*cannot be made") as error:
        make_env("GymV21Environment-v0")
    assert "\n" not in str(error.value)
