"""What the work-queue streams tell of a request that was sent: whether a router has taken it, and whether a reply of
which no event is stored can still come. It cannot once every message that was queued at the first check has left its
queue.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from penstock.bus.direct_get import last_sequence
from penstock.client.unavailable import cause
from penstock.contract.streams import REPLIES, REQUESTS, WORK
from penstock.errors import StoreUnavailable

__all__ = ["LostRequestCheck", "QueueState", "is_reply_lost", "until_taken"]

_log: Final = logging.getLogger(__name__)
_FIRST_CHECK_S: Final = 0.05
_LONGEST_CHECK_S: Final = 0.5
"""Between two checks of a queue that is not taken: reading its state costs nats-server a request each time."""


class QueueState(Struct, frozen=True):
    """A work-queue stream, from which processed messages are deleted."""

    messages: int
    first_seq: int
    last_seq: int

    def has_passed(self, seq: int) -> bool:
        return self.messages == 0 or self.first_seq > seq


class LostRequestCheck:
    """The check of one request, which is first in the requests, then in both queues, then in the work, then ended."""

    def __init__(self) -> None:
        self._requests_seq: int | None = None
        self._work_seq: int | None = None

    def is_lost(self, requests: QueueState, work: QueueState) -> bool:
        """Whether every message of the first check has left its queue. `requests` was read before `work`."""
        if self._requests_seq is None:
            self._requests_seq = requests.last_seq
        if not requests.has_passed(self._requests_seq):
            return False
        if self._work_seq is None:
            self._work_seq = work.last_seq
        return work.has_passed(self._work_seq)


async def is_reply_lost(nc: Nats, check: LostRequestCheck, subject: str) -> bool:
    """Whether no event will come to the reply subject any more; False while JetStream does not answer.

    Raises StoreUnavailable when JetStream has no stream for requests: Penstock was never started there.
    """
    try:
        requests = await _state(nc, REQUESTS.name)
        work = await _state(nc, WORK.name)
        # Read last: a request that ended meanwhile stored its end before it left its queue.
        return check.is_lost(requests, work) and await last_sequence(nc, REPLIES.name, subject) == 0
    except NotFoundError as error:
        what = f"the reply of request {subject.rpartition('.')[2]}"
        raise StoreUnavailable(what, cause(nc, REQUESTS.name, error)) from error
    except (nats.errors.Error, TimeoutError) as error:
        _log.info("JetStream does not say now whether %s is lost: %r", subject, error)
        return False


async def until_taken(nc: Nats, timeout_s: float) -> None:
    """Wait until routers have taken every request that is queued now, at most `timeout_s` seconds; a missing stream for
    requests holds none.

    Raises what else nats-py's `stream_info` raises.
    """
    try:
        state = await _state(nc, REQUESTS.name)
    except NotFoundError:
        return
    last_seq, check_s = state.last_seq, _FIRST_CHECK_S
    try:
        async with asyncio.timeout(timeout_s):
            while not state.has_passed(last_seq):
                await asyncio.sleep(check_s)
                check_s = min(2 * check_s, _LONGEST_CHECK_S)
                state = await _state(nc, REQUESTS.name)
    except TimeoutError:
        _log.info("routers have not taken within %g s what is queued", timeout_s)


async def _state(nc: Nats, stream: str) -> QueueState:
    state = (await nc.jetstream().stream_info(stream)).state
    return QueueState(state.messages, state.first_seq, state.last_seq)
