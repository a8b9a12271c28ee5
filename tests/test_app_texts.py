"""What the app makes of other people's texts: Markdown that leads nowhere; and of labels: rows for trainers, queues, exports."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import analysis
from analysis import loading
from analysis.agreement import ranking_results
from analysis.export import main as export
from analysis.labels import SETTLED, Label, Ranking, append, imported, label_folder, read_labels, to_jsonl
from analysis.pages.widgets.markup import has_markup, is_code, markdown, unmarked
from analysis.rationales import table_reading
from analysis.rationales.filters import EVIDENCE, OVERLAP, QUEUES, View, base_mask, dealt, queue, select
from analysis.rationales.index import TEXTS, index_file
from analysis.rationales.reading import read_records
from analysis.rationales.records import Record, write_records
from analysis.rationales.table import Table, search_terms
from analysis.rationales.table_reading import load_table
from analysis.sources import Source, source_of
from analysis.step_labels import prm800k_rows, trl_rows
from star.errors import InputError
from star.row_files import to_csv
from star.run import RunError
from tests.run_factory import HOSTILE, make_run


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("$x^2$ and \\(y\\)", "$x^2$ and $y$"),
        ("\\[ a = b \\]", "$$\na = b\n$$"),
        (r"\[ x = \frac{1}{10} \]", "$$\nx = \\frac{1}{10}\n$$"),
        (r"So \(x = \frac{1}{2}\)", r"So $x = \frac{1}{2}$"),
        (r"$A=\begin{pmatrix}1\end{pmatrix}$", r"$A=\begin{pmatrix}1\end{pmatrix}$"),
        ("$\\begin{cases}1\n2\\end{cases}$", "$$\n\\begin{cases}1 2\\end{cases}\n$$"),
        ("**It is $5$**", "**It is $5$**"),
        ("a :material/home: b", r"a \:material\/home\: b"),
        ("a :material_home: b", "a `:material_home:` b"),
        ("costs $5 and $10", r"costs \$5 and \$10"),
        ("pays $5 and gets 10$", r"pays \$5 and gets 10\$"),
        (r"$\$5 + \$6$", r"$\textdollar 5 + \textdollar 6$"),
        ("3*4*5 = 60", r"3\*4\*5 = 60"),
        ("*so* it is", "*so* it is"),
        ("# Step 1", r"**Step 1**"),
        ("`a*b`", "`a*b`"),
        (r"\frac{7}{2}", r"$\frac{7}{2}$"),
        (r"\frac{\sqrt{2465}{9}", r"`\frac{\sqrt{2465}{9}`"),
        (r"$\{1, 2\}$", r"$\{1, 2\}$"),
        ("- a\n- b", "- a  \n- b"),
        ("|a|b|\n|---|---|", "|a|b|\n|---|---|"),
        ("1. first", r"1\. first"),
    ],
)
def test_markdown_of_models(text: str, shown: str) -> None:
    assert markdown(text).strip() == shown


@pytest.mark.parametrize(
    "text",
    [
        "[x](http://a.example)", "![x](http://a.example/i.png)", "<img src=http://a.example>", "<http://a.example>",
        "http://a.example", "WWW.a.example/x", "ann@a.example", "[x]: http://a.example\n[x]", ":red[x] :material/home: :tada:",
        r"$\href{http://a.example}{x}$", r"$$\includegraphics{http://a.example}$$", r"\(\def\x{\x\x}\x\)",
        r"$\rule{9999em}{9999em}$", r"\[a $ [x](http://a.example) $ b\]", r"\( \)[x](http://a.example)\( \)",
        "&lt;b&gt; &#60;script&#62;", "<script>alert(1)</script>", "[^1]\n\n[^1]: note", HOSTILE, "\ue000\ue001", "a\n===\nb\n---",
        "**[x](javascript:alert(1))**", "# [x](http://a.example)", "`` ` [x](http://a.example) ``", "~~~\n```\n[x](y)\n~~~",
    ],
)  # fmt: skip
def test_nothing_in_a_text_leads_away_or_runs(text: str) -> None:
    """Read back by a Markdown parser of its own: no link, image, HTML, heading or directive is left."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("gfm-like", {"html": True, "linkify": False})
    body = markdown(text)
    tokens = [inner for token in parser.parse(body) for inner in (token, *(token.children or []))]
    kinds = {token.type for token in tokens}
    assert not kinds & {"link_open", "image", "html_block", "html_inline", "heading_open"}
    plain = " ".join(token.content for token in tokens if token.type == "text")
    assert "http" not in plain and "www." not in plain.lower() and "@a" not in plain
    assert not re.search(r"(?<![\\`]):(?:red|material|tada)", body)


