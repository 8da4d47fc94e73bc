"""H1, H5: a document is stored as a whole, once, in the order of the versions."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.indexer.store.errors import UnknownTable
from services.indexer.store.interface import DocumentState, ReadLimit, Store
from services.indexer.store.tables import TableName, table_name
from tests.harness.indexer.stored_documents import chunk_id, document, question, vector


async def texts(store: Store, table: TableName) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in await store.all_chunks(table, ()) or []:
        found.setdefault(each.document.id, []).append(each.chunk.text)
    return found


async def test_h5_a_document_is_read_as_it_was_written(store: Store, table: TableName):
    written = document("a/b.md", ["first text", "second text"], metadata={"lang": "en", "kind": "guide"})
    assert await store.replace(table, 5, [written]) == frozenset()
    ids = tuple(each.chunk.id for each in written.chunks)
    assert await store.documents(table, ["a/b.md", "absent"]) == {
        "a/b.md": DocumentState(written.document.digest, 5, ids)
    }
    assert await store.vectors(table, [ids[1], chunk_id("absent")]) == {ids[1]: vector("second text")}
    chunks = await store.all_chunks(table, (), ReadLimit(100, 10_000))
    assert chunks is not None
    assert [each.document for each in chunks] == [written.document] * 2
    assert [each.chunk for each in chunks] == [each.chunk for each in written.chunks]


async def test_h1_a_shrunk_document_leaves_nothing_behind(store: Store, table: TableName):
    await store.replace(
        table, 1, [document("a", ["one", "two", "three", "four"]), document("b", ["one", "five"])]
    )
    await store.replace(table, 2, [document("a", ["zero", "three"])])
    assert await texts(store, table) == {"a": ["zero", "three"], "b": ["one", "five"]}
    assert [hit.chunk.text for hit in await store.search_text(table, ["two", "four"], question("two"))] == []
    assert {hit.chunk.text for hit in await store.search_vector(table, question("two"))} == {
        *("zero", "three", "one", "five")
    }
    found = await store.statistics(table)
    assert (found.documents, found.chunks, found.tokens) == (2, 4, 4)


async def test_m3_a_table_knows_when_a_document_changed_or_was_deleted(store: Store, table: TableName):
    before = await store.statistics(table)
    assert (before.documents, before.changed_ms) == (0, 0)
    written = document("a", ["one", "two"])
    changed = replace(written, document=replace(written.document, updated_ms=5))
    await store.replace(table, 1, [changed])
    assert (await store.statistics(table)).changed_ms == 5
    await store.replace(table, 2, [], ["a"])
    after = await store.statistics(table)
    assert (after.documents, after.chunks, after.tokens) == (0, 0, 0)
    assert after.changed_ms > 5


async def test_h1_a_chunk_that_returns_is_there_once(store: Store, table: TableName):
    for version, content in enumerate((["x", "y"], ["y"], ["y", "x"], ["x"], ["x", "z", "y"])):
        await store.replace(table, version + 1, [document("a", content)])
        assert await texts(store, table) == {"a": content}
        assert (await store.documents(table, ["a"]))["a"].chunks == tuple(map(chunk_id, content))
        assert len(await store.search_vector(table, question("x"))) == len(content)


async def test_h1_one_change_stores_and_deletes(store: Store, table: TableName):
    await store.replace(table, 1, [document("a", ["one"]), document("b", ["two"]), document("c", ["three"])])
    await store.replace(table, 2, [document("d", ["four"]), document("a", ["five"])], ["b", "never there"])
    assert await texts(store, table) == {"a": ["five"], "c": ["three"], "d": ["four"]}
    assert set(await store.documents(table, ["a", "b", "c", "d", "never there"])) == {"a", "c", "d"}


async def test_h1_a_document_without_chunks_exists(store: Store, table: TableName):
    await store.replace(table, 1, [document("empty", [])])
    assert (await store.documents(table, ["empty"]))["empty"].chunks == ()
    assert [(each.document.id, each.chunks) for each in await store.list_documents(table)] == [("empty", 0)]
    assert await store.search_vector(table, question("x")) == []


@pytest.mark.parametrize("late", ["written", "deleted"])
@pytest.mark.parametrize("newer", ["written", "deleted"])
async def test_h1_an_older_version_changes_nothing(store: Store, table: TableName, newer: str, late: str):
    await store.replace(table, 1, [document("a", ["one", "two"]), document("b", ["three"])])
    if newer == "written":
        await store.replace(table, 5, [document("a", ["newest"])])
    else:
        await store.replace(table, 5, [], ["a"])
    if late == "written":
        outdated = await store.replace(table, 4, [document("a", ["late", "two"]), document("b", ["next"])])
    else:
        outdated = await store.replace(table, 4, [document("b", ["next"])], ["a"])
    assert outdated == {"a"}
    assert await texts(store, table) == ({"a": ["newest"]} if newer == "written" else {}) | {"b": ["next"]}
    assert await store.replace(table, 6, [document("a", ["after"])]) == frozenset()
    assert await texts(store, table) == {"a": ["after"], "b": ["next"]}


async def test_h1_a_version_may_be_written_again(store: Store, table: TableName):
    for _ in range(2):
        assert await store.replace(table, 3, [document("a", ["one", "two"])], ["b"]) == frozenset()
    assert await texts(store, table) == {"a": ["one", "two"]}


async def test_h5_tables_do_not_see_each_other(store: Store, table: TableName):
    other = table_name("other", "account", 1)
    await store.create(other, 16)
    try:
        await store.replace(table, 1, [document("a", ["one"])])
        await store.replace(other, 1, [document("a", ["secret"])])
        await store.replace(table, 2, [], ["a"])
        assert await texts(store, table) == {}
        assert await texts(store, other) == {"a": ["secret"]}
        assert {table, other} <= set(await store.tables())
        assert await store.search_text(table, ["secret"], question("secret")) == []
        assert await store.vectors(table, [chunk_id("secret")]) == {}
    finally:
        await store.drop(other)
    assert other not in await store.tables()
    await store.drop(other)


async def test_h5_a_table_keeps_its_dimensions(store: Store, table: TableName):
    await store.create(table, 16)
    with pytest.raises(ValueError, match="dimensions"):
        await store.create(table, 8)
    with pytest.raises(ValueError, match="dimensions"):
        await store.replace(table, 1, [document("a", ["one"], dimensions=8)])
    assert await texts(store, table) == {}


async def test_h5_a_missing_table_is_an_error(store: Store):
    absent = table_name("no", "such", 1)
    with pytest.raises(UnknownTable):
        await store.replace(absent, 1, [document("a", ["one"])])
    with pytest.raises(UnknownTable):
        await store.search_vector(absent, question("one"))
    with pytest.raises(UnknownTable):
        await store.optimize(absent)


async def test_h1_a_confirmed_document_is_not_overwritten_by_an_earlier_version(
    store: Store, table: TableName
):
    kept, other = document("a", ["one", "two"]), document("b", ["three"])
    await store.replace(table, 1, [kept, other, document("gone", ["four"])])
    await store.replace(table, 2, [], ["gone"])
    digests = {each.document.id: each.document.digest for each in (kept, other)}
    asked = {"a": digests["a"], "b": digests["a"], "gone": digests["a"], "absent": digests["b"]}
    assert await store.confirm(table, 7, asked) == {"b", "gone", "absent"}
    states = await store.documents(table, list(asked))
    chunks = tuple(each.chunk.id for each in kept.chunks)
    assert states["a"] == DocumentState(digests["a"], 7, chunks)
    assert (sorted(states), states["b"].version) == (["a", "b"], 1)
    assert await store.replace(table, 6, [document("a", ["late"]), document("b", ["late"])]) == {"a"}
    assert await texts(store, table) == {"a": ["one", "two"], "b": ["late"]}
    assert (await store.search_vector(table, question("two", 1)))[0].chunk.text == "two"


async def test_h1_a_confirmation_lowers_no_version(store: Store, table: TableName):
    kept = document("a", ["one"])
    await store.replace(table, 5, [kept])
    for version in (5, 4):
        assert await store.confirm(table, version, {"a": kept.document.digest}) == frozenset()
    assert (await store.documents(table, ["a"]))["a"].version == 5
    assert await store.confirm(table, 6, {}) == frozenset()
    with pytest.raises(ValueError, match="hex digits"):
        await store.confirm(table, 6, {"a": "' OR true --"})
    with pytest.raises(UnknownTable):
        await store.confirm(table_name("no", "such", 1), 6, {"a": kept.document.digest})
