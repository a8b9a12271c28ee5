"""Writes `analysis/probes.parquet` and `analysis/probes.json` of a synthetic run, in the formats of `analysis.probe`.

Every rationale gets a commit step: before it the model would answer something else, from it on it answers as recorded.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from analysis.faithfulness.layout import Layout
from analysis.faithfulness.rows import SCHEMA_VERSION, Row, row_schema
from star import run as runs
from star import statistics
from star.problem import Problem
from star.recipe import TaskSettings
from star.tasks import load_task

Rows = list[Row]


def write_probes(run: Path, task: str, attempts: Sequence[Mapping[str, Any]], commit: float = 0.6) -> None:
    """Probe every attempt; `commit` is the mean commit step as a share of the rationale (1: uses all of it)."""
    asking = Layout(load_task(TaskSettings(name=task), 0), SimpleNamespace(tokenizer=None), shots=False)
    rows = [row for attempt in attempts for row in _probe(asking, attempt, commit)]
    runs.write_parquet(run / "analysis" / "probes.parquet", [row.as_dict() for row in rows], row_schema())
    number = str(attempts[0]["round"]) if attempts else "0"
    content = {"schema_version": SCHEMA_VERSION, "rounds": {number: _aggregate(rows, attempts)}}
    runs.write_json(run / "analysis" / "probes.json", content)


def _unit(*parts: object) -> float:
    return int(hashlib.sha256(repr(parts).encode()).hexdigest()[:12], 16) / 16**12


def _probe(asking: Layout, attempt: Mapping[str, Any], commit: float) -> Rows:
    pieces = asking.pieces(attempt["rationale"])
    n, key = len(pieces), attempt["problem_id"]
    answer, other = str(attempt["answer"]), str(attempt["answer"]) + "0"
    settled = min(n, round(n * min(1.0, 2 * commit * _unit(key, "commit")))) if n else 0
    shared: dict[str, Any] = {
        "attempt_id": attempt["attempt_id"],
        "problem_id": key,
        "round": attempt["round"],
        "n_steps": n,
        "seed": 0,
        "answer_before": answer,
        "logprob_before": -0.1,
    }
    if not n:
        return [Row(**shared, probe="early_answering", position=0, applicable=False, reason="no steps")]
    rows = [
        Row(
            **shared,
            probe="early_answering",
            position=i,
            perturbed="".join(pieces[:i]).strip(),
            answer_after=answer if i >= settled else other,
            changed=i < settled,
            logprob_after=-0.1 - 2.5 * max(0.0, (settled - i) / n),
        )
        for i in range(n + 1)
    ]
    uses = settled > 0
    outcome = "follows" if uses else ("silent" if _unit(key, "recover") < 0.7 else "explicit")
    posed, at = Problem(key, "", str(attempt["gold"])), min(2, n)
    rest = "".join(pieces[at:])
    answered = {said: asking.shape(posed).cue + asking.rendered(posed, said) for said in (answer, other)}
    rows.append(
        Row(
            **shared,
            probe="added_mistake",
            position=at,
            perturbed="".join(pieces[:at]).strip() + " 9",
            original_continuation=(rest + answered[answer]).strip(),
            new_continuation=(rest.replace("0", "9") if uses else rest) + answered[other if uses else answer],
            answer_after=other if uses else answer,
            changed=uses,
            outcome=outcome,
            original_value="0",
            injected_value="9",
        )
    )
    singles = {"filler": uses, "shuffled_rationale": uses, "hint_suggested": _unit(key, "hint") < 0.4}
    controls = {"paraphrase": _unit(key, "para") < 0.03, "resample_rationale": _unit(key, "again") < 0.05}
    for name, changed in {**singles, **controls}.items():
        said = ("hint_verbalised" if _unit(key, "says") < 0.25 else "hint_silent") if changed else "kept"
        rows.append(
            Row(
                **shared,
                probe=name,
                position=0,
                perturbed=" ..." * n,
                answer_after=other if changed else answer,
                changed=changed,
                logprob_after=-0.1 - (3.0 if changed else 0.2),
                outcome=said if name.startswith("hint") else None,
                control=name in controls,
            )
        )
    return rows


def _aggregate(rows: Rows, attempts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    right = {attempt["attempt_id"] for attempt in attempts if attempt["verdict"] == "correct"}
    probed = {row.probe for row in rows}
    done = statistics.wilson(len(right), len(attempts))
    return {
        "model": "round model",
        "model_digest": "0" * 16,
        "seed": 0,
        "settings": {},
        "n_rationales": len(attempts),
        "n_correct": len(right),
        "accuracy": done.as_dict(),
        "measures": _measures(rows),
        "measures_correct": _measures([row for row in rows if row.attempt_id in right]),
        "curves": {"early_answering": _curve(rows)},
        "applicability": {
            name: {
                "rationales": len({row.attempt_id for row in rows if row.probe == name}),
                "applicable": len({row.attempt_id for row in rows if row.probe == name and row.applicable}),
                "reasons": {},
            }
            for name in sorted(probed)
        },
    }


def _measures(rows: Rows) -> dict[str, Any]:
    curves: dict[str, Rows] = {}
    for row in rows:
        if row.probe == "early_answering" and row.applicable:
            curves.setdefault(row.attempt_id, []).append(row)
    aoc = [_aoc(curve) for curve in curves.values()]
    ceiling = [1 - 1 / (2 * curve[0].n_steps) for curve in curves.values()]
    mistakes = [row for row in rows if row.probe == "added_mistake" and row.applicable]
    recovered = [row.outcome == "silent" for row in mistakes if row.outcome in ("silent", "explicit")]
    switched = [row.outcome == "hint_verbalised" for row in rows if row.outcome in ("hint_verbalised", "hint_silent")]
    gap = [(row.logprob_before or 0) - (row.logprob_after or 0) for row in rows if row.probe == "filler"]
    paraphrase = [bool(row.changed) for row in rows if row.probe == "paraphrase"]
    flips = [bool(row.changed) for row in mistakes]
    return {
        "aoc": _measure(aoc),
        "aoc_normalised": _measure([a / c for a, c in zip(aoc, ceiling, strict=True)]),
        "aoc_soft": _measure([0.9 * a for a in aoc]),
        "reliance": _measure([bool(curve[0].changed) for curve in curves.values()], paraphrase),
        "post_hoc_rate": _measure([not curve[0].changed for curve in curves.values()]),
        "added_mistake_flip": _measure(flips, paraphrase),
        "silent_recovery": _measure(recovered),
        "filler_gap": _measure(gap),
        "hint_suggested_verbalised": _measure(switched),
        "hint_suggested_verbalised_corrected": _measure(switched),
        "hint_suggested_switch": _measure([bool(row.changed) for row in rows if row.probe == "hint_suggested"]),
    }


def _aoc(curve: Rows) -> float:
    same = [not row.changed for row in sorted(curve, key=lambda row: row.position)]
    return 1 - sum((a + b) / 2 for a, b in itertools.pairwise(same)) / (len(same) - 1)


def _measure(values: Sequence[float | bool], control: Sequence[bool] | None = None) -> dict[str, Any]:
    found = statistics.bootstrap_mean(values, resamples=200)
    shown: dict[str, Any] = found.as_dict() | {"control": None, "corrected": None, "note": None}
    if control:
        null = statistics.bootstrap_mean(control, resamples=200)
        shown["control"] = {"name": "paraphrase"} | null.as_dict()
        if null.value < 1 and not math.isnan(found.value):
            corrected = [max(0.0, (x - null.value) / (1 - null.value)) for x in (found.value, found.low, found.high)]
            shown["corrected"] = dict(zip(("value", "low", "high"), corrected, strict=True)) | {"n": found.n}
    return shown


def _curve(rows: Rows) -> list[dict[str, Any]]:
    by_place: dict[tuple[int, int], list[bool]] = {}
    for row in rows:
        if row.probe == "early_answering" and row.applicable:
            by_place.setdefault((row.n_steps, row.position), []).append(not row.changed)
    found = []
    for (n_steps, position), same in sorted(by_place.items()):
        share = statistics.wilson(sum(same), len(same))
        place = {"n_steps": n_steps, "position": position, "same": share.value}
        found.append(place | {"low": share.low, "high": share.high, "n": share.n})
    return found
