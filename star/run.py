"""The run directory and its one reader, `Run`. star/README.md says which files there are and what stands in them.

The columns of its tables are in `star.tables`, the shapes of its other files in `star.schemas`; `star.files` reads and writes
single files, and what a reader needs of these three is to be had here too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import pyarrow as pa

from star.files import (
    RunError,
    Stamp,
    read_json,
    read_lines,
    read_rows,
    read_table,
    stamp,
    whole_json,
    write_json,
    write_parquet,
    write_text,
)
from star.parsing import parse_json
from star.problem import Attempt
from star.schemas import Manifest, ProbedRound, ProbesFile, RecipeFile, Result, RoundLine
from star.tables import ATTEMPTS, PROBLEMS, SCHEMA_VERSION, SCORES, TRAINING, ProblemRow, TrainingRow

__all__ = (
    "ATTEMPTS", "PROBLEMS", "SCHEMA_VERSION", "SCORES", "TEST", "TRAINING", "VERIFIER",
    "Overview", "Run", "RunError", "Stamp", "Where", "choices_of", "derived_seed",
    "read_json", "read_lines", "read_rows", "read_table", "stamp", "whole_json", "write_json", "write_parquet", "write_text",
)  # fmt: skip

_ROUND = re.compile(r"round_(\d{2,4})")
VERIFIER: Literal["verifier"] = "verifier"
"""In place of a round's number: what ranks the answers on test."""
TEST: Literal["test"] = "test"
"""In place of a round's number: what the chosen round's model answered on the test split."""
Where = int | Literal["test", "verifier"]


@dataclass(frozen=True)
class Overview:
    """The small files of a run as far as they can be read."""

    recipe: RecipeFile
    manifest: Manifest
    rounds: tuple[RoundLine, ...]
    result: Result | None
    damage: tuple[str, ...]
    """Messages about what cannot be read."""

    @property
    def finished(self) -> bool:
        """result.json is written last."""
        return self.result is not None


