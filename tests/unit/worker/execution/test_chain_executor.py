"""D1, E4: what ends a request, and what only interrupts its execution."""

from __future__ import annotations

import asyncio

import nats.errors
import pytest

from penstock.runtime.reply_publisher import AnnouncedAttempt
from services.worker.execution.state import GaveUp
from tests.unit.worker.worker_parts import AmpleRoom, WorkerParts, catalogue_of


class Unanswered:
    """A reply whose stream did not acknowledge the attempt."""

    attempt = 0

    async def begin_attempt(self, _: AnnouncedAttempt, **_yields: bool) -> bool:
        raise nats.errors.TimeoutError


class Endless(AmpleRoom):
    attempt = 0

    async def begin_attempt(self, _: AnnouncedAttempt, **_yields: bool) -> bool:
        await asyncio.Event().wait()
        return False


async def test_e4_a_timeout_of_the_server_is_not_the_deadline() -> None:
    parts = WorkerParts(catalogue_of())
    with pytest.raises(nats.errors.TimeoutError):
        await parts.chain_executor().execute(parts.execution(Unanswered(), lasts_s=3600, lane="batch"))


async def test_d1_a_passed_deadline_ends_the_request_with_the_reason() -> None:
    parts = WorkerParts(catalogue_of())
    with pytest.raises(GaveUp, match="the deadline passed during the provider call") as caught:
        await parts.chain_executor().execute(parts.execution(Endless(), lasts_s=0.02))
    assert caught.value.code == "deadline_exceeded"


async def test_d1_a_deadline_passed_in_the_mailbox_starts_no_attempt() -> None:
    parts = WorkerParts(catalogue_of())
    with pytest.raises(GaveUp, match="waited in its mailbox"):
        await parts.chain_executor().execute(parts.execution(Endless(), lasts_s=-1))
