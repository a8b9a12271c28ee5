"""Tracking shuffled objects: people hold things, pairs of them swap, who ends with what?

The rules: the start is what the question says; each swap exchanges two holdings and nothing else; swaps happen in the
order of the question. Every "Alice: red" or "Alice has the red ball" in a step is compared with the holdings after
the swaps told so far, be it as swaps or as "Alice gives Bob her ball and gets his". A step may leave people out. After
a wrong step the rationale's own holdings are followed, so that each flag is a new mistake.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from analysis.checks.base import MAX_STEP_CHARS, Finding, Run, follow

MAX_PEOPLE = 26
MAX_SWAPS = 2_000

_VERB = r"(?:swap|trade|switch|exchange)"
_HOLDS = (
    r"(?:is|are|was)\s+(?:\w+\s+)?(?:dancing|partnered|paired)\s+with|(?:is|was)\s+(?:\w+\s+)?(?:playing|holding|assigned(?:\s+to)?|at|in)"
    r"|has|have|had|gets|got|holds|plays|receives|buys|owns|ends\s+up\s+with|is\s+left\s+with|with"
)
_START = re.compile(
    rf"\b([A-Z][\w'-]{{0,40}})\s+(?:{_HOLDS})\s+(?:an?\s+|the\s+)?([^,.;\n]{{1,80}}?)(?=,|\.|;|\n|\s+and\s+[A-Z]|$)"
)
_SWAP = re.compile(
    rf"\b([A-Z][\w'-]{{0,40}})\s+(?:and|&|with)\s+([A-Z][\w'-]{{0,40}})\s+(?:\w+\s+){{0,3}}?{_VERB}"
    rf"|\b([A-Z][\w'-]{{0,40}})\s+{_VERB}\w*\s+(?:\w+\s+){{0,4}}?with\s+([A-Z][\w'-]{{0,40}})"
)
_BACK = r"\b(?:gets|got|receives|takes|gives|hands|passes|in\s+(?:exchange|return))\b"
"""Behind "Ann gives Ben her ball": something comes back."""
_ASKED = re.compile(rf"\bat\s+the\s+end\b[^,.]{{0,60}},\s*([A-Z][\w'-]{{0,40}})\s+(?:{_HOLDS})", re.I)
_CLOSING = re.compile(r"\b(?:at|in) the end\b|\banswer\b|\bfinally,? (?:we|[A-Z]\w+ (?:has|is))", re.I)
_STOPWORDS = frozenset(
    ("the", "a", "an", "of", "and", "ball", "balls", "present", "presents", "gift", "gifts", "book", "books", "new")
)


@dataclass(frozen=True)
class Game:
    """A question: who holds what at the start, who swaps with whom, whose holding is asked for."""

    start: Mapping[str, str]
    """Person -> thing."""
    swaps: tuple[tuple[str, str], ...]
    asked: str | None


@dataclass
class _Run(Run):
    game: Game
    reader: _Reader
    now: dict[str, str]
    done: int = 0
    """How many swaps have been told."""
    told: bool = False
    """The last swap was told without saying who holds what then."""
    pair: frozenset[str] = frozenset()
    """Who swapped last."""
    giver: str | None = None
    """Who of them gave first, when that swap was told as giving."""
    reported: set[str] = field(default_factory=set)
    """Whose holdings were said since the last swap."""

    @property
    def due(self) -> tuple[str, str] | None:
        """Who swaps next; None after the last swap."""
        return self.game.swaps[self.done] if self.done < len(self.game.swaps) else None

    def swap(self, pair: tuple[str, str]) -> None:
        """Two people have each other's thing from here on."""
        one, other = pair
        self.now = {**self.now, one: self.now[other], other: self.now[one]}
        self.done += 1
        self.pair, self.giver = frozenset(pair), None
        self.reported.clear()


def parse_question(question: str) -> Game | None:
    """Read a question of this kind; None when it is of another."""
    body = re.split(r"\n[ \t]{0,20}Options:", question[:MAX_STEP_CHARS], maxsplit=1)[0]
    first = _SWAP.search(body)
    if first is None:
        return None
    start = {name: " ".join(thing.split()) for name, thing in _START.findall(body[: first.start()])[:MAX_PEOPLE]}
    swaps = []
    for match in _SWAP.finditer(body, first.start()):
        pair = (match.group(1) or match.group(3), match.group(2) or match.group(4))
        if pair[0] in start and pair[1] in start and pair[0] != pair[1]:
            swaps.append(pair)
    asked = _ASKED.search(body, first.start())
    if len(start) < 2 or not swaps or len(swaps) > MAX_SWAPS or len(set(start.values())) != len(start):
        return None
    name = asked.group(1) if asked and asked.group(1) in start else None
    return Game(start, tuple(swaps), name)


