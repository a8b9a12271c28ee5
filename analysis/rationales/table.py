"""All rationales of a run or a record file as columns, for browsing a hundred thousand of them.

Only the short columns are read to open a table; the texts of a column are read when the first one is looked at or
searched. Scores come from `analysis/soundness.parquet` of a run, or from a file beside a record file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from analysis.checks.base import Flag
from analysis.rationales.steps import split_steps
from analysis.sources import Source
from star.parsing import ParseError, parse_json
from star.run import choices_of

UNKNOWN = -2
"""first_error where nothing is known: not scored, or the score abstains."""


@dataclass(frozen=True)
class Rationale:
    """Everything that is shown about one rationale."""

    id: str
    question: str
    steps: tuple[str, ...]
    answer: str | None
    gold: str | None
    choices: Mapping[str, str]
    hint: str | None
    flags: tuple[Flag, ...]
    first_error: int
    """0-based step of the first suspected error; -1: none suspected; UNKNOWN."""
    human_step: int
    """The same by a label in the file."""
    p_unsound: float
    """NaN where it is not scored."""
    row: Mapping[str, Any]
    """The short columns."""


@dataclass
class Texts:
    """The long columns of a source, each read when first asked for."""

    loaders: Mapping[str, Callable[[], pa.Array]]
    _read: dict[str, pa.Array] = field(default_factory=dict)

    def column(self, name: str) -> pa.Array:
        """question, choices, hint, rationale, flags, and of record files steps (a list column) and record (JSON), one value a row.

        Raises KeyError for a column that this source cannot have.
        """
        if name not in self._read:
            self._read[name] = self.loaders[name]()
        return self._read[name]

    def get(self, name: str, row: int) -> Any:
        """One value, or None where the source has no such column."""
        return self.column(name)[row].as_py() if name in self.loaders else None


@dataclass(eq=False)
class Table:
    """Columns of all rationales of a source; row i of every column is the same rationale. It can be the key of a cache."""

    source: Source
    frame: pd.DataFrame
    """id, problem, answer, gold, tokens, n_steps, p_unsound (NaN: not scored), first_error, status (of the score), human_step,
    the categories round, mode, split, slice, verdict, drop_reason, generator, and three judgements that are 1, 0 or -1 for unknown:
    right (the answer), exact (the task's own check of the reasoning), human (a label that the file came with). Of record files
    also program_step (as human_step, by a label with `label_source` auto, which judges nothing here) and the category meta.NAME
    for what has few values."""
    checks: Mapping[str, np.ndarray]
    """Name of a check -> rows it fired on, ascending."""
    texts: Texts
    scored: bool
    notes: tuple[str, ...] = ()
    """Messages for a person: what is missing, what could not be read, what to type."""
    scorers: tuple[str, ...] = ()
    """Names of those whose columns are in the frame: see `analysis.rationales.scorer_columns`."""
    _rows: dict[str, int] | None = None
    _searched: tuple[str, np.ndarray] = ("", np.array([], dtype=bool))
    """The last words that were searched, and the rows that have them."""

    def __len__(self) -> int:
        return len(self.frame)

    def row_of(self, identifier: str) -> int | None:
        """Row of an id, or None."""
        if self._rows is None:
            self._rows = {name: row for row, name in enumerate(self.frame["id"].tolist())}
        return self._rows.get(identifier)

    def graded(self) -> np.ndarray:
        """1 right, 0 wrong, -1 not graded, for each row. An answer that could not be graded counts as wrong."""
        return np.where((self.frame["verdict"] == "ungradable").to_numpy(), 0, self.frame["right"].to_numpy())

    def rationale(self, row: int) -> Rationale:
        """One rationale with its texts."""
        short = {str(name): _plain(value) for name, value in self.frame.iloc[row].to_dict().items()}
        steps = self.texts.get("steps", row)
        if steps is None:
            steps = split_steps(self.texts.get("rationale", row) or "")
        choices = self.texts.get("choices", row)
        return Rationale(
            id=short["id"],
            question=self.texts.get("question", row) or "",
            steps=tuple(steps),
            answer=short["answer"],
            gold=short["gold"],
            choices=choices_from(choices),
            hint=self.texts.get("hint", row) if short.get("mode") == "rationalized" else None,
            flags=parse_flags(self.texts.get("flags", row)),
            first_error=int(short["first_error"]),
            human_step=int(short["human_step"]),
            p_unsound=float("nan") if short["p_unsound"] is None else short["p_unsound"],
            row=short,
        )

    def search(self, words: str) -> np.ndarray:
        """Boolean mask of the rows that contain every one of the `search_terms`, case ignored, in rationale, question or id."""
        if words != self._searched[0]:
            rows = np.arange(len(self))
            columns = [self.texts.column("rationale"), self.texts.column("question")]
            columns.append(pa.array(self.frame["id"], pa.large_string()))
            for term in sorted(search_terms(words), key=len, reverse=True):  # the longest leaves the fewest for the others
                hits = np.zeros(len(rows), dtype=bool)
                for column in columns:
                    matches = pc.match_substring(column, term, ignore_case=True)
                    hits |= matches.fill_null(False).to_numpy(zero_copy_only=False)
                rows, columns = rows[hits], [column.filter(pa.array(hits)) for column in columns]
            self._searched = words, np.isin(np.arange(len(self)), rows)
        return self._searched[1]


def search_terms(words: str) -> list[str]:
    """The words of a search; what stands in quotation marks is one term."""
    return [quoted or word for quoted, word in re.findall(r'"([^"]+)"|(\S+)', words)]


def _plain(value: Any) -> Any:
    """numpy scalars unwrapped; missing values as None."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def choices_from(text: str | None) -> dict[str, str]:
    """Options of a question from their JSON text; none where there are none, or they cannot be read."""
    try:
        return choices_of(text) if text else {}
    except ValueError:
        return {}


def parse_flags(value: Any) -> tuple[Flag, ...]:
    """Flags of one rationale, from a list of objects or its JSON text; anything else gives none."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ParseError:
            return ()
    if not isinstance(value, list):
        return ()
    items = [item for item in value if isinstance(item, dict)]
    places = [item["step"] if isinstance(item.get("step"), int) else -1 for item in items]  # -1: the rationale as a whole
    return tuple(
        Flag(place, str(item.get("check") or "check"), str(item.get("message") or ""))
        for place, item in zip(places, items, strict=True)
    )
