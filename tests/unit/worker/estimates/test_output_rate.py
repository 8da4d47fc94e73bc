"""F2: the output of a call without an answer, by the rate of finished ones."""

from __future__ import annotations

import pytest

from services.worker.estimates.output_rate import OutputRate


def test_c1_a_call_of_an_unknown_model_may_have_used_its_whole_limit():
    assert OutputRate().upper_estimate("m", after_s=0.1, most=250) == 250


def test_f2_a_call_of_an_unknown_model_counts_by_a_usual_rate():
    assert OutputRate().estimate("m", after_s=6.0, most=2000) == 600
    assert OutputRate().estimate("m", after_s=6.0, most=250) == 250


def test_c1_a_broken_call_counts_by_the_rate_of_finished_ones():
    rate = OutputRate()
    rate.observe("m", tokens=200, took_s=0.5)
    assert rate.estimate("m", after_s=0.25, most=250) == 100
    assert rate.estimate("m", after_s=5.0, most=250) == 250, "never more than the limit"
    assert rate.estimate("m", after_s=-1.0, most=250) == 0
    assert rate.estimate("other", after_s=0.25, most=7) == 7


def test_the_rate_follows_a_model_that_becomes_slower():
    rate = OutputRate()
    rate.observe("m", tokens=400, took_s=1.0)
    for _ in range(30):
        rate.observe("m", tokens=100, took_s=1.0)
    assert 95 <= rate.estimate("m", after_s=1.0, most=1000) <= 105


def test_a_call_without_tokens_or_duration_is_ignored():
    rate = OutputRate()
    rate.observe("m", tokens=0, took_s=1.0)
    rate.observe("m", tokens=5, took_s=0.0)
    assert rate.upper_estimate("m", after_s=1.0, most=9999) == 9999


def test_c1_few_calls_exceed_the_upper_estimate():
    rate = OutputRate()
    for _ in range(40):
        rate.observe("m", tokens=100, took_s=0.5)
        rate.observe("m", tokens=100, took_s=0.25)
    assert 280 <= rate.estimate("m", after_s=1.0, most=1000) <= 330
    assert rate.upper_estimate("m", after_s=1.0, most=1000) >= 400
    assert rate.upper_estimate("m", after_s=1.0, most=300) == 300


def test_c1_the_first_answer_leaves_a_margin_that_alike_answers_reduce():
    rate = OutputRate()
    rate.observe("m", tokens=100, took_s=0.5)
    assert rate.upper_estimate("m", after_s=1.0, most=1000) == 400
    for _ in range(40):
        rate.observe("m", tokens=100, took_s=0.5)
    assert (
        rate.upper_estimate("m", after_s=1.0, most=1000) == rate.estimate("m", after_s=1.0, most=1000) == 200
    )


def test_c1_short_answers_say_nothing_of_the_rate_of_long_ones():
    rate = OutputRate()
    for _ in range(50):
        rate.observe("m", tokens=2, took_s=1.0)
    assert rate.upper_estimate("m", after_s=60.0, most=4096) == 4096


@pytest.mark.parametrize("first_s", [1.0, None])
def test_c1_the_time_to_the_first_token_is_no_part_of_the_rate(first_s: float | None):
    """Of an answer that did not stream it is known from very short ones."""
    rate = OutputRate()
    for _ in range(5):
        rate.observe("m", tokens=2, took_s=1.0)
    for _ in range(40):
        rate.observe("m", tokens=200, took_s=3.0, first_s=first_s)
    assert rate.upper_estimate("m", after_s=6.0, most=2000) == 600
    assert rate.estimate("m", after_s=6.0, most=2000) == 500


def test_f2_an_answer_from_a_cache_does_not_change_the_rate():
    rate = OutputRate()
    for _ in range(50):
        rate.observe("m", tokens=500, took_s=10.0)
    rate.observe("m", tokens=500, took_s=0.002)
    assert rate.estimate("m", after_s=60.0, most=4096) == 3000
