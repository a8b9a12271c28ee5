"""Word sorting: put a list of words into alphabetical order, letter position by letter position.

The rules: the order of two words is that of their first differing characters; every word of the list is kept, as
often as it occurs; a letter named as the second of a word is its second, and its number is its place in the alphabet;
a group that is still open ("[a ? b]") must be sorted before the list is called sorted; what was found for a group
shows in the next full list. Punctuation inside words ("we're") may be counted or skipped: only orders that are wrong
both ways are flagged.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import pairwise

from analysis.checks.base import MAX_STEP_CHARS, Finding, Run
from analysis.checks.grammars.order_words import ORDINALS
from analysis.checks.grammars.word_lists import Ordering, fold, misplaced, orderings, parse_question, plain, requote, show

_FACT = re.compile(
    r"(?:[\"“]([^\"“”]{1,60})[\"”]|\b([A-Za-z][\w'’&.-]{0,59}))\s{0,5}:\s*[\"“']?([A-Za-z'’&.-])[\"”']?\s*\((\d{1,3})\)"
)
_LETTER = re.compile(rf"\b({'|'.join(ORDINALS)})\s+letters?\b", re.I)
_ANSWER = re.compile(r"\b(?:answer|sorted list|final (?:list|order))\s*(?:is|:)\s*:?\s*(.+)", re.I | re.S)
_RESULT = re.compile(r"\b(?:sorted(?: list| order| words)?|(?:alphabetical )?order(?: is)?)\s*:\s*(.+)", re.I | re.S)
_ITEM = re.compile(r"[\s\-*•]{0,8}(?:\(?\d{1,3}[.):]?\s{1,4})?[\"“*]{0,3}([A-Za-z][\w'’&.-]{0,59}?)[\"”*,;.]{0,3}\s{0,8}")
"""A step that is one word of a list, perhaps numbered."""
_NEXT_SENTENCE = re.compile(r"(?<=[a-z])[.!]\s+(?=[A-Z])")
_SORTED = re.compile(r"\bsorted all\b|\banswer\b", re.I)


@dataclass
class _Run(Run):
    words: list[str]
    known: set[str]
    respelled: dict[str, str] = field(default_factory=dict)
    """A word the rationale spells in another way -> the word of the list."""
    current: Ordering | None = None
    """The last full list."""
    subpart: list[str] | None = None
    position: int = 0
    """Which letter is looked at, 0-based."""
    sorted_subpart: Ordering | None = None


def check(question: str, steps: Sequence[str], answer: str | None, choices: Mapping[str, str]) -> Finding | None:
    """First step with a wrong letter or order, a lost or new word. Abstains when no step lists the question's words."""
    words = parse_question(question)
    if words is None:
        return None
    run = _Run(words, set(words))
    texts = [requote(step[:MAX_STEP_CHARS]) for step in steps]
    for places, text in _columns_joined(texts, run):
        run.step = places[-1]
        _check_facts(text, run)
        if re.search(r"\bsort (?:this|the) (?:subpart|sublist|group|part)\b", text, re.I):
            _check_subpart(text, run)
        else:
            _check_orderings(text, run)
        _check_answer(places, text, run)
    if answer and run.readable and not run.answered:
        run.step = len(steps) - 1
        _check_answer((run.step,), f"answer: {answer[:MAX_STEP_CHARS]}", run)
    return run.conclude()


def _columns_joined(steps: Sequence[str], run: _Run) -> Iterator[tuple[tuple[int, ...], str]]:
    """(indices, text) of the steps; a column of at least half the words, one word a step, becomes one list with the index
    of each word. A column in the order of the question only restates it.
    """
    column: list[tuple[int, str]] = []
    for index, text in [*enumerate(steps), (len(steps), "")]:
        bare = _ITEM.fullmatch(text)
        if bare and fold(bare[1]) in run.known:
            column.append((index, fold(bare[1])))
            continue
        words = [word for _, word in column]
        if len(words) > 2 and len(words) * 2 >= len(run.words):
            if words != run.words or words == sorted(words):
                yield tuple(place for place, _ in column), "answer: " + ", ".join(words)
        else:
            yield from (((place,), steps[place]) for place, _ in column)
        column = []
        if index < len(steps):
            yield (index,), text


