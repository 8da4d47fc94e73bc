"""C3: the forecast that a worker reports, of local counts and of the shared record."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.quota import QuotaLease, QuotaRecord
from penstock.runtime.config.catalogue import Batch, Limits
from services.worker.rate_limit.quota import LocalQuota, Need, Observation, Permit, QuotaKey
from services.worker.rate_limit.quota_forecast import recovery
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.lease_settings import LEASE_SETTINGS, Amounts
from services.worker.rate_limit.record.record_clock import RecordClock
from services.worker.rate_limit.record.record_view import RecordView

KEY = QuotaKey("K", "m")


def test_c3_returns_are_reported_at_the_end_of_their_step() -> None:
    returns = [
        (-1.0, 1),
        (0.2, 2),
        (0.9, 4),
        (1.1, 5),
        (121.0, 2),
        (4000.0, 50),
        (86_400.0, 1),
        (86_401.0, 25),
    ]
    reported = recovery("requests_per_day", 86_400.0, 100, 90, returns)

    assert reported.free == 10
    assert [amount for _, amount in reported.returns] == [7, 5, 2, 50, 1]
    assert [at_ms for at_ms, _ in reported.returns[:3]] == [1000, 2000, 126_000]
    assert 4_000_000 <= reported.returns[3][0] <= 4_200_000
    assert reported.returns[4][0] == 86_400_000


@given(st.lists(st.tuples(st.floats(0, 86_400), st.integers(0, 9))))
def test_c3_a_day_has_few_steps_none_early_and_none_very_late(
    returns: list[tuple[float, int]],
) -> None:
    reported = recovery("requests_per_day", 86_400.0, 100, 90, returns).returns

    assert sum(amount for _, amount in reported) == sum(amount for _, amount in returns)
    assert list(reported) == sorted(reported)
    for after_s, _ in returns:
        back = sum(amount for at_s, amount in returns if at_s <= after_s)
        assert sum(amount for at_ms, amount in reported if at_ms < after_s * 1000) <= back
        latest_ms = after_s * 1000 * 1.05 + 1000
        assert sum(amount for at_ms, amount in reported if at_ms <= latest_ms) >= back


def test_c3_a_heartbeat_stays_small_however_much_is_spent() -> None:
    spent = [(float(after_s), 1) for after_s in range(86_400)]

    assert len(recovery("requests_per_day", 86_400.0, 86_400, 86_400, spent).returns) < 260


def test_c3_a_local_forecast_has_charges_pauses_and_corrections() -> None:
    quota = LocalQuota(
        {KEY: Limits(requests_per_minute=10, tokens_per_minute=1000, concurrency=3)}, batch=Batch()
    )
    for at_s in (100.0, 100.5, 130.0):
        permit = quota.try_acquire(KEY, Need(50), at_s)
        assert isinstance(permit, Permit)
        quota.settle(permit, 40, at_s)
    quota.correct(KEY, Observation(kind="tokens", window="minute", remaining=600, reset_s=20.0), 140.0)
    quota.pause(KEY, 147.0, "429")

    forecast = quota.forecast(KEY, 140.0)
    reported = {each.limit: each for each in forecast.recoveries}

    assert (forecast.paused_s, forecast.concurrency, forecast.source) == (7.0, 3, None)
    assert reported["requests_per_minute"].free == 7
    assert reported["requests_per_minute"].returns == ((20_000, 1), (21_000, 1), (50_000, 1))
    assert reported["tokens_per_minute"].free == 600
    assert reported["tokens_per_minute"].returns == ((20_000, 320), (21_000, 40), (50_000, 40))


def test_c3_a_shared_forecast_has_spending_and_returns_leases_soon() -> None:
    accounting, clock = RecordAccounting(Limits(requests_per_minute=100), LEASE_SETTINGS), RecordClock()
    view = RecordView("me", accounting, clock)
    clock.observe(50_000, 10.0)
    view.record = QuotaRecord(
        at_ms=50_000,
        minute=((20, 30, 0),),
        leases=(
            QuotaLease(holder="me", number=1, until_ms=60_000, requests=8),
            QuotaLease(holder="other", number=1, until_ms=60_000, requests=5),
        ),
    )

    (reported,) = view.recoveries(Amounts(requests=3), 10.0)

    assert (reported.limit, reported.allowed, reported.window_ms) == ("requests_per_minute", 100, 60_500)
    assert reported.free == 100 - 30 - 5 - 3
    assert reported.returns == ((2000, 5), (21_000, 30), (61_000, 3))
