"""Options of methods: what is out of range is told in one line, what has no effect is known, defaults are the papers'."""

from dataclasses import fields, replace
from typing import get_type_hints

import numpy as np
import pytest
import torch
from support import options_of

from ift_gridworld.data import demonstrations, generators
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods import options
from ift_gridworld.methods.options import (
    ASFTOptions,
    ChiPOOptions,
    CISPOOptions,
    CPOOptions,
    DAPOOptions,
    DiscoPOPOptions,
    DistillOptions,
    DPOOptions,
    DPOPOptions,
    DrGRPOOptions,
    EXOOptions,
    GroupOptions,
    GRPOOptions,
    GSPOOptions,
    HPTOptions,
    IFTOptions,
    KTOOptions,
    LUFFYOptions,
    MethodOptions,
    NEFTuneOptions,
    PPOOptions,
    ReinforceOptions,
    RewardedOptions,
    RobustDPOOptions,
    ScheduledOptions,
    TrainingOptions,
    option_names,
    split_overrides,
)
from ift_gridworld.methods.registry import METHODS, VARIANTS, find_method, method_options, option_owners
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.policies.lake import POLICIES

EVERY = (*METHODS, *VARIANTS)
CLASSES = list(dict.fromkeys([TrainingOptions, *map(method_options, EVERY)]))
NAN, INF = float("nan"), float("inf")
WEIGHTS = (-0.1, NAN, INF, "1", True, None)
PARTS = (-0.1, 1.1, NAN, "0.5", True, None)
OUT_OF_RANGE = {  # of each option, wherever it occurs
    "steps": (0, -1, 1.5, True, "10"),
    "learning_rate": (0, -1.0, NAN, INF, 1e30, "0.1", True),
    "optimiser": ("sgd", None),
    "snapshots": (1, 2.5, None),
    "keep": ((-1,), (1.5,), ("10",), (True,), "10", 5, None),
    "mixing": PARTS,
    "decay": PARTS,
    "propagation": ("eq21", None),
    "norm": ("L3", 1),
    "prediction": ("sampled",),
    "outcome": ("worst",),
    "beta": (0, -1.0, NAN, INF, 1e30, "0.1", True),
    "label_smoothing": (0.5, -0.1, NAN, None),
    "gamma": (INF, -INF, NAN, "1", None),
    "alpha": (INF, NAN, "1", None),
    "version": (3, "2", None),
    "reward": ("human", None),
    "pairs": (0, 2.5, None),
    "clip": (0, -1.0, NAN, None),
    "epochs": (0, 1.5, None),
    "walkers": (0, 1.5, None),
    "max_grad_norm": (0, -1.0, NAN, None),
    "segment": (0, 1.5, None),
    "lam": PARTS,
    "kl_kind": ("k4", None),
    "entropy_bonus": (-0.1, NAN, None),
    "group": (0, 1, 65, 2.5),
    "kl_weight": WEIGHTS,
    "probability": PARTS,
    "rise": (-1, 1.5, None),
    "noise": WEIGHTS,
    "teacher": ("human", None),
    "every": (0, 1.5, None),
    "divergence": (*PARTS, 1, 1.0),  # 1 with the optimal teacher
    "on_policy": PARTS,
    "tau": (0, -1.0, NAN, None),
    "weight": WEIGHTS,
    "imitation": WEIGHTS,
    "max_reward": (0, -1.0, NAN, None),
    "kl": ("z",),
    "desirable_weight": (0, -1.0, NAN, None),
    "undesirable_weight": (0, -1.0, NAN, None),
    "clip_high": (0, -1.0, NAN, None),
    "gate": PARTS,
    "guides": (-1, 8, 1.5, None),
    "shaping": (0, -1.0, NAN, None),
}
ANY_VALUE = {"detach_weights"}  # yes or no
MAY_BE_FREE = (ReinforceOptions, GroupOptions)  # whose KL divergence may cost nothing
CASES = [
    (kind, name, value)
    for kind in CLASSES
    for name in option_names(kind)
    for value in OUT_OF_RANGE.get(name, ())
    if not (name == "beta" and value == 0 and value is not False and issubclass(kind, MAY_BE_FREE))
]


