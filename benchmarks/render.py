"""README.md and benchmarks/README.md from their templates and the result files, so that no figure in them is ever typed.

    python benchmarks/render.py            # writes both
    python benchmarks/render.py --check    # exit status 1 when one of them is stale; for CI

Each file below benchmarks/templates is a Jinja2 template of the file of the same path in the repository. In them

    {{ figure("addition arms.STaR.accuracy @ .1%") }}

is a figure of benchmarks/results/addition.json: the path inside its `figures`, and optionally a Python format after `@`. An
item of a list is picked by what it holds, `trends[arm=STaR; of=all].per_tenfold_parameters`, so that rows which come or go do
not shift it; or by number, where no field tells items apart. A figure with an interval is written with it. And

    {% for r in results("addition") %}{% call r.table("Caption", "arms", key="arm") %}
    answers right: accuracy @ .1%
    {% endcall %}{% endfor %}

is a table for each device that was measured: the entries of the mapping or list at `arms`, one column a line, `head: path @
format`. `key` heads the column with the names of a mapping's entries, `only` picks some of them. A figure that no result holds
is an error.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from benchmarks.common import RESULTS, ROOT, read_result
from star.command_line import parse, run_command
from star.errors import InputError

TEMPLATES = ROOT / "benchmarks" / "templates"
INTERVAL = {"value", "low", "high"}
PART = re.compile(r"[^.\[\]]+(?:\[[^\]]*\])?")
"""A key of a path, with what it picks in brackets."""


class StaleError(InputError):
    """A figure that no result file holds."""


def is_interval(value: object) -> bool:
    """An estimate with its interval, as `star.statistics.Interval.as_dict` writes it."""
    return isinstance(value, Mapping) and set(value) >= INTERVAL


def show(value: Any, form: str = "") -> str:
    """A leaf as text: numbers to four significant digits or by `form`, intervals in brackets, nothing as a dash."""
    if is_interval(value):
        if value["value"] is None:
            return "-"
        bounds = "" if value["low"] is None else f" [{show(value['low'], form)}, {show(value['high'], form)}]"
        return show(value["value"], form) + bounds
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if form:
            # A p value below what a float can hold is not 0.
            return "< 1e-300" if form.endswith("g") and value == 0 else format(value, form)
        return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(show(item, form) for item in value)
    return str(value).replace("|", "\\|").replace("\n", " ")


def lookup(figures: Any, column: str) -> str | None:
    """The figure that `path @ format` names, as text; None where there is none. Raises StaleError for more than one."""
    path, _, form = (part.strip() for part in column.partition("@"))
    value = _descend(figures, PART.findall(path))
    if isinstance(value, Mapping) and not is_interval(value):
        raise StaleError(f"{path} names no single figure but {', '.join(map(str, value))}")
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        raise StaleError(f"{path} names no single figure but a list of rows")
    try:
        return None if value is None else show(value, form)
    except ValueError as error:
        raise StaleError(f"{column}: {error}") from error


def _descend(value: Any, parts: Sequence[str]) -> Any:
    if not parts:
        return value
    if isinstance(value, list):
        index = int(parts[0]) if parts[0].isdigit() else len(value)
        return _descend(value[index], parts[1:]) if index < len(value) else None
    if not isinstance(value, Mapping):
        return None
    if parts[0].endswith("]"):
        key, _, wanted = parts[0][:-1].partition("[")
        return _descend(_picked(value.get(key), wanted), parts[1:])
    for length in range(len(parts), 0, -1):  # keys that hold dots themselves
        key = ".".join(parts[:length])
        if key in value and (value_below := _descend(value[key], parts[length:])) is not None:
            return value_below
    return None


def _picked(rows: Any, wanted: str) -> Any:
    """The one item of a list whose fields are as in "field=text; field=text"; None when there is none, or more than one."""
    fields = [tuple(part.strip() for part in field.partition("=")[::2]) for field in wanted.split(";")]
    matching = [row for row in rows or () if all(str(row.get(name)) == text for name, text in fields)]
    return matching[0] if len(matching) == 1 else None


@dataclass(frozen=True)
class Result:
    """A result file, as templates use it."""

    path: Path
    content: Mapping[str, Any]

    @property
    def heading(self) -> str:
        """The benchmark's name, with the device unless that is the CPU."""
        name, device = self.content["name"], self.content.get("device", "cpu")
        return name if device == "cpu" else f"{name} on {self.content['hardware'].get('gpu', device)}"

    def table(self, caption: str, rows: str, caller: Callable[[], str], *, key: str | None = None, only: Any = ()) -> str:
        """A GitHub table below its caption, if it has one; what the result does not hold is left out."""
        entries = _descend(self.content["figures"], PART.findall(rows)) or {}
        if isinstance(entries, Mapping):
            named = {name: entries[name] for name in only or entries if name in entries}
            listed = [({key or "": name.replace("_", " ")}, entry) for name, entry in named.items()]
        else:
            listed = [({}, entry) for entry in entries]
        columns = dict(line.split(": ", 1) for line in caller().strip().splitlines())
        cells = [(first, {head: lookup(entry, column) for head, column in columns.items()}) for first, entry in listed]
        lines = [first | row for first, row in cells if any(text is not None for text in row.values())]
        if not lines and not self.content["quick"]:
            raise StaleError(f"{self.path.name} holds nothing of the table {caption!r}")
        heads = [
            head
            for head in dict.fromkeys(name for line in lines for name in line)
            if any(line.get(head) is not None for line in lines)
        ]
        grid = [heads, ["---"] * len(heads), *([line.get(head) or "-" for head in heads] for line in lines)]
        above = [f"**{caption}**", ""] if caption else []
        return "\n".join([*above, *(f"| {' | '.join(row)} |" for row in grid), "", ""]) if lines else ""

    def charts(self) -> list[Path]:
        device = self.content.get("device", "cpu")
        pictures = sorted(self.path.parent.glob(f"{self.content['name']}*.png"))
        return [path for path in pictures if (".cuda" in path.name) == (device == "cuda")]

    def source(self) -> str:
        """Where the figures come from."""
        hardware, versions = (
            sep.join(f"{name.replace('_', ' ')} {value}" for name, value in self.content[part].items())
            for part, sep in (("hardware", ", "), ("versions", ", "))
        )
        seeds = f"seeds {', '.join(map(str, self.content['seeds']))}; " if self.content.get("seeds") else ""
        made = f"`{self.content['command']}`, {self.content['date']}, commit {self.content['commit']}"
        if parts := self.content["figures"].get("made"):
            made += f" (made of runs of {', '.join('{date} at {commit}'.format(**part) for part in parts)})"
        return f"<sub>{made}; {seeds}{hardware}; {versions}. File: [{self.path.name}](results/{self.path.name})</sub>"