def _check_facts(text: str, run: _Run) -> None:
    """Letters and their numbers: `"coset": "o" (15)`."""
    named = _LETTER.findall(text)
    if named:
        run.position = ORDINALS.index(named[-1].lower())
    told: Counter[str] = Counter()
    for quoted, bare, letter, number in _FACT.findall(text):
        run.readable += 1
        word, letter = fold(quoted or bare), letter.lower()
        told[word] += 1
        choices = _letters(word, run.position)
        if not choices and letter.isalpha():
            run.flag("wrong_letter", f'"{word}" has no {ORDINALS[run.position]} letter')
        elif choices and letter not in choices:
            right = word[run.position] if run.position < len(word) else min(choices)
            run.flag("wrong_letter", f'the {ORDINALS[run.position]} letter of "{word}" is "{right}", not "{letter}"')
        elif letter.isalpha() and int(number) != ord(letter) - 96:
            run.flag("wrong_letter_number", f'"{letter}" is letter {ord(letter) - 96} of the alphabet, not {number}')
    if run.current is None and len(told) > len(set(run.words)) // 2:
        _check_kept(told, run)


def _letters(word: str, position: int) -> set[str]:
    """What may count as a letter of a word: with the punctuation inside it and without."""
    return {spelling[position] for spelling in (word, plain(word)) if position < len(spelling)}


def _check_kept(told: Counter[str], run: _Run) -> None:
    """A full list has the words of the question, each as often. A respelled word is softly flagged, once."""
    wanted = Counter(run.words)
    told = Counter(run.respelled.get(word, word) for word in told.elements())
    missing, extra = sorted((wanted - told).keys()), sorted((told - wanted).keys())
    for word in [word for word in extra if word not in run.known][:10]:
        original = next((lost for lost in missing if SequenceMatcher(None, word[:60], lost[:60]).ratio() > 0.7), None)
        if original is not None:
            run.flag("word_changed", f'"{original}" of the list became "{word}"', 0.5)
            run.respelled[word] = original
            run.known.add(word)
            missing.remove(original)
            extra.remove(word)
    if missing:
        run.flag("word_lost", f"{show(missing)} of the list {'is' if len(missing) == 1 else 'are'} missing")
    if extra:
        reason = "listed too often" if set(extra) <= run.known else "not in the list"
        run.flag("word_added", f"{show(extra)} {'is' if len(extra) == 1 else 'are'} {reason}")


def _check_subpart(text: str, run: _Run) -> None:
    """ "Now let's sort this subpart [...]": it is an open group, and no open group before it is left behind."""
    subpart = next((order for order in orderings(text, run.known) if order.open_groups), None)
    if subpart is None:
        return
    run.readable += 1
    run.subpart, run.sorted_subpart = subpart.words, None
    if run.current is None:
        return
    unsorted = run.current.open_groups
    if not any(set(group) == set(run.subpart) for group in unsorted):
        strangers = [word for word in run.subpart if word not in run.known]
        if strangers:
            run.flag("word_added", f"{show(strangers)} is not in the list")
        else:
            run.flag("not_a_group", f"{show(run.subpart)} is not a group that is still open")
    elif set(unsorted[0]) != set(run.subpart):
        run.flag("group_skipped", f"{show(unsorted[0])} are left unsorted")


def _check_orderings(text: str, run: _Run) -> None:
    for order in orderings(text, run.known):
        run.readable += 1
        behind = order.start + sum(map(len, order.words))
        partial = bool(re.match(r"[^.]{0,40}\bsubpart\b", text[behind:][:80])) or (
            run.subpart is not None and set(order.words) == set(run.subpart)
        )
        if partial and run.subpart is not None:
            _check_partial(order, run)
            continue
        if len(order.words) * 2 < len(run.words):
            _check_sequence(order, run)
            continue
        _check_kept(Counter(order.words), run)
        _check_sequence(order, run)
        if run.current is None and not run.position:
            _check_numbers(order, 0, run)
        _check_progress(order, run)
        run.current = order


