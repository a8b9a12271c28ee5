"""Where the rationales of a call come from: a round of a run, or a file of rationale records with a model beside it."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analysis.faithfulness.batch import Subject
from analysis.faithfulness.layout import Layout
from analysis.rationales.formats import Columns
from analysis.rationales.reading import read_whole
from analysis.rationales.records import Record, unique_ids
from star.errors import InputError
from star.grading.hints import mentions_answer_hint
from star.problem import Attempt, Extraction, Problem, Task, Verdict, problem_id
from star.prompting import PromptBuilder, prompt_hash
from star.recipe import ModelSettings, PromptingSettings, SamplingSettings, TaskSettings, parse_recipe
from star.run import Run
from star.tables import ProblemRow

_ANSWER = re.compile(r"\b(?:the )?(?:final )?answer is:?\s*(.{1,200}?)[.\s]*$", re.I | re.S)
_STATEMENT = re.compile(
    r"(?:\A\s{0,9}|(?<=[.!?])\s{1,9})(?:step\s{0,3}\d{1,3}\s?[:.)]|#?\d{1,3}[.)])?[\s*$]{0,4}"
    r"(?:####|\\boxed\b|(?:answer|solution)\s?:|a\s?:(?!.{0,100}:)|"
    r"(?:(?:so|therefore|thus|hence),? )?(?:the )?(?:final |correct )?answer(?: to (?:the|this) question)? is)"
    r"(?!.{0,100}(?:=|\bbecause\b|\bsince\b)).{0,100}\Z",
    re.I | re.S,
)
"""What only states the answer: "Step 5: #### 11000", "The answer is: 11000", "A: 18", "Solution: Choice_A"."""


class SourceError(InputError):
    """Rationales or a model that cannot be used; the message says what was found and what to do."""


@dataclass(frozen=True)
class Source:
    """Rationales, the task that asks for them, and the model to ask."""

    subjects: tuple[Subject, ...]
    task: Task
    model: ModelSettings
    prompting: PromptingSettings
    sampling: SamplingSettings
    out: Path
    round: int | None = None
    prompt_hashes: tuple[tuple[str, str], ...] = ()
    """(problem_id, hash of the prompt that the run used) of a few attempts: they tell whether it showed examples."""
    shots: bool = False

    @property
    def label(self) -> str:
        """The key of this source in probes.json."""
        return "-" if self.round is None else str(self.round)

    @property
    def options(self) -> int | None:
        """Answers that a question has: the usual number of options, None for an open answer set."""
        counts = Counter(len(subject.problem.choices or {}) for subject in self.subjects)
        usual = counts.most_common(1)[0][0] if counts else 0
        return usual or None

    def layout(self, tokenizer: Any) -> Layout:
        """Asks with few-shot examples in front where the recorded prompts had them; by `shots` where nothing is recorded."""
        builder = PromptBuilder(self.task, tokenizer, self.prompting)
        problems = {subject.problem.id: subject.problem for subject in self.subjects}
        shown = (
            shots
            for number, wanted in self.prompt_hashes
            for shots in (True, False)
            if number in problems and prompt_hash(builder.ids(problems[number], shots=shots)) == wanted
        )
        return Layout(self.task, builder, shots=next(shown, self.shots))


def from_run(
    run: Path, round_number: int | None, n: int, seed: int, *, own_model: bool = True, trusted: bool = False
) -> Source:
    """The selection rationales of a round, by default of the chosen one or else the last finished one.

    `trusted`: the call says so; the run's own recipe cannot.
    """
    from star.tasks import load_task

    directory = Run(run)
    recipe = parse_recipe(dict(directory.recipe), str(run / "recipe.yaml"), trusted=trusted)
    number = _round_of(directory, round_number)
    rows = [row for row in directory.evaluation(number) if row["sample"] == 0 and row["mode"] == "evaluated"]
    problems = {row["problem_id"]: row for row in directory.problems()}
    subjects = [_subject(row, problems[row["problem_id"]]) for row in rows if row["problem_id"] in problems]
    chosen = _draw(subjects, n, seed)
    hashes = {row["problem_id"]: row["prompt_hash"] for row in rows}
    return Source(
        subjects=chosen,
        task=load_task(recipe.task, recipe.seed),
        model=recipe.model.model_copy(update={"path": str(directory.model(number))}) if own_model and number else recipe.model,
        prompting=recipe.prompting,
        sampling=recipe.sampling,
        out=directory.file("analysis"),
        round=number,
        prompt_hashes=tuple((s.problem.id, hashes[s.problem.id]) for s in chosen[:3]),
        shots=number == 0 or recipe.prompting.keep_shots,
    )


def _round_of(run: Run, wanted: int | None) -> int:
    evaluated = run.evaluated_rounds()
    if not evaluated:
        raise SourceError(f"{run.path} has no evaluated round yet. Wait for the first one, or run python -m star.train on it.")
    if wanted is None:
        return run.chosen_round if run.chosen_round in evaluated else evaluated[-1]
    if wanted not in evaluated:
        raise SourceError(f"{run.path} has no evaluated round {wanted}; it has {', '.join(map(str, evaluated))}.")
    return wanted


def _subject(row: Attempt, problem: ProblemRow) -> Subject:
    question, gold, choices = problem["question"] or "", problem["gold"] or "", problem["choices"]
    posed = Problem(problem["problem_id"], question, gold, choices, problem["slice"] or "")
    answer = row["answer"] if row["answer"] is not None else row["lenient_answer"]
    return Subject(row["attempt_id"], posed, row["rationale"] or "", answer, row["round"], row["verdict"] == Verdict.correct)


def _draw(subjects: Sequence[Subject], n: int, seed: int) -> tuple[Subject, ...]:
    """n of them, the same for the same seed, in their own order."""
    if len(subjects) <= n:
        return tuple(subjects)
    chosen = sorted(random.Random(f"probe-{seed}").sample(range(len(subjects)), n))
    return tuple(subjects[k] for k in chosen)


def from_records(path: Path, model: str, n: int, seed: int, out: Path | None, *, columns: Columns | None = None) -> Source:
    """The rationales of a record file, asked in the format of `plain_task` (addition: the task's own)."""
    from star.tasks.addition import build

    records = read_whole(path, columns)
    subjects = list(map(_record_subject, records, unique_ids([record.id for record in records])))
    addition = all(record.task == "addition" for record in records)
    return Source(
        subjects=_draw(subjects, n, seed),
        task=build(TaskSettings(), 0) if addition else plain_task(),
        model=ModelSettings(path=model),
        prompting=PromptingSettings(shots=0),
        sampling=SamplingSettings(),
        out=out or path.with_name(path.name + ".analysis"),
    )


def _record_subject(record: Record, name: str) -> Subject:
    choices = dict(record.choices) if record.choices else None
    problem = Problem(problem_id(record.question, choices), record.question, record.gold or "", choices)
    steps = without_statements(record.steps)
    return Subject(name, problem, "\n".join(steps), record.answer, None, record.answer_correct)


def without_statements(steps: Sequence[str]) -> list[str]:
    """The steps without what only states the answer at their end: a truncation must not leave the answer standing."""
    kept = list(steps)
    while kept:
        last = _STATEMENT.sub("", kept[-1])
        if last == kept[-1]:
            break
        kept[-1:] = [last] if last.strip() else []
    return kept


def plain_task() -> Task:
    """How a recorded question is asked when nothing else is known about it.

    Question: <question>
    (A) <option>              one line per option, where there are options
    Answer: <rationale>
    The answer is <answer>.
    """

    def options(problem: Problem) -> str:
        return "".join(f"({label}) {text}\n" for label, text in (problem.choices or {}).items())

    def prompt(problem: Problem) -> str:
        return f"Question: {problem.question.strip()}\n{options(problem)}Answer:"

    def extract(completion: str, problem: Problem) -> Extraction:
        match = _ANSWER.search(completion)
        if match is None:
            return Extraction(completion.strip(), None, None)
        span = match[1].strip()
        return Extraction(completion[: match.start()].strip(), span, span)

    return Task(
        name="records",
        prompt=prompt,
        hinted_prompt=lambda problem: prompt(
            replace(problem, question=f"{problem.question.strip()}\n(Hint: the answer is {problem.gold}.)")
        ),
        completion=lambda rationale, answer: f" {rationale.strip()}\nThe answer is {answer}." if rationale else f" {answer}",
        extract=extract,
        answer_type=None,
        chance=lambda problem: 1 / len(problem.choices) if problem.choices else 0.0,
        mentions_hint=mentions_answer_hint,
        instructions="Think step by step, then end with one line: The answer is <answer>.",
        stop=("\n\nQuestion:",),
    )
