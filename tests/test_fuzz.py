"""A minute of random command lines and maps; `python tests/fuzz.py` runs all of them."""

import pytest
from fuzz import fuzz


@pytest.mark.slow
def test_random_command_lines_and_maps_work_or_say_what_is_wrong():
    counts, failures = fuzz(commands=2000, maps=500, seed=0, seconds=60)
    assert not failures, "\n\n".join(failures)
    assert counts["map"] > 100
