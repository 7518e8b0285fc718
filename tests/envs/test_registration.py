"""Methods, metrics and environments of one's own: what is registered is trained, measured, saved, drawn and printed; what
cannot be registered is told in one line."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace

import gymnasium
import numpy as np
import pytest
from PIL import Image
from test_mdp import same_arrays

from ift_gridworld import METHODS, Run, TabularMDP, make_env, register_environment, register_method, register_metric, train
from ift_gridworld.envs import GridLayout
from ift_gridworld.envs.maps import LAKES
from ift_gridworld.envs.registry import REGISTERED, lake_rows, unregister_environment
from ift_gridworld.evaluation.metrics import MEASURES, measure, metric_descriptions, unregister_metric
from ift_gridworld.methods import (
    DPO,
    IFT,
    SFT,
    VARIANTS,
    IFTOptions,
    Method,
    MethodOptions,
    family_of,
    find_method,
    method_options,
)
from ift_gridworld.methods import registry as methods
from ift_gridworld.policies.lake import TabularPolicy
from ift_gridworld.training import make_base

TWO_PATHS = TabularMDP.make("two-paths")


@pytest.fixture(autouse=True)
def afterwards():
    """What a test registers ends with it."""
    before = {*METHODS, *VARIANTS}, set(metric_descriptions()), set(REGISTERED)
    yield
    for name in {*METHODS, *VARIANTS} - before[0]:
        methods.unregister_method(name)
    for name in set(metric_descriptions()) - before[1]:
        unregister_metric(name)
    for name in set(REGISTERED) - before[2]:
        unregister_environment(name)


def trained(method, mdp=TWO_PATHS, **options):
    return train(method, mdp, make_base("uniform", mdp, policy="tabular", seeds=2), steps=3, **options)


# ---- methods ----


@dataclass(frozen=True)
class ScaledOptions(MethodOptions):
    """Options of a method of a test's own."""

    scale: float = 1.0
    """Factor of the loss."""

    def __post_init__(self):
        if not self.scale > 0:
            raise ValueError(f"scale is {self.scale!r}; allowed: a number > 0")


class Scaled(SFT):
    """SFT whose loss is multiplied."""

    title = "Scaled · SFT times a number"
    options_type = ScaledOptions

    def loss(self, batch):
        return self.options.scale * super().loss(batch)


def test_a_method_is_trained_saved_reloaded_drawn_and_printed(tmp_path):
    """Its loss is three times that of SFT, at first log 4 for each step of a uniform policy."""
    register_method("scaled", Scaled)
    assert METHODS["scaled"] is Scaled and list(METHODS)[-1] == "scaled"
    assert method_options("scaled") is ScaledOptions and "scaled" not in VARIANTS
    run = trained("scaled", scale=3.0)
    assert run.loss[0] == pytest.approx([3 * np.log(4)] * 2, rel=1e-6)
    assert (run.method, run.title, run.needs) == ("scaled", Scaled.title, "demonstrations")
    assert run.settings["scale"] == 3.0 and run.settings["steps"] == 3 and "mixing" not in run.settings
    again = Run.load(run.save(tmp_path / "scaled.json"))
    assert (again.method, again.settings) == ("scaled", run.settings)
    assert Image.open(run.film(tmp_path / "scaled.png")).width > 500
    assert "Scaled" in (tmp_path / "scaled.png.txt").read_text()
    assert again.film(tmp_path / "again.png").read_bytes() == (tmp_path / "scaled.png").read_bytes()
    rows = [line for line in str(run.table()).splitlines() if "scaled" in line]
    assert len(rows) == 1 and f"{run.metrics['success'][-1].mean():.3f}" in rows[0]


