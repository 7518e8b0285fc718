"""The look of each method: one colour, dash and marker in every picture and on every page, and one short title.

The hue says what a method learns from, dash and marker which one of its kind it is, so that lines are distinct in grey,
too. Methods that mix demonstrations with rollouts have the hue of rollouts. The marks of paths on a map (`Theme.shown`,
`Theme.rejected`) have other colours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from ift_gridworld.rendering.theme import Theme

__all__ = ["HUES", "MethodStyle", "style_of", "styles_of", "styles_of_runs"]

HUES = ("imitation", "ift", "dpo", "pairs", "on-policy")  # in the order of `Theme.methods`
Dash = tuple[float, tuple[float, ...]] | str
DASHES: tuple[Dash, ...] = ("-", (0, (4.5, 1.6)), (0, (1.3, 1.3)), (0, (6, 1.3, 1.3, 1.3)), (0, (9, 2)))
MARKERS = ("o", "D", "s", "^", "v", "P", "X", "p", "h", "*")


@dataclass(frozen=True)
class MethodStyle:
    """Style of a method in charts.

    Attributes:
        hue: index in `Theme.methods`.
        dash: matplotlib's line style.
        marker: matplotlib's marker.
    """

    hue: int
    dash: Dash
    marker: str

    def colour(self, theme: Theme) -> str:
        """Return the method's colour in a theme."""
        return theme.methods[self.hue]


def _style(hue: str, dash: int, marker: str) -> MethodStyle:
    return MethodStyle(HUES.index(hue), DASHES[dash], marker)


_STYLES = {
    "sft": _style("imitation", 0, "o"),
    "ift": _style("ift", 0, "D"),
    "dpo": _style("dpo", 0, "s"),
    "dpo_online": _style("dpo", 1, "P"),
    "tdpo": _style("dpo", 2, "X"),
    "ipo": _style("pairs", 1, "v"),
    "orpo": _style("pairs", 0, "^"),
    "simpo": _style("pairs", 2, "p"),
    "ppo": _style("on-policy", 0, "h"),
    "grpo": _style("on-policy", 1, "*"),
    # Imitation beside SFT and IFT.
    "dft": _style("imitation", 1, "D"),
    "asft": _style("imitation", 2, "X"),
    "scheduled": _style("imitation", 3, "P"),
    "neftune": _style("imitation", 4, "v"),
    "dagger": _style("imitation", 1, "h"),
    "distill": _style("imitation", 2, "*"),
    # Margins over the base have DPO's hue, and so has DPO against the policy's own answers.
    "hinge": _style("dpo", 1, "o"),
    "robust": _style("dpo", 2, "D"),
    "exo": _style("dpo", 3, "v"),
    "discopop": _style("dpo", 4, "p"),
    "dpop": _style("dpo", 1, "h"),
    "chi_po": _style("dpo", 2, "*"),
    "cal_dpo": _style("dpo", 3, "s"),
    "spin": _style("dpo", 4, "^"),
    "dpo_judged": _style("dpo", 4, "P"),
    # Answers that are judged each on its own.
    "nca": _style("pairs", 3, "o"),
    "bco": _style("pairs", 4, "D"),
    "sppo": _style("pairs", 1, "s"),
    "apo_zero": _style("pairs", 2, "P"),
    "apo_down": _style("pairs", 3, "X"),
    "cpo": _style("pairs", 4, "h"),
    "kto": _style("pairs", 0, "*"),
    "reinforce": _style("on-policy", 3, "s"),
    "rloo": _style("on-policy", 4, "D"),
    "dr_grpo": _style("on-policy", 1, "^"),
    "dapo": _style("on-policy", 2, "P"),
    "gspo": _style("on-policy", 3, "v"),
    "cispo": _style("on-policy", 4, "p"),
    "sapo": _style("on-policy", 1, "o"),
    "hpt": _style("on-policy", 2, "D"),
    "luffy": _style("on-policy", 3, "*"),
    "ppo_exact": _style("on-policy", 2, "o"),  # of the lab alone
    # Controls and variants have the hue of the method that they change.
    "sft_frozen": _style("imitation", 1, "s"),
    "sft_tempered": _style("imitation", 2, "^"),
    "ift_detached": _style("ift", 1, "o"),
    "ift_residual": _style("ift", 2, "v"),
    "ift_propagation": _style("ift", 3, "^"),
    "ift_random": _style("ift", 4, "s"),
    "ift_sampled": _style("ift", 1, "P"),
    "ift_shifted": _style("ift", 2, "X"),
    "ift_residual_random": _style("ift", 3, "p"),
    "ift_residual_sampled": _style("ift", 4, "h"),
    "ift_residual_shifted": _style("ift", 1, "*"),
    "ppo_preference": _style("on-policy", 2, "X"),
    "dpo_sft": _style("dpo", 3, "^"),
    "ift_agreeing": _style("ift", 1, "s"),
    "ift_mixture": _style("ift", 2, "^"),
    "ift_average": _style("ift", 3, "v"),
    "ift_expected": _style("ift", 4, "P"),
    "ift_oracle": _style("ift", 2, "*"),
    "ift_asking": _style("ift", 3, "h"),
}


@cache
def style_of(method: str) -> MethodStyle:
    """Return the style of a method; one that is not listed gets its own from its name, the same wherever it is drawn.

    Args:
        method: its registered name.

    Example:
        >>> style_of("ift").marker, style_of("my_method") == style_of("my_method")
        ('D', True)
    """
    if method in _STYLES:
        return _STYLES[method]
    free = _free_styles()
    return free[int.from_bytes(hashlib.sha256(method.encode("utf-8", "replace")).digest()[:8], "big") % len(free)]


def styles_of(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """Return the styles of methods that are drawn together, no two alike: of names with one style the later ones move on.

    Args:
        methods: their names, without repetition.

    Example:
        >>> len(set(styles_of(["sft", "ift", "a_loss", "another_loss"]).values()))
        4
    """
    styles: dict[str, MethodStyle] = {}
    free = _free_styles()
    for method in methods:
        style = style_of(method)
        while style in styles.values() and len(styles) < len(free):
            style = free[(free.index(style) + 1) % len(free)] if style in free else free[0]
        styles[method] = style
    return styles


def styles_of_runs(methods: Sequence[str]) -> list[MethodStyle]:
    """Return the style of each run that is drawn, no two alike, also where a method comes twice.

    Args:
        methods: of the runs, in their order.

    Example:
        >>> styles = styles_of_runs(["ift", "ift"])
        >>> styles[0] == style_of("ift"), styles[1] == styles[0]
        (True, False)
    """
    names = [name if methods.index(name) == i else f"{name} {i}" for i, name in enumerate(methods)]
    return list(styles_of(names).values())


@cache
def _free_styles() -> list[MethodStyle]:
    """Styles that no listed method has."""
    taken = set(_STYLES.values())
    every = [MethodStyle(hue, dash, marker) for dash in DASHES for marker in MARKERS for hue in range(len(HUES))]
    return [style for style in every if style not in taken]
