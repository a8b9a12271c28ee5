"""Servers of language models as judges: trouble that passes, trouble with one rationale, and what ends the command."""

from __future__ import annotations

import itertools
import json
import time
from pathlib import Path
from typing import Any

import pytest

from analysis import score
from analysis.soundness import openai_server
from analysis.soundness.judge import Judge
from analysis.soundness.scorers import Place, ScorerOptions
from star.errors import InputError
from tests.judge_server import Answer, command, honest, item, judged, records, said, serving

pytestmark = pytest.mark.usefixtures("quick_judge")


def test_a_server_that_ignores_n_is_asked_more_often() -> None:
    with serving(lambda number, _: said(f"\\boxed{{{number - 1}}}")) as server:
        (found,) = judged(server, [item()], votes=3)
    assert len(server.bodies) == found.usage.calls == 3 and found.error_at == (1 / 3, 1 / 3, 0)


@pytest.mark.parametrize(
    "trouble",
    [
        (429, {"error": {"message": "slow down"}}, {"Retry-After": "0.05"}),
        (429, {"error": {"message": "slow down"}}, {"Retry-After": "Sat, 01 Jan 2000 00:00:00 GMT"}),
        (500, b"<html>down</html>", {}),
        (503, b"", {}),
        (200, b"[[[", {}),
        (200, b"[" * 100_000, {}),
        (200, {"choices": []}, {}),
        (200, {"choices": [{"text": "no message"}]}, {}),
        (200, {"error": {"message": "upstream failed"}}, {}),
        (200, [1], {}),
    ],
)
def test_trouble_that_passes_is_waited_for(trouble: Answer) -> None:
    with serving(lambda number, body: trouble if number < 2 else said(honest(body))) as server:
        (found,) = judged(server, [item()])
    assert (found.status, found.first_error, len(server.bodies)) == ("ok", 1, 3)


def test_trouble_with_one_rationale_is_a_status_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: int, body: dict[str, Any]) -> Answer:
        prompt = body["messages"][0]["content"]
        if "basket 1?" in prompt:
            return 500, {"error": "broken sk-secret"}, {}
        if "basket 2?" in prompt:
            return 400, {"error": {"code": "context_length_exceeded", "message": "maximum context length is 10"}}, {}
        if "basket 3?" in prompt:
            return 403, {"error": {"message": "flagged by moderation"}}, {}
        return said(honest(body))

    with serving(answer) as server:
        results = judged(server, [item(place) for place in range(5)])
    assert [found.status for found in results] == ["ok", "error", "too_long", "refused", "ok"]
    assert "500" in results[1].why and "sk-secret" not in results[1].why


def test_one_rationale_that_leaves_no_room_changes_no_other_request() -> None:
    def answer(_: int, body: dict[str, Any]) -> Answer:
        if "basket 1?" in body["messages"][0]["content"] and {"max_tokens", "max_completion_tokens"} & set(body):
            return 400, {"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum "
                                   "context length is 8192 tokens and your request has 900 input tokens"}}, {}  # fmt: skip
        return said(honest(body))

    with serving(answer) as server:
        results = judged(server, [item(place) for place in range(4)], concurrency=1)
    assert [found.status for found in results] == ["ok"] * 4
    assert [body.get("max_tokens") for body in server.bodies if "basket 1?" not in body["messages"][0]["content"]] == [16_384] * 3


def test_half_a_surrogate_pair_and_absurd_counts_of_a_server_cost_nothing_else(tmp_path: Path) -> None:
    rows = records(tmp_path, 4)
    counted = {"prompt_tokens": 10**30, "completion_tokens": -5}
    half = json.dumps({"choices": [{"message": {"content": "\ud83d"}}], "usage": counted})

    def answer(number: int, body: dict[str, Any]) -> Answer:
        return (200, half.encode(), {}) if number == 0 else said(honest(body))

    with serving(answer) as server:
        assert score.main(command(rows, server, "--concurrency", "1")) == 0
        assert score.main([*command(rows, server)[:2], str(tmp_path / "s.parquet"), *command(rows, server)[3:]]) == 0
    first, *others = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert first["judge-openai-gpt_status"] == "unparsed" and "\\boxed" in first["judge-openai-gpt_why"]
    usage = first["judge-openai-gpt_usage"]
    assert 100 < usage["prompt_tokens"] < 1_000 and usage["generated_tokens"] > 0
    assert {row["judge-openai-gpt_status"] for row in others} == {"ok"}


