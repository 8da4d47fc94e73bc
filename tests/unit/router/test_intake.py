"""The router's whole decision, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.contract.names import ROLES
from penstock.runtime.config.load import read_catalogue
from services.router.routing.decide import Refused, Routed, judge
from services.router.routing.inbound import Arrival

NOW_MS = 1_800_000_000_000
CATALOGUE = read_catalogue(None, {"PENSTOCK_CATALOGUE": "simulator"})


def arrival(*, redelivered: bool = False, stored_ms: int = NOW_MS, **changed: Any) -> Arrival:
    body = {"messages": [{"role": "user", "content": "Write a Python function that sorts a list."}]}
    request = {"id": "r1", "client": "c1", "body": body, **changed}
    return Arrival(
        subject="llm.request.demo.chat",
        data=json.dumps(request).encode(),
        headers={},
        stored_ms=stored_ms,
        redelivered=redelivered,
    )


def decide(event: Arrival, served: tuple[str, ...] = ROLES) -> Routed | Refused:
    return judge(event, CATALOGUE, served, NOW_MS)


def test_b1_b5_a_good_request_is_routed_with_its_reasons() -> None:
    outcome = decide(arrival())
    assert isinstance(outcome, Routed)
    assert outcome.work.role == outcome.accepted.role == "coding"
    assert "Python" in outcome.accepted.why
    assert outcome.work.deadline_ms == NOW_MS + 90_000


@pytest.mark.parametrize("redelivered", [False, True])
@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"role": "poet"}, "unknown_role"),
        ({"deadline_ms": NOW_MS - 1}, "deadline_exceeded"),
        ({"body": {"messages": []}}, "invalid_request"),
        ({"role": "embed"}, "invalid_request"),
    ],
)
def test_d7_a_refusal_comes_after_an_accepted_that_may_be_out(
    changed: Any, code: str, *, redelivered: bool
) -> None:
    refused = decide(arrival(redelivered=redelivered, **changed))
    assert isinstance(refused, Refused)
    assert refused.code == code
    assert refused.seq == int(redelivered), "a reader that saw `accepted`, seq 0, must not drop it as old"


def test_c3_a_role_nobody_serves_is_refused_at_the_door_with_when_to_try_again() -> None:
    refused = decide(arrival(role="vision"), served=("chat",))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.retry_after_s) == ("role_not_served", 5.0)


def test_c3_what_waited_too_long_for_a_router_is_not_run_for_nobody() -> None:
    refused = decide(arrival(stored_ms=NOW_MS - 90_000))
    assert isinstance(refused, Refused)
    assert refused.code == "deadline_exceeded"


def test_the_address_is_the_first_that_can_be_one() -> None:
    event = arrival(id="not a token")
    with_header = Arrival(
        subject=event.subject, data=event.data, headers={"Nats-Msg-Id": "r9"}, stored_ms=NOW_MS
    )
    refused = decide(with_header)
    assert isinstance(refused, Refused)
    assert refused.reply_to is not None
    assert refused.reply_to.subject == "llm.reply.demo.c1.r9"
