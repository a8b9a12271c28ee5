"""Process reward models: asked as they were trained, read at the right token, and refused where something does not fit."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from analysis import calibrate, score, train_scorer
from analysis.soundness.likelihood import Likelihood
from analysis.soundness.local_model import KEPT, Engine
from analysis.soundness.prm import ProcessRewardModel, TransformersEngine
from analysis.soundness.prm_formats import FORMATS, Reader, format_of
from analysis.soundness.scorer import Item, StepScores
from analysis.soundness.scorers import Place, ScorerOptions
from star.errors import InputError, UsageError
from star.sampling import SamplerError, backends
from tests.run_factory import make_run
from tests.tiny_models import tiny_model
from tests.tiny_prms import tiny_prm, tokenizer_of

QUESTION = "How many pens are 3 boxes of 4?"
STEPS = ("3 * 4 = 12", "So 12 pens.")
SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
SHEPHERD = "<s> How many pens are 3 boxes of 4? Step 1: 3 * 4 = 12[ ки]\nStep 2: So 12 pens.[ ки]"
TASK = FORMATS["fover"].first.partition("\n\n** Task **\n")[2].partition("{step}")[0]
USER, ANSWER = (f"<|start_header_id|>{role}<|end_header_id|>\n" for role in ("user", "assistant"))
GOLDEN = {
    "qwen": f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    "3 * 4 = 12[<extra_0>]So 12 pens.[<extra_0>]<|im_end|>\n",
    "math-shepherd": SHEPHERD,
    "openr": f"{QUESTION} Step 1: 3 * 4 = 12[ \n\n\n\n\n] Step 2: So 12 pens.[ \n\n\n\n\n]",
    "versa": f"{QUESTION} \n\n3 * 4 = 12[ \n\n\n\n]So 12 pens.[ \n\n\n\n]",
    "rlhflow": f"<|begin_of_text|>{USER}\n{QUESTION} 3 * 4 = 12<|eot_id|>{ANSWER}[\n]+<|eot_id|>"
    f"{USER}\nSo 12 pens.<|eot_id|>{ANSWER}[\n]+<|eot_id|>",
    "fover": f"<|im_start|>user\n** Problem **\n{QUESTION}\n\n** Task **\n{TASK}3 * 4 = 12<|im_end|>\n"
    "<|im_start|>assistant[\n]correct<|im_end|>\n<|im_start|>user\nSo 12 pens.<|im_end|>\n"
    "<|im_start|>assistant[\n]correct<|im_end|>\n",
    "trl": f"{QUESTION}\n3 * 4 = 12[\n]So 12 pens.[\n]",
    "trl-paragraphs": f"{QUESTION}\n\n3 * 4 = 12[\n\n]So 12 pens.[\n\n]",
}
"""What a model reads, as its card has it; the token whose output is a step's in brackets."""


def scorer(path: Path, form: str | None = None, **options: Any) -> ProcessRewardModel:
    return ProcessRewardModel(str(path), ScorerOptions(prm_format=form, **options), Place())


