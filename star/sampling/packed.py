"""All truncations of a rationale in one forward pass.

    trunk     [ question | x1 | x2 | ... | xn ]
    branch 0  [ question ]                      + [ answer trigger | answer ]
    branch i  [ question | x1 .. xi ]           + [ answer trigger | answer ]

A branch is a sequence that begins with some tokens of the trunk. Trunk and branches are laid end to end; an attention
mask lets each branch see the trunk tokens it begins with and itself, and its position ids go on from there. So
T + sum(branch) tokens are run in place of one sequence per truncation, and the result is the same: `Tree`s are made
of the token ids of the whole sequences, as they would be asked for one by one, and what a branch does not share with
the trunk (a tokenizer may merge across the cut) is simply part of the branch. Any perturbed text is a branch too.

    scorer = PackedScorer.load(Path("model"))
    scored = scorer.score([tree(trunk_ids, [(sequence_ids, answer_tokens), ...])])[0]
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from star.errors import first_line

log = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""Largest difference in a log-probability between packed and plain that the start-up check accepts in float32."""


@dataclass(frozen=True)
class Branch:
    """One sequence: the first `shared` tokens of its trunk, then `tokens`; the last `scored` of them are the answer."""

    shared: int
    tokens: tuple[int, ...]
    scored: int


@dataclass(frozen=True)
class Tree:
    """Sequences that share prefixes of one trunk."""

    trunk: tuple[int, ...]
    branches: tuple[Branch, ...]

    def sequence(self, branch: Branch) -> tuple[int, ...]:
        """The whole sequence of a branch, as it would be asked for alone."""
        return self.trunk[: branch.shared] + branch.tokens


@dataclass(frozen=True)
class Scored:
    """What the model thinks of a branch's answer."""

    logprob: float
    """Natural log-probability of the scored tokens."""
    greedy: bool
    """Greedy decoding would have produced exactly these tokens."""
    next_token: int
    """The most likely token after them."""
    least: float = 0.0
    """Log-probability of the least likely of them; 0 where only the others were kept."""


class Scorer(Protocol):
    """Scores the answers of trees: the packed forward pass, or a scripted model whose faithfulness is known."""

    def score(self, trees: Sequence[Tree]) -> list[list[Scored]]:
        """One list per tree, one result per branch, in order."""
        ...


