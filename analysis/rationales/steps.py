"""A rationale -> its steps.

One step per line ("48 / 2 = 24\\n48 + 24 = 72"), headed steps ("Step 1: ...", "1. ..."; their continuation lines belong
to them), sentences of a paragraph, scratchpad lines, GSM8K's calculator marks ("48/2 = <<48/2=24>>24") and LaTeX, whose
displays may hold line breaks and full stops that end nothing. The text is kept as it is, apart from the white space around
each step.
"""

from __future__ import annotations

import itertools
import re

_HEADING = re.compile(
    r"[ \t>*_#-]{0,6}(?:step[ \t]{0,3}\#?(?P<step>\d{1,5})\b|\#(?P<hash>\d{1,5})\.|\(?(?P<item>\d{1,5})[.)](?=[ \t*]))", re.I
)
_CLOSING = re.compile(
    r"[\s*]{0,4}(?:solution|(?:final )?answer(?=:)|a(?=:)|(?:so,? |therefore,? |thus,? )?the (?:final )?answer is|####)(?=[:\s*])",
    re.I,
)
"""A line that states the answer is a step of its own."""
_INLINE_STEP = re.compile(r"(?<!\w)step[ \t]{0,3}(\d{1,5})[ \t]{0,3}[:.)-]", re.I)
_INLINE_ITEM = re.compile(r"(?:(?<=^)|(?<=\s))\(?(\d{1,5})[.)](?=\s)")
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([a-zA-Z]{1,20}\*?)\}|\\([\[\]])|(\$\$)")
_SENTENCE_END = re.compile(r"(?<=[.!?。！？])[\"'”’)\]]{0,3}\s+(?=[\"'“‘(\[$\\<*-]{0,3}[^\Wa-z_]|[$\\<(\[\"“])")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:mr|mrs|ms|dr|st|jr|sr|prof|vs|e\.g|i\.e|eg|ie|etc|approx|no|fig|eq|oz|lb|lbs|ft|in|hr|hrs|min|sec|cf|al"
    r"|a\.m|p\.m|u\.s|[A-Z])\.$",
    re.I,
)


def split_steps(text: str) -> list[str]:
    """The steps of a rationale, in order; empty for blank text. Linear in the length of the text.

    Headed steps win over lines, and lines over sentences: several lines are one step each, a single line is cut into
    its inline "Step k:" or "k." headings, else into its sentences.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n")
    lines = [line.strip() for line in _join_displays(text.split("\n"))]
    lines = [line for line in lines if line]
    if len(lines) > 1:
        return _join_headed(lines)
    if not lines:
        return []
    for pattern in (_INLINE_STEP, _INLINE_ITEM):
        pieces = _split_inline(lines[0], pattern)
        if pieces:
            return pieces
    return _split_sentences(lines[0])


def _join_displays(lines: list[str]) -> list[str]:
    """Put the lines of one LaTeX display or environment into one line. A display that never closes is left in lines."""
    joined: list[str] = []
    pending: list[str] = []
    depth = 0
    dollars = False
    for line in lines:
        for match in _ENVIRONMENT.finditer(line):
            if match[4]:
                dollars = not dollars
            elif match[1] == "begin" or match[3] == "[":
                depth += 1
            else:
                depth = max(0, depth - 1)
        pending.append(line)
        if depth == 0 and not dollars:
            joined.append("\n".join(pending))
            pending = []
    return joined + pending


def _join_headed(lines: list[str]) -> list[str]:
    """Lines -> steps: where at least two lines carry consecutive headings, a line without one continues its step."""
    numbers: list[int | None] = []
    kinds: list[str | None] = []
    for line in lines:
        match = _HEADING.match(line)
        kind = match.lastgroup if match else None
        kinds.append(kind)
        numbers.append(int(match[kind]) if match and kind else None)
    kind = next(
        (k for k in ("step", "hash", "item") if _counts_up([n for n, j in zip(numbers, kinds, strict=True) if j == k])), None
    )
    if kind is None:
        return lines
    steps: list[str] = []
    started = False
    for line, line_kind in zip(lines, kinds, strict=True):
        if line_kind == kind or not started or _CLOSING.match(line):
            steps.append(line)
            started = started or line_kind == kind
        else:
            steps[-1] += "\n" + line
    return steps


def _counts_up(numbers: list[int | None]) -> bool:
    return (
        len(numbers) >= 2 and numbers[0] in (0, 1) and all(b == a + 1 for a, b in itertools.pairwise(numbers) if a is not None)
    )


def _split_inline(line: str, pattern: re.Pattern[str]) -> list[str]:
    """Cut one line before its headings 1, 2, 3, ...; empty unless at least two of them count up from 1."""
    starts: list[int] = []
    for match in pattern.finditer(line):
        if int(match[1]) == len(starts) + 1:
            starts.append(match.start())
    if len(starts) < 2:
        return []
    cuts = [0, *starts, len(line)] if starts[0] else [*starts, len(line)]
    pieces = [line[a:b].strip() for a, b in itertools.pairwise(cuts)]
    return [piece for piece in pieces if piece]


def _split_sentences(line: str) -> list[str]:
    """Sentences of a paragraph; full stops in numbers, abbreviations and formulas end nothing."""
    steps: list[str] = []
    start = 0
    dollars = 0
    counted = 0
    for match in _SENTENCE_END.finditer(line):
        dollars += line.count("$", counted, match.start())
        counted = match.start()
        if _ABBREVIATION.search(line[max(start, match.start() - 12) : match.start()]):
            continue
        inside_formula = dollars % 2 == 1 and _is_formula(line)
        bare_number = re.fullmatch(r"\s*\(?\d{1,5}[.)]", line[start : min(match.start(), start + 12)])
        if inside_formula or (bare_number and match.start() - start < 12):
            continue
        steps.append(line[start : match.end()].strip())
        start = match.end()
    steps.append(line[start:].strip())
    return [step for step in steps if step]


def _is_formula(line: str) -> bool:
    """Whether the dollar signs of a line delimit formulas ("$x = 2$") rather than amounts of money ("$5")."""
    return line.count("$") % 2 == 0 and bool(re.search(r"\$[^$\d\s]|\\[a-zA-Z]{2}", line))
