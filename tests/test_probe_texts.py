"""Rationales are cut, asked for an answer and read as token ids, whatever the tokenizer merges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analysis.faithfulness.answers import Answers
from analysis.faithfulness.batch import Subject
from analysis.faithfulness.layout import Layout
from analysis.faithfulness.sources import from_records, plain_task, without_statements
from star.problem import Problem, Task, problem_id
from star.prompting import PromptBuilder
from star.recipe import PromptingSettings, TaskSettings
from star.sampling.packed import PackedScorer
from star.tasks import addition
from tests.tiny_models import tiny_model, tiny_tokenizer


def asking_for(task: Task, tokenizer: Any, shots: int = 0) -> Layout:
    return Layout(task, PromptBuilder(task, tokenizer, PromptingSettings(shots=shots)), shots=shots > 0)


def subject(question: str, rationale: str, answer: str | None, gold: str, choices: Any = None) -> Subject:
    problem = Problem(problem_id(question, choices), question, gold, choices)
    return Subject(f"id-{question}", problem, rationale, answer, None, answer == gold)


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


@pytest.mark.parametrize(
    "steps, kept",
    [
        (["Step 1: 5 + 6 = 11.", "Step 2: #### 11", "Step 3: The answer is: 11"], ["Step 1: 5 + 6 = 11."]),
        (["5 + 6 = 11", "A: 11"], ["5 + 6 = 11"]),
        (["It is cold.", "Solution: Choice_B"], ["It is cold."]),
        (["So Claire has the ball. So the answer is (A)"], ["So Claire has the ball."]),
        (["So 11 pens are left. #### 11"], ["So 11 pens are left."]),
        (["The answer is 5 + 6 = 11."], ["The answer is 5 + 6 = 11."]),
        (["A: purple, B: pink, C: red"], ["A: purple, B: pink, C: red"]),
        (["The answer is b, because bread is sold there."], ["The answer is b, because bread is sold there."]),
        (["5 + 6 = 11", "So the answer must be even"], ["5 + 6 = 11", "So the answer must be even"]),
        (["#### 11"], []),
        (["5 + 6 = 11", "\\boxed{11}"], ["5 + 6 = 11"]),
        (["5 + 6 = 11", "$\\boxed{11}$"], ["5 + 6 = 11"]),
        (["5 + 6 = 11", "The correct answer is 11"], ["5 + 6 = 11"]),
        (["So \\boxed{5 + 6 = 11}."], ["So \\boxed{5 + 6 = 11}."]),
        ([], []),
    ],
)
def test_what_only_states_the_answer_is_no_step(steps: list[str], kept: list[str]) -> None:
    assert without_statements(steps) == kept


def test_records_are_probed_without_the_statement_of_their_answer(tmp_path: Path) -> None:
    steps = ["Step 1: 100 * 110 = 11000", "Step 2: #### 11000", "Step 3: The answer is: 11000"]
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps({"id": "a", "question": "How many?", "steps": steps, "answer": "11000"}) + "\n")
    (one,) = from_records(path, "model", 1, 0, None).subjects
    assert one.rationale == "Step 1: 100 * 110 = 11000"


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
    from star.sampling.packed import tree

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
