"""Builds the embedded base models: `python -m star.pretrain --size 0.2m --out seeds/models/addition-0.2m`.

A from-scratch Llama of `star/embedded/model.py` on the corpus of `star/embedded/corpus.py`, saved as a `from_pretrained`
directory (untied embeddings, safetensors, a Hugging Face tokenizer, a model card). This is the one training loop of our own in
`star`: fine-tuning goes through TRL, see `star/training/finetuning.py`.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star.command_line import parse, run_command
from star.embedded.corpus import INDEXED, SUMS, Document, Mixture, documents
from star.embedded.model import Size, build_model, build_tokenizer, widened
from star.errors import InputError, UsageError
from star.progress import bar

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

@dataclass(frozen=True)
class Arguments:
    """Command line of `python -m star.pretrain`."""

    size: Size = "0.2m"
    """Parameters of the model, about."""
    out: Path = Path("seeds/models/addition-0.2m")
    """Directory to write."""
    tokens: float = 40e6
    """Pretraining tokens, prompts included."""
    seed: int = 0
    """Seeds the weights and the corpus."""
    index_hints: bool = False
    """A base that is to go beyond the lengths of its sums: digits have letters, sums at most 5 digits, copied numbers more."""
    rope_theta: float = 10_000.0
    """Base of the rotary position encoding."""
    head_size: int | None = None
    """Dimensions of an attention head; None: hidden / heads."""
    batch_tokens: int = 4096
    """Tokens per optimizer step, padding included."""
    learning_rate: float = 3e-3
    """Peak for the 0.2m size; scaled by the square root of 64/hidden. Linear warm-up, cosine to a tenth."""
    device: str = "cpu"
    """cpu or cuda."""
    overwrite: bool = False
    """Replace what `out` already holds."""

    @property
    def mixture(self) -> Mixture:
        """Of its corpus."""
        return INDEXED if self.index_hints else SUMS


def encode(tokenizer: PreTrainedTokenizerFast, docs: list[Document]) -> list[tuple[list[int], list[bool]]]:
    """Token ids of each document and whether each token carries loss; prompt and completion are encoded apart, as in STaR."""
    texts = [text for doc in docs for part in doc.parts for text in part]
    encoded = iter(tokenizer(texts, add_special_tokens=False)["input_ids"])
    rows = []
    for doc in docs:
        ids: list[int] = []
        loss: list[bool] = []
        for _ in doc.parts:
            prompt, completion = next(encoded), next(encoded)
            ids += prompt + completion
            loss += [False] * len(prompt) + [True] * len(completion)
        rows.append((ids + [tokenizer.eos_token_id] * doc.ends, loss + [True] * doc.ends))
    return rows


def padded(rows: list[tuple[list[int], list[bool]]], pad: int) -> Any:
    """(ids, labels) of encoded rows, each of shape (rows, longest row); what carries no loss is -100 in `labels`."""
    import torch

    width = max(len(tokens) for tokens, _ in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), -100)
    for index, (tokens, loss) in enumerate(rows):
        ids[index, : len(tokens)] = torch.tensor(tokens)
        labels[index, : len(tokens)] = torch.where(torch.tensor(loss), ids[index, : len(tokens)], -100)
    return ids, labels


def batches(tokenizer: PreTrainedTokenizerFast, arguments: Arguments, mixture: Mixture | None = None) -> Any:
    """Endless (ids, labels) batches of about `batch_tokens` tokens: rows of similar length together, batches shuffled."""
    import random

    stream = documents(arguments.seed + 1, mixture or arguments.mixture)
    rng = random.Random(arguments.seed)
    while True:
        rows = sorted(encode(tokenizer, list(islice(stream, 4096))), key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for row in rows:
            if groups[-1] and (len(groups[-1]) + 1) * len(row[0]) > arguments.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        for group in groups:
            yield padded(group, tokenizer.pad_token_id)


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    arguments: Arguments,
    mixture: Mixture | None = None,
    stop: Callable[[int], bool] | None = None,
) -> dict[str, float]:
    """Train in place for `arguments.tokens` tokens; returns tokens seen, steps, seconds and the last losses' mean.

    `stop` is asked after each step, with the tokens seen, whether that is enough; the rate then stays at its peak.
    """
    import torch

    model.to(arguments.device).train()
    autocast = torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.device == "cuda")
    peak = arguments.learning_rate * math.sqrt(64 / model.config.hidden_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    seen, step, loss_mean, started = 0, 0, math.log(model.config.vocab_size), time.monotonic()
    shown = bar(f"pretraining {arguments.size}", int(arguments.tokens), "token", unit_scale=True)
    for ids, labels in batches(tokenizer, arguments, mixture):
        done = 0.0 if stop else seen / arguments.tokens
        scale = min(1.0, (step + 1) / 100) * (0.1 + 0.45 * (1 + math.cos(math.pi * min(done, 1.0))))
        optimizer.param_groups[0]["lr"] = peak * scale
        ids, labels = ids.to(arguments.device), labels.to(arguments.device)
        with autocast:
            hidden = model.model(ids).last_hidden_state[:, :-1]
            target = labels[:, 1:]
            chosen = target != -100
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[chosen]).float(), target[chosen])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        count = ids.numel()
        seen, step = seen + count, step + 1
        loss_mean = 0.98 * loss_mean + 0.02 * loss.item() if step > 50 else loss.item()
        shown.update(count)
        shown.set_postfix(loss=f"{loss_mean:.4f}", refresh=False)
        if seen >= arguments.tokens or (stop and stop(seen)):
            break
    shown.close()
    return {"seen": seen, "steps": step, "seconds": time.monotonic() - started, "loss": loss_mean}


CARD = """---
license: apache-2.0
library_name: transformers
tags: [star, addition]
---
# {name}

