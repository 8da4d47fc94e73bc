"""Reads all pages of a list of documents."""

from __future__ import annotations

from penstock.client.client import Client
from penstock.contract.retrieval.search import DocumentStatus
from penstock.errors import UnknownCollection

__all__ = ["every_document"]


async def every_document(
    client: Client, collection: str, *, user: str = "", prefix: str = ""
) -> list[DocumentStatus]:
    """All documents of a collection, or of the memory of `user`; empty for a collection that does not exist."""
    found: list[DocumentStatus] = []
    more = True
    while more:
        after = found[-1].id if found else ""
        try:
            page = await client.documents(collection, prefix=prefix, after=after, user=user)
        except UnknownCollection:
            return found
        found += page.documents
        more = page.more and bool(page.documents)
    return found
