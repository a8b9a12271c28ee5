"""Training on pairs with TRL's DPOTrainer: direct preference optimization, with the winner's likelihood beside it.

loss = -log sigmoid(beta [log p(w)/p0(w) - log p(l)/p0(l)]) + nll * (-log p(w) / tokens), the reference p0 being the model that
training starts from (Rafailov et al. 2023; iterative RPO: arXiv 2404.19733, Eq. 2). TRL takes the second mean over the winners'
tokens of a micro batch, the paper over each winner's own: the same for a micro batch of one pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from star.recipe import TrainingSettings
from star.schemas import PairFacts
from star.training.plan import Job


def prepare_pairs(job: Job, settings: TrainingSettings) -> tuple[list[dict[str, list[int]]], int]:
    """(rows for TRL, number of pairs cut to max_length)."""
    rows, cut = [], 0
    for (prompt, chosen), rejected in zip(job.rows, job.rejected, strict=True):
        room = settings.max_length - len(prompt)
        cut += max(len(chosen), len(rejected)) > room
        rows.append({"prompt_ids": [*prompt], "chosen_ids": [*chosen[:room]], "rejected_ids": [*rejected[:room]]})
    return rows, cut


def preference_trainer(
    rows: Sequence[Mapping[str, Any]], preference: Mapping[str, float], arguments: dict[str, Any], **common: Any
) -> Any:
    """A DPOTrainer on token ids as they are: its own would tokenise text again and could move where a completion begins."""
    import datasets
    from trl import DPOConfig, DPOTrainer

    class OnIds(DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
            return dataset

        def _precompute_ref_logps(self, dataset: Any, *more: Any) -> Any:
            # The main process writes them for all; for rows in memory each would look for them in a directory of its own.
            folder = Path(self.args.output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            dataset._get_cache_file_path = lambda fingerprint: str(folder / f"{fingerprint}.arrow")
            return super()._precompute_ref_logps(dataset, *more)

    nll = preference["nll"]
    losses = {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, nll]} if nll else {"loss_type": ["sigmoid"]}
    config = DPOConfig(**arguments, **losses, beta=preference["beta"], precompute_ref_log_probs=True)
    return OnIds(args=config, train_dataset=datasets.Dataset.from_list([*rows]), **common)


def pair_facts(rows: Sequence[Mapping[str, Sequence[int]]], history: Sequence[Mapping[str, float]]) -> PairFacts:
    """[first, last] logged value of each, log-probabilities summed over a completion; and what the reference read."""

    def ends(name: str) -> list[float]:
        values = [line[name] for line in history if name in line]
        return [values[0], values[-1]]

    chosen, rejected, right = map(ends, ("logps/chosen", "logps/rejected", "rewards/accuracies"))
    read = sum(2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"]) for row in rows)
    return {"chosen_logprob": chosen, "rejected_logprob": rejected, "pairs_right": right, "reference_tokens": read}
