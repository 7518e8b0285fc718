"""The training loop: every method climbs, seeds are independent, and what goes wrong is told."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from inspect import signature

import numpy as np
import pytest
import torch
from support import known, options_of

from ift_gridworld import METHODS
from ift_gridworld.choices import BASES
from ift_gridworld.data import best_path, demonstrations, detour, generators, preference_pairs, sample_episodes
from ift_gridworld.envs.maps import LAKES, random_map
from ift_gridworld.envs.registry import make_env
from ift_gridworld.evaluation.metrics import MEASURES, measure, tiles_of
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods.on_policy import OnPolicy
from ift_gridworld.methods.options import DPOOptions, IFTOptions, PPOOptions, TrainingOptions, option_names
from ift_gridworld.methods.registry import CORE, VARIANTS, method_options
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.optimisation import OPTIMISERS
from ift_gridworld.policies.lake import POLICIES, MLPPolicy, TabularPolicy
from ift_gridworld.policies.residual import mix
from ift_gridworld.storage import round_significant
from ift_gridworld.training import snapshots as kept
from ift_gridworld.training.base_policies import make_base
from ift_gridworld.training.lakes import train_lakes
from ift_gridworld.training.loop import optimise, train
from ift_gridworld.training.snapshots import fixed_steps, memory, snapshot_steps, snapshots

TWO_PATHS = TabularMDP.from_map(LAKES["two-paths"])
SLIPPERY = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)
SMALL = {"walkers": 8, "segment": 8}  # of PPO, to keep the tests short
EVERY = pytest.mark.parametrize("method", CORE)
OTHERS = [name for name in METHODS if name not in CORE]
KINDS = pytest.mark.parametrize("kind", POLICIES)


def run(method="sft", mdp=TWO_PATHS, *, base="mixture", kind="tabular", seeds=1, seed=0, steps=20, **changes):
    policy = make_base(base, mdp, policy=kind, seeds=seeds, seed=seed)
    return train(method, mdp, policy, seed=seed, steps=steps, **known(method, SMALL) | changes)


# ---- seeds ----


@pytest.mark.slow
@EVERY
@KINDS
def test_a_population_is_its_members_trained_alone(method, kind):
    """Three seeds at once give what three runs of one give: every snapshot, to the last bit; by methods whose batches have
    another shape for one seed, to float32 rounding, which twenty steps spread to some 1e-6."""
    many = run(method, kind=kind, seeds=3, seed=4)
    # Online DPO may draw the chosen path itself: the pair's gradients then cancel to rounding noise, which Adam's division
    # by its own size blows up.
    spread = {"dpo_online": 1e-3, "ift": 1e-6, "grpo": 1e-6}.get(method, 0.0)
    for i in range(3):
        alone = run(method, kind=kind, seed=4 + i)
        np.testing.assert_allclose(many.policies[:, i], alone.policies[:, 0], rtol=0, atol=spread)
        np.testing.assert_allclose(many.loss[:, i], alone.loss[:, 0], rtol=1e-4, atol=1e-5)
    assert abs(many.policies[-1, 0] - many.policies[-1, 1]).max() > 1e-3  # seeds do differ


@pytest.mark.parametrize("method", ["ppo", "dpo"])
def test_rounding_decides_no_draw_of_a_member(method):
    """PPO draws some thousand actions; one drawn otherwise, for a policy's last digit, would change all that follow."""
    many = run(method, SLIPPERY, kind="mlp", seeds=5, seed=2, steps=60)
    alone = run(method, SLIPPERY, kind="mlp", seed=6, steps=60)
    np.testing.assert_array_equal(many.policies[-1, 4], alone.policies[-1, 0])  # which others are kept depends on all seeds


