"""H1: collections and documents are listed for their account only, page by page, without the memory of users."""

from __future__ import annotations

import pytest

from penstock.bus.bucket import Record
from penstock.contract import codec
from penstock.contract.retrieval.collections import CollectionsQuery
from penstock.contract.retrieval.documents import Document, IndexBody
from penstock.contract.retrieval.search import DocumentsQuery
from services.indexer.collections.names import memory_of
from services.indexer.search.listing import Listing
from services.indexer.search.lookup import CollectionLookup, FollowedRecords, SearchRefused
from tests.harness.indexer.local_indexer import LocalIndexer, documents


def listing(indexer: LocalIndexer) -> Listing:
    lookup = CollectionLookup(FollowedRecords(), indexer.records)
    return Listing(indexer.store, lookup, indexer.records)


async def test_h1_documents_are_listed_page_by_page_in_the_order_of_their_ids():
    indexer = LocalIndexer()
    await indexer.index(documents(b="two", a="one", ab="three", c="four"))
    pages, after = [], ""
    while True:
        query = DocumentsQuery(collection="docs", after=after, limit=2)
        report = await listing(indexer).documents("acme", query)
        pages.append([each.id for each in report.documents])
        if not report.more:
            break
        after = pages[-1][-1]
    assert pages == [["a", "ab"], ["b", "c"]]
    begun = await listing(indexer).documents("acme", DocumentsQuery(collection="docs", prefix="a"))
    assert [(each.id, each.source, each.chunks) for each in begun.documents] == [
        ("a", "a", 1),
        ("ab", "ab", 1),
    ]
    assert all(each.digest and each.updated_ms for each in begun.documents)


async def test_h1_the_memory_of_a_user_is_listed_by_its_user_only():
    indexer = LocalIndexer()
    turn = Document(id="trip/001", text="a turn", metadata={"conversation": "trip"})
    await indexer.index(IndexBody(documents=(turn,)), memory_of("acme", "ann"))
    listed = listing(indexer)

    async def turns(account: str, user: str) -> list[str]:
        report = await listed.documents(account, DocumentsQuery(collection="", user=user))
        return [each.id for each in report.documents]

    assert await turns("acme", "ann") == ["trip/001"]
    assert await turns("acme", "bob") == []
    assert await turns("other", "ann") == []
    assert (await listed.collections("acme", CollectionsQuery())).collections == ()
    with pytest.raises(SearchRefused, match="reserved"):
        await listed.documents("acme", DocumentsQuery(collection=memory_of("acme", "ann")))


async def test_m3_a_collection_changes_with_its_documents():
    indexer = LocalIndexer()
    times = []
    for text in ("one", "two", "three"):
        await indexer.index(documents(a=text))
        (status,) = (await listing(indexer).collections("acme", CollectionsQuery())).collections
        times.append(status.updated_ms)
    assert times == sorted(set(times))


async def test_h1_collections_have_their_sizes_and_those_of_other_accounts_are_unknown():
    indexer = LocalIndexer()
    await indexer.index(documents(a="one two", b="three"), "second")
    await indexer.index(documents(a="one"), "first")
    await indexer.index(documents(a="one"), "third", account="other")
    listed = listing(indexer)
    found = (await listed.collections("acme", CollectionsQuery())).collections
    assert [(each.name, each.documents, each.chunks) for each in found] == [("first", 1, 1), ("second", 2, 2)]
    assert {(each.model, each.dimensions, each.building) for each in found} == {("small", 64, "")}
    (second,) = (await listed.collections("acme", CollectionsQuery(name="second"))).collections
    assert second == found[1]
    with pytest.raises(SearchRefused, match="no collection 'third'") as refused:
        await listed.collections("acme", CollectionsQuery(name="third"))
    assert refused.value.code == "unknown_collection"
    with pytest.raises(SearchRefused, match="no collection 'third'"):
        await listed.documents("acme", DocumentsQuery(collection="third"))


async def test_h3_the_error_for_an_unknown_collection_names_those_of_the_account():
    indexer, followed = LocalIndexer(), FollowedRecords()
    lookup = CollectionLookup(followed, indexer.records)

    async def message(name: str, account: str = "acme") -> str:
        stored = indexer.records.stored.items()
        followed.replace([Record(".".join(key), codec.encode(each), 1) for key, each in stored])
        return str(lookup.unknown(account, name))

    assert await message("docs") == "there is no collection 'docs'; the account has no collections"
    await indexer.index(documents(a="one"), "manual")
    await indexer.index(documents(a="one"), "guide")
    await indexer.index(documents(a="one"), "gone")
    await indexer.index(IndexBody(drop=True), "gone")
    await indexer.index(documents(a="one"), memory_of("acme", "ann"))
    await indexer.index(documents(a="one"), "theirs", account="other")
    assert await message("docs") == "there is no collection 'docs'; the collections are guide, manual"
    assert await message("docs", "third") == "there is no collection 'docs'; the account has no collections"
    for number in range(20):
        await indexer.index(documents(a="one"), f"docs{number}")
    found = await message("manaul")
    assert found.startswith(
        "there is no collection 'manaul'; of 22 collections, those of the nearest names are manual, "
    )
    assert found.count(",") == 5


async def test_h1_a_dropped_collection_is_not_listed_and_one_without_its_table_is_empty():
    indexer = LocalIndexer()
    await indexer.index(documents(a="one"), "gone")
    await indexer.index(IndexBody(drop=True), "gone")
    await indexer.index(documents(a="one"), "begun")
    for table in await indexer.store.tables():
        await indexer.store.drop(table)
    found = (await listing(indexer).collections("acme", CollectionsQuery())).collections
    assert [(each.name, each.documents, each.bytes) for each in found] == [("begun", 0, 0)]
