"""Reads what the ledger has stored: journal, snapshot and recorded usage, without changing anything."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import msgspec
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from penstock.bus.direct_get import read_all, read_page, sequence_of, stream_position
from penstock.contract import codec, subjects
from penstock.contract.events import UsageRecorded
from penstock.contract.ledger.journal import JournalBatch
from penstock.contract.streams import EVENTS, JOURNAL
from services.ledger.partitions.partition_state import SnapshotContent
from services.ledger.partitions.snapshots import SnapshotStore

__all__ = ["RecordedUsage", "StoredBooks", "journal_base"]


class RecordedUsage(Struct, frozen=True):
    """One message of a partition's usage; `usage` is None for the release of a hold."""

    sequence: int
    at_s: float
    usage: UsageRecorded | None


class StoredBooks:
    def __init__(self, nc: Nats) -> None:
        self._nc = nc
        self._js = nc.jetstream()

    async def journal_oldest_s(self) -> int:
        """When the oldest stored message of any partition was stored, Unix seconds, rounded up; 0: there is none.
        Raises nats errors.
        """
        page = await read_page(self._nc, JOURNAL.name, subjects.JOURNAL_ALL, batch=1)
        return int(_stored_s(page.messages[0].headers or {})) + 1 if page.messages else 0

    async def journal_stored_from(self) -> int:
        """The first stored sequence of the stream: its limits have deleted what was before. Raises nats errors."""
        return (await stream_position(self._nc, JOURNAL.name)).first_sequence

    async def is_stored(self, sequence: int) -> bool:
        """Whether a message of any partition has this sequence in the stream of the journals: then it was not deleted.

        A batch can name such a sequence as the one before it if the stream was deleted and created again: the first
        batch after that names the sequence that the last one had in the earlier stream. Raises nats errors.
        """
        try:
            await self._js.get_msg(JOURNAL.name, sequence)
        except NotFoundError:
            return False
        return True

    async def first_batch(self, partition: str) -> tuple[int, JournalBatch] | None:
        """The oldest stored batch with its sequence; None: there is none. Raises nats errors."""
        async for sequence, batch in self.journal(partition, at_once=1):
            if batch is not None:
                return sequence, batch
        return None

    async def journal(
        self, partition: str, *, at_once: int = 200
    ) -> AsyncIterator[tuple[int, JournalBatch | None]]:
        """Every stored message with its sequence, the oldest first; None: it cannot be read. Raises nats errors."""
        async for message in read_all(self._nc, JOURNAL.name, subjects.journal(partition), batch=at_once):
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


def journal_base(snapshot_sequence: int, saved: int, first: tuple[int, JournalBatch] | None) -> int:
    """What the owner adds to the sequences of the stream. After the stream was created anew, it is saved with the next
    snapshot; until then the oldest batch shows it.

    `saved`: as the snapshot of `snapshot_sequence` has it. `first`: the oldest stored batch and its stream sequence.
    """
    if first is not None and first[1].previous >= saved + first[0]:
        return snapshot_sequence
    return saved


def _stored_s(headers: dict[str, str]) -> float:
    return datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
