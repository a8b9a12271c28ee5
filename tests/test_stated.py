"""What somebody else's rationale states as its answer: read whole, or not known."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

import pytest

from analysis.rationales.reading import read_records
from analysis.rationales.stated import answer_in
from star.grading import is_right
from tests.timing import at_most

Right = bool | None
CASES: list[tuple[str, str, set[Right]]] = [
    ("\\boxed{2\\sqrt{3}}", "2", {None}),
    ("\\boxed{\\sqrt{2}}", "2", {None}),
    ("\\boxed{\\frac{2\\pi}{3}}", "2", {None}),
    ("\\boxed{2^{10}}", "2", {None}),
    ("The answer is 2^10.", "2", {None}),
    ("\\boxed{(3,4)}", "3", {None}),
    ("\\boxed{3, 4}", "3", {None}),
    ("The answer is 3 and 4", "3", {None}),
    ("The answer is 3-4", "3", {None}),
    ("The answer is between 3 and 4", "3", {None}),
    ("\\boxed{x > 3}", "3", {None}),
    ("The answer is 3x.", "3", {None}),
    ("The answer is 5 - 2.", "5", {None}),
    ("The answer is 5 less than 20", "5", {None}),
    ("The answer is half of 24.", "24", {None}),
    ("The answer is twice 6.", "6", {None}),
    ("The answer is 3:30.", "3", {None}),
    ("The answer is 2020-12-25.", "2020", {None}),
    ("The answer is 2 hours and 30 minutes.", "2", {None}),
    ("The answer is 5 feet 3 inches.", "5", {None}),
    ("The answer is \\boxed{10,\\!080}", "10080", {True}),
    ("The answer is $10^5$.", "100000", {True, None}),
    ("\\boxed{2^{10}}", "1024", {None}),
    ("The answer is 3*4.", "12", {None}),
    ("The answer is that she has 3 boxes with 12 pens.", "12", {None}),
    ("The answer is <<3*4=12>>12", "12", {True, None}),
    ("The answer is 6 more than 12, i.e. 18.", "18", {None}),
    ("The answer is 1,234 dollars and 50 cents.", "1234.5", {None}),
    ("The answer is 5 out of 8.", "5/8", {None}),
    ("The answer is 1.234,50 EUR.", "1234.5", {None}),
    ("The answer is 12 pens. This answer is greater than 10, as expected.", "12", {True}),
    ("Answer: 12\nExplanation: the answer is found by 3*4.", "12", {None}),
    ("So the answer is 12. This answer is correct because 3 of 4.", "12", {True}),
    ("The answer is 12.\nConfidence: the answer is 95% likely to be correct.", "12", {None}),
    ("The final answer: 12. The answer is in dollars: 100 cents each.", "12", {None}),
    ("The answer is not 7.", "7", {None}),
    ("My answer: 7 is wrong", "7", {None}),
    ("The answer isn't 7. It is 8.", "8", {None}),
    ("I think the answer is 7, but let me check. 3+5=8, so it is 8.", "8", {None}),
    ("I first thought the answer was 7. Now 3+5 gives 8.", "8", {None}),
    ("If the answer is 7 then 3+4=7. But 3+5=8.\n8", "8", {None}),
    ("\\boxed{3} or \\boxed{4}", "4", {None}),
    ("\\boxed{3} and \\boxed{4}", "4", {None}),
    ("\\boxed{5}\nThe answer is 6", "6", {None}),
    ("So the answer is yes because dogs bark.", "yes", {True}),
    ("Answer: No — cats do not bark.", "no", {True}),
    ("The answer is No, a pear would sink.", "no", {True}),
    ("The answer is Yes. Dogs bark.", "yes", {True}),
    ("So the answer is yes, they do.", "yes", {True}),
    ("The answer is Albert Einstein. He was born in Ulm.", "Albert Einstein", {True}),
    ("The answer is Albert Einstein, who was born in Ulm.", "Albert Einstein", {True}),
    ("The answer is on Monday.", "Monday", {None}),
    ('The answer is "entailment" because A implies B.', "entailment", {True}),
    ("The answer is positive (the review praises it).", "positive", {True}),
    ("The answer is (1, 2), as shown.", "(1, 2)", {True}),
    ("The answer is x^2 + 1, which is positive.", "x^2 + 1", {True}),
    ("The answer is 05/01/2021. That is because May has 31 days.", "05/01/2021", {True}),
    ("<think>3+4=7</think>\n7", "7", {True}),
    ("<answer>7</answer>", "7", {True}),
    ("**Answer**: 7", "7", {True}),
    ("**Final Answer**: 7", "7", {True}),
    ("**Final Answer**\n\n7", "7", {True}),
    ("### Final Answer\n7", "7", {True}),
    ("Answer:\n12", "12", {True}),
    ("The answer is:\n12", "12", {True}),
    ("The answer to the question is 12.", "12", {True}),
    ("3*4=12. The answer is 12.</think>", "12", {True, None}),
    ("$\\boxed{\\sqrt{\\frac{1+\\sqrt{5}}{2}}}$", "\\sqrt{\\frac{1+\\sqrt{5}}{2}}", {True}),
    ("2 + 3 = 6. The answer is 5.", "5", {True}),
    ("So \\boxed{6}", "5", {False}),
    ("2 + 3 = 5 apples in all", "5", {None}),
    ("The answer is 58.", "58", {True}),
    ("The answer is **58**.", "58", {True}),
    ("The answer is $58.50", "58.5", {True}),
    ("#### 5", "5", {True}),
    ("#### 5\nThe answer is 6", "6", {None}),
    ("The answer is 7. Wait, that is wrong. The answer is 8.", "8", {True}),
    ("The answer is 58 apples, not 60.", "58", {True, None}),
    ("x\n**58**", "58", {True}),
    ("The answer is 3 * 4 = 12.", "12", {True}),
    ("The answer is x = 12", "12", {True}),
    ("The answer is 12 (twelve).", "12", {True}),
    ("The answer is 12 apples.", "13", {False}),
    ("The answer is Paris, France.", "Paris, France", {True}),
    ("The answer is Paris.", "Paris, France", {None}),
    ("The answer is London.", "Paris", {False}),
    ("The answer is not guilty.", "not guilty", {True}),
    ("26 pens\nA: 26", "26", {True}),
    ("Solution: 26", "26", {True}),
    ("Step 6: #### 81", "72", {False}),
    ("A: 5\n\nQ: What is 4+5?\nA: 9", "5", {None}),
    ("Result: we see that London loses", "Paris", {None}),
    ("The answer is (A) ball.", "B", {False}),
    ("The answer is male.", "female", {False}),
    ("\\boxed{x+1}", "2x+1", {False}),
    ("The answer is St. Louis.", "St. Louis", {True}),
    ("She couldn't sell 3, so the answer is 5.", "5", {True}),
    ("If she sells 3 she has 5 left, so the answer is 5.", "5", {True}),
    ("The answer is an integer. Adding, the final answer is 5.", "5", {True}),
    ("The answer is the sum of both.\n\n\\boxed{5}", "5", {True}),
    ("The answer is 5 (not 6).", "5", {True}),
    ("The answer is 5 rather than 6.", "5", {True}),
    ("The answer is 72 clips in 2 months", "72", {True}),
    ("The answer is 18 dollars a day, i.e. 126 a week", "18", {True}),
    ("The answer is 5, since y = 3", "5", {True}),
    ("The answer is 10, as x = 3", "10", {True}),
    ("The answer is 60 minutes = 1 hour", "60", {None}),
    ("The answer is 5. No, it is 6.", "5", {None}),
    ("The answer is 5.\nWait, that's wrong: it's 6.", "5", {None}),
    ("It holds. **Verified**", "yes", {None}),
]
"""A text, the gold answer, and what may be said of it: right, wrong, not known."""
BOXES, TOWNS = {"A": "3", "B": "12", "C": "1/4"}, {"A": "Paris", "B": "London", "C": "Rome"}
CHOICES: list[tuple[str, str, Mapping[str, str], set[Right]]] = [
    ("The answer is (C), since 3 of the 12 boxes are red.", "3", BOXES, {False}),
    ("The answer is C, because 3 of the 12 boxes are red.", "1/4", BOXES, {True}),
    ("The answer is (C).", "18", {"A": "12", "B": "15", "C": "18"}, {True}),
    ("The answer is (B) because London is big", "B", TOWNS, {True}),
    ("The answer is B. Paris is in France.", "B", TOWNS, {True}),
    ("Therefore the correct option is B.", "B", TOWNS, {True}),
    ("The final answer is B. I hope it is correct.", "B", TOWNS, {True}),
    ("\\boxed{\\textbf{(B)}\\ London}", "B", TOWNS, {True, None}),
    ("The correct answer is:\n\n**B) London**", "B", TOWNS, {True}),
    ("The answer is A. The answer is B.", "B", TOWNS, {None}),
    ("The answer is London.", "B", TOWNS, {True}),
    ("The answer is (B) London.", "B", TOWNS, {True}),
    ("\\boxed{B}", "B", TOWNS, {True}),
    ("The answer is Madrid.", "B", TOWNS, {False, None}),
    ("The answer is A cat", "A", {"A": "dog", "B": "cat"}, {None, False}),
    ("The answer is (A) or (B)", "A", TOWNS, {None}),
    ("It can't be A, so the answer is B.", "B", TOWNS, {True, None}),
    ("The answer is not A.", "A", TOWNS, {None}),
]


@pytest.mark.parametrize(("text", "gold", "may_be"), CASES)
def test_an_answer_is_read_whole_or_not_at_all(text: str, gold: str, may_be: set[Right]) -> None:
    assert is_right(answer_in(text, gold), gold) in may_be


@pytest.mark.parametrize(("text", "gold", "choices", "may_be"), CHOICES)
def test_an_option_is_read_by_its_label_or_text(text: str, gold: str, choices: Mapping[str, str], may_be: set[Right]) -> None:
    assert is_right(answer_in(text, gold, choices), gold, choices) in may_be


@pytest.mark.parametrize(
    "piece",
    ["the answer is (", "\\boxed{", "\\boxed{5} ", "answer: 5 ", "<answer>", "**5** ", "x", "\n", "if the answer is 5, "],
)
@pytest.mark.parametrize("gold", ["5", "yes", "x^2", None])
def test_a_long_text_takes_no_time(piece: str, gold: str | None) -> None:
    with at_most(1):
        answer_in(piece * 30_000, gold)
        answer_in(piece * 30_000, "A", TOWNS)


@pytest.mark.parametrize(
    ("name", "least"), [("gsm8k_model_solutions", 0.99), ("mr_gsm8k_dev", 0.99), ("mr_ben", 0.75), ("bigbench_mistake_dev", 0.8)]
)
def test_the_recorded_verdict_comes_out_without_the_recorded_answer(data_dir: Path, name: str, least: float) -> None:
    """Of real solutions, their answer column taken away: hardly ever the other verdict, and of most one."""
    known = [r for r in islice(read_records(data_dir / f"{name}.jsonl.gz"), 3_000) if r.gold and r.answer_correct is not None]
    read = [is_right(answer_in("\n".join(r.steps), r.gold, r.choices), r.gold, r.choices, r.question) for r in known]
    others = sum(right is not None and right != record.answer_correct for right, record in zip(read, known, strict=True))
    assert others <= len(known) / 500 and sum(right is not None for right in read) >= least * len(known)
