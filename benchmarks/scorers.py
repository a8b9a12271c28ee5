"""What do scorers of steps find where every line can be checked? Monte-Carlo step values and process reward models on addition.

    python benchmarks/scorers.py          # about fifteen minutes; --quick: under two

Rationales of the early rounds of a run that keeps every right answer, sampled, rationalized and evaluated ones; and right answers
with a wrong line, by a model that still finds a hint and hardly a right line. The exact check of a scratchpad is the truth.
`rollout` lets the run's chosen model go on from every step; two process reward models are trained on half of the questions, one on
labels from rollouts (right: at least LEFT of the value before is left), one on those of the exact check. All are measured on the
other half. Scores are kept in benchmarks/cache, so that an interrupted call goes on.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import addition
from benchmarks import evaluation as ev
from benchmarks.arms import arm_recipe, attempts_of, finished_run, made, made_by
from benchmarks.common import CommonArguments, cache_of, parse, write_result
from star.command_line import run_command
from star.progress import bar
from star.recipe import Recipe
from star.row_files import read_rows
from star.run import Run
from star.statistics import wilson

CHANGES: dict[str, Any] = {
    "task": {"digits": [1, 2, 3], "test_size": 100},
    "sampling": {"samples": 3, "temperature": 0.7},
    "loop": {"rounds": 2, "problems": 600, "rationalizer": "current"},
    "curation": {"require": "answer"},
    "training": {"steps": {"first": 80}},
    "evaluation": {"selection_size": 100},
}
FORGETFUL: dict[str, Any] = {
    "task": {"test_size": 50},
    "loop": {"rounds": 2, "problems": 500, "rationalizer": "current"},
    "curation": {"require": "answer"},
    "training": {"steps": {"first": 40}},
    "evaluation": {"selection_size": 100},
}
"""After round 1 this run's model still finds the hint, and hardly any right line: right answers that are unsound."""
QUICK: dict[str, Any] = {**CHANGES, **addition.QUICK, "loop": {"rounds": 1, "problems": 20}}
CHUNK = 200
"""Rationales that are rolled out before their values are kept."""
LABELS = ("rollout labels", "exact labels")


@dataclass(frozen=True)
class Arguments(CommonArguments):
    rationales: int = 800
    """Rationales drawn from the run; half of the questions are trained on."""
    epochs: int = 10
    """Passes over them."""


@dataclass(frozen=True)
class Row:
    """A rationale with its truth."""

    item: Any
    """`analysis.soundness.scorer.Item`."""
    first_error: int
    """0-based; -1: sound."""
    right: bool
    mode: str
    trained_on: bool

    @property
    def kind(self) -> str:
        """Such as "rationalized, right answer, unsound"."""
        return f"{self.mode}, {'right' if self.right else 'wrong'} answer, {'sound' if self.first_error < 0 else 'unsound'}"


def main() -> None:
    arguments = parse(Arguments, __doc__)
    count, epochs, resamples = (80, 1, 50) if arguments.quick else (arguments.rationales, arguments.epochs, 400)
    recipe = arm_recipe("addition.yaml", 0, QUICK if arguments.quick else CHANGES, folder="scorers", device=arguments.device)
    run = finished_run(recipe)
    folder = cache_of(arguments.device) / "scorers" / f"{run.name}-{count}"
    rows = rationales(run, count)
    rolled_out = roll_out(run, rows, folder / "rollouts.jsonl")
    hinted = hinted_rows(arm_recipe("addition.yaml", 0, QUICK if arguments.quick else FORGETFUL, folder="scorers"), 300)
    by_rollout = roll_out(run, hinted, folder / "hinted.jsonl")
    test = [i for i, row in enumerate(rows) if not row.trained_on]
    scored = {"rollout": [*(rolled_out[i]["scores"] for i in test), *(each["scores"] for each in by_rollout)]}
    tested = [rows[i] for i in test]
    for name in LABELS:
        model = folder / f"{name.replace(' ', '-')}-{epochs}"
        train(name, rows, rolled_out, model, epochs)
        scored[f"prm, {name}"] = prm_scores(model, [*tested, *hinted])
    figures = {
        "made": made([made_by(run)]),
        "rationales": {"n": len(rows), "trained_on": len(rows) - len(tested), **Counter(row.kind for row in [*rows, *hinted])},
        "scorers": {name: measure([*tested, *hinted], scores, len(tested), resamples) for name, scores in scored.items()},
    }
    write_result("scorers", figures, quick=arguments.quick, seeds=[0], device=arguments.device)


