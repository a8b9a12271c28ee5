"""One equality of answers: it agrees with the graders, and probes, votes, checks and scores go by it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.checks.generic.outcome import answer_differs
from analysis.checks.reading import read
from analysis.faithfulness.batch import Settings, Subject
from analysis.faithfulness.layout import Layout
from analysis.faithfulness.running import probe_all
from analysis.faithfulness.sources import plain_task
from analysis.rationales.records import Record, matches_gold, record_from
from analysis.recovery.model import case_of
from benchmarks.scripted_models import ScriptedModel, byte_tokenizer, scripted_setup
from star.grading import answer_type_of, grade, is_right, same_answer, votes
from star.problem import AnswerType, Problem, Verdict
from star.prompting import PromptBuilder
from star.recipe import PromptingSettings
from tests.timing import at_most

CASES = json.loads((Path(__file__).parent / "grade_cases.json").read_text(encoding="utf-8"))
SPANS = [case for case in CASES if case["completion"].count("####") == 1 or case["kind"] == "choice"]
OPTIONS = {"A": "ignore", "B": "enforce", "C": "avoid"}
EIGHTEEN = [
    *("18", "18.", "18.0", "18.00", "018", "+18", "$18", "$18.00", "€18", "£ 18", "US$18", "18 USD", "18 dollars", "18%"),
    *("18 percent", "18 apples per day", "18/day", "18 km/h", "18 cm^2", "18 m²", "18°", "18 °C", "**18**", "`18`", "$18$"),
    *("\\(18\\)", "\\boxed{18}", "18 \\text{ apples}", "(18)", "x = 18", "= 18", "about 18", "≈18", "18!", "18 (dollars)"),
    *("36/2", "\\frac{36}{2}", "17 2/2", "1.8 x 10^1", "The answer is 18", "١٨"),
]


def span_of(case: dict) -> str:
    """The answer span of a grader's case, as a task would read it."""
    text = case["completion"].strip()
    return text.partition("####")[2] if "####" in text else text.rpartition("answer is ")[2].rstrip(".")


# ---------------------------------------------------------------------- agreement with the graders


@pytest.mark.parametrize("kind", ["number", "choice", "text", "math"])
def test_it_agrees_with_the_grader_of_each_task(kind: AnswerType) -> None:
    cases = [case for case in SPANS if case["kind"] == kind]
    assert len(cases) >= 20
    for case in cases:
        span, gold, choices = span_of(case), case["gold"], case.get("choices")
        verdict = grade(span, Problem("id", "question", gold, choices), kind)
        same = same_answer(span, gold, kind, choices, "question")
        assert same == (verdict == Verdict.correct), (case["id"], span, gold, verdict)
        assert same == same_answer(gold, span, kind, choices, "question"), case["id"]
        assert same_answer(span, span, kind, choices) == bool(span.strip()), case["id"]


_NUMBERS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "$", "-", "about ", "x = "]),
        st.sampled_from(["18", "0.5", "50", "1/2", "2/4", "36/2", "1,800", "3", "3000000", "0.03"]),
        st.sampled_from(["", "%", " million", " apples", ".", ".0", " or 4"]),
    ),
)
_SUMS = st.sampled_from(["883", "8 8 3", "0 8 8 3", "0883", "884", "8,83", "x", "88 3"])
_LABELS = st.sampled_from(["A", "b", "(B)", "enforce", "(b) enforce.", "(B) avoid", "(A) and (C)", "Z", "nothing"])
_TEXTS = st.sampled_from(["Ottawa", "ottawa.", "the Ottawa", '"Ottawa"', "Toronto", "(A)", "A", "a", "ＯＴＴＡＷＡ"])
BY_TYPE = {"number": _NUMBERS, "addition": _SUMS, "choice": _LABELS, "text": _TEXTS}


@given(st.data(), st.sampled_from(sorted(BY_TYPE)), st.sampled_from(["How many?", "How many millions?"]))
def test_same_answers_are_those_that_the_grader_accepts_for_one_another(
    data: st.DataObject, kind: AnswerType, question: str
) -> None:
    a, b = data.draw(BY_TYPE[kind]), data.draw(BY_TYPE[kind])
    choices = OPTIONS if kind == "choice" else None
    same = same_answer(a, b, kind, choices, question)
    assert same == same_answer(b, a, kind, choices, question)
    try:
        verdict = grade(a, Problem("id", question, b, choices), kind)
    except (ValueError, KeyError):
        return  # b is no gold answer
    if verdict in (Verdict.correct, Verdict.incorrect) and (choices is None or b in choices):
        assert same == (verdict == Verdict.correct), (a, b, verdict)


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["number", "addition", "choice", "text"]))
def test_any_text_can_be_compared(a: str, b: str, kind: AnswerType) -> None:
    assert same_answer(a, b, kind, OPTIONS) == same_answer(b, a, kind, OPTIONS)
    assert same_answer(a, a, kind, OPTIONS) == bool(a.strip())
    assert not same_answer(a, None, kind) and not same_answer(None, None, kind)


