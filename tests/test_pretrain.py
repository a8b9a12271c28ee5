"""The embedded base model: its corpus, its tokenizer, what it can and cannot do, and that it loads as any model does."""

from __future__ import annotations

import random
import re
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from star.embedded.corpus import INDEXED, Mixture, copied, document, documents
from star.embedded.model import build_model, build_tokenizer, widened
from star.errors import UsageError
from star.pretrain import Arguments, PretrainError, command, encode, run
from star.recipe import SEEDS
from star.sampling import Decoding
from star.sampling.transformers_sampler import TransformersSampler
from star.tasks import addition

EMBEDDED = SEEDS / "models" / "addition-0.2m"


def test_the_corpus_is_seeded_and_never_shows_a_long_sum_without_its_hint() -> None:
    docs = list(islice(documents(7, Mixture()), 3000))
    assert docs == list(islice(documents(7, Mixture()), 3000)) != list(islice(documents(8, Mixture()), 3000))
    hinted = 0
    for doc in docs:
        for prompt, completion in doc.parts:
            lines = prompt.strip().splitlines()
            a, b = addition.operands(lines[1])
            digits = (len(lines[1].split(" + ")[0]) + 1) // 2
            if len(lines) == 3:
                assert digits <= 2
            else:
                hinted += 1
                assert int(lines[3].replace(" ", "")) == a + b
            assert completion.splitlines()[:-1] == addition.scratchpad(a, b, digits)
    assert 0.3 < hinted / len(docs) < 0.7


def test_a_base_with_index_hints_sees_long_numbers_but_no_long_sum_and_no_hint() -> None:
    docs = list(islice(documents(7, INDEXED), 3000))
    questions = [(doc, doc.parts[0][0].splitlines()) for doc in docs]
    assert all(len(lines) == 3 for _, lines in questions), "a hint would be a line more"
    copies = [doc for doc, lines in questions if doc.ends and " + " not in lines[1]]
    firsts = [(doc, lines[1]) for doc, lines in questions if not doc.ends]
    sums = [lines[1] for doc, lines in questions if doc.ends and " + " in lines[1]]
    assert len(copies) + len(firsts) + len(sums) == len(docs)
    assert 0.32 < len(copies) / len(docs) < 0.38 and 0.08 < len(firsts) / len(docs) < 0.12
    assert max(question.count(" ") for question in sums) == len("a 1 " * 5 + "+ " + "A 1 " * 5) // 2 - 1
    assert max(question.count(" ") for _, question in firsts) == len("a 1 " * 10 + "+ " + "A 1 " * 10) // 2 - 1
    assert all(doc.parts[0][1] == f"{addition.OPEN}\n{question} , C: 0" for doc, question in firsts)


def test_a_copy_has_the_shape_of_a_sum_but_chooses_one_digit_of_each_place() -> None:
    rng, operators = random.Random(2), set()
    for digits in (1, 3, 10) * 4:
        prompt, completion = copied(rng, digits)
        question, (first, *lines, _, answer) = prompt.splitlines()[1], completion.splitlines()[1:]
        operator = "|" if "|" in question else "/"
        operators.add(operator)
        left, right = (re.sub(r"\D", "", number) for number in question.split(operator))
        assert first == f"{question} , C: 0" and len(lines) == digits
        carry, chosen = 0, ""
        for a, b, line in zip(left[::-1], right[::-1], lines, strict=True):
            chosen = (b if (operator == "|") == bool(carry) else a) + chosen
            carry = int(a > b)
            assert re.fullmatch(rf"([a-t]) {a} [A-T] {b} \{operator} , {chosen[0]} C: {carry}", line)
        assert re.sub(r"\D", "", answer) == f"{carry}{chosen}"
    assert operators == {"|", "/"}


def test_only_completions_carry_loss_and_documents_end() -> None:
    tokenizer = build_tokenizer()
    doc = document(random.Random(1), Mixture(0, 0, 1, 0))
    ((ids, loss),) = encode(tokenizer, [doc])
    prompt, completion = doc.parts[0]
    assert tokenizer.decode(ids) == prompt + completion + tokenizer.eos_token
    assert tokenizer.decode([i for i, on in zip(ids, loss, strict=True) if on]) == completion + tokenizer.eos_token


def test_the_shipped_tokenizer_is_the_one_the_code_builds() -> None:
    from transformers import AutoTokenizer

    shipped, built = AutoTokenizer.from_pretrained(EMBEDDED), build_tokenizer()
    text = "Input:\n6 2 4 + 2 5 9\nTarget:\nanything else, even ünïcode"
    assert shipped(text)["input_ids"] == built(text)["input_ids"] and shipped.decode(shipped(text)["input_ids"]) == text


