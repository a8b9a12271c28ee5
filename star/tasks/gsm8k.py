r"""GSM8K: grade-school word problems with a number for an answer.

One row of the data set as it is (Hub `openai/gsm8k`, config `main`, or the authors' .jsonl):

    question  Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many ...?
    answer    Natalia sold 48/2 = <<48/2=24>>24 clips in May.
              Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.
              #### 72

Contract: a rationale, then a last line `#### N` with one number, the data set's own form. Base models learn it from the
few-shot examples, chat models from the instructions. The hint is the final answer alone, in parentheses after the
question: `How many ...? (72)`. The gold solutions are trained on only where `curation.gold` asks for it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from star.grading.extraction import MARK, STOP, extract_marked
from star.grading.hints import mentions_answer_hint
from star.grading.numbers import canonical_number
from star.problem import Extraction, Problem, Task
from star.recipe import TaskSettings
from star.tasks.loading import Row, Source, UnusableRowError, cell, few_shot, load_splits, make_problem, question_text

INSTRUCTIONS = (
    "Solve the problem step by step, one calculation a line. End with a last line of the form `#### N`, where N is the final "
    "answer as a plain number, and write nothing after it."
)
_CALCULATOR_MARK = re.compile(r"<<[^<>\n]*>>")
DIRECT_INSTRUCTIONS = "Answer with one line of the form `#### N`, where N is the final answer as a plain number, and nothing else."


def prompt(problem: Problem) -> str:
    """The question block; the completion starts on the line after `Answer:`."""
    return f"Question: {problem.question}\nAnswer:\n"


def hinted_prompt(problem: Problem) -> str:
    """The question block with the final answer in parentheses after the question."""
    return f"Question: {problem.question} ({problem.gold})\nAnswer:\n"


def completion(rationale: str, answer: str) -> str:
    """Rationale lines, then `#### answer`; the answer line alone for direct answers."""
    line = f"{MARK} {answer.strip()}"
    return f"{rationale.strip()}\n{line}" if rationale.strip() else line


def extract(text: str, problem: Problem) -> Extraction:
    """The number of the last line, under the contract of `star/grading/extraction.py`."""
    return extract_marked(text, numbers=True)


def convert(row: Row) -> Problem:
    """A row with `question`, and `answer` as a solution that ends in `#### N` or as a bare number."""
    question = question_text(cell(row, "question"))
    answer = cell(row, "answer")
    if answer is None or not str(answer).strip():
        raise UnusableRowError("no answer")
    gold = canonical_number(str(answer).rpartition(MARK)[2] if isinstance(answer, str) else answer)
    if gold is None:
        raise UnusableRowError("answer is not a number")
    worked = _CALCULATOR_MARK.sub("", str(answer).rpartition(MARK)[0]).strip()
    return replace(make_problem(question, gold), solution=worked or None)


def build(settings: TaskSettings, seed: int) -> Task:
    """GSM8K from the Hub, or from `settings.path` with `gsm8k_test.*` beside it."""
    source = Source(convert, ("question", "answer"), "openai/gsm8k", "main", neighbours=("test",))
    shown = few_shot(source, settings, "gsm8k")
    return Task(
        name="gsm8k",
        load=lambda: load_splits(source, settings, seed, shown),
        examples=shown,
        prompt=prompt,
        hinted_prompt=hinted_prompt,
        completion=completion,
        extract=extract,
        answer_type="number",
        chance=lambda problem: 0.0,
        mentions_hint=mentions_answer_hint,
        instructions=INSTRUCTIONS,
        direct_instructions=DIRECT_INSTRUCTIONS,
        stop=STOP,
    )
