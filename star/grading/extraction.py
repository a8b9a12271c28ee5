r"""Completion -> answer span, under two contracts, and what else a task reads out of a completion.

    marked   the last line is `#### SPAN`                    numbers, texts, mathematics (the form of GSM8K's own answers)
    stated   the last sentence is `The answer is SPAN.`      choices

The strict span is what stands in that last line or sentence; text after it breaks the contract, unless it says the same answer
again. What stands between the tags of a thought (<think>...</think>, see THOUGHT) is rationale, never an answer; `#### Step 1`
is a heading. Two statements that differ are a correction if a sentence between them opens with "Wait", "Actually", "That is
wrong" or the like: then the last one counts. Without one, or where a question or a line `Answer:` stands between them, nobody
can say which was meant, so the strict span is everything from the first to the last one, which no grader accepts. A new
question after the answer ("Question: ...", "Q: ...") is run-on text of a model that did not stop: it is cut off first.

The lenient span is the best guess from any text: statement, box, bold text, or last candidate; `curation.accept` says whether it
counts. It too is everything that was said where a statement behind the answer line says something else.
"""

from __future__ import annotations

import re
from itertools import accumulate, pairwise

from star.grading.numbers import TOKENS, parse_number
from star.grading.verdicts import same_text
from star.problem import Extraction

MARK = "####"
STOP = ("\nQuestion:",)
"""Ends a completion of a base model, which goes on with the next question of its own accord."""
MAX_BOXES = 30
"""Boxes of a text that are looked at, from its end."""
MAX_LINE = 2_000
"""Characters of an answer line that are looked at: more is no answer."""

