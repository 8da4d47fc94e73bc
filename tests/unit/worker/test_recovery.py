"""C3: what a worker tells of when its limits give how much, counted for itself and from the shared record."""

from __future__ import annotations

from penstock.config.catalogue import Batch, Limits
from schemas.quota import QuotaLease, QuotaRecord
from services.worker.lease_clock import RecordClock
from services.worker.lease_room import Book
from services.worker.lease_terms import TERMS, Amounts
from services.worker.lease_view import View
from services.worker.quota import LocalQuota, Need, Observation, Permit, QuotaKey
from services.worker.recovery import recovery

KEY = QuotaKey("K", "m")


def test_what_comes_back_within_a_second_is_told_for_its_end_and_what_comes_after_an_hour_is_not() -> None:
    told = recovery("requests_per_day", 86_400.0, 100, 90, [(0.2, 3), (0.9, 4), (1.1, 5), (4000.0, 78)])

    assert told.free == 10
    assert told.returns == ((1000, 7), (2000, 5))


def test_a_worker_that_counts_for_itself_tells_its_charges_pauses_and_the_providers_word() -> None:
    quota = LocalQuota(
        {KEY: Limits(requests_per_minute=10, tokens_per_minute=1000, concurrency=3)}, batch=Batch()
    )
    for at_s in (100.0, 100.5, 130.0):
        permit = quota.try_acquire(KEY, Need(50), at_s)
        assert isinstance(permit, Permit)
        quota.settle(permit, 40, at_s)
    quota.correct(KEY, Observation(kind="tokens", window="minute", remaining=600, reset_s=20.0), 140.0)
    quota.pause(KEY, 147.0, "429")

    outlook = quota.outlook(KEY, 140.0)
    told = {each.limit: each for each in outlook.recoveries}

    assert (outlook.paused_s, outlook.concurrency, outlook.source) == (7.0, 3, None)
    assert told["requests_per_minute"].free == 7
    assert told["requests_per_minute"].returns == ((20_000, 1), (21_000, 1), (50_000, 1))
    assert told["tokens_per_minute"].free == 600
    assert told["tokens_per_minute"].returns == ((20_000, 320), (21_000, 40), (50_000, 40))


def test_the_shared_record_tells_what_is_spent_and_what_others_hold_but_not_our_own_lease() -> None:
    book, clock = Book(Limits(requests_per_minute=100), TERMS), RecordClock()
    view = View("me", book, clock)
    clock.heard(50_000, 10.0)
    view.record = QuotaRecord(
        at_ms=50_000,
        minute=((20, 30, 0),),
        leases=(
            QuotaLease(holder="me", number=1, until_ms=60_000, requests=8),
            QuotaLease(holder="other", number=1, until_ms=60_000, requests=5),
        ),
    )

    (told,) = view.recoveries(Amounts(requests=3), 10.0)

    assert (told.limit, told.allowed, told.window_ms) == ("requests_per_minute", 100, 60_500)
    assert told.free == 100 - 30 - 5 - 3
    assert told.returns == ((21_000, 30), (61_000, 8))
