"""The loop: any update may be the last before a run is killed, and processes share the work without changing it."""

import copy
import json

import numpy as np
import pytest
import torch

from ift_gridworld.language import training
from ift_gridworld.language.data import Completions
from ift_gridworld.language.models import build_model
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.training import align, count_tokens, learning_rate
from ift_gridworld.methods.imitation import SFT
from ift_gridworld.methods.options import TrainingOptions, option_names, split_overrides
from ift_gridworld.methods.registry import CORE, name_of


def answers(seed=0, rows=20):
    random = np.random.default_rng(seed)
    prompts = [random.integers(2, 12, 5).tolist() for _ in range(rows)]
    return Completions.of(prompts, [[*random.integers(2, 12, n).tolist(), 1] for n in random.integers(1, 5, rows)])


def source(**options):
    return TextSource(
        answers(), answers(), answers(1), rows=8, limit=5, reward_function=lambda index, said: said.mean(1),
        teacher_function=lambda index, said, teacher: (np.array([[2, 3], [4, 5]]), np.full((*said.shape, 2), 0.5)), **options,
    )  # fmt: skip


def fresh():
    return LanguagePolicy(build_model("tiny", seed=0))


def options(method="sft", **overrides):
    """Options for `align`: a short training and, for methods that have rollouts, small batches of them."""
    name, kind = name_of(method)
    own, rollouts = option_names(kind.options_type), {"walkers": 8, "group": 4, "epochs": 2, "every": 4, "rise": 5}
    small = kind.options_type(**{option: value for option, value in rollouts.items() if option in own})
    chosen, training = split_overrides(name, small, TrainingOptions(steps=12, learning_rate=1e-3), overrides)
    return {"options": chosen, "training": training}


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "name",
    [
        m if m in ("ift", "dpo_online", "ppo") else pytest.param(m, marks=pytest.mark.slow)
        for m in (*CORE, "scheduled", "dagger", "spin", "hpt")  # the others keep nothing that these do not
    ],
)
def test_a_run_that_was_killed_and_resumed_is_one_that_never_was(name, tmp_path):
    """Killed at the eighth update, three after the last checkpoint: the same losses, measures and weights, to the last bit."""
    measure = lambda policy: {"norm": float(sum((p.detach() ** 2).sum() for p in policy.parameters()))}  # noqa: E731
    one = fresh()
    whole = align(name, source(), one, **options(name), evaluate=measure, every=3)

    def kill(done, total):
        if done == 7:
            raise Killed

    file, two = tmp_path / "run.safetensors", fresh()
    kept = {**options(name), "evaluate": measure, "every": 3, "checkpoint": file, "keep_every": 4}
    with pytest.raises(Killed):
        align(name, source(), two, **kept, progress=kill)
    again = fresh()
    resumed = align(name, source(), again, **kept)
    assert resumed.loss == whole.loss and resumed.measured == whole.measured and resumed.tokens == whole.tokens
    assert [m["step"] for m in whole.measured] == [0, 3, 6, 9, 12]
    for p, q in zip(one.parameters(), again.parameters(), strict=True):
        assert torch.equal(p, q)
    third = align(name, source(), fresh(), **kept)  # a run that is done is not done again
    assert third.loss == whole.loss


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    file = tmp_path / "run.safetensors"
    align("sft", source(), fresh(), **options(steps=2), checkpoint=file)
    with pytest.raises(ValueError, match=r"is of another run \(other settings\)"):
        align("sft", source(), fresh(), **options(steps=3), checkpoint=file)
    with pytest.raises(ValueError, match=r"other base"):
        align("sft", source(), LanguagePolicy(build_model("tiny", seed=5)), **options(steps=2), checkpoint=file)
    with pytest.raises(ValueError, match=r"other data"):
        other = TextSource(answers(3), answers(), answers(1), rows=8)
        align("sft", other, fresh(), **options(steps=2), checkpoint=file)
    with pytest.raises(ValueError, match=r"other precision"):
        align("sft", source(), fresh(), **options(steps=2), checkpoint=file, dtype=torch.bfloat16)
    with pytest.raises(ValueError, match=r"other method"):
        align("ift", source(), fresh(), **options("ift", steps=2), checkpoint=file)
    file.write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"run\.safetensors is not a checkpoint that can be read: .*; delete it to start"):
        align("sft", source(), fresh(), **options(steps=2), checkpoint=file)


def test_the_learning_rate_rises_and_falls():
    rates = [learning_rate(step, 100, 2.0) for step in range(100)]
    assert rates[4] == 2.0 == max(rates) and rates[0] == pytest.approx(0.4)
    assert rates[5:] == sorted(rates[5:], reverse=True) and rates[-1] == pytest.approx(2 / 95)


def test_a_loss_that_is_no_number_ends_the_run():
    policy = fresh()
    with torch.no_grad():
        policy.model.lm_head.weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="the loss is nan at update 0"):
        align("sft", source(), policy, **options())


