"""One rationale on a page: its question, its steps with what is known about each, its judgement and all that is recorded."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import streamlit as st

from analysis.pages.widgets import markup, parts, state, text
from analysis.pages.widgets.words import DROPPED, MODES, NO_REASON, VERDICTS, right_words
from analysis.rationales.scorer_columns import SAID
from analysis.rationales.table import UNKNOWN, Rationale, Table, search_terms
from analysis.soundness.grades import score_words
from analysis.soundness.scorer import STATUSES, Status
from star.charts import COLOURS
from star.errors import counted

MOST_STEPS = 500
Notes = dict[int, list[str]]
"""Step -> what stands below it."""


def raw() -> bool:
    """Whether texts are shown as they were written."""
    return state.param("raw") is not None


def raw_button() -> None:
    """Switches between texts as they were written and as Markdown."""
    state.flip(
        "raw",
        "Rendered",
        "Raw",
        shortcut="T",
        icon=":material/code:",
        help="Formulas, bold, lists and code, or the text as it is.",
    )


def question(one: Rationale) -> None:
    """The question and its options."""
    hits = search_terms(state.param("words") or "")
    with st.container(key="question"):
        if raw() or not (markup.has_markup(one.question) or markup.is_code(one.question)):
            text.question(one.question, hits)
        elif markup.is_code(one.question):
            st.code(text.clean(one.question), language=None, wrap_lines=True)
        else:
            st.markdown(markup.markdown(text.clean(one.question), hits))
    if one.choices and (raw() or not any(map(markup.has_markup, one.choices.values()))):
        text.facts(list(one.choices.items()))
    elif one.choices:
        shown = {text.plain(label): markup.markdown(text.clean(option)) for label, option in one.choices.items()}
        st.markdown("\n\n".join(f"**{label}**\u2003{option}" for label, option in shown.items()))


def steps(
    one: Rationale,
    *,
    blind: bool = False,
    error_step: int | None = None,
    place: str = "",
    notes: Mapping[int, str] | None = None,
) -> None:
    """The steps, with the first wrong or likeliest wrong one marked and the reason under every flagged step.

    `error_step`: a person's label instead of the automatic one. `blind`: neither marks nor reasons. Only what is proven or
    labelled has the colour of an error. `place` tells several rationales on a page apart. `notes`: step -> more words below it.
    """
    if not one.steps:
        st.caption("This rationale is empty.")
        return
    marks, reasons, certain = _marks(one, blind, error_step)
    for place_of, words in (notes or {}).items():
        marks.setdefault(place_of, []).append(words)
    hits = search_terms(state.param("words") or "")
    shown = one.steps[:MOST_STEPS]
    code = markup.is_code("\n".join(shown))
    prose = not code and any(map(markup.is_prose, shown))
    style = {i: "first" if i in certain else "flagged" for i in {*marks, *reasons}}
    with st.container(key=f"steps-{place}", gap="xsmall"):
        if code or raw() or not any(map(markup.has_markup, shown)):
            steps = [step_line(i, step, style.get(i, ""), marks, reasons, hits) for i, step in enumerate(shown)]
            st.html(f'<ol class="r-steps{" r-prose" if prose else ""}">{"".join(steps)}</ol>')
        else:
            for _, group in itertools.groupby(range(len(shown)), key=lambda i: i if i in style else -1):
                places = list(group)
                with st.container(key=f"{style.get(places[0], 'plain')}-step-{place}-{places[0]}"):
                    st.markdown("\n".join(_markdown_step(i, shown[i], marks, reasons, hits) for i in places))
    if len(one.steps) > MOST_STEPS:
        st.caption(f"Not shown: {counted(len(one.steps) - MOST_STEPS, 'more step')}.")
    for message in reasons.get(-1, []):
        st.html(f'<div class="r-why">\u21b3 the whole: {text.escaped(message)}</div>')
    names = {words: "unsound" if i in certain else "rationalized" for i, said in marks.items() for words in said}
    entries = [(COLOURS[colour], words) for words, colour in names.items() if words not in (notes or {}).values()]
    if any(step >= 0 and step not in marks for step in reasons):
        entries.append((COLOURS["rationalized"], "another doubt"))
    if entries:
        text.key(*entries)


def _marks(one: Rationale, blind: bool, error_step: int | None) -> tuple[Notes, Notes, set[int]]:
    """(step -> what it is called, step -> reasons to doubt it, steps whose error is proven or labelled)."""
    marks: Notes = {}
    reasons: Notes = {}
    certain: set[int] = set()
    for flag in () if blind else one.flags:
        reasons.setdefault(flag.step, []).append(flag.message or parts.check_words(flag.check))
    if error_step is not None:
        marks[error_step] = ["first wrong step by your label"]
        certain.add(error_step)
    if not blind and one.human_step >= 0:
        marks.setdefault(one.human_step, []).append("first wrong step by the label in the file")
        certain.add(one.human_step)
    if not blind and error_step is None and one.first_error >= 0:
        marks.setdefault(one.first_error, []).append("proven wrong" if one.p_unsound == 1 else "likeliest wrong step")
        reasons.setdefault(one.first_error, [NO_REASON])
        if one.p_unsound == 1:
            certain.add(one.first_error)
    return marks, reasons, certain


def step_line(i: int, step: str, style: str, marks: Notes, reasons: Notes, hits: Sequence[str] = (), first: int = 1) -> str:
    """HTML of step `i`, 0-based, with what it is called and why below it. `first`: number of step 0."""
    below = "".join(f'<div class="r-why r-mark" dir="auto">\u25b2 {text.escaped(words)}</div>' for words in marks.get(i, []))
    below += "".join(f'<div class="r-why" dir="auto">\u21b3 {text.escaped(why)}</div>' for why in reasons.get(i, []))
    body = f'<div class="r-text" dir="auto">{text.with_hits(step, hits)}{below}</div>'
    return f'<li class="r-step{style and f" r-{style}"}"><span class="r-no">{i + first}</span>{body}</li>'


def _markdown_step(i: int, step: str, marks: Notes, reasons: Notes, hits: list[str]) -> str:
    below = [f"\u25b2 **{words}**" for words in marks.get(i, [])]
    below += [f"\u21b3 {text.plain(why)}" for why in reasons.get(i, [])]
    return markup.item(i + 1, "\n\n".join([markup.markdown(text.clean(step), hits), *below]))


def judgement(one: Rationale, scorers: Sequence[str] = ()) -> None:
    """Right or wrong, sound or unsound, how sure the score is, and what each scorer said."""
    right = right_words(one.row["right"])
    said = "none" if one.answer is None else text.shorten(one.answer, 200)
    gold = f" (expected {text.shorten(one.gold, 200)})" if one.gold is not None and right != "right" else ""
    exact = {1: "sound by the task's exact check", 0: "unsound by the task's exact check"}.get(one.row["exact"])
    human = {1: "sound by the label in the file", 0: "unsound by the label in the file"}.get(one.row["human"])
    if human and one.human_step >= 0:
        human += f", step {one.human_step + 1}"
    pairs: list[tuple[str, object]] = [
        ("answer", f"{said}: {right}{gold}"),
        ("gold", one.gold if right == "right" else None),
        ("reasoning", "; ".join(part for part in (human, exact) if part)),
        ("a program's label", _program_words(one.row.get("program_step"))),
        ("evidence", _evidence(one)),
        *((name, _scorer_words(one.row, name)) for name in scorers),
    ]
    text.facts(pairs, {"evidence": "r-proven" if one.p_unsound == 1 else ""})


def _program_words(step: int | None) -> str:
    """What a label of the file with `label_source` auto says; nothing where there is none."""
    if step is None or step == UNKNOWN:
        return ""
    return f"{'sound' if step < 0 else f'unsound from step {step + 1}'} (label_source: auto; people's labels and proofs judge here)"


def _evidence(one: Rationale) -> str:
    """ "flagged by the score at 0.65 (0.83), most of all step 3", or "not judged: " and why."""
    where = "" if one.first_error < 0 else f"{': ' if one.p_unsound == 1 else ', most of all '}step {one.first_error + 1}"
    return score_words(one.p_unsound) + where + _why(one.row.get("status"))


def _scorer_words(row: Mapping[str, Any], name: str) -> str:
    """What one scorer said: a probability, which is no proof even where it is 1, or why there is none."""
    p, step, status, why = (row.get(f"{name}_{column}") for column in SAID)
    if p is None:
        return f"not judged{_why(status, why)}" if status else "not asked"
    where = f", most of all step {int(step) + 1}" if step is not None and step >= 0 else ""
    return f"{100 * p:.0f} % unsound{where}{_why(status)}"


def _why(status: str | None, why: str | None = None) -> str:
    """ ": " and what a status other than ok means, in the scorer's words or ours."""
    return f": {why or STATUSES.get(cast(Status, status), status)}" if status and status != "ok" else ""


