"""The connection to NATS: reconnects without limit and logs each loss."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus import nats_patches
from penstock.bus.auth import NatsAuth
from penstock.bus.freezes import watch_freezes
from penstock.bus.masking import without_userinfo
from penstock.bus.server_address import servers_of
from penstock.contract.streams import MAX_PAYLOAD_BYTES, MAX_PAYLOAD_SETTING
from penstock.errors import BrokerRefused, BrokerUnreachable

__all__ = [
    "ConnectionEvents",
    "close",
    "connect",
    "discard_and_close",
    "flush_failure",
    "options",
    "warn_of_small_messages",
]

_log: Final = logging.getLogger(__name__)
_RECONNECT_WAIT_S: Final = 0.25
_LOG_AGAIN_S: Final = 10.0
_PING_INTERVAL_S: Final = 10
_FLUSH_S: Final = 2
_PENDING_BYTES: Final = 32 * 1024 * 1024
"""Bytes that may be published while disconnected before publishing fails; nats-py's own default is 2 MiB."""

_ONE_ATTEMPT: Final = {"allow_reconnect": False, "max_reconnect_attempts": 1}
"""With -1, nats-py repeats the first connection attempt without limit, whatever `allow_reconnect` is."""

_BROKEN: Final = (OSError, TimeoutError, nats.errors.UnexpectedEOF, nats.errors.StaleConnectionError)
"""Errors of a connection that ended or could not be made; the loss and the reconnection are logged apart."""
_TRYING: Final = (
    "; trying again until it answers: check that the server runs (`penstock up` starts one) and that NATS_URL is its "
    "address"
)
_CONNECTION_ENDED: Final = (ConnectionError, nats.errors.UnexpectedEOF)
"""Errors of a server that ended the connection during the handshake."""

Listener = Callable[[], Awaitable[None]]


