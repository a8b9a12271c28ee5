"""Calibration on labels: a scorer whose quality is known, labels of three kinds, and files that are none."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from analysis.rationales.records import Record
from analysis.soundness import labelled
from analysis.soundness.calibration import Calibration, Evidence, Labelled, features, fit
from analysis.soundness.hazard import folds
from star.errors import InputError
from star.run import write_json


def scored(n: int, seed: int, *, right: tuple[float, float] = (8, 1.2), wrong: tuple[float, float] = (1.5, 2.5)) -> list[Labelled]:
    """Rationales with a first error in half of them, scored by a simulated reward model; what follows an error is noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for place in range(n):
        steps = int(rng.integers(2, 12))
        error = int(rng.integers(steps)) if rng.random() < 0.5 else -1
        ok = [float(rng.beta(*(right if error < 0 or i < error else wrong if i == error else (2, 2)))) for i in range(steps)]
        rows.append(Labelled(Evidence(steps, {"prm": ok}), f"q{place // 2}", error >= 0, error, error < 0, "sums"))
    return rows


def quality(model: Calibration, rows: list[Labelled]) -> float:
    """ProcessBench's F1: harmonic mean of the accuracies on unsound and on sound rationales."""
    judged = [(row, model.judge(row.evidence)) for row in rows]
    wrong = np.mean([found is not None and found.first_error == row.first_error for row, found in judged if row.unsound])
    clean = np.mean([found is not None and found.first_error == -1 for row, found in judged if not row.unsound])
    return float(2 * wrong * clean / (wrong + clean))


@pytest.fixture(scope="module")
def unseen() -> list[Labelled]:
    return scored(600, 99)


@pytest.mark.parametrize(("labels", "least"), [(30, 0.68), (300, 0.75)])
def test_few_labels_already_place_the_error(labels: int, least: float, unseen: list[Labelled]) -> None:
    model, _ = fit(scored(labels, 3), ["prm"])
    assert quality(model, unseen) > least


def best_of_thresholds(rows: list[Labelled]) -> float:
    """`quality` of the scorer itself, the error being its first step below the threshold that is best for these rows."""
    steps = [np.array(row.evidence.step_ok["prm"], dtype=float) for row in rows]

    def at(threshold: float) -> float:
        named = [int((ok < threshold).argmax()) if (ok < threshold).any() else -1 for ok in steps]
        wrong = np.mean([step == row.first_error for step, row in zip(named, rows, strict=True) if row.unsound])
        clean = np.mean([step == -1 for step, row in zip(named, rows, strict=True) if not row.unsound])
        return float(2 * wrong * clean / (wrong + clean)) if wrong + clean else 0.0

    return max(at(threshold) for threshold in np.linspace(0.02, 0.98, 49))


def test_thirty_labels_do_not_lose_against_the_best_threshold(data_dir: Path) -> None:
    """On the labels of competition mathematics, with a made-up reward model of about 70 % F1: five draws of labels and scores."""
    records = [record for record in labelled.load("processbench_math_dev") if record.first_error_step is not None]

    def noisy(record: Record, rng: np.random.Generator) -> Labelled:
        error, shift = -1 if record.first_error_step is None else record.first_error_step, rng.normal(0, 0.7)
        place = np.arange(len(record.steps))
        before = [(place < error) | (error < 0), place == error]
        odds = rng.normal(np.select(before, [3.0, -1.2], -0.5), np.select(before, [1.6, 2.2], 2.5))
        ok = tuple((1 / (1 + np.exp(-odds - shift))).tolist())
        return Labelled(Evidence(len(ok), {"prm": ok}), record.question, not record.sound, error, None, "mathematics")

    lost = []
    for seed in range(3, 8):
        rng = np.random.default_rng(seed)
        rows = [noisy(records[place], rng) for place in rng.permutation(len(records))]
        lost.append(best_of_thresholds(rows[30:]) - quality(fit(rows[:30], ["prm"])[0], rows[30:]))
    assert np.mean(lost) < 0.03 and max(lost) < 0.12, lost


def test_thirty_labels_count_where_a_check_decides_some() -> None:
    rows = scored(30, 3)
    proven = replace(rows[0], evidence=replace(rows[0].evidence, proven=0), unsound=True, first_error=0)
    _, unseen = fit([proven, *rows[1:]], ["prm"])
    assert unseen[0] is not None and unseen[0].p_unsound == 1


