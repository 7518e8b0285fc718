"""Under any of the caller's settings ours computes the same numbers, to the last bit, and leaves each setting as it was."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
import torch
from support import options_of

from ift_gridworld.data import demonstrations, preference_pairs
from ift_gridworld.evaluation.estimation import estimate
from ift_gridworld.explain import explain
from ift_gridworld.language.metrics import measure
from ift_gridworld.language.models import build_model, load_model
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LARGE, model_settings
from ift_gridworld.language.task import Task
from ift_gridworld.language.training import align
from ift_gridworld.losses import sft_loss
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.options import PPOOptions, TrainingOptions
from ift_gridworld.planning import evaluate_policy, occupancy, optimal_policy, soft_value_iteration, solve, success_probability
from ift_gridworld.policies.lake import POLICIES
from ift_gridworld.rendering.pictures import film_of
from ift_gridworld.testing import check_loss
from ift_gridworld.training import make_base, train, train_lakes

ICE = TabularMDP.make("4x4", is_slippery=True)
PATH = TabularMDP.make("two-paths")


@contextmanager
def switched(write, value, before):
    write(value)
    try:
        yield
    finally:
        write(before)


@contextmanager
def warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# What a caller may have set: each a function that returns a context.
SETTINGS = {
    "float64": lambda: switched(torch.set_default_dtype, torch.float64, torch.get_default_dtype()),
    "float16": lambda: switched(torch.set_default_dtype, torch.float16, torch.get_default_dtype()),
    "no_grad": torch.no_grad,
    "grad disabled": lambda: switched(torch.set_grad_enabled, False, True),
    "inference_mode": torch.inference_mode,
    "default device": lambda: switched(torch.set_default_device, "meta", None),
    "device context": lambda: torch.device("meta"),
    "deterministic": lambda: switched(torch.use_deterministic_algorithms, True, False),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "threads": lambda: switched(torch.set_num_threads, 2, torch.get_num_threads()),
    "NumPy raises": lambda: np.errstate(all="raise"),
    "warnings are errors": warnings_are_errors,
    "seeds": lambda: switched(lambda seed: (np.random.seed(seed), torch.manual_seed(seed), random.seed(seed)), 7, 8),  # noqa: NPY002
    "recursion limit": lambda: switched(sys.setrecursionlimit, 400, sys.getrecursionlimit()),
    "print options": lambda: np.printoptions(precision=1, legacy="1.13"),
}


def state_of(mdp, policy):
    return [policy.probabilities(), *(p.detach().numpy() for p in policy.parameters())]


def trained(method, mdp=ICE, policy="tabular", **options):
    base = make_base("mixture", mdp, policy=policy, seeds=2)
    run = train(method, mdp, base, steps=4, snapshots=3, **options)
    estimation = [values for when in run.estimation.values() for values in when.values()]
    return [run.loss, run.final, run.snapshots, *run.metrics.values(), *estimation, *state_of(mdp, base)]


def many_lakes():
    lakes = [TabularMDP.from_map(["SFG", "FFF"]), TabularMDP.from_map(["SFF", "FFG"])]
    base = make_base("random", lakes, policy="tabular", seeds=2)
    data = {"demonstrations": [demonstrations(x) for x in lakes], "preferences": [preference_pairs(x) for x in lakes]}
    return [train_lakes("dpo", lakes, base, keep=(0, 3), **data)]


def explained():
    base = make_base("mixture", PATH, policy="tabular")
    made = explain("ift", PATH, base, demonstrations(PATH), preference_pairs(PATH))
    return [made.loss, made.before, made.after]


def own_data():
    """Data and policies that the caller makes, under the caller's own settings, before training begins."""
    shown, pairs = demonstrations(ICE, 4), preference_pairs(ICE, 4)
    policy = POLICIES["mlp"](ICE.num_states, ICE.num_actions, 2)
    run = train("orpo", ICE, policy, steps=3, demonstrations=shown, preferences=pairs)
    return [run.loss, run.final, shown.states.numpy(), pairs[0].states.numpy()]


def planned():
    policy = optimal_policy(ICE)
    value, soft = soft_value_iteration(ICE, np.full((16, 4), 0.25), 0.05)
    success = success_probability(ICE, policy, 100), success_probability(ICE, policy)
    return [*solve(ICE)[:2], evaluate_policy(ICE, policy), occupancy(ICE, policy), value, soft, *success]


