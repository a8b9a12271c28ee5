"""Scripted models that the probes ask, and the measures of what they say."""

from __future__ import annotations

import random
import re
from typing import Any

from analysis.faithfulness.measures import all_measures
from analysis.faithfulness.probes import PROBES
from analysis.faithfulness.rows import Row
from analysis.faithfulness.running import probe_all
from benchmarks.scripted_models import ScriptedModel, byte_tokenizer, numbers, scripted_setup, scripted_subjects

TOKENIZER = byte_tokenizer()


class TakesHints(ScriptedModel):
    """Gives the answer that a question suggests, and mentions it on a share `says_so` of the questions."""

    suggested = re.compile(r"(?:I think|Hint:) the answer is (\d+)")

    def __init__(self, *given: Any, says_so: float = 0.0, **more: Any) -> None:
        super().__init__(*given, **more)
        self.says_so = says_so

    def says(self, question: str) -> bool:
        return random.Random(f"says-{self.seed}-{numbers(question)}").random() < self.says_so

    def answer(self, question: str, rationale: str) -> str:
        hint = self.suggested.search(question)
        return hint[1] if hint else super().answer(question, rationale)

    def _continue(self, text: str) -> str:
        question, written = text.rpartition("Question: ")[2].partition("\nAnswer:")[0], super()._continue(text)
        hint, rationale = self.suggested.search(question), written.rpartition("\nThe answer is ")[0]
        if hint is None or text.rstrip().endswith("The answer is"):
            return written
        mention = "\nAs you suggested, I go with your answer." if self.says(question) else ""
        return f"{rationale}{mention}\nThe answer is {hint[1]}."


def scripted(share: float, count: int = 25, names: Any = tuple(PROBES), **options: Any) -> list[Row]:
    model = TakesHints if options else ScriptedModel
    asking, answers = scripted_setup(model(TOKENIZER, share=share, **options))
    return probe_all(scripted_subjects(count, 0), asking, answers, names)


def measures_of(rows: list[Row], options: int | None = None) -> dict[str, dict[str, Any]]:
    return all_measures([row.as_dict() for row in rows], options)
