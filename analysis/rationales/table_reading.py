"""Reads the short columns of a run or a record file, joins the scores to them, and keeps the table until one of its files changes;
see `analysis.rationales.table`."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analysis.rationales.index import Kept, read_index, write_index
from analysis.rationales.joining import rows_of_scores, unjoined
from analysis.rationales.reading import read_records
from analysis.rationales.records import BrokenLine, Record, RecordError, is_label, record_to, unique_ids
from analysis.rationales.run_records import CORRECT, SHORT
from analysis.rationales.scorer_columns import score_files, scorer_columns, scorer_files
from analysis.rationales.steps import split_steps
from analysis.rationales.table import UNKNOWN, Table, Texts, parse_flags
from analysis.sources import Source, typed
from star.errors import counted, first_line
from star.parsing import ParseError, checked
from star.row_files import read_rows, stem
from star.run import ATTEMPTS, PROBLEMS, SCORES, Run, RunError, Stamp, read_table, stamp
from star.schemas import Score

SMALL_FILE = 2_000
"""A record file of at most this many rationales is scored when it is opened; that takes a few seconds."""
MANY, LONG = 40, 40
"""Most values of a name in `meta` that becomes a filter, and most characters of each."""
CATEGORIES = ("round", "mode", "split", "slice", "verdict", "drop_reason", "generator")


_LOADING = Lock()


def table_files(source: Source) -> list[Path]:
    """The files whose change means that a table must be read again."""
    if source.kind == "run":
        run = Run(source.path)
        names = [*run.attempt_files(), "problems.parquet", "analysis/soundness.parquet", *scorer_files(run)]
        return [source.path / name for name in names]
    return [source.path, *score_files(source.path)]


def load_table(source: Source) -> Table:
    """The source's table, cached until one of its files changes. Raises RecordError for a file that is none."""
    with _LOADING:  # two views that open at once wait for one reading
        return _load(source, stamp(table_files(source)))


@lru_cache(maxsize=6)
def _load(source: Source, _: Stamp) -> Table:
    return read_run(source) if source.kind == "run" else read_file(source)


def read_run(source: Source) -> Table:
    """The table of a run, as far as it got."""
    run = Run(source.path)
    notes: list[str] = []
    files, parts = [], []
    for name in run.attempt_files():
        try:
            parts.append(run.table(name, SHORT))
            files.append(name)
        except RunError as error:
            notes.append(_short(str(error), source.path))
    table = pa.concat_tables(parts) if parts else pa.schema([ATTEMPTS.field(name) for name in SHORT]).empty_table()
    frame = _frame(table.rename_columns({"attempt_id": "id", "problem_id": "problem", "sound": "exact"}))
    frame["right"] = frame["verdict"].map(CORRECT).astype("float").fillna(-1).astype("int8")
    frame["human"], frame["human_step"] = np.int8(-1), np.int32(UNKNOWN)

    def rationales() -> pa.Array:
        chunks = [chunk.cast(pa.large_string()) for name in files for chunk in _texts_of(run, name).chunks]
        return pa.concat_arrays(chunks) if chunks else pa.array([], pa.large_string())

    texts: dict[str, Callable[[], pa.Array]] = {"rationale": rationales}
    for name in ("question", "choices", "hint"):
        texts[name] = _problem_column(run, name, frame)
    scores = None
    try:
        scores = run.scores()
    except RunError as error:
        notes.append(_short(str(error), source.path))
    scored = _add_scores(scores, frame, texts, notes, rationales)
    if not scored and len(frame):
        notes.append(f"These rationales are not scored yet. To score them, type: python -m analysis.score {source.typed}")
    return _table(source, frame, texts, scored, notes)


def _texts_of(run: Run, name: str) -> pa.ChunkedArray:
    """The rationales of a file; nulls where its text alone is damaged: the short columns are on show already."""
    try:
        return run.table(name, ("rationale",)).column(0)
    except RunError:
        return pa.chunked_array([pa.nulls(len(run.table(name, SHORT)), pa.string())])


def _short(message: str, folder: Path) -> str:
    """A message with its file named from the folder on."""
    return message.replace(f"{folder}/", "")


