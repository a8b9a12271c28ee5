"""Records that a checker must survive: built here, so that no huge file is committed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from analysis.rationales.records import Record

BOMB = "(" * 5_000 + "1" + ")" * 5_000
ARABIC = "٤٨ ÷ ٢ = ٢٦"


def nasty_records() -> list[Record]:
    """One record per kind of trouble; `id` names it."""
    question = "Ann has 48 pens and gives half to Bo. How many are left?"
    steps: dict[str, tuple[str, ...]] = {
        "empty": (),
        "blank steps": ("", "   ", "\n"),
        "200 kB of text": ("word 7 + 5 = 12 " * 12_500,),
        "200 kB in one word": ("a" * 200_000,),
        "200 kB of digits and signs": ("1+" * 100_000,),
        "200 kB of equals signs": ("1 = " * 50_000,),
        "ten thousand digits": ("9" * 10_000 + " + 1 = " + "8" * 10_000,),
        "ten thousand decimals": ("0." + "3" * 10_000 + " * 3 = 1",),
        "division by zero": ("1/0 = 5", "1 / (3 - 3) = 0", "0^-1 = 2"),
        "tower of powers": ("9^9^9^9^9 = 1", "2**1000000 = 4"),
        "unicode digits": (ARABIC, "７ + ５ = １２", "५ + ५ = १०"),
        "unicode minus": ("48 − 24 = 25", "−5 + 3 = −2", "½ × 48 = 24"),
        "nested brackets": (BOMB + " = 1", "[" * 20_000, "((((((1+2)=3"),
        "regex bombs": (
            "a" * 30_000 + "!",
            "1," * 20_000,
            "<" * 20_000,
            "<<1" * 10_000,
            "$" * 30_000,
            "\\frac{" * 5_000,
        ),
        "answers without end": ("answer is " * 20_000, "####" * 20_000),
        "NUL bytes": ("3 + 4\x00 = 8\x00", "\x00" * 1_000),
        "control characters": ("\u202e3 + 4 = 8\u202c", "\ufeff\u200b 5"),
        "half a surrogate pair": ("caf\ud83d = 5",),
        "code": ("__import__('os').system('exit 3')", "eval('1+1') = 3", "{{7*7}} = 49", "'; DROP TABLE steps; --"),
        "ten thousand steps": tuple(f"{n} + {n % 7} = {n + n % 7}" for n in range(10_000)),
        "ten thousand equal steps": ("Then 3 + 4 = 8 pens are left.",) * 10_000,
        "infinity": ("1e999 + 1 = inf", "nan = nan", "1" + "0" * 400 + " * 2 = 5"),
        "emoji": ("🍎🍎 + 🍎 = 4", "3️⃣ + 4️⃣ = 8"),
    }
    records = [Record(id=name, question=question, steps=found, answer="24") for name, found in steps.items()]
    scratchpad = "\n".join(["Input:", "2 9 + 5 7", "Target:"] + [", C: 0"] * 3_000)
    extra = [
        Record(id="empty question", steps=("48 / 2 = 26",)),
        Record(id="nasty question", question="7 " * 100_000, steps=("48 / 2 = 26",), answer="9" * 10_000),
        Record(
            id="brackets to close",
            question="Complete the rest of the sequence. Input: " + "[ { ( " * 5_000,
            steps=("[",) * 500,
        ),
        Record(
            id="words to sort",
            question="Sort the following words alphabetically: " + "zz a " * 20_000,
            steps=("a",) * 300,
        ),
        Record(id="sum", question="((" * 2_000 + "1 + 2" + "))" * 2_000 + " =", steps=("1 + 2 = 4",)),
        Record(id="swaps", question="Alice, Bob and Claire swap balls. " * 3_000, steps=("Alice has a ball.",) * 200),
        Record(id="addition", question="29 + 57", steps=tuple(scratchpad.split("\n")), answer="86"),
        Record(
            id="many choices",
            question="Which?",
            steps=("The answer is (A).",),
            choices={str(n): "x" * 300 for n in range(3_000)},
        ),
        Record(id="odd choices", question="Which?", steps=("B",), choices={"": "", "\x00": "1/0"}),
        Record(
            id="odd recovery",
            question=question,
            steps=("So 24.",),
            meta={"cot_prefix": "4" * 50_000, "injected_value": "4" * 9_000},
        ),
        Record(
            id="recovery without text",
            question=question,
            steps=("", "x"),
            meta={"cot_prefix": "\x00", "injected_value": None},
        ),
    ]
    return records + extra


PIECES = (
    *("3 + 4 = 8", "12 * 7 = 84", "= = =", "(((", ")))", "[ { (", "] } )", "$", "\\frac{", "\\boxed{", "}", "#### 5", "<<1+1=3>>"),
    *("%", "1/0", "9" * 400, "0." + "3" * 200, "1e999", "9^9^9^9", "2**1000000", "-" * 300, "+" * 300, "1 = " * 60),
    *("1," * 100, "x" * 500, "\x00", "\u202e", "\ufeff", "\ud83d", "٤٨ ÷ ٢", "７ + ５", "½", "−5", "²", "🍎", "\n", "\r\n", "\t"),
    *("\u2028", " " * 300, "é́" * 100, "The answer is (B).", "Step 1:", "So 5 pens are left.", "Input:", "Target:"),
    *("Alice and Bob swap balls.", "Sort the words: zz a", "True and False or not", "https://x.y/?z=1", "<script>", "{{7*7}}"),
    *("'; DROP TABLE", "```python", "</think>", "<think>"),
)
"""What hostile texts are made of."""


def hostile_records(count: int, seed: int) -> Iterator[Record]:
    """Records of random pieces, alone, repeated or between random characters; the nasty ones come first."""
    nasty = nasty_records()
    yield from nasty[:count]
    random = Random(seed)

    def text() -> str:
        parts = []
        for _ in range(random.randint(0, 8)):
            piece = random.choice(PIECES) if random.random() < 0.8 else "".join(chr(random.randrange(0x2FFF)) for _ in range(30))
            parts.append(piece * random.choice((1, 1, 1, 2, 30)))
        return random.choice((" ", "", "\n", " = ")).join(parts)

    for number in range(count - len(nasty)):
        steps = tuple(text() for _ in range(random.choice((0, 1, 3, 5, 40))))
        choices = {random.choice((letter, text()[:9])): text() for letter in "ABCD"} if random.random() < 0.3 else None
        meta = {"cot_prefix": text(), "injected_value": random.choice((None, "4", text()))} if random.random() < 0.2 else {}
        answer, gold = random.choice((None, text())), random.choice((None, text()))
        yield Record(f"hostile-{number}", "", "", text(), choices, steps, answer, gold, meta=meta)
