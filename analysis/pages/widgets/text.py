"""Text of models and files on a page: always as text, never as HTML or Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

import streamlit as st

from star.charts import COLOURS

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_MARKDOWN = re.compile(r":(?:material_\w+|streamlit):|[\\`*_{}\[\]()#+\-.!|~<>$:&/]")
"""Marks, and names of icons, which the browser draws wherever they stand but in code."""
LONGEST = 20_000
"""Characters of one step that are shown; a browser chokes on megabytes in one line."""

CSS = f"""
<style>
.block-container {{ padding: 3rem 2.4rem 4rem; max-width: 1500px; }}
@media (max-width: 1000px) {{
  .block-container {{ padding: 2.6rem 1.1rem 3rem; }}
  .block-container h1 {{ font-size: 1.5rem !important; }}
  [class*="st-key-stack-"] > [data-testid="stLayoutWrapper"] > [data-testid="stHorizontalBlock"] {{
    flex-direction: column; }}
  [class*="st-key-stack-"] > [data-testid="stLayoutWrapper"] > [data-testid="stHorizontalBlock"]
    > [data-testid="stColumn"] {{ width: 100%; min-width: 100%; }}
}}
.st-key-labelling {{ position: sticky; top: 2.2rem; z-index: 90; background: light-dark(#fff, #171614); }}
@media (max-width: 1000px) {{
  .st-key-labelling:not(:empty) {{ position: fixed; top: auto; bottom: 0; left: 0; right: 0; width: auto; padding: .4rem 1.1rem;
    gap: .4rem; border-top: 1px solid #80808055; }}
  .st-key-labelling .stTextInput {{ max-width: 50%; }}
  .st-key-browse > [data-testid="stLayoutWrapper"] > [data-testid="stHorizontalBlock"] {{ gap: 1rem; }}
  .st-key-browse > [data-testid="stLayoutWrapper"] > [data-testid="stHorizontalBlock"] > [data-testid="stColumn"]:first-child {{
    flex: 0 1 46%; }}
  .block-container:has(.st-key-labelling button) {{ padding-bottom: 14rem; }}
}}
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] * {{ opacity: 1;
  color: light-dark(#575757, #b4b4b4) !important; }}
h2, h3 {{ font-size: 1.25rem !important; }}
[data-testid="stHeader"] {{ background: transparent; height: 2rem; }}
[data-testid="stHeader"], [data-testid="stToolbar"] {{ pointer-events: none; }}
[data-testid="stHeader"] button {{ pointer-events: auto; }}
h1 {{ font-size: 2rem !important; padding: .3rem 0 !important; }}
ol.r-steps {{ margin: 0 !important; padding: 0 !important; list-style: none; font-size: .92rem; }}
li.r-step {{ margin: 0 !important; display: flex; gap: .7rem; padding: .32rem .6rem;
  border-left: 4px solid transparent; border-radius: 4px; }}
.r-no {{ opacity: .6; min-width: 1.4rem; text-align: right; font-variant-numeric: tabular-nums; }}
.r-text {{ white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, "DejaVu Sans Mono", monospace;
  flex: 1; min-width: 0; }}
.r-prose .r-text {{ font-family: inherit; }} .r-proven {{ color: light-dark(#a3341a, #ff9e80); font-weight: 600; }}
[class*="st-key-first-step"] {{ border-left: 4px solid {COLOURS["unsound"]}; background: {COLOURS["unsound"]}26; }}
[class*="st-key-flagged-step"] {{ border-left: 4px solid {COLOURS["rationalized"]}; background: {COLOURS["rationalized"]}1f; }}
[class*="st-key-steps-"] ol {{ padding-left: 2rem; margin: 0; }}
[class*="st-key-steps-"] .stMarkdown :is(p, li) {{ font-size: .92rem; margin-bottom: .2rem; }}
[class*="st-key-steps-"] [data-testid="stMarkdownContainer"] {{ margin: .2rem 0 !important; }} /* not the -1rem for p */
.st-key-question p {{ font-size: 1.02rem; font-weight: 600; }}
.st-key-question p, [class*="st-key-steps-"] p, [class*="st-key-steps-"] li {{ unicode-bidi: plaintext; text-align: start;
  overflow-wrap: anywhere; }}
.katex-display {{ overflow-x: auto; overflow-y: hidden; }}
li.r-flagged {{ border-left-color: {COLOURS["rationalized"]}; background: {COLOURS["rationalized"]}1f; }}
li.r-settled {{ border-left-color: {COLOURS["faithfulness"]}; }}
li.r-first {{ border-left-color: {COLOURS["unsound"]}; background: {COLOURS["unsound"]}26; }}
.r-why {{ font-family: "Source Sans", sans-serif; font-size: .88rem; margin-top: .15rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }}
.r-mark {{ font-weight: 600; }}
.r-key {{ font-size: .82rem; opacity: .85; display: flex; gap: 1.2rem; flex-wrap: wrap; margin: .3rem 0; }}
.r-key i {{ display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .4rem;
  vertical-align: -1px; }}
dl.r-facts {{ margin: 0 !important; padding: 0 !important; display: grid;
  grid-template-columns: max-content 1fr; gap: .18rem .9rem; font-size: .9rem; }}
.r-facts dt {{ opacity: .68; font-weight: 400; margin: 0 !important; }} .r-facts dd {{ margin: 0 !important;
  white-space: pre-wrap; overflow-wrap: anywhere; }}
.r-question {{ white-space: pre-wrap; overflow-wrap: anywhere; font-size: 1.02rem; font-weight: 600; margin: 0; }}
.r-box {{ white-space: pre-wrap; overflow-wrap: anywhere; font-family: ui-monospace, "DejaVu Sans Mono", monospace;
  font-size: .88rem; padding: .5rem .7rem; border: 1px solid #80808055; border-radius: 6px; margin: 0; }}
.r-gone {{ background: {COLOURS["accuracy"]}33; text-decoration: line-through; border-radius: 3px; }}
.r-new {{ background: {COLOURS["rationalized"]}4d; border-radius: 3px; font-weight: 600; }}
.r-injected {{ background: {COLOURS["unsound"]}59; border-radius: 3px; font-weight: 700; }}
button[data-variant="segmented_control"][data-selected="true"] {{ color: inherit !important; }}
.st-key-browse [data-testid="stElementToolbar"] {{ display: none; }} /* it knows the loaded rows alone */
[class*="st-key-cell-"] button p {{ white-space: normal; overflow: visible; }}
.st-key-cell-right-sound button {{ border-left: 6px solid {COLOURS["sound"]}; }}
.st-key-cell-right-unsound button {{ border-left: 6px solid {COLOURS["unsound"]}; }}
.st-key-cell-wrong-sound button {{ border-left: 6px solid {COLOURS["generated"]}; }}
.st-key-cell-wrong-unsound button {{ border-left: 6px solid {COLOURS["neutral"]}; }}
</style>
"""


def clean(text: object) -> str:
    """Control and direction-changing characters made visible, length limited; not yet escaped."""
    shown = _CONTROL.sub("�", str(text))
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} … ({len(shown) - LONGEST:,} characters more)"


def escaped(text: object) -> str:
    """Ready to be put between HTML tags or into a quoted attribute."""
    return html.escape(clean(text), quote=True)


def plain(text: object) -> str:
    """Ready to be put into a label, caption or button, which all read Markdown: every mark of it is escaped."""
    return _MARKDOWN.sub(lambda m: f"`{m[0]}`" if len(m[0]) > 1 else f"\\{m[0]}", " ".join(clean(text).split()))


def shorten(text: object, length: int) -> str:
    """One line of at most `length` characters."""
    line = " ".join(clean(text).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def question(text: str, hits: Sequence[str] = ()) -> None:
    """The question, as it is."""
    st.html(f'<p class="r-question" dir="auto">{with_hits(text, hits) or "(no question recorded)"}</p>')


def with_hits(text: str, hits: Sequence[str]) -> str:
    """HTML of a text with the words that were searched marked."""
    if not hits:
        return escaped(text)
    pieces = re.split(f"({'|'.join(map(re.escape, hits))})", clean(text), flags=re.I)
    return "".join(f"<mark>{escaped(piece)}</mark>" if i % 2 else escaped(piece) for i, piece in enumerate(pieces))


def box(text: str) -> None:
    """A block of text in the typewriter face, as it is."""
    st.html(f'<p class="r-box">{escaped(text)}</p>')


def facts(pairs: list[tuple[str, object]], styles: Mapping[str, str] | None = None) -> None:
    """Names and values in two columns; empty values are left out. `styles`: name -> class of its value."""
    style = styles or {}
    shown = [(name, value) for name, value in pairs if value is not None and value != ""]
    rows = [f'<dt>{escaped(n)}</dt><dd class="{style.get(n, "")}" dir="auto">{escaped(v)}</dd>' for n, v in shown]
    if rows:
        st.html(f'<dl class="r-facts">{"".join(rows)}</dl>')


def key(*entries: tuple[str, str]) -> None:
    """A legend: (colour, words of the project) pairs."""
    items = "".join(f'<span><i style="background:{colour}"></i>{escaped(words)}</span>' for colour, words in entries)
    st.html(f'<div class="r-key">{items}</div>')


def joined(beginning: str, continuation: str) -> str:
    """A text and how it goes on, on a new line; neither brings a blank line of its own."""
    return "\n".join(part.strip("\n") for part in (beginning, continuation) if part.strip("\n"))


def diff(before: str, after: str, injected: str = "") -> tuple[str, str]:
    """HTML of two texts with their differences marked, word by word; `injected` has a mark of its own where it is new."""
    left, right = (re.findall(r"\s+|[^\W\d_]+|\d+(?:[.,]\d+)*|.", clean(text), re.S) for text in (before, after))
    left, right = left[:1_500], right[:1_500]
    sides: tuple[list[str], list[str]] = ([], [])
    for tag, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        for side, words, marked in ((sides[0], left[a:b], "r-gone"), (sides[1], right[c:d], "r-new")):
            for word in words:
                style = "" if tag == "equal" else "r-injected" if (marked, word) == ("r-new", injected) else marked
                side.append(f'<span class="{style}">{html.escape(word)}</span>' if style else html.escape(word))
    return "".join(sides[0]), "".join(sides[1])


def marked(body: str) -> None:
    """A box around HTML made by `diff`."""
    st.html(f'<p class="r-box">{body or "(nothing)"}</p>')
