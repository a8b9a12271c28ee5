"""Lists of words as word sorting writes them: `"a" < ["b" ? "c"] < "d"`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

MAX_WORDS = 400
_TOKEN = re.compile(
    r"\((?P<number>\d{1,4})\)|[\"“](?P<quoted>[^\"“”]{1,60})[\"”]|(?P<bare>[A-Za-z][\w'’-]*)|(?P<sign>[\[\]?<=>])|(?P<other>[^\s,])"
)
_OTHER_ORDER = re.compile(r"\breverse|\bdescending|\bbackwards?\b|\blength|\blongest\b|\bshortest\b|\bz\s?(?:-|to)\s?a\b", re.I)
_QUOTED = re.compile(r"^[\"“'‘](.+)[\"”'’]$")
_PROMPT = re.compile(r"^.*?(?:list|words?|alphabetical\w*|order|sort)\s*:\s*(?:list\s*:)?", re.I | re.S)


@dataclass
class Ordering:
    """One "a < [b ? c] < d": groups in order, a group being one word or several whose order is still open."""

    groups: list[list[str]] = field(default_factory=list)
    numbers: list[int | None] = field(default_factory=list)
    """The number in brackets before each group, None where there is none."""
    signs: set[str] = field(default_factory=set)
    start: int = 0
    """Where it begins in the text."""
    _number: int | None = None
    """Before the next group."""
    _inside: bool = False
    """The next word stands in a bracket with the one before."""
    _joins: bool = False
    """A "?" or "=" joins the next word to the group before."""

    @property
    def words(self) -> list[str]:
        """All words in the order they are written."""
        return [word for group in self.groups for word in group]

    @property
    def open_groups(self) -> list[list[str]]:
        """The groups that are not sorted yet."""
        return [group for group in self.groups if len(group) > 1]

    @property
    def is_list(self) -> bool:
        """More than a lone word."""
        return bool(self.words) and (bool(self.signs) or bool(self.open_groups))

    def add(self, kind: str, token: str, start: int) -> None:
        """Go on with a word, a number in brackets or a sign."""
        sign = token if kind == "sign" else ""
        if kind == "number":
            self._number = self._number if self._inside else int(token)
        elif sign == "]":
            self._inside = False
        elif sign and sign != "[":
            self.signs.add(sign)
            self._joins = not self._inside and sign in "?=" and bool(self.groups)
        else:
            self.start = self.start if self.groups else start
            if sign or not self.groups or not (self._inside or self._joins):
                self.groups.append([])
                self.numbers.append(self._number)
                self._number = None
            if sign:
                self._inside = True
            else:
                self.groups[-1].append(token)
                self._joins = False

    def close(self) -> Ordering:
        """Leave out empty groups."""
        kept = [(group, number) for group, number in zip(self.groups, self.numbers, strict=True) if group]
        self.groups, self.numbers = [group for group, _ in kept], [number for _, number in kept]
        return self


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


def orderings(text: str, known: Collection[str]) -> Iterator[Ordering]:
    """Every list like `"a" < ["b" ? "c"]` in `text`; bare words count where nothing is quoted."""
    quoted = '"' in text or "“" in text
    order = Ordering()
    for match in _TOKEN.finditer(text + ";"):
        kind = match.lastgroup or "other"
        word = fold(match[kind])
        if kind == "quoted" or (kind == "bare" and not quoted and word in known):
            order.add(kind, word, match.start())
        elif kind in ("number", "sign"):
            order.add(kind, match[kind], match.start())
        else:
            if order.is_list:
                yield order.close()
            order = Ordering()
