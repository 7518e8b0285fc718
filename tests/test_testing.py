"""`check_loss`: our own losses pass it, and each mistake that trainers have shipped is found and named."""

import pytest
import torch
import torch.nn.functional as F

from ift_gridworld import losses, testing
from ift_gridworld.testing import LOSSES, check_loss

EVERY = pytest.mark.parametrize("name", LOSSES)


def failed(report):
    return " ".join(f"{result.title}: {result.reason}" for result in report.failures)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_our_own_losses_pass(name, dtype):
    report = check_loss(LOSSES[name], name, dtype=dtype)
    assert report.passed, report
    assert {result.outcome for result in report.results} == {"passed"}, report
    assert check_loss(lambda *x, **o: LOSSES[name](*x, **o).mean(), name, reduction="mean", dtype=dtype).passed


@EVERY
def test_a_flipped_sign_fails_every_case_that_is_not_zero(name):
    report = check_loss(lambda *x, **o: -LOSSES[name](*x, **o), name)
    assert not report.passed
    spared = {result.title for result in report.results if result.outcome == "passed"}
    zero = {case.title for case in testing.loss_cases(name) if case.is_finite or case.value.abs().max() < 1e-12}
    assert spared <= zero


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("gae", "group_advantage", "leave_one_out")])
def test_a_detached_loss_fails_though_its_values_are_right(name):
    def detached(*x, **o):
        return LOSSES[name](*(y.detach() for y in x), **o)

    report = check_loss(detached, name)
    assert "is something detached?" in failed(report)
    assert all(result.reason.startswith("gradient of") for result in report.failures)
    assert check_loss(detached, name, gradients=False).passed


def test_every_number_of_the_original_implementations_is_a_case():
    """The gradients of the released form are two cases, attached and detached."""
    written = [entry["loss"].removesuffix("_equation21") for entry in testing.original_values()]
    for name in set(written):
        cases = [case for case in testing.loss_cases(name) if case.title.startswith("case ")]
        twice = sum(entry["loss"] == "ift" for entry in testing.original_values()) if name == "ift" else 0
        assert len(cases) == written.count(name) + twice
        assert all(case.gradients for case in cases) or name in ("gae", "ift")


def test_every_number_of_trl_is_a_case():
    """All but those of GRPO's family with a KL penalty, which is no part of the loss; value and gradient."""
    cases = [case for name in LOSSES for case in testing.loss_cases(name) if case.title.startswith("TRL case ")]
    penalised = [v for v in testing.trl_values() if v["loss"].startswith("group_") and v["args"]["beta"]]
    assert len(penalised) == 8 and len(cases) == len(testing.trl_values()) - len(penalised)
    assert len({case.title for case in cases}) == len(cases) and all(case.gradients for case in cases)