def test_a_class_is_trained_without_being_registered(tmp_path):
    """Under the name of the class; and one that is, under its registered name, whoever loaded it."""
    run = trained(Scaled, scale=2.0)
    assert run.method == "Scaled" and "Scaled" not in METHODS
    assert Run.load(run.save(tmp_path / "run.json")).method == "Scaled"
    code = (
        "from ift_gridworld.methods import SFT\n"
        "from ift_gridworld.methods.registry import name_of\n"
        "from ift_gridworld.methods.variants import AgreeingIFT\n"
        "print(name_of(SFT)[0], name_of(AgreeingIFT)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["sft", "ift_agreeing"]


def test_a_decorator_registers_and_gives_the_class_back():
    @register_method("mine")
    class Mine(IFT):
        title = "Mine · another IFT"

        def loss(self, batch):
            return super().loss(batch) + 1

    assert METHODS["mine"] is Mine and method_options("mine") is IFTOptions
    assert trained("mine", mixing=0.0).loss[0, 0] == pytest.approx(trained("ift", mixing=0.0).loss[0, 0] + 1, rel=1e-6)


@pytest.mark.parametrize(("given", "family"), [({}, "imitation"), ({"family": "mixed"}, "mixed")])
def test_a_method_falls_into_the_family_of_what_it_needs(given, family):
    """Unless it is registered with another; by a name alone the class is asked."""
    register_method("scaled", Scaled, **given)
    register_method("by_name", f"{__name__}:Scaled", **given)
    assert family_of("scaled") == family_of("by_name") == family
    with pytest.raises(ValueError, match="unknown method 'scalde'"):
        family_of("scalde")


def test_a_method_that_is_not_listed_is_found_by_name_alone():
    register_method("hidden", Scaled, listed=False)
    assert "hidden" not in METHODS and VARIANTS["hidden"] is find_method("hidden") is Scaled
    assert trained("hidden").method == "hidden"


def test_a_method_may_be_named_by_where_it_is(tmp_path, monkeypatch):
    """It loads when it is asked for; its options are known before if they are given, else they are the class's."""
    (tmp_path / "somewhere.py").write_text(
        "from dataclasses import dataclass\n"
        "from ift_gridworld.methods import MethodOptions, SFT\n"
        "@dataclass(frozen=True)\n"
        "class Options(MethodOptions):\n"
        "    strength: float = 1.0\n"
        "class Own(SFT):\n"
        "    options_type = Options\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    register_method("own", "somewhere:Own")
    register_method("known", "elsewhere:Known", options=IFTOptions)
    assert "somewhere" not in sys.modules and "own" in METHODS
    assert method_options("known") is IFTOptions
    assert method_options("own").__name__ == "Options" and "somewhere" in sys.modules
    assert trained("own", strength=2.0).settings["strength"] == 2.0
    del sys.modules["somewhere"]
    with pytest.raises(ValueError, match="'known' is 'elsewhere:Known', which cannot be loaded: No module named") as error:
        find_method("known")
    assert "\n" not in str(error.value)
    register_method("nothing", "json:Nothing")
    with pytest.raises(ValueError, match="method 'nothing' is 'json:Nothing', which cannot be loaded: .*Nothing"):
        trained("nothing")


class NoLoss(Method):
    def batch(self, step):
        return None


class Nothing(Method):
    pass


@pytest.mark.parametrize(
    ("name", "method", "options", "named"),
    [
        ("sft", Scaled, {}, ["a method named 'sft' is registered already"]),
        ("ift_oracle", Scaled, {}, ["a method named 'ift_oracle' is registered already"]),
        ("sft", "somewhere:Own", {}, ["a method named 'sft' is registered already"]),
        ("my method", Scaled, {}, ["'my method'", "an identifier"]),
        ("", Scaled, {}, ["''", "an identifier"]),
        ("all", Scaled, {}, ["'all'", "other than all, base, core, imitation, pairs, unpaired, mixed"]),
        ("base", Scaled, {}, ["'base'", "other than all, base, core"]),
        (3, Scaled, {}, ["is 3;", "an identifier"]),
        ("pairs", Scaled, {}, ["'pairs'", "other than all, base, core, imitation, pairs"]),
        ("mine", Scaled, {"family": "pair"}, ["family is 'pair'; did you mean pairs? allowed: imitation, pairs, unpaired"]),
        ("mine", NoLoss, {}, ["'mine'", "NoLoss", "which has no loss; allowed: a subclass of ift_gridworld.methods.Method"]),
        ("mine", Nothing, {}, ["which has no batch and no loss"]),
        ("mine", dict, {}, ["<class 'dict'>; allowed: a subclass of ift_gridworld.methods.Method"]),
        ("mine", 7, {}, ["'mine' is 7; allowed: a subclass"]),
        ("mine", Scaled, {"options": IFTOptions}, ["options of 'mine'", "IFTOptions", "options_type", "ScaledOptions"]),
    ],
)
def test_a_method_that_cannot_be_is_refused_in_one_line(name, method, options, named):
    before = {*METHODS, *VARIANTS}
    with pytest.raises(ValueError) as error:
        register_method(name, method, **options)
    message = str(error.value)
    assert all(word in message for word in named) and "\n" not in message, message
    assert {*METHODS, *VARIANTS} == before


def test_a_name_is_taken_until_it_is_given_back():
    register_method("mine", Scaled)
    with pytest.raises(ValueError, match="'mine' is registered already"):
        register_method("mine", DPO)
    methods.unregister_method("mine")
    methods.unregister_method("mine")  # nothing happens
    register_method("mine", DPO)
    assert METHODS["mine"] is DPO


def test_an_unknown_method_suggests_the_nearest():
    register_method("scaled", Scaled)
    for wrong, right in (("scalde", "scaled"), ("dpo_onlin", "dpo_online")):
        with pytest.raises(ValueError, match=rf"^unknown method '{wrong}'; did you mean {right}\? allowed: sft, .*scaled$"):
            trained(wrong)
        with pytest.raises(ValueError, match=wrong):
            method_options(wrong)
    with pytest.raises(KeyError):
        METHODS["scalde"]


# ---- metrics ----


def rightward(mdp, policy):
    """Mean probability of the third action."""
    return policy[..., 2].mean(-1)


def test_a_metric_is_measured_saved_reloaded_and_printed(tmp_path):
    register_metric("rightward", rightward, "mean probability of going right")
    run = trained("sft")
    expected = run.policies[..., 2].mean(-1)
    np.testing.assert_allclose(run.metrics["rightward"], expected, rtol=1e-8)
    assert run.metrics["rightward"].shape == (4, 2) and list(run.metrics)[-1] == "rightward"
    assert run.custom_metrics == ["rightward"]
    assert metric_descriptions()["rightward"] == "mean probability of going right"
    path = run.save(tmp_path / "sft.json")
    np.testing.assert_allclose(json.loads(path.read_text())["metrics"]["rightward"], expected, rtol=1e-8)
    text = f"rightward {expected[0].mean():.3f} -> {expected[-1].mean():.3f}"
    unregister_metric("rightward")  # who reads the file need not know how it is measured
    again = Run.load(path)
    np.testing.assert_array_equal(again.metrics["rightward"], run.metrics["rightward"])
    for one in (run, again):
        assert text in repr(one) and "rightward" in str(one.table())
    assert "rightward" not in trained("sft").metrics


def test_a_metric_is_measured_on_request_alone():
    calls = []

    def counted(mdp, policy):
        calls.append(mdp)
        return policy[..., 0].mean(-1)

    register_metric("counted", counted)
    policy = np.full((3, 5, 16, 4), 0.25)
    assert list(measure(TWO_PATHS, policy, only=["success"])) == ["success"] and not calls
    assert measure(TWO_PATHS, policy, only=["counted"])["counted"].shape == (3, 5) and calls == [TWO_PATHS]
    assert measure(TWO_PATHS, policy[0, 0])["counted"] == 0.25


@pytest.mark.parametrize(
    ("name", "function", "named"),
    [
        ("success", rightward, ["a metric named 'success' is registered already"]),
        ("my metric", rightward, ["'my metric'", "an identifier"]),
        (None, rightward, ["is None", "an identifier"]),
        ("mine", "rightward", ["metric 'mine' is 'rightward'; allowed: a function of an MDP and a policy"]),
    ],
)
def test_a_metric_that_cannot_be_is_refused_in_one_line(name, function, named):
    with pytest.raises(ValueError) as error:
        register_metric(name, function)
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value)
    assert list(metric_descriptions()) == list(MEASURES)


def test_a_metric_is_registered_once():
    register_metric("mine", rightward)
    with pytest.raises(ValueError, match="a metric named 'mine' is registered already; allowed: another name"):
        register_metric("mine", rightward)


@pytest.mark.parametrize("give", [lambda mdp, p: p[..., 0], lambda mdp, p: 0.5, lambda mdp, p: p.mean((0, -2, -1))])
def test_a_metric_of_another_shape_is_told_in_one_line(give):
    register_metric("mine", give)
    with pytest.raises(ValueError, match=r"metric 'mine' has shape \(.*\) for policies \(4, 2, 16, 4\); allowed: \(4, 2\)$"):
        trained("sft")


# ---- environments ----


class Ring(gymnasium.Env):
    """States in a ring; one steps to the left or to the right, to the right with a chance of `slip` not at all. The last is
    the goal."""

    def __init__(self, size=6, slip=0.25, is_slippery=False):
        self.observation_space, self.action_space = gymnasium.spaces.Discrete(size), gymnasium.spaces.Discrete(2)
        self.initial_state_distrib = np.eye(size)[0]
        self.P, slip = {}, slip if is_slippery else 0.0
        for s in range(size):
            right, left = (s + 1) % size, (s - 1) % size
            ends = [(1 - slip, right), *([(slip, s)] if slip else [])]
            self.P[s] = {
                0: [(1.0, left, float(left == size - 1), left == size - 1)],
                1: [(p, t, float(t == size - 1), t == size - 1) for p, t in ends],
            }


def layout_of(size):
    """The ring as two rows of a board."""
    half = size // 2
    place = np.array([(0, s) for s in range(half)] + [(1, size - 1 - s) for s in range(half, size)])
    return GridLayout(("S" + "F" * (half - 1), "G" + "F" * (half - 1)), place)


def test_an_environment_by_its_rows(tmp_path):
    rows = ["SFF", "HHG"]
    register_environment("corner", rows, max_episode_steps=9)
    assert lake_rows("corner") == tuple(rows) and make_env("corner").spec.max_episode_steps == 9
    assert make_env("corner", max_episode_steps=5).spec.max_episode_steps == 5
    mdp = TabularMDP.make("corner", is_slippery=True, success_rate=0.8)
    same_arrays(mdp, TabularMDP.from_map(rows, is_slippery=True, success_rate=0.8).with_time_limit(9))
    same_arrays(mdp, TabularMDP.from_env(make_env("corner", is_slippery=True, success_rate=0.8)))
    run = trained("sft", mdp)
    assert run.environment.name == "corner" and run.environment.horizon == 9
    path = run.save(tmp_path / "sft.json")
    unregister_environment("corner")  # a map is in the file
    same_arrays(Run.load(path).mdp, mdp)
    with pytest.raises(ValueError, match="unknown map 'corner'"):
        make_env("corner")


def test_an_environment_by_its_gymnasium_id(tmp_path):
    register_environment("cliff", "CliffWalking-v1", max_episode_steps=50)
    assert make_env("cliff").spec.max_episode_steps == 50
    mdp = TabularMDP.make("cliff", is_slippery=True)
    same_arrays(mdp, TabularMDP.make("CliffWalkingSlippery-v1").with_time_limit(50))
    assert mdp.origin.env == "cliff" and mdp.layout is not None and mdp.horizon == 50
    again = Run.load(trained("sft", mdp).save(tmp_path / "sft.json"))
    same_arrays(again.mdp, mdp)
    assert "cliff" in again.about


def test_an_environment_by_a_function_with_a_layout_and_a_time_limit(tmp_path):
    """It goes all the way: made by name, trained, saved, drawn, made again from the file; its options are kept."""
    register_environment(
        "ring", Ring, layout=lambda env: layout_of(len(env.P)), actions=("left", "right"), max_episode_steps=12
    )
    env = make_env("ring")
    assert isinstance(env.unwrapped, Ring) and isinstance(env, gymnasium.wrappers.TimeLimit)
    mdp = TabularMDP.from_env(make_env("ring", slip=0.5, is_slippery=True), discount=0.9)
    assert (mdp.num_states, mdp.num_actions, mdp.horizon, mdp.discount) == (6, 2, 12, 0.9)
    assert mdp.actions == ("left", "right") and mdp.moves.tolist() == [[0, -1], [0, 1]]
    assert mdp.origin.options == {"slip": 0.5, "is_slippery": True} and mdp.origin.is_slippery
    assert mdp.transition[2, 1].tolist() == [0, 0, 0.5, 0.5, 0, 0]
    assert mdp.grid.rows == ("SFF", "GFF")
    run = trained("sft", mdp)
    assert Image.open(run.film(tmp_path / "sft.png")).width > 500
    again = Run.load(run.save(tmp_path / "sft.json"))
    same_arrays(again.mdp, mdp)
    assert again.film(tmp_path / "again.png").read_bytes() == (tmp_path / "sft.png").read_bytes()

    unregister_environment("ring")
    with pytest.raises(ValueError, match=r"sft\.json is not a saved run .*: unknown map 'ring'; .*--plugin") as error:
        Run.load(tmp_path / "sft.json")
    assert "\n" not in str(error.value)
    register_environment("ring", lambda **options: Ring(**{**options, "slip": 0.1}), max_episode_steps=12)
    assert Run.load(tmp_path / "sft.json").mdp.transition[2, 1].tolist() == [0, 0, 0.1, 0.9, 0, 0], "made by what is known now"


@pytest.mark.parametrize("layout", [layout_of(6), ["SFFFFG"], None])
def test_a_layout_may_be_a_grid_or_rows_or_none(layout):
    register_environment("ring", Ring, layout=layout)
    mdp = TabularMDP.make("ring")
    assert mdp.horizon is None and mdp.actions == ("0", "1")
    if layout is None:
        assert mdp.grid is None
        with pytest.raises(ValueError, match="'ring' has no map to draw; allowed: .*registered with a layout"):
            trained("sft", mdp).film("x.png")
    else:
        assert mdp.grid.rows == (layout.rows if isinstance(layout, GridLayout) else tuple(layout))


def test_an_environment_that_is_a_dataclass_is_known_too():
    """Whether it can be hashed or not, and whatever it equals."""

    @dataclass
    class Own(Ring):
        size: int = 4

        def __post_init__(self):
            super().__init__(self.size)

    register_environment("own", Own, max_episode_steps=3)
    register_environment("other", Own, max_episode_steps=4)
    made = {name: make_env(name) for name in ("own", "other")}
    for name, limit in (("own", 3), ("other", 4)):
        mdp = TabularMDP.from_env(made[name])
        assert (mdp.origin.env, mdp.horizon) == (name, limit)


@pytest.mark.parametrize(
    ("name", "environment", "options", "named"),
    [
        ("two-paths", ["SG"], {}, ["an environment named 'two-paths' is registered already"]),
        ("random", ["SG"], {}, ["'random' is registered already"]),
        ("Taxi-v4", ["SG"], {}, ["'Taxi-v4' is registered already"]),
        ("6x9", ["SG"], {}, ["'6x9'", "not a size"]),
        ("", ["SG"], {}, ["''", "a name such as my-lake"]),
        (7, ["SG"], {}, ["is 7", "a name such as my-lake"]),
        ("mine", "Nowhere-v0", {}, ["environment is 'Nowhere-v0'", "a registered Gymnasium id"]),
        ("mine", ["SF"], {}, ["no G"]),
        ("mine", ["SX", "FG"], {}, ["'X'"]),
        ("mine", 7, {}, ["the map is 7"]),
        ("mine", ["SG"], {"max_episode_steps": 0}, ["max_episode_steps is 0; allowed: a whole number >= 1"]),
        ("mine", ["SG"], {"max_episode_steps": 2.5}, ["max_episode_steps is 2.5"]),
    ],
)
def test_an_environment_that_cannot_be_is_refused_in_one_line(name, environment, options, named):
    before = set(REGISTERED)
    with pytest.raises(ValueError) as error:
        register_environment(name, environment, **options)
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value), str(error.value)
    assert set(REGISTERED) == before


