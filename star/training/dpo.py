"""Training on pairs with TRL's DPOTrainer: direct preference optimization, with the winner's likelihood beside it.

loss = -log sigmoid(beta [log p(w)/p0(w) - log p(l)/p0(l)]) + nll * (-log p(w) / tokens), the reference p0 being the model that
training starts from (Rafailov et al. 2023; iterative RPO: arXiv 2404.19733, Eq. 2). TRL takes the second mean over the winners'
tokens of a micro batch, the paper over each winner's own: the same for a micro batch of one pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from star.schemas import PairFacts
from star.training.plan import PAIR


def preference_trainer(preference: Mapping[str, float], arguments: dict[str, Any], **common: Any) -> Any:
    """A DPOTrainer on token ids as they are: its own would tokenise text again and could move where a completion begins."""
    from trl import DPOConfig, DPOTrainer

    class OnIds(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

    nll = preference["nll"]
    losses = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, nll]} if nll else {"loss_type": ["sigmoid"]}
    config = DPOConfig(**arguments, **losses, beta=preference["beta"], precompute_ref_log_probs=True)
    return OnIds(args=config, **common)


def pair_facts(data: Any, history: Sequence[Mapping[str, float]]) -> PairFacts:
    """[first, last] logged value of each, log-probabilities summed over a completion; and what the reference read."""

    def ends(name: str) -> list[float]:
        values = [line[name] for line in history if name in line]
        return [values[0], values[-1]]

    chosen, rejected, right = map(ends, ("logps/chosen", "logps/rejected", "rewards/accuracies"))
    prompts, *completions = (pc.sum(pc.list_value_length(data.data.column(name))).as_py() for name in PAIR)
    read = 2 * prompts + sum(completions)
    return {"chosen_logprob": chosen, "rejected_logprob": rejected, "pairs_right": right, "reference_tokens": read}
