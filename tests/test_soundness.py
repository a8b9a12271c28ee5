"""The judgement without a language model: grades, the one threshold, the hazard and its fit, checks that it was not fitted with."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis import checks, score_records
from analysis.agreement import agreement
from analysis.checks import Flag
from analysis.checks.base import GENERIC
from analysis.checks.reading import Reading, read
from analysis.rationales.filters import View, soundness
from analysis.rationales.reading import read_records
from analysis.rationales.records import Record
from analysis.soundness import fit, judging
from analysis.soundness.features import FEATURES, describe, domain_of
from analysis.soundness.grades import THRESHOLD, flagged, score_words
from analysis.soundness.hazard import MODEL_FILE, Hazard, error_at, load, sigmoid
from analysis.soundness.judging import judge
from analysis.soundness.score_table import Tally
from analysis.soundness.scorer import StepScores
from benchmarks import evaluation as ev
from star.errors import InputError
from star.recipe import CurationSettings
from tests.nasty_records import nasty_records

QUESTION = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. How many in all?"
GOOD = Record("good", question=QUESTION, steps=("She sold 48/2 = 24 clips in May.", "48+24 = 72", "A: 72"), answer="72")
WORSE = Record("worse", question=QUESTION, steps=("She sold 48*5 = 240 clips, 48/7 = 6.857 of them red.",), answer="6.857")
FALSE = dataclasses.replace(GOOD, id="false", steps=("She sold 48/2 = 24 clips in May.", "48+24 = 62", "A: 62"), answer="62")


def test_three_grades_are_never_mixed() -> None:
    about_choices = Record("exam", question="Which?", choices={"A": "a", "B": "b"}, steps=("It is 1+1 = 2.",))
    good, false, exam = judge([GOOD, FALSE, about_choices])
    assert (good.grade, good.first_error_step) == ("scored", -1) and good.p_unsound is not None and 0 < good.p_unsound < 1
    assert (false.grade, false.p_unsound, false.first_error_step) == ("proven", 1.0, 1)
    assert (exam.grade, exam.p_unsound, exam.first_error_step, exam.status) == ("not_judged", None, None, "outside")


@pytest.mark.parametrize("question", ["Which is it? (A) 3 (B) 4", "Find $x$ in $x^2 = 9$.", "Is it so?"])
def test_a_proof_counts_in_every_domain(question: str) -> None:
    (judgement,) = judge([Record("x", question=question, steps=("First of all.", "36 - 5 = 32"))])
    assert (judgement.grade, judgement.p_unsound, judgement.first_error_step) == ("proven", 1.0, 1)


def test_words_say_unsound_of_proofs_only() -> None:
    assert score_words(1.0) == "proven unsound"
    assert score_words(THRESHOLD) == f"flagged by the score at {THRESHOLD:.2f} ({THRESHOLD:.2f})"
    assert score_words(0.2).startswith("not flagged by the score")
    assert score_words(None) == score_words(math.nan) == "not judged"
    assert "unsound" not in score_words(0.99) and "unsound" not in score_words(0.0)


@pytest.mark.parametrize(
    "steps", [["First, 3 * 4 = 11.", "2 + 12 = 14"], ["2 + 12 = 14", "That is so because 2 + 2 = 5."]], ids=["its own", "beside it"]
)
def test_what_a_task_s_checker_does_not_read_can_still_be_proven(steps: list[str]) -> None:
    (found,) = judging.judge([Record("a", question="2 + 3 * 4 =", steps=tuple(steps))])
    assert found.grade == "proven"


@pytest.mark.parametrize(("p", "counts"), [(THRESHOLD, True), (math.nextafter(THRESHOLD, 0), False), (math.nan, False)])
def test_one_threshold_and_it_falls_on_one_side_everywhere(p: float, counts: bool) -> None:
    assert flagged(p) is counts and bool(flagged(np.array([p]))[0]) is counts
    judged = not math.isnan(p)
    import pandas as pd

    table = SimpleNamespace(frame=pd.DataFrame({"p_unsound": [p]}))
    assert soundness(table, "score", View().cut).tolist() == [1 - counts if judged else -1]  # type: ignore[arg-type]
    found = agreement({"a": "unsound"}, {"a": p})
    assert (found.both_unsound, found.only_person) == ((int(counts), int(not counts)) if judged else (0, 0))
    tally = Tally()
    grade = "scored" if judged else "not_judged"
    tally.add([GOOD], [judging.Judgement(p if judged else None, grade=grade)])  # type: ignore[arg-type]
    assert tally.counts["-", "unknown"]["flagged"] == counts


def test_no_other_place_has_a_threshold_of_its_own() -> None:
    assert CurationSettings().max_unsound is None and View().cut == THRESHOLD
    script = "import sys, analysis.soundness.grades; print({'torch', 'sklearn', 'numpy', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_new_check_appears_in_the_flags_and_changes_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding a check is adding a file and naming it: nothing is fitted again, no column moves."""

    def never_seen(reading: Reading) -> list[Flag]:
        return [Flag(0, "never_seen_before", "looks odd", 0.9)]

    before = score_records([GOOD, WORSE])
    monkeypatch.setitem(GENERIC, "never_seen", never_seen)
    after = score_records([GOOD, WORSE])
    assert after["p_unsound"].tolist() == before["p_unsound"].tolist()
    assert all("never_seen_before" in found for found in after["checks"])


