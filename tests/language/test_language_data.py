"""Rows of text become tokens, and tokens steps: a step's action is the token after its prefix, and the answer's alone count."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.language.data import ANSWER_FIELDS, Completions, prompt_ids, read_rows, tokenize_rows, write_rows
from ift_gridworld.language.lakes import GOAL_CODE, HOLE_CODE, NO_MOVE, draw_lakes, tiles_along, walk
from ift_gridworld.language.move_tokenizer import MoveTokenizer
from ift_gridworld.language.task import encode_walks
from ift_gridworld.language.text import CHAT, COMPACT, dataset_row

PAD, END, BEGIN = "<pad>", "<end>", "<begin>"
TURNS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if m.role == 'assistant' %}<end>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
PIECES = r"<\|\w+\|>|(?: F\b)+| ?[A-Za-z]+|[^A-Za-z]"  # ice in a row is one token: prompts differ in length


def tokenizer_of(words, pieces, **special):
    """A token for each of `words`, which a regular expression cuts the text into."""
    from tokenizers import Regex, Tokenizer, decoders
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from transformers import PreTrainedTokenizerFast

    vocabulary = dict.fromkeys([PAD, END, BEGIN, *words])
    made = Tokenizer(WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token=PAD))
    made.pre_tokenizer = Split(Regex(pieces), "isolated")
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, **{"pad_token": PAD, "eos_token": END} | special)


def chat_tokenizer(template=TURNS, pieces=PIECES, **special):
    """For the chat form. A word after a space is another token than one after none, as in tokenizers of today."""
    text = CHAT.question + "".join(f"<|{role}|>" for role in ("user", "assistant", "system"))
    text += "\n" + "\n".join(w for word in ("S", "H", "G", "F", *LAKE_ACTIONS) for w in (word, f" {word}"))
    words = re.findall(pieces, text) + [" F" * n for n in range(1, 6)]
    return tokenizer_of(words, pieces, chat_template=template, **special)


def plain_tokenizer(*, adds=(), **special):
    """Single letters and spaces are tokens. Some tokenizers put a token before or after whatever they are given."""
    from tokenizers.processors import TemplateProcessing

    made = tokenizer_of([chr(i) for i in range(32, 127)], r".", **special)
    if adds:
        told = [*([BEGIN] if "begin" in adds else []), "$A", *([END] if "end" in adds else [])]
        named = [(word, made.convert_tokens_to_ids(word)) for word in (BEGIN, END)]
        made.backend_tokenizer.post_processor = TemplateProcessing(single=" ".join(told), special_tokens=named)
    return made


def written(tokenizer, answers):
    """Prompts and answers as text again."""
    return [
        tuple(tokenizer.decode(ids[part].tolist()) for part in (slice(prompt), slice(prompt, length)))
        for ids, prompt, length in zip(answers.ids, answers.prompt, answers.length, strict=True)
    ]


def asked(*contents):
    return [{"role": "user", "content": content} for content in contents]


def answered(content):
    return [{"role": "assistant", "content": content}]


# ---- tokens and the predictions of them ----


BY_HAND = Completions.of([[5, 6, 7], [8], [9, 9]], [[2, 1], [3, 4, 1], [1]])


def test_rows_by_hand():
    assert BY_HAND.ids.tolist() == [[5, 6, 7, 2, 1], [8, 3, 4, 1, 0], [9, 9, 1, 0, 0]]
    assert (BY_HAND.prompt.tolist(), BY_HAND.length.tolist(), len(BY_HAND)) == ([3, 1, 2], [5, 4, 3], 3)
    assert Completions.of([[5]], [[2]], 7).ids.tolist() == [[5, 2]] and Completions.of([[5], [5]], [[2], []], 7).ids[1, 1] == 7


def test_steps_by_hand():
    batch = BY_HAND.batch()
    assert batch.states.tolist() == [[[5, 6, 7, 2], [8, 3, 4, 1], [9, 9, 1, 0]]]
    assert batch.actions.tolist() == [[[6, 7, 2, 1], [3, 4, 1, 0], [9, 1, 0, 0]]]
    assert batch.mask.int().tolist() == [[[0, 0, 1, 1], [1, 1, 1, 0], [0, 1, 0, 0]]]
    assert batch.mask.dtype == torch.bool


def test_a_batch_is_as_wide_as_its_longest_row():
    """Whichever way its rows are named; the steps that are left are those of the whole."""
    whole = BY_HAND.batch()
    for index in (np.array([2, 1]), np.array([False, True, True]), slice(1, 3), np.array([2])):
        rows = np.arange(3)[index]
        part = BY_HAND.batch(index)
        width = int(BY_HAND.length[rows].max()) - 1
        for name in ("states", "actions", "mask"):
            assert torch.equal(getattr(part, name), getattr(whole, name)[:, rows, :width])
        assert not whole.mask[:, rows, width:].any(), "nothing that counts was cut off"
        assert torch.equal(BY_HAND[index].batch().states, part.states)


def random_rows(seed=0, rows=40):
    random = np.random.default_rng(seed)
    prompts = [random.integers(2, 90, random.integers(1, 9)).tolist() for _ in range(rows)]
    return prompts, [random.integers(2, 90, random.integers(0, 7)).tolist() for _ in range(rows)]


def test_the_steps_that_count_are_the_answer_each_after_its_prefix():
    prompts, answers = random_rows()
    batch = Completions.of(prompts, answers).batch()
    states, actions, mask = (getattr(batch, name)[0] for name in ("states", "actions", "mask"))
    for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        steps = mask[row].nonzero()[:, 0].tolist()
        assert len(steps) == len(answer)
        for t, step in enumerate(steps):
            assert states[row, : step + 1].tolist() == [*prompt, *answer[:t]]
            assert actions[row, step] == answer[t]


def test_what_pads_never_counts():
    """An answer may hold the very token that pads: what counts is told by lengths, not by tokens."""
    prompts, answers = random_rows(seed=1)
    one, two = (Completions.of(prompts, answers, pad).batch() for pad in (0, answers[0][0] if answers[0] else 5))
    assert torch.equal(one.mask, two.mask)
    assert torch.equal(one.actions[one.mask], two.actions[two.mask])
    assert torch.equal(one.states[one.mask], two.states[two.mask])


def test_answers_alone():
    assert BY_HAND.answers(0).tolist() == [[2, 1, 0], [3, 4, 1], [1, 0, 0]]
    assert BY_HAND.answers(77).tolist() == [[2, 1, 77], [3, 4, 1], [1, 77, 77]], "whatever had padded the rows"
    assert BY_HAND[np.array([2, 0])].answers(0).tolist() == [[1, 0], [2, 1]]
    prompts, answers = random_rows(seed=2)
    width = max(map(len, answers))
    assert Completions.of(prompts, answers).answers(0).tolist() == [[*a, *[0] * (width - len(a))] for a in answers]


def test_no_rows_are_rows_too():
    empty = Completions.of([], [])
    assert len(empty) == 0 and empty.answers(0).shape == (0, 0)


# ---- text to tokens ----


@pytest.mark.parametrize("form", [COMPACT, CHAT], ids=lambda form: form.name)
def test_lakes_as_text_are_lakes_as_tokens(form):
    """What is written to a file and read again trains as what was drawn: on the human's paths, and on those into a hole."""
    tokenizer = MoveTokenizer(form, COMPACT.tokenizer if form is COMPACT else chat_tokenizer())
    lakes = draw_lakes(60, 4, seed=8)
    moves = walk(lakes, 0.4, seed=9, limit=30)
    last = lakes.flat[np.arange(60), tiles_along(lakes, moves)[:, -1]]
    over = (last == GOAL_CODE) | (last == HOLE_CODE)
    lakes, moves = lakes[over], moves[over]
    assert {GOAL_CODE, HOLE_CODE} <= set(last.tolist()) and len(lakes) > 30
    direct = encode_walks(lakes, moves, tokenizer)
    through, left_out = tokenize_rows(
        [dataset_row(form, lakes, i, completion=moves) for i in range(len(lakes))], tokenizer.model_tokenizer
    )
    assert left_out == 0
    for name in ("ids", "prompt", "length"):
        np.testing.assert_array_equal(getattr(direct, name), getattr(through, name))
    for i in range(len(lakes)):
        said = moves[i][moves[i] != NO_MOVE].tolist()
        assert through.ids[i, : through.prompt[i]].tolist() == tokenizer.prompt(lakes, i)
        assert through.ids[i, through.prompt[i] : through.length[i]].tolist() == tokenizer.encode(said, ended=True)


