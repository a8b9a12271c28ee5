"""The score command: output, labels that must not matter, broken input, hostile text, runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis import score_records
from analysis.rationales.reading import read_records
from analysis.rationales.records import Record, write_records
from analysis.score import main
from analysis.soundness import labelled
from analysis.soundness.grades import THRESHOLD
from analysis.soundness.judging import judge
from star.tasks import addition
from tests.conftest import ROOT
from tests.nasty_records import nasty_records
from tests.run_factory import make_run
from tests.timing import at_most, slowness

PENS = "Ann has 48 pens and gives half of them to Bo. How many pens are left?"
RECORDS = [
    Record(
        id="good",
        question=PENS,
        steps=("48 / 2 = 24", "48 - 24 = 24", "A: 24"),
        answer="24",
        gold="24",
        answer_correct=True,
    ),
    Record(
        id="bad", question=PENS, steps=("48 / 2 = 26", "37 - 26 = 11", "A: 11"), answer="11", gold="24", generator="x"
    ),
    Record(id="empty", question=PENS, steps=()),
    Record(
        id="exam",
        question="Which planet is largest?",
        choices={"A": "Mars", "B": "Jupiter"},
        steps=("Mars is larger than Jupiter.", "So the answer is A."),
        answer="A",
        gold="B",
    ),
]


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_records(tmp_path / "in.jsonl", RECORDS)
    return tmp_path / "in.jsonl"


@pytest.mark.parametrize(
    ("specification", "calls"),
    [
        ("prm:their/base", 3),
        ("prm:their/base@v1", 3),
        ("prm:{folder}/base.gguf", 3),
        ("likelihood:their/base", 3),
        ("judge:vllm:their/base", 3),
        ("judge:transformers:their/base", 3),
        ("rollout:{run}", 11),
    ],
)
def test_a_dry_run_fetches_nothing(
    specification: str,
    calls: int,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("download_model", "packaged_model", "converted"):
        monkeypatch.setattr(f"star.setup.{name}", lambda *_: pytest.fail("fetched"))
    run = make_run(tmp_path / "runs", method="few_shot", sections={"model": {"path": "their/base"}})
    (tmp_path / "base.gguf").write_bytes(b"GGUF")
    named = specification.replace("{run}", str(run)).replace("{folder}", str(tmp_path))
    assert main([str(source), "-o", str(tmp_path / "out.jsonl"), "--scorer", named, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert f"{named}: {calls} calls, about " in shown and "fetched or converted first" in shown and "base" in shown
    assert not (tmp_path / "out.jsonl").exists()


def test_every_record_gets_a_row(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(source), "-o", str(source.parent / "out.jsonl")]) == 0
    rows = rows_of(source.parent / "out.jsonl")
    assert [row["id"] for row in rows] == [record.id for record in RECORDS]
    by_id = {row["id"]: row for row in rows}
    assert by_id["good"]["p_unsound"] < by_id["bad"]["p_unsound"]
    assert {"step": 0, "check": "equation_false", "message": "48 / 2 = 24, not 26", "severity": 1.0} in by_id["bad"][
        "flags"
    ]
    assert "37 appears nowhere before" in {flag["message"] for flag in by_id["bad"]["flags"]}
    assert (by_id["bad"]["p_unsound"], by_id["bad"]["first_error_step"]) == (1, 0)
    assert (by_id["empty"]["p_unsound"], by_id["empty"]["first_error_step"]) == (None, None)
    assert [row["grade"] for row in rows] == ["scored", "proven", "not_judged", "not_judged"]
    assert [row["status"] for row in rows] == ["ok", "ok", "unparsed", "outside"]
    assert [row["task_kind"] for row in rows] == ["math_word", "math_word", "math_word", "multiple_choice"]
    columns = {"id", "p_unsound", "first_error_step", "grade", "scorer", "status", "task_kind", "n_steps"}
    columns |= {"checks", "flags", "place"}
    assert all(set(row) == columns for row in rows)
    assert "right" in capsys.readouterr().out


def test_parquet_holds_the_same(source: Path) -> None:
    main([str(source), "-o", str(source.parent / "out.jsonl")])
    main([str(source), "-o", str(source.parent / "out.parquet")])
    table = pq.read_table(source.parent / "out.parquet").to_pylist()
    assert [{**row, "flags": json.loads(row["flags"])} for row in table] == rows_of(source.parent / "out.jsonl")
    assert sorted(file.name for file in source.parent.iterdir()) == ["in.jsonl", "out.jsonl", "out.parquet"]


def test_the_python_call_gives_the_same_scores(source: Path) -> None:
    main([str(source), "-o", str(source.parent / "out.jsonl")])
    frame = score_records(RECORDS)
    for row, (_, scored) in zip(rows_of(source.parent / "out.jsonl"), frame.iterrows(), strict=True):
        assert row["p_unsound"] == (scored["p_unsound"] if scored["p_unsound"] == scored["p_unsound"] else None)
        assert row["flags"] == scored["flags"]
    assert score_records([]).empty


def stripped(record: Record) -> Record:
    return replace(
        record, gold=None, answer_correct=None, first_error_step=None, sound=None, label_source=None, source="", task=""
    )


def test_labels_change_nothing(source: Path) -> None:
    lying = [
        replace(r, gold="7", answer_correct=False, sound=False, first_error_step=0, label_source="human")
        for r in RECORDS
    ]
    scores = [score_records(records).to_dict("list") for records in (RECORDS, lying, [stripped(r) for r in RECORDS])]
    assert json.dumps(scores[0]) == json.dumps(scores[1]) == json.dumps(scores[2])


def test_labels_change_nothing_on_real_records(data_dir: Path) -> None:
    for name in (
        "mr_ben",
        "bigbench_mistake_dev",
        "gsm8k_model_solutions",
        "natural_program_dev",
        "error_recovery_dev",
    ):
        records = [r for n, r in enumerate(read_records(data_dir / f"{name}.jsonl.gz")) if n % 100 == 0]
        labels = (
            "faithful_recovery",
            "recovery_behavior",
            "error_type_annotation",
            "annotator_notes",
            "reference_solution",
        )
        blind = [
            replace(stripped(r), generator=None, meta={k: v for k, v in r.meta.items() if k not in labels})
            for r in records
        ]
        assert score_records(records).to_json() == score_records(blind).to_json()


def test_use_gold_says_so(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = source.parent / "gold.jsonl"
    main([str(source), "-o", str(output), "--use-gold"])
    rows = rows_of(output)
    assert all(row["used_gold"] for row in rows)
    plain = score_records(RECORDS)["p_unsound"]
    assert rows[0]["p_unsound"] < plain[0]  # a right answer
    assert (rows[1]["p_unsound"], rows[3]["p_unsound"]) == (1, None)  # what is proven or not judged stays so
    assert "gold answers were used for scores" in " ".join(capsys.readouterr().out.split())


def test_the_gold_answer_changes_nothing_where_an_exact_checker_judges() -> None:
    steps = tuple(addition.scratchpad(48, 27, 2))
    record = Record("sum", question=addition.make_problem(48, 27, 2).question, steps=steps, answer="7 5", gold="7 6")
    plain, gold = judge([record]), judge([record], use_gold=True)
    assert plain[0].task_kind == "addition" and plain[0].p_unsound is not None and plain == gold


def test_a_broken_line_is_named_and_the_exit_status_says_so(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = source.read_text().splitlines()
    source.write_text("\n".join([lines[0], '{"torn', *lines[1:]]) + "\n")
    output = source.parent / "out.jsonl"
    assert main([str(source), "-o", str(output)]) != 0
    assert len(rows_of(output)) == len(RECORDS)
    assert f"{source}, line 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.jsonl", "-o", "x.jsonl"], "does not exist"),
        (["in.jsonl"], "-o"),
        (["in.jsonl", "-o", "x.csv"], ".parquet"),
        (["in.jsonl", "-o", "in.jsonl"], "in.jsonl is an input itself"),
        (["in.jsonl", "-o", "prm.jsonl", "--scorer", "file:prm.jsonl"], "prm.jsonl is an input itself"),
        (["in.jsonl", "-o", "x.jsonl", "--workers", "-1"], "--workers -1: expected 0"),
    ],
)
def test_unusable_arguments_end_in_a_sentence(
    source: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    assert main(arguments) != 0
    assert said in capsys.readouterr().err


def test_an_empty_file_gives_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    assert main([str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.parquet")]) == 0
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_a_run_gets_its_soundness(tmp_path: Path) -> None:
    from tests.run_factory import make_run

    run = make_run(tmp_path, rounds=1, analysis=False)
    assert main([str(run)]) == 0
    table = pq.read_table(run / "analysis" / "soundness.parquet").to_pylist()
    records = list(read_records(run))
    assert [row["attempt_id"] for row in table] == [record.id for record in records]
    judged = [
        (row["first_error_step"] == -1, record.sound)
        for row, record in zip(table, records, strict=True)
        if record.sound is not None
    ]
    assert judged
    assert {row["task_kind"] for row in table} == {"addition"}
    assert {"round", "mode", "split", "n_steps", "checks"} <= set(table[0])


NATALIA = Record(
    id="natalia",
    question="Natalia sold 48 clips in April, and half as many in May. How many clips did she sell altogether?",
    steps=("In May she sold 48/2 = 24 clips.", "Natalia sold 48+24 = 62 clips altogether.", "The answer is 62."),
    answer="62",
    gold="72",
)


def test_a_proven_false_equation_decides() -> None:
    (row,) = score_records([NATALIA]).to_dict("records")
    assert (row["p_unsound"], row["first_error_step"], row["grade"]) == (1, 1, "proven")
    assert "48+24 = 72, not 62" in [flag["message"] for flag in row["flags"]]


@pytest.fixture(scope="module")
def some_labelled(data_dir: Path) -> list[Record]:
    names = ("gsm8k_model_solutions", "mr_ben", "mr_gsm8k_590", "natural_program_dev")
    return [
        r for name in names for n, r in enumerate(read_records(data_dir / f"{name}.jsonl.gz")) if n % 11 == 0
    ]


@pytest.mark.parametrize("use_gold", [False, True])
def test_p_the_named_step_and_the_flags_agree(some_labelled: list[Record], use_gold: bool) -> None:
    for row in score_records(some_labelled, use_gold=use_gold).to_dict("records"):
        proven = [flag["step"] for flag in row["flags"] if flag["severity"] >= 1]
        p, first = row["p_unsound"], row["first_error_step"]
        if row["grade"] == "proven":
            assert (p, first) == (1, min(proven))
        elif row["grade"] == "checked":
            assert (p, first) == (0, -1) and not proven
        elif row["grade"] == "scored":
            assert 0 < p < 1 and not proven and (first >= 0) == (p >= THRESHOLD) and row["scorer"]
        else:
            assert p != p and not proven and row["status"] != "ok"


@pytest.mark.parametrize(
    ("question", "steps"),
    [
        (PENS, ("No idea.",)),
        ("Did Aristotle use a laptop?", ("Aristotle died long before laptops were made.", "So the answer is no.")),
        ("All cats are mammals. Tom is a cat. Is Tom a mammal?", ("Tom is a cat, so Tom is a mammal.", "True.")),
        ("谁是最高的?", ("小明比小红高。", "所以小明最高。")),
        ("Which planet is largest? (A) Mars (B) Jupiter", ("No idea.",)),
        ("Find $x$ if $3x + 7 = 31$.", ("3x = 31 - 7 = 24", "x = 24 / 3 = 8")),
    ],
)
def test_nothing_is_said_where_nothing_can_be_read(question: str, steps: tuple[str, ...]) -> None:
    (judgement,) = judge([Record(id="x", question=question, steps=steps)])
    assert (judgement.p_unsound, judgement.first_error_step) == (None, None)


def test_few_worked_solutions_are_flagged(data_dir: Path) -> None:
    """None of them was used to fit the shipped score."""
    records = labelled.worked("gsm8k_test")[::2]
    assert (score_records(records)["p_unsound"] >= THRESHOLD).mean() <= 0.15


RECOVERY = {"cot_prefix": "Ann gives half to Bo, so she has 48 / 2 = 29", "injected_value": "29", "original_value": "24"}


def recovery(text: str, *, steps: bool = True, answer: str = "24") -> Record:
    meta = RECOVERY | {"continuation": text}
    return Record(id="r", question=PENS, steps=(text,) if steps else (), answer=answer, meta=meta)


def test_a_recovery_says_what_it_does() -> None:
    silent, said = judge([recovery(" pens.\n2. So 24 are left."), recovery(" pens. Wait, that is wrong: 48 / 2 = 24.")])
    assert silent.p_unsound is not None and said.p_unsound is not None
    assert silent.p_unsound > 0.5 > said.p_unsound
    assert [flag.message for flag in said.flags] == ["says that something before was wrong"]
    assert [flag.check for flag in silent.flags] == ["recovery"]


def test_a_recovery_may_have_its_text_in_meta_alone() -> None:
    (judgement,) = judge([recovery(" pens. Wait, that is wrong: 48 / 2 = 24.", steps=False)])
    assert judgement.task_kind == "error_recovery"
    assert judgement.p_unsound is not None
    assert judgement.flags == ()


def test_where_the_mistake_is_followed_there_is_no_recovery() -> None:
    follows, nothing = judge([recovery(" pens. So 29 pens are left.", answer="29"), recovery(" ")])
    assert (follows.p_unsound, nothing.p_unsound) == (None, None)
    assert "no recovery" in follows.flags[0].message


def test_the_table_keeps_its_lines_when_piped_and_shows_labels_first(
    source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [replace(record, source="MR-GSM8K", generator="g" * 20, sound=n > 1) for n, record in enumerate(RECORDS)]
    write_records(source, rows)
    main([str(source), "-o", str(source.parent / "out.jsonl")])
    said = capsys.readouterr().out
    assert "4 of these records are of sources that the scores were fitted on" in " ".join(said.split())
    head = next(line for line in said.splitlines() if "generator" in line)
    assert head.index("labelled unsound %") < head.index("proven unsound") < head.index("flagged / scored")
    assert f"flagged: a score of {THRESHOLD:g} or more" in said
    assert "Not judged: 1 outside of what the scorer was validated on" in " ".join(said.split())


@pytest.mark.slow
def test_five_thousand_solutions_in_ten_seconds_of_processor_time(data_dir: Path, tmp_path: Path) -> None:
    """Import included. On a machine that is busy with other things the processor itself is slower."""
    command = [sys.executable, "-m", "analysis.score", str(data_dir / "gsm8k_model_solutions.jsonl.gz")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    before = os.times()
    subprocess.run([*command, "-o", str(tmp_path / "out.jsonl")], check=True, capture_output=True, env=environment)
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < (10 if os.getloadavg()[0] < 1.5 else 20) * slowness()


@pytest.mark.parametrize("record", nasty_records(), ids=lambda record: record.id)
def test_nasty_records_get_a_result_or_an_abstention_within_a_second(record: Record) -> None:
    score_records(RECORDS)  # the models are loaded
    with at_most(1):
        (row,) = score_records([record]).to_dict("records")
    p = row["p_unsound"]
    assert p != p or 0 <= p <= 1


def test_nasty_records_go_through_files(tmp_path: Path) -> None:
    write_records(
        tmp_path / "in.jsonl",
        [replace(r, steps=tuple(s.encode("utf-8", "replace").decode() for s in r.steps)) for r in nasty_records()],
    )
    assert main([str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.jsonl")]) == 0
    assert len(rows_of(tmp_path / "out.jsonl")) == len(nasty_records())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    question=st.text(max_size=120),
    steps=st.lists(st.text(max_size=80), max_size=5),
    answer=st.none() | st.text(max_size=10),
    choices=st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=10), max_size=4),
)
def test_any_record_is_survived(
    question: str, steps: list[str], answer: str | None, choices: dict[str, str] | None
) -> None:
    (row,) = score_records(
        [Record(id="x", question=question, steps=tuple(steps), answer=answer, choices=choices)]
    ).to_dict("records")
    assert row["p_unsound"] != row["p_unsound"] or 0 <= row["p_unsound"] <= 1


@pytest.mark.slow
def test_memory_stays_bounded_and_time_linear(tmp_path: Path) -> None:
    """Chunks of 1,000: three times the records take no more memory."""
    import resource

    write_records(tmp_path / "in.jsonl", (replace(RECORDS[n % 2], id=str(n)) for n in range(2_000)))
    main([str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.parquet")])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write_records(tmp_path / "in.jsonl", (replace(RECORDS[n % 2], id=str(n)) for n in range(6_000)))
    main([str(tmp_path / "in.jsonl"), "-o", str(tmp_path / "out.parquet")])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 40_000  # kB
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 6_000


def test_a_runs_own_check_is_not_called_a_label(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_records(source, [replace(record, sound=False, label_source="auto") for record in RECORDS])
    main([str(source), "-o", str(source.parent / "out.jsonl")])
    assert "labelled" not in capsys.readouterr().out


def test_a_label_that_names_a_step_only_is_counted(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_records(source, [replace(record, sound=None, first_error_step=0) for record in RECORDS])
    main([str(source), "-o", str(source.parent / "out.jsonl")])
    assert "labelled" in capsys.readouterr().out
