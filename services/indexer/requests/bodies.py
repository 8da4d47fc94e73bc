"""Bodies of index requests: those in the message, and those that are stored apart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from penstock.bus.clock import loop_now_s
from penstock.bus.large_bodies import BodyDiffers, BodyLost, delete_body, read_body
from penstock.contract.retrieval.documents import IndexBody
from penstock.contract.streams import MAX_BODY_BYTES
from penstock.contract.work import ChatWork
from penstock.runtime.byte_budget import ByteBudget
from penstock.runtime.service import Bus
from services.indexer.indexing.document_check import InvalidBody
from services.indexer.indexing.document_check import read_body as read_index_body
from services.indexer.requests.outcome import GaveUp

__all__ = ["RequestBodies"]

_LIMIT_BYTES: Final = 2 * MAX_BODY_BYTES
"""Of the bodies of all requests that are worked on."""
_IN_THREAD: Final = 256 * 1024
_RETRY_S: Final = 1.0


class RequestBodies:
    def __init__(self, bus: Bus, limit: int = _LIMIT_BYTES) -> None:
        self._bus = bus
        self._budget = ByteBudget(limit)

    @asynccontextmanager
    async def read(self, work: ChatWork, until_s: float) -> AsyncIterator[IndexBody]:
        """Raises GaveUp."""
        size = len(memoryview(work.body)) if work.body_ref is None else work.body_ref.size
        async with self._budget.hold(size):
            data = await self._data(work, until_s)
            try:
                if size < _IN_THREAD:
                    body = read_index_body(data)
                else:
                    body = await asyncio.to_thread(read_index_body, data)
            except InvalidBody as error:
                raise GaveUp("invalid_request", str(error)) from error
            del data
            yield body

    async def delete(self, work: ChatWork) -> None:
        if work.body_ref is not None:
            await delete_body(self._bus.nc, work.reply_to)

    async def _data(self, work: ChatWork, until_s: float) -> bytearray | memoryview:
        if work.body_ref is None:
            return memoryview(work.body)
        try:
            return await read_body(
                self._bus.nc, work.reply_to, work.body_ref, timeout_s=until_s - loop_now_s()
            )
        except BodyLost as error:
            message = f"the body of the request is not stored any more ({error}): send the request again"
            raise GaveUp("internal", message, _RETRY_S) from error
        except BodyDiffers as error:
            raise GaveUp("invalid_request", str(error)) from error
