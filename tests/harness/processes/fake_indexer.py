"""An indexer that answers searches as a test tells it, and keeps what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client as Nats
from nats.aio.msg import Msg

from penstock.bus.connection import connect
from penstock.contract import codec
from penstock.contract.retrieval.search import Passage, SearchAnswer, SearchFailed, SearchRequest

__all__ = ["FakeIndexer", "found"]

Answer = Callable[[SearchRequest], SearchAnswer | SearchFailed | bytes | None]
"""The answer, bytes to send as they are, or None for silence."""


def found(*texts: str, whole: bool = False, model: str = "embedding", **fields: Any) -> SearchAnswer:
    """An answer with these passages, the best first, each of a document of its own; without a model: by words alone."""
    passages = tuple(
        Passage(
            **{
                "document": f"docs/{number}.md",
                "chunk": f"c{number}",
                "text": text,
                "source": f"https://example.com/{number}",
                "heading": f"Guide > Part {number}",
                "end": len(text),
                "score": 1 - number / 10,
                **fields,
            }
        )
        for number, text in enumerate(texts, 1)
    )
    return SearchAnswer(passages=passages, whole=whole, model=model)


def _nothing(_: SearchRequest) -> SearchAnswer:
    return SearchAnswer(passages=())


class FakeIndexer:
    """Answers every search, those in the memory of a user by `recall`."""

    def __init__(self) -> None:
        self.answer: Answer = _nothing
        self.recall: Answer = _nothing
        self.takes_s = 0.0
        self.searches: list[SearchRequest] = []
        self.recalls: list[SearchRequest] = []
        self.accounts: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._answering: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def running(cls, url: str) -> AsyncIterator[FakeIndexer]:
        nc: Nats = await connect(url, name="fake-indexer")
        indexer = cls()
        await nc.subscribe("llm.index.search.*", queue="indexer", cb=indexer._receive)
        await nc.flush()
        try:
            yield indexer
        finally:
            for task in indexer._answering:
                task.cancel()
            await nc.close()

    async def _receive(self, msg: Msg) -> None:
        task = asyncio.create_task(self._respond(msg))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _respond(self, msg: Msg) -> None:
        request = codec.SEARCH_REQUEST.decode(msg.data)
        self.accounts.append(msg.subject.rpartition(".")[2])
        self.headers.append(dict(msg.headers or {}))
        (self.searches if request.collection else self.recalls).append(request)
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        answer = (self.answer if request.collection else self.recall)(request)
        if answer is not None:
            await msg.respond(answer if isinstance(answer, bytes) else codec.encode(answer))
