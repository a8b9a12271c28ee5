"""How process reward models are asked and where their outputs are read. A format is data; `encode` turns it into token ids.

Two layouts: after each step stands a tag whose output is read (`tag`; as plain text, or in one chat turn with `system`), or each
step is a turn of the user and the output in front of the assistant's word is read. Two read-outs: a head of two classes, of which
class 1 is "right", or the logits of two words. Sources: the models' cards; arXiv 2501.07301 (Qwen), 2312.08935 (Math-Shepherd),
github.com/RLHFlow/RLHF-Reward-Modeling, psunlpgroup/FoVer, UW-Madison-Lee-Lab/VersaPRM, openreasoner/openr, TRL 0.13.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from star.errors import InputError, UsageError

QWEN = "Qwen2ForProcessRewardModel"
"""The architecture in the configuration of Qwen2.5-Math-PRM."""
VERSION = 2
"""Part of the fingerprint of every score: raise it when what `encode` makes changes."""


@dataclass(frozen=True)
class PrmFormat:
    """What the models of one family were trained to read."""

    words: tuple[str, str] | None = None
    """Next words that mean right and wrong; None: a head of two classes, 1 is right."""
    tag: str | None = None
    """Stands after each step; None: every step is a turn of a chat."""
    first: str = "{question}"
    """What comes before the first step's tag, or the first turn: {question}, {step}."""
    later: str = "{step}"
    """What comes before the tag of each later step: {step}, {number} from 1."""
    tag_after_question: bool = False
    """The question has a tag of its own, which is not read; `first` is the question then."""
    system: str | None = None
    """The tagged steps are the assistant's turn of a chat that begins with this."""
    max_tokens: int = 8_192
    """Longer rationales are not scored; fewer where the model's context is shorter."""


_SHEPHERD = PrmFormat(("+", "-"), "ки", "{question} Step 1: {step}", "\nStep {number}: {step}", max_tokens=4_096)
_FOVER = (
    '** Problem **\n{question}\n\n** Task **\nYour task is to evaluate the accuracy of each step in the provided solution to the '
    'above question. For each step, respond with "correct" if the reasoning is logically valid and mathematically sound, or if '
    'the step is a general statement or transition that does not contain reasoning. Respond with "incorrect" if the step includes '
    "any errors or flawed logic.\n\n** Sotluion **\n{step}"
)
"""As the models were trained, spelling included."""
FORMATS: dict[str, PrmFormat] = {
    "qwen": PrmFormat(
        tag="<extra_0>",
        system="Please reason step by step, and put your final answer within \\boxed{}.",
        max_tokens=4_096,
    ),
    "math-shepherd": _SHEPHERD,
    "openr": replace(_SHEPHERD, words=(" +", " -"), tag=" \n\n\n\n\n", later=" Step {number}: {step}"),
    "versa": PrmFormat(("+", "-"), " \n\n\n\n", "{question} \n\n{step}"),
    "rlhflow": PrmFormat(("+", "-"), first="{question} {step}"),
    "fover": PrmFormat(("correct", "incorrect"), first=_FOVER),
    "trl": PrmFormat(tag="\n", tag_after_question=True),
    "trl-paragraphs": PrmFormat(tag="\n\n", tag_after_question=True),
}
BY_NAME = {
    r"Qwen2\.5-Math-(PRM-\d+B|7B-PRM800K)": "qwen",
    r"math-shepherd-mistral-7b-prm": "math-shepherd",
    r"Math-psa": "openr",
    r"VersaPRM.*|Llama-PRM800K": "versa",
    r"Llama3\.1-8B-PRM-(Deepseek|Mistral)-Data": "rlhflow",
    r".*FoVer-PRM": "fover",
    r"Qwen2\.5-Math-.*Instruct-PRM-0\.2": "trl-paragraphs",
}
"""Pattern of the last part of a Hub id -> format."""


def format_of(name: str, architecture: str, wanted: str | None) -> tuple[str, PrmFormat]:
    """The format of a model, by --prm-format, its name or its architecture. Raises UsageError where none of them tells."""
    by_architecture = "qwen" if architecture == QWEN else "trl" if architecture.endswith("ForTokenClassification") else None
    by_name = next((known for pattern, known in BY_NAME.items() if re.fullmatch(pattern, name, re.I)), None)
    chosen = wanted or by_name or by_architecture
    if chosen not in FORMATS:
        why = f"there is no format {chosen!r}" if chosen else f"its name and its architecture ({architecture}) do not tell"
        raise UsageError(f"how the process reward model {name} is read is not known: {why}. Give --prm-format {', '.join(FORMATS)}")
    return chosen, FORMATS[chosen]


