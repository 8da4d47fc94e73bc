"""An indexer in memory: its own code with a store, records and a gateway of the test."""

from __future__ import annotations

import asyncio
import math
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

from penstock.contract.retrieval.collections import CollectionRecord
from penstock.contract.retrieval.documents import Document, IndexBody, IndexReport
from penstock.contract.retrieval.search import SearchAnswer, SearchRequest
from penstock.runtime.config.load import load_catalogue
from services.indexer.chunking.settings import ChunkSettings
from services.indexer.collections.names import is_memory
from services.indexer.collections.orphans import OrphanTables
from services.indexer.collections.tables import CollectionTables, table_of
from services.indexer.documents.extractor import DocumentExtractor
from services.indexer.embedding.batches import BatchEmbedder
from services.indexer.embedding.gateway import Caller, Embedded, EmbeddingFailed, Route
from services.indexer.embedding.models import EmbeddingModels
from services.indexer.indexing.collection_indexer import CollectionIndexer, IndexTask
from services.indexer.indexing.counts import Counts
from services.indexer.indexing.documents import DocumentWriter
from services.indexer.indexing.prepare import Preparer
from services.indexer.indexing.rebuild import Rebuilder
from services.indexer.memory.forgetting import Forgetting
from services.indexer.search.lookup import CollectionLookup, FollowedRecords
from services.indexer.search.query_vectors import QueryVectors
from services.indexer.search.searcher import AccountQuery, Searcher
from tests.harness.indexer.memory_store import MemoryStore
from tests.harness.processes.catalogues import catalogue

__all__ = ["CATALOGUE", "FakeGateway", "LocalIndexer", "MemoryRecords", "documents"]

ACCOUNT = "acme"
DIMENSIONS = 64
CATALOGUE = load_catalogue(
    catalogue(
        {"embed": ["small"], "embed_large": ["large"]},
        models={
            "small": {"embedding": {"dimensions": DIMENSIONS, "shortens": True}},
            "large": {"embedding": {"dimensions": 96}},
        },
        retrieval={},
    ),
    source="test",
    env={"PENSTOCK_SIMULATOR_URL": "http://127.0.0.1:1"},
)


def documents(**texts: str) -> IndexBody:
    return IndexBody(documents=tuple(Document(id=id_, text=text) for id_, text in texts.items()))


class FakeGateway:
    """Vectors of the words of a text, and a cache as the worker's."""

    def __init__(self) -> None:
        self.provided: Counter[str] = Counter()
        """How often a provider embedded each text."""
        self.requests: list[int] = []
        """The number of texts of each request."""
        self.refused: set[str] = set()
        """Requests with a text that contains one of these are refused."""
        self.names_refused = False
        """The refusal says which text it is."""
        self.failing: EmbeddingFailed | None = None
        self.before: Callable[[], Any] | None = None
        """Awaited before each answer."""
        self.stored: set[str] = set()
        """Texts whose vectors were kept."""
        self._cache: set[tuple[str, int | None, str]] = set()

    async def embed(self, texts: Sequence[str], route: Route, caller: Caller) -> Embedded:
        self.requests.append(len(texts))
        await asyncio.sleep(0)
        if self.before is not None:
            await self.before()
        if self.failing is not None:
            raise self.failing
        for place, text in enumerate(texts):
            if any(part in text for part in self.refused):
                named = place if self.names_refused else None
                raise EmbeddingFailed("provider_refused", "not this one", refused=named)
        name = route.model or route.role
        new = [
            text
            for text in dict.fromkeys(texts)
            if not caller.store or (name, route.dimensions, text) not in self._cache
        ]
        self.provided.update(new)
        if caller.store:
            self._cache |= {(name, route.dimensions, text) for text in new}
            self.stored.update(new)
        dimensions = route.dimensions or (96 if route.model == "large" else DIMENSIONS)
        tokens = sum(len(text.split()) for text in new)
        return Embedded([_vector(text, dimensions) for text in texts], len(new), tokens, 2 * tokens)


