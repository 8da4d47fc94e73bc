"""The message of a mailbox, the body of a request, and the order of requests."""

from __future__ import annotations

import pytest
from msgspec import Raw

from penstock.contract import codec, subjects
from penstock.contract.work import ChatWork
from penstock.runtime.consumer.work_message import InvalidWork
from services.indexer.requests.bodies import InvalidBody, read_index_body
from services.indexer.requests.checked_work import read_work, version_of


def _work(**changes: object) -> ChatWork:
    fields: dict[str, object] = {
        "id": "r1",
        "account": "acme",
        "client": "c1",
        "role": "index",
        "lane": "batch",
        "complexity": "simple",
        "why": "",
        "deadline_ms": 1_790_000_100_000,
        "accepted_ms": 1_790_000_000_000,
        "stream": False,
        "body": Raw(b"{}"),
        "kind": "index",
        "collection": "docs",
    }
    return ChatWork(**{**fields, **changes})  # type: ignore[arg-type]


SUBJECT = subjects.work("index", "batch", 0, "f")


def test_d6_work_of_a_router_is_read():
    assert read_work(SUBJECT, codec.encode(_work())).collection == "docs"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        codec.encode(_work(kind="chat")),
        codec.encode(_work(role="chat")),
        codec.encode(_work(lane="interactive")),
        codec.encode(_work(account="a.b")),
        codec.encode(_work(accepted_ms=0)),
        codec.encode(_work(deadline_ms=2**60)),
    ],
)
def test_d6_any_other_message_is_refused(data: bytes):
    with pytest.raises(InvalidWork):
        read_work(SUBJECT, data)


def test_h1_later_requests_have_higher_versions_also_of_a_new_stream():
    now_ms = 1_790_000_000_500
    first = version_of(_work(), 10, now_ms)
    assert first < version_of(_work(), 11, now_ms)
    assert version_of(_work(), 4_000, now_ms) < version_of(_work(accepted_ms=1_790_000_000_001), 1, now_ms)
    assert version_of(_work(accepted_ms=2**41 - 1), 2**63, 2**41) < 2**53
    assert version_of(_work(accepted_ms=1), 0, now_ms) == 1


def test_h4_a_request_from_the_future_precedes_those_of_a_minute_later():
    now_ms = 1_790_000_000_000
    ahead = version_of(_work(accepted_ms=now_ms + 3_600_000), 1, now_ms)
    assert ahead > version_of(_work(accepted_ms=now_ms), 2, now_ms)
    assert ahead < version_of(_work(accepted_ms=now_ms + 60_001), 2, now_ms + 60_001)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"[]", "object"),
        (b"[" * 100_000, "nested|object"),
        (b'{"unknown": 1}', "unknown"),
        (b'{"documents": [{"id": "a"}]}', r"documents\[0\] needs either"),
        (b'{"documents": [{"id": "a", "text": "t", "data": "eA=="}]}', r"documents\[0\] needs either"),
        (b'{"documents": [{"id": "", "text": "t"}]}', r"documents\[0\].id"),
        (b'{"documents": [{"id": "a\\u0000", "text": "t"}]}', r"documents\[0\].id"),
        (b'{"delete": ["a", "a"]}', "named twice"),
        (b'{"documents": [{"id": "a", "text": "t"}], "delete": ["a"]}', "named twice"),
        (codec.encode(_work()), "unknown field"),
        (b'{"delete": [' + b",".join(b'"%d"' % number for number in range(1_001)) + b"]}", "at most 1,000"),
    ],
)
def test_d6_a_wrong_body_names_the_field(body: bytes, why: str):
    with pytest.raises(InvalidBody, match=why):
        read_index_body(body)
