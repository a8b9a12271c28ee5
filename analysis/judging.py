"""Records -> judgements: the exact checker of the task where there is one, else the learned detector over generic checks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.consistency import check_exact, detect_kind
from analysis.consistency.base import SOUND, Flag
from analysis.consistency.generic import generic_flags
from analysis.consistency.numbers import same
from analysis.consistency.reading import MAX_STEPS, MAX_TOTAL, Reading, number_of, read
from analysis.detector import Boosted, Curve, Expectation, Hashed, Network, logit, sigmoid
from analysis.features import rationale_features
from analysis.records import Record
from analysis.relations import Relations, hashed_pair, hashed_question, relations
from analysis.step_features import step_features

MODEL_FILE = Path(__file__).parent / "models" / "detector.json"
RECOVERY = "error_recovery"
"""The task_kind of a record of a recovery from an injected error."""
WORD_PROBLEM = "math_word"


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

    Labels are not read; with `use_gold`, whether the answer is the gold answer is.
    """
    detector = detector or shipped()
    judgements: list[Judgement | None] = [None] * len(records)
    open_ones: list[int] = []
    readings: list[Reading] = []
    kinds: list[str] = []
    for place, record in enumerate(records):
        kind = detect_kind(record.question, record.steps, record.choices)
        judgements[place] = _without_learning(record, kind, detector)
        if judgements[place] is None and is_too_long(record):
            judgements[place] = Judgement(None, None, kind, (), len(record.steps))
        if judgements[place] is None:
            open_ones.append(place)
            readings.append(read(record.question, record.steps, record.answer, record.choices))
            kinds.append(kind)
    for place, judgement in zip(open_ones, judge_readings(readings, kinds, detector), strict=True):
        judgements[place] = judgement
    done = [judgement for judgement in judgements if judgement is not None]
    done = _judge_recoveries(records, done)
    return [_with_gold(r, j, detector) for r, j in zip(records, done, strict=True)] if use_gold else done


def is_too_long(record: Record) -> bool:
    """Longer than what is read: nothing is said about the whole of it."""
    return len(record.steps) > MAX_STEPS or sum(map(len, record.steps)) > MAX_TOTAL


def _is_recovery(record: Record) -> bool:
    if not record.meta.get("cot_prefix"):
        return False
    from analysis.recovery import is_recovery

    return is_recovery(record)


def _without_learning(record: Record, kind: str, detector: Detector) -> Judgement | None:
    """The judgement where no learned model is asked: nothing to read, a recovery, or an exact checker's finding."""
    if not any(step.strip() for step in record.steps):
        return Judgement(None, None, kind, n_steps=len(record.steps))
    if _is_recovery(record):
        return Judgement(None, None, RECOVERY, n_steps=len(record.steps))
    finding = check_exact(kind, record.question, record.steps, record.answer, record.choices)
    if finding is None or finding.first_error_step is None:
        return None
    if_sound, if_unsound = detector.exact.get(finding.kind, (0.02, 0.98))
    p_unsound = if_sound if finding.first_error_step == SOUND else if_unsound
    return Judgement(p_unsound, finding.first_error_step, finding.kind, finding.flags, len(record.steps))


def _judge_recoveries(records: Sequence[Record], judgements: list[Judgement]) -> list[Judgement]:
    places = [place for place, judgement in enumerate(judgements) if judgement.task_kind == RECOVERY]
    if not places:
        return judgements
    from analysis.recovery import p_unfaithful

    for place, probability in zip(places, p_unfaithful([records[place] for place in places]), strict=True):
        known = None if probability != probability else float(probability)
        judgements[place] = Judgement(known, None, RECOVERY, (), len(records[place].steps))
    return judgements


def judge_readings(readings: Sequence[Reading], kinds: Sequence[str], detector: Detector) -> list[Judgement]:
    """Generic checks and the learned detector, for rationales that no exact checker could read."""
    if not readings:
        return []
    flags = [generic_flags(reading) for reading in readings]
    families = [family_of(reading, kind) for reading, kind in zip(readings, kinds, strict=True)]
    related = [relations(reading) for reading in readings]
    scores = np.zeros(len(readings))
    calculated = [place for place, family in enumerate(families) if family == WORD_PROBLEM]
    if calculated:
        scores[calculated] = detector.answer_scores(*_at(calculated, readings, related))
    probability = np.array([detector.curves[f].at(float(s)) for f, s in zip(families, scores, strict=True)])
    # A word problem that is called sound needs no hazards: they only place the mistake.
    placed = [n for n, f in enumerate(families) if f != WORD_PROBLEM or probability[n] > detector.thresholds[f]]
    named = np.full(len(readings), SOUND)
    if placed:
        hazards = detector.hazards(*_at(placed, readings, flags, related))
        for place, hazard in zip(placed, hazards, strict=True):
            if families[place] != WORD_PROBLEM:
                score = float(logit(np.array(1 - np.prod(1 - hazard))))
                probability[place] = detector.curves[families[place]].at(score)
            if probability[place] > detector.thresholds[families[place]]:
                named[place] = locate(hazard)
    return [
        Judgement(round(float(probability[n]), 4), int(named[n]), kinds[n], flags[n], len(readings[n].steps))
        for n in range(len(readings))
    ]


def _at(places: Sequence[int], *columns: Sequence[Any]) -> list[list[Any]]:
    return [[column[place] for place in places] for column in columns]


def family_of(reading: Reading, kind: str) -> str:
    """math_word for a word problem whose rationale calculates, else "other"."""
    calculates = bool(reading.question.mentions) and any(step.equations for step in reading.steps)
    return WORD_PROBLEM if kind == WORD_PROBLEM and calculates and not reading.choices else "other"


def locate(hazard: np.ndarray) -> int:
    """The most probable first error: argmax of h_i * prod_{j<i}(1 - h_j)."""
    survived = np.concatenate([[1.0], np.cumprod(1 - hazard)[:-1]])
    return int(np.argmax(hazard * survived))


def answer_matches(record: Record) -> bool | None:
    """Whether the answer is the gold answer, as numbers or else as text; None where either is missing."""
    if record.answer is None or record.gold is None:
        return None
    answer, gold = number_of(record.answer), number_of(record.gold)
    if answer is not None and gold is not None:
        return same(answer, gold, 1e-6)
    return " ".join(record.answer.lower().split()).strip(".") == " ".join(record.gold.lower().split()).strip(".")


def _with_gold(record: Record, judgement: Judgement, detector: Detector) -> Judgement:
    matches = answer_matches(record)
    learned = judgement.task_kind not in detector.exact and judgement.task_kind != RECOVERY
    if matches is None or judgement.p_unsound is None or not learned:
        return judgement
    intercept, slope, weight = detector.gold
    score = intercept + slope * float(logit(np.array(judgement.p_unsound))) + weight * (-1 if matches else 1)
    probability = round(float(sigmoid(np.array(score))), 4)
    return Judgement(probability, judgement.first_error_step, judgement.task_kind, judgement.flags, judgement.n_steps)