THOUGHT = re.compile(
    r"<(?P<end>/)?(?:\w{1,9}:)?(?:think|thinking|thought|reasoning)>"
    r"|(?-i:\[(?P<end_of_mistral>/)?THINK\]|◁(?P<end_of_kimi>/)?think▷"
    r"|(?:<\|start\|>assistant)?<\|channel\|>(?:(?P<end_of_harmony>final)|analysis|commentary)\b[^\n]{0,99}?<\|message\|>)",
    re.IGNORECASE,
)
"""A tag that begins or ends a thought (`lastgroup`: ends). Of gpt-oss (harmony) the channel `final` ends what the others begin."""
_HEADING = re.compile(
    r"(?:\d{1,2}[.):] ?)?(?:step|part|case|solution|answer|final|explanation|calculat|conclusion|understand|summary|method"
    r"|verif|check|problem|analysis|set ?up|find|determin|comput|identif|result|total|reason|given|think|observ|approach|simplif"
    r"|first|then|next|count|apply|solv|consider|introduc|plan|substitut|evaluat)\w*\b.*|.*\w:",
    re.IGNORECASE,
)
_WORDS = re.compile(r"[^\W\d_]{2}")
_WEIGHED = re.compile(r"\b(?:or|not|maybe|perhaps|either|unknown|none|no)\b", re.IGNORECASE)
_NUMBERED = re.compile(r"\d{1,2}[.)] [^\W\d]")
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)\w*[ \t]*$", re.MULTILINE)
_SAID_AGAIN = re.compile(
    r"(?:(?:so|thus|therefore|hence),? )?(?:(?:the )?(?:(?:final|correct) )?answer(?: is)?:? ?)?(?P<span>\S.*)", re.IGNORECASE
)
_BOLD = re.compile(r"\*\*([^*\n]{1,80})\*\*")
_NEXT_QUESTION = re.compile(r"\n[ \t]*(?:\*\*|#+ ?)?Question(?: ?\d{1,4})?(?:\*\*)?:")
_NEXT_SPEAKER = re.compile(
    r"\n[ \t]*(?:\*\*|#{1,3} )?(?:Q|Problem|Exercise|Input|Human|User|Example|Instruction|Task)(?: ?\d{1,4})?(?:\*\*)?[:.][ \t\n]"
)
_CORRECTION = re.compile(
    r"(?:^|[.!:;…])[\s*_(]{0,9}(?:(?:but|oh|ah|and|so),? )?"
    r"(?:(?:wait|actually|oops|sorry|hmm+|correction|corrected|on second thought|my mistake)\b|no[,.:!]"
    r"|(?:that|this|it|the above)(?: answer)?(?:'s| is| was) (?:(?:all )?(?:wrong|incorrect|not right)|an? (?:mistake|error))\b"
    r"|(?:i|we)(?:'ve| have)? (?:made|see|noticed?|found) (?:an?|my|the|that) (?:\w{1,20} )?(?:mistake|error)\b"
    r"|i was wrong\b|let (?:me|us) (?:re-?check|re-?calculate|redo|reconsider|correct|fix|check|try again)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_RUN_ON = re.compile(r"\?|^[ \t*#]{0,9}(?:answer|solution)[ \t*]{0,9}:", re.IGNORECASE | re.MULTILINE)
_STATEMENT = re.compile(
    r"(?:(?:Therefore|Thus|So|Hence|Then|Finally|Accordingly|Consequently)\b,? {0,3})?"
    r"\bThe (?:(?:correct|final|best|right|most likely) ){0,2}answer is:?[ \t]+(?=\S)",
    re.IGNORECASE,
)
_END_MARKS = re.compile(r"(?<![.!?;:,])[.!?;:,]{1,9}$")
_LAST_MARKS = re.compile(r"(?:(?<=\s)|^)[*_`]{1,3}$")
_STARRED = re.compile(r"[^\W\d_]\*$|\^\*$")
"""A* and z^* are names, not half an emphasis."""
_SENTENCE_END = re.compile(r"[.!?](?=\s)")
_BOXED = re.compile(r"\\boxed\s{0,3}\{((?:[^{}]|\{(?:[^{}]|\{[^{}]{0,200}\}){0,200}\}){1,400})\}")
_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])\s{0,9}")
_ANSWER_WORD = re.compile(r"\banswer\b(?P<says>(?: is| was|:| =)*[ \t:]*)(?P<span>(?:(?!\banswer\b)[^\n]){1,200})", re.IGNORECASE)
_ASIDE = re.compile(
    r"[;(]|,(?!\d)|\b(?:because|since|which|not|instead|rather)\b|(?<=[a-z] )(?:in|per|every|for|over|during)\b", re.IGNORECASE
)
"""Begins what is said beside a number: "58 apples, not 60"."""
_MORE = re.compile(
    r"\\(?:sqrt|[dt]?frac|pi|cdot|times)|[\^√!<>]|\d[a-zA-Z]\b|\b(?:or|not|either|half|twice|double)\b|n['’]t\b", re.IGNORECASE
)
"""Makes another number of one, or takes it back."""
_TAG = re.compile(r"</?\w{1,9}>")
_NUMBER = re.compile(r"[-−]?[$€£]?\d(?:[\d,]{0,60}\d)?(?:\.\d{1,60})?(?:\s?/\s?\d{1,30})?%?")
_LABEL = re.compile(r"[(\[]([A-Za-z0-9]{1,2})[)\]]")


def split_thought(completion: str) -> tuple[str, str]:
    """What a reasoning model thought, with its tags, and what it said; nothing was said behind a thought that does not end."""
    text = completion.strip().replace("\r\n", "\n")
    text = TOKENS.sub("", text).rstrip() if "<" in text else text
    said_from, said_to = 0, len(text)
    for tag in THOUGHT.finditer(text):
        if tag.lastgroup:
            said_from, said_to = tag.end(), len(text)
        elif said_to == len(text):
            said_to = tag.start()
    if said_to < len(text):
        return (text, "") if not text[said_from:said_to].strip() else (text[:said_from], text[said_from:said_to].strip())
    return text[:said_from], text[said_from:].strip()


