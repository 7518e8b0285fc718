"""Five ways in which alignment fails, each with its cause: computed on a lake, counted over seeds, and drawn.

    python experiments/failures.py
    python experiments/failures.py --only displacement --format pdf

Writes NAME.gif (or as --format says), its words as NAME.gif.txt, and NAME.json (settings, versions and every number drawn).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ift_gridworld.cli.parser import check_seed, fail, launch, parse
from ift_gridworld.runtime import loading, progress
from ift_gridworld.storage import make_folder


@dataclass(frozen=True)
class Args:
    """The command line."""

    only: str = "all"
    """displacement, log2, certainty, off_path or exploited; or all."""
    seeds: int = 8
    """Independent policies over which is counted how often it happens."""
    seed: int = 0
    """The first of them. Which one is drawn, the picture says."""
    format: str = "gif"
    """gif, mp4, webp; png, pdf, svg (the last frame)."""
    theme: str = "light"
    """light or dark."""
    out: Path = Path("figures/failures")
    """Folder that everything is written to."""


if __name__ == "__main__":  # --help and mistakes are answered before torch is loaded
    parse(Args, __doc__)

with loading():
    import torch
    from torch import Tensor
    from torch.nn.functional import logsigmoid, pad

    from ift_gridworld.data import Trajectories, demonstrations, generators, path_of, preference_pairs
    from ift_gridworld.envs.maps import LAKES
    from ift_gridworld.evaluation.metrics import even_change, expected_visits, log_likelihood
    from ift_gridworld.mdp import TabularMDP
    from ift_gridworld.methods.preferences import DPO, ORPO, PairSide, Scored
    from ift_gridworld.methods.base import Method
    from ift_gridworld.methods.options import Settings
    from ift_gridworld.methods.source import LakeSource
    from ift_gridworld.methods.reward_model import action_counts, compared_episodes
    from ift_gridworld.methods.reward_model import train_reward_model as learned_reward
    from ift_gridworld.planning import evaluate_policy, occupancy, success_probability, value_iteration
    from ift_gridworld.policies.lake import LakePolicy
    from ift_gridworld.rendering import PICTURES, THEME_NAMES, check_format
    from ift_gridworld.rendering.failure_film import Case, Failure, FailureFilm, Line
    from ift_gridworld.storage import versions, write_atomically
    from ift_gridworld.training.run import Run
    from ift_gridworld.training.base_policies import make_base
    from ift_gridworld.training.loop import train
    from ift_gridworld.mdp import Origin

if TYPE_CHECKING:
    from jaxtyping import Float

FRAMES = 64
LIKELIHOOD = "log-likelihood of an answer, nats"


class Scene:
    """A lake, what the human shows on it, and bases to align; every update of a training run is kept."""

    def __init__(self, name: str, args: Args) -> None:
        self.args = args
        self.lake = Lake(name, LAKES[name], None, False, 1 / 3, 0.99, 100)
        self.mdp = self.lake.mdp
        draw_from = generators(args.seed, 1)[0]
        self.shown = demonstrations(self.mdp, 1, generator=draw_from)
        self.pair = preference_pairs(self.mdp, 1, generator=draw_from)

    def about(self, policy: str, drawn: int) -> str:
        return f"{self.lake.name} · no slip · {policy} · base: mixture · drawn: seed {drawn}, counted: {self.args.seeds} seeds"

    def base(self, policy: str, *, seeds: int | None = None, seed: int | None = None) -> LakePolicy:
        start = self.args.seed if seed is None else seed
        return make_base("mixture", self.mdp, policy=policy, seeds=seeds or self.args.seeds, seed=start)

    def train(
        self, method: str | type[Method], base: LakePolicy, *, probe: Callable[[], None] | None = None, **options: Any
    ) -> Run:
        """Every update is a snapshot; `probe` is called before the first and after each."""
        steps = options.pop("steps", 300)
        options = {"shown": self.shown, "preferences": self.pair, "seed": self.args.seed, **options}
        if probe is not None:
            probe()
            options["progress"] = lambda done, total: probe()
        return train(method, self.mdp, base, steps=steps, snapshots=steps + 1, **options)


def chosen_frames(policies: Sequence[Float[np.ndarray, "U S A"]]) -> list[int]:
    """Updates between which about equally much changes, of all cases together."""
    stacked = np.stack(policies, 1)
    return even_change(np.arange(len(stacked)), np.nan_to_num(stacked), FRAMES)


# ---- likelihood displacement ----


def displacement(args: Args) -> Failure:
    """Offline DPO: the preferred answer becomes less likely, too, where answers share weights."""
    scene = Scene("4x4", args)
    chosen, rejected = scene.pair
    runs, pulls = {}, {}
    for policy in ("tabular", "mlp"):
        base = scene.base(policy)
        seen: list[np.ndarray] = []
        runs[policy] = scene.train("dpo", base, probe=lambda p=base, s=seen: s.append(first_order(p, chosen, rejected)))  # type: ignore[misc]
        pulls[policy] = np.stack(seen)  # [U + 1, N]
    table, network = runs["tabular"], runs["mlp"]
    frames = chosen_frames([table.policies[:, 0], network.policies[:, 0]])
    c = network.metrics["chosen_logp"]
    turn, peak = int(np.argmax(pulls["mlp"][:, 0] < 0)), int(c[:, 0].argmax())
    taken = np.zeros((scene.mdp.num_states, scene.mdp.num_actions), bool)
    for batch in (chosen, rejected):
        taken[tuple(path_of(batch).T)] = True
    tiles = path_of(chosen)[:, 0]
    unseen = np.where(taken, 0.0, network.policies[:, 0])[:, tiles].sum(-1).mean(-1)
    fell = int((c[-1] < c[0]).sum())
    table_fell = int((table.metrics["chosen_logp"][-1] < table.metrics["chosen_logp"][0]).sum())
    cause = (
        (
            "What DPO asks",
            "That the gap between two answers grows, not that the preferred one becomes likelier. To first order, a step "
            "along its "
            "gradient changes the log-likelihood c in proportion to ∇c·(∇c − ∇r).",
        ),
        (
            "Why c falls",
            f"In a table that product stays positive (least: {signed(pulls['tabular'].min())}). In a network both answers "
            f"use the same weights: from {signed(pulls['mlp'][0, 0])} it is negative at update {turn}; c peaks after update "
            f"{peak} at "
            f"{signed(c[peak, 0])} and ends at {signed(c[-1, 0])}.",
        ),
        (
            "Where it goes",
            f"Nobody says where. On the human’s tiles, moves that neither answer takes grow from {unseen[0]:.0%} to "
            f"{unseen[-1]:.0%}. c ends lower than it began in {fell} of {args.seeds} seeds, in a table in {table_fell}.",
        ),
    )

    def case(title: str, run: Run) -> Case:
        policies = run.policies[frames, 0]
        answers = (("preferred, c", "chosen_logp", "shown", False), ("rejected, r", "rejected_logp", "rejected", True))
        lines = tuple(Line(name, run.metrics[m][frames, 0], colour, dashed) for name, m, colour, dashed in answers)
        notes = [f"success {x:.3f}" for x in run.metrics["success"][frames, 0]]
        return Case(title, notes, policies, expected_visits(scene.mdp, policies), lines)

    moved = network.policies[frames, 0] - network.policies[0, 0]
    gone = [f"unseen moves {x:.0%}" for x in unseen[frames]]
    return Failure(
        "displacement", "Likelihood displacement under DPO", scene.about("table and network", args.seed), cause,
        scene.lake, path_of(chosen), path_of(rejected), np.array(frames),
        (case("DPO, a table", table), case("DPO, a network", network), Case("What changed in it", gone, moved, signed=True)),
        "visits: none to once an episode", LIKELIHOOD, "symlog",
        (1.5 * float(min(r.metrics["rejected_logp"][:, 0].min() for r in runs.values())), 0.2),
    )  # fmt: skip


def first_order(policy: LakePolicy, chosen: Trajectories, rejected: Trajectories) -> Float[np.ndarray, " N"]:
    """∇c·(∇c - ∇r): how fast the preferred answer's log-likelihood rises along the gradient of c - r."""

    def gradient(side: Trajectories) -> Tensor:
        logp = (policy.log_probs(side.states[None], side.actions[None]) * side.mask[None]).sum()
        return torch.cat([g.flatten(1) for g in torch.autograd.grad(logp, list(policy.parameters()))], 1)

    up, down = gradient(chosen), gradient(rejected)
    return (up * (up - down)).sum(1).double().numpy()


