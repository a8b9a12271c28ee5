"""What every page starts from: the folder the app was pointed at, the run that the link names, its table and labels."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import streamlit as st
import tyro

from analysis.labels import Labels, label_folder, read_labels
from analysis.pages.widgets import state, text
from analysis.rationales.formats import Columns
from analysis.rationales.records import RecordError
from analysis.rationales.table import Table
from analysis.rationales.table_reading import load_table
from analysis.sources import Source, list_runs, run_labels, source_of
from star import command_line
from star.errors import UsageError
from star.row_files import SUFFIXES
from star.run import RunError, stamp

PAGES = Path(__file__).resolve().parents[1]
"""Links name pages from here: what starts the app lies in one folder in a checkout and in another once installed."""
KEPT = ("run", "who")
"""Parameters of a link that go along from page to page (`state.link` adds the run that is on show by itself)."""


@dataclass(frozen=True)
class Arguments:
    """What follows `rationale-app`, or `streamlit run app.py --`, on the command line."""

    root: Path = Path("runs")
    """Folder with run directories; only what lies below it is opened."""
    records: Path | None = None
    """A rationale file from somewhere else, shown in place of the runs."""
    columns: tyro.conf.OmitArgPrefixes[Columns] = field(default_factory=Columns)


@lru_cache(maxsize=1)
def parse(argv: tuple[str, ...]) -> Arguments:
    """Arguments from the command line. Raises UsageError for those that cannot be used."""
    description = "Browse rationales, and find those that are right for the wrong reason."
    given = command_line.parse(Arguments, description, argv, prog="rationale-app")
    if given.records is not None and not given.records.is_file():
        raise UsageError(f"--records {given.records}: there is no such file. Give a file ending in {', '.join(SUFFIXES)}.")
    if given.records is None and given.columns.given:
        raise UsageError(f"--{next(iter(given.columns.given))} names a column of a rationale file. Give the file with --records.")
    if given.root.exists() and not given.root.is_dir():
        raise UsageError(f"--root {given.root} is a file, not a folder. To open a rationale file, use --records.")
    return given


def check(argv: Sequence[str]) -> int:
    """0 for arguments that can be used, else the exit status, once the error is printed."""
    return command_line.run_command(lambda: 0 if parse(tuple(argv)) else 1)


def arguments() -> Arguments:
    """The arguments of this server."""
    return parse(tuple(sys.argv[1:]))


def sources() -> list[Source]:
    """Everything that can be opened, newest first."""
    chosen = arguments()
    if chosen.records is not None:
        return [source_of(chosen.records, chosen.columns)]
    return list_runs(chosen.root)


def labels_of(listed: list[Source]) -> dict[str, str]:
    """Name -> what a person reads in the picker."""
    if listed and listed[0].kind == "file":
        return {listed[0].name: f"file {listed[0].name}"}
    return run_labels(listed)


def source() -> Source:
    """The source that the link names, by default the newest. A name that is not below the root opens nothing else."""
    listed = sources()
    names = [one.name for one in listed]
    return listed[names.index(str(state.choice("run", names, names[0])))]


def table() -> Table:
    """The source's table of rationales; stops the page with a sentence when it cannot be read."""
    try:
        with st.spinner(f"Reading {text.plain(source().name)}; a large file takes a minute the first time.", show_time=True):
            return load_table(source())
    except (RecordError, RunError) as error:
        st.error(text.plain(error))
        st.stop()


def nothing_yet(table: Table) -> str:
    """Why a table has no row."""
    if table.source.kind == "file":
        return f"{text.plain(table.source.name)} holds no rationale."
    return "This run has no rationales yet: its first round is still going."


def labels() -> Labels:
    """Labels of the source, as they are on the disk now."""
    folder = label_folder(source())
    return _labels(folder, stamp(sorted(folder.glob("*.jsonl")) if folder.is_dir() else []))


@lru_cache(maxsize=16)
def _labels(folder: Path, _: object) -> Labels:
    return read_labels(folder)


def labeller() -> str:
    """Who is labelling: the link says, or the login name."""
    return (state.param("who") or "").strip()[:40] or login()


@lru_cache(maxsize=1)
def login() -> str:
    """The login name of who runs the server."""
    try:
        return getpass.getuser()[:40]
    except (OSError, KeyError):  # no such user, as in some containers
        return "me"


def notes(shown: Table) -> None:
    """What is missing or could not be read, with the command to type where there is one."""
    for note in shown.notes:
        sentence, mark, command = note.partition(" type: ")
        if mark:
            st.info(f"{text.plain(sentence)} type:", icon=":material/info:")
            st.code(command, language=None, wrap_lines=True)
        else:
            st.caption(text.plain(note))