@pytest.mark.parametrize("adds", [(), ("begin",), ("end",), ("begin", "end")], ids=lambda adds: "-".join(adds) or "nothing")
def test_a_prompt_may_begin_with_a_token_of_the_tokenizers_but_does_not_end_with_one(adds):
    """Else the answer would stand after the end of the text, or the end would be asked for twice."""
    tokenizer = plain_tokenizer(adds=adds, bos_token=BEGIN)
    found, _ = tokenize_rows([{"prompt": "ab", "completion": " cd"}], tokenizer)
    assert written(tokenizer, found) == [(BEGIN * ("begin" in adds) + "ab", " cd" + END)]


@pytest.mark.parametrize(
    ("prompt", "answer", "expected"),
    [
        ("ab", "cd", ("ab", "cd<end>")),
        ("ab", " cd", ("ab", " cd<end>")),
        ("ab ", "cd", ("ab ", "cd<end>")),
        ("ab", "cd<end>", ("ab", "cd<end>")),
        ("ab", "", ("ab", "<end>")),
    ],
)
def test_a_plain_answer_follows_its_prompt_as_it_stands_and_is_ended_once(prompt, answer, expected):
    tokenizer = plain_tokenizer()
    assert written(tokenizer, tokenize_rows([{"prompt": prompt, "completion": answer}], tokenizer)[0]) == [expected]


