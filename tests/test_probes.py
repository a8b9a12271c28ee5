"""The probes find what is written into scripted models, and real ones are asked what they would be asked one by one."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.faithfulness.answers import Answers
from analysis.faithfulness.batch import Batch, Probed, Question, Refusal, Settings, Subject
from analysis.faithfulness.layout import Layout
from analysis.faithfulness.measures import applicability
from analysis.faithfulness.probes import PROBES, Measure, Probe
from analysis.faithfulness.questions import spread
from analysis.faithfulness.running import prepare, probe_all
from analysis.faithfulness.sources import plain_task
from analysis.faithfulness.values import changed
from analysis.memory import MemoryFileError
from analysis.pages.widgets.measures import measure_words, probe_words
from analysis.probe import chosen_probes
from benchmarks.probe_validity import apart, coverage, trained_measures
from benchmarks.scripted_models import ScriptedModel, scripted_setup, scripted_subjects
from star.problem import Example, Problem, Task, problem_id
from star.prompting import PromptBuilder
from star.provenance import model_fingerprint
from star.recipe import PromptingSettings
from star.sampling.packed import Scored
from tests.scripted_probes import TOKENIZER, measures_of, scripted

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def no_fitted_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recoveries in words count as silent: how well the fitted classifier tells them apart is tested elsewhere."""
    monkeypatch.setattr("analysis.recovery.outcomes.score_cases", lambda cases: [1.0] * len(cases))


EFFECTS = (
    *("aoc_normalised", "reliance", "forced_mistake_flip", "added_mistake_flip", "added_mistake_aoc"),
    *("follows_corruption", "filler_flip", "shuffled_flip", "shuffled_follows"),
)


def test_a_model_that_ignores_its_rationale() -> None:
    found = measures_of(scripted(0.0))
    assert {name: found[name]["value"] for name in EFFECTS} == dict.fromkeys(EFFECTS, 0.0)
    assert found["aoc"]["value"] == found["aoc_soft"]["value"] == 0.0
    assert found["post_hoc_rate"]["value"] == 1.0
    assert found["silent_recovery"]["value"] == 1.0
    assert found["filler_gap"]["value"] == found["nie"]["value"] == found["information_gain_total"]["value"] == 0.0
    assert found["nde"]["value"] == pytest.approx(0.89)
    assert found["redundant_steps"]["value"] == 1.0


def test_a_model_that_reads_its_answer_off_the_last_line() -> None:
    rows = scripted(1.0)
    found = measures_of(rows)
    assert {name: found[name]["value"] for name in EFFECTS} == dict.fromkeys(EFFECTS, 1.0)
    lengths = {row.attempt_id: row.n_steps for row in rows}
    ceiling = sum(1 - 1 / (2 * n) for n in lengths.values()) / len(lengths)
    assert found["aoc"]["value"] == pytest.approx(ceiling)
    assert found["commit_step"]["value"] == 1.0
    assert found["nie"]["value"] == pytest.approx(0.89)
    assert found["nde"]["value"] == 0.0
    assert found["filler_gap"]["value"] == pytest.approx(math.log(0.9 / 0.01))
    assert found["information_gain_total"]["value"] == pytest.approx(math.log(0.9 / 0.01))
    assert "silent_recovery" not in found  # nothing recovers, so there is no rate


def test_every_effect_stands_beside_a_control_that_changes_nothing() -> None:
    found = measures_of(scripted(0.5))
    for name in (*EFFECTS, "filler_gap", "nie", "nde", "information_gain_total", "hint_star_switch"):
        assert found[name]["control"] is not None, name
        assert found[name]["control"]["value"] == pytest.approx(0.0, abs=1e-9), name
        assert found[name]["control"]["n"] == 25
    for name in EFFECTS:
        assert found[name]["corrected"]["value"] == pytest.approx(found[name]["value"])


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.25, 0.6])
def test_mixtures_are_estimated_within_their_intervals(share: float) -> None:
    found = coverage(share, seeds=100, questions=24)
    assert found["fewest_within"] >= 90, found["estimates"]


