r"""The answer that somebody else's rationale states, where no column has it.

    #### 5     \boxed{5}     <answer>5</answer>     The answer is 5.     Final Answer:\n5     **5**     A: 5     </think>5

Nothing is guessed: where a text states none, states two that differ, takes one back or hedges ("I think the answer is 7, but"),
or where what it states cannot be read whole, the answer is not known, and so is whether it is right. A run's own attempts are
read by their task (`star.grading.extraction`), which knows what form was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from star.grading import answer_type_of, is_right
from star.grading.extraction import MARK, boxes, corrects, extract_marked, split_thought, without_emphasis
from star.grading.numbers import parse_number
from star.grading.verdicts import choice_of, plain_text
from star.problem import AnswerType

MOST = 20_000
"""Characters at the end of a text that are looked at."""
MOST_SPANS = 30
"""Statements of an answer that are compared."""
LONGEST = 300
"""Characters of an answer."""
_STATEMENT = re.compile(
    r"\b(?:answer|(?:correct|right|best) (?:option|choice))\b(?: to th(?:e|is) (?:question|problem))?"
    r"(?:(?:[ *_]{0,3}(?:is|was|:|=)(?!\w))+|(?<=final answer)[*_ ]{0,3}(?=\n))[\s*_:]{0,5}"
    r"(?P<span>(?:(?!\banswer\b)[^\n]){1,300})",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\b(?:this|that|its|his|her|their|each|another|wrong|incorrect|previous)\s+$", re.IGNORECASE)
"""What stands before "answer" where nothing is answered: "this answer is greater than 10"."""
_TAGGED = re.compile(r"<answer>\s*(.{1,300}?)\s*</answer>", re.IGNORECASE | re.DOTALL)
_BOLD = re.compile(r"\*\*(?P<span>[^*\n]{1,80})\*\*[.!]?$")
_LAST_LINE = re.compile(
    r"(?:^|\n)[ \t]*(?:(?:step \d{1,3}: *)?#### *|(?:A|ans|solution|result): *(?:(?:choice|option)[ _])?)(?P<span>[^\n]{1,300})$",
    re.IGNORECASE,
)
"""The closing line of a solution: "A: 26", "Solution: Choice_B", "Step 6: #### 81"."""
_NEXT_QUESTION = re.compile(r"\n[ \t]*(?:Q|Question ?\d{0,4})[:.]", re.IGNORECASE)
_HEDGED = re.compile(
    r"\b(?:if|not|but|either|maybe|perhaps|possibly|probably|think|thought|guess|assum\w+|suppose|would|might|may|could|wrong)\b|n['’]t\b",
    re.IGNORECASE,
)
_TAKEN_BACK = re.compile(r"\W*(?:but|or|if|wait|no|unless|is|was|isn['’]t)\b", re.IGNORECASE)
_CLAUSE = re.compile(r"[.!?,;:](?=\s)")
_SENTENCE = re.compile(r"[.!](?=\s)")
_MARKS: Mapping[AnswerType, str] = {
    "text": r"[,;](?=\s)|\s[-–—]+\s|\s\((?=[a-z]+ [a-z])",
    "choice": r"\s[-–—]+\s",
    "number": r"[,;](?=\s+(?:[A-Za-z]{2}|i\.e|e\.g))|\s\(|(?<=[a-z] )(?:in|per|every|for|over|during)\b|\b(?:rather|instead)\b",
    "math": r"[,;](?=\s+[A-Za-z]{2})",
    "addition": r"[,;]",
}
_REASON = {
    kind: re.compile(rf"\s*(?:{marks}|\b(?:because|since|as|which|who|where|so|given)\b)", re.IGNORECASE)
    for kind, marks in _MARKS.items()
}
"""Begins what is said beside an answer: "yes, because dogs bark"."""
_LABELS = re.compile(r"[(\[]([A-Za-z0-9])[)\]]|\b([B-Z])\b")
_LABEL = re.compile(r"[(\[]?(?P<label>[A-Za-z0-9])(?:[)\].:,]|\s+[-–—]|$)")

_VALUE = re.compile(r"\d|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|\w+teen|\w+ty|hundred|dozen)\b", re.IGNORECASE)

Span = tuple[int, int, str]
"""Where a statement begins and ends, and what it says."""


def answer_in(text: object, gold: object, choices: Mapping[str, str] | None = None) -> str | None:
    """The answer that a text states, of the type of the gold answer's looks; None where none can be told.

    Words that are not the gold answer but hold it, or are held by it ("on Monday", "Paris" for "Paris, France"), are none either:
    whether they are right cannot be told.
    """
    if not isinstance(text, str):
        return None
    wanted = "" if gold is None else str(gold)
    kind = answer_type_of(wanted, choices)
    answer = _stated(text, kind, choices, wanted)
    if answer is None or kind != "text" or not wanted or is_right(answer, wanted) is not False:
        return answer
    one, other = (" ".join(["", *re.findall(r"\w+", plain_text(each)), ""]) for each in (answer, wanted))
    return None if min(one, other).strip() and (one in other or other in one) else answer


def _stated(text: str, kind: AnswerType, choices: Mapping[str, str] | None, wanted: str) -> str | None:
    thought, said = split_thought(text)
    said = said[-MOST:]
    if MARK in said:
        marked = extract_marked(said, numbers=kind == "number")
        if marked.strict or "\n" in (marked.lenient or ""):  # which is two answers
            return _readable(marked.strict or "", kind, choices, wanted)
    answer, ended = None, 0
    for start, end, span in _spans(said, kind, has_thought=bool(thought)):
        read = _readable(span, kind, choices, wanted)
        if read is None:
            return None
        if answer not in (None, read) and is_right(read, answer, choices) is not True and not corrects(said[ended:start]):
            return None
        place = said.find(read, start)
        answer, ended = read, end if place < 0 else place + len(read)
    return None if answer is not None and corrects(said[ended:]) else answer


def _spans(said: str, kind: AnswerType, *, has_thought: bool) -> list[Span]:
    """The statements of an answer, in order; an empty one, which cannot be read, where a text hedges."""
    spans = [(found.start(), found.end(), found[1]) for found in _TAGGED.finditer(said)] + boxes(said)
    for found in _STATEMENT.finditer(said):
        before = said[max(0, found.start() - LONGEST) : found.start()].rpartition("\n")[2]
        if _ASIDE.search(before) or any(start <= found.start() < end for start, end, _ in spans):
            continue
        hedged = _HEDGED.search(_CLAUSE.split(before)[-1] + said[found.start() : found.start("span")])
        span = "" if hedged else found["span"]
        if hedged or not (boxes(span) or (kind == "number" and not _VALUE.search(span))):  # a box is there already
            spans.append((found.start(), found.start("span"), span))
    is_short = kind in ("number", "choice", "addition") and not _NEXT_QUESTION.search(said)
    if not spans and is_short and (last := _BOLD.search(said.rstrip()) or _LAST_LINE.search(said.rstrip())):
        spans = [(last.start(), last.end(), last["span"])]
    if not spans and has_thought and "\n" not in said:
        spans = [(0, len(said), said)]
    return sorted(spans)[-MOST_SPANS:]


def _readable(span: str, kind: AnswerType, choices: Mapping[str, str] | None, wanted: str) -> str | None:
    """The answer that a span is, without what is said beside it; None where it is not one answer, or takes it back."""
    said = _SENTENCE.split(span.strip(), maxsplit=1)[0]
    if kind in ("text", "math"):
        for whole in map(_bare, (span, said)):  # "St. Louis", "Paris, France"
            if is_right(whole, wanted):
                return whole
    cut = _REASON[kind].split(said, maxsplit=1)[0]
    if "? " in said or _TAKEN_BACK.match(said[len(cut) :]):
        return None
    left, _, right = cut.rpartition("=")
    for part in map(_bare, (said, cut, right) if kind == "number" else (cut,)):
        if not part or len(part) > LONGEST or "\n" in part:
            continue
        if kind == "choice":
            return _option(part, choices or {})
        if kind != "number" or parse_number(part) is not None:
            other = parse_number(left) is not None and is_right(left, part) is not True  # 60 minutes = 1 hour
            return None if other and part == _bare(right) else part
    return None


def _bare(span: str) -> str:
    return without_emphasis(span.strip()).rstrip(".!,;").strip()


def _option(part: str, choices: Mapping[str, str]) -> str | None:
    """`part` where it names one option, else the label that it begins with."""
    if choice_of(part, choices):
        return part
    label = _LABEL.match(part)
    others = {one or other for one, other in _LABELS.findall(part[label.end() :])} if label else set()
    return label["label"] if label and choice_of(label["label"], choices) and not others & set(choices) else None
