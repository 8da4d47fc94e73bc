"""Where the guard acts in the execution of a request: before a model is chosen, beside each attempt, and to end it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from services.worker.execution.large_bodies import LargeBodies
from services.worker.execution.state import Execution, GaveUp
from services.worker.guard.guard_checks import Refused
from services.worker.guard.request_guard import RequestGuard
from services.worker.providers.errors.failures import ProviderFailure

__all__ = ["check_failure", "check_first", "checked_beside", "given_up", "guarded"]


@asynccontextmanager
async def guarded(guard: RequestGuard) -> AsyncIterator[None]:
    """Cancels what runs inside, at once, when the guard refuses the request. Raises GaveUp."""
    try:
        async with guard.permission.enforced():
            yield
    except Refused as refused:
        raise given_up(refused) from refused
    finally:
        await guard.close()


def given_up(refused: Refused) -> GaveUp:
    """The end of a request that the guard refuses."""
    return GaveUp(refused.code, str(refused), refused.retry_after_s, categories=refused.categories)


async def check_first(execution: Execution, bodies: LargeBodies) -> None:
    """Check what must be known before anything is sent to a provider. Raises Refused."""
    guard = execution.guard
    if guard is None or not guard.checks_first:
        return
    async with bodies.read(execution):
        execution.waits_for = "the safety guard checked the request"
        await guard.check_first(execution.work.body, execution.retrieved.documents)
    execution.waits_for = ""


@asynccontextmanager
async def checked_beside(execution: Execution) -> AsyncIterator[None]:
    """The input is checked beside the attempt inside, whose body has no value that is redacted. Raises Refused."""
    guard, work = execution.guard, execution.work
    if guard is None:
        yield
        return
    execution.work = replace(work, body=await guard.begin_attempt(work.body, execution.retrieved.documents))
    try:
        yield
    finally:
        execution.work = work


async def check_failure(execution: Execution, failure: ProviderFailure) -> None:
    """Remove from the texts of the failure what the policy redacts from answers."""
    if execution.guard is not None:
        failure.replace_texts(await execution.guard.failure_texts(failure.texts))
