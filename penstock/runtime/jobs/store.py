"""Store the records of jobs in JetStream, by compare-and-set on the stream leader, and their results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct
from nats.js import JetStreamContext
from nats.js.errors import APIError

from penstock.bus.ids import new_id
from penstock.bus.jetstream_errors import is_conflict
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.publish import LONGEST_STORING_S, store
from penstock.bus.retry import read_from_leader
from penstock.bus.stored_replies import stored_result
from penstock.contract import codec, subjects
from penstock.contract.headers import EXPECTED_LAST, REPLY_SUBJECT
from penstock.contract.jobs import Job, JobResult
from penstock.contract.streams import JOBS, MAX_REQUEST_BYTES, WORK
from penstock.contract.subjects import ReplyAddress

__all__ = ["Change", "JobStore", "JobWrite", "Transition"]

_log: Final = rate_limited_logger(__name__)
_TRIES: Final = 20
"""Attempts of a write; each conflict means that another writer has changed the record, which few do."""

Change = Callable[[Job | None], Job | None]
"""Computes the record to write from the stored one; None leaves the stored one."""
Transition = Callable[[Job | None, Job], Job | None]
"""Computes the record to write from the stored one and the wanted one; None leaves the stored one."""


class JobWrite(Struct, frozen=True):
    """The outcome of a write: the stored record, and whether this writer wrote it."""

    job: Job | None
    written: bool


class JobStore:
    """Every method retries while JetStream does not answer; raises nats errors or TimeoutError after the timeout.

    One read during an election must not discard an answer that was paid for.
    """

    def __init__(self, js: JetStreamContext) -> None:
        self._js = js

    async def read(self, address: ReplyAddress) -> Job | None:
        return (await self._read(subjects.job(*address)))[0]

    async def advance(self, address: ReplyAddress, change: Change) -> JobWrite:
        """Write the record that `change` computes; compute it again after each conflict with another writer.

        Raises StreamFull when there is no room for a new job; a record that exists can always be rewritten.
        """
        subject = subjects.job(*address)
        for _ in range(_TRIES):
            stored, sequence = await self._read(subject)
            wanted = change(stored)
            if wanted is None:
                return JobWrite(stored, written=False)
            try:
                await self._write(subject, codec.encode(wanted), {EXPECTED_LAST: str(sequence)})
            except APIError as error:
                if not is_conflict(error):
                    raise
                stored, _ = await self._read(subject)
                if stored == wanted:  # stored, and the acknowledgement was lost
                    return JobWrite(wanted, written=True)
            else:
                return JobWrite(wanted, written=True)
        raise TimeoutError(f"{subject} is being written by too many processes at once")

    async def store_result(self, address: ReplyAddress, result: JobResult) -> int:
        """Store the answer of an attempt; returns its size, or 0 when it exceeds the message limit."""
        payload = codec.encode(result)
        if len(payload) > MAX_REQUEST_BYTES:
            return 0
        subject = subjects.result(*address, result.completed.attempt)
        await store(self._js, subject, payload, message_id=new_id(), timeout_s=LONGEST_STORING_S)
        return len(payload)

    async def result(self, job: Job) -> JobResult | None:
        """The answer of a completed job; None when it is not stored any more."""
        return await stored_result(self._js, job)

    async def is_queued(self, work_seq: int, address: ReplyAddress | None = None) -> bool:
        """Whether this message of `LLM_WORK` is stored and, with `address`, belongs to this request.

        A stream that was deleted and created again assigns its sequence numbers a second time.
        """
        what = f"message {work_seq} of {WORK.name}"
        msg = await read_from_leader(lambda: self._js.get_msg(WORK.name, work_seq), what)
        if msg is None:
            return False
        return address is None or (msg.headers or {}).get(REPLY_SUBJECT) == address.subject

    async def is_held_elsewhere(self, job: Job, work_seq: int) -> bool:
        """Whether the job was started from another message of `LLM_WORK` than `work_seq`, which is still stored."""
        return job.work_seq not in {0, work_seq} and await self.is_queued(job.work_seq, job.reply_to)

    async def _write(self, subject: str, payload: bytes, headers: Mapping[str, str]) -> None:
        await store(
            self._js,
            subject,
            payload,
            message_id=new_id(),
            headers=headers,
            timeout_s=LONGEST_STORING_S,
        )

    async def _read(self, subject: str) -> tuple[Job | None, int]:
        """The record and its sequence; a payload that is not a job record counts as none."""
        msg = await read_from_leader(lambda: self._js.get_last_msg(JOBS.name, subject), subject)
        if msg is None:
            return None, 0
        try:
            return codec.JOB.decode(msg.data or b""), msg.seq or 0
        except codec.INVALID as error:
            _log.warning("%s holds a payload that is not a job record: %s", subject, error)
            return None, msg.seq or 0
