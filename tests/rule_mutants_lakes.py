"""Wrong rules of the lake studies: what they choose on, measure, pair, average and conclude (`rule_mutants.RuleMutant`)."""

from __future__ import annotations

from rule_mutants import RuleMutant, rules_of

__all__ = ["MUTANTS"]

SELECTION, RUNNING, CLAIMS, FINDINGS = ("test_selection",), ("test_running",), ("test_claims",), ("test_findings",)
STATISTICS = ("test_statistics",)


MUTANTS: tuple[RuleMutant, ...] = (
    # ---- what is chosen, by which numbers ----
    *rules_of(
        "evaluation.selection",
        SELECTION,
        ("the best checkpoint is that of seed 0", "distance[1:].mean(-1)", "distance[1:, 0]"),
        ("the best checkpoint is that of the worst seed", "distance[1:].mean(-1)", "distance[1:].max(-1)"),
        ("the best checkpoint is that of the best seed", "distance[1:].mean(-1)", "distance[1:].min(-1)"),
        ("seeds that diverged do not count at a checkpoint", "distance[1:].mean(-1)", "np.nanmean(distance[1:], -1)"),
        (
            "the base may be the best checkpoint",
            "1 + best_key(dict(enumerate(distance[1:].mean(-1))))",
            "best_key(dict(enumerate(distance.mean(-1))))",
        ),
        ("the best checkpoint is the one before it", "return 1 + best_key(", "return best_key("),
        ("the best is the worst", "-score if higher_is_better else score", "score if higher_is_better else -score"),
        ("of equals the last is the best", "return min(scores, key", "return min(reversed(scores), key"),
        ("what diverged is the best", "return math.inf", "return -math.inf"),
        ("an infinite score is sound", "math.isfinite(score)", "not math.isnan(score)"),
        ("the common rate is the nearest in difference", "abs(math.log(rates[i] / common))", "abs(rates[i] - common)"),
        (
            "the common rate is the first",
            "return min(range(len(rates)), key=lambda i: abs(math.log(rates[i] / common)))",
            "return 0",
        ),
        (
            "a lower edge is not extended",
            "for up in (False, True) if",
            "for up in (True,) if",
        ),
        ("an upper edge is not extended", "for up in (False, True) if", "for up in (False,) if"),
        ("a grid is extended inwards", "next_value(best[axis], up=up)", "next_value(best[axis], up=not up)"),
        ("beta is not on the grid", "enumerate(point):", "enumerate(point[:1]):"),
        ("an edge is one of all points, whatever their other value", "if (each[:axis], each[axis + 1 :]) == others]", "]"),
        ("a grid goes on with equal steps", 'return float(f"{value * factor:.6g}")', "return value + (0.1 if up else -0.001)"),
        ("a single value is a grid", "while given > 1 and", "while"),
        ("a search in which nothing is sound goes on", " if is_sound(scores[best]) else []", ""),
        ("a search prefers low scores", "best = best_key(scores, higher_is_better=True)", "best = best_key(scores)"),
        ("a search goes on once too often", "len(scores) < given + limit", "len(scores) <= given + limit"),
    ),
    *rules_of(
        "studies.running",
        RUNNING,
        (
            "the best checkpoint is that of the first lake and method",
            'best_checkpoint(measured["distance"]))):',
            'self.__dict__.setdefault("best", best_checkpoint(measured["distance"])))):',
        ),
        (
            "the best checkpoint is that of the first rate",
            'best_checkpoint(measured["distance"]))):',
            'self.__dict__.setdefault(f"{labels[\'method\']} {lake}", best_checkpoint(measured["distance"])))):',
        ),
        ("the best checkpoint is the last", '("best", best_checkpoint(measured["distance"]))', '("best", len(self.keep) - 1)'),
        (
            "the last row is the best checkpoint's",
            '(("last", len(self.keep) - 1), ',
            '(("last", best_checkpoint(measured["distance"])), ',
        ),
        (
            "rates and seeds are swapped in a population",
            "dtype=torch.float32).repeat_interleave(self.seeds).repeat(lakes)",
            "dtype=torch.float32).repeat(self.seeds).repeat(lakes)",
        ),
        ("members start from another seed's base", "lake * seeds + i for lake", "lake * seeds + (i + 1) % seeds for lake"),
        ("members of all lakes start from the first lake's bases", "[lake * seeds + i for lake", "[i for lake"),
        (
            "members learn from seed 0's data",
            "self.group.data[m // self.seeds][m % self.seeds]",
            "self.group.data[m // self.seeds][0]",
        ),
        (
            "members learn from another lake's data",
            "self.group.data[m // self.seeds][m % self.seeds]",
            "self.group.data[-1][m % self.seeds]",
        ),
        (
            "the bias after training is that of the first rate",
            "first = (lake * points + common) * self.seeds",
            "first = lake * points * self.seeds",
        ),
        (
            "the bias after training is that of the first lake",
            "first = (lake * points + common) * self.seeds",
            "first = common * self.seeds",
        ),
        (
            "the bias is measured at the first rate",
            "common = grid[nearest_rate(rates, setting.common_rate)]",
            "common = grid[0]",
        ),
        (
            "the bias after training is that of the base",
            '(("base_", before), ("", after))',
            '(("base_", before), ("", before))',
        ),
        (
            "the bias before training is that of the trained",
            '(("base_", before), ("", after))',
            '(("base_", after), ("", after))',
        ),
        ("a grid is never extended", "waiting = _beyond(tried) if left else []", "waiting = []"),
        (
            "a grid is extended once less than is allowed",
            "_beyond(tried) if left else []",
            "_beyond(tried) if left > 1 else []",
        ),
        (
            "a grid is extended by the last checkpoint alone",
            'for checkpoint in ("last", "best"):\n        scores',
            'for checkpoint in ("last",):\n        scores',
        ),
        (
            "a grid is extended by the best checkpoint alone",
            'for checkpoint in ("last", "best"):\n        scores',
            'for checkpoint in ("best",):\n        scores',
        ),
        (
            "a grid is extended by the first lakes alone",
            '[t["distance"] for t in tables if',
            '[t["distance"] for t in tables[:2] if',
        ),
        (
            "a grid is extended by the lakes and seeds that are sound",
            'float(np.concatenate([t["distance"] for t in tables if t["checkpoint"][0] == checkpoint]).mean())',
            'float(np.nanmean(np.concatenate([t["distance"] for t in tables if t["checkpoint"][0] == checkpoint])))',
        ),
        ("a grid of which nothing is sound is extended", "if is_sound(scores[best]):", "if True:"),
        ("no point is marked as on an edge", "int(is_on_edge(point, tried))", "0"),
        (
            "edges are those of the grid that was asked for",
            "int(is_on_edge(point, tried))",
            "int(is_on_edge(point, candidate.grid) if point in candidate.grid else False)",
        ),
        ("beta is never tried", "has_beta = extensions > 0 and", "has_beta = False and"),
        ("another beta is run with the default", '({"beta": beta[0]} if beta else {})', "{}"),
        ("rows of another beta pass for the default's", '"" if beta == candidate.grid[0][1:] else beta[0]', '""'),
        ("rows have the seeds of the first run", "np.arange(self.seed, self.seed + self.seeds)", "np.arange(self.seeds)"),
    ),
    # ---- whose data, what is measured ----
    *rules_of(
        "studies.data",
        RUNNING,
        (
            "every pair is the first one",
            "repeated = torch.arange(count) % len(chosen.states)",
            "repeated = torch.arange(count) * 0",
        ),
        (
            "all seeds have seed 0's pairs where it slips",
            "label_pairs(first[i], second[i], mdp.discount)",
            "label_pairs(first[0], second[0], mdp.discount)",
        ),
        (
            "all seeds are shown seed 0's demonstrations where it slips",
            "data.append(SeedData(shown[i],",
            "data.append(SeedData(shown[0],",
        ),
    ),
    *rules_of(
        "studies.data",
        ("test_study",),
        (
            "chosen and rejected are swapped where it slips",
            "trim(chosen[repeated]), trim(rejected[repeated])",
            "trim(rejected[repeated]), trim(chosen[repeated])",
        ),
        (
            "chosen and rejected are swapped on firm ice",
            "SeedData(shown[i], shown[i], detour)",
            "SeedData(shown[i], detour, shown[i])",
        ),
        (
            "all seeds are shown seed 0's paths on firm ice",
            "SeedData(shown[i], shown[i], detour)",
            "SeedData(shown[0], shown[0], detour)",
        ),
    ),
    *rules_of(
        "studies.measures",
        RUNNING,
        (
            "a diverged policy counts as uniform",
            "np.where(sound, value, np.nan) for name, value in result",
            "value for name, value in result",
        ),
        (
            "a seed that diverged takes all others with it",
            "sound = np.isfinite(policies).all((-2, -1))",
            "sound = np.isfinite(policies).all((-3, -2, -1), keepdims=True)[..., 0, 0]",
        ),
        (
            "mixing of a diverged policy counts as that of a uniform one",
            "np.where(sound, np.stack(values, -1), np.nan)",
            "np.stack(values, -1)",
        ),
        ("estimation of a diverged policy is as before", '{"bias": np.nan, "gap": np.nan}', '{"bias": 0.0, "gap": 0.0}'),
        ("the taught action is that of the step before", "batch.actions[:, 1:])]", "batch.actions[:, :-1])]"),
        ("the taught action is that of the step after", "batch.actions[:, 1:])]", "torch.roll(batch.actions, -1, 1)[:, 1:])]"),
    ),
    *rules_of(
        "studies.measures",
        ("test_study",),
        ("what mixing teaches has its sign flipped", 'effects["push"].append(np.einsum(', 'effects["push"].append(-np.einsum('),
        ("right is the share of all predictions", "np.divide(rightly, total,", "np.divide(rightly, np.ones_like(total),"),
        ("moves of the rejected answer are unseen", "for side in (data.chosen, data.rejected):", "for side in (data.chosen,):"),
        (
            "missed predictions are those that lead to the human's tile",
            "== following[:, None], 0.0, reached)",
            "!= following[:, None], 0.0, reached)",
        ),
    ),
    # ---- what is compared ----
    *rules_of(
        "studies.results",
        CLAIMS,
        (
            "the best rate is chosen at the last checkpoint",
            "k.rate, view.checkpoint, k.beta).mean()",
            'k.rate, "last", k.beta).mean()',
        ),
        (
            "the best rate is chosen by the worst lake",
            "view.checkpoint, k.beta).mean() for",
            "view.checkpoint, k.beta).mean(-1).max() for",
        ),
        (
            "the best rate is chosen by the first lake",
            "view.checkpoint, k.beta).mean() for",
            "view.checkpoint, k.beta)[0].mean() for",
        ),
        (
            "the best rate is chosen by the first seed",
            "view.checkpoint, k.beta).mean() for",
            "view.checkpoint, k.beta)[:, 0].mean() for",
        ),
        (
            "the best rate is chosen by the best seed",
            "view.checkpoint, k.beta).mean() for",
            "view.checkpoint, k.beta).min(-1).mean() for",
        ),
        (
            "the best rate is chosen by the seeds that are sound",
            'self.at("distance", method, k.rate, view.checkpoint, k.beta).mean()',
            'np.nanmean(self.at("distance", method, k.rate, view.checkpoint, k.beta))',
        ),
        (
            "all methods are compared at the common rate",
            'if view.rate == "common":\n                rates',
            "if True:\n                rates",
        ),
        (
            "all methods are compared at their own best",
            'if view.rate == "common":\n                rates',
            "if False:\n                rates",
        ),
        (
            "the best is chosen among the default betas",
            "tried = self.tried(method)\n",
            'tried = [Knobs(rate, "") for rate in self.rates(method)]\n',
        ),
        ("the common point may have any beta", "if not beta]", "if True]"),
        (
            "the difference is the second less the first",
            "self.measure(claim.measure, claim.first, view) - self.measure(claim.measure, claim.second, view)",
            "self.measure(claim.measure, claim.second, view) - self.measure(claim.measure, claim.first, view)",
        ),
        (
            "both methods are compared at the first one's rate",
            "- self.measure(claim.measure, claim.second, view)",
            "- self.at(claim.measure, claim.second, *self.chosen(claim.first, view)[:1], view.checkpoint)",
        ),
        (
            "the measure is that of the last checkpoint",
            "return self.at(measure, method, rate, view.checkpoint, beta)",
            'return self.at(measure, method, rate, "last", beta)',
        ),
        (
            "a difference is paired with another seed",
            "- self.measure(claim.measure, claim.second, view)",
            "- self.measure(claim.measure, claim.second, view)[:, ::-1]",
        ),
        (
            "a difference is paired with another lake",
            "- self.measure(claim.measure, claim.second, view)",
            "- self.measure(claim.measure, claim.second, view)[::-1]",
        ),
        ("nothing is marked as on an edge", "== 1))", "== 2))"),
        ("at the common rate an edge is marked as well", 'if view.rate == "common" or', "if"),
    ),
    # ---- what is concluded ----
    *rules_of(
        "studies.verdicts",
        CLAIMS,
        (
            "a claim holds by the negative sign whatever it says",
            "return self.effect.value * self.sign > NEGLIGIBLE",
            "return -self.effect.value > NEGLIGIBLE",
        ),
        ("rounding decides", "return self.effect.value * self.sign > NEGLIGIBLE", "return self.effect.value * self.sign > 0"),
        ("rounding is clear", "or abs(self.effect.value) <= NEGLIGIBLE:", "or False:"),
        ("what is not clear holds", "if not self.effect.is_clear or", "if"),
        (
            "reversed and holds are swapped",
            'return "holds" if self.effect.value * self.sign > 0',
            'return "holds" if self.effect.value * self.sign < 0',
        ),
        (
            "settings are not corrected for their number",
            "rates = false_discovery_rates([v.effect.p for v in verdicts])",
            "rates = [v.effect.p for v in verdicts]",
        ),
        (
            "settings are corrected by Bonferroni",
            "rates = false_discovery_rates([v.effect.p for v in verdicts])",
            "rates = [v.effect.p * len(verdicts) for v in verdicts]",
        ),
        (
            "settings in which nothing is compared count",
            "measured = [v for v in verdicts if v.effect.lakes]",
            "measured = list(verdicts)",
        ),
        (
            "holds counts what is clear",
            "outcomes = [v.holds for v in measured]",
            'outcomes = [v.word == "holds" for v in measured]',
        ),
        ("reversed counts what does not hold", '[word == "reversed" for word in words]', "[not v.holds for v in measured]"),
        ("DPO < IFT is enough for the published order", "for pair in ORDER)", "for pair in ORDER[:1])"),
        ("one of the published order is enough", "return all(verdict(", "return any(verdict("),
        (
            "an edge is that of the first method",
            "for method in (claim.first, claim.second) if",
            "for method in (claim.second,) if",
        ),
        (
            "a row is that of the first view",
            'matches = (pooled["claim"] == claim) & (pooled["rate"] == view.rate) & (pooled["checkpoint"] == view.checkpoint)',
            'matches = pooled["claim"] == claim',
        ),
    ),
    *rules_of(
        "studies.verdicts",
        FINDINGS,
        ("the published order is the reverse", "Claim(*pair, measure, -1), view)", "Claim(*pair, measure, 1), view)"),
    ),
    *rules_of(
        "studies.claims",
        CLAIMS,
        ("success is better where it is lower", '"regret": -1, "success": 1}', '"regret": -1, "success": -1}'),
        ("all that is tested is claimed by the paper", "return view != LAST or not (", "return False and not ("),
        ("the paper orders ORPO and SFT", "(claim.first, claim.second) in ORDER", "(claim.first, claim.second) in PAIRS"),
        ("every view is the paper's", "return view != LAST or", "return"),
        (
            "estimation is tested at every view",
            'return not claim.measure.endswith(("bias", "gap")) or view == LAST',
            "return True",
        ),
    ),
    *rules_of(
        "studies.verdicts",
        CLAIMS,
        ("settings of all kinds are drawn again together", "verdicts, strata(settings))", "verdicts, [0] * len(settings))"),
        ("kinds of settings are not heeded", "for each in results], strata=strata)", "for each in results])"),
    ),
    *rules_of(
        "evaluation.estimation",
        ("test_estimation",),
        ("the bias is the truth less the estimate", "return self.estimate - self.truth", "return self.truth - self.estimate"),
        ("the gap is twice the total variation", "return 0.5 * np.abs(self.preference", "return np.abs(self.preference"),
        ("the truth is of one step", "self.truth = self.step.cumprod(-1)", "self.truth = self.step"),
        (
            "SFT estimates the whole answer",
            "walks.at_human, walks.step, walks.human_prior",
            "walks.at_human, walks.truth, walks.human_prior",
        ),
        ("a stale answer may part and meet again", "same, 1.0).cumprod(-1), walks", "same, 1.0), walks"),
        (
            "steps after the end have probability 0",
            "(self.at_human * self.leads).sum(-1), 1.0)",
            "(self.at_human * self.leads).sum(-1), 0.0)",
        ),
        (
            "the model's own walk includes what has ended",
            "out=np.full(walk.shape, np.nan), where=going > 0)",
            "out=np.full(walk.shape, np.nan), where=going > 0) * going",
        ),
    ),
    # ---- which settings and lakes ----
    *rules_of(
        "studies.reproduction.design",
        ("test_reproduction",),
        ("levels are not balanced", "levels[i % len(levels)] for i", "levels[i * i % len(levels)] for i"),
        ("factors follow one another", "[repeated[i] for i in random.permutation(len(lakes))]", "repeated"),
        ("variants are chosen on lakes of the claims", 'HELD_IN = "lakes-0.8-5"', 'HELD_IN = "lakes-0.8-0"'),
        ("variants are judged on lakes of the claims", '("lakes-0.7-6", "lakes-0.9-6")', '("lakes-0.7-0", "lakes-0.9-6")'),
        ("blocks have as many seeds as single lakes", "else max(2, seeds // 4)", "else seeds"),
    ),
    *rules_of(
        "studies.parts",
        ("test_reproduction",),
        (
            "a saved part of other settings counts",
            "return load_table(self.path(folder))[1] == self.about",
            "return bool(load_table(self.path(folder)))",
        ),
        ("a saved part of other lakes counts", 'entries["lakes"] = zlib', "_ = zlib"),
    ),
    *rules_of(
        "studies.lakes",
        ("test_study",),
        (
            "all blocks have the same lakes",
            "first = BLOCK_SIZE * int(block) + round(1000 * float(density))",
            "first = round(1000 * float(density))",
        ),
        (
            "blocks overlap",
            "seeds = range(1000 * first, 1000 * first + BLOCK_SIZE)",
            "seeds = range(first // 2, first // 2 + BLOCK_SIZE)",
        ),
    ),
    # ---- findings ----
    *rules_of(
        "studies.reproduction.findings",
        FINDINGS,
        (
            "rank correlations have their sign flipped",
            "float(spearmanr(predicted[finite], change[finite]).statistic)",
            "-float(spearmanr(predicted[finite], change[finite]).statistic)",
        ),
        (
            "rank correlations are with SFT - IFT",
            'Claim("ift", "sft", "distance", -1), LAST).mean(-1)',
            'Claim("sft", "ift", "distance", -1), LAST).mean(-1)',
        ),
        ("rank correlations are of two lakes", "finite.sum() >= FEWEST_LAKES and", "finite.sum() >= 2 and"),
        (
            "rank correlations are pooled over all groups",
            "for setting, rank in ranks if belongs(setting)]",
            "for setting, rank in ranks]",
        ),
        (
            "the ablation is paired with another seed",
            "each[lake, seed] - reference[lake, seed] for seed",
            "each[lake, seed] - reference[lake, seeds[seeds.index(seed) - 1]] for seed",
        ),
        (
            "the ablation is paired with another lake",
            "each[lake, seed] - reference[lake, seed] for seed",
            "each[lake, seed] - reference[lakes[lakes.index(lake) - 1], seed] for seed",
        ),
        ("the ablation is paired with the other ice", "reference = values[key[0], ", 'reference = values["firm", '),
        (
            "the ablation is SFT less IFT",
            "each[lake, seed] - reference[lake, seed] for seed",
            "reference[lake, seed] - each[lake, seed] for seed",
        ),
        (
            "the ablation takes the best checkpoint",
            '(columns["checkpoint"] == "last") & (columns["method"]',
            '(columns["checkpoint"] == "best") & (columns["method"]',
        ),
        ("variants are chosen on a held-out block", "chosen = _best_options(held_in)", "chosen = _best_options(others[0])"),
        (
            "variants are judged on the held-in lakes",
            "for name, results in by_map.items() if name != HELD_IN]",
            "for name, results in by_map.items() if name == HELD_IN]",
        ),
        (
            "variants are judged on all lakes",
            "for name, results in by_map.items() if name != HELD_IN]",
            "for name, results in by_map.items()]",
        ),
        (
            "variants are chosen by success",
            'held_in.at("distance", *option, "last").mean()',
            '-held_in.at("success", *option, "last").mean()',
        ),
        (
            "variants are chosen at the best checkpoint",
            'held_in.at("distance", *option, "last").mean()',
            'held_in.at("distance", *option, "best").mean()',
        ),
        (
            "a variant is the other less it",
            "_last(others, chosen[kind], measure) - _last(others, chosen[against], measure)",
            "_last(others, chosen[against], measure) - _last(others, chosen[kind], measure)",
        ),
        ("no variant is on an edge", "return is_on_edge(points[option], points.values())", "return False"),
        ("a tie holds", "sum(abs(one.effect.value) <= NEGLIGIBLE for", "sum(one.effect.value <= NEGLIGIBLE for"),
        ("what falls rises", 'r.base("chosen_logp")).mean()) < 0 for', 'r.base("chosen_logp")).mean()) > 0 for'),
        (
            "a change is the base less the trained",
            "results.measure(measure, method, LAST) - results.base(measure) for",
            "results.base(measure) - results.measure(measure, method, LAST) for",
        ),
    ),
    *rules_of(
        "studies.results",
        FINDINGS,
        ("all settings are of one kind", "return [(setting.family, setting.ice) for", 'return [("", "") for'),
        (
            "blocks of one density are of different kinds",
            "return [(setting.family, setting.ice) for",
            "return [(setting.map, setting.ice) for",
        ),
        ("both ices are of one kind", "return [(setting.family, setting.ice) for", 'return [(setting.family, "") for'),
    ),
    *rules_of(
        "studies.reproduction.appendix_figures",
        FINDINGS,
        (
            "phase diagrams show the best checkpoint",
            'results.at("distance", pair[0], rate, "last") - results.at("distance", pair[1], rate, "last")',
            'results.at("distance", pair[0], rate, "best") - results.at("distance", pair[1], rate, "best")',
        ),
        ("phase diagrams show rates that not all were run at", "if rate in grid]", "]"),
    ),
    # ---- intervals ----
    *rules_of(
        "evaluation.statistics",
        STATISTICS,
        (
            "seeds are resampled once for all lakes",
            "random.integers(0, seeds, (RESAMPLES, lakes, seeds))",
            "random.integers(0, seeds, (RESAMPLES, 1, seeds))",
        ),
        (
            "lakes are not redrawn within settings",
            "lake = random.integers(0, lakes, (RESAMPLES, lakes, 1))",
            "lake = np.arange(lakes)[None, :, None]",
        ),
        ("seeds are not redrawn within settings", "random.integers(0, seeds, (RESAMPLES, lakes, seeds))", "np.arange(seeds)"),
        (
            "neither lakes nor seeds are redrawn within settings",
            "[finite[i].ravel()[_resampled(*finite[i].shape, seed, i)].mean(-1) for i in sound]",
            "[np.full(RESAMPLES, finite[i].mean()) for i in sound]",
        ),
        (
            "settings are not redrawn",
            "random.choice(rows, (len(rows), RESAMPLES))",
            "np.repeat(np.array(rows)[:, None], RESAMPLES, 1)",
        ),
        ("strata are not kept", "kinds.setdefault(None if strata is None else strata[i], [])", "kinds.setdefault(None, [])"),
        ("percentiles are not expanded", "tail = _expanded_tail(len(sound), len(kinds), level)", "tail = (1 - level) / 2"),
        (
            "percentiles are expanded as if all were of one kind",
            "tail = _expanded_tail(len(sound), len(kinds), level)",
            "tail = _expanded_tail(len(sound), 1, level)",
        ),
        ("seeds of all lakes are witnesses", "units = means if lakes > 1 else difference[0]", "units = difference.ravel()"),
        ("lakes are witnesses even where there is one", "units = means if lakes > 1 else difference[0]", "units = means"),
        (
            "a lake with a seed that diverged counts by the others",
            "difference = difference[np.isfinite(difference).all(-1)]\n    lakes, seeds",
            "difference = np.nan_to_num(difference, posinf=0.0)\n    lakes, seeds",
        ),
        (
            "a single number is clear",
            "return Effect(value, np.nan, np.nan, share, lakes, seeds)",
            "return Effect(value, value, value, share, lakes, seeds)",
        ),
        (
            "an interval that reaches 0 is clear",
            "return (low > 0) | (high < 0)",
            "return (low >= 0) | (high <= 0)",
        ),
        ("clear means below 0", "return (low > 0) | (high < 0)", "return high < 0"),
        ("whether it is clear is not said", 'note = "" if is_clear(low, high) else f" {NOT_CLEAR}"', 'note = ""'),
        (
            "an interval is the normal one",
            "stdtrit(count - 1, 0.5 + level / 2) * values.std(-1, ddof=1)",
            "1.96 * values.std(-1, ddof=1)",
        ),
        (
            "an interval takes n for n - 1",
            "values.std(-1, ddof=1) / np.sqrt(count)\n",
            "values.std(-1, ddof=0) / np.sqrt(count)\n",
        ),
        ("an interval has one end's share at both", "0.5 + level / 2) * values", "level) * values"),
        (
            "an interval leaves the range",
            "np.maximum(mean - half, bounds[0]), np.minimum(mean + half, bounds[1])",
            "mean - half, mean + half",
        ),
        (
            "pooled is the mean of all lakes",
            "means = np.array([finite[i].mean() for i in sound])",
            "means = np.concatenate([finite[i].ravel() for i in sound])",
        ),
        (
            "pooled is the mean of the settings",
            "value, share = float(interquartile_mean(means)),",
            "value, share = float(means.mean()),",
        ),
        ("a third is cut off at each end", "cut = count // 4", "cut = count // 3"),
        (
            "false-discovery rates count what was not tested",
            "values[tested] = false_discovery_control(values[tested])",
            "values[:] = false_discovery_control(np.where(tested, values, 1.0))",
        ),
        ("p is one-sided", "p = 2 * stdtr(", "p = stdtr("),
    ),
    *rules_of(
        "evaluation.metrics",
        ("test_metrics",),
        ("a proportion's interval leaves [0, 1]", "bounds=RANGES.get(kind, (-np.inf, np.inf))", "bounds=(-np.inf, np.inf)"),
        ("every metric is a proportion", "bounds=RANGES.get(kind, (-np.inf, np.inf))", "bounds=(0, 1)"),
        (
            "snapshots are spread over time",
            "position = 0.75 * distance / distance[-1] + 0.25 * time",
            "position = time + 0 * distance",
        ),
        (
            "snapshots are spread by change alone",
            "position = 0.75 * distance / distance[-1] + 0.25 * time",
            "position = distance / distance[-1]",
        ),
        (
            "change is that of the policies' means",
            "[np.abs(after - before).mean() for before, after",
            "[np.abs((after - before).mean()) for before, after",
        ),
    ),
)
