"""F1: which ledger processes live, and when one of them must not act."""

from __future__ import annotations

from services.ledger.partitions.assignment import PARTITIONS, owner_of, partitions_of
from services.ledger.partitions.members import Members


def beat(members: Members, name: str, now_s: float, delay_s: float = 0.001) -> None:
    """A heartbeat that is sent at `now_s` and arrives after `delay_s`."""
    stamp = int(now_s * 1000)
    if name == "own":
        members.record_sent(stamp, now_s)
    members.observe(name, stamp, now_s + delay_s)


def test_f1_a_process_acts_only_after_it_has_had_time_to_hear_the_others() -> None:
    members = Members("own")
    assert not members.in_contact(0)
    beat(members, "own", 0)
    assert not members.in_contact(0.5)
    beat(members, "own", 0.5)
    assert members.in_contact(1)
    assert members.live(1) == {"own"}


def test_f1_a_silent_process_is_dead_after_two_seconds_and_one_that_stops_at_once() -> None:
    members = Members("own")
    beat(members, "other", 0)
    beat(members, "third", 0)
    members.forget("third")
    assert members.others(1.9) == {"other"}
    assert members.others(2.1) == set()


def test_f1_a_process_that_was_frozen_does_not_act_until_it_hears_others_again() -> None:
    members = Members("own")
    for tenths in range(0, 20, 5):
        beat(members, "own", tenths / 10)
    assert members.in_contact(1.9)
    assert not members.in_contact(31)
    # What waited in the socket is old: heartbeats of its own show that.
    members.observe("own", 1500, 31)
    assert not members.in_contact(32)
    beat(members, "own", 32)
    assert not members.in_contact(32.1)
    beat(members, "own", 32.5)
    assert members.in_contact(33)


def test_f1_every_partition_has_exactly_one_owner_and_a_lost_process_moves_only_its_own() -> None:
    three = ["ledger-a", "ledger-b", "ledger-c"]
    before = {each: owner_of(each, three) for each in PARTITIONS}
    assert set().union(*(partitions_of(name, three) for name in three)) == set(PARTITIONS)
    after = {each: owner_of(each, three[:2]) for each in PARTITIONS}
    assert all(after[each] == before[each] for each in PARTITIONS if before[each] != "ledger-c")
    assert owner_of("0", []) is None
