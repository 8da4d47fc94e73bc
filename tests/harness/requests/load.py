"""Continuous load: several requests in flight at any time, and the reply to each."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from penstock.bus.stored_replies import stored_replies
from penstock.client.client import Client
from penstock.contract import subjects
from penstock.contract.reply import TERMINAL
from tests.harness.requests.replies import ReceivedReply, ask
from tests.harness.suite.waiting import until

__all__ = ["Load", "stored_ends"]


class Load:
    """Sends requests to the roles in turn; every second one is streamed."""

    def __init__(
        self,
        client: Client,
        roles: Sequence[str] = ("chat",),
        *,
        at_once: int = 12,
        prompt: str = "Where does it go?",
        timeout_s: float = 60.0,
    ) -> None:
        self._client = client
        self._roles = roles
        self._at_once = at_once
        self._prompt = prompt
        self._timeout_s = timeout_s
        self._numbers = itertools.count()
        self._stopping = asyncio.Event()
        self.received: list[ReceivedReply] = []
        self.ended_s: list[float] = []
        """Monotonic seconds at which each request ended, ascending."""

    @property
    def ids(self) -> set[str]:
        return {each.id for each in self.received}

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(each.code or "completed" for each in self.received)

    def longest_gap_s(self, since_s: float = 0.0) -> float:
        """The longest time in which no request ended; from `since_s` on if it is given."""
        began = [since_s] if since_s else []
        moments = began + [moment for moment in self.ended_s if moment >= since_s]
        return max(later - sooner for sooner, later in itertools.pairwise(moments))

    async def run(self, requests: int) -> None:
        """Send so many requests and return when all have ended."""
        await self._all(requests)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Send requests while the block runs; leaving it waits for the end of all. Raises the first error."""
        self._asking = asyncio.create_task(self._all(None))
        try:
            yield
            self._stopping.set()
            await self._asking
        finally:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def more(self, requests: int, within_s: float = 40.0) -> None:
        """Wait until so many more requests have ended."""
        wanted = len(self.received) + requests

        async def enough() -> bool:
            if self._asking.done():  # while requests are sent it ends only with an error
                self._asking.result()
            return len(self.received) >= wanted

        await until(enough, within_s)

    async def _all(self, requests: int | None) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(self._at_once):
                group.create_task(self._one_after_another(requests))

    async def _one_after_another(self, requests: int | None) -> None:
        while not self._stopping.is_set():
            number = next(self._numbers)
            if requests is not None and number >= requests:
                return
            role = self._roles[number % len(self._roles)]
            streamed = (number // len(self._roles)) % 2 == 0
            received = await ask(
                self._client, self._prompt, role=role, stream=streamed, timeout_s=self._timeout_s
            )
            self.received.append(received)
            self.ended_s.append(time.monotonic())


async def stored_ends(client: Client, ids: set[str]) -> Counter[int]:
    """Number of requests by their number of stored terminal events."""
    ends: Counter[int] = Counter()
    for request_id in ids:
        events = await stored_replies(client._nc, subjects.reply("demo", client.name, request_id))
        ends[sum(isinstance(event, TERMINAL) for event in events)] += 1
    return ends