@KINDS
@pytest.mark.parametrize("base", BASES)
def test_a_member_of_a_base_depends_on_its_own_seed_alone(base, kind):
    many = make_base(base, TWO_PATHS, policy=kind, seeds=3, seed=4)
    for i in range(3):
        alone = make_base(base, TWO_PATHS, policy=kind, seed=4 + i)
        for ours, theirs in zip(many.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(ours[i], theirs[0], rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", OTHERS)
def test_a_population_of_any_method_is_its_members_trained_alone(method):
    """To float32 rounding; to the last bit where no loss is computed over a batch of another shape. SPIN may draw the
    demonstrated path itself, as online DPO."""
    many = run(method, SLIPPERY, seeds=2, seed=4, steps=8)
    alone = run(method, SLIPPERY, seed=5, steps=8)
    exact = method in ("dft", "asft", "scheduled", "neftune", "dagger", "hinge", "robust", "nca", "bco", "cpo", "cal_dpo")
    spread = 0.0 if exact else 1e-3 if method == "spin" else 1e-6
    np.testing.assert_allclose(many.policies[-1, 1], alone.policies[-1, 0], rtol=0, atol=spread)
    np.testing.assert_allclose(many.loss[:, 1], alone.loss[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", OTHERS)
def test_any_method_has_the_same_numbers_with_the_same_seed(method):
    data = {"demonstrations": demonstrations(SLIPPERY, 4), "preferences": preference_pairs(SLIPPERY, 4)}
    small = known(method, {"walkers": 8, "every": 2, "rise": 1})
    one, two = (train(method, SLIPPERY, make_base("random", SLIPPERY, policy="tabular"), steps=4, **small, **data)
                for _ in range(2))  # fmt: skip
    assert np.array_equal(one.policies, two.policies) and np.array_equal(one.loss, two.loss)


@EVERY
def test_same_seed_same_numbers(method):
    one, two = (run(method, SLIPPERY, kind="mlp", seeds=2, seed=3) for _ in range(2))
    assert np.array_equal(one.policies, two.policies) and np.array_equal(one.loss, two.loss)
    assert all(np.array_equal(one.metrics[name], two.metrics[name]) for name in MEASURES)


# ---- what training does ----


@EVERY
def test_every_method_moves_the_right_way(method):
    """From the mixture base on two paths: imitation makes the shown path likelier, preferences widen the margin, PPO earns."""
    metrics = run(method, seeds=3, steps=120, **known(method, {"walkers": 32, "segment": 16})).metrics
    gained = {name: values[-1] - values[0] for name, values in metrics.items()}
    margin = gained["chosen_logp"] - gained["rejected_logp"]
    if method in ("sft", "ift", "orpo"):
        assert (gained["chosen_logp"] > 0.5).all()
    if METHODS[method].needs == "pairs":
        assert (margin > 0.5).all()
    if method == "ppo":
        assert (gained["return"] > 0.05).all() and (gained["success"] > 0).all()


def test_sft_on_a_table_finds_the_empirical_conditional():
    """Each step weighs 1 / (its row's length); the loss ends at the weighted entropy of what was shown."""
    shown = sample_episodes(SLIPPERY, np.full((16, 4), 0.25), 300, generators(0, 1))[0]
    weights = np.zeros((16, 4))
    for states, actions, mask in zip(shown.states, shown.actions, shown.mask, strict=True):
        np.add.at(weights, (states[mask], actions[mask]), 1 / int(mask.sum()) / 300)
    visited = weights.sum(-1) > 0
    empirical = weights[visited] / weights[visited].sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(empirical > 0, empirical * np.log(empirical), 0).sum(-1)

    made = run("sft", SLIPPERY, base="random", demonstrations=shown, steps=600, learning_rate=0.1)
    # What is left after 600 steps of Adam at 0.1, not rounding.
    np.testing.assert_allclose(made.policies[-1, 0, visited], empirical, rtol=0, atol=1e-3)
    assert made.loss[-1, 0] == pytest.approx(weights[visited].sum(-1) @ entropy, abs=1e-5)
    assert np.array_equal(made.policies[-1, 0, ~visited], made.policies[0, 0, ~visited])


@KINDS
def test_ift_without_mixing_and_propagation_is_sft_to_the_last_bit(kind):
    plain = run("ift", kind=kind, seeds=2, mixing=0.0, propagation="none")
    sft = run("sft", kind=kind, seeds=2)
    assert np.array_equal(plain.policies, sft.policies) and np.array_equal(plain.loss, sft.loss)
    assert not np.array_equal(run("ift", kind=kind, seeds=2).policies, sft.policies)


@KINDS
@pytest.mark.parametrize(("good", "noise"), [(0.5, 0.3), (0.9, 0.1), (0.0, 1.0)])
def test_mixture_base_clones_both_demonstrators_and_noise(kind, good, noise):
    """(1 - noise) (shares of the two paths) + noise / A on their tiles: the start is the only tile on both."""
    expected = np.full((16, 4), np.nan)
    for path, share in ((best_path(TWO_PATHS), good), (detour(TWO_PATHS), 1 - good)):
        tile = 0
        for action in path:
            if share > 0:
                row = np.zeros(4) if np.isnan(expected[tile]).all() else expected[tile]
                row[action] += share if tile == 0 else 1.0
                expected[tile] = row
            tile = TWO_PATHS.next_state[tile, action, 0]
    visited = ~np.isnan(expected).any(-1)
    expected = (1 - noise) * expected[visited] + noise / 4
    made = make_base("mixture", TWO_PATHS, policy=kind, seeds=2, good=good, noise=noise).probabilities()
    # Cloning is 200 steps of Adam at 0.02: what is left is of the optimiser, not of rounding.
    np.testing.assert_allclose(made[:, visited], np.stack([expected] * 2), rtol=0, atol=0.01)
    assert (abs(made[:, visited] - expected).mean() < 0.003).all()


def test_other_bases():
    assert (make_base("uniform", TWO_PATHS, seeds=2).probabilities() == 0.25).all()
    random = make_base("random", TWO_PATHS, policy="tabular", seeds=2)
    drawn = TabularPolicy(16, 4, 2).initialise(generators(0, 2))
    assert torch.equal(random.theta, drawn.theta)


# ---- what a run leaves ----


def test_runs_of_any_length_share_round_updates_and_keep_those_asked_for():
    def steps_of(method, steps, **options):
        base = make_base("mixture", TWO_PATHS, policy="tabular")
        return set(train(method, TWO_PATHS, base, steps=steps, snapshots=30, **options).steps.tolist())

    short, long = steps_of("sft", 100, keep=(37,)), steps_of("dpo", 300)
    round_ones = {1, 2, 3, 5, 10, 20, 30, 50, 100}
    assert {0, 37} | round_ones <= short and {0, 200, 300} | round_ones <= long
    assert len(short) <= 30 and len(long) <= 30
    with pytest.raises(ValueError, match="keep has update 101; allowed: up to 100, the number of updates"):
        steps_of("sft", 100, keep=(101,))
    with pytest.raises(ValueError, match="keep is .-1,.; allowed: whole numbers >= 0"):
        steps_of("sft", 100, keep=(-1,))


def test_few_snapshots_have_no_room_for_round_updates():
    assert fixed_steps(TrainingOptions(steps=300), 10) == set()
    assert fixed_steps(TrainingOptions(steps=300, keep=(4,)), 10) == {4}


def test_a_run_keeps_what_it_says():
    policy = make_base("mixture", TWO_PATHS, policy="tabular", seeds=2)
    base, done = policy.probabilities(), []
    made = train(
        "dpo",
        TWO_PATHS,
        policy,
        options=DPOOptions(beta=0.5, label_smoothing=0.1),
        training=TrainingOptions(steps=30, optimiser="rmsprop"),
        snapshots=5,
        beta=0.2,
        progress=lambda *update: done.append(update),
    )
    assert {0, 30} <= set(made.steps.tolist()) <= snapshot_steps(30, 20) and (np.diff(made.steps) > 0).all()
    assert 2 < len(made.steps) <= 5
    assert made.policies.shape == (len(made.steps), 2, 16, 4)
    assert np.array_equal(made.policies[0], base) and np.array_equal(made.policies[-1], policy.probabilities())
    snapshots = made.policies[:, made.drawn].astype(np.float32).astype(float)  # as they are packed
    for table, seen in ((made.snapshots, snapshots), (made.base, base), (made.final, made.policies[-1])):
        assert np.array_equal(table, round_significant(seen))
    assert made.loss.shape == (30, 2) and done == [(i + 1, 30) for i in range(30)]
    assert made.loss[0] == pytest.approx([np.log(2)] * 2, rel=1e-6)  # the reference is the base
    chosen, rejected = preference_pairs(TWO_PATHS, 1)
    stood = tiles_of(TWO_PATHS, demonstrations(TWO_PATHS, 1))
    expected = measure(TWO_PATHS, made.policies, base=base, shown=stood, chosen=chosen, rejected=rejected, only=[*MEASURES])
    assert all(np.array_equal(made.metrics[name], round_significant(expected[name])) for name in MEASURES)
    assert made.settings == {
        "policy": "tabular",
        "seed": 0,
        "seeds": 2,
        "steps": 30,
        "learning_rate": TabularPolicy.learning_rate,
        "optimiser": "rmsprop",
        "snapshots": 5,
        "keep": [],
        "beta": 0.2,
        "label_smoothing": 0.1,
        "demonstrations": 1,
        "demonstrations_arrived": 1,
    }
    assert made.diverged is None and made.method == "dpo"
    assert made.mdp is TWO_PATHS and made.environment == TWO_PATHS.origin
    for steps, side in ((made.demonstration, chosen), (made.rejected, rejected)):
        assert np.array_equal(steps, np.stack([side.states[0], side.actions[0]], -1))


def test_defaults_are_the_methods_and_the_policys_own():
    made = run("ipo", steps=None, kind="mlp")
    assert made.settings["steps"] == METHODS["ipo"].steps == len(made.loss) == 300
    assert made.settings["beta"] == METHODS["ipo"].options_type().beta
    assert made.settings["learning_rate"] == POLICIES["mlp"].learning_rate
    shown = demonstrations(TWO_PATHS, 1)
    imitated = run("sft", steps=2)
    assert np.array_equal(imitated.demonstration, np.stack([shown.states[0], shown.actions[0]], -1))
    assert not len(imitated.rejected)


@pytest.mark.parametrize(("updates", "count"), [(300, 60), (7, 60), (600, 2), (1, 2), (50, 10)])
def test_snapshots_are_close_together_early_and_far_apart_late(updates, count):
    steps = sorted(snapshot_steps(updates, count))
    assert steps[0] == 0 and steps[-1] == updates and len(steps) <= count
    gaps = np.diff(steps)
    assert (np.diff(gaps) >= -1).all()  # growing, but for rounding to whole steps
    if updates >= 50 and count > 2:
        assert gaps[0] < gaps[-1]


def test_snapshots_are_as_many_as_memory_holds(monkeypatch):
    """Four are taken for each that is kept, as far as they fit; the first and the last in any case."""
    entries = 16 * 4
    for fitting, expected in ((1000, (20, 5)), (20, (20, 5)), (19, (19, 4)), (9, (9, 2)), (1, (2, 2))):
        monkeypatch.setattr(kept, "SNAPSHOT_BYTES", 8 * entries * fitting)
        assert snapshots(TrainingOptions(snapshots=5), entries) == expected
    everything = run(steps=9, snapshots=100)
    assert len(everything.steps) == 2
    monkeypatch.undo()
    everything, few = run(steps=9, snapshots=100), everything
    assert np.array_equal(few.policies, everything.policies[[0, -1]])


@KINDS
@pytest.mark.parametrize(("method", "optimiser"), [("ift", "adam"), ("ppo", "adam"), ("dpo", "rmsprop")])
def test_memory_is_what_is_allocated(kind, method, optimiser):
    """Sizes of all that a learner, its optimiser and its snapshots hold after an update."""
    hidden = 8 if kind == "mlp" else None
    policy = make_base("random", SLIPPERY, policy=kind, seeds=3, hidden=hidden)
    method_class, options = METHODS[method], options_of(method, **SMALL)
    options_given = TrainingOptions(optimiser=optimiser, steps=40, snapshots=2)
    training = method_class.resolved(options_given, policy)
    shown, (chosen, rejected) = demonstrations(SLIPPERY, 4)[None], (x[None] for x in preference_pairs(SLIPPERY, 4))
    learner = method_class(LakeSource(SLIPPERY, shown, chosen, rejected, generators(0, 3)), policy, options)
    _, policies, _, _ = optimise(learner, training, snapshot_steps(40, snapshots(training, 3 * 64)[0]))
    optimiser_made = OPTIMISERS[optimiser](learner.parameters(), 0.01)
    learner.loss(learner.batch(0)).sum().backward()
    held = {
        "parameters": list(learner.parameters()),
        "gradients": [p.grad for p in learner.parameters()],
        "moments": [x for name in ("_first", "_second") for x in getattr(optimiser_made, name, ())],
        "reference": list(learner.reference.parameters()) if method != "ift" else [],  # IFT compares with nothing
        "snapshots": [torch.as_tensor(policies)],
    }
    expected = memory(16, 4, 3, policy=kind, hidden=8, method=method, training=options_given)
    assert expected == {name: sum(x.nbytes for x in tensors) for name, tensors in held.items()}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that runs CUDA")
@EVERY
@KINDS
@pytest.mark.parametrize("mdp", [TWO_PATHS, SLIPPERY], ids=["firm", "slippery"])
def test_a_gpu_trains_the_same_population(method, kind, mdp):
    """Draws are made on the CPU, so that both devices walk the same ways; what is left is float32 rounding over five updates,
    and, where an agent's draw falls between the two roundings of a chance, nothing that this many draws would meet."""
    bases = [make_base("random", mdp, policy=kind, seeds=4, device=device) for device in ("cpu", "cuda")]
    on_cpu, on_gpu = (train(method, mdp, base, steps=5, **known(method, SMALL)) for base in bases)
    np.testing.assert_allclose(on_gpu.policies, on_cpu.policies, rtol=0, atol=1e-4)
    np.testing.assert_allclose(on_gpu.loss, on_cpu.loss, rtol=1e-3, atol=1e-4)
    lake = make_base("mixture", mdp, policy=kind, seeds=2, device="cuda")
    assert all(p.device.type == "cuda" for p in lake.parameters())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("method", "kind"), [("ipo", "tabular"), ("sft", "mlp"), ("ppo", "mlp")])
def test_divergence_is_reported_and_keeps_what_was_good(method, kind):
    """A loss that is no number (IPO's square overflows) or a policy that is none (inf - inf in the network)."""
    made = run(method, kind=kind, seeds=2, steps=30, learning_rate=9e29, snapshots=30)
    assert "step 2" in made.diverged and "learning_rate=9e+29" in made.diverged and "\n" not in made.diverged
    assert made.steps.tolist() == [0, 1] and np.isfinite(made.policies).all()
    assert len(made.loss) < 30 and np.isfinite(made.loss).all()
    assert all(len(values) == 2 for values in made.metrics.values())


def test_training_without_divergence_says_nothing_of_it():
    assert all(run(method, steps=3).diverged is None for method in CORE)


def test_ppo_holds_the_gradient_norm():
    """Scaled down to 1e-11, a gradient is a thousandth of Adam's epsilon 1e-8, so that no step exceeds a thousandth of the
    learning rate (float32 rounds theta, of order 1, by some 1e-7). Other methods' gradients are left alone."""
    policy = make_base("random", TWO_PATHS, policy="tabular")
    before = policy.theta.detach().clone()
    train("ppo", TWO_PATHS, policy, steps=10, learning_rate=0.1, max_grad_norm=1e-11, **SMALL)
    assert 0 < (policy.theta - before).abs().max() <= 10 * (1e-3 * 0.1 + 1e-7)
    for name, method in METHODS.items():
        assert ("max_grad_norm" in option_names(method.options_type)) == issubclass(method, OnPolicy), name
        assert method.max_grad_norm is None  # unless its options say so


# ---- a learned reward ----


def test_ppo_learns_from_preferences_too():
    made = run("ppo", steps=120, reward="preference", walkers=32, segment=16)
    assert made.metrics["return"][-1] > made.metrics["return"][0] + 0.05


def test_ppo_with_a_learned_reward_needs_enough_pairs():
    walkable = sum(letter in "SF" for row in LAKES["two-paths"] for letter in row)
    with pytest.raises(ValueError, match=rf"pairs is 2, of which \d .* at least {walkable}"):
        run("ppo", reward="preference", options=PPOOptions(pairs=2))


# ---- what has no meaning is refused ----


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: run("rlhf"), ["'rlhf'", *METHODS]),
        (lambda: train("sft", TWO_PATHS, TabularPolicy(9, 4)), ["9 states", "16"]),
        (lambda: run(mixing=1.5), ["mixing", "1.5"]),
        (lambda: make_base("perfect", TWO_PATHS), ["'perfect'", *BASES]),
        (lambda: make_base("mixture", TWO_PATHS, policy="transformer"), ["'transformer'", *POLICIES]),
        (lambda: make_base("mixture", TWO_PATHS, good=1.5), ["good", "1.5"]),
        (lambda: make_base("mixture", TWO_PATHS, noise=0.0), ["noise", "0.0"]),
    ],
)
def test_bad_values_are_refused_in_one_line(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt()
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: run("ift", mixng=0.2), ["ift has no option mixng (given: 0.2)", "did you mean mixing?", "decay", "steps"]),
        (lambda: run("sft", learningrate=0.2), ["sft has no option learningrate", "did you mean learning_rate?"]),
        (lambda: run("dpo", mixing=0.2), ["dpo has no option mixing (given: 0.2); it is an option of ift;", "label_smoothing"]),
        (lambda: run("sft", beta=1), ["it is an option of ppo, dpo, dpo_online, orpo, ipo, simpo, tdpo, grpo and 25 others;"]),
        (lambda: run("ift", settings=None), ["ift has no option settings (given: None)"]),
        (lambda: run("dpo", options=IFTOptions()), ["options is a IFTOptions; allowed: DPOOptions"]),
        (lambda: run("sft", options=IFTOptions()), ["options is a IFTOptions; allowed: MethodOptions"]),
        (lambda: run("ift", options=TrainingOptions()), ["options is a TrainingOptions; allowed: IFTOptions"]),
        (lambda: run("ift", training=IFTOptions()), ["training is a IFTOptions; allowed: TrainingOptions"]),
        (lambda: run("ift", options={"mixing": 0.5}), ["options is a dict; allowed: IFTOptions"]),
        (lambda: run("ift", steps=1.5), ["steps is 1.5; allowed: a whole number >= 1"]),
        (lambda: run("ift", snapshots="many"), ["snapshots is 'many'; allowed: a whole number >= 2"]),
        (lambda: make_base("uniform", TWO_PATHS, hidden=0), ["hidden is 0; allowed: a whole number >= 1"]),
        (lambda: make_base("uniform", TWO_PATHS, hidden=2.5), ["hidden is 2.5; allowed: a whole number >= 1"]),
        (lambda: make_base("uniform", TWO_PATHS, policy="tabular", hidden=8), ["hidden is 8", "tabular"]),
        (lambda: make_base("uniform", TWO_PATHS, seeds=0), ["seeds is 0; allowed: a whole number >= 1"]),
        (lambda: make_base("uniform", make_env("two-paths")), ["mdp is ", "an environment", "TabularMDP.from_env(env)"]),
        (lambda: make_base("uniform", "4x4"), ["mdp is '4x4'; allowed: a TabularMDP"]),
        (lambda: make_base("uniform", [TWO_PATHS, "4x4"]), ["mdp is '4x4'; allowed: a TabularMDP"]),
        (lambda: make_base("uniform", TWO_PATHS, seed=1.5), ["seed is 1.5; allowed: a whole number >= 0"]),
        (lambda: run("sft", seed="a"), ["seed is 'a'; allowed: a whole number >= 0"]),
        (lambda: run("sft", demonstrations=[1, 2]), ["demonstrations is a list; allowed: Trajectories"]),
        (lambda: TabularMDP.make(None), ["name is None; allowed: a string such as '4x4'"]),
        (lambda: train("sft", make_env("two-paths"), TabularPolicy(16, 4)), ["mdp is a", "TabularMDP.from_env(env)"]),
        (lambda: train("sft", LAKES["4x4"], TabularPolicy(16, 4)), ["mdp is a tuple; allowed: a TabularMDP"]),
        (
            lambda: train("sft", TWO_PATHS, torch.nn.Linear(16, 4)),
            ["policy is a Linear (it lacks embed, logits, population, num_states)", "LakePolicy", "make_base"],
        ),
        (lambda: train(torch.nn.Linear(1, 1), TWO_PATHS, TabularPolicy(16, 4)), ["method is Linear(", "a registered name"]),
        (lambda: TabularMDP.from_env(make_env("Taxi-v3")), ["'Taxi-v3'", "Gymnasium", "has Taxi-v4;"]),
        (lambda: TabularMDP.make("Taxi-v3"), ["'Taxi-v3'", "has Taxi-v4;"]),
        (lambda: TabularMDP.make("two-path"), ["'two-path'", "did you mean two-paths?"]),
        (lambda: TabularMDP.from_map("SG"), ["SG"]),
    ],
)
def test_mistakes_are_told_in_one_line_that_helps(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt()
    message = str(error.value)
    assert all(word in message for word in named) and "\n" not in message, message


def test_no_option_hides_behind_an_argument_of_train():
    """Nor behind an option of training: then one of the two could not be given by name."""
    training, arguments = set(option_names(TrainingOptions)), set(signature(train).parameters)
    assert not training & arguments
    for name in (*METHODS, *VARIANTS):
        assert not set(option_names(method_options(name))) & (training | arguments), name


# ---- the shapes in the signatures ----


@pytest.mark.slow
def test_shapes_in_signatures_hold_throughout():
    """Every method, policy and kind of ice, with each call's shapes and types checked as they are written down. In a process
    of its own: checking must be switched on before the package is first imported, and is not for what is wrong on purpose."""
    code = """
        import sys, types
        from beartype import BeartypeConf, beartype
        sys.modules["checked"] = types.ModuleType("checked")
        sys.modules["checked"].check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int will do for a float
        from jaxtyping import install_import_hook
        install_import_hook("ift_gridworld", "checked.check")

        import numpy as np
        from ift_gridworld import METHODS, TabularMDP
        from ift_gridworld.envs import registry as envs
        from ift_gridworld.evaluation import metrics
        from ift_gridworld import planning
        from ift_gridworld.methods.options import option_names
        from ift_gridworld.training.base_policies import make_base
        from ift_gridworld.training.loop import train
        for slip, policy in ((False, "mlp"), (True, "tabular")):
            mdp = TabularMDP.from_map(envs.LAKES["4x4"], is_slippery=slip)
            base = make_base("mixture", mdp, policy=policy, seeds=3)
            for method in METHODS:
                has = option_names(METHODS[method].options_type)
                small = {name: 4 for name in ("walkers", "segment") if name in has}
                run = train(method, mdp, base, steps=2, **small)
            metrics.mean_interval(run.metrics["success"])
            for horizon in (None, 9):
                planning.optimal_success(mdp, horizon)
                planning.success_probability(mdp, np.full((2, 3, 16, 4), 0.25), horizon)
            planning.soft_value_iteration(mdp, np.full((16, 4), 0.25), 1)
            planning.time_limited_values(mdp, 5)
        run = train("ppo", mdp, base, steps=2, walkers=4, segment=4, reward="preference")
    """
    options = {"capture_output": True, "text": True, "timeout": 600, "env": os.environ | {"OMP_NUM_THREADS": "1"}}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], **options)
    assert done.returncode == 0, done.stderr[-3000:]


