"""The connection to NATS: it reconnects for ever, and says so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import nats
import nats.errors
from nats.aio.client import Client as Nats

from penstock.bus.masking import without_userinfo
from penstock.bus.nats_patches import survive_hostile_bytes
from penstock.errors import BrokerUnreachable

__all__ = ["Reconnects", "close", "connect", "give_up", "options", "servers_of", "unanswered"]

_log: Final = logging.getLogger(__name__)
_RECONNECT_WAIT_S: Final = 0.25
_SAY_AGAIN_S: Final = 10.0
_PING_INTERVAL_S: Final = 10
_FLUSH_S: Final = 2
_PENDING_BYTES: Final = 32 * 1024 * 1024
"""What may be published while disconnected before publishing fails; nats-py's own default is 2 MiB."""

_ONE_ATTEMPT: Final = {"allow_reconnect": False, "max_reconnect_attempts": 1}
"""With -1, nats-py goes on for ever at the first connection too, whatever `allow_reconnect` says."""

_BROKEN: Final = (OSError, TimeoutError, nats.errors.UnexpectedEOF, nats.errors.StaleConnectionError)
"""How a connection ends, or fails to come about: told as lost and as connected again."""

Listener = Callable[[], Awaitable[None]]


class Reconnects:
    """Tells of a lost connection; whoever must act after it came back registers here."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._said = ""
        self._say_again_s = 0.0
        self.closing = False
        """The owner closes the connection: losing it is no news."""

    def add(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    async def announce(self) -> None:
        """Tell everybody at once. One who fails keeps neither the others nor nats-py from going on."""
        _log.info("connected to NATS again", extra={"fields": {"connection": "again"}})
        outcomes = await asyncio.gather(
            *(listener() for listener in tuple(self._listeners)), return_exceptions=True
        )
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                _log.error("what was to happen after a reconnection failed", exc_info=outcome)

    async def error(self, error: Exception) -> None:
        """What nats-py meets; the same again (a server that is away, four times a second) now and then only."""
        words = str(error) or type(error).__name__
        now_s = time.monotonic()
        if words != self._said or now_s >= self._say_again_s:
            fields = {"connection": "broken"} if isinstance(error, _BROKEN) else {}
            _log.warning("NATS: %s", words, extra={"fields": fields})
            self._said, self._say_again_s = words, now_s + _SAY_AGAIN_S

    async def lost(self) -> None:
        if not self.closing:
            _log.warning(
                "the connection to NATS is lost; reconnecting until it is back",
                extra={"fields": {"connection": "lost"}},
            )


def servers_of(url: str) -> list[str]:
    """The servers named in `url`, with commas between; nats-py wants them apart."""
    return [server.strip() for server in url.split(",")]


def options(name: str, reconnects: Reconnects, credentials: str | None = None) -> dict[str, Any]:
    """The options of every connection of ours, for `nats.connect` and for FastStream's broker.

    `max_reconnect_attempts` is -1 because nats-py otherwise gives up for good after about two minutes.
    """
    survive_hostile_bytes()
    chosen: dict[str, Any] = {
        "name": name,
        "allow_reconnect": True,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": _RECONNECT_WAIT_S,
        "connect_timeout": 5,
        "ping_interval": _PING_INTERVAL_S,
        "max_outstanding_pings": 2,
        "pending_size": _PENDING_BYTES,
        "error_cb": reconnects.error,
        "disconnected_cb": reconnects.lost,
        "reconnected_cb": reconnects.announce,
    }
    if credentials is not None:
        chosen["user_credentials"] = credentials
    return chosen


async def connect(
    url: str, *, name: str, reconnects: Reconnects | None = None, credentials: str | None = None
) -> Nats:
    """A connection for a process that is no service: the first attempt must succeed, later losses are mended.

    `url` may name several servers, with commas between. Raises BrokerUnreachable when none of them answers.
    """
    chosen = options(name, reconnects or Reconnects(), credentials)
    nc = Nats()
    errors: list[Exception] = []

    async def first_error(error: Exception) -> None:
        errors.append(error)

    try:
        await nc.connect(servers_of(url), **{**chosen, **_ONE_ATTEMPT, "error_cb": first_error})
    except (OSError, TimeoutError, nats.errors.Error) as error:
        raise BrokerUnreachable(without_userinfo(url), str(errors[-1] if errors else error)) from error
    nc.options |= {name: chosen[name] for name in _ONE_ATTEMPT}
    nc._error_cb = chosen["error_cb"]  # noqa: SLF001 - nats-py has no setter; the first attempt wanted a callback of its own
    return nc


async def unanswered(nc: Nats) -> str | None:
    """Why it is not known that all that was published has arrived; None: it has.

    Asks for two seconds at most, and nobody who is not connected.
    """
    if not nc.is_connected:
        return "not connected"
    try:
        await nc.flush(_FLUSH_S)
    except (nats.errors.Error, TimeoutError) as error:
        return str(error) or type(error).__name__
    return None


async def close(nc: Nats) -> None:
    """Send what is buffered and disconnect. What a lost connection could not send any more is given up."""
    if nc.is_closed:
        return
    why = await unanswered(nc)
    if why is None:
        await nc.close()
        return
    _log.warning("not everything could be sent before closing: %s", why)
    await give_up(nc)


async def give_up(nc: Nats) -> None:
    """Disconnect from a server that does not answer; what is buffered is lost."""
    # nats-py would try to send it: to nobody, or to a server that does not read, for as long as it does not
    nc._pending.clear()  # noqa: SLF001
    nc._pending_data_size = 0  # noqa: SLF001
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_FLUSH_S):
            await nc.close()
