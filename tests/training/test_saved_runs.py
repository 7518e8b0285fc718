import json

import gymnasium
import numpy as np
import pytest

from ift_gridworld.envs.maps import LAKES, open_lake
from ift_gridworld.mdp import Origin, TabularMDP
from ift_gridworld.storage import write_atomically
from ift_gridworld.training.files import PLAIN
from ift_gridworld.training.run import Run

MAPLESS = "tests/Corridor-v0"  # an environment of somebody's own, of which nobody knows how to draw it


class Corridor(gymnasium.Env):
    """Three states in a row; one action goes on, the other back, and the last state is the end."""

    P = {
        s: {a: [(1.0, max(s + step, 0), float(s + step == 2), s + step == 2)] for a, step in enumerate((-1, 1))} for s in (0, 1)
    }
    P[2] = {a: [(1.0, 2, 0.0, True)] for a in (0, 1)}
    initial_state_distrib = np.array([1.0, 0.0, 0.0])
    observation_space, action_space = gymnasium.spaces.Discrete(3), gymnasium.spaces.Discrete(2)


gymnasium.register(MAPLESS, Corridor, max_episode_steps=10)


def record(lake=None, **changes):
    lake = lake or Origin("4x4", LAKES["4x4"], None, True, 0.7, 0.95, 100)
    random = np.random.default_rng(0)
    snapshots, final = random.dirichlet(np.ones(4), (3, 16)), random.dirichlet(np.ones(4), (2, 16))
    entries = {
        "method": "ift",
        "title": "IFT · intuitive fine-tuning",
        "needs": "demonstrations",
        "environment": lake,
        "settings": {"steps": 20, "mixing": 0.2, "seed": 0},
        "versions": {"python": "3.11"},
        "steps": np.array([0, 5, 20]),
        "metrics": {
            "success": random.random((3, 2)),
            "distance": np.array([[0.0, 1e-12], [np.nan, 3.0], [0.1, np.inf]]),
            "regret": random.random((3, 2)),
        },
        "optimum": {"return": 0.5, "success": 0.7},
        "loss": random.random((20, 2)),
        "snapshots": snapshots,
        "base": final[::-1],
        "final": final,
        "demonstration": np.array([[0, 1], [4, 1]]),
        "rejected": np.zeros((0, 2), int),
        "seconds": 0.5,
        "assumed_prior": "ift",
        "estimation": {
            "base": {name: random.random((2, 5)) for name in ("truth", "estimate")}
            | {"gap": np.array([[np.nan] * 5, [1 / 3] * 5])}
        },
    }
    return Run(**{**entries, **changes})


