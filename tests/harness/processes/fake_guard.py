"""A guard that answers as a test tells it, to show what a worker does with each answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from msgspec.structs import replace
from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.connection import connect
from penstock.bus.ids import new_id
from penstock.contract import codec, subjects
from penstock.contract.guard.checks import Finding, GuardCheck, GuardVerdict
from penstock.contract.guard.policies import ACTIONS, Action

__all__ = ["FakeGuard", "emails", "finding", "verdict"]

Decide = Callable[[GuardCheck], GuardVerdict | None]
"""The verdict, or None for silence."""


_EMAIL: Final = re.compile(r"[a-z]+@example\.com")


def finding(text: int, start: int, end: int, action: Action, name: str = "personal_data/email") -> Finding:
    category, _, kind = name.partition("/")
    return Finding(
        text=text, start=start, end=end, category=category, kind=kind, detector="personal_data", action=action
    )


def verdict(check: GuardCheck, *findings: Finding, **fields: Any) -> GuardVerdict:
    """The verdict with the strongest action of the findings."""
    action = max((each.action for each in findings), key=ACTIONS.index, default="allow")
    return GuardVerdict(id=check.id, action=action, findings=findings, **fields)


def emails(check: GuardCheck) -> list[Finding]:
    """The addresses of example.com in the texts, to be redacted; none if the check does not ask for personal data."""
    return [
        finding(index, match.start(), match.end(), "redact")
        for index, text in enumerate(check.texts)
        for match in _EMAIL.finditer(text.text)
        if "personal_data" in check.detectors and match.end() > text.start
    ]


class FakeGuard:
    """Answers every check after `takes_s`."""

    def __init__(self, nc: Nats, instance: str) -> None:
        self._nc = nc
        self._instance = instance
        self.decide: Decide = verdict
        self.takes_s = 0.0
        self.checks: list[GuardCheck] = []
        self.headers: list[dict[str, str]] = []
        """Of each check."""
        self._answering: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def running(cls, url: str) -> AsyncIterator[FakeGuard]:
        nc, instance = await connect(url, name="fake-guard"), new_id()
        guard = cls(nc, instance)
        await nc.subscribe(subjects.GUARD_CHECK, queue="guard", cb=guard._receive)
        await nc.subscribe(subjects.GUARD_CHECK_OF.format(instance=instance), cb=guard._receive)
        await nc.flush()
        try:
            yield guard
        finally:
            for task in guard._answering:
                task.cancel()
            await nc.close()

    async def _receive(self, msg: Msg) -> None:
        task = asyncio.create_task(self._answer(msg))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, msg: Msg) -> None:
        check = codec.GUARD_CHECK.decode(msg.data)
        self.checks.append(check)
        self.headers.append(dict(msg.headers or {}))
        if self.takes_s:
            await msg.respond(b"")
            await asyncio.sleep(self.takes_s)
        decided = self.decide(check)
        if decided is not None:
            await msg.respond(codec.encode(replace(decided, guard=self._instance)))
