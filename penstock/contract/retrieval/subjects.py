"""The subjects of embeddings and of document collections."""

from __future__ import annotations

from typing import Final

__all__ = [
    "COLLECTIONS",
    "COLLECTIONS_STORED",
    "DOCUMENTS",
    "EMBEDDING",
    "EMBEDDING_ALL",
    "SEARCH",
    "collections",
    "documents",
    "embedding",
    "search",
]

EMBEDDING: Final = "llm.embedding.{digest}"
EMBEDDING_ALL: Final = "llm.embedding.*"
SEARCH: Final = "llm.index.search.{account}"
DOCUMENTS: Final = "llm.index.documents.{account}"
COLLECTIONS: Final = "llm.index.collections.{account}"
COLLECTIONS_STORED: Final = "llm.collections.>"


def embedding(digest: str) -> str:
    """The subject of one stored vector; `digest` is in hexadecimal."""
    return EMBEDDING.format(digest=digest)


def search(account: str) -> str:
    return SEARCH.format(account=account)


def documents(account: str) -> str:
    return DOCUMENTS.format(account=account)


def collections(account: str) -> str:
    return COLLECTIONS.format(account=account)
