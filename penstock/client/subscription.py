"""The one subscription of a client, and the feeds of the replies it is waiting for."""

from __future__ import annotations

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.connection import Reconnects
from penstock.bus.stored_replies import read_event
from penstock.client.follow import Feed
from penstock.contract import subjects

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

    def feed(self, request_id: str, owner: str) -> _FeedOf:
        """The live events of one request of this client, or of `owner`, another one of the account."""
        return _FeedOf(self, request_id, owner)

    async def follow_other(self, request_id: str, owner: str) -> Subscription:
        """Hear the events of a request that another client of the account asked."""
        subject = subjects.reply(self.account, owner, request_id)
        subscription = await self._nc.subscribe(subject, cb=self._on_reply)
        await self._nc.flush()
        return subscription

    async def leave_other(self, subscription: Subscription) -> None:
        if not self._nc.is_closed:
            await subscription.unsubscribe()

    def add(self, request_id: str, feed: Feed) -> None:
        self._feeds.setdefault(request_id, set()).add(feed)

    def discard(self, request_id: str, feed: Feed) -> None:
        self._feeds[request_id].discard(feed)
        if not self._feeds[request_id]:
            del self._feeds[request_id]

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


class _FeedOf:
    """Registers a feed for as long as it is entered.

    No generator: a loop that shuts down closes all generators at once, and the one inside would miss its turn.
    """

    def __init__(self, inbox: ReplyInbox, request_id: str, owner: str) -> None:
        self._inbox = inbox
        self._request_id = request_id
        self._owner = owner
        self._feed = Feed()
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Feed:
        self._inbox.add(self._request_id, self._feed)
        if self._owner != self._inbox.name:
            self._subscription = await self._inbox.follow_other(self._request_id, self._owner)
        return self._feed

    async def __aexit__(self, *_: object) -> None:
        self._inbox.discard(self._request_id, self._feed)
        if self._subscription is not None:
            await self._inbox.leave_other(self._subscription)
