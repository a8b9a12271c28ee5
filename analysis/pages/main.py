"""The app's frame: run picker, pages, links. Each page beside it answers one question; every view has a link.

Streamlit reads this file twice over: once as a module, for the server, which loads what pages need before it answers, and
then as a script for every view. `python -m analysis.app` starts it. Nothing here imports torch.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from analysis.rationales.table import Table

HERE = Path(__file__).resolve().parent
PAGES = (
    ("runs", "Runs", "Does it learn?", ":material/trending_up:"),
    ("rationales", "Rationales", "Which are right for the wrong reason?", ":material/search:"),
    ("faithfulness", "Faithfulness", "Does the model use its reasoning?", ":material/psychology:"),
    ("compare", "Compare", "What changed, and for whom?", ":material/compare_arrows:"),
    ("label", "Label", "Is the automatic score to be trusted?", ":material/rate_review:"),
)
READING = ("rationales", "faithfulness", "label")
"""Pages about single rationales: filters, order and the selected one go along between them (not from Label, where another
one is on show after every key, and the links above it are not drawn again)."""
_MOVES = "J next · K previous · X random"
KEYS = {
    "Rationales": f"{_MOVES} · T raw text or rendered; after Label here: S sound · U unsound · N not sure · 1 to 9 wrong from "
    "that step on · Z undo · H these keys",
    "Faithfulness": f"{_MOVES} · H these keys",
    "Compare": f"{_MOVES} · T raw text or rendered · H these keys",
    "Label": "S sound · U unsound · N not sure · 1 to 9 wrong from that step on · Z undo · J skip · K previous · X random · T raw "
    "text or rendered; step by step: S right · U wrong · N neutral; Rank three: 1, 2, 3 best first · T tie · J skip · H these keys",
}
"""Title of a page -> its keys."""
FIRST_VIEWS = 2
"""Seconds that views have for themselves before what only the page Compare needs is imported."""
LOOK_AGAIN = 5
"""Seconds after which an empty folder is looked at again."""


def frame() -> None:
    """One view: navigation, run picker, and the page that the link names."""
    from analysis.pages.widgets import context, parts, state, text

    pages = {name: st.Page(HERE / f"{name}.py", title=label, url_path=name) for name, label, _, _ in PAGES}
    home = st.Page(HERE / "runs.py", title="Runs", url_path="home", default=True)  # its address is that of the server
    current = st.navigation([home, *pages.values()], position="hidden")
    st.set_page_config(page_title=f"{current.title} · rationales", layout="wide")
    st.html(text.CSS)
    sources = context.sources()
    left, right = st.columns([2, 1], vertical_alignment="center")
    if sources:
        with right:
            shown = context.labels_of(sources)
            pick_run(shown)
    with left.container(horizontal=True, vertical_alignment="center", gap="small", key="navigation"):
        one = () if current.title == "Label" else ("id",)
        for name, _, _, icon in PAGES:
            carried = (*context.KEPT, *((*one, *parts.carried()) if name in READING else ()))
            st.page_link(pages[name], icon=icon, query_params=state.link(*carried))
        state.flip("keys", "?", "?", shortcut="H", type="tertiary", help="The keys of this page")
    if state.param("keys"):
        st.caption(KEYS.get(current.title, "H: these keys"))
    if not sources:
        nothing_here(context.arguments().root)
        return
    if sources[0].kind == "file" and current.title == "Runs":
        st.title("What is in this file?", anchor=False)
    else:
        st.title(next(question for _, label, question, _ in PAGES if label == current.title), anchor=False)
    if (asked := state.param("run")) is not None and asked not in shown:
        st.info("The run that this link names is not here; this is the newest one.", icon=":material/link_off:")
    current.run()


def pick_run(shown: Mapping[str, str]) -> None:
    """The list of runs, name -> words. Another run forgets what belonged to the one before."""
    from analysis.pages.widgets import context, state

    names = list(shown)
    kept = [name for name in st.query_params if name not in (*context.KEPT, "judge", "sort")]
    show = shown.__getitem__
    state.select("Run", "run", names, default=names[0], show=show, forget=kept, label_visibility="collapsed")


def nothing_here(root: Path) -> None:
    """An empty folder: say what to type next."""
    from analysis.pages.widgets import parts, text

    st.title("No runs yet", anchor=False)
    st.write(f"There is no run directory in the folder {text.plain(root)}. To make one, type:")
    parts.command("make train" if (HERE.parents[1] / "Makefile").is_file() else "star-train")
    st.write("It takes a few minutes and shows up here by itself while it is still going.")
    st.write("To look at rationales that you have, type:")
    parts.command("rationale-app --records FILE")
    look_again()


@st.fragment(run_every=LOOK_AGAIN)
def look_again() -> None:
    """Draw the whole page again once there is a run."""
    from analysis.pages.widgets import context

    if context.sources():
        st.rerun()


@asynccontextmanager
async def loaded(app: st.App) -> AsyncIterator[None]:
    """Answer at once; the newest table, and what pages need beside it, are read meanwhile, and views wait for the same reading."""
    preparing.start()
    yield


def prepare() -> None:
    """Go through one view of the newest table, then import what pages need: whatever is left for the first view makes it slow."""
    from analysis.pages.widgets import context
    from analysis.rationales.records import RecordError
    from analysis.rationales.table_reading import load_table
    from star.run import RunError

    sources = context.sources()
    if not sources:
        print(f"There is no run in {context.arguments().root} yet; the page says how to make one.", file=sys.stderr)
    else:
        try:
            warm(load_table(sources[0]))
        except (RecordError, RunError) as error:
            print(error, file=sys.stderr)
    if not sources or sources[0].kind == "run":  # its first page has charts; that of a file has none
        warm_charts()
    time.sleep(FIRST_VIEWS)
    warm_charts()
    import statsmodels.stats.contingency_tables  # the tests of the page Compare: seconds
    import statsmodels.stats.multitest  # noqa: F401


preparing = threading.Thread(target=prepare, daemon=True)


def warm_charts() -> None:
    """One chart: imports altair and its schema."""
    import altair
    import pandas

    altair.Chart(pandas.DataFrame({"x": [1]})).mark_point().encode(x="x:Q").to_dict()


def warm(table: Table) -> None:
    """What the page Rationales asks of a table: reads the texts, builds the index of ids, imports."""
    from analysis.pages.widgets import labelling, parts
    from analysis.rationales.filters import View, base_mask, count_cells, judges, select

    assert labelling
    if not len(table):
        return
    view = View(judge=(judges(table) or ["score"])[0])
    mask = base_mask(table, view)
    count_cells(table, view, mask)
    rows = select(table, view, mask)
    parts.window_frame(table, view, rows[: parts.WINDOW], {})
    table.row_of(table.rationale(int(rows[0])).id)


if __name__ == "__main__":
    frame()
else:
    app = st.App(__file__, lifespan=loaded)
