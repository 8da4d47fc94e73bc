"""What several index requests did together."""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from penstock.cli.retrieval.files import FileProblem
from penstock.contract.retrieval.documents import IndexReport

__all__ = ["IndexTotals"]

_LATEST: Final = ("model", "dimensions", "deleted_unknown")
"""Fields of a report that are taken from the last request that has them; all others but the name are summed."""


class IndexTotals(Struct, kw_only=True):
    """The results of all requests of a command, and the files that it did not send."""

    report: IndexReport
    """The sums over all requests."""
    left_out: list[str] = field(default_factory=list)
    """Ids of files that were not sent, because they are not documents."""
    problems: list[FileProblem] = field(default_factory=list)
    """Files that could not be sent."""

    @classmethod
    def of_collection(cls, name: str) -> IndexTotals:
        return cls(report=IndexReport(collection=name))

    @property
    def is_complete(self) -> bool:
        """Every file that was wanted is indexed."""
        return not self.report.refused and not self.problems

    def add(self, report: IndexReport) -> None:
        changed = {}
        for name in report.__struct_fields__:
            before, now = getattr(self.report, name), getattr(report, name)
            if name in _LATEST:
                changed[name] = now or before
            elif name != "collection":
                changed[name] = before + now
        self.report = replace(self.report, **changed)
