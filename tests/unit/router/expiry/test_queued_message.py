"""The parsed headers of queued work, hostile ones included (D10)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract import headers
from services.router.expiry.queued_message import QueuedMessage

STORED_MS = 1_700_000_000_123
OWN = {"Nats-Subject": "llm.work.chat.batch.0.a7c", "Nats-Time-Stamp": "2023-11-14T22:13:20.123456789Z"}
REPLY = {headers.REPLY_SUBJECT: "llm.reply.demo.me.1"}


def expires_ms(written: dict[str, str], *, known: bool = True) -> int:
    return QueuedMessage.of(7, OWN | written).expires_ms(known=known)


def test_work_expires_at_its_deadline():
    written = REPLY | {headers.DEADLINE_MS: str(STORED_MS + 60_000)}
    assert expires_ms(written) == expires_ms(written, known=False) == STORED_MS + 60_000
    assert QueuedMessage.of(7, OWN | written).address == ("demo", "me", "1")


@pytest.mark.parametrize("deadline", ["9" * 15, str(STORED_MS + 86_400_001)])
def test_a_deadline_is_limited_to_the_longest_wait(deadline: str):
    assert expires_ms(REPLY | {headers.DEADLINE_MS: deadline}) == STORED_MS + 86_400_000


@pytest.mark.parametrize("deadline", ["", "9" * 16, "9" * 5000, "-1", "1.5", "١٢", "\ufffd", "1 2"])
def test_an_unreadable_deadline_expires_soon_or_at_once_without_a_role(
    deadline: str,
):
    written = REPLY | {headers.DEADLINE_MS: deadline}
    assert not QueuedMessage.of(7, OWN | written).readable
    assert expires_ms(written) == STORED_MS + 10_000
    assert expires_ms(written, known=False) == 0


@pytest.mark.parametrize(
    "reply", ["", "llm..x", "nobody.listens", "$JS.API.STREAM.DELETE.LLM_CANCELS", "llm.reply.*.>.x y"]
)
def test_only_a_valid_reply_subject_is_an_address(reply: str):
    written = {headers.DEADLINE_MS: "1", headers.REPLY_SUBJECT: reply}
    assert QueuedMessage.of(7, OWN | written).address is None
    assert expires_ms(written) == STORED_MS + 10_000


@given(deadline=st.text(max_size=30), reply=st.text(max_size=30))
def test_any_headers_can_be_parsed(deadline: str, reply: str):
    assert expires_ms({headers.DEADLINE_MS: deadline, headers.REPLY_SUBJECT: reply}) <= STORED_MS + 86_400_000


@pytest.mark.parametrize("stamp", ["2023-11-14T22:13:20Z", "2023-11-14T22:13:20.1Z"])
def test_timestamps_without_trailing_zeros_are_parsed(stamp: str):
    assert QueuedMessage.of(1, OWN | {"Nats-Time-Stamp": stamp}).stored_ms // 1000 == STORED_MS // 1000


def test_work_whose_body_is_stored_apart_says_so_in_its_headers():
    assert not QueuedMessage.of(7, OWN | REPLY).is_large
    assert QueuedMessage.of(7, OWN | REPLY | {headers.BODY_BYTES: "20000000"}).is_large
