"""Anybody's step scores, recorded in a file: rows with `id` and `step_ok`, P(step right) per step or null."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from analysis.rationales.reading import read_records
from analysis.rationales.records import BrokenLine
from analysis.soundness.scorer import Item, Scorer, StepScores, safe_name
from analysis.soundness.scorers import Place, ScorerOptions
from star.errors import InputError
from star.row_files import Row, parsed_rows, stem

EXPECTED = '{"id": "...", "step_ok": [0.98, 0.41]}: P(step right) per step, null where there is none'


class _Line(NamedTuple):
    number: int
    id: str | None
    step_ok: tuple[float | None, ...] | None


class RecordedScores(Scorer[StepScores]):
    """What another scorer has said; "outside" where the file says nothing of a rationale.

    Joined by id where ids are unique in the file, else by place: then line n of the file is rationale n, with the same id where it
    has one. Raises InputError for a file that cannot be read, values that are no probabilities, step counts that differ from
    the rationale's, ids of rationales that repeat while the file's do not, and by place another number of rationales, one that
    cannot be read, or another id.
    """

    def __init__(self, path: str | Path, options: ScorerOptions | None = None, place: Place | None = None) -> None:
        self.path = path = Path(path)
        self.name = safe_name(stem(path))
        self.lines = parsed_rows(path, _parsed, "step score", EXPECTED)
        ids = [line.id for line in self.lines]
        self.by_id = {line.id: line for line in self.lines} if None not in ids and len(set(ids)) == len(ids) else None
        if self.by_id is None and place is not None and place.input is not None:
            broken: list[BrokenLine] = []
            count = sum(1 for _ in read_records(place.input, broken=broken, columns=place.columns))
            if broken or count != len(self.lines):
                unread = f" and {len(broken):,} that cannot be read" if broken else ""
                raise InputError(
                    f"{path} has {len(self.lines):,} lines for {count:,} rationales{unread}: expected one line for each, in their "
                    "order, or an `id` of its own on every line."
                )
        self.asked: dict[str, int] = {}
        self.fingerprint = hashlib.sha256(repr(self.lines).encode()).hexdigest()[:16]

    def prepared(self, item: Item) -> StepScores:
        line = self.lines[item.place] if self.by_id is None and item.place < len(self.lines) else None
        if self.by_id is not None:
            line, before = self.by_id.get(item.id), self.asked.setdefault(item.id, item.place)
            if before != item.place and line is not None:
                raise InputError(
                    f"rationales {before + 1} and {item.place + 1} have the same id {item.id!r}, which {self.path} scores once: "
                    "give it a line for every rationale, in their order."
                )
        elif line is None:
            raise InputError(f"{self.path} has {len(self.lines):,} lines, and there are more rationales: expected one line each.")
        elif line.id not in (None, item.id):
            raise InputError(f"{self.path}, line {line.number} scores {line.id!r}, but rationale {item.place + 1} is {item.id!r}.")
        if line is None or line.step_ok is None:
            return StepScores("outside")
        if len(line.step_ok) != len(item.steps):
            raise InputError(
                f"{self.path}, line {line.number}: {len(line.step_ok)} step scores for rationale {item.id}, which has "
                f"{len(item.steps)} steps. Score the steps as they are read here (a list in `steps`)."
            )
        return StepScores.of_steps(line.step_ok)


def _parsed(number: int, row: Row) -> _Line:
    said, name = row["step_ok"], row.get("id")
    steps = [] if said is None else said
    if not isinstance(steps, list) or not all(p is None or (type(p) in (int, float) and 0 <= p <= 1) for p in steps):
        raise ValueError("step_ok holds something else than numbers from 0 to 1 and nulls")
    return _Line(number, None if name is None else str(name), None if said is None else tuple(said))
