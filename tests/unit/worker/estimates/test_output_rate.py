"""F2: the output of a call without an answer, by the rate of finished ones."""

from __future__ import annotations

from services.worker.estimates.output_rate import OutputRate


def test_c1_an_unknown_model_counts_with_the_whole_limit():
    assert OutputRate().estimate("m", after_s=0.1, most=250) == 250


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
    assert rate.estimate("m", after_s=1.0, most=99) == 99


def test_c1_few_calls_exceed_the_upper_estimate():
    rate = OutputRate()
    assert rate.upper_estimate("m", after_s=0.1, most=250) == 250
    for _ in range(40):
        rate.observe("m", tokens=100, took_s=0.5)
        rate.observe("m", tokens=100, took_s=0.25)
    assert 280 <= rate.estimate("m", after_s=1.0, most=1000) <= 330
    assert rate.upper_estimate("m", after_s=1.0, most=1000) >= 400
    assert rate.upper_estimate("m", after_s=1.0, most=300) == 300


def test_calls_that_are_all_alike_have_no_margin():
    rate = OutputRate()
    for _ in range(5):
        rate.observe("m", tokens=100, took_s=0.5)
    assert (
        rate.upper_estimate("m", after_s=1.0, most=1000) == rate.estimate("m", after_s=1.0, most=1000) == 200
    )
