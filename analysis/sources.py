"""What the app can open: run directories below a root folder, or a record file; and what a person calls them.

Nothing outside the root folder is opened, whatever a link asks for.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

from analysis.rationales.formats import Columns
from star.errors import InputError, UsageError, counted
from star.run import Overview, Run, stamp
from star.schemas import Manifest


@dataclass(frozen=True)
class Source:
    """Something the app can open."""

    kind: Literal["run", "file"]
    path: Path
    name: str
    """What a link says: the path below the root, or the name of the record file."""
    columns: Columns = field(default_factory=Columns)
    """Of a record file that calls them otherwise."""

    @property
    def typed(self) -> str:
        """As one would type it behind a command of `analysis`."""
        named = (f" --{field} {shlex.quote(column)}" for field, column in self.columns.given.items())
        return typed(self.path) + "".join(named)


def source_of(path: Path | str, columns: Columns | None = None) -> Source:
    """A run directory or a record file. Raises InputError where it is neither."""
    resolved = Path(path).resolve()
    if resolved.is_file():
        return Source("file", resolved, resolved.name, columns or Columns())
    if Run(resolved).exists:
        return Source("run", resolved, resolved.name)
    raise InputError(f"{path} is neither a run directory nor a file. Give one such as runs/addition-1a2b3c or theirs.jsonl.")


def check_output(output: Path, inputs: Iterable[Path | None], scorers: Iterable[str] = ()) -> None:
    """Raises UsageError for an output that would replace one of the inputs, or the file of a scorer "file:PATH"."""
    files = [Path(name.removeprefix("file:")) for name in scorers if name.startswith("file:")]
    if output.resolve() in {path.resolve() for path in (*inputs, *files) if path is not None}:
        raise UsageError(f"{output} is an input itself. Give another name for the output.")


def list_runs(root: Path) -> list[Source]:
    """Run directories up to two levels below the root, newest first. Links that lead out of the root are left out.

    A root that is itself a run directory is the only entry.
    """
    root = root.resolve()
    if not root.is_dir():
        return []
    if Run(root).exists:
        return [Source("run", root, root.name)]
    folders: list[Path] = []
    for folder in _folders(root):
        folders += [folder] if Run(folder).exists else [inner for inner in _folders(folder) if Run(inner).exists]
    inside = [folder for folder in folders if folder.resolve().is_relative_to(root)]
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


def run_labels(runs: list[Source]) -> dict[str, str]:
    """Name -> what a person reads in the run picker: recipe, when it started, how far it got."""
    labels: dict[str, str] = {}
    for run in runs:
        overview = Run(run.path).overview()
        name = overview.recipe.get("name") or re.sub(r"-[0-9a-f]{6}$", "", run.path.name)
        parts = [name, started(overview.manifest), _progress(overview)]
        labels[run.name] = " · ".join(part for part in parts if part)
    counts = list(labels.values())
    return {name: label if counts.count(label) == 1 else f"{label} · folder {name}" for name, label in labels.items()}


def _progress(overview: Overview) -> str:
    last = overview.rounds[-1]["round"] if overview.rounds else None
    done = "no round yet" if last is None else "base model only" if last == 0 else counted(last, "round")
    return done if overview.finished else f"{done}, unfinished"


def started(manifest: Manifest) -> str:
    """ "2 Jan 2026, 03:04", or nothing."""
    try:
        when = datetime.fromisoformat(manifest.get("started", ""))
    except ValueError:
        return ""
    return f"{when.day} {when:%b %Y, %H:%M}"


def typed(path: Path) -> str:
    """A path as one would type it: from the working directory where it lies below, and quoted where it must be."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
