"""Prove a task's grader on its own gold answers: each must be read back and judged correct, before anything is sampled.

    python -m star.validate gsm8k --task.path data/gsm8k_train.jsonl.gz
    python -m star.validate records --task.path rows.parquet --task.question Body+Question --task.answer Answer

Every gold answer is written as a perfect model would write it (with a rationale and without; a choice also as its full text),
extracted, graded. Prints the counts, the rows that were left out and why, and the rows that fail. Exit status: 0 all
accepted, 1 some fail or there is no data, 2 the command line is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Annotated

import tyro
from pydantic import BaseModel, ConfigDict

from star.command_line import parse, run_command
from star.errors import UsageError
from star.grading import grade
from star.problem import Problem, Task, Verdict
from star.recipe import TaskSettings


class Arguments(BaseModel):
    """Command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")]
    """addition | gsm8k | commonsense_qa | records"""
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


def written(problem: Problem) -> list[str]:
    """The gold answer, and its option's text unless that looks like another option's label."""
    text = (problem.choices or {}).get(problem.gold, "")
    return [problem.gold, text] if len(text) > 2 else [problem.gold]


def validate(arguments: Arguments) -> int:
    """Load, check, print. Returns the exit status."""
    from star.tasks import BUILDERS, load_task

    if arguments.name not in BUILDERS:
        raise UsageError(f"no task {arguments.name!r}; expected one of {', '.join(BUILDERS)}")
    settings = TaskSettings.model_validate({**arguments.task.model_dump(), "name": arguments.name})
    task = load_task(settings, arguments.seed)
    loaded = task.load()
    problems = [*loaded.train, *loaded.test]
    failed = list(failures(task, problems))
    failed += failures(task, [example.problem for example in task.examples])
    places = getattr(loaded, "places", {})
    left_out = getattr(loaded, "left_out", ())
    print(
        f"{task.name}: {len(loaded.train):,} train, {len(loaded.test):,} test problems, {len(task.examples)} few-shot examples"
    )
    for reason, count in loaded.skipped.items():
        print(f"left out: {count:,} x {reason}")
    for place, reason in left_out[: arguments.show]:
        print(f"  {place}: {reason}")
    for problem, what in failed[: arguments.show]:
        print(f"FAILS {places.get(problem.id, problem.id)}: {what} ({problem.question[:80]!r})")
    accepted = len(problems) - sum(problem.id in {p.id for p in problems} for problem, _ in failed)
    print(f"accepted {accepted:,} of {len(problems):,} gold answers ({100 * accepted / len(problems):.2f} %)")
    return 1 if failed else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: validate(parse(Arguments, __doc__, argv)))


if __name__ == "__main__":
    sys.exit(main())
