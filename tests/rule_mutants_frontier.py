"""Wrong rules of the frontier: what the KL is, where it is charged, what lies at the ends (`rule_mutants.RuleMutant`)."""

from __future__ import annotations

from rule_mutants import RuleMutant, rules_of

__all__ = ["MUTANTS"]

TESTS = ("test_frontier",)


MUTANTS: tuple[RuleMutant, ...] = (
    *rules_of(
        "evaluation.frontier",
        TESTS,
        (
            "the KL is that of the base from the policy",
            "price = np.broadcast_to(step_kl(policy, base)",
            "price = np.broadcast_to(step_kl(base, policy)",
        ),
        (
            "the KL is negative",
            "return np.where(np.abs(gain) < 0.5, near, far).sum(-1)",
            "return -np.where(np.abs(gain) < 0.5, near, far).sum(-1)",
        ),
        (
            "the KL of a nearby policy is as far as float tells",
            "np.abs(gain) < 0.5, near, far",
            "np.abs(gain) < 0.0, near, far",
        ),
        ("the KL is the largest move's", "near, far).sum(-1)", "near, far).max(-1)"),
        ("steps are not discounted", "visits(start, mdp.discount)", "visits(start, min(1.0, mdp.discount + 0.05))"),
        (
            "every episode starts in the likeliest state",
            "np.broadcast_to(mdp.start, prices[part].shape)",
            "np.broadcast_to(np.eye(mdp.num_states)[mdp.start.argmax()], prices[part].shape)",
        ),
        (
            "terminal states are charged",
            "np.where(mdp.terminal, 0.0, PolicyChain(mdp, flat[part])",
            "np.where(False, 0.0, PolicyChain(mdp, flat[part])",
        ),
        ("states that no episode reaches are charged", "((steps > 0) & ~finite)", "(~finite)"),
        ("an impossible move costs nothing", "totals[0, part][((steps > 0) & ~finite).any(-1)] = np.inf", "pass"),
        ("only one step is charged", "totals[0, part] = (steps * ", "totals[0, part] = (mdp.start * "),
        ("more than the best KL is worth more", "wanted >= self.kl[-1], self.value[-1]", "wanted >= self.kl[-1], self.best"),
        (
            "an infinite KL is compared with the base's own moves",
            "np.isinf(wanted), self.best",
            "np.isinf(wanted), self.value[-1]",
        ),
        ("a KL that is no number has a return", "np.where(np.isnan(wanted), np.nan, result)", "result"),
        (
            "the gap is what a policy returns more",
            "return self.at(kl, tolerance) - np.asarray(value, float)",
            "return np.asarray(value, float) - self.at(kl, tolerance)",
        ),
        ("the curve is the chords between its points", "if not len(active):", "if True:"),
        ("the curve is its tangents", "return (low + high) / 2", "return high + 1e-3 * (high - low) + error"),
        ("all members have the first one's base", "frontier(mdp, one).gap", "frontier(mdp, bases[0]).gap"),
        (
            "a frontier is that of any base of the MDP",
            "key = (float(tolerance), base.tobytes())",
            "key = (float(tolerance), b'')",
        ),
        ("a frontier is that of any tolerance", "key = (float(tolerance), base.tobytes())", "key = (0.0, base.tobytes())"),
        (
            "ties of the best policy are shared evenly",
            "weights = np.where(mdp.terminal[:, None] | ((best > 0) & possible), base, 0.0)",
            "weights = best",
        ),
        (
            "the best policy may take any move",
            "best = optimal_policy(mdp if possible.all() else _restricted(mdp, possible))",
            "best = optimal_policy(mdp)",
        ),
        (
            "the nearest best policy is the nearest one in each state",
            "_, policy = soft_policy_iteration(mdp, weights, np.ones(1), reward=np.zeros_like(base))",
            "policy = (weights / weights.sum(-1, keepdims=True))[None]",
        ),
        ("the error is half of what it can be", "np.maximum(above, 0.0), 0.0)", "np.maximum(above, 0.0) / 64, 0.0)"),
        (
            "the error beside the base does not count",
            "np.where(np.isinf(left), rise - right * width,",
            "np.where(np.isinf(left), 0.0,",
        ),
    ),
    *rules_of(
        "planning.soft",
        TESTS,
        (
            "the soft policy is paid for its KL",
            "(policy * reward).sum(-1) - price[:, None] * kl)",
            "(policy * reward).sum(-1) + price[:, None] * kl)",
        ),
        (
            "the KL is to the weights normalised",
            "kl = (policy * log_ratio).sum(-1) - np.log(total)",
            "kl = (policy * log_ratio).sum(-1)",
        ),
        (
            "moves without weight are taken",
            "reference, possible = weights / total[:, None], weights > 0",
            "reference, possible = weights / total[:, None], weights >= 0",
        ),
        ("one round is enough", "waiting = residual > NEWTON", "waiting = residual > 1e-2"),
        (
            "given values are trusted undiscounted",
            "None if start is None or mdp.discount == 1 else",
            "None if start is None else",
        ),
    ),
    *rules_of(
        "evaluation.metrics",
        TESTS,
        ("success from any tile counts the ends", "[..., ~mdp.terminal].mean(-1)", ".mean(-1)"),
        ("success from any tile has no time limit", "success_from(mdp, policy, mdp.horizon)[", "success_from(mdp, policy)["),
        (
            "the gap is taken at the KL within the time limit",
            'frontier_gap(mdp, base, result["kl_discounted"], result["return"])',
            'frontier_gap(mdp, base, result.get("kl", 0 * result["return"]), result["return"])',
        ),
    ),
)