def _problem_column(run: Run, name: str, frame: pd.DataFrame) -> Callable[[], pa.Array]:
    """A column of problems.parquet, laid out by attempt."""

    def load() -> pa.Array:
        try:
            problems = read_table(run.file("problems.parquet"), PROBLEMS, ("problem_id", name))
        except RunError:  # missing, or damaged: the rationales are worth showing without it
            return pa.nulls(len(frame), pa.large_string())
        once = problems.to_pandas().drop_duplicates("problem_id")  # small tasks repeat a question from split to split
        laid_out = once.set_index("problem_id")[name].reindex(frame["problem"])
        return pa.array(laid_out, pa.large_string(), from_pandas=True)

    return load


def _frame(table: pa.Table) -> pd.DataFrame:
    """Arrow columns -> pandas: repeated texts as categories, the task's check as 1, 0, -1."""
    frame = pd.DataFrame()
    for name in table.column_names:
        column = table.column(name)
        if name in CATEGORIES:
            frame[name] = column.cast(pa.string()).dictionary_encode().to_pandas()
        elif name == "exact":
            frame[name] = np.asarray(column.cast(pa.int8()).fill_null(-1))
        else:
            frame[name] = column.to_pandas()
    for name in CATEGORIES:
        if name not in frame:
            frame[name] = pd.Categorical([None] * len(frame), categories=[])
        elif name == "round":
            order = sorted(frame[name].cat.categories, key=lambda text: int(text) if text.isdigit() else -1)
            frame[name] = frame[name].cat.reorder_categories(order, ordered=True)
    return frame


def _add_scores(
    scores: pa.Table | None,
    frame: pd.DataFrame,
    texts: dict[str, Callable[[], pa.Array]],
    notes: list[str],
    rationales: Callable[[], pa.Array],
) -> bool:
    """Join p_unsound, first_error, n_steps and the flags by place. False where there are no scores of these rationales."""
    ids = frame["id"].tolist()
    scored = scores.column("attempt_id").to_pylist() if scores is not None else []
    rows = rows_of_scores(ids, scored, scores.column("place").to_pylist() if scores is not None else [])
    unknown, ambiguous = unjoined(ids, scored, rows)
    if ambiguous:
        notes.append(
            f"{counted(ambiguous, 'rationale')} with an id that others have too: the scores do not say which is whose, they were "
            "made of other rows than these. Run analysis.score again."
        )
    frame["p_unsound"], frame["first_error"] = np.nan, np.int32(UNKNOWN)
    counts = "n_steps" in frame
    if scores is None or not (rows >= 0).any():
        if not counts:
            frame["n_steps"] = _count_steps(rationales()) if len(frame) else np.array([], dtype="int32")
        return False
    joined = scores.take(pa.array(rows, mask=rows < 0)).combine_chunks()
    frame["p_unsound"] = joined.column("p_unsound").to_pandas().astype(float)
    frame["first_error"] = np.asarray(joined.column("first_error_step").fill_null(UNKNOWN))
    frame["status"] = joined.column("status").to_pandas()
    if not counts:
        steps_known = joined.column("n_steps").null_count < len(joined)
        frame["n_steps"] = np.asarray(joined.column("n_steps").fill_null(0)) if steps_known else _count_steps(rationales())
    texts["flags"] = joined.column("flags").combine_chunks
    if joined.column("checks").null_count < len(joined):
        texts["checks"] = joined.column("checks").combine_chunks
    if unknown:
        notes.append(f"newer than the scores: {unknown:,} of {counted(len(frame), 'rationale')}; run analysis.score again.")
    return True


def _read_scores(files: list[Path], notes: list[str]) -> pa.Table | None:
    """The first readable file of scores beside a record file, as `star.schemas.SCORES`."""
    schema = pa.schema([SCORES.field(name).with_name("id" if name == "attempt_id" else name) for name in SCORES.names])
    for file in files:
        try:
            table = read_table(file, schema) if file.name.endswith(".parquet") else _score_lines(file, schema)
            return table.rename_columns(SCORES.names)
        except RunError as error:
            notes.append(_short(str(error), file.parent))
        except (OSError, EOFError, ValueError) as error:
            notes.append(f"{file.name} cannot be read: {first_line(error)}")
    return None


