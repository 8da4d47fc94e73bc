"""Reads what the ledger has stored: journal, snapshot and recorded usage, without changing anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
from msgspec import Struct
from nats.aio.client import Client as Nats

from penstock.bus.direct_get import read_all, sequence_of
from penstock.contract import codec, subjects
from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.journal import JournalBatch
from penstock.contract.streams import EVENTS, JOURNAL
from services.ledger.partitions.partition_state import SnapshotContent
from services.ledger.partitions.snapshots import SnapshotStore

__all__ = ["JournalExtent", "RecordedUsage", "StoredBooks"]


class JournalExtent(Struct, frozen=True):
    """Which part of the journal is still stored."""

    is_complete: bool
    """Nothing has been deleted since the first message."""
    oldest_s: int
    """When the oldest stored message was stored, Unix seconds, rounded up."""
    deleted: int
    """Messages that are missing between stored ones."""


class RecordedUsage(Struct, frozen=True):
    """One message of a partition's usage; `usage` is None for the release of a hold."""

    sequence: int
    at_s: float
    usage: UsageRecorded | None


class StoredBooks:
    def __init__(self, nc: Nats) -> None:
        self._nc = nc
        self._js = nc.jetstream()

    async def journal_extent(self) -> JournalExtent:
        """Raises nats errors."""
        state = (await self._js.stream_info(JOURNAL.name)).state
        oldest_s = 0
        if state.messages:
            async for message in read_all(self._nc, JOURNAL.name, subjects.JOURNAL_ALL, batch=1):
                oldest_s = int(_stored_s(message.headers or {})) + 1
                break
        return JournalExtent(
            is_complete=state.first_seq <= 1, oldest_s=oldest_s, deleted=state.num_deleted or 0
        )

    async def journal(self, partition: str) -> AsyncIterator[tuple[int, JournalBatch | None]]:
        """Every stored message with its sequence, the oldest first; None: it cannot be read. Raises nats errors."""
        async for message in read_all(self._nc, JOURNAL.name, subjects.journal(partition), batch=200):
            try:
                yield sequence_of(message), codec.JOURNAL.decode(message.data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                yield sequence_of(message), None

    async def usage(self, partition: str) -> AsyncIterator[RecordedUsage]:
        """The stored usage of a partition in order; what cannot be read is skipped, as the ledger does.

        Raises nats errors.
        """
        async for message in read_all(self._nc, EVENTS.name, subjects.all_usage_of(partition)):
            try:
                event = codec.USAGE.decode(message.data)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            usage = event if isinstance(event, UsageRecorded) else None
            yield RecordedUsage(sequence_of(message), _stored_s(message.headers or {}), usage)

    async def snapshot(self, partition: str) -> SnapshotContent | None:
        """The last snapshot; None: there is none. Raises SnapshotDamaged, and nats errors."""
        return await SnapshotStore(self._js, partition).load()


def _stored_s(headers: dict[str, str]) -> float:
    return datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