def test_probabilities_mean_what_they_say(unseen: list[Labelled]) -> None:
    model, held_out = fit(scored(400, 5), ["prm"])
    p = np.array([model.judge(row.evidence).p_unsound for row in unseen])  # type: ignore[union-attr]
    truth = np.array([row.unsound for row in unseen])
    order = np.argsort(p)
    bins = np.array_split(order, 10)
    assert sum(abs(p[b].mean() - truth[b].mean()) * len(b) for b in bins) / len(p) < 0.07
    assert len(held_out) == 400 and all(found is not None for found in held_out)


def test_labels_without_a_place_teach_as_well(unseen: list[Labelled]) -> None:
    placed = scored(300, 7)
    vague = [replace(row, first_error=None if row.unsound else -1) for row in placed]
    model, _ = fit(vague, ["prm"])
    assert quality(model, unseen) > 0.65


def test_a_useless_scorer_is_not_believed(unseen: list[Labelled]) -> None:
    useless = scored(300, 11, right=(2, 2), wrong=(2, 2))
    model, _ = fit(useless, ["prm"])
    p = [model.judge(row.evidence).p_unsound for row in unseen]  # type: ignore[union-attr]
    believed, _ = fit(scored(300, 11), ["prm"])
    q = [believed.judge(row.evidence).p_unsound for row in unseen]  # type: ignore[union-attr]
    assert np.std(p) < 0.6 * np.std(q)


def test_a_proof_decides_and_silence_is_no_verdict() -> None:
    model, _ = fit(scored(60, 1), ["prm"])
    proven = model.judge(Evidence(3, {"prm": [0.99, 0.99, 0.99]}, proven=1))
    assert proven is not None and (proven.p_unsound, proven.first_error) == (1.0, 1)
    assert model.judge(Evidence(3)) is None and model.judge(Evidence(0, {"prm": []})) is None
    partly = model.judge(Evidence(3, {"prm": [0.99, None, 0.02]}))
    assert partly is not None and partly.p_unsound > 0.5


def test_rows_of_one_question_are_on_one_side() -> None:
    rows = [replace(row, question="the same") for row in scored(60, 1)]
    with pytest.raises(InputError, match="questions"):
        fit(rows, ["prm"])


def test_usable_questions_that_are_all_but_one_in_one_part_are_too_few() -> None:
    fold = folds(np.arange(30))
    usable = [*np.flatnonzero(fold == 0)[:4], np.flatnonzero(fold == 1)[0]]
    rows = [replace(row, question=f"q{place:02}") for place, row in enumerate(scored(30, 1))]
    rows = [row if place in usable else replace(row, evidence=replace(row.evidence, proven=0)) for place, row in enumerate(rows)]
    with pytest.raises(InputError, match="too few questions"):
        fit(rows, ["prm"])


@pytest.mark.parametrize("n", [0, 29])
def test_too_few_labels_are_refused(n: int) -> None:
    with pytest.raises(InputError, match=f"{n} labelled rationales.*at least 30"):
        fit(scored(n, 1), ["prm"])


def test_labels_of_one_kind_are_refused() -> None:
    with pytest.raises(InputError, match="sound and"):
        fit([row for row in scored(200, 1) if row.unsound], ["prm"])


def test_files_say_what_they_are(tmp_path: Path) -> None:
    model, _ = fit(scored(60, 1), ["prm"])
    path = tmp_path / "calibration.json"
    write_json(path, asdict(model))
    read = Calibration.load(path)
    evidence = Evidence(4, {"prm": [0.9, 0.4, 0.8, 0.9]}, hints=[0, 0.3, 0, 0])
    assert read == model and read.judge(evidence) == model.judge(evidence)
    whole = path.read_text()
    odd = [json.dumps(json.loads(whole) | {"threshold": value}) for value in ("NaN", math.nan, "0.5")]
    for text in ("", "[]", "{}", '{"version": 99}', '{"version": 1, "scorers": 3}', "[" * 100_000, *odd):
        path.write_text(text)
        with pytest.raises(InputError, match=r"calibration\.json.*analysis\.calibrate"):
            Calibration.load(path)


def test_features_are_named_and_finite() -> None:
    names, table = features(Evidence(1, {"a": [0.0], "b": [None]}), ["a", "b", "absent"])
    assert table.shape == (1, len(names)) and np.isfinite(table).all() and len(set(names)) == len(names)
    assert table[0, names.index("b:missing")] == 1 and table[0, names.index("a:missing")] == 0
