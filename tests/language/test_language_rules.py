"""Rules of the language run, each on an example written by hand in which the wrong rule gives another number."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from test_language_metrics import DOWN, END, LEFT, RIGHT, UP, among, at_tiles, corridor, player
from torch import nn

from ift_gridworld import losses
from ift_gridworld.data import Batch, Trajectories
from ift_gridworld.language import controls
from ift_gridworld.language import source as source_module
from ift_gridworld.language.controls import CONTROLS
from ift_gridworld.language.data import Completions
from ift_gridworld.language.estimation import bias, estimate_answers
from ift_gridworld.language.lakes import Lakes
from ift_gridworld.language.metrics import measure
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.rewards import exact_reward
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.task import Task, encode_walks
from ift_gridworld.language.text import COMPACT
from ift_gridworld.language.training import TrainingLog, _TrainingRun, align, count_tokens
from ift_gridworld.methods.base import Method
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.options import IFTOptions, TrainingOptions
from ift_gridworld.methods.registry import METHODS
from ift_gridworld.policies.residual import residual_embeddings


@pytest.fixture(scope="module")
def policy():
    return LanguagePolicy(sharp_model().double())


# ---- controls: whose prediction is mixed in ----


def demonstrations(words=(9, 9, 9, 9)):
    """Four prompts of one length with answers of two to five tokens, all of one word but for the end, which is 1."""
    random = np.random.default_rng(3)
    prompts = [random.integers(2, 8, 5).tolist() for _ in words]
    return Completions.of(prompts, [[word] * (i + 1) + [1] for i, word in enumerate(words)])


def second_likeliest(logits, generator=None):
    """What stands for a draw from the model, so that it is known."""
    return logits.argsort(-1)[..., -2]


def expected_successor(kind, policy):
    """Row t stands in the place of token t + 1."""
    table = policy.model.get_input_embeddings().weight.detach()

    def successor(states, logits):
        likeliest = logits.argmax(-1)
        if kind == "random":
            return table[torch.full_like(states, 9)]  # every word of the data's answers
        if kind == "sampled":
            return table[second_likeliest(logits)]
        if kind == "shifted":
            return table[torch.cat([likeliest[..., 1:], likeliest[..., -1:]], -1)]
        return table[likeliest]

    return successor


@pytest.mark.parametrize("propagation", ["released", "none"])
@pytest.mark.parametrize("kind", ["random", "sampled", "shifted", "likeliest"])
def test_a_control_learns_from_the_tokens_that_its_name_says(kind, propagation, policy, monkeypatch):
    """Its loss is that of states mixed with them, and no other control's; without propagation, SFT's loss of those states."""
    monkeypatch.setattr(controls, "sample_tokens", second_likeliest)
    name = {"released": "ift", "none": "ift_residual"}[propagation] + ("" if kind == "likeliest" else f"_{kind}")
    method, overrides = CONTROLS.get(name, (IFT, {}))
    learner = method(TextSource(demonstrations(), rows=4), policy, IFTOptions(mixing=0.5, **overrides))
    batch, found = learner.batch(0), {}
    for other in ("random", "sampled", "shifted", "likeliest"):
        mixed = residual_embeddings(policy, batch.states, batch.mask, expected_successor(other, policy), mixing=0.5)
        logp = policy.log_probs_of(mixed, batch.actions, batch.mask)
        if propagation == "none":
            found[other] = losses.sft_loss(logp, batch.mask).mean()
        else:
            found[other] = losses.ift_loss(logp, batch.mask, decay=0.95, propagation="released").mean()
    loss = learner.loss(batch)
    close = {other: torch.allclose(loss, value, rtol=1e-5) for other, value in found.items()}
    assert close == {other: other == kind for other in found}


def test_random_tokens_are_words_of_answers_drawn_anew(policy):
    """Not the end, not the prompts' words, and another draw at every update."""
    source = TextSource(demonstrations((8, 9, 10, 11)), rows=4, seed=5)
    learner = CONTROLS["ift_random"][0](source, policy, IFTOptions())
    table = policy.model.get_input_embeddings().weight
    states = torch.zeros(1, 40, 10, dtype=torch.long)
    draws = [torch.cdist(learner.successor(states, None)[0], table).argmin(-1) for _ in range(2)]
    share = [float((torch.stack(draws) == word).double().mean()) for word in range(8, 12)]
    assert share == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=4 * (0.25 / 800) ** 0.5), "as often as answers have them"
    assert (draws[0] != draws[1]).any()


