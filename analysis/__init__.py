"""The reading room: everything that is computed from rationales.

from analysis import score_records
score_records(records)  ->  DataFrame with p_unsound and first_error_step

import analysis
analysis.load("runs/addition-1a2b3c")  ->  DataFrame with rationales, verdicts, scores and people's labels; see analysis.loading
"""

from __future__ import annotations

from typing import Any

__all__ = ["load", "score_records"]


def __getattr__(name: str) -> Any:
    """Both are imported when they are first asked for: importing the package costs nothing."""
    if name == "load":
        from analysis.loading import load

        return load
    if name == "score_records":
        from analysis.score import score_records

        return score_records
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