def results(folder: Path, name: str) -> list[Result]:
    """A benchmark's results: CPU before GPU; none where it has not been run."""
    files = [folder / f"{name}.json", folder / f"{name}.cuda.json"]
    return [Result(path, read_result(path)) for path in files if path.is_file()]


def figure(folder: Path, quoted: str) -> str:
    """The figure `name path @ format`. Raises StaleError when no result holds it."""
    name, _, column = quoted.partition(" ")
    matching = results(folder, name)
    shown = lookup(matching[0].content["figures"], column) if matching else None
    if shown is None:
        raise StaleError(f"a page quotes {quoted}, but benchmarks/results/{name}.json holds no such figure")
    return shown


def page(template: Path, folder: Path = RESULTS) -> str:
    """A template filled in from the result files of `folder`. Raises StaleError, and jinja2's errors for a broken template."""
    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.globals |= {"figure": lambda quoted: figure(folder, quoted), "results": lambda name: results(folder, name)}
    text = environment.from_string(template.read_text(encoding="utf-8")).render()
    return re.sub(r"\n{3,}", "\n\n", text)  # what templates leave around their loops


def sections() -> list[str]:
    """The benchmarks that benchmarks/README.md has a section for, in its order."""
    return re.findall(r'results\("(\w+)"\)', (TEMPLATES / "benchmarks" / "README.md").read_text(encoding="utf-8"))


def pages() -> Iterator[tuple[Path, str]]:
    """(file, its text) of every template."""
    for template in sorted(TEMPLATES.rglob("*.md")):
        yield ROOT / template.relative_to(TEMPLATES), page(template)


@dataclass(frozen=True)
class Arguments:
    check: bool = False
    """Write nothing; exit status 1 when a file is stale."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: render(parse(Arguments, __doc__, argv).check))


def render(check: bool) -> int:
    """Write or check; 1 when stale. Raises StaleError when a quoted figure does not exist or a template is broken."""
    try:
        wanted = dict(pages())
    except (ValueError, jinja2.TemplateError) as error:
        raise StaleError(str(error)) from error
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'stale; run python benchmarks/render.py' if check else 'written'}")
        if not check:
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
