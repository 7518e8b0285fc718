"""Half a minute of random command lines and maps, the same ones on every machine; `python tests/fuzz.py` runs more."""

import pytest
from fuzz import fuzz


@pytest.mark.slow
def test_random_command_lines_and_maps_work_or_say_what_is_wrong():
    counts, failures = fuzz(commands=500, maps=500, seed=0)
    assert not failures, "\n\n".join(failures)
    assert counts == {"map": 500, "command": 500}
