"""Which weights an engine uses: transformers' own answer to a probe prompt, to hold the engine's against."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from star.sampling import model_files

TOLERANCE = {"float32": 2e-3, "float16": 0.05, "bfloat16": 0.15}
"""Largest difference of a token's log-probability, in nats, between vLLM and transformers on the same weights."""
PROBE_TOKENS = 8


class Reference:
    """What transformers says about a probe prompt's continuation, computed on the CPU from the same files."""

    def __init__(self, model_dir: Path, dtype: str, trust_remote_code: bool, vocabulary: int) -> None:
        self.model_dir, self.dtype, self.trust_remote_code = model_dir, dtype, trust_remote_code
        context = model_files.context_length(model_dir) or 64
        # Fixed ids spread over the vocabulary: any model has them, and they depend on most of the embedding's range.
        length = max(1, min(16, context - PROBE_TOKENS))
        self.prompt = [(7 + 7919 * i * i) % vocabulary for i in range(length)]
        self.ids: Sequence[int] = ()
        self.expected: Any = None
        """Log-probabilities [token of `ids`, vocabulary], from `difference` on."""

    def difference(self, ids: Sequence[int], logprobs: Sequence[float]) -> str | None:
        """None if each token is transformers' own greedy choice with the same log-probability, else what differs."""
        import torch

        model = model_files.load_model(
            self.model_dir, dtype=getattr(torch, self.dtype), trust_remote_code=self.trust_remote_code
        )
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([[*self.prompt, *ids]])).logits[0, len(self.prompt) - 1 : -1]
        self.ids, self.expected = ids, logits.float().log_softmax(-1)
        expected = self.expected
        tolerance = TOLERANCE[self.dtype]
        for i, (token, logprob) in enumerate(zip(ids, logprobs, strict=True)):
            best, own = float(expected[i].max()), float(expected[i, token])
            if abs(own - logprob) > tolerance or best - own > tolerance:
                return (
                    f"probe token {i} is {token} with log-probability {logprob:.4f}, transformers gives it {own:.4f} "
                    f"and its own choice {best:.4f} (tolerance {tolerance})"
                )
        return None

    def staleness(self, before: Reference, logprobs: Sequence[float]) -> str | None:
        """What shows that `logprobs` of `ids` are those of the weights before, or None. To be asked after `difference`.

        Under each checkpoint the engine's answer has a distance; the one within half of the way between the checkpoints is
        the one in use. Where rounding is larger than that way, no answer can tell them apart, which is said.
        """
        import torch

        # The weights before were asked about their own tokens: contexts are the same until these part.
        same = next((i for i, pair in enumerate(zip(self.ids, before.ids, strict=False)) if pair[0] != pair[1]), None)
        shared = slice(None if same is None else same + 1)
        tokens = torch.tensor(list(self.ids[shared]))[:, None]
        answered = torch.tensor(list(logprobs[shared]))
        new, old = (one.expected[: len(tokens)].gather(1, tokens)[:, 0] for one in (self, before))
        way, from_new, from_old = (float((a - b).norm()) for a, b in ((new, old), (answered, new), (answered, old)))
        if from_new <= way / 2 or way == 0:
            return None
        if from_old <= way / 2:
            return f"the probe's log-probabilities are {from_old:.1e} from those of the weights before, {from_new:.1e} from these"
        warnings.warn(
            "A weight swap moved the probe's log-probabilities by less than vLLM and transformers differ by rounding: whether "
            "vLLM has the new weights could not be told.",
            stacklevel=2,
        )
        return None


def shape_of(model_dir: Path) -> str:
    """What must be equal for weights to be swappable: configuration and tokenizer files."""
    config = {
        key: value
        for key, value in model_files.read_config(model_dir).items()
        if key not in ("transformers_version", "_name_or_path", "dtype", "torch_dtype")
    }
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode())
    for name in (*model_files.TOKENIZER_FILES, "merges.txt"):
        if (model_dir / name).is_file():
            digest.update((model_dir / name).read_bytes())
    return digest.hexdigest()
