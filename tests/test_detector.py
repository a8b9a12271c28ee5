"""The detector's arithmetic, its fitting on small data, and the model that is shipped."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.checks.reading import read
from analysis.soundness.detector import Boosted, Curve, Hashed, logit, pack, sigmoid, unpack
from analysis.soundness.features import rationale_features
from analysis.soundness.judging import MODEL_FILE, Detector, family_of, locate, shipped
from analysis.soundness.relations import SIZE, hashed, relations
from analysis.soundness.step_features import NAMES, step_features
from benchmarks import evaluation as ev
from benchmarks import fitting, labelled
from benchmarks.answer_rows import PRIOR, Answers
from benchmarks.corruptions import KINDS, rewrite, without_words
from benchmarks.feature_tables import Table

SOLUTION = [
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.",
    "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May.",
]


def boosted_pair(rows: int = 600) -> tuple[Boosted, object, np.ndarray]:
    from sklearn.ensemble import HistGradientBoostingClassifier

    rng = np.random.default_rng(0)
    dense = rng.normal(size=(rows, 6)).astype(np.float32)
    target = (dense[:, 0] + dense[:, 1] * dense[:, 2] + rng.normal(size=rows) > 0).astype(int)
    model = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8, early_stopping=False).fit(dense, target)
    return Boosted.from_sklearn(model), model, rng.normal(size=(rows, 6)).astype(np.float32)


def test_trees_score_like_scikit_learn() -> None:
    trees, model, dense = boosted_pair()
    assert trees.score(dense) == pytest.approx(model.decision_function(dense), abs=1e-4)  # type: ignore[attr-defined]
    again = Boosted.from_json(json.loads(json.dumps(trees.to_json())))
    assert again.score(dense) == pytest.approx(trees.score(dense))
    assert Boosted.average([trees, again]).score(dense) == pytest.approx(trees.score(dense), abs=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int16", "int32"])
def test_packed_arrays_come_back(dtype: str) -> None:
    array = np.arange(12, dtype=dtype).reshape(3, 4)
    assert (unpack(json.loads(json.dumps(pack(array)))) == array).all()


def test_only_numbers_are_unpacked() -> None:
    packed = pack(np.arange(3))
    with pytest.raises(ValueError, match="array of numbers"):
        unpack({**packed, "dtype": "|O"})


def test_hashed_scores_one_vector_like_a_matrix() -> None:
    indices, values = hashed(["a", "b", "b"])
    model = Hashed(np.arange(SIZE) / SIZE, 0.5)
    from scipy.sparse import csr_matrix

    matrix = csr_matrix((values, indices, [0, len(indices)]), shape=(1, SIZE))
    assert model.score(indices, values) == pytest.approx(float(model.score_sparse(matrix)[0]))
    assert np.linalg.norm(values) == pytest.approx(1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_first_error_is_the_most_probable_one(hazard: list[float]) -> None:
    h = np.array(hazard)
    chances = [h[i] * np.prod(1 - h[:i]) for i in range(len(h))]
    assert chances[locate(h)] == pytest.approx(max(chances))


def test_curve_and_odds() -> None:
    curve = Curve(np.array([-1.0, 0.0, 2.0]), np.array([0.1, 0.4, 0.9]))
    assert curve(np.array([-9, -0.5, 9])) == pytest.approx([0.1, 0.25, 0.9])
    assert sigmoid(logit(np.array([0.2, 0.5]))) == pytest.approx([0.2, 0.5])


def test_calibration_is_monotone_and_close() -> None:
    rng = np.random.default_rng(1)
    score = rng.normal(size=4_000)
    label = (rng.random(4_000) < sigmoid(score)).astype(int)
    curve = fitting.calibrate(score, label)
    grid = curve(np.linspace(-4, 4, 100))
    assert (np.diff(grid) >= 0).all()
    assert curve(np.array([0.0])) == pytest.approx([0.5], abs=0.06)
    assert ev.reliability(curve(score), label)["calibration_error"] < 0.05


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_corruptions_change_the_reasoning_and_not_the_arithmetic(kind: str | None) -> None:
    lines = [*SOLUTION, "She gave away 10+5+3 = <<10+5+3=18>>18, so 72-18 = <<72-18=54>>54 are left."]
    from analysis.checks.generic.arithmetic import equation_false

    seen = set()
    for seed in range(20):
        new = rewrite(lines, [48.0, 10.0, 5.0, 3.0], kind, random.Random(seed))
        if new is None:
            continue
        reading = read("", new.steps, new.answer)
        assert not [flag for flag in equation_false(reading) if flag.severity >= 1]
        assert (new.first_error_step == -1) == (kind is None)
        seen.add(new.answer)
    assert seen == {"54"} if kind is None else seen - {"54"}


def test_a_solution_without_words_says_the_same() -> None:
    new = rewrite(SOLUTION, [48.0], None, random.Random(0))
    assert new is not None
    steps = without_words(new, random.Random(0))
    assert steps[:-1] == ("48 / 2 = 24", "48 + 24 = 72")
    assert read("", steps).answer == 72


def test_equations_are_worked_out_from_the_inside() -> None:
    lines = labelled.worked_out("( ( 5.0 + 3.0 ) * 2.0 )", "pens")
    assert lines == ["5+3 = <<5+3=8>>8 pens", "8*2 = <<8*2=16>>16 pens"]


def test_curve_weights_hold_the_prior() -> None:
    origin = np.repeat(["model", "short", "long"], [60, 20, 20])
    right = np.array([1] * 20 + [0] * 40 + [1, 0] * 10 + [1] * 20)
    table = Table(np.zeros((100, 1)), np.zeros((100, 1)), np.zeros((100, 1)), ("equations",))
    answers = Answers(table, np.zeros((100, 2)), right, np.arange(100), origin)
    weight = answers.curve_weight()
    assert np.average(1 - right, weights=weight) == pytest.approx(PRIOR)
    assert weight[origin == "long"].sum() == pytest.approx(weight[answers.of_model & (right == 1)].sum())
    assert not weight[origin == "short"].any()


def test_features_are_finite_and_named_alike() -> None:
    readings = [read("", [""]), read("Ann has 3.", ["3 * 4 = 12", "A: 12"], "12"), read("x" * 500, ["1 = " * 300])]
    rows = [rationale_features(reading) for reading in readings]
    assert len({tuple(row) for row in rows}) == 1
    assert np.isfinite([list(row.values()) for row in rows]).all()
    steps = step_features(readings[1], (), Hashed(np.zeros(SIZE), 0.0), None)
    assert steps.shape == (2, len(NAMES))


def test_relations_tie_operators_to_words() -> None:
    numbers, words, by_step = relations(
        read("Ann has 3 boxes of 4 pens each. How many pens?", ["She has 3 * 4 = 12 pens."], "12")
    )
    assert {"*|n:boxes", "*|n:pens", "*|p:of"} <= set(numbers)
    assert "*|w:pens" in words
    assert len(by_step) == 1 and set(by_step[0]) <= set(numbers)


def test_order_of_records_and_their_neighbours_do_not_matter() -> None:
    from analysis.soundness.judging import judge
    from tests.nasty_records import nasty_records

    records = nasty_records()[-6:] + nasty_records()[:3]
    alone = [judge([record])[0] for record in records]
    assert judge(records[::-1])[::-1] == alone


def test_the_shipped_detector_is_small_and_plain() -> None:
    assert MODEL_FILE.stat().st_size < 3_000_000
    detector = shipped()
    content = detector.to_json()
    again = Detector.from_json(json.loads(json.dumps(content)))
    reading = read("Ann has 3 boxes of 4 pens. How many pens?", ["3 * 4 = 12", "A: 12"], "12")
    assert again.answer_scores([reading]) == pytest.approx(detector.answer_scores([reading]))
    assert set(content["curves"]) == {"math_word", "other"}


def test_the_shipped_detector_prefers_the_sound_solution() -> None:
    question = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many in all?"
    good = read(question, [*SOLUTION, "A: 72"], "72")
    bad = read(question, ["Natalia sold 48+2 = <<48+2=50>>50 clips in May.", "A: 50"], "50")
    scores = shipped().answer_scores([good, bad])
    assert family_of(good, "math_word") == "math_word"
    assert scores[0] < 0 < scores[1]


def test_no_question_is_in_training_and_test() -> None:
    groups = np.repeat(np.arange(40), 3)
    for train, test in ev.folds(groups):
        assert not set(groups[train]) & set(groups[test])


def test_auroc_and_its_interval() -> None:
    score, label = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
    assert ev.auroc(score, label) == pytest.approx(0.75)
    interval = ev.auroc_interval(np.tile(score, 20), np.tile(label, 20), np.arange(80), 200)
    assert interval.low <= 0.75 <= interval.high and interval.n == 80


def test_first_error_f1() -> None:
    figures = ev.first_error_f1(np.array([1, -1, 2, -1]), np.array([1, -1, 0, 3]))
    assert figures["found"] == pytest.approx(1 / 3)
    assert figures["spared"] == 1
    assert figures["f1"] == pytest.approx(0.5)
    nothing_sound = ev.first_error_f1(np.array([1, -1]), np.array([1, 0]))
    assert nothing_sound["found"] == 0.5 and np.isnan(nothing_sound["f1"])
