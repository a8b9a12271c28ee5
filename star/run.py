"""The run directory: what is in it, its schemas, and writes that are whole or absent.

    runs/<name>-<digest6>/
      recipe.yaml            the resolved recipe; `python -m star.train recipe.yaml` runs it again
      run.json               commit, dirty flag, versions, hardware, seed, argv, schema version
      problems.parquet       every problem of the run with its split (train, selection, test)
      metrics.jsonl          one line per finished round; line 0 is the base model
      result.json            chosen round and test accuracy; its presence says that the run is finished
      round_NN/attempts.parquet     every sampled rationale of the round, failures included (none in round_00)
      round_NN/training.parquet     the rows that were trained on
      round_NN/evaluation.parquet   the selection split, answered by this round's model
      round_NN/model/               a from_pretrained directory with a model card (none in round_00: the base model)
      test/evaluation.parquet       the test split, answered once by the chosen round's model
      charts/*.png           accuracy and soundness by round
      analysis/              written by the analysis package only

Round n's attempts are sampled from the model of round n-1; its model is fine-tuned on what was kept of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

SCHEMA_VERSION = 1

PROBLEMS = pa.schema(
    [
        ("problem_id", pa.string()),  # content hash
        ("split", pa.string()),  # train | selection | test
        ("slice", pa.string()),  # group for breakdowns, e.g. "3 digits"
        ("question", pa.string()),
        ("choices", pa.string()),  # JSON object {label: text}, or null
        ("gold", pa.string()),
        ("hint", pa.string()),  # the hinted prompt's question block, as shown when rationalizing
    ]
)

ATTEMPTS = pa.schema(
    [
        ("attempt_id", pa.string()),  # <round>-<mode initial>-<problem_id>-<sample>; "g", "r" or "e"
        ("problem_id", pa.string()),
        ("round", pa.int32()),
        ("mode", pa.string()),  # generated | rationalized | evaluated
        ("split", pa.string()),  # train | selection | test
        ("slice", pa.string()),
        ("sample", pa.int32()),  # index among the samples of the same problem and mode
        ("prompt_hash", pa.string()),  # of the prompt's token ids
        ("prompt_tokens", pa.int32()),
        ("completion", pa.string()),  # as sampled
        ("rationale", pa.string()),  # completion without the statement of the answer
        ("answer", pa.string()),  # strict answer span, or null
        ("lenient_answer", pa.string()),
        ("gold", pa.string()),
        ("verdict", pa.string()),  # correct | incorrect | no_answer | truncated | ungradable
        ("lenient_verdict", pa.string()),
        ("sound", pa.bool_()),  # the task's exact rationale check; null where the task has none
        ("finish_reason", pa.string()),  # stop | length
        ("tokens", pa.int32()),  # sampled tokens
        ("logprob", pa.float64()),  # sum of the sampled tokens' natural log-probabilities
        ("seed", pa.int64()),
        ("kept", pa.bool_()),  # became a training row; null for evaluated
        ("drop_reason", pa.string()),  # why not kept: verdict, unsound, mentions_hint, duplicate, cap; null when kept
        ("not_judged", pa.bool_()),  # curation.require: sound asked, and nothing could be said; null where it did not ask
    ]
)

TRAINING = pa.schema(
    [
        ("attempt_id", pa.string()),
        ("problem_id", pa.string()),
        ("from_round", pa.int32()),  # round the rationale was sampled in (earlier ones are replayed)
        ("mode", pa.string()),  # generated | rationalized | gold (direct fine-tuning)
        ("hinted", pa.bool_()),  # the training prompt shows the hint; false unless the recipe asks for it
        ("prompt", pa.string()),
        ("completion", pa.string()),
    ]
)


class RunError(RuntimeError):
    """A run directory that cannot be used; the message says what was found and what to do."""


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> None:
    """Write rows under a temporary name and rename: a reader sees the whole file or none."""
    table = pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    pq.write_table(table, temporary, compression="zstd")
    _replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write text under a temporary name and rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    _replace(temporary, path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON under a temporary name and rename."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _replace(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as handle:
        os.fsync(handle.fileno())
    temporary.replace(path)


def read_rows(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of a parquet file as dictionaries. Raises RunError naming the file when it cannot be read."""
    try:
        return pq.read_table(path, columns=list(columns) if columns else None).to_pylist()
    except (pa.ArrowInvalid, OSError) as error:
        raise RunError(f"{path} cannot be read ({error}). Delete it and run the same command again.") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object. Raises RunError naming the file when it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}). Delete it and run the same command again.") from error
    if not isinstance(content, dict):
        raise RunError(f"{path} holds {type(content).__name__}, expected a JSON object")
    return content


def whole_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None when the file is absent or torn: then it is owed again."""
    try:
        return read_json(path)
    except RunError:
        return None


def read_metrics(run_dir: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl in order of rounds; a torn last line is left out, for its round is owed again."""
    path = run_dir / "metrics.jsonl"
    if not path.is_file():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            break
    return sorted(lines, key=lambda entry: entry["round"])


def derived_seed(seed: int, label: str) -> int:
    """A seed for one use of randomness, independent of those for other labels."""
    return int.from_bytes(hashlib.sha256(f"{seed}-{label}".encode()).digest()[:4], "big") % 2**31