def test_a_saved_record_comes_back_to_the_last_bit(tmp_path):
    before = record()
    after = Run.load(before.save(tmp_path / "ift.json"))
    for name in ("steps", "loss", "snapshots", "base", "final", "demonstration", "rejected"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        assert getattr(after, name).shape == getattr(before, name).shape
    for name, values in before.metrics.items():
        np.testing.assert_array_equal(after.metrics[name], values)
    for name, values in before.estimation["base"].items():
        np.testing.assert_array_equal(after.estimation["base"][name], values)
    assert (after.environment, after.settings, after.method, after.seconds) == (
        before.environment,
        before.settings,
        before.method,
        before.seconds,
    )
    assert after.save(tmp_path / "again.json").read_bytes() == (tmp_path / "ift.json").read_bytes()


def large_record(seeds=2, size=64, snapshots=20):
    """A lake on which few rows change from one snapshot to the next, as where a table learns from what it visits."""
    random = np.random.default_rng(1)
    base = random.dirichlet(np.ones(4), (seeds, size * size))
    final, taken = base.copy(), [base[0]]
    for seed in range(seeds):
        final[seed, :100] = random.dirichlet(np.ones(4), 100)
    for count in np.linspace(0, 100, snapshots)[1:].astype(int):
        taken.append(np.concatenate([final[0, :count], base[0, count:]]))
    lake = Origin(f"open {size}", open_lake(size), None, False, 1 / 3, 0.99, 25 * size)
    steps = np.arange(snapshots)
    metrics = {name: random.random((snapshots, seeds)) for name in ("success", "distance", "regret")}
    tables = {"snapshots": np.stack(taken), "base": base, "final": final}
    return record(lake, steps=steps, metrics=metrics, loss=np.ones((20, seeds)), estimation={}, **tables), base, final


def test_tables_of_a_large_lake_are_packed_and_keep_24_bits(tmp_path):
    before, base, final = large_record()
    assert before.snapshots.size + base.size + final.size > PLAIN
    path = before.save(tmp_path / "ift.json")
    after = Run.load(path)
    for name in ("snapshots", "base", "final"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    for name, exact in (("base", base), ("final", final)):
        np.testing.assert_allclose(getattr(after, name), exact, rtol=2**-24, atol=0)
    assert after.save(tmp_path / "again.json").read_bytes() == path.read_bytes()
    # One table of each seed has nothing that could be pressed out of it but its exponents; all else hardly differs from it.
    assert path.stat().st_size < 1.1 * (4 / 3) * base.size * 4
    saved = json.loads(path.read_text())
    assert saved["tables"]["shape"] == [20 + 2 * 2, 64 * 64, 4] and saved["lake"]["rows"] == list(before.environment.rows)
    assert not {"snapshots", "base", "final"} & set(saved)


def test_packed_tables_are_told_from_broken_ones(tmp_path):
    path = large_record(1)[0].save(tmp_path / "ift.json")
    saved = json.loads(path.read_text())
    whole = saved["tables"]["data"]
    for data, shape in ((whole[: len(whole) // 2], None), ("eJw=", None), ("%", None), (whole, [22, 4096, 3])):
        broken = {"shape": shape or saved["tables"]["shape"], "data": data}
        path.write_text(json.dumps({**saved, "tables": broken}))
        with pytest.raises(ValueError, match=r"ift\.json is not a saved run") as error:
            Run.load(path)
        assert "\n" not in str(error.value)


def test_a_file_of_the_first_format_is_read(tmp_path):
    path = record().save(tmp_path / "ift.json")
    saved = json.loads(path.read_text())
    assert isinstance(saved["snapshots"], list)
    path.write_text(json.dumps({**saved, "format": 1}))
    np.testing.assert_array_equal(Run.load(path).snapshots, record().snapshots)


def test_runs_on_one_lake_share_what_is_computed_of_it(tmp_path):
    paths = [record(method=name).save(tmp_path / f"{name}.json") for name in ("sft", "ift")]
    one, two = map(Run.load, paths)
    assert one.environment is not two.environment and one.mdp is two.mdp


def test_rounding_keeps_nine_digits_of_any_size():
    values = np.array([[1 / 3, 1e-200 / 3, 123456.7890123, 0.0]])
    kept = record(loss=values).loss
    np.testing.assert_allclose(kept, values, rtol=5e-9, atol=0)
    assert repr(float(kept[0, 0])) == "0.333333333"


def test_lake_builds_its_mdp_again():
    lake = Origin("6x6", ("SFHF", "FFFG"), None, True, 0.7, 0.9, 100)
    expected = TabularMDP.from_map(lake.rows, is_slippery=True, success_rate=0.7, discount=0.9)
    np.testing.assert_array_equal(lake.mdp.probability, expected.probability)
    assert lake.mdp.discount == 0.9
    assert Origin("CliffWalking-v1", None, "CliffWalking-v1", False, None, 0.99, None).mdp.num_states == 48


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"format": 999}', "\x00"])
def test_what_is_no_record_is_told_in_one_line(tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"broken\.json is not a saved run") as error:
        Run.load(path)
    assert "\n" not in str(error.value)


def test_write_atomically_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch):
    path = write_atomically(tmp_path / "file", b"old")

    def fail(*_):
        raise OSError("no room")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="no room"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
