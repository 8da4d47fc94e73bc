"""Whether an answer with an id can exist, decided within a second.

A request is in `LLM_REQUESTS` until a router has published `accepted`, has a status if it is a job, and stays in
`LLM_WORK` until its end is stored. So an id without a stored event and without a job that goes on is unknown, unless
its request can be among the queued ones: no queue is searched, but the time in the id and the age of the oldest queued
message exclude nearly all. The id of a stream may be sent before its request is stored; therefore a young one is never
unknown.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final, Literal

import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.js.errors import NotFoundError

from penstock.bus.clock import Clock
from penstock.bus.direct_get import last_sequence, read_page
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.stored_replies import read_event, stored_replies
from penstock.client.jobs import JobReader
from penstock.client.lost_request import QueueState
from penstock.client.unavailable import reading
from penstock.contract import subjects
from penstock.contract.jobs import Job
from penstock.contract.reply import ReplyEvent
from penstock.contract.request import LONGEST_S
from penstock.contract.streams import REPLIES, REQUESTS, WORK
from penstock.errors import PenstockError, UnknownJob
from services.edge.requests.answer_id import AnswerId
from services.edge.requests.submission_times import UNSTORED_S

__all__ = ["AnswerLookup", "Existence", "StoredTimes", "may_be_queued", "may_be_unstored"]

Existence = Literal["known", "unknown", "undecided"]
"""`known`: the answer has an event, or is that of a job that has not ended. `undecided`: it has none, and its request
may be queued, or on its way to NATS."""

_log: Final = rate_limited_logger(__name__)
_SKEW_S: Final = 60
"""How far the clocks of edges and of NATS may differ."""
_REPEATED_S: Final = REPLIES.max_age_s
"""How long after its first submission a request with an idempotency key may be submitted again."""
_QUEUE_S: Final = 1.0
"""To wait for the router to read the requests that were queued before."""
_POLL_S: Final = 0.05
_ON_THE_WAY_S: Final = 0.2
"""For an event that was published and is not stored yet."""
_NEARLY_FULL: Final = 0.5
"""The share of `LLM_REPLIES` above which routers may have deleted events before their time a moment ago."""


class StoredTimes(Struct, frozen=True, kw_only=True):
    """Times of stored messages, Unix seconds."""

    now_s: float
    oldest_work_s: float | None
    """When the oldest interactive request in `LLM_WORK` was stored; None: there is none."""
    replies_are_trimmed: bool
    """`LLM_REPLIES` may have deleted events before their time, because it was full."""


def may_be_queued(created_s: float, times: StoredTimes) -> bool:
    """Whether an interactive request that was created then, and that a router has read already, may be queued
    although no event of it is stored. False also for a time in the future.
    """
    age_s = times.now_s - created_s
    if age_s < -_SKEW_S or age_s > LONGEST_S["interactive"] + _REPEATED_S + REPLIES.max_age_s:
        return False
    if times.oldest_work_s is None:
        return False
    if times.replies_are_trimmed:
        return True
    kept_since_s = times.now_s - REPLIES.max_age_s + _SKEW_S
    return created_s <= kept_since_s and times.oldest_work_s <= kept_since_s


def may_be_unstored(created_s: float, now_s: float) -> bool:
    """Whether the request of a stream that was created then may still be on its way to NATS. Unix seconds. False also
    for a time in the future.
    """
    return -_SKEW_S <= now_s - created_s <= UNSTORED_S + _SKEW_S


class AnswerLookup:
    """Looks for the answers of one account."""

    def __init__(self, nc: Nats, account: str, clock: Clock) -> None:
        self._nc = nc
        self._account = account
        self._jobs = JobReader(nc, account)
        self._clock = clock

    async def find(self, answer_id: AnswerId) -> Existence:
        """`undecided` also while NATS does not answer."""
        try:
            if await self._has_event(answer_id):
                return "known"
            job = await self._job(answer_id)
            if job is not None and not job.ended:
                return "known"
            if job is None and self.may_be_unstored(answer_id):
                return "undecided"
            if not await self._are_requests_read() or may_be_queued(answer_id.created_s, await self._times()):
                return "undecided"
            await asyncio.sleep(_ON_THE_WAY_S)
            return "known" if await self._is_known(answer_id) else "unknown"
        except (nats.errors.Error, NotFoundError, TimeoutError, PenstockError) as error:
            _log.info("NATS does not say now whether %s exists: %r", answer_id.request_id, error)
            return "undecided"

    def may_be_unstored(self, answer_id: AnswerId) -> bool:
        """Whether its request may still be on its way to NATS: the id of a whole answer is sent later."""
        return answer_id.streamed and may_be_unstored(answer_id.created_s, self._clock.unix_s())

    async def has_first_event(self, answer_id: AnswerId) -> bool:
        """Whether the reply is stored from its first event on. Raises StoreUnavailable and ClientClosed."""
        subject = subjects.reply(self._account, answer_id.client, answer_id.request_id)
        with reading(self._nc, f"the reply of request {answer_id.request_id}", REPLIES.name):
            page = await read_page(self._nc, REPLIES.name, subject, batch=1)
        first = read_event(page.messages[0]) if page.messages else None
        return first is not None and first.seq == 0

    async def stored_events(self, answer_id: AnswerId) -> list[ReplyEvent]:
        """The events that are stored now. Raises StoreUnavailable and ClientClosed."""
        subject = subjects.reply(self._account, answer_id.client, answer_id.request_id)
        with reading(self._nc, f"the reply of request {answer_id.request_id}", REPLIES.name):
            return await stored_replies(self._nc, subject)

    async def _is_known(self, answer_id: AnswerId) -> bool:
        """An event of the answer is stored, or it is that of a job that has not ended."""
        if await self._has_event(answer_id):
            return True
        job = await self._job(answer_id)
        return job is not None and not job.ended

    async def _has_event(self, answer_id: AnswerId) -> bool:
        subject = subjects.reply(self._account, answer_id.client, answer_id.request_id)
        return await last_sequence(self._nc, REPLIES.name, subject) > 0

    async def _job(self, answer_id: AnswerId) -> Job | None:
        try:
            job = await self._jobs.get(answer_id.request_id)
        except UnknownJob:
            return None
        return job if job.client == answer_id.client else None

    async def _are_requests_read(self) -> bool:
        """The routers have read every request that was queued at the call."""
        loop = asyncio.get_running_loop()
        queued, give_up_s = await self._queued_requests(), loop.time() + _QUEUE_S
        last_seq = queued.last_seq
        while not queued.has_passed(last_seq) and loop.time() < give_up_s:
            await asyncio.sleep(_POLL_S)
            queued = await self._queued_requests()
        return queued.has_passed(last_seq)

    async def _queued_requests(self) -> QueueState:
        state = (await self._nc.jetstream().stream_info(REQUESTS.name)).state
        return QueueState(state.messages, state.first_seq, state.last_seq)

    async def _times(self) -> StoredTimes:
        oldest = await read_page(self._nc, WORK.name, subjects.work_of_lane("interactive"), batch=1)
        replies = await self._nc.jetstream().stream_info(REPLIES.name)
        limit = replies.config.max_bytes or 0
        return StoredTimes(
            now_s=self._clock.unix_s(),
            oldest_work_s=_stored_s(oldest.messages[0].headers or {}) if oldest.messages else None,
            replies_are_trimmed=limit > 0 and replies.state.bytes > _NEARLY_FULL * limit,
        )


def _stored_s(headers: dict[str, str]) -> float:
    return datetime.fromisoformat(headers["Nats-Time-Stamp"]).timestamp()
