"""The journal of one partition: appended by one writer, which the expected last sequence fences, and read by the next
owner.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.msg import Msg
from nats.js.errors import APIError, NoStreamResponseError

from penstock.bus.clock import loop_now_s
from penstock.bus.direct_get import (
    StreamPosition,
    first_from,
    last_sequence,
    read_page,
    sequence_of,
    stream_position,
)
from penstock.bus.jetstream_errors import is_conflict, is_passing
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec, subjects
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.ledger.journal import JournalBatch
from penstock.contract.streams import JOURNAL
from penstock.runtime.service import Bus

__all__ = ["Fenced", "Journal", "JournalDamaged", "JournalLost", "JournalRoom", "NotStored"]

_log: Final = rate_limited_logger(__name__)
_ACK_S: Final = 1.0
_GIVE_UP_S: Final = 3.0
"""Seconds after which a batch that JetStream does not acknowledge is given up; the requests are asked again anyway."""
_PAUSE_S: Final = 0.05
_PAGE: Final = 100
_PAGE_BYTES: Final = 512 * 1024
"""Batches and bytes that are read at once."""
_LAGGING_S: Final = 3.0
"""Seconds for which a node that answers may lag behind the leader."""
_NO_ANSWER: Final = (nats.errors.Error, TimeoutError, OSError)
_NEARLY_FULL: Final = 0.75
"""The share of the stream's bytes from which on its oldest messages count as deleted soon."""
_BATCH: Final = JournalBatch.__struct_config__.tag


class Fenced(Exception):
    """Another process has written to the journal: it owns the partition."""


class JournalDamaged(Exception):
    """What the partition has spent cannot be computed: a batch is missing or cannot be read. The message says what to
    do.
    """


class JournalLost(Fenced):
    """The last batch of this process is not in the journal any more, and no other batch was written after it."""


class NotStored(Exception):
    """A batch could not be stored."""

    def __init__(self, reason: str, *, certain: bool) -> None:
        """`certain`: it is not stored; otherwise it may be."""
        super().__init__(reason)
        self.certain = certain


class _Kind(Struct):
    """The field of a message that says what it is."""

    type: str = ""


_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode_kind: Final = msgspec.json.Decoder(_Kind).decode


class JournalRoom:
    """As the stream of the journals was seen last. What it deletes must be in a snapshot by then."""

    def __init__(self) -> None:
        self.endangered = 0
        """The last of the messages that are deleted soon: the oldest quarter of those that are stored; 0: none."""

    def observe(self, stream: StreamPosition) -> None:
        oldest = stream.first_sequence + (stream.last_sequence - stream.first_sequence) // 4
        self.endangered = oldest if stream.fill >= _NEARLY_FULL else 0


class Journal:
    def __init__(self, bus: Bus, partition: str) -> None:
        self._bus = bus
        self._partition = partition
        self._subject = subjects.journal(partition)
        self._base = 0
        """Added to the sequences of the stream; see `LedgerSnapshot.journal_base`."""

    async def continue_after(self, snapshot_sequence: int, base: int) -> int:
        """Number the entries so that they follow a snapshot. Returns the base, which is another one if the stream was
        created anew since. Raises nats.errors.Error or TimeoutError.
        """
        end = base + (await stream_position(self._bus.nc, JOURNAL.name)).last_sequence
        if end < snapshot_sequence:
            _log.error(
                "%s ends before the snapshot of partition %s (%d instead of %d): it was deleted and created again. "
                "Holds since the snapshot are lost; usage since it is read and booked again",
                *(JOURNAL.name, self._partition, end, snapshot_sequence),
            )
            base = snapshot_sequence
        self._base = base
        return base

    async def append(self, batch: JournalBatch, expected: int) -> int:
        """Store a batch if the last message has the sequence `expected`; returns the sequence of the batch.

        Raises Fenced if another message is there, JournalLost if none is, and NotStored.
        """
        data = codec.encode(batch)
        headers = {EXPECTED_LAST: str(expected - self._base)}
        give_up_s = loop_now_s() + _GIVE_UP_S
        certain = True
        while True:
            try:
                ack = await self._bus.js.publish(self._subject, data, timeout=_ACK_S, headers=headers)
            except APIError as error:
                if is_conflict(error):
                    return await self._own_sequence(data, expected)
                failure: Exception = error
                if not is_passing(error) or loop_now_s() > give_up_s:
                    raise NotStored(str(error.description), certain=certain) from error
            except NoStreamResponseError as error:
                failure = error
            except _NO_ANSWER as error:
                failure, certain = error, False
            else:
                return self._base + int(ack.seq)
            if loop_now_s() > give_up_s:
                raise NotStored(repr(failure), certain=certain)
            _log.warning("the journal does not acknowledge yet: %r; sending the batch again", failure)
            await asyncio.sleep(_PAUSE_S)

    async def _own_sequence(self, data: bytes, expected: int) -> int:
        """The sequence of this batch, if an earlier attempt to store it succeeded and its acknowledgement was lost.

        Raises Fenced, JournalLost, and NotStored when the journal cannot be read.
        """
        try:
            begin = expected - self._base + 1
            found = await first_from(self._bus.nc, JOURNAL.name, self._subject, begin, timeout_s=_ACK_S)
        except _NO_ANSWER as error:
            raise NotStored(repr(error), certain=False) from error
        if found is None:
            raise JournalLost(
                f"{self._subject} does not have what was stored last: it was deleted, purged or created again"
            )
        if found.data != data:
            raise Fenced(self._subject)
        return self._base + found.seq

    async def last_sequence(self) -> int:
        """The sequence of the last message, or the base if there is none. Raises nats.errors.Error or TimeoutError."""
        return self._base + await last_sequence(self._bus.nc, JOURNAL.name, self._subject)

    async def read_after(self, sequence: int) -> AsyncIterator[tuple[int, JournalBatch | None]]:
        """The messages after `sequence` up to the last one that the leader has now; None: no ledger wrote it.

        Raises JournalDamaged, and nats.errors.Error or TimeoutError.
        """
        last = await self.last_sequence()
        give_up_s = loop_now_s() + _LAGGING_S
        while sequence < last:
            page = await read_page(
                self._bus.nc,
                JOURNAL.name,
                self._subject,
                sequence=sequence - self._base + 1,
                batch=_PAGE,
                max_bytes=_PAGE_BYTES,
            )
            for msg in page.messages:
                sequence = self._base + sequence_of(msg)
                yield sequence, self._decoded(msg)
            if page.messages:
                give_up_s = loop_now_s() + _LAGGING_S
            elif loop_now_s() > give_up_s:
                raise nats.errors.Error(f"{self._subject}: message {last} cannot be read")
            else:
                await asyncio.sleep(_PAUSE_S)

    def _decoded(self, msg: Msg) -> JournalBatch | None:
        """Raises JournalDamaged for a batch that this version cannot read."""
        try:
            return codec.JOURNAL.decode(msg.data)
        except _UNREADABLE as error:
            problem = f"message {sequence_of(msg)} of {self._subject} cannot be read: {error}"
            if _is_batch(msg.data):
                raise JournalDamaged(
                    f"{problem}. If a newer version of the ledger wrote it, start that version; if no ledger wrote it, "
                    f"delete it: nats stream rmm {JOURNAL.name} {sequence_of(msg)}"
                ) from error
            _log.error("%s; it is skipped, because no ledger wrote it", problem)
            return None


def _is_batch(data: bytes) -> bool:
    try:
        return _decode_kind(data).type == _BATCH
    except _UNREADABLE:
        return False
