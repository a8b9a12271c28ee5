"""The reading room: everything that is computed from rationales.

from analysis import score_records
score_records(records)  ->  DataFrame with p_unsound and first_error_step
"""

from __future__ import annotations

from typing import Any

__all__ = ["score_records"]


def __getattr__(name: str) -> Any:
    """`score_records` is imported when it is first asked for: importing the package costs nothing."""
    if name == "score_records":
        from analysis.score import score_records

        return score_records
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
