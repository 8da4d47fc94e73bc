"""F2, D6: what a lost worker had sent, and the age of a message by the server's clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from penstock.contract.reply import Delta, first_seq
from penstock.runtime.accounting.prior_attempts import fold_events
from penstock.runtime.redelivery.prior_attempts_reader import ServerClock


def test_f2_the_output_of_each_attempt_is_counted_in_bytes():
    said = [(1, "вода", ()), (1, "long", ()), (2, "", (Raw('"ж"'.encode()),))]
    events = [
        Delta(id="1", seq=first_seq(attempt) + place, attempt=attempt, text=text, choices=choices)
        for place, (attempt, text, choices) in enumerate(said, 1)
    ]
    assert fold_events(events).bytes_out == {1: 12, 2: 4}


S = 1_000_000_000
SKEW_NS = st.integers(-(10**6) * S, 10**6 * S)
A_WHILE_NS = st.integers(0, 10 * S)


def test_d6_no_age_is_known_before_the_first_reading() -> None:
    assert ServerClock().age_ns(0, 5) is None


@given(SKEW_NS, A_WHILE_NS, A_WHILE_NS, A_WHILE_NS, A_WHILE_NS)
def test_d6_an_age_is_never_too_low_and_too_high_by_latency_only(
    skew_ns: int, there_ns: int, back_ns: int, until_stored_ns: int, lay_ns: int
) -> None:
    """`skew_ns`: the server's clock when this machine's clock shows 0."""
    clock = ServerClock()
    clock.observe(skew_ns + there_ns, 0)
    stored_ns = there_ns + back_ns + until_stored_ns
    age_ns = clock.age_ns(skew_ns + stored_ns, stored_ns + lay_ns)
    assert age_ns is not None
    assert lay_ns <= age_ns <= lay_ns + there_ns


@given(SKEW_NS, A_WHILE_NS, A_WHILE_NS)
def test_d6_a_timestamp_ahead_of_the_known_clock_is_accepted(skew_ns: int, jump_ns: int, lay_ns: int) -> None:
    clock = ServerClock()
    clock.observe(skew_ns, 0)
    assert clock.age_ns(skew_ns + jump_ns, 0) == 0
    assert clock.age_ns(skew_ns + jump_ns, lay_ns) == lay_ns
