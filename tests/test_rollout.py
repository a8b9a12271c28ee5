"""Monte-Carlo step values against a sampler whose chance of a right answer is known for every prefix, and for real."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from analysis import score
from analysis.soundness.rollout import LEFT, Rationale, Rollouts, Value, p_drop
from analysis.soundness.scorer import Item
from analysis.soundness.scorers import Place, ScorerOptions, open_scorers
from star.errors import UsageError
from star.recipe import SEEDS
from star.run import Run, read_rows
from star.sampling.base import Completion, Decoding
from star.statistics import wilson
from star.tasks.addition import scratchpad, spaced
from tests.run_factory import make_run

MODEL = SEEDS / "models" / "addition-0.2m"
STEPS = tuple(scratchpad(6248, 2593))
QUESTION = "6 2 4 8 + 2 5 9 3"
RIGHT, WRONG = "8841", "8842"


class KnownChances:
    """Goes on to the right answer with a chance that depends on how many of STEPS stand in the prompt already."""

    name = "scripted"
    model_dir = MODEL

    def __init__(self, tokenizer: Any, chance: Callable[[int], float]) -> None:
        self.tokenizer, self.chance = tokenizer, chance
        self.prompts: list[list[str]] = []
        self.completions = 0

    def sample(
        self, prompts: Sequence[Sequence[int]], decoding: Decoding, *, progress: str | None = None
    ) -> list[list[Completion]]:
        rng = np.random.default_rng(decoding.seed)
        texts = [self.tokenizer.decode(ids) for ids in prompts]
        self.prompts.append(texts)
        self.completions += len(texts) * decoding.samples
        return [[self._completion(text, rng) for _ in range(decoding.samples)] for text in texts]

    def _completion(self, prompt: str, rng: np.random.Generator) -> Completion:
        done = prompt.rpartition("Target:\n")[2].splitlines()
        answer = RIGHT if rng.random() < self.chance(len(done)) else WRONG
        text = "\n".join([*STEPS[len(done) :], spaced(int(answer))])
        return Completion(text, (5,) * 9, "stop", (-0.5,) * 9)

    def sleep(self) -> None:
        """Nothing to give back."""

    def load(self, model_dir: Path) -> None:
        """Nothing to load."""

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one round with a model that really adds."""
    sections = {"prompting": {"shots": 0}, "sampling": {"max_new_tokens": 60}}
    root = tmp_path_factory.mktemp("runs")
    made = make_run(root, rounds=1, problems=4, analysis=False, probes=False, sections=sections)
    shutil.copytree(MODEL, made / "round_01" / "model")
    return made


def scorer(run: Path, *chances: float, rollouts: int = 8, scored: Path | None = None) -> tuple[Rollouts, KnownChances]:
    """Chances of a right answer after 0, 1, ... steps; the last one holds for all that follow."""
    made = Rollouts(str(run), ScorerOptions(rollouts=rollouts), Place(scored))
    sampler = KnownChances(made.builder.tokenizer, lambda done: chances[min(done, len(chances) - 1)])
    made.engine.start = lambda: sampler
    return made, sampler


def items(number: int, answer: str = RIGHT, steps: Sequence[str] = STEPS) -> list[Item]:
    """Rationales of one question; the first line tells them apart, so that they share no prompt but the question's."""
    return [Item(f"a{i}", i, QUESTION, (f"{steps[0]}{' ' * i}", *steps[1:]), None, answer, RIGHT) for i in range(number)]


def test_the_intervals_cover_the_known_chances(run: Path) -> None:
    chances = (0.9, 0.8, 0.8, 0.5, 0.3)
    made, sampler = scorer(run, *chances, rollouts=32)
    rationales = [each for each in map(made.read, items(20)) if isinstance(each, Rationale)]
    made.measure(sampler, rationales)
    inside = [
        wilson(value.right, value.n).low <= chances[min(i, 4)] <= wilson(value.right, value.n).high
        for each in rationales
        for i, value in enumerate(each.values)
    ]
    assert len(inside) == 20 * (len(STEPS) + 1)
    assert np.mean(inside) > 0.9