def test_more_pieces_than_one_private_range_holds_are_shown_each_in_its_place() -> None:
    steps = " ".join(f"`{number}`" for number in range(7_000))
    assert markdown(steps).strip() == steps
    assert markdown("`x` " * 40_000).startswith(r"\`x\` ")


def test_formulas_in_a_table_have_no_marks_and_prices_stay() -> None:
    assert unmarked("Pay $5 and $6 for $x^2$ or \\(y\\).") == "Pay $5 and $6 for x^2 or y."


def test_what_is_code_and_what_has_markup() -> None:
    assert is_code("def f(x):\n    return x\nprint(f(1))")
    assert not is_code("Ann has 3 pens.\nBo has 4.") and not is_code("x = 3 + 4\ny = 5")
    assert has_markup("it is $x$") and has_markup("**so**") and not has_markup("3 + 4 = 7, which costs $5.")
    assert search_terms('two "in a row" x') == ["two", "in a row", "x"]
    assert ":orange-background[pens]" in markdown("Ann has pens and **three pens**", ["pens"])


@pytest.fixture
def table(tmp_path: Path) -> Table:
    steps = ("1 + 1 = 2", "2 + 2 = 5", "so 5")
    whole = {"answer": "5", "gold": "5", "generator": "m", "choices": {"A": "4", "B": "5"}}
    records = [
        Record(f"r{i}", question=f"What is {i}?", steps=steps, sound=i % 2 == 0, meta={"area": "ab"[i % 2]}, **whole)
        for i in range(20)
    ]
    write_records(tmp_path / "some.jsonl", records)
    return load_table(Source("file", tmp_path / "some.jsonl", "some.jsonl"))


def test_step_labels_in_the_shapes_of_trl_and_prm800k(table: Table) -> None:
    folder = label_folder(table.source)
    append(folder, Label("r0", "ann", "unsound", 1))
    append(folder, Label("r1", "ann", "sound", ratings=(1, 0, 1)))
    append(folder, Label("r2", "ann", "unsound"))  # no step is named: no row
    labels = read_labels(folder)
    assert [row["labels"] for row in trl_rows(table, labels)] == [[True, False], [True, False, True]]
    first, second = prm800k_rows(table, labels)
    assert trl_rows(table, labels)[0]["prompt"] == first["question"]["problem"] == "What is 0?\n(A) 4\n(B) 5"
    assert [step["completions"][0]["rating"] for step in first["label"]["steps"]] == [1, -1]
    assert (first["label"]["finish_reason"], second["label"]["finish_reason"]) == ("found_error", "solution")
    assert second["question"]["pre_generated_steps"] == list(table.rationale(1).steps)


def test_labels_come_back_in_and_a_settled_one_counts_for_everybody(table: Table) -> None:
    folder = label_folder(table.source)
    lines = '{"id": "r1", "first_error_step": 1}\n{"id": "r2", "sound": true}\nnothing\n{"id": "r3", "verdict": "unsure"}\n'
    found, unread = imported(lines, "bo")
    said = [(one.id, one.verdict, one.error_step) for one in found]
    assert said == [("r1", "unsound", 1), ("r2", "sound", None), ("r3", "unsure", None)]
    assert unread == 1
    for label in [*found, Label("r1", "ann", "sound"), Label("r2", "ann", "sound")]:
        append(folder, label)
    assert read_labels(folder).disputed() == ["r1"] and read_labels(folder).verdicts()["r1"] == "unsure"
    again, none = imported(to_jsonl([vars(label) for label in read_labels(folder).latest.values()]), "x")
    assert (len(again), none) == (5, 0)
    append(folder, Label("r1", SETTLED, "sound"))
    labels = read_labels(folder)
    assert labels.verdicts()["r1"] == "sound" and labels.error_steps() == {} and labels.labellers == ["ann", "bo"]


def test_queues_hold_every_row_once_and_raters_share_a_fifth(table: Table) -> None:
    rows = np.arange(len(table))
    for how in QUEUES:
        assert sorted(queue(table, rows, how, "seed", 0.65)) == rows.tolist()
    ann, bo = (dealt(queue(table, rows, "mixed", "ann,bo", 0.65), ["ann", "bo"], who).tolist() for who in ("ann", "bo"))
    assert set(ann) | set(bo) == set(rows.tolist()) and len(set(ann) & set(bo)) == len(table) // OVERLAP
    assert dealt(rows, ["ann", "bo"], "cy").tolist() == rows.tolist()


def test_a_tie_gives_everybody_the_same_place() -> None:
    tied = Ranking("p", "ann", ("1", "2", "3"), ("a", "b", "c"), tie=True)
    assert {(first, mean) for _, _, first, mean in ranking_results([tied])} == {(0, 2.0)}


