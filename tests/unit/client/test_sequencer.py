"""E1, E2, D6: events are read in order and once; the text has no gap and comes from one attempt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from penstock.client.sequencer import ReplySequencer
from penstock.contract.reply import TERMINAL, Completed, Delta, ReplyEvent, Restarted, first_seq
from tests.unit.client.replies_model import (
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
    """Follows the reading rules of penstock/contract/reply.py."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.text = ""
        self.attempt_of_text = 0
        self.end: ReplyEvent | None = None

    def see(self, event: ReplyEvent) -> None:
        assert self.end is None, "an event after the end"
        self.seqs.append(event.seq)
        if isinstance(event, Restarted):
            self.text, self.attempt_of_text = "", 0
        elif isinstance(event, Delta):
            assert self.attempt_of_text in {0, event.attempt}, "two attempts in one text"
            self.attempt_of_text = event.attempt
            self.text += event.text
        elif isinstance(event, TERMINAL):
            self.end = event


def assert_read_correctly(application: Application, sent: Sent) -> None:
    assert application.seqs == sorted(set(application.seqs))
    assert application.end == sent.events[-1]
    if isinstance(sent.events[-1], Completed):
        assert application.text == sent.text


@given(sent=replies(), data=st.data())
def test_e1_any_order_loss_and_repetition_gives_the_reply_once(sent: Sent, data: st.DataObject):
    """Live events arrive shuffled, twice or not at all; the store has all of them in any order."""
    live = data.draw(st.lists(st.sampled_from(sent.events), max_size=30))
    looks = data.draw(st.sets(st.integers(0, len(live))))
    stored = data.draw(st.permutations(sent.events))
    sequencer, application = ReplySequencer(), Application()
    for number, event in enumerate(live):
        if sequencer.ended:
            break
        held = stored if number in looks else []
        for each in sequencer.deliver([*held, event]):
            application.see(each)
    for each in sequencer.deliver(stored):
        application.see(each)
    if isinstance(sent.events[-1], Completed):
        assert_read_correctly(application, sent)
    assert application.end == sent.events[-1]
    assert sequencer.ended
    assert list(sequencer.deliver([*stored, *live])) == []


@given(sent=replies())
def test_e1_events_in_order_are_all_delivered(sent: Sent):
    sequencer = ReplySequencer()
    assert [each for event in sent.events for each in sequencer.deliver([event])] == sent.events


@given(sent=replies(), data=st.data())
def test_e2_resuming_delivers_exactly_the_events_after_the_position(sent: Sent, data: st.DataObject):
    cut = data.draw(st.integers(0, len(sent.events) - 1))
    sequencer = ReplySequencer(sent.events[cut].seq)
    assert list(sequencer.deliver(data.draw(st.permutations(sent.events)))) == sent.events[cut + 1 :]


@given(sent=replies(), data=st.data())
def test_d6_a_lost_event_leaves_no_hole_in_the_text(sent: Sent, data: st.DataObject):
    """The delivered text is complete up to the point where it stops."""
    lost = data.draw(st.sets(st.sampled_from([event.seq for event in sent.events])))
    left = [event for event in sent.events if event.seq not in lost]
    sequencer, application = ReplySequencer(), Application()
    for each in sequencer.deliver(left):
        application.see(each)
    if isinstance(application.end, Completed):
        assert application.text == sent.text
    elif left and isinstance(left[-1], Completed):
        assert sequencer.end_behind_gap
        assert not sequencer.ended


@given(data=st.data(), pieces=st.integers(0, 4), began=st.integers(1, 2))
def test_d6_the_stored_end_is_the_end_for_every_reader(data: st.DataObject, pieces: int, began: int):
    """Two workers hold one request. The replaced one ends it first; the end of the other one is not stored."""
    winner = attempt_events(began, pieces, after_output=began > 1)
    ends = data.draw(st.sampled_from([completed, failed]))
    winner.append(ends(began, winner[-1].seq + 1))
    loser = attempt_events(began + 1, data.draw(st.integers(0, 4)), after_output=True)
    live = [*winner[: data.draw(st.integers(0, len(winner) - 1))], *loser]
    stored = [accepted(), *winner, *loser]
    lost = data.draw(st.sets(st.sampled_from([event.seq for event in winner[:-1]])))
    sequencer, application = ReplySequencer(), Application()
    for event in (accepted(), *live):
        for each in sequencer.deliver([event]):
            application.see(each)
    assert not sequencer.ended
    seen = len(application.seqs)
    for each in sequencer.deliver_valid_attempt([event for event in stored if event.seq not in lost]):
        application.see(each)
    if lost and isinstance(winner[-1], Completed):
        assert (len(application.seqs), sequencer.has_gap, sequencer.end_behind_gap) == (seen, True, True)
        for each in sequencer.deliver_valid_attempt(stored):
            application.see(each)
    assert application.seqs == sorted(set(application.seqs))
    assert sequencer.ended
    assert application.end == replace(winner[-1], seq=application.seqs[-1])
    if isinstance(winner[-1], Completed):
        assert application.text == "".join(event.text for event in winner if isinstance(event, Delta))
    assert list(sequencer.deliver_valid_attempt(stored)) == []


