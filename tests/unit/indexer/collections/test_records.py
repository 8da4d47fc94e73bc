"""H3: a change of a record ends, whatever JetStream answers."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import nats.errors
import pytest
from msgspec.structs import replace
from nats.js.api import PubAck, RawStreamMsg
from nats.js.errors import APIError, NotFoundError

from penstock.bus.retry import RetryPolicy
from penstock.contract import codec
from penstock.contract.retrieval.collections import CollectionRecord
from services.indexer.collections.records import CollectionRecords, RecordsUnavailable

NEW = CollectionRecord(account="acme", name="docs", current=None, created_ms=1)


class Bucket:
    """One record. A write raises the next of `failures`, after it was stored where `stores_failed` is set."""

    def __init__(self, *failures: Exception, stores_failed: bool = False) -> None:
        self.data = b""
        self.sequence = 0
        self.failures = list(failures)
        self.writes = 0
        self.stores_failed = stores_failed

    async def get_last_msg(self, stream: str, subject: str, direct: bool) -> RawStreamMsg:  # noqa: ARG002 - the interface
        assert (stream, subject) == ("KV_llm_collections", "$KV.llm_collections.acme.docs")
        if not self.sequence:
            raise NotFoundError
        return RawStreamMsg(data=self.data, seq=self.sequence)

    async def publish(self, subject: str, payload: bytes, timeout: float, headers: dict[str, str]) -> PubAck:  # noqa: ARG002 - the interface
        self.writes += 1
        if headers["Nats-Expected-Last-Subject-Sequence"] != str(self.sequence):
            raise APIError(code=400, err_code=10071)
        if not self.failures or self.stores_failed:
            self.data = payload
            self.sequence += 1
        if self.failures:
            raise self.failures.pop(0)
        return PubAck(stream="KV_llm_collections", seq=self.sequence)


def records(bucket: Bucket, timeout_s: float = 5.0) -> CollectionRecords:
    bus = cast("Any", SimpleNamespace(js=bucket, nc=None))
    return CollectionRecords(bus, RetryPolicy(timeout_s=timeout_s, first_wait_s=0.001))


def counted(stored: CollectionRecord | None) -> CollectionRecord:
    return NEW if stored is None else replace(stored, last_number=stored.last_number + 1)


@pytest.mark.parametrize(
    "error", [nats.errors.TimeoutError(), APIError(code=503), nats.errors.NoRespondersError()]
)
async def test_h3_a_write_that_failed_is_repeated(error: Exception):
    bucket = Bucket(error, error)
    assert await records(bucket).change("acme", "docs", counted) == NEW
    assert bucket.writes == 3


async def test_h3_a_change_is_computed_again_after_a_conflict():
    bucket = Bucket()
    seen: list[CollectionRecord | None] = []

    def change(stored: CollectionRecord | None) -> CollectionRecord:
        seen.append(stored)
        if len(seen) == 1:  # another process is first
            bucket.data, bucket.sequence = codec.encode(NEW), 7
        return counted(stored)

    assert await records(bucket).change("acme", "docs", change) == replace(NEW, last_number=1)
    assert seen == [None, NEW]
    assert json.loads(bucket.data)["last_number"] == 1


async def test_h3_a_write_whose_acknowledgement_is_lost_is_seen_in_the_next_round():
    bucket = Bucket(nats.errors.TimeoutError(), stores_failed=True)
    result = await records(bucket).change("acme", "docs", lambda stored: None if stored else NEW)
    assert result == NEW
    assert bucket.writes == 1


@pytest.mark.parametrize("error", [nats.errors.TimeoutError(), APIError(code=400, err_code=10071)])
async def test_h3_a_write_that_keeps_failing_ends_with_pauses_between(error: Exception):
    bucket = Bucket(*[error] * 10_000)
    with pytest.raises(RecordsUnavailable, match="written"):
        await records(bucket, timeout_s=0.1).change("acme", "docs", counted)
    assert 2 < bucket.writes < 12
