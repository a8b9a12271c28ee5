"""Algorithm 1 with a scripted sampler: what is sampled, kept, trained on and chosen."""

from __future__ import annotations

import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from star import loop as star_loop
from star import run as runs
from star.attempts import gate_message
from star.recipe import TaskSettings
from star.run_summary import summarise_run
from star.setup import prepare
from star.tasks import addition
from star.training.plan import Job
from tests.scripted import ScriptedSampler
from tests.scripted_loop import attempts_of, make_recipe, run, scripted_finetune

pytestmark = pytest.mark.usefixtures("no_training")


def test_a_round_follows_algorithm_1(base_model: Path, tmp_path: Path) -> None:
    setup, _, result = run(make_recipe(base_model, tmp_path))
    rows = attempts_of(setup, 1)
    solved = {row["problem_id"] for row in rows if row["mode"] == "generated" and row["verdict"] == "correct"}
    retried = {row["problem_id"] for row in rows if row["mode"] == "rationalized"}
    generated = {row["problem_id"] for row in rows if row["mode"] == "generated"}
    assert len(generated) == 60
    assert retried == generated - solved, "exactly the problems without a right answer are rationalized"
    kept = {row["attempt_id"] for row in rows if row["kept"]}
    assert kept and kept <= {row["attempt_id"] for row in rows if row["verdict"] == "correct"}
    assert all((row["drop_reason"] is None) == row["kept"] for row in rows)
    training = runs.read_rows(setup.run_dir / "round_01" / "training.parquet")
    assert {row["attempt_id"] for row in training} == kept
    assert result["chosen_round"] in (1, 2, 3) and 0 < result["test"]["accuracy"] < 1
    assert {row["verdict"] for row in rows} == {"correct", "incorrect", "no_answer", "truncated"}


def test_no_hint_reaches_the_training_text(base_model: Path, tmp_path: Path) -> None:
    setup, _, _ = run(make_recipe(base_model, tmp_path))
    for row in runs.read_rows(setup.run_dir / "round_01" / "training.parquet"):
        lines = row["prompt"].splitlines()
        assert len(lines) == 3 and lines[2] == "Target:", row["prompt"]
        assert row["completion"].startswith("<scratch>")


def test_hint_share_keeps_the_hint_of_rationalized_rows_only(base_model: Path, tmp_path: Path) -> None:
    setup, _, _ = run(make_recipe(base_model, tmp_path, curation={"hint_share": 1.0}))
    rows = runs.read_rows(setup.run_dir / "round_01" / "training.parquet")
    assert {(row["mode"], row["hinted"]) for row in rows} == {("generated", False), ("rationalized", True)}


def test_require_sound_keeps_only_sound_rationales(base_model: Path, tmp_path: Path) -> None:
    plain, _, _ = run(make_recipe(base_model, tmp_path))
    sound, _, _ = run(make_recipe(base_model, tmp_path, curation={"require": "sound"}))
    assert any(row["kept"] and not row["sound"] for row in attempts_of(plain, 1))
    assert all(row["sound"] for row in attempts_of(sound, 1) if row["kept"])
    assert any(row["drop_reason"] == "unsound" for row in attempts_of(sound, 1))


def test_the_base_model_rationalizes_when_asked(base_model: Path, tmp_path: Path) -> None:
    setup, sampler, _ = run(make_recipe(base_model, tmp_path, loop={"rationalizer": "base"}))
    assert sampler.loads.count(setup.base_dir) == 2, "reloaded for rounds 2 and 3; round 1 starts with it"


def test_restart_trains_the_base_model_and_continue_the_last_one(base_model: Path, tmp_path: Path) -> None:
    for start, expected in (("restart", "base"), ("continue", "round_01")):
        setup, _, _ = run(make_recipe(base_model, tmp_path, loop={"start": start}))
        weights = (setup.run_dir / "round_02" / "model" / "weights.txt").read_text().split()[0]
        assert (Path(weights) == setup.base_dir) == (expected == "base")
        assert ("round_01" in weights) == (expected == "round_01")


