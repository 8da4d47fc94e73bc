"""The records of jobs in JetStream: read from the leader, written by compare-and-set, and results beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import Struct
from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.bus.ids import new_id
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import WRONG_LAST_SEQUENCE, store
from penstock.bus.retry import read_from_leader
from penstock.contract import codec, subjects
from penstock.contract.headers import EXPECTED_LAST, REPLY_SUBJECT
from penstock.contract.jobs import Job, JobResult
from penstock.contract.streams import JOBS, MAX_REQUEST_BYTES, RESULTS, WORK
from penstock.contract.subjects import ReplyAddress

__all__ = ["Change", "Follows", "JobStore", "Standing"]

_log: Final = rate_limited_logger(__name__)
_TRIES: Final = 20
"""Each conflict is another writer's progress, and a job makes little of it."""

Change = Callable[[Job | None], Job | None]
"""From what is stored to what is to be written; None: what is stored stands."""
Follows = Callable[[Job | None, Job], Job | None]
"""The same, with what somebody wants to be written."""


class Standing(Struct, frozen=True):
    """What is stored after a write was tried."""

    job: Job | None
    ours: bool
    """It is what we wrote."""


class JobStore:
    """Every method waits while JetStream does not answer, and raises nats errors or TimeoutError when patience is over.

    An answer that was paid for must not be thrown away because one read fell into an election.
    """

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def read(self, address: ReplyAddress) -> Job | None:
        return (await self._read(subjects.job(*address)))[0]

    async def advance(self, address: ReplyAddress, change: Change) -> Standing:
        """Write what `change` makes of the record, however often somebody else is faster.

        Raises StreamFull when a new job finds no room; one that is known always does.
        """
        subject = subjects.job(*address)
        for _ in range(_TRIES):
            stored, sequence = await self._read(subject)
            wanted = change(stored)
            if wanted is None:
                return Standing(stored, ours=False)
            try:
                await store(
                    self._js,
                    subject,
                    codec.encode(wanted),
                    message_id=new_id(),
                    headers={EXPECTED_LAST: str(sequence)},
                )
            except APIError as error:
                if error.err_code != WRONG_LAST_SEQUENCE:
                    raise
                stored, _ = await self._read(subject)
                if stored == wanted:  # only the acknowledgement was lost
                    return Standing(wanted, ours=True)
            else:
                return Standing(wanted, ours=True)
        raise TimeoutError(f"{subject} is being written by too many at once")

    async def keep(self, address: ReplyAddress, result: JobResult) -> int:
        """Store what an attempt answered; returns its size, 0 when it is larger than a message may be."""
        payload = codec.encode(result)
        if len(payload) > MAX_REQUEST_BYTES:
            return 0
        subject = subjects.result(*address, result.completed.attempt)
        await store(self._js, subject, payload, message_id=new_id())
        return len(payload)

    async def result(self, job: Job) -> JobResult | None:
        """What a completed job answered; None when it is not stored, or not any more."""
        subject = subjects.result(*job.reply_to, job.attempt)
        msg = await read_from_leader(lambda: self._js.get_last_msg(RESULTS.name, subject), subject)
        if msg is None:
            return None
        return codec.RESULT.decode(msg.data or b"")

    async def is_queued(self, work_seq: int, address: ReplyAddress | None = None) -> bool:
        """Whether this message of `LLM_WORK` is still there; `address`: and is work of this request.

        A stream that was deleted and made again gives its numbers out a second time.
        """
        what = f"message {work_seq} of {WORK.name}"
        msg = await read_from_leader(lambda: self._js.get_msg(WORK.name, work_seq), what)
        if msg is None:
            return False
        return address is None or (msg.headers or {}).get(REPLY_SUBJECT) == address.subject

    async def is_held_elsewhere(self, job: Job, work_seq: int) -> bool:
        """Whether the job was begun with another message of `LLM_WORK` than this copy, and that one is still there."""
        return job.work_seq not in {0, work_seq} and await self.is_queued(job.work_seq, job.reply_to)

    async def _read(self, subject: str) -> tuple[Job | None, int]:
        """The record and its sequence; what somebody else put there counts as no record."""
        msg = await read_from_leader(lambda: self._js.get_last_msg(JOBS.name, subject), subject)
        if msg is None:
            return None, 0
        try:
            return codec.JOB.decode(msg.data or b""), msg.seq or 0
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            _log.warning("%s holds what is no record of a job: %s", subject, error)
            return None, msg.seq or 0
