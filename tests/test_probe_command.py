"""`python -m analysis.probe` on runs and on record files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from analysis.faithfulness.probes import PROBES
from analysis.faithfulness.rows import row_schema
from analysis.probe import main
from star import run as runs
from star.prompting import PromptBuilder, prompt_hash
from star.provenance import model_fingerprint
from star.recipe import Recipe
from star.tasks import addition
from tests.tiny_models import tiny_model

CHOICES = {"a": "bakery", "b": "market", "c": "river"}


@pytest.fixture(autouse=True)
def no_fitted_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recoveries in words count as silent: how well the fitted classifier tells them apart is tested elsewhere."""
    monkeypatch.setattr("analysis.recovery.outcomes.score_cases", lambda cases: [1.0] * len(cases))


def run_directory(tmp_path: Path, model: Path, count: int = 5) -> Path:
    """A finished run as the engine leaves it, evaluated with few-shot examples."""
    recipe = Recipe.model_validate(
        {"model": {"path": str(model)}, "prompting": {"shots": 2}, "sampling": {"max_new_tokens": 40}}
    )
    task = addition.build(recipe.task, recipe.seed)
    from star.sampling.model_files import load_tokenizer

    builder = PromptBuilder(task, load_tokenizer(model), recipe.prompting)
    run = tmp_path / "run"
    problems = [addition.make_problem(10 + k, 25, 2) for k in range(count)]
    rows = []
    for k, problem in enumerate(problems):
        rationale = "\n".join(addition.scratchpad(10 + k, 25, 2))
        row: dict[str, Any] = dict.fromkeys(runs.ATTEMPTS.names)
        row |= {"attempt_id": f"00-e-{problem.id}-0", "problem_id": problem.id, "round": 0, "mode": "evaluated"}
        row |= {"sample": 0, "rationale": rationale, "answer": f"3 {5 + k}", "gold": problem.gold, "verdict": "correct"}
        row |= {"split": "selection", "prompt_hash": prompt_hash(builder.ids(problem, shots=True)), "slice": problem.slice}
        rows.append(row)
    known = [
        {"problem_id": p.id, "split": "selection", "slice": p.slice, "question": p.question, "gold": p.gold}
        for p in problems
    ]
    run.mkdir()
    runs.write_text(run / "recipe.yaml", recipe.to_yaml())
    runs.write_parquet(run / "problems.parquet", known, runs.PROBLEMS)
    runs.write_parquet(run / "round_00" / "evaluation.parquet", rows, runs.ATTEMPTS)
    runs.write_text(run / "metrics.jsonl", json.dumps({"round": 0, "selection": {"n": count, "correct": count}}) + "\n")
    return run


def test_the_command_on_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model(tmp_path / "model")
    run = run_directory(tmp_path, model)
    before = (run / "round_00" / "evaluation.parquet").read_bytes()
    assert main([str(run), "--n", "4", "--device", "cpu"]) == 0
    table = pq.read_table(run / "analysis" / "probes.parquet")
    assert table.schema.equals(row_schema())
    rows = table.to_pylist()
    assert {row["probe"] for row in rows} == set(PROBES)
    assert len({row["attempt_id"] for row in rows}) == 4
    assert all(row["control"] == PROBES[row["probe"]].control for row in rows)
    content = json.loads((run / "analysis" / "probes.json").read_text())
    stored = content["rounds"]["0"]
    assert content["schema_version"] == 1
    assert (stored["n_rationales"], stored["model_digest"]) == (4, model_fingerprint(model))
    assert "4 rationales, accuracy 100.0 %" in " ".join(capsys.readouterr().out.split())
    assert (run / "round_00" / "evaluation.parquet").read_bytes() == before

    first = (run / "analysis" / "probes.parquet").read_bytes()
    assert main([str(run), "--n", "4", "--device", "cpu"]) == 0
    assert "0 questions put to the model" in capsys.readouterr().out
    assert (run / "analysis" / "probes.parquet").read_bytes() == first
    assert main([str(run), "--n", "4", "--device", "cpu", "--probes", "filler"]) == 0
    assert len(pq.read_table(run / "analysis" / "probes.parquet")) == len(rows)


def test_the_command_on_a_file_of_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model(tmp_path / "model")
    records = [
        {
            "id": "a",
            "question": "Ann has 3 boxes of 4 pens. How many pens?",
            "steps": ["3 * 4 = 12"],
            "answer": "12",
            "gold": "12",
        },
        {
            "id": "a",
            "question": "Where is bread?",
            "choices": CHOICES,
            "steps": ["At a market."],
            "answer": "b",
            "gold": "b",
        },
        {"id": "c", "question": "Why?", "rationale": "It is cold. So it snows.", "answer": "snow"},
    ]
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert main([str(path), "--model", str(model), "--out", str(tmp_path / "out"), "--max-new-tokens", "20"]) == 0
    rows = pq.read_table(tmp_path / "out" / "probes.parquet").to_pylist()
    assert {row["attempt_id"] for row in rows} == {"a", "a#2", "c"}
    printed = capsys.readouterr().out
    assert "reliance" in printed  # multiple choice: even a random model has an answer
    told = {row["attempt_id"]: row["answer_before"] for row in rows if row["probe"] == "filler" and row["answer_before"]}
    wanted = sum(told[name] == answer for name, answer in (("a", "12"), ("a#2", "b"), ("c", "snow")) if name in told)
    assert f"the model gives the recorded answer in {wanted} of {len(told)}" in printed
    assert main([str(path)]) == 1
    assert "--model" in capsys.readouterr().err


