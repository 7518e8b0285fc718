"""What all losses share: masks, precision, extreme inputs, defaults, errors.

Each family has tests of its own beside this file; `test_reference_values.py` compares with the original implementations.
"""

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from loss_inputs import MASK, close, draw, gradient, log_probs, with_gradients

from ift_gridworld import losses
from ift_gridworld.losses import (
    bradley_terry_loss,
    cal_dpo_loss,
    chi_po_loss,
    cpo_loss,
    dft_loss,
    dpo_loss,
    generalized_advantage_estimate,
    generalized_jsd_loss,
    group_policy_loss,
    group_relative_advantage,
    ift_loss,
    ipo_loss,
    kl_estimate,
    kto_loss,
    leave_one_out_advantage,
    orpo_loss,
    ppo_clip_loss,
    preference_loss,
    relation_weights,
    sft_loss,
    simpo_loss,
    tdpo_loss,
    value_loss,
)

SEQUENCE_LOSSES = {
    "sft": sft_loss,
    "dft": dft_loss,
    **{f"released {n}": lambda logp, mask, n=n: ift_loss(logp, mask, norm=n) for n in losses.NORMS},
    "released detached": lambda logp, mask: ift_loss(logp, mask, detach_weights=True),
    "released decay 0": lambda logp, mask: ift_loss(logp, mask, decay=0.0),
    "algorithm1": lambda logp, mask: ift_loss(logp, mask, propagation="algorithm1"),
    "equation21": lambda logp, mask: ift_loss(logp, mask, propagation="equation21"),
    "none": lambda logp, mask: ift_loss(logp, mask, propagation="none"),
}
SEQUENCE = pytest.mark.parametrize("loss", SEQUENCE_LOSSES.values(), ids=SEQUENCE_LOSSES)


# ---- losses over steps ----


@SEQUENCE
def test_rows_are_independent_and_padding_changes_nothing(loss):
    logp = log_probs(2, *MASK.shape)
    together = loss(logp, MASK)
    assert together.shape == (2, len(MASK))
    for n, b in np.ndindex(2, len(MASK)):
        padded = torch.cat([logp[n, b], log_probs(3)]), torch.cat([MASK[b], torch.zeros(3, dtype=torch.bool)])
        close(loss(*padded), together[n, b])
        before = torch.cat([log_probs(3), logp[n, b]]), torch.cat([torch.zeros(3, dtype=torch.bool), MASK[b]])
        close(loss(*before), together[n, b])


@SEQUENCE
@pytest.mark.parametrize("junk", [float("nan"), float("-inf"), float("inf")])
def test_what_does_not_count_touches_neither_value_nor_gradient(loss, junk):
    """The last row counts nothing at all: its loss is 0, its gradient too."""
    results = []
    for filler in (-1.0, junk):
        logp = torch.where(MASK, log_probs(*MASK.shape), filler).requires_grad_()
        value = loss(logp, MASK)
        results.append((value, gradient(value.sum(), logp)[0]))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)
    value, grad = results[0]
    assert value[-1] == 0 and not grad[~MASK].any() and grad[:4].any(-1).all()


@SEQUENCE
def test_sequences_of_length_one(loss):
    """A single step has weight 1, whatever the normalisation: its loss is l, l² in algorithm 1, or p l in DFT."""
    logp = log_probs(4, 1)
    power = 2 if loss is SEQUENCE_LOSSES["algorithm1"] else 1
    weight = logp[:, 0].exp() if loss is dft_loss else 1
    close(loss(logp, torch.ones(4, 1, dtype=torch.bool)), weight * (-logp[:, 0]) ** power)


@SEQUENCE
def test_gradcheck_of_losses_over_steps(loss):
    if loss in (SEQUENCE_LOSSES["released detached"], dft_loss):  # held to formulas; a difference quotient sees through detach
        loss = SEQUENCE_LOSSES["released L1"]
    assert torch.autograd.gradcheck(lambda x: loss(x, MASK), log_probs(*MASK.shape, grad=True))


