"""D6: the age of a message is told by the server's clock, and never too low, whatever hour ours shows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.worker.redelivery.server_clock import ServerClock

S = 1_000_000_000
SKEW_NS = st.integers(-(10**6) * S, 10**6 * S)
A_WHILE_NS = st.integers(0, 10 * S)


def test_before_the_server_was_asked_nothing_is_known() -> None:
    assert ServerClock().age_ns(0, 5) is None


@given(SKEW_NS, A_WHILE_NS, A_WHILE_NS, A_WHILE_NS, A_WHILE_NS)
def test_d6_an_age_is_never_too_low_and_too_high_by_the_way_to_the_server_only(
    skew_ns: int, there_ns: int, back_ns: int, until_stored_ns: int, lay_ns: int
) -> None:
    """`skew_ns`: what the server's clock shows when ours shows nothing."""
    clock = ServerClock()
    clock.observe(skew_ns + there_ns, 0)
    stored_ns = there_ns + back_ns + until_stored_ns
    age_ns = clock.age_ns(skew_ns + stored_ns, stored_ns + lay_ns)
    assert age_ns is not None
    assert lay_ns <= age_ns <= lay_ns + there_ns


@given(SKEW_NS, A_WHILE_NS, A_WHILE_NS)
def test_d6_a_clock_that_turns_out_to_be_ahead_is_believed(skew_ns: int, jump_ns: int, lay_ns: int) -> None:
    clock = ServerClock()
    clock.observe(skew_ns, 0)
    assert clock.age_ns(skew_ns + jump_ns, 0) == 0
    assert clock.age_ns(skew_ns + jump_ns, lay_ns) == lay_ns
