"""C4: no request is sent during a pause, a single one is sent first after it, and none waits for ever."""

from __future__ import annotations

from math import inf

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.worker.rate_limit.pause import PauseState

PATIENCE_S = 2.0


class PauseMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.pause_state = PauseState()
        self.now_s = 1000.0
        self.until_s = -inf
        self.numbers = 0
        self.running: set[int] = set()
        self.proved = True
        """True if a request succeeded since the latest pause, or the wait for the first one is over."""
        self.first: int | None = None
        self.first_left_s = -inf

    @rule(quarters=st.integers(0, 20))
    def time_passes(self, quarters: int) -> None:
        self.now_s += quarters / 4

    @rule(quarters=st.integers(1, 40))
    def a_429(self, quarters: int) -> None:
        until_s = self.now_s + quarters / 4
        longer = self.pause_state.pause(until_s)
        assert longer == (until_s > self.until_s)
        if longer:
            self.until_s, self.proved, self.first = until_s, False, None

    @rule()
    def ask(self) -> None:
        if self.pause_state.wait_s(self.now_s) > 0:
            return
        assert self.now_s >= self.until_s, "admitted during a pause"
        self.numbers += 1
        self.pause_state.record_start(self.numbers, self.now_s)
        self.running.add(self.numbers)
        if self.proved:
            return
        if self.first is not None:
            assert self.now_s >= self.first_left_s + PATIENCE_S, "admitted beside the first request"
            self.proved = True
        self.first, self.first_left_s = self.numbers, self.now_s

    @precondition(lambda self: self.running)
    @rule(data=st.data(), tokens=st.sampled_from([0, 7]))
    def end(self, data: st.DataObject, tokens: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.running)))
        self.running.remove(number)
        self.pause_state.record_end(number, tokens)
        if number == self.first:
            self.first, self.proved = None, self.proved or tokens > 0

    @invariant()
    def the_reported_wait_is_exact(self) -> None:
        wait_s = self.pause_state.wait_s(self.now_s)
        if self.first is not None and self.now_s >= self.first_left_s + PATIENCE_S:
            self.proved = True
        assert 0 <= wait_s <= max(PATIENCE_S, self.until_s - self.now_s)
        if self.now_s < self.until_s:
            assert wait_s == self.until_s - self.now_s
        if self.proved and self.now_s >= self.until_s:
            assert wait_s == 0, "one request got through, and the others still wait"


TestPause = PauseMachine.TestCase
