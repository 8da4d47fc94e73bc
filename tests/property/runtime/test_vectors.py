"""H2: whether a vector has a direction is what its length says, however it is found out."""

from __future__ import annotations

from array import array

from hypothesis import example, given
from hypothesis import strategies as st

from penstock.runtime.retrieval.vectors import has_direction, vector_length

NUMBERS = st.floats(width=32) | st.floats(-1e3, 1e3, width=32) | st.sampled_from([0.0, -0.0, 1e-18, 2.0**51])


@example([float("nan"), 1.0])
@example([float("-inf"), 1.0])
@example([-0.0, 0.0])
@example([2.0**-57])
@example([-(2.0**50)] * 65_536)
@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_h2_a_vector_has_a_direction_if_its_length_is_usable(numbers: list[float]):
    vector = array("f", numbers).tobytes()
    assert has_direction(vector) == (1e-18 <= vector_length(vector) <= 1e18)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_h2_every_bit_pattern_of_two_numbers_is_judged_by_its_length(one: int, other: int):
    vector = array("I", [one, other]).tobytes()
    assert has_direction(vector) == (1e-18 <= vector_length(vector) <= 1e18)
