"""`penstock dead redrive`: submit the request of a dead letter again, as a job under a new id.

The original id already ended in `failed`, and no event may follow. Its client no longer waits for an interactive
answer, so the request becomes a job, whose status and result are stored. The new id is derived from the letter: an
interrupted redrive is repeated without submitting the request twice.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace
from nats.aio.client import Client as Nats

from penstock.bus.clock import Clock
from penstock.bus.direct_get import delete_message
from penstock.bus.large_bodies import BodyDiffers, BodyLost, delete_body, read_body
from penstock.bus.publish import StreamFull
from penstock.bus.write_check import StreamNotWritable
from penstock.cli.commands.dead import CONNECTION_NAME
from penstock.cli.connection import command_settings, open_connection, read_server_clock
from penstock.cli.dead_letters import DeadLetter, LetterSelection, read_letters
from penstock.cli.errors import CommandError
from penstock.cli.program_name import command_name
from penstock.cli.render.terminal_safe import as_ascii_json, visible
from penstock.client.submit import Request, encode_request, kind_of, role_of, submit
from penstock.contract import subjects
from penstock.contract.jobs import Job
from penstock.contract.names import Kind, implicit_role
from penstock.contract.request import BodyRef, ChatRequest, EmbedRequest, IndexRequest
from penstock.contract.streams import BODIES, DEAD
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from penstock.errors import NotAccepted, RequestTooLarge
from penstock.runtime.jobs.capacity import BoundedJobStore
from penstock.runtime.jobs.transitions import awaits_router, next_record

__all__ = ["NotRedrivable", "RedrivenRequest", "StoredBody", "redrive", "redriven_request"]

_SEND_TIMEOUT_S: Final = 10.0
_BODY_HOURS: Final = BODIES.max_age_s // 3_600


class NotRedrivable(ValueError):
    """A dead letter cannot be submitted again; the text gives the reason."""


class StoredBody(Struct, frozen=True):
    """The body of the dead-lettered request, stored in parts."""

    address: ReplyAddress
    ref: BodyRef


class RedrivenRequest(Struct, frozen=True):
    """The new request, and the job record that is stored before it: the record makes the redrive happen once."""

    account: str
    request: Request
    job: Job
    original_body: StoredBody | None = None
    """Where the body is, if the letter only refers to it."""


def redrive(selection: LetterSelection, data: Path, *, as_json: bool) -> int:
    """Exit code 1 when one letter cannot be submitted again. Raises as `dead.list_letters`."""
    return asyncio.run(_redrive(selection, data, as_json=as_json))


def redriven_request(letter: DeadLetter, now_ms: int) -> RedrivenRequest:
    """The request that the letter becomes. Raises NotRedrivable."""
    if letter.truncated_from is not None:
        raise NotRedrivable(
            f"only the first {len(letter.data):,} of its {letter.truncated_from} bytes were kept"
        )
    account, original = _content(letter)
    client = original.client
    if not (subjects.is_token(account) and subjects.is_token(client)):
        raise NotRedrivable("its account or client is not a valid subject token, so no reply could be sent")
    request = _request(original, _id_of(letter))
    job = Job(
        id=request.id,
        client=client,
        account=account,
        user=original.user,
        role=_role_of(request),
        state="queued",
        at_ms=now_ms,
        submitted_ms=now_ms,
        redriven_from=letter.seq,
    )
    ref = original.body_ref
    stored = None if ref is None else StoredBody(ReplyAddress(account, client, original.id), ref)
    return RedrivenRequest(account, request, job, stored)


def _request(original: ChatWork | Request, request_id: str) -> Request:
    """The request of the dead letter under another id, in the lane of jobs."""
    same: dict[str, Any] = {
        "id": request_id,
        "client": original.client,
        "body": original.body,
        "lane": "batch",
        "user": original.user,
    }
    kind: Kind = original.kind if isinstance(original, ChatWork) else kind_of(original)
    if kind == "index":
        assert isinstance(original, ChatWork | IndexRequest)  # noqa: S101 - no other has this kind
        return IndexRequest(**same, collection=original.collection)
    assert not isinstance(original, IndexRequest)  # noqa: S101
    model = "" if isinstance(original, ChatWork) else original.model
    if kind == "embed":
        assert isinstance(original, ChatWork | EmbedRequest)  # noqa: S101
        return EmbedRequest(**same, role=original.role, model=model, store=original.store)
    assert isinstance(original, ChatWork | ChatRequest)  # noqa: S101
    return ChatRequest(
        **same,
        role=original.role,
        model=model,
        degrade=original.degrade,
        rescue=original.rescue,
        complexity=original.complexity,
        rag=original.rag,
        conversation=original.conversation,
    )


def _role_of(request: Request) -> str:
    """As the record of the job has it before a router decides."""
    model = "" if isinstance(request, IndexRequest) else request.model
    return implicit_role(model) if model else subjects.token(role_of(request))


def _content(letter: DeadLetter) -> tuple[str, ChatWork | Request]:
    """The account and the dead-lettered message."""
    try:
        letter.data.decode()  # msgspec checks UTF-8 only in the fields it decodes
        found = _either.decode(letter.data)
    except RecursionError as error:
        raise NotRedrivable("it is nested too deeply to be read") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise NotRedrivable(f"it is neither a request nor work: {error}") from error
    if isinstance(found, ChatWork):
        return found.account, found
    try:
        address = subjects.request_address(letter.subject)
    except ValueError as error:
        raise NotRedrivable(str(error)) from error
    if address.kind != kind_of(found):
        raise NotRedrivable(f"it is a request of another kind than {address.kind!r}, that of its subject")
    return address.account, found


_either: msgspec.json.Decoder[ChatWork | Request] = msgspec.json.Decoder(ChatWork | Request)


def _id_of(letter: DeadLetter) -> str:
    """A UUIDv7 with the letter's time, and its random part taken from a hash of the letter."""
    named = f"{letter.seq} {letter.at_ms} {letter.subject} ".encode() + letter.data
    random = int.from_bytes(hashlib.sha256(named).digest()[:10])
    value = ((letter.at_ms & ((1 << 48) - 1)) << 80) | (random & ((1 << 80) - 1))
    value = value & ~(0xF << 76) | (7 << 76)
    value = value & ~(3 << 62) | (2 << 62)
    return str(uuid.UUID(int=value))


