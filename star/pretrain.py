"""Builds the embedded base models: `python -m star.pretrain --size 0.2m --out seeds/models/addition-0.2m`.

A from-scratch Llama of `star/embedded/model.py` on the corpus of `star/embedded/corpus.py`, saved as a `from_pretrained`
directory (untied embeddings, safetensors, a Hugging Face tokenizer, a model card). This is the one training loop of our own in
the project: fine-tuning goes through TRL, see `star/training/finetuning.py`.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star.embedded.corpus import Document, Mixture, documents
from star.embedded.model import Size, build_model, build_tokenizer, widened

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

@dataclass(frozen=True)
class Options:
    """Flags of `python -m star.pretrain`."""

    size: Size = "0.2m"
    """Parameters of the model, about."""
    out: Path = Path("seeds/models/addition-0.2m")
    """Directory to write."""
    tokens: float = 40e6
    """Pretraining tokens, prompts included."""
    seed: int = 0
    """Seeds the weights and the corpus."""
    batch_tokens: int = 4096
    """Tokens per optimizer step, padding included."""
    learning_rate: float = 3e-3
    """Peak for the 0.2m size; scaled by the square root of 64/hidden. Linear warm-up, cosine to a tenth."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = 0
    """CPU threads; 0 leaves torch's choice."""
    overwrite: bool = False
    """Replace what `out` already holds."""


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
        rows.append(([*ids, tokenizer.eos_token_id], [*loss, True]))
    return rows


def batches(tokenizer: PreTrainedTokenizerFast, options: Options) -> Any:
    """Endless (ids, labels) batches of about `batch_tokens` tokens: rows of similar length together, batches shuffled."""
    import random

    import torch

    stream = documents(options.seed + 1, Mixture())
    rng = random.Random(options.seed)
    while True:
        rows = sorted(encode(tokenizer, list(islice(stream, 4096))), key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for row in rows:
            if groups[-1] and (len(groups[-1]) + 1) * len(row[0]) > options.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        for group in groups:
            width = max(len(tokens) for tokens, _ in group)
            ids = torch.full((len(group), width), tokenizer.pad_token_id)
            labels = torch.full((len(group), width), -100)
            for index, (tokens, loss) in enumerate(group):
                ids[index, : len(tokens)] = torch.tensor(tokens)
                labels[index, : len(tokens)] = torch.where(torch.tensor(loss), ids[index, : len(tokens)], -100)
            yield ids, labels


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, options: Options) -> dict[str, float]:
    """Train in place for `options.tokens` tokens; returns tokens seen, steps, seconds and the last losses' mean."""
    import torch
    from tqdm import tqdm

    model.to(options.device).train()
    autocast = torch.autocast(options.device, torch.bfloat16, enabled=options.device == "cuda")
    peak = options.learning_rate * math.sqrt(64 / model.config.hidden_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    seen, step, loss_mean, started = 0, 0, math.log(model.config.vocab_size), time.monotonic()
    bar = tqdm(total=int(options.tokens), unit="tok", unit_scale=True, desc=f"pretraining {options.size}")
    for ids, labels in batches(tokenizer, options):
        done = seen / options.tokens
        scale = min(1.0, (step + 1) / 100) * (0.1 + 0.45 * (1 + math.cos(math.pi * min(done, 1.0))))
        optimizer.param_groups[0]["lr"] = peak * scale
        ids, labels = ids.to(options.device), labels.to(options.device)
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
        bar.update(count)
        bar.set_postfix(loss=f"{loss_mean:.4f}", refresh=False)
        if seen >= options.tokens:
            break
    bar.close()
    return {"seen": seen, "steps": step, "seconds": time.monotonic() - started, "loss": loss_mean}


CARD = """---
license: apache-2.0
library_name: transformers
tags: [star, addition]
---
# addition-{size}

A Llama-architecture model of {parameters:,} parameters, pretrained from scratch as the starting point of STaR on n-digit
addition: it adds one digit, two digits in part, longer numbers not at all, and can explain a longer sum whose answer it is
told. Corpus, format and purpose: `star/embedded/corpus.py`. Not useful for anything else.

Made by `{command}` (torch {torch}):
{steps} steps, {seen:,} tokens, {seconds:.0f} s, final training loss {loss:.4f}.{heads}
"""

WIDENED = """
Its heads of {old} dimensions are stored as heads of {new}, the further ones zero, because vLLM's CPU attention begins there: the
same function with more parameters."""


class PretrainError(ValueError):
    """Options that cannot be used; the message says what to do."""


def check(options: Options) -> None:
    """Raise PretrainError before any work when the options cannot lead to a saved model."""
    import torch

    for name in ("tokens", "batch_tokens", "learning_rate"):
        if getattr(options, name) <= 0:
            raise PretrainError(f"--{name.replace('_', '-')} {getattr(options, name):g}: expected a number above 0")
    if options.device == "cuda" and not torch.cuda.is_available():
        raise PretrainError("--device cuda: torch sees no GPU here; use --device cpu")
    if options.out.is_dir() and any(options.out.iterdir()) and not options.overwrite:
        raise PretrainError(f"{options.out} is not empty; name another --out, or replace it with --overwrite")
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=options.out).close()
    except OSError as error:
        raise PretrainError(f"cannot write to {options.out}: {error.strerror}") from error


def command(options: Options) -> str:
    """The command line of these options, without where they were written to."""
    shown = {"size": options.size, "tokens": f"{options.tokens:.0f}", "seed": options.seed}
    shown |= {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if field.name not in (*shown, "out", "overwrite", "threads") and getattr(options, field.name) != field.default
    }
    return " ".join(["python -m star.pretrain", *(f"--{k.replace('_', '-')} {v}" for k, v in shown.items())])


def save(model: LlamaForCausalLM, tokenizer: Any, options: Options, trained: dict[str, float]) -> None:
    """Write the model directory and its card."""
    import torch

    options.out.mkdir(parents=True, exist_ok=True)
    old = model.config.head_dim
    model = widened(model.float().cpu().eval())
    model.generation_config.max_length = None
    model.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    new = model.config.head_dim
    card = CARD.format(
        size=options.size,
        parameters=model.num_parameters(),
        command=command(options),
        torch=torch.__version__,
        heads=WIDENED.format(old=old, new=new) if new != old else "",
        **trained,
    )
    (options.out / "README.md").write_text(card, encoding="utf-8")


def run(options: Options) -> None:
    """Build, train and save one model. Raises PretrainError for options that cannot work."""
    import torch

    check(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    tokenizer = build_tokenizer()
    model = build_model(options.size, len(tokenizer), options.seed, tokenizer.eos_token_id, tokenizer.pad_token_id)
    print(f"{model.num_parameters():,} parameters, vocabulary {len(tokenizer)}")
    save(model, tokenizer, options, train(model, tokenizer, options))
    print(f"saved to {options.out}")


def main() -> None:
    """Command line."""
    import tyro

    try:
        run(tyro.cli(Options, description=__doc__))
    except PretrainError as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("interrupted; nothing was saved") from None


if __name__ == "__main__":
    main()
