"""benchmarks/README.md from the result files, and the figures quoted in README.md.

    python benchmarks/render.py            # writes both
    python benchmarks/render.py --check    # exit status 1 when one of them is stale; for CI

Every result file gets a section: what was asked, its figures as tables, its charts, and where they come from. The section
on negative results is benchmarks/notes.md. A figure in README.md stands between two marks and is filled in from here:

    STaR reaches <!-- result: addition arms.STaR.accuracy @ .1% -->...<!-- /result --> on the test split

names benchmarks/results/addition.json, the path inside its `figures`, and optionally a Python format after `@` (a bar would
end the cell of a table). An item of a list is picked by what it holds, `trends[arm=STaR; of=all].per_tenfold_parameters`,
so that rows which come or go do not shift it; or by number, where no field tells items apart. A figure with an interval is
written with it. A mark whose result is not there is an error.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS, ROOT, read_result
from benchmarks.headlines import HEADLINES, Headline

QUESTIONS: dict[str, str] = {
    "addition": "Does STaR learn n-digit addition, with and without rationalization, and with a soundness filter?",
    "model_sizes": "Do larger models reason better, and do they use their rationales more or less?",
    "human_labels": "How far can proofs and scores be trusted, by people's labels?",
    "probe_validity": "Do the probes recover a faithfulness that is known?",
    "probe_cost": "What does one packed forward pass save?",
    "sampling": "How fast is sampling, against the bare calls beneath it?",
    "loop": "What does the engine cost on top of the bare calls?",
    "grading": "How often is a grader right, and how fast is it?",
    "scaling": "Does the cost grow in proportion to problems, samples and records?",
    "app_speed": "How fast is the app on many rationales?",
}
"""Sections in this order; a result that is not named here comes after them, under its own name."""
INTERVAL = {"value", "low", "high"}
LONGEST_TABLE = 60
PART = re.compile(r"[^.\[\]]+(?:\[[^\]]*\])?")
"""A key of a path, with what it picks in brackets."""
MARK = re.compile(r"(<!-- result: (\S+) ([^@>]+?)(?: @ ([^>]+?))? -->)(.*?)(<!-- /result -->)", re.DOTALL)


class StaleError(ValueError):
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


def is_leaf(value: object) -> bool:
    """Something that fits into one cell."""
    if isinstance(value, Mapping):
        return is_interval(value)
    return not isinstance(value, list) or (len(value) <= 8 and all(not isinstance(v, Mapping | list) for v in value))


def cells(row: Mapping[str, Any]) -> dict[str, str]:
    """A row's cells; an interval brings its n along."""
    found: dict[str, str] = {}
    for name, value in row.items():
        found[str(name)] = show(value)
        if is_interval(value) and value.get("n"):
            found[str(name)] += f" n={value['n']:,}"
    return found


def table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Lines of a GitHub table; columns in order of appearance."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names), *([row.get(name, "-") for name in names] for row in rows[:LONGEST_TABLE])]
    text = [f"| {' | '.join(line)} |" for line in lines]
    if len(rows) > LONGEST_TABLE:
        text += ["", f"... and {len(rows) - LONGEST_TABLE:,} more rows in the file."]
    return [*text, ""]


def blocks(value: Any, title: str = "", level: int = 3) -> Iterator[str]:
    """Figures as tables: leaves together, a mapping or list of alike rows as one table, the rest as sections."""
    if title:
        yield from (f"{'#' * min(level, 6)} {title}", "")
    if isinstance(value, list):
        if all(isinstance(row, Mapping) and all(is_leaf(item) for item in row.values()) for row in value):
            yield from table([cells(row) for row in value])
        else:
            for index, item in enumerate(value):
                yield from blocks(item, f"{title} {index}".strip(), level + 1)
        return
    leaves = {name: item for name, item in value.items() if is_leaf(item)}
    rest = {name: item for name, item in value.items() if not is_leaf(item)}
    if leaves:
        yield from table([{"figure": name, "value": text} for name, text in cells(leaves).items()])
    rows = {
        name: item
        for name, item in rest.items()
        if isinstance(item, Mapping) and item and all(is_leaf(part) for part in item.values())
    }
    alike = len(rows) > 1 and len({frozenset(row) for row in rows.values()}) <= max(1, len(rows) // 2)
    if alike:
        yield from table([{"": str(name), **cells(row)} for name, row in rows.items()])
    for name, item in rest.items():
        if not (alike and name in rows):
            yield from blocks(item, str(name).replace("_", " "), level + 1)


def result_files(folder: Path) -> list[Path]:
    """Result files in the order of the page: CPU before GPU. Other JSON files of a benchmark are left out."""
    known = list(QUESTIONS)

    def place(path: Path) -> tuple[int, str]:
        name = path.name.split(".")[0]
        return (known.index(name) if name in known else len(known), path.name.removesuffix(".json"))

    found = []
    for path in sorted(folder.glob("*.json"), key=place):
        try:
            read_result(path)
        except ValueError as error:
            if "no `figures`" not in str(error):
                raise
            continue
        found.append(path)
    return found


def headline(figures: Mapping[str, Any], shown: Headline) -> list[str]:
    """A table of what matters; nothing when the figures do not hold it."""
    found = _descend(figures, shown.rows.split(".")) if shown.rows else figures
    if not found:
        return []
    if isinstance(found, Mapping):
        named = {name: found[name] for name in shown.only or found if name in found}
        entries = [({shown.key or "": str(name).replace("_", " ")}, entry) for name, entry in named.items()]
    else:
        entries = [({}, entry) for entry in found]
    rows = []
    for first, entry in entries:
        row = {}
        for head, column in shown.columns.items():
            path, _, form = column.partition(" @ ")
            value = _descend(entry, path.split("."))
            if value is not None and not is_leaf(value):
                raise StaleError(f"the column {head!r} of {shown.caption!r} names no single figure but {sorted(value)}")
            if value is not None:
                row[head] = show(value, form if not isinstance(value, str | bool) else "")
        if row:
            rows.append(first | row)
    return [f"**{shown.caption}**", "", *table(rows)] if rows else []


def section(path: Path) -> list[str]:
    """One result file's part of the page: what matters, charts, all figures folded away, where they come from."""
    result = read_result(path)
    name, device = result["name"], result.get("device", "cpu")
    heading = name + ("" if device == "cpu" else f" on {result['hardware'].get('gpu', device)}")
    lines = [f"## {heading}", "", QUESTIONS.get(name, ""), ""]
    for wanted in HEADLINES.get(name, ()):
        lines += headline(result["figures"], wanted)
    suffix = "" if device == "cpu" else f".{device}"
    for image in sorted(path.parent.glob(f"{name}*.png")):
        if (f".{device}" in image.name) == bool(suffix):
            lines += [f"![{image.stem.replace('_', ' ')}](results/{image.name})", ""]
    lines += ["<details><summary>All figures</summary>", "", *blocks(result["figures"]), "</details>", ""]
    hardware = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in result["hardware"].items())
    versions = ", ".join(f"{key} {value}" for key, value in result["versions"].items())
    seeds = result.get("seeds")
    shown = f"seeds {', '.join(map(str, seeds))}; " if seeds else ""
    lines += [
        f"<sub>`{result['command']}`, {result['date']}, commit {result['commit']}; {shown}{hardware}; {versions}. "
        f"File: [{path.name}](results/{path.name})</sub>",
        "",
    ]
    return lines


