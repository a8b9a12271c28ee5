"""Which numbers a step may use without deriving them: what was said before, its usual rewritings, and common constants."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

# fmt: off
CONSTANTS = frozenset((
    0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 28, 29, 30, 31, 36, 48, 50, 52, 60, 90, 100, 144, 180, 200,
    360, 365, 366, 500, 1000, 1024, 1440, 1760, 2000, 3600, 5280, 10_000, 86_400, 100_000, 1_000_000, 0.01,
    0.05, 0.1, 0.2, 0.25, 0.5, 0.75, 1.5, 3.14, 3.1416, 3.14159, 9.8, 9.81, 273.15, 273, 22.4, 8.314, 6.022,
    2.718,
))
# fmt: on
"""Numbers that need no source: small counts, parts of units of time, length and money, percentages, pi and a few of physics."""


@lru_cache(maxsize=65_536)
def key(value: float) -> str:
    """Numbers that agree in four digits share a key, so a rounded copy is recognised."""
    return f"{abs(value):.4g}"


def forms(value: float) -> list[float]:
    """A number and what it turns into without being worked out: percent, complement, reciprocal, roundings."""
    explained = [value, value * 100, value / 100]
    if 0 < value < 1:
        explained += [1 - value, 1 + value, 100 - 100 * value, 100 + 100 * value, 1 / value]
    elif 0 < value <= 100:
        explained += [100 - value, 100 + value, 1 - value / 100, 1 + value / 100, 1 / value]
    elif value:
        explained.append(1 / value)
    if value != int(value):
        explained += [round(value), round(value, 1), round(value, 2), math.floor(value), math.ceil(value)]
    return explained


@lru_cache(maxsize=16_384)
def form_keys(value: float) -> frozenset[str]:
    """Keys of a number's forms."""
    return frozenset(map(key, forms(value)))


def all_form_keys(values: Iterable[float]) -> set[str]:
    """Keys of the forms of several numbers."""
    return {key for value in values for key in form_keys(value)}