def test_a_frame_of_a_file_with_scores_and_labels(table: Table) -> None:
    append(label_folder(table.source), Label("r3", "ann", "unsound", 1))
    frame = analysis.load(table.source.path)
    assert len(frame) == 20 and frame["steps"].iat[3] == list(table.rationale(3).steps)
    assert (frame["label"].iat[3], frame["label_step"].iat[3], frame["meta.area"].iat[3]) == ("unsound", 1, "b")
    assert set(frame["evidence"]) <= set(EVIDENCE) and frame["human"].tolist() == table.frame["human"].tolist()
    assert [json.loads(line)["id"] for line in to_jsonl(loading.plain_rows(frame)).splitlines()] == frame["id"].tolist()
    assert to_csv(loading.flat_rows(frame)).count('{""A"": ""4"", ""B"": ""5""}') == 20
    again = list(read_records(_saved(frame, table.source.path)))  # what is exported can be opened again
    assert len(again) == 20 and (again[3].choices, again[3].meta["area"]) == ({"A": "4", "B": "5"}, "b")


def test_rows_for_json_keep_every_bit_of_a_number() -> None:
    counts = pd.array([1, None], dtype="Int32")
    frame = pd.DataFrame({"p": [0.1 + 0.2, float("nan")], "n": counts, "x": [["a", float("inf")], None]})
    assert loading.plain_rows(frame) == [{"p": 0.1 + 0.2, "n": 1, "x": ["a", None]}, {"p": None, "n": None, "x": None}]
    assert json.loads(to_jsonl(loading.plain_rows(frame)).splitlines()[0])["p"] == 0.1 + 0.2


def _saved(frame: pd.DataFrame, path: Path) -> Path:
    path.with_suffix(".parquet").write_bytes(loading.to_parquet(frame))
    return path.with_suffix(".parquet")


def test_a_frame_of_a_run_and_of_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path, rounds=1, problems=9)
    frame = analysis.load(run)
    assert {"question", "rationale", "verdict", "p_unsound", "evidence", "round"} <= set(frame) and len(frame) > 9
    with pytest.raises(InputError, match="neither a run directory nor a file"):
        analysis.load(tmp_path / "absent")
    write_records(path := tmp_path / "odd.jsonl", [Record("a", steps=("It is so.",))])
    assert set(loading.ALWAYS) <= set(analysis.load(path))  # also where nothing is judged
    assert issubclass(RunError, InputError) and source_of(run).kind == "run"


def test_evidence_filters_and_orders(table: Table) -> None:
    proven = select(table, View(evidence="proven"), base_mask(table, View(evidence="proven")))
    assert (table.frame["p_unsound"].to_numpy()[proven] == 1).all()
    asked = select(table, View(sort="asked"), np.ones(len(table), bool))
    questions = [table.rationale(int(row)).question for row in asked]
    assert questions == sorted(questions)
    some = base_mask(table, View(facets=(("meta.area", "b"),)))
    assert np.flatnonzero(some).tolist() == list(range(1, 20, 2))


def test_a_large_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.jsonl"
    write_records(path, [Record(f"r{i}", question=f"{i}?", steps=(f"step {i}", "x"), meta={"area": "ab"[i % 2]}) for i in range(9)])
    with path.open("a") as handle:
        handle.write("nothing\n")
    monkeypatch.setattr(table_reading, "SMALL_FILE", 5)
    before = index_file(path).with_suffix(".parquet")
    before.parent.mkdir(parents=True, exist_ok=True)
    before.touch()
    first = table_reading.read_file(source_of(path))
    assert not before.exists()  # the index of an earlier version
    assert all(len(first.texts.column(name)) == 9 for name in TEXTS)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the records were read again")

    monkeypatch.setattr(table_reading, "read_records", never)
    again = table_reading.read_file(source_of(path))
    allocated = pa.total_allocated_bytes()
    mapped = [again.texts.column(name) for name in TEXTS]
    assert pa.total_allocated_bytes() == allocated  # nothing is copied: only what is on show is read of the index
    assert all(map(len, mapped))
    pd.testing.assert_frame_equal(again.frame, first.frame)
    assert again.notes == first.notes and any("line 10" in note for note in again.notes)
    assert all(again.texts.column(name).to_pylist() == first.texts.column(name).to_pylist() for name in TEXTS)
    path.write_text('{"id": "new", "steps": ["s"]}\n' * 2, encoding="utf-8")
    with pytest.raises(AssertionError, match="again"):
        table_reading.read_file(source_of(path))


def test_a_page_of_a_record_file(table: Table, tmp_path: Path) -> None:
    hostile = Record("h", question=HOSTILE, steps=(HOSTILE,), answer="1", gold="1", sound=False, first_error_step=0)
    write_records(tmp_path / "hostile.jsonl", [hostile])
    assert export([str(tmp_path / "hostile.jsonl"), "-o", str(tmp_path / "r.html")]) == 0
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "first wrong step by the label in the file" in page and "<script" not in page and "<img src=x" not in page
