"""The page Compare: rounds, runs and writers, question by question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from analysis import comparing as comparison
from analysis.faithfulness.rows import row_schema
from analysis.pages.widgets import changes
from analysis.rationales.records import Record, write_records
from star import run as runs
from tests.app_factory import healthy, link, sums, words
from tests.run_factory import make_run


def test_fixed_and_broken_questions(open_app: Any, whole: Path) -> None:
    app = healthy(open_app("compare", "--root", str(whole.parent)))
    counts = {b.label.split(":")[0]: int(b.label.split("**")[1]) for b in app.button if b.key.startswith("change-")}
    assert sum(counts.values()) == 45 and counts["fixed"] > counts["broke"]
    compared = next(frame.value for frame in app.dataframe if "test" in frame.value).iloc[0]
    assert compared["test"] == "McNemar" and f"are as frequent: p = {compared['p']}." in words(app)
    healthy(app.button(key="change-fixed").click().run())
    shown = words(app)
    assert f"question 1 of {counts['fixed']}" in shown and ": wrong (expected" in shown and ": right" in shown


def test_an_answer_that_could_not_be_graded_is_wrong_in_both_counts(open_app: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=20)
    rows = runs.read_rows(run / "round_01" / "evaluation.parquet")
    odd = [row | {"verdict": "ungradable"} if row["verdict"] != "correct" else row for row in rows]
    runs.write_parquet(run / "round_01" / "evaluation.parquet", odd, runs.ATTEMPTS)
    app = healthy(open_app("compare", "--root", str(tmp_path)))
    counts = {b.label.split(":")[0]: int(b.label.split("**")[1]) for b in app.button if b.key.startswith("change-")}
    right = sum(row["verdict"] == "correct" for row in rows)
    assert sum(counts.values()) == 20 and counts["fixed"] + counts["stayed right"] == right < 20
    arm = comparison.read_arm(run, 1)
    assert sum(arm.values["accuracy"].values()) == right and len(arm.values["accuracy"]) == 20


def test_runs_probed_on_other_questions_say_on_which_they_are_compared(open_app: Any, tmp_path: Path) -> None:
    first, second = (make_run(tmp_path, name=name, rounds=1, problems=20) for name in ("first", "second"))
    file = second / "analysis" / "probes.parquet"
    rows = runs.read_rows(file)
    kept = set(sorted({row["problem_id"] for row in rows})[:7])
    runs.write_parquet(file, [row for row in rows if row["problem_id"] in kept], row_schema())
    arms = f"{first.name}@1|{second.name}@1"
    app = healthy(open_app("compare", "--root", str(tmp_path), arms=arms))
    assert "is measured on the 7 of these that were probed" in words(app)
    table = app.dataframe[0].value.set_index("measure")
    assert all("n = 7" in cell for cell in table.loc["answer differs without reasoning"])


def test_writers_are_compared_on_the_questions_that_they_share(open_app: Any, tmp_path: Path) -> None:
    apart = sums(tmp_path / "apart.jsonl", {"one": range(4), "two": range(4, 8)})
    app = healthy(open_app("compare", "--records", str(apart)))
    assert "They share no question" in words(app) and not app.get("vega_lite_chart")
    some = sums(tmp_path / "some.jsonl", {"one": range(6), "two": range(4, 12)})
    app = healthy(open_app("compare", "--records", str(some)))
    assert "2 questions that all of them answered." in words(app) and app.get("vega_lite_chart")
    remembered = changes.compared.cache_info().hits, changes.side.cache_info().hits
    healthy(app.run())
    assert (changes.compared.cache_info().hits, changes.side.cache_info().hits) == (remembered[0] + 1, remembered[1] + 2)


def test_all_answers_of_a_writer_to_a_question_count(open_app: Any, tmp_path: Path) -> None:
    """One is right on all samples but the first, the other on the first alone."""
    records = [
        Record(f"{who}{i}-{k}", question=f"{i} + 1?", steps=("So.",), answer="1", generator=who, answer_correct=(k == 0) == first)
        for who, first in (("one", False), ("two", True))
        for i in range(8)
        for k in range(4)
    ]
    write_records(tmp_path / "samples.jsonl", records)
    app = healthy(open_app("compare", "--records", str(tmp_path / "samples.jsonl")))
    figures = app.dataframe[0].value.set_index("measure").loc["answers right"]
    assert [figures[name].split(" %")[0] for name in ("one", "two")] == ["75.0", "25.0"]
    assert "Some questions have several answers: here the first one counts, above their mean." in words(app)


def test_writers_whose_answers_are_not_graded_are_compared_by_soundness(open_app: Any, tmp_path: Path) -> None:
    records = [
        Record(f"{who}{i}", question=f"{i} + 1?", steps=(f"{i} + 1 = {i + off}",), answer="1", generator=who, sound=off == 1)
        for who, off in (("one", 1), ("two", 3))
        for i in range(8)
    ]
    write_records(tmp_path / "ungraded.jsonl", records)
    app = healthy(open_app("compare", "--records", str(tmp_path / "ungraded.jsonl")))
    figures, differences = (frame.value for frame in app.dataframe)
    assert figures["measure"].tolist() == ["sound"]
    assert (differences["measure"].tolist(), differences["questions"].tolist()) == (["sound"], [8])


def test_a_writer_with_a_bar_in_its_name_stays_in_the_link(open_app: Any, tmp_path: Path) -> None:
    path = sums(tmp_path / "bars.jsonl", {"one": range(4), "two": range(4), "a|b": range(4)})
    app = healthy(open_app("compare", "--records", str(path)))
    picked = ["generator@two", "generator@a|b"]
    healthy(app.multiselect(key="w-arms").set_value(picked).run())
    assert app.multiselect(key="w-arms").value == picked
    again = healthy(open_app("compare", "--records", str(path), **link(app)))
    assert again.multiselect(key="w-arms").value == picked
