"""Changes of the records of a bucket: compare-and-set, then an event for the audit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from msgspec import Struct
from msgspec.structs import replace
from nats.js import JetStreamContext

from penstock.bus.bucket import Record, delete_record, read_record, write_record
from penstock.bus.publish import store
from penstock.contract import codec, subjects
from penstock.contract.streams import BucketSpec

__all__ = ["AuditedRecords", "Author"]

_log: Final = logging.getLogger(__name__)
_EVENT_TIMEOUT_S: Final = 10.0
_Changed = TypeVar("_Changed", bound=Struct)


class _SignedRecord(Protocol):
    """A struct that says who changed it. One with a field `note` keeps the note where a change has none."""

    @property
    def version(self) -> int:
        """Rises by one with each change."""
        ...

    @property
    def changed_by(self) -> str: ...

    @property
    def changed_ms(self) -> int: ...


_Record = TypeVar("_Record", bound=_SignedRecord)


class Author(Struct, frozen=True):
    """Who makes a change, and when."""

    name: str
    at_ms: int


class AuditedRecords(Struct, Generic[_Record, _Changed], frozen=True, kw_only=True):
    """One kind of record of a bucket, and the event of its changes."""

    bucket: BucketSpec
    kind: type[_Record]
    decoded: Callable[[Record], object]
    """The content of a record; raises ValueError if it is not valid."""
    event: Callable[[_Record | None, _Record | None, Author], _Changed]
    """The event of a change from the first to the second."""
    event_kind: str
    """The token of its subject."""

    async def change(
        self,
        js: JetStreamContext,
        key: str,
        change: Callable[[_Record | None], _Record | None],
        author: Author,
    ) -> _Changed | None:
        """Replace the record with this key by the result of `change`, which gets the stored one. None: there is none,
        or it is removed. Returns None, and stores nothing, where nothing would change.

        Raises RecordChanged when another process changed it at the same time, StreamFull, and nats errors.
        """
        stored = await read_record(js, self.bucket, key)
        before = self._content(stored)
        after = change(before)
        if not _differs(stored, before, after):
            return None
        signed = None if after is None else _signed(after, before, author)
        changed = self.event(before, signed, author)
        await self._write(js, stored, signed, changed)
        return changed

    def _content(self, stored: Record) -> _Record | None:
        """None: there is no record, or it is not valid, and the change repairs it."""
        if not stored.data:
            return None
        try:
            found = self.decoded(stored)
        except ValueError as error:
            name = self.bucket.name
            _log.warning("%s/%s holds no valid record and is replaced: %s", name, stored.key, error)
            return None
        return found if isinstance(found, self.kind) else None

    async def _write(
        self, js: JetStreamContext, stored: Record, after: _Record | None, changed: _Changed
    ) -> None:
        """The record before the event: what the history says has happened."""
        if after is None:
            sequence = await delete_record(js, self.bucket, stored)
        else:
            record = Record(stored.key, codec.encode(cast("Struct", after)), stored.sequence)
            sequence = await write_record(js, self.bucket, record)
        message_id = f"{self.bucket.name}.{stored.key}.{sequence}"
        subject = subjects.event(self.event_kind, stored.key)
        await store(js, subject, codec.encode(changed), message_id=message_id, timeout_s=_EVENT_TIMEOUT_S)


def _differs(stored: Record, before: _Record | None, after: _Record | None) -> bool:
    """Whether a change changes more than the signature; the lack of a new note is no change."""
    if before is None or after is None:
        return bool(stored.data) if after is None else True
    return _unsigned(_with_note(after, before)) != _unsigned(before)


def _with_note(after: _Record, before: _Record) -> _Record:
    """`after` with the note of `before` where it has none of its own."""
    note = getattr(before, "note", "")
    return _replaced(after, note=note) if note and not getattr(after, "note", "") else after


def _unsigned(record: _Record) -> _Record:
    return _replaced(record, version=0, changed_by="", changed_ms=0)


def _signed(after: _Record, before: _Record | None, author: Author) -> _Record:
    version = 1 if before is None else before.version + 1
    return _replaced(after, version=version, changed_by=author.name, changed_ms=author.at_ms)


def _replaced(record: _Record, **fields: Any) -> _Record:
    # A record is a Struct and a _SignedRecord; Python has no type for both.
    changed: _Record = replace(cast("Any", record), **fields)
    return changed
