"""Where each partition stands: its journal, its snapshot and the usage that it has not booked yet."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from penstock.bus.direct_get import read_page
from penstock.contract import codec, subjects
from penstock.contract.events import UsageRecorded
from penstock.contract.streams import EVENTS, JOURNAL, SNAPSHOTS
from services.ledger.verification.stored_books import StoredBooks, journal_base

__all__ = ["PartitionPosition", "read_position"]


class PartitionPosition(Struct, frozen=True, kw_only=True):
    """One partition."""

    partition: str
    journal_sequence: int = 0
    """The last message of its journal, numbered as by its owner and by `ledger verify`; 0: it has none."""
    snapshot_sequence: int = 0
    snapshot_ms: int | None = None
    """When the last snapshot was made; None: there is none."""
    waiting_usage: int = 0
    """Recorded attempts that are not booked yet, as `ledger verify` counts them."""


async def read_position(nc: Nats, partition: str) -> PartitionPosition:
    """Raises nats errors and TimeoutError."""
    js = nc.jetstream()
    journal = await _last(js, JOURNAL.name, subjects.journal(partition))
    head = await _last(js, SNAPSHOTS.name, subjects.snapshot(partition, "head"))
    snapshot = None if head is None else codec.SNAPSHOT.decode(head[1])
    base = 0
    if snapshot is not None:
        first = await StoredBooks(nc).first_batch(partition)
        base = journal_base(snapshot.journal_sequence, snapshot.journal_base, first)
    usage_sequence = 0 if journal is None else _usage_sequence(journal[1])
    return PartitionPosition(
        partition=partition,
        journal_sequence=0 if journal is None else base + journal[0],
        snapshot_sequence=0 if snapshot is None else snapshot.journal_sequence,
        snapshot_ms=None if snapshot is None else snapshot.at_ms,
        waiting_usage=await _recorded_after(nc, partition, usage_sequence),
    )


async def _recorded_after(nc: Nats, partition: str, sequence: int) -> int:
    """The recorded attempts after a sequence of `LLM_EVENTS`; the releases of holds on the same subjects are none."""
    count = 0
    while True:
        page = await read_page(nc, EVENTS.name, subjects.all_usage_of(partition), sequence=sequence + 1)
        count += sum(_is_usage(message.data) for message in page.messages)
        if not page.messages or page.pending == 0:
            return count
        sequence = page.next_sequence - 1


def _is_usage(data: bytes) -> bool:
    try:
        return isinstance(codec.USAGE.decode(data), UsageRecorded)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _usage_sequence(data: bytes) -> int:
    try:
        return codec.JOURNAL.decode(data).usage_sequence
    except msgspec.MsgspecError:
        return 0


async def _last(js: JetStreamContext, stream: str, subject: str) -> tuple[int, bytes] | None:
    try:
        message = await js.get_last_msg(stream, subject, direct=False)
    except NotFoundError:
        return None
    return message.seq or 0, message.data or b""
