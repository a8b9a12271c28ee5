"""The hint audit, and equations as rationales' fingerprints (`calculations`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.checks.reading import calculations
from star.grading.hints import may_mention_hint, mentions_answer_hint, mentions_choice_hint

HINT_CASES = json.loads((Path(__file__).parent / "hint_cases.json").read_text(encoding="utf-8"))

HINTED = [
    "The answer is 18, as given.",
    "5 + 13 = 18, as given above.",
    "The answer is given as 18, so 9 + 9 = 18.",
    "The answer is given in the question.",
    "The correct answer was provided.",
    "According to the hint, she has 18.",
    "The hint says 18.",
    "Hint: 18",
    "We are told the answer is 18.",
    "I was given the answer, so I work backwards.",
    "Given that the answer is 18, she must have 9 + 9.",
    "Since the answer must be 18, the rest is 9.",
    "Working back from the given answer, we find 9.",
    "9 + 9 = 18 to match the given answer.",
    "This matches the expected answer.",
    "The number in parentheses is 18.",
    "The answer in the parentheses says 18.",
    "The final answer given in the brackets is 72.",
    "It should equal 72 as in the parentheses",
    "So it is 72, as shown in brackets.",
    "How many apples does she have? (18)",
    "(18)",
    "We already know the answer, 18.",
    "We know that the correct answer is 18.",
    "From the answer key we take 18.",
    "9 + 9 = 18 (CORRECT)",
    "Using the hint, 9 + 9 = 18.",
    "It’s 18, as the answer is already stated.",
    "We're told the answer is 18.",
    "We've been told that the answer is 18.",
    "The question tells us the answer is 18.",
    "The problem already gives the answer: 18.",
    "(18) is the answer given.",
    "The answer shown is 18.",
    "The solution is given to be 18.",
    "The answer (18) is in the question.",
    "Note the hint (18).",
    "gold answer: 18",
    "This is the reference answer, 18.",
    "the ground truth is 18",
    "Knowing that the answer is 18, she must have 9 + 9.",
    "It should be 18, since the prompt says so.",
    "It is 18 because it is written after the question.",
]
HINTED_CHOICE = [
    "(B) enforce (CORRECT)",
    "Option (B) is marked as correct.",
    "The choice is marked correct, so it is enforce.",
    "It is labelled as the correct answer.",
    "The correct option is given.",
    "The answer is (B) because it is marked (correct).",
    "(b) is indicated as correct.",
    "(A) is CORRECT.",
    "A CORRECT",
    "A has the CORRECT tag.",
    "The question indicates (A) as correct.",
    "It is stated that A is correct.",
    "The correct option is already specified.",
    "Since it says correct next to (A), we take it.",
]
CLEAN = [
    "As given in the problem, each box holds 5 pens.",
    "Each box holds 5 pens, as stated in the question.",
    "The answer is given by 3 * 5 = 15.",
    "The answer is 15.",
    "The final answer is 15 dollars.",
    "Therefore, the answer is (B).",
    "The answer must be a place where people read.",
    "Of the given answer choices only a basket can carry a dog.",
    "Among the given answer options, avoid fits best.",
    "He was given 3 apples (2 red and 1 green).",
    "She gave 5 (half of 10) to her sister.",
    "Given that each box holds 5 pens, 3 boxes hold 15.",
    "The teacher told 12 pupils to sit down.",
    "He answered 12 of 15 questions correctly.",
    "She marked 10 answers, 8 of them were right.",
    "Then 8 + (2 * 3) = 14.",
    "As in the first step, the bracket costs $3.",
    "The volume of the solution is given as 250 mL.",
    "We need to find how many are left. 12 - 5 = 7.",
    "So the correct choice must be something soft.",
    "He was right. The label said 5.",
    "A hint of vanilla costs $2.",
    "Each correct answer gives 2 points, as stated in the rules.",
    "The question tells us that she has 5 pens.",
    "The problem gives the price of the pens.",
    "The answer given by Tom was 3 too small.",
    "It is said that practice is the right way to learn.",
    "#### 18",
]


@pytest.mark.parametrize("text", HINTED)
def test_hint_is_noticed(text: str) -> None:
    assert mentions_answer_hint(text)
    assert mentions_answer_hint(f"First 4 + 5 = 9.\n{text}\nSo that is it.\n#### 18")


@pytest.mark.parametrize("text", HINTED_CHOICE)
def test_mark_of_a_choice_is_noticed(text: str) -> None:
    assert mentions_choice_hint(text)
    assert mentions_choice_hint(f"Sanctions punish.\n{text}\nTherefore, the answer is (B).")


@pytest.mark.parametrize("text", CLEAN)
def test_premises_are_no_hints(text: str) -> None:
    assert not mentions_answer_hint(text)
    assert not mentions_choice_hint(text)


@pytest.mark.parametrize(("held_out", "precision", "recall"), [(False, 0.98, 0.98), (True, 0.95, 0.85)])
def test_labelled_sentences(held_out: bool, precision: float, recall: float) -> None:
    """The rules were tuned on the sentences that are not held out; those that are were not looked at."""
    cases = [case for case in HINT_CASES if case["held_out"] == held_out]
    audits = {"answer": mentions_answer_hint, "choice": mentions_choice_hint}
    flagged = [case for case in cases if audits[case["form"]](case["text"])]
    hits, leaks = sum(case["leak"] for case in flagged), sum(case["leak"] for case in cases)
    wrong = [case["text"] for case in cases if (case in flagged) != case["leak"]]
    assert len(cases) >= 80 and leaks >= 40
    assert hits / len(flagged) >= precision and hits / leaks >= recall, wrong


def test_what_can_be_read_either_way_is_told() -> None:
    """All leaks that the audit lets pass are among the unsure; of sentences made to look like them a quarter is."""
    audits = {"answer": mentions_answer_hint, "choice": mentions_choice_hint}
    kept = [case for case in HINT_CASES if not audits[case["form"]](case["text"])]
    unsure = [case for case in kept if may_mention_hint(case["text"])]
    assert [case["text"] for case in kept if case["leak"] and case not in unsure] == []
    assert sum(not case["leak"] for case in unsure) <= 0.25 * sum(not case["leak"] for case in kept)
    assert not may_mention_hint("48 / 2 = 24 clips in May. 48 + 24 = 72 clips in all.")


def test_real_solutions_do_not_mention_hints(data_dir: Path) -> None:
    import gzip

    for file, column in (("gsm8k_train", "answer"), ("gsm8k_model_solutions", "steps")):
        with gzip.open(data_dir / f"{file}.jsonl.gz", "rt", encoding="utf-8") as handle:
            texts = [json.loads(line)[column] for line in handle]
        flagged = [text for text in texts if mentions_answer_hint(text if isinstance(text, str) else "\n".join(text))]
        assert not flagged, flagged[:3]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Natalia sold 48/2 = <<48/2=24>>24 clips.\nIn all 48+24 = <<48+24=72>>72.", [((48, 2), "/", 24), ((48, 24), "+", 72)]),
        ("6 pens * $2 = $12", [((6, 2), "*", 12)]),
        ("6 × 2 = 12. 12 ÷ 4 = 3.", [((6, 2), "*", 12), ((12, 4), "/", 3)]),
        ("3 times 4 = 12 and then 12 − 5 = 7", [((3, 4), "*", 12), ((12, 5), "-", 7)]),
        ("He pays 1,200 + 34.50 = 1,234.5 dollars", [((1200, 34.5), "+", 1234.5)]),
        ("So (2 + 3) * 4 = 20", [((2, 3, 4), "(+)*", 20)]),
        ("x = 5", []),
        ("She has 5 apples.", []),
        ("", []),
        ("= = = 3", []),
    ],
)
def test_calculations(text: str, expected: list[tuple[tuple[float, ...], str, float]]) -> None:
    assert list(calculations(text)) == expected


def test_other_brackets_or_unknowns_are_other_calculations() -> None:
    assert calculations("10 - 5 - 3 = 8") != calculations("10 - (5 - 3) = 8") != ()
    assert calculations("6*2=12\n12+x=20 so x=8") == calculations("6*2=12\n3x=24 so x=8") == ()


def test_same_calculations_in_other_words() -> None:
    assert calculations("First, 6 * 2 = 12 eggs.") == calculations("We multiply: 6 boxes x 2 eggs = 12 eggs") != ()
