"""Read the stored events of a reply, and the stored answer of a job."""

from __future__ import annotations

from typing import Final

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from penstock.bus.direct_get import last_sequence, read_all, sequence_of
from penstock.bus.log_limits import rate_limited_logger
from penstock.bus.retry import RetryPolicy, read_from_leader, retry
from penstock.contract import codec, subjects
from penstock.contract.jobs import Job, JobResult
from penstock.contract.reply import ReplyEvent
from penstock.contract.streams import REPLIES, RESULTS

__all__ = [
    "acknowledged_replies",
    "acknowledged_with_sequence",
    "read_event",
    "stored_replies",
    "stored_result",
]

_log: Final = rate_limited_logger(__name__)
_TIMEOUT_S: Final = RetryPolicy().timeout_s


def read_event(msg: Msg) -> ReplyEvent | None:
    """The event in `msg`; None and a log line when the payload is not a reply event."""
    try:
        return codec.REPLY.decode(msg.data)
    except codec.INVALID as error:
        _log.warning("%s holds a payload that is not a reply event: %s", msg.subject, error)
        return None


async def stored_replies(nc: Nats, subject: str) -> list[ReplyEvent]:
    """The events stored for one request, in the order in which they were stored.

    Any node of a cluster answers, and its copy may lag behind an acknowledgement by a moment. That suits a reader that
    reads again; a decision needs `acknowledged_replies`. Raises nats.errors.Error or TimeoutError when the stream does
    not answer.
    """
    return _events(await _read(nc, subject))


async def acknowledged_replies(nc: Nats, subject: str, timeout_s: float = _TIMEOUT_S) -> list[ReplyEvent]:
    """The stored events, including every one that was acknowledged before the call.

    Retries during an election and while the answering node lags behind the leader. Raises nats.errors.Error or
    TimeoutError after the timeout.
    """
    return (await acknowledged_with_sequence(nc, subject, timeout_s))[0]


async def acknowledged_with_sequence(
    nc: Nats, subject: str, timeout_s: float = _TIMEOUT_S
) -> tuple[list[ReplyEvent], int]:
    """`acknowledged_replies` and the stream sequence of the last message; 0 when there is none."""

    async def read() -> tuple[list[ReplyEvent], int]:
        wanted = await last_sequence(nc, REPLIES.name, subject)
        found = await _read(nc, subject)
        last = sequence_of(found[-1]) if found else 0
        if last < wanted:
            raise TimeoutError(f"{REPLIES.name}: no node has message {wanted}")
        return _events(found), last

    return await retry(
        read,
        on=(nats.errors.Error, TimeoutError),
        report=lambda error: _log.warning("the stored replies cannot be read yet: %r", error),
        policy=RetryPolicy(timeout_s=timeout_s),
    )


async def stored_result(js: JetStreamContext, job: Job) -> JobResult | None:
    """The answer of a completed job, read from the leader; None when it is not stored any more."""
    subject = subjects.result(*job.reply_to, job.attempt)
    msg = await read_from_leader(lambda: js.get_last_msg(RESULTS.name, subject), subject)
    return None if msg is None else codec.RESULT.decode(msg.data or b"")


async def _read(nc: Nats, subject: str) -> list[Msg]:
    return [msg async for msg in read_all(nc, REPLIES.name, subject)]


def _events(messages: list[Msg]) -> list[ReplyEvent]:
    return [event for msg in messages if (event := read_event(msg)) is not None]