def test_every_token_of_an_answer_but_its_first_is_mixed(policy):
    """In a conversation, too, as in the authors' code: an answer's last token is read by later turns and is mixed though no
    step counts there; the human's words and each answer's first token keep their own embeddings."""
    ids = torch.randint(2, 12, (1, 3, 13), generator=torch.Generator().manual_seed(0))
    states, actions = ids[..., :-1], ids[..., 1:]
    labels = torch.full_like(ids, -100)
    labels[..., 5:8], labels[..., 10:] = ids[..., 5:8], ids[..., 10:]  # two answers, and what stands between them
    mask = labels[..., 1:] != -100
    successor = TextSource().successor(policy, IFTOptions())
    with torch.no_grad():
        predicted = policy(states).argmax(-1)
        # Token i of an answer stands beside the prediction after token i - 1.
        tokens = torch.where(labels[..., :-1] == -100, states, predicted.roll(1, -1))
        mixed = 0.5 * policy.embed(states) + 0.5 * policy.embed(tokens)
        expected = policy.log_probs_of(mixed, actions, mask)
        kept = residual_embeddings(policy, states, mask, successor, mixing=0.5)  # without the first answer's last token
        assert ((kept != mixed).any(-1).any(-2).flatten()).nonzero().flatten().tolist() == [7]
    for share in (True, False):
        found = policy.residual_log_probs(states, actions, mask, successor, mixing=0.5, share=share)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert (found - policy.log_probs_of(kept, actions, mask))[..., 9:].abs().max() > 1e-3, "a later turn reads it"


# ---- the learned reward ----


class Additive(nn.Module):
    """A reward model that is as causal as a transformer: the value of a prefix is the sum of its tokens' weights."""

    def __init__(self, policy):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(16))

    def forward(self, ids):
        return self.weight[ids].cumsum(-1)[..., None]


def test_an_answer_is_scored_at_its_last_token_by_the_chosen_side(monkeypatch):
    """The chosen answers' last word becomes worth more, the rejected ones' less; a score is the whole answer's."""
    monkeypatch.setattr(source_module, "Critic", Additive)
    prompts = [[2, 3]] * 3
    chosen = Completions.of(prompts, [[9], [8, 9], [8, 8, 9]])
    rejected = Completions.of(prompts, [[8, 10], [10], [8, 10]])
    source = TextSource(chosen, chosen, rejected, rows=3)
    learned = source.learn_reward(SimpleNamespace(learning_rate=0.1), 8)
    weight = learned.weight.detach().clone()
    assert weight[9] > 0.3 and weight[10] < -0.3, "read one token early neither is seen; from the wrong side they are swapped"
    learned.weight.data = torch.arange(16.0) + 1  # padding is a token, too: the 0
    assert source_module._scores(learned, rejected.batch()).tolist() == [[3 + 4 + 9 + 11, 3 + 4 + 11, 3 + 4 + 9 + 11]]
    batch = chosen.batch()
    last = torch.zeros_like(batch.mask)
    last[0, [0, 1, 2], [1, 2, 3]] = True
    zeros = torch.zeros_like(batch.mask)
    steps = Trajectories(batch.states, batch.actions, batch.mask, batch.actions, last.float(), last, zeros)
    paid = source.reward(learned, steps)
    assert paid[0].tolist() == [[0, 17, 0, 0], [0, 0, 26, 0], [0, 0, 0, 35]], "once, where the answer ends"


