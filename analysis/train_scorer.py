"""Train a process reward model on labelled steps: a token classifier that `--scorer prm:DIR` reads.

    python -m analysis.train_scorer rows.jsonl --base seeds/models/addition-0.2m -o scorer
    python -m analysis.score rationales.jsonl -o scores.jsonl --scorer prm:scorer

One JSON object a line: `question` (or `prompt`), `steps` (or `completions`), and `labels` or `step_ok` (true, false, P(step right),
or null) or `first_error_step` (-1: none). A label stands at the separator after its step and nowhere else; nothing after the first
wrong step is learned, for what follows from an error is neither right nor wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from star.command_line import parse, run_command
from star.errors import InputError, counted
from star.row_files import parsed_rows

Row = tuple[str, list[str], list[float | None]]
"""(question, steps, P(step right) of each; None: not learned)."""
NO_LABEL = -100.0


@dataclass(frozen=True)
class Arguments:
    """Train a process reward model."""

    rows: Path
    """Labelled rationales, one JSON object a line."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("scorer")
    """The directory to write; it must be new or empty."""
    base: str = "seeds/models/addition-0.2m"
    """The language model to start from: a `from_pretrained` directory or a Hub id."""
    epochs: float = 3.0
    """Passes over the rows."""
    learning_rate: float = 1e-4
    """Peak; it falls linearly to 0."""
    batch_size: int = 16
    """Rationales a step."""
    seed: int = 0
    """Of the new head and the order of the rows."""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: train(parse(Arguments, __doc__, argv)), stopped="Nothing was saved.")


def read_rows(path: Path) -> list[Row]:
    """Raises InputError for a file or a line that cannot be used."""
    expected = '{"question": "...", "steps": ["..."], "labels": [true]}'
    rows = parsed_rows(path, lambda _, row: row_of(row), "labelled rationale", expected)
    if not any(label is not None for _, _, labels in rows for label in labels):
        raise InputError(f"{path} labels no step: expected `labels`, `step_ok` or `first_error_step`.")
    return rows


def row_of(content: Mapping[str, Any]) -> Row:
    """A row, with nothing labelled after its first wrong step. Raises KeyError, TypeError or ValueError."""
    question, steps = content.get("question", content.get("prompt")), content.get("steps", content.get("completions"))
    if not isinstance(question, str) or not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise ValueError("no question, or steps that are not a list of texts")
    given = content.get("labels", content.get("step_ok"))
    if given is None:
        first = int(content["first_error_step"])
        if not -1 <= first < len(steps):
            raise ValueError(f"first_error_step {first} of {counted(len(steps), 'step')}: expected 0 for the first, or -1 for none")
        given = [place != first for place in range(len(steps))]
    labels = [None if label is None else float(label) for label in given]
    if len(labels) != len(steps) or not all(label is None or 0 <= label <= 1 for label in labels):
        raise ValueError(f"{counted(len(labels), 'label')} for {counted(len(steps), 'step')}, or some that are not from 0 to 1")
    learned = labels.index(0.0) + 1 if 0.0 in labels else len(labels)
    return question, steps, labels[:learned] + [None] * (len(labels) - learned)


def train(arguments: Arguments) -> None:
    """Train and save. Raises InputError."""
    import torch
    from transformers import AutoModelForTokenClassification, Trainer, TrainingArguments, set_seed

    from analysis.soundness.prm_formats import FORMATS, Reader
    from star.recipe import ModelSettings
    from star.sampling.model_files import check_model_dir, context_length, load_tokenizer, without_file_bars
    from star.setup import resolve_model

    if arguments.output.is_file() or (arguments.output.is_dir() and any(arguments.output.iterdir())):
        raise InputError(f"{arguments.output} is there already: name another --output.")
    rows, base = read_rows(arguments.rows), resolve_model(ModelSettings(path=arguments.base))
    check_model_dir(base)
    reader, limit = Reader(FORMATS["trl"], load_tokenizer(base)), context_length(base) or 2**31
    examples = []
    for question, steps, labels in rows:
        ids, positions = reader.encode(question, steps)
        at = {place: label for place, label in zip(positions, labels, strict=True) if label is not None}
        if at and len(ids) <= limit:
            examples.append({"input_ids": ids, "labels": [at.get(place, NO_LABEL) for place in range(len(ids))]})
    if len(examples) < len(rows):
        unused = f"{len(rows) - len(examples):,} of {counted(len(rows), 'row')}"
        print(f"left out: {unused}, without a label or too long.", file=sys.stderr)

    def collate(batch: list[dict[str, Any]]) -> dict[str, Any]:
        def padded(name: str, fill: float) -> Any:
            return torch.nn.utils.rnn.pad_sequence([torch.tensor(one[name]) for one in batch], True, fill)

        ids = padded("input_ids", -1)
        return {"input_ids": ids.clamp(min=0), "attention_mask": (ids >= 0).long(), "labels": padded("labels", NO_LABEL)}

    def loss(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
        right = labels[labels != NO_LABEL]
        logits = outputs.logits[labels != NO_LABEL].float()
        return torch.nn.functional.cross_entropy(logits, torch.stack([1 - right, right], dim=-1))

    set_seed(arguments.seed)
    with without_file_bars():
        model = AutoModelForTokenClassification.from_pretrained(base, num_labels=2, dtype=torch.float32)
    settings = TrainingArguments(
        output_dir=str(arguments.output),
        num_train_epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        per_device_train_batch_size=arguments.batch_size,
        bf16=torch.cuda.is_available(),
        use_cpu=not torch.cuda.is_available(),
        seed=arguments.seed,
        save_strategy="no",
        report_to=[],
    )
    Trainer(model=model, args=settings, train_dataset=examples, data_collator=collate, compute_loss_func=loss).train()
    with without_file_bars():
        model.save_pretrained(arguments.output)
        reader.tokenizer.save_pretrained(arguments.output)
    print(f"The scorer is in {arguments.output}: analysis.score --scorer prm:{arguments.output}")


if __name__ == "__main__":
    sys.exit(main())