@pytest.mark.parametrize(("kind", "name", "value"), CASES, ids=[f"{k.__name__}-{n}-{v!r}" for k, n, v in CASES])
def test_what_is_out_of_range_is_refused_in_one_line(kind, name, value):
    with pytest.raises(ValueError) as error:
        kind(**{name: value})
    message = str(error.value)
    assert message.startswith(f"{name} is {value!r}; ") and "allowed: " in message and "\n" not in message


def test_every_option_of_every_method_is_checked():
    assert {option.__name__ for option in CLASSES} == {*options.__all__} - {
        "option_names", "split_overrides",  # functions
        "OnPolicyOptions", "RewardedOptions", "RolloutOptions", "MixedOptions",  # of no method of its own
    }  # fmt: skip
    assert {name for kind in CLASSES for name in option_names(kind)} == set(OUT_OF_RANGE) | ANY_VALUE


@pytest.mark.parametrize("kind", CLASSES)
def test_the_ends_of_every_range_are_allowed(kind):
    ends = {
        "mixing": (0, 1), "decay": (0, 1), "lam": (0, 1), "label_smoothing": (0, 0.499), "beta": (1e-9, 9e29),
        "learning_rate": (1e-9, 9e29), "steps": (1,), "snapshots": (2,), "pairs": (1,), "epochs": (1,), "walkers": (1,),
        "segment": (1,), "clip": (1e-9, INF), "max_grad_norm": (1e-9, INF), "entropy_bonus": (0,), "gamma": (-1e300,),
        "alpha": (0, -1.0), "version": (1, 2), "group": (2, 64), "kl_weight": (0, 9e29), "probability": (0, 1), "rise": (0,),
        "noise": (0, 9e29), "every": (1,), "divergence": (0, 0.999), "on_policy": (0, 1), "tau": (1e-9, 9e29),
        "weight": (0, 9e29), "imitation": (0, 9e29), "max_reward": (1e-9, 9e29), "desirable_weight": (1e-9, 9e29),
        "undesirable_weight": (1e-9, 9e29), "clip_high": (1e-9, INF), "gate": (0, 1), "guides": (0, 7), "shaping": (1e-9, 9e29),
        "teacher": ("optimal", "demonstrator"), "kl": (None, "exact", "mismatched"), "keep": ((0,),),
    }  # fmt: skip
    if issubclass(kind, MAY_BE_FREE):
        ends["beta"] = (0, 9e29)
    if kind is EXOOptions:
        ends["label_smoothing"] = (1e-9, 0.499)
    if kind is LUFFYOptions:
        ends |= {"walkers": (2,), "group": (2, 64)}
    for name in option_names(kind):
        for value in (
            *ends.get(name, ()),
            *(np.asarray(end)[()] for end in ends.get(name, ()) if isinstance(end, int | float)),
        ):
            kept = getattr(kind(**{name: value}), name)
            assert kept == value and not isinstance(kept, np.generic)


def test_options_that_bound_each_other():
    """An error of one names what the other allows."""
    with pytest.raises(ValueError, match=r"^label_smoothing is 0; allowed: a number in \(0, 0.5\)$"):
        EXOOptions(label_smoothing=0)
    with pytest.raises(ValueError, match=r"^divergence is 1; allowed: a number in \[0, 1\) with teacher optimal, "):
        DistillOptions(divergence=1)
    assert DistillOptions(divergence=1, teacher="demonstrator").divergence == 1
    with pytest.raises(ValueError, match=r"^guides is 2; allowed: a whole number from 0 to 1, fewer than a group$"):
        LUFFYOptions(guides=2, group=2)
    assert [HPTOptions(walkers=walkers).resolved().group for walkers in (2, 8, 64)] == [2, 8, 8]


def test_a_group_may_be_all_walkers_but_no_more():
    assert GRPOOptions(walkers=5, group=5).group == 5
    with pytest.raises(ValueError, match=r"group is 6; allowed: a whole number from 2 to the number of walkers \(5\)"):
        GRPOOptions(walkers=5, group=6)


def test_choices_suggest_the_nearest():
    with pytest.raises(ValueError, match=r"^propagation is 'algoritm1'; did you mean algorithm1\? allowed: released, "):
        IFTOptions(propagation="algoritm1")


