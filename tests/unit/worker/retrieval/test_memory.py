"""H4: what is remembered of a turn."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.contract import codec
from penstock.contract.retrieval.documents import MEMORY
from penstock.contract.subjects import is_token
from services.worker.retrieval.memory import Turn, index_request
from tests.harness.requests.routed_requests import chat_work

NOW_MS = 1_800_000_000_000
WORK = replace(chat_work(), user="ann", conversation="trip")


def test_h4_a_turn_is_a_document_of_the_user() -> None:
    request = index_request(WORK, Turn("Where to?", "To Bern.", 1), NOW_MS)
    (document,) = codec.INDEX_BODY.decode(request.body).documents
    assert (request.collection, request.user, request.lane) == (MEMORY, "ann", "interactive")
    assert document.id == f"trip/{WORK.id}"
    assert document.text == "Question: Where to?\n\nAnswer: To Bern."
    assert document.metadata == {"conversation": "trip", "time": "2027-01-15T08:00:00+00:00"}
    assert is_token(request.id)
    assert is_token(request.client)


def test_h4_the_same_attempt_is_the_same_message_and_each_attempt_the_same_document() -> None:
    first = index_request(WORK, Turn("Where to?", "To Bern.", 1), NOW_MS)
    again = index_request(WORK, Turn("Where to?", "To Bern.", 1), NOW_MS + 5)
    later = index_request(WORK, Turn("Where to?", "To Basel.", 2), NOW_MS)
    assert first.id == again.id
    assert first.id != later.id
    ids = {codec.INDEX_BODY.decode(each.body).documents[0].id for each in (first, again, later)}
    assert len(ids) == 1


def test_h4_a_remembered_turn_is_bounded() -> None:
    request = index_request(WORK, Turn("q" * 100_000, "a" * 100_000, 1), NOW_MS)
    assert len(request.body) < 20_000
