"""The values of a record's fields, as anyone's row may write them: each function raises RecordError for what it cannot read."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date
from decimal import Decimal
from typing import Any

from analysis.rationales.steps import split_steps
from star.errors import InputError
from star.grading.extraction import MARK
from star.row_files import absent

_NOTHING = ("", "none", "null", "nan", "na", "n/a")
"""How tables write that nothing is known."""
_FLAGS: dict[str, bool | None] = {
    **dict.fromkeys(("true", "yes", "1", "1.0", "correct"), True),
    **dict.fromkeys(("false", "no", "0", "0.0", "incorrect"), False),
    **dict.fromkeys(_NOTHING),
}
_GLUED = re.compile(r"['\"]\s+['\"]")
"""Texts as numpy prints them, without commas: Python would read them as one."""


class RecordError(InputError):
    """Input that cannot be read as rationale records; the message names the file and, where there is one, the line."""


def clean(text: str) -> str:
    """Half a surrogate pair cannot be written as UTF-8: replace it."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def text_of(row: Mapping[str, Any], name: str) -> str | None:
    """A text or a number; None where it is absent. An answer may be true or false, or a list."""
    value = row.get(name)
    if absent(value):
        return None
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, bool) and name in ("answer", "gold"):  # of yes-or-no questions
        return str(value).lower()
    if isinstance(value, list) and name in ("answer", "gold"):  # an interval, or a point
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float | Decimal | date) and not isinstance(value, bool):
        return str(value)
    raise RecordError(f"{name}: expected text, found {type(value).__name__}")


def answer_of(row: Mapping[str, Any], name: str) -> str | None:
    """An answer; of a worked one in GSM8K's form what stands behind its mark."""
    text = text_of(row, name)
    return text.rpartition(MARK)[2].strip() if text and MARK in text else text


def gold_of(row: Mapping[str, Any]) -> str | None:
    """The reference answer; that option's label where it is the place of one from 0, as in MMLU, and the answer is a label."""
    gold, options = row.get("gold"), _parsed(row.get("choices"))
    if type(gold) is int and isinstance(options, list) and 0 <= gold < len(options) and str(gold) not in map(str, options):
        labels = [chr(ord("A") + place) for place in range(len(options))]
        return labels[gold] if str(row.get("answer", "A")).strip("() .") in labels else str(gold)
    return answer_of(row, "gold")


def flag_of(row: Mapping[str, Any], name: str) -> bool | None:
    """True or false, as tables write it too; None where nothing is known."""
    value = str(row.get(name)).strip().lower()
    if value in _FLAGS:
        return _FLAGS[value]
    raise RecordError(f"{name}: expected true, false, yes, no, 1, 0 or null, found {row.get(name)!r:.80}")


def whole_of(row: Mapping[str, Any], name: str) -> int | None:
    """A whole number."""
    value = _real(row, name)
    if value is None or (value == int(value) and abs(value) < 2**31):
        return None if value is None else int(value)
    raise RecordError(f"{name}: expected a whole number, found {value}")


def _real(row: Mapping[str, Any], name: str) -> float | None:
    value = row.get(name)
    if isinstance(value, str):
        with suppress(ValueError):  # as tables write it
            value = None if value.strip().lower() in _NOTHING else float(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e300:
        raise RecordError(f"{name}: expected a number, found {type(value).__name__}")
    return float(value)


def size_of(row: Mapping[str, Any]) -> float | None:
    """Parameters of the generator in billions: 7, "7B", "350M", a count of them; None for all else, which judges nothing."""
    text = str(row.get("generator_params_b")).strip().upper()
    factor = {"M": 1e-3, "K": 1e-6}.get(text[-1:], 1)
    with suppress(ValueError):
        size = float(text.rstrip("BMK")) * factor
        return (size / 1e9 if size > 1e5 else size) if 0 < size < math.inf else None
    return None


def meta_of(value: Any) -> dict[str, Any]:
    """What else is known; a value that is no object becomes one, {"meta": value}: no rationale is lost over it."""
    try:
        return _object(value, "meta") or {}
    except RecordError:
        return {"meta": value if isinstance(value, str | int | float | bool) else str(value)}


def _object(value: Any, name: str) -> dict[str, Any] | None:
    """A JSON object, given as such or (in parquet) as its text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RecordError(f"{name}: expected a JSON object, found text that is none ({error})") from error
    if value is None or isinstance(value, Mapping):
        return None if value is None else dict(value)
    raise RecordError(f"{name}: expected a JSON object, found {type(value).__name__}")


def choices_of(value: Any) -> dict[str, str] | None:
    """Label -> text of each option, from an object, from texts in order (A, B, ...), or from both as data sets have them."""
    if absent(value) or (isinstance(value, str) and value.strip().lower() in _NOTHING):
        return None
    value = _parsed(value)
    if isinstance(value, list) and value and all(isinstance(each, tuple) and len(each) == 2 for each in value):
        value = dict(value)  # a map of parquet
    if isinstance(value, list) and value and all(isinstance(each, Mapping) and {"label", "text"} <= each.keys() for each in value):
        value = {str(each["label"]): each["text"] for each in value}
    if isinstance(value, list) and any(isinstance(each, Mapping | list | tuple) for each in value):
        return None  # a server's reply
    if isinstance(value, list):
        return {chr(ord("A") + index): clean(str(text)) for index, text in enumerate(value)}
    options = _object(value, "choices")
    if options and set(options) == {"text", "label"} and all(isinstance(part, list) for part in options.values()):
        options = dict(zip(map(str, options["label"]), options["text"], strict=False))  # as data sets of Hugging Face have it
    return {clean(str(k)): clean(str(v)) for k, v in options.items() if v is not None} if options else None


def steps_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The steps of a rationale: `steps`, where there is none those of `rationale`; a single text is split."""
    steps = row.get("steps")
    if absent(steps) or (not steps and row.get("rationale")):
        steps = row.get("rationale")
        if absent(steps):
            found = ", ".join(map(str, row))[:200] or "nothing"
            raise RecordError(
                f"expected `steps` (a list of texts) or `rationale` (one text), found {found}. "
                "Where the columns have other names, give --question and --rationale"
            )
    steps = _parsed(str(steps) if isinstance(steps, int | float) and not isinstance(steps, bool) else steps)
    if isinstance(steps, str):
        return tuple(split_steps(clean(steps)))
    if isinstance(steps, list) and all(isinstance(step, str) for step in steps):
        return tuple(clean(step) for step in steps)
    raise RecordError("steps: expected a list of texts")


def _parsed(value: Any) -> Any:
    """A list of texts that was written as text, as JSON or as Python writes it; all else as it is."""
    if isinstance(value, str) and value.lstrip().startswith(("['", '["')):
        for read in (json.loads, ast.literal_eval) if not _GLUED.search(value) else (json.loads,):
            with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
                parsed = read(value.strip())
                return parsed if isinstance(parsed, list) and all(isinstance(each, str) for each in parsed) else value
    return value