def test_a_conversation_is_written_as_its_template_says():
    tokenizer = chat_tokenizer()
    rows = [{"prompt": asked("S"), "completion": answered("left down")}, {"prompt": asked("G"), "completion": answered("up")}]
    assert written(tokenizer, tokenize_rows(rows, tokenizer)[0]) == [
        ("<|user|>S<|assistant|>", "left down<end>"),
        ("<|user|>G<|assistant|>", "up<end>"),
    ]


@pytest.mark.parametrize(
    ("template", "ending"),
    [
        (TURNS.replace("<end>", "<end>\n"), "what follows the end is left out"),
        (TURNS.replace("<end>", ""), "an end that is not written is put there"),
        (TURNS.replace("'assistant'", "'user'"), "an end in the prompt is not the answer's"),
        (TURNS.replace(" == 'assistant'", ""), "nor does one in the prompt stand for it"),
    ],
)
def test_an_answer_ends_with_the_end_token_whatever_its_template_writes(template, ending):
    tokenizer = chat_tokenizer(template)
    found, _ = tokenize_rows([{"prompt": asked("S"), "completion": answered("left down")}], tokenizer)
    ((_, said),) = written(tokenizer, found)
    assert said == "left down<end>", ending


def test_a_conversation_may_have_had_turns_before():
    """Their ends are the prompt's: nothing of them counts."""
    tokenizer = chat_tokenizer()
    before = [{"role": "system", "content": "S"}, *asked("H"), *answered("up"), *asked("G")]
    found, _ = tokenize_rows([{"prompt": before, "completion": answered("left")}], tokenizer)
    assert written(tokenizer, found) == [("<|system|>S<|user|>H<|assistant|>up<end><|user|>G<|assistant|>", "left<end>")]
    assert int(found.batch().mask.sum()) == 2


def test_a_template_that_rewrites_the_prompt_is_refused():
    """Then no cut parts what was asked from what was answered."""
    tokenizer = chat_tokenizer("{% if messages[1:] %}<|system|>{% endif %}" + TURNS)
    with pytest.raises(ValueError, match="the chat template writes a prompt otherwise when an answer follows") as error:
        tokenize_rows([{"prompt": asked("S"), "completion": answered("left")}], tokenizer)
    assert "\n" not in str(error.value)


