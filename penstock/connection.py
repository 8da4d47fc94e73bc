"""The connection to NATS: it reconnects for ever, and says so."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import nats
import nats.errors
from nats.aio.client import Client as Nats

from penstock.errors import BrokerUnreachable
from penstock.hostile_headers import survive_hostile_headers

__all__ = ["Reconnects", "connect", "options"]

_log: Final = logging.getLogger(__name__)
_RECONNECT_WAIT_S: Final = 0.25
_PING_INTERVAL_S: Final = 10
_PENDING_BYTES: Final = 32 * 1024 * 1024
"""What may be published while disconnected before publishing fails; nats-py's own default is 2 MiB."""

Listener = Callable[[], Awaitable[None]]


class Reconnects:
    """Tells of a lost connection; whoever must act after it came back registers here."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self.closing = False
        """The owner closes the connection: losing it is no news."""

    def add(self, listener: Listener) -> None:
        self._listeners.append(listener)

    def remove(self, listener: Listener) -> None:
        self._listeners.remove(listener)

    async def announce(self) -> None:
        _log.info("connected to NATS again")
        for listener in tuple(self._listeners):
            await listener()

    async def lost(self) -> None:
        if not self.closing:
            _log.warning("the connection to NATS is lost; reconnecting until it is back")


async def _on_error(error: Exception) -> None:
    _log.warning("NATS: %s", str(error) or type(error).__name__)


def options(name: str, reconnects: Reconnects, credentials: str | None = None) -> dict[str, Any]:
    """The options of every connection of ours, for `nats.connect` and for FastStream's broker.

    `max_reconnect_attempts` is -1 because nats-py otherwise gives up for good after about two minutes.
    """
    survive_hostile_headers()
    chosen: dict[str, Any] = {
        "name": name,
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": _RECONNECT_WAIT_S,
        "connect_timeout": 5,
        "ping_interval": _PING_INTERVAL_S,
        "max_outstanding_pings": 2,
        "pending_size": _PENDING_BYTES,
        "error_cb": _on_error,
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

    Raises BrokerUnreachable when no server answers at `url`.
    """
    chosen = options(name, reconnects or Reconnects(), credentials)
    nc = Nats()
    errors: list[Exception] = []

    async def first_error(error: Exception) -> None:
        errors.append(error)

    try:
        await nc.connect(url, **{**chosen, "allow_reconnect": False, "error_cb": first_error})
    except (OSError, TimeoutError, nats.errors.Error) as error:
        raise BrokerUnreachable(url, str(errors[-1] if errors else error)) from error
    nc.options["allow_reconnect"] = True
    nc._error_cb = _on_error  # noqa: SLF001 - nats-py has no setter; the first attempt wanted a callback of its own
    return nc
