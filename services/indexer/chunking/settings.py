"""How texts are divided."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from services.indexer.documents.document import EXTRACTION_VERSION

__all__ = ["ChunkSettings"]

_VERSION: Final = 2
"""Raised with every change after which the same text gives other chunks."""
_LEAST_SIZE: Final = 50
_MOST_SIZE: Final = 20_000


class ChunkSettings(Struct, frozen=True):
    """In characters. Raises ValueError for values that do not fit each other."""

    size: int = 1_000
    """At most, overlap included. A tenth of it is for a short piece, as a heading, that is joined with the next one."""
    overlap: int = 100
    """At most: whole sentences or lines from the end of the chunk before, within one section of the text."""
    smallest_section: int = 400
    """A shorter section is joined with the next one, so that a heading with one line below it is no chunk."""

    def __post_init__(self) -> None:
        if not _LEAST_SIZE <= self.size <= _MOST_SIZE:
            raise ValueError(f"size is between {_LEAST_SIZE} and {_MOST_SIZE}, not {self.size}")
        if not 0 <= self.overlap <= self.size // 2:
            raise ValueError(f"overlap is between 0 and half the size, not {self.overlap}")
        if not 0 <= self.smallest_section <= self.size:
            raise ValueError(f"smallest_section is between 0 and the size, not {self.smallest_section}")

    @property
    def version(self) -> str:
        """Differs whenever the same document may give other chunks."""
        return f"{EXTRACTION_VERSION}.{_VERSION}.{self.size}.{self.overlap}.{self.smallest_section}"
