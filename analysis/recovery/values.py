"""What a continuation calculates, and which number an injected mistake replaced.

Numbers are read by `analysis.checks.numbers` (in a text) and `star.grading.numbers` (one by itself), and are compared up to
rounding (`same`): a falsified 27 is looked for wherever a text says 27. Whether two *answers* are the same is told by
`star.grading.same_answer`.

    prefix   "... 34 books and sold 17, so he had 34 - 17 = 27", injected "27"  ->  original 17

Text is never evaluated as code, and every pattern is bounded, so hostile text costs linear time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import islice

from analysis.checks.calculation import evaluate as work_out
from analysis.checks.numbers import Number, as_float, numerals, tokenize
from analysis.checks.plain_text import plain
from star.grading.numbers import written_value

_BEFORE_RESULT = re.compile(r"=\s{0,4}(?:<<)?[^\w=<>\n]{0,4}$")
_CLAUSE = re.compile(r"[\n;:?!]|\.\s|,\s(?=[a-z])|<<|>>|=")
_LIST_NUMBER = re.compile(r"(?:^|\n)\s{0,6}(?:step )?$", re.I)
_ITEM = re.compile(r"(?:^|\n)\s{0,6}(?:step )?(\d{1,3})[.):](?=\s)", re.I | re.ASCII)
_WORDS = re.compile(r"[A-Za-z]/[A-Za-z]|\b[A-Za-z]+-[A-Za-z]|(?<=[A-Za-z])(?=\d)")
"""Signs that are none, "pens/box", and a number right behind a word, where a continuation begins."""


def find_numbers(text: str, limit: int = 200) -> list[Number]:
    """The first `limit` numbers of `text` in digits, without their signs."""
    return list(islice(numerals(text), limit))


def same(left: float | None, right: float | None) -> bool:
    """Equal up to the rounding of a written result: .0001 of the value, at most .005."""
    if left is None or right is None:
        return False
    return left == right or abs(left - right) <= 1e-6 + 1e-4 * min(abs(left), abs(right), 50)


def one_step_from(injected: float, answer: float | None, known: list[float]) -> bool:
    """Whether the answer is the injected value, or a sum, difference, product or quotient of it and a known number.

    The injected value itself is among the known ones, as it stands in the prefix; with itself it would make 0 and 1.
    """
    if answer is None:
        return False
    if same(answer, injected):
        return True
    for value in known:
        results = [injected + value, injected - value, value - injected, injected * value]
        results += [injected / value] if value else []
        results += [value / injected] if injected else []
        if value not in (0.0, 1.0) and not same(value, injected) and any(same(answer, result) for result in results):
            return True
    return False


def evaluate(expression: str) -> float | None:
    """Value of the arithmetic in "64 cats - 19 cats sold": numbers and operators, words skipped.

    None when there is no operator or the rest has no value. Brackets are read over: "12 trees (initial) - 2 trees (dead)" is more
    frequent in rationales than a bracketed sum.
    """
    atoms = []
    for token in tokenize(plain(_WORDS.sub(" ", expression[-240:]))):
        if token.exact is not None:
            atoms.append(token._replace(kind="number"))
        elif token.kind == "op" or token.text == "x":
            atoms.append(token._replace(kind="op", text=token.text.replace("x", "*")))
    calculates = any(token.kind == "op" for token in atoms) and atoms[0].text != "+"
    value = work_out(atoms) if calculates else None
    return None if value is None else as_float(value)


def left_side(text: str) -> str | None:
    """What stands left of the "=" that `text` ends with ("..., 34 - 17 = " -> "34 - 17"), or None without one."""
    equals = _BEFORE_RESULT.search(text[-12:])
    if equals is None:
        return None
    body = text[: len(text) - len(text[-12:]) + equals.start()][-240:].rstrip()
    ends = (match.end() for match in _CLAUSE.finditer(body))
    return body[max((end for end in ends if end < len(body)), default=0) :]


def computed(before: str, numbers: Sequence[Number], injected: float) -> float | None:
    """The right result of the equation that the injected number ends, or of the last one that claims it; or None."""
    places = [len(before), *(n.start for n in reversed(numbers) if same(n.value, abs(injected)))]
    for place in places[:4]:
        left = before[max(0, place - 260) : place].rstrip("$-− ")
        expression = left_side(left + " ") if left.endswith(("=", "<<")) else None
        value = evaluate(expression) if expression is not None else None
        if value is not None and not same(value, injected):
            return value
    return None


def derive_original(
    question: str, before: str, injected_text: str, continuation: str, following: Sequence[Number], answer: float | None
) -> float | None:
    """The number that was falsified right after `before`, worked out from the text; None when nothing fits.

    A result is recomputed; an operand inside calculator marks is looked up in the expression before them; a list number
    follows the last one; another copied number is looked for among the question's and the earlier ones near the injected one
    (mistakes are small or add about a hundred): the one that the continuation uses first.
    """
    injected = written_value(injected_text)
    if injected is None:
        return None
    numbers = find_numbers(before)
    value = computed(before, numbers, injected)
    if value is None:
        value = _marked(before)
    if value is None and _LIST_NUMBER.search(before[-12:]) and re.match(r"\s{0,3}[).:]\s", continuation):
        items = [int(match[1]) for match in _ITEM.finditer(before)]
        value = float(items[-1] + 1 if items else 1)
    if value is not None and not same(value, injected):
        return value
    known = {n.value for n in find_numbers(question)} | {n.value for n in numbers}
    later = [n.value for n in following[:60]]
    near = [v for v in [*known, *([answer] if answer is not None else [])] if _plausible(v, injected)]
    if not near:
        near = [v for v in later if _plausible(v, injected)][:1]
    return min(near, key=lambda v: (_place(v, later), abs(v - injected), v), default=None)


def _marked(before: str) -> float | None:
    """The operand meant after "34 - 17 = <<34-": the number at the same place of the expression before the marks."""
    mark = before.rfind("<<")
    inside = before[mark + 2 :] if mark >= 0 else ""
    if mark < 0 or ">>" in inside or "=" in inside or len(inside) > 60:
        return None
    expression = left_side(before[:mark][-240:] + "<<")
    if expression is None:
        return None
    operands = find_numbers(expression)
    index = len(find_numbers(inside))
    return operands[index].value if index < len(operands) else None


def _plausible(value: float, injected: float) -> bool:
    difference = abs(injected - value)
    return 0 < difference <= 3 or 99 <= difference <= 102


def _place(value: float, following: Sequence[float]) -> int:
    return next((index for index, other in enumerate(following) if same(value, other)), len(following))
