"""Dead letters as they are stored: read, found, taken away."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js.errors import APIError, NotFoundError

from penstock.bus.direct_get import NoSuchStream, read_page, sequence_of
from penstock.contract import codec, headers, subjects
from penstock.contract.dead_letters import DeadHistory
from penstock.contract.streams import DEAD
from penstock.contract.subjects import ReplyAddress

__all__ = ["Letter", "every_letter", "find_letter", "letter_of", "remove_letter"]

_BATCH: Final = 200
_NO_SUCH_MESSAGE: Final = frozenset({10043, 10057})
"""JetStream error codes of a deletion: there is no such message any more."""


class Letter(Struct, frozen=True, kw_only=True):
    """What its headers say, as far as they can be read; anybody may have published it."""

    seq: int
    role: str
    at_ms: int
    """When it was buried, Unix milliseconds."""
    code: str
    reason: str
    subject: str
    """Where the original message was."""
    deliveries: str
    stored_ms: str
    reply_to: ReplyAddress | None
    truncated_from: str | None
    """Bytes of the original body, where not all of it was kept."""
    history: DeadHistory
    headers: Mapping[str, str]
    data: bytes

    @property
    def request_id(self) -> str:
        return "" if self.reply_to is None else self.reply_to.id


def letter_of(seq: int, written: Mapping[str, str], data: bytes) -> Letter:
    """`written`: the headers of a message got directly, among them the server's own."""
    history = DeadHistory()
    with contextlib.suppress(msgspec.MsgspecError, UnicodeError):  # then there is nothing to show
        history = codec.DEAD_HISTORY.decode(written.get(headers.DEAD_HISTORY, "{}").encode())
    stamp = written.get("Nats-Time-Stamp", "1970-01-01T00:00:00Z")
    return Letter(
        seq=seq,
        role=subjects.dead_role(written.get("Nats-Subject", "")),
        at_ms=int(datetime.fromisoformat(stamp).timestamp() * 1000),
        code=written.get(headers.DEAD_REASON, ""),
        reason=written.get(headers.DEAD_MESSAGE, ""),
        subject=written.get(headers.DEAD_SUBJECT, ""),
        deliveries=written.get(headers.DEAD_DELIVERIES, ""),
        stored_ms=written.get(headers.DEAD_STORED_MS, ""),
        reply_to=subjects.reply_address(written.get(headers.REPLY_SUBJECT, "")) or _address_in(written, data),
        truncated_from=written.get(headers.DEAD_TRUNCATED),
        history=history,
        headers={name: value for name, value in written.items() if not name.startswith("Nats-")},
        data=data,
    )


async def every_letter(nc: Nats, role: str | None = None) -> AsyncIterator[Letter]:
    """All, or those of a role, oldest first."""
    subject = subjects.DEAD_ALL if role is None else subjects.dead(role)
    sequence = 1
    while True:
        try:
            page = await read_page(nc, DEAD.name, subject, sequence=sequence, batch=_BATCH)
        except NoSuchStream:  # nothing was ever provisioned here
            return
        for msg in page.messages:
            yield _letter(msg)
        if not page.messages or page.pending == 0:
            return
        sequence = page.next_sequence


async def find_letter(nc: Nats, seq: int) -> Letter | None:
    try:
        page = await read_page(nc, DEAD.name, subjects.DEAD_ALL, sequence=seq, batch=1)
    except NoSuchStream:
        return None
    found = next(iter(page.messages), None)
    return None if found is None or sequence_of(found) != seq else _letter(found)


async def remove_letter(nc: Nats, seq: int) -> bool:
    """Delete it for good; False when somebody else did."""
    try:
        return await nc.jetstream().delete_msg(DEAD.name, seq)
    except NotFoundError:
        return False
    except APIError as error:
        if error.err_code in _NO_SUCH_MESSAGE:
            return False
        raise


def _letter(msg: Msg) -> Letter:
    return letter_of(sequence_of(msg), msg.headers or {}, msg.data)


class _Named(Struct):
    id: str = ""
    client: str = ""
    account: str = ""


_named: Final = msgspec.json.Decoder(_Named)


def _address_in(written: Mapping[str, str], data: bytes) -> ReplyAddress | None:
    """A request has no reply header: its body and its subject say it."""
    try:
        named = _named.decode(data)
        account = named.account or subjects.request_address(written.get(headers.DEAD_SUBJECT, "")).account
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    address = ReplyAddress(account, named.client, named.id)
    return address if all(map(subjects.is_token, address)) else None
