"""Each failure happens, and for the reason that its film gives: the numbers in the words are worked out here again."""

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.patches import PathPatch
from test_paper import check

from ift_gridworld.cli.failures import Args, main
from ift_gridworld.data import Walkers, generators
from ift_gridworld.losses import orpo_loss
from ift_gridworld.methods.options import ORPOOptions
from ift_gridworld.methods.preferences import Scored
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.optimisation import Adam
from ift_gridworld.planning import evaluate_policy
from ift_gridworld.rendering.failure_film import FailureFilm
from ift_gridworld.rendering.failure_page import save_failure_page
from ift_gridworld.rendering.pace import reading_seconds
from ift_gridworld.rendering.steps import MAX_BYTES
from ift_gridworld.studies.failures.catalogue import FAILURES
from ift_gridworld.studies.failures.certainty import HalfPlainORPO, PlainORPO, span
from ift_gridworld.studies.failures.displacement import first_order
from ift_gridworld.studies.failures.exploited import comparisons, final_loop, rightly_ordered
from ift_gridworld.studies.failures.log2 import LiveReference
from ift_gridworld.studies.failures.off_path import success_from_each_tile
from ift_gridworld.studies.failures.setup import Setup, signed
from ift_gridworld.training.loop import train

FEW = {"seeds": 2, "seed": 0}


@pytest.fixture(scope="module")
def made():
    """Each failure, computed when it is first asked for; the exploited reward with the seed to which it happens."""
    known = {}

    def make(name):
        if name not in known:
            known[name] = FAILURES[name](1, 5) if name == "exploited" else FAILURES[name](**FEW)
        return known[name]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
def test_words_of_a_failure_are_readable(made, name):
    """No words over others, all within the picture; what fails and why in ten seconds, and all of it while the film runs."""
    failure = made(name)
    film = FailureFilm(failure)
    assert reading_seconds(f"{failure.title} {failure.why}") <= 10
    assert sum(film.durations[:-1]) >= reading_seconds(film.words) - 1e-6
    film.frame(len(film) - 1)
    for artist in film.animated:
        artist.set_animated(False)
    check(film.figure, least=8.0)
    said = [text.get_text() for text in film.figure.texts]
    assert {failure.title, failure.why, failure.often} <= set(said)  # none of them shortened
    assert failure.title in film.alt and all(text in film.alt for _, text in failure.cause)
    assert "seed" in failure.about and failure.about in said
    width, height = film.figure.get_size_inches()
    assert width * 9 == pytest.approx(height * 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
def test_every_map_has_its_start_and_every_line_its_key(made, name):
    failure = made(name)
    film = FailureFilm(failure)
    starts = len(failure.cases) * (film.grid.letters == "S").sum()
    letters = [artist for artist in film.animated if isinstance(artist, PathPatch) and artist.get_path_effects()]
    assert len(letters) >= starts
    for line in (line for panel in failure.cases for line in panel.lines):
        assert line.name in [entry.words for entry in film.key]
    for panel in failure.cases:
        assert not panel.lines or panel.method  # whose colour the lines take
    shades = [panel.tiles.max() for panel in failure.cases if panel.tiles is not None]
    assert not shades or film.scale.end >= max(shades) - 1e-9  # none saturates


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURES)
def test_a_failures_title_ends_left_of_the_update(made, name):
    film = FailureFilm(made(name))
    film.frame(len(film) - 1)
    title = next(t for t in film.figure.texts if t.get_text() == made(name).title).get_window_extent()
    assert title.x1 < film.step_text.artist.get_window_extent().x0


@pytest.mark.slow
def test_a_failure_is_a_page_to_step_through(made, tmp_path):
    page = save_failure_page(made("displacement"), tmp_path / "displacement.html").read_text(encoding="utf-8")
    assert len(page.encode()) <= MAX_BYTES
    for words in (made("displacement").title, made("displacement").why, *(text for _, text in made("displacement").cause)):
        assert html.escape(words) in page
    assert page.count("<section") == 5 and "http" not in page
    for words in ("chosen answer", "rejected answer", "visits an episode"):
        assert words in page


