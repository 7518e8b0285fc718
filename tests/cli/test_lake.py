"""The script is judged by the numbers that it writes, evaluated again here without any of the package's own code."""

import base64
import json
import subprocess
import sys
import zlib
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from PIL import Image
from test_saved_runs import MAPLESS, record

from ift_gridworld.cli.main import command_of
from ift_gridworld.cli.method_options import chosen_methods
from ift_gridworld.cli.parser import parse
from ift_gridworld.cli.setup import default_snapshots
from ift_gridworld.evaluation.estimation import TABLE
from ift_gridworld.methods.registry import CORE, FAMILIES, METHODS, family_of
from ift_gridworld.rendering.tables import estimations
from ift_gridworld.training.run import Run

SCRIPT = Path(__file__).parents[2] / "experiments" / "frozen_lake.py"


def run(out, *arguments):
    """Do here what the script and the command `lake` do; returns the exit status."""
    return lake("--out", out, *arguments)


def lake(*arguments):
    arguments = [str(argument) for argument in arguments]
    try:
        module, settings = command_of("lake", arguments)
        return module.main(parse(settings, None, arguments))
    except SystemExit as end:
        return end.code


def written(out, method="ift"):
    return json.loads((out / f"{method}.json").read_text())


def gymnasium_tables(lake):
    """P(s'|s, a), the expected reward and the probability of reaching G, summed up from Gymnasium's own table."""
    env = gymnasium.make("FrozenLake-v1", desc=lake["rows"], is_slippery=lake["is_slippery"], success_rate=lake["success_rate"])
    table = env.unwrapped.P
    states = len(table)
    onward, goal = np.zeros((states, 4, states)), np.zeros((states, 4))
    for s in range(states):
        for a in range(4):
            for p, successor, reward, terminated in table[s][a]:
                goal[s, a] += p * reward
                onward[s, a, successor] += p * (not terminated)
    return onward, goal


def success_within(onward, goal, policy, steps):
    """By walking the distribution forward."""
    now, reached = np.eye(len(policy))[0], 0.0
    for _ in range(steps):
        reached += now @ (policy * goal).sum(1)
        now = now @ np.einsum("sa,sat->st", policy, onward)
    return reached


@pytest.mark.parametrize(
    "arguments", [(), ("--map", "4x4", "--slippery", "--success-rate", 0.8), ("--map", "5x7", "--policy", "tabular")]
)
def test_numbers_agree_with_an_independent_evaluation_of_the_saved_policies(tmp_path, capsys, arguments):
    assert run(tmp_path, "--steps", 40, "--seeds", 3, *arguments) == 0
    saved = written(tmp_path)
    onward, goal = gymnasium_tables(saved["lake"])
    value = np.zeros(len(goal))  # optimal values, by sweeps
    for _ in range(3000):
        action_value = goal + 0.99 * onward @ value
        value = action_value.max(1)
    best = action_value >= value[:, None] - 1e-9
    optimal = best / best.sum(1, keepdims=True)
    walkable = np.array([letter in "SF" for row in saved["lake"]["rows"] for letter in row])
    for name, index in (("base", 0), ("final", -1)):
        for seed, policy in enumerate(np.array(saved[name])):
            np.testing.assert_allclose(policy.sum(1), 1, atol=1e-8)
            measured = {metric: values[index][seed] for metric, values in saved["metrics"].items()}
            chain = np.einsum("sa,sat->st", policy, onward)
            worth = np.linalg.solve(np.eye(len(chain)) - 0.99 * chain, (policy * goal).sum(1))[0]
            # Policies are saved with nine digits.
            close = {"rtol": 0, "atol": 1e-7}
            limit = saved["lake"]["horizon"]
            np.testing.assert_allclose(measured["success"], success_within(onward, goal, policy, limit), **close)
            np.testing.assert_allclose(measured["return"], worth, **close)
            np.testing.assert_allclose(measured["regret"], value[0] - worth, **close)
            np.testing.assert_allclose(measured["distance"], ((policy - optimal)[walkable] ** 2).mean(), **close)
    mean = np.mean(saved["metrics"]["success"][-1])
    assert f"{mean:.3f} [" in capsys.readouterr().out  # the table tells the same


