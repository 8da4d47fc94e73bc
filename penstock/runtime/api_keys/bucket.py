"""The bucket of API keys: read all records, add one, revoke one."""

from __future__ import annotations

from typing import Final

import msgspec
import nats.errors
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.js import JetStreamContext
from nats.js.errors import APIError, NotFoundError

from penstock.bus.direct_get import last_sequence, read_all, sequence_of
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import WRONG_LAST_SEQUENCE
from penstock.contract import codec
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.keys import ApiKey
from penstock.contract.streams import KEYS
from penstock.contract.subjects import is_token

__all__ = ["KeyChanged", "last_change", "read_keys", "revoke_key", "store_key"]

_log: Final = rate_limited_logger(__name__)
_STREAM: Final = f"KV_{KEYS.name}"
_PREFIX: Final = f"$KV.{KEYS.name}."
_ALL: Final = f"{_PREFIX}>"
_OPERATION: Final = "KV-Operation"
_TIMEOUT_S: Final = 5.0


class KeyChanged(Exception):
    """Another process has written the record first; nothing was stored."""


async def last_change(nc: Nats) -> int:
    """A number that changes with every change in the bucket, read from its leader.

    Raises nats.errors.Error or TimeoutError while the bucket cannot be read.
    """
    return await last_sequence(nc, _STREAM, _ALL)


async def read_keys(nc: Nats, until: int = 0) -> list[ApiKey]:
    """All keys that can be read, with the change of this number. Raises as `last_change`, also where the node that
    answers does not have that change yet.
    """
    found: dict[str, ApiKey | None] = {}
    last = 0
    async for msg in read_all(nc, _STREAM, _ALL):
        headers = msg.headers or {}
        subject, is_deleted = headers["Nats-Subject"], _OPERATION in headers
        found[subject] = None if is_deleted else _record(subject, msg.data)
        last = sequence_of(msg)
    if last < until:
        raise nats.errors.Error(f"{_STREAM}: this node has not stored its last change yet")
    return [key for key in found.values() if key is not None]


async def store_key(js: JetStreamContext, key: ApiKey, *, replaces: int = 0) -> None:
    """Store a record in place of the one with the stream sequence `replaces`; 0: there is none yet.

    Raises KeyChanged, and nats errors.
    """
    headers = {EXPECTED_LAST: str(replaces)}
    try:
        await js.publish(_PREFIX + key.prefix, codec.encode(key), timeout=_TIMEOUT_S, headers=headers)
    except APIError as error:
        if error.err_code == WRONG_LAST_SEQUENCE:
            raise KeyChanged(key.prefix) from error
        raise


async def revoke_key(js: JetStreamContext, prefix: str, now_ms: int) -> ApiKey | None:
    """The record as it was, whose key is revoked now; None: there is no valid one. Raises as `store_key`."""
    try:
        msg = await js.get_last_msg(_STREAM, _PREFIX + prefix, direct=False)
    except NotFoundError:
        return None
    # The marker of a deletion has no data.
    key = _record(_PREFIX + prefix, msg.data) if msg.data else None
    if key is not None and key.revoked_ms is None:
        await store_key(js, replace(key, revoked_ms=now_ms), replaces=msg.seq or 0)
    return key


def _record(subject: str, data: bytes) -> ApiKey | None:
    """None for a record that is not valid, whose key is rejected."""
    try:
        key = codec.API_KEY.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        _log.warning("%s does not hold a valid record of a key: %s", subject, error)
        return None
    if subject != _PREFIX + key.prefix or not is_token(key.account):
        _log.warning("%s holds a record whose prefix or account is not valid", subject)
        return None
    return key
