"""The applicable rows of probes.parquet by probe and rationale, which measures read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Value = Callable[["list[Row]", "Table"], "float | Sequence[float] | None"]
"""Rows of one rationale and probe, and all others -> what they are worth: a number, several, or None (left out)."""
Values = list[tuple[str, float]]
"""(problem_id, value) of each rationale."""


class Table:
    """Applicable rows by probe and rationale, in order of position."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.by_probe: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in sorted((row for row in rows if row["applicable"]), key=lambda row: row["position"]):
            self.by_probe[row["probe"]][row["attempt_id"]].append(row)

    def each(self, probe: str, value: Value) -> Values:
        """The values of each rationale's rows of a probe."""
        pairs: Values = []
        for rows in self.by_probe[probe].values():
            worth = value(rows, self)
            numbers = worth if isinstance(worth, Sequence) else [] if worth is None else [worth]
            pairs += [(rows[0]["problem_id"], float(number)) for number in numbers]
        return pairs

    def of(self, probe: str, attempt: str) -> list[Row]:
        """A rationale's rows of a probe."""
        return self.by_probe[probe].get(attempt, [])

    def rows(self, probe: str) -> list[Row]:
        """All rows of a probe."""
        return [row for rows in self.by_probe[probe].values() for row in rows]

    def at(self, probe: str) -> dict[tuple[str, int], Row]:
        """Rows of a probe by (attempt_id, position)."""
        return {(row["attempt_id"], row["position"]): row for row in self.rows(probe)}
