"""Whether a text claims an equation, and all of it: what stands around the equation tells.

In "x + 30 = 50" or "the units digit of 7^2 is 9" the numbers alone say nothing, "5 * 4 = 20" behind "- " is an item of a list, and
"suppose that 3 + 4 = 8" claims nothing. Tokens are padded (`numbers.padded`), places are indices of tokens.
"""

from __future__ import annotations

from itertools import pairwise

from analysis.checks.expressions import CONJUNCTIONS, FUNCTIONS, JOINING, Expression, ExpressionReader
from analysis.checks.numbers import SCALES, Token, close, words
from analysis.checks.units import SHORT_UNITS, UNITS

_ASSUMING = words(
    "suppose supposing assume assuming imagine if whether unless pretend instead rather not never claim claims claimed says wrote"
    " think thinks thought believe believes doubt contradiction without false wrong wrongly incorrect incorrectly mistake mistaken"
    " mistakenly erroneously erroneous error typo misread miscalculated someone cannot can't isn't doesn't don't didn't impossible"
)
"""What stands behind one of these in its clause is not claimed by the rationale."""
_DENYING = words(
    "not impossible contradiction contradicts false incorrect wrong cannot can't isn't doesn't never invalid would true absurd"
    " mistake mistaken error corrected"
)
"""What stands before one of these in its sentence is taken back."""
_CORRECTING = words("wait no oops sorry correction")
"""How a sentence begins that takes back the one before it."""
_NAMED = words(
    "equation eq example case part line option method theorem lemma rule clue step problem question statement page pages room"
    " rooms chapter chapters section sections figure figures won lost drew beat series choose"
)
"""Words whose number is a name: "Equation 1 - 5 * 4 = 20"."""
_TAKEN_OF = FUNCTIONS | words(
    "reciprocal inverse half third quarter negative opposite digit digits remainder remainders factor factors divisor divisors"
    " multiple multiples expansion part power term coefficient sign number absolute numerator denominator conjugate factorization"
    " average mean median"
)
"""What is taken of an expression: "the reciprocal of 7/9 is 9/7"."""
_WHOLE_OF = words("total sum result amount cost price value score profit product difference quotient answer earnings")
"""What an expression after "of" is: "a total of 3 + 4 is 7"."""
_COMPARED = words("more less greater higher lower times fewer")
_BOUNDS = frozenset(("end", "equal", "arrow", "comparison", "congruent"))
_ORDERS = frozenset(("<", ">", "≤", "≥", "<=", ">="))


def equals(tokens: list[Token], left: Expression) -> int | None:
    """Index after the equals sign or word behind an expression; None where none follows."""
    token = tokens[left.stop]
    if token.kind == "equal" or (token.kind == "arrow" and left.operators):
        return left.stop + 1
    if token.kind == "word" and token.text in JOINING and left.operators:
        start = left.stop + 1
        while tokens[start].text in ("equal", "to"):  # "is equal to"
            start += 1
        behind = tokens[start + 1]
        compared = behind.text in _COMPARED or (behind.kind == "word" and behind.text.endswith("ed"))
        return None if compared else start  # "3 + 4 is 2 less than 9", "5^8 is 5 raised to ..."
    return None


def marks_item(reader: ExpressionReader, index: int) -> bool:
    """Whether the sign at a token begins an item of a list: not where an equation is true with it, as in "- 2 * 3 = -6"."""
    if not _is_bullet(reader.tokens, index):
        return False
    left = reader.read(index)
    behind = equals(reader.tokens, left) if left else None
    right = reader.read(behind) if behind else None
    return left is None or right is None or not close(left.value, right.value)


def _is_bullet(tokens: list[Token], index: int) -> bool:
    """Whether a sign begins a line and a blank follows it: "- 5 * 4 = 20"."""
    if tokens[index].text not in ("-", "*", "•") or (index and tokens[index - 1].text != "\n"):
        return False
    return index + 1 < len(tokens) and tokens[index + 1].start > tokens[index].end


def _is_frame(tokens: list[Token], index: int) -> bool:
    """Whether a sign only stands beside an equation: a tick, or in Markdown a backtick, a bar between cells, the # of a title."""
    before, token, after = tokens[index - 1 : index + 2] if index else (tokens[-1], *tokens[:2])
    bar = token.text == "|" and before.end < token.start
    parted = (bar or (token.text == "#" and before.text in ("#", "\n", ""))) and after.start != token.end
    return parted or token.text in ("`", "✓", "✔", "✅")


def is_claimed_whole(tokens: list[Token], start: int, stop: int, spoken: bool) -> bool:
    """Whether nothing around an equation can belong to it, and the rationale claims it."""
    if tokens[stop].text == "!" and any(token.text == "!" for token in tokens[start:stop]):
        return False  # "11! = 11 * 10!"
    if _lists(tokens, start, stop):
        return False
    return opens(tokens, start, spoken) and closes(tokens, stop) and is_claimed(tokens, start, stop)


def _lists(tokens: list[Token], start: int, stop: int) -> bool:
    """Whether several terms have several results: "(3-2), (5-2) = 1, 3"."""
    before = tokens[start - 1].text == "," and tokens[start - 2].kind in ("close", "number", "digits")
    behind = tokens[stop].text == "," and (tokens[stop + 1].kind == "number" or tokens[stop + 1].text == "-")
    return before and (behind or tokens[start - 2].kind != "number" or tokens[start - 1].end == tokens[start].start)


