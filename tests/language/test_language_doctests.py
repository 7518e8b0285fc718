"""The examples in the docstrings of the language package, those that need no transformers."""

import doctest

import pytest

from ift_gridworld.language import lakes, rewards, text, training


@pytest.mark.parametrize("module", [lakes, rewards, text, training], ids=lambda module: module.__name__.rpartition(".")[2])
def test_examples_are_true(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
