"""C6: the rank of a request follows its position among the requests of its account, whose users take turns."""

from __future__ import annotations

from collections import Counter
from math import log

from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.names import RANKS
from penstock.contract.subjects import WorkAddress, flow, work
from services.router.queues.backlog import Backlog
from services.router.queues.priority import RANK_BOUNDS, AccountShare, AccountTurns, rank_of

ROLE, LANE = "chat", "interactive"
QUEUES = st.lists(st.integers(0, 40), max_size=8)
EQUAL = AccountShare()


def enqueued(backlog: Backlog, account: str, user: str, share: AccountShare = EQUAL) -> int:
    """The rank of one more request, which is stored."""
    of_user = flow(account, user)
    address = WorkAddress(ROLE, LANE, backlog.rank_for(ROLE, LANE, of_user, share), of_user)
    backlog.reserve(address)
    backlog.commit(address)
    return address.rank


def test_the_ranks_and_their_bounds() -> None:
    counts = (0, 3, 4, 31, 32, 255, 256, 2047, 2048, 10**6)
    assert [rank_of(own, own) for own in counts] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [rank_of(0, position) for position in counts] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert [rank_of(own, own, weight=2.0) for own in (7, 8, 63, 64)] == [0, 1, 1, 2]
    assert [rank_of(0, position, slots=16) for position in (31, 32, 255, 256)] == [0, 1, 1, 2]
    assert len(RANKS) == len(RANK_BOUNDS) + 1


def test_c6_an_account_gets_no_more_first_places_by_naming_more_users() -> None:
    one, many = Backlog(), Backlog()
    ranks_of_one = Counter(enqueued(one, "a", "same") for _ in range(4000))
    ranks_of_many = Counter(enqueued(many, "a", f"u{number}") for number in range(4000))
    assert ranks_of_many == ranks_of_one == {0: 4, 1: 28, 2: 224, 3: 1792, 4: 1952}
    assert enqueued(many, "b", "first") == 0


def test_c6_a_new_user_precedes_the_long_queue_of_another_of_its_account() -> None:
    backlog = Backlog()
    assert max(enqueued(backlog, "a", "busy") for _ in range(500)) == 3
    assert [enqueued(backlog, "a", f"u{number}") for number in range(3)] == [0, 0, 0]


def test_an_account_of_weight_two_gets_twice_as_many_first_places() -> None:
    backlog = Backlog()
    double = AccountShare(weight=2.0)
    assert Counter(enqueued(backlog, "a", f"u{number}", double) for number in range(64)) == {0: 8, 1: 56}


def test_c6_what_an_account_can_run_soon_does_not_give_its_users_a_higher_rank() -> None:
    backlog, share = Backlog(), AccountShare(slots=64)
    assert {enqueued(backlog, "a", f"u{number}", share) for number in range(128)} == {0}
    assert enqueued(backlog, "a", "another", share) == 1
    assert {enqueued(backlog, "b", f"u{number}", share) for number in range(64)} == {0}
    assert enqueued(backlog, "b", "another", share) == 1, "two accounts share the slots"


@given(QUEUES, st.integers(0, 60))
def test_the_position_counts_as_many_of_each_user_as_the_user_has_and_one_more(
    queues: list[int], own: int
) -> None:
    turns = AccountTurns()
    for queued in [*queues, own]:
        turns.change(0, queued + 5)
        turns.change(queued + 5, queued)
    assert turns.position(own) == sum(min(queued, own + 1) for queued in queues) + own


@given(QUEUES, st.integers(0, 60))
def test_c6_more_requests_never_give_a_user_or_its_account_an_earlier_position(
    queues: list[int], own: int
) -> None:
    turns = AccountTurns()
    for queued in [*queues, own]:
        turns.change(0, queued)
    before, of_another = turns.position(own), turns.position(0)
    turns.change(own, own + 1)
    assert turns.position(own + 1) > before
    assert turns.position(0) >= of_another


@given(st.lists(st.integers(0, 400), min_size=2, max_size=60))
def test_c6_few_requests_of_an_account_are_ahead_of_those_of_another(users: list[int]) -> None:
    """An account that fills one user's turns before the next user's has at most (1 + ln bound) times the bound."""
    backlog = Backlog()
    for number, count in enumerate(users):
        for _ in range(count):
            enqueued(backlog, "a", f"u{number}")
    for rank, bound in enumerate(RANK_BOUNDS[:3]):
        assert backlog.ahead(ROLE, LANE, rank) <= (1 + log(bound)) * bound


@given(st.data())
def test_c6_no_request_has_a_lower_rank_than_an_earlier_one_of_its_user_that_waits(
    data: st.DataObject,
) -> None:
    backlog = Backlog()
    stored: list[tuple[int, WorkAddress]] = []
    sequence = 0
    taken: dict[tuple[str, str, int], int] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        for user in data.draw(st.lists(st.sampled_from("xyz"), max_size=80)):
            rank, of_user, sequence = enqueued(backlog, "a", user), flow("a", user), sequence + 1
            waiting = [each for _, each in stored if each.flow == of_user]
            assert rank >= max((each.rank for each in waiting), default=0)
            stored.append((sequence, WorkAddress(ROLE, LANE, rank, of_user)))
        stored.sort(key=lambda each: (each[1].rank, each[0]))
        served = data.draw(st.integers(0, len(stored)))
        for at, address in stored[:served]:
            taken[address[:3]] = at
        stored = stored[served:]
        if data.draw(st.booleans()):
            waiting_ranks = {address[:3] for _, address in stored}
            backlog.begin_count()
            backlog.snapshot(
                Counter(work(*address) for _, address in stored),
                1,
                sequence,
                {rank: at if rank in waiting_ranks else sequence for rank, at in taken.items()},
            )


def test_c6_a_user_whose_requests_of_a_high_rank_all_run_begins_again_at_the_first() -> None:
    backlog = Backlog()
    of_user = flow("a", "u")
    running = WorkAddress(ROLE, LANE, 3, of_user)
    rank: tuple[str, str, int] = running[:3]
    backlog.begin_count()
    backlog.snapshot({work(*running): 2}, 1, 900, {rank: 700})
    assert backlog.rank_for(ROLE, LANE, of_user) == 3, "one of them may wait"
    backlog.begin_count()
    backlog.snapshot({work(*running): 2}, 1, 1200, {rank: 900})
    assert backlog.rank_for(ROLE, LANE, of_user) == 0
    assert enqueued(backlog, "a", "u") == 0