# ---- many lakes at once ----


def test_many_lakes_take_the_number_of_steps_from_keep():
    lakes = [TabularMDP.from_map(["SFG", "FFF"])]
    base = make_base("uniform", lakes, policy="tabular", seeds=1)
    data = {"demonstrations": [demonstrations(lakes[0])], "preferences": [preference_pairs(lakes[0])]}
    with pytest.raises(ValueError, match="steps is 5; allowed: 3"):
        train_lakes("sft", lakes, base, keep=(0, 3), steps=5, **data)
    assert train_lakes("sft", lakes, base, keep=(0, 3), steps=3, **data).shape == (2, 1, 1, 6, 4)


@pytest.mark.parametrize("kind", ["mlp", "tabular"])
@pytest.mark.parametrize("slippery", [False, True])
@pytest.mark.parametrize("method", ["sft", "ift", "dpo", "orpo", "tdpo"])
def test_many_lakes_at_once_are_each_lake_by_itself(kind, slippery, method):
    """Three lakes of one size whose paths, windows and visited tiles differ in number; two seeds each."""
    lakes = [TabularMDP.from_map(random_map(4, seed=s, frozen=0.6), is_slippery=slippery, success_rate=0.8) for s in range(3)]
    count = 12 if slippery else 1
    shown = [demonstrations(lake, count) for lake in lakes]
    pairs = [preference_pairs(lake, count) for lake in lakes]
    base = make_base("mixture", lakes, policy=kind, seeds=2, seed=5)
    start = base.probabilities()
    found = train_lakes(method, lakes, base, keep=(0, 7, 20), demonstrations=shown, preferences=pairs)
    assert found.shape == (3, 3, 2, 16, 4)
    np.testing.assert_array_equal(found[0].reshape(start.shape), start)
    for i, lake in enumerate(lakes):
        alone = make_base("mixture", lake, policy=kind, seeds=2, seed=5 + 2 * i)
        np.testing.assert_allclose(alone.probabilities(), start[2 * i : 2 * i + 2], atol=1e-5)
        run = train(method, lake, alone, steps=20, snapshots=21, demonstrations=shown[i], preferences=pairs[i])
        # float32 sums in another order, amplified by Adam where a gradient is all but nothing.
        for row, step in enumerate((0, 7, 20)):
            np.testing.assert_allclose(found[row, i], run.policies[step], atol=2e-3)