def items(*rationales: tuple[str, ...]) -> list[Item]:
    return [Item(str(place), place, QUESTION, steps) for place, steps in enumerate(rationales)]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_model_reads_what_its_card_says_and_is_read_at_the_right_token(kind: str) -> None:
    tokenizer = tokenizer_of(kind)
    ids, positions = Reader(FORMATS[kind], tokenizer).encode(QUESTION, STEPS)
    marked = [f"[{tokenizer.decode([one])}]" if at in positions else None for at, one in enumerate(ids)]
    text, run = "", list[int]()
    for one, mark in zip([*ids, -1], [*marked, ""], strict=True):
        if mark is None:
            run.append(one)
        else:
            text += tokenizer.decode(run) + (mark if kind != "math-shepherd" or not mark else "[ ки]")
            run = []
    assert text.replace("▁", " ") == GOLDEN[kind]
    if kind != "trl":  # whose training put a line break's own token after every step, whatever the tokenizer makes of the text
        joined = re.sub(r"\[(\s*\S*)\]", r"\1", GOLDEN[kind])
        assert ids == tokenizer.encode(joined.removeprefix("<s> "), add_special_tokens=kind == "math-shepherd")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_first_wrong_step_is_found_end_to_end(kind: str, tmp_path: Path) -> None:
    """A planted model hears "~" from where it stands on: an output read one token too early or too late is another step's."""
    model = tiny_prm(tmp_path / kind, kind, planted=True)
    rationales = {("one", "two ~", "three"): 1, ("one", "two", "~ three"): 2, ("~",): 0, ("one", "~ two", "three", "four"): 1}
    path, out = tmp_path / "r.jsonl", tmp_path / "s.jsonl"
    path.write_text("".join(json.dumps({"question": QUESTION, "steps": steps}) + "\n" for steps in rationales))
    arguments = [str(path), "-o", str(out), "--scorer", f"prm:{model}", "--prm-format", kind]
    assert score.main(arguments) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for (steps, wrong), row in zip(rationales.items(), rows, strict=True):
        assert row[f"{kind}_first_error_step"] == wrong
        assert row[f"{kind}_p_unsound"] > 0.99
        assert [p > 0.9 for p in row[f"{kind}_step_ok"]] == [place < wrong for place in range(len(steps))]


@pytest.mark.parametrize("kind", ["qwen", "trl", "math-shepherd", "rlhflow"])
def test_a_batch_says_what_each_says_alone_and_one_forward_pass_says_the_same(kind: str, tmp_path: Path) -> None:
    import torch

    from analysis.soundness.prm import architecture, model_class
    from star.sampling.model_files import load_model

    opened = scorer(tiny_prm(tmp_path / kind, kind), kind)
    asked = items(STEPS, ("3 * 4 = 13",), ("", "a", "b" * 200), STEPS[:1])
    together = opened.score(asked)
    reader = opened.reader
    model = load_model(
        opened.model_dir, dtype=torch.float32, model_class=model_class(architecture(opened.model_dir), bool(reader.looked_at))
    )
    for item, one in zip(asked, together, strict=True):
        ids, positions = reader.encode(QUESTION, item.steps)
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0]
        pair = logits[:, reader.looked_at] if reader.looked_at else logits
        assert one.step_ok == pytest.approx([float(pair[at].softmax(-1)[1]) for at in positions], abs=1e-5)
        assert opened.score([item])[0].step_ok == pytest.approx(one.step_ok, abs=1e-5)
        assert one.p_unsound == pytest.approx(1 - float(torch.tensor(one.step_ok).double().prod()), abs=1e-9)


@pytest.mark.parametrize(
    "kind, text", [("qwen", "<extra_0>"), ("trl", "a\nb"), ("math-shepherd", "a ки b"), ("rlhflow", "<|eot_id|>+")]
)
def test_a_separator_inside_a_step_is_text(kind: str, text: str) -> None:
    tokenizer = tokenizer_of(kind)
    plain, marked = (Reader(FORMATS[kind], tokenizer).encode(QUESTION, (step, "end")) for step in ("x", text))
    assert len(marked.positions) == 2
    assert [marked.ids[at] for at in marked.positions] == [plain.ids[at] for at in plain.positions]
    if kind in ("qwen", "rlhflow"):
        special = set(tokenizer.get_added_vocab().values())
        assert sum(one in special for one in marked.ids) == sum(one in special for one in plain.ids)


def test_no_step_has_no_position_and_a_number_stands_once() -> None:
    reader = Reader(FORMATS["math-shepherd"], tokenizer_of("math-shepherd"))
    assert reader.encode(QUESTION, ()).positions == []
    assert Reader(FORMATS["trl"], tokenizer_of("trl")).encode(QUESTION, ()).positions == []
    assert reader.encode(QUESTION, ("Step 1: 3 * 4 = 12", "step 2. So 12 pens.")) == reader.encode(QUESTION, STEPS)
    plain = Reader(FORMATS["versa"], tokenizer_of("versa"))
    assert plain.encode(QUESTION, ("Step 1: x",)) != plain.encode(QUESTION, ("x",)), "a format without numbers leaves them"


