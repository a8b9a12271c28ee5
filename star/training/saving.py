"""A trained model -> a `from_pretrained` directory: weights, the base model's own tokenizer files, a model card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from star.files import sync
from star.sampling.gguf import ORIGIN
from star.sampling.model_files import TOKENIZER_FILES

TOKENIZER_EXTRAS = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "merges.txt", "vocab.txt", "chat_template.jinja",
    ORIGIN,
)  # fmt: skip
CHAT_TEMPLATES = "chat_templates"
"""Folder of the templates beside the default one."""


def save_model(trainer: Any, tokenizer: Any, base: Path, folder: Path, card: str) -> None:
    """Write the trainer's model to `folder`; adapters are merged first. Every process of a launch has to call this, since
    shards are gathered; the main one writes.
    """
    main = trainer.accelerator.is_main_process
    model = trainer.accelerator.unwrap_model(trainer.model)
    if hasattr(model, "merge_and_unload"):
        trainer.model = model.merge_and_unload()
        if main:
            trainer.model.save_pretrained(folder)
    else:
        trainer.save_model(str(folder))
    if not main:
        return
    _copy_tokenizer(base, folder, tokenizer)
    (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle; everything in it is in the recipe
    for read in folder.glob("*.arrow"):  # the rows, and what TRL made of them
        read.unlink()
    (folder / "README.md").write_text(card, encoding="utf-8")


def _copy_tokenizer(base: Path, folder: Path, tokenizer: Any) -> None:
    """The base model's own files: saved anew they say the same in other words, and a reader must take them for others."""
    if not base.is_dir():
        tokenizer.save_pretrained(folder)
        return
    for name in (*TOKENIZER_FILES, *TOKENIZER_EXTRAS):
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    for code in base.glob("*.py"):  # a model's own, which its configuration and its tokenizer name
        shutil.copyfile(code, folder / code.name)
    shutil.rmtree(folder / CHAT_TEMPLATES, ignore_errors=True)
    if (base / CHAT_TEMPLATES).is_dir():
        shutil.copytree(base / CHAT_TEMPLATES, folder / CHAT_TEMPLATES)


def publish(scratch: Path, output: Path) -> None:
    """Rename the finished directory into place, once all of it is on the disk."""
    for path in (*scratch.rglob("*"), scratch):
        sync(path)
    if output.exists():
        shutil.rmtree(output)
    scratch.rename(output)
    sync(output.parent)
