"""Rows of a LanceDB table from documents, and documents from rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from penstock.contract.retrieval.embeddings import FLOAT_BYTES
from services.indexer.store.checks import storable
from services.indexer.store.interface import (
    Change,
    Document,
    DocumentChunks,
    EmbeddedChunk,
    ListedDocument,
    ReadLimit,
    StoredChunk,
)
from services.indexer.store.lancedb.schema import DELETED, HEAD, REMOVED, SEARCHED
from services.indexer.store.rows import chunk_of, document_of
from services.indexer.store.tables import document_key

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.query import AsyncQuery

__all__ = ["StoredRow", "change_rows", "listed_document", "rows_within", "stored_chunk", "vectors_of"]

_BATCH_ROWS: Final = 256
_SIZED: Final = ("text", "heading", "document", "title", "source", "metadata")


class StoredRow(msgspec.Struct, frozen=True):
    """What a change must know of a row that is stored."""

    id: str
    ordinal: int
    version: int


def change_rows(change: Change, stored: Mapping[str, Sequence[StoredRow]], schema: pa.Schema) -> pa.Table:
    """The rows that a merge writes. `stored` has the rows of each document that has some, by its key."""
    rows = [
        *(row for each in change.documents for row in _document_rows(change.version, each, stored)),
        *(row for id_ in change.deleted for row in _deletion_rows(change, id_, stored)),
    ]
    return _table(rows, schema)


def stored_chunk(row: Mapping[str, Any]) -> StoredChunk:
    return StoredChunk(
        _document(row),
        chunk_of(row, row["chunk"], row["start"], row["end"]),
    )


def listed_document(row: Mapping[str, Any]) -> ListedDocument:
    return ListedDocument(_document(row), row["version"], row["chunks"])


async def rows_within(query: AsyncQuery, most: ReadLimit | None) -> list[dict[str, Any]] | None:
    """The searched columns of all rows that the query finds; None as soon as they are more than `most`."""
    rows: list[dict[str, Any]] = []
    tokens = size = 0
    async for batch in await query.select(list(SEARCHED)).to_batches(max_batch_length=_BATCH_ROWS):
        if most is not None:
            tokens += sum(batch.column("tokens").to_pylist())
            size += sum(batch.column(name).nbytes for name in _SIZED)
            if tokens > most.tokens or size > most.bytes:
                return None
        rows += batch.to_pylist()
    return rows


def vectors_of(table: pa.Table) -> Iterator[bytes]:
    """The vectors of a table without null vectors, in the order of the rows."""
    for array in table.column("vector").chunks:
        width = array.type.list_size * FLOAT_BYTES
        data = memoryview(array.values.buffers()[1])
        begin = array.values.offset * FLOAT_BYTES + array.offset * width
        for number in range(len(array)):
            yield bytes(data[begin + number * width : begin + (number + 1) * width])


def _document(row: Mapping[str, Any]) -> Document:
    return document_of(row, row["document"])


def _document_rows(
    version: int, document: DocumentChunks, stored: Mapping[str, Sequence[StoredRow]]
) -> Iterator[dict[str, Any]]:
    key = document_key(document.document.id)
    before = stored.get(key, ())
    head = document.document
    fields = {
        "key": key,
        "version": version,
        "document": head.id,
        "digest": head.digest,
        "title": storable(head.title),
        "source": storable(head.source),
        "metadata": head.metadata,
        "tags": list(head.tags),
        "updated_ms": head.updated_ms,
    }
    yield {
        **fields,
        "id": f"{key}{HEAD}",
        "ordinal": HEAD,
        "replaces": _stored_version(before),
        "tokens": sum(each.chunk.tokens for each in document.chunks),
        "chunks": len(document.chunks),
    }
    for each in document.chunks:
        yield {**fields, **_chunk_fields(key, each)}
    yield from _removals(key, version, before, {f"{key}{each.chunk.id}" for each in document.chunks})


def _chunk_fields(key: str, embedded: EmbeddedChunk) -> dict[str, Any]:
    chunk = embedded.chunk
    return {
        "id": f"{key}{chunk.id}",
        "chunk": chunk.id,
        "ordinal": chunk.ordinal,
        "text": storable(chunk.text),
        "heading": storable(chunk.heading),
        "start": chunk.start,
        "end": chunk.end,
        "page": chunk.page,
        "terms": storable(chunk.terms),
        "tokens": chunk.tokens,
        "vector": embedded.vector,
    }


def _deletion_rows(
    change: Change, id_: str, stored: Mapping[str, Sequence[StoredRow]]
) -> Iterator[dict[str, Any]]:
    key = document_key(id_)
    before = stored.get(key, ())
    yield {
        "id": f"{key}{HEAD}",
        "key": key,
        "ordinal": DELETED,
        "version": change.version,
        "replaces": _stored_version(before),
        "updated_ms": change.now_ms,
    }
    yield from _removals(key, change.version, before, set())


def _removals(
    key: str, version: int, before: Iterable[StoredRow], kept: set[str]
) -> Iterator[dict[str, Any]]:
    for row in before:
        if row.ordinal >= 0 and row.id not in kept:
            yield {"id": row.id, "key": key, "ordinal": REMOVED, "version": version}


def _stored_version(before: Iterable[StoredRow]) -> int:
    return next((row.version for row in before if row.ordinal in {HEAD, DELETED}), 0)


def _table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [
        _vector_array([row.get("vector") for row in rows], field.type)
        if field.name == "vector"
        else pa.array([row.get(field.name) for row in rows], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _vector_array(vectors: Sequence[bytes | None], type_: pa.FixedSizeListType) -> pa.FixedSizeListArray:
    """From bytes, without a Python number for each dimension."""
    import pyarrow as pa

    nothing = bytes(type_.list_size * FLOAT_BYTES)
    data = pa.py_buffer(b"".join(nothing if each is None else each for each in vectors))
    values = pa.Array.from_buffers(pa.float32(), len(vectors) * type_.list_size, [None, data])
    missing = pa.array([each is None for each in vectors])
    return pa.FixedSizeListArray.from_arrays(values, type=type_, mask=missing)
