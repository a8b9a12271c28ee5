"""Text of models as Markdown that Streamlit can show: formulas, bold, lists, tables and code, and nothing that leads anywhere.

Everything else is escaped, so that it reads as it was written: links, images, HTML, Streamlit's own directives, headings, single
asterisks between numbers. Addresses and names of icons become code, because the browser's Markdown makes links and icons of bare
ones. A dollar sign opens a formula only where what follows looks like one: "$5 and $10" are prices.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

_FENCE = re.compile(r"^[ \t]{0,3}(```+|~~~+)[ \t]*([\w+#-]{0,20})[^\n]*\n(.*?)(?:^[ \t]{0,3}\1[`~]*[ \t]*$|\Z)", re.M | re.S)
_CODE = re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]{1,500})\1(?!`)")
_DISPLAY = re.compile(r"\$\$(?P<dollars>[^$]{1,5000})\$\$|\\\[(?P<square>.{1,5000}?)\\\]", re.S)
_ENVIRONMENT = re.compile(
    r"(?P<edge>\$?)(?P<whole>\\begin\{(?P<name>[a-z]{1,12}\*?)\}.{0,5000}?\\end\{(?P=name)\})(?P=edge)", re.S
)
_INLINE = re.compile(
    r"\\\((?P<round>.{1,1000}?)\\\)|(?<![\\$\w])\$(?P<dollar>(?! )(?:\\.|[^$\\\n]){1,1000}(?<! ))\$(?![\d$])", re.S
)
_ADDRESS = re.compile(
    r":(?:material_\w+|streamlit):|(?:[a-z][a-z0-9+.-]{1,20}://|www\.)[^\s\U000f0000-\U0010ffff]+|[\w.+-]+@[\w-]+\.[\w.-]+", re.I
)
_BARE = re.compile(r"(?!.*\\[(\[])[^$`\n]{0,200}\\(?:d?frac|sqrt|pi|times|cdot|text|infty|left|begin)\b[^$`\n]{0,300}")
"""An answer or option that is a formula as a whole, without dollar signs."""
PROSE = re.compile(r"[A-Za-z]{2,}[,;.]?\s+[A-Za-z]{2,}")
_WORDS = re.compile(r"\\(?:text|mathrm|textbf|mbox|operatorname)\s*\{[^{}]*\}|\\[a-zA-Z]+")
_REFUSED = re.compile(
    r"[`\U000f0000-\U0010ffff]|\n\s*\n|\\(?:href|url|includegraphics|html\w*|def|gdef|edef|xdef|let|futurelet|newcommand|renewcommand"
    r"|providecommand|rule|kern|mkern|hskip|mskip|hspace|raisebox|above|genfrac|char|unicode|smash|llap|rlap)(?![a-z])",
    re.I,
)
"""What a formula must not do: lead anywhere, define, or take room without bound. It is then shown as code."""
_BOLD = re.compile(r"\*\*(?=\S)([^*\n]{1,500}?)(?<=\S)\*\*")
_ITALIC = re.compile(r"(?<![\w*])\*(?=[A-Za-z])([^*\n]{1,300}?)(?<=[A-Za-z.,!?])\*(?![\w*])")
_HEADING = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+(.{1,300}?)[ \t]*#*$", re.M)
_BULLET = re.compile(r"^([ \t]*)[-*+][ \t]+(?=\S)", re.M)
_RULE = re.compile(r"\s*\|[\s:|-]+\|?\s*")
_SPECIAL = re.compile(r"([\\`*_\[\]()#+\-.!~>$:]|(?<=material)/)")
_MARKED = re.compile(r"\$[^$\n]+\$|\\[(\[]|\\begin\{|\\[a-z]{3,}|\*\*\S|^ {0,3}#{1,6} |^ {0,3}[-*] \S|`|^\|.*\|", re.M)
_CODE_LINE = re.compile(
    r"^\s*(?:(?P<program>def |class |import |from \w+ import |return\b|(?:for|while|if) .+:$|elif |else:|print\("
    r"|#include|public |>>> |[}{]$|\"\"\")|\w+ = )"
)
"""`x = 3` stands in programs and in mathematics, the other beginnings in programs alone."""
FIRST, LONGEST = 0xF0000, 0x20000
"""Private characters, as many as a text may have characters, stand for what is done already; longer texts are only escaped."""


def has_markup(text: str) -> bool:
    """Whether there is anything in a text that Markdown would show in another way."""
    return bool(_MARKED.search(text))


def is_prose(text: str) -> bool:
    """Whether there are words in a row, or letters of another script: nothing whose columns must stand below each other."""
    return bool(PROSE.search(text) or re.search(r"[^\W\d_\x00-\u024f]{2}", text))


def is_code(text: str) -> bool:
    """Whether at least a third of the lines, and two of them, look like a program, and one like nothing else."""
    lines = [line for line in text.splitlines() if line.strip()]
    like = [match for line in lines if (match := _CODE_LINE.match(line))]
    return len(like) >= 2 and 3 * len(like) >= len(lines) and any(match["program"] for match in like) and "```" not in text


def fenced(text: str, language: str = "") -> str:
    """A block of code, whatever backticks are in it."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def markdown(text: str, hits: Sequence[str] = ()) -> str:
    """The text as Markdown; `hits`: words that are marked where they stand in plain text."""
    kept: list[str] = []

    def keep(markup: str) -> str:
        kept.append(markup)
        return chr(FIRST + len(kept) - 1)

    def formula(content: str, display: bool, whole: str) -> str:
        bare = re.sub(r"\\.", "", content)
        if _REFUSED.search(content) or not content.strip() or "$" in bare or bare.count("{") != bare.count("}"):
            return keep(_inline_code(whole))
        tex = " ".join(content.replace(r"\$", r"\textdollar ").split())
        return keep(f"\n$$\n{tex}\n$$\n" if display else f"${tex}$")

    def inline(match: re.Match[str]) -> str:
        content = _formula(match)
        return match[0] if content is None else formula(content, False, match[0])

    if len(text) > LONGEST:
        return "  \n".join(_escape(line.strip()) for line in text.split("\n"))
    text = re.sub("[\U000f0000-\U0010ffff]", "\N{REPLACEMENT CHARACTER}", text)
    if _BARE.fullmatch(text) and not PROSE.search(_WORDS.sub(" ", text)):
        text = formula(text, False, text)
    text = _FENCE.sub(lambda m: "\n" + keep(fenced(m[3], m[2])) + "\n", text)
    text = _CODE.sub(lambda m: keep(_inline_code(m[2])), text)
    text = _DISPLAY.sub(lambda m: formula(m["dollars"] or m["square"], True, m[0]), text)
    text = _INLINE.sub(inline, text)
    text = _ENVIRONMENT.sub(lambda m: formula(m["whole"], True, m[0]), text)  # those that stand in no formula
    text = _ADDRESS.sub(lambda m: keep(_inline_code(m[0])), text)
    text = _HEADING.sub(lambda m: f"**{m[1].replace('**', '')}**", text)
    text = _BULLET.sub(lambda m: keep(f"{m[1]}- "), text)
    text = _BOLD.sub(lambda m: keep("**") + m[1] + keep("**"), text)
    text = _ITALIC.sub(lambda m: keep("*") + m[1] + keep("*"), text)
    if hits:
        text = re.sub(
            "|".join(map(re.escape, hits)), lambda m: keep(":orange-background[" + _escape(m[0]) + "]"), text, flags=re.I
        )
    lines = [line if _RULE.fullmatch(line) else _escape(line.strip()) for line in text.split("\n")]
    joined = "\n".join(line if line.startswith("|") or not line else line + "  " for line in lines)
    marks = dict(enumerate(kept, FIRST))
    for _ in range(3):  # a heading may hold bold text that holds a formula
        joined = re.sub("[\U000f0000-\U0010ffff]", lambda m: marks.get(ord(m[0]), m[0]), joined)
    return joined


