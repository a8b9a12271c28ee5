"""What every page starts from: the folder the app was pointed at, the run that the link names, its table and labels."""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import streamlit as st

from analysis.labels import Labels, label_folder, read_labels
from analysis.pages.widgets import state, text
from analysis.rationales.records import SUFFIXES, RecordError
from analysis.rationales.table import Table, load_table
from analysis.sources import Source, list_runs, run_labels
from star.run import RunError, stamp

KEPT = ("run", "who")
"""Parameters of a link that go along from page to page (`state.link` adds the run that is on show by itself)."""


@dataclass(frozen=True)
class Settings:
    """What follows `streamlit run app.py --` on the command line."""

    root: Path
    """Only run directories below it are opened."""
    records: Path | None
    """A rationale file from somewhere else, shown in place of the runs."""


def parse(arguments: Sequence[str]) -> Settings:
    """Settings from the command line. Ends the process with a sentence for arguments that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="streamlit run app.py --",
        description="Browse rationales, and find those that are right for the wrong reason.",
    )
    parser.add_argument("--root", type=Path, default=Path("runs"), help="folder with run directories (default: runs)")
    parser.add_argument("--records", type=Path, help=f"a rationale file ({', '.join(SUFFIXES)}) instead of runs")
    found = parser.parse_args(list(arguments))
    if found.records is not None and not found.records.is_file():
        parser.error(f"--records {found.records}: there is no such file. Give a file ending in {', '.join(SUFFIXES)}.")
    if found.root.exists() and not found.root.is_dir():
        parser.error(f"--root {found.root} is a file, not a folder. To open a rationale file, use --records.")
    return Settings(found.root, found.records)


def settings() -> Settings:
    """The settings of this server."""
    return parse(sys.argv[1:])


def sources() -> list[Source]:
    """Everything that can be opened, newest first."""
    chosen = settings()
    if chosen.records is not None:
        return [Source("file", chosen.records.resolve(), chosen.records.name)]
    return list_runs(chosen.root)


def labels_of(found: list[Source]) -> dict[str, str]:
    """Name -> what a person reads in the picker."""
    if found and found[0].kind == "file":
        return {found[0].name: f"file {found[0].name}"}
    return run_labels(found)


def source() -> Source:
    """The source that the link names, by default the newest. A name that is not below the root opens nothing else."""
    found = sources()
    names = [one.name for one in found]
    return found[names.index(str(state.choice("run", names, names[0])))]


def table() -> Table:
    """The source's table of rationales; stops the page with a sentence when it cannot be read."""
    try:
        return load_table(source())
    except (RecordError, RunError) as error:
        st.error(text.plain(error))
        st.stop()


def labels() -> Labels:
    """Labels of the source, as they are on the disk now."""
    folder = label_folder(source())
    return _labels(folder, stamp(sorted(folder.glob("*.jsonl")) if folder.is_dir() else []))


@lru_cache(maxsize=16)
def _labels(folder: Path, _: object) -> Labels:
    return read_labels(folder)


def labeller() -> str:
    """Who is labelling: the link says, or the login name."""
    return (state.param("who") or _login())[:40]


@lru_cache(maxsize=1)
def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # no such user, as in some containers
        return "me"


def notes(found: Table) -> None:
    """What is missing or could not be read, with the command to type where there is one."""
    for note in found.notes:
        sentence, mark, command = note.partition(" type: ")
        if mark:
            st.info(f"{text.plain(sentence)} type:", icon=":material/info:")
            st.code(command, language=None, wrap_lines=True)
        else:
            st.caption(text.plain(note))
