"""The counts of one index request, from which its progress and its report are made."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from penstock.contract.retrieval.collections import DropCounts, Generation
from penstock.contract.retrieval.documents import IndexReport, RefusedDocument
from services.indexer.embedding.batches import Costs

__all__ = ["Counts"]


class Counts(Struct):
    documents: int = 0
    """Of the request."""
    indexed: int = 0
    unchanged: int = 0
    confirmed: set[str] = field(default_factory=set)
    """Documents that were unchanged when the request was begun: they got its version."""
    deleted: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    not_deleted: dict[str, str] = field(default_factory=dict)
    """Documents that the request was to delete, and that stay, with the reason."""
    chunks: int = 0
    changed: int = 0
    """Chunks that got a new vector; with a second table, in both."""
    repeated: int = 0
    """Of `changed`, those that share the vector of an equal text that was embedded with them."""
    chunks_deleted: int = 0
    dropped: DropCounts = DropCounts()
    """Of the collection, before documents were added. They are in `deleted` and `chunks_deleted`."""
    costs: Costs = field(default_factory=Costs)

    @property
    def done(self) -> int:
        return self.indexed + self.unchanged + len(self.refused)

    @property
    def from_cache(self) -> int:
        return max(0, self.changed - self.repeated - self.costs.embedded)

    def count_new(self, texts: Sequence[str]) -> None:
        """Chunks with new vectors, by their embedded texts, once they are stored: a repetition finds them there."""
        self.changed += len(texts)
        self.repeated += len(texts) - len(set(texts))

    def count_dropped(self, dropped: DropCounts) -> None:
        """In place of what an interrupted drop of the same request has counted."""
        self.deleted += dropped.documents - self.dropped.documents
        self.chunks_deleted += dropped.chunks - self.dropped.chunks
        self.dropped = dropped

    def begin_again(self) -> None:
        """Count the documents anew. What was deleted and paid stays counted: it is not found a second time."""
        self.indexed = self.unchanged = self.chunks = 0
        self.refused.clear()

    def report(self, collection: str, generation: Generation | None) -> IndexReport:
        return IndexReport(
            collection=collection,
            indexed=self.indexed,
            unchanged=self.unchanged,
            deleted=self.deleted,
            refused=tuple(
                RefusedDocument(id=id_, reason=why) for id_, why in (self.not_deleted | self.refused).items()
            ),
            chunks=self.chunks,
            changed=self.changed,
            embedded=self.costs.embedded,
            from_cache=self.from_cache,
            chunks_deleted=self.chunks_deleted,
            deleted_unknown=not self.dropped.known,
            tokens=self.costs.tokens,
            cost_microusd=self.costs.cost_microusd,
            unpriced_attempts=self.costs.unpriced_attempts,
            model="" if generation is None else generation.model,
            dimensions=0 if generation is None else generation.dimensions,
        )
