"""One setting of a study: its name, its lakes, its data, its table; held to runs of `train` and to counts by hand."""

import gzip
from dataclasses import replace

import numpy as np
import pytest
import torch

from ift_gridworld.data import Trajectories, detour, path_of
from ift_gridworld.envs.maps import LAKES, two_paths
from ift_gridworld.evaluation.estimation import estimate
from ift_gridworld.evaluation.metrics import measure, tiles_of
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy
from ift_gridworld.studies.data import draw_data
from ift_gridworld.studies.lakes import lake_maps, read_maps
from ift_gridworld.studies.measures import OWN_MEASURES, mixing_effects
from ift_gridworld.studies.running import run_setting
from ift_gridworld.studies.settings import ICE, Setting
from ift_gridworld.studies.tables import concatenate_tables, load_table, select, write_table
from ift_gridworld.training.loop import train

FIRM = Setting("two-paths-4", "firm", "good-0.5", "mlp-8", "adam", 1)
SLIPPERY = Setting("4x4", "slippery-0.8", "random", "tabular", "rmsprop", 3)


def rows_of(table, **labels):
    keep = np.ones(len(table["method"]), bool)
    for name, value in labels.items():
        keep &= table[name] == value
    return select(table, keep)


# ---- names and lakes ----


@pytest.mark.parametrize("setting", [FIRM, SLIPPERY, Setting("lakes-0.8-3", "slippery", "uniform", "mlp-16", "adam", 64)])
def test_a_settings_name_is_the_setting(setting):
    assert Setting.parse(setting.name) == setting
    assert setting.name.count(",") == 5


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("4x4,firm,random,mlp-8,adam", "4x4,firm,good-0.5,mlp-64,adam,1"),
        ("4x4,firm,random,mlp-8,adam,one", "DEMONSTRATIONS"),
        ("4x4,wet,random,mlp-8,adam,1", "firm, slippery-0.8, slippery"),
        ("4x4,firm,good-2,mlp-8,adam,1", "good-2"),
        ("4x4,firm,good-x,mlp-8,adam,1", "good-x"),
        ("4x4,firm,random,mlp-0,adam,1", "mlp-0"),
        ("4x4,firm,random,mlp,adam,1", "'mlp'"),
        ("4x4,firm,random,tabular,sgd,1", "adam, rmsprop"),
        ("4x4,firm,random,tabular,adam,0", "demonstrations is 0"),
    ],
)
def test_a_wrong_setting_is_refused_in_one_line(name, word):
    with pytest.raises(ValueError, match="allowed") as error:
        Setting.parse(name)
    assert word in str(error.value) and "\n" not in str(error.value)


def test_maps_by_name():
    assert lake_maps("two-paths-6") == [("two-paths-6", two_paths(6))]
    assert lake_maps("8x8") == [("8x8", LAKES["8x8"])]
    blocks = {name: lake_maps(name) for name in ("lakes-0.6-0", "lakes-0.6-1", "lakes-0.9-0")}
    assert all(len(block) == 10 and len({rows for _, rows in block}) == 10 for block in blocks.values())
    assert len({rows for block in blocks.values() for _, rows in block}) == 30  # no lake stands in two blocks
    frozen = {d: np.mean([row.count("F") for _, rows in blocks[f"lakes-{d}-0"] for row in rows]) / 6 for d in ("0.6", "0.9")}
    assert frozen["0.6"] < 0.75 < frozen["0.9"]
    assert lake_maps("lakes-0.6-0") == blocks["lakes-0.6-0"]
    for name in ("lakes-2-0", "lakes-0.5", "3x3", "two-paths-x", "nothing.txt:0"):
        with pytest.raises(ValueError, match=name.partition(":")[0]):
            lake_maps(name)


