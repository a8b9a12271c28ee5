"""The page Faithfulness: one probed rationale, and the averages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.faithfulness.rows import row_schema
from analysis.pages.faithfulness import commit_steps, probed_steps
from analysis.pages.widgets.averages import curve_frame
from analysis.rationales.records import Record, write_records
from star import run as runs
from star.statistics import EMPTY, wilson
from star.tasks import addition
from tests.app_factory import healthy, words
from tests.probe_factory import write_probes
from tests.run_factory import make_run


def test_a_probed_file_whose_answers_are_not_graded(open_app: Any, tmp_path: Path) -> None:
    path = tmp_path / "theirs.jsonl"
    rationale = "\n".join(addition.scratchpad(48, 27, 2))
    records = [
        Record(f"r{k}", question=f"{k}?", steps=tuple(rationale.splitlines()), answer="7 5", task="addition")
        for k in range(6)
    ]
    write_records(path, records)
    attempts = [{"attempt_id": r.id, "problem_id": r.question, "round": None, "answer": r.answer, "gold": "7 5",
                 "rationale": rationale, "verdict": None} for r in records]  # fmt: skip
    write_probes(tmp_path, "addition", attempts)
    (tmp_path / "analysis").rename(tmp_path / "theirs.jsonl.analysis")
    summary = tmp_path / "theirs.jsonl.analysis" / "probes.json"
    content = runs.read_json(summary)
    found = content["rounds"].pop("None") | {"n_correct": None, "accuracy": EMPTY.as_dict(), "measures_correct": {}}
    runs.write_json(summary, content | {"rounds": {"-": found}})
    shown = words(healthy(open_app("faithfulness", "--records", str(path))))
    assert "n = 6 rationales. Brackets" in shown and "right answer" not in shown


def test_the_averaged_curve_counts_every_rationale_once_at_a_place() -> None:
    points = [{"position": i, "n_steps": 40, "same": float(i > 20), "n": 9} for i in range(41)]
    points += [{"position": i, "n_steps": 2, "same": i / 2, "n": 5} for i in range(3)]
    assert not len(curve_frame([{"position": 1, "n_steps": 2, "n": 5}]))  # no share
    frame = curve_frame(points).set_index("place")
    assert frame["n"].tolist() == [14, 9, 9, 9, 9, 14, 9, 9, 9, 9, 14]
    half = frame.loc[0.5]
    share = wilson(2, 14)  # 20 of 40 steps and 1 of 2: the point nearest to the tenth
    assert half["same"] == pytest.approx(0.5 * 5 / 14) and (half["low"], half["high"]) == (share.low, share.high)


def test_the_probed_rationale_shows_where_its_answer_is_settled(open_app: Any, whole: Path) -> None:
    shown = words(healthy(open_app("faithfulness", "--root", str(whole.parent))))
    assert shown.count("the answer is settled here") == 1
    assert "r-injected" in shown and "All probed rationales" in shown and "95 %" in shown
    assert "i = 0..n" not in shown and "-0.0 " not in shown


@pytest.mark.parametrize("task", ["addition", "gsm8k"])
def test_steps_are_those_that_the_probe_counted(open_app: Any, tmp_path: Path, task: str) -> None:
    run = make_run(tmp_path, task=task, rounds=1, problems=9)
    rows = pd.DataFrame(runs.read_rows(run / "analysis" / "probes.parquet"))
    early = rows[rows["probe"] == "early_answering"]
    for identifier in early["attempt_id"].unique():
        mine = early[early["attempt_id"] == identifier]
        listed = probed_steps(mine)
        assert [place for place, _ in listed] == list(range(mine["n_steps"].max() + 1))
        written = "\n".join(step for _, step in listed if step)
        assert " ".join(written.split()) == " ".join(mine["perturbed"].iloc[-1].split())
        assert "scratch" not in written and all(step for place, step in listed if place)
    shown = words(healthy(open_app("faithfulness", "--root", str(tmp_path), id=str(identifier))))
    assert shown.count('<li class="r-step') == mine["n_steps"].max() + 1
    settled = commit_steps(mine)["commit"].iloc[0]
    item = next(item for item in shown.split("<li ") if "settled here" in item)
    assert f'<span class="r-no">{settled}</span>' in item


def test_an_answer_stands_at_its_step_where_one_before_is_missing(open_app: Any, tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9)
    rows = runs.read_rows(run / "analysis" / "probes.parquet")
    first = next(row for row in rows if row["probe"] == "early_answering")["attempt_id"]
    mine = [row for row in rows if row["attempt_id"] == first and row["probe"] == "early_answering"]
    kept = [row | {"answer_after": f"after {row['position']}"} for row in mine if row["position"] != 1]
    runs.write_parquet(run / "analysis" / "probes.parquet", kept, row_schema())
    shown = words(healthy(open_app("faithfulness", "--root", str(tmp_path), id=first)))
    for row in kept:
        item = next(item for item in shown.split("<li ") if f'<span class="r-no">{row["position"]}</span>' in item)
        assert f"answers after {row['position']}<" in item


def test_only_the_false_value_and_what_follows_is_marked(open_app: Any, whole: Path) -> None:
    rows = runs.read_rows(whole / "analysis" / "probes.parquet")
    silent = next(row for row in rows if row["outcome"] == "silent")
    app = healthy(open_app("faithfulness", "--root", str(whole.parent), id=silent["attempt_id"]))
    boxes = [box.proto.body for box in app.get("html") if 'class="r-box"' in box.proto.body]
    before, after = boxes[0], boxes[1]
    assert "r-gone" not in before and "r-new" not in after.replace('"r-new"> <', "")
    assert after.count("r-injected") == 1
    assert all("&lt;/scratch&gt;\n" + " ".join(silent["answer_before"]) in box for box in (before, after))
