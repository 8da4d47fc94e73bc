"""Reads and selects the dead letters of the stream LLM_DEAD."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.direct_get import NoSuchStream, read_all, read_page, sequence_of
from penstock.cli.connection import read_server_clock
from penstock.cli.errors import CommandError
from penstock.contract import codec, headers, subjects
from penstock.contract.headers import DeadHistory
from penstock.contract.streams import DEAD
from penstock.contract.subjects import ReplyAddress

__all__ = ["DeadLetter", "LetterSelection", "parse_letter", "read_letters"]

_BATCH: Final = 200


class DeadLetter(Struct, frozen=True, kw_only=True):
    """One dead letter, as far as its headers can be read: any publisher may have written them."""

    seq: int
    role: str
    at_ms: int
    """When the message was dead-lettered, Unix milliseconds."""
    code: str
    reason: str
    subject: str
    """The subject of the original message."""
    deliveries: str
    stored_ms: str
    reply_to: ReplyAddress | None
    truncated_from: str | None
    """The size of the original body in bytes, where only its beginning was kept."""
    history: DeadHistory
    headers: Mapping[str, str]
    data: bytes

    @property
    def request_id(self) -> str:
        return "" if self.reply_to is None else self.reply_to.id


class LetterSelection(Struct, frozen=True, kw_only=True):
    """The dead letters that a command works on."""

    seqs: tuple[int, ...] = ()
    """Sequence numbers; empty: all letters that pass the other fields."""
    role: str | None = None
    code: str | None = None
    since_s: float | None = None
    """Only letters of the last `since_s` seconds."""


def parse_letter(seq: int, written: Mapping[str, str], data: bytes) -> DeadLetter:
    """`written`: the headers of a direct get, the server's own headers included."""
    history = DeadHistory()
    with contextlib.suppress(
        msgspec.MsgspecError, UnicodeError
    ):  # an unreadable history is shown as an empty one
        history = codec.DEAD_HISTORY.decode(written.get(headers.DEAD_HISTORY, "{}").encode())
    stamp = written.get("Nats-Time-Stamp", "1970-01-01T00:00:00Z")
    return DeadLetter(
        seq=seq,
        role=subjects.dead_role(written.get("Nats-Subject", "")),
        at_ms=int(datetime.fromisoformat(stamp).timestamp() * 1000),
        code=written.get(headers.DEAD_REASON, ""),
        reason=written.get(headers.DEAD_MESSAGE, ""),
        subject=written.get(headers.DEAD_SUBJECT, ""),
        deliveries=written.get(headers.DEAD_DELIVERIES, ""),
        stored_ms=written.get(headers.DEAD_STORED_MS, ""),
        reply_to=subjects.reply_address(written.get(headers.REPLY_SUBJECT, ""))
        or _address_in_body(written, data),
        truncated_from=written.get(headers.DEAD_TRUNCATED),
        history=history,
        headers={name: value for name, value in written.items() if not name.startswith("Nats-")},
        data=data,
    )


async def read_letters(nc: Nats, selection: LetterSelection) -> AsyncIterator[DeadLetter]:
    """The selected letters, oldest first. Raises CommandError for a sequence number that does not exist."""
    for seq in selection.seqs:
        letter = await _find_letter(nc, seq)
        if letter is None:
            raise CommandError(f"there is no dead letter {seq}: it was redriven, dropped, or never existed")
        yield letter
    if selection.seqs:
        return
    since_ms = 0
    if selection.since_s is not None:
        since_ms = (await read_server_clock(nc)).unix_ms() - int(selection.since_s * 1000)
    async for letter in _read_all(nc, selection.role):
        if letter.at_ms >= since_ms and selection.code in {None, letter.code}:
            yield letter


async def _read_all(nc: Nats, role: str | None) -> AsyncIterator[DeadLetter]:
    """All letters, or those of one role, oldest first."""
    subject = subjects.DEAD_ALL if role is None else subjects.dead(role)
    try:
        async for msg in read_all(nc, DEAD.name, subject, batch=_BATCH):
            yield _letter(msg)
    except NoSuchStream:  # this server was never provisioned
        return


async def _find_letter(nc: Nats, seq: int) -> DeadLetter | None:
    try:
        page = await read_page(nc, DEAD.name, subjects.DEAD_ALL, sequence=seq, batch=1)
    except NoSuchStream:
        return None
    found = next(iter(page.messages), None)
    return None if found is None or sequence_of(found) != seq else _letter(found)


def _letter(msg: Msg) -> DeadLetter:
    return parse_letter(sequence_of(msg), msg.headers or {}, msg.data)


class _AddressFields(Struct):
    id: str = ""
    client: str = ""
    account: str = ""


_address_fields: Final = msgspec.json.Decoder(_AddressFields)


def _address_in_body(written: Mapping[str, str], data: bytes) -> ReplyAddress | None:
    """The address in a request's body and subject: a request has no reply header."""
    try:
        fields = _address_fields.decode(data)
        account = fields.account or subjects.request_address(written.get(headers.DEAD_SUBJECT, "")).account
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    address = ReplyAddress(account, fields.client, fields.id)
    return address if all(map(subjects.is_token, address)) else None
