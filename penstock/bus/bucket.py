"""Records of a key-value bucket: read all of them without a consumer, and write one by compare-and-set."""

from __future__ import annotations

from typing import Final

import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from penstock.bus.direct_get import last_sequence, read_all, sequence_of
from penstock.bus.jetstream_errors import is_conflict
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.streams import BucketSpec

__all__ = [
    "Record",
    "RecordChanged",
    "delete_record",
    "last_change",
    "read_record",
    "read_records",
    "write_record",
]

_OPERATION: Final = "KV-Operation"
_DELETED: Final = "DEL"
_TIMEOUT_S: Final = 5.0


class RecordChanged(Exception):
    """Another process has written the record first; nothing was stored."""


class Record(Struct, frozen=True):
    """A record as it is stored."""

    key: str
    data: bytes
    sequence: int


async def last_change(nc: Nats, bucket: BucketSpec) -> int:
    """A number that changes with every change in the bucket, read from its leader.

    Raises nats.errors.Error or TimeoutError while the bucket cannot be read.
    """
    return await last_sequence(nc, _stream(bucket), _prefix(bucket) + ">")


async def read_records(nc: Nats, bucket: BucketSpec, until: int = 0) -> list[Record]:
    """All records, with the change of this number. Raises as `last_change`, also where the node that answers does not
    have that change yet.
    """
    found: dict[str, Record | None] = {}
    last, prefix = 0, _prefix(bucket)
    async for msg in read_all(nc, _stream(bucket), prefix + ">"):
        headers, last = msg.headers or {}, sequence_of(msg)
        key = headers["Nats-Subject"].removeprefix(prefix)
        found[key] = None if _OPERATION in headers else Record(key, msg.data, last)
    if last < until:
        raise nats.errors.Error(f"{_stream(bucket)}: this node has not stored its last change yet")
    return [record for record in found.values() if record is not None]


async def read_record(js: JetStreamContext, bucket: BucketSpec, key: str) -> Record:
    """The last record of the key, from the leader. Without data: there is none; its sequence is that of the deletion,
    or 0. Raises nats errors.
    """
    try:
        msg = await js.get_last_msg(_stream(bucket), _prefix(bucket) + key, direct=False)
    except NotFoundError:
        return Record(key, b"", 0)
    return Record(key, b"" if _OPERATION in (msg.headers or {}) else msg.data or b"", msg.seq or 0)


async def write_record(js: JetStreamContext, bucket: BucketSpec, record: Record) -> int:
    """Store `record.data` in place of the record with the sequence `record.sequence`; 0: there is none yet. Returns
    the sequence of the new one.

    Raises RecordChanged, and nats errors.
    """
    return await _publish(js, bucket, record, {})


async def delete_record(js: JetStreamContext, bucket: BucketSpec, record: Record) -> int:
    """Delete the record with this sequence. Returns and raises as `write_record`."""
    return await _publish(js, bucket, Record(record.key, b"", record.sequence), {_OPERATION: _DELETED})


async def _publish(js: JetStreamContext, bucket: BucketSpec, record: Record, headers: dict[str, str]) -> int:
    headers = {**headers, EXPECTED_LAST: str(record.sequence)}
    try:
        ack = await js.publish(_prefix(bucket) + record.key, record.data, timeout=_TIMEOUT_S, headers=headers)
    except APIError as error:
        if is_conflict(error):
            raise RecordChanged(record.key) from error
        raise
    return ack.seq


def _stream(bucket: BucketSpec) -> str:
    return f"KV_{bucket.name}"


def _prefix(bucket: BucketSpec) -> str:
    return f"$KV.{bucket.name}."
