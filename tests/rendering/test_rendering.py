"""Pictures are judged by their pixels: what is drawn where, and that saved runs give the same picture again."""

import io
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from PIL import Image
from test_saved_runs import MAPLESS, record

from ift_gridworld.envs.grid import GridLayout
from ift_gridworld.envs.maps import LAKES, open_lake, random_map
from ift_gridworld.envs.registry import make_env
from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.evaluation.metrics import metric_interval
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.rendering import STILLS, THEME_NAMES, VIDEO, maps, scale
from ift_gridworld.rendering.arrows import PolicyArrows
from ift_gridworld.rendering.comparison import ComparisonFilm
from ift_gridworld.rendering.encode import COLOURS, encode_gif, shared_palette
from ift_gridworld.rendering.film import FIRST_SECONDS, LAST_SECONDS, LEAST_SECONDS, MEAN_SECONDS
from ift_gridworld.rendering.matrix import MAX_MATRIX_COLUMNS, PolicyMatrix
from ift_gridworld.rendering.method_film import MethodFilm
from ift_gridworld.rendering.paths import PathOutline, Predictions
from ift_gridworld.rendering.shapes import PLACE_COLOURS
from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.rendering.tiles import TileColours
from ift_gridworld.rendering.worker import RenderWorker
from ift_gridworld.training.run import Run

LIGHT = THEMES["light"]
TILE = 60  # pixels


def canvas(layout, draw):
    """RGB pixels of what `draw(ax)` draws on a lake, TILE pixels a tile."""
    rows, columns = len(layout), len(layout[0])
    figure = Figure(figsize=(columns, rows), dpi=TILE)
    ax = maps.prepare_axes(figure.add_axes((0, 0, 1, 1)), rows, columns)
    draw(ax)
    agg = FigureCanvasAgg(figure)
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3].astype(float) / 255


def test_small_tiles_get_one_arrow_through_their_middle_and_no_gaps():
    """The likeliest move's alone, as long to either side; so it is the same arrow for 0.6 whatever the others are."""
    moves, where, grid = TabularMDP.from_map(LAKES["4x4"]).moves, np.ones(1, bool), GridLayout.of(["F"])
    figure = Figure((3, 3))
    for size, small in ((0.7, False), (0.025, True)):
        ax = maps.prepare_axes(figure.add_axes((0.1, 0.1, size, size)), 1, 1)
        assert scale.is_small(ax, grid) is small
        drawn = PolicyArrows(ax, grid, moves, where, LIGHT)
        paths = []
        for policy in ([[0.1, 0.2, 0.6, 0.1]], [[0.4, 0.0, 0.6, 0.0]], [[0.0, 0.6, 0.4, 0.0]]):
            drawn.update(np.array(policy))
            paths.append(np.asarray(drawn.artist.get_path().vertices))
        if not small:
            assert len({len(path) for path in paths}) == 2
            continue
        assert [len(path) for path in paths] == [8, 8, 8]  # one closed outline of seven corners
        np.testing.assert_allclose(paths[0], paths[1])
        x, y = paths[0].min(0) + paths[0].max(0)
        assert (x, y) == pytest.approx((1, 1))  # centred
        assert np.ptp(paths[0][:, 0]) > np.ptp(paths[0][:, 1]) and np.ptp(paths[2][:, 0]) < np.ptp(paths[2][:, 1])
        shade = TileColours(ax, grid, where, LIGHT.visits, Normalize(0, 1))
        np.testing.assert_allclose(shade.artist.get_paths()[0].vertices[:4], [(0, 0), (1, 0), (1, 1), (0, 1)])


