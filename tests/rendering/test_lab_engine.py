"""The second implementation, in JavaScript, is held to the first: losses, the oracle, data, and fifty updates of a method."""

import json
import re
from importlib.resources import files

import numpy as np
import pytest
import torch

from ift_gridworld.data import Walkers, best_path, detour, generators, preference_pairs
from ift_gridworld.data import demonstrations as demonstrate
from ift_gridworld.envs import LAKES
from ift_gridworld.evaluation.metrics import measure
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.methods import METHODS
from ift_gridworld.methods.source import LakeSource
from ift_gridworld.optimisation import OPTIMISERS, descend
from ift_gridworld.planning import (
    episodes_within,
    evaluate_policy,
    optimal_policy,
    optimal_values,
    soft_value_iteration,
)
from ift_gridworld.policies.lake import MLPPolicy, TabularPolicy
from ift_gridworld.rendering.modules import joined_modules

MODULES = ("training", "paths", "losses", "planning", "mdp", "random", "policy", "optimiser", "ppo", "methods")


class Engine:
    """The modules in a browser."""

    def __init__(self, page, script):
        self.page = page
        page.set_content("<title>engine</title>")
        page.add_script_tag(content=f"{script}\nwindow.modules = modules;")

    def run(self, body, **values):
        """Return what the body of a function of `values` returns; typed arrays come back as lists."""
        listed = "(key, x) => ArrayBuffer.isView(x) ? Array.from(x) : typeof x === 'number' && !isFinite(x) ? String(x) : x"
        code = f"(values) => {{ {body} }}"
        text = self.page.evaluate(f"(values) => JSON.stringify(({code})(values), {listed})", values)
        return json.loads(text)


@pytest.fixture(autouse=True)
def in_double_precision():
    """The package's methods write some constants in torch's default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def engine(chromium):
    page = chromium.new_page()
    page.set_default_timeout(120_000)  # a busy machine takes its time
    yield Engine(page, joined_modules(*MODULES))
    page.close()


# ---- losses ----

IMITATION = """
const { decay, propagation, norm, detach } = values;
return values.logp.map((row, i) => modules.losses.iftLoss(row, values.mask[i], { decay, propagation, norm, detach }));
"""
PAIRS = """
const loss = modules.losses[values.loss];
return values.arguments[0].map((_, i) => loss(...values.arguments.map((column) => column[i]), values.options));
"""


def worst(got, expected):
    return float(np.abs(np.asarray(got, float) - np.asarray(expected, float)).max())


def imitation_errors(engine, case):
    """Largest differences from a reference case of IFT: value, gradient, gradient with constant weights."""
    expect, rows = case["expect"], len(case["logp"])
    options = {"decay": case["args"].get("gamma", 1.0), "norm": case["args"].get("norm", "L1"), "propagation": "released"}
    if case["loss"] == "ift_equation21":
        options["propagation"] = "equation21"
    yield_ = []
    for detach, name in ((False, "grad"), (True, "grad_detached_weights")):
        if name not in expect:
            continue
        result = engine.run(IMITATION, logp=case["logp"], mask=case["mask"], detach=detach, **options)
        yield_.append(worst([r["value"] for r in result], expect["per_sequence"]))
        yield_.append(worst([np.array(r["gradient"]) / rows for r in result], expect[name]))  # of the mean over rows
    return yield_


def pair_errors(engine, case):
    name = {"dpo": "dpoLoss", "ipo": "ipoLoss", "orpo": "orpoLoss", "simpo": "simpoLoss"}[case["loss"]]
    keys = ["chosen_logp", "rejected_logp", "reference_chosen_logp", "reference_rejected_logp"]
    if case["loss"] in ("orpo", "simpo"):
        keys = ["chosen_mean_logp", "rejected_mean_logp"]
    arguments, options = [case[key] for key in keys], dict(case["args"])
    options["smoothing"] = options.pop("label_smoothing", 0)
    options["referenceFree"] = options.pop("reference_free", False)
    result = engine.run(PAIRS, loss=name, arguments=arguments, options=options)
    expect, pairs = case["expect"], len(arguments[0])
    yield worst([r["value"] for r in result], expect["per_pair"])
    yield worst([r["chosen"] / pairs for r in result], expect["grad_chosen"])
    yield worst([r["rejected"] / pairs for r in result], expect["grad_rejected"])


def token_errors(engine, case):
    """Of TDPO, whose loss depends on both answers' KL from the reference, too."""
    keys = ("chosen_margin", "rejected_margin", "chosen_kl", "rejected_kl")
    arguments = [case[key] for key in keys]
    result = engine.run(PAIRS, loss="tdpoLoss", arguments=arguments, options=case["args"])
    yield worst([r["value"] for r in result], case["expect"]["per_pair"])
    for name, expected in zip(("chosen", "rejected", "chosenKL", "rejectedKL"), case["expect"]["grads"], strict=True):
        yield worst([r[name] / len(result) for r in result], expected)