def test_maps_of_a_file(tmp_path):
    """Twelve maps make two blocks; a wrong one is named by its number."""
    path = tmp_path / "lakes.txt"
    path.write_text("\n\n".join(["SFF\nFHG", *["SFFF \nFFFG"] * 11]) + "\n\n\n")
    assert read_maps(path)[0] == ("SFF", "FHG") and len(read_maps(path)) == 12
    assert [name for name, _ in lake_maps(f"{path}:1")] == [f"{path}:10", f"{path}:11"]
    with pytest.raises(ValueError, match="blocks 0 to 1"):
        lake_maps(f"{path}:2")
    path.write_text("SFG\n\nSFX\n")
    with pytest.raises(ValueError, match="map 2 of .*'X'"):
        read_maps(path)
    path.write_text("\n \n")
    with pytest.raises(ValueError, match="no map"):
        read_maps(path)
    with pytest.raises(ValueError, match="cannot be read"):
        read_maps(tmp_path / "none.txt")


@pytest.mark.parametrize("ice", ICE)
def test_ice_by_name(ice):
    """The chance that a move goes as intended, off the edges."""
    (_, mdp), *_ = Setting("4x4", ice, "random", "tabular", "adam", 1).lakes
    as_intended = mdp.transition[9, 1, 13]  # down, away from holes and edges
    assert as_intended == pytest.approx({"firm": 1, "slippery": 1 / 3, "slippery-0.8": 0.8}[ice])


# ---- data ----


def test_on_firm_ice_seeds_are_shown_optimal_paths_and_one_detour():
    mdp = TabularMDP.from_map(LAKES["4x4"])
    data = draw_data(mdp, 4, 6, seed=3)
    best = optimal_policy(mdp) > 0
    seen = set()
    for shown in data:
        for row in range(4):
            path = path_of(shown.demonstrations[row : row + 1])
            assert all(best[s, a] for s, a in path) and len(path) == 6
            seen.add(tuple(map(tuple, path)))
        assert torch.equal(shown.chosen.states, shown.demonstrations.states)
        assert all(path_of(shown.rejected[row : row + 1])[:, 1].tolist() == detour(mdp) for row in range(4))
    assert len(seen) > 1  # ties are shared, so paths differ
    alone = draw_data(mdp, 4, 2, seed=4)
    assert torch.equal(alone[0].demonstrations.states, data[1].demonstrations.states)  # a seed's data is its own


def test_on_slippery_ice_pairs_differ_in_return_and_are_repeated_where_there_are_few():
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True, success_rate=0.5)
    for shown in draw_data(mdp, 5, 3, seed=0):
        assert shown.chosen.states.shape[0] == shown.rejected.states.shape[0] == shown.demonstrations.states.shape[0] == 5
        assert (shown.chosen.returns(mdp.discount) > shown.rejected.returns(mdp.discount)).all()
        assert torch.equal(shown.chosen.states[:, 0], shown.rejected.states[:, 0])
        assert shown.chosen.mask[:, -1].any() and shown.rejected.mask[:, -1].any()  # no column without a step
    # One walk in 27 keeps straight on for three steps; of 160 about six, and an episode that fails beside each.
    rare = TabularMDP.from_map(("HHHH", "SFFG", "HHHH"), is_slippery=True)
    pairs = draw_data(rare, 40, 1, seed=0)[0]
    distinct = {tuple(row) for row in torch.cat([pairs.chosen.states, pairs.rejected.states], -1).tolist()}
    assert len(pairs.chosen.states) == 40 and 1 <= len(distinct) < 20
    assert (pairs.chosen.returns(rare.discount) > pairs.rejected.returns(rare.discount)).all()


def test_a_lake_that_nobody_crosses_has_no_rows():
    """Slippery, and both sides of a long corridor are holes: no episode of 64 reaches the gift."""
    corridor = "SFFFFFFFFFFFFG"
    mdp = TabularMDP.from_map(("H" * 14, corridor, "H" * 14), is_slippery=True)
    assert draw_data(mdp, 1, 2, seed=0) is None


# ---- runs ----


