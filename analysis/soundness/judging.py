"""Records -> judgements: the exact checker of the task where there is one, else the learned detector over generic checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.checks import check_exact, detect_kind
from analysis.checks.base import SOUND, Flag
from analysis.checks.generic import generic_flags
from analysis.checks.reading import MAX_STEPS, MAX_TOTAL, Reading, read
from analysis.rationales.records import Record, matches_gold
from analysis.soundness.detector import Boosted, Curve, Expectation, Hashed, Network, logit, sigmoid
from analysis.soundness.features import rationale_features
from analysis.soundness.relations import Relations, hashed_pair, hashed_question, relations
from analysis.soundness.step_features import step_features

MODEL_FILE = Path(__file__).with_name("detector.json")
RECOVERY = "error_recovery"
"""The task_kind of a record of a recovery from an injected error."""
WORD_PROBLEM = "math_word"
EXAM = "multiple_choice"
MIN_WORDS = 5
"""Of a rationale without calculations: fewer are no reasoning to judge."""
PROVEN = 0.95
"""The least p_unsound of a rationale with a step that is proven wrong: of 242 such rationales of the shared data, 232 are
labelled unsound or end in a wrong answer."""
REASON = ("unlike_sound_steps", "nothing is proven; of all steps this is least like those of sound solutions", 0.3)
"""Check, message and severity of the flag on a named step that no check has anything against."""


@dataclass(frozen=True)
class Judgement:
    """What is said about one rationale."""

    p_unsound: float | None
    first_error_step: int | None
    """0-based; -1: none; None: nothing can be said."""
    task_kind: str
    flags: tuple[Flag, ...] = ()
    n_steps: int = 0


@dataclass(frozen=True)
class Detector:
    """The fitted models; see `benchmarks/fit_detector.py` for how each is fitted and on what."""

    contrast: Hashed
    """Sound or corrupted solution, by how numbers are combined."""
    contrast_trees: Boosted
    """The same, by everything about numbers."""
    wording: Hashed
    """Right or wrong answer, by how numbers are combined and the words of the steps."""
    expectation: Expectation
    """What a solution of the question usually looks like."""
    answer: Boosted
    """Right or wrong answer, by rationale features and the three scores above."""
    answer_network: Network
    """The same; the two are added."""
    step_wording: Hashed
    """Wrong step or not, by its words."""
    hazard: Boosted
    """Wrong step or not, given that none before it is."""
    curves: Mapping[str, Curve]
    """Family (math_word, other) -> score to p_unsound."""
    thresholds: Mapping[str, float]
    """Family -> p_unsound above which a first error is named."""
    exact: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Kind -> p_unsound of a rationale that its exact checker finds sound, and of one it finds unsound."""
    gold: tuple[float, float, float] = (0.0, 1.0, 0.0)
    """Intercept, weight of logit p_unsound and of a wrong answer (+1) or right one (-1), for `use_gold`."""

    def answer_scores(self, readings: Sequence[Reading], related: Sequence[Relations] | None = None) -> np.ndarray:
        """Log-odds that the answer is wrong, per reading; `related` are their relations where they are known already."""
        related = [relations(reading) for reading in readings] if related is None else related
        dense = np.array([list(rationale_features(reading).values()) for reading in readings], dtype=np.float64)
        pairs = [hashed_pair(found.numbers, found.words) for found in related]
        first = np.array([self.contrast.score(*numbers) for numbers, _ in pairs])
        questions = [hashed_question(tuple(reading.question.words[:300])) for reading in readings]
        expected = self.expectation.extend(dense, questions)
        second = self.contrast_trees.score(np.column_stack([dense, first, expected]))
        third = np.array([self.wording.score(*everything) for _, everything in pairs])
        everything = np.column_stack([dense, first, second, third])
        return -self.answer.score(everything) - self.answer_network.score(everything)

    def hazards(
        self,
        readings: Sequence[Reading],
        flags: Sequence[Sequence[Flag]],
        related: Sequence[Relations] | None = None,
    ) -> list[np.ndarray]:
        """P(this step is wrong | none before it is), per step of each reading."""
        related = [relations(reading) for reading in readings] if related is None else related
        rows = [
            step_features(reading, found, self.contrast, self.step_wording, between.by_step)
            for reading, found, between in zip(readings, flags, related, strict=True)
        ]
        scores = sigmoid(self.hazard.score(np.concatenate(rows)))
        return np.split(scores, np.cumsum([len(row) for row in rows])[:-1])

    def with_gold(self, p_unsound: float, matches: bool | None) -> float:
        """p_unsound, knowing whether the answer is the gold answer (None: not known)."""
        if matches is None:
            return p_unsound
        intercept, slope, weight = self.gold
        score = intercept + slope * float(logit(np.array(p_unsound))) + weight * (-1 if matches else 1)
        return float(sigmoid(np.array(score)))

    def to_json(self) -> dict[str, Any]:
        models = {name: getattr(self, name).to_json() for name in _MODELS}
        rest = {
            "curves": {name: curve.to_json() for name, curve in self.curves.items()},
            "thresholds": dict(self.thresholds),
            "exact": {kind: list(pair) for kind, pair in self.exact.items()},
            "gold": list(self.gold),
        }
        return {"format": 1, **models, **rest}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Detector:
        return cls(
            **{name: kind.from_json(content[name]) for name, kind in _MODELS.items()},
            curves={name: Curve.from_json(curve) for name, curve in content["curves"].items()},
            thresholds=content["thresholds"],
            exact={kind: (pair[0], pair[1]) for kind, pair in content["exact"].items()},
            gold=(content["gold"][0], content["gold"][1], content["gold"][2]),
        )


