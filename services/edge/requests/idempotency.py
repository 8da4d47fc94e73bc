"""Idempotency keys: every request with one key gets the answer of the first one, at any edge process."""

from __future__ import annotations

import hashlib
from typing import Final, TypeVar

import msgspec
import nats.errors
from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from penstock.bus.clock import loop_now_s
from penstock.bus.jetstream_errors import is_conflict, is_full, is_passing
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import RetryPolicy, retry
from penstock.bus.stored_replies import stored_replies
from penstock.bus.write_check import publish_checked
from penstock.client.submit import Request
from penstock.client.unavailable import cause, reading
from penstock.contract import codec, subjects
from penstock.contract.headers import EXPECTED_LAST
from penstock.contract.idempotency import IdempotencyRecord
from penstock.contract.reply import Failed
from penstock.contract.request import ChatRequest, EmbedRequest
from penstock.contract.streams import IDEMPOTENCY, REPLIES
from penstock.errors import NotAccepted
from penstock.runtime.body_work import in_thread_if_large
from services.edge.auth.identity import Identity
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.http.headers import Header
from services.edge.requests.options import RequestOptions
from services.edge.requests.submission_times import CLAIM_S

__all__ = ["REPLAYED", "IdempotencyKeys", "fingerprint", "idempotency_key"]

_log: Final = rate_limited_logger(__name__)
_HEADER: Final = b"idempotency-key"
_LONGEST: Final = 255
REPLAYED: Final[Header] = (b"idempotent-replayed", b"true")
"""The header of a response whose answer, and cost, are those of an earlier request."""
_STREAM: Final = f"KV_{IDEMPOTENCY.name}"
_TIMEOUT_S: Final = 5.0
_NOT_STORED: Final = (APIError, NoStreamResponseError, nats.errors.Error, TimeoutError)
_Request = TypeVar("_Request", ChatRequest, EmbedRequest)


def idempotency_key(exchange: Exchange) -> str:
    """Empty: the request has none. Raises HttpError (400)."""
    key = exchange.header(_HEADER)
    if not key and any(name == _HEADER for name, _ in exchange.request_headers):
        message = "the idempotency key is empty: send one, or leave the header out"
        raise HttpError.of("invalid_request", message, param=_HEADER.decode())
    if len(key) > _LONGEST:
        message = f"the idempotency key has {len(key):,} characters: use at most {_LONGEST}"
        raise HttpError.of("invalid_request", message, param=_HEADER.decode())
    return key


async def fingerprint(path: str, body: bytes, options: RequestOptions) -> str:
    """What a repeated request must have in common with the first one: its route, its body, and the headers that change
    what the model is given.
    """
    digest = hashlib.sha256(path.encode() + b"\n")
    if options.rag or options.conversation:
        digest.update(msgspec.json.encode((options.rag, options.conversation, options.user)) + b"\n")
    await in_thread_if_large(digest.update, body)
    return digest.hexdigest()


class IdempotencyKeys:
    """The record of a key is written before its request is submitted. Where a record is found without any
    reply, its request is submitted again, under the same message id: it is stored once.
    """

    def __init__(self, nc: Nats) -> None:
        self._nc = nc

    async def claim(self, identity: Identity, key: str, sha256: str, request: _Request) -> _Request:
        """`request` itself where it is the first one with this key or the earlier one has failed; else the same request
        under the address of the earlier one.

        Raises HttpError (422, 429), NotAccepted and StoreUnavailable.
        """
        subject = f"$KV.{IDEMPOTENCY.name}.{_digest(identity, key)}"
        record = IdempotencyRecord(client=request.client, request_id=request.id, sha256=sha256)
        give_up_s = loop_now_s() + CLAIM_S
        replaces = 0
        while True:
            if await self._write(subject, record, replaces, give_up_s):
                return request
            found = await self._read(subject)
            if found is None:
                replaces = 0
                continue
            stored, sequence = found
            if stored.sha256 != sha256:
                raise _other_body()
            if stored.request_id == request.id:  # written, but the acknowledgement was lost
                return request
            if not await self._has_failed(identity.account, stored):
                return replace(request, client=stored.client, id=stored.request_id)
            replaces = sequence

    async def has_reply(self, account: str, request: Request) -> bool:
        """Whether some event of the reply is stored. Raises StoreUnavailable."""
        subject = subjects.reply(account, request.client, request.id)
        with reading(self._nc, f"the reply of request {request.id}", REPLIES.name):
            return bool(await stored_replies(self._nc, subject))

    async def _has_failed(self, account: str, record: IdempotencyRecord) -> bool:
        subject = subjects.reply(account, record.client, record.request_id)
        with reading(self._nc, f"the reply of request {record.request_id}", REPLIES.name):
            events = await stored_replies(self._nc, subject)
        return bool(events) and isinstance(events[-1], Failed)

    async def _write(self, subject: str, record: IdempotencyRecord, replaces: int, give_up_s: float) -> bool:
        """False: another record is there, or this one was written by an attempt that got no acknowledgement."""

        async def publish() -> bool:
            try:
                await publish_checked(
                    self._nc.jetstream(),
                    subject,
                    codec.encode(record),
                    stream=_STREAM,
                    headers={EXPECTED_LAST: str(replaces)},
                    timeout_s=_TIMEOUT_S,
                )
            except APIError as error:
                if is_conflict(error):
                    return False
                if is_full(error):
                    raise _full() from error
                raise
            return True

        try:
            return await retry(
                publish,
                on=_NOT_STORED,
                report=lambda error: _log.info("an idempotency key was not stored yet: %r", error),
                policy=RetryPolicy(timeout_s=give_up_s - loop_now_s()),
                transient=_may_pass,
            )
        except _NOT_STORED as error:
            what = "the idempotency key was not stored"
            raise NotAccepted(what, cause(self._nc, _STREAM, error)) from error

    async def _read(self, subject: str) -> tuple[IdempotencyRecord, int] | None:
        """The record from the leader, and its sequence; None: there is none any more."""
        with reading(self._nc, "the idempotency key", _STREAM):
            try:
                msg = await self._nc.jetstream().get_last_msg(_STREAM, subject, direct=False)
                return codec.IDEMPOTENCY.decode(msg.data or b""), msg.seq or 0
            except NotFoundError:
                return None
            except msgspec.MsgspecError as error:
                raise nats.errors.Error(f"{subject} does not hold a valid record: {error}") from error


def _may_pass(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or (isinstance(error, APIError) and is_passing(error))


def _digest(identity: Identity, key: str) -> str:
    """A key counts for one API key of one account."""
    return hashlib.sha256(msgspec.json.encode((identity.account, identity.key, key))).hexdigest()


def _other_body() -> HttpError:
    message = "this idempotency key was used for another request: send a new key with a changed body or route"
    return HttpError.of("idempotency_key_reused", message, param=_HEADER.decode())


def _full() -> HttpError:
    message = (
        f"{IDEMPOTENCY.max_messages:,} idempotency keys are in use, which is the limit: send the request later, or "
        "without a key"
    )
    return HttpError.of("overloaded", message, retry_after_s=60)
