"""What models said, kept in a SQLite file: however a command ends, nothing is asked for twice."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star.errors import InputError


class MemoryFileError(InputError):
    """The file cannot be used; the message says what was found and what to do."""


class Memory:
    """Digest of a request -> what came of it, as JSON; for any thread. `path` None keeps it in memory. The first value makes the
    file. Raises MemoryFileError for one that is none."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.file: sqlite3.Connection | None = None
        self.lock = threading.Lock()
        if path is not None and path.is_symlink():  # perhaps in somebody else's run
            raise MemoryFileError(f"{path} is a link. Put the file itself there, or delete the link.")
        if path is not None and path.exists():
            self.read([b""])

    def read(self, keys: Iterable[bytes]) -> dict[bytes, Any]:
        """What is known of some keys."""
        wanted = list(dict.fromkeys(keys))
        if self.file is None and (self.path is None or not self.path.exists()):
            return {}
        values: dict[bytes, Any] = {}
        with self._open() as file:
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                marks = ",".join("?" * len(part))
                rows = file.execute(f"SELECT key, value FROM answers WHERE key IN ({marks})", part)
                values.update((key, json.loads(value)) for key, value in rows)
        return values

    def keep(self, values: Mapping[bytes, Any]) -> None:
        """All of it or nothing; on the disk when this returns."""
        with self._open() as file:
            rows = [(key, json.dumps(value)) for key, value in values.items()]
            file.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with self.lock:
                if self.file is None:
                    if self.path is not None:
                        self.path.parent.mkdir(parents=True, exist_ok=True)
                    self.file = sqlite3.connect(self.path or ":memory:", timeout=60, check_same_thread=False)
                    self.file.execute("CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, value TEXT) WITHOUT ROWID")
                with self.file:
                    yield self.file
        except sqlite3.Error as error:
            damaged = any(words in str(error) for words in ("not a database", "malformed"))
            advice = "Delete it" if damaged else "Keep it: wait for who else uses it, or make room and let it be written,"
            raise MemoryFileError(f"{self.path} cannot be used ({error}). {advice} and run the same command again.") from error

    def close(self) -> None:
        """Safe to call twice."""
        if self.file is not None:
            self.file.close()
        self.file = None
