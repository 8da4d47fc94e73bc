"""The channels of embeddings, search and collections."""

from __future__ import annotations

from typing import Final

from penstock.contract import streams
from penstock.contract.channel import MESSAGE_LIMIT, Channel, duration, size
from penstock.contract.retrieval import subjects
from penstock.contract.retrieval.collections import CollectionRecord, CollectionsQuery, CollectionsReport
from penstock.contract.retrieval.search import (
    DocumentsQuery,
    DocumentsReport,
    SearchAnswer,
    SearchFailed,
    SearchRequest,
)

__all__ = ["RETRIEVAL_CHANNELS"]

RETRIEVAL_CHANNELS: Final = (
    Channel(
        name="embeddings",
        subject=subjects.EMBEDDING,
        messages=(),
        delivery="stored",
        stream=streams.EMBEDDINGS.name,
        producers=("worker",),
        consumers=("worker",),
        limits=f"stored for {duration(streams.EMBEDDINGS.max_age_s)}; {size(streams.EMBEDDINGS.max_bytes)} in all by "
        "default, then the oldest are deleted",
        purpose="Vectors that were computed before: 32-bit numbers, little endian. `digest` is the SHA-256 of vector "
        "space, dimensions and text. A message whose size is no multiple of 4 bytes is a claim: a worker is about to "
        "embed the text.",
    ),
    Channel(
        name="search",
        subject=subjects.SEARCH,
        messages=(SearchRequest, SearchAnswer, SearchFailed),
        delivery="request/reply",
        producers=("application", "worker", "command line"),
        consumers=("indexer",),
        limits=MESSAGE_LIMIT,
        purpose="Search a collection of the account, or the memory of a user.",
    ),
    Channel(
        name="documents",
        subject=subjects.DOCUMENTS,
        messages=(DocumentsQuery, DocumentsReport, SearchFailed),
        delivery="request/reply",
        producers=("application", "command line"),
        consumers=("indexer",),
        limits=MESSAGE_LIMIT,
        purpose="List the documents of a collection, or the memory of a user.",
    ),
    Channel(
        name="collections",
        subject=subjects.COLLECTIONS,
        messages=(CollectionsQuery, CollectionsReport, SearchFailed),
        delivery="request/reply",
        producers=("application", "command line"),
        consumers=("indexer",),
        limits=MESSAGE_LIMIT,
        purpose="List the collections of the account, with their size and embedding model.",
    ),
    Channel(
        name="collection-records",
        subject=f"$KV.{streams.COLLECTIONS.name}.{{account}}.{{collection}}",
        messages=(CollectionRecord,),
        delivery="key-value",
        producers=("indexer",),
        consumers=("indexer",),
        limits=f"compare-and-set only; entries do not expire; republished on `{subjects.COLLECTIONS_STORED}`",
        purpose="Which table of the store each collection is read from.",
    ),
)