@pytest.mark.parametrize("optimiser", ["adam", "rmsprop"])
def test_members_may_have_rates_and_data_of_their_own(optimiser):
    """Two lakes, two seeds, three rates in one run; each rate is as when it is everyone's, each demonstration its member's."""
    lakes = [TabularMDP.from_map(random_map(4, seed=s, frozen=0.6)) for s in range(2)]
    paths = {q: [demonstrations(lake, quality=q) for lake in lakes] for q in ("optimal", "suboptimal")}
    pairs = [preference_pairs(lake) for lake in lakes]
    base, rates = make_base("mixture", lakes, policy="tabular", seeds=2), (0.003, 0.02, 0.1)
    spread = [lake * 2 + seed for lake in (0, 1) for _ in rates for seed in (0, 1)]
    shown = [paths[("optimal", "suboptimal")[m % 2]][m // 2] for m in spread]  # the second seed learns the detour
    keep, options = (0, 12), {"optimiser": optimiser, "preferences": pairs}
    each = torch.tensor(rates).repeat_interleave(2).repeat(2)
    found = train_lakes("sft", lakes, base.members(spread), keep=keep, demonstrations=shown, rates=each, **options)
    assert found.shape == (2, 2, 6, 16, 4)
    for i, rate in enumerate(rates):
        for seed, quality in enumerate(paths):
            alone = base.members([0, 1, 2, 3])
            same = train_lakes("sft", lakes, alone, keep=keep, demonstrations=paths[quality], learning_rate=rate, **options)
            np.testing.assert_allclose(found[:, :, 2 * i + seed], same[:, :, seed], atol=1e-4)
            assert np.abs(found[1, :, 2 * i + seed] - found[0, :, 2 * i + seed]).max() > rate / 2


def test_an_embedding_that_is_frozen_is_a_first_layer_that_stays():
    """The authors' code takes both embeddings from a frozen table. With tiles for tokens that table is the first layer: a
    policy split behind it, run on detached embeddings, learns what ours does when its first layer asks for no gradient; and
    run on live ones, what ours does anyway."""

    class Embedding(MLPPolicy):
        def embed(self, states):
            return super().embed(states) @ self.w1[:, None] if states.ndim > 2 else super().embed(states) @ self.w1

        def logits(self, embeddings):
            bias = [b.reshape(len(b), *[1] * (embeddings.ndim - 2), -1) for b in (self.b1, self.b2)]
            return (torch.tanh(embeddings + bias[0]).flatten(1, -2) @ self.w2).reshape(*embeddings.shape[:-1], -1) + bias[1]

    lake = TabularMDP.from_map(LAKES["4x4"])
    shown = demonstrations(lake)
    for frozen in (True, False):
        ours = make_base("mixture", lake, hidden=8)
        ours.w1.requires_grad_(not frozen)
        theirs = Embedding(16, 4, 1, hidden=8)
        theirs.load_state_dict(ours.state_dict())
        logits = {}
        for policy in (ours, theirs):
            true = policy.embed(shown.states[None])
            with torch.no_grad():
                first = policy.logits(true)
            leads = torch.tensor(lake.next_state[..., 0])[shown.states[None]].gather(-1, first.argmax(-1, keepdim=True))[..., 0]
            mixed = mix(*(policy.embed(x) for x in (shown.states[None], leads)), shown.mask[None], 0.3)
            logits[policy] = policy.logits(mixed.detach() if policy is theirs and frozen else mixed)
            torch.log_softmax(logits[policy], -1).gather(-1, shown.actions[None, ..., None]).sum().backward()
        torch.testing.assert_close(logits[ours], logits[theirs])
        for name, parameter in ours.named_parameters():
            grad = dict(theirs.named_parameters())[name].grad
            assert (parameter.grad is None) == (grad is None) == (frozen and name == "w1")
            if grad is not None:
                torch.testing.assert_close(parameter.grad, grad)


def test_on_many_lakes_one_that_diverges_leaves_the_others_alone():
    lakes = [TabularMDP.from_map(LAKES["4x4"]), TabularMDP.from_map(LAKES["two-paths"])]
    shown, pairs = [demonstrations(lake) for lake in lakes], [preference_pairs(lake) for lake in lakes]
    base = make_base("mixture", lakes, policy="tabular")
    with torch.no_grad():
        base.theta[0] = float("nan")
    found = train_lakes("sft", lakes, base, keep=(0, 300), demonstrations=shown, preferences=pairs)
    assert np.isnan(found[1, 0]).all() and np.isfinite(found[:, 1]).all()
    assert float(found[1, 1, 0, 0].max()) > 0.9


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ppo", {"walkers": 6, "segment": 5}),
        ("ppo", {"walkers": 6, "segment": 5, "reward": "preference", "pairs": 200}),
        ("grpo", {"walkers": 8, "group": 4}),
        ("dpo_online", {}),
        ("dagger", {"walkers": 6, "every": 2}),
        ("distill", {"walkers": 6}),
        ("spin", {"every": 4}),
        ("dpo_judged", {"walkers": 16}),
        ("luffy", {"walkers": 16}),
        ("hpt", {"walkers": 16}),
    ],
)
def test_methods_that_walk_train_on_many_lakes_as_on_each_by_itself(method, options):
    """Three lakes of which the first is deterministic, so that it has fewer outcomes; member i draws from seed + i."""
    rates = (None, 0.8, 1 / 3)
    lakes = [
        TabularMDP.from_map(random_map(4, seed=s, frozen=0.9), is_slippery=rate is not None, success_rate=rate or 1)
        for s, rate in enumerate(rates)
    ]
    shown = [demonstrations(lake, 12) for lake in lakes]
    pairs = [preference_pairs(lake, 12) for lake in lakes]
    base = make_base("mixture", lakes, policy="tabular", seeds=2, seed=5)
    together = train_lakes(method, lakes, base, keep=(0, 8), seed=3, demonstrations=shown, preferences=pairs, **options)
    moved = np.abs(together[1] - together[0]).max((-1, -2, -3))
    assert (moved > 0.01).all(), "the policies of every lake learn"
    for i, lake in enumerate(lakes):
        alone = make_base("mixture", lake, policy="tabular", seeds=2, seed=5 + 2 * i)
        own = train(
            method, lake, alone, seed=3 + 2 * i, steps=8, snapshots=2, demonstrations=shown[i], preferences=pairs[i], **options
        )
        np.testing.assert_allclose(together[1, i], own.final, atol=2e-3)


