"""Whether a reply of which nothing is stored can still come: not, once all that was queued then has left its queue."""

from __future__ import annotations

import logging
from typing import Final

import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.js.errors import APIError

from penstock.bus.direct_get import last_sequence
from penstock.contract.streams import REPLIES, REQUESTS, WORK

__all__ = ["Absence", "Queue", "is_lost"]

_log: Final = logging.getLogger(__name__)


class Queue(Struct, frozen=True):
    """A work queue: what has been done has left it."""

    messages: int
    first_seq: int
    last_seq: int

    def has_passed(self, seq: int) -> bool:
        return self.messages == 0 or self.first_seq > seq


class Absence:
    """Of one request. It is in the requests, then in the work as well, then in the work alone, then ended."""

    def __init__(self) -> None:
        self._requests_seq: int | None = None
        self._work_seq: int | None = None

    def is_sure(self, requests: Queue, work: Queue) -> bool:
        """Whether nothing is queued that was when this was first asked. `requests` was looked at before `work`."""
        if self._requests_seq is None:
            self._requests_seq = requests.last_seq
        if not requests.has_passed(self._requests_seq):
            return False
        if self._work_seq is None:
            self._work_seq = work.last_seq
        return work.has_passed(self._work_seq)


async def is_lost(nc: Nats, absence: Absence, subject: str) -> bool:
    """Whether no event will come to the reply subject any more. False where nobody can say so now."""
    try:
        requests = await _queue(nc, REQUESTS.name)
        work = await _queue(nc, WORK.name)
        # Last: what ended meanwhile has stored its end before it left its queue.
        return absence.is_sure(requests, work) and await last_sequence(nc, REPLIES.name, subject) == 0
    except (nats.errors.Error, APIError, TimeoutError) as error:
        _log.info("whether %s is lost cannot be told now: %r", subject, error)
        return False


async def _queue(nc: Nats, stream: str) -> Queue:
    state = (await nc.jetstream().stream_info(stream)).state
    return Queue(state.messages, state.first_seq, state.last_seq)
