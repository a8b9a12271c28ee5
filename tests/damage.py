"""Ways in which a run directory that somebody sends can be broken: wrong types in valid JSON and YAML, bombs, links, torn files.

Each is (file, what was done, function that does it to the file's path); `DAMAGE` lists them all.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

Change = Callable[[Path], None]
SMALL = ("recipe.yaml", "run.json", "metrics.jsonl", "result.json", "analysis/probes.json")
TABLES = (
    *("problems.parquet", "round_00/evaluation.parquet", "round_01/attempts.parquet", "round_01/training.parquet"),
    *("round_01/evaluation.parquet", "test/evaluation.parquet", "analysis/soundness.parquet", "analysis/probes.parquet"),
)
DEEP = 100_000
ALIASES = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
"""Nine lines that stand for 9^9 texts."""
KEYS = {
    "recipe.yaml": ("name", "seed", "task", "task.name", "task.limit", "loop", "loop.rounds", "loop.method", "model",
                    "model.path", "evaluation", "evaluation.select_on", "curation", "curation.require", "prompting"),
    "run.json": ("model", "model.parameters", "skipped_rows", "started", "commit", "hardware", "versions", "argv", "fingerprints"),
    "metrics.jsonl": ("round", "selection", "selection.n", "selection.correct", "selection.sound_of_correct",
                      "selection.slices", "selection.slices.1 digit", "data", "data.dropped", "data.pool", "training",
                      "training.tokens", "seconds", "flops", "samples", "sampled_tokens"),
    "result.json": ("chosen_round", "test", "test.n", "test.correct", "test.slices", "parameters", "seconds_total", "select_on",
                    "cost"),
    "analysis/probes.json": ("rounds", "rounds.1", "rounds.1.measures", "rounds.1.measures.aoc", "rounds.1.measures.aoc.value",
                             "rounds.1.measures.aoc.control", "rounds.1.n_rationales", "rounds.1.n_correct",
                             "rounds.1.accuracy", "rounds.1.curves", "rounds.1.settings"),
}  # fmt: skip
VALUES: dict[str, Any] = {"null": None, "list": [1], "text": "x\n" * 3, "object": {"x": [None]}, "negative": -7}


def _write(content: bytes) -> Change:
    def change(path: Path) -> None:
        path.write_bytes(content)

    return change


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link_out(path: Path) -> None:
    outside = path.parents[len(path.parts) - 1 - path.parts.index("runs")] / "outside"
    outside.mkdir(exist_ok=True)
    shutil.move(path, outside / path.name)
    path.symlink_to(outside / path.name)


def _link_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _with_key(key: str, value: Any) -> Change:
    def change(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".yaml":
            path.write_text(yaml.safe_dump(_replaced(yaml.safe_load(text), key, value)), encoding="utf-8")
        elif path.suffix == ".jsonl":
            lines = [_replaced(json.loads(line), key, value) for line in text.splitlines()]
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        else:
            path.write_text(json.dumps(_replaced(json.loads(text), key, value)), encoding="utf-8")

    return change


def _replaced(content: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(content)
    *parents, last = key.split(".")
    inner = content
    for name in parents:
        inner = inner.setdefault(name, {})
    inner[last] = value
    return content


def _line(text: str) -> Change:
    """A line put in the middle of a JSON-lines file."""

    def change(path: Path) -> None:
        first, rest = path.read_text(encoding="utf-8").split("\n", 1)
        path.write_text(f"{first}\n{text}\n{rest}", encoding="utf-8")

    return change


def _column(change_column: Callable[[pa.Table, int], pa.Table], index: int) -> Change:
    def change(path: Path) -> None:
        table = pq.read_table(path)
        pq.write_table(change_column(table, index % table.num_columns), path)

    return change


def _of_type(values: Callable[[int], pa.Array]) -> Callable[[pa.Table, int], pa.Table]:
    return lambda table, index: table.set_column(index, table.column_names[index], values(len(table)))


def _cells(name: str, value: Any) -> Change:
    """A text column filled with one value."""

    def change(path: Path) -> None:
        table = pq.read_table(path)
        column = pa.array([value] * len(table))
        pq.write_table(table.set_column(table.column_names.index(name), name, column), path)

    return change


def damages() -> Iterator[tuple[str, str, Change]]:
    """Every file that is damaged, how, and the function that does it."""
    whole = {
        "empty": b"", "torn": b'{"round": [1, 2', "number": b"5", "null": b"null", "list": b"[1]", "text": b'"text"',
        "brackets": b"[" * DEEP + b"]" * DEEP, "braces": b'{"a":' * 3_000 + b"1" + b"}" * 3_000,
        "3,000 brackets": b"name: " + b"[" * 3_000 + b"]" * 3_000, "not UTF-8": b'{"name": "\xff\xfe"}', "zeros": bytes(100),
        "NaN": b'{"round": NaN, "chosen_round": 1e999}', "long number": b'{"round": ' + b"9" * 5_000 + b"}",
    }  # fmt: skip
    for file in SMALL:
        for name, content in whole.items():
            yield file, name, _write(content)
        for key in KEYS[file]:
            for name, value in VALUES.items():
                yield file, f"{key} is {name}", _with_key(key, value)
    for name, content in {
        "aliases": ALIASES, "an alias of itself": "loop: &a\n  rounds: *a\n", "deep blocks": "- " * 20_000 + "x",
        "a tag": "name: !!python/object/apply:os.system ['true']\n", "keys that are none": "1: a\nname: b\n2025-01-01: c\n",
        "a date that is none": "name: 2025-02-30\n", "a deep section": "loop: " + "[" * 900 + "]" * 900,
    }.items():  # fmt: skip
        yield "recipe.yaml", name, _write(content.encode())
    for text in ("5", "{}", "[]", '{"selection": {}}', '{"round": null, "selection": {"n": 1, "correct": 2}}', "{", "x" * 10):
        yield "metrics.jsonl", f"a line {text[:40]}", _line(text)
    yield "analysis/probes.json", "rounds are no object", _write(b'{"rounds": [1]}')
    yield "run.json", "skipped rows are a list", _with_key("skipped_rows", [1])
    for file in TABLES:
        yield file, "empty", _write(b"")
        yield file, "text", _write(b"PAR1 torn")
        yield file, "cut off", _cut
        yield file, "another schema", lambda path: pq.write_table(pa.table({"x": [1, 2]}), path)
        for index in (0, 1, 2, 5):
            yield file, f"without column {index}", _column(lambda table, i: table.remove_column(i), index)
            yield file, f"column {index} of lists", _column(_of_type(lambda n: pa.array([[1]] * n)), index)
            yield file, f"column {index} of nulls", _column(_of_type(pa.nulls), index)
        yield file, "column 3 of bytes", _column(_of_type(lambda n: pa.array([b"\xff\xfe"] * n)), 3)
    for value in ("{x", "[1]", "5", "null", "[" * DEEP, '{"A": {"B": 1}}'):
        yield "problems.parquet", f"choices are {value[:20]}", _cells("choices", value)
        yield "analysis/soundness.parquet", f"flags are {value[:20]}", _cells("flags", value)
    for file in (*SMALL, *TABLES):
        yield file, "a folder", _folder
        yield file, "a link out of the run", _link_out
        yield file, "a link to itself", _link_loop
        yield file, "missing", Path.unlink


DAMAGE = list(damages())
