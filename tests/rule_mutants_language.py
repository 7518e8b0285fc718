"""Wrong rules of the language study: what it trains on, chooses by, measures and concludes (`rule_mutants.RuleMutant`)."""

from __future__ import annotations

from rule_mutants import RuleMutant, rules_of

__all__ = ["MUTANTS"]

CHOICE, RULES, TABLES = ("test_language_seed",), ("test_language_rules",), ("test_language_report",)


MUTANTS: tuple[RuleMutant, ...] = (
    *rules_of(
        "studies.language_seed",
        CHOICE,
        (
            "rates are chosen on held-out lakes",
            'self.metrics(policy, "validation")["sampled"] if',
            'self.metrics(policy, "held_out")["sampled"] if',
        ),
        ("rates are chosen by greedy success", '"validation")["sampled"] if', '"validation")["greedy"] if'),
        (
            "the first rate is always kept",
            "if best_key(self.scores, higher_is_better=True) == (rate, beta):",
            "if self._best is None:",
        ),
        ("the last rate is always kept", "if best_key(self.scores, higher_is_better=True) == (rate, beta):", "if True:"),
        ("the worst rate is kept", "if best_key(self.scores, higher_is_better=True)", "if best_key(self.scores)"),
        (
            "of equally good rates the last is kept",
            "if best_key(self.scores, higher",
            "if best_key(dict(reversed(self.scores.items())), higher",
        ),
        (
            "a run that diverges ends the search",
            "            self._error = error\n            return None",
            "            raise error",
        ),
        ("each process chooses by its own scores", "self.group.of_first(self", "float(self"),
        ("several settings are not measured", ") if self.several else 0.0", ") if not self.several else 0.0"),
        ("the grid is never extended", "EXTENSIONS if settings.extend else 0", "0"),
        ("the grid is extended although it is not wanted", "EXTENSIONS if settings.extend else 0", "EXTENSIONS"),
        (
            "the scores of the first beta stand for the chosen one's",
            'if beta == run.get("beta")})',
            "if beta == next(iter(trials.scores))[1]})",
        ),
        ("beta is noted and not used", "method_settings(settings, name, rate, beta)", "method_settings(settings, name, rate)"),
        (
            "the temperature is matched on held-out lakes",
            'self.task.lakes["validation"], self.probes["validation"])',
            'self.task.lakes["held_out"], self.probes["held_out"])',
        ),
        (
            "the temperature is searched in the wrong direction",
            "if entropy(temperature) < target:",
            "if entropy(temperature) > target:",
        ),
        (
            "SFT is tempered at IFT's rate",
            'self.align_at("sft", sft["learning_rate"], resume',
            'self.align_at("sft", ift["learning_rate"], resume',
        ),
        (
            "SFT is tempered to its own entropy",
            'find_temperature(entropy, ift["entropy"])',
            "find_temperature(entropy, entropy(1.0))",
        ),
        (
            "what is tempered is measured on validation lakes",
            '"step": self.settings.steps, **self.metrics(policy)}',
            '"step": self.settings.steps, **self.metrics(policy, "validation")}',
        ),
        ("all seeds share a base", "load_model(settings.model, seed=seed)", "load_model(settings.model, seed=0)"),
        ("all seeds share their lakes", "self.task = replace(settings.task, seed=seed)", "self.task = settings.task"),
        ("a method goes on from the one before it", "policy = copy.deepcopy(self.base)", "policy = self.base"),
        (
            "methods learn from held-out lakes",
            "return self.task.source(tokenizer, **options), 0",
            'return self.task.source(tokenizer, "held_out", **options), 0',
        ),
        (
            "what a method assumes is asked on its own lakes",
            'self.task.source(self.tokenizer, "held_out", device',
            'self.task.source(self.tokenizer, "maps", device',
        ),
        (
            "training is measured on validation lakes",
            'return self.metrics(policy) | {"bias"',
            'return self.metrics(policy, "validation") | {"bias"',
        ),
        (
            "lakes are measured with another set's paths",
            "self.task.lakes[name], self.task.paths[name]",
            'self.task.lakes[name], self.task.paths["held_out"]',
        ),
        ("lakes are measured with another set's probes", "probes=self.probes[name]", 'probes=self.probes["held_out"]'),
        ("lakes without a value count as 0", "float(x[x == x].mean())", "float(np.nan_to_num(x).mean())"),
    ),
    *rules_of(
        "studies.language_settings",
        CHOICE,
        (
            "an edge of the rates is not marked",
            '("learning_rate", "validation"), ("beta"',
            '("beta", "validation_of_beta"), ("beta"',
        ),
        ("one value alone is on an edge", "len(run[scores]) > 1 and is_on_edge", "is_on_edge"),
        ("an edge of the betas is not marked", '("beta", "validation_of_beta"))', '("learning_rate", "validation"))'),
        ("a rollout of on-policy methods has rows of its own", '"walkers": settings.batch}', '"walkers": 64}'),
    ),
    *rules_of(
        "studies.language_study",
        CHOICE,
        ("SFT is tempered to the IFT of the first seed", '(run, done[seed, "ift"])', '(run, done[min(done)[0], "ift"])'),
        ("each seed chooses from rates of its own", "for part, own in tried.items() if own != together", "for part, own in ()"),
        ("a common grid is extended again", "betas=betas, extend=False, resume=True)", "betas=betas, resume=True)"),
        ("all methods share one grid", "if part[1] == name\n", "if part[1]\n"),
        ("seeds are counted from 0", "range(settings.task.seed, settings.task.seed + settings.seeds)", "range(settings.seeds)"),
    ),
    *rules_of(
        "language.base_model",
        CHOICE,
        (
            "the base is trained on the lakes to align on",
            'encode_walks(task.lakes["base"], task.base_walks',
            'encode_walks(task.lakes["maps"], task.paths["maps"]',
        ),
        (
            "the base is trained on optimal paths",
            'task.lakes["base"], task.base_walks',
            'task.lakes["base"], task.paths["base"]',
        ),
        ("the cached base is that of any seed", "json.dumps(content, sort_keys=True)", "json.dumps(model)"),
    ),
    *rules_of(
        "language.task",
        RULES,
        ("sets of lakes overlap", "lakes[int(end) - count : int(end)]", "lakes[:count]"),
        ("all seeds draw the same lakes", "detours=self.detours, seed=self.seed)", "detours=self.detours, seed=0)"),
        ("the chosen answer is the rejected one", "best, best, rejected, end=", "best, rejected, best, end="),
        (
            "the order of the data is the same for all seeds",
            "limit=self.limit, seed=self.seed, **options",
            "limit=self.limit, **options",
        ),
    ),
    *rules_of(
        "language.source",
        RULES,
        ("every draw is the first one", "(self.seed, self.rank, self.draws)", "(self.seed, self.rank)"),
        ("all seeds draw alike", "(self.seed, self.rank, self.draws)", "(self.rank, self.draws)"),
        ("processes draw alike", "(self.seed, self.rank, self.draws)", "(self.seed, self.draws)"),
        (
            "a group is of answers to different prompts",
            "self._next_prompts(prompts).repeat(times)",
            "self._next_prompts(prompts * times)",
        ),
        ("a group's answers stand apart", "prompts).repeat(times)", "prompts)\n        index = np.tile(index, times)"),
        ("rollouts begin from the same prompts again", "self.prompt_batches += 1", "self.prompt_batches += 0"),
        ("an answer is paid at every token", "reward = last * rewards", "reward = batch.mask * rewards"),
        (
            "the reward model is trained on the wrong side",
            "_scores(model, chosen), _scores(model, rejected)",
            "_scores(model, rejected), _scores(model, chosen)",
        ),
        (
            "the reward model is read one token early",
            "last.amax(-1, keepdim=True))[..., 0]",
            "last.amax(-1, keepdim=True) - 1)[..., 0]",
        ),
        (
            "the reward model is read at the longest row's end",
            "last = torch.where(batch.mask, place, 0)",
            "last = place.expand_as(batch.mask)",
        ),
        ("the learned reward is paid at every token", "return steps.terminated * _scores", "return steps.mask * _scores"),
        ("all seeds see their rows in one order", "default_rng((self.seed, epoch))", "default_rng((0, epoch))"),
        ("an epoch repeats the one before", "default_rng((self.seed, epoch))", "default_rng((self.seed, 0))"),
    ),
    *rules_of(
        "language.rewards",
        RULES,
        (
            "moves too many cost nothing",
            "np.where(right, detour ** np.maximum(extra_moves, 0), 0.0)",
            "np.where(right, 1.0, 0.0)",
        ),
    ),
    *rules_of(
        "language.rewards",
        ("test_language_metrics",),
        ("an answer through a hole is right", "arrived & ended & ~moved_on & ~drowned", "arrived & ended & ~moved_on"),
        ("an answer without an end is right", "arrived & ended & ~moved_on", "arrived & ~moved_on"),
    ),
    *rules_of(
        "language.controls",
        RULES,
        ("the control of random tokens is plain IFT", '"ift_random": (RandomTokens, {})', '"ift_random": (IFT, {})'),
        ("the control of sampled tokens is plain IFT", '"ift_sampled": (SampledTokens, {})', '"ift_sampled": (IFT, {})'),
        ("the control of shifted tokens is plain IFT", '"ift_shifted": (WrongShift, {})', '"ift_shifted": (IFT, {})'),
        ("random tokens without propagation keep it", '(RandomTokens, {"propagation": "none"})', "(RandomTokens, {})"),
        ("sampled tokens without propagation keep it", '(SampledTokens, {"propagation": "none"})', "(SampledTokens, {})"),
        ("shifted tokens without propagation keep it", '(WrongShift, {"propagation": "none"})', "(WrongShift, {})"),
        (
            "tokens are shifted the other way",
            "predicted[..., 1:, :], predicted[..., -1:, :]",
            "predicted[..., :1, :], predicted[..., :-1, :]",
        ),
        ("random tokens may be the end", "words = words[words != self.source.end]", "words = words[words >= 0]"),
        (
            "random tokens are drawn once",
            "generator=self.source.random())\n            return self.policy.embed(words",
            "generator=torch.Generator().manual_seed(0))\n            return self.policy.embed(words",
        ),
    ),
    *rules_of(
        "methods.imitation",
        RULES,
        (
            "every control mixes in IFT's own prediction",
            "batch, self.successor, mixing)",
            "batch, self.source.successor(self.policy, self.options), mixing)",
        ),
    ),
    *rules_of(
        "language.training",
        RULES,
        (
            "gradients are not clipped",
            ("        torch.nn.utils.clip_grad_norm_(self.parameters, self.learner.max_grad_norm or MAX_GRAD_NORM)\n"),
            "",
        ),
        ("a method's own bound of the gradient is ignored", "self.learner.max_grad_norm or MAX_GRAD_NORM", "MAX_GRAD_NORM"),
        ("gradients add up over updates", "        self.optimiser.zero_grad(set_to_none=True)\n", ""),
        (
            "the learning rate stays at its peak",
            'group["lr"] = learning_rate(step, self.steps, self.peak)',
            'group["lr"] = self.peak',
        ),
        ("there is no warm-up", "min((step + 1) / warmup, (steps - step)", "min(1.0, (steps - step)"),
        ("the learning rate does not fall", "(steps - step) / max(1, steps - warmup))", "1.0)"),
        ("weights decay", "weight_decay=0.0)", "weight_decay=0.1)"),
        (
            "tokens are counted with their padding",
            "last.amax(-1).sum(), batch.mask.sum()",
            "torch.tensor(batch.mask.numel()), batch.mask.sum()",
        ),
        ("prompts count as predicted", "last.amax(-1).sum(), batch.mask.sum()", "last.amax(-1).sum(), last.amax(-1).sum()"),
        (
            "one side of the pairs is counted",
            "torch.stack([count_tokens(side) for side in batch]).sum(0)",
            "count_tokens(batch[0])",
        ),
        ("the first updates are timed", "if len(log.loss) >= min(UNTIMED, self.steps - 1):", "if True:"),
        ("draws begin anew when a run resumes", 'progress["walked"], progress["drawn"]', 'progress["walked"], 0'),
        ("prompts begin anew when a run resumes", 'progress["walked"], progress["drawn"]', '0, progress["drawn"]'),
        (
            "the base is measured after the first update",
            "        if self.done == 0:\n            self._evaluate()\n",
            "        if self.done == 1:\n            self._evaluate()\n",
        ),
    ),
    *rules_of(
        "language.checkpoints",
        RULES,
        (
            "the optimiser begins anew when a run resumes",
            "for name, value in tensors.items() if name.startswith(prefix)",
            "for name, value in tensors.items() if name == prefix",
        ),
    ),
    *rules_of(
        "methods.base",
        RULES,
        ("the reference learns", "copy.deepcopy(policy).requires_grad_(False) if", "policy if"),
    ),
    *rules_of(
        "methods.preferences",
        RULES,
        (
            "the rejected answer is the reference's",
            "self.source.answers(self.policy, chosen.batch)",
            "self.source.answers(self.reference, chosen.batch)",
        ),
        (
            "online DPO is DPO",
            "return chosen, PairSide(self.source.answers(self.policy, chosen.batch), self.reference)",
            "return super().batch(step)",
        ),
    ),
    *rules_of(
        "methods.on_policy",
        RULES,
        ("every update walks anew", "self._rollouts is None or step % self.renewal == 0", "True"),
        (
            "the first rollouts serve for all updates",
            "self._rollouts is None or step % self.renewal == 0",
            "self._rollouts is None",
        ),
    ),
    *rules_of(
        "language.policy",
        RULES,
        (
            "padded steps are mixed into a shared prompt",
            "mixed = mix_after(true[..., begin:, :], predicted, mask[..., begin:], mixing)",
            "mixed = mix_after(true[..., begin:, :], predicted, torch.ones_like(mask[..., begin:]), mixing)",
        ),
    ),
    *rules_of(
        "language.estimation",
        RULES,
        (
            "PPO's agreement counts walks that fell",
            "    exists &= np.logical_and.accumulate(repeated.distance[lake, tiles] < UNREACHABLE, 1)\n",
            "",
        ),
        (
            "a walk that fell is compared again where it rises",
            "np.logical_and.accumulate(repeated.distance[lake, tiles] < UNREACHABLE, 1)",
            "repeated.distance[lake, tiles] < UNREACHABLE",
        ),
        ("nothing assumed is an agreement of 0", "np.full(count.shape, np.nan)", "np.zeros(count.shape)"),
        ("the bias has the other sign", "estimate - truth, 0.0", "truth - estimate, 0.0"),
        ("the bias counts padded steps", "counts = mask & ~np.isnan(estimate)", "counts = ~np.isnan(estimate)"),
    ),
    *rules_of(
        "language.estimation",
        ("test_language_estimation",),
        ("SFT assumes the product of its steps", "return step, truth, mask", "return truth, truth, mask"),
        (
            "IFT assumes the product of the true steps",
            "return per_step(mixed=True).cumprod(1), truth, mask",
            "return truth, truth, mask",
        ),
    ),
    *rules_of(
        "language.metrics",
        RULES,
        (
            "greedy answers are sampled",
            "moves, ended = sample_paths(policy, tokenizer, lakes, limit)\n",
            "moves, ended = sample_paths(policy, tokenizer, lakes, limit, torch.Generator().manual_seed(seed))\n",
        ),
        (
            "sampled answers are greedy",
            "sample_paths(policy, tokenizer, repeated, limit, generator)",
            "sample_paths(policy, tokenizer, repeated, limit)",
        ),
        (
            "all seeds sample alike",
            "generators(seed, 1)[0], repeat_lakes",
            "generators(0, 1)[0], repeat_lakes",
        ),
        (
            "the end is asked before the goal",
            'result["end"] = _group_mean(probes.lake[goal], chance[goal, END_ACTION]',
            'result["end"] = _group_mean(probes.lake[~goal], chance[~goal, END_ACTION]',
        ),
        ("the goal counts in the distance", '("distance", ~goal),', '("distance", goal | ~goal),'),
        ("on the path is off it", '("distance_on", ~goal & probes.on_path)', '("distance_on", ~goal & ~probes.on_path)'),
        ("off the path is everywhere", '("distance_off", ~goal & ~probes.on_path)', '("distance_off", ~goal)'),
        (
            "a sampled answer counts for another lake",
            "values.reshape(samples, -1).mean(0)",
            "values.reshape(-1, samples).mean(1)",
        ),
    ),
    *rules_of(
        "language.probes",
        ("test_language_metrics",),
        ("to a tile on the path leads a shortest way", "return shortest | human", "return human | shortest"),
    ),
    *rules_of(
        "studies.language_report",
        TABLES,
        ("a method is marked if all of its seeds are on an edge", "if any(map(has_edge, mine))", "if all(map(has_edge, mine))"),
        (
            "the base is that of the first seed",
            'run["measured"][-1].get(metric, np.nan) - run["measured"][0].get(metric, np.nan) for run in mine',
            'run["measured"][-1].get(metric, np.nan) - mine[0]["measured"][0].get(metric, np.nan) for run in mine',
        ),
        ("runs of different studies are compared", "        if other:\n", "        if False:\n"),
        (
            "what was not measured counts as 0",
            "values = [value for value in values if np.isfinite(value)]\n        if values:",
            "values = list(np.nan_to_num(values))\n        if values:",
        ),
        (
            "differences are paired by position",
            (
                'differences = [run["measured"][-1].get(metric, np.nan) - theirs[run["seed"]] for run in mine if '
                'run["seed"] in theirs]'
            ),
            ('differences = [run["measured"][-1].get(metric, np.nan) - value for run, value in zip(mine, theirs.values())]'),
        ),
        (
            "differences have the other sign",
            'run["measured"][-1].get(metric, np.nan) - theirs[run["seed"]] for',
            'theirs[run["seed"]] - run["measured"][-1].get(metric, np.nan) for',
        ),
        (
            "differences are from SFT's base",
            'theirs = {run["seed"]: run["measured"][-1]',
            'theirs = {run["seed"]: run["measured"][0]',
        ),
        (
            "a result is that of the first measurement",
            'put(f"{name}: {metric}", [run["measured"][-1]',
            'put(f"{name}: {metric}", [run["measured"][1]',
        ),
        (
            "the base's own row is what it became",
            'put(f"base: {metric}", [run["measured"][0]',
            'put(f"base: {metric}", [run["measured"][-1]',
        ),
        (
            "the base's row in the table is what it became",
            '"(base)", *(_with_interval([run["measured"][0]',
            '"(base)", *(_with_interval([run["measured"][-1]',
        ),
        ("a difference is clear although 0 is in its interval", "not signed or is_clear(low, high)", "not signed or mean != 0"),
        ("the interval is a standard deviation", "±{high - mean:.3f}", "±{np.std(values, ddof=1):.3f}"),
        ("speed is that of the first seed", "sum(run[name] for run in mine)", "mine[0][name]"),
    ),
    *rules_of(
        "evaluation.statistics",
        ("test_statistics", "test_language_report"),
        ("the interval is a normal one", "stdtrit(count - 1, 0.5 + level / 2)", "stdtrit(1e9, 0.5 + level / 2)"),
        ("the interval has the level of one side", "stdtrit(count - 1, 0.5 + level / 2)", "stdtrit(count - 1, level)"),
        (
            "the interval takes the sample for the population",
            "values.std(-1, ddof=1) / np.sqrt(count)",
            "values.std(-1) / np.sqrt(count)",
        ),
    ),
)
