"""Pictures of every page of the app, from a run directory.

python benchmarks/screenshots.py runs/addition-1a2b3c            writes benchmarks/results/screenshots/*.png
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.app_browser import ARGUMENTS, INSTALL, PATIENCE, Server, find_chromium, visit
from benchmarks.common import RESULTS
from star.command_line import parse, run_command
from star.errors import InputError

PAGES = {
    "runs": ("", 2_600),
    "rationales": ("rationales?cell=right-unsound", 2_600),
    "faithfulness": ("faithfulness", 1_460),  # one rationale; the averages below it are as high again
    "compare": ("compare", 2_600),
    "label": ("label?who=reader", 2_600),
}
"""Name -> address, and the most pixels of its height that are shown."""
WIDTH = 1_440


@dataclass(frozen=True)
class Arguments:
    run: Path
    """Run directory."""
    out: Path = RESULTS / "screenshots"
    """Folder for the pictures."""


def main() -> None:
    arguments = parse(Arguments, __doc__)
    executable = find_chromium()
    if not arguments.run.is_dir():
        raise InputError(f"{arguments.run} is not a folder. Give a run directory, such as runs/addition-1a2b3c.")
    if executable is None:
        raise InputError(INSTALL)
    arguments.out.mkdir(parents=True, exist_ok=True)
    from playwright.sync_api import sync_playwright

    with Server("--root", str(arguments.run)) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS, headless=True)
        for name, (address, tallest) in PAGES.items():
            picture(browser, f"{server.url}/{address}", arguments.out / f"{name}.png", tallest)
        browser.close()


def picture(browser: Any, url: str, file: Path, tallest: int) -> None:
    """One picture of the page, as high as its content but at most `tallest` pixels."""
    context = browser.new_context(viewport={"width": WIDTH, "height": 1_000}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    visit(page, url)
    page.wait_for_timeout(1_500)  # charts and tables draw themselves after the page
    content = page.evaluate("() => document.querySelector('[data-testid=\"stMainBlockContainer\"]').scrollHeight")
    page.set_viewport_size({"width": WIDTH, "height": min(max(int(content), 700), tallest)})
    page.wait_for_timeout(1_500)
    page.screenshot(path=str(file))
    context.close()
    print(file)


if __name__ == "__main__":
    sys.exit(run_command(main))
