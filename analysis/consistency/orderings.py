"""Statements about a fixed order of a few objects, read from text into sets of permutations.

"The black book is to the left of the gray book", "Rob finished second", "the third-most expensive fruit is the pears", "from left to
right: first is the red book, then second and third can be any book": each becomes the set of orders in which it is true.
Positions count from 0 at the left, cheap, old, first end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

MAX_OBJECTS = 8
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_ORD = rf"(?:{'|'.join(ORDINALS)}|\d{{1,2}}(?:st|nd|rd|th))"
_NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}

Mask = NDArray[np.bool_]


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


@dataclass(frozen=True)
class Token:
    """A word or phrase that matters."""

    kind: str
    """object, place, relation, count, not, may, separator, pronoun, if or end."""
    value: int = 0
    """Index of the object, position, number of objects, or -1 / +1 for a relation towards low / high."""
    exact: bool = False
    """A relation that says "immediately"."""


@dataclass(frozen=True)
class Statement:
    """One claim: the orders in which it is true, and how to say it."""

    mask: Mask
    text: str
    subject: int | None = None
    """The object it is about, when it is about one position of one object."""
    in_ordering: bool = False
    """Written as part of a full ordering ("first is ...") rather than as a sentence of its own."""


@lru_cache(maxsize=8)
def positions(count: int) -> NDArray[np.int8]:
    """Array (count, count!) of the position of each object in every order."""
    orders = np.array(list(permutations(range(count))), dtype=np.int8)
    orders.setflags(write=False)
    return orders.T


def ordinal_index(word: str) -> int | None:
    """ "third" or "3rd" -> 2."""
    word = word.lower()
    if word in ORDINALS:
        return ORDINALS.index(word)
    return int(re.sub(r"\D", "", word) or 0) - 1 if word[:1].isdigit() else None


class Reader:
    """Reads statements about `objects`, in the words of the axes that the question uses."""

    def __init__(self, objects: Sequence[str], question: str) -> None:
        self.objects = tuple(objects)
        self.count = len(objects)
        self.pos = positions(self.count)
        self.axes = _axes_of(question)
        self._object = _object_pattern(objects)
        self._index = _aliases(objects)
        self._lexicon = self._compile()

    def _compile(self) -> re.Pattern[str]:
        low = "|".join(axis.low for axis in self.axes)
        high = "|".join(axis.high for axis in self.axes)
        less = "|".join(axis.less for axis in self.axes)
        more = "|".join(axis.more for axis in self.axes)
        near = r"immediately|directly|just"
        rank = any(axis.name == "rank" for axis in self.axes)
        finished = rf"|(?P<finished>{_ORD})(?:[- ]place)?\b(?![- ](?:to|from|or|and)\b[- ](?!finish))" if rank else ""
        return re.compile(
            rf"\b(?P<count>no|one|{'|'.join(_NUMBERS)})\s+(?:(?!of\b|other\b)\w+\s+){{1,3}}?(?=(?:less|more|{less}|{more})\b)"
            rf"|(?P<less>(?:(?:{near})\s+)?\b(?:{less})\b)|(?P<more>(?:(?:{near})\s+)?\b(?:{more})\b)"
            rf"|\b(?P<from>{_ORD})(?:[- ]\w+)?\s+from\s+(?:the\s+)?(?P<side>left|right)\b"
            rf"|\b(?P<tolast>{_ORD})[- ](?:to[- ])?last\b"
            rf"|(?:\b(?P<nlow>{_ORD})[- ]+)?(?P<low>{low})|(?:\b(?P<nhigh>{_ORD})[- ]+)?(?P<high>{high})"
            rf"|\b(?P<object>{self._object})\b{finished}"
            r"|\b(?P<not>cannot|can't|can not|not|never|n't|neither|nor|isn't|aren't)\b"
            r"|\b(?P<may>can|could|may|might|possibly|possible|should)\b|\b(?P<if>if|suppose|assume|assuming|unless|whether)\b"
            r"|(?P<pronoun>\b(?:they|it|he|she)\b)"
            r"|(?P<end>[.;:!?\n])|(?P<separator>\b(?:so|because|since|therefore|thus|hence|means|but|while|however|then|which)\b|,)",
            re.I,
        )

    def tokens(self, text: str) -> list[Token]:
        """The words of `text` that matter, in order."""
        found: list[Token] = []
        for match in self._lexicon.finditer(text):
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
                    kind = next((name for name in ("not", "may", "if", "pronoun", "end", "separator") if name in group), None)
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

    def at(self, thing: int, places: Sequence[int]) -> Mask:
        """Orders in which an object is at one of the places."""
        return np.isin(self.pos[thing], np.array([place for place in places if 0 <= place < self.count], dtype=np.int8))

    def place_name(self, place: int) -> str:
        """A position in the words of the question: "second from the left", "third-cheapest", "fourth"."""
        axis = self.axes[0].name
        ordinal = ORDINALS[place] if 0 <= place < len(ORDINALS) else f"number {place + 1}"
        if axis == "row":
            return f"{ordinal} from the left"
        if axis == "rank":
            return ordinal
        word = "cheapest" if axis == "price" else "oldest"
        return f"the {word}" if place == 0 else f"the {ordinal}-{word}"

    def statements(self, text: str) -> list[Statement]:
        """All claims of plain sentences in `text`; suppositions ("if ...") and mere possibilities are left out."""
        found: list[Statement] = []
        sentence: list[Token] = []
        for token in [*self.tokens(text), Token("end")]:
            if token.kind != "end":
                sentence.append(token)
                continue
            if not any(word.kind == "if" for word in sentence):
                found.extend(_Sentence(self, sentence).read())
            sentence = []
        return found

    def position_statement(
        self, thing: int, places: Sequence[int], negated: bool = False, in_ordering: bool = False
    ) -> Statement:
        """ "X is at p (or q)"."""
        mask = self.at(thing, places)
        where = " or ".join(self.place_name(place) for place in places)
        text = f"{self.subject(thing)} {'not ' if negated else ''}{where}"
        return Statement(~mask if negated else mask, text, None if negated else thing, in_ordering)

    def domain_statement(self, place: int, things: Sequence[int], in_ordering: bool = False) -> Statement:
        """ "At p is one of these"."""
        mask = np.zeros(self.pos.shape[1], dtype=bool)
        for thing in things:
            mask |= self.pos[thing] == place
        names = " or ".join(self.named(thing) for thing in things)
        return Statement(mask, f"{self.place_name(place)}: {names}", None, in_ordering)

    def relation_statement(self, left: int, right: int, sign: int, exact: bool) -> Statement:
        """ "X is before (-1) or after (+1) Y", next to it when exact."""
        gap = self.pos[left].astype(int) - self.pos[right]
        mask = gap == sign if exact else gap * sign > 0
        near = "immediately " if exact else ""
        return Statement(mask, f"{self.subject(left)} {near}{self._comparison(sign)} {self.named(right)}")

    def side_statement(self, thing: int, place: int, sign: int) -> Statement:
        """ "X is older than the third-oldest"."""
        gap = self.pos[thing].astype(int) - place
        return Statement(gap * sign > 0, f"{self.subject(thing)} {self._comparison(sign)} {self.place_name(place)}")

    def count_statement(self, number: int, thing: int, sign: int) -> Statement:
        """ "There are two objects that are cheaper than X"."""
        place = number if sign < 0 else self.count - 1 - number
        text = f"{number} {'is' if number == 1 else 'are'} {self._comparison(sign)} {self.named(thing)}"
        return Statement(self.at(thing, [place]), text, thing)

    def named(self, thing: int) -> str:
        """Name of an object with its article: "the red book", "Rob"."""
        name = self.objects[thing]
        return f"the {name}" if name[:1].islower() else name

    def subject(self, thing: int) -> str:
        """Name of an object with its verb: "the plums are", "Rob is"."""
        plural = self.axes[0].name == "price" and self.objects[thing].endswith("s")
        return f"{self.named(thing)} {'are' if plural else 'is'}"

    def _comparison(self, sign: int) -> str:
        words = {
            "row": ("to the left of", "to the right of"),
            "age": ("older than", "newer than"),
            "price": ("cheaper than", "more expensive than"),
            "rank": ("above", "below"),
        }
        return words[self.axes[0].name][sign > 0]


class _Sentence:
    """A small state machine over the tokens of one sentence."""

    def __init__(self, reader: Reader, tokens: Sequence[Token]) -> None:
        self.reader = reader
        self.tokens = tokens
        self.found: list[Statement] = []
        self.subjects: list[int] = []
        self.last_subject: int | None = None
        self.places: list[int] = []
        self.relation: Token | None = None
        self.counted: int | None = None
        self.negated = self.may = False

    def read(self) -> list[Statement]:
        """The statements of the sentence."""
        for token in self.tokens:
            if token.kind == "separator":
                self._close(keep=self._in_list())
            elif token.kind == "pronoun":
                self.subjects = [self.last_subject] if self.last_subject is not None and not self.subjects else self.subjects
            elif token.kind == "not":
                self.negated = True
            elif token.kind == "may":
                self.may = True
            elif token.kind == "relation":
                self.relation = token
            elif token.kind == "count":
                self.counted = token.value
            elif token.kind == "place":
                self._place(token.value)
            elif token.kind == "object":
                self._object(token.value)
        self._close()
        return self.found

    def _in_list(self) -> bool:
        return len(self.subjects) > 0 and self.relation is None and not self.places

    def _place(self, place: int) -> None:
        if self.relation is None:
            self.places.append(place)
            return
        for subject in self.subjects:
            if not self.may and not self.negated:
                self.found.append(self.reader.side_statement(subject, place, self.relation.value))
        self._reset()

    def _object(self, thing: int) -> None:
        if self.relation is not None:
            if self.counted is not None and not self.negated and not self.may:
                self.found.append(self.reader.count_statement(self.counted, thing, self.relation.value))
            for subject in self.subjects:
                if subject != thing and not self.may and not self.places:
                    statement = self.reader.relation_statement(subject, thing, self.relation.value, self.relation.exact)
                    if self.negated:
                        statement = Statement(~statement.mask, f"not {statement.text}")
                    self.found.append(statement)
            self._reset()
            return
        if self.places and self.subjects and self._subject_first:
            self._close()
        if not self.subjects:
            self._subject_first = not self.places
        self.subjects.append(thing)

    _subject_first = True

    def _close(self, keep: bool = False) -> None:
        """The end of a clause: a subject with places is a claim about its position."""
        if keep:
            return
        reader = self.reader
        if self.relation is None and self.subjects and self.places:
            if self._subject_first:
                if not self.may or self.negated:
                    for subject in self.subjects:
                        self.found.append(reader.position_statement(subject, self.places, self.negated))
            elif len(self.places) == 1 and not self.negated:
                self.found.append(reader.domain_statement(self.places[0], self.subjects) if len(self.subjects) > 1
                                  else reader.position_statement(self.subjects[0], self.places))  # fmt: skip
        self._reset()

    def _reset(self) -> None:
        self.last_subject = self.subjects[-1] if self.subjects else self.last_subject
        self.subjects, self.places, self.relation, self.counted = [], [], None, None
        self.negated = self.may = False
        self._subject_first = True


def _axes_of(question: str) -> tuple[Axis, ...]:
    """The axes whose words the question uses, most used first; rank when there is none."""
    text = question.lower()
    counts = {axis.name: len(re.findall("|".join((axis.low, axis.high, axis.less, axis.more)), text)) for axis in AXES}
    counts["row"] += len(re.findall(r"from the (?:left|right)", text))
    best = max(AXES, key=lambda axis: counts[axis.name] + (axis.name != "rank") * 0.5)
    return (best,)


def _aliases(objects: Sequence[str]) -> dict[str, int]:
    """Lower-case names of each object: as listed, singular, and the word that tells it apart when all share their last word."""
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