def test_rows_that_cannot_be_scored_have_a_status_and_the_others_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = scorer(tiny_prm(tmp_path / "qwen", "qwen", context=300))
    assert opened.plan(items(("word " * 400,), STEPS, STEPS)).calls == 1, "of equal rationales one is asked"
    long, none, fine = opened.score(items(("word " * 400,), (), STEPS))
    assert (long.status, long.step_ok, long.p_unsound) == ("too_long", (), None)
    assert none.status == "unparsed"
    assert (fine.status, len(fine.step_ok)) == ("ok", 2)
    assert opened.plan(items(("word " * 400,), STEPS)).calls == 0, "what is remembered is not asked"
    read = opened.engine.opened.read

    def out_of_memory(rows: Any) -> Any:
        if len(rows) > 1 or len(rows[0].positions) == 1:
            raise RuntimeError("out of memory")
        return read(rows)

    monkeypatch.setattr(opened.engine.opened, "read", out_of_memory)
    again, failed = opened.score(items(STEPS, ("a",)))
    assert again.step_ok == pytest.approx(fine.step_ok, abs=1e-5)
    assert (failed.status, failed.why, failed.fingerprint) == ("error", "out of memory", fine.fingerprint)


def test_a_row_that_ends_the_engine_costs_that_row_and_what_was_scored_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = TransformersEngine.read

    def dying(self: Any, rows: Any) -> Any:
        if any(len(row.positions) == 4 for row in rows):
            raise SamplerError("The vLLM worker died during `classify` (exit status -9).\nEnd of its log: killed")
        return read(self, rows)

    monkeypatch.setattr(TransformersEngine, "read", dying)
    model, place = tiny_prm(tmp_path / "trl", "trl"), Place(output=tmp_path / "scores.jsonl")
    asked = items(("a",), ("b", "c"), ("a", "b", "c", "d"), ("e",))
    results = ProcessRewardModel(str(model), ScorerOptions(), place).score(asked)
    assert [found.status for found in results] == ["ok", "ok", "error", "ok"]
    assert results[2].why == "The vLLM worker died during `classify` (exit status -9)."
    again = ProcessRewardModel(str(model), ScorerOptions(), place)
    assert again.score([asked[0], asked[1], asked[3]]) == [results[0], results[1], results[3]]
    assert again.engine.opened is None, "what was scored is not scored again"
    half = items(*((str(n), "x") for n in range(10)), *((str(n), "b", "c", "d") for n in range(20)))
    with pytest.raises(SamplerError, match=r"trl failed 17 times, at last with: The vLLM worker died.*the same command goes on\."):
        again.score(half)
    later = ProcessRewardModel(str(model), ScorerOptions(), place)
    assert {found.status for found in later.score(half[:7])} == {"ok"} and later.engine.opened is None, "what was done is kept"


@pytest.mark.parametrize("bad", [{0}, {255}, {17, 130, 131}])
def test_a_row_that_ends_the_engine_is_found_among_many_however_often_one_did_before(bad: set[int]) -> None:
    def call(_: object, rows: Sequence[int]) -> list[int]:
        if bad & set(rows):
            raise SamplerError("died")
        return list(rows)

    engine: Engine[object] = Engine("it", object)
    for _ in range(3):
        told = [each for part in engine.ask(call, range(KEPT)) for each in part]
        assert told == [StepScores("error", why="died") if row in bad else row for row in range(KEPT)]


def test_a_score_that_is_no_number_is_an_error_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = ProcessRewardModel(str(tiny_prm(tmp_path / "trl", "trl")), ScorerOptions(), Place(output=tmp_path / "s.jsonl"))
    features = {"mean": (0.5, math.nan)}
    answers = [StepScores(p_unsound=math.nan), StepScores(features=features), StepScores.of_steps([math.nan, 0.5]), StepScores()]
    monkeypatch.setattr(opened.engine, "start", object)
    monkeypatch.setattr(opened, "ask", lambda _, rows: answers[: len(rows)])
    asked = items(*((str(n), "b") for n in range(4)))
    assert [found.status for found in opened.score(asked)] == ["error", "error", "error", "ok"]
    monkeypatch.setattr(opened, "ask", lambda _, rows: [StepScores()] * len(rows))
    assert [found.status for found in opened.score(asked)] == ["ok"] * 4, "they are asked again"


