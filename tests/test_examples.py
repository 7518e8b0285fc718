"""The examples run, and each shows what it says."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ift_gridworld import TabularMDP, train
from ift_gridworld.envs.registry import unregister_environment
from ift_gridworld.evaluation.metrics import unregister_metric
from ift_gridworld.methods.registry import METHODS, unregister_method
from ift_gridworld.planning import occupancy, optimal_policy
from ift_gridworld.training import Run, make_base

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example(request):
    """A module of the examples, whose registrations end with the test."""
    yield load(request.param)
    unregister_method("fading")
    unregister_metric("confidence")
    unregister_environment("windy-corridor")


def test_quickstart_trains_saves_and_draws(tmp_path, capsys):
    load("quickstart").main(tmp_path, steps=5)
    assert {p.name for p in tmp_path.iterdir()} >= {"sft.json", "ift.json", "both.gif", "both.pdf", "both.html"}
    assert Image.open(tmp_path / "both.gif").n_frames == 6
    printed = capsys.readouterr().out
    for method in ("sft", "ift"):
        success = np.mean(json.loads((tmp_path / f"{method}.json").read_text())["metrics"]["success"][-1])
        assert f"{success:.3f}" in printed


@pytest.mark.parametrize("example", ["own_method"], indirect=True)
def test_an_own_method_trains_by_its_own_loss(example):
    """With one step in which weights have halved, the second step of an answer weighs half of the first: by hand."""
    assert METHODS["fading"] is example.Fading
    mdp = TabularMDP.from_map(["SFG"])
    base = make_base("uniform", mdp, policy="tabular")
    run = train("fading", mdp, base, steps=1, halving=1.0)
    assert run.loss[0, 0] == pytest.approx((1.0 + 0.5) / 2 * np.log(4), rel=1e-6)  # two steps right, each of probability 1/4
    with pytest.raises(ValueError, match="halving is 0"):
        train("fading", mdp, base, halving=0)


@pytest.mark.parametrize("example", ["own_metric"], indirect=True)
def test_an_own_metric_is_measured_saved_and_printed(example, tmp_path):
    mdp = TabularMDP.from_map(["SFG"])
    run = train("sft", mdp, make_base("uniform", mdp, policy="tabular"), steps=3)
    assert run.metrics["confidence"][0, 0] == 0.25
    run = Run.load(run.save(tmp_path / "sft.json"))
    expected = run.final[0][:2].max(-1).mean()
    assert run.metrics["confidence"][-1, 0] == pytest.approx(expected, rel=1e-8)
    assert "confidence" in str(run.table()) and f"{expected:.3f}" in str(run.table())


@pytest.mark.parametrize("example", ["own_environment"], indirect=True)
def test_an_own_environment_is_solved_drawn_and_read_again(example, tmp_path):
    """Six steps right, of which five are blown down with probability 0.2 each. There is no wind on the lower lane, so from
    there the best is to go on and up at the end: one step more, once. On average 6 + (1 - 0.8^5) steps."""
    mdp = TabularMDP.make("windy-corridor")
    visits = occupancy(mdp, optimal_policy(mdp), discount=1.0, horizon=60)
    assert visits[~mdp.terminal].sum() == pytest.approx(7 - 0.8**5, rel=1e-9)
    assert (mdp.num_states, mdp.horizon, mdp.actions) == (14, 60, ("left", "down", "right", "up"))
    assert mdp.grid.rows == ("SFFFFFG", "FFFFFFF")
    base = make_base("random", mdp, policy="tabular")
    run = Run.load(train("sft", mdp, base, steps=2).save(tmp_path / "sft.json"))
    assert run.mdp.horizon == 60 and np.array_equal(run.mdp.probability, mdp.probability)
    assert run.film(tmp_path / "sft.png").stat().st_size > 10_000


def test_an_own_policy_shares_weights_along_rows_and_columns(capsys):
    """By hand: the logits of tile (1, 2) of a map with three columns are U[1] + V[2], those of a mixture the mixture."""
    example = load("own_policy")
    policy = example.RowAndColumn(6, 2, population=2, columns=3)
    with torch.no_grad():
        policy.weight.copy_(torch.arange(20.0).reshape(2, 5, 2))  # rows 0 and 1, then columns 0, 1 and 2
    logits = policy.logits(policy.embed(torch.tensor([[5, 0]])))
    expected = policy.weight[:, [1, 0]] + policy.weight[:, [4, 2]]
    assert torch.equal(logits, expected)
    mixed = 0.75 * policy.embed(torch.tensor([[5]])) + 0.25 * policy.embed(torch.tensor([[0]]))
    assert torch.allclose(policy.logits(mixed)[:, 0], 0.75 * expected[:, 0] + 0.25 * expected[:, 1])
    example.main(steps=3)
    printed = capsys.readouterr().out
    assert all(method in printed for method in ("sft", "ift", "ppo"))
