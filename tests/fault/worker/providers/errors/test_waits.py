"""C4, A9: the wait that a provider requests is read in every form.

If the wait is shorter than the role's `wait_s`, the same model is called after it. Otherwise the model pauses and the
next model of the chain answers at once.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest

from tests.fault.worker.providers.rows.table import (
    MODELS,
    Both,
    Outcome,
    Row,
    Table,
    check,
    row_ids,
)
from tests.fault.worker.providers.rows.wire import Answer, completion, data, delta, error, sized, stream
from tests.harness.providers.scripted_provider import Part

LIMITED = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}
HELLO = Both(stream(delta("Hello world"), delta(None, "stop")), completion())


def limited(message: str, *headers: str, **more: object) -> Answer:
    return error(429, {"error": {"message": message, "code": "rate_limit_exceeded", **more}}, *headers)


def headers(*lines: str) -> Answer:
    return error(429, LIMITED, *lines)


def gemini(message: str, **details: str) -> Answer:
    body = {
        "code": 429,
        "message": message,
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"quotaId": "PerMinute"}],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", **details},
        ],
    }
    return error(429, [{"error": body}])


class InMs:
    """A header with the time `ahead_ms` after the response is sent."""

    def __init__(self, ahead_ms: int, form: str) -> None:
        self._ahead_ms = ahead_ms
        self._form = form

    def __iter__(self) -> Iterator[Part]:
        at_ms = int(time.time() * 1000) + self._ahead_ms
        date = formatdate(at_ms / 1000, usegmt=True)
        line = self._form.format(ms=at_ms, s=at_ms // 1000, date=date)
        return iter(headers(line, "x-ratelimit-remaining-requests: 0", "X-RateLimit-Remaining: 0"))


def short(name: str, answer: Any, low_s: float = 0.5, high_s: float = 2.2, **more: Any) -> Row:
    """The same model answers after the wait."""
    return Row(
        name=f"short, {name}",
        script={"first": [answer, HELLO]},
        calls={"first": 2},
        took_s=(low_s, high_s),
        quiet=False,
        **more,
    )


def long(name: str, answer: Any, low_s: float, high_s: float) -> Row:
    """The next model answers at once; the first pauses."""
    return Row(
        name=f"long, {name}",
        modes=("streamed",),
        script={"first": [answer]},
        text="from second",
        model="second",
        calls={"first": 1, "second": 1},
        took_s=(0.0, 1.0),
        quiet=False,
        paused_s=(low_s, high_s),
        neighbour="second",
    )


def in_200(message: str) -> Both:
    body = {"error": {"code": 429, "message": message}}
    return Both(stream(data(body), done=False), sized(json.dumps(body).encode()))


SHORT = (
    short("seconds", headers("retry-after: 1"), 0.9),
    short("fractional seconds", headers("retry-after: 0.6")),
    short("two headers", headers("retry-after: 1", "retry-after: 1"), 0.9),
    short("a list", headers("retry-after: 1, 1"), 0.9),
    short("milliseconds", headers("retry-after-ms: 600")),
    short("milliseconds beside seconds", headers("retry-after-ms: 600", "retry-after: 1")),
    short("with a unit", headers("retry-after: 600ms")),
    short(
        "reset of the requests",
        headers("x-ratelimit-remaining-requests: 0", "x-ratelimit-reset-requests: 600ms"),
    ),
    short(
        "reset of the tokens", headers("x-ratelimit-remaining-tokens: 0", "x-ratelimit-reset-tokens: 0.6s")
    ),
    short("OpenRouter, a Unix time in ms", InMs(700, "X-RateLimit-Reset: {ms}"), 0.4),
    short(
        "message in ms",
        limited("Rate limit reached for m. Please try again in 600ms. Visit https://x for more."),
    ),
    short(
        "message in s",
        limited("Rate limit reached for m. Limit 30, Used 30, Requested 1. Please try again in 0.6s."),
    ),
    short(
        "message of Azure",
        limited("Requests have exceeded call rate limit. Please retry after 1 second."),
        0.9,
    ),
    short("message of Gemini", gemini("Quota exceeded for metric x. Please retry in 0.6s.")),
    short("retryDelay", gemini("Resource has been exhausted", retryDelay="0.6s")),
    short("retryDelay with nanoseconds", gemini("Resource has been exhausted", retryDelay="0.637906927s")),
    short("in a 200", in_200("Rate limit exceeded. Please try again in 0.6s.")),
    short("a field of the body", error(429, {"error": {"message": "slow down"}, "retry_after": 0.6})),
    short(
        "498 of Groq",
        error(498, {"error": {"message": "Flex tier capacity exceeded"}}, "retry-after: 1"),
        0.9,
    ),
)

LONG = (
    long(
        "message in minutes",
        limited(
            "Rate limit reached for m on tokens per day (TPD): Limit 500000, Used 499000, Requested "
            "3000. Please try again in 7m12s."
        ),
        431,
        434,
    ),
    long("a list", headers("retry-after: 3, 2"), 2, 4),
    long("a date", InMs(30_000, "retry-after: {date}"), 28, 31),
    long(
        "reset of the tokens",
        headers("x-ratelimit-remaining-tokens: 0", "x-ratelimit-reset-tokens: 6m0s"),
        359,
        361,
    ),
    long("OpenRouter, a Unix time in ms", InMs(40_000, "X-RateLimit-Reset: {ms}"), 38, 41),
    # Gemini reports a used-up quota with a delay: a limit per minute, not a budget (dimetron/pi-go PR 177).
    long(
        "Gemini's plan and billing",
        gemini(
            "You exceeded your current quota, please check your plan and billing details. "
            "Please retry in 42.69s.",
            retryDelay="42s",
        ),
        41.9,
        43.5,
    ),
    long("milliseconds", headers("retry-after-ms: 45000"), 44.9, 46),
    long("message in hours", limited("Rate limit reached. Please try again in 1h2m3s."), 3598, 3601),
    long("in a 200", in_200("Rate limit exceeded. Try again in 50 seconds"), 49, 51),
)

KNOWN = {"requests_per_minute": 6_000, "tokens_per_minute": 10_000_000}
"""Limits in the catalogue are not learned from 429s, so that the rows of a lane are independent."""

TABLE = Table(
    rows=(*SHORT, *LONG),
    models={model: {"limits": KNOWN} for model in MODELS},
    role={"timeouts": {"total_s": 8.0, "non_streaming_s": 3.0, "first_token_s": 2.0}},
)


@pytest.mark.parametrize("name", row_ids(TABLE))
def test_c4_the_stated_wait_is_read_and_kept(outcomes: dict[str, Outcome], name: str) -> None:
    check(outcomes[name])