def fine(rows, draw, theme=LIGHT, inches=3.0):
    """RGB pixels of what `draw(ax, grid)` draws on a lake that is so wide, 100 pixels an inch."""
    grid = GridLayout.of(rows)
    figure = Figure(figsize=(inches, inches * grid.height / grid.width), dpi=100)
    ax = maps.prepare_axes(figure.add_axes((0, 0, 1, 1)), grid.height, grid.width)
    assert scale.is_fine(ax, grid)
    draw(ax, grid)
    agg = FigureCanvasAgg(figure)
    agg.draw()
    return np.asarray(agg.buffer_rgba())[..., :3].astype(float) / 255


def near(pixels, colour, within=0.03):
    return np.abs(pixels - to_rgb(colour)).max(-1) < within


@pytest.mark.parametrize("side", [100, 600])
def test_a_way_one_tile_wide_stays_in_sight_on_fine_tiles(side):
    """Visited all along among tiles that nobody visits: some pixel of every row that it crosses is blue, and no other is."""
    rows = open_lake(side)
    path, state = np.zeros(side * side), side * np.arange(side) + side // 3

    def draw(ax, grid):
        path[state] = 1.0
        TileColours(ax, grid, np.ones(side * side, bool), LIGHT.visits, Normalize(0, 1)).update(path)

    blue = near(fine(rows, draw), LIGHT.visited)
    assert blue.any(1).all()
    there = np.flatnonzero(blue.any(0)) / 3.0  # in percent of the width
    assert 100 / 3 - 1.5 <= there.min() <= there.max() <= 100 / 3 + 1.5


@pytest.mark.parametrize("frozen", [0.3, 0.8])
def test_a_block_of_fine_tiles_is_the_darker_the_more_holes_it_has(frozen):
    """By the root of the share of ice: at 10 tiles a block all blocks are nearly alike. Where each tile is a block of its own
    holes take a third of their colour from what they have on tiles that can be seen, unless they are to have all of it."""
    ice, hole = np.array(to_rgb(LIGHT.ice)), np.array(to_rgb(LIGHT.hole))
    pale = hole / 3 + 2 * ice / 3
    for side, bright, options, dark in (
        (1000, np.sqrt(frozen), {}, hole),
        (100, frozen, {}, pale),
        (100, frozen, {"hole": LIGHT.hole}, hole),
    ):
        letters = np.random.default_rng(0).permutation(np.arange(side**2) >= frozen * side**2).reshape(side, side)
        rows = ["".join(row) for row in np.where(letters, "H", "F")]
        pixels = fine(rows, lambda ax, grid, options=options: maps.draw_lake(ax, grid, LIGHT, **options))
        np.testing.assert_allclose(pixels.mean((0, 1)), dark + bright * (ice - dark), atol=0.02)


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_start_and_gift_are_found_among_a_million_tiles(theme):
    """In their corners, whatever colours lie below, as large as signs are to be."""
    side = 1000

    def draw(ax, grid):
        maps.draw_lake(ax, grid, theme)
        TileColours(ax, grid, np.ones(side * side, bool), theme.visits, Normalize(0, 1)).update(np.ones(side * side))
        maps.draw_landmarks(ax, grid, theme)

    pixels, sign = fine(open_lake(side), draw, theme), int(100 * scale.SIGN_SIDE)
    gift, ink = near(pixels, theme.goal), near(pixels, theme.ink, within=0.3)  # thin strokes are blended
    assert gift[-sign:, -sign:].sum() == gift.sum() > 0.1 * sign**2
    assert ink[3 : sign - 3, 3 : sign - 3].sum() > 0.05 * sign**2  # the S, within its frame
    assert near(pixels, theme.visited)[sign + 3 : -sign - 3].all()


