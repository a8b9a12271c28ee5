"""Fine-tuning of a small model on a CPU: TRL's trainer without two costs that it takes for the sake of large ones.

- SFTTrainer never holds the logits of a whole batch: it computes them in tiles, and once more in the backward pass.
- Each row of a batch is padded to the longest. Here short rows stand one behind the other in one row of that length;
  positions begin anew at each, by which transformers knows that they must not see each other.

Loss, gradients and TRL's curves are the same to rounding; benchmarks/notes.md says what it saves.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from trl import SFTTrainer

from star.sampling.cache import new_cache

log = logging.getLogger(__name__)

MAX_LOGITS = 2**24
"""Logits of one batch that are kept at most: 64 MB in float32, and a few times that with what is computed from them."""
IGNORED = -100
"""Label of a token that is not learned."""
TOLERANCE = 1e-3
"""Largest difference of a token's log-probability, in nats, between the first batch packed and as it came."""


class SmallTrainer(SFTTrainer):
    """SFTTrainer for one process on a CPU, whose batches have at most MAX_LOGITS logits (see `fits`)."""

    packs: bool | None = None
    """Whether batches are packed; None before the first one, which decides."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy summed over the tokens to learn, over their number in all batches of the optimizer's step."""
        if return_outputs or not model.training or self.aux_loss_enabled:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        if self.packs is None:
            self.packs = self._packing_is_exact(model, inputs)
        logprobs, labels = learned(model, packed(inputs) if self.packs else inputs)
        loss = -logprobs.gather(-1, labels[:, None]).sum()
        self._note(inputs, logprobs.detach(), labels)
        return loss / max(1, int(len(labels) if num_items_in_batch is None else num_items_in_batch))

    def _packing_is_exact(self, model: Any, inputs: dict[str, Any]) -> bool:
        """Whether this very model says the same of a packed batch; some ignore positions, or look further than attention."""
        if "attention_mask" not in inputs or not new_cache(model.config)[1]:
            return False
        lengths = inputs["attention_mask"].sum(1).tolist()
        order = [i for group in bins(lengths, max(lengths)) for i in group]
        model.eval()  # dropout would differ between the two
        with torch.no_grad():
            (plain, labels), (ours, _) = (
                learned(model, batch) for batch in ({name: each[order] for name, each in inputs.items()}, packed(inputs))
            )
        model.train()
        difference = float((plain - ours).gather(-1, labels[:, None]).abs().max())
        if difference > TOLERANCE:
            log.info("Batches are not packed: log-probabilities of this model would differ by %.1e.", difference)
        return difference <= TOLERANCE

    def _note(self, inputs: dict[str, Any], logprobs: Any, labels: Any) -> None:
        """Entropy, share of tokens that are the model's first choice and tokens so far, where SFTTrainer logs them from."""
        seen = inputs["attention_mask"].sum() if "attention_mask" in inputs else inputs["position_ids"].numel()
        self._total_train_tokens += int(seen)
        count, noted = max(1, len(labels)), self._metrics["train"]
        noted["entropy"].append(-float((logprobs.exp() * logprobs).sum()) / count)
        noted["mean_token_accuracy"].append(int((logprobs.argmax(-1) == labels).sum()) / count)
        noted["num_tokens"] = [self._total_train_tokens]


def learned(model: Any, inputs: dict[str, Any]) -> tuple[Any, Any]:
    """(log-probabilities [tokens, vocabulary], labels [tokens]) of the tokens to learn, row by row."""
    labels = inputs["labels"].roll(-1, 1)
    labels[:, -1] = IGNORED
    places = (labels.flatten() != IGNORED).nonzero()[:, 0]
    rest = {name: value for name, value in inputs.items() if name != "labels"}
    logits = model(**rest, use_cache=False).logits.flatten(0, 1).index_select(0, places).float()
    return logits.log_softmax(-1), labels.flatten()[places]


def packed(inputs: dict[str, Any]) -> dict[str, Any]:
    """`input_ids`, `labels` and `position_ids` of a right-padded batch, in fewer rows of the same length."""
    lengths = inputs["attention_mask"].sum(1).tolist()
    ids, labels = inputs["input_ids"].tolist(), inputs["labels"].tolist()
    rows: dict[str, list[list[int]]] = {"input_ids": [], "labels": [], "position_ids": []}
    width = max(lengths)
    for group in bins(lengths, width):
        room = width - sum(lengths[i] for i in group)
        rows["input_ids"].append([*(token for i in group for token in ids[i][: lengths[i]]), *[0] * room])
        # Nothing in front of its row predicts a row's first token.
        targets = (label for i in group for label in [IGNORED, *labels[i][1 : lengths[i]]])
        rows["labels"].append([*targets, *[IGNORED] * room])
        rows["position_ids"].append([at for i in group for at in range(lengths[i])] + list(range(room)))
    return {name: torch.tensor(values, device=inputs["input_ids"].device) for name, values in rows.items()}


def bins(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of items in groups of at most `room` together: the longest first, each into the first group that has room."""
    groups: list[list[int]] = []
    left: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        at = next((k for k, free in enumerate(left) if lengths[i] <= free), len(groups))
        if at == len(groups):
            groups.append([])
            left.append(room)
        groups[at].append(i)
        left[at] -= lengths[i]
    return groups


def fits(model: Any, args: Any) -> bool:
    """Whether a model is to be trained so: on a CPU, in one process, batches of `args` (SFTConfig) with few enough logits."""
    logits = args.per_device_train_batch_size * args.max_length * model.config.get_text_config().vocab_size
    return bool(args.use_cpu and args.world_size == 1 and logits <= MAX_LOGITS)