def test_many_lakes_refuse_what_they_cannot_share():
    lakes = [TabularMDP.from_map(LAKES["4x4"])] * 2
    shown, pairs = [demonstrations(lake) for lake in lakes], [preference_pairs(lake) for lake in lakes]
    data = {"keep": (1,), "demonstrations": shown, "preferences": pairs}
    limited = [replace(lakes[0], horizon=limit) for limit in (20, 30)]
    with pytest.raises(ValueError, match="horizons of the lakes are 20, 30; allowed at once: lakes that share them"):
        train_lakes("ppo", limited, make_base("uniform", lakes), **data)
    train_lakes("sft", limited, make_base("uniform", lakes), **data)  # nobody walks
    discounts = [replace(lakes[0], discount=discount) for discount in (0.9, 1.0)]
    with pytest.raises(ValueError, match=r"discounts of the lakes are 0.9, 1.0; allowed at once: lakes that share one"):
        train_lakes("sft", discounts, make_base("uniform", lakes), **data)
    with pytest.raises(ValueError, match="a multiple of the 2 lakes"):
        train_lakes("sft", lakes, make_base("uniform", lakes[0], seeds=3), **data)


def test_who_needs_no_pairs_trains_where_none_can_be_had():
    """On a slippery plank between holes nobody arrives, so that all episodes return the same."""
    mdp = TabularMDP.from_map(("H" * 60, "S" + "F" * 58 + "G", "H" * 60), is_slippery=True)
    run = train("sft", mdp, make_base("uniform", mdp, policy="tabular"), steps=5, snapshots=2)
    assert not len(run.rejected) and not len(preference_pairs(mdp, 16, needed=False)[0].states)
    assert "chosen_logp" not in run.metrics
    assert run.policies[-1].max() > 0.25
    with pytest.raises(ValueError, match="only 0 of"):
        train("dpo", mdp, make_base("uniform", mdp, policy="tabular"), steps=5)