def test_the_first_order_change_is_what_a_small_step_does():
    """c after a small step along the gradient of c - r, less c before, over the step."""
    setup = Setup("4x4", **FEW)
    for kind in ("tabular", "mlp"):
        policy = setup.base(kind).double()

        def sums(policy=policy):
            return [(policy.log_probs(x.states[None], x.actions[None]) * x.mask[None]).sum((-1, -2)) for x in setup.preferences]

        predicted = first_order(policy, *setup.preferences)
        before = sums()
        (before[0] - before[1]).sum().backward()
        step = 1e-6
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter += step * parameter.grad
        change = (sums()[0] - before[0]).detach().numpy() / step
        np.testing.assert_allclose(change, predicted, rtol=1e-3)


def test_displacement(made):
    failure = made("displacement")
    table, network = failure.cases
    c, r = network.lines
    assert c.values[-1] < c.values[0] - 5 and table.lines[0].values[-1] > table.lines[0].values[0]
    assert (c.values[-1] - r.values[-1]) > (c.values[0] - r.values[0])  # what DPO asks for, it gets
    # c turns where the product of the gradients does: both stand in the words.
    words = dict(failure.cause)["Why c falls"]
    turn, peak = (
        int(words.split(before)[1].split()[0].strip(";")) for before in ("negative at update ", "peaks after update ")
    )
    assert abs(turn - peak) <= 1
    # What neither answer does on the human's tiles.
    shown, rejected = ({tuple(step) for step in steps.tolist()} for steps in (failure.shown, failure.rejected))
    free = [sum(network.arrows[-1][s][a] for a in range(4) if (s, a) not in shown | rejected) for s, _ in shown]
    assert f"to {np.mean(free):.0%}" in failure.cause[2][1]
    # The plane draws what the charts draw, less the base; the network's curve bends back to the left, the table's does not.
    seed = int(re.search(r"drawn: seed (\d+)", failure.about)[1])
    for track, panel in zip(failure.plane, (table, network), strict=True):
        drawn = np.stack([line.values - line.values[0] for line in panel.lines], -1)
        np.testing.assert_allclose(track.moves[:, seed], drawn, atol=1e-12)
    assert failure.plane[1].mean[-1, 0] < 0 < failure.plane[1].mean[:, 0].max() and failure.plane[0].mean[-1, 0] > 0
    fell = [(track.moves[-1, :, 0] < 0).sum() for track in failure.plane]
    assert failure.often == f"It ends less likely than in the base in {fell[1]} of 2 seeds; in a table in {fell[0]}."


def test_a_reference_that_follows_holds_the_loss_at_log_2_and_pushes_for_ever(made):
    """Margin 0 whatever the policy, gradient -beta / 2 on c and + beta / 2 on r: the mistake's signature."""
    right, following, both, slow = made("log2").cases
    for case in (following, both, slow):
        np.testing.assert_allclose(case.lines[0].values, np.log(2), atol=2e-3)
    np.testing.assert_allclose(following.lines[0].values, np.log(2), rtol=1e-6)
    assert right.lines[0].values[-1] < 1e-3
    gaps = [float(case.notes[-1].split()[1].strip(",").replace("−", "-")) for case in (right, following, both, slow)]
    assert gaps[1] > 10 * gaps[0] > 100 and abs(gaps[2]) < 0.01 < gaps[3] < 0.1

    setup = Setup("two-paths", **FEW)
    policy = setup.base("mlp")
    source = LakeSource(
        setup.mdp, setup.demonstrations[None], setup.preferences[0][None], setup.preferences[1][None], generators(0, 2)
    )
    learner = LiveReference(source, policy)
    sides = learner.batch(0)
    scored = [Scored(side, policy) for side in sides]
    for side in scored:
        side.sum.retain_grad()
    learner.pair_loss(*scored).sum().backward()
    np.testing.assert_allclose(scored[0].sum.grad, -0.05)
    np.testing.assert_allclose(scored[1].sum.grad, 0.05)