@pytest.mark.parametrize("setting", [FIRM, SLIPPERY], ids=["firm", "slippery"])
def test_a_row_is_what_training_by_itself_gives(setting):
    """Every measure of one seed at its own rate, by `train` on that seed's data alone."""
    table = run_setting(setting, methods=["sft", "ift", "dpo"], rates=(0.01, 0.05), seeds=2, seed=4, keep=(0, 5, 20))
    (_, mdp), *_ = setting.lakes
    data = draw_data(mdp, setting.demonstrations, 2, 4)
    for method, seed, rate in (("sft", 0, 0.01), ("ift", 1, 0.05), ("dpo", 1, 0.01)):
        shown = data[seed]
        base = setting.make_base([mdp], 2, 4).members([seed])
        start = base.probabilities()
        run = train(
            method, mdp, base, steps=20, snapshots=21, learning_rate=rate, optimiser=setting.optimiser,
            demonstrations=shown.demonstrations, preferences=(shown.chosen, shown.rejected),
        )  # fmt: skip
        found = rows_of(table, method=method, seed=4 + seed, rate=rate, checkpoint="last")
        assert found["update"].tolist() == [20]
        expected = measure(
            mdp,
            run.policies[-1],
            base=start,
            shown=tiles_of(mdp, shown.demonstrations),
            chosen=shown.chosen,
            rejected=shown.rejected,
        )
        for name, value in expected.items():
            assert found[name][0] == pytest.approx(value[0], rel=2e-3, abs=2e-3), (method, name)
        if rate == 0.01 and setting is FIRM:  # the rate nearest to the policy's own
            answers = shown.chosen if method == "dpo" else shown.demonstrations
            told = estimate(method, mdp, base, answers[:4], stale=shown.rejected[:4])
            mask = told.mask
            assert found["bias"][0] == pytest.approx(np.abs(told.bias)[0][mask].mean(), abs=2e-3)
            assert found["gap"][0] == pytest.approx(np.nanmean(told.gap[0][mask]), abs=2e-3)
    assert np.isnan(rows_of(table, method="sft", rate=0.05, checkpoint="last")["bias"]).all() or setting is SLIPPERY


def test_the_best_checkpoint_is_the_nearest_on_average_and_never_the_base():
    table = run_setting(FIRM, methods=["dpo"], rates=(0.03,), seeds=3, keep=(0, 2, 10, 60))
    best = rows_of(table, checkpoint="best")
    each = {step: run_setting(FIRM, methods=["dpo"], rates=(0.03,), seeds=3, keep=(0, step)) for step in (2, 10, 60)}
    means = {step: rows_of(other, checkpoint="last")["distance"].mean() for step, other in each.items()}
    assert set(best["update"]) == {min(means, key=means.get)}
    assert best["distance"].mean() == pytest.approx(min(means.values()), rel=1e-4)
    base = rows_of(table, method="base")
    assert base["checkpoint"].tolist() == ["base"] * 3 and (base["kl"] == 0).all()
    late = rows_of(each[60], checkpoint="best")  # here the base is nearer, and is not taken
    assert set(late["update"]) == {60} and late["distance"].mean() > base["distance"].mean()


def test_lakes_of_several_sizes_and_methods_by_another_name(tmp_path):
    path = tmp_path / "lakes.txt"
    path.write_text("SFF\nFHG\n\nSFFF\nFFFG\n\nSFFG\nFFFF\n")
    setting = Setting(f"{path}:0", "firm", "good-0.5", "tabular", "adam", 1)
    options = {"strong": {"method": "ift", "mixing": 1.0}, "off": {"method": "ift", "mixing": 0.0, "propagation": "none"}}
    table = run_setting(setting, methods=["sft", *options], options=options, rates=(0.03,), seeds=2, keep=(0, 30))
    assert list(dict.fromkeys(table["lake"])) == [f"{path}:{i}" for i in range(3)]
    sft, off, strong = (rows_of(table, method=m, checkpoint="last") for m in ("sft", "off", "strong"))
    assert np.array_equal(off["distance"], sft["distance"]) and not np.allclose(strong["distance"], sft["distance"])
    assert np.isfinite(strong["missed"]).all() and np.isnan(sft["missed"]).all()


