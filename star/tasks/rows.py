"""Rows of local files (`star.row_files`) and of the Hub, each with the place it came from."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star.errors import first_line
from star.hub import hub_answers, offline, refusal
from star.layouts import exchange
from star.recipe import RecipeError
from star.row_files import SUFFIXES, BadRowError, Row, RowFileError, has, read_rows, stem


class TaskError(RecipeError):
    """Problems that cannot be loaded; one message that names file and row where there are such."""


@dataclass(frozen=True)
class Located:
    """A row and where it came from: `gsm8k_train.jsonl, row 7` (line numbers count from 1)."""

    where: str
    row: Row


def neighbour(path: Path, names: Sequence[str]) -> Path | None:
    """The test file beside a training file: "train" in its name replaced, with any of the known suffixes."""
    if "train" not in stem(path):
        return None
    for name in names:
        for suffix in dict.fromkeys((path.name.removeprefix(stem(path)), *SUFFIXES)):
            candidate = path.with_name(stem(path).replace("train", name) + suffix)
            if candidate.is_file():
                return candidate
    return None


def read_file(path: Path, columns: Sequence[str] = ()) -> list[Located]:
    """Rows of a file. Raises TaskError naming file and row."""
    rows = []
    try:
        for number, row in read_rows(path, lambda names: _needed(names, columns), columns[1] if columns else None):
            if isinstance(row, BadRowError):
                raise TaskError(f"{path}, row {number}: {row}")
            rows.append(Located(f"{path}, row {number}", row))
    except RowFileError as error:
        raise TaskError(str(error)) from error
    if not rows:
        raise TaskError(f"{path} is empty: no row was found, at least 2 are needed")
    return _with_columns(rows, columns, str(path))


def _with_columns(rows: list[Located], columns: Sequence[str], origin: str) -> list[Located]:
    """The rows, if they have the columns. Where `question` or `answer` is missing, both come from what `star.layouts` knows, with
    a note that says so. Raises TaskError for other columns that are in none of the rows; `convert` sees to single rows without one.
    """
    if tuple(columns[:2]) == ("question", "answer") and not all(any(has(each.row, name) for each in rows) for name in columns[:2]):
        exchanges = [exchange(each.row) for each in rows]
        for layout in dict.fromkeys(one.layout for one in exchanges if one is not None):
            print(f"note: {origin}: question and answer are read from {layout}", file=sys.stderr)
        rows = [
            each if one is None else Located(each.where, {**each.row, "question": one.question, "answer": one.response})
            for each, one in zip(rows, exchanges, strict=True)
        ]
    for column in columns:
        alternatives = column.split("|")
        if not any(has(located.row, name) for located in rows for name in alternatives):
            there = ", ".join(sorted(map(str, rows[0].row))) or "nothing"
            raise TaskError(
                f"{rows[0].where}: no column {' or '.join(map(repr, alternatives))}; the row has {there}. Name the columns of "
                "your own data with task.question, task.answer and task.choices of the task `records`."
            )
    return rows


def _needed(names: Sequence[str], columns: Sequence[str]) -> list[str] | None:
    """Those of a file's columns that `columns` speak of; None, for all of them, where one is missing or named `a.b`."""
    wanted: set[str] = set()
    for column in columns:
        alternatives = [[part.strip().split(".")[0] for part in name.split("+")] for name in column.split("|")]
        known = {name for name in column.split("|") if name in names}
        known |= {part for parts in alternatives if set(parts) <= set(names) for part in parts}
        if not known:
            return None
        wanted |= known
    return sorted(wanted) if wanted and not any("." in name for name in wanted) else None


# ---------------------------------------------------------------------- the Hub


TO_A_FILE = f"set task.path to a local file ({', '.join(SUFFIXES)})"


def read_hub(
    dataset: str, config: str | None, split: str, columns: Sequence[str], *, optional: bool = False, instead: str = TO_A_FILE
) -> Any:
    """Rows of a Hub data set (or of a local directory of data files); None for an `optional` split that does not exist. `instead`:
    what to do without a network."""
    local = Path(dataset).expanduser().is_dir()
    if not local and not offline() and not hub_answers():
        raise TaskError(_no_hub(dataset, "the Hub does not answer", instead))
    import datasets

    try:
        table = datasets.load_dataset(dataset, config, split=split)
    except ValueError as error:
        if optional and "split" in str(error).lower():
            return None
        raise TaskError(f"{dataset} (split {split!r}) cannot be loaded: {first_line(error)}") from error
    except (OSError, RuntimeError) as error:
        if local:
            raise TaskError(f"{dataset} (split {split!r}) cannot be loaded: {first_line(error)}") from error
        if refused := refusal(error, dataset, "data set"):
            raise TaskError(refused) from error
        raise TaskError(_no_hub(dataset, first_line(error), instead)) from error
    rows = [Located(f"{dataset} ({split}), row {number}", row) for number, row in enumerate(table, start=1)]
    if not rows:
        raise TaskError(f"{dataset} (split {split!r}) has no rows")
    return _with_columns(rows, columns, dataset)


def _no_hub(dataset: str, why: str, instead: str) -> str:
    return (
        f"data set {dataset} cannot be loaded from the Hub: {why}. Without a network {instead}, or set HF_HUB_OFFLINE=1 to use the "
        "copy in the local cache if there is one."
    )
