"""n-digit addition with the scratchpads of the STaR paper (section 4.2, Figure 3).

One problem of three digits, its prompt and a perfect completion:

    Input:                    <scratch>
    6 2 4 + 2 5 9             6 2 4 + 2 5 9 , C: 0
    Target:                   2 + 5 , 3 C: 1
                              6 + 2 , 8 3 C: 0
                              , 8 8 3 C: 0
                              0 8 8 3
                              </scratch>
                              8 8 3

Each line holds the next pair of digits to add, the answer's digits so far and the carry; the carry-prefixed sum closes the
scratchpad. The hint is that carry-prefixed sum, on a line of its own after `Target:`. The strict answer is the one line
of digits after `</scratch>` (or the whole completion, where the model is asked for the answer alone). With `task.index_hints`
prompts and scratchpads are those of `star/tasks/index_hints.py`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import islice

from star.errors import counted
from star.problem import Example, Extraction, Problem, Splits, Task, problem_id
from star.recipe import TaskSettings
from star.schemas import SliceCounts
from star.tasks.index_hints import Marked, read_answer, write_answer
from star.tasks.loading import limited

OPEN, CLOSE = "<scratch>", "</scratch>"
_QUESTION = re.compile(r"^(\d(?: \d){0,24}) \+ (\d(?: \d){0,24})$")
_DIGITS = re.compile(r"\d(?: ?\d){0,30}")
TEST_SHARE = 0.3  # of all the sums of a length: there are only 100 with one digit


def spaced(number: int, width: int = 0) -> str:
    """624 -> "6 2 4", padded with zeros to `width` digits."""
    return " ".join(str(number).zfill(width))


def operands(question: str) -> tuple[int, int]:
    """ "6 2 4 + 2 5 9" -> (624, 259). Raises ValueError for anything else."""
    match = _QUESTION.match(question.strip())
    if not match:
        raise ValueError(f"not an addition question: {question[:80]!r} (expected digits like '6 2 4 + 2 5 9')")
    return int(match[1].replace(" ", "")), int(match[2].replace(" ", ""))


def question_of(a: int, b: int, digits: int = 0) -> str:
    """(624, 259) -> "6 2 4 + 2 5 9"; both operands take `digits` digits, or those of the longer one."""
    width = digits or max(len(str(a)), len(str(b)))
    return f"{spaced(a, width)} + {spaced(b, width)}"


def scratchpad(a: int, b: int, digits: int = 0, *, indexed: bool = False) -> list[str]:
    """Lines of the one right rationale, `<scratch>` and `</scratch>` included (digits + 4 lines, with index hints digits + 3)."""
    width = digits or max(len(str(a)), len(str(b)))
    top, bottom = str(a).zfill(width), str(b).zfill(width)
    if indexed:
        return [OPEN, *Marked(top, bottom).lines()[:-1], CLOSE]
    lines, done, carry = [OPEN, f"{question_of(a, b, width)} , C: 0"], "", 0
    for place in range(width - 1, -1, -1):
        total = int(top[place]) + int(bottom[place]) + carry
        done, carry = str(total % 10) + done, total // 10
        pair = f"{top[place - 1]} + {bottom[place - 1]} " if place else ""
        lines.append(f"{pair}, {' '.join(done)} C: {carry}")
    return [*lines, f"{carry} {' '.join(done)}", CLOSE]


def check(problem: Problem, rationale: str, *, indexed: bool = False) -> bool:
    """True when the rationale is the right scratchpad, line by line."""
    right = scratchpad(*operands(problem.question), width_of(problem), indexed=indexed)
    return [line.strip() for line in rationale.strip().splitlines()] == right


def width_of(problem: Problem) -> int:
    """Digits of each operand."""
    return (len(problem.question.strip().split(" + ")[0]) + 1) // 2


def extract(completion: str, problem: Problem, *, indexed: bool = False) -> Extraction:
    """Answer span after the scratchpad; see the module docstring for the contract."""
    text = completion.strip()
    head, mark, tail = text.partition(CLOSE)
    tail = tail.strip()
    rationale = (head + mark).strip() if mark or OPEN in text else ""
    span = tail if mark else (text if not rationale else "")
    span = (read_answer(span) or span) if indexed and mark else span
    strict = span if _DIGITS.fullmatch(span) else None
    numbers = [line.strip() for line in (tail or text).splitlines() if _DIGITS.fullmatch(line.strip())]
    return Extraction(
        rationale, strict, strict or (numbers[0] if tail and numbers else numbers[-1] if numbers else None)
    )


def prompt(problem: Problem, *, indexed: bool = False) -> str:
    """The question block."""
    marked = indexed and _QUESTION.match(problem.question)  # a probe may ask in words
    question = _marked(problem).question if marked else problem.question
    return f"Input:\n{question}\nTarget:\n"


def hinted_prompt(problem: Problem, *, indexed: bool = False) -> str:
    """The question block with the carry-prefixed sum (one digit wider than the operands) after `Target:`."""
    total = _marked(problem).answer(problem.gold) if indexed else spaced(int(problem.gold), width_of(problem) + 1)
    return f"{prompt(problem, indexed=indexed)}{total}\n"


def _marked(problem: Problem) -> Marked:
    return Marked(*problem.question.replace(" ", "").split("+"))


def mentions_hint(text: str) -> bool:
    """True for anything in front of the scratchpad: the hint stands there. An answer alone holds none."""
    text = text.strip()
    return bool(text) and not text.startswith(OPEN) and not _DIGITS.fullmatch(text)


def completion(rationale: str, answer: str, *, indexed: bool = False) -> str:
    """Scratchpad, then the answer with spaces between its digits."""
    digits = write_answer(rationale, answer) if indexed and rationale else " ".join(answer.replace(" ", ""))
    return f"{rationale.strip()}\n{digits}" if rationale else digits


def make_problem(a: int, b: int, digits: int) -> Problem:
    """The problem a + b, both written with `digits` digits."""
    question = question_of(a, b, digits)
    return Problem(problem_id(question), question, str(a + b), slice=slice_name(digits))


@cache
def slice_name(digits: int) -> str:
    """ "1 digit", "3 digits"."""
    return counted(digits, "digit")


def lengths(settings: TaskSettings) -> list[int]:
    """All digit lengths of a run, those that join its pool later included."""
    first = set(settings.digits)
    return sorted(first | set(range(max(first) + 1, (settings.grow.to or 0) + 1)))


def drawable(settings: TaskSettings, evaluated: Sequence[Mapping[str, SliceCounts]]) -> frozenset[str] | None:
    """Names of the lengths that a round may draw; None: all. `evaluated`: the slices of each selection evaluation before it."""
    if settings.grow.to is None:
        return None
    longest = max(settings.digits)
    for slices in evaluated:
        while longest < settings.grow.to and _solved(slices.get(slice_name(longest)), settings.grow.threshold):
            longest += 1
    return frozenset(slice_name(digits) for digits in lengths(settings) if digits <= longest)


def _solved(counts: SliceCounts | None, threshold: float) -> bool:
    return counts is not None and counts["correct"] >= threshold * counts["n"] > 0


def _sums(digits: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    """Distinct random sums of a length, endlessly for long ones; the first number of digits is never 0 from 2 digits on."""
    low, high = (0, 9) if digits == 1 else (10 ** (digits - 1), 10**digits - 1)
    if digits <= 2:
        pairs = [(a, b) for a in range(low, high + 1) for b in range(low, high + 1)]
        rng.shuffle(pairs)
        yield from pairs
        return
    seen: set[tuple[int, int]] = set()
    while True:
        pair = rng.randint(low, high), rng.randint(low, high)
        if pair not in seen:
            seen.add(pair)
            yield pair


def _total(digits: int) -> int:
    """How many sums of this length there are."""
    return 100 if digits == 1 else 81 * 100 ** (digits - 1)


def test_split(settings: TaskSettings) -> tuple[Problem, ...]:
    """Sums spread evenly over the digit lengths as far as there are enough; the same for every seed, so that runs compare."""
    per_length = -(-settings.test_size // len(lengths(settings)))
    problems = []
    for digits in lengths(settings):
        wanted = min(per_length, int(_total(digits) * TEST_SHARE))
        sums = islice(_sums(digits, random.Random(f"addition-test-{digits}")), wanted)
        problems += [make_problem(a, b, digits) for a, b in sums]
    return tuple(problems)


def _load(settings: TaskSettings, seed: int, shown: tuple[Example, ...], test: tuple[Problem, ...]) -> Splits:
    """The training pool: seeded, spread over the lengths like the test split, without the test problems and the examples.
    What `limit` and `test_limit` leave of both is drawn last.
    """
    examples, tested = {example.problem.id for example in shown}, {problem.id for problem in test}
    train: list[Problem] = []
    skipped = 0
    per_length = -(-settings.pool // len(lengths(settings)))
    for digits in lengths(settings):
        name = slice_name(digits)
        wanted = min(per_length, _total(digits) - sum(problem.slice == name for problem in test))
        problems = (make_problem(a, b, digits) for a, b in _sums(digits, random.Random(f"addition-{seed}-{digits}")))
        for problem in islice((p for p in problems if p.id not in tested), wanted):
            if problem.id in examples:
                skipped += 1
            else:
                train.append(problem)
    train, left = limited(train, settings.limit, f"limit-{seed}"), limited([*test], settings.test_limit, "test-limit")
    return Splits(tuple(train), tuple(left), {"equal to a few-shot example": skipped} if skipped else {})


def examples(seed: int, digits: tuple[int, ...], test: tuple[Problem, ...], *, indexed: bool) -> tuple[Example, ...]:
    """Few-shot examples: two sums of each length, short ones first, none of them in `test`."""
    rng = random.Random(f"addition-examples-{seed}")
    tested = {problem.id for problem in test}
    chosen = []
    for length in sorted(set(digits)):
        fresh = ((a, b) for a, b in _sums(length, rng) if make_problem(a, b, length).id not in tested)
        chosen += [
            Example(make_problem(a, b, length), "\n".join(scratchpad(a, b, length, indexed=indexed)))
            for a, b in islice(fresh, 2)
        ]
    return tuple(chosen)


def build(settings: TaskSettings, seed: int) -> Task:
    """The addition task over `settings.digits`."""
    test, indexed = test_split(settings), settings.index_hints
    shown = examples(seed, settings.digits, test, indexed=indexed)
    return Task(
        name="addition",
        load=lambda: _load(settings, seed, shown, test),
        examples=shown,
        prompt=partial(prompt, indexed=indexed),
        hinted_prompt=partial(hinted_prompt, indexed=indexed),
        completion=partial(completion, indexed=indexed),
        extract=partial(extract, indexed=indexed),
        answer_type="addition",
        mentions_hint=mentions_hint,
        check=partial(check, indexed=indexed),
        instructions="Add the two numbers digit by digit inside <scratch> and </scratch>, then write the sum.",
        direct_instructions="Write the sum of the two numbers, with spaces between its digits, and nothing else.",
        stop=("\n\n",),
    )
