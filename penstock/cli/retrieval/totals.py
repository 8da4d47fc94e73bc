"""What several index requests did together."""

from __future__ import annotations

from msgspec import Struct, field

from penstock.cli.retrieval.files import FileProblem
from penstock.contract.retrieval.documents import IndexReport, RefusedDocument

__all__ = ["IndexTotals"]


class IndexTotals(Struct, kw_only=True):
    """The sums over all requests of a command."""

    collection: str
    indexed: int = 0
    """Documents that were added or replaced."""
    unchanged: int = 0
    deleted: int = 0
    binary: int = 0
    """Files that were not sent, because they are not documents."""
    refused: list[RefusedDocument] = field(default_factory=list)
    """By the indexer."""
    problems: list[FileProblem] = field(default_factory=list)
    """Files that could not be sent."""
    chunks: int = 0
    changed: int = 0
    embedded: int = 0
    from_cache: int = 0
    chunks_deleted: int = 0
    tokens: int = 0
    cost_microusd: int = 0
    model: str = ""
    dimensions: int = 0

    @property
    def is_complete(self) -> bool:
        """Every file that was wanted is indexed."""
        return not self.refused and not self.problems

    def add(self, report: IndexReport) -> None:
        self.indexed += report.indexed
        self.unchanged += report.unchanged
        self.deleted += report.deleted
        self.refused += report.refused
        self.chunks += report.chunks
        self.changed += report.changed
        self.embedded += report.embedded
        self.from_cache += report.from_cache
        self.chunks_deleted += report.chunks_deleted
        self.tokens += report.tokens
        self.cost_microusd += report.cost_microusd
        self.model = report.model or self.model
        self.dimensions = report.dimensions or self.dimensions
