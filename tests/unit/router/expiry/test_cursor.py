"""The cursor of the expiry sweep: which messages a round reads, and which of them expired."""

from __future__ import annotations

import pytest

from services.router.expiry.cursor import SweepCursor

NOW_MS = 1_000_000


def one_round(cursor: SweepCursor, mailbox: dict[int, int]) -> list[int]:
    """Read `mailbox` (sequence -> deadline) as the router does, and delete the expired messages."""
    read, expired = [], []
    while (wanted := cursor.next_sequence) is not None:
        found = min((sequence for sequence in mailbox if sequence >= wanted), default=None)
        if found is None:
            cursor.end()
        else:
            read.append(found)
            if cursor.visit(found, mailbox[found], NOW_MS):
                expired.append(found)
    for sequence in expired:
        del mailbox[sequence]
    cursor.rotate()
    return read


def test_a_message_within_the_grace_period_is_kept() -> None:
    cursor = SweepCursor()
    assert not cursor.visit(1, NOW_MS - 2_000, NOW_MS)
    assert cursor.visit(2, NOW_MS - 2_001, NOW_MS)
    assert cursor.visit(3, NOW_MS - 1, NOW_MS, grace_ms=0)
    assert cursor.next_sequence == 4


def test_an_empty_mailbox_ends_the_round_and_the_next_starts_at_the_head() -> None:
    cursor = SweepCursor()
    assert one_round(cursor, {}) == []
    assert cursor.next_sequence == 1


def test_expired_messages_are_listed_across_gaps_in_the_sequence() -> None:
    mailbox = {3: 0, 7: NOW_MS, 90: 0}
    assert one_round(SweepCursor(), mailbox) == [3, 7, 90]
    assert mailbox == {7: NOW_MS}


def test_a_round_is_bounded_and_every_round_reads_the_head() -> None:
    cursor = SweepCursor(batch=4)
    mailbox = dict.fromkeys(range(1, 10), NOW_MS)
    assert one_round(cursor, mailbox) == [1, 2, 3, 4]
    assert one_round(cursor, mailbox) == [1, 2, 5, 6]
    assert one_round(cursor, mailbox) == [1, 2, 7, 8]
    assert one_round(cursor, mailbox) == [1, 2, 9]
    assert one_round(cursor, mailbox) == [1, 2, 3, 4]


def test_a_batch_too_small_for_both_halves_is_rejected() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        SweepCursor(batch=1)