@pytest.mark.slow
def test_trained_models_are_told_apart(tmp_path: Path) -> None:
    """One whose answers can only come from the scratchpad, one whose scratchpads say nothing: trained here, briefly."""
    probes = ("early_answering", "forced_mistake", "filler", "shuffled_rationale", "paraphrase")
    ignorer, reader = (
        trained_measures(role, 300, 60, hidden=32, probes=probes, cache=tmp_path) for role in ("ignorer", "reader")
    )
    for name in ("aoc_normalised", "aoc_soft", "forced_mistake_flip", "filler_gap", "shuffled_flip", "shuffled_follows"):
        assert apart(ignorer[name], reader[name]), name
        assert ignorer[name]["value"] < reader[name]["value"], name


def last_step_alone(p: Probed, batch: Batch) -> Sequence[Question]:
    """A toy probe: all steps but the last one dropped."""
    return [batch.ask(p, p.n, p.pieces[-1:])]


TOY = Probe(
    "all steps but the last one dropped",
    last_step_alone,
    {"last_step_flip": Measure("the last step alone changes the answer", changed, {"paraphrase": changed}, rate=True)},
    needs_steps=True,
)


def test_a_new_probe_is_one_entry_and_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROBES, "last_step_alone", TOY)
    assert {"last_step_alone", "paraphrase"} <= set(chosen_probes(["last_step_alone"]))
    rows = scripted(1.0, names=("last_step_alone", "paraphrase"))
    mine = [row for row in rows if row.probe == "last_step_alone"]
    assert len(mine) == 25 and all(row.applicable and row.answer_after and not row.control for row in mine)
    assert {row.perturbed for row in mine} == {s.rationale.splitlines()[-1] for s in scripted_subjects(25, 0)}
    found = measures_of(rows)["last_step_flip"]
    assert (found["value"], found["control"]["name"], found["corrected"]["value"]) == (0.0, "paraphrase", 0.0)
    assert applicability([row.as_dict() for row in rows])["last_step_alone"]["applicable"] == 25
    assert probe_words("last_step_alone") == TOY.words
    assert measure_words("last_step_flip") == "the last step alone changes the answer"
    code = (
        "from analysis.faithfulness.probes import PROBES, Probe\n"
        "PROBES['last_step_alone'] = Probe('all steps but the last one dropped', lambda p, batch: [])\n"
        "from analysis.probe import main; main(['--help'])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "last_step_alone" in shown.stdout, shown.stderr


def test_a_continuation_without_an_answer_follows_nothing() -> None:
    class Silent(ScriptedModel):
        def _continue(self, text: str) -> str:
            return " and so on, and so on"

    asking, answers = scripted_setup(Silent(TOKENIZER, share=1.0))
    rows = probe_all(scripted_subjects(3, 0), asking, answers, ("added_mistake",))
    assert {(row.answer_after, row.outcome) for row in rows} == {(None, "other")}


def subject(question: str, rationale: str, answer: str | None, gold: str, choices: Any = None) -> Subject:
    problem = Problem(problem_id(question, choices), question, gold, choices)
    return Subject(f"id-{question}", problem, rationale, answer, None, answer == gold)


NASTY = [
    subject("Tom starts with 5. He adds 3. What is the result?", "", "8", "8"),
    subject("Tom starts with 5. He adds 4. What is the result?", "5 + 4 = 9", "9", "9"),
    subject("Tom starts with 5. He adds 5. What is the result?", "Clearly so", "10", "10"),
    subject("Tom starts with 5. He adds 6. What is the result?", "5 + 6 = 11\n" * 400, "11", "11"),
    subject("Tom starts with 5. He adds 7. What is the result?", "5 + 7 = 12", None, "12"),
    subject("Tom starts with 5. He adds 8. What is the result?", "5 + 8 = 13", "13", ""),
]


def test_what_cannot_be_probed_says_why_and_never_counts_as_no_change() -> None:
    asking, answers = scripted_setup(ScriptedModel(TOKENIZER, share=0.0))
    rows = probe_all(NASTY, asking, answers, tuple(PROBES), Settings(), context=1500)
    by_subject = {s.attempt_id: [row for row in rows if row.attempt_id == s.attempt_id] for s in NASTY}
    for row in rows:
        assert row.applicable == (row.reason is None)
        if not row.applicable:
            assert row.changed is None
    reasons = [{row.probe: row.reason for row in group if not row.applicable} for group in by_subject.values()]
    assert reasons[0]["early_answering"] == reasons[0]["added_mistake"] == "the rationale has no steps"
    assert "hint_star" not in reasons[0]  # the prompt can be perturbed all the same
    assert "early_answering" not in reasons[1]
    assert "could be falsified" in str(reasons[2]["forced_mistake"])  # one step, nothing in it
    assert all("longer than the model's context" in str(reason) for reason in reasons[3].values())
    assert set(reasons[3]) == set(PROBES)
    assert set(reasons[4].values()) == {"no answer is recorded for this rationale"}
    assert reasons[5]["information_gain"] == "the gold answer is not known"
    use = applicability([row.as_dict() for row in rows])
    assert use["early_answering"]["rationales"] == 6
    assert use["early_answering"]["applicable"] == 3
    assert measures_of(rows)["reliance"]["n"] == 3


def test_added_mistakes_stand_beside_both_controls() -> None:
    found = measures_of(scripted(0.5, 10, ("added_mistake", "resample", "paraphrase_regenerated")))
    for name in ("added_mistake_flip", "added_mistake_aoc", "follows_corruption"):
        assert [control["name"] for control in found[name]["controls"]] == ["resample", "paraphrase_regenerated"]


def test_one_control_has_one_interval() -> None:
    found = measures_of(scripted(0.5))
    names = ("aoc", "aoc_normalised", "reliance", "commit_step", "filler_flip", "shuffled_flip", "forced_mistake_flip")
    intervals = {name: {k: found[name]["control"][k] for k in ("low", "value", "high")} for name in names}
    assert all(found[name]["control"]["name"] == "paraphrase" for name in names)
    assert list(intervals.values()) == [intervals["reliance"]] * len(names)
    assert intervals["reliance"]["high"] > 0


def test_what_has_no_control_says_so() -> None:
    found = measures_of(scripted(0.0) + scripted(1.0, 10, ("hint_suggested",), says_so=0.0))
    for name in ("silent_recovery", "information_gain_min", "redundant_steps"):
        assert found[name]["control"] is None
        assert found[name]["note"].startswith("no control exists: ")
    for name, value in found.items():
        assert value["control"] or value["note"] or name.startswith("control_"), name


def test_the_second_call_is_free_and_an_interrupted_one_goes_on(tmp_path: Path) -> None:
    subjects = scripted_subjects(8, 1)

    class Interrupted(ScriptedModel):
        def sample(self, *args: Any, **rest: Any) -> Any:
            raise KeyboardInterrupt

    asking, answers = scripted_setup(Interrupted(TOKENIZER, share=0.5), tmp_path / "a.sqlite")
    with pytest.raises(KeyboardInterrupt):
        probe_all(subjects, asking, answers)
    answers.close()
    model = ScriptedModel(TOKENIZER, share=0.5)
    asking, answers = scripted_setup(model, tmp_path / "a.sqlite")
    resumed = probe_all(subjects, asking, answers)
    asked_to_resume = answers.asked
    answers.close()
    fresh = ScriptedModel(TOKENIZER, share=0.5)
    asking, answers = scripted_setup(fresh, tmp_path / "b.sqlite")
    whole = probe_all(subjects, asking, answers)
    assert resumed == whole
    assert 0 < asked_to_resume < answers.asked
    answers.close()
    idle = ScriptedModel(TOKENIZER, share=0.5)
    asking, answers = scripted_setup(idle, tmp_path / "a.sqlite")
    assert probe_all(subjects, asking, answers) == whole
    assert (idle.calls, answers.asked) == (0, 0)


def test_scores_are_remembered_by_dtype_and_device() -> None:
    model = ScriptedModel(TOKENIZER, share=0.5)
    _, plain = scripted_setup(model)
    other = Answers(plain.model, None, lambda: model, lambda: model, numerics=("bfloat16", "cuda"))
    assert plain._key(["score", *plain.numerics, 1], [1, 2]) != other._key(["score", *other.numerics, 1], [1, 2])


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "chat_template.jinja"])
def test_models_that_say_something_else_have_other_fingerprints(tmp_path: Path, name: str) -> None:
    """What they said before is not remembered for them."""
    fingerprints = set()
    for content in (bytes(20_000), bytes(20_001), bytes(19_999) + b"x"):
        (tmp_path / name).write_bytes(content)
        fingerprints.add(model_fingerprint(tmp_path))
    assert len(fingerprints) == 3


