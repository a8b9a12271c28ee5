"""JSON and YAML that may come from anybody: plain data of limited size, checked against the shape that readers rely on.

Nothing runs from it, and brackets or aliases that nest beyond reason end in a ParseError.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any

import yaml

HALF = re.compile("[\ud800-\udfff]")
"""Half a surrogate pair: JSON can spell it, UTF-8 cannot."""
MOST_LEVELS = 40
MOST_NODES = 20_000
"""Of a YAML document, each alias counted as what it stands for."""


class ParseError(ValueError):
    """Text that cannot be used; the message says what was found and what was expected, not where."""


def parse_json(content: bytes | str) -> Any:
    """JSON of limited depth, without NaN and infinities. Raises ParseError."""
    try:
        value = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ParseError(f"not JSON ({error})") from error
    _limit(value)
    return value


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


class _Loader(yaml.SafeLoader):
    """Plain data alone; stops at what nests or, its aliases written out, grows beyond reason."""

    level = 0

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.level += 1
        if self.level > MOST_LEVELS:
            raise ParseError(f"nested deeper than {MOST_LEVELS} levels")
        node = super().compose_node(parent, index)
        self.level -= 1
        if id(node) not in self.sizes:
            children = getattr(node, "value", ())
            parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
            self.sizes[id(node)] = 1 + (0 if isinstance(children, str) else sum(self.sizes.get(id(p), MOST_NODES) for p in parts))
        if self.sizes[id(node)] > MOST_NODES:
            raise ParseError(f"more than {MOST_NODES:,} entries, aliases written out")
        return node


def parse_yaml(content: bytes) -> Any:
    """YAML as plain data that JSON could hold too. Raises ParseError."""
    try:
        value = yaml.load(content.decode("utf-8"), Loader=_Loader)
    except ParseError:
        raise
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: not UTF-8, or a date that is none
        raise ParseError(" ".join(str(error).split())) from error
    _limit(value)
    return value


def _limit(content: Any, level: int = 0) -> None:
    """Raise for content that is nested too deeply, or that JSON could not hold."""
    if level > MOST_LEVELS:
        raise ParseError(f"nested deeper than {MOST_LEVELS} levels")
    if isinstance(content, dict):
        if odd := [key for key in content if not isinstance(key, str)]:
            raise ParseError(f"the key {odd[0]!r:.40} is no text")
        content = [*content, *content.values()]
    elif not isinstance(content, list):
        if isinstance(content, str) and HALF.search(content):
            raise ParseError("a text holds half a surrogate pair (not UTF-8)")
        if not isinstance(content, str | int | float | None):
            raise ParseError(f"expected text or a number, found {type(content).__name__} ({content!s:.40})")
        if isinstance(content, int | float) and not abs(content) < 2**63:
            raise ParseError("a number is beyond what numbers can hold here")  # Python does not write some of them
        return
    for each in content:
        _limit(each, level + 1)


@lru_cache(maxsize=64)
def _adapter(shape: Any) -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(shape)


def checked(content: Any, shape: Any) -> Any:
    """The content, if it fits `shape` without any conversion. Raises ParseError with the place where it does not."""
    from pydantic import ValidationError

    try:
        _adapter(shape).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        message = str(first["msg"]).removeprefix("Value error, ").replace("Input should", "it should")
        more = f" (found {first['input']!r:.60})" if first["type"] != "missing" else ""
        raise ParseError(f"{place}: {message}{more}" if place else f"{message}{more}") from error
    return content
