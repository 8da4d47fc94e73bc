"""What a dead letter is sent again as: a job of its own, under an id that follows from the letter.

The old id had its one end, `failed`; nothing may follow it. And nobody waits for an interactive answer any more: so it
becomes a request of the batch lane, whose status and result are kept. One letter always gives the same id, or a redrive
that was interrupted could not be finished without doing it twice.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from penstock.cli.commands.dead_letters import Letter
from penstock.contract import subjects
from penstock.contract.jobs import Job
from penstock.contract.request import ChatRequest
from penstock.contract.work import ChatWork

__all__ = ["Again", "NoRequest", "again"]


class NoRequest(ValueError):
    """It cannot be sent again, and why."""


class Again(Struct, frozen=True):
    """The request, and the record that says it will be sent: written first, it is made once."""

    account: str
    request: ChatRequest
    promise: Job


def again(letter: Letter, now_ms: int) -> Again:
    """The request that the letter becomes. Raises NoRequest."""
    if letter.truncated_from is not None:
        raise NoRequest(f"only the first {len(letter.data):,} of its {letter.truncated_from} bytes were kept")
    account, asked = _content(letter)
    client, role = asked.client, asked.role
    if not (subjects.is_token(account) and subjects.is_token(client)):
        raise NoRequest("its account or client can stand in no subject, so no reply could be sent")
    request = ChatRequest(
        id=_id_of(letter),
        client=client,
        body=asked.body,
        role=role,
        lane="batch",
        user=asked.user,
        degrade=asked.degrade,
        rescue=asked.rescue,
    )
    promise = Job(
        id=request.id,
        client=client,
        account=account,
        user=asked.user,
        role=subjects.token(role),
        state="queued",
        at_ms=now_ms,
        submitted_ms=now_ms,
        redriven_from=letter.seq,
    )
    return Again(account, request, promise)


def _content(letter: Letter) -> tuple[str, ChatWork | ChatRequest]:
    """Whose it is, and what was buried."""
    try:
        found = _decoded(letter.data)
    except RecursionError as error:
        raise NoRequest("it is nested too deeply to be read") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NoRequest(f"it is neither a request nor work: {error}") from error
    if isinstance(found, ChatWork):
        return found.account, found
    try:
        where = subjects.request_address(letter.subject)
    except ValueError as error:
        raise NoRequest(str(error)) from error
    if where.kind != "chat":
        raise NoRequest(f"nobody here answers requests of the kind {where.kind!r}")
    return where.account, found


def _decoded(data: bytes) -> ChatWork | ChatRequest:
    data.decode()  # msgspec checks UTF-8 only in what it decodes
    return _either.decode(data)


_either: msgspec.json.Decoder[ChatWork | ChatRequest] = msgspec.json.Decoder(ChatWork | ChatRequest)


def _id_of(letter: Letter) -> str:
    """A UUIDv7 of the time of the burial, its random part taken from what the letter is."""
    named = f"{letter.seq} {letter.at_ms} {letter.subject} ".encode() + letter.data
    random = int.from_bytes(hashlib.sha256(named).digest()[:10])
    value = ((letter.at_ms & ((1 << 48) - 1)) << 80) | (random & ((1 << 80) - 1))
    value = value & ~(0xF << 76) | (7 << 76)
    value = value & ~(3 << 62) | (2 << 62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
