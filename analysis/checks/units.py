"""Units of measurement and money: which words are some, and how much each is."""

from __future__ import annotations

from fractions import Fraction

_SIZES = {
    "time": """
        second|seconds|sec|secs=1 minute|minutes|min|mins=60 hour|hours|hr|hrs|mph|kph=3600 day|days=0 week|weeks=0
        month|months=0 year|years=0 decade|decades=0 century|centuries=0 ms=1/1000
        """,
    "length": """
        um|nm=0 mm|millimeter|millimeters=1/1000 cm|centimeter|centimeters=1/100 m|meter|meters|metre|metres=1
        km|kilometer|kilometers=1000 inch|inches|in=0.0254 foot|feet|ft=0.3048 yard|yards|yd=0.9144 mile|miles=1609.344
        """,
    "weight": """
        mg|milligram|milligrams=1/1000 g|gram|grams=1 kg|kilogram|kilograms|kilo|kilos=1000 pound|pounds|lb|lbs=453.59237
        ton|tons=0 ounce|ounces|oz=28.349523125
        """,
    "volume": """
        ml|milliliter|milliliters=1/1000 l|liter|liters|litre|litres=1 cup|cups=0.2365882365 pint|pints=0.473176473
        quart|quarts=0.946352946 gallon|gallons=3.785411784
        """,
    "money": """
        cent|cents|penny|pennies=1/100 nickel|nickels=1/20 dime|dimes=1/10 quarter|quarters=1/4 dollar|dollars=1
        """,
    "several": "dozen|dozens=0 pair|pairs=0 ones=0 tens=0 hundreds=0 thousands=0 win|wins=0 draw|draws=0",
    "part": "half|halves=0 percent=0",
}
UNITS = {
    word: (kind, names, Fraction(size))
    for kind, units in _SIZES.items()
    for names, _, size in (unit.partition("=") for unit in units.split())
    for word in names.split("|")
}
"""Unit word -> what it measures, a name of the unit, its size in the first unit of that kind; 0 where that is not fixed: a day of
work has eight hours."""
SHORT_UNITS = frozenset(("m", "g", "h", "s", "l", "L", "a"))
"""Letters that may be units, where a blank parts them from the number."""


def conversion(unit: str, other: str) -> Fraction | None:
    """How many of the other unit one unit is; None where that is not fixed or they measure different things."""
    one, two = UNITS.get(unit.lower()), UNITS.get(other.lower())
    if one is None or two is None or one[0] != two[0] or not one[2] or not two[2]:
        return None
    return one[2] / two[2]


def may_convert(words: set[str]) -> bool:
    """Whether some of these words are different units of the same kind, ounces being both a weight and a volume."""
    kinds: dict[str, set[str]] = {}
    for word in words:
        kind, name, _ = UNITS[word]
        kinds.setdefault("weight" if kind == "volume" else kind, set()).add(name)
    return any(len(names) > 1 for names in kinds.values())