def test_a_lake_without_a_second_way_is_named(tmp_path):
    """The start borders on the gift, on holes and on nothing else: no step can be wasted, and every other way ends."""
    path = tmp_path / "lakes.txt"
    path.write_text("SFF\nFHG\n\nFHF\nHSG\nFHF\n")
    with pytest.raises(ValueError, match=f"lake {path}:1: .*no sub-optimal"):
        run_setting(Setting(f"{path}:0", "firm", "uniform", "tabular", "adam", 1), methods=["sft"], seeds=1, keep=(0, 1))


def test_a_frozen_embedding_stays():
    """With its first layer held, a network of one unit cannot tell its tiles apart better than the base's first layer does."""
    table = run_setting(FIRM, methods=["sft"], rates=(0.03,), seeds=2, keep=(0, 40), freeze=["w1"])
    free = run_setting(FIRM, methods=["sft"], rates=(0.03,), seeds=2, keep=(0, 40))
    held, moved = (rows_of(t, method="sft", checkpoint="last")["chosen_logp"] for t in (table, free))
    assert (held < moved).all()


def test_a_method_that_draws_its_own_answers_runs_on_one_lake_and_on_many():
    table = run_setting(FIRM, methods=["dpo_online"], rates=(0.03,), seeds=2, keep=(0, 60))
    assert (rows_of(table, method="dpo_online", checkpoint="last")["success"] > 0.9).all()
    blocks = Setting("lakes-0.9-0", "firm", "uniform", "tabular", "adam", 1)
    table = run_setting(blocks, methods=["dpo_online"], rates=(0.03,), seeds=1, keep=(0, 60))
    base, last = rows_of(table, method="base"), rows_of(table, method="dpo_online", checkpoint="last")
    assert np.array_equal(base["lake"], last["lake"]) and len(last["lake"]) == 10
    assert (last["success"] > base["success"]).all()


def test_what_mixing_teaches_by_hand():
    """A corridor of four tiles and a spare one: S F F G / F H H H. Right is best on the corridor; on the spare tile, up.

    The policy walks left on S (stays), down on the second (a hole), right on the third."""
    mdp = TabularMDP.from_map(("SFFG", "FHHH"))
    policy = np.full((8, 4), 0.1)
    for tile, action in ((0, 1), (1, 1), (2, 2), (4, 3)):
        policy[tile, action] = 0.7
    t = torch.tensor([[0, 1, 2]])
    right = torch.full((1, 3), 2)
    shown = Trajectories(
        t, right, torch.ones(1, 3).bool(), t + 1, torch.zeros(1, 3), torch.zeros(1, 3).bool(), torch.zeros(1, 3).bool()
    )

    def told():
        return {name: value.item() for name, value in mixing_effects(mdp, policy[None, None, None], [shown]).items()}

    # Predictions are made on tiles 0 and 1, for tiles 1 and 2: from 0 down to 4 (the spare tile, where right is wrong), from 1
    # down into the hole 5.
    found = told()
    assert found["missed"] == 1 and found["right"] == 0 and found["push"] > 0
    policy[0] = [0.7, 0.1, 0.1, 0.1]  # into the edge: tile 0 again, where right is best
    found = told()
    assert found["missed"] == 1 and found["right"] == 1 and found["push"] < 0

    def distance(logits):
        return np.mean((np.exp(logits) / np.exp(logits).sum() - np.eye(4)[2]) ** 2)

    step = 1e-6 * (np.eye(4)[2] - policy[0])  # along the gradient of log pi(right)
    slope = (distance(np.log(policy[0]) + step) - distance(np.log(policy[0]) - step)) / 2e-6
    assert found["push"] == pytest.approx(slope / 2, rel=1e-6)  # of two predictions one leads to a tile that can be taught
    policy[0], policy[1] = [0.1, 0.1, 0.7, 0.1], [0.1, 0.1, 0.7, 0.1]
    found = told()
    assert found["missed"] == 0 and np.isnan(found["right"]) and found["push"] == 0