@pytest.mark.parametrize(("answer", "at_least"), [(RIGHT, 0.85), (WRONG, 0.85)])
def test_the_drop_is_found(answer: str, at_least: float, run: Path) -> None:
    made, _ = scorer(run, 0.9, 0.9, 0.9, 0.9, 0.05)
    results = made.score(items(60, answer))
    sure = [result for result in results if result.p_unsound is not None]
    assert len(sure) >= 60 * at_least
    assert np.mean([result.first_error == 3 for result in sure]) > 0.95
    for result in sure:
        assert result.p_unsound is not None and result.p_unsound > 0.9 and result.error_at is not None
        assert result.step_ok[3] is not None and result.step_ok[3] < 0.5
        assert result.step_ok[4:] == (None,) * (len(STEPS) - 4), "nothing is said of what follows the first error"


def test_a_wrong_answer_is_searched_by_halving(run: Path) -> None:
    chances = (0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.02)
    (grid, every), (halving, few) = scorer(run, *chances), scorer(run, *chances)
    grid.score(items(20))
    (*_, result) = halving.score(items(20, WRONG))
    assert result.first_error == 5
    assert few.completions < 0.75 * every.completions


def test_the_restart_control_stops_alarms_about_hard_questions(run: Path) -> None:
    for answer in (RIGHT, WRONG):
        made, sampler = scorer(run, 0.03, 0.03, 0.03, 0.0)
        results = made.score(items(40, answer))
        assert {result.status for result in results} == {"outside"}
        assert all(result.p_unsound is None and not result.step_ok for result in results)
        assert len(sampler.prompts) == 1, "a question that is too hard costs no more than the control"


