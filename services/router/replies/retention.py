"""Deletes replies before their time while `LLM_REPLIES` is nearly full: the oldest of the accounts that have the most.

The stream itself would delete the oldest messages, whichever account they belong to (decision 0034).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import nats.errors
from nats.aio.msg import Msg

from penstock.bus.clock import loop_now_s
from penstock.bus.direct_get import StreamPosition, first_from, first_since, stream_position
from penstock.bus.log_limits import rate_limited_logger
from penstock.contract import codec, subjects
from penstock.contract.readers.subjects import READING_ALL, reader_of
from penstock.contract.streams import REPLIES
from penstock.runtime.aio import CriticalLoop
from penstock.runtime.service import Bus
from services.router.metrics import RouterMetrics
from services.router.replies.readers_behind import ReadersBehind
from services.router.replies.stored_replies import (
    FULL,
    PRESSING,
    TARGET,
    AccountBytes,
    StoredReplies,
    deletions,
)

__all__ = ["ReplyRetention"]

_log: Final = rate_limited_logger(__name__)
_EVERY_S: Final = 1.0
_OFTEN_S: Final = 0.25
"""The same while the stream may soon be full."""
_WATCHED: Final = 0.75
_REPORTED_S: Final = 5.0
"""Seconds after which workers have reported what they stored: two heartbeats, and a moment."""


class ReplyRetention:
    """One router deletes; the others only measure."""

    def __init__(
        self,
        bus: Bus,
        replies: StoredReplies,
        is_first: Callable[[], bool],
        metrics: RouterMetrics,
    ) -> None:
        """`is_first`: whether this router is the one that deletes; two at once do no harm."""
        self._readers = ReadersBehind()
        self._nc = bus.nc
        self._js = bus.js
        self._replies = replies
        self._is_first = is_first
        self._metrics = metrics
        self._no_excess_since_s: float | None = None
        """Since when the stream has been this full and no account is known to exceed its share; None: it is not so, or
        another router deletes.
        """
        self._loop = CriticalLoop("reply retention")

    async def start(self) -> None:
        await self._nc.subscribe(READING_ALL, cb=self._on_reader_behind)
        self._loop.start(self._run())

    async def stop(self) -> None:
        await self._loop.stop()

    async def _on_reader_behind(self, msg: Msg) -> None:
        reader = reader_of(msg.subject)
        try:
            behind_s = codec.READER_BEHIND.decode(msg.data).behind_s
        except codec.INVALID as error:
            _log.warning("%s holds a payload that is not of a reader: %s", msg.subject, error)
            return
        if reader is not None:
            self._readers.observe(reader.account, reader.client, behind_s, loop_now_s())

    async def _run(self) -> None:
        while True:
            fill = 0.0
            try:
                fill = await self._round()
            except (nats.errors.Error, TimeoutError) as error:
                _log.warning("the replies cannot be counted or deleted now: %r", error)
            await asyncio.sleep(_OFTEN_S if fill > _WATCHED else _EVERY_S)

    async def _round(self) -> float:
        """Returns the fill that it found."""
        position = await stream_position(self._nc, REPLIES.name)
        self._metrics.replies_fill.set(position.fill)
        self._metrics.replies_oldest.set(position.oldest_s)
        if position.fill < FULL:
            self._metrics.replies_heaviest.set(0)
        if position.fill < FULL or not self._is_first():
            self._no_excess_since_s = None
        else:
            await self._make_room(position)
        return position.fill

    async def _make_room(self, position: StreamPosition) -> None:
        accounts = await self._stored_now(position)
        unread_s = self._readers.oldest_s(loop_now_s())
        found = deletions(accounts, position.bytes, position.max_bytes, unread_s)
        self._metrics.replies_heaviest.set(found.heaviest)
        for name, kept_s in found.kept_s.items():
            await self._delete(name, kept_s, position)
        if found.kept_s:
            self._no_excess_since_s = None
            return
        if self._no_excess_since_s is None:
            self._no_excess_since_s = loop_now_s()
        if self._reports_are_in(self._no_excess_since_s) or position.fill > PRESSING:
            await self._delete_oldest(position, found.all_kept_s)

    def _reports_are_in(self, since_s: float) -> bool:
        """Whether workers have reported everything that was stored at `since_s`. Large replies can fill the stream
        between two heartbeats, and the oldest replies of all accounts would be deleted for them.
        """
        return loop_now_s() - since_s > _REPORTED_S

    async def _stored_now(self, position: StreamPosition) -> Mapping[str, AccountBytes]:
        """Without what was reported and has been deleted since."""
        found = self._replies.accounts(loop_now_s())
        for name, account in list(found.items()):
            first = await first_from(self._nc, REPLIES.name, subjects.reply(name, "*", "*"), 1)
            if first is None or first.time is None:
                del found[name]
                continue
            account.forget_before(position.unix_ns / 1e9 - first.time.timestamp())
        return found

    async def _delete_oldest(self, position: StreamPosition, kept_s: float) -> None:
        """No account has too many: the oldest replies go, as in a full stream, so that large ones have room too."""
        young = await first_since(
            self._nc, REPLIES.name, subjects.REPLY_ALL, position.unix_ns - int(kept_s * 1e9)
        )
        end = position.last_sequence if young is None else young.seq
        while position.fill >= FULL and position.first_sequence < end:
            # Sequences without a message (probes, deleted replies) only make it delete less at a time.
            excess = (position.fill - TARGET) / position.fill
            sequence = position.first_sequence + max(1, int(excess * position.messages))
            await self._js.purge_stream(REPLIES.name, seq=min(sequence, end))
            position = await stream_position(self._nc, REPLIES.name)
        self._metrics.replies_deleted.labels("oldest").inc()

    async def _delete(self, account: str, kept_s: float, position: StreamPosition) -> None:
        subject = subjects.reply(account, "*", "*")
        kept = await first_since(self._nc, REPLIES.name, subject, position.unix_ns - int(kept_s * 1e9))
        # None where its replies wait for room and it has stored nothing since.
        end = position.last_sequence + 1 if kept is None else kept.seq
        await self._js.purge_stream(REPLIES.name, seq=end, subject=subject)
        self._metrics.replies_deleted.labels("account").inc()
