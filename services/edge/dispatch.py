"""The ASGI application: finds the endpoint of a request, and turns every exception into an answer of its dialect."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope, Send

from penstock.bus.clock import Clock
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.masking import without_api_keys
from penstock.contract.errors import ERRORS
from services.edge.answers.failures import http_error_of
from services.edge.dialects.dialect import AnswerError
from services.edge.error_dialects import error_dialect
from services.edge.http.cors import Cors
from services.edge.http.errors import ClientDisconnected, HttpError
from services.edge.http.exchange import Exchange, HttpLimits
from services.edge.http.rejections import log_rejection
from services.edge.http.routes import Endpoint, Match, Routes
from services.edge.metrics import EdgeMetrics

__all__ = ["Dispatcher"]

_log: Final = rate_limited_logger(__name__)
_CLOSED_BY_CLIENT: Final = 499


class Dispatcher:
    def __init__(
        self, routes: Routes, limits: HttpLimits, cors: Cors, metrics: EdgeMetrics, clock: Clock
    ) -> None:
        """`routes`: until `serve`."""
        self._routes = routes
        self._limits = limits
        self._cors = cors
        self._metrics = metrics
        self._clock = clock
        self._open: set[Exchange] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, self._limits, self._clock)
        match = self._routes.find(exchange.method, exchange.path)
        metrics, started_s = self._metrics, self._clock.monotonic_s()
        metrics.open.labels(match.route).inc()
        self._open.add(exchange)
        try:
            await self._answer(exchange, match)
            status = exchange.status
        except ClientDisconnected:
            status = _CLOSED_BY_CLIENT
            _log.info("%s %s: the client closed the connection (499)", exchange.method, match.route)
        finally:
            self._open.discard(exchange)
            exchange.finish()
            metrics.open.labels(match.route).dec()
        self._count(exchange, match.route, status, started_s)

    def serve(self, routes: Routes) -> None:
        """Answer the next requests with other routes."""
        self._routes = routes

    def interrupt_all(self) -> None:
        """End every request in progress with an error."""
        for exchange in tuple(self._open):
            exchange.interrupt()

    def _count(self, exchange: Exchange, route: str, status: int | None, started_s: float) -> None:
        metrics = self._metrics
        metrics.requests.labels(route, str(status)).inc()
        metrics.duration.labels(route).observe(self._clock.monotonic_s() - started_s)
        if exchange.streaming_since_s is not None:
            metrics.first_byte.labels(route).observe(exchange.streaming_since_s - started_s)
        if exchange.is_broken:
            metrics.broken_streams.labels(route).inc()

    async def _answer(self, exchange: Exchange, match: Match) -> None:
        origin = exchange.header(b"origin")
        exchange.headers += self._cors.headers(origin)
        try:
            if exchange.method == "OPTIONS" and match.allowed and self._cors.allows(origin):
                wanted = exchange.header(b"access-control-request-headers")
                exchange.headers += self._cors.preflight(match.allowed, wanted)
                await exchange.respond(204, b"")
            else:
                exchange.parameters = match.parameters
                await self._endpoint(exchange, match)(exchange)
        except ClientDisconnected:
            raise
        except Exception as error:
            await self._refuse(exchange, match, error)

    async def _refuse(self, exchange: Exchange, match: Match, raised: Exception) -> None:
        refusal = http_error_of(raised)
        if refusal is None:
            _log.error(
                "%s %s failed (request %s)",
                *(exchange.method, match.route, exchange.request_id),
                exc_info=raised,
            )
            refusal = HttpError.of("internal", ERRORS["internal"].meaning)
        if exchange.status is not None:  # the missing end of the response shows that it is incomplete
            exchange.is_broken = True
            exchange.abort()
            return
        # A message may quote the request, for example its path.
        message = without_api_keys(refusal.message)
        error = AnswerError(refusal.code, message, refusal.status, refusal.categories)
        body = error_dialect(exchange.path).error(error, refusal.param)
        log_rejection(
            *(exchange.method, match.route, refusal.status, refusal.code),
            request_id=exchange.request_id,
            sender=exchange.sender,
        )
        await exchange.respond(refusal.status, body, headers=refusal.headers)

    def _endpoint(self, exchange: Exchange, match: Match) -> Endpoint:
        """Raises HttpError (404, 405)."""
        if match.endpoint is not None:
            return match.endpoint
        if match.allowed:
            allowed = ", ".join(match.allowed)
            message = f"{exchange.method} is not possible on {match.route}: use {allowed}"
            raise HttpError.of("method_not_allowed", message, headers=((b"allow", allowed.encode()),))
        near = self._routes.similar(exchange.method, exchange.path)
        fix = f"did you mean {near}?" if near else "GET /docs lists all"
        raise HttpError.of("not_found", f"there is no route {exchange.path}: {fix}")
