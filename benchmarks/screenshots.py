"""Pictures of every page of the app, from a run directory, wide and narrow, light and dark.

python benchmarks/screenshots.py runs/addition-1a2b3c            writes benchmarks/results/screenshots/*.png
python benchmarks/screenshots.py runs/addition-1a2b3c --all      also 900 pixels wide, and dark
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from benchmarks.app_browser import ARGUMENTS, INSTALL, PATIENCE, Server, find_chromium, visit
from benchmarks.common import RESULTS

PAGES = {
    "runs": ("", 2_600),
    "rationales": ("rationales?cell=right-unsound", 2_600),
    "faithfulness": ("faithfulness", 1_460),  # one rationale; the averages below it are as high again
    "compare": ("compare", 2_600),
    "label": ("label?who=reader", 2_600),
}
"""Name -> address, and the most pixels of its height that are shown."""


def main() -> int:
    """Take the pictures; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--out", type=Path, default=RESULTS / "screenshots", help="folder for the pictures")
    parser.add_argument("--all", action="store_true", help="also 900 pixels wide, and the dark theme")
    flags = parser.parse_args()
    executable = find_chromium()
    if not flags.run.is_dir():
        print(f"{flags.run} is not a folder. Give a run directory, such as runs/addition-1a2b3c.", file=sys.stderr)
        return 1
    if executable is None:
        print(INSTALL, file=sys.stderr)
        return 1
    flags.out.mkdir(parents=True, exist_ok=True)
    looks = [(1440, "light")] + ([(900, "light"), (1440, "dark"), (900, "dark")] if flags.all else [])
    from playwright.sync_api import sync_playwright

    with Server("--root", str(flags.run)) as server, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS, headless=True)
        for width, theme in looks:
            for name, (address, tallest) in PAGES.items():
                file = flags.out / (f"{name}.png" if (width, theme) == looks[0] else f"{name}-{width}-{theme}.png")
                picture(browser, f"{server.url}/{address}", file, width, theme, tallest if width >= 1_000 else 4_000)
                print(file)
        browser.close()
    return 0


def picture(browser: Any, url: str, file: Path, width: int, theme: str, tallest: int) -> None:
    """One picture of the page, as high as its content but at most `tallest` pixels."""
    context = browser.new_context(viewport={"width": width, "height": 1_000}, color_scheme=theme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    visit(page, url)
    page.wait_for_timeout(1_500)  # charts and tables draw themselves after the page
    content = page.evaluate("() => document.querySelector('[data-testid=\"stMainBlockContainer\"]').scrollHeight")
    page.set_viewport_size({"width": width, "height": min(max(int(content), 700), tallest)})
    page.wait_for_timeout(1_500)
    page.screenshot(path=str(file))
    context.close()


if __name__ == "__main__":
    sys.exit(main())
