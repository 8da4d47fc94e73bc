"""The id of a request is that of its subject, and nobody else's request vanishes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from penstock import IdTaken
from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.client.submit import EncodedRequest, submit
from penstock.contract import headers, subjects
from penstock.contract.names import Lane
from penstock.contract.reply import Completed, Failed
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.suite.waiting import until

MINE, OTHER = "demo", "mallory"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("identity"), "chat") as running:
        yield running


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    async with await system.client(name="mine") as connected:
        yield connected


def event(request_id: str, client: str, **fields: Any) -> bytes:
    body = {"messages": [{"role": "user", "content": "Hello"}]}
    made = {"type": "chat_request", "id": request_id, "client": client, "role": "chat", "body": body}
    return json.dumps(made | fields).encode()


async def publish(
    publisher: RawPublisher, account: str, payload: bytes, message_id: str, kind: str = "chat"
) -> bool:
    """Whether it is a duplicate."""
    ack = await publisher.js.publish(
        subjects.request(account, kind), payload, headers={headers.MESSAGE_ID: message_id}
    )
    return bool(ack.duplicate)


async def take(publisher: RawPublisher, message_id: str) -> str:
    """Publish a request of another account under this message id; returns its own id."""
    own = new_id()
    assert not await publish(publisher, OTHER, event(own, "publisher"), message_id)
    return own


async def test_a_message_with_the_id_of_another_request_is_rejected_to_its_own_sender(
    client: Client, publisher: RawPublisher
) -> None:
    wanted = new_id()
    own = await take(publisher, f"{MINE}.mine.{wanted}")

    async def rejected() -> bool:
        return bool(await publisher.stored(own, account=OTHER))

    await until(rejected)
    (end,) = await publisher.stored(own, account=OTHER)
    assert isinstance(end, Failed)
    assert end.error.code == "invalid_request"
    assert f"{OTHER}.publisher.{own}" in end.error.message
    assert not await publisher.stored(wanted, client="mine")


@pytest.mark.parametrize("taken_for_s", [0.0, 1.5])
async def test_a_request_whose_id_is_taken_fails_at_once(
    system: System, client: Client, publisher: RawPublisher, taken_for_s: float
) -> None:
    """The message that took the id may be queued still, or be rejected already."""
    wanted = new_id()
    await take(publisher, f"{MINE}.mine.{wanted}")
    began_s = time.monotonic()
    while time.monotonic() - began_s < taken_for_s:
        assert (await ask(client, "Meanwhile", role="chat")).code is None
    began_s = time.monotonic()
    with pytest.raises(IdTaken, match="with another id"):
        await submit(client._nc, MINE, EncodedRequest(wanted, "mine", event(wanted, "mine")), timeout_s=20.0)
    assert time.monotonic() - began_s < 3
    assert (await ask(client, "Still there?", role="chat")).code is None


async def test_sending_an_own_request_again_is_no_error(client: Client, publisher: RawPublisher) -> None:
    """By a process that does not know whether an earlier one sent it; while it runs, and after its end."""
    mine = EncodedRequest(wanted := new_id(), "mine", event(wanted, "mine"))
    for _ in range(2):
        await submit(client._nc, MINE, mine, timeout_s=20.0)
    assert isinstance(await publisher.end(wanted, client="mine"), Completed)
    await submit(client._nc, MINE, mine, timeout_s=20.0)


@pytest.mark.parametrize("lane", ["interactive", "batch"])
async def test_sending_a_queued_request_again_is_no_error(
    system: System, client: Client, publisher: RawPublisher, lane: Lane
) -> None:
    """The stream has it under another subject than the published one."""
    mine = EncodedRequest(wanted := new_id(), "mine", event(wanted, "mine", lane=lane), lane=lane)
    os.kill(system.router.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            await submit(client._nc, MINE, mine, timeout_s=20.0)
    finally:
        os.kill(system.router.pid, signal.SIGCONT)
    assert isinstance(await publisher.end(wanted, client="mine"), Completed)


async def test_a_job_sent_again_is_no_error(client: Client, publisher: RawPublisher) -> None:
    mine = EncodedRequest(wanted := new_id(), "mine", event(wanted, "mine", lane="batch"))
    await submit(client._nc, MINE, mine, timeout_s=20.0)
    assert isinstance(await publisher.end(wanted, client="mine"), Completed)
    await submit(client._nc, MINE, mine, timeout_s=20.0)


async def test_a_plain_application_sees_the_duplicate(publisher: RawPublisher) -> None:
    wanted = new_id()
    await take(publisher, f"{MINE}.plain.{wanted}")
    assert await publish(publisher, MINE, event(wanted, "plain"), f"{MINE}.plain.{wanted}")
