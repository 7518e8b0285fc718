"""IFT's predictions along the demonstration, as pictures show them. Loads without torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.training.run import Run

__all__ = ["PredictedStates", "mixing_of"]

TIED = 1e-5  # as `residual.greedy_action`, which needs torch: the first of actions that are equally likely but for rounding


def mixing_of(run: Run) -> float:
    """Return the share of its own prediction that a run mixed into each state; 0 for a method that mixes nothing in.

    The row of Table 1 is looked at as well, because a saved run may hold the options of methods that were trained beside it.
    """
    mixes = run.assumed_prior in ("", "ift")  # the only row in which the model stands on mixed states; "" is unknown
    return run.settings.get("mixing") or 0 if mixes else 0


@dataclass(frozen=True, eq=False)
class PredictedStates:
    """The states that IFT mixes into the demonstration's (eq. 17): where the prediction at each step leads.

    Attributes:
        states: for each step of the demonstration but the first, the states that can be predicted; one may stand twice.
        chances: the probability of each of them for each action of the step before.
        before: the state of the step before.
        greedy: whether the likeliest action is predicted alone.
    """

    states: Int[np.ndarray, "n AK"]
    chances: Float[np.ndarray, "n A K"]
    before: Int[np.ndarray, " n"]
    greedy: bool

    @classmethod
    def of(cls, run: Run) -> PredictedStates:
        """Return the predictions of a run, by its settings `prediction` and `outcome`."""
        mdp, before = run.mdp, run.demonstration[:-1, 0]
        following, chances = mdp.next_state[before].astype(int), mdp.probability[before]
        if run.settings.get("outcome") == "likeliest":
            same = following[..., :, None] == following[..., None, :]
            merged = (same * chances[..., None, :]).sum(-1)
            likeliest = np.where(merged >= merged.max(-1, keepdims=True), following, mdp.num_states).argmin(-1)
            chances = np.eye(following.shape[-1])[likeliest]
        greedy = run.settings.get("prediction") != "expected"
        return cls(following.reshape(len(before), -1), chances, before, greedy)

    def weights(self, policy: Float[np.ndarray, "*M S A"]) -> Float[np.ndarray, "*M n AK"]:
        """Return the weight of each of `states` under policies; those of a step sum to 1."""
        actions = np.asarray(policy, float)[..., self.before, :]
        if self.greedy:
            best = actions >= actions.max(-1, keepdims=True) * (1 - TIED)
            actions = np.eye(actions.shape[-1])[best.argmax(-1)]
        weights = actions[..., None] * self.chances
        return weights.reshape(*weights.shape[:-2], -1)