def test_an_environment_is_registered_once_and_suggested():
    register_environment("corner", ["SG"])
    with pytest.raises(ValueError, match="an environment named 'corner' is registered already; allowed: another name"):
        register_environment("corner", ["SFG"])
    with pytest.raises(ValueError, match=r"unknown map 'cornr'; did you mean corner\? allowed: .*corner"):
        make_env("cornr")
    with pytest.raises(ValueError, match="a size is given with map 'corner'"):
        make_env("corner", size=4)


@pytest.mark.parametrize(
    ("function", "options", "named"),
    [
        (Ring, {"wind": 0.5}, ["environment 'mine' does not take wind", "unexpected keyword argument 'wind'"]),
        (lambda: Ring(), {"is_slippery": True}, ["environment 'mine' does not take is_slippery"]),
        (lambda: "a ring", {}, ["environment 'mine' made 'a ring'; allowed: a gymnasium.Env"]),
    ],
)
def test_a_function_that_makes_something_else_is_told_in_one_line(function, options, named):
    register_environment("mine", function)
    with pytest.raises(ValueError) as error:
        make_env("mine", **options)
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value), str(error.value)


def test_a_layout_of_another_size_is_told_in_one_line():
    register_environment("ring", Ring, layout=["SFG"], actions=("left", "right"))
    with pytest.raises(ValueError, match="layout has a place for 3 states; there are 6") as error:
        TabularMDP.make("ring")
    assert "\n" not in str(error.value)
    register_environment("three", Ring, actions=("left", "right", "up"))
    with pytest.raises(ValueError, match="actions names 3; there are 2"):
        TabularMDP.make("three")