@pytest.mark.parametrize(
    ("name", "wrong", "cases", "reasons"),
    [
        # The sum over steps where the mean is meant: N times the value.
        ("sft", lambda logp, mask: -torch.where(mask, logp, 0).sum(-1), "a row that counts nothing", "3 times"),
        # Masking by multiplication: -inf times 0.
        ("sft", lambda logp, mask: -(logp * mask).sum(-1) / mask.sum(-1).clamp(min=1), "-inf where nothing counts", "nan"),
        # 0/0 where a row counts nothing.
        ("sft", lambda logp, mask: -torch.where(mask, logp, 0).sum(-1) / mask.sum(-1), "a row that counts nothing", "nan"),
        # No mask at all.
        ("sft", lambda logp, mask: -logp.mean(-1), "prompt, gap and padding", "value is"),
        # The mask shifted by one step.
        ("sft", lambda logp, mask: losses.sft_loss(logp, mask.roll(1, -1)), "prompt, gap and padding", "value is"),
        # ipo that silently runs the sigmoid loss.
        ("ipo", lambda *x, beta=0.1: losses.dpo_loss(*x, beta=beta), "the policy is the reference", "expected 25"),
        # IPO's target margin with beta where 1/beta belongs.
        ("ipo", lambda c, r, rc, rr, beta=0.1: (c - r - rc + rr - beta / 2) ** 2, "the policy is the reference", "value is"),
        # The log-ratio of the wrong pair.
        ("dpo", lambda c, r, rc, rr, beta=0.1: losses.dpo_loss(c, r, rr, rc, beta=beta), "random pairs", "value is"),
        # log sigmoid by its two functions: -inf where the margin is large.
        (
            "dpo",
            lambda c, r, rc, rr, beta=0.1: -torch.log(torch.sigmoid(beta * (c - r - rc + rr))),
            "log-probs of 0, -1e-9 and -1e4",
            "inf",
        ),
        # ORPO by log(1 - p): NaN at certainty, as shipped once.
        (
            "orpo",
            lambda c, r, beta=0.25: -c - beta * F.logsigmoid(c - r - torch.log1p(-torch.exp(c)) + torch.log1p(-torch.exp(r))),
            "certain: the odds are infinite",
            "nan",
        ),
        # ORPO's odds term without a gradient, as shipped elsewhere.
        (
            "orpo",
            lambda c, r, beta=0.25: -c + (losses.orpo_loss(c, r, beta=beta) + c).detach(),
            "equal likelihoods",
            "gradient of chosen_mean",
        ),
        # SimPO's margin inside the scaling.
        (
            "simpo",
            lambda c, r, beta=2.0, gamma=1.6: -F.logsigmoid(beta * (c - r - gamma)),
            "random pairs",
            "value is",
        ),
        # TDPO2 without its stopped gradient.
        (
            "tdpo",
            lambda mc, mr, kc, kr, beta=0.1, alpha=0.5, version=2: (
                -F.logsigmoid(beta * (mc - mr - (alpha if version == 2 else 1) * (kr - kc)))
            ),
            "version 2",
            "gradient of chosen_kl",
        ),
        # IFT with constant weights where gradient is meant to flow through them.
        (
            "ift",
            lambda logp, mask, decay=0.95, propagation="released", norm="L1", detach_weights=False: losses.ift_loss(
                logp, mask, decay=decay, propagation=propagation, norm=norm, detach_weights=True
            ),
            "prompt, gap and padding",
            "gradient of logp",
        ),
        # The decay spread the wrong way: late steps answer for early ones.
        (
            "ift",
            lambda logp, mask, **options: losses.ift_loss(logp.flip(-1), mask.flip(-1), **options),
            "prompt, gap and padding (propagation equation21)",
            "value is",
        ),
        # PPO without its minimum: clipped where it should not be.
        (
            "ppo_clip",
            lambda logp, old, advantage, mask, clip=0.2: (
                -torch.where(mask, (logp - old).exp().clamp(1 - clip, 1 + clip) * advantage, 0)
            ),
            "ratios within the clip and beyond it",
            "value is",
        ),
        # An episode's end that does not stop the sum.
        (
            "gae",
            lambda reward, value, discount, lam=0.95: losses.generalized_advantage_estimate(
                reward, value, torch.full_like(discount, 0.9), lam=lam
            ),
            "episodes that end within the segment",
            "value is",
        ),
        # GRPO that divides by a spread of 0.
        (
            "group_advantage",
            lambda reward, scale=True: (
                (reward - reward.mean(-1, keepdim=True)) / (reward.std(-1, keepdim=True) if scale else 1)
            ),
            "groups that agree",
            "nan",
        ),
        # DFT's weight not held constant.
        ("dft", lambda logp, mask: losses.sft_loss(logp.exp() * logp, mask), "prompt, gap and padding", "gradient of logp"),
        # Robust DPO that is label smoothing.
        (
            "robust",
            lambda *x, beta=0.1, label_smoothing=0.0: losses.dpo_loss(*x, beta=beta, label_smoothing=label_smoothing),
            "label_smoothing 0.2",
            "value is",
        ),
        # EXO's divergence the other way round, which is DPO with label smoothing.
        (
            "exo",
            lambda *x, beta=0.1, label_smoothing=0.0: losses.dpo_loss(*x, beta=beta, label_smoothing=label_smoothing),
            "the policy is the reference",
            "value is",
        ),
        # DiscoPOP by its two factors: 0 times infinity.
        (
            "discopop",
            lambda c, r, rc, rr, beta=0.1, tau=0.05: (
                (m := beta * (c - r - rc + rr)) * 0
                - torch.sigmoid(-m / tau) * F.logsigmoid(m)
                + torch.sigmoid(m / tau) * torch.exp(-m)
            ),
            "log-probs of 0, -1e-9 and -1e4",
            "nan",
        ),
        # chi-PO with the logarithm counted twice.
        (
            "chi_po",
            lambda c, r, rc, rr, beta=0.1: -F.logsigmoid(beta * ((c - rc).exp() - (r - rr).exp() + 2 * (c - r - rc + rr))),
            "random pairs",
            "value is",
        ),
        # KTO's reference point without its clamp.
        (
            "kto",
            lambda x, ref, good, kl, beta=0.1: torch.where(good, 1, -1) * -torch.sigmoid(beta * (x - ref - kl)) + good.double(),
            "a negative reference point",
            "value is",
        ),
        # A mixture of logits in place of one of probabilities.
        (
            "generalized_jsd",
            lambda s, t, mask, beta=0.5: losses.generalized_jsd_loss(s, beta * t + (1 - beta) * s, mask, beta=beta),
            "random logits (beta 0.5)",
            "value is",
        ),
        # A mean over all steps of the batch where each answer's own is meant.
        (
            "group_policy",
            lambda logp, old, advantage, mask, **options: losses.group_policy_loss(
                logp, old, advantage, mask, **{**options, "average": "batch"}
            ),
            "average sequence",
            "value is",
        ),
        # A baseline that contains the answer itself.
        (
            "leave_one_out",
            lambda reward, group=None: losses.group_relative_advantage(reward, scale=False),
            "random groups",
            "value is",
        ),
        # k3 with the ratio upside down.
        ("kl", lambda logp, ref, kind="k3": losses.kl_estimate(ref, logp, kind), "random log-probs", "value is"),
    ],
)
def test_mistakes_that_trainers_make_are_found_and_named(name, wrong, cases, reasons):
    report = check_loss(wrong, name)
    assert not report.passed
    assert any(cases in result.title and reasons in result.reason for result in report.failures), report
    assert str(report).count("\n") >= len(report.failures)


