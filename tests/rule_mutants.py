"""Wrong rules of selection and inference, written out by hand, that the tests must notice.

The mutants of `mutate.py` change one expression of the loss core at a time. What selects (a learning rate, a checkpoint, a
data set) and what concludes (an interval, a paired difference) goes wrong by whole rules: the rate chosen on the held-out
lakes, seeds resampled once for all lakes. Each `RuleMutant` states such a rule as a replacement of source text.
`python tests/mutate.py --only rules` runs the named tests against each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["RuleMutant", "rules_of"]

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class RuleMutant:
    """One wrong rule.

    Attributes:
        name: the wrong rule in a few words, for example "the best rate is that of the first method".
        module: dotted name below the package, for example "studies.running".
        before: source text of the right rule; occurs exactly once in the module.
        after: source text of the wrong rule, which takes its place.
        tests: names of the test modules that must notice, for example ("test_running",).
        equivalent: why no test can tell the two apart; None where a test must.
    """

    name: str
    module: str
    before: str
    after: str
    tests: tuple[str, ...]
    equivalent: str | None = None

    def mistakes(self) -> list[str]:
        """Return what is wrong with it: a text that does not occur once or stays the same, a test that is not there."""
        path = (ROOT / "ift_gridworld" / self.module.replace(".", "/")).with_suffix(".py")
        count, mistakes = path.read_text(encoding="utf-8").count(self.before), list[str]()
        if count != 1 or self.before == self.after:
            mistakes.append(f"rule {self.name!r}: its text occurs {count} times in {self.module}; it must once, and differ")
        missing = [test for test in self.tests if not any((ROOT / "tests").rglob(f"{test}.py"))]
        return mistakes + [f"rule {self.name!r}: no test {test}" for test in missing]


def rules_of(module: str, tests: tuple[str, ...], *rules: tuple[str, str, str]) -> tuple[RuleMutant, ...]:
    """Return the wrong rules of a module, each given as its name, the right rule's source and its own."""
    return tuple(RuleMutant(name, module, before, after, tests) for name, before, after in rules)