def on_policy_errors(engine, case):
    if case["loss"] == "gae":
        value = [*case["value"]]
        got = engine.run(
            "return modules.losses.generalizedAdvantage(values.reward, values.value, values.discount, values.lam)",
            reward=case["reward"], value=value, discount=case["discount"], lam=case["args"]["lam"],
        )  # fmt: skip
        yield worst(got, case["expect"]["advantage"])
        return
    ratio = np.array(case["ratio"])
    result = engine.run(
        "return values.logp.map((x, i) => modules.losses.ppoClipLoss(x, 0, values.advantage[i], values.clip))",
        logp=np.log(ratio).tolist(), advantage=case["advantage"], clip=case["args"]["clip"],
    )  # fmt: skip
    yield abs(np.mean([r["value"] for r in result]) - case["expect"]["loss"])
    yield worst(np.array([r["gradient"] for r in result]) / len(ratio) / ratio, case["expect"]["grad_ratio"])


def case_errors(engine, case):
    if case["loss"].startswith("ift"):
        return imitation_errors(engine, case)
    if case["loss"] == "tdpo":
        return token_errors(engine, case)
    return on_policy_errors(engine, case) if case["loss"] in ("gae", "ppo_clip") else pair_errors(engine, case)


LOSSES = ("sft", "ift", "ift_equation21", "dpo", "ipo", "orpo", "simpo", "tdpo", "gae", "ppo_clip")
REFERENCE = json.loads(files("ift_gridworld.testing").joinpath("loss_values.json").read_text(encoding="utf-8"))
CASES = [case for case in REFERENCE if case["loss"] in LOSSES]  # those that the lab offers


@pytest.mark.parametrize("case", CASES, ids=[f"{case['loss']}-{i}" for i, case in enumerate(CASES)])
def test_losses_agree_with_the_reference_numbers(engine, case):
    errors = list(case_errors(engine, case))
    assert errors and max(errors) < 1e-10


# ---- the oracle ----

LAKE = "const lake = new modules.mdp.Lake(values.rows, { slip: values.slip, discount: values.discount });"
ORACLE = f"""
{LAKE}
const {{ value, q }} = modules.planning.optimalValues(lake);
const policy = Float64Array.from(values.policy);
return {{
  value, q, optimal: modules.planning.optimalPolicy(lake, q), horizon: lake.horizon,
  own: modules.planning.evaluatePolicy(lake, policy), episodes: modules.planning.episodesWithin(lake, policy),
  discounted: modules.planning.discountedVisits(lake, policy),
  soft: modules.planning.softOptimal(lake, policy, values.beta),
}};
"""


def random_lake(number):
    """A lake with a way to the goal, its slip, and a policy to evaluate."""
    rng = np.random.default_rng(number)
    height, width = rng.integers(3, 9, 2)
    while True:
        letters = rng.choice(list("FH"), (height, width), p=[0.75, 0.25])
        start, goal = rng.choice(height * width, 2, replace=False)
        letters.ravel()[start], letters.ravel()[goal] = "S", "G"
        rows = ["".join(row) for row in letters]
        try:
            TabularMDP.from_map(rows)
        except ValueError:  # no way leads to the goal
            continue
        break
    slip = float(rng.choice([0, 0.1, 1 / 3, 2 / 3]))
    mdp = TabularMDP.from_map(rows, is_slippery=slip > 0, success_rate=1 - slip, discount=float(rng.choice([0.9, 0.99])))
    policy = rng.dirichlet(np.full(4, 0.5), mdp.num_states)
    return mdp, rows, slip, policy


