"""C3: the service times that a worker reports."""

from __future__ import annotations

import pytest

from services.worker.estimates.service_times import RequestCalls, RoleStatistics, ServiceTimes


def test_a_request_is_calling_until_it_ends_or_the_call_fails() -> None:
    pace, calls = ServiceTimes(), RequestCalls()

    pace.record_call_start("chat", calls)
    assert pace.calling_now("chat") == 1
    pace.record_call_failure("chat", calls)
    assert pace.calling_now("chat") == 0, "the request waits for quota again"
    pace.record_call_start("chat", calls)
    assert pace.calling_now("chat") == 1
    pace.record_end("chat", calls, 1.0)
    assert (pace.calling_now("chat"), pace.ended_count("chat")) == (0, 1)


def test_statistics_cover_the_latest_requests() -> None:
    pace = ServiceTimes()
    assert pace.statistics("chat") is None
    for number in range(1, 101):
        calls = RequestCalls()
        for _ in range(2):
            pace.record_call_start("chat", calls)
        calls.waited_s = 7.0
        pace.record_end("chat", calls, 7.0 + number / 100)

    assert pace.statistics("chat") == RoleStatistics(pytest.approx(0.505), pytest.approx(0.95), 2.0)
    for _ in range(200):
        calls = RequestCalls()
        pace.record_call_start("chat", calls)
        pace.record_end("chat", calls, 3.0)
    assert pace.statistics("chat") == RoleStatistics(pytest.approx(3.0), 3.0, 1.0)


def test_a_request_without_a_call_does_not_count() -> None:
    pace = ServiceTimes()
    pace.record_end("chat", RequestCalls(), 0.1)

    assert pace.statistics("chat") is None
    assert pace.ended_count("chat") == 1


def test_c3_an_aborted_request_does_not_lower_the_mean() -> None:
    pace = ServiceTimes()
    for held_s, cut in ((2.0, False), (0.1, True), (4.0, True), (0.5, True)):
        calls = RequestCalls()
        pace.record_call_start("chat", calls)
        pace.record_end("chat", calls, held_s, cut=cut)

    assert pace.statistics("chat") == RoleStatistics(pytest.approx(3.0), 4.0, 1.0), (
        "the longest request lasted at least four seconds"
    )


def test_the_mean_tokens_cover_only_calls_that_used_tokens() -> None:
    pace = ServiceTimes()
    assert pace.mean_tokens("m") == 0
    for tokens in (100, 0, 100):
        pace.record_tokens("m", tokens)
    assert pace.mean_tokens("m") == 100
    for _ in range(200):
        pace.record_tokens("m", 300)
    assert 295 <= pace.mean_tokens("m") <= 300


def test_c3_one_call_above_a_limit_changes_the_mean_little() -> None:
    pace = ServiceTimes()
    for _ in range(50):
        pace.record_tokens("m", 30)
    pace.record_tokens("m", 600_010)

    assert pace.mean_tokens("m", 20_000) < 1200
    assert pace.mean_tokens("m", 100) <= 35


def test_c3_a_few_calls_lower_the_mean_after_a_large_first_one() -> None:
    pace = ServiceTimes()
    pace.record_tokens("m", 50_000)
    assert pace.mean_tokens("m", 20_000) == 20_000
    for _ in range(9):
        pace.record_tokens("m", 30)

    assert pace.mean_tokens("m", 20_000) < 2000