def cut_run_on(text: str, answered_at: int | None) -> str:
    """`text` up to the next question that follows an answer at position `answered_at`, and without rules or fences at its end."""
    if answered_at is not None and answered_at < len(text):
        for header in (_NEXT_QUESTION, _NEXT_SPEAKER):
            match = header.search(text, answered_at)
            text = text[: match.start()] if match else text
    lines = text.rstrip().split("\n")
    while len(lines) > 1 and set(lines[-1].strip()) <= set("-*_=`~"):
        lines.pop()  # the rule between the answer and the next question
    return "\n".join(lines)


def _without_repeats(text: str, span: str | None, end: int) -> str:
    """`text` up to position `end`, where all that follows says the answer `span` again; else `text` as it is."""
    rest = [line.strip() for line in text[end:].split("\n") if line.strip()]
    if span is None or not rest or len(rest) > 3:
        return text
    said = [match["span"] for line in rest if (match := _SAID_AGAIN.fullmatch(line.strip("*_ ")))]
    return text[:end] if len(said) == len(rest) and all(_says(each, span) for each in said) else text


def _says(one: str, other: str) -> bool:
    """Whether two spans are the same number, or the same text."""
    a, b = parse_number(one), parse_number(other)
    if a and b:
        return a.values == b.values
    return same_text(*(_BOXED.sub(r"\1", span).strip("$. ") for span in (one, other)))


def _joined(thought: str, rationale: str) -> str:
    """A rationale of thought and words, without a fence that was left open around the answer."""
    fences = list(_FENCE.finditer(rationale))
    if len(fences) % 2:
        rationale = rationale[: fences[-1].start()] + rationale[fences[-1].end() :].lstrip("\n")
    return "\n".join(part for part in (thought.strip(), rationale.strip()) if part)


def corrects(between: str) -> bool:
    """True when the text between two answers takes the first one back, and is not the next question."""
    return bool(_CORRECTION.search(between.replace("’", "'"))) and not _RUN_ON.search(between)


def boxes(text: str) -> list[tuple[int, int, str]]:
    r"""(start, end, content) of the last boxes: \boxed{}, \fbox{} or `\boxed 2`, braces matched; one without an end is left out."""
    last = list(_BOX.finditer(text))[-MAX_BOXES:]
    found = [(box.start(), box.end(), _boxed(text[box.end() : box.end() + MAX_LINE])) for box in last]
    return [(start, end + len(content), content) for start, end, content in found if content]


def last_boxed(text: str) -> str | None:
    """What stands in the last box of a worked solution; None where there is none, or it has no end."""
    rest = _BOX.split(text)[-1] if _BOX.search(text) else ""
    return _boxed(rest)


def _boxed(rest: str) -> str | None:
    """The content of a box from its brace on, or of one without braces."""
    if not rest.startswith("{"):
        return re.split(r"[$\s]", rest, maxsplit=1)[0].rstrip(".,") or None
    depths = accumulate((character == "{") - (character == "}") for character in rest)
    stop = next((place for place, depth in enumerate(depths) if depth == 0), None)
    return None if stop is None else rest[1:stop].strip() or None


def extract_marked(completion: str, *, numbers: bool) -> Extraction:
    """Spans after `####`; with `numbers` the lenient span is the last number rather than the last line."""
    thought, text = split_thought(completion)
    stated = _STATEMENT.search(text) if MARK not in text else None
    lines = (text := cut_run_on(text, stated.end() if stated else None)).split("\n")
    last = len(lines) - 1
    marked = [n for n, line in enumerate(lines) if MARK in line and _is_answer_line(line, is_last=n == last, numbers=numbers)]
    if marked:
        text = cut_run_on(text, sum(len(line) + 1 for line in lines[: marked[0]]))
        count = text.count("\n") + 1
        last = max(index for index in marked if index < count)
        end = sum(len(line) + 1 for line in lines[: last + 1]) - 1
        text = _without_repeats(text, _marked_span(lines[last]), end)
        lines = text.split("\n")
        marked = [index for index in marked if index < len(lines)]
    strict, rationale = None, text
    if marked and marked[-1] == len(lines) - 1:
        start = _first_of_equals(lines, marked)
        strict = _marked_span(lines[-1])
        rationale = "\n".join(lines[:start])
        doubtful = next((a for a, b in pairwise(marked) if not _agree(lines, a, b)), None)
        if doubtful is not None:
            strict = "\n".join(lines[doubtful:])[:MAX_LINE]
    elif marked and all(_agree(lines, a, b) for a, b in pairwise(marked)):
        rationale = "\n".join(line for index, line in enumerate(lines) if index not in marked)
    elif MARK in lines[-1]:
        rationale = text.rpartition(MARK)[0]
    return Extraction(_joined(thought, rationale), strict, strict or _lenient_marked(text, numbers))


