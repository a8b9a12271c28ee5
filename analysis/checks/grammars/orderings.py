"""Statements about a fixed order of a few objects, read from text into sets of permutations.

"The black book is to the left of the gray book", "Rob finished second", "the third-most expensive fruit is the
pears", "from left to right: first is the red book, then second and third can be any book": each becomes the set of
orders in which it is true. Positions count from 0 at the left, cheap, old, first end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from analysis.checks.grammars.order_words import ORDINALS, Lexicon, Token

MAX_OBJECTS = 8
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Statement:
    """One claim: the orders in which it is true, and how to say it."""

    mask: Mask
    text: str
    subject: int | None = None
    """The object it is about, when it is about the position of one object."""
    place: int | None = None
    """The one position that the subject is said to have."""
    in_ordering: bool = False
    """Written as part of a full ordering ("first is ...") rather than as a sentence of its own."""


@lru_cache(maxsize=8)
def positions(count: int) -> NDArray[np.int8]:
    """Array (count, count!) of the position of each object in every order."""
    orders = np.array(list(permutations(range(count))), dtype=np.int8)
    orders.setflags(write=False)
    return orders.T


class Reader:
    """Reads statements about `objects`, in the words of the axes that the question uses."""

    def __init__(self, objects: Sequence[str], question: str) -> None:
        self.objects = tuple(objects)
        self.count = len(objects)
        self.pos = positions(self.count)
        self.lexicon = Lexicon(objects, question)

    def at(self, thing: int, places: Sequence[int]) -> Mask:
        """Orders in which an object is at one of the places."""
        return np.isin(self.pos[thing], np.array([place for place in places if 0 <= place < self.count], dtype=np.int8))

    def place_name(self, place: int) -> str:
        """A position in the words of the question: "second from the left", "third-cheapest", "fourth"."""
        axis = self.lexicon.axis.name
        ordinal = ORDINALS[place] if 0 <= place < len(ORDINALS) else f"number {place + 1}"
        if axis == "row":
            return f"{ordinal} from the left"
        if axis == "rank":
            return ordinal
        word = "cheapest" if axis == "price" else "oldest"
        return f"the {word}" if place == 0 else f"the {ordinal}-{word}"

    def statements(self, text: str) -> list[Statement]:
        """All claims of plain sentences in `text`; suppositions ("if ..."), questions, mere possibilities and
        what is said to be false are left out.
        """
        found: list[Statement] = []
        sentence: list[Token] = []
        for token in [*self.lexicon.tokens(text), Token("end")]:
            if token.kind not in ("end", "question"):
                sentence.append(token)
                continue
            if token.kind == "end" and not any(word.kind == "if" for word in sentence):
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
        if negated:
            return Statement(~mask, text, in_ordering=in_ordering)
        return Statement(mask, text, thing, places[0] if len(places) == 1 else None, in_ordering)

    def domain_statement(self, place: int, things: Sequence[int], in_ordering: bool = False) -> Statement:
        """ "At p is one of these"."""
        mask = np.zeros(self.pos.shape[1], dtype=bool)
        for thing in things:
            mask |= self.pos[thing] == place
        names = " or ".join(self.named(thing) for thing in things)
        return Statement(mask, f"{self.place_name(place)}: {names}", in_ordering=in_ordering)

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
        plural = self.lexicon.axis.name == "price" and self.objects[thing].endswith("s")
        return f"{self.named(thing)} {'are' if plural else 'is'}"

    def _comparison(self, sign: int) -> str:
        words = {
            "row": ("to the left of", "to the right of"),
            "age": ("older than", "newer than"),
            "price": ("cheaper than", "more expensive than"),
            "rank": ("above", "below"),
        }
        return words[self.lexicon.axis.name][sign > 0]


class _Sentence:
    """A small state machine over the tokens of one sentence."""

    def __init__(self, reader: Reader, tokens: Sequence[Token]) -> None:
        self.reader = reader
        self.tokens = tokens
        self.found: list[Statement] = []
        self.subjects: list[int] = []
        self.last_subject: int | None = None
        self.last_object: int | None = None
        self.places: list[int] = []
        self.relation: Token | None = None
        self.counted: int | None = None
        self.negated = self.may = self.false = False
        self.arrow = False
        """An arrow stands before the next word."""
        self.row = False
        """The subject ends a row: "Eve > Amy > Eli"."""
        self.between = 0
        """How many of the two neighbours in "between Eve and Eli" are to come."""
        self.kept = 0
        """Statements of the clauses before this one."""

    def read(self) -> list[Statement]:
        """The statements of the sentence."""
        for token in self.tokens:
            if self.between and token.kind in ("object", "place", "relation", "count"):
                self.between -= token.kind in ("object", "place")
            elif token.kind == "object":
                self._object(token.value)
            elif token.kind == "place":
                self._place(token.value)
            else:
                self._word(token)
        self._end_clause()
        return self.found

    def _word(self, token: Token) -> None:
        """A word that is neither an object nor a place."""
        if token.kind in ("separator", "clause", "which", "pronoun"):
            self.between = 0
        if token.kind == "separator":
            self._close(keep=self._in_list())
        elif token.kind == "clause":
            self._end_clause()
        elif token.kind == "which":
            self._close()
            self.subjects = [] if self.last_object is None else [self.last_object]
        elif token.kind == "pronoun":
            self.subjects = (
                [self.last_subject] if self.last_subject is not None and not self.subjects else self.subjects
            )
        elif token.kind == "not":
            self.negated = True
        elif token.kind == "may":
            self.may = True
        elif token.kind == "false":
            self.false = True
        elif token.kind == "arrow":
            self.arrow = True
        elif token.kind == "between":
            self.between = 2
        elif token.kind == "relation":
            self.relation = token
        elif token.kind == "count":
            self.counted = token.value

    def _in_list(self) -> bool:
        return len(self.subjects) > 0 and self.relation is None and not self.places and not self.row

    def _end_clause(self) -> None:
        """Close, and take back what the clause says to be false."""
        unread = self.row or (len(self.subjects) > 1 and self.relation is None and not self.places)
        self._close()
        if unread:  # a pronoun behind it may mean any of them
            self.last_subject = None
        if self.false:
            del self.found[self.kept :]
        self.kept, self.false = len(self.found), False

    def _place(self, place: int) -> None:
        self.arrow = False
        if self.relation is None:
            self.places.append(place)
            return
        for subject in self.subjects:
            if not self.may and not self.negated:
                self.found.append(self.reader.side_statement(subject, place, self.relation.value))
        self._reset()

    def _object(self, thing: int) -> None:
        self.last_object = thing
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
        elif self.arrow and self.subjects:
            self._reset()
            self.row = True
        self.arrow = False
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
        self.negated = self.may = self.row = self.arrow = False
        self._subject_first = True
