"""F1: whatever the attempts cost, the hold covers each before it is made, and never shrinks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.worker.budget.hold_cover import NOTHING, Amount, needed_hold

AMOUNTS = st.builds(Amount, picousd=st.integers(0, 1_000), tokens=st.integers(0, 1_000))


@given(AMOUNTS, st.lists(st.tuples(AMOUNTS, AMOUNTS), max_size=8))
def test_f1_every_attempt_is_covered_before_it_is_made(held: Amount, attempts: list[tuple[Amount, Amount]]):
    spent = NOTHING
    for estimate, cost in attempts:
        needed = needed_hold(held, spent, estimate)
        if needed is not None:
            assert needed.picousd >= held.picousd
            assert needed.tokens >= held.tokens
            assert needed != held, "an unnecessary question"
            held = needed
        assert held.picousd >= spent.picousd + estimate.picousd
        assert held.tokens >= spent.tokens + estimate.tokens
        spent = spent.plus(cost)
