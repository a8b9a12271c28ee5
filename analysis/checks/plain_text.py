"""Text as models write it -> plain text with the same meaning: Unicode digits and signs, LaTeX, bold print, spoken operators.

    "so \\\\(\\\\frac{1}{2} \\\\cdot 48 = 24\\\\)" -> "so ((1)/(2)) * 48 = 24 "

A dollar sign stays where it is one of money; around a formula it goes. Displays and their line breaks become new lines, so that one
formula does not run into the next. What is not understood becomes a sign of its own (`UNREAD`), which no expression can hold.
Every pattern is bounded: the work is linear in the length.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

MAX_CHARS = 20_000
"""Text of one step or question beyond this is not read."""
UNREAD = "¿"
_ESCAPED_DOLLAR = "\x01"

_SIGNS = str.maketrans(
    {"−": "-", "–": "-", "‒": "-", "﹣": "-", "—": " , ", "×": "*", "✕": "*", "·": "*", "⋅": "*", "∙": "*", "÷": "/"}
    | {"∗": "*", "✖": "*"}
    | {"∕": "/", "⁄": "/", "’": "'", "°": " degrees ", "≅": "≈", "≃": "≈", "。": ". ", "、": ", ", "｡": ". ", "…": f" {UNREAD} "}
    | {chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)}
)
_SUPERSCRIPT = re.compile(r"(?<=[0-9a-zA-Z)])[⁰¹²³⁴-⁹⁻]{1,9}")
_LATEX = re.compile(r"\\[a-zA-Z]{1,40}\*?|\\[\s\S]|[{}]|[^\\{}]+|\\")
_COMMANDS = (
    dict.fromkeys(("times", "cdot", "ast", "*"), "*")
    | dict.fromkeys(("left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "displaystyle", "limits", "!", "hline"), "")
    | dict.fromkeys(("large", "Large"), "")
    | dict.fromkeys((",", ";", ":", " ", "\n", "quad", "qquad", "(", ")", "&"), " ")
    | dict.fromkeys(("[", "]", "\\", "therefore", "because", "newline", "par"), "\n")
    | dict.fromkeys(("approx", "simeq", "cong"), "≈")
    | dict.fromkeys(("rightarrow", "Rightarrow", "implies", "to", "longrightarrow", "Longrightarrow"), "→")
    | dict.fromkeys(("sin", "cos", "tan", "log", "ln", "exp", "max", "min", "det", "lim"), " log ")
    | {"gcd": "gcd", "lcm": "lcm"}
    | {"div": "/", "ne": "≠", "neq": "≠", "equiv": "≡", "mod": " mod ", "bmod": " mod ", "circ": " degrees ", "pi": "π"}
    | {"%": "%", "$": _ESCAPED_DOLLAR, "#": "#", "_": "_", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "{": "(", "}": ")"}
)
_BRACED: Mapping[str, tuple[tuple[str, str], ...]] = (
    dict.fromkeys(("text", "mathrm", "mathbf", "textbf", "textit", "mathit", "boxed", "fbox", "mbox", "emph"), (("", ""),))
    | dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), (("((", ")"), ("/(", "))")))
    | dict.fromkeys(("binom", "dbinom", "tbinom"), (("C(", ","), ("", ")")))
    | {"sqrt": (("√(", ")"),), "pmod": ((" (mod ", ")"),), "tag": ((" ; (", ")"),), "underline": (("", ""),)}
    | {"begin": (("\n\0", "\0"),), "end": (("\n\0", "\0"),)}
)
"""What is written around each braced argument of a command."""
_CALLED = (
    ("right", re.compile(r"\\left\s?\|([^|\n]{1,100}?)\\right\s?\|"), r"abs(\1)"),
    ("|", re.compile(r"(?<![\w)\]}|])(?<!\|\n)\|(\d[\d.]{0,9})( ?)-\2(\d[\d.]{0,9})\|"), r"abs(\1 - \3)"),
    ("choose", re.compile(r"\{\s?(\d{1,4})\s?\\choose\s?(\d{1,4})\s?\}"), r"C(\1, \2)"),
    ("log_", re.compile(r"\\?\blog_\{?(\d{1,3})\}?\s?(?:\\left)?\("), r"logbase(\1, "),
    ("⌊", re.compile(r"⌊([^⌊⌋⌈⌉\n]{1,80})⌋"), r"floor(\1)"),
    ("⌈", re.compile(r"⌈([^⌊⌋⌈⌉\n]{1,80})⌉"), r"ceil(\1)"),
    ("rfloor", re.compile(r"\\lfloor\b((?:(?!\\[lr](?:floor|ceil))[^\n]){1,80})\\rfloor\b"), r"floor(\1)"),
    ("rceil", re.compile(r"\\lceil\b((?:(?!\\[lr](?:floor|ceil))[^\n]){1,80})\\rceil\b"), r"ceil(\1)"),
)
"""Absolute values, binomial coefficients, logarithms and whole parts -> CALLS of `calculation.py`; the first column is part of each
spelling. No blank is written before them: "(5) floor(" would begin with a label."""
_INDEX = re.compile(r"\[(\d{1,2})\]")
_LISTED = re.compile(r"\\\)\s{0,3}[-•]\s{0,3}\\\(")
"""Between the items of a list in one line: "\\\\(x = 3\\\\) - \\\\(x = 4\\\\)"."""
_SHORT = (re.compile(r"\s?(\d)(?!\d)"), re.compile(r"\s?(\d)\s?(\d)"))
"""One and two arguments of a digit without braces."""
_MIXED = re.compile(r"(?<=\d)\(\((\d{1,6})\)/\((\d{1,6})\)\)")
"""A fraction that touches a whole number: a mixed number, or a product."""
_ENVIRONMENT = re.compile("\0[^\0]{0,40}\0(?:\\{[^{}\n]{0,20}\\})?")
_BOLD = re.compile(r"(?<![\w)*])\*\*(?=[^\s*])((?:[^*\n]|\*(?!\*)){1,200})\*\*(?![\w(*])")
_NUMBERED = re.compile(r"^[ \t]{0,20}\([0-9]{1,3}\)[ \t]{1,20}(?![-+*/=^(])", re.M)
_BLANK_LINES = re.compile(r"[ \t]*\n[ \t\n]*")
_SPOKEN = re.compile(
    r"(?:(?<=[\d)%\]])|(?<=\b[A-Z]))\s{1,5}((?i:plus|minus|times|multiplied by|divided by))\s{1,5}(?=[\d($\[-]|negative\b|[A-Z]\b)"
)
_NEGATIVE = re.compile(r"\bnegative\s{1,3}(?=[\d(\[])", re.I)
_SPOKEN_SIGNS = {"plus": " + ", "minus": " - ", "times": " * ", "multiplied by": " * ", "divided by": " / "}
_NAMED_SIGNS = re.compile(r"\b(sqrt)\s?(?=\()|\b(rs)\.?\s?(?=\d)|(?<=\d) (per ?cent)\b(?= of \d)", re.I)
_RUPEES = re.compile(r"rs\.?\s?\d")
_THOUSANDS = re.compile(r"(?<=\d) (?=000\b)")


def plain(text: str) -> str:
    """The plain form of the first MAX_CHARS characters of a text."""
    text = text[:MAX_CHARS]
    if not text.isascii():
        text = _SUPERSCRIPT.sub(_power, text.translate(_SIGNS))
        text = "".join(map(_plain_character, text))[:MAX_CHARS] if not text.isascii() else text
    for part, spelling, call in _CALLED:
        if part in text:
            text = spelling.sub(call, text)
    if "\\" in text or "^{" in text or "_{" in text:
        text = _without_latex(_LISTED.sub("\n- ", text))
    if "&" in text:
        text = text.replace("&=", "=").replace("=&", "=").replace("&", " ")
    if "$" in text:
        text = _without_math_dollars(text)
    text = text.replace(_ESCAPED_DOLLAR, "$")
    if "**" in text:
        text = _BOLD.sub(r"\1", text)
    if "(" in text:
        text = _NUMBERED.sub("", text)
    if "\n" in text:
        text = _BLANK_LINES.sub("\n", text).replace("\n=", " =")
    lower = text.lower()  # the patterns begin in several ways, which is slow to look for in each text
    if any(sign in lower for sign in _SPOKEN_SIGNS):
        text = _SPOKEN.sub(lambda spoken: _SPOKEN_SIGNS[spoken[1].lower()], text)
    if "negative" in lower:
        text = _NEGATIVE.sub("-", text)
    if "sqrt" in lower or "cent of" in lower or _RUPEES.search(lower):
        text = _NAMED_SIGNS.sub(lambda name: "√₹%"[(name.lastindex or 1) - 1], text)
    return _THOUSANDS.sub("", text) if " 000" in text else text


def _power(superscript: re.Match[str]) -> str:
    return f"^({unicodedata.normalize('NFKC', superscript.group()).translate(_SIGNS)})"


def _plain_character(character: str) -> str:
    if character.isascii() or (character.isalpha() and not character.isnumeric()):
        return character
    if character.isdecimal():
        return str(unicodedata.decimal(character))
    if unicodedata.category(character) == "No" and "VULGAR FRACTION" in unicodedata.name(character, ""):
        return " " + unicodedata.normalize("NFKC", character).replace("⁄", "/")
    if character.isnumeric():  # a number in a circle, a Chinese one, a superscript of nothing
        return UNREAD
    return " " if character.isspace() else "" if unicodedata.category(character) == "Cf" else character


def _without_latex(text: str) -> str:
    """One pass with a stack of open braces; each knows what to write at its end and what its command still waits for."""
    written: list[str] = []
    waiting: tuple[tuple[str, str], ...] = ()
    open_braces: list[tuple[str, tuple[tuple[str, str], ...]]] = []
    name = ""
    for match in _LATEX.finditer(text):
        piece = match.group()
        if piece == "{":
            (before, behind), waiting = (waiting[0], waiting[1:]) if waiting else (_bare_braces(written), ())
            written.append(before)
            open_braces.append((behind, waiting))
            waiting = ()
        elif piece == "}":
            behind, waiting = open_braces.pop() if open_braces else ("", ())
            written.append(behind)
        elif piece[0] == "\\":
            name = piece[1:]
            waiting = _BRACED.get(name, ())
            if not waiting:
                written.append(_COMMANDS.get(name, f" {UNREAD} " if len(name) != 1 or name.isalpha() else name))
                if name == "left" and len(written) > 1:
                    written[-2] = written[-2].rstrip(" ")
        elif waiting and name == "sqrt" and (index := _INDEX.fullmatch(piece)):
            waiting = (("((", f")^(1/{index[1]}))"),)
        elif waiting and not piece.isspace():
            short = _SHORT[len(waiting) - 1].match(piece)
            digits = zip(short.groups(), waiting, strict=True) if short else [(UNREAD, ("", ""))]
            written += [f"{before}{digit}{behind}" for digit, (before, behind) in digits]
            written.append(piece[short.end() if short else 0 :])
            waiting = ()
        else:
            written.append(piece)
    text = "".join(written).replace("^ degrees ", " degrees ").replace("^( degrees )", " degrees ")
    return _ENVIRONMENT.sub("\n", _MIXED.sub(r" \1/\2", text))


def _bare_braces(written: list[str]) -> tuple[str, str]:
    """Braces without a command: an exponent, or nothing ("1{,}000")."""
    return ("(", ")") if written and written[-1].endswith("^") else ("", "")


def _without_math_dollars(text: str) -> str:
    """Dollar signs around a formula as blanks. Money has none behind its number: "$20 - $13 = $9", "$5 and $x = 3$"."""
    text = text.replace("$$", "\n")
    kept = list(text)
    opening = -1
    for match in re.finditer(r"\$", text):
        place = match.start()
        before, after = text[place - 1 : place] if place else " ", text[place + 1 : place + 2] or " "
        may_close = before not in " \n=+*/(-" and not after.isalnum() and not re.match(r"\.\d", text[place + 1 : place + 3])
        if opening >= 0 and may_close and place - opening < 300 and "\n" not in text[opening:place]:
            kept[opening] = kept[place] = " "
            opening = -1
        elif before.isspace() and after in " \n,;:?!)":
            kept[place] = " "
        elif not after.isspace():
            opening = place
    return "".join(kept)
