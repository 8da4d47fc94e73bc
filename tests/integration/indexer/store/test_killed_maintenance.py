"""H1: an indexer that is killed while its maintenance compacts, in short (see `tests/prove/indexer`)."""

from __future__ import annotations

from pathlib import Path

from services.indexer.store.opening import open_store
from services.indexer.store.tables import table_name
from tests.harness.indexer.killed_writers import kill_compacting_writer
from tests.harness.indexer.stored_documents import DIMENSIONS
from tests.harness.indexer.versioned_documents import check_whole, stored_version, write

FIRST_VERSIONS = 30
"""Of which each makes a file: so many are compacted at once."""
AFTER_S = 0.03
"""The time of the kill, after the maintenance process has begun its work."""


async def test_h1_a_kill_during_compaction_leaves_one_whole_version(tmp_path: Path):
    url, table = str(tmp_path), table_name("acme", "compacted", 1)
    store = await open_store(url)
    await store.create(table, DIMENSIONS)
    for version in range(1, FIRST_VERSIONS + 1):
        await write(store, table, version)
    written = await kill_compacting_writer(url, table, AFTER_S)
    assert written > FIRST_VERSIONS
    await check_whole(store, table, written)  # by a process that had opened the table before
    await store.optimize(table)
    assert await stored_version(store, table) == written
    await check_whole(store, table, written)
    await store.close()
