"""H2, K2: vectors through the client, from a gateway that the test scripts."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import pytest

from penstock import Client, RequestFailed
from penstock.contract.codec import encode
from penstock.contract.reply import Usage
from penstock.contract.request import NO_BODY, EmbedRequest
from penstock.contract.retrieval.embeddings import EmbedResult, VectorBlock
from penstock.errors import ReplyIncomplete
from tests.integration.client.events import Events
from tests.integration.client.gateway import Gateway

RESULT = EmbedResult(texts=3, dimensions=2, space="s", tokens=7, embedded=1, from_cache=1, joined=1)


def block(first: int, *numbers: float) -> VectorBlock:
    return VectorBlock(first=first, vectors=struct.pack(f"<{len(numbers)}f", *numbers))


def answer_with(gateway: Gateway, *blocks: VectorBlock, result: EmbedResult = RESULT) -> None:
    async def script(request: EmbedRequest) -> None:
        events = Events(request.id)
        completed = events.begin()
        vectors = events.vectors(*blocks)
        end = msgspec.structs.replace(
            events.completed(encode(result)), usage=Usage(input_tokens=7), cost_microusd=11
        )
        await gateway.send(request, events.accepted(), *completed, *vectors, end)

    gateway.script = script


async def test_h2_vectors_are_floats_in_the_order_of_the_texts(gateway: Gateway, client: Client) -> None:
    answer_with(gateway, block(2, 0.5, -1.5), block(0, 1, 2, 3, 4))
    found = await client.embed(
        ["a", "b", "a"], role="embed", dimensions=2, user="u", lane="batch", timeout_s=30
    )
    assert [vector.tolist() for vector in found.vectors] == [[1.0, 2.0], [3.0, 4.0], [0.5, -1.5]]
    assert found.data == struct.pack("<6f", 1, 2, 3, 4, 0.5, -1.5)
    assert (found.count, found.dimensions, found.space, found.model) == (3, 2, "s", "m")
    assert (found.usage.input_tokens, found.cost_microusd) == (7, 11)
    assert (found.embedded, found.from_cache, found.joined) == (1, 1, 1)
    (request,) = gateway.requests
    assert isinstance(request, EmbedRequest)
    assert (request.role, request.model, request.user, request.lane) == ("embed", "", "u", "batch")
    assert msgspec.json.decode(request.body) == {"input": ["a", "b", "a"], "dimensions": 2}


@pytest.mark.parametrize(
    ("inputs", "written"),
    [("a", "a"), (("a", "b"), ["a", "b"]), ([1, 2], [1, 2]), ([(1, 2), [3]], [[1, 2], [3]])],
)
async def test_h2_texts_and_tokens_are_sent_as_openai_does(
    gateway: Gateway, client: Client, inputs: Any, written: Any
) -> None:
    one = msgspec.structs.replace(RESULT, texts=1)
    answer_with(gateway, block(0, 1, 2), result=one)
    assert (await client.embed(inputs, model="small", timeout_s=10)).count == 1
    (request,) = gateway.requests
    assert request.model == "small"
    assert msgspec.json.decode(request.body) == {"input": written}


@pytest.mark.parametrize(
    "blocks", [(), (block(0, 1, 2, 3, 4),), (block(0, 1, 2, 3, 4), block(1, 5, 6)), (block(1, 1, 2, 3, 4),)]
)
async def test_e1_missing_vectors_are_an_error_and_never_an_answer(
    gateway: Gateway, client: Client, blocks: tuple[VectorBlock, ...]
) -> None:
    answer_with(gateway, *blocks)
    with pytest.raises(ReplyIncomplete, match="did not arrive"):
        await client.embed(["a", "b", "c"], timeout_s=10)


async def test_e1_vectors_of_a_failed_attempt_are_discarded(gateway: Gateway, client: Client) -> None:
    async def script(request: EmbedRequest) -> None:
        events = Events(request.id)
        first = [*events.begin(), *events.vectors(block(0, 9, 9, 9, 9))]
        second = [*events.begin(restarted=True), *events.vectors(block(0, 1, 2, 3, 4, 5, 6))]
        await gateway.send(request, events.accepted(), *first, *second, events.completed(encode(RESULT)))

    gateway.script = script
    assert (await client.embed(["a", "b", "c"], timeout_s=10)).vectors[2].tolist() == [5.0, 6.0]


async def test_k2_a_failed_embed_request_raises_its_failure(gateway: Gateway, client: Client) -> None:
    async def script(request: EmbedRequest) -> None:
        events = Events(request.id)
        await gateway.send(request, events.accepted(), events.failed())

    gateway.script = script
    with pytest.raises(RequestFailed, match="no provider answers") as caught:
        await client.embed("a", timeout_s=10)
    assert caught.value.retry_after_s == 2.0


async def test_h2_texts_larger_than_a_message_are_stored_before(gateway: Gateway, client: Client) -> None:
    one = msgspec.structs.replace(RESULT, texts=1)
    answer_with(gateway, block(0, 1, 2), result=one)
    await client.embed("x" * 9_000_000, timeout_s=30)
    (request,) = gateway.requests
    assert request.body == NO_BODY
    assert request.body_ref is not None
    assert request.body_ref.size > 9_000_000


@pytest.mark.parametrize(
    ("inputs", "more", "message"),
    [
        ("", {}, "inputs is empty"),
        ([], {}, "inputs is empty"),
        (["a", ""], {}, r"inputs\[1\] is empty"),
        ([[1], []], {}, r"inputs\[1\] is empty"),
        (["a"] * 2_049, {}, "send at most 2,048"),
        (b"a", {}, "use a text, texts"),
        (7, {}, "use a text, texts"),
        ("a", {"role": "other", "model": "m"}, "name one of them"),
        ("a", {"lane": "fast"}, "use one of interactive, batch"),
        ("a", {"timeout_s": 0}, "greater than 0"),
    ],
)
async def test_k2_a_wrong_argument_is_a_value_error(
    gateway: Gateway, client: Client, inputs: Any, more: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        await client.embed(inputs, **more)
    assert not gateway.requests
