"""H5: searches by vector and by words, filters over tags, listings."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from services.indexer.store.interface import FilterTerm, Question, ReadLimit, Store
from services.indexer.store.tables import TableName, tag
from tests.harness.indexer.stored_documents import document, question

EN, RU = tag("lang", "en"), tag("lang", "ru")
GUIDE, NOTE = tag("kind", "guide"), tag("kind", "note")


@pytest.fixture
async def corpus(store: Store, table: TableName) -> TableName:
    await store.replace(
        table,
        1,
        [
            document("en/guide", ["the river is long", "a bridge"], metadata={"lang": "en", "kind": "guide"}),
            document("en/note", ["the river is short"], metadata={"lang": "en", "kind": "note"}),
            document("ru/guide", ["река длинная", "the mill"], metadata={"lang": "ru", "kind": "guide"}),
            document("plain", ["nothing about water"]),
        ],
    )
    return table


async def found(store: Store, table: TableName, *terms: FilterTerm) -> set[str]:
    asked = question("the mill", 100, filter=terms)
    by_vector = {hit.document.id for hit in await store.search_vector(table, asked)}
    words = ["the", "a", "река", "nothing"]
    by_words = {hit.document.id for hit in await store.search_text(table, words, asked)}
    everything = await store.all_chunks(table, terms, ReadLimit(10_000, 100_000))
    assert everything is not None
    assert by_vector == by_words == {each.document.id for each in everything}
    return by_vector


async def test_h5_the_nearest_chunk_is_first(store: Store, corpus: TableName):
    hits = await store.search_vector(corpus, question("a bridge", 3))
    assert len(hits) == 3
    assert (hits[0].document.id, hits[0].chunk.text) == ("en/guide", "a bridge")
    assert hits[0].similarity == pytest.approx(1, abs=1e-5)
    assert hits[0].chunk.page == 2
    assert hits[0].document.metadata == b'{"kind":"test"}'
    assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
    assert hits[1].similarity < 0.9


async def test_h5_words_are_found_whole_and_ranked(store: Store, corpus: TableName):
    hits = await store.search_text(corpus, ["river", "long"], question("a bridge"))
    assert [hit.chunk.text for hit in hits] == ["the river is long", "the river is short"]
    assert [hit.similarity < 0.9 for hit in hits] == [True, True]
    (hit,) = await store.search_text(corpus, ["река"], question("река длинная"))
    assert hit.similarity == pytest.approx(1, abs=1e-5)
    assert await store.search_text(corpus, ["riv"], question("x")) == []
    assert await store.search_text(corpus, [], question("x")) == []
    assert len(await store.search_text(corpus, ["the"], question("x", 2))) == 2


async def test_h5_a_question_of_words_alone_needs_no_vector(store: Store, corpus: TableName):
    hits = await store.search_text(corpus, ["river", "long"], Question(None, 10))
    assert [(hit.chunk.text, hit.similarity) for hit in hits] == [
        ("the river is long", 0),
        ("the river is short", 0),
    ]
    with pytest.raises(ValueError, match="needs the vector"):
        await store.search_vector(corpus, Question(None, 10))


async def test_h5_filters_join_alternatives_and_negations(store: Store, corpus: TableName):
    assert await found(store, corpus) == {"en/guide", "en/note", "ru/guide", "plain"}
    assert await found(store, corpus, FilterTerm((EN,))) == {"en/guide", "en/note"}
    assert await found(store, corpus, FilterTerm((EN, RU))) == {"en/guide", "en/note", "ru/guide"}
    assert await found(store, corpus, FilterTerm((EN,)), FilterTerm((GUIDE,))) == {"en/guide"}
    assert await found(store, corpus, FilterTerm((EN,), negated=True)) == {"ru/guide", "plain"}
    both = FilterTerm((NOTE, RU), negated=True)
    assert await found(store, corpus, both) == {"en/guide", "plain"}
    assert await found(store, corpus, FilterTerm((tag("lang", "tr"),))) == set()


async def test_h5_a_filter_without_tags_matches_nothing_or_everything(store: Store, corpus: TableName):
    assert await found(store, corpus, FilterTerm(())) == set()
    assert len(await found(store, corpus, FilterTerm((), negated=True))) == 4


@pytest.mark.parametrize("text", ["' OR '1'='1", "'); DROP TABLE x; --", "%", "a" * 33, ""])
async def test_h5_a_tag_that_is_no_digest_is_refused(store: Store, corpus: TableName, text: str):
    asked = question("the mill", 10, filter=(FilterTerm((text,)),))
    with pytest.raises(ValueError, match="is not a digest"):
        await store.search_vector(corpus, asked)
    with pytest.raises(ValueError, match="is not a digest"):
        await store.search_text(corpus, ["river"], asked)


@pytest.mark.parametrize(
    "term", ["o'r", 'a"b', "a & b | !c", "\\", "a:*", "(", "river)", "; DROP TABLE x", "*", "\0", "\ud800"]
)
async def test_h5_hostile_words_find_nothing_and_break_nothing(store: Store, corpus: TableName, term: str):
    assert await store.search_text(corpus, [term], question("x")) == []
    hits = await store.search_text(corpus, [term, "bridge"], question("x"))
    assert [hit.chunk.text for hit in hits] == ["a bridge"]


async def test_h5_documents_are_listed_by_prefix_and_page(store: Store, corpus: TableName):
    async def ids(**options: object) -> list[str]:
        return [each.document.id for each in await store.list_documents(corpus, **options)]  # type: ignore[arg-type]

    assert await ids() == ["en/guide", "en/note", "plain", "ru/guide"]
    assert await ids(prefix="en/") == ["en/guide", "en/note"]
    assert await ids(limit=2) == ["en/guide", "en/note"]
    assert await ids(after="en/note", limit=1) == ["plain"]
    assert await ids(prefix="en/", after="en/guide") == ["en/note"]
    assert await ids(prefix="%") == []
    assert await ids(prefix="o'r; --") == []
    first = (await store.list_documents(corpus, limit=1))[0]
    assert (first.version, first.chunks) == (1, 2)


async def test_h5_the_documents_that_were_updated_last_are_named(store: Store, table: TableName):
    for number, id_ in enumerate(["b", "a", "c", "d"]):
        content = document(id_, ["text"], metadata={"lang": "ru" if id_ == "c" else "en"})
        head = replace(content.document, updated_ms=1_700_000_000_000 + number // 2)
        await store.replace(table, 1, [replace(content, document=head)])
    english = (FilterTerm((EN,)),)
    assert await store.latest_documents(table, (), 3) == ["d", "c", "b"]
    assert await store.latest_documents(table, english, 2) == ["d", "b"]
    await store.replace(table, 2, [], ["d"])
    assert await store.latest_documents(table, english, 9) == ["b", "a"]


async def test_h5_ids_sort_by_code_point_and_may_hold_any_character(store: Store, table: TableName):
    ids = ["Z", "a", "a'b\"c\\", "a%", "a_", "é", "я", "\uffff", "😀", "new\nline", "x" * 4_000]
    await store.replace(table, 1, [document(each, [f"text of {each}"]) for each in ids])
    assert [each.document.id for each in await store.list_documents(table)] == sorted(ids)
    assert set(await store.documents(table, ids)) == set(ids)
    for each in ids:
        listed = await store.list_documents(table, prefix=each)
        assert [found.document.id for found in listed] == sorted(id_ for id_ in ids if id_.startswith(each))


async def test_h5_the_whole_collection_only_if_it_fits(store: Store, corpus: TableName):
    everything = await store.all_chunks(corpus, (), ReadLimit(17, 10_000))
    assert everything is not None
    assert [each.chunk.text for each in everything] == [
        *("the river is long", "a bridge", "the river is short"),
        *("nothing about water", "река длинная", "the mill"),
    ]
    assert await store.all_chunks(corpus, (), ReadLimit(16, 10_000)) is None
    assert len(await store.all_chunks(corpus, (FilterTerm((RU,)),), ReadLimit(4, 10_000)) or []) == 2


async def test_h5_the_whole_collection_only_if_its_bytes_fit(store: Store, corpus: TableName):
    limits = {size: await store.all_chunks(corpus, (), ReadLimit(17, size)) for size in (90, 100_000)}
    assert {size: found is None for size, found in limits.items()} == {90: True, 100_000: False}
