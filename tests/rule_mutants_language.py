"""Wrong rules of the language study (`rule_mutants.RuleMutant`)."""

from __future__ import annotations

from rule_mutants import RuleMutant

__all__ = ["MUTANTS"]

MUTANTS: tuple[RuleMutant, ...] = ()