@pytest.mark.parametrize(
    ("a", "b", "kind", "same"),
    [
        ("8 8 3", "0883", "addition", True),
        ("50%", "0.5", "number", True),
        ("0.5", "50%", "number", True),
        ("50%", "50", "number", True),
        ("50", "0.5", "number", False),
        ("3 or 4", "3 or 4.", "number", True),
        ("3 or 4", "3", "number", False),
        ("\\frac{\\sqrt{8}}{2}", "\\sqrt{2}", "math", True),
        ("2x+1", "1 + 2x", "math", True),
        ("(1, 2)", "(2, 1)", "math", False),
        ("(B)", "b", "choice", True),
        ("The  Moon.", "the moon", "text", True),
    ],
)
def test_pairs(a: str, b: str, kind: AnswerType, same: bool) -> None:
    assert same_answer(a, b, kind) == same_answer(b, a, kind) == same


@pytest.mark.parametrize(
    ("answer", "choices", "kind"),
    [
        ("18", None, "number"),
        ("$1,234.50", None, "number"),
        ("8 8 3", None, "addition"),
        ("B", OPTIONS, "choice"),
        ("2\\sqrt{3}", None, "math"),
        ("x^2 - 1", None, "math"),
        ("(1, 2)", None, "math"),
        ("Ottawa", None, "text"),
        ("} ) ]", None, "text"),
        ("T-shirt, 2 pairs of socks", None, "text"),
        ("", None, "text"),
    ],
)
def test_how_an_answer_without_a_task_is_compared(answer: str, choices: dict[str, str] | None, kind: str) -> None:
    assert answer_type_of(answer, choices) == kind


def test_ten_thousand_pairs_in_two_seconds() -> None:
    with at_most(2):
        for k in range(10_000):
            same_answer(EIGHTEEN[k % len(EIGHTEEN)], str(k % 500), "number")


# ---------------------------------------------------------------------- the spellings of 18, everywhere


def test_all_spellings_are_the_same_answer() -> None:
    problem = Problem("id", "How many?", "18")
    assert [s for s in EIGHTEEN if grade(s, problem, "number") != Verdict.correct] == []
    assert [s for s in EIGHTEEN if not same_answer(s, "18", "number")] == []
    assert [s for s in EIGHTEEN if same_answer(s, "19", "number")] == []


class Respelled(ScriptedModel):
    """Writes every answer as `<answer> dollars` once it has to write it out."""

    def sample(self, prompts: object, decoding: object, *, progress: str | None = None) -> object:  # type: ignore[override]
        found = super().sample(prompts, decoding, progress=progress)  # type: ignore[arg-type]
        return [[self.respelled(c) for c in each] for each in found]

    def respelled(self, completion: object) -> object:
        from dataclasses import replace

        text = completion.text  # type: ignore[attr-defined]
        head, cue, answer = text.rpartition("The answer is ")
        return replace(completion, text=f"{head}{cue}{answer.strip().rstrip('.')} dollars.")  # type: ignore[type-var]


def test_a_change_of_spelling_is_no_change_of_the_models_answer() -> None:
    question = "Tom starts with 9. He adds 4, then 5. What is the result?"
    subject = Subject("s", Problem("id", question, "18"), "9 + 4 = 13\n13 + 5 = 18", "18")
    asking, answers = scripted_setup(Respelled(byte_tokenizer(), share=0.0))
    rows = [row for row in probe_all([subject], asking, answers, ("resample", "added_mistake")) if row.applicable]
    assert {row.answer_after for row in rows} == {"18 dollars"} and len(rows) >= 4
    assert [row.changed for row in rows] == [False] * len(rows)


@pytest.mark.parametrize("spelling", EIGHTEEN)
def test_probes_compare_by_meaning(spelling: str) -> None:
    task = plain_task()
    asking = Layout(task, PromptBuilder(task, byte_tokenizer(), PromptingSettings(shots=0)), shots=False)
    problem = Problem("id", "How many?", "18")
    assert asking.same(spelling, "18", problem) and asking.same("18", spelling, problem)
    assert not asking.same(spelling, "19", problem)


def test_an_option_may_be_recorded_by_its_text() -> None:
    question = "Tom starts with 9. He adds 4, then 5. What is the result?"
    problem = Problem("id", question, "B", {"A": "17", "B": "18"})
    asking, answers = scripted_setup(ScriptedModel(byte_tokenizer(), share=0.0))
    subject = Subject("s", problem, "9 + 4 = 13\n13 + 5 = 18", "(b) 18")
    rows = probe_all([subject], asking, answers, ("early_answering",), Settings())
    assert {row.reason for row in rows} == {None} and {row.answer_before for row in rows} <= {"A", "B"}


