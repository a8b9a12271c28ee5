"""Comparison of runs, rounds and sizes: the same questions, measures that agree with the probes' own, honest gaps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis import compare, comparison
from star import runs
from tests.run_factory import make_run


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    weak = make_run(root, name="weak", rounds=2, problems=60, skill=0.3, rationalize=False, parameters=60_000)
    strong = make_run(root, name="strong", rounds=2, problems=60, skill=0.8, require="sound", parameters=900_000)
    return weak, strong


def test_measures_agree_with_those_of_the_probes(pair: tuple[Path, Path]) -> None:
    arm = comparison.read_arm(pair[1], 2)
    own = {f.measure.key: f.interval for f in comparison.figures([arm, arm], comparison.shared_questions([arm]))}
    written = json.loads((pair[1] / "analysis" / "probes.json").read_text())["rounds"]["2"]["measures"]
    for key in ("aoc", "aoc_normalised", "reliance", "filler_gap", "silent_recovery", "hint_suggested_verbalised"):
        assert own[key].value == pytest.approx(written[key]["value"]), key
        assert own[key].n == written[key]["n"], key
    assert arm.controls["reliance"] == written["reliance"]["control"]["value"]
    assert arm.corrected["reliance"] == written["reliance"]["corrected"]["value"]
    hint = "hint_suggested_verbalised"
    assert arm.corrected[hint] == written[f"{hint}_corrected"]["value"]


def test_outcomes_that_all_agree_still_have_an_interval(pair: tuple[Path, Path]) -> None:
    arm = comparison.read_arm(pair[1], 2)
    questions = {key for key, value in arm.values["silent_recovery"].items() if value == 1}
    found = {f.measure.key: f.interval for f in comparison.figures([arm], questions)}["silent_recovery"]
    assert found.value == found.high == 1 and 0 < found.low < 1 and found.n == len(questions)


def test_counts_come_from_the_evaluated_rationales(pair: tuple[Path, Path]) -> None:
    rows = runs.read_rows(pair[0] / "round_02" / "evaluation.parquet")
    arm = comparison.read_arm(pair[0], 2)
    unsound = {r["problem_id"] for r in rows if r["verdict"] == "correct" and not r["sound"]}
    assert {key for key, value in arm.values["right_unsound"].items() if value} == unsound
    assert sum(arm.values["accuracy"].values()) == sum(r["verdict"] == "correct" for r in rows)


def test_scores_stand_in_where_a_task_has_no_exact_check(tmp_path: Path) -> None:
    run = make_run(tmp_path, task="gsm8k", rounds=1, problems=30)
    arm = comparison.read_arm(run, 1)
    assert arm.values["sound"] and not arm.missing
    (run / "analysis" / "soundness.parquet").unlink()
    without = comparison.read_arm(run, 1)
    assert "sound" not in without.values and any("analysis.score" in command for command in without.missing)


def test_differences_are_paired_corrected_and_signed(pair: tuple[Path, Path]) -> None:
    arms = compare.read_arms(pair, "recipe", "selection")
    whole, right = compare.sections(arms, "recipe")
    by_measure = {d.measure.key: d for d in whole.differences}
    accuracy = by_measure["accuracy"]
    assert (accuracy.a, accuracy.b, accuracy.test) == ("STaR without rationalization", "STaR, require sound", "McNemar")
    assert accuracy.interval.value > 0 and accuracy.interval.low > 0
    assert by_measure["aoc"].test == "bootstrap" and by_measure["aoc"].interval.value > 0
    assert all(d.p_holm >= d.p for d in whole.differences)
    assert right.questions == len(comparison.all_right(arms)) < whole.questions == 60
    again = {f.measure.key: f for f in right.figures if f.label == arms[0].label}
    assert again["accuracy"].interval.value == 1.0  # by construction: everyone is right on these
    assert again["aoc"].interval.n == right.questions


def test_rounds_of_one_run_are_arms_in_order(pair: tuple[Path, Path]) -> None:
    arms = compare.read_arms(pair[1:], "round", "selection")
    assert [arm.label for arm in arms] == ["round 0", "round 1", "round 2"]
    assert "aoc" in arms[2].values and "aoc" not in arms[0].values
    assert any(command.endswith("--round 0") for command in arms[0].missing)
    whole, _ = compare.sections(arms, "round")
    assert {(d.a, d.b) for d in whole.differences} == {("round 0", "round 1"), ("round 0", "round 2")}
    assert any(compare.cell(f) == "-" for f in whole.figures if f.label == "round 0")


def test_sizes_are_sorted_and_named(pair: tuple[Path, Path]) -> None:
    arms = compare.read_arms(pair[::-1], "size", "selection")
    assert [arm.parameters for arm in arms] == [60_000, 900_000]
    assert arms[0].label.startswith("0.06M") and arms[1].label.startswith("0.9M")


@pytest.mark.parametrize("by", ["recipe", "size", "round"])
def test_command_writes_tables_and_chart(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], by: str
) -> None:
    given = pair if by != "round" else pair[1:]
    assert compare.main([*map(str, given), "--by", by, "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "Only the questions that every arm gets right" in shown and "n=60" in shown
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert content["by"] == by and content["sections"][0]["questions"] == 60
    assert "(control" in (tmp_path / "comparison.md").read_text()
    assert (tmp_path / "comparison.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "comparison.svg").read_text()


def test_test_split_has_accuracy_and_soundness_only(pair: tuple[Path, Path], tmp_path: Path) -> None:
    assert compare.main([*map(str, pair), "--split", "test", "-o", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "comparison.json").read_text())
    assert {f["measure"] for f in content["sections"][0]["figures"]} == {"accuracy", "sound", "right_unsound"}
    assert "analysis.probe" not in " ".join(content["notes"])


def test_default_output_is_inside_the_first_run(pair: tuple[Path, Path]) -> None:
    assert compare.main([*map(str, pair)]) == 0
    assert (pair[0] / "analysis" / "comparison" / "comparison.json").is_file()


@pytest.mark.parametrize("case", ["one", "nothing", "other questions"])
def test_bad_input_is_a_sentence(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    other = make_run(tmp_path, task="gsm8k", rounds=1, problems=9) if case == "other questions" else tmp_path
    given, message = {
        "one": ([pair[0]], "one arm alone"),
        "nothing": ([pair[0], tmp_path], "not a run directory"),
        "other questions": ([pair[0], other], "share no question"),
    }[case]
    assert compare.main([*map(str, given)]) == 1
    assert message in capsys.readouterr().err