def test_a_token_across_the_seam_is_not_the_prompts():
    """The prompt's tokens are those that the model is asked with; an answer that would change them is written by itself."""
    tokenizer = COMPACT.tokenizer  # words between spaces: with nothing between them, the last word would be another
    found, _ = tokenize_rows([{"prompt": "S G :", "completion": said} for said in (" R", "R")], tokenizer)
    assert found.ids.tolist() == [[2, 5, 7, 10, 1]] * 2


# ---- rows that are left out, or refused ----


def test_rows_that_are_too_long_are_left_out_and_counted():
    """The limit is of prompt, answer and end together, and itself allowed."""
    rows = [{"prompt": "a" * n, "completion": " bc"} for n in (1, 2, 3, 4, 3)]
    tokenizer = plain_tokenizer()
    for limit, kept in ((None, 5), (8, 5), (7, 4), (6, 2), (5, 1), (4, 0)):
        found, left_out = tokenize_rows(rows, tokenizer, limit=limit)
        assert (len(found), left_out) == (kept, 5 - kept)
        assert limit is None or (found.length <= limit).all()


def test_chosen_and_rejected_stay_side_by_side():
    """A pair is left out if either of its answers is too long, or each prompt's answers would be compared with another's."""
    rows = [
        {"prompt": "a", "chosen": " x", "rejected": " too long by far"},
        {"prompt": "b", "chosen": " too long by far", "rejected": " x"},
        {"prompt": "c", "chosen": " y", "rejected": " z"},
    ]
    tokenizer = plain_tokenizer()
    for answer, said in (("chosen", " y<end>"), ("rejected", " z<end>")):
        found, left_out = tokenize_rows(rows, tokenizer, answer, limit=6)
        assert written(tokenizer, found) == [("c", said)] and left_out == 2
        assert [prompt for prompt, _ in written(tokenizer, tokenize_rows(rows, tokenizer, answer)[0])] == ["a", "b", "c"]


def test_a_tokenizer_without_an_end_is_refused():
    with pytest.raises(ValueError, match="the tokenizer has no end token"):
        tokenize_rows([{"prompt": "a", "completion": "b"}], plain_tokenizer(eos_token=None))


def test_a_prompt_without_a_token_is_refused():
    """The answer's first token would be predicted from nothing, that is: it would silently not count."""
    rows = [{"prompt": "a", "completion": "b"}, {"prompt": "", "completion": "b"}]
    with pytest.raises(ValueError, match="row 2 has an empty prompt"):
        tokenize_rows(rows, plain_tokenizer())
    tokenizer = plain_tokenizer(adds=("begin",), bos_token=BEGIN)
    assert prompt_ids("", tokenizer) == [tokenizer.bos_token_id], "a begin token is one"
    assert len(tokenize_rows(rows, tokenizer)[0]) == 2


def test_a_tokenizer_that_pads_with_nothing_pads_with_something():
    found, _ = tokenize_rows([{"prompt": "a", "completion": n * "b"} for n in (1, 3)], plain_tokenizer(pad_token=None))
    assert found.ids[0, found.length[0] :].tolist() == [0, 0]


# ---- files ----

ODD = 'ü ✓ 漢 🧊 \n \r\n \t " \\ \u2028 \u2029 \x85 \x0b \x0c \x1c </s> \ufeff'  # signs at which some readers end a line
PLAIN = [{"prompt": "S F :", "completion": " R"}, {"prompt": ODD, "completion": ODD, "more": [1, None]}]
PAIRS = [{"prompt": "S F :", "chosen": " R", "rejected": ""}, {"prompt": ODD, "chosen": ODD, "rejected": ODD}]
TALK = [{"prompt": asked("S", ODD), "completion": answered(ODD)}, {"prompt": asked("H"), "completion": answered("")}]
TALKS = [{"prompt": asked("S"), "chosen": answered(ODD), "rejected": answered("up")}]