def test_what_is_returned_need_not_even_be_a_loss():
    for strange, reason in (
        (lambda logp, mask: 1.0, "returned float"),
        (lambda logp, mask: logp, "has shape (4, 6), expected (4,)"),
        (lambda logp, mask: torch.zeros(4, dtype=torch.long), "returned a tensor of torch.int64"),
        (lambda logp, mask: logp.mean(), 'is reduction="mean" meant?'),
        (lambda logp, mask: logp[:, 100], "raised IndexError"),
        (lambda logp: logp, "raised TypeError"),
    ):
        assert reason in failed(check_loss(strange, "sft"))


def test_options_that_a_function_does_not_take():
    """Left out at our default, else the case is skipped; with nothing passed the report does not pass either."""
    report = check_loss(lambda c, r, rc, rr: losses.dpo_loss(c, r, rc, rr, beta=0.1), "dpo")
    skipped = [result for result in report.results if result.outcome == "skipped"]
    assert report.passed and {"takes no beta", "takes no beta, reference_free"} <= {result.reason for result in skipped}
    assert "skipped" in str(report)
    taken = [case.options for case in testing.loss_cases("dpo")]
    assert len(skipped) == sum(o.get("beta", 0.1) != 0.1 or bool(o.get("reference_free")) for o in taken)
    assert not testing.Report("dpo", skipped).passed
    assert check_loss(lambda *inputs, **options: losses.dpo_loss(*inputs, **options), "dpo").passed


def test_a_functions_own_defaults_do_not_matter():
    """Our defaults are passed: one that must be given, or that differs, is no mistake of the formula."""
    assert check_loss(lambda c, r, rc, rr, beta: losses.dpo_loss(c, r, rc, rr, beta=beta), "dpo").passed
    assert check_loss(lambda c, r, rc, rr, beta=0.3: losses.dpo_loss(c, r, rc, rr, beta=beta), "dpo").passed


def test_modules_are_looked_into():
    class Loss(torch.nn.Module):
        def forward(self, chosen, rejected, reference_chosen, reference_rejected, beta=0.1):
            return losses.dpo_loss(chosen, rejected, reference_chosen, reference_rejected, beta=beta)

    report = check_loss(Loss(), "dpo")
    assert report.passed and "takes no reference_free" in str(report)


def test_gradients_are_compared_where_the_caller_has_switched_them_off():
    with torch.no_grad():
        assert check_loss(losses.dpo_loss, "dpo").passed
        assert not check_loss(lambda *x, **o: losses.dpo_loss(*x, **o).detach(), "dpo").passed
    with torch.inference_mode():
        assert check_loss(losses.ift_loss, "ift").passed


def test_the_callers_tensors_are_its_own():
    """A function that changes its inputs in place fails, if it does, by its own numbers and not by another case's."""

    def rude(logp, mask):
        value = losses.sft_loss(logp, mask)
        with torch.no_grad():
            logp.zero_()
        return value

    assert check_loss(rude, "sft").passed and check_loss(losses.sft_loss, "sft").passed


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda: check_loss(losses.sft_loss, "sfft"), ["'sfft'", *LOSSES]),
        (lambda: check_loss(losses.sft_loss, "sft", reduction="sum"), ["'sum'", "none, mean"]),
        (lambda: check_loss(losses.sft_loss, "sft", dtype=torch.float16), ["torch.float16", "torch.float64"]),
        *((lambda t=t: check_loss(losses.sft_loss, "sft", tolerance=t), [f"tolerance is {t}"]) for t in (float("nan"), -1.0)),
    ],
)
def test_bad_values_are_refused_in_one_line(attempt, named):
    with pytest.raises(ValueError) as error:
        attempt()
    assert all(word in str(error.value) for word in named) and "\n" not in str(error.value)
