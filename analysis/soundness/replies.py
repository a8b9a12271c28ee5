"""What judges replied, kept in a SQLite file beside the output: however a command ends, no reply is asked for twice.

A reply is kept as it came, committed as it comes, and parsed where it is read, so that a better parser needs no new call. Keys
are digests of everything that decides a reply (see `Judge`); no key of a server is in the file.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from analysis.soundness.scorer import Status
from star.errors import InputError

NAME = "judge_replies.sqlite"


class Reply(TypedDict):
    """One reply, with what it took; further replies of one call took no prompt and no call."""

    choice: dict[str, Any]
    """{"message": {"content": text}, "finish_reason": "stop"}, as OpenAI-compatible servers give it; nothing in it is certain."""
    prompt_tokens: int
    generated_tokens: int
    calls: int
    seconds: float


Failure = tuple[Status, str]
"""Why there is no verdict, for the machine and for a person."""
Keep = Callable[[str, Sequence[int], Sequence[Reply]], None]
"""Takes a prompt, votes and their replies as soon as they are there, from any thread."""


class Replies:
    """Key -> reply. `path` None keeps them in memory. The first reply makes the file. Raises InputError for one that is none."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.file: sqlite3.Connection | None = None
        self.lock = threading.Lock()

    def read(self, keys: Sequence[bytes]) -> list[Reply | None]:
        """Replies in the order of the keys."""
        if self.file is None and (self.path is None or not self.path.exists()):
            return [None] * len(keys)
        with self._open() as file:
            found = [file.execute("SELECT reply FROM replies WHERE key = ?", (key,)).fetchone() for key in keys]
        return [None if row is None else json.loads(row[0]) for row in found]

    def keep(self, keys: Sequence[bytes], replies: Sequence[Reply]) -> None:
        """On the disk when this returns."""
        with self._open() as file:
            file.executemany("INSERT OR REPLACE INTO replies VALUES (?, ?)", zip(keys, map(json.dumps, replies), strict=True))

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with self.lock:
                if self.file is None:
                    self.file = sqlite3.connect(self.path or ":memory:", timeout=60, check_same_thread=False)
                    self.file.execute("CREATE TABLE IF NOT EXISTS replies (key BLOB PRIMARY KEY, reply TEXT) WITHOUT ROWID")
                with self.file:
                    yield self.file
        except sqlite3.Error as error:
            raise InputError(f"{self.path} cannot be used ({error}). Delete it, or give --no-cache.") from error

    def close(self) -> None:
        """Safe to call twice."""
        if self.file is not None:
            self.file.close()
        self.file = None
