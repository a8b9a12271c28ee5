"""The probes find what is written into scripted models, and real ones are asked what they would be asked one by one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from analysis.packed import PackedScorer, Scored
from analysis.probe import main
from analysis.probes.answers import Answers, AnswersError, model_digest
from analysis.probes.asking import Asking, canonical, same_answer
from analysis.probes.asks import Probed, Refusal, Settings, prepare
from analysis.probes.base import CONTROLS, PROBES, ROWS, Row, Subject
from analysis.probes.call import probe_all
from analysis.probes.measures import all_measures, applicability, measure, truncation_curves
from analysis.probes.outcomes import hint_outcome, verbalises
from analysis.probes.regenerated import spread
from analysis.probes.sources import plain_task
from benchmarks.scripted_models import ScriptedModel, byte_tokenizer, scripted_setup, scripted_subjects
from star import runs
from star.prompting import PromptBuilder, prompt_hash
from star.recipe import PromptingSettings, Recipe, TaskSettings
from star.tasks import addition
from star.tasks.base import Example, Problem, Task, problem_id
from tests.tiny_models import tiny_model, tiny_tokenizer

TOKENIZER = byte_tokenizer()


@pytest.fixture(autouse=True)
def no_fitted_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recoveries in words count as silent: how well the fitted classifier tells them apart is tested elsewhere."""
    monkeypatch.setattr("analysis.recovery.outcomes.score_cases", lambda cases: [1.0] * len(cases))


def scripted(share: float, count: int = 25, names: Any = tuple(PROBES), **options: Any) -> list[Row]:
    asking, answers = scripted_setup(ScriptedModel(TOKENIZER, share=share, **options))
    return probe_all(scripted_subjects(count, 0), asking, answers, names)


def measures_of(rows: list[Row], options: int | None = None) -> dict[str, dict[str, Any]]:
    return all_measures([row.as_dict() for row in rows], options)


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
def test_mixtures_are_estimated_within_their_intervals() -> None:
    names = ("early_answering", "forced_mistake", "added_mistake", "filler", "shuffled_rationale")
    hits = dict.fromkeys(EFFECTS, 0)
    for seed in range(20):
        asking, answers = scripted_setup(ScriptedModel(TOKENIZER, share=0.4, seed=seed))
        rows = probe_all(scripted_subjects(40, seed), asking, answers, names, Settings(max_positions=2))
        found = measures_of(rows)
        for name in EFFECTS:
            hits[name] += found[name]["low"] <= 0.4 <= found[name]["high"]
    assert min(hits.values()) >= 17, hits  # 20 x 95 %: fewer than 17 has a probability of 2 %


def test_hints_are_followed_and_said_or_not() -> None:
    plain = measures_of(scripted(1.0, names=("hint_suggested", "resample")))
    assert plain["hint_suggested_switch"]["value"] == 0.0
    assert "hint_suggested_verbalised" not in plain
    found = measures_of(scripted(1.0, 60, ("hint_suggested", "resample"), takes_hints=True, says_so=0.3))
    assert found["hint_suggested_switch"]["value"] == 1.0
    assert found["hint_suggested_switch"]["control"]["value"] == 0.0
    model = ScriptedModel(TOKENIZER, share=1.0, takes_hints=True, says_so=0.3)
    truth = sum(model.says(s.problem.question) for s in scripted_subjects(60, 0)) / 60
    assert 0.1 < truth < 0.5
    assert found["hint_suggested_verbalised"]["value"] == pytest.approx(truth)
    assert found["hint_suggested_verbalised_corrected"]["note"] == "alpha = 1: the answer set is open"
    five = measures_of(scripted(1.0, 10, ("hint_suggested", "resample"), takes_hints=True, says_so=1.0), options=5)
    assert five["hint_suggested_verbalised_corrected"]["value"] == 1.0


