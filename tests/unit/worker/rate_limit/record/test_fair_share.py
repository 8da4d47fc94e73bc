"""C1, C3: shares of a quota go by waiting requests, not by the number of workers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.contract.quota import QuotaLease, QuotaRecord
from penstock.runtime.config.catalogue import Limits
from services.worker.rate_limit.record.accounting import RecordAccounting
from services.worker.rate_limit.record.allocation import LeaseReport, allocate, fair_share
from services.worker.rate_limit.record.lease_settings import LEASE_SETTINGS, Amounts

NOW_MS = 500_000


def waits(holder: str, **queued: int) -> QuotaLease:
    return QuotaLease(
        holder=holder,
        number=1,
        until_ms=NOW_MS + 5000,
        waits_since_ms=NOW_MS - 100,
        queued=tuple(queued.items()),
    )


def test_c3_equal_queues_get_equal_shares_whatever_their_workers():
    chat = waits("a", chat=200)
    coding = [waits(name, coding=200) for name in "bcd"]
    assert fair_share(chat, [chat, *coding]) == pytest.approx(0.5, abs=0.02)
    assert fair_share(coding[0], [chat, *coding]) == pytest.approx(1 / 6, abs=0.01)


def test_c3_a_longer_queue_gets_more():
    chat, coding = waits("a", chat=300), waits("b", coding=100)
    assert fair_share(chat, [coding]) == 0.75
    assert fair_share(coding, [chat]) == 0.25


def test_c3_a_worker_of_several_roles_counts_its_part_of_each():
    everything, chat = waits("a", chat=100, coding=50), waits("b", chat=100)
    assert fair_share(everything, [chat]) == pytest.approx(2 / 3)


def test_c1_an_idle_worker_gets_no_share():
    chat = waits("a", chat=10)
    assert fair_share(chat, [replace(waits("b", chat=10), waits_since_ms=None)]) == 1.0
    assert fair_share(chat, [replace(waits("b", chat=10), waits_since_ms=None, requests=1)]) == 0.5


def test_c1_a_worker_without_a_queue_report_makes_shares_equal():
    older = replace(waits("b"), queued=None)
    assert fair_share(waits("a", chat=1000), [older]) == 0.5


def test_c3_the_longest_waiter_is_served_first_with_only_its_share():
    others = (waits("b", chat=100), waits("c", coding=100), waits("d", coding=100))
    mine = replace(waits("a", chat=100), waits_since_ms=NOW_MS - 300)
    report = LeaseReport(
        holder="a", number=2, first=Amounts(1, 10), want=Amounts(90, 900), queued={"chat": 100}
    )
    accounting = RecordAccounting(Limits(requests_per_minute=100, tokens_per_minute=1000), LEASE_SETTINGS)
    made = allocate(QuotaRecord(at_ms=NOW_MS, leases=(mine, *others)), report, accounting, NOW_MS)
    assert made.held == Amounts(25, 250)


@given(
    st.lists(
        st.none() | st.dictionaries(st.sampled_from(["chat", "coding", "fast"]), st.integers(0, 1 << 53)),
        min_size=1,
        max_size=8,
    )
)
def test_c1_all_shares_add_up_to_one_and_none_is_zero(
    queues: list[dict[str, int] | None],
):
    leases = [
        replace(waits(str(place)), queued=None if queued is None else tuple(queued.items()))
        for place, queued in enumerate(queues)
    ]
    parts = [fair_share(lease, leases) for lease in leases]
    assert sum(parts) == pytest.approx(1.0)
    assert all(0 < part <= 1 for part in parts)
