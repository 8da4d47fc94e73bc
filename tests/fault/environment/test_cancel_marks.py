"""D8: a worker that starts beside very many cancel marks reads them in seconds, and all of them count."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psutil
import pytest

from penstock.bus.ids import new_id
from penstock.client.client import Client
from penstock.contract import subjects
from penstock.contract.reply import Failed
from tests.harness.processes.system import System, shared_system
from tests.harness.requests.replies import RawPublisher, ask
from tests.harness.suite.examples import cases

FLUSHED_EVERY = 1_000
SERVER_CPU_US_PER_MARK = 50
"""What nats-server may spend for each mark that a worker reads: more than it needs, and less than pages of 500 cost."""


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with shared_system(tmp_path_factory.mktemp("cancel-marks")) as running:
        yield running


async def publish_marks(publisher: RawPublisher, ids: list[str]) -> None:
    for number, request_id in enumerate(ids):
        await publisher.nc.publish(subjects.cancel("demo", request_id), b"")
        if number % FLUSHED_EVERY == 0:
            await publisher.nc.flush()
    await publisher.nc.flush()


async def end_code(publisher: RawPublisher, request_id: str) -> str | None:
    body = {"messages": [{"role": "user", "content": "hello"}]}
    event = {"type": "chat_request", "id": request_id, "client": "publisher", "role": "chat", "body": body}
    await publisher.request(json.dumps(event).encode())
    end = await publisher.end(request_id)
    return end.error.code if isinstance(end, Failed) else None


@pytest.mark.timeout(120)
@pytest.mark.parametrize("marks", cases([30_000, 100_000], long={100_000}))
async def test_d8_a_worker_starts_beside_very_many_cancel_marks(
    system: System, client: Client, publisher: RawPublisher, marks: int
) -> None:
    ids = [new_id() for _ in range(marks)]
    await publish_marks(publisher, ids)
    await system.workers.pop().terminate()
    server = psutil.Process(system.nats.pid)
    before_s = sum(server.cpu_times()[:2])

    system.workers.append(system.new_worker())
    await system.workers[-1].start()

    used_s = sum(server.cpu_times()[:2]) - before_s
    assert used_s * 1e6 < SERVER_CPU_US_PER_MARK * marks
    assert [await end_code(publisher, ids[at]) for at in (0, -1)] == ["cancelled"] * 2
    assert (await ask(client, "Still there?", role="chat")).code is None
