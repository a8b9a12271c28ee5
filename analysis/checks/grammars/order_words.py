"""The words in which a fixed order of a few objects is spoken about: ends, comparisons, places, counts, names.

Positions count from 0 at the left, old, cheap, first end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth"),
    *("seventh", "eighth", "ninth", "tenth", "eleventh", "twelfth"),
)
ORDINAL = rf"(?:{'|'.join(ORDINALS)}|\d{{1,2}}(?:st|nd|rd|th))"
DENIED = r"\b(?:false|wrong|incorrect|untrue|mistaken|impossible|ruled out|contradict\w*)\b"
"""Words that take back what their clause says: "the statement 'Amy finished last' is wrong"."""
_KINDS = ("not", "may", "false", "between", "arrow", "if", "which", "pronoun", "question", "end", "clause", "separator")
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}


@dataclass(frozen=True)
class Axis:
    """One way of speaking about the order: words for its two ends and for comparisons."""

    name: str
    low: str
    """Regular expressions: superlative of position 0, e.g. "cheapest"."""
    high: str
    less: str
    """Comparison "X is ... Y" that puts X nearer to position 0."""
    more: str


AXES = (
    Axis("row", r"left-?most|far left", r"right-?most|far right", r"(?:to the )?left of", r"(?:to the )?right of"),
    Axis("age", r"oldest", r"newest|youngest", r"older than", r"(?:newer|younger) than"),
    Axis("price", r"cheapest|least[- ]expensive", r"most[- ]expensive|costliest|priciest|dearest",
         r"(?:cheaper|less expensive) than", r"(?:more expensive|costlier|pricier|dearer) than"),
    Axis("rank", r"\bfirst\b(?! from)|winner", r"\blast\b|bottom", r"above|ahead of|before|better than|higher than",
         r"below|behind|after|worse than|lower than"),
)  # fmt: skip


class Token(NamedTuple):
    """A word or phrase that matters."""

    kind: str
    """object, place, relation, count, not, may, false, between, arrow, separator, clause, pronoun, which, if, question or end.

    A separator may part the items of a list, a clause word ("so", "because") never does.
    """
    value: int = 0
    """Index of the object, position, number of objects, or -1 / +1 for a relation towards low / high."""
    exact: bool = False
    """A relation that says "immediately"."""


def ordinal_index(word: str) -> int | None:
    """ "third" or "3rd" -> 2."""
    word = word.lower()
    if word in ORDINALS:
        return ORDINALS.index(word)
    return int(re.sub(r"\D", "", word) or 0) - 1 if word[:1].isdigit() else None


class Lexicon:
    """Finds the words that matter for one question: its objects, and the words of the axis it uses."""

    def __init__(self, objects: Sequence[str], question: str) -> None:
        self.count = len(objects)
        self.axis = _axis_of(question)
        self._index = _aliases(objects)
        self._pattern = self._compile(_object_pattern(objects))

    def _compile(self, objects: str) -> re.Pattern[str]:
        low, high, less, more = self.axis.low, self.axis.high, self.axis.less, self.axis.more
        near = r"immediately|directly|just"
        rank = self.axis.name == "rank"
        finished = (
            rf"|(?P<finished>{ORDINAL})(?:[- ]place)?\b(?![- ](?:to|from|or)\b[- ](?!finish)|[- ]and[- ](?:{ORDINAL}|last)\b)"
            if rank
            else ""
        )
        return re.compile(
            rf"\b(?P<count>no|one|{'|'.join(_NUMBERS)})\s+(?:(?!of\b|other\b)\w+\s+){{1,3}}?(?=(?:less|more|{less}|{more})\b)"
            rf"|(?P<less>(?:(?:{near})\s+)?\b(?:{less})\b)|(?P<more>(?:(?:{near})\s+)?\b(?:{more})\b)"
            rf"|\b(?P<from>{ORDINAL})(?:[- ]\w+)?\s+from\s+(?:the\s+)?(?P<side>left|right)\b"
            rf"|\b(?P<tolast>{ORDINAL})[- ](?:to[- ])?last\b"
            rf"|(?:\b(?P<nlow>{ORDINAL})[- ]+)?(?P<low>{low})|(?:\b(?P<nhigh>{ORDINAL})[- ]+)?(?P<high>{high})"
            rf"|\b(?P<object>{objects})\b{finished}"
            r"|\b(?P<not>cannot|can't|can not|not|never|n't|neither|nor|isn't|aren't)\b"
            r"|\b(?P<may>can|could|may|might|possibly|possible|should)\b|\b(?P<if>if|suppose|assume|assuming|unless|whether)\b"
            r"|(?P<which>\bwhich\s+(?:is|are|was|were|finished|comes?)\b)"
            r"|(?P<pronoun>\b(?:they|it(?!\s+(?:is|was)\s+(?:\w+\s+){1,2}that\b)|he|she)\b)"
            rf"|(?P<false>{DENIED})|(?P<between>\bbetween\b)|(?P<arrow>[<>→])"
            r"|(?P<question>\?)|(?P<end>[.;:!\n])|(?P<separator>\b(?:then|which)\b|,)"
            r"|(?P<clause>\b(?:so|because|since|therefore|thus|hence|means|but|while|however)\b)",
            re.I,
        )

    def tokens(self, text: str) -> list[Token]:
        """The words of `text` that matter, in order."""
        found: list[Token] = []
        for match in self._pattern.finditer(text):
            group = {name: value for name, value in match.groupdict().items() if value}
            if "less" in group or "more" in group:
                phrase = group.get("less") or group["more"]
                exact = bool(re.match(r"immediately|directly|just", phrase, re.I))
                found.append(Token("relation", -1 if "less" in group else 1, exact))
            elif "count" in group:
                word = group["count"].lower()
                found.append(Token("count", _NUMBERS.get(word, 0 if word == "no" else 1)))
            elif "object" in group:
                found.append(Token("object", self._index[" ".join(group["object"].lower().split())]))
            else:
                place = self._place(group)
                if place is not None:
                    found.append(Token("place", place))
                else:
                    kind = next((name for name in _KINDS if name in group), None)
                    if kind:
                        found.append(Token(kind))
        return found

    def _place(self, group: dict[str, str]) -> int | None:
        """Position from 0 that a phrase names; None when it is none. May lie outside the row ("eighth")."""
        if "from" in group:
            steps = ordinal_index(group["from"]) or 0
            return steps if group["side"].lower() == "left" else self.count - 1 - steps
        if "tolast" in group:
            return self.count - 1 - (ordinal_index(group["tolast"]) or 0)
        if "low" in group:
            return (ordinal_index(group["nlow"]) or 0) if "nlow" in group else 0
        if "high" in group:
            return self.count - 1 - ((ordinal_index(group["nhigh"]) or 0) if "nhigh" in group else 0)
        return ordinal_index(group["finished"]) if "finished" in group else None


_NUMBERED = re.compile(r"(?<![\w.])\(?([1-9])[.):]?\s{1,3}((?:[A-Za-z-]{1,30}\s?){1,3})(?=\s{0,3}(?:[,;.\n]|$))")


def numbered(text: str, lexicon: Lexicon) -> list[tuple[int, int]]:
    """(position from 0, object) of a list "1 Blue, 2 Black" or "1. Ada"; empty when anything else is numbered in it."""
    found = []
    for number, name in _NUMBERED.findall(text):
        tokens = lexicon.tokens(name)
        if len(tokens) != 1 or tokens[0].kind != "object":
            return []
        found.append((int(number) - 1, tokens[0].value))
    return found


def _axis_of(question: str) -> Axis:
    """The axis whose words the question uses most."""
    text = question.lower()
    counts = {axis.name: len(re.findall("|".join((axis.low, axis.high, axis.less, axis.more)), text)) for axis in AXES}
    counts["row"] += len(re.findall(r"from the (?:left|right)", text))
    return max(AXES, key=lambda axis: counts[axis.name] + (axis.name != "rank") * 0.5)


def _aliases(objects: Sequence[str]) -> dict[str, int]:
    """Lower-case names of each object: as listed, singular, and without the last word when all share it."""
    names: dict[str, int] = {}
    heads = {name.lower().split()[-1] for name in objects}
    for index, name in enumerate(objects):
        lower = " ".join(name.lower().split())
        names.setdefault(lower, index)
        if len(heads) == 1 and len(lower.split()) > 1:
            names.setdefault(" ".join(lower.split()[:-1]), index)
        if lower.endswith("es") and len(lower) > 4:
            names.setdefault(lower[:-2], index)
        if lower.endswith("s") and len(lower) > 3:
            names.setdefault(lower[:-1], index)
    return names


def _object_pattern(objects: Sequence[str]) -> str:
    names = sorted(_aliases(objects), key=len, reverse=True)
    return "|".join(r"\s+".join(map(re.escape, name.split())) for name in names)