def test_the_format_is_told_by_name_configuration_or_flag() -> None:
    llama, tokens = "LlamaForCausalLM", "MistralForTokenClassification"
    assert format_of("Qwen2.5-Math-PRM-7B", "Qwen2ForProcessRewardModel", None)[0] == "qwen"
    assert format_of("mine", "Qwen2ForProcessRewardModel", None)[0] == "qwen"
    assert format_of("math-shepherd-mistral-7b-prm", "MistralForCausalLM", None)[0] == "math-shepherd"
    assert format_of("Llama3.1-8B-PRM-Deepseek-Data", llama, None)[0] == "rlhflow"
    assert format_of("mine", tokens, None)[0] == "trl"
    assert format_of("Qwen2.5-Math-7B-Instruct-PRM-0.2", tokens, None)[0] == "trl-paragraphs"
    assert format_of("mine", llama, "versa")[0] == "versa"
    with pytest.raises(UsageError, match=r"--prm-format qwen, math-shepherd, openr"):
        format_of("mine", llama, None)
    with pytest.raises(UsageError, match="no format 'qwenn'"):
        format_of("mine", llama, "qwenn")


def refused(path: Path, form: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        scorer(path, form).score(items(STEPS))
    return str(caught.value)


def test_what_does_not_fit_its_format_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    qwen, trl, rlhflow = (tiny_prm(tmp_path / kind, kind) for kind in ("qwen", "trl", "rlhflow"))
    assert "has 3 classes" in refused(tiny_prm(tmp_path / "three", "trl", labels=3))
    assert "separator '<extra_0>' is" in refused(trl, "qwen")
    assert "no chat template" in refused(trl, "fover")
    tensors = load_file(rlhflow / "model.safetensors")
    save_file(tensors | {"score.weight": tensors["lm_head.weight"][:2].clone()}, rlhflow / "model.safetensors", {"format": "pt"})
    assert "1 tensor that a LlamaForCausalLM does not have (first: score.weight)" in refused(rlhflow, "rlhflow")
    save_file(tensors, rlhflow / "model.safetensors", {"format": "pt"})
    # A head that transformers would make up.
    content = json.loads((rlhflow / "config.json").read_text())
    (rlhflow / "config.json").write_text(json.dumps(content | {"architectures": ["LlamaForTokenClassification"]}))
    assert "lack 2 tensors" in refused(rlhflow)
    content = json.loads((qwen / "config.json").read_text())
    (qwen / "config.json").write_text(json.dumps(content | {"architectures": ["Qwen2ForCausalLM"]}))
    assert "lack" in refused(qwen, "qwen")


@pytest.mark.parametrize("words", [("+", "+"), ("+", "minus"), ("+", "")])
def test_words_of_several_tokens_or_one_and_the_same_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="one token each, and different ones"):
        Reader(replace(FORMATS["versa"], words=words), tokenizer_of("versa"))


def test_scores_that_depend_on_the_batch_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_prm(tmp_path / "trl", "trl")
    read = TransformersEngine.read

    def padded_on_the_wrong_side(self: Any, rows: Any) -> Any:
        said = read(self, rows)
        return said if len(rows) == 1 else said[::-1]

    monkeypatch.setattr(TransformersEngine, "read", padded_on_the_wrong_side)
    with pytest.raises(InputError, match="alone and in a batch"):
        scorer(path).score(items(STEPS))


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.skipif(backends.vllm_build() is None, reason='vLLM is not installed: pip install -e ".[cpu]"')
@pytest.mark.parametrize("kind", ["qwen", *(pytest.param(kind, marks=pytest.mark.torture) for kind in ("trl", "rlhflow"))])
def test_vllm_says_what_transformers_says(kind: str, tmp_path: Path) -> None:
    """The three ways in which a head is made: a class of its own, a linear head with a bias, two rows of the vocabulary's."""
    path, asked = tiny_prm(tmp_path / kind, kind), items(STEPS, ("a", "b~", "c" * 90), STEPS[:1])
    reference = scorer(path, kind, engine="transformers").score(asked)
    served = scorer(path, kind, engine="vllm")
    try:
        for ours, theirs in zip(served.score(asked), reference, strict=True):
            assert ours.step_ok == pytest.approx(theirs.step_ok, abs=1e-5)
            assert ours.fingerprint == theirs.fingerprint
    finally:
        served.close()


