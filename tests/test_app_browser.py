"""The app in a real browser: Debian's Chromium, driven by Playwright, on a server of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.labels import label_folder, read_labels
from analysis.sources import Source
from benchmarks.app_browser import ARGUMENTS, INSTALL, PATIENCE, Server, find_chromium, settle, visit
from tests.conftest import absent
from tests.run_factory import make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def chromium() -> str:
    """Debian's Chromium, or the command that installs it."""
    return find_chromium() or absent(INSTALL)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs"), rounds=2, problems=45)


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[Server]:
    chromium()
    started = Server("--root", str(run.parent))
    yield started
    started.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=executable, args=ARGUMENTS, headless=True)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    yield opened
    context.close()


def parameter(page: Any, name: str) -> str | None:
    found = re.search(rf"[?&]{name}=([^&]*)", page.url)
    return found[1] if found else None


def wait_for_parameter(page: Any, name: str, value: str | None) -> None:
    page.wait_for_function(
        "([name, value]) => new URLSearchParams(location.search).get(name) === value", arg=[name, value]
    )
    settle(page)


def wait_for_change(page: Any, name: str, before: str | None) -> None:
    page.wait_for_function(
        "([name, value]) => new URLSearchParams(location.search).get(name) !== value", arg=[name, before]
    )
    settle(page)


def test_from_the_run_to_a_label_and_back_by_its_link(server: Server, page: Any, run: Path) -> None:
    """Open a run, go to the right-but-unsound cell, select, see the marked step, label by key, reload, restart."""
    visit(page, server.url)
    assert page.locator("h1").inner_text() == "Does it learn?"
    page.get_by_role("link", name="Rationales").click()
    page.wait_for_url("**/rationales**")
    settle(page)
    page.locator(".st-key-cell-right-unsound button").first.click()
    wait_for_parameter(page, "cell", "right-unsound")
    box = page.locator('[data-testid="stDataFrame"]').first.bounding_box()
    page.mouse.click(box["x"] + 200, box["y"] + 38 + 35 * 3 + 15)  # the fourth row of the table, a canvas
    wait_for_change(page, "id", None)
    chosen = parameter(page, "id")
    assert page.get_by_text(re.compile(r"^4 of \d+$")).is_visible()
    assert not page.locator("li.r-first").count()  # that is for what is proven or labelled
    marked = page.locator("li.r-flagged").first
    assert "likeliest wrong step" in marked.inner_text() and "the carry must be" in marked.inner_text()
    question = page.locator(".r-question").first.inner_text()

    page.keyboard.press("3")
    page.get_by_text("says: unsound from step 3").wait_for()
    labels = read_labels(label_folder(Source("run", run, run.name)))
    assert [(label.id, label.verdict, label.error_step) for label in labels.latest.values()] == [(chosen, "unsound", 2)]

    link = page.url
    server.restart()
    visit(page, link)
    assert page.url == link and page.locator(".r-question").first.inner_text() == question
    assert page.get_by_text("says: unsound from step 3").is_visible()
    assert page.get_by_text(re.compile(r"^4 of \d+$")).is_visible()


def test_back_forward_and_the_keys(server: Server, page: Any) -> None:
    visit(page, f"{server.url}/rationales")
    page.locator(".st-key-cell-right-unsound button").first.click()
    wait_for_parameter(page, "cell", "right-unsound")
    for _ in range(2):
        before = parameter(page, "id")
        page.keyboard.press("j")
        wait_for_change(page, "id", before)
    page.get_by_text(re.compile(r"^3 of \d+$")).wait_for()
    settle(page)
    third = page.locator(".r-question").first.inner_text()
    before = parameter(page, "id")
    page.keyboard.press("k")
    wait_for_change(page, "id", before)
    page.get_by_text(re.compile(r"^2 of \d+$")).wait_for()
    page.go_back()
    page.get_by_text(re.compile(r"^3 of \d+$")).wait_for()
    settle(page)
    assert page.locator(".r-question").first.inner_text() == third
    for _ in range(3):
        page.go_back()
        settle(page)
    page.wait_for_function("() => !location.search.includes('cell=')")
    page.go_forward()
    wait_for_parameter(page, "cell", "right-unsound")


def test_a_link_opens_the_same_run_when_there_is_a_newer_one(page: Any, tmp_path: Path) -> None:
    with Server("--root", str(tmp_path)) as started:
        page.goto(started.url)
        page.get_by_text("No runs yet").wait_for()
        first = make_run(tmp_path, name="first", rounds=1, problems=9)
        page.get_by_text("Does it learn?").wait_for()  # by itself
        visit(page, f"{started.url}/rationales")
        page.locator(".st-key-cell-right-sound button").first.click()
        wait_for_parameter(page, "cell", "right-sound")
        link, question = page.url, page.locator(".r-question").first.inner_text()
        assert parameter(page, "run") == first.name
        make_run(tmp_path, name="second", rounds=1, problems=12, task="gsm8k")
        visit(page, link)
        assert page.locator(".r-question").first.inner_text() == question and page.url == link
        visit(page, f"{started.url}/rationales")
        assert "pens" in page.locator(".r-question").first.inner_text()  # without a run: the newest


def test_labelling_by_keyboard_alone(server: Server, page: Any, run: Path) -> None:
    visit(page, f"{server.url}/label?who=typist")
    for before, key in enumerate("sun2"):
        page.get_by_text(f"typist has labelled {before} of them").wait_for()
        settle(page)
        page.keyboard.press(key)
    page.get_by_text("typist has labelled 4 of them").wait_for()
    labels = read_labels(label_folder(Source("run", run, run.name)))
    mine = sorted(
        (label.at, label.verdict, label.error_step) for (who, _), label in labels.latest.items() if who == "typist"
    )
    assert [entry[1:] for entry in mine] == [("sound", None), ("unsound", None), ("unsure", None), ("unsound", 1)]
    assert "suspected" not in page.locator("body").inner_text()


def test_hostile_text_never_runs(browser: Any, tmp_path: Path) -> None:
    make_run(tmp_path, name="hostile", rounds=2, problems=9, hostile=True)
    dialogs: list[str] = []
    foreign: list[str] = []
    with Server("--root", str(tmp_path)) as started:
        context = browser.new_context(viewport={"width": 900, "height": 1000}, color_scheme="dark")
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: foreign.append(request.url) if "127.0.0.1" not in request.url else None)
        for name in ("", "rationales?words=onerror", "faithfulness", "compare", "label?words=onerror"):
            visit(page, f"{started.url}/{name}")
            page.wait_for_timeout(700)
            assert page.locator('img[src="x"]').count() == 0
            assert page.evaluate("() => [...document.scripts].every(script => !script.text.includes('alert'))")
            assert page.locator('[data-testid="stException"]').count() == 0
            if "onerror" in name:
                assert "<img src=x onerror=alert(1)>" in page.locator("body").inner_text()
        context.close()
    assert not dialogs
    assert [url for url in foreign if not url.startswith(("data:", "blob:"))] == []


@pytest.mark.parametrize("width", [900, 1440])
def test_nothing_sticks_out_of_the_page(server: Server, browser: Any, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    for name in ("", "rationales", "faithfulness", "compare", "label"):
        visit(page, f"{server.url}/{name}")
        main = '[data-testid="stMain"]'
        assert page.evaluate(f"() => document.querySelector('{main}').scrollWidth") <= width
        assert page.locator('[data-testid="stException"]').count() == 0
    context.close()
