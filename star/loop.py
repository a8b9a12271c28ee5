"""The STaR loop. Read this file first; `python -m star.train` runs it.

Algorithm 1 of the paper (Zelikman et al. 2022, section 3), line by line:

    2  M_0 <- M                                     Loop.run
    4  (r, y^)  <- M_{n-1}(x)        generate       Loop.attempts
    5  (r', y') <- M_{n-1}(x + hint) rationalize    SamplingStages.attempted, star/stages.py
    6  keep r   where y^ = y         filter         star/curation.py
    7  keep r'  where y^ != y and y' = y
    8  M_n <- train(M, kept)         from M         Loop.trained

Each stage of a round reads its file if a run before this one finished it, and else computes and writes it whole, sampling
shard by shard (star/shards.py). So an interrupted run goes on where it stopped, and ends as it would have ended.
"""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from functools import partial
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import cast

from star import run as runs
from star import schemas, splits, tables
from star.attempts import first_pass_against_chance, gate_message, in_form, summarise
from star.curation import count_data, curate, gold_rows, soundness_of, training_rows, without_hints
from star.drawing import adaptive_order
from star.files import StoredRows
from star.ledger import Ledger
from star.pool import Pool
from star.preferences import READ, Choose, Text, pair_rows, walked
from star.preferences import drawn as drawn_pairs
from star.problem import Attempt, Problem, Verdict
from star.prompting import PromptBuilder
from star.recipe import Recipe
from star.schemas import Gate, Ranking, Result, RoundFacts, RoundLine, Training
from star.setup import Setup
from star.stages import SamplingStages
from star.tables import PairRow, TrainingRow
from star.training.finetuning import finetune
from star.training.jobs import pair_job, row_job, verifier_job
from star.training.plan import FinetuningError, Job, steps_of_round
from star.training.trackers import send
from star.verifier import completion_scores

ROUNDS = {"few_shot": 0, "direct": 1}
"""Rounds of the methods that are not `star`."""