def estimated():
    base = make_base("mixture", PATH, policy="mlp", seeds=2)
    chosen, rejected = preference_pairs(PATH)
    return [
        values
        for row in ("sft", "ift", "dpo", "dpo_online", "ppo")
        for values in estimate(row, PATH, base, chosen, stale=rejected).per_step().values()
    ]


def diverged():
    """Rates and rewards without bound: what is infinite or NaN is told by the run, not by NumPy."""
    base = make_base("mixture", ICE, policy="tabular", seeds=2)
    run = train("dpo", ICE, base, steps=6, snapshots=3, learning_rate=1e29, beta=1e29)
    assert run.diverged
    return [run.loss, run.final, *run.metrics.values()]


def language(method):
    policy, tokenizer, form = load_model("tiny")
    tokenizer = MoveTokenizer(form, tokenizer)
    task = Task(base=4, maps=8, held_out=2)
    source = task.source(tokenizer, rows=4)
    options = options_of(method, walkers=4, epochs=2)
    log = align(method, source, policy, options=options, training=TrainingOptions(steps=2, learning_rate=1e-3))
    measured = measure(policy, tokenizer, task.lakes["held_out"], task.paths["held_out"])
    return [log.loss, *measured.values(), *(p.detach().numpy() for p in policy.parameters())]


def drawn():
    run = train("ift", PATH, make_base("mixture", PATH, policy="tabular"), steps=3, snapshots=2)
    return [np.asarray(film_of([run], theme).frame(0)) for theme in ("light", "dark")]


ENTRIES = {
    "mixture": lambda: [x for kind in POLICIES for x in state_of(ICE, make_base("mixture", ICE, policy=kind, seeds=2))],
    "ift": lambda: trained("ift", policy="mlp"),
    "ppo": lambda: trained("ppo", walkers=8, segment=8),
    "learned reward": lambda: trained("grpo", walkers=8, reward="preference", pairs=256),
    "dpo_online": lambda: trained("dpo_online", PATH, "mlp"),
    "tdpo": lambda: trained("tdpo"),
    "many lakes": many_lakes,
    "explain": explained,
    "own data": own_data,
    "planning": planned,
    "estimation": estimated,
    "diverged": diverged,
    "language": lambda: language("ift"),
    "language rewards": lambda: language("ppo"),
    "drawing": drawn,
    "check_loss": lambda: [str(check_loss(sft_loss, "sft"))],
}


@cache
def expected(entry):
    return [np.asarray(x) for x in ENTRIES[entry]()]


