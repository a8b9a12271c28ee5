"""A reading -> numbers that describe the whole rationale: where its operands come from, what of the question it uses, how it ends.

None of these looks at a label, at another record or at who wrote the rationale.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache

from analysis.checks.equations import Equation
from analysis.checks.generic.arithmetic import judge
from analysis.checks.generic.known import CONSTANTS, forms, key
from analysis.checks.numbers import words as word_set
from analysis.checks.reading import Reading, Step, read_question

MAX_EQUATIONS = 400
"""Equations of one rationale that are looked at."""

QUESTION_PATTERNS = {
    "total": r"\b(?:total|altogether|in all|combined|together|sum)\b",
    "left": r"\b(?:left|remain\w*|still)\b",
    "difference": r"\b(?:how (?:many|much) (?:more|fewer|less)|difference)\b",
    "each": r"\b(?:each|every|per|apiece)\b",
    "average": r"\baverage\b",
    "percent": r"%|\bpercent",
    "profit": r"\b(?:profit|earn\w*|make)\b",
    "cost": r"\b(?:cost|spend|pay|price)\w*",
    "multiple": r"\b(?:twice|times|double|triple)\b",
    "half": r"\bhalf\b",
    "fraction": r"\d/\d|third|quarter|fourth|fifth",
    "long_time": r"\b(?:weeks?|days?|months?|years?)\b",
    "short_time": r"\b(?:hours?|minutes?|seconds?)\b",
    "age": r"\b(?:old|age)\b",
    "than": r"\bthan\b",
    "if": r"\bif\b",
    "needs": r"\bneeds?\b",
    "how_much": r"how much",
    "how_many": r"how many",
    "ratio": r"\bratio\b",
    "change": r"\b(?:change|save|saved)\b",
    "increase": r"\b(?:increas|decreas|discount|off)\w*",
    "rest": r"\b(?:rest|remaining|another|other)\b",
}
_QUESTION = {name: re.compile(pattern) for name, pattern in QUESTION_PATTERNS.items()}
STOP_WORDS = word_set(
    """
    the a an of to in and is are was were he she it they his her their for on at with that this has have had
    will be if how many much does do did so then by from each as there which would i.e not all total
    """
)
_ASKED_NOUN = re.compile(r"how (?:many|much) (?:more |fewer |less |total )?([a-z]+)")
_NAME = re.compile(r"(?<![.!?] )(?<!^)\b[A-Z][a-z]+")


@dataclass(frozen=True, slots=True)
class QuestionView:
    """What the features need of a question, computed once for all its rationales."""

    values: tuple[float, ...]
    keys: frozenset[str]
    extended: frozenset[str]
    content: frozenset[str]
    asked: str
    asked_words: frozenset[str]
    asked_noun: str
    names: frozenset[str]
    decimals: int
    """Of its most finely written number: a result with more of them is fractional."""
    patterns: tuple[float, ...]


@lru_cache(maxsize=4096)
def _view(text: str) -> QuestionView:
    question = read_question(text)
    asked = re.split(r"(?<=[.!?])\s", text.strip())[-1].lower()
    noun = _ASKED_NOUN.search(asked)
    return QuestionView(
        values=tuple(mention.value for mention in question.mentions),
        keys=frozenset(key(mention.value) for mention in question.mentions),
        extended=frozenset(key(form) for mention in question.mentions for form in forms(mention.value)[:5]),
        content=frozenset(question.words) - STOP_WORDS,
        asked=asked,
        asked_words=frozenset(re.findall(r"[a-z]+", asked)) - STOP_WORDS,
        asked_noun=noun[1] if noun else "",
        names=frozenset(_NAME.findall(text)),
        decimals=max((min(6, len(mention.text.partition(".")[2])) for mention in question.mentions), default=0),
        patterns=tuple(float(len(pattern.findall(text.lower()))) for pattern in _QUESTION.values()),
    )


def question_view(question: Step) -> QuestionView:
    """The cached view of a question."""
    return _view(question.text)


@dataclass(slots=True)
class Trace:
    """Where each operand comes from: r(esult), q(uestion), e(xtended form of a question number), c(onstant), n(owhere)."""

    sources: list[str] = field(default_factory=list)
    """One string of source letters per equation."""
    used_results: set[int] = field(default_factory=set)
    used_numbers: list[float] = field(default_factory=list)
    results: list[float] = field(default_factory=list)
    unknown: list[float] = field(default_factory=list)


def trace(view: QuestionView, equations: list[tuple[int, Equation]]) -> Trace:
    """Follow the operands of the equations back to their sources."""
    found = Trace()
    places: dict[str, int] = {}
    for number, (_, equation) in enumerate(equations):
        letters = ""
        for operand in equation.operands:
            name = key(operand.value)
            place = places.get(name)
            if place is not None:
                found.used_results.add(place)
            if name in view.keys:
                letters += "q"
                found.used_numbers.append(operand.value)
            elif place is not None:
                letters += "r"
            elif name in view.extended:
                letters += "e"
            elif operand.value in CONSTANTS:
                letters += "c"
            else:
                letters += "n"
                found.unknown.append(operand.value)
        found.sources.append(letters)
        found.results.append(equation.result)
        for form in (equation.result * 100, equation.result / 100, equation.result):
            places[key(form)] = number
    return found


def rationale_features(reading: Reading) -> dict[str, float]:
    """About 110 named features of a rationale; all finite."""
    view = question_view(reading.question)
    steps = [step for step in reading.steps if not step.is_answer]
    equations = [(index, equation) for index, step in enumerate(steps) for equation in step.equations][:MAX_EQUATIONS]
    found = trace(view, equations)
    features: dict[str, float] = {"steps": len(steps), "equations": len(equations)}
    features |= _structure(view, equations, found)
    features |= _coverage(reading, steps, equations, found)
    features |= _answer(reading, view, equations, found)
    features |= _wording(reading.question, view, steps)
    features["equations_per_number"] = len(equations) / max(1, len(view.keys))
    features["operators_over_numbers"] = features["operators"] - len(view.keys)
    return features


def _structure(view: QuestionView, equations: list[tuple[int, Equation]], found: Trace) -> dict[str, float]:
    operators = "".join(equation.operators for _, equation in equations)
    operands = [operand.value for _, equation in equations for operand in equation.operands]
    letters = "".join(found.sources)
    first = equations[0][1].operators[:1] if equations else ""
    last = equations[-1][1].operators if equations else ""
    features: dict[str, float] = {
        "operators": len(operators),
        "operators_per_equation": len(operators) / max(1, len(equations)),
    }
    for sign in "+-*/":
        features[f"operators_{sign}"] = operators.count(sign)
        features[f"first_{sign}"] = first == sign
        features[f"last_{sign}"] = last[-1:] == sign
    features["last_operators"] = len(last)
    for letter in "rqecn":
        features[f"source_{letter}"] = letters.count(letter)
        features[f"last_source_{letter}"] = found.sources[-1].count(letter) if found.sources else 0
    features["unknown_share"] = letters.count("n") / max(1, len(letters))
    features["first_unknown"] = found.sources[0].count("n") if found.sources else 0
    features["unknown_small"] = sum(value < 20 for value in found.unknown)
    features["operands"] = len(operands)
    features["operands_0_or_1"] = sum(value in (0, 1) for value in operands)
    features["same_operands"] = sum(
        len(e.operands) == 2 and e.operands[0].value == e.operands[1].value for _, e in equations
    )
    features["false"] = sum(e.checkable and e.value is not None and judge(e, "")[1] >= 0.5 for _, e in equations)
    features["uncheckable"] = sum(not e.checkable for _, e in equations)
    features["unused_results"] = max(0, len(found.results) - 1 - len(found.used_results - {len(found.results) - 1}))
    features["unused_result_share"] = features["unused_results"] / max(1, len(found.results) - 1)
    fine = 10.0**view.decimals
    features["fractional_results"] = sum(abs(value * fine - round(value * fine)) > 1e-6 for value in found.results)
    fine = max(100.0, fine)
    features["long_decimals"] = sum(abs(value * fine - round(value * fine)) > 1e-6 for value in found.results)
    features["negative_results"] = sum(value < 0 for value in found.results)
    features["repeated_equations"] = len(equations) - len({e.text.replace(" ", "") for _, e in equations})
    features["repeated_results"] = len(found.results) - len({key(value) for value in found.results})
    return features


def _coverage(
    reading: Reading, steps: list[Step], equations: list[tuple[int, Equation]], found: Trace
) -> dict[str, float]:
    """How much of the question's numbers the rationale uses, in which order and how often."""
    digits = {key(m.value): m.value for m in reading.question.mentions if not m.word}
    words = {key(m.value): m.value for m in reading.question.mentions if m.word}
    said = {key(mention.value) for step in steps for mention in step.mentions}
    computed = {key(o.value) for _, equation in equations for o in equation.operands}
    percent = {key(o.value * 100) for _, equation in equations for o in equation.operands}
    inverse = {key(1 / value) for value in words.values() if value}
    features: dict[str, float] = {"numbers": len(digits), "number_words": len(words)}
    features["unsaid"] = sum(name not in said for name in digits)
    features["said_share"] = 1 - features["unsaid"] / max(1, len(digits))
    features["uncomputed"] = sum(name not in computed and name not in percent for name in digits)
    features["computed_share"] = 1 - features["uncomputed"] / max(1, len(digits))
    both = said | {name for name in inverse if name in said}
    features["unsaid_words"] = sum(
        name not in both and key(1 / value if value else 0) not in said for name, value in words.items()
    )
    features["uncomputed_words"] = sum(
        name not in computed and key(1 / value if value else 0) not in computed for name, value in words.items()
    )
    uses = Counter(key(value) for value in found.used_numbers)
    features["most_used"] = max(uses.values(), default=0)
    features["reused"] = sum(uses.values()) - len(uses)
    place = {key(mention.value): index for index, mention in reversed(list(enumerate(reading.question.mentions)))}
    order = [place[key(value)] for value in found.used_numbers]
    backward = sum(b < a for a, b in itertools.pairwise(order))
    features["backward_share"] = backward / max(1, len(order) - 1)
    features["first_used"] = order[0] if order else -1
    features["last_used"] = len(reading.question.mentions) - 1 - order[-1] if order else 9
    return features


