from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.config.catalogue import Retry
from services.worker.models.backoff import allowed_attempts, delay_s, of_lane, spread_s

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


@pytest.mark.parametrize("chance", [0.0, 0.999_999])
def test_d2_pauses_for_a_provider_that_restarts_outlast_five_seconds_of_ninety(chance: float) -> None:
    """One model: the second attempt follows at once, the third and the fourth after pauses."""
    pauses_s = [spread_s(left, 90.0, RETRY, lambda: chance) for left in (2, 1)]
    assert 5.0 < sum(pauses_s) < 13.0
    assert pauses_s[0] < 5.0


def test_d2_a_short_deadline_fails_fast() -> None:
    assert spread_s(1, 0.4, RETRY, lambda: 0.9) < 0.2
    assert spread_s(1, -1.0, RETRY, lambda: 0.9) == 0.0


ATTEMPTS_LEFT, TIME_LEFT, CHANCE = st.integers(1, 1_000), st.floats(0, 1e6), st.floats(0, 1, exclude_max=True)


@given(ATTEMPTS_LEFT, TIME_LEFT, CHANCE)
def test_d2_a_pause_never_lasts_beyond_the_deadline_nor_the_cap(n: int, left_s: float, chance: float) -> None:
    pause_s = spread_s(n, left_s, RETRY, lambda: chance)
    assert 0 <= pause_s <= min(left_s / 2, RETRY.cap_s)


@given(ATTEMPTS_LEFT, TIME_LEFT, CHANCE)
def test_d2_all_pauses_together_stay_within_the_deadline(n: int, left_s: float, chance: float) -> None:
    now_s = 0.0
    for left in range(min(n, 20), 0, -1):
        now_s += spread_s(left, left_s - now_s, RETRY, lambda: chance)
    assert now_s <= left_s


@given(ATTEMPTS_LEFT, TIME_LEFT, TIME_LEFT, CHANCE)
def test_d2_more_time_never_shortens_a_pause_and_more_attempts_never_lengthen_it(
    n: int, one_s: float, other_s: float, chance: float
) -> None:
    less_s, more_s = sorted((one_s, other_s))
    assert spread_s(n, less_s, RETRY, lambda: chance) <= spread_s(n, more_s, RETRY, lambda: chance)
    assert spread_s(n + 1, more_s, RETRY, lambda: chance) <= spread_s(n, more_s, RETRY, lambda: chance)


@pytest.mark.parametrize(
    ("share", "attempts"), [(0.0, 4), (0.1, 4), (0.3, 8), (0.5, 8), (0.55, 7), (0.8, 4), (1.0, 4)]
)
def test_a_provider_that_fails_at_random_gets_as_many_attempts_as_it_takes(
    share: float, attempts: int
) -> None:
    assert allowed_attempts(4, share) == attempts


@given(st.integers(1, 100), st.floats(0, 1))
def test_attempts_are_bounded(most: int, share: float) -> None:
    assert most <= allowed_attempts(most, share) <= 2 * most
