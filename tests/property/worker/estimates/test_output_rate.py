"""C1, F2: the output of calls that broke off, whatever finished before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.worker.estimates.output_rate import OutputRate

answers = st.lists(
    st.tuples(st.integers(0, 100_000_000), st.floats(0.0001, 1000), st.none() | st.floats(0, 1000)),
    max_size=40,
)
after = st.floats(0, 3600)
limits = st.integers(0, 200_000)


def observed(found: list[tuple[int, float, float | None]]) -> OutputRate:
    rate = OutputRate()
    for tokens, took_s, first_s in found:
        rate.observe("m", tokens=tokens, took_s=took_s, first_s=first_s)
    return rate


@given(answers, after, limits)
def test_c1_the_upper_estimate_is_between_the_mean_and_the_limit_of_the_call(
    found: list[tuple[int, float, float | None]], after_s: float, most: int
) -> None:
    rate = observed(found)

    upper = rate.upper_estimate("m", after_s=after_s, most=most)

    assert 0 <= rate.estimate("m", after_s=after_s, most=most) <= upper <= most


@given(answers, after, after, limits)
def test_f2_a_longer_call_never_counts_less(
    found: list[tuple[int, float, float | None]], after_s: float, more_s: float, most: int
) -> None:
    rate = observed(found)

    for estimate in (rate.estimate, rate.upper_estimate):
        assert estimate("m", after_s=after_s, most=most) <= estimate("m", after_s=after_s + more_s, most=most)


@given(st.lists(st.tuples(st.integers(1, 49), st.floats(0.01, 100)), max_size=60), st.floats(0.1, 600))
def test_c1_answers_too_short_to_measure_never_lower_the_upper_estimate(
    found: list[tuple[int, float]], after_s: float
) -> None:
    rate = observed([(tokens, took_s, None) for tokens, took_s in found])

    assert rate.upper_estimate("m", after_s=after_s, most=4096) == 4096


@given(answers, st.floats(20, 3000), st.floats(0, 2), st.floats(5, 60))
def test_c1_after_usual_answers_the_upper_estimate_covers_the_true_rate(
    found: list[tuple[int, float, float | None]], per_s: float, first_s: float, after_s: float
) -> None:
    """Streamed answers of ten seconds; without the time to the first token a call of `after_s` generates as fast."""
    rate = observed(found)
    for _ in range(60):
        rate.observe("m", tokens=round(per_s * 10), took_s=10 + first_s, first_s=first_s)

    assert rate.upper_estimate("m", after_s=after_s, most=1_000_000) >= 0.95 * per_s * after_s


@given(st.floats(20, 1000), st.integers(1, 100_000_000), st.floats(0.0001, 100))
def test_f2_one_odd_answer_changes_the_estimate_by_at_most_a_fifth(
    per_s: float, tokens: int, took_s: float
) -> None:
    rate = OutputRate()
    for _ in range(20):
        rate.observe("m", tokens=round(per_s * 10), took_s=10)
    before = rate.estimate("m", after_s=60, most=1_000_000)
    rate.observe("m", tokens=max(tokens, 100), took_s=took_s)

    assert 0.79 * before - 1 <= rate.estimate("m", after_s=60, most=1_000_000) <= 1.21 * before + 1
