"""A written number -> its exact value, and back. See `star/grading/verdicts.py` for what follows from it.

    >>> parse_number("$1,234.00 dollars").values
    (Fraction(1234, 1),)

Any text is taken; what is not one number is None, and the work is linear in the length.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation, localcontext
from fractions import Fraction
from itertools import pairwise, takewhile
from math import prod
from typing import Any

MAX_NUMBER = 200
"""Characters of a number's span. Ten thousand digits are no answer, and Python refuses to read that many."""

SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
SCALES |= {"k": 10**3, "lakh": 10**5, "crore": 10**7}
SCALES |= {"mio": 10**6, "mrd": 10**9, "milliard": 10**9, "quadrillion": 10**15}
SCALES |= {"百": 10**2, "千": 10**3, "万": 10**4, "萬": 10**4, "亿": 10**8, "億": 10**8}
_COUNTS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
    " nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
CARDINALS = {word: value for value, word in enumerate(_COUNTS.split())}
CARDINALS |= {word: 10 * value for value, word in enumerate(_TENS.split(), 2)}
_WORD = rf"(?:{'|'.join([*CARDINALS, 'hundred', 'thousand', 'million', 'billion', 'trillion', 'dozen'])})"
_SPELLED = re.compile(
    rf"(?:{_WORD}|an?(?= (?:hundred|thousand|million|billion|trillion|dozen)\b))(?:[ -](?:and )?{_WORD})*(?![\w-])"
)
_AFTER_LEAD = re.compile(rf"(?:^|(?<=[:=] )|(?<=[^=]=)|(?<=is )|(?<=minus )|(?<=about )|(?<=negative )){_SPELLED.pattern}")
_NO_UNIT = frozenset(
    re.findall(
        r"\w+",
        "or and wait not no but maybe perhaps possibly probably presumably likely unlikely either neither nor actually instead"
        " alternatively otherwise rather unless if minus plus than to between then so hmm sorry versus vs as given hint correct"
        " wrong incorrect false mistaken isn aren wasn doesn don cannot unclear unknown undefined undetermined indeterminate"
        " determined doubt doubtful uncertain unsure guess half halves"
        " sin cos tan cot log ln exp sqrt root mod modulo choose remainder recurring repeating divided multiplied doubled det etc",
    )
).union(CARDINALS)
"""Words that make a second answer, a doubt or another number of what follows a number."""
_NO_FIRST_UNIT = frozenset(re.findall(r"\w+", "squared cubed pi π factorial point alpha beta theta n mil mill grand"))
_SHORT_UNITS = frozenset(
    re.findall(
        r"\w+",
        "m g l h s c f k j w v d t lb kg mg cm mm km dm nm ml cl dl kl hr ft in mi yd oz pt qt hz kb mb gb tb kw mw kj mj ev pa ha"
        " db ma mv kv ms sq st nd rd th rs kr us tv pm am cd ox a an of on at by he we it my is up",
    )
)
"""What one or two letters behind a number can be: a unit, or a little word of a longer one. Others may be algebra."""
_PART = re.compile(
    r"(?:thir(?=ds?$)|(?:four|fif|six|seven|eigh|nin|ten|eleven|twelf|\w{3,6}teen|(?:twen|thir|for|fif|six|seven|eigh|nine)tie"
    r"|hundred|thousand|million|billion|trillion)(?=ths?$))(?:d|th)(?P<plural>s?)"
)
"""5 hundredths are no 5: the word divides. "months" and "lengths" are units."""

