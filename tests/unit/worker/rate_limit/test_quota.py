from __future__ import annotations

import math

import pytest

from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.limit import HEADER_VALID_S, LimitName
from services.worker.rate_limit.limit_set import CONCURRENCY_RETRY_S
from services.worker.rate_limit.quota import (
    Denied,
    LimitUse,
    LocalQuota,
    Need,
    Observation,
    Permit,
    Quota,
    QuotaKey,
)

KEY = QuotaKey("GROQ_API_KEY", "gpt-oss-20b")


def quota_of(**limits: int) -> Quota:
    return LocalQuota({KEY: Limits(**limits)}, batch=Batch())


def taken(quota: Quota, tokens: int = 1, now_s: float = 0.0) -> Permit:
    got = quota.try_acquire(KEY, Need(tokens), now_s)
    assert isinstance(got, Permit)
    return got


def denied(quota: Quota, tokens: int = 1, now_s: float = 0.0) -> tuple[float, LimitName | None]:
    """When to ask again, and the limit that blocks the request."""
    need = Need(tokens)
    assert quota.try_acquire(KEY, need, now_s) == Denied()
    return now_s + quota.wait_s(KEY, need, now_s), quota.blocking_limit(KEY, need, now_s)


def test_c1_a_request_over_the_limit_waits_until_a_minute_has_passed() -> None:
    quota = quota_of(requests_per_minute=2)
    taken(quota, now_s=10.0)
    taken(quota, now_s=30.0)
    assert denied(quota, now_s=40.0) == (70.0, "requests_per_minute")
    taken(quota, now_s=70.0)


def test_c1_a_denied_request_is_charged_to_no_limit() -> None:
    quota = quota_of(requests_per_minute=5, tokens_per_minute=100)
    taken(quota, 80)
    denied(quota, 30)
    assert quota.usage(KEY, 0.0) == (
        LimitUse("requests_per_minute", 1, 5),
        LimitUse("tokens_per_minute", 80, 100),
    )


def test_c4_tokens_below_the_estimate_are_free_at_once() -> None:
    quota = quota_of(tokens_per_minute=100)
    permit = taken(quota, 100)
    denied(quota, 60)
    quota.settle(permit, 40, 1.0)
    taken(quota, 60, 1.0)


def test_c4_tokens_above_the_estimate_are_charged_when_known() -> None:
    quota = quota_of(tokens_per_minute=100)
    quota.settle(taken(quota, 10), 95, 30.0)
    assert denied(quota, 10, 59.0) == (60.0, "tokens_per_minute")
    assert denied(quota, 20, 60.0) == (90.0, "tokens_per_minute")


def test_c1_settling_twice_changes_nothing() -> None:
    quota = quota_of(tokens_per_minute=100, concurrency=2)
    permit = taken(quota, 50)
    taken(quota, 50)
    quota.settle(permit, 20, 1.0)
    quota.settle(permit, 0, 1.0)
    assert quota.usage(KEY, 1.0) == (
        LimitUse("tokens_per_minute", 70, 100),
        LimitUse("concurrency", 1, 2),
    )


def test_c1_a_need_above_the_whole_limit_is_denied_for_ever() -> None:
    quota = quota_of(tokens_per_minute=100)
    assert denied(quota, 101) == (math.inf, "tokens_per_minute")


def test_c1_a_call_above_the_concurrency_waits_for_one_to_end() -> None:
    quota = quota_of(concurrency=1)
    permit = taken(quota)
    assert denied(quota, now_s=5.0) == (5.0 + CONCURRENCY_RETRY_S, "concurrency")
    quota.settle(permit, 1, 6.0)
    taken(quota, now_s=6.0)


def test_c1_a_concurrency_of_0_admits_nothing() -> None:
    assert denied(quota_of(concurrency=0)) == (math.inf, "concurrency")


@pytest.mark.parametrize("limits", [{}, {"requests_per_minute": 100}])
def test_c4_a_pause_admits_nothing_and_a_shorter_one_has_no_effect(limits: dict[str, int]) -> None:
    quota = quota_of(**limits)
    quota.pause(KEY, 20.0, "429 from the provider")
    quota.pause(KEY, 5.0, "another 429")
    assert denied(quota, now_s=10.0) == (20.0, None)
    taken(quota, now_s=20.0)


def test_c4_a_lower_remaining_counts_until_the_providers_reset() -> None:
    quota = quota_of(tokens_per_minute=100)
    quota.correct(KEY, Observation(kind="tokens", window="minute", remaining=10, reset_s=7.5), 0.0)
    assert denied(quota, 20) == (7.5, "tokens_per_minute")
    taken(quota, 10)
    taken(quota, 90, 7.5)