def provenance(one: Rationale) -> None:
    """Where the attempt came from."""
    row = one.row
    number = row.get("round")
    kept = row.get("kept")
    reason = DROPPED.get(str(row.get("drop_reason")))
    fate = "became a training row" if kept is True or kept == 1 else f"dropped: {reason}" if reason else ""
    text.facts(
        [
            ("id", one.id),
            ("made in", None if number is None else parts.facet_words("round", str(number))),
            ("how", MODES.get(str(row.get("mode")), row.get("mode"))),
            ("split", row.get("split")),
            ("kind of task", parts.facet_words("slice", row["slice"]) if row.get("slice") else None),
            ("written by", row.get("generator")),
            ("verdict", VERDICTS.get(str(row.get("verdict")))),
            ("what became of it", fate),
            ("length", f"{counted(row['tokens'], 'token')}, {counted(len(one.steps), 'step')}" if row.get("tokens") else None),
        ]
    )


def everything(table: Table, row: int, one: Rationale) -> None:
    """All that is recorded of a rationale, as JSON; drawn once it is opened, for the browser needs a second for code."""
    opened = st.expander("Everything that is recorded", icon=":material/data_object:", key="everything", on_change="rerun")
    if not opened.open:
        return
    with opened:
        recorded = table.texts.get("record", row) or json.dumps({**one.row, "steps": list(one.steps)}, default=str)
        content = json.dumps(json.loads(recorded), indent=1, ensure_ascii=False)
        st.code(text.clean(content), language=None, wrap_lines=True)