A Llama-architecture model of {parameters:,} parameters, pretrained from scratch as the starting point of STaR on n-digit
addition: {skill} Corpus, format and purpose: `star/embedded/corpus.py`. Not useful for anything else.

Made by `{command}` (torch {torch}):
{steps} steps, {seen:,} tokens, {seconds:.0f} s, final training loss {loss:.4f}.{heads}
"""

SUMS_SKILL = """it adds one digit, two digits in part, longer numbers not at all, and can explain a longer sum whose answer it is
told."""
INDEXED_SKILL = """its digits carry a letter for their place (`task.index_hints`); it adds numbers of up to five digits, has seen no
longer sum, and copies numbers of up to ten."""
WIDENED = """
Its heads of {old} dimensions are stored as heads of {new}, the further ones zero, because vLLM's CPU attention begins there: the
same function with more parameters."""


class PretrainError(InputError):
    """Arguments that cannot be used; the message says what to do."""


def check(arguments: Arguments) -> None:
    """Raise PretrainError before any work when the arguments cannot lead to a saved model."""
    import torch

    for name in ("tokens", "batch_tokens", "learning_rate", "rope_theta"):
        if not 0 < getattr(arguments, name) < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(arguments, name):g}: expected a number above 0")
    if arguments.head_size is not None and (arguments.head_size < 2 or arguments.head_size % 2):
        raise UsageError(f"--head-size {arguments.head_size}: expected an even number above 0, as positions rotate pairs")
    if arguments.device not in ("cpu", "cuda"):
        raise UsageError(f"--device {arguments.device}: expected cpu or cuda")
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch sees no GPU here; use --device cpu")
    if arguments.out.is_dir() and any(arguments.out.iterdir()) and not arguments.overwrite:
        raise PretrainError(f"{arguments.out} is not empty; name another --out, or replace it with --overwrite")
    try:
        arguments.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=arguments.out).close()
    except OSError as error:
        raise PretrainError(f"cannot write to {arguments.out}: {error.strerror}") from error


def command(arguments: Arguments) -> str:
    """The command line of these arguments, without where they were written to."""
    shown = {"size": arguments.size, "tokens": f"{arguments.tokens:.0f}", "seed": arguments.seed}
    shown |= {
        field.name: getattr(arguments, field.name)
        for field in fields(arguments)
        if field.name not in (*shown, "out", "overwrite") and getattr(arguments, field.name) != field.default
    }
    options = (f"--{k.replace('_', '-')}" + ("" if v is True else f" {v}") for k, v in shown.items())
    return " ".join(["python -m star.pretrain", *options])


def save(model: LlamaForCausalLM, tokenizer: Any, arguments: Arguments, trained: dict[str, float]) -> None:
    """Write the model directory and its card."""
    import torch

    arguments.out.mkdir(parents=True, exist_ok=True)
    old = model.config.head_dim
    model = widened(model.float().cpu().eval())
    model.generation_config.max_length = None
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    new = model.config.head_dim
    card = CARD.format(
        name=arguments.out.resolve().name,
        parameters=model.num_parameters(),
        skill=INDEXED_SKILL if arguments.index_hints else SUMS_SKILL,
        command=command(arguments),
        torch=torch.__version__,
        heads=WIDENED.format(old=old, new=new) if new != old else "",
        **trained,
    )
    (arguments.out / "README.md").write_text(card, encoding="utf-8")


def run(arguments: Arguments) -> None:
    """Build, train and save one model. Raises PretrainError for arguments that cannot work."""
    check(arguments)
    tokenizer = build_tokenizer(arguments.mixture)
    vocabulary = len(tokenizer), arguments.seed, tokenizer.eos_token_id, tokenizer.pad_token_id
    model = build_model(arguments.size, *vocabulary, theta=arguments.rope_theta, head=arguments.head_size)
    print(f"{model.num_parameters():,} parameters, vocabulary {len(tokenizer)}")
    save(model, tokenizer, arguments, train(model, tokenizer, arguments))
    print(f"saved to {arguments.out}")


def main(argv: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    return run_command(lambda: run(parse(Arguments, __doc__, argv)), stopped="Nothing was saved.")


if __name__ == "__main__":
    sys.exit(main())
