"""What the probes share: the rationale that is probed, the row a probe writes, and the schema of `probes.parquet`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa

from star.problem import Problem

SCHEMA_VERSION = 1

ROWS = pa.schema(
    [
        ("attempt_id", pa.string()),  # of the run, or the record's id
        ("problem_id", pa.string()),
        ("round", pa.int32()),  # null for record files
        ("probe", pa.string()),  # see PROBES
        ("position", pa.int32()),  # steps kept (early_answering), or 1-based step that was changed; 0: no single step
        ("n_steps", pa.int32()),
        ("perturbed", pa.string()),  # the text that took the rationale's place (a hint: the changed question)
        ("original_continuation", pa.string()),  # what followed in the rationale, where the rest was regenerated
        ("new_continuation", pa.string()),  # what the model wrote instead
        ("answer_before", pa.string()),  # a*: the model's answer after its whole rationale
        ("answer_after", pa.string()),  # the answer after the perturbation; null where none was asked for or none came
        ("changed", pa.bool_()),  # answer_after is another answer than answer_before; null where not applicable
        ("logprob_before", pa.float64()),  # natural log p(a* | question, rationale); information_gain: of the gold
        ("logprob_after", pa.float64()),  # of the same answer after the perturbation; null where regenerated
        ("outcome", pa.string()),  # see OUTCOMES; null where the probe has none
        ("applicable", pa.bool_()),
        ("reason", pa.string()),  # why not applicable; null otherwise
        ("control", pa.bool_()),  # a control: ideally nothing changes
        ("original_value", pa.string()),  # what was replaced (added mistake), or null
        ("injected_value", pa.string()),  # what was put there: the false value, the hint, the other question's answer
        ("seed", pa.int64()),
    ]
)

PROBES: dict[str, str] = {
    "early_answering": "answer asked for after the first i steps, i = 0..n",
    "information_gain": "log-probability of the gold answer before and after step i, i = 1..n",
    "forced_mistake": "one value of step i falsified, answer asked for at once",
    "added_mistake": "one value of step i falsified, the rest regenerated",
    "filler": "the rationale replaced by as many filler tokens",
    "shuffled_rationale": "the rationale replaced by another question's: the null",
    "mediation_indirect": "the rationale replaced by that of a changed question (NIE)",
    "mediation_direct": "the question changed, the rationale kept (NDE)",
    "hint_star": "the task's own hint (STaR section 3.3) with a wrong answer in the prompt, all regenerated",
    "hint_suggested": "a wrong answer suggested in words in the prompt, all regenerated",
    "hint_always_a": "few-shot examples whose answer is always the first option, all regenerated",
    "paraphrase": "control: the rationale rewritten with the same meaning, answer asked for at once",
    "paraphrase_regenerated": "control: step i rewritten with the same meaning, the rest regenerated",
    "paraphrase_question": "control: the question rewritten with the same meaning, the rationale kept",
    "information_gain_shuffled": "control: the same from no rationale to another question's whole one",
    "option_shuffle": "control: options in another order, rationale relabelled; position 0: without the rationale",
    "resample": "control: the same prefix of i steps (0: the bare prompt), the rest regenerated",
    "resample_rationale": "control: the rationale replaced by another sample for the same question",
    "hint_always_a_control": "control: the same few-shot examples in their own order, all regenerated",
}
"""Name -> what is done, in the order of the report."""

CONTROLS = frozenset(name for name, text in PROBES.items() if text.startswith("control:"))

Outcome = Literal[
    "follows",
    "explicit",
    "silent",
    "other",
    "kept",
    "hint_verbalised",
    "hint_silent",
    "switched_elsewhere",
    "no_answer",
]
"""added_mistake: goes on with the false value | recovers and says so | recovers silently | something else, or no answer.
forced_mistake, shuffled_rationale: follows (the answer of the changed text), other (another one); null where kept.
Hints: kept | switched to the hint and said so | switched to the hint silently | switched to another answer | none."""

@dataclass(frozen=True)
class Subject:
    """One rationale to be probed, as recorded; nothing here is ever written back."""

    attempt_id: str
    problem: Problem
    rationale: str
    """Without the statement of the answer."""
    answer: str | None
    """The recorded answer."""
    round: int | None = None
    correct: bool | None = None
    """The recorded verdict: True, False, or None where it is not known."""


@dataclass(frozen=True)
class Row:
    """One line of probes.parquet; see ROWS."""

    attempt_id: str
    problem_id: str
    round: int | None
    probe: str
    position: int
    n_steps: int
    seed: int
    perturbed: str | None = None
    original_continuation: str | None = None
    new_continuation: str | None = None
    answer_before: str | None = None
    answer_after: str | None = None
    changed: bool | None = None
    logprob_before: float | None = None
    logprob_after: float | None = None
    outcome: str | None = None
    applicable: bool = True
    reason: str | None = None
    control: bool = False
    original_value: str | None = None
    injected_value: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The row in the form of the parquet schema."""
        return asdict(self)
