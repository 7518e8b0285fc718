"""Mutants of `mutate.py` that no test can tell from the original, by the reason.

A mutant's name says where it is and of what kind, "MODULE.FUNCTION KIND NUMBER", the number in the order of the source;
`python tests/mutate.py --list` shows all names with what they change.
"""

from __future__ import annotations

__all__ = ["EQUIVALENT"]

NAMES_BY_REASON: dict[str, tuple[str, ...]] = {
    "at -log 2 both forms are right to rounding": ("log_probs.log1mexp constant 1",),
    "down to -log 3 both forms are right to rounding (condition < 3)": ("log_probs.log1mexp constant 3",),
    "below -log 2, log(-expm1(x)) and its slope are finite too, so that the outer torch.where drops them unharmed": (
        "log_probs.log1mexp mask 3",
    ),
    "a constant where torch.where takes the other branch; its value and its slope go nowhere": (
        "log_probs.log1mexp constant 4",
        "log_probs.log1mexp constant 5",
        "log_probs.log1mexp constant 6",
        "log_probs.log1mexp constant 7",
        "losses.imitation.relation_weights constant 17",
        "losses.on_policy.group_relative_advantage constant 10",
        "losses.on_policy.group_relative_advantage constant 11",
    ),
    "the sum over a of p ∇log p = ∇p is ∇1 = 0: this occurrence has no gradient": (
        "log_probs.entropy stop-gradient 3",
        "log_probs.kl_divergence stop-gradient 5",
    ),
    "the sum over a of m ∇log m = ∇1 = 0, for a distribution m: this occurrence has no gradient": (
        "losses.distillation.generalized_jsd_loss stop-gradient 11",
        "losses.distillation.generalized_jsd_loss stop-gradient 12",
        "losses.distillation.generalized_jsd_loss stop-gradient 14",
        "losses.distillation.generalized_jsd_loss stop-gradient 17",
    ),
    "what is taken there is multiplied by a probability of 0": ("log_probs._weighted constant 4",),
    "l is 0 off the mask and its gradient stops there, whatever its weight": (
        "losses.imitation.ift_loss mask 5",
        "losses.imitation.ift_loss mask 6",
    ),
    "a row of one block is the same whether it is cut or not": ("losses.imitation._decayed_sums constant 1",),
    "the matrix is a constant and carries no gradient": (
        "losses.imitation._matmul stop-gradient 2",
        "losses.imitation._matmul stop-gradient 5",
    ),
    "concerns rows that count nothing: all of their 0/0 stands off the mask and is filled with zero": (
        "losses.imitation.relation_weights constant 4",
    ),
    "concerns rows that count one step, whose weight is scaled to 1 whatever it was": (
        "losses.imitation.relation_weights constant 5",
    ),
    "a common factor of a row cancels in the scaling, and so does its gradient": (
        "losses.imitation.relation_weights stop-gradient 5",
        "losses.imitation.relation_weights stop-gradient 9",
        "losses.imitation.relation_weights stop-gradient 4",
    ),
    "it is detached already": (
        "losses.unpaired.kto_loss stop-gradient 5",
        "losses.imitation.relation_weights stop-gradient 7",
        "losses.imitation.dft_loss stop-gradient 3",
    ),
    "where the largest weight is 0 all are": ("losses.imitation.relation_weights constant 9",),
    "version 2 detaches it right after": ("losses.preferences.tdpo_loss stop-gradient 7",),
    "only the shape is looked at, and both slices have the same": (
        "losses.on_policy.generalized_advantage_estimate shift 1",
        "policies.residual._after_counted shift 1",
    ),
    "zeros have no gradient": (
        "losses.on_policy.generalized_advantage_estimate stop-gradient 9",
        "losses.preferences.cpo_loss stop-gradient 1",
        "losses.preferences.cpo_loss stop-gradient 4",
        "losses.preferences.cpo_loss stop-gradient 5",
    ),
    "the mean takes out whichever was subtracted": ("losses.on_policy._less_mean shift 1",),
    "the mean takes out whichever was subtracted, and so does its gradient": ("losses.on_policy._less_mean stop-gradient 3",),
    "the other side of the difference is float32 and has axes, so that promotion raises this one, exactly": (
        "losses.on_policy.ppo_clip_loss precision 1",
        "losses.on_policy.ppo_clip_loss precision 2",
    ),
    "only the type is looked at, and it is the same without gradient": (
        "policies.residual._mix_where stop-gradient 1",
        "policies.residual._mix_where stop-gradient 4",
        "policies.residual._sparse_outcomes stop-gradient 1",
    ),
    "no gradient is recorded there": ("policies.residual.residual_embeddings stop-gradient 6",),
    "nothing arrives at the first step, whose entry torch.where never takes": ("policies.residual.Windows.of shift 1",),
    "any negative number marks a step that nothing arrives at": ("policies.residual.Windows.of constant 6",),
    "any base above all states tells windows apart": ("policies.residual.Windows.of constant 2",),
    "places beyond a member's own numbers are filled with any of them: none is looked up": (
        "policies.residual._distinct shift 1",
    ),
    "the largest is asked for, and a common factor does not change which it is": (
        "policies.residual._sparse_outcomes reduction 1",
    ),
    "slots that no lake uses weigh nothing, wherever and however many they are": (
        "policies.residual._sparse_outcomes reduction 6",
        "policies.residual._sparse_outcomes constant 4",
    ),
    "one of a thousand draws, all alike, is left out": ("evaluation.statistics.pooled_effect shift 3",),
    "what is not larger than rounding is unclear before": ("studies.verdicts.Verdict.word constant 2",),
    "all checkpoints have the same number of seeds": ("evaluation.selection.best_checkpoint reduction 1",),
    "a fixed time of another second: the same table is still the same bytes": ("studies.tables.write_table constant 1",),
    "what a method was run with, it was on the same lakes and seeds": (
        "studies.results.SettingResults.chosen reduction 1",
        "studies.running._beyond reduction 1",
    ),
    "the array always holds all lakes and seeds of the setting, so that every sum is its mean times the same number": (
        "studies.reproduction.findings._best_options reduction 1",
    ),
    "white space of a JSON file": (
        "studies.language_report.draw_figures constant 1",
        "studies.language_report.draw_figures constant 2",
    ),
    "what mixes in a tile does so with a probability far above rounding, or with none": (
        "studies.measures.mixing_effects constant 14",
    ),
    "ranks do not depend on a common factor": (
        "studies.reproduction.findings.rank_correlations reduction 1",
        "studies.reproduction.findings.rank_correlations reduction 3",
    ),
    "a difference is taken whatever the sign of its claim": ("studies.reproduction.findings.rank_correlations reduction 4",),
    "an array of nothing": ("studies.reproduction.findings._mixing_findings constant 1",),
    "only the sign is looked at": ("studies.reproduction.findings._drain_findings reduction 1",),
    "without runs no point waits": ("studies.running._search reduction 1",),
    "what waits after the last round is not read": ("studies.running._search shift 7",),
    "a step that counts follows one that does": (
        "studies.measures.mixing_effects mask 1",
        "studies.measures.mixing_effects shift 2",
    ),
    "what a diverged policy is replaced by is NaN in the end": (
        "studies.measures.mixing_effects reduction 5",
        "studies.measures.mixing_effects constant 5",
        "studies.measures.mixing_effects constant 6",
    ),
    "from e^4 on the gate is 1 and its slope 0, to the last bit": (
        "losses.group_policy._sapo constant 6",
        "losses.group_policy._sapo constant 7",
    ),
    "a batch of rollouts is made without gradient": (
        "methods.policy_gradients.GroupGradient.advantage stop-gradient 1",
        "methods.policy_gradients.REINFORCE._score stop-gradient 1",
        "methods.policy_gradients.REINFORCE.advantage stop-gradient 1",
        "methods.policy_gradients.RLOO.advantage stop-gradient 1",
        "methods.policy_gradients.DrGRPO.advantage stop-gradient 1",
        "methods.mixed.HPT.judge stop-gradient 1",
        "methods.mixed.LUFFY.judge stop-gradient 1",
        "methods.mixed.LUFFY.judge stop-gradient 2",
        "methods.mixed.LUFFY.judge stop-gradient 3",
        "methods.mixed.LUFFY.judge stop-gradient 4",
        "methods.mixed.LUFFY.judge stop-gradient 5",
        "methods.mixed.LUFFY.judge stop-gradient 6",
    ),
    "the reference is frozen: no gradient comes of it": (
        "methods.preferences.PairSide.reference_logits stop-gradient 1",
        "methods.self_play.JudgedDPO.loss stop-gradient 6",
        "methods.self_play.JudgedDPO.loss stop-gradient 7",
        "methods.imitation.ASFT.loss stop-gradient 1",
        "methods.on_policy.GRPO.loss stop-gradient 1",
    ),
    "a method's inputs carry no gradient: `residual_embeddings` detaches them": (
        "methods.imitation.ScheduledSampling._replacement stop-gradient 1",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 2",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 3",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 4",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 5",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 6",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 7",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 8",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 9",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 10",
        "methods.source.DataSource.residual_log_probs stop-gradient 1",
    ),
    "a number that is drawn never equals a probability": ("methods.imitation.ScheduledSampling._replaced constant 1",),
    "either is far below the number of states that is refused": ("methods.imitation.NEFTune.__init__ constant 1",),
    "a lake's demonstrations are one batch, the same in every step": ("methods.imitation.SFT.windows constant 1",),
    "every number drawn is below 1, so that to draw is only more work": (
        "methods.imitation.ScheduledSampling._of_windows constant 3",
        "methods.imitation.ScheduledSampling._of_windows constant 4",
    ),
    "what a step is replaced by has no gradient": (
        "methods.imitation.ScheduledSampling._replacement stop-gradient 11",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 12",
        "methods.imitation.ScheduledSampling._replacement stop-gradient 13",
    ),
    "steps that do not count are left out of the mean, and all that are looked at count": (
        "methods.distillation.Distillation._divergence mask 1",
        "methods.distillation.Distillation._divergence constant 4",
        "methods.distillation.Distillation._divergence shift 2",
    ),
    "a reward that was learned has no gradient": ("methods.source.LakeSource.reward stop-gradient 1",),
    "IFT's predictions are made without gradient": (
        "methods.variants.AgreeingIFT.successor stop-gradient 1",
        "methods.variants.AgreeingIFT.successor stop-gradient 2",
        "methods.variants.AgreeingIFT.successor stop-gradient 3",
        "methods.variants.AgreeingIFT.successor stop-gradient 4",
        "methods.variants.MixtureIFT._predicted stop-gradient 2",
    ),
    "counts have no gradient": ("methods.variants.OracleIFT._right stop-gradient 1",),
    "a weight is normalised by the sum of all, and masked steps have none": ("methods.variants.AverageIFT.loss constant 2",),
    "states have no gradient": ("methods.source.LakeSource._episodes stop-gradient 1",),
    "what a diverged policy is replaced by does not count, its divergence is NaN": (
        "methods.source.LakeSource.own_kl reduction 1",
        "methods.source.LakeSource.own_kl constant 8",
        "methods.source.LakeSource.own_kl constant 9",
    ),
    "a row counted from the end is the same row": (
        "studies.frontier.conditions.flip_labels sign 1",
        "studies.frontier.conditions.flip_labels sign 2",
    ),
    "both sides of a difference have their seeds in the same order": ("studies.frontier.questions._difference reduction 1",),
    "the order is the same": (
        "studies.frontier.questions.answer_question constant 6",
        "studies.frontier.questions.answer_question shift 13",
    ),
    "a knob's values are all whole numbers or none is": ("studies.frontier.trials._trial reduction 1",),
    "a knob whose values are multiples of its default is no whole number": (
        "studies.frontier.trials._trial constant 3",
        "studies.frontier.trials._trial constant 4",
    ),
    "a tie has no loss, whichever of the two is first": ("methods.self_play.JudgedDPO.batch constant 3",),
    "REINFORCE and RLOO have a ratio of 1, and SAPO has no clip": ("methods.policy_gradients.GroupGradient.clip constant 1",),
    "CISPO's ratio has no bound from below": ("methods.policy_gradients.CISPO.clip constant 2",),
    "removes rounding of the last digits as well": (
        "evaluation.selection.next_value constant 4",
        "evaluation.selection.next_value constant 6",
        "evaluation.selection.next_value constant 3",
        "evaluation.selection.next_value constant 5",
    ),
}

EQUIVALENT = {name: reason for reason, names in NAMES_BY_REASON.items() for name in names}
"""The reason of each, by its name."""