def test_the_exact_reward_is_paid_for_reaching_the_goal_less_for_each_move_too_many(tokenizer):
    lakes = Lakes.of([("SFG", "FHF")] * 4)
    walks = np.array(
        [[RIGHT, RIGHT, -1, -1, -1], [LEFT, RIGHT, RIGHT, -1, -1], [RIGHT, DOWN, -1, -1, -1], [RIGHT, LEFT, RIGHT, RIGHT, -1]]
    )
    answers = encode_walks(lakes, walks, tokenizer).answers(tokenizer.end)
    assert exact_reward(lakes, tokenizer)(np.arange(4), answers) == pytest.approx([1, 0.9, 0, 0.81])


def test_a_sampled_answer_is_rewarded_as_an_answer_to_its_own_prompt(policy):
    """At its last token; of each prompt `group` answers stand side by side, and the next batch has the next prompts."""
    asked = []

    def reward(index, tokens):
        asked.append(index.tolist())
        return index + 1.0

    source = TextSource(demonstrations(), rows=4, limit=3, reward_function=reward, seed=1)
    for _ in range(2):
        steps, group = source.groups(policy, 4, 2)
        assert group == 2 and asked[-1][0] == asked[-1][1] and asked[-1][2] == asked[-1][3]
        assert steps.reward.sum(-1)[0].tolist() == [i + 1.0 for i in asked[-1]]
        first = demonstrations().ids[asked[-1], :5]
        np.testing.assert_array_equal(steps.states[0, :, :5], first)
    assert sorted({*asked[0], *asked[1]}) == [0, 1, 2, 3]