def check(question: str, steps: Sequence[str], answer: str | None, choices: Mapping[str, str]) -> Finding | None:
    """First step whose holdings, swap or conclusion is wrong. Abstains when no step says who holds what."""
    game = parse_question(question)
    if game is None:
        return None
    run = _Run(game, _Reader(game), dict(game.start), options=choices)
    return follow(run, steps, answer and answer[:20], _check_step, _check_answer)


class _Reader:
    """Finds holdings and swaps in a step, for the people and things of one game."""

    def __init__(self, game: Game) -> None:
        self.game = game
        initials = {person[0].upper(): person for person in game.start}
        self.names = {person: person for person in game.start}
        if len(initials) == len(game.start):
            self.names |= {letter: person for letter, person in initials.items() if letter not in self.names}
        name = "|".join(re.escape(known) for known in sorted(self.names, key=len, reverse=True))
        self._claim = re.compile(
            rf"\b({name})(?:'s\s+\w+)?\s*(?:[:=]|->|→|\(|\s[-–—]\s|\b(?:now\s+|then\s+|still\s+|will\s+)*(?:{_HOLDS})\b)\s*"
        )
        self._swap = re.compile(
            rf"\b({name})\s*(?:and|&|,|/|with|<->|↔)\s*({name})\b[^:.;\n]{{0,40}}?\b{_VERB}"
            rf"|\b({name})\s+{_VERB}\w*\s+[^:.;\n]{{0,40}}?\bwith\s+({name})\b"
            rf"|\b{_VERB}\w*\s+(?:between\s+)?({name})\s*(?:and|&|with)\s*({name})\b",
            re.I,
        )
        self._things = {thing: _words(thing) for thing in game.start.values()}
        word = "|".join(re.escape(word) for word in sorted({word for words in self._things.values() for word in words}))
        self._terse = re.compile(rf"\b({name})\s+(?=(?:{word})\b)", re.I) if word else None
        self._pair = re.compile(rf"^\W*({name})\s+({name})\s*:")
        self._gift = re.compile(
            rf"\b({name})\b(?:(?!\b(?:{name})\b)[^:.;\n]){{0,60}}?\b(?:gives|gave|hands|passes)\s+"
            rf"(?:[^:.;\n]{{0,60}}?\bto\s+)?({name})\b(?P<back>[^.;\n]{{0,80}}?{_BACK})?"
        )

    def thing(self, text: str) -> str | None:
        """The one object of the game that `text` (a few words) means; None when it fits none or several."""
        words = _words(text)
        exact = [thing for thing, known in self._things.items() if words == known]
        meant = exact or [thing for thing, known in self._things.items() if words <= known or known <= words]
        return meant[0] if words and len(meant) == 1 else None

    def swap(self, text: str) -> tuple[str, str] | None:
        """The first pair that the step says swaps."""
        match = self._swap.search(text) or self._pair.search(text)
        one, other = (self._person(name) for name in match.groups() if name) if match else (None, None)
        return (one, other) if one and other and one != other else None

    def gifts(self, text: str) -> list[tuple[str, str, bool, int]]:
        """Giver, receiver, whether something comes back, and where the words end, of each "Ann gives Ben her ball"."""
        gifts = []
        for match in self._gift.finditer(text):
            giver, receiver = self._person(match[1]), self._person(match[2])
            if giver and receiver and giver != receiver:
                gifts.append((giver, receiver, match["back"] is not None, match.end(2)))
        return gifts

    def holdings(self, text: str) -> dict[str, str | None]:
        """Person -> thing the step says they hold, the last time; None for a thing that is not in the game."""
        held: dict[str, str | None] = {}
        matches = [*self._claim.finditer(text), *(self._terse.finditer(text) if self._terse else ())]
        matches.sort(key=lambda match: match.start())
        for number, match in enumerate(matches):
            stop = matches[number + 1].start() if number + 1 < len(matches) else len(text)
            rest = re.split(
                r"[,.;\n)|]|\band\b|\bSo\b|\bbecause\b", text[match.end() : min(stop, match.end() + 80)], maxsplit=1
            )[0]
            person = self._person(match.group(1))
            if person and _words(rest) and rest.split()[0] not in self.names:
                held[person] = self.thing(rest)
        return held

    def _person(self, name: str) -> str | None:
        return self.names.get(name) or self.names.get(name.capitalize())