_MODELS: dict[str, Any] = {
    "contrast": Hashed,
    "contrast_trees": Boosted,
    "wording": Hashed,
    "expectation": Expectation,
    "answer": Boosted,
    "answer_network": Network,
    "step_wording": Hashed,
    "hazard": Boosted,
}


@lru_cache(maxsize=1)
def shipped() -> Detector:
    """The detector that comes with the project."""
    return Detector.from_json(json.loads(MODEL_FILE.read_text(encoding="utf-8")))


def judge(records: Sequence[Record], *, use_gold: bool = False, detector: Detector | None = None) -> list[Judgement]:
    """Judge records, one by one as far as results go: no record's score depends on another record.

    Labels are not read; with `use_gold`, whether the answer is the gold answer is, but not where an exact checker judges
    (it has read every line of the reasoning, which a right answer cannot mend) nor for a recovery from an injected error.
    """
    detector = detector or shipped()
    judgements: list[Judgement | None] = [None] * len(records)
    open_ones: list[int] = []
    readings: list[Reading] = []
    kinds: list[str] = []
    for place, record in enumerate(records):
        kind = detect_kind(record.question, record.steps, record.choices)
        judgements[place] = _without_learning(record, kind, detector)
        if judgements[place] is None:
            reading = read(record.question, record.steps, record.answer, record.choices)
            if says_too_little(reading, kind):
                judgements[place] = Judgement(None, None, kind, generic_flags(reading), len(record.steps))
                continue
            open_ones.append(place)
            readings.append(reading)
            kinds.append(kind)
    matches = [matches_gold(records[place]) if use_gold else None for place in open_ones]
    for place, judgement in zip(open_ones, judge_readings(readings, kinds, detector, matches), strict=True):
        judgements[place] = judgement
    return _judge_recoveries(records, [judgement for judgement in judgements if judgement is not None])


def is_too_long(record: Record) -> bool:
    """Longer than what is read: nothing is said about the whole of it."""
    return len(record.steps) > MAX_STEPS or sum(map(len, record.steps)) > MAX_TOTAL


def says_too_little(reading: Reading, kind: str) -> bool:
    """Whether nothing can be said: no calculation to check, and no exam question, whose wording the hazards were fitted on."""
    if any(step.equations for step in reading.steps):
        return False
    return kind != EXAM or sum(len(step.words) for step in reading.steps) < MIN_WORDS


def _is_recovery(record: Record) -> bool:
    if not record.meta.get("cot_prefix"):
        return False
    from analysis.recovery import is_recovery

    return is_recovery(record)


def _without_learning(record: Record, kind: str, detector: Detector) -> Judgement | None:
    """The judgement where no learned model is asked: nothing to read, too much, a recovery, or an exact checker's finding."""
    if _is_recovery(record):
        return Judgement(None, None, RECOVERY, n_steps=len(record.steps))
    if not any(step.strip() for step in record.steps):
        return Judgement(None, None, kind, n_steps=len(record.steps))
    finding = check_exact(kind, record.question, record.steps, record.answer, record.choices)
    if finding is None or finding.first_error_step is None:
        return Judgement(None, None, kind, (), len(record.steps)) if is_too_long(record) else None
    if_sound, if_unsound = detector.exact.get(finding.kind, (0.02, 0.98))
    p_unsound = if_sound if finding.first_error_step == SOUND else if_unsound
    return Judgement(p_unsound, finding.first_error_step, finding.kind, finding.flags, len(record.steps))