class _RedriveResult(Struct, omit_defaults=True):
    """The outcome for one letter, also printed as JSON."""

    seq: int
    account: str = ""
    request: str = ""
    before: bool = False
    """True when an earlier, interrupted redrive submitted the request and did not delete the letter."""
    refused: str = ""


async def _redrive(selection: LetterSelection, data: Path, *, as_json: bool) -> int:
    code, settings = 0, command_settings(data)
    async with open_connection(settings, CONNECTION_NAME) as nc:
        server_time = await read_server_clock(nc)
        async for letter in read_letters(nc, selection):
            try:
                redriven = redriven_request(letter, server_time.unix_ms())
                result = await _resubmit(nc, letter.seq, redriven, server_time.clock)
            except NotRedrivable as error:
                code, result = 1, _RedriveResult(letter.seq, refused=str(error))
            print(as_ascii_json(result) if as_json else _result_text(result, settings.account), flush=True)
    return code


async def _resubmit(nc: Nats, seq: int, redriven: RedrivenRequest, clock: Clock) -> _RedriveResult:
    """Store the job record, send the request, delete the letter. Each step may be repeated after an interruption.

    Raises NotRedrivable where a large body is not stored any more.
    """
    old = redriven.original_body
    request = redriven.request if old is None else await _with_body(nc, redriven.request, old)
    try:
        stored = await BoundedJobStore(nc, clock).advance(
            redriven.job.reply_to, lambda job: next_record(job, redriven.job)
        )
        must_send = stored.written or stored.job == redriven.job or _may_be_unsent(stored.job)
        if must_send:
            encoded = await encode_request(nc, request)
            repeated = not stored.written
            await submit(nc, redriven.account, encoded, timeout_s=_SEND_TIMEOUT_S, repeated=repeated)
    except (StreamFull, StreamNotWritable, NotAccepted, RequestTooLarge) as error:
        raise CommandError(
            f"dead letter {seq} cannot be redriven now: {error}; it was not deleted"
        ) from error
    await delete_message(nc, DEAD.name, seq, erase=True)
    if old is not None:
        await delete_body(nc, old.address)
    return _RedriveResult(seq, redriven.account, redriven.request.id, before=not must_send)


async def _with_body(nc: Nats, request: Request, stored: StoredBody) -> Request:
    try:
        return replace(request, body=Raw(await read_body(nc, stored.address, stored.ref)))
    except (BodyLost, BodyDiffers) as error:
        raise NotRedrivable(f"its body, which is stored for {_BODY_HOURS} hours, is gone: {error}") from error


def _may_be_unsent(job: Job | None) -> bool:
    """Whether no router has recorded the job yet, so that its request may never have been sent."""
    return job is not None and awaits_router(job)


def _result_text(result: _RedriveResult, own_account: str) -> str:
    if result.refused:
        return f"{result.seq}: not redriven: {visible(result.refused)}"
    account = "" if result.account == own_account else f"PENSTOCK_ACCOUNT={result.account} "
    command = f"{account}{command_name()} jobs {result.request}"
    if result.before:
        return f"{result.seq}: was redriven before, as {result.request}; see {command}"
    return f"{result.seq}: redriven as {result.request}; see {command}"
