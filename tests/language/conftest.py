"""Fixtures that several test modules of language models share."""

import pytest


@pytest.fixture(scope="module")
def tokenizer():
    """The tokenizer of moves of the compact form."""
    from ift_gridworld.language.move_tokenizer import MoveTokenizer  # loaded where the extra is installed
    from ift_gridworld.language.text import COMPACT

    return MoveTokenizer(COMPACT, COMPACT.tokenizer)