class ConnectionEvents:
    """Callbacks of one connection: logs its losses and calls each registered listener after a reconnection.

    `url`: the servers, for log lines, which mask user names and passwords.
    """

    def __init__(self, url: str = "") -> None:
        self._server = f"NATS at {without_userinfo(url)}" if url else "NATS"
        self._listeners: list[Listener] = []
        self._log_again_s: dict[str, float] = {}
        self.closing = False
        """The owner is closing the connection; its loss is not logged."""

    def add_reconnect_listener(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def remove_reconnect_listener(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    async def reconnected(self) -> None:
        """Call all listeners at once. One that fails stops neither the others nor nats-py."""
        _log.info("connected to NATS again", extra={"fields": {"connection": "again"}})
        outcomes = await asyncio.gather(
            *(listener() for listener in tuple(self._listeners)), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                _log.error("a listener failed after a reconnection", exc_info=outcome)

    async def error(self, error: Exception) -> None:
        """Log an error of nats-py; the same error (a server that is away, four times a second) every ten seconds."""
        text = _reason(error)
        now_s = time.monotonic()
        if now_s >= self._log_again_s.get(text, 0.0):
            broken = isinstance(error, _BROKEN)
            fields = {"connection": "broken"} if broken else {}
            shown = f"{_explained(error, text)}{_TRYING if broken else ''}"
            _log.warning("%s: %s", self._server, shown, extra={"fields": fields})
            self._log_again_s = {each: at_s for each, at_s in self._log_again_s.items() if at_s > now_s}
            self._log_again_s[text] = now_s + _LOG_AGAIN_S

    async def lost(self) -> None:
        if not self.closing:
            _log.warning(
                "the connection to NATS is lost; reconnecting until it is back",
                extra={"fields": {"connection": "lost"}},
            )


def options(name: str, events: ConnectionEvents) -> dict[str, Any]:
    """The options of every Penstock connection, for `nats.connect` and for FastStream's broker.

    `max_reconnect_attempts` is -1 because nats-py otherwise gives up after about two minutes. The options of
    NatsAuth are added by the caller: FastStream takes them in another way.
    """
    nats_patches.install()
    return {
        "name": name,
        "allow_reconnect": True,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": _RECONNECT_WAIT_S,
        "connect_timeout": 5,
        "ping_interval": _PING_INTERVAL_S,
        "max_outstanding_pings": 2,
        "pending_size": _PENDING_BYTES,
        "error_cb": events.error,
        "disconnected_cb": events.lost,
        "reconnected_cb": events.reconnected,
    }


async def connect(
    url: str, *, name: str, events: ConnectionEvents | None = None, auth: NatsAuth | None = None
) -> Nats:
    """Connect a process that is not a service: the first attempt must succeed, later losses are repaired.

    `url` may name several servers, separated by commas. Raises BrokerUnreachable when none of them answers,
    BrokerRefused when one rejects the credentials or the certificate, and NatsAuthError.
    """
    events = events or ConnectionEvents(url)
    chosen = options(name, events) | (auth or NatsAuth()).options()
    nc, servers = Nats(), servers_of(url)
    nats_patches.allow_web_sockets(servers)
    errors: list[Exception] = []

    async def on_error(error: Exception) -> None:
        if nc.options["allow_reconnect"]:
            await events.error(error)
        else:
            errors.append(error)

    try:
        await nc.connect(servers, **{**chosen, **_ONE_ATTEMPT, "error_cb": on_error})
        if not nc.is_connected:  # nats-py takes an end of the connection during the handshake for success
            raise nats.errors.UnexpectedEOF
    except (OSError, TimeoutError, nats.errors.Error) as error:
        cause = errors[-1] if errors and isinstance(error, nats.errors.NoServersError) else error
        events.closing = True  # a connection that was never made is not reported as lost
        if nats_patches.is_set_up(nc):
            await discard_and_close(nc)  # nats-py leaves the socket of a failed handshake open
        events.closing = False
        raise _failure(nc, without_userinfo(url), cause) from error
    nc.options |= {name: chosen[name] for name in _ONE_ATTEMPT}
    watch_freezes(lambda: not nc.is_closed)
    return nc


def warn_of_small_messages(nc: Nats, url: str) -> None:
    """Log a warning if the server accepts smaller messages than an answer may need."""
    if nc.max_payload < MAX_PAYLOAD_BYTES:
        _log.warning(
            "the NATS server at %s accepts messages of %s bytes at most, and larger answers fail: set %s in its "
            "configuration",
            without_userinfo(url),
            f"{nc.max_payload:,}",
            MAX_PAYLOAD_SETTING,
        )


def _failure(nc: Nats, url: str, error: Exception) -> BrokerUnreachable:
    kind, reason = _refused(error), _reason(error)
    if kind is None and isinstance(error, _CONNECTION_ENDED):
        # The server ended the connection before its reason could be read.
        kind = nats_patches.demanded_by_server(nc)
    return BrokerUnreachable(url, reason) if kind is None else BrokerRefused(url, kind, reason)


def _refused(error: Exception) -> str | None:
    """What the server or this process rejected at the handshake; None for any other error."""
    if isinstance(error, ssl.SSLError | nats_patches.TlsNotOffered):
        return "TLS connection"
    return "credentials" if nats_patches.is_rejection(str(error)) else None


def _explained(error: Exception, text: str) -> str:
    kind = _refused(error)
    return text if kind is None else f"the server did not accept the {kind} ({text})"


def _reason(error: Exception) -> str:
    return str(error).removeprefix("nats: ").strip("'") or type(error).__name__


async def flush_failure(nc: Nats) -> str | None:
    """Why the server may not have received everything that was published; None when it has.

    Waits for two seconds at most, and not at all without a connection.
    """
    if not nc.is_connected:
        return "not connected"
    try:
        await nc.flush(_FLUSH_S)
    except (nats.errors.Error, TimeoutError) as error:
        return str(error) or type(error).__name__
    return None


async def close(nc: Nats) -> None:
    """Send the buffered data and disconnect. A buffer that a lost connection cannot send is discarded."""
    if nc.is_closed:
        return
    why = await flush_failure(nc)
    if why is not None:
        _log.warning("not everything could be sent before closing: %s", why)
        await discard_and_close(nc)
        return
    try:
        await nc.close()
    except OSError as error:
        _log.warning("the connection was lost while it was being closed: %s", error)


async def discard_and_close(nc: Nats) -> None:
    """Disconnect from a server that does not answer; buffered data is lost."""
    nats_patches.discard_pending(nc)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FLUSH_S):
            await nc.close()