# ---- DPO's loss stands at log 2 ----


class LiveReference(DPO):
    """A mistake, made on purpose: the reference is the policy itself, so that each margin is 0 while its gradient is not."""

    def batch(self, step: int) -> tuple[PairSide, PairSide]:
        chosen, rejected = self.source.compared(step)
        return PairSide(chosen, self.policy), PairSide(rejected, self.policy)


def log2(args: Args) -> Failure:
    """Three reasons why DPO's loss stays at log 2, and one run in which it does not."""
    scene = Scene("two-paths", args)
    both = joined(*scene.pair), joined(*reversed(scene.pair))
    cases: tuple[tuple[str, str | type[Method], dict[str, Any]], ...] = (
        ("As it should be", "dpo", {}),
        ("The reference follows", LiveReference, {}),
        ("Pairs in both orders", "dpo", {"preferences": both}),
        ("A rate of 1e-6", "dpo", {"learning_rate": 1e-6}),
    )
    runs = [scene.train(method, scene.base("mlp"), **options) for _, method, options in cases]
    # Drawn is the first seed that the live reference drives away from the gift; where none is, the first.
    which = int(np.argmax(runs[1].metrics["success"][-1] < 0.5))
    frames = chosen_frames([run.policies[:, which] for run in runs])
    drawn, grown = [], []
    for (title, _, _), run in zip(cases, runs, strict=True):
        policies = run.policies[:, which]
        gap = log_likelihood(policies, scene.pair[0]) - log_likelihood(policies, scene.pair[1])
        grown.append(gap - gap[0])
        # The loss before each update; that of the last policy is taken for the one before it.
        loss = np.append(run.loss[:, which], run.loss[-1, which])
        notes = [f"gap {signed(x)}, success {y:.2f}" for x, y in zip(grown[-1], run.metrics["success"][:, which], strict=True)]
        drawn.append(
            Case(
                title,
                [notes[i] for i in frames],
                policies[frames],
                expected_visits(scene.mdp, policies[frames]),
                (Line("loss", loss[frames], "distance"),),
            )
        )
    stand = [int((np.abs(run.loss[-1] - np.log(2)) < 0.01).sum()) for run in runs]
    success = [run.metrics["success"][-1].mean() for run in runs]
    cause = (
        (
            "What log 2 says",
            "L = −log σ(β·margin) is log 2 = 0.693 where the margin, the gap between the answers’ log-likelihoods less that of "
            "the reference, is 0. It does not say why. What the gap has grown by since the base, and the gradient, do.",
        ),
        (
            "Three reasons",
            "A reference that is the live policy: margin 0 for ever, but a gradient of β/2 that never fades; the policy runs "
            "away. Each pair in both orders: the gradients cancel, margin 0 is best. A rate too low: a gradient of β/2, and "
            "hardly a move.",
        ),
        (
            "How often",
            f"After {len(runs[0].loss)} updates {', '.join(map(str, stand[:-1]))} and {stand[-1]} of {args.seeds} seeds are "
            f"within 0.01 of log 2. Mean success: {', '.join(f'{x:.2f}' for x in success[:-1])} and {success[-1]:.2f}; the "
            f"base’s is {runs[0].metrics['success'][0].mean():.2f}.",
        ),
    )
    return Failure(
        "log2", "DPO’s loss stands at log 2, for three reasons", scene.about("network", args.seed + which), cause, scene.lake,
        path_of(scene.pair[0]), path_of(scene.pair[1]), np.array(frames), tuple(drawn), "visits: none to once an episode",
        "DPO’s loss, nats", "linear", (0.0, 0.85), (float(np.log(2)), "log 2"),
    )  # fmt: skip


