"""Documents and chunks from rows of a store, whose columns have the names of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.indexer.store.interface import Chunk, Document

__all__ = ["chunk_of", "document_of"]


def document_of(row: Mapping[str, Any], document_id: str) -> Document:
    return Document(
        id=document_id,
        digest=row["digest"],
        title=row["title"],
        source=row["source"],
        metadata=row["metadata"],
        tags=tuple(row["tags"]),
        updated_ms=row["updated_ms"],
    )


def chunk_of(row: Mapping[str, Any], chunk_id: str, start: int, end: int) -> Chunk:
    return Chunk(
        id=chunk_id,
        ordinal=row["ordinal"],
        text=row["text"],
        heading=row["heading"],
        start=start,
        end=end,
        page=row["page"],
        terms=row["terms"],
        tokens=row["tokens"],
    )
