"""H4: one conversation is forgotten with its turns that wait in the queue, whichever indexer is killed meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from penstock.client.client import Client
from penstock.client.retrieval import index_report
from penstock.contract.reply import Accepted, Completed
from penstock.contract.retrieval.documents import MEMORY, Document, conversation_of
from tests.harness.indexer.index_requests import retrieval_catalogue
from tests.harness.processes.system import System, shared_system
from tests.harness.suite.waiting import until

QUEUED = 7
"""Turns: with one of another conversation, as many as the two indexers have slots for."""
LATENCY_MS = 10_000
ACK_WAIT_S = 15
"""After which the turns of the killed indexer come to the other one: when the conversation is forgotten."""
_WAIT_S = 60.0


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    directory, env = tmp_path_factory.mktemp("forget"), {"PENSTOCK_ACK_WAIT_S": str(ACK_WAIT_S)}
    with shared_system(directory, "all", config=retrieval_catalogue(), env=env, indexers=2) as running:
        yield running


@pytest.fixture
async def client(system: System, unique: str) -> AsyncIterator[Client]:
    async with await system.client(account=unique) as connected:
        yield connected


def turn(conversation: str, number: int) -> Document:
    return Document(
        id=f"{conversation}/{number:02}",
        text=f"{conversation} says {number}",
        media_type="text/plain",
        metadata={"conversation": conversation},
    )


class Sent:
    """Turns that are sent as a worker does."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: list[asyncio.Task[None]] = []
        self._accepted = 0
        self.refused: set[str] = set()
        """Ids of turns that the indexer did not store."""

    @property
    def waiting(self) -> int:
        return sum(not task.done() for task in self._tasks)

    async def add(self, *turns: Document) -> None:
        """Returns once all are in the queue."""
        self._tasks += [asyncio.create_task(self._send(each)) for each in turns]
        await until(lambda: self._accepted == len(self._tasks), _WAIT_S)

    async def ended(self) -> None:
        """Each is stored or refused."""
        await asyncio.gather(*self._tasks)

    async def _send(self, turn: Document) -> None:
        stream = self._client.index_stream(
            MEMORY, documents=[turn], user="ann", lane="interactive", timeout_s=300
        )
        async with stream as events:
            async for event in events:
                self._accepted += isinstance(event, Accepted)
                if isinstance(event, Completed):
                    self.refused |= {each.id for each in index_report(event).refused}


async def stored(client: Client, conversation: str) -> set[str]:
    listed = (await client.documents(user="ann")).documents
    return {each.id for each in listed if conversation_of(each.id) == conversation}


async def test_h4_queued_turns_of_one_conversation_are_forgotten_though_an_indexer_is_killed(
    system: System, client: Client
):
    sent = Sent(client)
    await sent.add(turn("trip", 90), turn("work", 90))
    await sent.ended()
    await system.sim("POST", "reset")
    await system.sim("PUT", "speed", {"latency_ms": LATENCY_MS})
    await sent.add(*(turn("trip", number) for number in range(QUEUED)), turn("work", 1))

    async def both_embed_a_turn() -> bool:
        return await system.embedded_texts() >= 2  # an indexer embeds those of one memory one after the other

    async def forgetting_is_queued() -> bool:
        return len(await client.jobs()) == 1

    await until(both_embed_a_turn, _WAIT_S)
    system.indexers[0].kill()
    await system.sim("PUT", "speed", {"latency_ms": 0})
    forgetting = asyncio.create_task(client.forget("ann", "trip", timeout_s=300))
    await until(forgetting_is_queued, _WAIT_S)
    await sent.add(turn("trip", 91), turn("work", 91))
    report = await forgetting
    assert report.deleted >= 1
    assert sent.waiting, "turns of the killed indexer are to be delivered again"
    await sent.ended()
    assert sent.refused
    assert {conversation_of(each) for each in sent.refused} == {"trip"}
    assert await stored(client, "work") == {"work/01", "work/90", "work/91"}
    assert await stored(client, "trip") == {"trip/91"}
