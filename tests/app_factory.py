"""What the tests of the app share: a page of it opened at a link, its words, its buttons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from streamlit.testing.v1 import AppTest

from analysis.rationales.records import Record, write_records

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("runs", "rationales", "faithfulness", "compare", "label")


def open_page(page: str, **link: str) -> AppTest:
    """A page of the app at a link; `sys.argv` says on what."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=60)
    for name, value in link.items():
        app.query_params[name] = value
    app.run()
    if page != "runs":
        app.switch_page(f"analysis/pages/{page}.py")
        for name, value in link.items():
            app.query_params[name] = value
        app.run()
    return app


def healthy(app: AppTest) -> AppTest:
    assert not app.exception, app.exception[0].message
    return app


def words(app: AppTest) -> str:
    """All text of a page."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success", "code")
    found = [str(element.value) for kind in kinds for element in app.get(kind)]
    found += [button.label for button in app.button] + [bar.proto.text for bar in app.get("progress")]
    return "\n".join([*found, *(element.proto.body for element in app.get("html"))])


def button(app: AppTest, name: str) -> Any:
    """A button of the labelling bar, whose key ends in the number of the turn."""
    return next(each for each in app.button if (each.key or "").rpartition("-")[0] == name)


def link(app: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[0] for name, value in app.query_params.items()}


def sums(path: Path, writers: dict[str, range]) -> Path:
    """A record file of sums that each writer solved, some of them wrongly."""
    records = [
        Record(f"{writer}{i}", question=f"{i} + 1?", steps=(f"{i} + 1 = {i + 1}",), answer=str(i + 1 + (i + n) % 2),
               gold=str(i + 1), answer_correct=(i + n) % 2 == 0, sound=True, generator=writer)
        for n, (writer, asked) in enumerate(writers.items()) for i in asked
    ]  # fmt: skip
    write_records(path, records)
    return path
