"""The wrong rules written by hand still fit the code: `python tests/mutate.py --only rules` runs the tests against them."""

from pathlib import Path

import pytest
import rule_mutants_lakes
import rule_mutants_language

ROOT = Path(__file__).resolve().parents[1]
RULES = (*rule_mutants_lakes.MUTANTS, *rule_mutants_language.MUTANTS)


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_each_replaces_one_text_and_names_tests_that_are_there(rule):
    source = (ROOT / "ift_gridworld" / rule.module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    assert source.count(rule.before) == 1 and rule.before != rule.after
    assert rule.tests and all(any((ROOT / "tests").rglob(f"{test}.py")) for test in rule.tests)