def test_registering_changes_no_other_environment():
    register_environment("corner", ["SG"], actions=("a", "b", "c", "d"))
    for name, rows in LAKES.items():
        assert TabularMDP.make(name).layout == rows
    assert TabularMDP.from_env(make_env("4x4")).actions == ("left", "down", "right", "up")
    assert replace(TWO_PATHS, check=True).actions == ("left", "down", "right", "up")
    assert TabularPolicy(2, 4).num_actions == TabularMDP.make("corner").num_actions


class TakesPolicy(SFT):
    """A method with an option of a name that `train` needs itself."""

    @dataclass(frozen=True)
    class Options(MethodOptions):
        """Its options."""

        policy: float = 1.0

    options_type = Options


@pytest.mark.parametrize("method", [TakesPolicy, "nowhere:TakesPolicy"])
def test_an_option_with_a_name_of_trains_own_is_refused(method):
    with pytest.raises(ValueError, match="'takes_policy' has an option 'policy', which is a name of train's own; allowed"):
        register_method("takes_policy", method, options=TakesPolicy.Options)
    assert "takes_policy" not in METHODS


def test_a_method_that_assumes_what_no_row_of_the_table_says_is_refused():
    class Assuming(SFT):
        assumed_prior = "dpoo"

    with pytest.raises(ValueError, match="assumed_prior of Assuming is 'dpoo'; did you mean dpo[^;]*allowed: truth, sft"):
        trained(Assuming)


