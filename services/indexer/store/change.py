"""What one atomic change of a table stores and deletes."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.indexer.store.interface import DocumentChunks

__all__ = ["Change"]


class Change(msgspec.Struct, frozen=True):
    version: int
    documents: Sequence[DocumentChunks]
    deleted: Sequence[str]
    """Ids of documents."""
    now_ms: int
    """Unix milliseconds."""