class Run:
    """One run directory, finished or not. What is missing is empty or None, what is damaged raises RunError.

    Nothing is read before it is asked for, and nothing that a link inside the directory leads out of it to. What is
    returned is cached until its file changes and must not be modified.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.name

    def file(self, name: str) -> Path:
        """The path of one of its files, existing or not. Raises RunError where a link leads out of the run."""
        path = self.path / name
        if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.path)):
            raise RunError(f"{path} is a link that leads out of the run directory. Put the file itself there, or delete the link.")
        return path

    def folder(self, where: Where) -> Path:
        """round_NN, test, or verifier."""
        return self.path / _folder(where)

    @property
    def exists(self) -> bool:
        """Whether the directory is a run: it has a recipe, metrics or a first round."""
        names = ("recipe.yaml", "metrics.jsonl", "round_00/evaluation.parquet", "round_01/attempts.parquet")
        return any((self.path / name).is_file() for name in names)

    # ------------------------------------------------------------------ small files

    @property
    def recipe(self) -> RecipeFile:
        """The resolved recipe as plain data. Raises RunError for a folder that is not a run directory."""
        path = self.file("recipe.yaml")
        if not path.is_file():
            raise RunError(
                f"{self.path} is not a run directory: it holds no recipe.yaml. Give one or more directories such as "
                "runs/addition-1a2b3c; `python -m star.train` makes one."
            )
        advice = "Copy the recipe that made the run in its place."
        return cast(RecipeFile, read_json(path, RecipeFile, advice))

    @property
    def manifest(self) -> Manifest:
        """run.json; empty where it is missing."""
        path = self.file("run.json")
        return cast(Manifest, read_json(path, Manifest)) if path.is_file() else {}

    @property
    def rounds(self) -> list[RoundLine]:
        """Finished rounds in order, from the lines of metrics.jsonl that can be read; 0 is the base model."""
        return self._lines()[0]

    @property
    def damage(self) -> list[str]:
        """Messages about lines of metrics.jsonl that `rounds` leaves out."""
        return self._lines()[1]

    def _lines(self) -> tuple[list[RoundLine], list[str]]:
        lines, damage = read_lines(self.file("metrics.jsonl"), RoundLine)
        by_number = {line["round"]: line for line in lines}
        return [by_number[number] for number in sorted(by_number)], damage

    @property
    def result(self) -> Result | None:
        """result.json; None where the run is not finished."""
        path = self.file("result.json")
        advice = "Delete it and run the run's command again, which writes it anew."
        return cast(Result, read_json(path, Result, advice)) if path.is_file() else None

    @property
    def chosen_round(self) -> int:
        """The round that result.json names, or the last finished one. Raises RunError where none is finished."""
        result, rounds = self.result, self.rounds
        if result is not None:
            return result["chosen_round"]
        if not rounds:
            raise RunError(f"{self.path} has no finished round yet; run its command again to go on")
        return rounds[-1]["round"]

    def overview(self) -> Overview:
        """The small files, with what is damaged left out and named."""
        damage: list[str] = []

        def tried(name: str, otherwise: Any) -> Any:
            try:
                return getattr(self, name)
            except RunError as error:
                damage.append(str(error).replace(f"{self.path}/", ""))
                return otherwise

        recipe: RecipeFile = tried("recipe", {}) if (self.path / "recipe.yaml").is_file() else {}
        manifest, rounds, result = tried("manifest", {}), tried("rounds", []), tried("result", None)
        damage += [message.replace(f"{self.path}/", "") for message in (self.damage if rounds else [])]
        return Overview(recipe, manifest, tuple(rounds), result, tuple(damage))

    # ------------------------------------------------------------------ tables; a row has the `columns` that were asked for

    def attempt_files(self) -> list[str]:
        """Names of the files that hold attempts, in the order they were written; a rationale's place counts through them."""
        folders = [match[0] for match in map(_ROUND.fullmatch, self._entries()) if match]
        folders.sort(key=lambda name: int(name.partition("_")[2]))
        names = [f"{folder}/{name}.parquet" for folder in folders for name in ("attempts", "evaluation")]
        return [name for name in [*names, "test/evaluation.parquet"] if (self.path / name).is_file()]

    def _entries(self) -> list[str]:
        try:
            return [path.name for path in self.path.iterdir()]
        except OSError:
            return []

    def evaluated_rounds(self) -> list[int]:
        """Rounds whose evaluation is there, finished or not."""
        matches = [_ROUND.fullmatch(name.removesuffix("/evaluation.parquet")) for name in self.attempt_files()]
        return [int(match[1]) for match in matches if match]

    def table(self, name: str, columns: Sequence[str] = ()) -> pa.Table:
        """Columns of one of `attempt_files` (`star.tables.ATTEMPTS`)."""
        return read_table(self.file(name), ATTEMPTS, columns)

    def attempts(self, number: int, columns: Sequence[str] = ()) -> list[Attempt]:
        """What a round sampled; empty where the file is missing."""
        return self._rows(f"{_folder(number)}/attempts.parquet", ATTEMPTS, columns)

    def probe(self, number: int) -> list[Attempt]:
        """What a round sampled to choose its temperature; empty where it did not."""
        return self._rows(f"{_folder(number)}/probe.parquet", ATTEMPTS, ())

    def training(self, number: int, columns: Sequence[str] = ()) -> list[TrainingRow]:
        """What a round was trained on; empty where the file is missing."""
        return self._rows(f"{_folder(number)}/training.parquet", TRAINING, columns)

    def evaluation(self, where: Where, columns: Sequence[str] = ()) -> list[Attempt]:
        """The answers of a round's model on the selection split, or of the chosen one's on test (sample 0: greedy)."""
        return self._rows(f"{_folder(where)}/evaluation.parquet", ATTEMPTS, columns)

    def problems(self, columns: Sequence[str] = (), damage: list[str] | None = None) -> list[ProblemRow]:
        """Every problem with its split; `choices` as a dictionary. Empty where the file is missing.

        Choices that are none raise RunError, or become None and a message in `damage`.
        """
        rows: list[ProblemRow] = self._rows("problems.parquet", PROBLEMS, columns)
        for row in rows:
            if row.get("choices") is None:
                continue
            try:
                row["choices"] = choices_of(cast(str, row["choices"]))
            except ValueError as error:
                what = f"choices of problem {row.get('problem_id')} cannot be read: {error}"
                if damage is None:
                    raise RunError(f"{self.path / 'problems.parquet'}: {what}. Make the run again from its recipe.") from error
                row["choices"] = None
                damage.append(what)
        return rows

    def _rows(self, name: str, schema: pa.Schema, columns: Sequence[str]) -> list[Any]:
        path = self.file(name)
        return read_table(path, schema, columns).to_pylist() if path.is_file() else []

    # ------------------------------------------------------------------ analysis

    def scores(self, name: str = "soundness", columns: Sequence[str] = ()) -> pa.Table | None:
        """One scorer's table (`star.tables.SCORES`), a row per rationale; None where it is not there."""
        path = self.file(f"analysis/{name}.parquet")
        return read_table(path, SCORES, columns) if path.is_file() else None

    def probes(self, schema: pa.Schema, columns: Sequence[str] = ()) -> pa.Table | None:
        """Rows of probes.parquet in the probes' schema; None where the file is not there."""
        path = self.file("analysis/probes.parquet")
        return read_table(path, schema, columns) if path.is_file() else None

    def probed_rounds(self) -> dict[str, ProbedRound]:
        """Round -> figures of probes.json; empty where the file is missing."""
        path = self.file("analysis/probes.json")
        return cast(ProbesFile, read_json(path, ProbesFile))["rounds"] if path.is_file() else {}

    def model(self, where: int | Literal["verifier"]) -> Path:
        """The model directory of a round after the base model's, or of the verifier. Raises RunError where it was not kept."""
        folder = f"{_folder(where)}/model"
        if not (self.path / folder / "config.json").is_file():
            if where == VERIFIER:
                raise RunError(f"{self.path} has no verifier: train one, with verifier.kind dpo in the recipe.")
            rounds = [match[1] for match in map(_ROUND.fullmatch, sorted(self._entries())) if match]
            kept = [str(int(n)) for n in rounds if (self.path / f"round_{n}" / "model" / "config.json").is_file()]
            raise RunError(
                f"{self.path} has not kept the model of round {where} (kept: {', '.join(kept) or 'none'}). Choose "
                "another --round, or give the model with --model."
            )
        for path in (self.path / folder).rglob("*"):
            self.file(str(path.relative_to(self.path)))
        return self.file(folder)


def _folder(where: Where) -> str:
    return where if isinstance(where, str) else f"round_{where:02d}"


def choices_of(text: str) -> dict[str, str]:
    """The options of a problem from their JSON text. Raises ValueError for text that is none."""
    options = parse_json(text)
    if not isinstance(options, dict) or not all(isinstance(option, str) for option in options.values()):
        raise ValueError(f"expected an object of texts, found {text:.40}")
    return options


def derived_seed(seed: int, label: str) -> int:
    """A seed for one use of randomness, independent of those for other labels."""
    return int.from_bytes(hashlib.sha256(f"{seed}-{label}".encode()).digest()[:4], "big") % 2**31