@pytest.mark.parametrize("chance", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("answer", [RIGHT, WRONG])
def test_no_drop_is_seen_where_there_is_none(chance: float, answer: str, run: Path) -> None:
    made, _ = scorer(run, chance)
    flagged = [result.p_unsound is not None for result in made.score(items(100, answer))]
    assert np.mean(flagged) <= 0.05


def test_a_rationale_that_recovers_is_not_called_sound(run: Path) -> None:
    unsound = [step.replace("C: 1", "C: 0") for step in STEPS]
    made, _ = scorer(run, 1.0)
    for result in made.score(items(5, steps=unsound)):
        assert (result.status, result.p_unsound, result.error_at) == ("outside", None, None)
        assert "says nothing of the steps" in result.why


def test_rising_values_are_no_verdict(run: Path) -> None:
    made, _ = scorer(run, 0.3, 0.3, 1.0)
    (result,) = made.score(items(1))
    assert (result.status, result.p_unsound) == ("ok", None)
    assert result.step_ok[1:] == (1.0,) * (len(STEPS) - 1)


def test_one_item_never_stops_the_others(run: Path) -> None:
    made, _ = scorer(run, 0.9, 0.9, 0.05)
    (good,) = items(1)
    bad = [
        Item("b", 1, QUESTION, STEPS, None, RIGHT, None),
        Item("c", 2, QUESTION, (), None, RIGHT, RIGHT),
        Item("d", 3, QUESTION, STEPS, None, RIGHT, "a lot"),
        Item("e", 4, "How many pens?", ("Three.",), None, "3", "3"),
    ]
    results = made.score([good, *bad])
    assert results[0].p_unsound is not None
    assert [result.status for result in results[1:4]] == ["outside", "unparsed", "error"]
    assert "gold answer a lot" in results[3].why and results[4].p_unsound is None


def test_p_drop_is_that_of_the_two_posteriors() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.beta(14.5, 2.5, 10**6), rng.beta(9.5, 7.5, 10**6)
    assert p_drop(Value(16, 16, 14), Value(16, 16, 9)) == pytest.approx(np.mean(after < LEFT * before), abs=0.01)
    assert p_drop(Value(16, 16, 8), Value(16, 16, 8)) < 0.5 < p_drop(Value(16, 16, 16), Value(16, 16, 0))


def test_what_the_context_cuts_short_is_not_counted(run: Path) -> None:
    made, sampler = scorer(run, 1.0)
    sampler._completion = lambda prompt, rng: Completion("8", (5,), "length", (-1.0,))  # type: ignore[method-assign]
    assert [result.status for result in made.score(items(2))] == ["too_long"] * 2


def test_hinted_rows_are_rolled_out_from_what_was_written_but_without_the_hint(run: Path) -> None:
    rows = [row for row in read_rows(run / "round_01" / "attempts.parquet") if row["mode"] == "rationalized"]
    assert rows
    made, sampler = scorer(run, 0.5, scored=run)
    sampler._completion = lambda prompt, rng: Completion("8", (5,), "stop", (-1.0,))  # type: ignore[method-assign]
    made._accepts = lambda text, problem: True  # type: ignore[method-assign]
    problems = {row["problem_id"]: row["question"] for row in Run(run).problems()}
    asked = []
    for place, row in enumerate(rows):
        steps, question = tuple(row["rationale"].splitlines()), problems[row["problem_id"]]
        asked.append(Item(row["attempt_id"], place, question, steps, None, row["answer"], row["gold"]))
    made.score(asked)
    texts = {text for call in sampler.prompts for text in call}
    questions = {item.question for item in asked}
    assert {text.rpartition("Input:\n")[2].partition("\nTarget:\n")[0] for text in texts} <= questions
    written = [text.rpartition("Target:\n")[2] for text in texts]
    assert all(any(row["completion"].startswith(text) for row in rows) for text in written)


def test_cuts_split_no_token(run: Path) -> None:
    made, _ = scorer(run, 0.5)
    each = made.prepared(items(1)[0])
    assert isinstance(each, Rationale)
    (whole,) = made.builder.tokenizer([each.texts[-1]], add_special_tokens=False)["input_ids"]
    prompt = each.prompts[0]
    for ids in each.prompts:
        assert list(ids) == [*prompt, *whole[: len(ids) - len(prompt)]]
    assert [text.splitlines() for text in each.texts] == [list(STEPS[:i]) for i in range(len(STEPS) + 1)]


def test_a_run_is_needed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="rollout:RUN"), open_scorers(("rollout",), place=Place(tmp_path / "rows.jsonl")):
        pass


def test_for_real_on_a_run(run: Path) -> None:
    """The embedded model adds two digits: the rationales whose carry was changed are judged by what it makes of them."""
    assert score.main([str(run), "--scorer", "rollout", "--rollouts", "4"]) == 0
    table = pq.read_table(run / "analysis" / "scores" / "rollout.parquet").to_pylist()
    assert len(table) == sum(len(read_rows(run / name)) for name in Run(run).attempt_files())
    assert {row["status"] for row in table} <= {"ok", "outside", "unparsed"}
    judged = [row for row in table if row["p_unsound"] is not None]
    assert all(row["step_ok"][row["first_error_step"]] < LEFT for row in judged)


def test_for_real_a_wrong_carry_costs_value(run: Path) -> None:
    steps = scratchpad(47, 38)
    wrong = [*steps[:2], steps[2].replace("5 C: 1", "4 C: 0"), "3 , 7 4 C: 0", "0 7 4", "</scratch>"]
    given = [
        Item("wrong", 0, "4 7 + 3 8", tuple(wrong), None, "74", "85"),
        Item("right", 1, "4 7 + 3 8", tuple(steps), None, "85", "85"),
    ]
    with open_scorers((f"rollout:{run}",)) as (real,):
        estimate = real.plan(given)
        bad, good = real.score(given)
    assert estimate.calls == 2 * (len(steps) + 1) and estimate.prompt_tokens > 0
    assert bad.first_error == 2 and bad.p_unsound is not None and bad.p_unsound > 0.9
    assert good.p_unsound is None
    assert bad.usage.generated_tokens > 0 and bad.fingerprint == good.fingerprint != ""
