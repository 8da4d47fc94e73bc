"""C1: a token bucket admits what is refilled and never more, in any order of charges and refunds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.quota import LocalQuota, Need, Permit, QuotaKey
from services.worker.rate_limit.token_bucket import (
    ConstantRefill,
    TokenBucket,
    level_at,
    reaches_level_at,
    refill_returns,
)
from services.worker.rate_limit.window import Charge

KEY = QuotaKey("K", "m")
SPAN_S, CAPACITY = 60.0, 90
ROUNDING = 1e-4
steps = st.integers(min_value=-40, max_value=600).map(lambda quarters: quarters / 4)
entries = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 40)), max_size=12).map(
    lambda found: [(at / 4, float(amount)) for at, amount in sorted(found)]
)


def true_level(log: list[list[float]], now_s: float) -> float:
    level, at_s = 0.0, 0.0
    for charged_s, amount in [*log, [now_s, 0.0]]:
        level = max(0.0, level - CAPACITY / SPAN_S * (charged_s - at_s)) + amount
        at_s = charged_s
    return level


class BucketMachine(RuleBasedStateMachine):
    """Compares with a naive log that keeps every entry."""

    def __init__(self) -> None:
        super().__init__()
        self.bucket = TokenBucket(CAPACITY, SPAN_S)
        self.clock_s = self.latest_s = 1000.0
        self.log: list[list[float]] = []
        self.made: list[tuple[Charge, list[float]]] = []

    @rule(step_s=steps)
    def time_passes_or_steps_back(self, step_s: float) -> None:
        self.clock_s += step_s
        self.latest_s = max(self.latest_s, self.clock_s)

    @rule(amount=st.integers(0, 50))
    def charge(self, amount: int) -> None:
        charge = self.bucket.charge(amount, self.clock_s)
        self.log.append([self.latest_s, float(amount)])
        self.made.append((charge, self.log[-1]))

    @precondition(lambda self: self.made)
    @rule(data=st.data())
    def refund(self, data: st.DataObject) -> None:
        charge, entry = data.draw(st.sampled_from(self.made))
        back = data.draw(st.integers(0, int(entry[1])))
        self.bucket.refund(charge, back, self.clock_s)
        entry[1] -= back

    @invariant()
    def counts_at_least_the_truth(self) -> None:
        assert self.bucket.used(self.clock_s) >= true_level(self.log, self.latest_s) - ROUNDING

    @rule(level=st.integers(0, 90))
    def it_falls_to_a_level_when_reported(self, level: int) -> None:
        at_s = self.bucket.falls_to_at_s(level, self.clock_s)
        assert at_s >= self.clock_s
        self.clock_s = self.latest_s = max(self.latest_s, at_s)
        assert self.bucket.used(self.clock_s) <= level


TestTokenBucket = BucketMachine.TestCase


@given(charges=entries, later=st.integers(0, 8), now=st.integers(0, 500))
def test_c1_a_charge_with_a_later_instant_never_counts_less(
    charges: list[tuple[float, float]], later: int, now: int
) -> None:
    refill, now_s = ConstantRefill(1.5), now / 4
    made = [charge for charge in charges if charge[0] <= now_s]
    late = [(at_s + later / 4, amount) for at_s, amount in made]
    assert level_at(late, refill, now_s) >= level_at(made, refill, now_s) - ROUNDING
    assert level_at(late, refill, now_s) <= level_at(made, refill, now_s) + 1.5 * later / 4 + ROUNDING


@given(charges=entries, level=st.integers(0, 60), now=st.integers(0, 400))
def test_c3_a_level_is_reached_when_forecast_and_not_before(
    charges: list[tuple[float, float]], level: int, now: int
) -> None:
    refill, now_s = ConstantRefill(1.5), now / 4
    at_s = reaches_level_at(charges, refill, level, now_s)
    assert at_s is not None
    assert level_at(charges, refill, at_s) <= level + ROUNDING
    if at_s > now_s:
        assert level_at(charges, refill, at_s - 0.01) > level
    assert reaches_level_at(charges, refill, -1, now_s) is None


@given(level=st.floats(0, 240), per_s=st.floats(0.05, 50), within_s=st.integers(1, 60))
def test_c3_a_forecast_never_exceeds_the_refill(level: float, per_s: float, within_s: int) -> None:
    reported = sum(amount for after_s, amount in refill_returns(level, per_s, 60.0) if after_s <= within_s)
    assert reported <= per_s * within_s + 1
    assert reported >= per_s * (within_s - 2) - 1


def test_c1_a_full_bucket_is_used_at_once_and_then_by_its_refill() -> None:
    quota = LocalQuota(
        {KEY: Limits(requests_per_minute=240, tokens_per_day=10**9, kind="token_bucket")}, batch=Batch()
    )
    record_start = [0.0]
    while len(record_start) <= 400:
        asked = quota.try_acquire(KEY, Need(1), record_start[-1])
        record_start.append(record_start[-1] + quota.wait_s(KEY, Need(1), record_start[-1]))
        if not isinstance(asked, Permit):
            record_start.pop(-2)
            assert isinstance(quota.try_acquire(KEY, Need(1), record_start[-1]), Permit)
            record_start.append(record_start[-1])
    assert record_start[239] == 0.0
    assert 39 <= record_start[-1] <= 41