def rationales(run: Path, count: int) -> list[Row]:
    """Distinct rationales of a run with what the exact check says of them: all right answers with a wrong line, and a draw of the
    others."""
    from analysis.rationales.reading import read_records

    rows = checked(list(read_records(run)))
    random.Random("scorers-0").shuffle(rows)
    rows.sort(key=lambda row: not (row.right and row.first_error >= 0))
    return sorted(rows[:count], key=lambda row: row.item.place)


def checked(records: Sequence[Any]) -> list[Row]:
    """Rows of distinct records that the exact check locates an error in, or clears."""
    from analysis.soundness.judging import EXACT_CHECK, judge
    from analysis.soundness.scorer import Item

    distinct = {(r.question, r.steps, r.answer): (place, r) for place, r in enumerate(records) if r.steps}
    rows = []
    for (place, record), judgement in zip(distinct.values(), judge([r for _, r in distinct.values()]), strict=True):
        if judgement.scorer == EXACT_CHECK and judgement.first_error_step is not None:
            half = int(hashlib.sha256(record.question.encode()).hexdigest(), 16) % 2 == 0
            mode, right = str(record.meta["mode"]), bool(record.answer_correct)
            rows.append(Row(Item.of(record, place), judgement.first_error_step, right, mode, half))
    return rows


def hinted_rows(recipe: Recipe, count: int) -> list[Row]:
    """Right answers with a wrong line, of questions that are not trained on: two-digit sums that the model of a run's round 1 was
    told the answers of."""
    from analysis.rationales.records import Record
    from analysis.rationales.steps import split_steps
    from star.sampling import Decoding
    from star.shards import Shard
    from star.tasks import load_task

    task = load_task(recipe.task, recipe.seed)
    problems = {p.id: p for p in task.load().train if p.slice == "2 digits"}
    chosen, decoding = list(problems.values())[: 2 * count], Decoding(0.7, 0.9, 1, 80, task.stop)
    shard = Shard(0, tuple(chosen), decoding, "rationalized", "train", 2, False)
    records = [
        Record(
            f"hinted-{attempt['problem_id']}",
            question=problems[attempt["problem_id"]].question,
            steps=tuple(split_steps(attempt["rationale"])),
            answer=attempt["answer"],
            gold=attempt["gold"],
            answer_correct=True,
            meta={"mode": "hinted"},
        )
        for attempt in attempts_of(recipe, Run(finished_run(recipe)).model(1), shard)
        if attempt["verdict"] == "correct"
    ]
    return [row for row in checked(records) if row.first_error >= 0 and not row.trained_on]


def roll_out(run: Path, rows: Sequence[Row], file: Path) -> list[dict[str, Any]]:
    """Of each row {"labels": step labels for training, "scores": ...}; what a call before this one did is read back."""
    from analysis.soundness.rollout import LEFT, Rationale, Rollouts, progress, scores_of
    from analysis.soundness.scorers import Place, ScorerOptions

    file.parent.mkdir(parents=True, exist_ok=True)
    done = [dict(row) for _, row in read_rows(file) if isinstance(row, dict)] if file.is_file() else []
    scorer = Rollouts("", ScorerOptions(), Place(run))
    for start in bar("rolling out", unit="chunk", over=range(len(done), len(rows), CHUNK)):
        new = []
        read = [scorer.read(row.item) for row in rows[start : start + CHUNK]]
        list(scorer.engine.ask(scorer.measured, [each for each in read if isinstance(each, Rationale)]))
        for each in read:
            if isinstance(each, Rationale):
                scores = {**asdict(scores_of(each.values, scorer.few)), "usage": asdict(each.usage)}
                new.append({"scores": scores, "labels": [p and p >= LEFT for p in progress(each.values)]})
            else:
                new.append({"scores": asdict(each), "labels": []})
        with file.open("a", encoding="utf-8") as handle:
            handle.write("".join(json.dumps(one) + "\n" for one in new))
        done += new
    scorer.close()
    return done