def test_spellings_vote_together() -> None:
    assert set(votes([(s, Verdict.incorrect) for s in EIGHTEEN], Problem("id", "How many?", "20"))) == {1}
    assert set(votes([(s, Verdict.correct) for s in EIGHTEEN], Problem("id", "How many?", "18"))) == {0}


@pytest.mark.parametrize(
    ("answers", "gold", "choices", "groups"),
    [
        (["7", "7.0", "8", "36/2", "18"], "9", None, [1, 1, 2, 3, 3]),
        (["(A)", "a", "ignore", "(C)", "avoid"], "B", OPTIONS, [1, 1, 1, 2, 2]),
        (["(A)", "(B)"], "C", {"A": "city", "B": "city", "C": "town"}, [1, 1]),
        (["Ottawa", "ottawa.", '"Ottawa"', "Toronto"], "Paris", None, [1, 1, 1, 2]),
        (["\\sqrt{8}", "2\\sqrt{2}", "\\sqrt{7}"], "\\sqrt{2}", None, [1, 1, 2]),
    ],
)
def test_wrong_answers_that_are_the_same_vote_together(
    answers: list[str], gold: str, choices: dict[str, str] | None, groups: list[int]
) -> None:
    assert votes([(answer, Verdict.incorrect) for answer in answers], Problem("id", "q", gold, choices)) == groups


@pytest.mark.parametrize(("right", "wrong", "gold"), [("50%", "50", "0.5"), ("2a", "2b", "2a"), ("x'", "x", "x'")])
def test_a_right_answer_does_not_vote_with_a_wrong_one(right: str, wrong: str, gold: str) -> None:
    assert votes([(right, Verdict.correct), (wrong, Verdict.incorrect)], Problem("id", "q", gold)) == [0, 1]


def test_what_is_no_answer_does_not_vote() -> None:
    said = [("72", Verdict.truncated), ("3 or 4", Verdict.ungradable), (None, Verdict.no_answer), (None, Verdict.truncated)]
    assert votes(said, Problem("id", "q", "72")) == [None] * 4


def test_a_bare_value_agrees_with_either_name_and_the_names_do_not() -> None:
    assert same_answer("x=5", "5", "math") and same_answer("5", "y=5", "math") and not same_answer("x=5", "y=5", "math")
    for said, groups in ((["x=5", "5", "y=5"], [1, 1, 2]), (["5", "x=5", "y=5"], [1, 1, 1])):
        assert votes([(answer, Verdict.incorrect) for answer in said], Problem("id", "q", "x^2")) == groups


@pytest.mark.parametrize("spelling", EIGHTEEN)
def test_checks_and_recoveries_read_every_spelling(spelling: str) -> None:
    assert read("How many?", ["3 * 6 = 18"], spelling).answer == 18.0
    assert answer_differs(read("Ann has 3 boxes of 6 pens. How many?", ["3 * 6 = 18"], spelling)) == []
    assert len(answer_differs(read("Ann has 3 boxes of 6 pens.", ["3 * 6 = 18", "18 * 4 = 72"], spelling))) == 1
    meta = {"cot_prefix": "3 * 6 = 19", "injected_value": "19"}
    assert case_of(Record("r", steps=("So 18.",), answer=spelling, meta=meta)).answer == 18.0


# ---------------------------------------------------------------------- records that nobody has graded


@pytest.mark.parametrize("spelling", EIGHTEEN)
def test_records_are_graded_by_the_same_equality(spelling: str) -> None:
    row = {"steps": ["3 * 6 = 18"], "answer": spelling, "gold": "18"}
    assert record_from(row, default_id="x").answer_correct is True
    assert record_from(row | {"gold": "19"}, default_id="x").answer_correct is False
    assert record_from(row | {"gold": spelling, "answer": "18"}, default_id="x").answer_correct is True
    assert matches_gold(Record("x", answer=spelling, gold="18")) is True


@pytest.mark.parametrize(
    ("answer", "gold", "choices", "right"),
    [
        ("(b) enforce", "B", OPTIONS, True),
        ("B", "enforce", OPTIONS, True),
        ("A", "(B)", OPTIONS, False),
        ("A or B", "B", OPTIONS, None),
        ("A", "none of them", OPTIONS, None),
        ("(A)", "A", None, True),
        ("1+2x", "2x + 1", None, True),
        ("ottawa", "Ottawa.", None, True),
        ("Toronto", "Ottawa", None, False),
        ("3 or 4", "3", None, None),
        (None, "3", None, None),
        ("3", None, None, None),
        (" ", "3", None, None),
    ],
)
def test_what_cannot_be_decided_stays_open(
    answer: str | None, gold: str | None, choices: dict[str, str] | None, right: bool | None
) -> None:
    assert is_right(answer, gold, choices) is right
    row = {"steps": ["a"], "answer": answer, "gold": gold, "choices": choices}
    assert record_from(row, default_id="x").answer_correct is right
    assert record_from(row | {"answer_correct": False}, default_id="x").answer_correct is False