SPELLINGS = str.maketrans(
    dict.fromkeys("−–—‐‑‒﹣－", "-") | {"×": "x", "⋅": "x", "·": "x", "º": "°"}
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", "")
)
"""Dashes and products in one spelling each, and no characters without a width."""
_RAISED = re.compile("([⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+)|([₀₁₂₃₄₅₆₇₈₉]+)")
_BASE = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻₀₁₂₃₄₅₆₇₈₉", "0123456789+-0123456789")
_GROUPED_BY_SPACE = re.compile(r"(?<=\d)(?:[\u00a0\u2009\u202f]|,\\!|\\[,!;]|\{,\}|['’])(?=\d{3}(?!\d))")
_GROUPED_BY_BLANK = re.compile(r"(?<![\d.,/] )(?<![\d.,/])[1-9]\d{0,2}(?: \d{3})+(?![\d,/]| ?/| \d)")
_VULGAR = re.compile("([\u00bc-\u00be\u2150-\u215e])")
_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{\s*(-?\d{1,90})\s*\}\s*\{\s*(\d{1,90})\s*\}"), r" \1/\2 "),
    (re.compile(r"\\[dt]?frac\s*(\d)\s*(\d)(?!\d)"), r" \1/\2 "),
    (re.compile(r"\\(?:text|textrm|textbf|mathrm|mathbf|mbox|boxed|fbox)\s*\{([^{}]{0,200})\}"), r" \1 "),
    (re.compile(r"\\times(?![a-zA-Z])|\\cdot(?![a-zA-Z])"), " x "),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![a-zA-Z])"), "° "),
    (re.compile(r"\\approx(?![a-zA-Z])"), "≈"),
    (re.compile(r"\\([%$#])"), r"\1"),
    (re.compile(r"(?<=\d)~"), " "),
    (re.compile(r"\\[,;:!]|\\quad(?![a-zA-Z])|\\ "), " "),
)
_ABBREVIATED = (
    (re.compile(r"(?<=\d) ?(?:M|mn|mln)(?![^\W_])"), " million"),
    (re.compile(r"(?<=\d)B(?![^\W_])|(?<=\d) ?[bB][nN](?![^\W_])"), " billion"),
    (re.compile(r"(?<=\d)T(?![^\W_])|(?<=\d) ?tn(?![^\W_])"), " trillion"),
    (re.compile(r"(?<=\d) ?lacs?(?![^\W_])"), " lakh"),
    (re.compile(r"(?<=[\d百千万萬]) ?([百千万萬亿億])"), r" \1 "),
)
_MAY_ABBREVIATE = re.compile("[0-9百千万萬] ?[MmBbTtl百千万萬亿億]")
_SMALL_MONEY = re.compile(r"(?<=\d) ?([mbtk])(?=\W{0,9}$)")
"""$5m is five million, 5m five metres."""
_MONEY_SCALES = {"m": "million", "b": "billion", "t": "trillion", "k": "thousand"}
_SIGNS = "[$€£¥₹¢₩₽₪฿₫₴₦₱₺]"
_CURRENCY = re.compile(rf"(?:\b(?:us|r|a|au|c|ca|nz|hk|s|mx|nt))?{_SIGNS}", re.IGNORECASE)
_CODES = "usd?|eur|gbp|chf|cad|aud|nzd|jpy|cny|rmb|inr|brl|sek|nok|dkk|pln|czk|huf|zar|krw|mxn|sgd|hkd|try|kr|rs"
_CODES += "|thb|php|idr|myr|aed|twd|vnd|ils|rp|rm"
_MONEY = re.compile(rf"{_SIGNS}|\b(?:{_CODES})\b", re.IGNORECASE)
_LOSS = re.compile(rf"\(?\s?(\\?{_CURRENCY.pattern})\s?\(?\s?([\d.,]+(?: ?[kmbt]n?)?)\s?\)", re.IGNORECASE)
"""Accountants write -5 dollars as ($5)."""
_CUT_OFF = re.compile(r"\d\s?(?:\.{2,}|…|\\[lc]?dots)")
_KELVIN = re.compile(r"(?<=\d) {1,3}K(?=\W{0,9}$)")
"""300 K is a temperature; 300K, 300 k, 300 K people and $300 K are thousands."""
_BOLD = re.compile(r"(?<!\d)\*\*|\*\*(?! ?[\d({])")
"""Emphasis, but not the power of 10**6."""
TOKENS = re.compile(r"^(?:<s>|<bos>)|(?:</?s>|<\|[^|<>]{1,30}\|>|<(?:eos|pad|end_of_turn|br) ?/?>|\[/?INST\])$")
"""Special tokens that a decoder wrote out."""
_PICTURES = "\u2705\u2713\u2714\u2b50\u2728\ufe0f" + "".join(map(chr, range(0x1F300, 0x1FB00)))
"""Emoji around an answer; not the cross that takes it back."""
_QUOTES = "*_`\"“”'‘’ "
_QUOTED = re.compile(r"(?P<open>\*{1,3}|`{1,3}|\"|'|“|‘)(?P<inside>[^\s*`\"'“”‘’][^*`\"“”‘’]*)(?:(?P=open)|”|’)")
_WRAPPERS = (("\\(", "\\)"), ("\\[", "\\]"), ("(", ")"), ("[", "]"), ("{", "}"), ("<<", ">>"), ("<", ">"))
_NUMBER = re.compile(
    r"(?:(?:the )?(?:final )?answer(?: is)? ?:? ?)?(?:(?P<label>(?:[a-z]+ ){0,5}[a-z]+) ?(?::|=|(?<= )is:?) ?)?"
    rf"(?:(?:≈|~|=|about|approximately|around|exactly|equals) ?)?(?:(?:{_CODES})\.?)? ?"
    r"(?:(?P<sign>[-+]|minus|negative) ?)?"
    r"(?:(?P<whole>\d{1,90}) (?:and )?(?P<top>\d{1,90}) ?/ ?(?P<bottom>\d{1,90})"
    r"|(?P<num>\d{1,90}) ?/ ?(?P<den>\d{1,90})"
    r"|(?P<value>\d{1,3}(?:,\d{2,3}){0,40},\d{3}(?:\.\d*)?|\d+(?:\.\d*)?|\.\d+)"
    r"(?:e(?P<exp>[-+]?\d{1,3})(?![\d.])| ?[x*] ?10 ?(?:\^|\*\*) ?[{(]?(?P<power>[-+]?\d{1,3})[)}]?)?)"
    r"(?: ?(?P<percent>%|percent(?![a-z])|per cent(?![a-z])))?"
    r"(?P<unit>(?:[ -]?(?:[^\W\d_]|[/°('\"])(?:[^\W\d_]|[ /°'\"().^-]|(?<=[mtnds])[23](?!\d)|(?<=\^)[23](?!\d)){0,80})?)"
)


