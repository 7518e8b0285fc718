"""Checks of arguments: what is passed where an MDP is expected, horizons, whole numbers."""

import inspect

import gymnasium
import numpy as np
import pytest

from ift_gridworld import data, evaluation, planning
from ift_gridworld.checks import check_mdp, check_whole
from ift_gridworld.data import Trajectories
from ift_gridworld.envs.vector import TabularVectorEnv
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import SOLVERS

# Placeholders of the other arguments: the MDP is checked before they are used.
OTHERS = {"row": "sft", "policy": None, "reference": None, "beta": 1.0, "steps": 1, "horizon": 1, "count": 1, "random": []}
OTHERS |= {"answers": None, "trajectories": None, "generators": [], "self": None, "num_envs": 1, "path": [[0, 0]]}
OTHERS |= {"base": None, "points": None, "kl": [0.0], "value": [0.0]}


def takes_an_mdp(function):
    return callable(function) and "mdp" in inspect.signature(function).parameters


TAKE_MDP = {
    **{
        f"{room.__name__.rpartition('.')[2]}.{name}": getattr(room, name)
        for room in (planning, data, evaluation)
        for name in room.__all__
    },
    **{f"SOLVERS[{name!r}]": solver for name, solver in SOLVERS.items()},
    "Trajectories.reached_goal": Trajectories.reached_goal,
    "TabularVectorEnv": TabularVectorEnv,
}
TAKE_MDP = {name: function for name, function in TAKE_MDP.items() if takes_an_mdp(function)}


def call(function, mdp):
    others = {
        name: OTHERS[name]
        for name, parameter in inspect.signature(function).parameters.items()
        if name != "mdp" and parameter.default is inspect.Parameter.empty
    }
    return function(mdp=mdp, **others)


def test_all_public_functions_that_take_an_mdp_are_found():
    assert {"planning.solve", "planning.occupancy", "data.Walkers", "data.demonstrations", "evaluation.measure"} <= set(
        TAKE_MDP
    )
    assert "evaluation.estimate" in TAKE_MDP and len(TAKE_MDP) >= 30


@pytest.mark.parametrize("function", TAKE_MDP.values(), ids=TAKE_MDP)
def test_an_environment_in_place_of_an_mdp_is_refused(function):
    env = gymnasium.make("FrozenLake-v1")
    for environment in (env, env.unwrapped):
        with pytest.raises(ValueError) as error:
            call(function, environment)
        said = str(error.value)
        assert said.startswith("mdp is <") and "\n" not in said
        assert said.endswith("is an environment; allowed: a TabularMDP, as TabularMDP.from_env(env) gives")


@pytest.mark.parametrize("function", TAKE_MDP.values(), ids=TAKE_MDP)
@pytest.mark.parametrize("wrong", [None, "4x4", ("SF", "FG"), TabularMDP], ids=["None", "name", "rows", "class"])
def test_anything_else_in_place_of_an_mdp_is_refused(function, wrong):
    with pytest.raises(ValueError, match=r"^mdp is .*; allowed: a TabularMDP, as TabularMDP\.from_env\(env\) or .* gives$"):
        call(function, wrong)


def test_a_value_of_many_lines_is_named_in_one():
    class Strange:
        def __repr__(self):
            return "one\ntwo\n   three"

    with pytest.raises(ValueError, match="^lake is one two three; allowed: a TabularMDP"):
        check_mdp(Strange(), "lake")


def test_an_mdp_is_accepted():
    check_mdp(TabularMDP.from_map(("SF", "FG")))


@pytest.mark.parametrize("horizon", [-1, 1.5, "9", True])
@pytest.mark.parametrize(
    "name", ["occupancy", "success_probability", "episodes_within", "optimal_success", "time_limited_values"]
)
def test_a_horizon_must_be_a_number_of_steps(name, horizon):
    lake, function = TabularMDP.from_map(("SG",)), getattr(planning, name)
    others = {"policy": planning.optimal_policy(lake)} if "policy" in inspect.signature(function).parameters else {}
    with pytest.raises(ValueError, match=f"^horizon is {horizon!r}; allowed: a whole number >= 0$"):
        function(lake, **others, horizon=horizon)


def test_a_whole_number_of_numpy_is_accepted():
    assert check_whole("steps", np.int32(3), at_least=1) == 3
