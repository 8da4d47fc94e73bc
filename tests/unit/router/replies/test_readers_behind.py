"""E2: how far the readers of an account are behind, as they say themselves."""

from __future__ import annotations

import math

import pytest

from services.router.replies.readers_behind import ReadersBehind


def test_e2_the_oldest_event_that_a_reader_of_the_account_needs_counts() -> None:
    readers = ReadersBehind()
    readers.observe("a", "one", 5.0, 100.0)
    readers.observe("a", "two", 40.0, 100.0)
    readers.observe("b", "one", 300.0, 100.0)
    assert readers.oldest_s(100.0) == pytest.approx({"a": 45, "b": 305})
    assert readers.oldest_s(103.0) == pytest.approx({"a": 48, "b": 308})


def test_e2_a_reader_that_caught_up_or_says_nothing_more_counts_no_longer() -> None:
    readers = ReadersBehind()
    readers.observe("a", "one", 40.0, 100.0)
    readers.observe("a", "one", 3.0, 102.0)
    assert readers.oldest_s(102.0) == pytest.approx({"a": 8})
    assert readers.oldest_s(113.0) == {}


@pytest.mark.parametrize("behind_s", [0.0, -1.0, 901.0, math.inf, math.nan])
def test_e2_a_reader_cannot_need_what_is_not_stored(behind_s: float) -> None:
    readers = ReadersBehind()
    readers.observe("a", "one", behind_s, 100.0)
    assert readers.oldest_s(100.0) == {}


def test_e2_many_client_names_of_one_account_displace_no_reader_of_another() -> None:
    readers = ReadersBehind()
    readers.observe("honest", "one", 40.0, 100.0)
    for number in range(20_000):
        readers.observe("a", str(number), 5.0, 100.0)
    assert readers.oldest_s(100.0) == pytest.approx({"honest": 45, "a": 10})


def test_e2_of_one_account_the_clients_that_reported_last_count() -> None:
    readers = ReadersBehind()
    readers.observe("a", "first", 40.0, 100.0)
    for number in range(99):
        readers.observe("a", str(number), 5.0, 100.0)
    assert readers.oldest_s(100.0) == pytest.approx({"a": 45})
    readers.observe("a", "another", 5.0, 100.0)
    assert readers.oldest_s(100.0) == pytest.approx({"a": 10})


def test_e2_of_too_many_accounts_those_that_reported_last_count() -> None:
    readers = ReadersBehind()
    for number in range(1_100):
        readers.observe(str(number), "one", 5.0, 100.0)
    readers.observe("100", "one", 6.0, 101.0)
    readers.observe("new", "one", 6.0, 101.0)
    found = readers.oldest_s(101.0)
    assert len(found) == 1_000
    assert found.keys() >= {"100", "102", "1099", "new"}
    assert "101" not in found