def test_a_prompt_that_rationales_share_is_paid_once() -> None:
    with serving(lambda _, body: said(honest(body))) as server:
        results = judged(server, [item(), item()], prices=(1.0, 10.0))
    assert len(server.bodies) == 1 and [found.usage.calls for found in results] == [1, 0]
    assert results[0].usage.cost and not results[1].usage.cost and results[0].p_unsound == results[1].p_unsound == 1


def test_servers_on_one_host_have_replies_of_their_own() -> None:
    identities = {
        Judge("openai:gpt", ScorerOptions(base_url=f"http://127.0.0.1:9/{path}"), Place()).identity for path in ("v1", "other/v1")
    }
    assert len(identities) == 2


@pytest.mark.parametrize("endless", [False, True])
def test_a_slow_server_is_asked_again(monkeypatch: pytest.MonkeyPatch, endless: bool) -> None:
    monkeypatch.setattr(openai_server, "TIMEOUT", 0.3)

    def answer(number: int, body: dict[str, Any]) -> Answer:
        if number == 0 and endless:
            return 200, itertools.repeat(b" "), {}
        if number == 0:
            time.sleep(1)
        return said(honest(body))

    with serving(answer) as server:
        (found,) = judged(server, [item()])
    assert (found.status, len(server.bodies)) == ("ok", 2)


def test_parameters_that_a_server_refuses_are_left_out_from_then_on() -> None:
    def answer(_: int, body: dict[str, Any]) -> Answer:
        if "max_tokens" in body:
            return 400, {"error": {"message": "'max_tokens' is not supported: use 'max_completion_tokens'."}}, {}
        if "temperature" in body:
            return 400, {"error": {"param": "temperature", "message": "Unsupported value"}}, {}
        return said(honest(body))

    with serving(answer) as server:
        results = judged(server, [item(place) for place in range(3)], concurrency=1)
    assert [found.status for found in results] == ["ok"] * 3 and len(server.bodies) == 5
    assert set(server.bodies[-1]) == {"model", "messages", "max_completion_tokens"}
    with serving(lambda _, __: (400, {"error": {"message": "no such thing"}}, {})) as server:
        (found,) = judged(server, [item()])
    assert (found.status, len(server.bodies)) == ("error", 1), "another 400 is not tried again"


def test_tokens_that_a_server_does_not_count_are_estimated() -> None:
    with serving(lambda _, body: said(honest(body), tokens=None)) as server:
        (found,) = judged(server, [item()], prices=(1.0, 1.0))
    assert found.usage.prompt_tokens > 100 and found.usage.generated_tokens > 10 and found.usage.cost > 0


@pytest.mark.parametrize(
    "answer", [(401, {"error": "key sk-secret"}, {}), (404, b"no model", {}), (429, {"code": "insufficient_quota"}, {})]
)
def test_what_no_rationale_will_change_ends_the_command(answer: Answer, tmp_path: Path) -> None:
    with serving(lambda number, body: answer if number > 1 else said(honest(body))) as server:
        with pytest.raises(InputError, match="OPENAI_API_KEY") as raised:
            judged(server, [item(place) for place in range(50)], tmp_path, concurrency=2)
        assert "sk-secret" not in str(raised.value) and len(server.bodies) < 10
    with serving(lambda _, body: said(honest(body))) as server:
        pass
    with pytest.raises(InputError, match="Start the server"):
        judged(server, [item()])
