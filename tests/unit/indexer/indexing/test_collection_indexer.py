"""Index requests on collections in memory: counts, what is paid, changes of model, drops, kills and late requests."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.contract.retrieval.documents import Document, IndexBody, IndexReport
from services.indexer.embedding.gateway import Caller, Embedded, EmbeddingFailed, Route
from services.indexer.embedding.models import UnusableModel
from services.indexer.store.errors import StoreCorrupt
from tests.harness.indexer.local_indexer import LocalIndexer, documents

LONG = "\n\n".join(f"Paragraph {number} tells of the subject number {number}. " * 3 for number in range(8))


def _long(number: int) -> str:
    """Of which every chunk is a text of its own."""
    return LONG.replace("subject", f"subject of {number}")


async def test_h1_a_corpus_is_embedded_once_and_an_unchanged_one_costs_nothing():
    indexer = LocalIndexer()
    first = await indexer.index(documents(a=LONG, b="A short text."))
    chunks = await indexer.texts()
    assert first.indexed == 2
    assert first.chunks == first.changed == first.embedded == len(chunks["a"]) + 1 > 5
    assert first.tokens == sum(len(text.split()) for text in indexer.gateway.provided)
    assert first.cost_microusd == 2 * first.tokens
    assert (first.model, first.dimensions) == ("small", 64)

    asked = len(indexer.gateway.requests)
    again = await indexer.index(documents(a=LONG, b="A short text."))
    assert (again.unchanged, again.indexed, again.chunks) == (2, 0, first.chunks)
    assert again.changed == again.embedded == again.from_cache == again.cost_microusd == 0
    assert len(indexer.gateway.requests) == asked


async def test_h1_of_a_changed_document_only_the_changed_chunks_are_embedded():
    indexer = LocalIndexer()
    first = await indexer.index(documents(a=LONG))
    changed = await indexer.index(documents(a=LONG.replace("subject number 3", "object number 3")))
    texts = (await indexer.texts())["a"]
    assert changed.changed == changed.embedded == sum("object number 3" in text for text in texts) < 4
    assert changed.chunks_deleted == changed.changed + first.chunks - changed.chunks
    assert max(indexer.gateway.provided.values()) == 1


async def test_h1_documents_that_shrink_or_are_deleted_leave_nothing():
    indexer = LocalIndexer()
    first = await indexer.index(documents(a=LONG, b=LONG.upper(), c="stays"))
    report = await indexer.index(
        IndexBody(documents=(Document(id="a", text="Paragraph 0"),), delete=("b", "nowhere"))
    )
    assert await indexer.texts() == {"a": ["Paragraph 0"], "c": ["stays"]}
    assert (report.deleted, report.indexed) == (1, 1)
    assert report.chunks_deleted == first.chunks - 1


async def test_h1_a_moved_text_is_not_embedded_again():
    indexer = LocalIndexer()
    await indexer.index(documents(a="the same text"))
    report = await indexer.index(documents(b="the same text"))
    assert (report.chunks, report.changed, report.embedded) == (1, 0, 0)


async def test_h1_metadata_alone_changes_without_a_call():
    indexer = LocalIndexer()
    await indexer.index(documents(a="text"))
    body = IndexBody(documents=(Document(id="a", text="text", metadata={"year": 2024}),))
    report = await indexer.index(body)
    assert (report.indexed, report.changed, report.embedded) == (1, 0, 0)
    assert (await indexer.search("text", filters={"year": 2024})).passages
    assert not (await indexer.search("text", filters={"year": 2025})).passages


async def test_h3_a_refused_document_is_reported_and_its_old_version_stays():
    indexer = LocalIndexer()
    await indexer.index(documents(a="old text", b="old text of b"))
    indexer.gateway.refused = {"poison"}
    report = await indexer.index(documents(a="poison in it", b="new text of b", c="another"))
    assert [refused.id for refused in report.refused] == ["a"]
    assert "refuses" in report.refused[0].reason
    assert (report.indexed, report.chunks, report.changed, report.embedded) == (2, 3, 2, 2)
    assert await indexer.texts() == {"a": ["old text"], "b": ["new text of b"], "c": ["another"]}
    assert indexer.refusals == {"embedding": 1}


@pytest.mark.parametrize("number", [0.0, -0.0, 1e30, 1e-30])
async def test_h3_a_document_whose_vector_has_no_direction_is_refused_alone(
    monkeypatch: pytest.MonkeyPatch, number: float
):
    indexer = LocalIndexer()
    embed = indexer.gateway.embed

    async def flawed(texts: Sequence[str], route: Route, caller: Caller) -> Embedded:
        embedded = await embed(texts, route, caller)
        vectors = [
            array("f", [number] * (len(vector) // 4)).tobytes() if "poison" in text else vector
            for text, vector in zip(texts, embedded.vectors, strict=True)
        ]
        return replace(embedded, vectors=vectors)

    monkeypatch.setattr(indexer.gateway, "embed", flawed)
    report = await indexer.index(documents(a="poison", b="a good text", c="another one"))
    assert [refused.id for refused in report.refused] == ["a"]
    assert await indexer.texts() == {"b": ["a good text"], "c": ["another one"]}


async def test_h3_a_binary_document_is_refused():
    indexer = LocalIndexer()
    report = await indexer.index(
        IndexBody(documents=(Document(id="x.bin", data=bytes(range(256)) * 10), Document(id="a", text="t")))
    )
    assert [refused.id for refused in report.refused] == ["x.bin"]
    assert report.indexed == 1


async def test_h1_a_request_that_is_begun_again_pays_nothing_twice():
    """Its process was killed after the first group was stored."""
    indexer = LocalIndexer()
    body = documents(**{f"d{number}": _long(number) for number in range(200)})

    async def kill_later() -> None:
        if await indexer.store.tables() and len(indexer.gateway.requests) > 4:
            raise ConnectionAbortedError

    indexer.gateway.before = kill_later
    with pytest.raises(ConnectionAbortedError):
        await indexer.index(body, version=7)
    assert 0 < len(await indexer.texts()) < 200

    indexer.gateway.before = None
    report = await indexer.index(body, version=7)
    assert (report.indexed, report.unchanged) == (200, 0)
    assert len(await indexer.texts()) == 200
    assert max(indexer.gateway.provided.values()) == 1


async def test_h1_an_older_request_changes_no_later_document():
    indexer = LocalIndexer()
    await indexer.index(documents(a="later", b="later"), version=20)
    late = await indexer.index(
        IndexBody(documents=(Document(id="a", text="older"), Document(id="c", text="new")), delete=("b",)),
        version=10,
    )
    assert await indexer.texts() == {"a": ["later"], "b": ["later"], "c": ["new"]}
    assert {refused.id for refused in late.refused} == {"a", "b"}
    assert late.deleted == 0


async def test_h4_a_deletion_of_what_a_later_request_deleted_is_done():
    indexer = LocalIndexer()
    await indexer.index(documents(a="text", b="text"), version=1)
    await indexer.index(IndexBody(delete=("a",)), version=20)
    report = await indexer.index(IndexBody(delete=("a",)), version=10)
    assert report.refused == ()


async def test_h1_an_earlier_request_does_not_overwrite_what_a_later_one_found_unchanged():
    indexer = LocalIndexer()
    await indexer.index(documents(a="first", b="first"), version=5)
    other = LocalIndexer(indexer.store, indexer.records, indexer.gateway)
    confirmed: list[IndexReport] = []

    async def confirm() -> None:
        if not confirmed:
            confirmed.append(await other.index(documents(a="first"), version=20))

    indexer.gateway.before = confirm  # the earlier request has read what is stored
    late = await indexer.index(documents(a="second", b="second"), version=10)
    assert (confirmed[0].unchanged, confirmed[0].indexed) == (1, 0)
    assert await indexer.texts() == {"a": ["first"], "b": ["second"]}
    assert [refused.id for refused in late.refused] == ["a"]


async def test_h1_a_later_request_writes_again_what_an_earlier_one_changes_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
):
    indexer = LocalIndexer()
    await indexer.index(documents(a="first", b="first", c="first"), version=5)
    other = LocalIndexer(indexer.store, indexer.records, indexer.gateway)
    confirm = indexer.store.confirm
    earlier = IndexBody(documents=(Document(id="a", text="second"),), delete=("b",))

    async def change_before(*arguments: Any) -> frozenset[str]:
        monkeypatch.setattr(indexer.store, "confirm", confirm)
        await other.index(earlier, version=10)
        return await confirm(*arguments)

    monkeypatch.setattr(indexer.store, "confirm", change_before)
    report = await indexer.index(documents(a="first", b="first", c="first"), version=20)
    assert await indexer.texts() == {"a": ["first"], "b": ["first"], "c": ["first"]}
    assert (report.indexed, report.unchanged, report.embedded) == (2, 1, 0)
    late = await indexer.index(documents(c="late"), version=19)
    assert [refused.id for refused in late.refused] == ["c"]


async def test_h1_a_deletion_is_not_undone_by_an_older_request():
    indexer = LocalIndexer()
    await indexer.index(documents(a="text", b="text"))
    await indexer.index(IndexBody(delete=("a",)), version=20)
    await indexer.index(documents(a="text"), version=10)
    assert list(await indexer.texts()) == ["b"]


async def test_h1_two_indexers_embed_each_text_once_with_the_gateways_cache():
    one = LocalIndexer()
    other = LocalIndexer(one.store, one.records, one.gateway)
    body = documents(**{f"d{number}": _long(number) for number in range(40)})
    first, second = await asyncio.gather(one.index(body, version=5), other.index(body, version=6))
    assert max(one.gateway.provided.values()) == 1
    assert first.embedded + second.embedded == len(one.gateway.provided)
    assert len(await one.texts()) == 40
    for report in (first, second):
        assert report.changed == report.embedded + report.from_cache


async def test_h1_a_drop_removes_the_collection_and_its_number_is_not_used_again():
    indexer = LocalIndexer()
    await indexer.index(documents(a="text", b="text two"))
    report = await indexer.index(IndexBody(drop=True))
    assert (report.deleted, report.chunks_deleted) == (2, 2)
    assert await indexer.store.tables() == {}
    await indexer.index(documents(c="new"))
    record = indexer.records.stored["acme", "docs"]
    assert record.current is not None
    assert record.current.number == 2
    assert list(await indexer.texts()) == ["c"]


async def test_h1_a_drop_that_comes_late_keeps_later_documents():
    indexer = LocalIndexer()
    await indexer.index(documents(a="old"), version=5)
    await indexer.index(documents(b="later"), version=20)
    report = await indexer.index(IndexBody(drop=True, documents=(Document(id="c", text="new"),)), version=10)
    assert report.deleted == 1
    assert [refused.id for refused in report.refused] == ["b"]
    assert list(await indexer.texts()) == ["b", "c"]
    again = await indexer.index(IndexBody(drop=True, documents=(Document(id="c", text="new"),)), version=10)
    assert again.deleted == 0 or list(await indexer.texts()) == ["b", "c"]


async def test_h1_documents_older_than_the_drop_are_refused():
    indexer = LocalIndexer()
    await indexer.index(documents(a="text"))
    await indexer.index(IndexBody(drop=True), version=20)
    report = await indexer.index(documents(a="text"), version=10)
    assert [refused.id for refused in report.refused] == ["a"]
    assert await indexer.store.tables() == {}


async def test_h5_a_change_of_model_embeds_beside_and_switches_at_the_end():
    indexer = LocalIndexer()
    body = documents(**{f"d{number:03}": _long(number) for number in range(120)})
    first = await indexer.index(body)
    seen: list[tuple[str, bool]] = []

    async def look() -> None:
        answer = await indexer.search("subject number 3")
        seen.append((answer.model, bool(answer.passages)))

    await indexer.search("subject number 3")  # its vector is known from here on
    indexer.gateway.before = look
    report = await indexer.index(IndexBody(model="large"))
    indexer.gateway.before = None
    assert set(seen) == {("small", True)}
    assert (report.model, report.dimensions, report.embedded) == ("large", 96, first.chunks)
    record = indexer.records.stored["acme", "docs"]
    assert record.current is not None
    assert (record.current.model, record.building) == ("large", None)
    assert len(await indexer.store.tables()) == 1
    assert len(await indexer.texts()) == 120
    assert (await indexer.search("subject number 3")).model == "large"
    again = await indexer.index(IndexBody(model="large"))
    assert again.embedded == 0


async def test_h5_documents_that_change_during_a_change_of_model_land_in_both():
    indexer = LocalIndexer()
    await indexer.index(documents(**{f"d{number:03}": f"text {number} old" for number in range(150)}))
    other = LocalIndexer(indexer.store, indexer.records, indexer.gateway)
    changed = False

    async def change() -> None:
        nonlocal changed
        if changed:
            return
        changed = True
        await other.index(
            IndexBody(
                documents=(Document(id="d000", text="text 0 new"), Document(id="e", text="added")),
                delete=("d001", "d149"),
            ),
            version=100,
        )

    indexer.gateway.before = change
    await indexer.index(IndexBody(model="large"))
    texts = await indexer.texts()
    assert texts["d000"] == ["text 0 new"]
    assert texts["e"] == ["added"]
    assert {"d001", "d149"}.isdisjoint(texts)
    assert len(texts) == 149


@pytest.mark.parametrize("removed", [True, False])
async def test_h5_an_error_of_a_removed_table_writes_the_documents_to_the_new_one(
    monkeypatch: pytest.MonkeyPatch, removed: bool
):
    """Where files are removed one by one, the table looks damaged meanwhile. A damaged one that stays is an error."""
    indexer = LocalIndexer()
    await indexer.index(documents(a="old text"))
    other = LocalIndexer(indexer.store, indexer.records, indexer.gateway)
    replace, failed = indexer.store.replace, False

    async def failing(*change: Any) -> frozenset[str]:
        nonlocal failed
        if failed:
            return await replace(*change)
        failed = True
        if removed:
            await other.index(IndexBody(model="large"))
        raise StoreCorrupt("a file is missing")

    monkeypatch.setattr(indexer.store, "replace", failing)
    if not removed:
        with pytest.raises(StoreCorrupt):
            await indexer.index(documents(a="new text"), version=9)
        return
    report = await indexer.index(documents(a="new text"), version=9)
    assert (report.model, report.indexed) == ("large", 1)
    assert await indexer.texts() == {"a": ["new text"]}


async def test_h5_a_killed_change_of_model_goes_on_where_it_was():
    indexer = LocalIndexer()
    await indexer.index(documents(**{f"d{number:03}": f"text {number}" for number in range(250)}))

    async def kill() -> None:
        if indexer.gateway.provided.total() >= 350:
            raise ConnectionAbortedError

    indexer.gateway.before = kill
    with pytest.raises(ConnectionAbortedError):
        await indexer.index(IndexBody(model="large"), version=9)
    assert (await indexer.search("text 3", mode="text")).passages
    indexer.gateway.before = None
    report = await indexer.index(IndexBody(model="large"), version=9)
    assert report.embedded == 150
    assert len(await indexer.texts()) == 250
    assert await indexer.remove_orphans() == 0


async def test_h5_a_change_of_model_is_not_applied_over_a_later_one():
    """As that of a dead letter that is sent again, or of a process that was frozen."""
    indexer = LocalIndexer()
    await indexer.index(documents(a="text of a"), version=1)
    await indexer.index(IndexBody(model="large"), version=9)
    old = IndexBody(documents=(Document(id="b", text="text of b"),), model="small")
    report = await indexer.index(old, version=5)
    assert (report.model, report.indexed) == ("large", 1)
    assert set(await indexer.texts()) == {"a", "b"}
    await indexer.index(IndexBody(model="large"), version=12)
    assert (await indexer.index(old, version=11)).model == "large", "also if the later one changed nothing"
    assert (await indexer.index(old, version=13)).model == "small"
    assert len(await indexer.store.tables()) == 1


async def test_h5_a_failed_change_of_model_keeps_the_old_one():
    indexer = LocalIndexer()
    await indexer.index(documents(a="fine", b="poison"))
    indexer.gateway.refused = {"poison"}
    with pytest.raises(EmbeddingFailed, match="keeps its model"):
        await indexer.index(IndexBody(model="large"))
    record = indexer.records.stored["acme", "docs"]
    assert record.building is None
    assert len(await indexer.store.tables()) == 1
    assert (await indexer.search("fine")).model == "small"


async def test_h5_an_unknown_model_or_wrong_dimensions_are_refused_before_anything_is_done():
    indexer = LocalIndexer()
    for body in (
        IndexBody(documents=(Document(id="a", text="t"),), model="nothing"),
        IndexBody(documents=(Document(id="a", text="t"),), dimensions=65),
        IndexBody(documents=(Document(id="a", text="t"),), model="large", dimensions=32),
    ):
        with pytest.raises(UnusableModel):
            await indexer.index(body)
    assert indexer.records.stored == {}
    report = await indexer.index(IndexBody(documents=(Document(id="a", text="t"),), dimensions=32))
    assert report.dimensions == 32


async def test_h5_tables_of_killed_creations_and_drops_are_removed():
    indexer = LocalIndexer()
    await indexer.index(documents(a="text"))
    await indexer.index(documents(a="text"), "other")
    table = next(iter(await indexer.store.tables()))
    del indexer.records.stored["acme", "docs"]
    assert await indexer.remove_orphans() == 1
    assert table not in await indexer.store.tables()
    assert await indexer.texts("other") == {"a": ["text"]}


async def test_h5_no_table_is_removed_where_the_bucket_was_lost():
    indexer = LocalIndexer()
    await indexer.index(documents(a="text"))
    indexer.records.stored.clear()
    assert await indexer.remove_orphans() == 0
    assert len(await indexer.store.tables()) == 1


async def test_h1_a_deletion_creates_no_collection():
    indexer = LocalIndexer()
    report = await indexer.index(IndexBody(delete=("a",)))
    assert report.deleted == 0
    assert indexer.records.stored == {}