def test_a_scorer_learns_what_its_labels_show(tmp_path: Path, no_gpu: None) -> None:
    """A wrong step holds a 7. A label one place off would be learned at the neighbour's separator."""
    rng = random.Random(0)

    def rationale(wrong: int) -> list[str]:
        return [" ".join(rng.choice("7" if place == wrong else "12345") for _ in range(3)) for place in range(4)]

    wrongs = [rng.choice([-1, 0, 1, 2, 3]) for _ in range(400)]
    rows = [{"question": "1 + 1", "steps": rationale(wrong), "first_error_step": wrong} for wrong in wrongs]
    path, model, out, test = (tmp_path / name for name in ("rows.jsonl", "prm", "s.jsonl", "test.jsonl"))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:300]))
    assert train_scorer.main([str(path), "-o", str(model), "--learning-rate", "1e-3", "--epochs", "4"]) == 0
    test.write_text("".join(json.dumps({"question": row["question"], "steps": row["steps"]}) + "\n" for row in rows[300:]))
    assert score.main([str(test), "-o", str(out), "--scorer", f"prm:{model}"]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    right = sum(
        (row["prm_first_error_step"] == wrong) if wrong >= 0 else row["prm_p_unsound"] < 0.5
        for row, wrong in zip(found, wrongs[300:], strict=True)
    )
    assert right >= 97
    assert train_scorer.main([str(path), "-o", str(model)]) == 1


def test_rows_of_a_scorer_are_read_in_three_forms_and_nothing_after_the_first_error_is_learned() -> None:
    texts = {"question": "q", "steps": ["a", "b", "c"]}
    read = train_scorer.row_of
    assert read(texts | {"first_error_step": 1})[2] == [1, 0, None]
    assert read(texts | {"first_error_step": -1})[2] == [1, 1, 1]
    assert read(texts | {"labels": [True, False, True]})[2] == [1, 0, None]
    assert read({"prompt": "q", "completions": ["a", "b", "c"], "step_ok": [0.9, None, 0.2]})[2] == [0.9, None, 0.2]


@pytest.mark.parametrize(
    "line, said",
    [
        ("[]", "no labelled rationale"),
        ('{"question": "q", "steps": ["a"]}', "first_error_step"),
        ('{"question": "q", "steps": ["a", "b"], "first_error_step": 2}', "first_error_step 2 of 2 steps"),
        ('{"question": "q", "steps": ["a", "b"], "first_error_step": -2}', "-1 for none"),
        ('{"question": "q", "steps": ["a"], "labels": [true, true]}', "2 labels for 1 step"),
        ('{"question": "q", "steps": ["a"], "labels": [2]}', "from 0 to 1"),
        ('{"question": "q", "steps": "a", "labels": [1]}', "no question, or steps"),
        ('{"question": "q", "steps": ["a"], "labels": [null]}', "labels no step"),
    ],
)
def test_rows_that_cannot_be_learned_from_are_named(
    line: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    assert train_scorer.main([str(tmp_path / "rows.jsonl"), "-o", str(tmp_path / "prm")]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "prm").exists()


def test_a_line_separator_inside_a_row_is_text(tmp_path: Path) -> None:
    row = {"question": "q", "steps": ["a\u2028b"], "labels": [True]}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row, ensure_ascii=False) + "\n")
    assert train_scorer.read_rows(tmp_path / "rows.jsonl") == [("q", ["a\u2028b"], [1.0])]


