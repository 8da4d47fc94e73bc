"""D7: which requests a rejection may end, by the events stored under its id."""

from __future__ import annotations

from msgspec.structs import replace

from penstock.contract import codec
from penstock.contract.reply import Failed, Failure, Started
from services.router.rejection import may_terminate
from tests.harness.requests.routed_requests import chat_work, routed

OURS = routed(chat_work()).accepted
BEFORE = replace(OURS, at_ms=7)
BEGUN = Started(id="i", seq=100, attempt=1, model="m", provider="p", worker="w", at_ms=9)
END = Failed(id="i", seq=1, error=Failure(code="cancelled", message="", retry="never"))


def test_d7_a_rejection_does_not_end_a_begun_or_ended_request():
    for stored in ([OURS, BEGUN], [BEGUN], [OURS, END]):
        assert not may_terminate(stored, "interactive", accepted=OURS, redelivered=True)


def test_d7_a_rejection_ends_its_own_request_and_no_other_of_the_same_id():
    assert may_terminate(
        [codec.REPLY.decode(codec.encode(OURS))], "interactive", accepted=OURS, redelivered=False
    )
    assert not may_terminate([BEFORE], "interactive", accepted=OURS, redelivered=False)
    assert not may_terminate([BEFORE, OURS], "interactive", accepted=OURS, redelivered=False)


def test_d7_a_rejected_redelivery_ends_a_request_a_lost_router_accepted():
    assert may_terminate([BEFORE], "interactive", redelivered=True)
    assert may_terminate([], "interactive", redelivered=True)


def test_e4_a_rejection_does_not_end_a_request_of_the_other_lane():
    assert not may_terminate([replace(BEFORE, lane="batch")], "interactive", redelivered=True)
    assert not may_terminate([BEFORE], "batch", redelivered=True)
