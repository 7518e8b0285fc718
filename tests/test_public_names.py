"""What is public: `dir` lists it and nothing else, and every name can be imported from where it is promised."""

import ast
import inspect
import json
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from support import load

import ift_gridworld

PACKAGES = ["ift_gridworld"] + [
    f"ift_gridworld.{found.name}" for found in pkgutil.iter_modules(ift_gridworld.__path__) if found.ispkg
]
MODULES = ["ift_gridworld"] + sorted(
    found.name for found in pkgutil.walk_packages(ift_gridworld.__path__, "ift_gridworld.") if "__main__" not in found.name
)
PROMISED = {  # outside checks and the documentation name these
    "ift_gridworld": [
        "make_env", "TabularMDP", "METHODS", "train", "Run", "compare", "register_method", "register_metric",
        "register_environment",
    ],
    "ift_gridworld.envs": ["make_env", "LAKES", "GridLayout"],
    "ift_gridworld.mdp": ["TabularMDP", "Origin"],
    "ift_gridworld.planning": [
        "solve", "value_iteration", "optimal_policy", "soft_value_iteration", "evaluate_policy", "occupancy",
        "success_probability", "optimal_success",
    ],
    "ift_gridworld.losses": [
        "sft_loss", "ift_loss", "relation_weights", "dpo_loss", "ipo_loss", "orpo_loss", "simpo_loss", "tdpo_loss",
        "ppo_clip_loss", "value_loss", "generalized_advantage_estimate", "group_relative_advantage", "bradley_terry_loss",
        "kl_estimate", "preference_loss", "kto_loss", "cpo_loss", "chi_po_loss", "cal_dpo_loss", "dft_loss",
        "generalized_jsd_loss", "group_policy_loss", "leave_one_out_advantage",
    ],
    "ift_gridworld.training": ["train", "make_base"],
    "ift_gridworld.methods": ["METHODS", "VARIANTS", "Method", "IFTOptions", "TrainingOptions", "register_method"],
    "ift_gridworld.vector": ["TabularVectorEnv"],
    "ift_gridworld.sb3": ["TabularVecEnv"],
    "ift_gridworld.testing": ["check_loss"],
}  # fmt: skip


def test_dir_lists_what_is_public_and_nothing_else():
    """In a process of its own: what other tests import leaves submodules behind as attributes."""
    code = "import ift_gridworld, json; print(json.dumps([dir(ift_gridworld), ift_gridworld.__all__]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    listed, public = json.loads(done.stdout)
    assert sorted(listed) == sorted(public) and len(set(public)) == len(public)
    assert set(PROMISED["ift_gridworld"]) <= set(public)
    assert dir(ift_gridworld) == sorted(ift_gridworld.__all__)
    assert not {"import_module", "lazy_names", "register"} & set(public)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_public_name_of_a_package_can_be_imported(name):
    package = load(name)
    if name in ("ift_gridworld.cli", "ift_gridworld.studies"):
        assert not hasattr(package, "__all__"), "a room of commands, or of studies, hands on nothing"
        return
    for public in package.__all__:
        found = getattr(package, public)  # a lazy one loads its module
        assert (found is not None and not public.startswith("_")) or public == "__version__"
    assert set(dir(package)) >= set(package.__all__)
    everything = {}
    exec(f"from {name} import *", everything)
    assert set(package.__all__) <= set(everything)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_is_public(name):
    """A module with classes or functions of its own names some, and all that it names exist."""
    module = load(name)
    defined = {
        n
        for n, value in vars(module).items()
        if not n.startswith("_") and (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == name
    }
    public = list(getattr(module, "__all__", ()))
    assert len(set(public)) == len(public)
    assert all(hasattr(module, n) for n in public)
    assert bool(public) or not defined, f"{name} defines {sorted(defined)} and has no __all__"


def test_what_another_module_imports_is_public():
    """Read from the source, since not everything can be loaded everywhere."""
    trees = {name: ast.parse(Path(find_spec(name).origin).read_text()) for name in MODULES}
    public = {
        name: set(ast.literal_eval(node.value))
        for name, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    }
    imported = {
        (node.module, alias.name)
        for tree in trees.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("ift_gridworld")
        for alias in node.names
        if f"{node.module}.{alias.name}" not in trees and alias.name != "__version__"
    }
    assert {(home, name) for home, name in imported if name not in public.get(home, ())} == set()


@pytest.mark.parametrize(("module", "names"), PROMISED.items(), ids=PROMISED)
def test_names_are_where_they_were_promised(module, names):
    found = load(module)
    assert all(hasattr(found, name) for name in names)
    assert set(names) <= set(found.__all__)


def test_what_is_not_there_is_an_attribute_error():
    """Names of Python's own, of what is imported inside, and misspelt ones."""
    for name in ("__wrapped__", "trian", "_nothing", "np"):
        with pytest.raises(AttributeError, match=rf"module 'ift_gridworld' has no attribute '{name}'"):
            getattr(ift_gridworld, name)
    with pytest.raises(ImportError, match="trian"):
        exec("from ift_gridworld import trian")


def test_a_module_of_the_package_is_an_attribute_that_loads():
    code = (
        "import sys, ift_gridworld\n"
        "assert 'ift_gridworld.planning' not in sys.modules\n"
        "print(ift_gridworld.planning.__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["ift_gridworld.planning", "False"]