def test_all_methods_start_from_one_base_and_end_in_one_table(tmp_path, capsys):
    assert run(tmp_path, "--method", "core", "--steps", 3, "--seeds", 2) == 0
    printed = capsys.readouterr().out
    saved = [written(tmp_path, method) for method in CORE]
    for method, entry in zip(CORE, saved, strict=True):
        assert entry["method"] == method and f"│ {method} " in printed and f"{method}.json" in printed
        assert entry["base"] == saved[0]["base"] and entry["final"] != entry["base"]
        assert entry["settings"]["steps"] == 3 and entry["settings"]["seed"] == 0 and entry["versions"]["torch"]
        assert np.array(entry["loss"]).shape == (3, 2)


def test_families_stand_for_their_methods():
    """Each for those that are listed with it, in the order of the registry; one that is named beside its family stands once."""
    for family in FAMILIES:
        assert chosen_methods(family) == [name for name in METHODS if family_of(name) == family] != []
    assert chosen_methods("all") == list(METHODS) and chosen_methods("core") == list(CORE)
    assert chosen_methods("unpaired,mixed,sft") == ["kto", "hpt", "luffy", "sft"]
    assert chosen_methods("kto,unpaired") == ["kto"] and chosen_methods("core,all") == list(METHODS)
    with pytest.raises(ValueError, match=r"^--method is 'pair'; did you mean pairs\? allowed: sft, ppo, .* all of imitation, "):
        chosen_methods("pair")
    with pytest.raises(ValueError, match="names a method twice"):
        chosen_methods("kto,kto")


def test_a_family_is_trained_and_drawn_under_its_own_name(tmp_path, capsys):
    assert run(tmp_path, "--method", "unpaired,sft", "--steps", 3, "--figure", "column") == 0
    assert {path.stem for path in tmp_path.iterdir()} >= {"kto", "sft"}
    assert any(path.name.startswith("unpaired-sft") for path in tmp_path.iterdir()), [p.name for p in tmp_path.iterdir()]


def test_same_seed_same_numbers_and_other_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert (
            run(tmp_path / name, "--method", "ppo", "--steps", 8, "--seeds", 2, "--map", "4x4", "--slippery", "--seed", seed)
            == 0
        )
    a, b, c = (written(tmp_path / name, "ppo") for name in "abc")
    assert (a["final"], a["metrics"], a["loss"]) == (b["final"], b["metrics"], b["loss"])
    assert a["final"] != c["final"]