def test_the_embedded_model_is_what_the_loop_needs() -> None:
    """Good on one digit, partial on two, near zero from three; with the hint, exact on longer sums."""
    sampler = TransformersSampler(EMBEDDED)
    rng, shares = random.Random(3), {}
    for hinted, digits in ((False, 1), (False, 2), (False, 3), (False, 5), (True, 4), (True, 5)):
        low = 0 if digits == 1 else 10 ** (digits - 1)
        sums = [(rng.randint(low, 10**digits - 1), rng.randint(low, 10**digits - 1)) for _ in range(60)]
        problems = [addition.make_problem(a, b, digits) for a, b in sums]
        block = addition.hinted_prompt if hinted else addition.prompt
        prompts = [sampler.tokenizer(block(problem))["input_ids"] for problem in problems]
        texts = [c[0].text for c in sampler.sample(prompts, Decoding(max_new_tokens=140))]
        sound = [addition.check(p, addition.extract(t, p).rationale) for p, t in zip(problems, texts, strict=True)]
        shares[hinted, digits] = sum(sound) / len(sound)
    assert shares[False, 1] > 0.9 and 0.3 < shares[False, 2] < 1.0
    assert shares[False, 3] < 0.1 and shares[False, 5] < 0.1
    assert shares[True, 4] > 0.9 and shares[True, 5] > 0.9


def test_the_embedded_model_is_untied_small_and_has_a_card() -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(EMBEDDED)
    assert model.config.model_type == "llama" and not model.config.tie_word_embeddings
    assert 150_000 < model.num_parameters() < 250_000
    assert "python -m star.pretrain" in (EMBEDDED / "README.md").read_text()


@pytest.mark.parametrize("options", [{"size": "0.03m"}, {"size": "0.1m", "index_hints": True, "head_size": 32, "rope_theta": 30.0}])
def test_pretraining_lowers_the_loss_and_saves_a_loadable_model(options: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out = tmp_path / "model"
    run(Arguments(out=out, tokens=60_000, **options))
    config = AutoModelForCausalLM.from_pretrained(out).config
    assert config.rope_parameters["rope_theta"] == options.get("rope_theta", 10_000)
    assert config.head_dim == options.get("head_size", 12)
    AutoTokenizer.from_pretrained(out)
    card = (out / "README.md").read_text()
    assert float(card.rsplit("final training loss ", 1)[1].split(".\n")[0]) < 5.7  # ln(320) is 5.77


def test_widened_heads_compute_the_same_function() -> None:
    import torch

    model = build_model("0.2m", 292, 0, eos=0, pad=1).eval()
    wide = widened(model)
    assert (model.config.head_dim, wide.config.head_dim) == (16, 32) and wide.config.num_attention_heads == 4
    ids = torch.randint(0, 292, (3, 150), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(wide(ids).logits, model(ids).logits, atol=2e-4, rtol=1e-4)
    odd = build_model("0.03m", 292, 0, eos=0, pad=1)
    assert widened(odd) is odd  # heads of 12 have no place among 32 whose pairs turn alike


@pytest.mark.vllm
def test_vllm_runs_the_embedded_model_and_says_what_transformers_says() -> None:
    from star.sampling import backends

    if (build := backends.vllm_build()) is None or build.kind != "cpu":
        pytest.skip('no CPU build of vLLM here: pip install -e ".[cpu]"')
    from star.sampling.vllm_sampler import VllmSampler

    problems = [addition.make_problem(a, b, 2) for a, b in ((12, 34), (57, 68), (99, 1), (40, 40))]
    other = TransformersSampler(EMBEDDED)
    prompts = [other.tokenizer(addition.prompt(problem))["input_ids"] for problem in problems]
    decoding = Decoding(temperature=0.0, max_new_tokens=60)
    sampler = VllmSampler(EMBEDDED, cpu=True)
    try:
        found = [row[0].token_ids for row in sampler.sample(prompts, decoding)]
    finally:
        sampler.close()
    assert found == [row[0].token_ids for row in other.sample(prompts, decoding)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tokens": 0}, "--tokens 0: expected a number above 0"),
        ({"tokens": -5.0}, "--tokens -5"),
        ({"tokens": float("inf")}, "--tokens inf: expected a number above 0"),
        ({"learning_rate": float("nan")}, "--learning-rate nan: expected a number above 0"),
        ({"batch_tokens": 0}, "--batch-tokens 0"),
        ({"rope_theta": -5.0}, "--rope-theta -5: expected a number above 0"),
        ({"head_size": -4}, "--head-size -4: expected an even number"),
        ({"head_size": 7}, "--head-size 7: expected an even number"),
        ({"device": "gpu"}, "--device gpu: expected cpu or cuda"),
    ],
)
def test_impossible_options_are_sentences(options: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        run(Arguments(out=tmp_path / "model", **options))  # type: ignore[arg-type]
    assert not (tmp_path / "model").exists()


def test_a_folder_in_use_is_not_overwritten_unasked(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("mine")
    with pytest.raises(PretrainError, match="--overwrite"):
        run(Arguments(out=tmp_path, tokens=1000))
    assert (tmp_path / "model.safetensors").read_text() == "mine"
    (tmp_path / "file").write_text("")
    with pytest.raises(PretrainError, match="cannot write to"):
        run(Arguments(out=tmp_path / "file" / "model", tokens=1000))


def test_the_card_names_the_command_that_was_run() -> None:
    assert command(Arguments(tokens=12e6)) == "python -m star.pretrain --size 0.2m --tokens 12000000 --seed 0"
    assert command(Arguments(batch_tokens=512, index_hints=True, out=Path("x"))).endswith("--index-hints --batch-tokens 512")
