"""What a model directory says about itself, read without importing torch: parameters, context, end tokens, tokenizer.

Every way in which a directory can be broken ends here, as a SamplerError that names the file and says what to do.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from star.errors import counted, first_line
from star.sampling.base import SamplerError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "tekken.json")
INDEX = "model.safetensors.index.json"
NUMBERS = ("vocab_size", "eos_token_id", "bos_token_id", "pad_token_id")
CONTEXT_FIELDS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")

NO_CONFIG = "{} has no config.json; expected a model saved with save_pretrained."


def check_model_dir(model_dir: Path) -> None:
    """Raise SamplerError unless `model_dir` holds a configuration, a tokenizer and readable weights."""
    if not model_dir.is_dir():
        raise SamplerError(f"{model_dir} is not a directory; expected a model saved with save_pretrained.")
    if not (model_dir / "config.json").is_file():
        raise SamplerError(NO_CONFIG.format(model_dir))
    for name in ("config.json", "generation_config.json"):
        _check_numbers(model_dir / name)
    for name in ("tokenizer_config.json", "tokenizer.json"):
        _read_json(model_dir / name)
    if not any((model_dir / name).is_file() for name in TOKENIZER_FILES):
        raise SamplerError(
            f"{model_dir} has no tokenizer (looked for {', '.join(TOKENIZER_FILES)}); "
            "save one beside the model with tokenizer.save_pretrained."
        )
    shards = sorted(model_dir.glob("*.safetensors"))
    if not shards:
        raise SamplerError(
            f"{model_dir} has no .safetensors weights; save the model with save_pretrained (pickles are not read)."
        )
    for shard in shards:
        _shapes(shard)
    files, known = (_read_json(model_dir / INDEX) or {"weight_map": {}}).get("weight_map"), {shard.name for shard in shards}
    wrong = [name for name in files.values() if str(name) not in known] if isinstance(files, dict) else [files]
    if wrong:
        raise SamplerError(f"{model_dir / INDEX} names {wrong[0]!r:.100}, which is no weight file beside it; copy the model again.")


def _check_numbers(path: Path) -> None:
    """Raise SamplerError for token ids and sizes that are no whole numbers, which any library would stumble over."""
    content = _read_json(path) or {}
    for name, value in [*content.items(), *(content.get("text_config") or {}).items()]:
        several = value if isinstance(value, list) and name.endswith("_token_id") else [value]
        if name in NUMBERS and value is not None and not all(isinstance(each, int) and abs(each) < 2**31 for each in several):
            raise SamplerError(f"{path}: {name} is {value!r:.100}, expected a whole number; save the model again.")
        if name.startswith("num_") and isinstance(value, int) and value < 0:
            raise SamplerError(f"{path}: {name} is {value}, which is below 0; save the model again.")


def read_config(model_dir: Path) -> dict[str, Any]:
    """The model's config.json; a text model nested in a multimodal configuration is returned on its own."""
    path = model_dir / "config.json"
    config = _read_json(path)
    if config is None:
        raise SamplerError(NO_CONFIG.format(model_dir))
    nested = config.get("text_config")
    return nested if isinstance(nested, dict) else config


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise SamplerError(f"{path} cannot be read ({error}); restore the file or save the model again.") from error
    if not isinstance(content, dict):
        raise SamplerError(f"{path} holds {type(content).__name__}, expected a JSON object; save the model again.")
    return content


