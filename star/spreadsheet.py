"""Rows as comma-separated text that a spreadsheet opens without running anything."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_FORMULA = re.compile(r"(^|[\t\n;])(?=[=+\-@\t＝＋－＠])")
"""Where a spreadsheet may see the beginning of a cell: many split at `;`, and those that do not mind the quotes inside them."""


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """With a header; what is not known (None, NaN) is empty, the entries of a list are separated by blanks.

    A text that a spreadsheet would take for a formula gets an apostrophe in front, in each of its lines.
    """
    import pandas as pd

    frame = pd.DataFrame([{_cell(name): _cell(value) for name, value in row.items()} for row in rows], dtype=object)
    return frame.to_csv(index=False, lineterminator="\n") if len(frame.columns) else ""


def _cell(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    text = " ".join("" if _cell(each) is None else str(each) for each in value) if isinstance(value, list) else value
    return _FORMULA.sub(r"\1'", re.sub("\r\n?", "\n", text)) if isinstance(text, str) else text
