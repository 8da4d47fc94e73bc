"""C3: the arrival rate of each rank decays as if it were updated at every moment."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.subjects import WorkAddress
from services.router.admission.arrival_rates import MEMORY_S, ArrivalRates, SoleUserDetector

RANKED = [("chat", "interactive", 0), ("chat", "interactive", 2), ("coding", "batch", 0)]
steps = st.lists(
    st.tuples(st.floats(-1.0, 40.0), st.sampled_from([None, *RANKED]), st.integers(1, 3)),
    max_size=30,
)
"""Steps: delay, key of the next arrival and number of routers; None: only time passes.

A clock that steps back changes nothing."""


@given(steps)
def test_c3_rates_decay_as_if_updated_at_every_moment(
    taken: list[tuple[float, tuple[str, str, int] | None, int]],
) -> None:
    arrivals = ArrivalRates()
    arrived: list[tuple[float, tuple[str, str, int], int]] = []
    latest_start_s, now_s = 0.0, 1000.0
    for after_s, key, routers in taken:
        now_s += after_s
        latest_start_s = max(latest_start_s, now_s)
        if key is None:
            arrivals.advance(now_s)
        else:
            arrivals.record_arrival(WorkAddress(*key, "a"), routers, now_s)
            arrived.append((latest_start_s, key, routers))
    arrivals.advance(latest_start_s)

    for key in RANKED:
        weight = sum(
            routers * exp((at_s - latest_start_s) / MEMORY_S)
            for at_s, where, routers in arrived
            if where == key
        )
        assert arrivals.per_s(*key) == pytest.approx(weight / MEMORY_S)


def test_c6_a_user_is_alone_until_another_sends_a_request() -> None:
    detector = SoleUserDetector()

    assert detector.record_call("chat", "interactive", "ada", 0.0)
    assert detector.record_call("chat", "interactive", "ada", 1.0)
    assert not detector.record_call("chat", "interactive", "bob", 2.0)
    assert not detector.record_call("chat", "interactive", "ada", 3.0)
    assert detector.record_call("coding", "interactive", "ada", 3.0)
    assert not detector.record_call("chat", "interactive", "ada", 3.0 + MEMORY_S)
    assert detector.record_call("chat", "interactive", "ada", 3.1 + MEMORY_S)