@dataclass(frozen=True, slots=True)
class Number:
    """A span read as a number: `values[0]` as written; a second value where a unit word is a factor (million)."""

    values: tuple[Fraction, ...]
    percent: bool
    scale: str = ""
    """That unit word."""
    unit: str = ""
    """Whatever stands behind the number, the factor included."""


def parse_number(text: str) -> Number | None:
    """The one number that `text` states, with or without sign, separators, currency, percent and unit; else None."""
    if len(text) > MAX_NUMBER:
        return None
    if text.isascii() and text.isdigit():
        return Number((Fraction(int(text)),), percent=False)
    match = None if _CUT_OFF.search(text) else _NUMBER.fullmatch(_plain_number(text))
    if match is None or not _is_label(match["label"]):
        return None
    value = _magnitude(match)
    if value is None:
        return None
    unit = match["unit"].strip(" -").lower()
    words = _SPELLED.fullmatch(unit.rpartition("(")[2][:-1]) if unit.endswith(")") else None
    if words and _spelled(words) == str(value):
        unit = unit.rpartition("(")[0].strip()  # "3 (three)"
    if not _is_unit(unit):
        return None
    value = -value if match["sign"] in ("-", "minus", "negative") else value
    scales = list(takewhile(lambda word: word in SCALES, (word.rstrip("s") for word in re.split(r"\W+", unit))))
    values = (value, value * prod(SCALES[word] for word in scales)) if scales else (value,)
    return Number(values, match["percent"] is not None, " ".join(scales), unit)


