"""The memory of users: who sees it, how much is kept, and that forgetting is complete."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from penstock.contract.retrieval.documents import Document, IndexBody
from services.indexer.collections.names import (
    InvalidCollection,
    collection_of_request,
    memory_of,
    named_collection,
)
from services.indexer.store.tables import TableName
from tests.harness.indexer.local_indexer import LocalIndexer


def _turn(conversation: str, number: int, text: str) -> Document:
    return Document(id=f"{conversation}/{number:03}", text=text, metadata={"conversation": conversation})


def purges_of(indexer: LocalIndexer) -> list[TableName]:
    """The tables that are purged from now on."""
    purged: list[TableName] = []

    async def purge(table: TableName) -> None:
        purged.append(table)

    indexer.store.purge = purge  # type: ignore[method-assign]
    return purged


def test_h4_each_user_of_each_account_has_a_memory_of_its_own():
    names = {
        memory_of("acme", "ann"),
        memory_of("acme", "bob"),
        memory_of("acm", "eann"),
        memory_of("", "acmeann"),
    }
    assert len(names) == 4
    assert collection_of_request("acme", "memory-", "ann") == memory_of("acme", "ann")


@pytest.mark.parametrize("name", ["memory-x", memory_of("acme", "ann"), "", "a.b", "a b", "*", ">", "a" * 65])
def test_h4_no_request_may_name_a_memory_or_an_invalid_collection(name: str):
    with pytest.raises(InvalidCollection):
        named_collection(name)


def test_h4_a_memory_needs_a_user():
    with pytest.raises(InvalidCollection, match="user"):
        collection_of_request("acme", "memory-", "")


async def test_h4_turns_are_recalled_without_the_latest_of_the_conversation():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    earlier = tuple(_turn("first", number, f"Ann likes tea number {number}") for number in range(3))
    latest = tuple(_turn("second", number, f"Ann likes tea and cake {number}") for number in range(12))
    await indexer.index(IndexBody(documents=earlier + latest), name)
    answer = await indexer.search("What does Ann like", "", user="ann", conversation="second", top_k=50)
    found = {passage.document for passage in answer.passages}
    assert found == {"first/000", "first/001", "first/002", "second/000", "second/001"}
    assert not (await indexer.search("tea", "", user="bob")).passages
    assert not (await indexer.search("tea", "", user="ann", account="other")).passages


async def test_h4_the_turns_of_a_conversation_below_another_name_are_recalled():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    body = IndexBody(documents=(_turn("trip", 1, "Ann likes tea"), _turn("trip/2026", 1, "Ann likes cake")))
    await indexer.index(body, name)
    answer = await indexer.search("What does Ann like", "", user="ann", conversation="trip")
    assert [passage.document for passage in answer.passages] == ["trip/2026/001"]


async def test_h4_at_the_limit_the_oldest_turns_are_forgotten():
    indexer = LocalIndexer(most_turns=5)
    name = memory_of("acme", "ann")
    for number in range(8):
        await indexer.index(IndexBody(documents=(_turn("c", number, f"turn {number}"),)), name)
    assert set(await indexer.texts(name)) == {f"c/{number:03}" for number in range(3, 8)}


async def test_h4_forgetting_deletes_documents_and_tables():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    await indexer.index(
        IndexBody(documents=(_turn("c", 1, "a secret"), _turn("c", 2, "nothing special"))), name
    )
    report = await indexer.index(IndexBody(delete=("c/001",)), name)
    assert report.deleted == 1
    assert await indexer.texts(name) == {"c/002": ["nothing special"]}
    await indexer.index(IndexBody(drop=True), name)
    assert await indexer.store.tables() == {}


async def test_h4_a_replaced_turn_is_purged_and_an_unchanged_one_costs_no_purge():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    purged = purges_of(indexer)
    for text, purges in (("the first answer", 0), ("the second answer", 1), ("the second answer", 1)):
        await indexer.index(IndexBody(documents=(_turn("c", 1, text),)), name)
        assert len(purged) == purges, text
    assert await indexer.texts(name) == {"c/001": ["the second answer"]}


async def test_h4_a_repeated_request_purges_what_a_killed_process_left():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    purged = purges_of(indexer)
    task = indexer.task(IndexBody(documents=(_turn("c", 1, "the answer"),)), name)
    await indexer.indexer.index(task)
    assert purged == []
    task.repeated = True
    await indexer.indexer.index(task)
    assert len(purged) == 1


async def test_h4_a_turn_that_was_queued_before_the_first_one_was_stored_is_forgotten():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    await indexer.index(IndexBody(drop=True), name, version=20)
    late = await indexer.index(IndexBody(documents=(_turn("c", 1, "a secret"),)), name, version=10)
    assert [refused.id for refused in late.refused] == ["c/001"]
    assert await indexer.store.tables() == {}
    later = await indexer.index(IndexBody(documents=(_turn("c", 2, "said later"),)), name, version=30)
    assert later.indexed == 1


async def test_h4_a_drop_leaves_nothing_that_another_process_writes_meanwhile():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    other = LocalIndexer(indexer.store, indexer.records, indexer.gateway)
    replace = indexer.store.replace

    async def replace_late(table: TableName, *change: Any) -> frozenset[str]:
        """The table is created again after the drop: `create` of this process was delayed."""
        await other.index(IndexBody(drop=True), name, version=20)
        await indexer.store.create(table, 64)
        return await replace(table, *change)

    indexer.store.replace = replace_late  # type: ignore[method-assign]
    await indexer.index(IndexBody(documents=(_turn("c", 1, "a secret"),)), name, version=10)
    assert await indexer.store.tables() == {}


async def test_h4_no_vector_of_a_memory_and_of_its_questions_is_kept_by_the_gateway():
    indexer = LocalIndexer()
    turns = (_turn("c", 1, "a secret"), _turn("c", 2, "poison"))
    indexer.gateway.refused = {"poison"}
    await indexer.index(IndexBody(documents=turns), memory_of("acme", "ann"))
    await indexer.search("what secret", "", user="ann")
    assert set(indexer.gateway.provided) == {"a secret", "what secret"}
    assert indexer.gateway.stored == set()
    await indexer.index(IndexBody(documents=turns))
    assert indexer.gateway.stored == {"a secret"}


async def test_h4_queued_turns_of_a_forgotten_conversation_are_not_stored_and_others_are():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    await indexer.index(IndexBody(documents=(_turn("trip", 1, "a secret"),)), name, version=10)
    await indexer.index(IndexBody(documents=(_turn("trip/2026", 1, "of another one"),)), name, version=11)
    report = await indexer.index(IndexBody(drop_conversation="trip"), name, version=20)
    assert (report.deleted, report.chunks_deleted, report.refused) == (1, 1, ())
    late = await indexer.index(IndexBody(documents=(_turn("trip", 2, "a late secret"),)), name, version=15)
    assert [refused.id for refused in late.refused] == ["trip/002"]
    await indexer.index(IndexBody(documents=(_turn("work", 1, "of work"),)), name, version=16)
    await indexer.index(IndexBody(documents=(_turn("trip", 3, "said later"),)), name, version=21)
    assert await indexer.texts(name) == {
        "trip/2026/001": ["of another one"],
        "work/001": ["of work"],
        "trip/003": ["said later"],
    }


async def test_h4_a_conversation_is_forgotten_before_its_first_turn_is_stored():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    await indexer.index(IndexBody(drop_conversation="trip"), name, version=20)
    await indexer.index(IndexBody(documents=(_turn("trip", 1, "a secret"),)), name, version=10)
    await indexer.index(IndexBody(documents=(_turn("work", 1, "of work"),)), name, version=11)
    assert await indexer.texts(name) == {"work/001": ["of work"]}


async def test_h4_a_later_turn_of_a_forgotten_conversation_stays_and_is_reported():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    await indexer.index(IndexBody(documents=(_turn("trip", 1, "said later"),)), name, version=30)
    report = await indexer.index(IndexBody(drop_conversation="trip"), name, version=20)
    assert ([refused.id for refused in report.refused], report.deleted) == (["trip/001"], 0)
    assert await indexer.texts(name) == {"trip/001": ["said later"]}


@pytest.mark.parametrize("forget", [IndexBody(drop_conversation="trip"), IndexBody(drop=True)])
@pytest.mark.parametrize("is_killed", [False, True])
async def test_h4_a_turn_that_another_process_stores_while_it_is_forgotten_does_not_stay(
    forget: IndexBody, *, is_killed: bool
):
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    other = LocalIndexer(indexer.store, indexer.records, indexer.gateway)
    replace = indexer.store.replace

    async def replace_late(table: TableName, *change: Any) -> frozenset[str]:
        """The memory has a later turn, so that it keeps its table also when it is dropped."""
        indexer.store.replace = replace  # type: ignore[method-assign]
        await other.index(IndexBody(documents=(_turn("work", 1, "said later"),)), name, version=30)
        await other.index(forget, name, version=20)
        changed = await replace(table, *change)
        if is_killed:
            raise asyncio.CancelledError
        return changed

    indexer.store.replace = replace_late  # type: ignore[method-assign]
    task = indexer.task(IndexBody(documents=(_turn("trip", 1, "a secret"),)), name, version=10)
    if is_killed:
        with pytest.raises(asyncio.CancelledError):
            await indexer.indexer.index(task)
        assert "trip/001" in await indexer.texts(name)
        task.repeated = True
        await other.indexer.index(task)
    else:
        await indexer.indexer.index(task)
    assert await indexer.texts(name) == {"work/001": ["said later"]}


async def test_h4_the_record_of_a_memory_keeps_its_size_however_many_conversations_are_forgotten():
    indexer = LocalIndexer()
    name = memory_of("acme", "ann")
    for number in range(150):
        await indexer.index(IndexBody(drop_conversation=f"c{number}"), name, version=100 + number)
        await indexer.index(IndexBody(drop_conversation="trip"), name, version=100 + number)
    assert len(indexer.records.stored["acme", name].forgotten) == 100
    for number in range(150):
        turn = IndexBody(documents=(_turn(f"c{number}", 1, "a secret"),))
        assert (await indexer.index(turn, name, version=50)).refused, number
    await indexer.index(IndexBody(documents=(_turn("work", 1, "of work"),)), name, version=160)
    assert await indexer.texts(name) == {"work/001": ["of work"]}
    await indexer.index(IndexBody(drop=True), name, version=1_000)
    assert indexer.records.stored["acme", name].forgotten == ()
