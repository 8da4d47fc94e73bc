"""E5: the queue position and the wait that `accepted` reports."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.admission.wait_estimate import starts_before

COUNTS = st.integers(0, 500)


@pytest.mark.parametrize(
    ("own_or_lower", "higher", "before"),
    [(0, 0, 0), (5, 0, 5), (0, 100, 0), (7, 100, 8), (700, 0, 700), (700, 50, 750)],
)
def test_e5_higher_ranks_start_one_of_eight(own_or_lower: int, higher: int, before: int) -> None:
    assert starts_before(own_or_lower, higher) == before


@given(COUNTS, COUNTS)
def test_e5_a_position_is_at_most_the_queue_and_rises_with_it(own_or_lower: int, higher: int) -> None:
    before = starts_before(own_or_lower, higher)
    assert own_or_lower <= before <= own_or_lower + higher
    assert starts_before(own_or_lower + 1, higher) >= before
    assert starts_before(own_or_lower, higher + 1) >= before
