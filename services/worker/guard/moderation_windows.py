"""Moderation of an answer while it streams: its text is checked in windows, which hold nothing back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Final

from msgspec import Struct

from penstock.contract.guard.checks import CheckedText

__all__ = ["ModerationWindows"]

_CONTEXT_CHARACTERS: Final = 256
"""Characters before a window that are sent with it."""


class _Unsent(Struct):
    """The text of one channel that was not sent yet."""

    context: str = ""
    pieces: list[str] = []
    characters: int = 0

    def window(self) -> CheckedText:
        text = "".join(self.pieces)
        checked = CheckedText(text=self.context + text, origin="output", start=len(self.context))
        self.context = checked.text[-_CONTEXT_CHARACTERS:]
        self.pieces, self.characters = [], 0
        return checked


class ModerationWindows:
    """The windows of all channels of one answer. One check runs at a time; the next has all that has gathered since."""

    def __init__(
        self, check: Callable[[Sequence[CheckedText]], Awaitable[None]], window_characters: int
    ) -> None:
        """`check`: ends the request itself if the guard refuses the text."""
        self._check = check
        self._window_characters = window_characters
        self._channels: dict[Hashable, _Unsent] = {}
        self._waiting: list[CheckedText] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, channel: Hashable, text: str) -> None:
        """Take the next text of a channel."""
        if not text:
            return
        gathered = self._channels.setdefault(channel, _Unsent())
        gathered.pieces.append(text)
        gathered.characters += len(text)
        if gathered.characters >= self._window_characters:
            self._send(gathered)

    async def end(self) -> None:
        """Check the last windows, and wait for the verdicts on all of them."""
        for channel in self._channels.values():
            if channel.characters:
                self._send(channel)
        if self._task is not None:
            await self._task

    def drop(self) -> None:
        """Check nothing more: the attempt is over."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()

    def _send(self, channel: _Unsent) -> None:
        self._waiting.append(channel.window())
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._check_waiting())

    async def _check_waiting(self) -> None:
        while self._waiting:
            texts, self._waiting = self._waiting, []
            await self._check(texts)
