"""D7: the request that a dead letter becomes has the fields of the original."""

from __future__ import annotations

import pytest
from msgspec import Raw
from msgspec.structs import replace

from penstock.cli.commands.redrive import NotRedrivable, StoredBody, redriven_request
from penstock.cli.dead_letters import parse_letter
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.names import implicit_role
from penstock.contract.request import NO_BODY, BodyRef, ChatRequest
from penstock.contract.subjects import ReplyAddress
from penstock.contract.work import ChatWork
from tests.harness.requests.routed_requests import chat_work

ASKED = ChatRequest(
    id="1", client="c", body=Raw(b'{"messages":[]}'), role="logic", user="u", complexity="simple"
)
WORK = chat_work(id="1", account="demo", user="u", role="logic", body=ASKED.body)


@pytest.mark.parametrize("degrade", [True, False])
@pytest.mark.parametrize("dead", [ASKED, WORK])
def test_d7_a_redriven_request_keeps_the_fields_of_the_original(
    dead: ChatRequest | ChatWork, *, degrade: bool
) -> None:
    written = {headers.DEAD_SUBJECT: subjects.request("demo", "chat")}
    made = redriven_request(parse_letter(7, written, encode(replace(dead, degrade=degrade))), 1)
    assert made.request.degrade is degrade
    assert (made.account, made.request.client, made.request.user, made.request.role) == (
        "demo",
        "c",
        "u",
        "logic",
    )
    assert made.request.body == ASKED.body
    assert made.request.complexity == "simple"


@pytest.mark.parametrize(
    ("dead", "role", "model"),
    [
        (replace(ASKED, role="auto", model="gpt-4.1"), "auto", "gpt-4.1"),
        (replace(WORK, role=implicit_role("gpt-4.1")), implicit_role("gpt-4.1"), ""),
    ],
)
def test_k2_a_redriven_request_for_a_model_is_for_that_model(
    dead: ChatRequest | ChatWork, role: str, model: str
) -> None:
    written = {headers.DEAD_SUBJECT: subjects.request("demo", "chat")}
    made = redriven_request(parse_letter(7, written, encode(dead)), 1)
    assert (made.request.role, made.request.model) == (role, model)
    assert made.job.role == implicit_role("gpt-4.1")


def test_d7_a_truncated_letter_cannot_be_redriven() -> None:
    written = {headers.DEAD_SUBJECT: subjects.request("demo", "chat"), headers.DEAD_TRUNCATED: "9000"}

    with pytest.raises(NotRedrivable, match="of its 9000 bytes were kept"):
        redriven_request(parse_letter(7, written, encode(ASKED)), 1)


@pytest.mark.parametrize("dead", [ASKED, WORK])
def test_d7_a_redriven_request_takes_its_large_body_from_the_address_of_the_original(
    dead: ChatRequest | ChatWork,
) -> None:
    written = {headers.DEAD_SUBJECT: subjects.request("demo", "chat")}
    ref = BodyRef(size=20_000_000, sha256="a" * 64)
    letter = parse_letter(7, written, encode(replace(dead, body=NO_BODY, body_ref=ref)))
    made = redriven_request(letter, 1)
    assert made.original_body == StoredBody(ReplyAddress("demo", "c", "1"), ref)
    assert made.request.body_ref is None