def joined(one: Trajectories, other: Trajectories) -> Trajectories:
    """Both batches under each other, the shorter padded."""
    steps = max(one.states.shape[-1], other.states.shape[-1])
    sides = [{f.name: getattr(side, f.name) for f in fields(side)} for side in (one, other)]
    together = {name: torch.cat([pad(side[name], (0, steps - side[name].shape[-1])) for side in sides]) for name in sides[0]}
    return type(one)(**together)


# ---- ORPO near certainty ----


class PlainORPO(ORPO):
    """ORPO as it is often written: log(1 - exp(c)) with nothing done for c near 0."""

    precision = torch.float32

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Tensor:
        c, r = chosen.mean.to(self.precision), rejected.mean.to(self.precision)
        log_odds = (c - r) - (torch.log1p(-torch.exp(c)) - torch.log1p(-torch.exp(r)))
        return (-c - self.beta * logsigmoid(log_odds)).float()


class HalfPlainORPO(PlainORPO):
    """The same in the precision in which language models are trained."""

    precision = torch.bfloat16


class HalfStableORPO(ORPO):
    """In that precision, too, with log(1 - exp(c)) = log(-expm1(c)) near 0: every operation in bfloat16."""

    def pair_loss(self, chosen: Scored, rejected: Scored) -> Tensor:
        c, r = chosen.mean.bfloat16(), rejected.mean.bfloat16()
        log_odds = (c - r) - (self._log1mexp(c) - self._log1mexp(r))
        return (-c - self.beta * logsigmoid(log_odds)).float()

    @staticmethod
    def _log1mexp(x: Tensor) -> Tensor:
        near = x > -0.6931  # each form sees only what it is accurate for, or its gradient there would be no number
        return torch.where(
            near, torch.log(-torch.expm1(torch.where(near, x, -0.5))), torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
        )


