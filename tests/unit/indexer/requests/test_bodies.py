"""D6: bodies of index requests are read within a limit of bytes, and a wrong one ends its request."""

from __future__ import annotations

import asyncio
import hashlib
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import Raw

from penstock.bus.large_bodies import BodyDiffers, BodyLost
from penstock.contract.errors import ErrorCode
from penstock.contract.request import BodyRef
from penstock.contract.work import ChatWork
from services.indexer.requests import bodies
from services.indexer.requests.bodies import RequestBodies
from services.indexer.requests.outcome import GaveUp
from tests.harness.requests.routed_requests import chat_work

BODY = b'{"documents":[{"id":"a","text":"words"}]}'
LARGE = b'{"documents":[{"id":"a","text":"%s"}]}' % (b"x" * 300_000)


def request_bodies(limit: int = 1_000_000) -> RequestBodies:
    return RequestBodies(cast("Any", SimpleNamespace(nc=None)), limit)


def work(body: bytes, *, is_apart: bool = False) -> ChatWork:
    fields: dict[str, Any] = {"kind": "index", "role": "index", "collection": "docs"}
    if is_apart:
        ref = BodyRef(size=len(body), sha256=hashlib.sha256(body).hexdigest())
        return chat_work(**fields, body=Raw(b"{}"), body_ref=ref)
    return chat_work(**fields, body=Raw(body))


def soon() -> float:
    return asyncio.get_running_loop().time() + 10


@pytest.mark.real_time
@pytest.mark.parametrize("body", [BODY, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("is_apart", [False, True])
async def test_d6_a_body_is_read_from_the_message_or_the_store(
    monkeypatch: pytest.MonkeyPatch, body: bytes, *, is_apart: bool
):
    async def read_body(*_: object, timeout_s: float) -> bytearray:
        assert 0 < timeout_s <= 10
        return bytearray(body)

    monkeypatch.setattr(bodies, "read_body", read_body)
    async with request_bodies().read(work(body, is_apart=is_apart), soon()) as read:
        assert [(each.id, len(each.text or "")) for each in read.documents] == [
            ("a", 5 if body == BODY else 300_000)
        ]


async def test_d6_a_body_that_is_not_valid_ends_its_request():
    with pytest.raises(GaveUp, match="unknown") as gave_up:
        async with request_bodies().read(work(b'{"unknown":1}'), soon()):
            pytest.fail("it was read")
    assert gave_up.value.code == "invalid_request"


@pytest.mark.parametrize(
    ("error", "code", "retry_after_s"),
    [(BodyLost("expired"), "internal", 1.0), (BodyDiffers("another one"), "invalid_request", None)],
)
async def test_d6_a_body_that_is_not_stored_ends_its_request(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: ErrorCode, retry_after_s: float | None
):
    async def read_body(*_: object, **__: object) -> bytearray:
        raise error

    monkeypatch.setattr(bodies, "read_body", read_body)
    with pytest.raises(GaveUp, match=str(error)) as gave_up:
        async with request_bodies().read(work(BODY, is_apart=True), soon()):
            pytest.fail("it was read")
    assert (gave_up.value.code, gave_up.value.retry_after_s) == (code, retry_after_s)


async def test_d6_bodies_beyond_the_limit_of_bytes_wait():
    reader = request_bodies(limit=len(BODY) + 1)
    second_read = asyncio.Event()

    async def read_second() -> None:
        async with reader.read(work(BODY), soon()):
            second_read.set()

    async with reader.read(work(BODY), soon()):
        task = asyncio.create_task(read_second())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not second_read.is_set()
    await task
    assert second_read.is_set()