def _score_lines(file: Path, schema: pa.Schema) -> pa.Table:
    """Scores from JSON lines; a line that is no object, or has no id, belongs to no rationale and is left out."""
    rows: list[Score] = []
    for _, line in read_rows(file):
        with suppress(ParseError):
            row = checked(line, Score)
            rows.append(row | {"id": str(row["id"]), "flags": json.dumps(row.get("flags") or [])})
    return pa.Table.from_pylist(rows, schema=schema)


def _count_steps(rationales: pa.Array) -> np.ndarray:
    """Steps per rationale where no score has counted them: lines, or what `split_steps` finds in a single line."""
    lines = np.asarray(pc.fill_null(pc.count_substring(pc.utf8_trim_whitespace(rationales), "\n"), 0)) + 1
    single = np.flatnonzero(lines == 1)
    lines[single] = [len(split_steps(text or "")) for text in rationales.take(pa.array(single)).to_pylist()]
    return lines.astype("int32")


def _fired(column: pa.Array) -> dict[str, np.ndarray]:
    """Name of a check -> rows where it fired, from lists of names or the flags' JSON texts."""
    if pa.types.is_list(column.type):
        parents, names = np.asarray(pc.list_parent_indices(column)), pc.list_flatten(column).to_pandas()
    else:
        fired = [(row, flag.check) for row, text in enumerate(column.to_pylist()) for flag in parse_flags(text)]
        parents, names = np.array([row for row, _ in fired], dtype=int), pd.Series([name for _, name in fired], dtype=str)
    return {str(name): np.unique(parents[rows]) for name, rows in names.groupby(names).indices.items()}


def _table(
    source: Source,
    frame: pd.DataFrame,
    texts: dict[str, Callable[[], pa.Array]],
    scored: bool,
    notes: list[str],
) -> Table:
    holder = Texts(texts)
    said = scorer_columns(source, frame["id"].tolist(), notes)
    frame = pd.concat([frame, *said.values()], axis=1)
    if not frame["id"].is_unique:  # a link has to lead to one of them
        frame["id"] = unique_ids(frame["id"].tolist())
    checks = _fired(holder.column("checks" if "checks" in texts else "flags")) if scored else {}
    return Table(source, frame, checks, holder, scored, tuple(notes), tuple(said))


def read_file(source: Source) -> Table:
    """The table of a record file; a large one is read once, see `analysis.rationales.index`. Raises RecordError when it is none."""
    records: list[Record] = []
    known = read_index(source)
    frame, texts, notes = known or _read_columns(source, records)
    if known is None and len(records) > SMALL_FILE:
        write_index(source, frame, texts, notes)
    joined = texts["rationale"]
    files = score_files(source.path)
    scored = _add_scores(_read_scores(files, notes), frame, texts, notes, joined)
    if scored and (older := [file for file in files if file.stat().st_mtime_ns < source.path.stat().st_mtime_ns]):
        notes.append(
            f"{older[0].name} is older than {source.path.name}: its scores may be of other texts. To score them again, type: "
            f"python -m analysis.score {source.typed} -o {typed(older[0])}"
        )
    if not scored and len(frame) <= SMALL_FILE:
        scored = _add_scores(_scores_now(records, notes), frame, texts, notes, joined)
    elif not scored:
        scores = source.path.with_name(stem(source.path) + ".scores.parquet")
        notes.append(
            f"Not scored yet: {counted(len(frame), 'rationale')}. To score them, type: "
            f"python -m analysis.score {source.typed} -o {typed(scores)}"
        )
    return _table(source, frame, texts, scored, notes)