def certainty(args: Args) -> Failure:
    """ORPO's odds p / (1 - p): a number format that rounds p to 1 makes them infinite, and the gradient is not a number."""
    scene = Scene("two-paths", args)
    wanted = (
        ("log(1 − eᶜ), bfloat16", HalfPlainORPO, 2.0**-9),
        ("log(1 − eᶜ), float32", PlainORPO, 2.0**-25),
        ("log(−expm1(c)), bfloat16", HalfStableORPO, None),
    )
    steps, length = 300, len(path_of(scene.pair[0]))
    ended: list[list[int]] = []
    drawn = []
    for _, method, _ in wanted:
        runs = [
            scene.train(method, scene.base("mlp", seeds=1, seed=seed), seed=seed, steps=steps)
            for seed in range(args.seed, args.seed + args.seeds)
        ]
        ended.append([len(run.loss) + 1 for run in runs if run.diverged])
        drawn.append(filled(runs[0].policies[:, 0], steps + 1))
    frames = chosen_frames(drawn)
    gaps = [certain(policies, scene.pair[0], length) for policies in drawn]
    cases = []
    for (title, _, smallest), policies, gap in zip(wanted, drawn, gaps, strict=True):
        notes = ["no number is left" if np.isnan(g) else f"p = 1 − {g:.0e}" for g in gap[frames]]
        lines: tuple[Line, ...] = (Line("1 − p", gap[frames], "distance"),)
        if smallest is not None:
            lines += (Line("below this, p is rounded to 1", np.full(len(frames), smallest), "muted", dashed=True),)
        cases.append(Case(title, notes, policies[frames], None, lines))
    stop = int(np.isnan(gaps[0]).argmax()) if np.isnan(gaps[0]).any() else len(gaps[0])
    cause = (
        (
            "What ORPO compares",
            "Odds p / (1 − p) of two answers; p is the geometric mean of an answer’s probabilities, eᶜ for a mean "
            "log-probability c. It is often written with log(1 − eᶜ). Nothing is wrong with the loss: it flattens out near "
            "p = 1.",
        ),
        (
            "Why no number is left",
            f"bfloat16 has no number between 1 − {2.0**-8:.3f} and 1. After update {stop - 1} p is 1 − {gaps[0][stop - 1]:.4f} "
            "and is rounded to 1: log 0 is −∞, the loss still finite, its gradient not a number; one update with it leaves "
            "nothing of the policy.",
        ),
        (
            "How often",
            f"In {len(ended[0])} of {args.seeds} seeds in bfloat16"
            + (f", after {min(ended[0]) - 1} to {max(ended[0]) - 1} updates" if ended[0] else "")
            + f"; in {len(ended[2])} with log(−expm1(c)), accurate near c = 0, in the same precision; in {len(ended[1])} in "
            f"float32, whose border, {2.0**-25:.0e}, no seed has come to in {steps} updates."
            if not ended[1]
            else f"In {len(ended[0])}, {len(ended[1])} and {len(ended[2])} of {args.seeds} seeds.",
        ),
    )
    return Failure(
        "certainty", "ORPO near certainty", scene.about("network", args.seed), cause, scene.lake, path_of(scene.pair[0]),
        path_of(scene.pair[1]), np.array(frames), tuple(cases), "", "1 − p of the preferred answer", "log", (1e-8, 1.0),
    )  # fmt: skip


