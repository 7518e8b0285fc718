"""Losses over pairs by name against their formulas in probabilities, and what each does to the chosen answer."""

from itertools import product

import numpy as np
import pytest
import torch
from loss_inputs import close, draw, gradient, log_probs, tensor, with_gradients

from ift_gridworld.losses import PREFERENCE_KINDS, dpo_loss, ipo_loss, preference_loss

SMOOTHED = {"sigmoid", "robust", "exo"}
LOG2 = np.log(2)


def options_of(kind, share=0.2):
    return {"label_smoothing": share} if kind in SMOOTHED else {}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(kind, c, r, beta, e, tau=0.3, weight=3.0):
    """The formulas of the papers, of log-ratios c and r, in plain numpy without regard to overflow."""
    m, p = beta * (c - r), sigmoid(beta * (c - r))
    win, lose = sigmoid(beta * c), sigmoid(beta * r)
    w = sigmoid(m / tau)
    return {
        "sigmoid": -(1 - e) * np.log(p) - e * np.log(1 - p),
        "ipo": (c - r - 1 / (2 * beta)) ** 2,
        "hinge": np.maximum(0, 1 - m),
        "robust": (-(1 - e) * np.log(p) + e * np.log(1 - p)) / (1 - 2 * e),
        "exo": p * np.log(p / (1 - e)) + (1 - p) * np.log((1 - p) / e),
        "nca": -np.log(win) - np.log(1 - win) / 2 - np.log(1 - lose) / 2,
        "bco": -np.log(win) - np.log(1 - lose),
        "sppo": (c - 1 / (2 * beta)) ** 2 + (r + 1 / (2 * beta)) ** 2,
        "apo_zero": 1 - win + lose,
        "apo_down": win + 1 - p,
        "discopop": -(1 - w) * np.log(p) + w * np.exp(-m),
        "dpop": -np.log(sigmoid(beta * (c - r - weight * np.maximum(0, -c)))),
    }[kind]


@pytest.mark.parametrize("kind", PREFERENCE_KINDS)
@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_every_kind_by_hand(kind, beta):
    c, r, c_ref, r_ref = (3 * draw(2, 5, seed=i) for i in range(4))
    own = {"discopop": {"tau": 0.3}, "dpop": {"weight": 3.0}}.get(kind, options_of(kind))
    actual = preference_loss(c, r, c_ref, r_ref, kind=kind, beta=beta, **own)
    close(actual, by_hand(kind, (c - c_ref).numpy(), (r - r_ref).numpy(), beta, 0.2))


AT_REFERENCE = {  # with beta b and label smoothing e: value, slope to c, slope to r
    "sigmoid": lambda b, e: (LOG2, -b * (1 - 2 * e) / 2, b * (1 - 2 * e) / 2),
    "ipo": lambda b, e: (1 / (4 * b**2), -1 / b, 1 / b),
    "hinge": lambda b, e: (1, -b, b),
    "robust": lambda b, e: (LOG2, -b / (2 - 4 * e), b / (2 - 4 * e)),
    "exo": lambda b, e: (-np.log(4 * e * (1 - e)) / 2, -b / 4 * np.log(1 / e - 1), b / 4 * np.log(1 / e - 1)),
    "nca": lambda b, e: (2 * LOG2, -b / 4, b / 4),
    "bco": lambda b, e: (2 * LOG2, -b / 2, b / 2),
    "sppo": lambda b, e: (1 / (2 * b**2), -1 / b, 1 / b),
    "apo_zero": lambda b, e: (1, -b / 4, b / 4),
    "apo_down": lambda b, e: (1, 0, b / 4),
    # tau = 0.05: half the slopes of log and exponential, and the blend's own, 1 / (4 tau) times what they differ by
    "discopop": lambda b, e: ((1 + LOG2) / 2, b * (-3 / 4 + 5 * (1 - LOG2)), b * (3 / 4 - 5 * (1 - LOG2))),
    "dpop": lambda b, e: (LOG2, -b / 2, b / 2),
}


@pytest.mark.parametrize("kind", PREFERENCE_KINDS)
def test_every_kind_at_the_reference(kind):
    reference = log_probs(3), log_probs(3, seed=1)
    for beta, share in product((0.1, 2.0), (0.05, 0.3)):
        chosen, rejected = (x.clone().requires_grad_() for x in reference)
        loss = preference_loss(chosen, rejected, *reference, kind=kind, beta=beta, **options_of(kind, share))
        value, down, up = AT_REFERENCE[kind](beta, share)
        close(loss, [value] * 3)
        slopes = gradient(loss.sum(), chosen, rejected)
        close(slopes[0], [down] * 3)
        close(slopes[1], [up] * 3)


def test_sigmoid_and_ipo_are_the_functions_of_their_own():
    inputs = [log_probs(4, seed=i) for i in range(4)]
    for actual, expected in (
        (
            preference_loss(*inputs, kind="sigmoid", beta=0.3, label_smoothing=0.1),
            dpo_loss(*inputs, beta=0.3, label_smoothing=0.1),
        ),
        (preference_loss(*inputs, kind="ipo", beta=0.3), ipo_loss(*inputs, beta=0.3)),
    ):
        assert torch.equal(actual, expected)


