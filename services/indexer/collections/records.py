"""The records of collections in the bucket `llm_collections`: read from its leader, changed by compare-and-set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import nats.errors

from penstock.bus.bucket import Record, RecordChanged, last_change, read_record, read_records, write_record
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import RetryPolicy, retry
from penstock.contract import codec
from penstock.contract.retrieval.collections import CollectionRecord
from penstock.contract.streams import COLLECTIONS
from penstock.runtime.service import Bus

__all__ = ["CollectionRecords", "RecordsUnavailable"]

_log: Final = rate_limited_logger(__name__)
_UNREADABLE: Final = (nats.errors.Error, TimeoutError)
_NOT_WRITTEN: Final = (RecordChanged, *_UNREADABLE)
"""After all but RecordChanged the record may be stored, which the next attempt reads."""
_RETRY: Final = RetryPolicy(timeout_s=10.0)
"""An election of a leader takes some seconds."""

_Change = Callable[[CollectionRecord | None], CollectionRecord | None]
"""Computes the record to write from the stored one; None leaves the stored one."""


class RecordsUnavailable(Exception):
    """JetStream does not answer, or lacks the bucket."""


class CollectionRecords:
    """Every method raises RecordsUnavailable after some seconds without an answer of JetStream."""

    def __init__(self, bus: Bus, policy: RetryPolicy = _RETRY) -> None:
        self._bus = bus
        self._policy = policy

    async def read(self, account: str, name: str) -> CollectionRecord | None:
        """Raises RecordsUnavailable."""
        return _content(await self._read(account, name))

    async def change(self, account: str, name: str, change: _Change) -> CollectionRecord | None:
        """Write what `change` computes, again after each conflict; returns the record that is stored then.

        Raises RecordsUnavailable also when no write has succeeded within the time of the policy. The record may be
        stored nevertheless.
        """

        async def attempt() -> CollectionRecord | None:
            stored = await self._read(account, name)
            before = _content(stored)
            after = change(before)
            if after is None:
                return before
            await write_record(
                self._bus.js, COLLECTIONS, Record(stored.key, codec.encode(after), stored.sequence)
            )
            return after

        try:
            return await retry(attempt, on=_NOT_WRITTEN, report=_report_write, policy=self._policy)
        except _NOT_WRITTEN as error:
            raise RecordsUnavailable(f"the record of a collection cannot be written: {error!r}") from error

    async def of_account(self, account: str) -> list[CollectionRecord]:
        """Raises RecordsUnavailable."""
        return [record for record in await self.all() if record.account == account]

    async def all(self) -> list[CollectionRecord]:
        """With every change that was stored before the call. Raises RecordsUnavailable."""

        async def read() -> list[Record]:
            last = await last_change(self._bus.nc, COLLECTIONS)
            return await read_records(self._bus.nc, COLLECTIONS, last)

        try:
            found = await retry(read, on=_UNREADABLE, report=_report, policy=self._policy)
        except _UNREADABLE as error:
            raise RecordsUnavailable(f"the records of collections cannot be read: {error!r}") from error
        return [record for each in found if (record := _content(each)) is not None]

    async def _read(self, account: str, name: str) -> Record:
        try:
            return await retry(
                lambda: read_record(self._bus.js, COLLECTIONS, f"{account}.{name}"),
                on=_UNREADABLE,
                report=_report,
                policy=self._policy,
            )
        except _UNREADABLE as error:
            raise RecordsUnavailable(f"the record of a collection cannot be read: {error!r}") from error


def _report(error: Exception) -> None:
    _log.warning("the bucket %s cannot be read now: %r", COLLECTIONS.name, error)


def _report_write(error: Exception) -> None:
    if not isinstance(error, RecordChanged):
        _log.warning("the record of a collection is not known to be stored: %r", error)


def _content(stored: Record) -> CollectionRecord | None:
    """None: there is no record, or none that is valid, which the next change replaces."""
    if not stored.data:
        return None
    try:
        record = codec.COLLECTION_RECORD.decode(stored.data)
    except codec.INVALID as error:
        _log.warning("%s/%s holds no valid record: %s", COLLECTIONS.name, stored.key, error)
        return None
    if stored.key != f"{record.account}.{record.name}":
        return None
    return record
