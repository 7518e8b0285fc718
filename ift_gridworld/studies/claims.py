"""The paper's claims about the lake, as paired differences of saved measures, and how often each of them holds.

"Intuitive Fine-Tuning" (arXiv 2405.11870v3, section 5.3 and figure 3) says of the distance between trained and optimal
transition matrix: DPO < IFT << ORPO, SFT; of the tiles explored: DPO > IFT > ORPO > SFT; and of preference estimation that
IFT's is less biased than SFT's. It publishes no map, no base policy, no learning rate. So each claim is asked of every setting
of a study (`study.Setting`), at four views: at the last update or at each method's best checkpoint, at a rate common to all
methods or at each method's own best.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from ift_gridworld.evaluation.statistics import Effect, paired_effect, pooled_effect

DISTANCES = tuple(f"distance{what}{over}" for what in ("", "_next") for over in ("", "_shown", "_optimal", "_visited"))
# What is compared of every pair, with the sign that a claim of the first's being better gives the difference.
COMPARED = {**dict.fromkeys(DISTANCES, -1), "regret": -1, "success": 1}
PAIRS = (("ift", "sft"), ("ift", "orpo"), ("dpo", "ift"), ("orpo", "sft"))
ORDER = (("dpo", "ift"), ("ift", "orpo"), ("ift", "sft"))  # together: DPO < IFT < ORPO, SFT
NOTHING = 1e-6  # a difference of distances, probabilities or tiles that counts as none: 32-bit training rounds so much


@dataclass(frozen=True)
class Claim:
    """That `first` is below (sign -1) or above (sign 1) `second` in a measure."""

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
    """Which policies of a method are compared: at which rate (`common` or its own `best`), at which checkpoint."""

    rate: str
    checkpoint: str

    @property
    def name(self) -> str:
        return f"{self.rate} rate, {self.checkpoint} checkpoint"


VIEWS = tuple(View(rate, checkpoint) for rate in ("common", "best") for checkpoint in ("last", "best"))


class Cube:
    """The rows of one setting by method, rate and checkpoint: each an array [L, N] of lakes and seeds.

    Args:
        columns: a table of `study.run_setting`.
        rows: those of this setting.
        common: the rate that is common to all methods.
    """

    def __init__(self, columns: Mapping[str, np.ndarray], rows: Int[np.ndarray, " R"], common: float) -> None:
        self.columns, self.common = columns, common
        self.lakes = list(dict.fromkeys(columns["lake"][rows]))
        self.seeds = sorted(set(columns["seed"][rows]))
        lake, seed = ({value: i for i, value in enumerate(values)} for values in (self.lakes, self.seeds))
        self._index: dict[tuple[str, str, str], Int[np.ndarray, "L N"]] = {}
        self._chosen: dict[tuple[str, str, str], str] = {}
        names = ("method", "rate", "checkpoint", "lake", "seed")
        for row, method, rate, checkpoint, where, which in zip(rows, *(columns[n][rows] for n in names), strict=True):
            key = (method, "" if rate == "" or rate != rate else f"{float(rate):g}", checkpoint)
            table = self._index.setdefault(key, np.full((len(lake), len(seed)), -1))
            table[lake[where], seed[which]] = row

    @cached_property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for method, _, _ in self._index))

    def rates(self, method: str) -> list[str]:
        return list(dict.fromkeys(rate for name, rate, _ in self._index if name == method))

    def at(self, measure: str, method: str, rate: str, checkpoint: str) -> Float[np.ndarray, "L N"]:
        """A measure at one rate and checkpoint; NaN where there is none."""
        index = self._index[method, rate, checkpoint]
        return np.where(index >= 0, self.columns[measure][index], np.nan).astype(float)

    def rate(self, method: str, view: View) -> str:
        """The rate of this view. A method's own best has the least mean distance at the view's checkpoint."""
        key = (method, view.rate, view.checkpoint)
        if key not in self._chosen:
            rates = self.rates(method)
            if view.rate == "common":
                cost = [abs(np.log(float(rate) / self.common)) for rate in rates]
            else:
                cost = [self.at("distance", method, rate, view.checkpoint).mean() for rate in rates]
            self._chosen[key] = rates[int(np.argmin(np.where(np.isfinite(cost), cost, np.inf)))]
        return self._chosen[key]

    def measure(self, measure: str, method: str, view: View) -> Float[np.ndarray, "L N"]:
        return self.at(measure, method, self.rate(method, view), view.checkpoint)

    def base(self, measure: str) -> Float[np.ndarray, "L N"]:
        return self.at(measure, "base", "", "base")

    def difference(self, claim: Claim, view: View) -> Float[np.ndarray, "L N"]:
        """First less second, of each lake and seed."""
        return self.measure(claim.measure, claim.first, view) - self.measure(claim.measure, claim.second, view)


@dataclass(frozen=True)
class Verdict:
    """What is found about a claim in one setting: the effect, and whether the interval leaves any doubt."""

    effect: Effect
    sign: int

    @property
    def holds(self) -> bool:
        return self.effect.value * self.sign > NOTHING

    @property
    def word(self) -> str:
        """holds, reversed (the interval leaves out zero), or unclear; none if nothing was compared."""
        if not self.effect.lakes:
            return "none"
        if not self.effect.is_clear or abs(self.effect.value) <= NOTHING:
            return "unclear"
        return "holds" if self.effect.value * self.sign > 0 else "reversed"


def asked(claim: Claim, view: View) -> bool:
    """Preference estimation is looked at where training ends, at the common rate."""
    return not claim.measure.endswith(("bias", "gap")) or view == VIEWS[0]


def verdict(cube: Cube, claim: Claim, view: View) -> Verdict:
    return Verdict(paired_effect(cube.difference(claim, view)), claim.sign)


@dataclass(frozen=True)
class Summary:
    """A claim over many settings.

    Attributes:
        claim, view: which.
        effect: pooled over settings, each of which counts alike (`statistics.pooled_effect`).
        settings: how many could be asked.
        holds, clearly, against: share of them in which it holds, in which it holds with an interval that leaves out zero, and
            in which the reverse does.
    """

    claim: Claim
    view: View
    effect: Effect
    settings: int
    holds: float
    clearly: float
    against: float


def summarise(
    claim: Claim, view: View, cubes: Sequence[Cube], verdicts: Sequence[Verdict], strata: Sequence[Hashable]
) -> Summary:
    effect = pooled_effect([cube.difference(claim, view) for cube in cubes], strata=strata)
    found = [v for v in verdicts if v.effect.lakes]
    shares = [float(np.mean(x)) if found else np.nan for x in (
        [v.holds for v in found], [v.word == "holds" for v in found], [v.word == "reversed" for v in found],
    )]  # fmt: skip
    return Summary(claim, view, effect, len(found), *shares)


def whole_order(cube: Cube, view: View, measure: str = "distance") -> bool:
    """Whether DPO < IFT < ORPO and IFT < SFT, all at once."""
    differences = [cube.difference(Claim(*pair, measure, -1), view) for pair in ORDER]
    return all(np.nanmean(difference) < -NOTHING for difference in differences)
