"""D7: a redrive that is repeated keeps what the interrupted one stored."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import Raw
from nats.aio.client import Client as Nats

from penstock.bus.clock import SYSTEM
from penstock.bus.large_bodies import BodyUpload, read_body, reference_to
from penstock.cli.commands import redrive
from penstock.cli.dead_letters import parse_letter
from penstock.cli.errors import CommandError
from penstock.contract import codec, headers, subjects
from penstock.contract.codec import encode
from penstock.contract.intake.subjects import INTAKE_ALL
from penstock.contract.request import NO_BODY, ChatRequest
from penstock.contract.streams import REQUESTS
from penstock.contract.subjects import ReplyAddress
from penstock.runtime.provisioning.ensure import JetStreamPlan, ensure
from tests.harness.requests.pictures import conversation


async def test_d7_a_repeated_redrive_that_fails_keeps_the_body_of_the_queued_request(
    own_nc: Nats, monkeypatch: pytest.MonkeyPatch
):
    js = own_nc.jetstream()
    await ensure(js, JetStreamPlan(ack_wait_s=10))
    body = msgspec.json.encode({"messages": conversation(9)})
    ref = await reference_to(body)
    dead = ChatRequest(id="1", client="c", body=NO_BODY, body_ref=ref, role="vision")
    letter = parse_letter(7, {headers.DEAD_SUBJECT: subjects.request("demo", "chat")}, encode(dead))
    original = ReplyAddress("demo", "c", "1")

    async def resubmit() -> None:
        await BodyUpload(own_nc, original).store(Raw(body), timeout_s=5)
        await redrive._resubmit(own_nc, 7, redrive.redriven_request(letter, 1), SYSTEM)

    await resubmit()
    queued = codec.REQUEST.decode((await js.get_last_msg(REQUESTS.name, INTAKE_ALL)).data or b"")
    monkeypatch.setattr(redrive, "_SEND_TIMEOUT_S", 0.5)
    await js.delete_stream(REQUESTS.name)
    with pytest.raises(CommandError, match="cannot be redriven now"):
        await resubmit()
    assert await read_body(own_nc, original._replace(id=queued.id), ref) == body