def _read_columns(source: Source, records: list[Record]) -> Kept:
    """The columns of a file, whose records are put into the list."""
    broken: list[BrokenLine] = []
    notes: list[str] = []
    path = source.path
    records += read_records(path, broken=broken, columns=source.columns, notes=notes)
    notes += [f"{path.name}, line {line.line} is left out: {line.reason}" for line in broken[:3]]
    if len(broken) > 3:
        notes.append(f"{path.name}: {counted(len(broken) - 3, 'more line')} left out.")
    if estimated := sum(not is_label(record) and record.first_error_step is not None for record in records):
        notes.append(f"label_source auto: {counted(estimated, 'label')} of a program. Only people's labels and proofs judge here.")
    if not records and broken:
        raise RecordError(f"{path.name} holds no rationale that can be read. {notes[0]}")
    steps = pa.array([list(record.steps) for record in records], pa.list_(pa.large_string()))
    joined = pa.array(["\n".join(record.steps) for record in records], pa.large_string())
    return (
        _record_frame(records),
        {
            "rationale": lambda: joined,
            "steps": lambda: steps,
            "record": lambda: pa.array([json.dumps(record_to(r), ensure_ascii=False) for r in records], pa.large_string()),
            "question": _lazy([record.question for record in records]),
            "choices": _lazy([json.dumps(dict(r.choices), ensure_ascii=False) if r.choices else None for r in records]),
        },
        notes,
    )


def _lazy(values: list[str | None]) -> Callable[[], pa.Array]:
    array = pa.array(values, pa.large_string())
    return lambda: array


def _record_frame(records: list[Record]) -> pd.DataFrame:
    def trit(value: bool | None) -> int:
        return -1 if value is None else int(value)

    def category(values: list[Any]) -> pd.Categorical:
        plain = (value if isinstance(value, str | int | float) else None for value in values)
        return pd.Categorical([None if value in (None, "") else str(value) for value in plain])

    def first_error(*, people: bool) -> np.ndarray:
        named = [record.first_error_step if is_label(record) == people else None for record in records]
        return np.array([UNKNOWN if step is None else step for step in named], dtype="int32")

    exact = [trit(None if is_label(r) or r.first_error_step is not None else r.sound) for r in records]  # with a step: estimated
    return pd.DataFrame(
        {
            "id": [record.id for record in records],
            "problem": [record.question for record in records],
            "answer": [record.answer for record in records],
            "gold": [record.gold for record in records],
            "right": np.array([trit(record.answer_correct) for record in records], dtype="int8"),
            "human": np.array([trit(record.sound if is_label(record) else None) for record in records], dtype="int8"),
            "exact": np.array(exact, dtype="int8"),
            "human_step": first_error(people=True),
            "program_step": first_error(people=False),
            "round": category([record.meta.get("round") for record in records]),
            "mode": category([record.meta.get("mode") for record in records]),
            "split": category([record.meta.get("split") for record in records]),
            "slice": category([record.meta.get("slice") or record.task for record in records]),
            "generator": category([record.generator for record in records]),
            "verdict": category([None for _ in records]),
            "drop_reason": category([None for _ in records]),
            "n_steps": np.array([len(record.steps) for record in records], dtype="int32"),
        }
        | {f"meta.{name}": category([record.meta.get(name) for record in records]) for name in _few_valued(records)}
    )


def _few_valued(records: list[Record]) -> list[str]:
    """Names of `meta` whose values are short and of which there are 2 to MANY: worth a filter."""
    values: dict[str, set[Any]] = {}
    for record in records:
        for name, value in record.meta.items():
            known = values.setdefault(name, set())
            if len(known) <= MANY and isinstance(value, str | int | bool) and value != "":
                known.add(str(value)[:LONG + 1])
    used = ("round", "mode", "split", "slice")
    return [n for n, texts in values.items() if n not in used and 2 <= len(texts) <= MANY and max(map(len, texts)) <= LONG]


def _scores_now(records: list[Record], notes: list[str]) -> pa.Table | None:
    """The scores of a small file, made on the spot."""
    from analysis.score import score_records

    try:
        scores = score_records(records)
    except OSError as error:
        notes.append(f"These rationales could not be scored: {first_line(error)}")
        return None
    notes.append(f"Scored just now, {counted(len(records), 'rationale')}; the scores are not stored.")
    named = scores.rename(columns={"id": "attempt_id"})[SCORES.names].assign(flags=scores["flags"].map(json.dumps))
    return pa.Table.from_pandas(named, preserve_index=False)
