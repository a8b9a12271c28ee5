"""Whether a text says that something before it was wrong: "Sorry, ...", "That can't be", "~~27~~ 24"."""

from __future__ import annotations

import re

_SORRY = re.compile(
    r"\b(?:apolog|sorry|mistake|errors?\b|incorrect|typo|oops|correction|misc(?:alc|ount)|misstat|misread|inaccura"
    r"|wrong(?=\s*(?:[^\w\s]|$)|\s(?:number|value|calculation|answer|result|total|sum|amount|step|line|equation|here|there|in)\b)"
    r"|but wait|wait,|hold on(?: a \w{3,8})?[^\w\s]|scratch that|my bad\b|edit(?:ed)?:|let me (?:verify|check|re-?do)\b"
    r"|(?:not|isn[’']t) (?:quite )?(?:right|correct|accurate|true)\b|(?:i|we) meant|correct(?:ed|ing)\b|confusion"
    r"|(?:does|did)(?:n[’']t| not) (?:(?:look|seem|sound) (?:quite )?right|add up)\b"
    r"|(?:that|this|it) (?:can[’']t|cannot|couldn[’']t) be(?= (?:right|correct|true)\b|\s*(?:[^\w\s]|$))"
    r"|flaw(?:s|ed)? in (?:the|my|our|this|that)\b|off by (?:an?|one|two|three|ten|\d+)\b"
    r"|upon (?:closer |further )?(?:review|inspection|reflection)|on (?:closer|further|second) (?:review|inspection|look|thought)"
    r"|should (?:be|have been|actually|equal)\b|(?:it|this|that|which|line|step) should (?:read|say)\b"
    r"|re-?(?:calc|check|compute|evaluate|examine)|double[- ]check"
    r"|(?:correct|actual|right) (?:answer|calculation|number|result|value|equation|total|amount)"
    r"|try (?:this |that |it )?again"
    r"|actually,? (?:it|that|the|there|\d))"
    r"|~~[^~\n]{1,80}~~"
)


def says_so(text: str) -> bool:
    """Whether a text says that something before it was wrong."""
    return _SORRY.search(text.lower()) is not None
