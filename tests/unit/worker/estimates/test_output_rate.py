"""C1, F2: estimated output tokens of a call without an answer."""

from services.worker.estimates.token_calibration import OutputRate


def test_c1_an_unknown_model_counts_with_the_whole_limit():
    assert OutputRate().estimate("m", after_s=0.1, most=250) == 250


def test_c1_a_broken_call_counts_by_the_rate_of_finished_ones():
    pace = OutputRate()
    pace.observe("m", tokens=200, took_s=0.5)
    assert pace.estimate("m", after_s=0.25, most=250) == 100
    assert pace.estimate("m", after_s=5.0, most=250) == 250, "never more than the limit"
    assert pace.estimate("m", after_s=-1.0, most=250) == 0
    assert pace.estimate("other", after_s=0.25, most=7) == 7


def test_the_rate_follows_a_model_that_becomes_slower():
    pace = OutputRate()
    pace.observe("m", tokens=400, took_s=1.0)
    for _ in range(30):
        pace.observe("m", tokens=100, took_s=1.0)
    assert 95 <= pace.estimate("m", after_s=1.0, most=1000) <= 105


def test_a_call_without_tokens_or_duration_is_ignored():
    pace = OutputRate()
    pace.observe("m", tokens=0, took_s=1.0)
    pace.observe("m", tokens=5, took_s=0.0)
    assert pace.estimate("m", after_s=1.0, most=99) == 99