_NUMBER = re.compile(r"\s*step \d{1,3}\s*[:.]", re.IGNORECASE)
"""How a step may begin whose format writes its number."""


class Encoded(NamedTuple):
    """A rationale as a model reads it."""

    ids: list[int]
    positions: list[int]
    """Of each step: the token whose output says whether it is right."""


Part = str | int | None
"""Text, a special token's id, or None: the tag or the assistant's word, whose output (before a word: that in front) is a step's."""


class Reader:
    """A format with one tokenizer: `encode`, and the ids that are looked at. Raises InputError where they do not go together.

    Texts become token ids piece by piece, so that a tag that a step itself contains is text like any other.
    """

    def __init__(self, form: PrmFormat, tokenizer: Any) -> None:
        self.form, self.tokenizer = form, tokenizer
        special = tokenizer.get_added_vocab()
        tag = form.tag
        self.tag = [] if tag is None else [special[tag]] if tag in special else self._ids(tag)
        if tag is not None and len(self.tag) != 1:
            raise InputError(f"the format's separator {tag!r} is {len(self.tag)} tokens of this model's tokenizer, expected one.")
        words = [self._ids(word) for word in form.words or ()]
        # FoVer reads the first tokens of its words; signs have to be tokens of their own.
        if any(not ids or (len(ids) > 1 and form.tag is not None) for ids in words) or (words and words[0][0] == words[1][0]):
            raise InputError(f"the words {form.words} are the tokens {words} here, expected one token each, and different ones.")
        self.word = words[0] if words else []
        self.looked_at = [ids[0] for ids in reversed(words)]
        """Ids of the tokens (wrong, right) whose logits are compared; empty for a head of classes."""
        self.chat = form.system is not None or form.tag is None
        if self.chat and not getattr(tokenizer, "chat_template", None):
            raise InputError("this format is a chat, but the model's tokenizer has no chat template.")
        marks = "|".join(map(re.escape, sorted(special, key=len, reverse=True)))
        self._split = re.compile(f"({marks}|\ue000\\d+\ue001)" if marks else "(\ue000\\d+\ue001)")
        self._special = special

    def encode(self, question: str, steps: Sequence[str]) -> Encoded:
        """Token ids and one position a step."""
        start = self.tokenizer.encode("")[:1]
        begin = start if start == [self.tokenizer.bos_token_id] else []
        parts = self._chat(question, steps) if self.chat else [*begin, *self._tagged(question, steps)]
        ids: list[int] = []
        read: list[int] = []
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
                continue
            ids += self._continued(text, ids)
            text = ""
            if part is None:
                read.append(len(ids) - (self.form.tag is None))
                ids += self.tag or self.word
            else:
                ids.append(part)
        return Encoded(ids + self._continued(text, ids), read[len(read) - len(steps) :])

    def _tagged(self, question: str, steps: Sequence[str]) -> list[Part]:
        parts: list[Part] = []
        if self.form.tag_after_question:
            parts += [question.strip(), None]
        inside = self.form.system is not None or self.form.tag_after_question
        for number, step in enumerate(steps, start=1):
            form = self.form.first if number == 1 and not inside else self.form.later
            if "{number}" in self.form.later:
                step = _NUMBER.sub("", step)
            parts += [form.format(question=question.strip(), step=step.strip(), number=number), None]
        return parts

    def _chat(self, question: str, steps: Sequence[str]) -> list[Part]:
        """The template is rendered around marks; then each mark becomes its content."""
        turns: list[tuple[str, list[Any]]] = []
        if self.form.system is None:
            texts = [self.form.first.format(question=question.strip(), step=steps[0].strip()), *(s.strip() for s in steps[1:])]
            turns += [turn for text in texts for turn in (("user", [text]), ("assistant", [None]))]
        else:
            answer = self._tagged(question, steps)
            turns = [("system", [self.form.system]), ("user", [question.strip()]), ("assistant", answer)]
        messages = [{"role": role, "content": f"\ue000{number}\ue001"} for number, (role, _) in enumerate(turns)]
        rendered = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
        parts: list[Part] = []
        for piece in self._split.split(rendered):
            if piece.startswith("\ue000"):
                parts += turns[int(piece[1:-1])][1]
            else:
                parts.append(self._special.get(piece, piece))
        return parts

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)) if text else []

    def _continued(self, text: str, before: Sequence[int]) -> list[int]:
        """Ids of a text as it goes on after the tag: some tokenizers put a space in front of whatever begins."""
        if text and self.form.tag and self.tag and before[-1:] == self.tag:
            whole = self._ids(self.form.tag + text)
            if whole[:1] == self.tag:
                return whole[1:]
        return self._ids(text)