@pytest.mark.parametrize("side", [20, 30, 40, 50, 60, 100])
def test_on_small_tiles_no_arrow_lies_under_start_and_gift(side):
    """Signs stand in their corners wherever a tile is smaller than SIGNED; larger tiles have none. All other tiles keep their
    arrows, or their blocks theirs."""
    grid, moves = GridLayout.of(open_lake(side)), TabularMDP.from_map(LAKES["4x4"]).moves
    ax = maps.prepare_axes(Figure((3, 3), dpi=100).add_axes((0, 0, 1, 1)), side, side)
    signs, tile = maps.draw_landmarks(ax, grid, LIGHT), 3 / side
    assert bool(signs) == scale.has_signs(ax, grid) == (tile < scale.SIGN_TILE)
    arrows = PolicyArrows(ax, grid, moves, np.ones(side * side, bool), LIGHT)
    arrows.update(np.tile([0.0, 0.0, 1.0, 0.0], (side * side, 1)))
    sign = scale.sign_side(ax, grid) if signs else 0.0
    assert not signs or sign * tile == pytest.approx(scale.SIGN_SIDE)
    x, y = np.asarray(arrows.artist.get_path().vertices).T
    assert not ((x < sign) & (y < sign) | (x > side - sign) & (y > side - sign)).any()
    count = int(side // arrows.side)
    under = np.ceil(sign / (side / count) - 1e-9) ** 2
    assert len(x) == 8 * (count**2 - 2 * under)


def test_a_taxis_small_maps_have_no_signs_over_their_headings():
    grid = TAXI.grid
    ax = maps.prepare_axes(Figure((2.7, 2.7)).add_axes((0, 0, 1, 1)), grid.height, grid.width)
    assert scale.tile_inches(ax, grid) < scale.SIGN_TILE and not scale.is_fine(ax, grid)
    assert not scale.has_signs(ax, grid)


@pytest.mark.parametrize("inches", [1.0, 0.3, 0.2, 0.13])
def test_a_starts_mark_and_its_arrows_do_not_touch(inches):
    """However likely each move is: beside the arrows stands a letter, on a smaller tile a ring goes around them."""
    grid = GridLayout.of(["S"])
    ax = maps.prepare_axes(Figure((inches, inches)).add_axes((0, 0, 1, 1)), 1, 1)
    (artist,) = maps.draw_starts(ax, grid, LIGHT)
    mark = artist.get_path().get_extents()
    assert 72 * inches * mark.height > 3.5  # points
    assert artist.get_facecolor()[3] == (inches >= scale.LETTER_TILE)  # a ring is not filled
    for action in range(4):
        arrows = PolicyArrows(ax, grid, TabularMDP.from_map(LAKES["4x4"]).moves, np.ones(1, bool), LIGHT)
        arrows.update(np.eye(4)[[action]])
        drawn = arrows.artist.get_path().get_extents()
        if inches >= scale.LETTER_TILE:
            assert not mark.overlaps(drawn)
        else:
            assert mark.x0 < drawn.x0 and drawn.x1 < mark.x1 and mark.y0 < drawn.y0 and drawn.y1 < mark.y1


@pytest.mark.parametrize("side", [4, 20])
def test_diamonds_of_predictions_can_be_seen_and_stay_in_their_tile(side):
    grid = GridLayout.of(open_lake(side))
    ax = maps.prepare_axes(Figure((3.6, 3.6)).add_axes((0, 0, 1, 1)), side, side)
    drawn = Predictions(ax, grid, LIGHT)
    drawn.update(np.array([1]), np.eye(side * side)[[1]])
    box = drawn.marks.get_path().get_extents()
    assert box.width * 3.6 / side >= 2 * scale.DIAMOND_RADIUS - 1e-9
    assert box.x0 >= 1 and box.x1 <= 2 and box.y0 >= 0 and box.y1 <= 1


def test_an_arrow_of_a_block_is_the_mean_of_its_moves():
    """Half right, half down: one arrow down to the right, 1/sqrt 2 long. Where moves cancel there is none. All blocks are
    alike, the last of a row, too, so that no arrow reaches beyond the grid: of at least 7 tiles there is room for 14."""
    grid, moves = GridLayout.of(open_lake(100)), TabularMDP.from_map(LAKES["4x4"]).moves
    figure = Figure((3, 3))
    ax = maps.prepare_axes(figure.add_axes((0, 0, 1, 1)), 100, 100)
    arrows = PolicyArrows(ax, grid, moves, np.ones(10_000, bool), LIGHT)
    policy = np.tile([0.0, 0.5, 0.5, 0.0], (10_000, 1))
    policy[grid.place[:, 0] >= 50] = [0.5, 0.0, 0.5, 0.0]
    centre, along, length = arrows.block_moves(policy)
    assert arrows.side == np.ceil(scale.BLOCK_SIDE / 0.03) == 7
    above = centre[:, 1] < 50
    np.testing.assert_allclose(along[above], np.sqrt([[0.5, 0.5]] * above.sum()))
    np.testing.assert_allclose(length[above], np.sqrt(0.5))
    assert above.all()
    arrows.update(policy)
    drawn = np.asarray(arrows.artist.get_path().vertices)
    assert drawn.min() >= 0 and drawn.max() <= 100 and len(drawn) == 8 * len(length)
    assert len(centre) == 7 * 14 - 1  # without the block under S


def test_beads_of_two_paths_that_are_one_alternate():
    grid, states = GridLayout.of(open_lake(300)), np.arange(300)
    ax = maps.prepare_axes(Figure((3, 3)).add_axes((0, 0, 1, 1)), 300, 300)
    shown, rejected = (
        PathOutline(ax, grid, states, "k", inset=0.1, dashed=dashed).artist.get_path().vertices for dashed in (False, True)
    )
    left = [np.asarray(beads).reshape(-1, 5, 2)[:, 0, 0] for beads in (shown, rejected)]
    width = scale.BEAD_SIDE * 100  # tiles
    for here, there in pairwise(sorted(np.concatenate(left))[1:]):
        assert there - here >= 0.9 * width  # hardly overlapping
    assert 40 < len(left[0]) < 60


def test_a_strip_of_many_states_shows_means_of_neighbours():
    count = 4 * MAX_MATRIX_COLUMNS
    policy = np.random.default_rng(0).dirichlet(np.ones(4), count)
    strip = PolicyMatrix(Figure((3, 3)).add_axes((0, 0, 1, 1)), np.ones(count, bool), policy, LIGHT)
    strip.update(policy)
    np.testing.assert_allclose(strip.image.get_array(), policy.reshape(-1, 4, 4).mean(1).T)


TAXI = TabularMDP.from_env(make_env("Taxi-v4"))


def test_what_is_no_move_is_a_mark_that_grows_with_its_probability():
    """A disc for picking up, a square for dropping off, in the middle of the tile."""
    grid, where = GridLayout.of(["F"]), np.ones(1, bool)
    ax = maps.prepare_axes(Figure((3, 3)).add_axes((0, 0, 1, 1)), 1, 1)
    arrows = PolicyArrows(ax, grid, TAXI.moves, where, LIGHT)
    for action, area in ((4, np.pi * 0.34**2), (5, 0.6**2)):
        for p in (0.1, 0.5, 1.0):
            policy = np.zeros((1, 6))
            policy[0, action] = p
            arrows.update(policy)
            x, y = np.asarray(arrows.artist.get_path().vertices)[:-1].T
            assert abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2 == pytest.approx(area * p**2, rel=0.01)
            assert (np.mean(x), np.mean(y)) == pytest.approx((0.5, 0.5))
    policy[0] = [0.5, 0, 0, 0, 0, 0.5]  # a move and a mark together
    arrows.update(policy)
    assert len(arrows.artist.get_path().vertices) == 8 + 5


@pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)
def test_a_taxis_map_shows_walls_places_and_marks_over_the_tiles(theme):
    grid, side = TAXI.grid, 30
    figure = Figure((grid.width, grid.height), dpi=side, facecolor=theme.background)
    ax = maps.draw_lake(figure.add_axes((0, 0, 1, 1)), grid, theme)
    walkable = maps.walkable(TAXI)
    assert walkable.sum() == 400
    TileColours(ax, grid, walkable, theme.visits, Normalize(0, 1)).update(np.zeros(500))
    maps.draw_landmarks(ax, grid, theme)
    agg = FigureCanvasAgg(figure)
    agg.draw()
    pixels = np.asarray(agg.buffer_rgba())[..., :3].astype(float) / 255

    def at(y, x):
        return pixels[int(y * side), int(x * side)]

    for (top, x), (bottom, _) in grid.walls:
        np.testing.assert_allclose(at((top + bottom) / 2, x), to_rgb(theme.ink), atol=0.05)
    for letter, colour in PLACE_COLOURS.items():
        for y, x in np.argwhere(grid.tiles == letter):
            np.testing.assert_allclose(at(y + 0.06, x + 0.8), to_rgb(getattr(theme, colour)), atol=0.05)
    for y, x in grid.marks["passenger"]:
        colour = to_rgb(getattr(theme, PLACE_COLOURS[grid.tiles[y, x]]))
        np.testing.assert_allclose(at(y + 0.75, x + 0.5), colour, atol=0.05)
    for y, x in np.argwhere(grid.tiles == " "):
        if y % 6:  # no heading
            np.testing.assert_allclose(at(y + 0.5, x + 0.5), to_rgb(theme.background), atol=0.01)


