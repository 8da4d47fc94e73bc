"""Snapshots of one partition: a head with parts, replaced by compare-and-set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct
from nats.js.client import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from penstock.bus.freezes import AwakeTimeout
from penstock.bus.jetstream_errors import is_conflict
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import read_from_leader
from penstock.contract import codec, subjects
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.ledger.journal import LedgerSnapshot
from penstock.contract.streams import SNAPSHOTS
from services.ledger.partitions.partition_state import SnapshotContent

__all__ = ["SnapshotDamaged", "SnapshotReplaced", "SnapshotStore"]

_log: Final = rate_limited_logger(__name__)
_PART_BYTES: Final = 512 * 1024
_HEAD: Final = "head"
_ACK_S: Final = 5.0
_READ_S: Final = 5.0
_TRIES: Final = 3
"""A head is read again if its parts are deleted while they are read: it was replaced."""


class SnapshotReplaced(Exception):
    """Another process has stored a snapshot of the partition: the state does not know which spend is in it, and has to
    be loaded again.
    """


class SnapshotDamaged(Exception):
    """A snapshot cannot be read, or its parts are not those of its head."""


class _Head(Struct, frozen=True):
    snapshot: LedgerSnapshot
    revision: int


class SnapshotStore:
    def __init__(self, js: JetStreamContext, partition: str) -> None:
        self._js = js
        self._partition = partition
        self._revision = 0
        """The stream sequence of the head that this process read or stored last."""
        self._tried: list[LedgerSnapshot] = []
        """The heads that it tried to store since; each may be stored."""
        self._begun: set[int] = set()
        """Snapshots of which parts may be stored, and no head."""

    async def load(self) -> SnapshotContent | None:
        """The last snapshot; None: there is none. Raises SnapshotDamaged, and nats errors or TimeoutError."""
        for last_try in (False, False, True):
            head = await self._head()
            if head is None:
                return None
            self._revision = head.revision
            data = await self._parts(head.snapshot)
            if data is not None:
                found = head.snapshot
                return SnapshotContent(found.journal_sequence, found.usage_sequence, data, found.journal_base)
            if last_try:
                break
        raise SnapshotDamaged(f"the snapshot of partition {self._partition} is damaged or incomplete")

    async def store(self, content: SnapshotContent, at_ms: int) -> None:
        """Store a snapshot in place of the last one.

        Raises SnapshotReplaced, and nats errors or TimeoutError; then it may be stored.
        """
        parts = [
            content.data[begin : begin + _PART_BYTES] for begin in range(0, len(content.data), _PART_BYTES)
        ]
        head = LedgerSnapshot(
            journal_sequence=content.journal_sequence,
            usage_sequence=content.usage_sequence,
            parts=len(parts),
            sha256=hashlib.sha256(content.data).hexdigest(),
            at_ms=at_ms,
            journal_base=content.journal_base,
        )
        if self._begun:  # they would fill the stream
            await self._delete_parts(lambda sequence: sequence in self._begun)
            self._begun.clear()
        self._begun.add(head.journal_sequence)
        for number, part in enumerate(parts):
            await self._js.publish(self._part(head, number), part, timeout=_ACK_S)
        self._begun.clear()
        await self._store_head(head)

    async def check_unchanged(self) -> None:
        """Raises SnapshotReplaced if the head is not the one that was read, and nats errors or TimeoutError."""
        head = await self._head()
        if (0 if head is None else head.revision) != self._revision:
            raise SnapshotReplaced(self._partition)

    async def _store_head(self, head: LedgerSnapshot) -> None:
        self._tried.append(head)
        for last_try in (False, True):
            expected = {EXPECTED_LAST: str(self._revision)}
            try:
                ack = await self._js.publish(
                    self._subject(_HEAD), codec.encode(head), timeout=_ACK_S, headers=expected
                )
            except APIError as error:
                if not is_conflict(error) or last_try:
                    raise
                found = await self._head()
                if found is not None and found.snapshot not in self._tried:
                    raise SnapshotReplaced(self._partition) from error
                # It was deleted, or this process stored it and the acknowledgement was lost.
                self._revision = 0 if found is None else found.revision
            else:
                self._revision, self._tried = ack.seq, []
                return

    async def delete_older_parts(self, content: SnapshotContent) -> None:
        """Delete the parts of the snapshots before this one. Later ones are another owner's: this process may have been
        frozen since it stored the head. Raises nats errors or TimeoutError.
        """
        await self._delete_parts(lambda sequence: sequence < content.journal_sequence)

    async def _delete_parts(self, is_old: Callable[[int], bool]) -> None:
        """`is_old`: whether the parts of the snapshot of this sequence are deleted."""
        info = await self._js.stream_info(SNAPSHOTS.name, subjects_filter=self._subject("*"))
        for subject in info.state.subjects or {}:
            number, _, _ = subject.rpartition(".")[2].partition("-")
            if number != _HEAD and is_old(int(number)):
                await self._js.purge_stream(SNAPSHOTS.name, subject=subject)

    async def _head(self) -> _Head | None:
        msg = await read_from_leader(
            lambda: self._js.get_last_msg(SNAPSHOTS.name, self._subject(_HEAD), direct=False),
            f"the snapshot of partition {self._partition}",
            timeout_s=_READ_S,
        )
        if msg is None:
            return None
        try:
            return _Head(codec.SNAPSHOT.decode(msg.data or b""), msg.seq or 0)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise SnapshotDamaged(
                f"the snapshot of partition {self._partition} cannot be read: {error}"
            ) from error

    async def _parts(self, head: LedgerSnapshot) -> bytes | None:
        """None: they are not complete."""
        parts: list[bytes] = []
        for number in range(head.parts):
            try:
                async with AwakeTimeout(_READ_S):
                    msg = await self._js.get_last_msg(SNAPSHOTS.name, self._part(head, number), direct=False)
            except NotFoundError:
                return None
            parts.append(msg.data or b"")
        data = b"".join(parts)
        return data if hashlib.sha256(data).hexdigest() == head.sha256 else None

    def _part(self, head: LedgerSnapshot, number: int) -> str:
        return self._subject(f"{head.journal_sequence}-{number}")

    def _subject(self, part: str) -> str:
        return subjects.snapshot(self._partition, part)
