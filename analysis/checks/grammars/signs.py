"""Equalities in words, put into signs at the same offsets, and bold type taken off: "3 + 4 is 7" -> "3 + 4 =  7".

A verb becomes an equals sign only behind a calculation and before a number that ends there: "the sum of 2 and 3 is 5" and
"7 - 4 is 2 less than 5" stay as they are. Spoken operators are signs already (`plain_text`).
"""

from __future__ import annotations

import re

_NEGATIVE = re.compile(r"\bnegative(?=\s{1,3}[\d(\[])", re.I)
_SIGN = r"[-+*/×÷·−–]"
_NUMBER = r"\d[\d,.]{0,40}"
_VERB = re.compile(
    rf"(?<=[\d)\]\s]){_SIGN}\s{{0,12}}[-−–(\[ ]{{0,12}}(?:{_NUMBER}|[A-Z])[)\] ]{{0,12}}"
    r"(?P<verb>,?\s{0,3}(?<=[\s)\],])(?:which\s{1,3})?"
    r"(?:equals|is\s{1,3}equal\s{1,3}to|is|gives(?:\s{1,3}us)?|makes|becomes|comes\s{1,3}to|evaluates\s{1,3}to|simplifies\s{1,3}to|yields))"
    rf"(?=\s{{1,5}}[-−–(\[ ]{{0,6}}{_NUMBER}[)\]\s*]{{0,6}}(?:$|[.,;:!\n=]|{_SIGN}|(?:and|so|then|which|now|next|is|equals)\b))",
    re.I,
)
_SPOKEN = re.compile(
    r"\b(?:sum|product|difference|quotient|add|subtract|multiply|divide|(?:add|subtract|multiply|divid)ing)\b[^.;\n]{0,120}\Z", re.I
)
"""In "the sum of 2 and 3 times 4 is 14" the verb belongs to more than the calculation before it."""
_BOLD = re.compile(r"(?:(?<=^)|(?<=[\s:(=]))(?:\*\*|__)(?=[^\s*_])|(?<=[^\s*_])(?:\*\*|__)(?=$|[\s.,;:)])", re.M)


def in_signs(text: str) -> str:
    """`text` with equalities in words as signs, without bold type; as long as before, so offsets hold."""
    if "**" in text or "__" in text:
        text = _BOLD.sub("  ", text)
    text = _NEGATIVE.sub("-       ", text)
    at = 0
    while found := _VERB.search(text, at):  # one result may begin the next calculation
        start, at = found.span("verb")
        if not _SPOKEN.search(text[max(0, start - 140) : found.start()]):
            text = text[:start] + "=".rjust(at - start) + text[at:]
    return text
