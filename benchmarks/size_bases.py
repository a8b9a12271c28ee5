"""Base models for `model_sizes.py`: pretrained until they have the same skill, and once on the same tokens."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from star import pretrain
from star.embedded.corpus import Document, Mixture, worked
from star.embedded.model import Size, build_model, build_tokenizer, widened

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

FIRST = Mixture(short=1.0, partial=0.0, hinted=0.0, few_shot=0.0)
"""Sums of one digit until most are known: alone they take 0.2M tokens, among others they are at 18 % after millions."""
KNOWN = 0.9
MIXTURE = Mixture(short=0.3, partial=0.1, hinted=0.6, few_shot=0.0, longest=3)
"""No sum of three digits without its hint; no examples in prompts, since no arm has any."""
SKILLS = {"skill .3": 0.3, "skill .1": 0.1, "skill .6": 0.6}
"""Base -> share of 2-digit sums that it solves without hint, in the order of the work."""
TOKENS = "same tokens"
BAND = 0.15
"""How much more than its skill a base may have, to count as one of that skill."""
HINTED = 0.5
"""Share of 3-digit sums with hint that every base of some skill solves at least."""
HELD_OUT = 200
"""Sums of each kind that skill is measured on; a draw of their own."""


class Base(TypedDict, total=False):
    """What is known of one base model."""

    tokens: int
    """Pretraining tokens, prompts included; all that were spent where the base was not reached."""
    without_hint: float
    """Share of held-out 2-digit sums that it works out, every line right."""
    with_hint: float
    """The same of 3-digit sums whose answer it is told."""
    reached: bool
    in_band: bool
    """Skill without hint at most BAND above the one asked for. Bases of the same tokens have no band."""


def encoded(tokenizer: Any, digits: int, *, hinted: bool) -> Any:
    """(ids, labels) of the held-out sums of one kind."""
    rng = random.Random(f"held-out-{digits}")
    sums = [Document((worked(rng, digits, hinted=hinted),)) for _ in range(HELD_OUT)]
    return pretrain.padded(pretrain.encode(tokenizer, sums), tokenizer.pad_token_id)


def solved(model: LlamaForCausalLM, ids: Any, labels: Any) -> float:
    """Share of rows whose every token with loss is the likeliest: what greedy decoding would write, scratchpad and answer."""
    import torch

    model.eval()
    with torch.no_grad():
        likeliest = model(ids.to(model.device)).logits.argmax(-1)[:, :-1].cpu()
    model.train()
    return float(((likeliest == labels[:, 1:]) | (labels[:, 1:] == -100)).all(1).float().mean())


def loss_after(size: Size, seed: int, rate: float, tokens: float, device: str) -> float:
    """Mean loss on the next documents once a size is pretrained on `tokens` tokens with this learning rate."""
    model, tokenizer, arguments = _new(size, seed, rate, tokens, device)
    return pretrain.train(model, tokenizer, arguments, FIRST, lambda _: False)["loss"]


def make_bases(size: Size, seed: int, rate: float, folder: Path, device: str, *, same: float, most: float) -> dict[str, Base]:
    """One pretraining, which saves `folder`/NAME when the skill of NAME is first there and when `same` tokens are seen.

    Ends when all are saved, or after `most` tokens. Returns what is known of each.
    """
    model, tokenizer, arguments = _new(size, seed, rate, most, device)
    plain, hinted = encoded(tokenizer, 2, hinted=False), encoded(tokenizer, 3, hinted=True)
    bases: dict[str, Base] = {}
    known = encoded(tokenizer, 1, hinted=False)
    first = int(pretrain.train(model, tokenizer, arguments, FIRST, _now_and_then(lambda _: solved(model, *known) >= KNOWN))["seen"])

    def skills() -> Base:
        return {"without_hint": solved(model, *plain), "with_hint": solved(model, *hinted)}

    def enough(seen: int) -> bool:
        now = skills()
        due = [name for name, skill in SKILLS.items() if now["without_hint"] >= skill and now["with_hint"] >= HINTED]
        for name in (*due, *([TOKENS] if first + seen >= same else [])):
            if name not in bases:
                widened(copy.deepcopy(model).float().cpu().eval()).save_pretrained(folder / name)
                tokenizer.save_pretrained(folder / name)
                in_band = name == TOKENS or now["without_hint"] <= SKILLS[name] + BAND
                bases[name] = {**now, "tokens": first + seen, "reached": True, "in_band": in_band}
        return len(bases) == len(SKILLS) + 1

    seen = int(pretrain.train(model, tokenizer, arguments, MIXTURE, _now_and_then(enough))["seen"])
    missed: Base = {**skills(), "tokens": first + seen, "reached": False, "in_band": False}
    return {name: bases.get(name, missed) for name in (*SKILLS, TOKENS)}


def _now_and_then(enough: Callable[[int], bool]) -> Callable[[int], bool]:
    """`enough`, asked about every 20,000 tokens, and every fiftieth of what was seen: 4M can leave its band in a twentieth."""
    looked = 0

    def asked(seen: int) -> bool:
        nonlocal looked
        if seen < looked + max(20_000, looked // 50):
            return False
        looked = seen
        return enough(seen)

    return asked


def _new(size: Size, seed: int, rate: float, tokens: float, device: str) -> tuple[Any, Any, pretrain.Arguments]:
    tokenizer = build_tokenizer()
    model = build_model(size, len(tokenizer), seed, tokenizer.eos_token_id, tokenizer.pad_token_id)
    arguments = pretrain.Arguments(size=size, tokens=tokens, seed=seed, learning_rate=rate, batch_tokens=1024, device=device)
    return model, tokenizer, arguments