class Loop:
    """One run. `setup` holds what was loaded: task, problems, tokenizer, base model directory, run directory."""

    def __init__(self, recipe: Recipe, setup: Setup, pool: Pool, show: Callable[[RoundLine], None]) -> None:
        self.recipe, self.setup, self.pool, self.show = recipe, setup, pool, show
        self.problems: dict[str, Problem] = {problem.id: problem for problem in setup.all_problems}
        self.builder = PromptBuilder(setup.task, setup.tokenizer, recipe.prompting)
        self.ledger = Ledger(setup.run_dir, setup.parameters)
        self.stages = SamplingStages(recipe, setup, pool, self.ledger, self.builder.stop)
        self.soundness = soundness_of(setup.task, recipe.curation, self.problems)

    def run(self) -> Result:
        """All rounds, then the one evaluation on test; returns what result.json holds."""
        self.finish_round(0)
        for number in range(1, ROUNDS.get(self.recipe.loop.method, self.recipe.loop.rounds) + 1):
            if self.stopped(number):
                break
            try:
                self.finish_round(number)
            except NothingKeptError as error:
                self.ledger.note(str(error))
                self.ledger.leave_round(number, error.facts)
                break
        return self.finish(self.chosen_round())

    def finish_round(self, number: int) -> None:
        """Make and evaluate M_n; ends with the round's line in metrics.jsonl."""
        metrics = next((line for line in self.ledger.rounds if line["round"] == number), None)
        if metrics is None:
            self.ledger.open(number)
            facts = self.improve(number) if number else RoundFacts()
            metrics = self.ledger.close_round(number, summarise(self.evaluation(number)), facts)
            self.prune_models()
        send(self.recipe.training.report_to, self.setup.run_dir, metrics)
        self.show(metrics)

    def improve(self, number: int) -> RoundFacts:
        """M_{n-1} -> M_n. Raises NothingKeptError when there is nothing to train on."""
        facts: RoundFacts = {}
        attempts = self.attempts(number)
        if number == 1:
            facts["gate"] = self.gate(attempts)
        if self.recipe.sampling.try_temperatures:
            facts["temperature"] = self.stages.temperature(number)
        rows = self.training(number, attempts)
        counted = attempts.only("problem_id", "mode", "rationale", "sound", "kept", "drop_reason", "not_judged")
        facts["data"] = count_data(counted, rows.only("problem_id"), pool=len(self.stages.drawable(number)))
        output = self.stages.model_dir(number)
        training = self.trained(output, self.job(number, rows, output), "training", f"round {number}")
        if training is None:
            raise NothingKeptError(number, self.recipe, facts)
        facts["training"] = training
        return facts

    # ------------------------------------------------------------------ lines 4 to 7: generate, rationalize, filter

    def attempts(self, number: int) -> StoredRows[Attempt]:
        """Every attempt of a round, curated: generated ones, then rationalized ones for problems without a right answer."""

        def compute() -> Iterator[Attempt]:
            kept, task, settings = 0, self.setup.task, self.recipe.curation
            with closing(self.soundness) if self.soundness else nullcontext():
                for first, problems in self.batches(number):
                    for part in self.stages.attempted(number, problems, first).files:
                        shard: list[Attempt] = [*StoredRows([part], runs.ATTEMPTS)]
                        rows = self.ledger.timed("curation", partial(curate, shard, task, settings, self.soundness))
                        kept += sum(bool(row["kept"]) for row in rows)
                        yield from rows
                    if kept >= self.rows_wanted(number):
                        break

        return self.ledger.stored(self.ledger.run.folder(number) / "attempts.parquet", runs.ATTEMPTS, compute)

    def batches(self, number: int) -> list[tuple[int, Sequence[Problem]]]:
        """(number of its first shard, problems) of what is sampled before it is asked whether that is enough."""
        problems, recipe = self.drawn(number), self.recipe
        if recipe.loop.method == "direct":
            return []
        if not recipe.loop.enough:
            return [(0, problems)]
        size = max(1, recipe.sampling.shard // max(recipe.sampling.samples, recipe.loop.retries))  # one shard in each mode
        return [(at // size, problems[at : at + size]) for at in range(0, len(problems), size)]

    def rows_wanted(self, number: int) -> float:
        """Kept rows with which a round stops sampling."""
        training = self.recipe.training
        return steps_of_round(training.steps, number, 0, 1) * training.batch_size if self.recipe.loop.enough else math.inf

    def drawn(self, number: int) -> list[Problem]:
        """The problems of a round, in the order in which they are sampled."""
        recipe, earlier, pool = self.recipe, range(1, number), self.stages.drawable(number)
        if recipe.loop.draw == "uniform":
            drawn = splits.draw(pool, recipe.loop.problems, f"round-{recipe.seed}-{number}")
            if recipe.loop.enough:  # a draw of all is in the order of the file, and sampling stops early
                random.Random(f"order-{recipe.seed}-{number}").shuffle(drawn)
            return drawn
        history = (self.attempts(past).only("problem_id", "verdict") for past in earlier)
        order = adaptive_order(pool, history, recipe.loop.draw, recipe.seed)
        return order[: recipe.loop.problems]

    def gate(self, attempts: StoredRows[Attempt]) -> Gate | None:
        """The first pass against chance; warns, stops (RunError) or stays silent as `loop.gate` says."""
        gate = first_pass_against_chance(attempts, self.problems, self.setup.task)
        if gate is None or self.recipe.loop.gate == "off" or not (message := gate_message(gate)):
            return gate
        if self.recipe.loop.gate == "stop" and not gate["passed"]:
            raise runs.RunError(message + " (loop.gate is stop)")
        self.ledger.note(message)
        return gate

    # ------------------------------------------------------------------ line 8: train

    def training(self, number: int, attempts: StoredRows[Attempt]) -> StoredRows[TrainingRow]:
        """The rows of a round: what was kept of it, and of `replay` earlier rounds."""
        shots = self.recipe.prompting.shots_in_training

        def compute() -> Iterator[TrainingRow]:
            if self.recipe.loop.method == "direct":
                return gold_rows(self.drawn(number), self.builder, number, shots=shots)
            earlier = range(max(1, number - self.recipe.curation.replay), number)
            kept = (row for each in (*map(self.attempts, earlier), attempts) for row in each if row["kept"])
            seed = self.recipe.seed + number
            rows = training_rows(kept, self.problems, self.builder, self.recipe.curation, shots=shots, seed=seed)
            if self.recipe.curation.gold:
                rows = chain(rows, gold_rows(self.drawn(number), self.builder, number, shots=shots, solutions=True))
            return without_hints(rows, self.problems, self.builder, shots=shots)

        return self.ledger.stored(self.ledger.run.folder(number) / "training.parquet", runs.TRAINING, compute)

    def job(self, number: int, rows: StoredRows[TrainingRow], output: Path) -> Callable[[], Job]:
        """What makes the fine-tuning of a round, from the base model or the round before: on `rows`, or under `training.objective:
        rpo` on right and wrong attempts, walked together.
        """
        base = self.stages.model_dir(number - 1) if self.recipe.loop.start == "continue" else self.setup.base_dir
        call = (self.recipe, self.builder, self.problems, number)
        if self.recipe.training.objective == "sft":
            return partial(row_job, *call, rows, base, output)
        count, form = self.recipe.training.preference.pairs, partial(in_form, task=self.setup.task)
        pairs = self.pairs(self.ledger.run.folder(number), [number], walked, count, form)
        return partial(pair_job, *call, pairs, base, output)

    def pairs(self, folder: Path, rounds: Iterable[int], choose: Choose, count: int, winner: Text) -> StoredRows[PairRow]:
        """At most `count` pairs of a problem in these rounds; `winner`: the text of one that was kept."""
        shots = self.recipe.prompting.shots_in_training

        def compute() -> Iterator[PairRow]:
            attempts = chain.from_iterable(self.attempts(number).only(*READ) for number in rounds)
            return pair_rows(attempts, self.problems, self.builder, choose, count, winner, shots=shots)

        return self.ledger.stored(folder / "pairs.parquet", tables.PAIRS, compute)

    def trained(self, output: Path, make: Callable[[], Job], stage: str, name: str) -> Training | None:
        """Fine-tune, unless a run before this one did; returns the facts that stand beside the model, None without rows."""
        facts_file = output / "finetuning.json"
        facts = cast(Training | None, runs.whole_json(facts_file, schemas.Training))
        if facts is None:
            job = make()
            if not job.rows:
                shutil.rmtree(job.scratch)
                return None
            self.pool.sleep()
            facts = self.ledger.timed(stage, lambda: finetune(job))
            if dropped := facts.get("dropped_rows"):
                given, limit = dropped + facts["rows"], f"training.max_length ({self.recipe.training.max_length:,}) tokens"
                what, why = "rows", f"their prompts alone have {limit} or more"
                if job.preference is not None:
                    what, why = "pairs", f"they do not differ within {limit}"
                self.ledger.note(f"{name}: {dropped:,} of {given:,} training {what} were left out: {why}")
            if facts.get("ended") == 0:
                self.ledger.note(f"{name}: none of the trained model's sample completions ends by itself")
            runs.write_json(facts_file, facts)
        facts.pop("loss_curve", None)
        return facts

    # ------------------------------------------------------------------ evaluation

    def evaluation(self, number: int) -> StoredRows[Attempt]:
        """The selection split (or test, when the recipe insists), answered greedily by the round's model."""
        split = self.recipe.evaluation.select_on
        problems = self.setup.selection if split == "selection" else self.setup.test
        file = self.ledger.run.folder(number) / "evaluation.parquet"
        return self.stages.evaluated(file, "evaluation", number, problems, split)

    def finish(self, chosen: int) -> Result:
        """Evaluate test once with the chosen round's model and write result.json."""
        if (result := runs.whole_json(self.setup.run_dir / "result.json", schemas.Result)) is not None:
            return cast(Result, result)
        self.ledger.open(runs.TEST)
        file, settings = self.setup.run_dir / "test" / "evaluation.parquet", self.recipe.evaluation
        rows = self.stages.evaluated(file, "test", chosen, self.setup.test, "test", settings.samples)
        return self.ledger.finish(chosen, settings.select_on, rows, self.problems, self.ranked(chosen, rows))

    def ranked(self, chosen: int, rows: StoredRows[Attempt]) -> Ranking | None:
        """Train the verifier on pairs of all rounds, if the recipe has one, and rank the sampled test answers with it: both as they
        were sampled.
        """
        recipe, folder = self.recipe, self.ledger.run.folder(runs.VERIFIER)
        if recipe.verifier.kind == "off" or chosen == 0:
            return None
        rounds, as_sampled = [line["round"] for line in self.ledger.rounds if line["round"]], itemgetter("completion")
        pairs = self.pairs(folder, rounds, drawn_pairs(recipe.seed), recipe.verifier.pairs, as_sampled)
        output = folder / "model"
        make = partial(verifier_job, recipe, self.builder, self.problems, pairs, self.stages.model_dir(1), output)
        training = self.trained(output, make, "verifier", "verifier")
        if training is None:
            self.ledger.note("no problem has a right and a wrong attempt that differ: there is no verifier")
            return None
        shots = recipe.prompting.shots_in_training
        asked = rows.only("attempt_id", "problem_id", "sample", "completion", "verdict")
        sampled = [row for row in asked if row["sample"] > 0]
        encoded = [
            self.builder.encoded(
                self.problems[row["problem_id"]], row["completion"], shots=shots, ended=row["verdict"] != Verdict.truncated
            )
            for row in sampled
        ]
        self.pool.sleep()
        trust = recipe.model.trust_remote_code
        scores = self.ledger.timed("ranking", lambda: completion_scores(output, encoded, trust_remote_code=trust))
        by_attempt = {row["attempt_id"]: score for row, score in zip(sampled, scores, strict=True)}
        return {"scores": by_attempt, "training": training, "tokens": sum(len(p) + len(c) for p, c in encoded)}

    def chosen_round(self) -> int:
        """The round with the best selection accuracy; the earliest of equals. The base model is not a candidate."""
        rounds = [line for line in self.ledger.rounds if line["round"] > 0] or self.ledger.rounds
        return max(rounds, key=lambda line: (share_right(line), -line["round"]))["round"]

    def stopped(self, number: int) -> bool:
        """True when the stop rule says that round `number` is not needed."""
        accuracies = [share_right(line) for line in self.ledger.rounds if line["round"] < number][1:]
        loop = self.recipe.loop
        if loop.target is not None and accuracies and accuracies[-1] >= loop.target:
            return True
        best = accuracies.index(max(accuracies)) if accuracies else 0
        return loop.patience is not None and len(accuracies) - 1 - best >= loop.patience

    # ------------------------------------------------------------------ model directories

    def prune_models(self) -> None:
        """Under `keep_models: last_and_best`, remove the other rounds' model directories."""
        if self.recipe.keep_models == "all":
            return
        finished = [line["round"] for line in self.ledger.rounds]
        needed = {1} if self.recipe.verifier.kind != "off" else set()
        for number in set(finished[1:]) - {finished[-1], self.chosen_round()} - needed:
            shutil.rmtree(self.stages.model_dir(number), ignore_errors=True)


def share_right(line: RoundLine) -> float:
    """A round's accuracy on the split that chooses among rounds."""
    return line["selection"]["correct"] / max(1, line["selection"]["n"])


class NothingKeptError(FinetuningError):
    """No rationale reached the right answer, or none of a pair: there is nothing to train on. `facts` is what the round did until
    then.
    """

    def __init__(self, number: int, recipe: Recipe, facts: RoundFacts) -> None:
        self.facts = facts
        missing = "rationale was kept" if recipe.training.objective == "sft" else "pair of a right and a wrong rationale differs"
        super().__init__(
            f"round {number}: no {missing}, so there is nothing to train on. STaR needs a model that solves some "
            f"problems, or explains them when told the answer (loop.rationalize is {recipe.loop.rationalize}). "
            "Try more prompting.shots, a larger sampling.max_new_tokens, a stronger model or easier problems."
        )
