"""D7: what is remembered of the body of a request with an idempotency key."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from services.edge.requests.idempotency import fingerprint

MIB = 1024 * 1024


@pytest.mark.real_time
@pytest.mark.parametrize("size", [0, 10, 32 * MIB])
async def test_d7_the_fingerprint_is_one_of_route_and_body(size: int):
    body = bytes(size)
    assert await fingerprint("/v1/x", body) == hashlib.sha256(b"/v1/x\n" + body).hexdigest()
    assert await fingerprint("/v1/y", body) != await fingerprint("/v1/x", body)


@pytest.mark.real_time
async def test_d7_the_event_loop_runs_while_a_large_body_is_hashed():
    hashing = asyncio.create_task(fingerprint("/v1/x", bytes(32 * MIB)))
    turns = 0
    while not hashing.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert turns > 3
