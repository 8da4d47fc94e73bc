"""E1, E2, D6: a reply is read in order, each event once, and never with a hole or two attempts in its text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from penstock.client.sequencer import Reading
from penstock.contract.reply import TERMINAL, Completed, Delta, ReplyEvent, Restarted, first_seq
from tests.unit.runtime.replies_model import (
    ID,
    Sent,
    accepted,
    attempt_events,
    completed,
    failed,
    replies,
    started,
)


class Application:
    """Does what penstock/contract/reply.py tells a reader to do, and nothing more."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.text = ""
        self.attempt_of_text = 0
        self.end: ReplyEvent | None = None

    def see(self, event: ReplyEvent) -> None:
        assert self.end is None, "nothing comes after the end"
        self.seqs.append(event.seq)
        if isinstance(event, Restarted):
            self.text, self.attempt_of_text = "", 0
        elif isinstance(event, Delta):
            assert self.attempt_of_text in {0, event.attempt}, "two attempts in one text"
            self.attempt_of_text = event.attempt
            self.text += event.text
        elif isinstance(event, TERMINAL):
            self.end = event


def assert_read_rightly(application: Application, sent: Sent) -> None:
    assert application.seqs == sorted(set(application.seqs))
    assert application.end == sent.events[-1]
    if isinstance(sent.events[-1], Completed):
        assert application.text == sent.text


@given(sent=replies(), data=st.data())
def test_any_order_any_loss_any_repetition_then_the_store_gives_the_reply_once(
    sent: Sent, data: st.DataObject
):
    """Live events come shuffled, doubled or never; the store has all of them, in the order of any senders."""
    live = data.draw(st.lists(st.sampled_from(sent.events), max_size=30))
    looks = data.draw(st.sets(st.integers(0, len(live))))
    stored = data.draw(st.permutations(sent.events))
    reading, application = Reading(), Application()
    for number, event in enumerate(live):
        if reading.ended:
            break
        held = stored if number in looks else []
        for each in reading.pick([*held, event]):
            application.see(each)
    for each in reading.pick(stored):
        application.see(each)
    if isinstance(sent.events[-1], Completed):
        assert_read_rightly(application, sent)
    assert application.end == sent.events[-1]
    assert reading.ended
    assert list(reading.pick([*stored, *live])) == []


@given(sent=replies())
def test_events_that_come_as_they_were_sent_are_all_taken(sent: Sent):
    reading = Reading()
    assert [each for event in sent.events for each in reading.pick([event])] == sent.events


@given(sent=replies(), data=st.data())
def test_a_reader_that_resumes_sees_exactly_what_it_had_not_seen_e2(sent: Sent, data: st.DataObject):
    cut = data.draw(st.integers(0, len(sent.events) - 1))
    reading = Reading(sent.events[cut].seq)
    assert list(reading.pick(data.draw(st.permutations(sent.events)))) == sent.events[cut + 1 :]


@given(sent=replies(), data=st.data())
def test_an_event_lost_for_good_leaves_no_hole_in_a_text_d6(sent: Sent, data: st.DataObject):
    """What is shown to an application is whole up to where it stops, whatever was lost everywhere."""
    lost = data.draw(st.sets(st.sampled_from([event.seq for event in sent.events])))
    left = [event for event in sent.events if event.seq not in lost]
    reading, application = Reading(), Application()
    for each in reading.pick(left):
        application.see(each)
    if isinstance(application.end, Completed):
        assert application.text == sent.text
    elif left and isinstance(left[-1], Completed):
        assert reading.end_behind_gap
        assert not reading.ended


@given(data=st.data(), pieces=st.integers(0, 4), began=st.integers(1, 2))
def test_the_end_that_is_stored_is_the_end_for_everybody(data: st.DataObject, pieces: int, began: int):
    """Two workers hold one request. The one that was replaced ends it first; the other one's end is not stored."""
    winner = attempt_events(began, pieces, after_output=began > 1)
    ends = data.draw(st.sampled_from([completed, failed]))
    winner.append(ends(began, winner[-1].seq + 1))
    loser = attempt_events(began + 1, data.draw(st.integers(0, 4)), after_output=True)
    live = [*winner[: data.draw(st.integers(0, len(winner) - 1))], *loser]
    stored = [accepted(), *winner, *loser]
    lost = data.draw(st.sets(st.sampled_from([event.seq for event in winner[:-1]])))
    reading, application = Reading(), Application()
    for event in (accepted(), *live):
        for each in reading.pick([event]):
            application.see(each)
    assert not reading.ended
    seen = len(application.seqs)
    for each in reading.start_over([event for event in stored if event.seq not in lost]):
        application.see(each)
    if lost and isinstance(winner[-1], Completed):
        assert (len(application.seqs), reading.gap, reading.end_behind_gap) == (seen, True, True)
        for each in reading.start_over(stored):
            application.see(each)
    assert application.seqs == sorted(set(application.seqs))
    assert reading.ended
    assert application.end == replace(winner[-1], seq=application.seqs[-1])
    if isinstance(winner[-1], Completed):
        assert application.text == "".join(event.text for event in winner if isinstance(event, Delta))
    assert list(reading.start_over(stored)) == []


