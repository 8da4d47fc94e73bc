from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.catalogue import Retry
from services.worker.backoff import delay_s, of_lane

RETRY = Retry()


@pytest.mark.parametrize(
    ("attempt", "whole_s"), [(1, 0.2), (2, 0.4), (3, 0.8), (6, 6.4), (7, 8.0), (5_000, 8.0)]
)
def test_d2_doubles_from_200_ms_to_8_s(attempt: int, whole_s: float) -> None:
    assert delay_s(attempt, RETRY, lambda: 0.0, None) == pytest.approx(whole_s / 2)
    assert delay_s(attempt, RETRY, lambda: 0.999_999, None) == pytest.approx(whole_s, rel=1e-3)


@pytest.mark.parametrize(("retry_after_s", "expected_s"), [(0.01, 0.1), (5.0, 5.0), (3_600.0, 3_600.0)])
def test_d2_a_longer_retry_after_is_honoured_above_a_minute_too(
    retry_after_s: float, expected_s: float
) -> None:
    assert delay_s(1, RETRY, lambda: 0.0, retry_after_s) == expected_s


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e6))
def test_d2_between_half_the_first_delay_and_the_cap_unless_told_longer(
    attempt: int, chance: float, retry_after_s: float | None
) -> None:
    delay = delay_s(attempt, RETRY, lambda: chance, retry_after_s)
    assert 0.1 <= delay <= max(8.0, retry_after_s or 0.0)
    assert delay >= (retry_after_s or 0.0)


def test_d2_a_job_outlasts_a_provider_that_is_away_for_more_than_an_hour() -> None:
    retry = of_lane(RETRY, "batch")
    pauses_s = [delay_s(failures, retry, lambda: 0.0, None) for failures in range(1, retry.max_attempts)]
    assert sum(pauses_s) > 3_600
    assert pauses_s[0] == pytest.approx(0.1), "it begins as quickly as any"
    assert max(pauses_s) <= 300


def test_d2_an_interactive_request_keeps_its_four_attempts() -> None:
    assert of_lane(RETRY, "interactive") == RETRY


def test_d2_a_job_never_has_fewer_attempts_than_an_interactive_request() -> None:
    retry = of_lane(Retry(max_attempts=9, batch_max_attempts=1, cap_s=20, batch_cap_s=10), "batch")
    assert (retry.max_attempts, retry.cap_s) == (9, 20)
