"""D7: what is remembered of the body of a request with an idempotency key."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from services.edge.requests.idempotency import fingerprint
from services.edge.requests.options import RequestOptions

MIB = 1024 * 1024
NONE = RequestOptions()


@pytest.mark.real_time
@pytest.mark.parametrize("size", [0, 10, 32 * MIB])
async def test_d7_the_fingerprint_is_one_of_route_and_body(size: int):
    body = bytes(size)
    assert await fingerprint("/v1/x", body, NONE) == hashlib.sha256(b"/v1/x\n" + body).hexdigest()
    assert await fingerprint("/v1/y", body, NONE) != await fingerprint("/v1/x", body, NONE)


@pytest.mark.real_time
async def test_d7_h3_the_fingerprint_has_the_headers_that_change_what_the_model_is_given():
    options = [
        NONE,
        RequestOptions(rag="docs"),
        RequestOptions(rag="other"),
        RequestOptions(conversation="docs"),
        RequestOptions(conversation="docs", user="ann"),
    ]
    assert len({await fingerprint("/v1/x", b"{}", each) for each in options}) == len(options)
    assert await fingerprint("/v1/x", b"{}", RequestOptions(timeout_s=1)) == await fingerprint(
        "/v1/x", b"{}", NONE
    )


@pytest.mark.real_time
async def test_d7_the_event_loop_runs_while_a_large_body_is_hashed():
    hashing = asyncio.create_task(fingerprint("/v1/x", bytes(32 * MIB), NONE))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 3
