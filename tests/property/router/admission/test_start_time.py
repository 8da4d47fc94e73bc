"""C3: the admission decision, for any quota, backlog and deadline."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from hypothesis import assume, given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.contract.names import LANES, RANKS
from penstock.contract.presence import QuotaForecast, Recovery
from services.router.admission.arrival_rates import ArrivalRates
from services.router.admission.queue_position import LaneRank, QuotaSharers
from services.router.admission.quota_curve import quota_curve_of
from services.router.admission.service_curve import TimedQuota, service_curve_of
from services.router.admission.start_time import (
    QuotaPool,
    RoleForecast,
    SlotRate,
    retry_after_s,
    start_time_s,
)
from services.router.queues.backlog import RolesCount
from services.worker.estimates.service_times import ServiceTimes

COUNTED_S = 1000.0
seconds = st.floats(0, 400)
counts = st.integers(0, 900)
lane_ranks = st.builds(LaneRank, st.sampled_from(LANES), st.sampled_from(RANKS))


class FakeBacklog:
    """Requests by role, lane and rank."""

    def __init__(self, counts: Mapping[tuple[str, str, int], int]) -> None:
        self.counts = dict(counts)

    def queued(self, role: str, lane: str) -> int:
        return self.ahead(role, lane, RANKS[-1])

    def queued_of(self, roles: tuple[str, ...]) -> RolesCount:
        return RolesCount(*(sum(self.queued(role, lane) for role in roles) for lane in LANES))

    def ahead(self, role: str, lane: str, rank: int) -> int:
        return sum(self.counts.get((role, lane, each), 0) for each in range(rank + 1))


class Steady(ArrivalRates):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def per_s(self, role: str, lane: str, rank: int) -> float:  # noqa: ARG002 - the signature of ArrivalRates
        return self.rate


@st.composite
def recoveries(draw: st.DrawFn) -> Recovery:
    allowed = draw(st.integers(1, 1000))
    steps = draw(st.dictionaries(st.integers(1, 60), st.integers(1, 200), max_size=8))
    returns, left = [], allowed
    for at_s in sorted(steps):
        amount = min(left, steps[at_s])
        left -= amount
        if amount:
            returns.append((at_s * 1000, amount))
    return Recovery(
        limit="requests_per_minute",
        window_ms=60_000,
        allowed=allowed,
        free=left,
        returns=tuple(returns),
    )


@st.composite
def forecasts(draw: st.DrawFn) -> RoleForecast:
    forecast = QuotaForecast(model="m", source="s", recoveries=(draw(recoveries()),))
    slots, batch = draw(st.integers(1, 64)), draw(st.integers(1, 16))
    per_s = draw(st.one_of(st.just(inf), st.floats(0.5, 200)))
    quota = TimedQuota(quota_curve_of(forecast), COUNTED_S, COUNTED_S + draw(st.floats(0, 60)))
    curve = service_curve_of([quota], draw(st.floats(1, 3)), float(draw(st.integers(0, slots))), per_s)
    assert curve is not None
    sharers = QuotaSharers(
        ("chat", "coding"), float(draw(st.integers(-64, 64))), float(draw(st.integers(0, 9))), batch / slots
    )
    return RoleForecast(
        role="chat",
        lanes={"interactive": SlotRate(slots, per_s), "batch": SlotRate(batch, per_s)},
        longest_s=draw(st.floats(0, 20)),
        pools=(QuotaPool(sharers, curve),),
    )


backlogs = st.dictionaries(
    st.tuples(st.sampled_from(("chat", "coding")), st.sampled_from(LANES), st.sampled_from(RANKS)), counts
).map(FakeBacklog)
more = st.tuples(st.sampled_from(("chat", "coding")), st.sampled_from(RANKS), counts)
rates = st.floats(0, 30).map(Steady)


@given(forecasts(), backlogs, lane_ranks, rates, more)
def test_c3_a_longer_queue_never_means_an_earlier_start(
    forecast: RoleForecast, backlog: FakeBacklog, at: LaneRank, rate: Steady, more: tuple[str, int, int]
) -> None:
    before_s = start_time_s(forecast, backlog, at, rate, COUNTED_S)
    role, rank, number = more

    backlog.counts[role, at.lane, rank] = backlog.counts.get((role, at.lane, rank), 0) + number

    assert start_time_s(forecast, backlog, at, rate, COUNTED_S) >= before_s - 1e-6


@given(recoveries(), st.integers(1, 500), counts, st.floats(1, 200))
def test_c3_more_quota_never_means_a_later_start(
    recovery: Recovery, more: int, position: int, per_s: float
) -> None:
    def begins(free: int) -> float:
        changed = Recovery(
            limit=recovery.limit,
            window_ms=recovery.window_ms,
            allowed=recovery.allowed,
            free=free,
            returns=recovery.returns,
        )
        supply = quota_curve_of(QuotaForecast(model="m", source="s", recoveries=(changed,)))
        curve = service_curve_of([TimedQuota(supply, COUNTED_S, COUNTED_S)], 1.0, 4.0, per_s)
        assert curve is not None
        return curve.start_time_s(position + 1)

    assert begins(recovery.free + more) <= begins(recovery.free) + 1e-6


@given(seconds, seconds, seconds, seconds)
def test_c3_more_time_left_never_leads_to_a_rejection(
    wait_s: float, longest_s: float, left_s: float, more_s: float
) -> None:
    assume(retry_after_s(wait_s, longest_s, left_s) is None)

    assert retry_after_s(wait_s, longest_s, left_s + more_s) is None


@given(seconds, seconds, seconds)
def test_c3_a_retry_after_the_given_delay_is_admitted(wait_s: float, longest_s: float, left_s: float) -> None:
    delay_s = retry_after_s(wait_s, longest_s, left_s)
    assume(delay_s is not None)
    assert delay_s is not None

    assert 0 < delay_s < inf
    assert retry_after_s(max(0.0, wait_s - delay_s), longest_s, left_s) is None


@st.composite
def full_limits(draw: st.DrawFn) -> tuple[Recovery, ...]:
    names = st.sampled_from(
        ("requests_per_minute", "tokens_per_minute", "requests_per_day", "tokens_per_day")
    )
    amounts = draw(st.dictionaries(names, st.integers(1, 1_000_000), min_size=1))
    windows_ms = {"minute": 60_000, "day": 86_400_000}
    return tuple(
        Recovery(limit=name, window_ms=windows_ms[name.rpartition("_")[2]], allowed=allowed, free=allowed)
        for name, allowed in amounts.items()
    )


costs = st.tuples(st.integers(0, 1 << 60), st.floats(1, 3))
"""Mean tokens of a call, and calls per request."""


@given(full_limits(), forecasts(), lane_ranks, rates, seconds, costs)
def test_c3_a_request_is_admitted_when_the_limits_are_full_whatever_requests_have_used(
    limits: tuple[Recovery, ...],
    forecast: RoleForecast,
    at: LaneRank,
    rate: Steady,
    left_s: float,
    cost: tuple[int, float],
) -> None:
    tokens, attempts = cost
    quota = quota_curve_of(QuotaForecast(model="m", source="s", recoveries=limits, tokens_per_call=tokens))
    lane = forecast.lanes[at.lane]
    curve = service_curve_of([TimedQuota(quota, COUNTED_S, COUNTED_S)], attempts, lane.slots, lane.per_s)
    assert curve is not None
    idle = replace(forecast, pools=(QuotaPool(QuotaSharers(("chat",)), curve),))

    wait_s = start_time_s(idle, FakeBacklog({}), at, rate, COUNTED_S) - COUNTED_S

    assert retry_after_s(wait_s, idle.longest_s, left_s) is None


@given(st.lists(st.integers(1, 10_000_000), max_size=80), st.integers(1000, 1_000_000))
def test_c3_small_requests_are_admitted_one_after_another_whatever_earlier_ones_used(
    used: list[int], allowed: int
) -> None:
    """The limit is full at first; nothing of it returns meanwhile."""
    times, small, free = ServiceTimes(), allowed // 100, allowed
    for tokens in used:
        times.record_tokens("m", tokens)
    for _ in range(50):
        limit = Recovery(limit="tokens_per_minute", window_ms=60_000, allowed=allowed, free=free)
        cost = times.mean_tokens("m", allowed)
        quota = quota_curve_of(
            QuotaForecast(model="m", source="s", recoveries=(limit,), tokens_per_call=cost)
        )
        curve = service_curve_of([TimedQuota(quota, COUNTED_S, COUNTED_S)], 1.0, inf, inf)
        assert curve is not None
        assert curve.start_time_s(1) == COUNTED_S
        times.record_tokens("m", small)
        free -= small


@given(forecasts(), lane_ranks, rates, seconds)
def test_c3_an_idle_system_rejects_nothing(
    forecast: RoleForecast, at: LaneRank, rate: Steady, left_s: float
) -> None:
    free = service_curve_of(
        [TimedQuota(quota_curve_of(QuotaForecast(model="m", source="s")), COUNTED_S, COUNTED_S)],
        1.0,
        forecast.lanes[at.lane].slots,
        forecast.lanes[at.lane].per_s,
    )
    assert free is not None
    idle = RoleForecast(
        role="chat",
        lanes=forecast.lanes,
        longest_s=forecast.longest_s,
        pools=(QuotaPool(QuotaSharers(("chat",)), free),),
    )

    wait_s = start_time_s(idle, FakeBacklog({}), at, rate, COUNTED_S) - COUNTED_S

    assert retry_after_s(wait_s, idle.longest_s, left_s) is None


@given(forecasts(), backlogs, lane_ranks, rates)
def test_c3_the_start_time_is_never_before_the_count(
    forecast: RoleForecast, backlog: FakeBacklog, at: LaneRank, rate: Steady
) -> None:
    start_s = start_time_s(forecast, backlog, at, rate, COUNTED_S)

    assert COUNTED_S <= start_s <= inf
