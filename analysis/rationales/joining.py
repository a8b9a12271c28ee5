"""Which row of a table of scores belongs to which rationale: by place, with the id as a check.

Ids may repeat in other people's files (three samples of problem 7), so an id alone joins only where it is unique on both sides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from star.run import Run, RunError


def rows_of_scores(ids: Sequence[str], scored: Sequence[str], places: Sequence[int | None] = ()) -> np.ndarray:
    """For each rationale the row of its score, or -1. `places`: of each score, the row of its rationale in `ids`.

    Without places, scores that have the same ids in the same order are in place. Where one place holds another id, the
    scores were made of an earlier version of the file and no place counts: an id joins where it is unique on both sides.
    """
    rows = np.full(len(ids), -1)
    if all(place is None for place in places):
        places = range(len(ids)) if list(ids) == list(scored) else [-1] * len(scored)
    if all(place is not None and 0 <= place < len(ids) and ids[place] == name for place, name in zip(places, scored, strict=True)):
        rows[np.array(places, dtype=int)] = np.arange(len(scored))
    if len(left := np.flatnonzero(rows < 0)):
        mine, theirs = Counter(ids), Counter(scored)
        row_of = {name: row for row, name in enumerate(scored) if theirs[name] == 1}
        rows[left] = [row_of.get(ids[i], -1) if mine[ids[i]] == 1 else -1 for i in left]
    return rows


def unjoined(ids: Sequence[str], scored: Sequence[str], rows: np.ndarray) -> tuple[int, int]:
    """(rationales that the scores do not know, rationales whose id they know but cannot tell from another one's)."""
    known = set(scored)
    left = [ids[row] in known for row in np.flatnonzero(rows < 0)]
    return left.count(False), left.count(True)


def scores_of_run(run: Run, file: str, columns: Sequence[str]) -> pa.Table | None:
    """Scores of the rationales in one of `Run.attempt_files`, row by row (nulls: not scored); None without any."""
    scores = run.scores(columns=["place", "attempt_id", *columns])
    if scores is None:
        return None
    ids: list[str] = []
    part = range(0)
    for each in run.attempt_files():
        try:
            names = run.table(each, ["attempt_id"]).column(0).to_pylist()
        except RunError:
            if each == file:
                raise
            continue
        part = range(len(ids), len(ids) + len(names)) if each == file else part
        ids += names
    rows = rows_of_scores(ids, scores.column("attempt_id").to_pylist(), scores.column("place").to_pylist())[part.start : part.stop]
    return scores.select(list(columns)).take(pa.array(rows, mask=rows < 0))
