"""The expiry sweep: its cursor, and the parsed headers of queued work, hostile ones included (D10)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract import headers
from services.router.expiry.sweeper import QueuedMessage, SweepCursor

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


STORED_MS = 1_700_000_000_123
OWN = {"Nats-Subject": "llm.work.chat.batch.0.a7c", "Nats-Time-Stamp": "2023-11-14T22:13:20.123456789Z"}
REPLY = {headers.REPLY_SUBJECT: "llm.reply.demo.me.1"}


def expires_ms(written: dict[str, str], *, known: bool = True) -> int:
    return QueuedMessage.of(7, OWN | written).expires_ms(known=known)


def test_work_expires_at_its_deadline():
    written = REPLY | {headers.DEADLINE_MS: str(STORED_MS + 60_000)}
    assert expires_ms(written) == expires_ms(written, known=False) == STORED_MS + 60_000
    assert QueuedMessage.of(7, OWN | written).address == ("demo", "me", "1")


@pytest.mark.parametrize("deadline", ["9" * 15, str(STORED_MS + 86_400_001)])
def test_a_deadline_is_limited_to_the_longest_wait(deadline: str):
    assert expires_ms(REPLY | {headers.DEADLINE_MS: deadline}) == STORED_MS + 86_400_000


@pytest.mark.parametrize("deadline", ["", "9" * 16, "9" * 5000, "-1", "1.5", "١٢", "\ufffd", "1 2"])
def test_an_unreadable_deadline_expires_soon_or_at_once_without_a_role(
    deadline: str,
):
    written = REPLY | {headers.DEADLINE_MS: deadline}
    assert not QueuedMessage.of(7, OWN | written).readable
    assert expires_ms(written) == STORED_MS + 10_000
    assert expires_ms(written, known=False) == 0


@pytest.mark.parametrize(
    "reply", ["", "llm..x", "nobody.listens", "$JS.API.STREAM.DELETE.LLM_CANCELS", "llm.reply.*.>.x y"]
)
def test_only_a_valid_reply_subject_is_an_address(reply: str):
    written = {headers.DEADLINE_MS: "1", headers.REPLY_SUBJECT: reply}
    assert QueuedMessage.of(7, OWN | written).address is None
    assert expires_ms(written) == STORED_MS + 10_000


@given(deadline=st.text(max_size=30), reply=st.text(max_size=30))
def test_any_headers_can_be_parsed(deadline: str, reply: str):
    assert expires_ms({headers.DEADLINE_MS: deadline, headers.REPLY_SUBJECT: reply}) <= STORED_MS + 86_400_000


@pytest.mark.parametrize("stamp", ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.1Z"])
def test_timestamps_without_trailing_zeros_are_parsed(stamp: str):
    assert QueuedMessage.of(1, OWN | {"Nats-Time-Stamp": stamp}).stored_ms // 1000 == STORED_MS // 1000
