"""A reading -> sparse features that tie each operator to the words around its operands.

"Ann has 3 boxes of 4 pens each" with 3 * 4 gives, among others, `*|n:boxes`, `*|p:of`, `*|n:each`; an unused 4 gives
`unused|n:pens`. A linear model over them learns which operation the wording of a question asks for. Features are hashed
with CRC-32, so nothing has to be shipped but weights.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from analysis.checks.equations import Equation
from analysis.checks.generic.known import key
from analysis.checks.numbers import show
from analysis.checks.reading import Mention, Reading
from analysis.soundness.features import STOP_WORDS, question_view

SIZE = 2**15
"""Length of the hashed vector."""
MAX_EQUATIONS = 60
_LOGARITHMS = np.log1p(np.arange(4096.0))
_WORD = re.compile(r"[a-z']+|#|\$|%|[.?!,]")
_DIGITS = re.compile(r"\d[\d,.]*")
_SENTENCE = re.compile(r"(?:[^.?!]|\.(?=\d))+[.?!]?")
_TELLING = {"1", "2", "3", "4", "5", "7", "10", "12", "24", "30", "52", "60", "100", "365", "0.5"}


@lru_cache(maxsize=4096)
def _contexts(text: str, mentions: tuple[Mention, ...]) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """For each number of the question: words beside it, and content words of its sentence."""
    found = []
    sentences = [(match.start(), match.end()) for match in _SENTENCE.finditer(text)]
    for mention in mentions:
        before = _WORD.findall(_DIGITS.sub("#", text[max(0, mention.start - 40) : mention.start].lower()))[-3:]
        stop = mention.start + len(mention.text)
        after = _WORD.findall(_DIGITS.sub("#", text[stop : stop + 45].lower()))[:3]
        start, end = next(((a, b) for a, b in sentences if a <= mention.start < b), (0, 0))
        sentence = set(_WORD.findall(text[start : min(end, start + 300)].lower())) - STOP_WORDS
        beside = tuple([f"p:{word}" for word in before] + [f"n:{word}" for word in after])
        found.append((beside, tuple(f"s:{word}" for word in sorted(sentence))))
    return tuple(found)


class Relations(NamedTuple):
    """The relational features of a rationale."""

    numbers: list[str]
    """Of numbers and operators."""
    words: list[str]
    """That look at the words of the steps."""
    by_step: list[list[str]]
    """What the equations of each step add to `numbers`."""


def relations(reading: Reading) -> Relations:
    """The relational features of a rationale; equations beyond `MAX_EQUATIONS` are left out."""
    view = question_view(reading.question)
    mentions = reading.question.mentions[:60]
    contexts = _contexts(reading.question.text, tuple(mentions))
    places: dict[str, int] = {}
    for index, mention in enumerate(mentions):
        places.setdefault(key(mention.value), index)
    state = _State(mentions, contexts, places)
    signs: list[str] = []
    wording: list[str] = []
    by_step: list[list[str]] = []
    for step in reading.steps:
        start = len(state.features)
        said = [word for word in step.words if word not in STOP_WORDS][:12] if step.equations else []
        for equation in step.equations[: MAX_EQUATIONS - len(signs)]:
            state.add(equation, step.text)
            signs.append(equation.operators if len(set(equation.operators)) > 1 else equation.operators[:1])
            wording += [f"{equation.operators[:1]}|w:{word}" for word in said]
        by_step.append(state.features[start:])
    state.finish()
    features = state.features
    asked = _WORD.findall(view.asked[:400])
    last = signs[-1] if signs else "none"
    features += [f"last{last}|{word}" for word in [*asked, *(f"{a}_{b}" for a, b in pairwise(asked))]]
    if reading.answer is not None:
        form = "whole" if reading.answer == int(reading.answer) else "fraction"
        features += [f"answer {form}|{word}" for word in asked[:6]]
    features += [f"order {a} {b}" for a, b in pairwise(signs)]
    features += [f"order {a} {b} {c}" for a, b, c in zip(signs, signs[1:], signs[2:], strict=False)]
    features.append("all " + " ".join(signs)[:12])
    features.append(f"count {min(len(signs), 6)}")
    said_words = {word for step in reading.steps if not step.is_answer for word in step.words}
    features += _asked_and_counted(view.content, min(len(signs), 4))
    wording += [("said:" if word in said_words else "unsaid:") + word for word in view.content]
    return Relations(features, wording, by_step)


@lru_cache(maxsize=8192)
def _asked_and_counted(content: frozenset[str], equations: int) -> list[str]:
    return [feature for word in content for feature in (f"question:{word}", f"count {equations}|{word}")]


class _State:
    """Features so far, with which numbers of the question and which results were used."""

    def __init__(
        self,
        mentions: list[Mention],
        contexts: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...],
        places: dict[str, int],
    ):
        self.features: list[str] = []
        self.mentions, self.contexts, self.places = mentions, contexts, places
        self.used: set[int] = set()
        self.results: dict[str, int] = {}
        self.tails: list[list[str]] = []
        self.used_results: set[int] = set()

    def add(self, equation: Equation, text: str) -> None:
        sources: list[tuple[str, str]] = []
        for number, operand in enumerate(equation.operands[:20]):
            sign = equation.operators[max(0, number - 1)]
            side = sign if sign in "+*" else sign + ("L" if number == 0 else "R")
            sources.append(self._operand(operand.value, sign, side))
        if len(sources) == 2:
            (kind_a, noun_a), (kind_b, noun_b) = sources
            whole = equation.operators
            self.features += [
                f"{whole}|{kind_a}{kind_b}",
                f"{whole}|same {noun_a == noun_b}",
                f"{whole}|{noun_a}|{noun_b}",
            ]
        start = text.find(equation.result_text) if equation.result_text else -1
        tail = text[start + len(equation.result_text) :][:40] if start >= 0 else text[:40]
        self.results[key(equation.result)] = len(self.tails)
        self.tails.append(_WORD.findall(tail.lower())[:2])

    def _operand(self, value: float, sign: str, side: str) -> tuple[str, str]:
        name = key(value)
        place, result = self.places.get(name), self.results.get(name)
        if result is not None and (place is None or place in self.used):
            self.used_results.add(result)
            tail = self.tails[result]
            self.features.append(f"{side}|result")
            self.features += [f"{side}|r:{word}" for word in tail]
            return "r", tail[0] if tail else ""
        if place is None:
            shown = show(value)
            self.features.append(f"{side}|c:{shown if shown in _TELLING else '?'}")
            return "c", ""
        if place in self.used:
            self.features.append(f"{side}|again")
        self.used.add(place)
        mention = self.mentions[place]
        beside, sentence = self.contexts[place]
        self.features += [f"{side}|{word}" for word in beside]
        self.features += [f"{sign}|{word}" for word in sentence]
        self.features.append(f"{side}|noun {mention.noun}")
        if mention.money:
            self.features.append(f"{side}|money")
        if mention.word:
            self.features.append(f"{side}|word {mention.text.lower()}")
        if mention.percent:
            self.features.append(f"{side}|percent")
        return "q", mention.noun

    def finish(self) -> None:
        """Numbers and results that nothing used."""
        for place, mention in enumerate(self.mentions):
            if place not in self.used:
                kind = "unused word" if mention.word else "unused"
                self.features += [kind, *(f"{kind}|{word}" for word in self.contexts[place][0])]
                if mention.word:
                    self.features.append(f"{kind} {mention.text.lower()}")
        for place, tail in enumerate(self.tails[:-1]):
            if place not in self.used_results:
                self.features += ["unused result", *(f"unused result|{word}" for word in tail)]


@lru_cache(maxsize=4096)
def hashed_question(words: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Hashed words and pairs of words of a question."""
    return hashed([*words, *(f"{a} {b}" for a, b in pairwise(words))])


@lru_cache(maxsize=200_000)
def slot(feature: str) -> int:
    return zlib.crc32(feature.encode("utf-8", "replace")) % SIZE


def hashed(features: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
    """(indices, values) of the hashed vector: log(1 + count), scaled to length 1."""
    return _vector(Counter(map(slot, features)))


def hashed_pair(
    features: Iterable[str], more: Iterable[str]
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The hashed vectors of some features, and of these and more."""
    counts = Counter(map(slot, features))
    first = _vector(counts)
    counts.update(map(slot, more))
    return first, _vector(counts)


def _vector(counts: Counter[int]) -> tuple[np.ndarray, np.ndarray]:
    indices = np.fromiter(counts.keys(), dtype=np.int64, count=len(counts))
    values = _LOGARITHMS[np.minimum(np.fromiter(counts.values(), dtype=np.int64, count=len(counts)), 4095)]
    norm = math.sqrt(values @ values)
    return indices, values / norm if norm else values