def _is_answer_line(line: str, *, is_last: bool, numbers: bool) -> bool:
    """Whether a line opens with the mark and is no heading of what follows: not `#### Step 1`, but `#### Total: 7`.

    Where the answer is a number, words without one ("Eggs eaten", "Day 1") are a heading, unless they weigh two.
    """
    span = _marked_span(line)
    if span is None or is_last or _NUMBERED.match(span):
        return span is not None and is_last
    heading = _HEADING.fullmatch(span.strip("# *")) or (numbers and _WORDS.match(span) and not _WEIGHED.search(span))
    return not heading or parse_number(span) is not None


def _marked_span(line: str) -> str | None:
    stripped = line.strip()
    if stripped.startswith(("*", "`")):
        stripped = stripped.strip("*`").strip()
    if not stripped.startswith(MARK):
        return None
    return without_emphasis(stripped[len(MARK) :].strip()[:MAX_LINE]) or None


def without_emphasis(span: str) -> str:
    """A span without the `**`, `*` or backticks around it, or left over of a pair: it is written into training text."""
    for mark in ("**", "`", "*"):
        end = _END_MARKS.search(span)
        core, end_marks = (span[: end.start()], end[0]) if end else (span, "")
        opens, closes, count = core.startswith(mark), core.endswith(mark), core.count(mark)
        closes = closes and (mark != "*" or opens or not _STARRED.search(core))
        if len(core) > len(mark) and ((count == 2 and opens and closes) or (count == 1 and (opens or closes))):
            span = core.removeprefix(mark).removesuffix(mark).strip() + end_marks
    return span


def _first_of_equals(lines: list[str], marked: list[int]) -> int:
    """Where the closing block of equal answer lines begins: a repeated answer line is no rationale."""
    start, said = marked[-1], _marked_span(lines[-1]) or ""
    for index in reversed(marked[:-1]):
        if not _says(_marked_span(lines[index]) or "", said) or any(line.strip() for line in lines[index + 1 : start]):
            break
        start = index
    return start


def _agree(lines: list[str], one: int, other: int) -> bool:
    """True when two answer lines say the same, or the second one corrects the first."""
    said = [_marked_span(lines[index]) or "" for index in (one, other)]
    return _says(*said) or corrects("\n".join(lines[one + 1 : other]))


def _lenient_marked(text: str, numbers: bool) -> str | None:
    text = text[-20_000:]
    if stated := _stated(text, numbers):
        return stated
    if numbers:
        candidates = _NUMBER.findall(text)
        return str(candidates[-1]) if candidates else None
    last = text.strip().split("\n")[-1].strip()
    return last[:MAX_LINE] or None


def _stated(text: str, numbers: bool) -> str | None:
    after = text.rpartition(MARK)[2].strip().split("\n")[0] if MARK in text else ""
    after = after if _is_answer_line(f"{MARK} {after}", is_last=False, numbers=numbers) else ""
    boxes = _BOXED.findall(text)
    stated = [match["span"] for match in _ANSWER_WORD.finditer(text) if match["says"].strip()]
    bold = [span for span in _BOLD.findall(text.rstrip().rpartition("\n")[2]) if not numbers or parse_number(span)]
    if after and (behind := text.rpartition(MARK)[2].partition("\n")[2]):
        again = [each["span"] for each in _ANSWER_WORD.finditer(behind) if each["says"].strip()]
        again = [span for span in again if span.strip() and (not numbers or _NUMBER.search(span))]
        if again and not _says((_number_said(again[-1]) if numbers else None) or _closed(again[-1]), after):
            return f"{after}\n{behind}"[:MAX_LINE]
    for span in (after, *boxes[-1:], *stated[:-4:-1], *bold[-1:]):
        if not numbers and span.strip():
            return span.strip().rstrip(".")
        if said := _number_said(span):
            return said
    return None


