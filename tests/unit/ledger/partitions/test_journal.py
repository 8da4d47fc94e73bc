"""F1: which messages of the journal are deleted soon."""

from __future__ import annotations

import pytest

from penstock.bus.direct_get import StreamPosition
from services.ledger.partitions.journal import JournalRoom


@pytest.mark.parametrize(
    ("used", "limit", "endangered"),
    [(74, 100, 0), (75, 100, 350), (100, 100, 350), (100, -1, 0), (100, 0, 0)],
)
def test_f1_the_oldest_quarter_of_a_journal_is_deleted_soon_when_it_is_nearly_full(
    used: int, limit: int, endangered: int
):
    room = JournalRoom()
    room.observe(StreamPosition(500, 0, first_sequence=300, bytes=used, max_bytes=limit))
    assert room.endangered == endangered
