"""C6: the requests of a user start in order, none starves, and further requests bring those of their sender nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.property.router.queues.mailbox_simulation import RoundRobin, SimulatedMailbox

ACCOUNTS = st.sampled_from(("a", "b", "c"))
USERS = st.sampled_from(("u", "v", "w"))
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), ACCOUNTS, USERS, st.integers(1, 60)),
        st.tuples(st.just("finish"), st.integers(0, 2), st.integers(1, 8), st.none()),
        st.tuples(st.just("count"), st.none(), st.none(), st.none()),
    ),
    max_size=30,
)


@given(events=EVENTS, workers=st.integers(1, 3), slots=st.integers(1, 6))
def test_c6_the_requests_of_a_user_start_in_order_and_all_start(
    events: list[tuple[object, ...]], workers: int, slots: int
) -> None:
    box = SimulatedMailbox(workers, slots, {"b": 2.0})
    sender: dict[int, tuple[str, str]] = {}
    for name, first, second, count in events:
        match name:
            case "publish":
                for _ in range(count):
                    sender[box.publish(first, second)] = first, second
            case "finish":
                box.finish(first, second)
            case _:
                box.count()
    rounds = 0
    while box.waits:
        box.finish_all()
        rounds += 1
        assert rounds <= len(sender)
    assert sorted(box.started) == sorted(sender)
    for each in set(sender.values()):
        own = [number for number in box.started if sender[number] == each]
        assert own == sorted(own)


@given(
    queued=st.lists(st.tuples(ACCOUNTS, USERS), max_size=200),
    dummies=st.integers(1, 60),
    of_another_user=st.booleans(),
    slots=st.integers(1, 6),
)
def test_c6_dummies_before_a_request_never_let_it_start_earlier(
    queued: list[tuple[str, str]], dummies: int, of_another_user: bool, slots: int
) -> None:
    """The dummies count as requests of their sender: what they delay are its own requests."""
    turns = []
    for sent in (0, dummies):
        box = SimulatedMailbox(1, slots)
        for account, user in queued:
            box.publish(account, user)
        for _ in range(sent):
            box.publish("me", "dummy" if of_another_user else "me")
        mine = box.publish("me", "me")
        while box.waits:
            box.finish_all()
        turns.append(box.started.index(mine))
    assert turns[0] <= turns[1]


@given(
    sent=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(1, 300)), min_size=1, max_size=8),
    slots=st.integers(1, 6),
)
def test_c6_beside_accounts_that_send_no_more_the_wait_has_the_bound_that_decision_0011_proves(
    sent: list[tuple[str, int]], slots: int
) -> None:
    """64/7 of the fair share, for accounts of one user each."""
    box, ideal = SimulatedMailbox(1, slots), RoundRobin()
    for account, count in sent:
        for _ in range(count):
            ideal.add(account, "", box.publish(account, ""))
    while box.waits:
        box.finish_all()
    fair = {number: ahead for ahead, number in enumerate(ideal.take(len(box.started)))}
    for ahead, number in enumerate(box.started):
        assert ahead <= 64 / 7 * fair[number] + 2 * slots


@given(
    many=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    own=st.integers(1, 40),
    slots=st.integers(1, 4),
    after=st.integers(0, 3),
    counted_every=st.sampled_from((1, 5)),
)
def test_c6_no_request_waits_for_more_than_a_multiple_of_its_fair_share(
    many: list[int], own: int, slots: int, after: int, counted_every: int
) -> None:
    """An account with a flood per user beside one with `own` requests, which come `after` so many service times.

    The ideal has both accounts take turns, and so their users. docs/fairness.md has the factors of a wide search.
    """
    box, ideal = SimulatedMailbox(1, slots), RoundRobin()
    asked: dict[int, int] = {}
    fair: dict[int, int] = {}
    started: dict[int, int] = {}
    floods = [("many", f"u{user}") for user, count in enumerate(many) for _ in range(count)]
    arriving = {0: floods, after: [*(floods if after == 0 else []), *[("me", "me")] * own]}
    turn = 0
    while turn <= after or box.waits:
        for account, user in arriving.get(turn, []):
            number = box.publish(account, user)
            asked[number] = turn
            ideal.add(account, user, number)
        if turn % counted_every == 0:
            box.count()
        started |= dict.fromkeys(box.started[len(started) :], turn)
        fair |= dict.fromkeys(ideal.take(slots), turn)
        box.finish_all()
        turn += 1
        started |= dict.fromkeys(box.started[len(started) :], turn)
    rest = ideal.take(len(asked))
    fair |= {number: turn + place // slots for place, number in enumerate(rest)}
    for number, asked_at in asked.items():
        assert started[number] - asked_at - 1 <= 24 * (fair[number] - asked_at + 1)