def test_a_taxis_film_is_drawn_by_what_draws_lakes(tmp_path):
    lake, random = Origin("Taxi-v4", None, "Taxi-v4", False, None, 0.99, 200), np.random.default_rng(0)
    policies = random.dirichlet(np.ones(6), (3, 500))
    metrics = {name: random.random((3, 2)) for name in ("success", "regret", "distance")}
    made = record(
        lake,
        snapshots=policies,
        base=policies[:2],
        final=policies[-2:],
        metrics=metrics,
        demonstration=np.array([[21, 1], [1, 4], [17, 0]]),
    )
    film = MethodFilm(made)
    assert (np.asarray(film.frame(0)) != np.asarray(film.frame(2))).any()
    # The prediction at step i is where the likeliest action leads.
    likeliest = policies[2][[21, 1]].argmax(-1)
    np.testing.assert_array_equal(film.predicted(made.snapshots[2]).argmax(-1), TAXI.next_state[[21, 1], likeliest, 0])
    film.save(tmp_path / "ift.png")
    assert "on Taxi (Taxi-v4, no slip" in (tmp_path / "ift.png.txt").read_text()


def tile(pixels, row, column):
    return pixels[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]


def ink(pixels):
    """How much of a white picture is dark."""
    return 1 - pixels.mean()


