"""The suite: its page says what the code computes, its optima are the closed forms, and every method trains in every place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ift_gridworld.cli.suite import Args, main
from ift_gridworld.data import demonstrations, generators, preference_pairs
from ift_gridworld.envs.maps import LAKES, bridge
from ift_gridworld.envs.registry import make_env
from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.evaluation.metrics import log_likelihood
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.registry import CORE, METHODS
from ift_gridworld.planning import optimal_policy, success_probability, value_iteration
from ift_gridworld.studies import suite
from ift_gridworld.studies.lakes import DYNAMICS
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.loop import train

PAGE = Path(__file__).parents[2] / "figures" / "suite" / "README.md"


def environment(name):
    return next(e for e in suite.ENVIRONMENTS if e.map == name)


def test_the_page_says_what_is_computed():
    page = PAGE.read_text()
    assert page == suite.readme()
    assert all((PAGE.parent / f"{m.name}.png").stat().st_size > 1000 for m in suite.ENVIRONMENTS)
    assert len({m.name for m in suite.ENVIRONMENTS}) == len(suite.ENVIRONMENTS) == page.count("\n## ")


def test_a_theme_that_is_none_is_told_in_one_line(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(Args(out=tmp_path / "suite", theme="sepia"))
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.count("\n") == 1 and "'sepia'; allowed: light, dark" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "steps"), [("two-paths", 5), ("4x4", 6), ("8x8", 14), ("open", 14), ("bridge", 7)])
def test_on_firm_ice_the_optimum_is_the_shortest_way(name, steps):
    """A gift after n steps is worth 0.99^(n - 1)."""
    lake = environment(name).mdp("deterministic")
    made = suite.optimum(lake, lake)
    np.testing.assert_allclose([made.value, made.success, made.steps], [0.99 ** (steps - 1), 1, steps], rtol=1e-9)
    assert (made.transferred_value, made.transferred_success) == (made.value, made.success)


def test_the_cliffs_optimum_pays_for_thirteen_steps():
    """Up, eleven to the right, down; at -1 each."""
    lake = environment("CliffWalking-v1").mdp("deterministic")
    made = suite.optimum(lake, lake)
    np.testing.assert_allclose([made.value, made.steps], [-(1 - 0.99**13) / 0.01, 13], rtol=1e-9)


def test_a_taxis_optimum_is_the_shortest_ride():
    """From each beginning, by breadth-first search through Gymnasium's table: -1 a step, 20 for the last."""
    env = make_env("Taxi-v4").unwrapped
    starts = np.flatnonzero(env.initial_state_distrib)
    length = np.full(500, np.inf)
    for _ in range(30):
        ways = [[1 if over else 1 + length[s] for a in range(6) for _, s, _, over in env.P[state][a]] for state in range(500)]
        length = np.array([min(way) for way in ways])
    taxi = environment("Taxi-v4").mdp("deterministic")
    made = suite.optimum(taxi, taxi)
    value = -(1 - 0.99 ** (length[starts] - 1)) / 0.01 + 20 * 0.99 ** (length[starts] - 1)
    np.testing.assert_allclose([made.value, made.steps], [value.mean(), length[starts].mean()], rtol=1e-9)


def test_which_way_is_best_flips_with_the_slip():
    """At the rate that the page names, the first move turns from the land to the bridge. Where the bridge is taken it is worth
    more than if there were none, and on ice that slips more it is worth nothing: then nobody would miss it."""
    rows = LAKES["bridge"]
    broken = tuple(row.replace("SFFFFFFG", "SFHHHHFG") for row in rows)
    flip, start, right = suite.bridge_flip(), "".join(rows).index("S"), LAKE_ACTIONS.index("right")
    for rate, crosses in ((1.0, True), (flip, True), (flip - 1e-4, False), (0.9, False), (1 / 3, False)):
        mdp, without = (TabularMDP.from_map(r, is_slippery=True, success_rate=rate) for r in (rows, broken))
        assert (optimal_policy(mdp)[start, right] > 0.5) == crosses
        gain = (value_iteration(mdp)[0] - value_iteration(without)[0])[start]
        assert gain > 1e-4 if crosses else gain < 1e-3
        if rate <= 0.9:
            assert gain == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("size", [5, 6, 8, (9, 6), (6, 9)])
def test_a_bridges_land_is_safe_and_its_bridge_is_not(size):
    """Leaning away from the water nobody falls, whatever the slip; on the bridge each of its tiles must be left as intended."""
    rows = bridge(size)
    height, width = len(rows), len(rows[0])
    left, down, right, up = range(4)
    choice = np.full((height, width), right)
    choice[0], choice[1] = right, up
    choice[2:, 0], choice[2:, 1], choice[:, -1], choice[1, -2] = up, left, down, right
    choice[-1, 0], choice[-1, -2:] = left, right
    mdp = TabularMDP.from_map(rows, is_slippery=True)
    policy = np.eye(4)[choice.ravel()]
    assert success_probability(mdp, policy) == pytest.approx(1, abs=1e-9)
    on_the_bridge = replace(mdp, start=np.eye(mdp.num_states)[(height - 2) * width + 2])
    assert success_probability(on_the_bridge, policy) == pytest.approx(3.0 ** -(width - 4), abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("method", CORE)
@pytest.mark.parametrize("dynamics", DYNAMICS)
@pytest.mark.parametrize("place", suite.ENVIRONMENTS, ids=lambda m: m.name)
def test_every_method_trains_in_every_place(place, dynamics, method):
    """Losses are numbers, the policy moves and stays one, success is a probability; imitation makes what was shown likelier."""
    mdp = place.mdp(dynamics)
    shown = demonstrations(mdp, 4, generator=generators(0, 1)[0])
    pairs = preference_pairs(mdp, 4, generator=generators(0, 1)[0])
    base = make_base("mixture", mdp, policy="tabular")
    run = train(method, mdp, base, steps=5, learning_rate=0.03, demonstrations=shown, preferences=pairs)
    assert run.diverged is None and np.isfinite(run.loss).all() and run.loss.shape == (5, 1)
    before, after = run.policies[0, 0], run.policies[-1, 0]
    # Where hardly a walk arrives, all returns of a group are equal, and GRPO has nothing to learn from.
    assert np.abs(after - before).max() > 1e-3 or (method == "grpo" and run.metrics["success"][0] < 0.1)
    np.testing.assert_allclose(after.sum(-1), 1, atol=1e-5)
    assert ((run.metrics["success"] >= 0) & (run.metrics["success"] <= 1 + 1e-9)).all()
    if METHODS[method].needs == "demonstrations":
        assert log_likelihood(after, shown) > log_likelihood(before, shown)
