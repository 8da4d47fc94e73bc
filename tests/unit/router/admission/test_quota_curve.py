"""C3: how many requests a quota lets start by when."""

from __future__ import annotations

from math import inf

import pytest

from penstock.contract.presence import QuotaForecast, Recovery
from services.router.admission.quota_curve import UNLIMITED, quota_curve_of


def requests(free: int, *returns: tuple[int, int], allowed: int = 600) -> Recovery:
    return Recovery(
        limit="requests_per_minute", window_ms=60_000, allowed=allowed, free=free, returns=tuple(returns)
    )


def forecast(*recoveries: Recovery, tokens_per_call: int = 0) -> QuotaForecast:
    return QuotaForecast(model="m", source="s", recoveries=recoveries, tokens_per_call=tokens_per_call)


def test_c3_a_quota_used_within_ten_seconds_is_empty_for_fifty() -> None:
    curve = quota_curve_of(forecast(requests(0, (52_000, 300), (58_000, 300))))

    assert curve.by(51.9) == 0
    assert curve.by(52) == 300
    assert curve.by(59) == 600
    assert curve.by(60 + 51.9) == 600, "requests that start then return their quota a minute later"


def test_c3_beyond_two_windows_the_mean_rate_applies() -> None:
    curve = quota_curve_of(forecast(requests(600)))

    assert curve.by(0) == 600
    assert curve.by(60) == 1200
    assert curve.by(360) == pytest.approx(1200 + 240 * 10)


def test_c3_the_tightest_limit_applies() -> None:
    tokens = Recovery(limit="tokens_per_minute", window_ms=60_000, allowed=6000, free=1000)
    tight = quota_curve_of(forecast(requests(600), tokens, tokens_per_call=100))
    unknown = quota_curve_of(forecast(requests(600), tokens))

    assert tight.by(1) == 10
    assert tight.per_s == pytest.approx(1.0)
    assert unknown.by(1) == 600, "the tokens of a request are not known yet"


def test_c3_overspent_quota_is_recovered_first() -> None:
    curve = quota_curve_of(forecast(requests(-5, (1000, 4), (2000, 4))))

    assert [curve.by(at_s) for at_s in (0, 1, 2)] == [0, 0, 3]


def test_without_a_limit_the_curve_is_unlimited() -> None:
    assert quota_curve_of(forecast()) == UNLIMITED
    assert UNLIMITED.by(0) == inf


def test_c3_a_limit_of_unknown_kind_or_without_a_window_is_ignored() -> None:
    unknown = Recovery(limit="images_per_week", window_ms=60_000, allowed=1, free=0)
    endless = Recovery(limit="requests_per_day", window_ms=0, allowed=1, free=0)

    assert quota_curve_of(forecast(unknown, endless)) == UNLIMITED
    assert quota_curve_of(forecast(requests(7), unknown, endless)) == quota_curve_of(forecast(requests(7)))


def test_c3_a_request_costs_at_most_what_the_limit_allows() -> None:
    full = Recovery(limit="tokens_per_minute", window_ms=60_000, allowed=6000, free=6000)
    curve = quota_curve_of(forecast(requests(600), full, tokens_per_call=600_000))

    assert curve.by(0) == 1
    assert curve.by(60) == 2