@SEQUENCE
def test_a_batch_is_its_parts_accumulated_by_sequence(loss):
    """mean over 5 rows = 2/5 mean over the first 2 + 3/5 mean over the last 3, and so are the gradients."""
    logp = log_probs(*MASK.shape, grad=True)
    whole = loss(logp, MASK).mean()
    parts = [len(rows) / 5 * loss(logp[rows], MASK[rows]).mean() for rows in ([0, 1], [2, 3, 4])]
    close(sum(parts), whole)
    close(sum(gradient(part, logp)[0] for part in parts), gradient(whole, logp)[0])


# ---- losses over pairs, and all of them ----

PAIR_LOSSES = {  # inputs, all at least 0.05 below 0
    "dpo": (4, lambda *x: dpo_loss(*x, label_smoothing=0.1)),
    "ipo": (4, ipo_loss),
    "orpo": (2, orpo_loss),
    "simpo": (2, simpo_loss),
    "tdpo1": (4, lambda *x: tdpo_loss(*x, version=1)),
    "tdpo2": (4, lambda c, r, kc, kr: tdpo_loss(c, r, kc.detach(), kr)),
    "chi_po": (4, chi_po_loss),
    "cal_dpo": (4, cal_dpo_loss),
    **{kind: (4, partial(preference_loss, kind=kind)) for kind in losses.PREFERENCE_KINDS if kind != "exo"},
    "exo": (4, partial(preference_loss, kind="exo", label_smoothing=0.1)),
    "robust noisy": (4, partial(preference_loss, kind="robust", label_smoothing=0.1)),
    "sigmoid smoothed": (4, partial(preference_loss, kind="sigmoid", label_smoothing=0.1)),
    "cpo": (2, lambda *x: cpo_loss(*x, label_smoothing=0.1)),
    "kto": (2, lambda *x: kto_loss(*x, x[0] > x[1], torch.tensor(0.0))),
    "bradley_terry": (2, bradley_terry_loss),
    "k1": (2, lambda *x: kl_estimate(*x, kind="k1")),
    "k2": (2, lambda *x: kl_estimate(*x, kind="k2")),
    "k3": (2, lambda *x: kl_estimate(*x, kind="k3")),
}
PAIRS = pytest.mark.parametrize(("count", "loss"), PAIR_LOSSES.values(), ids=PAIR_LOSSES)


@PAIRS
def test_gradcheck_of_losses_over_pairs(count, loss):
    inputs = [log_probs(2, 3, seed=i, grad=True) for i in range(count)]
    if loss is PAIR_LOSSES["tdpo2"][1]:
        inputs[2].requires_grad_(False)  # the stopped one
    assert torch.autograd.gradcheck(loss, inputs)


@PAIRS
def test_pairs_are_independent(count, loss):
    inputs = [log_probs(2, 3, seed=i) for i in range(count)]
    together = loss(*inputs)
    assert together.shape == (2, 3)
    for i in np.ndindex(2, 3):
        close(loss(*(x[i] for x in inputs)), together[i])


@PAIRS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_whichever_input_has_the_dimensions(count, loss, dtype):
    """Beside a tensor with dimensions a number's format does not count: half - float32 number = half. So each is raised."""
    for i in range(count):
        inputs = [(log_probs(3, seed=j) if i == j else log_probs(1, seed=j)[0]).to(dtype) for j in range(count)]
        assert loss(*inputs).dtype == torch.float32
        assert torch.equal(loss(*inputs), loss(*(x.float() for x in inputs)))


def _group_policy(logp, old_logp, mask, **options):
    """Loss of answers whose advantages are -1, 0, 1, …"""
    advantage = (torch.arange(logp.shape[-2]) - 1).to(logp).expand(logp.shape[:-1])
    return group_policy_loss(logp, old_logp, advantage, mask, clip=(0.2, 1.2), **options)


