"""Wrong rules of methods and of the frontier study: what is kept for how long, who is asked, which lakes decide."""

from __future__ import annotations

from rule_mutants import RuleMutant, rules_of

__all__ = ["MUTANTS"]


MUTANTS: tuple[RuleMutant, ...] = (
    *rules_of(
        "methods.policy_gradients",
        ("test_policy_gradients",),
        ("REINFORCE pays for KL twice", "pays_in_reward = True", "pays_in_reward = False"),
        ("REINFORCE averages an episode's steps", '    average = "sum"\n', '    average = "sequence"\n'),
        ("Dr. GRPO divides by an episode's own length", '    average = "length"\n', '    average = "sequence"\n'),
        (
            "DAPO averages episodes first",
            '    average = "batch"\n    options_type = DAPOOptions',
            '    average = "sequence"\n    options_type = DAPOOptions',
        ),
        (
            "CISPO averages episodes first",
            '    average = "batch"\n    options_type = CISPOOptions',
            '    average = "sequence"\n    options_type = CISPOOptions',
        ),
        ("GSPO has a ratio a step", '    level = "sequence"\n', '    level = "token"\n'),
        ("CISPO clips", '    objective = "cispo"\n', '    objective = "clip"\n'),
        ("SAPO clips", '    objective = "sapo"\n', '    objective = "clip"\n'),
        ("RLOO's baseline holds the episode itself", "leave_one_out_advantage(score)", "group_relative_advantage(score)"),
        ("Dr. GRPO divides by the deviation", "score, scale=False)", "score)"),
        (
            "DAPO leaves out episodes that are average, not groups",
            "!= 0).any(-1).repeat_interleave(group, -1)",
            "!= 0).flatten(1)",
        ),
    ),
    *rules_of(
        "methods.mixed",
        ("test_policy_gradients",),
        ("groups always start where the first demonstrations do", "self._number = step // self.renewal", "pass"),
        ("every update takes other demonstrations", "self._number = step // self.renewal", "self._number = step"),
        (
            "HPT follows the gradient where it imitates, too",
            "self.advantage(own) * ~fails[..., None]",
            "self.advantage(own)",
        ),
        ("HPT imitates always", "fails.to(own.dtype)\n", "torch.ones_like(fails).to(own.dtype)\n"),
        (
            "LUFFY's demonstration is not one of its group",
            "advantage = self.advantage(torch.cat([own, guides], -1))",
            "advantage = torch.cat([self.advantage(own), guides], -1)",
        ),
        ("LUFFY's demonstration is imitated", "chance / (chance + self.options.shaping)", "chance.log()"),
        ("LUFFY's own episodes count in full", "(1 - self.guides / self.options.size) *", "1.0 *"),
    ),
    *rules_of(
        "methods.self_play",
        ("test_self_play",),
        (
            "SPIN's reference stays the base",
            "self._reference, self._chosen = copy.deepcopy(self.policy).requires_grad_(False), None",
            "self._chosen = None",
        ),
        ("SPIN's opponent learns on", "copy.deepcopy(self.policy).requires_grad_(False)", "self.policy"),
        ("SPIN plays against itself", "self.source.answers(self.reference, shown)", "self.source.answers(self.policy, shown)"),
        (
            "SPIN keeps the last round's reference log-probs",
            "requires_grad_(False), None",
            "requires_grad_(False), self._chosen",
        ),
        ("judged answers start apart", "self.options.walkers, 2)", "self.options.walkers, 1)"),
        ("a tie is a pair", "(loss * batch.differs).sum(-1)", "loss.sum(-1)"),
    ),
    *rules_of(
        "methods.distillation",
        ("test_imitation_rivals",),
        ("DAgger forgets earlier rounds", "self.rounds.append(", "self.rounds.clear() or self.rounds.append("),
        (
            "DAgger learns the last round alone",
            "return self.rounds[turn - 1] if turn else",
            "return self.rounds[-1] if turn else",
        ),
        ("DAgger forgets the demonstrations", "turn = step % (len(self.rounds) + 1)", "turn = min(step, len(self.rounds))"),
        (
            "distillation learns the teacher's best action",
            "chances)",
            "(chances == chances.amax(-1, keepdim=True)).to(chances))",
        ),
    ),
    *rules_of(
        "methods.imitation",
        ("test_imitation_rivals",),
        (
            "scheduled sampling replaces at once",
            "options.probability * (min(1.0, self._step / options.rise) if options.rise else 1.0)",
            "options.probability",
        ),
        (
            "scheduled sampling keeps what it should replace",
            "< self.probability\n",
            ">= self.probability\n",
        ),
        ("one coin an episode", "self.source.uniform(*states.shape[1:])", "self.source.uniform(*states.shape[1:-1], 1)"),
        (
            "ASFT's KL is that of the policy from the base",
            "kl_divergence(base, self.policy(batch.states))",
            "kl_divergence(self.policy(batch.states), base)",
        ),
        (
            "NEFTune's noise has one sign",
            "2 * self.source.uniform(*true.shape[1:]) - 1",
            "self.source.uniform(*true.shape[1:])",
        ),
    ),
    *rules_of(
        "methods.preference_kinds",
        ("test_preference_kinds",),
        ("KTO's point is always the estimate", 'self.options.kl != "mismatched"', "False"),
        ("KTO's point is the chosen answers'", "for side in batch]\n        ratios", "for side in batch[:1]]\n        ratios"),
        ("CPO sums the chosen answer's likelihood", "options.imitation * chosen.mean", "options.imitation * chosen.sum"),
    ),
    *rules_of(
        "methods.source",
        ("test_source", "test_imitation_rivals"),
        (
            "members of other lakes walk on the first",
            "WalkTables.of(self.environments",
            "WalkTables.of(self.mdp",
        ),
        ("the goal is the first lake's", ".reached_goal(lake) for", ".reached_goal(self.mdp) for"),
        ("a demonstrator is the optimal policy", '== "demonstrator"', '== "nobody"'),
        ("the KL is discounted", "discount=1.0, horizon", "discount=lake.discount, horizon"),
        ("where all is over the KL counts", "- 1) * ~lake.terminal", "- 1)"),
        (
            "a group's episodes start apart",
            ".states.repeat_interleave(group, -1)\n        return",
            ".states.repeat(1, group)\n        return",
        ),
    ),
    *rules_of(
        "studies.frontier.trials",
        ("test_frontier_trials",),
        ("the best trial has the least regret on one lake", "float(np.mean(values))", "float(np.min(values))"),
        (
            "trials beyond an edge need not be allowed",
            "if _is_allowed(method, trial)]",
            "if trial]",
        ),
    ),
    *rules_of(
        "studies.frontier.conditions",
        ("test_frontier_trials",),
        (
            "trials are judged on the lakes that are reported",
            "return Condition(HELD_IN, self.dynamics,",
            'return Condition("random", self.dynamics,',
        ),
        (
            "likelihoods are judged by the wrong labels",
            "PreparedCondition(names, lakes, flipped, data,",
            "PreparedCondition(names, lakes, flipped, flipped,",
        ),
        ("all lakes are the first", "in enumerate(maps):", "in enumerate(maps[:1] * len(maps)):"),
    ),
    *rules_of(
        "studies.frontier.questions",
        ("test_frontier_questions",),
        (
            "p-values are not corrected",
            "false_discovery_rates([answer.effect.p for answer in answers])",
            "[answer.effect.p for answer in answers]",
        ),
        (
            "diverged policies count as none",
            "x for values in own for x in values.values() if np.isfinite(x)",
            "x for values in own for x in values.values()",
        ),
        (
            "wrong labels are compared with the centre",
            "clean = table.values(replace(parsed, flipped=0.0).name,",
            "clean = table.values(Condition().name,",
        ),
        (
            "the worst method is first",
            "direction = -1 if question.higher_is_better else 1",
            "direction = 1 if question.higher_is_better else -1",
        ),
        (
            "the share is that of all differences above 0",
            "sign == np.sign(_rounded(effect.value)) for sign",
            "sign > 0 for sign",
        ),
    ),
)