def shared_prefix(a: Sequence[object], b: Sequence[object]) -> int:
    """Number of leading items that two sequences have in common."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def tree(trunk: Sequence[int], sequences: Iterable[tuple[Sequence[int], int]]) -> Tree:
    """A tree from whole token sequences, each with its number of scored tokens at the end.

    Raises ValueError where a sequence has nothing in front of its scored tokens, or nothing to score.
    """
    branches = []
    for ids, scored in sequences:
        if not 0 < scored < len(ids):
            raise ValueError(f"{scored} scored tokens of {len(ids)}: expected at least one, and one in front of them")
        shared = min(shared_prefix(trunk, ids), len(ids) - scored)
        branches.append(Branch(shared, tuple(ids[shared:]), scored))
    return Tree(tuple(trunk), tuple(branches))


class PackedScorer:
    """A causal language model that scores trees, packed where its attention allows it and sequence by sequence else."""

    def __init__(self, model: Any, *, mode: Literal["auto", "packed", "plain"] = "auto", batch_tokens: int = 8_192) -> None:
        """`model` is a Hugging Face causal LM in evaluation mode; `batch_tokens` bounds tokens per forward pass.

        auto: packed if a start-up check on this very model finds the same log-probabilities as one call per sequence.
        """
        self.model = model
        self.batch_tokens = batch_tokens
        parameters = inspect.signature(model.forward).parameters
        self._keeps_logits = "logits_to_keep" in parameters
        self.why_plain: str | None = None
        if mode == "auto":
            self.why_plain = self._why_not_packed()
            if self.why_plain:
                log.warning("Truncations are scored one by one, in padded batches: %s.", self.why_plain)
        elif mode == "plain":
            self.why_plain = "asked for"

    @classmethod
    def load(
        cls,
        model_dir: Path,
        *,
        dtype: str = "auto",
        device: str = "auto",
        trust_remote_code: bool = False,
        **options: Any,
    ) -> PackedScorer:
        """From a `from_pretrained` directory; dtype and device as in `model_files.numerics`."""
        from star.sampling.model_files import ready_model

        model = ready_model(model_dir, dtype=dtype, device=device, trust_remote_code=trust_remote_code)
        return cls(model, **options)

    def score(self, trees: Sequence[Tree]) -> list[list[Scored]]:
        """Log-probabilities of all branches; trees of similar length share a forward pass.

        The caller keeps every sequence within the model's context: position ids never exceed the longest sequence.
        """
        parts = [(index, part) for index, whole in enumerate(trees) for part in _cut(whole, self.batch_tokens)]
        by_part: list[list[Scored]] = [[] for _ in parts]
        for batch in self.batches([_length(part) for _, part in parts]):
            group = [parts[k][1] for k in batch]
            for k, scored in zip(batch, self._plain(group) if self.why_plain else self._packed(group), strict=True):
                by_part[k] = scored
        results: list[list[Scored]] = [[] for _ in trees]
        for (index, _), scored in zip(parts, by_part, strict=True):
            results[index] += scored
        return results

    def batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Indices grouped by similar length, at most `batch_tokens` padded tokens (or one item) a group."""
        batch: list[int] = []
        for index in sorted(range(len(lengths)), key=lengths.__getitem__):
            if batch and lengths[index] * (len(batch) + 1) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _packed(self, trees: Sequence[Tree]) -> list[list[Scored]]:
        import torch

        laid_out = [_laid_out(one) for one in trees]
        width = max(len(tokens) for tokens, _ in laid_out)
        device = next(self.model.parameters()).device
        padded = [tokens + [(0, 0, -1, 0)] * (width - len(tokens)) for tokens, _ in laid_out]
        ids, positions, segment, visible = torch.tensor(padded, device=device).reshape(-1, width, 4).unbind(-1)
        index = torch.arange(width, device=device)
        in_trunk = (segment == 0)[:, None, :] & (index[None, None, :] < visible[:, :, None])
        own = (segment[:, :, None] == segment[:, None, :]) & (index[None, None, :] <= index[None, :, None])
        dtype = next(self.model.parameters()).dtype
        mask = torch.zeros((len(trees), 1, width, width), dtype=dtype, device=device)
        mask.masked_fill_(~(in_trunk | own)[:, None], torch.finfo(dtype).min)
        needed = [(row, at) for row, (_, places) in enumerate(laid_out) for at in places]
        logits = self._logits(needed, input_ids=ids, attention_mask=mask, position_ids=positions)
        return _by_tree(_read_off(logits, [branch for one in trees for branch in one.branches]), trees)

    def _plain(self, trees: Sequence[Tree]) -> list[list[Scored]]:
        """The naive way: every sequence whole, in batches padded on the right."""
        jobs = [(one.sequence(branch), branch) for one in trees for branch in one.branches]
        by_job: dict[int, Scored] = {}
        for batch in self.batches([len(ids) for ids, _ in jobs]):
            sequences, branches = zip(*(jobs[k] for k in batch), strict=True)
            needed = [range(len(ids) - branch.scored - 1, len(ids)) for ids, branch in zip(sequences, branches, strict=True)]
            by_job.update(zip(batch, _read_off(self.padded_logits(sequences, needed), branches), strict=True))
        return _by_tree([by_job[k] for k in range(len(jobs))], trees)

    def padded_logits(self, sequences: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> Any:
        """Outputs [all positions, width of the head], float32, at positions of whole sequences: one pass, padded on the right."""
        import torch

        device = next(self.model.parameters()).device
        width = max(map(len, sequences))
        ids = torch.tensor([[*whole, *[0] * (width - len(whole))] for whole in sequences], device=device)
        mask = torch.tensor([[1] * len(whole) + [0] * (width - len(whole)) for whole in sequences], device=device)
        needed = [(row, at) for row, places in enumerate(positions) for at in places]
        return self._logits(needed, input_ids=ids, attention_mask=mask)

    def _logits(self, needed: Sequence[tuple[int, int]], **inputs: Any) -> Any:
        """Logits (len(needed), vocabulary), float32, at (row, position) pairs; the head runs on needed columns only."""
        import torch

        device = inputs["input_ids"].device
        rows = torch.tensor([row for row, _ in needed], device=device)
        columns = torch.tensor([at for _, at in needed], device=device)
        with torch.inference_mode():
            if self._keeps_logits:
                kept, columns = torch.unique(columns, return_inverse=True)
                inputs["logits_to_keep"] = kept
            logits = self.model(**inputs, use_cache=False).logits
        return logits[rows, columns].float()

    def _why_not_packed(self) -> str | None:
        """None if packed and plain scores of a made-up tree agree on this model, else why they do not."""
        import torch

        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None)
        if window and getattr(config, "use_sliding_window", True):
            return f"the model attends to a sliding window of {window} tokens, which a block mask would undo"
        if getattr(self.model.config, "_attn_implementation", "eager") not in ("sdpa", "eager"):
            return f"attention {self.model.config._attn_implementation!r} takes no 4-D mask (sdpa and eager do)"
        ids = [(7 * k * k + 3 * k) % int(config.vocab_size) for k in range(1, 25)]
        probe = tree(ids[:18], [(ids[:cut] + ids[20:24][::-1], 2) for cut in (4, 11, 18)])
        try:  # someone else's forward pass: these are the ways models refuse a mask they were not written for
            packed = self._packed([probe])[0]
        except (RuntimeError, TypeError, ValueError, IndexError, AttributeError, NotImplementedError) as error:
            return f"the model does not accept a 4-D attention mask ({first_line(error)})"
        plain = self._plain([probe])[0]
        apart = max(abs(a.logprob - b.logprob) for a, b in zip(packed, plain, strict=True))
        precise = next(self.model.parameters()).dtype == torch.float32
        if not apart <= (TOLERANCE if precise else 0.25):  # half precision rounds at 2^-8 of logits of about 10
            return f"packed and plain log-probabilities differ by {apart:.2g} on this model"
        return None


