"""The one subscription of a client, and the feeds of the replies it is waiting for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.connection import Reconnects
from penstock.following import Feed
from penstock.history import read_event
from schemas import subjects

__all__ = ["ReplyInbox"]


class ReplyInbox:
    """Hands each live reply event to whoever follows that request."""

    def __init__(self, nc: Nats, reconnects: Reconnects, account: str, name: str) -> None:
        self._nc = nc
        self._reconnects = reconnects
        self._feeds: dict[str, set[Feed]] = {}
        self.account = account
        self.name = name

    async def open(self) -> None:
        self._reconnects.add(self._look_in_store)
        await self._nc.subscribe(subjects.reply_inbox(self.account, self.name), cb=self._on_reply)
        await self._nc.flush()

    def close(self) -> None:
        """The connection is about to be closed on purpose."""
        self._reconnects.closing = True

    @asynccontextmanager
    async def feed(self, request_id: str, owner: str) -> AsyncIterator[Feed]:
        """The live events of one request of this client, or of `owner`, another one of the account."""
        feed = Feed()
        self._feeds.setdefault(request_id, set()).add(feed)
        subscription = None
        if owner != self.name:
            subject = subjects.reply(self.account, owner, request_id)
            subscription = await self._nc.subscribe(subject, cb=self._on_reply)
            await self._nc.flush()
        try:
            yield feed
        finally:
            self._feeds[request_id].discard(feed)
            if not self._feeds[request_id]:
                del self._feeds[request_id]
            if subscription is not None and not self._nc.is_closed:
                await subscription.unsubscribe()

    async def _on_reply(self, msg: Msg) -> None:
        feeds = self._feeds.get(msg.subject.rpartition(".")[2])
        event = read_event(msg) if feeds else None
        if feeds and event is not None:
            for feed in feeds:
                feed.put(event)

    async def _look_in_store(self) -> None:
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.put(None)
