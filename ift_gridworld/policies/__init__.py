"""Policies split at their embedding: a table, a network; states mixed of few tiles; the temporal residual connection."""

from ift_gridworld.policies.lake import POLICIES, MLPPolicy, Policy, TabularPolicy

__all__ = ["POLICIES", "MLPPolicy", "Policy", "TabularPolicy"]
