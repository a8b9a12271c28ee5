"""One-way flow between the rooms: seeds -> star -> analysis -> app.py, with benchmarks and tests on top; read from the source."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SEAM = "star.curation"
MAY_IMPORT = {
    "star": {"star"},
    "analysis": {"star", "analysis"},
    "app": {"star", "analysis"},
    "benchmarks": {"star", "analysis", "benchmarks"},
}
"""Room -> rooms that it imports; `star` may import `analysis` in SEAM alone."""


@cache
def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the rooms."""
    files = [ROOT / "app.py", *(file for room in MAY_IMPORT for file in (ROOT / room).rglob("*.py"))]
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in files}
    return {name: file for name, file in names.items() if file.is_file()}


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below `node` but what only a type checker sees."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from statements(child)


@cache
def imported(name: str) -> frozenset[str]:
    """Modules that a module imports, at its top or inside functions: those of the rooms in full, others by their package."""
    found: set[str] = set()
    for node in statements(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(each if each in modules() else node.module for each in whole)
    return frozenset(each if each in modules() else each.partition(".")[0] for each in found)


def room(name: str) -> str:
    return name.partition(".")[0]


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_rooms_import_in_one_direction(name: str) -> None:
    others = {*MAY_IMPORT, "tests"} - MAY_IMPORT[name]
    wrong = {
        (importer, target)
        for importer in modules()
        for target in imported(importer)
        if room(importer) == name and room(target) in others
    }
    assert not {(importer, target) for importer, target in wrong if importer != SEAM or room(target) != "analysis"}


def test_the_engine_knows_the_analysis_through_one_seam() -> None:
    users = {name: [each for each in imported(name) if room(each) == "analysis"] for name in modules() if room(name) == "star"}
    assert {name for name, used in users.items() if used} == {SEAM}, "the one seam is curation by soundness"
    assert not [each for each in users[SEAM] if ".pages" in each]
    assert not [name for name in users if "streamlit" in imported(name)]


@pytest.mark.parametrize("name", ["star", "analysis"])
def test_imports_have_no_circles(name: str) -> None:
    graph = {
        importer: {each for each in imported(importer) if room(each) == name} for importer in modules() if room(importer) == name
    }
    circles = set()
    for start in graph:
        seen, waiting = set[str](), [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting += new
        circles |= {start} & seen
    assert not circles, "these import themselves through others"


LOADED = """
import importlib, json, sys
names, sys.argv[1:] = sys.argv[1:], []
for module in names:
    importlib.import_module(module)
    print(json.dumps([module, *sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def test_the_app_and_its_pages_load_no_torch() -> None:
    pages = [name for name in modules() if name.startswith("analysis.pages.") and name.count(".") == 2]
    assert len(pages) >= 5
    names = ["app", *(page for page in pages if page != "analysis.pages.widgets")]
    done = subprocess.run([sys.executable, "-c", LOADED, *names], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert [name for name, *_ in said] == names
    for name, *loaded in said:
        assert "streamlit" in loaded and not {*loaded} & {"torch", "transformers", "trl", "vllm"}, name
