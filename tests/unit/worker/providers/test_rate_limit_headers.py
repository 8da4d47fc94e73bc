from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.outbound.retry_after import retry_after_s
from services.worker.providers.rate_limit_headers import read_rate_limits
from services.worker.rate_limit.limit import Observation

NOW_UNIX_S = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


def test_c4_groq_counts_requests_per_day_and_tokens_per_minute():
    headers = {
        "X-RateLimit-Limit-Requests": "14400",
        "x-ratelimit-limit-tokens": "18000",
        "x-ratelimit-remaining-requests": "14370",
        "x-ratelimit-remaining-tokens": "17997",
        "x-ratelimit-reset-requests": "2m59.56s",
        "x-ratelimit-reset-tokens": "7.66s",
        "Retry-After": "2",
    }
    assert read_rate_limits(headers, "groq") == (
        Observation(kind="requests", window="day", limit=14_400, remaining=14_370, reset_s=179.56),
        Observation(kind="tokens", window="minute", limit=18_000, remaining=17_997, reset_s=7.66),
    )
    assert retry_after_s(headers, (), "", NOW_UNIX_S) == 2.0


def test_openai_counts_requests_and_tokens_per_minute():
    headers = {"x-ratelimit-remaining-requests": "59", "x-ratelimit-reset-tokens": "6m0s"}
    assert read_rate_limits(headers, "openai") == (
        Observation(kind="requests", window="minute", remaining=59),
        Observation(kind="tokens", window="minute", reset_s=360.0),
    )


def test_a_response_without_limits_gives_no_observations():
    assert (
        read_rate_limits({"content-type": "application/json", "x-ratelimit-limit-requests": "many"}, "openai")
        == ()
    )


SENT = {"date": "Wed, 21 Oct 2015 07:28:00 GMT"}


@pytest.mark.parametrize(
    ("style", "headers", "observations"),
    [
        (
            "anthropic",
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2015-10-21T07:28:30Z",
                "anthropic-ratelimit-tokens-remaining": "1000",
            },
            (
                Observation(kind="requests", window="minute", limit=50, remaining=49, reset_s=30.0),
                Observation(kind="tokens", window="minute", remaining=1000),
            ),
        ),
        (
            "anthropic",
            {"x-ratelimit-limit-requests": "50"},
            (Observation(kind="requests", window="minute", limit=50),),
        ),
        (
            "openrouter",
            {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1445412510000"},
            (Observation(kind="requests", window="minute", limit=20, remaining=0, reset_s=30.0),),
        ),
        (
            "openrouter",
            {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1445480000000"},
            (Observation(kind="requests", window="day", limit=50, remaining=0, reset_s=67_520.0),),
        ),
        ("openrouter", {"X-RateLimit-Limit": "50"}, ()),
        (
            "mistral",
            {
                "x-ratelimit-limit-req-minute": "60",
                "x-ratelimit-remaining-req-minute": "59",
                "x-ratelimitbysize-limit-minute": "500000",
                "x-ratelimitbysize-remaining-minute": "467993",
                "ratelimitbysize-reset": "40",
            },
            (
                Observation(kind="requests", window="minute", limit=60, remaining=59),
                Observation(kind="tokens", window="minute", limit=500_000, remaining=467_993, reset_s=40.0),
            ),
        ),
        ("none", {"x-ratelimit-limit-requests": "50"}, ()),
        ("unheard of", {"x-ratelimit-limit-requests": "50"}, ()),
    ],
)
def test_c4_each_format_has_its_own_header_names(style, headers, observations):
    assert read_rate_limits({**SENT, **headers}, style) == observations


def test_a_reset_date_is_ignored_without_a_date_header():
    headers = {"x-ratelimit-limit-requests": "5", "x-ratelimit-reset-requests": "2015-10-21T07:28:30Z"}
    assert read_rate_limits(headers, "openai") == (Observation(kind="requests", window="minute", limit=5),)


NAMES = st.sampled_from(
    ["retry-after", "retry-after-ms"]
    + [
        f"x-ratelimit-{what}-{kind}"
        for what in ("limit", "remaining", "reset")
        for kind in ("requests", "tokens")
    ]
)
VALUES = (
    st.text(max_size=30)
    | st.from_regex(r"[0-9.dhms -]{0,12}")
    | st.datetimes().map("{:%a, %d %b %Y %T GMT}".format)
)


@given(
    headers=st.dictionaries(NAMES, VALUES),
    sdk=st.sampled_from(["openai", "groq", "anthropic", "openrouter", "mistral", "none"]),
)
def test_invalid_header_values_are_ignored(headers, sdk):
    asked_s = retry_after_s(headers, (), "", NOW_UNIX_S)
    assert asked_s is None or 0 <= asked_s < float("inf")
    for observation in read_rate_limits(headers, sdk):
        assert all(
            value is None or value >= 0
            for value in (observation.limit, observation.remaining, observation.reset_s)
        )
