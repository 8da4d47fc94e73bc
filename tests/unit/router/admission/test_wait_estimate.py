"""E5: the queue position and the wait that `accepted` reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.names import RANKS
from services.router.admission.wait_estimate import starts_before

RANK_COUNTS = st.lists(st.integers(0, 500), min_size=len(RANKS), max_size=len(RANKS))


@pytest.mark.parametrize(
    ("queued", "rank", "before"),
    [
        ((0, 0, 0, 0), 2, 0),
        ((5, 0, 0, 0), 0, 5),
        ((4, 20, 0, 0), 1, 24),
        ((0, 0, 100, 0), 0, 0),
        ((7, 0, 100, 0), 0, 8),
        ((700, 0, 0, 0), 3, 7),
        ((0, 0, 0, 300), 3, 300),
    ],
)
def test_e5_each_rank_starts_one_of_eight_and_the_lowest_the_others(
    queued: tuple[int, ...], rank: int, before: int
) -> None:
    assert starts_before(queued, rank) == before


@given(RANK_COUNTS, st.sampled_from(RANKS))
def test_e5_a_position_is_at_most_the_queue_and_rises_with_it(queued: list[int], rank: int) -> None:
    before = starts_before(queued, rank)
    assert queued[rank] <= before <= sum(queued)
    for each in RANKS:
        longer = [number + 8 * (each == other) for other, number in enumerate(queued)]
        assert starts_before(longer, rank) >= before