def test_features_are_looked_up_by_name() -> None:
    hazard = Hazard(-1.0, {"flag:result_unused": 2.0, "gone_since": 5.0})
    flags = [Flag(1, "result_unused", "", 0.3), Flag(1, "result_unused", "", 0.2), Flag(0, "other", "", 0.5)]
    rows = describe(read("", ["2 + 2 = 4", "So it is."]), flags)
    assert hazard.hazards(rows) == pytest.approx(sigmoid(np.array([-1.0, -0.4])))
    assert all(set(FEATURES) - {name for name in FEATURES if name.startswith("flag:")} <= set(row) for row in rows)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_the_first_error_is_the_most_probable_one(values: list[float]) -> None:
    h = np.array(values)
    chances = [h[i] * np.prod(1 - h[:i]) for i in range(len(h))]
    assert error_at(h) == pytest.approx(chances)
    if (h < 1).all():
        assert Hazard(0, {}).p_unsound(h) == pytest.approx(np.clip(sum(chances), 1e-6, 1 - 1e-6), abs=1e-6)


def test_the_shipped_score_is_readable_and_prefers_the_sound_solution() -> None:
    hazard = load()
    content = json.loads(MODEL_FILE.read_text())
    assert content["weights"] == dict(hazard.weights) and set(hazard.weights) == set(FEATURES)
    assert "school" in hazard.speaks_for
    good, worse = judge([GOOD, WORSE])
    assert good.p_unsound is not None and worse.p_unsound is not None and good.p_unsound < worse.p_unsound
    assert StepScores(error_at=(0.1, 0.5, 0.2)).first_error == 1 and StepScores("outside").first_error is None


@pytest.mark.parametrize("content", ["", "[]", '{"format": 0}', '{"format": 1, "weights": [1]}'])
def test_a_damaged_model_file_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "hazard.json").write_text(content)
    with pytest.raises(InputError, match=r"hazard\.json.*analysis\.soundness\.fit"):
        load(tmp_path / "hazard.json")


@pytest.mark.parametrize(
    ("question", "domain"),
    [
        (QUESTION, "school"),
        ("A shirt costs $5 and a hat costs $7.50. How much are 3 of each?", "school"),
        ("Find $x$ if $3x = 24$.", "competition"),
        ("What is the smallest prime above 24?", "competition"),
        ("How fast is it?", "other"),
    ],
)
def test_the_domain_is_told_from_the_text(question: str, domain: str) -> None:
    reading = read(question, ["24 / 3 = 8"])
    assert domain_of(question, reading, checks.detect_kind(question, ["24 / 3 = 8"])) == domain


def test_a_record_that_breaks_the_reader_is_a_status_on_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_or_break(question: str, *rest: object) -> Reading:
        if question == "break":
            raise KeyError("½")
        return read(question, *rest)  # type: ignore[arg-type]

    def break_always(record: object) -> tuple[float | None, str]:
        raise ZeroDivisionError

    monkeypatch.setattr(judging, "read", read_or_break)
    monkeypatch.setattr("analysis.recovery.model.judge_recovery", break_always)
    recovery = {"cot_prefix": "so she has 48 / 2 = 29", "injected_value": "29", "continuation": " So 24 are left."}
    broken, again, good = judge(
        [Record("x", question="break", steps=("1 + 1 = 2",)), Record("r", steps=("So",), meta=recovery), GOOD]
    )
    assert (again.p_unsound, again.status) == (None, "error")
    assert (broken.p_unsound, broken.grade, broken.status) == (None, "not_judged", "error")
    assert good == judge([GOOD])[0]


def test_order_of_records_and_their_neighbours_do_not_matter() -> None:
    records = nasty_records()[-6:] + nasty_records()[:3]
    alone = [judge([record])[0] for record in records]
    assert judge(records[::-1])[::-1] == alone


