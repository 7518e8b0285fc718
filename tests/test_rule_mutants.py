"""The wrong rules written by hand still fit the code: `python tests/mutate.py --only rules` runs the tests against them."""

import pytest
import rule_mutants_frontier
import rule_mutants_lakes
import rule_mutants_language
import rule_mutants_methods

RULES = (
    *rule_mutants_frontier.MUTANTS, *rule_mutants_lakes.MUTANTS, *rule_mutants_language.MUTANTS, *rule_mutants_methods.MUTANTS,
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_each_replaces_one_text_and_names_tests_that_are_there(rule):
    assert rule.tests and rule.mistakes() == []
