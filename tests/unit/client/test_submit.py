"""Which bodies stay in the request event (issue 9, D10)."""

from __future__ import annotations

import hashlib
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import Raw

from penstock.client.submit import encode_request
from penstock.contract import codec
from penstock.contract.request import NO_BODY, BodyRef, ChatRequest
from penstock.contract.streams import MAX_BODY_BYTES, MAX_PAYLOAD_BYTES, MAX_REQUEST_BYTES, largest_request
from penstock.errors import RequestTooLarge

MIB = 1024 * 1024


def connection(max_payload: int) -> Any:
    return SimpleNamespace(max_payload=max_payload)


def request(size: int, user: str = "") -> ChatRequest:
    return ChatRequest(id="1", client="c", body=Raw(b'"' + b"x" * (size - 2) + b'"'), user=user)


@pytest.mark.parametrize("max_payload", [64 * 1024, MIB, MAX_PAYLOAD_BYTES, 64 * MIB])
async def test_a_body_stays_in_the_event_as_long_as_the_server_accepts_the_message(max_payload: int) -> None:
    limit = largest_request(max_payload)
    assert limit < max_payload
    envelope = len(codec.encode(request(2))) - 2
    fits = await encode_request(connection(max_payload), request(limit - envelope))
    assert len(fits.payload) == limit
    assert fits.large_body is None
    for size in (limit - envelope + 1, limit, limit + 1):
        asked = request(size)
        large = await encode_request(connection(max_payload), asked)
        assert large.large_body == asked.body
        sent = codec.REQUEST.decode(large.payload)
        ref = BodyRef(size=size, sha256=hashlib.sha256(bytes(asked.body)).hexdigest())
        assert (sent.body, sent.body_ref) == (NO_BODY, ref)


def test_no_server_gets_a_larger_event_than_a_router_accepts() -> None:
    assert largest_request(64 * MIB) == largest_request(MAX_PAYLOAD_BYTES) == MAX_REQUEST_BYTES


async def test_a_body_above_the_limit_or_a_large_envelope_is_refused() -> None:
    with pytest.raises(RequestTooLarge, match="the limit is 67,108,864"):
        await encode_request(connection(MIB), request(MAX_BODY_BYTES + 1))
    with pytest.raises(RequestTooLarge, match="the limit is 983,040"):
        await encode_request(connection(MIB), request(2, user="u" * MIB))
