"""When the maintenance of a table pays: pure decisions from the counts of its rows and files."""

from __future__ import annotations

import msgspec

__all__ = ["TableState", "Work", "needed_work"]

INDEXED_ROWS = 5_000
"""Below this number of chunks, all vectors are compared: that takes some 15 ms at 1,024 dimensions."""
UNINDEXED_ROWS = 2_000
"""So many rows that no index has are compared one by one in each search."""
UNINDEXED_SHARE = 0.1
"""Of a table for which that is more."""
GROWN = 2.0
"""The vector index is built anew, with new centroids, when the table is so many times as large as it was."""
SMALL_FILES = 24
ROWS_PER_FILE = 2_000
"""A larger table is compacted less often: compaction writes the whole table again."""
REMOVED_ROWS = 500
REMOVED_SHARE = 0.2


class TableState(msgspec.Struct, frozen=True, kw_only=True):
    chunks: int
    heads: int
    """Of stored and of deleted documents."""
    removed: int
    """Emptied rows of chunks that no document has."""
    files: int
    vector_rows: int | None
    """Rows in the vector index; None: there is none."""
    words_unindexed: int
    """Rows that the full-text index does not have."""

    @property
    def rows(self) -> int:
        return self.chunks + self.heads + self.removed


class Work(msgspec.Struct, frozen=True):
    build_vector_index: bool
    compact: bool
    """Remove emptied rows, join files, and add new rows to the indexes."""

    def __bool__(self) -> bool:
        return self.build_vector_index or self.compact


def needed_work(state: TableState) -> Work:
    rows = state.rows
    few = max(UNINDEXED_ROWS, int(rows * UNINDEXED_SHARE))
    return Work(
        build_vector_index=_needs_vector_index(state, rows),
        compact=state.words_unindexed > few
        or state.files > SMALL_FILES + rows // ROWS_PER_FILE
        or state.removed > max(REMOVED_ROWS, int(rows * REMOVED_SHARE)),
    )


def _needs_vector_index(state: TableState, rows: int) -> bool:
    if state.vector_rows is None:
        return state.chunks >= INDEXED_ROWS
    return rows > GROWN * max(state.vector_rows, INDEXED_ROWS)