def test_a_broken_answer_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_text("not a database at all, " * 50)
    with pytest.raises(MemoryFileError, match=r"a\.sqlite cannot be used.*Delete it"):
        scripted_setup(ScriptedModel(TOKENIZER, share=0.5), tmp_path / "a.sqlite")


def test_spread_takes_first_and_last() -> None:
    assert spread(3, 8) == [1, 2, 3]
    assert spread(20, 4) == [1, 7, 14, 20]
    assert spread(5, 1) == [5]
    assert spread(0, 8) == []


def asking_for(task: Task, tokenizer: Any, shots: int = 0) -> Layout:
    return Layout(task, PromptBuilder(task, tokenizer, PromptingSettings(shots=shots)), shots=shots > 0)


CHOICES = {"a": "bakery", "b": "market", "c": "river"}


def choice_task() -> Task:
    task = plain_task()
    shown = Problem(problem_id("Where is water?", CHOICES), "Where is water?", "c", CHOICES)
    return replace(task, examples=(Example(shown, "Water flows. So it is (c)."),))


class LastNamed(ScriptedModel):
    """Multiple choice: takes the option named last in the rationale, the first in the alphabet where none is."""

    def score(self, trees: Any, *, progress: str | None = None) -> list[list[Scored]]:
        results = []
        for one in trees:
            scored = []
            for branch in one.branches:
                ids = one.sequence(branch)
                text = self.tokenizer.decode(ids[: len(ids) - branch.scored])
                label = self.tokenizer.decode(ids[len(ids) - branch.scored :]).strip()
                question, _, rest = text.rpartition("Question: ")[2].partition("\nAnswer:")
                options = {line[4:]: line[1] for line in question.splitlines() if line.startswith("(")}
                named = max(options, key=lambda option: rest.rfind(option))
                chosen = options[named] if named in rest else options[min(options)]
                scored.append(Scored(-0.1 if label == chosen else -3.0, label == chosen, 0))
            results.append(scored)
        return results

    def _continue(self, text: str) -> str:
        return " Bread comes from a market.\nThe answer is b."


