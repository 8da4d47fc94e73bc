"""`POST /v1/embeddings`: a request to an embedding role, whose vectors are sent as they are encoded."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.bus.ids import new_id
from penstock.client.embedding import Embeddings, EmbeddingsBuilder
from penstock.client.stream import Stream
from penstock.contract.names import AUTO, EMBED
from penstock.contract.reply import Failed, ReplyEvent
from penstock.contract.request import EmbedRequest
from penstock.errors import ReplyIncomplete
from penstock.runtime.body_work import in_thread_if_large
from penstock.runtime.config.catalogue import Catalogue
from services.edge.answers.failures import http_error_of_failure
from services.edge.answers.reply_facts import ReplyFacts
from services.edge.answers.reply_sources import joined, submitted
from services.edge.answers.respond import Reply, last_event
from services.edge.auth.authenticator import Authenticator
from services.edge.auth.identity import Identity
from services.edge.auth.misplaced_keys import refuse_key_as
from services.edge.dialects.dialect import InvalidField
from services.edge.embeddings.request import EmbeddingsCall, read_embeddings
from services.edge.embeddings.result import embeddings_json
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.listing.target import Target, target_of
from services.edge.requests.accounts import Accounts
from services.edge.requests.idempotency import REPLAYED, IdempotencyKeys, fingerprint, idempotency_key
from services.edge.requests.options import RequestOptions, options_of, read_options

__all__ = ["EmbeddingsRoute"]

_WHOLE_BYTES: Final = 256 * 1024
"""Bytes of vectors up to which the response is made at once, with its length."""


class _Reader:
    """Folds the reply into vectors; a failure is left to `last_event`."""

    def __init__(self) -> None:
        self._builder = EmbeddingsBuilder()
        self.found: Embeddings | None = None

    def add(self, event: ReplyEvent) -> None:
        if not isinstance(event, Failed):
            self.found = self._builder.add(event) or self.found


class _Prepared(Struct, frozen=True):
    call: EmbeddingsCall
    options: RequestOptions
    request: EmbedRequest
    """Under the address of the earlier one where it is repeated."""
    is_repeated: bool
    cancel_on_exit: bool


class EmbeddingsRoute:
    def __init__(
        self,
        catalogue: Catalogue,
        authenticator: Authenticator,
        accounts: Accounts,
        idempotency: IdempotencyKeys,
        clock: Clock,
    ) -> None:
        self._catalogue = catalogue
        self._authenticator = authenticator
        self._accounts = accounts
        self._idempotency = idempotency
        self._clock = clock

    async def __call__(self, exchange: Exchange) -> None:
        identity = self._authenticator.authenticate(exchange)
        prepared = await self._prepare(exchange, identity)
        account = await self._accounts.get(identity.account)
        request = prepared.request
        facts = ReplyFacts(request.id, None, clock=self._clock)
        reply: Reply
        if prepared.is_repeated:
            reply = joined(account, request, self._idempotency)
        else:
            streamed = account.stream(
                request,
                prepared.options.timeout_s,
                cancel_on_exit=prepared.cancel_on_exit,
                parent=exchange.header(b"traceparent") or None,
            )
            reply = submitted(Stream(streamed), streamed, facts)
        reader = _Reader()
        last = await last_event(exchange, reply, facts, reader.add)
        if isinstance(last, Failed):
            raise http_error_of_failure(last.error)
        if reader.found is None:
            raise ReplyIncomplete(f"the reply of request {request.id} has no end: send it again")
        await _respond(exchange, reader.found, prepared.call)

    async def _prepare(self, exchange: Exchange, identity: Identity) -> _Prepared:
        """Raises HttpError, InvalidField and ClientDisconnected; NotAccepted and StoreUnavailable where the idempotency
        key cannot be stored.
        """
        key = idempotency_key(exchange)
        options = options_of(read_options(exchange.request_headers))
        if options.on_disconnect == "continue" and not key:
            message = (
                "vectors can be read again with an idempotency key only: send one, or leave "
                "x-penstock-on-disconnect out"
            )
            raise HttpError.of("invalid_request", message, param="x-penstock-on-disconnect")
        body = await exchange.body()
        call = await in_thread_if_large(read_embeddings, body)
        target = _target(call.model, self._catalogue)
        first = self._request(call, target, options, identity)
        self._authenticator.authorize(identity, target)
        request = first
        if key:
            sha256 = await fingerprint(exchange.path, body, options)
            request = await self._idempotency.claim(identity, key, sha256, first)
        if request is not first:
            exchange.headers.append(REPLAYED)
        return _Prepared(
            call=call,
            options=options,
            request=request,
            is_repeated=request is not first,
            cancel_on_exit=options.cancels_on_disconnect(can_be_read_later=bool(key)),
        )

    def _request(
        self, call: EmbeddingsCall, target: Target, options: RequestOptions, identity: Identity
    ) -> EmbedRequest:
        """Raises HttpError (400) for an API key in a field that gets into logs."""
        user = identity.user or options.user or call.user
        for each in (user, call.user):
            refuse_key_as("user", each)
        refuse_key_as("model", call.model)
        return EmbedRequest(
            id=new_id(self._clock.unix_ms()),
            client=self._accounts.client_name,
            body=call.body,
            role=EMBED if target.model else target.role,
            model=target.model,
            lane=options.lane,
            user=user,
            key=identity.key,
            timeout_s=options.timeout_s,
        )


def _target(name: str, catalogue: Catalogue) -> Target:
    """`auto` is the role for embeddings. Raises InvalidField for a role with a complexity, which embeddings lack."""
    target = target_of(name, catalogue)
    if target.complexity is not None:
        raise InvalidField("model", f"embeddings have no complexity: write {target.role[:80]!r}")
    return Target(role=EMBED) if target == Target(role=AUTO) else target


async def _respond(exchange: Exchange, found: Embeddings, call: EmbeddingsCall) -> None:
    parts = embeddings_json(found, call.encoding)
    if len(found.data) <= _WHOLE_BYTES:
        await exchange.respond(200, b"".join(parts))
    else:
        await exchange.respond_in_parts(parts)
