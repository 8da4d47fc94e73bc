"""A document of a request as it will be stored, without vectors."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

import msgspec
from msgspec import Struct

from penstock.contract.retrieval.documents import Document
from penstock.runtime.retrieval.terms import terms
from penstock.runtime.tokens import text_tokens
from services.indexer.chunking.chunk import chunk
from services.indexer.chunking.settings import ChunkSettings
from services.indexer.documents.document import EXTRACTION_VERSION, Extracted, Source
from services.indexer.embedding.embedded_text import TEXT_VERSION, chunk_key, embedded_text
from services.indexer.store import interface as store
from services.indexer.store.tags import document_tags

__all__ = ["Prepared", "PreparedChunk", "Preparer"]

_IN_THREAD: Final = 100_000
"""Characters above which a text is divided in a thread."""
_STORED_CHARACTERS: Final = 2_000
"""Of a title and of a source."""


class _Extractor(Protocol):
    async def extract(self, source: Source) -> Extracted:
        """Raises DocumentRefused and ExtractionUnavailable."""
        ...


class PreparedChunk(Struct, frozen=True):
    chunk: store.Chunk
    embedded: str
    """The text that is embedded."""


class Prepared(Struct, frozen=True):
    document: store.Document
    chunks: tuple[PreparedChunk, ...]

    @property
    def characters(self) -> int:
        return sum(len(each.embedded) for each in self.chunks)


class Preparer:
    def __init__(self, extractor: _Extractor, settings: ChunkSettings, now_ms: Callable[[], int]) -> None:
        self._extractor = extractor
        self._settings = settings
        self._now_ms = now_ms
        self._versions = f"{EXTRACTION_VERSION}/{settings.version}/{TEXT_VERSION}"

    def digest(self, document: Document) -> str:
        """Of everything that makes the stored rows: a document with the same one is stored as it would be now."""
        described = msgspec.json.encode(
            (
                self._versions,
                document.media_type,
                document.name,
                document.title,
                document.source,
                document.metadata,
                document.text is None,
            ),
            order="deterministic",
        )
        digest = hashlib.sha256(b"%d:" % len(described))
        digest.update(described)
        content = document.data if document.text is None else document.text.encode("utf-8", "surrogatepass")
        digest.update(content or b"")
        return digest.hexdigest()

    async def prepare(self, document: Document, digest: str) -> Prepared:
        """Raises DocumentRefused and ExtractionUnavailable."""
        content = document.data if document.text is None else document.text
        extracted = await self._extractor.extract(
            Source(
                data=content if content is not None else "",
                media_type=document.media_type,
                name=document.name or document.id,
                title=document.title,
            )
        )
        if len(extracted.text) > _IN_THREAD:
            return await asyncio.to_thread(self._prepared, document, digest, extracted)
        return self._prepared(document, digest, extracted)

    def _prepared(self, document: Document, digest: str, extracted: Extracted) -> Prepared:
        title = _own_title(document, extracted)
        occurrences: Counter[str] = Counter()
        chunks = []
        for each in chunk(extracted, self._settings):
            embedded = embedded_text(title, each.heading, each.text)
            key = chunk_key(embedded, occurrences[embedded])
            occurrences[embedded] += 1
            stored = store.Chunk(
                id=key,
                ordinal=each.ordinal,
                text=each.text,
                heading=each.heading,
                start=each.start,
                end=each.end,
                page=each.page,
                terms=terms(embedded),
                tokens=round(text_tokens(each.text)),
            )
            chunks.append(PreparedChunk(stored, embedded))
        head = store.Document(
            id=document.id,
            digest=digest,
            title=title,
            source=(document.source or document.id)[:_STORED_CHARACTERS],
            metadata=msgspec.json.encode(document.metadata),
            tags=document_tags(document.id, document.metadata),
            updated_ms=self._now_ms(),
        )
        return Prepared(head, tuple(chunks))


def _own_title(document: Document, extracted: Extracted) -> str:
    """Without the name of the file, which the extraction takes where there is no other: it says nothing of the text,
    and a file that is moved would be embedded again.
    """
    file = (document.name or document.id).rstrip("/").rpartition("/")[2]
    is_name = not document.title and extracted.title == " ".join(file.split())[: len(extracted.title)]
    return "" if is_name else extracted.title[:_STORED_CHARACTERS]