def test_likelihood_is_what_one_pass_per_sequence_gives(tmp_path: Path) -> None:
    import torch

    from star.sampling.model_files import load_model

    opened = Likelihood(str(tiny_model(tmp_path / "m")), ScorerOptions(), Place())
    steps = ("3 * 4 = 12.", "So there are 12 pens.", "")
    found, unanswered, none, long = opened.score(
        [
            Item("a", 0, QUESTION, steps, gold="12", answer="13"),
            Item("b", 1, QUESTION, steps),
            Item("c", 2, QUESTION, ()),
            Item("d", 3, QUESTION, ("1 " * 600,)),
        ]
    )
    model, tokenizer = load_model(opened.model_dir, dtype=torch.float32), opened.asking.tokenizer

    def logprobs(prompt: str, text: str) -> list[float]:
        before, after = tokenizer.encode(prompt), tokenizer.encode(text)
        with torch.inference_mode():
            table = torch.log_softmax(model(torch.tensor([before + after])).logits[0], -1)
        return [float(table[len(before) - 1 + at, one]) for at, one in enumerate(after)]

    prompt = f"Question: {QUESTION}\nAnswer:"
    first, second = logprobs(prompt, f" {steps[0]}"), logprobs(f"{prompt} {steps[0]}", f"\n{steps[1]}")
    assert found.features["mean"][:2] == pytest.approx([math.exp(sum(x) / len(x)) for x in (first, second)], rel=1e-3)
    assert found.features["least"][:2] == pytest.approx([math.exp(min(x)) for x in (first, second)], rel=1e-3)
    bodies = ["", f" {steps[0]}", f" {steps[0]}\n{steps[1]}"]
    answers = [logprobs(f"{prompt}{body}" + ("\n" if body else "") + "The answer is", " 12.") for body in bodies]
    assert len(answers) == 3
    assert (found.status, found.p_unsound, found.step_ok, found.first_error) == ("ok", None, (), None)
    assert found.features == {name: pytest.approx(values, abs=1e-5) for name, values in found.features.items()}
    assert unanswered.features["gain"] == (None, None, None)
    assert (none.status, long.status) == ("unparsed", "too_long")


def test_likelihood_is_an_input_of_a_calibration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng_steps = [["3 * 4 = 12."], ["1 2 3 4", "? ? !"]] * 20
    path, out, model = tmp_path / "r.jsonl", tmp_path / "s.jsonl", tmp_path / "c.json"
    rows = [
        {"id": str(k), "question": f"{QUESTION} {k}", "steps": steps, "answer": "12", "first_error_step": len(steps) - 2}
        for k, steps in enumerate(rng_steps)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    scorer_of = f"likelihood:{tiny_model(tmp_path / 'm')}"
    assert calibrate.main([str(path), "--scorer", scorer_of, "-o", str(model)]) == 0
    content = json.loads(model.read_text())
    assert content["scorers"] == [f"likelihood-m:{name}" for name in ("mean", "least", "gain")]
    assert score.main([str(path), "-o", str(out), "--scorer", scorer_of, "--calibration", str(model)]) == 0
    row = json.loads(out.read_text().splitlines()[1])
    assert row["grade"] == "scored" and row["likelihood-m_p_unsound"] is None
    assert len(json.loads(row["likelihood-m_features"])["gain"]) == 2
    assert score.main([str(path), "-o", str(out), "--calibration", str(model)]) == 2
    assert "give --scorer for each" in capsys.readouterr().err


def test_likelihood_of_addition_is_asked_in_the_task_s_words(tmp_path: Path) -> None:
    """The small model adds two digits well: a step that is false, and one that leads away from the sum, stand out."""
    right, false = (["4 + 3 , C: 0", f", {digit} C: 0", f"0 {digit}"] for digit in (7, 2))
    posed = [Item("a", place, "4 + 3", tuple(steps), gold="7") for place, steps in enumerate((right, false))]
    path = tmp_path / "r.jsonl"
    path.write_text(json.dumps({"question": "4 + 3", "steps": right, "task": "addition"}) + "\n")
    opened = Likelihood("seeds/models/addition-0.2m", ScorerOptions(), Place(path))
    (good, bad), (towards, away) = ([one.features[name] for one in opened.score(posed)] for name in ("least", "gain"))
    assert min(good) > 0.9 and bad[1] < 0.05
    assert towards[1] > 0.9 and away[1] < 0.4
    run = make_run(tmp_path, rounds=1, probes=False, analysis=False)
    asking = Likelihood("seeds/models/addition-0.2m", ScorerOptions(), Place(run)).asking
    assert asking.task.name == "addition" and asking.shots
