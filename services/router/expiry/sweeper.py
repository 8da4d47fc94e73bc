"""The expiry sweep: ends requests that expire or are cancelled in a mailbox, whether or not the role has a worker.

The sweep is the only reader of a mailbox that no role of the catalogue has (a removed role, or a foreign message). A
message without a readable address and deadline is a dead letter at once there, and elsewhere a little later.
"""

from __future__ import annotations

from typing import Final

import nats.errors
from nats.aio.msg import Msg

from penstock.bus.clock import loop_now_s
from penstock.bus.direct_get import read_page, sequence_of
from penstock.bus.freezes import AwakeTimeout
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import StreamFull
from penstock.contract import subjects
from penstock.contract.headers import TRACEPARENT
from penstock.contract.names import LANES
from penstock.contract.streams import WORK
from penstock.contract.subjects import work_address
from penstock.runtime.config.catalogue import Catalogue
from penstock.runtime.periodic_loop import PeriodicLoop
from penstock.runtime.server_time_reader import FreshTime
from penstock.runtime.service import Bus
from penstock.runtime.telemetry.logs import reset_trace, set_trace
from services.router.expiry.cursor import SweepCursor
from services.router.expiry.queued_message import QueuedMessage
from services.router.expiry.termination import Terminator, accepted_ms
from services.router.metrics import RouterMetrics
from services.router.queues.backlog_poller import BacklogPoller

__all__ = ["Sweeper"]

_log: Final = rate_limited_logger(__name__)
_EVERY_S: Final = 1.0
"""Seconds between two rounds."""
_PAGE: Final = 250
"""Messages per read."""
_TIMEOUT_S: Final = 3.0
"""Seconds that ending one message may take."""
_FAILURES: Final = 5
"""Failed messages after which a round stops: then the server does not answer."""


class Sweeper:
    """Sweeps every non-empty mailbox once a second."""

    def __init__(
        self,
        bus: Bus,
        catalogue: Catalogue,
        poller: BacklogPoller,
        terminator: Terminator,
        metrics: RouterMetrics,
        time: FreshTime,
    ) -> None:
        self._bus = bus
        self._implicit = catalogue.implicit_roles.keys()
        self._roles = dict.fromkeys(catalogue.mailboxes)
        """Roles whose mailboxes are measured: an implicit one from its first work on."""
        self._poller = poller
        self._terminator = terminator
        self._metrics = metrics
        self._time = time
        self._cursors: dict[str, SweepCursor] = {}
        self._failures = 0
        self._loop = PeriodicLoop("the sweep of the mailboxes", _EVERY_S, self._round)

    def start(self) -> None:
        self._loop.start()

    async def stop(self) -> None:
        await self._loop.stop()

    async def _round(self) -> None:
        counts = await self._poller.poll()
        self._set_gauges()
        self._failures = 0
        filters = dict.fromkeys(map(_filter_for, counts))
        self._cursors = {each: self._cursors.get(each) or SweepCursor() for each in filters}
        for each, cursor in self._cursors.items():
            await self._sweep(each, cursor)

    def _set_gauges(self) -> None:
        backlog = self._poller.backlog
        self._roles |= dict.fromkeys(backlog.roles() & self._implicit)
        for role in self._roles:
            for lane in LANES:
                self._metrics.queued.labels(role, lane).set(backlog.observed(role, lane))

    async def _sweep(self, subject: str, cursor: SweepCursor) -> None:
        while (sequence := cursor.next_sequence) is not None:
            page = await read_page(self._bus.nc, WORK.name, subject, sequence=sequence, batch=_PAGE)
            if not page.messages:
                cursor.end()
                break
            read_s = loop_now_s()
            for msg in page.messages:
                next_sequence = cursor.next_sequence
                if next_sequence is None or sequence_of(msg) < next_sequence:
                    break
                await self._visit(cursor, msg, read_s)
            else:
                if page.pending == 0:
                    cursor.end()
        cursor.rotate()

    async def _visit(self, cursor: SweepCursor, msg: Msg, read_s: float) -> None:
        """End one message, which was read before `read_s`, if it is due. A failure does not stop the sweep, unless
        there are several.
        """
        queued = QueuedMessage.of(sequence_of(msg), msg.headers or {})
        expires_ms, clock = self._terminator.expires_ms(queued), self._time.clock
        if not cursor.visit(queued.sequence, expires_ms, clock.steady_ms(queued.stored_ms)):
            return
        # A reading after that of the page knows every step of the clock before its messages were written.
        since_ms = accepted_ms(queued, msg)
        if not await self._time.has_passed(expires_ms, since_ms=since_ms, after_s=read_s):
            return
        trace = set_trace((msg.headers or {}).get(TRACEPARENT))
        try:
            async with AwakeTimeout(_TIMEOUT_S):
                await self._terminator.terminate(queued, msg)
        except (nats.errors.Error, StreamFull, TimeoutError) as error:
            _log.warning("the sweep cannot end message %d now: %r", queued.sequence, error)
            self._failures += 1
            if self._failures >= _FAILURES:
                raise
        finally:
            reset_trace(trace)


def _filter_for(subject: str) -> str:
    """A filter that matches `subject`, where the server writes U+FFFD for bytes that are not UTF-8.

    All flows of a rank have one filter: they are swept together.
    """
    address = work_address(subject)
    if address is not None:
        subject = subjects.work_of_rank(address.role, address.lane, address.rank)
    parts = subject.split(".")
    return ".".join("*" if part == ">" or "\ufffd" in part else part for part in parts)