def test_replay_adds_earlier_rounds(base_model: Path, tmp_path: Path) -> None:
    setup, _, _ = run(make_recipe(base_model, tmp_path, curation={"replay": 1}))
    rounds = {row["from_round"] for row in runs.read_rows(setup.run_dir / "round_03" / "training.parquet")}
    assert rounds == {2, 3}


def test_direct_fine_tuning_trains_on_answers_alone(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path, loop={"method": "direct"}, prompting={"answer_only": True})
    setup, sampler, _ = run(recipe)
    rows = runs.read_rows(setup.run_dir / "round_01" / "training.parquet")
    assert len(rows) == 60 and all("scratch" not in row["completion"] for row in rows)
    assert not (setup.run_dir / "round_02").exists()
    assert not any("train" in label for label, _ in sampler.calls)


def test_the_steps_of_an_epoch_are_those_of_the_packed_sequences(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    tokens: list[int] = []

    def noted(job: Job) -> dict[str, Any]:
        jobs.append(job)
        tokens.append(sum(map(len, job.data["input_ids"])))
        return {**scripted_finetune(job), "rows": job.rows - 3, "dropped_rows": 3}

    monkeypatch.setattr(star_loop, "finetune", noted)
    training = {"batch_size": 2, "max_length": 256, "steps": {"epochs": 2}}
    for packing in (False, True):
        sections: dict[str, Any] = {"loop": {"rounds": 1}, "training": {**training, "packing": packing}}
        setup, _, _ = run(make_recipe(base_model, tmp_path, **sections))
    rows, full = jobs[0].rows, tokens[0] / 256
    assert jobs[0].steps == rows and jobs[1].rows == rows and tokens[1] == tokens[0]
    assert full <= jobs[1].steps < 1.5 * full < rows
    note = f"round 1: 3 of {rows} training rows were left out: their prompts alone have training.max_length (256)"
    assert note in (setup.run_dir / "notes.txt").read_text()
    assert runs.Run(setup.run_dir).rounds[1]["training"]["dropped_rows"] == 3


def test_the_model_of_a_direct_run_was_trained_on_gold_answers(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Job] = []
    monkeypatch.setattr(star_loop, "finetune", lambda job: jobs.append(job) or scripted_finetune(job))
    run(make_recipe(base_model, tmp_path, loop={"method": "direct"}))
    run(make_recipe(base_model, tmp_path, loop={"rounds": 1}))
    assert [job.trained_on for job in jobs] == ["gold answers", "self-generated rationales"]


def test_the_seconds_of_a_run_are_those_of_its_rounds_and_of_the_test(
    base_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ScriptedSampler.sample

    def slow(self: Any, prompts: Any, decoding: Any, *, progress: str | None = None) -> Any:
        time.sleep(0.5 if "(test)" in str(progress) else 0)
        return real(self, prompts, decoding, progress=progress)

    monkeypatch.setattr(ScriptedSampler, "sample", slow)
    recipe = make_recipe(base_model, tmp_path, loop={"rounds": 1})
    setup, _, result = run(recipe)
    rounds = sum(sum(line["seconds"].values()) for line in runs.Run(setup.run_dir).rounds)
    test = runs.read_json(setup.run_dir / "test" / "seconds.json")
    assert test["test"] >= 0.5 and result["seconds_total"] == pytest.approx(rounds + sum(test.values()), abs=0.06)
    assert "test" not in runs.read_json(setup.run_dir / "round_01" / "seconds.json")
    (setup.run_dir / "result.json").unlink()  # as when killed after the test stage
    assert run(recipe)[2]["seconds_total"] == pytest.approx(result["seconds_total"], abs=0.11)


def test_few_shot_only_evaluates(base_model: Path, tmp_path: Path) -> None:
    setup, sampler, result = run(make_recipe(base_model, tmp_path, loop={"method": "few_shot"}))
    assert result["chosen_round"] == 0 and [n for _, n in sampler.calls] == [len(setup.selection), len(setup.test)]
    assert not (setup.run_dir / "round_01").exists()


def test_the_stop_rules(base_model: Path, tmp_path: Path) -> None:
    _, _, result = run(make_recipe(base_model, tmp_path, loop={"target": 0.05, "rounds": 5}))
    assert result["rounds"] == 1
    _, _, result = run(make_recipe(base_model, tmp_path, loop={"patience": 1, "rounds": 9}))
    assert result["rounds"] < 9


def test_the_round_is_chosen_on_selection_not_on_test(base_model: Path, tmp_path: Path) -> None:
    setup, _, result = run(make_recipe(base_model, tmp_path))
    lines = [line for line in runs.Run(setup.run_dir).rounds if line["round"] > 0]
    best = max(lines, key=lambda line: (line["selection"]["accuracy"], -line["round"]))
    assert result["chosen_round"] == best["round"]
    splits = {row["split"] for row in runs.read_rows(setup.run_dir / "round_01" / "evaluation.parquet")}
    assert splits == {"selection"} and result["select_on"] == "selection"


def test_selecting_on_test_is_recorded(base_model: Path, tmp_path: Path) -> None:
    setup, _, result = run(make_recipe(base_model, tmp_path, evaluation={"select_on": "test"}))
    assert result["select_on"] == "test"
    assert {r["split"] for r in runs.read_rows(setup.run_dir / "round_01" / "evaluation.parquet")} == {"test"}


def test_splits_are_disjoint(base_model: Path, tmp_path: Path) -> None:
    setup = prepare(make_recipe(base_model, tmp_path), [])
    groups = [{p.id for p in group} for group in (setup.train, setup.selection, setup.test)]
    assert all(groups) and not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert not {e.problem.id for e in setup.task.examples} & set.union(*groups)


def test_samples_per_problem_and_the_cap(base_model: Path, tmp_path: Path) -> None:
    setup, _, _ = run(make_recipe(base_model, tmp_path, sampling={"samples": 4}, curation={"cap": 1}))
    rows = attempts_of(setup, 1)
    assert sum(row["mode"] == "generated" for row in rows) == 240
    kept = [row["problem_id"] for row in rows if row["kept"]]
    assert len(kept) == len(set(kept))
    assert {"duplicate", "cap"} & {row["drop_reason"] for row in rows}


def test_what_no_first_sample_solves_is_sampled_again_before_the_hint(base_model: Path, tmp_path: Path) -> None:
    sections = {"sampling": {"temperature": 0.7, "top_p": 1.0, "samples": 2}, "loop": {"retries": 3}}
    setup, _, _ = run(make_recipe(base_model, tmp_path, **sections), skill=0.3)
    by_problem: dict[str, dict[str, dict[int, str]]] = defaultdict(lambda: defaultdict(dict))
    for row in attempts_of(setup, 1):
        by_problem[row["problem_id"]][row["mode"]][row["sample"]] = row["verdict"]
    solved_at = Counter[str]()
    for modes in by_problem.values():
        verdicts = modes["generated"]
        solved = "correct" in (verdicts[0], verdicts[1])
        assert list(verdicts) == list(range(2 if solved else 5))
        assert ("rationalized" in modes) == ("correct" not in verdicts.values())
        solved_at["first" if solved else "again" if "correct" in verdicts.values() else "never"] += 1
    assert set(solved_at) == {"first", "again", "never"}


def test_pass_and_majority_at_k_over_the_test_split(base_model: Path, tmp_path: Path) -> None:
    _, _, result = run(make_recipe(base_model, tmp_path, evaluation={"samples": 4}))
    at_k = result["test"]["pass_at_k"]
    assert set(at_k) == {"1", "2", "4"} and at_k["1"] <= at_k["2"] <= at_k["4"]
    assert 0 < result["test"]["maj_at_k"]["4"] <= 1


def test_the_gate_warns_or_stops(base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(make_recipe(base_model, tmp_path, loop={"gate": "warn", "rounds": 1}), skill=0.0)
    assert "will not bootstrap" in capsys.readouterr().err
    with pytest.raises(runs.RunError, match="will not bootstrap"):
        run(make_recipe(base_model, tmp_path, loop={"gate": "stop", "rounds": 1}), skill=0.0)
    run(make_recipe(base_model, tmp_path, loop={"gate": "off", "rounds": 1}), skill=0.0)
    assert "bootstrap" not in capsys.readouterr().err


OTHER_FORM = "The sum is:\n"


def test_the_gate_tells_a_missing_form_from_a_missing_ability(
    base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, result = run(make_recipe(base_model, tmp_path, loop={"rounds": 1}), before=OTHER_FORM)
    said = capsys.readouterr().err
    assert result["gate"]["correct"] == 0 < result["gate"]["lenient"]
    other = result["gate"]["lenient"]
    assert f"0 of 60 problems right in the asked form, {other} ({other / 60:.1%}) in another" in said
    assert "curation.accept to lenient" in said and "luck" not in said


@pytest.mark.parametrize(
    ("correct", "lenient", "passed", "says"),
    [
        (0, 0, False, "not above chance"),
        (0, 9, False, "will not bootstrap: the first pass got 0 of 60 problems right in the asked form, 9 (15.0%) in another"),
        (1, 22, True, "the first pass got 1 of 60 problems right in the asked form, 21 (35.0%) in another"),
        (20, 25, True, None),
    ],
)
def test_a_form_that_hides_most_of_what_is_right_is_named(correct: int, lenient: int, passed: bool, says: str | None) -> None:
    said = gate_message({"correct": correct, "lenient": lenient, "n": 60, "chance": 0.0, "p_value": 1.0, "passed": passed})
    assert said is None if says is None else says in (said or "")
    assert not passed or "bootstrap" not in (said or "")


def test_answers_in_another_form_are_kept_and_trained_on_in_the_asked_one(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path, curation={"accept": "lenient"}, loop={"rounds": 1, "target": 0.01})
    setup, _, result = run(recipe, before=OTHER_FORM)
    kept = {row["attempt_id"]: row for row in attempts_of(setup, 1) if row["kept"]}
    assert kept and result["gate"]["passed"] and result["gate"]["correct"] == result["gate"]["lenient"]
    assert {(row["verdict"], row["strict_verdict"], row["lenient_verdict"]) for row in kept.values()} == {
        ("correct", "no_answer", "correct")
    }
    for row in runs.read_rows(setup.run_dir / "round_01" / "training.parquet"):
        assert OTHER_FORM not in row["completion"]
        assert row["completion"].endswith("</scratch>\n" + " ".join(kept[row["attempt_id"]]["gold"]))
    chosen = runs.Run(setup.run_dir).rounds[1]["selection"]
    assert chosen["correct"] == chosen["lenient"] > chosen["strict"] == 0
    found = summarise_run(setup.run_dir)
    assert (found.accept, found.strict, found.lenient) == ("lenient", 0, found.accuracy.value)


def test_both_readings_agree_where_every_answer_is_in_form(base_model: Path, tmp_path: Path) -> None:
    both = [run(make_recipe(base_model, tmp_path, curation={"accept": name}))[0] for name in ("auto", "strict", "lenient")]
    assert [setup.task.accept for setup in both] == ["strict", "strict", "lenient"]
    kept = [[row["attempt_id"] for row in attempts_of(setup, 3) if row["kept"]] for setup in both]
    assert kept[0] == kept[1] == kept[2]


def test_a_run_goes_on_with_the_reading_that_it_was_begun_with(base_model: Path, tmp_path: Path) -> None:
    recipe = make_recipe(base_model, tmp_path)
    manifest = prepare(recipe, ["test"]).run_dir / "run.json"
    content = json.loads(manifest.read_text())
    assert content["accept"] == "strict"
    manifest.write_text(json.dumps(content | {"accept": "lenient"}))
    assert prepare(recipe, ["test"]).task.accept == "lenient"
    del content["accept"]
    manifest.write_text(json.dumps(content))
    assert prepare(recipe, ["test"]).task.accept == "strict"


def test_much_truncation_names_the_setting_once(
    base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(make_recipe(base_model, tmp_path), skill=0.9)
    assert "max_new_tokens" not in capsys.readouterr().err
    run(make_recipe(base_model, tmp_path, seed=1), skill=0.3)
    assert capsys.readouterr().err.count("cut off at sampling.max_new_tokens") == 1


@pytest.mark.parametrize("packing", [False, True])
def test_nothing_kept_ends_the_run_and_says_why(
    packing: bool, base_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = make_recipe(base_model, tmp_path, loop={"rationalize": False}, training={"packing": packing})
    setup, _, result = run(recipe, skill=0.0)
    assert "no rationale was kept" in capsys.readouterr().err
    assert result["chosen_round"] == 0
    assert result["gate"] == {"correct": 0, "lenient": 0, "n": 60, "chance": 0.0, "p_value": 1.0, "passed": False}
    left = result["round_without_model"]
    assert left["round"] == 1 and left["data"]["drawn"] == sum(left["data"]["dropped"].values()) == 60
    assert left["seconds"]["sampling"] >= 0 and result["cost"]["samples"] == 60 + len(setup.test)
    assert summarise_run(setup.run_dir).samples == 60 + len(setup.selection) + len(setup.test)


def test_old_models_are_pruned_when_asked(base_model: Path, tmp_path: Path) -> None:
    setup, _, result = run(make_recipe(base_model, tmp_path, keep_models="last_and_best"))
    left = {number for number in (1, 2, 3) if (setup.run_dir / f"round_{number:02d}" / "model").is_dir()}
    assert left == {result["chosen_round"], 3}


def test_metrics_lines_are_json_with_the_promised_keys(base_model: Path, tmp_path: Path) -> None:
    setup, _, _ = run(make_recipe(base_model, tmp_path))
    lines = [json.loads(line) for line in (setup.run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [0, 1, 2, 3]
    assert set(lines[1]) >= {"selection", "data", "training", "seconds", "samples", "sampled_tokens", "flops", "gate"}
    assert set(lines[1]["selection"]["slices"]) == {"1 digit", "2 digits", "3 digits"}


def test_the_pool_grows_when_the_longest_sums_are_solved(base_model: Path, tmp_path: Path) -> None:
    task = {"digits": [1, 2], "grow": {"to": 4, "threshold": 0.9}}
    setup, _, _ = run(make_recipe(base_model, tmp_path, task=task, loop={"rounds": 4}), skill=0.97)
    drawn = [{row["slice"] for row in attempts_of(setup, number)} for number in (1, 2, 3, 4)]
    solved = [
        {name for name, counts in line["selection"]["slices"].items() if counts["correct"] >= 0.9 * counts["n"]}
        for line in runs.Run(setup.run_dir).rounds
    ]
    longest = 2
    for slices, before in zip(drawn, solved, strict=False):
        while longest < 4 and f"{longest} digits" in before:
            longest += 1
        assert slices == {"1 digit", *(f"{digits} digits" for digits in range(2, longest + 1))}
    assert longest > 2
    pools = [line["data"]["pool"] for line in runs.Run(setup.run_dir).rounds[1:]]
    assert pools == sorted(pools) and pools[0] < pools[-1] <= len(setup.train)


def test_the_pool_does_not_grow_before() -> None:
    settings = TaskSettings.model_validate({"digits": [1, 2], "grow": {"to": 4, "threshold": 0.5}})

    def names(*counts: tuple[int, int]) -> set[str] | None:
        evaluated = [{"2 digits": {"n": 10, "correct": two, "sound": 0}, "3 digits": {"n": 10, "correct": three, "sound": 0}}
                     for two, three in counts]  # fmt: skip
        return addition.drawable(settings, evaluated)

    assert names() == names((4, 10)) == {"1 digit", "2 digits"}
    assert names((5, 0)) == names((5, 0), (0, 0)) == {"1 digit", "2 digits", "3 digits"}
    assert names((5, 5)) == names((5, 0), (0, 5)) == {"1 digit", "2 digits", "3 digits", "4 digits"}
    assert addition.drawable(TaskSettings(), []) is None
