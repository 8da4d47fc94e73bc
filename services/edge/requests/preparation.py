"""From an HTTP request to a request on the bus: its sender, its options, and whether it was sent before."""

from __future__ import annotations

from msgspec import Struct

from penstock.bus.clock import Clock
from penstock.client.stream import StreamedRequest
from penstock.contract.request import ChatRequest
from penstock.runtime.body_work import in_thread_if_large
from penstock.runtime.config.catalogue import Catalogue
from services.edge.auth.authenticator import Authenticator
from services.edge.dialects.dialect import ChatCall, DialectRoute, InvalidField
from services.edge.http.errors import HttpError
from services.edge.http.exchange import Exchange
from services.edge.listing.target import target_of
from services.edge.requests.accounts import Account, Accounts
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.builder import build
from services.edge.requests.idempotency import REPLAYED, IdempotencyKeys, fingerprint, idempotency_key
from services.edge.requests.options import RequestOptions, options_of, read_options
from services.edge.requests.rescue import RescueChoice, read_rescue

__all__ = ["Preparation", "PreparedRequest"]


class PreparedRequest(Struct, frozen=True, kw_only=True):
    """A request that may be submitted."""

    account: Account
    call: ChatCall
    options: RequestOptions
    rescue: RescueChoice
    request: ChatRequest
    """Under the address of the earlier one where it is repeated."""
    is_repeated: bool
    """An earlier request with the same idempotency key gives the answer."""
    cancel_on_exit: bool
    """Cancel the request where its reply is left before the end."""
    traceparent: str | None
    """That of the caller."""

    @property
    def answer_id(self) -> AnswerId:
        return AnswerId(
            client=self.request.client,
            request_id=self.request.id,
            streamed=self.call.stream,
            rescue=self.rescue.kind,
            include_usage=self.call.include_usage,
            background=self.call.background,
        )

    def to_submit(self) -> StreamedRequest:
        """The request, to be submitted by a `Stream`."""
        return self.account.stream(
            self.request,
            self.options.timeout_s,
            cancel_on_exit=self.cancel_on_exit,
            parent=self.traceparent,
        )


class Preparation:
    """What every route that makes requests does first."""

    def __init__(
        self,
        authenticator: Authenticator,
        accounts: Accounts,
        idempotency: IdempotencyKeys,
        catalogue: Catalogue,
        clock: Clock,
    ) -> None:
        self._authenticator = authenticator
        self._accounts = accounts
        self._idempotency = idempotency
        self._catalogue = catalogue
        self._clock = clock

    async def prepare(self, exchange: Exchange, route: DialectRoute) -> PreparedRequest:
        """Raises HttpError, InvalidField and ClientDisconnected; NotAccepted and StoreUnavailable where the idempotency
        key cannot be stored.
        """
        identity = self._authenticator.authenticate(exchange)
        key = idempotency_key(exchange)
        given = read_options(exchange.request_headers)
        body = await exchange.body()
        call = await in_thread_if_large(route.dialect.read, body)
        is_job = route.is_for_jobs or call.background
        options = options_of(given, lane="batch" if is_job else None)
        _check_is_served(route, call, options)
        target = target_of(call.model, self._catalogue)
        first = build(call, target, options, identity, self._accounts.client_name, self._clock.unix_ms())
        self._authenticator.authorize(identity, target)
        account = await self._accounts.get(identity.account)
        request = first
        if key:
            sha256 = await fingerprint(route.path, body, options)
            request = await self._idempotency.claim(identity, key, sha256, first)
        if request is not first:
            exchange.headers.append(REPLAYED)
        return PreparedRequest(
            account=account,
            call=call,
            options=options,
            rescue=read_rescue(options.rescue or identity.rescue),
            request=request,
            is_repeated=request is not first,
            cancel_on_exit=(call.stream or not is_job)
            and options.cancels_on_disconnect(can_be_read_later=is_job or bool(key)),
            traceparent=exchange.header(b"traceparent") or None,
        )


def _check_is_served(route: DialectRoute, call: ChatCall, options: RequestOptions) -> None:
    """Raises HttpError (400) and InvalidField."""
    if route.is_for_jobs and call.stream:
        raise InvalidField("stream", "a job has no stream: leave stream out, and read the result later")
    if route.resume_query is None and options.on_disconnect == "continue":
        message = f"answers of {route.path} cannot be read again: leave x-penstock-on-disconnect out"
        raise HttpError.of("invalid_request", message, param="x-penstock-on-disconnect")