def test_orpo_near_certainty(made):
    """bfloat16 rounds p to 1 below 2**-9; the gradient is then no number, nor is any weight after one update with it."""
    half, single, ours = made("certainty").cases
    gone = np.isnan(half.lines[0].values)
    assert gone[-1] and not np.isnan(single.lines[0].values).any() and not np.isnan(ours.lines[0].values).any()
    last = half.lines[0].values[~gone][-1]
    assert last < 2.0**-9 * 1.01 and half.lines[0].values[~gone][-2] > last
    assert np.isnan(half.arrows[gone]).all()
    below, above = (torch.tensor(np.log1p(-gap)).bfloat16().exp() for gap in (0.99 * 2.0**-9, 1.02 * 2.0**-9))
    assert below == 1 and above < 1

    setup = Setup("two-paths", **FEW)
    run = setup.train(HalfPlainORPO, setup.base("mlp", seeds=1), seed=0)
    assert "policy of seed 0 is nan" in run.diverged
    policy = setup.base("mlp", seeds=1)
    setup.train(HalfPlainORPO, policy, seed=0, steps=len(run.loss) - 1)
    assert np.isfinite(policy.probabilities()).all()
    source = LakeSource(
        setup.mdp, setup.demonstrations[None], setup.preferences[0][None], setup.preferences[1][None], generators(0, 1)
    )
    learner = HalfPlainORPO(source, policy)
    loss = learner.loss(learner.batch(0))
    assert torch.isfinite(loss).all()
    loss.sum().backward()
    Adam(policy.parameters(), 0.01).step()
    assert all(torch.isnan(parameter).any() for parameter in policy.parameters()) and np.isnan(policy.probabilities()).all()


def test_updates_are_told_as_a_span_or_as_one_number():
    assert (span([31, 26, 28]), span([26]), span([26, 26])) == ("26 to 31", "26", "26")


def test_orpo_as_usually_written_is_ours_away_from_certainty():
    c, r = (-torch.rand(7, generator=torch.Generator().manual_seed(i)) - 0.1 for i in (0, 1))

    class Side:
        def __init__(self, mean):
            self.mean = mean

    plain = PlainORPO.__new__(PlainORPO)
    plain.options = ORPOOptions(beta=0.25)
    torch.testing.assert_close(plain.pair_loss(Side(c), Side(r)), orpo_loss(c, r, beta=0.25))


def test_off_the_path_a_table_stays_and_a_network_does_not(made):
    failure = made("off_path")
    table, network, ppo = failure.cases
    on = np.zeros(16, bool)
    on[failure.shown[:, 0]] = True
    off = ~on & ~failure.lake.mdp.terminal
    assert np.array_equal(table.arrows[-1][off], table.arrows[0][off])
    assert np.abs(network.arrows[-1] - network.arrows[0])[off].sum(-1).mean() > 0.2
    assert table.lines[0].values[-1] > 0.98 and network.lines[0].values[-1] > 0.98  # from the start both succeed
    for case in (table, network, ppo):
        np.testing.assert_allclose(case.lines[1].values[-1], case.tiles[-1][off].mean())


def test_success_from_each_tile_is_what_walkers_reach(made):
    """4000 walks from one tile off the path; three standard errors."""
    failure = made("off_path")
    setup = Setup("4x4", **FEW)
    policy, tile = failure.cases[1].arrows[-1], 2
    start = replace(setup.mdp, start=np.eye(16)[tile])
    walkers = Walkers(start, generators(0, 1), 4000)
    steps = walkers.walk(torch.as_tensor(policy)[None], 100)
    ended = steps.terminated[0].float().argmax(-1)
    rate = float(steps.reward[0].gather(-1, ended[:, None]).mean())
    expected = success_from_each_tile(setup, policy)[tile]
    assert abs(rate - expected) < 3 * np.sqrt(expected * (1 - expected) / 4000)


