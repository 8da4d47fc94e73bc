"""The hot path: executes one request on the models of its chain, one concern a step.

Within the deadline → through the chain → with a permit of breaker and quota, with its cost reserved and with its body →
one attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from msgspec import Struct

from penstock.bus.clock import loop_now_s
from services.worker.estimates.service_times import ServiceTimes
from services.worker.execution.attempt import Attempts, Success
from services.worker.execution.guarding import check_first, checked_beside, guarded
from services.worker.execution.hold_raiser import HoldRaiser
from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.model_chains import ModelChains
from services.worker.execution.next_attempt import NextAttempt, why_no_other_attempt
from services.worker.execution.outcomes import Outcomes
from services.worker.execution.permitted_call import PermittedCall, ReportedOutcome
from services.worker.execution.retrieval_step import PassageRetrieval
from services.worker.execution.selection import CallPermit, Selection
from services.worker.execution.state import Execution, GaveUp, no_room
from services.worker.guard.request_guard import RequestGuard
from services.worker.providers.errors.failures import ProviderFailure

__all__ = ["ChainExecutor"]


class ChainExecutor(Struct, frozen=True):
    chains: ModelChains
    selection: Selection
    attempts: Attempts
    bodies: LargeBodies
    retrieval: PassageRetrieval
    outcomes: Outcomes
    next_attempt: NextAttempt
    service_times: ServiceTimes
    hold_raiser: HoldRaiser | None
    """None: there are no budgets."""

    def execute(self, execution: Execution) -> Coroutine[Any, Any, Success]:
        """Raises GaveUp with the error for the application."""
        guard = execution.guard
        return self._within_deadline(execution) if guard is None else self._guarded(execution, guard)

    async def _guarded(self, execution: Execution, guard: RequestGuard) -> Success:
        async with guarded(guard):
            return await self._within_deadline(execution)

    async def _within_deadline(self, execution: Execution) -> Success:
        if execution.deadline_s <= loop_now_s():
            raise self.selection.deadline_passed(execution, "while the request waited in its mailbox")
        begun, text_sent = execution.reply.attempt > 0, execution.history.text_sent
        why = why_no_other_attempt(execution.work.rescue, begun=begun, text_sent=text_sent)
        if why is not None:
            raise GaveUp("provider_unavailable", f"the worker stopped responding; {why}")
        try:
            async with asyncio.timeout_at(execution.deadline_s) as timer:
                success = await self._through_chain(execution)
                if success.response is not None:
                    await execution.reply.wait_for_room(len(success.response))
                return success
        except TimeoutError as error:
            if not timer.expired():
                raise  # a store did not answer: the mailbox delivers the message again
            if execution.reply.waits_for_room:
                raise no_room() from error
            when = f"while {execution.waits_for}" if execution.waits_for else "during the provider call"
            raise self.selection.deadline_passed(execution, when) from error
        finally:
            self.selection.stop_waiting(execution)

    async def _through_chain(self, execution: Execution) -> Success:
        await self.retrieval.add(execution)
        execution.chain = self.chains.for_request(execution)
        execution.first_choice = execution.chain[0]
        await check_first(execution, self.bodies)
        while True:
            permit = await self.selection.next_call(execution)
            try:
                success = await self._with_permit(execution, permit)
            except ProviderFailure as failure:
                self.next_attempt.after_failure(execution, permit.key.model, failure)
            else:
                self.next_attempt.after_success(execution, permit.key.model)
                return success

    async def _with_permit(self, execution: Execution, permit: CallPermit) -> Success:
        """With its cost reserved."""
        key = permit.quota.key
        with PermittedCall(self.selection, self.outcomes, permit) as call:
            try:
                if self.hold_raiser is not None:
                    await self.hold_raiser.cover(execution, key.model)
                if self.bodies.is_in_memory(execution) and execution.guard is None:
                    call.spent.tokens = permit.quota.tokens
                    return await self._attempt(execution, call)
                return await self._with_body(execution, call)
            finally:
                self.service_times.record_tokens(key.model, call.spent.tokens)

    async def _with_body(self, execution: Execution, call: PermittedCall) -> Success:
        """With the body in memory: one that is stored apart is read now."""
        async with self.bodies.read(execution):
            call.spent.tokens = call.permit.quota.tokens
            async with checked_beside(execution):
                return await self._attempt(execution, call)

    async def _attempt(self, execution: Execution, call: PermittedCall) -> Success:
        self.service_times.record_call_start(execution.work.role, execution.calls)
        try:
            with ReportedOutcome(call, execution):
                return await self.attempts.run(execution, call.permit.quota.key, call.spent)
        except ProviderFailure:
            self.service_times.record_call_failure(execution.work.role, execution.calls)
            raise
