"""D1, E4: what ends a request, and what only interrupts it."""

from __future__ import annotations

import asyncio
from typing import Any

import nats.errors
import pytest

from services.worker.credentials.changes import KeyNews
from services.worker.execution.ladder import Ladder
from services.worker.execution.outcomes import Lessons
from services.worker.execution.state import GaveUp
from services.worker.execution.wait_queue import Waiting
from tests.unit.worker.equipped import catalogue_of, equipped, job_of


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


class _Rungs:
    def __init__(self) -> None:
        self.equipment = equipped(catalogue_of())
        waiting = Waiting()
        self.ladder = Ladder(
            self.equipment, Lessons(self.equipment, KeyNews(self.equipment, waiting.wake)), waiting
        )


async def test_a_server_that_does_not_answer_is_no_deadline_and_the_mailbox_tries_again_e4() -> None:
    rungs = _Rungs()
    with pytest.raises(nats.errors.TimeoutError):
        await rungs.ladder.climb(job_of(rungs.equipment, Unanswered(), lasts_s=3600, lane="batch"))


async def test_a_deadline_that_passes_ends_the_request_in_its_own_words() -> None:
    rungs = _Rungs()
    with pytest.raises(GaveUp, match="the deadline passed while an answer was being made") as caught:
        await rungs.ladder.climb(job_of(rungs.equipment, Endless(), lasts_s=0.02))
    assert caught.value.code == "deadline_exceeded"


async def test_a_deadline_that_passed_in_the_mailbox_begins_no_attempt() -> None:
    rungs = _Rungs()
    with pytest.raises(GaveUp, match="waited in the mailbox"):
        await rungs.ladder.climb(job_of(rungs.equipment, Endless(), lasts_s=-1))
