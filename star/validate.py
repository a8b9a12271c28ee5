"""Prove a task's grader on its own gold answers: each must be read back and judged correct, before anything is sampled.

    python -m star.validate gsm8k --task.path data/gsm8k_train.jsonl.gz
    python -m star.validate records --task.path rows.parquet --task.question Body+Question --task.answer Answer

Every gold answer is written as a perfect model would write it (with a rationale and without; a choice also as its full text)
and in three forms that models like (bold, boxed, ...), extracted, graded; and so is a wrong answer, which must not be
accepted. Prints the counts, the rows that were left out and why, the rows that fail, and a warning where the gold answers look
like another answer type. Exit status: 0 all accepted, 1 some fail or there is no data, 2 the command line is wrong.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Annotated

import tyro
from pydantic import BaseModel, ConfigDict

from star.command_line import parse, run_command
from star.errors import counted
from star.grading import grade
from star.grading.numbers import parse_number, show_number
from star.grading.verdicts import fold
from star.problem import Problem, Task, Verdict
from star.settings import TaskName, TaskSettings


class Arguments(BaseModel):
    """Command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[TaskName, tyro.conf.Positional]
    """Which task."""
    task: TaskSettings = TaskSettings()
    """Which problems, as in a recipe."""
    seed: int = 0
    """Seed of the splits."""
    show: int = 20
    """How many rows to list of those that fail and of those that were left out."""


def failures(task: Task, problems: Sequence[Problem]) -> Iterator[tuple[Problem, str]]:
    """(problem, what happened) for each gold answer that its own grader does not accept."""
    for problem in problems:
        for rationale, answer in product(("", task.examples[0].rationale), written(problem)):
            text = task.completion(rationale, answer)
            span = task.extract(text, problem).strict
            verdict = grade(span, problem, task.answer_type)
            if verdict != Verdict.correct:
                yield problem, f"gold {answer!r} read back as {span!r}: {verdict}"
                break
            if rationale and task.mentions_hint(text):
                yield problem, f"gold {answer!r}: the hint audit objects to the answer itself"
                break
        else:
            wrong = wrong_answer(task, problem)
            for answer in (*natural_forms(task, problem), *((wrong,) if wrong else ())):
                text = task.completion("", answer)
                verdict = grade(task.extract(text, problem).strict, problem, task.answer_type)
                if (verdict == Verdict.correct) == (answer is wrong):
                    kind = "wrong answer" if answer is wrong else "form"
                    yield problem, f"gold {problem.gold!r}, {kind} {answer!r}: {verdict}"
                    break


def natural_forms(task: Task, problem: Problem) -> tuple[str, ...]:
    """The gold answer in three forms that models write."""
    gold = problem.gold
    if task.answer_type == "addition":
        return (gold, " ".join(gold), f"0{gold}")
    if problem.choices:
        return (f"({gold})", f"**({gold})**", f"({gold}) {problem.choices[gold]}")
    return (f"**{gold}**", f"{gold}.", f"\\boxed{{{gold}}}")


def wrong_answer(task: Task, problem: Problem) -> str | None:
    """An answer that is not the gold answer; None where every option has the same text."""
    if task.answer_type in ("addition", "number"):
        number = parse_number(problem.gold)
        return None if number is None else show_number(number.values[-1] + 1) + ("%" if number.percent else "")
    if problem.choices:
        text = fold(problem.choices[problem.gold])
        return next((f"({label})" for label, other in problem.choices.items() if fold(other) != text), None)
    return f"{problem.gold}+1" if task.answer_type == "math" else f"{problem.gold} x"


_LOOKS: dict[str, tuple[re.Pattern[str], tuple[str, ...], str]] = {
    "true or false": (re.compile("true|false|yes|no", re.I), ("text", "math"), "choice, with two options"),
    "labels of options": (re.compile(r"[(\[]?[A-Ha-h][)\]]?\.?"), ("text", "math"), "choice, with task.choices"),
    "numbers": (re.compile(r"[-$]?\d[\d,.]*%?"), ("text",), "number"),
    "LaTeX": (re.compile(r".*\\[a-zA-Z]+.*"), ("text",), "math"),
}
"""What gold answers look like -> pattern, answer types that it is strange for, the type to use."""


def warnings(task: Task, problems: Sequence[Problem]) -> Iterator[str]:
    """A message for each other type that half of the gold answers look like, and for options with labels of their own."""
    for looks, (pattern, types, better) in _LOOKS.items():
        count = sum(pattern.fullmatch(problem.gold) is not None for problem in problems)
        if task.answer_type in types and 2 * count >= len(problems):
            yield f"{count:,} of {len(problems):,} gold answers look like {looks}; task.answer_type could be {better}"
    own = re.compile(r"[(\[]?[A-Ha-h1-9][)\].:]\s?\D.*")
    labelled = sum(all(map(own.fullmatch, problem.choices.values())) for problem in problems if problem.choices)
    if labelled:
        yield f"the options of {counted(labelled, 'problem')} begin with labels of their own; leave them out of task.choices"


def written(problem: Problem) -> list[str]:
    """The gold answer, and its option's text unless that looks like another option's label."""
    text = (problem.choices or {}).get(problem.gold, "")
    return [problem.gold, text] if len(text) > 2 else [problem.gold]


def validate(arguments: Arguments) -> int:
    """Load, check, print. Returns the exit status."""
    from star.tasks import load_task

    settings = TaskSettings.model_validate({**arguments.task.model_dump(), "name": arguments.name})
    task = load_task(settings, arguments.seed)
    loaded = task.load()
    problems = [*loaded.train, *loaded.test]
    failed = list(failures(task, problems))
    failed += failures(task, [example.problem for example in task.examples])
    amounts = [(len(loaded.test), "test problem"), (len(task.examples), "few-shot example")]
    print(f"{task.name}: {len(loaded.train):,} train, {', '.join(counted(n, noun) for n, noun in amounts)}")
    for reason, count in loaded.skipped.items():
        print(f"left out: {count:,} x {reason}")
    for place, reason in loaded.left_out[: arguments.show]:
        print(f"  {place}: {reason}")
    for warning in warnings(task, problems):
        print(f"warning: {warning}")
    for problem, what in failed[: arguments.show]:
        print(f"FAILS {loaded.places.get(problem.id, problem.id)}: {what} ({problem.question[:80]!r})")
    ids = {problem.id for problem in problems}
    accepted = len(problems) - sum(problem.id in ids for problem, _ in failed)
    print(f"accepted {accepted:,} of {len(problems):,} gold answers ({100 * accepted / len(problems):.2f} %)")
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: validate(parse(Arguments, __doc__, argv)))


if __name__ == "__main__":
    sys.exit(main())
