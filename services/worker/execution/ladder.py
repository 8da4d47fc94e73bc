"""The hot path, read from the top down, one concern a rung:

within the deadline → through the chain → behind the breaker → with quota → one attempt.
"""

from __future__ import annotations

import asyncio
from typing import Final

from penstock.bus.clock import loop_now_s
from services.worker.execution.attempt import Attempting, Spent, Success
from services.worker.execution.equipment import Equipment
from services.worker.execution.next_attempt import NextAttempt
from services.worker.execution.outcomes import Lessons
from services.worker.execution.rescue import why_no_other_attempt
from services.worker.execution.selection import Selection
from services.worker.execution.state import GaveUp, Job
from services.worker.execution.wait_queue import Waiting
from services.worker.providers.errors.failures import Health, ProviderFailure
from services.worker.rate_limit.quota import QuotaKey

__all__ = ["Ladder"]


_SOON_S: Final = 1.0
"""When to come back if nothing is known to stand in the way any more."""


class _NotNow(Exception):
    """The model was taken between the choice and the call: choose again."""


class Ladder:
    """Climbed once per request. Raises GaveUp with what the application shall hear."""

    def __init__(self, equipment: Equipment, lessons: Lessons, waiting: Waiting) -> None:
        self._availability = equipment.availability
        self._selection = Selection(equipment, waiting)
        self._attempting = Attempting(equipment)
        self._next_attempt = NextAttempt(equipment.catalogue, equipment.availability, equipment.random)
        self._lessons = lessons
        self._waiting = waiting
        self._pace = equipment.pace

    async def climb(self, job: Job) -> Success:
        return await self._within_deadline(job)

    async def _within_deadline(self, job: Job) -> Success:
        if job.deadline_s <= loop_now_s():
            raise self._too_late(job, "the request waited in the mailbox")
        why = why_no_other_attempt(job.work.rescue, begun=job.reply.attempt > 0, text_sent=job.text_sent)
        if why is not None:
            raise GaveUp("provider_unavailable", f"the worker that was answering is gone; {why}")
        try:
            async with asyncio.timeout_at(job.deadline_s) as timer:
                return await self._through_chain(job)
        except TimeoutError as error:
            if not timer.expired():
                raise  # a store that did not answer: the mailbox tries again
            raise self._too_late(job, job.waits_for or "an answer was being made") from error
        finally:
            self._selection.withdraw(job)

    def _too_late(self, job: Job, meanwhile: str) -> GaveUp:
        retry_after_s = self._selection.retry_after_s(job) or _SOON_S
        return GaveUp("deadline_exceeded", f"the deadline passed while {meanwhile}", retry_after_s)

    async def _through_chain(self, job: Job) -> Success:
        chain = self._selection.chain(job)
        while True:
            model = await self._selection.next_model(job, chain)
            try:
                success = await self._behind_breaker(job, model)
            except _NotNow:
                continue
            except ProviderFailure as failure:
                self._lessons.of_failure(job, model, failure)
                self._next_attempt.after(job, model, failure)
            else:
                self._next_attempt.succeeded(job, model)
                return success

    async def _behind_breaker(self, job: Job, model: str) -> Success:
        admission = self._availability.breakers[model].admit(loop_now_s(), trial=job.last_resort)
        if not admission.admitted:
            raise _NotNow
        self._lessons.breaker_moved(model, admission.transition)
        health: Health = "neutral"
        try:
            success = await self._with_quota(job, model)
        except ProviderFailure as failure:
            health = self._lessons.health_of(job, model, failure)
            raise
        except asyncio.CancelledError:
            health = "failure" if job.silent_until_deadline else "neutral"
            raise
        else:
            health = "success"
            return success
        finally:
            self._lessons.of_call(model, admission, health)

    async def _with_quota(self, job: Job, model: str) -> Success:
        permit = await self._selection.acquire(job, model)
        if permit is None:
            raise _NotNow
        spent = Spent(tokens=permit.tokens)
        began_s = loop_now_s()
        self._pace.call_began(job.work.role, job.calls)
        try:
            success = await self._one_attempt(job, permit.key, spent)
        except ProviderFailure as failure:
            self._pace.call_failed(job.work.role, job.calls)
            self._lessons.of_refusal(job, permit.key, failure, began_s)
            raise
        else:
            self._lessons.of_success(permit.key, began_s)
            return success
        finally:
            self._availability.quota.settle(permit, spent.tokens, loop_now_s())
            self._pace.call_ended(model, spent.tokens)
            for observation in spent.observations:
                self._availability.quota.correct(permit.key, observation, loop_now_s())
            self._waiting.wake()

    async def _one_attempt(self, job: Job, key: QuotaKey, spent: Spent) -> Success:
        return await self._attempting.run(job, key, spent)