def _number_said(span: str) -> str | None:
    """The number that a statement or box names, as written: all of it, what follows its last "=", what stands before an aside, or
    its only number. All of it too where it names several, takes one back or calculates, which no grader accepts; None without one.
    """
    said = _SENTENCE_END.split(_TAG.sub("", span), maxsplit=1)[0]
    before = _ASIDE.split(said, maxsplit=1)[0]
    for part in (said, said.rpartition("=")[2], before, said.rpartition(" is ")[2], before.partition("=")[0]):
        if parse_number(part) is not None:
            return _closed(part)
    numbers = _NUMBER.findall(said)
    return said if len(numbers) > 1 or (numbers and _MORE.search(said)) else str(numbers[0]) if numbers else None


def extract_stated(completion: str, marker: str | None = None) -> Extraction:
    """Span of the closing `The answer is SPAN.`; a span that shows `marker` was copied from the hint and is none."""
    thought, text = split_thought(completion)
    first = _STATEMENT.search(text)
    text = cut_run_on(text, first.start() if first else None)
    heads = [match for match in _STATEMENT.finditer(text) if _opens_sentence(text, match.start())]
    strict, start = None, len(text)
    if heads and (line_end := text.find("\n", heads[-1].end())) >= 0:
        text = _without_repeats(text, _closed(text[heads[-1].end() : line_end][:MAX_LINE]), line_end)
        start = len(text)
    if heads and "\n" not in text[heads[-1].end() :]:
        start = heads[-1].start()
        strict = _closed(text[heads[-1].end() :][:MAX_LINE])
        between = [text[a.end() : b.start()].rstrip() for a, b in pairwise(heads)]
        said = [*(_closed(_LAST_MARKS.sub("", answer)) for answer in between), strict]
        if len(heads) > 1 and _says(said[-2], strict):
            start = heads[-2].start()
        doubtful = next((n for n, (a, b) in enumerate(pairwise(said)) if not _says(a, b) and not corrects(a)), None)
        if doubtful is not None:
            strict = text[heads[doubtful].end() :][:MAX_LINE]
    if not strict or (marker is not None and marker in strict):
        strict = None
    rationale = _joined(thought, _without_opening(text[:start].strip()))
    return Extraction(rationale, strict, strict or _lenient_stated(text, marker))


def _without_opening(rationale: str) -> str:
    """A rationale without the emphasis that opens at its end, or anywhere in it, and closes behind the answer."""
    rationale = _LAST_MARKS.sub("", rationale)
    before, mark, after = rationale.rpartition("**")
    if mark and rationale.count("**") % 2 and not before[-1:].strip() and after[:1].strip():  # not the power of 2 ** 3
        rationale = before + after
    return rationale.strip()


def _closed(span: str) -> str:
    return without_emphasis(span.strip()).rstrip(".").strip()


def _opens_sentence(text: str, start: int) -> bool:
    before = text[max(0, start - 20) : start].rstrip(" \t*")
    return not before or before[-1] in '.!?\n:)"”'


def _lenient_stated(text: str, marker: str | None) -> str | None:
    lines = [line for line in text[-20_000:].split("\n") if marker is None or marker not in line]
    text = "\n".join(lines)
    stated = [match["span"] for match in _ANSWER_WORD.finditer(text) if match["says"].strip()]
    for span in (*_BOXED.findall(text)[-1:], *stated[-1:]):
        labels = _LABEL.findall(span)
        return f"({labels[0]})" if labels else _closed(_SENTENCE_END.split(span, maxsplit=1)[0]) or None
    labels = _LABEL.findall(text)
    if labels:
        return f"({labels[-1]})"
    last = text.strip().split("\n")[-1].strip()
    return last[:MAX_LINE] or None
