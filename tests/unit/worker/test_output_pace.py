"""C1, F2: what a call has cost whose answer nobody saw."""

from services.worker.estimates.output_rate import OutputPace


def test_of_an_unknown_model_all_that_was_asked_for_may_have_been_made_c1():
    assert OutputPace().made("m", after_s=0.1, most=250) == 250


def test_a_call_that_broke_off_has_made_what_others_made_in_that_time_c1():
    pace = OutputPace()
    pace.observe("m", tokens=200, took_s=0.5)
    assert pace.made("m", after_s=0.25, most=250) == 100
    assert pace.made("m", after_s=5.0, most=250) == 250, "never more than was asked for"
    assert pace.made("m", after_s=-1.0, most=250) == 0
    assert pace.made("other", after_s=0.25, most=7) == 7


def test_it_follows_a_model_that_becomes_slower():
    pace = OutputPace()
    pace.observe("m", tokens=400, took_s=1.0)
    for _ in range(30):
        pace.observe("m", tokens=100, took_s=1.0)
    assert 95 <= pace.made("m", after_s=1.0, most=1000) <= 105


def test_what_says_nothing_teaches_nothing():
    pace = OutputPace()
    pace.observe("m", tokens=0, took_s=1.0)
    pace.observe("m", tokens=5, took_s=0.0)
    assert pace.made("m", after_s=1.0, most=99) == 99