class MemoryRecords:
    def __init__(self) -> None:
        self.stored: dict[tuple[str, str], CollectionRecord] = {}

    async def read(self, account: str, name: str) -> CollectionRecord | None:
        await asyncio.sleep(0)
        return self.stored.get((account, name))

    async def change(
        self, account: str, name: str, change: Callable[[CollectionRecord | None], CollectionRecord | None]
    ) -> CollectionRecord | None:
        await asyncio.sleep(0)
        after = change(self.stored.get((account, name)))
        if after is not None:
            self.stored[account, name] = after
        return self.stored.get((account, name))

    async def all(self) -> list[CollectionRecord]:
        return list(self.stored.values())

    async def of_account(self, account: str) -> list[CollectionRecord]:
        return [record for record in self.stored.values() if record.account == account]


class _Clock:
    def __init__(self) -> None:
        self.now_ms = 1_700_000_000_000

    def unix_ms(self) -> int:
        self.now_ms += 1
        return self.now_ms


class LocalIndexer:
    def __init__(
        self,
        store: MemoryStore | None = None,
        records: MemoryRecords | None = None,
        gateway: FakeGateway | None = None,
        *,
        most_turns: int = 1_000,
        size: int = 200,
    ) -> None:
        self.store = store or MemoryStore()
        self.records = records or MemoryRecords()
        self.gateway = gateway or FakeGateway()
        self.clock = _Clock()
        self.models = EmbeddingModels(CATALOGUE)
        self.refusals: Counter[str] = Counter()
        self.changed: set[str] = set()
        self.version = 0
        self.max_answer_bytes = 1_000_000
        self.tables = CollectionTables(self.store, self.records, self.clock.unix_ms)
        preparer = Preparer(
            DocumentExtractor(), ChunkSettings(size, 0, smallest_section=0), self.clock.unix_ms
        )
        writer = DocumentWriter(
            self.store,
            preparer,
            BatchEmbedder(self.gateway, first_wait_s=0.001),
            self.models,
            lambda kind: self.refusals.update((kind,)),
        )
        self.indexer = CollectionIndexer(
            self.tables,
            self.models,
            writer,
            Rebuilder(self.store, writer),
            Forgetting(self.store, most_turns),
            self.changed.add,
        )
        lookup = CollectionLookup(FollowedRecords(), self.records)
        self.searcher = Searcher(self.store, lookup, QueryVectors(self.gateway, self.models))

    def task(
        self, body: IndexBody, collection: str = "docs", *, version: int | None = None, account: str = ACCOUNT
    ) -> IndexTask:
        self.version += 1
        caller = Caller(
            account=account, until_s=asyncio.get_running_loop().time() + 60, store=not is_memory(collection)
        )
        return IndexTask(
            collection=collection,
            version=version or self.version,
            body=body,
            caller=caller,
            counts=Counts(documents=len(body.documents)),
            on_progress=lambda: None,
        )

    async def index(self, body: IndexBody, collection: str = "docs", **more: Any) -> IndexReport:
        return await self.indexer.index(self.task(body, collection, **more))

    async def search(
        self, query: str, collection: str = "docs", *, account: str = ACCOUNT, **more: Any
    ) -> SearchAnswer:
        request = SearchRequest(collection=collection, query=query, **more)
        return await self.searcher.search(
            AccountQuery(account, request, None, asyncio.get_running_loop().time(), self.max_answer_bytes)
        )

    async def texts(self, collection: str = "docs", *, account: str = ACCOUNT) -> dict[str, list[str]]:
        """What is stored now: the texts of the chunks, by document."""
        record = self.records.stored[account, collection]
        assert record.current is not None
        found = await self.store.all_chunks(table_of(record, record.current), ())
        stored: dict[str, list[str]] = {}
        for each in found or ():
            stored.setdefault(each.document.id, []).append(each.chunk.text)
        return stored

    async def remove_orphans(self) -> int:
        return await OrphanTables(self.store, self.records, self.clock, least_age_s=0).remove()  # type: ignore[arg-type]


def _vector(text: str, dimensions: int) -> bytes:
    """Near to that of a text with the same words."""
    numbers = [0.0] * dimensions
    for word in text.lower().split():
        digest = sha256(word.strip(".,:;?!").encode("utf-8", "surrogatepass")).digest()
        numbers[digest[0] % dimensions] += 1 if digest[1] % 2 else -1
        numbers[digest[2] % dimensions] += 1
    length = math.sqrt(sum(each * each for each in numbers)) or 1.0
    return array("f", [each / length for each in numbers]).tobytes()
