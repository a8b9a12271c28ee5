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
_NEAR = ("immediately", "directly", "just")
_ALIKE = str.maketrans("ſıİ", "sii")
_NUMBERS = {"no": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}


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
    comparisons: tuple[str, str]
    """How the two comparisons are written in a message."""
    places: str
    """How a place is: "{} from the left" with an ordinal."""


AXES = (
    Axis("row", r"left-?most|far left", r"right-?most|far right", r"(?:to the )?left of", r"(?:to the )?right of",
         ("to the left of", "to the right of"), "{} from the left"),
    Axis("age", r"oldest", r"newest|youngest", r"older than", r"(?:newer|younger) than", ("older than", "newer than"),
         "the {}-oldest"),
    Axis("price", r"cheapest|least[- ]expensive", r"most[- ]expensive|costliest|priciest|dearest",
         r"(?:cheaper|less expensive) than", r"(?:more expensive|costlier|pricier|dearer) than",
         ("cheaper than", "more expensive than"), "the {}-cheapest"),
    Axis("rank", r"\bfirst\b(?! from)|winner", r"\blast\b|bottom", r"above|ahead of|before|better than|higher than",
         r"below|behind|after|worse than|lower than", ("above", "below"), "{}"),
)  # fmt: skip


class Token(NamedTuple):
    """A word or phrase that matters."""

    kind: str
    """object, place, relation, count, not, may, false, between, arrow, separator, clause, pronoun, which, if, question or end.

    A separator may part the items of a list, a clause word ("so", "because") never does.
    """
    value: int = 0
    """Index of the object, position from 0 (may lie outside the row), number of objects, or -1 / +1 for a relation towards low /
    high."""
    exact: bool = False
    """A relation that says "immediately"."""


def lower(words: str) -> str:
    """Lower case with single blanks; ſ, ı and İ, which match s and i where case is ignored, are these."""
    return " ".join(words.translate(_ALIKE).lower().split())


def ordinal_index(word: str) -> int:
    """ "third" or "3rd" -> 2."""
    word = lower(word)
    return ORDINALS.index(word) if word in ORDINALS else int(re.sub(r"\D", "", word)) - 1