def oracle_error(engine, number):
    mdp, rows, slip, policy = random_lake(number)
    beta = float(np.random.default_rng(number).choice([0.01, 0.1, 1.0]))
    got = engine.run(ORACLE, rows=rows, slip=slip, discount=mdp.discount, policy=policy.ravel().tolist(), beta=beta)
    value, q = optimal_values(mdp)
    steps, visits, success = episodes_within(mdp, policy, mdp.horizon)
    soft_value, soft_policy = soft_value_iteration(mdp, policy, beta)
    walking = ~mdp.terminal
    discounted = np.linalg.solve(
        np.eye(mdp.num_states)
        - mdp.discount * np.einsum("sa,sat->ts", policy, mdp.scatter(mdp.probability * ~mdp.terminated)) * walking,
        mdp.start,
    )
    assert got["horizon"] == mdp.horizon
    return max(
        worst(got["value"], value), worst(got["q"], q.ravel()), worst(got["own"], evaluate_policy(mdp, policy)),
        worst(got["optimal"], optimal_policy(mdp).ravel()), worst(got["episodes"]["visits"], visits),
        worst(got["episodes"]["steps"], steps), abs(got["episodes"]["success"] - success),
        worst(np.array(got["discounted"])[walking], discounted[walking]), worst(got["soft"]["value"], soft_value),
        worst(np.array(got["soft"]["policy"]).reshape(-1, 4)[walking], soft_policy[walking]),
    )  # fmt: skip


@pytest.mark.parametrize("number", range(50))
def test_the_oracle_agrees_with_planning(engine, number):
    assert oracle_error(engine, number) < 1e-9


@pytest.mark.parametrize("number", range(30))
def test_paths_are_those_of_the_package(engine, number):
    _, rows, _, _ = random_lake(number)
    mdp = TabularMDP.from_map(rows)
    got = engine.run(
        f"{LAKE} return [modules.paths.bestPath(lake), modules.paths.detour(lake)].map((path) => path && path.actions)",
        rows=rows, slip=0, discount=0.99,
    )  # fmt: skip
    assert got[0] == best_path(mdp)
    try:
        assert got[1] == detour(mdp)
    except ValueError:
        assert got[1] is None


# ---- fifty updates ----

SETTINGS = {
    "sft": ("sft", {}, {}),
    "ift": ("ift", {}, {}),
    "ift-expected": ("ift", {"prediction": "expected", "mixing": 0.5}, {}),
    "ift-likeliest": ("ift", {"outcome": "likeliest", "norm": "L2", "decay": 0.5}, {}),
    "ift-algorithm1": ("ift", {"propagation": "algorithm1"}, {}),
    "ift-equation21": ("ift", {"propagation": "equation21", "decay": 0.9}, {}),
    "ift-none": ("ift", {"propagation": "none"}, {}),
    "ift-detached": ("ift", {"detach_weights": True, "norm": "softmax"}, {"detach": True, "norm": "softmax"}),
    "dpo": ("dpo", {"label_smoothing": 0.1}, {"smoothing": 0.1}),
    "tdpo": ("tdpo", {"alpha": 0.7}, {}),
    "tdpo-1": ("tdpo", {"version": 1}, {}),
    "ipo": ("ipo", {}, {}),
    "orpo": ("orpo", {}, {}),
    "simpo": ("simpo", {}, {}),
    "ppo": ("ppo", {"walkers": 8, "segment": 16, "entropy_bonus": 0.01}, {"walkers": 8, "segment": 16, "entropy": 0.01}),
}
TRAIN = f"""
{LAKE}
const Policy = modules.policy.POLICIES[values.policy];
const built = (weights, outputs) => values.policy === "table"
  ? new Policy(lake.states, outputs, Float64Array.from(weights[0]))
  : new Policy(lake.states, outputs, weights[1].length, weights.map((w) => Float64Array.from(w)));
const base = built(values.weights, lake.actions);
let next = 0;
const draws = {{ next: () => values.draws[next++] }};
const data = {{ ...values.data, draws, critic: values.critic && built(values.critic, 1) }};
const Method = modules.training.METHODS[values.method];
const policy = base.clone();
const method = new Method(lake, policy, data, values.options);
const optimiser = new modules.optimiser.OPTIMISERS[values.optimiser](method.groups, values.rate);
const losses = [];
for (let update = 0; update < values.updates; update++) {{
  losses.push(method.step());
  optimiser.step(method.maxNorm);
}}
const distribution = policy.distribution();
const references = modules.training.referencesOf(lake, base);
return {{ losses, distribution, measured: modules.training.measure(lake, distribution, references, data) }};
"""


