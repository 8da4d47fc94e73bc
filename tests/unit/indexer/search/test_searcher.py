"""Searches in memory: modes, filters, scores, isolation of accounts, and a model that is not available."""

from __future__ import annotations

import pytest

from penstock.contract.retrieval.documents import MEMORY, Document, IndexBody
from services.indexer.collections.names import memory_of
from services.indexer.embedding.gateway import EmbeddingFailed
from services.indexer.search.lookup import SearchRefused
from services.indexer.store.errors import StoreCorrupt, StoreError, StoreUnavailable
from services.indexer.store.interface import Hit, Question
from services.indexer.store.tables import TableName
from tests.harness.indexer.local_indexer import LocalIndexer, documents


@pytest.fixture
async def indexer() -> LocalIndexer:
    made = LocalIndexer()
    await made.index(
        IndexBody(
            documents=(
                Document(id="cats", text="Cats sleep all day", metadata={"kind": "animal", "legs": 4}),
                Document(id="dogs", text="Dogs run in the park", metadata={"kind": "animal", "legs": 4}),
                Document(
                    id="cars", text="Cars park on the street", metadata={"kind": "thing", "tags": ["a", "b"]}
                ),
            )
        )
    )
    return made


def _found(answer: object) -> list[str]:
    return [passage.document for passage in answer.passages]  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
async def test_h1_each_mode_finds_the_document(indexer: LocalIndexer, mode: str):
    answer = await indexer.search("cats sleep", mode=mode)
    assert _found(answer)[0] == "cats"
    assert answer.model == ("" if mode == "text" else "small")
    assert answer.passages[0].text == "Cats sleep all day"
    assert answer.passages[0].metadata == {"kind": "animal", "legs": 4}


@pytest.mark.parametrize("mode", ["hybrid", "vector"])
async def test_h1_min_score_is_the_cosine_similarity(indexer: LocalIndexer, mode: str):
    best = (await indexer.search("Cats sleep all day", mode=mode)).passages[0]
    assert best.score == pytest.approx(1, abs=1e-5)
    assert _found(await indexer.search("Cats sleep all day", mode=mode, min_score=0.99)) == ["cats"]
    assert _found(await indexer.search("zebra", mode=mode, min_score=0.9)) == []


async def test_h1_min_score_is_not_applied_to_words_alone(indexer: LocalIndexer):
    answer = await indexer.search("cats sleep", mode="text", min_score=0.9)
    assert [(each.document, each.score) for each in answer.passages] == [("cats", 0)]


@pytest.mark.parametrize("mode", ["hybrid", "vector"])
async def test_h1_a_passage_passes_with_the_score_that_it_has(indexer: LocalIndexer, mode: str):
    score = (await indexer.search("Cats sleep", mode=mode)).passages[0].score
    assert 0 < score < 1
    assert _found(await indexer.search("Cats sleep", mode=mode, min_score=score)) == ["cats"]


async def test_h1_filters_and_exclusions(indexer: LocalIndexer):
    assert set(_found(await indexer.search("park", filters={"kind": "animal"}))) <= {"cats", "dogs"}
    assert _found(await indexer.search("park", filters={"kind": ["thing", "nothing"]})) == ["cars"]
    assert _found(await indexer.search("park", filters={"tags": "b"})) == ["cars"]
    assert "cars" not in _found(await indexer.search("park", exclude={"tags": "b"}))
    assert set(_found(await indexer.search("park", filters={"legs": 4.0}))) == {"cats", "dogs"}
    assert _found(await indexer.search("park", filters={"legs": "4"})) == []
    assert _found(await indexer.search("park", filters={"legs": True})) == []
    with pytest.raises(SearchRefused, match="no values"):
        await indexer.search("park", filters={"legs": []})


async def test_h5_other_accounts_see_nothing_whatever_they_send(indexer: LocalIndexer):
    await indexer.index(documents(own="their own text"), account="other")
    for name in ("docs", "acme.docs", "../acme/docs", "*", memory_of("acme", "ann"), MEMORY):
        try:
            answer = await indexer.search("cats sleep", name, account="other", filters={"kind": "animal"})
        except SearchRefused:
            continue
        assert _found(answer) == []
    answer = await indexer.search("cats", account="other", top_k=100)
    assert _found(answer) == ["own"]


async def test_h1_clear_errors(indexer: LocalIndexer):
    with pytest.raises(SearchRefused, match="query is empty") as empty:
        await indexer.search("  ")
    assert empty.value.code == "invalid_request"
    with pytest.raises(SearchRefused, match="no collection 'nothing'") as unknown:
        await indexer.search("cats", "nothing")
    assert unknown.value.code == "unknown_collection"
    with pytest.raises(SearchRefused, match="reserved"):
        await indexer.search("cats", memory_of("acme", "ann"))


async def test_h1_words_alone_answer_while_the_model_is_not_available(indexer: LocalIndexer):
    indexer.gateway.failing = EmbeddingFailed("provider_unavailable", "down", 3.0)
    answer = await indexer.search("sleeping cats")
    assert (_found(answer), answer.model) == (["cats"], "")
    with pytest.raises(SearchRefused) as refused:
        await indexer.search("sleeping dogs", mode="vector")
    assert (refused.value.code, refused.value.retry_after_s) == ("retrieval_unavailable", 3.0)


async def test_h1_a_question_is_embedded_once(indexer: LocalIndexer):
    asked = len(indexer.gateway.requests)
    for _ in range(3):
        await indexer.search("cats that sleep")
    assert len(indexer.gateway.requests) == asked + 1


async def test_h1_the_whole_collection_if_it_fits(indexer: LocalIndexer):
    answer = await indexer.search("", whole_tokens=1_000)
    assert answer.whole
    assert _found(answer) == ["cars", "cats", "dogs"]
    answer = await indexer.search("cats sleep", whole_tokens=3)
    assert (answer.whole, _found(answer)[0]) == (False, "cats")
    filtered = await indexer.search("x", whole_tokens=1_000, filters={"kind": "thing"})
    assert _found(filtered) == ["cars"]


@pytest.mark.parametrize("error", [StoreCorrupt("a file is missing"), StoreUnavailable("it is locked")])
async def test_h5_an_error_of_a_table_that_was_replaced_repeats_the_search(
    indexer: LocalIndexer, monkeypatch: pytest.MonkeyPatch, error: StoreError
):
    search_vector = indexer.store.search_vector
    asked: list[str] = []

    async def failing(table: TableName, question: Question) -> list[Hit]:
        asked.append(table)
        if len(asked) == 1:
            await indexer.index(IndexBody(model="large"))
            raise error
        return await search_vector(table, question)

    monkeypatch.setattr(indexer.store, "search_vector", failing)
    answer = await indexer.search("cats sleep")
    assert (answer.model, _found(answer)[0]) == ("large", "cats")
    assert len(set(asked)) == len(asked) == 2


async def test_h5_an_error_of_the_table_that_search_reads_is_raised_at_once(
    indexer: LocalIndexer, monkeypatch: pytest.MonkeyPatch
):
    asked = 0

    async def failing(_table: TableName, _question: Question) -> list[Hit]:
        nonlocal asked
        asked += 1
        raise StoreCorrupt("damaged")

    monkeypatch.setattr(indexer.store, "search_vector", failing)
    with pytest.raises(StoreCorrupt):
        await indexer.search("cats sleep")
    assert asked == 1
