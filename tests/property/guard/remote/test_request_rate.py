"""G2: no minute has more requests than its limit, and an idle limit is used well."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.guard.remote.request_rate import RequestRate


@given(st.integers(1, 300), st.lists(st.floats(0, 20), min_size=1, max_size=400))
def test_g2_no_minute_has_more_requests_than_the_limit(per_minute: int, gaps_s: list[float]):
    rate, now_s, taken = RequestRate(per_minute), 1_000.0, []
    for gap_s in gaps_s:
        now_s += gap_s
        if rate.wait_s(now_s) == 0:
            rate.take()
            taken.append(now_s)
    for begin_s in taken:
        assert sum(begin_s <= at_s < begin_s + 60 for at_s in taken) <= max(per_minute, 2)


@given(st.integers(2, 300))
def test_g2_a_steady_user_gets_nearly_the_whole_limit(per_minute: int):
    rate, now_s, count = RequestRate(per_minute), 0.0, 0
    while now_s < 600:
        now_s += rate.wait_s(now_s) + 1e-9
        rate.take()
        count += 1
    assert count >= 10 * per_minute * 0.5


def test_g2_without_a_limit_nothing_waits():
    rate = RequestRate(None)
    for _ in range(10_000):
        assert rate.wait_s(0.0) == 0
        rate.take()