def test_an_environment_edited_after_it_was_made_is_saved_as_its_arrays(tmp_path):
    env = gymnasium.make("CliffWalking-v1")
    untouched = trained("sft", TabularMDP.from_env(env))
    outcomes = env.unwrapped.P[1]
    outcomes[0] = [(p, s, -7.0, done) for p, s, _, done in outcomes[0]]
    edited = trained("sft", TabularMDP.from_env(env))
    for run, reward in ((untouched, -1.0), (edited, -7.0)):
        loaded = Run.load(run.save(tmp_path / "run.json"))
        assert loaded.mdp.reward[1, 0, 0] == reward
        same_arrays(loaded.mdp, run.mdp)


def test_a_method_without_a_title_has_its_name():
    class Untitled(SFT):
        pass

    register_method("untitled", Untitled)
    assert trained("untitled").title == "untitled" and trained(SFT).title == SFT.title


@pytest.mark.parametrize(
    ("give", "words"),
    [(lambda loss: loss.mean(), r"has shape \(\)"), (lambda loss: None, "is None"), (lambda loss: 0.5, "is 0.5")],
)
def test_a_loss_that_is_not_one_a_seed_is_refused(give, words):
    """A mean over seeds would train, with gradients scaled by the number of seeds and a divergence of one ending all."""

    class Wrong(SFT):
        def loss(self, batch):
            return give(super().loss(batch))

    with pytest.raises(ValueError, match=rf"the loss of Wrong {words}; allowed: a tensor of one loss a seed, of shape \(2,\)"):
        trained(Wrong)


def test_options_must_be_a_dataclass():
    class Plain(MethodOptions):
        k: int = 3

    class Takes(SFT):
        options_type = Plain

    with pytest.raises(ValueError, match=r"options Plain of method 'takes' is no frozen dataclass; allowed: @dataclass"):
        register_method("takes", Takes)
