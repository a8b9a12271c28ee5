"""One-way flow between the rooms: what `star` may import of `analysis`, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SEAM = "star/curation.py"


def imported(path: Path) -> Iterator[str]:
    """Dotted names that a file imports, at its top or inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_engine_knows_the_analysis_through_one_seam_and_its_pages_not_at_all() -> None:
    files = {str(path.relative_to(ROOT)): list(imported(path)) for path in (ROOT / "star").rglob("*.py")}
    users = {file: [name for name in names if name.split(".")[0] == "analysis"] for file, names in files.items()}
    assert {file for file, names in users.items() if names} == {SEAM}, "the one seam is curation by soundness"
    assert not [name for name in users[SEAM] if "pages" in name]
    assert not [name for names in files.values() for name in names if name.split(".")[0] in ("app", "benchmarks", "streamlit")]
