"""Lists of words as word sorting writes them: `"a" < ["b" ? "c"] < "d"`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

MAX_WORDS = 400
_TOKEN = re.compile(
    r"\((?P<number>\d{1,4})\)|[\"“](?P<quoted>[^\"“”]{1,60})[\"”]|(?P<bare>[A-Za-z][\w'’-]*)|(?P<sign>[\[\]?<=>])|(?P<other>[^\s,])"
)
_OTHER_ORDER = re.compile(r"\breverse|\bdescending|\bbackwards?\b|\blength|\blongest\b|\bshortest\b|\bz\s?(?:-|to)\s?a\b", re.I)
_QUOTED = re.compile(r"^[\"“'‘](.+)[\"”'’]$")
_PROMPT = re.compile(r"^.*?(?:list|words?|alphabetical\w*|order|sort)\s*:\s*(?:list\s*:)?", re.I | re.S)


@dataclass(frozen=True)
class Ordering:
    """One "a < [b ? c] < d": groups in order, a group being one word or several whose order is still open."""

    groups: tuple[tuple[str, ...], ...]
    numbers: tuple[int | None, ...]
    """The number in brackets before each group, None where there is none."""
    signs: frozenset[str]

    @property
    def words(self) -> list[str]:
        """All words in the order they are written."""
        return [word for group in self.groups for word in group]

    @property
    def open_groups(self) -> list[tuple[str, ...]]:
        """The groups that are not sorted yet."""
        return [group for group in self.groups if len(group) > 1]


def parse_question(question: str) -> list[str] | None:
    """The words to sort; None when the question is no plain list of words (a leading "Sort ...: List:" is allowed)."""
    text = question.strip()
    prompt = _PROMPT.match(text) if ":" in text[:300] else None
    if prompt and _OTHER_ORDER.search(prompt.group()):
        return None
    text = text[prompt.end() :].strip(" []()\n") if prompt else text
    words = [_QUOTED.sub(r"\1", word) for word in text.replace(",", " ").split()]
    if not 2 <= len(words) <= MAX_WORDS or any(not re.fullmatch(r"[A-Za-z][\w'’&.-]{0,59}", word) for word in words):
        return None
    if not prompt and (text[:1].isupper() and text[-1:] in ".?!"):
        return None
    return [fold(word) for word in words]


_SINGLE = re.compile(r"(?<![\w'’])['‘]([A-Za-z][\w.-]{0,59}(?:['’][a-z]{1,2})?)['’](?!\w)")


def requote(text: str) -> str:
    """Words in single quotes, in double ones."""
    return text if '"' in text or "“" in text else _SINGLE.sub(r'"\1"', text)


def fold(word: str) -> str:
    return word.replace("’", "'").strip(".,;").lower()


def plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word)


def misplaced(before: str, after: str) -> bool:
    """True when `before` must come after `after`, with and without the punctuation inside words."""
    return before > after and plain(before) > plain(after)


def show(words: Sequence[str]) -> str:
    return ", ".join(f'"{word[:40]}"' for word in words[:5]) + (" ..." if len(words) > 5 else "")


def orderings(text: str, known: Collection[str]) -> Iterator[tuple[int, Ordering]]:
    """Every list like `"a" < ["b" ? "c"]` in `text` with its offset; bare words count where nothing is quoted."""
    quoted = '"' in text or "“" in text
    part = _Part()
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "other"
        token = match.group(kind)
        if kind == "quoted" or (kind == "bare" and not quoted and fold(token) in known):
            part.add_word(fold(token), match.start())
        elif kind == "number" and not part.inside:
            part.number = int(token)
        elif kind == "sign":
            part.add_sign(token, match.start())
        elif kind != "number":
            if part.is_list():
                yield part.start, part.ordering()
            part = _Part()
    if part.is_list():
        yield part.start, part.ordering()


class _Part:
    """A list while it is being read."""

    def __init__(self) -> None:
        self.start = 0
        self.groups: list[list[str]] = []
        self.numbers: list[int | None] = []
        self.signs: set[str] = set()
        self.number: int | None = None
        self.inside = self.joins = False
        """Within brackets; after a "?" or "=" that joins the next word to the group before."""

    def add_word(self, word: str, start: int) -> None:
        """Append a word to the open group, or as a group of its own."""
        if (self.inside or self.joins) and self.groups:
            self.groups[-1].append(word)
        else:
            self._open(start)
            self.groups[-1].append(word)
        self.joins = False

    def add_sign(self, sign: str, start: int) -> None:
        """A bracket opens or closes a group; "?" and "=" outside brackets join two words into one."""
        if sign == "[":
            self._open(start)
            self.inside = True
        elif sign == "]":
            self.inside = False
        else:
            self.signs.add(sign)
            self.joins = not self.inside and sign in "?=" and bool(self.groups)

    def is_list(self) -> bool:
        """True for more than a lone word."""
        return any(self.groups) and (bool(self.signs) or any(len(group) > 1 for group in self.groups))

    def ordering(self) -> Ordering:
        """What was read, without empty groups."""
        kept = [(tuple(group), number) for group, number in zip(self.groups, self.numbers, strict=True) if group]
        return Ordering(tuple(group for group, _ in kept), tuple(number for _, number in kept), frozenset(self.signs))

    def _open(self, start: int) -> None:
        if not self.groups:
            self.start = start
        self.groups.append([])
        self.numbers.append(self.number)
        self.number = None
