"""Policies split at their embedding: a table, a network; states mixed of few tiles; the temporal residual connection."""

from ift_gridworld.policies.base import Policy
from ift_gridworld.policies.lake import POLICIES, LakePolicy, MLPPolicy, TabularPolicy

__all__ = ["POLICIES", "LakePolicy", "MLPPolicy", "Policy", "TabularPolicy"]
