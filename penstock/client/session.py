"""What every call of a client needs: the connection, the subscription of the replies, and the tracer."""

from __future__ import annotations

from nats.aio.client import Client as Nats

from penstock.bus.trace_names import OPERATION_NAME, REQUEST_ID, ROLE, SPAN_CLIENT
from penstock.bus.tracing import Tracer
from penstock.client.stream import Stream, StreamedRequest
from penstock.client.submit import Request, encode_request, operation_of, role_of, submit
from penstock.client.subscription import ReplySubscription
from penstock.client.timings import ClientTimings
from penstock.errors import ClientClosed, PenstockError

__all__ = ["Session"]


class Session:
    def __init__(
        self, nc: Nats, subscription: ReplySubscription, tracer: Tracer, timings: ClientTimings
    ) -> None:
        self._nc = nc
        self._subscription = subscription
        self._tracer = tracer
        self._timings = timings

    @property
    def name(self) -> str:
        """The token to which replies are addressed."""
        return self._subscription.client_name

    def _check_open(self) -> None:
        if self._nc.is_closed:
            raise ClientClosed

    def _streamed(
        self, request: Request, timeout_s: float | None, *, cancel_on_exit: bool
    ) -> StreamedRequest:
        return StreamedRequest(
            self._nc,
            self._subscription,
            request,
            self._timings.accept_s if timeout_s is None else timeout_s,
            self._timings,
            self._tracer,
            cancel_on_exit,
        )

    def _stream(self, request: Request, timeout_s: float | None, *, cancel_on_exit: bool) -> Stream:
        return Stream(self._streamed(request, timeout_s, cancel_on_exit=cancel_on_exit))

    async def _submit(self, request: Request) -> str:
        """The id of the request, once JetStream has stored it. Raises NotAccepted, RequestTooLarge and ClientClosed."""
        encoded = await encode_request(self._nc, request)
        attributes = {
            OPERATION_NAME: operation_of(request),
            REQUEST_ID: request.id,
            ROLE: role_of(request),
        }
        span = self._tracer.start(SPAN_CLIENT, "client", attributes=dict(attributes))
        outcome: str | None = None
        try:
            await submit(
                self._nc,
                self._subscription.account,
                encoded,
                timeout_s=self._timings.submit_s,
                traceparent=span.traceparent,
            )
        except BaseException as error:
            outcome = error.code if isinstance(error, PenstockError) else type(error).__name__
            raise
        finally:
            span.end(error=outcome)
        return request.id
