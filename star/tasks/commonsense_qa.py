r"""CommonsenseQA: questions with five options.

One row as the authors publish it (the Hub's `tau/commonsense_qa` has `question` and `choices` side by side instead):

    {"answerKey": "A", "question": {
       "stem": "The sanctions against the school were a punishing blow, and they seemed to what the efforts ...?",
       "choices": [{"label": "A", "text": "ignore"}, {"label": "B", "text": "enforce"}, ...]}}

Contract: a rationale that closes with the sentence `Therefore, the answer is (A).`, as in the paper's examples; the label, the
option's text or both may stand there. The hint is ` (CORRECT)` after the right option. The official test split has no
labels, so the validation split is the test split, as in the paper.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from star.grading.extraction import STOP, extract_stated
from star.grading.hints import mentions_choice_hint
from star.problem import Extraction, Problem, Task
from star.recipe import TaskSettings
from star.row_files import Row, absent, cell
from star.tasks.loading import MAX_QUESTION, Source, UnusableRowError, make_problem, question_text, with_rows

MARKER = "(CORRECT)"
LABEL = re.compile(r"[^\W\d_]|\d{1,2}")
"""One letter or a small number; anything longer is an option's text."""
INSTRUCTIONS = (
    "Reason about the question and its answer choices in a few sentences. Close with the sentence `Therefore, the answer is (X).`, "
    "where X is the letter of one choice, and write nothing after it."
)
DIRECT_INSTRUCTIONS = (
    "Answer with the sentence `Therefore, the answer is (X).` alone, where X is the letter of one choice, and nothing else."
)


def prompt(problem: Problem) -> str:
    """Question and options; the completion starts on the line after `Answer:`."""
    return _block(problem, None)


def hinted_prompt(problem: Problem) -> str:
    """The same with ` (CORRECT)` after the right option."""
    return _block(problem, problem.gold)


def _block(problem: Problem, marked: str | None) -> str:
    options = (f"({label}) {text}{f' {MARKER}' if label == marked else ''}" for label, text in (problem.choices or {}).items())
    return "\n".join((f"Question: {problem.question}", "Answer Choices:", *options, "Answer:", ""))


def completion(rationale: str, answer: str) -> str:
    """The closing sentence, after the rationale if there is one. `answer` is a label or a span that grading accepts."""
    answer = answer.strip()
    if LABEL.fullmatch(answer):
        answer = f"({answer})"
    elif not re.search(r"[(\[][^\W_]{1,4}[)\]]", answer):
        answer = '"' + answer.strip('"') + '"'  # an option may read "given": the hint audit must not take it for a confession
    rationale = rationale.strip()
    if not rationale:
        return f"The answer is {answer}."
    joint = " " if rationale[-1] in ".!?:)\"”" else "\n"  # else the sentence would not open one, and could not be read back
    return f"{rationale}{joint}Therefore, the answer is {answer}."


def extract(text: str, problem: Problem) -> Extraction:
    """The span of the closing sentence, under the contract of `star/grading/extraction.py`."""
    return extract_stated(text, MARKER)


def convert(row: Row) -> Problem:
    """A row in the authors' format or the Hub's."""
    nested = isinstance(cell(row, "question"), Mapping)
    question = question_text(cell(row, "question.stem" if nested else "question"))
    choices = read_choices(cell(row, "question.choices" if nested else "choices"), question)
    key = cell(row, "answerKey")
    if key is None or not str(key).strip():
        raise UnusableRowError("no answer")
    if str(key).strip() not in choices:
        raise UnusableRowError("answer is not one of the choices")
    return make_problem(question, str(key).strip(), choices)


def read_choices(value: object, question: str = "") -> dict[str, str]:
    """{label: text} from {label: text}, [text, ...], [{label, text}, ...] or {label: [...], text: [...]}."""
    pairs: list[tuple[object, object]] = []
    if isinstance(value, Mapping):
        labels, texts = value.get("label"), value.get("text")
        if isinstance(labels, list) and isinstance(texts, list):
            pairs = list(zip(labels, texts, strict=False))
        else:
            pairs = [(label, text) for label, text in value.items() if not absent(text)]  # a column of another row's label
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            as_object = isinstance(item, Mapping)
            label = item.get("label") if as_object else (chr(ord("A") + index) if len(value) <= 26 else str(index + 1))
            pairs.append((label, item.get("text") if as_object else item))
    choices = {
        str(label).strip(): " ".join(str(text).split()) for label, text in pairs if not absent(text) and not absent(label)
    }
    own = {label: re.match(rf"[(\[]?{re.escape(label)}\s?[)\].:]\s*(?=\S)", text) for label, text in choices.items()}
    if all(own.values()):  # AQuA writes the option A as "A)21"
        choices = {label: text[match.end() :] for label, text in choices.items() if (match := own[label])}
    if len(choices) < 2 or len(choices) != len(pairs):
        raise UnusableRowError("fewer than two choices" if len(pairs) < 2 else "choices without a text or with the same label")
    if any(not LABEL.fullmatch(label) for label in choices) or "" in choices.values():
        raise UnusableRowError("choices with an empty text or a label that is not a letter or at most two digits")
    if len(question) + sum(map(len, choices.values())) > MAX_QUESTION:
        raise UnusableRowError(f"question longer than {MAX_QUESTION:,} characters")
    return choices


def chance(problem: Problem) -> float:
    """One in as many as there are options."""
    return 1 / len(problem.choices or ("",))


CONTRACT = Task(
    name="commonsense_qa",
    prompt=prompt,
    hinted_prompt=hinted_prompt,
    completion=completion,
    extract=extract,
    answer_type="choice",
    chance=chance,
    mentions_hint=mentions_choice_hint,
    instructions=INSTRUCTIONS,
    direct_instructions=DIRECT_INSTRUCTIONS,
    stop=STOP,
)


def build(settings: TaskSettings, seed: int) -> Task:
    """CommonsenseQA from the Hub, or from `settings.path` with `commonsense_qa_dev.*` beside it."""
    source = Source(
        convert,
        ("question", "question.choices|choices", "answerKey"),
        "tau/commonsense_qa",
        test_splits={"test": "validation"},
        neighbours=("dev", "validation"),
    )
    return with_rows(CONTRACT, source, settings, seed)