@given(sent=replies(), data=st.data())
def test_d6_no_attempt_is_repeated_while_the_end_is_ahead(sent: Sent, data: st.DataObject):
    cut = data.draw(st.integers(0, len(sent.events) - 2))
    sequencer = ReplySequencer(sent.events[cut].seq)
    assert list(sequencer.deliver_valid_attempt(sent.events)) == []
    assert list(sequencer.deliver_valid_attempt(sent.events[:-1])) == []
    assert not sequencer.has_gap


def test_e2_resuming_beyond_an_end_delivers_the_whole_answer():
    """The sequencer cannot know what its reader has, only that no event will follow."""
    answer = [accepted(), *attempt_events(1, 2, after_output=False)]
    answer.append(completed(1, answer[-1].seq + 1))
    sequencer, application = ReplySequencer(first_seq(7)), Application()
    assert list(sequencer.deliver(answer)) == []
    for each in sequencer.deliver_valid_attempt(answer):
        application.see(each)
    assert application.text == "1.0 1.1 "
    assert application.seqs[0] == first_seq(7) + 1
    assert isinstance(application.end, Completed)


def test_d6_late_events_of_a_replaced_worker_are_dropped():
    first, second = attempt_events(1, 5, after_output=False), attempt_events(2, 2, after_output=True)
    sequencer = ReplySequencer()
    taken = list(sequencer.deliver([accepted(), *first[:3]]))
    for event in (second[0], first[3], second[1], first[4], second[2]):
        taken += list(sequencer.deliver([event]))
    assert taken == [accepted(), *first[:3], *second[:3]]


def test_d6_mixed_events_of_two_workers_read_as_two_attempts():
    first, second = attempt_events(1, 4, after_output=False), attempt_events(2, 1, after_output=True)
    mixed = [accepted(), *first[:3], *second[:2], *first[3:], *second[2:]]
    assert list(ReplySequencer().deliver(mixed)) == [accepted(), *first, *second]


def test_e1_a_lost_accepted_event_delays_nothing():
    events = attempt_events(1, 2, after_output=False)
    assert list(ReplySequencer().deliver(events)) == events


def test_d6_a_filled_gap_stays_a_gap_until_the_end_is_delivered():
    """The worker publishes lost events again, but not the end that it stored."""
    events = [accepted(), *attempt_events(1, 3, after_output=False)]
    end = completed(1, events[-1].seq + 1)
    sequencer = ReplySequencer()
    assert list(sequencer.deliver([*events[:2], events[3], end])) == events[:2]
    assert sequencer.end_behind_gap
    assert list(sequencer.deliver(events)) == events[2:]
    assert sequencer.has_gap
    assert list(sequencer.deliver([end])) == [end]
    assert not sequencer.has_gap


def test_e1_a_self_contained_end_needs_no_earlier_event():
    """A rejection, an expired request, a whole answer."""
    whole = replace(completed(1, first_seq(1) + 1), response=Raw(b"{}"))
    for end in (failed(0, 1), failed(3, first_seq(3) + 7), whole):
        assert list(ReplySequencer().deliver([end])) == [end]


def test_d6_a_gap_is_reported_until_it_is_filled():
    sequencer = ReplySequencer()
    events = attempt_events(1, 3, after_output=False)
    assert list(sequencer.deliver([events[0], events[2]])) == events[:1]
    assert sequencer.has_gap
    assert not sequencer.end_behind_gap
    assert list(sequencer.deliver(events)) == events[1:]
    assert not sequencer.has_gap


def test_e1_classify_distinguishes_next_old_and_gap():
    sequencer = ReplySequencer()
    assert sequencer.classify(accepted()) == "next"
    assert sequencer.classify(started(1, first_seq(1))) == "gap", "`accepted` may be in the store"
    assert sequencer.classify(Delta(id=ID, seq=5)) == "gap"
    assert list(sequencer.deliver([accepted()]))
    assert sequencer.classify(started(1, first_seq(1))) == "next"
    assert sequencer.classify(accepted()) == "old"
    assert list(sequencer.deliver([completed(1, first_seq(1))]))
    assert sequencer.classify(started(2, first_seq(2))) == "old"
