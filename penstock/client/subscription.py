"""The reply subscription of a client, which feeds each reply that is being followed."""

from __future__ import annotations

import asyncio
import contextlib

import nats.errors
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from penstock.bus.connection import ConnectionEvents
from penstock.bus.stored_replies import read_event
from penstock.bus.wire.receiving import subscribe_directly
from penstock.client.follow import Feed
from penstock.client.whole_feed import WholeFeed
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.readers.subjects import reading
from penstock.contract.reply import READER_BEHIND_EVERY_S, ReaderBehind
from penstock.errors import ClientClosed

__all__ = ["ReplySubscription"]


class ReplySubscription:
    """Delivers each live reply event to the feeds of its request."""

    def __init__(self, nc: Nats, events: ConnectionEvents, account: str, client_name: str) -> None:
        self._nc = nc
        self._connection_events = events
        self._feeds: dict[str, set[Feed | WholeFeed]] = {}
        self._inbox: Subscription | None = None
        self._reporting: asyncio.Task[None] | None = None
        """Reports to routers that a reader is behind."""
        self.account = account
        self.client_name = client_name

    async def open(self) -> None:
        """Subscribe. The server reads the subscription before anything that this connection sends later."""
        self._connection_events.add_reconnect_listener(self._read_stored)
        self._inbox = await subscribe_directly(
            self._nc, subjects.reply_inbox(self.account, self.client_name), self._on_reply
        )

    async def leave(self) -> None:
        """End the subscription, of which no request is read any more; the connection stays."""
        self._connection_events.remove_reconnect_listener(self._read_stored)
        self._stop_reporting()
        if self._inbox is not None:
            await self.leave_other(self._inbox)

    def close(self) -> None:
        """Announce that the connection is about to be closed on purpose."""
        self._connection_events.closing = True
        self._stop_reporting()

    def feed(self, request_id: str, owner: str) -> _FeedRegistration:
        """The live events of one request of the client `owner`: this one, or another one of the account."""
        return _FeedRegistration(self, request_id, owner)

    async def follow_other(self, request_id: str, owner: str) -> Subscription:
        """Subscribe to the events of a request of another client of the account. Raises ClientClosed."""
        subject = subjects.reply(self.account, owner, request_id)
        try:
            return await subscribe_directly(self._nc, subject, self._on_reply)
        except nats.errors.ConnectionClosedError as error:
            raise ClientClosed from error

    async def leave_other(self, subscription: Subscription) -> None:
        if not self._nc.is_closed:
            await subscription.unsubscribe()

    def add(self, request_id: str, feed: Feed | WholeFeed) -> None:
        self._feeds.setdefault(request_id, set()).add(feed)

    def report_behind(self) -> None:
        """Publish every few seconds that a reader is behind, until all have caught up: then once with 0."""
        if self._reporting is None or self._reporting.done():
            self._reporting = asyncio.create_task(self._report_behind())

    async def _report_behind(self) -> None:
        subject = reading(self.account, self.client_name)
        reported_s = 0.0
        while any(feed.is_behind for feeds in self._feeds.values() for feed in feeds) or reported_s:
            await asyncio.sleep(READER_BEHIND_EVERY_S)
            behind_s = max((feed.behind_s() for feeds in self._feeds.values() for feed in feeds), default=0.0)
            if behind_s or reported_s:
                with contextlib.suppress(nats.errors.Error):  # what is lost is repeated
                    await self._nc.publish(subject, encode(ReaderBehind(behind_s=round(behind_s, 3))))
            reported_s = behind_s

    def _stop_reporting(self) -> None:
        if self._reporting is not None:
            self._reporting.cancel()

    def discard(self, request_id: str, feed: Feed | WholeFeed) -> None:
        self._feeds[request_id].discard(feed)
        if not self._feeds[request_id]:
            del self._feeds[request_id]

    def _on_reply(self, msg: Msg) -> None:
        feeds = self._feeds.get(msg.subject.rpartition(".")[2])
        event = read_event(msg) if feeds else None
        if feeds and event is not None:
            for feed in feeds:
                feed.put(event, len(msg.data))

    async def _read_stored(self) -> None:
        """After a reconnection: every reader looks into the store, since live events may have been lost."""
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.put(None)


class _FeedRegistration:
    """Registers a feed while it is entered.

    It is not a generator: a loop that shuts down closes all generators at once, and an inner one would be closed before
    the outer one has finished with it.
    """

    def __init__(self, replies: ReplySubscription, request_id: str, owner: str) -> None:
        self._replies = replies
        self._request_id = request_id
        self._owner = owner
        self._feed = Feed(replies.report_behind)
        self._other: Subscription | None = None

    async def __aenter__(self) -> Feed:
        self._replies.add(self._request_id, self._feed)
        if self._owner != self._replies.client_name:
            self._other = await self._replies.follow_other(self._request_id, self._owner)
        return self._feed

    async def __aexit__(self, *_: object) -> None:
        self._replies.discard(self._request_id, self._feed)
        self._feed.close()
        if self._other is not None:
            await self._replies.leave_other(self._other)