def test_the_readme_command_draws_and_redraws_the_same_film(tmp_path):
    command = [sys.executable, SCRIPT, "--method", "ift", "--render", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout.splitlines()[-3:] == [
        f"wrote {tmp_path / name}" for name in ("ift.json", "ift.gif.txt", "ift.gif")
    ]
    assert (tmp_path / "ift.gif").stat().st_size < 1_000_000
    assert run(tmp_path / "again", "--redraw", tmp_path / "ift.json") == 0
    assert (tmp_path / "again" / "ift.gif").read_bytes() == (tmp_path / "ift.gif").read_bytes()


def test_divergence_names_step_and_setting_and_keeps_what_was_made(tmp_path, capsys):
    assert run(tmp_path, "--method", "sft", "--learning-rate", 1e29, "--seeds", 2) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "learning_rate=1e+29" in said and "at step" in said
    saved = written(tmp_path, "sft")
    assert saved["diverged"] in said and saved["policies"]["shape"][0] == len(saved["steps"]) >= 1
    assert np.isfinite(Run.load(tmp_path / "sft.json").policies).all()


def test_the_reader_chooses_the_seed_that_is_drawn(tmp_path, capsys):
    """While training, and again without training; seeds are numbered as --seed numbers them."""
    common = ("--method", "sft", "--policy", "tabular", "--steps", 4, "--seeds", 3, "--seed", 5)
    assert run(tmp_path, *common, "--drawn-seed", 7, "--render", "--format", "png") == 0
    saved = Run.load(tmp_path / "sft.json")
    assert (saved.drawn, saved.drawn_seed) == (2, 7)
    for seed in (6, 7):
        command = ("--redraw", tmp_path / "sft.json", "--drawn-seed", seed, "--format", "png")
        assert run(tmp_path / str(seed), *command) == 0
        number = saved.metrics["distance"][-1, seed - 5]
        words = (tmp_path / str(seed) / "sft.png.txt").read_text(encoding="utf-8")
        assert f"in seed {seed} " in words and f"to {number:.3f} (mean" in words
    pictures = [(tmp_path / folder / "sft.png").read_bytes() for folder in ("", "7", "6")]
    assert pictures[0] == pictures[1] != pictures[2]
    capsys.readouterr()
    for command, allowed in ((common, "the seeds that are trained"), (("--redraw", tmp_path / "sft.json"), "the seeds of sft")):
        assert run(tmp_path / "none", *command, "--drawn-seed", 4) == 2
        assert capsys.readouterr().err == f"error: --drawn-seed is 4; allowed: 5 to 7, {allowed}\n"
    assert not (tmp_path / "none").exists()


BAD = [
    (("--method", "foo"), "'foo'"),
    (("--map", "nowhere"), "'nowhere'"),
    (("--size", "0x0"), "size"),
    (("--policy", "foo"), "'foo'"),
    (("--base", "foo"), "'foo'"),
    (("--format", "foo", "--render"), "'foo'"),
    (("--theme", "foo"), "'foo'"),
    (("--mixing", 1.5), "1.5"),
    (("--mixing", "nan"), "nan"),
    (("--decay", -1), "-1.0"),
    (("--method", "dpo", "--beta", 0), "beta is 0.0"),
    (("--learning-rate", -1), "-1.0"),
    (("--learning-rate", "inf"), "inf"),
    (("--steps", 0), "0"),
    (("--steps", "abc"), "abc"),
    (("--seeds", 0), "0"),
    (("--hidden", 0), "0"),
    (("--method", "ppo", "--reward", "preference", "--pairs", 0), "pairs is 0"),
    (("--demonstrations", 0), "0"),
    (("--discount", 2), "2.0"),
    (("--success-rate", 0.5), "0.5"),
    (("--slippery", "--success-rate", 2), "2.0"),
    (("--map", "random", "--size", "abc"), "'abc'"),
    (("--map", "random", "--map-seed", -1), "-1"),
    (("--map", "4x4", "--size", 5), "'4x4'"),
    (("--map", MAPLESS, "--render"), MAPLESS),
    (("--map", MAPLESS, "--figure", "column"), MAPLESS),
    (("--map", MAPLESS, "--explain", "sft"), "no map to draw"),
    (("--map", "bridge", "--size", 4), "4x4"),
    (("--method", "all", "--render"), "--render draws 41 methods in one picture; allowed: up to 12, such as --method core"),
    (("--method", "pairs", "--view", "flow"), "--view flow draws 21 methods in one picture; allowed: up to 12"),
    (("--map", "Taxi-v4", "--figure", "column", "--method", "all"), "'column', on which 41 methods"),
    (("--figure", "page", "--stages", "0,x"), "--stages is '0,x'; allowed: updates with commas between"),
    (("--figure", "page", "--panels", "maps,sucess"), "--panels is 'sucess'; did you mean success?"),
    (("--stages", "0,20"), "--stages is '0,20', which only works with --figure"),
    (("--transparent",), "--transparent, which only works with --figure, or films: --render, --view or --redraw"),
    (("--view", "dots"), "--view is 'dots'; allowed: plane, frontier, flow"),
    (("--view", "seeds", "--format", "html"), "view seeds is given with format html; allowed with: gif"),
    (("--view", "seeds", "--figure", "page"), "--view is 'seeds', which only works with films"),
    (("--map", "open", "--size", "90x112", "--render", "--format", "html"), "'html'"),
    (("--device", "foo"), "'foo'"),
    (("--reward", "foo"), "'foo'"),
    (("--propagation", "foo"), "'foo'"),
    (("--method", "ppo", "--reward", "preference", "--pairs", 4), "4"),
    (("--method", "all", "--reward", "preference", "--pairs", 4), "4"),
    (("--redraw", __file__), "test_lake.py"),
    (("--map", "GymV21Environment-v0"), "GymV21Environment-v0"),
    (("--seed", 10**20), str(10**20)),
    (("--seed", -1), "-1"),
    (("--discount", 0), "discount 0"),
    (("--discount", 1), "discount 1"),
]

# Options that nothing uses: once accepted, and something else done.
UNUSED = [
    (("--method", "dpo", "--mixing", 0.5), "--mixing is 0.5, which dpo does not use; it is an option of ift"),
    (("--method=dpo", "--mixing=0.2"), "--mixing is 0.2, which dpo does not use"),  # the default, but given
    (("--method", "sft,dpo", "--mixing", 0.5), "--mixing is 0.5, which sft, dpo do not use; it is an option of ift"),
    (
        ("--method", "ift", "--reward", "preference"),
        "which ift does not use; it is an option of ppo, grpo",
    ),
    (("--method", "sft", "--detach-weights"), "--detach-weights, which sft does not use; it is an option of ift"),
    (("--method", "sft", "--no-detach-weights"), "--no-detach-weights, which sft does not use"),
    (("--beta", 0.5), "--beta is 0.5, which ift does not use"),
    (("--mixing", 0, "--prediction", "expected"), "--prediction is 'expected', which is not used with mixing 0"),
    (("--propagation", "none", "--decay", 0.5), "--decay is 0.5, which is not used with propagation none"),
    (("--propagation", "algorithm1", "--norm", "L2"), "--norm is 'L2', which is not used with propagation algorithm1"),
    (("--outcome", "likeliest"), "--outcome is 'likeliest', which only works where moves slip (--slippery)"),
    (("--explain", "ift", "--outcome", "likeliest"), "--outcome is 'likeliest', which only works where moves slip"),
    (("--method", "ppo", "--pairs", 9), "--pairs is 9, which is not used without reward preference"),
    (("--hidden", 16, "--policy", "tabular"), "--hidden is 16, which only works with --policy mlp"),
    (("--map-seed", 3, "--map", "4x4"), "--map-seed is 3, which only works with a random map"),
    (("--map-seed", 0), "--map-seed is 0, which only works with a random map"),
    (("--success-rate", 0.5), "--success-rate is 0.5, which only works with --slippery"),
    (("--format", "html"), "--format is 'html', which only works with --render"),
    (("--theme", "dark"), "--theme is 'dark', which only works with --render"),
    (("--render", "--figure", "column"), "--render, which only works with films"),
    (("--explain", "ift", "--figure", "column"), "--explain is 'ift', which is a film"),
    (("--explain", "ift", "--steps", 5), "--steps is 5, which --explain does not use"),
    (("--explain", "ift", "--method", "dpo"), "--method is 'dpo', which --explain does not use"),
    (("--explain", "ift", "--beta", 0.5), "--beta is 0.5, which --explain does not use"),
    (("--redraw", "x.json", "--method", "dpo", "--steps", 7), "--method is 'dpo', which --redraw does not use"),
    (("--redraw", "x.json", "--steps", 7), "--steps is 7, which --redraw does not use"),
    (("--redraw", "x.json", "--mixing", 0.5), "--mixing is 0.5, which --redraw does not use"),
    (("--redraw", "x.json", "--slippery"), "--slippery, which --redraw does not use"),
    (("--redraw",), "--redraw has no value"),
    (("--redraw", "--format", "png"), "--redraw has no value"),
    (("--out", ""), "--out is ''; allowed: a path"),
    (("--out=",), "--out is ''; allowed: a path"),
    (("--out", " "), "--out is ' '; allowed: a path"),
    (("--methd", "ift"), "unknown option --methd; did you mean --method?"),
    (("--plicy=mlp",), "unknown option --plicy; did you mean --policy?"),
    (("--no-steps",), "unknown option --no-steps"),
    (("ift",), "unexpected 'ift'"),
    (("--method", "iftt"), "--method is 'iftt'; did you mean ift?"),
    (("--propagation", "realeased"), "--propagation is 'realeased'; did you mean released? allowed: released, algorithm1"),
    (("--map", "two-path"), "'two-path'; did you mean two-paths?"),
    (("--map", "Taxi-v3"), "has Taxi-v4;"),
    (("--steps", 1.5), "--steps: '1.5' is no whole number"),
]


@pytest.mark.parametrize(("arguments", "named"), BAD, ids=[" ".join(map(str, a)) for a, _ in BAD])
def test_bad_input_is_one_line_and_leaves_nothing_behind(tmp_path, capsys, arguments, named):
    assert run(tmp_path, *arguments) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and named in said.err
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize(("arguments", "said"), UNUSED, ids=[" ".join(map(str, a)) for a, _ in UNUSED])
def test_what_nothing_uses_is_refused_in_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, arguments, said):
    """Neither under --out nor where a run would go without it."""
    monkeypatch.chdir(tmp_path)
    assert lake(*arguments) == 2
    complaint = capsys.readouterr()
    assert complaint.out == "" and complaint.err.count("\n") == 1 and complaint.err.startswith("error: ")
    assert said in complaint.err
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "methods"),
    [
        (("--method", "sft,ift", "--mixing", 0.5), {"sft": {}, "ift": {"mixing": 0.5}}),
        (("--method", "ift,ift_agreeing", "--mixing", 0.5), {"ift": {"mixing": 0.5}, "ift_agreeing": {"mixing": 0.5}}),
        (("--method", "dpo,simpo", "--beta", 0.3), {"dpo": {"beta": 0.3}, "simpo": {"beta": 0.3, "gamma": 1.6}}),
        (("--method", "ppo", "--reward", "preference", "--pairs", 300, "--walkers", 4), {"ppo": {"pairs": 300, "beta": 1.0}}),
        (("--no-detach-weights", "--decay", 1), {"ift": {"detach_weights": False, "decay": 1.0}}),
        (("--map", "random", "--size", "4x5", "--map-seed", 3), {"ift": {"map_seed": 3, "map": "random"}}),
        (("--map", "4x5", "--map-seed", 3), {"ift": {"map_seed": 3}}),
    ],
)
def test_an_option_goes_to_every_method_that_has_it(tmp_path, arguments, methods):
    """And is saved with its run; those that have it not are saved without."""
    shared = ("--steps", 2, "--seeds", 1, "--policy", "tabular")
    assert run(tmp_path, *shared, *arguments) == 0
    assert {path.stem for path in tmp_path.glob("*.json")} == set(methods)
    for method, options in methods.items():
        settings = written(tmp_path, method)["settings"]
        assert {name: settings[name] for name in options} == options
        assert settings["steps"] == 2 and settings["learning_rate"] == 0.03
        assert ("mixing" in settings) == method.startswith("ift")
        assert ("beta" in settings) == (method in ("dpo", "simpo", "ppo"))