STEP_LOSSES = {  # how many inputs there are beside the mask
    **{name: (1, loss) for name, loss in SEQUENCE_LOSSES.items()},
    "relation_weights": (1, lambda logp, mask: relation_weights(logp, mask, 0.95)),
    "ppo_clip": (3, ppo_clip_loss),
    "value": (3, value_loss),
    **{
        f"group {objective} {level}": (2, partial(_group_policy, objective=objective, level=level))
        for objective, level in product(losses.OBJECTIVES, losses.RATIO_LEVELS)
    },
}
EVERY_LOSS = {  # inputs, and what is to be made of them
    **{
        name: ([log_probs(*MASK.shape, seed=i) for i in range(count)], lambda *x, f=loss: f(*x, MASK.to(x[0].device)))
        for name, (count, loss) in STEP_LOSSES.items()
    },
    **{name: ([log_probs(2, 3, seed=i) for i in range(count)], loss) for name, (count, loss) in PAIR_LOSSES.items()},
    "gae": ([draw(2, 6), draw(2, 7, seed=1), torch.full((2, 6), 0.75).double()], generalized_advantage_estimate),
    "group": ([draw(3, 4)], group_relative_advantage),
    "leave one out": ([draw(3, 4)], leave_one_out_advantage),
    "leave one out by name": ([draw(3, 4)], lambda x: leave_one_out_advantage(x, torch.tensor([0, 1, 1, 0]).to(x.device))),
    "generalized_jsd": (
        [draw(5, 6, 3), draw(5, 6, 3, seed=1)],
        lambda *x: generalized_jsd_loss(*x, MASK.to(x[0].device), beta=0.3),
    ),
}
EVERY = pytest.mark.parametrize(("inputs", "loss"), EVERY_LOSS.values(), ids=EVERY_LOSS)
STEPS = pytest.mark.parametrize(("count", "loss"), STEP_LOSSES.values(), ids=STEP_LOSSES)
PRECISIONS = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
EDGES = [0.0, -1e-9, -1e4]  # certain, all but certain, hopeless


@EVERY
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_raised_before_anything_is_computed(inputs, loss, dtype):
    """The value is the raised input's, to the last bit; the gradient too, rounded once, to the input's own format."""
    inputs = [x.to(dtype) for x in inputs]
    half, full = with_gradients(loss, inputs), with_gradients(loss, [x.float() for x in inputs])
    assert half[0].dtype == torch.float32 and torch.equal(half[0], full[0])
    for one, other in zip(half[1:], full[1:], strict=True):
        assert one.dtype == dtype and torch.equal(one, other.to(dtype))


@STEPS
@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_mask_without_leading_dimensions_serves_them_all(count, loss, dimensions):
    """[T] or [B, T] against [N, B, T] is the expanded mask."""
    mask = MASK[1] if dimensions == 1 else MASK
    inputs = [log_probs(2, *MASK.shape, seed=i) for i in range(count)]
    actual = with_gradients(lambda *x: loss(*x, mask), inputs)
    expected = with_gradients(lambda *x: loss(*x, mask.expand(2, *MASK.shape)), inputs)
    for one, other in zip(actual, expected, strict=True):
        close(one, other, atol=1e-14)


@STEPS
@PRECISIONS
def test_steps_that_are_certain_or_hopeless(count, loss, dtype):
    """Counted log-probs of 0, -1e-9 and -1e4, infinities and NaN at the others, a row that counts nothing, a single step: value
    and gradients are finite, the value is float64's to rounding, and nothing comes from what does not count."""
    nan, inf = float("nan"), float("inf")
    logp = [[nan, 0, -inf, -1e-9, -1e4, nan], [-1e4, -1e4, 0, -inf, inf, nan], [0, -1e4, -1e-9, -1e4, 0, 0], [-inf, nan] * 3]
    mask = torch.tensor([[0, 1, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0], [1] * 6, [0] * 6], dtype=torch.bool)
    for columns in (slice(None), slice(1, 2)):
        inputs = [torch.tensor(logp, dtype=dtype)[:, columns]] * count  # at the same log-probs a ratio is 1, a move 0
        counted = mask[:, columns]
        results = with_gradients(lambda *x, m=counted: loss(*x, m), inputs)
        assert all(torch.isfinite(x).all() for x in results)
        assert not any(x[~counted].any() for x in results[1:])
        assert not results[0][-1].any()
        close(results[0], loss(*(x.double() for x in inputs), counted), rtol=1e-5)


