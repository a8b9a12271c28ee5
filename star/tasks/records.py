r"""Anyone's questions and answers: a file that `star.row_files` reads, or a Hub data set; columns named in the recipe.

    {"Body": "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack",
     "Question": "How much do you have to pay to buy each pack?", "Answer": 51.0}

    python -m star.train --task.name records --task.path svamp.jsonl --task.question Body+Question --task.answer Answer

`question` and `answer` name columns: `a`, nested `a.b`, or several texts joined, `a+b`; rows that have neither are read as a chat,
prompt and response and the like (`star.layouts`). An answer that holds a solution counts from its `####` on (GSM8K), or by its
last `\boxed{}` (MATH). Answer types: number, text and math follow the contract of GSM8K (a last line `#### SPAN`, the hint in
parentheses after the question), choice that of CommonsenseQA (`Therefore, the answer is (B).`, hint ` (CORRECT)`); a choice is
given by its label, its text, or its place counted from 0. Without a test file a share of the rows, the same for every seed, is
the test split.

`task.examples` names a file of your own few-shot examples, with the same columns and one more, `rationale`:

    {"Body": "A box holds 12 eggs.", "Question": "How many eggs are in 3 boxes?", "Answer": 36, "rationale": "3 * 12 = 36 eggs."}

The answer is put below the rationale in the task's form. `task.instructions` replaces what chat models are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from star.grading.extraction import MARK, extract_marked, last_boxed
from star.grading.mathematics import MAX_MATH
from star.grading.numbers import canonical_number
from star.grading.verdicts import MAX_TEXT, plain_text
from star.problem import Problem, Task
from star.recipe import TaskSettings
from star.row_files import Row, cell
from star.tasks import commonsense_qa, gsm8k
from star.tasks.loading import Source, UnusableRowError, make_problem, question_text, with_rows
from star.tasks.rows import TaskError

INSTRUCTIONS = {
    "number": gsm8k.INSTRUCTIONS,
    "choice": commonsense_qa.INSTRUCTIONS,
    "text": "Reason step by step. End with a last line of the form `#### ANSWER`, where ANSWER is the answer in as few words as "
    "possible, and write nothing after it.",
    "math": "Solve the problem step by step. End with a last line of the form `#### ANSWER`, where ANSWER is the final answer as "
    "one LaTeX expression, and write nothing after it.",
}
DIRECT_INSTRUCTIONS = {
    "number": gsm8k.DIRECT_INSTRUCTIONS,
    "choice": commonsense_qa.DIRECT_INSTRUCTIONS,
    "text": "Answer with one line of the form `#### ANSWER`, in as few words as possible, and nothing else.",
    "math": "Answer with one line of the form `#### ANSWER`, where ANSWER is one LaTeX expression, and nothing else.",
}


def build(settings: TaskSettings, seed: int) -> Task:
    """The task over the user's rows. Raises TaskError when the settings do not fit together."""
    kind = settings.answer_type
    if settings.path is None and settings.dataset is None:
        raise TaskError("task records needs rows: set task.path to a local file or task.dataset to a Hub data set")
    if kind == "choice" and settings.choices is None:
        raise TaskError("task.answer_type choice needs task.choices, the column that holds the options")
    columns = (settings.question, settings.answer, *((settings.choices,) if settings.choices and kind == "choice" else ()))
    source = Source(lambda row: convert(row, settings), columns)
    task = replace(
        commonsense_qa.CONTRACT if kind == "choice" else gsm8k.CONTRACT,
        name="records",
        answer_type=kind,
        instructions=INSTRUCTIONS[kind],
        direct_instructions=DIRECT_INSTRUCTIONS[kind],
    )
    if kind in ("text", "math"):
        task = replace(task, extract=lambda text, problem: extract_marked(text, numbers=False))
    return with_rows(task, source, settings, seed, kind)


def convert(row: Row, settings: TaskSettings) -> Problem:
    """A row under the recipe's column names."""
    question = question_text(cell(row, settings.question))
    answer = cell(row, settings.answer)
    if answer is None or not str(answer).strip():
        raise UnusableRowError("no answer")
    if settings.answer_type == "choice":
        name = settings.choices or ""
        columns = [part.strip() for part in name.split("+")] if "+" in name else []
        options = {part: cell(row, part) for part in columns} if columns else cell(row, name)
        choices = commonsense_qa.read_choices(options, question)
        return make_problem(question, _label(answer, choices), choices)
    if isinstance(answer, list | Mapping):
        raise UnusableRowError("answer is a list or an object, not a text or a number")
    gold = str(answer).rpartition(MARK)[2].strip()
    if MARK not in str(answer):
        gold = last_boxed(gold) or gold
    if settings.answer_type == "number":
        number = canonical_number(gold if isinstance(answer, str) else answer)
        if number is None:
            raise UnusableRowError("answer is not a number")
        return make_problem(question, number)
    if not gold or "\n" in gold or len(gold) > (MAX_MATH if settings.answer_type == "math" else min(MAX_TEXT, 1_000)):
        raise UnusableRowError("answer is not one line of at most 1,000 characters (math: 400)")
    return make_problem(question, gold)


def _label(answer: Any, choices: Mapping[str, str]) -> str:
    """The label that a reference answer names: itself in either case, the place from 0, or the option's text.

    Raises UnusableRowError when it names none, or one option by its place and another by its text; TaskError for 0 among
    labels that are numbers from 1 on: then the 1 of another row may be a label or a place.
    """
    written = str(answer).strip()
    place = _place(answer, written)
    for label in (written, str(place)) if isinstance(answer, float) else (written,):
        if label in choices:
            return label
    labels = [label for label in choices if label.casefold() == written.strip("()[].: ").casefold()]
    places = [list(choices)[place]] if place is not None and place < len(choices) else []
    texts = [label for label, text in choices.items() if plain_text(text) == plain_text(written)]
    if not isinstance(answer, str) and places and texts and places[0] not in texts:
        raise UnusableRowError("answer is the place of one choice and the text of another")
    if places and not texts and all(label.isdigit() for label in choices):
        raise TaskError(
            f"the answer is {written}, but its choices are labelled {', '.join(choices)}: if the answers of this file are places "
            "counted from 0, give the labels or the texts of the choices instead"
        )
    named = labels or texts or places  # a text that equals an option is that option
    if not named:
        raise UnusableRowError("answer is not one of the choices")
    return named[0]


def _place(answer: Any, written: str) -> int | None:
    """A whole number from 0, also as text or as the float that a column with gaps makes of it."""
    if isinstance(answer, bool):
        return None
    if isinstance(answer, float):
        return int(answer) if answer >= 0 and answer.is_integer() else None
    return int(written) if written.isascii() and written.isdigit() and len(written) < 6 else None