def test_without_a_folder_a_run_goes_below_the_current_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lake("--method", "sft", "--steps", 2, "--seeds", 1, "--policy", "tabular") == 0
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")] == ["runs/lake/sft.json"]


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ("SFF\nFH", "row 2"),
        ("SFX\nFFG", "'X'"),
        ("FFF\nFFG", "no S"),
        ("SFF\nFFF", "no G"),
        ("SHF\nHHG", "no way"),
        ("", "empty"),
    ],
)
def test_bad_maps_are_told_in_one_line(tmp_path, capsys, rows, named):
    (tmp_path / "lake.txt").write_text(rows)
    assert run(tmp_path / "out", "--map", tmp_path / "lake.txt") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and named in said and "lake.txt" in said
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_is_a_file_is_refused_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("kept")
    assert run(tmp_path / "file" / "below") == 2
    assert "cannot write there" in capsys.readouterr().err and (tmp_path / "file").read_text() == "kept"


def test_cuda_is_refused_where_there_is_none(tmp_path, capsys):
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert run(tmp_path, "--device", "cuda") == 2
    assert "no CUDA device" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("lake", ["two-paths", "4x4"])
@pytest.mark.parametrize("policy", ["mlp", "tabular"])
def test_sft_and_ift_reach_the_goal_from_the_mixture_base(tmp_path, lake, policy):
    for method in ("sft", "ift"):
        assert run(tmp_path, "--method", method, "--map", lake, "--policy", policy) == 0
        saved = written(tmp_path, method)
        assert np.mean(saved["metrics"]["success"][0]) < 0.8  # the base does not
        assert np.mean(saved["metrics"]["success"][-1]) >= 0.99