def test_c4_a_higher_remaining_changes_nothing() -> None:
    quota = quota_of(requests_per_minute=1)
    taken(quota)
    quota.correct(KEY, Observation(kind="requests", window="minute", limit=50, remaining=49), 0.0)
    denied(quota)


def test_c4_a_lower_limit_in_a_header_counts_until_it_expires() -> None:
    quota = quota_of(tokens_per_minute=100)
    quota.correct(KEY, Observation(kind="tokens", window="minute", limit=50), 0.0)
    assert denied(quota, 60) == (math.inf, "tokens_per_minute")
    taken(quota, 60, HEADER_VALID_S)


def test_c4_an_empty_limit_per_day_is_tried_long_before_its_reset() -> None:
    quota = quota_of(requests_per_day=1000)
    dry = Observation(kind="requests", window="day", limit=1000, remaining=0, reset_s=80_000.0)
    quota.correct(KEY, dry, 0.0)
    assert denied(quota) == (HEADER_VALID_S, "requests_per_day")


def test_c4_a_header_is_ignored_without_a_configured_limit() -> None:
    quota = quota_of()
    quota.correct(KEY, Observation(kind="requests", window="day", remaining=0), 0.0)
    taken(quota)
    assert quota.usage(KEY, 0.0) == ()


def test_c7_of_two_blocking_limits_the_longer_one_is_named() -> None:
    quota = quota_of(requests_per_minute=1, requests_per_day=1)
    taken(quota)
    assert denied(quota)[1] == "requests_per_day"


def test_c1_a_day_loses_no_more_than_a_sixtieth_to_its_grains() -> None:
    quota = quota_of(requests_per_day=60)
    for hour in range(24):
        taken(quota, now_s=hour * 3600.0)
    for _ in range(36):
        taken(quota, now_s=23 * 3600.0)
    assert 86_400.0 <= denied(quota, now_s=23.5 * 3600)[0] <= 86_400.0 + 1_440.0


def test_c1_keys_do_not_share_a_quota() -> None:
    other = QuotaKey("GROQ_API_KEY_2", "gpt-oss-20b")
    quota = LocalQuota(
        {KEY: Limits(requests_per_minute=1), other: Limits(requests_per_minute=1)}, batch=Batch()
    )
    taken(quota)
    assert isinstance(quota.try_acquire(other, Need(1), 0.0), Permit)


def test_c1_numbers_below_0_are_rejected() -> None:
    with pytest.raises(ValueError, match="-1 is not a valid number"):
        Need(-1)
    quota = quota_of(tokens_per_minute=5)
    with pytest.raises(ValueError, match="-1 is not a valid number"):
        quota.settle(taken(quota), -1, 0.0)


def test_c1_an_unknown_key_raises_an_error() -> None:
    with pytest.raises(KeyError):
        quota_of().try_acquire(QuotaKey("x", "y"), Need(1), 0.0)


def test_c7_the_blocking_limit_is_named_exactly_when_there_is_one():
    key = QuotaKey("k", "m")
    quota = LocalQuota(
        {key: Limits(requests_per_minute=2, tokens_per_day=1000, concurrency=1)}, batch=Batch()
    )
    assert quota.blocking_limit(key, Need(100), 0.0) is None
    assert quota.blocking_limit(key, Need(2000), 0.0) == "tokens_per_day"
    first = quota.try_acquire(key, Need(100), 0.0)
    assert isinstance(first, Permit)
    assert quota.blocking_limit(key, Need(100), 0.0) == "concurrency"
    quota.settle(first, 100, 0.0)
    second = quota.try_acquire(key, Need(100), 0.0)
    assert isinstance(second, Permit)
    quota.settle(second, 100, 0.0)
    assert quota.blocking_limit(key, Need(100), 0.0) == "requests_per_minute"
    quota.pause(key, 500.0, "429")
    assert quota.blocking_limit(key, Need(100), 100.0) is None, "a pause is not a limit"
    assert quota.record(key) == ""


def test_a6_keys_of_one_record_share_a_quota() -> None:
    keys = [QuotaKey(name, "m") for name in ("A_KEY", "B_KEY", "C_KEY")]
    limits = dict.fromkeys(keys, Limits(requests_per_minute=4))
    records = dict(zip(keys, ("group", "group", "alone"), strict=True))
    for quota, expected in (
        (LocalQuota(limits, records, batch=Batch()), 8),
        (LocalQuota(limits, batch=Batch()), 12),
    ):
        got = [quota.try_acquire(key, Need(1), 0.0) for key in keys * 5]
        assert sum(isinstance(each, Permit) for each in got) == expected
