"""A metric of your own: how sure of itself a policy is.

    python -m ift_gridworld lake --plugin examples/own_metric.py --method sft,ift --render

A metric is a function of an MDP and of policies [..., S, A] that gives one number each. Registered, it is measured at every
snapshot of every run, saved, and printed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ift_gridworld import TabularMDP, register_metric


def confidence(mdp: TabularMDP, policy: Float[np.ndarray, "*batch S A"]) -> Float[np.ndarray, "*batch"]:
    """Return the probability of the likeliest action, averaged over the states in which an episode goes on."""
    return policy.max(-1)[..., ~mdp.terminal].mean(-1)


register_metric("confidence", confidence, "mean probability of the likeliest action")
