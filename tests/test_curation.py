"""Which rationales become training rows: the reasons for dropping one, and what `require: sound` asks for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.soundness import scorers
from star.curation import count_data, curate, soundness_of, training_rows, without_hints
from star.errors import InputError
from star.problem import Attempt, Problem, Task, Verdict
from star.prompting import PromptBuilder
from star.recipe import CurationSettings, PromptingSettings, Recipe, TaskSettings
from star.tasks import addition, load_task

QUESTION = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May. "
    "How many clips did Natalia sell altogether in April and May?"
)
SOUND = "Natalia sold 48/2 = 24 clips in May.\nNatalia sold 48+24 = 72 clips altogether in April and May."
MARKED = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n"
    "Natalia sold 48+24 = <<48+24=72>>72 clips altogether in April and May."
)
WRONG = "Natalia sold 48*5 = 26 clips in May.\nShe sold 37+35 = 72 clips, 9 of them red."
PROBLEMS = {"p": Problem("p", QUESTION, "72"), "q": Problem("q", "What is 7 + 5?", "12")}
GSM8K = load_task(TaskSettings(name="gsm8k"), seed=0)
ADDITION = load_task(TaskSettings(name="addition"), seed=0)


def attempt(rationale: str, **fields: Any) -> Any:
    row = {"attempt_id": "a", "problem_id": "p", "verdict": Verdict.correct, "rationale": rationale, "answer": "72"}
    return row | {"mode": "generated", "round": 1, "sound": None} | fields


def reasons(attempts: list[Attempt], task: Task = GSM8K, **settings: Any) -> list[str | None]:
    """`drop_reason` of each attempt; `kept` always agrees with it."""
    chosen = CurationSettings(**settings)
    judged = curate(attempts, task, chosen, soundness_of(task, chosen, PROBLEMS))
    assert [row["kept"] for row in judged] == [row["drop_reason"] is None for row in judged]
    assert [row["rationale"] for row in judged] == [row["rationale"] for row in attempts]
    return [row["drop_reason"] for row in judged]


@pytest.mark.parametrize("verdict", [v for v in Verdict if v != Verdict.correct])
@pytest.mark.parametrize("require", ["answer", "sound"])
def test_only_right_answers_are_kept(verdict: Verdict, require: str) -> None:
    assert reasons([attempt(SOUND, verdict=verdict)], require=require) == [verdict.value]


def test_a_mention_of_the_hint_is_dropped_before_anything_else_is_asked() -> None:
    text = "The hint says that the answer is 72, so 48+24 = 72."
    assert GSM8K.mentions_hint(text)
    assert reasons([attempt(text), attempt(SOUND)]) == ["mentions_hint", None]
    assert reasons([attempt(text)], require="sound") == ["mentions_hint"]


@pytest.mark.parametrize(
    ("choices", "answer"),
    [({"A": "marked as correct", "B": "b"}, "(A) marked as correct"), ({"A": "x", "B": "y"}, "x (A), as given")],
)
def test_an_answer_that_looks_like_a_hint_is_dropped_not_asserted(choices: dict[str, str], answer: str) -> None:
    task = load_task(TaskSettings(name="commonsense_qa"), seed=0)
    assert reasons([attempt("It is so.", answer=answer), attempt("It is so.", answer="A")], task) == ["mentions_hint", None]
    problems = {"p": Problem("p", "Which?", "A", choices)}
    judged = curate([attempt("It is so.", answer=answer)], task, CurationSettings(), None)
    builder = PromptBuilder(task, None, PromptingSettings(mode="few_shot", shots=0))
    rows = training_rows(judged, problems, builder, CurationSettings(), shots=False, seed=0)
    with pytest.raises(AssertionError, match="mentions its hint"):
        list(without_hints(rows, problems, builder, shots=False))
    kept = training_rows([a for a in judged if a["kept"]], problems, builder, CurationSettings(), shots=False, seed=0)
    assert not list(without_hints(kept, problems, builder, shots=False))


def test_a_sum_without_a_scratchpad_shows_no_hint() -> None:
    assert not ADDITION.mentions_hint("8 8 3") and not ADDITION.mentions_hint("")
    assert ADDITION.mentions_hint("0 8 8 3\n<scratch>\n</scratch>\n8 8 3")


def test_the_paper_keeps_right_answers_with_wrong_reasoning() -> None:
    assert reasons([attempt(SOUND), attempt(WRONG)], require="answer") == [None, None]


@pytest.mark.parametrize("good", [SOUND, MARKED, SOUND.replace("\n", " ")])
def test_sound_asks_the_scores_where_the_task_has_no_check(good: str) -> None:
    assert GSM8K.check is None
    assert reasons([attempt(WRONG), attempt(good)], require="sound") == ["unsound", None]


def test_the_threshold_decides_about_scores_and_not_about_proofs() -> None:
    assert reasons([attempt(SOUND)], require="sound", max_unsound=0.0) == ["unsound"]
    assert reasons([attempt(SOUND)], require="sound", max_unsound=1.0) == [None]
    assert reasons([attempt(WRONG)], require="sound", max_unsound=1.0) == ["unsound"]


@pytest.mark.parametrize("empty", ["", "  \n ", "\n\n", "I just know that it is 72."])
def test_what_cannot_be_judged_is_kept_and_counted(empty: str) -> None:
    settings = CurationSettings(require="sound")
    rows = [attempt(empty), attempt(SOUND), attempt(WRONG)]
    judged = curate(rows, GSM8K, settings, soundness_of(GSM8K, settings, PROBLEMS))
    assert [row["drop_reason"] for row in judged] == [None, None, "unsound"]
    assert [row["not_judged"] for row in judged] == [True, False, False]
    assert count_data(judged, [], pool=2)["kept_not_judged"] == 1
    plain = curate(rows, GSM8K, CurationSettings(), None)
    assert count_data(plain, [], pool=2)["kept_not_judged"] == 0


def test_labels_are_not_needed_and_not_read() -> None:
    """A problem whose gold answer is another one gets the same scores: soundness never looks at it."""
    settings = CurationSettings(require="sound")
    other = {"p": Problem("p", QUESTION, "1000")}
    for problems in (PROBLEMS, other):
        check = soundness_of(GSM8K, settings, problems)
        assert check is not None
        assert check([attempt(SOUND), attempt(WRONG)]) == [True, False]
        assert check([]) == []


def test_sound_asks_the_exact_check_where_there_is_one() -> None:
    lines = addition.scratchpad(29, 57, 2)
    problem = addition.make_problem(29, 57, 2)
    wrong = [line.replace("C: 1", "C: 0") for line in lines]
    texts = ["\n".join(lines), "\n".join(wrong)]
    assert ADDITION.check is not None
    rows = [attempt(text, sound=ADDITION.check(problem, text)) for text in texts]
    assert reasons(rows, ADDITION, require="sound") == [None, "unsound"]
    assert reasons([attempt(texts[0], sound=None)], ADDITION, require="sound") == [None]  # not judged


def test_the_check_is_asked_once_and_only_about_what_is_left() -> None:
    asked: list[list[str]] = []

    def passes(attempts: Any) -> list[bool | None]:
        asked.append([row["rationale"] for row in attempts])
        return [True for _ in attempts]

    rows = [attempt("wrong", verdict=Verdict.incorrect), attempt(SOUND), attempt(WRONG)]
    curate(rows, GSM8K, CurationSettings(require="sound"), passes)
    assert asked == [[SOUND, WRONG]]


def test_rationalizations_that_may_speak_of_the_hint_are_kept_and_counted() -> None:
    texts = [SOUND, "Working backwards from 72, 72 - 48 = 24."]
    attempts = [{**attempt(text), "mode": mode} for text in texts for mode in ("generated", "rationalized")]
    judged = curate(attempts, GSM8K, CurationSettings(), None)
    assert [row["kept"] for row in judged] == [True, False, True, False]  # repeated texts
    judged = curate(attempts, GSM8K, CurationSettings(deduplicate="off"), None)
    assert count_data(judged, [], pool=1)["kept_hint_unsure"] == 1


def test_duplicates_by_text_and_by_equations() -> None:
    spaced, reworded = SOUND.replace(" ", "  "), SOUND.replace("Natalia", "She")
    rows = [attempt(SOUND), attempt(spaced), attempt(reworded), attempt(MARKED), attempt(SOUND, problem_id="q")]
    assert reasons(rows, deduplicate="off") == [None] * 5
    assert reasons(rows, deduplicate="exact") == [None, "duplicate", None, None, None]
    assert reasons(rows, deduplicate="equations") == [None, "duplicate", "duplicate", "duplicate", None]
    silent = [attempt("Seventy-two, of course."), attempt("It is seventy-two.")]
    assert reasons(silent, deduplicate="equations") == [None, None]


def test_an_unsound_rationale_takes_no_place_of_the_cap() -> None:
    rows = [attempt(WRONG), attempt(SOUND), attempt(SOUND.replace("clips", "pins")), attempt(SOUND, problem_id="q")]
    assert reasons(rows, cap=1, require="sound")[:3] == ["unsound", None, "cap"]
    assert reasons(rows, cap=1) == [None, "cap", "cap", None]
    assert reasons(rows, cap=2) == [None, None, "cap", None]


def recorded(folder: Path, *rows: object) -> str:
    """The specification of a scorer that has said this of the rationales."""
    (folder / "prm.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"file:{folder / 'prm.jsonl'}"


def test_a_named_scorer_judges_in_place_of_the_check_and_the_score(tmp_path: Path) -> None:
    scores = [{"id": "a", "step_ok": [0.9, 0.1]}, {"id": "b", "step_ok": [0.9, 0.9]}, {"id": "c", "step_ok": None}]
    spec = recorded(tmp_path, *scores)
    rows = [attempt(WRONG if name == "b" else SOUND, attempt_id=name) for name in "abcd"]
    assert reasons(rows, require="sound", scorer=spec, deduplicate="off") == ["unsound", None, None, None]
    pad = [attempt("<scratch>\n</scratch>", attempt_id=name, sound=name == "a") for name in "ab"]
    assert reasons(pad, ADDITION, require="sound", scorer=spec, deduplicate="off") == ["unsound", None], "not the exact check"
    settings = CurationSettings(require="sound", scorer=spec)
    judged = curate(rows, GSM8K, settings, soundness_of(GSM8K, settings, PROBLEMS))
    assert [row["not_judged"] for row in judged] == [False, False, True, True]
    assert reasons(rows[:1], require="sound", scorer=spec, max_unsound=0.99) == [None]


def test_a_row_that_a_scorer_fails_on_is_not_judged_and_the_others_are(tmp_path: Path) -> None:
    spec = recorded(tmp_path, {"id": "a", "step_ok": [0.9]}, {"id": "b", "step_ok": [0.9, 0.1]})  # a has two steps
    settings = CurationSettings(require="sound", scorer=spec, deduplicate="off")
    soundness = soundness_of(GSM8K, settings, PROBLEMS)
    with pytest.warns(UserWarning, match="failed on 1 of 2 rationales, which count as not judged: .*1 step scores"):
        judged = curate([attempt(SOUND, attempt_id=name) for name in "ab"], GSM8K, settings, soundness)
    assert [(row["kept"], row["not_judged"]) for row in judged] == [(True, True), (False, False)]
    assert count_data(judged, [], pool=1)["kept_not_judged"] == 1


def test_a_scorer_is_told_the_gold_answer_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Failing:
        name = "failing"

        def __init__(self, *_: object) -> None:
            asked.append("opened")

        def score(self, items: Any) -> Any:
            asked.append([item.gold for item in items])
            raise RuntimeError("no room")

        def close(self) -> None:
            asked.append("closed")

    monkeypatch.setitem(scorers.SCORERS, "failing", (f"{__name__}:none", ""))
    monkeypatch.setitem(globals(), "none", Failing)
    settings = CurationSettings(require="sound", scorer="failing", deduplicate="off")
    soundness = soundness_of(GSM8K, settings, PROBLEMS)
    assert asked == ["opened", "closed"], "a scorer that cannot be opened stops the run before it has cost anything"
    with pytest.warns(UserWarning, match="failed on [12] of [12]"):
        assert soundness is not None and soundness([attempt(SOUND), attempt(WRONG, problem_id="q")]) == [None, None]
        soundness([attempt(SOUND)])
    soundness.close()
    assert asked[2:] == ["opened", ["72", "12"], ["72"], ["12"], ["72"], "closed"], "once for all parts of a round"


@pytest.mark.parametrize(("spec", "message"), [("oracle:x", "expected one of the form"), ("file:none.jsonl", "none.jsonl")])
def test_a_scorer_that_cannot_be_opened_is_refused_at_once(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        soundness_of(ADDITION, CurationSettings(require="sound", scorer=spec), PROBLEMS)


def test_the_scorer_is_part_of_what_a_recipe_computes() -> None:
    plain, sound = Recipe(), Recipe(curation=CurationSettings(require="sound"))
    by_scorer = Recipe(curation=CurationSettings(require="sound", scorer="file:prm.jsonl"))
    assert len({plain.digest(), sound.digest(), by_scorer.digest()}) == 3
    assert sound.digest() == Recipe(curation=CurationSettings(require="sound", scorer=None)).digest()
    with pytest.raises(ValueError, match="require: sound alone"):
        Recipe(curation=CurationSettings(scorer="file:prm.jsonl"))
