"""Statements about a fixed order of a few objects, read from text into sets of permutations.

"The black book is to the left of the gray book", "Rob finished second", "the third-most expensive fruit is the
pears", "from left to right: first is the red book, then second and third can be any book": each becomes the set of
orders in which it is true. Positions count from 0 at the left, cheap, old, first end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
        written = self.lexicon.axis.places
        if place == 0 and "-" in written:
            return written.replace("{}-", "")
        return written.format(ORDINALS[place] if 0 <= place < len(ORDINALS) else f"number {place + 1}")

    def statements(self, text: str) -> list[Statement]:
        """All claims of plain sentences in `text`; suppositions ("if ..."), questions, mere possibilities and
        what is said to be false are left out.
        """
        statements: list[Statement] = []
        sentence: list[Token] = []
        for token in [*self.lexicon.tokens(text), Token("end")]:
            if token.kind not in ("end", "question"):
                sentence.append(token)
                continue
            if token.kind == "end" and not any(word.kind == "if" for word in sentence):
                statements.extend(_Sentence(self).read(sentence))
            sentence = []
        return statements

    def position_statement(self, thing: int, places: Sequence[int], negated: bool = False) -> Statement:
        """ "X is at p (or q)"."""
        mask = self.at(thing, places)
        where = " or ".join(self.place_name(place) for place in places)
        if negated:
            return Statement(~mask, f"{self.subject(thing)} not {where}")
        return Statement(mask, f"{self.subject(thing)} {where}", thing, places[0] if len(places) == 1 else None)

    def domain_statement(self, place: int, things: Sequence[int]) -> Statement:
        """ "At p is one of these"."""
        mask = (self.pos[list(things)] == place).any(axis=0)
        return Statement(mask, f"{self.place_name(place)}: {' or '.join(map(self.named, things))}")

    def relation_statement(self, left: int, right: int, sign: int, exact: bool = False, negated: bool = False) -> Statement:
        """ "X is before (-1) or after (+1) Y", next to it when exact."""
        gap = self.pos[left].astype(int) - self.pos[right]
        mask = gap == sign if exact else gap * sign > 0
        near = "immediately " if exact else ""
        text = f"{self.subject(left)} {near}{self.comparison(sign)} {self.named(right)}"
        return Statement(~mask, f"not {text}") if negated else Statement(mask, text)

    def named(self, thing: int) -> str:
        """Name of an object with its article: "the red book", "Rob"."""
        name = self.objects[thing]
        return f"the {name}" if name[:1].islower() else name

    def subject(self, thing: int) -> str:
        """Name of an object with its verb: "the plums are", "Rob is"."""
        plural = self.lexicon.axis.name == "price" and self.objects[thing].endswith("s")
        return f"{self.named(thing)} {'are' if plural else 'is'}"

    def comparison(self, sign: int) -> str:
        """ "older than" for -1, "newer than" for 1."""
        return self.lexicon.axis.comparisons[sign > 0]


@dataclass
class _Sentence:
    """A small state machine over the tokens of one sentence."""

    reader: Reader
    statements: list[Statement] = field(default_factory=list)
    before: int = 0
    """Statements of the clauses before this one."""
    subjects: list[int] = field(default_factory=list)
    last_subject: int | None = None
    last_object: int | None = None
    places: list[int] = field(default_factory=list)
    subject_first: bool = True
    """The subject stands before its places."""
    relation: Token | None = None
    counted: int | None = None
    said: set[str] = field(default_factory=set)
    """"not", "may" and "false" of this clause, "arrow" where one stands before the next word."""
    row: bool = False
    """The subject ends a row: "Eve > Amy > Eli"."""
    between: int = 0
    """How many of the two neighbours in "between Eve and Eli" are to come."""

    def read(self, tokens: Sequence[Token]) -> list[Statement]:
        """The statements of the sentence."""
        for token in tokens:
            if self.between and token.kind in ("object", "place", "relation", "count"):
                self.between -= token.kind in ("object", "place")
            elif token.kind == "object":
                self._object(token.value)
            elif token.kind == "place":
                self._place(token.value)
            else:
                self._word(token)
        self._end_clause()
        return self.statements

    def _word(self, token: Token) -> None:
        """A word that is neither an object nor a place."""
        if token.kind in ("separator", "clause", "which", "pronoun"):
            self.between = 0
        if token.kind == "separator":
            if not (self.subjects and self.relation is None and not self.places and not self.row):  # no list of objects
                self._close()
        elif token.kind == "clause":
            self._end_clause()
        elif token.kind == "which":
            self._close()
            self.subjects = [] if self.last_object is None else [self.last_object]
        elif token.kind == "pronoun":
            self.subjects = self.subjects or ([] if self.last_subject is None else [self.last_subject])
        elif token.kind == "between":
            self.between = 2
        elif token.kind == "relation":
            self.relation = token
        elif token.kind == "count":
            self.counted = token.value
        else:
            self.said.add(token.kind)

    def _end_clause(self) -> None:
        """Close, and take back what the clause says to be false."""
        unread = self.row or (len(self.subjects) > 1 and self.relation is None and not self.places)
        self._close()
        if unread:  # a pronoun behind it may mean any of them
            self.last_subject = None
        if "false" in self.said:
            del self.statements[self.before :]
        self.before = len(self.statements)
        self.said.clear()

    def _place(self, place: int) -> None:
        self.said.discard("arrow")
        if self.relation is None:
            self.places.append(place)
            return
        reader, sign = self.reader, self.relation.value
        for subject in () if self.said & {"not", "may"} else self.subjects:  # "X is older than the third-oldest"
            text = f"{reader.subject(subject)} {reader.comparison(sign)} {reader.place_name(place)}"
            self.statements.append(Statement((reader.pos[subject].astype(int) - place) * sign > 0, text))
        self._reset()

    def _object(self, thing: int) -> None:
        self.last_object = thing
        if self.relation is not None:
            self._related(thing, self.relation)
            self._reset()
            return
        if self.places and self.subjects and self.subject_first:
            self._close()
        elif "arrow" in self.said and self.subjects:
            self._reset()
            self.row = True
        self.said.discard("arrow")
        if not self.subjects:
            self.subject_first = not self.places
        self.subjects.append(thing)

    def _related(self, thing: int, relation: Token) -> None:
        """The subjects, or a number of objects, are said to be on one side of an object."""
        reader, sign = self.reader, relation.value
        if self.counted is not None and not self.said & {"not", "may"}:  # "two objects are cheaper than X"
            place = self.counted if sign < 0 else reader.count - 1 - self.counted
            text = f"{self.counted} {'is' if self.counted == 1 else 'are'} {reader.comparison(sign)} {reader.named(thing)}"
            self.statements.append(Statement(reader.at(thing, [place]), text, thing))
        for subject in () if "may" in self.said or self.places else self.subjects:
            if subject != thing:
                self.statements.append(reader.relation_statement(subject, thing, sign, relation.exact, "not" in self.said))

    def _close(self) -> None:
        """The end of a clause: a subject with places is a claim about its position."""
        reader, negated = self.reader, "not" in self.said
        if self.relation is None and self.subjects and self.places:
            if self.subject_first:
                if "may" not in self.said or negated:
                    self.statements += [reader.position_statement(subject, self.places, negated) for subject in self.subjects]
            elif len(self.places) == 1 and not negated:
                self.statements.append(reader.domain_statement(self.places[0], self.subjects) if len(self.subjects) > 1
                                       else reader.position_statement(self.subjects[0], self.places))  # fmt: skip
        self._reset()

    def _reset(self) -> None:
        self.last_subject = self.subjects[-1] if self.subjects else self.last_subject
        self.subjects, self.places, self.relation, self.counted = [], [], None, None
        self.said &= {"false"}
        self.row, self.subject_first = False, True
