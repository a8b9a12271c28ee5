"""A `.gguf` file -> a `from_pretrained` directory, once: the weights are spread out to float32 and kept in the cache.

What such a file holds is mostly quantised, so training starts from rounded weights; `origin.json` in the directory says so,
and run.json and every model card repeat it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
from contextlib import nullcontext, redirect_stderr
from pathlib import Path
from typing import Any

from star.errors import first_line
from star.sampling.base import SamplerError
from star.sampling.model_files import check_model_dir

ORIGIN = "origin.json"
"""File of a converted directory: {"file", "sha256", "quantisation"}."""
PROBE = "Question: There are 3 boxes of 12 pens. How many pens are there?\nAnswer: 3 * 12 = 36 pens."
TOLERANCE = 1e-4
"""Largest difference of a token's log-probability, in nats, between the file and the directory made from it."""


def gguf_file(path: Path) -> Path | None:
    """The .gguf file that `path` names: itself, or the only one in a directory without a config.json. None for anything else.

    Raises SamplerError for a directory that holds several.
    """
    if path.is_file() and path.suffix.lower() == ".gguf":
        return path
    if not path.is_dir() or (path / "config.json").is_file():
        return None
    files = sorted(each for each in path.iterdir() if each.suffix.lower() == ".gguf")
    if len(files) > 1:
        names = ", ".join(each.name for each in files[:4])
        raise SamplerError(f"{path} holds {len(files)} .gguf files ({names}); set model.path to one of them.")
    return files[0] if files else None


def converted(file: Path) -> Path:
    """The directory made from `file`, from the cache or made now. Raises SamplerError when it cannot be read or converted."""
    try:
        with file.open("rb") as handle:
            if handle.peek(4)[:4] != b"GGUF":
                raise SamplerError(f"{file} is no GGUF file: it does not begin with the letters GGUF.")
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise SamplerError(f"{file} cannot be read ({error}).") from error
    folder = cache_dir() / f"{file.stem}-{digest[:12]}"
    if _whole(folder):
        return folder
    print(f"converting {file.name} to a float32 model directory, once: {folder}", file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "model"
        _convert(file, made)
        origin = {"file": file.name, "sha256": digest, "quantisation": _quantisation(file)}
        (made / ORIGIN).write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")  # last: it says that all is there
        if not _whole(folder):  # another process may have been faster, and may be reading it by now
            shutil.rmtree(folder, ignore_errors=True)
            made.rename(folder)
    return folder


def _whole(folder: Path) -> bool:
    """Whether a conversion is there with all its files."""
    try:
        check_model_dir(folder)
    except SamplerError:
        return False
    return (folder / ORIGIN).is_file()


def origin_of(model_dir: Path) -> dict[str, str] | None:
    """What a converted directory was made from; None for any other model."""
    try:
        content = json.loads((model_dir / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    wanted = ("file", "sha256", "quantisation")
    return {name: str(content[name]) for name in wanted} if isinstance(content, dict) and set(wanted) <= set(content) else None


def cache_dir() -> Path:
    """Where converted models are kept: XDG_CACHE_HOME (or ~/.cache)/star-suite/models."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "star-suite" / "models"


def _quantisation(file: Path) -> str:
    """The tensor type that most weights are stored in, for example Q4_1."""
    from gguf import GGUFReader

    sizes: dict[str, int] = {}
    for tensor in GGUFReader(file).tensors:
        sizes[tensor.tensor_type.name] = sizes.get(tensor.tensor_type.name, 0) + int(tensor.n_elements)
    return max(sizes, key=lambda name: sizes[name])


def _convert(file: Path, folder: Path) -> None:
    """Load through transformers, save, load the copy, and compare what both say about a text."""
    try:
        import gguf  # noqa: F401  # what transformers reads the file with
    except ImportError:
        raise SamplerError(f"{file.name} needs the package gguf: pip install gguf") from None
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from star.sampling.model_files import load_model, load_tokenizer, without_file_bars

    options: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    # The bar of transformers' reader asks for no terminal; in a log it is a line of 3,000 characters.
    quiet = nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO())
    try:
        with without_file_bars(), quiet:
            tokenizer = AutoTokenizer.from_pretrained(file.parent, **options)
            model = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **options).eval()
            before = _logprobs(model, tokenizer)
            model.hf_quantizer = None  # or save_pretrained refuses: what is saved is no longer quantised
            if hasattr(model.config, "quantization_config"):
                del model.config.quantization_config
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except Exception as error:  # a reader of binary files raises whatever a broken one makes it stumble over
        raise SamplerError(
            f"{file} cannot be converted ({first_line(error)}). Expected a whole GGUF file of an architecture that transformers "
            "reads; a save_pretrained directory of the same model always works."
        ) from error
    del model
    after = _logprobs(load_model(folder, dtype=torch.float32), load_tokenizer(folder))
    if before.shape != after.shape or float((before - after).abs().max()) > TOLERANCE:
        raise SamplerError(f"{file.name} was converted, but the copy gives other log-probabilities than the file; not used.")


def _logprobs(model: Any, tokenizer: Any) -> Any:
    """Log-probability of each token of PROBE behind its first, in nats."""
    import torch

    ids = torch.tensor([tokenizer(PROBE)["input_ids"]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0, :-1].float()
    return logits.log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