def _check_partial(order: Ordering, run: _Run) -> None:
    """What was found for the subpart: its words, all of them, in an order that the letters give."""
    assert run.subpart is not None
    told, wanted = Counter(order.words), Counter(run.subpart)
    if told - wanted:
        run.flag("word_added", f"{show(sorted((told - wanted).keys()))} is not in this group")
    if wanted - told:
        run.flag("word_lost", f"{show(sorted((wanted - told).keys()))} of this group is missing")
    _check_sequence(order, run)
    _check_numbers(order, run.position, run)
    run.sorted_subpart = order
    if run.current is not None:
        groups: list[list[str]] = []
        for group in run.current.groups:
            groups += order.groups if len(group) > 1 and set(group) == set(run.subpart) else [group]
        run.current = Ordering(groups, [None] * len(groups), run.current.signs)


def _check_numbers(order: Ordering, position: int, run: _Run) -> None:
    """A number before a group is the place of the letter looked at; words under one number share that letter."""
    for group, number in zip(order.groups, order.numbers, strict=True):
        if number is None:
            continue
        for word in group:
            letters = _letters(word, position)
            if letters and all(letter.isalpha() and ord(letter) - 96 != number for letter in letters):
                right = word[position] if position < len(word) else min(letters)
                message = f'the {ORDINALS[position]} letter of "{word}" is "{right}" ({ord(right) - 96}), not number {number}'
                shared = {plain(other)[position : position + 1] for other in group}
                run.flag("wrong_letter_number", message, 1.0 if len(shared) > 1 else 0.5)
                return


def _check_sequence(order: Ordering, run: _Run) -> None:
    """No word of a group belongs after a word of the next; open groups hold words whose order is open."""
    if ">" in order.signs:
        return
    for group, following in pairwise(order.groups):
        before, after = max(group), min(following)
        if misplaced(before, after):
            run.flag("wrong_order", f'"{after}" comes before "{before}"')
            return


def _check_progress(order: Ordering, run: _Run) -> None:
    """The new full list shows what was found for the subpart."""
    result = run.sorted_subpart
    if result is not None and run.subpart is not None and len(result.groups) > 1:
        still = next((group for group in order.open_groups if set(group) >= set(run.subpart)), None)
        if still is not None:
            run.flag("result_not_used", f"{show(still)} is still open here, though it was just sorted")
    place = {word: number for number, group in enumerate(order.groups) for word in group}
    for group in run.current.open_groups if run.current else ():
        if len({place.get(word) for word in group}) > 1:
            run.flag("order_not_shown", f"{show(group)} are put into an order that was not worked out")
            break
    run.subpart = run.sorted_subpart = None


def _check_answer(places: Sequence[int], text: str, run: _Run) -> None:
    """The words of an answer, all of them, in order. `places` are the indices of its words, or the one of the whole."""
    stated = _ANSWER.search(text) or (None if "<" in text else _RESULT.search(text))
    unsorted = run.current.open_groups if run.current and _SORTED.search(text) else []
    listed = _listed(_NEXT_SENTENCE.split(stated.group(1))[0], run.known) if stated else []
    if not stated and not {"<", "?"} & set(text):
        bare = _listed(text, run.known)
        restated = run.step == 0 and bare == run.words != sorted(bare)
        listed = bare if len(bare) == len(run.words) and set(bare) <= run.known and not restated else []
    if listed:
        run.readable += 1
        run.answered = True
        _check_kept(Counter(listed), run)
        for number, (before, after) in enumerate(pairwise(listed), start=1):
            if misplaced(before, after):
                run.step = places[number] if len(places) == len(listed) else run.step
                run.flag("wrong_order", f'"{after}" comes before "{before}"')
                break
    if unsorted:
        run.step = places[-1]
        run.flag("group_skipped", f"{show(unsorted[0])} are left unsorted")


def _listed(text: str, known: set[str]) -> list[str]:
    """Words of a plain list ("apple, fig" or "1. apple 2. fig"); empty when fewer than half of the known words are in it."""
    words = [fold(word) for word in re.split(r"[\s,<]+", text) if word and not re.fullmatch(r"\(?\d+[.):]?|[-*•]", word)]
    words = [word if word in known else word.strip("\"“”'*") for word in words]
    words = [word for word in words if word in known or word != "and"]
    return words if len(set(words) & known) * 2 >= len(known) else []