def simulated(count: int, *, located: bool) -> fit.Rows:
    """Rationales of four steps whose steps are wrong at a rate that depends on one feature; proofs none."""
    rng = np.random.default_rng(0)
    matrix = np.zeros((4 * count, len(FEATURES)))
    odd = rng.random(4 * count) < 0.4
    matrix[:, FEATURES.index("equations")] = odd
    wrong = (rng.random(4 * count) < np.where(odd, 0.5, 0.1)).reshape(count, 4)
    first = np.where(wrong.any(axis=1), wrong.argmax(axis=1) if located else fit.SOMEWHERE, -1)
    names = np.array(["x"] * count)
    record, proven = np.repeat(np.arange(count), 4), np.zeros(count, bool)
    return fit.Rows([], matrix, record, first, np.arange(count), names, names, names, proven)


@pytest.mark.parametrize("located", [True, False])
def test_the_hazard_is_recovered_with_and_without_the_place_of_the_error(located: bool) -> None:
    rows = simulated(3_000, located=located)
    hazard = fit.fit_hazard(rows, np.ones(3_000, bool), ("equations",))
    plain, odd = hazard.hazards([{"equations": 0.0}, {"equations": 1.0}])
    assert plain == pytest.approx(0.1, abs=0.04) and odd == pytest.approx(0.5, abs=0.07)


def test_no_writer_question_or_domain_is_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = simulated(400, located=True)
    rng = np.random.default_rng(1)
    rows = dataclasses.replace(
        rows,
        question=rng.integers(0, 40, 400),
        writer=rng.choice(["a", "b"], 400),
        domain=np.repeat(["school", "exam"], 200),
        source=np.repeat([fit.SCHOOL[0], "mr_ben"], 200),
    )
    seen = np.zeros(400, int)
    for train, test in fit._splits(rows):
        seen += test
        if "school" in rows.domain[test]:
            assert not set(rows.question[train]) & set(rows.question[test]) and not set(rows.writer[train]) & set(rows.writer[test])
        else:
            assert not set(rows.domain[train]) & set(rows.domain[test])
    assert (seen == 1).all()


def test_the_score_speaks_where_it_beats_position_and_length() -> None:
    measured = {
        "school": {"a": (0.75, 0.65, 9), "b": (0.70, 0.70, 9)},
        "exam": {"all": (0.60, 0.58, 9)},
        "symbolic": {"all": (0.9, 0.5, 9)},
    }
    assert fit.speaks_for(measured) == ("school",)


def test_calibration_is_close() -> None:
    rng = np.random.default_rng(1)
    score = rng.normal(size=4_000)
    label = (rng.random(4_000) < 1 / (1 + np.exp(-(2 * score - 1)))).astype(int)
    calibration = fit.calibrate(sigmoid(score), label)
    assert calibration.intercept == pytest.approx(-1, abs=0.2) and calibration.slope == pytest.approx(2, abs=0.2)
    p = sigmoid(calibration.log_odds(sigmoid(np.linspace(-5, 5, 50))))
    assert (np.diff(p) > 0).all()
    assert ev.reliability(sigmoid(calibration.log_odds(sigmoid(score))), label)["calibration_error"] < 0.05


def test_auroc_and_its_interval() -> None:
    score, label = np.array([0.1, 0.4, 0.35, 0.8]), np.array([0, 0, 1, 1])
    assert fit.auroc(score, label) == pytest.approx(0.75)
    interval = ev.auroc_interval(np.tile(score, 20), np.tile(label, 20), np.arange(80), 200)
    assert interval.low <= 0.75 <= interval.high and interval.n == 80


def test_first_error_f1() -> None:
    figures = ev.first_error_f1(np.array([1, -1, 2, -1]), np.array([1, -1, 0, 3]))
    assert figures == {"found": pytest.approx(1 / 3), "spared": 1, "f1": pytest.approx(0.5)}
    assert math.isnan(ev.first_error_f1(np.array([1, -1]), np.array([1, 0]))["f1"])


def test_few_error_free_solutions_are_flagged(data_dir: Path) -> None:
    """Of every set with labels that the project was developed on, at the shipped threshold."""
    for name in ("mr_gsm8k_dev", "natural_program_dev", "processbench_math_dev", "mr_ben", "gsm8k_model_solutions"):
        sound = [r for r in read_records(data_dir / f"{name}.jsonl.gz") if r.sound or (r.sound is None and r.answer_correct)][::3]
        assert (score_records(sound)["p_unsound"] >= THRESHOLD).mean() <= 0.15, name
