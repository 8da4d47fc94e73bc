"""The pure decision on a request event, without a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from penstock.contract.errors import ERRORS
from penstock.contract.headers import CLIENT
from penstock.contract.names import COMPLEXITIES, ROLES, implicit_role
from penstock.contract.request import NO_BODY, BodyRef
from penstock.contract.streams import MAX_BODY_BYTES, MAX_REQUEST_BYTES
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.config.load import read_catalogue
from services.router.routing.bodies import extract_stored_features
from services.router.routing.decide import deadline_ms, decide
from services.router.routing.inbound import InboundRequest
from services.router.routing.outcome import BodyNeeded, InvalidRequest, Rejected, Routed
from services.router.routing.plan import check_served

NOW_MS = 1_800_000_000_000
CATALOGUE = read_catalogue(None, {"PENSTOCK_CATALOGUE": "simulator"})


def inbound(*, redelivered: bool = False, stored_ms: int = NOW_MS, **changed: Any) -> InboundRequest:
    body = {"messages": [{"role": "user", "content": "Write a Python function that sorts a list."}]}
    request = {"id": "r1", "client": "c1", "body": body, **changed}
    return InboundRequest(
        subject="llm.request.demo.chat",
        data=json.dumps(request).encode(),
        headers={},
        stored_ms=stored_ms,
        redelivered=redelivered,
    )


def decided(event: InboundRequest, served: tuple[str, ...] = ROLES) -> Routed | Rejected:
    outcome = decide(event, CATALOGUE, served, NOW_MS)
    assert not isinstance(outcome, BodyNeeded)
    return outcome


def rejected(event: InboundRequest, served: tuple[str, ...] = ROLES) -> Rejected:
    outcome = decided(event, served)
    assert isinstance(outcome, Rejected)
    return outcome


def test_b1_b5_a_valid_request_is_routed_with_the_reasons() -> None:
    outcome = decided(inbound())
    assert isinstance(outcome, Routed)
    assert outcome.work.role == outcome.accepted.role == "coding"
    assert "Python" in outcome.accepted.why
    assert outcome.accepted.why.count("code: ") == 1, (
        "a reason of the role is not repeated for the complexity"
    )
    assert outcome.work.deadline_ms == NOW_MS + 90_000


@pytest.mark.parametrize("role", ["auto", "coding"])
@pytest.mark.parametrize("complexity", COMPLEXITIES)
def test_b2_b5_a_complexity_named_in_the_request_is_used(role: str, complexity: str) -> None:
    outcome = decided(inbound(role=role, complexity=complexity))
    assert isinstance(outcome, Routed)
    assert outcome.work.complexity == outcome.accepted.complexity == complexity
    assert outcome.work.why.endswith(f"; {complexity}: named in the request")


def test_d10_an_unknown_complexity_is_rejected() -> None:
    outcome = rejected(inbound(complexity="hard"))
    assert outcome.code == "invalid_request"
    assert "complexity" in outcome.message


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
def test_d7_a_rejection_is_numbered_after_an_accepted_that_may_be_out(
    changed: Any, code: str, *, redelivered: bool
) -> None:
    outcome = rejected(inbound(redelivered=redelivered, **changed))
    assert outcome.code == code
    assert outcome.seq == int(redelivered), (
        "a reader that received `accepted`, seq 0, must not drop it as old"
    )


def test_c3_a_role_without_a_live_worker_is_rejected_with_a_retry_delay() -> None:
    outcome = rejected(inbound(role="vision"), served=("chat",))
    assert (outcome.code, outcome.retry_after_s) == ("role_not_served", 5.0)


MODEL = CATALOGUE.roles["coding"].chain[0]


def test_k2_a_model_is_routed_to_its_implicit_role() -> None:
    outcome = decided(inbound(model=MODEL, body={"messages": [{"role": "user", "content": "hi"}]}))
    assert isinstance(outcome, Routed)
    assert outcome.work.role == outcome.accepted.role == implicit_role(MODEL)
    assert outcome.work.why == "model named in the request; simple: a short text without code"
    assert outcome.work.deadline_ms == NOW_MS + 90_000


def test_k2_a_model_is_served_by_a_worker_with_the_model_in_a_chain_or_with_its_implicit_role() -> None:
    asked = inbound(model=MODEL)
    assert isinstance(decided(asked, ("coding",)), Routed)
    assert isinstance(decided(asked, (implicit_role(MODEL),)), Routed)


def test_k2_a_model_is_served_by_a_worker_that_has_it_as_a_fallback() -> None:
    """Also beside a worker of a role that the catalogue of this router lacks."""
    fallback = CATALOGUE.roles["coding"].chain[-1]
    assert fallback != MODEL
    unserved = [name for name, role in CATALOGUE.roles.items() if fallback not in role.chain]
    role = implicit_role(fallback)
    check_served(role, CATALOGUE, ("of another catalogue", "coding"))
    with pytest.raises(InvalidRequest, match=f"no live worker serves the model {fallback}"):
        check_served(role, CATALOGUE, ("of another catalogue", *unserved))


def test_k2_a_model_that_no_live_worker_serves_is_rejected_with_what_to_do() -> None:
    for served in ((), ("vision",), (implicit_role("another"),)):
        outcome = rejected(inbound(model=MODEL), served)
        assert (outcome.code, outcome.retry_after_s) == ("role_not_served", 5.0)
        assert f"no live worker serves the model {MODEL}:" in outcome.message
        assert f"start a worker with --role {implicit_role(MODEL)}" in outcome.message


def test_b1_a_role_missing_from_the_catalogue_is_unknown_and_never_retried() -> None:
    roles = {role: config for role, config in CATALOGUE.roles.items() if role != "vision"}
    outcome = decide(inbound(role="vision"), replace(CATALOGUE, roles=roles), ROLES, NOW_MS)
    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.retry_after_s) == ("unknown_role", None)
    assert ERRORS[outcome.code].retry == "never"
    assert "no role and no model 'vision' in the catalogue simulator" in outcome.message


def test_c3_a_request_that_waited_past_its_deadline_is_rejected() -> None:
    assert rejected(inbound(stored_ms=NOW_MS - 90_000)).code == "deadline_exceeded"


def test_the_reply_address_is_the_first_valid_one_of_body_and_headers() -> None:
    event = replace(inbound(id="not a token"), headers={"Nats-Msg-Id": "demo.c1.r9"})
    reply_to = rejected(event).reply_to
    assert reply_to is not None
    assert reply_to.subject == "llm.reply.demo.c1.r9"


@pytest.mark.parametrize(
    "message_id", ["r9", "demo.c1.order.r9", "demo.c2.r9", "other.c1.r9", ".r9", "demo.c1.", ""]
)
def test_a_part_of_a_message_id_is_not_taken_for_the_id_of_a_request(message_id: str) -> None:
    """It may be that of a request of the same client that is running."""
    event = replace(inbound(id="order.r9"), headers={"Nats-Msg-Id": message_id})
    assert rejected(event).reply_to is None


@pytest.mark.parametrize("message_id", ["other.c1.r1", "demo.c2.r1", "demo.c1.r2", "r1", "", "demo.c1.r1.x"])
def test_the_message_id_is_that_of_the_subject_and_the_body(message_id: str) -> None:
    event = inbound()
    outcome = rejected(replace(event, headers={"Nats-Msg-Id": message_id}))
    assert (outcome.code, outcome.reply_to) == ("invalid_request", rejected(inbound(role="?")).reply_to)
    assert "Nats-Msg-Id" in outcome.message
    decided = decide(replace(event, headers={"Nats-Msg-Id": "demo.c1.r1"}), CATALOGUE, ROLES, NOW_MS)
    assert isinstance(decided, Routed)


def test_d10_different_clients_are_rejected_to_the_one_in_the_body() -> None:
    outcome = rejected(replace(inbound(), headers={CLIENT: "c2"}))
    assert outcome.code == "invalid_request"
    assert "names the client 'c2'" in outcome.message
    assert "the body names 'c1'" in outcome.message
    assert outcome.reply_to is not None
    assert outcome.reply_to.subject == "llm.reply.demo.c1.r1"


def test_a_client_in_the_header_that_equals_the_body_is_accepted() -> None:
    assert isinstance(decided(replace(inbound(), headers={CLIENT: "c1"})), Routed)


def test_a_request_may_have_exactly_the_size_limit() -> None:
    event = inbound()
    at_limit = replace(event, data=event.data.ljust(MAX_REQUEST_BYTES))
    assert isinstance(decided(at_limit), Routed)
    above = rejected(replace(event, data=at_limit.data + b" "))
    assert (above.code, above.message) == (
        "request_too_large",
        f"the body has {MAX_REQUEST_BYTES + 1:,} bytes; the limit is {MAX_REQUEST_BYTES:,}",
    )


def test_the_default_deadline_is_that_of_the_role() -> None:
    assert deadline_ms(None, NOW_MS, NOW_MS, total_s=90.5) == NOW_MS + 90_500
    assert deadline_ms(None, NOW_MS - 60_000, NOW_MS, total_s=90) == NOW_MS + 30_000, "since it was stored"


def test_a_requested_deadline_is_kept_up_to_the_limit_of_the_lane() -> None:
    assert deadline_ms(NOW_MS + 1, NOW_MS, NOW_MS, total_s=90) == NOW_MS + 1
    assert deadline_ms(NOW_MS + 600_000, NOW_MS, NOW_MS, total_s=90) == NOW_MS + 600_000
    assert deadline_ms(NOW_MS + 10**12, NOW_MS, NOW_MS, total_s=90) == NOW_MS + 3_600_000
    assert deadline_ms(None, NOW_MS, NOW_MS, total_s=90, max_s=10) == NOW_MS + 10_000


@pytest.mark.parametrize("late_by_ms", [0, 1, 5_000])
def test_c3_a_request_past_its_deadline_on_arrival_is_rejected(late_by_ms: int) -> None:
    with pytest.raises(InvalidRequest, match=f"passed {late_by_ms:,} ms before") as caught:
        deadline_ms(NOW_MS - late_by_ms, NOW_MS, NOW_MS, total_s=90)
    assert caught.value.code == "deadline_exceeded"


@pytest.mark.parametrize("asked_ms", [1, 30_000, 1_795_257_916])
def test_d10_a_duration_or_seconds_given_as_a_deadline_are_explained(asked_ms):
    now_ms = 1_795_257_916_512

    with pytest.raises(
        InvalidRequest, match=f"deadline_ms {asked_ms} .* milliseconds since 1970, such as {now_ms + 60_000}"
    ) as caught:
        deadline_ms(asked_ms, now_ms, now_ms, 90)
    assert caught.value.code == "invalid_request", "it can never succeed"


def test_c3_a_timeout_counts_from_when_the_request_was_stored_by_whatever_clock_the_sender_has() -> None:
    outcome = decided(inbound(timeout_s=20.5))
    assert isinstance(outcome, Routed)
    assert outcome.work.deadline_ms == outcome.accepted.deadline_ms == NOW_MS + 20_500
    assert outcome.accepted.deadline_ms - outcome.accepted.at_ms == 20_500


@pytest.mark.parametrize(("lane", "longest_s"), [("interactive", 3_600), ("batch", 86_400)])
def test_c3_a_timeout_is_at_most_the_longest_of_the_lane(lane: str, longest_s: int) -> None:
    outcome = decided(inbound(timeout_s=1e300, lane=lane))
    assert isinstance(outcome, Routed)
    assert outcome.work.deadline_ms == NOW_MS + longest_s * 1000


@pytest.mark.parametrize("wrong", [0, -1, -0.5, "20", True, [], 0.0])
def test_d10_a_timeout_that_is_none_is_rejected(wrong: Any) -> None:
    outcome = rejected(inbound(timeout_s=wrong))
    assert outcome.code == "invalid_request"
    assert "timeout_s" in outcome.message


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_d10_a_timeout_that_is_no_number_is_rejected(number: str) -> None:
    event = inbound(timeout_s=7)
    data = event.data.replace(b'"timeout_s": 7', f'"timeout_s": {number}'.encode())
    data = data.replace(b'"timeout_s":7', f'"timeout_s":{number}'.encode())
    assert number.encode() in data
    assert rejected(replace(event, data=data)).code == "invalid_request"


def test_d10_a_timeout_and_a_deadline_exclude_each_other() -> None:
    outcome = rejected(inbound(timeout_s=20, deadline_ms=NOW_MS + 20_000))
    assert outcome.code == "invalid_request"
    assert "exclude each other" in outcome.message


REF = {"size": 20_000_000, "sha256": "a" * 64}


def test_a_stored_body_is_asked_for_and_decides_the_route_but_is_not_copied_into_the_work() -> None:
    event = inbound(body=None, body_ref=REF)
    needed = decide(event, CATALOGUE, ROLES, NOW_MS)
    assert needed == BodyNeeded(ReplyAddress("demo", "c1", "r1"), BodyRef(**REF))
    message = b'{"role":"user","content":"Write a Python function."}'
    body = bytearray(b'{"messages":[%s],"stream":true,"max_tokens":77}' % message)
    outcome = decided(replace(event, stored_features=extract_stored_features("chat", body)))
    assert isinstance(outcome, Routed)
    assert (outcome.work.role, outcome.work.stream, outcome.work.max_tokens) == ("coding", True, 77)
    assert (outcome.work.body, outcome.work.body_ref) == (NO_BODY, BodyRef(**REF))


@pytest.mark.parametrize(
    ("changed", "code", "message"),
    [
        ({"body": {}}, "invalid_request", "body and body_ref exclude each other: body must be null"),
        ({"body_ref": REF | {"size": 0}}, "invalid_request", "body_ref.size must be greater than 0"),
        ({"body_ref": REF | {"size": -1}}, "invalid_request", "body_ref.size must be greater than 0"),
        (
            {"body_ref": REF | {"size": MAX_BODY_BYTES + 1}},
            "request_too_large",
            "the body has 67,108,865 bytes; the limit is 67,108,864",
        ),
        ({"body_ref": {"size": 1}}, "invalid_request", "the request event is not valid: "),
        ({"body_ref": None}, "invalid_request", "the body must be an object, not null"),
    ],
)
def test_a_wrong_reference_to_a_body_is_rejected(changed: dict[str, Any], code: str, message: str) -> None:
    outcome = rejected(inbound(**{"body": None, "body_ref": REF, **changed}))
    assert outcome.code == code
    assert outcome.message.startswith(message)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"type": "chat"}, "type must be 'chat_request' on a subject of the kind 'chat'"),
        ({"rag": "docs"}, 'rag must be an object, not text: for example {"collection": "docs"}'),
        ({"rag": {"collection": 5}}, "rag.collection must be text, not a number"),
        ({"client": None}, "client must be text, not null"),
    ],
)
def test_d10_a_wrong_field_of_the_envelope_is_named_with_what_it_must_be(
    changed: dict[str, Any], problem: str
) -> None:
    assert rejected(inbound(**changed)).message == f"the request event is not valid: {problem}"


def test_a_stored_body_that_is_not_text_is_invalid() -> None:
    with pytest.raises(InvalidRequest, match="the stored body is not UTF-8 text: invalid start byte"):
        extract_stored_features("chat", b'{"messages":[], "x": "\xff"}')
