"""D7: a dead letter becomes a request that asks for what the original asked for."""

from __future__ import annotations

import pytest
from msgspec import Raw
from msgspec.structs import replace

from penstock.cli.commands.dead_letters import letter_of
from penstock.cli.commands.redrive import again
from penstock.contract import headers, subjects
from penstock.contract.codec import encode
from penstock.contract.request import ChatRequest
from penstock.contract.work import ChatWork
from tests.harness.routed_requests import chat_work

ASKED = ChatRequest(id="1", client="c", body=Raw(b'{"messages":[]}'), role="logic", user="u")
WORK = chat_work(id="1", account="demo", user="u", role="logic", body=ASKED.body)


@pytest.mark.parametrize("degrade", [True, False])
@pytest.mark.parametrize("buried", [ASKED, WORK])
def test_d7_what_is_sent_again_may_be_shortened_only_where_the_original_might(
    buried: ChatRequest | ChatWork, *, degrade: bool
) -> None:
    written = {headers.DEAD_SUBJECT: subjects.request("demo", "chat")}
    made = again(letter_of(7, written, encode(replace(buried, degrade=degrade))), 1)
    assert made.request.degrade is degrade
    assert (made.account, made.request.client, made.request.user, made.request.role) == (
        "demo",
        "c",
        "u",
        "logic",
    )
    assert made.request.body == ASKED.body