def _words(text: str) -> frozenset[str]:
    words = re.findall(r"[\w'-]+", text.lower()[:200])
    return frozenset(word for word in words if word not in _STOPWORDS)


def _check_step(text: str, run: _Run) -> None:
    _check_holdings(text, run)
    _check_answer(text, run)


def _check_holdings(text: str, run: _Run) -> None:
    swap = run.reader.swap(text)
    told = 0 if swap else _tell_gifts(text, run)
    said = run.reader.holdings(text[told:])
    closing = bool(_CLOSING.search(text)) and not swap
    known = {person: thing for person, thing in said.items() if thing is not None}
    if not swap and not said:
        return
    run.readable += len(known)
    if swap:
        _tell_swap(swap, run)
        run.told = not known
    elif run.told or _tells_one_more(known, run):
        run.told = False
    elif run.due and not (closing and len(said) < 2):
        opening = run.step == 0 or (run.done == 0 and re.search(r"\bstart\b|\bbegin|\binitial", text, re.I))
        one, other = run.due
        after = {**run.now, one: run.now[other], other: run.now[one]}
        if not opening or (_agrees(known, after) and not _agrees(known, run.now)):
            run.swap(run.due)
    _compare(said, run)
    run.reported.update(said)
    if swap and len(known) > 1 and len(set(swap) & set(said)) == 1:
        left_out = swap[0] if swap[0] not in said else swap[1]
        run.flag("holding_left_out", f"{' and '.join(swap)} swap, but what {left_out} has then is left out")


def _tell_gifts(text: str, run: _Run) -> int:
    """Take in swaps told as giving; returns where the last one ends, because what is said before held before it.

    Both halves of a swap may be told, and one that was told already may be told once more. One half alone is a swap
    only where that pair is due.
    """
    end = 0
    for giver, receiver, comes_back, stop in run.reader.gifts(text):
        pair = frozenset((giver, receiver))
        is_due = run.due is not None and pair == set(run.due)
        other_half = run.giver == receiver and not comes_back
        restated = pair == run.pair and (run.told or other_half or not is_due)
        if not restated and (is_due or comes_back):
            _tell_swap((giver, receiver), run)
            run.giver = giver
        elif not restated:
            continue
        end, run.told = stop, True
    return end


def _tells_one_more(known: Mapping[str, str], run: _Run) -> bool:
    """Whether a step goes on with the holdings after the last swap: a list of one person a line, or several people at
    once where those of one that swapped were not said yet.
    """
    new = set(known) - run.reported
    half_said = bool(run.reported & run.pair) and bool(new & run.pair)
    return bool(new) and (len(known) == 1 or half_said) and _agrees(known, run.now)


def _tell_swap(swap: tuple[str, str], run: _Run) -> None:
    told = " and ".join(swap)
    if run.due is None:
        run.flag("wrong_swap", f"there is no further swap, but {told} swap here")
    elif set(run.due) != set(swap):
        run.flag("wrong_swap", f"the next swap is between {' and '.join(run.due)}, not {told}")
    run.swap(swap)


def _agrees(said: Mapping[str, str], now: Mapping[str, str]) -> bool:
    return all(now[person] == thing for person, thing in said.items())


def _compare(said: Mapping[str, str | None], run: _Run) -> None:
    """Flag every stated holding that is not the one after the swaps so far, and follow the rationale from there."""
    swaps = f"{run.done or 'no'} swap{'s' * (run.done > 1)}"
    for person, thing in said.items():
        if thing is None:
            run.flag("unknown_object", f"{person} is given something that is not in the game", 0.5)
        elif thing != run.now[person]:
            run.flag("wrong_holding", f"after {swaps}, {person} has {run.now[person]}, not {thing}")
            run.now[person] = thing


def _check_answer(text: str, run: _Run) -> None:
    stated, asked = run.stated_option(text), run.game.asked
    thing = run.reader.thing(stated[1]) if stated else None
    if stated and asked and thing is not None and thing != run.now[asked]:
        message = f"{asked} ends with {run.now[asked]}, but option ({stated[0]}) is {thing}"
        run.flag("answer_differs", message)
