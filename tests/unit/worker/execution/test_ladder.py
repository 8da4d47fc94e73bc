"""D1, E4: what ends a request, and what only interrupts it."""

from __future__ import annotations

import asyncio
from typing import Any

import nats.errors
import pytest

from services.worker.execution.state import GaveUp
from tests.unit.worker.worker_parts import WorkerParts, catalogue_of


class Unanswered:
    """A reply whose stream did not acknowledge the attempt."""

    attempt = 0

    async def begin_attempt(self, **_: Any) -> bool:
        raise nats.errors.TimeoutError


class Endless:
    attempt = 0

    async def begin_attempt(self, **_: Any) -> bool:
        await asyncio.Event().wait()
        return False


async def test_a_server_that_does_not_answer_is_no_deadline_and_the_mailbox_tries_again_e4() -> None:
    parts = WorkerParts(catalogue_of())
    with pytest.raises(nats.errors.TimeoutError):
        await parts.ladder().climb(parts.execution(Unanswered(), lasts_s=3600, lane="batch"))


async def test_a_deadline_that_passes_ends_the_request_in_its_own_words() -> None:
    parts = WorkerParts(catalogue_of())
    with pytest.raises(GaveUp, match="the deadline passed while an answer was being made") as caught:
        await parts.ladder().climb(parts.execution(Endless(), lasts_s=0.02))
    assert caught.value.code == "deadline_exceeded"


async def test_a_deadline_that_passed_in_the_mailbox_begins_no_attempt() -> None:
    parts = WorkerParts(catalogue_of())
    with pytest.raises(GaveUp, match="waited in the mailbox"):
        await parts.ladder().climb(parts.execution(Endless(), lasts_s=-1))
