"""Labels that people give, in append-only files; `analysis.agreement` compares them with the automatic score.

    runs/<name>/analysis/labels/ann.jsonl         one file per labeller, one JSON object a line
    records.labels/ann.jsonl                      beside a record file

A line is a label, a ranking, a draft (the steps rated so far) or a skip; nothing is ever rewritten. The last line about a
rationale counts. Taking a label back is a line too, after which the label before it counts again. A line is on the disk before
the app goes on, and a line torn by a crash costs that line only.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from analysis.rationales.fields import clean
from analysis.sources import Source
from star.errors import InputError
from star.row_files import stem
from star.run import Run

Verdict = Literal["sound", "unsound", "unsure"]
Kind = Literal["label", "draft", "skip"]
VERDICTS: tuple[Verdict, ...] = ("sound", "unsound", "unsure")
KINDS: tuple[Kind, ...] = ("label", "draft", "skip")
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)
"""What a line of any shape raises where it is no label; the last of them: brackets in brackets without end."""
SETTLED = "settled"
"""The labeller of what people agreed on after they had differed; it counts for everybody."""


class LabelError(InputError):
    """A label that cannot be stored; the message says why and what to do."""


@dataclass(frozen=True)
class Label:
    """One person's judgement of one rationale."""

    id: str
    labeller: str
    verdict: Verdict | None
    """None takes the last label back."""
    error_step: int | None = None
    """0-based first wrong step, where the verdict is unsound and the person named one."""
    note: str = ""
    blind: bool = False
    """The automatic score was hidden."""
    at: str = ""
    """UTC, ISO 8601."""
    ratings: tuple[int, ...] = ()
    """Of each step as far as the person went: 1 right, 0 neutral, -1 wrong."""
    kind: Kind = "label"
    """A draft has no verdict yet, only ratings. A skip is of a rationale, or of a problem that is not ranked, by its id."""


@dataclass(frozen=True)
class Ranking:
    """One person's blind order of several rationales of the same question (the paper's section 4.3 asks crowd workers
    to do this with three)."""

    problem: str
    labeller: str
    order: tuple[str, ...]
    """Ids of the rationales, best first."""
    origins: tuple[str, ...]
    """Where each of `order` came from, hidden while ranking."""
    note: str = ""
    at: str = ""
    tie: bool = False
    """None of them is better than another."""
    kind: str = "ranking"


@dataclass(frozen=True)
class Labels:
    """All that was read from a folder of labels."""

    latest: Mapping[tuple[str, str], Label] = field(default_factory=dict)
    """(labeller, id) -> the label that counts."""
    rankings: Mapping[tuple[str, str], Ranking] = field(default_factory=dict)
    """(labeller, problem) -> the ranking that counts."""
    drafts: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    """(labeller, id) -> ratings of the first steps of a rationale that is not labelled to its end."""
    skipped: frozenset[tuple[str, str]] = frozenset()
    """(labeller, id of a rationale or problem) that is put off."""
    torn: int = 0
    """Lines that could not be read."""

    @property
    def labellers(self) -> list[str]:
        """Everybody who has a label that counts."""
        return sorted({name for name, _ in self.latest} - {SETTLED})

    def disputed(self) -> list[str]:
        """Ids on which people differ, sound against unsound or about the first wrong step, whether settled or not."""
        said: dict[str, set[tuple[str | None, int | None]]] = {}
        for (name, identifier), label in self.latest.items():
            if name != SETTLED and label.verdict != "unsure":
                said.setdefault(identifier, set()).add((label.verdict, label.error_step))
        return sorted(identifier for identifier, verdicts in said.items() if len(verdicts) > 1)

    def error_steps(self, labeller: str | None = None) -> dict[str, int]:
        """Id -> first wrong step, 0-based, of what `verdicts` calls unsound, where everybody who named one named the same, or
        where it is settled."""
        named: dict[str, set[int]] = {}
        verdicts = self.verdicts(labeller)
        for identifier, label in self._counting(labeller):
            if label.error_step is not None:
                named.setdefault(identifier, set()).add(label.error_step)
        return {name: steps.pop() for name, steps in named.items() if len(steps) == 1 and verdicts[name] == "unsound"}

    def of(self, identifier: str) -> list[Label]:
        """Labels of one rationale, by all people."""
        return [label for (_, name), label in sorted(self.latest.items()) if name == identifier]

    def recent(self, labeller: str, most: int) -> list[Label]:
        """The labels of one person that count, the newest first."""
        own = (label for (name, _), label in self.latest.items() if name == labeller)
        return heapq.nlargest(most, own, key=lambda label: label.at)

    def verdicts(self, labeller: str | None = None) -> dict[str, str]:
        """Id -> verdict of one person, or of everybody: what is settled, else the majority, unsure where there is none."""
        votes: dict[str, list[str]] = {}
        for identifier, label in self._counting(labeller):
            if label.verdict:
                votes.setdefault(identifier, []).append(label.verdict)
        return {identifier: _majority(given) for identifier, given in votes.items()}

    def _counting(self, labeller: str | None) -> Iterator[tuple[str, Label]]:
        """(id, label) of one person, or of everybody: what settles a difference alone, where one is settled."""
        for (name, identifier), label in self.latest.items():
            if name == labeller or (labeller is None and (name == SETTLED or (SETTLED, identifier) not in self.latest)):
                yield identifier, label


