"""H1, H2: embed and index requests in a mailbox of which nothing pulls: their jobs, ends, bodies and holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from penstock import Client, Document, RequestFailed, UnknownJob
from penstock.bus.ids import new_id
from penstock.contract import subjects
from penstock.contract.codec import encode
from penstock.contract.explain import RoutingExplained
from penstock.contract.jobs import Job
from penstock.contract.presence import Presence, RoleStatus
from penstock.contract.reply import Accepted, Failed
from penstock.contract.request import EmbedRequest, IndexRequest
from penstock.contract.streams import BODIES
from penstock.runtime.heartbeat import Heartbeat
from tests.harness.processes.catalogues import catalogue
from tests.harness.processes.fake_ledger import FakeLedger
from tests.harness.processes.system import System, shared_system
from tests.harness.suite.waiting import until

PRICE = {"input": 1_000_000, "output": 9_000_000}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    config = catalogue(
        {"embed": ("small",)},
        models={"small": {"price": PRICE, "embedding": {"dimensions": 8}}},
        retrieval={},
        budgets={"ledger_wait_s": 2},
    )
    with shared_system(tmp_path_factory.mktemp("kinds"), "chat", config=config) as running:
        yield running


@pytest.fixture
async def ledger(system: System) -> AsyncIterator[FakeLedger]:
    async with FakeLedger.running(system.nats.url) as running:
        yield running


@pytest.fixture
async def client(system: System, ledger: FakeLedger) -> AsyncIterator[Client]:
    """Beside a service that announces both roles and takes no work."""
    roles = tuple(RoleStatus(role=role, slots=1, running=0) for role in ("embed", "index"))
    presence = Presence(service="indexer", instance=new_id(), at_ms=0, roles=roles)
    async with await system.client() as connected:
        heartbeat = Heartbeat(connected._nc, lambda: presence)
        await heartbeat.start()
        yield connected
        await heartbeat.stop()


async def job_in(client: Client, request_id: str, state: str) -> Job:
    async def is_there() -> bool:
        try:
            return (await client.job(request_id)).state == state
        except UnknownJob:
            return False

    await until(is_there)
    return await client.job(request_id)


async def test_h1_an_index_request_is_a_job_that_can_be_cancelled(client: Client, ledger: FakeLedger) -> None:
    request_id = await client.index("docs", documents=[Document(id="a", text="b")], user="u")
    job = await job_in(client, request_id, "queued")
    assert (job.role, job.user) == ("index", "u")
    assert job.deadline_ms is not None
    assert job.deadline_ms - job.submitted_ms == pytest.approx(3_600_000, abs=5_000)
    await client.cancel(request_id)
    job = await job_in(client, request_id, "failed")
    assert job.error is not None
    assert job.error.code == "cancelled"
    assert ledger.asked == [], "indexing has no cost besides that of its embed requests"


async def test_c3_requests_that_nothing_takes_expire_in_their_mailbox(client: Client) -> None:
    async def code_of(request: asyncio.Future[object]) -> str:
        with pytest.raises(RequestFailed) as raised:
            await request
        return raised.value.code

    waiting = (
        client.index_and_wait("docs", drop=True, lane="interactive", timeout_s=1.5),
        client.embed("a", timeout_s=1.5),
        client.embed("a", model="small", lane="batch", timeout_s=1.5),
    )
    codes = await asyncio.gather(*(code_of(asyncio.ensure_future(each)) for each in waiting))
    assert codes == ["deadline_exceeded"] * 3


async def test_f1_an_embed_request_holds_the_cost_of_its_input_alone(
    client: Client, ledger: FakeLedger
) -> None:
    async with client._stream(
        EmbedRequest(id=new_id(), client=client.name, body=msgspec.Raw(b'{"input":[[1,2,3],[4]]}'), user="u"),
        5.0,
        cancel_on_exit=True,
    ) as events:
        accepted = await anext(aiter(events))
    assert isinstance(accepted, Accepted)
    (held,) = ledger.asked
    assert (held.traffic, held.role, held.user) == ("embed", "embed", "u")
    assert (held.tokens, held.output_tokens) == (4 + 1 + 16, 0)
    assert held.picousd == held.tokens * PRICE["input"]


async def test_d9_documents_larger_than_a_message_wait_with_their_body(client: Client) -> None:
    document = Document(id="a", data=bytes(9_000_000))
    request_id = await client.index("docs", documents=[document])
    await job_in(client, request_id, "queued")
    assert await bodies(client) > 9_000_000
    await client.cancel(request_id)
    await job_in(client, request_id, "failed")

    async def is_deleted() -> bool:
        return await bodies(client) == 0

    await until(is_deleted)


async def bodies(client: Client) -> int:
    return (await client._nc.jetstream().stream_info(BODIES.name)).state.bytes


async def test_k1_an_invalid_job_fails_with_the_field(client: Client) -> None:
    same = Document(id="a", text="b")
    request_id = await client.index("docs", documents=[same, same])
    job = await job_in(client, request_id, "failed")
    assert job.error is not None
    assert (job.role, job.error.code) == ("index", "invalid_request")
    assert "documents[1].id is the same as documents[0].id" in job.error.message
    with pytest.raises(RequestFailed, match=r"input\[1\] must be"):
        await client.embed(["a", 7])  # type: ignore[list-item]


async def test_b5_explain_names_the_models_that_embed(client: Client) -> None:
    answer = msgspec.json.Decoder(RoutingExplained | Failed)
    body = msgspec.Raw(b'{"input":"hi"}')
    index = msgspec.Raw(b'{"delete":["a"]}')
    for request, role, why in (
        (EmbedRequest(id="1", client="c", body=body), "embed", "one input to embed"),
        (
            IndexRequest(id="1", client="c", collection="docs", body=index),
            "index",
            "1 document to delete",
        ),
    ):
        msg = await client._nc.request(subjects.EXPLAIN, encode(request), timeout=5)
        explained = answer.decode(msg.data)
        assert isinstance(explained, RoutingExplained), explained
        assert (explained.role, explained.chain) == (role, ("small",))
        assert why in explained.why
