"""FastStream's broker, which leaves a server that does not answer in a few seconds, and without a traceback."""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Final

from faststream.nats import NatsBroker

from penstock.bus.connection import give_up, unanswered

__all__ = ["Broker"]

_log: Final = logging.getLogger(__name__)


class Broker(NatsBroker):
    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """nats-py's drain waits for the server twice, ten seconds each, and fails at once where none is connected."""
        nc = self._connection
        why = None if nc is None else await unanswered(nc)
        if nc is None or why is None:
            await super().stop(exc_type, exc_val, exc_tb)
            return
        _log.warning("NATS does not answer (%s); what was still to be sent is given up", why)
        self._connection = None  # the base class would drain it
        try:
            await super().stop(exc_type, exc_val, exc_tb)
        finally:
            await give_up(nc)