@given(sent=replies(), data=st.data())
def test_nothing_starts_over_while_the_end_is_still_ahead(sent: Sent, data: st.DataObject):
    cut = data.draw(st.integers(0, len(sent.events) - 2))
    reading = Reading(sent.events[cut].seq)
    assert list(reading.start_over(sent.events)) == []
    assert list(reading.start_over(sent.events[:-1])) == []
    assert not reading.gap


def test_what_resumes_behind_an_end_hears_the_whole_answer_again():
    """It cannot tell what its reader has, only that nothing more will come."""
    answer = [accepted(), *attempt_events(1, 2, after_output=False)]
    answer.append(completed(1, answer[-1].seq + 1))
    reading, application = Reading(first_seq(7)), Application()
    assert list(reading.pick(answer)) == []
    for each in reading.start_over(answer):
        application.see(each)
    assert application.text == "1.0 1.1 "
    assert application.seqs[0] == first_seq(7) + 1
    assert isinstance(application.end, Completed)


def test_late_events_of_a_replaced_sender_are_dropped():
    first, second = attempt_events(1, 5, after_output=False), attempt_events(2, 2, after_output=True)
    reading = Reading()
    taken = list(reading.pick([accepted(), *first[:3]]))
    for event in (second[0], first[3], second[1], first[4], second[2]):
        taken += list(reading.pick([event]))
    assert taken == [accepted(), *first[:3], *second[:3]]


def test_history_with_events_of_two_senders_mixed_reads_as_two_attempts():
    first, second = attempt_events(1, 4, after_output=False), attempt_events(2, 1, after_output=True)
    mixed = [accepted(), *first[:3], *second[:2], *first[3:], *second[2:]]
    assert list(Reading().pick(mixed)) == [accepted(), *first, *second]


def test_an_accepted_event_that_was_lost_for_good_holds_nobody_up():
    events = attempt_events(1, 2, after_output=False)
    assert list(Reading().pick(events)) == events


def test_a_gap_filled_by_repeated_events_is_still_one_while_the_end_was_left_behind():
    """The sender repeats what was lost, but not the end that it stored."""
    events = [accepted(), *attempt_events(1, 3, after_output=False)]
    end = completed(1, events[-1].seq + 1)
    reading = Reading()
    assert list(reading.pick([*events[:2], events[3], end])) == events[:2]
    assert reading.end_behind_gap
    assert list(reading.pick(events)) == events[2:]
    assert reading.gap
    assert list(reading.pick([end])) == [end]
    assert not reading.gap


def test_an_end_that_says_all_there_is_to_say_needs_nothing_before_it():
    """The door's refusal, the sweep's failure, an answer in one piece."""
    whole = replace(completed(1, first_seq(1) + 1), response=Raw(b"{}"))
    for end in (failed(0, 1), failed(3, first_seq(3) + 7), whole):
        assert list(Reading().pick([end])) == [end]


def test_a_gap_is_told_and_forgotten_once_it_is_filled():
    reading = Reading()
    events = attempt_events(1, 3, after_output=False)
    assert list(reading.pick([events[0], events[2]])) == events[:1]
    assert reading.gap
    assert not reading.end_behind_gap
    assert list(reading.pick(events)) == events[1:]
    assert not reading.gap


def test_judge_knows_next_old_and_gap():
    reading = Reading()
    assert reading.judge(accepted()) == "next"
    assert reading.judge(started(1, first_seq(1))) == "gap", "`accepted` may be in the store"
    assert reading.judge(Delta(id=ID, seq=5)) == "gap"
    reading.take(accepted())
    assert reading.judge(started(1, first_seq(1))) == "next"
    assert reading.judge(accepted()) == "old"
    reading.take(completed(1, first_seq(1)))
    assert reading.judge(started(2, first_seq(2))) == "old"