def opens(tokens: list[Token], start: int, spoken: bool) -> bool:
    """Whether nothing in front of a token can belong to its expression."""
    before, earlier = tokens[start - 1], tokens[start - 2]
    if tokens[start].text in ("-", "+") and tokens[start].end < tokens[start + 1].start:
        return False  # "radius - 2 * 3 = 4", "Cost: - 2 * 3 = 6"
    if before.text in (":", "!") and earlier.kind in ("number", "close") and _joins(tokens, start):
        return False
    if before.text == "." and earlier.end == before.start and earlier.kind == "number" and before.end == tokens[start].start:
        return False  # "2.(3) * 3 = 7"
    if before.kind in _BOUNDS or (start and (_is_bullet(tokens, start - 1) or _is_frame(tokens, start - 1))):
        return before.kind != "comparison" or before.text in _ORDERS
    if before.text == ")" and earlier.kind == "number" and (start < 3 or tokens[start - 3].text == "\n"):
        return before.end < tokens[start].start  # "1) 3 * 4 = 12"
    if before.text == ")" and len(earlier.text) == 1 and earlier.text.isalpha():  # "a) 3 * 4 = 12", "(a) 3 * 4 = 12"
        label = start - 2 - (start > 2 and tokens[start - 3].text == "(")
        return before.end < tokens[start].start and (label == 0 or tokens[label - 1].text == "\n")
    if before.kind == "open":
        return earlier.kind in ("word", "end") and (earlier.end < before.start or earlier.kind == "end")
    if before.kind != "word" or len(before.text) < 2 or before.value is not None:
        return False
    if tokens[start].kind == "open" and before.end == tokens[start].start:
        return False  # "arr[0] + 2"
    lower = before.text.lower()
    if lower in FUNCTIONS or lower in _NAMED or lower == "than" or (spoken and lower == "to"):
        return False
    if lower == "as" and earlier.text in ("many", "much"):
        return False
    if lower in UNITS and earlier.kind == "number" and tokens[start + 1].text.lower() in UNITS:
        return False  # "2 hours 30 minutes / 5 = 30 minutes"
    if lower == "of" and earlier.text.lower() not in _WHOLE_OF and (spoken or earlier.text.lower() in _TAKEN_OF):
        return False
    if tokens[start].kind == "word" and tokens[start + 1].kind == "equal":
        return True  # "and B = 3 * 4"
    if lower == "and" and earlier.kind == "number" and tokens[start + 1].text == "/":
        return False  # "12 x 1 and 1/4 = 15"
    if lower == "and" and earlier.kind == "number" and tokens[start - 3].text == "of":
        return False  # "the sum of 2 and 3 times 4 is 14"
    return not _goes_back(tokens, start - 1)


def _joins(tokens: list[Token], start: int) -> bool:
    """Whether the sign in front of a token, behind a number, goes on with it: "3!2!", "12:(2 + 1)", not "Step 1: (2 + 1)"."""
    earlier, sign = tokens[start - 2], tokens[start - 1]
    if sign.text == "!":
        return earlier.end == sign.start
    evenly = (earlier.end == sign.start) == (sign.end == tokens[start].start)
    return evenly or (tokens[start].kind == "open" and tokens[start - 3].kind != "word")


def _goes_back(tokens: list[Token], index: int) -> bool:
    """Whether words lead back to an operator: "his 25 classmates + his 1 teacher + 1 himself = 27"."""
    for place in range(index, max(-1, index - 30), -1):
        token = tokens[place]
        if token.kind in _BOUNDS or token.text in JOINING or (token.text in CONJUNCTIONS and token.text != "and"):
            return False
        if token.kind in ("op", "root", "other"):
            hyphen = place and tokens[place - 1].kind == "word" and tokens[place - 1].end == token.start
            if not (hyphen and tokens[place + 1].start == token.end) and not _is_bullet(tokens, place):
                return True
    return False


def closes(tokens: list[Token], stop: int) -> bool:
    """Whether nothing from a token on can belong to the expression before it."""
    after, following = tokens[stop], tokens[stop + 1]
    if after.text == ":" and following.kind in ("number", "open"):
        return False  # a ratio: "= 3 : 6 : 1"
    if after.text == "!" and tokens[stop - 1].end == after.start and tokens[stop - 1].text in ("3", "4", "5", "6", "7"):
        return False
    if after.kind in ("end", "equal", "arrow", "close", "currency", "percent") or after.text in _ORDERS:
        return True
    if _is_frame(tokens, stop):
        return True
    if after.kind == "open":
        return after.start > tokens[stop - 1].end and following.kind == "word" and following.text != "mod"
    if after.kind != "word":
        return False
    lower, touching = after.text.lower(), after.start == tokens[stop - 1].end
    if touching and lower not in UNITS and len(lower) < 4:
        return False  # 2xy
    if lower in ("and", "to", "or") and following.kind == "number":
        second = tokens[stop + 2]
        factorial = second.text == "!" and tokens[stop + 3].kind == "equal"
        return lower == "and" and (factorial or (second.kind in ("op", "equal") and second.start > following.end))
    if lower == "square" and following.text.lower() in UNITS:
        return True
    return lower not in SCALES and lower not in FUNCTIONS and (len(after.text) > 1 or after.text in SHORT_UNITS)


def is_claimed(tokens: list[Token], start: int, stop: int) -> bool:
    """False for an equation that is only supposed, denied, quoted from somebody or asked about."""
    for token in reversed(tokens[max(0, start - 30) : start]):
        if token.kind == "end" and token.text not in (":", '"'):  # "Wrong: 3 + 4 = 8", "Tim says "3 + 4 = 8""
            break
        if token.text.lower() in _ASSUMING:
            return False
    for token, following in pairwise(tokens[stop : stop + 31]):
        if token.text.lower() in _DENYING or token.text == "?":
            return False
        if token.kind in ("end", "open") and following.text.lower() in _CORRECTING:
            return False
        if token.kind == "end" and token.text not in (",", '"'):  # '"3 + 4 = 8" would be a mistake'
            return True
    return True
