"""What methods take a language model to prefer, by hand: on a corridor with players whose every word is known."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from sharp_models import sharp_model
from test_language_metrics import DOWN, END, LEFT, RIGHT, UP, among, at_tiles, corridor, perfect, player

from ift_gridworld.language.controls import CONTROLS
from ift_gridworld.language.data import Completions
from ift_gridworld.language.estimation import bias, estimate_answers
from ift_gridworld.language.lakes import Lakes, draw_lakes, walk
from ift_gridworld.language.policy import LanguagePolicy
from ift_gridworld.language.source import TextSource
from ift_gridworld.language.task import encode_walks, rejected_walks
from ift_gridworld.methods.imitation import IFT
from ift_gridworld.methods.registry import METHODS


def asked(name, policy, tokenizer, lakes, rejected=None, **changes):
    """What `estimate_answers` is asked: a method over the human's paths on lakes."""
    paths = walk(lakes)
    rejected = rejected_walks(lakes, (0.5, 1.0), seed=0) if rejected is None else rejected
    human, others = encode_walks(lakes, paths, tokenizer), encode_walks(lakes, rejected, tokenizer)
    source = TextSource(human, human, others, end=tokenizer.end)
    kind = METHODS[name]
    return kind, source, policy, kind.options_type(**changes), tokenizer, lakes


steady = at_tiles(lambda rows, tile, best: {RIGHT: 0.5, LEFT: 0.25, END: 0.25} if best else {END: 0.8, RIGHT: 0.2})


def test_the_truth_and_what_sft_takes_for_it(tokenizer):
    """S F F G: three moves, then the end. SFT has every step begin with certainty, so it never says less than is true."""
    policy, lakes = player(tokenizer, steady), corridor()
    for name, expected in (("sft", [0.5, 0.5, 0.5, 0.8]), ("dpo_online", [0.5, 0.25, 0.125, 0.1])):
        estimate, truth, mask = estimate_answers(*asked(name, policy, tokenizer, lakes))
        np.testing.assert_allclose(estimate, [expected], rtol=1e-6)
        np.testing.assert_allclose(truth, [[0.5, 0.25, 0.125, 0.1]], rtol=1e-6)
        assert mask.all()
    found = bias(*estimate_answers(*asked("sft", policy, tokenizer, lakes)))
    np.testing.assert_allclose(found, np.mean([0, 0.25, 0.375, 0.7]), rtol=1e-6)
    assert bias(*estimate_answers(*asked("dpo_online", policy, tokenizer, lakes))) == 0


def test_offline_dpo_takes_stale_answers_for_the_models_own(tokenizer):
    """1 as long as the rejected answer goes with the human's, 0 from where it does not, whatever the model would do."""
    policy, lakes = player(tokenizer, steady), Lakes.of([("SFG", "FHF")] * 3)
    rejected = np.array([[RIGHT, DOWN, -1, -1], [DOWN, RIGHT, -1, -1], [RIGHT, LEFT, RIGHT, RIGHT]])
    estimate, truth, mask = estimate_answers(*asked("dpo", policy, tokenizer, lakes, rejected))
    np.testing.assert_array_equal(estimate, [[1, 0, 0], [0, 0, 0], [1, 0, 0]])
    np.testing.assert_allclose(truth, [[0.5, 0.25, 0.2]] * 3, rtol=1e-6)
    assert mask.all()


def test_ppo_asks_the_human_where_the_model_has_gone(tokenizer):
    """By enumeration of all walks that have not ended: E_s Σ_a T*(a|s) π(a|s), on ice where two moves may be best."""
    lakes, count = Lakes.of([("SFF", "FFG")]), 4000
    speaks = at_tiles(lambda rows, tile, best: {RIGHT: 0.4, DOWN: 0.3, UP: 0.1, END: 0.2} if best else {END: 0.7, LEFT: 0.3})
    policy, often = player(tokenizer, speaks), lakes[np.zeros(count, int)]
    estimate, _, _ = estimate_answers(*asked("ppo", policy, tokenizer, often), samples=1)
    going, expected = {0: 1.0}, []
    for _ in range(4):  # three moves and the end
        total, agreed, onward = sum(going.values()), 0.0, defaultdict(float)
        for tile, chance in going.items():
            told = {LEFT: 0.3, END: 0.7} if tile == 5 else {RIGHT: 0.4, DOWN: 0.3, UP: 0.1, END: 0.2}
            human = {END: 1.0} if tile == 5 else among(np.flatnonzero(lakes.optimal[0, tile]).tolist())
            agreed += chance * sum(share * human.get(word, 0.0) for word, share in told.items())
            for word, share in told.items():
                if word != END:
                    onward[int(lakes.next_state[tile, word])] += chance * share
        expected.append(agreed / total)
        going = onward
    found = np.nanmean(estimate, 0)
    assert abs(found - expected).max() < 4 * 0.5 / np.sqrt(count * 0.8**3)