def unmarked(text: str) -> str:
    """The text with no marks around its formulas, where nothing draws them."""
    return _INLINE.sub(lambda match: _formula(match) or match[0], text)


def _formula(match: re.Match[str]) -> str | None:
    """The formula in what `_INLINE` found; None where that is prose between two prices."""
    content: str = match["round"] or match["dollar"]
    prose = match["round"] is None and PROSE.search(_WORDS.sub(" ", content))
    return None if prose or "$" in content.replace(r"\$", "") else content


def _escape(line: str) -> str:
    escaped = _SPECIAL.sub(r"\\\1", line.replace("&", "&amp;").replace("<", "&lt;"))
    return re.sub(r"^=+$", r"\\\g<0>", escaped)  # no underline of a heading


def _inline_code(text: str) -> str:
    """A span of code; a text with backticks gets a longer mark around it."""
    flat = " ".join(text.split())
    mark = "`" * (max(map(len, re.findall(r"`+", flat)), default=0) + 1)
    pad = " " if flat[:1] == "`" or flat[-1:] == "`" else ""
    return f"{mark}{pad}{flat}{pad}{mark}"


def item(number: int, body: str) -> str:
    """The body as entry `number` of a numbered list."""
    mark = f"{number}. "
    return mark + textwrap.indent(body.strip(), " " * len(mark)).lstrip()