def certain(policies: Float[np.ndarray, "U S A"], answer: Trajectories, length: int) -> Float[np.ndarray, " U"]:
    """1 - p, where p is the geometric mean of the probabilities of an answer's moves."""
    known = ~np.isnan(policies).any((1, 2))
    return -np.expm1(np.where(known, log_likelihood(policies, answer), np.nan) / length)


def filled(policies: Float[np.ndarray, "U S A"], count: int) -> Float[np.ndarray, "F S A"]:
    """What is left after training broke off: nothing that is a number."""
    missing = np.full((count - len(policies), *policies.shape[1:]), np.nan)
    return np.concatenate([policies, missing])


# ---- SFT off the path ----


def off_path(args: Args) -> Failure:
    """What becomes of tiles that the human never stood on."""
    scene = Scene("4x4", args)
    mdp = scene.mdp
    wanted = (("SFT, a table", "sft", "tabular"), ("SFT, a network", "sft", "mlp"), ("PPO, a network", "ppo", "mlp"))
    runs = [scene.train(method, scene.base(policy), steps=300) for _, method, policy in wanted]
    on = np.zeros(mdp.num_states, bool)
    on[path_of(scene.shown)[:, 0]] = True
    off = ~on & ~mdp.terminal
    # [2, N], before and after, dropped on a tile off the path; and how much policies moved, on the path and off it.
    dropped = [success_from_each_tile(scene, run.policies[[0, -1]])[..., off].mean(-1) for run in runs]
    change = [0.5 * np.abs(run.policies[-1] - run.policies[0]).sum(-1) for run in runs]
    moved = [[float(x[:, where].mean()) for where in (on, off)] for x in change]
    which = int(np.argsort(dropped[1][1])[(args.seeds - 1) // 2])  # the median of the networks
    frames = chosen_frames([run.policies[:, which] for run in runs])
    cases = []
    for (title, _, _), run in zip(wanted, runs, strict=True):
        here = success_from_each_tile(scene, run.policies[frames, which])
        lines = (
            Line("dropped on the start", here @ mdp.start, "success"),
            Line("dropped off the path, mean", here[:, off].mean(-1), "distance", dashed=True),
        )
        notes = [f"off the path {x:.2f}" for x in here[:, off].mean(-1)]
        cases.append(Case(title, notes, run.policies[frames, which], here, lines))
    fell = [int((x[1] < x[0] - 0.1).sum()) for x in dropped]
    went = [f"{x[0].mean():.2f} to {x[1].mean():.2f} ({n})" for x, n in zip(dropped, fell, strict=True)]
    cause = (
        (
            "What SFT sees",
            "Its gradient on the logits of a tile is n(s)·(π − shown), where n(s) counts how often the human stood there: 0 "
            f"off the path. A table keeps those rows: they change by {moved[0][1]:.3f} (total variation), those on the path by "
            f"{moved[0][0]:.2f}.",
        ),
        (
            "What becomes of the rest",
            f"A network shares weights between tiles: off the path it changes by {moved[1][1]:.2f}, on it by "
            f"{moved[1][0]:.2f}, in directions that no data asked for. The loss sees nothing of it, nor does success "
            "from the start.",
        ),
        (
            "How often",
            f"Success when dropped off the path, mean (in brackets: of {args.seeds} seeds, how many lost more than 0.1): table "
            f"{went[0]}, as its walks come upon the path; network {went[1]}; PPO, which walks there itself, {went[2]}.",
        ),
    )
    return Failure(
        "off_path", "SFT off the path", scene.about("table and network", args.seed + which), cause, scene.lake,
        path_of(scene.shown),
        np.zeros((0, 2), int), np.array(frames), tuple(cases), "success when dropped here, 0 to 1",
        "success within 100 steps", "linear", (-0.03, 1.06),
    )  # fmt: skip


def success_from_each_tile(scene: Scene, policies: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch S"]:
    """Success of an agent that is dropped on a tile; 0 on those that end an episode."""
    mdp, result = scene.mdp, np.zeros(policies.shape[:-1])
    for tile in np.flatnonzero(~mdp.terminal):
        start = np.eye(mdp.num_states)[tile]
        result[..., tile] = success_probability(replace(mdp, start=start), policies, scene.lake.horizon)
    return result


# ---- a learned reward, exploited ----


def exploited(args: Args) -> Failure:
    """PPO with a cheap price of KL finds what the reward model got wrong."""
    scene = Scene("two-paths", args)
    mdp, cheap, dear = scene.mdp, 0.01, 1.0
    # Made from the same draws as inside of training, so the same rewards and episodes.
    base = scene.base("mlp")

    def source() -> LakeSource:
        data = [side[None] for side in (scene.shown, *scene.pair)]
        return LakeSource(mdp, data[0], data[1], data[2], generators(args.seed, args.seeds))

    settings = Settings(reward="preference")
    rewards = learned_reward(source(), base, settings).double().numpy()
    runs = [scene.train("ppo", scene.base("mlp"), beta=beta, reward="preference", steps=600) for beta in (cheap, dear)]
    failed = np.flatnonzero(runs[0].metrics["success"][-1] < 0.5)
    which = int(failed[0]) if len(failed) else 0
    reward = rewards[which]
    believed = replace(mdp, reward=np.broadcast_to(reward[..., None], mdp.reward.shape).copy())
    most = float(value_iteration(believed)[0] @ mdp.start)
    frames = chosen_frames([run.policies[:, which] for run in runs])
    cases, share = [], []
    for title, run in zip((f"PPO, β = {cheap:g}", f"PPO, β = {dear:g}"), runs, strict=True):
        policies = run.policies[frames, which]
        share.append(evaluate_policy(believed, policies) @ mdp.start / most)
        success = run.metrics["success"][frames, which]
        lines = (Line("learned return", share[-1], "distance", dashed=True), Line("success", success, "success"))
        cases.append(Case(title, [f"success {x:.3f}" for x in success], policies, expected_visits(scene.mdp, policies), lines))
    loop = walked_in_the_end(mdp, runs[0].policies[-1, which])
    pays = float(np.mean([reward[s, a] for s, a in loop]))
    first, second = compared_episodes(source(), base, settings.pairs)
    won, compared = comparisons(loop, which, first, second, mdp)
    right, differ = rightly_ordered(reward, which, first, second, mdp)
    where = " and ".join(f"{mdp.actions[a]} at row {s // 4 + 1}, column {s % 4 + 1}" for s, a in loop)
    stay, leave = (worth(believed, run.policies[-1, which], loop[0][0]) for run in runs)
    found = (
        f"In seed {args.seed + which} {where}{' (into the edge)' if len(loop) == 1 else ', in turn,'} pays {signed(pays)} "
        f"nats a step: walks that did so more often won {won} of {compared} comparisons. For ever (discount "
        f"{mdp.discount:g}), that is worth {stay:.1f}; to go on to the gift, {leave:.1f}."
        if len(failed)
        else "In none of these seeds does it lead away from the gift."
    )
    dear_failed = int((runs[1].metrics["success"][-1] < 0.5).sum())
    cause = (
        (
            "What PPO climbs",
            f"A reward r(s, a), fitted to {settings.pairs} compared pairs of the base’s own walks. Of the {differ} that "
            f"differ it puts {right:.0%} in the right order. Nobody was asked about other walks.",
        ),
        ("What it found", found),
        (
            "How often",
            f"With β = {cheap:g} the learned return in the seed drawn grows to {share[0][-1]:.0%} of its maximum; success ends "
            f"below 0.5 in {len(failed)} of {args.seeds} seeds. With β = {dear:g} it does in {dear_failed}"
            + (": KL keeps the walks near those that were compared." if dear_failed < len(failed) else "."),
        ),
    )
    picture = np.broadcast_to((reward * ~mdp.terminal[:, None]).clip(-1, 1), (len(frames), *reward.shape))
    model = Case("The learned reward", ["a full arrow: 1 nat or more"] * len(frames), picture, signed=True)
    return Failure(
        "exploited", "A learned reward, exploited", scene.about("network", args.seed + which), cause, scene.lake,
        np.zeros((0, 2), int), np.zeros((0, 2), int), np.array(frames), (*cases, model), "visits: none to once an episode",
        "share of the most that is possible (return: discounted)", "linear",
        (min(-0.05, 1.1 * float(min(x.min() for x in share))), 1.06), None, ("a move that pays", "a move that costs"),
    )  # fmt: skip


def walked_in_the_end(mdp: TabularMDP, policy: Float[np.ndarray, "S A"]) -> list[tuple[int, int]]:
    """The loop of (tile, action) in which the likeliest moves end from the most visited tile."""
    tile = int((occupancy(mdp, policy) * ~mdp.terminal).argmax())
    steps: list[tuple[int, int]] = []
    while tile not in [s for s, _ in steps]:
        action = int(policy[tile].argmax())
        steps.append((tile, action))
        tile = int(mdp.next_state[tile, action, mdp.probability[tile, action].argmax()])
    return steps[[s for s, _ in steps].index(tile) :]


def worth(mdp: TabularMDP, policy: Float[np.ndarray, "S A"], tile: int) -> float:
    """Expected return of following a policy from a tile."""
    return float(evaluate_policy(mdp, policy)[tile])


def comparisons(
    loop: list[tuple[int, int]], seed: int, first: Trajectories, second: Trajectories, mdp: TabularMDP
) -> tuple[int, int]:
    """Pairs of which one walk went round the loop more often: how many that walk won, and how many there are."""
    columns = [s * mdp.num_actions + a for s, a in loop]
    rounds = [action_counts(side, mdp)[seed][:, columns].amin(-1) for side in (first, second)]
    more, better = torch.sign(rounds[0] - rounds[1]), better_of(seed, first, second, mdp)
    counted = (more != 0) & (better != 0)
    return int(((more == better) & counted).sum()), int(counted.sum())


def rightly_ordered(
    reward: Float[np.ndarray, "S A"], seed: int, first: Trajectories, second: Trajectories, mdp: TabularMDP
) -> tuple[float, int]:
    """Share of the compared pairs with different returns that a reward puts in their order, and how many pairs these are."""
    weights = torch.as_tensor(reward.ravel(), dtype=torch.float32)
    learned = [action_counts(side, mdp)[seed] @ weights for side in (first, second)]
    better = better_of(seed, first, second, mdp)
    right = torch.sign(learned[0] - learned[1]) == better
    return float(right[better != 0].float().mean()), int((better != 0).sum())


def better_of(seed: int, first: Trajectories, second: Trajectories, mdp: TabularMDP) -> Tensor:
    """1 where the first walk of a pair returned more, -1 where the second did, 0 where they tie."""
    return torch.sign(first.returns(mdp.discount)[seed] - second.returns(mdp.discount)[seed])


def signed(x: float) -> str:
    """With a minus as wide as a plus."""
    digits = 2 if abs(x) < 100 else 0
    return f"{round(x, digits) + 0.0:+.{digits}f}".replace("-", "−")  # + 0.0: no minus before nothing


FAILURES: dict[str, Callable[[Args], Failure]] = {
    "displacement": displacement,
    "log2": log2,
    "certainty": certainty,
    "off_path": off_path,
    "exploited": exploited,
}


def main(args: Args) -> int:
    try:
        if args.format not in PICTURES:
            raise ValueError(f"--format is {args.format!r}; allowed: {', '.join(PICTURES)}")
        check_format(args.format)  # whether the extra that some need is there
        for name, value, allowed in (
            ("only", args.only, (*FAILURES, "all")),
            ("theme", args.theme, THEME_NAMES),
        ):
            if value not in allowed:
                raise ValueError(f"--{name} is {value!r}; allowed: {', '.join(allowed)}")
        if args.seeds < 1:
            raise ValueError(f"--seeds is {args.seeds}; allowed: at least 1")
        check_seed(args.seed)
        names = list(FAILURES) if args.only == "all" else [args.only]
        make_folder(args.out)
        with progress("failing, on purpose") as report:
            for done, name in enumerate(names):
                report(done, len(names))
                failure = FAILURES[name](args)
                saved = save(failure, args)
                print("\n".join([failure.title, *(f"  {heading}: {text}" for heading, text in failure.cause)]))
                print(f"wrote {saved[0]}, {saved[1]}\n")
    except (ValueError, OSError) as error:
        fail(error)
    return 0


def save(failure: Failure, args: Args) -> tuple[Path, Path]:
    """The numbers and the picture."""
    asked = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(args).items()}
    entries = {"settings": asked, "versions": versions(), **asdict(failure)}

    def plain(x: Any) -> Any:
        return [plain(y) for y in x] if isinstance(x, np.ndarray | list) else None if np.isnan(x) else x.item()

    path = write_atomically(
        args.out / f"{failure.name}.json", f"{json.dumps(entries, default=plain, allow_nan=False)}\n".encode()
    )
    return path, FailureFilm(failure, args.theme).save(args.out / f"{failure.name}.{args.format}")


if __name__ == "__main__":
    launch(main, Args, __doc__)