def test_all_walks_may_be_over(tokenizer):
    """Then nothing is supposed of the model, and what is left decides."""
    lakes = corridor()
    policy = player(tokenizer, at_tiles(lambda rows, tile, best: {RIGHT: 0.0, END: 1.0} if tile == 1 else {RIGHT: 1.0}))
    estimate, truth, _ = estimate_answers(*asked("ppo", policy, tokenizer, lakes))
    np.testing.assert_allclose(estimate, [[1.0, 0.0, np.nan, np.nan]], atol=1e-12)
    np.testing.assert_allclose(truth, [[1.0, 0.0, 0.0, 0.0]], atol=1e-12)
    np.testing.assert_allclose(bias(*estimate_answers(*asked("ppo", policy, tokenizer, lakes))), 0, atol=1e-12)


def test_who_plays_perfectly_is_known_for_it_where_there_is_one_way(tokenizer):
    lakes = corridor(3)
    for name in ("sft", "ppo", "dpo_online"):
        np.testing.assert_allclose(
            bias(*estimate_answers(*asked(name, player(tokenizer, perfect), tokenizer, lakes))), 0, atol=1e-6
        )


def test_ift_supposes_what_its_second_pass_says(tokenizer):
    """A product of the probabilities from mixed states, exact without mixing; a mean over each lake's own steps."""
    policy, lakes = LanguagePolicy(sharp_model(seed=2, factor=10)), draw_lakes(70, seed=1)  # more than are read at a time
    told = asked("ift", policy, tokenizer, lakes, mixing=0.3)
    estimate, truth, mask = estimate_answers(*told)
    data = told[1].demonstrations
    batch = data.batch()
    with torch.no_grad():
        second = IFT(told[1], policy, told[3]).second_pass(batch).exp()[0].numpy()
    for i in (0, 33, 69):
        row = second[i][batch.mask[0, i].numpy()]
        np.testing.assert_allclose(estimate[i][mask[i]], row.cumprod(), rtol=2e-4)
        assert mask[i].sum() == data.length[i] - data.prompt[i]
    found = bias(*estimate_answers(*told))
    np.testing.assert_allclose(found[5], (estimate - truth)[5][mask[5]].mean(), rtol=1e-9)
    assert abs(found).max() > 1e-4
    assert not bias(*estimate_answers(*asked("ift", policy, tokenizer, lakes, mixing=0.0))).any()


@pytest.mark.parametrize("name", ["ift_random", "ift_sampled"])
def test_what_is_drawn_to_ask_is_drawn_from_nobody(name, tokenizer):
    """Asked twice a control says the same, and the problem's own draws go on as if nobody had asked."""
    kind, changes = CONTROLS[name]
    policy = LanguagePolicy(sharp_model(seed=2, factor=10))
    told = asked("ift", policy, tokenizer, draw_lakes(9, seed=1), mixing=0.5, **changes)
    told = (kind, *told[1:])
    first = bias(*estimate_answers(*told))
    np.testing.assert_array_equal(first, bias(*estimate_answers(*told)))
    assert told[1].draws == 0 and first.any()


def test_a_shorter_stale_answer_is_no_match_after_its_end():
    from ift_gridworld.language.estimation import answer_tokens

    answers = Completions.of([[2], [2]], [[10, 1], [10, 9, 10, 9, 1]])
    assert answer_tokens(answers, 4).tolist() == [[10, 1, -1, -1], [10, 9, 10, 9]]
    assert answer_tokens(answers[:1], 4).tolist() == [[10, 1, -1, -1]]