def test_defaults_are_the_papers():
    """beta of each; what depends on another option is filled in."""
    betas = {name: getattr(method_options(name)().resolved(), "beta", None) for name in METHODS}
    imitation = dict.fromkeys(("sft", "ift", "dft", "asft", "scheduled", "neftune", "dagger", "distill"))
    free = dict.fromkeys(("dr_grpo", "dapo", "gspo", "cispo", "sapo", "hpt", "luffy"), 0.0)
    usual = dict.fromkeys(
        ("dpo", "dpo_online", "ipo", "tdpo", "robust", "exo", "apo_zero", "apo_down", "cpo", "cal_dpo", "kto", "spin",
         "dpo_judged"), 0.1
    )  # fmt: skip
    assert betas == imitation | free | usual | {
        "orpo": 0.25, "simpo": 2.0, "ppo": 0.001, "grpo": 0.04, "nca": 0.01, "sppo": 0.001, "discopop": 0.05, "dpop": 0.3,
        "reinforce": 0.03, "rloo": 0.03, "hinge": 0.05, "bco": 0.01, "chi_po": 0.05,
    }  # fmt: skip
    assert (ASFTOptions().kl_weight, NEFTuneOptions().noise, DPOPOptions().weight) == (0.05, 5.0, 50.0)
    assert (RobustDPOOptions().label_smoothing, EXOOptions().label_smoothing) == (0.1, 0.001)
    assert (DiscoPOPOptions().tau, ChiPOOptions().max_reward, CPOOptions().imitation) == (0.05, 1.0, 1.0)
    assert (KTOOptions().desirable_weight, KTOOptions().undesirable_weight, CISPOOptions().clip_high) == (1.0, 1.0, 5.0)
    assert [(o.clip, o.clip_high) for o in (DAPOOptions(), GSPOOptions())] == [(0.2, 0.28), (3e-4, 4e-4)]
    assert (HPTOptions().gate, HPTOptions().imitation, LUFFYOptions().guides, LUFFYOptions().shaping) == (0.0, 1.0, 1, 0.1)
    assert (HPTOptions().entropy_bonus, HPTOptions().size, DrGRPOOptions().clip) == (0.001, 8, 0.2)
    assert (IFTOptions().mixing, IFTOptions().decay) == (0.2, 0.95)
    assert PPOOptions().beta is None, "not chosen yet"
    for reward, beta in (("env", 0.001), ("preference", 1.0)):
        assert PPOOptions(reward=reward).resolved() == PPOOptions(reward=reward, beta=beta)
        assert PPOOptions(reward=reward, beta=0.7).resolved().beta == 0.7
    assert GRPOOptions(reward="preference").resolved().beta == 0.04


@pytest.mark.parametrize("name", EVERY)
def test_the_registry_names_the_options_that_the_class_has(name):
    """It lists them without loading the class; both must be the same."""
    assert method_options(name) is find_method(name).options_type
    assert issubclass(method_options(name), MethodOptions)
    assert set(option_owners()) == set(METHODS)


@pytest.mark.parametrize("kind", CLASSES)
def test_options_are_frozen_and_typed(kind):
    with pytest.raises(AttributeError):
        object.__getattribute__(kind(), "__setattr__")("anything", 1)
    assert set(get_type_hints(kind)) == set(option_names(kind))


# ---- overrides ----


def test_overrides_go_where_they_belong():
    """To the method's options or to training's; what they do not name stays as it was given."""
    options, training = split_overrides(
        "dpo", DPOOptions(label_smoothing=0.1), TrainingOptions(snapshots=5), {"beta": 0.3, "steps": 7}
    )
    assert (options, training) == (DPOOptions(0.3, 0.1), TrainingOptions(steps=7, snapshots=5))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"mixng": 0.5},
            "ift has no option mixng (given: 0.5); did you mean mixing? allowed: mixing, decay, propagation, norm, "
            "detach_weights, prediction, outcome, steps, learning_rate, optimiser, snapshots",
        ),
        ({"beta": 0.5}, "ift has no option beta (given: 0.5); it is an option of dpo, tdpo; allowed: "),
        ({"mixing": 2.0}, "mixing is 2.0; allowed: a number in [0, 1]"),
        ({"steps": 0}, "steps is 0; allowed: a whole number >= 1"),
    ],
)
def test_an_override_that_nothing_takes_is_told_in_one_line(given, message):
    with pytest.raises(ValueError) as error:
        split_overrides("ift", IFTOptions(), TrainingOptions(), given, {"dpo": ["beta"], "tdpo": ["beta"]})
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_an_override_may_be_told_without_the_options_of_others():
    with pytest.raises(ValueError, match=r"^ift has no option beta \(given: 0.5\); allowed: mixing, "):
        split_overrides("ift", IFTOptions(), TrainingOptions(), {"beta": 0.5})


