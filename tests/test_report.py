"""The report: names as in the paper, figures from the run's own files, marks that cannot be overlooked."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from star import report
from star import run as runs
from star.paired import compare_runs, one_a_seed
from star.recipe import Recipe
from star.report_data import all_values, label, run_values
from star.run_summary import accuracy_at, arm_name, flops_to, recipe_group, summarise_run
from tests.run_factory import make_run


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ({"loop": {"method": "few_shot"}, "prompting": {"answer_only": True}}, "few-shot direct"),
        ({"loop": {"method": "few_shot"}}, "few-shot chain of thought"),
        ({"loop": {"method": "direct"}, "prompting": {"answer_only": True}}, "direct fine-tuning"),
        ({"loop": {"method": "star", "rationalize": False}}, "STaR without rationalization"),
        ({"loop": {"method": "star", "rationalize": True}}, "STaR"),
        ({"curation": {"require": "sound"}}, "STaR, require sound"),
        ({"loop": {"start": "continue"}, "curation": {"require": "sound"}}, "STaR, require sound, continued"),
        ({}, "STaR"),
    ],
)
def test_rows_are_named_as_in_the_paper(recipe: dict[str, object], name: str) -> None:
    assert arm_name(recipe) == name


def test_figures_are_those_of_the_run_directory(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=2, problems=60, samples=4)
    found = summarise_run(run)
    rows = runs.read_rows(run / "test" / "evaluation.parquet")
    greedy = [row for row in rows if row["sample"] == 0]
    assert found.finished and found.split == "test" and found.round == 2
    assert found.accuracy.n == len(greedy) == 60
    assert found.accuracy.value == sum(row["verdict"] == "correct" for row in greedy) / 60
    assert found.no_answer == sum(row["verdict"] == "no_answer" for row in greedy) / 60
    training = runs.read_rows(run / "round_02" / "training.parquet")
    assert found.data_used == len({row["problem_id"] for row in training}) / 60
    assert found.generated is not None and found.rationalized is not None
    assert found.generated + found.rationalized == pytest.approx(found.data_used)
    metrics = runs.Run(run).rounds
    assert found.samples == sum(line["samples"] for line in metrics)
    assert found.training_flops == 6 * 200_000 * sum(line.get("training", {}).get("tokens", 0) for line in metrics)
    assert found.sampling_flops == sum(
        2 * 200_000 * (line["sampled_tokens"] + line["prompt_tokens"]) for line in metrics
    )
    assert set(found.pass_at_k) == {1, 2, 4} and set(found.slices) == {"1 digit", "2 digits", "3 digits"}
    sampled = [row["verdict"] == "correct" for row in rows if row["sample"] > 0]
    assert found.pass_at_k[1].value == pytest.approx(sum(sampled) / len(sampled))  # pass@1 is the mean of the samples
    assert found.pass_at_k[4].value >= found.pass_at_k[2].value >= found.pass_at_k[1].value


def test_missing_figures_are_dashes_not_errors(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9)
    (run / "metrics.jsonl").write_text('{"round": 0, "selection": {"n": 9, "correct": 3}}\n{"round": 1, "sel')
    (run / "test" / "evaluation.parquet").unlink()
    (run / "result.json").write_text('{"chosen_round": 0, "test": {"n": 9, "correct": 4}}')
    row = report.cells(run_values(summarise_run(run)))
    assert row["accuracy % [95 %]"].startswith("44.4 [")
    assert row["samples"] == row["seconds"] == row["train data used %"] == row["no answer %"] == "-"


def test_unfinished_run_says_so_on_its_face(tmp_path: Path) -> None:
    found = summarise_run(make_run(tmp_path, rounds=2, problems=30, finished=False))
    assert not found.finished and found.split == "selection"
    assert "UNFINISHED, round 2" in label(found)
    assert "goes on" in report.warnings([found])[0]


def test_selection_on_test_is_marked_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, rounds=1, problems=20, select_on="test")
    for style in ("table", "markdown", "csv", "json"):
        assert report.main([str(run), "--format", style]) == 0
        shown = capsys.readouterr()
        assert "chosen on the test split" in " ".join((shown.out + shown.err).split())
        assert style == "json" or "CHOSEN ON TEST" in " ".join(shown.out.split())
    assert "CHOSEN ON TEST" not in label(summarise_run(make_run(tmp_path, name="b", rounds=1, problems=20)))


def test_seeds_of_one_recipe_are_one_group_with_mean_and_spread(tmp_path: Path) -> None:
    seeds = [make_run(tmp_path, rounds=1, problems=40, seed=s, skill=0.3 + 0.2 * s) for s in range(3)]
    other = make_run(tmp_path, name="other", rounds=1, problems=40, rationalize=False)
    summaries = [summarise_run(run) for run in [*seeds, other]]
    rows = report.table(all_values(summaries))
    assert [row["method"] for row in rows].count("STaR") == 3
    mean = next(row for row in rows if "mean ± sd of 3 seeds" in row["method"])
    shares = [100 * s.accuracy.value for s in summaries[:3]]
    assert mean["accuracy % [95 %]"].startswith(f"{sum(shares) / 3:.1f} ± ")
    assert mean["run"] == f"{seeds[0].name.rpartition('-')[0]}, seeds 0, 1, 2"
    found = compare_runs(summaries)
    assert len(found) == 1 and found[0].only_a is None  # seeds are averaged per problem: no McNemar
    assert report.comparison_cells(found[0])["McNemar p"] == "-"


def test_a_seed_counts_once_whatever_its_run_is_called(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, name=name, rounds=1, problems=40, seed=seed) for name, seed in (("a", 0), ("b", 0), ("c", 1))]
    other = make_run(tmp_path, name="other", rounds=1, problems=40, rationalize=False)
    summaries = [summarise_run(run) for run in [*runs, other]]
    (group,) = [row for row in all_values(summaries) if "seeds" in row]
    assert one_a_seed([summaries[0], replace(summaries[1], seed=None)]) == summaries[:1], "0 where a recipe names no seed"
    assert group["seeds"] == [0, 1] and group["runs"] == [runs[0].name, runs[2].name]
    assert group["accuracy"] == pytest.approx((summaries[0].accuracy.value + summaries[2].accuracy.value) / 2)
    (said,) = [note for note in report.warnings(summaries) if "the same recipe and seed" in note]
    assert said.startswith(f"{runs[0].name}, {runs[1].name}:") and f"count {runs[0].name} alone" in said
    assert compare_runs([summaries[0], summaries[1], summaries[3]])[0].test == "McNemar", "one seed each"


def test_seeds_that_were_computed_elsewhere_are_one_group() -> None:
    launched = {"accelerate_config": "a"}
    places: dict[str, Any] = {"sampling": {"workers": 2, "gpus_per_worker": 2}, "training": launched | {"launcher": "srun"}}
    groups = [
        recipe_group(Recipe.model_validate({"training": launched, **changes}).model_dump(mode="json"))
        for changes in ({}, {"seed": 1, "name": "again", "runs_dir": "elsewhere", **places}, {"loop": {"rounds": 3}})
    ]
    assert groups[0] == groups[1] != groups[2]


def test_the_spread_over_seeds_is_in_json_and_csv_as_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seeds = [str(make_run(tmp_path, rounds=1, problems=40, seed=s, skill=0.3 + 0.2 * s)) for s in range(3)]
    shares = [summarise_run(Path(run)).accuracy.value for run in seeds]
    report.main([*seeds, "--format", "json"])
    (group,) = json.loads(capsys.readouterr().out)["groups"]
    assert group["accuracy"] == pytest.approx(sum(shares) / 3) and group["accuracy_sd"] == pytest.approx(stdev(shares))
    assert (group["accuracy_min"], group["accuracy_max"]) == (min(shares), max(shares))
    runs = [summarise_run(Path(run)) for run in seeds]
    assert group["strict"] == pytest.approx(sum(run.strict or 0 for run in runs) / 3) and group["tokens"] is not None
    (below,) = [row for row in all_values(runs, reach=0.01, tokens=10**9) if "seeds" in row]
    assert below["FLOPs to 1 %"] == pytest.approx(sum(flops_to(run, 0.01) or 0 for run in runs) / 3)
    assert below["selection at 1,000,000,000 tokens"] == pytest.approx(sum(accuracy_at(run, 10**9) or 0 for run in runs) / 3)
    assert [row["FLOPs to 100 %"] for row in all_values(runs, reach=1.0)] == [None] * 4, "no seed reaches it"
    assert (group["seeds"], group["n"]) == ([0, 1, 2], [40, 40, 40])
    report.main([*seeds, "--format", "csv", "--slices"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["seed"] for row in rows] == ["0", "1", "2", ""] and rows[3]["n"] == "40 40 40"
    assert float(rows[3]["accuracy_sd"]) == group["accuracy_sd"]
    words = {"method", "run", "runs", "seeds", "split", "n"}
    for row in rows:
        assert all(value == "" or float(value) >= 0 for name, value in row.items() if name not in words), row


def test_problems_that_not_every_run_answered_are_spoken_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (make_run(tmp_path, rounds=1, problems=40, seed=seed) for seed in (0, 1))
    other = make_run(tmp_path, name="other", rounds=1, problems=40, rationalize=False)
    file = second / "test" / "evaluation.parquet"
    runs.write_parquet(file, runs.read_rows(file)[:35], runs.ATTEMPTS)
    summaries = [summarise_run(run) for run in (first, second, other)]
    (found,) = compare_runs(summaries)
    assert (found.n, found.left_out) == (35, 5)
    assert "35 problems and leaves out 5, which not every run answered" in report.warnings(summaries, [found])[-1]
    mean = next(row for row in report.table(all_values(summaries)) if "mean" in row["method"])
    assert mean["n"] == "35 to 40"
    report.main([*map(str, (first, second, other)), "--compare", "--format", "csv"])
    shown = capsys.readouterr()
    (row,) = csv.DictReader(io.StringIO(shown.out))
    assert (row["problems"], row["problems_left_out"], row["p"]) == ("35", "5", "") and "leaves out 5" in shown.err
    assert float(row["difference_low"]) <= float(row["difference"]) <= float(row["difference_high"])


def test_more_runs_than_fit_beside_each_other_make_several_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [make_run(tmp_path, name=f"run{n}", rounds=1, problems=9, seed=n, analysis=False) for n in range(10)]
    report.main([str(run) for run in made])
    shown = capsys.readouterr().out
    assert "Runs (1 to 8 of 11)" in shown and "Runs (9 to 11 of 11)" in shown  # ten runs and the row of their mean
    assert len([line for line in shown.splitlines() if "accuracy %" in line]) == 2


def test_the_first_row_of_a_table_on_its_side_has_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_table([{"a": "STaR", "b": "x" * 200, "problems": "90"}], "Paired comparison")
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split("┃")[1].strip() == "a" and "STaR" in lines[2]


def test_slices_may_have_the_names_of_columns(tmp_path: Path) -> None:
    found = summarise_run(make_run(tmp_path, rounds=1, problems=40))
    found = replace(found, slices={"tokens": found.accuracy, "seeds": found.accuracy, "easy": found.accuracy})
    (row,) = report.table(all_values([found], ["tokens", "seeds", "easy"]))
    assert row["tokens"] == f"{found.tokens:,}"
    assert row["tokens (slice) %"] == row["seeds (slice) %"] == row["easy %"] == found.accuracy.percent()


def test_rows_left_out_are_reported(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9)
    facts = runs.read_json(run / "run.json")
    runs.write_json(run / "run.json", {**facts, "skipped_rows": {"no answer": 1}})
    assert report.warnings([summarise_run(run)]) == [f"{run.name}: 1 of 28 rows left out (1 x no answer)."]


def test_kept_rationales_that_nobody_could_judge_are_counted(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines[-1]["data"]["kept_not_judged"] = 3
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = f"{run.name}: 3 of the kept rationales could not be judged (curation.require: sound)."
    assert report.warnings([summarise_run(run)]) == [said]


def test_two_arms_are_compared_on_the_same_problems(tmp_path: Path) -> None:
    weak = make_run(tmp_path, name="weak", rounds=2, problems=90, skill=0.3, rationalize=False)
    strong = make_run(tmp_path, name="strong", rounds=2, problems=90, skill=0.8)
    a, b = summarise_run(weak), summarise_run(strong)
    (found,) = compare_runs([b, a])
    assert (found.a, found.b, found.n) == ("STaR without rationalization", "STaR", 90)  # the paper's order
    assert found.difference.value == pytest.approx(b.accuracy.value - a.accuracy.value)
    assert found.difference.low > 0 and found.p < 0.01 and found.p_holm == found.p
    assert found.only_b is not None and found.only_a is not None
    assert found.only_b - found.only_a == round(90 * found.difference.value)


def test_formats_hold_the_same_accuracy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path, rounds=1, problems=30)
    expected = summarise_run(run).accuracy
    report.main([str(run), "--format", "csv"])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert [float(row[f"accuracy{end}"]) for end in ("", "_low", "_high")] == [expected.value, expected.low, expected.high]
    assert row["n"] == "30" and float(row["seconds"]) > 0
    report.main([str(run), "--format", "json", "--slices"])
    content = json.loads(capsys.readouterr().out)["runs"][0]
    assert content["accuracy"]["value"] == expected.value and content["slices"]["1 digit"]["n"] == 10
    report.main([str(run), "--format", "markdown"])
    assert f"| {expected.percent()} |" in capsys.readouterr().out
    report.main([str(run), "--slices"])
    assert "1 digit %" in capsys.readouterr().out


def test_bad_input_is_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path)]) == 1
    assert "not a run directory" in capsys.readouterr().err
    run = make_run(tmp_path, rounds=1, problems=9)
    (run / "result.json").write_text("{")
    assert report.main([str(run)]) == 1
    assert "result.json cannot be read" in capsys.readouterr().err
    (run / "result.json").unlink()
    (run / "metrics.jsonl").write_text("")
    assert report.main([str(run)]) == 1
    assert "no finished round yet" in capsys.readouterr().err