def test_answers_of_one_step_predict_nothing():
    mdp = TabularMDP.from_map(("SG",))
    one = Trajectories(*(torch.zeros(1, 1).to(kind) for kind in (int, int, bool, int, float, bool, bool)))
    found = mixing_effects(mdp, np.full((1, 1, 1, 2, 4), 0.25), [replace(one, mask=torch.ones(1, 1).bool())])
    assert found["missed"].item() == 0 and np.isnan(found["right"].item()) and found["push"].item() == 0


def test_unseen_moves_by_hand():
    """At the base, uniform: on a tile where both answers go alike three of four moves are unseen, where they part, two."""
    setting = Setting("two-paths-4", "firm", "uniform", "tabular", "adam", 1)
    table = run_setting(setting, methods=[], seeds=1)
    (_, mdp), *_ = setting.lakes
    data = draw_data(mdp, 1, 1, 0)[0]
    taken = {}
    for side in (data.chosen, data.rejected):
        for s, a in path_of(side).tolist():
            taken.setdefault(s, set()).add(a)
    assert table["unseen"][0] == pytest.approx(np.mean([1 - len(actions) / 4 for actions in taken.values()]), abs=1e-6)


# ---- tables ----


def test_a_table_is_read_as_it_was_written(tmp_path):
    table = run_setting(FIRM, methods=["sft"], rates=(0.03,), seeds=2, keep=(0, 3))
    about = {"study": "test", "seed": 0}
    for name in ("a.csv", "a.csv.gz"):
        path = write_table(table, tmp_path / name, about)
        first = path.read_bytes()
        read, told = load_table(path)
        assert told == about and list(read) == list(table)
        assert write_table(read, path, told).read_bytes() == first  # and the same table is the same file
    for name in (*OWN_MEASURES, "distance"):
        if name in table:
            np.testing.assert_allclose(read[name], table[name].astype(float), rtol=1e-6)
    assert read["seed"].tolist() == [0, 1] * 3 and set(read["map"]) == {"two-paths-4"}
    assert not list(tmp_path.glob(".*"))


def test_the_same_setting_is_the_same_table(tmp_path):
    one, two = (run_setting(SLIPPERY, methods=["sft", "orpo"], rates=(0.01,), seeds=2, keep=(0, 4)) for _ in range(2))
    files = [write_table(t, tmp_path / f"{i}.csv", {}).read_bytes() for i, t in enumerate((one, two))]
    assert files[0] == files[1]


def test_concatenated_tables_keep_what_each_has():
    one, two = (
        {"lake": np.array(["a"], object), "distance": np.array([1.0]), "bias": np.array([0.5])},
        {"lake": np.array(["b"], object), "tiles": np.array([2.0])},
    )
    both = concatenate_tables([one, two])
    assert both["lake"].tolist() == ["a", "b"]
    assert np.array_equal(both["distance"], [1, np.nan], equal_nan=True) and np.array_equal(
        both["tiles"], [np.nan, 2], equal_nan=True
    )
    assert np.array_equal(both["bias"], [0.5, np.nan], equal_nan=True)
    assert list(both) == ["lake", "distance", "tiles", "bias"], "and no measure that no table has"
    assert list(concatenate_tables([one, two], only=["tiles"])) == ["lake", "tiles"]


@pytest.mark.parametrize(
    "content", [b"", b"no header", b"# {}\n", b"# {}\na,b\n1\n", b"# {}\na,a\n1,2\n", gzip.compress(b"# {}\na\n1\n", mtime=0)]
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "broken.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="broken.csv is not a saved table"):
        load_table(path)
    with pytest.raises(ValueError, match="not a saved table"):
        load_table(tmp_path / "none.csv.gz")
