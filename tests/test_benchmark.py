"""The benchmark's rows, its peers' inputs and its clocks; where peers are installed their answers are held to ours."""

import json
from importlib.util import find_spec

import numpy as np
import pytest

from benchmarks import environments, growth, pictures, ppo, sections, solving
from benchmarks.command import Args, main
from benchmarks.comparison import Comparison, compare
from ift_gridworld import TabularMDP
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.planning import optimal_policy, optimal_success, value_iteration


def slippery(size=6):
    return TabularMDP.from_map(random_map(size, seed=0), is_slippery=True)


def test_a_peer_that_is_not_installed_is_a_row_that_says_so():
    """Nothing is measured then."""

    def never():
        raise AssertionError

    row = compare("x", "nobody", never, never, "s", 3, needs="a_package_that_nobody_has")
    assert row == Comparison("x", "nobody", None, None, None, "s", "not installed")

    program = "a_program_that_nobody_has"
    missing = Comparison("size of the film", f"imageio, then {program} -O3", None, None, None, "kB", "not installed")
    assert pictures.film_size(None, program) == missing


@pytest.mark.skipif(not find_spec("envpool"), reason="needs EnvPool")
def test_envpool_steps_what_ours_steps():
    """The slippery 4x4 lake with its time limit: two thirds of the moves to the left stay in the first column."""
    import envpool

    env = envpool.make("FrozenLake-v1", env_type="gymnasium", num_envs=2000, seed=0)
    env.reset()
    states = env.step(np.zeros(2000, dtype=int))[0]
    share = [np.mean(states == state) for state in (0, 4)]
    assert abs(share[0] - 2 / 3) < 0.05 and abs(share[1] - 1 / 3) < 0.05
    assert env.config["max_episode_steps"] == 100 and env.config["size"] == 4


@pytest.mark.parametrize("section", [solving, ppo])
def test_sections_name_the_peers_that_are_missing(section, monkeypatch):
    monkeypatch.setattr(section, "find_spec", lambda name: None)
    monkeypatch.setattr("benchmarks.comparison.find_spec", lambda name: None)
    measure = {solving: solving.solving, ppo: ppo.ppo}[section]
    rows = [comparison() for comparison in measure(1)]
    assert len(rows) >= 6 and {row.note for row in rows} == {"not installed"} and all(row.peer for row in rows)


def test_what_solvers_are_fed_is_the_mdp():
    """The sparse matrix is P(s'|s,a), a row a pair."""
    mdp = slippery()
    found = solving.transition_pairs(mdp).toarray().reshape(mdp.transition.shape)
    np.testing.assert_array_equal(found, mdp.transition)


@pytest.mark.parametrize("peer", list(solving.SOLVERS))
def test_peers_solve_the_problem_that_we_solve(peer):
    """To the error that is asked of all; once more gives the same, so that pairs compare like with like."""
    package, make = solving.SOLVERS[peer]
    pytest.importorskip(package)
    mdp = slippery()
    solve = make(mdp)
    for _ in range(2):
        np.testing.assert_allclose(solve(), value_iteration(mdp)[0], rtol=0, atol=2 * solving.ERROR)


def test_steps_are_counted(monkeypatch):
    """Every environment of every call: 64 calls of 8 environments, each a second long, are 8 steps a second."""
    clock, calls = [0.0], []
    monkeypatch.setattr(environments.time, "perf_counter", lambda: clock[0])

    def step(actions):
        calls.append(actions)
        clock[0] += 1.0

    assert environments.steps_per_second(step, 8, least=1.0) == pytest.approx(8e-6)
    assert len(calls) == 64 and {len(actions) for actions in calls} == {8}


