"""Durations, headers and errors of the rate limits, as OpenAI and Groq send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.simulator.rate_limits.limiter import ModelLimits, RateLimiter
from services.simulator.rate_limits.responses import format_duration, rate_limit_error, rate_limit_headers


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0ms"),
        (0.0115, "12ms"),
        (0.9999, "1000ms"),
        (7.66, "7.66s"),
        (179.56, "2m59.56s"),
        (60, "1m0s"),
        (3605, "1h0m5s"),
        (86400, "24h0m0s"),
        (1.001, "1.01s"),
    ],
)
def test_c4_durations_have_the_providers_notation(seconds, text):
    assert format_duration(seconds) == text


@given(st.floats(0, 100_000))
def test_a_formatted_duration_is_never_too_short(seconds):
    text, total = format_duration(seconds), 0.0
    if text.endswith("ms"):
        total = float(text[:-2]) / 1e3
    else:
        for unit, factor in (("h", 3600), ("m", 60), ("s", 1)):
            if unit in text:
                number, text = text.split(unit)
                total += float(number) * factor
    assert seconds - 1e-6 <= total <= seconds + 0.0101


def test_c4_groq_reports_requests_per_day_and_openai_per_minute():
    limiter = RateLimiter(ModelLimits(requests_per_minute=30, requests_per_day=1000, tokens_per_minute=8000))
    limiter.admit(100, 0.0)
    groq = dict(rate_limit_headers(limiter, "groq", 0.0))
    openai = dict(rate_limit_headers(limiter, "openai", 0.0))
    assert (groq[b"x-ratelimit-limit-requests"], groq[b"x-ratelimit-remaining-requests"]) == (b"1000", b"999")
    assert groq[b"x-ratelimit-reset-requests"] == b"24h0m0s"
    assert openai[b"x-ratelimit-limit-requests"] == b"30"
    assert openai[b"x-ratelimit-remaining-tokens"] == groq[b"x-ratelimit-remaining-tokens"] == b"7900"


def test_a_request_larger_than_the_limit_is_a_413_on_groq():
    rejection = RateLimiter(ModelLimits(tokens_per_minute=8000)).admit(9000, 0.0)
    error = rate_limit_error(rejection, "m", "groq")
    assert (error.status, error.headers) == (413, ())
    assert "(TPM): Limit 8000, Requested 9000" in error.message
    assert rate_limit_error(rejection, "m", "openai").status == 429
