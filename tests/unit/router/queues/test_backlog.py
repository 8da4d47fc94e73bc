"""C6: the more requests a user has in a mailbox, the later the next one starts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.names import RANKS
from services.router.queues.backlog import RANK_BOUNDS, rank_of


def test_the_ranks_and_their_bounds():
    assert [rank_of(waiting) for waiting in (0, 3, 4, 31, 32, 255, 256, 10**6)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert len(RANKS) == len(RANK_BOUNDS) + 1


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_more_queued_requests_never_give_a_lower_rank(one: int, other: int):
    assert (rank_of(one) <= rank_of(other)) or one > other


@given(mine=st.integers(0, RANK_BOUNDS[-1] - 1), theirs=st.integers(0, 5_000))
def test_c6_another_user_has_at_most_eight_times_as_many_requests_ahead(mine: int, theirs: int):
    """Another user published `theirs` requests, one after another, and none has ended."""
    ahead = sum(rank_of(number) <= rank_of(mine) for number in range(theirs))
    assert ahead <= max(8 * mine, RANK_BOUNDS[0])