def written_value(text: str) -> float | None:
    """The number that an answer states, as written ("$3 million" -> 3.0), to be looked for among the numbers of a text.

    That is no equality of answers: see `star.grading.same_answer`. None for text that is not one number, or too large a one.
    """
    number = parse_number(text)
    try:
        return None if number is None else float(number.values[0])
    except OverflowError:
        return None


def _plain_number(text: str) -> str:
    """Unicode and LaTeX spellings as ASCII, wrappers and closing punctuation stripped, currency signs as blanks, lower case."""
    if "(" in text and (loss := _LOSS.fullmatch(text.strip(" .*"))):
        text = f"-{loss[1]}{loss[2]}"
    text = _BOLD.sub("", _GROUPED_BY_SPACE.sub(",", text))
    if " " in text:
        text = _GROUPED_BY_BLANK.sub(lambda match: match[0].replace(" ", ","), text)
    if not text.isascii():
        text = plain_powers(text.translate(SPELLINGS))
        text = unicodedata.normalize("NFKC", _VULGAR.sub(r" \1", text)).replace("⁄", "/")
    if "\\" in text:
        text = unwrap(text)
        for pattern, replacement in _LATEX:
            text = pattern.sub(replacement, text)
    text = unwrap(text)
    if _MAY_ABBREVIATE.search(text):
        for pattern, word in _ABBREVIATED:
            text = pattern.sub(word, text)
    if _MONEY.search(text):
        text = _SMALL_MONEY.sub(lambda match: " " + _MONEY_SCALES[match[1]], _CURRENCY.sub(" ", text))
    else:
        text = _KELVIN.sub(" kelvin", text)
    text = unwrap(" ".join(text.lower().split()))
    return text if text[:1].isdigit() else re.sub(r"^(\d+) \(\1\)$", r"\1", _AFTER_LEAD.sub(_spelled, text))


def plain_powers(text: str) -> str:
    """Raised and lowered digits as powers and indices: x² as x^2, 10⁻¹² as 10^{-12}, x₁ as x_1."""

    def plain(match: re.Match[str]) -> str:
        digits = match[0].translate(_BASE)
        return ("^" if match[1] else "_") + (f"{{{digits}}}" if digits[1:] else digits)

    return _RAISED.sub(plain, text)


def _spelled(match: re.Match[str]) -> str:
    """ "two hundred and five" -> "205"; a factor at the end stays in words, "three million" -> "3 million"."""
    words = match[0].replace("-", " ").replace(" and ", " ").split()
    head = list(takewhile(lambda word: word not in SCALES, words))
    scales = words[len(head) :]
    values = [CARDINALS.get(word, 1) for word in head]
    if not head or len(head) > 2 or any(later >= 10 or first < 20 for first, later in pairwise(values)):
        return match[0]  # "one two" is no number
    if all(word in SCALES for word in scales):
        return " ".join([str(sum(values)), *scales])
    total = part = 0
    for word in words:
        scale = SCALES.get(word, 1)
        if scale < 1000:
            part = max(part, 1) * scale if scale > 1 else part + CARDINALS.get(word, 1)
        else:
            total, part = total + max(part, 1) * scale, 0
    return str(total + part)


def _is_label(label: str | None) -> bool:
    """Whether words before `:`, `=` or `is` name the number ("Total: 7", "x = 7") rather than make another one of it."""
    words = (label or "").split()
    known = _NO_UNIT.isdisjoint(words) and not {"squared", "cubed", "factorial", "negative", "twice", "double"} & set(words)
    return known and (len(words) < 2 or all(len(word) > 1 or word == "a" for word in words))


