"""Rows of settled spend: exact sums per hour and dimension, in little memory."""

from __future__ import annotations

import tracemalloc

import pytest

from penstock.contract.ledger.spend import SpendAmounts, SpendKey, SpendRow
from services.ledger.spend.rows import Pack, SpendRows, decode_rows, encode_rows
from tests.unit.ledger.spend.settlements import HOUR_MS, settled


def rows_of(*entries) -> SpendRows:
    rows = SpendRows()
    for entry in entries:
        rows.add(entry)
    return rows


def test_f5_attempts_of_one_hour_and_user_add_up_exactly():
    rows = rows_of(settled(1), settled(2, completed=False, priced=False, estimated=True, picousd=2**80))
    amounts = SpendAmounts(1, 2, 20, 10, 4, 2, 2**80 + 7, 2, 6, 1, 1)
    assert rows.take() == (SpendRow(SpendKey(5 * 3600, "a", "u", "", "chat", "m"), amounts),)
    assert not rows
    assert rows.take() == ()


@pytest.mark.parametrize(("tokens", "unpriced"), [((0, 0), 0), ((1, 0), 1), ((0, 1), 1)])
def test_f4_an_attempt_without_a_price_counts_as_such_if_it_used_tokens(
    tokens: tuple[int, int], unpriced: int
) -> None:
    rows = rows_of(settled(1), settled(2, priced=False, input_tokens=tokens[0], output_tokens=tokens[1]))
    (row,) = rows.rows()
    assert (row.amounts.attempts, row.amounts.unpriced_attempts) == (2, unpriced)


def test_f5_what_writing_to_a_cache_lost_lowers_what_reading_it_saved():
    rows = rows_of(settled(1, saved_by_cache_picousd=-5), settled(2, saved_by_cache_picousd=3))
    (row,) = decode_rows(encode_rows(rows.take()))
    assert row.amounts.saved_by_cache_picousd == -2


@pytest.mark.parametrize(
    "change",
    [
        {"at_ms": 6 * HOUR_MS},
        {"account": "b"},
        {"user": ""},
        {"key": "k"},
        {"role": "coding"},
        {"model": "n"},
    ],
)
def test_f5_every_dimension_has_rows_of_its_own(change):
    assert len(rows_of(settled(1), settled(2, **change)).take()) == 2


def test_the_end_of_an_hour_belongs_to_it():
    rows = rows_of(settled(at_ms=6 * HOUR_MS - 1), settled(at_ms=6 * HOUR_MS)).take()
    assert [row.key.start_s for row in rows] == [5 * 3600, 6 * 3600]


def test_reading_rows_keeps_them_and_later_settlements_do_not_change_what_was_read():
    rows = rows_of(settled(1))
    before = rows.rows()
    rows.add(settled(2))
    assert before[0].amounts.attempts == 1
    assert rows.rows()[0].amounts.attempts == 2


def test_packed_rows_are_equal_whatever_the_order_and_continue_to_add_up():
    entries = [settled(number, user=f"u{number % 7}", picousd=number) for number in range(50)]
    packs = rows_of(*entries).packs()
    assert packs == rows_of(*reversed(entries)).packs()
    again = SpendRows(packs)
    again.add(settled(99, user="u1", picousd=1_000))
    assert sum(row.amounts.picousd for row in again.take()) == sum(range(50)) + 1_000
    assert not SpendRows(SpendRows().packs())


@pytest.mark.parametrize("data", [b"", b"nonsense", encode_rows([])[:-1]])
def test_other_bytes_are_rejected(data):
    with pytest.raises(ValueError, match="not rows"):
        SpendRows([Pack(0, data)]).rows()


def test_f2_the_rows_of_20_000_users_take_less_than_3_mb():
    tracemalloc.start()
    try:
        rows = SpendRows()
        for number in range(20_000):
            rows.add(settled(number, user=f"user-{number}", picousd=number))
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert used < 3_000_000
    taken = rows.take()
    assert len(taken) == 20_000
    assert sum(row.amounts.picousd for row in taken) == sum(range(20_000))
