"""C1: no window of the span's length holds more charges than the log, in any order of events."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.worker.rate_limit.window import Charge, SlidingWindow

SPAN_S = 60.0
# Quarters of a second are exact in binary, so that the model's sums and the window's agree to the last bit.
steps = st.integers(min_value=-40, max_value=200).map(lambda quarters: quarters / 4)
amounts = st.integers(min_value=0, max_value=50)


class WindowMachine(RuleBasedStateMachine):
    """Compares with a naive log that keeps every entry."""

    grain_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.window = SlidingWindow(SPAN_S, self.grain_s)
        self.clock_s = 1000.0
        self.latest_s = self.clock_s
        self.log: list[list[float]] = []
        self.made: list[tuple[Charge, int]] = []

    @rule(step_s=steps)
    def time_passes_or_steps_back(self, step_s: float) -> None:
        self.clock_s += step_s
        self.latest_s = max(self.latest_s, self.clock_s)

    @rule(amount=amounts)
    def charge(self, amount: int) -> None:
        charge = self.window.charge(amount, self.clock_s)
        self.made.append((charge, len(self.log)))
        self.log.append([self.latest_s, amount])

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        charge, index = data.draw(st.sampled_from(self.made))
        back = data.draw(st.integers(0, int(self.log[index][1])))
        self.window.refund(charge, back, self.clock_s)
        self.log[index][1] -= back

    def charged_within(self, span_s: float) -> float:
        return sum(amount for at_s, amount in self.log if at_s + span_s > self.latest_s)

    @invariant()
    def counts_at_least_the_truth_and_at_most_one_grain_more(self) -> None:
        used = self.window.used(self.clock_s)
        assert self.charged_within(SPAN_S) <= used <= self.charged_within(SPAN_S + self.grain_s)

    @rule(level=st.integers(min_value=0, max_value=60))
    def reports_when_an_amount_fits(self, level: int) -> None:
        at_s = self.window.falls_to_at_s(level, self.clock_s)
        left_then = sum(amount for t, amount in self.log if t + SPAN_S > max(at_s, self.latest_s))
        assert left_then <= level


class CoarseWindowMachine(WindowMachine):
    grain_s = 5.0


TestExactWindow = WindowMachine.TestCase
TestCoarseWindow = CoarseWindowMachine.TestCase


@given(st.lists(st.floats(0, 1000, allow_nan=False), max_size=300))
def test_a_coarse_window_keeps_a_bounded_number_of_entries(gaps: list[float]) -> None:
    window, now_s = SlidingWindow(86_400.0, 1_440.0), 0.0
    for gap in gaps:
        now_s += gap
        window.charge(1, now_s)
    assert len(window._charges) <= 61


@pytest.mark.parametrize("level", [-1, -100])
def test_a_negative_level_is_never_reached(level: int) -> None:
    window = SlidingWindow(SPAN_S)
    assert math.isinf(window.falls_to_at_s(level, 0.0))
    window.charge(3, 0.0)
    assert math.isinf(window.falls_to_at_s(level, 0.0))


def test_a_charge_counts_until_its_span_has_passed() -> None:
    window = SlidingWindow(SPAN_S)
    window.charge(3, 10.0)
    assert window.used(69.999) == 3
    assert window.used(70.0) == 0