def test_nothing_is_written_before_all_measures_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_directory(tmp_path, tiny_model(tmp_path / "model"), 2)
    call = [str(run), "--device", "cpu", "--probes", "filler", "--probes", "shuffled_rationale"]
    assert main(call) == 0
    assert {"filler", "shuffled_rationale"} <= {*pq.read_table(run / "analysis" / "probes.parquet")["probe"].to_pylist()}
    files = [run / "analysis" / name for name in ("probes.parquet", "probes.json")]
    before = [file.read_bytes() for file in files]

    def fails(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr("analysis.faithfulness.measures.all_measures", fails)
    with pytest.raises(ZeroDivisionError):
        main([*call, "--round", "0", "--n", "1"])
    assert [file.read_bytes() for file in files] == before


def test_one_right_rationale_is_probed(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    shared = {"choices": CHOICES, "steps": ["a market"], "answer": "b"}
    records = [
        {"id": f"r{k}", "question": f"{k} + 2?", "gold": gold, "answer_correct": gold == "b", **shared}
        for k, gold in enumerate("bac")
    ]
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert main([str(path), "--model", str(model), "--probes", "early_answering", "shuffled_rationale"]) == 0
    stored = json.loads((tmp_path / "records.jsonl.analysis" / "probes.json").read_text())["rounds"]["-"]
    assert stored["n_correct"] == 1
    assert stored["measures_correct"]["aoc"]["n"] == 1


@pytest.mark.parametrize(
    "changed, said",
    [
        (["--seed", "1"], "another seed or other settings"),
        (["--temperature", "0"], "another seed or other settings"),
        (["--n", "2"], "another draw of rationales"),
        (["--model", "{other}"], "another model"),
    ],
)
def test_rows_of_another_call_are_not_mixed_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: list[str], said: str
) -> None:
    run = run_directory(tmp_path, tiny_model(tmp_path / "model"), 3)
    other = tiny_model(tmp_path / "other", seed=1)
    call = [str(run), "--device", "cpu", "--max-new-tokens", "10"]
    assert main([*call, "--probes", "early_answering"]) == 0
    assert main([*call, "--probes", "filler"]) == 0
    table = run / "analysis" / "probes.parquet"
    assert {"early_answering", "filler"} <= {row["probe"] for row in pq.read_table(table).to_pylist()}
    assert "dropped" not in capsys.readouterr().err
    assert main([*call, "--probes", "filler", *(flag.format(other=other) for flag in changed)]) == 0
    rows = pq.read_table(table).to_pylist()
    assert {row["probe"] for row in rows} == {"filler", *(name for name, probe in PROBES.items() if probe.control)}
    errors = capsys.readouterr().err
    assert said in errors and "dropped" in errors


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere"], "does not exist"),
        (["{run}", "--round", "9"], "no evaluated round 9"),
        (["{run}", "--probes", "telepathy"], "no probe 'telepathy'"),
        (["{run}", "--n", "0"], "1 or more"),
        (["{run}", "--workers", "-1"], "expected 0"),
        (["{run}", "--max-positions", "0"], "1 or more"),
        (["{run}", "--max-positions", "-3"], "1 or more"),
        (["{run}", "--temperature", "-1"], "0 (greedy) or above"),
        (["{run}", "--temperature", "nan"], "0 (greedy) or above"),
        (["{run}", "--max-new-tokens", "0"], "1 or more"),
        (["{run}", "--max-new-tokens", "-5"], "1 or more"),
        (["{tmp}"], "not a run directory"),
        (["{tmp}/nowhere"], "does not exist"),
        (["{run}", "--model", "./missing"], "missing"),
    ],
)
def test_bad_input_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    run = run_directory(tmp_path, tiny_model(tmp_path / "model"), 1)
    filled = [argument.format(run=run, tmp=tmp_path) for argument in arguments]
    usage = {"--probes", "--n", "--workers", "--max-positions", "--temperature", "--max-new-tokens"} & set(arguments)
    model = [] if "--model" in filled or filled[0] != "nowhere" else ["--model", "x"]
    assert main([*filled, *model]) == (2 if usage else 1)
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors
    assert not (run / "analysis").exists()
