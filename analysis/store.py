"""What the app reads from disk: which runs there are, how far each one got, and its small files.

Everything is cached by path, modification time and size, so a run that is still going is re-read file by file. Nothing
outside the root folder is opened, whatever a link asks for. `analysis.rationales.table` reads the tables of rationales.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import yaml

Stamp = tuple[tuple[str, int, int], ...]
"""(path, modification time in ns, size) of the files that a cached value was read from."""

Read = TypeVar("Read")


@dataclass(frozen=True)
class Source:
    """Something the app can open."""

    kind: Literal["run", "file"]
    path: Path
    name: str
    """What a link says: the path below the root, or the name of the record file."""


@dataclass(frozen=True)
class RunState:
    """The small files of a run, as far as they exist."""

    recipe: dict[str, Any] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)
    rounds: tuple[dict[str, Any], ...] = ()
    """Lines of metrics.jsonl; line 0 is the base model."""
    result: dict[str, Any] | None = None
    problems: tuple[str, ...] = ()
    """Sentences about files that could not be read."""

    @property
    def finished(self) -> bool:
        """result.json is written last."""
        return self.result is not None


def stamp(paths: Iterable[Path]) -> Stamp:
    """Changes whenever one of the files does; files that do not exist are left out."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_mtime_ns, status.st_size))
    return tuple(found)


def is_run(folder: Path) -> bool:
    """A folder with a recipe, metrics or a first round in it."""
    return (
        (folder / "recipe.yaml").is_file()
        or (folder / "metrics.jsonl").is_file()
        or (folder / "round_00" / "evaluation.parquet").is_file()
        or (folder / "round_01" / "attempts.parquet").is_file()
    )


def list_runs(root: Path) -> list[Source]:
    """Run directories up to two levels below the root, newest first. Links that lead out of the root are left out.

    A root that is itself a run directory is the only entry.
    """
    root = root.resolve()
    if not root.is_dir():
        return []
    if is_run(root):
        return [Source("run", root, root.name)]
    found: list[Path] = []
    for folder in _folders(root):
        if is_run(folder):
            found.append(folder)
        else:
            found.extend(inner for inner in _folders(folder) if is_run(inner))
    inside = [folder for folder in found if folder.resolve().is_relative_to(root)]
    inside.sort(key=lambda folder: (-_touched(folder), folder.name))
    return [Source("run", folder.resolve(), folder.relative_to(root).as_posix()) for folder in inside]


def _folders(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    except OSError:
        return []


def _touched(run: Path) -> float:
    files = stamp(run / name for name in ("metrics.jsonl", "recipe.yaml", "run.json"))
    return max((mtime for _, mtime, _ in files), default=0)


def run_state(run: Path) -> RunState:
    """Recipe, manifest, metrics and result of a run; what is missing or torn is left out and named."""
    names = ("recipe.yaml", "run.json", "metrics.jsonl", "result.json")
    return _run_state(run, stamp(run / name for name in names))


@lru_cache(maxsize=64)
def _run_state(run: Path, _: Stamp) -> RunState:
    problems: list[str] = []

    def read(name: str, parse: Callable[[str], Any]) -> Any:
        path = run / name
        if not path.is_file():
            return None
        try:
            return parse(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            problems.append(f"{name} cannot be read: {str(error).splitlines()[0]}")
            return None

    recipe, manifest, result = (
        read("recipe.yaml", yaml.safe_load),
        read("run.json", json.loads),
        read("result.json", json.loads),
    )
    rounds = read("metrics.jsonl", _json_lines) or ()
    return RunState(
        recipe=recipe if isinstance(recipe, dict) else {},
        manifest=manifest if isinstance(manifest, dict) else {},
        rounds=rounds,
        result=result if isinstance(result, dict) else None,
        problems=tuple(problems),
    )


def _json_lines(text: str) -> tuple[dict[str, Any], ...]:
    """The rounds of metrics.jsonl in order; a torn last line is owed again by the run and left out here."""
    rounds: dict[int, dict[str, Any]] = {}
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and isinstance(row.get("round"), int) and isinstance(row.get("selection"), dict):
            rounds[row["round"]] = row
    return tuple(rounds[number] for number in sorted(rounds))


def run_labels(runs: list[Source]) -> dict[str, str]:
    """Name -> what a person reads in the run picker: recipe, when it started, how far it got."""
    labels: dict[str, str] = {}
    for run in runs:
        state = run_state(run.path)
        name = str(state.recipe.get("name") or re.sub(r"-[0-9a-f]{6}$", "", run.path.name))
        parts = [name, started(state), _progress(state)]
        labels[run.name] = " · ".join(part for part in parts if part)
    counts = list(labels.values())
    return {name: label if counts.count(label) == 1 else f"{label} · folder {name}" for name, label in labels.items()}


def _progress(state: RunState) -> str:
    last = state.rounds[-1]["round"] if state.rounds else None
    done = "no round yet" if last is None else "base model only" if last == 0 else f"{last} round{'s' * (last > 1)}"
    return done if state.finished else f"{done}, unfinished"


def started(state: RunState) -> str:
    """ "2 Jan 2026, 03:04", or nothing."""
    value = state.manifest.get("started") or state.manifest.get("date") or ""
    try:
        when = datetime.fromisoformat(str(value))
    except ValueError:
        return ""
    return f"{when.day} {when:%b %Y, %H:%M}"


def typed(path: Path) -> str:
    """A path as one would type it: from the working directory where it lies below, and quoted where it must be."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, cached; None when it is missing or torn."""
    found = stamp([path])
    return _read_json(path, found) if found else None


@lru_cache(maxsize=64)
def _read_json(path: Path, _: Stamp) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def wilson_bounds(k: np.ndarray | int, n: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """95 % Wilson bounds of shares k/n, element by element; 0 and 1 where n is 0.

    The same numbers as `star.statistics.wilson` (a test compares them), without importing statsmodels: that alone would
    take the app longer than its two seconds to open.
    """
    z = 1.959963984540054
    successes, trials = np.asarray(k, dtype=float), np.maximum(np.asarray(n, dtype=float), 1e-9)
    share = successes / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / (1 + z**2 / trials)
    return np.clip(middle - half, 0, share), np.clip(middle + half, share, 1)
