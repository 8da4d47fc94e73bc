"""F2: the comparisons behind `penstock ledger verify`, each of which can fail."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from penstock.contract.ledger.journal import JournalBatch
from penstock.contract.ledger.spend import SpendRow
from penstock.contract.subjects import SYSTEM_PARTITION
from services.ledger.budget.state import BudgetState
from services.ledger.spend.rows import HOUR_S, settled_row
from services.ledger.verification.comparison import (
    Bookings,
    JournalSums,
    compare_rows,
    compare_states,
    compare_usage,
    recorded_booking,
)
from services.ledger.verification.report import PartitionFindings, Verification
from tests.harness.requests.budget_requests import hold_request, usage_of
from tests.unit.ledger.spend.settlements import HOUR_MS, settled


def sums_of(*entries, written: int = 10, applied: int = 20) -> JournalSums:
    sums = JournalSums(written, applied)
    for sequence, entry in entries:
        sums.add(JournalBatch(entries=(entry,)), sequence)
    return sums


def test_f2_equal_rows_agree_and_each_changed_amount_is_named():
    rows = sums_of((1, settled(1)), (2, settled(2, user="v"))).history()
    assert compare_rows(rows, list(reversed(rows)), "hour", 0) == []
    changed = SpendRow(rows[0].key, replace(rows[0].amounts, input_tokens=11, picousd=8))
    (difference,) = compare_rows(rows, [changed, rows[1]], "hour", 0)
    assert "a/u/-/chat/m" in difference
    assert "input_tokens 10 in the journal, 11 in the history" in difference
    assert "picousd 7 in the journal, 8 in the history" in difference
    assert len(compare_rows(rows, rows[:1], "hour", 0)) == 1
    assert len(compare_rows([], rows, "month", 0)) == 2


def test_f2_hours_of_which_the_journal_has_aged_out_are_not_compared():
    old, new = (settled_row(settled(at_ms=hour * HOUR_MS)) for hour in (3, 4))
    assert compare_rows([new], [old, new], "hour", 4 * HOUR_S) == []
    assert len(compare_rows([new], [old, new], "hour", 3 * HOUR_S)) == 1


def test_f2_written_and_unwritten_spend_are_compared_apart_and_later_entries_not_yet():
    sums = sums_of((10, settled(1)), (11, settled(2)), (20, settled(3)), (21, settled(4)))
    assert [row.amounts.attempts for row in sums.history()] == [1]
    assert [row.amounts.attempts for row in sums.recent()] == [2]


@pytest.fixture
def usage():
    return usage_of(hold_request(1), input_tokens=10, output_tokens=5)


def booked(usage, *more) -> Bookings:
    bookings = Bookings()
    found = recorded_booking(usage)
    first = settled(
        id=found.hold_id, model=found.model, input_tokens=10, output_tokens=5, picousd=usage.cost_picousd
    )
    for entry in (first, *more):
        bookings.add(entry)
    return bookings


def test_f2_usage_that_was_recorded_twice_and_booked_once_agrees(usage):
    assert compare_usage([recorded_booking(usage)] * 2, booked(usage)) == []


def test_f2_a_second_booking_a_missing_one_and_other_amounts_are_named(usage):
    recorded = recorded_booking(usage)
    (twice,) = compare_usage([recorded], booked(usage, settled(id=recorded.hold_id)))
    assert "more than once" in twice
    (missing,) = compare_usage([replace(recorded, attempt=2)], booked(usage))
    assert "recorded and not booked" in missing
    (other,) = compare_usage([replace(recorded, picousd=1)], booked(usage))
    assert "recorded with 10 tokens in, 5 out, 1 picodollars" in other


def test_f2_usage_without_a_hold_is_booked_under_the_address_of_its_request(usage):
    assert recorded_booking(replace(usage, hold_id=None)).hold_id == "shop.app.1"


def test_f2_states_that_differ_are_described_by_account_and_hold():
    one, other = BudgetState(), BudgetState()
    assert compare_states(one.encode(), other.encode()) == []
    for state, picousd in ((one, 7), (other, 8)):
        state.apply(settled(account="shop", user="anna", picousd=picousd, time_zone="", ends=False))
    text = "\n".join(compare_states(one.encode(), other.encode()))
    assert "accounts shop" in text
    assert "by the journal" in text


def test_f2_books_agree_where_no_partition_has_a_difference():
    fine = PartitionFindings(partition=SYSTEM_PARTITION)
    assert Verification(partitions=[fine]).agrees
    assert not Verification(partitions=[PartitionFindings(partition="0", differences=["x"])]).agrees
