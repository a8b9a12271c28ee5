"""Logical deduction: a few objects in a fixed order, clues about it, and a question about one place.

The rules: a step may restate a clue of the question, and may claim what follows from the clues it and the steps
before it used. "Follows" is decided by trying all orders (at most 8! = 40,320): a claim follows when it is true in
every order that the used clues allow. An ordering that puts an object at a place that is only possible, or uses a
clue that was not looked at yet, does not follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from analysis.checks.base import Finding, Run, follow
from analysis.checks.grammars.order_words import DENIED, ORDINAL, lower, numbered, ordinal_index
from analysis.checks.grammars.orderings import MAX_OBJECTS, Mask, Reader, Statement

MAX_CLUES = 40
MAX_READ = 4_000
"""Characters of one step that are read; longer steps are cut."""
MAX_TOTAL_READ = 60_000
"""Characters of all steps together that are read; what comes later is not judged."""

_LIST = re.compile(r"\b(?:there (?:are|were|is)|sells|has|have|had|with)\b[^:.\n]{0,80}:\s*([^.\n]{3,400})", re.I)
_END = r"[\w-]+(?:\s+expensive)?"
_FROM = re.compile(rf"\bfrom\s+(?:the\s+)?(?P<start>{_END})\s+to\s+(?:the\s+)?(?P<end>{_END})\s*(?:[:,]|\bis\b)\s*:?", re.I)
_LOW_END = "left|above|top|first|oldest|cheapest|least expensive"
_BETWEEN = re.compile(rf"\((?:{_LOW_END})\)(?P<row>[^()]{{3,300}})\(\w+(?: \w+)?\)", re.I)
_PLACE = rf"(?:{ORDINAL}|last)"
_JOINT = r"(?:\s*,\s*(?:and\s+|or\s+|then\s+)?|\s+and\s+|\s+or\s+|\s+to\s+|\s+through\s+|\s*-\s*)"
_SLOT = re.compile(
    rf"(?P<places>(?<!\bto )(?<!-)\b{_PLACE}(?:{_JOINT}{_PLACE}\b)*)(?:\s+(?!is\b|are\b|can\b|from\b|to\b)[a-z]+)?"
    r"\s+(?P<verb>is|are|can be|could be|must be|may be|will be)\b",
    re.I,
)
_OPTION = re.compile(r"\W{0,4}(?:option\s+)?\(?[A-H]\)[:\s]|\W{0,4}option\s+[A-H]\b", re.I)
"""A sentence that restates an option: "(B) says the owl is second."."""
_LISTED = re.compile(rf"(?<!\bto )\b({_PLACE})\s?:\s?((?:(?!\b(?:is|are|can|or|any)\b)[\w ]){{1,30}})(?=[,.;\n]|$)", re.I)
"""A place and what stands there: "2nd: Ada"."""
_MARKED_END = re.compile(rf"(?<=\w) \((?:{_LOW_END}|newest|rightmost|leftmost|most expensive|last)\)", re.I)
_ORDER_TOLD = re.compile(
    r"\b(?:(?<!no )(?<!any )(?<!particular )(?<!random )order(?! to\b| for\b)|ordering|rank(?:s|ed|ing)?|ranking|standings"
    r"|results?|arrangement|left to right|first to last|top to bottom)\b",
    re.I,
)
_HIGH_TOLD = re.compile(r"\b(?:right to left|last to first|bottom to top|lowest to highest|worst to best)\b", re.I)
_HIGH_ENDS = ("right", "rightmost", "newest", "youngest", "most", "most expensive", "last", "bottom", "highest")


@dataclass
class _Run(Run):
    reader: Reader
    clues: list[Statement]
    solution: Mask
    """Orders that all clues of the question allow."""
    known: Mask
    """Orders that the clues used so far allow."""
    used: bool = False
    """Some clue was restated. A rationale that restates none is held to all clues of the question."""
    left: int = MAX_TOTAL_READ
    """Characters that are still read."""
    unread: bool = False
    """A step spoke of two objects in words that are not understood."""
    reported: set[bytes] = field(default_factory=set)
    placed: dict[int, int] = field(default_factory=dict)
    """Place -> object, as the orderings of the rationale have put it so far."""
    lists_order: bool = False
    """The last step that is no item of a list spoke of an order, so that numbered objects are places."""
    numbered_high: bool = False
    """That order runs from the right or from the last place."""
    high_first: bool = False
    """The last ordering ran from the right, expensive, new, last end."""

    def proves(self, claim: Mask) -> bool:
        """Whether a claim follows from all clues of the question."""
        return bool((claim | ~self.solution).all())


def parse_question(question: str) -> _Run | None:
    """Objects and clues; None for another kind of text, an unreadable clue, or clues that contradict each other."""
    body = re.split(r"\n[ \t]{0,20}(?:Q:|Options:|Question:)", question[:20_000], maxsplit=1)[0]
    listed = _LIST.search(body)
    if listed is None:
        return None
    names = [
        re.sub(r"^(?:and\s+)?(?:an?\s+|the\s+)?", "", part.strip(), flags=re.I)
        for part in re.split(r",|\band\b", listed.group(1))
    ]
    names = [name for name in names if name]
    if not 2 <= len(names) <= MAX_OBJECTS or len({name.lower() for name in names}) != len(names):
        return None
    reader = Reader(names, body)
    clues: list[Statement] = []
    for line in re.split(r"\n|(?<=[.!?])\s+", body[listed.end() :])[: MAX_CLUES * 2]:
        if line.rstrip().endswith("?"):
            continue
        read = reader.statements(line.strip(" -•*"))
        if not read and reader.lexicon.objects(line):
            return None
        clues.extend(read)
    if not clues or len(clues) > MAX_CLUES:
        return None
    solution = np.logical_and.reduce([clue.mask for clue in clues])
    if not solution.any():
        return None
    return _Run(reader, clues, solution, np.ones_like(solution))


def check(question: str, steps: Sequence[str], answer: str | None, choices: Mapping[str, str]) -> Finding | None:
    """First step that claims what does not follow. Abstains when question or steps are unreadable as this kind."""
    run = parse_question(question)
    if run is None:
        return None
    run.options = choices
    return follow(run, steps, answer and answer[:20], _check_step, _check_answer)


def _check_step(text: str, run: _Run) -> None:
    text = text[: min(MAX_READ, run.left)]
    run.left -= len(text)
    if run.left > 0:
        _check_claims(text, run)
        _check_answer(text, run)


def _check_claims(text: str, run: _Run) -> None:
    claims: list[Statement] = []
    before = run.readable
    text = _LISTED.sub(r"\2 is \1", text)
    if re.search(r"\s[-–<>→]\s", text):
        text = _MARKED_END.sub("", text)
    for part in _parts(text):
        ordered = _FROM.search(part) or (_SLOT.match(part.strip()) and run.readable)
        if ordered and re.search(DENIED, part, re.I):
            continue
        for statement in _ordering(part, run) if ordered else run.reader.statements(part):
            used = next((clue for clue in run.clues if np.array_equal(clue.mask, statement.mask)), None)
            if used is None or statement.in_ordering:
                claims.append(statement)
            else:
                run.used = True
                run.known = run.known & used.mask
                run.readable += 1
                if used.place is not None and used.subject is not None:
                    run.placed[used.place] = used.subject
    between = _BETWEEN.search(text)
    if between:
        run.high_first = False
        claims.extend(_row(between.group("row"), run))
    claims.extend(_numbered(text, run))
    if not run.unread and not claims and run.readable == before:
        run.unread = len(run.reader.lexicon.objects(text)) > 1
    for claim in claims:
        run.readable += 1
        if (claim.mask | ~(run.known if run.used else run.solution)).all():
            continue
        key = claim.mask.tobytes()
        if key not in run.reported:
            run.reported.add(key)
            name, message = _explain(claim, run)
            run.flag(name, message, 0.5 if name == "not_shown" and run.unread else 1.0)


def _parts(text: str) -> list[str]:
    """Sentences that may state something: no questions and no options restated."""
    parts = [part for part in re.split(r"(?<=[.!?;])\s+|\n", text) if part.strip() and not _OPTION.match(part)]
    return [part for part in parts if not part.rstrip().endswith("?")]


def _explain(claim: Statement, run: _Run) -> tuple[str, str]:
    """Name of the check and a sentence: what the claim is, what is true instead."""
    if not (claim.mask & run.solution).any():
        check_name, reason = "contradicts_clues", "contradicts the clues"
    elif run.proves(claim.mask):
        check_name, reason = "not_shown", "is true, but does not follow from the clues used so far"
    else:
        check_name, reason = "does_not_follow", "does not follow from the clues"
    message = f'"{claim.text}" {reason}'
    if claim.subject is not None:
        mask = run.known if run.used and check_name != "contradicts_clues" else run.solution
        places = sorted(set(run.reader.pos[claim.subject][mask].tolist()))
        reader, thing = run.reader, claim.subject
        message += f": {reader.subject(thing)} " if len(places) == 1 else f": {reader.named(thing)} can be "
        message += " or ".join(run.reader.place_name(place) for place in places)
    return check_name, message


def _ordering(part: str, run: _Run) -> list[Statement]:
    """Claims of "from left to right: first is X, then second and third can be any book, then ..."."""
    header = _FROM.search(part)
    stated: list[Statement] = []
    if header:
        start = header.group("start").lower()
        run.high_first = start in _HIGH_ENDS
        stated.extend(run.reader.statements(part[: header.start()]))
    text = part[header.end() :] if header else part
    if header and not _SLOT.search(text):
        return [*stated, *_row(text, run)]
    slots = list(_SLOT.finditer(text))
    before = dict(run.placed)
    for number, slot in enumerate(slots):
        rest = text[slot.end() : slots[number + 1].start() if number + 1 < len(slots) else len(text)]
        stated.extend(_slot(slot, rest, before, run))
    return stated


def _row(text: str, run: _Run) -> list[Statement]:
    """Claims of a plain row "A, B, C": all objects have their places, some of them only their order."""
    reader = run.reader
    end = re.search(r"\b(?:so|because|since|therefore)\b", text, re.I)
    things = reader.lexicon.objects(text[: end.start()] if end else text)
    if len(set(things)) != len(things) or len(things) < 2:
        return []
    run.readable += 1
    if run.high_first:
        things.reverse()
    if len(things) == reader.count:
        whole = np.logical_and.reduce([reader.at(thing, [place]) for place, thing in enumerate(things)])
        if run.proves(whole):  # the solution itself, which may be written down at once
            return []
        return _in_ordering(reader.position_statement(thing, [place]) for place, thing in enumerate(things))
    return _in_ordering(reader.relation_statement(left, right, -1) for left, right in pairwise(things))


def _in_ordering(statements: Iterable[Statement]) -> list[Statement]:
    return [replace(statement, in_ordering=True) for statement in statements]


def _numbered(text: str, run: _Run) -> list[Statement]:
    """Claims of "the order is: 1 Blue, 2 Black", in one step or in a step for each. Only places have a number that says
    where it counts from: among prices and ages 1 may be either end.
    """
    reader = run.reader
    items = numbered(text, reader.lexicon)
    told = bool(_ORDER_TOLD.search(text))
    run.lists_order = told or (run.lists_order and bool(items))
    if told:
        run.numbered_high = bool(_HIGH_TOLD.search(text))
    if not run.lists_order or _FROM.search(text) or reader.lexicon.axis.name not in ("row", "rank"):
        return []  # "from left to right: ..." was read as an ordering
    last = reader.count - 1
    items = [(last - place if run.numbered_high else place, thing) for place, thing in items if place <= last]
    run.readable += len(items)
    claims = _in_ordering(reader.position_statement(thing, [place]) for place, thing in items)
    whole = len({place for place, _ in items}) == reader.count == len({thing for _, thing in items})
    solved = whole and run.proves(np.logical_and.reduce([claim.mask for claim in claims]))
    return [] if solved else claims


def _slot(slot: re.Match[str], rest: str, before: Mapping[int, int], run: _Run) -> list[Statement]:
    """Claims of one "third or fourth is Mya" with the words after it."""
    reader = run.reader
    places = _places(slot.group("places"), reader.count, run.high_first)
    tail = re.split(r",\s*(?:and|but)\s+(?=[^,]*\b(?:is|are)\b)", rest, maxsplit=1)
    body, _, excepted = tail[0].partition(" except ")
    things = reader.lexicon.objects(body)
    claims: list[Statement] = []
    if re.search(r"\b(?:any|unknown|some|another|remaining|other|either of)\b", body, re.I):
        claims = [reader.position_statement(thing, places, negated=True) for thing in reader.lexicon.objects(excepted)]
        if re.search(r"\bany\b", body, re.I) and not excepted:
            lost = [place for place in places if place in before]
            claims = [Statement(~reader.at(before[place], [place]), f"{reader.place_name(place)} can be any") for place in lost]
    elif len(places) == 1 and len(things) > 1:
        claims = [reader.domain_statement(places[0], things)]
    else:
        claims = [reader.position_statement(thing, places) for thing in things]
        if len(places) == len(things) == 1:
            run.placed[places[0]] = things[0]
    return [*(reader.statements(tail[1]) if len(tail) > 1 else []), *_in_ordering(claims)]


def _places(text: str, count: int, high_first: bool) -> list[int]:
    """ "third to fifth" -> [2, 3, 4], turned round when the ordering runs from the high end."""
    words = list(map(lower, re.findall(rf"{ORDINAL}|last|\bto\b|\bthrough\b|-", text, re.I)))
    places: list[int] = []
    for number, word in enumerate(words):
        if word in ("to", "through", "-"):
            continue
        place = count - 1 if word == "last" else ordinal_index(word)
        if number and words[number - 1] in ("to", "through", "-") and places:
            places.extend(range(places[-1] + 1, min(place, count) + 1))
        else:
            places.append(place)
    places = list(dict.fromkeys(places))
    return [count - 1 - place for place in places] if high_first else places


def _check_answer(text: str, run: _Run) -> None:
    stated = run.stated_option(text)
    claims = run.reader.statements(stated[1]) if stated else []
    if stated and len(claims) == 1 and not run.proves(claims[0].mask):
        right = [label for label, option in run.options.items() if _follows(option, run)]
        known = f", ({right[0]}) does" if len(right) == 1 else ""
        run.flag("answer_wrong", f"option ({stated[0]}) does not follow from the clues{known}")


def _follows(option: str, run: _Run) -> bool:
    claims = run.reader.statements(option[:400])
    return len(claims) == 1 and run.proves(claims[0].mask)
