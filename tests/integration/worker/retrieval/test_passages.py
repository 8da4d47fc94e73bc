"""H3: what the model is given of a collection, and what the reply says of it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.client.client import Client
from tests.harness.processes.fake_indexer import FakeIndexer, found
from tests.harness.providers.said import script
from tests.harness.providers.scripted_provider import ScriptedProvider
from tests.harness.requests.replies import ask

NOON, BLUE = "The pump starts at noon.", "The pump is blue."
QUESTION = "When does the pump start?"
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def messages_of(provider: ScriptedProvider) -> list[dict[str, Any]]:
    (call,) = provider.calls
    messages: list[dict[str, Any]] = call.body["messages"]
    return messages


@pytest.mark.parametrize("stream", [True, False])
async def test_h3_numbered_passages_stand_before_the_model_and_the_reply_cites_them(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer, *, stream: bool
) -> None:
    script(provider, "It starts at noon [1]. See rows[2].", each=1)
    indexer.answer = lambda _: found(NOON, BLUE)
    prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": QUESTION}]
    rag = {"collection": "docs", "top_k": 2, "min_score": 0.1, "filters": {"language": "en"}}
    received = await ask(client, prompt, role="chat", stream=stream, rag=rag)
    before, passages, after = messages_of(provider)
    assert [before, after] == prompt
    assert passages["role"] == "system"
    assert passages["content"].index(NOON) < passages["content"].index(BLUE)
    assert "passage [1] ---\nSource: https://example.com/1\nHeading: Guide > Part 1\n" in passages["content"]
    assert set(provider.calls[0].body) <= {"model", "messages", "stream", "stream_options"}
    (search,) = indexer.searches
    assert (search.collection, search.query, search.top_k) == ("docs", QUESTION, 2)
    assert (search.min_score, search.filters) == (0.1, {"language": "en"})
    assert indexer.accounts == ["demo"]
    one, other = received.completed.citations
    assert (one.number, one.document, one.chunk, one.cited) == (1, "docs/1.md", "c1", True)
    assert (one.collection, one.source, one.score) == ("docs", "https://example.com/1", 0.9)
    assert (other.number, other.cited) == (2, False)


async def test_h3_a_request_without_rag_asks_nothing(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "Yes [1].")
    received = await ask(client, QUESTION, role="chat")
    assert len(messages_of(provider)) == 1
    assert (indexer.searches, indexer.recalls) == ([], [])
    assert received.completed.citations == ()


async def test_h3_a_follow_up_is_searched_with_the_question_before(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "Yes.")
    prompt = [
        {"role": "user", "content": "How do I care for a heat pump?"},
        {"role": "assistant", "content": "Clean its filter."},
        {"role": "user", "content": [{"type": "text", "text": "And in winter?"}, PICTURE]},
    ]
    await ask(client, prompt, role="chat", rag="docs")
    assert indexer.searches[0].query == "And in winter? care heat pump"


async def test_h3_nothing_found_is_an_answer_without_passages(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "I do not know.")
    received = await ask(client, QUESTION, role="chat", rag="docs")
    assert len(messages_of(provider)) == 1
    assert received.completed.citations == ()


async def test_h3_a_message_without_text_cannot_be_searched(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "A picture.")
    received = await ask(client, [{"role": "user", "content": [PICTURE]}], role="chat", rag="docs")
    assert received.code == "invalid_request"
    assert indexer.searches == []
    assert provider.calls == []


async def test_h3_an_answer_that_only_calls_tools_cites_nothing(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    indexer.answer = lambda _: found(NOON)
    script(provider, "")
    received = await ask(client, QUESTION, role="chat", rag="docs", stream=False)
    assert [each.cited for each in received.completed.citations] == [False]


async def test_h3_the_whole_collection_stands_first_and_is_the_same_for_each_question(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    indexer.answer = lambda search: found(NOON, BLUE, whole=search.whole_tokens is not None)
    firsts = []
    for question in (QUESTION, "Which colour has it, the pump in the cellar?"):
        script(provider, "It is blue [2].")
        prompt = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
        received = await ask(client, prompt, role="chat", rag={"collection": "docs", "whole": True})
        first, system, _ = messages_of(provider)
        assert system == prompt[0]
        assert [each.cited for each in received.completed.citations] == [False, True]
        firsts.append(first)
    assert firsts[0] == firsts[1]
    assert [search.whole_tokens for search in indexer.searches] == [2_000, 2_000]


async def test_h3_a_collection_that_is_too_large_is_searched(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "Noon [1].")
    large = "The pump has a valve. " * 1_000
    indexer.answer = lambda search: found(large, whole=True) if search.whole_tokens else found(NOON)
    received = await ask(
        client, QUESTION, role="chat", rag={"collection": "docs", "whole": True, "budget_tokens": 300}
    )
    passages, _ = messages_of(provider)
    assert NOON in passages["content"]
    assert large not in passages["content"]
    assert [each.cited for each in received.completed.citations] == [True]


async def test_h3_passages_are_cut_for_the_context_and_the_conversation_is_not(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "Yes.")
    long = "Every valve of the pump was checked. " * 1_300
    question = f"{long} When does the pump start?"
    indexer.answer = lambda _: found(*(f"Passage {number}. " + "A long text. " * 150 for number in range(9)))
    rag = {"collection": "docs", "top_k": 9, "budget_tokens": 8_000}
    received = await ask(client, question, role="chat", rag=rag, max_tokens=100)
    *_, asked = messages_of(provider)
    assert asked["content"] == question
    assert 1 <= len(received.completed.citations) < 9


async def test_h3_a_large_body_that_is_stored_apart_gets_passages_too(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "Noon [1].")
    indexer.answer = lambda _: found(NOON)
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9_000_000}}
    prompt = [{"role": "user", "content": [{"type": "text", "text": QUESTION}, picture]}]
    received = await ask(client, prompt, role="chat", rag="docs")
    passages, asked = messages_of(provider)
    assert NOON in passages["content"]
    assert asked == prompt[0]
    assert received.completed.citations[0].cited


async def test_h3_a_conversation_that_fills_the_context_leaves_no_room(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "Yes.")
    question = "Every valve of the pump was checked. " * 1_600
    required = await ask(client, question, role="chat", rag="docs")
    assert required.code == "context_length_exceeded"
    assert "no room for passages" in required.failed.error.message
    assert provider.calls == []
    optional = await ask(client, question, role="chat", rag={"collection": "docs", "required": False})
    assert optional.completed.citations == ()
    assert len(messages_of(provider)) == 1


async def test_h3_passages_that_cannot_be_compared_with_min_score_are_none(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    """The embedding model does not answer: passages were found by words alone, and their scores are 0."""
    script(provider, "Noon [1].", each=2)
    indexer.answer = lambda _: found(NOON, model="", score=0.0)
    strict = {"collection": "docs", "min_score": 0.2}
    needed = await ask(client, QUESTION, role="chat", rag=strict)
    assert needed.code == "retrieval_unavailable"
    assert "min_score" in needed.failed.error.message
    assert needed.failed.error.retry_after_s is not None
    assert provider.calls == []
    optional = await ask(client, QUESTION, role="chat", rag={**strict, "required": False})
    assert optional.completed.citations == ()
    without = await ask(client, QUESTION, role="chat", rag="docs")
    assert [(each.score, each.cited) for each in without.completed.citations] == [(0.0, True)]


async def test_h3_a_search_by_words_alone_has_no_similarity_to_compare(
    client: Client, provider: ScriptedProvider, indexer: FakeIndexer
) -> None:
    script(provider, "Noon [1].", each=1)
    indexer.answer = lambda _: found(NOON, model="", score=0.0)
    words = {"collection": "docs", "mode": "text"}
    refused = await ask(client, QUESTION, role="chat", rag={**words, "min_score": 0.2})
    assert refused.code == "invalid_request"
    assert "min_score must be 0" in refused.failed.error.message
    answered = await ask(client, QUESTION, role="chat", rag=words)
    assert [search.mode for search in indexer.searches] == ["text"]
    assert answered.completed.citations[0].cited
