"""The paper's claims about the lake, each a paired difference of a saved measure, and the views at which they are tested.

"Intuitive Fine-Tuning" (arXiv 2405.11870v3, section 5.3 and figure 3) says of the distance between trained and optimal
transition matrix: DPO < IFT << ORPO, SFT; of the tiles explored: DPO > IFT > ORPO > SFT; and of preference estimation that
IFT's is less biased than SFT's. It publishes no map, no base policy, no learning rate. So each claim is tested in every setting
of a study (`settings.Setting`), at four views: at the last update or at each method's best checkpoint, at a rate common to all
methods or at each method's own best.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "CLAIMS",
    "COMPARED",
    "DISTANCES",
    "LAST",
    "NEGLIGIBLE",
    "ORDER",
    "PAIRS",
    "VIEWS",
    "Claim",
    "View",
    "is_exploratory",
    "is_tested",
]

DISTANCES = tuple(f"distance{what}{over}" for what in ("", "_next") for over in ("", "_shown", "_optimal", "_visited"))
# Measures compared for every pair, each with the sign of the difference where the first method is better.
COMPARED = {**dict.fromkeys(DISTANCES, -1), "regret": -1, "success": 1}
PAIRS = (("ift", "sft"), ("ift", "orpo"), ("dpo", "ift"), ("orpo", "sft"))
ORDER = (("dpo", "ift"), ("ift", "orpo"), ("ift", "sft"))  # together: DPO < IFT < ORPO, SFT
NEGLIGIBLE = 1e-6  # differences of distances, probabilities or tiles up to this are rounding of 32-bit training


@dataclass(frozen=True)
class Claim:
    """Claim that `first` is below (sign -1) or above (sign 1) `second` in a measure."""

    first: str
    second: str
    measure: str
    sign: int

    @property
    def name(self) -> str:
        return f"{self.first}{'<' if self.sign < 0 else '>'}{self.second}:{self.measure}"


CLAIMS: dict[str, Claim] = {
    claim.name: claim
    for claim in (
        *(Claim(first, second, measure, sign) for measure, sign in COMPARED.items() for first, second in PAIRS),
        *(Claim("ift", "sft", measure, -1) for measure in ("bias", "gap", "base_bias", "base_gap")),
        *(Claim(first, second, "tiles", 1) for first, second in (("dpo", "ift"), ("ift", "orpo"), ("orpo", "sft"))),
    )
}


@dataclass(frozen=True)
class View:
    """Policies of a method that are compared: those at one rate (`common` or its own `best`) and checkpoint."""

    rate: str
    checkpoint: str

    @property
    def name(self) -> str:
        return f"{self.rate} rate, {self.checkpoint} checkpoint"


VIEWS = tuple(View(rate, checkpoint) for rate in ("common", "best") for checkpoint in ("last", "best"))
LAST = VIEWS[0]  # common rate, last checkpoint


def is_tested(claim: Claim, view: View) -> bool:
    """Return whether a claim is tested at a view: preference estimation only at the last checkpoint and the common rate."""
    return not claim.measure.endswith(("bias", "gap")) or view == LAST


def is_exploratory(claim: Claim, view: View) -> bool:
    """Return whether the paper does not make this claim, so that its interval is not evidence for or against the paper.

    The paper claims `ORDER` of the distance over all tiles, the tiles explored and the bias of preference estimation, without a
    word on the choice of rate or checkpoint: claims are tested at `LAST`.
    """
    is_order = claim.measure == "distance" and (claim.first, claim.second) in ORDER
    return view != LAST or not (is_order or claim.measure in ("tiles", "bias", "base_bias"))
