"""The app in a real browser: Debian's Chromium, driven by Playwright, on a server of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import expect, sync_playwright

from analysis.labels import Label, label_file, label_folder, read_labels
from analysis.rationales.reading import read_records
from analysis.rationales.records import Record, write_records
from analysis.rationales.table_reading import load_table
from analysis.sources import Source
from benchmarks.app_browser import ARGUMENTS, INSTALL, PATIENCE, Server, find_chromium, settle, visit
from tests.conftest import absent
from tests.run_factory import make_run

expect.set_options(timeout=PATIENCE)
"""`count`, `is_visible` and `inner_text` look once, while parts of a page may still be drawn; `expect` waits for its claim."""
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


LINKS = "[go](http://away.example/a) ![i](http://away.example/b.png) <http://away.example/c> www.away.example :material/home:"
MADE = [
    Record("made-links", question=f"# {LINKS}", steps=(LINKS, f"**{LINKS}** $\\href{{http://away.example}}{{x}}$"), answer="1"),
    Record("made-prices", question="Ann has $5 and Bo has $10.", steps=("$5 + $10 is **15**.", "So $x = 15$."), answer="15"),
    Record("made-hebrew", question="כמה תפוחים יש לדני?", steps=("לדני היו 3 תפוחים.", "התשובה היא **7**."), answer="7"),
    Record("made-chinese", question="小明有几个苹果？", steps=("小明有 3 个苹果。", "所以答案是 $3$。"), answer="3"),
    Record("made-code", question="Write it.\ndef f(x):\n    return x / 2\nprint(f(4))", steps=("def f(x):", "    return x // 2")),
]
"""What the real files lack: links and images, prices, text from right to left, code, Chinese."""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Path:
    """Real rationales with LaTeX, options, code and human labels: every tenth of Mr-Ben."""
    path = tmp_path_factory.mktemp("records") / "mr_ben.jsonl"
    real = list(read_records(data_dir / "mr_ben.jsonl.gz"))[::20]
    formulas = [*read_records(data_dir / "processbench_math_dev.jsonl.gz")][:40]
    write_records(path, [*MADE, *real, *formulas])
    return path


@pytest.fixture(scope="module")
def real(records: Path) -> Iterator[Server]:
    chromium()
    with Server("--records", str(records)) as started:
        yield started


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = chromium()
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
    expect(page.locator("h1")).to_have_text("Does it learn?")
    page.get_by_role("link", name="Rationales").click()
    page.wait_for_url("**/rationales**")
    settle(page)
    for cell in ("right-sound", "right-unsound"):  # it opens on the second, which a click would turn off
        page.locator(f".st-key-cell-{cell} button").first.click()
        wait_for_parameter(page, "cell", cell)
    page.locator('[data-testid="stDataFrame"] canvas').first.wait_for()
    table = page.locator('[data-testid="stDataFrame"]').first
    table.click(position={"x": 200, "y": 38 + 35 * 3 + 15})  # the fourth row of the table, a canvas
    wait_for_change(page, "id", None)
    chosen = parameter(page, "id")
    expect(page.get_by_text(re.compile(r"^4 of \d+$"))).to_be_visible()
    marked = page.locator("li.r-flagged").first
    expect(marked).to_contain_text("likeliest wrong step")
    expect(marked).to_contain_text("the carry must be")
    expect(page.locator("li.r-first")).to_have_count(0)  # that is for what is proven or labelled
    question = page.locator(".st-key-question").first.inner_text()

    page.locator(".st-key-flip-labelling button").first.click()
    page.get_by_text("says: nothing").wait_for()
    settle(page)
    page.keyboard.press("3")
    page.get_by_text("says: unsound from step 3").first.wait_for()
    labels = read_labels(label_folder(Source("run", run, run.name)))
    assert [(label.id, label.verdict, label.error_step) for label in labels.latest.values()] == [(chosen, "unsound", 2)]

    link = page.url
    server.restart()
    visit(page, link)
    expect(page.locator(".st-key-question").first).to_have_text(question, use_inner_text=True)
    assert page.url == link
    expect(page.get_by_text("says: unsound from step 3").first).to_be_visible()
    expect(page.get_by_text(re.compile(r"^4 of \d+$"))).to_be_visible()


def test_back_forward_and_the_keys(server: Server, page: Any) -> None:
    visit(page, f"{server.url}/rationales?cell=all")
    page.locator(".st-key-cell-right-unsound button").first.click()
    wait_for_parameter(page, "cell", "right-unsound")
    for _ in range(2):
        before = parameter(page, "id")
        page.keyboard.press("j")
        wait_for_change(page, "id", before)
    page.get_by_text(re.compile(r"^3 of \d+$")).wait_for()
    settle(page)
    third = page.locator(".st-key-question").first.inner_text()
    before = parameter(page, "id")
    page.keyboard.press("k")
    wait_for_change(page, "id", before)
    page.get_by_text(re.compile(r"^2 of \d+$")).wait_for()
    page.go_back()
    page.get_by_text(re.compile(r"^3 of \d+$")).wait_for()
    settle(page)
    expect(page.locator(".st-key-question").first).to_have_text(third, use_inner_text=True)
    for _ in range(3):
        page.go_back()
        settle(page)
    page.wait_for_function("() => location.search.includes('cell=all')")
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
        link, question = page.url, page.locator(".st-key-question").first.inner_text()
        assert parameter(page, "run") == first.name
        make_run(tmp_path, name="second", rounds=1, problems=12, task="gsm8k")
        visit(page, link)
        expect(page.locator(".st-key-question").first).to_have_text(question, use_inner_text=True)
        assert page.url == link
        visit(page, f"{started.url}/rationales")
        expect(page.locator(".st-key-question").first).to_contain_text("pens")  # without a run: the newest


WATCH = """() => { window.pressed = []; window.ignored = false; addEventListener('keydown', event => window.pressed.push(
    document.querySelector('.st-key-question').innerText), true);
    new MutationObserver(() => { window.ignored ||= document.body.innerText.includes('was pressed before this was on screen') })
    .observe(document.body, {childList: true, subtree: true, characterData: true}); }"""
"""Notes, for every key, which question was on screen when it was pressed, and whether a press was ever said to be ignored."""


def questions_of(labels: list[Label], file: Path) -> list[str]:
    """What a page shows of the questions of labels, in the order of the labels."""
    table = load_table(Source("file", file, file.name))
    rows = [table.row_of(label.id) for label in sorted(labels, key=lambda label: label.at)]
    return [shown(table.rationale(row or 0).question) for row in rows]


def labels_of(file: Path, who: str) -> list[Label]:
    found = read_labels(label_folder(Source("file", file, file.name)))
    return [label for (name, _), label in found.latest.items() if name == who]


def shown(question: str) -> str:
    """Letters and digits of a question."""
    return re.sub(r"[\W_]+", "", question)[:80]


def test_ten_presses_at_two_a_second_are_ten_labels_of_ten_items(real: Server, page: Any, records: Path) -> None:
    visit(page, f"{real.url}/label?raw=on&who=steady")
    page.get_by_text("steady has labelled 0 of them").wait_for()
    settle(page)
    page.evaluate(WATCH)
    for count in range(1, 11):
        page.keyboard.press("s")
        page.wait_for_timeout(500)
        page.get_by_text(f"steady has labelled {count} of them").wait_for()  # at once, unless the machine is overloaded
    page.get_by_text("steady has labelled 10 of them").wait_for()
    seen = [shown(question) for question in page.evaluate("() => window.pressed")]
    assert len(set(seen)) == 10 and questions_of(labels_of(records, "steady"), records) == seen


def test_a_burst_of_presses_labels_nothing_that_was_not_on_screen(real: Server, page: Any, records: Path) -> None:
    visit(page, f"{real.url}/label?raw=on&who=hasty")
    page.get_by_text("hasty has labelled 0 of them").wait_for()
    settle(page)
    page.evaluate(WATCH)
    for key in "sususususu":
        page.keyboard.press(key)
    page.wait_for_function("() => window.ignored")
    settle(page)
    file = label_file(label_folder(Source("file", records, records.name)), "hasty")
    lines = file.read_text(encoding="utf-8").splitlines()
    labels = labels_of(records, "hasty")
    assert 1 <= len(labels) == len(lines) < 10  # no rationale was labelled twice
    seen = {shown(question) for question in page.evaluate("() => window.pressed")}
    assert set(questions_of(labels, records)) <= seen
    assert parameter(page, "id") not in {quote(label.id, safe="") for label in labels}  # what is ignored leads not back
    expect(page.get_by_text("was pressed before this was on screen")).to_be_visible()


def test_ratings_of_steps_and_skips_outlive_the_page(real: Server, page: Any, browser: Any, records: Path) -> None:
    address = f"{real.url}/label?raw=on&who=patient&by_step=True"
    visit(page, f"{address}&words=made-prices")
    page.keyboard.press("s")
    page.get_by_text("step 2 of 2").wait_for()
    page.reload()
    page.get_by_text("step 2 of 2").wait_for()  # the first one is rated
    settle(page)
    page.keyboard.press("z")
    page.get_by_text("step 1 of 2").wait_for()
    settle(page)
    for key in "sn":
        page.keyboard.press(key)
        settle(page)
    page.get_by_text("patient has labelled 1 of them").wait_for()
    assert [(label.verdict, label.ratings) for label in labels_of(records, "patient")] == [("sound", (1, 0))]
    visit(page, address)
    first = page.locator(".st-key-question").inner_text()
    page.keyboard.press("j")
    wait_for_change(page, "id", None)
    visit(page, address)  # without an id: what was skipped comes last
    expect(page.locator(".st-key-question")).not_to_have_text(first, use_inner_text=True)


def test_undo_takes_the_last_label_back_wherever_it_was(real: Server, page: Any, records: Path) -> None:
    visit(page, f"{real.url}/label?raw=on&who=unsure")
    page.get_by_text("unsure has labelled 0 of them").wait_for()
    settle(page)
    for count, key in enumerate("su2", start=1):
        page.keyboard.press(key)
        page.get_by_text(f"unsure has labelled {count} of them").wait_for()
        settle(page)
    before = labels_of(records, "unsure")
    page.get_by_text("The last 3 labels").click()
    settle(page)
    page.locator(".st-key-recent-2 button").click()  # the first of the three
    page.get_by_text("unsure says: sound").wait_for()
    settle(page)
    page.keyboard.press("z")
    page.get_by_text("unsure has labelled 2 of them").wait_for()
    settle(page)
    last = max(before, key=lambda label: label.at)
    assert parameter(page, "id") == quote(last.id, safe="") and last.error_step == 1
    assert set(labels_of(records, "unsure")) == set(before) - {last}
    expect(page.get_by_text("Taken back: unsound from step 2.")).to_be_visible()
    expect(page.locator("h1")).to_have_css("font-size", "32px")  # the page still has its own look


def test_keys_on_the_page_rationales_label_only_when_asked_to(real: Server, page: Any, records: Path) -> None:
    visit(page, f"{real.url}/rationales?who=reader")
    page.keyboard.press("s")
    settle(page)
    assert not labels_of(records, "reader")
    page.locator(".st-key-flip-labelling button").first.click()
    page.get_by_text("reader says: nothing").wait_for()
    settle(page)
    page.get_by_label("Note").fill("looks odd")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement === document.body")  # the box has let go of the keys
    settle(page)
    page.keyboard.press("s")
    page.get_by_text("reader says: sound").wait_for()
    assert [(label.verdict, label.note) for label in labels_of(records, "reader")] == [("sound", "looks odd")]


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
            assert page.locator('img[src="x"]').count() == 0
            assert page.evaluate("() => [...document.scripts].every(script => !script.text.includes('alert'))")
            assert page.locator('[data-testid="stException"]').count() == 0
            if "onerror" in name:
                expect(page.locator("body")).to_contain_text("<img src=x onerror=alert(1)>", use_inner_text=True)
        context.close()
    assert not dialogs
    assert [url for url in foreign if not url.startswith(("data:", "blob:"))] == []


def test_formulas_and_code_are_drawn_and_nothing_leads_away(real: Server, page: Any) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    main = '[data-testid="stMain"]'
    for name in ("rationales", "label"):
        visit(page, f"{real.url}/{name}?cell=all&id=made-links")
        expect(page.locator(".st-key-question")).to_contain_text("[go](http://away.example/a)")
        page.locator(f"{main} a").first.wait_for()
        links = page.locator(f"{main} a").evaluate_all("links => links.map(link => link.href)")
        assert links and all(link.startswith(real.url) for link in links) and not page.locator(f"{main} img").count()
    visit(page, f"{real.url}/rationales?cell=all&id=made-prices")
    expect(page.locator(".st-key-question")).to_contain_text("Ann has $5 and Bo has $10.")
    steps = page.locator('[class*="st-key-steps-"]')
    expect(steps).to_contain_text("$5 + $10 is 15.")
    expect(steps.locator(".katex")).to_have_count(1)
    page.keyboard.press("t")
    page.get_by_text("So $x = 15$.", exact=True).wait_for()
    visit(page, f"{real.url}/rationales?cell=all&id=made-hebrew")
    expect(page.locator(".st-key-question p")).to_be_visible()
    box, column = (page.locator(f".st-key-question{inner}").bounding_box() for inner in (" p", ""))
    assert abs(box["x"] + box["width"] - column["x"] - column["width"]) < 2
    align = "node => { const r = document.createRange(); r.selectNodeContents(node); return r.getBoundingClientRect().right; }"
    assert column["x"] + column["width"] - page.locator(".st-key-question p").evaluate(align) < 5
    visit(page, f"{real.url}/rationales?cell=all&id=made-code")
    page.locator(".st-key-question code").first.wait_for()
    assert not [url for url in asked if "away.example" in url]


def test_search_and_sort_of_all_rows(real: Server, page: Any, records: Path) -> None:
    visit(page, f"{real.url}/rationales?cell=all&id=made-hebrew")
    page.locator('[class*="st-key-w-words"] input').fill('angle "equal to"')
    page.keyboard.press("Enter")
    wait_for_parameter(page, "id", None)
    texts = [f"{record.question} {' '.join(record.steps)}".lower() for record in read_records(records)]
    found = [text for text in texts if "angle" in text and "equal to" in text]
    page.get_by_text(re.compile(rf"^1 of {len(found)}$")).wait_for()
    page.locator(".st-key-browse mark, .st-key-browse .stMarkdownColoredBackground").first.wait_for()
    page.keyboard.press("j")  # the box has let go of the keys
    page.get_by_text(re.compile(rf"^2 of {len(found)}$")).wait_for()
    visit(page, f"{real.url}/rationales?cell=all")
    for order in ("asked", "asked-back", "asked"):  # a click on the head of the questions, and the next one the other way round
        page.locator('[data-testid="stDataFrame"]').first.click(position={"x": 120, "y": 18})
        wait_for_parameter(page, "sort", order)
    visit(page, f"{real.url}/rationales?cell=all&sort=asked&raw=on")
    page.keyboard.press("j")
    page.get_by_text(re.compile(r"^2 of \d+$")).wait_for()
    settle(page)
    second = sorted(record.question for record in read_records(records))[1]
    assert shown(page.locator(".st-key-question").inner_text())[:20] == shown(second)[:20]


def test_two_raters_share_a_fifth_and_settle_what_they_differ_on(real: Server, browser: Any, records: Path) -> None:
    contexts = [browser.new_context(viewport={"width": 1440, "height": 1000}) for _ in range(2)]
    for context, who, key in zip(contexts, ("eva", "max"), "su", strict=True):
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        visit(page, f"{real.url}/label?raw=on&raters=eva,max&who={who}")
        for count in range(2):
            page.get_by_text(f"{who} has labelled {count} of them").wait_for()
            settle(page)
            page.keyboard.press(key)
        page.get_by_text(f"{who} has labelled 2 of them").wait_for()
    eva, max_ = ({label.id for label in labels_of(records, who)} for who in ("eva", "max"))
    assert len(eva) == len(max_) == 2 and len(eva & max_) == 1  # the first one falls to both
    visit(page, f"{real.url}/label?tab=settle&raw=on")
    page.get_by_text("0 of 1 settled").wait_for()
    settle(page)
    page.keyboard.press("u")
    page.get_by_text("1 of 1 settled").wait_for()
    found = read_labels(label_folder(Source("file", records, records.name)))
    assert [found.verdicts()[identifier] for identifier in eva & max_] == ["unsound"]
    for context in contexts:
        context.close()


def test_what_is_on_show_can_be_had_as_a_file(real: Server, page: Any) -> None:
    visit(page, f"{real.url}/rationales?cell=right-unsound")
    count = int(page.get_by_text(re.compile(r"^1 of \d+$")).inner_text().split()[-1])
    page.get_by_role("button", name=f"Export {count}").click()
    for ending in ("jsonl", "html"):
        with page.expect_download() as waiting:
            page.locator(f".st-key-download-{ending} button").first.click()
        content = Path(waiting.value.path()).read_text(encoding="utf-8")
        assert content.count("\n") == count if ending == "jsonl" else content.count("<ol class=steps>") == count


def test_a_rationale_and_its_buttons_are_in_sight_at_900_pixels(real: Server, browser: Any) -> None:
    context = browser.new_context(viewport={"width": 900, "height": 900}, color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    visit(page, f"{real.url}/rationales?labelling=on")
    assert page.locator(".st-key-question").bounding_box()["y"] < 800
    visit(page, f"{real.url}/rationales?cell=all")
    table = page.locator('[data-testid="stDataFrame"]').first
    for place, name in enumerate(("question", "answer right?", re.compile("reasoning|evidence"))):
        expect(table.locator("th").nth(place)).to_have_text(name)  # what screen readers get of the canvas
    table.click(position={"x": 150, "y": 38 + 35 * 2 + 15})
    wait_for_change(page, "id", None)
    assert page.locator('[class*="st-key-steps-"]').bounding_box()["y"] < 900
    for address in ("rationales?labelling=on", "label"):
        visit(page, f"{real.url}/{address}")
        page.locator(".st-key-verdicts button").first.wait_for()
        page.locator('[data-testid="stMain"]').evaluate("main => main.scrollTo(0, 100000)")
        box = page.locator(".st-key-verdicts button").first.bounding_box()
        assert box["y"] > 0 and box["y"] + box["height"] < 900
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_violation(real: Server, server: Server, browser: Any, theme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(viewport={"width": 1440, "height": 1000}, color_scheme=theme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    of_run = [f"{server.url}/{name}" for name in ("", "faithfulness", "compare", "rationales?cell=all&keys=on")]
    tabs = ("label", "label?tab=agreement", "label?tab=rank", "label?tab=settle", "label?by_step=True&blind=False&id=made-code")
    for address in (*of_run, *(f"{real.url}/{name}" for name in ("", "rationales?labelling=on", *tabs))):
        visit(page, address)
        for closed in page.get_by_text("Everything that is recorded").all():
            closed.click()
            settle(page)
            page.locator('[data-testid="stCode"] code').first.wait_for()
        found = Axe().run(page).response["violations"]
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        serious = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in grave]
        assert not serious, (address, serious)
    context.close()


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
