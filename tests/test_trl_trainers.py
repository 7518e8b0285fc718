"""TRL's own trainers run on every case, where TRL is installed: what they compute as we do, and what they do otherwise.

What TRL 1.16 does otherwise: its IPO averages over tokens (here answers have one); its sigmoid loss ignores label smoothing;
DiscoPOP and ORPO are NaN at the edges named below; GRPO's family masks by multiplication, so that a padded -inf becomes NaN.
"""

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch

from ift_gridworld.testing import check_loss

pytestmark = pytest.mark.trl


def reasons_by_title(report):
    return {result.title: result.reason for result in report.failures}


def outputs_of(logp):
    """What a model returns for answers of one token."""
    other = {name: torch.ones_like(logp) for name in ("entropy", "mean_logits")}
    return SimpleNamespace(log_probs=logp, is_top1=logp < 0, **{name: x.detach() for name, x in other.items()})


def without_processes(trainer, device):
    trainer.configure_mock(_total_train_tokens=0, _tp_size=1, aux_loss_enabled=False, precompute_ref_logps=True)
    trainer.accelerator.gather_for_metrics = trainer.accelerator.gather = lambda x: x
    trainer.accelerator.reduce = lambda x, reduction: x
    trainer.accelerator.configure_mock(device=device, num_processes=1)


def trl_dpo(kind):
    """TRL's losses over pairs, fed with log-probs of answers of one token, where IPO's mean over tokens is the sum."""
    trl = pytest.importorskip("trl")

    def loss(chosen, rejected, reference_chosen, reference_rejected, beta=0.1, label_smoothing=0.0, tau=0.05):
        chosen, rejected, *reference = (x.flatten() for x in (chosen, rejected, reference_chosen, reference_rejected))
        logp = torch.cat([chosen, rejected])[:, None]
        mask = torch.tensor([0, 1]).expand(len(logp), 2)  # a prompt of one token
        trainer = MagicMock(ld_alpha=None, f_divergence_type="reverse_kl", use_weighting=False)
        without_processes(trainer, logp.device)
        trainer.configure_mock(beta=beta, loss_types=[kind], loss_weights=[1.0], label_smoothing=label_smoothing)
        trainer.args.configure_mock(discopop_tau=tau)
        inputs = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask}
        inputs |= dict(zip(("ref_chosen_logps", "ref_rejected_logps"), reference, strict=True))
        return trl.DPOTrainer._compute_loss(trainer, lambda **kwargs: outputs_of(logp), inputs, return_outputs=False)

    return loss


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dpo", "sigmoid"),
        ("ipo", "ipo"),
        ("hinge", "hinge"),
        ("robust", "robust"),
        ("exo", "exo_pair"),
        ("nca", "nca_pair"),
        ("bco", "bco_pair"),
        ("sppo", "sppo_hard"),
        ("apo_zero", "apo_zero"),
        ("apo_down", "apo_down"),
    ],
)
def test_trl_losses_over_pairs(name, kind):
    loss = trl_dpo(kind)
    without_smoothing = lambda *x, beta=0.1: loss(*x, beta=beta)  # noqa: E731
    report = check_loss(without_smoothing if kind == "sigmoid" else loss, name, reduction="mean")
    assert report.passed, report


def test_trl_discopop():
    """Right wherever it is finite. But TRL 1.16 multiplies sigmoid(m / tau) by exp(-m): 0 by infinity, far below 0."""
    report = check_loss(trl_dpo("discopop"), "discopop", reduction="mean")
    failures = reasons_by_title(report)
    assert len(failures) < len(report.results)
    assert all(title.startswith("log-probs of 0, -1e-9 and -1e4") and "nan" in reason for title, reason in failures.items())


def test_trl_kto():
    """The clamp of the reference point, its mean over mismatched answers and the weights, fed with answers of one token."""
    trl = pytest.importorskip("trl")

    def loss(logp, reference, desirable, kl, beta=0.1, desirable_weight=1.0, undesirable_weight=1.0):
        if kl.ndim:
            raise NotImplementedError("TRL has one reference point for all answers")
        mask = torch.tensor([0, 1]).expand(len(logp), 2)
        trainer = MagicMock(beta=beta, loss_type="kto", calculate_KL=True)
        without_processes(trainer, logp.device)
        trainer.configure_mock(desirable_weight=desirable_weight, undesirable_weight=undesirable_weight)
        trainer._compute_kl_logps = lambda model, batch: kl.expand(2)
        batch = {"input_ids": mask, "attention_mask": mask, "completion_mask": mask, "label": desirable}
        batch |= {"ref_logps": reference, "ref_KL_logps": torch.zeros(2)}
        return trl.KTOTrainer._compute_loss(trainer, lambda **kwargs: outputs_of(logp[:, None]), batch, return_outputs=False)

    report = check_loss(loss, "kto", reduction="mean")
    assert len(report.failures) < len(report.results)
    assert all("one reference point" in result.reason for result in report.failures), report


