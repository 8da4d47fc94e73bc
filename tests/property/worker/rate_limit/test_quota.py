"""C1: no limit is ever exceeded, in any order of acquiring, settling, pausing and correcting."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.quota import LocalQuota, Need, Observation, Permit, QuotaKey

KEY = QuotaKey("GROQ_API_KEY", "gpt-oss-20b")
LIMITS = Limits(
    requests_per_minute=6, tokens_per_minute=100, requests_per_day=40, tokens_per_day=900, concurrency=3
)
MINUTE_S, DAY_S, GRAIN_S = 60.0, 86_400.0, 1_440.0
# Quarters of a second are exact in binary: the model's sums and the quota's agree to the last bit.
steps = st.one_of(
    st.integers(0, 120), st.integers(0, 40_000), st.integers(-200, -1), st.integers(0, 4 * 86_400)
).map(lambda quarters: quarters / 4)


class QuotaMachine(RuleBasedStateMachine):
    """Compares with naive logs that keep every entry."""

    corrections = False

    def __init__(self) -> None:
        super().__init__()
        self.quota = LocalQuota({KEY: LIMITS}, batch=Batch())
        self.clock_s = 5000.0
        self.latest_s = self.clock_s
        self.paused_until_s = -math.inf
        self.shut = False
        """True after a pause until the first request succeeds."""
        self.first: Permit | None = None
        self.first_left_s = -math.inf
        self.batch_since_s: float | None = None
        self.requests: list[float] = []
        self.tokens: list[list[float]] = []
        self.open: dict[Permit, int] = {}
        self.settled: list[Permit] = []

    def requests_in(self, span_s: float) -> int:
        return sum(at_s + span_s > self.latest_s for at_s in self.requests)

    def tokens_in(self, span_s: float) -> float:
        return sum(amount for at_s, amount in self.tokens if at_s + span_s > self.latest_s)

    def may_go(self) -> bool:
        """Paused, or another request goes first, for two seconds at most."""
        if self.latest_s < self.paused_until_s:
            return False
        if self.first is not None and self.latest_s >= self.first_left_s + 2:
            self.shut = False
        return not self.shut or self.first is None

    def room(self, tokens: int, grain_s: float, *, spare: bool = False) -> bool:
        """`spare`: a fifth of the limits per minute and of the slots, rounded up, stays free."""
        return (
            self.may_go()
            and len(self.open) < 3 - spare
            and self.requests_in(MINUTE_S) + 1 <= 6 - 2 * spare
            and self.tokens_in(MINUTE_S) + tokens <= 100 - 20 * spare
            and self.requests_in(DAY_S + grain_s) + 1 <= 40
            and self.tokens_in(DAY_S + grain_s) + tokens <= 900
        )

    @rule(step_s=steps)
    def time_passes_or_steps_back(self, step_s: float) -> None:
        self.clock_s += step_s
        self.latest_s = max(self.latest_s, self.clock_s)

    @rule(tokens=st.integers(0, 110))
    def acquire(self, tokens: int) -> None:
        self.may_go()
        wait_s = self.quota.wait_s(KEY, Need(tokens), self.clock_s)
        got = self.quota.try_acquire(KEY, Need(tokens), self.clock_s)
        assert (wait_s == 0) == isinstance(got, Permit), "the wait and the quota disagree"
        if isinstance(got, Permit):
            assert self.room(tokens, 0.0), "admitted more than a limit allows"
            self.record_start(got)
        else:
            assert self.corrections or not self.room(tokens, GRAIN_S), "denied without a reason"
            assert math.isinf(wait_s) == (tokens > 100) or self.corrections

    def record_start(self, permit: Permit) -> None:
        self.open[permit] = len(self.tokens)
        self.requests.append(self.latest_s)
        self.tokens.append([self.latest_s, permit.tokens])
        if self.shut:
            self.first, self.first_left_s = permit, self.latest_s

    @rule(tokens=st.integers(0, 110))
    def acquire_for_batch_c6(self, tokens: int) -> None:
        need = Need(tokens, "batch")
        if self.batch_since_s is None:
            self.batch_since_s = self.clock_s
        self.may_go()
        due = self.clock_s >= self.batch_since_s + 10
        wait_s = self.quota.wait_s(KEY, need, self.clock_s)
        got = self.quota.try_acquire(KEY, need, self.clock_s)
        assert (wait_s == 0) == isinstance(got, Permit), "the wait and the quota disagree"
        if isinstance(got, Permit):
            assert self.room(tokens, 0.0, spare=not due)
            self.batch_since_s = self.clock_s
            self.record_start(got)
        else:
            assert self.corrections or not self.room(tokens, GRAIN_S, spare=not due), (
                "denied without a reason"
            )
            assert math.isinf(wait_s) == (tokens > 100) or self.corrections

    @precondition(lambda self: self.open)
    @rule(data=st.data(), true_tokens=st.integers(0, 150))
    def settle(self, data: st.DataObject, true_tokens: int) -> None:
        permit = data.draw(st.sampled_from(list(self.open)))
        self.quota.settle(permit, true_tokens, self.clock_s)
        entry = self.tokens[self.open.pop(permit)]
        if permit is self.first:
            self.first, self.shut = None, self.shut and true_tokens == 0
        self.settled.append(permit)
        if true_tokens > permit.tokens:
            self.tokens.append([self.latest_s, true_tokens - permit.tokens])
        else:
            entry[1] -= permit.tokens - true_tokens

    @precondition(lambda self: self.settled)
    @rule(data=st.data(), true_tokens=st.integers(0, 150))
    def settle_again(self, data: st.DataObject, true_tokens: int) -> None:
        self.quota.settle(data.draw(st.sampled_from(self.settled)), true_tokens, self.clock_s)

    @rule(for_s=st.integers(-8, 120).map(lambda quarters: quarters / 4))
    def pause(self, for_s: float) -> None:
        self.quota.pause(KEY, self.clock_s + for_s, "429")
        if self.clock_s + for_s > max(self.paused_until_s, self.latest_s):
            self.paused_until_s = self.clock_s + for_s
            self.shut, self.first = True, None

    @rule(tokens=st.integers(0, 100))
    def the_reported_wait_is_exact(self, tokens: int) -> None:
        if len(self.open) == 3:
            return
        self.may_go()
        wait_s = self.quota.wait_s(KEY, Need(tokens), self.clock_s)
        got = self.quota.try_acquire(KEY, Need(tokens), self.clock_s)
        if isinstance(got, Permit):
            self.record_start(got)
        elif not self.corrections:
            self.clock_s += wait_s
            self.latest_s = self.clock_s
            assert self.quota.wait_s(KEY, Need(tokens), self.clock_s) == 0
            assert self.may_go()

    @invariant()
    def reports_the_use(self) -> None:
        used = {use.name: use.used for use in self.quota.usage(KEY, self.clock_s)}
        assert used["concurrency"] == len(self.open)
        assert used["requests_per_minute"] >= self.requests_in(MINUTE_S)
        assert used["tokens_per_minute"] >= self.tokens_in(MINUTE_S)
        assert used["requests_per_day"] >= self.requests_in(DAY_S)
        assert used["tokens_per_day"] >= self.tokens_in(DAY_S)
        if not self.corrections:
            assert used["requests_per_minute"] == self.requests_in(MINUTE_S)
            assert used["tokens_per_minute"] == self.tokens_in(MINUTE_S)


class CorrectedQuotaMachine(QuotaMachine):
    """C4: headers may admit fewer requests, never more."""

    corrections = True

    @rule(
        kind=st.sampled_from(["requests", "tokens"]),
        window=st.sampled_from(["minute", "day"]),
        limit=st.none() | st.integers(-1, 2_000),
        remaining=st.none() | st.integers(-1, 2_000),
        reset_s=st.none() | st.integers(0, 90_000).map(float),
    )
    def correct(self, kind, window, limit, remaining, reset_s) -> None:
        observation = Observation(kind=kind, window=window, limit=limit, remaining=remaining, reset_s=reset_s)
        self.quota.correct(KEY, observation, self.clock_s)
        (use,) = [use for use in self.quota.usage(KEY, self.clock_s) if use.name == f"{kind}_per_{window}"]
        if remaining is not None and reset_s != 0:
            assert use.limit - use.used <= max(0, remaining)
        if limit is not None and limit > 0:
            assert use.limit <= limit


TestQuota = QuotaMachine.TestCase
TestCorrectedQuota = CorrectedQuotaMachine.TestCase