def _majority(votes: Sequence[str]) -> str:
    """What more than half of the votes say."""
    return next((verdict for verdict in VERDICTS if votes.count(verdict) > len(votes) / 2), "unsure")


def label_folder(source: Source) -> Path:
    """Where the labels of a source are kept."""
    if source.kind == "run":
        return Run(source.path).file("analysis/labels")
    return source.path.with_name(stem(source.path) + ".labels")


def label_file(folder: Path, labeller: str) -> Path:
    """A file name for a person; names that are no plain file names get a hash behind them, so that no two meet."""
    plain = re.sub(r"[^a-z0-9_-]+", "-", labeller.strip().lower()).strip("-")[:40]
    if not plain or plain != labeller:
        plain = f"{plain or 'person'}-{hashlib.sha256(labeller.encode()).hexdigest()[:6]}"
    return folder / f"{plain}.jsonl"


def append(folder: Path, entry: Label | Ranking) -> None:
    """Write one line and force it to the disk. Raises LabelError when the folder cannot be written."""
    row = asdict(entry) | {"at": entry.at or datetime.now(UTC).isoformat(timespec="milliseconds")}
    line = json.dumps(row, ensure_ascii=True) + "\n"
    path = label_file(folder, entry.labeller)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            left = (("\n" if torn else "") + line).encode()
            while left:  # on a full disk a part is written, and only what follows is an error
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise LabelError(f"The label was not stored: {folder.name} cannot be written ({error.strerror}).") from error


def read_labels(path: Path) -> Labels:
    """Every label and ranking of a folder or a single file that counts; lines that cannot be read are counted and left out."""
    given: dict[tuple[str, str], list[Label]] = {}
    rankings: dict[tuple[str, str], Ranking] = {}
    drafts: dict[tuple[str, str], tuple[int, ...]] = {}
    skipped: set[tuple[str, str]] = set()
    torn = 0
    inside = sorted(file for file in path.glob("*.jsonl") if file.is_file() and not file.is_symlink())
    for file in [path] if path.is_file() else inside:
        for line in file.read_text(encoding="utf-8", errors="replace").split("\n"):
            entry = _entry(line) if line.strip() else None
            if entry is None:
                torn += bool(line.strip())
            elif isinstance(entry, Ranking):
                rankings[entry.labeller, entry.problem] = entry
            elif entry.kind == "skip":
                skipped.add((entry.labeller, entry.id))
            elif entry.kind == "draft":
                drafts[entry.labeller, entry.id] = entry.ratings
            else:
                key = entry.labeller, entry.id
                drafts.pop(key, None)
                before, last = given.setdefault(key, []), None
                if before and (entry.verdict is None or replace(before[-1], note=entry.note, at=entry.at) == entry):
                    last = before.pop()  # taken back; or only the note is new: label and note are taken back together
                if entry.verdict is not None:
                    before.append(entry)
                elif last and last.ratings and not before:
                    drafts[key] = last.ratings[:-1]  # only the rating that ended it is taken back
    latest = {key: labels[-1] for key, labels in given.items() if labels}
    return Labels(latest, rankings, drafts, frozenset(skipped), torn)


