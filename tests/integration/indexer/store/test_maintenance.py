"""H5: large tables get a vector index, searches include what is newer than it, and a purge leaves nothing deleted."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from penstock.bus.ids import new_id
from services.indexer.store.errors import StoreUnavailable
from services.indexer.store.interface import DocumentChunks, FilterTerm, Question, Store
from services.indexer.store.lancedb.store import LanceStore
from services.indexer.store.opening import open_store
from services.indexer.store.tables import TableName, table_name, tag
from tests.harness.indexer.postgres_server import PostgresServer
from tests.harness.indexer.stored_documents import DIMENSIONS, document, question, vector
from tests.harness.suite.waiting import until

PER_DOCUMENT = 100
PAUSE_S = 0.05
"""Between two changes beside a maintenance, which takes seconds: its process must get a core too."""
Indexed = Callable[[TableName], Any]


def documents(first: int, count: int, dimensions: int = DIMENSIONS) -> list[DocumentChunks]:
    return [
        document(
            f"document {number}",
            [f"text {number} {chunk}" for chunk in range(PER_DOCUMENT)],
            metadata={"group": str(number % 10)},
            dimensions=dimensions,
        )
        for number in range(first, first + count)
    ]


@pytest.fixture(params=["lancedb", "postgres"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Store, Indexed]]:
    """A store, and a question about its table: the definition of its vector index, or None."""
    url = str(tmp_path / "lance") if request.param == "lancedb" else request.getfixturevalue("postgres_url")

    async def in_lancedb(table: TableName) -> str | None:
        import lancedb  # which takes a second, and every process of the suite collects this module

        found = await (await (await lancedb.connect_async(url)).open_table(table)).list_indices()
        return next((str(index.index_type) for index in found if index.columns == ["vector"]), None)

    async def in_postgres(table: TableName) -> str | None:
        connection = await asyncpg.connect(url)
        found = await connection.fetchval(
            "SELECT indexdef FROM pg_indexes WHERE indexname = $1", f"{table}_vectors"
        )
        await connection.close()
        return found  # type: ignore[no-any-return]

    store = await open_store(url)
    yield store, in_lancedb if request.param == "lancedb" else in_postgres
    await store.close()


async def test_h5_a_large_table_gets_an_index_and_finds_newer_rows(opened: tuple[Store, Indexed]):
    store, indexed = opened
    table = table_name("acme", new_id(), 1)
    await store.create(table, DIMENSIONS)
    await store.replace(table, 1, documents(0, 10))
    assert not await store.optimize(table)
    assert await indexed(table) is None
    await store.replace(table, 2, documents(10, 41))
    assert await store.optimize(table)
    assert await indexed(table) is not None
    assert not await store.optimize(table)
    await store.replace(table, 3, [document("new", ["a new text"])], ["document 7"])
    for text, document_id in (
        ("text 33 50", "document 33"),
        ("text 0 0", "document 0"),
        ("a new text", "new"),
    ):
        hit = (await store.search_vector(table, question(text, 3)))[0]
        assert (hit.document.id, hit.chunk.text) == (document_id, text)
        assert hit.similarity == pytest.approx(1, abs=1e-4)
    hits = await store.search_vector(table, question("text 7 7", 5_000))
    assert "document 7" not in {hit.document.id for hit in hits}
    one_group = (FilterTerm((tag("group", "3"),)),)
    hits = await store.search_vector(table, Question(vector("x"), 200, one_group))
    assert len(hits) == 200
    assert {int(hit.document.id.split()[1]) % 10 for hit in hits} == {3}
    assert [hit.chunk.text for hit in await store.search_text(table, ["new"], question("x"))] == [
        "a new text"
    ]
    await store.drop(table)


async def test_h5_changes_and_maintenance_at_the_same_time(tmp_path: Path):
    store = await open_store(str(tmp_path))
    table = table_name("acme", "busy", 1)
    await store.create(table, DIMENSIONS)
    await store.replace(table, 1, documents(0, 55))
    maintenance = asyncio.create_task(store.optimize(table))
    version = 1
    while not maintenance.done():
        version += 1
        await store.replace(table, version, documents(version % 50, 1), [f"document {50 + version % 5}"])
        assert len(await store.search_vector(table, question("text 20 20"))) == 10
        await asyncio.sleep(PAUSE_S)
    assert maintenance.result()
    assert version > 5
    states = await store.documents(table, [f"document {number}" for number in range(55)])
    assert max(state.version for state in states.values()) == version
    assert len(await store.search_vector(table, question("x", 10_000))) == PER_DOCUMENT * len(states)
    await store.close()


async def test_h5_old_versions_are_removed_after_a_while(tmp_path: Path):
    # Longer than between two versions of the maintenance on a slow machine: else it removes the older one itself.
    store = LanceStore(str(tmp_path), kept_s=2)
    await store.open()
    table = table_name("acme", "old", 1)
    versions = tmp_path / f"{table}.lance" / "_versions"
    await store.create(table, DIMENSIONS)
    await store.replace(table, 1, documents(0, 25))
    assert await store.optimize(table)
    assert len(list(versions.glob("*.manifest"))) > 1
    await until(
        lambda: len(list(versions.glob("*.manifest"))) == 1, timeout_s=90
    )  # a process that has to start
    assert (await store.statistics(table)).chunks == 25 * PER_DOCUMENT
    await store.close()


async def test_h5_a_maintenance_that_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = await open_store(str(tmp_path / "lance"))
    table = table_name("acme", "hanging", 1)
    await store.create(table, DIMENSIONS)
    await store.replace(table, 1, documents(0, 25))
    module = "services.indexer.store.lancedb.maintenance"
    with monkeypatch.context() as hanging:
        hanging.setattr(f"{module}._COMMAND", (sys.executable, "-c", "import time; time.sleep(600)"))
        hanging.setattr(f"{module}._LEAST_S", 0.5)
        hanging.setattr(f"{module}._ROWS_PER_S", 10_000)
        began_s = time.monotonic()
        with pytest.raises(StoreUnavailable, match="did not answer"):
            await store.optimize(table)
        assert 0.5 < time.monotonic() - began_s < 10
    assert await store.optimize(table)
    await store.close()


async def test_h5_vectors_of_odd_dimensions_are_indexed_too(tmp_path: Path):
    store = await open_store(str(tmp_path))
    table = table_name("acme", "odd", 1)
    await store.create(table, 5)
    await store.replace(table, 1, documents(0, 51, dimensions=5))
    assert await store.optimize(table)
    hit = (await store.search_vector(table, Question(vector("text 33 50", 5), 1)))[0]
    assert hit.chunk.text == "text 33 50"
    await store.close()


MARKS = [
    f"{name}-{os.urandom(6).hex()}" for name in ("id", "text", "heading", "term", "title", "source", "meta")
]


def marked(number: int) -> DocumentChunks:
    id_, text, heading, term, title, source, meta = (f"{mark}-{number}" for mark in MARKS)
    written = document(id_, [f"{text} {chunk}" for chunk in range(20)])
    chunks = [
        type(each)(_replaced(each.chunk, heading=heading, terms=f"{term} common"), each.vector)
        for each in written.chunks
    ]
    head = _replaced(written.document, title=title, source=source, metadata=f'{{"m":"{meta}"}}'.encode())
    return DocumentChunks(head, tuple(chunks))


def _replaced(struct: Any, **fields: object) -> Any:
    return type(struct)(**{name: getattr(struct, name) for name in struct.__struct_fields__} | fields)


def found_in(directory: Path, number: int) -> set[str]:
    """Which marks of a document are in any file below the directory."""
    contents = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    return {mark for mark in MARKS if any(f"{mark}-{number}".encode() in content for content in contents)}


async def fill_and_delete(store: Store, table: TableName) -> None:
    """Document 1 is deleted, 2 is replaced by nothing, 3 shrinks, 4 stays."""
    await store.create(table, DIMENSIONS)
    await store.replace(table, 1, [marked(number) for number in (1, 2, 3, 4)])
    await store.optimize(table)
    id_of = {number: marked(number).document.id for number in (1, 2, 3)}
    await store.replace(table, 2, [document(id_of[3], ["short"]), document("other", ["text"])], [id_of[1]])
    await store.replace(table, 3, [], [id_of[2]])


async def test_h5_a_purge_of_a_directory_leaves_nothing_deleted(tmp_path: Path):
    store = await open_store(str(tmp_path))
    table = table_name("acme", "forgetful", 1)
    await fill_and_delete(store, table)
    leftover = tmp_path / f"{table}.lance" / "data" / "0123456789.lance"
    leftover.write_text(f"{MARKS[1]}-1")  # a killed process may leave such a file, which no version refers to
    assert found_in(tmp_path, 1) == found_in(tmp_path, 4) == set(MARKS)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    await store.purge(table)
    await _check_purged(store, table, tmp_path)
    assert not leftover.exists()
    kept = [path for path, changed in before.items() if path.exists() and path.stat().st_mtime_ns == changed]
    assert {path.suffix for path in kept} <= {".lock", ".queue", ".maintenance"}
    await store.close()


async def test_h5_a_purge_in_postgresql_leaves_nothing_deleted(
    postgres_server: PostgresServer, postgres_url: str
):
    store = await open_store(postgres_url)
    table = table_name("acme", "forgetful", 1)
    files = postgres_server.directory / "data" / "base"
    connection = await asyncpg.connect(postgres_url)
    await fill_and_delete(store, table)
    await connection.execute("CHECKPOINT")
    assert found_in(files, 1) >= {MARKS[0], MARKS[4]}
    await store.purge(table)
    await connection.execute("CHECKPOINT")
    await _check_purged(store, table, files)
    await store.drop(table)
    await connection.close()
    await store.close()


async def _check_purged(store: Store, table: TableName, directory: Path) -> None:
    assert found_in(directory, 1) == found_in(directory, 2) == set()
    assert found_in(directory, 3) == {MARKS[0]}
    assert found_in(directory, 4) >= {MARKS[0], MARKS[4]}
    assert set(await store.documents(table, [marked(number).document.id for number in (1, 2, 3, 4)])) == {
        marked(number).document.id for number in (3, 4)
    }
    assert len(await store.search_text(table, [f"{MARKS[3]}-4"], question("x", 50))) == 20
    assert await store.search_text(table, [f"{MARKS[3]}-1"], question("x")) == []
    # The deletion is remembered, without its text.
    assert await store.replace(table, 1, [marked(1)]) == {marked(1).document.id}


async def test_h5_a_purge_waits_for_changes_and_they_for_it(tmp_path: Path):
    stores = [await open_store(str(tmp_path)) for _ in range(2)]
    table = table_name("acme", "purged", 1)
    await stores[0].create(table, DIMENSIONS)
    purge = asyncio.create_task(stores[0].purge(table))
    version, began_s = 0, time.monotonic()
    while not purge.done():
        version += 1
        assert time.monotonic() - began_s < 60
        await stores[1].replace(table, version, [document("a", [f"text {version}", "kept"])])
        assert len(await stores[1].search_vector(table, question("kept"))) == 2
        await asyncio.sleep(PAUSE_S)
    await purge
    assert version > 3
    for store in stores:
        assert [hit.chunk.text for hit in await store.search_text(table, ["text"], question("x"))] == [
            f"text {version}"
        ]
        await store.close()