def answers(trajectories):
    return [
        {"states": s[m].tolist(), "actions": a[m].tolist()}
        for s, a, m in zip(trajectories.states, trajectories.actions, trajectories.mask, strict=True)
    ]


def weights_of(policy):
    return [p.detach()[0].reshape(-1).tolist() for p in policy.parameters()]


def training_error(engine, setting, kind, slip, optimiser="adam", monkeypatch=None):
    """Largest difference of policies, losses and measurements after fifty updates of both implementations."""
    name, options, script_options = SETTINGS[setting]
    # Where both answers share a step, TDPO's gradients cancel to rounding, which Adam makes steps of: two paths share none.
    rows_of_map = LAKES["two-paths" if name == "tdpo" else "4x4"]
    mdp = TabularMDP.from_map(rows_of_map, is_slippery=slip > 0, success_rate=1 - slip)
    policy = (MLPPolicy(16, 4, hidden=8) if kind == "network" else TabularPolicy(16, 4)).double()
    policy.initialise(generators(3, 1))
    rows = 1 if slip == 0 else 5
    shown = demonstrate(mdp, rows)
    chosen, rejected = preference_pairs(mdp, rows)
    source = LakeSource(mdp, shown[None], chosen[None], rejected[None], generators(11, 1))
    weights, base, drawn = weights_of(policy), policy.probabilities()[0], []
    if monkeypatch is not None:
        draws = Walkers._draws
        monkeypatch.setattr(Walkers, "_draws", lambda self, steps: drawn.append(draws(self, steps)) or drawn[-1])
    kind_of_method = METHODS[name]
    method = kind_of_method(source, policy, kind_of_method.options_type(**options))
    critic = None
    if name == "ppo":
        method.critic.double()
        critic = weights_of(method.critic)
    rate = 0.05
    step = OPTIMISERS[optimiser](method.parameters(), rate)
    updates = range(50)
    losses = [
        float(loss)
        for _, loss in descend(lambda u: method.loss(method.batch(u)), lambda: step.step(method.max_grad_norm), updates)
    ]
    final = policy.probabilities()[0]
    measured = measure(mdp, final, base=base, chosen=chosen, rejected=rejected)
    got = engine.run(
        TRAIN, rows=rows_of_map, slip=slip, discount=mdp.discount, policy=kind, weights=weights, critic=critic, method=name,
        options={**options, **script_options}, optimiser=optimiser, rate=rate, updates=len(updates),
        draws=[row for block in drawn for row in block[0].tolist()],
        data={"demonstrations": answers(shown), "chosen": answers(chosen), "rejected": answers(rejected)},
    )  # fmt: skip
    names = {"success": "success", "return": "return", "regret": "regret", "distance": "distance", "kl": "kl",
             "chosen": "chosen_logp", "rejected": "rejected_logp"}  # fmt: skip
    return max(
        worst(got["distribution"], final.ravel()), worst(got["losses"], losses),
        worst([got["measured"][key] for key in names], [float(measured[key]) for key in names.values()]),
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["table", "network"])
@pytest.mark.parametrize("slip", [0.0, 2 / 3], ids=["deterministic", "slippery"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_fifty_updates_agree_with_the_packages_loop(engine, setting, kind, slip, monkeypatch):
    assert training_error(engine, setting, kind, slip, monkeypatch=monkeypatch) < 1e-8


def test_rmsprop_agrees_too(engine):
    assert training_error(engine, "ift", "network", 0.0, "rmsprop") < 1e-8


def test_the_mixture_base_is_cloned_as_the_packages(engine):
    from ift_gridworld.training.base_policies import _clone

    mdp = TabularMDP.from_map(LAKES["4x4"])
    policy = MLPPolicy(16, 4, hidden=8).double()
    policy.initialise(generators(3, 1))
    weights = weights_of(policy)
    both = demonstrate(mdp), demonstrate(mdp, quality="suboptimal")
    _clone(policy, [both], (0.5, 0.5), 0.3)
    got = engine.run(
        f"{LAKE} const base = new modules.policy.Network(lake.states, 4, 8, values.weights.map((w) => Float64Array.from(w)));"
        "modules.training.clone(base, lake, values.answers, [0.5, 0.5], 0.3); return base.distribution();",
        rows=LAKES["4x4"], slip=0, discount=0.99, weights=weights, answers=[answers(side) for side in both],
    )  # fmt: skip
    assert worst(got, policy.probabilities()[0].ravel()) < 1e-8


# ---- exact advantages, which the package's PPO estimates ----


def test_exact_advantages_follow_the_gradient_of_the_objective(engine):
    """∂/∂logits of J = E[Σ γ^t (r - β log π/π_ref)], by finite differences of the package's own evaluation, at π = π_ref."""
    mdp = TabularMDP.from_map(LAKES["4x4"], is_slippery=True)
    theta, beta = np.random.default_rng(0).normal(size=(16, 4)), 0.05
    reference = np.random.default_rng(1).normal(size=(16, 4))

    def objective(theta):
        policy, other = (np.exp(x) / np.exp(x).sum(-1, keepdims=True) for x in (theta, reference))
        reward = (policy * (mdp.expected_reward - beta * np.log(policy / other))).sum(-1) * ~mdp.terminal
        onward = np.einsum("sa,sat->st", policy, mdp.scatter(mdp.probability * ~mdp.terminated))
        return np.linalg.solve(np.eye(16) - mdp.discount * onward, reward) @ mdp.start

    slope = np.zeros((16, 4))
    for index in np.ndindex(16, 4):
        step = np.zeros((16, 4))
        step[index] = 1e-5
        slope[index] = (objective(theta + step) - objective(theta - step)) / 2e-5
    got = engine.run(
        f"{LAKE} const policy = new modules.policy.Table(16, 4, Float64Array.from(values.reference));"
        "const method = new modules.ppo.ExactPPO(lake, policy, {}, { beta: values.beta });"
        "policy.parameters[0].set(values.theta); method.step(); return policy.gradient[0];",
        rows=LAKES["4x4"], slip=2 / 3, discount=mdp.discount, beta=beta, theta=theta.ravel().tolist(),
        reference=reference.ravel().tolist(),
    )  # fmt: skip
    ratio = -np.array(got)[np.abs(slope.ravel()) > 1e-6] / slope.ravel()[np.abs(slope.ravel()) > 1e-6]
    assert ratio.min() > 0 and np.ptp(ratio) < 1e-5 * ratio.mean()  # the same direction: only the scale is PPO's own


def test_exact_ppo_approaches_the_soft_optimal_policy(engine):
    got = engine.run(
        f"{LAKE} const base = new modules.policy.Table(16, 4);"
        "const learner = new modules.training.Learner('ppo_exact', lake, base, {}, { beta: 0.1, rate: 0.03 });"
        "for (let i = 0; i < 2000; i++) learner.update();"
        "return learner.policy.distribution();",
        rows=LAKES["4x4"], slip=0, discount=0.99,
    )  # fmt: skip
    mdp = TabularMDP.from_map(LAKES["4x4"])
    _, soft = soft_value_iteration(mdp, np.full((16, 4), 0.25), 0.1)
    weight = episodes_within(mdp, soft, mdp.horizon)[0]
    gap = np.abs(np.array(got).reshape(16, 4) - soft).max(-1)
    assert (gap * weight).sum() / weight.sum() < 0.02


# ---- wrong signs are caught ----

MUTANTS = {
    "log-sigmoid": ("losses", "Math.min(x, 0) - Math.log1p", "Math.min(x, 0) + Math.log1p"),
    "pair-slope": ("losses", "({ value, chosen: slope, rejected: -slope })", "({ value, chosen: slope, rejected: slope })"),
    "ipo-target": ("losses", "- 1 / (2 * beta)", "+ 1 / (2 * beta)"),
    "orpo-odds": ("losses", "c - r - (log1mexp(c) - log1mexp(r))", "c - r + (log1mexp(c) - log1mexp(r))"),
    "tdpo-penalty": ("losses", "weight * (klR - klC)", "weight * (klR + klC)"),
    "simpo-margin": ("losses", "beta * (c - r) - gamma", "beta * (c - r) + gamma"),
    "weights-gradient": ("losses", "x * (loss[t] - value)", "x * (loss[t] + value)"),
    "advantage": ("losses", "discount[t] * value[t + 1] - value[t]", "discount[t] * value[t + 1] + value[t]"),
    "clip": (
        "losses",
        "-(advantage >= 0 ? 1 + clip : 1 - clip) * advantage",
        "(advantage >= 0 ? 1 + clip : 1 - clip) * advantage",
    ),
    "tanh-slope": ("policy", "(1 - unit * unit) * sum", "(1 + unit * unit) * sum"),
    "softmax-push": ("policy", "(a === action ? 1 : 0) - Math.exp", "(a === action ? 1 : 0) + Math.exp"),
    "adam-moment": ("optimiser", "first[i] += (gradient[i] - first[i]) * 0.1", "first[i] += (gradient[i] + first[i]) * 0.1"),
    "mixing": ("methods", "1 - this.options.mixing : 1", "1 + this.options.mixing : 1"),
    "kl-price": ("ppo", "step.reward - beta *", "step.reward + beta *"),
    "entropy": ("ppo", "entropy -= Math.exp(table[i]) * table[i]", "entropy += Math.exp(table[i]) * table[i]"),
    "slip": ("mdp", "(a + k + 3) % 4", "(a + k + 1) % 4"),
    "bellman": ("planning", "lake.discount * value[lake.next[slot]]", "-lake.discount * value[lake.next[slot]]"),
    "evaluation": ("planning", "-factor * x", "factor * x"),
    "soft": ("planning", "top + beta * Math.log1p(sum)", "top - beta * Math.log1p(sum)"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_sign_is_caught(chromium, mutant, monkeypatch):
    module, right, wrong = MUTANTS[mutant]
    script = joined_modules(*MODULES)
    body = re.search(rf"modules\.{module} = \(\(\) => \{{\n.*?\n\}}\)\(\);\n", script, re.DOTALL)[0]
    assert body.count(right) == 1, "the text of the mutant is out of date"
    page = chromium.new_page()
    page.set_default_timeout(120_000)  # a busy machine takes its time
    engine = Engine(page, script.replace(body, body.replace(right, wrong)))
    try:
        assert _is_caught(engine, monkeypatch)
    finally:
        page.close()


def _is_caught(engine, monkeypatch):
    checks = [lambda case=case: max(case_errors(engine, case)) for case in CASES]
    checks += [lambda number=number: oracle_error(engine, number) for number in range(3)]
    for setting in ("ift", "ppo"):
        checks.append(lambda setting=setting: training_error(engine, setting, "network", 2 / 3, monkeypatch=monkeypatch))
    for check in checks:
        try:
            error = check()
        except Exception:  # such as a loop that never converges
            return True
        if not error < 1e-8:
            return True
    return False