# ---- kinds of the margin alone, and kinds of each answer on its own ----

OF_THE_MARGIN = ("sigmoid", "ipo", "hinge", "robust", "exo", "discopop")
OF_EACH_ANSWER = ("nca", "bco", "sppo", "apo_zero")


@pytest.mark.parametrize("kind", PREFERENCE_KINDS)
def test_which_kinds_see_both_answers_fall(kind):
    """Both log-probabilities 5 nats lower: the same to losses of the margin, worse or better to all others."""
    inputs = [log_probs(4, seed=i) for i in range(4)]
    lower = [inputs[0] - 5, inputs[1] - 5, *inputs[2:]]
    before, after = (preference_loss(*x, kind=kind, beta=0.5, **options_of(kind)) for x in (inputs, lower))
    same = (before - after).abs() < 1e-12
    assert same.all() if kind in OF_THE_MARGIN else not same.any()


@pytest.mark.parametrize("kind", PREFERENCE_KINDS)
def test_in_which_kinds_the_push_on_one_answer_depends_on_the_other(kind):
    inputs = [log_probs(4, seed=i) for i in range(4)]
    slopes = []
    for shift in (0.0, -1.0):
        chosen = inputs[0].clone().requires_grad_()
        loss = preference_loss(chosen, inputs[1] + shift, *inputs[2:], kind=kind, beta=0.5, **options_of(kind))
        slopes.append(gradient(loss.sum(), chosen)[0])
    unmoved = torch.equal(*slopes)
    assert unmoved == (kind in OF_EACH_ANSWER) or kind == "hinge"  # whose slope is constant this side of the margin


# ---- one kind after the other ----


def of_log_ratios(kind, chosen, rejected, **options):
    """Value and slopes to both log-ratios."""
    chosen, rejected = tensor(chosen, grad=True), tensor(rejected, grad=True)
    zero = torch.zeros_like(chosen)
    loss = preference_loss(chosen, rejected, zero, zero, kind=kind, **options)
    return loss, *gradient(loss.sum(), chosen, rejected)


def test_hinge_stops_at_a_margin_of_one():
    loss, down, up = of_log_ratios("hinge", [3.0, 6.0, -4.0], [0.0, 0.0, 0.0], beta=0.2)
    close(loss, [0.4, 0.0, 1.8])
    close(down, [-0.2, 0.0, -0.2])
    close(up, [0.2, 0.0, 0.2])


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_robust_is_unbiased_under_flipped_labels(share):
    """The mean over labels of which a share is flipped is DPO's loss of the true labels; so is the gradient."""
    answers = log_probs(5), log_probs(5, seed=1)
    references = log_probs(5, seed=2), log_probs(5, seed=3)

    def noisy(c, r):
        options = {"kind": "robust", "beta": 0.8, "label_smoothing": share}
        kept = preference_loss(c, r, *references, **options)
        flipped = preference_loss(r, c, *references[::-1], **options)
        return (1 - share) * kept + share * flipped

    actual = with_gradients(noisy, answers)
    expected = with_gradients(lambda c, r: dpo_loss(c, r, *references, beta=0.8), answers)
    for one, other in zip(actual, expected, strict=True):
        close(one, other)


def test_robust_has_no_lower_bound_and_smoothed_dpo_has():
    """Far in the right the noisy label's term rules: slope e / (1 - 2e) downwards against e upwards."""
    for kind, slope in (("robust", -0.1 / 0.8), ("sigmoid", 0.1)):
        down = of_log_ratios(kind, [900.0], [0.0], beta=1.0, label_smoothing=0.1)[1]
        close(down, [slope])


@pytest.mark.parametrize("share", [1e-3, 0.2, 0.4])
def test_exo_is_zero_where_the_policy_believes_the_labels(share):
    """At sigmoid(m) = 1 - e both its divergence and DPO's are least; DPO's is the same divergence the other way round."""
    best = np.log(1 / share - 1) / 0.5
    loss, down, up = of_log_ratios("exo", [best, best + 1, best - 1], [0.0] * 3, beta=0.5, label_smoothing=share)
    close(loss[0], 0.0, atol=1e-14)
    close(torch.stack([down[0], up[0]]), [0.0, 0.0], atol=1e-14)
    assert (loss[1:] > 0).all() and down[1] > 0 > down[2]
    margin = np.array([0.7, -2.0])
    p, q = sigmoid(0.5 * margin), 1 - share
    divergence = q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))
    entropy = -q * np.log(q) - (1 - q) * np.log(1 - q)
    close(of_log_ratios("sigmoid", margin, [0.0, 0.0], beta=0.5, label_smoothing=share)[0], divergence + entropy)