def _judge_recoveries(records: Sequence[Record], judgements: list[Judgement]) -> list[Judgement]:
    places = [place for place, judgement in enumerate(judgements) if judgement.task_kind == RECOVERY]
    if not places:
        return judgements
    from analysis.recovery import judge_recoveries

    for place, (p, why) in zip(places, judge_recoveries([records[place] for place in places]), strict=True):
        steps = len(records[place].steps)
        flags = (Flag(0, "recovery", why, round(p or 0.0, 2)),) if steps else ()
        judgements[place] = Judgement(p, None, RECOVERY, flags, steps)
    return judgements


def judge_readings(
    readings: Sequence[Reading], kinds: Sequence[str], detector: Detector, matches: Sequence[bool | None] = ()
) -> list[Judgement]:
    """Generic checks and the learned detector, for rationales that no exact checker could read.

    `matches` says of each whether its answer is the gold answer, where p_unsound may depend on that.
    """
    if not readings:
        return []
    flags = [generic_flags(reading) for reading in readings]
    families = [family_of(reading, kind) for reading, kind in zip(readings, kinds, strict=True)]
    related = [relations(reading) for reading in readings]
    columns = (readings, flags, related)
    calculated = [place for place, family in enumerate(families) if family == WORD_PROBLEM]
    hazards = _hazards(detector, [n for n in range(len(readings)) if families[n] != WORD_PROBLEM], columns)
    scores = {place: float(logit(1 - np.prod(1 - hazard))) for place, hazard in hazards.items()}
    if calculated:
        scores |= zip(calculated, detector.answer_scores(*_at(calculated, readings, related)), strict=True)
    probability = [detector.curves[family].at(scores[n]) for n, family in enumerate(families)]
    if any(match is not None for match in matches):
        probability = [detector.with_gold(p, match) for p, match in zip(probability, matches, strict=True)]
    proven = [first_proven(found) for found in flags]
    probability = [p if step is None else max(p, PROVEN) for p, step in zip(probability, proven, strict=True)]
    doubted = [n for n, family in enumerate(families) if probability[n] > detector.thresholds[family]]
    # A word problem that is called sound needs no hazards: they only place the mistake.
    hazards |= _hazards(detector, [place for place in doubted if place not in hazards], columns)
    named = [SOUND] * len(readings)
    for place in doubted:
        named[place] = locate(hazards[place], proven[place])
        flags[place] = _with_reason(flags[place], named[place])
    return [
        Judgement(round(probability[n], 4), named[n], kinds[n], flags[n], len(readings[n].steps))
        for n in range(len(readings))
    ]


def _hazards(detector: Detector, places: Sequence[int], columns: Sequence[Sequence[Any]]) -> dict[int, np.ndarray]:
    """Place -> hazard of each step, for some of the readings."""
    return dict(zip(places, detector.hazards(*_at(places, *columns)), strict=True)) if places else {}


def _at(places: Sequence[int], *columns: Sequence[Any]) -> list[list[Any]]:
    return [[column[place] for place in places] for column in columns]


def family_of(reading: Reading, kind: str) -> str:
    """math_word for a word problem whose rationale calculates, else "other"."""
    calculates = bool(reading.question.mentions) and any(step.equations for step in reading.steps)
    return WORD_PROBLEM if kind == WORD_PROBLEM and calculates and not reading.choices else "other"


def first_proven(flags: Sequence[Flag]) -> int | None:
    """The first step that a check proves wrong."""
    return min((flag.step for flag in flags if flag.severity >= 1), default=None)


def locate(hazard: np.ndarray, proven: int | None = None) -> int:
    """The most probable first error, argmax of h_i * prod_{j<i}(1 - h_j), or a step before it that is proven wrong."""
    survived = np.concatenate([[1.0], np.cumprod(1 - hazard)[:-1]])
    likeliest = int(np.argmax(hazard * survived))
    return likeliest if proven is None else min(likeliest, proven)


def _with_reason(flags: tuple[Flag, ...], step: int) -> tuple[Flag, ...]:
    """The flags, and where none is on the step that is named, what speaks against it."""
    if any(flag.step == step for flag in flags):
        return flags
    return tuple(sorted((*flags, Flag(step, *REASON)), key=lambda flag: (flag.step, -flag.severity)))
