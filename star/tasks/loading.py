"""Rows -> problems -> splits, and what is done about bad data.

What is wrong with a whole file (missing, empty, no such column, not UTF-8, not JSON) is an error that names the file and the
row. What is wrong with one row (no answer, a repeated question, a 100,000-character question, an answer outside the
choices) leaves that row out, and every row left out is counted under its reason in `Splits.skipped`.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from star.parsing import HALF
from star.problem import Example, Problem, Splits, Task, problem_id
from star.recipe import SEEDS, TaskSettings
from star.row_files import Row, cell
from star.tasks.rows import Located, TaskError, neighbour, read_file, read_hub

MAX_QUESTION = 20_000
"""Characters of a question with its choices; a longer one leaves no room for a rationale in any usual context."""


class UnusableRowError(Exception):
    """Raised by a task's `convert` for a row to leave out; its text is the reason that is counted."""


@dataclass(frozen=True)
class Source:
    """Where a task's rows come from, and how one row becomes a problem."""

    convert: Callable[[Row], Problem]
    """Raises UnusableRowError for a row to leave out."""
    columns: tuple[str, ...]
    """Columns of which every file must have each (dotted for nested ones, `a|b` for alternatives)."""
    dataset: str | None = None
    """Hub id when the recipe names none."""
    dataset_config: str | None = None
    test_splits: Mapping[str, str] = field(default_factory=dict)
    """Hub split names to read instead of those of the recipe."""
    neighbours: tuple[str, ...] = ()
    """What replaces "train" in the file name of `path` to give the test file beside it."""


def load_splits(source: Source, settings: TaskSettings, seed: int, examples: Iterable[Example]) -> Splits:
    """Read, convert, drop what is unusable or repeated, split. Raises TaskError when there is nothing to work on.

    The seed draws the training problems alone: runs with other seeds are compared on the same test split.
    """
    train_rows, test_rows = _read_both(source, settings)
    left_out: list[tuple[str, str]] = []
    taken = {example.problem.id: "equal to a few-shot example" for example in examples}
    places: dict[str, str] = {}
    test = _problems(source, test_rows, dict(taken), left_out, places) if test_rows is not None else []
    taken |= {problem.id: "question is in the test split too" for problem in test}
    train = _problems(source, train_rows, taken, left_out, places)
    if test_rows is None:
        train, test = _share(train, settings.test_share)
    if not train or not test:
        empty = "training" if not train else "test"
        reasons = "; ".join(f"{count} x {reason}" for reason, count in Counter(r for _, r in left_out).most_common())
        advice = "; task.answer_type may be number, choice, text or math" if "answer is not" in reasons else ""
        raise TaskError(f"{_origin(source, settings)} has no usable {empty} row ({reasons or 'too few rows'}){advice}")
    train = limited(train, settings.limit, f"limit-{seed}")
    test = limited(test, settings.test_limit, "test-limit")
    skipped = dict(sorted(Counter(reason for _, reason in left_out).items()))
    return Splits(tuple(train), tuple(test), skipped, places, tuple(left_out))


def _origin(source: Source, settings: TaskSettings) -> str:
    return settings.path or settings.dataset or source.dataset or "the task"


def _problems(
    source: Source,
    rows: Sequence[Located],
    taken: dict[str, str],
    left_out: list[tuple[str, str]],
    places: dict[str, str],
) -> list[Problem]:
    """Problems of one split. `taken` says why an id may not come (again); ids of this split are added to it."""
    problems = []
    golds: dict[str, str] = {}
    for located in rows:
        try:
            problem = source.convert(located.row)
        except UnusableRowError as reason:
            left_out.append((located.where, str(reason)))
            continue
        except TaskError as error:
            raise TaskError(f"{located.where}: {error}") from error
        if problem.id in taken:
            conflict = golds.get(problem.id, problem.gold) != problem.gold
            reason_text = "repeated question with another answer" if conflict else taken[problem.id]
            left_out.append((located.where, reason_text))
            continue
        taken[problem.id] = "repeated question"
        golds[problem.id] = problem.gold
        places[problem.id] = located.where
        problems.append(problem)
    return problems


