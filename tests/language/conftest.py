"""Fixtures that several test modules of language models share."""

import pytest


@pytest.fixture(scope="module")
def tokenizer():
    """The tokenizer of moves of the compact form."""
    from ift_gridworld.language.move_tokenizer import MoveTokenizer  # loaded where the extra is installed
    from ift_gridworld.language.text import COMPACT

    return MoveTokenizer(COMPACT, COMPACT.tokenizer)


@pytest.fixture(scope="module")
def trl():
    """IFT in TRL, where that is installed: it takes seconds to load."""
    pytest.importorskip("trl")
    pytest.importorskip("peft")
    import datasets

    from ift_gridworld.language import trl

    datasets.disable_progress_bars()
    telemetry = pytest.MonkeyPatch()
    telemetry.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
    yield trl
    telemetry.undo()


@pytest.fixture(scope="module")
def talker():
    """A tokenizer of single letters with a chat template that marks the assistant's turns."""
    from test_language_data import plain_tokenizer
    from trl_runs import TALK

    return plain_tokenizer(chat_template=TALK)
