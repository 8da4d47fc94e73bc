"""E2: an id without any event is unknown, unless its request can be among those that are queued."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.request import LONGEST_S
from penstock.contract.streams import REPLIES
from services.edge.requests.lookup import StoredTimes, may_be_queued, may_be_unstored
from services.edge.requests.submission_times import CLAIM_S, SUBMIT_S

NOW_S = 1_800_000_000.0
MINUTE_S = 60.0


def may_be_queued_for(age_s: float, oldest_s: float | None, *, trimmed: bool = False) -> bool:
    oldest = None if oldest_s is None else NOW_S - oldest_s
    times = StoredTimes(now_s=NOW_S, oldest_work_s=oldest, replies_are_trimmed=trimmed)
    return may_be_queued(NOW_S - age_s, times)


def test_e2_a_new_request_without_an_event_is_not_queued_however_old_the_queue_is():
    assert not may_be_queued_for(1, oldest_s=40 * MINUTE_S)


def test_e2_an_old_request_is_not_queued_where_all_queued_ones_are_newer_than_the_stored_events():
    assert not may_be_queued_for(20 * MINUTE_S, oldest_s=5 * MINUTE_S)
    assert not may_be_queued_for(20 * MINUTE_S, oldest_s=None)


def test_e2_a_request_whose_events_have_expired_may_be_queued():
    assert may_be_queued_for(20 * MINUTE_S, oldest_s=20 * MINUTE_S)


def test_e2_events_that_a_full_store_deleted_decide_nothing():
    assert may_be_queued_for(MINUTE_S, oldest_s=MINUTE_S, trimmed=True)


def test_e2_a_request_from_the_future_or_beyond_every_deadline_is_not_queued():
    assert not may_be_queued_for(-5 * MINUTE_S, oldest_s=40 * MINUTE_S, trimmed=True)
    assert not may_be_queued_for(91 * MINUTE_S, oldest_s=40 * MINUTE_S, trimmed=True)


@given(
    st.floats(0, LONGEST_S["interactive"]),
    st.floats(0, REPLIES.max_age_s),
    st.floats(-30, 30),
    st.booleans(),
)
def test_e2_a_queued_request_whose_event_has_expired_is_never_unknown(
    queued_s: float, until_submitted_s: float, skew_s: float, trimmed: bool
):
    """It has waited in its mailbox for `queued_s`, and its event is stored for 15 minutes."""
    if queued_s <= REPLIES.max_age_s and not trimmed:
        return
    assert may_be_queued_for(queued_s + until_submitted_s + skew_s, oldest_s=queued_s + 1, trimmed=trimmed)


@given(st.floats(0, CLAIM_S), st.floats(0, SUBMIT_S), st.floats(-60, 60))
def test_e2_a_stream_whose_request_is_being_stored_may_be_on_its_way(
    claim_s: float, submit_s: float, skew_s: float
):
    assert may_be_unstored(NOW_S, NOW_S + claim_s + submit_s + skew_s)


def test_e2_a_request_from_the_future_or_beyond_the_time_to_store_it_is_not_on_its_way():
    assert not may_be_unstored(NOW_S, NOW_S - 61)
    assert not may_be_unstored(NOW_S, NOW_S + 3 * MINUTE_S)
