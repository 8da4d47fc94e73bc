"""C4: the wait that a provider states in headers, fields and messages."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest

from penstock.runtime.outbound.retry_after import parse_duration_s, retry_after_s, seconds_until
from services.worker.providers.errors.classify import failure_of_status
from services.worker.providers.errors.read_error import error_in

NOW_UNIX_S = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2m59.56s", 179.56),
        ("7.66s", 7.66),
        ("12ms", 0.012),
        ("6m0s", 360),
        ("1h2m", 3720),
        ("1d2h", 93_600),
        ("1h0m0.5s", 3600.5),
        ("250µs", 0.00025),
        ("17", 17),
        ("0", 0),
        (" 1.5 ", 1.5),
        ("3600", 3600),
    ],
)
def test_durations_are_read_in_the_formats_of_providers(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", " ", "-1s", "nan", "inf", "1_0", "soon", "5x", "1s2m", "٣s", "9" * 400, "."]
)
def test_an_invalid_duration_is_ignored(text: str) -> None:
    assert parse_duration_s(text) is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "later", "retry-after": "2"}, 2),
        ({"retry-after": "86400"}, 86_400),
        ({"retry-after": "Wed, 21 Oct 2015 07:30:00 GMT"}, 120),
        ({"retry-after": "Wed, 21 Oct 2015 07:30:00 -0000"}, 120),
        ({"retry-after": "Wed, 21 Oct 2015 07:00:00 GMT"}, 0),
        ({"retry-after": "-3"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({}, None),
    ],
)
def test_c4_retry_after_headers_give_the_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, (), "", NOW_UNIX_S) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3, 2", 3),
        ("2, 3", 3),
        ("3,", 3),
        ("1.5", 1.5),
        ("1.5, soon", 1.5),
        ("2, 99999999", 2),
        ("Wed, 21 Oct 2015 07:30:00 GMT", 120),
        ("Wed, 21 Oct 2015 07:30:00 GMT, Wed, 21 Oct 2015 07:29:00 GMT", 120),
        ("2015-10-21T07:30:00Z", 120),
        ("1445412500", 20),
        ("7.66s", 7.66),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("1" * 900, None),
    ],
)
def test_c4_a_retry_after_header_is_read_in_every_form(text: str, seconds: float | None) -> None:
    assert retry_after_s({"Retry-After": text}, (), "", NOW_UNIX_S) == seconds


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("Rate limit reached. Please try again in 7m12s. Visit https://x.y", 432),
        ("Please try again in 644ms.", 0.644),
        ("Please try again in 8m8.2s", 488.2),
        ("Please try again in 1h2m3s.", 3723),
        ("Please retry after 20 seconds.", 20),
        ("Please retry after 86400 seconds. Please go here", 86_400),
        ("Please retry in 3.2s.", 3.2),
        ("Please retry in 14.203448327s.", 14.203448327),
        ("Please wait 30 seconds and try again", 30),
        ("Try again in 2 minutes", 120),
        ("Try again in 1 hour 5 minutes.", 3900),
        ("limit resets in 45s", 45),
        ("Retry after 12", 12),
        ("Retry after 3 attempts", None),
        ("Please try again later.", None),
        ("Limit 30000, Used 29937, Requested 385", None),
    ],
)
def test_c4_a_wait_in_the_message_is_read(message: str, seconds: float | None) -> None:
    assert retry_after_s({}, (), message, NOW_UNIX_S) == (
        seconds if seconds is None else pytest.approx(seconds)
    )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12s"}, 12),
        ({"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "12s"}, None),
        ({"x-ratelimit-reset-requests": "12s"}, None),
        (
            {
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-requests": "2m0s",
                "x-ratelimit-remaining-tokens": "900",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            120,
        ),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1445412510000"}, 30),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1445412490"}, 10),
        (
            {
                "anthropic-ratelimit-tokens-remaining": "0",
                "anthropic-ratelimit-tokens-reset": "2015-10-21T07:28:40Z",
            },
            40,
        ),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, None),
        ({"retry-after": "3", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "50"}, 3),
    ],
)
def test_c4_the_reset_of_an_exhausted_limit_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(headers, (), "", NOW_UNIX_S) == (
        seconds if seconds is None else pytest.approx(seconds)
    )


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ([{"error": {"code": 429, "message": "x", "details": [{"retryDelay": "3.2s"}]}}], 3.2),
        ({"error": {"code": 429, "message": "Please retry in 14.2s.", "details": [{"retryDelay": "14s"}]}}, 14.2),
        ({"error": {"message": "x", "retry_after": 7}}, 7),
        ({"error": {"message": "x", "metadata": {"headers": {"X-RateLimit-Remaining": "0",
                                                             "X-RateLimit-Reset": "1445412500000"}}}}, 20),
        ({"error": {"message": "x"}}, None),
    ],
)  # fmt: skip
def test_c4_a_delay_field_of_the_error_is_read(body: Any, seconds: float | None) -> None:
    failure = failure_of_status(429, json.dumps(body).encode(), {}, NOW_UNIX_S)
    assert failure.kind == "rate_limited"
    assert failure.retry_after_s == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(("reported_s", "believed"), [(86_400.0, True), (86_401.0, False), (9e8, False)])
def test_c4_a_wait_of_more_than_a_day_is_ignored(reported_s: float, *, believed: bool) -> None:
    headers = {"Retry-After": str(reported_s)}
    failure = failure_of_status(429, b"", headers, NOW_UNIX_S)
    assert failure.error is not None
    assert failure.error.retry_after_s == reported_s
    assert failure.retry_after_s == (reported_s if believed else None)


def test_c4_a_wait_inside_a_200_is_read() -> None:
    error = error_in(
        {"error": {"code": 429, "message": "try again in 2s", "details": [{"retryDelay": "1s"}]}}
    )
    assert error is not None
    assert error.retry_after_s == 2.0


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59+99:99", "Mon, 99 Foo 2015 00:00:00"]
)
def test_malformed_dates_are_ignored(text: str) -> None:
    assert seconds_until(text, NOW_UNIX_S) in {None, 0.0}


@pytest.mark.parametrize("off_s", [-3_600, -600, 0, 600, 3_600])
def test_c4_a_date_is_compared_with_the_clock_of_the_provider_where_it_shows_that(off_s: int) -> None:
    provider_s = NOW_UNIX_S + off_s
    headers = {
        "Date": formatdate(provider_s, usegmt=True),
        "Retry-After": formatdate(provider_s + 90, usegmt=True),
    }
    assert failure_of_status(429, b"", headers, NOW_UNIX_S).retry_after_s == 90.0
