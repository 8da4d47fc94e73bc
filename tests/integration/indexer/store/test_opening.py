"""H5: an address says which store is opened; its libraries are loaded by none other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.bus.ids import new_id
from services.indexer.store.errors import StoreUnavailable
from services.indexer.store.opening import open_store
from services.indexer.store.tables import table_name
from tests.harness.indexer.stored_documents import DIMENSIONS, document, question

_LOADED = """
import sys
import services.indexer.store.lancedb.store, services.indexer.store.postgres.store, services.indexer.store.opening
print(sorted({"lancedb", "pyarrow", "numpy", "asyncpg"} & sys.modules.keys()))
"""


@pytest.mark.parametrize("kind", ["directory", "file", "postgresql"])
async def test_h5_an_address_opens_its_store(tmp_path: Path, postgres_url: str, kind: str):
    url = {
        "directory": str(tmp_path / "new" / "store"),
        "file": f"file://{tmp_path}/store",
        "postgresql": postgres_url,
    }[kind]
    table = table_name("acme", new_id(), 1)
    for _ in range(2):  # the second finds what the first has written
        store = await open_store(url)
        await store.create(table, DIMENSIONS)
        await store.replace(table, 1, [document("a", ["one"])])
        assert [hit.chunk.text for hit in await store.search_vector(table, question("one"))] == ["one"]
        await store.close()
        with pytest.raises(StoreUnavailable):
            await store.statistics(table)


@pytest.mark.parametrize("kind", ["directory", "postgresql"])
async def test_h5_a_new_table_is_opened_by_several_tasks_and_stores_at_once(
    tmp_path: Path, postgres_url: str, kind: str
):
    url = str(tmp_path) if kind == "directory" else postgres_url
    stores = [await open_store(url) for _ in range(3)]
    for _ in range(5):
        table = table_name("acme", new_id(), 1)
        await asyncio.gather(*(store.create(table, DIMENSIONS) for store in stores for _ in range(2)))
        await stores[0].replace(table, 1, [document("a", ["one"])])
        for store in stores:
            hits = await store.search_text(table, ["one"], question("one"))
            assert [hit.chunk.text for hit in hits] == ["one"]
        await stores[0].drop(table)
    for store in stores:
        await store.close()


def test_h5_the_libraries_are_loaded_by_an_open_store_only():
    done = subprocess.run([sys.executable, "-c", _LOADED], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