def test_rows_come_in_another_order_in_each_epoch_and_for_each_seed():
    orders = [TextSource(seed=seed, rows=30).index(epoch, 30).tolist() for seed in (1, 2) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4 and all(sorted(order) == list(range(30)) for order in orders)
    assert TextSource(seed=2, rows=30).index(1, 30).tolist() == orders[3], "whatever was asked before"


def test_what_is_sampled_depends_on_the_seed_and_on_what_was_drawn_before():
    draw = lambda generator: float(torch.rand((), generator=generator))  # noqa: E731
    one, again, other = (TextSource(seed=seed) for seed in (1, 1, 2))
    first = [draw(one.random()) for _ in range(3)]
    assert len({*first, draw(other.random())}) == 4 and first == [draw(again.random()) for _ in range(3)]
    assert draw(TextSource(seed=1, rank=1, processes=2).random()) != first[0]


# ---- the loop ----


def one_run(gradient=(30.0, 40.0), max_grad_norm=None, steps=100, peak=1.0):
    """A run that would move two numbers by plain gradient descent."""
    numbers = nn.Parameter(torch.zeros(2, dtype=torch.double))
    slope = torch.tensor(gradient, dtype=torch.double)
    batch = Batch(*torch.zeros(2, 1, 1, 1).long(), torch.ones(1, 1, 1, dtype=torch.bool))
    loss = lambda batch: (slope * numbers).sum()[None]  # noqa: E731
    learner = SimpleNamespace(max_grad_norm=max_grad_norm, parameters=lambda: [numbers], batch=lambda step: batch, loss=loss)
    source = SimpleNamespace(processes=1, rank=0, device=torch.device("cpu"))
    run = _TrainingRun(learner, source, SimpleNamespace(eval=lambda: None), steps, peak, torch.float32, None)
    return run, numbers


@pytest.mark.parametrize(
    ("gradient", "bound", "expected"),
    [
        ((30.0, 40.0), None, (0.6, 0.8)),
        ((30.0, 40.0), 0.5, (0.3, 0.4)),
        ((0.3, 0.4), None, (0.3, 0.4)),
        ((0.3, 0.4), 2.0, (0.3, 0.4)),
    ],
)
def test_a_gradient_is_clipped_to_a_norm_of_one_or_the_methods_own(gradient, bound, expected):
    """AdamW's first step hides it, as it scales any gradient to 1; plain descent shows it."""
    run, numbers = one_run(gradient, bound)
    run.optimiser = torch.optim.SGD([numbers], lr=1.0)
    numbers.grad = torch.tensor(gradient, dtype=torch.double)
    run._step()
    torch.testing.assert_close(numbers.detach(), -torch.tensor(expected, dtype=torch.double), rtol=1e-5, atol=0)
    assert numbers.grad is None, "the next update begins anew"


def test_every_update_has_its_own_rate_and_nothing_decays():
    """The rate rises over 5 of 100 updates and falls to 0; the weights are not pulled to 0."""
    run, _ = one_run(peak=2.0)
    rates = []
    for step in (0, 4, 5, 52, 99):
        run._losses(step)
        rates.append(run.optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([2 * 0.2, 2, 2, 2 * 48 / 95, 2 / 95])
    assert run.optimiser.defaults["weight_decay"] == 0 and run.optimiser.defaults["betas"] == (0.9, 0.95)


@pytest.mark.parametrize("name", ["dpo_online", "grpo"])
def test_a_resumed_run_goes_on_with_its_optimiser_its_prompts_and_its_draws(name, policy, tmp_path):
    """The loss of every update after the third is that of a run which never stopped; the base is measured first, and once."""
    kind = METHODS[name]
    small = {"walkers": 4, "group": 2, "epochs": 2} if name == "grpo" else {}
    options = {
        "options": kind.options_type(**small), "training": TrainingOptions(steps=6, learning_rate=1e-2),
        "evaluate": lambda policy: {"norm": float(policy.model.lm_head.weight.norm())}, "every": 2,
    }  # fmt: skip

    def source():
        data = demonstrations((8, 9, 10, 11))
        return TextSource(
            data, data, data, rows=2, limit=4, seed=3, reward_function=lambda index, answers: (answers == 8).mean(1)
        )

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    whole = align(name, source(), copy.deepcopy(policy), **options)
    kept = {**options, "checkpoint": tmp_path / "run.safetensors", "keep_every": 2}
    with pytest.raises(KeyboardInterrupt):
        align(name, source(), copy.deepcopy(policy), **kept, progress=stop)
    resumed = align(name, source(), copy.deepcopy(policy), **kept)
    assert resumed.loss == whole.loss and len(set(whole.loss)) == 6
    assert resumed.measured == whole.measured and [result["step"] for result in whole.measured] == [0, 2, 4, 6]
    assert whole.measured[0]["norm"] == float(policy.model.lm_head.weight.norm())


def test_the_reference_is_the_base_and_does_not_learn(policy):
    """DPO begins at log 2 whatever the base; after an update the reference still says what the base says."""
    data = demonstrations()
    model = copy.deepcopy(policy).float()
    source = TextSource(data, data, demonstrations((8, 8, 8, 8)), rows=4)
    learner = METHODS["dpo"](source, model)
    assert float(learner.loss(learner.batch(0)).detach()) == pytest.approx(np.log(2), rel=1e-6)
    align("dpo", source, model, training=TrainingOptions(steps=2, learning_rate=1e-2))
    assert not torch.equal(model.model.lm_head.weight, learner.reference.model.lm_head.weight)
    assert torch.equal(learner.reference.model.lm_head.weight, policy.float().model.lm_head.weight)
    policy.double()


def test_online_dpo_rejects_an_answer_of_the_model_as_it_is_now(policy):
    """It is drawn anew at every update, by the policy and not by the reference."""
    data = demonstrations()
    asked, source = [], TextSource(data, data, data, rows=4)
    source.answers = lambda model, to: asked.append(model) or to
    learner = METHODS["dpo_online"](source, policy)
    for step in range(2):
        chosen, rejected = learner.batch(step)
        assert rejected.batch is chosen.batch
    assert len(asked) == 2 and all(model is policy for model in asked)


def test_rollouts_are_walked_anew_every_so_many_updates(policy):
    """300 updates in 4 epochs are 75 batches of rollouts."""
    walks = []
    kind = type("Walks", (METHODS["grpo"],), {"_walk": lambda self: walks.append(self) or len(walks)})
    learner = kind(TextSource(demonstrations(), rows=4), policy)
    seen = [learner.batch(step) for step in range(300)]
    assert len(walks) == 75 and seen == [1 + step // 4 for step in range(300)]


def test_tokens_of_a_batch_are_those_of_its_rows():
    """Rows of 5 + 2, 5 + 3, 5 + 4 and 5 + 5 tokens, padded to 10: read without the last, predicted without the prompt."""
    data = demonstrations()
    assert data.length.tolist() == [7, 8, 9, 10]
    assert count_tokens(data.batch()).tolist() == [6 + 7 + 8 + 9, 2 + 3 + 4 + 5]
    assert count_tokens((SimpleNamespace(batch=data.batch()), SimpleNamespace(batch=data[:1].batch()))).tolist() == [36, 16]


def test_the_first_updates_are_not_timed(policy):
    """Of 5 updates 2 are; the tokens are of these alone. A method's evaluation takes no time."""

    class Two(Method):
        keeps_reference = False

        def batch(self, step):
            return self.source.demonstration_batch(step)

        def loss(self, batch):
            return self.policy.log_probs(batch.states, batch.actions, batch.mask).sum(-1).mean(-1)

    source = TextSource(demonstrations(), rows=4)
    log = align(Two, source, copy.deepcopy(policy), training=TrainingOptions(steps=5, learning_rate=1e-4))
    assert isinstance(log, TrainingLog) and (log.timed, log.tokens, log.predicted) == (2, 2 * 30, 2 * 14)


# ---- what is asked of a model ----


def test_ppo_is_compared_with_the_human_only_where_the_model_still_walks(tokenizer):
    """Half of the walks fall at the first step, and climb back; who has not fallen agrees with certainty from there on."""
    lakes = Lakes.of([("SFG", "HFF")] * 40)
    fixed = {0: among([RIGHT, DOWN]), 2: {END: 1.0}, 3: {UP: 1.0}}
    speaks = at_tiles(lambda rows, tile, best: fixed.get(tile) or among(best))
    human = encode_walks(lakes, np.full((40, 2), RIGHT), tokenizer)
    kind = METHODS["ppo"]
    source, options = TextSource(human, human, human, end=tokenizer.end), kind.options_type()
    estimate, _, _ = estimate_answers(kind, source, player(tokenizer, speaks), options, tokenizer, lakes, samples=2)
    np.testing.assert_allclose(estimate[:, 0], 0.5)
    later = estimate[:, 1:]
    assert np.isnan(later).any(), "where both walks of a lake have fallen nothing is assumed"
    np.testing.assert_allclose(later[np.isfinite(later)], 1.0)


def test_the_bias_is_the_estimate_less_the_truth_over_the_steps_that_have_one():
    estimate = np.array([[0.5, 0.4, np.nan, 9.0], [1.0, 1.0, 1.0, 1.0]])
    truth, mask = np.array([[0.2, 0.3, 0.7, 0.1], [0.5] * 4]), np.array([[True, True, True, False], [True] * 4])
    np.testing.assert_allclose(bias(estimate, truth, mask), [(0.3 + 0.1) / 2, 0.5])


def test_greedy_answers_are_the_likeliest_and_sampled_ones_are_drawn(tokenizer):
    """Right in 6 of 10 draws a step: always right if greedy, 0.6⁴ of the time if sampled, differently by the seed."""
    speaks = at_tiles(lambda rows, tile, best: {RIGHT if best else END: 0.6, LEFT: 0.4})
    lakes, paths = corridor(40), np.full((40, 3), RIGHT)
    found = [measure(player(tokenizer, speaks), tokenizer, lakes, paths, samples=2, seed=seed) for seed in (0, 0, 1)]
    assert (found[0]["greedy"] == 1).all() and 0 < found[0]["sampled"].mean() < 0.6
    assert (found[0]["sampled"] == found[1]["sampled"]).all() and (found[0]["sampled"] != found[2]["sampled"]).any()


def test_each_lake_has_its_own_answers(tokenizer):
    """Two answers to each of three corridors; in the second the player runs against the wall."""
    lakes, paths = Lakes.of([("SFG",), ("GFS",), ("SFG",)]), np.array([[RIGHT] * 2, [LEFT] * 2, [RIGHT] * 2])
    speaks = at_tiles(lambda rows, tile, best: {END: 1.0} if not best else {RIGHT: 1.0})
    found = measure(player(tokenizer, speaks), tokenizer, lakes, paths, samples=2)
    assert found["greedy"].tolist() == found["sampled"].tolist() == [1, 0, 1]


def test_the_end_is_asked_on_the_goal_and_distance_off_it(tokenizer):
    """On the goal the end has 0.9, elsewhere 0.2; who is perfect before the goal is at no distance, wherever he ends."""
    lakes, paths = Lakes.of([("SFG", "FFF")]), np.array([[RIGHT, RIGHT]])
    speaks = at_tiles(lambda rows, tile, best: {best[0]: 0.8, END: 0.2} if best else {END: 0.9, LEFT: 0.1})
    assert measure(player(tokenizer, speaks), tokenizer, lakes, paths, samples=1)["end"] == pytest.approx(0.9)
    speaks = at_tiles(lambda rows, tile, best: among(best) if best else {END: 0.3, LEFT: 0.7})
    assert measure(player(tokenizer, speaks), tokenizer, lakes, paths, samples=1)["distance"] == pytest.approx(0, abs=1e-12)


def test_on_the_path_is_where_the_human_walked(tokenizer):
    """A player who errs only in the lower row is at a distance only off the path along the upper one."""
    lakes, paths = Lakes.of([("SFG", "FFF")]), np.array([[RIGHT, RIGHT]])
    speaks = at_tiles(lambda rows, tile, best: {END: 1.0} if not best or tile > 2 else among(best))
    found = measure(player(tokenizer, speaks), tokenizer, lakes, paths, samples=1)
    assert found["distance_on"] == pytest.approx(0, abs=1e-12) and found["distance_off"] > 0.2
    assert found["distance"] == pytest.approx(found["distance_off"] * 3 / 5), "two tiles before the goal on it, three off it"


# ---- the data ----


def test_no_set_is_drawn_from_another_and_every_set_has_walks_of_its_own():
    """Demonstrations, their rejected answers and the base's walks belong to their lakes; another seed draws others."""
    task, other = (
        Task(base=20, maps=20, validation=20, held_out=20, seed=4),
        Task(base=20, maps=20, validation=20, held_out=20, seed=5),
    )
    prints = {name: set(lakes.fingerprints) for name, lakes in task.lakes.items()}
    assert len(set.union(*prints.values())) == 80
    assert len(prints["maps"] & set(other.lakes["maps"].fingerprints)) < 20
    assert set(task.rejected) == {"maps", "held_out"}
    tokenizer = MoveTokenizer(COMPACT, COMPACT.tokenizer)
    for name in ("maps", "held_out"):
        source = task.source(tokenizer, name)
        reached = exact_reward(task.lakes[name], tokenizer)(np.arange(20), source.demonstrations.answers(tokenizer.end))
        assert (reached == 1).all() and (source.chosen.ids == source.demonstrations.ids).all()
        worse = exact_reward(task.lakes[name], tokenizer)(np.arange(20), source.rejected.answers(tokenizer.end))
        assert (worse < 1).all() and source.seed == 4
