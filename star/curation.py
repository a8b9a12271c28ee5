"""Attempts -> training rows: Algorithm 1's filter, what can be asked for beyond it, and the promise that no hint is trained on."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from star.attempts import in_form
from star.errors import counted
from star.grading.hints import may_mention_hint
from star.problem import Attempt, Problem, Task, Verdict
from star.prompting import PromptBuilder
from star.recipe import CurationSettings
from star.schemas import RoundData
from star.tables import TrainingRow

if TYPE_CHECKING:
    from analysis.soundness.scorer import Item, Scorer, StepScores

Sound = list[bool | None]
"""True: sound, False: unsound or flagged, None: not judged."""


@dataclass(frozen=True)
class Soundness:
    """What judges attempts. A scorer stays open from its first call until `close`, so that a round opens it once."""

    judge: Callable[[Sequence[Attempt]], Sound]
    close: Callable[[], None] = lambda: None

    def __call__(self, attempts: Sequence[Attempt]) -> Sound:
        return self.judge(attempts)


def curate(attempts: Sequence[Attempt], task: Task, settings: CurationSettings, soundness: Soundness | None) -> list[Attempt]:
    """The attempts with `kept` and `drop_reason` filled in; order and number stay. What is curated in one call may be any part of a
    round that has all attempts of its problems in one mode, or all of their retries: a problem that was solved has neither retries
    nor attempts with the hint.

    Reasons, in the order they are tried: the verdict itself, mentions_hint, not_mixed, unsound, duplicate, cap. `soundness` judges
    attempts and is called once, for those that are left by then; None when `require` is `answer`. What is not judged is
    kept, and marked as `not_judged`.
    """
    mixed = _mixed(attempts) if settings.problems == "mixed" else None
    judged: list[Attempt] = [{**attempt, "kept": False, "drop_reason": _plain_reason(attempt, task)} for attempt in attempts]
    for attempt in judged:
        if mixed is not None and attempt["problem_id"] not in mixed:
            attempt["drop_reason"] = attempt["drop_reason"] or "not_mixed"
    open_ones = [attempt for attempt in judged if attempt["drop_reason"] is None]
    if soundness is not None:
        for attempt, sound in zip(open_ones, soundness(open_ones), strict=True):
            attempt["not_judged"] = sound is None
            attempt["drop_reason"] = "unsound" if sound is False else None
    seen: set[tuple[str, object]] = set()
    count: dict[str, int] = {}
    for attempt in (a for a in open_ones if a["drop_reason"] is None):
        problem_id, key = attempt["problem_id"], _key(attempt, settings)
        if key is not None and (problem_id, key) in seen:
            attempt["drop_reason"] = "duplicate"
        elif settings.cap is not None and count.get(problem_id, 0) >= settings.cap:
            attempt["drop_reason"] = "cap"
        else:
            attempt["kept"] = True
            seen.add((problem_id, key))
            count[problem_id] = count.get(problem_id, 0) + 1
    return judged


def _mixed(attempts: Sequence[Attempt]) -> set[str]:
    """Problems that the first pass got right in some attempts and not in others."""
    outcomes: dict[str, set[bool]] = {}
    for attempt in attempts:
        if attempt["mode"] == "generated":
            outcomes.setdefault(attempt["problem_id"], set()).add(attempt["verdict"] == Verdict.correct)
    return {problem_id for problem_id, own in outcomes.items() if len(own) == 2}


def _plain_reason(attempt: Attempt, task: Task) -> str | None:
    if attempt["verdict"] != Verdict.correct or attempt["answer"] is None:
        return str(attempt["verdict"])
    return "mentions_hint" if task.mentions_hint(in_form(attempt, task)) else None


def _key(attempt: Attempt, settings: CurationSettings) -> object | None:
    if settings.deduplicate == "off":
        return None
    if settings.deduplicate == "equations":
        from analysis.checks.reading import calculations

        if written := calculations(attempt["rationale"]):
            return written
    return " ".join(attempt["rationale"].split())


def soundness_of(task: Task, settings: CurationSettings, problems: Mapping[str, Problem]) -> Soundness | None:
    """What judges for `require: sound`: `curation.scorer`; where none is named the task's exact check, else what is proven or
    flagged by the analysis package. Raises InputError for a scorer that cannot be opened, before anything is sampled.
    """
    if settings.require == "answer":
        return None
    if settings.scorer is None and task.check is not None:
        return Soundness(lambda attempts: [attempt["sound"] for attempt in attempts])
    from analysis import score_records  # the one seam from the engine to the analysis
    from analysis.rationales.records import Record
    from analysis.rationales.steps import split_steps
    from analysis.soundness.grades import THRESHOLD, flagged
    from analysis.soundness.scorer import Item, Scorer
    from analysis.soundness.scorers import open_scorers

    stack, opened = ExitStack(), list[Scorer[Any]]()

    def close() -> None:
        opened.clear()
        stack.close()

    def p_unsound(records: Sequence[Record]) -> list[float | None]:
        if settings.scorer is None:
            return list(score_records(records)["p_unsound"])
        if not opened:
            opened.extend(stack.enter_context(open_scorers([settings.scorer])))
        results = _scored(opened[0], [Item.of(record, place) for place, record in enumerate(records)])
        if failed := [result.why for result in results if result.status == "error"]:
            warnings.warn(
                f"curation.scorer {settings.scorer} failed on {len(failed):,} of {counted(len(results), 'rationale')}, which "
                f"count as not judged: {failed[0]}",
                stacklevel=3,
            )
        return [result.p_unsound for result in results]

    def judged(attempts: Sequence[Attempt]) -> Sound:
        records = []
        for attempt in attempts:
            problem = problems[attempt["problem_id"]]
            records.append(
                Record(
                    id=attempt["attempt_id"],
                    question=problem.question,
                    choices=problem.choices,
                    steps=tuple(split_steps(attempt["rationale"])),
                    answer=attempt["answer"],
                    gold=problem.gold,
                )
            )
        threshold = THRESHOLD if settings.max_unsound is None else settings.max_unsound
        scores = p_unsound(records) if records else []
        return [None if p is None or p != p else not flagged(p, threshold) for p in scores]  # NaN: not judged

    if settings.scorer is not None:
        with open_scorers([settings.scorer]):
            pass
    return Soundness(judged, close)


def _scored(scorer: Scorer, items: Sequence[Item]) -> list[StepScores]:
    """Scores of items; those that a scorer cannot take one by one have status `error`."""
    from analysis.soundness.scorer import StepScores

    try:
        return scorer.score(items)
    except Exception as error:  # whatever it is: the others are judged
        if len(items) == 1:
            return [StepScores("error", why=str(error))]
        return [each for item in items for each in _scored(scorer, [item])]


def training_rows(
    kept: Iterable[Attempt],
    problems: Mapping[str, Problem],
    builder: PromptBuilder,
    settings: CurationSettings,
    *,
    shots: bool,
    seed: int,
) -> Iterator[TrainingRow]:
    """One row for each kept attempt. The hint is left out of the prompt unless `hint_share` says so."""
    rng = random.Random(f"hints-{seed}")
    for attempt in kept:
        problem = problems[attempt["problem_id"]]
        hinted = attempt["mode"] == "rationalized" and rng.random() < settings.hint_share
        yield {
            "attempt_id": attempt["attempt_id"],
            "problem_id": problem.id,
            "from_round": attempt["round"],
            "mode": attempt["mode"],
            "hinted": hinted,
            "prompt": builder.text(problem, shots=shots, hinted=hinted),
            "completion": in_form(attempt, builder.task),
        }


def gold_rows(
    problems: Sequence[Problem], builder: PromptBuilder, round_number: int, *, shots: bool, solutions: bool = False
) -> Iterator[TrainingRow]:
    """Direct fine-tuning, the paper's baseline: question -> gold answer, no rationale; or, for problems that came with one, the
    worked solution before it.
    """
    for problem in problems:
        if problem.solution or not solutions:
            yield {
                "attempt_id": f"{round_number:02d}-d-{problem.id}-0",
                "problem_id": problem.id,
                "from_round": round_number,
                "mode": "gold",
                "hinted": False,
                "prompt": builder.text(problem, shots=shots),
                "completion": builder.task.completion(problem.solution if solutions and problem.solution else "", problem.gold),
            }


def without_hints(
    rows: Iterable[TrainingRow], problems: Mapping[str, Problem], builder: PromptBuilder, *, shots: bool
) -> Iterator[TrainingRow]:
    """The same rows. Raises AssertionError where a prompt is not the plain one, unless the row is marked as hinted, and where a
    completion speaks of a hint.
    """
    for row in rows:
        plain = builder.text(problems[row["problem_id"]], shots=shots)
        if not row["hinted"] and row["prompt"] != plain:
            raise AssertionError(f"training row {row['attempt_id']} has another prompt than its problem")
        if row["mode"] != "gold" and builder.task.mentions_hint(row["completion"]):
            raise AssertionError(f"training row {row['attempt_id']} mentions its hint")
        yield row


def count_data(attempts: Iterable[Attempt], rows: Collection[TrainingRow], pool: int) -> RoundData:
    """Counts of a round's data, for metrics.jsonl and the table of rounds."""
    problems_used = len({row["problem_id"] for row in rows})
    drawn: set[str] = set()
    kept, dropped, sound = Counter[str](), Counter[str](), Counter[bool | None]()
    for attempt in attempts:
        drawn.add(attempt["problem_id"])
        if reason := attempt["drop_reason"]:
            dropped[reason] += 1
        if attempt["kept"]:
            sound[attempt["sound"]] += 1
            kept[attempt["mode"]] += 1
            kept["not_judged"] += bool(attempt.get("not_judged"))
            kept["hint_unsure"] += attempt["mode"] == "rationalized" and may_mention_hint(attempt["rationale"])
    checked = sound[True] + sound[False]
    return {
        "pool": pool,
        "drawn": len(drawn) or len(rows),
        "generated": kept["generated"],
        "rationalized": kept["rationalized"],
        "dropped": dict(sorted(dropped.items())),
        "problems_used": problems_used,
        "kept_sound": sound[True] / checked if checked else None,
        "kept_hint_unsure": kept["hint_unsure"],
        "kept_not_judged": kept["not_judged"],
    }