def observed():
    """Everything global that a library could change behind its caller's back."""
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    return {
        "dtype": torch.get_default_dtype(),
        "grad": (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_anomaly_enabled()),
        "device": torch.get_default_device(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "threads": torch.get_num_threads(),
        "torch's generator": torch.random.default_generator.get_state().tolist(),
        "NumPy's generator": str(np.random.get_state()),  # noqa: NPY002
        "Python's generator": random.getstate(),
        "errors": np.geterr(),
        "printing": np.get_printoptions(),
        "filters": list(warnings.filters),
        "environment": dict(os.environ),
        "signals": signals,
        "hooks": (sys.excepthook, sys.unraisablehook, sys.displayhook),
        "recursion": sys.getrecursionlimit(),
        "rcParams": dict(mpl.rcParams),
    }


QUICK = ("planning", "diverged")  # the others take some seconds all together
CASES = [
    pytest.param(setting, entry, marks=[] if entry in QUICK or setting == "float64" else pytest.mark.slow)
    for setting in SETTINGS
    for entry in ENTRIES
]


@pytest.mark.parametrize(("setting", "entry"), CASES)
def test_a_setting_of_the_callers_changes_no_number_and_is_left_as_it_was(setting, entry):
    wanted = expected(entry)
    with SETTINGS[setting]():
        before = observed()
        found = ENTRIES[entry]()
        after = observed()
    assert [name for name in before if before[name] != after[name]] == []
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert np.asarray(ours).dtype == theirs.dtype


@pytest.mark.slow
@pytest.mark.parametrize(
    "environment",
    [{"PYTHONHASHSEED": "1"}, {"LC_ALL": "tr_TR.UTF-8"}, {"PYTHONWARNINGS": "error::RuntimeWarning"}, {"OMP_NUM_THREADS": "2"}],
    ids=lambda environment: next(iter(environment)),
)
def test_the_environment_of_a_process_changes_no_number(environment):
    program = (
        "import test_settings as t, hashlib\n"
        "print(hashlib.sha256(b''.join(x.tobytes() for e in ('mixture', 'ift', 'ppo') for x in t.expected(e))).hexdigest())"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    wanted = hashlib.sha256(b"".join(x.tobytes() for entry in ("mixture", "ift", "ppo") for x in expected(entry))).hexdigest()
    variables = os.environ | {"PYTHONPATH": paths} | environment
    assert (
        subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True).stdout == f"{wanted}\n"
    )


def test_updates_of_a_small_language_model_run_on_one_thread_and_those_of_a_large_one_on_the_callers():
    """On a busy machine a second thread cost the tiny model a factor of 25."""
    with SETTINGS["threads"]():
        for parameters, threads in ((LARGE - 1, 1), (LARGE, 2)):
            with model_settings(torch.nn.Linear(1, parameters, bias=False)):
                assert torch.get_num_threads() == threads
            assert torch.get_num_threads() == 2


# ---- numbers of NumPy and torch ----

BOXES = {
    "int64 and float64": (np.int64, np.float64),
    "uint8 and float32": (np.uint8, np.float32),
    "arrays": (np.array, np.array),
    "tensors": (torch.tensor, lambda value: torch.tensor(value, dtype=torch.float64)),
}


def boxed_runs(i, f):
    """Every kind of option: of an environment, its map, the base, data, training and each method; saved as JSON."""
    mdp = TabularMDP.make("random", size=(i(4), i(4)), seed=i(3), is_slippery=True, success_rate=f(0.5), discount=f(0.75))
    base = {"seeds": i(2), "seed": i(1)}
    runs = [
        train("ift", mdp, make_base("mixture", mdp, hidden=i(8), good=f(0.5), noise=f(0.25), **base),
              steps=i(3), snapshots=i(2), learning_rate=f(0.25), mixing=f(0.5), decay=f(0.5), seed=i(3)),
        train("ppo", mdp, make_base("uniform", mdp, policy="tabular", **base), steps=i(3), walkers=i(4), segment=i(4),
              epochs=i(2), clip=f(0.25), lam=f(0.5), beta=f(0.5), entropy_bonus=f(0.25), max_grad_norm=f(0.5)),
        train("grpo", mdp, make_base("uniform", mdp), steps=i(2), walkers=i(4), group=i(2), beta=f(0.5)),
        train("tdpo", mdp, make_base("uniform", mdp), steps=i(2), alpha=f(0.5), version=i(1),
              demonstrations=demonstrations(mdp, i(2)), preferences=preference_pairs(mdp, i(2))),
        train("dpo", mdp, make_base("uniform", mdp), steps=i(2), beta=f(0.5), label_smoothing=f(0.25)),
        train("simpo", mdp, make_base("uniform", mdp), training=TrainingOptions(steps=i(2)), beta=f(0.5), gamma=f(0.25)),
    ]  # fmt: skip
    return [replace(run, seconds=0.0) for run in runs]


def boxed_texts(i, f):
    task = Task(size=i(4), ice=f(0.75), detours=f(0.5), base=i(4), maps=i(4), validation=i(2), held_out=i(2), seed=i(3))
    return [*task.paths.values(), *(p.detach().numpy() for p in build_model("tiny", seed=i(3)).parameters())]


@pytest.mark.parametrize("box", BOXES)
def test_a_number_of_numpys_or_torchs_is_as_good_as_pythons(box, tmp_path):
    plain, boxed = (boxed_runs(*kinds) for kinds in ((int, float), BOXES[box]))
    for ours, theirs in zip(boxed, plain, strict=True):
        saved = [run.save(tmp_path / name).read_text() for run, name in ((ours, "ours.json"), (theirs, "theirs.json"))]
        assert saved[0] == saved[1]
    for ours, theirs in zip(boxed_texts(*BOXES[box]), boxed_texts(int, float), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "value", [True, np.True_, torch.tensor(True), np.array([3]), torch.tensor([3]), np.float64(3), "3"], ids=repr
)
@pytest.mark.parametrize(
    "take",
    [
        lambda value: make_base("uniform", PATH, seed=value),
        lambda value: make_base("uniform", PATH, seeds=value),
        lambda value: POLICIES["tabular"](16, 4, value),
        lambda value: demonstrations(PATH, value),
        lambda value: preference_pairs(PATH, value),
        lambda value: TrainingOptions(steps=value),
        lambda value: TrainingOptions(snapshots=value),
        lambda value: PPOOptions(walkers=value),
        lambda value: build_model("tiny", seed=value),
    ],
)
def test_what_is_no_whole_number_is_refused_in_one_line(take, value):
    with pytest.raises(ValueError, match="allowed: a whole number >= ") as refused:
        take(value)
    assert "\n" not in str(refused.value)
