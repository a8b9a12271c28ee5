"""Fine-tuning of a small model on a CPU: TRL's trainer with the logits of a batch kept instead of computed twice.

TRL's SFTTrainer never holds the logits of a whole batch: it computes them in tiles, and once more in the backward pass.
Where they are small that saves nothing and costs a sixth of each step (measured: benchmarks/notes.md). The loss is the same
to rounding, and so are the curves that TRL reports.
"""

from __future__ import annotations

from typing import Any

import torch
from trl import SFTTrainer

MAX_LOGITS = 2**26
"""Logits of one batch that are kept at most: 256 MB in float32."""


class WholeLogitsTrainer(SFTTrainer):
    """SFTTrainer for one process without an accelerator, whose batches have at most MAX_LOGITS logits."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Cross-entropy summed over the tokens to learn, over their number in all batches of the optimizer's step."""
        if return_outputs or not model.training or self.aux_loss_enabled:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        learned = labels != -100
        rest = {name: value for name, value in inputs.items() if name != "labels"}
        logits = model(**rest, use_cache=False).logits[:, :-1][learned].float()
        labels, logprobs = labels[learned], logits.log_softmax(-1)
        loss = -logprobs.gather(-1, labels[:, None]).sum()
        self._note(inputs, labels, logprobs.detach())
        count = len(labels) if num_items_in_batch is None else num_items_in_batch
        return loss / max(1, int(count))

    def _note(self, inputs: dict[str, Any], labels: torch.Tensor, logprobs: torch.Tensor) -> None:
        """Entropy, share of tokens that are the model's first choice and tokens so far, where SFTTrainer logs them from."""
        seen = inputs["attention_mask"].sum() if "attention_mask" in inputs else inputs["position_ids"].numel()
        self._total_train_tokens += int(seen)
        count = max(1, len(labels))
        noted = self._metrics["train"]
        noted["entropy"].append(-float((logprobs.exp() * logprobs).sum()) / count)
        noted["mean_token_accuracy"].append(int((logprobs.argmax(-1) == labels).sum()) / count)
        noted["num_tokens"] = [self._total_train_tokens]


def fits(model: Any, args: Any) -> bool:
    """Whether a model on a CPU is to be trained so: batches of `args` (SFTConfig) in one process with few enough logits."""
    logits = args.per_device_train_batch_size * args.max_length * model.config.get_text_config().vocab_size
    return bool(args.use_cpu and args.world_size == 1 and logits <= MAX_LOGITS)
