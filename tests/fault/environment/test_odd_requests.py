"""D7, D10, K1: requests whose id, deadline or version is unusual end once, with an answer or a clear error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract import headers, subjects
from penstock.contract.reply import TERMINAL, Completed, Failed, ReplyEvent
from penstock.contract.streams import REPLIES
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher
from tests.harness.suite.waiting import until

BODY = {"messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue({"chat": ("talker",)})
    with shared_system(tmp_path_factory.mktemp("odd"), config=config) as running:
        yield running


class Application:
    """Publishes with an id of its own choice, and hears what is published to the reply subject."""

    def __init__(self, publisher: RawPublisher, request_id: str) -> None:
        self.publisher = publisher
        self.id = request_id
        self.heard: list[str] = []

    async def send(self, *, lane: str = "interactive", **fields: Any) -> bool:
        """Returns whether JetStream says that the id is new."""
        event = {"type": "chat_request", "id": self.id, "client": "odd", "role": "chat", "lane": lane}
        ack = await self.publisher.js.publish(
            subjects.request("demo", "chat"),
            json.dumps({**event, "body": BODY, **fields}).encode(),
            headers={headers.MESSAGE_ID: f"demo.odd.{self.id}", headers.CLIENT: "odd"},
        )
        return not ack.duplicate

    async def listen(self) -> None:
        async def hear(msg: Any) -> None:
            self.heard.append(json.loads(msg.data)["type"])

        await self.publisher.nc.subscribe(subjects.reply("demo", "odd", self.id), cb=hear)
        await self.publisher.nc.flush()

    async def end(self) -> ReplyEvent:
        return await self.publisher.end(self.id, client="odd")


async def forget_message_ids(system: System) -> None:
    """As JetStream does ten minutes after the last message of a work queue: here at once, by a restart."""
    system.nats.kill()
    await system.nats.start()


@pytest.fixture
async def reused(system: System, client: Client) -> AsyncIterator[Application]:
    async for publisher in RawPublisher.opened(system):
        yield Application(publisher, f"again-{await system.attempts()}")
    await client.chat("the system goes on", role="chat", timeout_s=30)


@pytest.mark.parametrize("lane", ["interactive", "batch"])
async def test_d7_an_id_used_again_after_ten_minutes_hears_the_stored_end(
    system: System, reused: Application, lane: str
) -> None:
    assert await reused.send(lane=lane)
    end = await reused.end()
    assert isinstance(end, Completed)
    calls = await system.attempts()
    await forget_message_ids(system)
    await until(lambda: _connected(reused))
    await reused.listen()

    assert await reused.send(lane=lane, body={"messages": [{"role": "user", "content": "another"}]})

    await until(lambda: _heard_end(reused))
    assert reused.heard[-1] == "completed"
    assert await reused.end() == end
    assert await system.attempts() == calls, "no provider is paid for the same id twice"


async def test_d7_an_id_used_again_after_sixteen_minutes_is_a_new_request(
    system: System, reused: Application
) -> None:
    assert await reused.send()
    first = await reused.end()
    calls = await system.attempts()
    await reused.publisher.js.purge_stream(REPLIES.name)
    await forget_message_ids(system)
    await until(lambda: _connected(reused))

    assert await reused.send()

    second = await reused.end()
    assert isinstance(first, Completed)
    assert isinstance(second, Completed)
    assert await system.attempts() == calls + 1


async def _connected(application: Application) -> bool:
    return application.publisher.nc.is_connected


async def _heard_end(application: Application) -> bool:
    return bool({"completed", "failed"} & set(application.heard))


@pytest.mark.parametrize(
    ("deadline", "says"),
    [
        (1, "milliseconds since 1970"),
        (-5_000, "milliseconds since 1970"),
        (-(2**63), "deadline_ms"),
        (2**63, "deadline_ms"),
        (10.5, "deadline_ms"),
        ("soon", "deadline_ms"),
        (float("nan"), "JSON"),
        (float("inf"), "JSON"),
        (True, "deadline_ms"),
    ],
)
async def test_d10_an_impossible_deadline_is_a_clear_error(
    publisher: RawPublisher, deadline: Any, says: str
) -> None:
    application = Application(publisher, f"odd-{new_id()}")
    await application.send(deadline_ms=deadline)
    end = await application.end()
    assert isinstance(end, Failed)
    assert end.error.code == "invalid_request"
    assert says in end.error.message


@pytest.mark.parametrize("deadline_ms", [253_402_300_799_000, 2**53 - 1])
async def test_d1_a_deadline_in_the_year_9999_is_that_of_the_lane(
    publisher: RawPublisher, deadline_ms: int
) -> None:
    application = Application(publisher, f"late-{deadline_ms}")
    await application.send(deadline_ms=deadline_ms)
    assert isinstance(await application.end(), Completed)
    events = await publisher.stored(application.id, client="odd")
    assert [event for event in events if isinstance(event, TERMINAL)] == events[-1:]


async def test_k1_a_request_of_a_newer_version_is_answered(publisher: RawPublisher) -> None:
    application = Application(publisher, "newer")
    await application.send(v=99, fields_of_the_future={"a": [1]}, rag=None, degrade=True)
    assert isinstance(await application.end(), Completed)
