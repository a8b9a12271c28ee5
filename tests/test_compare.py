"""Comparison of runs, rounds and sizes: the same questions, measures that agree with the probes' own, honest gaps."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis import charts, compare
from analysis import comparing as comparison
from analysis.faithfulness.measures import all_measures
from analysis.faithfulness.rows import row_schema
from star import run as runs
from star.paired import compare_runs, paired
from star.run_summary import summarise_run
from tests.run_factory import make_run


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("runs")
    weak = make_run(root, name="weak", rounds=2, problems=60, skill=0.3, rationalize=False, parameters=60_000)
    strong = make_run(root, name="strong", rounds=2, problems=60, skill=0.8, require="sound", parameters=900_000)
    return weak, strong


def test_measures_agree_with_those_of_the_probes(pair: tuple[Path, Path]) -> None:
    arm = comparison.read_arm(pair[1], 2)
    own = {f.measure.key: f for f in comparison.figures([arm], comparison.shared_questions([arm]))}
    written = json.loads((pair[1] / "analysis" / "probes.json").read_text())["rounds"]["2"]["measures"]
    for key in ("aoc", "aoc_normalised", "reliance", "filler_gap", "silent_recovery", "hint_suggested_verbalised"):
        assert own[key].interval.value == pytest.approx(written[key]["value"]), key
        assert own[key].interval.n == written[key]["n"], key
    assert own["reliance"].control == written["reliance"]["control"]["value"]
    assert own["reliance"].corrected == pytest.approx(written["reliance"]["corrected"]["value"])
    hint = "hint_suggested_verbalised"
    assert own[hint].corrected == written[f"{hint}_corrected"]["value"]


def test_intervals_are_those_of_the_probes_own_measures(pair: tuple[Path, Path]) -> None:
    arm = comparison.read_arm(pair[1], 2)
    questions = comparison.shared_questions([arm])
    rows = runs.read_rows(pair[1] / "analysis" / "probes.parquet")
    found = all_measures(rows, None)
    for figure in comparison.figures([arm], questions):
        if figure.measure.probe:
            own = found[figure.measure.key]
            assert figure.interval.as_dict() == {key: own[key] for key in ("value", "low", "high", "n")}
    two = {row["problem_id"] for row in rows if row["outcome"] in ("silent", "explicit")}
    few = comparison.figures([arm], set(sorted(two)[:2]))
    silent = next(figure.interval for figure in few if figure.measure.key == "silent_recovery")
    assert silent.n == 2 and silent.low < silent.high, "two that agree are no certainty"


def test_controls_are_those_of_the_same_questions(pair: tuple[Path, Path]) -> None:
    arm = comparison.read_arm(pair[1], 2)
    rows = [row for row in arm.probed if row["probe"] == "paraphrase"]
    changed = {row["problem_id"] for row in rows if row["changed"]}
    still = {row["problem_id"] for row in rows} - changed
    assert changed and still
    controls = [
        next(f.control for f in comparison.figures([arm], questions) if f.measure.key == "reliance")
        for questions in (changed, still)
    ]
    assert controls == [1.0, 0.0]
    noisy = next(f for f in comparison.figures([arm], changed) if f.measure.key == "reliance")
    assert "(control 100.0, nothing left to measure)" in compare.cell(noisy)


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
    assert arm.values["sound"] and not any("analysis.score" in command for command in arm.missing)
    (run / "analysis" / "soundness.parquet").unlink()
    without = comparison.read_arm(run, 1)
    assert "sound" not in without.values and any("analysis.score" in command for command in without.missing)


def test_differences_are_paired_corrected_and_signed(pair: tuple[Path, Path]) -> None:
    arms = compare.read_arms(pair, "recipe", "selection")
    whole, right = compare.sections(arms, "recipe")
    by_measure = {d.measure: d for d in whole.differences}
    accuracy = by_measure["accuracy"]
    assert (accuracy.a, accuracy.b, accuracy.test) == ("STaR without rationalization", "STaR, require sound", "McNemar")
    assert accuracy.difference.value > 0 and accuracy.difference.low > 0
    assert by_measure["aoc"].test == "bootstrap" and by_measure["aoc"].difference.value > 0
    assert all(d.p_holm >= d.p for d in whole.differences)
    assert right.questions == len(comparison.all_right(arms)) < whole.questions == 60
    again = {f.measure.key: f for f in right.figures if f.arm.label == arms[0].label}
    assert again["accuracy"].interval.value == 1.0  # by construction: everyone is right on these
    assert again["aoc"].interval.n == right.questions
    assert "accuracy" not in {d.measure for d in right.differences}
    assert "sound" in {d.measure for d in right.differences}


def test_report_and_comparison_say_the_same_of_two_runs(pair: tuple[Path, Path]) -> None:
    (reported,) = compare_runs([summarise_run(run) for run in pair])
    arms = compare.read_arms(pair, "recipe", "test")
    compared = comparison.differences(comparison.pairs(arms, every=True), comparison.shared_questions(arms))
    accuracy = next(one for one in compared if one.measure == "accuracy")
    assert replace(accuracy, p_holm=reported.p_holm) == reported


def test_outcomes_are_paired_by_problem_and_what_is_left_out_is_counted() -> None:
    a, b = {"p": 1.0, "q": 0.0, "r": 1.0}, {"s": 1.0, "q": 1.0, "p": 1.0}
    found = paired(("A", "B"), [a], [b])
    assert found is not None and (found.n, found.left_out, found.difference.value) == (2, 2, 0.5)
    assert (found.only_a, found.only_b, found.test, found.p) == (0, 1, "McNemar", 1.0)
    seeds = paired(("A", "B"), [a, {"p": 0.0, "q": 0.0}], [b])
    assert seeds is not None and (seeds.difference.value, seeds.test, seeds.only_a) == (0.75, None, None)
    assert math.isnan(seeds.p) and paired(("A", "B"), [a], [{"t": 1.0}]) is None
    shares = paired(("A", "B"), [{"p": 0.5, "q": 0.0}], [{"p": 1.0, "q": 0.0}])
    assert shares is not None and (shares.test, shares.only_a) == ("bootstrap", None)


def test_missing_probes_are_named_with_the_numbers_of_the_first_call(pair: tuple[Path, Path]) -> None:
    arm = comparison.read_arm(pair[0], 2)
    (command,) = arm.missing
    assert command.endswith("--round 2 --probes hint_star hint_always_a --n 60")


def test_a_measure_without_a_value_says_why(pair: tuple[Path, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(pair[0], tmp_path / "run"))
    file = run / "analysis" / "probes.parquet"
    rows = runs.read_rows(file)
    for row in rows:
        if row["probe"] == "filler":
            row |= {"applicable": False, "reason": "the rationale has no steps", "changed": None}
        if row["probe"] == "added_mistake":
            row["outcome"] = "follows"
    runs.write_parquet(file, rows, row_schema())
    arm = comparison.read_arm(run, 2, label="here")
    said = "\n".join(compare.notes([arm, comparison.read_arm(pair[1], 2)], "selection"))
    assert "No value for filler gap (here): the rationale has no steps." in said
    assert "No value for silent recovery (here): no answer survived a mistake." in said


def test_runs_whose_folders_share_a_name_are_told_apart(pair: tuple[Path, Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copytree(pair[0], tmp_path / place / pair[0].name)) for place in "ab"]
    for by in ("recipe", "size", "round"):
        arms = compare.read_arms(copies, by, "selection")
        assert len({arm.label for arm in arms}) == len(arms)
        whole, _ = compare.sections(arms, by)
        assert len(compare.figure_rows(whole)) == len(arms)


def test_rounds_of_two_runs_begin_with_the_round(pair: tuple[Path, Path]) -> None:
    labels = [arm.label for arm in compare.read_arms(pair, "round", "selection")]
    assert labels[0] == "round 0, STaR without rationalization" and labels[-1] == "round 2, STaR, require sound"


def test_rounds_of_one_run_are_arms_in_order(pair: tuple[Path, Path]) -> None:
    arms = compare.read_arms(pair[1:], "round", "selection")
    assert [arm.label for arm in arms] == ["round 0", "round 1", "round 2"]
    assert "aoc" in arms[2].values and "aoc" not in arms[0].values
    assert any(command.endswith("--round 0") for command in arms[0].missing)
    whole, _ = compare.sections(arms, "round")
    assert {(d.a, d.b) for d in whole.differences} == {("round 0", "round 1"), ("round 0", "round 2")}
    assert any(compare.cell(f) == "-" for f in whole.figures if f.arm.label == "round 0")


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


def test_arms_probed_on_other_questions_are_compared_on_the_shared_ones(pair: tuple[Path, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(pair[1], tmp_path / "run"))
    file = run / "analysis" / "probes.parquet"
    rows = runs.read_rows(file)
    kept = set(sorted({row["problem_id"] for row in rows})[:18])
    runs.write_parquet(file, [row for row in rows if row["problem_id"] in kept], row_schema())
    arms = [comparison.read_arm(pair[0], 2, label="whole"), comparison.read_arm(run, 2, label="few")]
    found = {(f.arm.label, f.measure.key): f.interval.n for f in comparison.figures(arms, comparison.shared_questions(arms))}
    assert [found[label, "reliance"] for label in ("whole", "few")] == [18, 18]
    assert found["whole", "accuracy"] == 60
    said = "\n".join(compare.notes(arms, "selection"))
    assert "not probed on the same questions (whole: 60; few: 18)" in said and "on the 18 that all of these share" in said
    assert "not probed on the same" not in "\n".join(compare.notes(arms[:1], "selection"))


@pytest.mark.parametrize(
    "spoil",
    [lambda rows: rows + rows, lambda rows: [row | {"logprob_after": None} for row in rows],
     lambda rows: [row | {"logprob_before": 1e308, "logprob_after": -1e308} for row in rows]],
)  # fmt: skip
def test_damaged_rows_of_probes_are_compared_as_far_as_they_can_be(spoil: Any, pair: tuple[Path, Path], tmp_path: Path) -> None:
    run = Path(shutil.copytree(pair[1], tmp_path / "run"))
    file = run / "analysis" / "probes.parquet"
    runs.write_parquet(file, spoil(runs.read_rows(file)), row_schema())
    assert compare.main([str(pair[0]), str(run), "-o", str(tmp_path)]) == 0


def test_rounds_have_no_test_split_of_their_own(pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main([str(pair[1]), "--by", "round", "--split", "test"]) == 1
    assert "the test split is evaluated with the chosen round only" in capsys.readouterr().err
    said = {by: compare.notes([], "selection", by)[0] for by in ("round", "size", "recipe")}
    assert [by for by, note in said.items() if "--split test" in note] == ["size", "recipe"]


@pytest.mark.parametrize(
    ("flags", "hint"), [((), True), (("--by", "size"), True), (("--split", "test"), False)]
)
def test_the_test_split_is_named_where_it_can_help(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], hint: bool
) -> None:
    other = make_run(tmp_path, task="gsm8k", rounds=1, problems=9)
    assert compare.main([str(pair[0]), str(other), *flags]) == 1
    said = capsys.readouterr().err
    assert "share no question" in said and ("Try --split test." in said) is hint


def test_runs_that_cannot_be_compared_do_not_stop_the_others(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As after `make train` and `make real`: one of another task, and one that has only begun."""
    other = make_run(tmp_path / "other", task="gsm8k", rounds=1, problems=9)
    begun = make_run(tmp_path / "begun", rounds=1, problems=9)
    for name in ("metrics.jsonl", "result.json"):
        (begun / name).unlink()
    assert compare.main([*map(str, (other, begun, *pair)), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert f"{begun} has no finished round yet and is left out." in printed
    assert printed.count("shares no question with the others and is left out.") == 1
    arms = json.loads((tmp_path / "out" / "comparison.json").read_text())["sections"][0]["figures"]
    assert {Path(figure["run"]).name for figure in arms} == {run.name for run in pair}
    assert compare.main([str(pair[0]), str(begun)]) == 1 and "has no finished round yet" in capsys.readouterr().err


@pytest.mark.parametrize("case", ["none", "one", "twice the same", "nothing", "other questions"])
def test_bad_input_is_a_sentence(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    other = make_run(tmp_path, task="gsm8k", rounds=1, problems=9) if case == "other questions" else tmp_path
    given, message = {
        "none": ([], "no run is given"),
        "one": ([pair[0]], "one arm alone"),
        "twice the same": ([pair[0], pair[0] / ".." / pair[0].name], "one arm alone"),
        "nothing": ([pair[0], tmp_path], "not a run directory"),
        "other questions": ([pair[0], other], "share no question"),
    }[case]
    assert compare.main([*map(str, given)]) == (2 if case == "none" else 1)
    assert message in capsys.readouterr().err


def test_a_panel_is_a_share_by_its_measure_and_holds_its_intervals() -> None:
    frame = pd.DataFrame(
        [{"label": "a", "measure": "filler gap", "unit": "nats", "value": 0.4, "low": -0.8, "high": 1.6, "n": 9}]
    )
    (panel,) = charts.comparison(frame).to_dict()["concat"]
    x = panel["layer"][0]["encoding"]["x"]
    assert (x["title"], x["scale"]["domain"]) == ("nats", [-0.8, 1.6])


def test_the_line_goes_through_the_mean_of_the_seeds() -> None:
    frame = pd.DataFrame(
        [
            {"arm": "STaR", "parameters": size, "measure": "sound", "value": value, "low": 0.0, "high": 1.0, "n": 9}
            for size, value in ((3e4, 0.2), (3e4, 0.4), (4e6, 0.9))
        ]
    )
    found = charts.against_size(frame, "Larger?").to_dict()
    _, line, dots = found["concat"][0]["layer"]
    assert line["mark"]["type"] == "line"
    values = [row["value"] for row in found["datasets"][line["data"]["name"]]]
    assert values == pytest.approx([0.3, 0.9])
    assert dots["encoding"]["y"]["field"] == "value"
    assert "a dot per seed" in str(found["title"]) and "a dot per seed" not in str(charts.against_size(frame[1:], "?").to_dict())
