"""Numbers as pictures write them: readable at a glance, never in a programmer's notation, and never rounded to a certainty."""

from __future__ import annotations

import numpy as np

__all__ = ["percent", "plain_number", "power_of_ten", "small_probability"]

_SUPERSCRIPTS = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def plain_number(value: float, digits: int = 2) -> str:
    """Return a number with so many significant digits: in full from 0.001 to a million, else as a power of ten.

    Args:
        value: any finite number.
        digits: number of significant digits.

    Example:
        >>> plain_number(-373.4), plain_number(0.984), plain_number(0.00002), plain_number(0.0)
        ('-370', '0.98', '2·10⁻⁵', '0')
    """
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    exponent = int(np.floor(np.log10(abs(float(f"{value:.{digits - 1}e}")))))
    if -3 <= exponent < 6:
        rounded = round(value, digits - 1 - exponent)
        return (
            f"{rounded:.{max(0, digits - 1 - exponent)}f}".rstrip("0").rstrip(".")
            if exponent < digits - 1
            else f"{rounded:.0f}"
        )
    return f"{_trimmed(f'{value / 10.0**exponent:.{digits - 1}f}')}·{power_of_ten(exponent)}"


def _trimmed(decimal: str) -> str:
    return decimal.rstrip("0").rstrip(".") if "." in decimal else decimal


def percent(probability: float) -> str:
    """Return a probability in percent; only what is certain to the last digit of a saved run is 0 % or 100 %.

    Args:
        probability: from 0 to 1.

    Example:
        >>> percent(0.2489), percent(0.9991), percent(0.0004), percent(1.0)
        ('25 %', '>99 %', '<1 %', '100 %')
    """
    if 0.99 < probability < 1:
        return ">99 %"
    return "<1 %" if 0 < probability < 0.01 else f"{100 * probability:.0f} %"


def small_probability(probability: float) -> str:
    """Return a probability in percent from 1 % up, and below as a power of ten.

    Args:
        probability: from 0 to 1.

    Example:
        >>> small_probability(0.09), small_probability(3e-6), small_probability(0.0)
        ('9 %', '10⁻⁶', '0 %')
    """
    if probability >= 0.01 or probability == 0:
        return percent(probability)
    return power_of_ten(np.log10(probability))


def power_of_ten(exponent: float) -> str:
    """Return the power of ten with the nearest whole exponent.

    Args:
        exponent: any number.

    Example:
        >>> power_of_ten(-5.7), power_of_ten(0.0)
        ('10⁻⁶', '1')
    """
    whole = int(np.floor(exponent + 0.5))
    return f"10{str(whole).translate(_SUPERSCRIPTS)}" if whole else "1"