def test_exo_without_noise_is_a_reverse_divergence_from_certainty():
    """As e -> 0 it is the cross entropy -log e sigmoid(-m), the price of the wrong answer, less the policy's entropy."""
    q = sigmoid(np.array([-1.5, 0.5]))
    entropy = -q * np.log(q) - (1 - q) * np.log(1 - q)
    for share in (1e-50, 1e-200):
        loss = of_log_ratios("exo", [1.5, -0.5], [0.0, 0.0], beta=1.0, label_smoothing=share)[0]
        close(loss, -q * np.log(share) - entropy)


@pytest.mark.parametrize("share", [1e-20, 0.1])
def test_exo_of_a_certain_policy_is_what_noise_there_is(share):
    """-log(1 - e) where the right answer is certain and -log e where the wrong one is."""
    loss = of_log_ratios("exo", [800.0, -800.0], [0.0, 0.0], beta=1.0, label_smoothing=share)[0]
    close(loss, [-np.log1p(-share), -np.log(share)], atol=0.0)


def test_nca_holds_the_chosen_answer_at_log_2_and_bco_lets_it_rise():
    at, beyond = LOG2 / 0.3, 3 / 0.3
    down = of_log_ratios("nca", [at, beyond, 0.0], [0.0] * 3, beta=0.3)[1]
    close(down[0], 0.0, atol=1e-15)
    assert down[1] > 0 > down[2]
    down = of_log_ratios("bco", [at, beyond], [0.0] * 2, beta=0.3)[1]
    close(down, -0.3 * sigmoid(-0.3 * np.array([at, beyond])))


def test_sppo_has_its_minimum_at_plus_and_minus_half_a_reward():
    loss, down, up = of_log_ratios("sppo", [2.0, 3.0], [-2.0, -2.0], beta=0.25)
    close(loss, [0.0, 1.0])
    close(down, [0.0, 2.0])
    close(up, [0.0, 0.0])


def test_apo_zero_parts_the_answers_and_apo_down_lowers_both():
    """apo_down's slope to the chosen answer is that of x_c less that of the margin: positive where the margin is settled."""
    _, down, up = of_log_ratios("apo_zero", [0.0, 2.0], [0.0, -3.0], beta=1.0)
    assert (down < 0).all() and (up > 0).all()
    _, down, up = of_log_ratios("apo_down", [0.0, -1.0], [-6.0, -9.0], beta=1.0)
    assert (down > 0).all() and (up > 0).all()


def test_discopop_is_dpo_far_below_and_an_exponential_far_above():
    """At m = ±30 with tau = 1 the blend is settled to e^-30."""
    loss, down, _ = of_log_ratios("discopop", [-30.0, 30.0], [0.0, 0.0], beta=1.0, tau=1.0)
    close(loss, [30.0 + 1.0, np.exp(-30)], rtol=1e-10)  # the exponential's share below: e^-30 e^30
    loss, down, _ = of_log_ratios("discopop", [-30.0, 30.0], [0.0, 0.0], beta=1.0, tau=0.05)
    close(loss, [np.log1p(np.exp(30)), np.exp(-30)], rtol=1e-10)
    close(down, [-1.0, -np.exp(-30)], rtol=1e-10)


def test_dpop_is_dpo_where_the_chosen_answer_has_not_fallen():
    """Below, each nat that it falls costs 1 + weight nats of margin."""
    chosen, rejected = [0.5, 0.0, -0.4], [0.2, 0.2, 0.2]
    loss, down, up = of_log_ratios("dpop", chosen, rejected, beta=0.5, weight=4.0)
    plain, slope, _ = of_log_ratios("sigmoid", chosen, rejected, beta=0.5)
    close(loss[:2], plain[:2])
    close(down[0], slope[0])
    margin = 0.5 * (-0.4 - 0.2 - 4 * 0.4)
    close(loss[2], np.log1p(np.exp(-margin)))
    close(torch.stack([down[2], up[2]]), 0.5 * sigmoid(-margin) * np.array([-5.0, 1.0]))
    close(of_log_ratios("dpop", chosen, rejected, beta=0.5, weight=0.0)[0], plain)


@pytest.mark.parametrize("kind", PREFERENCE_KINDS)
def test_finite_in_float32_at_log_ratios_of_ten_thousand(kind):
    """Value and gradients are those of float64, which are finite; so are both at every combination of large and small."""
    edges = [0.0, 1e-9, -3.0, 3.0, 1e4, -1e4]
    chosen, rejected = zip(*product(edges, edges), strict=True)
    results = []
    for dtype in (torch.float32, torch.float64):
        inputs = [torch.tensor(x, dtype=dtype) for x in (chosen, rejected)]

        def loss(c, r):
            return preference_loss(c, r, torch.zeros_like(c), torch.zeros_like(r), kind=kind, beta=0.5, **options_of(kind))

        results.append(with_gradients(loss, inputs))
    for single, double in zip(*results, strict=True):
        assert torch.isfinite(double).all()
        close(single, double, rtol=2e-6, atol=1e-6)