@pytest.mark.slow
def test_an_exploited_reward(made):
    failure = made("exploited")
    cheap, dear, model = failure.cases
    learned, success = cheap.lines
    assert success.values[-1] < 0.01 and success.values.max() > 0.99  # it had found the gift, and left
    assert learned.values[-1] > learned.values[success.values.argmax()]  # for more of what it was trained on
    assert dear.lines[1].values[-1] > 0.99

    # The rewards are the run's own: drawn again from the same seed inside of training.
    setup = Setup("two-paths", seeds=1, seed=5)
    seen = {}

    class Spy(METHODS["ppo"]):
        def __init__(self, *rest):
            super().__init__(*rest)
            seen["reward"] = self.learned_reward[0].double().numpy()

    train(
        Spy,
        setup.mdp,
        setup.base("mlp"),
        reward="preference",
        steps=1,
        seed=5,
        demonstrations=setup.demonstrations,
        preferences=setup.preferences,
    )
    walkable = ~setup.mdp.terminal
    np.testing.assert_allclose(model.arrows[-1][walkable], seen["reward"][walkable].clip(-1, 1))
    # Where it ends: one move for ever, worth its reward over 1 - discount, and more than the way to the goal.
    loop = final_loop(setup.mdp, cheap.arrows[-1])
    assert len(loop) == 1
    ((tile, action),) = loop
    assert setup.mdp.next_state[tile, action].tolist() == [tile] * setup.mdp.next_state.shape[-1]
    words = dict(failure.cause)["What it found"]
    assert f"pays {signed(seen['reward'][tile, action])} nats" in words
    believed = replace(setup.mdp, reward=np.broadcast_to(seen["reward"][..., None], setup.mdp.reward.shape).copy())
    stay = np.tile(np.eye(4)[action], (16, 1))
    assert evaluate_policy(believed, stay)[tile] == pytest.approx(seen["reward"][tile, action] / 0.01)


def test_comparisons_counts_the_pairs_that_say_something():
    """Four pairs on two tiles: one won by the walk with more of the move, one lost, one tied, one with the move in both."""

    class Walks:
        def __init__(self, counts, returns):
            self.counts, self.value = torch.tensor(counts, dtype=torch.float), torch.tensor(returns)

        def returns(self, discount):
            return self.value[None]

    class Lake:
        num_actions, discount = 1, 0.9

    first = Walks([[2, 0], [1, 0], [3, 0], [1, 1]], [1.0, 0.0, 0.5, 1.0])
    second = Walks([[0, 0], [0, 0], [0, 0], [1, 0]], [0.0, 1.0, 0.5, 0.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ift_gridworld.studies.failures.exploited.action_counts", lambda side, mdp: side.counts[None])
        assert comparisons([(0, 0)], 0, first, second, Lake()) == (1, 2)
        # Reward 1 for the first tile: pairs 1 right, 2 wrong, 4 a tie that is none.
        reward = np.array([[1.0], [0.0]])
        assert rightly_ordered(reward, 0, first, second, Lake()) == (pytest.approx(1 / 3), 3)
        # A loop of two moves is gone round as often as its rarer move: never, but in the last pair, once by the first walk.
        assert comparisons([(0, 0), (1, 0)], 0, first, second, Lake()) == (1, 1)


@pytest.mark.slow
def test_files(tmp_path, capsys):
    assert main(Args(only="certainty", seeds=1, format="png", theme="dark", out=tmp_path)) == 0
    saved = json.loads((tmp_path / "certainty.json").read_text())
    assert (
        saved["settings"]["seeds"] == 1 and saved["versions"]["torch"] and saved["cases"][0]["lines"][0]["values"][-1] is None
    )
    assert {p.name for p in tmp_path.iterdir()} == {"certainty.json", "certainty.png", "certainty.png.txt"}
    assert "Why no number is left" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"only": "luck"}, "displacement, log2, certainty, off_path, exploited, all"),
        ({"theme": "pink"}, "light, dark"),
        ({"speed": 0.0}, "[0.1, 10]"),
        ({"speed": 2.0, "format": "png"}, "gif, mp4, webp"),
        ({"format": "bmp"}, "gif"),
        ({"seeds": 0}, "at least 1"),
        ({"seed": -1}, "0"),
    ],
)
def test_bad_input_is_told_in_a_line(tmp_path, capsys, bad, named):
    with pytest.raises(SystemExit) as end:
        main(Args(**{"out": tmp_path / "new", **bad}))
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.count("\n") == 1 and named in told
    assert not (tmp_path / "new").exists()