def _shapes(path: Path) -> list[list[int]]:
    """Shapes of a safetensors file's tensors. Its header is checked against its size, so a cut-off copy is found here."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as weights:
            return [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
    except (OSError, SafetensorError, MemoryError) as error:
        raise SamplerError(f"{path} is not a whole safetensors file ({first_line(error)}); copy or save it again.") from error


def count_parameters(model_dir: Path) -> int:
    """Stored parameters, from the safetensors headers (tied embeddings count once); where there is an index, of its files alone."""
    index = _read_json(model_dir / INDEX)
    shards = {model_dir / name for name in index["weight_map"].values()} if index else model_dir.glob("*.safetensors")
    return sum(math.prod(shape) for shard in shards for shape in _shapes(shard))


def context_length(model_dir: Path, limit: int | None = None) -> int | None:
    """Longest sequence in tokens the configuration allows, at most `limit`; None when neither says anything."""
    config = read_config(model_dir)
    known = [config[name] for name in CONTEXT_FIELDS if isinstance(config.get(name), int) and config[name] > 0]
    return min([*known[:1], *([limit] if limit else [])], default=None)


def end_tokens(model_dir: Path, tokenizer: Any) -> tuple[int, ...]:
    """Token ids that end a completion: those of generation_config.json, config.json and the tokenizer together.

    Empty when the model has none: then only stop strings and the length limit end a completion.
    """
    generation = _read_json(model_dir / "generation_config.json") or {}
    ends: set[int] = set()
    for value in (generation.get("eos_token_id"), read_config(model_dir).get("eos_token_id"), tokenizer.eos_token_id):
        ends.update(value if isinstance(value, list) else [value] if isinstance(value, int) else [])
    if not ends:
        warnings.warn(
            f"{model_dir.name} has no end token: completions end at a stop string or at the length limit.", stacklevel=2
        )
    return tuple(sorted(ends))


def load_tokenizer(model_dir: Path, *, trust_remote_code: bool = False) -> Any:
    """The directory's Hugging Face tokenizer. Raises SamplerError when it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(model_dir, trust_remote_code=trust_remote_code, local_files_only=True)
        tokenizer.encode("a")  # some values of the wrong type are noticed at the first use alone
    except Exception as error:  # the libraries raise whatever a broken file makes them stumble over
        raise SamplerError(f"The tokenizer in {model_dir} cannot be loaded ({first_line(error)}).") from error
    return tokenizer


@contextmanager
def without_file_bars() -> Iterator[None]:
    """No bars of transformers while it reads or writes a model's files: two a round for a few files are noise."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def load_model(
    model_dir: Path, *, dtype: Any, trust_remote_code: bool = False, model_class: Any = None, exact: bool = False
) -> Any:
    """The directory's model (default: a causal language model) on the CPU, in evaluation mode.

    transformers fills weights it does not find with random numbers and only warns; here that is a SamplerError, and so are
    weights that are no finite numbers (such a model answers nothing, which would look like a weak one) and, with `exact`,
    weights that the model has no place for (but those of a vocabulary's head).
    """
    import torch
    from transformers import AutoModelForCausalLM

    check_model_dir(model_dir)
    try:
        with without_file_bars():
            model, report = (model_class or AutoModelForCausalLM).from_pretrained(
                model_dir,
                dtype=dtype,
                trust_remote_code=trust_remote_code,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
            )
    except Exception as error:  # as above
        raise SamplerError(f"The model in {model_dir} cannot be loaded ({first_line(error)}).") from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise SamplerError(
            f"The weights in {model_dir} lack {counted(len(absent), 'tensor')} of the configured model (first: {absent[0]}); "
            "config.json and the safetensors files do not belong together."
        )
    broken = next((name for name, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())), None)
    if broken is not None:
        raise SamplerError(f"The weights in {model_dir} hold NaN or infinity (first: {broken}); copy or train the model again.")
    left_over = sorted(name for name in report["unexpected_keys"] if not name.startswith("lm_head."))
    if exact and left_over:
        raise SamplerError(
            f"{model_dir} has {counted(len(left_over), 'tensor')} that a {type(model).__name__} does not have "
            f"(first: {left_over[0]}): it is another kind of model."
        )
    return model.eval()


def numerics(dtype: str = "auto", device: str = "auto") -> tuple[str, str]:
    """(dtype, device) with "auto" settled: a GPU where there is one; bfloat16 on a GPU, float32 on a CPU."""
    import torch

    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return ("bfloat16" if device == "cuda" else "float32") if dtype == "auto" else dtype, device


def ready_model(model_dir: Path, *, dtype: str = "auto", device: str = "auto", trust_remote_code: bool = False) -> Any:
    """The directory's model to ask a little of; dtype and device as in `numerics`."""
    import torch

    dtype, device = numerics(dtype, device)
    return load_model(model_dir, dtype=getattr(torch, dtype), trust_remote_code=trust_remote_code).to(device)