def test_multiple_choice_is_compared_over_all_options() -> None:
    model = LastNamed(TOKENIZER, share=1.0)
    _, answers = scripted_setup(model)
    asking = asking_for(choice_task(), TOKENIZER, shots=1)
    subjects = [
        subject("Where is bread?", "Not at a river.\nBread is sold at a market.", "b", "b", CHOICES),
        subject("Where is cake?", "Cake is baked in a bakery.\nAlso in a market.", "b", "a", CHOICES | {"c": "lake"}),
    ]
    rows = probe_all(subjects, asking, answers, tuple(PROBES), Settings())
    first = {(row.probe, row.position): row for row in rows if row.attempt_id == "id-Where is bread?"}
    assert [first["early_answering", i].answer_after for i in range(3)] == ["a", "c", "b"]
    assert [first["early_answering", i].changed for i in range(3)] == [True, True, False]
    assert first["option_shuffle", 2].changed is False  # the answer moves with its text
    assert first["option_shuffle", 2].answer_after == "b"
    mistake = first["forced_mistake", 2]
    assert mistake.original_value == "market"
    assert mistake.injected_value in {"bakery", "river"}
    assert mistake.changed
    assert first["hint_suggested", 0].applicable
    assert first["hint_suggested", 0].injected_value in {"a", "c"}
    assert first["mediation_direct", 0].original_value == "market"
    assert "always" not in str(first["hint_always_a", 0].reason)
    assert first["hint_always_a", 0].injected_value == "a"
    assert "few-shot answers all a" in str(first["hint_always_a", 0].perturbed)
    other = {row.probe: row for row in rows if row.attempt_id == "id-Where is cake?"}
    assert other["hint_always_a"].applicable is False
    found = measures_of(rows, options=3)
    assert found["option_shuffle_normalised"]["n"] == 2
    assert found["control_option_shuffle"]["value"] == 0.0


def test_a_star_is_the_models_answer_even_where_another_was_recorded() -> None:
    asking, answers = scripted_setup(ScriptedModel(TOKENIZER, share=0.0))
    told = [replace(s, answer="7") for s in scripted_subjects(3, 2)]
    for s, draft in zip(told, prepare(told, Batch(asking, answers, Settings())), strict=True):
        assert isinstance(draft, Probed)
        assert draft.answer == s.problem.gold
        assert draft.logprob == pytest.approx(math.log(0.9))
    short = prepare(told, Batch(asking, answers, Settings(), context=20))
    assert all(isinstance(draft, Refusal) for draft in short)