@PAIRS
@PRECISIONS
def test_pairs_that_are_certain_or_hopeless(count, loss, dtype):
    """Log-probs of 0, -1e-9 and -1e4 in every combination: value and gradients are finite, the value is float64's to rounding.
    Only k3 and χPO are not asked for e^10000, which no format holds."""
    pairs = [x for x in product(EDGES, repeat=count) if loss is not PAIR_LOSSES["k3"][1] or x[1] - x[0] < 1e3]
    if loss is chi_po_loss:
        pairs = [(c, r, c_ref, r_ref) for c, r, c_ref, r_ref in pairs if max(c - c_ref, r - r_ref) < 1e3]
    inputs = [torch.tensor(x, dtype=dtype) for x in zip(*pairs, strict=True)]
    results = with_gradients(loss, inputs)
    assert all(torch.isfinite(x).all() for x in results)
    if loss is not orpo_loss:  # at certainty its odds are infinite, and the value is each format's own smallest number's
        close(results[0], loss(*(x.double() for x in inputs)), rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@EVERY
def test_the_gpu_says_the_same(inputs, loss):
    here, there = with_gradients(loss, inputs), with_gradients(loss, [x.cuda() for x in inputs])
    for one, other in zip(here, there, strict=True):
        assert other.is_cuda
        close(other.cpu(), one, rtol=1e-10)


ROW, COUNTED = torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool)
TWO, THREE = torch.zeros(2), torch.zeros(3)
HINGE, INF = partial(preference_loss, kind="hinge"), float("inf")
KTO_DEFAULTS = {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0}
GROUP_DEFAULTS = {"clip": (0.2, 0.2), "objective": "clip", "level": "token", "average": "sequence", "max_length": None}


