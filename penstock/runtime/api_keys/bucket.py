"""The bucket of API keys: read all records, add one, revoke one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext

from penstock.bus.bucket import Record, read_record, read_records, write_record
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec
from penstock.contract.keys import ApiKey
from penstock.contract.streams import KEYS
from penstock.contract.subjects import is_token

__all__ = ["keys_of", "read_keys", "revoke_key", "store_key"]

_log: Final = rate_limited_logger(__name__)


async def read_keys(nc: Nats) -> list[ApiKey]:
    """All keys that can be read. Raises as `read_records`."""
    return keys_of(await read_records(nc, KEYS))


def keys_of(records: Iterable[Record]) -> list[ApiKey]:
    """The keys of the records that are valid."""
    return [key for key in map(_key, records) if key is not None]


async def store_key(js: JetStreamContext, key: ApiKey, *, replaces: int = 0) -> None:
    """Store a record in place of the one with the stream sequence `replaces`; 0: there is none yet.

    Raises RecordChanged, and nats errors.
    """
    await write_record(js, KEYS, Record(key.prefix, codec.encode(key), replaces))


async def revoke_key(js: JetStreamContext, prefix: str, now_ms: int) -> ApiKey | None:
    """The record as it was, whose key is revoked now; None: there is no valid one. Raises as `store_key`."""
    record = await read_record(js, KEYS, prefix)
    key = _key(record) if record.data else None
    if key is not None and key.revoked_ms is None:
        await store_key(js, replace(key, revoked_ms=now_ms), replaces=record.sequence)
    return key


def _key(record: Record) -> ApiKey | None:
    """None for a record that is not valid, whose key is rejected."""
    try:
        key = codec.API_KEY.decode(record.data)
    except codec.INVALID as error:
        _log.warning("%s/%s does not hold a valid record of a key: %s", KEYS.name, record.key, error)
        return None
    if record.key != key.prefix or not is_token(key.account):
        _log.warning("%s/%s holds a record whose prefix or account is not valid", KEYS.name, record.key)
        return None
    return key
