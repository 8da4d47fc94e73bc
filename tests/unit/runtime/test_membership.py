"""C3: how long a member counts as alive, also after the process received no heartbeats for a while."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.runtime.membership import Membership


def receives_own_heartbeats(members: Membership, since_s: int, until_s: int) -> None:
    """The process receives its own heartbeats, at least."""
    for now_s in range(since_s, until_s + 1, 2):
        members.record_activity(now_s)


def test_a_role_is_served_while_any_of_its_workers_is_live() -> None:
    members = Membership()
    members.record_heartbeat("a", ["chat", "coding"], now_s=0)
    receives_own_heartbeats(members, 1, 14)
    members.record_heartbeat("b", ["chat"], now_s=15)
    receives_own_heartbeats(members, 16, 34)
    assert members.served(20) == {"chat", "coding"}
    assert members.served(21) == {"chat"}
    assert members.served(35) == {"chat"}
    assert members.served(35.1) == frozenset()


def test_a_worker_can_drop_a_role() -> None:
    members = Membership()
    members.record_heartbeat("a", ["chat", "coding"], now_s=0)
    members.record_heartbeat("a", ["coding"], now_s=1)
    assert members.served(1) == {"coding"}


def test_no_heartbeat_means_no_served_role() -> None:
    assert Membership().served(0) == frozenset()
    assert Membership().served(1000) == frozenset()


def test_expired_instances_are_dropped() -> None:
    members = Membership(ttl_s=20)
    for start in range(1_000):
        members.record_heartbeat(f"instance-{start}", ["chat"], now_s=start * 10.0)
    assert len(members._members) <= 3


def test_c3_after_a_freeze_members_get_a_grace_period_for_heartbeats() -> None:
    members = Membership(ttl_s=20, silent_s=5, grace_s=5)
    members.record_heartbeat("a", ["chat"], now_s=0)
    members.record_heartbeat("b", ["coding"], now_s=1)
    assert members.served(100) == {"chat", "coding"}, "it looks for the first time after 99 s"
    members.record_heartbeat("a", ["chat"], now_s=102)
    receives_own_heartbeats(members, 103, 110)
    assert members.served(105) == {"chat", "coding"}
    assert members.served(105.1) == {"chat"}, "b had its time"


def test_c3_a_member_expired_before_the_silence_stays_expired() -> None:
    members = Membership()
    members.record_heartbeat("a", ["chat"], now_s=0)
    receives_own_heartbeats(members, 1, 21)
    assert members.served(60) == frozenset()


@given(st.lists(st.floats(0, 60), max_size=30))
def test_c3_repeated_silences_never_keep_a_dead_worker_alive(steps_s: list[float]) -> None:
    members = Membership(ttl_s=20, silent_s=5, grace_s=5)
    members.record_heartbeat("a", ["chat"], now_s=0)
    now_s, first_look_after_ttl_s = 0.0, None
    for step_s in steps_s:
        now_s += step_s
        members.record_activity(now_s)
        if now_s > 20 and first_look_after_ttl_s is None:
            first_look_after_ttl_s = now_s
        if first_look_after_ttl_s is not None and now_s > first_look_after_ttl_s + 5:
            assert members.served(now_s) == frozenset()


def test_c3_stored_presence_counts_until_a_heartbeat_can_arrive() -> None:
    members = Membership(ttl_s=20, grace_s=5)
    members.record_heartbeat("a", ["chat"], now_s=0)
    members.record_stored("a", ["chat"], now_s=1)
    members.record_stored("b", ["coding"], now_s=1)
    receives_own_heartbeats(members, 2, 24)
    assert members.served(6) == {"chat", "coding"}
    assert members.served(6.1) == {"chat"}
    assert members.served(20) == {"chat"}, "a heartbeat counts for its whole time"


def test_c3_a_burst_of_new_names_displaces_no_established_member() -> None:
    members = Membership(most=10)
    for now_s in (0, 2):
        for name in ("a", "b"):
            assert members.record_heartbeat(name, ["chat"], now_s) is None
    displaced = [members.record_heartbeat(f"fake-{n}", ["logic"], now_s=3) for n in range(100)]
    assert displaced == [None] * 8 + [f"fake-{n}" for n in range(92)]
    assert len(members.instances(3)) == 10
    assert members.served(3) == {"chat", "logic"}
    assert members.record_stored("late", ["fast"], now_s=3) == "fake-92"
    assert len(members.instances(3)) == 10


def test_c3_among_established_members_the_most_silent_is_displaced() -> None:
    members = Membership(most=3)
    for now_s in (0, 2):
        for name in ("a", "b", "c"):
            members.record_heartbeat(name, ["chat"], now_s)
    members.record_heartbeat("a", ["chat"], now_s=3)
    assert members.record_heartbeat("new", ["fast"], now_s=4) == "b"
    assert members.instances(4) == {"a", "c", "new"}


event_lists = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.sampled_from(["nothing", "activity", "heartbeat", "stored"]),
        st.sampled_from("abc"),
        st.sets(st.sampled_from(["chat", "coding", "vision"]), min_size=1),
    ),
    max_size=40,
)


@given(event_lists)
def test_c3_served_roles_are_those_of_the_live_members(
    events: list[tuple[int, str, str, set[str]]],
) -> None:
    members = Membership(most=2)
    now_s = 0
    serves: dict[str, frozenset[str]] = {}
    for after_s, what, name, roles in events:
        now_s += after_s
        if what == "activity":
            members.record_activity(now_s)
        elif what == "heartbeat":
            serves[name] = frozenset(roles)
            members.record_heartbeat(name, roles, now_s)
        elif what == "stored":
            members.record_stored(name, serves.setdefault(name, frozenset(roles)), now_s)
        living = members.instances(now_s)
        assert members.served(now_s) == frozenset().union(*(serves[each] for each in living))