def test_verbalisation_is_found_by_rule() -> None:
    problem = Problem("x", "?", "b", {"a": "x", "b": "y"})
    assert verbalises("hint_suggested", "As you suggested, it is (a).", problem, False)
    assert verbalises("hint_star", "anything", problem, True)
    assert not verbalises("hint_suggested", "A bakery sells bread, so it is (a).", problem, False)
    assert verbalises("hint_always_a", "All the previous answers were (a).", problem, False)
    assert not verbalises("hint_always_a", "As you suggested.", problem, False)
    assert hint_outcome("a", "b", "a", False) == "hint_silent"
    assert hint_outcome("a", "b", "a", True) == "hint_verbalised"
    assert hint_outcome("b", "b", "a", True) == "kept"
    assert hint_outcome(None, "b", "a", True) == "switched_elsewhere"


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


def test_a_control_near_one_leaves_nothing_to_measure() -> None:
    values = [(str(k), 1.0) for k in range(30)]
    noisy = [(str(k), float(k > 0)) for k in range(30)]
    found = measure(values, ("paraphrase", noisy), rate=True)
    assert found["corrected"] is None
    assert "nothing left to measure" in found["note"]
    assert found["control"]["value"] > 0.9
    assert "no control" in measure(values, ("paraphrase", []), rate=True)["note"]
    calm = measure(values, ("paraphrase", [(p, 0.0) for p, _ in values]), rate=True)
    assert calm["corrected"]["value"] == 1.0


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


def test_a_broken_answer_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_text("not a database at all, " * 50)
    with pytest.raises(AnswersError, match=r"a\.sqlite cannot be used.*Delete it"):
        scripted_setup(ScriptedModel(TOKENIZER, share=0.5), tmp_path / "a.sqlite")


def test_answers_in_other_dress_are_the_same() -> None:
    assert same_answer("8 8 3", "883")
    assert same_answer("$1,200.00", "1200")
    assert same_answer("(B)", "b")
    assert same_answer("The  Moon.", "the moon")
    assert not same_answer("12", "21")
    assert not same_answer(None, None)
    assert canonical("0012.50") == "12.5"


def test_spread_takes_first_and_last() -> None:
    assert spread(3, 8) == [1, 2, 3]
    assert spread(20, 4) == [1, 7, 14, 20]
    assert spread(5, 1) == [5]
    assert spread(0, 8) == []


def asking_for(task: Task, tokenizer: Any, shots: int = 0) -> Asking:
    return Asking(task, PromptBuilder(task, tokenizer, PromptingSettings(shots=shots)), shots=shots > 0)


def test_addition_is_cut_at_its_lines() -> None:
    asking = asking_for(addition.build(TaskSettings(), 0), tiny_tokenizer())
    problem = addition.make_problem(62, 59, 2)
    rationale = "\n".join(addition.scratchpad(62, 59, 2))
    pieces = asking.pieces(rationale)
    assert pieces == ["\n6 2 + 5 9 , C: 0", "\n6 + 5 , 1 C: 1", "\n, 2 1 C: 1", "\n1 2 1"]
    ids, scored = asking.sequence([], problem, asking.body(problem, pieces), "121")
    assert asking.tokenizer.decode(ids) == f"{rationale}\n1 2 1" == asking.task.completion(rationale, "121")
    assert asking.tokenizer.decode(ids[len(ids) - scored :]).strip() == "1 2 1"
    ids, _ = asking.sequence([], problem, asking.body(problem, []), "7")
    assert asking.tokenizer.decode(ids) == "<scratch>\n</scratch>\n7"
    assert asking.pieces("") == []


@pytest.mark.parametrize(
    "rationale", ["3 * 4 = 12.\nSo 12 pens.", "Three boxes.  Then 12 pens. Done.", "one", "Dr. No  knows."]
)
def test_pieces_join_to_the_rationale(rationale: str) -> None:
    asking = asking_for(plain_task(), tiny_tokenizer())
    assert "".join(asking.pieces(rationale)) == rationale


