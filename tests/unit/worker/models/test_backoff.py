from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.config.catalogue import RetrySettings
from services.worker.models.backoff import allowed_attempts, delay_s, for_lane, restart_delay_s

RETRY = RetrySettings()


@pytest.mark.parametrize(
    ("attempt", "whole_s"), [(1, 0.2), (2, 0.4), (3, 0.8), (6, 6.4), (7, 8.0), (5_000, 8.0)]
)
def test_d2_the_delay_doubles_from_200_ms_to_8_s(attempt: int, whole_s: float) -> None:
    assert delay_s(attempt, RETRY, lambda: 0.0, None) == pytest.approx(whole_s / 2)
    assert delay_s(attempt, RETRY, lambda: 0.999_999, None) == pytest.approx(whole_s, rel=1e-3)


@pytest.mark.parametrize(("retry_after_s", "expected_s"), [(0.01, 0.1), (5.0, 5.0), (3_600.0, 3_600.0)])
def test_d2_a_retry_after_above_a_minute_is_honoured(retry_after_s: float, expected_s: float) -> None:
    assert delay_s(1, RETRY, lambda: 0.0, retry_after_s) == expected_s


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e6))
def test_d2_the_delay_lies_within_its_bounds_or_is_the_retry_after(
    attempt: int, chance: float, retry_after_s: float | None
) -> None:
    delay = delay_s(attempt, RETRY, lambda: chance, retry_after_s)
    assert 0.1 <= delay <= max(8.0, retry_after_s or 0.0)
    assert delay >= (retry_after_s or 0.0)


def test_d2_a_batch_request_outlasts_an_outage_of_an_hour() -> None:
    retry = for_lane(RETRY, "batch")
    delays_s = [delay_s(failures, retry, lambda: 0.0, None) for failures in range(1, retry.max_attempts)]
    assert sum(delays_s) > 3_600
    assert delays_s[0] == pytest.approx(0.1), "the first delay is as short as in the interactive lane"
    assert max(delays_s) <= 300


def test_d2_an_interactive_request_has_four_attempts() -> None:
    assert for_lane(RETRY, "interactive") == RETRY


def test_d2_the_batch_lane_never_has_fewer_attempts_than_the_other() -> None:
    retry = for_lane(
        RetrySettings(max_attempts=9, batch_max_attempts=1, max_backoff_s=20, batch_max_backoff_s=10), "batch"
    )
    assert (retry.max_attempts, retry.max_backoff_s) == (9, 20)


@pytest.mark.parametrize("chance", [0.0, 0.999_999])
def test_d2_delays_bridge_a_provider_restart_of_five_seconds(chance: float) -> None:
    """One model, 90 s left: the second attempt follows at once, the third and the fourth after delays."""
    delays_s = [restart_delay_s(left, 90.0, RETRY, lambda: chance) for left in (2, 1)]
    assert 5.0 < sum(delays_s) < 13.0
    assert delays_s[0] < 5.0


def test_d2_a_short_deadline_shortens_the_delay() -> None:
    assert restart_delay_s(1, 0.4, RETRY, lambda: 0.9) < 0.2
    assert restart_delay_s(1, -1.0, RETRY, lambda: 0.9) == 0.0


ATTEMPTS_LEFT, TIME_LEFT, CHANCE = st.integers(1, 1_000), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True)


@given(ATTEMPTS_LEFT, TIME_LEFT, CHANCE)
def test_d2_a_delay_never_exceeds_the_deadline_or_the_cap(n: int, left_s: float, chance: float) -> None:
    wait_s = restart_delay_s(n, left_s, RETRY, lambda: chance)
    assert 0 <= wait_s <= min(left_s / 2, RETRY.max_backoff_s)


@given(ATTEMPTS_LEFT, TIME_LEFT, CHANCE)
def test_d2_all_delays_together_stay_within_the_deadline(n: int, left_s: float, chance: float) -> None:
    now_s = 0.0
    for left in range(min(n, 20), 0, -1):
        now_s += restart_delay_s(left, left_s - now_s, RETRY, lambda: chance)
    assert now_s <= left_s


@given(ATTEMPTS_LEFT, TIME_LEFT, TIME_LEFT, CHANCE)
def test_d2_the_delay_is_monotonic_in_time_and_attempts_left(
    n: int, one_s: float, other_s: float, chance: float
) -> None:
    less_s, more_s = sorted((one_s, other_s))
    assert restart_delay_s(n, less_s, RETRY, lambda: chance) <= restart_delay_s(
        n, more_s, RETRY, lambda: chance
    )
    assert restart_delay_s(n + 1, more_s, RETRY, lambda: chance) <= restart_delay_s(
        n, more_s, RETRY, lambda: chance
    )


@pytest.mark.parametrize(
    ("share", "attempts"), [(0.0, 4), (0.1, 4), (0.3, 8), (0.5, 8), (0.55, 7), (0.8, 4), (1.0, 4)]
)
def test_a_provider_that_fails_at_random_gets_more_attempts(share: float, attempts: int) -> None:
    assert allowed_attempts(4, share) == attempts


@given(st.integers(1, 100), st.floats(0, 1))
def test_the_number_of_attempts_is_bounded(most: int, share: float) -> None:
    assert most <= allowed_attempts(most, share) <= 2 * most
