"""C3: what a worker tells of how long its requests take."""

from __future__ import annotations

import pytest

from services.worker.estimates.service_times import Calls, Pace, Tempo


def test_a_request_is_calling_from_its_permit_to_its_end_unless_the_call_fails() -> None:
    pace, calls = Pace(), Calls()

    pace.call_began("chat", calls)
    assert pace.calling_now("chat") == 1
    pace.call_failed("chat", calls)
    assert pace.calling_now("chat") == 0, "it stands before the quota again"
    pace.call_began("chat", calls)
    assert pace.calling_now("chat") == 1
    pace.ended("chat", calls, 1.0)
    assert (pace.calling_now("chat"), pace.ended_count("chat")) == (0, 1)


def test_the_tempo_is_that_of_the_latest_requests_that_held_a_slot() -> None:
    pace = Pace()
    assert pace.tempo("chat") is None
    for number in range(1, 101):
        calls = Calls()
        for _ in range(2):
            pace.call_began("chat", calls)
        calls.waited_s = 7.0
        pace.ended("chat", calls, 7.0 + number / 100)

    assert pace.tempo("chat") == Tempo(pytest.approx(0.505), pytest.approx(0.95), 2.0)
    for _ in range(200):
        calls = Calls()
        pace.call_began("chat", calls)
        pace.ended("chat", calls, 3.0)
    assert pace.tempo("chat") == Tempo(pytest.approx(3.0), 3.0, 1.0)


def test_who_never_came_to_a_call_teaches_nothing_of_its_length() -> None:
    pace = Pace()
    pace.ended("chat", Calls(), 0.1)

    assert pace.tempo("chat") is None
    assert pace.ended_count("chat") == 1


def test_c3_who_was_cut_short_does_not_make_the_others_seem_quicker() -> None:
    pace = Pace()
    for held_s, cut in ((2.0, False), (0.1, True), (4.0, True), (0.5, True)):
        calls = Calls()
        pace.call_began("chat", calls)
        pace.ended("chat", calls, held_s, cut=cut)

    assert pace.tempo("chat") == Tempo(pytest.approx(3.0), 4.0, 1.0), "it lasted at least four seconds"


def test_tokens_are_those_of_calls_that_used_any() -> None:
    pace = Pace()
    assert pace.tokens_each("m") == 0
    for tokens in (100, 0, 100):
        pace.call_ended("m", tokens)
    assert pace.tokens_each("m") == 100
    for _ in range(200):
        pace.call_ended("m", 300)
    assert 295 <= pace.tokens_each("m") <= 300
