"""F3: what is left of the limits of the sender, in the names of its SDK."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from penstock.bus.clock import Clock
from penstock.contract.errors import ErrorCode
from penstock.contract.ledger.limits import LimitStatus
from penstock.contract.reply import Failed, Failure
from penstock.runtime.jobs.completion import failure_of
from services.edge.answers.limit_headers import LIMIT_HEADERS
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.dialects.dialect import LimitHeaderStyle
from tests.harness.requests.reply_events import accepted

NOW_MS = 1_800_000_000_000
CLOCK = Clock(lambda: 0.0, lambda: NOW_MS / 1000)
MINUTE = LimitStatus(
    scope="user", limit="requests_per_minute", allowed=20, spent=5, left=15, resets_at_ms=NOW_MS + 360_000
)
DAY = LimitStatus(
    scope="account", limit="tokens_per_day", allowed=1_000, left=10, resets_at_ms=NOW_MS + 86_352_000
)


def sent(style: LimitHeaderStyle, *events: Any) -> dict[str, str]:
    facts = ReplyFacts("r1", None, style, CLOCK)
    for event in events:
        facts.add(event)
    return {name.decode(): value.decode() for name, value in facts.headers() if b"ratelimit" in name}


def refusal(code: ErrorCode, limit: LimitStatus) -> Failure:
    return replace(failure_of(code, "no more"), limit=limit)


def test_f3_an_answer_tells_what_is_left_as_openai_does() -> None:
    assert sent("openai", accepted(requests_limit=MINUTE, tokens_limit=DAY)) == {
        "x-ratelimit-limit-requests": "20",
        "x-ratelimit-remaining-requests": "15",
        "x-ratelimit-reset-requests": "6m0s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "10",
        "x-ratelimit-reset-tokens": "23h59m12s",
    }


def test_f3_an_answer_tells_what_is_left_as_anthropic_does() -> None:
    assert sent("anthropic", accepted(requests_limit=MINUTE, tokens_limit=DAY)) == {
        "anthropic-ratelimit-requests-limit": "20",
        "anthropic-ratelimit-requests-remaining": "15",
        "anthropic-ratelimit-requests-reset": "2027-01-15T08:06:00Z",
        "anthropic-ratelimit-tokens-limit": "1000",
        "anthropic-ratelimit-tokens-remaining": "10",
        "anthropic-ratelimit-tokens-reset": "2027-01-16T07:59:12Z",
    }


@pytest.mark.parametrize("style", LIMIT_HEADERS)
def test_k2_every_header_is_described(style: LimitHeaderStyle) -> None:
    assert (
        sent(style, accepted(requests_limit=MINUTE, tokens_limit=DAY)).keys() == LIMIT_HEADERS[style].keys()
    )


def test_f3_a_refusal_tells_the_limit_that_refused() -> None:
    used_up = replace(MINUTE, left=0, resets_at_ms=NOW_MS + 900)
    refused = Failed(id="r1", seq=0, error=refusal("rate_limited", used_up))
    assert sent("openai", refused) == {
        "x-ratelimit-limit-requests": "20",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "1s",
    }


@pytest.mark.parametrize("limit", ["microusd_per_day", "concurrency", "tokens_per_request"])
def test_f3_other_limits_have_no_headers(limit: Any) -> None:
    refused = refusal("budget_exceeded", replace(MINUTE, limit=limit))
    assert sent("openai", Failed(id="r1", seq=0, error=refused)) == {}


def test_f3_a_limit_whose_period_is_over_is_not_told() -> None:
    assert sent("openai", accepted(requests_limit=replace(MINUTE, resets_at_ms=NOW_MS))) == {}
    assert sent("openai", accepted()) == {}