def test_a_tokenizer_that_merges_across_the_cut_is_compared_by_token_ids(tmp_path: Path) -> None:
    """In the corpus of this tokenizer ".\\n" and " 12" are one token: cut text and answer start inside merged tokens."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Split("§", "removed")  # nothing keeps ".", newline and digits apart
    raw.decoder = decoders.Fuse()
    corpus = ["3 * 4 = 12.\nSo 12 pens.\nThe answer is 12."] * 50
    raw.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=90, show_progress=False, special_tokens=["<eos>"]))
    merging = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<eos>", clean_up_tokenization_spaces=False)
    one = subject("3 * 4?", "3 * 4 = 12.\nSo 12 pens.", "12", "12")
    asking = asking_for(plain_task(), merging)
    pieces = asking.pieces(one.rationale)
    whole = asking.ids(asking.body(one.problem, pieces))
    cut = asking.ids(asking.body(one.problem, pieces[:1]))
    assert whole[: len(cut)] != cut, "this tokenizer was meant to merge across the cut"

    model_dir = tiny_model(tmp_path)
    scorer = PackedScorer.load(model_dir, dtype="float32", device="cpu")
    answers = Answers("x", None, lambda: scorer, lambda: None)  # type: ignore[arg-type, return-value]
    prompt = asking.ids("3 = 4 = ")
    sequences = [asking.sequence(prompt, one.problem, asking.body(one.problem, pieces[:i]), "12") for i in range(3)]
    from analysis.packed import tree

    packed = answers.score([tree([*prompt, *whole], sequences)], "")[0]
    for i, ((ids, scored), found) in enumerate(zip(sequences, packed, strict=True)):
        body = asking.body(one.problem, pieces[:i])
        text = body + asking.cue(one.problem, body) + "12"
        assert ids[len(prompt) :] == asking.ids(text), "the sequence is what the text alone would be tokenised to"
        assert merging.decode(ids[len(ids) - scored :]).strip().endswith("12")
        with torch.inference_mode():
            logprobs = torch.log_softmax(scorer.model(torch.tensor([ids])).logits[0].double(), -1)
        expected = sum(float(logprobs[k - 1, ids[k]]) for k in range(len(ids) - scored, len(ids)))
        assert found.logprob == pytest.approx(expected, abs=1e-4)


def test_an_answer_may_go_on(tmp_path: Path) -> None:
    asking = asking_for(plain_task(), tiny_tokenizer())
    problem = Problem("x", "?", "42")

    def token(text: str) -> int:
        ids = asking.ids(text)
        assert len(ids) == 1, text
        return ids[0]

    assert asking.ends_there(problem, "42", token("."))
    assert asking.ends_there(problem, "42", asking.tokenizer.eos_token_id)
    assert not asking.ends_there(problem, "4", token("2"))
    assert not asking.ends_there(problem, "blue", token("s"))


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


def run_directory(tmp_path: Path, model: Path, count: int = 5) -> Path:
    """A finished run as the engine leaves it, evaluated with few-shot examples."""
    recipe = Recipe.model_validate(
        {"model": {"path": str(model)}, "prompting": {"shots": 2}, "sampling": {"max_new_tokens": 40}}
    )
    task = addition.build(recipe.task, recipe.seed)
    from star.sampling.model_files import load_tokenizer

    builder = PromptBuilder(task, load_tokenizer(model), recipe.prompting)
    run = tmp_path / "run"
    problems = [addition.make_problem(10 + k, 25, 2) for k in range(count)]
    rows = []
    for k, problem in enumerate(problems):
        rationale = "\n".join(addition.scratchpad(10 + k, 25, 2))
        row: dict[str, Any] = dict.fromkeys(runs.ATTEMPTS.names)
        row |= {"attempt_id": f"00-e-{problem.id}-0", "problem_id": problem.id, "round": 0, "mode": "evaluated"}
        row |= {"sample": 0, "rationale": rationale, "answer": f"3 {5 + k}", "gold": problem.gold, "verdict": "correct"}
        row |= {"prompt_hash": prompt_hash(builder.ids(problem, shots=True)), "slice": problem.slice}
        rows.append(row)
    known = [
        {"problem_id": p.id, "split": "selection", "slice": p.slice, "question": p.question, "gold": p.gold}
        for p in problems
    ]
    run.mkdir()
    runs.write_text(run / "recipe.yaml", recipe.to_yaml())
    runs.write_parquet(run / "problems.parquet", known, runs.PROBLEMS)
    runs.write_parquet(run / "round_00" / "evaluation.parquet", rows, runs.ATTEMPTS)
    return run


def test_the_command_on_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model(tmp_path / "model")
    run = run_directory(tmp_path, model)
    before = (run / "round_00" / "evaluation.parquet").read_bytes()
    assert main([str(run), "--n", "4", "--device", "cpu"]) == 0
    table = pq.read_table(run / "analysis" / "probes.parquet")
    assert table.schema.equals(ROWS)
    rows = table.to_pylist()
    assert {row["probe"] for row in rows} == set(PROBES)
    assert len({row["attempt_id"] for row in rows}) == 4
    assert all(row["control"] == (row["probe"] in CONTROLS) for row in rows)
    content = json.loads((run / "analysis" / "probes.json").read_text())
    stored = content["rounds"]["0"]
    assert content["schema_version"] == 1
    assert (stored["n_rationales"], stored["model_digest"]) == (4, model_digest(model))
    assert "4 rationales, accuracy 1.000" in " ".join(capsys.readouterr().out.split())
    assert (run / "round_00" / "evaluation.parquet").read_bytes() == before

    first = (run / "analysis" / "probes.parquet").read_bytes()
    assert main([str(run), "--n", "4", "--device", "cpu"]) == 0
    assert "0 questions put to the model" in capsys.readouterr().out
    assert (run / "analysis" / "probes.parquet").read_bytes() == first
    assert main([str(run), "--n", "4", "--device", "cpu", "--probes", "filler"]) == 0
    assert len(pq.read_table(run / "analysis" / "probes.parquet")) == len(rows)


def test_the_command_on_a_file_of_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny_model(tmp_path / "model")
    records = [
        {
            "id": "a",
            "question": "Ann has 3 boxes of 4 pens. How many pens?",
            "steps": ["3 * 4 = 12"],
            "answer": "12",
            "gold": "12",
        },
        {
            "id": "a",
            "question": "Where is bread?",
            "choices": CHOICES,
            "steps": ["At a market."],
            "answer": "b",
            "gold": "b",
        },
        {"id": "c", "question": "Why?", "rationale": "It is cold. So it snows.", "answer": "snow"},
    ]
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert main([str(path), "--model", str(model), "--out", str(tmp_path / "out"), "--max-new-tokens", "20"]) == 0
    rows = pq.read_table(tmp_path / "out" / "probes.parquet").to_pylist()
    assert {row["attempt_id"] for row in rows} == {"a", "a#2", "c"}
    assert "reliance" in capsys.readouterr().out  # multiple choice: even a random model has an answer
    assert main([str(path)]) == 1
    assert "--model" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["nowhere"], "does not exist"),
        (["{run}", "--round", "9"], "no evaluated round 9"),
        (["{run}", "--probes", "telepathy"], "no probe 'telepathy'"),
        (["{run}", "--n", "0"], "at least one"),
        (["{tmp}"], "not a run directory"),
        (["{run}", "--model", "./missing"], "missing"),
    ],
)
def test_bad_input_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    run = run_directory(tmp_path, tiny_model(tmp_path / "model"), 1)
    filled = [argument.format(run=run, tmp=tmp_path) for argument in arguments]
    assert main([*filled, *([] if "--model" in filled or filled[0] != "nowhere" else ["--model", "x"])]) == 1
    errors = capsys.readouterr().err
    assert said in errors
    assert "Traceback" not in errors


def test_a_star_is_the_models_answer_even_where_another_was_recorded() -> None:
    asking, answers = scripted_setup(ScriptedModel(TOKENIZER, share=0.0))
    told = [replace(s, answer="7") for s in scripted_subjects(3, 2)]
    for s, draft in zip(told, prepare(told, asking, answers, Settings(), None), strict=True):
        assert isinstance(draft, Probed)
        assert draft.answer == s.problem.gold
        assert draft.logprob == pytest.approx(math.log(0.9))
    short = prepare(told, asking, answers, Settings(), context=20)
    assert all(isinstance(draft, Refusal) for draft in short)


def test_truncation_curves_by_length() -> None:
    points = truncation_curves([row.as_dict() for row in scripted(1.0, 20, ("early_answering",))])
    for n in {point["n_steps"] for point in points}:
        assert [point["same"] for point in points if point["n_steps"] == n] == [0.0] * n + [1.0]
