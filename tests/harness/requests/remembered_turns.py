"""The turns of conversations that workers send to the indexer, of one account."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.connection import connect
from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract import codec
from penstock.contract.request import IndexRequest
from penstock.contract.retrieval.documents import Document
from tests.harness.processes.system import System

__all__ = ["RememberedTurns"]


class RememberedTurns:
    """An account with a client of its own."""

    def __init__(self, nc: Nats, client: Client) -> None:
        self.client = client
        self._nc = nc
        self._requests: list[IndexRequest] = []

    @classmethod
    @asynccontextmanager
    async def of_new_account(cls, system: System) -> AsyncIterator[RememberedTurns]:
        account = f"a-{new_id()}"
        nc = await connect(system.nats.url, name="reader")
        try:
            async with await system.client(account=account) as client:
                turns = cls(nc, client)
                await nc.subscribe(f"llm.request.{account}.index.>", cb=turns._receive)
                await nc.subscribe(f"llm.request.{account}.index", cb=turns._receive)
                await nc.flush()
                yield turns
        finally:
            await nc.close()

    async def turns(self) -> list[tuple[IndexRequest, Document]]:
        """Those that were sent before this call."""
        await self._nc.flush()
        return [(each, codec.INDEX_BODY.decode(each.body).documents[0]) for each in self._requests]

    async def _receive(self, msg: Msg) -> None:
        self._requests.append(codec.INDEX_REQUEST.decode(msg.data))
