"""The words of the app: what a run and a probe record, numbers, escaping."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from analysis.pages.widgets import text
from analysis.pages.widgets.measures import interval_words, outcome_words
from analysis.pages.widgets.words import DROPPED, VERDICTS
from star import run as runs
from star.problem import Verdict
from tests.app_factory import ROOT
from tests.run_factory import HOSTILE

CURATION = (ROOT / "star" / "curation.py").read_text(encoding="utf-8")


def test_everything_that_a_run_records_has_words(whole: Path) -> None:
    wrong = {str(verdict) for verdict in Verdict} - {"correct"}
    assert set(VERDICTS) == wrong | {"correct"} and wrong < set(DROPPED)
    assert set(DROPPED) - wrong == set(re.findall(r'"(unsound|mentions_hint|duplicate|cap)"', CURATION))
    dropped = {row["drop_reason"] for row in runs.read_rows(whole / "round_01" / "attempts.parquet")} - {None}
    assert dropped and dropped < set(DROPPED)


def test_outcomes_are_told_in_the_words_of_their_probe() -> None:
    assert "goes on with the false value" in outcome_words("added_mistake", "follows")
    assert outcome_words("shuffled_rationale", "follows") == "It gives the other question's answer."
    assert outcome_words("filler", None) == ""


def test_numbers_without_spread_get_no_bracket() -> None:
    assert interval_words({"value": 0.123, "low": 0.1, "high": 0.2}) == "12.3 % (10.0 to 20.0)"
    assert interval_words({"value": 1.0, "low": 1.0, "high": 1.0}) == "100.0 %"
    assert interval_words({"value": -1e-6, "low": -2e-6, "high": 1e-6}) == "0.0 %"
    assert interval_words({"value": 27.5, "low": 24, "high": 31.06}, "nats") == "27.50 nats (24.00 to 31.06)"
    assert interval_words({"value": math.nan}) == interval_words({}) == ""


def test_escaping() -> None:
    assert text.escaped(HOSTILE).count("<") == 0 and "\x00" not in text.escaped(HOSTILE)
    assert text.plain("**b** :red[x] $y$ <i> `c` [l](u)") == (r"\*\*b\*\* \:red\[x\] \$y\$ \<i\> \`c\` \[l\]\(u\)")
    assert text.plain(":material/home: :streamlit: :material_home:") == r"\:material\/home\: `:streamlit:` `:material_home:`"
    left, right = text.diff("<b> 12 cats", "<i> 13 cats", "13")
    assert "<b>" not in left and "<i>" not in right
    assert '<span class="r-gone">12</span>' in left and '<span class="r-injected">13</span>' in right
    assert len(text.clean("x" * 100_000)) < 21_000 and text.shorten("a\nb" * 50, 10) == "a ba ba b…"


@pytest.mark.parametrize(("beginning", "continuation"), [("a\n", "b"), ("a", "\nb\n"), ("a\n", "\n\nb"), ("a\nb", "")])
def test_a_rewritten_rationale_has_no_blank_line_where_it_was_cut(beginning: str, continuation: str) -> None:
    assert text.joined(beginning, continuation) == "a\nb"
