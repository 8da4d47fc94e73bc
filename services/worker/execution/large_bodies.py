"""Bodies that are stored apart: read before the call, and deleted once the request has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from penstock.bus.clock import loop_now_s
from penstock.bus.large_bodies import BodyDiffers, BodyLost, delete_body, read_body
from penstock.contract.names import Lane
from penstock.contract.request import BodyRef
from penstock.contract.streams import MAX_BODY_BYTES
from penstock.contract.work import ChatWork
from penstock.runtime.byte_budget import ByteBudget
from penstock.runtime.service import Bus
from services.worker.execution.state import Execution, GaveUp
from services.worker.intake.checked_work import InvalidWork, output_limit, output_tokens

__all__ = ["LargeBodies"]

_BODIES_BYTES: Final[Mapping[Lane, int]] = {"interactive": 2 * MAX_BODY_BYTES, "batch": MAX_BODY_BYTES}
"""Bytes of stored bodies in memory at once. The lanes are apart, because a job may wait long for quota."""
_RETRY_S: Final = 1.0


class LargeBodies:
    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._budgets = {lane: ByteBudget(limit) for lane, limit in _BODIES_BYTES.items()}

    @asynccontextmanager
    async def read(self, execution: Execution, ref: BodyRef) -> AsyncIterator[None]:
        """The execution has its body inside. Raises GaveUp."""
        work, size = execution.work, execution.size
        execution.waits_for = "the body was read"
        async with self._budgets[work.lane].hold(ref.size):
            body = await self._read(execution, ref)
            execution.work = replace(work, body=Raw(body))
            execution.size = replace(size, work=execution.work, output_tokens=_output_tokens(execution, body))
            execution.waits_for = ""
            try:
                yield
            finally:
                execution.work, execution.size = work, size

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


def _output_tokens(execution: Execution, body: bytearray) -> int:
    try:
        return output_tokens(output_limit(body), execution.role)
    except (InvalidWork, msgspec.MsgspecError, RecursionError) as error:
        raise GaveUp("invalid_request", f"the body cannot be read: {error}") from error