# ---- what has no effect ----

ICE = TabularMDP.from_map(("SFFF", "FHFH", "FFFH", "HFFG"), is_slippery=True, success_rate=0.7)
OTHER = {  # another value of each of IFT's options, whose effect is looked for
    "mixing": 0.6, "decay": 0.5, "norm": "L2", "detach_weights": True, "prediction": "expected", "outcome": "likeliest",
}  # fmt: skip


def loss_and_gradient(options):
    policy = POLICIES["tabular"](16, 4, 1).initialise(generators(5, 1)).double()
    method = METHODS["ift"](LakeSource(ICE, demonstrations(ICE, 8)[None], None, None, ()), policy, options)
    loss = method.loss(method.batch(0))
    return torch.cat([loss, torch.autograd.grad(loss.sum(), policy.theta)[0].flatten()])


@pytest.mark.parametrize(
    ("given", "unused"),
    [
        ({}, set()),
        ({"mixing": 0}, {"prediction", "outcome"}),
        ({"propagation": "algorithm1"}, {"norm"}),
        ({"propagation": "equation21"}, {"norm", "detach_weights"}),
        ({"propagation": "none"}, {"norm", "detach_weights", "decay"}),
        ({"propagation": "none", "mixing": 0}, {"norm", "detach_weights", "decay", "prediction", "outcome"}),
        ({"detach_weights": True}, set()),
    ],
    ids=lambda x: str(x) if isinstance(x, dict) else "",
)
def test_ift_knows_which_of_its_options_have_no_effect(given, unused):
    """Exactly those whose change moves neither the loss nor its gradient."""
    options = IFTOptions(**given)
    assert set(options.unused()) == unused
    before = loss_and_gradient(options)
    for name, value in OTHER.items():
        if name in given:
            continue
        moved = not torch.equal(loss_and_gradient(replace(options, **{name: value})), before)
        assert moved == (name not in unused), name
    for name, reason in options.unused().items():
        assert any(f"{setting} {value}" in reason for setting, value in given.items() if setting != name), reason


@pytest.mark.parametrize(
    ("kind", "given", "unused"),
    [
        (ScheduledOptions, {}, {}),
        (ScheduledOptions, {"probability": 0}, dict.fromkeys(("rise", "prediction", "outcome"), "with probability 0")),
        (DistillOptions, {}, {}),
        (DistillOptions, {"on_policy": 0}, {"walkers": "with on_policy 0"}),
        (LUFFYOptions, {"reward": "preference"}, {}),
        (LUFFYOptions, {"reward": "preference", "guides": 0}, {"shaping": "with guides 0"}),
    ],
)
def test_what_has_no_effect_is_known_with_its_reason(kind, given, unused):
    assert kind(**given).unused() == unused


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if issubclass(kind, RewardedOptions)])
def test_pairs_are_for_a_learned_reward_alone(kind):
    assert kind().unused() == {"pairs": "without reward preference"}
    assert kind(reward="preference").unused() == {}


@pytest.mark.parametrize("name", EVERY)
def test_others_use_all_that_they_have(name):
    options = method_options(name)()
    if not isinstance(options, IFTOptions | RewardedOptions):
        assert options.unused() == {}
    assert set(options.unused()) <= {field.name for field in fields(options)}


def test_the_options_of_a_method_can_be_picked_from_many():
    """What these tests use themselves."""
    assert options_of("sft", mixing=0.5, beta=1.0) == MethodOptions()
    assert options_of(find_method("dpo"), mixing=0.5, beta=1.0) == DPOOptions(1.0)
