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
from penstock.contract.request import NO_BODY, BodyRef, ChatRequest, EmbedRequest, IndexRequest
from penstock.contract.retrieval.search import Rag
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


EMBED = EmbedRequest(id="1", client="c", body=Raw(b'{"input":"a"}'), model="small", user="u", key="k")
INDEX = IndexRequest(id="1", client="c", collection="docs", body=Raw(b'{"drop":true}'), user="u")


@pytest.mark.parametrize(
    ("dead", "kind", "request_made", "role"),
    [
        (EMBED, "embed", replace(EMBED, key="", lane="batch"), implicit_role("small")),
        (
            replace(EMBED, store=False),
            "embed",
            replace(EMBED, key="", lane="batch", store=False),
            implicit_role("small"),
        ),
        (
            replace(WORK, kind="embed", role="embed", body=EMBED.body),
            "embed",
            replace(EMBED, key="", lane="batch", model=""),
            "embed",
        ),
        (INDEX, "index", INDEX, "index"),
        (
            replace(WORK, kind="index", role="index", collection="docs", body=INDEX.body),
            "index",
            INDEX,
            "index",
        ),
    ],
)
def test_h1_h2_an_embed_or_index_request_is_redriven_as_what_it_is(
    dead: EmbedRequest | IndexRequest | ChatWork,
    kind: str,
    request_made: EmbedRequest | IndexRequest,
    role: str,
) -> None:
    written = {headers.DEAD_SUBJECT: subjects.request("demo", kind)}
    made = redriven_request(parse_letter(7, written, encode(dead)), 1)
    assert replace(made.request, id="1") == request_made
    assert (made.job.role, made.job.id) == (role, made.request.id)


def test_h3_h4_a_redriven_request_keeps_its_passages_and_its_conversation() -> None:
    dead = replace(ASKED, rag=Rag(collection="docs"), conversation="c")
    written = {headers.DEAD_SUBJECT: subjects.request("demo", "chat")}
    made = redriven_request(parse_letter(7, written, encode(dead)), 1).request
    assert isinstance(made, ChatRequest)
    assert (made.rag, made.conversation) == (Rag(collection="docs"), "c")


def test_d7_a_request_of_another_kind_than_its_subject_cannot_be_redriven() -> None:
    written = {headers.DEAD_SUBJECT: subjects.request("demo", "embed")}
    with pytest.raises(NotRedrivable, match="of another kind than 'embed'"):
        redriven_request(parse_letter(7, written, encode(ASKED)), 1)