def _laid_out(one: Tree) -> tuple[list[tuple[int, int, int, int]], list[int]]:
    """A tree laid end to end: (token id, position id, segment, trunk tokens that it may see) of every packed token, where segment
    0 is the trunk and k branch k; and the places whose logits are read, per branch `scored` + 1 of them.
    """
    size = max((branch.shared for branch in one.branches), default=0)
    tokens = [(token, place, 0, place + 1) for place, token in enumerate(one.trunk[:size])]
    places = []
    for number, branch in enumerate(one.branches, start=1):
        tokens += [(token, branch.shared + k, number, branch.shared) for k, token in enumerate(branch.tokens)]
        first = len(tokens) - branch.scored - 1
        places.append(first if branch.scored < len(branch.tokens) else branch.shared - 1)
        places += range(first + 1, len(tokens))
    return tokens, places


def _read_off(logits: Any, branches: Sequence[Branch]) -> list[Scored]:
    """Logits at every branch's predictors, in order -> one result per branch."""
    import torch

    answer = [branch.tokens[len(branch.tokens) - branch.scored :] for branch in branches]
    targets = torch.tensor([token for tokens in answer for token in (*tokens, 0)], device=logits.device)
    logprobs = torch.log_softmax(logits, dim=-1)
    wanted = logprobs.gather(1, targets[:, None])[:, 0].double().tolist()
    best = logits.argmax(dim=-1).tolist()
    flat: list[Scored] = []
    at = 0
    for tokens in answer:
        end = at + len(tokens)
        flat.append(Scored(sum(wanted[at:end]), best[at:end] == list(tokens), best[end], min(wanted[at:end])))
        at = end + 1
    return flat


def _by_tree(results: Sequence[Scored], trees: Sequence[Tree]) -> list[list[Scored]]:
    remaining = iter(results)
    return [[next(remaining) for _ in one.branches] for one in trees]


def _length(one: Tree) -> int:
    """Packed tokens of a tree; trunk tokens that no branch begins with are not run."""
    return max((b.shared for b in one.branches), default=0) + sum(len(b.tokens) for b in one.branches)


def _cut(one: Tree, limit: int) -> list[Tree]:
    """The tree in parts of at most `limit` packed tokens (or one branch), each with its own copy of the trunk."""
    parts: list[list[Branch]] = []
    trunk = own = 0
    for branch in one.branches:
        trunk, own = max(trunk, branch.shared), own + len(branch.tokens)
        if not parts or trunk + own > limit:
            parts.append([])
            trunk, own = branch.shared, len(branch.tokens)
        parts[-1].append(branch)
    return [Tree(one.trunk, tuple(part)) for part in parts]