def _share(problems: list[Problem], share: float) -> tuple[list[Problem], list[Problem]]:
    """(train, test): a random share, in file order; at least one test problem where there are two problems."""
    size = max(1, round(len(problems) * share)) if len(problems) > 1 else 0
    chosen = {p.id for p in random.Random("test-share").sample(problems, size)}
    return [p for p in problems if p.id not in chosen], [p for p in problems if p.id in chosen]


def limited(problems: list[Problem], limit: int | None, seed: str) -> list[Problem]:
    """At most `limit` of the problems, drawn by `seed`, in their order; all of them without a limit."""
    if limit is None or limit >= len(problems):
        return problems
    chosen = set(random.Random(seed).sample(range(len(problems)), limit))
    return [problem for index, problem in enumerate(problems) if index in chosen]


def _read_both(source: Source, settings: TaskSettings) -> tuple[list[Located], list[Located] | None]:
    """Rows of train and test; None for test means: cut it from train."""
    if settings.path is not None:
        path = Path(settings.path).expanduser()
        test_path = Path(settings.test_path).expanduser() if settings.test_path else neighbour(path, source.neighbours)
        train = read_file(path, source.columns)
        return train, None if test_path is None else read_file(test_path, source.columns)
    if settings.test_path is not None:
        raise TaskError("task.test_path is set but task.path is not; give both, or neither to load from the Hub")
    dataset = settings.dataset or source.dataset
    if dataset is None:
        raise TaskError("task records needs rows: set task.path to a local file or task.dataset to a Hub data set")
    config = settings.dataset_config or (source.dataset_config if settings.dataset is None else None)
    test_split = source.test_splits.get(settings.test_split, settings.test_split)
    train = read_hub(dataset, config, settings.train_split, source.columns)
    if settings.test_split == settings.train_split:
        return train, None
    return train, read_hub(dataset, config, test_split, source.columns, optional=settings.test_split == "test")


def question_text(value: object) -> str:
    """A question as clean text. Raises UnusableRowError when there is none or it is too long."""
    if not isinstance(value, str) or not value.strip():
        raise UnusableRowError("no question")
    if len(value) > MAX_QUESTION:
        raise UnusableRowError(f"question longer than {MAX_QUESTION:,} characters")
    return value.strip()


def make_problem(question: str, gold: str, choices: Mapping[str, str] | None = None) -> Problem:
    """A problem under its content hash. Raises UnusableRowError for text that cannot be written as UTF-8."""
    texts = [("question", question), ("answer", gold)]
    texts += [("choice", text) for option in (choices or {}).items() for text in option]
    for name, text in texts:
        if HALF.search(text):
            raise UnusableRowError(f"{name} holds half a surrogate pair (not UTF-8)")
    return Problem(problem_id(question, choices), question, gold, choices)


def with_rows(task: Task, source: Source, settings: TaskSettings, seed: int, group: str | None = None) -> Task:
    """The task over the rows of a source, with its few-shot examples."""
    shown = few_shot(source, settings, task.name, group)
    return replace(task, load=lambda: load_splits(source, settings, seed, shown), examples=shown)


def few_shot(source: Source, settings: TaskSettings, name: str, group: str | None = None) -> tuple[Example, ...]:
    """Worked examples: those of `task.examples`, else of `seeds/few_shot/<name>.json` (objects with question, choices or none,
    rationale and answer).
    """
    if settings.examples is not None:
        given = Path(settings.examples).expanduser()
        shipped = SEEDS.parent / given  # for seeds/..., as with models
        return tuple(_own_examples(source, shipped if shipped.is_file() else given))
    content = json.loads((SEEDS / "few_shot" / f"{name}.json").read_text(encoding="utf-8"))
    rows = content if group is None else content[group]
    return tuple(Example(make_problem(row["question"], row["answer"], row.get("choices")), row["rationale"]) for row in rows)


def _own_examples(source: Source, path: Path) -> Iterator[Example]:
    """Rows like the task's own with a column `rationale`. Raises TaskError naming the row that cannot be used."""
    for located in read_file(path, (*source.columns, "rationale")):
        rationale = cell(located.row, "rationale")
        try:
            if not isinstance(rationale, str) or not rationale.strip():
                raise UnusableRowError("no rationale")
            yield Example(source.convert(located.row), rationale.strip())
        except UnusableRowError as reason:
            raise TaskError(f"{located.where}: {reason}; an example needs a question, a rationale and an answer") from reason
