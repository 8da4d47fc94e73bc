"""Reading stored messages without a consumer: many of one subject from any node (ADR-31), or the leader's last word."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import msgspec
import nats.errors
from msgspec import Struct
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

__all__ = ["NoSuchStream", "Page", "Whereabouts", "last_sequence", "read_page", "sequence_of", "whereabouts"]

_TIMEOUT_S: Final = 2.0
"""Between two messages of an answer; a question lost with its connection is asked again sooner, then."""
_NOBODY: Final = "503"
_NO_MESSAGE: Final = 10037
"""JetStream's error code: there is none."""
_MAX_BYTES: Final = 16 * 1024 * 1024


class NoSuchStream(nats.errors.Error):
    """Nobody answers for it: it does not exist, or the server has no JetStream."""


class _Error(Struct):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Stored(Struct):
    seq: int = 0


class _LastMessage(Struct):
    """The part that counts of the answer to STREAM.MSG.GET."""

    message: _Stored | None = None
    error: _Error | None = None


class _State(Struct):
    last_seq: int = 0


class _Info(Struct):
    """The part that counts of the answer to STREAM.INFO."""

    state: _State | None = None
    ts: datetime | None = None
    error: _Error | None = None


_decode_info: Final = msgspec.json.Decoder(_Info).decode
_decode_last: Final = msgspec.json.Decoder(_LastMessage).decode


class Whereabouts(Struct, frozen=True):
    """Where a stream's leader was when it was asked."""

    last_sequence: int
    unix_ns: int
    """What its clock showed; the same clock stamps the messages."""


class Page(Struct, frozen=True):
    """Messages in the order of the stream."""

    messages: tuple[Msg, ...]
    pending: int
    """How many more there were when it was read."""

    @property
    def next_sequence(self) -> int:
        """Where the page after this one begins. Raises IndexError for an empty page."""
        return sequence_of(self.messages[-1]) + 1


def sequence_of(msg: Msg) -> int:
    """The stream sequence of a message got directly."""
    return int((msg.headers or {})["Nats-Sequence"])


async def read_page(nc: Nats, stream: str, subject: str, *, sequence: int = 1, batch: int = 500) -> Page:
    """Up to `batch` messages of `subject`, which may hold wildcards, from stream sequence `sequence` on.

    Raises NoSuchStream, and nats.errors.Error or TimeoutError when the stream does not answer.
    """
    inbox = nc.new_inbox()
    answers: asyncio.Queue[Msg] = asyncio.Queue()
    subscription = await nc.subscribe(inbox, cb=answers.put)
    found: list[Msg] = []
    wish = {"seq": sequence, "next_by_subj": subject, "batch": batch, "max_bytes": _MAX_BYTES}
    try:
        await nc.publish(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(wish), reply=inbox)
        while True:
            async with asyncio.timeout(_TIMEOUT_S):
                msg = await answers.get()
            headers = msg.headers or {}
            status = headers.get("Status")
            if "Nats-Sequence" in headers:  # it is stored, whatever status its publisher wrote into it
                found.append(msg)
            elif status == "404":
                return Page(tuple(found), 0)
            elif status == "204":
                return Page(tuple(found), int(headers.get("Nats-Num-Pending", "0")))
            elif status == _NOBODY:
                raise NoSuchStream(f"{stream}: no responders")
            else:
                raise nats.errors.Error(f"{stream}: {status} {headers.get('Description', '')}".rstrip())
    finally:
        await subscription.unsubscribe()


async def last_sequence(nc: Nats, stream: str, subject: str) -> int:
    """The stream sequence of the last message of `subject`, by the word of the stream's leader; 0: there is none.

    Any node of a cluster answers a direct get, a lagging one too. Raises nats.errors.Error or TimeoutError when there
    is no leader now.
    """
    wish = msgspec.json.encode({"last_by_subj": subject})
    msg = await nc.request(f"$JS.API.STREAM.MSG.GET.{stream}", wish, timeout=_TIMEOUT_S)
    answer = _decode_last(msg.data)
    if answer.message is not None:
        return answer.message.seq
    if answer.error is not None and answer.error.err_code == _NO_MESSAGE:
        return 0
    description = "no answer" if answer.error is None else answer.error.description
    raise nats.errors.Error(f"{stream}: {description}")


async def whereabouts(nc: Nats, stream: str) -> Whereabouts:
    """Asked of the stream's leader. Raises nats.errors.Error or TimeoutError when there is none now."""
    answer = _decode_info((await nc.request(f"$JS.API.STREAM.INFO.{stream}", timeout=_TIMEOUT_S)).data)
    if answer.state is None or answer.ts is None:
        description = "no answer" if answer.error is None else answer.error.description
        raise nats.errors.Error(f"{stream}: {description}")
    return Whereabouts(answer.state.last_seq, int(answer.ts.timestamp() * 1e6) * 1000)
