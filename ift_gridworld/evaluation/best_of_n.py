"""Best-of-n, exactly, and the published forms of reward over-optimisation that are fitted to it and to reinforcement learning.

Best-of-n draws n answers of a base policy and keeps the one that a reward scores highest. Where every answer is listed with its
probability, the distribution of the kept one is known. F(x) is the probability that one answer scores at most as high as x, and
F(x-) that it scores lower; answers of one score share what their score gets in proportion to their own probability p:

    P_n(x) = (F(x)^n - F(x-)^n) p(x) / (F(x) - F(x-)),    KL(P_n || p) ≤ log n - (n - 1) / n,

with equality where no two answers tie and each is rare (Beirami et al., arXiv 2401.01879). n may be any number from 1 on.

"Scaling laws for reward model over-optimization" (Gao et al., arXiv 2210.10760) writes the gain in true reward over
d = √KL: R(d) = d (α - β d) for best-of-n and R(d) = d (α - β log d) for reinforcement learning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ift_gridworld.checks import check_choice

__all__ = ["FORMS", "Fit", "Form", "best_of_n", "best_of_n_bound", "best_of_n_kl", "fit_gain", "form_terms"]

Form = Literal["best-of-n", "reinforcement"]
FORMS: tuple[Form, ...] = ("best-of-n", "reinforcement")


def best_of_n(chance: Float[np.ndarray, " M"], score: Float[np.ndarray, " M"], n: float) -> Float[np.ndarray, " M"]:
    """Return the probability that each answer is the one of highest score among n drawn from the base.

    Args:
        chance: p(x), the base's probability of each answer; they add up to 1.
        score: of each answer. Equal ones tie, to the last digit: round what is a sum.
        n: number of answers drawn, at least 1, not necessarily whole.

    Raises:
        ValueError: for probabilities that do not add up to 1, or n below 1.

    Example:
        >>> best_of_n(np.array([0.5, 0.25, 0.25]), np.array([0.0, 1.0, 1.0]), 2)  # both lose with probability 1/4
        array([0.25 , 0.375, 0.375])
    """
    levels, mass, kept = _levels(chance, score, n)
    return chance * (kept / np.where(mass > 0, mass, 1.0))[levels]


def best_of_n_kl(chance: Float[np.ndarray, " M"], score: Float[np.ndarray, " M"], n: float) -> float:
    """Return KL(P_n || p) in nats, of best-of-n from its base.

    Args:
        chance, score, n: as for `best_of_n`.

    Example:
        >>> kl = best_of_n_kl(np.array([0.5, 0.5]), np.array([0.0, 1.0]), 2)  # 1/4 log(1/2) + 3/4 log(3/2)
        >>> round(kl, 4), round(best_of_n_bound(2), 4)
        (0.1308, 0.1931)
    """
    _, mass, kept = _levels(chance, score, n)
    likely = kept > 0
    return float((kept[likely] * np.log(kept[likely] / mass[likely])).sum())


def best_of_n_bound(n: float) -> float:
    """Return log n - (n - 1) / n, the KL that best-of-n has where no answers tie and each is rare, and its upper bound.

    Example:
        >>> best_of_n_bound(1)
        0.0
    """
    return float(np.log(n) - (n - 1) / n)


def _levels(
    chance: Float[np.ndarray, " M"], score: Float[np.ndarray, " M"], n: float
) -> tuple[np.ndarray, Float[np.ndarray, " G"], Float[np.ndarray, " G"]]:
    """Return the level of each answer among the distinct scores, and each level's probability under the base and under P_n."""
    if not n >= 1:
        raise ValueError(f"n is {n}; allowed: a number of answers, at least 1")
    if not np.isclose(chance.sum(), 1.0, rtol=0, atol=1e-9) or (chance < 0).any():
        raise ValueError(f"the probabilities of the answers add up to {chance.sum():g}; allowed: probabilities that make 1")
    distinct, levels = np.unique(score, return_inverse=True)
    mass = np.bincount(levels, chance, len(distinct))
    # The share above each level keeps its digits where F is nearly 1, so F^n is taken as exp(n log(1 - above)).
    above = np.concatenate([np.cumsum(mass[::-1])[-2::-1], [0.0]])
    with np.errstate(divide="ignore", invalid="ignore"):
        upper, lower = np.log1p(-np.minimum(above, 1.0)), np.log1p(-np.minimum(above + mass, 1.0))
        kept = np.exp(n * upper) * -np.expm1(n * (lower - upper))
    return levels, mass, np.where(mass > 0, np.nan_to_num(kept), 0.0)


@dataclass(frozen=True)
class Fit:
    """A published form, fitted by least squares.

    Attributes:
        alpha, beta: its coefficients.
        error: root mean squared error, in units of the gain.
        explained: share of the variance that it explains, at most 1; below 0 it is worse than a constant.
    """

    alpha: float
    beta: float
    error: float
    explained: float


def form_terms(kl: Float[np.ndarray, " K"], form: Form) -> Float[np.ndarray, "K 2"]:
    """Return what α and β multiply in a form, at each KL: d and -d², or d and -d log d.

    Example:
        >>> form_terms(np.array([0.0, 4.0]), "best-of-n").tolist()
        [[0.0, -0.0], [2.0, -4.0]]
    """
    check_choice("form", form, FORMS)
    d = np.sqrt(kl)
    second = d if form == "best-of-n" else np.log(np.where(d > 0, d, 1.0))
    return np.stack([d, -d * second], -1)


def fit_gain(kl: Float[np.ndarray, " K"], gain: Float[np.ndarray, " K"], form: Form) -> Fit:
    """Fit a published form of over-optimisation to gains in true reward (Gao et al. 2022, section 3.1).

    Args:
        kl: from the base, in nats, at each point.
        gain: true reward less the base's, at each point.
        form: "best-of-n", d (α - β d), or "reinforcement", d (α - β log d); d = √kl.

    Example:
        >>> kl = np.array([0.0, 1.0, 4.0, 9.0])  # d = 0, 1, 2, 3
        >>> fit = fit_gain(kl, np.array([0.0, 0.9, 1.6, 2.1]), "best-of-n")
        >>> round(fit.alpha, 6), round(fit.beta, 6)
        (1.0, 0.1)
    """
    terms = form_terms(kl, form)
    (alpha, beta), *_ = np.linalg.lstsq(terms, gain, rcond=None)
    left = gain - terms @ np.array([alpha, beta])
    spread = float(((gain - gain.mean()) ** 2).sum())
    explained = 1 - float((left**2).sum()) / spread if spread > 0 else float("nan")
    return Fit(float(alpha), float(beta), float(np.sqrt((left**2).mean())), explained)
