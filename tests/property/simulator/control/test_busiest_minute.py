"""The reported busiest minute is never below the true load of a minute, and hardly above it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.simulator.control.busiest_minute import BusiestMinute, Load

CALLS = st.lists(st.tuples(st.floats(0, 40), st.integers(0, 500), st.floats(0, 200)), min_size=1, max_size=60)


def _most(calls: list[tuple[float, int]], span_s: float) -> tuple[int, int]:
    windows = [[tokens for at_s, tokens in calls if from_s <= at_s < from_s + span_s] for from_s, _ in calls]
    return max(len(window) for window in windows), max(sum(window) for window in windows)


@given(CALLS)
def test_the_maximum_lies_between_the_loads_of_60_and_of_60_2_seconds(steps: list[tuple[float, int, float]]):
    """Each call: seconds since the previous call, its tokens, seconds until they are recorded."""
    minute, calls, ends, now_s = BusiestMinute(), [], [], 1000.0
    for pause_s, tokens, length_s in steps:
        now_s += pause_s
        for end in sorted(each for each in ends if each[0] <= now_s):
            minute.record_tokens(*end[1:])
            ends.remove(end)
        minute.record_admission(now_s)
        calls.append((now_s, tokens))
        ends.append((now_s + length_s, tokens, now_s))
    for end in ends:
        minute.record_tokens(*end[1:])
    found = minute.maximum()
    for most, least, above in zip(
        (found.requests, found.tokens), _most(calls, 60.0), _most(calls, 60.2), strict=True
    ):
        assert least <= most <= above


def test_an_hour_of_calls_is_kept_in_bounded_memory():
    minute = BusiestMinute()
    for number in range(36_000):
        at_s = number / 10 + 0.05
        for _ in range(2 if 1000 <= number < 1300 else 1):
            minute.record_admission(at_s)
            minute.record_tokens(10, at_s)
    assert len(minute._intervals) <= 7202
    assert minute.maximum() == Load(901, 9010)
