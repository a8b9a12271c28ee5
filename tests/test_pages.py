"""The pages for people agree with the code: columns, recipe keys, messages, commands, modules and paths that they name."""

from __future__ import annotations

import ast
import re
import tomllib
from dataclasses import fields
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import BaseModel

from analysis.faithfulness.probes import PROBES
from analysis.faithfulness.rows import Row
from analysis.labels import Label, Ranking
from analysis.rationales.records import Record
from analysis.score_files import schema, score_schema
from analysis.soundness.grades import GRADES
from star.recipe import Recipe
from star.tables import ATTEMPTS, PAIRS, PROBLEMS, TRAINING

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "star/README.md", "analysis/README.md")
ROOMS = ("star", "analysis", "benchmarks", "seeds", "tests")


@cache
def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def section(page: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or higher."""
    level = heading.partition(" ")[0]
    _, found, rest = text_of(page).partition(f"\n{heading}\n")
    assert found, f"{page} has no heading {heading}"
    return re.split(rf"\n#{{1,{len(level)}}} ", rest)[0]


def coded(text: str) -> set[str]:
    """Everything in backticks."""
    return set(re.findall(r"`([^`\n]+)`", text))


def described(page: str, heading: str) -> set[str]:
    """What the first cells of the tables below a heading name."""
    rows = [line for line in section(page, heading).splitlines() if line.startswith("|")]
    return {name for row in rows for name in coded(row.split("|")[1])}


@pytest.mark.parametrize(
    ("page", "heading", "names"),
    [
        ("star/README.md", "### problems.parquet", PROBLEMS.names),
        ("star/README.md", "### attempts.parquet and evaluation.parquet", ATTEMPTS.names),
        ("star/README.md", "### training.parquet", TRAINING.names),
        ("star/README.md", "### pairs.parquet", PAIRS.names),
        ("analysis/README.md", "## The rationale record", [field.name for field in fields(Record)]),
        ("analysis/README.md", "## Probes", [field.name for field in fields(Row)]),
    ],
)
def test_every_column_is_described_and_no_other(page: str, heading: str, names: list[str]) -> None:
    assert described(page, heading) == set(names)


def test_columns_of_scores_grades_and_labels_are_described() -> None:
    columns = {*schema(is_run=True, used_gold=True).names, *schema(is_run=False, used_gold=False).names}
    of_scorer = set(score_schema("attempt_id").names) - {"attempt_id", "place"}
    assert described("analysis/README.md", "## Scores") == columns | set(GRADES) | of_scorer
    assert described("analysis/README.md", "### Of one scorer") == of_scorer
    labels = {field.name for kind in (Label, Ranking) for field in fields(kind)}
    assert labels <= coded(section("analysis/README.md", "## Labels"))


def keys(model: type[BaseModel], name: str = "(top)") -> dict[str, set[str]]:
    """Section -> its keys, sections themselves left out."""
    own: set[str] = set()
    found = {name: own}
    for key, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= keys(field.annotation, key if name == "(top)" else f"{name}.{key}")
        else:
            own.add(key)
    return found


def test_every_section_and_key_of_the_recipe_is_described() -> None:
    rows = [row.split("|") for row in section("star/README.md", "## The recipe").splitlines() if row.startswith("|")][2:]
    assert {row[1].strip().strip("`"): coded(row[2]) for row in rows} == keys(Recipe)


@cache
def messages() -> tuple[str, ...]:
    """Every text in the code of star and analysis, with "..." for what is filled in."""
    found: list[str] = []
    for file in (file for room in ("star", "analysis") for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values))
    return tuple(found)


def test_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    rows = [row for row in section("star/README.md", "## Troubleshooting").splitlines() if row.startswith("| `")]
    assert len(rows) > 25
    for row in rows:
        message = re.findall(r"`([^`]+)`", row.split("|")[1])[0]
        pattern = ".*".join(re.escape(part) for part in message.split("..."))
        assert any(re.search(pattern, text) for text in messages()), message


def test_every_probe_of_the_table_is_named_by_the_help() -> None:
    from analysis.probe import PROBES_HELP

    assert not [name for name, probe in PROBES.items() if not probe.control and name not in PROBES_HELP]


NEW_IN_EXAMPLES = {"star/tasks/last_letters.py", "analysis/checks/generic/share.py", "analysis/soundness/long_step.py"}
"""Files that the pages tell a reader to write."""
OF_A_RUN = re.compile(r"analysis/(soundness\.parquet|probes\b|comparison/|labels/|scores/)")
"""Files of a run directory, whose folder has the name of ours."""


@pytest.mark.parametrize("page", PAGES)
def test_commands_modules_and_paths_exist(page: str) -> None:
    text = text_of(page)
    for module in set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)*)", text)):
        assert find_spec(module), f"{page}: python -m {module}"
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for command in set(re.findall(r"\b(?:star|rationale)-(?!suite)[a-z]+(?=`| [A-Z-])", text)):
        assert command in scripts, f"{page}: {command}"
    named = {
        path
        for path in re.findall(rf"(?<![\w/.-])((?:{'|'.join(ROOMS)})/[\w./-]*\w/?|[A-Z]+\.md|app\.py)", text)
        if path not in NEW_IN_EXAMPLES and not OF_A_RUN.match(path)
    }
    missing = [path for path in named if not ((ROOT / path).exists() or (ROOT / f"{path}.yaml").exists())]
    assert not missing, f"{page} names what is not there"
    links = re.findall(r"\]\(([^)#:\s]+)\)", text)
    assert not [link for link in links if not ((ROOT / page).parent / link).exists()], page


def test_the_readme_is_short_and_own_data_comes_early() -> None:
    lines = text_of("README.md").splitlines()
    assert len(lines) <= 210
    assert lines.index("## On your own data") < 30 < lines.index("## What has been measured")


def test_console_commands_are_in_the_readme() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(scripts) <= coded(text_of("README.md"))