@pytest.mark.parametrize(
    ("kind", "rows"),
    [("demonstrations", PLAIN), ("pairs", PAIRS), ("demonstrations", TALK), ("pairs", TALKS), ("demonstrations", PLAIN + TALK)],
    ids=["plain", "plain pairs", "talk", "talk pairs", "both"],
)
def test_rows_come_back_from_a_file(kind, rows, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", rows)
    assert path == tmp_path / "rows.jsonl" and read_rows(path, kind) == rows
    lines = path.read_bytes().decode().split("\n")
    assert lines.pop() == "" and [json.loads(line) for line in lines] == rows, "an object a line, and nothing else"
    assert ("🧊" in path.read_text(encoding="utf-8")) == ("🧊" in str(rows)), "as it is, for people to read"


def test_lakes_come_back_from_a_file(tmp_path):
    lakes = draw_lakes(6, 3, detours=0, seed=2)
    best, poor = walk(lakes, seed=3), walk(lakes, 1.0, seed=4)
    for form in (COMPACT, CHAT):
        rows = [dataset_row(form, lakes, i, chosen=best, rejected=poor) for i in range(6)]
        assert read_rows(write_rows(tmp_path / "rows.jsonl", rows), "pairs") == rows


def test_files_of_others_are_read(tmp_path):
    """With empty lines, line ends and first mark of Windows, no last line end, more fields, signs written as numbers."""
    row = json.dumps(PLAIN[1])  # in ASCII
    path = tmp_path / "theirs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + f"\r\n{row}\r\n   \r\n\r\n  {row}  ".encode())
    assert row.isascii() and read_rows(path, "demonstrations") == [PLAIN[1]] * 2
    both = tmp_path / "both.jsonl"
    write_rows(both, [PLAIN[0] | PAIRS[0]])
    assert all(len(read_rows(both, kind)) == 1 for kind in ANSWER_FIELDS)


SOUND = json.dumps(PLAIN[0])
PAIR = json.dumps(PAIRS[0])


@pytest.mark.parametrize(
    ("kind", "text", "named"),
    [
        ("demonstrations", f"{SOUND}\n{{nothing}}\n", ", row 2: it is no JSON"),
        ("demonstrations", f"\n\n{SOUND[:-4]}\n", ", row 1: it is no JSON"),
        ("demonstrations", f"{SOUND} {SOUND}\n", ", row 1: it is no JSON"),
        (
            "demonstrations",
            f'{SOUND}\n{{"prompt": "a"}}\n',
            ", row 2: has no 'completion'; allowed: rows with prompt, completion",
        ),
        ("demonstrations", '{"completion": "a"}', ", row 1: has no 'prompt'"),
        ("demonstrations", '["prompt", "completion"]', ", row 1: has no 'prompt'"),
        ("demonstrations", '"prompt completion"', ", row 1: has no 'prompt'"),
        ("demonstrations", "7", ", row 1: has no 'prompt'"),
        ("demonstrations", "null", ", row 1: has no 'prompt'"),
        ("demonstrations", PAIR, ", row 1: has no 'completion'"),
        ("pairs", SOUND, ", row 1: has no 'chosen'; allowed: rows with prompt, chosen, rejected"),
        ("pairs", '{"prompt": "a", "chosen": "b"}', ", row 1: has no 'rejected'"),
        ("demonstrations", '{"prompt": 3, "completion": "a"}', ", row 1: 'prompt' is neither text nor messages"),
        ("demonstrations", '{"prompt": null, "completion": null}', ", row 1: 'prompt' is neither"),
        ("demonstrations", '{"prompt": "a", "completion": 3}', ", row 1: 'completion' is neither"),
        ("demonstrations", '{"prompt": [], "completion": []}', ", row 1: 'prompt' is neither"),
        ("demonstrations", '{"prompt": ["a"], "completion": ["a"]}', ", row 1: 'prompt' is neither"),
        ("demonstrations", '{"prompt": [{"role": "user"}], "completion": []}', ", row 1: 'prompt' is neither"),
        ("demonstrations", '{"prompt": [{"role": "user", "content": 3}], "completion": []}', ", row 1: 'prompt' is neither"),
        ("demonstrations", json.dumps({"prompt": asked("a"), "completion": []}), ", row 1: 'completion' is neither"),
        ("demonstrations", json.dumps({"prompt": "a", "completion": answered("b")}), ", row 1: 'completion' is neither"),
        ("demonstrations", json.dumps({"prompt": asked("a"), "completion": "b"}), ", row 1: 'completion' is neither"),
        ("pairs", json.dumps(TALKS[0] | {"rejected": "b"}), ", row 1: 'rejected' is neither"),
        (
            "demonstrations",
            f'{SOUND}\n{{"prompt": "a", "completion": "\\ud83d"}}',
            ", row 2: 'completion' holds half of a sign",
        ),
        (
            "demonstrations",
            json.dumps({"prompt": asked("\ud83d"), "completion": answered("b")}),
            ", row 1: 'prompt' holds half",
        ),
        ("demonstrations", '{"prompt": "a", "prompt": "b", "completion": "c"}', ", row 1: it has 'prompt' twice"),
        ("demonstrations", f"{SOUND}\n{'[' * 10**5}", ", row 2: it is nested too deeply"),
        ("demonstrations", f"{SOUND}\n{'9' * 5000}", ", row 2: "),
        ("demonstrations", f"{SOUND}\r\n\r\n{{\x1b[31m}}\r\n", ", row 2: it is no JSON"),
        ("demonstrations", "", " has no row; allowed: one JSON object a line, with prompt, completion"),
        ("pairs", "\n \n\n", " has no row; allowed: one JSON object a line, with prompt, chosen, rejected"),
        ("demonstrations", b"\x89PNG\r\n\x1a\n\x00\xff", ": cannot be read as text"),
        ("demonstrations", b"\x00\x01\x02", ", row 1: it is no JSON"),
        ("demonstrations", SOUND.encode("utf-16"), ": cannot be read as text"),
    ],
)
def test_a_bad_row_is_told_in_one_line_with_file_and_row(kind, text, named, tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as error:
        read_rows(path, kind)
    assert str(error.value).startswith(f"{path}{named}") and "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_told_in_one_line(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(ValueError) as error:
            read_rows(path, "pairs")
        assert str(error.value).startswith(f"{path}: cannot be read as text") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ raise_exception('roles must\\nalternate') }}", "roles must alternate"),
        ("{{ messages[7].content }}", "has no element 7"),
        ("{{ 1 + messages }}", "unsupported operand"),
        ("{% if messages | length > 1 %}S{% endif %}" + TURNS, "writes a prompt otherwise"),
    ],
)
def test_a_row_that_a_chat_template_refuses_is_named(template, words):
    made = chat_tokenizer(template)
    rows = [{"prompt": asked("a"), "completion": answered("b")}]
    with pytest.raises(ValueError, match=f"^row 1 cannot be written as tokens: .*{words}") as error:
        tokenize_rows(rows, made)
    assert str(error.value).isprintable()


def test_a_row_that_cannot_be_tokenized_is_told_with_its_file(tmp_path):
    """Of a study, which reads the file; empty lines are not counted, here or there."""
    from ift_gridworld.language.distributed import ProcessGroup
    from ift_gridworld.methods.imitation import SFT
    from ift_gridworld.studies.language_seed import SeedStudy
    from ift_gridworld.studies.language_settings import StudySettings

    path = tmp_path / "rows.jsonl"
    path.write_text(f'\n{SOUND}\n\n{{"prompt": "", "completion": " R"}}\n')
    study = SimpleNamespace(
        settings=StudySettings(data=path), group=ProcessGroup.join("cpu"), base=SimpleNamespace(context=99),
        tokenizer=MoveTokenizer(COMPACT, COMPACT.tokenizer), seed=0,
    )  # fmt: skip
    with pytest.raises(ValueError) as error:
        SeedStudy._source(study, SFT)
    assert str(error.value).startswith(f"{path}: row 2 has an empty prompt; allowed: a token or more")
