"""Policies split at their embedding: a table, a network; sparse states; the temporal residual connection.

base.py        what every policy is to a method (`Policy`)
lake.py        a table and a two-layer network, each a population of N independent policies
residual.py    the temporal residual connection: running a policy on states mixed with its own predictions
sparse.py      states as few weighted indices, for MDPs too large for one-hot vectors
"""

from ift_gridworld.policies.base import Policy
from ift_gridworld.policies.lake import POLICIES, LakePolicy, MLPPolicy, TabularPolicy
from ift_gridworld.policies.residual import Windows, lake_successor, mix, residual_embeddings
from ift_gridworld.policies.sparse import SparseStates

__all__ = [
    "POLICIES",
    "LakePolicy",
    "MLPPolicy",
    "Policy",
    "SparseStates",
    "TabularPolicy",
    "Windows",
    "lake_successor",
    "mix",
    "residual_embeddings",
]
