"""F3: refusals of the budget ledger as OpenAI's SDK sees them, and the headers about limits in every dialect."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import openai
import pytest

from penstock.contract.ledger.holds import HoldAnswer, HoldGranted, HoldRefused, HoldRequest
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.ledger.policies import LimitName
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_ledger import Decide, FakeLedger
from tests.harness.processes.system import System, shared_system

ASKED: Any = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        models={"m-chat": {"price": {"input": 1, "output": 1}}}, budgets={"ledger_wait_s": 0.3}
    )
    with shared_system(tmp_path_factory.mktemp("budgets"), "chat", config=config) as running:
        yield running


@pytest.fixture
async def ledger(system: System) -> AsyncIterator[FakeLedger]:
    async with FakeLedger.running(system.nats.url) as running:
        yield running


def status(limit: LimitName, left: int) -> LimitStatus:
    until_ms = int(time.time() * 1000) + 59_500
    return LimitStatus(
        scope="user", limit=limit, allowed=20, spent=20 - left, left=left, resets_at_ms=until_ms
    )


def refuse(code: Any, limit: LimitStatus | None = None, retry_after_s: float | None = None) -> Decide:
    async def decide(request: HoldRequest) -> HoldAnswer:
        return HoldRefused(
            id=request.id, code=code, message="no more today", limit=limit, retry_after_s=retry_after_s
        )

    return decide


async def test_f3_a_used_up_budget_is_payment_required_with_openais_type(
    ai: openai.AsyncOpenAI, ledger: FakeLedger
) -> None:
    ledger.decide = refuse("budget_exceeded", status("microusd_per_day", 0), 7_200)
    with pytest.raises(openai.APIStatusError) as raised:
        await ai.chat.completions.create(model="chat", messages=ASKED)
    error = raised.value
    assert error.status_code == 402
    assert (error.type, error.code) == ("insufficient_quota", "budget_exceeded")
    assert error.response.headers["retry-after"] == "7200"
    assert error.response.headers["x-should-retry"] == "false"
    assert "no more today" in error.message


@pytest.mark.parametrize("stream", [False, True])
async def test_f3_a_rate_limit_is_a_rate_limit_error_with_its_headers(
    ai: openai.AsyncOpenAI, ledger: FakeLedger, *, stream: bool
) -> None:
    ledger.decide = refuse("rate_limited", status("requests_per_minute", 0), 31.2)
    with pytest.raises(openai.RateLimitError) as raised:
        await ai.chat.completions.create(model="chat", messages=ASKED, stream=stream)
    headers = raised.value.response.headers
    assert (raised.value.type, raised.value.code) == ("rate_limit_error", "rate_limited")
    assert headers["retry-after"] == "32"
    assert "x-should-retry" not in headers
    assert headers["x-ratelimit-limit-requests"] == "20"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"] in {"59s", "1m0s"}


async def test_f3_the_retries_of_the_sdk_wait_as_long_as_the_limit_says(
    ai: openai.AsyncOpenAI, ledger: FakeLedger
) -> None:
    asked_s: list[float] = []
    refused = refuse("rate_limited", status("requests_per_second", 0), 2.0)

    async def grant_the_second(request: HoldRequest) -> HoldAnswer | bytes | None:
        asked_s.append(time.monotonic())
        return HoldGranted(id=request.id) if len(asked_s) > 1 else await refused(request)

    ledger.decide = grant_the_second
    answer = await ai.with_options(max_retries=1).chat.completions.create(model="chat", messages=ASKED)
    assert answer.choices[0].message.content
    assert 2.0 <= asked_s[1] - asked_s[0] < 3.5


async def test_f3_a_disabled_account_is_forbidden(ai: openai.AsyncOpenAI, ledger: FakeLedger) -> None:
    ledger.decide = refuse("account_disabled")
    with pytest.raises(openai.PermissionDeniedError) as raised:
        await ai.with_options(max_retries=2).chat.completions.create(model="chat", messages=ASKED)
    assert raised.value.code == "account_disabled"
    assert len(ledger.asked) == 1


async def test_d10_the_sdk_does_not_repeat_what_is_never_allowed(
    ai: openai.AsyncOpenAI, ledger: FakeLedger
) -> None:
    ledger.decide = refuse("rate_limited", status("requests_per_minute", 0))
    with pytest.raises(openai.RateLimitError):
        await ai.with_options(max_retries=2).chat.completions.create(model="chat", messages=ASKED)
    assert len(ledger.asked) == 1


async def test_f1_without_a_ledger_the_gateway_is_unavailable_for_a_moment(ai: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as raised:
        await ai.chat.completions.create(model="chat", messages=ASKED)
    assert raised.value.status_code == 503
    assert raised.value.code == "budget_unavailable"
    assert raised.value.response.headers["retry-after"] == "3"


@pytest.mark.parametrize("stream", [False, True])
async def test_f3_an_answer_tells_what_is_left(
    ai: openai.AsyncOpenAI, ledger: FakeLedger, *, stream: bool
) -> None:
    async def grant(request: HoldRequest) -> HoldAnswer:
        return HoldGranted(
            id=request.id, requests=status("requests_per_minute", 15), tokens=status("tokens_per_day", 7)
        )

    ledger.decide = grant
    raw = await ai.chat.completions.with_raw_response.create(model="chat", messages=ASKED, stream=stream)
    assert raw.headers["x-ratelimit-remaining-requests"] == "15"
    assert raw.headers["x-ratelimit-remaining-tokens"] == "7"


async def test_f3_the_responses_dialect_has_the_same_errors(
    ai: openai.AsyncOpenAI, ledger: FakeLedger
) -> None:
    ledger.decide = refuse("budget_exceeded", None, 60)
    with pytest.raises(openai.APIStatusError) as raised:
        await ai.responses.create(model="chat", input="Why?")
    assert (raised.value.status_code, raised.value.type) == (402, "insufficient_quota")


@pytest.mark.parametrize(
    ("code", "http_status", "kind"),
    [
        ("budget_exceeded", 402, "billing_error"),
        ("rate_limited", 429, "rate_limit_error"),
        ("account_disabled", 403, "permission_error"),
    ],
)
async def test_f3_the_messages_dialect_has_the_types_and_headers_of_anthropic(
    url: str, ledger: FakeLedger, code: str, http_status: int, kind: str
) -> None:
    ledger.decide = refuse(code, status("tokens_per_minute", 3), 10)
    body = {"model": "chat", "max_tokens": 20, "messages": ASKED}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/messages", json=body) as answer:
        error = (await answer.json())["error"]
        assert (answer.status, error["type"]) == (http_status, kind)
        assert answer.headers["anthropic-ratelimit-tokens-remaining"] == "3"
        assert answer.headers["anthropic-ratelimit-tokens-reset"].endswith("Z")
        assert not any(name.lower().startswith("x-ratelimit") for name in answer.headers)


async def test_f3_a_refused_job_is_refused_at_its_submission(url: str, ledger: FakeLedger) -> None:
    ledger.decide = refuse("budget_exceeded", None, 60)
    body = {"model": "chat", "messages": ASKED}
    async with aiohttp.ClientSession() as http, http.post(f"{url}/v1/jobs", json=body) as answer:
        assert answer.status == 402, await answer.text()
