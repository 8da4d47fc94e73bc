"""A ledger that answers as a test tells it, to show what its clients do with each answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.connection import connect
from penstock.contract import codec, subjects
from penstock.contract.events import HoldReleased, UsageRecorded
from penstock.contract.ledger.holds import HoldAnswer, HoldGranted, HoldRequest

__all__ = ["FakeLedger"]

Decide = Callable[[HoldRequest], Awaitable[HoldAnswer | bytes | None]]
"""The answer, its bytes, or None for silence."""


async def _grant(request: HoldRequest) -> HoldAnswer | bytes | None:
    return HoldGranted(id=request.id)


class FakeLedger:
    """Answers for all partitions, and reads when holds end. Without limits: `decide` refuses."""

    def __init__(self, nc: Nats) -> None:
        self._nc = nc
        self.decide: Decide = _grant
        self.asked: list[HoldRequest] = []
        self.headers: list[dict[str, str]] = []
        """Of each request."""
        self.open: dict[str, HoldRequest] = {}
        self.released: list[HoldReleased] = []
        self.settled: list[UsageRecorded] = []

    @classmethod
    @asynccontextmanager
    async def running(cls, url: str, partition: str = "*") -> AsyncIterator[FakeLedger]:
        """`partition`: the one that it owns; otherwise all."""
        nc = await connect(url, name="fake-ledger")
        ledger = cls(nc)
        await nc.subscribe(subjects.ledger_hold(partition), cb=ledger._answer)
        await nc.subscribe(subjects.all_usage_of(subjects.SYSTEM_PARTITION), cb=ledger._settle)
        await nc.flush()
        try:
            yield ledger
        finally:
            await nc.close()

    def asked_for(self, request_id: str) -> list[HoldRequest]:
        """The questions of one request."""
        return [asked for asked in self.asked if asked.id.endswith(f".{request_id}")]

    def is_open(self, request_id: str) -> bool:
        return any(hold.endswith(f".{request_id}") for hold in self.open)

    def why_released(self, request_id: str) -> list[str]:
        return [event.why for event in self.released if event.hold_id.endswith(f".{request_id}")]

    async def _answer(self, msg: Msg) -> None:
        asked = codec.HOLD_REQUEST.decode(msg.data)
        assert isinstance(asked, HoldRequest)
        self.asked.append(asked)
        self.headers.append(dict(msg.headers or {}))
        answer = await self.decide(asked)
        if isinstance(answer, HoldGranted):
            self.open[asked.id] = asked
        if answer is not None:
            await msg.respond(answer if isinstance(answer, bytes) else codec.encode(answer))

    async def _settle(self, msg: Msg) -> None:
        event = codec.USAGE.decode(msg.data)
        if isinstance(event, HoldReleased):
            self.released.append(event)
            self.open.pop(event.hold_id, None)
        else:
            self.settled.append(event)
            if event.ends or event.outcome == "completed":
                self.open.pop(event.hold_id or "", None)