def test_losses_are_read_late_and_none_is_lost(monkeypatch):
    """A device is not waited for at each update; which update went wrong is known all the same."""
    found = []
    for wait in (1, 5, 25):
        monkeypatch.setattr(training, "READ_EVERY", wait)
        found.append(align("ift", source(), fresh(), **options("ift")))
    assert found[0].loss == found[1].loss == found[2].loss and len(found[0].loss) == 12
    assert found[0].tokens == found[1].tokens == found[2].tokens > found[0].predicted == found[1].predicted > 0
    assert [curve.timed for curve in found] == [9, 9, 9], "the first three get things ready"
    assert align("sft", source(), fresh(), **options(steps=1)).timed == 1

    class Breaks(SFT):
        def loss(self, batch):
            self.calls = getattr(self, "calls", 0) + 1
            return super().loss(batch) * (torch.inf if self.calls > 4 else 1.0)

    with pytest.raises(ValueError, match="the loss is inf at update 4"):
        align(Breaks, source(), fresh(), **options(Breaks))


# ---- rows ----


def test_every_row_comes_once_before_any_comes_again():
    data = source()
    seen = np.concatenate([data.index(step, 20) for step in range(5)])  # 40 draws of 20 rows
    assert sorted(seen[:20]) == list(range(20)) == sorted(seen[20:]) and (seen[:20] != seen[20:]).any()
    assert (data.index(3, 20) == source().index(3, 20)).all(), "whatever was asked before"
    assert (TextSource(seed=1).index(0, 20) != TextSource(seed=2).index(0, 20)).any()


def test_processes_share_the_rows():
    alone = TextSource(rows=12).index(1, 50)
    parts = [TextSource(rows=12, rank=rank, processes=3).index(1, 50) for rank in range(3)]
    assert sorted(np.concatenate(parts)) == sorted(alone) and all(len(part) == 4 for part in parts)


def test_tokens_are_counted_without_padding():
    data = answers(rows=3)
    assert count_tokens(data.batch()).tolist() == [int((data.length - 1).sum()), int((data.length - data.prompt).sum())]
    assert count_tokens((data.batch(), data.batch()))[0] == 2 * (data.length - 1).sum()


def test_an_episode_is_paid_at_its_last_token():
    data = source()
    steps = data.walker(fresh(), 8, 32)()
    assert steps.states.shape[:2] == (1, 8)
    paid = steps.reward != 0
    assert (paid.sum(-1) == 1).all() and torch.equal(paid, steps.terminated)
    after = steps.mask[..., 1:] & ~steps.mask[..., :-1]
    assert (after.sum(-1) == 1).all(), "an answer is one run of steps"
    for b in range(8):
        last = int(steps.mask[0, b].nonzero().max())
        said = steps.actions[0, b][steps.mask[0, b]]
        assert paid[0, b, last] and steps.reward[0, b, last] == pytest.approx(padded_mean(said.tolist(), steps), rel=1e-6)


def padded_mean(said, steps):
    """What the reward of these tests is: the mean of an answer's tokens, padded with the end token to the longest."""
    longest = int(steps.mask.sum(-1).max())
    return float(np.mean(said + [1] * (longest - len(said))))


def test_every_process_learns_the_same_reward():
    """From all pairs, not from its share of them: PPO's rewards would differ between processes."""
    one, other = (source(rank=rank, processes=processes) for rank, processes in ((0, 1), (1, 2)))
    base = fresh()
    learned = [data.learn_reward(copy.deepcopy(base).requires_grad_(False), 3) for data in (one, other)]
    for p, q in zip(learned[0].body.parameters(), base.model.model.parameters(), strict=True):
        assert not torch.equal(p, q), "the whole of it learns, though the base that it is made of is frozen"
    for p, q in zip(*(model.parameters() for model in learned), strict=True):
        assert torch.equal(p, q) and not p.requires_grad
    steps = one.walker(fresh(), 8, 32)()
    paid = one.reward(learned[0], steps)
    assert (paid != 0).sum() == 8 and torch.equal(paid != 0, steps.terminated), "at each answer's last token"


def test_rows_are_shared_evenly_or_not_at_all():
    with pytest.raises(ValueError, match="rows is 8, for 3 processes; allowed: a multiple"):
        source(processes=3)
    with pytest.raises(ValueError, match="prompts of an update is 2, for 4 processes"):
        source(processes=4).groups(fresh(), 8, 4)
    with pytest.raises(ValueError, match="a batch has 1 answer; allowed: two or more"):
        source().groups(fresh(), 1, None)


def test_groups_are_answers_to_one_prompt():
    steps, group = source().groups(fresh(), 8, 4)
    assert group == 4
    prompts = steps.states[0, :, :5].reshape(2, 4, 5)
    assert (prompts == prompts[:, :1]).all() and (prompts[0, 0] != prompts[1, 0]).any()


def test_a_checkpoint_says_what_it_is(tmp_path):
    from safetensors import safe_open

    file = tmp_path / "run.safetensors"
    align("ift", source(), fresh(), **options("ift", steps=2, mixing=0.3), checkpoint=file)
    with safe_open(file, "pt") as kept:
        told = json.loads(kept.metadata()["run"])
    assert told["step"] == 2 and told["about"]["method"] == "IFT" and told["about"]["settings"]["mixing"] == 0.3