def train(name: str, rows: Sequence[Row], rolled_out: Sequence[dict[str, Any]], model: Path, epochs: int) -> None:
    """Train a process reward model on the first half of the questions, if it is not there."""
    from analysis import train_scorer

    file, done = model.with_suffix(".jsonl"), model.with_suffix(".done")
    if done.is_file():
        return
    with file.open("w", encoding="utf-8") as handle:
        for row, values in zip(rows, rolled_out, strict=True):
            labels = {"labels": values["labels"]} if name == LABELS[0] else {"first_error_step": row.first_error}
            said = name != LABELS[0] or any(label is not None for label in values["labels"])
            if row.trained_on and said:
                handle.write(json.dumps({"question": row.item.question, "steps": row.item.steps, **labels}) + "\n")
    train_scorer.train(train_scorer.Arguments(file, model, epochs=epochs, learning_rate=1e-3, batch_size=32))
    done.touch()


def prm_scores(model: Path, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What a process reward model says of rows."""
    from analysis.soundness.scorers import open_scorers

    with open_scorers([f"prm:{model}"]) as (scorer,):
        began = time.monotonic()
        results = [asdict(result) for result in scorer.score([row.item for row in rows])]
    for result in results:
        result["usage"]["seconds"] = (time.monotonic() - began) / len(rows)
    return results


def suspicion(scores: dict[str, Any]) -> float:
    """p_unsound; where there is none, 1 minus the lowest P(step right); 0 where nothing is said."""
    known = [p for p in scores["step_ok"] if p is not None]
    return float(scores["p_unsound"] if scores["p_unsound"] is not None else 1 - min(known, default=1.0))


def auroc(score: Sequence[float], rows: Sequence[Row], resamples: int) -> dict[str, Any]:
    """For unsound, of all rationales and of those with a right answer."""
    unsound = np.array([row.first_error >= 0 for row in rows])
    question = np.unique([row.item.question for row in rows], return_inverse=True)[1]
    right, p = np.array([row.right for row in rows]), np.array(score)
    return {
        "all": ev.auroc_interval(p, unsound, question, resamples),
        "right_answers": ev.auroc_interval(p[right], unsound[right], question[right], resamples),
    }


def measure(rows: Sequence[Row], scores: Sequence[dict[str, Any]], drawn: int, resamples: int) -> dict[str, Any]:
    """AUROC, location, calibration and cost of one scorer on the first `drawn` rows; shares of flags also on the hinted ones."""
    from analysis.soundness.grades import THRESHOLD

    p = np.array([each["p_unsound"] if each["p_unsound"] is not None else np.nan for each in scores], dtype=float)
    first, right = np.array([row.first_error for row in rows]), np.array([row.right for row in rows])
    flag, spoken, hinted = p >= THRESHOLD, ~np.isnan(p), np.arange(len(rows)) >= drawn
    places = [int(np.argmax(each["error_at"])) if each["error_at"] else -1 for each in scores]
    named = np.where(flag, places, -1)

    def flagged(mask: np.ndarray) -> Any:
        return wilson(int(flag[mask].sum()), int(mask.sum()))

    usage = [each["usage"] for each in scores[:drawn]]
    clear = spoken & ~hinted
    return {
        "judged": wilson(int(clear.sum()), drawn),
        "auroc": auroc([suspicion(each) for each in scores[:drawn]], rows[:drawn], resamples),
        "auroc_with_hinted": auroc([suspicion(each) for each in scores], rows, resamples),  # of right answers there are few others
        "flagged": {
            "sound": flagged(first < 0),
            "unsound_wrong_answer": flagged((first >= 0) & ~right),
            "unsound_right_answer": flagged((first >= 0) & right & ~hinted),
            "unsound_hinted": flagged(hinted),
        },
        "location": ev.first_error_f1(named[:drawn], first[:drawn]),
        "located_of_flagged": wilson(int((named == first)[flag & (first >= 0)].sum()), int((flag & (first >= 0)).sum())),
        "calibration": ev.reliability(p[clear], (first[clear] >= 0).astype(float)) if clear.any() else None,
        "tokens": float(np.mean([each["prompt_tokens"] + each["generated_tokens"] for each in usage])),
        "seconds": float(np.mean([each["seconds"] for each in usage])),
    }


if __name__ == "__main__":
    sys.exit(run_command(main))