def arrows(policy, layout=("FFF", "FFF", "FFF"), where=None):
    moves = TabularMDP.from_map(LAKES["4x4"]).moves
    where = np.ones(len(layout) * len(layout[0]), bool) if where is None else where

    def draw(ax):
        PolicyArrows(ax, GridLayout.of(layout), moves, where, LIGHT).update(policy)

    return canvas(layout, draw)


@pytest.mark.parametrize(
    ("action", "half"),
    [
        ("left", np.s_[:, : TILE // 2]),
        ("down", np.s_[TILE // 2 :]),
        ("right", np.s_[:, TILE // 2 :]),
        ("up", np.s_[: TILE // 2]),
    ],
)
def test_an_arrow_points_where_the_action_goes(action, half):
    policy = np.zeros((9, 4))
    policy[4, LAKE_ACTIONS.index(action)] = 1.0
    pixels = arrows(policy)
    middle = tile(pixels, 1, 1)
    assert ink(middle) > 0.02
    np.testing.assert_allclose(ink(middle[half]), 2 * ink(middle), rtol=1e-9)  # all of it lies in that half
    np.testing.assert_allclose(ink(pixels) * 9, ink(middle), rtol=1e-9)  # and none in other tiles


def test_arrows_grow_with_probability_and_ties_are_drawn_together():
    size = []
    for p in (0.01, 0.1, 0.3, 0.6, 1.0):
        policy = np.zeros((9, 4))
        policy[4, 2] = p
        size.append(ink(arrows(policy)))
    assert size[0] == 0  # below arrows.LEAST_PROBABILITY
    assert all(a < b for a, b in pairwise(size))
    tie = np.zeros((9, 4))
    tie[4, [0, 2]] = 0.5
    middle = tile(arrows(tie), 1, 1)
    np.testing.assert_allclose(middle, middle[:, ::-1], atol=1e-2)  # left and right mirror each other


def test_lake_shows_holes_gift_and_ice_where_the_map_has_them():
    layout = ("SFH", "HFG")
    pixels = canvas(layout, lambda ax: maps.draw_lake(ax, GridLayout.of(layout), LIGHT))
    corner = np.s_[TILE // 10, TILE // 10]
    for r, row in enumerate(layout):
        for c, letter in enumerate(row):
            expected = to_rgb(LIGHT.hole if letter == "H" else LIGHT.ice)
            np.testing.assert_allclose(tile(pixels, r, c)[corner], expected, atol=0.01)
    gift = np.abs(pixels - to_rgb(LIGHT.goal)).max(-1) < 0.02
    assert gift[TILE:, 2 * TILE :].sum() > 0.1 * TILE**2 and gift.sum() == gift[TILE:, 2 * TILE :].sum()


def test_tiles_take_the_colour_of_their_value():
    layout = ("SFF", "HFG")
    shown = np.array([True, True, True, False, True, False])
    values = np.array([0, 0.5, 1, 1, 0.25, 1])

    def draw(ax):
        TileColours(ax, GridLayout.of(layout), shown, LIGHT.visits, Normalize(0, 1)).update(values)

    pixels = canvas(layout, draw)
    for s in range(6):
        expected = LIGHT.visits(values[s])[:3] if shown[s] else (1, 1, 1)
        np.testing.assert_allclose(tile(pixels, *divmod(s, 3))[TILE // 2, TILE // 2], expected, atol=0.01)


def lake_record(rows=LAKES["4x4"], method="ift", slippery=False, snapshots=5, **changes):
    lake = Origin("lake", rows, None, slippery, 1 / 3, 0.99, 100)
    states = lake.mdp.num_states
    random = np.random.default_rng(1)
    policies = random.dirichlet(np.ones(4), (snapshots, states))
    steps = np.arange(snapshots) ** 2
    entries = {
        "method": method,
        "steps": steps,
        "metrics": {name: random.random((snapshots, 2)) for name in ("success", "regret", "distance")},
        "snapshots": policies,
        "base": policies[:2],
        "final": policies[-2:],
        "settings": {"steps": int(steps[-1]), "mixing": 0.2, "seed": 0, "policy": "mlp", "base": "mixture"},
        "demonstration": np.array([[0, 1], [4, 1], [8, 2]]),
    }
    return record(lake, **{**entries, **changes})


@pytest.mark.parametrize("theme", THEME_NAMES)
@pytest.mark.parametrize(("rows", "slippery"), [(LAKES["two-paths"], False), (random_map((6, 9), seed=3), True)])
def test_film_has_a_frame_a_snapshot_and_shows_change(theme, rows, slippery, tmp_path):
    film = MethodFilm(lake_record(rows, slippery=slippery), theme)
    with Image.open(film.save(tmp_path / "ift.gif")) as gif:
        assert gif.n_frames == 5 == len(film)
        assert gif.info["loop"] == 0
        durations, frames = [], []
        for index in range(5):
            gif.seek(index)
            durations.append(gif.info["duration"] / 1000)
            frames.append(np.asarray(gif.convert("RGB"), int))
    np.testing.assert_allclose(durations, film.durations)
    background = np.array(to_rgb(THEMES[theme].background)) * 255
    np.testing.assert_allclose(frames[-1][3, 3], background, atol=0.5)
    for index, frame in enumerate(frames):
        drawn = np.asarray(film.frame(index), int)
        # The palette has 127 colours: flat areas are exact, blended edges nearly so.
        assert np.abs(frame - drawn).mean() < 2
        assert (np.abs(frame - drawn).max(-1) == 0).mean() > 0.75
        assert index == 0 or (frame != frames[index - 1]).any()
    assert (tmp_path / "ift.gif").stat().st_size < 1_000_000


def test_what_changes_much_stands_longer_and_the_ends_are_held():
    """Half of the change comes into the second frame, a quarter into the third: they stand in that proportion above the least
    that each stands, 0.4 of the average."""
    policies = np.full((5, 16, 4), 0.25)
    for index, moved in ((1, 0.4), (2, 0.6), (3, 0.7), (4, 0.74)):
        policies[index, :, 0], policies[index, :, 1] = 0.25 + moved * 0.25, 0.25 - moved * 0.25
    film = MethodFilm(lake_record(snapshots=5))
    object.__setattr__(film.run, "snapshots", policies)
    first, *between, last = film.pace
    assert (first, last) == (FIRST_SECONDS, LAST_SECONDS)
    change = np.array([0.4, 0.2, 0.1])
    np.testing.assert_allclose(
        between, np.maximum(LEAST_SECONDS, MEAN_SECONDS * (0.4 + 0.6 * change / change.mean())), atol=0.0051
    )


@pytest.mark.parametrize("theme", THEME_NAMES)
@pytest.mark.parametrize("count", [2, 7])
def test_side_by_side_shows_each_method_at_its_latest_snapshot(theme, count, tmp_path):
    """Snapshots are taken at updates of each method's own; what is drawn at update t is the latest until t."""
    names = ("sft", "ift", "dpo", "orpo", "ipo", "simpo", "tdpo")[:count]
    extra = {name: np.full((5, 2), -2.0) for name in ("chosen_logp", "rejected_logp")}
    records = [lake_record(method=name, steps=np.arange(5) ** 2 + 3 * i * (np.arange(5) > 0)) for i, name in enumerate(names)]
    for made in records:
        made.metrics.update(extra)
    film = ComparisonFilm(records, theme)
    for update, which in zip(film.steps, film.snapshots, strict=True):
        for made, index in zip(records, which, strict=True):
            assert made.steps[index] <= update and (index == 4 or made.steps[index + 1] > update)
    with Image.open(film.save(tmp_path / "all.gif")) as gif:
        assert gif.n_frames == len(film) and gif.size == film.frame(0).size
    assert (np.asarray(film.frame(0)) != np.asarray(film.frame(len(film) - 1))).any()


def test_side_by_side_needs_one_lake():
    with pytest.raises(ValueError, match="the runs are on 2 environments"):
        ComparisonFilm([lake_record(), lake_record(slippery=True)])


@pytest.mark.parametrize("kind", VIDEO)
def test_videos_where_the_extra_is_installed(kind, tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    path = MethodFilm(lake_record()).save(tmp_path / f"ift.{kind}")
    assert path.stat().st_size > 10_000 and {p.name for p in tmp_path.iterdir()} == {path.name, f"{path.name}.txt"}
    head = path.read_bytes()[:12]
    assert head[4:8] == b"ftyp" if kind == "mp4" else (head[:4], head[8:]) == (b"RIFF", b"WEBP")


def test_words_stand_beside_every_picture(tmp_path):
    """They tell the numbers that the picture shows."""
    made = lake_record()
    MethodFilm(made).save(tmp_path / "ift.png")
    words = (tmp_path / "ift.png.txt").read_text()
    first, last = made.metrics["success"][[0, -1], 0]
    mean, low, high = metric_interval("success", made.metrics["success"][-1])
    assert f"Success goes from {first:.3f} to {last:.3f} in seed 0" in words
    assert f"(mean of 2 seeds at the end {mean:.3f} [{low:.3f}, {high:.3f}])" in words
    assert "seed 0" in words and "4 by 4 tiles" in words and "intuitive" in words


def test_a_film_is_no_page(tmp_path):
    with pytest.raises(ValueError, match=r"page\.save_page"):
        MethodFilm(lake_record()).save(tmp_path / "ift.html")


def test_frames_do_not_depend_on_what_was_drawn_before():
    film = MethodFilm(lake_record())
    in_order = [np.asarray(frame) for frame in film.frames()]
    for index in (3, 0, 4):
        np.testing.assert_array_equal(np.asarray(film.frame(index)), in_order[index])


@pytest.mark.parametrize("kind", ["gif", *STILLS])
def test_drawing_after_training_and_drawing_from_the_file_are_the_same_picture(kind, tmp_path):
    made = lake_record()
    saved = Run.load(made.save(tmp_path / "ift.json"))
    one, two = (MethodFilm(r).save(tmp_path / f"{i}.{kind}") for i, r in enumerate((made, saved)))
    assert one.read_bytes() == two.read_bytes()


def test_the_worker_draws_in_order_what_draw_draws(tmp_path):
    saved = lake_record().save(tmp_path / "ift.json")
    with RenderWorker() as worker:
        for theme in THEME_NAMES:
            worker.draw([saved], tmp_path / f"{theme}.png", theme)
        pictures = list(worker.pictures())
    assert pictures == [tmp_path / f"{theme}.png" for theme in THEME_NAMES]
    expected = MethodFilm(Run.load(saved), "dark").save(tmp_path / "again.png")
    assert pictures[1].read_bytes() == expected.read_bytes()


def test_the_worker_tells_why_a_picture_could_not_be_drawn(tmp_path):
    with pytest.raises(ValueError, match=r"missing\.json is not a saved run"), RenderWorker() as worker:
        worker.draw([tmp_path / "missing.json"], tmp_path / "x.gif", "light")
        list(worker.pictures())
    assert not list(tmp_path.iterdir())


def test_a_lake_without_a_map_is_refused():
    with pytest.raises(ValueError, match="no map to draw"):
        MethodFilm(record(Origin("own", None, MAPLESS, False, None, 0.99, 10)))


def test_gif_holds_the_frames_it_was_given():
    """Few colours, far apart: what comes out is what went in, frame by frame, also where nothing changed."""
    random = np.random.default_rng(0)
    colours = np.array([(255, 255, 255), (0, 0, 0), (200, 30, 30), (20, 120, 220)], np.uint8)
    first = random.integers(0, 4, (40, 60))
    second = first.copy()
    second[5:9, 7:30] = 2
    frames = [Image.fromarray(colours[x]) for x in (first, second, second, first)]
    data = encode_gif(frames, [0.1, 0.2, 0.3, 1.5], shared_palette(frames))
    with Image.open(io.BytesIO(data)) as gif:
        for index, frame in enumerate(frames):
            gif.seek(index)
            np.testing.assert_array_equal(np.asarray(gif.convert("RGB")), np.asarray(frame))
    assert len(shared_palette(frames).getpalette()) >= 3 * (COLOURS - 1)


def test_predictions_are_what_the_residual_connection_mixes_in():
    """The drawn tiles equal the predicted embeddings of `residual`, for both predictions, on ice and off it."""
    import torch

    from ift_gridworld.policies.residual import lake_successor

    for slippery in (False, True):
        for prediction in ("greedy", "expected"):
            made = lake_record(slippery=slippery)
            made.settings["prediction"] = prediction
            film = MethodFilm(made)
            policy = made.snapshots[-1]
            successor = lake_successor(film.mdp, lambda s: torch.eye(16)[s], prediction=prediction)
            states = torch.tensor(made.demonstration[:-1, 0])
            expected = successor(states, torch.tensor(policy[states], dtype=torch.float32).log())
            np.testing.assert_allclose(film.predicted(policy), expected, atol=1e-6)
