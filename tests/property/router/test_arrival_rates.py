"""C3: the arrivals of each place fade as if all had faded together at every moment."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.subjects import WorkAddress
from services.router.admission.arrival_rates import MEMORY_S, ArrivalRates, SoleUserDetector

PLACES = [("chat", "interactive", 0), ("chat", "interactive", 2), ("coding", "batch", 0)]
happenings = st.lists(
    st.tuples(st.floats(-1.0, 40.0), st.sampled_from([None, *PLACES]), st.integers(1, 3)),
    max_size=30,
)
"""After how long the next one comes to which place, at how many routers; None: only time passes.

A clock that steps back moves nothing."""


@given(happenings)
def test_c3_rates_decay_as_if_updated_at_every_moment(
    happened: list[tuple[float, tuple[str, str, int] | None, int]],
) -> None:
    arrivals = ArrivalRates()
    came: list[tuple[float, tuple[str, str, int], int]] = []
    latest_start_s, now_s = 0.0, 1000.0
    for after_s, place, routers in happened:
        now_s += after_s
        latest_start_s = max(latest_start_s, now_s)
        if place is None:
            arrivals.advance(now_s)
        else:
            arrivals.record_arrival(WorkAddress(*place, "a"), routers, now_s)
            came.append((latest_start_s, place, routers))
    arrivals.advance(latest_start_s)

    for place in PLACES:
        weight = sum(
            routers * exp((at_s - latest_start_s) / MEMORY_S)
            for at_s, where, routers in came
            if where == place
        )
        assert arrivals.per_s(*place) == pytest.approx(weight / MEMORY_S)


def test_c6_a_user_is_alone_until_another_sends_a_request() -> None:
    visits = SoleUserDetector()

    assert visits.record_call("chat", "interactive", "ada", 0.0)
    assert visits.record_call("chat", "interactive", "ada", 1.0)
    assert not visits.record_call("chat", "interactive", "bob", 2.0)
    assert not visits.record_call("chat", "interactive", "ada", 3.0)
    assert visits.record_call("coding", "interactive", "ada", 3.0)
    assert not visits.record_call("chat", "interactive", "ada", 3.0 + MEMORY_S)
    assert visits.record_call("chat", "interactive", "ada", 3.1 + MEMORY_S)