def _entry(line: str, labeller: str | None = None) -> Label | Ranking | None:
    """`labeller`: of a line from elsewhere, which may lack what only the app writes."""
    try:
        row = json.loads(line)
        if labeller is not None:
            own = {"labeller": labeller, "error_step": None, "note": "", "blind": False, "at": ""}
            step, sound = row.get("first_error_step"), row.get("sound")
            if {"verdict", "order"}.isdisjoint(row) and (isinstance(step, int) or isinstance(sound, bool)):
                unsound = step >= 0 if isinstance(step, int) else not sound
                row = {"id": row["id"], "verdict": "unsound" if unsound else "sound", "error_step": step if unsound else None}
            row = own | row
        kind = row.get("kind", "label")
        labeller, note = clean(str(row["labeller"])), clean(str(row["note"]))
        at = clean(row["at"]) if isinstance(row["at"], str) else ""  # labels are sorted by it
        if kind == "ranking":
            order, origins = (tuple(clean(str(name)) for name in row[column]) for column in ("order", "origins"))
            ranking = Ranking(clean(str(row["problem"])), labeller, order, origins, note, at, tie=row.get("tie") is True)
            return ranking if len(order) == len(origins) >= 2 else None
        step, verdict = row["error_step"], row["verdict"]
        if verdict not in (*VERDICTS, None) or kind not in KINDS or not (step is None or isinstance(step, int)):
            return None
        ratings = tuple(rating for rating in row.get("ratings") or () if rating in (1, 0, -1))
        return Label(clean(str(row["id"])), labeller, verdict, step, note, bool(row["blind"]), at, ratings, kind)
    except UNREADABLE:
        return None


def imported(content: str, labeller: str) -> tuple[list[Label], int]:
    """Labels from JSON lines, and how many lines are none.

    Read are lines of this module, and `id` with `first_error_step` (0-based; -1: sound) or `sound`: labels of `labeller`.
    """
    labels, unread = [], 0
    for line in filter(str.strip, content.split("\n")):
        entry = _entry(line, labeller)
        if isinstance(entry, Label):
            labels.append(entry)
        unread += entry is None
    return labels, unread


def export_rows(labels: Labels, scores: Mapping[str, float]) -> list[dict[str, Any]]:
    """The labels that count, with the automatic score beside each."""
    rows = []
    for label in sorted(labels.latest.values(), key=lambda one: one.at):
        row = asdict(label) | {"ratings": list(label.ratings)}
        del row["kind"]
        score = scores.get(label.id, math.nan)
        rows.append(row | {"p_unsound": None if math.isnan(score) else score})
    return rows


def ranking_rows(labels: Labels) -> list[dict[str, Any]]:
    """The rankings that count, a row for each ranked rationale: place 1 is the best."""
    rows = []
    for ranking in sorted(labels.rankings.values(), key=lambda one: one.at):
        shared = {"problem": ranking.problem, "labeller": ranking.labeller}
        for place, (identifier, origin) in enumerate(zip(ranking.order, ranking.origins, strict=True), start=1):
            row = {"place": 2 if ranking.tie else place, "id": identifier, "origin": origin}
            rows.append(shared | row | {"note": ranking.note, "at": ranking.at})
    return rows


def to_jsonl(rows: Iterable[Mapping[str, Any]]) -> str:
    """One JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