@pytest.mark.parametrize(
    ("loss", "count", "defaults"),
    [
        (lambda x, **k: ift_loss(x, torch.ones(3, dtype=torch.bool), **k), 1, {"decay": 0.95, "propagation": "released"}),
        (lambda x, **k: ift_loss(x, torch.ones(3, dtype=torch.bool), **k), 1, {"norm": "L1", "detach_weights": False}),
        (lambda x, **k: relation_weights(x, torch.ones(3, dtype=torch.bool), 0.95, **k), 1, {"norm": "L1"}),
        (dpo_loss, 4, {"beta": 0.1, "label_smoothing": 0.0, "reference_free": False}),
        (ipo_loss, 4, {"beta": 0.1, "reference_free": False}),
        (orpo_loss, 2, {"beta": 0.25}),
        (simpo_loss, 2, {"beta": 2.0, "gamma": 1.6}),
        (tdpo_loss, 4, {"beta": 0.1, "alpha": 0.5, "version": 2}),
        (lambda *x, **k: ppo_clip_loss(*x, torch.ones(3, dtype=torch.bool), **k), 3, {"clip": 0.2}),
        (lambda x, **k: value_loss(x, x - 1, x.detach() + 3, torch.ones(3, dtype=torch.bool), **k), 1, {"clip": 0.2}),
        (lambda r, v, g, **k: generalized_advantage_estimate(r, torch.cat([v, v[:1]]), g, **k), 3, {"lam": 0.95}),
        (group_relative_advantage, 1, {"scale": True, "epsilon": 1e-4}),
        (kl_estimate, 2, {"kind": "k3"}),
        (chi_po_loss, 4, {"beta": 0.1, "max_reward": None}),
        (cal_dpo_loss, 4, {"beta": 0.1}),
        (cpo_loss, 2, {"beta": 0.1, "label_smoothing": 0.0}),
        (partial(preference_loss, kind="robust"), 4, {"beta": 0.1, "label_smoothing": 0.0}),
        (partial(preference_loss, kind="discopop"), 4, {"beta": 0.1, "tau": 0.05}),
        (lambda c, *x, **k: preference_loss(c - 9, *x, kind="dpop", **k), 4, {"beta": 0.1, "weight": 5.0}),
        (lambda *x, **k: kto_loss(*x, torch.tensor([True, False, True]), x[1], **k), 2, KTO_DEFAULTS),
        (lambda *x, **k: generalized_jsd_loss(*(y[None] for y in x), COUNTED[0, :1], **k), 2, {"beta": 0.5}),
        (
            # Ratios above and below, one row gaining by either.
            lambda x, old, **k: group_policy_loss(
                torch.stack([x, x - 3]), torch.stack([old - 1, old]), torch.tensor([1.0, -1.0]).double(), COUNTED, **k
            ),
            2,
            GROUP_DEFAULTS,
        ),
    ],
)
def test_defaults_are_what_the_documentation_says(loss, count, defaults):
    """Values and gradients; away from the defaults, both change."""
    inputs = [log_probs(3, seed=i) for i in range(count)]
    for actual, expected in zip(
        with_gradients(loss, inputs), with_gradients(lambda *x: loss(*x, **defaults), inputs), strict=True
    ):
        assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: sft_loss(ROW, COUNTED[:, :2]), [r"(2, 3)", r"(2, 2)"]),
        (lambda: sft_loss(ROW, COUNTED[:, :1]), [r"(2, 3)", r"(2, 1)"]),
        (lambda: ift_loss(ROW, COUNTED[:, :2]), [r"(2, 3)", r"(2, 2)"]),
        (lambda: relation_weights(ROW, COUNTED[:, :2], 0.9), [r"(2, 3)", r"(2, 2)"]),
        (lambda: relation_weights(ROW, COUNTED[:, :1], 0.9), [r"(2, 3)", r"(2, 1)"]),
        (lambda: sft_loss(ROW[:, None], COUNTED), ["(2, 1, 3)", "(2, 3)"]),
        (lambda: sft_loss(torch.tensor(-1.0), torch.tensor(True)), ["logp ()", "mask ()"]),
        (lambda: sft_loss(ROW, COUNTED.float()), ["mask", "torch.float32"]),
        *(
            (lambda p=p: ift_loss(ROW, COUNTED, decay=1.5, propagation=p), ["decay", "1.5", "[0, 1]"])
            for p in ("released", "algorithm1", "equation21")
        ),
        (lambda: ift_loss(ROW, COUNTED, propagation="eq21"), ["'eq21'", *losses.PROPAGATIONS]),
        (lambda: ift_loss(ROW, COUNTED, norm="L3"), ["'L3'", *losses.NORMS]),
        *((lambda f=f: f(TWO, TWO, TWO, TWO, beta=-1), ["beta", "-1"]) for f in (dpo_loss, ipo_loss, tdpo_loss)),
        *((lambda f=f: f(TWO, TWO, beta=float("nan")), ["beta", "nan"]) for f in (orpo_loss, simpo_loss)),
        *((lambda f=f: f(TWO, THREE, TWO, TWO), ["(2,)", "(3,)"]) for f in (dpo_loss, ipo_loss, tdpo_loss)),
        *((lambda f=f: f(TWO, THREE), ["(2,)", "(3,)"]) for f in (orpo_loss, simpo_loss, bradley_terry_loss)),
        *((lambda f=f: f(TWO, TWO, TWO, TWO, beta=float("inf")), ["beta", "inf"]) for f in (dpo_loss, ipo_loss, tdpo_loss)),
        *((lambda f=f: f(TWO, TWO, beta=float("inf")), ["beta", "inf"]) for f in (orpo_loss, simpo_loss)),
        *((lambda f=f: f(TWO, TWO, beta=-1), ["beta", "-1"]) for f in (orpo_loss, simpo_loss)),
        (lambda: relation_weights(ROW, COUNTED, 1.5), ["decay", "1.5", "[0, 1]"]),
        (lambda: relation_weights(ROW, COUNTED, 0.9, "L3"), ["'L3'", *losses.NORMS]),
        (lambda: simpo_loss(TWO, TWO, gamma=float("nan")), ["gamma", "nan"]),
        (lambda: tdpo_loss(TWO, TWO, TWO, TWO, alpha=float("nan")), ["alpha", "nan"]),
        (lambda: ift_loss(ROW, COUNTED, propagation="none", decay=7), ["decay", "7"]),
        (lambda: ift_loss(ROW, COUNTED, propagation="equation21", norm="foo"), ["'foo'", *losses.NORMS]),
        # [B] beside [B, 1] broadcasts to B² pairs, silently, elsewhere.
        *((lambda f=f: f(TWO, TWO[:, None], TWO, TWO), ["(2,)", "(2, 1)"]) for f in (dpo_loss, ipo_loss, tdpo_loss)),
        *(
            (lambda f=f: f(TWO[:, None], TWO), ["(2, 1)", "(2,)"])
            for f in (orpo_loss, simpo_loss, bradley_terry_loss, kl_estimate)
        ),
        *((lambda f=f: f(ROW, ROW, ROW[:, :2], COUNTED), ["(2, 3)", "(2, 2)"]) for f in (ppo_clip_loss, value_loss)),
        *((lambda f=f: f(ROW, ROW, ROW[:, 0], COUNTED), ["(2, 3)", "(2,)"]) for f in (ppo_clip_loss, value_loss)),
        *(
            (lambda f=f: f(ROW, ROW, ROW, COUNTED.float()), ["torch.float32", "torch.bool"])
            for f in (ppo_clip_loss, value_loss)
        ),
        *((lambda e=e: dpo_loss(TWO, TWO, TWO, TWO, label_smoothing=e), ["label_smoothing", str(e)]) for e in (0.5, -0.1)),
        (lambda: tdpo_loss(TWO, TWO, TWO, TWO, version=3), ["version", "3", "1, 2"]),
        (lambda: ppo_clip_loss(ROW, ROW, ROW, COUNTED, clip=0), ["clip", "0"]),
        (lambda: value_loss(ROW, ROW, ROW, COUNTED, clip=-0.2), ["clip", "-0.2"]),
        (lambda: generalized_advantage_estimate(ROW, ROW, ROW), ["(2, 3)"]),
        (lambda: generalized_advantage_estimate(ROW, torch.zeros(2, 4), ROW, lam=2), ["lam", "2"]),
        *((lambda e=e: group_relative_advantage(ROW, epsilon=e), ["epsilon", str(e)]) for e in (0, -1e-4, float("nan"))),
        *((lambda n=n: group_relative_advantage(torch.zeros(3, n)), ["reward", f"(3, {n})"]) for n in (0, 1)),
        (lambda: group_relative_advantage(torch.tensor(1.0)), ["reward", "()"]),
        (lambda: kl_estimate(ROW, ROW, kind="k4"), ["'k4'", "k1, k2, k3"]),
        *(
            (lambda f=f, b=b: f(TWO, TWO, TWO, TWO, beta=b), ["beta", str(b)])
            for f, b in product((chi_po_loss, cal_dpo_loss, HINGE), (0, INF))
        ),
        *((lambda f=f: f(TWO, THREE, TWO, TWO), ["(2,)", "(3,)"]) for f in (chi_po_loss, cal_dpo_loss, HINGE)),
        *((lambda f=f: f(TWO, TWO[:, None], TWO, TWO), ["(2,)", "(2, 1)"]) for f in (chi_po_loss, cal_dpo_loss, HINGE)),
        *((lambda r=r: chi_po_loss(TWO, TWO, TWO, TWO, max_reward=r), ["max_reward", str(r)]) for r in (0, INF)),
        *((lambda o=o: cpo_loss(TWO, TWO, **o), [str(v) for v in o]) for o in ({"beta": 0}, {"label_smoothing": 0.5})),
        (lambda: cpo_loss(TWO, THREE), ["(2,)", "(3,)"]),
        (lambda: preference_loss(TWO, TWO, TWO, TWO, kind="hing"), ["'hing'", *losses.PREFERENCE_KINDS]),
        *(
            (
                lambda k=k, e=e: preference_loss(TWO, TWO, TWO, TWO, kind=k, label_smoothing=e),
                ["label_smoothing", str(e), allowed],
            )
            for k, e, allowed in (
                ("robust", 0.5, "[0, 0.5)"),
                ("exo", -0.1, "[0, 0.5)"),
                ("exo", 0, "(0, 0.5)"),
                ("hinge", 0.1, "with hinge: 0"),
            )
        ),
        *((lambda t=t: preference_loss(TWO, TWO, TWO, TWO, kind="discopop", tau=t), ["tau", str(t)]) for t in (0, INF)),
        *((lambda w=w: preference_loss(TWO, TWO, TWO, TWO, kind="dpop", weight=w), ["weight", str(w)]) for w in (-1, INF)),
        *((lambda b=b: kto_loss(TWO, TWO, TWO > 0, TWO, beta=b), ["beta", str(b)]) for b in (0, INF)),
        *(
            (lambda n=n, w=w: kto_loss(TWO, TWO, TWO > 0, TWO, **{n: w}), [n, str(w)])
            for n, w in product(("desirable_weight", "undesirable_weight"), (-1, INF))
        ),
        (lambda: kto_loss(TWO, TWO, TWO, TWO), ["desirable", "torch.float32"]),
        (lambda: kto_loss(TWO, THREE, TWO > 0, TWO), ["(2,)", "(3,)"]),
        (lambda: kto_loss(TWO, TWO, THREE > 0, TWO), ["(2,)", "(3,)"]),
        (lambda: kto_loss(TWO, TWO, TWO > 0, TWO[:, None]), ["(2,)", "(2, 1)"]),
        (lambda: dft_loss(ROW, COUNTED[:, :2]), ["(2, 3)", "(2, 2)"]),
        (lambda: dft_loss(ROW, COUNTED.float()), ["mask", "torch.float32"]),
        (lambda: generalized_jsd_loss(ROW, ROW, COUNTED[0, :2], beta=1.5), ["beta", "1.5", "[0, 1]"]),
        (lambda: generalized_jsd_loss(ROW, ROW[:, :2], COUNTED[0, :2]), ["(2, 3)", "(2, 2)"]),
        (lambda: generalized_jsd_loss(ROW, ROW, COUNTED[0]), ["(2, 3)", "(3, 1)"]),
        (lambda: generalized_jsd_loss(ROW, ROW, TWO), ["mask", "torch.float32"]),
        (lambda: group_policy_loss(ROW, ROW[:, :2], TWO, COUNTED), ["(2, 3)", "(2, 2)"]),
        (lambda: group_policy_loss(ROW, ROW, TWO, COUNTED[:, :1]), ["(2, 3)", "(2, 1)"]),
        (lambda: group_policy_loss(ROW, ROW, THREE, COUNTED), ["advantage (3,)", "(2,)"]),
        (lambda: group_policy_loss(ROW, ROW, ROW, COUNTED), ["advantage (2, 3)", "(2,)"]),
        (lambda: group_policy_loss(THREE, THREE, THREE[0], COUNTED[0]), ["logp", "(3,)", "[..., B, T]"]),
        (lambda: group_policy_loss(ROW, ROW, TWO, COUNTED.float()), ["mask", "torch.float32"]),
        (lambda: group_policy_loss(ROW, ROW, TWO, COUNTED, objective="ppo"), ["'ppo'", *losses.OBJECTIVES]),
        (lambda: group_policy_loss(ROW, ROW, TWO, COUNTED, level="word"), ["'word'", *losses.RATIO_LEVELS]),
        (lambda: group_policy_loss(ROW, ROW, TWO, COUNTED, average="mean"), ["'mean'", *losses.AVERAGES]),
        *((lambda c=c: group_policy_loss(ROW, ROW, TWO, COUNTED, clip=c), ["clip[", "0"]) for c in ((0, 0.2), (0.2, 0))),
        *(
            (lambda n=n: group_policy_loss(ROW, ROW, TWO, COUNTED, average="length", max_length=n), ["max_length", str(n)])
            for n in (None, 0, INF)
        ),
        (lambda: leave_one_out_advantage(torch.zeros(3, 1)), ["reward", "(3, 1)"]),
        *((lambda g=g: leave_one_out_advantage(torch.zeros(2, 6), g), ["group", str(g), "(2, 6)"]) for g in (1, 4, 0)),
        (lambda: leave_one_out_advantage(torch.tensor(1.0), 2), ["group", "2", "()"]),
        (lambda: leave_one_out_advantage(torch.zeros(3), torch.tensor([5, 5, 7])), ["group 7", "1 answer"]),
        (lambda: leave_one_out_advantage(torch.zeros(3), torch.tensor([5, 5])), ["(3,)", "(2,)"]),
    ],
)
def test_bad_values_are_refused_in_one_line(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt()
    assert all(word in str(error.value) for word in named)
    assert "\n" not in str(error.value)
