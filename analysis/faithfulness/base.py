"""What the probes share: the rationale that is probed, and the row that a probe writes to `probes.parquet`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from star.problem import Problem

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = 1


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
    """One line of probes.parquet."""

    attempt_id: str  # of the run, or the record's id
    problem_id: str
    round: int | None  # None for record files
    probe: str  # see analysis.faithfulness.probes.PROBES
    position: int  # steps kept (early_answering), or 1-based step that was changed; 0: no single step
    n_steps: int
    seed: int
    perturbed: str | None = None  # the text that took the rationale's place (a hint: the changed question)
    original_continuation: str | None = None  # what followed in the rationale, where the rest was regenerated
    new_continuation: str | None = None  # what the model wrote instead
    answer_before: str | None = None  # a*: the model's answer after its whole rationale
    answer_after: str | None = None  # after the perturbation; None where none was asked for or none came
    changed: bool | None = None  # answer_after is another answer than answer_before; None where not applicable
    logprob_before: float | None = None  # natural log p(a* | question, rationale); information_gain: of the gold
    logprob_after: float | None = None  # of the same answer after the perturbation; None where regenerated
    outcome: str | None = None  # one of the probe's outcomes in PROBES; None where it has none
    applicable: bool = True
    reason: str | None = None  # why not applicable; None otherwise
    control: bool = False  # a control: ideally nothing changes
    original_value: str | None = None  # what was replaced (added mistake)
    injected_value: str | None = None  # what was put there: the false value, the hint, the other question's answer

    def as_dict(self) -> dict[str, Any]:
        """The row in the form of `row_schema`."""
        return asdict(self)


def row_schema() -> pa.Schema:
    """Columns of probes.parquet: the fields of `Row`."""
    import pyarrow as pa

    types = {"str": pa.string(), "int": pa.int32(), "float": pa.float64(), "bool": pa.bool_()}
    columns = {field.name: types[str(field.type).removesuffix(" | None")] for field in fields(Row)}
    return pa.schema(columns | {"seed": pa.int64()})