def test_the_stopwatch_stops_when_all_are_there_and_does_not_count_looking():
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)
    best, uniform = optimal_policy(mdp), np.full((16, 4), 0.25)
    watch = ppo.Stopwatch(mdp, seeds=2)
    assert watch.target == pytest.approx(0.95 * optimal_success(mdp, 100))
    assert not watch.look(lambda: np.stack([best, uniform])) and watch.reached.tolist() == [True, False]
    assert watch.look(lambda: np.stack([uniform, best])), "whoever was there once has reached it"
    assert watch.looking > 0 and watch.elapsed + watch.looking <= ppo.time.perf_counter() - watch.began
    assert ppo.Stopwatch(mdp, cap=0.0).look(lambda: uniform[None]), "time is up"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mlp", "tabular"])
def test_our_ppo_is_timed_until_it_is_there(kind):
    """On the small slippery lake, some seeds at once; once there, it stops."""
    watch = ppo.our_ppo(ppo.CONTESTS[0], kind, 4, 0, cap=60.0)
    assert watch.reached.all() and 0 < watch.elapsed < 60


def test_slopes_are_powers():
    """Seconds as the square of the size: slope 2, however long the smallest takes."""
    sizes = [1, 10, 100, 1000]
    found = growth.Growth("x", "states", sizes, [5.0, *(1e-6 * n**2 for n in sizes[1:])])
    assert found.slope == pytest.approx(2) and found.comparison.ours == pytest.approx(2)


def test_growth_is_measured_until_patience_ends(monkeypatch):
    """What is made off the clock costs nothing; after the first size that takes too long none is tried."""
    clock, made = [0.0], []
    monkeypatch.setattr("benchmarks.comparison.time.perf_counter", lambda: clock[0])

    def make(size):
        made.append(size)
        clock[0] += 1000

        def work():
            clock[0] += size

        return work

    found = growth.grow("x", "states", ((n, lambda n=n: make(n)) for n in (2, 4, 20, 40)))
    assert found.sizes == [2, 4, 20] and found.seconds == [2, 4, 20] and made == [2, 4, 20]


def test_a_run_leaves_a_table_a_file_and_a_picture(tmp_path, monkeypatch, capsys):
    """Sections that were run before stay; --redraw measures nothing; mistakes are one line."""
    line = growth.Growth("work", "seeds", [1, 10, 100], [0.1, 0.2, 0.9])
    row = Comparison("steps", "somebody", 1234.5, 2.0, 617.25, "M steps/s")
    known = {"a": lambda pairs: [lambda: row], "growth": lambda pairs: [lambda: line]}
    monkeypatch.setattr(sections, "SECTIONS", known)
    assert main(Args(out=tmp_path, only="growth")) == 0
    assert main(Args(out=tmp_path, only="a")) == 0
    said = capsys.readouterr().out
    assert "1,234" in said and "617" in said and f"{np.log10(9) / 2:.3g}" in said, "from 0.1 s to 0.9 s over two decades"
    saved = json.loads((tmp_path / "benchmark.json").read_text())
    assert saved["sections"]["a"] == [vars(row)] and saved["growth"][0]["seconds"] == [0.1, 0.2, 0.9]
    page = (tmp_path / "README.md").read_text()
    assert "| steps | somebody | 1,234 | 2 | 617 | M steps/s |" in page and "## A" in page and "(growth.png)" in page
    before = (tmp_path / "growth.png").read_bytes()
    assert before.startswith(b"\x89PNG")
    assert main(Args(out=tmp_path, redraw=True, theme="dark")) == 0
    assert (tmp_path / "growth.png").read_bytes() != before and capsys.readouterr().out.count("1,234") == 1
    for wrong, words in (
        ({"only": "nothing"}, "allowed: a, growth"),
        ({"pairs": 0}, "at least 1"),
        ({"theme": "green"}, "light, dark"),
        ({"redraw": True, "out": tmp_path / "new"}, "not there"),
    ):
        with pytest.raises(SystemExit):
            main(Args(**{"out": tmp_path, **wrong}))
        assert words in capsys.readouterr().err