@pytest.mark.parametrize("lake", [(), ("--map", "4x4", "--slippery")], ids=["path", "ice"])
def test_all_methods_end_with_table_1(tmp_path, capsys, lake):
    """One row a method; what is printed is the mean of what is saved. The truth before training is one number for all methods
    that learn from the same answers, and SFT's estimate is above it."""
    assert run(tmp_path, "--method", "core", "--steps", 4, "--seeds", 2, *lake) == 0
    printed = capsys.readouterr().out.split("Preference estimation")[1]
    rows = {
        line.split("│")[1].strip(): [c.strip() for c in line.split("│")[2:-1]] for line in printed.splitlines() if "│" in line
    }
    assert set(rows) == set(CORE)
    truths = {}
    for method, cells in rows.items():
        saved = written(tmp_path, method)
        assert cells[:3] == list(vars(TABLE[saved["supposes"]]).values())
        numbers = []
        for when in ("base", "trained"):
            entry = {n: np.array(x, float) for n, x in saved["estimation"][when].items()}
            truth, taken, gap = (np.nanmean(entry[name]) for name in ("truth", "estimate", "gap"))
            numbers += [f"{truth:.3f}", f"{taken:.3f}", f"{taken - truth:+.3f}", f"{gap:.3f}"]
        assert cells[3:] == numbers
        truths.setdefault(METHODS[method].needs == "pairs", set()).add(cells[3])
    assert all(len(shared) == 1 for shared in truths.values())
    assert float(rows["sft"][5]) > 0.2 and float(rows["dpo_online"][5]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--map", "4x4", "--slippery"), ("--map", "8x8")], ids=["slippery 4x4", "8x8"])
def test_ppo_reaches_95_percent_of_the_optimum(tmp_path, arguments):
    assert run(tmp_path, "--method", "ppo", "--seeds", 16, *arguments) == 0
    saved = written(tmp_path, "ppo")
    assert np.median(saved["metrics"]["success"][-1]) >= 0.95 * saved["optimum"]["success_best_within_horizon"]


@pytest.mark.parametrize("lake", [("--map", "two-paths"), ("--map", "4x4", "--slippery")], ids=["path", "ice"])
def test_ift_without_its_two_ideas_is_sft_to_the_last_bit(tmp_path, lake):
    shared = ("--steps", 10, "--seeds", 2, *lake)
    assert run(tmp_path, "--method", "ift", "--mixing", 0, "--propagation", "none", *shared) == 0
    assert run(tmp_path, "--method", "sft", *shared) == 0
    ift, sft = written(tmp_path), written(tmp_path, "sft")
    assert (ift["loss"], ift["final"], ift["metrics"]) == (sft["loss"], sft["final"], sft["metrics"])


def test_a_learned_reward_takes_the_policy_to_the_goal_too(tmp_path):
    """The Bradley-Terry reward is learned from compared episodes alone; 200 updates of PPO on it beat the base clearly."""
    assert run(tmp_path, "--method", "ppo", "--reward", "preference", "--steps", 200, "--seeds", 2) == 0
    success = written(tmp_path, "ppo")["metrics"]["success"]
    assert max(success[0]) < 0.75 and min(success[-1]) > 0.95


@pytest.mark.parametrize(("slip", "best"), [((), 1.0), (("--slippery",), 0.74419)])
def test_a_gymnasium_id_has_the_ice_that_is_asked_for(tmp_path, slip, best):
    """Gymnasium's own FrozenLake-v1 slips unless told otherwise; here no ice does, and what is saved is what is drawn again."""
    assert run(tmp_path, "--map", "FrozenLake-v1", *slip, "--method", "sft", "--steps", 3, "--seeds", 1) == 0
    saved = written(tmp_path, "sft")
    assert saved["lake"]["is_slippery"] == bool(slip) and saved["lake"]["horizon"] == 100
    np.testing.assert_allclose(saved["optimum"]["success_best_within_horizon"], best, atol=5e-6)
    assert run(tmp_path / "again", "--redraw", tmp_path / "sft.json", "--format", "png") == 0
    assert written(tmp_path, "sft")["lake"] == saved["lake"]


def test_options_of_a_gymnasium_id_are_kept_with_the_run(tmp_path):
    """--slippery makes CliffWalking-v1 the environment that Gymnasium registers as CliffWalkingSlippery-v1."""
    shared = ("--method", "sft", "--steps", 3, "--seeds", 1)
    assert run(tmp_path / "a", "--map", "CliffWalking-v1", "--slippery", *shared) == 0
    assert run(tmp_path / "b", "--map", "CliffWalkingSlippery-v1", *shared) == 0
    a, b = (written(tmp_path / name, "sft") for name in "ab")
    assert (a["optimum"], a["final"], a["metrics"]) == (b["optimum"], b["final"], b["metrics"])
    assert run(tmp_path / "again", "--redraw", tmp_path / "a" / "sft.json", "--format", "png") == 0


@pytest.mark.parametrize("format", [pytest.param("png", marks=pytest.mark.slow), "html"])
def test_a_taxi_in_the_rain_is_trained_drawn_and_drawn_again(tmp_path, format):
    shared = ("--map", "Taxi-v4", "--slippery", "--success-rate", 0.7, "--steps", 3, "--seeds", 1, "--format", format)
    assert run(tmp_path, "--method", "sft,ift", "--render", *shared) == 0
    saved = written(tmp_path)["lake"]
    assert (saved["env"], saved["is_slippery"], saved["options"]["success_rate"]) == ("Taxi-v4", True, 0.7)
    assert run(tmp_path / "again", "--redraw", tmp_path / "ift.json", "--format", format) == 0
    assert (tmp_path / "again" / f"ift.{format}").read_bytes() == (tmp_path / f"ift.{format}").read_bytes()
    assert (tmp_path / f"sft-ift.{format}").stat().st_size > 10_000


@pytest.mark.parametrize(("size", "count"), [("100x100", 60), ("300x300", 20), ("1000x1000", 6), ("3000x3000", 6)])
def test_on_larger_lakes_fewer_snapshots_are_kept(size, count):
    rows, columns = map(int, size.split("x"))
    assert default_snapshots(rows * columns) == count


@pytest.mark.parametrize(("method", "copies"), [("sft", 0), ("dpo", 1), ("sft,dpo", 1)])
def test_what_no_machine_can_hold_is_refused_with_its_size_before_training(tmp_path, capsys, monkeypatch, method, copies):
    """A network of 4 hidden units on 16 tiles has 16 · 4 + 4 + 4 · 4 + 4 = 88 parameters of 4 bytes, gradients and two moments,
    and for DPO a frozen copy; as a table it has 16 · 4 numbers of 8 bytes, before training and after."""
    need = 2**20 * ((copies + 4) * 4 * 88 + 2 * 8 * 16 * 4)
    arguments = ("--map", "4x4", "--hidden", 4, "--seeds", 2**20, "--snapshots", 2, "--method", method)
    monkeypatch.setattr("os.sysconf", lambda name: {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 2**30}[name])
    assert run(tmp_path / "out", *arguments) == 2
    said = capsys.readouterr().err
    assert f"takes {need / 2**30:.1f} GiB" in said and "has 1.0;" in said and said.count("\n") == 1
    # A million tables are 2 GiB or more, a million networks of one hidden unit 1.3 or more; one policy is nothing.
    assert said.endswith("; allowed: fewer --seeds, a smaller lake (--map, --size)\n") and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_lake_of_ten_thousand_tiles_is_trained_drawn_and_drawn_again(tmp_path):
    """The saved policies are walked here, tile by tile, on the saved map: success is what was saved. All that training moved
    are rows of the demonstrated path."""
    shared = ("--policy", "tabular", "--seeds", 1)
    assert run(tmp_path, "--map", "100x100", "--method", "sft,ift", "--steps", 300, "--render", *shared) == 0
    for method in ("sft", "ift"):
        saved = written(tmp_path, method)
        rows, horizon, count = saved["lake"]["rows"], saved["lake"]["horizon"], len(saved["steps"])
        letters = np.array([list(row) for row in rows])
        planes = np.frombuffer(zlib.decompress(base64.b64decode(saved["tables"]["data"])), np.uint8).reshape(4, -1)
        bits = np.ascontiguousarray(planes.T).view("<u4").reshape(saved["tables"]["shape"])
        tables = np.bitwise_xor.accumulate(bits, 0).view("<f4").reshape(count + 2, 100, 100, 4)
        np.testing.assert_array_equal(tables[0], tables[count])  # the base, twice
        np.testing.assert_array_equal(tables[count - 1], tables[count + 1])
        moved = np.unique(np.argwhere((tables[0] != tables[count - 1]).any(-1)) @ [100, 1])
        shown = [state for state, _ in saved["shown"]]
        assert set(moved) <= set(shown) and len(moved) > 0.9 * len(shown)
        for index in (0, count - 1):
            now, reached = np.zeros((100, 100)), 0.0
            now[0, 0] = 1.0
            for _ in range(horizon):
                padded = np.zeros((102, 102))
                going = now[..., None] * tables[index]
                for action, (down, right) in enumerate(((0, -1), (1, 0), (0, 1), (-1, 0))):
                    padded[1 + down : 101 + down, 1 + right : 101 + right] += going[..., action]
                for inside, edge in ((np.s_[1], np.s_[0]), (np.s_[100], np.s_[101])):  # the edge holds one back
                    padded[inside] += padded[edge]
                    padded[:, inside] += padded[:, edge]
                now = padded[1:101, 1:101].copy()
                reached += now[letters == "G"].sum()
                now[(letters == "G") | (letters == "H")] = 0.0
            np.testing.assert_allclose(saved["metrics"]["success"][index][0], reached, rtol=0, atol=1e-5)
        assert saved["metrics"]["success"][-1][0] > saved["metrics"]["success"][0][0] + 0.5
        assert 10 < Image.open(tmp_path / f"{method}.gif").n_frames <= count  # those between which the path gets further
    assert run(tmp_path / "again", "--redraw", tmp_path / "sft.json") == 0
    assert (tmp_path / "again" / "sft.gif").read_bytes() == (tmp_path / "sft.gif").read_bytes()
    assert (tmp_path / "sft.json").stat().st_size < 1_000_000


def test_where_hardly_anybody_arrives_small_numbers_and_failed_demonstrations_are_told(tmp_path, capsys):
    short = ("--policy", "tabular", "--method", "sft", "--steps", 2, "--seeds", 1)
    assert run(tmp_path, "--map", "30x30", "--slippery", *short) == 0
    said, saved = " ".join(capsys.readouterr().out.split()), written(tmp_path, "sft")
    for name in ("success", "regret"):
        value = saved["metrics"][name][-1][0]
        assert 0 < value < 5e-4 and f"{value:.1e}" in said
    assert "of 16 demonstrations none arrived" in said and saved["settings"]["demonstrations_arrived"] == 0
    assert run(tmp_path, *short) == 0
    assert "arrived" not in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["pdf", "svg", pytest.param("png", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("width", "inches"), [("column", 3.3), ("page", 6.9)])
def test_a_figure_for_a_paper_has_the_papers_width(tmp_path, kind, width, inches):
    """Of runs that are trained for it, and again of the saved ones, to the last byte; no text is smaller than 7 points."""
    assert run(tmp_path, "--method", "sft,dpo", "--steps", 5, "--seeds", 2, "--figure", width, "--format", kind) == 0
    picture = tmp_path / f"sft-dpo_{width}.{kind}"
    if kind == "png":
        assert Image.open(picture).width == round(600 * inches)
    elif kind == "svg":
        assert f'width="{72 * inches:g}pt"' in picture.read_text()
    else:
        assert f"/MediaBox [ 0 0 {72 * inches:g} ".encode() in picture.read_bytes()
        assert b"/Type /Font" in picture.read_bytes() and b"/FontFile" in picture.read_bytes()  # embedded
    saved = [tmp_path / f"{name}.json" for name in ("sft", "dpo")]
    assert run(tmp_path / "again", "--redraw", *saved, "--figure", width, "--format", kind) == 0
    assert (tmp_path / "again" / picture.name).read_bytes() == picture.read_bytes()
    table = (tmp_path / "sft-dpo.tex").read_text()
    for name in ("sft", "dpo"):
        success = np.mean(written(tmp_path, name)["metrics"]["success"][-1])
        assert f"\n{name.upper()} & ${success:.3f}$" in table
        assert f"{name.upper()}: success {success:.3f} [" in (tmp_path / f"sft-dpo_{width}.caption.tex").read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--figure", "poster"), ["--figure is 'poster'", "column, page"]),
        (("--figure", "page", "--format", "mp4"), ["--format is 'mp4'", "png, pdf, svg"]),
        (("--explain", "simpo"), ["--explain is 'simpo'", "sft, ift"]),
        (("--method", "sft,sft"), ["'sft,sft'", "twice"]),
        (("--method", "sft,nothing"), ["'nothing'"]),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(tmp_path, capsys, arguments, named):
    assert run(tmp_path / "out", *arguments) == 2
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1 and all(word in complaint for word in named)
    assert not (tmp_path / "out").exists()


def test_one_update_explained(tmp_path, capsys):
    assert run(tmp_path, "--explain", "ift", "--policy", "tabular", "--format", "png") == 0
    saved = written(tmp_path, "explain_ift")
    assert {"settings", "versions", "scenes", "before", "after", "loss", "lake"} <= set(saved)
    printed = capsys.readouterr().out.splitlines()
    assert printed == [f"wrote {tmp_path / f'explain_ift.{kind}'}" for kind in ("json", "png.txt", "png")]


@pytest.mark.parametrize("known", [True, False])
def test_a_gap_that_is_not_known_is_a_question_mark_and_told(known):
    numbers = {"truth": np.array([[0.5, np.nan]]), "estimate": np.array([[0.75, np.nan]]), "gap": np.full((1, 2), np.nan)}
    if known:
        numbers["gap"][0, 0] = 0.125
    table = estimations([record(estimation={"base": numbers})], 100)
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells == ["ift", "0.500", "0.750", "+0.250", "0.125" if known else "?", *[""] * 4]
    assert ("not followed" in str(table.caption)) == (not known)


def test_a_run_whose_file_does_not_say_what_it_assumes_is_still_printed():
    table = estimations([record(assumed_prior="", estimation={})], 120)
    assert [next(iter(column.cells)) for column in table.columns] == ["ift", "?", "?", "?", *[""] * 8]
