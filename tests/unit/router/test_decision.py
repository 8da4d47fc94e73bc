"""When the router reads the clock of the server before it decides on a request."""

from __future__ import annotations

import pytest

from penstock.contract.errors import ErrorCode
from services.router.decision import Decision
from services.router.routing.inbound import InboundRequest
from services.router.routing.outcome import Rejected

WRITTEN_MS = 1_795_953_600_000
INBOUND = InboundRequest(subject="llm.req.demo.chat", data=b"{}", headers={}, stored_ms=WRITTEN_MS)


@pytest.mark.parametrize(
    ("ambiguous", "code", "steps"),
    [
        (False, "overloaded", ["rules"]),
        (True, "overloaded", ["read", "rules"]),
        (False, "deadline_exceeded", ["rules", "read", "rules"]),
    ],
)
async def test_c3_the_clock_is_read_where_the_age_of_a_request_is_ambiguous_or_its_deadline_passed(
    ambiguous: bool, code: ErrorCode, steps: list[str]
) -> None:
    taken: list[str] = []

    def rules(inbound: InboundRequest) -> Rejected:
        taken.append("rules")
        return Rejected(code=code, message="", reply_to=None)

    async def read_time() -> None:
        taken.append("read")

    def is_ambiguous(since_ms: float) -> bool:
        assert since_ms == WRITTEN_MS
        return ambiguous

    await Decision(rules, read_time, is_ambiguous).decide(INBOUND)
    assert taken == steps