def unwrap(text: str, *, brackets: bool = True, prose: bool = False) -> str:
    """`text` without the blanks, emphasis, quotes, math delimiters, closing punctuation and, if asked, brackets around it.

    Where the brackets stay it is mathematics, unless `prose`: a closing `!` or prime and a lone `*` or `_` belong to that.
    """
    for _ in range(8):
        before = text
        if "<" in text or "]" in text:
            text = TOKENS.sub("", text.strip())
        if not text.isascii():
            text = text.strip().strip(_PICTURES)
        if brackets or prose:
            text = text.strip().strip(_QUOTES).rstrip(".!;:,").rstrip(_QUOTES)
        else:
            text = text.strip().rstrip(".;:, ")
            quoted = _QUOTED.fullmatch(text)
            text = quoted["inside"] if quoted else text
        if text.startswith("$") and text.endswith("$") and len(text) > 2:
            text = text[1:-1]
        for opening, closing in _WRAPPERS if brackets else _WRAPPERS[:2]:
            inside = text[len(opening) : -len(closing)]
            if text.startswith(opening) and text.endswith(closing) and opening not in inside and closing not in inside:
                text = inside
        boxed = re.fullmatch(r"\\(?:boxed|fbox|text|mathbf|textbf|mathrm)\s*\{(.*)\}", text, re.DOTALL)
        text = boxed[1] if boxed and _balanced(boxed[1]) else text
        if text == before:
            break
    return text


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character == "{") - (character == "}")
        if depth < 0:
            return False
    return depth == 0


def _magnitude(match: re.Match[str]) -> Fraction | None:
    """The unsigned value of a match; None for a denominator of zero."""
    try:
        if match["num"]:
            return Fraction(int(match["num"]), int(match["den"]))
        if match["whole"]:
            if int(match["top"]) > int(match["bottom"]):
                return None
            return int(match["whole"]) + Fraction(int(match["top"]), int(match["bottom"]))
    except ZeroDivisionError:
        return None
    exponent = int(match["exp"] or match["power"] or 0)
    digits, _, decimals = match["value"].replace(",", "").partition(".")
    plain = Fraction(int((digits + decimals) or "0"), 10 ** len(decimals))
    return plain * Fraction(10) ** exponent


def _is_unit(unit: str) -> bool:
    words = re.findall(r"[^\W\d_]+", unit)
    if not words:
        return True
    if words[0] in _NO_FIRST_UNIT or words == ["a"] or not _NO_UNIT.isdisjoint(words):
        return False
    short = {word for word in re.findall(r"[^\W\d_]+", re.sub("[.']", "", unit)) if len(word) < 3 and word.isascii()}
    parts = [word for word in words if (part := _PART.fullmatch(word)) and (part["plural"] or word == words[-1])]
    return not parts and short <= _SHORT_UNITS


def canonical_number(value: Any) -> str | None:
    """A gold answer as it is stored: "1,234.50 dollars" -> "1234.5", 51.0 -> "51", "2/4" -> "0.5"; None if it is no number.

    None too for one of so many digits that no answer could be compared with it (1e300). A share of a percent keeps its sign
    ("0.5%"): without it 50% would be the same.
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float | Decimal):
        try:
            decimal = Decimal(str(value))
        except (InvalidOperation, ValueError):  # whole numbers of more digits than Python writes
            return None
        if not decimal.is_finite() or abs(decimal.adjusted()) > MAX_NUMBER:
            return None
        exact, sign = Fraction(decimal), ""
    else:
        number = parse_number(str(value))
        if number is None:
            return None
        exact = number.values[-1]
        sign = "%" if number.percent and 0 < abs(exact) < 1 else ""
    shown = show_number(exact) + sign
    return None if parse_number(shown) is None else shown


def show_number(value: Fraction) -> str:
    """The shortest plain spelling: whole, finite decimal, or fraction."""
    with localcontext(prec=10 * MAX_NUMBER):
        decimal = Decimal(value.numerator) / value.denominator
    if Fraction(decimal) != value or decimal.adjusted() - len(decimal.as_tuple().digits) + 1 < -30:
        return f"{value.numerator}/{value.denominator}"
    return f"{decimal:f}"
