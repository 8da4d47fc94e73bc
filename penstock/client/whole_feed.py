"""The live events of a reply of which only the whole counts: one wake-up at its end, instead of one for each event."""

from __future__ import annotations

import asyncio
from typing import Final

from penstock.client.follow import CLOCK_S, Followed
from penstock.client.sequencer import ReplySequencer
from penstock.contract.reply import TERMINAL, Accepted, ReplyEvent

__all__ = ["WholeFeed"]

_MOST: Final = 64
"""Events that wait for the end: a reply that does not stream has three or four."""
_MOST_BYTES: Final = 512 * 1024
"""Size of these events as messages; one more, such as the end, may exceed it."""


class WholeFeed:
    """As a Feed, for one reader that takes all events together.

    It keeps the events as long as they come in order. Where one is missing, where the store should be read, or where
    nothing comes for `silence_s`, the reader has to follow the reply from the store on.
    """

    is_behind: Final = False
    """For `Feed.is_behind`: a reader that takes all events together is never too slow for some of them."""

    def __init__(self) -> None:
        self.events: list[ReplyEvent] = []
        """The events so far."""
        self.accepted: Accepted | None = None
        self._bytes = 0
        self._sequencer = ReplySequencer()
        self._loop = asyncio.get_running_loop()
        self._is_whole: asyncio.Future[bool] = self._loop.create_future()
        self._followed: Followed | None = None
        """Set while the reader waits."""
        self._heard_s = 0.0
        """When the last event came, or the reader began to wait."""
        self._timer: asyncio.TimerHandle | None = None

    def behind_s(self) -> float:
        return 0.0

    def put(self, event: ReplyEvent | None, size: int = 0) -> None:
        """`size`: that of its message, in bytes. What comes after the end is left out."""
        if self._sequencer.ended:
            return
        if event is None or len(self.events) == _MOST or self._bytes >= _MOST_BYTES:
            self._end(is_whole=False)
            return
        self.events.append(event)
        self._bytes += size
        self._heard_s = self._loop.time()
        if not self._sequencer.take(event):
            self._end(is_whole=False)
        elif isinstance(event, TERMINAL):
            self._end(is_whole=True)
        elif isinstance(event, Accepted):
            self.accepted = event
            if self._followed is not None:
                self._followed.note_accepted(event)
                if self._timer is not None and self._timer.when() > self._followed.until_s:
                    self._timer.cancel()
                    self._arm(self._followed)

    async def wait(self, followed: Followed) -> bool:
        """Whether the whole reply has come; False as soon as the reply has to be followed. Called once."""
        if not self._is_whole.done():
            self._followed = followed
            self._heard_s = self._loop.time()
            if self.accepted is not None:
                followed.note_accepted(self.accepted)
            self._arm(followed)
            try:
                await self._is_whole
            finally:
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None
        return self._is_whole.result()

    def _end(self, *, is_whole: bool) -> None:
        if not self._is_whole.done():
            self._is_whole.set_result(is_whole)

    def _due_s(self, followed: Followed) -> float:
        return min(self._heard_s + followed.timings.silence_s, followed.until_s)

    def _arm(self, followed: Followed) -> None:
        self._timer = self._loop.call_at(self._due_s(followed), self._on_timer, followed)

    def _on_timer(self, followed: Followed) -> None:
        """Events may have come since the timer was set: then the silence has begun later."""
        self._timer = None
        if self._loop.time() + CLOCK_S >= self._due_s(followed):
            self._end(is_whole=False)
        else:
            self._arm(followed)