TRL_NAMES = {  # objective and average of GRPO's family, by TRL's name
    ("clip", "sequence"): "grpo",
    ("clip", "batch"): "bnpo",
    ("clip", "length"): "dr_grpo",
    ("clip", "sum"): "luspo",
    ("cispo", "batch"): "cispo",
    ("sapo", "sequence"): "sapo",
}


def test_trl_group_policy():
    """All that TRL combines. It masks by multiplication: 0 times what padding of -inf has become is NaN."""
    trl = pytest.importorskip("trl")

    def loss(logp, old, advantage, mask, clip, objective, level, average, max_length):
        if (objective, average) not in TRL_NAMES:
            raise NotImplementedError("TRL does not combine these")
        trainer = MagicMock(beta=0.0, loss_type=TRL_NAMES[objective, average], importance_sampling_level=level)
        without_processes(trainer, logp.device)
        trainer.configure_mock(epsilon_low=clip[0], epsilon_high=clip[1], max_completion_length=max_length)
        trainer.configure_mock(top_entropy_quantile=1.0, off_policy_mask_threshold=None, use_vllm=False)
        trainer.configure_mock(_entropy_bonus_enabled=False, current_gradient_accumulation_steps=1)
        trainer.args.configure_mock(delta=None, sapo_temperature_pos=1.0, sapo_temperature_neg=1.05)
        trainer.model.training = False
        trainer._get_per_token_logps_and_entropies.return_value = logp, torch.zeros_like(logp), None
        tokens = torch.zeros(mask.shape, dtype=torch.long)
        inputs = {"prompt_ids": tokens, "prompt_mask": tokens, "completion_ids": tokens, "completion_mask": mask.long()}
        inputs |= {"advantages": advantage, "old_per_token_logps": old, "num_items_in_batch": mask.sum()}
        return trl.GRPOTrainer._compute_loss(trainer, None, inputs)

    report = check_loss(loss, "group_policy", reduction="mean")
    passed = len(report.results) - len(report.failures)
    failures = {title: why for title, why in reasons_by_title(report).items() if "does not combine" not in why}
    assert passed >= 16 and all(title.startswith("-inf") and "nan" in why for title, why in failures.items()), report


def test_trl_generalized_jsd():
    """Each row on its own, its padded steps labelled as TRL labels them. At logits that differ by 1e4, too."""
    pytest.importorskip("trl")
    from trl.experimental.gkd import GKDTrainer

    def loss(logits, teacher_logits, mask, beta=0.5):
        labels = torch.where(mask, 0, -100)
        rows = zip(logits, teacher_logits, labels, strict=True)
        return torch.stack([GKDTrainer.generalized_jsd_loss(s[None], t[None], x[None], beta=beta) for s, t, x in rows])

    report = check_loss(loss, "generalized_jsd")
    odd = ("an action that neither takes", "NaN where nothing counts")
    assert all(title.startswith(odd) and "nan" in reason for title, reason in reasons_by_title(report).items()), report
    assert len(report.failures) < len(report.results)


@pytest.mark.parametrize("kind", ["sigmoid", "hinge"])
def test_trl_cpo(kind):
    pytest.importorskip("trl")
    from trl.experimental.cpo import CPOTrainer

    def loss(chosen, rejected, *uniform, beta=0.1, label_smoothing=0.0):
        if uniform and not all(torch.equal(x, uniform[0]) for x in uniform):
            raise NotImplementedError("TRL has no reference here")
        trainer = MagicMock(beta=beta, loss_type=kind, label_smoothing=label_smoothing, alpha=0.0)
        trainer.accelerator.device = chosen.device
        return CPOTrainer.cpo_loss(trainer, chosen, rejected)[0]

    report = check_loss(loss, {"sigmoid": "cpo", "hinge": "hinge"}[kind])
    assert all("no reference" in result.reason for result in report.failures), report
    assert len(report.failures) < len(report.results)


def test_trl_simpo():
    pytest.importorskip("trl")
    from trl.experimental.cpo import CPOTrainer

    def loss(chosen, rejected, beta=2.0, gamma=1.6):
        trainer = MagicMock(beta=beta, simpo_gamma=gamma, loss_type="simpo", label_smoothing=0.0, alpha=0.0)
        trainer.accelerator.device = chosen.device
        return CPOTrainer.cpo_loss(trainer, chosen, rejected)[0]

    assert check_loss(loss, "simpo").passed


def test_trl_orpo():
    """Right wherever it is finite. But TRL 1.16 chooses between log1p(-exp x) and log(-expm1 x) by `torch.where`, which passes
    on the NaN gradient of the branch that is not taken: at mean log-probs of -1e-9, in the float32 that it computes in."""
    pytest.importorskip("trl")
    from trl.experimental.orpo import ORPOTrainer

    def loss(chosen, rejected, beta=0.25):
        trainer = MagicMock(beta=beta)
        trainer.accelerator.device = chosen.device
        return -chosen - ORPOTrainer.odds_ratio_loss(trainer, chosen, rejected)[0]

    report = check_loss(loss, "orpo", dtype=torch.float32)
    certain = ("all but certain or hopeless", "certain: the odds are infinite")
    assert all(result.title.startswith(certain) and "nan" in result.reason for result in report.failures), report
    assert len(report.failures) < len(report.results)
