from __future__ import annotations

import pytest

from services.worker.rate_limit.pause import PauseLengths
from services.worker.rate_limit.quota import QuotaKey

KEY = QuotaKey("key", "m")


def in_a_row(retry_after_s: float | None, times: int) -> list[float]:
    """Pauses of a row of 429s; each call begins when the pause before it ends, and takes no time."""
    pauses, now_s, found = PauseLengths(), 100.0, []
    for _ in range(times):
        found.append(pauses.pause_s(KEY, retry_after_s, began_s=now_s, now_s=now_s))
        now_s += found[-1]
    return found


@pytest.mark.parametrize(
    ("retry_after_s", "pauses_s"),
    [
        (None, [1, 2, 4, 8, 8, 8]),
        (0.0, [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]),
        (1e-9, [0.1, 0.2, 0.4]),
        (0.5, [0.5, 0.5, 0.5, 0.8, 1.0]),
        (2.0, [2.0] * 12),
        (120.0, [120.0] * 9),
    ],
)
def test_c4_each_429_in_a_row_lengthens_the_pause_of_at_least_retry_after(retry_after_s, pauses_s):
    assert in_a_row(retry_after_s, len(pauses_s)) == pytest.approx(pauses_s)


@pytest.mark.parametrize(("retry_after_s", "longest_s"), [(None, 8), (0.0, 1)])
def test_c3_a_pause_exceeds_retry_after_by_little(retry_after_s, longest_s):
    assert in_a_row(retry_after_s, 3000)[-1] == longest_s


def test_c4_429s_of_calls_in_flight_together_count_once():
    pauses = PauseLengths()
    assert pauses.pause_s(KEY, None, began_s=9.0, now_s=10.0) == 1
    assert [pauses.pause_s(KEY, None, began_s=9.5, now_s=10.0 + n) for n in range(5)] == [0] * 5
    assert pauses.pause_s(KEY, 7.0, began_s=9.5, now_s=10.5) == 7  # a Retry-After counts all the same
    assert pauses.pause_s(KEY, None, began_s=17.5, now_s=18.0) == 2


def test_c4_a_success_ends_the_row_if_its_call_began_after_the_last_429():
    pauses = PauseLengths()
    pauses.pause_s(KEY, None, began_s=9.0, now_s=10.0)
    pauses.succeeded(KEY, began_s=9.9)
    assert pauses.pause_s(KEY, None, began_s=11.0, now_s=11.0) == 2
    pauses.succeeded(KEY, began_s=13.0)
    assert pauses.pause_s(KEY, None, began_s=14.0, now_s=14.0) == 1


def test_c4_each_key_has_its_own_row():
    pauses = PauseLengths()
    pauses.pause_s(KEY, None, began_s=9.0, now_s=10.0)
    assert pauses.pause_s(QuotaKey("key", "other"), None, began_s=9.0, now_s=10.0) == 1
