"""D3 for every order of calls and outcomes, late and repeated ones included."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from penstock.runtime.config.catalogue import Breaker
from penstock.runtime.outbound.breaker import BreakerAdmission, CircuitBreaker, Transition

OPEN_S, LONGEST_S, INTERVAL_S = 60.0, 200.0, 30.0
MAX_TRIAL_INTERVAL_S = 5.0


class BreakerMachine(RuleBasedStateMachine):
    @initialize(failures=st.integers(1, 3), successes=st.integers(1, 3))
    def begin(self, failures: int, successes: int) -> None:
        self.config = Breaker(
            failure_threshold=failures,
            success_threshold=successes,
            open_s=OPEN_S,
            max_open_s=LONGEST_S,
            probe_interval_s=INTERVAL_S,
        )
        self.breaker = CircuitBreaker(self.config)
        self.now_s = 100.0
        self.state = "closed"
        self.period = 0
        """Number of state changes in the model."""
        self.consecutive = 0
        self.successful_probes = 0
        self.earliest_probe_s = 0.0
        self.in_flight: list[tuple[BreakerAdmission, int]] = []
        self.probe: BreakerAdmission | None = None
        self.openings = 0
        self.closings = 0
        """Number of closings."""
        self.trials: list[tuple[BreakerAdmission, int]] = []

    def moved(self, transition: Transition | None, after: str) -> None:
        assert transition is not None
        assert (transition.before, transition.after) == (self.state, after)
        self.state = after
        self.period += 1
        self.consecutive = self.successful_probes = 0
        if after == "closed":
            self.openings = 0
            self.closings += 1
            self.probe = None
        elif after == "open":
            self.earliest_probe_s = self.now_s + min(LONGEST_S, OPEN_S * 2**self.openings)
            self.openings += 1

    @rule(step_s=st.sampled_from([0.25, 1.0, 29.75, 30.0, 60.0, 200.0]))
    def time_passes(self, step_s: float) -> None:
        self.now_s += step_s

    @rule()
    def ask(self) -> None:
        expected = self.state == "closed" or (self.probe is None and self.now_s >= self.earliest_probe_s)
        assert (self.breaker.retry_at_s(self.now_s) <= self.now_s) == expected
        admission = self.breaker.admit(self.now_s)
        assert admission.admitted == expected
        if not admission.admitted:
            return
        assert admission.probe == (self.state != "closed")
        if self.state == "open":
            self.moved(admission.transition, "half_open")
        if admission.probe:
            self.probe = admission
            self.earliest_probe_s = self.now_s + INTERVAL_S
        self.in_flight.append((admission, self.period))

    def draw(self, data: st.DataObject) -> tuple[BreakerAdmission, bool]:
        admission, period = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        return admission, period == self.period

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        admission, counts = self.draw(data)
        transition = self.breaker.succeeded(admission, self.now_s)
        if not counts:
            assert transition is None
            return
        self.consecutive = 0
        if admission.probe:
            assert admission is self.probe
            self.probe = None
            self.successful_probes += 1
            if self.successful_probes == self.config.success_threshold:
                self.moved(transition, "closed")
                return
        assert transition is None

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        admission, counts = self.draw(data)
        transition = self.breaker.failed(admission, self.now_s)
        if not counts:
            assert transition is None
            return
        self.consecutive += 1
        if admission.probe or self.consecutive == self.config.failure_threshold:
            self.probe = None
            self.moved(transition, "open")
        else:
            assert transition is None

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        admission, counts = self.draw(data)
        assert self.breaker.abandoned(admission, self.now_s) is None
        if counts and admission.probe:
            self.probe = None
            self.earliest_probe_s = self.now_s

    @precondition(lambda self: self.state != "closed")
    @rule()
    def try_it(self) -> None:
        """A call that is not admitted may be admitted as a trial; never two at one instant."""
        if self.breaker.retry_at_s(self.now_s) <= self.now_s:
            return
        allowed = self.breaker.trial_at_s(self.now_s) <= self.now_s
        admission = self.breaker.admit(self.now_s, trial=True)
        assert admission.admitted == allowed
        if not allowed:
            return
        assert admission.trial
        assert not admission.probe
        self.trials.append((admission, self.closings))
        assert self.now_s < self.breaker.trial_at_s(self.now_s) <= self.now_s + MAX_TRIAL_INTERVAL_S

    @precondition(lambda self: self.trials)
    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed", "abandoned"]))
    def end_trial(self, data: st.DataObject, outcome: str) -> None:
        admission, closings = self.trials.pop(data.draw(st.integers(0, len(self.trials) - 1)))
        transition = getattr(self.breaker, outcome)(admission, self.now_s)
        if closings != self.closings or self.state == "closed":
            assert transition is None
            return
        if outcome == "succeeded":
            self.successful_probes += 1
            if self.successful_probes == self.config.success_threshold:
                self.moved(transition, "closed")
                return
        elif outcome == "failed":
            self.successful_probes = 0
        assert transition is None

    @invariant()
    def agrees(self) -> None:
        assert self.breaker.state == self.state


TestBreaker = BreakerMachine.TestCase
