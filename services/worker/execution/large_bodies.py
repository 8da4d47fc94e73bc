"""Bodies of requests in memory, with what was retrieved; those that are stored apart are read before each call, and
deleted once the request has ended.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Raw
from msgspec.structs import replace

from penstock.bus.clock import loop_now_s
from penstock.bus.large_bodies import BodyDiffers, BodyLost, delete_body, read_body
from penstock.contract.names import Lane
from penstock.contract.request import BodyRef
from penstock.contract.streams import MAX_BODY_BYTES
from penstock.contract.work import ChatWork
from penstock.runtime.body_work import in_thread_if_large
from penstock.runtime.byte_budget import ByteBudget
from penstock.runtime.service import Bus
from services.worker.execution.state import Execution, GaveUp

__all__ = ["LargeBodies"]

_LIMITS_BYTES: Final[Mapping[Lane, int]] = {"interactive": 2 * MAX_BODY_BYTES, "batch": MAX_BODY_BYTES}
"""Bytes of stored bodies in memory at once. The lanes are apart, so that the calls of jobs delay no other request."""
_RETRY_S: Final = 1.0


class LargeBodies:
    """Bodies are in memory during calls only: a request that waits for quota delays no request of another role."""

    def __init__(self, bus: Bus, limits: Mapping[Lane, int] = _LIMITS_BYTES) -> None:
        self._bus = bus
        self._budgets = {lane: ByteBudget(limit) for lane, limit in limits.items()}

    def is_in_memory(self, execution: Execution) -> bool:
        """Whether the work of the execution has its body as it is sent: `read` would do nothing."""
        return execution.work.body_ref is None and not execution.retrieved.messages

    @asynccontextmanager
    async def read(self, execution: Execution) -> AsyncIterator[None]:
        """The work of the execution has its body inside, with what was retrieved for it. Raises GaveUp."""
        work, ref = execution.work, execution.work.body_ref
        if ref is None:
            execution.work = await _with_passages(execution)
            try:
                yield
            finally:
                execution.work = work
            return
        execution.waits_for = "the body was read"
        async with self._budgets[work.lane].hold(ref.size):
            execution.work = replace(work, body=Raw(await self._read(execution, ref)))
            execution.waits_for = ""
            try:
                execution.work = await _with_passages(execution)
                yield
            finally:
                execution.work = work

    async def delete(self, work: ChatWork) -> None:
        if work.body_ref is not None:
            await delete_body(self._bus.nc, work.reply_to)

    async def _read(self, execution: Execution, ref: BodyRef) -> bytearray:
        timeout_s = execution.deadline_s - loop_now_s()
        try:
            return await read_body(self._bus.nc, execution.work.reply_to, ref, timeout_s=timeout_s)
        except BodyLost as error:
            message = f"the body of the request is not stored any more ({error}): send the request again"
            raise GaveUp("internal", message, _RETRY_S) from error
        except BodyDiffers as error:
            raise GaveUp("invalid_request", str(error)) from error


async def _with_passages(execution: Execution) -> ChatWork:
    work, retrieved = execution.work, execution.retrieved
    if not retrieved.messages:
        return work
    return replace(work, body=await in_thread_if_large(retrieved.added_to, work.body))