def _answer(
    reading: Reading, view: QuestionView, equations: list[tuple[int, Equation]], found: Trace
) -> dict[str, float]:
    answer = reading.answer
    last = equations[-1][1].result if equations else None
    largest = max((abs(m.value) for m in reading.question.mentions if not m.word), default=1.0) or 1.0
    if answer is None:
        names = ("is_last", "is_result", "in_question", "whole", "negative", "decimals")
        return {"answer_missing": 1.0, "answer_log": -9.0, "answer_ratio": -9.0} | {
            f"answer_{name}": 0.0 for name in names
        }
    name = key(answer)
    return {
        "answer_missing": 0.0,
        "answer_log": math.log10(abs(answer) + 1e-3),
        "answer_ratio": math.log10((abs(answer) + 1e-3) / largest),
        "answer_is_last": last is not None and key(last) == name,
        "answer_is_result": name in {key(value) for value in found.results},
        "answer_in_question": name in view.keys,
        "answer_whole": abs(answer * 10.0**view.decimals - round(answer * 10.0**view.decimals)) < 1e-6,
        "answer_negative": answer < 0,
        "answer_decimals": max(0, min(6, len(f"{answer:.6f}".rstrip("0").split(".")[1])) - view.decimals),
    }


def _wording(question: Step, view: QuestionView, steps: list[Step]) -> dict[str, float]:
    words = [word for step in steps for word in step.words]
    content = set(words) - STOP_WORDS
    last = set(steps[-1].words) if steps else set()
    text = " ".join(step.text for step in steps)
    features: dict[str, float] = dict(zip((f"question_{name}" for name in _QUESTION), view.patterns, strict=True))
    features["question_words"] = len(question.words)
    features["question_sentences"] = sum(question.text.count(mark) for mark in ".!?")
    features["question_commas"] = question.text.count(",")
    features["words"] = len(words)
    features["words_per_step"] = len(words) / max(1, len(steps))
    features["new_words"] = len(content - view.content) / max(1, len(content))
    features["question_said"] = len(view.content & content) / max(1, len(view.content))
    features["question_unsaid"] = len(view.content - content)
    features["asked_in_last"] = len(view.asked_words & last) / max(1, len(view.asked_words))
    features["asked_in_any"] = len(view.asked_words & content) / max(1, len(view.asked_words))
    features["asked_words"] = len(view.asked_words)
    features["noun_in_last"] = view.asked_noun in last if view.asked_noun else 0.5
    features["total_in_last"] = bool(last & {"total", "altogether", "all"})
    features["words_in_last"] = len(last)
    features["steps_without_equation"] = sum(not step.equations for step in steps)
    features["steps_with_several"] = sum(len(step.equations) > 1 for step in steps)
    features["repeated_steps"] = len(steps) - len({step.text for step in steps})
    features["names"] = len(view.names)
    features["names_said"] = sum(name in text for name in view.names) / max(1, len(view.names))
    features["money_asked"] = question.text.count("$")
    features["money_said"] = text.count("$")
    features["conditions"] = text.count("If")
    return features