def page(folder: Path = RESULTS, notes: Path = ROOT / "benchmarks" / "notes.md") -> str:
    """The whole of benchmarks/README.md."""
    lines = [
        "# Benchmarks",
        "",
        "<!-- Written by benchmarks/render.py from benchmarks/results/*.json and benchmarks/notes.md; do not edit. -->",
        "",
        "One script per number. `make bench` runs them all on the CPU and goes on where it stopped; `--quick` proves in",
        "under two minutes that a script works. Brackets hold 95 % intervals, n the independent units they rest on.",
        "",
    ]
    files = result_files(folder)
    if not files:
        lines += ["No results yet: run `make bench`.", ""]
    for path in files:
        lines += section(path)
    lines += ["## Negative results and what could not be measured", ""]
    lines += [notes.read_text(encoding="utf-8").strip() if notes.is_file() else "Nothing noted yet.", ""]
    return "\n".join(lines)


def lookup(folder: Path, name: str, path: str) -> Any:
    """A figure by result name and dotted path; keys that hold dots themselves are found too. Raises StaleError."""
    file = folder / f"{name}.json"
    if not file.is_file():
        raise StaleError(f"README.md quotes {name} {path}, but there is no benchmarks/results/{file.name}")
    found = _descend(read_result(file)["figures"], PART.findall(path))
    if found is None or (isinstance(found, Mapping | list) and not is_leaf(found)):
        raise StaleError(f"README.md quotes {name} {path}, but benchmarks/results/{file.name} holds no such figure")
    return found


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
    for length in range(len(parts), 0, -1):
        key = ".".join(parts[:length])
        if key in value and (found := _descend(value[key], parts[length:])) is not None:
            return found
    return None


def _picked(rows: Any, wanted: str) -> Any:
    """The one item of a list whose fields are as in "field=text; field=text"; None when there is none, or more than one."""
    fields = [tuple(part.strip() for part in field.partition("=")[::2]) for field in wanted.split(";")]
    found = [row for row in rows or () if all(str(row.get(name)) == text for name, text in fields)]
    return found[0] if len(found) == 1 else None


def fill(text: str, folder: Path = RESULTS) -> str:
    """README.md with every marked figure taken from its result file. Raises StaleError for one that is not there."""

    def figure(match: re.Match[str]) -> str:
        mark, name, path, form, _, end = match.groups()
        try:
            shown = show(lookup(folder, name, path), form or "")
        except (TypeError, ValueError) as error:
            raise StaleError(f"{mark}: {error}") from error
        return f"{mark}{shown}{end}"

    opened, closed = text.count("<!-- result:"), len(MARK.findall(text))
    if opened != closed:
        raise StaleError(f"README.md has {opened} marks `<!-- result: ... -->`, but only {closed} are whole")
    return MARK.sub(figure, text)


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check; exit status 1 when stale or when a quoted figure does not exist."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when a file is stale")
    check = parser.parse_args(argv).check
    readme, target = ROOT / "README.md", ROOT / "benchmarks" / "README.md"
    try:
        wanted = {target: page()}
        if readme.is_file():
            wanted[readme] = fill(readme.read_text(encoding="utf-8"))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)}: {'stale; run python benchmarks/render.py' if check else 'written'}")
        if not check:
            path.write_text(wanted[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