class Lexicon:
    """Finds the words that matter for one question: its objects, and the words of the axis it uses."""

    def __init__(self, objects: Sequence[str], question: str) -> None:
        self.count = len(objects)
        self.axis = _axis_of(question)
        self._index = _aliases(objects)
        low, high, less, more = self.axis.low, self.axis.high, self.axis.less, self.axis.more
        names = "|".join(r"\s+".join(map(re.escape, name.split())) for name in sorted(self._index, key=len, reverse=True))
        near = "|".join(_NEAR)
        finished = (
            rf"|(?P<finished>{ORDINAL})(?:[- ]place)?\b(?![- ](?:to|from|or)\b[- ](?!finish)|[- ]and[- ](?:{ORDINAL}|last)\b)"
            if self.axis.name == "rank"
            else ""
        )
        self._pattern = re.compile(
            rf"\b(?P<count>{'|'.join(_NUMBERS)})\s+(?:(?!of\b|other\b)\w+\s+){{1,3}}?(?=(?:less|more|{less}|{more})\b)"
            rf"|(?P<less>(?:(?:{near})\s+)?\b(?:{less})\b)|(?P<more>(?:(?:{near})\s+)?\b(?:{more})\b)"
            rf"|\b(?P<from>{ORDINAL})(?:[- ]\w+)?\s+from\s+(?:the\s+)?(?P<side>left|right)\b"
            rf"|\b(?P<tolast>{ORDINAL})[- ](?:to[- ])?last\b"
            rf"|(?:\b(?P<nlow>{ORDINAL})[- ]+)?(?P<low>{low})|(?:\b(?P<nhigh>{ORDINAL})[- ]+)?(?P<high>{high})"
            rf"|\b(?P<object>{names})\b{finished}"
            r"|\b(?P<not>cannot|can't|can not|not|never|n't|neither|nor|isn't|aren't)\b"
            rf"|\b(?P<may>can|could|may|might|possibly|possible|should|{ORDINAL}\s+or(?=\s+(?:the\s+)?(?:{ORDINAL}|last)))\b"
            r"|\b(?P<if>if|suppose|assume|assuming|unless|whether)\b"
            r"|(?P<which>\bwhich\s+(?:is|are|was|were|finished|comes?)\b)"
            r"|(?P<pronoun>\b(?:they|it(?!\s+(?:is|was)\s+(?:\w+\s+){1,2}that\b)|he|she)\b)"
            rf"|(?P<false>{DENIED})|(?P<between>\bbetween\b)|(?P<arrow>[<>→])"
            r"|(?P<question>\?)|(?P<end>[.;:!\n])|(?P<separator>\b(?:then|which)\b|,)"
            r"|(?P<clause>\b(?:so|because|since|therefore|thus|hence|means|but|while|however)\b)",
            re.I,
        )

    def tokens(self, text: str) -> list[Token]:
        """The words of `text` that matter, in order."""
        tokens: list[Token] = []
        for match in self._pattern.finditer(text):
            kind = match.lastgroup or ""
            word = lower(match[kind])
            if kind in ("less", "more"):
                tokens.append(Token("relation", -1 if kind == "less" else 1, word.startswith(_NEAR)))
            elif kind == "count":
                tokens.append(Token(kind, _NUMBERS[word]))
            elif kind == "object":
                tokens.append(Token(kind, self._index[word]))
            elif kind in ("side", "tolast", "low", "high", "finished"):
                ordinal = match[{"side": "from", "low": "nlow", "high": "nhigh"}.get(kind, kind)]
                steps = ordinal_index(ordinal) if ordinal else 0
                from_high = kind in ("tolast", "high") or word == "right"
                tokens.append(Token("place", self.count - 1 - steps if from_high else steps))
            else:
                tokens.append(Token(kind))
        return tokens

    def objects(self, text: str) -> list[int]:
        """The objects that `text` names, in order."""
        return [token.value for token in self.tokens(text) if token.kind == "object"]


_NUMBERED = re.compile(r"(?<![\w.])\(?([1-9])[.):]?\s{1,3}((?:[A-Za-z-]{1,30}\s?){1,3})(?=\s{0,3}(?:[,;.\n]|$))")


def numbered(text: str, lexicon: Lexicon) -> list[tuple[int, int]]:
    """(position from 0, object) of a list "1 Blue, 2 Black" or "1. Ada"; empty when anything else is numbered in it."""
    items = [(int(number) - 1, lexicon.tokens(name)) for number, name in _NUMBERED.findall(text)]
    if any([token.kind for token in tokens] != ["object"] for _, tokens in items):
        return []
    return [(place, tokens[0].value) for place, tokens in items]


def _axis_of(question: str) -> Axis:
    """The axis whose words the question uses most."""
    text = question.lower()
    counts = {axis.name: len(re.findall("|".join((axis.low, axis.high, axis.less, axis.more)), text)) for axis in AXES}
    counts["row"] += len(re.findall(r"from the (?:left|right)", text))
    return max(AXES, key=lambda axis: counts[axis.name] + (axis.name != "rank") * 0.5)


def _aliases(objects: Sequence[str]) -> dict[str, int]:
    """Lower-case names of each object: as listed, singular, and without the last word when all share it."""
    names: dict[str, int] = {}
    heads = {lower(name).split()[-1] for name in objects}
    for index, name in enumerate(map(lower, objects)):
        names.setdefault(name, index)
        if len(heads) == 1 and len(name.split()) > 1:
            names.setdefault(" ".join(name.split()[:-1]), index)
        if name.endswith("es") and len(name) > 4:
            names.setdefault(name[:-2], index)
        if name.endswith("s") and len(name) > 3:
            names.setdefault(name[:-1], index)
    return names
